"""0 lost, 0 false, 0 doubled, under every fault; and each protection is missed when it is switched off."""

from __future__ import annotations

import os

import pytest

from pipeline.profile import about, packed
from pipeline.runtime.replay import Replay
from pipeline.topology import load
from pipeline.topology.model import Topology
from tests.replayed import folded
from tests.simulation.shop import history
from tests.simulation.world import SOURCES, Faults, Off, World

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200"))
TOPOLOGY = load("topology.yaml")
pytestmark = pytest.mark.usefixtures("every_login")


def expected(events: list, topology: Topology = TOPOLOGY) -> tuple[dict, dict]:
    """What `replay` says of the same events, in order of receipt: decisions by id, and final profiles."""
    replay = Replay(topology)
    decisions = {}
    ordered = sorted((e for _, e in events), key=lambda e: (e.received_at, e.occurred_at, e.event_id))
    for event in ordered:
        for decision in replay.feed(event, 1 << 60):
            decisions[decision.id] = decision
    for decision in replay.finish():
        decisions[decision.id] = decision
    for decision in decisions.values():
        decision.profile_id = ""
    return decisions, replay.profiles


def faults(seed: int, off: Off | None = None, duplicates: bool = True) -> list[str]:
    """Everything wrong with one world."""
    events = history(seed, SOURCES, duplicates)
    world = World(seed, TOPOLOGY, events, Faults(), off)
    try:
        world.run(chaos=2_500)
    except AssertionError as stuck:
        return [f"stuck: {stuck}"]
    want, profiles = expected(events)
    got = world.decisions()
    found = [f"lost: {want[i]}" for i in want.keys() - got.keys()]
    found += [f"false: {got[i]}" for i in got.keys() - want.keys()]
    for i in want.keys() & got.keys():
        if len(got[i]) > 1:
            found.append(f"doubled: {got[i]}")
        elif got[i][0] != want[i]:
            found.append(f"different: {got[i][0]}\n   wanted: {want[i]}")
    mine, theirs = world.final_profiles(), profiles
    for i in mine.keys() ^ theirs.keys():
        found.append(f"profile {i} only {'here' if i in mine else 'in replay'}")
    for i in mine.keys() & theirs.keys():
        a, b = folded(mine[i]), folded(theirs[i])
        if a != b:
            found.append(f"profile {i} differs:\n   {a}\n   {b}")
    return found


@pytest.mark.parametrize("block", range(10))
def test_nothing_lost_false_or_doubled(block: int) -> None:
    for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
        found = faults(seed)
        assert not found, f"seed {seed}: " + "\n".join(found)


def first_fault(off: Off, seeds: int, kinds: tuple[str, ...], duplicates: bool = True) -> str:
    """What is found first of these kinds with a protection off."""
    for seed in range(seeds):
        for found in faults(seed, off, duplicates):
            if found.startswith(kinds):
                return found
    return ""


@pytest.mark.parametrize(
    ("protection", "seeds", "kinds"),
    [
        ("token", 120, ("lost", "false")),  # state and offset move together, but somebody else's state
        ("atomic_routes", 150, ("lost",)),  # design 8: 105 to one partition, then to one that has seen 110
        ("quiet", 20, ("lost", "false")),  # deciding while a profile is on its way
        ("all_partitions", 20, ("false",)),  # deciding at the source watermark of one partition alone
        ("retell", 150, ("lost", "false")),  # a link that nobody told strands what is on its other side
        ("taken", 150, ("profile",)),  # a move that comes twice counts twice
        ("outbox", 20, ("lost",)),  # nothing is published again after a crash
        ("household", 20, ("lost", "false", "different")),  # whose a device is by the logins that were read by then
    ],
)
def test_each_protection_is_missed(protection: str, seeds: int, kinds: tuple[str, ...]) -> None:
    assert first_fault(Off(**{protection: True}), seeds, kinds)


def test_source_offsets_guard_where_the_ring_of_event_ids_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two guards against the same batch told twice: take the ring away, and offsets must do it alone."""
    monkeypatch.setattr(about, "TIMELINE_KEPT", 1)
    monkeypatch.setattr(about, "OLDER_KEPT", 0)
    monkeypatch.setattr(packed, "COMPILED", None)  # what is compiled has these numbers built in
    assert not first_fault(Off(), 40, ("",), duplicates=False)
    assert first_fault(Off(seen=True), 40, ("profile", "lost", "false", "different"), duplicates=False)


def test_the_fence_alone_is_no_protection_and_the_token_needs_none() -> None:
    """It stops a zombie at once instead of at its next commit: work is saved, nothing else."""
    assert not first_fault(Off(fence=True), 60, ("",))
    assert first_fault(Off(token=True), 120, ("lost", "false"))
