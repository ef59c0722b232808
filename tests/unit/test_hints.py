"""What people write who know what they want and not how it is written here: what they are told to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.language.condition import compile_condition
from pipeline.topology import lint
from tests.unit.test_topology_lint import BASE

RULE = """
triggers:
  it:
    version: 1
    start: {event: searched}
    after: 1h
"""


@pytest.mark.parametrize(
    ("was", "wrong", "code", "hint"),
    [
        ("after: 1h", "after: 1w", "bad-duration", "write 7d"),
        ("after: 1h", "after: 2 hours", "bad-duration", "write 2h"),
        ("after: 1h", "after: 1 month", "bad-duration", "write 30d"),
        ("after: 1h", "after: soon", "bad-duration", "write a number and a unit: 250ms, 10s, 5m, 1h, 3d"),
        ("after: 1h", "after: 0m", "bad-value", "at least 1ms"),
        ("after: 1h", "after: {for: 1h, until: 18:00}", "wrong-type", 'write {time: "18:00"}'),
        ("start: {event: searched}", "start: searched", "wrong-type", "write {event: searched}"),
        ("after: 1h", "after: 1h\n    when: {did: searched}", "unknown-key", "it stands in start: {when: ...}"),
        ("after: 1h", "after: 1h\n    cancle: {event: searched, reason: x}", "unknown-key", "did you mean cancel?"),
        (
            "start: {event: searched}",
            "start: {event: searched, segment: s}",
            "unknown-key",
            "a condition stands in when: {segment: ...}",
        ),
        ("after: 1h", "after: 1h\n    only_if: [{did: searched}]", "wrong-type", "join them: {all: [...]}"),
        (
            "after: 1h",
            "after: 1h\n    only_if: {not: {did: searched}}",
            "unknown-condition",
            "did you mean none: [...]?",
        ),
        ("after: 1h", "after: 1h\n    only_if: {none: {did: searched}}", "wrong-type", "put it in brackets: [{...}]"),
        ("after: 1h", 'after: 1h\n    only_if: {did: searched, times: ">= 3"}', "wrong-type", "write {gte: 3}"),
        ("event: searched", "event: searched, where: {query: [a, b]}", "wrong-type", "write {in: [a, b]}"),
        (
            "after: 1h",
            "after: 1h\n    payload: {what: query}",
            "bad-value",
            "write start.query for what the event told",
        ),
        ("after: 1h", "after: {for: 1h, until: {time: 9:00}}", "wrong-type", 'write "09:00"'),
        ("after: 1h", "after: {for: 1h, until: {time: '17.00'}}", "bad-value", 'write "17:00"'),
        ("after: 1h", "after: {for: 1h, until: 9:00}", "wrong-type", 'write {time: "09:00"}'),
        ("after: 1h", "after: {until: {time: '17:00'}}", "missing-key", "`1ms` is the next such time, be it today"),
        ("after: 1h", "stages: [1h, 1d]", "wrong-type", "write {name: ..., after: 1h}"),
        ("after: 1h", "after: 1h\n    again: 7d", "wrong-type", "write {after: 7d}"),
        ("after: 1h", "after: 1h\n    once: 7d", "wrong-type", "write {forget: 7d}"),
        (
            "after: 1h",
            "after: 1h\n    cancel: {event: page_viewed, reason: Looked On}",
            "bad-value",
            "write looked_on",
        ),
        ("  it:", "  It:", "bad-name", "write it"),
        ("event: searched", "event: Subscribed", "unknown-event", "an event of your own is `custom`"),
        ("event: searched", "event: custom, name: subscribed", "unknown-key", "stands in where: {name: ...}"),
        ("after: 1h", "after: 1h\n    only_if: {last: any, age: 10d}", "wrong-type", "write {gte: 10d}"),
        ("after: 1h", "after: 1h\n    only_if: {visits: {min: 3}}", "unknown-key", "did you mean gte?"),
        ("after: 1h", "after: 1h\n    only_if: {film: {share: {gte: 60%}}}", "wrong-type", "write 0.6"),
        ("after: 1h", "after: 1h\n    only_if: {film: {share: {gte: '0.6'}}}", "wrong-type", "write it without quotes"),
        ("after: 1h", "after: 1h\n    only_if: {consent: email, is: true}", "wrong-type", "given, refused, unknown"),
        ("after: 1h", "after: 1h\n    only_if: {trait: traits.plan, is: pro}", "bad-value", "write plan"),
        ("start: {event: searched}", "start: {date: {trait: trait.ends}}", "bad-value", "write ends"),
        (
            "event: searched",
            "event: identified, where: {company.size: {gte: 50}}",
            "unknown-field",
            "did you mean traits.company.size?",
        ),
        (
            "event: searched",
            "event: identified, where: {traits: {company: {size: {gte: 50}}}}",
            "unknown-operator",
            "what stands in it has a longer name: traits.company",
        ),
        (
            "event: searched",
            "event: identified, where: {traits.company: {size: 50}}",
            "unknown-operator",
            "what stands in it has a longer name: traits.company.size",
        ),
        (
            "event: searched",
            "event: searched, where: {query: {size: {gte: 50}}}",
            "unknown-operator",
            "what stands in it has a longer name: query.size",
        ),
        (
            "event: searched",
            "event: identified, where: {traits.plan: {ist: a}}",
            "unknown-operator",
            "did you mean is?",
        ),
        ("event: searched", "event: identified, where: {traits.size: {'>=': 5}}", "unknown-operator", "mean gte?"),
        ("event: searched", "event: searched, where: {query: {foo: a}}", "unknown-operator", "operators: is, not"),
        ("after: 1h", "after: 1h\n    payload: {what: traits.name}", "bad-value", "did you mean trait.name?"),
        ("after: 1h", "after: 1h\n    payload: {what: last.page_viewed.path}", "bad-value", "trait.NAME told last"),
        ("after: 1h", "after: 1h\n    payload: [trait.name]", "bad-value", "single values have names"),
        (
            "start: {event: searched}",
            "start: {when: {did: searched}}\n    payload: {what: start.query}",
            "unknown-field",
            "",
        ),
        ("after: 1h", "after: 1h\n    payload: {what: strat.query}", "bad-value", "did you mean start.query?"),
    ],
)
def test_what_was_meant_is_said(tmp_path: Path, was: str, wrong: str, code: str, hint: str) -> None:
    (tmp_path / "one.yaml").write_text(RULE.replace(was, wrong), "utf-8")
    (tmp_path / "t.yaml").write_text(f"{BASE}include: [one.yaml]\n", "utf-8")
    found = [each for each in lint(tmp_path / "t.yaml", {}) if each.code == code]
    assert hint in found[0].hint


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"exists": True}, "trait plan exists true"),
        ({"in": ["a", "b"], "ignoring_case": True}, "trait plan in [a, b] and ignoring_case true"),
        ({"gte": 50}, "trait plan gte 50"),
    ],
)
def test_what_is_asked_of_a_trait_is_told_as_it_is_written(asked: dict[str, object], said: str) -> None:
    assert str(compile_condition({"trait": "plan", **asked})) == said


def test_of_a_number_that_is_none_nothing_is_made_up(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(f"{BASE}measures:\n  m: {{sum: [{{did: searched, points: a.b}}]}}\n", "utf-8")
    assert [(each.code, each.hint) for each in lint(tmp_path / "t.yaml", {})] == [("wrong-type", "")]


def test_what_stands_beside_a_misplaced_condition_is_told_with_it(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(f"{BASE}segments:\n  a: {{visits: 4, within: 14d}}\n", "utf-8")
    hints = [each.hint for each in lint(tmp_path / "t.yaml", {}) if each.code == "unknown-key"]
    assert hints == ["a condition stands in when: {visits: ...}", "it stands in when, beside visits"]


PER_CART = """
triggers:
  it:
    version: 1
    per: cart_id
    start: {event: product_added}
    after: 1h
    only_if: {did: product_viewed, distinct: category, gte: 2, within: 7d}
"""


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("", "", True),
        ("did: product_viewed, distinct: category, gte: 2", "did: product_added", False),
        ("did: product_viewed, distinct: category, gte: 2", "did: searched", False),
        ("did: product_viewed, distinct: category, gte: 2", "did: product_viewed, where: {product_id: key}", False),
        ("start: {event: product_added}", "start: {when: {did: product_viewed, within: 1d}}", False),
        ("    version: 1", "    version: 1\n    enabled: false", False),
    ],
)
def test_what_a_rule_with_a_key_counts_by_it_is_noted(tmp_path: Path, was: str, now: str, told: bool) -> None:
    (tmp_path / "one.yaml").write_text(PER_CART.replace(was, now), "utf-8")
    (tmp_path / "t.yaml").write_text(f"{BASE}include: [one.yaml]\n", "utf-8")
    found = [each for each in lint(tmp_path / "t.yaml", {}) if each.code == "of-the-key"]
    assert [str(each).partition("of-the-key: ")[2] for each in found] == [
        "only product_viewed with the wait's own cart_id counts"
        " (to count all of the person's name a segment, or a measure, that does)"
    ] * told


def test_a_date_that_is_told_anew_needs_no_cancel(tmp_path: Path) -> None:
    cancel = "cancel: {event: identified, where: {traits.ends: {exists: true}}, reason: told_anew}"
    rule = RULE.replace("start: {event: searched}", "start: {date: {trait: ends}}") + f"    {cancel}\n"
    (tmp_path / "one.yaml").write_text(rule, "utf-8")
    (tmp_path / "t.yaml").write_text(f"{BASE}include: [one.yaml]\n", "utf-8")
    (found,) = lint(tmp_path / "t.yaml", {})
    assert (found.severity, found.code) == ("warning", "start-and-cancel")
    assert found.hint == "remove it: told anew, a date moves the wait by itself"


@pytest.mark.parametrize(
    "when",
    [
        "{did: page_view}",
        "{}",
        "[]",
        "{all: []}",
        "{all: [{did: page_view}]}",
        "{trait: }",
        "{measure: m}",
        "x",
        "",
        "{any: x}",
    ],
)
def test_conditions_that_are_wrong_are_findings_and_no_more(tmp_path: Path, when: str) -> None:
    (tmp_path / "t.yaml").write_text(
        f"{BASE}segments:\n  a: {{when: {when}}}\n  b: {{when: {{segment: a}}}}\n", "utf-8"
    )
    assert any(each.severity == "error" for each in lint(tmp_path / "t.yaml", {}))
