"""A simulated log and store under the real code of both hops: one seed, one world.

Every call of a port is a point at which the scheduler may run something else, crash the worker (before the call took
effect, or after it: a lost reply), or stop it for a while (a zombie). Stores fall back by some writes, partitions lag.
Nothing here sleeps or looks at a clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline.errors import CommitRejected, Fenced
from pipeline.events.model import Event
from pipeline.flow import Intake, source_names
from pipeline.identity.graph import HOUSEHOLD, Graph
from pipeline.profile.profile import Moved, Profile, decode
from pipeline.runtime import watermark
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.ports import In, Out
from pipeline.runtime.second_hop import ProfilePartition
from pipeline.store.memory import MemoryGraphStore, MemoryProfileStore
from pipeline.topology.model import Topic, Topology
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook
from tests.property.hops import now, recording

RESOLVED = 3
SOURCES = 3


class Crash(Exception):
    """The process is gone."""


class Pause:
    """Where the scheduler may step in."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class Faults:
    """Probabilities a port call, or a scheduler's step."""

    crash_before: float = 0.004
    crash_after: float = 0.004
    stop: float = 0.003
    move_partition: float = 0.01
    fall_back: float = 0.004
    graph_falls_back: float = 0.003


@dataclass
class Off:
    """Protections that can be switched off, to show that the simulation would notice."""

    token: bool = False
    fence: bool = False
    atomic_routes: bool = False
    quiet: bool = False
    all_partitions: bool = False
    seen: bool = False
    retell: bool = False
    taken: bool = False
    outbox: bool = False
    household: bool = False


@dataclass
class Log:
    """Kafka: topics as lists. A transaction is there whole, at once."""

    partitions: dict[tuple[str, int], list[In]] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)

    def read(self, topic: str, partition: int, offset: int, limit: int) -> list[In]:
        return self.partitions.get((topic, partition), [])[offset : offset + limit]

    def end(self, topic: str, partition: int) -> int:
        return len(self.partitions.get((topic, partition), []))

    def append(self, out: Out) -> None:
        log = self.partitions.setdefault((out.topic, out.partition or 0), [])
        log.append(In(len(log), 0, out.key, out.value, out.headers))


class Sender:
    """A producer of one worker. With `name`, a transactional one that a later claim fences."""

    def __init__(self, world: World, worker: Worker, name: str | None) -> None:
        self.world, self.worker, self.name = world, worker, name
        self.epoch = 0

    def init(self) -> None:
        assert self.name is not None
        self.epoch = self.world.log.epochs.get(self.name, 0) + 1
        self.world.log.epochs[self.name] = self.epoch

    async def send(self, messages: list[Out]) -> None:
        await self.worker.point()
        if self.name is not None and self.world.log.epochs.get(self.name) != self.epoch:
            raise Fenced(self.name)
        for out in messages:
            if self.name is None or self.world.off.atomic_routes:
                await self.worker.point()
            self.world.log.append(out)
        await self.worker.point(after=True)


class Store:
    """Either store behind scheduler points: any method of the real one."""

    def __init__(self, worker: Worker, real: Any) -> None:
        self._worker, self._real = worker, real

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._real, name)

        async def call(*args: Any) -> Any:
            await self._worker.point()
            if name in ("commit", "resolve"):
                self._worker.world.before_write(self._real, args)
            result = await method(*args)
            await self._worker.point(after=True)
            return result

        return call


class Unfenced(MemoryProfileStore):
    """The store with a check left out."""

    def __init__(self, off: Off) -> None:
        super().__init__()
        self.off = off

    async def load(self, partition: int, token: str, ids: list[str]) -> list[bytes | None]:
        return await super().load(partition, self._partition(partition).token if self.off.token else token, ids)

    async def due(self, partition: int, token: str, since: int, before: int, limit: int) -> list[bytes]:
        return await super().due(
            partition, self._partition(partition).token if self.off.token else token, since, before, limit
        )

    async def commit(self, partition: int, commit: Any) -> None:
        keys = self._partition(partition)
        if self.off.token:
            commit.expected, commit.tail = keys.token, keys.head + len(keys.outbox)
            commit.trim = min(commit.trim, commit.tail)
        if self.off.fence:
            commit.fence = keys.fence
        await super().commit(partition, commit)


class Worker:
    """One process: hops for the partitions that the group gave it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.intake = Intake(world.topology, world.book)
        self.alive = True
        self.stopped_until = 0
        self.tasks: dict[tuple[str, int], Generator[Any, Any, Any] | Coroutine[Any, Any, Any]] = {}
        self.owners: dict[int, ProfilePartition] = {}

    async def point(self, after: bool = False) -> None:
        world = self.world
        await Pause()
        if world.quiet:
            return
        if world.random.random() < (world.faults.crash_after if after else world.faults.crash_before):
            raise Crash

    def start(self, kind: str, partition: int) -> None:
        if (old := self.tasks.get((kind, partition))) is not None:
            old.close()
        body = self.source(partition) if kind == "source" else self.profiles(partition)
        self.tasks[kind, partition] = body

    async def source(self, partition: int) -> None:
        world = self.world
        sender = Sender(world, self, f"tx-{partition}")
        graph = Store(self, world.graph)
        hop = SourcePartition(world.topology, self.intake, graph, sender, decode_event, "s", partition)
        while True:
            try:
                sender.init()
                await hop.claim()
                for said in world.said:
                    hop.hear(said)
                while True:
                    await self.point()
                    limit = world.random.randint(1, 6)
                    records = world.log.read("s", partition, hop.position.offset, limit)
                    if records:
                        await hop.process(records)
                    elif hop.ripe:
                        await hop.obey()
                    else:
                        await self.point()
                        if hop.stored is None or hop.position.offset > hop.stored.offset:
                            await hop.idle(hop.position.high + 1)
            except CommitRejected:
                continue

    async def profiles(self, partition: int) -> None:
        world = self.world
        sender = Sender(world, self, None)
        store = Store(self, world.profiles)
        hop = ProfilePartition(world.topology, world.book, store, sender, encode_decision, partition)
        topic = world.topology.topics.resolved.name
        if world.off.taken:
            hop._taken = lambda message: bool(hop.meta.taken.update({message.id: message.at}))  # type: ignore[method-assign]
        while True:
            try:
                await hop.claim()
                hop.catch_up_to = world.log.end(topic, partition)
                if not world.off.outbox:
                    await hop.publish()
                else:
                    hop._pending = []
                self.owners[partition] = hop
                while True:
                    await self.point()
                    limit = world.random.randint(1, 5)
                    records = world.log.read(topic, partition, hop.meta.offset, limit)
                    if records and not (world.lagging == partition and not world.quiet):
                        if world.off.seen:
                            hop.meta.seen.clear()
                        await hop.process(records)
                    elif hop.waiting:
                        await hop.publish()
                    clock = await self.clock(store, hop)
                    if clock > hop.meta.clock:
                        await hop.advance(clock)
            except CommitRejected:
                self.owners.pop(partition, None)

    def tick(self, partition: int) -> None:
        """Time goes on while a batch is in hand."""
        hop = self.owners.get(partition)
        if hop is not None:
            hop.aim(now(self.clock(self.world.profiles, hop)))

    async def clock(self, store: Any, hop: ProfilePartition) -> int:
        """Up to when this partition may decide."""
        off, sources = self.world.off, self.world.sources
        if off.all_partitions:
            return min(hop.meta.marks.get(s, 0) for s in sources)
        if off.quiet:
            metas = [watermark.decode_meta(m) if m else None for m in await store.metas(RESOLVED)]
            bare = [m and msgspec.structs.replace(m, sent={}) for m in metas]
            return watermark.decide_before(bare, bare, sources)[0]
        clock, _ = await watermark.read(store, RESOLVED, sources)
        return clock


class NeverTellsAgain(Graph):
    """The graph without the rule that links are told again."""

    def resolve(self, source: str, ask: Any, namespaces: Any) -> Any:
        linked = set(self.links)
        answer = super().resolve(source, ask, namespaces)
        merges = answer.merges
        answer.merges = [x for i in range(0, len(merges), 2) if merges[i] not in linked for x in merges[i : i + 2]]
        return answer


def decode_event(value: bytes | None, trace: str | None) -> Event:
    assert value is not None
    return msgspec.msgpack.decode(value, type=Event)


def encode_decision(decision: Decision) -> list[Out]:
    return [Out("decisions", 0, None, msgspec.msgpack.encode(decision), [])]


class World:
    """All of it, from one seed. `events`: [(source partition, event)], in the order of each partition's log."""

    def __init__(
        self, seed: int, topology: Topology, events: list[tuple[int, Event]], faults: Faults, off: Off | None = None
    ) -> None:
        self.random = random.Random(seed)
        resolved = msgspec.structs.replace(topology.topics.resolved, partitions=RESOLVED)
        sources = (Topic(name="s", partitions=SOURCES),)
        self.topology = msgspec.structs.replace(
            topology, topics=msgspec.structs.replace(topology.topics, resolved=resolved, sources=sources)
        )
        self.book = RuleBook(self.topology)
        self.sources = source_names(self.topology)
        self.log = Log()
        self.faults = faults
        self.off = off or Off()
        self.graph = MemoryGraphStore(topology.identifiers, 1 if self.off.household else HOUSEHOLD)
        if self.off.retell:
            self.graph.graph = NeverTellsAgain()
        self.profiles = Unfenced(self.off)
        self.history: dict[Any, list[Any]] = {}
        self.quiet = False
        self.lagging: int | None = None
        self.steps = 0
        for partition, event in events:
            self.log.append(Out("s", partition, None, msgspec.msgpack.encode(event), []))
        self.said = recording([[event for at, event in events if at == p] for p in range(SOURCES)])
        for key, log in self.log.partitions.items():
            self.log.partitions[key] = [record._replace(timestamp=1 << 60) for record in log]
        self.workers = [Worker(self), Worker(self)]
        self.owner: dict[tuple[str, int], Worker] = {}
        for kind, count in (("source", SOURCES), ("profiles", RESOLVED)):
            for p in range(count):
                self.give(kind, p, self.random.choice(self.workers))

    def give(self, kind: str, partition: int, worker: Worker) -> None:
        """The group assigns a partition. A worker that is stopped goes on with what it had when it wakes: a zombie."""
        before = self.owner.get((kind, partition))
        if before is not None and before.stopped_until <= self.steps:
            task = before.tasks.pop((kind, partition), None)
            if task is not None:
                task.close()
        self.owner[kind, partition] = worker
        old = worker.tasks.pop((kind, partition), None)
        if old is not None:
            old.close()
        worker.start(kind, partition)

    def before_write(self, real: Any, args: tuple[Any, ...]) -> None:
        """Keep what a store was before its last few writes, and now and then fall back there."""
        key, fall = ("graph", self.faults.graph_falls_back) if real is self.graph else (args[0], self.faults.fall_back)
        kept = self.history.setdefault(key, [])
        kept.append(real.snapshot() if key == "graph" else real.snapshot(key))
        del kept[:-5]
        if not self.quiet and self.random.random() < fall:
            back = self.random.randint(1, len(kept))
            if key == "graph":
                real.restore(kept[-back])
            else:
                real.restore(kept[-back], key)
            del kept[-back:]

    def crash(self, worker: Worker) -> None:
        for task in worker.tasks.values():
            task.close()
        worker.tasks.clear()
        fresh = Worker(self)
        self.workers[self.workers.index(worker)] = fresh
        for (kind, p), owner in list(self.owner.items()):
            if owner is worker:
                self.give(kind, p, self.random.choice(self.workers))

    def step(self) -> None:
        r = self.random
        self.steps += 1
        if not self.quiet:
            chance = r.random()
            if chance < self.faults.stop:
                self.stop(r.choice(self.workers))
            elif chance < self.faults.stop + self.faults.move_partition:
                kind, p = r.choice(list(self.owner))
                self.give(kind, p, r.choice(self.workers))
            if self.steps % 200 == 0:
                self.lagging = r.choice([None, *range(RESOLVED)])
        running = [w for w in self.workers if w.tasks and (self.quiet or w.stopped_until <= self.steps)]
        if not running:
            return
        worker = r.choice(running)
        key = r.choice(list(worker.tasks))
        task = worker.tasks[key]
        if key[0] == "profiles" and r.random() < 0.1:
            worker.tick(key[1])
        try:
            task.send(None)
        except Crash:
            self.crash(worker)
        except Fenced:
            worker.tasks.pop(key, None)
            if self.owner[key] is worker:  # still the group's choice: claim again
                worker.start(*key)
        except StopIteration:
            raise AssertionError("a hop ended by itself") from None
        else:
            if self.owner[key] is not worker and worker.stopped_until <= self.steps and r.random() < 0.05:
                worker.tasks.pop(key, None)  # a zombie notices in the end
                task.close()

    def stop(self, worker: Worker) -> None:
        """SIGSTOP past the session timeout: the others take over, and it wakes later none the wiser."""
        other = next(w for w in self.workers if w is not worker)
        if other.stopped_until > self.steps:
            return
        worker.stopped_until = self.steps + self.random.randint(20, 300)
        for (kind, p), owner in list(self.owner.items()):
            if owner is worker:
                self.owner[kind, p] = other
                other.start(kind, p)

    def done(self) -> bool:
        """Everything read, everything decided, nothing left to publish."""
        topic = self.topology.topics.resolved.name
        for p in range(RESOLVED):
            raw = self.profiles._partition(p).meta
            if raw is None:
                return False
            meta = watermark.decode_meta(raw)
            if meta.offset < self.log.end(topic, p) or meta.clock < 8_000_000_000_000:
                return False
            keys = self.profiles._partition(p)
            if any(at < meta.clock for at in keys.timers.values()):
                return False
        return True

    def run(self, chaos: int, limit: int = 60_000) -> None:
        """`chaos` steps with faults, then calm until everything is done."""
        for _ in range(chaos):
            self.step()
        self.quiet = True
        for worker in self.workers:
            for key in [k for k in worker.tasks if self.owner[k] is not worker]:
                worker.tasks.pop(key).close()
        for n in range(limit):
            self.step()
            if n % 50 == 0 and self.done() and self._published():
                self._close()
                return
        self._close()
        raise AssertionError(f"stuck: {self.why()}")

    def _close(self) -> None:
        for worker in self.workers:
            for task in worker.tasks.values():
                task.close()

    def _published(self) -> bool:
        if not hasattr(self, "_calm_since"):
            self._calm_since = self.steps
        return self.steps - self._calm_since > 400

    def why(self) -> str:
        metas = [self.profiles._partition(p).meta for p in range(RESOLVED)]
        decoded = [watermark.decode_meta(m) if m else None for m in metas]
        return str(watermark.decide_before(decoded, decoded, self.sources))

    def decisions(self) -> dict[str, list[Decision]]:
        """Decision id -> every version of it that was published."""
        out: dict[str, list[Decision]] = {}
        for record in self.log.partitions.get(("decisions", 0), []):
            assert record.value is not None
            decision = msgspec.msgpack.decode(record.value, type=Decision)
            decision.profile_id = ""
            versions = out.setdefault(decision.id, [])
            if decision not in versions:
                versions.append(decision)
        return out

    def final_profiles(self) -> dict[str, Profile]:
        out: dict[str, Profile] = {}
        for p in range(RESOLVED):
            for profile_id, raw in self.profiles._partition(p).states.items():
                state = decode(raw)
                if not isinstance(state, Moved):
                    out[profile_id] = state
        return out
