"""Dates as they are told, and times of day in somebody's time zone.

The zones are those of the package `tzdata`, pinned, and not the machine's: a replay elsewhere gives the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.events.times import read_time

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
AHEAD = 9  # days in which any day of the week comes, though a clock change skips one
CALENDAR = range(-30_000_000_000_000, 253_000_000_000_000)  # UTC ms that it has room for: from 1019 to 9987
_DAY = re.compile(r"\s*(\d{4})-(\d\d)-(\d\d)(\s*|[T ].{1,40})", re.ASCII)


@cache
def _names() -> dict[str, str]:
    """In lower case -> as it is spelt. There are some 600."""
    told = resources.files("tzdata").joinpath("zones").read_text("utf-8")
    return {name.lower(): name for name in told.split()}


def named(told: str) -> str | None:
    """A zone as it is spelt, whatever the case; None: there is none of that name."""
    return _names().get(told.lower())


def names() -> Collection[str]:
    """Of all zones."""
    return _names().values()


@cache
def zone(name: str) -> ZoneInfo:
    """One that is `named`."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def next_time(after: int, name: str, minute: int, days: Collection[int]) -> int:
    """The first moment (UTC ms) at or after that one at which it is so many minutes past midnight in a zone, on one of
    these days (0: Monday). Where a clock change skips the hour, the first moment that there is after it; where it comes
    twice, the earlier.
    """
    if after not in CALENDAR:
        return after
    there, wanted = zone(name), time(minute // 60, minute % 60)
    day = (EPOCH + after * MS).astimezone(there).date()
    day -= timedelta(days=1)  # one that was skipped may have ended after it
    for _ in range(AHEAD + 1):
        if day.weekday() in days and (found := moment(day, wanted, there)) >= after:
            return found
        day += timedelta(days=1)
    return after  # nothing in the calendar: every day of the week comes within nine


def moment(day: date, wanted: time, there: ZoneInfo) -> int:
    """When it is that time there; UTC ms."""
    local = datetime.combine(day, wanted, there)  # of two, the earlier
    found = (local - EPOCH) // MS
    if (EPOCH + found * MS).astimezone(there).replace(tzinfo=None) == local.replace(tzinfo=None):
        return found
    # It is skipped: `found` counts by what was before, the other by what is after; between them the clock changes.
    other = local.replace(fold=1)
    before, skipped = (other - EPOCH) // MS, other.utcoffset()
    while before + 1 < found:
        middle = (before + found) // 2
        if (EPOCH + middle * MS).astimezone(there).utcoffset() == skipped:
            found = middle
        else:
            before = middle
    return found


def read_date(value: Any) -> date | int | None:
    """A day, wherever one is, or a moment in UTC ms; None: it is no date. Never raises."""
    day = _DAY.fullmatch(value) if isinstance(value, str) else None
    if day is None or day[4].strip():
        at = read_time(value)
        if at is not None:
            return at if at in CALENDAR else None
    try:  # also what lies before all events: a birthday
        return None if day is None else date(int(day[1]), int(day[2]), int(day[3]))
    except ValueError:
        return None


def in_year(moment: datetime, year: int) -> datetime:
    """29 February comes on 28 February in other years."""
    try:
        return moment.replace(year=year)
    except ValueError:
        return moment.replace(year=year, day=28)
