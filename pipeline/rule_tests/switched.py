"""Which rules and segments are on in a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from pipeline.topology.model import Rule, Segment, Topology

_SPEAKS = ("segment", "trigger")


class Rehearsal(msgspec.Struct, frozen=True):
    """`topology`: as it is; `whole`: with all that is switched off in it switched on."""

    topology: Topology
    whole: Topology

    def with_on(self, names: Iterable[str]) -> Topology:
        """The topology with these rules and segments on, and those that they speak of, and so on."""
        spoken = _spoken(self.whole)
        on = {rule.name for rule in self.topology.rules} | {segment.name for segment in self.topology.segments}
        left = list(names)
        while left:
            name = left.pop()
            if name not in on:
                on.add(name)
                left += spoken.get(name, ())
        rules = tuple(rule for rule in self.whole.rules if rule.name in on)
        segments = tuple(segment for segment in self.whole.segments if segment.name in on)
        return msgspec.structs.replace(self.whole, rules=rules, segments=segments)


def _spoken(topology: Topology) -> dict[str, set[str]]:
    """Name of a rule or segment -> those that its conditions speak of."""
    every: tuple[Rule | Segment, ...] = (*topology.rules, *topology.segments)
    return {each.name: {name for condition in _conditions(each) for name in _names(condition)} for each in every}


def _conditions(of: Rule | Segment) -> tuple[Any, ...]:
    if isinstance(of, Segment):
        return (of.when,)
    return (of.when, of.only_if, of.until and of.until[0])


def _names(condition: Any) -> Iterator[str]:
    if isinstance(condition, Mapping):
        for key, value in condition.items():
            if key in _SPEAKS and isinstance(value, str):
                yield value
            yield from _names(value)
    elif isinstance(condition, list | tuple):
        for each in condition:
            yield from _names(each)
