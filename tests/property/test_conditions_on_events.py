"""Laws of conditions on events: whatever an event tells, they hold or they don't."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.events.segment_fields import number
from pipeline.events.times import read_time, rfc3339
from pipeline.grammar.operands import OPERATORS, TAKES
from pipeline.language.operators import compile_tests
from pipeline.language.paths import keys_of, read_path
from pipeline.language.references import COMPARABLE, Asked, kept, met
from pipeline.language.where import compile_where

texts = st.text(max_size=8) | st.text("aAbß0.12 :-/İ", max_size=6) | st.just("\ud800")
numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.sampled_from([0, 1, 2, 0.1, -0.0])
times = st.integers(800_000_000_000, 4_000_000_000_000).map(rfc3339)
scalars = texts | numbers | st.booleans() | times | numbers.map(str)
values = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)
operands = {
    "value": scalars,
    "values": st.lists(scalars, min_size=1, max_size=3),
    "number": numbers,
    "time": times,
    "range": st.tuples(numbers, numbers).map(sorted) | st.tuples(times, times).map(sorted),
    "flag": st.booleans(),
}


def operand(name: str) -> st.SearchStrategy[Any]:
    if name == "matches":
        return st.sampled_from(["a", "^a.*$", "[0-9]+", "(?i)b", "^$", "(a+)+$"])
    return operands[TAKES.get(name, "value")]


conditions = st.sampled_from(sorted(OPERATORS)).flatmap(lambda name: st.tuples(st.just(name), operand(name)))
several = st.lists(conditions, max_size=3).map(dict)


@given(several, st.booleans(), values)
def test_whatever_is_told_a_condition_holds_or_not(tests: dict[str, Any], folds: bool, value: Any) -> None:
    where = {path: {**tests, "ignoring_case": folds} for path in ("sku", "properties.a", "products.sku")}
    compiled = compile_where(where)
    for data in ({"sku": value}, {"sku": value, "properties": value, "products": value}, {"products": [value]}):
        assert compiled is None or compiled(data) in (True, False)


@given(scalars, values)
def test_not_is_what_is_is_not(wanted: Any, value: Any) -> None:
    assert holds({"not": wanted}, value) is not holds({"is": wanted}, value)
    assert holds({"in": [wanted]}, value) is holds({"is": wanted}, value)
    if holds({"is": wanted}, value):
        assert holds({"is": wanted, "ignoring_case": True}, value)


@given(numbers, scalars)
def test_a_number_is_less_or_it_is_not(limit: float, value: Any) -> None:
    less, more = holds({"lt": limit}, value), holds({"gte": limit}, value)
    assert not (less and more)
    assert (less or more) == (number(value) is not None and number(limit) is not None)
    assert holds({"lte": limit}, value) == (less or holds({"gte": limit, "lte": limit}, value))


@given(times, scalars)
def test_a_time_is_before_or_it_is_not(moment: str, value: Any) -> None:
    told = read_time(value)
    before, after = holds({"before": moment}, value), holds({"after": moment}, value)
    assert not (before and after)
    same = holds({"between": [moment, moment]}, value)
    assert (before or after or same) == (told is not None)


@given(conditions, values)
def test_of_a_list_one_item_does(condition: tuple[str, Any], value: Any) -> None:
    operator, wanted = condition
    assume(operator not in ("exists", "not", "contains") and not isinstance(value, list))
    assert holds({operator: wanted}, [value]) is holds({operator: wanted}, value)
    assert not holds({operator: wanted}, [])


@given(st.sampled_from(sorted(COMPARABLE)), scalars, st.booleans(), values)
def test_a_wait_is_compared_as_a_value_is(operator: str, wanted: Any, folds: bool, value: Any) -> None:
    assume(not isinstance(value, list | dict))
    ask = Asked(value, operator, "start.x", folds)
    assert met(ask, wanted) is holds({operator: wanted, "ignoring_case": folds}, value)
    assert met(ask, None) is (operator == "not")
    assert met(Asked([value], operator, "start.x", folds), [wanted, wanted]) is met(ask, wanted)


@given(st.dictionaries(st.sampled_from(["sku", "properties", "products", "link_ids"]), values))
def test_whatever_is_told_its_keys_are_texts_and_little_is_kept(data: dict[str, Any]) -> None:
    for path in ("link_ids", "properties.a", "products.sku", "context.campaign.name"):
        keys = keys_of(path)
        assert keys is not None
        assert all(isinstance(key, str) and key.strip() == key and key for key in keys(data))
    paths = ("sku", "properties.a", "products.sku")
    found = kept([(path, read_path(path)) for path in paths], {**data, "sku": "x" * 3000})
    assert sum(len(value) for value in found.values() if isinstance(value, str)) <= 4096


def holds(tests: dict[str, Any], value: Any) -> bool:
    compiled = compile_tests(tests)
    assert compiled is not None
    return compiled(value)
