"""Rules that start by what another decides: little histories, each with the decisions that it leads to, computed by
hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.topology import lint
from tests.oracle.build import add, clear, event, order, view
from tests.replayed import replayed
from tests.ruled import decided, ruled

RULES = """
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  after: 1h
  cancel: {event: order_completed, match: cart_id, reason: bought}
then:
  version: 1
  per: cart_id
  start: {trigger: {rule: cart}}
  after: 1h
  cancel: {event: cart_cleared, match: cart_id, reason: cleared}
"""
BOTH = ruled(RULES)
OTHERWISE = ruled(RULES.replace("{rule: cart}", "{rule: cart, outcome: cancelled}"))
OF_ALL = ruled(
    RULES.replace("then:\n  version: 1\n  per: cart_id", "then:\n  version: 1").replace(
        ", match: cart_id, reason: cl", ", reason: cl"
    )
)
CHAIN = ruled(RULES + "last:\n  version: 1\n  start: {trigger: {rule: then}}\n  after: 1h\n")
SOON = ruled(RULES.replace("cart}}\n  after: 1h", "cart}}\n  after: 1m"))
FIRED = "65 fired due 1 60 key=c"
END = event("page_viewed", "end", 9_000)


def lines(topology: Any, *events: dict[str, Any]) -> list[str]:
    """What is decided; of what started by a trigger `*` instead of that's id."""
    ids = {each["id"] for each in replayed([*events, END], topology)}
    found = decided(topology, [*events, END])
    for each in ids:
        found = [line.replace(each, "*") for line in found]
    return found


def test_it_occurred_when_that_was_due() -> None:
    assert lines(BOTH, add("1", 0)) == [FIRED, "125 fired due * 120 key=c"]


def test_it_ends_as_any_other() -> None:
    assert lines(BOTH, add("1", 0), clear("2", 70)) == [FIRED, "125 cancelled cleared * 120 key=c by=2"]
    assert lines(BOTH, add("1", 0), clear("2", 59)) == [FIRED, "125 fired due * 120 key=c"]


def test_only_so_decided() -> None:
    bought = [add("1", 0), order("2", 10, cart="c")]
    assert lines(BOTH, *bought) == ["65 cancelled bought 1 60 key=c by=2"]
    assert lines(OTHERWISE, *bought) == ["65 cancelled bought 1 60 key=c by=2", "125 fired due * 120 key=c"]


def test_of_the_person_where_it_has_no_key() -> None:
    assert lines(OF_ALL, add("1", 0), add("2", 30, cart="d")) == [
        FIRED, "95 fired due 2 90 key=d", "155 fired due * 150",
    ]  # fmt: skip


def test_taken_back_it_is_cancelled() -> None:
    late = order("2", 50, 80, cart="c")
    assert lines(BOTH, add("1", 0), late) == [
        FIRED, "80 retracted bought 1 60 key=c by=2", "125 cancelled retracted * 120 key=c by=2",
    ]  # fmt: skip


def test_and_what_fired_for_it_is_taken_back_too() -> None:
    late = order("2", 50, 300, cart="c")
    assert lines(CHAIN, add("1", 0), late) == [
        FIRED, "125 fired due * 120 key=c", "185 fired due * 180", "300 retracted bought 1 60 key=c by=2",
        "300 retracted retracted * 120 key=c by=2", "300 retracted retracted * 180 by=2",
    ]  # fmt: skip


def test_what_is_due_before_it_can_be_known_is_decided_after_it() -> None:
    assert lines(SOON, add("1", 0)) == [FIRED, "66 fired due * 61 key=c"]


def test_at_the_end_of_a_recording_nothing_begins() -> None:
    assert decided(BOTH, [add("1", 0), view("2", 1)]) == [FIRED]


BASE = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("old", "new", "code", "said"), [
    ("{rule: cart}", "{rule: crt}", "unknown-rule", "did you mean cart?"),
    ("{rule: cart}", "{rule: then}", "circle", "then -> then"),
    ("{rule: cart}", "{rule: cart, outcome: fird}", "bad-value", "did you mean fired?"),
    ("{rule: cart}", "{}", "missing-key", "rule is missing"),
    ("then:\n  version: 1\n  per: cart_id", "then:\n  version: 1\n  per: product_id", "bad-key", "write per: cart_id"),
    ("start: {trigger", "start: {where: {path: x}, trigger", "conflict", "only beside an event"),
])  # fmt: skip
def test_one_mistake(tmp_path: Path, old: str, new: str, code: str, said: str) -> None:
    text = RULES.replace(", match: cart_id, reason: cl", ", reason: cl")
    assert old in text
    path = tmp_path / "t.yaml"
    path.write_text(
        yaml.safe_dump({**BASE, "triggers": yaml.safe_load(text.replace(old, new))}, sort_keys=False), "utf-8"
    )
    found = [each for each in lint(path, {}) if each.severity == "error"]
    assert [each.code for each in found] == [code]
    assert said in f"{found[0].message} ({found[0].hint})"
