"""Which source partitions the worker asks whether they are read to their end, and by whose clock they advance."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from faust.types import TP

from pipeline.observe.metrics import Metrics
from pipeline.profile.timers import SPAN
from pipeline.runtime.clocks import BrokerClock, Clocks
from pipeline.runtime.hops import Hops
from pipeline.store.memory import MemoryGraphStore, MemoryProfileStore
from pipeline.topology.model import Idle
from tests.property.hops import with_partitions
from tests.replayed import shipped

T0 = 1_700_000_000_000
NOW_S = 1_000.0  # on the monotonic clock
DISORDER = 10_000
AFTER = 5_000
WRITTEN = 7  # offset up to which each partition is written


class Source:
    """A source partition that has read events up to `high`."""

    def __init__(self, high: int, *, held: bool = False) -> None:
        self.position = SimpleNamespace(high=high, held=held)
        self.watermark = high - DISORDER if high else 0
        self.clocks: list[int | None] = []

    async def idle(self, clock: int | None) -> bool:
        self.clocks.append(clock)
        return True


class Profiles(MemoryProfileStore):
    """`sheets`: partition -> when its sheets of timers begin."""

    def __init__(self) -> None:
        super().__init__()
        self.sheets: dict[int, list[int]] = {}

    async def earliest(self, partition: int, since: int) -> int | None:
        return min((at for at in self.sheets.get(partition, []) if at >= since), default=None)


class World:
    """A worker with four source partitions and one of two partitions of profiles; the other one is another worker's."""

    def __init__(self) -> None:
        topology = with_partitions(shipped(), 4, 2)
        idle = Idle(after_ms=AFTER, every_ms=1_000)
        topology = msgspec.structs.replace(topology, time=msgspec.structs.replace(topology.time, idle=idle))
        self.profiles = Profiles()
        self.clock: int | None = T0
        none = cast(Any, SimpleNamespace(outbox=lambda: None))
        broker = cast(Any, SimpleNamespace(written_offsets=self.written_offsets))
        self.clocks = Clocks(Metrics(), BrokerClock(1))
        self.clocks.now = lambda: self.clock  # type: ignore[method-assign]
        graph = MemoryGraphStore(topology.identifiers)
        self.hops = Hops(topology, graph, self.profiles, none, none, none, broker, Metrics(), self.clocks)
        self.hops.control = cast(Any, self)
        self.hops._listener = cast(Any, self)
        self.all_heard = True
        self.timers = SimpleNamespace(first=None, upto=1)
        self.hops._partitions[TP("r", 0)] = cast(Any, SimpleNamespace(partition=0, timers=self.timers))
        self.asked: list[set[TP]] = []
        self.unread: set[TP] = set()
        self.jobs: list[Any] = []

    def source(self, number: int, high: int, silent_s: float = 0, **more: Any) -> Source:
        made = Source(high, **more)
        self.hops._sources[TP("s", number)] = cast(Any, made)
        self.hops._last_event[TP("s", number)] = NOW_S - silent_s
        return made

    async def at_end(self, hops: object) -> bool:
        """As `Listener.at_end`: whether the control topic is read to its end."""
        return self.all_heard

    async def written_offsets(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """As `Broker.written_offsets`: all that was written, committed or not."""
        return dict.fromkeys(places, WRITTEN)

    async def read_to_end(self, tps: Iterable[TP], ends: Mapping[TP, int]) -> set[TP]:
        assert ends == dict.fromkeys(tps, WRITTEN)
        self.asked.append({*tps})
        return {*tps} - self.unread

    def submit(self, tp: TP, job: Any) -> bool:
        self.jobs.append(job)
        return True

    def look(self) -> set[int]:
        """The partitions that were asked about."""

        async def go() -> None:
            await self.hops._idle(NOW_S)
            for job in self.jobs:
                await job()

        self.asked, self.jobs = [], []
        asyncio.run(go())
        return {tp.partition for tps in self.asked for tp in tps}


@pytest.fixture
def world() -> World:
    return World()


def test_after_some_silence_the_brokers_clock_is_followed(world: World) -> None:
    world.source(0, T0 - 4_900, 4.9)
    silent = world.source(1, T0 - 5_000, 5.0)
    unread = world.source(2, T0 - 5_000, 5.0)
    world.unread = {TP("s", 2)}
    assert world.look() == {1, 2}
    assert silent.clocks == [T0]
    assert unread.clocks == []


def test_while_nobody_knows_that_clock_it_is_asked_for_where_it_is_silent(world: World) -> None:
    world.clock = None
    world.timers.first = 1
    silent, other = world.source(0, T0, 5.0), world.source(1, T0, 1.0)
    assert world.look() == {0}
    assert (silent.clocks, other.clocks) == ([None], [])


def test_a_recording_that_comes_in_is_left_alone(world: World) -> None:
    world.timers.first = T0 - 60_000
    world.source(0, T0 - 100_000, 60.0, held=True)
    world.source(1, T0 - 100_000, 0.0, held=True)
    assert world.look() == set()
    assert world.asked == []


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_holds_back_something_due_is_asked_at_once(world: World, in_memory: bool) -> None:
    due = T0 - DISORDER - 1
    if in_memory:
        world.timers.first = due
    else:
        world.profiles.sheets[0] = [due]
    world.source(0, T0, 0.1)
    holding = world.source(1, due + DISORDER, 0.1)
    world.source(2, due + DISORDER + 1, 0.1)
    world.source(3, due + DISORDER - 1, 0.1)
    assert world.look() == {1, 3}
    assert holding.clocks == [T0]


def test_what_the_clock_would_not_bring_about_is_waited_for(world: World) -> None:
    world.timers.first = T0 - DISORDER
    world.source(0, T0 - 1_000, 0.1)
    assert world.look() == set()
    world.clock = T0 + 1
    assert world.look() == {0}


def test_what_others_wait_for_counts_once_a_partition_is_far_behind(world: World) -> None:
    """A producer whose clock is a day behind writes all the time: the partition is never silent."""
    day = 86_400_000
    world.source(0, T0 - day, 0.1)
    assert world.look() == set()  # nobody waits for anything
    for first in (T0 - day, T0 - day - DISORDER - SPAN, T0 - DISORDER - 1):
        world.profiles.sheets[1] = [first]
        assert world.look() == {0}
    world.profiles.sheets[1] = [T0 - DISORDER, T0 - day - DISORDER - SPAN - 1]  # not yet due; rung long ago
    assert world.look() == set()
    world.profiles.sheets[1] = [T0 - DISORDER - 1]
    world.source(1, T0 - AFTER, 0.1)
    assert world.look() == {0}


def test_timers_that_a_new_owner_has_not_read_yet_are_like_those_of_others(world: World) -> None:
    world.timers.upto = 0
    world.profiles.sheets[0] = [T0 - 86_400_000 - DISORDER - 5]  # begun, and some of it is still to ring
    world.source(0, T0 - 86_400_000, 0.1)
    assert world.look() == {0}
