"""Generated topologies and histories: what `replay` decides is what the rule language's oracle, which knows nothing of
`pipeline`, works out.

LANGUAGE_SEEDS=2000 looks at that many of each kind.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import PipelineError
from pipeline.topology import load
from pipeline.topology.model import Topology
from tests.oracle.language.compare import differing
from tests.oracle.language.histories import made
from tests.oracle.language.oracle import decisions
from tests.replayed import replayed

SEEDS = int(os.environ.get("LANGUAGE_SEEDS", "60"))
STEP = 20
SHIPPED = Path(__file__).parents[2] / "topology.yaml"
pytestmark = pytest.mark.usefixtures("every_login")


def topology_of(told: dict[str, Any], folder: Path) -> Topology:
    """The shipped topology with these rules, segments and measures."""
    whole = yaml.safe_load(SHIPPED.read_text())
    whole["time"] |= told["time"]
    whole |= {name: part for name, part in told.items() if name != "time" and part}
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return load(path)


@pytest.mark.parametrize(
    ("kind", "start"), [(kind, start) for kind in ("events alone",) for start in range(0, SEEDS, STEP)]
)
def test_replay_decides_as_the_oracle(kind: str, start: int, tmp_path: Path) -> None:
    number, wrong = 0, []
    for seed in range(start, min(start + STEP, SEEDS)):
        told, events = made(seed, kind)
        expected, _ = decisions(told, events)
        number += len(expected)
        try:
            actual = replayed(events, topology_of(told, tmp_path))
        except PipelineError as bad:
            wrong.append(f"{kind} seed {seed}: {bad}")
            continue
        if found := differing(expected, actual):
            wrong.append(f"{kind} seed {seed}:\n{found}")
    assert not wrong, "\n".join(wrong)
    assert number > 0
