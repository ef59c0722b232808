"""How much must happen before a condition can be otherwise, so that nobody looks at it for each event that it counts.

Most of what somebody does brings a condition no nearer to another verdict: whoever was just here isn't away for thirty
days, and of who looked twice at something nobody need ask whether it was ten times. So a condition says by how much an
event of each matcher may bring it nearer to holding, and to holding no longer (`Weights`), and of a moment how much of
that it takes at least (`room`). What it says is so at that moment and, as long as time alone changes nothing (`turns`),
at each later one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, floor
from typing import Any, NamedTuple

ANY = 1 << 62  # an event that may change whatever
MOST = 65_535  # no room is greater: now and then one looks anyhow


class Weights(NamedTuple):
    """A matcher's id -> by how much one more event of it brings what doesn't hold nearer to holding (`up`), and what
    holds nearer to holding no longer (`down`): nought, of what it brings no nearer.
    """

    up: Mapping[str, int]
    down: Mapping[str, int]


def unknown(ids: Iterable[str]) -> Weights:
    """Whatever happens may change it."""
    every = dict.fromkeys(ids, ANY)
    return Weights(every, every)


def together(parts: Iterable[Weights]) -> Weights:
    """As each of several conditions is concerned at most."""
    up: dict[str, int] = {}
    down: dict[str, int] = {}
    for part in parts:
        for whole, of in ((up, part.up), (down, part.down)):
            for name, weight in of.items():
                whole[name] = max(weight, whole.get(name, 0))
    return Weights(up, down)


def rises(tests: Mapping[str, Any]) -> bool | None:
    """Whether a number that only grows may come to meet these (`gte: 3`), or to meet them no longer (`lt: 3`); None:
    either.
    """
    return None if len(tests) != 1 else {"gte": True, "gt": True, "lt": False, "lte": False}.get(next(iter(tests)))


def left(tests: Mapping[str, Any], number: float) -> int:
    """How much may be added, in whole numbers, before what is compared by one of those is otherwise."""
    ((how, bound),) = tests.items()
    return max(0, min(MOST, int((ceil(bound) - 1 if how in ("gte", "lt") else floor(bound)) - number)))
