"""Decisions on arrival in the simulated world: whatever fails, each start is told, once by its id, and the fold goes on
from what was told.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pipeline.errors import RecordTooLarge, StateLost
from pipeline.runtime.replay import Replay
from pipeline.topology import load
from pipeline.topology.model import Topology
from tests.property.hops import END
from tests.simulation.shop import history
from tests.simulation.world import ADDED, SOURCES, Faults, World

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200")) // 4
STEP = 10
pytestmark = pytest.mark.usefixtures("every_zone")
TRIGGERS: dict[str, Any] = {
    "told": {
        "version": 1,
        "per": "cart_id",
        "without_key": "shared",
        "start": {"event": "product_added"},
        "cancel": {"event": "order_completed", "reason": "bought"},
        "only_if": {"none": [{"did": "order_completed", "within": "1h"}]},
        "decide": "on_arrival",
    },
    "then": {"version": 1, "start": {"trigger": {"rule": "told"}}},
    "at_once": {
        "version": 1,
        "start": {"event": "product_added"},
        "cancel": {"event": "order_completed", "reason": "b"},
    },
}
Said = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Topology:
    document = yaml.safe_load(Path("topology.yaml").read_text(encoding="utf-8"))
    document.pop("include", None)
    document["triggers"] = TRIGGERS
    path = tmp_path_factory.mktemp("arrival") / "topology.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return load(path)


def replayed(topology: Topology, events: list[Any]) -> Said:
    replay = Replay(topology)
    made: list[Any] = []
    for event in sorted((e for _, e in events), key=lambda e: (e.received_at, e.occurred_at, e.event_id)):
        made += replay.feed(event, 1 << 60)
    made += replay.finish(END - 1)
    return {each.id: msgspec.to_builtins(each) | {"profile_id": ""} for each in made}


def of(rule: str, told: Said) -> dict[str, str]:
    """What was decided of its starts, not what was said of it later: id -> outcome."""
    return {
        i: d["outcome"] for i, d in told.items() if d["rule"] == rule and d["outcome"] not in ("retracted", "recovered")
    }


def wrong(topology: Topology, seed: int) -> list[str]:
    """What mustn't be in one world."""
    events = history(seed, SOURCES + ADDED, duplicates=False)
    world = World(seed, topology, events, Faults(), None, frozenset(), len(events) // 2, 1_000_000)
    try:
        world.run(chaos=1_500)
    except (AssertionError, StateLost, RecordTooLarge) as stuck:
        return [f"stuck: {stuck}"]
    want, found = replayed(topology, events), []
    got: Said = {}
    for record in world.log.partitions.get((topology.topics.decisions.name, 0), []):
        assert record is not None
        each = msgspec.msgpack.decode(record.value or b"") | {"profile_id": ""}
        if got.setdefault(each["id"], each) != each:
            found.append(f"doubled: {each}\n   {got[each['id']]}")
    for rule in ("told", "at_once"):
        found += [f"lost: {want[i]}" for i in of(rule, want).keys() - of(rule, got).keys()]
        found += [f"false: {got[i]}" for i in of(rule, got).keys() - of(rule, want).keys()]
    found += [f"different: {got[i]}" for i, each in of("at_once", want).items() if of("at_once", got).get(i) != each]
    fired = {i for i, outcome in of("told", got).items() if outcome == "fired"}
    begun = {d["cause_event_id"] for d in got.values() if d["rule"] == "then" and d["outcome"] != "retracted"}
    found += [f"nothing followed {got[i]}" for i in fired - begun]
    found += [f"what wasn't told is followed: {i}" for i in begun - fired]
    back = {d["retracts"] for d in got.values() if d["outcome"] == "retracted" and d["rule"] == "told"}
    return found + [f"what wasn't told is taken back: {i}" for i in back - fired]


@pytest.mark.parametrize("start", range(0, SEEDS, STEP))
def test_each_start_is_told_and_the_rest_follows_from_what_was_told(start: int, topology: Topology) -> None:
    for seed in range(start, min(start + STEP, SEEDS)):
        found = wrong(topology, seed)
        assert not found, f"seed {seed}:\n" + "\n".join(found)
