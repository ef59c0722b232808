"""What Snowplow's own self-describing events and entities mean, as Segment's calls.

Fields are those of the schemas in snowplow/iglu-central; which entities stand beside which event is written by the
plugins of snowplow/snowplow-javascript-tracker (browser-plugin-snowplow-ecommerce, -enhanced-ecommerce, -media,
-enhanced-consent) and by the core's builders (libraries/tracker-core/src/core.ts).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeline.events.segment_fields import key_text, number, numbered

Part = dict[str, Any]

BASE = "com.snowplowanalytics.snowplow"
_SHOP = f"{BASE}.ecommerce"
_MEDIA = f"{BASE}.media"
_MOBILE = "com.snowplowanalytics.mobile"
_GOOGLE = "com.google.analytics.enhanced-ecommerce"

SHOP = {
    "product_view": "Product Viewed",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "checkout_step": "Checkout Started",
    "transaction": "Order Completed",
    "refund": "Order Refunded",
}
"""`type` of snowplow_ecommerce_action. A later checkout_step than the first is a `Checkout Step Viewed`."""
_SHOPS_ENTITIES = ("cart", "transaction", "refund", "checkout_step")

GOOGLE = {
    "detail": "Product Viewed",
    "add": "Product Added",
    "remove": "Product Removed",
    "checkout": "Checkout Started",
    "purchase": "Order Completed",
    "refund": "Order Refunded",
}
"""`action` of the older plugin's events."""

MEDIA = {
    "play_event": "Video Playback Started",
    "pause_event": "Video Playback Paused",
    "end_event": "Video Playback Completed",
    "seek_start_event": "Video Playback Seek Started",
    "seek_end_event": "Video Playback Seek Completed",
    "buffer_start_event": "Video Playback Buffer Started",
    "buffer_end_event": "Video Playback Buffer Completed",
    "ping_event": "Video Content Playing",
    "percent_progress_event": "Video Content Playing",
}
"""Of the media plugin. What plays on is a `Video Playback Resumed`, and a ping while it is paused `Paused`."""

CLICKS: dict[str, dict[str, tuple[str, ...]]] = {
    "link_click": {"link_id": ("elementId",), "text": ("elementContent",), "target_url": ("targetUrl",)},
    "button_click": {"link_id": ("id", "name"), "text": ("label",)},
}
"""Our properties, and theirs, the first of which that is told counts."""

GIVEN = ("allow_all", "allow_selected", "implicit_consent", "deny_all")
"""`eventType` of consent_preferences after which the scopes are those that are allowed."""


class Described(NamedTuple):
    """Self-describing JSON, without its version."""

    vendor: str
    name: str
    data: Part

    @property
    def schema(self) -> str:
        return f"{self.vendor}/{self.name}"


class Entities:
    """What is told beside an event, by schema."""

    def __init__(self, entities: list[Described]) -> None:
        self._by_schema: dict[str, list[Part]] = {}
        for entity in entities:
            self._by_schema.setdefault(entity.schema, []).append(entity.data)

    def all(self, schema: str) -> list[Part]:
        return self._by_schema.get(schema, [])

    def of(self, schema: str) -> Part:
        """The first, or an empty one."""
        found = self._by_schema.get(schema)
        return found[0] if found else {}


def meaning_of(event: Described, entities: Entities) -> Part:
    """Type of call, name and properties. An event that isn't known is tracked by its schema's name."""
    data = event.data
    if event.schema == f"{_SHOP}/snowplow_ecommerce_action":
        return _shop(data, entities)
    if event.schema == f"{_GOOGLE}/action":
        return _google(data, entities)
    if event.vendor == _MEDIA and event.name in MEDIA:
        return _media(event.name, entities)
    if event.name == "screen_view" and event.vendor in (BASE, _MOBILE):
        return {"type": "screen", "name": data.get("name"), "properties": {"page_view_id": data.get("id")}}
    if event.schema == f"{BASE}/identify":
        user = {} if data.get("id") is None else {"userId": data["id"]}
        return {"type": "identify", "traits": {"email": data.get("email")}, **user}
    if event.schema == f"{BASE}/site_search":
        terms = [text for term in numbered(data.get("terms")) or [] if (text := key_text(term)) is not None]
        return _tracked("Products Searched", {**data, "query": " ".join(terms), "results": data.get("totalResults")})
    if event.vendor == BASE and event.name in ("add_to_cart", "remove_from_cart"):
        return _tracked(event.name, {**data, "price": data.get("unitPrice")})
    if event.vendor == BASE and event.name in CLICKS:
        read = CLICKS[event.name].items()
        return _tracked(event.schema, {ours: next(filter(None, map(data.get, names)), None) for ours, names in read})
    if event.schema == f"{BASE}/submit_form":
        return _tracked(event.schema, {"form_id": data.get("formId"), "fields": _filled_in(data) or None})
    return _tracked(event.name, data)


def _filled_in(data: Part) -> Part:
    """What stood in a form's elements, by their names; no password, whatever the page's tracker told."""
    elements = [each for each in numbered(data.get("elements")) or [] if isinstance(each, dict)]
    told = ((key_text(each.get("name")), each) for each in elements if each.get("type") != "password")
    return {name: each.get("value") for name, each in told if name is not None}


def _tracked(name: str, properties: Part) -> Part:
    return {"type": "track", "event": name, "properties": properties}


def _shop(data: Part, entities: Entities) -> Part:
    action = key_text(data.get("type")) or "snowplow_ecommerce_action"
    properties = {**data}
    for name in _SHOPS_ENTITIES:
        properties |= entities.of(f"{_SHOP}/{name}")
    if (refunded := properties.get("refund_amount")) is not None:
        properties["total"] = refunded
    if products := entities.all(f"{_SHOP}/product"):
        properties["products"] = products
    if action == "checkout_step" and (number(properties.get("step")) or 1) > 1:
        return _tracked("Checkout Step Viewed", properties)
    return _tracked(SHOP.get(action, action), properties)


def _google(data: Part, entities: Entities) -> Part:
    action = key_text(data.get("action")) or "action"
    properties = {**data, **entities.of(f"{_GOOGLE}/actionFieldObject")}
    if (order := properties.pop("id", None)) is not None:
        properties["order_id"] = order
    if products := entities.all(f"{_GOOGLE}/productFieldObject"):
        properties["products"] = products
    return _tracked(GOOGLE.get(action, action), properties)


def _media(name: str, entities: Entities) -> Part:
    player = entities.of(f"{BASE}/media_player")
    position = player.get("currentTime")
    event = MEDIA[name]
    if name == "play_event" and number(position):
        event = "Video Playback Resumed"
    elif event == "Video Content Playing" and player.get("paused") is True:
        event = "Video Playback Paused"
    properties = {
        "session_id": entities.of(f"{_MEDIA}/session").get("mediaSessionId"),
        "title": player.get("label"),
        "position": position,
        "total_length": player.get("duration"),
    }
    return _tracked(event, properties)


def consent_of(event: Described | None, entities: Entities) -> dict[str, bool]:
    """Purposes that are allowed or not: what the event itself says of consent, and the entities beside it.

    `gdpr`: the basis on which the event may be processed. `consent_preferences`: the scopes. `consent_granted` and
    `consent_withdrawn`: each consent_document, by its name, else its id.
    """
    found = {
        key_text(basis): True for gdpr in entities.all(f"{BASE}/gdpr") if (basis := gdpr.get("basisForProcessing"))
    }
    preferences = entities.all(f"{BASE}/consent_preferences")
    if event is not None and event.schema == f"{BASE}/consent_preferences":
        preferences = [*preferences, event.data]
    for told in preferences:
        if told.get("eventType") in GIVEN:
            found |= {key_text(scope): True for scope in numbered(told.get("consentScopes")) or []}
    if event is not None and event.schema in (f"{BASE}/consent_granted", f"{BASE}/consent_withdrawn"):
        for document in entities.all(f"{BASE}/consent_document"):
            said = key_text(document.get("name")) or key_text(document.get("id"))
            found[said] = event.name == "consent_granted"
    return {purpose: allowed for purpose, allowed in found.items() if purpose is not None}
