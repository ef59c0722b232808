"""What a rule test names is on in it; changes of segments are compared as decisions are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli

ROOT = Path(__file__).parents[2]
MORE = """
measures:
  m: {sum: [{did: searched, points: 1}]}
segments:
  looks: {enabled: false, when: {measure: m, gte: 2}}
  looks_long: {enabled: false, when: {all: [{segment: looks}, {last: any, age: {gte: 2h}}]}}
  always: {when: {did: page_viewed}}
triggers:
  spare:
    enabled: false
    version: 1
    start: {event: searched}
    after: 1h
    only_if: {all: [{segment: looks}, {trigger: before}]}
  "off": {enabled: false, version: 1, start: {event: searched}, after: 1d}
  steps:
    enabled: false
    version: 1
    start: {event: searched}
    stages: [{name: a, after: 1h, only_if: {segment: looks}}]
  before: {enabled: false, version: 1, start: {event: searched}, after: 1m}
"""
SEARCHES = """
    events:
      - {at: 0m, who: ann, event: searched}
      - {at: 10m, who: ann, event: searched}
"""


def tried(folder: Path, text: str) -> Result:
    """A file of tests, run with rules and segments of which most are off."""
    (folder / "more.yaml").write_text(MORE, "utf-8")
    shipped = (ROOT / "topology.yaml").read_text("utf-8")
    (folder / "topology.yaml").write_text(re.sub(r"\ninclude: .*", "\ninclude: [more.yaml]", shipped), "utf-8")
    (folder / "some.yaml").write_text(text, "utf-8")
    return CliRunner().invoke(cli, ["test", "--topology", str(folder / "topology.yaml"), str(folder / "some.yaml")])


def of(expected: str, more: str = "", events: str = SEARCHES) -> str:
    return f"{more}\ntests:\n  - name: one\n{events}\n    {expected}\n"


@pytest.mark.parametrize(
    "text",
    [
        of("decisions: [{due: 1h10m}]", "rule: spare"),  # with the segment and the rule that it speaks of
        of("decisions: [{rule: spare, due: 1h10m}, {rule: before}, {rule: before}]"),
        of("decisions: [{due: 1h10m}]", "rule: steps"),
        of("decisions: []"),
        of("changes: [{at: 10m, who: ann, reason: event}]", "segment: looks"),
        of("changes: [{segment: looks}]"),
        of("until: 3h\n    changes: [{at: 2h10m, reason: time}]", "segment: looks_long"),
        of("changes: []", "segment: looks_long"),
        of("changes: [{segment: always}]", events="    events: [{at: 0m, who: ann, event: page_viewed}]"),
        of("decisions: [{}]\n    changes: [{}]", "rule: spare\nsegment: looks"),
    ],
)
def test_what_a_test_names_is_on_in_it(tmp_path: Path, text: str) -> None:
    found = tried(tmp_path, text)
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (of("changes: []", "segment: looks"), "not expected: ann entered looks (event, e2), at +10m"),
        (
            of("changes: [{at: 1m}]", "segment: looks"),
            "expected somebody entered looks at +1m; but at is +10m, not +1m",
        ),
        (
            of("changes: [{}, {change: left, who: ann}]", "segment: looks"),
            "expected ann left looks; that didn't happen",
        ),
        (of("changes: [{who: bert}]", "segment: looks"), "but user_id is ann, not bert"),
        (of("changes: [{reason: time}]", "segment: looks"), "but reason is event, not time"),
        (of("changes: []", "segment: looks"), "+10m  → ann entered looks (event, e2)"),
        (of("changes: [{segment: looks}]", "segment: always"), "only changes of always are looked at here"),
        (of("changes: []", "segment: lookz"), "'lookz' isn't a segment of the topology (did you mean looks?)"),
        (of("changes: [{change: enters}]", "segment: looks"), "did you mean entered?"),
        (of("decisions: []", "rule: off", SEARCHES), 'found true or false (off) (quote it: "off")'),
        (of("until: 1h", "segment: looks"), "says nothing of what shall come of it (write decisions: [...]"),
    ],
)
def test_what_differs_or_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    found = tried(tmp_path, text)
    assert found.exit_code == 1
    assert said in found.output, found.output


def test_the_page_tells_the_truth_of_changes() -> None:
    block = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "rule-tests.md").read_text("utf-8"), re.DOTALL)[1]
    path = str(ROOT / "topology.yaml")
    with CliRunner().isolated_filesystem():
        Path("some.yaml").write_text(f"tests:\n{block}", "utf-8")
        found = CliRunner().invoke(cli, ["test", "--topology", path, "some.yaml"])
    assert found.exit_code == 0, found.output
