"""`visits`: how often a person was here: `{visits: {gte: 3}, within: 30d}`.

A visit begins with something of a person's own doing half an hour or more after the last such thing, by occurrence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.events.catalogue import GAP
from pipeline.grammar.durations import lasting
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Clause, Duration, OneOf, Record, Whole
from pipeline.language import calendars, compare
from pipeline.language.calendars import Calendar, Within
from pipeline.language.condition import Condition, Names, OfOne, Scope, said_once
from pipeline.language.memory import ANY, MOST, Matcher, Moment

KEY = "visits"


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "visits": Clause(
                OneOf(Whole(1), compare.record(Whole(0))), "How many: a number means at least.", required=True
            ),
            "within": Clause(Duration(), "How far back a visit may have begun. Default: for ever."),
            **calendars.keys(),
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """It can hold."""
    calendars.check(at, value, names.reader)
    if isinstance(tests := value.get("visits"), Mapping):
        compare.check((*at, "visits"), tests, names.reader, least=0)


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    tests, within = value["visits"], calendars.within(value, scope.zone)
    reach = calendars.reach(within)
    reach = None if reach is None else reach + GAP  # a visit is told by what came before it
    matcher = Matcher((ANY,), {}, within=reach, newest=MOST, zoned=isinstance(within, Calendar))
    return Visits(matcher, dict(tests) if isinstance(tests, Mapping) else {"gte": tests}, within)


class Visits(OfOne):
    """How many visits began, compared."""

    def __init__(self, matcher: Matcher, tests: Mapping[str, Any], within: Within) -> None:
        self._matcher, self._tests, self._within = matcher, tests, within
        self._test = compare.compiled(tests)

    def _began(self, now: Moment) -> list[int]:
        since = now.since(self._within)
        last, found = -GAP, []
        for entry in now.of(self._matcher):
            if entry.occurred_at - last >= GAP and (since is None or entry.occurred_at > since):
                found.append(entry.occurred_at)
            last = entry.occurred_at
        return found

    def holds(self, now: Moment) -> bool:
        """Compares how many there were."""
        return self._test(len(self._began(now)))

    def turns(self, now: Moment) -> int | None:
        """When so many have left the window that it changes."""
        if self._within is None:
            return None
        began = self._began(now)
        if isinstance(self._within, Calendar):
            return None if self._test(len(began)) == self._test(0) else now.ends(self._within)
        last = compare.changes(began, range(len(began), -1, -1), self._test)
        return None if last is None else last + self._within

    def fails(self, now: Moment) -> str:
        """How many there were instead."""
        number = len(self._began(now))
        return "" if self._test(number) else f"{self}, and there were {number}"

    @said_once
    def __str__(self) -> str:
        return f"{compare.said(self._tests)} visits{lasting(self._within)}"
