"""Why somebody is in a segment, or isn't: what each event of theirs is to it, which part of it holds, and when time
alone changes that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pipeline.language import hours
from pipeline.language.condition import Condition
from pipeline.language.leaves.joins import Join
from pipeline.language.memory import DECIDED, Moment
from pipeline.triggers import happening
from pipeline.triggers.counted import Counted, segments_of
from pipeline.triggers.explain import Step, step_of
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook
from pipeline.triggers.turning import anew
from pipeline.triggers.watches import Watch, members
from pipeline.wire.row import Row

Facts = dict[str, Any]
LOOKS = 1_000  # at moments at which time alone might change something


class SegmentExplainer:
    """Takes a person's events in order of receipt, and says what each is to one segment. `known`: what is known of them
    already.
    """

    def __init__(self, book: RuleBook, name: str, known: Person | None = None) -> None:
        self._book, watch = book, watch_of(book, name)
        segments = segments_of(book, frozenset({name}))
        told = [(f"segment {each}", condition) for each, condition in segments.items() if each != name]
        self._counted = Counted([*told, ("the segment", watch.condition)], segments, keyed=False)
        if known is not None:
            self._counted.memory = {ledger: list(entries) for ledger, entries in known.heard.items()}
            self._counted.there, self._counted.members = known.whereabouts, members(known)

    def steps(self, row: Row) -> Iterator[Step]:
        """One for each condition that counts it; none: it is nothing to the segment. Before it a visit it begins."""
        if self._counted.begins(self._book, row):
            yield from self.steps(happening.visit(row))
        yield from (step_of(row, None, counts, says) for _, counts, says in self._counted.steps(row))


def watch_of(book: RuleBook, name: str) -> Watch:
    """What is watched of a segment that is on."""
    assert book.watches is not None
    return book.watches.segments[name]


def remembered(book: RuleBook, name: str, person: Person) -> list[tuple[int, str, str]]:
    """What is kept of the events that it counts: (occurred_at, event id or "", what it is)."""
    found: dict[tuple[int, str], str] = {}
    for matcher in watch_of(book, name).counted:
        for entry in person.heard.get(matcher.ledger(None), ()) if DECIDED not in matcher.events else ():
            says = "is counted"
            if isinstance(matcher, hours.Hours) and hours.folded(entry):
                says = "is the last of its hour, of which is kept what it comes to"
            found[entry.occurred_at, happening.known_as(entry.event_id)] = says
    return sorted((at, event_id, says) for (at, event_id), says in found.items())


def standing(book: RuleBook, name: str, person: Person, at: int) -> Facts:
    """How it stands at that moment of the fold: `inside`, `since`, whether each of the `parts` holds; times UTC ms.
    `changes_at`: when time alone changes it if nothing happens; None: never.
    """
    watch, inside = watch_of(book, name), members(person)

    def look(moment: int, segments: dict[str, int]) -> Moment:
        return Moment(person.heard, moment, decided=at, segments=segments, there=person.whereabouts)

    def changes(value: Callable[[Moment], bool], conditions: tuple[Condition, ...]) -> int | None:
        now = look(at, dict(inside))
        before = value(now)
        for _ in range(LOOKS):
            later = [each.turns(now) for each in conditions]
            moments = [each for each in later if each is not None and each > now.at]
            if not moments:
                return None
            now = look(min(moments), dict(now.segments))
            if value(now) != before:
                return now.at
        return None

    def part(condition: Condition) -> Facts:
        now = look(at, inside)
        holds, changes_at = condition.holds(now), changes(condition.holds, (condition,))
        if isinstance(condition, Join):
            parts = [part(each) for each in condition.parts]
            return {"condition": condition.how, "holds": holds, "why": None, "changes_at": changes_at, "parts": parts}
        why = None if holds else condition.fails(now)
        return {"condition": str(condition), "holds": holds, "why": why, "changes_at": changes_at}

    whole = (*(other.condition for other in watch.through), watch.condition)
    return {
        "inside": name in inside,
        "since": inside.get(name),
        "changes_at": changes(lambda now: anew(watch, now, None), whole),
        "parts": part(watch.condition),
    }
