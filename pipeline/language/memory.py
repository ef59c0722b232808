"""What is remembered of a person so that conditions have a value at each moment: ledgers of the events that they count.

A ledger belongs to a *matcher*: which events, under which `where`, by which key, and what is read of them. Conditions
that count the same share one. A ledger is sorted by occurrence and bounded; all that a condition ever asks is what
stands in it up to a moment.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Set
from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.events import tidy
from pipeline.events.catalogue import OWN, own_test
from pipeline.grammar.vocabulary import MADE
from pipeline.language.calendars import Calendar, Within
from pipeline.language.carts import Change
from pipeline.language.paths import keys_of, needs, read_path
from pipeline.language.where import EventTest, compile_where
from pipeline.language.whereabouts import Whereabouts

ANY = "any"
"""In place of event types: anything of a person's own doing."""
DECIDED = "decided"
"""The type under which decisions are noted: their `rule` and `outcome`, occurred when they were due."""
KEYS_KEPT = 500  # of a matcher that counts by key
SPARE = 32  # entries beyond those that are asked for: a moment may lie before the newest ones
MOST = 500  # entries of one ledger

Named = tuple[str, int]
"""Event id and fingerprint."""
Known = tuple[int, int, str, int]
"""Order of knowledge: received_at, occurred_at, event id, fingerprint."""


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One event that a condition counts. `value`: what is read of it, or None."""

    occurred_at: int
    received_at: int
    event_id: str
    fingerprint: int
    value: Any = None

    @property
    def order(self) -> tuple[int, int, str, int]:
        """By occurrence."""
        return (self.occurred_at, self.received_at, self.event_id, self.fingerprint)

    @property
    def named(self) -> Named:
        """Which event it is."""
        return (self.event_id, self.fingerprint)

    @property
    def known(self) -> Known:
        """By knowledge."""
        return (self.received_at, self.occurred_at, self.event_id, self.fingerprint)


Ledger = list[Entry]
Memory = dict[str, Ledger]
"""`Matcher.ledger` -> ledger."""


def united(*ledgers: Ledger) -> Ledger:
    """Each entry once."""
    found = {entry.order: entry for ledger in ledgers for entry in ledger}
    return [found[order] for order in sorted(found)]


class Matcher:
    """Which events a condition counts.

    `events`: types, or (ANY,). `value`: a path whose value is kept; `has`: it is kept whether this holds. `per`: a
    path: a ledger for each of its values. `within`: how far back anybody asks, ms; None: for ever. `first`: so many of
    the oldest entries are kept for good; `newest`: and so many of the others, at least. `zoned`: what they are to the
    condition hangs on where the person is. `picky`: not each entry of a ledger counts for each key. `slack`: how far a
    moment of which anybody asks may lie before the one that the fold has reached, ms. `reads`: something is read of an
    event.
    """

    picky = False
    slack = 1 << 62

    def __init__(
        self,
        events: tuple[str, ...],
        where: Mapping[str, Mapping[str, Any]],
        *,
        value: str | None = None,
        has: Mapping[str, Mapping[str, Any]] | None = None,
        per: str | None = None,
        within: int | None = None,
        first: int = 0,
        newest: int = 1,
        zoned: bool = False,
    ) -> None:
        self.events, self.where, self.value, self.per = tuple(sorted(set(events))), where, value, per
        self.has, self.within, self.first, self.newest, self.zoned = has, within, first, newest, zoned
        self._own = ANY in self.events
        self.reads = value is not None or has is not None or type(self).read is not Matcher.read
        told = msgspec.json.encode([self.events, where, value, has, per], order="deterministic")
        self.id = blake2b(told, digest_size=8).hexdigest()
        self._tests: dict[str, EventTest | None] = {}
        self._has: dict[str, EventTest | None] = {}
        self._value: Callable[[Mapping[str, Any]], Any] | None = None if value is None else read_path(value)
        self._per: Callable[[Mapping[str, Any]], Any] | None = None if per is None else read_path(per)
        self._keys = None if per is None else keys_of(per)

    def asked(self, other: Matcher) -> None:
        """`other` counts the same events: from now on this one keeps what either asks for."""
        self.within = None if self.within is None or other.within is None else max(self.within, other.within)
        self.first, self.newest = max(self.first, other.first), max(self.newest, other.newest)
        self.zoned |= other.zoned

    def fields(self) -> tuple[str, ...]:
        """Of an event's data, that are looked at."""
        paths = [*self.where, *(self.has or ()), *(path for path in (self.value, self.per) if path is not None)]
        own = OWN if self._own else ()
        return (*dict.fromkeys([*(field for path in paths for field in needs(path)), *own]),)

    def test(self, kind: str) -> EventTest | None:
        """What says whether an event of one of its types is one of them; None: each is."""
        meets = compile_where(tidy.operands(kind, self.where))
        own = own_test(kind) if self._own and kind not in MADE else None
        if own is None or meets is None:
            return own or meets
        return lambda data: own(data) and meets(data)

    def counts(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Whether an event of one of its types is one of them."""
        if kind not in self._tests:
            self._tests[kind] = self.test(kind)
        test = self._tests[kind]
        return test is None or test(data)

    def read(self, kind: str, data: Mapping[str, Any], change: Change | None = None) -> Any:
        """What is kept of an event: a text, a number, true or false; None: nothing. `change`: what it does to a cart,
        where that was read already.
        """
        if self.has is not None:
            if kind not in self._has:
                self._has[kind] = compile_where(tidy.operands(kind, self.has))
            test = self._has[kind]
            return test is None or test(data)
        if self._value is None:
            return None
        value = self._value(data)
        if isinstance(value, list | tuple):
            value = value[0] if value else None
        if isinstance(value, str):
            return value[:256]
        return value if isinstance(value, int | float) else None

    def keys(self, data: Mapping[str, Any]) -> list[str]:
        """By which keys it counts; [""] where it doesn't count by key, or the event has none."""
        if self._per is None:
            return [""]
        if self._keys is not None:
            return self._keys(data) or [""]
        value = self._per(data)
        return [str(value) if value is not None else ""]

    def ledger(self, key: str | None) -> str:
        """The name of its ledger for that key."""
        return self.id if self.per is None else f"{self.id}\0{key or ''}"

    def concerns(self, entry: Entry, key: str | None) -> bool:
        """Whether an entry of that ledger counts for the key, where the matcher is `picky`."""
        return True

    def concerns_others(self, entry: Entry) -> bool:
        """Whether it counts for other keys, too, than for those under which it is noted."""
        return False

    def known(self, memory: Memory) -> Iterable[str]:
        """The keys of which it remembers something, where its ledgers aren't named after them."""
        return ()

    def lacks(self, memory: Memory, key: str | None, since: int) -> bool:
        """Whether what it has forgotten could matter at a moment from then on, UTC ms."""
        return len(memory.get(self.ledger(key), ())) >= MOST

    def take(self, memory: Memory, key: str, entry: Entry) -> bool:
        """Note one more. False: it is known already."""
        name = self.id if self.per is None else self.ledger(key)
        ledger = memory.get(name)
        if ledger is None:
            ledger = memory[name] = []
        if not ledger or entry.occurred_at > ledger[-1].occurred_at or entry.order > ledger[-1].order:
            ledger.append(entry)
        elif any(e.event_id == entry.event_id and e.fingerprint == entry.fingerprint for e in ledger):
            return False
        else:
            insort(ledger, entry, key=lambda e: e.order)
        self.bound(ledger)
        return True

    def bound(self, ledger: Ledger) -> None:
        """Of too many entries, those go that are neither among the oldest nor among the newest that are asked for."""
        if len(ledger) > SPARE and len(ledger) > (most := min(self.first + self.newest + SPARE, MOST)):
            del ledger[self.first : len(ledger) - most + self.first]

    def joined(self, mine: Ledger, theirs: Ledger) -> Ledger:
        """Of two persons who turn out to be one."""
        ledger = united(mine, theirs)
        self.bound(ledger)
        return ledger

    def forget(self, memory: Memory, horizon: int) -> None:
        """What occurred before `horizon`, less what is asked for, says nothing any more. One newest entry stays."""
        if self.within is None:
            return
        before = horizon - self.within
        names = [self.id] if self.per is None else [name for name in memory if name.startswith(f"{self.id}\0")]
        for name in names:
            ledger = memory.get(name)
            if not ledger or ledger[0].occurred_at >= before:
                continue
            gone = bisect_right(ledger, before, key=lambda e: e.occurred_at)
            if gone == len(ledger) and self.per is not None:
                del memory[name]
            else:
                del ledger[self.first : min(gone, len(ledger) - 1)]
        if len(names) > KEYS_KEPT:
            names = [name for name in names if name in memory]
            names.sort(key=lambda name: (memory[name][-1].order, name))
            for name in names[: max(0, len(names) - KEYS_KEPT)]:
                del memory[name]


class Moment:
    """A person at a moment, as conditions look at them.

    `at`: UTC ms. `key`: the correlation key in question, or None. `start`: when the wait in question began, or None.
    `decided`: what was decided later isn't known; None: all is. `without`: these events (event id, fingerprint) don't
    count. `segments`: name -> since when they are in it. `there`: where they were, or None: nobody has told. `walked`:
    of who goes on from moment to moment, what was worked out at an earlier one: a matcher's id -> (at, what it likes);
    else None.
    """

    __slots__ = ("at", "decided", "key", "memory", "segments", "start", "there", "walked", "without")

    def __init__(
        self,
        memory: Memory,
        at: int,
        *,
        key: str | None = None,
        start: int | None = None,
        decided: int | None = None,
        without: Set[Named] = frozenset(),
        segments: Mapping[str, int] | None = None,
        there: Whereabouts | None = None,
    ) -> None:
        self.memory, self.at, self.key, self.start, self.without = memory, at, key, start, without
        self.decided, self.there = decided, there
        self.segments: Mapping[str, int] = segments or {}
        self.walked: dict[str, tuple[int, Any]] | None = None

    def of(self, matcher: Matcher, since: int | None = None) -> Ledger:
        """What stands in a ledger that occurred up to this moment, and after `since`."""
        ledger = self.memory.get(matcher.ledger(self.key))
        if not ledger:
            return []
        if ledger[-1].occurred_at > self.at:
            ledger = ledger[: bisect_right(ledger, self.at, key=lambda e: e.occurred_at)]
        if since is not None and ledger and ledger[0].occurred_at <= since:
            ledger = ledger[bisect_right(ledger, since, key=lambda e: e.occurred_at) :]
        if matcher.picky:
            ledger = [e for e in ledger if matcher.concerns(e, self.key)]
        return [e for e in ledger if e.named not in self.without] if self.without else ledger

    def next(self, matcher: Matcher) -> int | None:
        """When the first occurs, after this moment, that stands in a ledger: what is decided may be due later."""
        ledger = self.memory.get(matcher.ledger(self.key))
        if not ledger or ledger[-1].occurred_at <= self.at:
            return None
        return ledger[bisect_right(ledger, self.at, key=lambda e: e.occurred_at)].occurred_at

    def zone(self, otherwise: str) -> str:
        """The time zone in which they are, `otherwise` where nobody knows."""
        return (self.there.at(self.at) if self.there is not None else None) or otherwise

    def ends(self, calendar: Calendar) -> int:
        """When the unit of the calendar is over that it is now: of what counts in it nothing is left then."""
        return calendar.end(self.at, self.zone(calendar.otherwise))

    def since(self, within: Within, *, start: bool = False) -> int | None:
        """What occurred after that is looked at: None: all."""
        if isinstance(within, Calendar):
            found: int | None = within.begin(self.at, self.zone(within.otherwise)) - 1
        else:
            found = None if within is None else self.at - within
        if start and self.start is not None:
            return self.start - 1 if found is None else max(found, self.start - 1)
        return found
