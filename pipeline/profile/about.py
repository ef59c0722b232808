"""What is remembered of a person for people to read, made of parts (parts/): rolling, bounded, updated at each event.

It is kept packed, as one run of bytes, and `count` unpacks it, takes one event in, and packs it again: of thousands of
profiles most have left the processor's cache when their next event comes, and then one run of bytes costs less to
read and build anew than a hundred objects, strewn over memory, cost to find.

This module knows where the parts' states lie in the bytes, and nothing of what they mean. Every part merges by a law
that doesn't depend on order; what is summed adds up once, since each move is taken once (runtime/second_hop.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import msgspec

from pipeline.events.catalogue import catalogue
from pipeline.profile.parts import PARTS, timeline
from pipeline.profile.parts.part import CODE, Facts, Primitive, Step, Told


class Kept(msgspec.Struct, array_like=True, gc=False):
    """What few events touch."""

    attributes: dict[str, list[Any]] = {}
    products: dict[str, list[int]] = {}
    messages: dict[str, list[int]] = {}


class About(msgspec.Struct, array_like=True, gc=False):
    """The states of parts, in the order of the bytes. What each means stands with its part."""

    first_seen: int = 0
    last_seen: int = 0
    engaged_ms: int = 0
    absolute_ms: int = 0
    totals: dict[int, int] = {}
    days: dict[int, int] = {}
    recent: bytes = b""
    labels: bytes = b""
    older: bytes = b""
    kept: Kept = msgspec.field(default_factory=Kept)


pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(About).decode
EMPTY = pack(About())


class _State:
    """Where a part's state lies in an `About`, under which names."""

    def __init__(self, names: tuple[str, ...], law: Primitive) -> None:
        self.law = law
        self.names = names
        self._kept = names[0] in Kept.__struct_fields__
        self.get = attrgetter(*(f"kept.{name}" if self._kept else name for name in names))

    def put(self, about: About, state: Any) -> None:
        of = about.kept if self._kept else about
        for name, value in zip(self.names, state if len(self.names) > 1 else (state,), strict=True):
            setattr(of, name, value)


_STATES = {part.name: [_State(names, law) for names, law in part.keeps.items()] for part in PARTS}
_ALL = [state for states in _STATES.values() for state in states]
_CHANGED = {kind: [each for each in _ALL if each.law.kinds is None or kind in each.law.kinds] for kind in CODE}


def _fields() -> dict[str, tuple[str, ...]]:
    found = {name: dict.fromkeys((*each.label, *each.reads)) for name, each in catalogue().items()}
    for part in PARTS:
        for kind, fields in part.reads.items():
            found[kind].update(dict.fromkeys(fields))
    return {kind: tuple(fields) for kind, fields in found.items() if fields}


FIELDS = _fields()
"""Event type -> body fields that profiles read."""


def steps(kind: str) -> list[Step] | None:
    """How an event of this type is taken in compiled: a step for each state, up to the last that it may change. None:
    it isn't.
    """
    of = {each.names: each.law.step(kind) for each in _CHANGED[kind]}
    found = {names: step for names, step in of.items() if step is not None}
    if len(found) < len(of):
        return None
    inside = _walk(Kept.__struct_fields__, found)
    if inside:
        found["kept",] = _array(Kept)
    return [_array(About), *_walk(About.__struct_fields__, found), *inside]


def _array(of: type[msgspec.Struct]) -> Step:
    return Step("array", (), (len(of.__struct_fields__),))


def _walk(names: tuple[str, ...], found: Mapping[tuple[str, ...], Step]) -> list[Step]:
    """The steps, with `copy` for what lies between."""
    beginning = {each[0]: (step, len(each)) for each, step in found.items()}
    out: list[Step] = []
    idle = at = 0
    while at < len(names):
        if names[at] in beginning:
            step, width = beginning[names[at]]
            out += [Step("copy", (), (idle,))] * bool(idle) + [step]
            idle, at = 0, at + width
        else:
            idle, at = idle + 1, at + 1
    return out


def count(
    packed: bytes, kind: str, occurred_at: int, received_at: int, fingerprint: int, data: Mapping[str, Any]
) -> bytes:
    """Take one event in; the same bytes come back if it is known already. Commutes with every other event's."""
    about = unpack(packed)
    if timeline.knows((about.recent, about.labels, about.older), fingerprint):
        return packed
    event = Told(kind, CODE[kind], occurred_at, received_at, fingerprint, data)
    for each in _CHANGED[kind]:
        each.put(about, each.law.take(each.get(about), event))
    return pack(about)


def merge(a: About, b: About) -> About:
    """Both histories as one."""
    both = About()
    for each in _ALL:
        each.put(both, each.law.merge(each.get(a), each.get(b)))
    return both


def discount(about: About, kind: str, occurred_at: int, data: Mapping[str, Any]) -> None:
    """Take one event out of the sums again: two copies of it were counted in two profiles that are now one."""
    event = Told(kind, CODE[kind], occurred_at, 0, 0, data)
    for each in _CHANGED[kind]:
        each.put(about, each.law.discount(each.get(about), event))


def show(about: About) -> Facts:
    """All that there is to tell, part by part."""
    facts: Facts = {}
    for part in PARTS:
        facts |= part.show(*[each.get(about) for each in _STATES[part.name]])
    return facts


def knows(packed: bytes, fingerprint: int) -> bool:
    """Whether an event is remembered."""
    return timeline.knows(_ring(unpack(packed)), fingerprint)


def marks(about: About) -> set[int]:
    """The low 48 bits of the fingerprints that are remembered."""
    return timeline.marks(_ring(about))


def told(about: About, mark: int) -> tuple[str, int, dict[str, str]] | None:
    """(type, occurred_at in whole seconds as ms, data, as far as it is known) of an event that is still on the
    timeline, by its mark.
    """
    found = timeline.told(_ring(about), mark)
    if found is None:
        return None
    kind, occurred_at, label = found
    return kind, occurred_at, {field: label for field in timeline.LABELS.get(kind, ())[:1] if label}


def read_timeline(about: About) -> list[tuple[int, str, str]]:
    """(UTC second, event type, label), oldest first."""
    return timeline.lines(_ring(about))


def _ring(about: About) -> timeline.State:
    return about.recent, about.labels, about.older
