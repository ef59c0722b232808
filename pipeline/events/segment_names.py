"""Segment's and GA4's event names and property names, and the types and fields they are here.

Names are compared without regard to case; `order_completed`, `order-completed` and `Order  Completed` are one name
(semantics 17). So it is with properties, see `segment_body`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.events.checks import Note, unknown_cart
from pipeline.events.segment_body import Fields, Rows
from pipeline.events.segment_fields import (
    CONFIDENCE,
    FIRST_KEY,
    KEY,
    NAME,
    NUMBER,
    TEXT,
    TEXT_LIST,
    TEXTS,
    WHOLE,
    Kind,
    from_json,
    kind_of,
    listed,
    product_id,
)
from pipeline.events.snowplow_schemas import BASE

Body = dict[str, Any]
Settle = Callable[[Body, Callable[[], bool]], tuple[str, Body]]


class Tracked(NamedTuple):
    """What a name means: our type, its fields, (field, value) pairs that hold unless a property says otherwise, and
    `settle`, if there is more to it: (body as it was read, whether products were told at all) to (type, body). Where
    none were, it changes nothing.
    """

    type: str
    fields: Fields
    told: tuple[tuple[str, str], ...] = ()
    settle: Settle | None = None


def named(name: str) -> str:
    """An event's name as it is compared."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _field(field: str, kind: Kind = TEXT, *names: str) -> Rows:
    return ((field, kind, names or (field,)),)


# --- products

_PRODUCT = (
    _field("product_id", KEY, "product_id", "id", "item_id")
    + _field("sku", KEY)
    + _field("name", NAME, "name", "item_name", "product_name")
    + _field("price", NUMBER)
    + _field("quantity", NUMBER)
    + _field("variant", NAME, "variant", "item_variant")
    + _field("currency", NAME)
    + _field("url", NAME, "url", "product_url")
    + _field("image_url", FIRST_KEY, "image_url", "image", "image_link")
)
_DETAILED = (
    _PRODUCT + _field("category", NAME, "category", "item_category") + _field("brand", NAME, "brand", "item_brand")
)
LINE = Fields(_PRODUCT)
_ITEM = Fields(_DETAILED)
_BESIDE = frozenset(field for field, _, _ in _DETAILED) - {"currency"}
"""Fields of a product that stand beside a list of products."""


def _lines(fields: Fields, value: object, path: str, note: Note) -> list[Body] | None:
    """The products of a list, odd ones left out. None: none of them can be read."""
    if isinstance(value, str) and from_json(value) is None and product_id(value) is None:
        return None
    if not isinstance(value, list):
        note("read_as", f"{path}: {kind_of(value)}, not a list")
    items = listed(value)
    if items is None:
        return None
    if len(items) == 1 and isinstance(items[0], dict) and not fields.names & items[0].keys():
        held = list(items[0].values())  # by a key of the shop's own
        items = held if held and all(isinstance(item, dict) for item in held) else items
    lines = []
    for item in items:
        told = from_json(item) if isinstance(item, str) else item
        if not isinstance(told, dict):
            known_by = product_id(item)
            told = {} if known_by is None else {"product_id": known_by}
        if line := fields.read(told, f"{path}[]", note):
            lines.append(line)
        else:
            note("left_out", f"{path}: an item that tells no product")
    return lines if lines or not items else None


def _first_line(value: object, path: str, note: Note) -> Body | None:
    lines = _lines(_ITEM, value, path, note)
    return lines[0] if lines else None


PRODUCTS = Kind("a list of products", lambda value, path, note: _lines(LINE, value, path, note), items=LINE)
_LIST = ("products", "items")
_PRODUCTS = _field("products", PRODUCTS, *_LIST)


def _several(kind: str) -> Settle:
    """An add or a removal: where a list tells what, nothing beside it does."""

    def settle(body: Body, told: Callable[[], bool]) -> tuple[str, Body]:
        if body.get("products"):
            return kind, {field: value for field, value in body.items() if field not in _BESIDE}
        body.pop("products", None)
        return kind, body

    return settle


def _first_viewed(body: Body, told: Callable[[], bool]) -> tuple[str, Body]:
    """GA4's view_item tells the product in a list."""
    return "product_viewed", body | body.pop("products", {})


def _snapshot(body: Body, told: Callable[[], bool]) -> tuple[str, Body]:
    """A list in which nothing can be read doesn't tell that the cart is empty, but that somebody was there."""
    if "products" not in body and told():
        return unknown_cart(body)
    return "cart_updated", body


# --- the other fields

_CART = _field("cart_id", KEY)
_ORDER = _field("order_id", KEY, "order_id", "transaction_id")
_CURRENCY = _field("currency", NAME)
_TOTAL = _field("total", NUMBER, "total", "revenue", "value")
_CHECKOUT = Fields(_CART + _ORDER + _field("value", NUMBER, "value", "total", "revenue") + _CURRENCY)
_MESSAGE = _field("message_id", KEY, "message_id", "email_id") + _field(
    "campaign", NAME, "campaign", "campaign_id", "campaign_name"
)
_CONFIDENCE = _field("confidence", CONFIDENCE)
_UNKNOWN = (("confidence", "unknown"),)

_VIDEO = (
    _field("session_id", KEY)
    + _field("film", FIRST_KEY, "content_asset_id", "content_asset_ids", "asset_id", "title")
    + _field("title", NAME)
    + _field("position", NUMBER)
    + _field("total_length", NUMBER)
)
_SOUGHT = tuple(row for row in _VIDEO if row[0] != "position") + (
    _field("position", NUMBER, "seek_position", "position") + _field("seek_to", NUMBER, "seek_position", "position")
)
_FILM = Fields(_VIDEO)


def _paused(cause: str) -> Tracked:
    return Tracked("video_paused", _FILM, (("cause", cause),))


PAGE = Fields(
    _field("url", TEXT, "url", "page_location")
    + _field("path", TEXT, "path", "page_path")
    + _field("title", TEXT, "title", "page_title", "screen_name")
    + _field("referrer", TEXT, "referrer", "page_referrer")
    + _field("page_view_id", KEY)
    + _field("engaged_ms", WHOLE)
    + _field("absolute_ms", WHOLE)
)

_SEARCHED = Tracked(
    "searched", Fields(_field("query", TEXT, "query", "search_term", "search_query") + _field("results", WHOLE))
)
_PRODUCT_VIEWED = Tracked(
    "product_viewed",
    Fields(_CART + _DETAILED + _field("products", Kind("a list of products", _first_line), *_LIST)),
    (),
    _first_viewed,
)
_CHANGED = Fields(_CART + _DETAILED + _PRODUCTS)
_PRODUCT_ADDED = Tracked("product_added", _CHANGED, (), _several("product_added"))
_PRODUCT_REMOVED = Tracked("product_removed", _CHANGED, (), _several("product_removed"))
_CART_VIEWED = Tracked("cart_viewed", Fields(_CART))
_CART_UPDATED = Tracked("cart_updated", Fields(_CART + _CURRENCY + _PRODUCTS), (), _snapshot)
_CHECKOUT_STARTED = Tracked("checkout_started", _CHECKOUT)
_ORDER_COMPLETED = Tracked(
    "order_completed", Fields(_ORDER + _CART + _TOTAL + _CURRENCY + _field("channel") + _PRODUCTS)
)
_ORDER_REFUNDED = Tracked("order_refunded", Fields(_ORDER + _TOTAL + _CURRENCY))
_PAGE_VIEWED = Tracked("page_viewed", PAGE)

_EMAIL_CLICKED = Tracked(
    "email_clicked",
    Fields(_MESSAGE + _field("link_id", KEY) + _field("url", TEXT, "link_url", "url") + _CONFIDENCE),
    _UNKNOWN,
)
_EMAIL_COMPLAINED = Tracked("email_complained", Fields(_MESSAGE))
_EMAIL_UNSUBSCRIBED = Tracked("email_unsubscribed", Fields(_MESSAGE + _field("list_id", KEY)))

_ELEMENT = Fields(_field("link_id", KEY) + _field("text") + _field("target_url"))
_FORM = Fields(_field("form_id", KEY) + _field("fields", TEXTS))

_STARTED = Tracked("video_started", _FILM)
_RESUMED = Tracked("video_resumed", _FILM)
_COMPLETED = Tracked("video_completed", _FILM)

TRACKED: dict[str, Tracked] = {
    # e-commerce, version 2
    "products searched": _SEARCHED,
    "product viewed": _PRODUCT_VIEWED,
    "product added": _PRODUCT_ADDED,
    "product removed": _PRODUCT_REMOVED,
    "product added to wishlist": Tracked("wishlist_product_added", Fields(_DETAILED + _field("wishlist_id", KEY))),
    "cart viewed": _CART_VIEWED,
    "cart updated": _CART_UPDATED,
    "checkout started": _CHECKOUT_STARTED,
    "order completed": _ORDER_COMPLETED,
    "order refunded": _ORDER_REFUNDED,
    # the same in version 1, to which version 2 is aliased
    "viewed product": _PRODUCT_VIEWED,
    "added product": _PRODUCT_ADDED,
    "removed product": _PRODUCT_REMOVED,
    "started order": _CHECKOUT_STARTED,
    "completed order": _ORDER_COMPLETED,
    # GA4
    "search": _SEARCHED,
    "view search results": _SEARCHED,
    "view item": _PRODUCT_VIEWED,
    "add to cart": _PRODUCT_ADDED,
    "remove from cart": _PRODUCT_REMOVED,
    "view cart": _CART_VIEWED,
    "update cart": _CART_UPDATED,
    "begin checkout": _CHECKOUT_STARTED,
    "purchase": _ORDER_COMPLETED,
    "refund": _ORDER_REFUNDED,
    "page view": _PAGE_VIEWED,
    "screen view": _PAGE_VIEWED,
    # video; advertisements stay custom events
    "video playback started": _STARTED,
    "video playback paused": _paused("paused"),
    "video playback interrupted": _paused("interrupted"),
    "video playback buffer started": _paused("buffering"),
    "video playback buffer completed": _RESUMED,
    "video playback seek started": _paused("seeking"),
    "video playback seek completed": Tracked("video_sought", Fields(_SOUGHT)),
    "video playback resumed": _RESUMED,
    "video playback completed": _COMPLETED,
    "video playback exited": _paused("exited"),
    "video content started": _STARTED,
    "video content playing": Tracked("video_progressed", _FILM),
    "video content completed": _COMPLETED,
    # e-mail
    "email delivered": Tracked("email_delivered", Fields(_MESSAGE)),
    "email opened": Tracked("email_opened", Fields(_MESSAGE + _CONFIDENCE), _UNKNOWN),
    "email link clicked": _EMAIL_CLICKED,
    "email bounced": Tracked(
        "email_bounced",
        Fields(
            _MESSAGE
            # as SES, SendGrid, Postmark and Mailgun call it; their words stay as they are told
            + _field("kind", TEXT, "kind", "bounce_type", "type", "bounce_classification", "severity")
            + _field("diagnostic", TEXT, "diagnostic", "diagnostic_code", "reason")
        ),
    ),
    "email marked as spam": _EMAIL_COMPLAINED,
    "unsubscribed": _EMAIL_UNSUBSCRIBED,
    # the same as we call them
    "email clicked": _EMAIL_CLICKED,
    "email complained": _EMAIL_COMPLAINED,
    "email unsubscribed": _EMAIL_UNSUBSCRIBED,
    # what these lack (semantics 17)
    "email sent": Tracked(
        "email_sent",
        Fields(_MESSAGE + _field("subject", TEXT, "subject", "email_subject") + _field("link_ids", TEXT_LIST)),
    ),
    "cart cleared": Tracked("cart_cleared", Fields(_CART)),
    "asset downloaded": Tracked("asset_downloaded", Fields(_field("asset", KEY) + _field("url"))),
}
"""By the name as `named` gives it."""

DESCRIBED: dict[str, Tracked] = {
    f"{BASE}/link_click": Tracked("element_clicked", _ELEMENT, (("element", "link"),)),
    f"{BASE}/button_click": Tracked("element_clicked", _ELEMENT, (("element", "button"),)),
    f"{BASE}/submit_form": Tracked("form_submitted", _FORM),
}
"""Snowplow's, by their schemas: Segment has no names for them, and shops call theirs as they like."""
