"""Whose an event on a device is (semantics 19, 20).

Who shares a device lies in one profile (identity/graph.py), as persons of their own. The person that has the device in
its identifiers, its *holder*, keeps the device's logins, in event-time order: those that the fold has come to, so those
that stand before whatever it comes to next. An event without a user id counts for the owner that they tell, and for the
holder where they tell none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

KEPT = 16  # of a device's logins all those of the last days (rules.max_age), the last before, and as many in any case
MOST = 500


class Login(NamedTuple):
    """`user` logged in at `at` (event time), which was received `lag` later. Names are namespace, zero byte, value."""

    at: int
    lag: int
    user: str


Logins = dict[str, list[Login]]
"""By device. Sorted by time; of one moment in the order of knowledge."""
Aside = dict[str, list[int]]
"""As long as one person alone logs in on a device, the first login and the last say it all (whoever is logged in
tells it with each page), until somebody else turns out to have logged in between. By device: those of the last days
between these two, in any order. A time (UTC ms), and of each how much later than that it was, and its lag.
"""

_place = itemgetter(0, 1)


def name(namespace: str, value: str) -> str:
    """An identifier as it is called here."""
    return f"{namespace}\0{value}"


def split(told: str) -> list[str]:
    """[namespace, value]."""
    return told.split("\0", 1)


def note(logins: Logins, aside: Aside, device: str, login: Login, max_age: int) -> None:
    """One more login; what can say nothing any more is forgotten."""
    of_device = logins.setdefault(device, [])
    if device in aside and login.user != of_device[0].user:
        of_device = logins[device] = all_on(logins, aside, device)
        del aside[device]
    of_device.insert(bisect_right(of_device, login[:2], key=_place), login)
    horizon = login.at + login.lag - max_age
    if len(of_device) > 2 and _alone(of_device):
        for each in of_device[1:-1]:
            _put(aside, device, each, horizon)
        del of_device[1:-1]
    if device in aside:
        _trim(aside, device, horizon)
    if len(of_device) > KEPT:
        _forget(of_device, horizon)


def all_on(logins: Logins, aside: Aside, device: str) -> list[Login]:
    """All that are known of a device, in their order."""
    known = logins.get(device, [])
    if device not in aside:
        return list(known)
    start, *rest = aside[device]
    others = (Login(start + late, lag, known[0].user) for late, lag in zip(rest[::2], rest[1::2], strict=True))
    return sorted({*known, *others}, key=_place)


def _put(aside: Aside, device: str, login: Login, horizon: int) -> None:
    if login.at >= horizon:
        known = aside.setdefault(device, [login.at])
        known += login.at - known[0], login.lag


def _trim(aside: Aside, device: str, horizon: int) -> None:
    known = aside[device]
    while len(known) > 1 and (known[0] + known[1] < horizon or len(known) > 2 * MOST + 1):
        del known[1:3]
    if len(known) == 1:
        del aside[device]


def _alone(logins: list[Login]) -> bool:
    user = logins[0].user
    return all(login.user == user for login in logins)


def _forget(logins: list[Login], horizon: int) -> None:
    while len(logins) > KEPT and logins[1].at < horizon:
        del logins[0]
    if len(logins) > MOST:
        within = (i for i in range(1, MOST) if logins[i - 1].user == logins[i].user == logins[i + 1].user)
        del logins[next(within, 0)]


def owner(logins: list[Login], at: int, holder: list[str]) -> str | None:
    """Who had logged in last at `at`; before all of them who logs in first. None: the holder, who is known under the
    user ids `holder` and came to the device otherwise (through an e-mail, say), until somebody logs in.
    """
    before = bisect_right(logins, at, key=itemgetter(0))
    if before:
        return logins[before - 1].user
    if not logins or (holder and not any(login.user in holder for login in logins)):
        return None
    return logins[0].user


def joined(some: tuple[Logins, Aside], others: tuple[Logins, Aside]) -> tuple[Logins, Aside]:
    """Those of two persons who turn out to be one."""
    logins, aside = {**some[0], **others[0]}, {**some[1], **others[1]}
    for device in some[0].keys() & others[0].keys():
        logins[device] = sorted({*all_on(*some, device), *all_on(*others, device)}, key=_place)
        aside.pop(device, None)
    return logins, aside


def carried(event_id: str, fingerprint: int, devices: list[str]) -> str | None:
    """The device that an event carried which carried nothing else, the stronger of two; None: it is none of these."""
    for told in _devices_alone(devices):
        parts = [part for device in told for part in split(device)]
        if xxh3_64_intdigest("\0".join([event_id, *parts]).encode()) == fingerprint:
            return told[0]
    return None


def _devices_alone(devices: list[str]) -> Iterator[tuple[str, ...]]:
    for one in devices:
        yield (one,)
    for one in devices:
        for other in devices:
            if split(one)[0] != split(other)[0]:
                yield one, other
