"""Both hops on real servers: which partitions this process has, and what it does when something goes wrong.

Whatever fails in a batch, the partition is claimed again: its position is read back from Redis and the consumer sought
there, as long as Kafka still counts this process as the partition's owner. What can't be repaired ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from faust.types import TP

from pipeline.errors import Fenced, RegistryUnavailable, StateLost, TooManyDeadLetters
from pipeline.events.codec import Decoder, MissingSchema
from pipeline.flow import Intake, source_names
from pipeline.observe.metrics import Metrics
from pipeline.profile.timers import SPAN
from pipeline.runtime import watermark
from pipeline.runtime.app import Control
from pipeline.runtime.broker import Broker
from pipeline.runtime.clocks import Clocks
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.lanes import Records
from pipeline.runtime.listening import Listener, Reporter
from pipeline.runtime.producers import ClosableSender, Producers
from pipeline.runtime.second_hop import ProfilePartition
from pipeline.store.ports import GraphStore, ProfileStore
from pipeline.topology.addresses import shown
from pipeline.topology.model import Topology
from pipeline.triggers.rules import RuleBook

log = logging.getLogger(__name__)

Hop = SourcePartition | ProfilePartition
FATAL = (StateLost, TooManyDeadLetters)
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
CLAIM_S = 45.0  # the transport allows 60
RECOVER_S = 300.0
FENCED_S = 3.0  # longer than a heartbeat: by then a zombie knows that it is one
CLOCK_S = 0.25
METRICS_S = 2.0
SWEEP_S = 2.0
WORDS_S = 0.5
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
    ) -> None:
        self._topology = topology
        self._book = RuleBook(topology)
        self._intake = Intake(topology, self._book)
        self._graph = graph
        self._profiles = profiles
        self._decoder = decoder
        self._delivery = delivery
        self._producers = producers
        self._outbox = producers.outbox()
        self._broker = broker
        self._metrics = metrics
        self._clocks = clocks
        self._durable = durable
        self._listener = Listener(topology, broker)
        self._recordings = Reporter()
        self._resolved = topology.topics.resolved
        self._sources_waited_for = source_names(topology)
        self._sources: dict[TP, SourcePartition] = {}
        self._senders: dict[TP, ClosableSender] = {}
        self._partitions: dict[TP, ProfilePartition] = {}
        self._last_event: dict[TP, float] = {}
        self._busy: set[TP] = set()
        self._next_clock = 0.0
        self._next_idle = 0.0
        self._next_words = 0.0
        self._next_metrics = 0.0
        self._next_sweep = time.monotonic() + SWEEP_AFTER_S
        self.holder: str | None = None
        self.clock_at = 0

    # Claims.

    async def claim(self, tps: set[TP]) -> dict[TP, int]:
        """Take partitions over. Raises StateLost where store and log don't fit together.

        Servers that restart while the group is rebalanced are waited for, as long as the transport's patience lasts.
        """
        offsets = await asyncio.gather(*(self._claim_patiently(tp) for tp in tps))
        return dict(zip(tps, offsets, strict=True))

    async def _claim_patiently(self, tp: TP) -> int:
        deadline, attempt = time.monotonic() + CLAIM_S, 0
        while True:
            try:
                return await self._claim(tp)
            except FATAL:
                raise
            except Exception as problem:
                pause = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                if time.monotonic() + pause > deadline:
                    raise
                log.warning("%s:%d: claiming it: %r; trying again", tp.topic, tp.partition, problem)
                await asyncio.sleep(pause)
                attempt += 1

    async def _claim(self, tp: TP) -> int:
        if tp.topic == self._resolved.name:
            return await self._claim_profiles(tp)
        return await self._claim_source(tp)

    async def _claim_source(self, tp: TP) -> int:
        await self._close_sender(tp)
        sender = self._producers.source(tp.topic, tp.partition)
        self._senders[tp] = sender
        await sender.start()
        decode, takers = self._decoder.decode, self._decoder.takers
        hop = SourcePartition(self._topology, self._intake, self._graph, sender, decode, tp.topic, tp.partition, takers)
        offset = await hop.claim()
        hop.start_at(await self._checked(tp, offset))
        self._sources[tp] = hop
        self._last_event[tp] = time.monotonic()
        return hop.position.offset

    async def _claim_profiles(self, tp: TP) -> int:
        hop = ProfilePartition(
            self._topology, self._book, self._profiles, self._outbox, self._delivery.encode, tp.partition
        )
        offset = await hop.claim()
        hop.start_at(await self._checked(tp, offset))
        # After the claim, not before: see ProfilePartition.claim.
        hop.catch_up_to = (await self._broker.end_offsets([tp]))[tp]
        await hop.publish()
        self._partitions[tp] = hop
        return hop.meta.offset

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
                    f" append-only file or a snapshot; or, to start over and decide all anew, use another `group`."
                )
            return earliest
        if offset < earliest:
            raise StateLost(
                f"{name}: the next record is {offset}, but the topic begins at {earliest}: retention has deleted"
                f" {earliest - offset} records that were never processed. Restore them, or start over with another"
                f" `group`; then lengthen the topic's retention."
            )
        if offset > end:
            raise StateLost(
                f"{name}: the next record is {offset}, but the topic ends at {end}: it was made anew or is another"
                f" cluster's. Check `kafka` in topology.yaml, or start over with another `group`."
            )
        return offset

    async def revoke(self, tps: set[TP]) -> None:
        """Give partitions up; nothing of them is kept."""
        for tp in tps:
            self._partitions.pop(tp, None)
            self._busy.discard(tp)
            if self._sources.pop(tp, None) is not None:
                self._metrics.forget_source(tp.topic, str(tp.partition))
            else:
                self._metrics.forget_partition(tp.topic, str(tp.partition))
            await self._close_sender(tp)

    async def _close_sender(self, tp: TP) -> None:
        sender = self._senders.pop(tp, None)
        if sender is not None:
            await sender.close()

    async def stop(self) -> None:
        """The last thing: close what is open."""
        for tp in list(self._senders):
            await self._close_sender(tp)
        await self._listener.close()
        await self._outbox.close()
        self._producers.close()

    # Batches.

    async def resolve_identity(self, tp: TP, records: Records) -> None:
        """First hop."""
        hop = self._sources[tp]
        self._last_event[tp] = time.monotonic()
        began = time.perf_counter()
        if await self._guarded(tp, lambda: hop.process(records)):
            self._metrics.batch_seconds("resolve_identity").observe(time.perf_counter() - began)
            self._count_source(hop)

    async def maintain_profile(self, tp: TP, records: Records) -> None:
        """Second hop."""
        hop = self._partitions[tp]
        began = time.perf_counter()
        if await self._guarded(tp, lambda: hop.process(records)):
            self._metrics.batch_seconds("maintain_profile").observe(time.perf_counter() - began)
            self._count_profiles(hop)

    async def _guarded(self, tp: TP, work: Callable[[], Awaitable[object]]) -> bool:
        """Run a batch. True: done. False: the partition was claimed again and the consumer sought back."""
        while True:
            try:
                await work()
                return True
            except MissingSchema as missing:
                await self._learn(tp, missing.schema_id)
            except FATAL:
                raise
            except Fenced as fenced:
                log.warning("%s:%d: another worker has it (%s)", tp.topic, tp.partition, fenced)
                await asyncio.sleep(FENCED_S)
                await self._recover(tp)
                return False
            except Exception as problem:
                log.warning("%s:%d: %r; claiming it again", tp.topic, tp.partition, problem)
                await self._recover(tp)
                return False

    async def _learn(self, tp: TP, schema_id: int) -> None:
        """Fetch a schema, for as long as the registry doesn't answer: the partition stands still and loses nothing."""
        attempt = 0
        while True:
            try:
                await asyncio.to_thread(self._decoder.learn, schema_id)
            except RegistryUnavailable as problem:
                self.control.pause(tp, f"schema registry: {problem}")
                log.warning("%s:%d waits: %s", tp.topic, tp.partition, problem)
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
            else:
                self.control.resume(tp)
                return

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
                log.info("%s:%d: claimed again, goes on at %d", tp.topic, tp.partition, offset)
                return
            except FATAL:
                raise
            except Exception as problem:
                if time.monotonic() > deadline:
                    raise
                # With its reason, the watchdog knows that this standstill is meant.
                self.control.pause(tp, f"claiming it again: {problem}")
                log.warning("%s:%d: claiming it again: %r", tp.topic, tp.partition, problem)
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1

    # Time.

    async def tick(self) -> None:
        """Move event time on, and keep the books for those who watch."""
        now = time.monotonic()
        try:
            if now >= self._next_clock and self._partitions:
                self._next_clock = now + CLOCK_S
                await self._advance()
            if self._sources:
                await self._listen(now)
            if now >= self._next_idle and self._sources:
                self._next_idle = now + self._topology.time.idle.every_ms / 1000
                await self._idle(now)
            if now >= self._next_sweep and self._partitions:
                self._next_sweep = now + SWEEP_S
                for tp, hop in self._partitions.items():
                    if tp not in self._busy and hop.may_advance():
                        self._submit(tp, hop, hop.sweep)
            if now >= self._next_metrics:
                self._next_metrics = now + METRICS_S
                await self._watch()
        except Exception as problem:  # a server is away: the batches notice it too, and act
            log.warning("tick: %r", problem)

    async def _advance(self) -> None:
        clock, self.holder = await watermark.read(self._profiles, self._resolved.partitions, self._sources_waited_for)
        self.clock_at = clock
        lanes = self.control.states()
        for tp, hop in self._partitions.items():
            if clock > hop.meta.clock and tp not in self._busy and hop.may_advance():
                hop.aim(clock)  # the next batch takes it along
                if tp in lanes and not lanes[tp].queued:
                    self._submit(tp, hop, partial(hop.advance, clock), partial(self._count_profiles, hop))

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
        wanted = {tp for tp in free if now - self._last_event[tp] >= quiet_s}
        if clock is not None and len(wanted) < len(free):
            wanted |= await self._holding({tp: hop for tp, hop in free.items() if tp not in wanted}, clock)
        if not wanted:
            return
        if not await self._listener.at_end(list(self._sources.values())):  # a recording may have begun
            return
        for tp in await self.control.read_to_end(wanted):
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
        for seconds in work.commits_s:
            metrics.commit_seconds("maintain_profile").observe(seconds)
        work.decisions, work.duplicates, work.commits_s = {}, 0, []

    async def _watch(self) -> None:
        metrics, group = self._metrics, self._topology.group
        tps = [*self._sources, *self._partitions]
        for tp, end in (await self.control.end_offsets(tps)).items() if tps else ():
            at = (self._sources[tp].position if tp in self._sources else self._partitions[tp].meta).offset
            metrics.lag(group, tp.topic, str(tp.partition)).set(max(end - at, 0))
        for tp, source in self._sources.items():
            metrics.watermark_delay(tp.topic, str(tp.partition)).since(source.watermark or None)
        for tp, hop in list(self._partitions.items()):  # they may change while Redis is asked
            name = str(tp.partition)
            earliest = await self._first_timer(hop)
            metrics.clock_delay(name).since(hop.meta.clock or None)
            metrics.timers_pending(name).set(hop.meta.timers)
            metrics.timers_overdue(name).since(earliest)
            metrics.moves_under_way(name).set(len(hop.meta.sent))
            metrics.outbox(name).set(hop.waiting)
        await self._clocks.compare()

    def held_by(self) -> dict[str, str]:
        """What holds event time back, by name, for /readyz."""
        held = {f"{tp.topic}-{tp.partition}": s.held for tp, s in self.control.states().items() if s.held}
        if self.holder:
            held["event time"] = self.holder
        for name, holding in self._recordings.now.items():
            held[f"recording {name}"] = str(holding)
        return held
