"""Rules and segments that are tried before they are switched on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pipeline.language.speaks import hangs_on, spoken
from pipeline.topology.model import Rule, Segment, Topology


class Rehearsal(msgspec.Struct, frozen=True):
    """`topology`: as it is; `whole`: with all that is switched off in it switched on."""

    topology: Topology
    whole: Topology

    def with_on(self, names: Iterable[str]) -> Topology:
        """The topology with these rules and segments on, and those that they speak of, and so on."""
        on = {*self._with_spoken(names), *(rule.name for rule in self.topology.rules)}
        return self._of(on | {segment.name for segment in self.topology.segments})

    def alone(self, names: Iterable[str]) -> Topology:
        """The topology with these rules, and those that they speak of, and no others."""
        return self._of(self._with_spoken(names) | {segment.name for segment in self.topology.segments})

    def _with_spoken(self, names: Iterable[str]) -> set[str]:
        speaks = _spoken(self.whole)
        found: set[str] = set()
        left = [*names]
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left += speaks.get(name, ())
        return found

    def _of(self, names: set[str]) -> Topology:
        rules = tuple(rule for rule in self.whole.rules if rule.name in names)
        segments = tuple(segment for segment in self.whole.segments if segment.name in names)
        return msgspec.structs.replace(self.whole, rules=rules, segments=segments)


def _spoken(topology: Topology) -> dict[str, set[str]]:
    """Name of a rule or segment -> those that it speaks of."""
    every: tuple[Rule | Segment, ...] = (*topology.rules, *topology.segments)
    segments = [segment.name for segment in topology.segments]
    found = {each.name: {name for condition in _conditions(each) for _, _, name in spoken(condition)} for each in every}
    for each in every:
        told = [*_conditions(each), *_events(each)]
        found[each.name].update(hangs_on(told, segments, topology.measures, topology.lists))
    return found


def _conditions(of: Rule | Segment) -> tuple[Any, ...]:
    if isinstance(of, Segment):
        return (of.when,)
    return (of.when, of.only_if, of.until and of.until[0], *(stage.only_if for stage in of.stages))


def _events(of: Rule | Segment) -> Any:
    """What it asks of events."""
    if isinstance(of, Segment):
        return []
    steps = of.sequence.steps if of.sequence is not None else ()
    selectors = (of.start, of.restart, *(cancel.select for cancel in of.cancel), *(step.select for step in steps))
    return msgspec.to_builtins([each for each in selectors if each is not None])
