"""Whole topologies with something wrong in them: each is told with file, line and column, or loads, and then decides
something without a traceback. TOPOLOGY_MUTATIONS=1000 looks at that many.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import lru_cache
from pathlib import Path
from random import Random

import pytest
import yaml

from pipeline.errors import InvalidEvent, TopologyError
from pipeline.events.model import Event
from pipeline.runtime.replay import Replay
from pipeline.topology import lint, load
from pipeline.topology.model import Topology
from tests.topology_mutations import mutated
from tests.whole import doing

NUMBER = int(os.environ.get("TOPOLOGY_MUTATIONS", "150"))
STEP = 25
T0, HOUR = 1_772_445_600_000, 3_600_000


def small_history() -> list[Event]:
    """Two days of two people, who turn out to be one."""
    r = Random(1)
    found = []
    for number in range(60):
        kind, body = doing(r, "u0")
        at = T0 + number * HOUR * 48 // 60
        who = (
            {"anonymous_id": "a0", "user_id": "u0"}
            if number == 40
            else r.choice([{"user_id": "u0"}, {"anonymous_id": "a0"}])
        )
        found.append(Event(kind, f"e{number}", at, at + r.choice([0, 0, HOUR]), who, body))
    return sorted(found, key=lambda event: event.received_at)


HISTORY = small_history()


def decides(topology: Topology) -> bool:
    """Does anything come of the small history? By identifiers that a topology lacks nobody is known."""
    replay, made = Replay(topology), 0
    for event in HISTORY:
        try:
            made += len(list(replay.feed(event, 1 << 60)))
        except InvalidEvent as bad:
            if bad.reason != "no_identifier":
                raise
    return made + len(list(replay.finish(T0 + 90 * 24 * HOUR))) > 0


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is linted and then loaded, and the files that stay as they are, are taken apart once: that is most of it."""
    monkeypatch.setattr(yaml, "compose", lru_cache(maxsize=8)(yaml.compose))


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("start", range(0, NUMBER, STEP))
def test_a_finding_or_a_topology(start: int, tmp_path: Path) -> None:
    seen = Counter[str]()
    for seed in range(start, min(start + STEP, NUMBER)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = mutated(seed, folder)
        findings = lint(path, {})
        errors = [finding for finding in findings if finding.severity == "error"]
        for finding in findings:
            lines = Path(finding.file).read_bytes().count(b"\n") + 2
            assert 1 <= finding.line <= lines, f"seed {seed}: {finding}"
            assert finding.column >= 1, f"seed {seed}: {finding}"
            assert finding.message, f"seed {seed}: {finding}"
        if errors:
            with pytest.raises(TopologyError):
                load(path, {})
        else:
            seen["decided"] += decides(load(path, {}))
        seen["wrong" if errors else "loads"] += 1
    assert seen["wrong"] > 3, seen
    assert seen["decided"] > 0 or start > 0, seen
