"""What producers packed, unpacked within bounds: five kilobytes of zstd may hold 150 megabytes.

A broker looks at the size of a record batch as it is sent, packed. aiokafka unpacks it whole, and as many of one answer
as hold the records that a poll asks for. Here a batch is unpacked up to `UNPACKED` bytes, and a poll ends behind the
batch with which it has come to so many; the rest is fetched again. A batch that is larger, or can't be unpacked, comes
as one `Unreadable`, so that its partition gets past it.
"""

from __future__ import annotations

import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
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
# An lz4 frame: magic number, flags (here: no checksums, no dictionary, no size told; blocks may lean on others or not),
# size of a block at the most, checksum of these; blocks, each behind its length; no length.
ONE_BLOCK = (b"\x04\x22\x4d\x18\x40", b"\x04\x22\x4d\x18\x60")
FRAME_HEAD, FRAME_END = 7, bytes(4)

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


def _room() -> bytearray:
    room: bytearray | None = getattr(_mine, "room", None)
    if room is None:  # memory that nothing is ever written to costs nothing
        room = _mine.room = bytearray(UNPACKED)
        _mine.view = memoryview(room)
    return room


def _into(decompress_into: Callable[[Any, bytearray], int]) -> Callable[[Any], bytes]:
    def unpack(payload: Any) -> bytes:
        room = _room()
        try:
            size = decompress_into(payload, room)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):
                raise UnpacksTooLarge from error
            raise
        return bytes(_mine.view[:size])

    return unpack


_unframe = _into(cramjam.lz4.decompress_into)
unblock_into = cramjam.lz4.decompress_block_into
unzstd = _into(cramjam.zstd.decompress_into)


def unlz4(payload: Any) -> bytes:
    """lz4, of one frame or several. What clients send of a few records is one block, of which nothing but its length is
    told: to make what reads frames takes several times as long as to unpack it.
    """
    data = bytes(payload)
    if data[:5] in ONE_BLOCK and data[-4:] == FRAME_END:
        size = int.from_bytes(data[FRAME_HEAD : FRAME_HEAD + 4], "little")  # the highest bit: it isn't packed
        if 0 < size == len(data) - FRAME_HEAD - 8:
            room = _room()
            try:
                return bytes(_mine.view[: unblock_into(data[FRAME_HEAD + 4 : -4], room)])
            except cramjam.DecompressionError:
                pass  # the other way says what is wrong
    return _unframe(data)


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
        self._start = self._end = 0  # of the batch that came last
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
            self._start = start = self._end
            self._end = start + LOG_OVERHEAD + int.from_bytes(self._data[start + 8 : start + LOG_OVERHEAD], "big")
        return batch

    def records(self, batch: Any) -> list[In]:
        """Those of the batch that came last."""
        codec = self._codec(self._start)
        return list(batch if codec == 0 else self._unpack(batch, codec))

    def _codec(self, start: int) -> int:
        """How the batch there is packed. Before Kafka 0.11 (magic 0 and 1) it is a message that holds others."""
        at = ATTRIBUTES if self._data[start + MAGIC] >= 2 else OLD_ATTRIBUTES
        return self._data[start + at] & 7

    def _unpack(self, batch: Any, codec: int) -> Iterator[In]:
        _mine.size = 0
        try:
            return iter(batch if hasattr(batch, "base_offset") else _old(batch))
        except UnpacksTooLarge:
            return iter([self._unreadable(batch, codec, "too_large", f"holds more than {UNPACKED:,} bytes")])
        except Exception as problem:  # its checksum was right: it was sent so
            detail = f"can't be unpacked: {type(problem).__name__}: {problem}"
            return iter([self._unreadable(batch, codec, "undecodable", detail)])
        finally:
            self._spent += _mine.size

    def _unreadable(self, batch: Any, codec: int, reason: str, detail: str) -> In:
        first, last = _first_of(batch), batch.next_offset - 1
        packed = f"packed with {CODECS.get(codec, f'codec {codec}')}"
        detail = f"the record batch of offsets {first} to {last} is {packed} and {detail}"
        record = Unreadable(last, getattr(batch, "max_timestamp", -1), None, None, [])
        record.first, record.packed = first, self._data[self._start : self._end]
        record.error = InvalidEvent(reason, detail)
        return record


class Records(fetcher.PartitionRecords):
    """What was fetched of a partition, batch by batch as it was parsed.

    aiokafka goes record by record, and copies each into an object that says of which topic it is, too;
    `transport.Batch` does that for all of them. That takes longer than parsing them.
    """

    next_fetch_offset: int

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._reached = self.next_fetch_offset  # next offset behind the batches that were parsed
        self._left: list[In] = []  # of them, for the next poll

    def take(self, most: int) -> tuple[list[In], bool]:
        """Up to `most` of the next records, and whether it ends with them: there are no more, or what a poll unpacks
        is unpacked. Raises CorruptRecordException; then nothing was taken, and it is at its end.
        """
        found, self._left = self._left, []
        over = False
        if len(found) < most:
            self._records.begin()
            try:
                for records in self._records_iterator:
                    found += records
                    if len(found) >= most:
                        break
                else:
                    over = True
            except BaseException:
                self._reached = self.next_fetch_offset
                raise
        self.next_fetch_offset = self._reached
        if len(found) > most:
            self._left = found[most:]
            del found[most:]
            self.next_fetch_offset = found[-1].offset + 1
        return found, over

    def _unpack_records(self) -> Iterator[list[In]]:
        """aiokafka's, which see, but for whole batches."""
        batches, committed = self._records, self._isolation_level == fetcher.READ_COMMITTED
        while batches.has_next():
            batch = batches.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if committed and (self._aborted_transactions or self._aborted_producers) and self._aborted(batch):
                self._reached = batch.next_offset
                continue
            records = [] if batch.is_control_batch else batches.records(batch)
            if records and records[0].offset < self._reached:  # the broker gives whole batches
                records = [record for record in records if record.offset >= self._reached]
            self._reached = batch.next_offset
            yield records

    def _aborted(self, batch: Any) -> bool:
        if batch.producer_id is None:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return batch.is_transactional and batch.producer_id in self._aborted_producers


class Result(fetcher.FetchResult):
    """Gives what was fetched of a partition batch by batch."""

    _partition_records: Records | None

    def getone(self) -> In | None:
        """As aiokafka's."""
        found = self.getall(1)
        return found[0] if found else None

    def getall(self, max_records: int | None = None) -> list[In]:
        """As aiokafka's."""
        if not self.check_assignment(self._topic_partition) or self._partition_records is None:
            return []
        found, over = self._partition_records.take(sys.maxsize if max_records is None else max_records)
        self._update_position()
        if over:
            self._partition_records = None
        return found


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
    fetcher.MemoryRecords, fetcher.PartitionRecords, fetcher.FetchResult = Batches, Records, Result
    for kind in (default_records.DefaultRecordBatch, legacy_records.LegacyRecordBatch):
        module = __import__(kind.__module__, fromlist=["gzip_decode"])
        for name, unpack in (("gzip", gunzip), ("snappy", unsnappy), ("lz4", unlz4), ("zstd", unzstd)):
            setattr(module, f"{name}_decode", _counted(unpack))
