"""Checked values -> starts that are more than one event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from pipeline.grammar.operands import NAMED
from pipeline.language.events import tell
from pipeline.language.leaves.trait import TELLS
from pipeline.language.references import COMPARABLE
from pipeline.topology import model

Where = Mapping[str, Mapping[str, Any]]


def steps(start: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], bool, int | None]]:
    """Of a sequence: what is said of each event, whether it must not happen, and for how long."""
    return [(each.get("not", each), "not" in each, each.get("for")) for each in start.get("sequence", ()) if each]


def lasts(start: Mapping[str, Any]) -> int | None:
    """How long a sequence's last step must not happen, ms; None: it has none of the kind."""
    every = steps(start)
    return every[-1][2] if every and every[-1][1] else None


def path_of(date: Mapping[str, Any]) -> str:
    """Where a date stands."""
    return f"traits.{date['trait']}" if "trait" in date else str(date["field"])


def date(start: Mapping[str, Any], zone: str) -> model.Date | None:
    """`zone`: of whom nobody knows where they are."""
    told = start.get("date")
    if told is None:
        return None
    hour, _, minute = told.get("at", "").partition(":")
    return model.Date(
        path=path_of(told),
        zone=zone,
        offset_ms=told.get("offset", 0),
        minute=int(hour) * 60 + int(minute) if hour else None,
        yearly=told.get("every") == "year",
    )


def follows(start: Mapping[str, Any]) -> tuple[str, str] | None:
    """The rule that it starts by, and how that decides."""
    told = start.get("trigger")
    return None if told is None else (told["rule"], told.get("outcome", "fired"))


def telling(date: Mapping[str, Any]) -> model.Selector:
    """The events that tell a date."""
    if "trait" in date:
        return model.Selector(events=TELLS, where={path_of(date): {"exists": True}})
    return model.Selector(events=tuple(date["event"]), where=date.get("where", {}))


def sequence(start: Mapping[str, Any]) -> model.Sequence | None:
    """What a step tells stands for a start's under the step's name."""
    if "sequence" not in start:
        return None
    names = [each["as"] for each in start["sequence"] if "as" in each]
    return model.Sequence(
        steps=tuple(
            model.Step(select=_selector(told, names), name=told.get("as"), absent=absent)
            for told, absent, _ in steps(start)
        ),
        within_ms=start["within"],
    )


def breaks(
    found: model.Sequence | None, per: str | None, keyless: Literal["shared", "ignore"]
) -> tuple[model.Cancel, ...]:
    """What must not happen after the last step ends the wait: that of its key, or every one where a type has none.
    `keyless`: see model.Rule.without_key.
    """
    if found is None or not found.steps[-1].absent:
        return ()
    select = found.steps[-1].select
    keyed = tuple(event for event in select.events if per is not None and tell((event,), per))
    others = tuple(event for event in select.events if event not in keyed)
    without_key: Literal["shared", "none"] = "shared" if keyless == "shared" else "none"
    cancels = []
    if keyed:
        of_keys = msgspec.structs.replace(select, events=keyed)
        cancels.append(model.Cancel(select=of_keys, reason=model.BROKEN, match=per, without_key=without_key))
    if others:
        cancels.append(model.Cancel(select=msgspec.structs.replace(select, events=others), reason=model.BROKEN))
    return tuple(cancels)


def _selector(told: Mapping[str, Any], names: Sequence[str]) -> model.Selector:
    where = {path: {op: _meant(op, each, names) for op, each in tests.items()} for path, tests in _where(told).items()}
    return model.Selector(events=tuple(told["event"]), where=where)


def _where(told: Mapping[str, Any]) -> Where:
    found: Where = told.get("where", {})
    return found


def _meant(operator: str, operand: Any, names: Sequence[str]) -> Any:
    return f"start.{operand}" if step_named(operator, operand) in names else operand


def step_named(operator: str, operand: Any) -> str | None:
    """The step that an operand may speak of."""
    if operator not in COMPARABLE or not isinstance(operand, str):
        return None
    found = NAMED.fullmatch(operand)
    return found["name"] if found else None
