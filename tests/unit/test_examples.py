"""The oracle's examples, computed by hand, against the real rules: a history for every line of the semantics page."""

from __future__ import annotations

import pytest

from tests.oracle.compare import difference
from tests.oracle.examples import EXAMPLES, Example
from tests.replayed import changed, replayed


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e.line}: {e.name}" for e in EXAMPLES])
def test_hand_computed(example: Example) -> None:
    options = dict(example.options)
    open_end = options.pop("open_end", False)
    made = replayed(example.events, changed(**options), open_end=open_end)
    assert difference(example.expected, made) == ""


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e.line}: {e.name}" for e in EXAMPLES])
def test_ids_are_unique_and_come_from_the_input_alone(example: Example) -> None:
    options = dict(example.options)
    open_end = options.pop("open_end", False)
    first = replayed(example.events, changed(**options), open_end=open_end)
    assert replayed(example.events, changed(**options), open_end=open_end) == first
    ids = [decision["id"] for decision in first]
    assert len(set(ids)) == len(ids)
    fired = {decision["id"] for decision in first if decision["outcome"] == "fired"}
    assert {decision["retracts"] for decision in first if decision["outcome"] == "retracted"} <= fired
