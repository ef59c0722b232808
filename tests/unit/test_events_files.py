"""FileLine events from files: every good one comes out, every bad one is named, and neither stops the other."""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipeline.events import schemas
from pipeline.events.codec import to_record
from pipeline.events.files import MAX_LINE, FileLine, parse, read
from pipeline.events.model import Event
from tests.unit.event_samples import NOW, sample

BASELINE = Path(__file__).parents[1] / "data" / "schemas-baseline"


def segment(number: int, **parts: Any) -> bytes:
    obj = {"type": "track", "event": "Product Added", "messageId": f"m-{number}", "userId": "u", **parts}
    return json.dumps({"timestamp": "2026-11-22T19:00:00Z", **obj}).encode()


def told(lines: list[FileLine]) -> list[tuple[int, str]]:
    """(number, event id or reason) of each line."""
    return [(line.number, line.event.event_id if line.event else why(line)) for line in lines]


def why(line: FileLine) -> str:
    assert line.error is not None
    assert line.event is None
    return line.error.reason


def written(path: Path, content: bytes) -> list[FileLine]:
    path.write_bytes(content)
    lines = list(read(path))
    assert {line.file for line in lines} <= {str(path)}
    return lines


def test_json_lines(tmp_path: Path) -> None:
    content = segment(1) + b"\n\n  \r\n" + segment(4) + b"\r\n" + segment(5)
    lines = written(tmp_path / "events.jsonl", content)
    assert told(lines) == [(1, "m-1"), (4, "m-4"), (5, "m-5")]
    assert [line.raw for line in lines] == [segment(1), segment(4), segment(5)]


def test_the_format_is_told_by_the_content(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + segment(1) + b"\n" + segment(2) + b"\n"
    for name, data in (("a.jsonl.gz", gzip.compress(content)), ("b", gzip.compress(content)), ("c.gz", content)):
        assert told(written(tmp_path / name, data)) == [(1, "m-1"), (2, "m-2")]


def test_gzip_files_in_several_pieces(tmp_path: Path) -> None:
    pieces = gzip.compress(segment(1) + b"\n") + gzip.compress(segment(2) + b"\n")
    assert told(written(tmp_path / "events.gz", pieces)) == [(1, "m-1"), (2, "m-2")]


@pytest.mark.parametrize("content", [b"", b"\n\n", b" ", gzip.compress(b"")])
def test_nothing(tmp_path: Path, content: bytes) -> None:
    assert written(tmp_path / "empty", content) == []


def test_bad_lines_stop_nothing(tmp_path: Path) -> None:
    bad = {
        b"{": "invalid_json",
        b"null": "invalid_shape",
        b"[1]": "invalid_shape",
        b"{}": "invalid_shape",
        b'{"type": "track", "event": "\xff"}': "invalid_time",
        b"\x00\x01\x02": "invalid_json",
        b"hello, world": "invalid_json",
        segment(0)[:-1] + b',"a":' + b"[" * 100_000: "invalid_json",
        segment(0)[:-1] + b',"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}": "m-0",
        segment(0, timestamp="soon"): "invalid_time",
        b'"' + b"x" * (3 * MAX_LINE) + b'"': "too_large",
        b'"' + b"x" * (MAX_LINE - 1) + b'"': "too_large",
        segment(0, more="x" * MAX_LINE): "too_large",
    }
    content = b"".join(raw + b"\n" + segment(1) + b"\n" for raw in bad)
    lines = written(tmp_path / "events.jsonl", content)
    assert [told([line])[0][1] for line in lines] == [out for reason in bad.values() for out in (reason, "m-1")]
    assert [line.number for line in lines] == list(range(1, 2 * len(bad) + 1))
    assert [line.raw for line in lines[::2]] == [raw[:MAX_LINE] for raw in bad]


def test_a_line_just_short_enough(tmp_path: Path) -> None:
    padded = segment(1) + b" " * (MAX_LINE - len(segment(1)))
    for end in (b"\n", b"\r\n", b""):
        assert told(written(tmp_path / "events.jsonl", padded + end)) == [(1, "m-1")]


def test_a_line_may_tell_two_events() -> None:
    line = segment(1, type="alias", previousId="p", anonymousId="a")
    assert [event.identifiers["anonymous_id"] for event in parse(line)] == ["p", "a"]


def test_a_gzip_file_that_was_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    noise = random.Random(1)  # what doesn't compress, so that the cut leaves some of it readable
    lines = [segment(n, properties={"sku": noise.randbytes(200).hex()}) for n in range(1, 2000)]
    whole = gzip.compress(b"\n".join(lines))
    out = written(tmp_path / "events.gz", whole[: len(whole) // 2])
    assert len(out) > 500
    assert all(line.event for line in out[:-1])
    assert (why(out[-1]), out[-1].number) == ("truncated", len(out))
    damaged = written(
        tmp_path / "events.gz", whole[: len(whole) // 2] + b"\xff" * 1000 + whole[len(whole) // 2 + 1000 :]
    )
    assert why(damaged[-1]) == "truncated"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read(tmp_path / "none.jsonl"))


# --- Avro containers


def container(
    name: str, records: list[dict[str, Any]], codec: str = "null", schema: Any = None, **options: Any
) -> bytes:
    out = io.BytesIO()
    parsed = fastavro.parse_schema(schema or schemas.schema(name))
    fastavro.writer(out, parsed, records, codec=codec, sync_marker=b"0123456789abcdef", **options)
    return out.getvalue()


def record(name: str, **changes: Any) -> dict[str, Any]:
    return {**to_record(sample(name)), **changes}


@pytest.mark.parametrize("name", sorted(schemas.names()))
def test_containers_of_every_type(tmp_path: Path, name: str) -> None:
    records = [record(name, event_id=f"e-{number}") for number in range(300)]
    lines = written(tmp_path / "events.avro", container(name, records, "deflate"))
    assert told(lines) == [(number + 1, f"e-{number}") for number in range(300)]
    assert lines[0].event is not None
    lines[0].event.event_id = sample(name).event_id
    assert lines[0].event == sample(name)


def test_a_gzipped_container(tmp_path: Path) -> None:
    content = gzip.compress(container("searched", [record("searched")]))
    assert told(written(tmp_path / "events.avro.gz", content)) == [(1, "searched-1")]


def test_a_gzipped_container_that_was_cut_off(tmp_path: Path) -> None:
    records = [record("searched", event_id=f"event-{number}") for number in range(2000)]
    content = gzip.compress(container("searched", records, sync_interval=500))
    lines = written(tmp_path / "events.avro.gz", content[: len(content) // 2])
    assert len(lines) > 500
    assert told(lines) == [(n + 1, f"event-{n}") for n in range(len(lines) - 1)] + [(len(lines), "truncated")]


def test_a_container_of_an_earlier_version(tmp_path: Path) -> None:
    old = json.loads((BASELINE / "email_opened.avsc").read_text("utf-8"))
    records = [record("email_opened")]
    (line,) = written(tmp_path / "events.avro", container("email_opened", records, schema=old))
    assert line.event is not None
    assert line.event.body == {"message_id": "message_id é", "campaign": "campaign é", "confidence": "unknown"}


def test_a_container_of_something_else(tmp_path: Path) -> None:
    other = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "string"}]}
    content = container("searched", [{"a": "x"}], schema=other)
    assert told(written(tmp_path / "events.avro", content)) == [(1, "wrong_schema")]
    trigger = container("searched", [], schema=schemas.schema("trigger"))
    assert told(written(tmp_path / "events.avro", trigger)) == [(1, "wrong_schema")]


def test_invalid_records_of_a_container_stop_nothing(tmp_path: Path) -> None:
    bad: list[dict[str, Any]] = [
        {"received_at": -1, "occurred_at": 0},
        {"body": {"results": 1}},
        {"occurred_at": 2**39, "received_at": -5},
        {"identifiers": {"user_id": "u" * 600}},
    ]
    records = [{**record("searched"), **changes} for changes in bad]
    lines = written(tmp_path / "events.avro", container("searched", records))
    assert told(lines) == [(1, "invalid_time"), (2, "searched-1"), (3, "invalid_time"), (4, "searched-1")]


def test_text_that_is_not_utf_8_in_a_container(tmp_path: Path) -> None:
    records = [record("searched", event_id=f"event-{number}") for number in range(3)]
    content = container("searched", records).replace(b"\x10query", b"\x10qu\xffry", 1)
    first, *others = written(tmp_path / "events.avro", content)
    assert told([first, *others]) == [(1, "event-0"), (2, "event-1"), (3, "event-2")]
    assert first.event is not None
    assert first.event.body["query"] == "qu\ufffdry é"


def test_a_damaged_block_does_not_take_the_next_one_along(tmp_path: Path) -> None:
    records = [record("searched", event_id=f"event-{number}") for number in range(6)]
    content = container("searched", records, sync_interval=2 * len(container("searched", records[:1])) // 20)
    assert content.count(b"0123456789abcdef") > 3
    damaged = content.replace(b"\x0eevent-1", b"\x0devent-1")  # a negative length
    lines = written(tmp_path / "events.avro", damaged)
    good = {event_id for _, event_id in told(lines) if event_id.startswith("event-")}
    assert good >= {"event-0", "event-5"}
    assert "event-1" not in good
    assert [why(line) for line in lines if line.error] == ["undecodable"]


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_container_cut_off_anywhere(tmp_path: Path, codec: str) -> None:
    records = [record("searched", event_id=f"event-{number}") for number in range(4)]
    content = container("searched", records, codec, sync_interval=50)
    whole = told(written(tmp_path / "events.avro", content))
    assert [event_id for _, event_id in whole] == [f"event-{number}" for number in range(4)]
    marker = b"0123456789abcdef"
    ends = {at + 16 for at in range(len(content)) if content[at:].startswith(marker)}
    for length in range(4, len(content)):
        lines = written(tmp_path / "events.avro", content[:length])
        good = [line for line in lines if line.event]
        assert told(good) == whole[: len(good)]
        assert len(lines) == len(good) + (length not in ends), length  # where it ends in between, that is told


def test_times_of_a_container_are_milliseconds(tmp_path: Path) -> None:
    (line,) = written(tmp_path / "events.avro", container("searched", [record("searched")]))
    assert isinstance(line.event, Event)
    assert (line.event.occurred_at, line.event.received_at) == (NOW, NOW + 100)


# --- other clients' JSON

POSTHOG = {
    "uuid": "p-1",
    "event": "$pageview",
    "distinct_id": "u",
    "properties": {},
    "timestamp": "2026-11-22T19:00:00Z",
}
SNOWPLOW = {"e": "pv", "eid": "s-1", "duid": "d", "tv": "js-4.6.0", "dtm": "1795942800000"}
PAYLOAD = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"


@pytest.mark.parametrize(
    ("obj", "ids"),
    [
        (POSTHOG, ["p-1"]),
        (POSTHOG | {"distinct_id": None, "properties": {"distinct_id": "u", "$lib": "web"}}, ["p-1"]),
        ([POSTHOG, SNOWPLOW, json.loads(segment(1))], ["p-1", "s-1", "m-1"]),
        ({"api_key": "k", "batch": [POSTHOG, 7], "sent_at": "2026-11-22T19:00:01Z"}, ["p-1", "invalid_shape"]),
        (SNOWPLOW, ["s-1"]),
        ({"schema": PAYLOAD, "data": [SNOWPLOW, {**SNOWPLOW, "e": "?"}]}, ["s-1", "invalid_shape"]),
        ({"schema": PAYLOAD, "data": [SNOWPLOW | {"e": "tr", "eid": "1", "tr_id": 1}, {"e": "ti", "ti_id": 1}]}, ["1"]),
    ],
)
def test_what_posthog_and_snowplow_record(tmp_path: Path, obj: object, ids: list[str]) -> None:
    lines = written(tmp_path / "events.json", json.dumps(obj).encode())
    assert [line.event.event_id if line.event else why(line) for line in lines] == ids
    kinds = {"p-1": "page_viewed", "s-1": "page_viewed", "m-1": "product_added", "1": "order_completed"}
    assert all(line.event.type == kinds[line.event.event_id] for line in lines if line.event)


def test_what_a_batch_of_posthogs_tells_of_all(tmp_path: Path) -> None:
    batch = {"batch": [{"event": "x", "distinct_id": "u", "offset": 2000}], "sent_at": "2026-11-22T19:00:02Z"}
    (line,) = written(tmp_path / "events.json", json.dumps(batch).encode())
    assert line.event is not None
    assert line.event.occurred_at == 1_795_374_000_000


@pytest.mark.parametrize(
    "parts",
    [
        {"type": "track", "distinct_id": "d"},
        {"type": None, "distinct_id": "d"},
        {"e": "pv", "eid": "s-1"},
    ],
)
def test_segments_calls_stay_segments(tmp_path: Path, parts: dict[str, Any]) -> None:
    (line,) = written(tmp_path / "events.json", segment(1, **parts))
    assert line.event is not None
    assert (line.event.type, line.event.identifiers) == ("product_added", {"user_id": "u"})


def test_what_may_be_somebody_elses_is_not_taken_for_posthogs(tmp_path: Path) -> None:
    mixpanel = {"event": "Signed Up", "properties": {"distinct_id": "d", "time": 1795942800}, "timestamp": 1795942800}
    (line,) = written(tmp_path / "events.json", json.dumps(mixpanel).encode())
    assert line.event is not None
    assert line.event.identifiers == {}


def test_a_payload_may_be_larger_than_an_event(tmp_path: Path) -> None:
    found = [{**SNOWPLOW, "eid": f"s-{n}", "page": "x" * 60_000} for n in range(40)]
    lines = written(tmp_path / "events.json", json.dumps({"schema": PAYLOAD, "data": found}).encode())
    assert [line.event.event_id for line in lines if line.event] == [each["eid"] for each in found]
