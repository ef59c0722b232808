"""Triggers tell what a mail needs: contact, and products as they were told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.events.segment import translate
from pipeline.runtime.replay import Replay
from pipeline.topology import load
from pipeline.triggers.decisions import Decision, public

SHIPPED = load(Path(__file__).parents[2] / "topology.yaml", {})
SHOP = msgspec.structs.replace(SHIPPED, origins=frozenset({"https://shop.example"}))
TENT = {
    "product_id": "tent",
    "name": "Tent",
    "variant": "green",
    "price": 10,
    "currency": "EUR",
    "url": "https://shop.example/tent?v=2",
    "image_url": "https://cdn.example/tent.png",
}


def fired(*lines: dict[str, Any], topology: Any = SHIPPED) -> dict[str, Any]:
    """The one trigger that comes of these calls."""
    replay = Replay(topology)
    made: list[Decision] = []
    for number, line in enumerate(lines):
        for event in translate({"messageId": f"m{number}", "anonymousId": "a", **line}):
            made += replay.feed(event, 1 << 60)
    made += replay.finish()
    (one,) = [public(decision) for decision in made if decision.outcome == "fired"]
    return one


def at(minute: int) -> str:
    return f"2025-11-24T10:{minute:02}:00Z"


def added(minute: int, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Product Added", "timestamp": at(minute), "properties": TENT, **more}


def test_the_newest_that_was_told_counts() -> None:
    first = {"email": "old@shop.example", "firstName": "Anna", "lastName": "Berg", "locale": "fr"}
    then = {"email": "Anna <new@shop.example>", "name": "Anna B."}
    told = fired(
        {"type": "identify", "timestamp": at(0), "traits": first},
        {"type": "identify", "timestamp": at(1), "traits": then, "context": {"timezone": "Europe/Vienna"}},
        added(2, context={"locale": "de-AT"}),
    )
    assert told["contact"] == {
        "email": "new@shop.example", "name": "Anna B.", "locale": "de-AT", "timezone": "Europe/Vienna"
    }  # fmt: skip
    assert told["identifiers"]["email"] == ["new@shop.example", "old@shop.example"]


def test_by_receipt_not_by_place_in_the_file() -> None:
    late = {"type": "identify", "timestamp": at(3), "receivedAt": at(3), "traits": {"name": "Later"}}
    soon = {"type": "identify", "timestamp": "2025-11-24T10:02:55Z", "traits": {"name": "Sooner"}}
    assert fired(added(1), late, soon)["contact"] == {"name": "Later"}


def test_what_is_told_after_the_decision_is_not_known_by_then() -> None:
    later = {"type": "identify", "timestamp": "2025-11-24T11:05:00.001Z", "traits": {"name": "Later"}}
    assert "contact" not in fired(added(0), later)


@pytest.mark.parametrize(("topology", "addresses"), [(SHIPPED, {}), (SHOP, {"url": TENT["url"]})])
def test_a_line_tells_its_product_and_addresses_that_lead_where_they_may(topology: Any, addresses: Any) -> None:
    (line,) = fired(added(0), topology=topology)["payload"]["lines"]
    assert line == {
        "product": "tent", "quantity": 1, "price": 10.0, "currency": "EUR", "total": 10.0, "name": "Tent",
        "variant": "green", **addresses,
    }  # fmt: skip
