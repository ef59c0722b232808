"""`consent`: what a person said of a purpose last: `{consent: marketing, is: refused}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.events.model import CONSENT
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Choice, Clause, Record, Text
from pipeline.grammar.vocabulary import event_types
from pipeline.language.condition import Condition, Names, OfOne, Scope
from pipeline.language.memory import Matcher, Moment

KEY = "consent"
STATES = ("given", "refused", "unknown")


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "consent": Clause(Text(), "A purpose, such as marketing.", required=True),
            "is": Clause(Choice(STATES, "a state of consent"), "given (default), refused, or unknown: never told."),
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """Any purpose may be told."""


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    path = f"{CONSENT}.{value['consent']}"
    return Consent(
        value["consent"], value.get("is", "given"), Matcher(event_types(), {path: {"exists": True}}, value=path)
    )


class Consent(OfOne):
    """What was said last of a purpose, whatever event told it."""

    def __init__(self, purpose: str, state: str, matcher: Matcher) -> None:
        self._purpose, self._state, self._matcher = purpose, state, matcher

    def _told(self, now: Moment) -> str:
        ledger = now.of(self._matcher)
        return "unknown" if not ledger else "given" if ledger[-1].value else "refused"

    def holds(self, now: Moment) -> bool:
        """Whether that was said."""
        return self._told(now) == self._state

    def fails(self, now: Moment) -> str:
        """What was said instead."""
        told = self._told(now)
        return "" if told == self._state else f"{self}, and it is {told}"

    def __str__(self) -> str:
        return f"consent to {self._purpose} is {self._state}"
