"""How long ago something was due that isn't decided yet, whoever should decide it, and whatever is in the way.

Every worker looks at all partitions, also at those that others own or nobody does: in Redis stands what waits there
(sheets of timers), and up to where all is decided (`Meta.clock`). By the broker's clock a timer should have rung by
`at + disorder`: then every source has certainly passed it. What was found stays, and grows older, while Redis is away.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.observe.causes import OVERDUE
from pipeline.observe.metrics import Metrics
from pipeline.observe.troubles import Trouble
from pipeline.profile.timers import SPAN, entries
from pipeline.runtime.second_hop import decode_meta
from pipeline.store.ports import ProfileStore

SHEETS = 20  # that have begun to ring: to know of one timer that hasn't is enough, and of the first is best
LATE_S = 60.0


class Overdue:
    """`store`: with a client of its own. `holder`: what holds event time, as far as this worker knows."""

    def __init__(
        self,
        store: ProfileStore,
        partitions: int,
        disorder_ms: int,
        metrics: Metrics,
        holder: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._store = store
        self._partitions = partitions
        self._disorder_ms = disorder_ms
        self._metrics = metrics
        self._holder = holder

    async def measure(self) -> None:
        """Look at all partitions. Raises what the store raises; what isn't known anew stays as it was."""
        for partition, raw in enumerate(await self._store.metas(self._partitions)):
            clock = decode_meta(raw).clock if raw else 0
            first = await first_due(self._store, partition, clock)
            self._metrics.timers_overdue(str(partition)).since(None if first is None else first + self._disorder_ms)

    def troubles(self) -> list[Trouble]:
        """Where it is more than a minute."""
        late = {p: self._metrics.timers_overdue(str(p)).seconds() for p in range(self._partitions)}
        holder = self._holder()
        why = f"; event time is held by {holder}" if holder else ""
        return [
            Trouble(OVERDUE, f"partition {p}", f"what was due {seconds:.0f} s ago isn't decided{why}")
            for p, seconds in late.items()
            if seconds > LATE_S
        ]


async def first_due(store: ProfileStore, partition: int, clock: int) -> int | None:
    """When the first timer of a partition rings that hasn't yet (UTC ms). All before `clock` is decided, so those that
    have rung and still stand on a sheet are known by their time.
    """
    rings = await store.earliest(partition, clock)
    for sheet in await store.begun(partition, clock - SPAN, clock, SHEETS):
        later = [at for at, _ in entries(sheet) if at >= clock]
        rings = min(later[:1] + ([] if rings is None else [rings]), default=None)
    return rings
