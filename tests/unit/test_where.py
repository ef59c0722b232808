"""`where`: each operator, also on what is missing or of another kind; and each sort of path."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipeline.events import tidy
from pipeline.grammar.operands import MODIFIERS, OPERATORS
from pipeline.language import patterns
from pipeline.language.paths import fixed, known, meant, needs, read_path, told
from pipeline.language.where import compile_where

OPERATORS_TESTED: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"is": "ebook"}, ["ebook", ["a", "ebook"]], ["Ebook", "", None, 1, [], ["e"], {}]),
    ({"is": "EBook", "ignoring_case": True}, ["ebook", "EBOOK", ["eBook"]], ["e", None, 1]),
    ({"is": 2}, [2, 2.0, "2", "2.00", " 2 ", "2,0", [1, "2"]], [None, "two", "", "1.999", True]),
    ({"is": True}, [True, "true", "True"], [False, None, 1, "1", "yes", "false"]),
    ({"is": False}, [False, "false"], [True, None, 0, "0", ""]),
    ({"not": "machine"}, ["human", "", None, ["human"], []], ["machine", ["human", "machine"]]),
    ({"not": "Machine", "ignoring_case": True}, ["human", None], ["machine"]),
    ({"not": 3}, ["4", None, "three", 4], ["3", 3.0, "3.0", [1, 3]]),
    ({"in": ["web", "app"]}, ["web", "app", ["x", "app"]], ["shop", None, "", {}, 5]),
    ({"in": ["Web"], "ignoring_case": True}, ["web"], ["app", None]),
    ({"in": [1, "two"]}, [1, "1.0", "two"], ["2", None, True]),
    ({"contains": "ebook"}, [["ebook"], ["a", "ebook"], "the ebook!"], [["e-book"], ["the ebook!"], [], "e", None, 7]),
    ({"contains": "BOOK", "ignoring_case": True}, ["the ebook!", ["book"]], ["e", None, ["ebook"]]),
    ({"starts_with": "/pri"}, ["/pricing", "/pri", ["/", "/price"]], ["/Pricing", "a/pri", "", None, 7, []]),
    ({"starts_with": "/PRI", "ignoring_case": True}, ["/pricing"], ["pricing"]),
    ({"ends_with": ".pdf"}, ["a.pdf", [".pdf"]], ["a.PDF", "pdf", None, 7]),
    ({"ends_with": ".PDF", "ignoring_case": True}, ["a.pdf"], ["a.pd"]),
    ({"matches": r"^/p/[0-9]+$"}, ["/p/17", ["x", "/p/1"]], ["/p/", "/p/17/", None, 7, "\ud800"]),
    ({"matches": "tent"}, ["a tent!"], ["Tent", ""]),
    ({"matches": "tent", "ignoring_case": True}, ["a Tent!"], ["ten"]),
    ({"exists": True}, ["", 0, [], False], [None]),
    ({"exists": False}, [None], ["", 0, []]),
    (
        {"gt": 10},
        [10.5, 11, "11", "10,5", "12.50 EUR", [9, 11]],
        [10, 9, None, "10", "1,234", "many", "nan", "inf", True],
    ),
    ({"gte": 10}, [10, 10.0, "10", "12.5"], [9.9, None, "9.9", "", [], {}]),
    ({"lt": 10}, [9, -1, "9", "-1e3"], [10, 11, None, "11"]),
    ({"lte": 10}, [10, 9, "10"], [10.1, None, "-"]),
    ({"gte": 10, "lt": 20}, [10, 19.9, "15", [5, 15]], [9, 20, None, [5, 25]]),
    ({"between": [10, 20]}, [10, 20, "15"], [9.9, 20.1, None, "x"]),
    (
        {"between": ["2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"]},
        ["2026-01-01", "2026-01-15T12:00:00+01:00", 1767225600, "1767225600000"],
        ["2025-12-31T23:59:59.999Z", "2026-02-01T00:00:01Z", None, "soon", 5],
    ),
    (
        {"before": "2026-01-01T00:00:00.000Z"},
        ["2025-12-31", "Wed, 31 Dec 2025 23:59:59 GMT"],
        ["2026-01-01", None, "x"],
    ),
    ({"after": "2026-01-01T00:00:00.000Z"}, ["2026-01-02", 1767225601], ["2026-01-01", "2025-12-31", None, "", True]),
    ({"is": "a", "not": "b"}, ["a", ["a", "c"]], [["a", "b"], "b", None]),
    ({"exists": True, "not": "a"}, ["b", ""], [None, "a"]),
    ({"exists": False, "not": "a"}, [None], ["b", "a"]),
]


@pytest.mark.parametrize(("test", "holds", "fails"), OPERATORS_TESTED, ids=str)
def test_operators(test: dict[str, Any], holds: list[Any], fails: list[Any]) -> None:
    where = compile_where({"sku": test})
    inside = compile_where({"properties.sku": test})
    assert where is not None
    assert inside is not None
    for value in holds:
        assert where({"sku": value}), value
        assert inside({"properties": {"sku": value}}), value
    for value in fails:
        assert not where({"sku": value}), value
        assert not inside({"properties": {"sku": value}}), value
    assert where({}) == where({"sku": None}) == inside({}) == inside({"properties": {}}) == inside({"properties": "?"})


def test_every_operator_is_tested_here() -> None:
    assert {name for test, _, _ in OPERATORS_TESTED for name in test} == {*OPERATORS, *MODIFIERS}


def test_only_not_and_exists_false_are_met_by_what_is_missing() -> None:
    met = {name for test, holds, _ in OPERATORS_TESTED for name in test if None in holds}
    assert met == {"not", "exists", "ignoring_case"}


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
    assert compile_where({"field": {"ignoring_case": True}}) is None


# Paths.

DATA = {
    "sku": "s",
    "link_ids": ["a", "b"],
    "properties": {"plan": "pro", "a.b": "7"},
    "products": [{"product_id": "p1", "price": 5.0}, {"sku": "s2"}, {"product_id": "p2", "price": 50.0}],
    "context.timezone": "Europe/Vienna",
    "context.campaign": {"source": "mail"},
    "consent": {"marketing": False},
}


@pytest.mark.parametrize(
    ("path", "value", "needed"),
    [
        ("sku", "s", ("sku",)),
        ("cart_id", None, ("cart_id",)),
        ("link_ids", ["a", "b"], ("link_ids",)),
        ("properties.plan", "pro", ("properties",)),
        ("properties.a.b", "7", ("properties", "properties.a.b")),
        ("context.campaign.a.b", None, ("context.campaign",)),
        ("consent.a.b", None, ("consent",)),
        ("properties.none", None, ("properties",)),
        ("traits.plan", None, ("traits",)),
        ("products.product_id", ["p1", "p2"], ("products", "products.product_id")),
        ("products.name", None, ("products", "products.name")),
        ("context.timezone", "Europe/Vienna", ("context.timezone",)),
        ("context.campaign.source", "mail", ("context.campaign",)),
        ("context.url", None, ("context.url",)),
        ("consent.marketing", False, ("consent",)),
        ("consent.other", None, ("consent",)),
    ],
)
def test_what_is_read_of_a_path_and_what_it_needs(path: str, value: Any, needed: tuple[str, ...]) -> None:
    assert read_path(path)(DATA) == value
    assert read_path(path)({}) is None
    assert needs(path) == needed


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ({"products.price": {"gt": 10, "lt": 100}}, True),
        ({"products.price": {"gt": 10, "lt": 40}}, False),  # one item, and not one each
        ({"products.product_id": {"not": "p3"}}, True),
        ({"products.product_id": {"not": "p2"}}, False),
        ({"products.product_id": {"contains": "2"}}, True),
        ({"products.name": {"exists": False}}, True),
        ({"products.name": {"not": "Tent"}}, True),
        ({"products.name": {"is": "Tent"}}, False),
        ({"consent.marketing": {"is": False}}, True),
        ({"consent.sms": {"is": False}}, False),
        ({"context.campaign.source": {"is": "mail"}, "properties.a.b": {"gte": 7}, "sku": {"is": "s"}}, True),
        ({"context.campaign.source": {"is": "mail"}, "properties.a.b": {"gte": 8}, "sku": {"is": "s"}}, False),
    ],
)
def test_conditions_on_paths(where: dict[str, dict[str, Any]], holds: bool) -> None:
    test = compile_where(where)
    assert test is not None
    assert test(DATA) is holds


def test_which_events_have_a_path() -> None:
    def kind(event: str, path: str) -> str | None:
        held = told(event, path)
        return None if held is None else held.kind

    assert [kind("product_added", path) for path in ("sku", "price", "products", "products.price")] == [
        "text",
        "number",
        "records",
        "number",
    ]
    assert kind("product_viewed", "products.price") is None
    assert [kind("custom", path) for path in ("properties", "properties.x", "traits.x", "properties.")] == [
        "map",
        "any",
        None,
        None,
    ]
    contexts = ("context.url", "context.bot", "context.campaign", "context.campaign.x", "context.url.x", "context")
    assert [kind("searched", path) for path in contexts] == ["text", "flag", "map", "any", None, None]
    assert [kind("searched", path) for path in ("consent.x", "consent", "consent.")] == ["flag", "map", None]
    assert known("traits.plan")
    assert not known("trait.plan")
    assert all(told("order_completed", path) is not None for path in fixed("order_completed"))


def test_what_is_meant_is_something_that_is_there() -> None:
    def hint(event: str, path: str) -> str:
        return meant(event, path, lambda held: held.kind in ("text", "any"))

    assert hint("order_completed", "product.product_id") == "did you mean products.product_id?"
    assert hint("order_completed", "sku") == "did you mean products.sku?"
    assert hint("custom", "property.plan") == "did you mean properties.plan?"
    assert hint("custom", "plan") == "did you mean properties.plan?"
    assert hint("searched", "context.timezon") == "did you mean context.timezone?"
    assert hint("searched", "context.campaing.source") == "did you mean context.campaign.source?"
    assert hint("searched", "context.ulr") == "did you mean context.url?"
    assert hint("searched", "timezone") == "did you mean context.timezone?"
    assert "price" not in hint("product_added", "prise")  # a number, where a text is wanted


# What stands in another form than it was told.


def test_operands_have_the_form_of_the_field() -> None:
    def formed(event: str, where: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return tidy.operands(event, where)

    assert formed("email_clicked", {"link_id": {"starts_with": "EB", "in": ["A", "b"]}}) == {
        "link_id": {"starts_with": "eb", "in": ["a", "b"]}
    }
    assert formed("email_clicked", {"link_id": {"matches": r"^\D+$"}}) == {
        "link_id": {"matches": r"^\D+$", "ignoring_case": True}
    }
    assert formed("order_completed", {"products.currency": {"is": "eur"}}) == {"products.currency": {"is": "EUR"}}
    assert formed("custom", {"properties.x": {"is": " A "}, "context.url": {"is": "B"}}) == {
        "properties.x": {"is": " A "},
        "context.url": {"is": "B"},
    }


# Expressions.


def test_no_text_keeps_an_expression_busy() -> None:
    where = compile_where({"sku": {"matches": r"^(a+)+$"}, "name": {"matches": r"(x+x+)+y"}})
    assert where is not None
    began = time.process_time()
    assert not where({"sku": "a" * 1024 + "!", "name": "x" * 1024})
    assert not where({"sku": "a" * 1024, "name": "x" * 1024})
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "missing"),
        (r"(a)\1", "invalid escape"),
        ("(?=a)", "invalid perl operator"),
        ("(a{1000}){1000}", "invalid repetition size"),
        ("a" * 1001, "more than 1000"),
        ("\ud800", "half a character"),
        ("^[^/]*$", ""),
    ],
)
def test_what_is_no_expression_is_told(pattern: str, why: str) -> None:
    found = patterns.problem(pattern)
    assert why in found
    assert bool(found) == bool(why)
