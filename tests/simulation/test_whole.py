"""The whole shipped topology in the simulated world: decisions and changes of segments are those of `replay`, under
every fault; as it is shipped, and with shorter days, in which all of it happens while the faults do.
"""

from __future__ import annotations

import os
from collections import Counter
from random import Random
from typing import Any

import pytest
import yaml

from pipeline.events.model import Event
from pipeline.topology import load
from pipeline.topology.model import Topology
from tests.simulation.shop import MINUTE, SPAN, T0, history
from tests.simulation.test_language import said
from tests.simulation.world import ADDED, SOURCES
from tests.whole import document, doing, hurried

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200")) // 25
pytestmark = pytest.mark.usefixtures("every_zone")


@pytest.fixture(scope="module", params=["as shipped", "short days"])
def topology(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Topology:
    told = document() if request.param == "as shipped" else hurried()
    path = tmp_path_factory.mktemp("whole") / "topology.yaml"
    path.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return load(path)


def whole_history(seed: int) -> list[tuple[int, Event]]:
    """What else is told in the simulated world, and what the included rules look at."""
    r = Random(f"whole {seed}")
    found = history(seed, SOURCES + ADDED)
    for person in range(2):
        whose: list[dict[str, str]] = [{"user_id": f"u{person}"}, {"anonymous_id": f"a{person}0"}]
        for number in range(r.randint(8, 25)):
            kind, body = doing(r, f"u{person}")
            at = T0 + r.randrange(SPAN)
            received = at + r.choice([0, 0, 0, 0, r.randint(1, 90) * MINUTE])
            context: dict[str, Any] = {"consent": {"marketing": r.random() < 0.5}} if r.random() < 0.2 else {}
            event = Event(kind, f"w{person}-{number}", at, received, r.choice(whose), body, context or None)
            found.append((r.randrange(SOURCES + ADDED), event))
    return sorted(found, key=lambda placed: placed[1].received_at + r.randint(0, 4_500))


@pytest.mark.parametrize("start", range(0, SEEDS, 4))
def test_nothing_is_lost_false_or_doubled(start: int, topology: Topology) -> None:
    seen = Counter[str]()
    for seed in range(start, min(start + 4, SEEDS)):
        found = said(topology, seed, whole_history(seed), seen)
        assert not found, f"seed {seed}:\n" + "\n".join(found)
    assert len(seen) > 10, seen
