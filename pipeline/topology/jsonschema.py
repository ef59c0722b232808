"""The JSON Schema with which editors complete and check topology.yaml while it is written.

    python -m pipeline.topology.jsonschema > topology.schema.json

It comes from the same grammar as the linter. What only the linter sees: what parts must fit each other, which fields
an event has, keys that are there twice.
"""

from __future__ import annotations

import json
import sys
from typing import Any, assert_never

from pipeline.grammar import shapes
from pipeline.grammar.reader import OPERATORS
from pipeline.grammar.vocabulary import event_types, field_names
from pipeline.language.conditions import CONDITION
from pipeline.topology.grammar import document

_VALUE: dict[str, Any] = {"type": ["string", "number"]}
_OPERANDS: dict[str, dict[str, Any]] = {
    "in": {"type": "array", "items": _VALUE, "minItems": 1},
    "exists": {"type": "boolean"},
    **{name: {"type": "number"} for name in ("gt", "gte", "lt", "lte")},
}


def schema(
    of: shapes.Shape | None = None,
    title: str = "topology.yaml",
    description: str = "Topics, time, identifiers and trigger rules of one deployment.",
) -> dict[str, Any]:
    """The whole schema (draft 2020-12) of a document, ready for `json.dumps`. `of` None: a topology's."""
    defined: dict[str, Any] = {
        "event": {"enum": list(event_types())},
        "field": {"enum": list(field_names())},
        "where": _where(),
    }
    if of is None:
        defined["condition"] = {"anyOf": [_schema(record) for record in CONDITION.records().values()]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        **_schema(of or document()),
        "$defs": defined,
    }


def text(found: dict[str, Any] | None = None) -> str:
    """The content of a schema's file; None: that of topologies."""
    return json.dumps(found or schema(), indent=2, ensure_ascii=False) + "\n"


def _schema(shape: shapes.Shape) -> dict[str, Any]:
    match shape:
        case shapes.Text(pattern=None):
            return {"type": "string"}
        case shapes.Text(what=what, pattern=pattern):
            return {"type": "string", "pattern": f"^({pattern})$", "patternErrorMessage": f"expected {what}"}
        case shapes.Choice(code="unknown-event", options=options) if options == event_types():
            return {"$ref": "#/$defs/event"}
        case shapes.Choice(code="unknown-field"):
            return {"$ref": "#/$defs/field"}
        case shapes.Choice(options=options):
            return {"enum": list(options)}
        case shapes.Flag():
            return {"type": "boolean"}
        case shapes.Whole(least=least, most=most):
            return {"type": "integer", "minimum": least} | ({} if most is None else {"maximum": most})
        case shapes.Number(above=above, most=up_to):
            return {"type": "number", "exclusiveMinimum": above, "maximum": up_to}
        case shapes.Duration():
            return _duration(shape)
        case shapes.Moment():
            return {"type": ["string", "integer"], "pattern": f"^{shapes.MOMENT.pattern}$", "examples": ["0m", "+59m"]}
        case shapes.Time():
            return {"type": "string", "examples": ["2026-03-29T01:30:00Z"]}
        case shapes.Anything():
            return {}
        case shapes.Many(item=item, single=single, least=least, most=most):
            many: dict[str, Any] = {"type": "array", "items": _schema(item)} | ({"minItems": least} if least else {})
            many |= {} if most is None else {"maxItems": most}
            return {"anyOf": [_schema(item), many]} if single else many
        case shapes.Record():
            return _record(shape)
        case shapes.Table(name=name, value=value, least=least):
            table: dict[str, Any] = {
                "type": "object" if least else ["object", "null"],
                "propertyNames": {"pattern": f"^({name.pattern})$"},
                "additionalProperties": _schema(value),
            }
            return table | ({"minProperties": least} if least else {})
        case shapes.Either(scalar=scalar, record=record):
            return {"anyOf": [_schema(scalar), _schema(record)]}
        case shapes.Value(numbers=True):
            return {"type": "number"}
        case shapes.Value(flags=flags):
            return {"type": ["string", "number", *(["boolean"] if flags else [])]}
        case shapes.Kinds(name=name):
            return {"$ref": f"#/$defs/{name}"}
        case shapes.Where():
            return {"$ref": "#/$defs/where"}
        case _:
            assert_never(shape)


def _duration(shape: shapes.Duration) -> dict[str, Any]:
    # a leading digit other than 0 keeps out `0s`, which is too short nearly everywhere
    number = shapes.DURATION.pattern.replace("[0-9]+", "0*[1-9][0-9]*") if shape.least_ms else shapes.DURATION.pattern
    pattern = f"^({number}|{shapes.FOREVER})$" if shape.forever else f"^{number}$"
    return {"type": "string", "pattern": pattern, "examples": ["10s", "5m", "1h", "3d"]}


def _record(shape: shapes.Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": ["object", "null"] if shape.may_be_empty else "object",
        "properties": {name: {"description": key.doc, **_schema(key.shape)} for name, key in shape.keys.items()},
        "additionalProperties": False,
    }
    required = [name for name, key in shape.keys.items() if key.required]
    if required:
        found["required"] = required
    if shape.some:
        found["minProperties"] = 1
    if shape.one_of:
        found["oneOf"] = [{"required": [name]} for name in shape.one_of]
    return found


def _where() -> dict[str, Any]:
    operators = {
        name: {"description": f"The field {meaning}.", **_OPERANDS.get(name, _VALUE)}
        for name, meaning in OPERATORS.items()
    }
    tests = {"type": "object", "properties": operators, "additionalProperties": False, "minProperties": 1}
    condition = {"anyOf": [_VALUE, tests]}
    return {"type": "object", "propertyNames": {"$ref": "#/$defs/field"}, "additionalProperties": condition}


if __name__ == "__main__":
    sys.stdout.write(text())
