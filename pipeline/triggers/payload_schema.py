"""The JSON Schema of what a rule's triggers tell, for whoever consumes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.grammar.vocabulary import PAYLOADS, Field
from pipeline.language import paths
from pipeline.language.references import ITEMS_KEPT, KEY, start_path
from pipeline.topology.model import Payload, Rule
from pipeline.triggers.payloads import CART, OF_CART

_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_NUMBER: dict[str, Any] = {"type": ["number", "null"]}
_ANY: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_ADDRESS: dict[str, Any] = {"type": "string", "description": "Where the topology names its origin."}


def _object(properties: dict[str, Any], optional: Iterable[str] = ()) -> dict[str, Any]:
    """With these, and what later versions add."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


_LINE = _object(
    {
        "product": {**_TEXT, "description": "Its id, else its SKU, else its name."},
        "quantity": _NUMBER,
        "price": {**_NUMBER, "description": "Of one."},
        "currency": _TEXT,
        "total": _NUMBER,
        "name": {"type": "string"},
        "variant": {"type": "string"},
        "url": _ADDRESS,
        "image_url": _ADDRESS,
    },
    ("name", "variant", "url", "image_url"),
)
_PARTS: dict[str, dict[str, Any]] = {
    "cart": _object(
        {
            "cart_id": _TEXT,
            "lines": {"type": "array", "items": _LINE},
            "currency": {**_TEXT, "description": "ISO 4217, where all lines have the same."},
            "total": {**_NUMBER, "description": "Where every line has a price, in one currency."},
        }
    ),
    "message": _object({"message_id": _TEXT, "campaign": _TEXT}),
    "film": _object(
        {
            "film": _TEXT,
            "title": _TEXT,
            "seconds_watched": {"type": "number"},
            "total_length": {**_NUMBER, "description": "Seconds."},
        }
    ),
}
assert _PARTS.keys() == PAYLOADS.keys()
_OF_CART: dict[str, dict[str, Any]] = {
    "lines": {"type": "integer", "description": "How many lines are in the cart."},
    "quantity": {**_NUMBER, "description": "How many pieces they are together."},
    **{name: _PARTS["cart"]["properties"][name] for name in ("total", "currency")},
}
assert _OF_CART.keys() == OF_CART.keys()


def payload_schema(rule: Rule) -> dict[str, Any]:
    """The whole schema (draft 2020-12), ready for `json.dumps`. Of a rule whose stages tell different things: any of
    them, under their names.
    """
    payloads = {stage.name: rule.payload if stage.payload is None else stage.payload for stage in rule.stages}
    told = {name: _payload(rule, payload) for name, payload in payloads.items()}
    each = [*told.values()] or [_payload(rule, rule.payload)]
    same = all(one == each[0] for one in each)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Payload of {rule.name}, version {rule.version}",
        "description": "Of what fired, was cancelled or suppressed; of other outcomes, and where there was no room for"
        " it (`bounded`), it is an empty object.",
        **(each[0] if same else {"anyOf": [{"title": name, **one} for name, one in told.items()]}),
    }


def _payload(rule: Rule, payload: Payload) -> dict[str, Any]:
    if isinstance(payload, dict):
        return _object({name: _single(rule, source) for name, source in payload.items()})
    return _object({name: kind for part in payload for name, kind in _PARTS[part]["properties"].items()})


def _single(rule: Rule, source: str) -> dict[str, Any]:
    if source in _PARTS:
        return _PARTS[source]
    if source.startswith(CART):
        return _OF_CART[source.removeprefix(CART)]
    if source == KEY:
        return {**_TEXT, "description": f"The correlation key: {rule.per}."}
    if (path := start_path(source)) is not None:
        kinds = [
            kind
            for event in rule.start.events
            if (held := paths.told(event, path)) is not None
            for kind in [_held(held, paths.parse(path).several)]
        ]
        kind = kinds[0] if kinds and all(each == kinds[0] for each in kinds) else _ANY
        return {**kind, "description": f"{path} of the event that began it."}
    return {**_ANY, "description": f"What was told last of the person: {source.removeprefix('trait.')}."}


def _held(held: Field, several: bool) -> dict[str, Any]:
    one: dict[str, Any] = {"number": {"type": "number"}, "flag": {"type": "boolean"}}.get(held.kind, {"type": "string"})
    if several or held.kind == "list":
        return {"type": ["array", "null"], "items": one, "maxItems": ITEMS_KEPT}
    if held.kind == "choice":
        return {"enum": [*held.choices, None]}
    return {"type": [one["type"], "null"]}
