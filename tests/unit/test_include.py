"""Files that a topology includes: what they hold counts as if it stood in it, and what is wrong is told where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from pipeline.cli import cli
from pipeline.errors import TopologyError
from pipeline.topology import Finding, jsonschema, lint, load, rehearsal
from tests.unit.test_topology_lint import BASE

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "topology.yaml"
RULES = sorted((ROOT / "rules").glob("*.yaml"))

RULE = """
triggers:
  search:
    version: 1
    start: {event: searched}
    after: 1h
"""

Lint = Callable[..., list[Finding]]


@pytest.fixture
def linted(tmp_path: Path) -> Lint:
    """Lint BASE with an `include`, and these files beside it."""

    def run(include: str, **files: str) -> list[Finding]:
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        (tmp_path / "t.yaml").write_text(f"{BASE}include: {include}\n", encoding="utf-8")
        found = lint(tmp_path / "t.yaml", {})
        return [msgspec.structs.replace(each, file=each.file.removeprefix(f"{tmp_path}/")) for each in found]

    return run


def test_what_a_file_holds_counts_as_if_it_stood_in_the_topology(linted: Lint, tmp_path: Path) -> None:
    more = "segments: {a: {when: {did: searched}}}\nmeasures: {m: {sum: [{did: searched, points: 1}]}}\n"
    more += "lists: {l: {event: searched, value: query, of: [x]}}\n"
    rule = RULE + "    only_if: {all: [{segment: a}, {measure: m, gte: 1}, {list: l, is: x}]}\n"
    assert linted("[one.yaml, two.yaml]", one=rule, two=more) == []
    topology = load(tmp_path / "t.yaml", {})
    assert [each.name for each in topology.rules] == ["cart", "search"]
    assert [each.name for each in topology.segments] == ["a"]
    assert set(topology.measures) == {"m"}
    assert set(topology.lists) == {"l"}
    assert topology.topics.segments is not None


@pytest.mark.parametrize(
    ("text", "line", "column", "code", "said"),
    [
        (RULE.replace("after", "afer"), 6, 5, "unknown-key", "did you mean after?"),
        (RULE.replace("searched}", "searched, where: {qery: x}}"), 5, 38, "unknown-field", "did you mean query?"),
        (RULE + "    only_if: {segment: b}\n", 7, 24, "unknown-segment", "b is no segment"),
        (RULE + "    cancel: {event: searched, reason: due}\n", 7, 39, "reserved-reason", "the pipeline's own"),
        (RULE.replace("1h", "88d"), 6, 12, "short-profile", "search reaches 88d back"),
        ("group: g\n", 1, 1, "unknown-key", "known keys: lists, measures, segments, triggers"),
        (RULE.replace("search:", "cart:"), 3, 3, "duplicate-key", "cart is there twice; the first is in "),
        ("triggers: [1", 1, 13, "yaml-syntax", "expected ',' or ']'"),
        ("", 1, 1, "empty", "the file is empty"),
        ("segments: {a: {when: {segment: a}}}\n", 1, 12, "circle", "speak of each other"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(
    linted: Lint, text: str, line: int, column: int, code: str, said: str
) -> None:
    found = [each for each in linted("[one.yaml]", one=text) if each.code != "start-and-cancel"]
    assert [(each.file, each.line, each.column, each.code) for each in found if each.code == code] == [
        ("one.yaml", line, column, code)
    ]
    assert said in str(found)


def test_a_name_in_two_files_is_one_too_many(linted: Lint) -> None:
    (found,) = linted("[one.yaml, two.yaml]", one=RULE, two=RULE)
    assert (found.file, found.line, found.code) == ("two.yaml", 3, "duplicate-key")
    assert "one.yaml, line 3" in found.message


def test_a_file_must_be_there_once(linted: Lint) -> None:
    missing, twice = linted("[none.yaml, one.yaml, ./one.yaml]", one=RULE)
    assert (missing.file, missing.line, missing.column, missing.code) == ("t.yaml", 19, 11, "no-file")
    assert "its path begins at the folder of this file" in missing.hint
    assert (twice.line, twice.column, twice.code) == (19, 32, "duplicate-value")


def test_a_file_that_is_not_text_is_told(linted: Lint, tmp_path: Path) -> None:
    (tmp_path / "raw.yaml").write_bytes(b"\xff\xfe")
    (found,) = linted("[raw.yaml]")
    assert (found.file, found.code) == ("t.yaml", "no-file")
    assert "is not UTF-8" in found.message


def test_findings_come_file_by_file(linted: Lint) -> None:
    found = linted("[b.yaml, a.yaml]", b=RULE + "x: 1\n", a="y: 1\nz: 1\n")
    assert [(each.file, each.line) for each in found] == [("b.yaml", 7), ("a.yaml", 1), ("a.yaml", 2)]


def test_a_topology_can_not_be_loaded_with_a_file_that_is_wrong(linted: Lint, tmp_path: Path) -> None:
    linted("[one.yaml]", one="x: 1\n")
    with pytest.raises(TopologyError, match=r"one\.yaml:1:1: error unknown-key"):
        load(tmp_path / "t.yaml", {})


def test_what_comes_with_the_package_need_not_be_copied(tmp_path: Path) -> None:
    copied = tmp_path / "topology.yaml"
    copied.write_text(SHIPPED.read_text("utf-8"), "utf-8")
    assert lint(copied, {}) == []
    assert load(copied, {}) == load(SHIPPED, {})


def test_what_is_on_and_speaks_of_what_is_off_is_doubted(linted: Lint) -> None:
    off = "segments:\n  a: {enabled: false, when: {did: searched}}\n"
    rule = RULE + "    only_if: {any: [{segment: a}, {trigger: b}]}\n"
    b = "  b: {enabled: false, version: 1, start: {event: searched}, after: 1h, only_if: {segment: a}}\n"
    segment, trigger = linted("[one.yaml, two.yaml]", one=rule + b, two=off)
    assert (segment.file, segment.line, segment.column, segment.severity) == ("one.yaml", 7, 31, "warning")
    assert segment.message == "a is switched off: nobody is in it"
    assert "away from a, which stands in " in segment.hint
    assert "two.yaml, line 2" in segment.hint
    assert (trigger.line, trigger.column) == (7, 45)
    assert trigger.message == "b is switched off: it never fires"


def test_all_that_is_shipped_there_is_off() -> None:
    tried = rehearsal(SHIPPED, {})
    topology, whole = tried.topology, tried.whole
    assert topology == load(SHIPPED, {})
    assert [rule.name for rule in topology.rules] == ["abandoned_cart", "ebook_not_clicked", "film_half_watched"]
    assert topology.segments == ()
    assert topology.topics.segments is None
    assert len(whole.rules) >= 16
    assert len(whole.segments) >= 6


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_each_shipped_file_is_included_and_says_what_each_of_its_rules_is_for(path: Path) -> None:
    assert f"rules/{path.name}" in yaml.safe_load(SHIPPED.read_text("utf-8"))["include"]
    lines = path.read_text("utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../rules.schema.json"
    held = yaml.safe_load("\n".join(lines))
    for section in ("triggers", "segments"):
        for name, value in held.get(section, {}).items():
            assert value["enabled"] is False, name
            assert value["description"], name
            at = lines.index(f"  {name}:") if f"  {name}:" in lines else -1
            assert "#" in lines[at - 1] or any(line.startswith(f"  {name}:") and "#" in line for line in lines), name


def test_the_editors_schema_of_such_files_is_current_and_holds_for_the_shipped_ones() -> None:
    committed = (ROOT / "rules.schema.json").read_text("utf-8")
    assert committed == jsonschema.part_text(), "run: python -m pipeline.topology.jsonschema part > rules.schema.json"
    validator = Draft202012Validator(yaml.safe_load(committed))
    for path in RULES:
        assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text("utf-8")))] == []


def told(*arguments: str) -> Result:
    """A command, with the shipped topology."""
    return CliRunner().invoke(cli, [*arguments, "--topology", str(SHIPPED)])


def test_a_rule_is_tried_on_a_recording_before_it_is_switched_on(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    looks = [
        {
            "type": "track",
            "event": "Product Viewed",
            "messageId": f"m{minute}",
            "userId": "ann",
            "timestamp": f"2026-01-05T09:0{minute}:00Z",
            "properties": {"product_id": "tent"},
        }
        for minute in range(3)
    ]
    events.write_bytes(b"\n".join(map(msgspec.json.encode, looks)))
    assert told("replay", str(events)).stdout == ""
    found = told("replay", str(events), "--rules", "viewed_thrice")
    assert found.exit_code == 0, found.output
    (line,) = found.stdout.splitlines()
    assert (yaml.safe_load(line)["rule"], yaml.safe_load(line)["correlation_key"]) == ("viewed_thrice", "tent")
    assert "fired" in told("explain", "user_id:ann", "viewed_thrice", str(events)).output
    live = told("explain", "user_id:ann", "viewed_thrice")
    assert live.exit_code == 2
    assert "viewed_thrice is switched off (`enabled: false`): name recordings" in live.output
    assert "product" in told("schema", "viewed_thrice").output


def test_a_rule_that_is_tried_alone_has_what_it_speaks_of(linted: Lint, tmp_path: Path) -> None:
    rest = "  b: {enabled: false, version: 1, start: {event: searched}, after: 1h, only_if: {segment: a}}\n"
    segments = (
        "segments: {a: {enabled: false, when: {segment: c}}, c: {when: {did: searched}}, d: {when: {did: searched}}}\n"
    )
    linted("[one.yaml]", one=RULE + "    only_if: {trigger: b}\n" + rest + segments)
    alone = rehearsal(tmp_path / "t.yaml", {}).alone(["search"])
    assert [rule.name for rule in alone.rules] == ["search", "b"]
    assert {segment.name for segment in alone.segments} == {"a", "c", "d"}
    assert [rule.name for rule in rehearsal(tmp_path / "t.yaml", {}).alone(["cart"]).rules] == ["cart"]
