"""What is decided, as it is told: decisions from waits, and what is said of a trigger later."""

from __future__ import annotations

from typing import Any

from pipeline.triggers.contact import contact_of
from pipeline.triggers.decisions import Decision, decision_id, named, recovery_id, retraction_id
from pipeline.triggers.facts import End, Fact, Fired, Key, Wait
from pipeline.triggers.happening import known_as
from pipeline.triggers.payloads import Waited
from pipeline.triggers.person import Person
from pipeline.triggers.rules import Compiled

SHARED = ""  # the correlation key of events without one


def refused(rule: Compiled, person: Person, name: str, key: Key, start: Fact) -> Decision:
    """A start for which there is no room (docs/semantics.md, Bounds)."""
    length = rule.after if start.length is None else start.length
    lines = start.leaves(key.lines)[0]
    wait = Wait(start, start.order, start.occurred_at + length, lines=lines, kept=start.kept)
    decision = decision_of(rule, person, name, wait, "suppressed", "too_many", start.received_at)
    decision.bounded = True
    return decision


def decision_of(
    rule: Compiled, person: Person, key: str, wait: Wait, outcome: str, reason: str, clock: int
) -> Decision:
    cause = wait.cause
    stage = rule.stages[wait.stage].name if rule.stages else None
    return Decision(
        id=_id_of(rule, key, wait, stage),
        outcome=outcome,
        reason=reason,
        rule=rule.name,
        rule_version=rule.version,
        fingerprint=rule.fingerprint,
        profile_id="",
        identifiers={ns: list(values) for ns, values in person.ids.items()},
        correlation_key=key if key != SHARED else None,
        cause_event_id=known_as(cause.event_id),
        occurred_at=cause.occurred_at,
        due_at=wait.due,
        decided_at=clock,
        payload=_payload(rule, person, key, wait, clock),
        ended_by=(known_as(wait.end[3]) or None) if wait.end is not None else None,
        trace=cause.trace,
        contact=contact_of(person.contact, person.ids),
        basis=_basis(rule, cause.timed),
        stage=stage,
    )


def _basis(rule: Compiled, timed: bool) -> str:
    return "arrival" if rule.arrives else "time" if timed else "event"


def _id_of(rule: Compiled, key: str, wait: Wait, stage: str | None) -> str:
    cause = wait.cause
    if rule.date is not None:
        return named(rule.name, rule.version, key, wait.due - rule.after, cause.event_id, cause.fingerprint)
    if not cause.timed:
        return decision_id(rule.name, rule.version, key, cause.event_id, cause.fingerprint, stage)
    of_stage = () if stage is None else (stage,)
    return named(rule.name, rule.version, key, cause.occurred_at, cause.event_id, cause.fingerprint, *of_stage)


def _payload(rule: Compiled, person: Person, key: str, wait: Wait, clock: int) -> dict[str, Any]:
    tell = rule.stages[wait.stage].payload if rule.stages else rule.payload
    return tell(Waited(key, wait.lines, wait.cause.told, wait.kept or {}, person, clock))


def retraction(rule: Compiled, person: Person, key: str, fired: Fired, end: End) -> Decision:
    """A trigger is taken back, as this end shows."""
    of = retraction_id(fired.id)
    return _of_trigger(
        rule,
        person,
        key,
        fired,
        end,
        id=of,
        outcome="retracted",
        retracts=fired.id,
        late_event_id=known_as(end.event_id),
    )


def recovered(rule: Compiled, person: Person, key: str, fired: Fired, end: End) -> Decision:
    """A trigger had this success."""
    of = recovery_id(fired.id)
    return _of_trigger(
        rule,
        person,
        key,
        fired,
        end,
        id=of,
        outcome="recovered",
        recovers=fired.id,
        ended_by=known_as(end.event_id),
    )


def _of_trigger(rule: Compiled, person: Person, key: str, fired: Fired, end: End, **more: Any) -> Decision:
    """What is said of one later."""
    return Decision(
        reason=end.reason,
        rule=rule.name,
        rule_version=rule.version,
        fingerprint=rule.fingerprint,
        profile_id="",
        identifiers={ns: list(values) for ns, values in person.ids.items()},
        correlation_key=key if key != SHARED else None,
        cause_event_id=known_as(fired.cause_event_id),
        occurred_at=fired.occurred_at,
        due_at=fired.due,
        decided_at=end.received_at,
        payload={},
        contact=contact_of(person.contact, person.ids),
        bounded=fired.bounded,
        published=fired.published,
        basis=_basis(rule, fired.timed),
        stage=fired.stage,
        **more,
    )
