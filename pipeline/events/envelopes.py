"""Batches as the bodies of HTTP requests tell them: a list of events, and around it what holds of each.

Segment's and RudderStack's, PostHog's and Snowplow's; and whose a single object is, where it stands in a file.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from pipeline.events import posthog, snowplow
from pipeline.events.segment_fields import numbered

Pairs = list[tuple[str, Any]]

_LISTS = ("batch", "events", "data", "messages", "results")
_CALLS = frozenset(("track", "identify", "page", "screen", "alias", "group"))
_TELLING = frozenset(
    ("event", "messageId", "anonymousId", "userId", "timestamp", "originalTimestamp", "sentAt", "receivedAt")
)
_INHERITED = ("sentAt", "receivedAt", "anonymousId", "userId", "channel", "integrations")
_STAMPS = ("timestamp", "originalTimestamp")
_IDENTIFIERS = frozenset(("anonymousId", "userId"))
_SEGMENTS = _IDENTIFIERS | {"type", "messageId"}


def is_event(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether this looks like one of Segment's calls, in whatever state."""
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    return isinstance(kind, str) and kind.strip().lower() in _CALLS and not _TELLING.isdisjoint(value)


def call_of(value: object) -> object:
    """What a file tells, as one of Segment's calls if it is surely an event of PostHog's or Snowplow's; else as it is.

    Raises InvalidEvent: invalid_shape.
    """
    if _is_posthogs(value):
        return posthog.call_of(value)
    return snowplow.call_of(value) if _is_snowplows(value) else value


def _is_posthogs(value: object) -> bool:
    """`event` and `distinct_id`, whatever its `type`: some clients tell one (PostHog/posthog-ruby:
    lib/posthog/field_parser.rb). Pages send that id in the properties, as Mixpanel's do, which have no `$lib`.
    """
    if not isinstance(value, dict) or "event" not in value or not _IDENTIFIERS.isdisjoint(value):
        return False
    properties = value.get("properties")
    return "distinct_id" in value or (
        _SEGMENTS.isdisjoint(value) and isinstance(properties, dict) and {"distinct_id", "$lib"} <= properties.keys()
    )


def _is_snowplows(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(e := value.get("e"), str)
        and e in snowplow.EVENTS
        and ("eid" in value or "tv" in value)
        and _SEGMENTS.isdisjoint(value)
    )


def is_envelope(value: object) -> bool:
    """Whether this is a batch: `batch` holds a list, or another of its names one of events; and it is no event. Or it
    is Snowplow's payload_data.
    """
    return isinstance(value, dict) and (_list(value) is not None or _is_payload(value))


def _is_payload(value: dict[str, Any]) -> bool:
    schema = value.get("schema")
    return (
        isinstance(schema, str)
        and snowplow.PAYLOAD.match(schema) is not None
        and numbered(value.get("data")) is not None
    )


def items(envelope: object) -> list[object] | None:
    """The events of a batch, each with what the batch tells of all where it lacks it. None: it is no batch."""
    if not isinstance(envelope, dict):
        return None
    if _is_payload(envelope):
        return snowplow.items(envelope)
    if (found := _list(envelope)) is None:
        return None
    if any(map(_is_posthogs, found)):
        return posthog.items(found, envelope.get("sent_at"))
    shared = [(name, envelope[name]) for name in _INHERITED if envelope.get(name) is not None]
    stamps = [(name, envelope[name]) for name in _STAMPS if envelope.get(name) is not None]
    context = envelope.get("context")
    around = context if isinstance(context, dict) else {}
    return [_inheriting(item, shared, stamps, around) if isinstance(item, dict) else item for item in found]


def _list(value: dict[str, Any]) -> list[object] | None:
    if "type" in value and is_event(value):
        return None
    for name in _LISTS:
        found = numbered(value.get(name))
        if found is not None and (name == "batch" or (found and all(map(_is_known, found)))):
            return found
    return None


def _is_known(value: object) -> bool:
    return is_event(value) or _is_posthogs(value)


def _inheriting(item: dict[str, Any], shared: Pairs, stamps: Pairs, context: dict[str, Any]) -> dict[str, Any]:
    more = {name: value for name, value in shared if item.get(name) is None}
    if stamps and all(item.get(name) is None for name in _STAMPS):
        more.update(stamps)
    if context:
        own = item.get("context")
        more["context"] = {**context, **own} if isinstance(own, dict) else context
    return {**item, **more} if more else item
