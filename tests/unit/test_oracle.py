"""The oracle against decisions computed by hand, a history for every line of the semantics page that it judges."""

from __future__ import annotations

import pytest

from tests.oracle.compare import difference
from tests.oracle.examples import EXAMPLES, Example
from tests.oracle.oracle import decisions


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e.line}: {e.name}" for e in EXAMPLES])
def test_hand_computed(example: Example) -> None:
    assert difference(example.expected, decisions(example.events, **example.options)) == ""


def test_every_line_has_an_example() -> None:
    assert {e.line for e in EXAMPLES} == set(range(2, 17)) | set(range(18, 23))
