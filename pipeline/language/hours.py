"""Sums, and how many are different, over more than seven days: they count in hours of UTC (docs/conditions.md).

An event counts from when it occurred; it leaves a window with its hour, when the beginning of that does. So of an hour
in which no moment lies that anybody asks for (`Matcher.slack`) it is enough to know what its events come to: they
become one entry, which is *folded*. What is younger is kept event by event.

A folded entry stands where the last of its events occurred. Its value is a list, as no event's is:

    of a sum, and of how often    [how many, what they add up to, sum of their fingerprints]
    of different values           [the value]; one entry a value, where it was told last

**Why hours of two persons who turn out to be one may be added.** An event is counted in one place: a profile that moves
leaves a mark, and is taken in once (`Meta.taken`), so what two ledgers hold are either different events, or one is a
copy of the other. Of copies the fingerprints add up to the same, hour by hour, and one is kept; else all count. Copies
of one event that a client sends twice, to both, come within 72 hours and so lie among what is kept event by event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import blake2b
from itertools import groupby
from typing import Any

from pipeline.language.calendars import Within
from pipeline.language.compare import exact
from pipeline.language.memory import MOST, Entry, Ledger, Matcher, Memory, united

HOUR = 3_600_000
WEEK = 7 * 24 * HOUR
KEPT = 2_400  # hours of one ledger
ROOM = 64  # entries after which it is looked whether some may be folded,
FEW = 32  # and whether these are worth it
SAFE = 1 << 53  # beyond that a whole number is written as text
SUM, DISTINCT, TIMES = "sum", "distinct", "times"


def in_hours(within: Within) -> bool:
    """Whether a sum over so long counts in hours; a unit of the calendar doesn't."""
    return within is None or (isinstance(within, int) and within > WEEK)


def begin(at: int) -> int:
    """When the hour begins in which that is."""
    return at - at % HOUR


def since(at: int, within: Within) -> int | None:
    """At `at` counts what occurred after that: the hours that begin within so long; None: all."""
    return begin(at - within) + HOUR - 1 if isinstance(within, int) else None


def amount(entry: Entry) -> Decimal | int:
    """What it adds to a sum."""
    value = entry.value
    if not isinstance(value, list):
        return exact(value)
    return value[1] if isinstance(value[1], int) else Decimal(value[1])


def times(entry: Entry) -> int:
    """How often."""
    return entry.value[0] if isinstance(entry.value, list) else 1


def told(entry: Entry) -> Any:
    """Of different values, which."""
    return entry.value[0] if isinstance(entry.value, list) else entry.value


def folded(entry: Entry) -> bool:
    """Whether it stands for the events of an hour."""
    return isinstance(entry.value, list)


class Hours(Matcher):
    """Which events a sum counts (`how`: SUM, DISTINCT or TIMES), and their hours. `reach`: how far back anybody asks
    who doesn't ask for ever, ms.
    """

    def __init__(
        self,
        how: str,
        events: tuple[str, ...],
        where: Mapping[str, Mapping[str, Any]],
        *,
        value: str | None = None,
        per: str | None = None,
        within: int | None = None,
    ) -> None:
        super().__init__(events, where, value=value, per=per, within=within, newest=MOST)
        self.how, self.reach = how, within or 0
        self.most = MOST if how == DISTINCT else KEPT
        # Who asks for single events has another ledger of the same.
        self.id = blake2b(f"{self.id} {how}".encode(), digest_size=8).hexdigest()

    def asked(self, other: Matcher) -> None:
        """See Matcher."""
        super().asked(other)
        if isinstance(other, Hours):
            self.reach = max(self.reach, other.reach)

    def take(self, memory: Memory, key: str, entry: Entry) -> bool:
        """See Matcher."""
        if not super().take(memory, key, entry):
            return False
        ledger = memory[self.ledger(key)]
        if len(ledger) % ROOM == 0:
            self._fold(ledger, entry.received_at, FEW)
        return True

    def bound(self, ledger: Ledger) -> None:
        """Folding does it."""

    def forget(self, memory: Memory, horizon: int) -> None:
        """See Matcher."""
        super().forget(memory, horizon)
        for name in [self.id] if self.per is None else [name for name in memory if name.startswith(f"{self.id}\0")]:
            if name in memory:
                self._fold(memory[name], horizon + self.slack, 1)

    def joined(self, mine: Ledger, theirs: Ledger) -> Ledger:
        """See Matcher, and above."""
        hours = {begin(entry.occurred_at) for entry in (*mine, *theirs) if folded(entry)}
        if self.how == DISTINCT:
            found = self._together(filter(folded, (*mine, *theirs)), 0)
            return united(found, [each for each in (*mine, *theirs) if not folded(each)])
        out = [each for each in (*mine, *theirs) if begin(each.occurred_at) not in hours]
        sides = [
            {hour: list(group) for hour, group in groupby(side, key=lambda e: begin(e.occurred_at)) if hour in hours}
            for side in (mine, theirs)
        ]
        for hour in hours:
            a, b = (side.get(hour, []) for side in sides)
            if a and b and _digest(a) == _digest(b):  # a copy
                b = []
            out += self._together(filter(folded, (*a, *b)), 0)
            out += [each for each in (*a, *b) if not folded(each)]
        return united(out)

    def lacks(self, memory: Memory, key: str | None, since: int) -> bool:
        """See Matcher."""
        found = [entry for entry in memory.get(self.ledger(key), ()) if folded(entry)]
        return bool(found) and (len(found) >= self.most or found[-1].occurred_at > since)

    def _fold(self, ledger: Ledger, now: int, few: int) -> None:
        """What no moment lies in any more becomes hours, if there are a `few` of it. Of too much the older half does,
        though a moment may lie in it.
        """
        single = [entry for entry in ledger if not folded(entry)]
        upto, over = begin(now - self.slack), len(single) - MOST // 2 if len(single) >= MOST else 0
        go = [
            entry
            for place, entry in enumerate(single)
            if (entry.occurred_at < upto or place < over) and (entry.received_at < now or place < over - MOST)
        ]
        if len(go) < few:
            return
        old = now - self.slack - self.reach if self.within is None else 0
        found = self._together([*filter(folded, ledger), *go], old)
        if (over := len(found) - self.most) > 0:
            if self.within is None and self.how != DISTINCT:  # all is still all; only who asks for less finds more
                found = [*self._together(found[: over + 1], 1 << 62), *found[over + 1 :]]
            else:
                del found[:over]
        gone_ones = set(map(id, go))
        ledger[:] = _sorted([*found, *(entry for entry in single if id(entry) not in gone_ones)])
        for place, entry in enumerate(ledger[:-1]):  # of a ledger's last it is asked which event it was
            if entry.received_at and folded(entry):
                ledger[place] = Entry(entry.occurred_at, 0, "", 0, entry.value)

    def _together(self, entries: Iterable[Entry], old: int) -> Ledger:
        """Folded, an entry for each hour; for all that is before `old`, one."""
        into: dict[Any, list[Entry]] = {}
        for entry in entries:
            hour = begin(entry.occurred_at)
            bucket = told(entry) if self.how == DISTINCT else -1 if hour + HOUR <= old else hour
            into.setdefault(bucket, []).append(entry)
        return _sorted([self._one(each) for each in into.values()])

    def _one(self, entries: list[Entry]) -> Entry:
        last = max(entries, key=lambda entry: entry.order)
        if self.how == DISTINCT:
            value = [told(last)]
        else:
            total = sum(map(amount, entries)) if self.how == SUM else 0
            value = [sum(map(times, entries)), _written(total), _digest(entries)]
        return Entry(last.occurred_at, last.received_at, last.event_id, last.fingerprint, value)


def _written(number: Decimal | int) -> int | str:
    """As it can be stored."""
    if isinstance(number, Decimal) and number == number.to_integral_value() and abs(number) < SAFE:
        number = int(number)
    return number if isinstance(number, int) and abs(number) < SAFE else str(number)


def _digest(entries: list[Entry]) -> int:
    """The same of the same events."""
    return sum(entry.value[2] if folded(entry) else entry.fingerprint for entry in entries) % (1 << 63)


def _sorted(entries: list[Entry]) -> Ledger:
    return sorted(entries, key=lambda entry: entry.order)
