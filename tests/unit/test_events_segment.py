"""Segment's JSON to our events: names, fields, times, identifiers, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidEvent
from pipeline.events import envelopes, schemas
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.model import Event, Remark
from pipeline.events.registry import connect
from pipeline.events.segment import translate
from pipeline.events.segment_names import TRACKED, named
from tests.recorded import bodies, missing

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
ITEMS = [
    {
        "item_id": "p",
        "item_name": "n",
        "item_brand": "b",
        "item_category": "g",
        "item_variant": "v",
        "price": 3,
        "quantity": 3,
        "index": 0,
        "item_category2": "h",
    }
]
GA4 = [{"product_id": "p", "name": "n", "variant": "v", "price": 3.0, "quantity": 3.0}]
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
    (
        "Product Added to Wishlist",
        {"wishlist_id": "w", "sku": "s"},
        "wishlist_product_added",
        {"wishlist_id": "w", "sku": "s"},
    ),
    ("Viewed Product", {"id": "p"}, "product_viewed", {"product_id": "p"}),
    ("Added Product", {"id": 5}, "product_added", {"product_id": "5"}),
    ("Removed Product", {"sku": "s"}, "product_removed", {"sku": "s"}),
    ("Product Added", {"productId": "p", "cartId": "c"}, "product_added", {"product_id": "p", "cart_id": "c"}),
    ("Product Added", {"product_id": "p", "id": "other"}, "product_added", {"product_id": "p"}),
    ("Product Added", {"price": "12.50", "quantity": " 2 "}, "product_added", {"price": 12.5, "quantity": 2.0}),
    ("Product Added", {"price": "free", "quantity": None, "name": ""}, "product_added", {}),
    ("Product Added", {"price": "1.234,56 €", "quantity": "1,5"}, "product_added", {"price": 1234.56, "quantity": 1.5}),
    ("Product Added", {"price": float("nan"), "quantity": 10**400}, "product_added", {}),
    ("Product Added", {"cart_id": "null", "cartId": "c"}, "product_added", {"cart_id": "c"}),
    ("Product Added", {"cart_id": "undefined"}, "product_added", {"cart_id": "undefined"}),
    ("Product Added", {"product_id": "0", "id": "p", "cart_id": {}}, "product_added", {"product_id": "p"}),
    (
        "Product Added",
        {"CartID": "c", "Product Id": 5, "imageUrl": "i"},
        "product_added",
        {"cart_id": "c", "product_id": "5", "image_url": "i"},
    ),
    ("Product Added", {"image": ["i", "j"], "url": "u"}, "product_added", {"image_url": "i", "url": "u"}),
    (
        "Product Added",
        {"cart_id": "c", "currency": "EUR", "price": 3, "product_id": "x", "products": LINES},
        "product_added",
        {"cart_id": "c", "currency": "EUR", "products": LINES},
    ),
    ("Product Added", {"product_id": "x", "products": []}, "product_added", {"product_id": "x"}),
    ("Product Added", {"product_id": "x", "products": [None, {}, [], True]}, "product_added", {"product_id": "x"}),
    (
        "Product Removed",
        {"products": ["p", 7]},
        "product_removed",
        {"products": [{"product_id": "p"}, {"product_id": "7"}]},
    ),
    (
        "Add to Cart",
        {"currency": "USD", "value": 9, "items": ITEMS},
        "product_added",
        {"currency": "USD", "products": GA4},
    ),
    ("remove_from_cart", {"items": ITEMS}, "product_removed", {"products": GA4}),
    (
        "view_item",
        {"currency": "USD", "value": 9, "items": ITEMS},
        "product_viewed",
        {"currency": "USD", "brand": "b", "category": "g", **GA4[0]},
    ),
    ("view_cart", {"items": ITEMS}, "cart_viewed", {}),
    (
        "begin_checkout",
        {"currency": "USD", "value": 9, "items": ITEMS},
        "checkout_started",
        {"currency": "USD", "value": 9.0},
    ),
    (
        "purchase",
        {"transaction_id": "T", "value": 9, "currency": "USD", "tax": 1, "items": ITEMS},
        "order_completed",
        {"order_id": "T", "total": 9.0, "currency": "USD", "products": GA4},
    ),
    ("refund", {"transaction_id": "T", "value": 9}, "order_refunded", {"order_id": "T", "total": 9.0}),
    ("search", {"search_term": "tent"}, "searched", {"query": "tent"}),
    ("view_search_results", {"search_term": "tent"}, "searched", {"query": "tent"}),
    (
        "page_view",
        {"page_location": "u", "page_title": "t", "page_referrer": "r"},
        "page_viewed",
        {"url": "u", "title": "t", "referrer": "r"},
    ),
    ("screen_view", {"screen_name": "Cart"}, "page_viewed", {"title": "Cart"}),
    (
        "Cart Updated",
        {"cart_id": "c", "currency": "EUR", "products": LINES},
        "cart_updated",
        {"cart_id": "c", "currency": "EUR", "products": LINES},
    ),
    ("update_cart", {"items": ITEMS}, "cart_updated", {"products": GA4}),
    ("Cart Updated", {"cart_id": "c"}, "cart_updated", {"cart_id": "c"}),
    ("Cart Updated", {"cart_id": "c", "products": []}, "cart_updated", {"cart_id": "c", "products": []}),
    ("Cart Updated", {"cart_id": "c", "products": {}}, "cart_updated", {"cart_id": "c", "products": []}),
    ("Cart Updated", {"cart_id": "c", "products": [{}, None]}, "cart_viewed", {"cart_id": "c"}),
    ("Cart Updated", {"cart_id": "c", "Items": "[object Object]"}, "cart_viewed", {"cart_id": "c"}),
    (
        "Cart Updated",
        {"cart_id": "c", "products": [{}, {"sku": "s"}]},
        "cart_updated",
        {"cart_id": "c", "products": [{"sku": "s"}]},
    ),
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
    ("Order Completed", {"products": "p"}, "order_completed", {"products": [{"product_id": "p"}]}),
    ("Order Completed", {"products": '[{"id": "p"}]'}, "order_completed", {"products": [{"product_id": "p"}]}),
    ("Order Completed", {"products": '"[{\\"id\\": 5}]"'}, "order_completed", {"products": [{"product_id": "5"}]}),
    ("Order Completed", {"products": '[{"id": "p"'}, "order_completed", {}),
    ("Order Completed", {"products": 'a:1:{i:0;s:1:"p";}'}, "order_completed", {}),
    ("Order Completed", {"products": "Array"}, "order_completed", {}),
    (
        "Order Completed",
        {"products": [[[{"id": "p"}], "q"]]},
        "order_completed",
        {"products": [{"product_id": "p"}, {"product_id": "q"}]},
    ),
    (
        "Order Completed",
        {"products": {"10": "q", "2": {"id": "p"}}},
        "order_completed",
        {"products": [{"product_id": "p"}, {"product_id": "q"}]},
    ),
    (
        "Order Completed",
        {"products": {"9e10": {"id": "p"}, "ab": {"id": "q"}}},
        "order_completed",
        {"products": [{"product_id": "p"}, {"product_id": "q"}]},
    ),
    (
        "Order Completed",
        {"products": ['{"id": "p"}', "null", 1.5, None, False]},
        "order_completed",
        {"products": [{"product_id": "p"}, {"product_id": "1.5"}]},
    ),
    (
        "Order Completed",
        {"products": [{"productId": "p", "imageURL": "i", "Name": "n", "price": "1,50 EUR"}]},
        "order_completed",
        {"products": [{"product_id": "p", "image_url": "i", "name": "n", "price": 1.5}]},
    ),
    ("Order Completed", {"products": []}, "order_completed", {"products": []}),
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
    ("Video Content Playing", {"asset_id": "a", "title": "t"}, "video_progressed", {"film": "a", "title": "t"}),
    ("Video Content Playing", {"content_asset_id": "null", "asset_id": "a"}, "video_progressed", {"film": "a"}),
    ("Video Content Playing", {"content_asset_ids": ["", "0", "f"]}, "video_progressed", {"film": "f"}),
    ("Video Content Playing", {"content_asset_ids": '["f", "g"]'}, "video_progressed", {"film": "f"}),
    ("Video Content Playing", {"content_asset_ids": {"0": "f", "1": "g"}}, "video_progressed", {"film": "f"}),
    ("Video Content Playing", {"content_asset_ids": [{}], "asset_id": 7}, "video_progressed", {"film": "7"}),
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
    ("Email Sent", {"link_ids": '["a", "b"]'}, "email_sent", {"link_ids": ["a", "b"]}),
    ("Email Sent", {"link_ids": {"0": "a", "1": "b"}}, "email_sent", {"link_ids": ["a", "b"]}),
    ("Email Sent", {"link_ids": [["a"], {"id": "b"}, True, None, 7]}, "email_sent", {"link_ids": ["a", "b", "7"]}),
    ("Email Sent", {"link_ids": {"a": 1}}, "email_sent", {}),
    (
        "Email Sent",
        {"message_id": "null", "email_id": "m", "link_ids": 7},
        "email_sent",
        {"message_id": "m", "link_ids": ["7"]},
    ),
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
    ("Email Bounced", {"type": "HardBounce"}, "email_bounced", {"kind": "HardBounce"}),
    ("Email Bounced", {"bounceType": "Permanent", "type": "bounce"}, "email_bounced", {"kind": "Permanent"}),
    ("Email Marked as Spam", SENT, "email_complained", MAIL),
    ("email_complained", SENT, "email_complained", MAIL),
    ("Email Unsubscribed", SENT, "email_unsubscribed", MAIL),
    ("email_clicked", SENT, "email_clicked", MAIL | {"confidence": "unknown"}),
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
    spaced = {name.replace(" ", between) for between in ("  ", "_", "-", " \t", "\u00a0", "__", "_-")}
    kinds = {track(form).type for form in (name, name.upper(), name.title(), f"  {name} ", *spaced)}
    assert kinds == {TRACKED[name].type}
    assert kinds <= set(schemas.names())
    fields = {row[0] for row in TRACKED[name].fields.rows}
    if TRACKED[name].type == "product_viewed":
        fields -= {"products"}  # only the first of them counts
    assert fields <= schemas.body_fields(TRACKED[name].type)


def test_every_name_is_in_the_table_of_cases() -> None:
    assert {named(case[0]) for case in CASES} == set(TRACKED)


@pytest.mark.parametrize(
    "name", ["Trial Started", "Video Ad Started", "Order Cancelled", "ProductAdded", "add_to_wishlist"]
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


def test_identify_of_rudderstacks_python_client() -> None:
    told = {"traits": {"email": "a@x", "age": 30}}
    assert one(call("identify", context=told)).body == {"traits": {"email": "a@x", "age": "30"}}
    assert one(call("identify", traits={"name": "A"}, context=told)).body == {"traits": {"name": "A"}}
    assert one(call("identify", traits={}, context=told)).body == {"traits": {}}


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


def times(**parts: Any) -> tuple[int, int]:
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
    slow = {"originalTimestamp": "1996-01-01T00:00:10Z", "sentAt": "1996-01-01T00:00:11Z"}
    assert times(**slow, receivedAt=AT) == (-1000, 0)
    unset = {"originalTimestamp": "1970-01-01T00:00:10Z", "sentAt": "1970-01-01T00:00:11Z"}
    assert times(**unset, receivedAt=AT) == (0, 0)
    ages_ago = {"originalTimestamp": "1996-01-01T00:00:00Z", "sentAt": "2099-11-22T21:00:00Z"}
    assert times(**ages_ago, receivedAt=AT, timestamp="2026-11-22T18:59:59Z") == (-1000, 0)
    sent_before = {"originalTimestamp": "2026-11-22T19:00:09Z", "sentAt": "2026-11-22T19:00:08Z"}
    assert times(**sent_before, receivedAt=AT) == (0, 0)


@pytest.mark.parametrize(
    "parts",
    [
        {"timestamp": 1795374000},
        {"timestamp": "1795374000000"},
        {"timestamp": AT, "receivedAt": "soon"},
        {"timestamp": "Invalid Date", "sentAt": AT},
        {"timestamp": "1970-01-01T00:00:00Z", "receivedAt": AT},
        {"timestamp": "", "originalTimestamp": AT, "sentAt": "", "receivedAt": AT},
        {"timestamp": "Sun, 22 Nov 2026 19:00:00 GMT"},
        {"timestamp": "Sun Nov 22 2026 20:00:00 GMT+0100 (Central European Standard Time)"},
        {"originalTimestamp": "0001-01-01T00:00:00+14:00", "sentAt": "9999-12-31T23:59:59-14:00", "receivedAt": AT},
    ],
)
def test_what_can_be_read_of_the_times_counts(parts: dict[str, Any]) -> None:
    assert times(**parts) == (0, 0)


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
        {"timestamp": {"$date": 1}},
        {"timestamp": "1969-12-31T23:59:59.999Z"},
        {"timestamp": "0001-01-01T00:00:00Z", "sentAt": "0000-00-00 00:00:00", "receivedAt": 0},
        {"timestamp": True, "receivedAt": [AT, AT]},
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
    assert one(call(event="x", messageId=0)).event_id == "0"
    nothing: list[Any] = [[1], {}, False, float("nan"), "undefined"]
    for none in nothing:
        assert one(call(event="x", messageId=none)).event_id.startswith("content-")


def test_what_is_wrapped_up_alone_is_unwrapped() -> None:
    told = {"userId": "u-1", "messageId": "m", "type": ["track"], "event": {"0": "Order Completed"}}
    stamps = ({"$date": AT}, {"$date": {"$numberLong": "1763979600000"}}, [AT], json.dumps(AT))
    assert {one({**told, "timestamp": stamp}).type for stamp in stamps} == {"order_completed"}
    assert one(json.dumps(call(event="Order Completed"))).type == "order_completed"


@pytest.mark.parametrize(
    ("parts", "kind"),
    [({"traits": {"a": "b"}}, "identified"), ({"previousId": "p"}, "identified"), ({"groupId": "g"}, "custom")],
)
def test_a_call_without_a_type_is_told_by_what_only_it_has(parts: dict[str, Any], kind: str) -> None:
    event = translate({"userId": "u-1", "timestamp": AT, **parts})[0]
    assert event.type == kind
    assert [remark.what for remark in event.remarks] == ["read_as"]
    with pytest.raises(InvalidEvent):
        translate({"userId": "u-1", "timestamp": AT, **parts, "batch": [call()]})


@pytest.mark.parametrize(
    ("obj", "reason", "names"),
    [
        ([], "invalid_shape", "an array"),
        ("track", "invalid_shape", "a text"),
        (None, "invalid_shape", "null"),
        ({}, "invalid_shape", "`type` is missing"),
        (call("tracked"), "invalid_shape", "'tracked'"),
        ({**call(), "type": 5}, "invalid_shape", "`type` is a number"),
        (call(), "invalid_shape", "`event`"),
        (call(event="  "), "invalid_shape", "`event`"),
        (call(event=["Product Added", "x"]), "invalid_shape", "an array"),
        (call(event=True), "invalid_shape", "true or false"),
        ({"type": "track", "event": "x", "sentAt": "soon"}, "invalid_time", "`sentAt` (a text)"),
        ({"type": "track", "event": "x"}, "invalid_time", "none of them is there"),
    ],
)
def test_what_is_refused_says_which_part_and_why(obj: object, reason: str, names: str) -> None:
    error = refused(obj)
    assert error.reason == reason
    assert names in error.detail


@pytest.mark.parametrize("parts", [{"properties": {"total": 5, "a": 1}}, {"context": {"ip": "::1"}}, {"other": 1}])
@pytest.mark.parametrize("name", ["x", "Order Completed"])
@pytest.mark.parametrize("message_id", ["m-1", None])
def test_nested_without_end(parts: dict[str, Any], name: str, message_id: str | None) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    nested: dict[str, Any] = {key: {"deep": deep, "list": [deep]} for key in parts}
    event = one(call(event=name, messageId=message_id, **nested))
    assert event.identifiers == {"user_id": "u-1"}
    event = one(call(event=name, properties={"total": 5, "products": deep}))
    assert event.body in ({"name": "x", "properties": event.body.get("properties")}, {"total": 5.0})
    as_text = "[" * 100_000
    assert one(call(event="Order Completed", properties={"total": 5, "products": as_text})).body == {"total": 5.0}


@pytest.mark.parametrize("depth", range(20, 1000, 7))
def test_nested_in_text(depth: int) -> None:
    text = '{"total": 5, "order_id": "o", "channel": ' + "[" * depth + "]" * depth + "}"
    event = one(call(event="Order Completed", properties=text))
    if event.body:  # Python's reader has a limit too
        assert (event.body["total"], event.body["order_id"]) == (5.0, "o")


def test_texts_of_quotes_take_no_time() -> None:
    quotes = "%22" * 300_000
    assert refused({**call(), "type": quotes}).reason == "invalid_shape"
    assert one(call(event=quotes + "x", userId=quotes, messageId=quotes)).identifiers == {}


# --- parts of wrong kinds


@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        ({"properties": []}, "properties: an array, not an object"),
        ({"properties": ""}, "properties: a text, not an object"),
        ({"properties": "x"}, "properties: a text, not an object"),
        ({"properties": '"x"'}, "properties: a text, not an object"),
        ({"properties": '{"x'}, "properties: a text, not an object"),
        ({"properties": False}, "properties: true or false, not an object"),
        ({"context": []}, "context: an array, not an object"),
        ({"context": 7}, "context: a number, not an object"),
        ({"anonymousId": False}, "anonymousId: true or false, not a text or number"),
        ({"anonymousId": {"id": "a"}}, "anonymousId: an object, not a text or number"),
        ({"anonymousId": []}, "anonymousId: an array, not a text or number"),
        ({"anonymousId": "a" * 513}, "identifiers.anonymous_id: longer than 512 characters"),
        ({"anonymousId": "a\ud83d"}, "identifiers.anonymous_id: half a character in it"),
        ({"context": {"device": {"id": False}}}, "context.device.id: true or false, not a text or number"),
        ({"context": {"traits": {"email": ["a@x"]}}}, "context.traits.email: an array, not a text or number"),
        ({"properties": {"channel": "\ud83d"}}, "body.channel: half a character"),
        ({"properties": {"channel": "x" * 65537}}, "body.channel: a text longer than 65536 bytes"),
        ({"context": {"userAgent": "\ud83d"}}, "context.user_agent: half a character"),
        ({"properties": {"total": "free"}}, "properties.total: a text, not a finite number"),
        ({"properties": {"total": float("inf")}}, "properties.total: a number out of range, not a finite number"),
        ({"properties": {"total": 10**5000}}, "properties.total: a number out of range, not a finite number"),
        ({"properties": {"products": "[1"}}, "properties.products: a text, not a list of products"),
        ({"properties": {"products": [{}]}}, "properties.products: an item that tells no product"),
        ({"sentAt": "soon"}, "sentAt: no time between 1995 and 9999"),
    ],
)
def test_a_part_of_a_wrong_kind_is_left_out_and_the_rest_counts(parts: dict[str, Any], detail: str) -> None:
    event = one(call(event="Order Completed", **parts))
    assert (event.type, event.event_id, event.occurred_at) == ("order_completed", "m-1", AT_MS)
    assert event.identifiers == {"user_id": "u-1"}
    assert event.body == {}
    assert event.context is None
    assert Remark("left_out", detail) in event.remarks


@pytest.mark.parametrize(
    ("told", "detail"),
    [
        ('{"total": 5}', "a text"),
        ('"{\\"total\\": 5}"', "a text"),
        ([{"total": 5}], "an array"),
        (' {"total":5}', "a text"),
    ],
)
def test_properties_told_as_json_text_are_those(told: Any, detail: str) -> None:
    event = one(call(event="Order Completed", properties=told))
    assert event.body == {"total": 5.0}
    assert event.remarks == (Remark("read_as", f"properties: an object in {detail}"),)


def test_context_and_traits_told_as_json_text_are_those() -> None:
    event = one(call("identify", traits='{"email": "a@x"}', context='{"ip": "::1", "device": "{\\"id\\": 7}"}'))
    assert event.identifiers == {"user_id": "u-1", "email": "a@x", "device_id": "7"}
    assert (event.body, event.context) == ({"traits": {"email": "a@x"}}, {"ip": "::1"})


def test_half_a_character_leaves_the_rest_of_a_text() -> None:
    event = one(call(event="x", properties={"a": "Tent \ud83d", "b\udc00": "c", "\ud83d": "d", "n": 10**5000, "e": ""}))
    assert event.body == {"name": "x", "properties": {"a": "Tent ", "b": "c", "e": ""}}
    assert one(call(event="x\ud83d", context={"userAgent": "App \ud83d"})).context == {"user_agent": "App "}


def test_ids_that_cannot_be_kept_are_replaced_by_ones_that_stay_the_same() -> None:
    for told in ("m" * 257, "m\ud83d"):
        event = one(call(event="x", messageId=told))
        assert event.event_id.startswith("content-")
        assert one(call(event="y", messageId=told)).event_id == event.event_id
        assert one(call(event="x", messageId=told + "m")).event_id != event.event_id
    huge = call(event="x", messageId=None, properties={"n": 10**5000})
    assert one(huge).event_id == one(huge).event_id != one({**huge, "properties": {"n": -(10**5000)}}).event_id


def test_what_names_an_event_is_a_track() -> None:
    for parts in ({}, {"type": None}, {"type": 5}, {"type": "event"}, {"type": " TRACK "}):
        obj = {key: value for key, value in call(event="Cart Viewed").items() if key != "type"} | parts
        assert one(obj).type == "cart_viewed"
    assert one(call(event=404)).body == {"name": "404", "properties": {}}


@pytest.mark.parametrize(
    ("name", "told", "detail"),
    [
        ("cart_id", "cartId", "`cartId` was read as `cart_id`"),
        ("cart_id", "CartID", "`CartID` was read as `cart_id`"),
        ("cart_id", "cart-id", "`cart-id` was read as `cart_id`"),
        ("cart_id", "Cart Id", "`Cart Id` was read as `cart_id`"),
        ("total", "Total", "`Total` was read as `total`"),
        (None, "crat_id", "`crat_id` isn't read; `cart_id`?"),
        (None, "cartIds", "`cartIds` isn't read; `cart_id`?"),
        (None, "cart__i", "`cart__i` isn't read; `cart_id`?"),
        (None, "totel", "`totel` isn't read; `total`?"),
        (None, "link_id", None),
        (None, "order_id2", None),
        (None, "tota", None),
        (None, "ordinal", None),
        (None, "c" * 41, None),
    ],
)
def test_names_of_properties_that_look_like_ours(name: str | None, told: str, detail: str | None) -> None:
    event = one(call(event="Order Completed", properties={told: 7}))
    assert event.body == ({} if name is None else {name: 7.0 if name == "total" else "7"})
    assert event.remarks == ((Remark("misspelt", detail),) if detail else ())


def test_the_top_of_a_call_may_be_spelt_in_other_ways() -> None:
    usual = call("identify", anonymousId="a", receivedAt=AT, traits={"email": "a@x"}, context={"device": {"id": "d"}})
    other = {
        "Type": "identify",
        "message_id": "m-1",
        "user_id": "u-1",
        "AnonymousID": "a",
        "TIMESTAMP": AT,
        "received_at": AT,
        "Traits": {"E-Mail": "a@x"},
        "Context": {"device": {"id": "d"}},
    }
    event, expected = one(other), one(usual)
    assert event.identifiers == expected.identifiers
    assert (event.event_id, event.occurred_at, event.received_at) == ("m-1", AT_MS, AT_MS)
    assert {remark.what for remark in event.remarks} == {"misspelt"}
    assert one({**usual, "user_id": "other", "userId": "u-1"}).identifiers == expected.identifiers
    assert one({**usual, "user_id": "u-2", "userId": "null"}).identifiers["user_id"] == "u-2"


def test_quotes_around_a_type_and_a_name_are_none_of_it() -> None:
    assert one({**call(event=' "Cart Viewed" '), "type": '"track"'}).type == "cart_viewed"


def test_a_cart_of_which_nothing_is_left_is_not_an_empty_one() -> None:
    for unreadable in ("\ud83d", ["\ud83d"], [{"sku": "\ud83d"}], [{"name": "x" * 70_000}]):
        event = track("Cart Updated", cart_id="c", currency="EUR", products=unreadable)
        assert (event.type, event.body) == ("cart_viewed", {"cart_id": "c"})


def test_a_name_as_it_should_be_counts_before_one_that_looks_like_it() -> None:
    assert track("Cart Viewed", cartId="other", cart_id="c").body == {"cart_id": "c"}
    assert not track("Cart Viewed", cartId=None, cart_id="c").remarks
    assert not track("Cart Viewed", cart_id="c", colour="red").remarks


def test_an_event_name_run_together_is_told() -> None:
    (remark,) = track("ProductAdded").remarks
    assert remark.what == "misspelt"
    assert "`product added`" in remark.detail


def test_remarks_tell_no_values_and_are_few() -> None:
    event = track("Order Completed", products=[{"secret": "s"}] * 500, total="secret", cart_id=["secret", 2])
    assert len(event.remarks) == 4
    assert "secret" not in str(event.remarks)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.50", 12.5),
        ("12,5", 12.5),
        ("1.234,56", 1234.56),
        ("1,234.56", 1234.56),
        ("1 234,56", 1234.56),
        ("1\u00a0234,56\u00a0€", 1234.56),
        ("1'234.50", 1234.5),
        ("12,34,567.00", 1234567.0),
        ("1.234.567", 1234567.0),
        ("€ 12.50", 12.5),
        ("12.50 EUR", 12.5),
        ("EUR 12,50", 12.5),
        ("$12.50", 12.5),
        ("US$ 12.50", 12.5),
        ("-12,50 €", -12.5),
        ("€ -12,50", -12.5),
        ("\u221212,50", -12.5),
        ("12,-", 12.0),
        ("12.\u2013 €", 12.0),
        ("0,125", 0.125),
        ("1234,567", 1234.567),
        ("1.234", 1.234),  # JSON's own way of writing
        ("99 kr", 99.0),
        ("1,234", None),
        ("1.234 €", None),
        ("1,2,3", None),
        ("1.234,567.8", None),
        ("12 50", None),
        ("12-50", None),
        ("free", None),
        ("EUR", None),
        ("12 apples", None),
        ("1_000", None),
        ("nan", None),
        ("-inf", None),
        ("9" * 400, None),
        ("9" * 4000, None),
        ("", None),
    ],
)
def test_numbers_as_people_write_money(text: str, value: float | None) -> None:
    assert track("Product Added", price=text).body.get("price") == value
    assert track("Product Added", price=f" {text} ").body.get("price") == value


# --- what real clients send


@pytest.mark.parametrize("name", ["rudder_node", "rudder_python", "segment_node", "segment_python"])
def test_all_that_real_servers_clients_were_asked_to_send_is_there(name: str) -> None:
    batches = [body for body in bodies(name) if isinstance(body, dict)]
    events = [event for body in batches for item in envelopes.items(body) or () for event in translate(item)]
    assert len(events) == len({event.event_id for event in events}) > 17
    assert missing(name, events) == []
    assert not [event.remarks for event in events if event.remarks]


# --- any JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(AT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PROPERTIES = sorted({name for known in TRACKED.values() for row in known.fields.rows for name in row[2]})
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
    except InvalidEvent as error:
        why, events = error.reason, []
    else:
        why = "an event"
    assert why in ("an event", "invalid_shape", "invalid_time")
    for event in events:
        read = DECODER.decode(ENCODER.encode("t", event))  # so replay and the pipeline see the same
        assert read == msgspec.structs.replace(event, remarks=())


@given(st.fixed_dictionaries({}, optional=PARTS))
def test_whatever_the_details_a_well_formed_call_is_an_event(details: dict[str, Any]) -> None:
    assert one(call(event="Product Added", properties=details.get("properties"))).type == "product_added"
