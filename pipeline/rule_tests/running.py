"""What a rule test's events lead to, and how that differs from what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from pipeline.errors import InvalidEvent
from pipeline.events.model import Event
from pipeline.rule_tests.changing import change_differences, told_change
from pipeline.rule_tests.pairing import unpaired
from pipeline.rule_tests.reading import Expected, RuleTest
from pipeline.rule_tests.spans import maybe_span, shown, span
from pipeline.runtime.replay import FOREVER, Replay
from pipeline.topology import Rehearsal
from pipeline.triggers.changes import SegmentChange
from pipeline.triggers.decisions import Decision, public


class Outcome(msgspec.Struct, frozen=True):
    """What came of a test. `problems`: (line of its file, a sentence) each; none: it holds. `steps`: what happened and
    what was decided, in order of time.
    """

    test: RuleTest
    problems: list[tuple[int, str]]
    steps: list[str]


def try_out(rehearsal: Rehearsal, test: RuleTest) -> Outcome:
    """Run a test as `pipeline replay` runs a recording: when its last event has come, all that waits is decided."""
    topology = rehearsal.with_on(test.on)
    decided: list[Decision] = []
    problems: list[tuple[int, str]] = []
    replay = Replay(topology)
    for event in test.events:
        try:
            decided += replay.feed(_copy(event), FOREVER)
        except InvalidEvent as refused:
            problems.append((test.line, f"an event can't be used: {refused}"))
    decided += replay.finish(test.until)
    rules = test.rules or [rule.name for rule in topology.rules]
    segments = test.segments or [segment.name for segment in topology.segments]
    looked_at = [decision for decision in decided if decision.rule in rules]
    changes = [change for change in replay.changes if change.segment in segments]
    if test.expected is not None:
        problems += _differences(test, test.expected, looked_at)
    if test.changes is not None:
        problems += change_differences(test, test.changes, changes)
    named = {change.id: f"{change.change} segment {change.segment}" for change in replay.changes}
    return Outcome(test, problems, list(_steps(test, looked_at, changes, named)))


def _copy(event: Event) -> Event:
    return msgspec.structs.replace(event)


def _differences(test: RuleTest, wanted: tuple[Expected, ...], decided: list[Decision]) -> Iterator[tuple[int, str]]:
    missing, left = unpaired(wanted, decided, partial(_misses, test))
    misses = {
        (n, m): _misses(test, expected, each)
        for n, expected in enumerate(missing)
        for m, each in enumerate(left)
        if _alike(expected, each)
    }
    like: dict[int, int] = {}
    for n, m in sorted(misses, key=lambda pair: len(misses[pair])):  # those first that were rather meant
        if n not in like and m not in like.values():
            like[n] = m
    for n, expected in enumerate(missing):
        why = f"but {', '.join(misses[n, like[n]])}" if n in like else "that was not decided"
        yield expected.line, f"expected {_wanted(expected)}; {why}"
    for m, each in enumerate(left):
        if m not in like.values():
            yield test.line, f"not expected: {_told(each)}, {_when(test, each)}"


def _alike(expected: Expected, decision: Decision) -> bool:
    """Whether it is rather the one that was meant than another one."""
    return (
        expected.rule in (None, decision.rule)
        and expected.key in (None, decision.correlation_key)
        and expected.stage in (None, decision.stage)
    )


def _misses(test: RuleTest, expected: Expected, decision: Decision) -> list[str]:
    """What of a decision isn't as expected, each as "it was this, not that"."""
    line = public(decision)
    pairs: list[tuple[str, Any, Any]] = [
        ("rule", decision.rule, expected.rule),
        ("outcome", decision.outcome, expected.outcome),
        ("reason", decision.reason, expected.reason),
        ("key", decision.correlation_key, expected.key),
        ("stage", decision.stage, expected.stage),
        ("due", span(decision.due_at - test.begins), maybe_span(expected.due)),
        ("decided", span(decision.decided_at - test.begins), maybe_span(expected.decided)),
    ]
    pairs += [(f"payload.{name}", line["payload"].get(name), value) for name, value in expected.payload.items()]
    pairs += [(f"contact.{name}", decision.contact.get(name), value) for name, value in expected.contact.items()]
    out = [
        f"{name} is {shown(told)}, not {shown(wanted)}"
        for name, told, wanted in pairs
        if wanted is not None and not _fits(told, wanted)
    ]
    for namespace, value in expected.who.items():
        values = decision.identifiers.get(namespace, [])
        if value not in values:
            out.append(f"{namespace} is {', '.join(values) or 'not known'}, not {value}")
    return out


def _fits(told: Any, wanted: Any) -> bool:
    """Whether all that is wanted is told: mappings may hold more."""
    if isinstance(wanted, dict) and isinstance(told, dict):
        return all(_fits(told.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(told, list):
        return len(wanted) == len(told) and all(map(_fits, told, wanted))
    return bool(told == wanted)


def _wanted(expected: Expected) -> str:
    who = f" of {' '.join(expected.who.values())}" if expected.who else ""
    key = f", key {expected.key}" if expected.key is not None else ""
    reason = f" ({expected.reason})" if expected.reason else ""
    stage = f", stage {expected.stage}" if expected.stage else ""
    return f"{expected.rule or 'a decision'}{who}{key}{stage}: {expected.outcome}{reason}"


def _told(decision: Decision) -> str:
    who = " ".join(values[0] for values in decision.identifiers.values())
    key = f", key {decision.correlation_key}" if decision.correlation_key is not None else ""
    stage = f", stage {decision.stage}" if decision.stage else ""
    detail = f": {decision.detail}" if decision.detail else ""
    return f"{decision.rule} of {who}{key}{stage}: {decision.outcome} ({decision.reason}{detail})"


def _when(test: RuleTest, decision: Decision) -> str:
    return f"due {span(decision.due_at - test.begins)}, decided {span(decision.decided_at - test.begins)}"


def _steps(
    test: RuleTest, decided: list[Decision], changes: list[SegmentChange], named: dict[str, str]
) -> Iterator[str]:
    """Events by receipt, decisions when they were made, changes of segments. `named`: what by its id a change was."""
    steps: list[tuple[int, int, str]] = []
    for event in test.events:
        body = ", ".join(f"{name}: {shown(value)}" for name, value in event.body.items())
        late = event.received_at > event.occurred_at
        occurred = f", occurred {span(event.occurred_at - test.begins)}" if late else ""
        who = " ".join(event.identifiers.values())
        steps.append((event.received_at, 0, f"{event.event_id} of {who}: {event.type} {{{body}}}{occurred}"))
    for decision in decided:
        by = f", by {named.get(decision.ended_by, decision.ended_by)}" if decision.ended_by else ""
        began = named.get(decision.cause_event_id, decision.cause_event_id)
        told = f"{_told(decision)}, due {span(decision.due_at - test.begins)}, began with {began}{by}"
        steps.append((decision.decided_at, 1, f"→ {told}"))
    steps += [(change.at, 1, f"→ {told_change(change)}") for change in changes]
    for at, _, said in sorted(steps, key=lambda step: step[:2]):
        yield f"{span(at - test.begins):>10}  {said}"
