"""Whose clock counts, and which ones are wrong.

Event time goes by the broker's clock: records carry when they were appended (semantics 3), so what is appended from now
on is not older than that clock is now, whatever the clocks of producers and of this machine say. What it shows is
learnt from what the broker acknowledged: it had appended that before we heard of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from pipeline.observe.metrics import Metrics

log = logging.getLogger(__name__)

APART_S = 5.0
SAY_AGAIN_S = 300.0
SERVERS = {"kafka": "Kafka's", "redis": "Redis's"}

Seconds = Callable[[], float]


class BrokerClock:
    """What the brokers' clocks show at the least: the slowest of those that lead a partition of `identity.resolved`.

    `partitions`: of that topic. Between two acknowledgements it goes on by `monotonic`, which no change of this
    machine's time moves. `heard` may be called from any thread.
    """

    def __init__(self, partitions: int, monotonic: Seconds = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead: list[float | None] = [None] * partitions  # of `monotonic`, in ms

    def heard(self, partition: int, appended_at: int) -> None:
        """A partition's leader has just acknowledged a record that it appended at `appended_at` (UTC ms)."""
        self._ahead[partition] = appended_at - 1000 * self._monotonic()

    def now(self) -> int | None:
        """UTC ms, never later than it is there; None as long as some leader hasn't been heard of."""
        known = [ahead for ahead in self._ahead if ahead is not None]
        return int(min(known) + 1000 * self._monotonic()) if len(known) == len(self._ahead) else None

    def seconds(self) -> float:
        """Since 1970, to measure delays by: as long as nothing is known by this machine's clock."""
        now = self.now()
        return time.time() if now is None else now / 1000


class Clocks:
    """The broker's clock, held against this machine's and Redis's.

    `broker` None: one that keeps no times (the embedded one); then this machine's clock stands for it. `redis`: asks
    Redis for its time, seconds since 1970.
    """

    def __init__(
        self,
        metrics: Metrics,
        broker: BrokerClock | None = None,
        redis: Callable[[], Awaitable[float]] | None = None,
        ours: Seconds = time.time,
    ) -> None:
        self._metrics = metrics
        self._broker = broker
        self._redis = redis
        self._ours = ours
        self._last: dict[str, float] = {}
        self._offsets: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._say_again = 0.0

    def now(self) -> int | None:
        """What the broker's clock shows, UTC ms; None: not known yet. What is appended from now on is not older."""
        return int(self._ours() * 1000) if self._broker is None else self._broker.now()

    async def compare(self) -> None:
        """Look at all of them, and say where they differ. Raises what Redis's client raises."""
        seen = {}
        if self._broker is not None and (now := self._broker.now()) is not None:
            seen["kafka"] = now / 1000 - self._ours()
        if self._redis is not None:
            before = self._ours()
            told = await self._redis()
            seen["redis"] = told - (before + self._ours()) / 2
        for server, offset in seen.items():
            # A difference counts when it was there twice: a pause between two readings looks like one, too.
            self._offsets[server] = min(offset, self._last.get(server, 0.0), key=abs)
            self._last[server] = offset
            self._metrics.clock_offset(server).set(self._offsets[server])
        self._say()

    def apart(self) -> dict[str, str]:
        """Server -> how far its clock is from this machine's, in words; empty where all agree."""
        offsets = [0.0, *self._offsets.values()]
        if max(offsets) - min(offsets) <= APART_S:
            return {}
        return {server: _words(offset) for server, offset in self._offsets.items()}

    def _say(self) -> None:
        apart, now = self.apart(), time.monotonic()
        if not apart:
            if self._said:
                log.info("the clocks of servers and worker agree again")
            self._said = {}
            return
        changed = max(abs(offset - self._said.get(server, 0.0)) for server, offset in self._offsets.items())
        if not self._said or changed > APART_S or now >= self._say_again:
            told = ", ".join(f"{SERVERS[server]} is {words}" for server, words in apart.items())
            log.warning("clocks differ: %s. Decisions go by Kafka's: set the others, or that one, right", told)
            self._said, self._say_again = self._offsets.copy(), now + SAY_AGAIN_S


def _words(offset: float) -> str:
    return f"{abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} this machine's"
