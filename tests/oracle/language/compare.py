"""Making the language's decisions and changes comparable. Shares no code with `pipeline`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.oracle.compare import comparable, difference, in_one_order, milliseconds

Line = dict[str, Any]


def by_what_they_say(decisions: list[Line]) -> list[Line]:
    """44: decisions that another has for its cause by what they say, as the oracle names them; in the order in which
    they were made."""
    said: dict[str, str] = {}
    found = []
    for told in decisions:
        one = dict(told)
        for name in ("cause_event_id", "ended_by"):
            if one.get(name) in said:
                one[name] = said[one[name]]
        due = one["due_at"] if isinstance(one["due_at"], int) else milliseconds(one["due_at"])
        what = [one["rule"], one["correlation_key"], one["cause_event_id"], due, one.get("stage")]
        if "id" in one:
            said[one["id"]] = "decision " + " ".join(str(part) for part in what)
        found.append(one)
    return found


def plainer(decision: Line, named: dict[str, str]) -> Line:
    """A decision without how to write to the person (other rules' tests look at that); a missing basis is `event`."""
    kept = {"basis": "event", **comparable(decision)}
    for name in ("cause_event_id", "ended_by", "late_event_id"):
        if kept.get(name) is not None:
            kept[name] = shown(kept[name], named)
    kept.pop("contact", None)
    kept.pop("recovers", None)
    kept.pop("detail", None)  # words
    told = {name: in_order(part) for name, part in (kept.get("payload") or {}).items()}
    kept["payload"] = told
    return kept


def in_order(part: Any) -> Any:
    """One part of a payload: a cart with its lines in an order of our own."""
    return {**part, "lines": in_one_order(part["lines"])} if isinstance(part, dict) and "lines" in part else part


def shown(event_id: str, named: dict[str, str]) -> str:
    """36, 37: of a visit the id of the event that began it; of a change of a segment what it is."""
    return named.get(event_id, event_id.rpartition("\0")[2])


def names(changes: Sequence[Line]) -> dict[str, str]:
    """A change's id -> what it is, where it has one."""
    return {one["id"]: f"{one['change']} {one['segment']} {moment(one)}" for one in changes if "id" in one}


def moment(told: Line) -> int:
    """When a segment changed."""
    return told["at"] if isinstance(told["at"], int) else milliseconds(told["at"])


def differing(expected: list[Line], actual: list[Line], changes: Sequence[Line] = ()) -> str:
    """What is only in one of two lists of decisions, as text; empty when they hold the same. `changes`: the actual ones
    of segments, by which decisions may be made."""
    named = names(changes)
    return difference([plainer(one, {}) for one in expected], [plainer(one, named) for one in by_what_they_say(actual)])


def change(told: Line, named: dict[str, str]) -> Line:
    """A change without whose it was: which of two profiles stays is not the language's business."""
    kept = {name: told.get(name) for name in ("segment", "change", "cause_event_id", "reason")}
    if kept["cause_event_id"] is not None:
        kept["cause_event_id"] = shown(kept["cause_event_id"], named)
    return {**kept, "at": moment(told)}


def changes_differing(expected: list[Line], actual: list[Line]) -> str:
    """The same of changes. Where two became one, only what it comes to for both sides: one in and one out may be told
    of either, and of a profile that began with the tie."""
    named = names(actual)
    sides = [[change(one, named) for one in lines] for lines in (expected, actual)]
    ties = {(one["segment"], one["at"]) for told in sides for one in told if one["reason"] in ("tie", "merged")}
    alone = [
        Counter(str(sorted(x.items(), key=str)) for x in told if (x["segment"], x["at"]) not in ties) for told in sides
    ]
    left, right = alone
    found = [f"missing change: {one}" for one in (left - right).elements()]
    found += [f"change not expected: {one}" for one in (right - left).elements()]
    for segment, at in sorted(ties):
        net = [
            sum((x["change"] == "entered") * 2 - 1 for x in told if (x["segment"], x["at"]) == (segment, at))
            for told in sides
        ]
        if net[0] != net[1]:
            found.append(f"by ties, {segment} at {at}: expected {net[0]:+d}, but {net[1]:+d}")
    return "\n".join(found)
