"""Events to and from Avro in the Confluent wire format: `00`, schema id (4 bytes, big-endian), body."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from operator import attrgetter
from typing import Any, Protocol

import fastavro
import msgspec
from fastavro.read import SchemaResolutionError
from fastavro.schema import to_parsing_canonical_form

from pipeline.errors import InvalidEvent, SchemaNotFetched
from pipeline.events import schemas
from pipeline.events.checks import validate
from pipeline.events.compiled import WRITER, Reader, Writer, compile_reader
from pipeline.events.model import Event, Remark

HEADER = struct.Struct(">BI")

Decode = Callable[[bytes, str | None], Event]


class Registry(Protocol):
    """What the codec asks of a schema registry (`pipeline.events.registry.connect`)."""

    def missing(self, schema_id: int) -> bool:
        """Whether it said lately that it has no such schema. Never blocks."""

    def schema(self, schema_id: int) -> str | None:
        """A schema's text; None: no such schema. May block. Raises RegistryUnavailable."""

    def id_of(self, subject: str, text: str) -> int:
        """A registered schema's id. May block. Raises SchemaMissing, RegistryUnavailable."""


encode_json = msgspec.json.Encoder(order="sorted").encode


# What `stage`, `recovers`, `basis`, `fingerprint` and `detail` are where nothing is said.
ADDED = b"\0\0\x0aevent\0\0"


class Encoder:
    """Events and decisions to bytes. Not thread-safe."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._headers: dict[tuple[str, str], bytes] = {}
        self._names = [field["name"] for field in schemas.plain("decision")["fields"]]
        self._values = attrgetter(*self._names)
        self._payload = self._names.index("payload")
        self._of_change = [field["name"] for field in schemas.plain("segment_change")["fields"]]
        self._writers: dict[str, Writer | None] = {}
        self._of_events: dict[tuple[str, str], tuple[bytes, Writer]] = {}

    def encode(self, topic: str, event: Event) -> bytes:
        """One event as a record's value. The first of a type and topic asks the registry (and may block).

        Raises SchemaMissing, RegistryUnavailable; InvalidEvent (`wrong_schema`: no such type; `unencodable`: a field of
        a wrong kind).
        """
        try:
            header, writer = self._of_events[topic, event.type]
            return writer.event(header, event)
        except Exception:  # of many kinds; whatever it is, what follows tells it
            pass
        if event.type not in schemas.names():
            raise InvalidEvent("wrong_schema", f"{event.type!r} is not one of our event types")
        encoded = self._write(topic, event.type, to_record(event))
        if (compiled := self._writer_of(event.type)) is not None:
            self._of_events[topic, event.type] = self._header(topic, event.type), compiled
        return encoded

    def written(self, topic: str, name: str) -> tuple[bytes, Writer] | None:
        """How events of that type are written to a topic, once one was: what stands before it, and what is compiled."""
        return self._of_events.get((topic, name))

    def encode_decision(self, topic: str, decision: Any) -> bytes:
        """A `triggers.decisions.Decision` for the decisions topic. Raises InvalidEvent(`unencodable`)."""
        values = list(self._values(decision))
        values[self._payload] = encode_json(values[self._payload]).decode()
        if (writer := self._writer_of("decision")) is not None:
            try:
                return writer.write(self._header(topic, "decision"), values)
            except Exception:  # of many kinds: fastavro tells what is wrong
                pass
        return self._write(topic, "decision", dict(zip(self._names, values, strict=True)))

    def encode_change(self, topic: str, change: Any) -> bytes:
        """A `triggers.changes.SegmentChange` for the topic of segments. Raises InvalidEvent(`unencodable`)."""
        return self._write(topic, "segment_change", {name: getattr(change, name) for name in self._of_change})

    def as_trigger(self, topic: str, encoded: bytes) -> bytes:
        """The trigger of an encoded decision: both schemas have the same fields, so only the schema id differs."""
        return self._header(topic, "trigger") + encoded[HEADER.size :]

    def read_decision(self, encoded: bytes) -> dict[str, Any]:
        """The fields of an encoded decision, or trigger, with the payload as it was; also of one that was encoded
        before the last of them were added, as an outbox may hold.
        """
        body = io.BytesIO(encoded[HEADER.size :] + ADDED)  # what stands behind a record isn't read
        record: Any = fastavro.schemaless_reader(body, schemas.plain("decision"), None)
        return {**record, "payload": msgspec.json.decode(record["payload"])}

    def prepare(self, topic: str, *names: str) -> None:
        """Look schemas up ahead, so that nothing blocks later. Raises SchemaMissing, RegistryUnavailable."""
        for name in names:
            self._header(topic, name)

    def _writer_of(self, name: str) -> Writer | None:
        """A compiled one, or None."""
        if name not in self._writers:
            self._writers[name] = None if WRITER is None else WRITER(schemas.plain(name))
        return self._writers[name]

    def _header(self, topic: str, name: str) -> bytes:
        header = self._headers.get((topic, name))
        if header is None:
            schema_id = self._registry.id_of(schemas.subject(topic, name), schemas.text(name))
            header = self._headers[topic, name] = HEADER.pack(0, schema_id)
        return header

    def _write(self, topic: str, name: str, record: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        out.write(self._header(topic, name))
        try:
            fastavro.schemaless_writer(out, schemas.plain(name), record)
        except (ValueError, TypeError, AttributeError, OverflowError, struct.error) as error:
            raise InvalidEvent("unencodable", f"{name}: {error}") from error
        return out.getvalue()


class Decoder:
    """Bytes to events. Not thread-safe, but `learn` may run in another thread.

    With `blocking` (replay, tools, tests) a schema id seen for the first time asks the registry at once; without, it
    raises SchemaNotFetched, so that an event loop is never held up.

    `wanted`: event type -> body fields that are read. Others, and the context, may then be left out (`Event.trimmed`),
    as Avro leaves out what a reader's schema lacks: that spares half of the time. What can't be used there is not found
    nor told; lengths that don't fit are. None: all are read.

    `handed`: event type -> (the fields of those that go into a row, bytes of the longest record that `takers` take).
    `takers`: schema id -> reader for `compiled.TAKE`.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        blocking: bool = True,
        wanted: Mapping[str, Collection[str]] | None = None,
        handed: Mapping[str, tuple[Collection[str], int]] | None = None,
    ) -> None:
        self._registry = registry
        self._blocking = blocking
        self._wanted = wanted
        self._readers: dict[bytes, Decode] = {}
        self._handed = handed or {}
        self._compiled: dict[bytes, Decode] = {}
        self.takers: dict[int, Reader] = {}

    def decode(self, value: bytes | None, trace: str | None = None) -> Event:
        """The event in a record's value; `trace` is the record's traceparent header.

        Raises InvalidEvent (empty, bad_magic, truncated, trailing_bytes, unknown_schema, wrong_schema, undecodable,
        invalid_time) and RegistryUnavailable (SchemaNotFetched).
        """
        try:
            return self._compiled[value[:5]](value, trace)  # type: ignore[index,arg-type]  # None is told below
        except Exception:  # many kinds, and none tells enough
            pass
        reader = self._readers.get(value[:5]) if value else None
        if reader is None:
            self._meet(value)
            return self.decode(value, trace)
        assert value is not None
        return reader(value, trace)

    def knows(self, schema_id: int) -> bool:
        """Whether `decode` wouldn't have to ask for it. Never blocks."""
        return HEADER.pack(0, schema_id) in self._readers or self._registry.missing(schema_id)

    def learn(self, schema_id: int) -> None:
        """Fetch a schema. Blocks. Its 404 is remembered by the registry client; decode then says `unknown_schema`.

        Raises RegistryUnavailable.
        """
        text = self._registry.schema(schema_id)
        if text is not None:
            header = HEADER.pack(0, schema_id)
            reader, compiled = readers_for(text, schema_id, self._wanted, self._handed)
            if compiled is not None:
                self._compiled[header] = compiled.read
                if self._handed:
                    self.takers[schema_id] = compiled
            self._readers[header] = reader

    def _meet(self, value: bytes | None) -> None:
        """A schema seen for the first time: from here on there is a reader for it."""
        if not value:
            raise InvalidEvent("empty", "the record has no value")
        if value[0] != 0:
            raise InvalidEvent("bad_magic", f"the first byte is {value[0]:#04x}, not 0x00 of the Confluent wire format")
        if len(value) < HEADER.size:
            raise InvalidEvent("truncated", f"{len(value)} bytes cannot hold a schema id")
        schema_id: int = HEADER.unpack_from(value)[1]
        if not self._registry.missing(schema_id):
            if not self._blocking:
                raise SchemaNotFetched(schema_id)
            self.learn(schema_id)
        if value[:5] not in self._readers:
            raise InvalidEvent("unknown_schema", f"the schema registry has no schema {schema_id}")


def readers_for(
    text: str,
    schema_id: int,
    wanted: Mapping[str, Collection[str]] | None,
    handed: Mapping[str, tuple[Collection[str], int]],
) -> tuple[Decode, Reader | None]:
    """Functions that read what was written with the schema `text`: one that also finds the reason of what is no event,
    and, where it was built and the schema is ours as it stands, a compiled one for the good case. A schema that isn't
    ours: refused.
    """
    try:
        name, writer, reader = resolve(text)
    except InvalidEvent as error:
        return _refusing(f"schema {schema_id}: {error.detail}"), None
    slow = _framed(name, writer, reader)
    if reader is not None:
        return slow, None
    read = None if wanted is None else wanted.get(name, ())
    return slow, compile_reader(name, writer, HEADER.size, read, *handed.get(name, ((), 0)))


def resolve(text: str) -> tuple[str, Any, Any]:
    """(event type, writer schema, reader schema) for a schema's text, both without logical types.

    The reader schema is None where the writer's is the same as ours: resolution costs, so it is left out.
    Raises InvalidEvent(`wrong_schema`) for a schema that is not one of our event types.
    """
    try:
        writer: Any = fastavro.parse_schema(schemas.stripped(json.loads(text)))
        name = schemas.types()[writer["name"]]
        same = to_parsing_canonical_form(writer) == schemas.canonical(name)
    except Exception as error:  # whatever a foreign schema holds, it isn't one of our events
        why = f"not one of our event types ({type(error).__name__}: {str(error)[:200]})"
        raise InvalidEvent("wrong_schema", why) from error
    return (name, schemas.plain(name), None) if same else (name, writer, schemas.plain(name))


def read_record(stream: io.BytesIO, name: str, writer: Any, reader: Any, trace: str | None = None) -> Event:
    """The next event of `stream`, read by fastavro; schemas as `resolve` gives them. Raises InvalidEvent.

    Text that isn't UTF-8 is read with U+FFFD for what it isn't; ids in such are left out.
    """
    start = stream.tell()
    try:
        record = _read(stream, name, writer, reader)
    except UnicodeDecodeError:
        stream.seek(start)
        record = _read(stream, name, writer, reader, handle_unicode_errors="replace")
        remarks = _leave_out_damaged_ids(record)
        return from_record(name, record, trace, (NOT_UTF_8, *remarks))
    return from_record(name, record, trace)


NOT_UTF_8 = Remark("read_as", "text that isn't UTF-8, with U+FFFD for what it isn't")


def _read(stream: io.BytesIO, name: str, writer: Any, reader: Any, **options: Any) -> dict[str, Any]:
    """Raises UnicodeDecodeError, or InvalidEvent where nothing can be read."""
    try:
        record: Any = fastavro.schemaless_reader(stream, writer, reader, **options)
    except SchemaResolutionError as error:
        raise InvalidEvent("wrong_schema", f"{name}: an incompatible version of our schema: {error}") from error
    except (EOFError, IndexError, struct.error) as error:
        if "Expected -" in str(error):
            raise InvalidEvent("undecodable", f"{name}: a string of negative length") from error
        raise InvalidEvent("truncated", f"{name}: the body ends too early") from error
    except UnicodeDecodeError:
        raise
    except Exception as error:  # fastavro raises what its C code meets
        raise InvalidEvent("undecodable", f"{name}: {type(error).__name__}: {error}") from error
    read: dict[str, Any] = record
    return read


def _leave_out_damaged_ids(record: dict[str, Any]) -> Iterator[Remark]:
    """Half an id may be somebody else's. Changes `record`."""
    identifiers = record["identifiers"]
    for namespace in [key for key, value in identifiers.items() if "\ufffd" in key + value]:
        del identifiers[namespace]
        yield Remark("left_out", "an identifier that isn't UTF-8")
    if "\ufffd" in record["event_id"]:
        record["event_id"] = ""
        yield Remark("left_out", "an event id that isn't UTF-8")


def from_record(name: str, record: dict[str, Any], trace: str | None = None, remarks: tuple[Remark, ...] = ()) -> Event:
    """The event in a decoded Avro record, without what can't be used of it. Raises InvalidEvent(invalid_time)."""
    context = record["context"]
    if context is not None:
        context = {key: value for key, value in context.items() if value is not None}
    if record["consent"] is not None:
        context = {**(context or {}), "consent": record["consent"]}
    body = {key: value for key, value in record["body"].items() if value is not None}
    for product in body.get("products", ()):
        for key in [key for key, value in product.items() if value is None]:
            del product[key]
    return validate(
        Event(
            type=name,
            event_id=record["event_id"],
            occurred_at=record["occurred_at"],
            received_at=record["received_at"],
            identifiers=record["identifiers"],
            body=body,
            context=context,
            trace=trace,
            remarks=remarks,
        )
    )


def to_record(event: Event) -> dict[str, Any]:
    """The Avro record of an event; `context["consent"]` goes into the envelope's `consent`."""
    context = event.context
    consent = None
    if context is not None and "consent" in context:
        consent = context["consent"]
        context = {key: value for key, value in context.items() if key != "consent"} or None
    return {
        "event_id": event.event_id,
        "occurred_at": event.occurred_at,
        "received_at": event.received_at,
        "identifiers": event.identifiers,
        "context": context,
        "consent": consent,
        "body": {key: value for key, value in event.body.items() if value is not None},
    }


def _refusing(why: str) -> Decode:
    def refuse(value: bytes, trace: str | None) -> Event:
        raise InvalidEvent("wrong_schema", why)

    return refuse


def _framed(name: str, writer: Any, reader: Any) -> Decode:
    """fastavro's reader behind the wire format's header."""

    def read(value: bytes, trace: str | None) -> Event:
        stream = io.BytesIO(value)
        stream.seek(HEADER.size)
        event = read_record(stream, name, writer, reader, trace)
        if stream.tell() != len(value):
            raise InvalidEvent("trailing_bytes", f"{name}: {len(value) - stream.tell()} bytes behind the body")
        return event

    return read
