"""What a client was asked to send, as the events that have to arrive: written down by hand, apart from the translation.

arriving(run("segment_python", ...))  # [Arriving("s1-0", "page_viewed", {"anonymous_id": ...}, {"url": ...}, ...), ...]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.clients.running import NEWER, Said

Asked = dict[str, Any]
Part = dict[str, Any]


class Arriving(NamedTuple):
    """`event_id`, `at` (UTC ms): None where the client makes up its own and doesn't say. `exactly`: the time needs no
    correction of the client's clock.
    """

    event_id: str | None
    type: str
    identifiers: dict[str, str]
    body: Part
    context: Part
    at: int | None
    exactly: bool = False


def arriving(name: str, said: Said) -> list[Arriving]:
    """`name`: the client's, as `running` has it."""
    return [event for call in said.asked for event in FAMILIES[NEWER.get(name, name)](call)]


TRACKED = {
    "Product Viewed": "product_viewed",
    "Product Added": "product_added",
    "Checkout Started": "checkout_started",
    "Order Completed": "order_completed",
}


def texts(properties: Part) -> dict[str, str]:
    """As a map of texts: JSON, but for texts; nothing that is null."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        for name, value in properties.items()
        if value is not None
    }


def tracked(name: str, properties: Part) -> tuple[str, Part]:
    if name in TRACKED:
        return TRACKED[name], properties
    return "custom", {"name": name, "properties": texts(properties)}


def told(**parts: str | None) -> dict[str, str]:
    return {name: value for name, value in parts.items() if value is not None}


# --- Segment and RudderStack


def segment(call: Asked, context: Part) -> list[Arriving]:
    user, device = call.get("userId"), call.get("anonymousId")
    identifiers = told(user_id=user, anonymous_id=device)
    kind = call["type"]
    properties, traits = call.get("properties", {}), call.get("traits", {})
    if kind == "track":
        name, body = tracked(call["event"], properties)
    elif kind == "page":
        name, body = "page_viewed", properties
    elif kind == "screen":
        name, body = "page_viewed", {"title": call["name"], **properties}
    elif kind == "group":
        name, body = "custom", {"name": "group", "properties": {**traits, "group_id": call["groupId"]}}
    elif kind == "identify":
        name, body = "identified", {"traits": traits}
        identifiers["email"] = traits["email"]
    else:
        assert kind == "alias"
        name, body = "identified", {}
    context = {**context, **call.get("context", {})}
    event = Arriving(call["messageId"], name, identifiers, body, context, call["timestamp"])
    if kind != "alias":
        return [event]
    previous = event._replace(identifiers={**identifiers, "anonymous_id": call["previousId"]})
    return [previous] if device is None else [previous, event]


# --- PostHog


def posthog(call: Asked, context: Part) -> list[Arriving]:
    """Servers' clients: a distinct id counts as the user's."""
    identifiers = {"user_id": call["distinct_id"]}
    kind, properties = call["call"], call.get("properties", {})
    own = call.get("event", "")
    if own == "$pageview":
        name, body = "page_viewed", {"url": properties["$current_url"], "path": "/tents", "title": "Tents"}
        context = {**context, "url": properties["$current_url"]}
    elif own == "$screen":
        name, body = "page_viewed", {"title": properties["$screen_name"]}
    elif own == "$identify" or kind == "identify":
        traits = properties.get("$set", properties)
        identifiers["anonymous_id"] = properties.get("$anon_distinct_id") or call["anonymous"]
        identifiers["email"] = traits["email"]
        name, body = "identified", {"traits": traits}
    elif kind == "capture":
        name, body = tracked(own, properties)
    elif kind in ("set", "set_once"):
        name, body = "identified", {"traits": properties}
    elif kind == "group_identify":
        group = {"group_id": call["group_key"], "group_type": call["group_type"]}
        name, body = "custom", {"name": "group", "properties": {**properties, **group}}
    elif kind == "alias":
        identifiers["anonymous_id"] = call["previous_id"]
        name, body = "identified", {}
    else:
        assert kind == "exception"
        name, body = "custom", {"name": "$exception"}
    return [Arriving(call.get("uuid"), name, identifiers, body, context, call.get("timestamp"))]


# --- Snowplow

PAGE = {"url": "https://shop.example/tents?colour=grün", "referrer": "https://search.example/"}
TENT = "Zelt „Größe 2“ 🏕"
LINE = {"sku": "tent", "name": TENT, "category": "shelter", "price": 249.5, "currency": "EUR"}
SOLD = {"sku": "tent", "name": TENT, "price": 249.5, "quantity": 2, "currency": "EUR"}
ODD = {"text": 'a "quoted" \\ line\n', "yes": True, "number": 1234567890123, "list": [1, "b", None]}
SNOWPLOW: dict[str, tuple[str, Part]] = {
    "page_view": ("page_viewed", {**PAGE, "title": "Tents"}),
    "self_describing": ("product_viewed", {"product_id": "tent", "name": TENT, "price": 249.5}),
    "add_to_cart": ("product_added", {**LINE, "quantity": 2}),
    "remove_from_cart": ("product_removed", {**LINE, "quantity": 1}),
    "screen_view": ("page_viewed", {"title": "Basket", "page_view_id": "screen-1"}),
    "site_search": ("searched", {"query": "zelt grün", "results": 3}),
    "link_click": ("element_clicked", {"element": "link", "link_id": "buy", "target_url": PAGE["url"]}),
    "form_submit": ("form_submitted", {"form_id": "f1"}),
}
CUSTOM: dict[str, tuple[str, Part]] = {
    "struct": (
        "shop: Feature Tried",
        {"category": "shop", "action": "Feature Tried", "label": "tent", "property": "size", "value": 2.5},
    ),
    "odd": ("feature_tried", {**ODD, "part": {"depth": 2}}),
    "form_change": ("change_form", {"formId": "f1", "elementId": "name", "nodeName": "INPUT", "value": "x"}),
    "social": ("social_interaction", {"action": "like", "network": "mastodon", "target": "tent"}),
    "ad_impression": ("ad_impression", {"impressionId": "i1", "bannerId": "b1", "zoneId": "z1"}),
    "ad_click": ("ad_click", {"targetUrl": PAGE["url"], "clickId": "c1", "bannerId": "b1"}),
    "ad_conversion": ("ad_conversion", {"conversionId": "v1", "initialValue": 10, "category": "shelter"}),
    "consent_granted": ("consent_granted", {"expiry": "2030-01-01T00:00:00Z"}),
    "consent_withdrawn": ("consent_withdrawn", {"all": True}),
}
CONSENT = {"consent_granted": {"terms": True}, "consent_withdrawn": {"doc1": False}}


def snowplow(call: Asked, context: Part, zeros: bool) -> list[Arriving]:
    """`zeros`: the client sends numbers that are 0, too."""
    kind, person = call["call"], call["device"].removeprefix("device-")
    context = {**context, "locale": "de-DE", "timezone": "Europe/Berlin"}
    alone = person.endswith("-get")  # an order's items are told in requests of their own
    is_item = kind == "ecommerce_transaction_item" or call.get("part") == 1
    if is_item and not alone:
        return []
    if kind in SNOWPLOW:
        name, body = SNOWPLOW[kind]
    elif kind == "page_ping":
        reached = {"pp_mix": "0", "pp_max": "10", "pp_miy": "0", "pp_may": "200"}
        reached = {axis: value for axis, value in reached.items() if zeros or value != "0"}
        name, body = "custom", {"name": "page ping", "properties": reached}
    elif is_item:
        line = texts({**SOLD, "category": "shelter", "order_id": f"order-{person}"})
        name, body = "custom", {"name": "transaction item", "properties": line}
    elif kind == "ecommerce_transaction":
        name, body = "order_completed", {"order_id": f"order-{person}", "total": 499, "currency": "EUR"}
        body |= {} if alone else {"products": [SOLD]}
    else:
        named, properties = CUSTOM[kind]
        name, body = "custom", {"name": named, "properties": texts(properties)}
    if kind in ("page_view", "page_ping"):
        context |= PAGE
    if kind in CONSENT:
        context["consent"] = CONSENT[kind]
    identifiers = told(anonymous_id=call["device"], user_id=call["user"])
    return [Arriving(call["eid"], name, identifiers, body, context, call["timestamp"], exactly=True)]


def _family(translate: Callable[..., list[Arriving]], library: str, *more: object) -> Callable[[Asked], list[Arriving]]:
    return lambda call: translate(call, {"library": library}, *more)


FAMILIES: dict[str, Callable[[Asked], list[Arriving]]] = {
    "analytics_next": _family(segment, "analytics.js next-1.84.3"),
    "posthog_node": _family(posthog, "posthog-node 5.70.0"),
    "posthog_python": _family(posthog, "posthog-python 7.91.1"),
    "rudder_node": _family(segment, "analytics-node 3.0.13"),
    "rudder_python": _family(segment, "analytics-python 2.1.9"),
    "segment_node": _family(segment, "@segment/analytics-node 3.1.0"),
    "segment_python": _family(segment, "analytics-python 2.4.0"),
    "snowplow_node": _family(snowplow, "snowplow-node 4.8.0", False),
    "snowplow_python": _family(snowplow, "snowplow-py 1.1.0", True),
}
