"""Files as people really send them: any layout of the same objects reads the same; what is broken costs itself."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.events.files import MAX_LINE, FileLine, RecordedFile, parse, read
from pipeline.events.json_text import NO_NUMBER, TOO_DEEP, WINDOWS_1252, text_of
from pipeline.events.json_values import Value, values
from pipeline.events.unpack import CHUNK, unpacked
from tests.unit.test_events_files import segment, told, why, written

NOON = "2026-11-22T19:00:00Z"


def event(number: int, **parts: Any) -> dict[str, Any]:
    obj = {"type": "track", "event": "Product Added", "messageId": f"m-{number}", "userId": "u", "timestamp": NOON}
    return {**obj, "properties": {"products": [{"product_id": "p"}, {"product_id": "q"}]}, **parts}


def found(content: bytes, size: int = CHUNK) -> list[Value]:
    pieces = (content[at : at + size] for at in range(0, len(content), size))
    return list(values(text_of(unpacked(pieces))))


def ids(lines: list[FileLine]) -> list[str]:
    return [line.event.event_id if line.event else why(line) for line in lines]


# --- layouts

ONE, TWO, THREE = (json.dumps(event(n)) for n in (1, 2, 3))
PRETTY = [json.dumps(event(n), indent=2) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "text",
    [
        f"[{ONE},{TWO},{THREE}]",
        f"[\n{ONE},\n{TWO},\n{THREE}\n]\n",
        f"[\n{ONE}\n,{TWO}\n,{THREE}\n]\n",
        f"[{ONE}]\n[{TWO},{THREE}]\n[]\n",
        f"[[{ONE}],[{TWO}],[],{THREE}]",
        f"{ONE}{TWO} {THREE}",
        f"{ONE},{TWO}\n{THREE},",
        "\n".join(PRETTY),
        json.dumps([event(1), event(2), event(3)], indent=4),
        "\r".join((ONE, TWO, THREE)),
        "\r\n".join((ONE, TWO, THREE)),
        f"\x1e{ONE}\n\x1e{TWO}\n\x1e{THREE}\n",
        f"\ufeff{ONE}\n\ufeff{TWO}\ufeff\n{THREE}\ufeff",
        f"{ONE}\n{PRETTY[1]}\n[{THREE}]",
        json.dumps({"batch": [event(1), event(2), event(3)]}),
        json.dumps({"events": [event(1), event(2)]}) + json.dumps({"data": [event(3)]}),
        json.dumps({"batch": [event(1), event(2), event(3)], "sentAt": NOON}, indent=2),
    ],
)
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_layouts(tmp_path: Path, text: str, code: str) -> None:
    mark = "\ufeff" if code.endswith(("-le", "-be")) else ""
    lines = written(tmp_path / "events", (mark + text).encode(code))
    assert ids(lines) == ["m-1", "m-2", "m-3"]
    assert all(parse(line.raw) == [line.event] for line in lines)


@pytest.mark.parametrize("text", ["[]", "[\n]\n", "\ufeff", "\n\r\n\r", '{"batch": []}', ",", "\x1e\n"])
def test_nothing(tmp_path: Path, text: str) -> None:
    assert written(tmp_path / "events", text.encode()) == []


def test_where_a_value_begins(tmp_path: Path) -> None:
    text = f"[\n  {ONE},\r\n  {TWO}, {THREE}]\r{ONE}\n\n  {PRETTY[1]}{THREE}"
    lines = written(tmp_path / "events", text.encode())
    behind = len(PRETTY[1].splitlines())
    assert [(line.number, line.column) for line in lines] == [
        (2, 3), (3, 3), (3, 5 + len(TWO)), (4, 1), (6, 3), (5 + behind, 2),
    ]  # fmt: skip


def test_a_batch_tells_its_events_what_they_lack(tmp_path: Path) -> None:
    first, second = event(1, sentAt=None, context={"ip": "1.1.1.1"}), event(2, userId="other", receivedAt=NOON)
    envelope = {
        "batch": [first, second],
        "receivedAt": "2026-11-22T19:00:09Z",
        "anonymousId": "a",
        "userId": "x",
        "context": {"ip": "2.2.2.2", "locale": "de-CH"},
    }
    one, two = (line.event for line in written(tmp_path / "events", json.dumps(envelope).encode()))
    assert one is not None
    assert two is not None
    assert one.received_at - two.received_at == 9_000
    assert (one.identifiers, two.identifiers["user_id"]) == ({"anonymous_id": "a", "user_id": "u"}, "other")
    assert one.context == {"ip": "1.1.1.1", "locale": "de-CH"}
    assert two.context == {"ip": "2.2.2.2", "locale": "de-CH"}


def test_a_batch_may_be_larger_than_an_event(tmp_path: Path) -> None:
    batch = {"batch": [event(n, context={"userAgent": "x" * 1000}) for n in range(3000)], "userId": "u"}
    assert ids(written(tmp_path / "events", json.dumps(batch).encode())) == [f"m-{n}" for n in range(3000)]


def test_an_event_with_a_list_is_no_batch(tmp_path: Path) -> None:
    assert ids(written(tmp_path / "events", json.dumps(event(1, batch=[event(2)], data=[event(3)])).encode())) == [
        "m-1"
    ]


# --- against the rules


@pytest.mark.parametrize(
    "wrong, right, remarks",
    [
        (b"NaN", None, (NO_NUMBER,)),
        (b"-Infinity", None, (NO_NUMBER,)),
        (b"1e999", None, (NO_NUMBER,)),
        (b"[1, 2,]", [1, 2], ()),
        (b'{"a": 1, }', {"a": 1}, ()),
        (b'"a\tb\nc"', "a\tb\nc", ()),
        (rb'"\ud83d \ud83d\ude00 \\ud83d"', "\ud83d \U0001f600 \\ud83d", ()),
        (b'"Z\xfcrich \xe2\x82\xac \x80"', "Zürich € €", (WINDOWS_1252,)),
        (b'"Z\xfcrich \\ud83d",', "Zürich \ud83d", (WINDOWS_1252,)),
    ],
)
@pytest.mark.parametrize("size", [1, CHUNK])
def test_what_encoders_write_against_the_rules(wrong: bytes, right: Any, remarks: Any, size: int) -> None:
    for around in (b"%s\n%s", b"%s %s", b"[%s,%s]"):
        lines = found(around % (b'{"a": %s}' % wrong, b'{"b": 1}'), size)
        assert [(value.value, value.remarks, value.error) for value in lines] == [
            ({"a": right}, remarks, None),
            ({"b": 1}, (), None),
        ]


def test_remarks_reach_the_events(tmp_path: Path) -> None:
    content = segment(1).replace(b'"u"', b'"Z\xfcrich"')
    (line,) = written(tmp_path / "events", content)
    assert line.event is not None
    assert line.event.identifiers == {"user_id": "Zürich"}
    assert WINDOWS_1252 in line.event.remarks
    assert line.raw == content


def test_numbers_of_hundreds_of_digits() -> None:
    (value,) = found(b'{"a": %s}' % (b"9" * 400))
    assert value.error is None


# --- broken


@pytest.mark.parametrize("cut", range(1, len(ONE)))
def test_a_line_that_is_cut_off_costs_itself(cut: int) -> None:
    lines = found(f"{TWO}\n{ONE[:cut]}\n{TWO}\n{THREE}\n".encode())
    assert [value.value for value in lines if value.error is None] == [event(2), event(2), event(3)]
    assert [(value.number, value.column) for value in lines if value.error] == [(2, 1)]


@pytest.mark.parametrize(
    "wrong", ['{"a": ,"b": {"c": [{}]}}', '{"a": "b"c"}', "{a: 1}", '{"a": tru}', "{]}", "nothing"]
)
def test_a_broken_element_of_an_array_costs_itself(wrong: str) -> None:
    one_line, lines = f"[{ONE},{wrong},{TWO},{THREE}]", f"[\n  {ONE},\n  {wrong},\n  {TWO},\n  {THREE}\n]"
    for text in (one_line, lines):
        told = found(text.encode())
        assert [value.value for value in told if value.error is None] == [event(1), event(2), event(3)]
        assert len(told) == 4
    pretty = json.dumps([event(1), event(2), event(3)], indent=2).replace('"m-2"', "m-2")
    told = found(pretty.encode())
    assert [value.value for value in told if value.error is None] == [event(1), event(3)]
    assert len(told) == 3


@pytest.mark.parametrize("cut", range(1, len(ONE)))
def test_a_line_that_was_cut_off_and_gone_on_with_costs_itself(cut: int) -> None:
    for next_one in (TWO, PRETTY[1]):
        lines = found(f"{ONE[:cut]}{next_one}\n{THREE}\n".encode())
        assert [value.value for value in lines if value.error is None] == [event(2), event(3)]
        assert [(value.number, value.column) for value in lines if value.error] == [(1, 1)]


def test_an_event_inside_of_what_is_broken_is_no_event() -> None:
    for behind in ("}}", ', "a": 1}}', "\n}}", '\n, "a": 1}}'):
        lines = found(f'{{"type": "track" "properties": {{"cause": {ONE}{behind}\n{TWO}'.encode())
        assert [value.value for value in lines if value.error is None] == [event(2)]


@pytest.mark.parametrize("opened, closed", [("[", "]"), ('{"a": ', "}"), ('[{"b}": ', "}]")])
@pytest.mark.parametrize("size", [7, CHUNK])
def test_what_lies_too_deep_is_left_out(opened: str, closed: str, size: int) -> None:
    deep = f'{{"deep": {opened * 5000}"[{{"{closed * 5000}, "event": {ONE}}}'
    for text in (f"{deep}\n{TWO}", f"[{deep}, {TWO}]"):
        one, two = found(text.encode(), size)
        assert one.error is two.error is None
        assert (one.value["event"], one.remarks, two.value) == (event(1), (TOO_DEEP,), event(2))


def test_errors_tell_where(tmp_path: Path) -> None:
    lines = written(tmp_path / "events", b"[\n  " + ONE.encode() + b',\n  {"a": 1,\n   "b" 2},\n  {}, 7]')
    assert [(line.number, line.column) for line in lines] == [(2, 3), (3, 3), (5, 3), (5, 7)]
    assert "breaks in line 4, column 8" in str(lines[1].error)


def test_an_array_without_an_end(tmp_path: Path) -> None:
    assert ids(written(tmp_path / "events", f"\n[{ONE},\n{TWO}".encode())) == ["m-1", "m-2", "truncated"]


SMALL = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), SMALL, max_size=4), max_size=6)


@settings(max_examples=200, deadline=None)
@given(objects=OBJECTS, data=st.data())
def test_any_mix_of_layouts_reads_as_the_same_objects(objects: list[dict[str, Any]], data: st.DataObject) -> None:
    out, left = "", list(objects)
    between = st.sampled_from(["", " ", "\n", "\r\n", "\r", ",", " ,\n", "\ufeff", "\x1e", "\n\n\n"])
    while left:
        taken, left = left[: (size := data.draw(st.integers(1, 3)))], left[size:]
        written = [
            json.dumps(obj, indent=data.draw(st.sampled_from([None, 1])), ensure_ascii=data.draw(st.booleans()))
            for obj in taken
        ]
        inside = data.draw(st.sampled_from([",", ",\n", "\n,", "\r\n"]))
        out += f"[{inside.join(written)}]" if data.draw(st.booleans()) else data.draw(between).join(written)
        out += data.draw(between)
    code = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
    lines = found(out.encode(code), data.draw(st.sampled_from([1, 7, CHUNK])) if code == "utf-8" else CHUNK)
    assert [value.error for value in lines] == [None] * len(objects)
    assert [value.value for value in lines] == objects


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_costs_its_line_at_most(data: st.DataObject) -> None:
    content = [json.dumps(event(n, more=data.draw(SMALL))).encode() for n in range(4)]
    at = data.draw(st.integers(0, len(content[1])))
    byte = data.draw(st.integers(0, 255) | st.sampled_from(b'"{}[],:\\\n\r'))
    two = content[1] + b"\n"
    damaged = content[0] + b"\n" + two[:at] + bytes([byte]) + two[at + 1 :] + content[2] + b"\n" + content[3] + b"\n"
    good = [value.value["messageId"] for value in found(damaged) if value.error is None and "messageId" in value.value]
    assert [number for number in good if number in ("m-0", "m-2", "m-3")] == ["m-0", "m-2", "m-3"]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_bytes_raise(data: st.DataObject) -> None:
    content = bytearray(f"[{ONE},\n{PRETTY[1]}]\n{THREE}".encode())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found(bytes(content[: data.draw(st.integers(0, len(content)))]), data.draw(st.sampled_from([3, CHUNK])))


@given(st.binary(max_size=200))
def test_no_file_raises(content: bytes) -> None:
    found(b"{" + content)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":[' * 50_000,
        b'{"a":[\n' * 20_000,
        b"[{" * 100_000,
        b"}" * 3_000_000,
        b"\n" * 3_000_000,
        b'"{\n' * 100_000,
        b'{"type":"\n' * 40_000,
        b'{"type":' * 60_000,
        (b'{"type":' * 900 + b"\n") * 60,
        b'{"a":' * 60_000 + b"1" + b"}" * 60_000,
        b"[" * 1_000_000,
        bytes(range(256)) * 8_000,
        b"{" * 100 + b'"type' + b"x" * 5_000_000,
    ],
    ids=range(13),
)
def test_nonsense_takes_little_time(content: bytes) -> None:
    started = time.process_time()
    found(content)
    assert time.process_time() - started < 10


# --- packed


def lines_of(content: bytes) -> list[bytes]:
    return [line for line in content.split(b"\n") if line]


def zcat(content: bytes) -> bytes:
    """What comes out of the first member, byte by byte."""
    member, out = zlib.decompressobj(31), b""
    for at in range(len(content)):
        try:
            out += member.decompress(content[at : at + 1])
        except zlib.error:
            break
    return out


PACKED = gzip.compress(b"".join(b'{"n": %d, "noise": "%s"}\n' % (n, str(hash(n**9)).encode()) for n in range(400)))


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(3, len(PACKED)), size=st.sampled_from([1, 100, CHUNK]))
def test_gzip_cut_anywhere_gives_what_can_be_unpacked(cut: int, size: int) -> None:
    lines = found(PACKED[:cut], size)
    whole = [json.loads(line) for line in zcat(PACKED[:cut]).split(b"\n")[:-1]]
    assert [value.value for value in lines if value.error is None][: len(whole)] == whole
    assert [value.error.reason for value in lines if value.error] == ["truncated"] * (cut < len(PACKED))


@settings(max_examples=100, deadline=None)
@given(at=st.integers(10, len(PACKED) - 1), byte=st.integers(0, 255))
def test_gzip_damaged_anywhere_gives_what_can_be_unpacked(at: int, byte: int) -> None:
    damaged = PACKED[:at] + bytes([byte]) + PACKED[at + 1 :]
    got = [value.value for value in found(damaged + PACKED) if value.error is None]
    before, whole = ([json.loads(line) for line in zcat(packed).split(b"\n")[:-1]] for packed in (PACKED[:at], PACKED))
    assert got[: len(before)] == before
    assert got[-len(whole) :] == whole  # another member that is joined to it


def test_rubbish_behind_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(segment(1) + b"\n")
    assert told(written(tmp_path / "a", packed + b"hello")) == [(1, "m-1"), (2, "truncated")]
    assert told(written(tmp_path / "b", packed + bytes(1000))) == [(1, "m-1")]  # padding
    lines = written(tmp_path / "c", packed + b"hello" + gzip.compress(segment(2)))
    assert told(lines) == [(1, "m-1"), (2, "truncated"), (2, "m-2")]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packers(tmp_path: Path, pack: Any) -> None:
    packed = pack(segment(1) + b"\n" + segment(2))
    assert ids(written(tmp_path / "events", packed)) == ["m-1", "m-2"]
    assert ids(written(tmp_path / "events", pack(segment(1) + b"\n") + packed)) == ["m-1", "m-1", "m-2"]
    assert ids(written(tmp_path / "events", packed[:-1]))[-1] == "truncated"
    assert ids(written(tmp_path / "events", packed + b"?"))[-1] == "truncated"


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"PAR1"])
def test_what_must_be_unpacked_first(tmp_path: Path, magic: bytes) -> None:
    (line,) = written(tmp_path / "events", magic + bytes(100))
    assert why(line) == "wrong_format"


def test_text_behind_what_is_none(tmp_path: Path) -> None:
    """Zeros that a crash left in a log, or a tar archive's header."""
    lines = written(tmp_path / "events", bytes(5000) + segment(1) + b"\n" + segment(2))
    assert ids(lines) == ["invalid_json", "m-1", "m-2"]


def test_how_much_was_read(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(PACKED)
    recording = RecordedFile(tmp_path / "events")
    assert recording.done == 0
    assert len(list(read(recording))) == 400
    assert recording.done == recording.size == len(PACKED)


def test_an_event_that_is_too_large_costs_itself(tmp_path: Path) -> None:
    large = json.dumps(event(0, more="x" * (3 * MAX_LINE)))
    for text in (f"{ONE}\n{large}\n{TWO}\n", f"[{ONE},{large},{TWO}]"):
        assert ids(written(tmp_path / "events", text.encode())) == ["m-1", "too_large", "m-2"]
