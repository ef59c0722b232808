"""Batches as Segment's and RudderStack's HTTP bodies tell them: a list of events, and around it what holds of each."""

from __future__ import annotations

from typing import Any, TypeGuard

from pipeline.events.segment_fields import numbered

_LISTS = ("batch", "events", "data", "messages")
_CALLS = frozenset(("track", "identify", "page", "screen", "alias", "group"))
_TELLING = frozenset(
    ("event", "messageId", "anonymousId", "userId", "timestamp", "originalTimestamp", "sentAt", "receivedAt")
)
_INHERITED = ("sentAt", "receivedAt", "anonymousId", "userId", "channel", "integrations")
_STAMPS = ("timestamp", "originalTimestamp")


def is_event(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether this looks like one of Segment's calls, in whatever state."""
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    return isinstance(kind, str) and kind.strip().lower() in _CALLS and not _TELLING.isdisjoint(value)


def is_envelope(value: object) -> bool:
    """Whether this is a batch: `batch` holds a list, or another of its names one of events; and it is no event."""
    return isinstance(value, dict) and _list(value) is not None


def items(envelope: dict[str, Any]) -> list[object]:
    """The events of a batch, each with what the batch tells of all where it lacks it."""
    found = _list(envelope) or []
    shared = {name: envelope[name] for name in _INHERITED if envelope.get(name) is not None}
    context = envelope.get("context")
    return [_inheriting(item, envelope, shared, context) if isinstance(item, dict) else item for item in found]


def _list(value: dict[str, Any]) -> list[object] | None:
    if "type" in value and is_event(value):
        return None
    for name in _LISTS:
        found = numbered(value.get(name))
        if found is not None and (name == "batch" or (found and all(map(is_event, found)))):
            return found
    return None


def _inheriting(item: dict[str, Any], envelope: dict[str, Any], shared: dict[str, Any], context: object) -> object:
    item = {**item, **{name: value for name, value in shared.items() if item.get(name) is None}}
    if all(item.get(name) is None for name in _STAMPS):
        item.update((name, envelope[name]) for name in _STAMPS if envelope.get(name) is not None)
    if isinstance(context, dict) and context:
        own = item.get("context")
        item["context"] = {**context, **own} if isinstance(own, dict) else context
    return item
