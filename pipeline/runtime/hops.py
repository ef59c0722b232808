"""Both hops on real servers: which partitions this process has, and what it does when something goes wrong.

Whatever fails in a batch, the partition is claimed again: its position is read back from Redis and the consumer sought
there, as long as Kafka still counts this process as the partition's owner. What can't be repaired ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from secrets import token_hex

from faust.types import TP

from pipeline.errors import (
    MADE_ANEW,
    START_OVER,
    Fenced,
    NewerState,
    OtherDeployment,
    RegistryUnavailable,
    StateLost,
    TooManyDeadLetters,
    TopicsChanged,
    Unsent,
)
from pipeline.events.codec import Decoder
from pipeline.events.times import rfc3339
from pipeline.flow import Intake
from pipeline.observe.causes import OPEN_TRANSACTION, RECORDING, TOPICS_CHANGED, WAITS
from pipeline.observe.logs import in_words
from pipeline.observe.metrics import Metrics
from pipeline.observe.troubles import Trouble, Troubles
from pipeline.profile.timers import SPAN
from pipeline.runtime import watermark
from pipeline.runtime.app import Control
from pipeline.runtime.broker import Broker, all_topics
from pipeline.runtime.clocks import Clocks
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.lanes import Records
from pipeline.runtime.listening import Listener, Reporter
from pipeline.runtime.memory import give_back
from pipeline.runtime.producers import Producers
from pipeline.runtime.schemas import Schemas
from pipeline.runtime.second_hop import ProfilePartition, decode_meta
from pipeline.runtime.signs import Signs
from pipeline.runtime.together import Together
from pipeline.runtime.topic_watch import TopicWatch
from pipeline.runtime.transactions import OpenTransactions
from pipeline.store.ports import GraphStore, ProfileStore
from pipeline.topology.addresses import shown
from pipeline.topology.model import Topology
from pipeline.triggers.rules import RuleBook

log = logging.getLogger(__name__)

Hop = SourcePartition | ProfilePartition
FATAL = (StateLost, OtherDeployment, TopicsChanged)
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
CLAIM_S = 45.0  # the transport allows 60
RECOVER_S = 300.0
FENCED_S = 3.0  # longer than a heartbeat: by then a zombie knows that it is one
CLOCK_S = 0.25
CALM_CLOCK_S = 1.0  # where nothing was read since; who has other partitions may have brought it on
STALE_MS = 2_000  # so far a partition's books may stay behind the clock where nothing is due
METRICS_S = 2.0
LOOK_S = 1.0  # decisions wait for it,
LOOK_DUE_S = 0.1  # and have it made sooner
SWEEP_S = 2.0
LEAVE_S = 2.0
AGE_S = 120.0  # who does nothing for twice as long is remembered by Redis alone
WORDS_S = 0.5
SKIP_S = 1.0
ASK_S = 5.0
# Old recordings are past the retention as soon as they are complete: leave time to look at what they made.
SWEEP_AFTER_S = 600.0


class Hops:
    """`app.Hooks` for the real pipeline. `control` is set by the worker before anything is called."""

    control: Control

    def __init__(
        self,
        topology: Topology,
        graph: GraphStore,
        profiles: ProfileStore,
        decoder: Decoder,
        delivery: Delivery,
        producers: Producers,
        broker: Broker,
        metrics: Metrics,
        clocks: Clocks,
        *,
        durable: bool = True,
        troubles: Troubles | None = None,
    ) -> None:
        self._topology = topology
        self._book = RuleBook(topology)
        self._intake = Intake(topology, self._book)
        self._graph = graph
        self._profiles = profiles
        self._decoder = decoder
        self._schemas = Schemas(decoder)
        self._delivery = delivery
        self._producers = producers
        self._outbox = producers.outbox()
        self._broker = broker
        self._metrics = metrics
        self._clocks = clocks
        self._durable = durable
        self.signs = Signs(troubles or Troubles(), self)
        self._listener = Listener(topology, broker)
        self._recordings = Reporter()
        self._transactions = OpenTransactions(topology.kafka, broker)
        self._topics = TopicWatch(topology, broker)
        self._resolved = topology.topics.resolved
        self._counts = {topic.name: topic.partitions for topic in all_topics(topology.topics)}
        self._sources_waited_for = topology.waited_for
        self._sources: dict[TP, SourcePartition] = {}
        self._writer: Together | None = None
        self._owning = asyncio.Lock()
        self._look_now = asyncio.Event()
        self._ended: set[str] = set()
        self._partitions: dict[TP, ProfilePartition] = {}
        self._newer: dict[TP, str] = {}  # partitions that wait for a newer worker, and why
        self._last_event: dict[TP, float] = {}
        self._fed: dict[TP, float] = {}  # when the last batch of `identity.resolved` was done
        self._busy: set[TP] = set()
        self._astray: set[TP] = set()
        self._next_clock = self._calm_clock = 0.0
        self._read = True  # by the second hop, since it was last asked how far event time is
        self._next_idle = 0.0
        self._next_words = 0.0
        self._next_metrics = 0.0
        self._next_age = time.monotonic() + AGE_S
        self._next_sweep = time.monotonic() + SWEEP_AFTER_S
        self.holder: str | None = None
        self.clock_at = 0

    # Claims.

    async def claim(self, tps: set[TP]) -> dict[TP, int]:
        """Take partitions over. Raises StateLost where store and log don't fit together.

        Servers that restart while the group is rebalanced are waited for, as long as the transport's patience lasts.
        """
        offsets: dict[TP, int] = {}
        profiles = {tp for tp in tps if tp.topic == self._resolved.name}
        for some in (tps - profiles, profiles):  # a source that is new raises fences
            offsets |= zip(some, await asyncio.gather(*map(self._claim_patiently, some)), strict=True)
        return offsets

    async def _claim_patiently(self, tp: TP) -> int:
        deadline, attempt = time.monotonic() + CLAIM_S, 0
        while True:
            try:
                offset = await self._claim(tp)
                self.signs.works(tp)
                return offset
            except FATAL:
                raise
            except Exception as problem:
                pause = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                if time.monotonic() + pause > deadline:
                    raise
                self.signs.fails(tp, f"claiming it: {in_words(problem)}")
                await asyncio.sleep(pause)
                attempt += 1

    async def _claim(self, tp: TP) -> int:
        if not self._used(tp):
            return (await self._broker.end_offsets([tp]))[tp]
        if tp.topic == self._resolved.name:
            return await self._claim_profiles(tp)
        return await self._claim_source(tp)

    def _used(self, tp: TP) -> bool:
        """Whether it is one of those that the topology knows: the group hands out added ones, too (topic_watch.py)."""
        return tp.partition < self._counts[tp.topic]

    async def _claim_source(self, tp: TP) -> int:
        sender = await self._own(tp)
        decode, takers = self._decoder.decode, self._decoder.takers
        learn = partial(self._learn, tp)
        hop = SourcePartition(
            self._topology, self._intake, self._graph, sender, decode, tp.topic, tp.partition, takers, learn
        )
        offset = await hop.claim()
        begin = await self._checked(tp, offset)
        hop.start_at(begin, 0 if offset is not None else await self._decided())
        self._sources[tp] = hop
        self._last_event[tp] = time.monotonic()
        return hop.position.offset

    async def _own(self, tp: TP) -> Together:
        """The producer of this worker. Whoever wrote of this source partition before writes no more, and who claims it
        after us finds whom to end.

        What says so is Kafka's own, the offset that the group committed, and only who has the partition by the group's
        word can change it: unlike Redis it doesn't fall back. A producer that has failed gets no successor of its name,
        which would write also of what others have claimed by then.
        """
        async with self._owning:
            if self._writer is not None and self._writer.broken:
                await self._close_writer()
            if self._writer is None:
                name = token_hex(8)
                writer = Together(name, self._producers.named(name))
                await writer.start()
                self._writer = writer
            writer = self._writer
            if self._durable:
                offset, before = await self.control.signed(tp)
                if offset and not before:  # by a version that named its producers after what they read
                    before = f"{tp.topic}-{tp.partition}"
                if before not in ("", writer.name, *self._ended):
                    predecessor = self._producers.named(before)
                    try:
                        await predecessor.start()
                    finally:
                        await predecessor.close()
                    self._ended.add(before)
                await self.control.sign(tp, offset, writer.name)
            return writer

    async def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    async def _claim_profiles(self, tp: TP) -> int:
        hop = ProfilePartition(
            self._topology, self._book, self._profiles, self._outbox, self._delivery.encode, tp.partition,
            smaller=self._delivery.smaller,
        )  # fmt: skip
        try:
            offset = await hop.claim()
        except NewerState as newer:
            self._partitions.pop(tp, None)
            if tp not in self._newer:
                log.error("%s", newer)
            self._newer[tp] = str(newer)
            return hop.meta.offset
        self._newer.pop(tp, None)
        self._topics.forget()
        hop.start_at(await self._checked(tp, offset))
        # After the claim, not before: see ProfilePartition.claim.
        hop.catch_up_to = (await self._broker.end_offsets([tp]))[tp]
        if hop.meta.earlier:
            place = (tp.topic, tp.partition)
            hop.written_to = (await self._broker.written_offsets([place]))[place]
        self._partitions[tp] = hop  # what its outbox holds is published by `tick`, or before the first commit
        return hop.meta.offset

    async def _decided(self) -> int:
        """Up to where any partition has decided (UTC ms): what comes from a source that is new counts from there on.

        Owners that don't know of it would decide further, on what they saw before it was added: their fences are raised
        first. Who claims again looks at the topics again (TopicWatch.forget).
        """
        if (decided := await self._clock()) == 0:
            return 0
        for partition in range(self._resolved.partitions):
            await self._profiles.claim(partition)
        return max(decided, await self._clock())

    async def _clock(self) -> int:
        metas = await self._profiles.metas(self._resolved.partitions)
        return max((decode_meta(meta).clock for meta in metas if meta), default=0)

    async def _checked(self, tp: TP, offset: int | None) -> int:
        """The offset to start at. Fails closed: a gap between store and log is never jumped over."""
        name = f"{tp.topic}-{tp.partition}"
        earliest = (await self._broker.earliest_offsets([tp]))[tp]
        end = (await self._broker.end_offsets([tp]))[tp]
        if offset is None:
            told = (await self.control.committed_offsets([tp]))[tp] if self._durable else None
            if told:
                raise StateLost(
                    f"{name}: Redis has no state for it, but group {self._topology.group!r} has read it up to {told}."
                    f" Redis at {shown(self._topology.redis)} is empty, another one, or was flushed. Restore its"
                    f" append-only file or a snapshot; or {START_OVER}."
                )
            if earliest and tp.topic != self._resolved.name:
                log.warning("%s begins at %d: this deployment knows nothing of what stood there before", name, earliest)
            return earliest
        if offset < earliest:
            raise StateLost(
                f"{name}: the next record is {offset}, but the topic begins at {earliest}: retention has deleted"
                f" {earliest - offset} records that were never processed. Lengthen the topic's retention first. Then"
                f" restore them, or {START_OVER}."
            )
        if offset > end:
            raise StateLost(
                f"{name}: the next record is {offset}, but the topic ends at {end}: it was made anew, or has lost its"
                f" last records. {MADE_ANEW if tp.topic != self._resolved.name else 'Restore it, or ' + START_OVER}."
            )
        return offset

    def out_of_range(self, tp: TP) -> None:
        """Kafka has no record where we would read on. What is queued is processed first; then it is found out why."""
        hop = self._sources.get(tp) or self._partitions.get(tp)
        if hop is None or tp in self._astray:
            return
        self._astray.add(tp)

        async def look() -> None:
            try:
                state = self.control.states().get(tp)
                if state is not None and not state.queued:  # else Kafka says it again when that is done
                    await self._checked(tp, self._offset(tp))
                    await self._recover(tp)
            finally:
                self._astray.discard(tp)

        if not self.control.submit(tp, look):
            self._astray.discard(tp)

    def _offset(self, tp: TP) -> int:
        return (self._sources[tp].position if tp in self._sources else self._partitions[tp].meta).offset

    async def revoke(self, tps: set[TP]) -> None:
        """Give partitions up; nothing of them is kept."""
        await asyncio.gather(*(self._leave(hop) for tp in tps if (hop := self._partitions.get(tp)) is not None))
        for tp in tps:
            self._partitions.pop(tp, None)
            self._newer.pop(tp, None)
            self._busy.discard(tp)
            self.signs.works(tp)
            if self._sources.pop(tp, None) is not None:
                self._metrics.forget_source(tp.topic, str(tp.partition))
            else:
                self._metrics.forget_partition(tp.topic, str(tp.partition))
        if not self._sources:
            await self._close_writer()

    async def _leave(self, hop: ProfilePartition) -> None:
        """Who has it next finds in the outbox what is published, and publishes it again: after a crash, not after an
        orderly end.
        """
        try:
            async with asyncio.timeout(LEAVE_S):
                await hop.tidy()
        except Exception as problem:
            log.info(
                "%s-%d: what is published stays in the outbox, and is published again: %r",
                self._resolved.name,
                hop.partition,
                problem,
            )

    async def stop(self) -> None:
        """The last thing: close what is open."""
        await self._close_writer()
        await self._listener.close()
        await self._outbox.close()
        self._producers.close()
        self._schemas.close()

    # Batches.

    async def resolve_identity(self, tp: TP, records: Records) -> None:
        """First hop."""
        if not self._used(tp):
            return
        hop = self._sources[tp]
        self._last_event[tp] = time.monotonic()
        began = time.perf_counter()
        if await self._guarded(tp, lambda: hop.process(records)):
            self._metrics.batch_seconds("resolve_identity").observe(time.perf_counter() - began)
            self._count_source(hop)

    async def maintain_profile(self, tp: TP, records: Records) -> None:
        """Second hop."""
        if not self._used(tp):
            return
        if tp in self._newer:
            await self._wait_for_newer(tp)
            return
        hop = self._partitions[tp]
        began = time.perf_counter()
        if await self._guarded(tp, lambda: hop.process(records)):
            self._read = True
            self._fed[tp] = time.monotonic()
            self._metrics.batch_seconds("maintain_profile").observe(time.perf_counter() - began)
            self._count_profiles(hop)

    async def _guarded(self, tp: TP, work: Callable[[], Awaitable[object]]) -> bool:
        """Run a batch. True: done. False: the partition was claimed again and the consumer sought back."""
        while True:
            try:
                await work()
                self.signs.works(tp)
                return True
            except TooManyDeadLetters as stop:
                await self._stand(tp, stop)
                return False
            except FATAL:
                raise
            except Unsent as unsent:
                if not await self._publish(tp, unsent):
                    return False
            except Fenced as fenced:
                self.signs.fails(tp, f"another worker has it ({fenced})")
                await asyncio.sleep(FENCED_S)
                await self._recover(tp)
                return False
            except Exception as problem:
                self.signs.fails(tp, in_words(problem))
                await self._recover(tp)
                return False

    async def _publish(self, tp: TP, unsent: Unsent) -> bool:
        """What is committed is right, only Kafka doesn't take it: the partition waits and sends what is left, until it
        does. False: the partition was claimed again, or is no longer ours.
        """
        hop, attempt = self._partitions[tp], 0
        while True:
            self.control.pause(tp, f"{hop.waiting} records can't be published: {unsent}")
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1
            if tp not in self.control.assigned() or self._partitions.get(tp) is not hop:
                return False
            try:
                await hop.publish()
            except Unsent as again:
                unsent = again
            except Exception as problem:
                self.signs.fails(tp, in_words(problem))
                await self._recover(tp)
                return False
            else:
                self.control.resume(tp)
                return True

    async def _stand(self, tp: TP, stop: TooManyDeadLetters) -> None:
        """A source partition stops, and nothing else does, until an operator lets it pass or it is no longer ours."""
        hop, name, number = self._sources[tp], f"{tp.topic}-{tp.partition}", str(tp.partition)
        log.error("%s", stop)
        self.control.pause(tp, str(stop))
        self._metrics.stopped(tp.topic, number).set(1)
        while tp in self.control.assigned():
            try:
                said = await hop.let_pass()
            except Exception as problem:
                log.warning("%s has stopped, and nobody can tell whether it may go on: %r", name, problem)
                said = None
            if said is not None:
                log.warning("%s goes on: what is bad before offset %d may pass, said %s at %s",
                            name, said.offset, said.by, rfc3339(said.at))  # fmt: skip
                self._metrics.stopped(tp.topic, number).set(0)
                await self._recover(tp)
                return
            await asyncio.sleep(SKIP_S)

    async def _wait_for_newer(self, tp: TP) -> None:
        """Read no further, as long as the group gives the partition to this worker and it counts what we can't."""
        while tp in self._newer and tp in self.control.assigned():
            self.control.pause(tp, self._newer[tp])
            await asyncio.sleep(SKIP_S)
            await self._recover(tp)

    async def _learn(self, tp: TP, wanted: Mapping[int, int]) -> frozenset[int]:
        """`first_hop.Learn`, for as long as the registry doesn't answer: the partition stands still and loses nothing.

        Raises RegistryUnavailable when the partition is no longer ours.
        """
        attempt = 0
        while True:
            # The watchdog must not take it for a standstill.
            slow = asyncio.get_running_loop().call_later(ASK_S, self.control.pause, tp, "asks the schema registry")
            try:
                unasked = await self._schemas.ask(wanted)
            except RegistryUnavailable as problem:
                if tp not in self.control.assigned():
                    raise
                self.control.pause(tp, f"schema registry: {problem}")
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
            else:
                self.control.resume(tp)
                if unasked:
                    log.warning(
                        "%s:%d: %d schema ids that nobody knows were not asked for: what names them is a dead letter"
                        " (unknown_schema)", tp.topic, tp.partition, len(unasked),
                    )  # fmt: skip
                return unasked
            finally:
                slow.cancel()

    async def _recover(self, tp: TP) -> None:
        """Claim again, until it works or the partition is no longer ours.

        After minutes the problem may be ours, a client that can't recover say: it is raised, and a new process tries.
        """
        deadline, attempt = time.monotonic() + RECOVER_S, 0
        while tp in self.control.assigned():
            try:
                offset = await self._claim(tp)
                await self.control.seek(tp, offset)
                self.control.resume(tp)
                log.debug("%s:%d: claimed again, goes on at %d", tp.topic, tp.partition, offset)
                return
            except FATAL:
                raise
            except Exception as problem:
                if time.monotonic() > deadline:
                    raise
                # With its reason, the watchdog knows that this standstill is meant.
                self.control.pause(tp, f"claiming it again: {problem}")
                self.signs.fails(tp, f"claiming it again: {in_words(problem)}")
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1

    # Time.

    async def tick(self) -> None:
        """Move event time on, and keep the books for those who watch."""
        now = time.monotonic()
        try:
            if now >= self._next_clock and self._partitions and (self._read or now >= self._calm_clock):
                self._next_clock, self._calm_clock = now + CLOCK_S, now + CALM_CLOCK_S
                self._read = False
                with self.signs.trying("event time"):
                    await self._advance()
            if self._sources:
                with self.signs.trying("recordings"):
                    await self._listen(now)
            if now >= self._next_idle and self._sources:
                self._next_idle = now + self._topology.time.idle.every_ms / 1000
                with self.signs.trying("idle partitions"):
                    await self._idle(now)
            if now >= self._next_sweep and self._partitions:
                self._next_sweep = now + SWEEP_S
                for tp, hop in self._partitions.items():
                    if tp not in self._busy and hop.may_advance():
                        self._submit(tp, hop, hop.sweep)
            if now >= self._next_age:
                self._next_age = now + AGE_S
                self._intake.routes.age()
                for hop in self._partitions.values():
                    hop.age()
                give_back()
            if now >= self._next_metrics:
                self._next_metrics = now + METRICS_S
                for tp, hop in self._partitions.items():
                    if hop.untidy and tp not in self._busy and now - self._fed.get(tp, 0.0) > METRICS_S:
                        self._submit(tp, hop, hop.tidy)
                with self.signs.trying("numbers"):
                    await self._watch()
        except Exception as problem:  # a server is away: the batches notice it too, and act
            log.debug("tick: %r", problem)

    async def watch(self) -> None:
        """Look at the topics, beside the ticks, which wait long for one that is gone. Raises TopicsChanged."""
        while self._durable:
            self._look_now.clear()
            try:
                await self._topics.look(self.clock_at)
                self._aim(self.clock_at)
            except TopicsChanged:
                raise
            except Exception as problem:
                log.debug("looking at the topics: %r", problem)
            await asyncio.sleep(min(LOOK_DUE_S, LOOK_S))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S - LOOK_DUE_S):
                    await self._look_now.wait()

    async def _advance(self) -> None:
        clock, self.holder = await watermark.read(self._profiles, self._resolved.partitions, self._sources_waited_for)
        self.clock_at = clock
        unseen = self._durable and clock > self._topics.upto
        if unseen and any(hop.something_due(clock) for hop in self._partitions.values()):
            self._look_now.set()
        self._aim(clock)

    def _aim(self, clock: int) -> None:
        """Let the partitions decide what is before `clock`, as far as the topics were looked at since."""
        if self._durable:
            clock = min(clock, self._topics.upto)
        lanes = self.control.states()
        for tp, hop in self._partitions.items():
            if hop.unfinished and tp not in self._busy and tp in lanes:
                self._submit(tp, hop, hop.finish)
            if clock > hop.meta.clock and tp not in self._busy and hop.may_advance():
                hop.aim(clock)  # the next batch takes it along
                worth_it = hop.something_due(clock) or clock - hop.meta.clock >= STALE_MS
                if worth_it and tp in lanes and not lanes[tp].queued and not self._comes_soon(tp):
                    self._submit(tp, hop, partial(hop.advance, clock), partial(self._count_profiles, hop))

    def _comes_soon(self, tp: TP) -> bool:
        """Whether batches come one after the other: the next one is likely to be there before the next look at the
        clock, or soon after, and decides what is due at hardly any cost of its own.
        """
        since = time.monotonic() - self._fed.get(tp, 0.0)
        return since * 1000 < 2 * self._topology.linger_ms

    async def _listen(self, now: float) -> None:
        """Let the source partitions obey what recordings say, and let go of those that say nothing."""
        sources = dict(self._sources)  # who is claimed meanwhile hears from its own beginning, next time
        hops = list(sources.values())
        await self._listener.poll(hops)
        free = {tp: hop for tp, hop in sources.items() if tp not in self._busy}
        for tp, hop in free.items():
            if hop.ripe:
                self._submit(tp, hop, hop.obey, partial(self._count_source, hop))
        if now < self._next_words:
            return
        self._next_words = now + WORDS_S
        self._recordings.look(hops)
        self._metrics.held().set(sum(hop.position.held for hop in hops))
        # A word may count from behind the marker of a producer's transaction on, which is no record.
        blocked = [tp for tp, hop in free.items() if hop.waiting and not hop.ripe]
        if blocked:
            ends = await self.control.end_offsets(blocked)
            for tp in await self.control.read_to_end(blocked):
                self._submit(tp, free[tp], partial(free[tp].obey, ends[tp]), partial(self._count_source, free[tp]))
        if self._recordings.now and await self._listener.at_end(hops):
            for name in filter(self._listener.silent, self._recordings.now):
                log.warning("nothing was heard of recording %s for a minute: it holds event time no longer", name)
                for tp, hop in free.items():
                    if hop.holder == name and tp not in self._busy:
                        self._submit(tp, hop, partial(hop.lapse, name))

    async def _idle(self, now: float) -> None:
        """Where no events come, or something is due that they don't bring on, the clock brings it on."""
        clock = self._clocks.now()  # before the broker is asked: what comes later is not older
        quiet_s = self._topology.time.idle.after_ms / 1000
        free = {tp: hop for tp, hop in self._sources.items() if tp not in self._busy and not hop.position.held}
        after = self._topology.time.idle.after_ms
        wanted = {
            tp
            for tp, hop in free.items()
            if now - self._last_event[tp] >= quiet_s and (clock is None or clock - hop.position.high >= after)
        }
        if clock is not None and len(wanted) < len(free):
            wanted |= await self._holding({tp: hop for tp, hop in free.items() if tp not in wanted}, clock)
        if not wanted:
            return
        if not await self._listener.at_end(list(self._sources.values())):  # a recording may have begun
            return
        # What an open transaction keeps back was stamped before that clock shows now, and will be read.
        written = await self._broker.written_offsets((tp.topic, tp.partition) for tp in wanted)
        for tp in await self.control.read_to_end(wanted, {TP(*place): end for place, end in written.items()}):
            source = self._sources.get(tp)
            if source is not None:
                self._submit(tp, source, partial(source.idle, clock))

    async def _holding(self, sources: dict[TP, SourcePartition], clock: int) -> set[TP]:
        """Those whose watermark keeps something from being decided that is due by `clock`."""
        reach = clock - self._topology.time.disorder_ms  # where a watermark goes that follows the clock
        known = [hop for hop in self._partitions.values() if hop.timers.upto]
        firsts = [await self._first_timer(hop) for hop in known]
        first = min((at for at in firsts if at is not None), default=reach)
        found = {tp for tp, hop in sources.items() if hop.watermark <= first < reach}
        # Of other timers only the sheets show, and not what has rung of one: for them time is brought on less often.
        behind = {tp for tp, hop in sources.items() if clock - hop.position.high > self._topology.time.idle.after_ms}
        others = set(range(self._resolved.partitions)) - {hop.partition for hop in known}
        if behind - found and others:
            since = min(sources[tp].watermark for tp in behind) - SPAN
            firsts = [await self._profiles.earliest(partition, since) for partition in others]
            if any(at is not None and at < reach for at in firsts):
                found |= behind
        return found

    async def _first_timer(self, hop: ProfilePartition) -> int | None:
        """When the first timer rings of a partition that is ours (UTC ms)."""
        first, upto = hop.timers.first, hop.timers.upto
        return await self._profiles.earliest(hop.partition, upto) if first is None else first

    def _submit(
        self, tp: TP, hop: Hop, work: Callable[[], Awaitable[object]], after: Callable[[], None] | None = None
    ) -> None:
        """After the batches in hand. Where one of them had to claim the partition again, `hop` has no say any more."""

        async def job() -> None:
            try:
                current = hop is self._sources.get(tp) or hop is self._partitions.get(tp)
                if current and await self._guarded(tp, work) and after is not None:
                    after()
            finally:
                self._busy.discard(tp)
                self._read = True  # who looked meanwhile left this partition out

        self._busy.add(tp)
        if not self.control.submit(tp, job):
            self._busy.discard(tp)

    # Numbers.

    def _count_source(self, hop: SourcePartition) -> None:
        tally, metrics = hop.tally, self._metrics
        for (kind, outcome), n in tally.events.items():
            metrics.events(kind, outcome).inc(n)
        for reason, n in tally.dead.items():
            metrics.dead_letters(reason, "resolve_identity").inc(n)
        for reason, n in tally.refused_words.items():
            metrics.dead_letters(reason, "control").inc(n)
        for remark, n in tally.remarks.items():
            metrics.remarks(hop.topic, remark).inc(n)
        for (namespace, why), n in tally.refused.items():
            metrics.refusals(namespace, why).inc(n)
        if tally.commit_s is not None:
            metrics.commit_seconds("resolve_identity").observe(tally.commit_s)
        if tally.merges:
            metrics.merges().inc(tally.merges)

    def _count_profiles(self, hop: ProfilePartition) -> None:
        work, metrics = hop.work, self._metrics
        if work.duplicates:
            metrics.events("any", "duplicate").inc(work.duplicates)
        for (rule, outcome), n in work.decisions.items():
            metrics.triggers(rule, outcome).inc(n)
        for rule, waits in work.waits.items():
            metrics.waits_opened(rule).inc(waits.opened)
            metrics.waits_decided(rule).inc(waits.decided)
            metrics.waits_absorbed(rule).inc(waits.absorbed)
        for (segment, change), n in work.changes.items():
            metrics.segment_changes(segment, change).inc(n)
        for reason, n in work.dead.items():
            metrics.dead_letters(reason, "maintain_profile").inc(n)
        for seconds in work.commits_s:
            metrics.commit_seconds("maintain_profile").observe(seconds)
        work.decisions, work.duplicates, work.commits_s, work.dead = {}, 0, [], {}
        work.changes.clear()
        work.waits.clear()

    async def _watch(self) -> None:
        metrics, group = self._metrics, self._topology.group
        places = [(tp.topic, tp.partition) for tp in (*self._sources, *self._partitions)]
        ends = {TP(*place): end for place, end in (await self._broker.end_offsets(places)).items()}
        if self._durable:
            await self._transactions.look({(tp.topic, tp.partition): end for tp, end in ends.items()})
        unread: dict[TP, int] = {}
        for tp, end in ends.items():
            at = self._offset(tp)
            metrics.lag(group, tp.topic, str(tp.partition)).set(max(end - at, 0))
            if at < end:
                unread[tp] = at
        self.signs.behind(unread)
        for tp, source in self._sources.items():
            metrics.watermark_delay(tp.topic, str(tp.partition)).since(source.watermark or None)
        for tp, hop in list(self._partitions.items()):  # they may change while Redis is asked
            name = str(tp.partition)
            metrics.clock_delay(name).since(hop.meta.clock or None)
            metrics.timers_pending(name).set(hop.meta.timers)
            metrics.moves_under_way(name).set(len(hop.meta.sent))
            metrics.quarantined(name).set(len(hop.meta.quarantined))
            metrics.outbox(name).set(hop.waiting)
            for rule, waits in hop.meta.waits.items():
                metrics.waits_open(rule, name).set(waits.waiting)
        await self._clocks.compare()

    def holding(self) -> list[Trouble]:
        """All that holds event time back and isn't as usual, with its cause: /readyz and the log tell it from here."""
        states = self.control.states().items()
        held = {tp: state.held for tp, state in states if state.held} | self._newer
        found = [Trouble(WAITS, f"{tp.topic}-{tp.partition}", why) for tp, why in held.items()]
        found += [Trouble(TOPICS_CHANGED, "topics", self._topics.held)] if self._topics.held else []
        found += [Trouble(OPEN_TRANSACTION, name, text) for name, text in self._transactions.now.items()]
        found += [Trouble(RECORDING, f"recording {n}", str(each)) for n, each in self._recordings.now.items()]
        return found

    def held_by(self) -> dict[str, str]:
        """What holds event time back, by name, for /readyz: there is always a source partition that is the slowest."""
        slowest = {"event time": self.holder} if self.holder else {}
        return slowest | {where: what for _, where, what in self.holding()}
