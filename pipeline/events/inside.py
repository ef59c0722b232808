"""What lies inside of an object that a map of a body holds: `company.size` of traits that tell `company` as an object.

Senders nest what they tell, and a map of ours holds texts, so an object in it is one text, its JSON, be it told as JSON
or in Avro. Its values stand in the map under their longer names where somebody reads them, each of the form and length
that other values have; the text itself is cut off long before most objects end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.events.model import CONTEXT
from pipeline.events.segment_fields import maybe_object, plain_text


def names_inside(fields: Iterable[str]) -> dict[str, list[str]]:
    """Map of the body -> what of its objects is read, of fields such as `traits.company.size`."""
    found: dict[str, list[str]] = {}
    for field in fields:
        head, _, name = field.partition(".")
        if "." in name and head + "." != CONTEXT:
            found.setdefault(head, []).append(name)
    return found


def opened(told: Mapping[str, Any], names: Iterable[str], longest: int) -> dict[str, Any]:
    """The map, and these values of its objects under such names, each of so many characters at most. What is told under
    the very name stands.
    """
    found: dict[str, Any] = {}
    objects: dict[str, Mapping[str, Any]] = {}
    for name in names:
        head, _, rest = name.partition(".")
        if name in told or not told.get(head):
            continue
        if head not in objects:
            objects[head] = maybe_object(told[head]) or {}
        if (value := _inside(objects[head], rest)) is not None:
            found[name] = value[:longest]
    return {**told, **found}


def _inside(told: Mapping[str, Any], name: str) -> str | None:
    value = told.get(name)
    if value is not None:
        text = value if isinstance(value, str) else plain_text(value)
        return None if text is None else _sound(text)
    head, dot, rest = name.partition(".")
    deeper = maybe_object(told.get(head)) if dot else None
    return None if deeper is None else _inside(deeper, rest)


def _sound(text: str) -> str:
    """Without halves of characters: JSON may escape them, and no text of a row has them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
