"""Operators: what a rule asks of a value that an event tells, a function each.

A value is a text, a number, true or false, as its schema has it. What a sender tells under a name of their own (`any`,
see vocabulary.py) is a text always: compared with a number it counts as the number that it is ("12.50"), with a time as
that time, with true or false as these words. What isn't one meets no such condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import ge, gt, le, lt
from typing import Any

from pipeline.events.segment_fields import number
from pipeline.events.times import read_time
from pipeline.grammar import operands
from pipeline.language import patterns

Test = Callable[[Any], bool]
Make = Callable[[Any, bool], Test]
"""Of an operand, and whether case makes no difference, a test of a value that is there and is no list."""


def equal(wanted: Any, ignoring_case: bool) -> Test:
    """Texts letter by letter, numbers by their value."""
    if isinstance(wanted, bool):
        word = "true" if wanted else "false"
        return lambda value: value is wanted or (isinstance(value, str) and value.strip().lower() == word)
    if isinstance(wanted, str):
        if ignoring_case:
            folded = wanted.casefold()
            return lambda value: isinstance(value, str) and value.casefold() == folded
        return lambda value: bool(value == wanted)
    return lambda value: value == wanted if type(value) in (int, float) else number(value) == wanted


def _any_of(wanted: Sequence[Any], ignoring_case: bool) -> Test:
    if not ignoring_case and all(isinstance(each, str) for each in wanted):
        texts = frozenset(wanted)
        return lambda value: isinstance(value, str) and value in texts
    tests = [equal(each, ignoring_case) for each in wanted]
    return lambda value: any(test(value) for test in tests)


def _text(holds: Callable[[str, str], bool]) -> Make:
    def make(wanted: Any, ignoring_case: bool) -> Test:
        if not isinstance(wanted, str):
            return lambda value: False
        if ignoring_case:
            folded = wanted.casefold()
            return lambda value: isinstance(value, str) and holds(value.casefold(), folded)
        return lambda value: isinstance(value, str) and holds(value, wanted)

    return make


def _matches(wanted: Any, ignoring_case: bool) -> Test:
    found = patterns.finder(wanted, ignoring_case)
    return lambda value: isinstance(value, str) and found(value)


def _number(holds: Callable[[Any, Any], bool]) -> Make:
    def make(wanted: Any, ignoring_case: bool) -> Test:
        limit = number(wanted)
        if limit is None:
            return lambda value: False
        return lambda value: (found := number(value)) is not None and holds(found, limit)

    return make


def _time(holds: Callable[[int, int], bool]) -> Make:
    def make(wanted: Any, ignoring_case: bool) -> Test:
        limit = read_time(wanted)
        if limit is None:
            return lambda value: False
        return lambda value: (found := read_time(value)) is not None and holds(found, limit)

    return make


def _between(wanted: Any, ignoring_case: bool) -> Test:
    """Texts are times."""
    least, most = wanted
    read: Callable[[Any], Any] = read_time if isinstance(least, str) else number
    low, high = read(least), read(most)
    if low is None or high is None:
        return lambda value: False
    return lambda value: (found := read(value)) is not None and low <= found <= high


OPERATORS: dict[str, Make] = {
    "is": equal,
    "in": _any_of,
    "contains": _text(lambda value, wanted: wanted in value),
    "starts_with": _text(str.startswith),
    "ends_with": _text(str.endswith),
    "matches": _matches,
    "gt": _number(gt),
    "gte": _number(ge),
    "lt": _number(lt),
    "lte": _number(le),
    "between": _between,
    "before": _time(lt),
    "after": _time(gt),
}
NOT, EXISTS, IGNORING_CASE = "not", "exists", "ignoring_case"  # of the value as a whole, see `compile_tests`
assert {*OPERATORS, NOT, EXISTS} == operands.OPERATORS.keys()
assert {IGNORING_CASE} == operands.MODIFIERS.keys()


def compile_tests(tests: Mapping[str, Any], several: bool = False) -> Test | None:
    """One test for all of a path's conditions, or None where there are none: {operator: operand} to a test of what
    `read_path` gives. All must hold; of a list of one of its items, and `not` of every one. None meets only `not` and
    `exists: false`. `several`: the path leads into several items, and `contains` asks for a part of what one tells; of
    other lists it asks for one whole item.
    """
    folds = bool(tests.get(IGNORING_CASE))
    if len(tests) == 1 and not several:
        ((operator, operand),) = tests.items()
        if operator in _PLAIN and isinstance(operand, str):
            return _PLAIN[operator](operand)
    wanted = [(op, operand) for op, operand in tests.items() if op in OPERATORS]
    some = [OPERATORS[op](operand, folds) for op, operand in wanted]
    if not several and any(op == "contains" for op, _ in wanted):
        item = [OPERATORS["is" if op == "contains" else op](operand, folds) for op, operand in wanted]
    else:
        item = some
    none = equal(tests[NOT], folds) if NOT in tests else None
    exists = tests.get(EXISTS)
    if exists is not None and len(tests) == 1:
        return (lambda value: value is not None) if exists else (lambda value: value is None)
    if len(some) == 1 and none is None and exists is None:
        return _one(some[0], item[0])
    if not some and none is not None and exists is None:
        return _not(none)
    return _all(some, item, none, exists) if some or none is not None or exists is not None else None


# What nearly all conditions are, one text compared with a text or a list of these, takes one call.
_PLAIN: dict[str, Callable[[str], Test]] = {
    "is": lambda wanted: lambda value: value == wanted or (isinstance(value, list | tuple) and wanted in value),
    NOT: lambda wanted: lambda value: value != wanted and not (isinstance(value, list | tuple) and wanted in value),
    "contains": lambda wanted: lambda value: isinstance(value, str | list | tuple) and wanted in value,
}


def _one(test: Test, of_item: Test) -> Test:
    def holds(value: Any) -> bool:
        if value is None:
            return False
        if isinstance(value, list | tuple):
            return any(of_item(each) for each in value)
        return test(value)

    return holds


def _not(test: Test) -> Test:
    def holds(value: Any) -> bool:
        if isinstance(value, list | tuple):
            return not any(test(each) for each in value)
        return value is None or not test(value)

    return holds


def _all(some: list[Test], of_item: list[Test], none: Test | None, exists: bool | None) -> Test:
    def holds(value: Any) -> bool:
        if value is None:
            return not some and exists is not True
        if exists is False or (none is not None and not _not(none)(value)):
            return False
        if isinstance(value, list | tuple):
            return not some or any(all(test(each) for test in of_item) for each in value)
        return all(test(value) for test in some)

    return holds
