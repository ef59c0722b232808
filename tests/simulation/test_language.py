"""Conditions and segments in the simulated world: nothing lost, nothing false, nothing doubled, under every fault."""

from __future__ import annotations

import os
from collections import Counter
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

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200")) // 5
STEP = 10
pytestmark = pytest.mark.usefixtures("every_zone")
LANGUAGE: dict[str, Any] = {
    "segments": {
        "keen": {"when": {"did": "product_added", "times": 2, "within": "40m"}},
        "gone": {"when": {"all": [{"last": "any", "age": {"gte": "1h"}}, {"none": [{"did": "order_completed"}]}]}},
        "keen_once": {"when": {"all": [{"segment": "gone"}, {"did": "product_added"}]}},
        "keen_again": {"when": {"did": "segment_entered", "where": {"segment": "keen"}, "times": 2, "within": "5h"}},
    },
    "triggers": {
        "twice": {
            "version": 1,
            "start": {"when": {"did": "product_added", "times": 2, "within": "30m"}},
            "after": "20m",
            "cancel": {"event": "order_completed", "reason": "bought"},
            "only_if": {"none": [{"segment": "gone"}]},
        },
        "silent": {
            "version": 1,
            "start": {"when": {"last": "any", "age": {"gte": "45m"}}},
            "after": "1m",
            "until": {"when": {"did": "any", "since": "start"}, "reason": "back"},
        },
        "in_stages": {
            "version": 1,
            "per": "cart_id",
            "without_key": "shared",
            "start": {"event": "product_added"},
            "stages": [{"name": "first", "after": "20m"}, {"name": "last", "after": "2h"}],
            "cancel": {"event": "order_completed", "reason": "bought"},
            "recovered": {"within": "3h"},
        },
        "here": {
            "version": 1,
            "start": {"event": "visit_started"},
            "after": "20m",
            "cancel": {"event": "segment_entered", "where": {"segment": "keen"}, "reason": "keen"},
            "only_if": {"none": [{"did": "visit_started", "within": "3h", "times": 3}]},
        },
        "changes": {
            "version": 1,
            "per": "segment",
            "start": {"event": "segment_entered"},
            "after": "30m",
            "cancel": {"event": "segment_left", "match": "segment", "reason": "left"},
        },
    },
}


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Topology:
    told = yaml.safe_load(Path("topology.yaml").read_text(encoding="utf-8"))
    told.pop("include", None)
    told.update(LANGUAGE)
    path = tmp_path_factory.mktemp("language") / "topology.yaml"
    path.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return load(path)


def said(topology: Topology, seed: int, events: list[Any], seen: Counter[str] | None = None) -> list[str]:
    """What differs from `replay` in one world. `seen`: counts rules and segments of which it says something."""
    world = World(seed, topology, events, Faults(), None, frozenset(), len(events) // 2, 1_000_000)
    try:
        world.run(chaos=1_500)
    except (AssertionError, StateLost, RecordTooLarge) as stuck:
        return [f"stuck: {stuck}"]
    replay = Replay(topology)
    wanted: dict[str, Any] = {}
    for event in sorted((e for _, e in events), key=lambda e: (e.received_at, e.occurred_at, e.event_id)):
        wanted |= {each.id: each for each in replay.feed(event, 1 << 60)}
    wanted |= {each.id: each for each in replay.finish(END - 1)}
    wanted |= {each.id: each for each in replay.changes}
    want = {i: msgspec.to_builtins(each) | {"profile_id": ""} for i, each in wanted.items()}
    if seen is not None:
        seen.update(each.get("rule") or each["segment"] for each in want.values())
    found = [f"doesn't add up: {each}" for each in world.unbalanced]
    assert world.topology.topics.segments is not None
    got: dict[str, Any] = {}
    for topic in (world.topology.topics.decisions.name, world.topology.topics.segments.name):
        for record in world.log.partitions.get((topic, 0), []):
            assert record is not None
            each = msgspec.msgpack.decode(record.value or b"") | {"profile_id": ""}
            if got.setdefault(each["id"], each) != each:
                found.append(f"doubled: {each}")
    found += [f"lost: {want[i]}" for i in want.keys() - got.keys()]
    found += [f"false: {got[i]}" for i in got.keys() - want.keys()]
    found += [f"different: {got[i]}\n   {want[i]}" for i in want.keys() & got.keys() if want[i] != got[i]]
    return found


@pytest.mark.parametrize("start", range(0, SEEDS, STEP))
def test_nothing_is_lost_false_or_doubled(start: int, topology: Topology) -> None:
    for seed in range(start, min(start + STEP, SEEDS)):
        found = said(topology, seed, history(seed, SOURCES + ADDED))
        assert not found, f"seed {seed}:\n" + "\n".join(found)
