"""What is overdue, by what stands in the store: whoever owns a partition, and whatever holds it up."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.observe.metrics import Metrics
from pipeline.profile.timers import SPAN, sheets_of
from pipeline.runtime import watermark
from pipeline.runtime.overdue import LATE_S, SHEETS, Overdue, first_due
from pipeline.runtime.second_hop import Meta, encode_meta
from pipeline.store.memory import MemoryProfileStore
from pipeline.store.ports import Commit

T0 = 1_700_000_000_000
DISORDER = 10_000


class World:
    """Two partitions. `now`: the broker's clock, seconds."""

    def __init__(self) -> None:
        self.store = MemoryProfileStore()
        self.now = T0 / 1000
        self.metrics = Metrics(lambda: self.now)
        self.overdue = Overdue(self.store, 2, DISORDER, self.metrics, lambda: "source events.email-2")
        self.numbers = {0: 0, 1: 0}

    async def commit(self, partition: int, clock: int, timers: dict[str, int], meta: Meta | None = None) -> None:
        """As the owner does; nobody owns it any more then."""
        claimed = await self.store.claim(partition)
        sheets = sheets_of(timers, self.numbers[partition])
        self.numbers[partition] += len(sheets)
        await self.store.commit(
            partition,
            Commit(
                fence=claimed.fence,
                expected=claimed.token,
                token=f"t{claimed.fence}",
                meta=encode_meta(meta or Meta(clock=clock)),
                states={},
                timers=dict(sheets),
                outbox=[],
                tail=0,
                trim=0,
            ),
        )

    def seconds(self) -> list[float]:
        asyncio.run(self.overdue.measure())
        return [self.metrics.timers_overdue(str(p)).seconds() for p in range(2)]


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_due_where_nothing_waits_or_nobody_was_ever(world: World) -> None:
    assert world.seconds() == [0, 0]
    asyncio.run(world.commit(0, T0, {}))
    world.now += 1e6
    assert world.seconds() == [0, 0]
    assert world.overdue.troubles() == []


def test_it_grows_from_the_moment_at_which_event_time_should_have_passed_it(world: World) -> None:
    asyncio.run(world.commit(0, T0 - 5_000, {"a": T0 + 60_000, "b": T0 + 2_000_000}))
    asyncio.run(world.commit(1, T0 - 5_000, {"c": T0 + 90_000}))
    assert world.seconds() == [0, 0]
    world.now += 70
    assert world.seconds() == [0, 0]
    world.now += 50
    assert world.seconds() == pytest.approx([50, 20])
    assert world.overdue.troubles() == []
    world.now += LATE_S - 49
    (late,) = (trouble for trouble in world.overdue.troubles() if trouble.where == "partition 0")
    assert late.what == "what was due 61 s ago isn't decided; event time is held by source events.email-2"


def test_what_rang_is_known_by_its_time_though_its_sheet_is_still_there(world: World) -> None:
    asyncio.run(world.commit(0, T0, {"a": T0 + 1_000, "b": T0 + 300_000, "c": T0 + 500_000}))
    asyncio.run(world.commit(0, T0 + 300_000, {}))  # `a` is decided; `b` rings next
    world.now += 320
    assert world.seconds() == pytest.approx([10, 0])
    asyncio.run(world.commit(0, T0 + 300_001, {}))
    assert world.seconds() == [0, 0]
    world.now += 200
    assert world.seconds() == pytest.approx([10, 0])


def test_what_a_move_under_way_holds_up_is_overdue(world: World) -> None:
    """Partition 0 has sent a profile that 1 hasn't taken: nobody may decide from there on."""
    marks = {"s-0": T0 + 3_600_000}
    asyncio.run(world.commit(0, T0, {"a": T0 + 60_000}, meta=Meta(clock=T0, marks=marks, sent={"x>y": (T0 + 1, 1)})))
    asyncio.run(world.commit(1, T0, {"b": T0 + 80_000}, meta=Meta(clock=T0, marks=marks)))
    certain, holder = asyncio.run(watermark.read(world.store, 2, ["s-0"]))
    assert (certain, holder) == (T0 + 1, "x>y under way from partition 0 to 1")
    world.now += 100
    assert world.seconds() == pytest.approx([30, 10])
    asyncio.run(world.commit(1, T0, {}, meta=Meta(clock=T0, marks=marks, taken={"x>y": T0 + 1})))
    assert asyncio.run(watermark.read(world.store, 2, ["s-0"]))[0] == T0 + 3_600_000
    for partition in (0, 1):
        asyncio.run(world.commit(partition, T0 + 3_600_000, {}))
    assert world.seconds() == [0, 0]


def test_while_the_store_is_away_what_was_known_grows_older(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(world.commit(0, T0, {"a": T0 + 60_000}))
    assert world.seconds() == [0, 0]

    async def away(partitions: int) -> list[bytes | None]:
        raise ConnectionError("refused")

    monkeypatch.setattr(world.store, "metas", away)
    world.now += 100
    with pytest.raises(ConnectionError):
        asyncio.run(world.overdue.measure())
    assert world.metrics.timers_overdue("0").seconds() == pytest.approx(30)


def test_of_many_sheets_that_have_begun_one_is_enough_to_know(world: World) -> None:
    """Each holds somebody who rang and somebody who will: the latest ones are looked at."""

    async def main() -> None:
        for n in range(3 * SHEETS):
            await world.commit(0, T0, {"gone": T0 + n, "waits": T0 + SPAN - 1_000 + n})
        await world.commit(0, T0 + 10_000, {})

    asyncio.run(main())
    first = asyncio.run(first_due(world.store, 0, T0 + 10_000))
    assert first == T0 + SPAN - 1_000 + 2 * SHEETS
