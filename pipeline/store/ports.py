"""What the two hops ask of a store. Redis and memory both pass `tests/contract`.

All times are UTC ms. Profile ids are 16 lower-case base32 characters. A *token* is an opaque string that a partition's
owner writes with every commit and expects to find at the next one.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from pipeline.errors import OtherDeployment
from pipeline.identity.asks import Answer, Ask


class Home(msgspec.Struct, frozen=True):
    """The Kafka that state belongs to: its offsets mean nothing elsewhere. Stored beside it, as JSON.

    `cluster`: the cluster's id. `resolved`, `partitions`: the topic between the hops, and how many it has. `sources`:
    the source topics; some may come and go in a deployment's life, all of them at once can't.
    """

    cluster: str
    resolved: str
    partitions: int
    sources: tuple[str, ...]

    def takes(self, stored: bytes) -> bool:
        """Whether state with this stamp is ours, though the stamp isn't just this one."""
        try:
            other = msgspec.json.decode(stored, type=Home)
        except msgspec.MsgspecError:
            return False
        here, there = ((h.cluster, h.resolved, h.partitions) for h in (self, other))
        return here == there and not set(self.sources).isdisjoint(other.sources)

    def refuse(self, group: str, stored: bytes) -> OtherDeployment:
        """What to say where it isn't."""
        try:
            theirs = str(msgspec.json.decode(stored, type=Home))
        except msgspec.MsgspecError:
            theirs = stored.decode("utf-8", "replace")
        return OtherDeployment(
            f"what Redis holds for group {group!r} belongs to {theirs}; this worker is set to {self}. Nothing of it"
            " was touched. If this is another deployment, give it a `group` of its own (PIPELINE_GROUP) or another"
            " Redis database (redis://.../1 in `redis`, or PIPELINE_REDIS). If it is the same one, set `kafka` and"
            " `topics` in topology.yaml back to what they were."
        )

    def __str__(self) -> str:
        return (
            f"Kafka cluster {self.cluster}, {self.resolved} with {self.partitions} partitions, sources"
            f" {', '.join(self.sources)}"
        )


class Recording(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A recording that one source partition was told of. `since`, `heard`: when it began and said its last word, by the
    control topic's timestamps. `through`: how far it is. `quiet`: see words.Word.
    """

    id: str
    since: int
    heard: int
    through: int = 0
    quiet: int = 0


class SourcePosition(msgspec.Struct, array_like=True, gc=False):
    """Where the first hop stands in one source partition: next offset, largest received_at read, whether `recording`
    keeps it from following the clock. `control`: next offset of the control topic; everything before it is obeyed.
    """

    offset: int = 0
    high: int = 0
    held: bool = False
    control: int = 0
    recording: Recording | None = None


class Skip(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """An operator's word: what is bad before `offset` of a source partition becomes dead letters, however much it is.
    `by`, `at`: who said so, and when (UTC ms, by their clock).
    """

    offset: int
    by: str
    at: int


class GraphStore(Protocol):
    """The identity graph and the first hop's positions, which move and fall back together."""

    async def settle(self) -> None:
        """Stamp the state with its Home, if it has no stamp. Raises OtherDeployment, and changes nothing, where it has
        another's; so does `claim`.
        """

    async def claim(self, source: str, token: str) -> SourcePosition | None:
        """Take the source partition over: store `token`, return its position (None: never seen)."""

    async def resolve(
        self, source: str, expected: str, token: str, done: SourcePosition, asks: list[Ask]
    ) -> tuple[list[Answer], int, int]:
        """One script: check that the stored token is `expected` (or `token`: a retry), store `token` and `done` (the
        position after the *previous* batch), then look up, check and tie every Ask in order.

        Returns (answers, shared, high): `shared` counts the device hand-overs ever recorded (a change by somebody else
        means: drop what you cached); `high` is the largest `high` of any source. Raises CommitRejected.
        """

    async def position(self, source: str) -> SourcePosition | None:
        """Where it stands, for a reader that owns nothing (None: never seen)."""

    async def skipped(self, source: str) -> Skip | None:
        """The last `skip` of a source partition."""

    async def skip(self, source: str, skip: Skip) -> None:
        """Keep it in place of the last one, for whoever owns the source partition."""

    async def root(self, leaf: str) -> str:
        """The profile id that an identifier's leaf id belongs to now."""


class Commit(msgspec.Struct, kw_only=True):
    """One atomic change of a second-hop partition. Absolute values only.

    `states`: profile id -> bytes, or None to delete. `timers`: sheet (profile/timers.py) -> when the first on it rings
    (ms), or None to remove.
    `outbox`: entries to append; `tail` is the number of the first of them (entries are numbered from 0 for ever).
    `trim`: entries below this number are published and go. `meta`: the owner's own bytes.
    """

    fence: int
    expected: str
    token: str
    meta: bytes
    states: dict[str, bytes | None]
    timers: dict[bytes, int | None]
    outbox: list[bytes]
    tail: int
    trim: int


class Claimed(msgspec.Struct, kw_only=True):
    """What an owner finds: `meta` None when the partition never had state; outbox entries from number `head` on."""

    fence: int
    token: str
    meta: bytes | None
    head: int
    outbox: list[bytes]


class ProfileStore(Protocol):
    """Profiles, timers and outbox of the second hop's partitions."""

    async def claim(self, partition: int) -> Claimed:
        """Raise the fence by one, change nothing else, and read. Raises OtherDeployment, and changes nothing."""

    async def load(self, partition: int, token: str, ids: list[str]) -> list[bytes | None]:
        """States, in the order of `ids`, as the commit `token` (the owner's last; "": none yet) left them.

        Raises CommitRejected if the store stands at another token. That a commit checks it isn't enough: while another
        owner's commit stands there, this one would read that one's states; if the store then falls back to `token`,
        what was made of them would be committed.
        """

    async def due(self, partition: int, token: str, since: int, before: int, limit: int) -> list[bytes]:
        """Up to `limit` sheets of timers whose first is >= `since` and < `before`, earliest first, as the commit
        `token` left them.

        Raises CommitRejected if the store stands at another token: for the reason see `load`. (Another owner's commit
        may have decided what is due, so that it no longer shows.)
        """

    async def peek(self, partition: int, ids: list[str]) -> list[bytes | None]:
        """States as they happen to be, for a reader that owns nothing and commits nothing."""

    async def walk(self, partition: int, cursor: int, count: int) -> tuple[int, list[str]]:
        """Some `count` profile ids from `cursor` on, and the next cursor; 0 begins, and comes again at the end.

        Every profile that is there throughout is met once or more in a round.
        """

    async def commit(self, partition: int, commit: Commit) -> None:
        """Apply all or nothing. A repeated call with the same `token` is a no-op. Raises CommitRejected, Fenced."""

    async def metas(self, partitions: int) -> list[bytes | None]:
        """The `meta` of every partition 0..partitions-1."""

    async def earliest(self, partition: int, since: int) -> int | None:
        """When the first sheet of timers rings of those that begin at `since` or later: for metrics."""

    async def begun(self, partition: int, since: int, before: int, limit: int) -> list[bytes]:
        """Up to `limit` sheets of timers whose first is >= `since` and < `before`, the latest: for metrics."""
