"""First hop: one source partition -> identity graph -> `identity.resolved`.

A batch, step by step, and what a crash right after each leaves behind:

1. decode, check, route by what is cached          nothing
2. one graph script: check the token, store the    links that nobody told yet: whoever reads the batch again, or
   position after the *previous* batch, tie        routes through such a link, tells it (identity/graph.py)
3. one Kafka transaction: a record for every       the batch is read again; the second hop drops what it has seen,
   partition of identity.resolved, dead letters    by source offset
4. the position moves in memory only; step 2 of the next batch stores it

What a recording says on the control topic (words.py) is obeyed behind a batch, in the same transaction, or alone where
no records come. The position holds up to where that topic is obeyed: a word that wasn't stored yet is heard again.

Kafka's committed offset is never read back.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from secrets import token_hex
from types import MappingProxyType
from typing import Any

import msgspec

from pipeline.errors import InvalidEvent, TooManyDeadLetters
from pipeline.events.compiled import TAKE, Open
from pipeline.events.model import Event, Remark
from pipeline.flow import NOT_QUIET, Asked, Intake, dead_letter_headers, resolved_records, source_partitions
from pipeline.runtime import words
from pipeline.runtime.ports import In, Out, Sender
from pipeline.runtime.words import Said
from pipeline.store.ports import GraphStore, SourcePosition
from pipeline.topology.model import DeadLetterLimit, Topology
from pipeline.triggers.fold import Row

log = logging.getLogger(__name__)

TRACE = "traceparent"
TRACE_BYTES = 128  # W3C's has 55
DEAD_AT_ONCE = 200  # refused words in one transaction
REMARKS_SAID = 100  # different ones, of a partition; all are counted
Decode = Callable[[bytes | None, str | None], Event]


class Tally:
    """What became of one batch, for metrics: (event type, outcome) -> events. `late`: further behind than the disorder.

    `commit_s`: seconds of the graph's script and the transaction, None before.
    """

    def __init__(self) -> None:
        self.events: dict[tuple[str, str], int] = {}
        self.commit_s: float | None = None
        self.dead: dict[str, int] = {}
        self.remarks: Counter[str] = Counter()
        self.refused: dict[tuple[str, str], int] = {}
        self.refused_words: Counter[str] = Counter()
        self.merges = 0

    def count(self, read: Read) -> None:
        """What was read."""
        late_ones = Counter(read.late)
        for kind, n in Counter(read.kinds).items():
            if n > late_ones[kind]:
                self.events[kind, "processed"] = n - late_ones[kind]
        for kind, n in late_ones.items():
            self.events[kind, "late"] = n
        if read.dead:
            self.events["unknown", "dead_letter"] = len(read.dead)


class Read:
    """A batch, decoded, checked, and routed by what is cached.

    `rows`, in order, with the `places` (resolved_records) and `kinds` (event types) of each; `late`: types of those
    that came later than the disorder allows. `asked`: rows that have no root yet, and what to ask the graph about.
    `dead`: dead letters; `bad`: their places among all records.
    """

    def __init__(self) -> None:
        self.rows: list[Row | Open | bytes] = []
        self.places: list[int] = []
        self.kinds: list[str] = []
        self.late: list[str] = []
        self.asked: list[tuple[Row | Open, Asked]] = []
        self.dead: list[Out] = []
        self.bad: list[int] = []


class Obeyed:
    """What words made of a position: how many were obeyed, the `dead` letters of those that are none, and what is
    `quiet` now (flow.Resolved).
    """

    def __init__(self, position: SourcePosition) -> None:
        self.position = position
        self.count = 0
        self.dead: list[Out] = []
        self.quiet = NOT_QUIET


class SourcePartition:
    """One source partition of the first hop. `name`: "<topic>-<partition>". Not safe for concurrent calls.

    `takers`: `Decoder.takers`, empty where nothing is compiled; what they don't take, `decode` does.
    """

    def __init__(
        self,
        topology: Topology,
        intake: Intake,
        graph: GraphStore,
        sender: Sender,
        decode: Decode,
        topic: str,
        partition: int,
        takers: Mapping[int, Any] = MappingProxyType({}),
    ) -> None:
        self.name = f"{topic}-{partition}"
        self._topology = topology
        self._intake = intake
        self._graph = graph
        self._sender = sender
        self._decode = decode
        self._takers = takers
        self.topic = topic
        self._said: set[Remark] = set()
        self._partition = partition
        self._token = ""
        self._shared = -1
        self._recent_bad: list[bool] = []
        self._pending: list[Said] = []
        # What is wrong with a word is the same for all: one of them tells it.
        self._tells = self.name == source_partitions(topology)[0]
        self.heard = 0
        self.position = SourcePosition()
        self.stored: SourcePosition | None = None
        self.seen_anything = False
        self.tally = Tally()

    @property
    def watermark(self) -> int:
        """Everything received before it has been read (UTC ms; 0: nothing is known)."""
        return self._watermark_of(self.position)

    def _watermark_of(self, position: SourcePosition) -> int:
        return position.high - self._topology.time.disorder_ms if position.high else 0

    async def claim(self) -> int | None:
        """Take over. Returns the next offset to read, or None for a partition that was never read."""
        token = token_hex(8)
        stored = await self._graph.claim(self.name, token)
        self._token = token
        self.stored = stored
        self.position = stored or SourcePosition()
        self.heard = self.position.control
        self._pending.clear()
        self._intake.drop_routes()
        return stored.offset if stored else None

    def start_at(self, offset: int) -> None:
        """Where a partition begins that was never read."""
        self.position.offset = offset

    # What recordings say.

    def hear(self, said: Said) -> None:
        """The next record of the control topic, in order; `heard`: the offset of the next one that is news."""
        if said.offset >= self.heard:
            self.heard = said.offset + 1
            self._pending.append(said)

    def forget(self) -> None:
        """The control topic was made anew: what it says is news, wherever it stands."""
        self._pending.clear()
        self.heard = self.position.control = 0

    @property
    def waiting(self) -> int:
        """Words that are heard, and not obeyed yet."""
        return len(self._pending)

    @property
    def ripe(self) -> bool:
        """Whether the next word counts by now."""
        return bool(self._pending) and self._counts_at(self._pending[0]) <= self.position.offset

    def _counts_at(self, said: Said) -> int:
        return 0 if isinstance(said.word, InvalidEvent) else said.word.offsets[self.name]

    async def obey(self, reached: int = 0) -> None:
        """Obey what is ripe, without records. `reached`: the caller has shown that nothing is left to be read before
        this offset, though what lies there last may be no record. Raises as `process`.
        """
        self.tally = tally = Tally()
        obeyed = self._obey(msgspec.structs.replace(self.position), tally, reached)
        await self._tell(obeyed)

    @property
    def holder(self) -> str | None:
        """The recording that keeps this partition from following the clock; "?": nobody knows which one."""
        known = self.position.recording
        return (known.id if known else "?") if self.position.held else None

    async def lapse(self, recording: str) -> bool:
        """Nothing was heard of this recording for too long: it holds no longer. False: it doesn't hold (any more)."""
        if self.holder != recording:
            return False
        obeyed = Obeyed(msgspec.structs.replace(self.position, held=False))
        obeyed.quiet = self._quiet(self.position, obeyed.position)
        await self._tell(obeyed)
        return True

    def _quiet(self, before: SourcePosition, after: SourcePosition) -> tuple[int, int]:
        time = self._topology.time
        return words.quiet_of(before, after, time.lateness_ms, time.disorder_ms)

    async def _tell(self, obeyed: Obeyed) -> None:
        """Who reads `identity.resolved` is told only what is news there; the rest is stored with the next batch."""
        position = obeyed.position
        if position.high != self.position.high or obeyed.dead or obeyed.quiet != NOT_QUIET:
            before = self.watermark
            await self._ask([], Tally())
            read = Read()
            read.dead = obeyed.dead
            await self._send(position, before, read, [], obeyed.quiet)
        self.position = position
        del self._pending[: obeyed.count]

    def _obey(self, position: SourcePosition, tally: Tally, reached: int = 0) -> Obeyed:
        """Let the words that are ripe at `position` change it."""
        obeyed = Obeyed(position)
        for said in self._pending:
            if self._counts_at(said) > max(position.offset, reached) or len(obeyed.dead) >= DEAD_AT_ONCE:
                break
            before = msgspec.structs.replace(position)
            try:
                if isinstance(said.word, InvalidEvent):
                    raise said.word
                words.obey(position, said.word, said.record.timestamp, self._topology.time.disorder_ms)
                news = self._quiet(before, position)
                obeyed.quiet = news if news != NOT_QUIET else obeyed.quiet
            except InvalidEvent as error:
                if self._tells:
                    tally.refused_words[error.reason] += 1
                    obeyed.dead.append(self._refused_word(said.record, error))
            position.control = said.offset + 1
            obeyed.count += 1
        return obeyed

    def _refused_word(self, record: In, error: InvalidEvent) -> Out:
        control = self._topology.topics.control.name
        log.warning("%s offset %d: not obeyed: %s", control, record.offset, error)
        headers = dead_letter_headers(control, 0, record.offset, "control", error, None)
        headers.append(("pipeline.timestamp", str(record.timestamp).encode()))
        return Out(self._topology.topics.dead_letters.name, None, record.key, record.value, [*record.headers, *headers])

    # Batches.

    async def process(self, records: Sequence[In]) -> None:
        """One batch. Raises CommitRejected (claim again), Fenced, RegistryUnavailable (try the same batch again),
        TooManyDeadLetters, or what the store or broker raises; in each case nothing of the batch is done for certain.
        """
        if not records or records[-1].offset < self.position.offset:
            return
        if records[0].offset < self.position.offset:
            records = [r for r in records if r.offset >= self.position.offset]
        self.tally = tally = Tally()
        before = self.watermark
        position = msgspec.structs.replace(self.position, offset=records[-1].offset + 1)
        read = self._read(records, position, tally)
        obeyed = self._obey(position, tally)
        read.dead += obeyed.dead
        began = time.perf_counter()
        merges = await self._ask(read.asked, tally)
        await self._send(position, before, read, merges, obeyed.quiet)
        self.position = position
        del self._pending[: obeyed.count]
        tally.commit_s = time.perf_counter() - began

    def _read(self, records: Sequence[In], position: SourcePosition, tally: Tally) -> Read:
        """Decode, check, and route by what is cached. Updates `position` by what was read."""
        read, intake = Read(), self._intake
        one = partial(self._read_one, read, position, tally)
        if TAKE is not None and self._takers:  # nearly all
            position.high = TAKE(
                records, self._takers, intake.known, intake.identify, intake.with_implied, _trace_of, one,
                position.high, intake.disorder, intake.max_ahead, read.rows, read.places, read.kinds, read.late,
                read.asked,
            )  # fmt: skip
        else:
            for record in records:
                position.high = one(record, position.high)
        self._check_limit(read.bad, len(read.rows) + len(read.dead), records)
        tally.count(read)
        return read

    def _read_one(self, read: Read, position: SourcePosition, tally: Tally, record: In, high: int) -> int:
        """Read one record, whatever it is. Returns `high` as it is then."""
        trace = None
        if record.headers:
            trace = _trace_of(record.headers)
        value, appended_at = record.value, record.timestamp
        try:
            event = self._decode(value, trace)
            if appended_at <= 0:  # the embedded broker keeps no timestamps
                appended_at = event.received_at
            row, asked = self._intake.prepare(event, record.offset, high, appended_at, len(value or b""))
            received_at = event.received_at  # at most the time of appending
            if event.remarks:
                self._remark(event, record.offset, tally)
        except InvalidEvent as error:
            read.bad.append(len(read.rows) + len(read.dead))
            read.dead.append(self._dead_letter(record, error))
            tally.dead[error.reason] = tally.dead.get(error.reason, 0) + 1
            return high
        read.rows.append(row)
        read.places.append(-1)
        read.kinds.append(row.type)
        if asked is not None:
            read.asked.append((row, asked))
        if received_at <= high and row.received_at != received_at:
            read.late.append(row.type)
        return max(high, received_at)

    def _remark(self, event: Event, offset: int, tally: Tally) -> None:
        """Count what is odd about an event, and say it once."""
        for remark in event.remarks:
            tally.remarks[remark.what] += 1
            if remark not in self._said and len(self._said) < REMARKS_SAID:
                self._said.add(remark)
                log.warning("%s offset %d: %s: %s: %s", self.name, offset, event.type, *remark)

    def _check_limit(self, bad: list[int], size: int, records: Sequence[In]) -> None:
        """`bad`: places of the bad ones among the `size` records of a batch."""
        limit = self._topology.dead_letter_limit
        flags = [False] * size
        for place in bad:
            flags[place] = True
        recent = self._recent_bad + flags
        why = _too_many(recent, limit) if bad else None
        if why is None:
            self._recent_bad = recent[-max(limit.window, limit.run) :]
            return
        raise TooManyDeadLetters(
            f"{self.name} stops before offset {records[0].offset}: {why}. Nothing is lost: mend the producer or the"
            f" schema, or raise dead_letter_limit in topology.yaml, and start the worker again."
        )

    def _dead_letter(self, record: In, error: InvalidEvent) -> Out:
        value = record.value
        schema_id = int.from_bytes(value[1:5], "big") if value and len(value) >= 5 and value[0] == 0 else None
        headers = dead_letter_headers(self.topic, self._partition, record.offset, "resolve_identity", error, schema_id)
        headers.append(("pipeline.timestamp", str(record.timestamp).encode()))
        log.debug("dead letter: %s offset %d: %s", self.name, record.offset, error)
        dead_letters = self._topology.topics.dead_letters.name
        return Out(dead_letters, None, record.key, value, [*record.headers, *headers])

    async def _ask(self, asked: list[tuple[Row | Open, Asked]], tally: Tally) -> list[str]:
        """Give every row its profile that has none. The script runs once a batch, asks or not: it stores the position.

        Returns the merges to tell, flat [loser, winner, ...].
        """
        asks = [self._intake.ask(row, known) for row, known in asked]
        token = token_hex(8)
        answers, shared, high = await self._graph.resolve(self.name, self._token, token, self.position, asks)
        self._token = token
        self.seen_anything = high > 0
        if shared != self._shared:
            if self._shared >= 0:
                self._intake.drop_routes()
            self._shared = shared
        merges: list[str] = []
        told: set[str] = set()
        for (row, known), answer in zip(asked, answers, strict=True):
            self._intake.answer(row, known, answer)
            for i in range(0, len(answer.merges), 2):
                if answer.merges[i] not in told:
                    told.add(answer.merges[i])
                    merges += answer.merges[i : i + 2]
            for i in range(0, len(answer.refused), 3):
                refusal = (answer.refused[i], answer.refused[i + 2])
                tally.refused[refusal] = tally.refused.get(refusal, 0) + 1
                log.info("%s offset %d: %s left out of a tie: %s", self.name, row.offset, *refusal)
        tally.merges = len(merges) // 2
        return merges

    async def _send(
        self,
        position: SourcePosition,
        before: int,
        read: Read,
        merges: list[str],
        quiet: tuple[int, int] = NOT_QUIET,
    ) -> None:
        """`position`: as it is with this batch; `before`: the watermark before it."""
        resolved = self._topology.topics.resolved
        first, after = self.position.offset, self._watermark_of(position)
        values = resolved_records(
            self.name, first, position.offset, before, after, read.rows, merges, resolved.partitions, read.places, quiet
        )
        out = [Out(resolved.name, p, None, value, []) for p, each in enumerate(values) for value in each]
        await self._sender.send(out + read.dead)

    async def idle(self, clock: int | None) -> bool:
        """Advance without events. The caller has read `clock` (UTC ms, the broker's) and *then* shown that this
        partition is read to its end, so that nothing older than that clock is to come. True if the watermark moved.

        None: nobody knows yet what the broker's clock shows. Then this tells once more how far the partition is, and
        the answer to that says it (clocks.py).

        Not while nothing was ever seen (there is nothing to wait for, and a recording may come), nor while a
        recording is being ingested.
        """
        if self.position.held or self._pending or (clock is not None and clock <= self.position.high):
            return False
        before = self.watermark
        # As it was known before the clock was read: what others have seen since may be the first events of a recording,
        # whose `begin` nobody has looked for here yet.
        seen_before = self.seen_anything
        await self._ask([], Tally())
        if not seen_before:
            return False
        if clock is None:
            await self._send(self.position, before, Read(), [])
            return False
        position = msgspec.structs.replace(self.position, high=clock)
        await self._send(position, before, Read(), [])
        self.position = position
        return True


def _trace_of(headers: Sequence[tuple[str, bytes]]) -> str | None:
    """An event's traceparent."""
    trace = dict(headers).get(TRACE)  # Kafka knows headers without a value
    return trace[:TRACE_BYTES].decode("ascii", "replace") if trace else None


def _too_many(recent: list[bool], limit: DeadLetterLimit) -> str | None:
    """Whether there were too many bad records at any moment, whatever the batches: the limit in words, or None."""
    run = in_window = 0
    for i, is_bad in enumerate(recent):
        run = run + 1 if is_bad else 0
        in_window += is_bad
        if i >= limit.window:
            in_window -= recent[i - limit.window]
        if run >= limit.run:
            return f"{run} records in a row are bad (limit: run {limit.run})"
        if i + 1 >= limit.window and in_window > limit.share * limit.window:
            return f"{in_window} of {limit.window} records are bad (limit: share {limit.share})"
    return None
