"""`did`: how often something was done, or what it adds up to, in a window of time.

{did: page_viewed, where: {path: {contains: /pricing}}, times: {gte: 3}, within: 7d}
{did: order_completed, sum: total, gte: 100, within: 30d}
{did: product_viewed, distinct: product_id, gte: 3}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.grammar.durations import lasting
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Choice, Clause, Duration, OneOf, Record, Text, Where, Whole
from pipeline.language import calendars, compare, hours, room
from pipeline.language.calendars import Calendar, Within
from pipeline.language.condition import Condition, Names, OfOne, Scope, said_once
from pipeline.language.events import EVENTS, said_of
from pipeline.language.memory import MOST, Entry, Matcher, Moment

KEY = "did"


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "did": Clause(
                EVENTS, "Event type, a list of them, or `any`: whatever is a person's own doing.", required=True
            ),
            "where": Clause(Where(), "Conditions on the event's fields; all must hold."),
            "times": Clause(
                OneOf(Whole(1), compare.record(Whole(0))), "How often: a number means at least. Default: once."
            ),
            "sum": Clause(Text(), "A number of the event that is added up, compared with gte, lt and so on."),
            "distinct": Clause(Text(), "A field whose different values are counted, compared with gte, lt and so on."),
            "within": Clause(Duration(), "How far back it is looked, to the millisecond. Default: for ever."),
            "since": Clause(Choice(("start",), "a moment"), "`start`: only since the rule's wait began."),
            **calendars.keys(),
            **compare.keys(),
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """One way to count, and comparisons that can hold."""
    reader = names.reader
    calendars.check(at, value, reader)
    _check_keys(at, value, names)
    names.where((*at, "where"), value.get("where", {}), value.get("did", ()))
    told = [name for name in ("times", "sum", "distinct") if reader.has((*at, name))]
    if len(told) > 1:
        message = f"{told[0]} and {told[1]} can't stand together"
        reader.report((*at, told[1]), "conflict", message, "keep one, and join two conditions by `all`", key=True)
    tests = compare.picked(value)
    if "sum" in value or "distinct" in value:
        if not tests and not any(reader.has((*at, name)) for name in compare.NAMES):
            message = f"the {told[0]} is compared with nothing"
            reader.report((*at, told[0]), "missing-key", message, "write gte: 100 beside it", key=True)
        compare.check(at, tests, reader, least=0 if "distinct" in value else None)
        for name in ("sum", "distinct"):
            if path := value.get(name):
                names.path((*at, name), path, value.get("did", ()), "number" if name == "sum" else "")
    elif tests:
        name = next(iter(tests))
        reader.report((*at, name), "no-effect", f"{name} compares a sum, or how many are distinct",
                      f"write times: {{{name}: {tests[name]}}}", key=True)  # fmt: skip
    times = value.get("times")
    if isinstance(times, Mapping):
        compare.check((*at, "times"), times, reader, least=0)
    if "since" in value and not names.waits:
        reader.report((*at, "since"), "no-wait", "nothing waits here that could have started",
                      "`since: start` stands in only_if and until", key=True)  # fmt: skip


def _check_keys(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """What counts by key would remember every key that there ever was."""
    told = names.reader.has
    if names.per is None or any(told((*at, name)) for name in ("within", "calendar", "since")):
        return
    _, per = Scope(per=names.per).keyed(value.get("did", ()), value.get("where", {}))
    if per is not None:
        message = f"it is counted for each {names.per} that there ever was, of which few are remembered"
        names.reader.report(
            (*at, "did"), "no-window", message, "write within: 30d beside it", key=True, severity="warning"
        )


def in_hours(value: Mapping[str, Any]) -> bool:
    """Whether it counts in hours: what is added up over more than seven days, unless since a wait began, or in a unit
    of the calendar.
    """
    if not {"sum", "distinct"} & value.keys() or {"since", "calendar"} & value.keys():
        return False
    return hours.in_hours(value.get("within"))


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    tests, within = compare.picked(value), calendars.within(value, scope.zone)
    how, path = next(((name, value[name]) for name in ("sum", "distinct") if name in value), ("times", None))
    if how == "times":
        times = value.get("times", 1)
        tests = dict(times) if isinstance(times, Mapping) else {"gte": times}
        asked = max(
            (int(max(operand) if isinstance(operand, list) else operand) for operand in tests.values()), default=1
        )
        newest = min(asked + 1, MOST)
        first = 0 if within is not None else newest
    else:
        newest, first = MOST, 0
    where, per = scope.keyed(value["did"], value.get("where", {}))
    if in_hours(value):
        of_hours = hours.Hours(how, tuple(value["did"]), where, value=path, per=per, within=value.get("within"))
        return InHours(of_hours, how, tests, value.get("within"), False)
    matcher = Matcher(
        tuple(value["did"]), where, value=path, per=per,
        within=calendars.reach(within), first=first, newest=newest, zoned=isinstance(within, Calendar),
    )  # fmt: skip
    return Did(matcher, how, tests, within, value.get("since") == "start")


class Did(OfOne):
    """How often, how much, or how many different, compared."""

    def __init__(self, matcher: Matcher, how: str, tests: Mapping[str, Any], within: Within, since_start: bool) -> None:
        self._matcher, self._how, self._tests, self._within = matcher, how, tests, within
        self._since_start = since_start
        self._test = compare.compiled(tests)
        self._rises = None if how == "sum" else room.rises(tests)  # a sum may become less, too

    def _found(self, now: Moment) -> list[Entry]:
        return now.of(self._matcher, now.since(self._within, start=self._since_start))

    def _value(self, entry: Entry) -> Any:
        return entry.value

    def _moment(self, entry: Entry) -> int:
        """With which it leaves."""
        return entry.occurred_at

    def _number(self, entries: list[Entry]) -> float:
        if self._how == "times":
            return len(entries)
        values = [self._value(entry) for entry in entries]
        return compare.total(values) if self._how == "sum" else len(_different(values))

    def _numbers(self, entries: list[Entry]) -> list[Any]:
        """Of all, of all but the first, and so on."""
        if self._how == "times":
            return list(range(len(entries), -1, -1))
        if self._how == "sum":
            return compare.from_behind([self._value(entry) for entry in entries])
        known: set[Any] = set()
        numbers = [0]
        for entry in reversed(entries):
            known |= _different([self._value(entry)])
            numbers.append(len(known))
        return numbers[::-1]

    def holds(self, now: Moment) -> bool:
        """Compares what is found."""
        return self._test(self._number(self._found(now)))

    def turns(self, now: Moment) -> int | None:
        """When so much has left the window that it changes."""
        if self._within is None:
            return None
        found = self._found(now)
        if isinstance(self._within, Calendar):
            return None if self._test(self._number(found)) == self._test(0) else now.ends(self._within)
        last = compare.changes([self._moment(entry) for entry in found], self._numbers(found), self._test)
        return None if last is None else last + self._within

    def weights(self) -> room.Weights:
        """One each; nought where it only becomes more of what there is enough of, and nothing of that is dropped for it
        (memory.py).
        """
        more, every = {self._matcher.id: 1}, room.unknown([self._matcher.id])
        if self._rises is None:
            return every
        stays = {self._matcher.id: 0} if self._how == "times" and self._matcher.per is None else every.up
        return room.Weights(more, stays) if self._rises else room.Weights(stays, more)

    def room(self, now: Moment) -> int:
        """As many as are lacking, or as there may be."""
        number = 0.0 if self._rises is None else self._number(self._found(now))
        if self._rises is None or self._test(number) is self._rises:
            return room.MOST
        return room.left(self._tests, number)

    def fails(self, now: Moment) -> str:
        """What was found instead."""
        number = self._number(self._found(now))
        return "" if self._test(number) else f"{self}, and it is {number:g}"

    @said_once
    def __str__(self) -> str:
        if self._how == "times" and self._tests == {"gte": 1}:
            return f"did {said_of(self._matcher)}{lasting(self._within)}"
        what, path, how = said_of(self._matcher), self._matcher.value, compare.said(self._tests)
        if self._how == "sum":
            return f"{path} of {what} adds up to {how}{lasting(self._within)}"
        if self._how == "distinct":
            return f"{how} different {path} of {what}{lasting(self._within)}"
        return f"did {what} {how} times{lasting(self._within)}"


class InHours(Did):
    """The same, in hours of UTC."""

    def _found(self, now: Moment) -> list[Entry]:
        return now.of(self._matcher, hours.since(now.at, self._within))

    def _value(self, entry: Entry) -> Any:
        return hours.amount(entry) if self._how == "sum" else hours.told(entry)

    def _moment(self, entry: Entry) -> int:
        return hours.begin(entry.occurred_at)


def _different(values: list[Any]) -> set[Any]:
    return {value for value in values if value is not None and value != ""}
