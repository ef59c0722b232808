"""`trigger`: what a rule decided of this person: `{trigger: abandoned_cart, outcome: fired, within: 7d}`.

It occurred when it was due, and is known from when it was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.grammar.durations import lasting
from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Choice, Clause, Duration, Record, Text
from pipeline.language import calendars
from pipeline.language.calendars import Calendar, Within
from pipeline.language.condition import Condition, Names, OfOne, Scope
from pipeline.language.memory import DECIDED, Ledger, Matcher, Moment

KEY = "trigger"
OUTCOMES = ("fired", "cancelled", "suppressed")


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "trigger": Clause(Text(), "A rule's name.", required=True),
            "outcome": Clause(Choice(OUTCOMES, "an outcome"), "fired (default), cancelled or suppressed."),
            "within": Clause(Duration(), "How far back it was due. Default: for ever."),
            **calendars.keys(),
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """It is there."""
    calendars.check(at, value, names.reader)
    name = value.get("trigger")
    if name is not None and name not in names.rules:
        hint = suggest(name, names.rules, "rules")
        names.reader.report((*at, "trigger"), "unknown-rule", f"{name} is no rule", hint)


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    rule, outcome = value["trigger"], value.get("outcome", "fired")
    within = calendars.within(value, scope.zone)
    asked, zoned = {"rule": {"is": rule}, "outcome": {"is": outcome}}, isinstance(within, Calendar)
    matcher = Matcher((DECIDED,), asked, within=calendars.reach(within), zoned=zoned)
    return Triggered(rule, outcome, matcher, within)


class Triggered(OfOne):
    """Whether a rule decided so."""

    def __init__(self, rule: str, outcome: str, matcher: Matcher, within: Within) -> None:
        self._rule, self._outcome, self._matcher, self._within = rule, outcome, matcher, within

    def _found(self, now: Moment) -> Ledger:
        found, decided = now.of(self._matcher, now.since(self._within)), now.decided
        return found if decided is None else [entry for entry in found if entry.received_at <= decided]

    def holds(self, now: Moment) -> bool:
        """At least once, as the fold has it."""
        return bool(self._found(now))

    def turns(self, now: Moment) -> int | None:
        """When the last of them is too long ago, or one is due that was decided before."""
        found, within, gone = self._found(now), self._within, None
        if found and within is not None:
            if isinstance(within, Calendar):
                gone = now.ends(within)
            else:
                gone = found[-1].occurred_at + within
        return min((at for at in (gone, now.next(self._matcher)) if at is not None), default=None)

    def fails(self, now: Moment) -> str:
        """It didn't."""
        return "" if self.holds(now) else f"not so: {self}"

    def __str__(self) -> str:
        return f"{self._rule} was {self._outcome}{lasting(self._within)}"
