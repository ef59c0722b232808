"""Why a rule did what it did: what each event of a person is to it, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.events import tidy
from pipeline.events.times import rfc3339
from pipeline.grammar.operands import MODIFIERS
from pipeline.language import paths, zones
from pipeline.language.films import Session
from pipeline.language.memory import Entry
from pipeline.language.operators import compile_tests
from pipeline.language.references import Comparison, split
from pipeline.topology.model import Cancel, Rule
from pipeline.triggers import films, happening
from pipeline.triggers.counted import Counted, segments_of
from pipeline.triggers.dates import Dated
from pipeline.triggers.facts import CONTENTS, RESTART, START
from pipeline.triggers.films import Film
from pipeline.triggers.keys import RuleState
from pipeline.triggers.rules import Compiled, RuleBook, comparisons
from pipeline.triggers.sequences import Steps
from pipeline.wire.row import Row

_SAYS = {
    START: "starts a wait, or begins it anew",
    RESTART: "moves a wait that is open",
    CONTENTS: "changes what is in the cart",
}
_NAMES = {START: "start", RESTART: "restart"}
_WORDS = {
    "is": "is",
    "not": "isn't",
    "in": "is one of",
    "contains": "contains",
    "starts_with": "starts with",
    "ends_with": "ends with",
    "matches": "matches",
    "gt": "is greater than",
    "gte": "is at least",
    "lt": "is less than",
    "lte": "is at most",
    "between": "lies between",
    "before": "is before",
    "after": "is after",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What an event is to a rule. Times in UTC ms. `key`: the wait that it concerns; None: any of the person's, or the
    one of events without a key. `counts`: it is something to the rule, else `says` tells why it isn't. `what`: of one
    that nobody sent, in words.
    """

    occurred_at: int
    received_at: int
    event_id: str
    event: str
    key: str | None
    counts: bool
    says: str
    what: str = ""


def step_of(row: Row, key: str | None, counts: bool, says: str) -> Step:
    """What an event is to a part of a rule, or to a segment."""
    return Step(
        occurred_at=row.occurred_at,
        received_at=row.received_at,
        event_id=happening.known_as(row.event_id),
        event=row.type,
        key=key,
        counts=counts,
        says=says,
        what=happening.said(row),
    )


class Explainer:
    """Takes a person's events in order of receipt, and says what each is to one rule."""

    def __init__(self, book: RuleBook, rule: Rule, runs: Iterable[Entry] = ()) -> None:
        """`runs`: when they were here before (happening.py)."""
        self._book, self._rule = book, rule
        self._compiled = book.rules[rule.name]
        self._steps = None if rule.sequence is None else Steps(self._compiled, rule.sequence, book.max_age)
        self._films: dict[str, Film] = {}
        self._sessions: dict[str, Session] = {}
        self._counted = _counted(book, self._compiled)
        self._counted.memory[happening.HERE] = happening.joined([*runs], [])

    def steps(self, row: Row) -> Iterator[Step]:
        """One for each part of the rule that looks at events of this type; none: it is nothing to the rule. Before it a
        visit that it begins.
        """
        if self._counted.begins(self._book, row):
            yield from self.steps(happening.visit(row))
        told = [*self._counted.steps(row)]
        if row.received_at - row.occurred_at > self._book.max_age:
            told += self._too_old(row)
        else:
            told += [*self._moves(row), *self._follows(row), *self._ends(row)]
        yield from (step_of(row, *each) for each in told)

    def _too_old(self, row: Row) -> list[tuple[str | None, bool, str]]:
        of_type = (*self._book.moves.get(row.type, ()), *self._book.ends.get(row.type, ()))
        if not any(each.rule is self._compiled for each in of_type):
            return []
        return [(None, False, "was older than max_age when it was received: it only informs")]

    def _moves(self, row: Row) -> Iterator[tuple[str | None, bool, str]]:
        for key in _keys(row, self._rule.per):
            yield from self._moves_of(row, key)

    def _moves_of(self, row: Row, key: str | None) -> Iterator[tuple[str | None, bool, str]]:
        rule = self._rule
        for move in self._book.moves.get(row.type, ()):
            if move.rule is not self._compiled:
                continue
            selector = rule.start if move.role == START else rule.restart
            what = _NAMES.get(move.role, "change")
            if why := _unmet(row, selector.where if selector is not None and move.role != CONTENTS else {}):
                yield key, False, f"is no {what}: {why}"
            elif key is None and not self._compiled.shared:
                yield None, False, f"is no {what}: it has no {rule.per}"
            elif move.role == START and self._compiled.lasts is not None and not self._lasts(row, key):
                yield key, False, f"is no start: {self._compiled.lasts.path} tells no length of time"
            elif move.role == START and self._compiled.date is not None:
                yield key, *self._date(row, self._compiled.date)
            elif rule.watched_share is not None:
                yield self._watched(row, key, rule.watched_share)
            else:
                yield key, True, said(self._compiled, move.role)

    def _follows(self, row: Row) -> Iterator[tuple[str | None, bool, str]]:
        """Which steps of a sequence it may be."""
        if self._steps is None or self._rule.sequence is None:
            return
        keys = self._steps.whose(row.type, row.data)
        steps = self._rule.sequence.steps
        steps = steps[:-1] if steps[-1].absent else steps  # that is told as what ends the wait
        for number, step in enumerate(steps, 1):
            what = f"step {number} of {len(steps)}"
            if row.type not in step.select.events:
                continue
            if why := _unmet(row, step.select.where):
                yield None, False, f"isn't {what}: {why}"
                continue
            says = f"is {what}, which must not be" if step.absent else f"may be {what}"
            says += "".join(f", where {said}" for said in _compared(row, split(step.select.where)[1])).replace(
                " its start.", " "
            )
            for key in [None] if keys is None else keys:
                yield key or None, True, says
            if keys == []:
                yield None, False, f"isn't {what}: it has no {self._rule.per}"

    def _date(self, row: Row, date: Dated) -> tuple[bool, str]:
        """Up to when a wait lasts that it starts."""
        kept = {date.path: paths.read_path(date.path)(row.data)}
        length = date.length(kept, row.occurred_at, None)
        if length is None:
            return (
                False,
                f"is no start: {_shown(kept[date.path])} is no date that is to come; it ends a wait up to another",
            )
        at = row.occurred_at + length
        there = (zones.EPOCH + at * zones.MS).astimezone(zones.zone(date.zone))
        said = f"{there:%Y-%m-%d %H:%M:%S} where they are" if date.local(kept) else rfc3339(at)
        return (True, f"starts a wait up to {said}, or moves it there, if that wasn't told before")

    def _lasts(self, row: Row, key: str | None) -> int | None:
        lasts = self._compiled.lasts
        return None if lasts is None else lasts.of(row.data, key or "")

    def _watched(self, row: Row, key: str | None, share: float) -> tuple[str | None, bool, str]:
        told = (row.type, row.occurred_at, row.received_at, row.data)
        film = films.watch(self._films, [], self._sessions, *told)
        total = row.data.get("total_length")
        if film is None or not total:
            return key, False, "is no start: it doesn't tell the film's length"
        seconds = films.seconds(film)
        enough = seconds >= share * total
        says = f"{seconds:g} of {total:g} s are watched"
        return key, enough, f"{says}: {said(self._compiled, START)}" if enough else f"{says}: less than {share:g} of it"

    def _ends(self, row: Row) -> Iterator[tuple[str | None, bool, str]]:
        for cancel in self._rule.cancel:
            if row.type not in cancel.select.events:
                continue
            why = _unmet(row, cancel.select.where)
            for key in _keys(row, cancel.match):
                if why:
                    yield key, False, f"isn't {cancel.reason}: {why}"
                elif cancel.match and key is None and cancel.without_key == "none":
                    yield None, False, f"isn't {cancel.reason}: it has no {cancel.match}"
                else:
                    yield key, True, _ending(row, cancel, key)


def _counted(book: RuleBook, rule: Compiled) -> Counted:
    """All its conditions, and the segments of which these speak."""
    conditions = [each for each in (rule.when, rule.until, *rule.asked) if each is not None]
    segments = segments_of(book, frozenset(name for each in conditions for name in each.segments()))
    told = [
        *((f"segment {name}", condition) for name, condition in segments.items()),
        ("start", rule.when),
        ("until", rule.until),
        ("only_if", rule.only_if),
    ]
    keyed = rule.per is not None
    return Counted([(what, each) for what, each in told if each is not None], segments, keyed=keyed)


def _unmet(row: Row, where: Mapping[str, Mapping[str, Any]]) -> str:
    """The first condition that an event doesn't meet, in words."""
    plain, _ = split(where)
    for path, tests in tidy.operands(row.type, plain).items():
        told, several = paths.read_path(path)(row.data), paths.parse(path).several
        all_hold = compile_tests(tests, several)
        if all_hold is None or all_hold(told):
            continue
        beside = {name: tests[name] for name in MODIFIERS if name in tests}
        unmet = [op for op in tests if op in _WORDS and not _holds({**beside, op: tests[op]}, several, told)]
        if "exists" in tests and not _holds({"exists": tests["exists"]}, several, told):
            return f"{path} {'is missing' if tests['exists'] else 'is there'}"
        wants = " and ".join(f"{_WORDS[op]} {_shown(tests[op])}" for op in unmet[:1] or tests.keys() & _WORDS.keys())
        return f"{path} is {_shown(told)}, but the rule wants that it {wants}"
    return ""


def _holds(tests: Mapping[str, Any], several: bool, told: Any) -> bool:
    test = compile_tests(tests, several)
    return test is None or test(told)


def known(rule: Compiled, state: RuleState) -> list[tuple[str, int, str, str]]:
    """What is kept of the events that its undecided waits are made of: (key, occurred_at, event id, what it is)."""
    found: list[tuple[str, int, str, str]] = []
    for name, key in state.all_keys():
        found += [(name, fact.occurred_at, fact.event_id, said(rule, fact.role)) for fact in key.facts]
        found += [(name, end.occurred_at, end.event_id, f"ends it, {end.reason}") for end in key.ends if key.facts]
    found += [("", end.occurred_at, end.event_id, f"ends every wait, {end.reason}") for end in state.everyone]
    found = [(name, at, happening.known_as(event_id), says) for name, at, event_id, says in found]
    return sorted(found, key=lambda each: each[1])


def said(rule: Compiled, role: int) -> str:
    """What an event in that role does."""
    if role == START and rule.at_once:
        when = "as it is received" if rule.arrives else "by itself"
        return ", ".join(filter(None, [f"is decided {when}", rule.recurrence.needs]))
    if role == START and rule.recurrence.starts:
        return rule.recurrence.starts
    if role == START and rule.stages:
        return "starts a wait, or begins it anew with its first stage"
    return _SAYS[role]


def _ending(row: Row, cancel: Cancel, key: str | None) -> str:
    """What an event that may end waits does."""
    keyless = "the wait of events without a key" if cancel.without_key == "shared" else "every wait"
    whose = "a wait of this key" if key is not None else keyless
    said = f"ends {whose} that is open, {cancel.reason}" + (
        ", also one that starts later" if cancel.before_start else ""
    )
    compared = _compared(row, comparisons(cancel))
    return f"{said}, where {' and '.join(compared)}" if compared else said


def _compared(row: Row, comparisons: Sequence[Comparison]) -> list[str]:
    """What an event tells, and with what of a wait that is compared."""
    return [
        f"{each.path}, {_shown(paths.read_path(each.path)(row.data))}, {_WORDS[each.operator]} its {each.reference}"
        for each in comparisons
    ]


def _keys(row: Row, path: str | None) -> list[str] | list[None]:
    """Those that an event tells there; [None]: none."""
    if path is None:
        return [None]
    several = paths.keys_of(path)
    if several is not None:
        return several(row.data) or [None]
    value = row.data.get(path)
    return [None] if value is None or value == "" else [str(value)]


def _shown(value: Any) -> str:
    if value is None:
        return "not told"
    return ", ".join(map(str, value)) or "empty" if isinstance(value, list | tuple) else str(value)
