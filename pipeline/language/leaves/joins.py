"""`all`, `any`, `none`: several conditions joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Clause, Many, Record
from pipeline.language import room
from pipeline.language.condition import Condition, Names, Scope, check_condition, compile_condition, said_once
from pipeline.language.conditions import CONDITION
from pipeline.language.memory import Matcher, Moment

KEY = ("all", "any", "none")
_DOCS = {
    "all": "Each of these conditions holds.",
    "any": "At least one of these conditions holds.",
    "none": "None of these conditions holds.",
}


def record(key: str) -> Record:
    """What may be written."""
    return Record({key: Clause(Many(CONDITION, least=1), _DOCS[key], required=True)})


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """Each of them."""
    key = next(iter(value.keys() & _DOCS.keys()))
    for index, each in enumerate(value[key]):
        check_condition((*at, key, index), each, names)


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    key = next(iter(value.keys() & _DOCS.keys()))
    return Join(key, tuple(compile_condition(each, scope) for each in value[key]))


class Join:
    """Several conditions, joined by `how`."""

    def __init__(self, how: str, parts: tuple[Condition, ...]) -> None:
        self.how, self.parts = how, parts

    def holds(self, now: Moment) -> bool:
        """Whether so many of them do."""
        if self.how == "all":
            return all(part.holds(now) for part in self.parts)
        found = any(part.holds(now) for part in self.parts)
        return found if self.how == "any" else not found

    def turns(self, now: Moment) -> int | None:
        """When the first of them does."""
        return min((at for part in self.parts if (at := part.turns(now)) is not None), default=None)

    def matchers(self) -> tuple[Matcher, ...]:
        """Those of all."""
        return tuple(matcher for part in self.parts for matcher in part.matchers())

    def segments(self) -> frozenset[str]:
        """Those of all."""
        return frozenset().union(*(part.segments() for part in self.parts))

    def weights(self) -> room.Weights:
        """As each of them is concerned; of `none` what makes one hold makes it hold no longer."""
        up, down = room.together(part.weights() for part in self.parts)
        return room.Weights(down, up) if self.how == "none" else room.Weights(up, down)

    def room(self, now: Moment) -> int:
        """Of those that make it what it is: one of them is enough, or it takes all of them."""
        enough = self.how != "all"  # that one holds, to know; of `all` that one doesn't
        rooms = [part.room(now) for part in self.parts if part.holds(now) == enough]
        return max(rooms) if rooms else min(part.room(now) for part in self.parts)

    def fails(self, now: Moment) -> str:
        """The first that doesn't hold; of `any` all, of `none` the first that does."""
        if self.how == "none":
            return next((f"this holds: {_said(part)}" for part in self.parts if part.holds(now)), "")
        if self.how == "all":
            return next((why for part in self.parts if (why := part.fails(now))), "")
        failing = [why for part in self.parts if (why := part.fails(now))]
        return "; ".join(failing) if len(failing) == len(self.parts) else ""

    @said_once
    def __str__(self) -> str:
        return f"{self.how} of ({'; '.join(map(str, self.parts))})"


def _said(part: Condition) -> str:
    return str(part)
