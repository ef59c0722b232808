"""What the hops need of a log. Kafka in production, a simulated one in tests/simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pipeline.errors import InvalidEvent


class Out(NamedTuple):
    """A record to produce. `partition` None: the partitioner of Kafka's clients, by key."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class In(NamedTuple):
    """A record read. `timestamp`: when the broker appended it, by its own clock (UTC ms); 0 or less: nobody says."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]  # Kafka knows headers without a value


class Unreadable(In):
    """A record batch that can't be unpacked: it stands for the records from offset `first` to its own. `packed`: the
    batch as it lies in Kafka. Whoever doesn't know of this finds a record without a value.
    """

    first: int
    packed: bytes
    error: InvalidEvent

    @property
    def place(self) -> list[tuple[str, bytes]]:
        """What a dead letter says of it besides."""
        return [("pipeline.batch", f"{self.first}-{self.offset}".encode())]


class Sender(Protocol):
    """Produces batches: all of one batch or, where the sender is transactional, none."""

    async def send(self, messages: list[Out]) -> None:
        """Returns when the broker has them all. Raises Fenced, Unsent, or whatever else: then nothing is certain."""
