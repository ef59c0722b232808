"""`pipeline explain` of rules that start by a sequence, or wait up to a date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from pipeline.cli import cli

BASE = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text(encoding="utf-8"))
RULES = """
seq:
  version: 1
  start:
    sequence:
      - {event: page_viewed, where: {path: /pricing}, as: a}
      - {not: {event: order_completed}}
      - {event: searched, where: {query: a.path}}
      - {not: {event: page_viewed, where: {path: /thanks}}, for: 2h}
    within: 1d
due:
  version: 1
  start: {date: {trait: renewal, at: "09:00"}}
course:
  version: 1
  start: {date: {event: custom, field: properties.starts_at}}
reads:
  version: 1
  start: {when: {segment: free_readers}}
  after: 1m
"""
SEGMENTS = """
readers: {when: {did: page_viewed, times: 2, within: 3d}}
free_readers: {when: {all: [{trait: plan, is: free}, {segment: readers}]}}
"""


def explained(folder: Path, rule: str, *events: tuple[str, str, dict[str, Any]]) -> list[str]:
    """Events are (clock, name, what it tells)."""
    told = {**BASE, "triggers": yaml.safe_load(RULES), "segments": yaml.safe_load(SEGMENTS)}
    topology, file = folder / "t.yaml", folder / "events.jsonl"
    topology.write_text(yaml.safe_dump(told, sort_keys=False), "utf-8")
    lines = []
    for number, (at, name, told) in enumerate(events, 1):
        when = f"2026-11-20T{at}:00Z"
        kind: dict[str, Any] = {"type": "track", "event": name, "properties": told}
        kind = {"type": "identify", "traits": told} if name == "identify" else kind
        kind = {"type": "page", "properties": told} if name == "page" else kind
        lines.append(
            json.dumps({**kind, "messageId": f"m{number}", "timestamp": when, "receivedAt": when, "userId": "ann"})
        )
    file.write_text("\n".join(lines), "utf-8")
    found = CliRunner().invoke(cli, ["explain", "user_id:ann", rule, str(file), "--topology", str(topology)])
    assert found.exit_code == 0, found.output
    return [line.strip().removeprefix("2026-11-20T") for line in found.output.splitlines()[1:]]


def test_which_step_each_event_may_be(tmp_path: Path) -> None:
    said = explained(
        tmp_path,
        "seq",
        ("10:00", "page", {"path": "/pricing"}),
        ("10:01", "Products Searched", {"query": "/pricing"}),
        ("10:02", "page", {"path": "/"}),
    )
    assert said[0] == "10:00:00.000Z  page_viewed m1: may be step 1 of 3"
    assert "10:01:00.000Z  searched m2: may be step 3 of 3, where query, /pricing, is a.path" in said
    assert "isn't step 1 of 3: path is /, but the rule wants that it is /pricing" in "\n".join(said)
    assert said[-1].endswith("→ fired (due), due 2026-11-20T12:01:00.000Z"), said


def test_a_rule_that_starts_by_a_segment_says_what_that_looks_at(tmp_path: Path) -> None:
    said = explained(
        tmp_path,
        "reads",
        ("10:00", "page", {"path": "/docs"}),
        ("10:01", "identify", {"plan": "free"}),
        ("10:02", "page", {"path": "/docs"}),
    )
    assert [line[15:] for line in said] == [
        "page_viewed m1: is counted; segment readers: not so, did page_viewed at least 2 times within 3d, and it is 1",
        "identified m2: is counted; segment free_readers: not so, they aren't in readers",
        "page_viewed m3: is counted; segment readers: so, did page_viewed at least 2 times within 3d",
        "→ fired (due), due 2026-11-20T10:03:00.000Z",
    ], said


def test_up_to_when_it_waits(tmp_path: Path) -> None:
    said = explained(
        tmp_path,
        "due",
        ("10:00", "identify", {"renewal": "2026-12-01"}),
        ("10:01", "identify", {"renewal": "2026-10-01"}),
        ("10:02", "identify", {"other": "x"}),
    )
    assert "m1: starts a wait up to 2026-12-01 09:00:00 where they are, or moves it there" in said[0]
    assert "m2: is no start: 2026-10-01 is no date that is to come" in said[1]
    assert "m3: is no start: traits.renewal is missing" in said[2]
    assert "cancelled (date_changed) by m2" in said[3]


def test_a_moment_is_one_wherever_they_are(tmp_path: Path) -> None:
    said = explained(tmp_path, "course", ("10:00", "Course Booked", {"starts_at": "2026-12-01T09:00:00+01:00"}))
    assert "starts a wait up to 2026-12-01T08:00:00.000Z, or moves it there" in said[0], said
