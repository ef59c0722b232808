"""Second hop: one partition of `identity.resolved` -> profiles, timers, outbox -> triggers and decisions.

A batch, step by step, and what a crash right after each leaves behind:

1. drop records below the position, load the touched profiles     nothing
2. compute                                                         nothing
3. one commit: states, timers, outbox, meta; checks fence, token   all of it: the outbox holds what was not published
4. publish the outbox, in order                                    published entries again, under the same ids
5. the next commit trims what was published                        -

On any failure caches are dropped and the partition is claimed again: its position, and what stands in its outbox, are
read back from the store, so a lost reply and a lost commit are the same case.

Profiles that merge move between partitions as messages in `identity.resolved`, told apart by what they are (`id`).
`Meta.sent` and `Meta.taken` name them, with the time `at` from which they matter: `runtime/watermark.py` lets no
partition decide at or after the `at` of a message that is under way. Whatever comes with an older `at` than the
partition's clock has been taken before, and is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from secrets import token_hex
from typing import Any

import msgspec

from pipeline.errors import StateLost
from pipeline.flow import NOT_QUIET, Forward, Move, Packed, Resolved, decode_packed, encode, partition_of, source_names
from pipeline.profile.packed import PackedRow, pack_row, rows_of, unpack_row
from pipeline.profile.profile import (
    Moved,
    Profile,
    advance,
    decode,
    encode_profile,
    merge,
    new_profile,
    receive_all,
    receive_packed,
    settle,
    silent_since,
    wakes_at,
)
from pipeline.profile.timers import Timers
from pipeline.runtime.ports import In, Out, Sender
from pipeline.store.ports import Commit, ProfileStore
from pipeline.topology.model import Topology
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook

STATES_A_COMMIT = 5_000  # Redis does nothing else while it takes them in, some kilobyte each
ROWS_A_COMMIT = 20_000  # behind one another in a backlog: what each changes of a profile is written once
CACHED = 400_000  # profiles in memory, by a worker that owns every partition: some kilobyte each
SWEPT = 200
UNFOLDED = 4  # events that a profile keeps for later: to fold several costs hardly more than one
UNSEEN: Any = object()
SHEETS = 100  # of timers, to ask for at once
FORMAT = 3  # of what is stored

Message = Resolved[PackedRow] | Move | Forward
States = dict[str, bytes | None]
EncodeDecision = Callable[[Decision], list[Out]]


class Meta(msgspec.Struct, array_like=True, gc=False):
    """A partition's own books, committed with its state.

    `offset`: next to read. `seen`: source -> next source offset. `marks`: source -> watermark. `clock`: everything
    before it is decided. `sent`: message id -> [at, destination partition]; `taken`: message id -> at. `timers`: how
    many are set; `sheets`: number of the next sheet of them. `quiet`: source -> [before, since,
    until]: what was due before the first is not published while the clock goes from the second to the third (0: on).
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
    quiet: dict[str, tuple[int, int, int]] = {}


root_of = attrgetter("root")
encode_meta = msgspec.msgpack.Encoder().encode
decode_meta = msgspec.msgpack.Decoder(Meta).decode
encode_out = msgspec.msgpack.Encoder().encode
decode_out = msgspec.msgpack.Decoder(Out).decode


class Work:
    """What one batch did, for metrics."""

    def __init__(self) -> None:
        self.rows = 0
        self.duplicates = 0
        self.decisions: dict[tuple[str, str], int] = {}
        self.commits_s: list[float] = []
        self.moves = 0


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
    ) -> None:
        self.partition = partition
        self.partitions = topology.topics.resolved.partitions
        self.meta = Meta()
        self.target = 0  # the clock up to which this partition may decide now
        self.catch_up_to = 0  # no advance before this offset is read: see claim()
        self.timers = Timers()
        self.work = Work()
        self._topic = topology.topics.resolved.name
        self._sources = source_names(topology)
        self._left_out = list(topology.left_out)
        self._book = book
        self._store = store
        self._sender = sender
        self._encode_decision = encode_decision
        self._cached = CACHED // self.partitions if cached is None else cached
        self._fence = 0
        self._token = ""
        self._head = 0
        self._pending: list[Out] = []
        self._tail = 0
        self._published = 0
        self._cache: dict[str, Profile | Moved | None] = {}
        self._dirty: dict[str, Profile | Moved] = {}
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
        self._cache.clear()
        self._dirty.clear()
        self.timers, self._over = Timers(), {}
        self._outbox, self._forgotten = [], []
        self._fence, self._token = claimed.fence, claimed.token
        self._pending = [decode_out(entry) for entry in claimed.outbox]
        self._head = self._published = claimed.head
        self._tail = claimed.head + len(claimed.outbox)
        self.target = 0
        if claimed.meta is None:
            self.meta = Meta()
            return None
        self.meta = decode_meta(claimed.meta)
        if self.meta.format != FORMAT:
            raise StateLost(
                f"partition {self.partition}: what Redis holds was written in format {self.meta.format}, and this"
                f" version reads format {FORMAT} only. Go on with the version that wrote it,"
                " or start over with a new group."
            )
        return self.meta.offset

    def start_at(self, offset: int) -> None:
        """Where a partition begins that has no state."""
        self.meta.offset = offset

    async def publish(self) -> None:
        """Publish what is committed and not yet published. Also the first thing after a claim."""
        if self._pending:
            await self._sender.send(self._pending)
            self._pending = []
        self._published = self._tail

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
        self.work = Work()
        batch: list[Message] = []
        named: set[str] = set()
        rows = 0
        for record in records:
            if record.offset < self.meta.offset or record.value is None:
                continue
            message = decode_packed(record.value)
            if isinstance(message, Packed):
                m, of = message, rows_of(bytes(message.rows))
                rows += len(of)
                named.update(map(root_of, of))
                named.update(m.merges)
                batch.append(Resolved(m.source, m.first, m.next, m.before, m.after, of, m.merges, m.quiet))
            else:
                named.add(message.winner if isinstance(message, Move) else message.row.root)
                batch.append(message)
            self.meta.offset = record.offset + 1
            if len(named) >= STATES_A_COMMIT or rows >= ROWS_A_COMMIT:
                await self._run(batch, named)
                batch, named, rows = [], set(), 0
        if batch:
            await self._run(batch, named)

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
            self.work = Work()
            await self._run([], set())

    async def sweep(self) -> int:
        """Look at some profiles, and forget those that were silent for as long as the topology says. Returns how many.

        A wait that is still open keeps its profile.
        """
        horizon = self.meta.clock - self._book.retention
        if horizon <= 0:
            return 0
        self._cursor, ids = await self._store.walk(self.partition, self._cursor, SWEPT)
        unseen = [i for i in ids if i not in self._cache]
        loaded = await self._store.load(self.partition, self._token, unseen)
        states = {i: decode(raw) for i, raw in zip(unseen, loaded, strict=True) if raw is not None}
        for profile_id in ids:
            state = states.get(profile_id) or self._cache.get(profile_id)
            if isinstance(state, Moved):
                old = state.at < horizon
            else:
                old = state is not None and silent_since(state) < horizon and wakes_at(self._book, state) is None
            if old:
                self._forgotten.append(profile_id)
        forgotten = len(self._forgotten)
        if forgotten:
            await self._commit({}, {})
        return forgotten

    async def _run(self, batch: list[Message], named: set[str]) -> None:
        """`named`: every profile that the batch names."""
        target = self.target  # it may be aimed further while this runs: the next batch's business
        await self._load(named)
        for message in batch:
            if isinstance(message, Resolved):
                self._resolved(message)
            elif isinstance(message, Move):
                self._take_move(message)
            else:
                self._take_forward(message)
        while True:
            more = False
            again: dict[str, int] = {}
            if target > self.meta.clock:
                more, again = await self._ring(target)
                if not more:
                    # What is decided now may be older than the clock is then.
                    quiet = self.meta.quiet.items()
                    self.meta.quiet = {s: q for s, q in quiet if not q[2] or q[2] >= self.meta.clock}
                    self.meta.clock = target
                    self._prune()
            states, timers = self._decide(max(target, self.meta.clock))
            await self._commit(states, again | timers)
            await self.publish()
            if not more:
                return

    async def _ring(self, target: int) -> tuple[bool, dict[str, int]]:
        """Wake profiles whose timers ring before `target`. Returns whether there are more of them, and what is due when
        in those that only get another timer: nothing is yet.
        """
        again: dict[str, int] = {}
        timers, limit = self.timers, SHEETS
        if timers.upto < target:
            asked = await self._store.due(self.partition, self._token, timers.upto, target, limit)
            while not timers.found(asked, target, limit):
                limit *= 2
                asked = await self._store.due(self.partition, self._token, timers.upto, target, limit)
        rung, over = timers.ring(min(timers.upto, target), STATES_A_COMMIT // 2)
        self._over |= over
        await self._load(set(rung))
        for profile_id in rung:
            state = self._cache.get(profile_id)
            if not isinstance(state, Profile):
                continue
            state.timer = None
            if profile_id not in self._dirty:
                at = wakes_at(self._book, state)
                if at is not None and at >= target:
                    again[profile_id] = state.timer = at
                elif at is not None:
                    self._dirty[profile_id] = state
        first = timers.first
        return timers.upto < target or (first is not None and first < target), again

    async def _load(self, ids: set[str]) -> None:
        """Into the cache, with whatever profile of this partition they have moved to."""
        cache = self._cache
        if len(cache) > self._cached and not self._dirty:
            for old in list(cache)[: self._cached // 2]:
                del cache[old]
        wanted = ids
        while wanted:
            missing: list[str] = []
            moved: list[str] = []
            for profile_id in wanted:
                state = cache.get(profile_id, UNSEEN)
                if state is UNSEEN:
                    if self._here(profile_id):
                        missing.append(profile_id)
                elif isinstance(state, Moved):
                    moved.append(state.winner)
            if missing:
                found = await self._store.load(self.partition, self._token, missing)
                for profile_id, raw in zip(missing, found, strict=True):
                    state = cache[profile_id] = None if raw is None else decode(raw)
                    if isinstance(state, Profile):
                        # One by then was set when this was written. What else may wake it may have been seen otherwise
                        # then, with other rules say: if it is still to be woken for that, it gets one more.
                        state.timer = state.due
                    elif state is not None:
                        moved.append(state.winner)
            wanted = set(moved)

    def _here(self, profile_id: str) -> bool:
        return partition_of(profile_id, self.partitions) == self.partition

    def _home(self, profile_id: str) -> str:
        """Where a profile is now, as far as this partition knows: follow the marks, also out of it."""
        while isinstance(state := self._cache.get(profile_id), Moved):
            profile_id = state.winner
        return profile_id

    def _resolved(self, message: Resolved[PackedRow]) -> None:
        meta, source = self.meta, message.source
        seen = meta.seen.get(source)
        if seen is not None:
            if message.first > seen:
                raise StateLost(
                    f"{self._topic}-{self.partition}, offset {meta.offset - 1}: {source} goes on at {message.first},"
                    f" but this partition has seen it up to {seen} only. Records were lost (retention too short?)."
                    f" Restore Redis and the topic to one moment, or start over with a new group."
                )
            rows = message.rows if message.first == seen else [r for r in message.rows if r.offset >= seen]
        else:
            rows = message.rows
        if seen is None or message.next > seen:
            meta.seen[source] = message.next
        # A move may hold facts that count from now on: nobody may decide beyond what this partition has read so far.
        # That bound follows from the log alone, so a move that is made again has the same `at`.
        at = min(meta.marks.get(name, 0) for name in self._sources)
        if message.after > meta.marks.get(source, 0):
            meta.marks[source] = message.after
        if message.quiet != NOT_QUIET:
            before, until = message.quiet
            _, since, _ = meta.quiet.get(source, (0, meta.clock, 0))
            meta.quiet[source] = (before, since, until)
        self.work.rows += len(rows)
        duplicates = receive_all(self._book, rows, self._cache, self._dirty, self._receive)
        self.work.duplicates += duplicates  # and what `_receive` added meanwhile
        for i in range(0, len(message.merges), 2):
            self._merge(message.merges[i], message.merges[i + 1], at, message.after)

    def _receive(self, row: PackedRow) -> None:
        """Take in a row, wherever its profile is."""
        profile_id = row.root
        state = self._cache.get(profile_id)
        if isinstance(state, Moved) or (state is None and not self._here(profile_id)):
            profile_id = self._home(profile_id)
            if not self._here(profile_id):
                # Of two copies that a client made the earlier counts: they are two messages, each with its `at`.
                name = f"{row.fingerprint:x}@{row.received_at}>{profile_id}"
                self._send(Forward(name, row.received_at, unpack_row(row)), profile_id)
                return
            state = self._cache.get(profile_id)
            assert not isinstance(state, Moved)
        if state is None:
            state = self._cache[profile_id] = new_profile()
        if not receive_packed(self._book, state, row):
            self.work.duplicates += 1
        self._dirty[profile_id] = state

    def _merge(self, loser: str, winner: str, at: int, now: int) -> None:
        state = self._cache.get(loser)
        if isinstance(state, Moved):
            return  # told again
        self._cache[loser] = self._dirty[loser] = Moved(winner, now)
        self.work.moves += 1
        if state is not None:
            self._bring(loser, state, winner, at)

    def _bring(self, loser: str, profile: Profile, winner: str, at: int) -> None:
        home = self._home(winner)
        if not self._here(home):
            self._send(Move(f"{loser}>{home}", at, home, encode_profile(profile)), home)
            return
        into = self._cache.get(home)
        assert not isinstance(into, Moved)
        timer = None
        if into is not None:
            timer, profile = into.timer, merge(self._book, into, profile)
        profile.timer = timer
        self._cache[home] = self._dirty[home] = profile

    def _send(self, message: Move | Forward, home: str) -> None:
        if isinstance(message, Forward):
            message.row.root = home
        destination = partition_of(home, self.partitions)
        self.meta.sent[message.id] = (message.at, destination)
        self._outbox.append(Out(self._topic, destination, None, encode(message), []))

    def _taken(self, message: Move | Forward) -> bool:
        """Whether it came before; if not, it has now."""
        meta = self.meta
        if message.at < meta.clock or message.id in meta.taken:
            return True
        meta.taken[message.id] = message.at
        return False

    def _take_move(self, message: Move) -> None:
        if not self._taken(message):
            profile = decode(message.profile)
            assert isinstance(profile, Profile)
            self._bring(message.id.partition(">")[0], profile, message.winner, message.at)

    def _take_forward(self, message: Forward) -> None:
        if not self._taken(message):
            self._receive(pack_row(message.row))

    def _prune(self) -> None:
        """What everybody has passed need not be named any more."""
        meta = self.meta
        if meta.taken:
            meta.taken = {i: at for i, at in meta.taken.items() if at >= meta.clock}
        if meta.sent:
            meta.sent = {i: (at, to) for i, (at, to) in meta.sent.items() if at >= meta.clock}

    def _decide(self, clock: int) -> tuple[States, dict[str, int]]:
        """Whatever is certain before `clock` in the profiles that changed; returns what is to be written of them, and
        when to look at them again.
        """

        def look(profile_id: str, profile: Profile) -> None:
            for decision in advance(self._book, profile, clock):
                self._keep(profile_id, decision)

        return settle(self._book, self._dirty, clock, UNFOLDED, look)

    def _keep(self, profile_id: str, decision: Decision) -> None:
        """Into the outbox."""
        decision.profile_id = decision.profile_id or profile_id
        decision.left_out = self._left_out
        if self.meta.quiet:
            decision.published = not any(self._quiet(decision, *quiet) for quiet in self.meta.quiet.values())
        self._outbox += self._encode_decision(decision)
        counted = (decision.rule, decision.outcome)
        self.work.decisions[counted] = self.work.decisions.get(counted, 0) + 1

    def _quiet(self, decision: Decision, before: int, since: int, until: int) -> bool:
        """Whether nobody shall act on it. Who was told of a trigger shall be told that it is retracted, too."""
        told = decision.outcome == "retracted" and decision.due_at + self._book.lateness < since
        return decision.due_at < before and not told and (not until or decision.decided_at <= until)

    async def _commit(self, states: States, timers: dict[str, int]) -> None:
        for profile_id in self._forgotten:
            states[profile_id] = None
            self._cache.pop(profile_id, None)
        sheets = self.timers.set(timers, self.meta.sheets)
        self.meta.sheets += len(sheets)
        self.meta.timers += len(timers) - sum(self._over.values())
        token = token_hex(8)
        began = time.perf_counter()
        await self._store.commit(
            self.partition,
            Commit(
                fence=self._fence,
                expected=self._token,
                token=token,
                meta=encode_meta(self.meta),
                states=states,
                timers={**dict.fromkeys(self._over), **sheets},
                outbox=[encode_out(out) for out in self._outbox],
                tail=self._tail,
                trim=self._published,
            ),
        )
        self.work.commits_s.append(time.perf_counter() - began)
        self._token = token
        self._tail += len(self._outbox)
        self._pending += self._outbox
        self._outbox = []
        self._forgotten = []
        self._over = {}
        self._dirty.clear()
