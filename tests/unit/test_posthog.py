"""PostHog's events, in the forms in which its clients send them, become ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.edge.families import POSTHOG, POSTHOG_V1, Beside
from pipeline.errors import InvalidEvent
from pipeline.events import envelopes, posthog
from pipeline.events.model import Event
from pipeline.events.segment import translate
from tests.recorded import JSON, bodies, missing, page_bodies

AT = "2026-11-29T09:00:00.000Z"
MS = 1_795_942_800_000
DEVICE = "01939b1e-7f2a-7c3d-9a1b-2c3d4e5f6a7b"

# As posthog-js sends it from a page, before and after identify.
BROWSER = {
    "token": "phc_1", "distinct_id": DEVICE, "$device_id": DEVICE, "$is_identified": False,
    "$process_person_profile": False, "$os": "Linux", "$browser": "Chrome", "$timezone": "Europe/Vienna",
    "$current_url": "https://shop.example/tents", "$host": "shop.example", "$pathname": "/tents",
    "$raw_user_agent": "Mozilla/5.0", "$browser_language": "de-AT", "$lib": "web", "$lib_version": "1.290.0",
    "$insert_id": "abc", "$session_id": "s1", "$window_id": "w1", "$pageview_id": "v1", "$referrer": "$direct",
    "$referring_domain": "$direct", "utm_source": "letter", "utm_campaign": "winter",
}  # fmt: skip
KNOWN = BROWSER | {
    "distinct_id": "u-1", "$user_id": "u-1", "$is_identified": True, "$process_person_profile": True,
}  # fmt: skip
SERVER = {"$lib": "posthog-node", "$lib_version": "5.70.0", "$is_server": True, "$geoip_disable": True}


def told(event: str, properties: dict[str, Any], **parts: Any) -> dict[str, Any]:
    around = {"uuid": "e-1", "event": event, "properties": properties, "timestamp": AT}
    return {name: value for name, value in {**around, **parts}.items() if value is not None}


def one(event: object, received_at: int | None = None) -> Event:
    (found,) = translate(posthog.call_of(event))
    return found


ROWS: list[tuple[dict[str, Any], str, dict[str, str], dict[str, Any]]] = [
    (
        told("$pageview", BROWSER | {"title": "Tents"}),
        "page_viewed",
        {"anonymous_id": DEVICE},
        {"url": "https://shop.example/tents", "path": "/tents", "title": "Tents", "page_view_id": "v1"},
    ),
    (
        told("Product Added", KNOWN | {"product_id": "tent", "price": 9.5, "cart_id": "c1"}),
        "product_added",
        {"user_id": "u-1"},
        {"product_id": "tent", "price": 9.5, "cart_id": "c1"},
    ),
    (
        told("add_to_cart", SERVER | {"items": [{"item_id": "tent", "price": 2}]}, distinct_id="u-1"),
        "product_added",
        {"user_id": "u-1"},
        {"products": [{"product_id": "tent", "price": 2.0}]},
    ),
    (
        told("order_completed", SERVER | {"order_id": 7, "revenue": "12.50"}, distinct_id=23),
        "order_completed",
        {"user_id": "23"},
        {"order_id": "7", "total": 12.5},
    ),
    (
        told(
            "$identify",
            KNOWN | {"$anon_distinct_id": DEVICE},
            **{"$set": {"email": "a@b.example"}, "$set_once": {"email": "x@b.example", "plan": "gold"}},
        ),
        "identified",
        {"anonymous_id": DEVICE, "user_id": "u-1", "email": "a@b.example"},
        {"traits": {"email": "a@b.example", "plan": "gold"}},
    ),
    (
        told("$set", SERVER | {"$set": {"name": "x"}}, distinct_id="u-1", **{"$set": {"name": "y"}}),
        "identified",
        {"user_id": "u-1"},
        {"traits": {"name": "y"}},
    ),
    (
        told("$set", BROWSER | {"$set": {"name": "x"}}),
        "identified",
        {"anonymous_id": DEVICE},
        {"traits": {"name": "x"}},
    ),
    (  # the letter's link wrote the address down: known, though nobody logged in
        told("Signed Up", BROWSER, **{"$set": {"email": "a@b.example"}}),
        "custom",
        {"anonymous_id": DEVICE, "email": "a@b.example"},
        {"name": "Signed Up", "properties": {}},
    ),
    (
        told("$screen", SERVER | {"$screen_name": "Basket"}, distinct_id="u-1"),
        "page_viewed",
        {"user_id": "u-1"},
        {"title": "Basket"},
    ),
    (
        told(
            "$groupidentify",
            SERVER | {"$group_type": "club", "$group_key": "k", "$group_set": {"name": "Climbers"}},
            distinct_id="u-1",
        ),
        "custom",
        {"user_id": "u-1"},
        {"name": "group", "properties": {"name": "Climbers", "group_type": "club", "group_id": "k"}},
    ),
    (  # posthog-node's distinct id of nobody
        told("$groupidentify", SERVER | {"$group_type": "club", "$group_key": "k"}, distinct_id="$club_k"),
        "custom",
        {},
        {"name": "group", "properties": {"group_type": "club", "group_id": "k"}},
    ),
    (
        told("$autocapture", BROWSER | {"$event_type": "click", "$el_text": "Buy", "shop": "de"}),
        "custom",
        {"anonymous_id": DEVICE},
        {"name": "$autocapture", "properties": {"$event_type": "click", "$el_text": "Buy", "shop": "de"}},
    ),
    (
        told("Feature Tried", BROWSER | {"size": 2, "ok": True}),
        "custom",
        {"anonymous_id": DEVICE},
        {"name": "Feature Tried", "properties": {"size": "2", "ok": "true"}},
    ),
]


@pytest.mark.parametrize(("event", "kind", "identifiers", "body"), ROWS)
def test_what_an_event_becomes(
    event: dict[str, Any], kind: str, identifiers: dict[str, str], body: dict[str, Any]
) -> None:
    found = one(event)
    assert (found.type, found.identifiers, found.body) == (kind, identifiers, body)
    assert (found.event_id, found.occurred_at, found.remarks) == ("e-1", MS, ())


def test_the_context() -> None:
    assert one(told("$pageview", BROWSER | {"$ip": "192.0.2.7"})).context == {
        "url": "https://shop.example/tents",
        "user_agent": "Mozilla/5.0",
        "ip": "192.0.2.7",
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "library": "web 1.290.0",
        "campaign": {"name": "winter", "source": "letter"},
    }
    assert (one(told("x", BROWSER | {"$referrer": "https://a.example/"})).context or {})["referrer"]


@pytest.mark.parametrize(
    ("properties", "distinct_id", "namespace"),
    [
        ({}, "u-1", "user_id"),  # a server's
        ({"$lib": "posthog-python"}, DEVICE, "user_id"),
        ({"$process_person_profile": False}, "x", "anonymous_id"),
        ({"$is_identified": True, "$process_person_profile": False}, "x", "user_id"),
        ({"$is_identified": False, "$device_id": "other"}, "x", "anonymous_id"),  # after reset()
        ({"$lib": "web", "$device_id": "d", "$user_id": "u"}, "u", "user_id"),  # versions without $is_identified
        ({"$device_id": "d"}, "d", "anonymous_id"),
        ({"$lib": "web", "$device_id": "d"}, "later", "anonymous_id"),
        ({"$lib": "posthog-android"}, DEVICE, "anonymous_id"),
        ({"$lib": "posthog-android"}, "u-1", "user_id"),
        ({"$lib": "web"}, "17f9c1b2d3e4f5-0a1b2c3d4e5f6a-1c1d3d4e-13c680-17f9c1b2d3e4f6", "anonymous_id"),
    ],
)
def test_whether_a_distinct_id_is_a_users(properties: dict[str, Any], distinct_id: str, namespace: str) -> None:
    assert one(told("x", properties, distinct_id=distinct_id)).identifiers == {namespace: distinct_id}


@pytest.mark.parametrize(
    ("properties", "distinct_id", "alias", "user"),
    [
        ({"$lib": "web", "$is_identified": False}, "anon", "u", "u"),
        ({"$lib": "web", "$is_identified": True}, DEVICE, "other", DEVICE),
        ({"$lib": "posthog-python"}, "before", "u", "u"),
        ({"$lib": "posthog-python"}, "u", DEVICE, "u"),
        ({"$lib": "posthog-node"}, "u", "other", "u"),
        ({"$lib": "posthog-node"}, DEVICE, "u", "u"),
    ],
)
def test_which_of_an_alias_is_the_user(properties: dict[str, Any], distinct_id: str, alias: str, user: str) -> None:
    found = one(told("$create_alias", properties | {"alias": alias}, distinct_id=distinct_id))
    (other,) = {distinct_id, alias} - {user}
    assert (found.type, found.identifiers) == ("identified", {"user_id": user, "anonymous_id": other})


def test_what_python_merges_by_hand_goes_as_everywhere() -> None:
    """Its `alias` alone swaps the two."""
    call = told("$merge_dangerously", {"$lib": "posthog-python", "alias": "before"}, distinct_id="u")
    assert one(call).identifiers == {"user_id": "u", "anonymous_id": "before"}


def test_the_distinct_id_of_all_who_refused_is_nobodys() -> None:
    found = one(told("$pageview", BROWSER | {"distinct_id": posthog.NOBODY, "$cookieless_mode": True}))
    assert found.identifiers == {}
    assert (found.context or {})["consent"] == {"analytics": False}


def test_consent() -> None:
    assert (one(told("$opt_in", BROWSER)).context or {})["consent"] == {"analytics": True}
    assert "consent" not in (one(told("$pageview", BROWSER)).context or {})


@pytest.mark.parametrize(
    ("parts", "sent_at", "occurred"),
    [
        ({"timestamp": AT}, None, MS),
        ({"timestamp": "2026-11-29T10:00:00+01:00"}, "2026-11-29T09:00:00.5Z", MS),
        ({"timestamp": None, "offset": 4000}, "2026-11-29T09:00:04Z", MS),
        ({"timestamp": None, "offset": 4000}, str(MS + 4000), MS),
        ({"timestamp": None, "offset": 10**18}, AT, MS),  # no such time: as if it weren't there
        ({"timestamp": None, "offset": 10**30}, AT, MS),
        ({"timestamp": None, "offset": "x"}, AT, MS),
    ],
)
def test_times(parts: dict[str, Any], sent_at: object, occurred: int) -> None:
    (item,) = posthog.items({"batch": [told("x", {}, **parts)], "sent_at": sent_at})
    assert one(item).occurred_at == occurred


def test_a_clock_is_put_right_by_when_it_was_sent() -> None:
    (item,) = posthog.items({"batch": [told("x", SERVER, distinct_id="u")], "sent_at": "2026-11-29T09:00:10Z"})
    received = {"receivedAt": "2026-11-29T10:00:10Z"}
    assert translate(posthog.call_of(item) | received)[0].occurred_at == MS + 3_600_000
    assert isinstance(item, dict)
    ignored = {**item, "properties": {"$ignore_sent_at": True}}
    assert translate(posthog.call_of(ignored) | received)[0].occurred_at == MS


EVENT = told("x", {}, distinct_id="u")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"api_key": "k", "batch": [EVENT, 7], "sent_at": AT}, [EVENT | {"sent_at": AT}, 7]),
        ({"token": "k", "batch": [EVENT], "historical_migration": True}, [EVENT]),
        ({"data": [EVENT], "api_key": "k"}, [EVENT]),
        ({"data": json.dumps(EVENT)}, [EVENT]),
        ({"data": EVENT}, [EVENT]),
        ([EVENT, EVENT | {"sent_at": "2"}], [EVENT, EVENT | {"sent_at": "2"}]),
        (EVENT | {"batch": [1]}, [EVENT | {"batch": [1]}]),
        (json.dumps({"batch": [EVENT]}), [EVENT]),
        ([], []),
        ({"batch": []}, []),
        (None, [None]),
        ({}, [{}]),
    ],
)
def test_bodies(body: object, found: list[object]) -> None:
    assert posthog.items(body) == found


def test_older_clients_say_in_the_query_when_they_sent() -> None:
    assert posthog.items([EVENT, EVENT | {"sent_at": "1"}], "2") == [EVENT | {"sent_at": "2"}, EVENT | {"sent_at": "1"}]
    assert posthog.items({"batch": [EVENT], "sent_at": "1"}, "2") == [EVENT | {"sent_at": "1"}]
    asked = Beside({"ip": "0", "_": "2", "ver": "1.36.1"}, {})
    assert POSTHOG.items([EVENT], asked) == [EVENT | {"sent_at": "2"}]
    assert POSTHOG.items([EVENT], Beside({"compression": "gzip-js"}, {})) == [EVENT]


def test_newer_clients_say_in_headers_when_they_sent_and_who_they_are() -> None:
    event = {"event": "x", "uuid": "u-1", "distinct_id": "d", "timestamp": AT, "options": {}, "properties": {"a": 1}}
    body = {"created_at": AT, "batch": [event, 7]}
    headers = {"PostHog-Request-Timestamp": "2026-11-29T09:00:10Z", "PostHog-Sdk-Info": "posthog-node/5.70.0"}
    item, odd = POSTHOG_V1.items(body, Beside({}, headers))
    assert odd == 7
    found = one(item)
    assert (found.event_id, found.occurred_at, found.identifiers) == ("u-1", MS, {"user_id": "d"})
    assert (found.body, found.context) == (
        {"name": "x", "properties": {"a": "1"}},
        {"library": "posthog-node 5.70.0"},
    )
    for told_of_it in ("", "posthog-node", "/", "/5.70.0", "posthog-node/"):
        assert POSTHOG_V1.items([event], Beside({}, {"PostHog-Sdk-Info": told_of_it})) == [event]


@pytest.mark.parametrize("said", [False, "false", " FALSE ", 0, "0"])
def test_what_newer_clients_say_beside_the_properties(said: object) -> None:
    """A server's client that tells of a visitor."""
    event = told("x", SERVER, distinct_id="d", options={"process_person_profile": said, "cookieless_mode": "what"})
    assert one(event).identifiers == {"anonymous_id": "d"}
    event = told("x", SERVER, distinct_id="d", options={"cookieless_mode": True, "disable_skew_correction": []})
    assert (one(event).context or {})["consent"] == {"analytics": False}


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"api_key": "k", "batch": [told("x", {"token": "other"})]}, "k"),
        ({"token": "k", "batch": []}, "k"),
        ({"batch": [EVENT, told("x", {"token": "k"})]}, "k"),
        ([told("x", {}, api_key="k")], "k"),
        (told("x", {}, **{"$token": "k"}), "k"),
        (told("x", {"token": ["k"]}), None),
        ({"api_key": ""}, None),
        (None, None),
    ],
)
def test_where_the_key_stands(body: object, key: str | None) -> None:
    assert posthog.key_of(body) == key


@pytest.mark.parametrize("event", [None, 7, "x", [], {}, {"event": None}, {"event": []}, {"distinct_id": "u"}])
def test_what_is_no_event(event: object) -> None:
    with pytest.raises(InvalidEvent, match="invalid_shape"):
        posthog.call_of(event)


def test_an_engagement_without_a_name_is_an_identify() -> None:
    found = one({"distinct_id": "u", "$set": {"email": "a@b.example"}, "timestamp": AT})
    assert (found.type, found.identifiers) == ("identified", {"user_id": "u", "email": "a@b.example"})


def test_who_is_identified_by_what_they_were_before_ties_nothing() -> None:
    assert one(told("$identify", KNOWN | {"$anon_distinct_id": "u-1"})).identifiers == {"user_id": "u-1"}


def test_parts_of_a_wrong_kind_are_left_out() -> None:
    found = one(told("Product Added", {}, distinct_id={"a": 1}, **{"$set": 7}) | {"properties": []})
    assert (found.type, found.identifiers, found.body) == ("product_added", {}, {})
    assert [remark.what for remark in found.remarks] == ["left_out"]


def read(found: Iterable[object]) -> list[Event]:
    events = []
    for body in found:
        assert posthog.key_of(body)
        for item in posthog.items(body):
            assert isinstance(item, dict)
            events.append(one(item))
            assert events[-1].event_id == item["uuid"]
    assert not [event.remarks for event in events if event.remarks]
    return events


@pytest.mark.parametrize("name", ["posthog_node", "posthog_python"])
def test_all_that_real_servers_clients_were_asked_to_send_is_there(name: str) -> None:
    events = read(bodies(name))
    assert len(events) > 20
    assert missing(name, events) == []


def test_what_a_real_page_sends() -> None:
    """On which a visitor logs in, out and in as somebody else."""
    events = sorted(read(page_bodies("posthog-js")), key=lambda event: event.occurred_at)
    first, second = (events[at].identifiers["anonymous_id"] for at in (0, -1))
    anonymous, known, after = {"anonymous_id": first}, {"user_id": "u-1"}, {"anonymous_id": second}
    assert [(event.type, event.body.get("name"), event.identifiers) for event in events] == [
        ("page_viewed", None, anonymous),
        ("product_added", None, anonymous),
        ("custom", "$autocapture", anonymous),
        ("identified", None, anonymous),
        ("identified", None, anonymous | known | {"email": "a@b.example"}),
        ("order_completed", None, known),
        ("custom", "group", known),
        ("identified", None, known | {"anonymous_id": "u-1-old"}),
        ("custom", "Feature Tried", known),
        ("custom", "$opt_in", known),
        ("product_viewed", None, after),
        ("identified", None, after | {"user_id": "u-2"}),
        ("page_viewed", None, after),
    ]
    assert [event.body["traits"] for event in events[3:5]] == [
        {"first": "x", "plan": "free"},
        {"signup": "2026", "email": "a@b.example", "name": "Änne"},
    ]
    assert {(event.context or {})["library"] for event in events} == {"web 1.449.2"}
    assert first != second


PROPERTIES = sorted(set(ROWS[0][0]["properties"]) | {"$set", "$set_once", "$anon_distinct_id", "alias", "$group_key"})
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from([*posthog.CALLS, "$autocapture", "Order Completed"]) | JSON,
        "properties": st.dictionaries(st.sampled_from(PROPERTIES), JSON) | JSON,
        **dict.fromkeys(("uuid", "distinct_id", "timestamp", "sent_at", "offset", "$set", "$set_once"), JSON),
    },
)


@given(EVENTS | st.fixed_dictionaries({"batch": st.lists(EVENTS | JSON) | JSON}) | JSON, JSON)
def test_anything_is_events_or_refused(body: object, sent_at: object) -> None:
    posthog.key_of(body)
    for item in posthog.items(body, sent_at):
        try:
            found = translate(posthog.call_of(item))
        except InvalidEvent as error:
            why, found = error.reason, []
        else:
            why = "an event"
        assert why in (("an event",) if found else ("invalid_shape", "invalid_time"))


# --- in files

RUBY = {"$lib": "posthog-ruby", "$lib_version": "3.4.0", "$is_server": True}


def captured(kind: str, event: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    around = {"type": kind, "event": event, "distinct_id": "u-1", "timestamp": AT}
    return {**around, "properties": {**RUBY, **properties}, **more}


CAPTURED = captured("capture", "Order Completed", {"order_id": "o1"}, uuid="e-1")
IDENTIFIED = captured("identify", "$identify", {"plan": "pro"}, **{"$set": {"plan": "pro"}})
ALIASED = captured("alias", "$create_alias", {"distinct_id": "u-1", "alias": "d-1"})


def test_whatever_type_a_client_tells_it_is_posthogs() -> None:
    """PostHog/posthog-ruby, lib/posthog/field_parser.rb; older ones tell a `messageId` beside it."""
    for told in (CAPTURED, CAPTURED | {"messageId": "m-1"}, CAPTURED | {"properties": {"order_id": "o1"}}):
        (event,) = translate(envelopes.call_of(told))
        assert (event.type, event.identifiers, event.body) == (
            "order_completed",
            {"user_id": "u-1"},
            {"order_id": "o1"},
        )
    (event,) = translate(envelopes.call_of(IDENTIFIED))
    assert (event.type, event.identifiers, event.body["traits"]) == ("identified", {"user_id": "u-1"}, {"plan": "pro"})
    (event,) = translate(envelopes.call_of(ALIASED))
    assert event.identifiers == {"user_id": "u-1", "anonymous_id": "d-1"}


def test_what_tells_a_segments_id_is_segments() -> None:
    told = CAPTURED | {"type": "track", "anonymousId": "d-1"}
    assert envelopes.call_of(told) is told


@pytest.mark.parametrize("name", ["batch", "data", "results", "events"])
def test_lists_of_events_in_files(name: str) -> None:
    """A request's body, as a proxy wrote it down; what the API answers who asks for events."""
    line = {name: [CAPTURED, IDENTIFIED], "next": None, "sent_at": AT}
    assert envelopes.is_envelope(line)
    found = envelopes.items(line)
    assert found == [each | {"sent_at": AT} for each in (CAPTURED, IDENTIFIED)]
    assert [translate(envelopes.call_of(each))[0].type for each in found] == ["order_completed", "identified"]
