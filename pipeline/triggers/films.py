"""Seconds watched: each second of a film once, over all sessions and devices (semantics 15, 16).

Half watched means the union of watched intervals, never the furthest position (Snowplow's media `contentWatched`).
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from pipeline.events.catalogue import doing
from pipeline.triggers import marks

SESSIONS_KEPT = 16
AT_HAND = 32
ON_A_PAGE = 16
PAGES_KEPT = 30
PLAYING = frozenset(name for name, how in doing("film").items() if how == "playing")


class Film(msgspec.Struct, array_like=True, gc=False):
    """`watched`: disjoint, sorted [from, to] in seconds. `length`: the last `total_length` told, seconds."""

    watched: list[list[float]] = []
    length: float | None = None
    title: str | None = None
    last: int = 0


class FilmPage(msgspec.Struct, array_like=True, gc=False):
    """Films that nobody looks at. `hashes`: eight bytes a name. `packed`: name -> Film. `last`: when the last of them
    was played.
    """

    hashes: bytes
    packed: bytes
    last: int


class Session(msgspec.Struct, array_like=True, gc=False):
    """One player: where its last event left it."""

    film: str
    at: int
    position: float | None
    playing: bool


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


def add_interval(watched: list[list[float]], start: float, end: float) -> list[list[float]]:
    """The union, sorted and disjoint; touching intervals become one."""
    if not end > start:
        return watched
    out: list[list[float]] = []
    for a, b in watched:
        if b < start or a > end:
            out.append([a, b])
        else:
            start, end = min(a, start), max(b, end)
    out.append([start, end])
    out.sort()
    return out


def watch(
    films: dict[str, Film],
    pages: list[FilmPage],
    sessions: dict[str, Session],
    kind: str,
    at: int,
    body: dict[str, Any],
) -> Film | None:
    """Take one playback event in (in order of receipt); returns its film, or None when it names none."""
    name = body.get("film")
    if not name:
        return None
    film = find(films, pages, name)
    if film is None:
        film = films[name] = Film()
    film.length = body.get("total_length") or film.length
    film.title = body.get("title") or film.title
    film.last = max(film.last, at)
    _stretch(film, name, sessions, kind, at, body)
    return film


def _stretch(film: Film, name: str, sessions: dict[str, Session], kind: str, at: int, body: dict[str, Any]) -> None:
    """What a player that only sends positions shows to have been watched since its last event."""
    start, end = body.get("watched_from"), body.get("watched_to")
    told = False
    if start is not None and end is not None:  # our own player tells the interval: nothing to infer
        told = True
        film.watched = add_interval(film.watched, start, end)
    sid = body.get("session_id") or f"\0{name}"
    before = sessions.get(sid)
    if before is not None and at < before.at:
        return  # older than its session's last: counts nothing, what was counted stays
    seek_to = body.get("seek_to") if kind == "video_sought" else None
    seek_from = body.get("seek_from") if kind == "video_sought" else None
    position = body.get("position") if kind != "video_sought" else seek_from
    if not told and before is not None and before.playing and before.film == name and position is not None:
        came_from = before.position
        if came_from is not None and 0 < position - came_from <= 2 * (at - before.at) / 1000 + 1:
            film.watched = add_interval(film.watched, came_from, position)
    if kind == "video_sought":
        position = seek_to if seek_to is not None else body.get("position")
    elif told and position is None:
        position = end
    sessions.pop(sid, None)
    sessions[sid] = Session(name, at, position, kind in PLAYING)
    if len(sessions) > SESSIONS_KEPT:
        del sessions[min(sessions, key=lambda s: (sessions[s].at, s))]


def merge_film(a: Film, b: Film) -> Film:
    """The union; the newer one's length and title."""
    watched = a.watched
    for start, end in b.watched:
        watched = add_interval(watched, start, end)
    newer, older = (
        (a, b) if (a.last, a.length or 0, a.title or "") >= (b.last, b.length or 0, b.title or "") else (b, a)
    )
    return Film(watched, newer.length or older.length, newer.title or older.title, max(a.last, b.last))
