"""Sequences and dates through both hops, in any order of reading: what `replay` decides of the same events.

STARTS_ORDERS looks at more.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from tests.oracle.build import among, event
from tests.property.hops import END
from tests.property.test_language_any_order import through_hops, wanted
from tests.replayed import as_event
from tests.ruled import ruled

SEEDS = int(os.environ.get("STARTS_ORDERS", "150"))
pytestmark = pytest.mark.usefixtures("every_zone")
TOPOLOGY = ruled("""
plain:
  version: 1
  start:
    sequence:
      - {event: page_viewed, where: {path: /pricing}}
      - {not: {event: order_completed}}
      - {event: form_submitted}
    within: 2h
  after: 20m
  cancel: {event: order_completed, reason: bought}
same:
  version: 1
  start:
    sequence:
      - {event: form_submitted, as: a}
      - {not: {event: form_submitted, where: {form_id: {not: a.form_id}}}}
      - {event: form_submitted, where: {form_id: a.form_id}}
    within: 1d
  after: 10m
  payload: {form: start.form_id}
lasts:
  version: 1
  start:
    sequence:
      - {event: page_viewed, as: a}
      - {event: product_viewed, as: b}
      - {not: {event: product_added, where: {product_id: b.product_id}}, for: 30m}
    within: 1h
keyed:
  version: 1
  per: product_id
  start:
    sequence:
      - {event: page_viewed}
      - {event: product_viewed}
      - {not: {event: order_completed}}
      - {event: product_added}
    within: 3h
  after: 15m
  again: {after: 1h}
once:
  version: 1
  start: {sequence: [{event: product_added}, {event: product_added}], within: 1h}
  once: true
  after: 5m
trait:
  version: 1
  start: {date: {trait: renewal, offset: 10m}}
  cancel: {event: order_completed, reason: renewed}
of_day:
  version: 1
  start: {date: {trait: day, at: "09:00"}}
yearly:
  version: 1
  start: {date: {trait: day, offset: -1d, every: year}}
  cancel: {event: order_completed, reason: bought}
then:
  version: 1
  start: {trigger: {rule: plain}}
  after: 10m
  cancel: {event: form_submitted, reason: formed}
then_keyed:
  version: 1
  per: product_id
  start: {trigger: {rule: keyed, outcome: fired}}
  after: 1h
last:
  version: 1
  start: {trigger: {rule: then, outcome: cancelled}}
  after: 1m
course:
  version: 1
  per: properties.course
  start: {date: {event: custom, field: properties.starts_at}}
  after: 5m
""")
HOUR = 3_600_000
WHO = ("a:phone", "a:laptop", "u:1", "a:phone u:1", "a:laptop u:1", "a:laptop u:2", "u:2")
ZONES = ("Europe/Vienna", "America/New_York", "Pacific/Auckland", "nowhere")
DAYS = ("2026-03-01", "2026-12-31", "1990-02-29", "1988-02-29", "2031-06-01", "")


def moment(rng: Random, base: int) -> str:
    """A time near the history's, or none."""
    return str(base + rng.randint(-60, 600) * 60_000) if rng.random() < 0.9 else "none"


def told(rng: Random, number: int, minute: float) -> dict[str, Any]:
    """One event, of whoever."""
    got = minute + rng.choice([0, 0, 0, 0, 0.1, 3, 20, 90, 4_400])
    kind = rng.choice(
        ["page_viewed", "product_viewed", "product_added", "form_submitted", "order_completed", "identified"]
    )
    kind = "custom" if rng.random() < 0.1 else kind
    one = event(kind, str(number), minute, got, rng.choice(WHO if rng.random() < 0.3 else WHO[:1]))
    body: dict[str, Any] = one["body"]
    base = one["occurred_at"]
    tells: dict[str, dict[str, Any]] = {
        "page_viewed": {"path": rng.choice(["/pricing", "/"])},
        "product_viewed": {"product_id": rng.choice("pq")},
        "product_added": {"product_id": rng.choice("pq")},
        "form_submitted": {"form_id": rng.choice("fg")},
        "order_completed": {"order_id": f"o{number}"},
        "identified": {
            "traits": {rng.choice(["renewal", "day", "x"]): rng.choice([moment(rng, base), rng.choice(DAYS)])}
        },
        "custom": {"name": "c", "properties": {"course": rng.choice("cd"), "starts_at": moment(rng, base)}},
    }
    body |= tells[kind]
    return among(one, context={"timezone": rng.choice(ZONES)}) if rng.random() < 0.1 else one


def history(seed: int) -> list[dict[str, Any]]:
    """Some twenty events; now and then several at once."""
    rng = Random(seed)
    minute, found = 0.0, []
    for number in range(rng.randint(3, 30)):
        minute += rng.choice([0, 0, 0.05, 1, 5, 10, 30, 200])
        found.append(told(rng, number, minute))
    return found


@pytest.mark.parametrize("start", range(0, SEEDS, 25))
def test_any_order(start: int) -> None:
    seen: set[tuple[str, str]] = set()
    wrong = []
    for seed in range(start, min(start + 25, SEEDS)):
        events = [as_event(each) for each in history(seed)]
        expected = {i: each for i, each in wanted(TOPOLOGY, events).items() if each["due_at"] < END - HOUR}
        found = through_hops(TOPOLOGY, events, seed)
        here = {each["id"]: each for each in found}
        seen |= {(each["rule"], each["outcome"]) for each in expected.values()}
        lines = [f"lost: {expected[i]}" for i in expected.keys() - here.keys()]
        lines += [f"not wanted: {here[i]}" for i in here.keys() - expected.keys()]
        lines += [
            f"{i}: {here[i]}\n   wanted: {expected[i]}" for i in here.keys() & expected.keys() if here[i] != expected[i]
        ]
        lines += ["something was said twice"] if len(found) != len(here) else []
        wrong += [f"seed {seed}:\n" + "\n".join(lines)] if lines else []
    assert not wrong, "\n".join(wrong)
    assert len({rule for rule, outcome in seen if outcome == "fired"}) > 4
