"""Whether the topics are still those that this worker started with: somebody may delete them, make them anew, or add
partitions while it runs.

Nobody reads an added partition of a source topic, and what lies there might end a wait. So what is certain by the
books (watermark.py) counts only when the topics were looked at *after* that: whatever is appended to a partition that
was made later was received later, too, but for the disorder that is allowed anyway.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pipeline.errors import MADE_ANEW, START_OVER, TopicsChanged
from pipeline.runtime.broker import Broker, all_topics, grown
from pipeline.topology.model import Topology

log = logging.getLogger(__name__)

GONE_S = 5.0  # so long a topic may be unknown, say to a broker that has just started


class TopicWatch:
    """`upto`: what may be decided (UTC ms). `held`: why that doesn't go on, or None."""

    def __init__(self, topology: Topology, broker: Broker, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._clock = clock
        self._topics = {topic.name: topic for topic in all_topics(topology.topics)}
        self._resolved = topology.topics.resolved.name
        self._ids: dict[str, str] = {}
        self._gone: dict[str, float] = {}
        self._more: set[str] = set()
        self._claims = 0
        self.upto = 0
        self.held: str | None = None

    async def look(self, certain: int) -> None:
        """`certain`: what the books say. Raises TopicsChanged, or what the broker raises: then nothing is new."""
        claims = self._claims
        gone, self._gone = self._gone, {}  # who isn't answered knows nothing
        found = await self._broker.shapes(self._topics)
        now = self._clock()
        self._gone = {name: gone.get(name, now) for name in self._topics if name not in found}
        for name, since in self._gone.items():
            if now - since >= GONE_S:
                raise TopicsChanged(f"{name}: not on the broker any more. {self._after(name)}")
        for name, (number, partitions) in found.items():
            if self._ids.setdefault(name, number) != number:
                raise TopicsChanged(f"{name} was deleted and made anew while this worker ran. {self._after(name)}")
            self._count(name, partitions)
        self.held = f"{', '.join(self._gone)}: not on the broker any more" if self._gone else None
        if self.held is None and claims == self._claims:
            self.upto = max(self.upto, certain)

    def forget(self) -> None:
        """A partition of the second hop was claimed: only looks from now on count. Whoever begins with a source
        partition that was added raises the fences of all (`Hops._decided`), so that nobody who hasn't looked since
        passes where that begins.
        """
        self._claims += 1
        self.upto = 0

    def _after(self, name: str) -> str:
        """What to do where a topic was deleted."""
        role = self._topics[name].role
        if role == "source":
            return MADE_ANEW + "."
        if name == self._resolved:
            return f"What it held and nobody had read is lost: make it with `pipeline topics`, and {START_OVER}."
        return "Make it with `pipeline topics`, if need be, and start the workers again: no decision is lost."

    def _count(self, name: str, partitions: int) -> None:
        wanted = self._topics[name].partitions
        if partitions <= wanted:
            return
        if self._topics[name].role == "source":
            raise TopicsChanged(
                f"{name} has {partitions} partitions now, {wanted} in topology.yaml: nobody reads the new ones, and"
                f" nothing was decided without them. To go on, {grown(partitions)}."
            )
        if self._topics[name].role == "internal" and name not in self._more:
            self._more.add(name)
            log.warning("%s has %d partitions now; we go on with the first %d alone", name, partitions, wanted)
