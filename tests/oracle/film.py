"""Seconds watched, for the oracle: semantics 15 and 16. Shares no code with `pipeline`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.oracle.who import Fact

Interval = tuple[float, float]
STILL = ("video_paused", "video_completed")


def is_playback(fact: Fact) -> bool:
    """Every event of a player."""
    return fact.type.startswith("video_")


def film_of(fact: Fact) -> str | None:
    """Semantics 15: the key (the translation already chose asset id, first of the asset ids, or title)."""
    value = fact.get("film")
    return None if value in (None, "") else str(value)


def session_of(fact: Fact) -> tuple[str, str | None]:
    """A player session; events without a session id are one session a film."""
    session = fact.get("session_id")
    return ("film", film_of(fact)) if session in (None, "") else ("session", str(session))


@dataclass
class Played:
    """A playback event, with what it added. `counted`: it was not older than its session's last."""

    fact: Fact
    counted: bool
    interval: Interval | None


def play(fact: Fact, earlier: Iterable[Played]) -> Played:
    """Semantics 16: what `fact` adds, given the person's playback events in order of receipt up to it."""
    last = session_last(fact, earlier)
    counted = last is None or fact.occurred_at >= last.occurred_at
    own = own_interval(fact)
    if own is not None:
        return Played(fact, counted, own)
    return Played(fact, counted, stretch(last, fact) if counted and last is not None else None)


def session_last(fact: Fact, earlier: Iterable[Played]) -> Fact | None:
    """The latest event of the same session, by event time then receipt, of those that were not older than theirs."""
    same = [p.fact for p in earlier if p.counted and session_of(p.fact) == session_of(fact)]
    return max(same, key=lambda f: (f.occurred_at, f.knowledge), default=None)


def own_interval(fact: Fact) -> Interval | None:
    """Semantics 16, first sentence: the interval that our own events carry."""
    start, end = fact.get("watched_from"), fact.get("watched_to")
    if fact.type != "video_progressed" or start is None or end is None or end <= start:
        return None
    return float(start), float(end)


def stretch(last: Fact, fact: Fact) -> Interval | None:
    """Semantics 16, second sentence: what was watched between two consecutive events of one session."""
    start, end = position_after(last), position_before(fact)
    if last.type in STILL or film_of(last) != film_of(fact) or start is None or end is None:
        return None
    passed = (fact.occurred_at - last.occurred_at) / 1000
    return (start, end) if 0 < end - start <= 2 * passed + 1 else None


def position_after(fact: Fact) -> float | None:
    """Where the player stands after `fact`: after a seek its target, after an own interval its end."""
    if fact.type == "video_sought" and fact.get("seek_to") is not None:
        return float(fact.get("seek_to"))
    own, position = own_interval(fact), fact.get("position")
    if position is None and own is not None:
        return own[1]
    return None if position is None else float(position)


def position_before(fact: Fact) -> float | None:
    """Where the player stood up to `fact`; a seek ends a stretch only if it tells where it began."""
    value = fact.get("seek_from") if fact.type == "video_sought" else fact.get("position")
    return None if value is None else float(value)


def seconds_watched(played: Iterable[Played], film: str) -> float:
    """The different seconds of a film, over all sessions and devices: the measure of the union."""
    seconds, reached = 0.0, float("-inf")
    for start, end in sorted(p.interval for p in played if p.interval and film_of(p.fact) == film):
        seconds += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return seconds


def reaches_half(fact: Fact, seconds: float) -> bool:
    """Semantics 15: half of the event's own total length."""
    length = fact.get("total_length")
    return length is not None and length > 0 and seconds >= length / 2
