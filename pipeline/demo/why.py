"""Why a reminder fired or didn't, told from its decision and from the events that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.events.model import Event

Decision = Mapping[str, Any]


class Recorded:
    """Events by id, as they were recorded."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = list(events)
        self._by_id = {event.event_id: event for event in self.events}

    def find(self, event_id: str) -> Event | None:
        """The event; None: nobody sent it, it is made of a segment's change."""
        return self._by_id.get(event_id)

    def tie(self, a: Event | None, b: Event | None) -> Event | None:
        """The event that first tied what the two carry, when they carry nothing in common."""
        if a is None or b is None:
            return None
        ours, theirs = set(a.identifiers.items()), set(b.identifiers.items())
        if ours & theirs:
            return None
        both = (e for e in self.events if (ids := set(e.identifiers.items())) & ours and ids & theirs)
        return min(both, key=lambda e: e.received_at, default=None)


def when(ms: int) -> str:
    """`Mon 19:02`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%a %H:%M")


def device(event: Event) -> str:
    """Who or what an event came from."""
    return " as ".join(event.identifiers[n] for n in ("anonymous_id", "user_id") if n in event.identifiers)


def did(event: Event | None) -> str:
    """An event in a few words, and where."""
    if event is None:
        return "entered or left a segment"
    return f"{what(event)} on {device(event)}"


def what(event: Event) -> str:
    """An event in a few words."""
    kind, body = event.type.replace("_", " "), event.body
    named = body.get("product_id") or body.get("film") or body.get("message_id") or body.get("order_id")
    return f"{kind} {named}" if named else kind


def why(decision: Decision, recorded: Recorded) -> list[tuple[str, str]]:
    """(moment, what happened), in order of time: the way from the cause to the decision."""
    cause = recorded.find(decision["cause_event_id"])
    steps: list[tuple[int, str]] = [
        (decision["occurred_at"], f"{did(cause)}: the wait counts from here"),
    ]
    outcome, due = decision["outcome"], decision["due_at"]
    if outcome == "cancelled":
        end = recorded.find(decision["ended_by"])
        steps.append((due if end is None else end.occurred_at, did(end)))
        tie = recorded.tie(cause, end)
        if tie is not None:
            steps.append((tie.received_at, f"login on {device(tie)}: both devices are one person"))
        steps.append((due, f"would be due, but: {decision['reason']}"))
        verdict = "cancelled: nobody is reminded"
    elif outcome == "retracted":
        late = recorded.find(decision["late_event_id"])
        steps.append((due if late is None else late.occurred_at, f"{did(late)}, of which nobody heard yet"))
        steps.append((due, "due, and fired"))
        verdict = f"heard of it now: {decision['reason']}. The trigger is taken back, by its id"
    else:
        steps.append((due, "due: nothing had ended it"))
        verdict = "fired, having waited 5 minutes for what may be on its way"
    steps.append((decision["decided_at"], verdict))
    return [(when(at), said) for at, said in sorted(steps, key=lambda step: step[0])]
