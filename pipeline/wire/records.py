"""What lies between the hops: records of `identity.resolved`.

A record of ours is recognised, not assumed. Its headers say whose it is and keep the books: what a partition must know
of it, whether its value can be read or not.

    pipeline.group    the deployment
    pipeline.format   of books and value, a number
    pipeline.books    a message without its value, as MessagePack: which source offsets it covers, watermarks, merges;
                      or the id of a move or forward, and from when it matters
    value             the rows; the profile that moves; the row that is forwarded
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from zlib import crc32

import msgspec
from xxhash import xxh3_64_hexdigest

from pipeline.errors import OTHER_VERSION, InvalidEvent, StateLost
from pipeline.events.compiled import Open, deal
from pipeline.wire.row import Row, array_head

FORMAT = 5  # of these records, and of what is stored
MORE = 6  # of a partition's books that say what format 5 knows nothing of: who reads that alone leaves it
GROUP, VERSION, BOOKS = "pipeline.group", "pipeline.format", "pipeline.books"
RECORD_BYTES = 900_000
PART_BYTES = 890_000  # what a record's headers leave of that
NOT_QUIET = (0, 0)

Headers = list[tuple[str, bytes]]
R = TypeVar("R")


class Resolved(msgspec.Struct, Generic[R], array_like=True, gc=False, tag="r"):
    """What one batch of one source partition means to one partition of `identity.resolved`, empty or not.

    It covers source offsets `first` <= offset < `next`. `before` and `after`: the source partition's watermark before
    and after it, UTC ms (0: none yet). `rows`: the value. `merges`: flat [loser, winner, ...], of losers that this
    partition owns. `quiet`: (before, until), UTC ms: what was due before the first and is decided up to the second (0:
    for as long as nothing else is told) is not published on `triggers`. (0, 0): as it was.
    """

    source: str
    first: int
    next: int
    before: int
    after: int
    rows: list[R]
    merges: list[str]
    quiet: tuple[int, int] = NOT_QUIET


class Move(msgspec.Struct, array_like=True, gc=False, tag="m"):
    """A profile on its way to the one it merged into. No decision at or after `at` may be made while it is.

    Or a mark (profile/marks.py), which says where the profile `winner` goes itself: to `loser`.

    One that is too large for a record goes in `parts`: this is one of them, the `part`-th, and `whole` the id of all of
    it. A move that is made again may be packed otherwise: `copy` tells which parts belong together. `known`: marks of
    the sources that its sender had heard of; None: nobody says.
    """

    id: str
    at: int
    winner: str
    profile: bytes = b""
    whole: str = ""
    copy: str = ""
    part: int = 0
    parts: int = 1
    known: list[int] | None = None

    @property
    def loser(self) -> str:
        """Of which profile it is."""
        return (self.whole or self.id).partition(">")[0]


class Forward(msgspec.Struct, Generic[R], array_like=True, gc=False, tag="f"):
    """A row that came for a profile which had moved. Matters from `at`, its received_at, on."""

    id: str
    at: int
    row: R | None = None


books_of: type[Resolved[Any]] = Resolved  # what says of what it is generic costs as much again to be made
encode = msgspec.msgpack.Encoder().encode
decode_row = msgspec.msgpack.Decoder(Row).decode
decode_rows = msgspec.msgpack.Decoder(list[Row]).decode
_decode_books = msgspec.msgpack.Decoder(Resolved[Any] | Move | Forward[Any]).decode


class Seal:
    """What makes records recognisable as those of one deployment, `group`."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._name = group.encode()
        self._version = b"%d" % FORMAT
        self._marks: Headers = [(GROUP, self._name), (VERSION, self._version)]

    def headers(self, books: bytes) -> Headers:
        """Of a record with these books."""
        return [*self._marks, (BOOKS, books)]

    def move(self, move: Move) -> tuple[Headers, bytes]:
        """Headers and value."""
        return self.headers(encode(msgspec.structs.replace(move, profile=b""))), move.profile

    def forward(self, forward: Forward[Row]) -> tuple[Headers, bytes]:
        """Headers and value."""
        return self.headers(encode(Forward[Any](forward.id, forward.at))), encode(forward.row)

    def books(self, headers: Sequence[tuple[str, bytes | None]]) -> Resolved[Any] | Move | Forward[Any]:
        """What the headers of a record keep; its value is not read.

        Raises InvalidEvent: `foreign` (no record of any deployment's), `other_deployment`, `unreadable_books`; and
        StateLost where it is ours, and of another version.
        """
        found = dict(headers)
        name = found.get(GROUP)
        if name is None:
            raise InvalidEvent("foreign", f"no header {GROUP}: it wasn't written by a pipeline")
        if name != self._name:
            raise InvalidEvent("other_deployment", f"it is of group {name[:200].decode('utf-8', 'replace')!r}")
        version = found.get(VERSION) or b"none"
        if version != self._version:
            raise StateLost(
                f"a record was written in format {version[:20].decode('ascii', 'replace')}, and this version reads"
                f" format {FORMAT} only. {OTHER_VERSION}."
            )
        try:
            books: Resolved[Any] | Move | Forward[Any] = _decode_books(found.get(BOOKS) or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidEvent("unreadable_books", f"header {BOOKS} can't be read: {error}") from error
        return books


def marked(source: str) -> int:
    """A source's mark in `Move.known`."""
    return crc32(source.encode())


def moves(name: str, at: int, winner: str, profile: bytes, known: list[int] | None = None) -> list[Move]:
    """A profile that moves, in as many parts as it takes."""
    if len(profile) <= PART_BYTES:
        return [Move(name, at, winner, profile, known=known)]
    copy = xxh3_64_hexdigest(profile)
    parts = [profile[i : i + PART_BYTES] for i in range(0, len(profile), PART_BYTES)]
    return [
        Move(f"{name}#{copy}.{n}", at, winner, part, name, copy, n, len(parts), known) for n, part in enumerate(parts)
    ]


def partition_of(root: str, partitions: int) -> int:
    """The partition that owns a profile."""
    return crc32(root.encode()) % partitions


def resolved_records(
    seal: Seal,
    source: str,
    first: int,
    next_offset: int,
    before: int,
    after: int,
    rows: Sequence[Row | Open | bytes],
    merges: list[str],
    partitions: int,
    places: Sequence[int] = (),
    quiet: tuple[int, int] = NOT_QUIET,
) -> list[list[tuple[Headers, bytes]]]:
    """Records (headers, value) for every partition of `identity.resolved`, so that a batch is there whole or not at
    all: one each, or several where one would be larger than Kafka takes.

    `places`: the partition of each row's root, where it is known already; -1: it isn't. It is of those that are bytes.
    """
    split: list[list[bytes]] = [[] for _ in range(partitions)]

    def pack(row: Row | Open) -> None:
        split[partition_of(row.root, partitions)].append(encode(row) if isinstance(row, Row) else row.packed())

    deal(rows, list(places) or [-1] * len(rows), split, pack)
    told: list[list[str]] = [[] for _ in range(partitions)]
    for i in range(0, len(merges), 2):
        told[partition_of(merges[i], partitions)] += merges[i : i + 2]
    made = [
        (encode(books_of(source, first, next_offset, before, after, [], told[p], quiet)), _joined(split[p]))
        for p in range(partitions)
    ]
    if len(rows) > 1 and max(len(books) + len(value) for books, value in made) > RECORD_BYTES:
        half = len(rows) // 2
        at = rows[half]
        middle = decode_row(at).offset if isinstance(at, bytes) else at.offset
        head = resolved_records(
            seal, source, first, middle, before, before, rows[:half], merges, partitions, places[:half], quiet
        )
        tail = resolved_records(
            seal, source, middle, next_offset, before, after, rows[half:], [], partitions, places[half:]
        )
        return [[*a, *b] for a, b in zip(head, tail, strict=True)]
    return [[(seal.headers(books), value)] for books, value in made]


def _joined(rows: list[bytes]) -> bytes:
    """A list of packed rows."""
    return b"".join((array_head(len(rows)), *rows))
