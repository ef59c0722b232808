"""What must hold of every event, whatever format it came in."""

from __future__ import annotations

from math import isfinite
from typing import Any

from pipeline.errors import InvalidEvent
from pipeline.events.model import Event

MAX_EVENT_ID = 256
MAX_IDENTIFIER = 512
MAX_STRING = 64 * 1024
MIN_TIME = 788_918_400_000
MAX_TIME = 253_402_300_799_999
"""The last millisecond of the year 9999: later cannot be written as RFC 3339."""


def validate(event: Event) -> Event:
    """Check `event` and clamp `occurred_at` to `received_at`, in place. Returns it.

    Raises InvalidEvent: invalid_time, invalid_number, invalid_utf8, too_large (also an empty event id).
    """
    check_id(event.event_id)
    event.occurred_at, event.received_at = check_times(event.occurred_at, event.received_at)
    for namespace, value in event.identifiers.items():
        if len(namespace) > MAX_IDENTIFIER or len(value) > MAX_IDENTIFIER:
            raise too_large(f"identifier {namespace[:40]!r}", MAX_IDENTIFIER, "characters")
        _check_text(namespace, "identifiers")
        _check_text(value, f"identifier {namespace!r}")
    _check_values(event.body, "body")
    if event.context is not None:
        _check_values(event.context, "context")
    return event


def check_id(event_id: str) -> None:
    """1 to 256 characters."""
    if not event_id:
        raise InvalidEvent("too_large", "event_id is empty; 1 to 256 characters are allowed")
    if len(event_id) > MAX_EVENT_ID:
        raise too_large("event_id", MAX_EVENT_ID, "characters")
    _check_text(event_id, "event_id")


def check_times(occurred_at: int, received_at: int) -> tuple[int, int]:
    """Both times in ms, the first never later than the second."""
    if not 0 <= received_at <= MAX_TIME:
        raise InvalidEvent("invalid_time", f"received_at {received_at} is not between 1970 and 9999 (UTC ms)")
    if not 0 <= occurred_at <= MAX_TIME:
        raise InvalidEvent("invalid_time", f"occurred_at {occurred_at} is not between 1970 and 9999 (UTC ms)")
    return min(occurred_at, received_at), received_at


def too_large(what: str, limit: int, unit: str) -> InvalidEvent:
    """The error for something beyond its limit."""
    return InvalidEvent("too_large", f"{what} is longer than {limit} {unit}")


def _check_values(node: Any, path: str) -> None:
    if isinstance(node, str):
        _check_text(node, path)
    elif isinstance(node, float):
        if not isfinite(node):
            raise InvalidEvent("invalid_number", f"{path} is {node}; numbers must be finite")
    elif isinstance(node, dict):
        for key, value in node.items():
            _check_text(key, path)
            _check_values(value, f"{path}.{key[:40]}")
    elif isinstance(node, list):
        for value in node:
            _check_values(value, path)


def _check_text(value: str, path: str) -> None:
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidEvent("invalid_utf8", f"{path} holds a lone surrogate, which is no character") from None
    if size > MAX_STRING:
        raise too_large(path, MAX_STRING, "bytes")
