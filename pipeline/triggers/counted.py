"""What an event of a person is to conditions, and what these are with it, in words: for `pipeline explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from pipeline.events.catalogue import own_doing
from pipeline.grammar.vocabulary import MADE
from pipeline.language.condition import Condition
from pipeline.language.events import types_of
from pipeline.language.memory import Entry, Memory, Moment
from pipeline.language.whereabouts import Whereabouts, tell
from pipeline.triggers import happening, orders
from pipeline.triggers.rules import ORDERS, RuleBook
from pipeline.wire.row import Row


class Counted:
    """Takes a person's events in order of receipt. `conditions`: what each is, and itself; `segments`: those of which
    they speak, and which is spoken of first; `keyed`: there is a value for each key. Triggers aren't worked out.
    """

    def __init__(
        self, conditions: Sequence[tuple[str, Condition]], segments: dict[str, Condition], *, keyed: bool
    ) -> None:
        self.memory: Memory = {}
        self.there: Whereabouts | None = None
        self.members: dict[str, int] = {}
        self._conditions, self._segments, self._keyed = conditions, segments, keyed
        self._orders: orders.Told = {}

    def begins(self, book: RuleBook, row: Row) -> bool:
        """Note that somebody was here; whether that begins a visit, which is an event of its own."""
        if not book.visits or row.type in MADE or not own_doing(row.type, row.data):
            return False
        return happening.begins(self.memory, row.occurred_at, row.received_at, book.max_age)

    def steps(self, row: Row) -> Iterator[tuple[str | None, bool, str]]:
        """(key, True, what it is), one for each condition and key that counts it."""
        there = self.there = tell(self.there, row.data, row.occurred_at, row.received_at, row.event_id)
        at, first = row.occurred_at, True
        if row.type in ORDERS and (order_id := row.data.get("order_id")):
            first, at = orders.tell(self._orders, order_id, at, row.received_at)
        entry = Entry(at, row.received_at, row.event_id, row.fingerprint)
        counted = [(what, each, self._take(each, row, entry, amounts=first)) for what, each in self._conditions]
        for name, condition in self._segments.items():
            if condition.holds(Moment(self.memory, row.received_at, segments=self.members, there=there)):
                self.members.setdefault(name, row.received_at)
            else:
                self.members.pop(name, None)
        for what, condition, keys in counted:
            for key in keys:
                of = key if self._keyed else None
                now = Moment(self.memory, row.received_at, key=of, segments=self.members, there=there)
                why = condition.fails(now)
                yield key or None, True, f"is counted; {what}: " + (f"not so, {why}" if why else f"so, {condition}")

    def _take(self, condition: Condition, row: Row, entry: Entry, *, amounts: bool) -> list[str]:
        """The keys under which it counts it."""
        keys: dict[str, None] = {}
        for matcher in condition.matchers():
            if row.type in types_of(matcher.events) and matcher.counts(row.type, row.data):
                value = None if not amounts and matcher.value is not None else matcher.read(row.type, row.data)
                for key in matcher.keys(row.data):
                    matcher.take(self.memory, key, msgspec.structs.replace(entry, value=value))
                    keys[key] = None
        return list(keys)


def segments_of(book: RuleBook, named: frozenset[str]) -> dict[str, Condition]:
    """Those that are named, and of which these speak: first what others hang on."""
    segments = {} if book.watches is None else book.watches.segments
    for name in reversed(segments):  # each stands after those that it speaks of
        if name in named:
            named |= segments[name].condition.segments()
    return {name: watch.condition for name, watch in segments.items() if name in named}
