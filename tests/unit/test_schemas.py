"""The Avro schemas: what they promise, and that they may be exchanged for the committed earlier version in any order.

`tests/data/schemas-baseline/` is that earlier version: the same records without some of the optional fields. It stands
for what producers and consumers out there still use, so it must not be changed to make a test pass.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import avro.schema
import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.errors import PipelineError
from pipeline.events import catalogue, schemas
from pipeline.events.codec import HEADER, Decoder, to_record
from pipeline.events.registry import Registry, connect
from pipeline.flow import Intake
from pipeline.triggers.rules import RuleBook
from tests.replayed import shipped
from tests.unit.event_samples import sample

BASELINE = Path(__file__).parents[1] / "data" / "schemas-baseline"

NAMES = sorted(schemas.names())
ALL = [*NAMES, *schemas.OUTBOUND]
BASED = sorted(path.stem for path in BASELINE.glob("*.avsc"))


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
    assert {*CODES.split()} <= {*NAMES}
    assert sorted(path.stem for path in schemas.directory().glob("*.avsc")) == sorted([*ALL, schemas.ENVELOPE])
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


def test_the_baseline_covers_every_schema_that_is_older_and_differs() -> None:
    assert {*BASED} == {*CODES.split(), "decision", "trigger"}
    older = [name for name in BASED if len(list(fields(baseline(name)))) < len(list(fields(schemas.text(name))))]
    assert older == BASED  # `consent` and parts of the context came later for all events


def fields(text: str) -> Iterator[str]:
    for record in records(json.loads(text)):
        for field in record["fields"]:
            yield f"{record['name']}.{field['name']}"


@pytest.mark.parametrize("name", BASED)
def test_apache_avro_finds_both_versions_compatible_both_ways(name: str) -> None:
    assert compatible(reader=schemas.text(name), writer=baseline(name)) == []
    assert compatible(reader=baseline(name), writer=schemas.text(name)) == []


def test_the_compatibility_test_can_fail() -> None:
    broken = schemas.schema("product_added")
    body = next(field["type"] for field in broken["fields"] if field["name"] == "body")
    body["fields"].append({"name": "warehouse", "type": "string"})
    assert any("warehouse" in why for why in compatible(reader=json.dumps(broken), writer=baseline("product_added")))


@pytest.mark.parametrize("name", [name for name in BASED if name in NAMES])
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


@pytest.mark.parametrize("name", [name for name in BASED if name in NAMES])
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


def test_a_schema_that_profiles_do_not_know_is_found_before_an_event_comes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else its events pass the first hop, and the second raises for ever."""
    assert catalogue.problems() == []
    monkeypatch.setattr(schemas, "names", lambda: {**NAMED(), "coupon_used": "CouponUsed"})
    monkeypatch.setattr(schemas, "annotated", lambda name: COUPON_USED if name == "coupon_used" else FILES(name))
    monkeypatch.setattr(catalogue, "_read", READ.__wrapped__)
    with pytest.raises(PipelineError, match=r"coupon_used\.avsc: the event type coupon_used can't be counted: "):
        Intake(shipped(), RuleBook(shipped()))
    told = CliRunner().invoke(cli, ["lint", str(Path(__file__).parents[2] / "topology.yaml")])
    assert told.exit_code == 1
    assert "coupon_used.avsc:1:1: error uncounted-type: " in told.output


FILES, NAMED = schemas.annotated, schemas.names
READ: Any = catalogue._read
BODY = {
    "name": "body",
    "type": {"name": "CouponUsedBody", "type": "record", "fields": [{"name": "coupon", "type": "string"}]},
}
COUPON_USED = {"name": "CouponUsed", "fields": [BODY]}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (None, "no `pipeline` in it"),
        ({}, "missing required field `code`"),
        ({"code": "5", "stream": "email"}, "Expected `int`"),
        (
            {"code": 5, "stream": "email"},
            "its code, 5, is that of product_added: take ",
        ),
        ({"code": 64, "stream": "email"}, "code: 64, and the compiled counter has room for 0 to 63"),
        ({"code": 32, "stream": "mail"}, "stream: 'mail' is none of clickstream, email, offline, video"),
        ({"code": 32, "stream": "email", "label": ["name"]}, "label: 'name' is none of coupon"),
        (
            {"code": 32, "stream": "email", "label": ["coupon"] * 4},
            "label: 4 fields, and the compiled counter",
        ),
        ({"code": 32, "stream": "email", "reads": ["price"]}, "reads: 'price' is none of coupon"),
        ({"code": 32, "stream": "email", "parts": {"basket": "put"}}, "parts: 'basket' is none of cart, film"),
        ({"code": 32, "stream": "email", "parts": {"cart": "drop"}}, "parts: cart: 'drop' is none of put, set, take"),
        ({"code": 32, "stream": "email", "labels": []}, "unknown field `labels`"),
    ],
)
def test_what_is_wrong_in_a_types_own_words_is_said(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, Any] | None, said: str
) -> None:
    file = COUPON_USED if told is None else COUPON_USED | {"pipeline": told}
    monkeypatch.setattr(schemas, "names", lambda: [*NAMED(), "coupon_used"])
    monkeypatch.setattr(schemas, "annotated", lambda name: file if name == "coupon_used" else FILES(name))
    types, wrong = READ.__wrapped__()
    assert "coupon_used" not in types
    ((path, text),) = wrong
    assert path.name == "coupon_used.avsc"
    assert said in text


def test_codes_are_what_stands_in_profiles() -> None:
    """Stored numbers: none may ever change, a new type takes the next."""
    assert list(catalogue.catalogue())[:32] == CODES.split()
    assert [each.code for each in catalogue.catalogue().values()][:32] == list(range(32))


CODES = """page_viewed element_clicked form_submitted searched product_viewed product_added product_removed cart_viewed
    cart_cleared checkout_started order_completed order_refunded asset_downloaded identified custom email_sent
    email_delivered email_opened email_clicked email_bounced email_complained email_unsubscribed video_started
    video_progressed video_paused video_resumed video_sought video_completed offline_purchased call_logged store_visited
    cart_updated"""


def test_nobody_else_sees_our_own_words() -> None:
    for name in ALL:
        assert not {"pipeline", "form", "keeps"} & {key for node in nodes(schemas.schema(name)) for key in node}


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(value)


@pytest.mark.parametrize("name", ["product_removed", "page_viewed"])
def test_a_file_without_our_own_words_is_a_finding_not_a_traceback(tmp_path: Path, name: str) -> None:
    """Also of a type that other modules need when they are imported."""
    shutil.copytree(Path(schemas.__file__).parents[1], tmp_path / "pipeline", ignore=shutil.ignore_patterns("_*.so"))
    shutil.copytree(schemas.directory(), tmp_path / "schemas")
    file = json.loads(schemas.path(name).read_text("utf-8"))
    del file["pipeline"]
    (tmp_path / "schemas" / f"{name}.avsc").write_text(json.dumps(file))
    topology, nothing = Path(__file__).parents[2] / "topology.yaml", tmp_path / "nothing.jsonl"
    nothing.touch()
    for command, said in (
        (["lint", topology], f"{name}.avsc:1:1: error uncounted-type: "),
        (["replay", "--topology", topology, nothing], f"{name}.avsc: the event type {name} can't be counted: "),
    ):
        called = [sys.executable, "-m", "pipeline.cli", *map(str, command)]
        done = subprocess.run(called, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert said in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
