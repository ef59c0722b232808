"""`where`: conditions on the fields of one event's body.

A condition is `{field: {op: value}}`; all must hold. A field that is absent or null fails every condition but
`exists: false` and `not`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.grammar.reader import OPERATORS as WORDS
from pipeline.grammar.shapes import Flag, Key, Many, Shape, Value
from pipeline.language.paths import read_path

Test = Callable[[Any], bool]
Condition = Callable[[Mapping[str, Any]], bool]


def _number(test: Callable[[Any, Any], bool], limit: Any) -> Test:
    return lambda v: isinstance(v, int | float) and test(v, limit)


OPERATORS: dict[str, Callable[[Any], Test]] = {
    "is": lambda want: lambda v: bool(v == want),
    "not": lambda want: lambda v: bool(v != want),
    "in": lambda want: lambda v: v in want,
    "contains": lambda want: lambda v: isinstance(v, str | list | tuple) and want in v,
    "exists": lambda want: lambda v: (v is not None) == want,
    "gt": lambda want: _number(lambda a, b: a > b, want),
    "gte": lambda want: _number(lambda a, b: a >= b, want),
    "lt": lambda want: _number(lambda a, b: a < b, want),
    "lte": lambda want: _number(lambda a, b: a <= b, want),
}


def compile_where(where: Mapping[str, Mapping[str, Any]]) -> Condition | None:
    """One callable for all conditions, or None where there are none (the caller saves the call)."""
    tests = [(read_path(field), OPERATORS[op](value)) for field, ops in where.items() for op, value in ops.items()]
    if not tests:
        return None
    return lambda body: all(test(read(body)) for read, test in tests)


def tests() -> dict[str, Key]:
    """What may be written beside something that is compared as a field is."""
    value = Value(flags=True)
    shapes: dict[str, Shape] = {"in": Many(value, least=1), "exists": Flag()}
    shapes |= dict.fromkeys(("gt", "gte", "lt", "lte"), Value(numbers=True))
    return {name: Key(shapes.get(name, value), f"It {words}.") for name, words in WORDS.items()}
