"""Which events a condition speaks of."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.events.catalogue import catalogue
from pipeline.grammar.hints import OF_YOUR_OWN
from pipeline.grammar.shapes import Choice, Many
from pipeline.grammar.vocabulary import spoken_types
from pipeline.language.memory import ANY, Matcher
from pipeline.language.paths import told

EVENTS = Many(
    Choice((*spoken_types(), ANY), "an event type, or any", "unknown-event", OF_YOUR_OWN), single=True, least=1
)


def types_of(events: Iterable[str]) -> tuple[str, ...]:
    """Event types; of ANY all that may be a person's own doing."""
    return tuple(name for each in events for name in (_own() if each == ANY else (each,)))


def _own() -> tuple[str, ...]:
    return tuple(name for name, each in catalogue().items() if each.own)


def tell(events: Iterable[str], path: str) -> bool:
    """Whether all of them may have a value there."""
    return all(told(kind, path) is not None for kind in types_of(events))


def said_of(matcher: Matcher) -> str:
    """In words."""
    what = " or ".join("anything" if each == ANY else each for each in matcher.events)
    return f"{what} with {', '.join(map(str, matcher.where))}" if matcher.where else what
