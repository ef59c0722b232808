"""Looking at a profile only when something may be due tells no decision later than folding each event at once."""

from __future__ import annotations

from unittest import mock

import pytest

from pipeline.flow import Upkeep
from pipeline.profile.profile import Profile
from pipeline.runtime import replay
from pipeline.triggers.decisions import Decision
from tests.oracle.histories import history
from tests.replayed import FAR, as_event, shipped

SEEDS = 300


def at_once(upkeep: Upkeep, profile: Profile) -> int | None:
    """When the fold has anything to do."""
    times = [row.received_at for row in profile.buffer]
    return min(times if profile.due is None else [*times, profile.due], default=None)


def told(seed: int) -> list[list[Decision]]:
    """The decisions that have been made after each event, in the order of receipt."""
    one = replay.Replay(shipped())
    events = sorted(history(seed, segment=seed % 2 == 0, shared_devices=seed % 3 == 0), key=lambda e: e["received_at"])
    return [list(one.feed(as_event(event), FAR)) for event in events]


@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_no_decision_is_told_later(start: int) -> None:
    number = 0
    for seed in range(start, start + 50):
        with mock.patch.object(Upkeep, "wakes_at", at_once):
            wanted = told(seed)
        assert told(seed) == wanted, f"seed {seed}"
        number += sum(map(len, wanted))
    assert number > 0
