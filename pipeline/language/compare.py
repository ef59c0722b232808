"""Comparisons of a number, or a length of time, that a condition works out: `{gte: 3}`, `{between: [2, 5]}`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pipeline.events.segment_fields import number
from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.shapes import Clause, Duration, Many, Record, Shape, Value

Test = Callable[[float], bool]

_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "is": operator.eq,
    "not": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "between": lambda value, bounds: bool(bounds[0] <= value <= bounds[1]),
}
_WORDS = {
    "is": "exactly",
    "not": "anything but",
    "gt": "more than",
    "gte": "at least",
    "lt": "less than",
    "lte": "at most",
    "between": "between",
}
NAMES = tuple(_TESTS)


def keys(of: Shape | None = None) -> dict[str, Clause]:
    """What may be written, of numbers unless it is said otherwise."""
    shape = of or Value(numbers=True)
    return {
        name: Clause(Many(shape, least=2, most=2) if name == "between" else shape, f"The number is {words} this.")
        for name, words in _WORDS.items()
    }


def record(of: Shape | None = None) -> Record:
    """The same, as a mapping of its own."""
    return Record(keys(of), some=True)


DURATIONS = record(Duration(0))


def picked(value: Mapping[str, Any]) -> dict[str, Any]:
    """Of what was written, the comparisons."""
    return {name: value[name] for name in NAMES if name in value}


def compiled(tests: Mapping[str, Any]) -> Test:
    """All of them hold."""
    each = [(_TESTS[name], operand) for name, operand in tests.items()]
    if len(each) == 1:
        ((test, operand),) = each
        return lambda value: test(value, operand)
    return lambda value: all(test(value, operand) for test, operand in each)


def reaches(tests: Mapping[str, Any], since: int, now: int) -> int | None:
    """When time alone may change what a length of time that began at `since` is compared to, after `now`."""
    moments: list[int] = []
    for bound in tests.values():
        for each in bound if isinstance(bound, list) else [bound]:
            # At the bound itself `gte`, `lt` and `is` change, a millisecond later the others.
            moments += [since + each, since + each + 1]
    return min((at for at in moments if at > now), default=None)


def said(tests: Mapping[str, Any], show: Callable[[Any], str] = str) -> str:
    """In words."""
    return " and ".join(
        f"{_WORDS[name]} {' and '.join(map(show, operand)) if isinstance(operand, list) else show(operand)}"
        for name, operand in tests.items()
    )


def check(at: Path, tests: Mapping[str, Any], reader: Reader, *, least: float | None = None) -> None:
    """Report comparisons that never hold. `least`: what is compared is never less."""
    low, high = least if least is not None else float("-inf"), float("inf")
    strict = False
    for name, operand in tests.items():
        if name in ("gt", "gte", "is"):
            low, strict = max(low, operand), strict or name == "gt"
        if name in ("lt", "lte", "is"):
            high, strict = min(high, operand), strict or name == "lt"
        if name == "between":
            low, high = max(low, operand[0]), min(high, operand[1])
    if low > high or (low == high and strict):
        place = (*at, next(iter(tests)))
        reader.report(
            place, "never-holds", f"{said(tests)}: no number is that", "turn it round, or remove one", key=True
        )


def exact(value: Any) -> Decimal | int:
    """A number as it was told, decimal: 0.1 three times is 0.3. What isn't one is nothing."""
    if type(value) is int or type(value) is Decimal:
        return value
    found = number(value)
    return 0 if found is None else Decimal(str(found))


def total(values: Iterable[Any]) -> float:
    """Of numbers."""
    return float(sum(map(exact, values)))


def changes(moments: Sequence[int], numbers: Sequence[Any], test: Test) -> int | None:
    """The first of `moments`, sorted, of which what stands there and before may go before `test` says otherwise.
    `numbers`: what is compared with all of it, without the first, without the first two, and so on.
    """
    held = test(numbers[0])
    for place, moment in enumerate(moments):
        if place + 1 < len(moments) and moments[place + 1] == moment:
            continue
        if test(numbers[place + 1]) != held:
            return moment
    return None


def from_behind(values: Sequence[Any]) -> list[float]:
    """Sums, as `total` makes them: of all, of all but the first, and so on; nought at last."""
    sums: list[Decimal | int] = [0]
    for value in reversed(values):
        sums.append(sums[-1] + exact(value))
    return [*map(float, reversed(sums))]
