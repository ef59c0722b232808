"""One event on its way from the first hop to the second: neither a trigger's nor a profile's."""

from __future__ import annotations

from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest


class Row(msgspec.Struct, array_like=True, gc=False):
    """One event on its way from the first hop to the second, and in a profile's buffer.

    `root`: profile id it was routed to. `offset`: in its source partition. (In a buffer these are "" and 0: nobody asks
    there, and they take room.) `fingerprint`: 64 bits of event id and identifiers. `ids`: accepted identifiers, flat
    [namespace, value, ...], the person's strongest first.
    """

    offset: int
    root: str
    type: str
    occurred_at: int
    received_at: int
    event_id: str
    fingerprint: int
    ids: list[str]
    data: dict[str, Any]
    trace: str | None = None

    @property
    def order(self) -> tuple[int, int, str, int]:
        """Order of knowledge."""
        return (self.received_at, self.occurred_at, self.event_id, self.fingerprint)


def fingerprint_of(event_id: str, carried: list[str]) -> int:
    """Of an event with those identifiers, flat [namespace, value, ...], as it carried them."""
    return xxh3_64_intdigest("\0".join([event_id, *carried]).encode())


_SHORT_ARRAYS = [bytes((0x90 | n,)) for n in range(16)]


def array_head(n: int) -> bytes:
    """What stands before `n` items (https://github.com/msgpack/msgpack/blob/master/spec.md#array-format-family)."""
    if n < 16:
        return _SHORT_ARRAYS[n]
    return b"\xdc" + n.to_bytes(2, "big") if n < 1 << 16 else b"\xdd" + n.to_bytes(4, "big")
