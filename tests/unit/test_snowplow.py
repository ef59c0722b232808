"""Snowplow's events, in the forms in which its trackers send them, become ours."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidEvent
from pipeline.events import snowplow
from pipeline.events.model import Event
from pipeline.events.segment import translate
from pipeline.events.snowplow_schemas import BASE, GIVEN, GOOGLE, MEDIA, SHOP
from tests.recorded import JSON, bodies, missing, page_bodies

AT = "1795942800000"
PAYLOAD = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
WHO = {"uid": "u-1", "duid": "d-1", "nuid": "n-1", "tnuid": "t-1"}
IDENTIFIERS = {"user_id": "u-1", "anonymous_id": "d-1"}
SHOPS = f"{BASE}.ecommerce"
GOOGLES = "com.google.analytics.enhanced-ecommerce"


def sd(schema: str, data: object) -> dict[str, Any]:
    return {"schema": f"iglu:{schema}/jsonschema/1-0-0", "data": data}


def b64(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def raw(e: str, *entities: dict[str, Any], **parts: object) -> dict[str, Any]:
    context = {"cx": b64(sd(f"{BASE}/contexts", entities))} if entities else {}
    return {"e": e, "eid": "e-1", "dtm": AT, **WHO, **context, **parts}


def unstructured(schema: str, data: object, *entities: dict[str, Any], **parts: object) -> dict[str, Any]:
    return raw("ue", *entities, ue_px=b64(sd(f"{BASE}/unstruct_event", sd(schema, data))), **parts)


def shop(action: str, *entities: dict[str, Any], **data: object) -> dict[str, Any]:
    return unstructured(f"{SHOPS}/snowplow_ecommerce_action", {"type": action, **data}, *entities)


def one(event: object) -> Event:
    (found,) = translate(snowplow.call_of(event))
    return found


TENT = {"id": "tent", "name": "Tent", "price": 249.5, "currency": "EUR", "quantity": 2, "inventory_status": "in stock"}
LINE = {"product_id": "tent", "name": "Tent", "price": 249.5, "currency": "EUR", "quantity": 2.0}
PRODUCT = sd(f"{SHOPS}/product", TENT)
CART = sd(f"{SHOPS}/cart", {"cart_id": "c1", "total_value": 499, "currency": "EUR"})
BASKET = {"cart_id": "c1", "currency": "EUR"}
ORDER = sd(f"{SHOPS}/transaction", {"transaction_id": "o1", "revenue": 9, "currency": "EUR"})
SESSION = sd(f"{BASE}.media/session", {"mediaSessionId": "m1"})


def player(**told: object) -> dict[str, Any]:
    return sd(f"{BASE}/media_player", {"currentTime": 12.5, "duration": 100, "label": "Alps", "paused": False, **told})


FILM = {"session_id": "m1", "film": "Alps", "title": "Alps", "position": 12.5, "total_length": 100.0}

ROWS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    (
        raw("pv", sd(f"{BASE}/web_page", {"id": "v1"}), url="https://a.example/x", page="X", refr="https://b.example/"),
        "page_viewed",
        {"url": "https://a.example/x", "title": "X", "referrer": "https://b.example/", "page_view_id": "v1"},
    ),
    (raw("pp", pp_max="10"), "custom", {"name": "page ping", "properties": {"pp_max": "10"}}),
    (
        raw("se", se_ca="shop", se_ac="purchase", se_va="2.5"),  # not an order: nothing but a name is told
        "custom",
        {"name": "shop: purchase", "properties": {"category": "shop", "action": "purchase", "value": "2.5"}},
    ),
    (
        raw("tr", tr_id="o1", tr_tt="499.00", tr_cu="EUR", tr_af="web"),
        "order_completed",
        {"order_id": "o1", "total": 499.0, "currency": "EUR"},
    ),
    (
        raw("ti", ti_id="o1", ti_sk="s1", ti_pr="2"),
        "custom",
        {"name": "transaction item", "properties": {"order_id": "o1", "sku": "s1", "price": "2"}},
    ),
    (shop("product_view", PRODUCT), "product_viewed", LINE),
    (shop("add_to_cart", PRODUCT, CART), "product_added", BASKET | {"products": [LINE]}),
    (shop("remove_from_cart", PRODUCT, PRODUCT, CART), "product_removed", BASKET | {"products": [LINE, LINE]}),
    (shop("checkout_step", CART, sd(f"{SHOPS}/checkout_step", {"step": 1})), "checkout_started", BASKET),
    (
        shop("checkout_step", sd(f"{SHOPS}/checkout_step", {"step": 2})),
        "custom",
        {"name": "Checkout Step Viewed", "properties": {"type": "checkout_step", "step": "2"}},
    ),
    (
        shop("transaction", PRODUCT, ORDER),
        "order_completed",
        {"order_id": "o1", "total": 9.0, "currency": "EUR", "products": [LINE]},
    ),
    (
        shop("refund", sd(f"{SHOPS}/refund", {"transaction_id": "o1", "refund_amount": 4, "currency": "EUR"})),
        "order_refunded",
        {"order_id": "o1", "total": 4.0, "currency": "EUR"},
    ),
    (
        shop("list_view", name="found"),
        "custom",
        {"name": "list_view", "properties": {"type": "list_view", "name": "found"}},
    ),
    (
        unstructured(
            f"{GOOGLES}/action",
            {"action": "purchase"},
            sd(f"{GOOGLES}/actionFieldObject", {"id": "o1", "revenue": 9}),
            sd(f"{GOOGLES}/productFieldObject", {"id": "tent", "price": 9}),
        ),
        "order_completed",
        {"order_id": "o1", "total": 9.0, "products": [{"product_id": "tent", "price": 9.0}]},
    ),
    (
        unstructured(f"{BASE}/add_to_cart", {"sku": "s1", "unitPrice": 2, "quantity": 1}),
        "product_added",
        {"sku": "s1", "price": 2.0, "quantity": 1.0},
    ),
    (
        unstructured(f"{BASE}/site_search", {"terms": ["green", "tent"], "totalResults": 3}),
        "searched",
        {"query": "green tent", "results": 3},
    ),
    (
        unstructured(
            f"{BASE}/link_click",
            {"targetUrl": "https://a.example/y", "elementId": "buy", "elementContent": "Buy"},
        ),
        "element_clicked",
        {"element": "link", "link_id": "buy", "text": "Buy", "target_url": "https://a.example/y"},
    ),
    (
        unstructured(f"{BASE}/button_click", {"label": "Buy", "id": None, "name": "buy"}),
        "element_clicked",
        {"element": "button", "link_id": "buy", "text": "Buy"},
    ),
    (
        unstructured(
            f"{BASE}/submit_form",
            {
                "formId": "newsletter",
                "elements": [
                    {"name": "topic", "value": "tents", "nodeName": "SELECT"},
                    {"name": "word", "value": "secret", "nodeName": "INPUT", "type": "password"},
                    {"name": "none", "value": None, "nodeName": "INPUT", "type": "text"},
                ],
            },
        ),
        "form_submitted",
        {"form_id": "newsletter", "fields": {"topic": "tents"}},
    ),
    (unstructured(f"{BASE}/submit_form", {"formId": "f1"}), "form_submitted", {"form_id": "f1"}),
    (
        unstructured(f"{BASE}/focus_form", {"formId": "f1"}),
        "custom",
        {"name": "focus_form", "properties": {"formId": "f1"}},
    ),
    (
        unstructured("com.google.tag-manager.server-side/add_to_cart", {"items": [{"item_id": "tent"}]}),
        "product_added",
        {"products": [{"product_id": "tent"}]},
    ),
    (
        unstructured("com.snowplowanalytics.mobile/screen_view", {"name": "Basket", "id": "v2"}),
        "page_viewed",
        {"title": "Basket", "page_view_id": "v2"},
    ),
    (
        unstructured("com.acme/feature_tried", {"size": 2}),
        "custom",
        {"name": "feature_tried", "properties": {"size": "2"}},
    ),
    (unstructured(f"{BASE}.media/play_event", {}, SESSION, player()), "video_resumed", FILM),
    (
        unstructured(f"{BASE}.media/play_event", {}, SESSION, player(currentTime=0)),
        "video_started",
        FILM | {"position": 0.0},
    ),
    (unstructured(f"{BASE}.media/ping_event", {}, SESSION, player()), "video_progressed", FILM),
    (
        unstructured(f"{BASE}.media/ping_event", {}, SESSION, player(paused=True)),
        "video_paused",
        FILM | {"cause": "paused"},
    ),
    (
        unstructured(f"{BASE}.media/seek_end_event", {}, SESSION, player()),
        "video_sought",
        FILM | {"seek_to": 12.5},
    ),
    (unstructured(f"{BASE}.media/end_event", {}, SESSION, player()), "video_completed", FILM),
]  # fmt: skip


@pytest.mark.parametrize(("event", "kind", "body"), ROWS)
def test_what_an_event_becomes(event: dict[str, Any], kind: str, body: dict[str, Any]) -> None:
    found = one(event)
    assert (found.type, found.body) == (kind, body)
    assert (found.event_id, found.occurred_at, found.identifiers) == ("e-1", int(AT), IDENTIFIERS)
    assert found.remarks == ()


def test_the_names_are_understood() -> None:
    for action, name in SHOP.items():
        assert snowplow.call_of(shop(action))["event"] == name
        assert one(shop(action)).type != "custom"
    for action in GOOGLE:
        assert one(unstructured(f"{GOOGLES}/action", {"action": action})).type != "custom"
    for name in MEDIA:
        assert one(unstructured(f"{BASE}.media/{name}", {}, player())).type.startswith("video_")


SIGNS = b64(sd("com.acme/x", {"b": None, "": None, "a": 1, "?>": None, "~~>?": None, "?>?": None, "~>~": None}))


@pytest.mark.parametrize(
    "parts",
    [
        {"ue_px": b64(sd(f"{BASE}/unstruct_event", sd("com.acme/x", {"a": 1})))},
        {"ue_px": b64(sd(f"{BASE}/unstruct_event", sd("com.acme/x", {"a": 1}))) + "=="},
        {"ue_px": SIGNS.replace("-", " ")},  # in a query that wasn't escaped
        {"ue_px": SIGNS.replace("-", "+").replace("_", "/")},
        {"ue_pr": json.dumps(sd(f"{BASE}/unstruct_event", sd("com.acme/x", {"a": 1})))},
        {"ue_pr": sd(f"{BASE}/unstruct_event", sd("com.acme/x", {"a": 1}))},
        {"ue_pr": json.dumps(sd("com.acme/x", {"a": 1}))},
        {"ue_px": "\u2603", "ue_pr": json.dumps(sd("com.acme/x", {"a": 1}))},
    ],
)
def test_where_an_event_describes_itself(parts: dict[str, Any]) -> None:
    assert one(raw("ue", **parts)).body == {"name": "x", "properties": {"a": "1"}}


def test_entities_are_read_in_plain_json_too() -> None:
    entities = json.dumps(sd(f"{BASE}/contexts", [sd(f"{BASE}/web_page", {"id": "v1"}), 7, {"schema": "x"}]))
    assert one(raw("pv", co=entities)).body == {"page_view_id": "v1"}


@pytest.mark.parametrize(
    ("parts", "identifiers"),
    [
        (WHO, IDENTIFIERS),
        ({"tnuid": "t-1", "nuid": "n-1"}, {"anonymous_id": "t-1"}),
        ({"nuid": "n-1", "duid": ""}, {"anonymous_id": "n-1"}),
        (
            {"co": sd("x/contexts", [sd(f"{BASE}/client_session", {"userId": "s-1"})]), "nuid": "n"},
            {"anonymous_id": "s-1"},
        ),
        (
            {"co": sd("x/contexts", [sd(f"{SHOPS}/user", {"id": "u-2", "email": "a@b.example"})]), "duid": "d-1"},
            {"anonymous_id": "d-1", "user_id": "u-2", "email": "a@b.example"},
        ),
        (
            {"co": sd("x/contexts", [sd(f"{SHOPS}/user", {"id": "g", "is_guest": True})]), "duid": "d-1"},
            {"anonymous_id": "d-1"},
        ),
        ({"uid": {}, "duid": []}, {}),
    ],
)  # fmt: skip
def test_who_it_was(parts: dict[str, Any], identifiers: dict[str, str]) -> None:
    assert one({"e": "pv", "dtm": AT, **parts}).identifiers == identifiers


def test_an_identify_ties() -> None:
    event = {"e": "ue", "duid": "d", "dtm": AT, "ue_pr": sd(f"{BASE}/identify", {"id": "u", "email": "a@b.example"})}
    found = one(event)
    assert (found.type, found.body) == ("identified", {"traits": {"email": "a@b.example"}})
    assert found.identifiers == {"anonymous_id": "d", "user_id": "u", "email": "a@b.example"}


@pytest.mark.parametrize(
    ("times", "occurred"),
    [
        ({"dtm": AT}, 0),
        ({"dtm": "1795942800000", "stm": "1795942802000"}, 8000),  # received ten seconds after dtm
        ({"dtm": AT, "stm": "1795942802000", "ttm": "1795942801000"}, 1000),
        ({"ttm": "x", "dtm": AT}, 0),
        ({"stm": "1795942802000"}, 2000),
    ],
)
def test_times(times: dict[str, str], occurred: int) -> None:
    call = snowplow.call_of({"e": "pv", **times}) | {"receivedAt": "2026-11-29T09:00:10Z"}
    assert translate(call)[0].occurred_at - int(AT) == occurred


def test_the_context() -> None:
    url = "https://a.example/x?utm_source=letter&utm_campaign=winter%20sale+%C3%B6&utm_other=1"
    told = {"ua": "Mozilla/5.0", "ip": "192.0.2.7", "lang": "de-AT", "tz": "Europe/Vienna", "tv": "js-4.6.0"}
    assert one(raw("pv", url=url, refr="https://b.example/", **told)).context == {
        "url": url,
        "referrer": "https://b.example/",
        "user_agent": "Mozilla/5.0",
        "ip": "192.0.2.7",
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "library": "snowplow-js 4.6.0",
        "campaign": {"source": "letter", "name": "winter sale ö"},
    }


def preferences(kind: str) -> dict[str, Any]:
    return unstructured(f"{BASE}/consent_preferences", {"eventType": kind, "consentScopes": ["necessary", "analytics"]})


@pytest.mark.parametrize(
    ("event", "consent"),
    [
        (raw("pv"), None),
        (raw("pv", sd(f"{BASE}/gdpr", {"basisForProcessing": "consent"})), {"consent": True}),
        *((preferences(kind), {"necessary": True, "analytics": True}) for kind in GIVEN),
        *((preferences(kind), None) for kind in ("pending", "withdrawn", "expired", "?")),
        (
            unstructured(f"{BASE}/consent_granted", {}, sd(f"{BASE}/consent_document", {"id": "1", "name": "terms"})),
            {"terms": True},
        ),
        (
            unstructured(f"{BASE}/consent_withdrawn", {"all": False}, sd(f"{BASE}/consent_document", {"id": "1"})),
            {"1": False},
        ),
    ],
)
def test_consent(event: dict[str, Any], consent: dict[str, bool] | None) -> None:
    assert (one(event).context or {}).get("consent") == consent


VIEW = {"e": "pv", "dtm": AT}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"schema": PAYLOAD, "data": [VIEW, 7]}, [VIEW, 7]),
        (json.dumps({"schema": PAYLOAD, "data": [VIEW]}), [VIEW]),
        ({"schema": PAYLOAD, "data": VIEW}, [VIEW]),
        ({"schema": PAYLOAD, "data": []}, []),
        ([VIEW], [VIEW]),
        (VIEW | {"data": []}, [VIEW | {"data": []}]),
        (None, [None]),
        ({}, [{}]),
    ],
)
def test_bodies(body: object, found: list[object]) -> None:
    assert snowplow.items(body) == found


def test_a_transaction_has_its_items() -> None:
    sold = [raw("ti", ti_id=1, ti_sk=sku, ti_nm="Tent", ti_pr="2", ti_qu="3", ti_ca="x") for sku in ("a", "b")]
    told = [VIEW, sold[0], raw("tr", tr_id="1", tr_tt="12"), sold[1], raw("ti", ti_id="2")]
    view, order, other = snowplow.items({"schema": PAYLOAD, "data": told})
    assert (view, other) == (VIEW, told[-1])
    products = [{"sku": sku, "name": "Tent", "price": 2.0, "quantity": 3.0} for sku in ("a", "b")]
    assert one(order).body == {"order_id": "1", "total": 12.0, "products": products}


def test_an_order_told_twice_has_its_items_once() -> None:
    order, item = raw("tr", tr_id="1"), raw("ti", ti_id="1", ti_sk="a")
    first, second = snowplow.items([order, order, item])
    assert "products" in one(first).body
    assert "products" not in one(second).body


def test_a_query_may_have_empty_parameters() -> None:
    found = one({"e": "pv", "dtm": AT, "duid": "d", "uid": "", "page": "X", "refr": "", "cx": "", "ttm": ""})
    assert (found.body, found.identifiers, found.remarks) == ({"title": "X"}, {"anonymous_id": "d"}, ())


@pytest.mark.parametrize(
    "event", [None, 7, "x", [], {}, {"e": "xx"}, {"e": []}, {"e": "ue"}, {"e": "ue", "ue_px": "x"}]
)
def test_what_is_no_event(event: object) -> None:
    with pytest.raises(InvalidEvent, match="invalid_shape"):
        snowplow.call_of(event)


def read(found: Iterable[object]) -> list[Event]:
    events = []
    for body in found:
        for item in snowplow.items(body):
            assert isinstance(item, dict)
            events.append(one(item))
            assert events[-1].event_id == item["eid"]
    assert not [event.remarks for event in events if event.remarks]
    return events


@pytest.mark.parametrize("name", ["snowplow_node", "snowplow_python"])
def test_all_that_real_trackers_were_asked_to_send_is_there(name: str) -> None:
    events = read(bodies(name))
    assert len(events) > 20
    assert missing(name, events) == []


def test_what_a_real_page_sends() -> None:
    events = read(page_bodies("snowplow-js"))
    assert [event.body["name"] if event.type == "custom" else event.type for event in events] == [
        "page_viewed", "product_viewed", "product_added", "product_removed", "list_view", "checkout_started",
        "Checkout Step Viewed", "order_completed", "order_refunded", "trns_error", "shop: purchase", "feature_tried",
        "product_added", "order_completed", "ready_event", "video_started", "video_paused", "video_sought",
        "video_progressed", "video_progressed", "video_paused", "video_resumed", "video_paused", "video_resumed",
        "video_completed",
    ]  # fmt: skip
    (device,) = {event.identifiers["anonymous_id"] for event in events}
    shopper = {"anonymous_id": device, "user_id": "u-shop", "email": "a@b.example"}
    assert [events[at].identifiers for at in (4, 5, 7)] == [
        {"anonymous_id": device},
        shopper,
        shopper | {"user_id": "u-1"},
    ]
    sold = {"product_id": "tent", "name": "Zelt Größe 2", "price": 249.5, "currency": "EUR", "quantity": 2.0}
    assert events[7].body == {"order_id": "o1", "total": 499.0, "currency": "EUR", "products": [sold]}
    assert (events[0].context or {})["campaign"] == {"source": "letter"}


TEXT = st.sampled_from(["", AT, "1", "d-1", "e30", *map(b64, ([], sd("a/b", {})))]) | st.text(max_size=9)
SCHEMAS = [
    f"{BASE}/unstruct_event", f"{BASE}/contexts", f"{SHOPS}/snowplow_ecommerce_action", f"{SHOPS}/product",
    f"{SHOPS}/cart", f"{GOOGLES}/action", f"{BASE}/media_player", f"{BASE}.media/ping_event", f"{BASE}/gdpr",
    f"{BASE}/consent_preferences", f"{BASE}/consent_document", f"{BASE}/consent_granted", f"{BASE}/site_search",
    f"{BASE}/identify", f"{BASE}/screen_view", f"{SHOPS}/user", f"{SHOPS}/checkout_step",
]  # fmt: skip
DATA = st.dictionaries(
    st.sampled_from(["type", "action", "id", "name", "terms", "step", "currentTime", "eventType", "consentScopes"]),
    JSON,
)
DESCRIBED = st.recursive(
    st.builds(sd, st.sampled_from(SCHEMAS), DATA | JSON),
    lambda inner: st.builds(sd, st.sampled_from(SCHEMAS), inner | st.lists(inner, max_size=3)),
    max_leaves=3,
)
EVENTS = st.fixed_dictionaries(
    {"e": st.sampled_from(list(snowplow.EVENTS)) | JSON},
    optional={
        **dict.fromkeys(
            ("eid", "dtm", "stm", "ttm", "uid", "duid", "url", "tv", "tr_id", "ti_id", "items"), TEXT | JSON
        ),
        **dict.fromkeys(("ue_pr", "co"), DESCRIBED | DESCRIBED.map(json.dumps) | JSON),
        **dict.fromkeys(("ue_px", "cx"), DESCRIBED.map(b64) | TEXT | JSON),
    },
)


@given(EVENTS | st.fixed_dictionaries({"schema": st.just(PAYLOAD), "data": st.lists(EVENTS | JSON) | JSON}) | JSON)
def test_anything_is_events_or_refused(body: object) -> None:
    for item in snowplow.items(body):
        try:
            found = translate(snowplow.call_of(item))
        except InvalidEvent as error:
            why, found = error.reason, []
        else:
            why = "an event"
        assert why in (("an event",) if found else ("invalid_shape", "invalid_time"))
