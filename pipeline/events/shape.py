"""What is handed on of an event: the fields that rules and profiles read, in their one form, of bounded length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.events import tidy
from pipeline.events.inside import names_inside, opened
from pipeline.events.model import CONSENT, CONTEXT, STANDS_IN, Event

TEXT_KEPT = 1024
ITEM_KEPT = 256
ITEMS_KEPT = 400
ITEMS_BYTES = 512 * 1024  # of all items of a field, and of all fields with more than a few
FEW = 16  # items: however long they are, they fit
# Fields of several items, of the body and the context.
COLLECTIONS = frozenset(
    {"fields", "link_ids", "products", "properties", "traits", CONTEXT + "campaign", CONTEXT + "unproven"}
)

encode = msgspec.msgpack.Encoder().encode
Fields = Mapping[str, tuple[str, ...]]
"""Event type -> the body fields that are read, those of the context behind `model.CONTEXT`, and `model.CONSENT`; of
several products, what is read of each beside what always is (`tidy.item_fields`), as `products.price`; of a map, what
is read of objects in it, as `traits.company.size`.
"""


def wanted(fields: Fields) -> dict[str, tuple[str, ...]]:
    """The same for the decoder, with what stands in for them."""
    return {kind: (*each, STANDS_IN[kind][0]) if kind in STANDS_IN else each for kind, each in fields.items()}


def handed(fields: Fields) -> dict[str, tuple[tuple[str, ...], int]]:
    """The same for `compiled.TAKE`, and how long a record may be of which everything is kept as it stands."""
    return {kind: (each, TEXT_KEPT) for kind, each in fields.items()}


class Shape:
    """Shapes events."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._kept = {kind: frozenset(tidy.item_fields(kind, each)) for kind, each in fields.items()}
        self._inside = {kind: found for kind, each in fields.items() if (found := names_inside(each))}
        self._collected = frozenset(kind for kind, each in fields.items() if COLLECTIONS & {*each})
        self._contexts = {
            kind: [
                *((field, field.removeprefix(CONTEXT)) for field in each if field.startswith(CONTEXT)),
                *((field, field) for field in each if field == CONSENT),
            ]
            for kind, each in fields.items()
        }

    def shaped(self, event: Event, size: int) -> tuple[str, dict[str, Any]]:
        """(type, fields). `size`: bytes of its record, where that is known, else more than TEXT_KEPT."""
        kind, data = event.type, self._picked(event)
        if kind in STANDS_IN and STANDS_IN[kind][0] in event.body:
            data = self._stood_in(kind, event.body, data)
        kind, data = tidy.tidy(kind, data, self._kept.get(kind, ()))
        for field, names in self._inside.get(kind, {}).items():
            if isinstance(told := data.get(field), dict):
                data[field] = opened(told, names, ITEM_KEPT)
        # In so few bytes no text, or no item of several, is longer than what is kept of it.
        if size > ITEM_KEPT and (size > TEXT_KEPT or kind in self._collected):
            data = {field: value if field == CONSENT else _bounded(value) for field, value in data.items()}
        if size > ITEM_KEPT and CONSENT in data:
            data[CONSENT] = {name[:ITEM_KEPT]: told for name, told in [*data[CONSENT].items()][:ITEMS_KEPT]}
        if size > TEXT_KEPT:
            _share(data)
        return kind, data

    def _picked(self, event: Event) -> dict[str, Any]:
        """What is read of an event's body and context."""
        body, context = event.body, event.context or {}
        found = {field: context.get(name) for field, name in self._contexts.get(event.type, ())}
        if event.trimmed:
            found |= body
        else:
            found |= {field: body.get(field) for field in self._fields.get(event.type, ()) if field not in found}
        return {field: value for field, value in found.items() if value is not None}

    def _stood_in(self, kind: str, body: Mapping[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """A page without a path has its url's."""
        url, path = STANDS_IN[kind]
        told, data = body[url], data.copy()
        if url not in self._fields[kind]:
            data.pop(url, None)
        if told and path not in data:
            data[path] = _path(told)
        return data


def _bounded(value: Any) -> Any:
    """What rules and profile keep of a field: a record of `identity.resolved` and a profile must fit into Kafka."""
    if isinstance(value, str):
        return value[:TEXT_KEPT]
    if isinstance(value, dict):
        return dict(_fitting([(name[:ITEM_KEPT], _cut(item)) for name, item in sorted(value.items())[:ITEMS_KEPT]]))
    if isinstance(value, list):
        return _fitting([_cut(item) for item in value[:ITEMS_KEPT]])
    return value


def _share(data: dict[str, Any]) -> None:
    """A row has room for one long list or map. Of several the body's are cut last, in place."""
    long = [field for field, value in data.items() if isinstance(value, list | dict) and len(value) > FEW]
    if len(long) < 2:  # nearly always
        return
    room = ITEMS_BYTES
    for field in sorted(long, key=lambda name: (name == CONSENT or name.startswith(CONTEXT), name)):
        value = data[field]
        items = _fitting([*value.items()] if isinstance(value, dict) else value, room)
        data[field] = dict(items) if isinstance(value, dict) else items
        room -= sum(len(encode(item)) for item in items)


def _fitting(items: list[Any], room: int = ITEMS_BYTES) -> list[Any]:
    """The first ones, as many as there is room for."""
    if len(items) > FEW:
        for number, item in enumerate(items):
            room -= len(encode(item))
            if room < 0:
                return items[:number]
    return items


def _cut(item: Any) -> Any:
    if isinstance(item, dict):
        return {name: _cut(value) for name, value in item.items()}
    return item[:ITEM_KEPT] if isinstance(item, str) else item


def _path(url: str) -> str:
    _, _, rest = url.partition("://")
    path = rest[rest.find("/") :] if "/" in rest else url if not rest else "/"
    return path.partition("?")[0]
