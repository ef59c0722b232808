"""Times as people and programs write them, to UTC milliseconds (semantics 1).

Read: ISO 8601, dates in words (RFC 2822, HTTP, asctime, JavaScript's and Java's Date text), and numbers, whose unit is
told by their size: from 1995 to 9999 the ranges of seconds, milli-, micro- and nanoseconds don't overlap. What lies
outside of those years is a zero date of some database or language, and no time.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from pipeline.events.text import unquoted

EARLIEST = 788_918_400_000
"""The first millisecond of 1995."""
LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999: later cannot be written as RFC 3339."""

MILLISECONDS = "milliseconds"
# Unit -> how many of it (first number) are how many ms (second).
_UNITS = {"seconds": (1, 1000), MILLISECONDS: (1, 1), "microseconds": (1000, 1), "nanoseconds": (1_000_000, 1)}

ISO = "ISO 8601"
WORDS = "a date in words"
LONGEST = 128
"""Characters: no form of a time is longer."""

_NEVER = 2**63 - 1  # what languages write for it, and no nanosecond of 2262

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MILLISECOND = timedelta(milliseconds=1)
_DAY = 86_400_000

_CLOCK = (
    r"(?P<hour>\d{1,2})(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d))?)?(?:[.,](?P<fraction>\d+))?(?:\s*(?P<half>[AP]M))?"
)
_OFFSET = r"(?P<sign>[-+\u2212])(?P<hours>\d{1,2})(?::?(?P<minutes>\d\d)(?::?(?P<seconds>\d\d))?)?"
# An offset may have its name behind it, as in `GMT+0100 (CET)`, `+01:00[Europe/Vienna]` or Go's `+0100 CET m=+0.5`.
_ZONE = rf"(?:(?:UTC|GMT)?{_OFFSET}(?:\s*\[[^\]]*\]|\s+[A-Z]{{1,5}})?(?:\s+m=\S+)?|(?P<zone>[A-Z]{{1,5}})(?:\[UTC\])?)"
_REST = rf"(?:\s*{_ZONE})?(?:\s*\([^()]*\))?"
_MONTH = r"(?P<name>[A-Z]{3,9})\.?"
_WEEKDAY = r"(?:[A-Z]{3,9}(?:\.?,\s*|\.?\s+))?"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


_ISO = _form(
    r"(?:\+00)?(?P<year>\d{4})"
    r"(?:(?P<dash>[-/.])(?P<month>\d{1,2})(?P=dash)(?P<day>\d{1,2})|(?P<month_>\d\d)(?P<day_>\d\d)"
    r"|-?W(?P<week>\d\d)-?(?P<weekday>\d)|-?(?P<ordinal>\d{3}))"
    rf"(?:(?:\s*T\s*|,?\s+){_CLOCK}{_REST})?"
)
_IN_WORDS = tuple(
    map(
        _form,
        (
            # Mon, 24 Nov 2025 10:20:00 GMT; Monday, 24-Nov-25 10:20:00 GMT; 24 Nov 2025
            rf"{_WEEKDAY}(?P<day>\d{{1,2}})\.?[-\s]\s*{_MONTH}[-\s]\s*(?P<year>\d{{4}}|\d\d)(?:,?\s+{_CLOCK}{_REST})?",
            # Mon Nov 24 2025 11:20:00 GMT+0100 (Central European Standard Time); Nov 24, 2025, 11:20:00 AM
            rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}}),?\s+(?P<year>\d{{4}})(?:,?\s+{_CLOCK}{_REST})?",
            # Mon Nov 24 10:20:00 2025; Mon Nov 24 11:20:00 CET 2025
            rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}})\s+{_CLOCK}(?:\s+{_ZONE})?\s+(?P<year>\d{{4}})",
        ),
    )
)
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d{1,2})?", re.ASCII)
_NET = re.compile(r"/Date\((-?\d+)(?:[-+]\d{4})?\)/", re.ASCII)  # ASP.NET: ms since 1970; the offset is for show

_MONTHS = {
    name: number
    for number, long in enumerate(
        ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
         "december"), 1,
    )
    for name in (long, long[:3])
} | {"sept": 9}  # fmt: skip
# Hours east of UTC. Names that several zones share, as IST, are none.
_ZONES = {
    "z": 0, "ut": 0, "utc": 0, "gmt": 0, "wet": 0, "west": 1, "bst": 1, "cet": 1, "met": 1, "cest": 2, "mest": 2,
    "eet": 2, "eest": 3, "msk": 3, "jst": 9, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6,
    "pst": -8, "pdt": -7, "ast": -4, "adt": -3,
}  # fmt: skip


class Reading(NamedTuple):
    """A time in UTC ms, and the form in which it was told: ISO, WORDS, or the unit of a number."""

    at: int
    form: str


def read_time(value: object) -> int | None:
    """UTC ms of a time told as text or number; None: it is none. Never raises."""
    reading = read(value)
    return None if reading is None else reading.at


def read(value: object) -> Reading | None:
    """The same with its form."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return by_size(value)
    return by_size(Decimal(repr(value))) if isinstance(value, float) else None


def by_size(value: int | Decimal) -> Reading | None:
    """A number of seconds, milli-, micro- or nanoseconds since 1970."""
    if value == _NEVER or (isinstance(value, Decimal) and not (value.is_finite() and value.adjusted() < 25)):
        return None
    for unit, (many, milliseconds) in _UNITS.items():
        at = value * milliseconds // many
        if EARLIEST <= at <= LATEST:
            return Reading(int(at), unit)
    return None


def rfc3339(ms: int) -> str:
    """`2026-11-22T19:00:00.000Z`."""
    days, rest = divmod(ms, _DAY)
    minutes, rest = divmod(rest, 60_000)
    return f"{_date(days)}T{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}Z"


@lru_cache(maxsize=1000)
def _date(days: int) -> str:
    return date.fromordinal(_EPOCH_DAY + days).isoformat()


def event_times(
    stamp: int | None, original: int | None, sent: int | None, received: int | None
) -> tuple[int, int] | None:
    """(occurred_at, received_at) by semantics 1, of what is readable; None: nothing is."""
    occurred = stamp
    if received is not None and sent is not None and original is not None:
        corrected = received - (sent - original)
        if EARLIEST <= corrected <= LATEST:
            occurred = corrected
    for other in (original, sent, received):
        occurred = other if occurred is None else occurred
    if occurred is None:
        return None
    received = occurred if received is None else received
    return min(occurred, received), received


def _text(value: str) -> Reading | None:
    if len(value) == 24 and value[10] == "T" and value[-1] == "Z":  # what nearly all send
        try:
            at = (datetime.fromisoformat(value) - _EPOCH) // _MILLISECOND
        except ValueError:
            pass
        else:
            return Reading(at, ISO) if EARLIEST <= at <= LATEST else None
    if len(value) > LONGEST:
        return None
    value = unquoted(" ".join(value.replace("\\", "").split()))  # JSON in JSON in JSON; browsers write narrow blanks
    if _NUMBER.fullmatch(value) and not (value.isdecimal() and len(value) in (7, 8)):  # 2025328, 20251124: dates
        return by_size(Decimal(value.replace(",", ".")))
    if (net := _NET.fullmatch(value)) is not None:
        at = int(net[1])
        return Reading(at, MILLISECONDS) if EARLIEST <= at <= LATEST else None
    form = ISO
    found = _ISO.fullmatch(value)
    if found is None:
        form = WORDS
        found = next((match for words in _IN_WORDS if (match := words.fullmatch(value)) is not None), None)
    if found is None:
        return None
    try:
        read = _milliseconds(found.groupdict())
    except ValueError:  # no such day
        return None
    return Reading(read, form) if read is not None and EARLIEST <= read <= LATEST else None


def _milliseconds(part: dict[str, str | None]) -> int | None:
    """UTC ms of a match. Raises ValueError for a day that no calendar has."""
    day, clock = _day(part), _clock(part)
    offset = _offset(part)
    if clock is None or offset is None:
        return None
    return (day - _EPOCH_DAY) * _DAY + clock - offset


def _day(part: dict[str, str | None]) -> int:
    """Python's number of the day."""
    text = part["year"] or ""
    year = int(text)
    if len(text) == 2:  # RFC 2822, 4.3
        year += 2000 if year < 50 else 1900
    if (name := part.get("name")) is not None:
        month = _MONTHS.get(name.lower())
        if month is None:
            raise ValueError(name)
        return date(year, month, int(part["day"] or 0)).toordinal()
    if (week := part["week"]) is not None:
        return date.fromisocalendar(year, int(week), int(part["weekday"] or 0)).toordinal()
    if (ordinal := part["ordinal"]) is not None:
        day = date(year, 1, 1).toordinal() + int(ordinal) - 1
        if not 1 <= int(ordinal) <= 366 or date.fromordinal(day).year != year:
            raise ValueError(ordinal)
        return day
    return date(year, int(part["month"] or part["month_"] or 0), int(part["day"] or part["day_"] or 0)).toordinal()


def _clock(part: dict[str, str | None]) -> int | None:
    """Milliseconds since midnight; a leap second is the next minute's first, hour 24 the next day's."""
    hour, minute, second = (int(part[unit] or 0) for unit in ("hour", "minute", "second"))
    if (half := part["half"]) is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    unit = 1000 if part["second"] else 60_000 if part["minute"] else 3_600_000
    digits = part["fraction"] or "0"
    at = hour * 3_600_000 + minute * 60_000 + second * 1000 + unit * int(digits) // 10 ** len(digits)
    return at if minute < 60 and second <= 60 and (hour < 24 or at == _DAY) else None


def _offset(part: dict[str, str | None]) -> int | None:
    """Milliseconds that the local time is ahead; no zone is UTC, one that isn't known is none."""
    if (zone := part["zone"]) is not None:
        known = _ZONES.get(zone.lower())
        return None if known is None else known * 3_600_000
    hours, minutes, seconds = (int(part[unit] or 0) for unit in ("hours", "minutes", "seconds"))
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return (-1 if part["sign"] in ("-", "\u2212") else 1) * (hours * 3600 + minutes * 60 + seconds) * 1000
