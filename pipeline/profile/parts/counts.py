"""How much there was of a person, and from when to when."""

from __future__ import annotations

from pipeline.events.catalogue import doing
from pipeline.events.times import rfc3339
from pipeline.profile.parts.part import TYPES, Facts, Part
from pipeline.profile.parts.primitives import Counter, Earliest, Latest, Sum

DAY = 86_400_000
DAYS_KEPT = 30
_PAGES = doing("page")


def show(
    first_seen: int, last_seen: int, engaged_ms: int, absolute_ms: int, totals: dict[int, int], days: dict[int, int]
) -> Facts:
    """The most frequent event type first; days in their order."""
    return {
        "first_seen": rfc3339(first_seen) if first_seen > 0 else None,
        "last_seen": rfc3339(last_seen) if last_seen > 0 else None,
        "events": sum(totals.values()),
        "totals": {TYPES[code]: number for code, number in sorted(totals.items(), key=lambda t: (-t[1], t[0]))},
        "days": {rfc3339(day * DAY)[:10]: number for day, number in sorted(days.items())},
        "engaged_ms": engaged_ms,
        "absolute_ms": absolute_ms,
    }


PART = Part(
    "counts",
    {
        ("first_seen",): Earliest(),
        ("last_seen",): Latest(),
        ("engaged_ms",): Sum("engaged_ms", _PAGES),
        ("absolute_ms",): Sum("absolute_ms", _PAGES),
        ("totals",): Counter(),
        ("days",): Counter(per=DAY, keep=DAYS_KEPT),
    },
    show,
)
