"""Which of an event's identifiers say who it was, in what form, strongest first."""

from __future__ import annotations

import re
from unicodedata import normalize

import idna

from pipeline.events.text import INVISIBLE, PLACEHOLDERS, unquoted
from pipeline.topology.model import Identifiers

EMAIL = "email"
USER = "user_id"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
# What is drawn as nothing: Default_Ignorable_Code_Point (Unicode), and control characters that are no white space.
_UNSEEN = (
    (0x00, 0x08), (0x0E, 0x1B), (0x7F, 0x84), (0x86, 0x9F), (0x34F, 0x34F), (0x115F, 0x1160),
    (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF),
)  # fmt: skip
_INVISIBLE = dict.fromkeys(
    [*map(ord, INVISIBLE), *(code for first, last in _UNSEEN for code in range(first, last + 1))]
)
_MAILTO = re.compile(r"mailto:([^?]*)(\?.*)?", re.IGNORECASE | re.DOTALL)
_NAMED = re.compile(r"[^<>]*<([^<>]*@[^<>]*)>", re.DOTALL)
_COMMENTED = re.compile(r"([^()]*@[^()]*)\([^()]*\)", re.DOTALL)
_ADDRESS = re.compile(r"[^\s@<>()|,;:/\\\"]+@[^\s@<>()|,;:/\\\".]+(\.[^\s@<>()|,;:/\\\".]+)+")
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._+-]*@[a-z0-9-]+(\.[a-z0-9-]+)+")
_STEPS = 8


class Normaliser:
    """Usable values. `rank`: namespace -> place, strongest first. `blocked`: values, in lower case.

    Values lose blanks, invisible characters and quotes around them; UUIDs are written in lower case, and so is what the
    topology says; e-mail addresses have one form (`address`), also as a user id. Dropped is what is blocked, or stands
    for nothing. Namespaces that the topology doesn't know identify nobody.
    """

    def __init__(self, identifiers: Identifiers) -> None:
        ordered = sorted(identifiers.namespaces, key=lambda n: n.priority)
        self.rank = {n.name: i for i, n in enumerate(ordered)}
        self._lower = {n.name for n in ordered if n.lowercase}
        self.blocked = identifiers.blocked | PLACEHOLDERS

    def value(self, namespace: str, raw: str) -> str | None:
        """The value as it identifies, or None when it doesn't. Never raises."""
        if namespace not in self.rank:
            return None
        value = unquoted(raw)
        if "@" in value and namespace in (EMAIL, USER):
            told = address(value)
            if namespace == EMAIL or is_address(told):
                value = told
        lower = value.lower()
        if lower in self.blocked:
            return None
        return lower if lower != value and (namespace in self._lower or _UUID.fullmatch(value)) else value

    def implied(self, namespace: str, value: str) -> tuple[str, str] | None:
        """The e-mail address (namespace, value) that a normalised user id also is; None: it is none."""
        if namespace != USER or EMAIL not in self.rank or not is_address(value):
            return None
        return EMAIL, value


def address(told: str) -> str:
    """An e-mail address in the form in which it compares: without `mailto:`, display name, comment, quotes, blanks and
    invisible characters, in lower case and NFC, its domain in ASCII (IDNA). Never raises.
    """
    if told.isascii() and _PLAIN.fullmatch(lower := told.lower()):  # nearly all
        return lower
    for _ in range(_STEPS):  # one wrapping may lie in another
        form = _unwrapped(told)
        if form == told:
            break
        told = form
    return told


def is_address(value: str) -> bool:
    """Whether it is nothing but one address, in a domain with a dot."""
    return _ADDRESS.fullmatch(value) is not None


def _unwrapped(told: str) -> str:
    told = unquoted(told.translate(_INVISIBLE))
    if (mailto := _MAILTO.fullmatch(told)) is not None:
        told = mailto[1]
    if (named := _NAMED.fullmatch(told) or _COMMENTED.fullmatch(told)) is not None:
        told = named[1]
    local, at, domain = told.rpartition("@")
    if not at:
        return normalize("NFC", told.lower())
    return f"{normalize('NFC', unquoted(local).lower())}@{_domain(domain)}"


def _domain(told: str) -> str:
    domain = normalize("NFC", unquoted(told).lower()).rstrip(".")
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode("ascii").rstrip(".")
    except UnicodeError:  # no domain that a registry would take
        return domain
