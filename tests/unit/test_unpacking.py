"""Record batches that hold more than anybody would think, and those that can't be unpacked."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from pipeline.errors import UnpacksTooLarge
from pipeline.runtime.ports import Unreadable
from pipeline.runtime.unpacking import (
    ONE_BLOCK,
    UNPACKED,
    Batches,
    Records,
    Result,
    bound,
    gunzip,
    unlz4,
    unsnappy,
    unzstd,
)

bound()

TP0 = TopicPartition("t", 0)
CODES = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip_encode,
    "snappy": snappy_encode,
    "raw snappy": lambda raw: snappy_encode(raw, xerial_compatible=False),
    "lz4": lz4_encode,
    "zstd": zstd_encode,
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gunzip,
    "snappy": unsnappy,
    "raw snappy": unsnappy,
    "lz4": unlz4,
    "zstd": unzstd,
}


@pytest.mark.parametrize("codec", PACK)
def test_what_fits_comes_out_as_it_went_in(codec: str) -> None:
    rng = random.Random(1)
    for size in (0, 1, 40, 100_000, UNPACKED):
        raw = rng.randbytes(min(size, 5_000)) * (size // 5_000 or 1)
        assert UNPACK[codec](PACK[codec](raw)) == raw
    assert UNPACK[codec](PACK[codec](bytes(UNPACKED))) == bytes(UNPACKED)


@pytest.mark.parametrize("codec", PACK)
def test_what_does_not_is_never_unpacked(codec: str) -> None:
    packed = [PACK[codec](bytes(UNPACKED + 1)), PACK[codec](bytes(10 * UNPACKED))]
    UNPACK[codec](PACK[codec](b"x"))  # room is made once
    tracemalloc.start()
    try:
        for each in packed:
            with pytest.raises(UnpacksTooLarge):
                UNPACK[codec](each)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * UNPACKED
    finally:
        tracemalloc.stop()


def test_several_members_count_as_one() -> None:
    assert gunzip(gzip.compress(b"a") + gzip.compress(b"b")) == b"ab"
    assert unlz4(lz4_encode(b"a") + lz4_encode(b"b")) == b"ab"
    assert unzstd(zstd_encode(b"a") + zstd_encode(b"b")) == b"ab"
    half = bytes(UNPACKED // 2 + 1)
    for pack, unpack in ((gzip.compress, gunzip), (lz4_encode, unlz4), (zstd_encode, unzstd)):
        with pytest.raises(UnpacksTooLarge):
            unpack(pack(half) + pack(half))


def test_a_frame_of_one_block_is_taken_as_any_other() -> None:
    rng = random.Random(2)
    for raw in (b"", b"a", rng.randbytes(40), rng.randbytes(100) * 600, rng.randbytes(60_000)):
        block = bytes(cramjam.lz4.compress_block(raw, store_size=False))
        for head in ONE_BLOCK:
            check = {0x40: 0xC0, 0x60: 0x82}[head[-1]]
            frame = head + bytes([0x40, check]) + len(block).to_bytes(4, "little") + block + bytes(4)
            assert unlz4(frame) == raw
    with pytest.raises(cramjam.DecompressionError):  # blocks are not so large
        block = bytes(cramjam.lz4.compress_block(bytes(UNPACKED + 1), store_size=False))
        unlz4(ONE_BLOCK[0] + b"\x40\xc0" + len(block).to_bytes(4, "little") + block + bytes(4))
    with pytest.raises(cramjam.DecompressionError):
        unlz4(ONE_BLOCK[0] + b"\x40\xc0" + (5).to_bytes(4, "little") + b"\xff\xff\xff\xff\xff" + bytes(4))


def test_a_size_that_is_a_lie_is_not_believed() -> None:
    lie = bytearray(bytes(cramjam.snappy.compress_raw(b"x" * 100)))
    lie[0:1] = b"\xff\xff\xff\xff\x0f"  # 4 GB
    with pytest.raises(UnpacksTooLarge):
        unsnappy(bytes(lie))


def batch(codec: str, values: list[bytes | None], base: int = 0) -> bytes:
    """A record batch as a broker keeps it."""
    size = sum(len(value or b"") + 100 for value in values)
    builder = DefaultRecordBatchBuilder(2, CODES.get(codec, 0), 0, -1, -1, 0, 2 * size + 1000)
    for offset, value in enumerate(values):
        builder.append(offset, 1_234, b"k", value, [])
    built = builder.build()
    built[:8] = base.to_bytes(8, "big")  # the broker gives it; the checksum begins behind it
    return bytes(built)


def polled(data: bytes, position: int = 0, most: int = 1_000) -> list[list[Any]]:
    """What one answer gives, poll by poll, fetched again from where a poll ended, as aiokafka's fetcher does it."""
    found: list[list[Any]] = []

    class State:
        paused = False

        def __init__(self) -> None:
            self.position = position

        def consumed_to(self, at: int) -> None:
            self.position = at

    state = State()

    class Assignment:
        active = True

        def state_value(self, tp: object) -> State:
            return state

    while True:
        while data and int.from_bytes(data[:8], "big") + int.from_bytes(data[23:27], "big") < state.position:
            data = data[12 + int.from_bytes(data[8:12], "big") :]  # a broker begins with the batch that holds it
        records = Records(TP0, Batches(data), [], state.position, None, None, True, 0)
        result = Result(TP0, assignment=Assignment(), partition_records=records, backoff=0)
        began = state.position
        while result.has_more():
            if taken := result.getall(most):
                found.append(taken)
        if state.position == began:
            return found


@pytest.mark.parametrize("codec", CODES)
def test_a_partition_gets_past_a_batch_that_is_too_large(codec: str) -> None:
    bomb = batch(codec, [b"x", bytes(UNPACKED), b"y"], 1)
    data = batch(codec, [b"a"]) + bomb + batch("none", [b"b"], 4) + batch(codec, [b"c", None], 5)
    (records,) = polled(data)
    assert [record.offset for record in records] == [0, 3, 4, 5, 6]
    assert [record.value for record in records] == [b"a", None, b"b", b"c", None]
    unreadable = records[1]
    assert isinstance(unreadable, Unreadable)
    assert (unreadable.first, unreadable.packed, unreadable.timestamp) == (1, bomb, 1_234)
    assert unreadable.error.reason == "too_large"
    assert unreadable.place == [("pipeline.batch", b"1-3")]
    assert f"the record batch of offsets 1 to 3 is packed with {codec}" in unreadable.error.detail


def test_a_batch_that_cannot_be_unpacked_is_passed_too() -> None:
    """Its checksum is right: it will never be another one."""
    broken = bytearray(batch("none", [b"not packed at all"], 1))
    broken[22] |= CODES["zstd"]
    broken[17:21] = calc_crc32c(bytes(broken[21:])).to_bytes(4, "big")
    (records,) = polled(bytes(broken) + batch("zstd", [b"c"], 2), 1)
    assert [(type(record) is Unreadable, record.offset) for record in records] == [(True, 1), (False, 2)]
    assert records[0].error.reason == "undecodable"


def old_batch(magic: int, codec: str, values: list[bytes], last: int) -> bytes:
    """As producers of before Kafka 0.11 sent it: a message that holds others, at the offset of the last of them."""
    builder = LegacyRecordBatchBuilder(magic, CODES.get(codec, 0), 2 * sum(map(len, values)) + 1_000)
    for offset, value in enumerate(values):
        assert builder.append(offset, 1_234, b"k", value) is not None
    built = builder.build()
    if codec in CODES:
        built[:8] = last.to_bytes(8, "big")
    return bytes(built)


def unpacked(data: bytes) -> list[Any]:
    """All that one answer holds."""
    batches, found = Batches(data), []
    while batches.has_next():
        found += batches.records(batches.next_batch())
        batches.begin()
    return found


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "none"])
def test_old_batches_are_bounded_too(magic: int, codec: str) -> None:
    if codec == "none":  # of which nothing has to be unpacked
        records = unpacked(old_batch(magic, codec, [b"a", b"b"], 1))
        assert [record.value for record in records] == [b"a", b"b"]
        return
    bomb = old_batch(1 if codec == "lz4" else magic, codec, [bytes(UNPACKED)], 1)
    good = [old_batch(1, codec, [value], at) for at, value in ((0, b"a"), (2, b"c"))]
    records = unpacked(good[0] + bomb + good[1])
    assert [record.offset for record in records] == [0, 1, 2]
    assert [record.value for record in records] == [b"a", None, b"c"]
    unreadable = records[1]
    assert isinstance(unreadable, Unreadable)
    assert (unreadable.first, unreadable.packed, unreadable.error.reason) == (1, bomb, "too_large")
    assert f"packed with {codec}" in unreadable.error.detail


def test_what_a_poll_has_no_room_for_is_left_for_the_next() -> None:
    data = batch("lz4", [b"a", b"b", b"c"]) + batch("none", [b"d", b"e"], 3) + batch("lz4", [b"f"], 5)
    for most in range(1, 8):
        polls = polled(data, 1, most)
        assert [record.value for poll in polls for record in poll] == [b"b", b"c", b"d", b"e", b"f"]
        assert all(len(poll) == min(most, 5) for poll in polls[: 5 // most])


def test_a_broken_batch_stays_in_front_and_what_came_before_it_is_not_lost() -> None:
    broken = bytearray(batch("none", [b"c"], 2))
    broken[-1] ^= 1
    records = Records(TP0, Batches(batch("none", [b"a", b"b"]) + bytes(broken)), [], 0, None, None, True, 0)
    with pytest.raises(CorruptRecordException):
        records.take(10)
    assert records.next_fetch_offset == 0
    assert records.take(10) == ([], True)
    assert records.next_fetch_offset == 0


def test_what_was_aborted_is_left_out() -> None:
    def of(producer: int, value: bytes, base: int, transaction: bool = True) -> bytes:
        builder = DefaultRecordBatchBuilder(2, 0, transaction, producer, 0, 0, 1_000)
        builder.append(0, 1_234, b"k", value, [])
        built = builder.build()
        built[:8] = base.to_bytes(8, "big")
        return bytes(built)

    def marker(producer: int, kind: int, base: int) -> bytes:
        builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, 0, 1_000)
        builder.append(0, 1_234, bytes([0, 0, 0, kind]), bytes(6), [])
        built = builder.build()
        built[:8] = base.to_bytes(8, "big")
        built[22] |= 0x20  # a control batch
        built[17:21] = calc_crc32c(bytes(built[21:])).to_bytes(4, "big")
        return bytes(built)

    data = of(7, b"no", 0) + of(8, b"yes", 1) + marker(7, 0, 2) + of(7, b"again", 3) + marker(8, 1, 4)
    for isolation, expected in ((1, [b"yes", b"again"]), (0, [b"no", b"yes", b"again"])):
        records = Records(TP0, Batches(data), [(7, 0)], 0, None, None, True, isolation)
        found, over = records.take(10)
        assert ([record.value for record in found], over) == (expected, True)
        assert records.next_fetch_offset == 5


def test_a_poll_ends_where_it_holds_enough_and_the_next_goes_on_there() -> None:
    large: list[bytes | None] = [bytes(UNPACKED // 4)] * 3
    data = b"".join(batch("zstd", large, 3 * n) for n in range(5)) + batch("zstd", [b"z"], 15)
    polls = polled(data)
    assert [record.offset for poll in polls for record in poll] == list(range(16))
    assert all(sum(len(record.value) for record in poll) < 2 * UNPACKED for poll in polls)
    assert len(polls) == 3
