"""`segment`: whether a person is in one, and for how long: `{segment: vip, for: {gte: 30d}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.grammar.durations import measured, spelt
from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Clause, Record, Text
from pipeline.language import compare, room
from pipeline.language.condition import Condition, Names, Scope
from pipeline.language.memory import Matcher, Moment

KEY = "segment"


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "segment": Clause(Text(), "A segment's name.", required=True),
            "for": Clause(compare.DURATIONS, "How long ago they entered it: {gte: 30d}."),
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """It is there."""
    name = value.get("segment")
    if name is not None and name not in names.segments:
        hint = suggest(name, names.segments, "segments") or "write it under segments"
        names.reader.report((*at, "segment"), "unknown-segment", f"{name} is no segment", hint)
    compare.check((*at, "for"), value.get("for", {}), names.reader, least=0)


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    return InSegment(value["segment"], value.get("for"))


class InSegment:
    """Whether a person is in a segment, as the fold has it."""

    def __init__(self, name: str, lasting: Mapping[str, int] | None) -> None:
        self._name, self._lasting = name, lasting
        self._lasts = None if lasting is None else compare.compiled(lasting)

    def holds(self, now: Moment) -> bool:
        """In it, for as long as is asked."""
        since = now.segments.get(self._name)
        return since is not None and (self._lasts is None or self._lasts(now.at - since))

    def turns(self, now: Moment) -> int | None:
        """When they have been in it for so long."""
        since = now.segments.get(self._name)
        return None if since is None or self._lasting is None else compare.reaches(self._lasting, since, now.at)

    def matchers(self) -> tuple[Matcher, ...]:
        """None of its own."""
        return ()

    def segments(self) -> frozenset[str]:
        """This."""
        return frozenset({self._name})

    def weights(self) -> room.Weights:
        """It counts nothing."""
        return room.Weights({}, {})

    def room(self, now: Moment) -> int:
        """Who enters or leaves is looked at then."""
        return room.MOST

    def fails(self, now: Moment) -> str:
        """What isn't so."""
        if self.holds(now):
            return ""
        since = now.segments.get(self._name)
        return f"they aren't in {self._name}" if since is None else f"{self}, and it is {measured(now.at - since)}"

    def __str__(self) -> str:
        return f"in {self._name}" + (f" for {compare.said(self._lasting, spelt)}" if self._lasting else "")
