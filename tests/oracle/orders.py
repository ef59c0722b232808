"""One order told more than once: semantics 12, for the oracle. Shares no code with `pipeline`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.oracle.reading import ORDERS
from tests.oracle.who import Fact

DAY = 24 * 60 * 60_000
REMEMBERED = 30 * DAY
NEWEST = 200


@dataclass(frozen=True)
class Told:
    """An order id that was told. `earliest`: time told so far; `last`: its last receipt (ms)."""

    earliest: int
    last: int


@dataclass
class OrderIds:
    """12: the order ids of a person: the newest 200, each for 30 days from its last receipt."""

    known: dict[str, Told] = field(default_factory=dict)

    def counted(self, fact: Fact) -> Fact:
        """12: a telling of an order, as occurred at the earliest time told so far; any other fact as it is."""
        order = fact.get("order_id") if fact.type in ORDERS else None
        if order is None:
            return fact
        self.forget(fact.received_at)
        told = self.known.get(order)
        earliest = fact.occurred_at if told is None else min(told.earliest, fact.occurred_at)
        self.known[order] = Told(earliest, fact.received_at)
        self.forget(fact.received_at)
        return replace(fact, occurred_at=earliest)

    def join(self, other: OrderIds, moment: int) -> None:
        """12: from a tie on, both sides' tellings are one order."""
        self.forget(moment)
        other.forget(moment)
        for order, theirs in other.known.items():
            mine = self.known.get(order, theirs)
            self.known[order] = Told(min(mine.earliest, theirs.earliest), max(mine.last, theirs.last))
        self.forget(moment)

    def forget(self, moment: int) -> None:
        """12: what is no longer remembered at `moment`."""
        fresh = {order: told for order, told in self.known.items() if moment - told.last <= REMEMBERED}
        newest = sorted(fresh, key=lambda order: (fresh[order].last, order))[-NEWEST:]
        self.known = {order: fresh[order] for order in newest}
