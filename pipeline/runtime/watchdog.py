"""Ends a worker that stands still: a consumer that hangs after a broker restart is known of aiokafka, and unfixed."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Protocol

from faust.types import TP

from pipeline.errors import StoodStill
from pipeline.runtime.control import Control
from pipeline.runtime.lanes import Lane

log = logging.getLogger(__name__)

EXIT_FATAL = 2
# A busy machine may well stop a whole process for some seconds.
BLOCKED_S = 20.0
CHECKS = 5


class Watched(Protocol):
    """A worker, as far as it is watched."""

    @property
    def lanes(self) -> Mapping[TP, Lane]: ...
    @property
    def control(self) -> Control: ...
    def fatal(self, problem: BaseException) -> None: ...


class Watchdog:
    """Watches one worker while `run()` runs. `stall_s`: how long a partition that has records may stand still."""

    def __init__(self, worker: Watched, stall_s: float) -> None:
        self._worker = worker
        self._stall_s = stall_s
        self._every_s = min(1.0, stall_s / 5)
        self._beat = time.monotonic()
        self.over = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled; what it finds goes to `worker.fatal`."""
        threading.Thread(target=self._watch_thread, daemon=True, name="watchdog").start()
        pulse = asyncio.create_task(self._pulse())
        try:
            await self._watch()
        except Exception as problem:
            self._worker.fatal(problem)
        finally:
            pulse.cancel()
            self.over.set()

    async def _pulse(self) -> None:
        """Show the thread below that the event loop lives."""
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(self._every_s)

    async def _watch(self) -> None:
        """End the process when a partition that has records stands still."""
        since: dict[TP, tuple[int, int, float]] = {}
        while True:
            await asyncio.sleep(self._every_s)
            now = time.monotonic()
            since = {tp: seen for tp, seen in since.items() if tp in self._worker.lanes}
            still = []
            for tp, lane in self._worker.lanes.items():
                epoch, position, moved = since.get(tp, (-1, -1, now))
                if (epoch, position) != (lane.epoch, lane.position) or lane.held is not None:
                    since[tp] = (lane.epoch, lane.position, now)
                elif now - moved > self._stall_s:
                    still.append(tp)
            for tp in await self._surely(still):
                lane, moved = self._worker.lanes[tp], since[tp][2]
                if (lane.epoch, lane.position) == since[tp][:2] and lane.held is None:
                    state = lane.state()
                    raise StoodStill(
                        f"{tp.topic}:{tp.partition} has stood at offset {state.position} for {now - moved:.0f} s "
                        f"though it has records (queued: {state.queued}, batch in hand: {state.busy_s:.0f} s)"
                    )
            for tp in still:  # nothing to read, or nobody to ask: look again after another `stall_s`
                if tp in since:
                    since[tp] = (*since[tp][:2], now)

    async def _surely(self, still: list[TP]) -> list[TP]:
        """`_with_records`, asked again and again: a partition between two jobs looks busy for a moment."""
        for _ in range(CHECKS):
            still = await self._with_records(still)
            if not still:
                break
            await asyncio.sleep(self._every_s / CHECKS)
        return still

    async def _with_records(self, still: list[TP]) -> list[TP]:
        """Those of partitions that don't move which have something to move to."""
        if not still:
            return []
        try:
            async with asyncio.timeout(10):
                ended = await self._worker.control.read_to_end(still)
                ends = await self._worker.control.end_offsets(still)
        except Exception as problem:
            log.warning("Kafka doesn't say where partitions end, so nobody knows if they stand still: %r", problem)
            ended, ends = set(), {}
        found = []
        for tp in still:
            lane = self._worker.lanes.get(tp)
            if lane is None:
                continue
            state = lane.state()
            # What is in hand may be a job that advances the time of an empty partition: no standstill, unless it hangs.
            stuck = state.queued > 0 or state.busy_s > self._stall_s
            if stuck or (tp not in ended and ends.get(tp, 0) > lane.position):
                found.append(tp)
        return found

    def _watch_thread(self) -> None:
        """In a thread of its own: a blocked event loop can't notice itself."""
        patience = max(self._stall_s, BLOCKED_S)
        while not self.over.wait(1.0):
            if time.monotonic() - self._beat > patience:
                log.critical("the event loop has been blocked for %g s: the process ends", patience)
                faulthandler.dump_traceback()
                os._exit(EXIT_FATAL)
