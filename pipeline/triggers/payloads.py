"""What a trigger tells: a class for each part that a rule's `payload` may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pipeline.grammar import vocabulary
from pipeline.triggers import carts, films
from pipeline.triggers.carts import Line
from pipeline.triggers.films import Film, FilmPage

Noted = list[Any] | None
"""What is kept of the event that opened a wait, to be told at its end."""


class Known(Protocol):
    """What of a person payloads look at."""

    films: dict[str, Film]
    film_pages: list[FilmPage]


class Payload(Protocol):
    """One part of a payload. `notes`: something of a start is kept for it."""

    notes: bool

    def noted(self, data: Mapping[str, Any]) -> Noted:
        """What of the event that opens or moves a wait is told at its end."""

    def told(self, key: str, lines: list[Line], noted: Noted, person: Known) -> dict[str, Any]:
        """As consumers read it. `lines`: of the cart of that key, as the wait ends."""


class Cart:
    """The cart of the rule's key."""

    notes = False

    def noted(self, data: Mapping[str, Any]) -> Noted:
        return None

    def told(self, key: str, lines: list[Line], noted: Noted, person: Known) -> dict[str, Any]:
        return carts.payload(key, lines)


class Message:
    """The e-mail of the rule's key."""

    notes = True

    def noted(self, data: Mapping[str, Any]) -> Noted:
        return [data.get("campaign")]

    def told(self, key: str, lines: list[Line], noted: Noted, person: Known) -> dict[str, Any]:
        return {"message_id": key, "campaign": noted[0] if noted else None}


class Watched:
    """The film of the rule's key, and how much of it was watched."""

    notes = True

    def noted(self, data: Mapping[str, Any]) -> Noted:
        return [data.get("title"), data.get("total_length")]

    def told(self, key: str, lines: list[Line], noted: Noted, person: Known) -> dict[str, Any]:
        film = films.find(person.films, person.film_pages, key) or Film()
        title, length = noted or (None, None)
        return {
            "film": key,
            "title": title or film.title,
            "seconds_watched": films.seconds(film),
            "total_length": length or film.length,
        }


PAYLOADS: dict[str, Payload] = {"cart": Cart(), "message": Message(), "film": Watched()}
assert PAYLOADS.keys() == vocabulary.PAYLOADS.keys()
