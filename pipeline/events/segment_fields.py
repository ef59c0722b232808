"""Values of Segment's JSON in the kinds that our bodies have. Converters give None for what isn't of the kind.

What people really send (semantics 22): lists and objects as JSON text, PHP's arrays with numbered keys, prices as they
stand in a shop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple

from pipeline.errors import InvalidEvent
from pipeline.events.checks import Note
from pipeline.events.text import stands_for_nothing, trimmed

MAX_LONG = 2**63 - 1
LONGEST_ID = 256
"""Characters of a text that can be a product's id."""
NESTED = 8
"""Lists in lists, and JSON text in JSON text, are unpacked so deep."""


class Kind(NamedTuple):
    """What a field holds: a noun for remarks, and the converter, which gives None for what is none, and is told the
    value's path for what it notes. `key`: things are known by it, so that a word that stands for nothing isn't one.
    `plain`: a value of that type counts as it stands (a text of a key as long as it begins and ends with a letter or
    digit; for a float also a whole number). `items`: `segment_body.Fields` of the objects in a list.
    """

    noun: str
    read: Callable[[object, str, Note], Any]
    key: bool = False
    plain: type | None = None
    items: Any = None


def plain_text(value: object) -> str | None:
    """Text as it is, numbers and flags written out, objects and arrays as JSON; null, empty text, NaN: None."""
    if isinstance(value, str):
        return value or None
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float):
            if not isfinite(value):
                return None
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except (ValueError, RecursionError):  # Python refuses to write out thousands of digits, or what is too deep
        return None


def key_text(value: object) -> str | None:
    """What a thing is known by: text or a number, also as the only item of a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return None if isinstance(value, (bool, dict, list)) else plain_text(value)


def first_key(value: object) -> str | None:
    """The first of a list of keys that stands for something; the list may be told as JSON text, or be one key."""
    found = [key for item in listed(value) or () if (key := key_text(item)) is not None]
    return next((key for key in found if not stands_for_nothing(key)), found[0] if found else None)


# --- numbers

_SIGN = r"[€$£¥₹₽₺₩₫₴฿₪₦]"
_CURRENCY = rf"(?:[A-Z]{{3}}|(?:[A-Z]{{1,2}})?{_SIGN}|eur|usd|gbp|chf|kr\.?|Kr\.?|zł|Kč|Ft|lei|Fr\.|Rs\.?)"
_MONEY = re.compile(
    rf"(?P<sign>[-+\u2212]?)\s*(?P<before>{_CURRENCY})?\s*(?P<sign_>[-+\u2212]?)"
    rf"(?P<digits>[0-9][0-9.,'\u2019\s]*)(?:[-\u2013\u2014]+)?\s*(?P<after>{_CURRENCY})?"
)
# 1.234.567, 12,34,567, 1 234
_GROUPED = [
    re.compile(rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}") for mark in (r"\.", ",", r"[\s'\u2019]")
]


def number(value: object) -> float | None:
    """A finite number, or text that is one, as people write money too: 1.234,56; 1,234.56; 12,5; € 12.50; 12.50 EUR.

    None for what can be read in two ways (1,234), and for what is out of a double's range.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, str):
        if len(value) > 400 or "_" in value:  # Python would read 1_000
            return None
        try:
            result = float(value)
        except ValueError:
            return _money(value)
        return result if isfinite(result) else None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if isfinite(result) else None


def _money(text: str) -> float | None:
    found = _MONEY.fullmatch(trimmed(text)) if len(text) <= 64 else None
    if found is None:
        return None
    plain = _plain(found["digits"].strip(), bool(found["before"] or found["after"]))
    if plain is None:
        return None
    result = float(plain)
    return -result if (found["sign"] or found["sign_"]) in ("-", "\u2212") and isfinite(result) else result


def _plain(digits: str, priced: bool) -> str | None:
    """Digits with separators as Python writes them. `priced`: a currency stands beside them."""
    digits = digits.rstrip(".,")  # 12,- and 12.
    last = max(".,", key=digits.rfind)
    head, mark, tail = digits.rpartition(last) if digits.count(last) == 1 else (digits, "", "")
    if mark and head.isdecimal() and len(tail) == 3 and len(head) <= 3 and head[0] != "0" and (priced or mark == ","):
        return None  # thousands here, decimals there
    if not head.isdecimal():
        if not any(grouped.fullmatch(head) for grouped in _GROUPED):
            return None
        head = re.sub(r"\D", "", head)
    return f"{head}.{tail or 0}" if not tail or tail.isdecimal() else None


def whole(value: object) -> int | None:
    """A whole number of 64 bits, or a number or text that can be rounded down to one."""
    result = value if isinstance(value, int) and not isinstance(value, bool) else number(value)
    return int(result) if result is not None and abs(result) <= MAX_LONG else None


# --- words


def confidence(value: object) -> str | None:
    """human, machine or unknown, in any case."""
    said = value.strip().lower() if isinstance(value, str) else None
    return said if said in ("human", "machine", "unknown") else None


# --- lists and objects


def maybe_object(value: object) -> dict[str, Any] | None:
    """An object, also as JSON text or as the only item of a list; None for anything else."""
    if isinstance(value, str):
        value = from_json(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) else None


def an_object(value: object) -> dict[str, Any]:
    """An object, also as JSON text. Raises InvalidEvent(invalid_shape)."""
    if isinstance(value, str):
        value = maybe_object(value) or value
    if not isinstance(value, dict):
        raise InvalidEvent("invalid_shape", f"a JSON object is needed, this is {kind_of(value)}")
    return value


def from_json(text: str) -> object:
    """The array or object in a JSON text, also one that was written as JSON twice; None: there is none."""
    value: object = text
    for _ in range(NESTED):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{", '"'):
            break
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, (dict, list)) else None


def listed(value: object) -> list[Any] | None:
    """The items of a list, also told as JSON text, as an object with numbered keys, or as lists in lists; a single
    thing is a list of it. None: nothing is told, or JSON that is none.
    """
    if isinstance(value, str):
        inside = from_json(value)
        if inside is None:
            text = trimmed(value)
            return [value] if text and text[0] not in "[{" else None
        value = inside
    if isinstance(value, dict):
        value = _numbered(value)
    if not isinstance(value, list):
        return None if value is None else [value]
    return _flat(value, NESTED)


def numbered(value: object) -> list[Any] | None:
    """The items of what is a list in one of these forms, and no single thing."""
    if isinstance(value, str):
        value = from_json(value)
    if isinstance(value, dict):
        value = _numbered(value)
    return _flat(value, NESTED) if isinstance(value, list) else None


def _numbered(value: dict[str, Any]) -> object:
    """PHP's arrays: {"0": ..., "1": ...}, and {} for none."""
    if not all(key.isascii() and key.isdecimal() and len(key) < 19 for key in value):
        return value
    return [value[key] for key in sorted(value, key=int)]


def _flat(items: list[Any], depth: int) -> list[Any]:
    if depth == 0 or list not in map(type, items):
        return items
    flat: list[Any] = []
    for item in items:
        flat += _flat(item, depth - 1) if isinstance(item, list) else [item]
    return flat


def text_list(value: object, path: str, note: Note) -> list[str] | None:
    """A list of ids; a text is taken apart at its commas. An object in it is told by its link_id or id."""
    items = listed(value)
    if items is None:
        return None
    if isinstance(value, str) and items == [value]:
        items = value.split(",")
    elif not isinstance(value, list):
        note("read_as", f"{path}: {kind_of(value)}, not a list")
    found = []
    for item in items:
        if isinstance(item, dict):
            item = item.get("link_id", item.get("id"))
        text = key_text(item.strip() if isinstance(item, str) else item)
        if text is not None:
            found.append(text)
        elif item is not None and item != "":
            note("left_out", f"{path}: an item that is neither text nor number")
    return found if found or not items else None


def product_id(value: object) -> str | None:
    """Where an item of a list of products is no object, it is the id of one."""
    text = key_text(value)
    if text is None or len(text) > LONGEST_ID or stands_for_nothing(text) or set(text) & set('{}[]"\n'):
        return None
    return None if text.lower() == "array" else text  # what PHP makes of an array as text


def texts(part: dict[str, Any]) -> dict[str, str]:
    """All of an object as text; nulls are left out, empty texts stay."""
    found = ((name, value if isinstance(value, str) else plain_text(value)) for name, value in part.items())
    return {str(name): value for name, value in found if value is not None}


def flags(part: dict[str, Any]) -> dict[str, bool]:
    """The true and false values of an object."""
    return {str(name): value for name, value in part.items() if isinstance(value, bool)}


def kind_of(value: object) -> str:
    """What a value of JSON is, in words."""
    if value is None:
        return "missing or null"
    if isinstance(value, (int, float)) and not isinstance(value, bool) and number(value) is None:
        return "a number out of range"
    return _KINDS.get(type(value), type(value).__name__)


_KINDS = {dict: "an object", list: "an array", str: "a text", bool: "true or false", int: "a number", float: "a number"}


def _simple(noun: str, read: Callable[[object], Any], key: bool = False, plain: type | None = None) -> Kind:
    return Kind(noun, lambda value, path, note: read(value), key, plain)


def _number(value: object, path: str, note: Note) -> float | None:
    result = number(value)
    if result is not None and isinstance(value, str) and not _FLOAT.fullmatch(value):
        note("read_as", f"{path}: a number as people write it")
    return result


_FLOAT = re.compile(r"\s*[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*")

TEXT = _simple("a text", plain_text, plain=str)
NAME = _simple("a text", key_text, plain=str)
KEY = _simple("a text or number", key_text, key=True, plain=str)
FIRST_KEY = _simple("a text, a number or a list of them", first_key, key=True, plain=str)
NUMBER = Kind("a finite number", _number, plain=float)
WHOLE = _simple("a whole number", whole, plain=int)
CONFIDENCE = _simple("human, machine or unknown", confidence)
TEXT_LIST = Kind("a list", text_list)
TEXTS = _simple("an object", lambda value: None if (part := maybe_object(value)) is None else texts(part))


def alone(value: object) -> object:
    """What is wrapped up alone: in a list of one, or in an object of one value, as MongoDB's `{"$date": ...}`."""
    for _ in range(4):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict) and len(value) == 1:
            (value,) = value.values()
        else:
            break
    return value
