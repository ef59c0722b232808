"""Logins of whoever is alone on a device, close upon one that the fold will see.

Of these the fold needs nothing but when they were, and that only in case somebody else's login turns up between them,
read late. So they wait as sixteen bytes each, until the fold has passed them: who is logged in tells it with each page.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

import msgspec

from pipeline.wire.row import Row

Repeats = dict[bytes, bytearray]
"""By packed identifiers: occurred_at and received_at, UTC ms, eight bytes each, big-endian."""

WITHIN = 30 * 60_000
"""Of event time, after a login that the fold will see, or before it."""
WAITING = 64
"""Beyond so many of a person they are looked at as soon as the fold may pass them."""
Entry = tuple[int, int, bytes]
"""received_at, occurred_at, packed identifiers."""

_ENTRY = Struct(">QQ")
_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_ids = msgspec.msgpack.Decoder(list[str]).decode
_TIMES = "repeats"
STORED = b"\x9a\x00\xa0\xa0"
"""So begins what `pack` makes, and no other row."""


def pack(repeats: Repeats) -> bytes:
    """As they are stored among a profile's rows, before all others: a row for each of the identifiers, without a type,
    told at the last time. A version that doesn't know them takes each for a login at that time.
    """
    out = b""
    for ids, entries in repeats.items():
        occurred_at, received_at = _ENTRY.unpack(entries[-_ENTRY.size :])
        data = {_TIMES: bytes(entries)}
        out += _encode(Row(0, "", "", occurred_at, received_at, "", 0, _decode_ids(ids), data))
    return out


def unpack(rows: list[msgspec.Raw]) -> tuple[Repeats, list[msgspec.Raw]]:
    """Of packed rows, them and the others."""
    found: Repeats = {}
    for number, raw in enumerate(rows):
        if not bytes(raw).startswith(STORED):
            return found, rows[number:]
        row = _decode_row(raw)
        found[_encode(row.ids)] = bytearray(row.data[_TIMES])
    return found, []


def note(repeats: Repeats, ids: bytes, occurred_at: int, received_at: int) -> None:
    """One more."""
    repeats.setdefault(ids, bytearray()).extend(_ENTRY.pack(occurred_at, received_at))


def many(repeats: Repeats | None, clock: int) -> bool:
    """Whether more wait than should, and some need not: everything received before `clock` (UTC ms) may be folded."""
    if not repeats:
        return False
    past = any(_ENTRY.unpack_from(entries)[1] < clock for entries in repeats.values())
    return past and sum(map(len, repeats.values())) > WAITING * _ENTRY.size


def rows(entries: Iterable[Entry]) -> list[Row]:
    """As rows without a type: they tell who was on which device, and nothing else."""
    return [
        Row(0, "", "", occurred_at, received_at, "", 0, _decode_ids(ids), {})
        for received_at, occurred_at, ids in entries
    ]


def before(repeats: Repeats | None, upto: int) -> tuple[list[Entry], Repeats | None]:
    """Those that were received before that (UTC ms), in order of knowledge, and the others."""
    past: list[Entry] = []
    left: Repeats = {}
    for ids, entries in (repeats or {}).items():
        for occurred_at, received_at in _ENTRY.iter_unpack(entries):
            if received_at < upto:
                past.append((received_at, occurred_at, ids))
            else:
                note(left, ids, occurred_at, received_at)
    past.sort()
    return past, left or None


def joined(some: Repeats | None, others: Repeats | None) -> Repeats | None:
    """Those of two profiles that are one now, each once."""
    if not some or not others:
        return some or others
    out: Repeats = {}
    for ids in sorted({*some, *others}):
        both = {each for of in (some, others) for each in _ENTRY.iter_unpack(of.get(ids, b""))}
        out[ids] = bytearray(b"".join(_ENTRY.pack(*each) for each in sorted(both)))
    return out
