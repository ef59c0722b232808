"""What must fit together of how long a rule waits, and how often."""

from __future__ import annotations

from typing import Any

from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path, Reader


def check_waits(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """Report what is wrong with the waits of the rule at `path`."""
    _stages(path, rule, reader)
    _recovered(path, rule, reader)
    if "again" in rule and rule.get("once"):
        message = "a key that starts once never starts again"
        reader.report((*path, "again"), "conflict", message, "remove again or once", key=True)


def longest(rule: dict[str, Any]) -> tuple[Path, int]:
    """Where a rule says how long after a wait's cause something of it may still matter, and that, in ms; 0: it doesn't
    say.
    """
    found: list[tuple[int, Path]] = [
        (stage["after"], ("stages", index, "after"))
        for index, stage in enumerate(rule.get("stages", ()))
        if "after" in stage
    ]
    if "after" in rule:
        found.append((rule["after"], ("after",)))
    after, part = max(found, default=(0, ()))
    reaches: list[tuple[int, Path]] = [(after, part)]
    if within := rule.get("recovered", {}).get("within", 0):
        reaches.append((after + within, ("recovered", "within")))
    if isinstance(again := rule.get("again"), dict) and "after" in again:
        reaches.append((after + again["after"], ("again", "after")))
    after, part = max(reaches)
    return part, after


def _recovered(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """What comes after a trigger is told by what ends waits."""
    if "recovered" not in rule:
        return
    at: Path = (*path, "recovered")
    if not reader.has((*path, "cancel")):
        message = "a cancel after a trigger is its success, but the rule has no cancel"
        reader.report(at, "no-cancel", message, "write cancel: {event: ..., reason: ...}", key=True)
        return
    reasons = [cancel["reason"] for cancel in rule.get("cancel", ()) if "reason" in cancel]
    for index, reason in enumerate(rule["recovered"].get("by", ())):
        place: Path = (*at, "by", index)
        if reason not in reasons:
            message = f"no cancel of this rule has the reason {reason}"
            reader.report(place, "unknown-reason", message, suggest(reason, reasons, "its reasons"))


def _stages(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """Stages follow one another, each under a name of its own."""
    names: dict[str, int] = {}
    last: tuple[int, str] | None = None
    for index, stage in enumerate(rule.get("stages", ())):
        at: Path = (*path, "stages", index)
        name, after = stage.get("name"), stage.get("after")
        if name in names:
            reader.report((*at, "name"), "duplicate-value", f"{name} is there twice", "give each stage its own name")
        elif name is not None:
            names[name] = index
        if after is None:
            continue
        if last is not None and after <= last[0]:
            message = f"the stage {name} isn't later than {last[1]}, which comes before it"
            hint = "each `after` counts from the wait's cause: write them from the shortest to the longest"
            reader.report((*at, "after"), "bad-time", message, hint)
        last = (after, str(name))
