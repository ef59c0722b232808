"""`date`: how far off a date is that was told: `{date: trait.contract_end, in: {lte: 30d}}`.

    {date: trait.contract_end, ago: {gte: 7d}}
    {date: trait.birthday, anniversary: {lte: 7d}}
    {date: {event: custom, field: properties.starts_at}, in: {lte: 1h}}

What was told last counts, by when that occurred. A date without a time of day is midnight where the person is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.grammar.durations import measured, spelt
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Clause, EventPath, OneOf, Record, Text, Where
from pipeline.language import compare, zones
from pipeline.language.condition import Condition, Names, OfOne, Scope
from pipeline.language.events import EVENTS, said_of, types_of
from pipeline.language.leaves.trait import TELLS
from pipeline.language.memory import Matcher, Moment
from pipeline.language.paths import told

KEY = "date"
TRAIT = "trait."
WAYS = ("in", "ago", "anniversary")
YEAR_MOST = 366 * 86_400_000
_EVENT = Record(
    {
        "event": Clause(EVENTS, "Event type, or a list of them, of which the last tells the date.", required=True),
        "where": Clause(Where(), "Conditions on the event's fields; all must hold."),
        "field": Clause(EventPath(), "Which of the event's fields tells it.", required=True),
    }
)


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "date": Clause(
                OneOf(Text("a trait such as trait.contract_end"), _EVENT),
                "What tells the date: `trait.NAME`, or the `field` of the last `event` (with `where`).",
                required=True,
            ),
            "in": Clause(compare.DURATIONS, "It is still to come, and so far off: {lte: 30d}."),
            "ago": Clause(compare.DURATIONS, "It has come, so long ago: {gte: 7d}."),
            "anniversary": Clause(compare.DURATIONS, "So far off is its day of the year: {lte: 7d}."),
        },
        one_of=WAYS,
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """There may be such a date, and it can be so far off."""
    source, reader = value.get("date"), names.reader
    if isinstance(source, str) and not source.removeprefix(TRAIT).strip():
        reader.report((*at, "date"), "bad-value", "which trait tells the date?", "write date: trait.contract_end")
    elif isinstance(source, str) and not source.startswith(TRAIT):
        hint = f"write date: {TRAIT}{source}, or date: {{event: ..., field: {source}}}"
        reader.report((*at, "date"), "bad-value", f"{source} is neither a trait nor an event's field", hint)
    elif isinstance(source, Mapping):
        _check_event((*at, "date"), source, names)
    for way in WAYS:
        tests = value.get(way, {})
        compare.check((*at, way), tests, reader, least=0)
        if way == "anniversary" and _least(tests) > YEAR_MOST:
            place = (*at, way, next(iter(tests)))
            reader.report(place, "never-holds", "no anniversary is more than a year off", "write {lte: 7d}", key=True)


def _check_event(at: Path, source: Mapping[str, Any], names: Names) -> None:
    events = source.get("event", ())
    names.where((*at, "where"), source.get("where", {}), events)
    if (field := source.get("field")) is None:
        return
    names.path((*at, "field"), field, events, "")
    for event in types_of(events):
        found = told(event, field)
        if found is not None and found.kind in ("choice", "flag", "list"):
            names.reader.report((*at, "field"), "bad-field", f"{field} of {event} tells no date")
            return


def _least(tests: Mapping[str, Any]) -> int:
    """What is compared is at least this."""
    bounds = [tests[name] for name in ("is", "gt", "gte") if name in tests]
    return max([*bounds, *tests.get("between", ())[:1]], default=0)


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    source = value["date"]
    way = next(way for way in WAYS if way in value)
    if isinstance(source, str):
        path = f"traits.{source.removeprefix(TRAIT)}"
        matcher = Matcher(TELLS, {path: {"exists": True}}, value=path, zoned=True)
        return Date(source, matcher, way, value[way], scope.zone)
    where, per = scope.keyed(source["event"], source.get("where", {}))
    matcher = Matcher(tuple(source["event"]), where, value=source["field"], per=per, zoned=True)
    return Date(f"{source['field']} of the last {said_of(matcher)}", matcher, way, value[way], scope.zone)


class Date(OfOne):
    """A date that was told, compared with the moment. `way`: one of WAYS. At the date itself it is nought `in` and
    nought `ago`. `otherwise`: the zone of whom nobody knows where they are.
    """

    def __init__(self, named: str, matcher: Matcher, way: str, tests: Mapping[str, Any], otherwise: str) -> None:
        self._named, self._matcher, self._way, self._tests = named, matcher, way, tests
        self._otherwise = otherwise
        self._test = compare.compiled(tests)

    def _told(self, now: Moment) -> datetime | None:
        """As clocks show it where they are; None: no date was told."""
        ledger = now.of(self._matcher)
        found = zones.read_date(ledger[-1].value) if ledger else None
        if found is None or now.at not in zones.CALENDAR:
            return None
        there = zones.zone(now.zone(self._otherwise))
        if isinstance(found, int):
            return (zones.EPOCH + found * zones.MS).astimezone(there)
        return datetime.combine(found, time(), there)

    def _comes(self, date: datetime, at: int) -> int:
        """When it is compared with a moment; of an anniversary the first from then on. Both UTC ms."""
        return _coming(date, at) if self._way == "anniversary" else _moment(date)

    def _length(self, date: datetime, at: int) -> int:
        """How far off it is then; less than nought: on the other side."""
        there = self._comes(date, at)
        return at - there if self._way == "ago" else there - at

    def _is_so(self, date: datetime, at: int) -> bool:
        length = self._length(date, at)
        return length >= 0 and self._test(length)

    def holds(self, now: Moment) -> bool:
        """Of whom no date was told nothing does."""
        date = self._told(now)
        return date is not None and self._is_so(date, now.at)

    def turns(self, now: Moment) -> int | None:
        """When it is so far off that it changes. An anniversary is looked at anew once it has come."""
        date = self._told(now)
        if date is None:
            return None
        end = self._comes(date, now.at)
        moments = [end, end + 1]
        for bound in self._tests.values():
            for each in bound if isinstance(bound, list) else [bound]:
                there = end + each if self._way == "ago" else end - each
                moments += [there, there + 1]
        held = self._is_so(date, now.at)
        changed = [at for at in moments if at > now.at and self._is_so(date, at) != held]
        return min(changed, default=end + 1 if self._way == "anniversary" else None)

    def fails(self, now: Moment) -> str:
        """How far off it is instead."""
        date = self._told(now)
        if date is None:
            return f"{self._named} tells no date"
        if self._is_so(date, now.at):
            return ""
        length = self._length(date, now.at)
        ago = (self._way == "ago") == (length >= 0)
        return f"{self}, and it {'was' if ago else 'is'} {measured(abs(length))} {'ago' if ago else 'off'}"

    def __str__(self) -> str:
        of = "the anniversary of " if self._way == "anniversary" else ""
        so = f"{compare.said(self._tests, spelt)} {'ago' if self._way == 'ago' else 'off'}"
        return f"{of}{self._named} {'was' if self._way == 'ago' else 'is'} {so}"


def _moment(date: datetime) -> int:
    """UTC ms. Where a clock change skips it, the first moment after."""
    assert isinstance(date.tzinfo, ZoneInfo)
    if date.fold:  # of an hour that comes twice, the later
        return (date - zones.EPOCH) // zones.MS
    return zones.moment(date.date(), date.time(), date.tzinfo)


def _coming(date: datetime, at: int) -> int:
    """The first of its anniversaries from then on; UTC ms. Each year has one, also those before it."""
    year = (zones.EPOCH + at * zones.MS).astimezone(date.tzinfo).year
    return next(found for each in (year, year + 1) if (found := _moment(zones.in_year(date, each))) >= at)
