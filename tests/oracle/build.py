"""Short words for writing little histories by hand. Times are minutes after BASE; `who` reads "a:phone u:1"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BASE = 1_772_445_600_000
"""2026-03-02T10:00:00Z"""

MINUTE = 60_000
SPACES = {"a": "anonymous_id", "u": "user_id", "e": "email", "d": "device_id", "c": "crm_id"}
RULES = {"cart": "abandoned_cart", "ebook": "ebook_not_clicked", "film": "film_half_watched"}

Event = dict[str, Any]
Decision = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A history in log order, what it must lead to (in any order), and parameters other than the shipped ones.

    `line`: of the semantics page. `name`: what is shown.
    """

    line: int
    name: str
    events: list[Event]
    expected: list[Decision]
    options: dict[str, Any] = field(default_factory=dict)


def ms(minutes: float) -> int:
    """Minutes after BASE -> UTC ms."""
    return BASE + round(minutes * MINUTE)


def identifiers(who: str) -> dict[str, str]:
    """ "a:phone u:1" -> {"anonymous_id": "phone", "user_id": "1"}; later ones of a namespace win."""
    return {SPACES[part.split(":", 1)[0]]: part.split(":", 1)[1] for part in who.split()}


def event(type_: str, id_: str, at: float, got: float | None = None, who: str = "a:phone", **body: Any) -> Event:
    """Any event. `got`: when it was received; None: when it occurred. Fields that are None are left out."""
    return {
        "type": type_,
        "event_id": id_,
        "occurred_at": ms(at),
        "received_at": ms(at if got is None else got),
        "identifiers": identifiers(who),
        "body": {name: value for name, value in body.items() if value is not None},
    }


def among(told: Event, *, who: dict[str, Any] | None = None, context: dict[str, Any] | None = None) -> Event:
    """The same event with identifiers spelt as given, and with a context."""
    return {
        **told,
        **({} if who is None else {"identifiers": who}),
        **({} if context is None else {"context": context}),
    }


def add(
    id_: str, at: float, got: float | None = None, *, who: str = "a:phone", cart: str | None = "c", **body: Any
) -> Event:
    """Product p added, one, for 10 EUR, unless said otherwise."""
    body = {"product_id": "p", "quantity": 1, "price": 10, "currency": "EUR", **body}
    return event("product_added", id_, at, got, who, cart_id=cart, **body)


def remove(
    id_: str, at: float, got: float | None = None, *, who: str = "a:phone", cart: str | None = "c", **body: Any
) -> Event:
    """All of product p removed, unless said otherwise."""
    return event("product_removed", id_, at, got, who, cart_id=cart, **{"product_id": "p", **body})


def view(id_: str, at: float, got: float | None = None, *, who: str = "a:phone", cart: str | None = "c") -> Event:
    """Cart viewed."""
    return event("cart_viewed", id_, at, got, who, cart_id=cart)


def order(
    id_: str, at: float, got: float | None = None, *, who: str = "a:phone", cart: str | None = None, **body: Any
) -> Event:
    """Order completed, without a cart id unless said otherwise."""
    return event("order_completed", id_, at, got, who, cart_id=cart, **{"order_id": f"order-{id_}", **body})


def update(
    id_: str, at: float, got: float | None = None, *, who: str = "a:phone", cart: str | None = "c", **body: Any
) -> Event:
    """Cart updated."""
    return event("cart_updated", id_, at, got, who, cart_id=cart, **body)


def clear(id_: str, at: float, got: float | None = None, *, who: str = "a:phone", cart: str | None = "c") -> Event:
    """Cart cleared."""
    return event("cart_cleared", id_, at, got, who, cart_id=cart)


def login(id_: str, at: float, got: float | None = None, *, who: str = "a:phone u:1") -> Event:
    """What ties identifiers and does nothing else."""
    return event("identified", id_, at, got, who)


def send(id_: str, at: float, got: float | None = None, *, who: str = "u:1", message: str = "m", **body: Any) -> Event:
    """E-mail with the e-book sent."""
    return event(
        "email_sent",
        id_,
        at,
        got,
        who,
        **{"message_id": message, "campaign": "spring", "link_ids": ["ebook", "imprint"], **body},
    )


def click(id_: str, at: float, got: float | None = None, *, who: str = "u:1", message: str = "m", **body: Any) -> Event:
    """Link `ebook` clicked by a human."""
    return event(
        "email_clicked", id_, at, got, who, **{"message_id": message, "link_id": "ebook", "confidence": "human", **body}
    )


def bounce(
    id_: str, at: float, got: float | None = None, *, who: str = "u:1", message: str = "m", kind: str | None = "hard"
) -> Event:
    """The message bounced."""
    return event("email_bounced", id_, at, got, who, message_id=message, kind=kind)


def unsubscribe(id_: str, at: float, got: float | None = None, *, who: str = "u:1", message: str = "other") -> Event:
    """Unsubscribed, from another message."""
    return event("email_unsubscribed", id_, at, got, who, message_id=message)


def complain(id_: str, at: float, got: float | None = None, *, who: str = "u:1", message: str = "other") -> Event:
    """Complained about another message."""
    return event("email_complained", id_, at, got, who, message_id=message)


def download(id_: str, at: float, got: float | None = None, *, who: str = "u:1", asset: str = "ebook") -> Event:
    """The e-book downloaded."""
    return event("asset_downloaded", id_, at, got, who, asset=asset)


def play(
    id_: str,
    at: float,
    position: float | None,
    got: float | None = None,
    *,
    type_: str = "video_progressed",
    who: str = "a:phone",
    film: str = "film",
    session: str | None = "s",
    length: float | None = 120,
    **body: Any,
) -> Event:
    """A playback event of a film of 120 seconds: a heartbeat unless said otherwise."""
    return event(
        type_,
        id_,
        at,
        got,
        who,
        session_id=session,
        film=film,
        title="Up",
        position=position,
        total_length=length,
        **body,
    )


def lines(cart: str | None, *rows: tuple[Any, ...], currency: str | None = "EUR") -> dict[str, Any]:
    """A cart's payload from rows (product, quantity, price), with a dict for what else is told or otherwise."""
    told = [
        {
            "product": product,
            "quantity": quantity,
            "price": price,
            "currency": currency,
            "total": quantity * price,
            **(more[0] if more else {}),
        }
        for product, quantity, price, *more in rows
    ]
    known = bool(told) and all(row["total"] is not None for row in told)
    return {
        "cart_id": cart,
        "lines": told,
        "currency": currency if rows else None,
        "total": sum(row["total"] for row in told) if known else None,
    }


def want(
    rule: str,
    outcome: str,
    reason: str,
    key: str | None,
    cause: str,
    at: float,
    due: float,
    decided: float,
    payload: dict[str, Any] | None = None,
    *,
    who: str = "a:phone",
    **more: Any,
) -> Decision:
    """An expected decision. `who` may repeat a namespace: "a:phone a:desk u:1". `payload` None: the usual one.

    `contact`, unless given: the only e-mail in `who`.
    """
    names: dict[str, list[str]] = {}
    for part in sorted(who.split()):
        names.setdefault(SPACES[part.split(":", 1)[0]], []).append(part.split(":", 1)[1])
    if payload is None:
        usual: dict[str, dict[str, Any]] = {
            "cart": lines(key, ("p", 1, 10)),
            "ebook": {"message_id": key, "campaign": "spring"},
            "film": {"film": key, "title": "Up", "seconds_watched": 60, "total_length": 120},
        }
        payload = {} if outcome == "retracted" else usual[rule]
    return {
        "outcome": outcome,
        "reason": reason,
        "rule": RULES[rule],
        "rule_version": 1,
        "correlation_key": key,
        "identifiers": names,
        "cause_event_id": cause,
        "occurred_at": ms(at),
        "due_at": ms(due),
        "decided_at": ms(decided),
        "payload": payload,
        "contact": {"email": names["email"][0]} if len(names.get("email", ())) == 1 else {},
        **more,
    }
