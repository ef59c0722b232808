"""How much must happen before a condition is otherwise: nobody looks before that, and nothing turns before that."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pipeline.language.condition import Condition, Scope, compile_condition
from pipeline.language.memory import Entry, Memory, Moment
from pipeline.language.room import ANY, MOST
from pipeline.profile.profile import Profile, new_profile, receive
from pipeline.profile.profile import advance as advanced
from pipeline.triggers.changes import Output
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row
from tests.oracle.build import BASE, MINUTE
from tests.property.test_language import topology_of

HOUR = 60
POINTS = {"sum": [{"did": ["searched"], "points": 2}, {"did": ["page_viewed"], "points": 1}], "within": HOUR * MINUTE}
HALVES = {"sum": [{"did": ["searched"], "points": 0.5}]}
SCOPE = Scope(measures={"points": POINTS, "halves": HALVES})
SEARCHED = {"did": ["searched"], "within": HOUR * MINUTE}
DIFFERENT = {"did": ["searched"], "distinct": "query"}
LAST = {"last": ["page_viewed"]}
CONDITIONS: list[dict[str, Any]] = [
    {**SEARCHED, "times": 3},
    {**SEARCHED, "times": {"lt": 2}},
    {**SEARCHED, "times": {"lte": 2}},
    {**SEARCHED, "times": {"gt": 2}},
    {**SEARCHED, "times": {"between": [2, 3]}},
    {**DIFFERENT, "gte": 3},
    {**DIFFERENT, "lt": 2, "within": HOUR * MINUTE},
    {"did": ["searched"], "sum": "results", "gte": 5},
    {"measure": "points", "gte": 5},
    {"measure": "points", "lt": 4},
    {"measure": "halves", "gte": 2},
    {**LAST, "age": {"gte": HOUR * MINUTE}},
    {**LAST, "age": {"lt": HOUR * MINUTE}},
    {"first": ["searched"], "age": {"gte": HOUR * MINUTE}},
]
JOINED = [
    {how: [first, second]}
    for how in ("all", "any", "none")
    for first in CONDITIONS[::3]
    for second in (CONDITIONS[0], {"none": [CONDITIONS[11]]}, CONDITIONS[5])
]


def take(condition: Condition, memory: Memory, at: int, number: int, chance: random.Random) -> int:
    """Something happens; returns what it weighs."""
    kind = chance.choice(("searched", "page_viewed"))
    data = {"query": chance.choice("abcd"), "results": chance.choice((-3, 2))}
    occurred_at = at - chance.choice((0, 0, 0, 20, 90)) * MINUTE
    held, weight = condition.holds(Moment(memory, at)), 0
    for matcher in {matcher.id: matcher for matcher in condition.matchers()}.values():
        if kind in matcher.events and matcher.counts(kind, data):
            weights = condition.weights()
            matcher.take(memory, "", Entry(occurred_at, at, f"e{number}", number, matcher.read(kind, data)))
            weight += (weights.down if held else weights.up)[matcher.id]
    return weight


@pytest.mark.parametrize("written", [*CONDITIONS, *JOINED], ids=str)
def test_within_its_room_only_time_turns_it(written: dict[str, Any]) -> None:
    condition = compile_condition(written, SCOPE)
    believed = 0
    for seed in range(60):
        chance, memory, at = random.Random(seed), Memory(), BASE
        held, room, until = condition.holds(Moment(memory, at)), -1, None
        for number in range(25):
            at += chance.choice((1, 10, 30)) * MINUTE
            weight = take(condition, memory, at, number, chance)
            now = Moment(memory, at)
            if weight <= room and (until is None or at < until):
                believed, room = believed + 1, room - weight
                assert condition.holds(now) == held
                continue
            held, room, until = condition.holds(now), condition.room(now), condition.turns(now)
            assert 0 <= room <= MOST
    weights = condition.weights()
    assert believed > 100 or ANY in {*weights.up.values(), *weights.down.values()}


AWAY = {
    "time": {},
    "triggers": {"r": {"version": 1, "start": {"when": {"did": "searched", "times": 3}}, "after": "1d"}},
    "segments": {"away": {"when": {"last": "any", "age": {"gte": "30d"}}}},
}


def searched(number: int) -> Row:
    at = BASE + number * MINUTE
    return Row(0, "", "searched", at, at, f"e{number}", number, ["anonymous_id", "a"], {"query": "q"})


def fold(book: RuleBook, profile: Profile, *numbers: int) -> list[Output]:
    made: list[Output] = []
    for number in numbers:
        receive(book, profile, searched(number))
        made += advanced(book, profile, BASE + number * MINUTE + 1)
    return made


def test_nobody_looks_at_what_cannot_have_turned(tmp_path: Path) -> None:
    book, profile = RuleBook(topology_of(AWAY, tmp_path)), new_profile()
    with patch("pipeline.triggers.turning.Moment", wraps=Moment) as looked:
        fold(book, profile, 1, 2)
        assert looked.call_count == 1  # when they were here first
        fold(book, profile, 3)
        assert looked.call_count == 2  # the third time
        fold(book, profile, *range(4, 20))
        assert looked.call_count == 2


def test_who_was_watched_otherwise_is_looked_at(tmp_path: Path) -> None:
    """While the rule is away others count for it, and it isn't told."""
    both = {**AWAY, "segments": {"often": {"when": {"did": "searched", "times": {"gte": 50}}}}}
    without = {**both, "triggers": {}}
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    book, other = (
        RuleBook(topology_of(each, tmp_path / name)) for name, each in (("with", both), ("without", without))
    )
    profile = new_profile()
    fold(book, profile, 1)
    fold(other, profile, 2)
    fold(book, profile, 3)
    (person,) = profile.persons
    assert person.turned["r\0r\0"].holds
