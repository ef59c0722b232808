"""Names of keys, so that what must move together lies in one slot of a Redis Cluster and partitions spread evenly."""

from __future__ import annotations

import binascii
from functools import lru_cache

SLOTS = 16_384


def slot(tag: str) -> int:
    """The cluster slot of every key whose hash tag (the part in braces) this is."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


@lru_cache(maxsize=4096)
def partition_tag(prefix: str, partition: int, partitions: int) -> str:
    """Hash tag of a second-hop partition: its slot lies in the partition-th of `partitions` equal shares of all slots.

    A cluster's nodes hold ranges of slots, so consecutive shares make for as many partitions on each. Raises ValueError
    where partition isn't below partitions.
    """
    if not 0 <= partition < partitions:
        raise ValueError(f"partition {partition} of {partitions}: there is no such partition")
    number = 0
    while slot(tag := f"{prefix}:{partition}.{number}") * partitions // SLOTS != partition:
        number += 1
    return tag


def graph_keys(prefix: str) -> list[str]:
    """KEYS of resolve.lua."""
    return [f"{{{prefix}:g}}:{name}" for name in ("links", "members", "logins", "positions", "names")]


def partition_keys(prefix: str, partition: int, partitions: int) -> list[str]:
    """KEYS of check.lua."""
    tag = partition_tag(prefix, partition, partitions)
    return [f"{{{tag}}}:{name}" for name in ("meta", "states", "timers", "outbox")]
