"""Seconds watched: each second of a film once, over all sessions and devices (semantics 15, 16).

Half watched means the union of watched intervals, never the furthest position (Snowplow's media `contentWatched`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.events.catalogue import doing

SESSIONS_KEPT = 16
PLAYING = frozenset(name for name, how in doing("film").items() if how == "playing")


class Session(msgspec.Struct, array_like=True, gc=False):
    """One player: where its last event left it."""

    film: str
    at: int
    position: float | None
    playing: bool


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


def stretches(
    sessions: dict[str, Session], film: str, kind: str, at: int, body: Mapping[str, Any]
) -> list[tuple[float, float]]:
    """What one playback event, taken in in order of receipt, shows to have been watched: [from, to] in seconds. Of a
    player that only sends positions since its last event.
    """
    found: list[tuple[float, float]] = []
    start, end = body.get("watched_from"), body.get("watched_to")
    told = False
    if start is not None and end is not None:  # our own player tells the interval: nothing to infer
        told = True
        found.append((start, end))
    sid = body.get("session_id") or f"\0{film}"
    before = sessions.get(sid)
    if before is not None and at < before.at:
        return found  # older than its session's last: counts nothing, what was counted stays
    seek_to = body.get("seek_to") if kind == "video_sought" else None
    seek_from = body.get("seek_from") if kind == "video_sought" else None
    position = body.get("position") if kind != "video_sought" else seek_from
    if not told and before is not None and before.playing and before.film == film and position is not None:
        came_from = before.position
        if came_from is not None and 0 < position - came_from <= 2 * (at - before.at) / 1000 + 1:
            found.append((came_from, position))
    if kind == "video_sought":
        position = seek_to if seek_to is not None else body.get("position")
    elif told and position is None:
        position = end
    sessions.pop(sid, None)
    sessions[sid] = Session(film, at, position, kind in PLAYING)
    if len(sessions) > SESSIONS_KEPT:
        del sessions[min(sessions, key=lambda s: (sessions[s].at, s))]
    return found
