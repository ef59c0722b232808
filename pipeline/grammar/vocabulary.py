"""What a rule can speak of: the event types and the fields of their bodies, as the Avro schemas have them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec

from pipeline.events import schemas
from pipeline.events.catalogue import catalogue, doing

Kind = Literal["text", "number", "flag", "choice", "list", "map", "records"]

PAYLOADS = {"cart": "cart_id", "message": "message_id", "film": "film"}
"""Part of a payload -> the key a rule must have for it: there is one cart, message or film only where it is the key."""

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
    """A body field. `choices` are the values of a `choice`; a `list` holds texts."""

    kind: Kind
    choices: tuple[str, ...] = ()


@cache
def bodies() -> Mapping[str, Mapping[str, Field]]:
    """Event type -> body field -> what it holds."""
    return {name: _body(schemas.schema(name)) for name in schemas.names()}


@cache
def event_types() -> tuple[str, ...]:
    """All event types, sorted."""
    return tuple(sorted(bodies()))


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
    body = next(field["type"] for field in schema["fields"] if field["name"] == "body")
    return {field["name"]: _field(field["type"]) for field in body["fields"]}


def _field(avro: Any) -> Field:
    """`avro`: a field's type, perhaps in a union with null, perhaps with annotations."""
    if isinstance(avro, list):
        avro = next(branch for branch in avro if branch != "null")
    name = avro["type"] if isinstance(avro, dict) else avro
    if name == "array":
        return Field("list" if avro["items"] == "string" else "records")
    if name == "enum":
        return Field("choice", tuple(avro["symbols"]))
    return Field(_KINDS[name])
