"""Both stores in memory, for replay, tests and the simulation: the same rules as in Redis, kept by the same suite.

`snapshot()` returns a copy of everything, `restore()` puts it back (as often as wanted): a store that falls back.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import msgspec

from pipeline.errors import CommitRejected, Fenced
from pipeline.identity.asks import Answer, Ask
from pipeline.identity.graph import HOUSEHOLD, Graph, compile_namespaces
from pipeline.store.ports import Claimed, Commit, Skip, SourcePosition
from pipeline.topology.model import Identifiers


class _Source(msgspec.Struct, frozen=True):
    token: str
    position: SourcePosition | None  # None: claimed, but no batch yet


class GraphSnapshot(msgspec.Struct, frozen=True):
    """A copy of a MemoryGraphStore."""

    graph: Graph
    sources: dict[str, _Source]
    skips: dict[str, Skip]
    high: int


class MemoryGraphStore:
    """See `ports.GraphStore`."""

    def __init__(self, identifiers: Identifiers, household: int = HOUSEHOLD) -> None:
        self.namespaces = compile_namespaces(identifiers)
        self.graph = Graph(household)
        self._sources: dict[str, _Source] = {}
        self._skips: dict[str, Skip] = {}
        self._high = 0

    async def settle(self) -> None:
        """It is whose memory it is in."""

    async def claim(self, source: str, token: str) -> SourcePosition | None:
        """See `ports.GraphStore.claim`."""
        found = self._sources.get(source)
        position = found.position if found else None
        self._sources[source] = _Source(token, position)
        return msgspec.structs.replace(position) if position else None

    async def resolve(
        self, source: str, expected: str, token: str, done: SourcePosition, asks: list[Ask]
    ) -> tuple[list[Answer], int, int]:
        """See `ports.GraphStore.resolve`."""
        stored = self._sources.get(source)
        if stored is None or stored.token not in (expected, token):
            raise CommitRejected(
                f"identity graph, source {source}: token is {stored and stored.token!r}, expected {expected!r}"
            )
        self._sources[source] = _Source(token, msgspec.structs.replace(done))
        answers = [self.graph.resolve(source, ask, self.namespaces) for ask in asks]
        self._high = max(self._high, done.high)
        return answers, self.graph.shared, self._high

    async def position(self, source: str) -> SourcePosition | None:
        """See `ports.GraphStore.position`."""
        found = self._sources.get(source)
        return msgspec.structs.replace(found.position) if found and found.position else None

    async def skipped(self, source: str) -> Skip | None:
        """See `ports.GraphStore.skipped`."""
        return self._skips.get(source)

    async def skip(self, source: str, skip: Skip) -> None:
        """See `ports.GraphStore.skip`."""
        self._skips[source] = skip

    async def root(self, leaf: str) -> str:
        """See `ports.GraphStore.root`."""
        return self.graph.root(leaf)

    def snapshot(self) -> GraphSnapshot:
        """A copy of everything."""
        return GraphSnapshot(self.graph.copy(), self._sources.copy(), self._skips.copy(), self._high)

    def restore(self, snapshot: GraphSnapshot) -> None:
        """Be as it was when `snapshot` was taken."""
        self.graph = snapshot.graph.copy()
        self._sources = snapshot.sources.copy()
        self._skips = snapshot.skips.copy()
        self._high = snapshot.high


class _Partition:
    """One partition's keys."""

    def __init__(self) -> None:
        self.fence = 0
        self.token = ""
        self.meta: bytes | None = None
        self.head = 0
        self.outbox: list[bytes] = []
        self.states: dict[str, bytes] = {}
        self.timers: dict[bytes, int] = {}
        self.by_time: list[tuple[int, bytes]] = []  # the same, sorted

    def copy(self) -> _Partition:
        other = _Partition()
        other.fence, other.token, other.meta, other.head = self.fence, self.token, self.meta, self.head
        other.outbox, other.states, other.timers = self.outbox.copy(), self.states.copy(), self.timers.copy()
        other.by_time = self.by_time.copy()
        return other

    def due(self, since: int, before: int, limit: int) -> list[bytes]:
        first, end = (bisect_left(self.by_time, (at, b"")) for at in (since, before))
        return [sheet for _, sheet in self.by_time[first : min(end, first + limit)]]

    def set_timer(self, sheet: bytes, due: int | None) -> None:
        old = self.timers.pop(sheet, None)
        if old is not None:
            del self.by_time[bisect_left(self.by_time, (old, sheet))]
        if due is not None:
            self.timers[sheet] = due
            insort(self.by_time, (due, sheet))


class MemoryProfileStore:
    """See `ports.ProfileStore`."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def _partition(self, partition: int) -> _Partition:
        return self._partitions.setdefault(partition, _Partition())

    def _owned(self, partition: int, token: str) -> _Partition:
        keys = self._partition(partition)
        if keys.token != token:
            raise CommitRejected(f"partition {partition}: token is {keys.token!r}, not this owner's {token!r}")
        return keys

    async def claim(self, partition: int) -> Claimed:
        """See `ports.ProfileStore.claim`."""
        keys = self._partition(partition)
        keys.fence += 1
        return Claimed(fence=keys.fence, token=keys.token, meta=keys.meta, head=keys.head, outbox=keys.outbox.copy())

    async def load(self, partition: int, token: str, ids: list[str]) -> list[bytes | None]:
        """See `ports.ProfileStore.load`."""
        states = self._owned(partition, token).states
        return [states.get(profile) for profile in ids]

    async def due(self, partition: int, token: str, since: int, before: int, limit: int) -> list[bytes]:
        """See `ports.ProfileStore.due`."""
        return self._owned(partition, token).due(since, before, limit)

    async def peek(self, partition: int, ids: list[str]) -> list[bytes | None]:
        """See `ports.ProfileStore.peek`."""
        states = self._partition(partition).states
        return [states.get(profile) for profile in ids]

    async def walk(self, partition: int, cursor: int, count: int) -> tuple[int, list[str]]:
        """See `ports.ProfileStore.walk`."""
        ids = sorted(self._partition(partition).states)
        found = ids[cursor : cursor + count]
        return (cursor + count if cursor + count < len(ids) else 0), found

    async def commit(self, partition: int, commit: Commit) -> None:
        """See `ports.ProfileStore.commit`."""
        keys = self._partition(partition)
        if keys.fence > commit.fence:
            raise Fenced(f"partition {partition}: fence is {keys.fence}, this owner has {commit.fence}")
        if keys.token == commit.token:
            return
        tail = keys.head + len(keys.outbox)
        if keys.token != commit.expected or commit.tail != tail or commit.trim > tail + len(commit.outbox):
            raise CommitRejected(
                f"partition {partition}: token is {keys.token!r}, outbox {keys.head} to {tail};"
                f" expected {commit.expected!r}, tail {commit.tail}, trim {commit.trim}"
            )
        keys.fence, keys.token, keys.meta = commit.fence, commit.token, commit.meta
        for profile, state in commit.states.items():
            if state is None:
                keys.states.pop(profile, None)
            else:
                keys.states[profile] = state
        for sheet, due in commit.timers.items():
            keys.set_timer(sheet, due)
        keys.outbox += commit.outbox
        if commit.trim > keys.head:
            del keys.outbox[: commit.trim - keys.head]
            keys.head = commit.trim

    async def metas(self, partitions: int) -> list[bytes | None]:
        """See `ports.ProfileStore.metas`."""
        return [self._partition(partition).meta for partition in range(partitions)]

    async def earliest(self, partition: int, since: int) -> int | None:
        """See `ports.ProfileStore.earliest`."""
        keys = self._partition(partition)
        found = keys.due(since, 1 << 62, 1)
        return keys.timers[found[0]] if found else None

    async def begun(self, partition: int, since: int, before: int, limit: int) -> list[bytes]:
        """See `ports.ProfileStore.begun`."""
        return self._partition(partition).due(since, before, 1 << 62)[-limit:][::-1]

    def snapshot(self, partition: int | None = None) -> dict[int, _Partition]:
        """A copy of everything, or of one partition."""
        chosen = self._partitions if partition is None else {partition: self._partition(partition)}
        return {number: keys.copy() for number, keys in chosen.items()}

    def restore(self, snapshot: dict[int, _Partition], partition: int | None = None) -> None:
        """Be as it was when `snapshot` was taken: everything, or one partition of it."""
        if partition is None:
            self._partitions = {number: keys.copy() for number, keys in snapshot.items()}
        elif partition in snapshot:
            self._partitions[partition] = snapshot[partition].copy()
        else:
            self._partitions.pop(partition, None)
