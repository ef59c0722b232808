"""How people spell things: semantics 12 to 14, 18 and 22, for the oracle. Shares no code with `pipeline`."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

ZERO_UUID = "00000000-0000-0000-0000-000000000000"
BLOCKED = frozenset(
    f"-1|0|null|none|undefined|anonymous|unknown|nan|n/a|{ZERO_UUID}|false|true|guest|nil|[object object]|".split("|")
)
QUOTES = ('"', "'", "%22")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+")
IN_BRACKETS = re.compile(r"<([^<>]*@[^<>]*)>$")


def text(value: Any) -> str | None:
    """22: text, or a number as text, without blanks around it; None for all that is neither, and for nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def unquoted(value: str) -> str:
    """18: without blanks, quotes and %22 around it."""
    while True:
        before, value = value, value.strip()
        for quote in QUOTES:
            value = value.removeprefix(quote).removesuffix(quote)
        if value == before:
            return value


def placeholder(value: str) -> bool:
    """18: does it stand for nothing, in any case, in quotes or not?"""
    return unquoted(value).lower() in BLOCKED


def key(value: Any) -> str | None:
    """18: a cart's or an order's key: without blanks around it; a placeholder is none."""
    told = text(value)
    return None if told is None or placeholder(told) else told


def message(value: Any) -> str | None:
    """14: a message id, without angle brackets."""
    told = text(value)
    if told is not None and told.startswith("<") and told.endswith(">"):
        told = told[1:-1]
    return key(told)


def link(value: Any) -> str | None:
    """14: link ids compare without regard to case."""
    told = text(value)
    return told and told.lower()


def several(value: Any) -> list[Any]:
    """22: a list told as JSON text, or as an object with numbered keys, is that list; lists in it are opened up."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if isinstance(value, dict) and value and all(str(name).isdigit() for name in value):
        value = [value[name] for name in sorted(value, key=int)]
    if not isinstance(value, list | tuple):
        return []
    return [part for item in value for part in (several(item) if isinstance(item, list | tuple) else [item])]


def identifier(namespace: str, value: Any) -> str | None:
    """18: an identifier as it is compared and shown; None if it names nobody."""
    told = text(value)
    if told is None:
        return None
    told = unquoted(told)
    if namespace == "email" or (namespace == "user_id" and ADDRESS.fullmatch(address(told))):
        told = address(told)
    elif UUID.fullmatch(told):
        told = told.lower()
    return None if placeholder(told) else told


def address(told: str) -> str:
    """18: an e-mail address without `mailto:`, display name and invisible characters, in NFC and lower case, its
    domain in IDNA."""
    told = unquoted("".join(letter for letter in told if unicodedata.category(letter) not in ("Cf", "Cc")))
    if found := IN_BRACKETS.search(told):
        told = unquoted(found[1])
    if told.lower().startswith("mailto:"):
        told = unquoted(told[len("mailto:") :])
    told = unicodedata.normalize("NFC", unicodedata.normalize("NFC", told).lower())
    local, at, domain = told.rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        pass
    return local + at + domain
