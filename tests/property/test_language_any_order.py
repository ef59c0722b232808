"""Conditions and segments through both hops, in any order of reading: what `replay` decides of the same events.

Within what the topology allows: received_at runs back by less than the disorder in a partition. LANGUAGE_ORDERS looks
at more.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from pipeline.events.model import Event
from pipeline.runtime.replay import Replay
from pipeline.topology.model import Topology
from tests.oracle.language.histories import KINDS, made
from tests.property.hops import END, FAR, Hops
from tests.property.test_any_order import shuffled
from tests.property.test_language import topology_of
from tests.replayed import as_event

SEEDS = int(os.environ.get("LANGUAGE_ORDERS", "10"))
pytestmark = pytest.mark.usefixtures("every_zone")
Said = dict[str, dict[str, Any]]


def wanted(topology: Topology, events: list[Event]) -> Said:
    """What `replay` says of them in order of receipt, time going on as far as it does in the log."""
    replay = Replay(topology)
    found: list[Any] = []
    for event in sorted(events, key=lambda e: (e.received_at, e.occurred_at, e.event_id)):
        found += replay.feed(event, FAR)
    found += replay.finish(END - 1)
    said = {each.id: msgspec.to_builtins(each) | {"profile_id": ""} for each in [*found, *replay.changes]}
    return {i: each for i, each in said.items() if each.get("decided_at", 0) < END}  # dates come every year, for ever


def through_hops(topology: Topology, events: list[Event], seed: int) -> list[dict[str, Any]]:
    """What comes out of both hops, after one random way through them."""
    rng = Random(seed)
    log = shuffled(rng, events, rng.randint(1, 4))
    hops = Hops(topology, log, rng.choice([1, 2, 3, 5]), rng.choice([1, 50_000]))
    hops.run(rng, rng.choice([1, 3, 10, 200]))
    return [
        msgspec.msgpack.decode(record.value or b"") | {"profile_id": ""}
        for record in hops.log.read("decisions", 0, 0, FAR)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", range(0, SEEDS, 10))
def test_any_order(kind: str, start: int, tmp_path: Path) -> None:
    number, wrong = 0, []
    for seed in range(start, min(start + 10, SEEDS)):
        told, raw = made(seed, kind)
        for rule in told["triggers"].values():
            rule.pop("decide", None)  # what is decided on arrival hangs on the order: test_on_arrival.py
        topology, events = topology_of(told, tmp_path), [as_event(each) for each in raw]
        expected, found = wanted(topology, events), through_hops(topology, events, seed)
        number += len(expected)
        here = {each["id"]: each for each in found}
        lines = [f"lost: {expected[i]}" for i in expected.keys() - here.keys()]
        lines += [f"not wanted: {here[i]}" for i in here.keys() - expected.keys()]
        lines += [
            f"{i}: {here[i]}\n   wanted: {expected[i]}" for i in here.keys() & expected.keys() if here[i] != expected[i]
        ]
        if len(found) != len(here):
            lines.append("something was said twice")
        if lines:
            wrong.append(f"{kind} seed {seed}:\n" + "\n".join(lines))
    assert not wrong, "\n".join(wrong)
    assert number > 0
