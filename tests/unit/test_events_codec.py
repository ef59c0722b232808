"""The codec: every event comes back as it went, and whatever is no event is told apart by a true reason."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Collection
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hatch_build
from pipeline.errors import InvalidEvent, PipelineError, RegistryUnavailable, SchemaNotFetched
from pipeline.events import codec, compiled, schemas
from pipeline.events.checks import MAX_STRING, MAX_TIME, MIN_TIME
from pipeline.events.codec import (
    HEADER,
    NOT_UTF_8,
    Decode,
    Decoder,
    Encoder,
    _framed,
    read_record,
    resolve,
    to_record,
)
from pipeline.events.model import Event, Remark
from pipeline.events.registry import connect
from pipeline.triggers.decisions import Decision
from tests.unit.event_samples import NOW, events, sample

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NAMES = sorted(schemas.names())

REGISTRY = connect("mock://codec")
ENCODER = Encoder(REGISTRY)
DECODER = Decoder(REGISTRY)


needs_compiled = pytest.mark.skipif(
    compiled.READER is None and os.environ.get("PIPELINE_TESTS_STRICT") != "1",
    reason="pipeline/events/_reader isn't built",
)


def encoded(event: Event) -> bytes:
    return ENCODER.encode("events.test", event)


def reason(value: bytes | None, decoder: Decoder = DECODER) -> str:
    with pytest.raises(InvalidEvent) as error:
        decoder.decode(value)
    return error.value.reason


def raw(name: str, **changes: Any) -> bytes:
    """A record as some other producer may write it, checks left out."""
    out = io.BytesIO()
    out.write(encoded(sample(name))[:5])
    fastavro.schemaless_writer(out, schemas.plain(name), {**to_record(sample(name)), **changes})
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_every_type_comes_back(name: str) -> None:
    event = sample(name)
    assert DECODER.decode(encoded(event)) == event
    bare = Event(name, "1", NOW, NOW + 1, {}, {})
    told = {"email_opened": {"confidence": "unknown"}, "email_clicked": {"confidence": "unknown"}}
    told["video_paused"] = {"cause": "paused"}
    assert DECODER.decode(encoded(bare)) == Event(name, "1", NOW, NOW + 1, {}, told.get(name, {}))


def test_the_trace_is_the_headers() -> None:
    assert DECODER.decode(encoded(sample("searched")), TRACE).trace == TRACE


def test_the_wire_format_is_confluents() -> None:
    value = encoded(sample("searched"))
    schema_id = REGISTRY.register("events.test-behavioural.events.Searched", schemas.text("searched"))
    assert value[:5] == b"\0" + schema_id.to_bytes(4, "big")
    read: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(schemas.schema("searched")))
    assert read["occurred_at"].isoformat() == "2025-11-24T16:00:00+00:00"


@given(events())
def test_any_event_comes_back_whichever_reader_reads_it(event: Event) -> None:
    value = encoded(event)
    expected = DECODER.decode(value)
    slow = read_record(io.BytesIO(value[5:]), *resolve(schemas.text(event.type)))
    assert slow == expected
    assert (expected.event_id, expected.identifiers) == (event.event_id, event.identifiers)
    assert expected.body.items() >= event.body.items()
    assert expected.context == event.context or not event.context


# --- the compiled reader against fastavro's


def fast_reader(name: str, wanted: Collection[str] | None = None) -> Decode:
    reader = compiled.compile_reader(name, schemas.plain(name), HEADER.size, wanted)
    assert reader is not None, "pipeline/events/_reader isn't built: see hatch_build.py"
    return reader.read


SLOW = {name: _framed(name, schemas.plain(name), None) for name in NAMES}
FAST = {name: fast_reader(name) for name in NAMES} if compiled.READER else {}


@needs_compiled
@given(events())
def test_the_compiled_reader_reads_all_that_is_valid_by_itself(event: Event) -> None:
    value = encoded(event)
    try:
        assert fast_reader(event.type)(value, TRACE) == SLOW[event.type](value, TRACE)
    except AssertionError:
        raise
    except Exception:
        longest = max((len(text.encode()) for pair in event.identifiers.items() for text in pair), default=0)
        assert longest > 512 or len(event.event_id.encode()) > 256  # it counts bytes, the limit is characters


def never_says_more(name: str, value: bytes, wanted: Collection[str]) -> bool:
    """What the compiled reader takes for an event is the one that fastavro reads. Whether it takes it."""
    try:
        fast = fast_reader(name)(value, None) if name not in FAST else FAST[name](value, None)
    except Exception:
        fast = None
    else:
        assert fast == SLOW[name](value, None)
    try:
        short = fast_reader(name, wanted)(value, None)
    except Exception:
        assert fast is None  # what is read in full can be stepped over
        return False
    slow = event_or_reason(DECODER, value)
    assert isinstance(slow, Event)
    assert short == trimmed(slow, wanted)
    return True


@needs_compiled
@pytest.mark.parametrize("name", NAMES)
def test_hostile_bytes(name: str) -> None:
    """Bytes changed, cut out, put in, doubled, cut off; and random ones."""
    rng = Random(name)
    fields = sorted(schemas.body_fields(name))
    good = encoded(sample(name))
    huge = [fastavro_long(edge) for edge in (-(2**63), 2**63 - 1, 2**31, 2**32, -1, -2, 2**20)]
    for _ in range(300):
        value = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            at, length = rng.randrange(5, len(value)), rng.randint(0, 9)
            other = rng.choice([rng.randbytes(length), rng.choice(huge), value[at : at + length] * 2, b"\xff" * length])
            value[at : at + rng.choice([0, len(other)])] = other
        never_says_more(name, bytes(value[: rng.choice([len(value), rng.randint(5, len(value))])]), fields[::2])
        never_says_more(name, good[:5] + rng.randbytes(rng.randint(0, 80)), fields[::2])
    for length in range(len(good)):
        assert not never_says_more(name, good[:length], fields[::2])
    assert never_says_more(name, good, fields[::2])


@needs_compiled
def test_blocks_and_texts_at_their_limits() -> None:
    one = b"\x02\x06one\x00"
    entry = b"\x06one\x02x"
    good = encoded(Event("custom", "1", NOW, NOW + 1, {}, {"properties": {"one": "x"}}))
    assert good.count(b"\x02" + entry + b"\0") == 1
    at = good.index(one[:5])
    for blocks, taken in (
        (b"\x02" + entry + b"\x02\x06two\x02y\0", True),
        (b"\x01\x0c" + entry + b"\0", True),
        (b"\x04" + entry * 2 + b"\0", True),  # the same key twice: the last counts
        (b"\x82\x00" + entry + b"\0", True),  # a number longer than it has to be
        (b"\x06" + entry + b"\0", False),
        (fastavro_long(-(2**63)) + b"\x0c" + entry + b"\0", False),
        (fastavro_long(2**62) + entry + b"\0", False),
        (b"\xff" * 9 + b"\x7f" + entry + b"\0", False),
        (b"\xff" * 40, False),
    ):
        value = good[:at] + blocks + good[at + 2 + len(entry) :]
        assert never_says_more("custom", value, ["properties"]) is taken, blocks
    for length in (MAX_STRING - 1, MAX_STRING, MAX_STRING + 1):
        value = raw("searched", body={"query": "x" * length})
        for wanted in (["query"], []):
            assert never_says_more("searched", value, wanted) is (length <= MAX_STRING)


@given(events())
def test_without_the_compiled_reader_events_are_the_same(event: Event) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "READER", None)
        bare, short = Decoder(REGISTRY), trimming(event.type, ())
        value = encoded(event)
        assert bare.decode(value, TRACE) == DECODER.decode(value, TRACE)
        assert short.decode(value) == DECODER.decode(value)  # in full: who reads it takes what it wants


# --- what nobody reads is stepped over


def trimmed(event: Event, wanted: Collection[str]) -> Event:
    """An event as a decoder gives it that was told what is read, and doesn't look at the rest."""
    body = {key: value for key, value in event.body.items() if key in wanted}
    return msgspec.structs.replace(event, body=body, context=None, trimmed=True, remarks=())


def trimming(name: str, wanted: Collection[str]) -> Decoder:
    return Decoder(REGISTRY, wanted={name: wanted})


@needs_compiled
@given(events(), st.data())
def test_what_is_read_is_the_same_whatever_is_stepped_over(event: Event, data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.sampled_from(sorted(schemas.body_fields(event.type)))))
    value = encoded(event)
    full, seen = DECODER.decode(value), trimming(event.type, wanted).decode(value)
    longest = max((len(text.encode()) for pair in event.identifiers.items() for text in pair), default=0)
    if longest > 512 or len(event.event_id.encode()) > 256:  # the compiled reader counts bytes
        assert seen == full
    else:
        assert seen == trimmed(full, wanted)


@given(st.sampled_from(NAMES), st.data())
def test_mutated_records_are_refused_for_the_same_reason_where_something_is_stepped_over(
    name: str, data: st.DataObject
) -> None:
    wanted = data.draw(st.sets(st.sampled_from(sorted(schemas.body_fields(name)))))
    value = bytearray(encoded(sample(name)))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(5, len(value) - 1))] = data.draw(st.integers(0, 255))
    told = bytes(value[: data.draw(st.sampled_from([len(value), len(value) - 1]))])
    decoder = trimming(name, wanted)
    seen, full = event_or_reason(decoder, told), event_or_reason(DECODER, told)
    if isinstance(full, Event):
        assert isinstance(seen, Event)
        assert seen == (trimmed(full, wanted) if seen.trimmed else full)
    else:
        assert seen == full


def event_or_reason(decoder: Decoder, value: bytes) -> Event | str:
    try:
        return decoder.decode(value)
    except InvalidEvent as error:
        return error.reason


@needs_compiled
def test_what_is_stepped_over_has_its_limits_too() -> None:
    decoder = trimming("searched", ["results"])
    assert decoder.decode(raw("searched", body={"query": "x" * MAX_STRING, "results": 3})).body == {"results": 3}
    too_long = decoder.decode(raw("searched", body={"query": "x" * (MAX_STRING + 1), "results": 3}))
    assert (too_long.body, too_long.trimmed) == ({"results": 3}, False)
    good = raw("searched", body={"query": "abcdefgh"})
    assert decoder.decode(good.replace(b"abcdefgh", b"abc\xff\xfefgh")).body == {}
    assert reason(good.replace(b"\x10abcdefgh", b"\x0fabcdefgh"), decoder) == "undecodable"
    assert reason(good + b"\0", decoder) == "trailing_bytes"
    assert {reason(good[:length], decoder) for length in range(1, len(good))} == {"truncated"}


@needs_compiled
def test_of_an_event_type_that_nobody_reads_the_envelope_is_read() -> None:
    event = sample("order_completed")
    assert trimming("searched", ()).decode(encoded(event)) == trimmed(event, ())


def test_an_older_schema_is_read_in_full() -> None:
    older = schemas.schema("searched")
    del older["fields"][-1]["type"]["fields"][-1]
    header = HEADER.pack(0, REGISTRY.register("older", json.dumps(older)))
    out = io.BytesIO()
    writer = fastavro.parse_schema(schemas.stripped(older))
    fastavro.schemaless_writer(out, writer, to_record(Event("searched", "1", NOW, NOW + 1, {}, {"query": "x"})))
    assert trimming("searched", ()).decode(header + out.getvalue()) == Event(
        "searched", "1", NOW, NOW + 1, {}, {"query": "x"}
    )


@pytest.mark.parametrize("name", NAMES)
def test_truncated_at_every_byte(name: str) -> None:
    value = encoded(sample(name))
    assert reason(b"") == "empty"
    assert {reason(value[:length]) for length in range(1, len(value))} == {"truncated"}


@pytest.mark.parametrize("name", NAMES)
def test_bytes_behind_the_body(name: str) -> None:
    assert reason(encoded(sample(name)) + b"\0") == "trailing_bytes"


def test_no_value_and_no_magic() -> None:
    assert reason(None) == "empty"
    assert reason(b'{"type": "track"}') == "bad_magic"
    assert reason(b"\x01" + encoded(sample("searched"))[1:]) == "bad_magic"


def test_a_schema_the_registry_does_not_have() -> None:
    assert reason(b"\0\xff\xff\xff\xff" + encoded(sample("searched"))[5:]) == "unknown_schema"


def test_a_schema_that_is_not_an_event_of_ours() -> None:
    same_fields_other_name = json.dumps({**schemas.schema("searched"), "name": "Sought"})
    not_a_record = '"string"'
    protobuf = 'syntax = "proto3"; message Searched { string query = 1; }'
    json_schema = '{"type": "object", "properties": {}}'
    for text in (same_fields_other_name, not_a_record, protobuf, json_schema, "", "{", schemas.text("trigger")):
        header = HEADER.pack(0, REGISTRY.register("foreign", text))
        assert reason(header + encoded(sample("searched"))[5:]) == "wrong_schema", text


def test_our_name_with_fields_of_other_types() -> None:
    other = schemas.schema("searched")
    other["fields"][0]["type"] = {"type": "array", "items": "string"}
    header = HEADER.pack(0, REGISTRY.register("foreign", json.dumps(other)))
    assert reason(header + b"\0" + encoded(sample("searched"))[5:]) == "wrong_schema"


def test_the_body_of_another_type_under_this_types_id() -> None:
    """Avro's bytes don't tell their type: what can be told from them is told, and nothing else comes out."""
    header = encoded(sample("order_completed"))[:5]
    outcomes = {name: decoded_or_reason(header + encoded(sample(name))[5:]) for name in NAMES}
    taken = {name for name, why in outcomes.items() if why is None}
    assert taken == {"order_completed", "offline_purchased"}  # these two have the same fields


BAD_TIMES = [0, -1, 20251124, MIN_TIME - 1, MAX_TIME + 1, -NOW, 5 * 10**11, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("at", BAD_TIMES)
def test_a_time_outside_of_1995_to_9999_is_as_if_it_were_not_there(at: int) -> None:
    assert reason(raw("searched", occurred_at=at, received_at=at)) == "invalid_time"
    for name in ("occurred_at", "received_at"):
        event = DECODER.decode(raw("searched", **{"occurred_at": NOW, "received_at": NOW, name: at}))
        assert (event.occurred_at, event.received_at) == (NOW, NOW)
        assert event.remarks == (Remark("left_out", f"{name}: no time between 1995 and 9999"),)


@pytest.mark.parametrize(
    ("told", "unit"), [(NOW // 1000, "seconds"), (NOW * 1000 + 999, "microseconds"), (NOW * 10**6 + 1, "nanoseconds")]
)
def test_the_unit_of_a_time_is_told_by_its_size(told: int, unit: str) -> None:
    event = DECODER.decode(raw("searched", occurred_at=told, received_at=NOW + 7))
    assert (event.occurred_at, event.received_at) == (NOW, NOW + 7)
    assert event.remarks == (Remark("read_as", f"occurred_at in {unit}"),)
    both = DECODER.decode(raw("searched", occurred_at=told, received_at=told))
    assert (both.occurred_at, both.received_at, len(both.remarks)) == (NOW, NOW, 2)


@pytest.mark.parametrize("at", [MIN_TIME, MIN_TIME + 1, 2**40, 2**41 - 1, 2**41, NOW, NOW + 1, 2**47, MAX_TIME])
def test_times_of_every_length(at: int) -> None:
    event = DECODER.decode(raw("searched", occurred_at=at, received_at=at))
    assert (event.occurred_at, event.received_at) == (at, at)
    assert not event.remarks


def test_more_times_than_are_remembered() -> None:
    good = raw("searched", occurred_at=NOW, received_at=NOW)
    stamp = fastavro_long(NOW)
    assert good.count(stamp) == 2
    for at in range(NOW, NOW + 5000 * 8192, 8192):
        assert DECODER.decode(good.replace(stamp, fastavro_long(at))).received_at == at
    assert DECODER.decode(good).occurred_at == NOW


def fastavro_long(value: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    return out.getvalue()


def test_what_occurred_after_it_was_received_occurred_then() -> None:
    event = DECODER.decode(raw("searched", occurred_at=NOW + 1, received_at=NOW))
    assert (event.occurred_at, event.received_at) == (NOW, NOW)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_left_out(value: float) -> None:
    event = DECODER.decode(raw("product_added", body={"price": value, "quantity": 2.0, "sku": "s"}))
    assert event.body == {"quantity": 2.0, "sku": "s"}
    assert event.remarks == (Remark("left_out", "body.price: not a finite number"),)
    lines = [{"quantity": 1.0}, {"price": value}, {"price": value, "sku": "s"}, {}]
    event = DECODER.decode(raw("order_completed", body={"products": lines}))
    assert event.body == {"products": [{"quantity": 1.0}, {"sku": "s"}, {}]}
    assert event.remarks == (Remark("left_out", "body.products[].price: not a finite number"),)


def test_a_cart_of_which_nothing_is_left_is_not_an_empty_one() -> None:
    nan = [{"price": float("nan")}]
    event = DECODER.decode(raw("cart_updated", body={"cart_id": "c", "currency": "EUR", "products": nan}))
    assert (event.type, event.body) == ("cart_viewed", {"cart_id": "c"})
    assert event.remarks[-1].what == "read_as"
    event = DECODER.decode(raw("cart_updated", body={"cart_id": "c", "products": [*nan, {"sku": "s"}]}))
    assert (event.type, event.body) == ("cart_updated", {"cart_id": "c", "products": [{"sku": "s"}]})
    empty: list[Any] = [[], None, [{}]]
    for products in empty:
        event = DECODER.decode(raw("cart_updated", body={"products": products}))
        assert (event.type, event.remarks) == ("cart_updated", ())


@pytest.mark.parametrize("event_id", ["", "x" * 257])
def test_event_ids_of_no_length_or_too_much_are_replaced_by_the_same_one_each_time(event_id: str) -> None:
    event = DECODER.decode(raw("searched", event_id=event_id))
    assert event.event_id.startswith("content-")
    assert DECODER.decode(raw("searched", event_id=event_id)) == event
    assert [remark.what for remark in event.remarks] == ["left_out"]
    other = DECODER.decode(raw("searched", event_id=event_id, body={"query": "other"}))
    assert (other.event_id == event.event_id) is bool(event_id)


def test_identifiers_and_texts_have_limits() -> None:
    for bad in ({"email": "x" * 513}, {"x" * 513: "x"}):
        event = DECODER.decode(raw("searched", identifiers={"user_id": "u", **bad}))
        assert event.identifiers == {"user_id": "u"}
        assert event.remarks[0].detail.endswith("longer than 512 characters")
    for text in ("x" * (MAX_STRING + 1), "é" * (MAX_STRING // 2 + 1)):
        event = DECODER.decode(raw("searched", body={"query": text, "results": 3}))
        assert event.body == {"results": 3}
        assert event.remarks == (Remark("left_out", f"body.query: a text longer than {MAX_STRING} bytes"),)
        event = DECODER.decode(raw("custom", body={"properties": {"a": text, text: "a", "b": "c"}}))
        assert event.body == {"properties": {"b": "c"}}
        assert event.remarks == (Remark("left_out", f"body.properties.*: a text longer than {MAX_STRING} bytes"),)
    at_the_limits = raw(
        "searched", event_id="é" * 256, identifiers={"é" * 512: "é" * 512}, body={"query": "x" * MAX_STRING}
    )
    event = DECODER.decode(at_the_limits)
    assert event.identifiers == {"é" * 512: "é" * 512}
    assert event.event_id == "é" * 256
    assert len(event.body["query"]) == MAX_STRING
    assert not event.remarks


def test_text_that_is_not_utf_8() -> None:
    good = raw("searched", identifiers={"user_id": "abcdefgh", "email": "ijklmnop"}, body={"query": "qrstuvwx"})
    for half in (b"\xff\xfe", b"\xc3\x28", b"\xe9l"):
        event = DECODER.decode(good.replace(b"st", half))
        assert event.body["query"].startswith("qr\ufffd")
        assert event.identifiers == {"user_id": "abcdefgh", "email": "ijklmnop"}
        assert (event.event_id, event.remarks) == ("searched-1", (NOT_UTF_8,))
        event = DECODER.decode(good.replace(b"cd", half))
        assert event.identifiers == {"email": "ijklmnop"}
        assert event.remarks == (NOT_UTF_8, Remark("left_out", "an identifier that isn't UTF-8"))
        event = DECODER.decode(good.replace(b"hed-1", b"hed" + half))
        assert event.event_id.startswith("content-")
    with_the_character = raw("searched", identifiers={"user_id": "\ufffd"})
    assert DECODER.decode(with_the_character).identifiers == {"user_id": "\ufffd"}
    assert reason(good.replace(b"st", b"\xff\xfe") + b"\0") == "trailing_bytes"
    assert reason(good.replace(b"st", b"\xff\xfe")[:-1]) == "truncated"


def test_a_text_of_negative_length() -> None:
    good = raw("searched", event_id="abcdefgh")
    assert reason(good.replace(b"\x10abcdefgh", b"\x0fabcdefgh")) == "undecodable"


def test_blocks_as_other_writers_make_them() -> None:
    """Several blocks, and blocks that tell their size, are as good as one."""
    good = encoded(Event("searched", "1", NOW, NOW + 1, {"a": "b", "c": "d"}, {}))
    one = b"\x04\x02a\x02b\x02c\x02d\x00"
    assert good.count(one) == 1
    for blocks in (
        b"\x02\x02a\x02b\x02\x02c\x02d\x00",
        b"\x03\x10\x02a\x02b\x02c\x02d\x00",
        b"\x84\x00\x02a\x02b\x02c\x02d\x00",
    ):
        assert DECODER.decode(good.replace(one, blocks)).identifiers == {"a": "b", "c": "d"}


def test_many_items() -> None:
    body = {"properties": {f"property {number}": "x" * number for number in range(200)}}
    assert DECODER.decode(encoded(Event("custom", "1", NOW, NOW + 1, {}, body))).body == body


@given(st.sampled_from(NAMES), st.data())
def test_mutated_records_are_events_or_have_a_reason(name: str, data: st.DataObject) -> None:
    value = bytearray(encoded(sample(name)))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    decoded_or_reason(bytes(value))


@given(st.sampled_from(NAMES), st.binary(max_size=300))
def test_random_bytes_are_events_or_have_a_reason(name: str, body: bytes) -> None:
    decoded_or_reason(encoded(sample(name))[:5] + body)
    decoded_or_reason(body)


REASONS = {
    "empty", "bad_magic", "truncated", "trailing_bytes", "unknown_schema", "wrong_schema", "undecodable",
    "invalid_time",
}  # fmt: skip


def decoded_or_reason(value: bytes) -> str | None:
    """None where it is an event (then one that can be written and read again), else the reason why not."""
    try:
        event = DECODER.decode(value)
    except InvalidEvent as error:
        why = error
    else:
        assert MIN_TIME <= event.occurred_at <= event.received_at <= MAX_TIME
        assert DECODER.decode(encoded(event)) == msgspec.structs.replace(event, remarks=())
        return None
    assert why.reason in REASONS
    assert why.detail
    return why.reason


# --- encoding


def test_what_cannot_be_encoded() -> None:
    for event, why in (
        (Event("nonsense", "1", 1, 1, {}, {}), "wrong_schema"),
        (Event("decision", "1", 1, 1, {}, {}), "wrong_schema"),
        (Event("product_added", "1", 1, 1, {}, {"price": "a lot"}), "unencodable"),
        (Event("product_added", "1", 2**70, 1, {}, {}), "unencodable"),
        (Event("email_opened", "1", 1, 1, {}, {"confidence": "perhaps"}), "unencodable"),
        (Event("searched", "1", 1, 1, {}, {"query": "\ud800"}), "unencodable"),
    ):
        with pytest.raises(InvalidEvent) as error:
            ENCODER.encode("events.test", event)
        assert error.value.reason == why, event


def test_fields_the_schema_lacks_and_nulls_are_left_out() -> None:
    event = Event("searched", "1", NOW, NOW + 1, {}, {"query": "x", "results": None, "colour": "red"})
    assert DECODER.decode(encoded(event)).body == {"query": "x"}


DECISION: dict[str, Any] = {
    "id": "d-1",
    "outcome": "fired",
    "reason": "due",
    "rule": "abandoned_cart",
    "rule_version": 1,
    "profile_id": "p-1",
    "identifiers": {"user_id": ["u-1", "u-2"]},
    "correlation_key": None,
    "cause_event_id": "e-1",
    "occurred_at": NOW,
    "due_at": NOW + 1,
    "decided_at": NOW + 2,
    "payload": {"cart_id": None, "lines": [{"product": "é", "quantity": 1.5}]},
    "trace": TRACE,
}


@pytest.mark.parametrize("name", ["decision", "trigger"])
def test_decisions_and_triggers(name: str) -> None:
    extra: dict[str, Any] = {"outcome": "retracted", "retracts": "d-0", "late_event_id": "e-9", "published": False}
    extra.update(bounded=True, stage="last", recovers="d-7", basis="time", fingerprint="f", detail="why")
    extra["contact"] = {"locale": "de-AT"}
    for decision in (DECISION, {**DECISION, **extra}, {**DECISION, "ended_by": "e-2", "correlation_key": "cart-1"}):
        value = (
            ENCODER.encode_decision("decisions", Decision(**decision))
            if name == "decision"
            else ENCODER.as_trigger("triggers", ENCODER.encode_decision("decisions", Decision(**decision)))
        )
        topic = "decisions" if name == "decision" else "triggers"
        schema_id = REGISTRY.register(schemas.subject(topic, name), schemas.text(name))
        assert struct.unpack(">BI", value[:5]) == (0, schema_id)
        read: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schemas.plain(name), None)
        nullable: dict[str, Any] = {"ended_by": None, "retracts": None, "late_event_id": None, "left_out": []}
        nullable.update(contact={}, published=True, bounded=False)
        nullable.update(stage=None, recovers=None, basis="event", fingerprint="", detail="")
        expected = {**nullable, **decision, "payload": json.loads(read["payload"])}
        del expected["trace"]
        assert {**read, "payload": json.loads(read["payload"])} == expected
        assert ENCODER.read_decision(value) == expected
        if "stage" not in decision:  # as it was encoded before there were stages
            assert value.endswith(codec.ADDED)
            assert ENCODER.read_decision(value.removesuffix(codec.ADDED)) == expected
    assert reason(value) == "wrong_schema"


# --- an event loop must not be held up


def test_a_decoder_that_may_not_block_says_which_schema_to_fetch() -> None:
    registry = connect("mock://patient")
    value = Encoder(registry).encode("t", sample("searched"))
    decoder = Decoder(registry, blocking=False)
    with pytest.raises(SchemaNotFetched) as missing:
        decoder.decode(value)
    assert isinstance(missing.value, RegistryUnavailable)  # who doesn't handle it waits, and loses nothing
    decoder.learn(missing.value.schema_id)
    assert decoder.decode(value) == sample("searched")


def test_a_schema_that_does_not_exist_is_fetched_once_and_then_said_to_be_unknown() -> None:
    decoder = Decoder(connect("mock://patient"), blocking=False)
    value = HEADER.pack(0, 4711) + b"x"
    with pytest.raises(SchemaNotFetched) as missing:
        decoder.decode(value)
    decoder.learn(missing.value.schema_id)
    assert reason(value, decoder) == "unknown_schema"


def test_prepare_registers_ahead() -> None:
    registry = connect("mock://prepared")
    Encoder(registry).prepare("triggers", "trigger", "decision")
    assert sorted(registry.client.get_subjects()) == [
        "triggers-behavioural.triggers.Decision",
        "triggers-behavioural.triggers.Trigger",
    ]


def test_every_error_is_one_of_ours() -> None:
    assert issubclass(SchemaNotFetched, PipelineError)


def _any_value(rng: Random, kind: Any) -> Any:
    """Something that the schema allows."""
    told = kind["type"] if isinstance(kind, dict) else kind
    if isinstance(told, list):
        return None if rng.random() < 0.5 else _any_value(rng, told[1])
    if told == "string":
        return "".join(rng.choice("aé€😀 ") for _ in range(rng.choice([0, 1, 20, 31, 32, 63, 64, 65, 300, 9000])))
    if told == "enum":
        return rng.choice(kind["symbols"])
    if told == "boolean":
        return rng.random() < 0.5
    if told == "array":
        return [_any_value(rng, kind["items"]) for _ in range(rng.choice([0, 1, 3, 70]))]
    if told == "map":
        return {_any_value(rng, "string"): _any_value(rng, kind["values"]) for _ in range(rng.choice([0, 1, 2]))}
    bits = 31 if told == "int" else 63
    edge = 1 << rng.randrange(bits)
    return rng.choice(
        [-edge - 1, -edge, -edge + 1, edge - 1, edge, edge + 1, 0, 1_700_000_000_000 if bits == 63 else 7]
    )


@needs_compiled
@pytest.mark.parametrize("seed", range(200))
def test_the_compiled_writer_writes_what_fastavro_writes(seed: int) -> None:
    rng = Random(seed)
    schema = schemas.plain("decision")
    record = {field["name"]: _any_value(rng, field["type"]) for field in schema["fields"]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    assert compiled.WRITER is not None
    writer = compiled.WRITER(schema)
    assert writer.write(b"head", list(record.values())) == b"head" + out.getvalue()
    with pytest.raises(Exception):  # noqa: B017  # of many kinds
        writer.write(b"", [*record.values(), None])


@needs_compiled
@given(events())
def test_the_compiled_writer_writes_events_as_fastavro_does(event: Event) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schemas.plain(event.type), to_record(event))
    assert compiled.WRITER is not None
    written = compiled.WRITER(schemas.plain(event.type)).write(b"head", list(to_record(event).values()))
    assert written == b"head" + out.getvalue()


@pytest.mark.parametrize(
    "field, value", [("outcome", "unheard of"), ("due_at", "soon"), ("id", None), ("due_at", 1 << 70)]
)
def test_a_decision_that_cannot_be_written_is_refused_with_the_reason(field: str, value: Any) -> None:
    with pytest.raises(InvalidEvent) as refused:
        ENCODER.encode_decision("decisions", Decision(**{**DECISION, field: value}))
    assert refused.value.reason == "unencodable"


def test_a_compiled_module_of_other_sources_is_left_out(tmp_path: Path) -> None:
    """Of a checkout that went on, say: what it would do is anybody's guess."""
    (tmp_path / "_it.pyx").write_text("pass")
    made = ModuleType("_it")
    made.__file__ = str(tmp_path / "_it.so")
    with pytest.warns(RuntimeWarning, match="install again"), pytest.raises(ImportError, match="other sources"):
        compiled.fitting(made)
    made.__dict__["made_from"] = hatch_build.digest(tmp_path)
    compiled.fitting(made)
    (tmp_path / "_it.pxi").write_text("more")
    with pytest.warns(RuntimeWarning, match="install again"), pytest.raises(ImportError, match="other sources"):
        compiled.fitting(made)
