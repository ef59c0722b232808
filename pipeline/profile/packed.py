"""Rows as they come from the first hop: packed, and most of them never unpacked.

The second hop needs of a row whose it is and what the profile counts. Only what a rule looks at is kept, as the bytes
that came, and is unpacked when it is folded. `_packed.pyx` does the same compiled, for the good case, an order of
magnitude faster; where it could not be built this module does without, and decides the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.events.compiled import fitting
from pipeline.profile import about as plain
from pipeline.triggers.fold import Row

_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_raws = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_ids = msgspec.msgpack.Decoder(list[str]).decode


_SHORT_ARRAYS = [bytes((0x90 | n,)) for n in range(16)]


def array_head(n: int) -> bytes:
    """What stands before `n` items (https://github.com/msgpack/msgpack/blob/master/spec.md#array-format-family)."""
    if n < 16:
        return _SHORT_ARRAYS[n]
    return b"\xdc" + n.to_bytes(2, "big") if n < 1 << 16 else b"\xdd" + n.to_bytes(4, "big")


class PlainRow:
    """A row, as msgpack of a `fold.Row`, with what is read of it; `ids` are packed too. `several`: more than one id."""

    __slots__ = ("fingerprint", "ids", "occurred_at", "offset", "raw", "received_at", "root", "several", "type")

    def __init__(self, raw: bytes | msgspec.Raw) -> None:
        row = _decode_row(raw)
        self.raw = bytes(raw)
        self.offset = row.offset
        self.root = row.root
        self.type = row.type
        self.occurred_at = row.occurred_at
        self.received_at = row.received_at
        self.fingerprint = row.fingerprint
        self.ids = _encode(row.ids)
        self.several = len(row.ids) > 2


def plain_count(packed: bytes, row: PlainRow | PackedRow) -> bytes:
    """See `count`."""
    data = _decode_row(row.raw).data
    return plain.count(packed, row.type, row.occurred_at, row.received_at, row.fingerprint, data)


if TYPE_CHECKING:
    from types import ModuleType

    from pipeline.profile import _packed
    from pipeline.profile._packed import PackedRow as PackedRow

    COMPILED: ModuleType | None = _packed
else:
    try:
        from pipeline.profile import _packed as COMPILED
        from pipeline.profile._packed import PackedRow

        fitting(COMPILED)
    except ImportError:
        COMPILED, PackedRow = None, PlainRow


def count(packed: bytes, row: PackedRow) -> bytes:
    """Take one event into a packed `About`; the same bytes come back if it is known already."""
    counted = None if COMPILED is None else COMPILED.count(packed, row)
    return plain_count(packed, row) if counted is None else counted


def pack_row(row: Row) -> PackedRow:
    """A row that is made here."""
    return PackedRow(_encode(row))


def rows_of(packed: bytes) -> list[PackedRow]:
    """Of a packed list of rows each. Raises ValueError, msgspec.DecodeError for what is none."""
    if COMPILED is not None:
        return COMPILED.rows_of(packed)  # type: ignore[no-any-return]
    return [PackedRow(raw) for raw in _decode_raws(packed)]


def unpack_row(row: PackedRow) -> Row:
    """The row, whole."""
    return _decode_row(row.raw)


def unpack_ids(ids: bytes) -> list[str]:
    """Flat [namespace, value, ...]."""
    return _decode_ids(ids)
