"""What a part of a profile is, and what it sees of an event."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pipeline.events.catalogue import catalogue

CODE = {name: each.code for name, each in catalogue().items()}
TYPES = tuple({code: name for name, code in CODE.items()}.get(code, "") for code in range(max(CODE.values()) + 1))
LONGEST = (1 << 63) - 1

Facts = dict[str, Any]
Reads = Mapping[str, tuple[str, ...]]
"""Event type -> fields of its body."""


DOES = (
    "copy", "array", "top", "more", "tag",
    "earliest", "latest", "sum", "count", "span", "timeline", "tally", "each", "newest",
)  # fmt: skip


class Step(NamedTuple):
    """How the compiled counter takes an event of some type into one state. `does`: one of DOES; what the rest is to it
    stands with the primitive. (`copy`: so many states stay as they are; `array`: what comes are so many states in one;
    `top`, `more` and `tag`: see `about.steps`.) `empty`: of a tag, its states in an array, packed, of whom nothing is
    known.
    """

    does: str
    fields: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    unless: tuple[str, ...] = ()
    empty: bytes = b""


class PartEvent(NamedTuple):
    """An event, as a part sees it. Times in UTC ms. `code`: of its type; `data`: the body fields that are read."""

    kind: str
    code: int
    occurred_at: int
    received_at: int
    fingerprint: int
    data: Mapping[str, Any]


class Primitive(ABC):
    """One thing that a part keeps, its *state*: values that MessagePack has, bounded. Taking an event in commutes with
    every other event's, and so does a merge, which is associative too.

    `kinds`: the event types that may change it; None: all.
    """

    kinds: frozenset[str] | None = None

    def changes(self, kind: str) -> bool:
        """Whether events of this type may change it."""
        return self.kinds is None or kind in self.kinds

    @abstractmethod
    def empty(self) -> Any:
        """The state of whom nothing is known; merged with any other it leaves that as it is."""

    @abstractmethod
    def take(self, state: Any, event: PartEvent) -> Any:
        """The state with one event more; the old one may change."""

    @abstractmethod
    def merge(self, a: Any, b: Any) -> Any:
        """Of two histories as one. Idempotent, unless it sums."""

    def discount(self, state: Any, event: PartEvent) -> Any:
        """An event that was counted in both of two that were merged is taken out again once, where it was summed."""
        return state

    def step(self, kind: str) -> Step | None:
        """How events of a type that may change it are taken in compiled; None: they aren't. That may leave any single
        event to `take`, and where it doesn't it makes the same of it.
        """
        return None


class Part(NamedTuple):
    """What is remembered of one kind of thing.

    `keeps`: its states, by their names; one that has several names is that many values. Those that an `About` has
    fields for lie there; a part with others is a *tagged* one: only where it knows something its `name` stands in
    `About.more`, with its `version`.
    `show`: what there is to tell of it, from its states in that order: plain facts, times as RFC 3339, for
    `pipeline profile`. `reads`: fields that it needs, beside those that the catalogue names. `clock`: `arrival`: it
    counts when a record arrives, and what people read may look at it; a rule may not (rules look at what lives on the
    `fold`'s clock, behind the watermark: triggers/). `version`: of what it stores. `asked`: it costs each event, and
    counts only where the topology names it (`profile: parts`); such a tagged part may be of what isn't compiled.
    """

    name: str
    keeps: Mapping[tuple[str, ...], Primitive]
    show: Callable[..., Facts]
    reads: Reads = MappingProxyType({})
    clock: Literal["arrival"] = "arrival"
    version: int = 1
    asked: bool = False

    def empty(self) -> list[Any]:
        """Its states of whom nothing is known."""
        return [law.empty() for law in self.keeps.values()]


def bounded(number: int) -> int:
    """A sum that a broken client made too large stays at what can be written."""
    return number if -LONGEST <= number <= LONGEST else LONGEST if number > 0 else -LONGEST
