"""Orders that are told more than once: the thank-you page reopened, client and server both (semantics 12)."""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

DAY = 86_400_000
REMEMBERED = 30 * DAY
KEPT = 200

Told = dict[int, list[int]]
"""Order id, hashed -> [the earliest time told, the last receipt], UTC ms."""


def tell(told: Told, order_id: str, occurred_at: int, received_at: int) -> int:
    """Take a telling in, in order of knowledge; returns when it counts as having occurred: the earliest time told."""
    name = xxh3_64_intdigest(order_id.encode())
    had = told.get(name)
    if had is None or received_at - had[1] > REMEMBERED:
        told[name] = [occurred_at, received_at]
        if len(told) > KEPT:
            _bound(told)
        return occurred_at
    told[name] = [min(had[0], occurred_at), received_at]
    return told[name][0]


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
