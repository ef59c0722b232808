"""Making the language's decisions and changes comparable. Shares no code with `pipeline`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.oracle.compare import comparable, difference, milliseconds

Line = dict[str, Any]


def plainer(decision: Line) -> Line:
    """A decision without how to write to the person (other rules' tests look at that); a missing basis is `event`."""
    kept = {"basis": "event", **comparable(decision)}
    kept.pop("contact", None)
    kept.pop("recovers", None)
    return kept


def differing(expected: list[Line], actual: list[Line]) -> str:
    """What is only in one of two lists of decisions, as text; empty when they hold the same."""
    return difference([plainer(one) for one in expected], [plainer(one) for one in actual])


def without_ends(decisions: list[Line], reason: str) -> list[Line]:
    """Without what ended those of this reason: of several events in one millisecond it may be told of any."""
    return [{k: v for k, v in one.items() if k != "ended_by" or one["reason"] != reason} for one in decisions]


def change(told: Line) -> Line:
    """A change without whose it was: which of two profiles stays is not the language's business."""
    at = told["at"] if isinstance(told["at"], int) else milliseconds(told["at"])
    kept = {name: told.get(name) for name in ("segment", "change", "cause_event_id", "reason")}
    return {**kept, "at": at}


def changes_differing(expected: list[Line], actual: list[Line]) -> str:
    """The same of changes. Of a tie only what it comes to for both sides: one in and one out may be told of either."""
    texts = []
    for lines in (expected, actual):
        told = [change(one) for one in lines]
        single = Counter(str(sorted(one.items(), key=str)) for one in told if one["reason"] in ("event", "time"))
        net: Counter[str] = Counter()
        for one in told:
            if one["reason"] not in ("event", "time"):
                net[f"by ties {one['segment']} at {one['at']}"] += 1 if one["change"] == "entered" else -1
        texts.append((single, {name: number for name, number in net.items() if number}))
    (left, left_net), (right, right_net) = texts
    found = [f"missing change: {one}" for one in (left - right).elements()]
    found += [f"change not expected: {one}" for one in (right - left).elements()]
    if left_net != right_net:
        found.append(f"by ties: expected {left_net}, but {right_net}")
    return "\n".join(found)
