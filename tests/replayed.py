"""What `pipeline replay` makes of the oracle's histories, in one process."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import InvalidEvent
from pipeline.events.model import Event
from pipeline.profile.about import About, read_timeline
from pipeline.profile.profile import Profile, advance
from pipeline.runtime.replay import Replay
from pipeline.topology import load
from pipeline.topology.model import Topology
from pipeline.triggers import changes
from pipeline.triggers.decisions import Decision, public
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row

FAR = 1 << 60


@cache
def shipped() -> Topology:
    """The topology that the repository ships."""
    return load(Path(__file__).parents[1] / "topology.yaml")


class Folded(msgspec.Struct):
    """What is in a profile, to compare."""

    about: About
    timeline: list[tuple[int, str, str]]
    persons: list[Person]
    buffer: list[Row]


@cache
def _book() -> RuleBook:
    return RuleBook(shipped())


def folded(profile: Profile, book: RuleBook | None = None, *, going_on: bool = False) -> Folded:
    """A profile to compare: everything folded that waited for an occasion, without the memory of event ids (it holds
    when the copy that was read first was received), persons in one order. `going_on`: time makes more of it still.
    """
    more = advance(book or _book(), profile, FAR)
    assert going_on or not more, f"these decisions were still to come: {more}"
    about = msgspec.structs.replace(profile.about, recent=b"", older=b"")
    persons = sorted(profile.persons, key=lambda person: sorted(person.ids.items()))
    return Folded(about, read_timeline(profile.about), persons, profile.buffer)


def changed(after: dict[str, int] | None = None, lateness: int | None = None, disorder: int | None = None) -> Topology:
    """The shipped topology with other times (ms), named as the oracle names them."""
    base = shipped()
    replace = msgspec.structs.replace
    rules = tuple(replace(rule, after_ms=(after or {}).get(rule.name, rule.after_ms)) for rule in base.rules)
    time = replace(
        base.time,
        lateness_ms=base.time.lateness_ms if lateness is None else lateness,
        disorder_ms=base.time.disorder_ms if disorder is None else disorder,
    )
    return replace(base, rules=rules, time=time)


def as_event(told: dict[str, Any]) -> Event:
    """One event of the oracle's as the pipeline reads it."""
    return Event(
        told["type"],
        told["event_id"],
        told["occurred_at"],
        told["received_at"],
        dict(told["identifiers"]),
        dict(told["body"]),
        told.get("context"),
    )


def replayed(
    events: Iterable[dict[str, Any]], topology: Topology | None = None, *, open_end: bool = False
) -> list[dict[str, Any]]:
    """Every decision, as the lines of `pipeline replay`. Events that nobody can be known by are left out, as there."""
    lines, _ = replayed_with_changes(events, topology or shipped(), open_end=open_end)
    return [{name: value for name, value in line.items() if name != "basis"} for line in lines]


def replayed_with_changes(
    events: Iterable[dict[str, Any]], topology: Topology, *, open_end: bool = False
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The same, with what each was made by (`basis`), and every change of a segment."""
    replay = Replay(topology)
    made: list[Decision] = []
    for told in events:
        try:
            made += replay.feed(as_event(told), FAR)
        except InvalidEvent as bad:
            if bad.reason != "no_identifier":
                raise
    if not open_end:
        made += replay.finish()
        assert replay.waiting() == 0
    lines = [{**public(decision), "basis": decision.basis} for decision in made]
    return lines, [changes.public(change) for change in replay.changes]
