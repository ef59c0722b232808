"""What an event says, tidied: semantics 12 to 15 and 22, for the oracle. Shares no code with `pipeline`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tests.oracle.lines import Item, read_item, read_list
from tests.oracle.spelling import key, link, message, several, text

NOTHING = "nothing"
"""12, 13: the type of an add of nothing."""
EMPTIED = "cart_emptied"
"""13: the type of a Cart Updated without products."""
ORDERS = ("order_completed", "offline_purchased")

TIDY: dict[str, Callable[[Any], Any]] = {
    "cart_id": key,
    "order_id": key,
    "message_id": message,
    "link_id": link,
    "link_ids": lambda value: [link(one) for one in several(value)],
    "film": text,
}

RANKS = {
    "product_removed": 0,
    "product_added": 1,
    "email_sent": 1,
    "cart_updated": 2,
    EMPTIED: 2,
    "cart_viewed": 3,
}
ENDS = 4


def rank(type_: str) -> int:
    """2: what comes first of what occurred in one millisecond."""
    return 1 if type_.startswith("video_") else RANKS.get(type_, ENDS)


def tidied(body: dict[str, Any]) -> dict[str, Any]:
    """12 to 15, 18: the body, with keys and link ids as they compare."""
    return {name: TIDY[name](value) if name in TIDY else value for name, value in body.items()}


def understood(type_: str, body: dict[str, Any]) -> tuple[str, tuple[Item, ...]]:
    """13: what it is to a cart, and its products. Their quantities are above zero, but for what an add of several
    removes; None is the whole line."""
    if type_ not in ("product_added", "product_removed", "cart_updated", *ORDERS):
        return type_, ()
    items = read_list(body)
    if type_ in ORDERS:
        return type_, tuple(items)
    if type_ == "cart_updated":
        held = tuple(replace(item, quantity=amount(item)) for item in items if amount(item) > 0)
        return (type_ if held else EMPTIED), held
    items = items or [item for item in [read_item(body)] if item is not None]
    if type_ == "product_removed":
        return type_, tuple(replace(item, quantity=abs(amount(item)) if item.quantity else None) for item in items)
    changes = tuple(replace(item, quantity=amount(item)) for item in items if amount(item) != 0)
    if any(amount(item) > 0 for item in changes):
        return type_, changes
    return ("product_removed" if changes else NOTHING), tuple(item.negative() for item in changes)


def amount(item: Item) -> Fraction:
    """13: how many are put in; a missing quantity is one."""
    return Fraction(1) if item.quantity is None else item.quantity
