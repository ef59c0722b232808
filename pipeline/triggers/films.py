"""What rules know of the films that a person watches; the seconds are counted in language/films.py."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from pipeline.language.films import Session, add_interval, stretches
from pipeline.triggers import marks

AT_HAND = 32
ON_A_PAGE = 16
PAGES_KEPT = 30


class Film(msgspec.Struct, array_like=True, gc=False):
    """`watched`: disjoint, sorted [from, to] in seconds. `length`: the last `total_length` told, seconds, and `title`:
    the last told. `last`: when it was played last (UTC ms). `told`: how much later its length was received, `titled`:
    its title (mostly not at all, which takes no room).
    """

    watched: list[list[float]] = []
    length: float | None = None
    title: str | None = None
    last: int = 0
    told: int = 0
    titled: int = 0


class FilmPage(msgspec.Struct, array_like=True, gc=False):
    """Films that nobody looks at. `hashes`: eight bytes a name. `packed`: name -> Film. `last`: when the last of them
    was played.
    """

    hashes: bytes
    packed: bytes
    last: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Film]).decode


def find(films: dict[str, Film], pages: list[FilmPage], name: str) -> Film | None:
    """A film; it is at hand then."""
    film = films.get(name)
    if film is None and pages:
        wanted = marks.hashed(name)
        for page in pages:
            if marks.place(page.hashes, wanted) >= 0:
                pages.remove(page)
                films.update(_decode(page.packed))
                return films.get(name)
    return film


def open_all(films: dict[str, Film], pages: list[FilmPage]) -> None:
    """All are at hand."""
    for page in pages:
        films.update(_decode(page.packed))
    pages.clear()


def make_room(films: dict[str, Film], pages: list[FilmPage]) -> int:
    """Few stay at hand. Of too many, those go that weren't played for longest; returns when they last were, or -1."""
    gone = -1
    while len(films) > AT_HAND:
        some = {name: films.pop(name) for name in list(islice(films, ON_A_PAGE))}
        last = max(film.last for film in some.values())
        pages.append(FilmPage(b"".join(map(marks.hashed, some)), _encode(some), last))
    while len(pages) > PAGES_KEPT:
        oldest = min(pages, key=lambda page: page.last)
        pages.remove(oldest)
        gone = max(gone, oldest.last)
    return gone


def seconds(film: Film) -> float:
    """Different seconds watched."""
    return sum(b - a for a, b in film.watched)


def watch(
    films: dict[str, Film],
    pages: list[FilmPage],
    sessions: dict[str, Session],
    kind: str,
    at: int,
    known: int,
    body: dict[str, Any],
) -> Film | None:
    """Take one playback event in (in order of receipt); returns its film, or None when it names none. `known`: when it
    was received.
    """
    name = body.get("film")
    if not name:
        return None
    film = find(films, pages, name)
    if film is None:
        film = films[name] = Film()
    told, titled = film.last + film.told, film.last + film.titled
    if length := body.get("total_length"):
        film.length, told = length, known
    if title := body.get("title"):
        film.title, titled = title, known
    film.last = max(film.last, at)
    _date(film, told, titled)
    for start, end in stretches(sessions, name, kind, at, body):
        film.watched = add_interval(film.watched, start, end)
    return film


def _date(film: Film, told: int, titled: int) -> None:
    """Its length and its title were received then, if it has any."""
    film.told = told - film.last if film.length else 0
    film.titled = titled - film.last if film.title else 0


def merge_film(a: Film, b: Film) -> Film:
    """The union; the length that was received last, and the title."""
    watched = a.watched
    for start, end in b.watched:
        watched = add_interval(watched, start, end)
    told, length = max((film.last + film.told if film.length else 0, film.length or 0.0) for film in (a, b))
    titled, title = max((film.last + film.titled if film.title else 0, film.title or "") for film in (a, b))
    film = Film(watched, length or None, title or None, max(a.last, b.last))
    _date(film, told, titled)
    return film
