"""What hops have done to the world, in the order in which they did it: one list, to be compared as a whole.

A store and a broker that keep such a list, of which several may share one: what one owner has committed, and the next
one has sent, stand in it one behind the other.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pipeline.errors import Unsent
from pipeline.identity.asks import Answer, Ask
from pipeline.runtime.ports import Out
from pipeline.store.memory import MemoryGraphStore, MemoryProfileStore
from pipeline.store.ports import Claimed, Commit, SourcePosition
from pipeline.topology.model import Identifiers


class Took(NamedTuple):
    """Over a partition, by its name or number."""

    partition: str | int


class Asked(NamedTuple):
    """The graph, about events at these offsets; it stored that all before `done` is done."""

    done: int
    offsets: list[int]


class Committed(NamedTuple):
    """States of these profiles, the next offset to be read, and what the outbox holds from then on."""

    offset: int
    states: list[str]
    outbox: int = 0


class Sent(NamedTuple):
    """What the broker took at once: topics, each with the key, or the partition of a record without one."""

    records: list[tuple[str, bytes | int | None]]


class Refused(NamedTuple):
    """What it was given and didn't take."""

    records: list[tuple[str, bytes | int | None]]


Effect = Took | Asked | Committed | Sent | Refused


class Broker:
    """Keeps what is sent. `down`: it takes nothing. `troubles`: raised by the next calls; of what is `Unsent` it has
    taken the rest.
    """

    def __init__(self, effects: list[Effect] | None = None) -> None:
        self.effects: list[Effect] = [] if effects is None else effects
        self.batches: list[list[Out]] = []
        self.troubles: list[Exception] = []
        self.down = False

    @property
    def sent(self) -> list[Out]:
        """All of it, one behind the other."""
        return [out for batch in self.batches for out in batch]

    async def send(self, messages: list[Out]) -> None:
        """See `ports.Sender`."""
        trouble = self.troubles.pop(0) if self.troubles else ConnectionError("no broker") if self.down else None
        left = trouble.left if isinstance(trouble, Unsent) else range(len(messages)) if trouble is not None else ()
        taken = [out for place, out in enumerate(messages) if place not in left]
        if taken:
            self.batches.append(taken)
            self.effects.append(Sent([_named(out) for out in taken]))
        if trouble is not None:
            self.effects.append(Refused([_named(messages[place]) for place in left]))
            raise trouble


def _named(out: Out) -> tuple[str, bytes | int | None]:
    return out.topic, out.partition if out.key is None else out.key


class ProfileEffects(MemoryProfileStore):
    """Profiles in memory."""

    def __init__(self, effects: list[Effect] | None = None) -> None:
        super().__init__()
        self.effects: list[Effect] = [] if effects is None else effects

    async def claim(self, partition: int) -> Claimed:
        """See `ports.ProfileStore.claim`."""
        claimed = await super().claim(partition)
        self.effects.append(Took(partition))
        return claimed

    async def commit(self, partition: int, commit: Commit) -> None:
        """See `ports.ProfileStore.commit`."""
        await super().commit(partition, commit)
        offset = msgspec.msgpack.decode(commit.meta)[1]  # of whatever format
        self.effects.append(Committed(offset, sorted(commit.states), len(self._partition(partition).outbox)))


class GraphEffects(MemoryGraphStore):
    """The identity graph in memory."""

    def __init__(self, identifiers: Identifiers, effects: list[Effect] | None = None) -> None:
        super().__init__(identifiers)
        self.effects: list[Effect] = [] if effects is None else effects

    async def claim(self, source: str, token: str) -> SourcePosition | None:
        """See `ports.GraphStore.claim`."""
        position = await super().claim(source, token)
        self.effects.append(Took(source))
        return position

    async def resolve(
        self, source: str, expected: str, token: str, done: SourcePosition, asks: list[Ask]
    ) -> tuple[list[Answer], int, int]:
        """See `ports.GraphStore.resolve`."""
        answered = await super().resolve(source, expected, token, done, asks)
        self.effects.append(Asked(done.offset, [ask.offset for ask in asks]))
        return answered
