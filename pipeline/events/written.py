"""An encoder made to measure: one Python function a schema, compiled once.

fastavro tries a record's values against the branches of every union; what is generated here knows that each of ours is
null or one other type, and takes a third less. It only knows the good case: whatever is unusual raises, and the
caller then asks fastavro for the verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Schema = Any
"""A parsed piece of Avro schema without logical types: str, list (union) or dict."""

_SHORT = {length: bytes((2 * length,)) for length in range(64)}


def number(value: int) -> bytes:
    """A long (Avro 1.11, "Binary Encoding": zig-zag, seven bits a byte, the lowest first)."""
    n = value << 1 ^ value >> 63
    if 1 << 35 <= n < 1 << 42:  # every time between 1970 (from July on) and 2039
        return bytes(
            (n & 127 | 128, n >> 7 & 127 | 128, n >> 14 & 127 | 128, n >> 21 & 127 | 128, n >> 28 & 127 | 128, n >> 35)
        )
    if not 0 <= n < 1 << 64:
        raise OverflowError(f"{value} is no long")
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def text(value: str) -> bytes:
    """A string."""
    raw = value.encode()
    return (_SHORT.get(len(raw)) or number(len(raw))) + raw


def compile_writer(schema: dict[str, Any]) -> Callable[[dict[str, Any]], bytes]:
    """A function from a record, as fastavro takes it with all fields there, to its Avro body.

    Raises ValueError for a schema with a kind of type that no outbound schema of ours has.
    """
    known: dict[str, Any] = {"number": number, "text": text, "short": _SHORT.get}
    parts = []
    for field in schema["fields"]:
        value = f"r[{field['name']!r}]"
        if field["type"] == "string":
            parts += [f"short(len(s := {value}.encode())) or number(len(s))", "s"]
        else:
            parts.append(_part(field["type"], value, known))
    code = "def write(r):\n    return b''.join((" + ", ".join(parts) + ",))\n"
    exec(compile(code, f"<compiled writer of {schema['name']}>", "exec"), known)
    write: Callable[[dict[str, Any]], bytes] = known["write"]
    return write


def _part(schema: Schema, value: str, known: dict[str, Any]) -> str:
    """An expression that is the encoding of `value`."""
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, list):
        if len(kind) != 2 or kind[0] != "null":
            raise ValueError(f"The compiled writer knows unions of null and one other type only, not {kind}")
        return f"(b'\\0' if {value} is None else b'\\2' + {_part(kind[1], value, known)})"
    if kind == "string":
        return f"text({value})"
    if kind in ("long", "int"):
        return f"number({value})"
    if kind == "enum":
        name = f"symbols{len(known)}"
        known[name] = {symbol: number(place) for place, symbol in enumerate(schema["symbols"])}
        return f"{name}[{value}]"
    if kind == "array":
        items = _part(schema["items"], "v", known)
        return f"(number(len({value})) + b''.join([{items} for v in {value}]) + b'\\0' if {value} else b'\\0')"
    if kind == "map":
        items = _part(schema["values"], "w", known)
        joined = f"b''.join([text(k) + {items} for k, w in {value}.items()])"
        return f"(number(len({value})) + {joined} + b'\\0' if {value} else b'\\0')"
    raise ValueError(f"The compiled writer doesn't know the Avro type {kind!r}")
