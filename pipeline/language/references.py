"""What stands for a value of a wait on the right side of a condition: `key`, its correlation key, and `start.x`, what
the event told that opened it.

What the event on the left side told has to be kept until it is known which waits there are (`Asked`), and so has what
their starts told (`kept`). Both are bounded: texts and lists are compared as far as they are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.grammar.operands import REFERENCE
from pipeline.language.operators import IGNORING_CASE, NOT, OPERATORS, equal
from pipeline.language.paths import Read

KEY = "key"
COMPARABLE = frozenset({"is", NOT, "contains", "starts_with", "ends_with", "gt", "gte", "lt", "lte", "before", "after"})
"""The operators that compare with one."""
TEXT_KEPT = 256  # characters of a text that is compared
ITEMS_KEPT = 50
START_KEPT = 4_096  # characters of all that is kept of one start

Where = Mapping[str, Mapping[str, Any]]


class Comparison(msgspec.Struct, frozen=True):
    """What a path is compared with."""

    path: str
    operator: str
    reference: str
    ignoring_case: bool = False


class Asked(msgspec.Struct, array_like=True, gc=False):
    """A comparison, with what an event told."""

    value: Any
    operator: str
    reference: str
    ignoring_case: bool = False


def start_path(reference: str) -> str | None:
    """The path in `start.x`; None: it is `key`."""
    found = REFERENCE.fullmatch(reference)
    return found["path"] if found else None


def is_reference(operator: str, operand: Any) -> bool:
    return operator in COMPARABLE and isinstance(operand, str) and REFERENCE.fullmatch(operand) is not None


def split(where: Where) -> tuple[dict[str, dict[str, Any]], list[Comparison]]:
    """(conditions whose operands are values, the others)."""
    plain: dict[str, dict[str, Any]] = {}
    compared: list[Comparison] = []
    for path, tests in where.items():
        folds = bool(tests.get(IGNORING_CASE))
        of_wait = {op: operand for op, operand in tests.items() if is_reference(op, operand)}
        compared += [Comparison(path, op, operand, folds) for op, operand in of_wait.items()]
        if rest := {op: operand for op, operand in tests.items() if op not in of_wait}:
            plain[path] = rest
    return plain, compared


def asked(compared: Sequence[tuple[Comparison, Read]], data: Mapping[str, Any]) -> tuple[list[Asked], bool]:
    """What an event told of what is compared; and whether that is all of it."""
    found: list[Asked] = []
    whole = True
    for each, read in compared:
        value = read(data)
        if isinstance(value, list):
            whole &= len(value) <= ITEMS_KEPT
            value = [_cut(item) for item in value[:ITEMS_KEPT]]
        found.append(Asked(_cut(value), each.operator, each.reference, each.ignoring_case))
    return found, whole


def kept(reads: Iterable[tuple[str, Read]], data: Mapping[str, Any], room: int = START_KEPT) -> dict[str, Any]:
    """What is kept of a start: path -> value. What there is no room for is as if it hadn't been told."""
    found: dict[str, Any] = {}
    for path, read in reads:
        value = read(data)
        if isinstance(value, list):
            value = [_cut(item) for item in value[:ITEMS_KEPT]]
        size = sum(map(len, filter(_is_text, value if isinstance(value, list) else [value])))
        if value is not None and size <= room:
            found[path] = value
            room -= size
    return found


def meet_key(asks: list[Asked], key: str) -> bool:
    """Whether all that compares with the key holds of that one."""
    return all(met(each, key) for each in asks if each.reference == KEY)


def meet_start(asks: list[Asked], start: Mapping[str, Any] | None) -> bool:
    """Whether all that compares with a start holds of the one that told that."""
    told = start or {}
    return all(met(each, told.get(path)) for each in asks if (path := start_path(each.reference)) is not None)


def met(ask: Asked, wanted: Any) -> bool:
    """Of lists one item each. What is missing, on either side, meets only `not`."""
    told, several = _several(ask.value), _several(wanted)
    if ask.operator == NOT or (ask.operator == "is" and not ask.ignoring_case):
        same = _share(told, several, ask.ignoring_case)
        return same if ask.operator == "is" else not same
    make = OPERATORS[ask.operator]
    return any(test(value) for test in [make(each, ask.ignoring_case) for each in several] for value in told)


def _share(a: list[Any], b: list[Any], ignoring_case: bool) -> bool:
    if not ignoring_case and not {*a}.isdisjoint(b):  # nearly all that do
        return True
    if not ignoring_case and all(isinstance(each, str) for each in (*a, *b)):
        return False
    return any(test(value) for test in [equal(each, ignoring_case) for each in b] for value in a)


def _several(value: Any) -> list[Any]:
    told = value if isinstance(value, list | tuple) else [value]
    return [_cut(item) for item in told if isinstance(item, str | int | float)]


def _cut(value: Any) -> Any:
    return value[:TEXT_KEPT] if isinstance(value, str) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
