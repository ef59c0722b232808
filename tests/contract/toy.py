"""A toy pipeline for tests of the runtime: positions in a dict, every record kept as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from faust.types import TP

from pipeline.runtime.app import Control, Worker, build
from pipeline.runtime.broker import Broker
from pipeline.runtime.ports import In, Out
from pipeline.runtime.producers import OutboxProducer
from pipeline.topology.model import Identifiers, Time, Topic, Topics, Topology


def topology(bootstrap: str, prefix: str) -> Topology:
    """One source and the resolved topic, four partitions each."""
    source, resolved, out = (Topic(name=prefix + name) for name in ("source", "resolved", "out"))
    return Topology(
        group=prefix + "group",
        kafka=bootstrap,
        redis="",
        registry="",
        topics=Topics(sources=(source,), resolved=resolved, triggers=out, decisions=out, dead_letters=out, control=out),
        time=Time(),
        identifiers=Identifiers(namespaces=(), blocked=frozenset()),
        profile_retention_ms=1,
        rules=(),
    )


async def prepare(topo: Topology) -> None:
    """Create the topics."""
    await Broker(topo.kafka).create({*topo.topics.sources, topo.topics.resolved, topo.topics.triggers})


async def produce(topo: Topology, count: int, *, start: int = 0, topic: str | None = None) -> None:
    """`count` numbered records, spread over the four partitions of the source (or `topic`)."""
    sender = OutboxProducer(topo.kafka)
    name = topic or topo.topics.sources[0].name
    await sender.send([Out(name, i % 4, None, str(i).encode(), []) for i in range(start, start + count)])
    await sender.close()


class Store:
    """What survives a worker: positions and everything processed. Says so when a record comes out of turn."""

    def __init__(self) -> None:
        self.positions: dict[TP, int] = {}
        self.seen: dict[TP, list[int]] = {}
        self.owners: dict[TP, Toy] = {}
        self.wrong: list[str] = []

    def values(self, tp: TP) -> list[int]:
        """Offsets processed, in order."""
        return self.seen.get(tp, [])

    def total(self, topic: str) -> int:
        """Records of a topic processed."""
        return sum(len(seen) for tp, seen in self.seen.items() if tp.topic == topic)


class Toy:
    """Hooks that write into a `Store` what they get, after `delay_s`, as an owner that may lose its partitions."""

    def __init__(self, store: Store, *, delay_s: float = 0.0) -> None:
        self.store = store
        self.delay_s = delay_s
        self.control: Control | None = None
        self.claims: list[set[TP]] = []
        self.busy: set[TP] = set()
        self.most_busy = 0
        self.batches: list[int] = []
        self.ticks = 0
        self.watched = 0
        self.astray: set[TP] = set()
        self.stopped = 0

    async def claim(self, tps: set[TP]) -> dict[TP, int]:
        self.claims.append(tps)
        for tp in tps:
            self.store.owners[tp] = self
        return {tp: self.store.positions.get(tp, 0) for tp in tps}

    async def revoke(self, tps: set[TP]) -> None:
        if tps & self.busy:
            self.store.wrong.append(f"revoked while busy: {tps & self.busy}")

    async def resolve_identity(self, tp: TP, records: list[In]) -> None:
        if tp in self.busy:
            self.store.wrong.append(f"{tp}: two batches at a time")
        self.busy.add(tp)
        self.most_busy = max(self.most_busy, len(self.busy))
        self.batches.append(len(records))
        try:
            await asyncio.sleep(self.delay_s)
            self.keep(tp, records)
        finally:
            self.busy.discard(tp)

    maintain_profile = resolve_identity

    def keep(self, tp: TP, records: list[In]) -> None:
        """The commit: state and position together."""
        if self.store.owners[tp] is not self:
            return  # fenced: another worker has claimed it
        position = self.store.positions.get(tp, 0)
        offsets = [record.offset for record in records]
        if offsets != list(range(position, position + len(offsets))):
            self.store.wrong.append(f"{tp}: at {position} came {offsets[0]}..{offsets[-1]} ({len(offsets)})")
        self.store.seen.setdefault(tp, []).extend(offsets)
        self.store.positions[tp] = offsets[-1] + 1

    def out_of_range(self, tp: TP) -> None:
        self.astray.add(tp)

    async def watch(self) -> None:
        self.watched += 1

    async def tick(self) -> None:
        self.ticks += 1

    async def stop(self) -> None:
        self.stopped += 1


async def until(condition: object, what: str, seconds: float = 60.0) -> None:
    """Wait for `condition()`."""
    assert callable(condition)
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - anything may make it true
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None


@asynccontextmanager
async def running(topo: Topology, toy: Toy, **settings: object) -> AsyncIterator[Worker]:
    """A worker that works inside the block and must end with 0 after it."""
    worker = Worker(topo, toy, **settings)  # type: ignore[arg-type]
    toy.control = worker.control
    run = asyncio.create_task(worker.run(signals=False))
    try:
        yield worker
    finally:
        worker.end()
        code = await run
    assert code == 0


def unstarted(toy: Toy) -> Worker:
    """A worker whose app exists, and connects to nothing. Needs a running loop; `close` it."""
    topo = topology("127.0.0.1:9", "x.")
    worker = Worker(topo, toy)
    worker._app = build(topo, worker)
    assert worker.consumer is worker.app.consumer
    return worker


def close(worker: Worker) -> None:
    """What `unstarted` left open."""
    worker.consumer._thread.thread_loop.close()


def source(topo: Topology, partitions: Iterable[int] = range(4)) -> list[TP]:
    """The source's partitions."""
    return [TP(topo.topics.sources[0].name, partition) for partition in partitions]
