"""Recorded events from files: Segment's JSON, an object a line, and Avro containers of our schemas; both also gzipped.

A bad line never stops the rest: it comes out with its error, file and number, for the dead letters.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import fastavro
import msgspec

from pipeline.errors import InvalidEvent
from pipeline.events import codec
from pipeline.events.model import Event
from pipeline.events.segment import translate

MAX_LINE = 1024 * 1024
"""Bytes. Kafka takes no record of this size either."""

_GZIP = b"\x1f\x8b"
_AVRO = b"Obj\x01"
_BOM = b"\xef\xbb\xbf"


class Line(msgspec.Struct, gc=False):
    """One event of a file, or what is wrong there: either `event` or `error` is given.

    `number` counts lines (in an Avro container: records) from 1; a line may tell two events. `raw` is the line as it
    stands, without its end, cut at MAX_LINE; or the record's Avro body.
    """

    file: str
    number: int
    raw: bytes
    event: Event | None = None
    error: InvalidEvent | None = None


def read(path: str | Path) -> Iterator[Line]:
    """All lines of a file, in order, blank ones left out. The format is told by the first bytes, not by the name.

    Raises OSError where the file can't be opened or read.
    """
    with open(path, "rb") as file:
        stream: IO[bytes] = file
        if file.peek(2)[:2] == _GZIP:
            stream = io.BufferedReader(gzip.GzipFile(fileobj=file))
        number = 0
        try:
            lines = _container if _starts_with(stream, _AVRO) else _json_lines
            for line in lines(stream, str(path)):
                number = line.number
                yield line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            why = f"from here on the file can't be unpacked, it is damaged or cut off: {error}"
            yield Line(str(path), number + 1, b"", error=InvalidEvent("truncated", why))


def parse(raw: bytes) -> list[Event]:
    """The events in one line of Segment's JSON. Raises InvalidEvent (invalid_json, invalid_utf8, and translate's)."""
    if len(raw) > MAX_LINE:
        raise InvalidEvent("too_large", f"the line is longer than {MAX_LINE} bytes")
    try:
        obj = msgspec.json.decode(raw)
    except UnicodeDecodeError as error:
        raise InvalidEvent("invalid_utf8", f"the line is not UTF-8: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidEvent("invalid_json", f"the line is not JSON: {error}") from error
    return translate(obj)


def _starts_with(stream: Any, magic: bytes) -> bool:
    start: bytes = stream.peek(len(magic))[: len(magic)]
    return start == magic


def _json_lines(stream: IO[bytes], file: str) -> Iterator[Line]:
    number = 0
    while raw := stream.readline(MAX_LINE + 2):
        number += 1
        rest = raw
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):  # skip to the line's end, without keeping it
            rest = stream.readline(MAX_LINE + 2)
        raw = raw.rstrip(b"\r\n")
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if raw.strip():
            yield from _line(file, number, raw)


def _line(file: str, number: int, raw: bytes) -> Iterable[Line]:
    try:
        return [Line(file, number, raw, event=event) for event in parse(raw)]
    except InvalidEvent as error:
        return [Line(file, number, raw[:MAX_LINE], error=error)]


def _container(stream: IO[bytes], file: str) -> Iterator[Line]:
    number = 0
    try:
        blocks = fastavro.block_reader(stream)
        schemas = codec.resolve(blocks.metadata["avro.schema"])
        for block in blocks:
            for line in _block(block, file, number, schemas):
                number = line.number
                yield line
    except InvalidEvent as error:
        yield Line(file, number + 1, b"", error=error)
    except (OSError, zlib.error):
        raise
    except Exception as error:  # fastavro raises what its C code meets
        why = (
            f"from here on the Avro container can't be read, it is damaged or cut off: {type(error).__name__}: {error}"
        )
        yield Line(file, number + 1, b"", error=InvalidEvent("undecodable", why))


def _block(block: Any, file: str, number: int, schemas: tuple[str, Any, Any]) -> Iterator[Line]:
    """The records of one block. Where one can't be told from the next, the rest of its block is lost with it."""
    name, writer, reader = schemas
    data: io.BytesIO = block.bytes_
    content = data.getvalue()
    for left in range(block.num_records - 1, -1, -1):
        number += 1
        start = data.tell()
        try:
            event = codec.read_record(data, name, writer, reader)
        except InvalidEvent as error:
            lost = error.reason in ("truncated", "undecodable", "wrong_schema")
            if error.reason == "invalid_utf8":
                data.seek(start)
                lost = not _skip(data, writer)
            if lost and left:
                error = InvalidEvent(error.reason, f"{error.detail}; {left} records behind it are lost with it")
            yield Line(file, number, content[start : data.tell()][:MAX_LINE], error=error)
            if lost:
                return
        else:
            yield Line(file, number, content[start : data.tell()], event=event)


def _skip(data: io.BytesIO, writer: Any) -> bool:
    """Move behind a record whose text is not UTF-8; False: its end can't be found."""
    try:
        fastavro.schemaless_reader(data, writer, None, handle_unicode_errors="replace")
    except Exception:  # fastavro raises what its C code meets
        return False
    return True
