"""The worker's own code between Kafka and the stores (hops, lanes, ticks) under any schedule: nothing changes.

Time goes on while batches wait for a store, servers fail before or after they did what was asked, partitions go from
one worker to another, which may begin before the one has ended. Stores and the log are in memory; whatever awaits them
gives way to the rest a random number of times. One seed, one run; SCHEDULE_SEEDS looks at more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from random import Random
from typing import Any, ClassVar, cast

import msgspec
import pytest
from faust.types import TP

from pipeline.errors import Fenced
from pipeline.events.codec import Decoder
from pipeline.events.model import Event
from pipeline.observe.metrics import Metrics
from pipeline.profile.parts.timeline import TIMELINE_KEPT
from pipeline.runtime import hops, together
from pipeline.runtime.app import Control
from pipeline.runtime.broker import Broker
from pipeline.runtime.clocks import Clocks
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.lanes import Lane, LaneState
from pipeline.runtime.listening import Listener
from pipeline.runtime.ports import Out
from pipeline.runtime.producers import Producers
from pipeline.runtime.transport import Batch
from tests.property.hops import END, Hops, encode_decision
from tests.property.test_any_order import handed_round, oracle_history, shop_history, shuffled, unlike_replay
from tests.replayed import shipped
from tests.standins import Away

SEEDS = int(os.environ.get("SCHEDULE_SEEDS", "60"))
STEP = 10
TROUBLE = 0.01  # of calls
REBALANCE = 0.002  # of the scheduler's steps
CHAOS = 3_000  # steps


class Sender:
    """With `name`, a transactional producer: one that is started later fences it."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._name, self._epoch = world, name, 0

    async def start(self) -> None:
        self._epoch = self._world.epochs[self._name] = self._world.epochs.get(self._name, 0) + 1

    async def send(self, messages: list[Out]) -> None:
        await self._world.way("before send")
        if self._name and self._world.epochs[self._name] != self._epoch:
            raise Fenced(self._name)
        await self._world.made.log.send(messages)
        await self._world.way("after send")

    async def close(self) -> None:
        """Nothing to free."""


class Ear:
    """Hears all that a recording says, at once."""

    def __init__(self, world: World) -> None:
        self.said = world.made.said

    async def poll(self, sources: Iterable[SourcePartition]) -> None:
        for hop in sources:
            for said in self.said:
                hop.hear(said)

    async def close(self) -> None:
        """Nothing to free."""


class Process:
    """One worker; and what its hops ask of the consumer, the broker and the producers."""

    takers: ClassVar[dict[int, object]] = {}

    def __init__(self, world: World) -> None:
        self.world, self.log = world, world.made.log
        self.decode, self.encode = world.made.decode, encode_decision
        self.lanes: dict[TP, Lane] = {}
        self.fetched: dict[TP, int] = {}
        self.lost: set[TP] = set()  # another has them, and what is in hand here doesn't know
        self.epoch = 0
        graph, profiles = (Away(real, self._leave, self._return) for real in (world.made.graph, world.made.profiles))
        self.hops = hops.Hops(
            msgspec.structs.replace(world.made.topology, linger_ms=world.rng.choice([0, 5])),
            cast(Any, graph),
            cast(Any, profiles),
            cast(Decoder, self),
            cast(Delivery, self),
            cast(Producers, self),
            cast(Broker, self),
            Metrics(),
            Clocks(Metrics()),
        )
        self.hops.control = cast(Control, self)
        self.hops._next_idle = self.hops._next_words = inf  # the wall clock has no say in this
        self.hops._listener = cast(Listener, Ear(world))

    def named(self, name: str) -> Sender:
        return Sender(self.world, name)

    def outbox(self) -> Sender:
        return Sender(self.world, "")

    def smaller(self, out: Out) -> Out | None:
        return None

    async def earliest_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: self.world.end(tp) for tp in tps}

    async def shapes(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        await self.world.way("the topics")
        return dict.fromkeys(names, ("the same", 1))

    async def _leave(self, name: str, args: tuple[Any, ...]) -> None:
        await self.world.way(f"before {name}")

    async def _return(self, name: str, args: tuple[Any, ...]) -> None:
        await self.world.way(f"after {name}")

    async def committed_offsets(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        return dict.fromkeys(tps, None)

    async def signed(self, tp: TP) -> tuple[int, str]:
        await self.world.way("before signed")
        return 0, self.world.signed.get(tp, "")

    async def sign(self, tp: TP, offset: int, name: str) -> None:
        await self.world.way("before sign")
        if tp in self.lost:
            raise Fenced("another worker has it")
        self.world.signed[tp] = name

    def assigned(self) -> set[TP]:
        return self.lanes.keys() - self.lost

    def states(self) -> dict[TP, LaneState]:
        return {tp: lane.state() for tp, lane in self.lanes.items()}

    def pause(self, tp: TP, reason: str) -> None:
        self.lanes[tp].held = reason

    def resume(self, tp: TP) -> None:
        self.lanes[tp].held = None

    def submit(self, tp: TP, job: Callable[[], Awaitable[None]]) -> bool:
        if tp in self.lanes:
            self.lanes[tp].submit(job)
        return tp in self.lanes

    async def seek(self, tp: TP, offset: int) -> None:
        self.epoch += 1
        self.fetched[tp] = offset
        self.lanes[tp].open(self.epoch, offset)

    async def take(self, tps: list[TP]) -> None:
        """The group gives it these partitions."""
        for tp, offset in (await self.hops.claim(set(tps))).items():
            handler = self.hops.maintain_profile if tp.topic == self.world.topic else self.hops.resolve_identity
            self.lanes[tp] = Lane(tp, handler, self.world.fatal.append, self.world.rng.choice([1, 5, 50]))
            await self.seek(tp, offset)

    async def give_up(self, tps: list[TP]) -> None:
        """And takes them away: what is in hand ends first."""
        await asyncio.gather(*(self.lanes[tp].close(60) for tp in tps))
        for tp in tps:
            del self.lanes[tp]
            self.lost.discard(tp)
        await self.hops.revoke(set(tps))

    def fetch(self) -> None:
        """Some of what comes next, for some partition."""
        if self.lanes:
            tp = self.world.rng.choice(list(self.lanes))
            records = self.log.read(tp.topic, tp.partition, self.fetched[tp], self.world.rng.randint(1, 8))
            if records and not self.lanes[tp].full:
                self.fetched[tp] += len(records)
                self.lanes[tp].put(Batch(tp, self.lanes[tp].epoch, records))

    def done(self) -> bool:
        """Everything read, everything decided, nothing in hand."""
        return all(lane.idle and lane.position == self.world.end(tp) for tp, lane in self.lanes.items()) and all(
            hop.meta.clock >= END and not hop.waiting for hop in self.hops._partitions.values()
        )

    async def ticking(self) -> None:
        while True:
            await self.hops.tick()
            await asyncio.sleep(0)


class World:
    """Two workers, a log, stores."""

    def __init__(self, rng: Random, log: list[list[Event]], resolved: int) -> None:
        self.rng, self.calm = rng, False
        self.made = Hops(shipped(), log, resolved)  # for its log and stores; its own hops stay unused
        self.topic = self.made.topology.topics.resolved.name
        self.tps = [TP("s", p) for p in range(len(log))] + [TP(self.topic, p) for p in range(resolved)]
        self.epochs: dict[str, int] = {}
        self.signed: dict[TP, str] = {}  # whose producer writes of it
        self.fatal: list[BaseException] = []
        self.workers = [Process(self), Process(self)]

    def end(self, tp: TP) -> int:
        """The offset after the last record."""
        return len(self.made.log.partitions.get((tp.topic, tp.partition), ()))

    async def way(self, what: str) -> None:
        """To a server, or back."""
        for _ in range(self.rng.choice([0, 1, 1, 2, 5, 20])):
            await asyncio.sleep(0)
        if not self.calm and self.rng.random() < TROUBLE:
            raise ConnectionError(what)

    async def rebalance(self) -> None:
        """Some partitions go from one worker to the other, which may come before the one has let go of them."""
        old, new = self.rng.sample(self.workers, 2)
        some = [tp for tp in old.assigned() if self.rng.random() < 0.6]
        if self.rng.random() < 0.5:
            await old.give_up(some)
            await new.take(some)
        else:
            old.lost |= set(some)
            await new.take(some)
            for _ in range(self.rng.randint(0, 100)):
                await asyncio.sleep(0)
            await old.give_up(some)

    async def run(self) -> None:
        """Until everything is decided."""
        await self.workers[0].take(self.tps)
        ticks = [asyncio.create_task(each) for w in self.workers for each in (w.ticking(), w.hops.watch())]
        for step in range(60_000):
            self.calm = step > CHAOS
            for worker in self.workers:
                worker.fetch()
            await asyncio.sleep(0)
            assert not self.fatal, self.fatal
            if not self.calm and self.rng.random() < REBALANCE:
                await self.rebalance()
            if self.calm and step % 50 == 0 and all(worker.done() for worker in self.workers):
                break
        else:
            raise AssertionError(f"stuck: {[(worker.hops.held_by(), worker.states()) for worker in self.workers]}")
        for task in ticks:
            task.cancel()
        for worker in self.workers:
            await worker.give_up(list(worker.lanes))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOCK_S", "FENCED_S", "LOOK_S"):
        monkeypatch.setattr(hops, name, 0.0)
    monkeypatch.setattr(hops, "RETRY_S", (0.0,))
    monkeypatch.setattr(hops, "METRICS_S", 1e9)
    monkeypatch.setattr(together, "GATHER_S", 0.0)


def differences(seed: int, events: list[Event]) -> list[str]:
    """What is not as `replay` says, after one run."""
    rng = Random(seed)
    world = World(rng, shuffled(rng, events, rng.randint(1, 3)), rng.choice([1, 2, 4]))
    asyncio.run(world.run())
    # A client's second copy of an event, counted in another profile, is taken out of the sums when the two become one,
    # if one copy is on a timeline then: of busy people that hangs on when the workers get there.
    return unlike_replay(events, world.made.decisions(), world.made.final_profiles(), busy=TIMELINE_KEPT)


@pytest.mark.usefixtures("every_zone")
@pytest.mark.parametrize("make", [oracle_history, handed_round, shop_history])
@pytest.mark.parametrize("start", range(0, SEEDS, STEP))
def test_nothing_changes(make: Callable[[int], list[Event]], start: int) -> None:
    for seed in range(start, min(start + STEP, SEEDS)):
        found = differences(seed, make(seed))
        assert not found, f"seed {seed}:\n" + "\n".join(found)
