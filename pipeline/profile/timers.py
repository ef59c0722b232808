"""When profiles wake, as a partition's owner and its store keep it.

A timer for each profile in one sorted set costs the more to move the more of them wait. So the store keeps *sheets*:
what a commit sets is sorted by time and written on as few of them as will do, and a sheet is one member, whatever
number of profiles it names. It is never changed; it goes when all of it has rung.

A timer isn't taken back or moved to a later time: when it rings, whoever set it looks whether anything is due, and sets
another where something will be. What must hold is that each profile in which something waits has a timer at that
moment or before it.
"""

from __future__ import annotations

import heapq

import msgspec

SPAN = 600_000  # ms of event time: what is on a sheet that has begun to ring stays in memory until the last of it rings
NAMES = 1_000  # on a sheet


class Sheet(msgspec.Struct, array_like=True, gc=False):
    """Profiles by the moment (UTC ms) at which to look at them, earliest first. `number`: no two are alike."""

    number: int
    entries: list[tuple[int, str]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Sheet).decode


def sheets_of(timers: dict[str, int], number: int) -> dict[bytes, int]:
    """Profile id -> moment, written on sheets: sheet -> its first moment. They are numbered from `number` on."""
    out: dict[bytes, int] = {}
    rings: list[tuple[int, str]] = []
    for at, profile_id in sorted(zip(timers.values(), timers, strict=True)):
        if rings and (at - rings[0][0] >= SPAN or len(rings) == NAMES):
            out[_encode(Sheet(number + len(out), rings))] = rings[0][0]
            rings = []
        rings.append((at, profile_id))
    if rings:
        out[_encode(Sheet(number + len(out), rings))] = rings[0][0]
    return out


class Timers:
    """What a partition's owner knows of its sheets: all that begin before `upto`. Begins with none, and 0."""

    def __init__(self) -> None:
        self.upto = 0
        self._near: list[tuple[int, str, bytes]] = []  # a heap
        self._silent: dict[bytes, int] = {}  # sheet -> how many of it have yet to ring

    @property
    def first(self) -> int | None:
        """When the first of those that are known here rings."""
        return self._near[0][0] if self._near else None

    def set(self, timers: dict[str, int], number: int) -> dict[bytes, int]:
        """`sheets_of` them, for the store; those that have begun are known here from now on."""
        sheets = sheets_of(timers, number)
        self.hold([sheet for sheet, first in sheets.items() if first < self.upto], self.upto)
        return sheets

    def hold(self, sheets: list[bytes], upto: int) -> None:
        """These are in the store, and with those that are known already they are all that begin before `upto`."""
        for sheet in sheets:
            rings = entries(sheet)
            self._silent[sheet] = len(rings)
            for at, profile_id in rings:
                heapq.heappush(self._near, (at, profile_id, sheet))
        self.upto = upto

    def found(self, sheets: list[bytes], before: int, limit: int) -> bool:
        """The store was asked for sheets that begin from `upto` on and before another moment, earliest first, and no
        more than `limit`. False: nothing has come of it, for they all begin at one moment: ask for more at once.
        """
        if len(sheets) < limit:
            self.hold(sheets, before)
            return True
        last = begins(sheets[-1])
        if last == self.upto:
            return False
        self.hold([sheet for sheet in sheets if begins(sheet) < last], last)  # at `last` there may be more
        return True

    def ring(self, before: int, limit: int) -> tuple[list[str], dict[bytes, int]]:
        """Whose timers ring before that moment, earliest first and each profile once, of no more than `limit` timers;
        and the sheets that are over, with how many timers each held.
        """
        rung: dict[str, None] = {}
        over: dict[bytes, int] = {}
        near, silent = self._near, self._silent
        for _ in range(limit):
            if not near or near[0][0] >= before:
                break
            _, profile_id, sheet = heapq.heappop(near)
            rung[profile_id] = None
            silent[sheet] -= 1
            if not silent[sheet]:
                del silent[sheet]
                over[sheet] = len(entries(sheet))
        return list(rung), over


def entries(sheet: bytes) -> list[tuple[int, str]]:
    """What is on a sheet, earliest first."""
    return _decode(sheet).entries


def begins(sheet: bytes) -> int:
    """The first moment on a sheet."""
    return entries(sheet)[0][0]
