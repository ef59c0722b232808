"""Of many matchers those that an event may be for: the same as asking each."""

from __future__ import annotations

from random import Random
from typing import Any

from pipeline.language.ears import FEW, Ears
from pipeline.language.memory import Matcher

KIND = "product_viewed"


def test_none_is_left_out_that_counts_an_event() -> None:
    rng = Random(5)
    tests: list[dict[str, Any]] = [
        {},
        *({"product_id": {"is": f"p{n}"}} for n in range(40)),
        {"product_id": {"is": "P1", "ignoring_case": True}},
        {"product_id": {"not": "p1"}},
        {"product_id": {"is": "p1"}, "price": {"gte": 5}},
        {"price": {"is": 5}},
        {"context.timezone": {"is": "Europe/Vienna"}},
        {"currency": {"is": "eur"}},
    ]
    matchers = [Matcher((KIND,), where) for where in tests]
    ears, few = Ears(KIND, matchers), Ears(KIND, matchers[:FEW])
    asked = 0
    for _ in range(300):
        data: dict[str, Any] = {
            "product_id": f"p{rng.randrange(45)}",
            "price": float(rng.randrange(8)),
            "currency": "EUR",
        }
        if rng.random() < 0.3:
            data["context.timezone"] = rng.choice(["Europe/Vienna", "UTC"])
        if rng.random() < 0.1:
            del data["product_id"]
        found = [matcher for matcher, _ in ears.asked(data)]
        asked += len(found)
        assert ears.of(data) == [m for m in found if m.counts(KIND, data)]
        assert {m.id for m in ears.of(data)} == {m.id for m in matchers if m.counts(KIND, data)}
        assert [matcher for matcher, _ in few.asked(data)] == matchers[:FEW]
    assert asked < 300 * 12
