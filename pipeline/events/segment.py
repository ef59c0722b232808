"""Segment's public JSON to our events: track, identify, page, screen, alias, group.

Names follow Segment's e-commerce (v2, and v1's names for the same), video and e-mail specifications, GA4's e-commerce
events, and the few names that these lack (semantics 17); any other name becomes a `custom` event. What can be
understood counts (semantics 22): a part of a wrong kind is left out, and said in the event's remarks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from pipeline.errors import InvalidEvent
from pipeline.events.checks import UNKNOWN_CART, Note, Notes, content_id, validate
from pipeline.events.model import Event
from pipeline.events.segment_body import Fields, squeezed
from pipeline.events.segment_fields import (
    TEXT,
    alone,
    an_object,
    flags,
    key_text,
    kind_of,
    maybe_object,
    plain_text,
    texts,
)
from pipeline.events.segment_names import DESCRIBED, PAGE, TRACKED, Tracked, named
from pipeline.events.text import stands_for_nothing, unquoted
from pipeline.events.times import ISO, event_times, read

CALL = Fields(
    tuple(
        (name, TEXT, (name,))
        for name in (
            "type", "event", "name", "messageId", "userId", "anonymousId", "previousId", "groupId", "timestamp",
            "originalTimestamp", "sentAt", "receivedAt", "properties", "traits", "context",
        )
    )
)  # fmt: skip
"""What lies at the top of a call, however it is spelt: warehouses export user_id and sent_at."""
TRAITS = Fields((("email", TEXT, ("email",)),))

DEEPEST = 24
"""Objects and lists inside of each other, of what is too deep to be walked through: what lies deeper is left out."""

Part = dict[str, Any]


def translate(obj: object, received_at: int | None = None) -> list[Event]:
    """The events in one object of Segment's JSON: one, or two where an alias names two earlier ids.

    `received_at` (UTC ms): of what has just come in from a client. What the call says of its receipt is not believed
    then, and its `timestamp` is the client's own, by the clock that tells `sentAt`. None: a recording tells it itself.

    Raises InvalidEvent: invalid_shape (no such object, or nothing says what happened), invalid_time (nor when).
    """
    notes = Notes()
    try:
        return _translate(obj, notes, received_at)
    except RecursionError:
        notes = Notes()
        notes.add("left_out", f"what lies more than {DEEPEST} objects or arrays deep")
        return _translate(_shallow(obj, DEEPEST), notes, received_at)


def _translate(obj: object, notes: Notes, received_now: int | None) -> list[Event]:
    told = an_object(obj)
    obj = CALL.known(told, notes.add)
    call = _call(obj, notes.add)
    context = _part(obj, "context", notes.add)
    occurred_at, received_at = _times(obj, notes.add, received_now)
    name, body = _BUILDERS[call](obj, context, notes.add)
    event = Event(
        type=name,
        event_id=_event_id(obj, told, received_now, notes.add),
        occurred_at=occurred_at,
        received_at=received_at,
        identifiers=_identifiers(obj, call, context, notes.add),
        body=body,
        context=envelope_of(context) if context else None,
    )
    events = _previous(obj, event, notes.add) if call == "alias" else [event]
    events[0].remarks = notes.all()
    return [validate(event) for event in events]


def _call(obj: Part, note: Note) -> str:
    """Which of the calls it is; what names an event is a track."""
    told = obj.get("type")
    if isinstance(told, str) and told in _BUILDERS:
        return told
    told = alone(told)
    call = unquoted(told).lower() if isinstance(told, str) else ""
    if call in _BUILDERS:
        return call
    if _event_name(obj) is None:
        if call := _meant(obj):
            note(
                "read_as", f"{call}, though `type` says something else" if told else f"{call}, though `type` is missing"
            )
            return call
        shown = repr(told)[:60] if isinstance(told, str) else kind_of(told)
        raise InvalidEvent("invalid_shape", f"`type` is {shown}; one of {', '.join(_BUILDERS)} is needed")
    note("read_as", "a track, though `type` says something else" if told else "a track, though `type` is missing")
    return "track"


def _meant(obj: Part) -> str:
    """The call of an object without `type` and `event`, by what only that call has. What holds a list is a batch."""
    if any(isinstance(value, list) for value in obj.values()):
        return ""
    return next((call for field, call in _TELLING.items() if obj.get(field)), "")


_TELLING = {"previousId": "alias", "groupId": "group", "traits": "identify"}


# --- the calls


def _track(obj: Part, context: Part, note: Note) -> tuple[str, Part]:
    name = _event_name(obj)
    if name is None:
        raise InvalidEvent("invalid_shape", f"`event` must name what was tracked, this is {kind_of(obj.get('event'))}")
    properties = _part(obj, "properties", note)
    known, near = (meant_by if len(name) <= LONGEST_NAME else meant_by.__wrapped__)(name)
    if known is None:
        if near is not None:
            note("misspelt", f"an event of another name is kept as it is told; `{near}`?")
        return "custom", {"name": name, "properties": texts(properties)}
    if known.fields is PAGE:
        return _page({**obj, "name": None}, context, note)
    body = {**dict(known.told), **known.fields.read(properties, "properties", note)}
    if known.settle is not None:
        kind, body = known.settle(body, lambda: known.fields.tells("products", properties))
        if kind != known.type:
            note("read_as", UNKNOWN_CART)
        return kind, body
    return known.type, body


_RUN_TOGETHER = {squeezed(name): name for name in TRACKED}
LONGEST_NAME = 256
"""Characters of an event's name whose meaning is remembered."""


@lru_cache(maxsize=4096)
def meant_by(name: str) -> tuple[Tracked | None, str | None]:
    """What an event's name means; where that is nothing, the name of ours that is the same but for its blanks."""
    known = TRACKED.get(named(unquoted(name))) or DESCRIBED.get(name)
    return known, None if known is not None else _RUN_TOGETHER.get(squeezed(name))


def _event_name(obj: Part) -> str | None:
    name = obj.get("event")
    if isinstance(name, str):
        return name if name and unquoted(name) else None
    name = alone(name)
    if isinstance(name, bool) or not isinstance(name, (str, int, float)):
        return None
    text = plain_text(name)
    return text if text is not None and unquoted(text) else None


def _identify(obj: Part, context: Part, note: Note) -> tuple[str, Part]:
    """RudderStack's Python client tells the traits in the context alone."""
    told = obj if obj.get("traits") is not None else context
    return "identified", {"traits": texts(_part(told, "traits", note))}


def _alias(obj: Part, context: Part, note: Note) -> tuple[str, Part]:
    return "identified", {}


def _group(obj: Part, context: Part, note: Note) -> tuple[str, Part]:
    properties = texts(_part(obj, "traits", note))
    if (group := plain_text(obj.get("groupId"))) is not None:
        properties["group_id"] = group
    return "custom", {"name": "group", "properties": properties}


def _page(obj: Part, context: Part, note: Note) -> tuple[str, Part]:
    properties = PAGE.read(_part(obj, "properties", note), "properties", note)
    body = PAGE.read(maybe_object(context.get("page")) or {}, "context.page", note) | properties
    if "title" not in body and (name := key_text(obj.get("name"))) is not None:
        body["title"] = name
    return "page_viewed", body


def _screen(obj: Part, context: Part, note: Note) -> tuple[str, Part]:
    body = PAGE.read(_part(obj, "properties", note), "properties", note)
    if (name := key_text(obj.get("name"))) is not None:
        body["title"] = name
    return "page_viewed", body


_BUILDERS: dict[str, Callable[[Part, Part, Note], tuple[str, Part]]] = {
    "track": _track,
    "identify": _identify,
    "page": _page,
    "screen": _screen,
    "alias": _alias,
    "group": _group,
}


# --- the envelope


def _event_id(obj: Part, told: Part, received_now: int | None, note: Note) -> str:
    """`messageId`; where it lacks, the same content has the same id: `told` is the call as it came."""
    given = _identifier(obj.get("messageId"), "messageId", note)
    if given:
        if not stands_for_nothing(given) or given.lstrip("-").isdecimal():  # numbers may well begin with 0
            return given
        note("left_out", "messageId: a word that stands for nothing")
    if received_now is not None and not any(obj.get(name) for name in _TIMES):  # two such are two, however alike
        told = {**told, "receivedAt": received_now}
    return content_id(told)


_TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")


def _times(obj: Part, note: Note, received_now: int | None) -> tuple[int, int]:
    if received_now is not None:
        stamp = _time(obj, "timestamp", note)
        original, sent = _time(obj, "originalTimestamp", note), _time(obj, "sentAt", note)
        original = stamp if original is None else original
        return event_times(stamp, original, sent, received_now) or (received_now, received_now)
    times = event_times(*(_time(obj, name, note) for name in _TIMES))
    if times is None:
        told = [f"`{name}` ({kind_of(obj[name])})" for name in _TIMES if obj.get(name) is not None]
        raise InvalidEvent("invalid_time", _NO_TIME.format(", ".join(told) or "none of them is there"))
    return times


_NO_TIME = "no readable timestamp, originalTimestamp, sentAt or receivedAt between 1995 and 9999: {}"


def _time(obj: Part, name: str, note: Note) -> int | None:
    told = obj.get(name)
    if told is None:
        return None
    reading = read(told if isinstance(told, str) else alone(told))
    if reading is None:
        if told != "":
            note("left_out", f"{name}: no time between 1995 and 9999")
        return None
    if reading.form != ISO:
        note("read_as", f"{name} in {reading.form}")
    return reading.at


def _identifiers(obj: Part, call: str, context: Part, note: Note) -> dict[str, str]:
    """E-mail addresses come from traits alone (semantics 18): one in `properties` may be a friend's."""
    device = context.get("device")
    device = {} if device is None else maybe_object(device) or {}
    found = {
        "anonymous_id": _identifier(obj.get("anonymousId"), "anonymousId", note),
        "user_id": _identifier(obj.get("userId"), "userId", note),
        "device_id": _identifier(device.get("id"), "context.device.id", note),
    }
    if call != "group":  # a group's traits are the company's
        found["email"] = _email(obj, "traits.email", note)
    if not found.get("email"):
        found["email"] = _email(context, "context.traits.email", note)
    return {namespace: value for namespace, value in found.items() if value}


def _email(part: Part, path: str, note: Note) -> str | None:
    told = part.get("traits")
    traits = None if told is None else maybe_object(told)
    return None if traits is None else _identifier(TRAITS.known(traits, note).get("email"), path, note)


def _previous(obj: Part, event: Event, note: Note) -> list[Event]:
    """An alias ties `previousId`; if it also carries another anonymousId, that one gets an event of its own."""
    previous = _identifier(obj.get("previousId"), "previousId", note)
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


def _identifier(value: object, name: str, note: Note) -> str | None:
    if value is None or isinstance(value, str):
        return value
    text = plain_text(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if text is None:
        note("left_out", f"{name}: {kind_of(value)}, not a text or number")
    return text


LONGEST_CONTEXT = 4096
"""Bytes of the longest that is remembered."""


def envelope_of(context: Part) -> Part | None:
    """What of Segment's context our envelope has. Clients tell the same again and again, so it is read once; whoever
    gets it copies it before a change.
    """
    try:
        told = _encode(context)
    except (ValueError, OverflowError, RecursionError):  # half a character, a number beyond all bounds
        return _envelopes(context)
    return _envelopes_of(told) if len(told) <= LONGEST_CONTEXT else _envelopes(context)


_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=1024)
def _envelopes_of(told: bytes) -> Part | None:
    return _envelopes(msgspec.json.decode(told))


def _envelopes(context: Part) -> Part | None:
    page = maybe_object(context.get("page")) or {}
    library = maybe_object(context.get("library")) or {}
    consent = maybe_object(context.get("consent")) or {}
    told = {
        "url": key_text(page.get("url")),
        "referrer": key_text(page.get("referrer")),
        "user_agent": key_text(context.get("userAgent", context.get("user_agent"))),
        "ip": key_text(context.get("ip")),
        "locale": key_text(context.get("locale")),
        "timezone": key_text(context.get("timezone")),
        "library": " ".join(filter(None, map(key_text, (library.get("name"), library.get("version"))))),
        "campaign": texts(maybe_object(context.get("campaign")) or {}),
        "consent": flags(maybe_object(consent.get("categoryPreferences")) or {}),
    }
    return {name: value for name, value in told.items() if value} or None


# --- pieces


def _part(obj: Part, name: str, note: Note) -> Part:
    """An object that the call may carry; what is none is an empty one."""
    value = obj.get(name)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    part = maybe_object(value)
    if part is None:
        note("left_out", f"{name}: {kind_of(value)}, not an object")
        return {}
    note("read_as", f"{name}: an object in {kind_of(value)}")
    return part


def _shallow(node: Any, depth: int) -> Any:
    """A copy without what lies deeper. (It doesn't go deeper itself.)"""
    if not isinstance(node, (dict, list)):
        return node
    if depth == 0:
        return None
    if isinstance(node, list):
        return [_shallow(item, depth - 1) for item in node]
    return {name: _shallow(item, depth - 1) for name, item in node.items()}
