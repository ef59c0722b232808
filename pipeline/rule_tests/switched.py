"""Which rules and segments are on in a test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pipeline.language.speaks import spoken
from pipeline.topology.model import Rule, Segment, Topology


class Rehearsal(msgspec.Struct, frozen=True):
    """`topology`: as it is; `whole`: with all that is switched off in it switched on."""

    topology: Topology
    whole: Topology

    def with_on(self, names: Iterable[str]) -> Topology:
        """The topology with these rules and segments on, and those that they speak of, and so on."""
        speaks = _spoken(self.whole)
        on = {rule.name for rule in self.topology.rules} | {segment.name for segment in self.topology.segments}
        left = list(names)
        while left:
            name = left.pop()
            if name not in on:
                on.add(name)
                left += speaks.get(name, ())
        rules = tuple(rule for rule in self.whole.rules if rule.name in on)
        segments = tuple(segment for segment in self.whole.segments if segment.name in on)
        return msgspec.structs.replace(self.whole, rules=rules, segments=segments)


def _spoken(topology: Topology) -> dict[str, set[str]]:
    """Name of a rule or segment -> those that its conditions speak of."""
    every: tuple[Rule | Segment, ...] = (*topology.rules, *topology.segments)
    return {each.name: {name for condition in _conditions(each) for _, _, name in spoken(condition)} for each in every}


def _conditions(of: Rule | Segment) -> tuple[Any, ...]:
    if isinstance(of, Segment):
        return (of.when,)
    return (of.when, of.only_if, of.until and of.until[0], *(stage.only_if for stage in of.stages))
