"""Our Avro schemas: where they are, what they are called, and the forms in which the codec needs them.

One file a record in `schemas/` (a wheel carries them as `pipeline/_data/schemas/`). An event type in snake_case is
the file's name and `Event.type`; its record in CamelCase is `behavioural.events.<Name>`. `trigger`, `decision`
and `segment_change` are outbound and belong to `behavioural.triggers`.

An event type's file has its body alone; the fields of `envelope.avsc` stand before it in the schema that everybody
gets. What we know of a type beside its schema, the file says too (catalogue.py); nobody else sees that.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import to_parsing_canonical_form

NAMESPACE = "behavioural.events"
OUTBOUND = ("decision", "trigger", "segment_change")
ENVELOPE = "envelope"
ANNOTATIONS = frozenset({"pipeline", "form", "keeps"})  # ours, see catalogue.py

_INSTALLED = Path(__file__).parents[1] / "_data" / "schemas"
_CHECKOUT = Path(__file__).parents[2] / "schemas"


@cache
def directory() -> Path:
    """Where the .avsc files are: inside the package when installed, else at the top of the checkout."""
    for path in (_INSTALLED, _CHECKOUT):
        if path.is_dir():
            return path
    raise FileNotFoundError(f"No schemas: neither {_INSTALLED} nor {_CHECKOUT} is there; install the package again.")


def path(name: str) -> Path:
    """An event type's file."""
    return directory() / f"{name}.avsc"


@cache
def annotated(name: str) -> Any:
    """What a file holds, as parsed JSON; not to be changed."""
    return json.loads(path(name).read_text("utf-8"))


@cache
def text(name: str) -> str:
    """The schema as compact JSON text, which is what the registry gets. `name` is a file's name without suffix."""
    whole = annotated(name)
    if name not in OUTBOUND:
        whole = whole | {"fields": [*annotated(ENVELOPE)["fields"], *whole["fields"]]}
    return json.dumps(_without(whole, ANNOTATIONS), ensure_ascii=False)


def schema(name: str) -> dict[str, Any]:
    """The schema as parsed JSON; a new copy each time."""
    parsed: dict[str, Any] = json.loads(text(name))
    return parsed


@cache
def names() -> dict[str, str]:
    """Event type -> record's full name, for instance `product_added` -> `behavioural.events.ProductAdded`."""
    types = sorted(file.stem for file in directory().glob("*.avsc") if file.stem not in (*OUTBOUND, ENVELOPE))
    return {name: full_name(name) for name in types}


@cache
def types() -> dict[str, str]:
    """Record's full name -> event type."""
    return {full: name for name, full in names().items()}


@cache
def full_name(name: str) -> str:
    """A record's full name."""
    parsed = schema(name)
    return f"{parsed['namespace']}.{parsed['name']}"


def subject(topic: str, name: str) -> str:
    """TopicRecordNameStrategy: many event types share a topic, each evolves on its own."""
    return f"{topic}-{full_name(name)}"


@cache
def plain(name: str) -> Any:
    """The schema for fastavro, logical types left out: times are read and written as integers (datetimes cost 5 µs)."""
    return fastavro.parse_schema(stripped(schema(name)))


@cache
def canonical(name: str) -> str:
    """Parsing canonical form: equal for schemas that read each other's bytes without resolution."""
    return to_parsing_canonical_form(fastavro.parse_schema(schema(name)))


@cache
def body_fields(name: str) -> frozenset[str]:
    """Names of the fields of an event type's body."""
    body = next(field["type"] for field in schema(name)["fields"] if field["name"] == "body")
    return frozenset(field["name"] for field in body["fields"])


def stripped(node: Any) -> Any:
    """A copy of a schema without `logicalType`."""
    return _without(node, frozenset({"logicalType"}))


def _without(node: Any, keys: frozenset[str]) -> Any:
    if isinstance(node, dict):
        return {key: _without(value, keys) for key, value in node.items() if key not in keys}
    if isinstance(node, list):
        return [_without(value, keys) for value in node]
    return node
