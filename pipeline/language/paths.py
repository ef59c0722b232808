"""Paths: where in an event something stands. `price`, `properties.plan`, `context.timezone`, `products.product_id`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pipeline.events.model import CONSENT, CONTEXT
from pipeline.grammar.vocabulary import bodies


def fields_of(path: str) -> str:
    """The field of a row's data that it needs."""
    return path if path.startswith(CONTEXT) else path.partition(".")[0]


def read_path(path: str) -> Callable[[Mapping[str, Any]], Any]:
    """Reads it from a row's data: a value, a list of them where it leads into a list's items, or None."""
    field, _, rest = (path, "", "") if path.startswith(CONTEXT) else path.partition(".")
    if not rest:
        return lambda data: data.get(field)

    def read(data: Mapping[str, Any]) -> Any:
        found = data.get(field)
        if isinstance(found, Mapping):
            return found.get(rest)
        if isinstance(found, list | tuple):
            return [each[rest] for each in found if isinstance(each, Mapping) and rest in each]
        return None

    return read


def tells_of(kind: str, fields: Iterable[str]) -> list[str]:
    """Of these fields those that events of that type may have."""
    return [field for field in fields if tells(kind, field)]


def tells(kind: str, path: str) -> bool:
    """Whether events of that type may have a value there."""
    field = fields_of(path)
    return field == CONSENT or field.startswith(CONTEXT) or field in bodies()[kind]
