"""Rules that wait for nothing: each start is a wait of its own, due when it occurred (docs/semantics.md, 38).

What is decided closes nothing: no start moves, ends or overtakes another. A wait can only have ended in the millisecond
in which it started.
"""

from __future__ import annotations

from pipeline.triggers.facts import PAST, START, End, Fact, Key, Until, Wait
from pipeline.triggers.rules import Compiled


def next_due(rule: Compiled, key: Key) -> int | None:
    """See waits.next_due."""
    if not rule.arrives:  # in that order
        return next((fact.occurred_at + rule.lateness for fact in key.facts if fact.role == START), None)
    return min((fact.received_at for fact in key.facts if fact.role == START), default=None)


def walk(rule: Compiled, key: Key, everyone: list[End], until: Until | None = None) -> list[Wait]:
    """See waits.walk. What is decided first stands in front."""
    ends = sorted([*key.ends, *everyone], key=lambda end: (end.order, rule.place(end))) if key.ends or everyone else []
    waits = [_wait(rule, fact, ends, until) for fact in key.facts if fact.role == START]
    waits.sort(key=lambda wait: (wait.moment or 0, wait.last_start, wait.cause.fingerprint))
    return waits


def _wait(rule: Compiled, start: Fact, ends: list[End], until: Until | None) -> Wait:
    at, order = start.occurred_at, start.order
    wait = Wait(start, order, at, opened=start, kept=start.kept)
    if rule.arrives:
        wait.moment = start.received_at
    for end in ends:
        stands = order < end.order or end.before_start
        if stands and end.occurred_at <= at and end.takes is None and end.applies(start.kept):
            wait.end, wait.reason = end.order, end.reason
            return wait
    if until is not None and (found := until(at, at, at)) is not None:
        wait.end, wait.reason = (found[0], PAST, 0, found[1]), rule.until_reason
    return wait


def close(key: Key, wait: Wait) -> None:
    """See waits.close."""
    key.facts = [fact for fact in key.facts if fact is not wait.cause]
    if not key.facts:
        key.folded, key.bounded = None, False
