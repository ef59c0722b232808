"""What became of waits, counted in small histories (docs/waits.md, What adds up)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.replay import Replay
from pipeline.triggers import keys
from pipeline.triggers.balance import Waits
from tests.oracle.build import event
from tests.property.hops import FAR
from tests.property.test_language import topology_of
from tests.replayed import as_event

CART = {
    "version": 1,
    "per": "cart_id",
    "start": {"event": "product_added"},
    "after": "1h",
    "cancel": {"event": "order_completed", "match": "cart_id", "reason": "bought"},
}
STAGES = [{"name": "first", "after": "1h"}, {"name": "second", "after": "2h"}, {"name": "last", "after": "3h"}]
STAGED = {**{key: each for key, each in CART.items() if key != "after"}, "stages": STAGES}
LOOKED = {
    "version": 1,
    "start": {
        "sequence": [{"event": "page_viewed"}, {"not": {"event": "product_added"}, "for": "1h"}],
        "within": "1d",
    },
}


def counted(folder: Path, rule: dict[str, Any], events: list[dict[str, Any]], *, open_end: bool = False) -> Waits:
    replay = Replay(topology_of({"time": {}, "triggers": {"r": rule}}, folder))
    for each in events:
        list(replay.feed(as_event(each), FAR))
    if not open_end:
        list(replay.finish())
        return replay.book.balance.take().get("r", Waits())
    waiting = replay.waiting()
    found = replay.book.balance.take()["r"]
    assert found.waiting == waiting
    return found


def added(number: int, at: float, cart: str = "c", got: float | None = None, who: str = "a:phone") -> dict[str, Any]:
    return event("product_added", f"a{number}", at, got, who, cart_id=cart, product_id="p", quantity=1)


def bought(at: float, got: float | None = None) -> dict[str, Any]:
    return event("order_completed", "o", at, got, cart_id="c", order_id="o")


@pytest.mark.parametrize(
    ("rule", "events", "wanted"),
    [
        (CART, [added(1, 0), added(2, 30)], Waits(1, 1)),
        (CART, [added(1, 0), bought(10)], Waits(1, 1)),
        (CART, [added(1, 0, "c"), added(2, 0, "d")], Waits(2, 2)),
        (CART, [bought(0), added(1, 10)], Waits(1, 1)),
        # Two waits that follow are one at a time; what comes late makes one of them.
        (CART, [added(1, 0), added(2, 61)], Waits(2, 2)),
        (CART, [added(1, 0), added(2, 61, got=61), added(3, 59, got=62)], Waits(1, 1)),
        (STAGED, [added(1, 0)], Waits(3, 3)),
        (STAGED, [added(1, 0), bought(70)], Waits(3, 3)),
        (STAGED, [added(1, 0), added(2, 70)], Waits(6, 6)),
        (STAGED, [added(1, 0), bought(50, got=200)], Waits(3, 3)),
        # A sequence that ends with what doesn't happen counts when that hasn't.
        (LOOKED, [event("page_viewed", "v", 0)], Waits(1, 1)),
        (LOOKED, [event("page_viewed", "v", 0), added(1, 10)], Waits()),
    ],
)
def test_waits_are_counted(rule: dict[str, Any], events: list[dict[str, Any]], wanted: Waits, tmp_path: Path) -> None:
    assert counted(tmp_path, rule, events) == wanted


def test_what_waits_is_what_is_left(tmp_path: Path) -> None:
    assert counted(tmp_path, CART, [added(1, 0), added(2, 100, "d")], open_end=True) == Waits(2, 1)


def test_a_tie_absorbs(tmp_path: Path) -> None:
    events = [
        added(1, 0, who="a:phone"),
        added(2, 5, who="u:anna"),
        {**event("page_viewed", "t", 10), "identifiers": {"user_id": "anna", "anonymous_id": "phone"}},
    ]
    assert counted(tmp_path, CART, events) == Waits(2, 1, 1)


def test_what_is_refused_is_opened_and_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "WAITS_KEPT", 2)
    assert counted(tmp_path, CART, [added(number, number, f"c{number}") for number in range(5)]) == Waits(5, 5)


def test_places_add_up() -> None:
    here, there = Waits(5, 1, 1, moved=2), Waits(0, 1, moved=-2)
    assert (here.waiting, there.waiting, here.plus(there)) == (1, 1, Waits(5, 2, 1, 0))
