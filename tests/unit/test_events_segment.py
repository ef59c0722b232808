"""Segment's JSON to our events: names, fields, times, identifiers, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidEvent
from pipeline.events import schemas
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.events.segment import translate
from pipeline.events.segment_names import TRACKED

AT = "2026-11-22T19:00:00.000Z"
AT_MS = 1_795_374_000_000


def call(kind: str = "track", **parts: Any) -> dict[str, Any]:
    return {"type": kind, "messageId": "m-1", "userId": "u-1", "timestamp": AT, **parts}


def track(event: str, **properties: Any) -> Event:
    return one(call(event=event, properties=properties))


def one(obj: object) -> Event:
    (event,) = translate(obj)
    return event


def refused(obj: object) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as error:
        translate(obj)
    return error.value


# --- names and fields

PRODUCT: dict[str, Any] = {
    "cart_id": "c",
    "product_id": "p",
    "sku": "s",
    "name": "n",
    "category": "g",
    "brand": "b",
    "variant": "v",
}
PRODUCT |= {"price": 18.99, "currency": "EUR", "quantity": 2.0, "url": "https://x/p"}
LINES = [{"product_id": "p", "sku": "s", "name": "n", "price": 19.0, "quantity": 1.0}, {"product_id": "q"}]
FILM: dict[str, Any] = {"session_id": "s", "film": "f", "position": 278.0, "total_length": 392.0}
SEEN: dict[str, Any] = {"session_id": "s", "content_asset_id": "f", "position": 278, "total_length": 392, "sound": 55}
MAIL = {"message_id": "m", "campaign": "c"}
SENT = {"email_id": "m", "campaign": "c"}

CASES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("Products Searched", {"query": "blue roses"}, "searched", {"query": "blue roses"}),
    ("Products Searched", {"query": {"a": 1}, "results": "7"}, "searched", {"query": '{"a":1}', "results": 7}),
    ("Product Viewed", PRODUCT, "product_viewed", PRODUCT),
    ("Product Added", {**PRODUCT, "position": 3}, "product_added", PRODUCT),
    ("Product Removed", PRODUCT, "product_removed", PRODUCT),
    ("Viewed Product", {"id": "p"}, "product_viewed", {"product_id": "p"}),
    ("Added Product", {"id": 5}, "product_added", {"product_id": "5"}),
    ("Removed Product", {"sku": "s"}, "product_removed", {"sku": "s"}),
    ("Product Added", {"productId": "p", "cartId": "c"}, "product_added", {"product_id": "p", "cart_id": "c"}),
    ("Product Added", {"product_id": "p", "id": "other"}, "product_added", {"product_id": "p"}),
    ("Product Added", {"price": "12.50", "quantity": " 2 "}, "product_added", {"price": 12.5, "quantity": 2.0}),
    ("Product Added", {"price": "free", "quantity": None, "name": ""}, "product_added", {}),
    ("Product Added", {"price": "1_000", "quantity": "nan"}, "product_added", {}),
    ("Product Added", {"price": True, "quantity": [1]}, "product_added", {}),
    ("Cart Viewed", {"cart_id": "c", "products": LINES}, "cart_viewed", {"cart_id": "c"}),
    ("Cart Cleared", {"cart_id": "c"}, "cart_cleared", {"cart_id": "c"}),
    (
        "Checkout Started",
        {"order_id": "o", "value": 30, "revenue": 25},
        "checkout_started",
        {"order_id": "o", "value": 30.0},
    ),
    ("Started Order", {"revenue": "25", "currency": "USD"}, "checkout_started", {"value": 25.0, "currency": "USD"}),
    (
        "Order Completed",
        {"order_id": "o", "cart_id": "c", "total": 27.5, "revenue": 25, "currency": "USD", "products": LINES},
        "order_completed",
        {"order_id": "o", "cart_id": "c", "total": 27.5, "currency": "USD", "products": LINES},
    ),
    ("Order Completed", {"channel": "offline"}, "order_completed", {"channel": "offline"}),
    ("Order Completed", {"revenue": "25.00"}, "order_completed", {"total": 25.0}),
    (
        "Completed Order",
        {"orderId": 7, "products": [{"id": "p", "price": "3", "quantity": "2"}]},
        "order_completed",
        {"order_id": "7", "products": [{"product_id": "p", "price": 3.0, "quantity": 2.0}]},
    ),
    ("Order Completed", {"products": {"product_id": "p"}}, "order_completed", {"products": [{"product_id": "p"}]}),
    ("Order Completed", {}, "order_completed", {}),
    ("Order Refunded", {"order_id": "o", "total": 30}, "order_refunded", {"order_id": "o", "total": 30.0}),
    (
        "Asset Downloaded",
        {"asset": "ebook", "url": "https://x"},
        "asset_downloaded",
        {"asset": "ebook", "url": "https://x"},
    ),
    # video
    (
        "Video Playback Started",
        {"content_asset_ids": ["f", "g"], "position": 0},
        "video_started",
        {"film": "f", "position": 0.0},
    ),
    ("Video Playback Started", {"content_asset_ids": []}, "video_started", {}),
    ("Video Playback Started", {"content_asset_ids": "f"}, "video_started", {"film": "f"}),
    ("Video Playback Paused", SEEN, "video_paused", {**FILM, "cause": "paused"}),
    ("Video Playback Interrupted", SEEN, "video_paused", {**FILM, "cause": "interrupted"}),
    ("Video Playback Buffer Started", SEEN, "video_paused", {**FILM, "cause": "buffering"}),
    ("Video Playback Buffer Completed", SEEN, "video_resumed", FILM),
    ("Video Playback Seek Started", {**SEEN, "seek_position": 320}, "video_paused", {**FILM, "cause": "seeking"}),
    (
        "Video Playback Seek Completed",
        {**SEEN, "seek_position": 320},
        "video_sought",
        {**FILM, "position": 320.0, "seek_to": 320.0},
    ),
    ("Video Playback Seek Completed", SEEN, "video_sought", {**FILM, "seek_to": 278.0}),
    ("Video Playback Resumed", SEEN, "video_resumed", FILM),
    ("Video Playback Completed", SEEN, "video_completed", FILM),
    ("Video Playback Exited", SEEN, "video_paused", {**FILM, "cause": "exited"}),
    (
        "Video Content Started",
        {"title": "Seasonal Forests"},
        "video_started",
        {"film": "Seasonal Forests", "title": "Seasonal Forests"},
    ),
    ("Video Content Playing", {**SEEN, "title": "t"}, "video_progressed", {**FILM, "title": "t"}),
    ("Video Content Playing", {"asset_id": "a", "title": "t"}, "video_progressed", {"film": "t", "title": "t"}),
    ("Video Content Playing", {"asset_id": "a"}, "video_progressed", {"film": "a"}),
    ("Video Content Completed", SEEN, "video_completed", FILM),
    # e-mail
    (
        "Email Sent",
        {**SENT, "email_subject": "Hi", "link_ids": ["ebook", 7]},
        "email_sent",
        {**MAIL, "subject": "Hi", "link_ids": ["ebook", "7"]},
    ),
    (
        "Email Sent",
        {"message_id": "m", "email_id": "other", "link_ids": "ebook, shop,"},
        "email_sent",
        {"message_id": "m", "link_ids": ["ebook", "shop"]},
    ),
    ("Email Sent", {"link_ids": []}, "email_sent", {"link_ids": []}),
    ("Email Delivered", SENT, "email_delivered", MAIL),
    ("Email Delivered", {"campaign_id": "123", "campaign_name": "New"}, "email_delivered", {"campaign": "123"}),
    ("Email Delivered", {"campaign_name": "New"}, "email_delivered", {"campaign": "New"}),
    ("Email Opened", SENT, "email_opened", {**MAIL, "confidence": "unknown"}),
    ("Email Opened", {**SENT, "confidence": "Machine"}, "email_opened", {**MAIL, "confidence": "machine"}),
    ("Email Opened", {"confidence": "perhaps"}, "email_opened", {"confidence": "unknown"}),
    (
        "Email Link Clicked",
        {**SENT, "link_id": "ebook", "link_url": "https://x", "confidence": "human"},
        "email_clicked",
        {**MAIL, "link_id": "ebook", "url": "https://x", "confidence": "human"},
    ),
    (
        "Email Bounced",
        {**SENT, "kind": "hard", "diagnostic": "550"},
        "email_bounced",
        {**MAIL, "kind": "hard", "diagnostic": "550"},
    ),
    ("Email Marked as Spam", SENT, "email_complained", MAIL),
    ("Unsubscribed", {**SENT, "list_id": 1425}, "email_unsubscribed", {**MAIL, "list_id": "1425"}),
]


@pytest.mark.parametrize(
    ("name", "properties", "kind", "body"), CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)]
)
def test_tracked_events(name: str, properties: dict[str, Any], kind: str, body: dict[str, Any]) -> None:
    event = track(name, **properties)
    assert (event.type, event.body) == (kind, body)


@pytest.mark.parametrize("name", sorted(TRACKED))
def test_names_are_compared_without_regard_to_case(name: str) -> None:
    kinds = {track(form).type for form in (name, name.upper(), name.title(), f"  {name} ", name.replace(" ", "  "))}
    assert kinds == {TRACKED[name].type}
    assert kinds <= set(schemas.names())
    assert {row[0] for row in TRACKED[name].fields} <= schemas.body_fields(TRACKED[name].type)


def test_every_name_is_in_the_table_of_cases() -> None:
    assert {case[0].lower() for case in CASES} == set(TRACKED)


@pytest.mark.parametrize(
    "name", ["Trial Started", "Video Ad Started", "Order Cancelled", "product_added", "ProductAdded"]
)
def test_unknown_names_are_kept_as_custom_events(name: str) -> None:
    event = track(name, plan="Pro", seats=3, ratio=0.5, trial=True, tags=["a"], nothing=None, empty="")
    assert event.type == "custom"
    texts = {"plan": "Pro", "seats": "3", "ratio": "0.5", "trial": "true", "tags": '["a"]', "empty": ""}
    assert event.body == {"name": name, "properties": texts}


# --- the other calls


def test_identify() -> None:
    event = one(call("identify", traits={"email": "a@x", "age": 30, "address": {"city": "Graz"}, "none": None}))
    assert event.type == "identified"
    assert event.body == {"traits": {"email": "a@x", "age": "30", "address": '{"city":"Graz"}'}}
    assert event.identifiers == {"user_id": "u-1", "email": "a@x"}


def test_page() -> None:
    properties = {"url": "https://x/a", "path": "/a", "title": "A", "referrer": "https://y", "engaged_ms": 1200}
    event = one(call("page", name="Home", properties={**properties, "absolute_ms": "3000", "page_view_id": "v"}))
    assert event.type == "page_viewed"
    assert event.body == {**properties, "absolute_ms": 3000, "page_view_id": "v"}


def test_page_takes_from_the_context_what_its_properties_lack() -> None:
    page = {"url": "https://x/c", "path": "/c", "title": "C", "referrer": "https://z"}
    event = one(call("page", properties={"path": "/a", "title": None}, context={"page": page}))
    assert event.body == {"url": "https://x/c", "path": "/a", "title": "C", "referrer": "https://z"}
    assert one(call("page", name="Home")).body == {"title": "Home"}


def test_screen() -> None:
    event = one(call("screen", name="Cart", properties={"path": "/cart"}))
    assert (event.type, event.body) == ("page_viewed", {"path": "/cart", "title": "Cart"})


def test_group_is_kept_and_its_e_mail_is_nobodys() -> None:
    event = one(call("group", groupId="g", traits={"name": "Initech", "email": "office@initech"}))
    texts = {"name": "Initech", "email": "office@initech", "group_id": "g"}
    assert (event.type, event.body) == ("custom", {"name": "group", "properties": texts})
    assert event.identifiers == {"user_id": "u-1"}


def test_alias_ties_the_previous_id() -> None:
    event = one(call("alias", previousId="p"))
    assert (event.type, event.body) == ("identified", {})
    assert event.identifiers == {"user_id": "u-1", "anonymous_id": "p"}


def test_alias_with_another_anonymous_id_ties_both() -> None:
    events = translate(call("alias", previousId="p", anonymousId="a"))
    assert [event.identifiers for event in events] == [
        {"user_id": "u-1", "anonymous_id": "p"},
        {"user_id": "u-1", "anonymous_id": "a"},
    ]
    assert len(translate(call("alias", previousId="a", anonymousId="a"))) == 1
    assert one(call("alias")).identifiers == {"user_id": "u-1"}


# --- who


def test_identifiers() -> None:
    context = {"device": {"id": "d"}, "traits": {"email": " A@x.org "}}
    assert one(call(event="x", anonymousId="a", context=context)).identifiers == {
        "anonymous_id": "a",
        "user_id": "u-1",
        "device_id": "d",
        "email": " A@x.org ",  # raw: identity resolution knows how to write it
    }


def test_an_e_mail_address_counts_in_traits_alone() -> None:
    elsewhere = call(event="x", email="1@x", properties={"email": "2@x"}, context={"email": "3@x", "device": {}})
    assert one(elsewhere).identifiers == {"user_id": "u-1"}
    both = call("identify", traits={"email": "1@x"}, context={"traits": {"email": "2@x"}})
    assert one(both).identifiers == {"user_id": "u-1", "email": "1@x"}


def test_numbers_are_identifiers_too_and_nulls_are_none() -> None:
    assert one(call(event="x", userId=12, anonymousId=None)).identifiers == {"user_id": "12"}
    assert one(call(event="x", userId=12.0, anonymousId="")).identifiers == {"user_id": "12"}
    assert one(call(event="x", userId=None)).identifiers == {}  # who routes it makes it a dead letter


# --- when


def times(**parts: str) -> tuple[int, int]:
    event = one({"type": "track", "event": "x", "messageId": "m", "userId": "u", **parts})
    return event.occurred_at - AT_MS, event.received_at - AT_MS


def test_time_as_it_stands() -> None:
    assert times(timestamp=AT) == (0, 0)  # received at its event time
    assert times(timestamp=AT, receivedAt="2026-11-22T19:00:05Z") == (0, 5000)
    assert times(timestamp="2026-11-22T19:00:05Z", receivedAt=AT) == (0, 0)  # never later than received


def test_a_clock_that_is_wrong_is_put_right() -> None:
    """Two hours fast: sent two seconds after it happened, so it happened two seconds before it was received."""
    fast = {"originalTimestamp": "2026-11-22T21:00:00.500Z", "sentAt": "2026-11-22T21:00:02.500Z"}
    assert times(**fast, receivedAt=AT) == (-2000, 0)
    assert times(**fast, receivedAt=AT, timestamp="2026-11-22T18:00:00Z") == (-2000, 0)  # recomputed all the same
    slow = {"originalTimestamp": "1970-01-01T00:00:10Z", "sentAt": "1970-01-01T00:00:11Z"}
    assert times(**slow, receivedAt=AT) == (-1000, 0)
    sent_before = {"originalTimestamp": "2026-11-22T19:00:09Z", "sentAt": "2026-11-22T19:00:08Z"}
    assert times(**sent_before, receivedAt=AT) == (0, 0)


@pytest.mark.parametrize("missing", ["originalTimestamp", "sentAt", "receivedAt"])
def test_without_all_three_the_timestamp_stands(missing: str) -> None:
    parts = {
        "originalTimestamp": "2026-11-22T21:00:00Z",
        "sentAt": "2026-11-22T21:00:02Z",
        "receivedAt": "2026-11-22T19:00:09Z",
    }
    del parts[missing]
    assert times(**parts, timestamp=AT)[0] == 0


def test_without_a_timestamp_the_next_best_counts() -> None:
    assert times(originalTimestamp=AT, receivedAt="2026-11-22T19:00:09Z") == (0, 9000)
    assert times(sentAt=AT) == (0, 0)
    assert times(receivedAt=AT) == (0, 0)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-22T20:00:00+01:00", 0),
        ("2026-11-22T20:00:00+0100", 0),
        ("2026-11-22T19:00:00", 0),
        ("2026-11-22 19:00:00Z", 0),
        ("2026-11-22T19:00:00.0019Z", 1),
        ("2026-11-22T19:00:00.001999999Z", 1),
        ("20261122T190000Z", 0),
        (" 2026-11-22T19:00:00.250Z ", 250),
    ],
)
def test_times_in_the_forms_of_iso_8601(text: str, ms: int) -> None:
    assert times(timestamp=text) == (ms, ms)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"timestamp": None},
        {"timestamp": ""},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-02-30T00:00:00Z"},
        {"timestamp": 1795374000},
        {"timestamp": {"$date": 1}},
        {"timestamp": AT, "receivedAt": "soon"},
        {"timestamp": "1969-12-31T23:59:59.999Z"},
        {"originalTimestamp": "0001-01-01T00:00:00+14:00", "sentAt": "9999-12-31T23:59:59-14:00", "receivedAt": AT},
        {"timestamp": "10000-01-01T00:00:00Z"},
    ],
)
def test_times_that_are_none(parts: dict[str, Any]) -> None:
    assert refused({"type": "track", "event": "x", "userId": "u", **parts}).reason == "invalid_time"


# --- the envelope


def test_context() -> None:
    context = {
        "ip": "10.0.0.1",
        "userAgent": "Firefox",
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "page": {"url": "https://x", "referrer": "https://y", "path": "/"},
        "library": {"name": "analytics.js", "version": "2.1"},
        "campaign": {"name": "spring", "source": "mail", "year": 2026},
        "consent": {"categoryPreferences": {"Advertising": False, "Analytics": True, "odd": "yes"}},
        "screen": {"width": 5},
    }
    assert one(call(event="x", context=context)).context == {
        "url": "https://x",
        "referrer": "https://y",
        "user_agent": "Firefox",
        "ip": "10.0.0.1",
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "library": "analytics.js 2.1",
        "campaign": {"name": "spring", "source": "mail", "year": "2026"},
        "consent": {"Advertising": False, "Analytics": True},
    }
    assert one(call(event="x", context={"page": "home", "campaign": [], "library": None})).context is None


def test_an_event_without_an_id_gets_the_same_from_the_same_content() -> None:
    obj = {"type": "track", "event": "x", "userId": "u", "timestamp": AT}
    first, again = one(obj), one(dict(reversed(obj.items())) | {"messageId": None})
    assert first.event_id.startswith("content-")
    assert one({**obj, "messageId": ""}).event_id != one({**obj, "event": "y"}).event_id
    assert one(dict(reversed(obj.items()))).event_id == first.event_id
    assert again.event_id != "None"
    assert one(call(event="x", messageId=17)).event_id == "17"


@pytest.mark.parametrize(
    ("obj", "reason", "names"),
    [
        ([], "invalid_shape", "an array"),
        ("track", "invalid_shape", "a text"),
        (None, "invalid_shape", "null"),
        ({}, "invalid_shape", "`type` is missing"),
        (call("tracked"), "invalid_shape", "'tracked'"),
        ({**call(), "type": 5}, "invalid_shape", "`type` is 5"),
        (call(), "invalid_shape", "`event`"),
        (call(event="  "), "invalid_shape", "`event`"),
        (call(event=["Product Added"]), "invalid_shape", "an array"),
        (call(event="x", properties=[1]), "invalid_shape", "`properties` must be an object, this is an array"),
        (call(event="x", context="web"), "invalid_shape", "`context`"),
        (call("identify", traits="x"), "invalid_shape", "`traits`"),
        (call(event="x", userId={"id": 1}), "invalid_shape", "`userId` must be text, this is an object"),
        (call(event="x", anonymousId=True), "invalid_shape", "`anonymousId`"),
        (call(event="x", messageId=[1]), "invalid_shape", "`messageId`"),
        (call("alias", previousId=[1]), "invalid_shape", "`previousId`"),
        (call("identify", traits={"email": ["a@x"]}), "invalid_shape", "`traits.email`"),
        (call(event="Order Completed", properties={"products": "p"}), "invalid_shape", "`products`"),
        (call(event="Order Completed", properties={"products": ["p"]}), "invalid_shape", "`products`"),
        (call(event="Email Sent", properties={"link_ids": {"a": 1}}), "invalid_shape", "ids"),
        (call(event="Product Added", properties={"price": float("nan")}), "invalid_number", "nan"),
        (call(event="Product Added", properties={"price": 10**400}), "invalid_number", "1000"),
        (call(event="x", properties={"n": 10**5000}), "invalid_number", "digits"),
        (call(event="x", userId="u" * 513), "too_large", "user_id"),
        (call(event="x", messageId="m" * 257), "too_large", "event_id"),
        (call(event="x", properties={"a": "x" * 65537}), "too_large", "body.properties.a"),
        (call(event="x", properties={"a": "\ud800"}), "invalid_utf8", "body.properties.a"),
        (call(event="x", userId="\udfff"), "invalid_utf8", "user_id"),
    ],
)
def test_what_is_refused_says_which_part_and_why(obj: object, reason: str, names: str) -> None:
    error = refused(obj)
    assert error.reason == reason
    assert names in error.detail


def test_nested_without_end() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert refused(call(event="x", properties={"a": deep})).reason == "invalid_shape"


# --- any JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(AT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PROPERTIES = sorted({name for known in TRACKED.values() for row in known.fields for name in row[2]})
PARTS = {
    "type": st.sampled_from(["track", "identify", "page", "screen", "alias", "group", "Track"]) | JSON,
    "event": st.sampled_from(sorted(TRACKED)) | JSON,
    "properties": st.dictionaries(st.sampled_from(PROPERTIES), JSON, max_size=6) | JSON,
    "traits": st.dictionaries(st.sampled_from(["email", "name"]), JSON) | JSON,
    "context": st.dictionaries(
        st.sampled_from(["page", "device", "traits", "campaign", "library", "ip", "consent"]),
        st.dictionaries(st.sampled_from(["id", "email", "url", "name", "categoryPreferences"]), JSON) | JSON,
    )
    | JSON,
    "timestamp": st.datetimes().map(str) | st.just(AT) | JSON,
    **{name: st.just(AT) | st.datetimes().map(str) | JSON for name in ("sentAt", "receivedAt", "originalTimestamp")},
    **{
        name: st.text(max_size=9) | JSON
        for name in ("messageId", "userId", "anonymousId", "previousId", "groupId", "name")
    },
}
REGISTRY = connect("mock://segment")
ENCODER, DECODER = Encoder(REGISTRY), Decoder(REGISTRY)


@given(st.fixed_dictionaries({}, optional=PARTS) | JSON)
def test_anything_is_events_that_can_be_written_or_refused(obj: object) -> None:
    try:
        events = translate(obj)
    except InvalidEvent:
        return
    for event in events:
        assert DECODER.decode(ENCODER.encode("t", event)) == event  # so replay and the pipeline see the same


@given(st.fixed_dictionaries({}, optional=PARTS))
def test_whatever_the_details_a_well_formed_call_is_an_event(details: dict[str, Any]) -> None:
    properties = details.get("properties")
    well_formed = call(event="Product Added", properties=properties if isinstance(properties, dict) else {})
    try:
        assert one(well_formed).type == "product_added"
    except InvalidEvent as error:
        why = error.reason
    else:
        return
    assert why in ("invalid_number", "invalid_utf8")
