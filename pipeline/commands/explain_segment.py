"""`pipeline explain` of a segment: why somebody is in it, or isn't."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.commands.explaining import Over, Told, kept, named, person_of, shown_step, step_of, theirs, title
from pipeline.commands.profile import whoever
from pipeline.events.times import rfc3339
from pipeline.profile.profile import advance, one_of
from pipeline.topology import Topology
from pipeline.triggers.changes import SegmentChange, public
from pipeline.triggers.explain_segment import SegmentExplainer, remembered, standing
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook

_BY = {"tie": "when two turned out to be one", "merged": "when this profile became part of another"}


def told(topology: Topology, name: str, namespace: str, value: str, files: tuple[Path, ...], end: str) -> Told:
    """All of it, over recordings or, without one, from what Redis holds of them. Times RFC 3339."""
    if files:
        over = Over(topology, namespace, value, files, end)
        explainer = SegmentExplainer(over.book, name)
        steps = [step_of(step) for row in over.rows() for step in explainer.steps(row)]
        made = [each for each in over.changes_made if each.segment == name and theirs(over.person, each)]
        return _told(over.book, name, over.person, steps, made, over.replay.high)
    book = RuleBook(topology)
    profile_id, profile, clock = whoever(topology, namespace, value)
    made = [each for each in advance(book, profile, clock) if isinstance(each, SegmentChange) and each.segment == name]
    person = person_of(profile, namespace, value)
    steps = [kept(None, *each) for each in remembered(book, name, person)]
    explainer = SegmentExplainer(book, name, person)
    rows = one_of(profile_id, profile, namespace, value)[1].buffer
    steps += [step_of(step) for row in rows for step in explainer.steps(row)]
    return _told(book, name, person, steps, [each for each in made if theirs(person, each)], max(clock - 1, 0))


def _told(
    book: RuleBook, name: str, person: Person, steps: list[Told], changes: Iterable[SegmentChange], at: int
) -> Told:
    found = standing(book, name, person, at)
    return {
        "segment": name,
        "identifiers": named(person),
        "steps": steps,
        "changes": [public(change) for change in changes],
        "at": rfc3339(at),
        **_with_times(found),
        "parts": _part(found["parts"]),
    }


def _part(found: Told) -> Told:
    parts = {"parts": [_part(each) for each in found["parts"]]} if "parts" in found else {}
    return _with_times(found) | parts


def _with_times(found: Told) -> Told:
    return {
        key: rfc3339(each) if key in ("since", "changes_at") and each is not None else each
        for key, each in found.items()
    }


def lines(told: Told) -> Iterator[str]:
    """The same for people."""
    yield title(told["segment"], told)
    every = [(step.get("received_at") or step["occurred_at"], 0, shown_step(step)) for step in told["steps"]]
    every += [(change["at"], 1, _shown_change(change)) for change in told["changes"]]
    for at, _, line in sorted(every, key=lambda each: each[:2]):
        yield f"  {at}  {line}"
    if not told["steps"]:
        yield "  No event of theirs is anything to it."
    since = f", since {told['since']}" if told["since"] else ""
    yield f"  {told['at']}  They are in it{since}:" if told["inside"] else f"  {told['at']}  They aren't in it:"
    yield from _shown_parts(told["parts"], "    ")
    if told["changes_at"]:
        will = "leave" if told["inside"] else "enter"
        yield f"  {told['changes_at']}  If nothing happens they {will} it, by time alone"


def _shown_change(change: Told) -> str:
    by = f"by {change['cause_event_id']}" if change["cause_event_id"] else _BY.get(change["reason"], "by time alone")
    return f"→ {change['change']}, {by}"


def _shown_parts(part: Told, indent: str) -> Iterator[str]:
    said = "so" if part["holds"] else "not so"
    until = f" (up to {part['changes_at']}, if nothing happens)" if part["changes_at"] else ""
    if "parts" not in part:
        yield f"{indent}{said}: {part['why'] or part['condition']}{until}"
        return
    yield f"{indent}{said}: {part['condition']} of"
    for each in part["parts"]:
        yield from _shown_parts(each, indent + "  ")
