"""`pipeline explain`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from pipeline.commands import explain_segment
from pipeline.commands.common import end_option, topology_option
from pipeline.commands.explaining import Over, Told, kept, named, person_of, shown_step, step_of, theirs, title
from pipeline.commands.person import facts
from pipeline.commands.profile import identifier_of, whoever
from pipeline.grammar.findings import suggest
from pipeline.profile.profile import one_of
from pipeline.topology import Topology, rehearsal
from pipeline.topology.model import Rule, Segment
from pipeline.triggers import happening
from pipeline.triggers.decisions import public
from pipeline.triggers.explain import Explainer, known
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook


@click.command("explain")
@click.argument("identifier", metavar="NAMESPACE:VALUE")
@click.argument("name", metavar="RULE|SEGMENT")
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

    Of a segment: why they are in it, or aren't: each event that it counts, when they entered and left and by what,
    which part of its condition holds, and when time alone will change that if nothing happens.

    Over recorded events (FILE, read as `pipeline replay` does, twice), or, without one, from what Redis still holds of
    the person: the events of waits that aren't decided yet.

    Exit code: 0, or 1 when nobody is known by that identifier.

    \b
    Examples:
      pipeline explain user_id:u-17 abandoned_cart monday.jsonl.gz
      pipeline explain email:anna@example.org ebook_not_clicked --key m-8841
      pipeline explain user_id:u-17 comparing_prices
    """
    tried = rehearsal(topology)
    of = _named(tried.whole, name)
    wanted = tried.with_on([name]) if files else tried.topology
    if of not in (*wanted.rules, *wanted.segments):
        message = f"{name} is switched off (`enabled: false`): name recordings to see what it would have done"
        raise click.BadParameter(message, param_hint="RULE|SEGMENT")
    namespace, value = identifier_of(wanted, identifier)
    if isinstance(of, Segment):
        if key is not None:
            raise click.BadParameter(f"{name} is a segment, which has no keys", param_hint="--key")
        told = explain_segment.told(wanted, name, namespace, value, files, end)
        lines = explain_segment.lines(told)
    else:
        told = _recorded(wanted, of, namespace, value, files, end) if files else _live(wanted, of, namespace, value)
        if key is not None:
            told["steps"] = [step for step in told["steps"] if step["key"] in (None, key)]
            for part in ("decisions", "waiting"):
                told[part] = [each for each in told[part] if each["correlation_key"] == key]
        lines = _lines(told)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        for line in lines:
            click.echo(line)


def _named(topology: Topology, name: str) -> Rule | Segment:
    every: dict[str, Rule | Segment] = {rule.name: rule for rule in topology.rules}
    every |= {segment.name: segment for segment in topology.segments}
    if name not in every:
        hint = suggest(name, every, "rules and segments")
        message = f"no rule or segment {name!r} in the topology" + (f"; {hint}" if hint else "")
        raise click.BadParameter(message, param_hint="RULE|SEGMENT")
    return every[name]


def _recorded(topology: Topology, rule: Rule, namespace: str, value: str, files: tuple[Path, ...], end: str) -> Told:
    over = Over(topology, namespace, value, files, end)
    explainer = Explainer(over.book, rule)
    steps = [step for row in over.rows() for step in explainer.steps(row)]
    decisions = [public(each) for each in over.decisions if each.rule == rule.name and theirs(over.person, each)]
    waiting = facts(over.book, "", over.profile, 0, (namespace, value))["waiting"] if end == "open" else []
    return _told(rule, over.person, [step_of(step) for step in steps], decisions, waiting)


def _live(topology: Topology, rule: Rule, namespace: str, value: str) -> Told:
    book = RuleBook(topology)
    profile_id, profile, clock = whoever(topology, namespace, value)
    found = facts(book, profile_id, profile, clock, (namespace, value))
    person = person_of(profile, namespace, value)
    state = person.rules.get(rule.name)
    steps = [
        kept(key or None, at, event_id, says)
        for key, at, event_id, says in (known(book.rules[rule.name], state) if state else ())
    ]
    explainer = Explainer(book, rule, person.heard.get(happening.HERE, ()))
    rows = one_of(profile_id, profile, namespace, value)[1].buffer
    steps += [step_of(step) for row in rows for step in explainer.steps(row)]
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
        "identifiers": named(person),
        "steps": steps,
        "decisions": decisions,
        "waiting": [each for each in waiting if each["rule"] == rule.name],
    }


def _lines(told: Told) -> Iterator[str]:
    yield title(told["rule"], told)
    lines = [(step.get("received_at") or step["occurred_at"], 0, shown_step(step)) for step in told["steps"]]
    lines += [(each.get("decided_at") or each["due_at"], 1, _shown_decision(each)) for each in told["decisions"]]
    for at, _, line in sorted(lines, key=lambda each: each[:2]):
        yield f"  {at}  {line}"
    for each in told["waiting"]:
        will, reason = each["will"]
        yield f"  {each['decided_at']}  → {_which(each)}waits, and will {will} ({reason}), due {each['due_at']}"
    if not told["decisions"] and not told["waiting"]:
        why = "." if any(step["counts"] for step in told["steps"]) else ": no event of theirs is anything to it."
        yield f"  Nothing was decided, and nothing waits{why}"


def _shown_decision(decision: Told) -> str:
    by = f" by {decision['ended_by']}" if decision.get("ended_by") else ""
    why = f": {decision['detail']}" if decision.get("detail") else ""
    return f"→ {_which(decision)}{decision['outcome']} ({decision['reason']}{why}){by}, due {decision['due_at']}"


def _which(decided: Told) -> str:
    """Its key, and its stage where there are several."""
    named = [name for name in (decided["correlation_key"], decided.get("stage")) if name]
    return f"{', '.join(named)}: " if named else ""
