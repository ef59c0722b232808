"""Names remembered by a hash: in rows of eight bytes, that of a name or, as a mark, the day and six bytes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from pipeline.events.compiled import fitting

DAY = 86_400_000
ENTRY, DIGEST = 8, 6


def hashed(name: str) -> bytes:
    """Eight bytes."""
    return xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")).to_bytes(ENTRY, "big")


def split(entries: bytes) -> list[bytes]:
    """Of a row each."""
    return [entries[i : i + ENTRY] for i in range(0, len(entries), ENTRY)]


def plain_place(entries: bytes, wanted: bytes) -> int:
    """Where the first entry begins that ends in `wanted`; -1: there is none."""
    skip = ENTRY - len(wanted)
    at = entries.find(wanted)
    while at >= 0 and at % ENTRY != skip:
        at = entries.find(wanted, at + 1)
    return at - skip if at >= 0 else -1


if TYPE_CHECKING:
    from pipeline.triggers._marks import place as place
else:
    try:
        from pipeline.triggers import _marks

        fitting(_marks)
        place = _marks.place
    except ImportError:
        place = plain_place


def marked(marks: bytes, name: str) -> bool:
    """Whether that name was noted."""
    return bool(marks) and place(marks, hashed(name)[-DIGEST:]) >= 0


def noted(marks: bytes, hashes: Iterable[bytes], at: int) -> bytes:
    """Names noted at a moment (UTC ms), by their hashes."""
    day = (at // DAY).to_bytes(2, "big")
    for each in hashes:
        if place(marks, each[-DIGEST:]) < 0:
            marks += day + each[-DIGEST:]
    return marks


def without(marks: bytes, name: str) -> bytes:
    """That name is noted no more."""
    at = place(marks, hashed(name)[-DIGEST:])
    return marks if at < 0 else marks[:at] + marks[at + ENTRY :]


def joined(some: bytes, others: bytes) -> bytes:
    """Both, a name once, with its last day; noted longest ago first."""
    if not some or not others:
        return some or others
    last = {each[-DIGEST:]: each for each in sorted(split(some + others))}
    return b"".join(sorted(last.values()))
