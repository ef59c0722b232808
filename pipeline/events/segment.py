"""Segment's public JSON to our events: track, identify, page, screen, alias, group.

Names follow Segment's e-commerce (v2, and v1's names for the same), video and e-mail specifications and the few that
these lack (semantics 17); any other name becomes a `custom` event. What an event is and who did it is taken strictly;
a detail of a wrong kind (a price of "free") is left out rather than losing an order over it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from pipeline.errors import InvalidEvent
from pipeline.events.checks import validate
from pipeline.events.model import Event
from pipeline.events.segment_fields import flags, maybe_object, plain_text, texts
from pipeline.events.segment_names import PAGE, TRACKED, Fields

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

Part = dict[str, Any]


def translate(obj: object) -> list[Event]:
    """The events in one object of Segment's JSON: one, or two where an alias names two earlier ids.

    Raises InvalidEvent: invalid_shape (not such an object; the detail names the part), invalid_time, and what
    `checks.validate` raises.
    """
    try:
        return _translate(obj)
    except RecursionError:
        raise InvalidEvent("invalid_shape", "nested too deeply") from None


def _translate(obj: object) -> list[Event]:
    if not isinstance(obj, dict):
        raise InvalidEvent("invalid_shape", f"a JSON object is needed, this is {_kind(obj)}")
    kind = obj.get("type")
    build = _BUILDERS.get(kind.strip().lower()) if isinstance(kind, str) else None
    if build is None:
        shown = repr(kind)[:60] if kind is not None else "missing"
        raise InvalidEvent("invalid_shape", f"`type` is {shown}; one of {', '.join(_BUILDERS)} is needed")
    context = _part(obj, "context")
    occurred_at, received_at = _times(obj)
    name, body = build(obj, context)
    event = Event(
        type=name,
        event_id=_event_id(obj),
        occurred_at=occurred_at,
        received_at=received_at,
        identifiers=_identifiers(obj, context),
        body=body,
        context=_context(context),
    )
    events = [event]
    if build is _alias:
        events = _previous(obj, event)
    return [validate(event) for event in events]


# --- the calls


def _track(obj: Part, context: Part) -> tuple[str, Part]:
    name = obj.get("event")
    if not isinstance(name, str) or not name.strip():
        raise InvalidEvent("invalid_shape", f"`event` must name what was tracked, this is {_kind(name)}")
    properties = _part(obj, "properties")
    known = TRACKED.get(" ".join(name.split()).lower())
    if known is None:
        return "custom", {"name": name, "properties": texts(properties)}
    return known.type, {**dict(known.told), **_body(known.fields, properties)}


def _identify(obj: Part, context: Part) -> tuple[str, Part]:
    return "identified", {"traits": texts(_part(obj, "traits"))}


def _alias(obj: Part, context: Part) -> tuple[str, Part]:
    return "identified", {}


def _group(obj: Part, context: Part) -> tuple[str, Part]:
    properties = texts(_part(obj, "traits"))
    if (group := plain_text(obj.get("groupId"))) is not None:
        properties["group_id"] = group
    return "custom", {"name": "group", "properties": properties}


def _page(obj: Part, context: Part) -> tuple[str, Part]:
    properties = _part(obj, "properties")
    page = {**(maybe_object(context.get("page")) or {}), **_without_nulls(properties)}
    body = _body(PAGE, page)
    if "title" not in body and (name := plain_text(obj.get("name"))) is not None:
        body["title"] = name
    return "page_viewed", body


def _screen(obj: Part, context: Part) -> tuple[str, Part]:
    body = _body(PAGE, _part(obj, "properties"))
    if (name := plain_text(obj.get("name"))) is not None:
        body["title"] = name
    return "page_viewed", body


_BUILDERS: dict[str, Callable[[Part, Part], tuple[str, Part]]] = {
    "track": _track,
    "identify": _identify,
    "page": _page,
    "screen": _screen,
    "alias": _alias,
    "group": _group,
}


# --- the envelope


def _event_id(obj: Part) -> str:
    """`messageId`; where it lacks, the same content has the same id."""
    given = obj.get("messageId")
    if given is None or given == "":
        content = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=str)
        return "content-" + blake2b(content.encode(), digest_size=16).hexdigest()
    return _identifier(given, "messageId") or ""


def _times(obj: Part) -> tuple[int, int]:
    """(occurred_at, received_at) by semantics 1: Segment's correction of the client's clock."""
    received, sent, original, stamp = (
        _time(obj, name) for name in ("receivedAt", "sentAt", "originalTimestamp", "timestamp")
    )
    if received is not None and sent is not None and original is not None:
        occurred: int | None = received - (sent - original)
    else:
        occurred = next((at for at in (stamp, original, sent, received) if at is not None), None)
    if occurred is None:
        raise InvalidEvent("invalid_time", "there is no `timestamp`, nor originalTimestamp, sentAt or receivedAt")
    received = occurred if received is None else received
    return min(occurred, received), received


def _time(obj: Part, name: str) -> int | None:
    """UTC ms of an ISO 8601 text; without an offset it is UTC."""
    value = obj.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidEvent("invalid_time", f"`{name}` must be ISO 8601 text, this is {_kind(value)}")
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        raise InvalidEvent("invalid_time", f"`{name}` is not ISO 8601: {value[:60]!r}") from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return (at - EPOCH) // MILLISECOND


def _identifiers(obj: Part, context: Part) -> dict[str, str]:
    """E-mail addresses come from traits alone (semantics 18): one in `properties` may be a friend's."""
    device = maybe_object(context.get("device")) or {}
    email = (maybe_object(context.get("traits")) or {}).get("email")
    if obj["type"].strip().lower() != "group":  # a group's traits are the company's
        email = (maybe_object(obj.get("traits")) or {}).get("email") or email
    found = {
        "anonymous_id": _identifier(obj.get("anonymousId"), "anonymousId"),
        "user_id": _identifier(obj.get("userId"), "userId"),
        "device_id": _identifier(device.get("id"), "context.device.id"),
        "email": _identifier(email, "traits.email"),
    }
    return {namespace: value for namespace, value in found.items() if value}


def _previous(obj: Part, event: Event) -> list[Event]:
    """An alias ties `previousId`; if it also carries another anonymousId, that one gets an event of its own."""
    previous = _identifier(obj.get("previousId"), "previousId")
    anonymous = event.identifiers.get("anonymous_id")
    if not previous or previous == anonymous:
        return [event]
    first = Event(
        type=event.type,
        event_id=event.event_id,
        occurred_at=event.occurred_at,
        received_at=event.received_at,
        identifiers={**event.identifiers, "anonymous_id": previous},
        body=event.body,
        context=event.context,
    )
    return [first] if anonymous is None else [first, event]


def _identifier(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return plain_text(value)
    raise InvalidEvent("invalid_shape", f"`{name}` must be text, this is {_kind(value)}")


def _context(context: Part) -> Part | None:
    """What of Segment's context our envelope has."""
    page = maybe_object(context.get("page")) or {}
    library = maybe_object(context.get("library")) or {}
    consent = maybe_object(context.get("consent")) or {}
    told = {
        "url": plain_text(page.get("url")),
        "referrer": plain_text(page.get("referrer")),
        "user_agent": plain_text(context.get("userAgent", context.get("user_agent"))),
        "ip": plain_text(context.get("ip")),
        "locale": plain_text(context.get("locale")),
        "timezone": plain_text(context.get("timezone")),
        "library": " ".join(filter(None, map(plain_text, (library.get("name"), library.get("version"))))),
        "campaign": texts(maybe_object(context.get("campaign")) or {}),
        "consent": flags(maybe_object(consent.get("categoryPreferences")) or {}),
    }
    return {name: value for name, value in told.items() if value} or None


# --- pieces


def _body(fields: Fields, properties: Part) -> Part:
    """The typed body: every field from the first of its names that holds something of its kind."""
    body: Part = {}
    for field, convert, names in fields:
        for name in names:
            value = properties.get(name)
            if value is not None and (value := convert(value)) is not None:
                body[field] = value
                break
    return body


def _part(obj: Part, name: str) -> Part:
    """An object that the call may carry; missing or null: an empty one."""
    value = obj.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidEvent("invalid_shape", f"`{name}` must be an object, this is {_kind(value)}")
    return value


def _without_nulls(part: Part) -> Part:
    return {name: value for name, value in part.items() if value is not None}


def _kind(value: object) -> str:
    if value is None:
        return "missing or null"
    return _KINDS.get(type(value), type(value).__name__)


_KINDS = {dict: "an object", list: "an array", str: "a text", bool: "true or false", int: "a number", float: "a number"}
