"""Conditions: what holds of a person at a moment.

A condition is written as a mapping of which one key says what kind it is, `{did: searched, within: 7d}`. Each kind is
a module in `pipeline/language/leaves` that holds all of it: what may be written (`record`), what must fit together
(`check`), what it means (`compile`). They are found by looking there; nothing else names them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple, Protocol

from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.shapes import Record
from pipeline.language import leaves, room
from pipeline.language.events import tell
from pipeline.language.memory import Matcher, Moment
from pipeline.language.references import KEY


class Condition(Protocol):
    """What holds of a person at a moment, or doesn't."""

    def holds(self, now: Moment) -> bool:
        """Its value, `now`."""

    def turns(self, now: Moment) -> int | None:
        """No later moment than the first after `now` at which time alone changes the value; None: it never does."""

    def matchers(self) -> tuple[Matcher, ...]:
        """All that it counts."""

    def segments(self) -> frozenset[str]:
        """Those that it looks at."""

    def weights(self) -> room.Weights:
        """By how much each event that it counts brings it nearer to being otherwise."""

    def room(self, now: Moment) -> int:
        """So much of that, and it is as it is `now`, for as long as time alone changes nothing."""

    def fails(self, now: Moment) -> str:
        """The first part that doesn't hold `now`, in words; empty: it holds."""


def said_once(say: Callable[[Any], str]) -> Callable[[Any], str]:
    """What a condition is in words: many waits fail by it, and it stays what it is."""

    def words(self: Any) -> str:
        found: str | None = self.__dict__.get("_words")
        if found is None:
            found = self._words = say(self)
        return found

    return words


class OfOne:
    """A condition on what one matcher counts: it looks at no segment, each event may change it, and time alone does
    where it says so.
    """

    _matcher: Matcher

    def turns(self, now: Moment) -> int | None:
        """Never."""
        return None

    def matchers(self) -> tuple[Matcher, ...]:
        """One."""
        return (self._matcher,)

    def segments(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def weights(self) -> room.Weights:
        """Each may change it."""
        return room.unknown([self._matcher.id])

    def room(self, now: Moment) -> int:
        """Whatever else happens doesn't."""
        return room.MOST


class Scope(NamedTuple):
    """What a condition stands in, when it is compiled. `per`: the path by whose values things are counted, or None.
    `measures`, `lists`: name -> as written. `zone`: the time zone of whom nobody knows where they are.
    """

    per: str | None = None
    measures: Mapping[str, Any] = {}
    lists: Mapping[str, Any] = {}
    zone: str = "UTC"

    def keyed(self, events: Sequence[str], where: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], str | None]:
        """(what is asked of such events, by what they are counted): by the path that is compared with the key, else by
        the rule's own, where all of them may tell it.
        """
        named = next((path for path, tests in where.items() if tests.get("is") == KEY), None)
        if named is not None:
            rest = {op: operand for op, operand in where[named].items() if op != "is"}
            return {
                **{path: tests for path, tests in where.items() if path != named},
                **({named: rest} if rest else {}),
            }, named
        return dict(where), self.per if self.per is not None and tell(events, self.per) else None


class Names(NamedTuple):
    """What a condition may speak of, when it is checked. `where` checks tests of events' fields: (where they stand, the
    tests, event types); `path` one field: (where it stands, the path, event types, which kind of values it must have).
    `lists`: name -> as written. `per`: the key of the rule it stands in, if there is one; `waits`: whether it is looked
    at when something waits.
    """

    reader: Reader
    where: Callable[[Path, Mapping[str, Any], Sequence[str]], None]
    path: Callable[[Path, str, Sequence[str], str], None]
    segments: Collection[str] = ()
    measures: Collection[str] = ()
    lists: Mapping[str, Any] = {}
    rules: Collection[str] = ()
    per: str | None = None
    waits: bool = False


class Leaf(Protocol):
    """A module that is a kind of condition."""

    KEY: str

    def record(self) -> Record:
        """What may be written."""

    def check(self, at: Path, value: Mapping[str, Any], names: Names) -> None:
        """Report what doesn't fit together in what was read at `at`."""

    def compile(self, value: Mapping[str, Any], scope: Scope) -> Condition:
        """What it means."""


@cache
def kinds() -> Mapping[str, Any]:
    """Key -> the module."""
    found = [import_module(f"{leaves.__name__}.{each.name}") for each in iter_modules(leaves.__path__)]
    modules = [module for module in found if hasattr(module, "KEY")]
    return {key: module for module in modules for key in ((module.KEY,) if isinstance(module.KEY, str) else module.KEY)}


def records() -> dict[str, Record]:
    """What may be written, by kind."""
    return {key: module.record(key) for key, module in kinds().items()}


def kind_of(value: Mapping[str, Any]) -> str | None:
    """The key that says what kind of condition it is."""
    return next((key for key in value if key in kinds()), None)


def check_condition(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """Report what doesn't fit together."""
    kind = kind_of(value)
    if kind is not None:
        kinds()[kind].check(at, value, names)


def compile_condition(value: Mapping[str, Any], scope: Scope = Scope()) -> Condition:  # noqa: B008
    """`value`: as the reader read it, and nothing was found wrong with it."""
    kind = kind_of(value)
    assert kind is not None
    condition: Condition = kinds()[kind].compile(value, scope)
    return condition
