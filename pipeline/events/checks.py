"""What holds of every event from here on, whatever format it came in; what can't hold of a part, leaves that part out.

Nothing is refused that can still be understood (semantics 22): only an event without any time is no event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import blake2b
from math import isfinite
from typing import Any

from pipeline.errors import InvalidEvent
from pipeline.events.model import Event, Remark
from pipeline.events.times import EARLIEST, LATEST, MILLISECONDS, by_size

MAX_EVENT_ID = 256
MAX_IDENTIFIER = 512
MAX_STRING = 64 * 1024
MIN_TIME = EARLIEST
MAX_TIME = LATEST
MAX_REMARKS = 16

Note = Callable[[str, str], None]
"""Takes a remark: what, detail."""


class Notes:
    """The remarks on one event, each once."""

    def __init__(self, *remarks: Remark) -> None:
        self._remarks = dict.fromkeys(remarks)

    def add(self, what: str, detail: str) -> None:
        """`detail` holds no value of the event: remarks are counted by their text."""
        if len(self._remarks) < MAX_REMARKS:
            detail = detail if detail.isascii() else detail.encode("utf-8", "replace").decode()
            self._remarks[Remark(what, detail)] = None

    def all(self) -> tuple[Remark, ...]:
        """In the order in which they were made."""
        return tuple(self._remarks)


def validate(event: Event) -> Event:
    """Leave out of `event` what can't be used and say so in its remarks, in place. Returns it.

    From then on both times lie between 1995 and 9999, `occurred_at` not after `received_at`; the event id has 1 to 256
    characters; identifiers have at most 512; no text is longer than 64 KiB or holds half a character; all numbers are
    finite. Raises InvalidEvent(invalid_time): neither time can be read.
    """
    occurred_at, received_at = event.occurred_at, event.received_at
    if not MIN_TIME <= occurred_at <= received_at <= MAX_TIME:
        _mend_times(event)
    if not 1 <= len(event.event_id) <= MAX_EVENT_ID or not _is_sound_text(event.event_id):
        _replace_id(event)
    for namespace, value in event.identifiers.items():
        if len(namespace) > MAX_IDENTIFIER or len(value) > MAX_IDENTIFIER or not _is_sound_text(namespace + value):
            _mend_identifiers(event)
            break
    if not _is_sound(event.body):
        _mend_body(event)
    if event.context is not None and not _is_sound(event.context):
        event.context = _mended(event, event.context, "context") or None
    return event


def content_id(content: object) -> str:
    """An event id made from what an event tells: the same content has the same. `content` is JSON, also of any depth
    that JSON's writer takes.
    """
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    except ValueError:  # a whole number of thousands of digits, which Python refuses to write out
        text = json.dumps(_in_hexadecimal(content), sort_keys=True, separators=(",", ":"), default=str)
    return "content-" + blake2b(text.encode(), digest_size=16).hexdigest()


def _is_sound(node: Any) -> bool:
    """Whether nothing in it has to be left out."""
    texts: list[str] = []
    if not _is_finite(node, texts):
        return False
    together = "".join(texts)  # every event goes through here: one look at all instead of many
    return (together.isascii() and len(together) <= MAX_STRING) or all(map(_is_sound_text, texts))


def _is_finite(node: Any, texts: list[str]) -> bool:
    """Whether all numbers in it are; `texts` gets the texts."""
    inner: Iterable[Any] = node if isinstance(node, list) else (node,)
    if isinstance(node, dict):
        texts.extend(node)
        inner = node.values()
    for value in inner:
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, float):
            if not isfinite(value):
                return False
        elif isinstance(value, (dict, list)) and not _is_finite(value, texts):
            return False
    return True


def _is_sound_text(text: str) -> bool:
    if text.isascii():
        return len(text) <= MAX_STRING
    try:
        return len(text.encode()) <= MAX_STRING
    except UnicodeEncodeError:  # half a character
        return False


# --- what is done where something doesn't hold


def _mend_times(event: Event) -> None:
    notes = Notes(*event.remarks)
    occurred_at = _time(event.occurred_at, "occurred_at", notes.add)
    received_at = _time(event.received_at, "received_at", notes.add)
    if occurred_at is None and received_at is None:
        told = f"occurred_at {event.occurred_at} nor received_at {event.received_at}"
        raise InvalidEvent("invalid_time", f"neither {told} is a time between 1995 and 9999")
    event.received_at = received_at if received_at is not None else occurred_at or 0
    event.occurred_at = event.received_at if occurred_at is None else min(occurred_at, event.received_at)
    event.remarks = notes.all()


def _time(value: int, name: str, note: Note) -> int | None:
    reading = by_size(value)
    if reading is None:
        note("left_out", f"{name}: no time between 1995 and 9999")
        return None
    if reading.form != MILLISECONDS:
        note("read_as", f"{name} in {reading.form}")
    return reading.at


def _replace_id(event: Event) -> None:
    """By a hash of itself, or where there is nothing, of all that was told."""
    told: object = event.event_id
    why = f"longer than {MAX_EVENT_ID} characters"
    if len(event.event_id) <= MAX_EVENT_ID:
        why = "half a character in it" if told else "empty"
    told = told or [event.type, event.occurred_at, event.received_at, event.identifiers, event.body, event.context]
    event.event_id = content_id(told)
    _note(event, "left_out", f"event id: {why}")


def _mend_identifiers(event: Event) -> None:
    """An identifier is whole or not at all: half of one may be somebody else's."""
    notes = Notes(*event.remarks)
    usable = {}
    for namespace, value in event.identifiers.items():
        shown = namespace if namespace.isidentifier() and namespace.isascii() and len(namespace) < 40 else "?"
        if len(namespace) > MAX_IDENTIFIER or len(value) > MAX_IDENTIFIER:
            notes.add("left_out", f"identifiers.{shown}: longer than {MAX_IDENTIFIER} characters")
        elif not _is_sound(namespace + value):
            notes.add("left_out", f"identifiers.{shown}: half a character in it")
        else:
            usable[namespace] = value
    event.identifiers = usable
    event.remarks = notes.all()


def _mend_body(event: Event) -> None:
    told = event.body
    event.body = _mended(event, told, "body")
    if event.type == "cart_updated" and told.get("products") and "products" not in event.body:
        event.type, event.body = unknown_cart(event.body)
        _note(event, "read_as", UNKNOWN_CART)


UNKNOWN_CART = "cart_viewed, not cart_updated: nothing in its products can be read"


def unknown_cart(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(type, body) of an update that doesn't tell what the cart holds: that it is empty would be a guess."""
    return "cart_viewed", {"cart_id": body["cart_id"]} if "cart_id" in body else {}


def _mended(event: Event, part: dict[str, Any], path: str) -> dict[str, Any]:
    notes = Notes(*event.remarks)
    sound: dict[str, Any] = _repaired(part, path, notes.add, named=True) or {}
    event.remarks = notes.all()
    return sound


def _repaired(node: Any, path: str, note: Note, named: bool = False) -> Any:
    """A copy of what is sound in it, or None. `named`: the keys of an object are ours, not the sender's."""
    if isinstance(node, str):
        return node if _is_sound(node) else _text(node, path, note)
    if isinstance(node, float):
        if isfinite(node):
            return node
        note("left_out", f"{path}: not a finite number")
        return None
    if isinstance(node, list):
        return _items(node, f"{path}[]", note)
    if not isinstance(node, dict):
        return node
    sound: dict[str, Any] = {}
    for key, value in node.items():
        inner = f"{path}.{key}" if named else f"{path}.*"
        if (name := key if _is_sound(key) else _text(key, inner, note)) is not None and (
            (kept := _repaired(value, inner, note)) is not None or value is None
        ):
            sound.setdefault(name, kept)
    return sound


def _items(items: list[Any], path: str, note: Note) -> list[Any] | None:
    """A list without what can't be used, or None where nothing is left of it. So it is with an object in it."""
    repaired = ((item, _repaired(item, path, note, named=True)) for item in items)
    return [kept for item, kept in repaired if kept or kept == item] or (None if items else [])


def _text(value: str, path: str, note: Note) -> str | None:
    """Without half characters, unless it is too long."""
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")  # two halves may make one
    if whole != value:
        note("left_out", f"{path}: half a character")
        if not whole:
            return None
    if not _is_sound(whole):
        note("left_out", f"{path}: a text longer than {MAX_STRING} bytes")
        return None
    return whole


def _note(event: Event, what: str, detail: str) -> None:
    notes = Notes(*event.remarks)
    notes.add(what, detail)
    event.remarks = notes.all()


def _in_hexadecimal(node: Any) -> Any:
    """A copy whose large whole numbers are texts."""
    if isinstance(node, dict):
        return {key: _in_hexadecimal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_in_hexadecimal(value) for value in node]
    return hex(node) if isinstance(node, int) and not -(2**64) < node < 2**64 else node
