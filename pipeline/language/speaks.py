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
    if isinstance(condition, Mapping):
        for key, value in condition.items():
            if key in KINDS and isinstance(value, str):
                yield (*at, key), KINDS[key], value
            yield from spoken(value, (*at, key))
    elif isinstance(condition, list | tuple):
        for index, each in enumerate(condition):
            yield from spoken(each, (*at, index))


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
        left += [known[name] for key, known in (("measure", measures), ("list", lists))
                 for name in _named(told, key) if name in known]  # fmt: skip
    return [name for name in segments if name in found]


def _named(condition: Any, key: str) -> Iterator[str]:
    if isinstance(condition, Mapping):
        if isinstance(name := condition.get(key), str):
            yield name
        for each in condition.values():
            yield from _named(each, key)
    elif isinstance(condition, list | tuple):
        for each in condition:
            yield from _named(each, key)
