"""What rules read is handed on by the first hop: compiled or not, from Avro or from JSON, the same."""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec
import pytest
from hypothesis import given

from pipeline.events import compiled, schemas, shape
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.events.segment import translate
from pipeline.flow import Intake
from pipeline.language.paths import fixed, needs, read_path, told
from pipeline.profile.fields import handed_fields, wanted_fields
from pipeline.runtime.ports import In
from pipeline.topology.model import Rule, Selector
from pipeline.triggers.rules import RuleBook
from pipeline.wire import records as wire
from pipeline.wire.row import Row
from tests.replayed import shipped
from tests.unit.event_samples import body_schema, context_schema, events, sample

PHONE = {"anonymous_id": "phone"}
NAMED = ("properties.one", "traits.one", "fields.one", "context.campaign.one", "consent.analytics")


def every_path(kind: str) -> list[str]:
    """Ours, and one of each that stand under a sender's names."""
    return [path for path in (*fixed(kind), *NAMED) if told(kind, path) is not None]


def reads_all() -> RuleBook:
    """Of rules that ask for every path of every type."""
    rules = [
        Rule(
            name=f"of_{kind}",
            version=1,
            start=Selector(events=(kind,), where={path: {"exists": True} for path in every_path(kind)}),
            cancel=(),
            after_ms=1,
        )
        for kind in schemas.names()
    ]
    return RuleBook(msgspec.structs.replace(shipped(), rules=tuple(rules)))


BOOK = reads_all()
REGISTRY = connect("mock://paths")
FULL = Decoder(REGISTRY)
TRIMMING = Decoder(REGISTRY, wanted=wanted_fields(BOOK), handed=handed_fields(BOOK))


def intake() -> Intake:
    return Intake(shipped(), BOOK)


@pytest.mark.parametrize("kind", schemas.names())
def test_every_path_reaches_the_rules(kind: str) -> None:
    event = msgspec.structs.replace(sample(kind), identifiers=PHONE)
    row = intake().prepare(FULL.decode(Encoder(REGISTRY).encode("t", event)), 0, 0, event.received_at)[0]
    found = {path: read_path(path)(row.data) for path in every_path(kind)}
    assert [path for path, value in found.items() if value is None] == []
    if kind == "product_added":
        assert found["products.price"] == [12.5, 12.5]
        assert found["context.campaign.one"] == "campaign é"
        assert found["context.bot"] is True
        assert found["consent.analytics"] is True


@given(events())
def test_the_worker_reads_them_as_replay_does(event: Event) -> None:
    event = msgspec.structs.replace(event, identifiers=PHONE)
    value = Encoder(REGISTRY).encode("t", event)
    now = event.received_at
    seen, full = TRIMMING.decode(value), FULL.decode(value)
    assert intake().prepare(seen, 0, 0, now, len(value))[0] == intake().prepare(full, 0, 0, now)[0]


def taken(value: bytes, appended: int, first: Intake) -> Any:
    """The row that is made of a record at once; None: it is for Python."""
    rows: list[Any] = []
    left: list[In] = []
    record = In(7, appended, None, value, [])

    def slow(record: In, high: int) -> int:
        left.append(record)
        return high

    TRIMMING.decode(value)  # its schema has been met
    assert compiled.TAKE is not None
    compiled.TAKE(
        [record], TRIMMING.takers, first.routes.known, first.routes.identify, first.routes.with_implied, None, slow, 0,
        first.disorder, first.max_ahead, rows, [], [], [], [],
    )  # fmt: skip
    return rows[0] if rows else None


needs_compiled = pytest.mark.skipif(
    compiled.READER is None and os.environ.get("PIPELINE_TESTS_STRICT") != "1",
    reason="pipeline/events/_reader isn't built",
)


@needs_compiled
@given(events())
def test_a_row_made_at_once_has_them_too(event: Event) -> None:
    event = msgspec.structs.replace(event, identifiers=PHONE)
    value = Encoder(REGISTRY).encode("t", event)
    first = intake()
    now = event.received_at
    row, asked = first.prepare(TRIMMING.decode(value), 7, 0, now, len(value))
    assert asked is not None
    made = taken(value, now, first)
    if made is not None:
        made.root = row.root = "abcdefgh23456722"
        assert msgspec.msgpack.decode(made.packed(), type=Row).data == row.data


@needs_compiled
def test_items_flags_and_texts_of_the_context_are_read_at_once() -> None:
    """So a rule that asks for them costs no event the slow way."""
    body = {"products": [{"product_id": "p", "price": 5.0}], "order_id": "o", "currency": "EUR"}
    context = {"url": "https://shop.example", "timezone": "Europe/Vienna", "bot": False, "consent": {"marketing": True}}
    event = Event("order_completed", "e", 1_764_000_000_000, 1_764_000_000_000, PHONE, body, context)
    made = taken(Encoder(REGISTRY).encode("t", event), event.received_at, intake())
    assert made is not None
    made.root = "abcdefgh23456722"
    data = msgspec.msgpack.decode(made.packed(), type=Row).data
    assert read_path("products.price")(data) == [5.0]
    assert read_path("context.url")(data) == "https://shop.example"
    assert read_path("context.bot")(data) is False
    assert read_path("consent.marketing")(data) is True


def test_what_is_told_of_an_order_s_products_is_theirs_alone_where_nobody_asks() -> None:
    event = Event("order_completed", "e", 1, 1, PHONE, {"products": [{"product_id": "p", "price": 5.0}]})
    plain = Intake(shipped(), RuleBook(shipped())).prepare(event, 0, 0, 1)[0]
    assert plain.data["products"] == [{"product_id": "p"}]
    assert needs("products.price") == ("products", "products.price")
    assert intake().prepare(event, 0, 0, 1)[0].data["products"] == [{"product_id": "p", "price": 5.0}]


COMPANY = {
    "name": "Acme " + "x" * 1_000,
    "size": 60,
    "share": 12.5,
    "listed": True,
    "at": {"city": "Wien", "of": {"floor": 3}},
    "tags": ["a", "b"],
    "none": None,
    "dotted.name": "d",
    "half": "\ud83dx",
}
INSIDE = {
    "company.name": ("Acme " + "x" * 1_000)[:256],
    "company.size": "60",
    "company.share": "12.5",
    "company.listed": "true",
    "company.at": '{"city":"Wien","of":{"floor":3}}',
    "company.at.city": "Wien",
    "company.at.of.floor": "3",
    "company.tags": '["a","b"]',
    "company.none": None,
    "company.nothing": None,
    "company.dotted.name": "d",
    "company.half": "x",
    "company.size.more": None,
    "plan.size": None,
}


def of_objects(kind: str = "identified", field: str = "traits") -> RuleBook:
    """Of a rule that asks for all of these."""
    where = {f"{field}.{name}": {"exists": True} for name in (*INSIDE, "plan")}
    rule = Rule(name="it", version=1, start=Selector(events=(kind,), where=where), cancel=(), after_ms=1)
    return RuleBook(msgspec.structs.replace(shipped(), rules=(rule,)))


def test_what_lies_inside_of_an_object_reaches_the_rules_however_it_is_told() -> None:
    book, now = of_objects(), 1_764_000_000_000
    told = {"plan": "pro", "company": COMPANY}
    call = {"type": "identify", "userId": "u", "messageId": "m", "timestamp": "2025-11-24T16:00:00Z", "traits": told}
    (as_json,) = translate(call)
    assert isinstance(as_json.body["traits"]["company"], str)
    in_avro = Event(
        "identified", "m", now, now, {"user_id": "u"}, {"traits": {"plan": "pro", "company": json.dumps(COMPANY)}}
    )
    reading = Decoder(REGISTRY, wanted=wanted_fields(book), handed=handed_fields(book))
    for event in (as_json, in_avro):
        value = Encoder(REGISTRY).encode("t", event)
        row = Intake(shipped(), book).prepare(event, 0, 0, now)[0]
        assert {name: read_path(f"traits.{name}")(row.data) for name in INSIDE} == INSIDE
        assert row.data["traits"]["plan"] == "pro"
        assert Intake(shipped(), book).prepare(reading.decode(value), 0, 0, now, len(value))[0].data == row.data
        assert len(wire.encode(row)) > 0


def test_what_nobody_asks_for_stays_one_text() -> None:
    text = json.dumps({"size": 60})
    event = Event("identified", "e", 1, 1, PHONE, {"traits": {"company": text}})
    assert intake().prepare(event, 0, 0, 1)[0].data["traits"] == {"company": text}
    row = Intake(shipped(), of_objects()).prepare(event, 0, 0, 1)[0]
    assert row.data["traits"] == {"company": text, "company.size": "60"}
    assert event.body["traits"] == {"company": text}


@pytest.mark.parametrize(
    ("told", "size"),
    [
        ({"company.size": "70", "company": '{"size":60}'}, "70"),
        ({"company": '{"size": '}, None),
        ({"company": "Acme"}, None),
        ({"company": "60"}, None),
        ({"company": '{"size":""}'}, ""),
        ({"company": '{"size":null}'}, None),
        ({"company": '[{"size":60}]'}, "60"),
        ({"company": '[{"size":60},{"size":70}]'}, None),
        ({"company": '{"size":1e999}'}, None),
        ({"company": "[" * 60_000}, None),
        ({"company": '{"at":' * 9_000 + "1" + "}" * 9_000}, None),
        ({}, None),
    ],
)
def test_what_is_like_an_object_tells_what_it_can(told: dict[str, str], size: str | None) -> None:
    event = Event("identified", "e", 1, 1, PHONE, {"traits": told})
    row = Intake(shipped(), of_objects()).prepare(event, 0, 0, 1)[0]
    assert read_path("traits.company.size")(row.data) == size


def test_it_is_of_one_length_in_records_of_any_length() -> None:
    """As text a number may be longer than its record."""
    event = Event("identified", "e", 1, 1, PHONE, {"traits": {"company": f'{{"at":[{",".join(["1e14"] * 30)}]}}'}})
    rows = [Intake(shipped(), of_objects()).prepare(event, 0, 0, 1, size)[0] for size in (200, 2_000)]
    assert rows[0] == rows[1]
    assert len(rows[0].data["traits"]["company.at"]) == shape.ITEM_KEPT


def test_in_properties_and_fields_too() -> None:
    for kind, field in (("custom", "properties"), ("form_submitted", "fields")):
        event = Event(
            kind, "e", 1, 1, PHONE, {field: {"company": '{"size":60}'}, **({"name": "n"} if kind == "custom" else {})}
        )
        row = Intake(shipped(), of_objects(kind, field)).prepare(event, 0, 0, 1)[0]
        assert read_path(f"{field}.company.size")(row.data) == "60"


@pytest.mark.parametrize("size", [100, 600, 2_000])
def test_maps_of_the_context_are_cut_alike_in_records_of_any_length(size: int) -> None:
    campaign = {"source": "x" * min(size, 400), "name": "y"}
    event = Event("searched", "e", 1, 1, PHONE, {"query": "q"}, {"campaign": campaign})
    row = intake().prepare(event, 0, 0, 1, size + 100)[0]
    assert row == intake().prepare(event, 0, 0, 1)[0]
    assert row.data["context.campaign"]["source"] == "x" * min(size, shape.ITEM_KEPT)


@pytest.mark.parametrize("kind", schemas.names())
def test_a_row_of_all_that_can_be_asked_for_fits_into_a_record(kind: str) -> None:
    body, context = most(body_schema(kind)), most(context_schema())
    context["consent"] = {f"{n}" + "😀" * 2_000: True for n in range(2_000)}
    ids = {namespace.name: "😀" * 512 for namespace in shipped().identifiers.namespaces}
    event = Event(kind, "😀" * 256, 1, 1, ids, body, context, trace="t" * 128)
    row, _ = intake().prepare(event, 0, 0, 1, size=16_000_000)
    assert len(wire.encode(row)) < wire.PART_BYTES


def most(schema: Any) -> Any:
    """As much as can be told."""
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, list):
        return most(kind[1])
    match kind:
        case "record":
            return {field["name"]: most(field["type"]) for field in schema["fields"]}
        case "map":
            return {f"{n}" + "😀" * 2_000: "😀" * 2_000 for n in range(2_000)}
        case "array":
            return [most(schema["items"])] * 2_000
        case "enum":
            return schema["symbols"][0]
        case "boolean":
            return True
        case "string":
            return "😀" * 16_000
    return 1
