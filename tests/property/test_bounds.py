"""What is kept of a person is bounded. Packed away or not, nothing is decided otherwise; and whatever had to go for
want of room, no decision is turned over by it that doesn't say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.language import carts
from pipeline.triggers import films, keys, waits
from tests.oracle.histories import history
from tests.replayed import replayed

pytestmark = pytest.mark.usefixtures("every_zone")
BOUNDS: dict[str, list[tuple[Any, str, int]]] = {
    "waits": [(keys, "WAITS_KEPT", 2)],
    "triggers to be taken back": [(keys, "FIRED_KEPT", 1)],
    "keys": [(keys, "KEYS_KEPT", 2), (keys, "ROOM", 1), (keys, "IDLE_KEPT", 1), (keys, "MARKS_KEPT", 2)],
    "facts": [(waits, "FACTS_KEPT", 4)],
    "ends": [(keys, "ENDS_KEPT", 2), (keys, "ROOM", 1), (waits, "ENDS_KEPT", 2)],
    "lines": [(carts, "LINES_KEPT", 1)],
}


@contextmanager
def packed(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """As if everybody had too much to have it at hand."""
    with monkeypatch.context() as patch:
        for module in (keys, films):
            patch.setattr(module, "AT_HAND", 1)
            patch.setattr(module, "ON_A_PAGE", 1)
        yield patch


def told(seed: int) -> list[dict[str, Any]]:
    """A history, in one of several kinds."""
    return history(seed, segment=seed % 2 == 0, real=seed % 3 == 0, shared_devices=seed % 5 == 0)


@pytest.mark.parametrize("start", range(0, 120, 40))
def test_what_lies_packed_decides_the_same(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    for seed in range(start, start + 40):
        events = told(seed)
        wanted = replayed(events)
        with packed(monkeypatch):
            assert sorted(map(essence, replayed(events))) == sorted(map(essence, wanted)), seed


def essence(decision: dict[str, Any]) -> str:
    """What compares: 20 seconds are 20.0."""
    told = json.dumps({name: value for name, value in decision.items() if name != "profile_id"}, sort_keys=True)
    return re.sub(r"\.0\b", "", told)


@pytest.mark.parametrize("bound", [*BOUNDS, "all of it"])
@pytest.mark.parametrize("start", range(0, 60, 30))
def test_no_decision_is_turned_over_that_does_not_say_so(
    monkeypatch: pytest.MonkeyPatch, bound: str, start: int
) -> None:
    for seed in range(start, start + 30):
        events = told(seed)
        wanted = {essence(decision) for decision in replayed(events)}
        with packed(monkeypatch) as patch:
            for each in [bound] if bound in BOUNDS else BOUNDS:
                for place in BOUNDS[each]:
                    patch.setattr(*place)
            made = replayed(events)
        for decision in made:
            assert decision.get("bounded") or essence(decision) in wanted, f"seed {seed}: {decision}"
        flagged = {decision["rule"] for decision in made if decision.get("bounded")}
        rest = {each for each in wanted if not any(f'"{rule}"' in each for rule in flagged)}
        assert rest <= {essence(decision) for decision in made}, f"seed {seed}"
