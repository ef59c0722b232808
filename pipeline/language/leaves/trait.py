"""`trait`: what was told of a person last, `{trait: plan, is: pro}`, by when it occurred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.events.catalogue import doing
from pipeline.grammar.operands import MODIFIERS, OPERATORS, TAKES
from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.shapes import Clause, Flag, Many, Record, Shape, Text, Value
from pipeline.language.condition import Condition, Names, OfOne, Scope
from pipeline.language.memory import Matcher, Moment
from pipeline.language.operators import compile_tests

KEY = "trait"
TELLS = tuple(doing("traits"))


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "trait": Clause(Text(), "A trait's name, as it is told; in an object: `company.size`.", required=True),
            **_tests(),
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """Something is asked of it."""
    check_name((*at, "trait"), value.get("trait", ""), names.reader)
    asked = _asked(value)
    if not asked and not any(names.reader.has((*at, name)) for name in _tests()):
        hint = "write is: ..., or exists: true"
        names.reader.report((*at, "trait"), "missing-key", "nothing is asked of the trait", hint, key=True)
    names.where(at, {f"traits.{value.get('trait', '')}": asked}, TELLS)


def check_name(at: Path, name: str, reader: Reader) -> None:
    """A trait is named as it is told."""
    head, _, rest = name.partition(".")
    if head in ("trait", "traits") and rest:
        message = f"a trait is named as it is told, and {name} is hardly told"
        reader.report(at, "bad-value", message, f"write {rest}", severity="warning")


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    return told_last(value["trait"], _asked(value))


def told_last(name: str, asked: Mapping[str, Any] | None = None) -> Trait:
    """The trait of that name, of which perhaps something is asked."""
    path = f"traits.{name}"
    return Trait(name, Matcher(TELLS, {path: {"exists": True}}, value=path), asked or {})


def _tests() -> dict[str, Clause]:
    shapes: dict[str, Shape] = {
        "value": Value(flags=True),
        "values": Many(Value(), least=1),
        "number": Value(numbers=True),
        "time": Text("a time such as 2026-03-29T01:30:00Z"),
        "range": Many(Value(), least=2, most=2),
        "flag": Flag(),
    }
    known = {name: f"The trait {words}." for name, words in OPERATORS.items()} | MODIFIERS
    return {name: Clause(shapes[TAKES.get(name, "value")], words) for name, words in known.items()}


def _asked(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: operand for name, operand in value.items() if name != "trait"}


class Trait(OfOne):
    """The value of a trait that was told last."""

    def __init__(self, name: str, matcher: Matcher, asked: Mapping[str, Any]) -> None:
        self._name, self._matcher, self._asked = name, matcher, asked
        self._test = compile_tests(asked)

    def holds(self, now: Moment) -> bool:
        """Of the value told last."""
        return self._test is None or self._test(self.value(now))

    def value(self, now: Moment) -> Any:
        """None: it was never told."""
        ledger = now.of(self._matcher)
        return ledger[-1].value if ledger else None

    def fails(self, now: Moment) -> str:
        """What it is instead."""
        if self.holds(now):
            return ""
        value = self.value(now)
        return f"{self}, and it is {'not told' if value is None else value}"

    def __str__(self) -> str:
        return f"trait {self._name} " + " and ".join(f"{name} {_said(told)}" for name, told in self._asked.items())


def _said(operand: Any) -> str:
    """As it is written."""
    if isinstance(operand, list):
        return f"[{', '.join(map(_said, operand))}]"
    return str(operand).lower() if isinstance(operand, bool) else str(operand)
