"""First hop: one source partition -> identity graph -> `identity.resolved`.

A batch, step by step, and what a crash right after each leaves behind:

1. decode, check, route by what is cached          nothing
2. one graph script: check the token, store the    links that nobody told yet: whoever reads the batch again, or
   position after the *previous* batch, tie        routes through such a link, tells it (identity/graph.py)
3. one Kafka transaction (together.py): a record   the batch is read again; the second hop drops what it has seen,
   for every partition of identity.resolved,       by source offset
   dead letters
4. the position moves in memory only; step 2 of the next batch stores it

What a recording says on the control topic (words.py) is obeyed behind a batch, in the same transaction, or alone where
no records come. The position holds up to where that topic is obeyed: a word that wasn't stored yet is heard again.

Kafka's committed offset is never read back.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from functools import partial
from secrets import token_hex
from types import MappingProxyType
from typing import Any

import msgspec

from pipeline.errors import InvalidEvent, PipelineError, RecordTooLarge, SchemaNotFetched, TooManyDeadLetters
from pipeline.events.compiled import TAKE, Open
from pipeline.events.model import Event, Remark
from pipeline.events.times import rfc3339
from pipeline.flow import Intake
from pipeline.identity.routes import Asked
from pipeline.runtime import dead_letters, words
from pipeline.runtime.ports import In, Out, Sender, Unreadable
from pipeline.runtime.sources import NOBODYS
from pipeline.runtime.words import Said
from pipeline.store.ports import GraphStore, Skip, SourcePosition
from pipeline.topology.model import DeadLetterLimit, Topology
from pipeline.wire.records import NOT_QUIET, Seal, resolved_records
from pipeline.wire.row import Row

log = logging.getLogger(__name__)

TRACE = "traceparent"
TRACE_BYTES = 128  # W3C's has 55
DEAD_AT_ONCE = 200  # refused words in one transaction
CUT = 16 * 1024  # bytes kept of a dead letter that is too large for its topic
CUT_HEADER = 1024
CUT_HEADERS = 20
REMARKS_SAID = 100  # different ones, of a partition; all are counted
Decode = Callable[[bytes | None, str | None], Event]
Learn = Callable[[Mapping[int, int]], Awaitable[frozenset[int]]]
"""Asks for schemas, id -> records that name it, where they aren't known; returns those that were not asked for."""


class Tally:
    """What became of one batch, for metrics: (event type, outcome) -> events. `late`: further behind than the disorder.

    `commit_s`: seconds of the graph's script and the transaction, None before.
    """

    def __init__(self) -> None:
        self.events: dict[tuple[str, str], int] = {}
        self.commit_s: float | None = None
        self.dead: dict[str, int] = {}
        self.remarks: dict[str, int] = {}
        self.refused: dict[tuple[str, str], int] = {}
        self.refused_words: dict[str, int] = {}
        self.merges = self.nobodys = 0

    def count(self, read: Read) -> None:
        """What was read."""
        kinds = Counter(read.kinds)
        if read.late:
            late_ones = Counter(read.late)
            kinds -= late_ones
            self.events = {(kind, "late"): n for kind, n in late_ones.items()}
        for kind, n in kinds.items():
            self.events[kind, "processed"] = n
        if read.dead:
            self.events["unknown", "dead_letter"] = len(read.dead)
        if self.nobodys:
            self.events["unknown", "nobodys"] = self.nobodys

    def add(self, other: Tally) -> None:
        """What became of the batch before, where both came as one."""
        self.events = dict(Counter(self.events) + Counter(other.events))
        self.dead = dict(Counter(self.dead) + Counter(other.dead))
        self.refused = dict(Counter(self.refused) + Counter(other.refused))
        self.remarks = dict(Counter(self.remarks) + Counter(other.remarks))
        self.refused_words = dict(Counter(self.refused_words) + Counter(other.refused_words))
        self.merges += other.merges


class Read:
    """A batch, decoded, checked, and routed by what is cached.

    `rows`, in order, with the `places` (resolved_records) and `kinds` (event types) of each; `late`: types of those
    that came later than the disorder allows. `asked`: rows that have no root yet, and what to ask the graph about.
    `dead`: dead letters; `bad`: their places among all records. `unasked`: None before schemas were asked for; then
    those that were not.
    """

    def __init__(self, unasked: frozenset[int] | None = None) -> None:
        self.unasked = unasked
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

    `takers`: `Decoder.takers`, empty where nothing is compiled; what they don't take, `decode` does. `learn` is needed
    where that raises SchemaNotFetched.
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
        learn: Learn | None = None,
    ) -> None:
        self.name = f"{topic}-{partition}"
        self._topology = topology
        self._intake = intake
        self._graph = graph
        self._sender = sender
        self._decode = decode
        self._takers = takers
        self._seal = Seal(topology.group)
        self._learn = learn
        self.topic = topic
        self._said: set[Remark] = set()
        self._partition = partition
        self._token = ""
        self._shared = -1
        self._recent_bad: list[bool] = []
        self._skip: Skip | None = None
        self._pending: list[Said] = []
        # What is wrong with a word is the same for all: one of them tells it.
        self._tells = self.name == topology.source_partitions[0]
        self.heard = 0
        self.position = SourcePosition()
        self.stored: SourcePosition | None = None
        self._told = True
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
        self._told = stored is not None
        self.position = stored or SourcePosition()
        self.heard = self.position.control
        self._pending.clear()
        self._intake.routes.drop()
        self._skip = await self._graph.skipped(self.name)
        return stored.offset if stored else None

    async def let_pass(self) -> Skip | None:
        """An operator's word that what is bad from the position on may pass, if there is one by now: claim again."""
        said = await self._graph.skipped(self.name)
        return said if said is not None and said.offset > self.position.offset else None

    def start_at(self, offset: int, decided: int = 0) -> None:
        """Where a partition begins that was never read. `decided`: up to where others are decided by now (UTC ms): it
        counts as read up to then, so what it tells of an earlier time comes late, and all else waits for it from there.
        """
        self.position.offset = offset
        if decided:
            self.position.high = decided + self._topology.time.disorder_ms

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
            await self._begin()
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
                    tally.refused_words[error.reason] = tally.refused_words.get(error.reason, 0) + 1
                    obeyed.dead.append(self._refused_word(said.record, error))
            position.control = said.offset + 1
            obeyed.count += 1
        return obeyed

    def _refused_word(self, record: In, error: InvalidEvent) -> Out:
        control = self._topology.topics.control.name
        log.warning("%s offset %d: not obeyed: %s", control, record.offset, error)
        headers = dead_letters.headers(control, 0, record.offset, "control", error, None)
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
        if self._skip is not None and records[0].offset < self._skip.offset <= records[-1].offset:
            # The limit counts for the rest, which must not keep back what may pass.
            await self._process([r for r in records if r.offset < self._skip.offset])
            first = self.tally
            await self._process([r for r in records if r.offset >= self._skip.offset])
            self.tally.add(first)
        else:
            await self._process(records)

    async def _process(self, records: Sequence[In]) -> None:
        before = self.watermark
        try:
            position, read = self._read(records)
        except SchemaNotFetched:
            if self._learn is None:
                raise
            position, read = self._read(records, await self._learn(_named(records)))
        tally = self.tally
        obeyed = self._obey(position, tally)
        read.dead += obeyed.dead
        began = time.perf_counter()
        await self._begin()
        merges = await self._ask(read.asked, tally)
        await self._send(position, before, read, merges, obeyed.quiet)
        self.position = position
        del self._pending[: obeyed.count]
        tally.commit_s = time.perf_counter() - began

    def _read(self, records: Sequence[In], unasked: frozenset[int] | None = None) -> tuple[SourcePosition, Read]:
        """Decode, check, and route by what is cached. Returns the position as it is then, too. `unasked`: see Read.

        Raises SchemaNotFetched at the first record whose schema has to be asked for, where none was yet.
        """
        self.tally = tally = Tally()
        position = msgspec.structs.replace(self.position, offset=records[-1].offset + 1)
        read, intake, routes = Read(unasked), self._intake, self._intake.routes
        one = partial(self._read_one, read, position, tally)
        if TAKE is not None and self._takers:  # nearly all
            position.high = TAKE(
                records, self._takers, routes.known, routes.identify, routes.with_implied, _trace_of, one,
                position.high, intake.disorder, intake.max_ahead, read.rows, read.places, read.kinds, read.late,
                read.asked,
            )  # fmt: skip
        else:
            for record in records:
                position.high = one(record, position.high)
        self._check_limit(read.bad, len(read.rows) + len(read.dead), records, tally.dead)
        tally.count(read)
        return position, read

    def _read_one(self, read: Read, position: SourcePosition, tally: Tally, record: In, high: int) -> int:
        """Read one record, whatever it is. Returns `high` as it is then."""
        if isinstance(record, Unreadable):
            return self._refuse(read, tally, record, record.error, high)
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
            if error.reason == "no_identifier" and NOBODYS in dict(record.headers):
                tally.nobodys += 1
                return high
            return self._refuse(read, tally, record, error, high)
        except SchemaNotFetched as missing:
            if read.unasked is None:
                raise
            return self._refuse(read, tally, record, _unknown(missing.schema_id, read.unasked), high)
        except PipelineError:
            raise
        except Exception as problem:  # a fault of ours: it may cost this record, and no other
            log.exception("%s offset %d can't be processed", self.name, record.offset)
            why = InvalidEvent("failed", f"{type(problem).__name__}: {problem}")
            return self._refuse(read, tally, record, why, high)
        read.rows.append(row)
        read.places.append(-1)
        read.kinds.append(row.type)
        if asked is not None:
            read.asked.append((row, asked))
        if received_at <= high and row.received_at != received_at:
            read.late.append(row.type)
        return max(high, received_at)

    def _refuse(self, read: Read, tally: Tally, record: In, error: InvalidEvent, high: int) -> int:
        """One that becomes a dead letter. Returns `high`, which doesn't change."""
        if self._skip is None or record.offset >= self._skip.offset:
            read.bad.append(len(read.rows) + len(read.dead))
        read.dead.append(self._dead_letter(record, error))
        tally.dead[error.reason] = tally.dead.get(error.reason, 0) + 1
        return high

    def _remark(self, event: Event, offset: int, tally: Tally) -> None:
        """Count what is odd about an event, and say it once."""
        for remark in event.remarks:
            tally.remarks[remark.what] = tally.remarks.get(remark.what, 0) + 1
            if remark not in self._said and len(self._said) < REMARKS_SAID:
                self._said.add(remark)
                log.warning("%s offset %d: %s: %s: %s", self.name, offset, event.type, *remark)

    def _check_limit(self, bad: list[int], size: int, records: Sequence[In], dead: Mapping[str, int]) -> None:
        """`bad`: places of the bad ones among the `size` records of a batch. `dead`: how many are, by reason."""
        limit = self._topology.dead_letter_limit
        flags = [False] * size
        for place in bad:
            flags[place] = True
        recent = self._recent_bad + flags
        why = _too_many(recent, limit) if bad else None
        if why is None:
            self._recent_bad = recent[-max(limit.window, limit.run) :]
            return
        reasons = [reason for reason, _ in Counter(dead).most_common(2)]
        last = records[bad[-1]].offset
        left_out = self.name in self._topology.left_out
        waits = "" if left_out else ", but all that is due, whoever's it is, waits for this one"
        raise TooManyDeadLetters(
            f"{self.name} stops before offset {records[0].offset}: {why}, mostly {', '.join(reasons)}. Nothing is lost"
            f" and the other partitions go on{waits}. Mend the producer or the schema, then let what is bad go into"
            f" the dead letters: `pipeline skip {self.topic} {self._partition} OFFSET`, where OFFSET is {last + 1} or"
            f" higher (as far as it is read, the last is {last}). Or raise dead_letter_limit, or name {self.name} in"
            f" left_out, in topology.yaml, and start the workers again."
        )

    def _dead_letter(self, record: In, error: InvalidEvent) -> Out:
        value, offset = record.value, record.offset
        schema_id = int.from_bytes(value[1:5], "big") if value and len(value) >= 5 and value[0] == 0 else None
        if isinstance(record, Unreadable):
            value, offset = record.packed, record.first
        headers = dead_letters.headers(self.topic, self._partition, offset, "resolve_identity", error, schema_id)
        headers.append(("pipeline.timestamp", str(record.timestamp).encode()))
        if isinstance(record, Unreadable):
            headers += record.place
        if self._skip is not None and record.offset < self._skip.offset:
            headers.append(("pipeline.skipped.by", f"{self._skip.by} {rfc3339(self._skip.at)}".encode()))
        log.debug("dead letter: %s offset %d: %s", self.name, record.offset, error)
        topic = self._topology.topics.dead_letters.name
        return Out(topic, None, record.key, value, [*record.headers, *headers])

    async def _begin(self) -> None:
        """A partition that was never read tells from where on it counts, before it ties anybody: whoever tells such a
        tie stands behind this in the log, so no move that it makes matters later than what is still to come from here.
        """
        if not self._told:
            await self._send(self.position, self.watermark, Read(), [])
            self._told = True

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
                self._intake.routes.drop()
            self._shared = shared
        merges: list[str] = []
        told: set[str] = set()
        for (row, known), answer in zip(asked, answers, strict=True):
            self._intake.answer(row, known, answer)
            if not (answer.merges or answer.refused):
                continue
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
        made = resolved_records(
            self._seal, self.name, first, position.offset, before, after, read.rows, merges, resolved.partitions,
            read.places, quiet,
        )  # fmt: skip
        out = [Out(resolved.name, p, None, value, headers) for p, each in enumerate(made) for headers, value in each]
        try:
            await self._sender.send(out + read.dead)
        except RecordTooLarge as refused:
            if refused.topic != self._topology.topics.dead_letters.name:
                raise
            log.warning("%s: dead letters are cut short: %s", self.name, refused)
            await self._sender.send(out + [_cut(letter) for letter in read.dead])

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
        await self._begin()
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


def _cut(letter: Out) -> Out:
    """A dead letter of which the topic takes less than there is: its beginning, with what there was."""
    size = len(letter.value or b"") + len(letter.key or b"") + sum(len(n) + len(v or b"") for n, v in letter.headers)
    if size <= CUT:
        return letter
    ours = [(name, value) for name, value in letter.headers if name.startswith(("__connect.errors.", "pipeline."))]
    headers = [(name[:CUT_HEADER], (value or b"")[:CUT_HEADER]) for name, value in ours[-CUT_HEADERS:]]
    headers.append(("pipeline.cut", str(size).encode()))
    return letter._replace(
        key=letter.key and letter.key[:CUT], value=letter.value and letter.value[:CUT], headers=headers
    )


def _named(records: Sequence[In]) -> Counter[int]:
    """Schema ids, with how many records name each."""
    heads = Counter(record.value[:5] for record in records if record.value)
    return Counter({int.from_bytes(head[1:], "big"): n for head, n in heads.items() if len(head) == 5 and not head[0]})


def _unknown(schema_id: int, unasked: Container[int]) -> InvalidEvent:
    """A record's schema that can't be had."""
    if schema_id in unasked:
        why = f"schema {schema_id} was not asked for: records name more unknown ones than the registry may be asked for"
    else:  # it was missing a moment ago
        why = f"the schema registry has no schema {schema_id}"
    return InvalidEvent("unknown_schema", why)


def _trace_of(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    """An event's traceparent."""
    trace = dict(headers).get(TRACE)
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
