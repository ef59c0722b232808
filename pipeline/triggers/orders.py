"""What a person ordered, and orders that are told more than once: the thank-you page reopened, client and server both
(semantics 12).

Which telling was first depends on the order of receipt, and on when two persons turned out to be one; so all of it is
counted on the fold's clock, not on arrival as the rest of what people read.
"""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

from pipeline.language import money

DAY = 86_400_000
REMEMBERED = 30 * DAY
KEPT = 200

Told = dict[int, list[int]]
"""Order id, hashed -> [the earliest time told, the last receipt], UTC ms."""


Sums = dict[str, list[float]]
"""Currency, or nothing -> [orders, revenue]."""


def tell(told: Told, order_id: str, occurred_at: int, received_at: int) -> tuple[bool, int]:
    """Take a telling in, in order of knowledge: whether it is the first, and when it counts as having occurred, at the
    earliest time told.
    """
    name = xxh3_64_intdigest(order_id.encode())
    had = told.get(name)
    if had is None or received_at - had[1] > REMEMBERED:
        told[name] = [occurred_at, received_at]
        if len(told) > KEPT:
            _bound(told)
        return True, occurred_at
    told[name] = [min(had[0], occurred_at), received_at]
    return False, told[name][0]


def add(sums: Sums, currency: str | None, total: float | None, orders: float = 1) -> None:
    """One more order."""
    had = sums.setdefault(currency or "", [0, 0.0])
    had[0] += orders
    had[1] = money.plus(had[1], total or 0)


def merge(a: Told, b: Told) -> Told:
    """From a tie on, both sides' tellings are one order."""
    if not a or not b:
        return a or b
    merged = {name: list(times) for name, times in a.items()}
    for name, (earliest, last) in b.items():
        had = merged.get(name)
        merged[name] = [earliest, last] if had is None else [min(had[0], earliest), max(had[1], last)]
    _bound(merged)
    return merged


def _bound(told: Told) -> None:
    """Those received longest ago go."""
    newest = max(last for _, last in told.values())
    for name in [name for name, (_, last) in told.items() if newest - last > REMEMBERED]:
        del told[name]
    for name in sorted(told, key=lambda name: (told[name][1], name))[: max(0, len(told) - KEPT)]:
        del told[name]
