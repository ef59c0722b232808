"""Small inputs that people really send, with the right decisions (`tests/data/cases`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.commands.replay import Run
from pipeline.runtime.recordings import merged
from pipeline.triggers.decisions import Decision, public
from tests.property.encoded import EncodedHops
from tests.replayed import shipped

CASES = Path(__file__).parents[1] / "data" / "cases"
INPUTS = sorted(path for path in CASES.iterdir() if ".expected." not in path.name)
CLOCK = 1_800_000_000_000


def view(decision: dict[str, Any]) -> dict[str, Any]:
    """What an expected decision may name."""
    payload = decision["payload"]
    names = ("rule", "outcome", "reason", "correlation_key", "cause_event_id", "due_at")
    told = {name: decision[name] for name in names}
    if "lines" in payload:
        lines = [[each["product"], each["quantity"], each["price"], each["total"]] for each in payload["lines"]]
        told |= {"total": payload["total"], "currency": payload["currency"], "lines": lines}
    if "film" in payload:
        told["seconds"] = payload["seconds_watched"]
    return told


def test_there_are_cases() -> None:
    assert len(INPUTS) == 101


def replay(path: Path) -> list[Decision]:
    """What `pipeline replay` decides."""
    return list(Run(shipped(), clock=CLOCK).over(merged([path])))


def worker(path: Path, *, compiled: bool) -> list[Decision]:
    """What both hops decide over the same events in Avro, as `pipeline ingest` writes them."""
    events = [line.event for line in merged([path]) if line.event is not None]
    hops = EncodedHops(shipped(), [events], 2, compiled=compiled)
    hops.run(Random(1), 10)
    return hops.decisions()


WAYS: dict[str, Callable[[Path], list[Decision]]] = {
    "replay": replay,
    "worker": partial(worker, compiled=True),
    "worker, nothing compiled": partial(worker, compiled=False),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name.partition(".")[0])
def test_decisions_are_right(path: Path, way: str) -> None:
    name = path.name.partition(".jsonl")[0]
    wanted = json.loads((CASES / f"{name}.expected.json").read_text("utf-8"))
    left = [view(public(decision)) for decision in WAYS[way](path)]
    for expected in wanted:
        found = next((told for told in left if expected.items() <= told.items()), None)
        assert found is not None, f"missing: {expected}\nthere is: {left}"
        left.remove(found)
    assert not left
