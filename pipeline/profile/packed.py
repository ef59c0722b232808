"""Rows as they come from the first hop: packed, and most of them never unpacked.

The second hop needs of a row whose it is and what the profile counts. Only what a rule looks at is kept, as the bytes
that came, and is unpacked when it is folded. `_packed.pyx` does the same compiled, for the good case, an order of
magnitude faster; where it could not be built this module does without, and decides the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect
from msgspec.structs import replace

from pipeline.events.compiled import fitting
from pipeline.profile import about as plain
from pipeline.profile.parts.part import CODE, PartEvent
from pipeline.wire.row import Row

_encode = msgspec.msgpack.Encoder().encode
_encode_into = msgspec.msgpack.Encoder().encode_into
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_raws = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_ids = msgspec.msgpack.Decoder(list[str]).decode


class PlainRow:
    """A row, as msgpack of a `Row`, with what is read of it; `ids` are packed too. `several`: more than one id. `kept`:
    as it waits in its profile, which knows whose it is (`Row`).
    """

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

    @property
    def kept(self) -> bytes:
        return _encode(replace(_decode_row(self.raw), root="", offset=0))


def plain_count(packed: bytes, row: PlainRow | PackedRow, asked: Collection[str] = ()) -> bytes:
    """See `count`."""
    data = _decode_row(row.raw).data
    return plain.count(packed, row.type, row.occurred_at, row.received_at, row.fingerprint, data, asked)


def count_asked(packed: bytes, row: PlainRow | PackedRow, asked: Collection[str]) -> bytes:
    """See about.count_asked."""
    data = _decode_row(row.raw).data
    event = PartEvent(row.type, CODE[row.type], row.occurred_at, row.received_at, row.fingerprint, data)
    return plain.count_asked(packed, event, asked)


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


def count(packed: bytes, row: PackedRow, asked: Collection[str] = ()) -> bytes:
    """Take one event into a packed `About`; the same bytes come back if it is known already. `asked`: the parts that
    are there because they are asked for.
    """
    counted: bytes | None = None if COMPILED is None else COMPILED.count(packed, row)
    if counted is None:
        return plain_count(packed, row, asked)
    return count_asked(counted, row, asked) if asked and counted is not packed else counted


def pack_row(row: Row) -> PackedRow:
    """A row that is made here."""
    return PackedRow(_encode(row))


def rows_of(packed: bytes) -> list[PackedRow]:
    """Of a packed list of rows each. Raises ValueError, msgspec.DecodeError for what is none."""
    if COMPILED is not None:
        return COMPILED.rows_of(packed)  # type: ignore[no-any-return]
    return [PackedRow(raw) for raw in _decode_raws(packed)]


def readable_rows(packed: bytes) -> tuple[list[PackedRow], list[tuple[bytes, Exception]]]:
    """The same where some of them are none: those that are rows, and the others, each with what is wrong with it.

    Raises msgspec.DecodeError for what is no list.
    """
    rows: list[PackedRow] = []
    bad: list[tuple[bytes, Exception]] = []
    for raw in map(bytes, _decode_raws(packed)):
        try:
            _decode_row(raw)
            rows.append(PackedRow(raw))
        except (ValueError, msgspec.MsgspecError) as problem:
            bad.append((raw, problem))
    return rows, bad


def unpack_row(row: PackedRow) -> Row:
    """The row, whole."""
    return _decode_row(row.raw)


def unpack_ids(ids: bytes) -> list[str]:
    """Flat [namespace, value, ...]."""
    return _decode_ids(ids)


def shape_of(kind: Any) -> tuple[str, Any] | None:
    """Where in a type there are structs, packed as arrays: ("struct", [(default, packed, or None; shape), ...]),
    ("list" or "map", shape of what it holds), ("any", None) where a number is read as it was told, or None.
    """
    kind = inspect.type_info(kind) if not isinstance(kind, inspect.Type) else kind
    if isinstance(kind, inspect.UnionType):
        (kind,) = (each for each in kind.types if not isinstance(each, inspect.NoneType))
    if isinstance(kind, inspect.AnyType):
        return "any", None
    if isinstance(kind, inspect.StructType) and kind.array_like and kind.tag is None:
        return "struct", [(_default(field), shape_of(field.type)) for field in kind.fields]
    if isinstance(kind, inspect.ListType) and (of := shape_of(kind.item_type)) is not None:
        return "list", of
    if isinstance(kind, inspect.DictType) and (of := shape_of(kind.value_type)) is not None:
        return "map", of
    return None


def _default(field: inspect.Field) -> bytes | None:
    if field.default is not msgspec.NODEFAULT:
        return _encode(field.default)
    return None if field.default_factory is msgspec.NODEFAULT else _encode(field.default_factory())


@cache
def packer(kind: Any) -> Callable[[Any], bytes]:
    """A function that packs values of this type, and leaves out the fields at an array's end that hold their defaults:
    most of what may be known of a person never is. Prices and quantities take fewer bytes where that is exact. Where
    nothing could be compiled all stays as it is; either is read.
    """
    if COMPILED is None:
        return _encode
    trimmed, shape, room = COMPILED.trimmed, COMPILED.shape(shape_of(kind)), bytearray()

    def pack(value: Any) -> bytes:
        _encode_into(value, room)
        return trimmed(room, shape)  # type: ignore[no-any-return]

    return pack
