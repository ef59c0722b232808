"""Generated topologies and histories: what `replay` decides is what the rule language's oracle, which knows nothing of
`pipeline`, works out; and so are the oracle's examples.

LANGUAGE_SEEDS=2000 looks at that many of each kind.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from pipeline.errors import PipelineError
from pipeline.topology import load
from pipeline.topology.model import Topology
from tests.oracle.language.build import Example
from tests.oracle.language.compare import changes_differing, differing
from tests.oracle.language.examples import EXAMPLES
from tests.oracle.language.histories import KINDS, made
from tests.oracle.language.oracle import decisions
from tests.oracle.language.worked_out import worked_out
from tests.replayed import replayed_with_changes

SEEDS = int(os.environ.get("LANGUAGE_SEEDS", "25"))
STEP = 25

SHIPPED = Path(__file__).parents[2] / "topology.yaml"
pytestmark = pytest.mark.usefixtures("every_zone")


@cache
def shipped() -> dict[str, Any]:
    """What YAML tells of the shipped topology."""
    told: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    return told


def topology_of(told: dict[str, Any], folder: Path) -> Topology:
    """The shipped topology with these rules, segments, measures and lists."""
    whole = {name: part for name, part in shipped().items() if name != "include"}
    whole["time"] = {**whole["time"], **told["time"]}
    whole |= {name: part for name, part in told.items() if name != "time" and part}
    whole["triggers"] = told["triggers"]
    path = folder / "topology.yaml"
    path.write_text(json.dumps(whole))  # which is YAML, too, and written faster
    with patch.object(yaml, "SafeLoader", yaml.CSafeLoader):  # and read faster, where no message is looked at
        return load(path)


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e.line}: {e.name}" for e in EXAMPLES])
def test_replay_decides_what_was_computed_by_hand(example: Example, tmp_path: Path) -> None:
    topology = topology_of(example.topology, tmp_path)
    made, changes = replayed_with_changes(example.events, topology, open_end=example.open_end)
    assert differing(example.expected, made, changes) == ""
    assert changes_differing(example.changes, changes) == ""


@pytest.mark.parametrize(("kind", "start"), [(kind, start) for kind in KINDS for start in range(0, SEEDS, STEP)])
def test_replay_decides_as_the_oracle(kind: str, start: int, tmp_path: Path) -> None:
    number, wrong = 0, []
    for seed in range(start, min(start + STEP, SEEDS)):
        told, events = made(seed, kind)
        expected, changes = worked_out(seed, kind)
        number += len(expected) + len(changes)
        try:
            actual, actual_changes = replayed_with_changes(events, topology_of(told, tmp_path))
        except PipelineError as bad:
            wrong.append(f"{kind} seed {seed}: {bad}")
            continue
        if found := differing(expected, actual, actual_changes) + changes_differing(changes, actual_changes):
            wrong.append(f"{kind} seed {seed}:\n{found}")
    assert not wrong, "\n".join(wrong)
    assert number > 0


@pytest.mark.parametrize("kind", ["conditions", "conditions and ties", "stages"])
def test_where_the_recording_goes_on_the_same_is_decided_by_then(kind: str, tmp_path: Path) -> None:
    for seed in range(SEEDS // 3):
        told, events = made(seed, kind)
        expected, changes = decisions(told, events, open_end=True)
        actual, actual_changes = replayed_with_changes(events, topology_of(told, tmp_path), open_end=True)
        found = differing(expected, actual, actual_changes) + changes_differing(changes, actual_changes)
        assert found == "", f"{kind} seed {seed}"
