"""In which time zone a person was, on the fold's clock: the last that was told up to a moment, by occurrence."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from pipeline.language import zones

ZONE, TRAITS = "context.timezone", "traits"  # where events tell it
KEPT = 20
ALIKE = 2  # that tell the same, one after another
Told = tuple[int, int, str]
"""When it occurred, when it was received (UTC ms); the id of the event that told it, a zero byte, and the zone (without
the first two where an older version stored it).
"""


class Known(Protocol):
    """An event's place in the order of knowledge."""

    received_at: int
    occurred_at: int
    event_id: str


class Whereabouts(msgspec.Struct, array_like=True, gc=False):
    """What was told of a person's time zone: by the context of what they did, and as a trait of theirs, which counts
    where nothing of the other kind is known. Of many that tell the same one after another the first and the last.
    """

    context: list[Told] = []
    trait: list[Told] = []

    def at(self, moment: int) -> str | None:
        """Their zone then (UTC ms), as far as is known; None: it isn't."""
        for told in (self.context, self.trait):
            place = bisect_right(told, moment, key=_occurred)
            if place:
                return _zone_of(told[place - 1])
        return None

    def upto(self, moment: int, last: Known | None) -> Whereabouts:
        """What was known before that moment and, of what was received then, up to `last`."""

        def known(told: Told) -> bool:
            if told[1] < moment or last is None:
                return told[1] < moment
            return (told[1], told[0], told[2].rpartition("\0")[0]) <= (
                last.received_at,
                last.occurred_at,
                last.event_id,
            )

        return Whereabouts(list(filter(known, self.context)), list(filter(known, self.trait)))

    def next(self, moment: int) -> int | None:
        """When it was told again after that; None: it wasn't."""
        later = [told[0] for told in (*self.context, *self.trait) if told[0] > moment]
        return min(later, default=None)


def may_tell(data: Mapping[str, Any]) -> bool:
    """Whether an event may tell a zone at all: few do."""
    return ZONE in data or TRAITS in data


def tell(
    known: Whereabouts | None, data: Mapping[str, Any], occurred_at: int, received_at: int, event_id: str
) -> Whereabouts | None:
    """What is known after another event; the same object where that changes no moment's zone."""
    context, trait = _zone(data.get(ZONE)), None
    if traits := data.get(TRAITS):
        trait = next((zone for name in sorted(traits) if _named(name) and (zone := _zone(traits[name]))), None)
    if context is None and trait is None:
        return known
    had = known or Whereabouts()
    told = Whereabouts(
        had.context if context is None else _with(had.context, (occurred_at, received_at, f"{event_id}\0{context}")),
        had.trait if trait is None else _with(had.trait, (occurred_at, received_at, f"{event_id}\0{trait}")),
    )
    if known is not None and _same(known.context, told.context) and _same(known.trait, told.trait):
        known.context, known.trait = told.context, told.trait
        return known
    return told


def joined(a: Whereabouts | None, b: Whereabouts | None) -> Whereabouts | None:
    """Of two who turn out to be one."""
    if a is None or b is None:
        return a or b
    return Whereabouts(
        _kept(sorted({*a.context, *b.context})),
        _kept(sorted({*a.trait, *b.trait})),
    )


def _with(told: list[Told], more: Told) -> list[Told]:
    return _kept(sorted([*told, more]))


def _kept(told: list[Told]) -> list[Told]:
    """Without those between two that tell the same, and the oldest of too many."""
    kept: list[Told] = []
    for each in told:
        before = kept[-ALIKE:]
        if len(before) == ALIKE and all(_zone_of(one) == _zone_of(each) for one in before):
            kept.pop()
        kept.append(each)
    return kept[-KEPT:]


def _same(some: list[Told], others: list[Told]) -> bool:
    """Whether both say the same of every moment."""
    return _turns(some) == _turns(others)


def _turns(told: list[Told]) -> list[tuple[int, str]]:
    zones_told = [(each[0], _zone_of(each)) for each in told]
    return [each for number, each in enumerate(zones_told) if number == 0 or zones_told[number - 1][1] != each[1]]


def _zone_of(told: Told) -> str:
    return told[2].rpartition("\0")[2]


def _occurred(told: Told) -> int:
    return told[0]


def _named(trait: str) -> bool:
    """Without regard to case, blanks and underscores."""
    return "".join(filter(str.isalnum, trait)).lower() == "timezone"


def _zone(told: Any) -> str | None:
    return zones.named(told) if isinstance(told, str) else None
