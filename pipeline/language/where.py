"""`where`: conditions on what one event tells.

A condition is `{path: {operator: operand}}` (paths.py, operators.py); all must hold. Of a list one item must meet what
is said of its path, all of it; `not` every one. What is missing fails every condition but `exists: false` and `not`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.language.operators import Test, compile_tests
from pipeline.language.paths import Read, parse, read_path

EventTest = Callable[[Mapping[str, Any]], bool]


def compile_where(where: Mapping[str, Mapping[str, Any]]) -> EventTest | None:
    """One callable for all conditions, or None where there are none (the caller saves the call). It takes a row's data.

    Operands are values: what stands for one of a wait's is compared by references.py.
    """
    fields: list[tuple[str, Test]] = []  # of what needs no reading
    reads: list[tuple[Read, Test]] = []
    for path, tests in where.items():
        field, inner, several = parse(path)
        test = compile_tests(tests, several)
        if test is not None and inner:
            reads.append((read_path(path), test))
        elif test is not None:
            fields.append((field, test))
    if not fields and not reads:
        return None
    if len(fields) == 1 and not reads:
        field, test = fields[0]
        return lambda data: test(data.get(field))
    if len(reads) == 1 and not fields:
        read, meets = reads[0]
        return lambda data: meets(read(data))

    def holds(data: Mapping[str, Any]) -> bool:
        for field, test in fields:
            if not test(data.get(field)):
                return False
        return not reads or all(test(read(data)) for read, test in reads)

    return holds
