"""What a recording without triggers makes of decisions: nothing else than whether they are published."""

from __future__ import annotations

from functools import partialmethod
from random import Random

import pytest

from pipeline.flow import Upkeep
from pipeline.runtime.replay import Replay
from pipeline.triggers.decisions import Decision
from tests.oracle.histories import history
from tests.replayed import as_event, shipped

FAR = 1 << 60


def decisions(seed: int) -> list[Decision]:
    """Of one history, in order of receipt."""
    events = [as_event(told) for told in history(seed, segment=seed % 2 == 0, handed_round=seed % 5 == 0)]
    made: list[Decision] = []
    run = Replay(shipped())
    for event in sorted(events, key=lambda e: (e.received_at, e.occurred_at, e.event_id)):
        made += run.feed(event, FAR)
    return made + list(run.finish())


def test_a_retraction_goes_where_its_trigger_went(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quiet comes and goes, and persons merge meanwhile."""
    both = {True: 0, False: 0}
    for seed in range(150):
        plain = decisions(seed)
        rng = Random(seed)
        moments = sorted(d.decided_at for d in plain) or [0]
        since, until = sorted(rng.randint(moments[0], moments[-1]) for _ in range(2))
        over = rng.random() < 0.5

        def quiet(decision: Decision, since: int = since, until: int = until, over: bool = over) -> bool:
            return (since <= decision.decided_at < until) != over

        with monkeypatch.context() as patched:
            patched.setattr(Upkeep, "decide", partialmethod(Upkeep.decide, quiet=quiet))
            found = decisions(seed)
        triggers = {d.id: d for d in plain if d.outcome == "fired"}
        for decision in found:
            if decision.retracts is not None:
                assert decision.published == (not quiet(triggers[decision.retracts])), (seed, decision)
                both[decision.published] += 1
            decision.published = True
        assert found == plain
    assert min(both.values()) > 10, both
