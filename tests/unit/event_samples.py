"""Events of every type: one with every field told, and hypothesis strategies for all that the schemas allow."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pipeline.events import schemas
from pipeline.events.checks import MAX_TIME, MIN_TIME
from pipeline.events.model import Event

NOW = 1_764_000_000_000


def sample(name: str) -> Event:
    """An event of this type with every field told."""
    return Event(
        type=name,
        event_id=f"{name}-1",
        occurred_at=NOW,
        received_at=NOW + 100,
        identifiers={"anonymous_id": "a-1", "user_id": "u-1"},
        body=_filled(body_schema(name)),
        context={**_filled(context_schema()), "consent": {"advertising": False, "analytics": True}},
    )


def events() -> st.SearchStrategy[Event]:
    """Any valid event."""
    return st.sampled_from(sorted(schemas.names())).flatmap(events_of)


def events_of(name: str) -> st.SearchStrategy[Event]:
    """Any valid event of a type."""
    times = st.integers(MIN_TIME, MAX_TIME)
    context = st.tuples(_values(context_schema()), st.none() | st.dictionaries(_TEXT, st.booleans()))
    return st.builds(
        lambda event_id, at, identifiers, body, context: Event(
            name, event_id, min(at), max(at), identifiers, body, context
        ),
        st.text(_CHARACTERS, min_size=1, max_size=256),
        st.tuples(times, times),
        st.dictionaries(_TEXT, st.text(_CHARACTERS, max_size=512), max_size=4),
        _values(body_schema(name)),
        st.none() | context.map(lambda parts: {**parts[0], **({"consent": parts[1]} if parts[1] is not None else {})}),
    )


def body_schema(name: str) -> dict[str, Any]:
    """The record schema of a type's body."""
    schema: dict[str, Any] = next(field["type"] for field in schemas.schema(name)["fields"] if field["name"] == "body")
    return schema


def context_schema() -> dict[str, Any]:
    """The record schema of the context."""
    union = next(field["type"] for field in schemas.schema("custom")["fields"] if field["name"] == "context")
    schema: dict[str, Any] = union[1]
    return schema


_CHARACTERS = st.characters(exclude_categories=["Cs"])
_TEXT = st.text(_CHARACTERS, max_size=70)


def _filled(schema: Any, name: str = "") -> Any:
    if isinstance(schema, list):
        return _filled(schema[1], name)
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            return {field["name"]: _filled(field["type"], field["name"]) for field in schema["fields"]}
        case "map":
            return {"one": _filled(schema["values"], name), "two": _filled(schema["values"], name)}
        case "array":
            return [_filled(schema["items"], name), _filled(schema["items"], name)]
        case "enum":
            return schema["symbols"][1]
        case "string":
            return f"{name} é"
        case "long":
            return 1_234_567
        case "double":
            return 12.5
        case "boolean":
            return True
    raise AssertionError(kind)


def _values(schema: Any) -> st.SearchStrategy[Any]:
    """As decoded: a nullable field that is null is left out of its record."""
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            told = {
                field["name"]: _values(field["type"]) for field in schema["fields"] if isinstance(field["type"], dict)
            }
            optional = {
                field["name"]: _values(field["type"][1])
                for field in schema["fields"]
                if isinstance(field["type"], list)
            }
            return st.fixed_dictionaries(told, optional=optional)
        case "map":
            return st.dictionaries(_TEXT, _values(schema["values"]), max_size=5)
        case "array":
            return st.lists(_values(schema["items"]), max_size=4)
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "string":
            return _TEXT | st.text("xé", min_size=60, max_size=9000)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "double":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
    raise AssertionError(kind)
