"""What must fit together in starts that are more than one event: sequences, and dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pipeline.grammar.durations import spelt
from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.vocabulary import Field
from pipeline.language import paths
from pipeline.language.leaves.trait import TELLS, check_name
from pipeline.language.references import KEY
from pipeline.topology.build_starts import lasts, step_named, steps
from pipeline.topology.check_where import check_where
from pipeline.topology.model import DAY

TAKEN = frozenset({"key", "start", "context", "consent", *paths.ITEMS, "properties", "traits", "fields"})
"""Names that paths begin with, and so no step's."""
OFFSET_MOST = 3_660 * DAY
EVERY_MOST = 90 * DAY
"""Of a wait after a date that comes every year."""


def start_events(start: Mapping[str, Any]) -> list[str]:
    """The types of the events that open a wait: the last step's, or those that tell a date."""
    if date := start.get("date"):
        return list(TELLS) if "trait" in date else list(date.get("event", ()))
    present = [told for told, absent, _ in steps(start) if not absent]
    return list(present[-1].get("event", ())) if present else []


def check_starts(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """Report what is wrong with the start of the rule at `path`, if it is a sequence or a date."""
    at = (*path, "start")
    sequence, date = (reader.has((*at, name)) for name in ("sequence", "date"))
    for name in ("where", "within"):
        fits = sequence if name == "within" else not (sequence or date or reader.has((*at, "trigger")))
        if reader.has((*at, name)) and not fits:
            beside = "a sequence" if name == "within" else "an event"
            reader.report((*at, name), "conflict", f"{name} has a place only beside {beside}", "remove it", key=True)
    if sequence:
        _sequence(path, rule, reader)
    if date:
        _date(path, rule, reader)


def check_chains(rules: Mapping[str, Any], reader: Reader) -> None:
    """Report what is wrong with rules that start by what another decides."""
    before: dict[str, list[str]] = {}
    for name, rule in rules.items():
        told = rule.get("start", {}).get("trigger", {})
        at: Path = ("triggers", name, "start", "trigger", "rule")
        if (other := told.get("rule")) is None:
            continue
        if other not in rules:
            hint = suggest(other, rules, "rules")
            reader.report(at, "unknown-rule", f"{other} is no rule", hint)
            continue
        before[name] = [other]
        per, its = rule.get("per"), rules[other].get("per")
        if per is not None and per != its:
            message = f"{other} decides per {its}, and not per {per}" if its else f"{other} has no key"
            hint = f"write per: {its}, or remove it" if its else "remove it"
            reader.report(("triggers", name, "per"), "bad-key", message, hint)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as found:
        circle = found.args[1][::-1]
        message = f"rules that start each other: {' -> '.join(circle)}"
        reader.report(("triggers", circle[0], "start"), "circle", message, "one of them must start otherwise", key=True)


def _sequence(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    start, at = rule.get("start", {}), (*path, "start", "sequence")
    if not reader.has((*path, "start", "within")):
        message = "nothing says how long a sequence may take"
        reader.report((*path, "start"), "missing-key", message, "write within: 7d beside it", key=True)
    every = [(index, each) for index, each in enumerate(start.get("sequence", ())) if each]
    present = [index for index, each in every if "not" not in each]
    if every and len(present) < 2 and not (present and lasts(start) is not None):
        message = "one event is no sequence"
        reader.report(at, "bad-value", message, "write a second step, or start: {event: ...}", key=True)
    names: dict[str, list[str]] = {}
    later = [each["as"] for _, each in every if "as" in each]
    for index, each in every:
        _step((*at, index), each, index, present, reader)
        told = each.get("not", each)
        place: Path = (*at, index, "not") if "not" in each else (*at, index)
        where = _plain((*place, "where"), told, names, later, reader)
        if rule.get("per"):
            where = {path: {op: each for op, each in tests.items() if each != KEY} for path, tests in where.items()}
        check_where((*place, "where"), where, told.get("event", []), reader)
        if (name := each.get("as")) is None:
            continue
        if name in (*names, *TAKEN):
            taken = "is there twice" if name in names else "stands for something else"
            reader.report((*at, index, "as"), "duplicate-value", f"{name} {taken}", "give each step its own name")
        names[name] = list(each.get("event", ()))
    _lasts(path, rule, reader)
    per, events = (
        rule.get("per"),
        [event for index, each in every if index in present for event in each.get("event", ())],
    )
    if per and events and not any(paths.told(event, per) for event in events):
        hint = paths.meant(events[-1], per, lambda held: held.kind in ("text", "choice", "list", "any"))
        reader.report((*path, "per"), "unknown-field", f"no step of the sequence has a field {per}", hint)


def _step(at: Path, step: Mapping[str, Any], index: int, present: Sequence[int], reader: Reader) -> None:
    absent, last = "not" in step, not any(number > index for number in present)
    if absent and not any(number < index for number in present):
        message = "before the first step there is nothing that something must not follow"
        reader.report((*at, "not"), "conflict", message, "put it behind a step", key=True)
    elif absent and last and not reader.has((*at, "for")):
        message = "nothing says for how long this must not happen"
        reader.report((*at, "not"), "missing-key", message, "write for: 2d beside it", key=True)
    if reader.has((*at, "for")) and not (absent and last):
        message = "for has a place only beside a `not` in the last place"
        reader.report((*at, "for"), "conflict", message, "remove it", key=True)
    for name in ("where", "as"):
        if absent and reader.has((*at, name)):
            hint = "write it inside of the not" if name == "where" else "remove it"
            reader.report((*at, name), "conflict", f"{name} has no place beside a not", hint, key=True)


def _plain(
    at: Path, told: Mapping[str, Any], names: Mapping[str, list[str]], later: Sequence[str], reader: Reader
) -> dict[str, dict[str, Any]]:
    """What is compared with values; what is compared with other steps is looked at here."""
    plain: dict[str, dict[str, Any]] = {}
    for path, tests in told.get("where", {}).items():
        for operator, operand in tests.items():
            name = step_named(operator, operand)
            for index, each in enumerate(operand if operator == "in" and len(operand) > 1 else ()):
                if step_named("is", each) in names:
                    message = f"{each} is compared as the text that it is: of several values none stands for a step's"
                    reader.report((*at, path, operator, index), "literal", message, severity="warning")
            place = (*at, path, operator) if reader.has((*at, path, operator)) else (*at, path)
            if name is not None and name in names:
                _told(place, operand, name, names[name], reader)
                plain.setdefault(path, {})
            elif name in later:
                message = f"the step {name} comes later, and its own is not known yet"
                reader.report(place, "unknown-step", message, suggest("", names, "steps before it"))
            elif (
                name is not None
                and name != "start"
                and operator not in ("is", "not", "contains", "starts_with", "ends_with")
            ):
                reader.report(place, "unknown-step", f"no step is named {name}", suggest(name, names, "names"))
            else:
                plain.setdefault(path, {})[operator] = operand
    return plain


def _told(at: Path, operand: str, name: str, events: Sequence[str], reader: Reader) -> None:
    """Whether the step of that name tells it."""
    path = operand.partition(".")[2]
    found = [held for event in events if (held := paths.told(event, path)) is not None]
    if events and not found:
        hint = paths.meant(events[0], path, lambda held: held.kind not in ("map", "records"))
        hint = hint.replace("did you mean ", f"did you mean {name}.")
        reader.report(at, "unknown-field", f"the step {name}, {' or '.join(events)}, has no field {path}", hint)
    elif found and found[0].kind in ("map", "records"):
        message = f"{operand} holds many values: it can't be compared"
        reader.report(at, "bad-condition", message, f"write {operand}.NAME")


def _lasts(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """What must not happen after the last step says how long the rule waits."""
    if lasts(rule.get("start", {})) is None:
        return
    for name in ("after", "stages"):
        if reader.has((*path, name)):
            message = f"the sequence says for how long it waits: {name} has no place"
            hint = "remove it, or the `not` in the last place"
            if name == "stages":
                hint += "; a rule of its own, start: {trigger: {rule: ...}}, may have them"
            reader.report((*path, name), "conflict", message, hint, key=True)


def _date(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    date, at = rule.get("start", {}).get("date", {}), (*path, "start", "date")
    of_event = reader.has((*at, "event"))
    if of_event and not reader.has((*at, "field")):
        reader.report(at, "missing-key", "which field tells the date?", "write field: properties.starts_at", key=True)
    for name in ("field", "where"):
        if reader.has((*at, name)) and not of_event:
            reader.report((*at, name), "conflict", f"{name} has a place only beside event", "remove it", key=True)
    check_name((*at, "trait"), date.get("trait", ""), reader)
    _told_anew(path, rule, date, reader)
    if of_event:
        check_where((*at, "where"), date.get("where", {}), date.get("event", []), reader)
    elif reader.has((*path, "per")):
        message = "a trait is told of a person, and not of a key"
        reader.report(
            (*path, "per"), "conflict", message, "remove it, or write date: {event: ..., field: ...}", key=True
        )
    for event in date.get("event", ()) if "field" in date else ():
        _tells((*at, "field"), event, date["field"], reader)
    if "at" in date and abs(date.get("offset", 0)) % DAY:
        message = f"an offset of {spelt(abs(date['offset']))} and a time of day: days count from day to day"
        reader.report((*at, "offset"), "conflict", message, "write whole days, or remove at")
    if abs(date.get("offset", 0)) > OFFSET_MOST:
        reader.report((*at, "offset"), "bad-value", "that is more than ten years", "write -30d")
    _waits(path, rule, date, reader)


def _told_anew(path: Path, rule: dict[str, Any], date: Mapping[str, Any], reader: Reader) -> None:
    """What tells the date opens the wait: as a cancel it would end that at once."""
    cancels = rule.get("cancel", [])
    for index, cancel in enumerate(cancels):
        if {*TELLS} & {*cancel.get("event", ())} and f"traits.{date.get('trait')}" in cancel.get("where", {}):
            at = (*path, "cancel", index) if reader.has((*path, "cancel", 0)) else (*path, "cancel")
            message = f"who tells {date['trait']} opens the wait, and ends it too"
            hint = "remove it: told anew, a date moves the wait by itself"
            reader.report(at, "start-and-cancel", message, hint, severity="warning")


def _tells(at: Path, event: str, field: str, reader: Reader) -> None:
    found = paths.told(event, field)
    if found is None:
        reader.report(at, "unknown-field", f"{event} has no field {field}", paths.meant(event, field, _is_time))
    elif not _is_time(found):
        reader.report(at, "bad-field", f"{field} of {event} tells no date")


def _is_time(field: Field) -> bool:
    return field.kind in ("number", "text", "any")


def _waits(path: Path, rule: dict[str, Any], date: Mapping[str, Any], reader: Reader) -> None:
    """The date says when it is due."""
    after, yearly = rule.get("after"), "every" in date
    for name in ("stages", "restart", "once"):
        if reader.has((*path, name)) and rule.get(name) is not False:
            message = f"{name} has no place where a date says when it is due"
            reader.report((*path, name), "conflict", message, "remove it, and write a rule for each date", key=True)
    if isinstance(after, dict):
        message = "the date says when it is due: after is so long after it, and nothing else"
        reader.report((*path, "after"), "conflict", message, "write after: 1h, or remove it", key=True)
    elif yearly and isinstance(after, int) and after > EVERY_MOST:
        message = f"{spelt(after)} after a date that comes every year"
        reader.report((*path, "after"), "bad-value", message, f"at most {spelt(EVERY_MOST)}")
    if yearly and reader.has((*path, "again")):
        message = "what comes every year starts anew every year"
        reader.report((*path, "again"), "conflict", message, "remove again, or every", key=True)
