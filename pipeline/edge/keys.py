"""Who may send what, and how much of it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable

from pipeline.events.catalogue import doing
from pipeline.events.model import Event, Remark
from pipeline.topology.model import WriteKey

TELLING = frozenset(doing("traits"))  # who somebody is, and nothing else
PERSONAL = ("ip", "user_agent", "unproven", "url", "referrer")  # addresses of pages may hold anything
LEFT_OUT = Remark("left_out", "identifiers that this write key may not tell")


class Bucket:
    """So many tokens flow in a second, and so many it holds (token bucket). Times in seconds, of one clock."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._at = burst, now

    def take(self, number: int, now: float) -> float:
        """0 where there are as many: they are taken. Else after how many seconds there may be."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        number = min(number, int(self._burst))  # what never fits would be asked for for ever
        if self._tokens < number:
            return (number - self._tokens) / self._rate
        self._tokens -= number
        return 0.0


class KeyRing:
    """Keys as clients tell them. `share`: of what a key may send, what this process takes in."""

    def __init__(self, keys: Iterable[WriteKey], now: float, share: float = 1.0) -> None:
        self._keys = {each.key: each for each in keys}
        self._buckets = {
            each.key: Bucket(each.rate * share, max(each.burst * share, 1), now) for each in self._keys.values()
        }

    def find(self, told: str | None) -> WriteKey | None:
        return None if told is None else self._keys.get(told)

    def wait_s(self, key: WriteKey, events: int, now: float) -> float:
        """0: so many events may come in. Else try again after so many seconds."""
        return self._buckets[key.key].take(events, now)

    def origins(self) -> frozenset[str] | None:
        """Of all pages that may use any of the keys; None: any page."""
        every = [each.origins for each in self._keys.values()]
        return None if None in every else frozenset().union(*filter(None, every))


def basic(header: str) -> str | None:
    """The user name of HTTP's Basic authentication, where Segment's clients tell the key."""
    scheme, _, told = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(told.strip(), validate=True).decode("latin-1").partition(":")[0] or None
    except ValueError:
        return None


def bearer(header: str) -> str | None:
    """The token of HTTP's Bearer authentication, where PostHog's newer clients tell the key."""
    scheme, _, told = header.partition(" ")
    return told.strip() or None if scheme.lower() == "bearer" else None


def limited(key: WriteKey, event: Event) -> str | None:
    """What a key may not tell is left out of `event`, in place; what its holder can't prove is marked. Returns why all
    of it is refused, or None.
    """
    if event.type not in key.types:
        return f"the key {key.name} may not send {event.type}"
    if key.identifiers is not None and not event.identifiers.keys() <= key.identifiers:
        event.identifiers = {ns: value for ns, value in event.identifiers.items() if ns in key.identifiers}
        event.remarks = (*event.remarks, LEFT_OUT)
    if key.public and event.identifiers:
        event.context = {**(event.context or {}), "unproven": sorted(event.identifiers)}
    return None


def agreed(key: WriteKey, event: Event) -> bool:
    """Whether the person has agreed to what the key's source needs, if anything."""
    consent = (event.context or {}).get("consent") or {}
    return key.purpose is None or consent.get(key.purpose) is True


def stripped(event: Event) -> bool:
    """What says who it was is left out of `event`, in place. False: then nothing is left."""
    if event.type in TELLING:
        return False
    event.identifiers = {}
    context = {name: value for name, value in (event.context or {}).items() if name not in PERSONAL}
    event.context = context or None
    return True
