"""Random waits that are as long as their start tells, or last up to a time of day; those that look at a cart; and what
is told of all."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.oracle.language.begins import Sayings

Told = dict[str, Any]

TOLD = [
    ("form_id", "form_submitted", "fields.lasts", "minutes"),
    (None, "form_submitted", "fields.lasts", "minutes"),
    (None, "product_added", "price", "minutes"),
    ("cart_id", "product_added", "price", "minutes"),
    ("product_id", "product_added", "quantity", "hours"),
    ("products.product_id", "order_completed", "products.quantity", "hours"),
    ("products.product_id", ["product_added", "order_completed"], "products.quantity", "hours"),
    (None, "order_completed", "products.quantity", "hours"),
    ("products.product_id", "order_completed", "total", "minutes"),
]
"""By what a rule waits, what starts it, and what tells how long."""
MOVES = {"product_id": "product_removed", "cart_id": "cart_viewed", "products.product_id": "product_removed"}
LASTS = [10, 10, 30, "20", "1e1", 60, 0, -5, 0.5, "soon", True, 1e9, "", None]
TIMES = ["10:30", "10:30", "11:00", "12:15", "02:30", "00:00"]


def as_told(say: Sayings, told: Told) -> None:
    """Started by what says how long it is."""
    rng = say.rng
    per, event, field, unit = rng.choice(TOLD)
    where = say.where(event, 0.2) if isinstance(event, str) else {}
    for name in ("per", "decide", "without_key", "restart", "stages"):
        told.pop(name, None)
    told |= {"start": {"event": event, **where}, "after": {"field": field, "unit": unit}}
    if per is not None:
        told["per"] = per
    if "once" not in told and rng.random() < 0.5 and per != "form_id":
        told["restart"] = {"event": MOVES[per] if per else rng.choice(["cart_viewed", "page_viewed"])}


def upto(rng: Random) -> Told:
    """Up to a time of day."""
    until: Told = {"time": rng.choice(TIMES)}
    if rng.random() < 0.5:
        until["days"] = rng.choice(["mon", "tue", ["mon", "tue"], "sun", ["sat", "sun"]])
    return {"for": rng.choice(["1ms", "10m", "30m", "1h"]), "until": until}


def puts_in(rng: Random) -> Told:
    """A start by what is put into a cart."""
    events = rng.choice(["product_added", ["product_added", "cart_updated"]])
    where = {"where": {"price": {"gte": 10}}} if events == "product_added" and rng.random() < 0.15 else {}
    return {"event": events, **where}


OF_CART = ["lines", "quantity", "total", "currency"]


def of_cart(rng: Random, told: Told, *, values: bool) -> None:
    """What ends a rule's wait by what it does to the cart, and what is told of it: all, or single `values`."""
    bought: Told = {"event": "order_completed", "match": "cart_id", "without_key": "all", "reason": "bought"}
    if rng.random() < 0.75:
        bought["takes"] = "products"
    cleared = {"event": "cart_cleared", "match": "cart_id", "without_key": "all", "reason": "cleared"}
    for cancel in (bought, cleared):
        if rng.random() < 0.2:
            del cancel["without_key"]
    if rng.random() < 0.2:
        bought["where"] = rng.choice([{"total": {"gte": 50}}, {"total": {"lt": 50}}])
    told["cancel"] = [bought, cleared] if rng.random() < 0.8 else [rng.choice([bought, cleared])]
    if rng.random() < 0.2:
        told["cancel"].append({"event": "page_viewed", "reason": "seen"})
    if rng.random() < 0.15 and "for" not in told["start"].get("sequence", [{}])[-1]:
        told.pop("stages", None)
        told["after"] = upto(rng)
    if rng.random() < 0.6:
        told["until"] = {"cart": "empty", "reason": "emptied"}
    elif rng.random() < 0.4 and "event" in told["start"]:
        told["until"] = {"when": {"cart": {"lines": {"is": 0}}}, "reason": "emptied"}
    told["payload"] = rng.choice([["cart"], ["cart"], {"basket": "cart", "which": "key"}])
    if values:
        told["payload"] = {name: f"cart.{name}" for name in rng.sample(OF_CART, rng.choice([1, 2, 4]))}
    if rng.random() < 0.4:
        told["restart"] = {"event": rng.choice(["cart_viewed", ["product_removed", "cart_viewed"]])}


REFERS: list[Told] = [
    {"event": "product_removed", "match": {"product_id": "start.product_id"}},
    {"event": "product_viewed", "match": {"product_id": "start.product_id"}},
    {"event": "product_viewed", "where": {"product_id": {"not": "start.product_id"}}},
    {"event": "product_added", "match": {"cart_id": "key"}, "where": {"price": {"gt": "start.price"}}},
    {"event": "product_added", "where": {"cart_id": {"not": "key"}, "product_id": "start.product_id"}},
    {"event": "order_completed", "match": {"cart_id": "key", "products.product_id": "start.product_id"}},
    {"event": "order_completed", "match": {"products.product_id": "start.products.product_id"}},
    {"event": "order_completed", "match": "cart_id", "where": {"total": {"gte": "start.price"}}, "without_key": "all"},
    {"event": "cart_viewed", "where": {"cart_id": {"not": "start.cart_id"}}},
]
"""What ends a cart's wait, as it compares with its start."""


def refers(rng: Random, told: Told) -> None:
    """One or two cancels more that compare with the start."""
    more = [{**cancel, "reason": f"alike_{n}"} for n, cancel in enumerate(rng.sample(REFERS, rng.choice([1, 2])))]
    told["cancel"] = [*more, *told["cancel"]] if rng.random() < 0.5 else [*told["cancel"], *more]


def of_message(rng: Random, told: Told, *, moved: bool) -> None:
    """A rule that waits for each message. `moved`: by what is told of it besides."""
    told.clear()
    told |= {
        "version": 1,
        "per": "message_id",
        "start": {"event": "email_sent"},
        "after": rng.choice(["10m", "30m", "1h"]),
        "cancel": {"event": "email_clicked", "match": "message_id", "reason": "clicked"},
        "payload": rng.choice([["message"], {"mail": "message", "which": "key", "campaign": "start.campaign"}]),
    }
    if moved and rng.random() < 0.7:
        told["restart"] = {"event": rng.choice(["email_opened", "email_opened", ["email_opened", "email_delivered"]])}
        if rng.random() < 0.3:
            told["stages"] = [{"name": "first", "after": "10m"}, {"name": "second", "after": "30m"}]
            del told["after"]
    elif rng.random() < 0.5:
        told |= {"once": rng.choice([True, {"forget": "72h"}])}


OF_START = {
    "product_viewed": ["product_id", "context.timezone"],
    "product_added": ["product_id", "price", "quantity", "cart_id", "products.product_id", "products.price"],
    "page_viewed": ["path", "context.campaign.source"],
    "form_submitted": ["form_id", "fields.ends"],
    "cart_viewed": ["cart_id"],
    "identified": ["traits.company.size", "traits.company.at.city", "traits.company.listed", "traits.company.at"],
    "segment_entered": ["segment", "reason"],
    "segment_left": ["segment", "reason"],
    "video_started": ["position", "session_id"],
    "video_progressed": ["position", "total_length"],
}
"""What payloads tell of the events that start."""


def tells(rng: Random, told: Told) -> None:
    """Single values by name, or the film; now and then of a stage its own."""
    told["payload"] = one_payload(rng, told)
    if "stages" in told and rng.random() < 0.4:
        told["stages"][-1]["payload"] = rng.choice([[], one_payload(rng, told)])


def one_payload(rng: Random, told: Told) -> Any:
    """What one decision tells."""
    if told.get("per") == "film" and rng.random() < 0.5:
        return ["film"]
    names: Told = {"plan": "trait.plan"}
    if "company" in str(told):
        names["size"] = rng.choice(["trait.company.size", "trait.company.at.city"])
    if "per" in told:
        names["which"] = "key"
    if told.get("per") == "film":
        names["seen"] = "film"
    events = told["start"].get("event", [])
    paths = [path for event in ([events] if isinstance(events, str) else events) for path in OF_START.get(event, ())]
    return names | {f"v{n}": f"start.{path}" for n, path in enumerate(rng.sample(paths, min(2, len(paths))))}
