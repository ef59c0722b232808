"""`pipeline test`: the shipped rules' own tests hold, and tests that are wrong say so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from pipeline.cli import cli
from pipeline.rule_tests import jsonschema
from pipeline.rule_tests.spans import span
from pipeline.topology import rehearsal

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "tests" / "rules").glob("*.yaml"))
COMMITTED = ROOT / "rule-tests.schema.json"


def run(*arguments: str | Path) -> Result:
    """`pipeline test ...` with the shipped topology."""
    return CliRunner().invoke(cli, ["test", "--topology", str(ROOT / "topology.yaml"), *map(str, arguments)])


def tried(folder: Path, text: str) -> Result:
    """A file of tests of the shipped rules, run."""
    file = folder / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return run(file)


LEFT = "{at: 0m, who: ann, event: product_added, cart_id: c1, product_id: p1}"


def one(decisions: str, events: str = f"[{LEFT}]", more: str = "rule: abandoned_cart") -> str:
    """A file with one test."""
    return f"{more}\ntests:\n  - name: one\n    events: {events}\n    decisions: {decisions}\n"


def around(context: str) -> str:
    """A file with one test of an event in that context."""
    return one("[]", f"[{{at: 0m, who: ann, event: searched, context: {context}}}]")


def test_every_shipped_rule_has_tests_and_they_hold() -> None:
    found = run()
    assert found.exit_code == 0, found.output
    assert f"in {len(SHIPPED)} files: all hold" in found.output
    whole = rehearsal(ROOT / "topology.yaml", {}).whole
    assert {path.stem for path in SHIPPED} == {rule.name for rule in whole.rules} | {"segments"}
    tests = yaml.safe_load((ROOT / "tests" / "rules" / "segments.yaml").read_text("utf-8"))["tests"]
    assert {test["segment"] for test in tests} == {segment.name for segment in whole.segments}


def test_each_shipped_test_fails_when_it_expects_nothing(tmp_path: Path) -> None:
    """They look at what is decided: without what they expect they don't hold (but for those that expect nothing)."""
    for path in SHIPPED:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        asked = "changes" if path.stem == "segments" else "decisions"
        telling = [test for test in document["tests"] if test[asked]]
        for test in telling:
            test[asked] = []
        file = tmp_path / path.name
        file.write_text(yaml.safe_dump({**document, "tests": telling}), encoding="utf-8")
        assert f"{len(telling)} fail" in run(file).output


def test_what_was_not_decided_is_told_with_its_line_and_what_happened(tmp_path: Path) -> None:
    found = tried(tmp_path, one("[{key: c1, outcome: cancelled, reason: bought, due: 2h}]"))
    assert found.exit_code == 1
    assert (
        "some.yaml:5: expected abandoned_cart, key c1: cancelled (bought); but outcome is fired, not cancelled,"
        in found.output
    )
    assert "reason is due, not bought, due is +1h, not +2h" in found.output
    assert "+0m  e1 of ann: product_added {cart_id: c1, product_id: p1}" in found.output
    assert "+1h5m  → abandoned_cart of ann, key c1: fired (due), due +1h, began with e1" in found.output
    assert "1 test in 1 file: 1 fails" in found.output


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        ("[]", "not expected: abandoned_cart of ann, key c1: fired (due), due +1h, decided +1h5m"),
        ("[{key: c2}]", "expected abandoned_cart, key c2: fired; that was not decided"),
        ("[{key: c1}, {key: c1}]", "expected abandoned_cart, key c1: fired; that was not decided"),
        ("[{who: bert}]", "but user_id is ann, not bert"),
        ("[{payload: {lines: [{product: p2}]}}]", 'not [{"product":"p2"}]'),
        ("[{contact: {email: a@b.example}}]", "but contact.email is nothing, not a@b.example"),
        ("[{decided: 1h}]", "but decided is +1h5m, not +1h"),
        ("[{key: c1, due: 2h, reason: bought}, {key: c1, due: 2h}]", "expected abandoned_cart, key c1: fired; but due"),
    ],
)
def test_what_differs_is_said_in_a_sentence(tmp_path: Path, decisions: str, said: str) -> None:
    found = tried(tmp_path, one(decisions))
    assert found.exit_code == 1
    assert said in found.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            one("[]", more="rule: abandoned_crat"),
            "1:7: error unknown-rule: 'abandoned_crat' isn't a rule of the topology",
        ),
        (one("[]", "[{at: 0m, who: ann, event: product_add}]"), "did you mean product_added?"),
        (
            one("[]", "[{at: 0m, who: ann, event: product_added, message_id: m}]"),
            "product_added has no field message_id",
        ),
        (
            one("[]", "[{at: 0m, who: ann, event: product_added, cart_id: 5}]"),
            'cart_id of product_added is a text: quote it, "5"',
        ),
        (
            one("[]", "[{at: 0m, who: ann, event: product_added, quantity: two}]"),
            "quantity of product_added is a number",
        ),
        (
            one("[]", "[{at: soon, who: ann, event: product_added}]"),
            "expected a time after the test's beginning, found soon",
        ),
        (one("[]", "[{at: 5m, received: 1m, who: ann, event: product_added}]"), "it was received before it occurred"),
        (one("[]", "[{at: 0m, event: product_added}]"), "who is missing"),
        (one("[]", "[{at: 0m, who: {user: ann}, event: product_added}]"), "unknown namespace user"),
        (one("[]", "[{at: 0m, who: [ann], event: product_added}]"), "expected a name, or identifiers by namespace"),
        (one("[]", "[{at: 0m, who: ann, event: order_completed, products: [{quantity: many}]}]"), "order_completed"),
        (one("[]", more="rule: vip"), "'vip' isn't a rule of the topology (it is a segment: write segment: vip)"),
        (one("[]", more="segment: abandoned_cart"), "(it is a rule: write rule: abandoned_cart)"),
        (
            one("[]", "[{at: 0m, who: ann, event: custom, name: n, plan: pro}]"),
            "unknown key plan (what is of your own stands in properties: {plan: ...})",
        ),
        (one("[]", "[{at: 0m, who: ann, event: Subscribed}]"), "an event of your own is `custom`"),
        (around("{campaign: mail}"), "campaign of the context is a mapping: {name: value}\n"),
        (one("[{outcome: fried}]"), "did you mean fired?"),
        (around("{timezon: x}"), "a context has no field timezon (did you mean timezone?)"),
        (around("{bot: 'yes'}"), "bot of the context is true or false"),
        (around("{consent: {marketing: given}}"), "consent is a mapping of true and false (write {marketing: true})"),
        (
            one("[]", "[{at: 0m, who: ann, event: custom, name: n, properties: [seats]}]"),
            "properties of custom is a mapping: {name: value}",
        ),
        (one("[{rule: film_half_watched}]"), "only decisions of abandoned_cart are looked at here"),
        (one("[]", more="begins: yesterday"), "'yesterday' is no time"),
        ("tests: []", "empty list"),
        ("tests: [", "yaml-syntax"),
        ("", "the file is empty"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_runs_nothing(tmp_path: Path, text: str, said: str) -> None:
    found = tried(tmp_path, text)
    assert found.exit_code == 1
    assert said in found.output
    assert "some.yaml:" in found.output
    assert "Traceback" not in found.output


def test_a_late_event_is_shown_when_it_was_received(tmp_path: Path) -> None:
    late = "{at: 50m, received: 1h20m, who: ann, event: order_completed, cart_id: c1, order_id: o}"
    found = tried(tmp_path, one("[]", f"[{LEFT}, {late}]"))
    assert "+1h20m  e2 of ann: order_completed {order_id: o, cart_id: c1}, occurred +50m" in found.output
    assert "retracted (bought)" in found.output


def test_all_rules_are_looked_at_where_none_is_named(tmp_path: Path) -> None:
    order = "{at: 1m, who: ann, event: order_completed, order_id: o}"
    film = "{at: 0m, who: ann, event: video_progressed, film: f, total_length: 10, watched_from: 0, watched_to: 9}"
    decisions = "[{rule: abandoned_cart, outcome: cancelled}, {rule: film_half_watched, outcome: cancelled}]"
    assert (
        tried(tmp_path, one(decisions, f"[{LEFT}, {film}, {order}]", more="begins: 2026-03-29T00:59:00Z")).exit_code
        == 0
    )


def test_the_page_tells_the_truth(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "rule-tests.md").read_text(encoding="utf-8")
    text = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0]
    assert tried(tmp_path, text).exit_code == 0
    shown = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0]
    wrong = (ROOT / "tests" / "rules" / "abandoned_cart.yaml").read_text(encoding="utf-8")
    wrong = wrong.replace(
        "{key: old, outcome: cancelled, reason: bought}", "{key: old, outcome: cancelled, reason: emptied}"
    )
    assert (
        shown.replace("tests/rules/abandoned_cart.yaml", str(tmp_path / "some.yaml")) in tried(tmp_path, wrong).output
    )


def test_a_rule_that_is_switched_off_decides_nothing(tmp_path: Path) -> None:
    topology = tmp_path / "topology.yaml"
    text = (ROOT / "topology.yaml").read_text(encoding="utf-8")
    topology.write_text(
        text.replace("  abandoned_cart:\n", "  abandoned_cart:\n    description: Off.\n    enabled: false\n"),
        encoding="utf-8",
    )
    file = tmp_path / "some.yaml"
    file.write_text(one("[]", more="begins: 2026-01-01"), encoding="utf-8")
    found = CliRunner().invoke(cli, ["test", "--topology", str(topology), str(file)])
    assert found.exit_code == 0, found.output


def test_without_files_it_says_where_they_are_looked_for(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert found.exit_code == 2
    assert "no rule tests (*.yaml)" in found.output


def test_editors_know_what_may_stand_there() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == jsonschema.text(), (
        "run: python -m pipeline.rule_tests.jsonschema > rule-tests.schema.json"
    )
    validator = Draft202012Validator(yaml.safe_load(COMMITTED.read_text(encoding="utf-8")))
    for path in SHIPPED:
        assert not list(validator.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8"))))
    assert list(validator.iter_errors({"tests": [{"name": "x", "events": [], "decisions": [], "rulez": 1}]}))


@pytest.mark.parametrize(("ms", "said"), [(0, "+0m"), (3_900_000, "+1h5m"), (-10_000, "-10s"), (86_400_001, "+1d1ms")])
def test_spans(ms: int, said: str) -> None:
    assert span(ms) == said


def test_a_stage_can_be_expected_by_its_name(tmp_path: Path) -> None:
    topology = yaml.safe_load((ROOT / "topology.yaml").read_text(encoding="utf-8"))
    rule = topology["triggers"]["abandoned_cart"]
    del rule["after"]
    rule["stages"] = [{"name": "first", "after": "1h"}, {"name": "last", "after": "24h"}]
    rule["recovered"] = {"within": "1d"}
    changed, file = tmp_path / "topology.yaml", tmp_path / "some.yaml"
    changed.write_text(yaml.safe_dump(topology), encoding="utf-8")
    for decisions, said in (
        ("[{stage: first, due: 1h}, {stage: last, due: 24h}]", "in 1 file: all hold"),
        ("[{stage: last, due: 24h}]", "not expected: abandoned_cart of ann, key c1, stage first: fired (due)"),
        ("[{stage: first}, {stage: other}]", "expected abandoned_cart, stage other: fired; that was not decided"),
    ):
        file.write_text(one(decisions), encoding="utf-8")
        found = CliRunner().invoke(cli, ["test", "--topology", str(changed), str(file)])
        assert said in found.output
    order = "{at: 2h, who: ann, event: order_completed, cart_id: c1, order_id: o}"
    decisions = """[{stage: first, decided: 1h5m}, {stage: last, outcome: cancelled, reason: bought, decided: 2h5m},
      {stage: first, outcome: recovered, reason: bought, decided: 2h}]"""
    file.write_text(one(decisions, f"[{LEFT}, {order}]"), encoding="utf-8")
    found = CliRunner().invoke(cli, ["test", "--topology", str(changed), str(file)])
    assert "in 1 file: all hold" in found.output, found.output


def test_maps_are_told_as_senders_tell_them(tmp_path: Path) -> None:
    """Numbers, flags and objects as they stand in JSON; they count as what a producer makes of them."""
    rules = """
triggers:
  large:
    version: 1
    start: {event: custom, where: {name: joined, properties.seats: {gte: 5}, properties.trial: "false"}}
    only_if: {trait: company.size, gte: 50}
    after: 1h
    payload: {city: trait.company.at.city, seats: start.properties.seats, source: start.context.campaign.source}
"""
    shipped = (ROOT / "topology.yaml").read_text("utf-8")
    (tmp_path / "topology.yaml").write_text(shipped[: shipped.index("\ninclude: ")] + rules, "utf-8")
    (tmp_path / "some.yaml").write_text(
        """
rule: large
tests:
  - name: of many
    events:
      - {at: 0m, who: ann, event: identified, traits: {company: {size: 60, at: {city: Wien}}}}
      - at: 1m
        who: ann
        event: custom
        name: joined
        properties: {seats: 7, trial: false, with: [a, b], left: null}
        context: {campaign: {source: 5}}
    decisions: [{due: 1h1m, payload: {city: Wien, seats: "7", source: "5"}}]
  - name: of few
    events:
      - {at: 0m, who: ann, event: identified, traits: {company: {size: 40}}}
      - {at: 1m, who: ann, event: custom, name: joined, properties: {seats: 7, trial: false}}
    decisions: [{outcome: suppressed, reason: only_if}]
""",
        "utf-8",
    )
    found = run("--topology", tmp_path / "topology.yaml", tmp_path / "some.yaml")
    assert found.exit_code == 0, found.output
