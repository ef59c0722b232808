"""What a rule can speak of: the event types and the fields of their bodies, as the Avro schemas have them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec

from pipeline.events import schemas
from pipeline.events.catalogue import catalogue, doing

Kind = Literal["text", "number", "flag", "choice", "list", "map", "records", "any"]

PAYLOADS = {"cart": "cart_id", "message": "message_id", "film": "film"}
"""Part of a payload -> the key a rule must have for it: there is one cart, message or film only where it is the key."""
OF_CART = ("lines", "quantity", "total", "currency")
"""What a payload may tell of a cart by itself, `cart.total`, in the words of the condition `cart`."""

SEGMENT_CHANGES = ("segment_entered", "segment_left")
VISIT_STARTED = "visit_started"
_KINDS: dict[str, Kind] = {
    "string": "text",
    "boolean": "flag",
    "int": "number",
    "long": "number",
    "float": "number",
    "double": "number",
    "enum": "choice",
    "map": "map",
}


class Field(msgspec.Struct, frozen=True):
    """What a field of an event holds. `choices` are the values of a `choice`; a `list` holds texts; a `map` texts by
    name, or flags (`consent`). `any`: what its sender told under such a name, a text that may be a number or a time.
    """

    kind: Kind
    choices: tuple[str, ...] = ()


MADE: Mapping[str, Mapping[str, Field]] = {
    **{name: {"segment": Field("text"), "reason": Field("choice", ("event", "time"))} for name in SEGMENT_CHANGES},
    VISIT_STARTED: {},
}
"""Event types that nobody sends, made of what is received (triggers/happening.py): field -> what it holds. A visit has
besides the context and the consent of what began it.
"""


@cache
def bodies() -> Mapping[str, Mapping[str, Field]]:
    """Event type -> body field -> what it holds, of those that are sent."""
    return {name: _body(schemas.schema(name)) for name in schemas.names()}


@cache
def items() -> Mapping[str, Mapping[str, Mapping[str, Field]]]:
    """Event type -> body field of several records, such as `products` -> field of each -> what it holds."""
    return {name: _items(schemas.schema(name)) for name in schemas.names()}


@cache
def maps() -> frozenset[str]:
    """The body fields that hold values under their senders' names."""
    return frozenset(field for body in bodies().values() for field, held in body.items() if held.kind == "map")


@cache
def context() -> Mapping[str, Field]:
    """Field of an event's context -> what it holds; the same for all event types."""
    return _context(schemas.schema(event_types()[0]))


@cache
def event_types() -> tuple[str, ...]:
    """All event types that are sent, sorted."""
    return tuple(sorted(bodies()))


@cache
def spoken_types() -> tuple[str, ...]:
    """All that a rule may speak of, sorted: those that are made, too."""
    return tuple(sorted({*bodies(), *MADE}))


def body_of(event: str) -> Mapping[str, Field]:
    """Body field of an event type, sent or made -> what it holds."""
    return MADE[event] if event in MADE else bodies()[event]


@cache
def playback_types() -> tuple[str, ...]:
    """The event types of a player, from which seconds watched are counted."""
    return tuple(sorted(doing("film")))


@cache
def sendable(public: bool) -> tuple[str, ...]:
    """The event types that a key of the collector may send where the topology doesn't say. What a shop's own servers
    know better than any page, e-mails and orders, needs a secret key.
    """
    of_servers = {"order_refunded", *doing("order"), *doing("message")}
    every = catalogue().items()
    return tuple(
        name
        for name, each in every
        if not public or (each.stream in ("clickstream", "video") and name not in of_servers)
    )


@cache
def field_names() -> tuple[str, ...]:
    """Every field of any body, sorted."""
    return tuple(sorted({name for body in bodies().values() for name in body}))


def _body(schema: dict[str, Any]) -> dict[str, Field]:
    return _fields(_part(schema, "body"))


def _context(schema: dict[str, Any]) -> dict[str, Field]:
    return _fields(_there(_part(schema, "context")))


def _items(schema: dict[str, Any]) -> dict[str, dict[str, Field]]:
    told = {field["name"]: _there(field["type"]) for field in _part(schema, "body")["fields"]}
    return {name: _fields(avro["items"]) for name, avro in told.items() if _field(avro).kind == "records"}


def _part(schema: dict[str, Any], name: str) -> Any:
    return next(field["type"] for field in schema["fields"] if field["name"] == name)


def _fields(record: dict[str, Any]) -> dict[str, Field]:
    return {field["name"]: _field(field["type"]) for field in record["fields"]}


def _there(avro: Any) -> Any:
    """A field's type, without null."""
    return next(branch for branch in avro if branch != "null") if isinstance(avro, list) else avro


def _field(avro: Any) -> Field:
    """`avro`: a field's type, perhaps in a union with null, perhaps with annotations."""
    avro = _there(avro)
    name = avro["type"] if isinstance(avro, dict) else avro
    if name == "array":
        return Field("list" if avro["items"] == "string" else "records")
    if name == "enum":
        return Field("choice", tuple(avro["symbols"]))
    return Field(_KINDS[name])
