"""What most parts are made of. Each says here, plainly, what it means; `_counting.pxi` does the same compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pipeline.events.catalogue import MOST
from pipeline.profile.parts.part import CODE, PartEvent, Primitive, Step, bounded


class Earliest(Primitive):
    """The first time at which something happened (UTC ms; 0: never)."""

    def empty(self) -> int:
        return 0

    def take(self, state: int, event: PartEvent) -> int:
        return event.occurred_at if event.occurred_at < state or not state else state

    def merge(self, a: int, b: int) -> int:
        return min(a, b) if a and b else a or b

    def step(self, kind: str) -> Step:
        return Step("earliest")


class Latest(Primitive):
    """The last time at which something happened (UTC ms; 0: never)."""

    def empty(self) -> int:
        return 0

    def take(self, state: int, event: PartEvent) -> int:
        return max(state, event.occurred_at)

    def merge(self, a: int, b: int) -> int:
        return max(a, b)

    def step(self, kind: str) -> Step:
        return Step("latest")


class Sum(Primitive):
    """Of a field, a whole number."""

    def __init__(self, field: str, kinds: Iterable[str]) -> None:
        self.field, self.kinds = field, frozenset(kinds)

    def empty(self) -> int:
        return 0

    def take(self, state: int, event: PartEvent) -> int:
        return bounded(state + (event.data.get(self.field) or 0))

    def merge(self, a: int, b: int) -> int:
        return bounded(a + b)

    def discount(self, state: int, event: PartEvent) -> int:
        return bounded(state - (event.data.get(self.field) or 0))

    def step(self, kind: str) -> Step:
        return Step("sum", (self.field,))


class Counter(Primitive):
    """Key -> events; the highest `keep` keys. The key is the event type's code, or, with `per`, the number of the span
    of so many ms in which it happened, from 1970 on.
    """

    def __init__(self, per: int = 0, keep: int = 0) -> None:
        self.per, self.keep = per, keep

    def empty(self) -> dict[int, int]:
        return {}

    def take(self, state: dict[int, int], event: PartEvent) -> dict[int, int]:
        key = self._key(event)
        state[key] = bounded(state.get(key, 0) + 1)
        return self._highest(state)

    def merge(self, a: dict[int, int], b: dict[int, int]) -> dict[int, int]:
        return self._highest({key: bounded(a.get(key, 0) + b.get(key, 0)) for key in sorted({*a, *b})})

    def discount(self, state: dict[int, int], event: PartEvent) -> dict[int, int]:
        key = self._key(event)
        if key in state:
            state[key] = bounded(state[key] - 1)
        return state

    def step(self, kind: str) -> Step:
        """`count`: of this key, in a map of so many; `span`: of so many ms."""
        keep = self.keep or MOST
        return Step("span", (), (self.per, keep)) if self.per else Step("count", (), (CODE[kind], keep))

    def _key(self, event: PartEvent) -> int:
        return event.occurred_at // self.per if self.per else event.code

    def _highest(self, state: dict[int, int]) -> dict[int, int]:
        if not self.keep or len(state) <= self.keep:
            return state
        return {key: state[key] for key in sorted(state)[-self.keep :]}


class Tally(Primitive):
    """Name -> [events, last UTC second] of the `keep` names that were met last. The name is the first of these fields
    that is there. One that fell out and is met again starts anew: beyond `keep` of them order may tell.
    """

    def __init__(self, names: tuple[str, ...], kinds: Iterable[str], keep: int) -> None:
        self.names, self.kinds, self.keep = names, frozenset(kinds), keep

    def empty(self) -> dict[str, list[int]]:
        return {}

    def take(self, state: dict[str, list[int]], event: PartEvent) -> dict[str, list[int]]:
        name, second = self._name(event), event.occurred_at // 1000
        if name:
            had = state.get(name)
            state[name] = [1, second] if had is None else [bounded(had[0] + 1), max(had[1], second)]
            if len(state) > self.keep:
                del state[min(state, key=lambda n: (state[n][1], n))]
        return state

    def merge(self, a: dict[str, list[int]], b: dict[str, list[int]]) -> dict[str, list[int]]:
        both = {name: list(each) for name, each in a.items()}
        for name, (events, last) in b.items():
            had = both.get(name)
            both[name] = [events, last] if had is None else [bounded(had[0] + events), max(had[1], last)]
        return capped(both, self.keep, lambda each: each[1])

    def discount(self, state: dict[str, list[int]], event: PartEvent) -> dict[str, list[int]]:
        had = state.get(self._name(event))
        if had is not None:
            had[0] = bounded(had[0] - 1)
        return state

    def step(self, kind: str) -> Step:
        return Step("tally", self.names, (self.keep,))

    def _name(self, event: PartEvent) -> str:
        return next((value for name in self.names if (value := event.data.get(name))), "")


class EarliestOfEach(Primitive):
    """Name -> the earliest UTC second a slot, 0 unknown, of the `keep` names that were heard of last. The name is what
    a field tells; which of the `width` slots, the event type. Of an event that tells `unless`, (field, value), nothing
    is kept.

    One that fell out and is met again starts anew: beyond `keep` of them order may tell.
    """

    def __init__(self, name: str, slots: Mapping[str, int], width: int, unless: tuple[str, str], keep: int) -> None:
        self.name, self.slots, self.width, self.unless, self.keep = name, slots, width, unless, keep
        self.kinds = frozenset(slots)

    def empty(self) -> dict[str, list[int]]:
        return {}

    def take(self, state: dict[str, list[int]], event: PartEvent) -> dict[str, list[int]]:
        name, (field, value) = event.data.get(self.name), self.unless
        if not name or event.data.get(field) == value:
            return state
        times = state.setdefault(name, [0] * self.width)
        slot, second = self.slots[event.kind], event.occurred_at // 1000
        if not times[slot] or second < times[slot]:
            times[slot] = second
        return capped(state, self.keep, max)

    def merge(self, a: dict[str, list[int]], b: dict[str, list[int]]) -> dict[str, list[int]]:
        both = {name: list(times) for name, times in a.items()}
        for name, times in b.items():
            had = both.get(name, times)
            both[name] = [min(x, y) if x and y else x or y for x, y in zip(had, times, strict=True)]
        return capped(both, self.keep, max)

    def step(self, kind: str) -> Step:
        return Step("each", (self.name,), (self.slots[kind], self.width, self.keep), self.unless)


class Newest(Primitive):
    """Name -> [value, occurred_at, fingerprint], by what a field, a map, tells: of each name what was told last; the
    `keep` names of which something was told last.
    """

    def __init__(self, field: str, kinds: Iterable[str] | None, keep: int) -> None:
        self.field, self.keep = field, keep
        self.kinds = None if kinds is None else frozenset(kinds)

    def empty(self) -> dict[str, list[Any]]:
        return {}

    def take(self, state: dict[str, list[Any]], event: PartEvent) -> dict[str, list[Any]]:
        told = event.data.get(self.field) or {}
        return self.merge(state, {name: [value, event.occurred_at, event.fingerprint] for name, value in told.items()})

    def merge(self, a: dict[str, list[Any]], b: dict[str, list[Any]]) -> dict[str, list[Any]]:
        both = dict(a)
        for name, each in b.items():
            if name not in both or both[name][1:] < each[1:]:
                both[name] = each
        return capped(both, self.keep, lambda each: (each[1], each[2]))

    def step(self, kind: str) -> Step:
        return Step("newest", (self.field,), (self.keep,))


def capped(items: dict[str, Any], keep: int, age: Callable[[Any], Any]) -> dict[str, Any]:
    """The youngest of them; of those of one age the last by name."""
    if len(items) <= keep:
        return items
    names = sorted(items, key=lambda n: (age(items[n]), n))[-keep:]
    return {n: items[n] for n in sorted(names)}
