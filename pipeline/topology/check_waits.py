"""What must fit together of how long a rule waits, and how often."""

from __future__ import annotations

from typing import Any

from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.vocabulary import Field, playback_types
from pipeline.language import paths
from pipeline.topology import build_starts
from pipeline.topology.check_payload import tells
from pipeline.topology.model import UNITS, WEEK


def check_waits(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """Report what is wrong with the waits of the rule at `path`."""
    _stages(path, rule, reader)
    _recovered(path, rule, reader)
    _length(path, rule, reader)
    _at_once(path, rule, reader)
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
    if (lasts := build_starts.lasts(rule.get("start", {}))) is not None:
        found.append((lasts, ("start", "sequence")))
    if isinstance(told := rule.get("after"), int):
        found.append((told, ("after",)))
    elif isinstance(told, dict) and "for" in told:
        found.append((told["for"] + WEEK, ("after",)))
    after, part = max(found, default=(0, ()))
    reaches: list[tuple[int, Path]] = [(after, part)]
    if within := rule.get("recovered", {}).get("within", 0):
        reaches.append((after + within, ("recovered", "within")))
    if isinstance(again := rule.get("again"), dict) and "after" in again:
        reaches.append((after + again["after"], ("again", "after")))
    after, part = max(reaches)
    return part, after


def _at_once(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """A rule that says no `after` waits for nothing; only such a one decides when its start arrives."""
    waits: list[Path] = [(*path, name) for name in ("after", "stages")]
    waits.append((*path, "start", "date"))
    waits = [at for at in waits if reader.has(at)]
    if build_starts.lasts(rule.get("start", {})) is not None:
        waits.append((*path, "start", "sequence"))
    if waits:
        if reader.has((*path, "decide")):
            what = "the `not` in the last place" if waits[0][-1] == "sequence" else waits[0][-1]
            message = f"on_arrival decides when the start arrives, but {what} says that it waits"
            hint = "remove decide" if what == "date" else f"remove decide, or {what}"
            reader.report((*path, "decide"), "conflict", message, hint, key=True)
        return
    if reader.has((*path, "restart")):
        message = "a rule without `after` waits for nothing: there is nothing to move"
        reader.report((*path, "restart"), "conflict", message, "write after: 1h, or remove restart", key=True)
    carts = [(*path, *part) for part in tells(rule, "cart")]
    if rule.get("until", {}).get("cart"):
        carts.append((*path, "until", "cart"))
    for at in carts:
        what = "waits for no cart to be empty" if at[-1] == "cart" else "tells no cart's contents"
        message = f"a rule without `after` {what}: each of its starts is by itself"
        reader.report(at, "conflict", message, "write after: 1ms, or remove it", key=True)


def _length(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """A wait that is as long as its start tells, or lasts up to a time of day."""
    after = rule.get("after")
    if not isinstance(after, dict):
        return
    at: Path = (*path, "after")
    if not any(reader.has((*at, kind)) for kind in ("field", "for")):
        return
    needed, other = ("unit", "until") if reader.has((*at, "field")) else ("until", "unit")
    if not reader.has((*at, needed)):
        hint = f"write unit: {', '.join(UNITS)}" if needed == "unit" else 'write until: {time: "09:00"}, or after: 1h'
        reader.report(at, "missing-key", f"{needed} is missing in {'.'.join(map(str, at))}", hint, key=True)
    if reader.has((*at, other)):
        beside = "for" if other == "until" else "field"
        reader.report((*at, other), "conflict", f"{other} has a place only beside {beside}", "remove it", key=True)
    if (field := after.get("field")) is None:
        return
    start = rule.get("start", {})
    what = next((name for name in ("when", "sequence", "trigger") if name in start), None)
    if what is not None:
        message = f"a start by a {'condition' if what == 'when' else what} tells no field"
        reader.report((*at, "field"), "conflict", message, "write after: 1h, or start: {event: ...}", key=True)
    for event in playback_types() if "watched_share" in start else start.get("event", ()):
        found = paths.told(event, field)
        if found is None:
            numbers = [name for name in paths.fixed(event) if (known := paths.told(event, name)) and _counts(known)]
            message = f"{event} has no field {field}"
            reader.report((*at, "field"), "unknown-field", message, suggest(field, numbers, "its numbers"))
        elif not _counts(found):
            message = f"{field} of {event} tells no length of time: it is no number"
            reader.report((*at, "field"), "bad-field", message)


def _counts(field: Field) -> bool:
    return field.kind in ("number", "text", "any")


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
