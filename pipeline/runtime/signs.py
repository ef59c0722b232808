"""What the hops of one worker show of trouble: who fails, who stands, who is held, whether time is moved on.

What the hops say is holding event time is a trouble, too: who holds something needs to say it there alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from faust.types import TP

from pipeline.observe.causes import CLAIMS_AGAIN, STANDS, TICKS_FAIL
from pipeline.observe.logs import in_words
from pipeline.observe.troubles import Trouble, Troubles
from pipeline.runtime.control import Control

STANDS_S = 8.0
TICKS_S = 5.0
CHECKS = 8
PAUSE_S = 0.07


class Holds(Protocol):
    """The hops."""

    control: Control

    def holding(self) -> list[Trouble]:
        """What holds event time back."""


class Signs:
    """Of one worker."""

    def __init__(self, troubles: Troubles, hops: Holds) -> None:
        self._troubles = troubles
        self._hops = hops
        self._failing: set[TP] = set()
        self._behind: dict[TP, tuple[int, float]] = {}  # with records to read: the position, and since when it is that
        self._standing: set[TP] = set()
        self._trying: dict[str, tuple[float, str]] = {}  # what ticks do: since when it hasn't gone well, and why
        troubles.ask(self.find)

    def fails(self, tp: TP, said: str) -> None:
        """It has to be claimed again, or couldn't be claimed."""
        self._failing.add(tp)
        self._troubles.begin(CLAIMS_AGAIN, _name(tp), said)

    def works(self, tp: TP) -> None:
        """A batch of it is done, or it isn't ours any more."""
        if tp in self._failing:
            self._failing.discard(tp)
            self._troubles.end(CLAIMS_AGAIN, _name(tp))

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Something that ticks do now and then."""
        since, _ = self._trying.setdefault(what, (time.monotonic(), "no end of it"))
        try:
            yield
        except Exception as problem:
            self._trying[what] = since, in_words(problem)
            raise
        del self._trying[what]

    def behind(self, unread: dict[TP, int]) -> None:
        """`unread`: where partitions stand that have records to read, or the marker of a transaction at their end."""
        now = time.monotonic()
        behind = {tp: (at, now) for tp, at in unread.items()}
        for tp, (at, since) in self._behind.items():
            if unread.get(tp) == at:
                behind[tp] = (at, since)
        self._behind = behind

    async def look_who_stands(self) -> None:
        """Called every few seconds. Asks again and again: a partition between two jobs looks busy for a moment."""
        now = time.monotonic()
        still = {tp for tp, (_, since) in self._behind.items() if now - since >= STANDS_S}
        for _ in range(CHECKS):
            if not still:
                break
            still -= await self._hops.control.read_to_end(still)
            await asyncio.sleep(PAUSE_S)
        self._standing = still

    def find(self) -> list[Trouble]:
        """What is so now, but for what was told."""
        now = time.monotonic()
        failing = {_name(tp) for tp in self._failing}
        found = [each for each in self._hops.holding() if each.where not in failing]
        named = failing | {each.where for each in found}
        for tp, state in self._hops.control.states().items():
            if _name(tp) in named:
                continue
            if state.busy_s > STANDS_S:
                found.append(Trouble(STANDS, _name(tp), f"a batch has been in hand for {state.busy_s:.0f} s"))
            elif tp in self._standing and tp in self._behind:
                since = now - self._behind[tp][1]
                what = f"it has stood at offset {state.position} for {since:.0f} s, though it has records"
                found.append(Trouble(STANDS, _name(tp), what))
        for what, (since, said) in self._trying.items():
            if now - since > TICKS_S:
                found.append(Trouble(TICKS_FAIL, what, f"it hasn't gone well for {now - since:.0f} s: {said}"))
        return found


def _name(tp: TP) -> str:
    return f"{tp.topic}-{tp.partition}"
