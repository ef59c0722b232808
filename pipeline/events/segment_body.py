"""From properties, however they are spelt, to the fields of a body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pipeline.events.checks import Note
from pipeline.events.segment_fields import Kind, kind_of
from pipeline.events.text import stands_for_nothing

Rows = tuple[tuple[str, Kind, tuple[str, ...]], ...]
"""A field of ours, its kind, and the properties it may come from, best first."""

LONGEST_NAME = 40
"""Characters of a property's name that may be a misspelt one of ours."""
SHORTEST_NAME = 5
"""Letters: shorter words are one edit apart by chance."""

_ANYWHERE: set[str] = set()
"""Squeezed names that some type of event has."""


class Fields:
    """The fields of one type of event, and how they are read."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.names = frozenset(name for _, _, names in rows for name in names)
        self.squeezed = {squeezed(name): name for _, _, names in reversed(rows) for name in reversed(names)}
        _ANYWHERE.update(self.squeezed)

    def read(self, properties: dict[str, Any], path: str, note: Note) -> dict[str, Any]:
        """The body: every field from the first of its names that holds something of its kind."""
        known = self.known(properties, note)
        body: dict[str, Any] = {}
        for field, kind, names in self.rows:
            for name in names:
                told = known.get(name)
                if told is None or told == "":
                    continue
                value = kind.read(told, f"{path}.{name}", note)
                if value is None:
                    if not isinstance(told, str) or told.strip():
                        note("left_out", f"{path}.{name}: {kind_of(told)}, not {kind.noun}")
                elif kind.key and len(names) > 1 and stands_for_nothing(value):
                    body.setdefault(field, value)  # unless another name tells more
                else:
                    body[field] = value
                    break
        return body

    def tells(self, field: str, properties: dict[str, Any]) -> bool:
        """Whether anything is told for a field, readable or not."""
        known = self.known(properties, lambda what, detail: None)
        names = next(names for name, _, names in self.rows if name == field)
        return any(known.get(name) not in (None, "") for name in names)

    def odd(self, name: str) -> bool:
        """Whether that is none of their names, but means one."""
        return len(name) <= LONGEST_NAME and name not in self.names and _meant(self, name) is not None

    def known(self, properties: dict[str, Any], note: Note) -> dict[str, Any]:
        """The properties by the names that we know."""
        if self.names.issuperset(properties):
            return properties
        known = properties
        for name, told in properties.items():
            if name in self.names or len(name) > LONGEST_NAME or (meant := _meant(self, name)) is None or told is None:
                continue
            right, same = meant
            if not same:
                note("misspelt", f"`{name}` isn't read; `{right}`?")
            elif not _holds(known.get(right)):
                known = {**known, right: told}
                note("misspelt", f"`{name}` was read as `{right}`")
        return known


def squeezed(name: str) -> str:
    """Without case, blanks, `_` and `-`."""
    return re.sub(r"[\s_-]+", "", name).lower()


@lru_cache(4096)
def _meant(fields: Fields, name: str) -> tuple[str, bool] | None:
    """(the name that is meant, whether it is the same but for its spelling); None: none of ours."""
    bare = squeezed(name)
    if (right := fields.squeezed.get(bare)) is not None:
        return right, True
    # A number behind a name makes another one, as in GA4's item_category2.
    if len(bare) < SHORTEST_NAME or bare in _ANYWHERE or bare[-1].isdecimal():
        return None
    for near in sorted(set(_edits(bare)) & fields.squeezed.keys()):
        if len(near) >= SHORTEST_NAME:
            return fields.squeezed[near], False
    return None


def _holds(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and stands_for_nothing(value))


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _edits(word: str) -> Iterator[str]:
    """Everything that one letter put in, taken out, replaced, or swapped with the next makes of a word."""
    for at in range(len(word) + 1):
        before, behind = word[:at], word[at:]
        yield before + behind[1:]
        yield before + behind[1:2] + behind[:1] + behind[2:]
        for letter in _LETTERS:
            yield before + letter + behind
            yield before + letter + behind[1:]
