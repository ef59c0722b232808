"""`first`, `last`: the first or last time that something was done: how long ago, and what it told.

    {last: order_completed, age: {gte: 60d}}
    {first: email_sent, has: {campaign: welcome}}

It holds only of whom it happened to. First and last by when it occurred.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.grammar.durations import measured, spelt
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Clause, Record, Where
from pipeline.language import compare, room
from pipeline.language.condition import Condition, Names, OfOne, Scope, said_once
from pipeline.language.events import EVENTS, said_of
from pipeline.language.memory import Entry, Matcher, Moment

KEY = ("first", "last")


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            key: Clause(
                EVENTS, "Event type, a list of them, or `any`: whatever is a person's own doing.", required=True
            ),
            "where": Clause(Where(), "Conditions on the event's fields: which of them are looked at."),
            "age": Clause(compare.DURATIONS, "How long ago it occurred: {gte: 60d}."),
            "has": Clause(Where(), "What must hold of that very event."),
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """Something is asked of it, and can hold."""
    key = "first" if "first" in value else "last"
    names.where((*at, "where"), value.get("where", {}), value.get(key, ()))
    if not names.reader.has((*at, "age")) and not names.reader.has((*at, "has")):
        message = f"nothing is asked of the {key} one"
        hint = "write age: {gte: 7d} or has: {...}; that it happened at all is {did: ...}"
        names.reader.report(at, "missing-key", message, hint, key=True)
    names.where((*at, "has"), value.get("has", {}), value.get(key, ()))
    compare.check((*at, "age"), value.get("age", {}), names.reader, least=0)


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    key = "first" if "first" in value else "last"
    has = value.get("has")
    first = 1 if key == "first" else 0
    where, per = scope.keyed(value[key], value.get("where", {}))
    matcher = Matcher(tuple(value[key]), where, has=has, per=per, first=first)
    return Happened(key, matcher, value.get("age"), has)


class Happened(OfOne):
    """The first or last of the events that a matcher counts."""

    def __init__(
        self, which: str, matcher: Matcher, age: Mapping[str, int] | None, has: Mapping[str, Any] | None
    ) -> None:
        self._which, self._matcher, self._age = which, matcher, age
        self._aged = None if age is None else compare.compiled(age)
        self._has = ", ".join(has or ())

    def _found(self, now: Moment) -> Entry | None:
        ledger = now.of(self._matcher)
        return None if not ledger else ledger[0 if self._which == "first" else -1]

    def holds(self, now: Moment) -> bool:
        """Of that event."""
        found = self._found(now)
        if found is None or (self._has and not found.value):
            return False
        return self._aged is None or self._aged(now.at - found.occurred_at)

    def turns(self, now: Moment) -> int | None:
        """When its age reaches a bound."""
        found = self._found(now)
        if found is None or self._age is None or (self._has and not found.value):
            return None
        return compare.reaches(self._age, found.occurred_at, now.at)

    def weights(self) -> room.Weights:
        """The last one only becomes a later one: who was away for so long is so no longer by what they do."""
        every = room.unknown([self._matcher.id])
        rises = room.rises(self._age or {})
        if self._which == "first" or self._has or rises is None or self._matcher.per is not None:
            return every
        first = {self._matcher.id: 1}
        return room.Weights(first, every.down) if rises else room.Weights(every.up, first)

    def room(self, now: Moment) -> int:
        """None where it never happened."""
        return 0 if self._found(now) is None else room.MOST

    def fails(self, now: Moment) -> str:
        """What isn't so."""
        found = self._found(now)
        if found is None:
            return f"{said_of(self._matcher)} never happened"
        if self._aged is not None and not self._aged(now.at - found.occurred_at):
            return f"{self}, and it was {measured(now.at - found.occurred_at)} ago"
        if self._has and not found.value:
            return f"the {self._which} {said_of(self._matcher)} has another {self._has}"
        return ""

    @said_once
    def __str__(self) -> str:
        age = f" {compare.said(self._age, spelt)} ago" if self._age else ""
        return f"the {self._which} {said_of(self._matcher)}{age}{' with ' + self._has if self._has else ''}"
