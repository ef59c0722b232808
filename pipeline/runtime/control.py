"""What the hops may ask of the consumer while a worker runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from faust.types import TP

from pipeline.runtime.lanes import Job, Lane, LaneState
from pipeline.runtime.transport import BatchConsumer


class Consuming(Protocol):
    """A worker, as far as it is asked for here."""

    @property
    def lanes(self) -> Mapping[TP, Lane]: ...
    @property
    def consumer(self) -> BatchConsumer: ...


class Control:
    """What the hops may ask of the consumer. All offsets are "next to read"."""

    def __init__(self, worker: Consuming) -> None:
        self._worker = worker

    @property
    def _consumer(self) -> BatchConsumer:
        return self._worker.consumer

    def assigned(self) -> set[TP]:
        """The partitions claimed and not revoked."""
        return set(self._worker.lanes)

    async def seek(self, tp: TP, offset: int) -> None:
        """Read on at `offset`. No record fetched for the old position is delivered any more; the batch in hand, if it
        is the caller's, is the caller's to abandon. Nothing happens when the partition is no longer ours."""
        if tp in self._worker.lanes:
            await self._consumer.seek_all({tp: offset})

    def pause(self, tp: TP, reason: str) -> None:
        """Fetch nothing more and tell the watchdog that this standstill is meant. What is queued, or was asked for
        already, still comes.
        """
        if tp in self._worker.lanes:
            self._worker.lanes[tp].held = reason

    def resume(self, tp: TP) -> None:
        """Undo `pause`."""
        if tp in self._worker.lanes:
            self._worker.lanes[tp].held = None

    def submit(self, tp: TP, job: Job) -> bool:
        """Run `job` in the partition's lane, between two batches. False: not ours, it won't run."""
        lane = self._worker.lanes.get(tp)
        if lane is not None:
            lane.submit(job)
        return lane is not None

    def states(self) -> dict[TP, LaneState]:
        """Position, queue, time in hand, reason of a pause of every partition."""
        return {tp: lane.state() for tp, lane in self._worker.lanes.items()}

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Asked of the broker now, never remembered. Raises KafkaError."""
        return await self._ask(tps, "end")

    async def earliest_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Asked of the broker now. Raises KafkaError."""
        return await self._ask(tps, "earliest")

    async def committed_offsets(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        """What Kafka holds for our group; None: nothing. To tell lost state from a new group, for nothing else."""
        return await self._ask(tps, "committed")

    async def signed(self, tp: TP) -> tuple[int, str]:
        """What Kafka holds of it for our group: the offset (0: none), and the name of the producer that has written of
        it last ("": nobody's). To be asked before `sign`. Raises KafkaError.
        """
        found: tuple[int, str] = await self._call("signed", tp)
        return found

    async def sign(self, tp: TP, offset: int, name: str) -> None:
        """Let Kafka hold the name of who writes of it from now on, for as long as the group gives us this partition.
        Raises Fenced where it gave it to us no more, or anew, since `signed`; KafkaError.
        """
        await self._call("sign", tp, offset, name)

    async def read_to_end(self, tps: Iterable[TP], ends: Mapping[TP, int] | None = None) -> set[TP]:
        """Those of `tps` of which everything that the broker had when asked has been processed.

        Read the clock **before** calling. Transaction markers and aborted records count as read. What lies behind an
        open transaction's first record isn't there for us: to count it as unread, ask first how far is written, and
        give that as `ends`. Raises KafkaError.
        """
        wanted = [tp for tp in tps if tp in self._worker.lanes]
        if ends is None:
            ends = await self.end_offsets(wanted) if wanted else {}
        readings = await self._call("read", wanted)
        finished = set()
        for tp, reading in readings.items():
            lane = self._worker.lanes.get(tp)
            if lane is None or not lane.idle or lane.epoch != reading.epoch or reading.position < ends[tp]:
                continue
            if reading.handed is None or lane.position >= reading.handed:  # else a batch is on its way to the lane
                finished.add(tp)
        return finished

    async def _ask(self, tps: Iterable[TP], which: str) -> dict[TP, Any]:
        found: dict[TP, Any] = await self._call("offsets", list(tps), which)
        return found

    async def _call(self, method: str, *args: Any) -> Any:
        thread = self._consumer._thread
        return await thread.call_thread(getattr(thread, method), *args)
