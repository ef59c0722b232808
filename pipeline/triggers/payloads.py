"""What a trigger tells: a class for each part that a rule's `payload` may name, and single values by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from pipeline.grammar import vocabulary
from pipeline.language import carts
from pipeline.language.carts import Line
from pipeline.language.leaves import trait
from pipeline.language.leaves.trait import Trait
from pipeline.language.memory import Memory, Moment
from pipeline.language.references import KEY, start_path
from pipeline.topology import model
from pipeline.triggers import films
from pipeline.triggers.films import Film, FilmPage

Noted = list[Any] | None
"""What is kept of the event that opened a wait, to be told at its end."""


class Known(Protocol):
    """What of a person payloads look at."""

    films: dict[str, Film]
    film_pages: list[FilmPage]
    heard: Memory


class Waited(NamedTuple):
    """What is known of a wait as it ends. `lines`: of the cart of its key; `noted`: of its cause; `kept`: of the start
    that opened it, path -> value. `at`: when it is decided, UTC ms.
    """

    key: str
    lines: list[Line]
    noted: Noted
    kept: Mapping[str, Any]
    person: Known
    at: int


Tell = Callable[[Waited], dict[str, Any]]
"""A payload, as consumers read it."""


class Payload(Protocol):
    """One part of a payload. `reads`: the fields of what opens or moves a wait of which it keeps something."""

    reads: tuple[str, ...]

    def noted(self, data: Mapping[str, Any]) -> Noted:
        """What of the event that opens or moves a wait is told at its end."""

    def told(self, key: str, lines: list[Line], noted: Noted, person: Known) -> dict[str, Any]:
        """As consumers read it. `lines`: of the cart of that key, as the wait ends."""


class Cart:
    """The cart of the rule's key."""

    reads: tuple[str, ...] = ()

    def noted(self, data: Mapping[str, Any]) -> Noted:
        return None

    def told(self, key: str, lines: list[Line], noted: Noted, person: Known) -> dict[str, Any]:
        return carts.payload(key, lines)


class Message:
    """The e-mail of the rule's key."""

    reads: tuple[str, ...] = ("campaign",)

    def noted(self, data: Mapping[str, Any]) -> Noted:
        return [data.get("campaign")]

    def told(self, key: str, lines: list[Line], noted: Noted, person: Known) -> dict[str, Any]:
        return {"message_id": key, "campaign": noted[0] if noted else None}


class Watched:
    """The film of the rule's key, and how much of it was watched."""

    reads: tuple[str, ...] = ("title", "total_length")

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

TRAIT = "trait."
CART = "cart."
OF_CART: dict[str, Callable[[list[Line]], Any]] = {
    "lines": len,
    "quantity": lambda lines: carts.plain(carts.quantity(lines)),
    "total": carts.total,
    "currency": carts.currency,
}
"""As the condition `cart` has them."""
assert OF_CART.keys() == {*vocabulary.OF_CART}


def of_cart(sources: Iterable[str]) -> bool:
    """Whether any of them is a cart, or something of it."""
    return any(source == "cart" or source.startswith(CART) for source in sources)


def teller(payload: model.Payload) -> Tell:
    """What tells a payload: parts beside one another, or what it names by these names."""
    if isinstance(payload, dict):
        named = {name: _single(source) for name, source in payload.items()}
        return lambda waited: {name: tell(waited) for name, tell in named.items()}
    parts = [PAYLOADS[name] for name in payload]

    def tell(waited: Waited) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for part in parts:
            told.update(part.told(waited.key, waited.lines, waited.noted, waited.person))
        return told

    return tell


def traits(sources: Iterable[str]) -> list[Trait]:
    """Those of a person that a payload tells: they have to be noted as they are told."""
    return [trait.told_last(source.removeprefix(TRAIT)) for source in sources if source.startswith(TRAIT)]


def _single(source: str) -> Callable[[Waited], Any]:
    """One value of a payload; where nothing was told, None."""
    if source in PAYLOADS:
        part = PAYLOADS[source]
        return lambda waited: part.told(waited.key, waited.lines, waited.noted, waited.person)
    if source.startswith(CART):
        of = OF_CART[source.removeprefix(CART)]
        return lambda waited: of(waited.lines)
    if source == KEY:
        return lambda waited: waited.key or None
    if (path := start_path(source)) is not None:
        return lambda waited: waited.kept.get(path)
    (found,) = traits([source])
    return lambda waited: found.value(Moment(waited.person.heard, waited.at))
