"""What people write who know what they want and not how it is written here: what they are told to write."""

from __future__ import annotations

from pathlib import Path

import pytest

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
        ("after: 1h", "after: 1h\n    payload: {what: strat.query}", "bad-value", "did you mean start?"),
    ],
)
def test_what_was_meant_is_said(tmp_path: Path, was: str, wrong: str, code: str, hint: str) -> None:
    (tmp_path / "one.yaml").write_text(RULE.replace(was, wrong), "utf-8")
    (tmp_path / "t.yaml").write_text(f"{BASE}include: [one.yaml]\n", "utf-8")
    found = [each for each in lint(tmp_path / "t.yaml", {}) if each.code == code]
    assert hint in found[0].hint


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
