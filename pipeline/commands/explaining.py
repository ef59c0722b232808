"""What `pipeline explain` of a rule and of a segment have in common: a person, their events, a line for each."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

from pipeline.commands.common import errors_console, plural
from pipeline.commands.replay import Run
from pipeline.commands.summary import Summary
from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.files import RecordedFile
from pipeline.events.times import rfc3339
from pipeline.flow import Intake
from pipeline.identity.ids import leaf_id
from pipeline.profile.profile import Profile, advance
from pipeline.runtime.recordings import merged
from pipeline.runtime.replay import FOREVER
from pipeline.topology import Topology
from pipeline.triggers import happening
from pipeline.triggers.changes import SegmentChange
from pipeline.triggers.decisions import Decision
from pipeline.triggers.explain import Step
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row

Told = dict[str, Any]


class Over(Run):
    """A replay of recordings, and whoever is looked for in them. `decisions`, `changes_made`: all, in order."""

    def __init__(self, topology: Topology, namespace: str, value: str, files: tuple[Path, ...], end: str) -> None:
        summary = Summary(topology.time.disorder_ms, errors_console())
        super().__init__(topology, complete=end == "complete", lines=summary)
        self.topology, self.files = topology, files
        self.changes_made: list[SegmentChange] = []
        self.beside = self.changes_made.append
        self.decisions = list(self.over(merged(map(RecordedFile, files))))
        summary.tell()
        self.book = self.replay.book
        profile = self.replay.profiles.get(self.replay.graph.root(leaf_id(namespace, value)))
        if profile is None:
            raise PipelineError(f"nobody is known by {namespace}:{value} in {plural(len(files), 'file')}")
        self.profile = profile
        made = advance(self.book, profile, FOREVER if self.complete else self.replay.high + 1)
        self.changes_made += [each for each in (*self.replay.changes, *made) if isinstance(each, SegmentChange)]
        self.person = person_of(profile, namespace, value)

    def rows(self) -> list[Row]:
        """What rules and segments see of each event that carries one of the person's identifiers, and of the changes of
        their segments.
        """
        rows = [*rows_of(self.topology, self.book, self.person, self.files, self.clock)]
        rows += [
            happening.change(change.change, change.segment, change.reason, change.at, change.id)
            for change in self.changes_made
            if change.reason in ("event", "time") and theirs(self.person, change)
        ]
        return sorted(rows, key=attrgetter("received_at"))


def person_of(profile: Profile, namespace: str, value: str) -> Person:
    """Who is known by that identifier; as far as the fold has come."""
    found = (person for person in profile.persons if person.has(namespace, value))
    return next(found, None) or Person({namespace: [value]})


def theirs(person: Person, made: Decision | SegmentChange) -> bool:
    """Whether it is one of theirs."""
    return any(person.has(namespace, value) for namespace, values in made.identifiers.items() for value in values)


def rows_of(topology: Topology, book: RuleBook, person: Person, files: tuple[Path, ...], clock: int) -> Iterator[Any]:
    """What the rules see of each event that carries one of the person's identifiers."""
    intake, high = Intake(topology, book), 0
    for offset, line in enumerate(merged(map(RecordedFile, files))):
        if line.event is None:
            continue
        try:
            row, _ = intake.prepare(line.event, offset, high, clock)
        except InvalidEvent:  # told with the summary
            continue
        high = max(high, line.event.received_at)
        if any(person.has(row.ids[i], row.ids[i + 1]) for i in range(0, len(row.ids), 2)):
            yield row


def kept(key: str | None, occurred_at: int, event_id: str, says: str) -> Told:
    """What is remembered of an event, as facts."""
    at = rfc3339(occurred_at)
    return {"occurred_at": at, "event_id": event_id, "event": None, "key": key, "counts": True, "says": says}


def step_of(step: Step) -> Told:
    """The same of one that is at hand."""
    return {
        "occurred_at": rfc3339(step.occurred_at),
        "received_at": rfc3339(step.received_at),
        "event_id": step.event_id,
        "event": step.event,
        "key": step.key,
        "counts": step.counts,
        "says": step.says,
        **({"what": step.what} if step.what else {}),
    }


def named(person: Person) -> dict[str, list[str]]:
    """By which identifiers somebody is known."""
    return {namespace: sorted(values) for namespace, values in sorted(person.ids.items())}


def title(name: str, told: Told) -> str:
    """What it is about."""
    who = ", ".join(f"{namespace}:{value}" for namespace, values in told["identifiers"].items() for value in values)
    return f"{name}, for {who}"


def shown_step(step: Told) -> str:
    """In a line."""
    late = step.get("received_at") not in (None, step["occurred_at"])
    occurred = f", occurred {step['occurred_at']}" if late else ""
    what = f"{step['event']} {step['event_id']}" if step["event"] else step["event_id"] or "something"
    what = step.get("what") or what
    key = f" ({step['key']})" if step["key"] else ""
    return f"{what}{key}{occurred}: {step['says']}"
