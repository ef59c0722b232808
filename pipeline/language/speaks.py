"""Of which segments and rules a condition, or a rule, speaks, as it is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline.grammar.reader import Path
from pipeline.grammar.vocabulary import SEGMENT_CHANGES
from pipeline.language.references import split
from pipeline.language.where import compile_where

KINDS = {"segment": "segments", "trigger": "triggers"}
"""Key of a condition -> where what it names stands."""
NAMING = ("event", "events", "did", "first", "last")
"""Keys under which event types stand."""


def spoken(condition: Any, at: Path = ()) -> Iterator[tuple[Path, str, str]]:
    """(where it stands, `segments` or `triggers`, the name) each. `at`: where the condition stands."""
    return ((path, KINDS[key], name) for path, key, name in named(condition, KINDS, at))


def named(told: Any, keys: Collection[str], at: Path = ()) -> Iterator[tuple[Path, str, str]]:
    """(where it stands, the key, the name under it) of all names that stand under these keys."""
    if isinstance(told, Mapping):
        for key, value in told.items():
            if key in keys and isinstance(value, str):
                yield (*at, key), key, value
            yield from named(value, keys, (*at, key))
    elif isinstance(told, list | tuple):
        for index, each in enumerate(told):
            yield from named(each, keys, (*at, index))


def changes(told: Any, at: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """(where it stands, what is asked of the segment's name) each that speaks of who enters or leaves segments."""
    if isinstance(told, Mapping):
        for key in NAMING:
            events = told.get(key)
            if isinstance(events, list | tuple) and not {*SEGMENT_CHANGES}.isdisjoint(events):
                yield at, told.get("where", {}).get("segment", {})
        for key, value in told.items():
            yield from changes(value, (*at, key))
    elif isinstance(told, list | tuple):
        for index, each in enumerate(told):
            yield from changes(each, (*at, index))


def meant(tests: Mapping[str, Any], segments: Collection[str]) -> list[str]:
    """Those of the segments that meet what is asked of their names; what compares with a wait may be any."""
    plain, _ = split({"segment": tests})
    test = compile_where(plain)
    return [name for name in segments if test is None or test({"segment": name})]


def hangs_on(
    condition: Any, segments: Collection[str], measures: Mapping[str, Any], lists: Mapping[str, Any]
) -> list[str]:
    """The segments that a condition looks at, or whose changes it may count, in their order."""
    found = {name for _, section, name in spoken(condition) if section == "segments"}
    left = [condition]
    while left:
        told = left.pop()
        found.update(name for _, tests in changes(told) for name in meant(tests, segments))
        known = {"measure": measures, "list": lists}
        left += [known[key][name] for _, key, name in named(told, known) if name in known[key]]
    return [name for name in segments if name in found]
