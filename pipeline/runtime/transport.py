"""How Faust hands us Kafka: one Faust event is all that one fetch brought for one agent, a batch a partition.

Faust as it comes costs some 100 µs of three event-loop turns a *record*; this transport costs that a *fetch*. It also
takes two things out of Faust's hands that it can't do right here:

- **Positions** are ours. They stand in Redis, beside the state that they belong to, and are asked for at the one place
  where Faust seeks after a rebalance (`seek_to_committed`). Kafka's committed offset is written for lag tools, never
  read back. Acks are off: there is nothing for them to decide.
- **Which records are current.** Whatever was fetched before a seek may still sit in a queue of Faust's after it. Every
  batch therefore carries the *epoch* of its partition, which each seek changes inside the consumer's own thread; who
  receives it (lanes.py) compares.

Everything private of Faust and aiokafka that this touches is pinned by tests/contract/test_faust.py.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.app.base import BootStrategy
from faust.transport.consumer import RecordMap, ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Seconds
from mode.services import WaitResults
from mode.threads import QueuedMethod

from pipeline.errors import Fenced
from pipeline.runtime import fetching, unpacking
from pipeline.runtime.ports import In

log = logging.getLogger(__name__)
# Where Faust tells its steps; by itself it would take the logger of the module in which its classes are extended.
_steps = logging.getLogger("faust.batches")

# A poll that leaves out a full partition ends soon, or that partition would wait for its next turn a whole poll long.
SHORT_POLL_S = 0.02
# Faust allows a seek `broker_request_timeout`; past it the worker would live on and consume nothing.
CLAIM_S = 60.0
TELL_S = 5.0
SIGN_S = 10.0
CALM_MS = 500  # how long a fetch waits for the first record
MUCH = 3_000  # records of a poll: a backlog, which need not gather

_epochs = itertools.count(1)


class Batch(NamedTuple):
    """Records of one partition, in order of offset, fetched since the seek that `epoch` names. Never empty. `size`:
    bytes of their values.
    """

    tp: TP
    epoch: int
    records: list[In]
    size: int = 0


Fetched = list[Batch]
"""One batch at most a partition. Never empty. Faust knows it by the first one's partition."""

unpacking.bound()
fetching.bound()


class Reading(NamedTuple):
    """Where the consumer's own thread stands in a partition.

    `position`: next offset to be fetched. `handed`: offset after the last record given out in this epoch, None: none.
    """

    epoch: int
    position: int
    handed: int | None


class Owner(Protocol):
    """Who owns partitions on behalf of the transport. Called on the main event loop."""

    @property
    def ending(self) -> bool:
        """Whether the process is about to end: it claims nothing any more."""

    async def claim(self, tps: set[TP]) -> dict[TP, int]:
        """Take over; return the offset to read next of each. Raising is fatal."""

    async def revoke(self, tps: set[TP]) -> None:
        """Finish what is being committed and forget the partitions; afterwards others own them."""

    def opened(self, tp: TP, epoch: int, offset: int) -> None:
        """From now on only batches of this epoch count; the first record has `offset` or a higher one."""

    def blocked(self) -> set[TP]:
        """Partitions of which nothing should be fetched now."""

    def out_of_range(self, tp: TP) -> None:
        """Kafka has nothing where a partition is to be read next. Said again and again, as long as that is so."""

    def done(self) -> dict[TP, int]:
        """Next offset a partition, everything before it being processed: for lag tools."""

    def fatal(self, problem: BaseException) -> None:
        """End the process: nothing sensible can follow."""


class BatchThread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka lives. Epochs and positions are touched in this thread alone."""

    consumer: BatchConsumer
    logger = _steps

    def __post_init__(self) -> None:
        super().__post_init__()
        self._calls: set[asyncio.Task[Any]] = set()  # the loop alone would let go of them
        self.epochs: dict[TP, int] = {}
        self.handed: dict[TP, int] = {}
        self._gathers_until = 0.0
        self.sought: object = None  # the assignment in which we have sought
        self.names: dict[TP, tuple[str, object]] = {}  # who writes of it, and the assignment in which that was asked

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Have it done in the thread, at once: beside a long poll, and without the queue of Faust's, whose workers make
        three tasks for each call.
        """
        promise = self.parent_loop.create_future()
        self.thread_loop.call_soon_threadsafe(self._begin, QueuedMethod(promise, fun, args, kwargs))
        return await promise

    async def on_thread_stop(self) -> None:
        """Nothing that was called goes on while the consumer is stopped, as Faust's queue has it."""
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await super().on_thread_stop()

    def _begin(self, call: QueuedMethod) -> None:
        task = self.thread_loop.create_task(self.method_queue._process_enqueued(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        settings = self.consumer.settings
        # Faust asks for read_committed only with its own transactions, which we don't use.
        consumer._isolation_level = "read_committed" if settings.read_committed else "read_uncommitted"
        consumer._fetch_max_wait_ms = CALM_MS
        consumer._fetch_max_bytes = settings.fetch_max_bytes
        # Source partitions and identity.resolved partitions have nothing to do with each other, so each may go
        # anywhere: plain round robin over all of them. Faust comes to the same, but only because there are no tables.
        consumer._partition_assignment_strategy = [RoundRobinPartitionAssignor]
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[TP, list[Fetched]]:
        try:
            fetched = await super()._fetch_records(
                consumer, active_partitions, timeout=timeout, max_records=max_records
            )
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as early:
            # A poll that was under way when partitions were assigned meets them before we have sought there.
            if self.sought is not consumer._subscription.subscription.assignment:
                log.debug("fetched before the first seek: %r", early)
                return {}
            if isinstance(early, NoOffsetForPartitionError):
                raise
            for key in early.args[0]:
                self.parent_loop.call_soon_threadsafe(self.consumer.owner.out_of_range, TP(key.topic, key.partition))
            return {}
        self._gather(consumer, fetched, timeout is not None and timeout > SHORT_POLL_S and not fetched)
        batches: dict[bool, list[Batch]] = {}
        # No await from here to the return: a seek can't come between the fetch and the label.
        for key, records in fetched.items():
            if records:
                tp = TP(key.topic, key.partition)
                self.handed[tp] = records[-1].offset + 1
                size = sum([len(record.value or b"") for record in records])
                batch = Batch(tp, self.epochs.get(tp, 0), records, size)
                batches.setdefault(tp.topic in self.consumer.settings.gathered, []).append(batch)
        return {fetched[0].tp: [fetched] for fetched in batches.values()}

    def _gather(
        self, consumer: AIOKafkaConsumer, fetched: Mapping[TopicPartition, list[Any]], silent: bool = False
    ) -> None:
        """What comes calls for a fetch at once, and then nothing is fetched of source topics for `linger_ms`, nor a
        second time of any other partition. So what the first hop writes is read at once, and all else gathers.
        """
        settings, now = self.consumer.settings, time.monotonic()
        found = {tp for tp in fetched if tp.topic in settings.gathered}
        if now >= self._gathers_until:
            more = any(tp.topic in settings.gathered for tp in consumer._fetcher._records)
            if found and not more and sum(len(fetched[tp]) for tp in found) < MUCH:
                self._gathers_until = now + settings.linger_ms / 1000
                consumer.pause(*(tp for tp in consumer.assignment() if tp.topic in settings.gathered))
                asyncio.get_running_loop().call_later(settings.linger_ms / 1000, self._gathered, consumer)
        else:
            consumer.pause(*(fetched.keys() & consumer.assignment() - consumer._fetcher._records.keys()))
        if now < self._gathers_until:
            consumer._fetcher._fetch_max_wait_ms = max(int(1000 * (self._gathers_until - now)), 1)
        elif fetched:  # a fetch that is under way holds up the next one, which may ask for more partitions
            consumer._fetcher._fetch_max_wait_ms = settings.linger_ms
        elif silent:
            consumer._fetcher._fetch_max_wait_ms = CALM_MS

    def _gathered(self, consumer: AIOKafkaConsumer) -> None:
        self._gathers_until = 0.0
        consumer._fetcher._fetch_max_wait_ms = self.consumer.settings.linger_ms
        consumer.resume(*consumer.paused())

    async def move(self, targets: Mapping[TP, tuple[int, int]]) -> set[TP]:
        """Seek each partition to (epoch, offset); return those that are no longer assigned and were left alone."""
        consumer = self._ensure_consumer()
        gone = set(targets) - ensure_TPset(consumer.assignment())
        self.sought = consumer._subscription.subscription.assignment
        for tp, (epoch, offset) in targets.items():
            if tp not in gone:
                consumer.seek(tp, offset)
                self.epochs[tp] = epoch
                self.handed.pop(tp, None)
        return gone

    async def read(self, tps: Iterable[TP]) -> dict[TP, Reading]:
        """Where each still assigned partition stands."""
        consumer = self._ensure_consumer()
        readings = {}
        for tp in set(tps) & ensure_TPset(consumer.assignment()):
            state = consumer._subscription.subscription.assignment.state_value(tp)
            if tp in self.epochs and state is not None and state.has_valid_position:
                readings[tp] = Reading(self.epochs[tp], state.position, self.handed.get(tp))
        return readings

    async def offsets(self, tps: Iterable[TP], which: str) -> dict[TP, int | None]:
        """Ask the broker now: `earliest`, `end` (of what is committed, when reading committed) or `committed`.

        `committed` is None where the group has never committed. Raises KafkaError.
        """
        consumer = self._ensure_consumer()
        wanted = list(tps)
        if which == "committed":
            return {tp: await consumer.committed(driver.ensure_aiokafka_TP(tp)) for tp in wanted}
        ask = consumer.beginning_offsets if which == "earliest" else consumer.end_offsets
        return {TP(tp.topic, tp.partition): offset for tp, offset in (await ask(wanted)).items()}

    async def signed(self, tp: TP) -> tuple[int, str]:
        """See `Control.signed`."""
        consumer = self._ensure_consumer()
        assignment = consumer._subscription.subscription.assignment
        key = driver.ensure_aiokafka_TP(tp)
        async with asyncio.timeout(SIGN_S):
            found = (await consumer._coordinator.fetch_committed_offsets([key])).get(key)
        offset, name = (found.offset, found.metadata) if found is not None else (0, "")
        self.names[tp] = name, assignment
        return offset, name

    async def sign(self, tp: TP, offset: int, name: str) -> None:
        """See `Control.sign`."""
        _, asked = self.names[tp]
        async with asyncio.timeout(SIGN_S):
            told = await self._tell({tp: offset}, {tp: name}, asked)
        if tp not in told:
            raise Fenced(f"{tp.topic}-{tp.partition}: the group gave it to somebody else")
        self.names[tp] = name, asked

    async def tell(self, offsets: Mapping[TP, int]) -> None:
        """Commit to Kafka, for lag tools; who writes of a partition stays as it was."""
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        names = {tp: name for tp, (name, asked) in self.names.items() if asked is assignment}
        async with asyncio.timeout(TELL_S):
            await self._tell(offsets, names, assignment)

    async def _tell(self, offsets: Mapping[TP, int], names: Mapping[TP, str], assignment: Any) -> set[TP]:
        """Of those partitions that are ours, which it returns, as long as this `assignment` holds. One try: aiokafka's
        own tries go on in the next generation, in which they may be another's. Raises KafkaError, Fenced.
        """
        consumer = self._ensure_consumer()
        coordinator, subscription = consumer._coordinator, consumer._subscription
        await coordinator.ensure_coordinator_known()
        # No await from here until the request is made, with the generation in it. Without one, whoever asks is believed
        # where the group is empty.
        current = subscription.subscription.assignment is assignment and not subscription.reassignment_in_progress
        if not current or coordinator.generation < 0:
            raise Fenced("the group is being rebalanced")
        mine = offsets.keys() & ensure_TPset(consumer.assignment())
        told = {driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offsets[tp], names.get(tp, "")) for tp in mine}
        await coordinator._do_commit_offsets(assignment, told)
        return mine


class _NeverRead(dict[TP, "int | None"]):
    """Faust drops what lies before the last offset it has read. After a seek back that would be our next records."""

    def __getitem__(self, tp: TP) -> int | None:
        return None


class BatchConsumer(driver.Consumer):
    """Faust's consumer, asking an `Owner` where to read and handing on whole batches."""

    app: BatchApp
    logger = _steps
    _thread: BatchThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NeverRead()
        self._due: frozenset[TP] = frozenset()
        self._claiming: asyncio.Task[None] | None = None
        self._told: dict[TP, int] = {}

    @property
    def owner(self) -> Owner:
        """Whom to ask."""
        return self.app.owner

    @property
    def settings(self) -> FetchSettings:
        """How to fetch."""
        return self.app.fetch

    def _new_consumer_thread(self) -> BatchThread:
        loop = type(self.loop)()  # uvloop's, where that is what we run on
        thread = BatchThread(self, loop=self.loop, thread_loop=loop, beacon=self.beacon)
        thread._close_thread_loop_on_stop = True  # Faust closes those alone that it has made
        return thread

    # Records.

    async def wait_first(self, *coros: Any, timeout: Any = None) -> WaitResults:
        """Faust waits so for a message's being handed on, or for a rebalance. Where none is under way, handing it on
        waits for nothing, and takes no four tasks.
        """
        if len(coros) == 2 and not self.suspend_flow.is_set() and self.app.flow_control.is_active():
            handed, rebalance = coros
            rebalance.close()
            return WaitResults([handed], [await handed], False)
        return await super().wait_first(*coros, timeout=timeout)

    async def sleep(self, n: Seconds) -> None:
        """Faust sleeps 0 s before every poll, to let others run."""
        if n:
            await super().sleep(n)
        else:
            await asyncio.sleep(0)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        blocked = self.owner.blocked()
        wanted = (active_partitions or set()) - blocked
        if not wanted:  # aiokafka takes an empty set for all of them
            await asyncio.sleep(SHORT_POLL_S)
            return {}
        return await super()._getmany(wanted, SHORT_POLL_S if blocked else timeout)

    def _to_message(self, tp: TP, fetched: Fetched) -> ConsumerMessage:
        last = fetched[0].records[-1]
        value: Any = fetched  # Faust thinks of bytes and doesn't look
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,
            [],
            None,
            value,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # Positions.

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self.stop_flow()
        self._due = frozenset()
        if self._claiming is not None:
            self._claiming.cancel()
        try:
            await self.owner.revoke(set(revoked))
        except Exception as problem:
            self.owner.fatal(problem)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._due = frozenset(assigned)
        if not assigned:  # more workers than partitions: nothing to do, but ready to
            await self.owner.claim(set())
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Claim what was assigned, once an assignment, and seek there.

        Faust calls this also when a fetch returns while the flow is stopped. Between losing partitions and the next
        assignment that must not claim anything: it would fence the new owner.
        """
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        if not self._due or self.owner.ending:
            return {}
        claiming = self._claiming = asyncio.create_task(self._claim(self._due))
        try:
            await asyncio.wait([claiming])
        finally:
            claiming.cancel()  # when we are cancelled: another rebalance has started
            self._claiming = None
        return {}

    async def _claim(self, tps: frozenset[TP]) -> None:
        try:
            async with asyncio.timeout(CLAIM_S):
                offsets = await self.owner.claim(set(tps))
                if set(offsets) != tps:
                    raise RuntimeError(f"claimed {sorted(tps)}, got positions of {sorted(offsets)}")
                if self._due != tps:  # revoked meanwhile; redis-py now and then swallows the cancellation
                    log.info("rebalanced while claiming, given up: %s", sorted(tps))
                    return
                await self.seek_all(offsets)
        except Exception as problem:
            if self.owner.ending:  # what the claim needs is being closed
                log.info("claim given up, the process ends: %r", problem)
            else:
                self.owner.fatal(problem)
            return
        if self._due == tps:
            self._due = frozenset()

    async def seek_all(self, offsets: Mapping[TP, int]) -> None:
        """Read on at these offsets. What was fetched for the old positions is never delivered."""
        targets = {tp: (next(_epochs), offset) for tp, offset in offsets.items()}
        for tp, (epoch, offset) in targets.items():
            self.owner.opened(tp, epoch, offset)
        gone = await self._thread.call_thread(self._thread.move, targets)
        if gone:
            log.info("rebalanced while seeking, no longer ours: %s", sorted(gone))

    # Kafka's own idea of our position, for lag tools.

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Tell Kafka how far we are. A failure is logged and tried again at the next turn: nothing hangs on it."""
        if self.app.rebalancing:
            return False
        return await self.tell(self.owner.done())

    async def tell(self, offsets: Mapping[TP, int]) -> bool:
        """Commit these, if they are news. Returns whether Kafka has taken them; never raises."""
        news = {tp: offset for tp, offset in offsets.items() if self._told.get(tp) != offset}
        if not news:
            return False
        try:
            await self._thread.call_thread(self._thread.tell, news)
        except Exception as problem:  # nothing that goes wrong here may stop the work
            log.warning("committing to Kafka (for lag tools only): %r", problem)
            return False
        self._told.update(news)
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own livelock detector reads acks, which are off. Worker has a watchdog that ends the process."""


class BatchTransport(driver.Transport):
    """aiokafka's transport with `BatchConsumer`."""

    Consumer = BatchConsumer


class FetchSettings(NamedTuple):
    """What Faust has no setting for.

    `gathered`: topics of which nothing is fetched for `linger_ms` after something has come: what a fetch costs, and a
    batch, hardly hangs on what is in it. One connection's requests are answered in turn, so whatever else is asked, end
    offsets say, waits behind a fetch (in silence up to CALM_MS).
    `fetch_max_bytes`: of one answer, over all partitions.
    """

    read_committed: bool = True
    linger_ms: int = 180
    gathered: frozenset[str] = frozenset()
    fetch_max_bytes: int = 32 * 1024 * 1024


class _ConsumerOnly(BootStrategy):
    """No producer (ours are in producers.py), no web server (ours is in observe)."""

    enable_kafka_producer = False
    enable_web = False


class BatchApp(faust.App):
    """A Faust app on the batch transport. Nothing is registered in Faust's global tables."""

    BootStrategy = _ConsumerOnly
    logger = _steps
    owner: Owner
    fetch: FetchSettings = FetchSettings()

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Faust keeps tables in a directory beside the worker; we have none, and containers are read-only."""
