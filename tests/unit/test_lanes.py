"""How much waits in a lane."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import ConsumerRecord
from faust.types import TP

from pipeline.runtime import lanes
from pipeline.runtime.lanes import Lane, Records
from pipeline.runtime.transport import Batch

TP0 = TP("t", 0)


def records(first: int, count: int, size: int) -> Records:
    made: Any = ConsumerRecord
    value = b"x" * size
    return [made(TP0.topic, 0, first + n, 0, 0, None, value, None, -1, size, ()) for n in range(count)]


def test_few_large_records_fill_a_lane_as_many_small_ones_do() -> None:
    async def run() -> None:
        gate = asyncio.Event()
        done = asyncio.Event()

        async def handle(tp: TP, batch: Records) -> None:
            await gate.wait()
            if batch[-1].offset == lanes.FETCHES - 1:
                done.set()

        lane = Lane(TP0, handle, lambda problem: None, 100)
        lane.open(1, 0)
        lane.put(Batch(TP0, 1, records(0, 99, 10)))
        assert not lane.full
        lane.put(Batch(TP0, 1, records(99, 1, 10)))
        assert lane.full
        lane.open(1, 0)
        assert not lane.full
        for n in range(lanes.FETCHES):
            assert not lane.full
            lane.put(Batch(TP0, 1, records(n, 1, 1_000_000)))
        assert lane.full
        gate.set()
        await done.wait()
        await lane.close(1)
        assert not lane.full
        assert lane.position == lanes.FETCHES

    asyncio.run(run())
