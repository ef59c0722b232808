"""`measure`: a number that is named under `measures`, compared: `{measure: lead_score, gte: 50}`.

measures:
  lead_score: {sum: [{did: page_viewed, points: 1}, {did: form_submitted, points: 20}], within: 30d}
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from pipeline.grammar.durations import lasting
from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Clause, Duration, Many, Record, Text, Value, Where
from pipeline.language import calendars, compare, hours, room
from pipeline.language.calendars import Calendar, Within
from pipeline.language.condition import Condition, Names, Scope, said_once
from pipeline.language.events import EVENTS
from pipeline.language.memory import MOST, Matcher, Moment

KEY = "measure"
_first = itemgetter(0)
MEASURE = Record(
    {
        "description": Clause(Text(), "What it is for, in words."),
        "sum": Clause(
            Many(
                Record(
                    {
                        "did": Clause(EVENTS, "Event type, a list of them, or `any`.", required=True),
                        "where": Clause(Where(), "Conditions on the event's fields; all must hold."),
                        "points": Clause(Value(numbers=True), "What each of them adds.", required=True),
                    }
                ),
                least=1,
            ),
            "What is added up.",
            required=True,
        ),
        "within": Clause(Duration(), "How far back it is looked. Default: for ever."),
        **calendars.keys(),
    }
)


def record(key: str) -> Record:
    """What may be written."""
    return Record({"measure": Clause(Text(), "A measure's name.", required=True), **compare.keys()})


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """It is there, and is compared."""
    name = value.get("measure")
    if name is not None and name not in names.measures:
        hint = suggest(name, names.measures, "measures") or "write it under measures"
        names.reader.report((*at, "measure"), "unknown-measure", f"{name} is no measure", hint)
    tests = compare.picked(value)
    if not tests and not any(names.reader.has((*at, each)) for each in compare.NAMES):
        names.reader.report((*at, "measure"), "missing-key", "it is compared with nothing", "write gte: 50", key=True)
    compare.check(at, tests, names.reader)


def check_measure(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """What is written under `measures`."""
    calendars.check(at, value, names.reader)
    for index, each in enumerate(value.get("sum", ())):
        names.where((*at, "sum", index, "where"), each.get("where", {}), each.get("did", ()))


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    told = scope.measures[value["measure"]]
    within = calendars.within(told, scope.zone)
    parts = []
    for each in told["sum"]:
        did, where = tuple(each["did"]), each.get("where", {})
        matcher = (
            hours.Hours(hours.TIMES, did, where, within=calendars.reach(within))
            if hours.in_hours(within)
            else Matcher(did, where, within=calendars.reach(within), newest=MOST, zoned=isinstance(within, Calendar))
        )
        parts.append((matcher, each["points"]))
    return Measure(value["measure"], tuple(parts), within, compare.picked(value))


class Measure:
    """A sum of points, compared."""

    def __init__(
        self, name: str, parts: tuple[tuple[Matcher, float], ...], within: Within, tests: Mapping[str, Any]
    ) -> None:
        self._name, self._parts, self._within, self._tests = name, parts, within, tests
        self._test = compare.compiled(tests)
        # Whole points, of which there are ever more: then it is known how many are lacking.
        self._whole = (
            all(points >= 0 and float(points).is_integer() for _, points in parts) and room.rises(tests) is True
        )

    def _found(self, now: Moment) -> list[tuple[int, Any]]:
        """With when it goes, what each adds."""
        in_hours = hours.in_hours(self._within)
        since = hours.since(now.at, self._within) if in_hours else now.since(self._within)
        found = [(entry, compare.exact(points)) for matcher, points in self._parts for entry in now.of(matcher, since)]
        if in_hours:
            return [(hours.begin(entry.occurred_at), points * hours.times(entry)) for entry, points in found]
        return [(entry.occurred_at, points) for entry, points in found]

    def number(self, now: Moment) -> float:
        """What it is."""
        return compare.total(points for _, points in self._found(now))

    def holds(self, now: Moment) -> bool:
        """Compares it."""
        return self._test(self.number(now))

    def turns(self, now: Moment) -> int | None:
        """When so much has left the window that it changes."""
        if self._within is None:
            return None
        if isinstance(self._within, Calendar):
            return None if self.holds(now) == self._test(0) else now.ends(self._within)
        found = sorted(self._found(now), key=_first)
        numbers = compare.from_behind([points for _, points in found])
        last = compare.changes([at for at, _ in found], numbers, self._test)
        return None if last is None else last + self._within

    def matchers(self) -> tuple[Matcher, ...]:
        """One a part."""
        return tuple(matcher for matcher, _ in self._parts)

    def segments(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def weights(self) -> room.Weights:
        """Points, where they are whole."""
        weights = room.unknown(matcher.id for matcher in self.matchers())
        if not self._whole:
            return weights
        up: dict[str, int] = {}
        for matcher, points in self._parts:
            up[matcher.id] = up.get(matcher.id, 0) + int(points)
        return room.Weights(up, weights.down)

    def room(self, now: Moment) -> int:
        """As many as are lacking."""
        number = self.number(now) if self._whole else 0
        return room.MOST if not self._whole or self._test(number) else room.left(self._tests, number)

    def fails(self, now: Moment) -> str:
        """What it is instead."""
        number = self.number(now)
        return "" if self._test(number) else f"{self}, and it is {number:g}"

    @said_once
    def __str__(self) -> str:
        return f"{self._name}{lasting(self._within)} is {compare.said(self._tests)}"
