"""The worker's own code between Kafka and the stores (hops, lanes, ticks) under any schedule: nothing changes.

Time goes on while batches wait for a store, servers fail before or after they did what was asked, partitions are given
up and taken again. Stores and the log are in memory; what awaits them gives way to the rest a random number of times.
One seed, one run; SCHEDULE_SEEDS looks at more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from random import Random
from typing import Any, ClassVar, cast

import pytest
from faust.types import TP

from pipeline.events.codec import Decoder
from pipeline.events.model import Event
from pipeline.observe.metrics import Metrics
from pipeline.runtime import hops
from pipeline.runtime.app import Control
from pipeline.runtime.broker import Broker
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.lanes import Lane, LaneState
from pipeline.runtime.ports import Out
from pipeline.runtime.producers import Producers
from pipeline.runtime.transport import Batch
from tests.property.hops import END, Hops, encode_decision
from tests.property.test_any_order import apart, oracle_history, shop_history, shuffled, wanted
from tests.replayed import folded, shipped

SEEDS = int(os.environ.get("SCHEDULE_SEEDS", "60"))
STEP = 10
TROUBLE = 0.01  # of calls
REBALANCE = 0.002  # of the scheduler's steps


class Far:
    """A server some way off: each call lets others go on before and after, and may fail before or after."""

    def __init__(self, world: World, real: Any) -> None:
        self._world, self._real = world, real

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        async def call(*args: Any) -> Any:
            await self._world.way("before", name)
            result = await method(*args)
            await self._world.way("after", name)
            return result

        return call

    async def start(self) -> None:
        """As a sender: nothing to get ready."""

    async def close(self) -> None:
        """Nothing to free."""


class Registry:
    """The log holds numbers of events."""

    takers: ClassVar[dict[int, object]] = {}

    def __init__(self, made: Hops) -> None:
        self.decode = made.decode


class World:
    """One worker with everything around it: it is what `Hops` asks of the consumer, the broker and the producers."""

    def __init__(self, rng: Random, log: list[list[Event]], resolved: int) -> None:
        self.rng, self.calm = rng, False
        self.made = Hops(shipped(), log, resolved)  # for its log and stores; its own hops stay unused
        self.log, self.topic = self.made.log, self.made.topology.topics.resolved.name
        self.tps = [TP("s", p) for p in range(len(log))] + [TP(self.topic, p) for p in range(resolved)]
        self.lanes: dict[TP, Lane] = {}
        self.fetched: dict[TP, int] = {}
        self.epoch = 0
        self.fatal: list[BaseException] = []
        self.failures: list[str] = []
        self.hops = hops.Hops(
            self.made.topology,
            cast(Any, Far(self, self.made.graph)),
            cast(Any, Far(self, self.made.profiles)),
            cast(Decoder, Registry(self.made)),
            cast(Delivery, self),
            cast(Producers, self),
            cast(Broker, self),
            Metrics(),
        )
        self.hops.control = cast(Control, self)
        self.hops._next_idle = inf  # the wall clock has no say in this
        self.encode = encode_decision

    async def way(self, when: str, what: str) -> None:
        """To a server, or back."""
        for _ in range(self.rng.choice([0, 1, 1, 2, 5, 20])):
            await asyncio.sleep(0)
        if not self.calm and self.rng.random() < TROUBLE:
            self.failures.append(what)
            raise ConnectionError(f"{when} {what}")

    # The broker.

    async def earliest_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: len(self.log.partitions.get((tp.topic, tp.partition), ())) for tp in tps}

    # The producers.

    def source(self, topic: str, partition: int) -> Far:
        return Far(self, self)

    def outbox(self) -> Far:
        return Far(self, self)

    async def send(self, messages: list[Out]) -> None:
        await self.log.send(messages)

    # The consumer.

    def assigned(self) -> set[TP]:
        return set(self.lanes)

    def states(self) -> dict[TP, LaneState]:
        return {tp: lane.state() for tp, lane in self.lanes.items()}

    def pause(self, tp: TP, reason: str) -> None:
        if tp in self.lanes:
            self.lanes[tp].held = reason

    def resume(self, tp: TP) -> None:
        if tp in self.lanes:
            self.lanes[tp].held = None

    def submit(self, tp: TP, job: Callable[[], Awaitable[None]]) -> bool:
        if tp in self.lanes:
            self.lanes[tp].submit(job)
        return tp in self.lanes

    async def committed_offsets(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        return dict.fromkeys(tps, None)

    async def seek(self, tp: TP, offset: int) -> None:
        self.epoch += 1
        self.fetched[tp] = offset
        self.lanes[tp].open(self.epoch, offset)

    # The schedule.

    async def take(self, tps: list[TP]) -> None:
        """The group gives these partitions to this worker."""
        for tp, offset in (await self.hops.claim(set(tps))).items():
            handler = self.hops.maintain_profile if tp.topic == self.topic else self.hops.resolve_identity
            self.lanes[tp] = Lane(tp, handler, self.fatal.append, self.rng.choice([1, 5, 50]))
            await self.seek(tp, offset)

    async def give_up(self, tps: list[TP]) -> None:
        """And takes them away: what is in hand ends first."""
        await asyncio.gather(*(self.lanes[tp].close(60) for tp in tps))
        for tp in tps:
            del self.lanes[tp]
        await self.hops.revoke(set(tps))

    def fetch(self) -> None:
        """Some of what comes next, for some partition."""
        tp = self.rng.choice(list(self.lanes))
        if not self.lanes[tp].full:
            records = self.log.read(tp.topic, tp.partition, self.fetched[tp], self.rng.randint(1, 8))
            if records:
                self.fetched[tp] += len(records)
                self.lanes[tp].put(Batch(tp, self.lanes[tp].epoch, records))

    async def ticking(self) -> None:
        while True:
            await self.hops.tick()
            await asyncio.sleep(0)

    def done(self) -> bool:
        """Everything read, everything decided, nothing in hand."""
        ends = {tp: len(self.log.partitions.get((tp.topic, tp.partition), ())) for tp in self.tps}
        return all(lane.idle and lane.position == ends[tp] for tp, lane in self.lanes.items()) and all(
            hop.meta.clock >= END and not hop.waiting for hop in self.hops._partitions.values()
        )

    async def run(self) -> None:
        await self.take(self.tps)
        ticks = asyncio.create_task(self.ticking())
        for step in range(60_000):
            self.calm = step > 3_000
            self.fetch()
            await asyncio.sleep(0)
            assert not self.fatal, self.fatal
            if not self.calm and self.rng.random() < REBALANCE:
                some = self.rng.sample(self.tps, self.rng.randint(1, len(self.tps)))
                await self.give_up(some)
                await self.take(some)
            if self.calm and step % 50 == 0 and self.done():
                break
        else:
            raise AssertionError(f"stuck: {self.hops.held_by()}, {self.states()}")
        ticks.cancel()
        await self.give_up(self.tps)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOCK_S", "FENCED_S"):
        monkeypatch.setattr(hops, name, 0.0)
    monkeypatch.setattr(hops, "RETRY_S", (0.0,))
    monkeypatch.setattr(hops, "METRICS_S", 1e9)


def differences(seed: int, events: list[Event]) -> list[str]:
    """What is not as `replay` says, after one run."""
    rng = Random(seed)
    decisions, profiles = wanted(events)
    world = World(rng, shuffled(rng, events, rng.randint(1, 3)), rng.choice([1, 2, 4]))
    asyncio.run(world.run())
    made = {d.id: d for d in world.made.decisions()}
    found = [f"lost: {decisions[i]}" for i in decisions.keys() - made.keys()]
    found += [f"not wanted: {d}\n   wanted: {decisions.get(i)}" for i, d in made.items() if d != decisions.get(i)]
    mine = world.made.final_profiles()
    found += [f"profile only {'here' if i in mine else 'in replay'}: {i}" for i in mine.keys() ^ profiles.keys()]
    for i in mine.keys() & profiles.keys():
        found += [f"profile {i}: {line}" for line in apart(folded(mine[i]), folded(profiles[i]))]
    return found


@pytest.mark.parametrize("make", [oracle_history, shop_history])
@pytest.mark.parametrize("start", range(0, SEEDS, STEP))
def test_nothing_changes(make: Callable[[int], list[Event]], start: int) -> None:
    for seed in range(start, min(start + STEP, SEEDS)):
        found = differences(seed, make(seed))
        assert not found, f"seed {seed}:\n" + "\n".join(found)
