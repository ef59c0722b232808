"""Waits up to a date that was told: a renewal, a birthday, when a course begins (docs/starts.md, Dates).

Whatever tells the date is a fact of the rule's key, and by event time the last one counts. A wait opens when a date is
told that is still to come, and is due at it; what tells another one moves or ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from pipeline.language import zones
from pipeline.language.whereabouts import Whereabouts
from pipeline.topology import model

CHANGED = "date_changed"
_YEAR = timedelta(days=100)
"""Two anniversaries are further apart, though somebody moves to the other side of the world in between."""
_YEARS = range(2, 9_900)

Base = date | int
"""A day, wherever one is, or a moment in UTC ms."""


class Dated:
    """When a rule's dates come, by what was told under their path."""

    def __init__(self, told: model.Date) -> None:
        self.path, self.yearly = told.path, told.yearly
        self.zone, self._minute = told.zone, told.minute
        self._offset = timedelta(milliseconds=told.offset_ms)

    def base(self, kept: Mapping[str, Any] | None) -> Base | None:
        """What a fact told; None: no date. Never raises."""
        value = None if kept is None else kept.get(self.path)
        if isinstance(value, list):
            value = value[0] if value else None
        return zones.read_date(value)

    def local(self, kept: Mapping[str, Any] | None) -> bool:
        """Whether it hangs on where the person is when that comes."""
        return self.yearly or self._minute is not None or not isinstance(self.base(kept), int)

    def length(
        self, kept: Mapping[str, Any] | None, at: int, whereabouts: Whereabouts | None, *, again: bool = False
    ) -> int | None:
        """From what occurred at that moment (UTC ms) up to the date, ms; None: it is past, or there is none. `again`:
        up to the date after the one that comes about then.
        """
        base = self.base(kept)
        if base is None or at not in zones.CALENDAR:
            return None
        try:
            found = self._next(base, at, whereabouts, again) if self.yearly else self._moment(base, whereabouts)
        except (OverflowError, ValueError):  # it lies outside of the calendar
            return None
        return None if found is None or found < at else found - at

    def _next(self, base: Base, at: int, whereabouts: Whereabouts | None, again: bool) -> int | None:
        """The first of its anniversaries from then on."""
        start = zones.EPOCH + at * zones.MS
        first = start + _YEAR if again else start
        year = (first - self._offset).year - 2
        for each in range(max(year, _YEARS.start), min(year + 5, _YEARS.stop)):
            found = self._moment(base, whereabouts, each)
            if found >= at and zones.EPOCH + found * zones.MS >= first:
                return found
        return None

    def _moment(self, base: Base, whereabouts: Whereabouts | None, year: int | None = None) -> int:
        """UTC ms; in that year, if it is said."""
        there = zones.zone(self._zone_at(base, whereabouts, year))
        if isinstance(base, int) and year is None and self._minute is None:
            return base + self._offset // zones.MS
        local = (
            (zones.EPOCH + base * zones.MS).astimezone(there).replace(tzinfo=None)
            if isinstance(base, int)
            else datetime.combine(base, time())
        )
        if year is not None:
            local = zones.in_year(local, year)
        if self._minute is None:
            return zones.moment(local.date(), local.time(), there) + self._offset // zones.MS
        return zones.moment((local + self._offset).date(), time(self._minute // 60, self._minute % 60), there)

    def _zone_at(self, base: Base, whereabouts: Whereabouts | None, year: int | None) -> str:
        """Where the person is about then."""
        if whereabouts is None:
            return self.zone
        about = datetime.combine(base, time(), zones.EPOCH.tzinfo) if isinstance(base, date) else None
        about = zones.EPOCH + base * zones.MS if about is None and isinstance(base, int) else about
        assert about is not None
        about = (about if year is None else zones.in_year(about, year)) + self._offset
        return whereabouts.at((about - zones.EPOCH) // zones.MS) or self.zone
