"""A decoder made to measure: one Python function a schema, written out field by field and compiled once.

The decoder is what the first hop spends most of its time on. fastavro walks the schema anew for every record and
builds a dict of all fields, null or not; what is generated here (as dataclasses and namedtuples generate theirs) knows
the fields, leaves the nulls out and makes the Event directly: about a quarter of the time.

It only knows the good case. Whatever is unusual (truncated, a foreign encoding of a number, a string too long, a NaN)
raises, and the caller then asks the slow reader for the verdict: it either finds a true reason or reads the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import Any

from pipeline.events.checks import MAX_EVENT_ID, MAX_IDENTIFIER, MAX_STRING, MAX_TIME
from pipeline.events.model import Event

Schema = Any
"""A parsed, resolved piece of Avro schema: str, list (union) or dict."""


class Unusual(Exception):
    """Not the good case. So does any IndexError, struct.error or UnicodeDecodeError say."""


def compile_reader(name: str, schema: dict[str, Any], skip: int) -> Callable[[bytes, str | None], Event]:
    """A function (value, trace) -> Event for records of `schema`, which start `skip` bytes into the value.

    `schema` is one of ours without logical types. The function raises anything for what it doesn't read.
    """
    source = _Source(schema)
    return source.function(name, skip)


def number(b: bytes, p: int) -> tuple[int, int]:
    """A long at position `p`, and the position behind it."""
    value = shift = 0
    while True:
        byte = b[p]
        p += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise Unusual
    return (value >> 1) ^ -(value & 1), p


def stamp(b: bytes, p: int) -> tuple[int, int]:
    """A time in ms at position `p`, and the position behind it. Remembers what six bytes of it will be met again."""
    value, q = number(b, p)
    if not 0 <= value <= MAX_TIME:
        raise Unusual
    if q == p + 6:
        if len(_HIGH) >= _HIGH_KEPT:
            _HIGH.clear()
        _HIGH[b[p + 2 : q]] = value & ~0x1FFF
    return value, q


def size(b: bytes, p: int) -> tuple[int, int]:
    """The length of a string, and the position behind it."""
    value, p = number(b, p)
    if not 0 <= value <= MAX_STRING:
        raise Unusual
    return value, p


def count(b: bytes, p: int) -> tuple[int, int]:
    """How many items a block of a map or array holds, and the position behind that."""
    value, p = number(b, p)
    if value < 0:  # a block that tells its size in bytes too, for readers that skip it
        _, p = number(b, p)
        value = -value
    if value > len(b):
        raise Unusual
    return value, p


_SMALL = tuple(byte >> 1 if byte < 128 and not byte & 1 else -1 for byte in range(256))
"""First byte -> the non-negative number that it alone makes, or -1: a negative or longer one."""

_HIGH: dict[bytes, int] = {}
"""Last four bytes of a six-byte time -> the time without its lowest 13 bits."""
_HIGH_KEPT = 4096

_GLOBALS = {
    "high": _HIGH,
    "stamp": stamp,
    "small": _SMALL,
    "number": number,
    "size": size,
    "count": count,
    "double": Struct("<d").unpack_from,
    "Unusual": Unusual,
    "Event": Event,
}


class _Source:
    """Writes the function's source. Every `read_*` leaves the value in the variable `to` and `p` behind it."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.variables = 0
        self.fields = {field["name"]: field["type"] for field in schema["fields"]}
        if list(self.fields) != [
            "event_id", "occurred_at", "received_at", "identifiers", "context", "consent", "body",
        ]:  # fmt: skip
            raise ValueError(f"{schema['name']} has another envelope than the compiled reader knows: {[*self.fields]}")
        self.globals: dict[str, Any] = dict(_GLOBALS)

    def function(self, name: str, skip: int) -> Callable[[bytes, str | None], Event]:
        self.add(f"p = {skip}")
        self.read(self.fields["event_id"], "event_id")
        self.add(f"if not event_id or n > {MAX_EVENT_ID}: raise Unusual")
        self.read_time("occurred_at")
        self.read_time("received_at")
        self.add("if occurred_at > received_at: occurred_at = received_at")
        self.read_map(self.fields["identifiers"], "identifiers", longest=MAX_IDENTIFIER)
        self.read(self.fields["context"], "context")
        self.read(self.fields["consent"], "consent")
        self.add("if consent is not None: context = {**(context or {}), 'consent': consent}")
        self.read(self.fields["body"], "body")
        self.add("if p != len(b): raise Unusual")
        self.add(f"return Event({name!r}, event_id, occurred_at, received_at, identifiers, body, context, trace)")
        code = "def read(b, trace):\n" + "\n".join(self.lines)
        exec(compile(code, f"<compiled reader of {name}>", "exec"), self.globals)
        read: Callable[[bytes, str | None], Event] = self.globals["read"]
        return read

    def read(self, schema: Schema, to: str) -> None:
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, list):
            self.read_nullable(kind, to)
        elif kind == "string":
            self.read_string(to)
        elif kind in ("long", "int"):
            self.read_small_or("number", to)
        elif kind == "double":
            self.add(f"{to}, = double(b, p); p += 8")
            self.add(f"if {to} - {to}: raise Unusual")  # NaN for NaN and the infinities
        elif kind == "boolean":
            self.add(f"{to} = b[p] == 1")
            self.add("if b[p] > 1: raise Unusual")
            self.add("p += 1")
        elif kind == "enum":
            symbols = self.variable()
            self.globals[symbols] = dict(enumerate(schema["symbols"]))
            self.add(f"{to} = {symbols}.get(small[b[p]]); p += 1")
            self.add(f"if {to} is None: raise Unusual")
        elif kind == "map":
            self.read_map(schema, to)
        elif kind == "array":
            self.read_array(schema, to)
        elif kind == "record":
            self.read_record(schema, to)
        else:
            raise ValueError(f"The compiled reader doesn't know the Avro type {kind!r}")

    def read_nullable(self, union: list[Schema], to: str) -> None:
        self.add(f"{to} = None")
        self.add("k = b[p]; p += 1")
        with self.block("if k:"):
            self.add("if k != 2: raise Unusual")
            self.read(_other(union), to)

    def read_record(self, schema: dict[str, Any], to: str) -> None:
        self.add(f"{to} = {{}}")
        for field in schema["fields"]:
            value, key, kind = self.variable(), field["name"], field["type"]
            if isinstance(kind, list):
                self.add("k = b[p]; p += 1")
                with self.block("if k:"):
                    self.add("if k != 2: raise Unusual")
                    if _other(kind) == "string":
                        self.read_string(f"{to}[{key!r}]")
                    else:
                        self.read(_other(kind), value)
                        self.add(f"{to}[{key!r}] = {value}")
            else:
                self.read(kind, value)
                self.add(f"{to}[{key!r}] = {value}")

    def read_string(self, to: str) -> None:
        self.read_small_or("size", "n")
        self.add("q = p + n")
        self.add(f"{to} = b[p:q].decode(); p = q")

    def read_time(self, to: str) -> None:
        """Six bytes hold every time from 1987 to 2039; the last four of them change every 8 seconds only."""
        self.add("h = high.get(b[p + 2:p + 6]); x = b[p]; y = b[p + 1]")
        self.add(f"if h is not None and x & y & 128 and not x & 1: {to} = h | (x & 127) >> 1 | (y & 127) << 6; p += 6")
        self.add(f"else: {to}, p = stamp(b, p)")

    def read_map(self, schema: dict[str, Any], to: str, longest: int = MAX_STRING) -> None:
        key, value = self.variable(), self.variable()
        self.add(f"{to} = {{}}")
        with self.items():
            self.read_string(key)
            if longest < MAX_STRING:
                self.add(f"if n > {longest}: raise Unusual")
            self.read(schema["values"], value)
            if longest < MAX_STRING:
                self.add(f"if n > {longest}: raise Unusual")
            self.add(f"{to}[{key}] = {value}")
        self.add("p += 1")

    def read_array(self, schema: dict[str, Any], to: str) -> None:
        value = self.variable()
        self.add(f"{to} = []")
        with self.items():
            self.read(schema["items"], value)
            self.add(f"{to}.append({value})")
        self.add("p += 1")

    @contextmanager
    def items(self) -> Iterator[None]:
        """Loops over the blocks of a map or array, and over the items of each."""
        c = self.variable()
        with self.block("while b[p]:"):
            self.read_small_or("count", c)
            with self.block(f"for _ in range({c}):"):
                yield

    def read_small_or(self, reader: str, to: str) -> None:
        self.add(f"{to} = small[b[p]]")
        self.add(f"if {to} >= 0: p += 1")
        self.add(f"else: {to}, p = {reader}(b, p)")

    def variable(self) -> str:
        self.variables += 1
        return f"v{self.variables}"

    def add(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.add(head)
        self.depth += 1
        yield
        self.depth -= 1


def _other(union: list[Schema]) -> Schema:
    if len(union) != 2 or union[0] != "null":
        raise ValueError(f"The compiled reader knows unions of null and one other type only, not {union}")
    return union[1]
