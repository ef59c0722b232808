"""What the collector takes and answers, as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0).

    python -m pipeline.edge.openapi > docs/collect.openapi.json

Bodies are described as clients send them, not more narrowly than they are read: what can't be read of an event is
refused with its index, or left out (docs/what-we-read.md).
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pipeline.edge.calm import CALM_GETS, KEY
from pipeline.edge.families import CALM_POSTS, GETS, POSTHOG, POSTHOG_V1, POSTS, SEGMENT, SNOWPLOW, Family
from pipeline.topology.model import Edge

Json = dict[str, Any]

_OBJECT: Json = {"type": "object"}
_TEXT: Json = {"type": "string"}
_MAYBE_TEXT: Json = {"type": ["string", "null"]}
_SCHEMAS: Json = {
    "Call": {
        "description": "A call of Segment's spec. `type` where the path doesn't say it.",
        "type": "object",
        "properties": {
            "type": {"enum": ["track", "identify", "page", "screen", "group", "alias"]},
            "event": {"type": "string", "description": "Of track: what happened, such as Product Added."},
            "messageId": {"type": "string", "description": "The same id under the same person is the same event."},
            "anonymousId": _MAYBE_TEXT,
            "userId": _MAYBE_TEXT,
            "timestamp": _TEXT,
            "sentAt": _TEXT,
            "properties": _OBJECT,
            "traits": _OBJECT,
            "context": _OBJECT,
            "writeKey": _TEXT,
        },
    },
    "Calls": {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {"type": "array", "items": {"$ref": "#/components/schemas/Call"}},
            "sentAt": _TEXT,
            "writeKey": _TEXT,
        },
    },
    "PostHogEvent": {
        "type": "object",
        "properties": {
            "event": _TEXT,
            "distinct_id": _TEXT,
            "properties": _OBJECT,
            "timestamp": _TEXT,
            "uuid": _TEXT,
            "api_key": _TEXT,
        },
    },
    "PostHogEvents": {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "api_key": _TEXT,
            "batch": {"type": "array", "items": {"$ref": "#/components/schemas/PostHogEvent"}},
            "sent_at": _TEXT,
        },
    },
    "PostHogV1Events": {
        "description": "With the headers PostHog-Request-Timestamp and PostHog-Sdk-Info.",
        "type": "object",
        "required": ["batch"],
        "properties": {
            "created_at": _TEXT,
            "batch": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "event": _TEXT,
                        "uuid": _TEXT,
                        "distinct_id": _TEXT,
                        "timestamp": _TEXT,
                        "options": _OBJECT,
                        "properties": _OBJECT,
                    },
                },
            },
        },
    },
    "SnowplowEvents": {
        "description": "payload_data of Snowplow's tracker protocol: each event's values are texts.",
        "type": "object",
        "required": ["schema", "data"],
        "properties": {
            "schema": _TEXT,
            "data": {"type": "array", "items": {"type": "object", "additionalProperties": _TEXT}},
        },
    },
    "Error": {
        "type": "object",
        "required": ["index", "reason", "message"],
        "properties": {
            "index": {"type": ["integer", "null"], "description": "In the request; null: all of it."},
            "reason": {"type": "string", "description": "A short stable code."},
            "message": _TEXT,
        },
        "additionalProperties": False,
    },
    "Taken": {
        "description": "Every event that is not in `errors` is safe.",
        "type": "object",
        "properties": {
            "success": {"const": True},
            "status": {"const": 1},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Error"}},
        },
        "additionalProperties": False,
    },
    "Results": {
        "description": "Every event of which it isn't said that it was dropped is safe.",
        "type": "object",
        "required": ["results"],
        "properties": {
            "results": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["result"],
                    "properties": {"result": {"enum": ["ok", "drop"]}, "details": _TEXT},
                    "additionalProperties": False,
                },
            }
        },
        "additionalProperties": False,
    },
    "Refused": {
        "type": "object",
        "required": ["success", "code", "message", "errors"],
        "properties": {
            "success": {"const": False},
            "code": _TEXT,
            "message": _TEXT,
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Error"}},
        },
        "additionalProperties": False,
    },
}
_BODIES = {
    SEGMENT: ("Call", "Calls"),
    POSTHOG: ("PostHogEvent", "PostHogEvents"),
    POSTHOG_V1: ("PostHogV1Events",),
    SNOWPLOW: ("SnowplowEvents",),
}
_REFUSALS = {
    "400": "Nothing in the request can be used; `errors` says of each event why.",
    "401": "No write key that is known here.",
    "403": "A page of this origin may not use the key.",
    "408": "The request took too long.",
    "413": "Too many bytes, or events.",
    "500": "A fault of the collector.",
}
_LATER = {
    "429": "More than the key may send.",
    "503": "Nothing takes events at present.",
}


ABOUT = {
    "/healthz": ("Whether it lives", {"200": "It does."}),
    "/readyz": ("Whether it takes events", {"200": "It does.", "503": "No more: it ends."}),
    "/openapi.json": ("This document, with the bounds of this collector", {"200": "OpenAPI 3.1."}),
}
"""What the collector tells of itself."""


def document(edge: Edge) -> Json:
    """Of a collector with these bounds."""
    paths: dict[str, Json] = {}
    for path, (family, call) in POSTS.items():
        paths.setdefault(path, {})["post"] = _post(family, call, edge)
    for path in GETS:
        paths.setdefault(path, {})["get"] = _pixel(POSTS[path][0])
    for path in sorted(CALM_POSTS):
        paths[path] = dict.fromkeys(("get", "post"), _calm("What clients ask or tell beside, so that they go on."))
    key: Json = {"name": "key", "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{KEY}$"}}
    for path in CALM_GETS:
        told = _calm("What clients in pages are told to do: send events, nothing else.")
        told["responses"]["404"] = {**told["responses"]["400"], "description": "No key."}
        paths[path] = {"get": {**told, "parameters": [key]}}
    for path, (what, answers) in ABOUT.items():
        responses = {
            status: {"description": said, "content": {"application/json": {}}} for status, said in answers.items()
        }
        paths[path] = {"get": {"summary": what, "responses": responses}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pipeline edge",
            "version": "1",
            "summary": "Events from the clients of Segment, RudderStack, PostHog and Snowplow.",
            "description": "See docs/collect.md. A slash at the end of a path changes nothing.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "writeKey": {"type": "http", "scheme": "basic", "description": "The user is the write key."},
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token is the write key."},
            },
        },
    }


def _post(family: Family, call: str, edge: Edge) -> Json:
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in _BODIES[family]]
    bounds = f"At most {edge.request_bytes} bytes, also unpacked (gzip, deflate, br), and {edge.events} events"
    told: Json = {
        "summary": f"{'Calls' if not call else call.capitalize()} ({family.name})",
        "tags": [family.name],
        "security": [{"bearer": []}] if family is POSTHOG_V1 else [{"writeKey": []}, {}],
        "requestBody": {
            "required": True,
            "description": f"{bounds} of {edge.event_bytes} bytes.",
            "content": {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}},
        },
        "responses": {"200": _taken(family), **_refusals(family)},
    }
    return told


def _taken(family: Family) -> Json:
    if family is SNOWPLOW:
        told: Json = {"text/plain": {"schema": _TEXT}, "application/json": {"schema": _ref("Refused")}}
        return {"description": "Its clients keep what gets another status: so does what is refused.", "content": told}
    if family.results:
        return {
            "description": "What became of each event, by its id.",
            "content": {"application/json": {"schema": _ref("Results")}},
        }
    return {"description": "Taken, but for `errors`.", "content": {"application/json": {"schema": _ref("Taken")}}}


def _refusals(family: Family) -> Json:
    refused = {"application/json": {"schema": _ref("Refused")}, "text/plain": {"schema": _TEXT}}
    named = {"400": _REFUSALS["400"], "500": _REFUSALS["500"]} if family is SNOWPLOW else _REFUSALS
    found: Json = {status: {"description": what, "content": refused} for status, what in named.items()}
    for status, what in _LATER.items():
        wait = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
        found[status] = {"description": what, "content": refused, "headers": wait}
    return found


def _pixel(family: Family) -> Json:
    content: Json = {"image/gif": {"schema": {"type": "string", "contentEncoding": "binary"}}}
    answers: Json = {"200": {"description": "A picture, whatever comes of it.", "content": content}}
    return {
        "summary": f"One event, told in the query ({family.name})",
        "tags": [family.name],
        "responses": {**answers, **{status: told for status, told in _refusals(family).items() if status >= "500"}},
    }


def _calm(what: str) -> Json:
    json_or_script: Json = {"application/json": {}, "application/javascript": {}}
    refused = {status: told for status, told in _refusals(SNOWPLOW).items() if status in ("400", "500")}
    refused["413"] = {"description": _REFUSALS["413"], "content": {"application/json": {"schema": _ref("Refused")}}}
    return {
        "summary": what,
        "responses": {"200": {"description": "Nothing to do.", "content": json_or_script}, **refused},
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def text() -> str:
    """As it is committed, with the bounds that a topology has which names none."""
    return json.dumps(document(Edge()), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
