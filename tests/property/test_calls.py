"""The compiled way from a call to its event gives what the general one gives, or leaves the call to that."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import calls, envelopes, segment
from pipeline.events.codec import Encoder, to_record
from pipeline.events.compiled import Calls
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.events.segment_names import TRACKED
from pipeline.events.text import PLACEHOLDERS
from tests.mutations import SEEDS, mutated_call
from tests.recorded import JSON, RECORDED, bodies

PLAIN = calls.PLAIN
NOW = 1_763_979_602_000
AT = "2025-11-24T10:20:00.000Z"

pytestmark = pytest.mark.skipif(PLAIN is None, reason="nothing is compiled here")


def plain() -> Calls:
    assert PLAIN is not None
    return PLAIN


def told(kind: str = "track", **parts: Any) -> dict[str, Any]:
    return {"type": kind, "messageId": "m-1", "anonymousId": "a-1", "timestamp": AT, **parts}


CONTEXT: dict[str, Any] = {
    "page": {"url": "https://shop.example/tents", "path": "/tents", "referrer": "", "title": "Tents"},
    "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
    "library": {"name": "analytics.js", "version": "1.84.3"},
    "locale": "de-AT",
    "timezone": "Europe/Vienna",
    "ip": "192.0.2.7",
    "device": {"id": "d-1", "type": "ios"},
    "traits": {"email": "anna@example.org", "plan": "pro"},
    "campaign": {"name": "spring", "source": "mail"},
    "consent": {"categoryPreferences": {"ads": True}},
}
CLOCKS = {"originalTimestamp": AT, "sentAt": "2025-11-24T10:20:01.000Z", "receivedAt": "2025-11-24T10:20:02.000Z"}
THING = {"product_id": "tent", "price": 249, "quantity": 1.5, "currency": "EUR", "image_url": "https://shop.example/t"}
BROWSING = {name: value for name, value in CONTEXT.items() if name not in ("campaign", "consent")}
RICH = [
    *(
        told(event=name.title(), context=BROWSING, properties={"cart_id": "c-1", **THING, "own": [1]})
        for name in TRACKED
    ),
    told(event="purchase", context=CONTEXT, properties={"transaction_id": "T1", "value": 10, "items": [THING, THING]}),
    told(event="Cart Updated", properties={"cart_id": "c", "products": [THING, {**THING, "name": "Tent", "own": 1}]}),
    told(
        event="Wants A Tent", context=CONTEXT, properties={"price": 249.5, "fast": True, "colours": ["red"], "no": None}
    ),
    told("page", name="Tents", context=CONTEXT, properties={"url": "https://shop.example/", "title": "All"}, **CLOCKS),
    told("screen", name="Tents", context=CONTEXT, properties={"path": "/", "engaged_ms": 12}, sentAt=AT),
    told("identify", userId="u-1", context=CONTEXT, traits={"email": "anna@example.org", "age": 41, "vip": True}),
    told("identify", userId="u-1", context={"traits": {"email": "anna@example.org"}}, integrations={"All": True}),
]


def both(call: Any, now: int | None) -> Event | None:
    """The event, where the compiled way has one: then the general one has the same, to the order of its fields."""
    found = plain().read(call, now)
    if found is not None:
        assert repr(segment.translate(call, now)) == repr([found])
    return found


@pytest.mark.parametrize("call", RICH)
def test_what_is_in_order_is_read_compiled(call: dict[str, Any]) -> None:
    assert both(call, NOW) is not None
    assert both(call, None) is not None


@given(st.integers(0, 2**64))
def test_a_mutated_call_is_the_same_both_ways(seed: int) -> None:
    rng = Random(seed)
    for _ in range(40):
        both(mutated_call(rng, rng.choice([SEEDS, RICH])), rng.choice([None, NOW]))


TIMES = st.text("0123456789-:.TZ", min_size=24, max_size=24) | st.from_regex(
    r"\A[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\.[0-9]{3}Z\Z"
)
WORDS = st.sampled_from(sorted(PLACEHOLDERS)) | st.text(max_size=40)


@given(st.sampled_from(("timestamp", "originalTimestamp", "sentAt", "receivedAt")), TIMES | WORDS | JSON)
def test_times_are_the_same_both_ways(name: str, value: object) -> None:
    for now in (None, NOW):
        both({**told(event="x"), name: value}, now)


@given(st.sampled_from(("messageId", "anonymousId", "userId", "event", "name", "type")), WORDS | JSON)
def test_texts_are_the_same_both_ways(name: str, value: object) -> None:
    for kind in ("track", "page"):
        both({**told(kind, event="x"), name: value}, NOW)


@given(
    st.sampled_from(
        ("Product Added", "Order Completed", "Email Sent", "Video Playback Seek Completed", "Own", "page view")
    ),
    st.dictionaries(
        st.sampled_from(sorted({name for each in TRACKED.values() for name in each.fields.names})), WORDS | JSON
    ),
    st.dictionaries(st.sampled_from([*CONTEXT, "user_agent"]), WORDS | JSON),
)
def test_properties_and_contexts_are_the_same_both_ways(name: str, properties: Any, context: Any) -> None:
    both(told(event=name, properties=properties, context={**BROWSING, **context}), NOW)


def test_what_clients_sent_is_the_same_both_ways() -> None:
    names = [path.stem for path in RECORDED.glob("*.json") if not path.stem.startswith(("posthog", "snowplow"))]
    sent = chain.from_iterable(map(bodies, names))
    items = [item for body in sent for item in envelopes.items(body) or ()]
    found = [both(item, now) for item in items for now in (None, NOW)]
    assert len(found) > 100
    assert sum(each is not None for each in found) > len(found) // 2


def test_what_is_read_is_left_as_it_was() -> None:
    before = deepcopy(RICH)
    for call in RICH:
        plain().read(call, NOW)
    assert before == RICH


def test_an_event_is_written_as_its_record_is() -> None:
    encoder = Encoder(connect("mock://calls"))
    consenting = {"consent": {"ads": False}}
    for call in RICH:
        (event,) = segment.translate(call)
        for context in (event.context, None, {}, consenting, {"consent": None, "locale": "de"}, {"consent": None}):
            event.context = context
            slowly = encoder._write("t", event.type, to_record(event))
            assert encoder.encode("t", event) == encoder.encode("t", event) == slowly


def test_a_value_in_lower_case_stays_so() -> None:
    """`Normaliser.value` counts on it."""
    assert all(chr(code).lower().lower() == chr(code).lower() for code in range(0x110000))
