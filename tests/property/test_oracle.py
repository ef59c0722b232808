"""Generated histories: what `replay` decides is what the oracle, which knows nothing of `pipeline`, works out.

ORACLE_SEEDS=5000 looks at that many plain histories, and a third of it of each other kind.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.oracle.compare import difference
from tests.oracle.histories import history
from tests.oracle.oracle import decisions
from tests.replayed import replayed

SEEDS = int(os.environ.get("ORACLE_SEEDS", "300"))
KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (SEEDS, {}),
    "shared devices": (SEEDS // 3, {"shared_devices": True}),
    "further behind than the disorder": (SEEDS // 3, {"behind": True}),
    "a device handed round": (SEEDS, {"handed_round": True}),
    "devices handed round, further behind": (
        SEEDS // 3,
        {"handed_round": True, "shared_devices": True, "behind": True},
    ),
    "a device handed round, in our own schemas": (SEEDS // 3, {"handed_round": True, "segment": False}),
    "a device taken over": (SEEDS, {"taken_over": True}),
    "our own player and identifiers": (SEEDS // 3, {"segment": False}),
    "what people really send": (SEEDS, {"real": True}),
    "what people really send, on shared devices": (SEEDS // 3, {"real": True, "shared_devices": True}),
    "what people really send, further behind": (SEEDS // 3, {"real": True, "behind": True}),
    "what people really send, in our own schemas": (SEEDS // 3, {"real": True, "segment": False}),
}
STEP = 50
pytestmark = pytest.mark.usefixtures("every_zone")
BLOCKS = [(kind, start) for kind, (seeds, _) in KINDS.items() for start in range(0, seeds, STEP)]


@pytest.mark.parametrize(("kind", "start"), BLOCKS)
def test_replay_decides_as_the_oracle(kind: str, start: int) -> None:
    seeds, options = KINDS[kind]
    number, wrong = 0, []
    for seed in range(start, min(start + STEP, seeds)):
        events = history(seed, **options)
        expected = decisions(events)
        number += len(expected)
        if found := difference(expected, replayed(events)):
            wrong.append(f"seed {seed}:\n{found}")
    assert not wrong, "\n".join(wrong)
    assert number > 0
