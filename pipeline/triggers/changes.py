"""Who enters and leaves segments."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.events.times import rfc3339
from pipeline.language.memory import Entry
from pipeline.triggers.decisions import Decision, named


class SegmentChange(msgspec.Struct, gc=False, kw_only=True, omit_defaults=True):
    """A person enters or leaves a segment. `at`: UTC ms, of the fold. `reason`: `event`, `time` alone, `tie`: two
    persons turned out to be one, or `merged`: this profile is part of another from then on. `published` False: it came
    of a recording that was ingested without triggers.
    """

    id: str
    segment: str
    change: str
    reason: str
    at: int
    profile_id: str
    identifiers: dict[str, list[str]]
    cause_event_id: str | None = None
    left_out: list[str] = []
    published: bool = True


Output = Decision | SegmentChange
"""What folding a person leads to."""


def change_id(segment: str, change: str, at: int, whose: Any, cause: Entry | None) -> str:
    """From segment, change and cause; by time alone, from the moment and who it is."""
    if cause is not None:
        return named("segment", segment, change, cause.event_id, cause.fingerprint)
    who = whose if isinstance(whose, str) else sorted((ns, sorted(values)) for ns, values in whose.items())
    return named("segment", segment, change, at, who)


def public(change: SegmentChange) -> dict[str, Any]:
    """As people and other programs read it: one line of `pipeline replay --segments`."""
    line: dict[str, Any] = {
        "segment": change.segment,
        "change": change.change,
        "at": rfc3339(change.at),
        "profile_id": change.profile_id,
        "identifiers": {ns: sorted(values) for ns, values in sorted(change.identifiers.items())},
        "cause_event_id": change.cause_event_id,
        "reason": change.reason,
        "id": change.id,
    }
    if change.left_out:
        line["left_out"] = change.left_out
    return line
