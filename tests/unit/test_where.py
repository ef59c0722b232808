"""`where`: each operator, also on what is missing or of another kind."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.language.where import OPERATORS, compile_where

MISSING: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("test", "holds", "fails"),
    [
        ({"is": "ebook"}, ["ebook"], ["Ebook", "", None, 1]),
        ({"is": 2}, [2, 2.0], ["2", None]),
        ({"not": "machine"}, ["human", "", None], ["machine"]),
        ({"in": ["web", "app"]}, ["web", "app"], ["shop", None, ""]),
        ({"contains": "ebook"}, [["ebook"], ["a", "ebook"], "the ebook!"], [["e-book"], [], "e", None, 7]),
        ({"exists": True}, ["", 0, []], [None]),
        ({"exists": False}, [None], ["", 0]),
        ({"gt": 10}, [10.5, 11], [10, 9, None, "11"]),
        ({"gte": 10}, [10, 10.0], [9.9, None, "10"]),
        ({"lt": 10}, [9, -1], [10, 11, None, "9"]),
        ({"lte": 10}, [10, 9], [10.1, None, "9"]),
        ({"gte": 10, "lt": 20}, [10, 19.9], [9, 20, None]),
    ],
)
def test_operators(test: dict[str, Any], holds: list[Any], fails: list[Any]) -> None:
    where = compile_where({"field": test})
    assert where is not None
    for value in holds:
        assert where({"field": value}), value
    for value in fails:
        assert not where({"field": value}), value
    assert where({}) == where({"field": None})


def test_all_of_it_must_hold() -> None:
    where = compile_where({"link_id": {"is": "ebook"}, "confidence": {"not": "machine"}})
    assert where is not None
    assert where({"link_id": "ebook", "confidence": "human"})
    assert where({"link_id": "ebook"})
    assert not where({"link_id": "ebook", "confidence": "machine"})
    assert not where({"confidence": "human"})


def test_no_condition_is_no_call() -> None:
    assert compile_where({}) is None
    assert compile_where({"field": {}}) is None


def test_every_operator_is_tested_here() -> None:
    assert set(OPERATORS) == {"is", "not", "in", "contains", "exists", "gt", "gte", "lt", "lte"}
