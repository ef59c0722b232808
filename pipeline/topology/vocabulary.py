"""What a rule can speak of: the event types and the fields of their bodies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal

import msgspec

Kind = Literal["text", "number", "choice", "list", "map", "records"]


class Field(msgspec.Struct, frozen=True):
    """A body field. `choices` are the values of a `choice`; a `list` holds texts."""

    kind: Kind
    choices: tuple[str, ...] = ()


TEXT, NUMBER, LIST, MAP, RECORDS = (
    Field("text"),
    Field("number"),
    Field("list"),
    Field("map"),
    Field("records"),
)
_CONFIDENCE = Field("choice", ("human", "machine", "unknown"))


def _body(*texts: str, numbers: Iterable[str] = (), **others: Field) -> dict[str, Field]:
    return {**dict.fromkeys(texts, TEXT), **dict.fromkeys(numbers, NUMBER), **others}


def _product(*more: str) -> dict[str, Field]:
    return _body(
        *more,
        "product_id",
        "sku",
        "name",
        "category",
        "brand",
        "variant",
        "currency",
        "url",
        numbers=("price", "quantity"),
    )


def _film(*texts: str, numbers: Iterable[str] = ()) -> dict[str, Field]:
    return _body("session_id", "film", "title", *texts, numbers=("position", "total_length", *numbers))


@cache
def bodies() -> Mapping[str, Mapping[str, Field]]:
    """Event type -> body field -> what it holds."""
    return {
        "page_viewed": _body("url", "path", "title", "referrer", "page_view_id", numbers=("engaged_ms", "absolute_ms")),
        "element_clicked": _body("link_id", "text", "target_url", element=Field("choice", ("link", "button"))),
        "form_submitted": _body("form_id", fields=MAP),
        "searched": _body("query", numbers=("results",)),
        "product_viewed": _product("cart_id"),
        "product_added": _product("cart_id"),
        "product_removed": _product("cart_id"),
        "cart_viewed": _body("cart_id"),
        "cart_cleared": _body("cart_id"),
        "checkout_started": _body("cart_id", "order_id", "currency", numbers=("value",)),
        "order_completed": _body("order_id", "cart_id", "currency", "channel", numbers=("total",), products=RECORDS),
        "order_refunded": _body("order_id", "currency", numbers=("total",)),
        "asset_downloaded": _body("asset", "url"),
        "identified": _body(traits=MAP),
        "custom": _body("name", properties=MAP),
        "email_sent": _body("message_id", "campaign", "subject", link_ids=LIST),
        "email_delivered": _body("message_id", "campaign"),
        "email_opened": _body("message_id", "campaign", confidence=_CONFIDENCE),
        "email_clicked": _body("message_id", "campaign", "link_id", "url", confidence=_CONFIDENCE),
        "email_bounced": _body("message_id", "campaign", "kind", "diagnostic"),
        "email_complained": _body("message_id", "campaign"),
        "email_unsubscribed": _body("message_id", "campaign", "list_id"),
        "video_started": _film(),
        "video_progressed": _film(numbers=("watched_from", "watched_to")),
        "video_paused": _film("cause"),
        "video_resumed": _film(),
        "video_sought": _film(numbers=("seek_from", "seek_to")),
        "video_completed": _film(),
        "offline_purchased": _body("order_id", "cart_id", "currency", "location", numbers=("total",), products=RECORDS),
        "call_logged": _body("direction", "outcome", numbers=("duration_s",), properties=MAP),
        "store_visited": _body("location", properties=MAP),
    }


@cache
def event_types() -> tuple[str, ...]:
    """All event types, sorted."""
    return tuple(sorted(bodies()))


@cache
def playback_types() -> tuple[str, ...]:
    """The event types of a player, from which seconds watched are counted."""
    return tuple(name for name in event_types() if name.startswith("video_"))


@cache
def field_names() -> tuple[str, ...]:
    """Every field of any body, sorted."""
    return tuple(sorted({name for body in bodies().values() for name in body}))


STREAMS = ("clickstream", "email", "video", "offline")
