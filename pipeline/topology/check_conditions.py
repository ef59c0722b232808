"""What must fit together in conditions: those of segments, measures, lists and rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pipeline.grammar.durations import spelt
from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.vocabulary import Field, playback_types
from pipeline.language import hours, paths
from pipeline.language.condition import Names, Scope, check_condition
from pipeline.language.events import types_of
from pipeline.language.leaves import did
from pipeline.language.leaves.list import check_list
from pipeline.language.leaves.measure import check_measure
from pipeline.language.references import KEY, is_reference
from pipeline.language.speaks import NAMING, changes, hangs_on, meant, spoken
from pipeline.topology.check_where import check_where
from pipeline.topology.model import DAY


def check_conditions(values: dict[str, Any], reader: Reader) -> None:
    """Report to `reader` everything in conditions that doesn't fit together."""
    segments, measures, lists, rules = (values.get(name, {}) for name in ("segments", "measures", "lists", "triggers"))
    names = Names(
        reader,
        lambda at, where, events: check_where(at, where, types_of(events), reader),
        lambda at, path, events, kind: _path(at, path, types_of(events), kind, reader),
        segments,
        measures,
        lists,
        rules,
    )
    _changes(values, reader)
    sound = len([each for each in reader.findings if each.severity == "error"])
    for name, measure in measures.items():
        check_measure(("measures", name), measure, names)
    for name, each in lists.items():
        check_list(("lists", name), each, names)
    for name, segment in segments.items():
        if "when" in segment:
            check_condition(("segments", name, "when"), segment["when"], names)
    for name, rule in rules.items():
        of_rule = names._replace(per=rule.get("per"))
        if of_rule.per is not None:
            of_rule = of_rule._replace(where=lambda at, where, events: _keyed(at, where, events, reader))
        for path, condition in _of_rule(rule):
            waits = path[0] != "start"
            check_condition(("triggers", name, *path), condition, of_rule._replace(waits=waits))
    if len([each for each in reader.findings if each.severity == "error"]) > sound:
        return  # what isn't sound means nothing
    _switches(values, reader)
    _hours(values, reader)
    _of_the_key(values, reader)
    _reach(values, reader)
    _circles(segments, measures, lists, reader)


def _of_rule(rule: Mapping[str, Any]) -> list[tuple[Path, Mapping[str, Any]]]:
    found: list[tuple[Path, Any]] = [
        (("start", "when"), rule.get("start", {}).get("when")),
        (("until", "when"), (rule.get("until") or {}).get("when")),
        (("only_if",), rule.get("only_if")),
        *((("stages", n, "only_if"), stage.get("only_if")) for n, stage in enumerate(rule.get("stages", ()))),
    ]
    return [(path, condition) for path, condition in found if condition]


def _keyed(at: Path, where: Mapping[str, Any], events: Sequence[str], reader: Reader) -> None:
    """Tests of fields, of which one may be compared with the rule's key."""
    others = {
        path: {op: each for op, each in tests.items() if (op, each) != ("is", KEY)} for path, tests in where.items()
    }
    check_where(at, {path: tests or {"exists": True} for path, tests in others.items()}, types_of(events), reader)


def _switched_on(values: dict[str, Any]) -> list[tuple[Path, Any]]:
    """The conditions of segments and rules that are on, and where they stand."""
    segments, rules = values.get("segments", {}), values.get("triggers", {})
    every: list[tuple[Path, Any]] = [
        (("segments", name, "when"), segment.get("when"))
        for name, segment in segments.items()
        if segment.get("enabled", True)
    ]
    every += [
        (("triggers", name, *path), condition)
        for name, rule in rules.items()
        if rule.get("enabled", True)
        for path, condition in _of_rule(rule)
    ]
    return every


def _switches(values: dict[str, Any], reader: Reader) -> None:
    """What is on speaks of what is on."""
    segments = values.get("segments", {})
    for section in ("triggers", "segments"):
        for name, told in values.get(section, {}).items():
            if told.get("enabled", True):
                _of_switched_off((section, name), told, segments, reader)
    for path, condition in _switched_on(values):
        for at, section, name in spoken(condition, path):
            if not values.get(section, {}).get(name, {}).get("enabled", True):
                what = "nobody is in it" if section == "segments" else "it never fires"
                hint = f"take `enabled: false` away from {name}, which stands {reader.place((section, name))}"
                reader.report(at, "switched-off", f"{name} is switched off: {what}", hint, severity="warning")


def _hours(values: dict[str, Any], reader: Reader) -> None:
    """What is added up over more than seven days leaves with its hour."""
    measures = values.get("measures", {})
    named: set[str] = set()
    for path, condition in _switched_on(values):
        for at, leaf in _leaves(path, condition):
            if isinstance(name := leaf.get("measure"), str):
                named.add(name)
            elif "did" in leaf and did.in_hours(leaf) and "within" in leaf:
                _in_hours((*at, "within"), reader)
    for name in [name for name in measures if name in named]:
        if "within" in measures[name] and hours.in_hours(measures[name]["within"]):
            _in_hours(("measures", name, "within"), reader)


def _of_the_key(values: dict[str, Any], reader: Reader) -> None:
    """What a rule with `per` looks at counts by its key, where it may tell that, also of events that the rule doesn't
    wait for: what seldom tells it seldom counts.
    """
    for name, rule in values.get("triggers", {}).items():
        per = rule.get("per")
        if per is None or not rule.get("enabled", True):
            continue
        start = rule.get("start", {})
        selected = [start, rule.get("restart"), rule.get("cancel")]
        known = {event for _, told in _leaves((), selected) for event in _types(told)}
        known.update(playback_types() if "watched_share" in start else ())
        for path, condition in _of_rule(rule):
            for at, leaf in _leaves(("triggers", name, *path), condition):
                events = _types(leaf)
                if not events or known & {*events} or Scope(per=per).keyed(events, leaf.get("where", {}))[1] != per:
                    continue
                message = f"only {' and '.join(events)} with the wait's own {per} counts"
                hint = "to count all of the person's name a segment, or a measure, that does"
                reader.report(at, "of-the-key", message, hint, severity="note")


def _types(leaf: Mapping[str, Any]) -> list[str]:
    """The event types that it names."""
    return [event for key in NAMING for event in leaf.get(key, ()) if isinstance(leaf.get(key), list)]


def _leaves(at: Path, condition: Any) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(condition, Mapping):
        yield at, condition
        for key, each in condition.items():
            yield from _leaves((*at, key), each)
    elif isinstance(condition, list):
        for index, each in enumerate(condition):
            yield from _leaves((*at, index), each)


def _in_hours(at: Path, reader: Reader) -> None:
    message = "what is added up over more than 7d counts in hours of UTC: it leaves when the beginning of its hour does"
    reader.report(at, "hours", message, "7d, and less, is exact to the millisecond", severity="note")


def _of_switched_off(path: Path, told: Mapping[str, Any], segments: Mapping[str, Any], reader: Reader) -> None:
    """Nobody enters a segment that is switched off."""
    for at, tests in changes(told, path):
        found = meant(tests, segments)
        off = [name for name in found if not segments[name].get("enabled", True)]
        if off and off == found:
            hint = f"take `enabled: false` away from {off[0]}, which stands {reader.place(('segments', off[0]))}"
            message = f"{off[0]} is switched off: nobody enters or leaves it"
            reader.report(_asked(at, reader), "switched-off", message, hint, severity="warning")


def _changes(values: Mapping[str, Any], reader: Reader) -> None:
    """Whoever speaks of who enters or leaves a segment speaks of one that there is."""
    segments = values.get("segments", {})
    for section in ("segments", "measures", "lists", "triggers"):
        for at, tests in changes(values.get(section, {}), (section,)):
            for operator in ("is", "not", "in"):
                told = tests.get(operator, ())
                for name in told if isinstance(told, list) else [told] if isinstance(told, str) else []:
                    if name not in segments and not is_reference(operator, name):
                        hint = suggest(name, segments, "segments") or "write it under segments"
                        reader.report(_asked(at, reader), "unknown-segment", f"{name} is no segment", hint)
            if not tests and not segments:
                hint = "write one under segments"
                reader.report(at, "unknown-segment", "there is no segment that anybody could enter", hint, key=True)


def _asked(at: Path, reader: Reader) -> Path:
    where = (*at, "where", "segment")
    return where if reader.has(where) else at


def _path(at: Path, path: str, events: Sequence[str], kind: str, reader: Reader) -> None:
    """One field that is looked at. `kind`: of which kind its values must be; "": of any that isn't many."""
    kinds = {kind, "any"} if kind else {"text", "number", "choice", "flag", "any", "list"}

    def fits(held: Field) -> bool:
        return held.kind in kinds

    for event in dict.fromkeys(events):
        held = paths.told(event, path)
        if held is None:
            reader.report(at, "unknown-field", f"{event} has no field {path}", paths.meant(event, path, fits))
            return
        if not fits(held):
            message = f"{path} of {event} is no {kind}" if kind else f"{path} of {event} holds many values"
            reader.report(at, "bad-condition", message, paths.meant(event, path, fits))
            return


def _reach(values: dict[str, Any], reader: Reader) -> None:
    """Nobody is remembered for longer than profiles are."""
    retention = values.get("profile", {}).get("retention", 90 * DAY)
    segments, rules = values.get("segments", {}), values.get("triggers", {})
    every = [(("segments", name, "when"), segment["when"]) for name, segment in segments.items() if "when" in segment]
    every += [(("triggers", name, *path), each) for name, rule in rules.items() for path, each in _of_rule(rule)]
    every += [
        (("triggers", name, "start"), rule["start"])
        for name, rule in rules.items()
        if "sequence" in rule.get("start", ())
    ]
    for path, condition in every:
        _windows(path, condition, retention, reader)
    for name, measure in values.get("measures", {}).items():
        _windows(("measures", name), measure, retention, reader)


def _windows(path: Path, value: Any, retention: int, reader: Reader) -> None:
    if isinstance(value, Mapping):
        within = value.get("within")
        if isinstance(within, int) and within > retention:
            message = f"it looks back {spelt(within)}, but a profile is forgotten after {spelt(retention)} of silence"
            hint = f"profile.retention must be at least {spelt(within)}"
            reader.report((*path, "within"), "short-profile", message, hint)
        for name, each in value.items():
            _windows((*path, name), each, retention, reader)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _windows((*path, index), each, retention, reader)


def _circles(
    segments: Mapping[str, Any], measures: Mapping[str, Any], lists: Mapping[str, Any], reader: Reader
) -> None:
    """No segment waits for itself."""
    before = {name: hangs_on(segment.get("when"), segments, measures, lists) for name, segment in segments.items()}
    try:
        TopologicalSorter(before).prepare()
    except CycleError as found:
        circle = found.args[1][::-1]
        message = f"segments that speak of each other: {' -> '.join(circle)}"
        hint = "one of them must do without another"
        looked_at = [{each for _, _, each in spoken(segments[name].get("when"))} for name in circle[:-1]]
        if any(other not in seen for other, seen in zip(circle[1:], looked_at, strict=True)):
            message += ", for who counts who enters or leaves one waits for it too"
            hint = "say of which: where: {segment: ...}; " + hint
        reader.report(("segments", circle[0]), "circle", message, hint, key=True)
