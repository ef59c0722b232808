"""Days, weeks and months by the calendar, where somebody is: `{did: searched, times: 3, calendar: week}` is three times
in the week that it is there. A week begins on Monday.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Any, NamedTuple

from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.shapes import Choice, Clause
from pipeline.language import zones

UNITS = ("day", "week", "month")
_DAY = 86_400_000
_MOST = {"day": _DAY, "week": 7 * _DAY, "month": 31 * _DAY}
_MOVED = 2 * _DAY  # by whoever flies around the world, or lives where a day is left out


class Calendar(NamedTuple):
    """A `unit` of the calendar: what occurred in the one that it is. `otherwise`: in which time zone, of whom nobody
    knows where they are.
    """

    unit: str
    otherwise: str

    @property
    def most(self) -> int:
        """No event in it is longer ago, ms."""
        return _MOST[self.unit] + _MOVED

    def begin(self, at: int, zone: str) -> int:
        """When the one began that it is then; both UTC ms."""
        return self._begins(at, zone, 0)

    def end(self, at: int, zone: str) -> int:
        """When the next one begins; both UTC ms."""
        return self._begins(at, zone, 1)

    def _begins(self, at: int, zone: str, later: int) -> int:
        if at not in zones.CALENDAR:
            return at + later
        there = zones.zone(zone)
        today = (zones.EPOCH + at * zones.MS).astimezone(there).date()
        # Where a day is left out the first moment after it is the next one's, too.
        begins = [zones.moment(self._day(today, each), time(), there) for each in (-1, 0, 1, 2)]
        return min(begin for begin in begins if begin > at) if later else max(each for each in begins if each <= at)

    def _day(self, today: date, later: int) -> date:
        """The first of the unit so many later than that of `today`."""
        if self.unit == "day":
            return today + timedelta(days=later)
        if self.unit == "week":
            return today + timedelta(days=7 * later - today.weekday())
        months = today.year * 12 + today.month - 1 + later
        return date(months // 12, months % 12 + 1, 1)

    def __str__(self) -> str:
        return " today" if self.unit == "day" else f" this {self.unit}"


Within = int | Calendar | None
"""How far back it is looked: ms, a unit of the calendar, or for ever."""


def keys() -> dict[str, Clause]:
    """What may be written instead of `within`."""
    return {
        "calendar": Clause(
            Choice(UNITS, "a unit of the calendar"),
            "Instead of `within`: only in the `day`, `week` (from Monday) or `month` that it is, where the person is.",
        )
    }


def check(at: Path, value: Mapping[str, Any], reader: Reader) -> None:
    """One of them."""
    if reader.has((*at, "calendar")) and reader.has((*at, "within")):
        message = "within and calendar can't stand together"
        reader.report(
            (*at, "calendar"), "conflict", message, "within: 7d is seven days, calendar: week since Monday", key=True
        )


def within(value: Mapping[str, Any], otherwise: str) -> Within:
    """How far back it is looked."""
    unit = value.get("calendar")
    return value.get("within") if unit is None else Calendar(unit, otherwise)


def reach(within: Within) -> int | None:
    """So far back it may be looked, ms; None: for ever."""
    return within.most if isinstance(within, Calendar) else within
