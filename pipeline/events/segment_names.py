"""Segment's event names and property names, and the types and fields they are here.

A field is ours, its kind, and the properties it may come from, best first; camelCase is understood for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.events.segment_fields import confidence, first_text, number, plain_text, products, text_list, whole

Fields = tuple[tuple[str, Callable[[object], Any], tuple[str, ...]], ...]


class Tracked(NamedTuple):
    """What a name means: our type, its fields, and (field, value) pairs that hold unless a property says otherwise."""

    type: str
    fields: Fields
    told: tuple[tuple[str, str], ...] = ()


def _field(field: str, kind: Callable[[object], Any] = plain_text, *names: str) -> Fields:
    wanted = names or (field,)
    return ((field, kind, tuple(dict.fromkeys(form for name in wanted for form in (name, _camel(name))))),)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_CART = _field("cart_id")
_ORDER = _field("order_id")
_CURRENCY = _field("currency")
_TOTAL = _field("total", number, "total", "revenue", "value")
_PRODUCT = (
    _CART
    + _field("product_id", plain_text, "product_id", "id")
    + _field("sku")
    + _field("name")
    + _field("category")
    + _field("brand")
    + _field("variant")
    + _field("price", number)
    + _CURRENCY
    + _field("quantity", number)
    + _field("url")
)
_CHECKOUT = _CART + _ORDER + _field("value", number, "value", "total", "revenue") + _CURRENCY
_PURCHASE = _ORDER + _CART + _TOTAL + _CURRENCY + _field("channel") + _field("products", products)

_MESSAGE = _field("message_id", plain_text, "message_id", "email_id") + _field(
    "campaign", plain_text, "campaign", "campaign_id", "campaign_name"
)
_CONFIDENCE = _field("confidence", confidence)
_UNKNOWN = (("confidence", "unknown"),)

_VIDEO = (
    _field("session_id")
    # Segment's content events carry an `asset_id` besides a title. The title goes first (semantics 15).
    + _field("film", first_text, "content_asset_id", "content_asset_ids", "title", "asset_id")
    + _field("title")
    + _field("position", number)
    + _field("total_length", number)
)
_SOUGHT = tuple(row for row in _VIDEO if row[0] != "position") + (
    _field("position", number, "seek_position", "position") + _field("seek_to", number, "seek_position", "position")
)


def _paused(cause: str) -> Tracked:
    return Tracked("video_paused", _VIDEO, (("cause", cause),))


PAGE: Fields = (
    _field("url")
    + _field("path")
    + _field("title")
    + _field("referrer")
    + _field("page_view_id")
    + _field("engaged_ms", whole)
    + _field("absolute_ms", whole)
)

_STARTED = Tracked("video_started", _VIDEO)
_RESUMED = Tracked("video_resumed", _VIDEO)
_COMPLETED = Tracked("video_completed", _VIDEO)

TRACKED: dict[str, Tracked] = {
    # e-commerce, version 2
    "products searched": Tracked("searched", _field("query") + _field("results", whole)),
    "product viewed": Tracked("product_viewed", _PRODUCT),
    "product added": Tracked("product_added", _PRODUCT),
    "product removed": Tracked("product_removed", _PRODUCT),
    "cart viewed": Tracked("cart_viewed", _CART),
    "checkout started": Tracked("checkout_started", _CHECKOUT),
    "order completed": Tracked("order_completed", _PURCHASE),
    "order refunded": Tracked("order_refunded", _ORDER + _TOTAL + _CURRENCY),
    # the same in version 1, to which version 2 is aliased
    "viewed product": Tracked("product_viewed", _PRODUCT),
    "added product": Tracked("product_added", _PRODUCT),
    "removed product": Tracked("product_removed", _PRODUCT),
    "started order": Tracked("checkout_started", _CHECKOUT),
    "completed order": Tracked("order_completed", _PURCHASE),
    # video; advertisements stay custom events
    "video playback started": _STARTED,
    "video playback paused": _paused("paused"),
    "video playback interrupted": _paused("interrupted"),
    "video playback buffer started": _paused("buffering"),
    "video playback buffer completed": _RESUMED,
    "video playback seek started": _paused("seeking"),
    "video playback seek completed": Tracked("video_sought", _SOUGHT),
    "video playback resumed": _RESUMED,
    "video playback completed": _COMPLETED,
    "video playback exited": _paused("exited"),
    "video content started": _STARTED,
    "video content playing": Tracked("video_progressed", _VIDEO),
    "video content completed": _COMPLETED,
    # e-mail
    "email delivered": Tracked("email_delivered", _MESSAGE),
    "email opened": Tracked("email_opened", _MESSAGE + _CONFIDENCE, _UNKNOWN),
    "email link clicked": Tracked(
        "email_clicked",
        _MESSAGE + _field("link_id") + _field("url", plain_text, "link_url", "url") + _CONFIDENCE,
        _UNKNOWN,
    ),
    "email bounced": Tracked(
        "email_bounced",
        _MESSAGE
        + _field("kind", plain_text, "kind", "bounce_type")
        + _field("diagnostic", plain_text, "diagnostic", "reason"),
    ),
    "email marked as spam": Tracked("email_complained", _MESSAGE),
    "unsubscribed": Tracked("email_unsubscribed", _MESSAGE + _field("list_id")),
    # what these lack (semantics 17)
    "email sent": Tracked(
        "email_sent",
        _MESSAGE + _field("subject", plain_text, "subject", "email_subject") + _field("link_ids", text_list),
    ),
    "cart cleared": Tracked("cart_cleared", _CART),
    "asset downloaded": Tracked("asset_downloaded", _field("asset") + _field("url")),
}
"""By the name in lower case."""
