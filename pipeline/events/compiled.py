"""A decoder made to measure: one Python function a schema, written out field by field and compiled once.

The decoder is what the first hop spends most of its time on. fastavro walks the schema anew for every record and
builds a dict of all fields, null or not; what is generated here (as dataclasses and namedtuples generate theirs) knows
the fields, leaves the nulls out and makes the Event directly: about an eighth of the time, where fields that nobody
reads are stepped over.

It only knows the good case. Whatever is unusual (truncated, a foreign encoding of a number, a string too long, a NaN)
raises, and the caller then asks the slow reader for the verdict: it either finds a true reason or reads the record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from struct import Struct
from struct import error as StructError
from typing import Any

from pipeline.events.checks import MAX_EVENT_ID, MAX_IDENTIFIER, MAX_STRING, MAX_TIME
from pipeline.events.model import Event

Schema = Any
"""A parsed, resolved piece of Avro schema: str, list (union) or dict."""


class Unusual(Exception):
    """Not the good case. So does any IndexError, struct.error or UnicodeDecodeError say."""


def compile_reader(
    name: str, schema: dict[str, Any], skip: int, wanted: Collection[str] | None = None
) -> Callable[[bytes, str | None], Event]:
    """A function (value, trace) -> Event for records of `schema`, which start `skip` bytes into the value.

    `wanted`: the body's fields that are read. Others, and the context, are stepped over: lengths count there, and
    what lies between them isn't looked at. None: all are read. `schema` is one of ours without logical types. The
    function raises anything for what it doesn't read.
    """
    return _Source(schema, wanted).function(name, skip)


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


def text(b: bytes, p: int, longest: int) -> tuple[int, int]:
    """Where a string of up to `longest` bytes begins and ends, whose length stands at position `p`."""
    x, y = b[p], b[p + 1]
    if y < 128 <= x and not x & 1:  # two bytes of length, as nearly all have that aren't short
        p += 2
        n = (x & 127) >> 1 | y << 6
    else:
        n, p = number(b, p)
    if not 0 <= n <= longest:
        raise Unusual
    return p, p + n


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

_PAST = tuple(n + 1 if n >= 0 else 0 for n in _SMALL)
"""First byte of a string -> bytes of the string, with its length; 0: a long one."""

_PAST_KIND = tuple(n and n + 1 for n in _PAST)
"""The same, with the byte before the length, which says that there is a string."""

_HIGH: dict[bytes, int] = {}
"""Last four bytes of a six-byte time -> the time without its lowest 13 bits."""
_HIGH_KEPT = 4096

_FIRST = tuple((byte & 127) >> 1 if byte > 127 and not byte & 1 else None for byte in range(256))
_SECOND = tuple((byte & 127) << 6 if byte > 127 else None for byte in range(256))
"""First and second byte of a six-byte time -> what they add to it; None: it is another kind of time."""

_GLOBALS = {
    "times": Struct("<BB4sBB4s").unpack_from,
    "other_times": (KeyError, TypeError, StructError),
    "high": _HIGH,
    "first": _FIRST,
    "second": _SECOND,
    "stamp": stamp,
    "small": _SMALL,
    "number": number,
    "past": _PAST,
    "past_kind": _PAST_KIND,
    "text": text,
    "count": count,
    "double": Struct("<d").unpack_from,
    "Unusual": Unusual,
    "Event": Event,
}


class _Source:
    """Writes the function's source. Every `read_*` leaves the value in the variable `to` and `p` behind it."""

    def __init__(self, schema: dict[str, Any], wanted: Collection[str] | None) -> None:
        self.wanted = wanted
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
        self.add(f"n = past[b[{skip}]]")
        self.add(f"if n > 1: p = {skip} + n; event_id = b[{skip + 1}:p].decode()")
        with self.block("else:"):
            self.add(f"q, p = text(b, {skip}, {MAX_EVENT_ID}); event_id = b[q:p].decode()")
            self.add("if not event_id: raise Unusual")
        self.read_times()
        self.add("if occurred_at > received_at: occurred_at = received_at")
        self.read_identifiers(self.fields["identifiers"])
        if self.wanted is None:
            self.read(self.fields["context"], "context")
            self.read(self.fields["consent"], "consent")
            self.add("if consent is not None: context = {**(context or {}), 'consent': consent}")
        else:
            self.skip(self.fields["context"])
            self.skip(self.fields["consent"])
        self.read_record(self.fields["body"], "body", self.wanted)
        self.add("if p != len(b): raise Unusual")
        rest = "context, trace" if self.wanted is None else "None, trace, True"
        self.add(f"return Event({name!r}, event_id, occurred_at, received_at, identifiers, body, {rest})")
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
            self.read_number(to)
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
        with self.present():
            self.read(_other(union), to)

    def read_record(self, schema: dict[str, Any], to: str, wanted: Collection[str] | None = None) -> None:
        self.add(f"{to} = {{}}")
        for field in schema["fields"]:
            value, key, kind = self.variable(), field["name"], field["type"]
            if wanted is not None and key not in wanted:
                self.skip(kind)
            elif not isinstance(kind, list):
                self.read(kind, value)
                self.add(f"{to}[{key!r}] = {value}")
            elif _other(kind) == "string":
                with self.text_or_null():
                    self.read_string(f"{to}[{key!r}]", kind=1)
            else:
                with self.present():
                    self.read(_other(kind), value)
                    self.add(f"{to}[{key!r}] = {value}")

    def skip(self, schema: Schema) -> None:
        """Step over a value that nobody reads. Of what isn't a text, or made of texts, nothing is spared."""
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind == ["null", "string"]:
            with self.text_or_null():
                self.skip_string(kind=1)
        elif isinstance(kind, list):
            with self.present():
                self.skip(_other(kind))
        elif kind == "string":
            self.skip_string()
        elif kind == "double":
            self.add("p += 8")
        elif kind == "record":
            for field in schema["fields"]:
                self.skip(field["type"])
        elif kind == "map":
            with self.items():
                self.skip_string()
                self.skip(schema["values"])
        elif kind == "array":
            with self.items():
                self.skip(schema["items"])
        else:
            self.read(schema, self.variable())

    def read_string(self, to: str, kind: int = 0, longest: int = MAX_STRING) -> None:
        """`kind`: bytes before the length, which `p` still stands at."""
        past, at = ("past_kind[b[p + 1]]", "p + 1") if kind else ("past[b[p]]", "p")
        self.add(f"n = {past}")
        self.add(f"if n: q = p + n; {to} = b[p + {kind + 1}:q].decode(); p = q")
        self.add(f"else: q, p = text(b, {at}, {longest}); {to} = b[q:p].decode()")

    def read_number(self, to: str) -> None:
        """Up to three bytes without a call, if it isn't negative."""
        self.add("x = b[p]")
        self.add(f"if x & 1: {to}, p = number(b, p)")
        self.add(f"elif x < 128: {to} = x >> 1; p += 1")
        with self.block("else:"):
            self.add("y = b[p + 1]")
            self.add(f"if y < 128: {to} = x - 128 + (y << 7) >> 1; p += 2")
            with self.block("else:"):
                self.add("n = b[p + 2]")
                self.add(f"if n < 128: {to} = x - 128 + (y - 128 << 7) + (n << 14) >> 1; p += 3")
                self.add(f"else: {to}, p = number(b, p)")

    def skip_string(self, kind: int = 0) -> None:
        """The same, and two bytes of length without a call: urls and user agents are what is stepped over."""
        past, at, then = ("past_kind", "p + 1", "p + 2") if kind else ("past", "p", "p + 1")
        self.add(f"x = b[{at}]; n = {past}[x]")
        self.add("if n: p += n")
        self.add(f"elif b[{then}] < 128 and not x & 1: p += (x - 124 + {2 * kind} >> 1) + (b[{then}] << 6)")
        self.add(f"else: p = text(b, {at}, {MAX_STRING})[1]")

    def read_times(self) -> None:
        """Six bytes hold every time from 1987 to 2039; the last four of them change every 8 seconds only."""
        with self.block("try:"):
            self.add("k, n, x, i, j, y = times(b, p)")
            self.add("occurred_at = high[x] + first[k] + second[n]")
            self.add("received_at = high[y] + first[i] + second[j]")
            self.add("p += 12")
        with self.block("except other_times:"):
            self.add("occurred_at, p = stamp(b, p)")
            self.add("received_at, p = stamp(b, p)")

    def read_identifiers(self, schema: dict[str, Any]) -> None:
        """A map. Nearly always it holds one entry, in one block."""
        if schema["type"] != "map" or schema["values"] != "string":
            raise ValueError(f"The compiled reader takes identifiers for a map of texts, not {schema}")
        key, value = self.variable(), self.variable()
        with self.block("if b[p] == 2:"):
            self.read_string(key, kind=1, longest=MAX_IDENTIFIER)
            self.read_string(value, longest=MAX_IDENTIFIER)
            self.add(f"identifiers = {{{key}: {value}}}")
        with self.block("else:"):
            self.add("identifiers = {}")
        self.read_entries(schema, "identifiers", MAX_IDENTIFIER)

    def read_map(self, schema: dict[str, Any], to: str) -> None:
        self.add(f"{to} = {{}}")
        self.read_entries(schema, to, MAX_STRING)

    def read_entries(self, schema: dict[str, Any], to: str, longest: int) -> None:
        key, value = self.variable(), self.variable()
        with self.items():
            self.read_string(key, longest=longest)
            if schema["values"] == "string":
                self.read_string(f"{to}[{key}]", longest=longest)
            else:
                self.read(schema["values"], value)
                self.add(f"{to}[{key}] = {value}")

    def read_array(self, schema: dict[str, Any], to: str) -> None:
        value = self.variable()
        self.add(f"{to} = []")
        with self.items():
            self.read(schema["items"], value)
            self.add(f"{to}.append({value})")

    @contextmanager
    def items(self) -> Iterator[None]:
        """Loops over the blocks of a map or array, and over the items of each."""
        c = self.variable()
        with self.block("while b[p]:"):
            self.add(f"{c} = small[b[p]]")
            self.add(f"if {c} >= 0: p += 1")
            self.add(f"else: {c}, p = count(b, p)")
            with self.block(f"for _ in range({c}):"):
                yield
        self.add("p += 1")

    @contextmanager
    def present(self) -> Iterator[None]:
        """What is read if a union holds its other type; `p` stands at that."""
        self.add("k = b[p]; p += 1")
        with self.block("if k:"):
            self.add("if k != 2: raise Unusual")
            yield

    @contextmanager
    def text_or_null(self) -> Iterator[None]:
        """What is read if a union holds a text; `p` stands before the byte that says so."""
        self.add("k = b[p]")
        with self.block("if k == 2:"):
            yield
        self.add("elif k: raise Unusual")
        self.add("else: p += 1")

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
