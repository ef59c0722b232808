"""Ids of identifiers."""

from __future__ import annotations

from base64 import b32encode
from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=1 << 16)
def leaf_id(namespace: str, value: str) -> str:
    """The leaf id of an identifier: 16 lower-case base32 characters (80 bits), the same everywhere and for ever."""
    return b32encode(blake2b(f"{namespace}\0{value}".encode(), digest_size=10).digest()).decode("ascii").lower()
