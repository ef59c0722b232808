"""The worker: a Faust app of two agents, run inside asyncio without Faust's command line.

    resolve_identity   source topics       first hop
    maintain_profile   identity.resolved   second hop

What a batch means is said by `Hooks` (the hops); here is who calls them when, and how the process ends:

    0  asked to (SIGTERM, SIGINT): the batches in hand were finished, the group was left
    1  Kafka couldn't be reached or lacks topics at the start, or Faust gave up
    2  a hook raised, a position couldn't be claimed, or a partition stood still: going on would lose records
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

from faust.types import TP, StreamT

from pipeline.errors import PipelineError
from pipeline.runtime.broker import Broker, all_topics
from pipeline.runtime.control import Control
from pipeline.runtime.lanes import Lane, Records
from pipeline.runtime.transport import BatchApp, BatchConsumer, Fetched, FetchSettings
from pipeline.runtime.watchdog import EXIT_FATAL, Watchdog
from pipeline.topology.model import Topology

log = logging.getLogger(__name__)

__all__ = ["EXIT_FATAL", "EXIT_KAFKA", "EXIT_OK", "Control", "Hooks", "Worker", "build", "run_process"]

EXIT_OK = 0
EXIT_KAFKA = 1

TICK_S = 0.1
# How long a batch in hand may take after a rebalance or a signal asked for the partition.
DRAIN_S = 20.0
# How long the orderly end may take after something fatal, before the process just ends.
END_S = 10.0


class Hooks(Protocol):
    """What the hops do. Everything runs on the worker's event loop.

    What any of these raises ends the process with exit code 2: catch what you can handle.
    """

    async def claim(self, tps: set[TP]) -> dict[TP, int]:
        """Own these partitions from now; return the next offset to read of each. At most 60 s."""

    async def revoke(self, tps: set[TP]) -> None:
        """The batches in hand have ended; drop what is cached of these partitions. Also before `stop`."""

    async def resolve_identity(self, tp: TP, records: Records) -> None:
        """First hop: 1 to `max_batch` records of one source partition, in order. Never twice at a time a partition."""

    async def maintain_profile(self, tp: TP, records: Records) -> None:
        """Second hop: the same of identity.resolved."""

    def out_of_range(self, tp: TP) -> None:
        """Kafka has nothing at the offset that is to be read next; said several times a second while that is so."""

    async def watch(self) -> None:
        """Beside all else, from the start to the end, whatever hangs."""

    async def tick(self) -> None:
        """Every 100 ms, never twice at a time, whatever the lanes do meanwhile."""

    async def stop(self) -> None:
        """Nothing comes any more: publish what is committed, close clients. Called once, also after a failure."""


class Worker:
    """Runs one worker until it is told to end.

        code = await Worker(topology, hooks).run()

    `transactions`: whether the first hop writes in transactions (False on the embedded broker alone).
    `max_batch`: records a call of a hook. `stall_s`: how long a partition with records may stand still; more than the
    longest a hook may take. `kafka_wait_s`: patience with a broker that doesn't answer yet.
    `on_fatal`: told of what ends the worker, once, before anything is stopped.
    """

    def __init__(
        self,
        topology: Topology,
        hooks: Hooks,
        *,
        transactions: bool = True,
        max_batch: int = 6_000,
        stall_s: float = 60.0,
        drain_s: float = DRAIN_S,
        kafka_wait_s: float = 30.0,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.topology = topology
        self.hooks = hooks
        self.lanes: dict[TP, Lane] = {}
        self.control = Control(self)
        self.ready = False
        self.probing: asyncio.Task[None] | None = None
        self._transactions = transactions
        self._max_batch = max_batch
        self._stall_s = stall_s
        self._drain_s = drain_s
        self._kafka_wait_s = kafka_wait_s
        self._on_fatal = on_fatal
        self._problem: BaseException | None = None
        self._ending = asyncio.Event()
        self._app: BatchApp | None = None

    @property
    def app(self) -> BatchApp:
        """The Faust app; it exists while `run` runs."""
        if self._app is None:
            raise PipelineError("the worker doesn't run yet: call run() first")
        return self._app

    @property
    def consumer(self) -> BatchConsumer:
        """The app's consumer."""
        return cast(BatchConsumer, self.app.consumer)

    async def run(self, *, signals: bool = True) -> int:
        """Work until SIGTERM, SIGINT, `end()` or something fatal; return the exit code.

        After a code other than 0 threads may be left behind that don't end: leave the process with `os._exit`.
        """
        if not await self._kafka_ready():
            return EXIT_KAFKA
        self._app = build(self.topology, self, transactions=self._transactions, max_batch=self._max_batch)
        loop = asyncio.get_running_loop()
        if signals:
            for signum in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(signum, self.end)
        starting = asyncio.create_task(self._start(), name="faust")
        running = (self._tick(), self._watch(), Watchdog(self, self._stall_s).run())
        services = [asyncio.create_task(service) for service in running]
        await self._ending.wait()
        code = await self._end(starting, services)
        log.info("ended with exit code %d", code)
        return code

    def end(self) -> None:
        """Finish the batches in hand and stop."""
        if not self.ending:
            log.info("asked to end: %d partitions finish their batches in hand", len(self.lanes))
        self._ending.set()

    # Owner, for the transport.

    @property
    def ending(self) -> bool:
        """A signal or a problem has come."""
        return self._ending.is_set()

    async def claim(self, tps: set[TP]) -> dict[TP, int]:
        """Ask the hooks."""
        offsets = await self.hooks.claim(tps)
        if tps:
            log.info("claimed %d partitions (@: the next offset): %s", len(tps), _listed(offsets))
        else:
            log.info("the group has no partition left for this worker: it stands by")
        self.ready = True
        return offsets

    async def revoke(self, tps: set[TP]) -> None:
        """Let the batches in hand end, then tell the hooks."""
        closing = [lane for tp in tps if (lane := self.lanes.pop(tp, None)) is not None]
        if closing:
            await asyncio.gather(*(lane.close(self._drain_s) for lane in closing))
            await self.hooks.revoke({lane.tp for lane in closing})
        if tps:
            log.info("gave up %d partitions: %s", len(tps), _listed(dict.fromkeys(tps)))

    def opened(self, tp: TP, epoch: int, offset: int) -> None:
        """Start the partition's lane, or turn it to another position."""
        lane = self.lanes.get(tp)
        if lane is None:
            hop = self.hooks.maintain_profile if tp.topic == self._resolved else self.hooks.resolve_identity
            lane = self.lanes[tp] = Lane(tp, hop, self.fatal, self._max_batch)
        lane.open(epoch, offset)

    def put(self, fetched: Fetched) -> None:
        """From an agent into the partitions' lanes."""
        for batch in fetched:
            lane = self.lanes.get(batch.tp)
            if lane is not None:
                lane.put(batch)

    def blocked(self) -> set[TP]:
        """Partitions whose lane is full or paused."""
        return {tp for tp, lane in self.lanes.items() if lane.full}

    def out_of_range(self, tp: TP) -> None:
        """Ask the hooks, who find out whether it's gone for good."""
        if tp in self.lanes and not self.ending:
            self.hooks.out_of_range(tp)

    def done(self) -> dict[TP, int]:
        """Next offset a partition."""
        return {tp: lane.position for tp, lane in self.lanes.items()}

    def fatal(self, problem: BaseException) -> None:
        """Log, stop taking records, and end: orderly if that works within 10 s."""
        if self._problem is not None:
            return
        self._problem = problem
        # What we raise on purpose says what to do; where it was raised is of no use to who reads it.
        where = None if isinstance(problem, PipelineError) else problem
        log.critical("the worker ends: %s", str(problem) or repr(problem), exc_info=where)
        if self._on_fatal is not None:
            self._on_fatal(problem)
        timer = threading.Timer(END_S, os._exit, (EXIT_FATAL,))
        timer.daemon = True
        timer.start()
        self._timer = timer
        self._ending.set()

    # Inside.

    @property
    def _resolved(self) -> str:
        return self.topology.topics.resolved.name

    async def _kafka_ready(self) -> bool:
        try:
            broker = Broker(self.topology.kafka)
            topics = all_topics(self.topology.topics)
            findings = [f for f in await broker.unusable(topics, wait_s=self._kafka_wait_s) if f.fatal]
        except PipelineError as problem:
            log.critical("the worker can't start: %s", problem)
            return False
        for finding in findings:
            log.critical("the worker can't start: %s", finding)
        return not findings

    async def _start(self) -> None:
        """Start Faust and wait until it stops by itself, which it shouldn't."""
        try:
            await self.app.start()
            await self.app.wait_until_stopped()
        except Exception as problem:
            if not self._ending.is_set():
                log.critical("can't work with Kafka at %s: %s", self.topology.kafka, problem, exc_info=problem)
        self._ending.set()

    async def _end(self, starting: asyncio.Task[None], services: list[asyncio.Task[None]]) -> int:
        net = threading.Timer(2 * self._drain_s + 2 * END_S, _leave)  # nothing that hangs here may keep the process
        net.daemon = True
        net.start()
        try:
            return await self._end_in_order(starting, services)
        finally:
            net.cancel()

    async def _end_in_order(self, starting: asyncio.Task[None], services: list[asyncio.Task[None]]) -> int:
        asked = not self.app.crashed and not starting.done() and self._problem is None
        patience = self._drain_s if asked else 0.1
        if self.app.crashed and self._problem is None:
            log.critical("Faust gave up: %r", self.app.crash_reason, exc_info=self.app.crash_reason)
        for task in services:
            task.cancel()
        await asyncio.gather(*services, return_exceptions=True)
        try:
            done = self.done()
            lanes = set(self.lanes)
            closing, self.lanes = self.lanes, {}
            await asyncio.gather(*(lane.close(patience) for lane in closing.values()))
            done = {tp: lane.position for tp, lane in closing.items()} or done
            if lanes:
                await self.hooks.revoke(lanes)
        except Exception as problem:
            self.fatal(problem)
        try:
            await self.hooks.stop()
        except Exception as problem:
            self.fatal(problem)
        if asked and done:
            await self.consumer.tell(done)
        try:
            async with asyncio.timeout(END_S):
                await self.app.stop()
        except Exception as problem:
            log.warning("Faust didn't stop in order: %r", problem)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        if self._problem is not None:
            self._timer.cancel()
            return EXIT_FATAL
        return EXIT_OK if asked else EXIT_KAFKA

    async def _watch(self) -> None:
        try:
            await self.hooks.watch()
        except Exception as problem:
            self.fatal(problem)

    async def _tick(self) -> None:
        try:
            while not self.ending:  # redis-py now and then swallows a cancellation
                await asyncio.sleep(TICK_S)
                await self.hooks.tick()
        except Exception as problem:
            self.fatal(problem)


def _listed(tps: Mapping[TP, int | None]) -> str:
    """`events.email 0@17 1@4, events.video 0@3`."""
    topics: dict[str, list[str]] = {}
    for tp, offset in sorted(tps.items()):
        topics.setdefault(tp.topic, []).append(f"{tp.partition}" if offset is None else f"{tp.partition}@{offset}")
    return ", ".join(" ".join([topic, *partitions]) for topic, partitions in topics.items())


def _leave() -> None:
    log.critical("the orderly end took too long: the process just ends")
    faulthandler.dump_traceback()
    os._exit(EXIT_FATAL)


def build(topology: Topology, worker: Worker, *, transactions: bool = True, max_batch: int = 6_000) -> BatchApp:
    """The Faust app of a topology: its two agents only hand batches to the worker's lanes, and never raise."""
    app = BatchApp(
        topology.group,
        broker=[f"kafka://{address.strip()}" for address in topology.kafka.split(",")],
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        table_standby_replicas=0,
        # Never start anywhere by itself: an offset that is gone must end the worker, not move it.
        consumer_auto_offset_reset="none",
        consumer_max_fetch_size=4 * 1024 * 1024,
        broker_max_poll_records=max_batch,
        broker_session_timeout=8.0,
        broker_heartbeat_interval=0.5,  # so long nobody knows that others come or go, and their partitions stand
        broker_rebalance_timeout=60.0,
        broker_request_timeout=90.0,
        # A held partition (registry down) isn't polled and must not cost the membership; the watchdog ends the rest.
        broker_max_poll_interval=7 * 24 * 3600.0,
        broker_commit_interval=2.0,
    )
    app.owner = worker
    gathered = frozenset(topic.name for topic in topology.topics.sources)
    app.fetch = FetchSettings(read_committed=transactions, linger_ms=topology.linger_ms, gathered=gathered)
    sources = app.topic(*(topic.name for topic in topology.topics.sources), acks=False, value_serializer="raw")
    resolved = app.topic(topology.topics.resolved.name, acks=False, value_serializer="raw")

    @app.agent(sources, name="resolve_identity", concurrency=1)
    async def resolve_identity(fetches: StreamT[Fetched]) -> None:
        async for fetched in fetches:
            worker.put(fetched)

    @app.agent(resolved, name="maintain_profile", concurrency=1)
    async def maintain_profile(fetches: StreamT[Fetched]) -> None:
        async for fetched in fetches:
            worker.put(fetched)

    return app


def run_process(make: Callable[[], Awaitable[Worker]]) -> int:
    """Make a worker inside a fresh event loop (uvloop where it is installed), run it, return its exit code."""
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    try:
        from uvloop import new_event_loop
    except ImportError:  # Windows
        pass

    async def main() -> int:
        return await (await make()).run()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())
