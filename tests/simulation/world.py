"""A simulated log and store under the real code of both hops: one seed, one world.

Every call of a port is a point at which the scheduler may run something else, crash the worker (before the call took
effect, or after it: a lost reply), or stop it for a while (a zombie). Stores fall back by some writes, partitions lag.
A source partition is added under the workers, others stop because too much of them is bad and an operator lets them
pass, and the broker refuses what is too large. Nothing here sleeps or looks at a clock.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline.errors import (
    CommitRejected,
    Fenced,
    InvalidEvent,
    RecordTooLarge,
    TooManyDeadLetters,
    TopicsChanged,
    Unsent,
)
from pipeline.events.model import Event
from pipeline.flow import Intake
from pipeline.identity.graph import HOUSEHOLD, Graph
from pipeline.profile import profile
from pipeline.profile.marks import Quarantined
from pipeline.profile.profile import Profile, decode
from pipeline.runtime import watermark
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.ports import In, Out
from pipeline.runtime.quarantine import Quarantine
from pipeline.runtime.second_hop import ProfilePartition
from pipeline.runtime.topic_watch import TopicWatch
from pipeline.runtime.words import Said, Word
from pipeline.store.memory import MemoryGraphStore, MemoryProfileStore
from pipeline.store.ports import Skip
from pipeline.topology.model import DeadLetterLimit, Topic, Topology
from pipeline.triggers.changes import Output, SegmentChange
from pipeline.triggers.decisions import Decision
from pipeline.triggers.fold import learn
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import Headers, Resolved, Seal, encode
from pipeline.wire.row import Row
from tests.property.hops import now, recording
from tests.sealed import sealed
from tests.standins import Away, Pause

RESOLVED = 3
SOURCES = 3
ADDED = 1  # source partitions
RUN = 3  # bad records in a row, and their partition stops
LARGEST = 1_500  # bytes of a record that the broker takes
ADDED_UP = 97  # steps
KEPT = 5  # writes of the graph, or of a partition, that may be lost
ONE_LOG_KEPT = 20  # of all together
BEHIND = 5_000  # ms that received_at runs back in a partition at the most


NO_ROWS = encode([])
_other = Resolved[Any]("s-0", 5_000, 5_001, 0, 9_000_000_000_000, [], [])
FOREIGN: list[tuple[Headers, bytes | None]] = [
    ([], b'{"a":1}'),
    ([], None),
    ([("traceparent", b"00-1-1-00")], b"\0\0\0\0\x07page view"),
    sealed(_other, "other"),
    (Seal("behavioural").headers(b"\xc1"), b""),
    ([("x", b"y" * LARGEST)], b"z"),
]


GARBAGE = [
    None, b"", b"\xc1", b'{"a":1}', msgspec.msgpack.encode({"type": "page_viewed"}), b"\xc1" * LARGEST,
]  # fmt: skip


class Poison:
    """Events that the fold can't stand, until there is a version that can."""

    events: frozenset[str] = frozenset()

    def learn(self, book: RuleBook, person: Person, row: Row, out: list[Output]) -> None:
        if row.event_id in self.events:
            raise ZeroDivisionError(f"event {row.event_id}")
        learn(book, person, row, out)


poison = Poison()
profile.learn = poison.learn  # type: ignore[attr-defined]


class Crash(Exception):
    """The process is gone."""


@dataclass
class Faults:
    """Probabilities a port call, or a scheduler's step."""

    crash_before: float = 0.004
    crash_after: float = 0.004
    stop: float = 0.003
    move_partition: float = 0.01
    fall_back: float = 0.004
    graph_falls_back: float = 0.003
    one_log: bool = False  # all of it falls back by `fall_back`, to one moment: as one Redis does
    foreign: float = 0.01
    garbage: float = 0.05  # of what lies in source partitions
    rubbish: float = 0.01  # so much garbage that the partition stops
    skip: float = 0.05  # an operator lets one pass that has
    look: tuple[float, ...] = (0.005, 0.05, 0.2)  # at the topics, of the times at which that might be done; one a world
    refused: float = 0.01  # some of what the second hop sends
    failed: float = 0.01  # a transaction, or its answer
    unreadable: float = 0.05  # of those records whose value says nothing: what their headers say is all there is


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
    kept: bool = False
    let_pass: bool = False  # all that may pass becomes dead letters, not what is bad alone
    topics: bool = False  # nobody looks at the topics: who was started with too few partitions goes on
    begin: bool = False  # an added partition counts from its beginning
    smaller: bool = False  # what is refused for its size is sent again as it is
    ended: bool = False  # who claims a source partition doesn't end the producer that wrote of it before
    generation: bool = (
        False  # who is no longer the group's choice may say, too, that its producer writes of a partition
    )
    named: bool = False  # a producer that has failed, or was ended, goes on under its name


@dataclass
class Log:
    """Kafka: topics as lists, None where a record was given up. Records of a transaction come to lie one by one; behind
    the first of one that is open nothing is read.
    """

    partitions: dict[tuple[str, int], list[In | None]] = field(default_factory=dict)
    opened: dict[str, list[tuple[tuple[str, int], int]]] = field(default_factory=dict)  # producer -> (where, offset)
    signed: dict[int, str] = field(default_factory=dict)  # source partition -> the producer that may write of it
    begun: Counter[str] = field(default_factory=Counter)  # producer -> how often, by itself or by who ended it

    def read(self, topic: str, partition: int, offset: int, limit: int) -> list[In]:
        found: list[In] = []
        for record in self.partitions.get((topic, partition), [])[offset : self.stable(topic, partition)]:
            if record is not None and len(found) < limit:
                found.append(record)
        return found

    def stable(self, topic: str, partition: int) -> int:
        places = [at for each in self.opened.values() for where, at in each if where == (topic, partition)]
        return min(places, default=len(self.partitions.get((topic, partition), [])))

    def end(self, topic: str, partition: int) -> int:
        """Behind the last record that can be read."""
        end = self.stable(topic, partition)
        while end and self.partitions[topic, partition][end - 1] is None:
            end -= 1
        return end

    def append(self, out: Out, producer: str | None = None) -> None:
        where = out.topic, out.partition or 0
        log = self.partitions.setdefault(where, [])
        if producer is not None:
            self.opened.setdefault(producer, []).append((where, len(log)))
        log.append(In(len(log), 0, out.key, out.value, out.headers))

    def begin(self, producer: str) -> int:
        """Whoever had this name can do nothing any more, and what was open is given up."""
        for where, offset in self.opened.pop(producer, ()):
            self.partitions[where][offset] = None
        self.begun[producer] += 1
        return self.begun[producer]


class Sender:
    """A producer of one worker, at least once."""

    def __init__(self, world: World, worker: Worker) -> None:
        self.world, self.worker = world, worker

    async def send(self, messages: list[Out]) -> None:
        await self.worker.point()
        refused: list[int] = []
        large = [place for place, out in enumerate(messages) if size(out) > self.world.takes(out.topic)]
        self.world.met["too large"] += len(large)
        for place, out in enumerate(messages):
            await self.worker.point()
            if place in large or self.world.refuses():
                refused.append(place)
            else:
                self.world.log.append(self.world.spoilt(out))
        if refused:
            raise Unsent("refused", refused, large)
        await self.worker.point(after=True)


Sent = tuple[list[Out], list[Exception | None]]  # and what became of it: None: it is there


class Failed(Exception):
    """Whether it is there isn't known."""


class Together:
    """As runtime/together.py: a transaction for what several source partitions of a worker say. It ends for good when
    it fails, or when somebody else ends it.
    """

    def __init__(self, world: World, worker: Worker, name: str) -> None:
        self.world, self.worker, self.name = world, worker, name
        self.waiting: list[Sent] = []
        self.leader = False
        self.begin()

    def begin(self) -> None:
        self.epoch = self.world.log.begin(self.name)
        self.broken = False

    async def send(self, messages: list[Out]) -> None:
        if self.broken:
            raise Failed(self.name)
        outcome: list[Exception | None] = []
        self.waiting.append((messages, outcome))
        while not outcome:
            if self.leader:
                await Pause()
            else:
                self.leader = True
                try:
                    await self.commit()
                finally:
                    self.leader = False
        if outcome[0] is not None:
            raise outcome[0]
        await self.worker.point(after=True)

    async def commit(self) -> None:
        for _ in range(self.world.random.randint(1, 5)):
            await self.worker.point()
        under_way, self.waiting = self.waiting, []
        for each, outcome in under_way:
            large = [out for out in each if size(out) > self.world.takes(out.topic)]
            self.world.met["too large"] += len(large)
            if large:
                outcome.append(RecordTooLarge("too large", large[0].topic))
        under_way = [each for each in under_way if not each[1]]
        problem: Exception | None = None
        try:
            for each, _ in under_way:
                for out in each:
                    await self.append(out)
            await self.worker.point()
            lost = self.world.fails()
            if not lost or self.world.random.random() < 0.5:
                self.check()
                self.world.log.opened.pop(self.name, None)
                self.world.met["together"] += len(under_way) > 1
            if lost:
                problem = Failed(self.name)
        except Fenced as fenced:
            problem = fenced
        except BaseException:  # who does this for all was given up in the middle of it
            self.end(under_way, Failed(self.name))
            raise
        self.end(under_way, problem)

    def end(self, under_way: list[Sent], problem: Exception | None) -> None:
        self.broken = problem is not None
        for _, outcome in [*under_way, *(self.waiting if self.broken else ())]:
            outcome.append(problem)

    async def append(self, out: Out) -> None:
        await self.worker.point()
        self.check()
        self.world.log.append(self.world.spoilt(out), None if self.world.off.atomic_routes else self.name)

    def check(self) -> None:
        if self.world.log.begun[self.name] != self.epoch:
            raise Fenced(self.name)


def size(out: Out) -> int:
    """As the broker counts it, about."""
    return len(out.value or b"") + sum(len(name) + len(value or b"") for name, value in out.headers)


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


class Changed(Exception):
    """The process has ended by itself, to be started with the topology as it is by then."""


class Shapes:
    """What the broker says of topics, behind scheduler points."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    async def shapes(self, names: Any) -> dict[str, tuple[str, int]]:
        await self.worker.point()
        world = self.worker.world
        found = {name: (f"id of {name}", 1) for name in names}
        found["s"] = ("id of s", SOURCES + (ADDED if world.added else 0))
        await self.worker.point(after=True)
        return found


class Plain:
    """An `Encoder` of decisions that needs no schemas."""

    def encode_decision(self, topic: str, decision: Decision) -> bytes:
        return msgspec.msgpack.encode(decision)

    def encode_change(self, topic: str, change: SegmentChange) -> bytes:
        return msgspec.msgpack.encode(change)

    def as_trigger(self, topic: str, encoded: bytes) -> bytes:
        return encoded

    def read_decision(self, encoded: bytes) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.msgpack.decode(encoded)
        return found


class Worker:
    """One process: hops for the partitions that the group gave it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.topology, self.sources = world.topology, world.topology.waited_for
        self.topics = TopicWatch(self.topology, Shapes(self))  # type: ignore[arg-type]
        self.delivery = Delivery(self.topology, Plain())  # type: ignore[arg-type]
        self.intake = Intake(self.topology, world.book)
        self.alive = True
        self.stopped_until = 0
        self.tasks: dict[tuple[str, int], Generator[Any, Any, Any] | Coroutine[Any, Any, Any]] = {}
        self.owners: dict[int, ProfilePartition] = {}
        self.writer: Together | None = None

    async def own(self, partition: int) -> Together:
        """As `Hops._own`: whoever wrote of this partition before writes no more, and the group's word says who does."""
        world, log = self.world, self.world.log
        if self.writer is not None and self.writer.broken and world.off.named:
            self.writer.begin()
        elif self.writer is None or self.writer.broken:
            world.named += 1
            self.writer = Together(world, self, f"producer {world.named}")
        writer = self.writer
        await self.point()
        before = log.signed.get(partition)
        await self.point(after=True)
        if before not in (None, writer.name) and not world.off.ended:
            await self.point()
            log.begin(before)
            await self.point(after=True)
        await self.point()
        if world.owner["source", partition] is not self and not world.off.generation:
            raise Fenced("another generation")
        log.signed[partition] = writer.name
        await self.point(after=True)
        return writer

    def away(self, store: Any) -> Any:
        """Either store, behind scheduler points."""

        async def before(name: str, args: tuple[Any, ...]) -> None:
            await self.point()
            self.world.before(name, store, args)

        async def after(name: str, args: tuple[Any, ...]) -> None:
            await self.point(after=True)

        return Away(store, before, after)

    async def point(self, after: bool = False) -> None:
        world = self.world
        await Pause()
        if world.quiet:
            return
        if world.random.random() < (world.faults.crash_after if after else world.faults.crash_before):
            raise Crash

    def start(self, kind: str, partition: int) -> None:
        if (old := self.tasks.pop((kind, partition), None)) is not None:
            old.close()
        if kind == "source" and partition >= len(self.sources):
            return  # one that it knows nothing of
        body = self.source(partition) if kind == "source" else self.profiles(partition)
        self.tasks[kind, partition] = body

    async def source(self, partition: int) -> None:
        world = self.world
        graph = self.away(world.graph)
        while True:
            idle = False
            sender = await self.own(partition)
            hop = SourcePartition(self.topology, self.intake, graph, sender, decode_event, "s", partition)
            try:
                if await hop.claim() is None and not world.off.begin:
                    hop.start_at(0, await self.decided())
                while True:
                    await self.point()
                    for said in world.heard():
                        hop.hear(said)
                    limit = world.random.choice([1, 2, 3, 4, 5, 6, 20])
                    records = world.read(partition, hop.position.offset, limit)
                    if world.off.let_pass and hop._skip is not None:
                        passed = hop._skip.offset
                        records = [r._replace(value=None) if r.offset < passed else r for r in records]
                    await self.look(0)
                    if records:
                        await hop.process(records)
                        idle = False
                    elif hop.ripe:
                        await hop.obey()
                    elif not idle:
                        await self.point()
                        await hop.idle(hop.position.high + 1)
                        idle = True
            except (CommitRejected, Failed):
                continue
            except TooManyDeadLetters as stop:
                world.met["stopped"] += 1
                while await hop.let_pass() is None:
                    world.stopped[partition] = int(str(stop).rpartition("the last is ")[2].partition(")")[0]) + 1
                    await self.look(0)
                    await self.point()

    async def decided(self) -> int:
        """As `Hops._decided`; and it may take long until what it says is heeded."""
        world, store = self.world, self.away(self.world.profiles)
        if await self.clock_of(store):
            for partition in range(RESOLVED):
                await store.claim(partition)
        decided = await self.clock_of(store)
        for _ in range(world.random.choice([0, 60])):
            await Pause()
        return decided

    @staticmethod
    async def clock_of(store: Any) -> int:
        metas = await store.metas(RESOLVED)
        return max((watermark.decode_meta(meta).clock for meta in metas if meta), default=0)

    async def profiles(self, partition: int) -> None:
        world = self.world
        sender = Sender(world, self)
        store = self.away(world.profiles)
        smaller = (lambda out: None) if world.off.smaller else self.delivery.smaller
        hop = ProfilePartition(
            self.topology, world.book, store, sender, self.delivery.encode, partition, smaller=smaller
        )
        topic = self.topology.topics.resolved.name
        if world.off.taken:
            hop._taken = lambda name, at: bool(hop.meta.taken.update({name: at}))  # type: ignore[method-assign]
        if world.off.kept:
            hop._quarantine.keep = lambda state, row: True  # type: ignore[method-assign]
        while True:
            try:
                await hop.claim()
                self.topics.forget()
                hop.catch_up_to = world.log.end(topic, partition)
                if world.off.outbox:
                    hop._pending, hop._published = [], hop._tail
                self.owners[partition] = hop
                while True:
                    await self.point()
                    limit = world.random.randint(1, 5)
                    records = world.log.read(topic, partition, hop.meta.offset, limit)
                    try:
                        if hop.unfinished:
                            await hop.finish()
                        elif records and not (world.lagging == partition and not world.quiet):
                            if world.off.seen:
                                hop.meta.seen.clear()
                            await hop.process(records)
                        clock = await self.clock(store, hop)
                        if clock > hop.meta.clock:
                            await hop.advance(clock)
                    except Unsent:
                        continue
            except CommitRejected:
                self.owners.pop(partition, None)

    def tick(self, partition: int) -> None:
        """Time goes on while a batch is in hand."""
        hop = self.owners.get(partition)
        if hop is not None:
            certain = now(self.certain(self.world.profiles, hop))
            hop.aim(certain if self.world.off.topics else min(certain, self.topics.upto))

    async def clock(self, store: Any, hop: ProfilePartition) -> int:
        """Up to when this partition may decide."""
        certain = await self.certain(store, hop)
        await self.look(certain)
        return certain if self.world.off.topics else min(certain, self.topics.upto)

    async def look(self, certain: int) -> None:
        """Now and then, whether the topics are still those that it was started with."""
        world = self.world
        if not world.off.topics and world.random.random() < (0.2 if world.quiet else world.look):
            try:
                await self.topics.look(certain)
            except TopicsChanged:
                raise Changed from None

    async def certain(self, store: Any, hop: ProfilePartition) -> int:
        """The same, by the books alone."""
        off, sources = self.world.off, self.sources
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
    try:
        return msgspec.msgpack.decode(value or b"", type=Event)
    except msgspec.MsgspecError as error:
        raise InvalidEvent("undecodable", str(error)) from error


def shaped(topology: Topology, sources: int) -> Topology:
    """With one source topic `s` of so many partitions, which stop soon."""
    replace = msgspec.structs.replace
    topics = replace(
        topology.topics,
        sources=(Topic(name="s", partitions=sources),),
        resolved=replace(topology.topics.resolved, partitions=RESOLVED),
    )
    return replace(topology, topics=topics, dead_letter_limit=DeadLetterLimit(share=1.0, run=RUN))


class World:
    """All of it, from one seed. `events`: [(source partition, event)], in the order of each partition's log; those
    behind the `cut` come after partitions were added. `poisoned`: ids of those that no fold can stand before the calm.
    """

    def __init__(
        self,
        seed: int,
        topology: Topology,
        events: list[tuple[int, Event]],
        faults: Faults,
        off: Off | None = None,
        poisoned: frozenset[str] = frozenset(),
        cut: int | None = None,
        largest: int = LARGEST,
    ) -> None:
        self.poisoned = poison.events = poisoned
        self.met = Counter[str]()
        self.random = random.Random(seed)
        self.topology = shaped(topology, SOURCES)
        self.larger = shaped(topology, SOURCES + ADDED)
        self.book = RuleBook(self.topology)
        self.log = Log()
        self.faults = faults
        self.off = off or Off()
        self.graph = MemoryGraphStore(topology.identifiers, 1 if self.off.household else HOUSEHOLD)
        if self.off.retell:
            self.graph.graph = NeverTellsAgain()
        self.profiles = Unfenced(self.off)
        self.history: dict[Any, list[Any]] = {}
        self.quiet = False
        self.named = 0
        self.lagging: int | None = None
        self.steps = 0
        self.unbalanced: list[str] = []
        self.largest = largest
        self.garbage: set[tuple[str, int, int]] = set()
        self.stopped: dict[int, int] = {}  # source partition -> up to where an operator has to let it pass
        self.added = False
        self.adds_at = self.random.randint(100, 1_500)
        self.look = self.random.choice(faults.look)
        told: list[list[Event | None]] = [[] for _ in range(SOURCES + ADDED)]
        cut = len(events) if cut is None else cut
        self.there = [0] * len(told)
        self.upto = min((event.received_at for _, event in events[cut:]), default=1 << 60) - BEHIND
        for number, (place, event) in enumerate(events):
            if number == cut:
                self.there = [len(each) for each in told]
            partition = place if number >= cut else place % SOURCES
            while self.random.random() < faults.garbage:
                self._put(told[partition], partition, None)
            if self.random.random() < faults.rubbish:
                for _ in range(self.random.randint(RUN, 4 * RUN)):
                    self._put(told[partition], partition, None)
            self._put(told[partition], partition, event)
        self.said = recording(told)
        for key, log in self.log.partitions.items():
            self.log.partitions[key] = [record and record._replace(timestamp=1 << 60) for record in log]
        self.workers = [Worker(self), Worker(self)]
        self.owner: dict[tuple[str, int], Worker] = {}
        for kind, count in (("source", SOURCES), ("profiles", RESOLVED)):
            for p in range(count):
                self.give(kind, p, self.random.choice(self.workers))

    def _put(self, told: list[Event | None], partition: int, event: Event | None) -> None:
        """Into a source partition: an event, or something else that somebody writes there."""
        value = self.random.choice(GARBAGE) if event is None else msgspec.msgpack.encode(event)
        if event is None:
            self.garbage.add(("s", partition, len(told)))
        told.append(event)
        self.log.append(Out("s", partition, None, value, []))

    def read(self, partition: int, offset: int, limit: int) -> list[In]:
        """Of what is there by now in a source partition."""
        found = self.log.read("s", partition, offset, limit)
        return found if self.added else [record for record in found if record.offset < self.there[partition]]

    def heard(self) -> list[Said]:
        """What the recording has told by now."""
        return [s for s in self.said if self.added or (isinstance(s.word, Word) and s.word.through <= self.upto)]

    def add(self) -> None:
        """Source partitions are added; whoever starts from now on knows of them."""
        self.added, self.topology = True, self.larger
        for partition in range(SOURCES, SOURCES + ADDED):
            self.give("source", partition, self.random.choice(self.workers))

    def let_pass(self) -> None:
        """An operator looks after a source partition that has stopped: `pipeline skip`."""
        partition, upto = self.random.choice(list(self.stopped.items()))
        del self.stopped[partition]
        end = self.log.end("s", partition) if self.added else self.there[partition]
        now(self.graph.skip(f"s-{partition}", Skip(self.random.choice([upto, min(upto + 5, end), end]), "me", 1)))

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

    def takes(self, topic: str) -> int:
        """Bytes of a record, at the most."""
        return self.largest // (2 if topic == self.topology.topics.triggers.name else 1)

    def spoilt(self, out: Out) -> Out:
        """As it comes to lie in the log."""
        if out.value == NO_ROWS and self.random.random() < self.faults.unreadable:
            return out._replace(value=self.random.choice([None, b"", b"\x93", b'{"a":1}']))
        return out

    def refuses(self) -> bool:
        return not self.quiet and self.random.random() < self.faults.refused

    def fails(self) -> bool:
        return not self.quiet and self.random.random() < self.faults.failed

    def put_foreign(self) -> None:
        """Somebody else writes into `identity.resolved`."""
        r, topic = self.random, self.topology.topics.resolved.name
        headers, value = r.choice(FOREIGN)
        self.log.append(Out(topic, r.randrange(RESOLVED), None, value, headers))

    def before(self, name: str, real: Any, args: tuple[Any, ...]) -> None:
        """Keep what a store was before its last few writes, and now and then fall back there."""
        one_log = self.faults.one_log
        if self.quiet or (name not in ("commit", "resolve") and not (one_log and name == "claim")):
            return
        which, fall = (), self.faults.graph_falls_back
        if real is not self.graph:
            which, fall = args[:1], self.faults.fall_back
        kept = self.history.setdefault(() if one_log else which, [])
        kept.append((real, which, real.snapshot(*which)))
        del kept[: -(ONE_LOG_KEPT if one_log else KEPT)]
        if self.random.random() < fall:
            back = self.random.randint(1, len(kept))
            for store, of, was in reversed(kept[-back:]):
                store.restore(was, *of)
            del kept[-back:]

    def crash(self, worker: Worker) -> None:
        for task in worker.tasks.values():
            task.close()
        worker.tasks.clear()
        if self.off.ended and worker.writer is not None:  # a time-out ends what was open, too
            self.log.begin(worker.writer.name)
        fresh = Worker(self)
        self.workers[self.workers.index(worker)] = fresh
        for (kind, p), owner in list(self.owner.items()):
            if owner is worker:
                self.give(kind, p, self.random.choice(self.workers))

    def step(self) -> None:
        r = self.random
        self.steps += 1
        if self.steps % ADDED_UP == 0:
            self.add_up()
        if not self.quiet:
            chance = r.random()
            if chance < self.faults.stop:
                self.stop(r.choice(self.workers))
            elif chance < self.faults.stop + self.faults.move_partition:
                kind, p = r.choice(list(self.owner))
                self.give(kind, p, r.choice(self.workers))
            if r.random() < self.faults.foreign:
                self.put_foreign()
            if self.steps % 200 == 0:
                self.lagging = r.choice([None, *range(RESOLVED)])
        if not self.added and (self.quiet or self.steps >= self.adds_at):
            self.add()
        if self.stopped and r.random() < self.faults.skip:
            self.let_pass()
        for idle in [w for w in self.workers if self.quiet and not w.tasks and w.topology is not self.topology]:
            if not self.off.topics:  # it looks at the topics beside its tasks, be there any or not
                self.crash(idle)
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
        except Changed:
            self.met["started anew"] += 1
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

    def add_up(self) -> None:
        """40: what a partition's books say of its waits is what waits in its profiles, whatever has happened."""
        for p in range(RESOLVED):
            keys = self.profiles._partition(p)
            found = Counter[str]()
            for state in map(decode, keys.states.values()):
                if isinstance(state, Profile | Quarantined):
                    for each in Quarantine.inside(state):
                        found.update(profile.waits_of(self.book, each))
            books = {} if keys.meta is None else watermark.decode_meta(keys.meta).waits
            said = {rule: waits.waiting for rule, waits in books.items()}
            if +Counter(said) != +found or any(waiting < 0 for waiting in said.values()):
                self.unbalanced.append(f"partition {p}, step {self.steps}: {books}, but there are {found}")

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

    def upgrade(self) -> None:
        """What some profiles do no longer raises, in new processes."""
        poison.events = frozenset()
        metas = [keys.meta for keys in map(self.profiles._partition, range(RESOLVED)) if keys.meta]
        self.met["quarantined"] = sum(len(watermark.decode_meta(meta).quarantined) for meta in metas)
        for worker in list(self.workers):
            if self.poisoned or self.off.topics:
                self.crash(worker)

    def done(self) -> bool:
        """Everything read, everything decided, nothing left to publish."""
        topic = self.topology.topics.resolved.name
        for p in range(RESOLVED):
            raw = self.profiles._partition(p).meta
            if raw is None:
                return False
            meta = watermark.decode_meta(raw)
            if meta.offset < self.log.end(topic, p) or meta.clock < 8_000_000_000_000 or meta.quarantined:
                return False
            keys = self.profiles._partition(p)
            if any(at < meta.clock for at in keys.timers.values()):
                return False
        return True

    def run(self, chaos: int, limit: int = 60_000) -> None:
        """`chaos` steps with faults, then calm until everything is done."""
        try:
            self._run(chaos, limit)
        finally:
            for worker in self.workers:
                for task in worker.tasks.values():
                    task.close()

    def _run(self, chaos: int, limit: int) -> None:
        for _ in range(chaos):
            self.step()
        self.quiet = True
        self.upgrade()
        for worker in self.workers:
            for key in [k for k in worker.tasks if self.owner[k] is not worker]:
                worker.tasks.pop(key).close()
        for n in range(limit):
            self.step()
            if n % 50 == 0 and self.done() and self._published():
                self.add_up()
                return
        raise AssertionError(f"stuck: {self.why()}")

    def _published(self) -> bool:
        for p in range(RESOLVED):
            owner, keys = self.owner["profiles", p].owners.get(p), self.profiles._partition(p)
            if owner is None or owner._outbox or owner._published < keys.head + len(keys.outbox):
                return False
        return True

    def why(self) -> str:
        metas = [self.profiles._partition(p).meta for p in range(RESOLVED)]
        decoded = [watermark.decode_meta(m) if m else None for m in metas]
        return str(watermark.decide_before(decoded, decoded, self.topology.waited_for))

    def decisions(self, triggers: bool = False) -> dict[str, list[Decision]]:
        """Decision id -> every version of it that was published, on `decisions` or on `triggers`."""
        out: dict[str, list[Decision]] = {}
        topics = self.topology.topics
        for record in self.log.partitions.get(((topics.triggers if triggers else topics.decisions).name, 0), []):
            assert record is not None
            assert record.value is not None
            decision = msgspec.msgpack.decode(record.value, type=Decision)
            decision.profile_id = ""
            versions = out.setdefault(decision.id, [])
            if decision not in versions:
                versions.append(decision)
        return out

    def dead_letters(self) -> set[tuple[str, int, int]]:
        """Where the records stand that became dead letters, of the source topic."""
        topic = self.topology.topics.dead_letters.name
        found = set()
        for record in self.log.read(topic, 0, 0, 1 << 60):
            named = dict(record.headers)
            place = [(named[f"__connect.errors.{name}"] or b"").decode() for name in ("topic", "partition", "offset")]
            if place[0] == "s":
                found.add((place[0], int(place[1]), int(place[2])))
        return found

    def final_profiles(self) -> dict[str, Profile]:
        out: dict[str, Profile] = {}
        for p in range(RESOLVED):
            for profile_id, raw in self.profiles._partition(p).states.items():
                state = decode(raw)
                if isinstance(state, Profile):
                    out[profile_id] = state
        return out
