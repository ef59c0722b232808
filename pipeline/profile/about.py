"""What is remembered of a person for people to read, made of parts (parts/): rolling, bounded, updated at each event.

It is kept packed, as one run of bytes, and `count` unpacks it, takes one event in, and packs it again: of thousands of
profiles most have left the processor's cache when their next event comes, and then one run of bytes costs less to
read and build anew than a hundred objects, strewn over memory, cost to find.

This module knows where the parts' states lie in the bytes, and nothing of what they mean. Every part merges by a law
that doesn't depend on order; what is summed adds up once, since each move is taken once (runtime/second_hop.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import reduce
from operator import attrgetter
from typing import Any, Protocol

import msgspec

from pipeline.events.catalogue import catalogue
from pipeline.profile.parts import PARTS, timeline
from pipeline.profile.parts.part import CODE, Facts, Part, PartEvent, Primitive, Step
from pipeline.wire.row import array_head


class Kept(msgspec.Struct, array_like=True, gc=False):
    """What few events touch."""

    attributes: dict[str, list[Any]] = {}
    products: dict[str, list[int]] = {}
    messages: dict[str, list[int]] = {}


class About(msgspec.Struct, array_like=True, gc=False):
    """The states of parts, in the order of the bytes. What each means stands with its part.

    `more`: of tagged parts, by name: [version, states] of each version that is there, one after the other, flat. What
    this version of the pipeline doesn't know, a name or a version of a part, is carried along, and lies side by side
    where two come together: whoever knows it merges them. Where there is nothing, the field isn't written.
    """

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
    more: dict[str, list[Any]] = {}


_encode = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(About).decode
_LAID = About.__struct_fields__[:-1]
_SHORT = array_head(len(_LAID))


class _Tail(Protocol):
    more: dict[str, list[Any]]


def pack(about: _Tail) -> bytes:
    """What `unpack` reads."""
    packed = _encode(about)
    return packed if about.more else _SHORT + packed[1:-1]


# An `About` whose laid states stay packed.
_Rest = msgspec.defstruct(
    "_Rest",
    [*((name, msgspec.Raw) for name in _LAID), ("more", dict[str, list[Any]], msgspec.field(default_factory=dict))],
    array_like=True,
    gc=False,
)
_decode_rest: Callable[[bytes], Any] = msgspec.msgpack.Decoder(_Rest).decode


EMPTY = pack(About())


class _State:
    """Where a part's state lies in an `About`, under which names."""

    def __init__(self, names: tuple[str, ...], law: Primitive) -> None:
        self.names, self.law = names, law
        self._kept = names[0] in Kept.__struct_fields__
        self._one = names[0] if len(names) == 1 else None
        self.get = attrgetter(*(f"kept.{name}" if self._kept else name for name in names))

    def put(self, about: About, state: Any) -> None:
        of = about.kept if self._kept else about
        if self._one is not None:  # nearly always
            setattr(of, self._one, state)
            return
        for name, value in zip(self.names, state, strict=True):
            setattr(of, name, value)


def _tagged(part: Part) -> bool:
    return not any({*names} <= {*_LAID, *Kept.__struct_fields__} for names in part.keeps)


_STATES = {part.name: [_State(*kept) for kept in part.keeps.items()] for part in PARTS if not _tagged(part)}
_ALL = [state for states in _STATES.values() for state in states]
_CHANGED = {kind: [each for each in _ALL if each.law.changes(kind)] for kind in CODE}
_TAGGED = [part for part in PARTS if _tagged(part)]
_ALWAYS = {"consent": 1}  # what was there before books told of parts
_CHANGING = {
    part.name: {kind for kind in CODE if any(law.changes(kind) for law in part.keeps.values())} for part in PARTS
}


def _states(about: _Tail, part: Part) -> list[Any]:
    """Of a tagged part."""
    told = about.more.get(part.name)
    if told is None:
        return part.empty()
    if len(told) == 2 and told[0] == part.version:  # nearly always
        known: list[Any] = told[1]
        return known
    several = [states for version, states in _pairs(told) if version == part.version]
    laws = part.keeps.values()
    return [reduce(law.merge, each) for law, each in zip(laws, zip(part.empty(), *several, strict=True), strict=True)]


def _put(about: _Tail, part: Part, states: list[Any]) -> None:
    told = about.more.get(part.name, [])
    others = [] if told[:1] == [part.version] and len(told) == 2 else _pairs(told)
    out = [each for pair in others if pair[0] != part.version for each in pair]
    if states != part.empty():
        out += (part.version, states)
    if out:
        about.more[part.name] = out
    else:
        about.more.pop(part.name, None)


def _pairs(told: list[Any]) -> list[tuple[int, Any]]:
    return list(zip(told[::2], told[1::2], strict=True))


def _changed(about: _Tail, part: Part, kind: str, change: Callable[[Primitive, Any], Any]) -> None:
    """Those of a tagged part's states that events of this type may change."""
    if kind in _CHANGING[part.name]:
        both = zip(part.keeps.values(), _states(about, part), strict=True)
        _put(about, part, [change(law, state) if law.changes(kind) else state for law, state in both])


def told_parts(asked: Collection[str] = ()) -> dict[str, int]:
    """The tagged parts that count here, and their versions: what the books of a partition tell. Those that every worker
    has counted which reads such books at all are left out.
    """
    counts = (part for part in _TAGGED if not part.asked or part.name in asked)
    return {part.name: part.version for part in counts if _ALWAYS.get(part.name) != part.version}


def asked_among(names: Collection[str]) -> set[str]:
    """Those that are only there where they are asked for."""
    return {part.name for part in _TAGGED if part.asked and part.name in names}


def known_parts() -> dict[str, int]:
    """All tagged parts that this version can count, and their versions."""
    return {part.name: part.version for part in _TAGGED}


def fields(asked: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Event type -> body fields that profiles read. `asked`: the parts that are there because they are asked for."""
    found = {name: dict.fromkeys((*each.label, *each.reads)) for name, each in catalogue().items()}
    for part in PARTS:
        if not part.asked or part.name in asked:
            for kind, read in part.reads.items():
                found[kind].update(dict.fromkeys(read))
    return {kind: tuple(read) for kind, read in found.items() if read}


def steps(kind: str) -> list[Step] | None:
    """How an event of this type is taken in compiled: a step for each state, up to the last that it may change. None:
    it isn't.

    It begins with `top`: so many states, and perhaps `more`. Where tagged parts may change, `more` follows, with how
    many states lie between and how many parts they are; and of each part `tag`, with its name, version, and how many
    steps are its own.
    """
    laws = {each.names: each.law for each in _CHANGED[kind]}
    found = _steps(laws, kind)
    if found is None:
        return None
    inside, left = _walk(Kept.__struct_fields__, found)
    if inside:
        found["kept",] = _array(len(Kept.__struct_fields__))
    outside, after = _walk(_LAID, found)
    tags: list[Step] = []
    parts = 0
    for part in _TAGGED:
        changing = {} if part.asked else {names: law for names, law in part.keeps.items() if law.changes(kind)}
        of = _steps(changing, kind)
        if of is None:
            return None
        if not of:
            continue
        parts += 1
        walked, rest = _walk(tuple(name for names in part.keeps for name in names), of)
        its = [_array(len(part.keeps)), *walked, *_copy(rest)]
        tags += [Step("tag", (part.name,), (part.version, len(its)), (), _encode(part.empty())), *its]
    if tags:
        tags = [Step("more", (), (left if inside else after, parts)), *tags]
    return [Step("top", (), (len(_LAID),)), *outside, *inside, *tags]


def _steps(laws: Mapping[tuple[str, ...], Primitive], kind: str) -> dict[tuple[str, ...], Step] | None:
    found = {names: step for names, law in laws.items() if (step := law.step(kind)) is not None}
    return found if len(found) == len(laws) else None


def _array(n: int) -> Step:
    return Step("array", (), (n,))


def _copy(n: int) -> list[Step]:
    return [Step("copy", (), (n,))] if n else []


def _walk(names: tuple[str, ...], found: Mapping[tuple[str, ...], Step]) -> tuple[list[Step], int]:
    """The steps, with `copy` for what lies between; and how much lies behind the last."""
    beginning = {each[0]: (step, len(each)) for each, step in found.items()}
    out: list[Step] = []
    idle = at = 0
    while at < len(names):
        if names[at] in beginning:
            step, width = beginning[names[at]]
            out += [*_copy(idle), step]
            idle, at = 0, at + width
        else:
            idle, at = idle + 1, at + 1
    return out, idle


def count(
    packed: bytes,
    kind: str,
    occurred_at: int,
    received_at: int,
    fingerprint: int,
    data: Mapping[str, Any],
    asked: Collection[str] = (),
) -> bytes:
    """Take one event in; the same bytes come back if it is known already. Commutes with every other event's.

    `asked`: the parts that are there because they are asked for.
    """
    about = unpack(packed)
    if timeline.knows((about.recent, about.labels, about.older), fingerprint):
        return packed
    event = PartEvent(kind, CODE[kind], occurred_at, received_at, fingerprint, data)
    for each in _CHANGED[kind]:
        each.put(about, each.law.take(each.get(about), event))
    for part in _TAGGED:
        if not part.asked or part.name in asked:
            _changed(about, part, kind, lambda law, state: law.take(state, event))
    return pack(about)


def count_asked(packed: bytes, event: PartEvent, asked: Collection[str]) -> bytes:
    """An event that was taken in without them, and wasn't known, is taken into the parts that are asked for."""
    rest = _decode_rest(packed)
    for part in _TAGGED:
        if part.asked and part.name in asked:
            _changed(rest, part, event.kind, lambda law, state: law.take(state, event))
    return pack(rest)


def merge(a: About, b: About) -> About:
    """Both histories as one."""
    both = About()
    for each in _ALL:
        each.put(both, each.law.merge(each.get(a), each.get(b)))
    for name in sorted({*a.more, *b.more}):
        told = [*a.more.get(name, ()), *b.more.get(name, ())]
        pairs = sorted(_pairs(told), key=_encode)
        both.more[name] = [each for pair in pairs for each in pair]
    for part in _TAGGED if both.more else ():
        _put(both, part, _states(both, part))
    return both


def discount(about: About, kind: str, occurred_at: int, data: Mapping[str, Any]) -> None:
    """Take one event out of the sums again: two copies of it were counted in two profiles that are now one. (Of what
    isn't known here nothing is.)
    """
    event = PartEvent(kind, CODE[kind], occurred_at, 0, 0, data)
    for each in _CHANGED[kind]:
        each.put(about, each.law.discount(each.get(about), event))
    for part in _TAGGED:
        _changed(about, part, kind, lambda law, state: law.discount(state, event))


def show(about: About) -> Facts:
    """All that there is to tell, part by part; of a tagged one only where something is known."""
    facts: Facts = {}
    for part in PARTS:
        laid = _STATES.get(part.name)
        states = _states(about, part) if laid is None else [each.get(about) for each in laid]
        if laid is not None or states != part.empty():
            facts |= part.show(*states)
    return facts


def knows(packed: bytes, fingerprint: int) -> bool:
    """Whether an event is remembered."""
    return timeline.knows(_ring(unpack(packed)), fingerprint)


def marks(about: About) -> set[int]:
    """The low 48 bits of the fingerprints that are remembered."""
    return timeline.marks(_ring(about))


def shared_marks(a: About, b: About) -> set[int]:
    """Those that both remember."""
    return timeline.shared_marks(_ring(a), _ring(b))


def of_mark(about: About, mark: int) -> tuple[str, int, dict[str, str]] | None:
    """(type, occurred_at in whole seconds as ms, data, as far as it is known) of an event that is still on the
    timeline, by its mark.
    """
    found = timeline.of_mark(_ring(about), mark)
    if found is None:
        return None
    kind, occurred_at, label = found
    return kind, occurred_at, {field: label for field in timeline.LABELS.get(kind, ())[:1] if label}


def read_timeline(about: About) -> list[tuple[int, str, str]]:
    """(UTC second, event type, label), oldest first."""
    return timeline.lines(_ring(about))


def _ring(about: About) -> timeline.State:
    return about.recent, about.labels, about.older
