"""Fetch requests and their answers, packed and read in a few steps.

They name every partition each time, and aiokafka packs and reads field by field: that takes longer than all else that a
fetch of a few records needs. Only the version that every broker since Kafka 2.3 knows is done here; older ones are
done as aiokafka does them.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from itertools import chain
from struct import Struct
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11

HEAD = Struct(">iiiibiii")  # up to the number of topics
TAIL = Struct(">ih")  # no forgotten topics, length of the rack's name
COUNT, LENGTH = Struct(">i"), Struct(">h")
ANSWER = Struct(">ihii")  # throttled ms, error, session, topics
PARTITION = Struct(">ihqqqi")  # number, error, high watermark, last stable offset, first offset, aborted transactions
ABORTED = Struct(">qq")  # producer, first offset
RECORDS = Struct(">ii")  # preferred replica, bytes of records

Partition = tuple[int, int, int, int, int, list[tuple[int, int]] | None, int, bytes | None]


class FetchAnswer(FetchResponse_v11):
    """An answer to `PackedFetch`."""

    @classmethod
    def decode(cls, data: BytesIO | bytes) -> FetchAnswer:
        """As aiokafka's. Raises ValueError or struct.error where it is cut off."""
        if isinstance(data, bytes):
            raw, at = data, 0
        else:
            raw, at = data.getvalue(), data.tell()
        throttled, error, session, count = ANSWER.unpack_from(raw, at)
        at += ANSWER.size
        topics = []
        for _ in range(count):
            (size,) = LENGTH.unpack_from(raw, at)
            name = raw[at + 2 : at + 2 + size].decode()
            at += 2 + size
            (partitions,) = COUNT.unpack_from(raw, at)
            at += 4
            found = []
            for _ in range(partitions):
                partition, at = _partition(raw, at)
                found.append(partition)
            topics.append((name, found))
        if at > len(raw):
            raise ValueError("the answer to a fetch is cut off")
        return cls(throttled, error, session, topics)


class PackedFetch(FetchRequest_v11):
    """A request."""

    RESPONSE_TYPE = FetchAnswer

    def encode(self) -> bytes:
        """As aiokafka's."""
        fields: Any = self.__dict__
        head = HEAD.pack(
            fields["replica_id"], fields["max_wait_time"], fields["min_bytes"], fields["max_bytes"],
            fields["isolation_level"], fields["session_id"], fields["session_epoch"], len(fields["topics"]),
        )  # fmt: skip
        parts = [head]
        for topic, partitions in fields["topics"]:
            name, count = topic.encode(), len(partitions)
            parts += LENGTH.pack(len(name)), name, COUNT.pack(count)
            parts.append(_places(count).pack(*chain.from_iterable(partitions)))
        rack = fields["rack_id"].encode()
        parts += TAIL.pack(0, len(rack)), rack
        return b"".join(parts)


class Fetch(FetchRequest):
    """What the fetcher asks."""

    def build(self, request_struct_class: Any) -> Any:
        """Of the version that the broker knows."""
        return super().build(PackedFetch if request_struct_class is FetchRequest_v11 else request_struct_class)


def _partition(raw: bytes, at: int) -> tuple[Partition, int]:
    number, error, high, stable, first, count = PARTITION.unpack_from(raw, at)
    at += PARTITION.size
    aborted: list[Any] | None = [] if count >= 0 else None
    if count > 0:
        aborted = [ABORTED.unpack_from(raw, at + n * ABORTED.size) for n in range(count)]
        at += count * ABORTED.size
    replica, size = RECORDS.unpack_from(raw, at)
    at += RECORDS.size
    records = raw[at : at + size] if size >= 0 else None
    return (number, error, high, stable, first, aborted, replica, records), at + max(size, 0)


@cache
def _places(count: int) -> Struct:
    """Of partitions: number, leader's epoch, offset, first offset, bytes."""
    return Struct(">" + count * "iiqqi")


def bound() -> None:
    """From now on aiokafka fetches so, in this process."""
    fetcher.FetchRequest = Fetch
