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
    the last told. `last`: when it was played last. `told`: when its length was received (UTC ms), `titled`: how much
    later its title was (mostly not at all, which takes no room).
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
    length, title = body.get("total_length"), body.get("title")
    if length or title:
        titled = known if title else film.told + film.titled
        if length:
            film.length, film.told = length, known
        film.title = title or film.title
        film.titled = titled - film.told if film.title else 0
    film.last = max(film.last, at)
    for start, end in stretches(sessions, name, kind, at, body):
        film.watched = add_interval(film.watched, start, end)
    return film


def merge_film(a: Film, b: Film) -> Film:
    """The union; the length that was received last, and the title."""
    watched = a.watched
    for start, end in b.watched:
        watched = add_interval(watched, start, end)
    told, length = max((each.told, each.length or 0.0) for each in (a, b))
    titled, title = max((each.told + each.titled if each.title else 0, each.title or "") for each in (a, b))
    return Film(watched, length or None, title or None, max(a.last, b.last), told, titled - told if title else 0)
