"""The JSON Schema with which editors complete and check topology.yaml while it is written.

    python -m pipeline.topology.jsonschema > topology.schema.json
    python -m pipeline.topology.jsonschema part > rules.schema.json      # of files that it includes

It comes from the same grammar as the linter. What only the linter sees: what parts must fit each other, which fields
an event has, keys that are there twice.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, assert_never

from pipeline.events.model import CONSENT, CONTEXT
from pipeline.grammar import shapes
from pipeline.grammar.operands import MODIFIERS, OPERATORS, REFERENCE, TAKES, Takes
from pipeline.grammar.vocabulary import bodies, context, event_types, spoken_types
from pipeline.language import paths
from pipeline.language.conditions import CONDITION
from pipeline.topology.grammar import document, part

_VALUE: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_REFERENCE: dict[str, Any] = {"type": "string", "pattern": f"^({REFERENCE.pattern.replace('?P<path>', '')})$"}
_NAMED: dict[str, Any] = {"type": "string", "pattern": "^(key|[a-z][a-z0-9_]*\\..+)$"}
_TIME: dict[str, Any] = {"type": "string", "pattern": "^[0-9]{4}-", "examples": ["2026-03-29T01:30:00Z"]}
_OPERANDS: dict[Takes, dict[str, Any]] = {
    "value": _VALUE,
    "values": {"type": "array", "items": _VALUE, "minItems": 1},
    "flag": {"type": "boolean"},
    "number": {"type": "number"},
    "time": _TIME,
    "range": {
        "anyOf": [
            {"type": "array", "items": item, "minItems": 2, "maxItems": 2} for item in ({"type": "number"}, _TIME)
        ]
    },
}


def schema(
    of: shapes.Shape | None = None,
    title: str = "topology.yaml",
    description: str = "Topics, time, identifiers and trigger rules of one deployment.",
) -> dict[str, Any]:
    """The whole schema (draft 2020-12) of a document, ready for `json.dumps`. `of` None: a topology's."""
    defined: dict[str, Any] = {
        "event": {"enum": list(event_types())},
        "spoken": {"enum": list(spoken_types())},
        "path": _path(),
        "where": _where(_REFERENCE),
    }
    if of is None or "triggers" in getattr(of, "keys", ()):
        defined["step_where"] = _where(_NAMED)
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


def part_text() -> str:
    """The content of the schema's file of what a topology includes."""
    return text(schema(part(), "rules", "Trigger rules, segments, measures and lists that topology.yaml includes."))


def _schema(shape: shapes.Shape) -> dict[str, Any]:
    match shape:
        case shapes.Text(pattern=None):
            return {"type": "string"}
        case shapes.Text(what=what, pattern=pattern):
            return {"type": "string", "pattern": f"^({pattern})$", "patternErrorMessage": f"expected {what}"}
        case shapes.Choice(code="unknown-event", options=options) if options == event_types():
            return {"$ref": "#/$defs/event"}
        case shapes.Choice(code="unknown-event", options=options) if options == spoken_types():
            return {"$ref": "#/$defs/spoken"}
        case shapes.EventPath():
            return {"$ref": "#/$defs/path"}
        case shapes.OneOf(plain=plain, mapping=mapping):
            return {"anyOf": [_schema(plain), _schema(mapping)]}
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
        case shapes.Value(numbers=True):
            return {"type": "number"}
        case shapes.Value(flags=flags):
            return {"type": ["string", "number", *(["boolean"] if flags else [])]}
        case shapes.Kinds(name=name):
            return {"$ref": f"#/$defs/{name}"}
        case shapes.Where(named=named):
            return {"$ref": "#/$defs/step_where" if named else "#/$defs/where"}
        case _:
            assert_never(shape)


def _duration(shape: shapes.Duration) -> dict[str, Any]:
    # a leading digit other than 0 keeps out `0s`, which is too short nearly everywhere
    number = shapes.DURATION.pattern.replace("[0-9]+", "0*[1-9][0-9]*") if shape.least_ms else shapes.DURATION.pattern
    number = f"[-+]?{number}" if shape.signed else number
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
    if shape.apart:
        found["not"] = {"required": list(shape.apart)}
    return found


def _path() -> dict[str, Any]:
    """What is ours by name, and what stands under a sender's names."""
    every = sorted({path for event in spoken_types() for path in paths.fixed(event)})
    maps = sorted({field for body in bodies().values() for field, held in body.items() if held.kind == "map"})
    maps += [CONTEXT + field for field, held in context().items() if held.kind == "map"]
    named = "|".join(map(re.escape, [*maps, CONSENT]))
    return {"anyOf": [{"enum": [*every, CONSENT]}, {"type": "string", "pattern": rf"^({named})\..+$"}]}


def _where(reference: dict[str, Any]) -> dict[str, Any]:
    """`reference`: what may stand instead of a number or a time."""
    operators = {
        name: {"description": f"The field {meaning}.", **_operand(TAKES.get(name, "value"), reference)}
        for name, meaning in OPERATORS.items()
    }
    beside = {name: {"description": meaning, **_OPERANDS[TAKES[name]]} for name, meaning in MODIFIERS.items()}
    tests = {
        "type": "object",
        "properties": operators | beside,
        "additionalProperties": False,
        "anyOf": [{"required": [name]} for name in OPERATORS],
    }
    condition = {"anyOf": [_VALUE, tests]}
    return {"type": "object", "propertyNames": {"$ref": "#/$defs/path"}, "additionalProperties": condition}


def _operand(takes: Takes, reference: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [_OPERANDS[takes], reference]} if takes in ("number", "time") else _OPERANDS[takes]


if __name__ == "__main__":
    sys.stdout.write(part_text() if sys.argv[1:] == ["part"] else text())
