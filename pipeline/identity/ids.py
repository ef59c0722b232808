"""Ids of identifiers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, in lower case
_PAIRS = [a + b for a in _LETTERS for b in _LETTERS]


@lru_cache(maxsize=1 << 16)
def leaf_id(namespace: str, value: str) -> str:
    """The leaf id of an identifier: 16 lower-case base32 characters (80 bits), the same everywhere and for ever."""
    n = int.from_bytes(blake2b(f"{namespace}\0{value}".encode(), digest_size=10).digest(), "big")
    high, low = n >> 40, n & 0xFFFFFFFFFF  # base64.b32encode does the same in three times the time
    return "".join(
        (
            _PAIRS[high >> 30], _PAIRS[high >> 20 & 1023], _PAIRS[high >> 10 & 1023], _PAIRS[high & 1023],
            _PAIRS[low >> 30], _PAIRS[low >> 20 & 1023], _PAIRS[low >> 10 & 1023], _PAIRS[low & 1023],
        )
    )  # fmt: skip


def own_id(ids: Mapping[str, Iterable[str]]) -> str:
    """The id of a profile that is one person's alone, by all their identifiers: the smallest of these."""
    return min(leaf_id(namespace, value) for namespace, values in ids.items() for value in values)
