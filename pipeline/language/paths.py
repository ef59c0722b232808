"""Paths: how a rule names what an event tells.

    cart_id                  a field of its body
    properties.plan          of a map in its body (`properties`, `traits`, `fields`): what stands under that name
    traits.company.size      of an object in such a map; the first hop makes it stand in the map under that name
    products.product_id      of each of several items in its body
    context.timezone         of its context; of a map in there: context.campaign.source
    consent.marketing        whether a purpose is agreed to

They are read from a row's `data`, where a field of the context lies under its longer name (`context.timezone`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from pipeline.events.model import CONSENT, CONTEXT
from pipeline.events.text import stands_for_nothing, trimmed
from pipeline.grammar import vocabulary
from pipeline.grammar.findings import suggest
from pipeline.grammar.vocabulary import SEGMENT_CHANGES, Field, bodies, body_of, spoken_types

Read = Callable[[Mapping[str, Any]], Any]
"""From a row's data: a value; of a path into several items, or to a list, the list of values; None: nothing is told."""

ITEMS = frozenset(field for each in vocabulary.items().values() for field in each)
MAPS = vocabulary.maps()
_ANY, _FLAG = Field("any"), Field("flag")


class Path(NamedTuple):
    """`field`: of a row's data. `inner`: a name in the map or in each of the items (`several`) that it holds."""

    field: str
    inner: str = ""
    several: bool = False


def parse(path: str) -> Path:
    """Any text is some path, though perhaps of no event."""
    head, _, rest = path.partition(".")
    if head + "." == CONTEXT and rest:
        name, _, inner = rest.partition(".")
        return Path(CONTEXT + name, inner)
    return Path(head, rest, bool(rest) and head in ITEMS)


def needs(path: str) -> tuple[str, ...]:
    """What the first hop must hand on for it: the field, and of several items, or inside of an object, the path itself,
    as rows have of these only what is asked for.
    """
    found = parse(path)
    inside = found.several or (found.field in MAPS and "." in found.inner)
    return (found.field, path) if inside else (found.field,)


def read_path(path: str) -> Read:
    """What reads it."""
    field, inner, several = parse(path)
    if several:
        return lambda data: _told(data.get(field), inner)
    if inner:
        return lambda data: of.get(inner) if isinstance(of := data.get(field), dict) else None
    return lambda data: data.get(field)


def _told(items: Any, name: str) -> list[Any] | None:
    """What each of several items tells under a name, if any does."""
    if not isinstance(items, list):
        return None
    return [value for item in items if isinstance(item, dict) and (value := item.get(name)) is not None] or None


def keys_of(path: str) -> Callable[[Mapping[str, Any]], list[str]] | None:
    """What reads the keys that an event tells there, each once: of a list several. None: the path is a field of the
    body that holds one text, and that is the key as it stands.
    """
    found = parse(path)
    if not found.inner and all(body[path].kind != "list" for body in bodies().values() if path in body):
        return None
    read = read_path(path)
    named = bool(found.inner) and not found.several  # under a sender's name: no schema says in which form

    def keys(data: Mapping[str, Any]) -> list[str]:
        value = read(data)
        told = value if isinstance(value, list) else [value]
        texts = dict.fromkeys(trimmed(each) for each in told if isinstance(each, str))
        return [text for text in texts if text and not (named and stands_for_nothing(text))]

    return keys


def told(event: str, path: str) -> Field | None:
    """What it holds in events of a type, of several items each; None: these have no such path."""
    field, inner, several = parse(path)
    if path.endswith(".") or (inner and not inner.strip(".")):
        return None
    if several:
        return _items_of(event).get(field, {}).get(inner)
    if event in SEGMENT_CHANGES:
        return None if inner else body_of(event).get(field)
    if field == CONSENT and field not in body_of(event):
        return _FLAG if inner else Field("map")
    if field.startswith(CONTEXT):
        found = vocabulary.context().get(field.removeprefix(CONTEXT))
    else:
        found = body_of(event).get(field)
    if inner:
        return _ANY if found is not None and found.kind == "map" else None
    return found


def known(path: str) -> bool:
    """Whether events of any type have it."""
    return any(told(event, path) is not None for event in spoken_types())


def _items_of(event: str) -> Mapping[str, Mapping[str, Field]]:
    """Field of several records of an event type -> field of each -> what it holds."""
    return vocabulary.items().get(event, {})


def fixed(event: str) -> Iterator[str]:
    """All paths of an event type whose names are ours."""
    yield from body_of(event)
    yield from (f"{field}.{name}" for field, each in _items_of(event).items() for name in each)
    if event not in SEGMENT_CHANGES:
        yield from (CONTEXT + name for name in vocabulary.context())


def untold(path: str, starts: Sequence[str]) -> str:
    """Of a path that no start has. `starts`: the types of the events that open a wait."""
    return f"no start has a field {path}" if starts else f"no event starts it, so nothing tells {path}"


def meant(event: str, path: str, fits: Callable[[Field], bool]) -> str:
    """A hint for a path that an event type hasn't: one close to it that `fits`; else what there is."""
    maps = [field for field, held in body_of(event).items() if held.kind == "map"]
    head, dot, rest = path.partition(".")
    roots = [*maps, "consent", "context", *ITEMS]
    near = [] if head in roots else [f"{found}.{rest}" for found in get_close_matches(head, roots, n=3)]
    if head == "context":
        name, _, inner = rest.partition(".")
        found = get_close_matches(name, vocabulary.context(), n=3)
        near += [CONTEXT + (f"{each}.{inner}" if inner else each) for each in found]
    near += get_close_matches(path.lower(), [*fixed(event)], n=3)
    near += [f"{field}.{path}" for field in maps] if not dot or head not in roots else []
    near += [name for name in fixed(event) if name.rpartition(".")[2] == path.rpartition(".")[2]]
    for each in near:
        if each != path and (held := told(event, each)) is not None and fits(held):
            return f"did you mean {each}?"
    if head == "properties":  # of those who haven't such a map
        return "properties of your own come with event: custom"
    return suggest("", [name for name, held in body_of(event).items() if fits(held)], "its fields that fit")
