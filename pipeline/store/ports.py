"""What the two hops ask of a store. Redis and memory both pass `tests/contract`.

All times are UTC ms. Profile ids are 16 lower-case base32 characters. A *token* is an opaque string that a partition's
owner writes with every commit and expects to find at the next one.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from pipeline.identity.asks import Answer, Ask


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


class GraphStore(Protocol):
    """The identity graph and the first hop's positions, which move and fall back together."""

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
        """Raise the fence by one, change nothing else, and read."""

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
