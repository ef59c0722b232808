"""What the hops of a worker show of trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from faust.types import TP

from pipeline.observe.causes import RECORDING, WAITS
from pipeline.observe.troubles import Trouble, Troubles
from pipeline.runtime import signs
from pipeline.runtime.lanes import LaneState
from pipeline.runtime.signs import STANDS_S, TICKS_S, Signs
from tests.standins import Hand

A, B = TP("s", 0), TP("r", 1)


class Hops:
    """Also the control that it asks."""

    def __init__(self) -> None:
        self.control = self
        self.held: list[Trouble] = []
        self.lanes = {A: LaneState(position=5, queued=0, busy_s=0.0, held=None)}
        self.ended: set[TP] = set()
        self.asked = 0

    def holding(self) -> list[Trouble]:
        return self.held

    def states(self) -> dict[TP, LaneState]:
        return self.lanes

    async def read_to_end(self, tps: Iterable[TP]) -> set[TP]:
        self.asked += 1
        return self.ended & {*tps} if self.asked % 3 == 0 else set()  # it is busy with a job now and then


class World:
    def __init__(self, clock: Hand) -> None:
        self.clock = clock
        self.hops = Hops()
        self.troubles = Troubles(clock)
        self.signs = Signs(self.troubles, self.hops)  # type: ignore[arg-type]

    def names(self) -> dict[str, tuple[str, str]]:
        """Where -> cause and words, once what is over is over."""
        self.troubles.look()
        self.clock.at += 3.0
        return {t.where: (t.cause.name, t.what) for t in (known.trouble for known in self.troubles.look())}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    clock = Hand(1_000.0)
    monkeypatch.setattr(signs, "time", SimpleNamespace(monotonic=clock))
    return World(clock)


def test_nothing_is_wrong_with_who_works_or_has_nothing_to_do(world: World) -> None:
    assert world.names() == {}


def test_what_is_held_is_named_by_whoever_holds_it(world: World) -> None:
    world.hops.lanes[A] = LaneState(position=5, queued=0, busy_s=60.0, held="too many dead letters")
    world.hops.held = [Trouble(WAITS, "s-0", "too many dead letters"), Trouble(RECORDING, "recording m", "holds 4")]
    assert world.names() == {
        "s-0": ("partition_waits", "too many dead letters"),
        "recording m": ("recording_holds_time", "holds 4"),
    }


def test_who_fails_again_and_again_does_until_a_batch_is_done(world: World) -> None:
    world.signs.fails(A, "refused")
    world.signs.fails(A, "claiming it again: refused")
    world.hops.held = [Trouble(WAITS, "s-0", "claiming it again: refused")]
    assert world.names() == {"s-0": ("partition_claims_again", "claiming it again: refused")}
    world.hops.held = []
    world.signs.works(A)
    assert world.names() == {}


def test_a_batch_that_takes_long_stands(world: World) -> None:
    world.hops.lanes[A] = LaneState(position=5, queued=0, busy_s=STANDS_S + 1, held=None)
    assert world.names() == {"s-0": ("partition_stands", "a batch has been in hand for 9 s")}


def test_records_that_nobody_reads_stand_and_markers_do_not(world: World) -> None:
    def look(unread: dict[TP, int]) -> None:
        world.signs.behind(unread)
        asyncio.run(world.signs.look_who_stands())

    world.hops.lanes[B] = LaneState(position=7, queued=0, busy_s=0.0, held=None)
    world.hops.ended = {B}  # what lies behind its position is no record
    for _ in range(3):
        look({A: 5, B: 7})
        world.clock.at += STANDS_S / 2
    assert list(world.names()) == ["s-0"]
    assert world.names()["s-0"][1].startswith("it has stood at offset 5 for ")
    look({A: 6, B: 7})
    assert world.names() == {}


@pytest.mark.parametrize("hangs", [True, False])
def test_what_ticks_do_and_what_fails_or_hangs_is_named(world: World, hangs: bool) -> None:
    begun = world.signs.trying("event time")
    begun.__enter__()
    problem = ConnectionError("refused")
    if not hangs:
        assert not begun.__exit__(ConnectionError, problem, None)
    with world.signs.trying("recordings"):  # others go well
        world.clock.at += TICKS_S + 1
    assert world.names() == {
        "event time": (
            "ticks_fail",
            f"it hasn't gone well for 9 s: {'no end of it' if hangs else 'ConnectionError: refused'}",
        )
    }
    with world.signs.trying("event time"):
        pass
    assert world.names() == {}
