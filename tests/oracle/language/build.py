"""Short words for the language's little histories. Times are minutes after BASE, as in tests/oracle/build.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.oracle.build import SPACES, Event, event, ms

Told = dict[str, Any]
Line = dict[str, Any]
MS = 1 / 60_000
"""A millisecond, in minutes."""


@dataclass(frozen=True)
class Example:
    """A history in log order, and what it must lead to, in any order. `line`: of the rule language's page."""

    line: int
    name: str
    topology: Told
    events: list[Event]
    expected: list[Line] = field(default_factory=list)
    changes: list[Line] = field(default_factory=list)
    open_end: bool = False


def rules(segments: Told | None = None, measures: Told | None = None, **triggers: Told) -> Told:
    """A topology of these rules."""
    return {
        "time": {"lateness": "5m", "disorder": "10s", "max_age": "72h"},
        "triggers": {name: {"version": 1, **told} for name, told in triggers.items()},
        "segments": {name: {"when": when} for name, when in (segments or {}).items()},
        "measures": measures or {},
    }


def viewed(id_: str, at: float, got: float | None = None, *, who: str = "a:phone", product: str = "p") -> Event:
    """Product viewed."""
    return event("product_viewed", id_, at, got, who, product_id=product)


def page(id_: str, at: float, got: float | None = None, *, who: str = "a:phone", path: str = "/pricing") -> Event:
    """Page viewed."""
    return event("page_viewed", id_, at, got, who, path=path)


def traits(id_: str, at: float, got: float | None = None, *, who: str = "a:phone", **told: Any) -> Event:
    """Traits told of a person."""
    return event("identified", id_, at, got, who, traits=told)


def bought(id_: str, at: float, got: float | None = None, *, who: str = "a:phone", **body: Any) -> Event:
    """Order completed, without a cart id unless it is given."""
    return event("order_completed", id_, at, got, who, **{"order_id": f"order-{id_}", **body})


def names(who: str) -> dict[str, list[str]]:
    """ "a:phone u:1" -> namespace -> values."""
    found: dict[str, list[str]] = {}
    for part in sorted(who.split()):
        found.setdefault(SPACES[part.split(":", 1)[0]], []).append(part.split(":", 1)[1])
    return found


def want(
    outcome: str,
    reason: str,
    cause: str,
    at: float,
    due: float,
    decided: float,
    *,
    key: str | None = None,
    rule: str = "r",
    who: str = "a:phone",
    basis: str = "event",
    **more: Any,
) -> Line:
    """An expected decision."""
    return {
        "rule": rule,
        "rule_version": 1,
        "correlation_key": key,
        "identifiers": names(who),
        "cause_event_id": cause,
        "occurred_at": ms(at),
        "due_at": ms(due),
        "decided_at": ms(decided),
        "outcome": outcome,
        "reason": reason,
        "payload": {},
        "basis": basis,
        **more,
    }


def made(what: str, at: float, *, segment: str = "s") -> str:
    """The id under which decisions are compared that a change of a segment began."""
    return f"{what} {segment} {ms(at)}"


def change(what: str, at: float, cause: str | None = None, reason: str | None = None, *, segment: str = "s") -> Line:
    """An expected change of a segment; its reason, unless it is given, by its cause."""
    told = reason or ("time" if cause is None else "event")
    return {"segment": segment, "change": what, "at": ms(at), "cause_event_id": cause, "reason": told}
