"""A lane a partition: batches of different partitions go side by side, those of one partition one after the other.

While a batch waits (20 ms for a Kafka transaction, a round trip to Redis), the others go on, and what arrives for it
meanwhile is merged into its next batch: batches grow under load.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
from faust.types import TP

from pipeline.runtime.ports import In
from pipeline.runtime.transport import Batch

log = logging.getLogger(__name__)

FETCHES = 16  # of a megabyte mostly: a record of identity.resolved holds a batch's rows, a few of them are much to do
BYTES = 32 * 1024 * 1024  # it is not known how much a fetch holds before it is unpacked

Records = list[In]
Handler = Callable[[TP, Records], Awaitable[None]]
Job = Callable[[], Awaitable[None]]


class LaneState(msgspec.Struct, frozen=True, kw_only=True):
    """For metrics and the watchdog. `busy_s`: seconds the batch in hand has taken, 0: none. `held`: why, or None."""

    position: int
    queued: int
    busy_s: float
    held: str | None


class Lane:
    """One partition. `position`: next offset, everything before it being processed.

    `handler` is awaited with non-empty lists of up to `max_records` records, in order, never twice at a time. What it
    raises goes to `fatal`, and nothing more is handed to it: no record may be lost by going on.
    """

    def __init__(self, tp: TP, handler: Handler, fatal: Callable[[BaseException], None], max_records: int) -> None:
        self.tp = tp
        self.epoch = 0
        self.position = 0
        self.held: str | None = None
        self._handler = handler
        self._fatal = fatal
        self._max_records = max_records
        self._batches: deque[Batch] = deque()
        self._queued = 0
        self._bytes = 0
        self._jobs: deque[Job] = deque()
        self._busy_since: float | None = None
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name=f"lane {tp.topic}:{tp.partition}")

    def open(self, epoch: int, offset: int) -> None:
        """Start over at `offset`; whatever is queued was fetched for another position and goes."""
        self.epoch, self.position = epoch, offset
        self._batches.clear()
        self._queued = self._bytes = 0

    def put(self, batch: Batch) -> None:
        """Queue a batch, or drop it when a seek has overtaken it."""
        if batch.epoch != self.epoch or self._closing:
            return
        self._batches.append(batch)
        self._queued += len(batch.records)
        self._bytes += batch.size
        self._wake.set()

    def submit(self, job: Job) -> None:
        """Run `job` between two batches."""
        self._jobs.append(job)
        self._wake.set()

    @property
    def full(self) -> bool:
        """Whether nothing more should be fetched for now."""
        much = self._queued >= self._max_records or len(self._batches) >= FETCHES or self._bytes >= BYTES
        return much or self.held is not None

    @property
    def idle(self) -> bool:
        """Nothing queued, nothing in hand."""
        return self._busy_since is None and not self._batches and not self._jobs

    def state(self) -> LaneState:
        busy = 0.0 if self._busy_since is None else time.monotonic() - self._busy_since
        return LaneState(position=self.position, queued=self._queued, busy_s=busy, held=self.held)

    async def close(self, patience_s: float) -> None:
        """Take no new batch and wait for the one in hand; cancel it after `patience_s` (the fence guards the rest)."""
        self._closing = True
        self._wake.set()
        done, _ = await asyncio.wait([self._task], timeout=patience_s)
        if not done:
            log.error("%s: the batch in hand did not end within %g s, cancelled", self.tp, patience_s)
            self._task.cancel()
            await asyncio.wait([self._task], timeout=patience_s)

    async def _run(self) -> None:
        try:
            while not self._closing:
                if self._jobs:
                    self._busy_since = time.monotonic()
                    await self._jobs.popleft()()
                elif self._batches:
                    self._busy_since = time.monotonic()
                    records, epoch = self._take(), self.epoch
                    await self._handler(self.tp, records)
                    if self.epoch == epoch:  # else the handler has sought elsewhere
                        self.position = records[-1].offset + 1
                else:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                self._busy_since = None
                await asyncio.sleep(0)  # a handler that never waits must not starve the others
        except Exception as problem:
            self._closing = True
            self._fatal(problem)

    def _take(self) -> Records:
        first = self._batches.popleft()
        records, size = first.records, first.size
        if self._fits(records):
            records = list(records)
            while self._fits(records):
                batch = self._batches.popleft()
                records += batch.records
                size += batch.size
        self._queued -= len(records)
        self._bytes -= size
        return records

    def _fits(self, records: Records) -> bool:
        """Whether the next batch may be taken with these."""
        return bool(self._batches) and len(records) + len(self._batches[0].records) <= self._max_records
