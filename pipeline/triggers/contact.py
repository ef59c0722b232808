"""What is needed to write to a person: of each thing what was told last, on the fold's clock."""

from __future__ import annotations

from typing import Any

import msgspec

Value = list[Any] | None
"""[what was told, when that was received (UTC ms)], or None: nothing was."""

LENGTH = 256
# Traits, without regard to case, blanks and underscores.
_FULL = ("name", "fullname", "displayname")
_FIRST = ("firstname", "givenname")
_LAST = ("lastname", "familyname", "surname")


class Contact(msgspec.Struct, array_like=True, gc=False):
    """E-mail address, name, locale and time zone."""

    email: Value = None
    name: Value = None
    locale: Value = None
    timezone: Value = None

    def merge(self, other: Contact) -> Contact:
        """Two persons turn out to be one: the newer of each."""
        return Contact(
            _newer(self.email, other.email),
            _newer(self.name, other.name),
            _newer(self.locale, other.locale),
            _newer(self.timezone, other.timezone),
        )


def contact_of(contact: Contact | None, ids: dict[str, list[str]]) -> dict[str, str]:
    """What is known of it. An address that was never told by what the fold sees is one by which they are known."""
    told: dict[str, str] = {}
    if contact is not None:
        if contact.email:
            told["email"] = contact.email[0]
        if contact.name:
            told["name"] = contact.name[0]
        if contact.locale:
            told["locale"] = contact.locale[0]
        if contact.timezone:
            told["timezone"] = contact.timezone[0]
    if "email" not in told and (emails := ids.get("email")):
        told = {"email": emails[0], **told}
    return told


def _newer(a: Value, b: Value) -> Value:
    """What was received last; of what was received in one millisecond the greater text."""
    if a is None or b is None:
        return a or b
    return max(a, b, key=lambda value: (value[1], value[0]))


def tell(contact: Contact | None, email: str | None, data: dict[str, Any], received_at: int) -> Contact | None:
    """What is known after another event, in order of receipt; changed in place where there was something. `email`: an
    address of theirs that the event carried.
    """
    locale = data.get("context.locale")
    if contact is not None and email is None and "context.timezone" not in data and "traits" not in data:
        # Nearly always.
        if locale is not None:
            had = contact.locale
            if had is not None and had[0] == locale and had[1] <= received_at:
                had[1] = received_at
            else:
                contact.locale = _after(had, locale, received_at)
        return contact
    timezone, name = data.get("context.timezone"), None
    if traits := data.get("traits"):
        known = {"".join(filter(str.isalnum, trait)).lower(): value for trait, value in sorted(traits.items()) if value}
        name = _name(known)
        locale = locale or known.get("locale")
        timezone = timezone or known.get("timezone")
    if not (locale or timezone or name or email):
        return contact
    if contact is None:
        contact = Contact()
    if locale:
        contact.locale = _after(contact.locale, locale, received_at)
    if timezone:
        contact.timezone = _after(contact.timezone, timezone, received_at)
    if name:
        contact.name = _after(contact.name, name, received_at)
    if email:
        contact.email = _after(contact.email, email, received_at)
    return contact


def _after(known: Value, told: str, received_at: int) -> Value:
    if known is not None and known[0] == told and known[1] <= received_at:  # nearly always: the same again
        known[1] = received_at
        return known
    return _newer(known, [told[:LENGTH], received_at])


def _name(traits: dict[str, str]) -> str | None:
    """The whole name, else what there is of first and last."""
    whole = _first_of(traits, _FULL)
    return whole or " ".join(filter(None, (_first_of(traits, _FIRST), _first_of(traits, _LAST)))) or None


def _first_of(traits: dict[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := traits.get(name, "").strip())), "")
