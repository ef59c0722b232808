"""How long a wait is, where that isn't the same for all: docs/waits.md, 34, 44. Shares no code with `pipeline`."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle.language.conditions import milliseconds
from tests.oracle.language.dated import where
from tests.oracle.language.paths import number, values
from tests.oracle.language.person import Person
from tests.oracle.language.topology import Language, Length, Rule
from tests.oracle.who import Fact

MINUTE = 60_000
EPOCH = datetime.fromtimestamp(0, UTC)


def begins(language: Language, rule: Rule, key: str | None, fact: Fact) -> bool:
    """44: is there a wait, by what the start tells?"""
    return rule.length is None or rule.length.field is None or told(language, rule, key, fact) is not None


def told(language: Language, rule: Rule, key: str | None, fact: Fact) -> int | None:
    """44: ms, by a field: of several items the one's that gave the key, else the least; None: there is no wait."""
    assert rule.length is not None
    assert rule.length.field is not None
    found = [length for value in found_in(rule, key, fact) if (length := as_length(rule.length, value)) is not None]
    return min((length for length in found if 1 <= length <= language.longest), default=None)


def found_in(rule: Rule, key: str | None, fact: Fact) -> list[Any]:
    """All values under the field; of a list by whose items the rule waits those of the key's items."""
    assert rule.length is not None
    assert rule.length.field is not None
    head, _, inner = rule.length.field.partition(".")
    if not inner or rule.per is None or not isinstance(fact.get(head), list) or not rule.per.startswith(f"{head}."):
        return list(values(fact, rule.length.field))
    items = [item for item in fact.get(head) if isinstance(item, dict)]
    named = rule.per.removeprefix(f"{head}.")
    return [item[inner] for item in items if str(item.get(named)).strip() == key and item.get(inner) is not None]


def as_length(length: Length, value: Any) -> int | None:
    """In ms."""
    read = number(value)
    return None if read is None else floor(read * length.unit + Fraction(1, 2))


def due(language: Language, length: Length, person: Person, at: int) -> int:
    """The first moment (UTC ms) after `least` at which it is that time of one of the days, where the person is then."""
    from_ = at + length.least
    there = ZoneInfo(where(language, person, from_))
    day = (EPOCH + timedelta(milliseconds=from_)).astimezone(there).date() - timedelta(days=1)
    while True:
        found = moment(day, length.minute, there)
        if found >= from_ and day.weekday() in length.days:
            return found
        day += timedelta(days=1)


def moment(day: date, minute: int, there: ZoneInfo) -> int:
    """When it is so many minutes after midnight there: of two the earlier; of none the first moment that there is
    after it."""
    wanted = datetime.combine(day, time(minute // 60, minute % 60), there)
    found = milliseconds(wanted)
    if local(found, there) == wanted.replace(tzinfo=None):
        return found
    found -= found % MINUTE
    while local(found - MINUTE, there) >= wanted.replace(tzinfo=None):
        found -= MINUTE
    return found


def local(at: int, there: ZoneInfo) -> datetime:
    """What clocks show there."""
    return (EPOCH + timedelta(milliseconds=at)).astimezone(there).replace(tzinfo=None)
