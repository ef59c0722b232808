"""Bytes of a request's body to JSON. Nobody who sends it is believed: neither what it is packed with, nor how large it
is, nor that it is JSON."""

from __future__ import annotations

import zlib
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qs

import brotli
import msgspec

from pipeline.errors import InvalidEvent
from pipeline.events.json_text import text_of
from pipeline.events.json_values import values

_GZIP = b"\x1f\x8b"
_decode = msgspec.json.Decoder().decode


class _Unpacker(Protocol):
    def __call__(self, data: bytes, most: int) -> bytes | None: ...


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """What is inside, by what the header `Content-Encoding` says, or by its first bytes: some clients don't say it.

    Raises InvalidEvent: too_large (more than `most` bytes), undecodable.
    """
    named = []
    if encoding:
        named = [name for each in encoding.lower().split(",") if (name := each.strip()) not in ("", "identity")]
    if len(named) > 2:  # nobody does that in earnest
        raise InvalidEvent("undecodable", f"packed {len(named)} times")
    for name in reversed(named):
        unpack = _UNPACKERS.get(name)
        if unpack is None:
            raise InvalidEvent("undecodable", f"Content-Encoding is none of {', '.join(_UNPACKERS)}")
        if name in ("gzip", "x-gzip") and not body.startswith(_GZIP):  # said, and not done
            continue
        body = _unpack(unpack, body, most)
    if body.startswith(_GZIP):
        body = _unpack(_gzip, body, most)
    return body


def _unpack(unpack: _Unpacker, body: bytes, most: int) -> bytes:
    try:
        found = unpack(body, most)
    except (zlib.error, brotli.error) as error:
        raise InvalidEvent("undecodable", f"the body can't be unpacked: {error}") from error
    if found is None:
        raise InvalidEvent("undecodable", "the packed body is cut off")
    if len(found) > most:
        raise InvalidEvent("too_large", f"unpacked, the body has more than {most} bytes")
    return found


def _zlib(wbits: int) -> _Unpacker:
    def unpack(data: bytes, most: int) -> bytes | None:
        inside = zlib.decompressobj(wbits)
        found = inside.decompress(data, most + 1)
        return found if inside.eof or len(found) > most else None

    return unpack


_gzip = _zlib(31)


def _deflate(data: bytes, most: int) -> bytes | None:
    """With zlib's header, as it should be, or without, as some send it."""
    try:
        return _zlib(15)(data, most)
    except zlib.error:
        return _zlib(-15)(data, most)


def _brotli(data: bytes, most: int) -> bytes | None:
    inside = brotli.Decompressor()
    found = inside.process(data, output_buffer_limit=most + 1)
    while not inside.is_finished() and len(found) <= most:
        more = inside.process(b"", output_buffer_limit=most + 1)
        if not more:
            return None
        found += more
    return found


_UNPACKERS: dict[str, _Unpacker] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
}


def json_of(body: bytes) -> Any:
    """The JSON value that a body is, however it is coded: also what only files should hold (NaN, half an emoji, a BOM,
    UTF-16). Raises InvalidEvent: empty, invalid_json and what else reading a file would tell.
    """
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    found = list(values(text_of(iter([body]))))
    if not found:
        raise InvalidEvent("empty", "the request has no body")
    for each in found:
        if each.error is not None:  # raised as it is, it would hold what holds it: a circle that nobody collects
            raise InvalidEvent(each.error.reason, each.error.detail)
    return found[0].value if len(found) == 1 else [each.value for each in found]


def form_of(body: bytes) -> bytes:
    """The JSON in a form (`data=...`), perhaps in base64, as PostHog's older clients send it; else the body itself."""
    if not body.startswith(b"data="):
        return body
    try:
        told = parse_qs(body.decode("ascii", "replace"), max_num_fields=20)["data"][0]
    except (ValueError, KeyError):
        return body
    return told.encode() if told.lstrip().startswith(("{", "[")) else in_base64(told) or body


def in_base64(told: str) -> bytes | None:
    """Of whichever alphabet, with or without its end."""
    told = told.strip().replace(" ", "+")
    padded = told + "=" * (-len(told) % 4)
    decode: Callable[[str], bytes] = urlsafe_b64decode if "-" in told or "_" in told else b64decode
    try:
        return decode(padded)
    except ValueError:
        return None
