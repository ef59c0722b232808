"""The fingerprint of what a rule or a segment means."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.language.speaks import changes, meant, named
from pipeline.topology.model import Rule, Segment, Topology

NO_MEANING = frozenset({"name", "version", "description"})
"""Labels, for people."""
ZONED = frozenset({"calendar", "date"})
"""Keys of conditions that hang on where a person is."""


def fingerprint(rule: Rule | Segment, topology: Topology) -> str:
    """16 hexadecimal characters, of all that its decisions hang on but its name and version: what it says, and what the
    segments, measures and lists say of which it speaks. What is left out is the same as what is written and was so
    anyhow.
    """
    known: dict[str, Mapping[str, Any]] = {
        "segment": {each.name: each.when for each in topology.segments},
        "measure": topology.measures,
        "list": topology.lists,
    }
    said = {name: value for name, value in _said(rule).items() if name not in NO_MEANING}
    named: dict[str, dict[str, Any]] = {kind: {} for kind in known}
    open_ = [said]
    while open_:
        for kind, name in _names(open_.pop(), known["segment"]):
            written = known[kind].get(name)
            if written is not None and name not in named[kind]:
                plain = _said(written)
                named[kind][name] = {key: each for key, each in plain.items() if key not in NO_MEANING}
                open_.append(plain)
    later: list[Any] = [named["list"]] if named["list"] else []  # who uses none has that of before there were any
    if topology.time.zone != "UTC" and _zoned([said, named]):
        later.append(topology.time.zone)
    whole = msgspec.json.encode([said, named["segment"], named["measure"], *later], order="deterministic")
    return blake2b(whole, digest_size=8).hexdigest()


def _said(value: Any) -> Any:
    """As JSON has it, without what is as it would be if nothing were said: so that what the language learns later
    changes no fingerprint of those that don't use it.
    """
    if isinstance(value, msgspec.Struct):
        of = type(value)
        fields = ((field, getattr(value, field.name)) for field in _fields(of))
        told = {field.name: _said(each) for field, each in fields if each != field.default}
        return {"": of.__name__, **told}
    if isinstance(value, Mapping):
        return {str(key): _said(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_said(each) for each in value), key=repr)
    if isinstance(value, list | tuple):
        return [_said(each) for each in value]
    return value


@cache
def _fields(of: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Of a kind, and not anew of each value: to ask for them reads all annotations."""
    return msgspec.structs.fields(of)


def _zoned(value: Any) -> bool:
    """Whether a condition hangs on where a person is."""
    if isinstance(value, dict):
        return bool(value.keys() & ZONED) or any(map(_zoned, value.values()))
    return isinstance(value, list) and any(map(_zoned, value))


def _names(value: Any, segments: Collection[str]) -> Iterator[tuple[str, str]]:
    """(`segment`, `measure` or `list`, its name) of all that a condition speaks of, or may."""
    yield from (("segment", name) for _, tests in changes(value) for name in meant(tests, segments))
    yield from ((key, name) for _, key, name in named(value, ("segment", "measure", "list")))
