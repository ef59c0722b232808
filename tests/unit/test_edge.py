"""The pure parts of the collector: what is in a body, whose key it is, and what may be sent with it."""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from base64 import b64encode
from importlib.metadata import version
from pathlib import Path
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.edge import bodies
from pipeline.edge.calm import calm_get
from pipeline.edge.families import POSTHOG, POSTS, SEGMENT
from pipeline.edge.intake import Caller, Judge, Judged
from pipeline.edge.keys import Bucket, KeyRing, basic, bearer
from pipeline.errors import InvalidEvent
from pipeline.events.files import parse
from pipeline.topology import build
from tests.replayed import shipped

NOW = 1_795_000_000_000
DEFLATED = zlib.compressobj(wbits=-15)
RAW = json.dumps({"batch": [{"event": "x" * 3_000}]}).encode()
BARE = DEFLATED.compress(RAW) + DEFLATED.flush()


@pytest.mark.parametrize(
    "packed, encoding",
    [
        (RAW, ""),
        (RAW, "identity"),
        (RAW, "gzip"),  # said, and not done
        (gzip.compress(RAW), "gzip"),
        (gzip.compress(RAW), ""),  # done, and not said
        (zlib.compress(RAW), "deflate"),
        (BARE, "deflate"),
        (brotli.compress(RAW), "br"),
        (gzip.compress(brotli.compress(RAW)), "br, gzip"),
    ],
)
def test_whatever_it_is_packed_with(packed: bytes, encoding: str) -> None:
    assert bodies.unpacked(packed, encoding, 10_000) == RAW


@pytest.mark.parametrize(
    "pack, encoding", [(gzip.compress, "gzip"), (zlib.compress, "deflate"), (brotli.compress, "br")]
)
def test_a_bomb_is_not_unpacked(pack: Any, encoding: str) -> None:
    with pytest.raises(InvalidEvent, match="more than 10000 bytes") as refused:
        bodies.unpacked(pack(b"0" * 50_000_000), encoding, 10_000)
    assert refused.value.reason == "too_large"
    with pytest.raises(InvalidEvent) as refused:
        bodies.unpacked(pack(RAW)[:-6], encoding, 10_000)
    assert refused.value.reason == "undecodable"


@given(st.binary(max_size=300), st.sampled_from(["", "gzip", "deflate", "br", "br, gzip", "zstd", "gzip,gzip,gzip"]))
def test_no_bytes_raise_anything_else(raw: bytes, encoding: str) -> None:
    try:
        bodies.json_of(bodies.form_of(bodies.unpacked(raw, encoding, 1_000)))
    except InvalidEvent:
        pass


def test_forms_and_base64() -> None:
    told = b64encode(b'{"event":"x"}').decode()
    assert bodies.form_of(f"data={told}".encode()) == b'{"event":"x"}'
    assert bodies.form_of(b"data=%7B%7D") == b"{}"
    assert bodies.json_of(b'{"a": NaN, "b": "\\ud800"}') is not None


def test_a_bucket_gives_what_flows_in_and_no_more() -> None:
    bucket = Bucket(10, 20, 0.0)
    assert bucket.take(20, 0.0) == 0
    assert bucket.take(5, 0.1) == pytest.approx(0.4)
    assert bucket.take(5, 0.5) == 0
    assert bucket.take(1_000, 100.0) == 0  # more than it ever holds: all of it, not never


def keys(**told: dict[str, Any]) -> KeyRing:
    edge = build._edge({"keys": {name: {"key": f"{name}-key", **value} for name, value in told.items()}})
    return KeyRing(edge.keys, 0.0)


@pytest.mark.parametrize("header, key", [("Basic a2V5Og==", "key"), ("basic a2V5", "key"), ("Bearer a2V5", None)])
def test_the_key_in_a_header(header: str, key: str | None) -> None:
    assert basic(header) == key
    for broken in ("Basic", "Basic ===", "Basic \udcff", ""):
        assert basic(broken) is None


@pytest.mark.parametrize("header, key", [("Bearer k", "k"), ("bearer  k ", "k"), ("Bearer", None), ("Basic k", None)])
def test_the_key_that_bears_itself(header: str, key: str | None) -> None:
    assert bearer(header) == key


@pytest.mark.parametrize(
    "body, key",
    [
        ({"writeKey": "k"}, "k"),
        ({"batch": [{"writeKey": "k"}]}, "k"),
        ([{"writeKey": "k"}], "k"),
        ({"writeKey": 7}, None),
        ([], None),
        ("x", None),
    ],
)
def test_the_key_in_a_body(body: Any, key: str | None) -> None:
    assert SEGMENT.key_of(body) == key


def judged(told: dict[str, Any], call: dict[str, Any], name: str = "page") -> Judged:
    ring = keys(**{name: told})
    key = ring.find(f"{name}-key")
    assert key is not None
    return Judge(shipped(), None).of(SEGMENT, key, [call], Caller("9.9.9.0", "Firefox"), "track", NOW, True)


ADDED = {"event": "Product Added", "anonymousId": "a", "userId": "u", "properties": {"product_id": "p"}}
ORDER = {"event": "Order Completed", "anonymousId": "a"}


AGREED = {**ADDED, "context": {"ip": "9.9.9.9", "consent": {"categoryPreferences": {"marketing": True}}}}
REFUSED = {**ADDED, "context": {"ip": "9.9.9.9", "consent": {"categoryPreferences": {"marketing": False}}}}


@pytest.mark.parametrize("call", [ADDED, REFUSED], ids=["says nothing", "refuses"])
def test_whoever_has_not_agreed(call: dict[str, Any]) -> None:
    (dropped,) = judged({"purpose": "marketing"}, call).refused
    assert (dropped.error.reason, dropped.dropped, dropped.item) == ("no_consent", True, None)
    stripped = {"purpose": "marketing", "otherwise": "strip", "public": True}
    (kept,) = judged(stripped, call).accepted
    assert (kept.event.identifiers, kept.record.key, kept.event.type) == ({}, None, "product_added")
    assert not {"ip", "user_agent", "unproven"} & (kept.event.context or {}).keys()
    assert [name for name, _ in kept.record.headers] == ["pipeline.nobodys"]


def test_whoever_has_agreed() -> None:
    for told in ({"purpose": "marketing"}, {"purpose": "marketing", "otherwise": "strip"}):
        (kept,) = judged(told, AGREED).accepted
        assert kept.event.identifiers == {"anonymous_id": "a", "user_id": "u"}
        assert kept.record.key == b"a"


def test_of_who_somebody_is_nothing_is_kept_without_who_it_is() -> None:
    told = {"purpose": "marketing", "otherwise": "strip"}
    call = {"type": "identify", "userId": "u", "traits": {"email": "u@shop.example"}}
    assert [each.error.reason for each in judged(told, call).refused] == ["no_consent"]


def test_what_a_key_may_send() -> None:
    assert [each.event.type for each in judged({"public": True}, ADDED).accepted] == ["product_added"]
    assert [each.error.reason for each in judged({"public": True}, ORDER).refused] == ["not_allowed"]
    assert judged({"public": True, "types": ["order_completed"]}, ORDER).accepted
    assert judged({}, ORDER).accepted
    assert not judged({"types": ["order_completed"]}, ADDED).accepted


def test_what_a_page_tells_is_unproven_and_a_server_is_believed() -> None:
    told = {"ip": "1.1.1.1", "userAgent": "Googlebot/2.1"}
    page = judged({"public": True}, {**ADDED, "context": told}).accepted[0].event
    assert page.context == {"unproven": ["anonymous_id", "user_id"], "ip": "9.9.9.0", "user_agent": "Firefox"}
    server = judged({}, {**ADDED, "context": told}).accepted[0].event
    assert server.context == {"ip": "1.1.1.1", "user_agent": "Googlebot/2.1", "bot": True}


def test_the_list_of_robots_is_dated() -> None:
    page = Path(__file__).parents[2] / "docs" / "collect.md"
    assert f"{version('crawler-user-agents')}, of " in page.read_text("utf-8")


def test_identifiers_that_a_key_may_not_tell_are_left_out() -> None:
    event = judged({"public": True, "identifiers": ["anonymous_id"]}, ADDED).accepted[0].event
    assert event.identifiers == {"anonymous_id": "a"}
    assert event.remarks[0].what == "left_out"


@pytest.mark.parametrize("told, kept", [({"marketing": True}, True), ({"marketing": False}, False), ({}, False)])
def test_without_consent_nothing_is_kept(told: dict[str, bool], kept: bool) -> None:
    call = {**ADDED, "context": {"consent": {"categoryPreferences": told}}}
    found = judged({"purpose": "marketing"}, call)
    assert (len(found.accepted), len(found.refused)) == ((1, 0) if kept else (0, 1))
    if not kept:
        assert (found.refused[0].dropped, found.refused[0].item) == (True, None)


def test_receipt_is_ours_and_a_clients_clock_is_put_right() -> None:
    call = {**ADDED, "timestamp": "2026-11-18T00:00:00Z", "sentAt": "2026-11-18T00:10:00Z", "receivedAt": "2001-01-01"}
    event = judged({}, call).accepted[0].event
    assert (event.received_at, event.occurred_at) == (NOW, NOW - 600_000)


def test_two_that_are_alike_and_say_no_time_are_two() -> None:
    first = judged({}, ADDED).accepted[0].event
    ring = keys(page={})
    key = ring.find("page-key")
    assert key is not None
    later = Judge(shipped(), None).of(SEGMENT, key, [ADDED], Caller(), "track", NOW + 1, True).accepted[0].event
    assert first.event_id != later.event_id


def test_what_clients_ask_besides() -> None:
    _, text = calm_get("/v1/projects/k-1/settings", "https://e.example:8090") or ("", "")
    told = json.loads(text)["integrations"]["Segment.io"]
    assert (told["apiHost"], told["protocol"], told["apiKey"]) == ("e.example:8090/v1", "https", "k-1")
    assert calm_get("/array/k/config.js", "http://e") is not None
    assert calm_get("/nothing", "http://e") is None
    assert POSTS["/v1/i"] == (SEGMENT, "identify")
    assert POSTS["/i/v0/e"][0] is POSTHOG


def test_what_is_refused_is_forgotten() -> None:
    """An error that is kept in what its traceback holds is never collected: a leak that strangers can feed."""
    gc.collect()
    before = sum(isinstance(each, InvalidEvent) for each in gc.get_objects())
    for _ in range(20):
        with pytest.raises(InvalidEvent):
            bodies.json_of(b'{"a": tru')
        with pytest.raises(InvalidEvent):
            parse(b'{"a": tru')
    gc.collect()
    assert sum(isinstance(each, InvalidEvent) for each in gc.get_objects()) <= before
