"""What may come together around a rebalance: a claim, a poll under way, the next rebalance, the end of the process.

On Faust's own consumer, which is connected to nothing: these moments are too short to be hit on a broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.runtime.app import Worker
from pipeline.runtime.lanes import Lane
from pipeline.runtime.transport import BatchConsumer
from tests.contract.toy import Store, Toy, close, unstarted, until

TPS = {TP("x.source", 0), TP("x.resolved", 1)}


class Rig(NamedTuple):
    """`moved`: partitions of each seek; `problems`: what would have ended the process."""

    worker: Worker
    moved: list[set[TP]]
    problems: list[BaseException]

    @property
    def consumer(self) -> BatchConsumer:
        return self.worker.consumer


@asynccontextmanager
async def rig(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A worker that has just been assigned `TPS`."""
    made = Rig(unstarted(toy), [], [])

    async def call_thread(function: object, *args: Any) -> set[TP]:
        made.moved.append(set(args[0]))
        return set()

    async def nothing(*args: object) -> None:
        """Faust's own part needs a broker."""

    for name in ("on_partitions_assigned", "on_partitions_revoked"):
        monkeypatch.setattr(Consumer, name, nothing)
    monkeypatch.setattr(made.consumer._thread, "call_thread", call_thread)
    monkeypatch.setattr(made.worker, "fatal", made.problems.append)
    await made.consumer.on_partitions_assigned(TPS)
    yield made
    await made.worker.revoke(TPS)
    close(made.worker)


def run(step: Coroutine[Any, Any, None]) -> None:
    """What hangs fails."""
    asyncio.run(asyncio.wait_for(step, 10))


class Slow(Toy):
    """Claims that take until `go`."""

    def __init__(self) -> None:
        super().__init__(Store())
        self.began, self.go = asyncio.Event(), asyncio.Event()

    async def claim(self, tps: set[TP]) -> dict[TP, int]:
        self.began.set()
        await self.go.wait()
        return await super().claim(tps)


class Swallowing(Slow):
    """As redis-py does now and then: a cancellation that comes while it reads an answer ends there."""

    async def claim(self, tps: set[TP]) -> dict[TP, int]:
        try:
            return await super().claim(tps)
        except asyncio.CancelledError:
            return dict.fromkeys(tps, 0)


def test_a_claim_happens_once_an_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one would fence ourselves."""

    async def main() -> None:
        toy = Toy(Store())
        async with rig(toy, monkeypatch) as it:
            await asyncio.gather(it.consumer.seek_to_committed(), it.consumer.seek_to_committed())
            await it.consumer.seek_to_committed()
            assert toy.claims == [TPS]
            assert it.moved == [TPS]
            assert set(it.worker.lanes) == TPS

    run(main())


def test_nothing_is_claimed_between_losing_and_getting_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fence the new owner."""

    async def main() -> None:
        toy = Toy(Store())
        async with rig(toy, monkeypatch) as it:
            await it.consumer.on_partitions_revoked(TPS)
            await it.consumer.seek_to_committed()
            assert toy.claims == []

    run(main())


@pytest.mark.parametrize("kind", [Slow, Swallowing])
def test_what_is_lost_while_it_is_claimed_is_not_read(monkeypatch: pytest.MonkeyPatch, kind: type[Slow]) -> None:
    async def main() -> None:
        toy = kind()
        async with rig(toy, monkeypatch) as it:
            claiming = asyncio.create_task(it.consumer.seek_to_committed())
            await toy.began.wait()
            await it.consumer.on_partitions_revoked(TPS)
            await claiming
            assert it.moved == []
            assert it.worker.lanes == {}
            assert it.problems == []

    run(main())


def test_a_worker_that_ends_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a claim needs is being closed."""

    async def main() -> None:
        toy = Toy(Store())
        async with rig(toy, monkeypatch) as it:
            it.worker.end()
            await it.consumer.seek_to_committed()
            assert toy.claims == []

    run(main())


@pytest.mark.parametrize("ending", [False, True])
def test_a_claim_that_fails_ends_the_process_unless_it_ends_already(
    monkeypatch: pytest.MonkeyPatch, ending: bool
) -> None:
    class Failing(Slow):
        async def claim(self, tps: set[TP]) -> dict[TP, int]:
            await super().claim(tps)
            raise ConnectionError("closed")

    async def main() -> None:
        toy = Failing()
        async with rig(toy, monkeypatch) as it:
            claiming = asyncio.create_task(it.consumer.seek_to_committed())
            await toy.began.wait()
            if ending:
                it.worker.end()
            toy.go.set()
            await claiming
            assert [str(problem) for problem in it.problems] == ([] if ending else ["closed"])
            assert it.moved == []

    run(main())


@pytest.mark.parametrize("error", [NoOffsetForPartitionError({TP("t", 0): 0}), OffsetOutOfRangeError({TP("t", 0): 9})])
def test_a_poll_that_was_under_way_at_an_assignment_finds_no_position_and_lives(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """With "none" for positions aiokafka raises for a partition in which nobody has sought yet. After the seek the same
    error is the truth: where the offset is gone, the hooks find out why."""

    async def fetch(*args: object, **options: object) -> dict[TP, list[object]]:
        raise error

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)

    async def main() -> None:
        toy = Toy(Store())
        worker = unstarted(toy)
        worker.lanes[TP("t", 0)] = cast(Lane, None)
        thread, sought, assigned = worker.consumer._thread, object(), object()
        state = SimpleNamespace(assignment=sought)
        consumer = cast(AIOKafkaConsumer, SimpleNamespace(_subscription=SimpleNamespace(subscription=state)))
        thread.sought = sought
        state.assignment = assigned
        assert await thread._fetch_records(consumer, set()) == {}
        assert toy.astray == set()
        thread.sought = assigned
        if isinstance(error, NoOffsetForPartitionError):
            with pytest.raises(NoOffsetForPartitionError):
                await thread._fetch_records(consumer, set())
        else:
            assert await thread._fetch_records(consumer, set()) == {}
            await until(lambda: toy.astray == {TP("t", 0)}, "the hooks to be told", 5)
        close(worker)

    run(main())
