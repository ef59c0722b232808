"""A person who was silent for longer than the topology keeps profiles is forgotten; whoever waits is not."""

from __future__ import annotations

import asyncio

import msgspec

from pipeline.profile.profile import decode
from pipeline.runtime.ports import Out
from pipeline.runtime.second_hop import ProfilePartition
from pipeline.store.memory import MemoryProfileStore
from pipeline.topology import load
from pipeline.topology.model import DAY
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import Resolved
from pipeline.wire.row import Row
from tests.sealed import record

T0 = 1_700_000_000_000


class Nowhere:
    async def send(self, messages: list[Out]) -> None:
        """Nothing is published here."""


def test_who_is_silent_is_forgotten_and_who_waits_is_not() -> None:
    shipped = load("topology.yaml", {})
    resolved = msgspec.structs.replace(shipped.topics.resolved, partitions=1)
    source = msgspec.structs.replace(shipped.topics.sources[0], name="s", partitions=1)
    topics = msgspec.structs.replace(shipped.topics, resolved=resolved, sources=(source,))
    slow = msgspec.structs.replace(shipped.rules[0], after_ms=200 * DAY)
    topology = msgspec.structs.replace(shipped, topics=topics, rules=(slow,))
    store = MemoryProfileStore()
    hop = ProfilePartition(topology, RuleBook(topology), store, Nowhere(), lambda decision: [], 0)

    def row(number: int, who: str, kind: str, at: int) -> Row:
        return Row(number, who, kind, at, at, f"e{number}", number, ["anonymous_id", who], {"cart_id": "c"})

    async def run() -> None:
        await hop.claim()
        rows = [row(0, "gone", "page_viewed", T0), row(1, "waits", "product_added", T0)]
        later = [row(2, "here", "page_viewed", T0 + 91 * DAY)]
        first = Resolved("s-0", 0, 2, 0, T0, rows, ["loser", "here"])
        second = Resolved("s-0", 2, 3, T0, T0 + 91 * DAY, later, [])
        await hop.process([record(0, first, topology.group), record(1, second, topology.group)])
        assert await hop.sweep() == 0  # event time hasn't come so far
        await hop.advance(T0 + 90 * DAY + 1)
        assert await hop.sweep() == 2
        assert {i for i, raw in zip(names, await store.peek(0, names), strict=True) if raw} == {"waits", "here"}
        assert await hop.sweep() == 0
        again = Resolved("s-0", 3, 4, T0 + 91 * DAY, T0 + 91 * DAY, [row(3, "gone", "page_viewed", T0 + 91 * DAY)], [])
        await hop.process([record(2, again, topology.group)])
        (raw,) = await store.peek(0, ["gone"])
        assert raw is not None
        assert sum(decode(raw).about.totals.values()) == 1  # type: ignore[union-attr]  # a new person

    names = ["gone", "waits", "here", "loser"]
    asyncio.run(run())
