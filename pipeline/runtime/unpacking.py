"""What producers packed, unpacked within bounds: five kilobytes of zstd may hold 150 megabytes.

A broker looks at the size of a record batch as it is sent, packed. aiokafka unpacks it whole, and as many of one answer
as hold the records that a poll asks for. Here a batch is unpacked up to `UNPACKED` bytes, and a poll ends behind the
batch with which it has come to so many; the rest is fetched again. A batch that is larger, or can't be unpacked, comes
as one `Unreadable`, so that its partition gets past it.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record import default_records, legacy_records
from aiokafka.record.memory_records import MemoryRecords

from pipeline.errors import InvalidEvent, UnpacksTooLarge
from pipeline.runtime.ports import In, Unreadable

UNPACKED = 16 * 1024 * 1024
CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
LOG_OVERHEAD = 12  # base offset and length, which stand before every batch
MAGIC, ATTRIBUTES, OLD_ATTRIBUTES = 16, 22, 17  # bytes of a batch
XERIAL = b"\x82SNAPPY\x00"
XERIAL_HEAD = 16

_mine = threading.local()


def gunzip(payload: Any) -> bytes:
    """gzip, of one member or several."""
    out, left = [], bytes(payload)
    room = UNPACKED
    while left:
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        out.append(member.decompress(left, room + 1))
        room -= len(out[-1])
        if room < 0:
            raise UnpacksTooLarge
        if not member.eof:
            raise ValueError("the gzip stream is cut off")
        left = member.unused_data
    return b"".join(out)


def _into(decompress_into: Callable[[Any, bytearray], int]) -> Callable[[Any], bytes]:
    def unpack(payload: Any) -> bytes:
        room: bytearray | None = getattr(_mine, "room", None)
        if room is None:  # memory that nothing is ever written to costs nothing
            room = _mine.room = bytearray(UNPACKED)
        try:
            size = decompress_into(payload, room)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):
                raise UnpacksTooLarge from error
            raise
        return bytes(memoryview(room)[:size])

    return unpack


unlz4 = _into(cramjam.lz4.decompress_into)
unzstd = _into(cramjam.zstd.decompress_into)


def unsnappy(payload: Any) -> bytes:
    """Snappy: a block, or Java's chain of blocks. Each says first how large it is, which nobody has to believe."""
    data = memoryview(payload)
    if data[: len(XERIAL)] != XERIAL:
        return _block(data, UNPACKED)
    out, at, room = [], XERIAL_HEAD, UNPACKED
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        at += 4
        out.append(_block(data[at : at + size], room))
        room -= len(out[-1])
        at += size
    return b"".join(out)


def _block(block: memoryview, room: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(block) > room:
        raise UnpacksTooLarge
    return bytes(cramjam.snappy.decompress_raw(block))


class Batches:
    """The record batches of one answer of a broker, as `aiokafka.record.MemoryRecords` gives them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._at = 0
        self._spent = 0

    def begin(self) -> None:
        """A new poll."""
        self._spent = 0

    def size_in_bytes(self) -> int:
        """Of all, packed."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether this poll goes on."""
        return self._spent < UNPACKED and self._records.has_next()

    def next_batch(self) -> Any:
        """The next one; None: there is none."""
        batch: Any = self._records.next_batch()
        if batch is not None:
            start = self._at
            self._at += LOG_OVERHEAD + int.from_bytes(self._data[start + 8 : start + LOG_OVERHEAD], "big")
            if (codec := self._codec(start)) != 0:
                return Packed(self, batch, start, self._at, codec)
        return batch

    def _codec(self, start: int) -> int:
        """How the batch there is packed. Before Kafka 0.11 (magic 0 and 1) it is a message that holds others."""
        at = ATTRIBUTES if self._data[start + MAGIC] >= 2 else OLD_ATTRIBUTES
        return self._data[start + at] & 7

    def unpack(self, batch: Any, start: int, end: int, codec: int) -> Iterator[In]:
        """Its records."""
        name = CODECS.get(codec, f"codec {codec}")
        _mine.size = 0
        try:
            records: Iterator[In] = iter(batch if hasattr(batch, "base_offset") else _old(batch))
        except UnpacksTooLarge:
            detail = f"packed with {name} and holds more than {UNPACKED:,} bytes"
            return iter([self._unreadable(batch, "too_large", detail, start, end)])
        except Exception as problem:  # its checksum was right: it was sent so
            detail = f"packed with {name} and can't be unpacked: {type(problem).__name__}: {problem}"
            return iter([self._unreadable(batch, "undecodable", detail, start, end)])
        finally:
            self._spent += _mine.size
        return records

    def _unreadable(self, batch: Any, reason: str, detail: str, start: int, end: int) -> In:
        first, last = _first_of(batch), batch.next_offset - 1
        detail = f"the record batch of offsets {first} to {last} is {detail}"
        record = Unreadable(last, getattr(batch, "max_timestamp", -1), None, None, [])
        record.first, record.packed, record.error = first, self._data[start:end], InvalidEvent(reason, detail)
        return record


class Packed:
    """A batch that has to be unpacked. What aiokafka asks of one."""

    is_control_batch = False

    def __init__(self, batches: Batches, batch: Any, start: int, end: int, codec: int) -> None:
        self._batches, self._batch, self._place = batches, batch, (start, end, codec)
        self.base_offset = _first_of(batch)
        self.next_offset = batch.next_offset
        self.producer_id = batch.producer_id
        self.is_transactional = batch.is_transactional
        self.validate_crc = batch.validate_crc

    def __iter__(self) -> Iterator[In]:
        return self._batches.unpack(self._batch, *self._place)


class Records(fetcher.PartitionRecords):
    """What was fetched of a partition, record by record as it was parsed.

    aiokafka copies each into an object that says of which topic it is, too; `transport.Batch` does that for all of
    them. Copying, and a function called for each, take longer than parsing it.
    """

    def __iter__(self) -> Iterator[In]:
        self._records.begin()
        records: Iterator[In] = self._records_iterator
        return records

    def _consumer_record(self, tp: Any, record: In) -> In:
        return record


def _first_of(batch: Any) -> int:
    """Its first offset; an old one says only where it ends."""
    first: int = getattr(batch, "base_offset", batch.next_offset - 1)
    return first


def _old(batch: Any) -> list[In]:
    """The records of an old one: aiokafka unpacks it only when the first of them is asked for."""
    return list(batch)


def _counted(unpack: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def counting(payload: Any) -> bytes:
        unpacked = unpack(payload)
        _mine.size = len(unpacked)
        return unpacked

    return counting


def bound() -> None:
    """From now on aiokafka unpacks so, in this process, and hands on what was parsed."""
    fetcher.MemoryRecords, fetcher.PartitionRecords = Batches, Records
    for kind in (default_records.DefaultRecordBatch, legacy_records.LegacyRecordBatch):
        module = __import__(kind.__module__, fromlist=["gzip_decode"])
        for name, unpack in (("gzip", gunzip), ("snappy", unsnappy), ("lz4", unlz4), ("zstd", unzstd)):
            setattr(module, f"{name}_decode", _counted(unpack))
