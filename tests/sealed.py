"""Records of `identity.resolved`, as tests make and read them."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.runtime.ports import In, Out
from pipeline.wire.records import Forward, Headers, Move, Resolved, Seal, decode_row, decode_rows, encode


def sealed(message: Resolved[Any] | Move | Forward[Any], group: str) -> tuple[Headers, bytes]:
    """Headers and value."""
    seal = Seal(group)
    if isinstance(message, Resolved):
        return seal.headers(encode(msgspec.structs.replace(message, rows=[]))), encode(message.rows)
    return seal.move(message) if isinstance(message, Move) else seal.forward(message)


def record(offset: int, message: Resolved[Any] | Move | Forward[Any], group: str) -> In:
    """As it lies at an offset."""
    headers, value = sealed(message, group)
    return In(offset, 0, None, value, headers)


def unsealed(out: Out | In, group: str) -> Any:
    """The message of a record, whole."""
    message: Any = Seal(group).books(out.headers)
    assert out.value is not None
    if isinstance(message, Resolved):
        message.rows = decode_rows(out.value)
    elif isinstance(message, Move):
        message.profile = out.value
    else:
        message.row = decode_row(out.value)
    return message
