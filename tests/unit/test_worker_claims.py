"""How the worker takes partitions, and takes them again, while servers restart and other workers come and go.

Stores in memory; a Kafka and a consumer of a few lines, which do what the protocols of ours promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar, cast
from unittest.mock import patch

import pytest
from faust.types import TP

from pipeline.errors import Fenced, SendFailed, StateLost, Unsent
from pipeline.events.codec import Decoder
from pipeline.events.model import Event
from pipeline.identity.asks import Answer, Ask
from pipeline.observe.metrics import Metrics
from pipeline.runtime import hops
from pipeline.runtime.app import Control
from pipeline.runtime.broker import Broker
from pipeline.runtime.clocks import Clocks
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.hops import Hops
from pipeline.runtime.lanes import LaneState
from pipeline.runtime.ports import In, Out
from pipeline.runtime.producers import Producers
from pipeline.runtime.second_hop import decode_meta, encode_meta
from pipeline.store.memory import MemoryGraphStore, MemoryProfileStore
from pipeline.store.ports import SourcePosition
from pipeline.triggers.balance import Waits
from pipeline.triggers.decisions import Decision
from pipeline.wire.records import Resolved
from pipeline.wire.row import Row
from tests import effects
from tests.property.hops import with_partitions
from tests.replayed import shipped
from tests.sealed import record

SOURCE, RESOLVED = TP("s", 0), TP("identity.resolved", 1)


class Senders:
    """Each sender made, in order; `troubles` are raised by the next calls of `send`, whoever's they are."""

    def __init__(self) -> None:
        self.made: list[Sender] = []
        self.troubles: list[Exception] = []

    def named(self, name: str) -> Sender:
        self.made.append(Sender(self, name))
        return self.made[-1]

    def outbox(self) -> Sender:
        return Sender(self, "outbox")


class Sender(effects.Broker):
    """A producer by its name; their troubles are anybody's."""

    def __init__(self, senders: Senders, name: str) -> None:
        super().__init__()
        self.troubles = senders.troubles
        self.name = name
        self.state = "new"

    async def start(self) -> None:
        self.state = "open"

    async def close(self) -> None:
        self.state = "closed"


class Log:
    """The broker's word on where partitions begin and end."""

    async def earliest_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return dict.fromkeys(tps, 100)


class Consumer:
    """What the hops ask of the consumer. Without `assigned`, another worker has the partitions."""

    def __init__(self) -> None:
        self.ours = {SOURCE, RESOLVED}
        self.sought: list[tuple[TP, int]] = []
        self.held: dict[TP, str] = {}
        self.reasons: list[str] = []
        self.told: int | None = None
        self.names: dict[TP, str] = {}  # what Kafka holds for the group
        self.signing: list[Exception] = []  # raised by the next calls
        self.jobs: list[Callable[[], Awaitable[None]]] = []

    def assigned(self) -> set[TP]:
        return self.ours

    async def seek(self, tp: TP, offset: int) -> None:
        self.sought.append((tp, offset))

    def pause(self, tp: TP, reason: str) -> None:
        self.held[tp] = reason
        self.reasons.append(reason)

    def resume(self, tp: TP) -> None:
        self.held.pop(tp, None)

    def submit(self, tp: TP, job: Callable[[], Awaitable[None]]) -> bool:
        self.jobs.append(job)
        return True

    def states(self) -> dict[TP, LaneState]:
        return {tp: LaneState(position=0, queued=0, busy_s=0.0, held=self.held.get(tp)) for tp in self.ours}

    async def committed_offsets(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        return dict.fromkeys(tps, self.told)

    async def signed(self, tp: TP) -> tuple[int, str]:
        return 0, self.names.get(tp, "")

    async def sign(self, tp: TP, offset: int, name: str) -> None:
        if self.signing:
            raise self.signing.pop(0)
        self.names[tp] = name


class Graph(MemoryGraphStore):
    """A Redis that doesn't answer the next `down` calls; `lose`: called then."""

    down = 0
    claims = 0

    def lose(self) -> None:
        """Nothing else happens meanwhile."""

    def _ask(self) -> None:
        if self.down:
            self.down -= 1
            self.lose()
            raise ConnectionError("redis is loading")

    async def claim(self, source: str, token: str) -> SourcePosition | None:
        self._ask()
        self.claims += 1
        return await super().claim(source, token)

    async def resolve(
        self, source: str, expected: str, token: str, done: SourcePosition, asks: list[Ask]
    ) -> tuple[list[Answer], int, int]:
        self._ask()
        return await super().resolve(source, expected, token, done, asks)


class Registry:
    """Every record is a page view by `value`."""

    def decode(self, value: bytes | None, trace: str | None) -> Event:
        return Event("page_viewed", "e", 1_000, 1_000, {"anonymous_id": (value or b"").decode()}, {}, None, trace)

    takers: ClassVar[dict[int, object]] = {}


class Outbound:
    def encode(self, decision: Decision) -> list[Out]:
        return [Out("decisions", None, None, decision.id.encode(), [])]

    def smaller(self, out: Out) -> Out | None:
        return None


class Process:
    """One worker's hops, with everything around them."""

    def __init__(self) -> None:
        topology = with_partitions(shipped(), 1, 2)
        self.graph, self.profiles = Graph(topology.identifiers), MemoryProfileStore()
        self.senders, self.consumer = Senders(), Consumer()
        self.hops = Hops(
            topology,
            self.graph,
            self.profiles,
            cast(Decoder, Registry()),
            cast(Delivery, Outbound()),
            cast(Producers, self.senders),
            cast(Broker, Log()),
            Metrics(),
            Clocks(Metrics()),
        )
        self.hops.control = cast(Control, self.consumer)

    async def read(self, *offsets: int) -> None:
        """A batch of the source partition."""
        await self.hops.resolve_identity(SOURCE, [In(n, 1_000, None, b"anna", []) for n in offsets])


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setattr(hops, "RETRY_S", (0.001,))
    monkeypatch.setattr(hops, "FENCED_S", 0.05)
    return Process()


def run(step: Coroutine[Any, Any, None]) -> None:
    """What hangs fails."""
    asyncio.run(asyncio.wait_for(step, 10))


def test_a_claim_waits_for_servers_that_restart(process: Process) -> None:
    """A rebalance often comes because a server restarted: the claim right after it may find none."""

    async def main() -> None:
        process.graph.down = 5
        assert await process.hops.claim({SOURCE, RESOLVED}) == {SOURCE: 0, RESOLVED: 0}
        assert [sender.state for sender in process.senders.made] == ["open"]  # the producer was well all the time

    run(main())


def test_a_claim_that_fails_for_too_long_is_given_up(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops, "CLAIM_S", 0.05)

    async def main() -> None:
        process.graph.down = 1_000_000
        with pytest.raises(ConnectionError, match="loading"):
            await process.hops.claim({SOURCE})

    run(main())


def test_lost_state_is_told_at_once(process: Process) -> None:
    async def main() -> None:
        process.consumer.told = 17
        with pytest.raises(StateLost, match=r"s-0: Redis has no state for it, but .* has read it up to 17"):
            await process.hops.claim({SOURCE})
        assert len(process.senders.made) == 1

    run(main())


def test_a_batch_that_fails_is_read_again_with_a_new_sender(process: Process) -> None:
    async def main() -> None:
        await process.hops.claim({SOURCE})
        await process.read(0, 1)
        process.senders.troubles += [SendFailed("the commit was not answered")]
        await process.read(2)
        assert process.consumer.sought == [(SOURCE, 2)]
        failed, fresh, ended = process.senders.made
        assert [failed.state, ended.state, fresh.state] == ["closed", "closed", "open"]
        assert (
            failed.name == ended.name != fresh.name
        )  # what it left open was settled, and the name is never used again
        assert process.consumer.names == {SOURCE: fresh.name}
        await process.read(2)
        assert fresh.sent
        assert process.consumer.held == {}

    run(main())


def test_what_kafka_refuses_holds_its_partition_and_repeats_nothing(process: Process) -> None:
    """It is named, not claimed again, and goes on by itself once Kafka takes it."""

    async def main() -> None:
        await process.hops.claim({RESOLVED})
        hop = process.hops._partitions[RESOLVED]
        told = [f"d{n}".encode() for n in range(4)]
        hop._outbox = [Out("decisions", None, None, each, []) for each in told]
        await hop._commit({}, {})
        refused = Unsent("decisions: Broker: Topic authorization failed", [1, 3])
        process.senders.troubles += [refused, Unsent("decisions: still", [0, 1]), Unsent("decisions: still", [1])]
        resolved = record(0, Resolved[Row]("s-0", 0, 1, 0, 5, [], []), process.hops._topology.group)
        await process.hops.maintain_profile(RESOLVED, [resolved])
        sent = [out.value for out in cast(Sender, process.hops._outbox).sent]
        assert sent == [b"d0", b"d2", b"d1", b"d3"]
        assert process.consumer.reasons == [
            "2 records can't be published: decisions: Broker: Topic authorization failed",
            "2 records can't be published: decisions: still",
            "1 records can't be published: decisions: still",
        ]
        assert (process.consumer.held, process.consumer.sought) == ({}, [])
        assert hop.meta.offset == 1
        assert hop.waiting == 0

    run(main())


def test_what_the_outbox_holds_after_a_claim_is_published_by_itself(process: Process) -> None:
    async def main() -> None:
        await process.hops.claim({RESOLVED})
        hop = process.hops._partitions[RESOLVED]
        hop._outbox = [Out("decisions", None, None, b"d", [])]
        await hop._commit({}, {})
        await process.hops.claim({RESOLVED})
        await process.hops.tick()
        await process.consumer.jobs.pop()()
        assert [out.value for out in cast(Sender, process.hops._outbox).sent] == [b"d"]
        hop = process.hops._partitions[RESOLVED]
        assert hop.untidy
        process.hops._next_metrics = 0.0
        await process.hops.tick()
        await process.consumer.jobs.pop()()
        assert not (await hop._store.claim(RESOLVED.partition)).outbox, "what is published goes, where nothing comes"

    run(main())


def test_who_gives_a_partition_up_leaves_nothing_that_would_be_published_again(process: Process) -> None:
    async def main() -> None:
        for failed in (False, True):
            await process.hops.claim({RESOLVED})
            hop = process.hops._partitions[RESOLVED]
            hop._outbox = [Out("decisions", None, None, b"d", [])]
            await hop._commit({}, {})
            await hop.publish()
            if failed:  # half way through a batch: what it did is in memory, and in no commit
                with patch.object(hop, "_commit", side_effect=ConnectionError), pytest.raises(ConnectionError):
                    await hop.process([In(0, 0, None, b"not ours", ())])
                assert hop.meta.offset == 1
            await process.hops.revoke({RESOLVED})
            claimed = await hop._store.claim(RESOLVED.partition)
            assert len(claimed.outbox) == failed
            assert claimed.meta is not None
            assert decode_meta(claimed.meta).offset == 0

    run(main())


def test_what_is_published_goes_also_where_the_books_are_other_since_the_claim(process: Process) -> None:
    """Of a rule that is no more they tell nothing, say: that isn't half of anything."""

    async def main() -> None:
        await process.hops.claim({RESOLVED})
        hop = process.hops._partitions[RESOLVED]
        hop._outbox = [Out("decisions", None, None, b"d", [])]
        hop.meta.waits["gone"] = Waits(opened=1, decided=1)
        await hop._commit({}, {})
        await process.hops.claim({RESOLVED})
        hop = process.hops._partitions[RESOLVED]
        assert encode_meta(hop.meta) != hop._stored
        await hop.publish()
        await process.hops.revoke({RESOLVED})
        assert not (await hop._store.claim(RESOLVED.partition)).outbox

    run(main())


def test_what_is_claimed_again_says_so_and_goes_on_when_the_server_is_back(process: Process) -> None:
    """Without a reason the watchdog would take the standstill for one that only a new process ends."""

    async def main() -> None:
        await process.hops.claim({SOURCE})
        process.graph.down = 4
        await process.read(0)
        assert process.consumer.reasons == ["claiming it again: redis is loading"] * 3
        assert process.consumer.held == {}
        assert process.consumer.sought == [(SOURCE, 0)]

    run(main())


def test_what_can_not_be_claimed_again_for_minutes_ends_the_process(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem may be ours, a client that can't recover say: what is raised ends the process; a new one tries."""
    monkeypatch.setattr(hops, "RECOVER_S", 0.05)

    async def main() -> None:
        await process.hops.claim({SOURCE})
        process.graph.down = 1_000_000
        with pytest.raises(ConnectionError, match="loading"):
            await process.read(0)

    run(main())


def test_what_went_to_another_worker_meanwhile_is_left_alone(process: Process) -> None:
    async def main() -> None:
        await process.hops.claim({SOURCE})
        process.graph.down = 3
        process.graph.lose = process.consumer.ours.clear  # type: ignore[method-assign]
        await process.read(0)
        assert process.graph.claims == 1
        assert process.consumer.sought == []

    run(main())


def test_who_was_fenced_waits_to_hear_of_it_and_does_not_fence_back(process: Process) -> None:
    """A worker that was frozen still thinks that it has its partitions; claiming them at once would take them from
    their new owner."""

    async def main() -> None:
        await process.hops.claim({SOURCE})
        process.senders.troubles += [Fenced("another producer has taken over")]
        reading = asyncio.create_task(process.read(0))
        await asyncio.sleep(0.02)
        process.consumer.ours = set()  # the next heartbeat
        await reading
        assert process.graph.claims == 1

    run(main())


def test_nobody_decides_past_where_a_source_begins_that_was_added(process: Process) -> None:
    """Who doesn't know of it might, on what it saw before: a frozen worker that wakes, say. What moves for a tie that
    the source tells would be thought to have come before, and be dropped.
    """

    async def main() -> None:
        await process.hops.claim({RESOLVED})
        hop = process.hops._partitions[RESOLVED]
        await hop._commit({}, {})
        await process.hops.claim({SOURCE})  # nothing is decided yet: nobody is disturbed
        hop.meta.clock = 5_000
        await hop._commit({}, {})
        process.graph = process.hops._graph = Graph(shipped().identifiers)
        await process.hops.claim({SOURCE})
        disorder = process.hops._topology.time.disorder_ms
        assert process.hops._sources[SOURCE].position.high == 5_000 + disorder
        hop.meta.clock = 9_000
        with pytest.raises(Fenced):
            await hop._commit({}, {})
        process.hops._topics.upto = 9_000
        await process.hops.claim({RESOLVED})
        assert process.hops._topics.upto == 0

    run(main())


def test_what_is_given_up_is_closed_and_forgotten(process: Process) -> None:
    async def main() -> None:
        await process.hops.claim({SOURCE, RESOLVED})
        await process.hops.revoke({SOURCE, RESOLVED})
        assert [sender.state for sender in process.senders.made] == ["closed"]
        with pytest.raises(KeyError):
            await process.read(0)

    run(main())


def test_a_job_of_before_the_claim_is_left_undone(process: Process) -> None:
    """It would find itself fenced, and have the partition claimed a second time."""

    async def main() -> None:
        done: list[str] = []

        async def work() -> None:
            done.append("once")

        await process.hops.claim({RESOLVED})
        hop = process.hops._partitions[RESOLVED]
        process.hops._submit(RESOLVED, hop, work)
        process.hops._submit(RESOLVED, hop, work)
        first, second = process.consumer.jobs
        await first()
        await process.hops.claim({RESOLVED})
        await second()
        assert done == ["once"]
        assert process.hops._busy == set()

    run(main())
