"""Which matchers of an event type may count an event: of many that ask for one value of a field, those that ask for the
one it tells, so that a thousand rules don't cost a thousand tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.events import tidy
from pipeline.language.memory import DECIDED, Matcher
from pipeline.language.operators import IGNORING_CASE
from pipeline.language.paths import Read, read_path
from pipeline.language.where import EventTest

FEW = 8  # matchers of a type: these are asked one by one

Asked = tuple[Matcher, EventTest | None]
"""A matcher, and what says of an event whether it counts it; None: each."""


class Ears:
    """Of one event type, in their order."""

    def __init__(self, kind: str, matchers: Sequence[Matcher]) -> None:
        self._every: tuple[Asked, ...] = tuple((matcher, matcher.test(kind)) for matcher in matchers)
        self._others = self._every
        self._by: list[tuple[Read, dict[str, list[int]]]] = []
        if len(matchers) > FEW and kind != DECIDED:
            self._index(kind)

    def _index(self, kind: str) -> None:
        by: dict[str, dict[str, list[int]]] = {}
        others = []
        for place, asked in enumerate(self._every):
            found = _asks_for(kind, asked[0])
            if found is None:
                others.append(asked)
            else:
                by.setdefault(found[0], {}).setdefault(found[1], []).append(place)
        self._others = tuple(others)
        self._by = [(read_path(path), places) for path, places in by.items()]

    def of(self, data: Mapping[str, Any]) -> list[Matcher]:
        """Those that count an event that tells this."""
        return [matcher for matcher, test in self.asked(data) if test is None or test(data)]

    def asked(self, data: Mapping[str, Any]) -> Sequence[Asked]:
        """Those that may; all others don't."""
        if not self._by:
            return self._every
        places: set[int] = set()
        for read, known in self._by:
            value = read(data)
            for each in value if isinstance(value, list | tuple) else (value,):
                if isinstance(each, str) and (found := known.get(each)) is not None:
                    places.update(found)
        return (*self._others, *(self._every[place] for place in sorted(places)))


def _asks_for(kind: str, matcher: Matcher) -> tuple[str, str] | None:
    """A field, and the one text that it must hold; None: it asks for nothing of the kind."""
    for path, tests in tidy.operands(kind, matcher.where).items():
        wanted = tests.get("is")
        if isinstance(wanted, str) and not tests.get(IGNORING_CASE):
            return path, wanted
    return None
