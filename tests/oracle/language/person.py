"""What is known of a person, and what stands. Shares no code with `pipeline`."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from tests.oracle.film import Played
from tests.oracle.language.conditions import Made
from tests.oracle.language.paths import MADE
from tests.oracle.language.topology import Rule
from tests.oracle.language.waits import Key, Span, Start
from tests.oracle.lines import Contents
from tests.oracle.orders import OrderIds
from tests.oracle.who import Fact, Identifier

Place = tuple[str, Key]
"""A rule and a key of it."""


@dataclass
class State:
    """26: a condition's value after the last moment looked at; `owed`: it holds, and hasn't started anything. `first`:
    the events with which it began while it was true, which start nothing. `at`: when it was last looked at."""

    value: bool = False
    owed: bool = False
    first: list[Fact] = field(default_factory=list)
    at: int = -1


@dataclass(eq=False)
class Once:
    """A key that started once. `span`: what is left of its stages; `done`: decided; `gone`: absorbed by a merge (21);
    `due`: as it was decided."""

    place: Place
    start: Start
    due: int
    span: Span | None = None
    done: bool = False
    gone: bool = False

    @property
    def open(self) -> bool:
        """Still waiting."""
        return not self.done and not self.gone

    @property
    def rank(self) -> Any:
        """21, 31: of two that are open one goes on: of which stages are decided, of these the one that began last; else
        the one that is known first."""
        if self.span is not None:
            return 0, -self.start.at, -self.start.known, ()
        return 1, self.start.known, 0, self.start.order


@dataclass(eq=False)
class Fired:
    """A trigger that a late event may retract (6) and a cancel recover (32). `line`: as it was written. `told`: what
    was in its cart."""

    rule: Rule
    key: Key
    opened: Start
    last_start: Start
    due: int
    decided_at: int
    line: dict[str, Any]
    told: Contents | None = None
    retracted: bool = False
    recovered: bool = False


@dataclass(eq=False)
class Person:
    """All of one person: the facts received so far, and what stands.

    `facts`: all that count for conditions; rules don't look at those in `old` (6). `arrived`: what was received at this
    moment; `tied`: a tie took effect at it; `lost`: segment -> since when who was tied was in it. `closed`: a key's
    closed end; `contents`: what was in its cart there, what came late included. `settled`: (token, place). `used`: in
    runs of a sequence. `undone`: 44, what was taken back, as facts that end what started by it. `stays`: 21, the starts
    of waits that were open at a tie. `played`: as conditions count it, `watched`: without what is `old`, as is told.
    `entered`: segment -> since when; `past`: since when and until when before. `next`: when anything may happen of
    itself.
    """

    identifiers: set[Identifier]
    facts: list[Fact] = field(default_factory=list)
    old: set[Fact] = field(default_factory=set)
    arrived: list[Fact] = field(default_factory=list)
    tied: bool = False
    lost: dict[str, int] = field(default_factory=dict)
    began: bool = False
    seen: set[tuple[str, tuple[Identifier, ...]]] = field(default_factory=set)
    orders: OrderIds = field(default_factory=OrderIds)
    played: list[Played] = field(default_factory=list)
    watched: list[Played] = field(default_factory=list)
    used: set[tuple[Fact, Place]] = field(default_factory=set)
    undone: list[Fact] = field(default_factory=list)
    stays: set[tuple[object, Place]] = field(default_factory=set)
    turns: list[tuple[Place, Start]] = field(default_factory=list)
    states: dict[Place, State] = field(default_factory=dict)
    settled: set[tuple[object, Place]] = field(default_factory=set)
    closed: dict[Place, int] = field(default_factory=dict)
    contents: dict[Place, Contents] = field(default_factory=dict)
    fired_due: dict[Place, int] = field(default_factory=dict)
    spans: dict[Place, Span] = field(default_factory=dict)
    once: list[Once] = field(default_factory=list)
    fired: list[Fired] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    entered: dict[str, int] = field(default_factory=dict)
    past: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    next: int | None = None

    def names(self) -> dict[str, list[str]]:
        """`identifiers` of a decision: namespace -> sorted values."""
        found: dict[str, list[str]] = {}
        for namespace, value in sorted(self.identifiers):
            found.setdefault(namespace, []).append(value)
        return found

    def profile(self) -> str:
        """The smallest id of the identifiers, which is the profile's."""
        return min(leaf(*identifier) for identifier in self.identifiers)

    def first(self) -> Fact:
        """The first event received."""
        return min((fact for fact in self.facts if fact.type not in MADE), key=lambda fact: fact.knowledge)

    def fresh(self) -> list[Fact]:
        """What rules look at: not what was older than the greatest age when it was received (6)."""
        return [fact for fact in self.facts if fact not in self.old]


def leaf(namespace: str, value: str) -> str:
    """An identifier's id, so that two can be compared: 80 bits in base 32, letters before digits, but compared as
    text, in which digits come first."""
    number = int.from_bytes(blake2b(f"{namespace}\0{value}".encode(), digest_size=10).digest(), "big")
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(letters[number >> shift & 31] for shift in range(75, -1, -5))


def told_once(person: Person, rule: Rule, key: Key, start: Start) -> None:
    """14: the first telling opens, in order of receipt; a second is nothing while it is remembered."""
    place = (rule.name, key)
    same = [one for one in person.once if one.place == place and not one.gone]
    if not any(remembered(one, start.known, rule) for one in same):
        person.once.append(Once(place, start, start.at + rule.stages[0].after))


def remembered(one: Once, at: int, rule: Rule) -> bool:
    """14, 15: for its wait, and so long more."""
    return one.open or at <= one.due + rule.forget
