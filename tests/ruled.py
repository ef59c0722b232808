"""Rules written in a test as they stand in topology.yaml, and what little histories lead to by them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from pipeline.grammar.reader import Reader
from pipeline.topology import build
from pipeline.topology.check import check
from pipeline.topology.grammar import document
from pipeline.topology.model import Topology
from tests.oracle.build import BASE, MINUTE
from tests.oracle.compare import milliseconds
from tests.replayed import replayed

SHIPPED = Path(__file__).parents[1] / "topology.yaml"


@cache
def ruled(triggers: str, time: str = "") -> Topology:
    """The shipped topology with these `triggers` instead, and with these entries of `time`."""
    reader = Reader("test.yaml")
    with patch.object(yaml, "SafeLoader", yaml.CSafeLoader):  # libyaml's reads faster, and no message is looked at
        told = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
        told["triggers"] = yaml.safe_load(triggers)
        told["time"].update(yaml.safe_load(time) or {})
        values = reader.read(json.dumps(told), document())
    check(values, reader)
    assert not [finding for finding in reader.findings if finding.severity == "error"], reader.findings
    return build.topology(values)


def decided(topology: Topology, events: Iterable[dict[str, Any]], *, open_end: bool = False) -> list[str]:
    """Each decision in a line, in order: `decided_at outcome reason cause due_at`, times in minutes after BASE, and
    what else there is: `/stage` behind the reason, `key=` where there is one, `by=` what ended it, or showed it.
    """
    made = replayed(events, topology, open_end=open_end)
    return [_line(each) for each in sorted(made, key=lambda each: (each["decided_at"], each["due_at"]))]


def _line(told: dict[str, Any]) -> str:
    stage = f"/{told['stage']}" if "stage" in told else ""
    key = f" key={told['correlation_key']}" if told["correlation_key"] is not None else ""
    by = told.get("ended_by") or told.get("late_event_id")
    due, at = (_minutes(told[name]) for name in ("due_at", "decided_at"))
    what = f"{told['outcome']} {told['reason']}{stage}"
    return f"{at} {what} {told['cause_event_id']} {due}{key}" + (f" by={by}" if by else "")


def _minutes(text: str) -> str:
    return f"{(milliseconds(text) - BASE) / MINUTE:g}"
