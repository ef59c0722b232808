"""FileLine events from files: JSON of Segment, PostHog or Snowplow however it is laid out, and Avro containers of our
schemas; also packed.

A bad piece never stops the rest: it comes out with its error, file and line, for the dead letters.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import msgspec

from pipeline.errors import InvalidEvent, WrongFormat
from pipeline.events import codec
from pipeline.events.calls import translate
from pipeline.events.envelopes import call_of, items
from pipeline.events.json_text import raw_bytes, text_of
from pipeline.events.json_values import MAX_LINE as MAX_LINE
from pipeline.events.json_values import Value, values
from pipeline.events.model import Event
from pipeline.events.unpack import CHUNK, Damage, unpacked

_AVRO = b"Obj\x01"
_SURROGATE = re.compile("[\ud800-\udfff]")


class FileLine(msgspec.Struct, gc=False):
    """One event of a file, or what is wrong there: either `event` or `error` is given.

    `number` is the line on which it begins (in an Avro container: the record), from 1, `column` where on it. A line may
    tell several events. `raw` is the object as it stands, cut at MAX_LINE; of a batch, its event with what it inherits;
    of a container, the record's Avro body.
    """

    file: str
    number: int
    raw: bytes
    event: Event | None = None
    error: InvalidEvent | None = None
    column: int = 1


class RecordedFile:
    """A file to be read. `size`: its bytes as it lies there (0: nobody knows); `done`: how many of them were read."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.size = os.path.getsize(path) if os.path.isfile(path) else 0
        self.done = 0

    def pieces(self) -> Iterator[bytes]:
        """Its bytes. Raises OSError where it can't be opened or read."""
        self.done = 0
        with open(self.path, "rb") as file:
            while piece := file.read(CHUNK):
                self.done += len(piece)
                yield piece


def read(file: str | Path | RecordedFile) -> Iterator[FileLine]:
    """All that stands in a file, in order. The format is told by the first bytes, not by the name.

    Raises OSError where the file can't be opened or read.
    """
    recording = file if isinstance(file, RecordedFile) else RecordedFile(file)
    name = recording.path
    try:
        pieces = unpacked(recording.pieces())
        first = next(pieces, b"")
    except WrongFormat as error:
        yield FileLine(name, 1, b"", error=InvalidEvent("wrong_format", str(error)))
        return
    pieces = _again(first, pieces)
    if isinstance(first, bytes) and first.startswith(_AVRO):
        yield from _container(_Stream(pieces), name)
        return
    for value in values(text_of(pieces)):
        yield from _of_value(name, value)


def parse(raw: bytes) -> list[Event]:
    """The events in one line of Segment's JSON. Raises InvalidEvent (invalid_json, too_large, and translate's)."""
    if len(raw) > MAX_LINE:
        raise InvalidEvent("too_large", f"the line is longer than {MAX_LINE} bytes")
    found = []
    for value in values(text_of(iter([raw]))):
        for line in _of_value("", value):
            if line.error is not None:  # raised as it is, it would hold what holds it: a circle that nobody collects
                raise InvalidEvent(line.error.reason, line.error.detail)
            assert line.event is not None
            found.append(line.event)
    return found


def _again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _of_value(file: str, value: Value) -> Iterable[FileLine]:
    raw = raw_bytes(value.text)
    if value.error is not None:
        return [FileLine(file, value.number, raw[:MAX_LINE], None, value.error, value.column)]
    try:
        events = translate(call_of(value.value))
    except InvalidEvent as error:
        if (inside := items(value.value)) is not None:
            return [line for item in inside for line in _of_item(file, value, item)]
        return [FileLine(file, value.number, raw, None, error, value.column)]
    if value.remarks:
        for event in events:
            event.remarks += value.remarks
    return [FileLine(file, value.number, raw, event, None, value.column) for event in events]


def _of_item(file: str, batch: Value, item: object) -> Iterable[FileLine]:
    """The events of one item of a batch."""
    text = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    if _SURROGATE.search(text):
        text = json.dumps(item, separators=(",", ":"))
    error = None
    if len(raw_bytes(text)) > MAX_LINE:
        error = InvalidEvent("too_large", f"longer than {MAX_LINE} bytes")
    return _of_value(file, Value(batch.number, batch.column, text, item, batch.remarks, error))


class _Stream:
    """Pieces as fastavro reads a file. `damage`: why it ended, if that is not the end."""

    def __init__(self, pieces: Iterator[bytes | Damage]) -> None:
        self._pieces = pieces
        self._piece = io.BytesIO()
        self._before = 0
        self.damage: Damage | None = None

    def tell(self) -> int:
        return self._before + self._piece.tell()

    def read(self, size: int) -> bytes:
        found = self._piece.read(size)
        while len(found) < size and self.damage is None:
            piece = next(self._pieces, None)
            if piece is None:
                break
            if isinstance(piece, Damage):
                self.damage = piece
                break
            self._before += self._piece.tell()
            self._piece = io.BytesIO(piece)
            found += self._piece.read(size - len(found))
        return found


def _container(raw: Any, file: str) -> Iterator[FileLine]:
    number = 0
    try:
        blocks = fastavro.block_reader(raw)
        schemas = codec.resolve(blocks.metadata["avro.schema"])
        for block in blocks:
            for line in _block(block, file, number, schemas):
                number = line.number
                yield line
    except InvalidEvent as error:
        yield FileLine(file, number + 1, b"", error=error)
    except OSError:
        raise
    except Exception as error:  # fastavro raises what its C code meets
        if raw.damage is None:
            said = f"{type(error).__name__}: {error}"
            why = f"from here on the Avro container can't be read, it is damaged or cut off: {said}"
            yield FileLine(file, number + 1, b"", error=InvalidEvent("undecodable", why))
    if raw.damage is not None:
        yield FileLine(file, number + 1, b"", error=InvalidEvent("truncated", raw.damage.detail))


def _block(block: Any, file: str, number: int, schemas: tuple[str, Any, Any]) -> Iterator[FileLine]:
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
            yield FileLine(file, number, content[start : data.tell()][:MAX_LINE], error=error)
            if lost:
                return
        else:
            yield FileLine(file, number, content[start : data.tell()], event=event)


def _skip(data: io.BytesIO, writer: Any) -> bool:
    """Move behind a record whose text is not UTF-8; False: its end can't be found."""
    try:
        fastavro.schemaless_reader(data, writer, None, handle_unicode_errors="replace")
    except Exception:  # fastavro raises what its C code meets
        return False
    return True
