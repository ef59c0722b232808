"""What is wrong now, for /readyz, and for the log: once when it begins, once when it is over.

    troubles = Troubles()
    troubles.ask(clocks.troubles)                                  # who knows of some is asked whenever one looks
    troubles.begin(REDIS_AWAY, "redis", "connection refused")      # or they are told; again and again, if need be
    troubles.end(REDIS_AWAY, "redis")

What ends and comes again within three seconds never ended: a partition that fails ten times a second, with a success
now and then, is one trouble. And of a cause that is in many places the log tells some, now and then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from pipeline.observe.causes import Cause

log = logging.getLogger(__name__)

CALM_S = 3.0  # so long it must be quiet before a trouble is over
NAMED = 4  # places in one line of the log
AGAIN_S = 10.0  # so often it tells more places of one cause
STOPS_S = 3.0  # so long it must last before a worker isn't ready: a blip is named, and no more


class Trouble(NamedTuple):
    """A cause, where it is ("redis", "events.email-2"), and what is known of it, in words."""

    cause: Cause
    where: str
    what: str


class Ongoing(msgspec.Struct):
    """A trouble that began at `since` (seconds; `since_ms`: UTC). `quiet`: since when nothing is heard of it. `said`:
    whether the log has it.
    """

    trouble: Trouble
    since: float
    since_ms: int
    quiet: float | None = None
    said: bool = False


Asker = Callable[[], Iterable[Trouble]]


class Troubles:
    """All of one worker's. `clock`: seconds, of any origin; `wall`: since 1970, to show people."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._askers: list[Asker] = []
        self._asked: set[tuple[str, str]] = set()
        self._now: dict[tuple[str, str], Ongoing] = {}
        self._over: list[Ongoing] = []  # and not said yet
        self._said_at: dict[tuple[str, str], float] = {}

    def ask(self, asker: Asker) -> None:
        """Asker it, too, whenever somebody looks. It must not block."""
        self._askers.append(asker)

    def begin(self, cause: Cause, where: str, what: str) -> None:
        """It is so, or still so."""
        key, trouble = (cause.name, where), Trouble(cause, where, what)
        known = self._now.get(key)
        if known is None:
            self._now[key] = Ongoing(trouble, self._clock(), int(self._wall() * 1000))
        else:
            known.trouble, known.quiet = trouble, None

    def end(self, cause: Cause, where: str) -> None:
        """It isn't so any more, or never was."""
        known = self._now.get((cause.name, where))
        if known is not None and known.quiet is None:
            known.quiet = self._clock()

    def look(self) -> list[Ongoing]:
        """All that there are now, those that stop work first. To be called each second: it also logs what is news."""
        found = {(t.cause.name, t.where): t for asker in self._askers for t in _told(asker)}
        for cause, where, what in found.values():
            self.begin(cause, where, what)
        for key in self._asked - found.keys():
            if key in self._now:
                self.end(self._now[key].trouble.cause, key[1])
        self._asked = set(found)
        now = self._clock()
        for key, known in list(self._now.items()):
            if known.quiet is not None and now - known.quiet >= CALM_S:
                del self._now[key]
                if known.said and known.trouble.cause.logged:
                    self._over.append(known)
        self._say_what_began(now)
        self._say_what_is_over(now)
        return sorted(self._now.values(), key=lambda each: (not each.trouble.cause.stops, each.since))

    def _say_what_began(self, now: float) -> None:
        for name, each in _by_cause(known for known in self._now.values() if not known.said).items():
            if now - self._said_at.get((name, "began"), -AGAIN_S) < AGAIN_S:
                continue
            self._said_at[name, "began"] = now
            for known in each:
                known.said = True
            cause, _, what = each[0].trouble
            if cause.logged:  # not as arguments of one message: those look like the same again, and are left out
                log.warning(f"{_places(each)}: {name}: {what.rstrip('.')}. {cause.do}")

    def _say_what_is_over(self, now: float) -> None:
        going_on = _by_cause(self._now.values())
        for name, each in _by_cause(self._over).items():
            if name in going_on and now - self._said_at.get((name, "over"), -AGAIN_S) < AGAIN_S:
                continue
            self._said_at[name, "over"] = now
            seconds = max((known.quiet or now) - known.since for known in each)
            log.info("%s: %s: over, after %.0f s", _places(each), name, seconds)
            self._over = [known for known in self._over if known.trouble.cause.name != name]

    def stops(self, known: Ongoing) -> bool:
        """Whether a worker isn't ready for that."""
        return known.trouble.cause.stops and self._clock() - known.since >= STOPS_S


def _by_cause(troubles: Iterable[Ongoing]) -> dict[str, list[Ongoing]]:
    found: dict[str, list[Ongoing]] = {}
    for known in troubles:
        found.setdefault(known.trouble.cause.name, []).append(known)
    return found


def _places(troubles: list[Ongoing]) -> str:
    names = list(dict.fromkeys(known.trouble.where for known in troubles))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _told(asker: Asker) -> list[Trouble]:
    try:
        return list(asker())
    except Exception:  # one that is broken must not hide the others
        log.exception("nobody knows what is wrong: %r failed", asker)
        return []
