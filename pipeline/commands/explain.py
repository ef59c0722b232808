"""`pipeline explain`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.commands.common import end_option, errors_console, plural, topology_option
from pipeline.commands.person import facts
from pipeline.commands.profile import identifier_of, whoever
from pipeline.commands.replay import Run
from pipeline.commands.summary import Summary
from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.files import Recording
from pipeline.events.times import rfc3339
from pipeline.flow import Intake
from pipeline.grammar.findings import suggest
from pipeline.identity.ids import leaf_id
from pipeline.profile.profile import Profile, advance, one_of
from pipeline.runtime.recordings import merged
from pipeline.runtime.replay import FOREVER
from pipeline.topology import Topology, rehearsal
from pipeline.topology.model import Rule
from pipeline.triggers import happening
from pipeline.triggers.changes import SegmentChange
from pipeline.triggers.decisions import Decision, public
from pipeline.triggers.explain import Explainer, Step, known
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row

Told = dict[str, Any]


@click.command("explain")
@click.argument("identifier", metavar="NAMESPACE:VALUE")
@click.argument("name", metavar="RULE")
@click.argument(
    "files", metavar="[FILE...]", nargs=-1, type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
)
@topology_option
@click.option("--key", metavar="KEY", help="Only this cart, message or film; what concerns all of them, too.")
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON object.")
@end_option("decide everything that waits, or leave it waiting and say how it stands.")
def command(
    identifier: str, name: str, files: tuple[Path, ...], topology: Path, key: str | None, as_json: bool, end: str
) -> None:
    """Say why a rule did, didn't, or doesn't yet fire for a person: each of their events that the rule looks at, in the
    order in which they were received, with what it is to the rule or which condition it doesn't meet; what was decided;
    what waits.

    Over recorded events (FILE, read as `pipeline replay` does, twice), or, without one, from what Redis still holds of
    the person: the events of waits that aren't decided yet.

    Exit code: 0, or 1 when nobody is known by that identifier.

    \b
    Examples:
      pipeline explain user_id:u-17 abandoned_cart monday.jsonl.gz
      pipeline explain email:anna@example.org ebook_not_clicked --key m-8841
    """
    tried = rehearsal(topology)
    rule = _rule(tried.whole, name)
    wanted = tried.with_on([name]) if files else tried.topology
    if rule not in wanted.rules:
        message = f"{name} is switched off (`enabled: false`): name recordings to see what it would have done"
        raise click.BadParameter(message, param_hint="RULE")
    namespace, value = identifier_of(wanted, identifier)
    told = _recorded(wanted, rule, namespace, value, files, end) if files else _live(wanted, rule, namespace, value)
    if key is not None:
        told["steps"] = [step for step in told["steps"] if step["key"] in (None, key)]
        for part in ("decisions", "waiting"):
            told[part] = [each for each in told[part] if each["correlation_key"] == key]
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        for line in _lines(told):
            click.echo(line)


def _rule(topology: Topology, name: str) -> Rule:
    rules = {rule.name: rule for rule in topology.rules}
    if name in {segment.name for segment in topology.segments}:
        message = f"{name} is a segment: `pipeline profile` says who is in it; name a rule that speaks of it"
        raise click.BadParameter(message, param_hint="RULE")
    if name not in rules:
        raise click.BadParameter(f"no rule {name!r} in the topology; {suggest(name, rules)}", param_hint="RULE")
    return rules[name]


def _recorded(topology: Topology, rule: Rule, namespace: str, value: str, files: tuple[Path, ...], end: str) -> Told:
    summary = Summary(topology.time.disorder_ms, errors_console())
    run = Run(topology, complete=end == "complete", lines=summary)
    changes: list[SegmentChange] = []
    run.beside = changes.append
    of_rule = [decision for decision in run.over(merged(map(Recording, files))) if decision.rule == rule.name]
    summary.tell()
    replay, book = run.replay, run.replay.book
    profile = replay.profiles.get(replay.graph.root(leaf_id(namespace, value)))
    if profile is None:
        raise PipelineError(f"nobody is known by {namespace}:{value} in {plural(len(files), 'file')}")
    advance(book, profile, FOREVER if end == "complete" else replay.high + 1)
    person = _person(profile, namespace, value)
    explainer = Explainer(book, rule)
    rows = [*_rows(topology, book, person, files, run.clock), *_made(person, changes)]
    rows.sort(key=attrgetter("received_at"))
    steps = [step for row in rows for step in explainer.steps(row)]
    decisions = [public(decision) for decision in of_rule if _theirs(person, decision)]
    waiting = facts(book, "", profile, 0, (namespace, value))["waiting"] if end == "open" else []
    return _told(rule, person, [_step(step) for step in steps], decisions, waiting)


def _live(topology: Topology, rule: Rule, namespace: str, value: str) -> Told:
    book = RuleBook(topology)
    profile_id, profile, clock = whoever(topology, namespace, value)
    found = facts(book, profile_id, profile, clock, (namespace, value))
    person = _person(profile, namespace, value)
    state = person.rules.get(rule.name)
    steps = [
        _kept(key or None, at, event_id, says)
        for key, at, event_id, says in (known(book.rules[rule.name], state) if state else ())
    ]
    explainer = Explainer(book, rule, person.heard.get(happening.HERE, ()))
    rows = one_of(profile_id, profile, namespace, value)[1].buffer
    steps += [_step(step) for row in rows for step in explainer.steps(row)]
    retractable = [
        {**each, "outcome": "fired", "reason": "due"}  # when it was decided isn't kept
        for each in found["retractable"]
        if each["rule"] == rule.name
    ]
    early = [each for each in found.get("on_arrival", ()) if each["rule"] == rule.name]
    return _told(rule, person, steps, [*retractable, *early], found["waiting"])


def _told(rule: Rule, person: Person, steps: list[Told], decisions: list[Told], waiting: list[Told]) -> Told:
    return {
        "rule": rule.name,
        "identifiers": {namespace: sorted(values) for namespace, values in sorted(person.ids.items())},
        "steps": steps,
        "decisions": decisions,
        "waiting": [each for each in waiting if each["rule"] == rule.name],
    }


def _person(profile: Profile, namespace: str, value: str) -> Person:
    """Who is known by that identifier; as far as the fold has come."""
    found = (person for person in profile.persons if person.has(namespace, value))
    return next(found, None) or Person({namespace: [value]})


def _theirs(person: Person, told: Decision | SegmentChange) -> bool:
    return any(person.has(namespace, value) for namespace, values in told.identifiers.items() for value in values)


def _rows(topology: Topology, book: RuleBook, person: Person, files: tuple[Path, ...], clock: int) -> Iterator[Any]:
    """What the rules see of each event that carries one of the person's identifiers."""
    intake, high = Intake(topology, book), 0
    for offset, line in enumerate(merged(map(Recording, files))):
        if line.event is None:
            continue
        try:
            row, _ = intake.prepare(line.event, offset, high, clock)
        except InvalidEvent:  # told with the summary
            continue
        high = max(high, line.event.received_at)
        if any(person.has(row.ids[i], row.ids[i + 1]) for i in range(0, len(row.ids), 2)):
            yield row


def _made(person: Person, changes: list[SegmentChange]) -> list[Row]:
    """What is made of the changes of the person's segments."""
    return [
        happening.change(change.change, change.segment, change.at, change.id)
        for change in changes
        if change.reason in ("event", "time") and _theirs(person, change)
    ]


def _kept(key: str | None, occurred_at: int, event_id: str, says: str) -> Told:
    at = rfc3339(occurred_at)
    return {"occurred_at": at, "event_id": event_id, "event": None, "key": key, "counts": True, "says": says}


def _step(step: Step) -> Told:
    return {
        "occurred_at": rfc3339(step.occurred_at),
        "received_at": rfc3339(step.received_at),
        "event_id": step.event_id,
        "event": step.event,
        "key": step.key,
        "counts": step.counts,
        "says": step.says,
        **({"what": step.what} if step.what else {}),
    }


def _lines(told: Told) -> Iterator[str]:
    who = ", ".join(f"{namespace}:{value}" for namespace, values in told["identifiers"].items() for value in values)
    yield f"{told['rule']}, for {who}"
    lines = [(step.get("received_at") or step["occurred_at"], 0, _shown_step(step)) for step in told["steps"]]
    lines += [(each.get("decided_at") or each["due_at"], 1, _shown_decision(each)) for each in told["decisions"]]
    for at, _, line in sorted(lines, key=lambda each: each[:2]):
        yield f"  {at}  {line}"
    for each in told["waiting"]:
        will, reason = each["will"]
        yield f"  {each['decided_at']}  → {_which(each)}waits, and will {will} ({reason}), due {each['due_at']}"
    if not told["decisions"] and not told["waiting"]:
        why = "." if any(step["counts"] for step in told["steps"]) else ": no event of theirs is anything to it."
        yield f"  Nothing was decided, and nothing waits{why}"


def _shown_step(step: Told) -> str:
    late = step.get("received_at") not in (None, step["occurred_at"])
    occurred = f", occurred {step['occurred_at']}" if late else ""
    what = step.get("what") or (f"{step['event']} {step['event_id']}" if step["event"] else step["event_id"])
    key = f" ({step['key']})" if step["key"] else ""
    return f"{what}{key}{occurred}: {step['says']}"


def _shown_decision(decision: Told) -> str:
    by = f" by {decision['ended_by']}" if decision.get("ended_by") else ""
    why = f": {decision['detail']}" if decision.get("detail") else ""
    return f"→ {_which(decision)}{decision['outcome']} ({decision['reason']}{why}){by}, due {decision['due_at']}"


def _which(decided: Told) -> str:
    """Its key, and its stage where there are several."""
    named = [name for name in (decided["correlation_key"], decided.get("stage")) if name]
    return f"{', '.join(named)}: " if named else ""
