"""What became of waits adds up after every event of a random history: opened = decided + absorbed + waiting."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline.profile.profile import waits_of
from pipeline.runtime.replay import Replay
from pipeline.triggers.balance import Waits
from pipeline.triggers.decisions import Decision
from tests.oracle.language.histories import KINDS, made
from tests.property.hops import FAR
from tests.property.test_language import topology_of
from tests.replayed import as_event

SEEDS = 10
pytestmark = pytest.mark.usefixtures("every_zone")


def ended(replay: Replay, decision: Decision) -> int:
    """How many waits a decision ends: a cancel all stages from its own on."""
    names = [stage.name for stage in replay.book.rules[decision.rule].stages]
    if decision.outcome in ("retracted", "recovered"):
        return 0
    return len(names) - names.index(decision.stage or "") if names and decision.outcome == "cancelled" else 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_adds_up_at_every_step(kind: str, tmp_path: Path) -> None:
    absorbed = opened = 0
    for seed in range(SEEDS):
        told, events = made(seed, kind)
        replay = Replay(topology_of(told, tmp_path))
        counted: dict[str, Waits] = {}
        decided = Counter[str]()
        for event in [*events, None]:
            for decision in replay.finish() if event is None else replay.feed(as_event(event), FAR):
                decided[decision.rule] += ended(replay, decision)
            for rule, waits in replay.book.balance.take().items():
                assert min(waits) >= 0
                counted[rule] = counted.get(rule, Waits()).plus(waits)
            waiting = Counter[str]()
            for profile in replay.profiles.values():
                waiting.update(waits_of(replay.book, profile))
            assert +waiting == +Counter({rule: waits.waiting for rule, waits in counted.items()}), f"{kind} {seed}"
            assert +decided == +Counter({rule: waits.decided for rule, waits in counted.items()}), f"{kind} {seed}"
        opened += sum(waits.opened for waits in counted.values())
        absorbed += sum(waits.absorbed for waits in counted.values())
    assert opened > 0
    assert (absorbed > 0) <= any(KINDS[kind].get(each) for each in ("ties", "shared"))
