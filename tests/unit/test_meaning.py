"""The fingerprint of what a rule means: the same for what is written otherwise, another for what decides otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.runtime.replay import Replay
from pipeline.topology import load
from pipeline.topology.meaning import fingerprint
from pipeline.triggers.decisions import Decision
from tests.oracle.build import add, clear
from tests.replayed import FAR, as_event
from tests.ruled import ruled

SHIPPED = Path(__file__).parents[2] / "topology.yaml"
RULE = """
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  after: 1h
  cancel: {event: cart_cleared, match: cart_id, reason: cleared}
  only_if: {all: [{measure: score, gte: 5}, {segment: keen}]}
"""
OF_PEOPLE = """
segments:
  keen: {when: {segment: near}}
  near: {when: {did: product_viewed, times: 2, within: 7d}}
  others: {when: {did: product_viewed, times: 9, within: 7d}}
measures:
  score: {sum: [{did: product_viewed, points: 1}], within: 6d}
lists:
  plan: {event: form_submitted, value: form_id, of: [buy, wait]}
  food: {event: form_submitted, value: form_id, of: [meat, none]}
"""


def of(folder: Path, rule: str = RULE, people: str = OF_PEOPLE) -> str:
    """The fingerprint of the one rule."""
    whole = yaml.safe_load(SHIPPED.read_text())
    del whole["include"]
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(whole | yaml.safe_load(people) | {"triggers": yaml.safe_load(rule)}))
    topology = load(path)
    return fingerprint(topology.rules[0], topology)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 2"),
        ("cart:\n", "basket:\n"),
        ("version: 1", "version: 1\n  description: Somebody left it."),
        ("after: 1h", "after: 60m"),
        ("after: 1h", "after: 1h\n  again: always"),
        ("{event: product_added}", "{event: [product_added]}"),
    ],
)
def test_what_means_the_same_has_one_fingerprint(tmp_path: Path, old: str, new: str) -> None:
    assert old in RULE
    assert of(tmp_path, RULE.replace(old, new, 1)) == of(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("after: 1h", "after: 61m"),
        ("after: 1h", "after: 1h\n  again: never"),
        ("  after: 1h\n", ""),
        ("gte: 5", "gte: 6"),
        ("reason: cleared", "reason: emptied"),
        ("per: cart_id", "per: cart_id\n  payload: [cart]"),
        ("{event: product_added}", "{event: product_added, where: {price: {gt: 1}}}"),
    ],
)
def test_another_meaning_has_another_one(tmp_path: Path, old: str, new: str) -> None:
    assert old in RULE
    assert of(tmp_path, RULE.replace(old, new, 1)) != of(tmp_path)


def test_on_arrival_is_part_of_it(tmp_path: Path) -> None:
    rule = RULE.replace("  after: 1h\n", "")
    assert of(tmp_path, rule + "  decide: on_arrival\n") != of(tmp_path, rule)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("times: 2", "times: 3", False),  # of a segment of which another one speaks
        ("points: 1", "points: 2", False),
        ("times: 9", "times: 8", True),  # of one that doesn't concern it
        ("score: {", "score: {description: How keen they are, ", True),
    ],
)
def test_what_it_speaks_of_is_part_of_its_meaning(tmp_path: Path, old: str, new: str, *, same: bool) -> None:
    assert old in OF_PEOPLE
    assert (of(tmp_path, people=OF_PEOPLE.replace(old, new, 1)) == of(tmp_path)) is same


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("[buy, wait]", "[buy, wait, never]", False),
        ("[meat, none]", "[meat, fish]", True),
        ("plan: {", "plan: {description: What they want, ", True),
    ],
)
def test_lists_of_which_it_speaks_are_too(tmp_path: Path, old: str, new: str, *, same: bool) -> None:
    rule = RULE.replace("{segment: keen}", "{list: plan, is: buy}")
    assert old in OF_PEOPLE
    assert (of(tmp_path, rule, OF_PEOPLE.replace(old, new, 1)) == of(tmp_path, rule)) is same
    assert of(tmp_path, rule) != of(tmp_path)


def test_lists_that_nobody_speaks_of_change_nothing(tmp_path: Path) -> None:
    assert of(tmp_path, people=OF_PEOPLE.partition("lists:")[0]) == of(tmp_path)


def test_every_decision_tells_it() -> None:
    topology = ruled(RULE.replace("  only_if: {all: [{measure: score, gte: 5}, {segment: keen}]}\n", ""))
    replay = Replay(topology)
    made: list[Decision] = []
    for each in (add("1", 0), clear("2", 10), add("3", 20), clear("4", 30, 200)):
        made += replay.feed(as_event(each), FAR)
    made += replay.finish()
    told = fingerprint(topology.rules[0], topology)
    assert {decision.outcome: decision.fingerprint for decision in made} == dict.fromkeys(
        ("cancelled", "fired", "retracted"), told
    )
