"""Decisions: what a rule concluded, and how it is named."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.events.times import rfc3339

DAY = 86_400_000


class Decision(msgspec.Struct, gc=False, kw_only=True, omit_defaults=True):
    """One outcome of a rule for one person. Times in UTC ms.

    `outcome`: fired, cancelled, suppressed, retracted or recovered. `stage`: its name, where a wait has several; of one
    that was cancelled the next one's. `occurred_at` is the cause's. `correlation_key` None: the
    instance of events without a key. `trace`: the cause's W3C traceparent. `left_out`: source partitions that were not
    waited for. `contact`: what is needed to write to them: email, name, locale, timezone, each if it was told.
    `published` False: it was due in the time of a recording that was ingested without triggers. `bounded`: more was
    told than is kept of one person, or than a record takes, and it might have been otherwise, or tell more. `recovers`:
    the trigger's id, of what is `recovered`. `basis`: what began it, `event` or `time`; `arrival`: of a rule that
    decides on arrival. `fingerprint`: of the rule's meaning. `detail`: more of the reason, in words.
    """

    id: str
    outcome: str
    reason: str
    rule: str
    rule_version: int
    profile_id: str
    identifiers: dict[str, list[str]]
    correlation_key: str | None
    cause_event_id: str
    occurred_at: int
    due_at: int
    decided_at: int
    payload: dict[str, Any]
    ended_by: str | None = None
    retracts: str | None = None
    late_event_id: str | None = None
    trace: str | None = None
    left_out: list[str] = []
    contact: dict[str, str] = {}
    published: bool = True
    bounded: bool = False
    stage: str | None = None
    recovers: str | None = None
    basis: str = "event"
    fingerprint: str = ""
    detail: str = ""


def named(*parts: object) -> str:
    """24 hexadecimal characters."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def decision_id(
    rule: str, version: int, key: str, cause_event_id: str, cause_fingerprint: int, stage: str | None = None
) -> str:
    """From the cause alone, so that a replay gives the same: rule, version, key, event id and its identifiers; and the
    stage, where a wait has several.
    """
    of_stage = () if stage is None else (stage,)
    return named(rule, version, key, cause_event_id, cause_fingerprint, *of_stage)


def retraction_id(trigger_id: str) -> str:
    """From the trigger's id."""
    return named("retracted", trigger_id)


def recovery_id(trigger_id: str) -> str:
    """From the trigger's id."""
    return named("recovered", trigger_id)


def bounded(decision: Decision, items: int) -> Decision:
    """The same with less in it: of each namespace, and of each list in the payload, so many at most. 0: one identifier
    of each namespace, and no payload.
    """
    payload = _shorter(decision.payload, items) if items else {}
    return msgspec.structs.replace(
        decision,
        identifiers={ns: values[: items or 1] for ns, values in decision.identifiers.items()},
        payload=payload,
        bounded=True,
    )


def _shorter(value: Any, items: int) -> Any:
    """The same with so many items of each list at most."""
    if isinstance(value, dict):
        return {name: _shorter(each, items) for name, each in value.items()}
    return value[:items] if isinstance(value, list) else value


def public(decision: Decision) -> dict[str, Any]:
    """A decision as people and other programs read it: one line of `pipeline replay`."""
    line: dict[str, Any] = {
        "id": decision.id,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "rule": decision.rule,
        "rule_version": decision.rule_version,
        "profile_id": decision.profile_id,
        "identifiers": {ns: sorted(values) for ns, values in sorted(decision.identifiers.items())},
        "correlation_key": decision.correlation_key,
        "cause_event_id": decision.cause_event_id,
        "occurred_at": rfc3339(decision.occurred_at),
        "due_at": rfc3339(decision.due_at),
        "decided_at": rfc3339(decision.decided_at),
        "payload": decision.payload,
    }
    if decision.contact:
        line["contact"] = dict(sorted(decision.contact.items()))
    for name in ("stage", "ended_by", "retracts", "late_event_id", "recovers"):
        if (value := getattr(decision, name)) is not None:
            line[name] = value
    if decision.detail:
        line["detail"] = decision.detail
    if decision.basis != "event":
        line["basis"] = decision.basis
    if decision.left_out:
        line["left_out"] = decision.left_out
    if decision.bounded:
        line["bounded"] = True
    return line
