"""What the linter says of sequences and dates: place, code, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipeline.topology import lint

BASE = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text(encoding="utf-8"))
STEPS = """\
start:
  sequence:
    - {event: page_viewed, as: a}
    - {not: {event: order_completed}}
    - {event: form_submitted, where: {form_id: a.path}}
  within: 7d
after: 1h
"""
DATE = 'start: {date: {trait: renewal, offset: -30d, at: "09:00", every: year}}'
COURSE = "per: properties.course\nstart: {date: {event: custom, field: properties.starts_at, offset: 1h}}"


def findings(folder: Path, lines: str) -> list[tuple[int, int, str, str]]:
    """Of a rule with these lines: line within them, column, code, and what is said."""
    base = yaml.safe_dump({name: value for name, value in BASE.items() if name != "triggers"})
    head = f"{base}triggers:\n  it:\n    version: 1\n"
    path = folder / "t.yaml"
    path.write_text(head + "".join(f"    {line}\n" for line in lines.splitlines()), encoding="utf-8")
    above = head.count("\n")
    return [(each.line - above, each.column, each.code, f"{each.message} ({each.hint})") for each in lint(path, {})]


LASTS = STEPS.replace(
    "  within", "    - {not: {event: order_completed, where: {total: {gte: a.title}}}, for: 2d}\n  within"
)
FINE = [
    STEPS,
    STEPS + "per: form_id",
    STEPS.replace("after: 1h\n", ""),
    STEPS.replace("after: 1h\n", "decide: on_arrival\n"),
    STEPS + "cancel: {event: form_submitted, where: {form_id: start.form_id}, reason: again}",
    LASTS.replace("after: 1h\n", ""),
    DATE,
    DATE + "\nafter: 1h",
    DATE.replace(", every: year", "") + "\nagain: never",
    COURSE,
    COURSE.replace("custom,", "custom, where: {name: registered},"),
    "per: film\nstart: {watched_share: 0.5}\nafter: 1d\ncancel: {event: video_completed, match: film, reason: done}",
    STEPS.replace("a.path", "{in: [a.path]}"),  # the text itself
]


@pytest.mark.parametrize("lines", FINE)
def test_what_is_fine(tmp_path: Path, lines: str) -> None:
    assert findings(tmp_path, lines) == []


# What is written; then line, column, code, and a part of what is said.
WRONG = [
    (STEPS.replace("a.path", "{in: [x, a.path]}"), 5, 61, "literal", "a.path is compared as the text that it is"),
    (LASTS.replace("after: 1h\n", "") + "decide: on_arrival", 8, 5, "conflict", "but the `not` in the last place says"),
    (DATE + "\ndecide: on_arrival", 2, 5, "conflict", "but date says that it waits (remove decide)"),
    (STEPS.replace("  within: 7d\n", ""), 1, 5, "missing-key", "write within: 7d"),
    (STEPS.replace("page_viewed", "page_view"), 3, 19, "unknown-event", "did you mean page_viewed?"),
    (STEPS.replace("a.path", "a.pth"), 5, 52, "unknown-field", "did you mean a.path?"),
    (STEPS.replace("a.path", "{gte: b.path}"), 5, 58, "unknown-step", "no step is named b"),
    (STEPS.replace("a.path", "{before: b.path}"), 5, 61, "unknown-step", "no step is named b"),
    (STEPS.replace("as: a", "as: a, where: {path: a.title}"), 3, 53, "unknown-step", "comes later"),
    (STEPS.replace("form_id: a", "form: a"), 5, 43, "unknown-field", "did you mean form_id?"),
    (STEPS.replace("a.path}", "a.path}, as: a"), 5, 65, "duplicate-value", "a is there twice"),
    (STEPS.replace("as: a", "as: start").replace("a.path", "x"), 3, 36, "duplicate-value", "stands for something else"),
    (STEPS.replace("as: a", "nams: a").replace("a.path", "x"), 3, 32, "unknown-key", "nams"),
    ("start: {sequence: [{event: searched}], within: 1d}\nafter: 1h", 1, 13, "bad-value", "one event is no sequence"),
    (STEPS.replace("sequence:", "sequence:\n    - {not: {event: searched}}"), 3, 12, "conflict", "put it behind a"),
    (STEPS.replace("order_completed}}", "order_completed}, for: 2d}"), 4, 43, "conflict", "in the last place"),
    (STEPS.replace("order_completed}}", "order_completed}, as: b}"), 4, 43, "conflict", "no place beside a not"),
    (LASTS.replace(", for: 2d", ""), 6, 12, "missing-key", "write for: 2d"),
    (LASTS, 8, 5, "conflict", "the sequence says for how long it waits"),
    (STEPS.replace("within: 7d", "within: 100d"), 6, 15, "short-profile", "must be at least 100d"),
    (STEPS + "per: cart", 8, 10, "unknown-field", "no step of the sequence has a field cart"),
    (STEPS.replace("within: 7d", "within: 7d\n  where: {path: x}"), 7, 7, "conflict", "only beside an event"),
    (STEPS.replace("after: 1h", "after: {field: total, unit: days}"), 7, 13, "conflict", "a sequence tells no field"),
    ("start: {event: page_viewed, within: 1d}\nafter: 1h", 1, 33, "conflict", "only beside a sequence"),
    (STEPS + "cancel: {event: order_completed, reason: broken}", 8, 46, "reserved-reason", "broken"),
    (DATE.replace("trait: renewal, ", ""), 1, 13, "missing-key", "trait or event is missing"),
    (DATE.replace("-30d", "30 days"), 1, 44, "bad-duration", "isn't a duration"),
    (DATE.replace("-30d", "-36h"), 1, 44, "conflict", "write whole days"),
    (DATE.replace("-30d", "-4000d"), 1, 44, "bad-value", "more than ten years"),
    (DATE.replace('"09:00"', '"9:00"'), 1, 54, "bad-value", "a time of day"),
    (DATE.replace("year", "month"), 1, 70, "bad-value", "month"),
    (DATE + "\nper: cart_id", 2, 5, "conflict", "a trait is told of a person"),
    (DATE + "\nstages: [{name: a, after: 1h}]", 2, 5, "conflict", "write a rule for each date"),
    (DATE + "\nonce: true", 2, 5, "conflict", "once has no place"),
    (DATE + "\nagain: never", 2, 5, "conflict", "starts anew every year"),
    (COURSE.replace("field: properties.starts_at, ", ""), 2, 13, "missing-key", "which field tells the date?"),
    (COURSE.replace("properties.starts_at", "starts_at"), 2, 42, "unknown-field", "did you mean properties.starts_at?"),
    (COURSE.replace("properties.starts_at", "properties"), 2, 42, "bad-field", "tells no date"),
    (DATE.replace("offset", "field: x, offset"), 1, 36, "conflict", "field has a place only beside event"),
]  # fmt: skip


PAGE = (Path(__file__).parents[2] / "docs" / "starts.md").read_text(encoding="utf-8")
EXAMPLES = [
    yaml.safe_dump(rule, sort_keys=False)
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for rule in yaml.safe_load(block).values()
    if "trigger" not in rule["start"]
]


@pytest.mark.parametrize("rule", EXAMPLES)
def test_what_the_page_shows_is_fine(tmp_path: Path, rule: str) -> None:
    found = findings(tmp_path, rule.replace("version: 1\n", ""))
    assert [each for each in found if each[2] != "switched-off"] == []  # the segments that are shipped are


@pytest.mark.parametrize(("lines", "line", "column", "code", "said"), WRONG)
def test_one_mistake(tmp_path: Path, lines: str, line: int, column: int, code: str, said: str) -> None:
    found = findings(tmp_path, lines)
    assert [each[:3] for each in found] == [(line, column, code)]
    assert said in found[0][3]
