"""Sheets of timers: everything rings once, in time, however it is asked for."""

from __future__ import annotations

from bisect import bisect_left

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.profile import timers as module
from pipeline.profile.timers import NAMES, SPAN, Sheet, Timers, begins, sheets_of

PEOPLE = [f"{n:016d}" for n in range(40)]
decode = msgspec.msgpack.Decoder(Sheet).decode


def test_a_sheet_is_in_order_short_in_time_and_of_so_many_names() -> None:
    timers = {f"{n:016d}": (n * 7919) % 2_000_000 for n in range(5_000)}
    sheets = sheets_of(timers, 7)
    read = [decode(sheet) for sheet in sheets]
    assert [entry for sheet in read for entry in sheet.entries] == sorted((at, who) for who, at in timers.items())
    assert [sheet.number for sheet in read] == list(range(7, 7 + len(read)))
    for sheet, first in sheets.items():
        entries = decode(sheet).entries
        assert first == entries[0][0] == begins(sheet)
        assert entries[-1][0] - first < SPAN
        assert len(entries) <= NAMES
    assert len(sheets) < 12, "no more of them than needed"


def test_no_timers_no_sheet() -> None:
    assert sheets_of({}, 0) == {}


def test_the_same_timers_on_two_sheets_are_two_sheets() -> None:
    assert len({*sheets_of({PEOPLE[0]: 5}, 0), *sheets_of({PEOPLE[0]: 5}, 1)}) == 2


class Shelf:
    """What a store holds, and an owner that asks it a few sheets at a time."""

    def __init__(self) -> None:
        self.sheets: list[tuple[int, bytes]] = []
        self.timers = Timers()
        self.number = 0

    def arm(self, timers: dict[str, int]) -> None:
        made = self.timers.set(timers, self.number)
        self.number += len(made)
        self.sheets = sorted([*self.sheets, *((first, sheet) for sheet, first in made.items())])

    def due(self, before: int, limit: int) -> list[bytes]:
        first, end = (bisect_left(self.sheets, (at, b"")) for at in (self.timers.upto, before))
        return [sheet for _, sheet in self.sheets[first:end]][:limit]

    def ring(self, before: int, asked: int, limit: int) -> list[str]:
        out: list[str] = []
        while True:
            if self.timers.upto < before:
                most = asked
                while not self.timers.found(self.due(before, most), before, most):
                    most *= 2
            rung, over = self.timers.ring(min(before, self.timers.upto), limit)
            out += rung
            for sheet, names in over.items():
                assert names == len(decode(sheet).entries)
                self.sheets.remove((begins(sheet), sheet))
            first = self.timers.first
            if self.timers.upto >= before and (first is None or first >= before):
                return out


@given(
    st.lists(
        st.tuples(st.dictionaries(st.sampled_from(PEOPLE), st.integers(0, 300), max_size=12), st.integers(0, 120)),
        max_size=12,
    ),
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from([1, 20, 1000]),
    st.integers(-1, 12),
)
def test_every_timer_rings_before_the_moment_asked_for_and_none_sooner(
    turns: list[tuple[dict[str, int], int]], asked: int, limit: int, span: int, falls_over: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SPAN", span)
        shelf, clock = Shelf(), 0
        waiting: set[tuple[int, str]] = set()
        for turn, (timers, step) in enumerate(turns):
            if turn == falls_over:
                shelf.timers = Timers()  # another owner: what has rung of a sheet that isn't over rings again
            ahead = {who: clock + at for who, at in timers.items()}
            shelf.arm(ahead)
            waiting |= {(at, who) for who, at in ahead.items()}
            clock += step
            rung = shelf.ring(clock, asked, limit)
            must = {who for at, who in waiting if at < clock}
            assert must <= {*rung}
            if turn < falls_over or falls_over < 0:
                assert {*rung} == must
            waiting = {(at, who) for at, who in waiting if at >= clock}
        shelf.ring(10_000, asked, limit)
        assert shelf.sheets == []


def test_many_sheets_of_one_moment_are_asked_for_at_once() -> None:
    shelf = Shelf()
    for who in PEOPLE:
        shelf.arm({who: 100})
        shelf.arm({who: 150})
    assert sorted(shelf.ring(101, 2, 3)) == PEOPLE
    assert sorted(shelf.ring(151, 2, 3)) == PEOPLE
    assert shelf.sheets == []
