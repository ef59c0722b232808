"""How long a wait is where that isn't the same for all: by what its start tells, or up to a time of day."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from pipeline.language import zones
from pipeline.language.paths import Read, parse, read_path
from pipeline.language.whereabouts import Whereabouts
from pipeline.topology.model import AfterField, AfterUntil

DIGITS = 32  # of a number that is told as text


class ByField(NamedTuple):
    """As long as the event that starts it tells under `path`, in units of so many ms; of several items the one that
    gave the wait's key (`per`, if that is a path into the same items), else the least. Longer than `most`: as if
    nothing were told.
    """

    path: str
    read: Read
    unit: int
    per: str | None
    most: int

    def of(self, data: Mapping[str, Any], key: str) -> int | None:
        """In ms; None: there is no wait."""
        told = self.read(self._of_key(data, key))
        lengths = [length for each in (told if isinstance(told, list) else [told]) if (length := self._length(each))]
        return min(lengths, default=None)

    def _of_key(self, data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """Where several items are told, only those of the key."""
        here, per = parse(self.path), parse(self.per or "")
        if not here.several or not per.several or here.field != per.field:
            return data
        items = [item for item in data.get(here.field) or () if _text(item.get(per.inner)) == key]
        return {**data, here.field: items}

    def _length(self, told: Any) -> int | None:
        if isinstance(told, str) and len(told) <= DIGITS:
            try:
                told = float(told)
            except ValueError:
                return None
        if not isinstance(told, int | float) or isinstance(told, bool) or not isfinite(told):
            return None
        length = told * self.unit
        return round(length) if 1 <= length <= self.most else None


class UpToTime(NamedTuple):
    """At least `least` ms, and then until it is so many minutes past midnight on one of these days (0: Monday), where
    the person is; where nobody knows, in the zone `otherwise`.
    """

    least: int
    minute: int
    days: tuple[int, ...]
    otherwise: str

    def of(self, occurred_at: int, whereabouts: Whereabouts | None) -> int:
        """In ms, of what occurred then."""
        from_then = occurred_at + self.least
        zone = None if whereabouts is None else whereabouts.at(from_then)
        return zones.next_time(from_then, zone or self.otherwise, self.minute, self.days) - occurred_at


def compiled(after: AfterField | AfterUntil | None, per: str | None, most: int) -> ByField | UpToTime | None:
    """`most`: ms that a wait may be long, if it is to be remembered."""
    if isinstance(after, AfterField):
        return ByField(after.path, read_path(after.path), after.unit_ms, per, most)
    if isinstance(after, AfterUntil):
        return UpToTime(after.for_ms, after.minute, after.days, after.zone)
    return None


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
