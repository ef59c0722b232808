"""Of which segments and rules a condition speaks, as it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.grammar.reader import Path

KINDS = {"segment": "segments", "trigger": "triggers"}
"""Key of a condition -> where what it names stands."""


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
