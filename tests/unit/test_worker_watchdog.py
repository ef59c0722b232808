"""What a standstill is, and what only looks like one. On real lanes; the broker is a few lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from faust.types import TP

from pipeline.errors import StoodStill
from pipeline.runtime import watchdog
from pipeline.runtime.app import Worker
from pipeline.runtime.lanes import Lane, Records
from pipeline.runtime.transport import Batch
from pipeline.runtime.watchdog import Watchdog

TP0 = TP("t", 0)
STALL_S = 0.2


class Watched:
    """A worker as the watchdog sees it, and the control that it asks. `end`: of the partition, None: no answer."""

    def __init__(self) -> None:
        self.control = self
        self.problems: list[BaseException] = []
        self.told, self.hang = asyncio.Event(), asyncio.Event()
        self.lane = Lane(TP0, self.handle, self.fatal, 10)
        self.lane.open(1, 5)
        self.lanes = {TP0: self.lane}
        self.end: int | None = 5

    def fatal(self, problem: BaseException) -> None:
        self.problems.append(problem)
        self.told.set()

    async def handle(self, tp: TP, records: Records) -> None:
        await self.hang.wait()

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        if self.end is None:
            raise ConnectionError("no broker")
        return dict.fromkeys(tps, self.end)

    async def read_to_end(self, tps: Iterable[TP]) -> set[TP]:
        ends = await self.end_offsets(tps)
        return {tp for tp in ends if self.lane.idle and self.lane.position >= ends[tp]}

    def busy_with(self, job: Callable[[], Awaitable[None]]) -> None:
        """One job after the other, as when time is moved on in a partition without records."""

        async def again() -> None:
            await job()
            self.lane.submit(again)

        self.lane.submit(again)


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    it = Watched()
    watching = asyncio.create_task(Watchdog(cast(Worker, it), STALL_S).run())
    yield it
    watching.cancel()
    it.hang.set()
    await asyncio.gather(watching, it.lane.close(0.1), return_exceptions=True)


def run(step: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(step, 10))


def lives(arrange: Callable[[Watched], None]) -> None:
    """Nothing is found in four times the patience."""

    async def main() -> None:
        async with watched() as it:
            arrange(it)
            await asyncio.sleep(4 * STALL_S)
            assert it.problems == []

    run(main())


def ends(arrange: Callable[[Watched], None]) -> str:
    """What is found."""
    found: list[BaseException] = []

    async def main() -> None:
        async with watched() as it:
            arrange(it)
            await it.told.wait()
            found.extend(it.problems)

    run(main())
    assert isinstance(found[0], StoodStill)
    return str(found[0])


def test_nothing_to_read_is_no_standstill() -> None:
    lives(lambda it: None)


def test_jobs_in_a_partition_that_has_no_records_are_no_standstill() -> None:
    """They look like a batch in hand whenever somebody looks, and the position never moves."""
    lives(lambda it: it.busy_with(lambda: asyncio.sleep(0.03)))


def test_a_pause_with_a_reason_is_no_standstill() -> None:
    def arrange(it: Watched) -> None:
        it.end, it.lane.held = 9, "schema registry: no answer"

    lives(arrange)


def test_a_broker_that_does_not_answer_proves_no_standstill() -> None:
    def arrange(it: Watched) -> None:
        it.end = None

    lives(arrange)


def test_records_that_nobody_reads_are_a_standstill() -> None:
    def arrange(it: Watched) -> None:
        it.end = 9

    assert "t:0 has stood at offset 5" in ends(arrange)


def test_a_batch_that_hangs_is_a_standstill_also_without_a_broker() -> None:
    def arrange(it: Watched) -> None:
        it.end = None
        it.lane.put(Batch(TP0, 1, [cast(Any, object())]))

    assert "batch in hand" in ends(arrange)


def test_a_job_that_hangs_is_a_standstill() -> None:
    def arrange(it: Watched) -> None:
        async def forever() -> None:
            await it.hang.wait()

        it.lane.submit(forever)

    assert "t:0 has stood at offset 5" in ends(arrange)


def test_a_blocked_event_loop_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a thread of its own: nothing on the loop could."""
    codes: list[int] = []
    dog = Watchdog(cast(Worker, None), STALL_S)

    def leave(code: int) -> None:
        codes.append(code)
        dog.over.set()

    monkeypatch.setattr(watchdog, "BLOCKED_S", 0.0)
    monkeypatch.setattr(watchdog.faulthandler, "dump_traceback", lambda: None)
    monkeypatch.setattr(watchdog.os, "_exit", leave)
    dog._watch_thread()  # nobody shows it a pulse
    assert codes == [2]
