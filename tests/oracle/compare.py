"""Making decisions comparable: the oracle's with each other, and with the lines of `pipeline replay`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

NOT_COMPARED = ("id", "profile_id", "retracts")
TIMES = ("occurred_at", "due_at", "decided_at")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sort_key(decision: dict[str, Any]) -> str:
    """A total order of decisions in which equal ones are neighbours."""
    first = [decision["decided_at"], decision["rule"], decision["correlation_key"] or "", decision["cause_event_id"]]
    return f"{first[0]:020d}" + json.dumps([first, comparable(decision)], sort_keys=True)


def comparable(decision: dict[str, Any]) -> dict[str, Any]:
    """A decision of the oracle, or one decoded line of `replay`: times in ms, numbers rounded, no ids of our making;
    an empty contact is none."""
    kept = {name: value for name, value in decision.items() if name not in NOT_COMPARED}
    if not kept.get("contact"):
        kept.pop("contact", None)
    if isinstance((kept.get("payload") or {}).get("lines"), list):
        kept["payload"] = {**kept["payload"], "lines": in_one_order(kept["payload"]["lines"])}
    for name in TIMES:
        if isinstance(kept.get(name), str):
            kept[name] = milliseconds(kept[name])
    return plain(kept)


def in_one_order(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of a cart; those beside each other that have one product and variant in an order of our own."""
    runs = groupby(lines, key=lambda line: (line.get("product"), line.get("variant")))
    return [line for _, run in runs for line in sorted(run, key=lambda line: json.dumps(plain(line), sort_keys=True))]


def milliseconds(text: str) -> int:
    """RFC 3339 -> UTC ms."""
    return (datetime.fromisoformat(text.replace("Z", "+00:00")) - EPOCH) // timedelta(milliseconds=1)


def plain(value: Any) -> Any:
    """The same value, with floats rounded to 1e-4 and whole ones as ints."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        value = round(value, 4)
        return int(value) if value == int(value) else value
    return value


def difference(expected: list[dict[str, Any]], actual: list[dict[str, Any]]) -> str:
    """What is only in one of two lists, as text; empty when they hold the same decisions."""
    left = sorted(json.dumps(comparable(d), sort_keys=True) for d in expected)
    right = sorted(json.dumps(comparable(d), sort_keys=True) for d in actual)
    for same in list(left):
        if same in right:
            left.remove(same)
            right.remove(same)
    return "\n".join([f"missing: {line}" for line in left] + [f"not expected: {line}" for line in right])
