"""The Avro schemas: what they promise, and that they may be exchanged for the committed earlier version in any order.

`tests/data/schemas-baseline/` is that earlier version: the same records without some of the optional fields. It stands
for what producers and consumers out there still use, so it must not be changed to make a test pass.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import avro.schema
import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from pipeline.events import schemas
from pipeline.events.codec import HEADER, Decoder, to_record
from pipeline.events.registry import Registry, connect
from tests.unit.event_samples import sample

BASELINE = Path(__file__).parents[1] / "data" / "schemas-baseline"

TYPES = {
    "clickstream": """page_viewed element_clicked form_submitted searched product_viewed product_added product_removed
        cart_viewed cart_updated cart_cleared checkout_started order_completed order_refunded asset_downloaded
        identified custom""",
    "email": """email_sent email_delivered email_opened email_clicked email_bounced email_complained
        email_unsubscribed""",
    "video": "video_started video_progressed video_paused video_resumed video_sought video_completed",
    "offline": "offline_purchased call_logged store_visited",
}
NAMES = sorted(name for group in TYPES.values() for name in group.split())
ALL = [*NAMES, "decision", "trigger"]


def records(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "record":
            yield node
        for value in node.values():
            yield from records(value)
    elif isinstance(node, list):
        for value in node:
            yield from records(value)


def baseline(name: str) -> str:
    return (BASELINE / f"{name}.avsc").read_text("utf-8")


def compatible(reader: str, writer: str) -> list[str]:
    """What Apache Avro says is wrong with `reader` for bytes of `writer`; nothing: all is well."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(avro.schema.parse(reader), avro.schema.parse(writer))
    return [] if result.compatibility is SchemaCompatibilityType.compatible else [str(m) for m in result.messages]


def test_there_is_a_schema_for_every_event_type_and_no_other() -> None:
    assert sorted(schemas.names()) == NAMES
    assert sorted(path.stem for path in schemas.directory().glob("*.avsc")) == sorted(ALL)
    assert {schemas.types()[full] for full in schemas.names().values()} == set(NAMES)


@pytest.mark.parametrize("name", ALL)
def test_record_is_named_after_its_file(name: str) -> None:
    camel = "".join(part.title() for part in name.split("_"))
    namespace = "behavioural.triggers" if name in schemas.OUTBOUND else "behavioural.events"
    assert schemas.full_name(name) == f"{namespace}.{camel}"
    assert schemas.subject("events.email", name) == f"events.email-{namespace}.{camel}"


@pytest.mark.parametrize("name", ALL)
def test_every_record_and_field_says_what_it_is(name: str) -> None:
    for record in records(schemas.schema(name)):
        assert record.get("doc"), record["name"]
        for field in record["fields"]:
            assert len(field.get("doc", "")) > 3, f"{record['name']}.{field['name']}"


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_body_may_be_left_out(name: str) -> None:
    """So that fields can be added and dropped for ever, in any order of deployment."""
    bodies = [record for record in records(schemas.schema(name)) if record["name"].endswith(("Body", "Product"))]
    assert bodies
    for field in (field for body in bodies for field in body["fields"]):
        nullable = isinstance(field["type"], list) and field["type"][0] == "null" and field["default"] is None
        evolving = field["type"]["type"] == "enum" if isinstance(field["type"], dict) else False
        assert nullable or (evolving and field["default"] == field["type"]["default"]), field["name"]


@pytest.mark.parametrize("name", ALL)
def test_every_enum_knows_what_to_make_of_a_new_symbol(name: str) -> None:
    def enums(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if node.get("type") == "enum":
                yield node
            for value in node.values():
                yield from enums(value)
        elif isinstance(node, list):
            for value in node:
                yield from enums(value)

    for enum in enums(schemas.schema(name)):
        assert enum["default"] in enum["symbols"], enum["name"]


@pytest.mark.parametrize("name", NAMES)
def test_all_event_types_share_one_envelope(name: str) -> None:
    envelope = [field for field in schemas.schema(name)["fields"] if field["name"] != "body"]
    assert envelope == [field for field in schemas.schema("page_viewed")["fields"] if field["name"] != "body"]
    times = {field["name"]: field["type"] for field in envelope if field["name"].endswith("_at")}
    stamp = {"type": "long", "logicalType": "timestamp-millis"}
    assert times == {"occurred_at": stamp, "received_at": stamp}


def test_triggers_and_decisions_hold_the_same() -> None:
    assert schemas.schema("trigger")["fields"] == schemas.schema("decision")["fields"]


def test_the_baseline_covers_every_schema_and_differs() -> None:
    assert sorted(path.stem for path in BASELINE.glob("*.avsc")) == sorted(ALL)
    older = [name for name in ALL if len(list(fields(baseline(name)))) < len(list(fields(schemas.text(name))))]
    assert older == ALL  # `consent` and parts of the context came later for all events


def fields(text: str) -> Iterator[str]:
    for record in records(json.loads(text)):
        for field in record["fields"]:
            yield f"{record['name']}.{field['name']}"


@pytest.mark.parametrize("name", ALL)
def test_apache_avro_finds_both_versions_compatible_both_ways(name: str) -> None:
    assert compatible(reader=schemas.text(name), writer=baseline(name)) == []
    assert compatible(reader=baseline(name), writer=schemas.text(name)) == []


def test_the_compatibility_test_can_fail() -> None:
    broken = schemas.schema("product_added")
    body = next(field["type"] for field in broken["fields"] if field["name"] == "body")
    body["fields"].append({"name": "warehouse", "type": "string"})
    assert any("warehouse" in why for why in compatible(reader=json.dumps(broken), writer=baseline("product_added")))


@pytest.mark.parametrize("name", NAMES)
def test_old_bytes_are_read_with_the_defaults_of_what_they_lack(name: str) -> None:
    registry = connect(f"mock://baseline-{name}")
    old, event = json.loads(baseline(name)), sample(name)
    decoded = Decoder(registry).decode(written(registry, name, old, to_record(event)))

    known = {field.split(".")[1] for field in fields(baseline(name)) if field.startswith(f"{old['name']}Body.")}
    defaults = {"confidence": "unknown", "cause": "paused"}
    lacking = set(event.body) - known
    expected = {key: value for key, value in event.body.items() if key in known}
    expected |= {key: value for key, value in defaults.items() if key in lacking}
    items = {field.split(".")[1] for field in fields(baseline(name)) if field.startswith("Product.")}
    if "products" in expected:
        expected["products"] = [{k: v for k, v in each.items() if k in items} for each in expected["products"]]
    assert decoded.body == expected
    assert (decoded.event_id, decoded.occurred_at, decoded.received_at) == (
        event.event_id,
        event.occurred_at,
        event.received_at,
    )
    assert decoded.identifiers == event.identifiers
    assert decoded.context is not None
    assert set(decoded.context) == {"url", "referrer", "user_agent", "ip", "timezone", "campaign"}


@pytest.mark.parametrize("name", NAMES)
def test_bytes_of_a_newer_version_are_read_without_what_is_new(name: str) -> None:
    registry = connect(f"mock://newer-{name}")
    newer = schemas.schema(name)
    body = next(field["type"] for field in newer["fields"] if field["name"] == "body")
    body["fields"].insert(0, {"name": "new_in_body", "type": ["null", "string"], "default": None})
    newer["fields"].insert(3, {"name": "new_in_envelope", "type": {"type": "array", "items": "string"}, "default": []})
    event = sample(name)
    record = to_record(event)
    record["body"]["new_in_body"], record["new_in_envelope"] = "x", ["y"]
    assert Decoder(registry).decode(written(registry, name, newer, record)) == event


@pytest.mark.parametrize("name", NAMES)
def test_an_old_consumer_reads_what_is_written_now(name: str) -> None:
    out = io.BytesIO()
    event = sample(name)
    fastavro.schemaless_writer(out, schemas.plain(name), to_record(event))
    out.seek(0)
    read: Any = fastavro.schemaless_reader(out, schemas.plain(name), fastavro.parse_schema(json.loads(baseline(name))))
    assert read["event_id"] == event.event_id
    assert set(read["body"]) <= set(event.body)


def written(registry: Registry, name: str, schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(HEADER.pack(0, registry.register(schemas.subject("t", name), json.dumps(schema))))
    fastavro.schemaless_writer(out, fastavro.parse_schema(schemas.stripped(schema)), record)
    return out.getvalue()
