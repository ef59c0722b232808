"""Second hop: one partition of `identity.resolved` -> profiles, timers, outbox -> triggers and decisions.

A batch, step by step, and what a crash right after each leaves behind:

1. drop records below the position, load the touched profiles     nothing
2. compute                                                         nothing
3. one commit: states, timers, outbox, meta; checks fence, token   all of it: the outbox holds what was not published
4. publish the outbox, in order                                    published entries again, under the same ids
5. the next commit, or after a while one of its own, trims         -
   what was published

On any failure caches are dropped and the partition is claimed again: its position, and what stands in its outbox, are
read back from the store, so a lost reply and a lost commit are the same case.

What is no record of ours, or can't be read, is skipped in 1. and becomes a dead letter in 3. (incoming.py). A profile
that raises in 2. is shut, and the others are computed again (quarantine.py).

Profiles that merge move between partitions as messages in `identity.resolved`, told apart by what they are (`id`).
`Meta.sent` and `Meta.taken` name them, with the time `at` from which they matter: `runtime/watermark.py` lets no
partition decide at or after the `at` of a message that is under way. A profile that is too large for a record goes in
parts, a message each. Whatever comes with an older `at` than the
partition's clock has been taken before, and is dropped.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from operator import attrgetter
from secrets import token_hex
from typing import Any

import msgspec

from pipeline.errors import OTHER_VERSION, START_OVER, InvalidEvent, NewerState, StateLost, Unsent
from pipeline.flow import Upkeep
from pipeline.profile import about, format2
from pipeline.profile.marks import Moved, Parts, Quarantined, is_mark
from pipeline.profile.packed import PackedRow, unpack_row
from pipeline.profile.profile import Profile, State, decode, encode_profile, new_profile, silent_since, waits_of
from pipeline.profile.timers import Timers
from pipeline.runtime.incoming import UNREADABLE, Incoming, Message
from pipeline.runtime.ports import In, Out, Sender
from pipeline.runtime.quarantine import NAMED, Quarantine
from pipeline.store.ports import Commit, ProfileStore
from pipeline.topology.model import Topology
from pipeline.triggers.balance import Waits
from pipeline.triggers.changes import Output, SegmentChange
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import (
    FORMAT,
    MORE,
    NOT_QUIET,
    Forward,
    Move,
    Resolved,
    Seal,
    marked,
    moves,
    partition_of,
)
from pipeline.wire.row import Row

log = logging.getLogger(__name__)

STATES_A_COMMIT = 5_000  # Redis does nothing else while it takes them in, some kilobyte each
ROWS_A_COMMIT = 20_000  # behind one another in a backlog: what each changes of a profile is written once
CACHED = 400_000  # profiles in memory at most, by a worker that owns every partition: some kilobyte each
SWEPT = 200
UNFOLDED = 4  # events that a profile keeps for later: to fold several costs hardly more than one
UNSEEN: Any = object()
NO_GUARD = nullcontext()
NO_WAITS = Waits()
SHEETS = 100  # of timers, to ask for at once
DEAD_BYTES = 8_000_000  # of dead letters in a commit
AHEAD = 60_000  # ms of event time
FAR = 1 << 62

Opened = list[tuple[Message, In]]
States = dict[str, bytes | None]
EncodeDecision = Callable[[Output], list[Out]]
Smaller = Callable[[Out], Out | None]


class Meta(msgspec.Struct, array_like=True, gc=False):
    """A partition's own books, committed with its state.

    `offset`: next to read. `seen`: source -> next source offset. `marks`: source -> watermark. `clock`: everything
    before it is decided. `sent`: message id -> [at, destination partition]; `taken`: message id -> at. `timers`: how
    many are set; `sheets`: number of the next sheet of them. `quiet`: source -> [before, until]: what was due before
    the first and is decided up to the second (0: on) is not published. `quarantined`: profile id -> since when it is.
    `begun`: source -> from where on it counts, until everything before that is decided. `waits`: rule -> what became of
    its waits here (triggers/balance.py). `counts`: name of a part of profiles (profile/parts) -> [its version, from
    which offset on it counts here, how far event time was then]. `earlier`: before this offset records of format 2 may
    stand, and profiles may be stored as there (profile/format2.py); 0: there are none.
    """

    format: int = FORMAT
    offset: int = 0
    seen: dict[str, int] = {}
    marks: dict[str, int] = {}
    clock: int = 0
    sent: dict[str, tuple[int, int]] = {}
    taken: dict[str, int] = {}
    timers: int = 0
    sheets: int = 0
    quiet: dict[str, tuple[int, int]] = {}
    quarantined: dict[str, int] = {}
    begun: dict[str, int] = {}
    waits: dict[str, Waits] = {}
    counts: dict[str, tuple[int, int, int]] = {}
    earlier: int = 0

    @property
    def holds_earlier(self) -> bool:
        """Whether there may be anything of format 2."""
        return self.earlier > 0 or self.format == format2.FORMAT


class _Format(msgspec.Struct, array_like=True, gc=False):
    """The first field of a `Meta`, of whatever version."""

    format: int


root_of = attrgetter("root")
encode_meta = msgspec.msgpack.Encoder().encode
decode_meta = msgspec.msgpack.Decoder(Meta).decode
decode_format = msgspec.msgpack.Decoder(_Format).decode
encode_out = msgspec.msgpack.Encoder().encode
decode_out = msgspec.msgpack.Decoder(Out).decode


class _Raised(Exception):
    """Computing raised `problem`, nothing else did: no store, no broker."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem


class Work:
    """What one batch did, for metrics."""

    def __init__(self) -> None:
        self.rows = 0
        self.duplicates = 0
        self.decisions: dict[tuple[str, str], int] = {}
        self.changes: Counter[tuple[str, str]] = Counter()
        self.commits_s: list[float] = []
        self.moves = 0
        self.dead: dict[str, int] = {}
        self.waits: dict[str, Waits] = {}

    def copy(self) -> Work:
        """As it is now."""
        copy = Work()
        copy.rows, copy.duplicates, copy.moves = self.rows, self.duplicates, self.moves
        copy.changes, copy.waits = self.changes.copy(), dict(self.waits)
        copy.decisions, copy.commits_s, copy.dead = dict(self.decisions), list(self.commits_s), dict(self.dead)
        return copy


class ProfilePartition:
    """The one owner of a partition. Not safe for concurrent calls."""

    def __init__(
        self,
        topology: Topology,
        book: RuleBook,
        store: ProfileStore,
        sender: Sender,
        encode_decision: EncodeDecision,
        partition: int,
        cached: int | None = None,
        smaller: Smaller = lambda out: None,
    ) -> None:
        """`smaller`: what to send instead of a record that is refused for its size (deliver.py)."""
        self.partition = partition
        self.partitions = topology.topics.resolved.partitions
        self.meta = Meta()
        self.target = 0  # the clock up to which this partition may decide now
        self.catch_up_to = 0  # no advance before this offset is read: see claim()
        self.written_to = 0  # where the log ended at the claim, with what lay in open transactions
        self.timers = Timers()
        self.work = Work()
        self._topic = topology.topics.resolved.name
        self._topics = {topic.name for topic in topology.topics.sources}
        self._left_out = list(topology.left_out)
        self._decode: Callable[[bytes], State] = decode
        self._ours, self._upkeep = book, Upkeep(book)  # which counts what else the partition's books ask for
        self._seal = Seal(topology.group)
        self._incoming = Incoming(topology, partition)
        self._store = store
        self._sender = sender
        self._encode_decision = encode_decision
        self._smaller = smaller
        self._cached = CACHED // self.partitions if cached is None else cached
        self._fence = 0
        self._token = ""
        self._name, self._commits = token_hex(8), 0  # of tokens: as good as random ones, and cheaper
        self._pending: list[Out] = []
        self._tail = 0
        self._published = self._trimmed = 0
        self._quarantine = Quarantine(self._upkeep, f"{self._topic}-{partition}")
        self._shut: set[str] = set()  # quarantined by others than this owner, and not tried yet
        self._joined: set[str] = set()  # those of the batch in hand
        self._raised: list[Exception] = []
        self._stored: bytes | None = None
        self._whole = True  # nothing is half done: what is in memory may be committed
        self._cache: dict[str, State | None] = {}
        self._aged: dict[str, State | None] = {}  # as committed; `_load` takes back what is asked for
        self._aging = False
        self._dirty: dict[str, State] = {}
        self._over: dict[bytes, int] = {}
        self._outbox: list[Out] = []
        self._forgotten: list[str] = []
        self._cursor = 0

    async def claim(self) -> int | None:
        """Take over: raise the fence, read. Returns the next offset, or None for a partition without any state.

        The caller sets `catch_up_to` to the partition's end offset *after* this: a message that others count as taken
        by this partition stands below it, and may have to be read again if the store fell back.
        """
        claimed = await self._store.claim(self.partition)
        self._forget()
        self._incoming.take()
        self._quarantine.suspects.clear()
        self._stored, self._whole = claimed.meta, True
        self._fence, self._token = claimed.fence, claimed.token
        self._pending = [decode_out(entry) for entry in claimed.outbox]
        self._published = self._trimmed = claimed.head
        self._tail = claimed.head + len(claimed.outbox)
        self.target = 0
        if claimed.meta is None:
            self.meta = Meta()
            self._begin_to_count()
            return None
        self._take_up(claimed.meta)
        self.meta.waits = {rule: waits for rule, waits in self.meta.waits.items() if rule in self._upkeep.book.rules}
        self._shut = set(self.meta.quarantined)  # each is tried once more
        self._begin_to_count()
        if self.meta.earlier:
            self._pending = [self._sealed(out) for out in self._pending]
        return self.meta.offset

    def _take_up(self, stored: bytes) -> None:
        """Go on from these books, of whatever format that can be read."""
        written = decode_format(stored).format  # the rest may mean anything
        if written not in (format2.FORMAT, FORMAT, MORE):
            raise StateLost(
                f"partition {self.partition}: what Redis holds was written in format {written}, and this version reads"
                f" formats {format2.FORMAT}, {FORMAT} and {MORE} only. {OTHER_VERSION}."
            )
        self.meta = decode_meta(stored)
        if self.meta.format == format2.FORMAT:
            self.meta.earlier = FAR  # up to what is there by now: see `_commit`
        self._decode = self._quarantine.decode = partial(format2.read, self._ours) if self.meta.earlier else decode

    def _earlier(self) -> int:
        """Before this offset records of format 2 may stand. What a worker wrote that was stopped in a transaction can
        be read only once that is over, and so can what others wrote behind it.
        """
        return min(self.meta.earlier, max(self.catch_up_to, self.written_to))

    def _sealed(self, out: Out) -> Out:
        """What format 2 left in the outbox for other partitions."""
        if out.topic != self._topic or out.headers:
            return out
        headers, value = format2.sealed(self._seal, out.value or b"")
        return out._replace(headers=headers, value=value)

    def _begin_to_count(self) -> None:
        """What is new here counts from now on, and what counts goes on, whatever the topology of this worker asks for:
        while workers are replaced one by one, partitions come and go between those that know of it and the others.

        Raises NewerState.
        """
        meta, known = self.meta, about.known_parts()
        unknown = {name: told[0] for name, told in meta.counts.items() if told[0] > known.get(name, 0)}
        if unknown:
            raise NewerState(
                f"{self._topic}-{self.partition}: a newer version counts"
                f" {', '.join(f'{name} (version {n})' for name, n in sorted(unknown.items()))} here, and this one would"
                " leave it out. Upgrade this worker: the partition waits for a newer one, all others go on."
            )
        book = self._ours.asking(about.asked_among(meta.counts))
        self._upkeep = self._quarantine.upkeep = Upkeep(book)
        counts = about.told_parts(book.profile_parts)
        since = meta.offset, self._now()
        meta.counts = {
            name: meta.counts[name] if meta.counts.get(name, (0,))[0] == version else (version, *since)
            for name, version in counts.items()
        }
        meta.format = MORE if meta.counts or meta.earlier else FORMAT

    def _forget(self) -> None:
        """What is in memory and not committed, and all that was read."""
        self._cache.clear()
        self._aged.clear()
        self._dirty.clear()
        self._quarantine.fresh.clear()
        self._raised.clear()
        self._joined.clear()
        self.timers, self._over = Timers(), {}
        self._outbox, self._forgotten = [], []

    def start_at(self, offset: int) -> None:
        """Where a partition begins that has no state."""
        self.meta.offset = offset
        if self._stored is None:
            self.meta.counts = {}
            self._begin_to_count()

    async def publish(self) -> None:
        """Publish what is committed and not yet published. Also the first thing after a claim.

        What is refused for its size goes out smaller. Raises Unsent where the broker takes some for no other reason:
        then only these are left, also after a crash.
        """
        while self._pending:
            try:
                await self._sender.send(self._pending)
                self._pending = []
            except Unsent as unsent:
                pending, shrunk = self._pending, False
                left: list[Out] = []
                for place in unsent.left:
                    out = pending[place]
                    less = self._smaller(out) if place in unsent.too_large else None
                    if less is not None:
                        shrunk = True
                        size = len(out.value or b"")
                        log.warning("%s: a record of %d bytes is too large for it: sent with less", out.topic, size)
                    left.append(less or out)
                if shrunk or len(left) < len(pending):
                    self._published, self._pending, self._outbox = self._tail, [], left
                    await self._commit({}, {})
                if not shrunk:
                    raise
        self._published = self._tail

    @property
    def unfinished(self) -> bool:
        """Whether something is left of what was there at the claim that needs no records: see `finish`."""
        return bool(self._pending or self._shut)

    async def finish(self) -> None:
        """Publish what the outbox holds, and try once more what is quarantined."""
        await self.publish()
        if self._shut:
            self._whole = False
            await self._run([], set())
            self._whole = True

    @property
    def waiting(self) -> int:
        """Outbox entries that are committed and not yet published."""
        return len(self._pending)

    def may_advance(self) -> bool:
        """Whether everything that was there at the claim has been read."""
        return self.meta.offset >= self.catch_up_to

    async def process(self, records: Sequence[In]) -> None:
        """One batch, in commits of about 5,000 profiles. Raises CommitRejected, Fenced, StateLost, or what the store or
        the broker raises: claim again.
        """
        self.work, self._whole = Work(), False
        self._incoming.earlier = self._earlier()
        batch: Opened = []
        named: set[str] = set()
        rows, done = 0, self.meta.offset
        for record in records:
            if record.offset < self.meta.offset:
                continue
            message = self._incoming.open(record)
            if message is not None:
                batch.append((message, record))
                if isinstance(message, Resolved):
                    rows += len(message.rows)
                    named.update(map(root_of, message.rows))
                    named.update(message.merges)
                elif isinstance(message, Move):
                    named.update((message.winner, message.loser))
                    if message.parts > 1:
                        named.add(message.whole)
                elif message.row is not None:
                    named.add(message.row.root)
            self.meta.offset = record.offset + 1
            if len(named) >= STATES_A_COMMIT or rows >= ROWS_A_COMMIT or self._incoming.size >= DEAD_BYTES:
                await self._run(batch, named)
                batch, named, rows, done = [], set(), 0, self.meta.offset
        if self.meta.offset > done:
            await self._run(batch, named)
        self._whole = True

    def aim(self, clock: int) -> None:
        """What is before `clock` is certain, as watermark.py has shown: the next batch decides it. At any time, also
        while one is in hand.
        """
        if clock > self.target and self.may_advance():
            self.target = clock

    async def advance(self, clock: int) -> None:
        """Decide everything before `clock` now."""
        self.aim(clock)
        if self.target > self.meta.clock:
            self.work, self._whole = Work(), False
            await self._run([], set())
            self._whole = True

    def age(self) -> None:
        """Let go of the profiles in memory that nobody asked for since this was called last. At any time."""
        self._aging = True

    def something_due(self, clock: int) -> bool:
        """Whether a timer rings before `clock`, or may: of those beyond what is known only the store can tell."""
        first = self.timers.first
        return self.timers.upto < clock or (first is not None and first < clock)

    async def sweep(self) -> int:
        """Look at some profiles, and forget those that were silent for as long as the topology says. Returns how many.

        A wait that is still open keeps its profile.
        """
        horizon = self.meta.clock - self._upkeep.book.retention
        if horizon <= 0:
            return 0
        self._cursor, ids = await self._store.walk(self.partition, self._cursor, SWEPT)
        unseen = [i for i in ids if i not in self._cache]
        loaded = await self._store.load(self.partition, self._token, unseen)
        states = dict(zip(unseen, loaded, strict=True))
        for profile_id in ids:
            raw = states.get(profile_id)
            try:
                old = self._is_old(self._cache.get(profile_id) if raw is None else self._decode(raw), horizon)
            except Exception as problem:  # it is shut as soon as something comes for it
                log.warning("%s-%d: profile %s can't be read: %r", self._topic, self.partition, profile_id, problem)
                continue
            if old:
                self._forgotten.append(profile_id)
                self.meta.quarantined.pop(profile_id, None)
        forgotten = len(self._forgotten)
        if forgotten:
            await self._commit({}, {})
        return forgotten

    @property
    def untidy(self) -> bool:
        """Whether the store's outbox still holds something that is published."""
        return self._trimmed < self._published

    async def tidy(self) -> None:
        """Trim it, where no other commit does. Not after a failure half way: then the partition is claimed again."""
        if self.untidy and self._whole:
            await self._commit({}, {})

    def _is_old(self, state: State | None, horizon: int) -> bool:
        if isinstance(state, Moved | Parts):
            return state.at < horizon
        if isinstance(state, Quarantined):
            return state.last < horizon
        return state is not None and silent_since(state) < horizon and self._upkeep.wakes_at(state) is None

    async def _run(self, batch: Opened, named: set[str]) -> None:
        """`named`: every profile that the batch names.

        Where computing raises, all is forgotten since the last commit, and is computed again, one profile at a time:
        those that raise are shut (quarantine.py). What raises and is nobody's in particular is raised.
        """
        target = self.target  # it may be aimed further while this runs: the next batch's business
        reached, careful = self.meta.offset, False
        while True:
            before = self.work.copy(), self._incoming.mark(), len(self._quarantine.suspects)
            try:
                more = await self._step(batch, named, target, careful)
            except _Raised as raised:
                self.work, mark, suspects = before
                if careful and len(self._quarantine.suspects) == suspects:
                    raise raised.problem from None
                log.warning("%s-%d: computing again, with care: %r", self._topic, self.partition, raised.problem)
                self._incoming.back_to(mark)
                self._forget()
                self.meta = Meta()
                if self._stored:
                    self._take_up(self._stored)
                self._begin_to_count()
                self.meta.offset = reached
                careful = True
                continue
            batch, named = [], set()
            await self.publish()
            if not more:
                return

    async def _step(self, batch: Opened, named: set[str], target: int, careful: bool) -> bool:
        """Compute, and commit. True: there are more timers that ring before `target`."""
        await self._load(named | self._shut if self._shut else named)
        with self._computing():
            for message, record in batch:
                self._incoming.at = record.offset
                if isinstance(message, Resolved):
                    self._resolved(message, careful)
                elif isinstance(message, Move):
                    self._take_move(message, record, careful)
                else:
                    self._take_forward(message, careful)
        more = False
        again: dict[str, int] = {}
        if target > self.meta.clock:
            more, again = await self._ring(target, careful)
            if not more:
                # What is decided now may be older than the clock is then.
                quiet = self.meta.quiet.items()
                self.meta.quiet = {s: q for s, q in quiet if not q[1] or q[1] >= self.meta.clock}
                self.meta.clock = target
                self._prune()
        with self._computing():
            states, timers = self._decide(max(target, self.meta.clock), careful)
            if self._raised:
                raise self._raised[0]
        for profile_id, error, value in self._quarantine.letters():
            self._incoming.refuse_profile(profile_id, value, error)
        self._outbox += self._incoming.letters()
        await self._commit(states, again | timers)
        for profile_id in self._joined:
            self._cache.pop(profile_id, None)
        self._shut, self._joined = self._joined, set()
        self._quarantine.fresh.clear()
        for reason, n in self._incoming.take().items():
            self.work.dead[reason] = self.work.dead.get(reason, 0) + n
        return more

    async def _ring(self, target: int, careful: bool) -> tuple[bool, dict[str, int]]:
        """Wake profiles whose timers ring before `target`. Returns whether there are more of them, and what is due when
        in those that only get another timer: nothing is yet.
        """
        again: dict[str, int] = {}
        timers, limit = self.timers, SHEETS
        if timers.upto < target:
            ahead = target + AHEAD  # so that not every look at the clock is one into the store
            asked = await self._store.due(self.partition, self._token, timers.upto, ahead, limit)
            while not timers.found(asked, ahead, limit):
                limit *= 2
                asked = await self._store.due(self.partition, self._token, timers.upto, ahead, limit)
        rung, over = timers.ring(min(timers.upto, target), STATES_A_COMMIT // 2)
        self._over |= over
        await self._load(set(rung))
        with self._computing():
            for profile_id in rung:
                state = self._cache.get(profile_id)
                if not isinstance(state, Profile):
                    continue
                state.timer = at = None
                if profile_id in self._dirty:
                    continue
                if careful:
                    with self._guard(profile_id):
                        at = self._upkeep.wakes_at(state)
                else:
                    at = self._upkeep.wakes_at(state)
                if at is not None and at >= target:
                    again[profile_id] = state.timer = at
                elif at is not None:
                    self._dirty[profile_id] = state
        first = timers.first
        return timers.upto < target or (first is not None and first < target), again

    async def _load(self, ids: set[str]) -> None:
        """Into the cache, with whatever profile of this partition they have moved to."""
        if not self._dirty and (self._aging or len(self._cache) > self._cached // 2):
            self._aged, self._cache, self._aging = self._cache, {}, False
        cache, aged = self._cache, self._aged
        wanted = ids
        while wanted:
            if aged:
                for profile_id in wanted.difference(cache):
                    state = aged.pop(profile_id, UNSEEN)
                    if state is not UNSEEN:
                        cache[profile_id] = state
            missing = list(wanted.difference(cache))  # what isn't of this partition isn't found
            if missing:
                found = await self._store.load(self.partition, self._token, missing)
                for profile_id, raw in zip(missing, found, strict=True):
                    state = cache[profile_id] = self._read(profile_id, raw)
                    if isinstance(state, Profile):
                        # One by then was set when this was written. What else may wake it may have been seen otherwise
                        # then, with other rules say: if it is still to be woken for that, it gets one more.
                        # What was quarantined has none any more.
                        state.timer = None if profile_id in self._dirty else state.due
            wanted = {state.winner for state in map(cache.get, wanted) if type(state) is Moved}

    def _read(self, profile_id: str, raw: bytes | None) -> State | None:
        state = self._quarantine.read(profile_id, raw, self._now())
        quarantined = self.meta.quarantined
        if isinstance(state, Quarantined):
            if profile_id in self._quarantine.fresh:
                self._dirty[profile_id] = state
                if len(quarantined) < NAMED:
                    quarantined[profile_id] = state.since
        elif raw is not None and is_mark(raw) and isinstance(state, Profile):  # out of it
            self._add_up()  # it may be two that are one
            quarantined.pop(profile_id, None)
            self._dirty[profile_id] = state
            log.warning("%s-%d: profile %s is out of quarantine", self._topic, self.partition, profile_id)
        return state

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Between two of these others may compute by the same rules."""
        try:
            yield
        except StateLost:
            raise
        except Exception as problem:
            self._upkeep.book.balance.take()  # it is computed again
            raise _Raised(problem) from problem
        self._add_up()

    def _add_up(self) -> None:
        """Into the books what has become of waits."""
        for rule, waits in self._upkeep.book.balance.take().items():
            self.meta.waits[rule] = self.meta.waits.get(rule, NO_WAITS).plus(waits)
            self.work.waits[rule] = self.work.waits.get(rule, NO_WAITS).plus(waits)

    def _now(self) -> int:
        """How far event time is, more or less."""
        return max(self.meta.marks.values(), default=self.meta.clock)

    @contextmanager
    def _guard(self, profile_id: str) -> Iterator[None]:
        """What raises here is this profile's fault."""
        try:
            yield
        except StateLost:
            raise
        except Exception as problem:
            self._quarantine.suspect(profile_id, problem)
            self._raised.append(problem)

    def _here(self, profile_id: str) -> bool:
        """Also what waits for the rest of a move, under the move's id."""
        return ">" in profile_id or partition_of(profile_id, self.partitions) == self.partition

    def _home(self, profile_id: str) -> str:
        """Where a profile is now, as far as this partition knows: follow the marks, also out of it."""
        while isinstance(state := self._cache.get(profile_id), Moved):
            profile_id = state.winner
        return profile_id

    def _resolved(self, message: Resolved[PackedRow], careful: bool) -> None:
        meta, source = self.meta, message.source
        seen = meta.seen.get(source)
        if seen is not None:
            if message.first > seen:
                raise StateLost(
                    f"{self._topic}-{self.partition}, offset {meta.offset - 1}: {source} goes on at {message.first},"
                    f" but this partition has seen it up to {seen} only. Records were lost (retention too short?)."
                    f" Restore Redis and the topic to one moment, or {START_OVER}."
                )
            rows = message.rows if message.first == seen else [r for r in message.rows if r.offset >= seen]
        else:
            rows = message.rows
        if seen is None or message.next > seen:
            meta.seen[source] = message.next
        # A move may hold facts that count from now on: nobody may decide beyond what this partition has read so far.
        # That bound follows from the log alone, so a move that is made again has the same `at`.
        # A source that is new says itself from where on it counts; until then nothing of it is here. What was sent
        # before may matter from there on, too, by a tie that it tells.
        if source not in meta.marks:
            meta.marks[source] = meta.begun[source] = begins = message.before
            meta.sent = {name: (min(at, begins), to) for name, (at, to) in meta.sent.items()}
        at = self._read_upto() if message.merges else 0
        if message.after > meta.marks.get(source, 0):
            meta.marks[source] = message.after
        if message.quiet != NOT_QUIET:
            meta.quiet[source] = message.quiet
        self.work.rows += len(rows)
        if careful:
            for row in rows:
                self._receive_with_care(row)
        else:
            duplicates = self._upkeep.receive_all(rows, self._cache, self._dirty, self._elsewhere)
            self.work.duplicates += duplicates  # and what `_receive` added meanwhile
        for i in range(0, len(message.merges), 2):
            loser, winner = message.merges[i : i + 2]
            with self._guard(self._home(winner)) if careful else NO_GUARD:
                self._merge(loser, winner, at, message.after)

    def _read_upto(self) -> int:
        """What was received before it has been read here from every source."""
        return min((mark for name, mark in self.meta.marks.items() if self._waits_for(name)), default=0)

    def _waits_for(self, source: str) -> bool:
        """Also for one that was added: those who started with it wait for it already."""
        return source.rpartition("-")[0] in self._topics and source not in self._left_out

    def _receive_with_care(self, row: PackedRow) -> None:
        try:
            self._upkeep.receive(new_profile(), row)
            unpack_row(row)
        except Exception as problem:  # whosever it is
            self._incoming.refuse_row(row.raw, InvalidEvent("unreadable_row", f"{type(problem).__name__}: {problem}"))
            return
        with self._guard(self._home(row.root)):
            self._receive(row)

    def _elsewhere(self, row: PackedRow) -> Profile | None:
        """Take in a row whose root is no plain profile here. A new one is returned instead, and is to take it in."""
        profile_id = row.root
        if self._cache.get(profile_id) is None and self._here(profile_id):
            profile = self._cache[profile_id] = new_profile()
            return profile
        self._receive(row)
        return None

    def _receive(self, row: PackedRow) -> None:
        """Take in a row, wherever its profile is."""
        profile_id = row.root
        state = self._cache.get(profile_id)
        if isinstance(state, Moved) or (state is None and not self._here(profile_id)):
            profile_id = self._home(profile_id)
            if not self._here(profile_id):
                # Of two copies that a client made the earlier counts: they are two messages, each with its `at`.
                name = f"{row.fingerprint:x}@{row.received_at}>{profile_id}"
                copy = unpack_row(row)
                copy.root = profile_id
                self._send(Forward(name, row.received_at, copy), profile_id)
                return
            state = self._cache.get(profile_id)
        if state is None:
            state = self._cache[profile_id] = new_profile()
        if isinstance(state, Quarantined):
            if not self._quarantine.keep(state, row):
                self._incoming.refuse_row(row.raw, InvalidEvent("quarantined", f"profile {profile_id} is, and full"))
        elif isinstance(state, Profile):
            if not self._upkeep.receive(state, row):
                self.work.duplicates += 1
        else:
            raise TypeError(f"{profile_id} is no profile")
        self._dirty[profile_id] = state

    def _merge(self, loser: str, winner: str, at: int, now: int) -> None:
        state = self._cache.get(loser)
        if isinstance(state, Moved):  # told again, or otherwise: the graph fell back, and the log remembers
            if state.winner != winner:
                self._cache[loser] = self._dirty[loser] = Moved(winner, now)
                self._unite(state.winner, winner, at, now)
            return
        assert not isinstance(state, Parts)
        self._cache[loser] = self._dirty[loser] = Moved(winner, now)
        self.meta.quarantined.pop(loser, None)
        self.work.moves += 1
        if state is not None:
            self._bring(loser, state, winner, at)

    def _unite(self, one: str, other: str, at: int, now: int) -> None:
        """What was told as one stays one, wherever both are by now. As in the graph the larger id goes to the smaller,
        so marks never lead in a circle; an owner elsewhere is told by a mark that moves to it.
        """
        winner, loser = sorted((self._home(one), self._home(other)))
        if winner != loser and self._here(loser):
            self._merge(loser, winner, at, now)
        elif winner != loser:
            # It may be told more than once, by different ties: these are messages of their own, each with its `at`.
            self._send_profile(f"{winner}>{loser}@{at}", Moved(winner, now), loser, at)

    def _send_profile(self, name: str, state: Profile | Quarantined | Moved, home: str, at: int) -> None:
        known = [marked(source) for source in self.meta.marks]
        for part in moves(name, at, home, encode_profile(state), known):
            self._send(part, home)

    def _bring(self, loser: str, profile: Profile | Quarantined, winner: str, at: int) -> None:
        home = self._home(winner)
        if not self._here(home):
            self._waits_move(profile, 1)
            self._send_profile(f"{loser}>{home}", profile, home, at)
            return
        into = self._cache.get(home)
        assert not isinstance(into, Moved | Parts)
        if isinstance(into, Quarantined) or isinstance(profile, Quarantined):
            state = self._quarantine.join(into, profile, self._now())
            if home in self._quarantine.fresh:
                self._quarantine.fresh[home] = state
            if len(self.meta.quarantined) < NAMED:
                self.meta.quarantined[home] = state.since
            if home not in self._quarantine.suspects:
                self._joined.add(home)
            self._cache[home] = self._dirty[home] = state
            return
        timer = None
        if into is not None:
            timer, profile = into.timer, self._upkeep.merge(into, profile)
        profile.timer = timer
        profile.arrived = bool(self._upkeep.book.arriving)
        self._cache[home] = self._dirty[home] = profile

    def _waits_move(self, profile: Profile | Quarantined, out: int) -> None:
        """With a profile its waits leave (1), or come (-1)."""
        for each in self._quarantine.inside(profile, self._decode):
            for rule, waits in waits_of(self._upkeep.book, each).items():
                self._upkeep.book.balance.add(rule, moved=out * waits)

    def _send(self, message: Move | Forward[Row], home: str) -> None:
        destination = partition_of(home, self.partitions)
        self.meta.sent[message.id] = (message.at, destination)
        headers, value = self._seal.move(message) if isinstance(message, Move) else self._seal.forward(message)
        self._outbox.append(Out(self._topic, destination, None, value, headers))

    def _taken(self, name: str, at: int) -> bool:
        """Whether it came before; if not, it has now."""
        meta = self.meta
        if at < meta.clock or name in meta.taken:
            return True
        meta.taken[name] = at
        return False

    def _take_move(self, message: Move, record: In, careful: bool) -> None:
        if self._taken(message.id, message.at):
            return
        raw: bytes | None = message.profile
        if message.parts > 1:
            raw = self._assembled(message)
            if raw is None:
                return
        try:
            assert raw is not None
            profile = self._decode(raw)
            if isinstance(profile, Parts):
                raise ValueError("not a profile")
            if careful and isinstance(profile, Profile):
                profile.about, profile.persons, profile.buffer  # noqa: B018 - whether they can be read
        except UNREADABLE as problem:
            self._incoming.unreadable(record._replace(value=raw) if message.parts > 1 else record, problem)
            return
        loser, at = message.loser, self._matters(message)
        with self._guard(self._home(message.winner)) if careful else NO_GUARD:
            if isinstance(profile, Moved):
                # Where it has moved itself and is still on its way, that matters as early.
                self.meta.sent = {name: (min(sent_at, at), to) for name, (sent_at, to) in self.meta.sent.items()}
                self._unite(message.winner, profile.winner, at, self._now())
            else:
                self._waits_move(profile, -1)
                self._bring(loser, profile, message.winner, at)

    def _matters(self, message: Move) -> int:
        """From when on a move matters that goes on from here. A source that its sender hadn't heard of when it sent may
        tell ties from where it begins; the sender says so in its own books (`_resolved`), which aren't here.
        """
        at = min(message.at, self._read_upto())
        if message.known is not None:
            known = set(message.known)
            at = min([at, *(begins for source, begins in self.meta.begun.items() if marked(source) not in known)])
        return at

    def _assembled(self, part: Move) -> bytes | None:
        """The profile, with its last part; else the part waits for the others. Of several copies the first counts that
        is there as a whole.
        """
        whole, stored = part.whole, self._cache.get(part.whole)
        if whole in self.meta.taken:
            return None
        parts = stored if isinstance(stored, Parts) else Parts(part.at, {})
        copy = parts.copies.setdefault(part.copy, {})
        copy[part.part] = part.profile
        if len(copy) < part.parts:
            self._cache[whole] = self._dirty[whole] = parts
            return None
        self.meta.taken[whole] = part.at
        self._cache[whole] = None
        self._dirty.pop(whole, None)
        if stored is not None:
            self._forgotten.append(whole)
        return b"".join(copy.get(n, b"") for n in range(part.parts))

    def _take_forward(self, message: Forward[PackedRow], careful: bool) -> None:
        if self._taken(message.id, message.at) or message.row is None:
            return
        if careful:
            self._receive_with_care(message.row)
        else:
            self._receive(message.row)

    def _prune(self) -> None:
        """What everybody has passed need not be named any more."""
        meta = self.meta
        if meta.taken:
            meta.taken = {i: at for i, at in meta.taken.items() if at >= meta.clock}
        if meta.sent:
            meta.sent = {i: (at, to) for i, (at, to) in meta.sent.items() if at >= meta.clock}
        if meta.begun:
            meta.begun = {source: at for source, at in meta.begun.items() if at >= meta.clock}

    def _decide(self, clock: int, careful: bool) -> tuple[States, dict[str, int]]:
        """Whatever is certain before `clock` in the profiles that changed; returns what is to be written of them, and
        when to look at them again.
        """
        quiet = self._quiet if self.meta.quiet else None
        if not careful:
            return self._upkeep.settle(self._dirty, clock, UNFOLDED, self._keep, quiet)
        states: States = {}
        timers: dict[str, int] = {}
        for profile_id, state in self._dirty.items():
            with self._guard(profile_id):
                state_of, timer_of = self._upkeep.settle({profile_id: state}, clock, UNFOLDED, self._keep, quiet)
                states |= state_of
                timers |= timer_of
        return states, timers

    def _keep(self, decision: Output) -> None:
        """Into the outbox."""
        decision.left_out = self._left_out
        if isinstance(decision, SegmentChange):
            decision.published = not self._is_quiet(decision.at, decision.at)
            self._outbox += self._encode_decision(decision)
            self.work.changes[decision.segment, decision.change] += 1
            return
        if self.meta.quiet and decision.retracts is None and decision.recovers is None:
            decision.published = not self._quiet(decision)
        self._outbox += self._encode_decision(decision)
        counted = (decision.rule, decision.outcome)
        self.work.decisions[counted] = self.work.decisions.get(counted, 0) + 1

    def _quiet(self, decision: Decision) -> bool:
        """Whether nobody shall act on it: it was due in the time of a recording that is ingested without triggers. What
        takes a trigger back, or is its success, goes where that went.
        """
        return self._is_quiet(decision.due_at, decision.decided_at)

    def _is_quiet(self, due_at: int, decided_at: int) -> bool:
        return any(due_at < before and (not until or decided_at <= until) for before, until in self.meta.quiet.values())

    async def _commit(self, states: States, timers: dict[str, int]) -> None:
        for profile_id in self._forgotten:
            states[profile_id] = None
            self._cache.pop(profile_id, None)
            self._aged.pop(profile_id, None)
        self.meta.earlier = self._earlier()
        sheets = self.timers.set(timers, self.meta.sheets)
        self.meta.sheets += len(sheets)
        self.meta.timers += len(timers) - sum(self._over.values())
        self._commits += 1
        token, meta = f"{self._name}{self._commits:x}", encode_meta(self.meta)
        began = time.perf_counter()
        await self._store.commit(
            self.partition,
            Commit(
                fence=self._fence,
                expected=self._token,
                token=token,
                meta=meta,
                states=states,
                timers={**dict.fromkeys(self._over), **sheets},
                outbox=[encode_out(out) for out in self._outbox],
                tail=self._tail,
                trim=self._published,
            ),
        )
        self.work.commits_s.append(time.perf_counter() - began)
        self._token, self._stored, self._trimmed = token, meta, self._published
        self._tail += len(self._outbox)
        self._pending += self._outbox
        self._outbox = []
        self._forgotten = []
        self._over = {}
        self._dirty.clear()
