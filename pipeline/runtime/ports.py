"""What the hops need of a log. Kafka in production, a simulated one in tests/simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Out(NamedTuple):
    """A record to produce. `partition` None: the partitioner of Kafka's clients, by key."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class In(NamedTuple):
    """A record read. `timestamp`: when the broker appended it, by its own clock (UTC ms); 0 or less: nobody says."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Sender(Protocol):
    """Produces batches: all of one batch or, where the sender is transactional, none."""

    async def send(self, messages: list[Out]) -> None:
        """Returns when the broker has them all. Raises Fenced, or any other exception: then nothing is certain."""
