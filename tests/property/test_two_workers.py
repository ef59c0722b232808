"""Two workers resolve identities at the same time: every interleaving of their steps ends with the same people."""

from __future__ import annotations

from collections.abc import Coroutine
from itertools import combinations
from random import Random
from typing import Any

import pytest

from pipeline.events.model import Event
from pipeline.flow import Intake
from pipeline.profile.profile import Profile
from tests.property.hops import Hops, now
from tests.replayed import shipped
from tests.standins import Away, Pause

T0 = 1_700_000_000_000
Ids = dict[str, str]


async def pause(name: str, args: tuple[Any, ...]) -> None:
    """The other worker may go on."""
    await Pause()


class TwoWorkers:
    """Source partitions 0 and 1, each a process of its own: its own caches, its own steps."""

    def __init__(self, first: list[Event], second: list[Event], batch: int) -> None:
        self.hops = Hops(shipped(), [first, second], 2)
        self.batch = batch
        self.tasks: list[Coroutine[Any, Any, None] | None] = []
        for partition, hop in enumerate(self.hops.sources):
            now(hop._begin())
            hop._intake = Intake(self.hops.topology, self.hops.book)
            hop._graph = Away(self.hops.graph, pause, pause)
            hop._sender = Away(self.hops.log, pause, pause)
            self.tasks.append(self.work(partition))

    async def work(self, partition: int, claim: bool = False) -> None:
        hop = self.hops.sources[partition]
        if claim:
            await hop.claim()
        for said in self.hops.said:
            hop.hear(said)
        while records := self.hops.log.read("s", partition, hop.position.offset, self.batch):
            await hop.process(records)
        if hop.ripe:
            await hop.obey()

    def step(self, worker: int) -> bool:
        """Up to its next port, if it isn't done."""
        task = self.tasks[worker]
        if task is None:
            return False
        try:
            task.send(None)
        except StopIteration:
            self.tasks[worker] = None
            return False
        return True

    def crash(self, worker: int) -> None:
        """It dies where it is, and another takes over with what the store knows."""
        if (task := self.tasks[worker]) is not None:
            task.close()
        self.tasks[worker] = self.work(worker, claim=True)

    def run(self, turns: list[int], crashes: dict[int, int] | None = None) -> dict[str, Profile]:
        """`turns`: whose step is next, as long as it has any; what is left of both comes then. `crashes`: before which
        turn who dies.
        """
        for number, worker in enumerate(turns):
            if crashes and number in crashes:
                self.crash(crashes[number])
            self.step(worker)
        for worker in (0, 1):
            while self.step(worker):
                pass
        self.hops.run(Random(0), 100)
        return self.hops.final_profiles()


def events(told: list[Ids], start: int) -> list[Event]:
    out = []
    for n, ids in enumerate(told):
        at = T0 + 1000 * n + start
        out.append(
            Event("product_added", f"e{start}-{n}", at, at, ids, {"cart_id": "c", "product_id": f"p{start}-{n}"})
        )
    return out


def steps(told: list[Ids], batch: int) -> int:
    """Of one worker: two ports a batch, each left twice; without events it still has to hear that this was all."""
    return 4 * max(-(-len(told) // batch), 1)


def every_order(first: list[Ids], second: list[Ids], batch: int) -> list[list[int]]:
    a, b = steps(first, batch), steps(second, batch)
    out = []
    for chosen in combinations(range(a + b), a):
        turns = [1] * (a + b)
        for place in chosen:
            turns[place] = 0
        out.append(turns)
    return out


A, B, U, V, E = {"anonymous_id": "a"}, {"anonymous_id": "b"}, {"user_id": "u"}, {"user_id": "v"}, {"email": "e@x.y"}

AGREEING = {
    "the same tie on both": ([A, {**A, **U}], [A, {**A, **U}]),
    "one tie each, which meet": ([A, {**A, **U}], [B, {**B, **U}]),
    "a chain": ([{**A, **E}, A], [{**E, **B}, B]),
    "a tie on one, its people on the other": ([{**A, **E}, {**E, **U}], [A, U]),
    "two users on a device": ([{**A, **U}, A], [{**A, **V}, A]),
    "a device that was somebody's before": ([A, {**A, **V}, A], [{**A, **U}, A, U]),
}


def summary(profiles: dict[str, Profile]) -> list[Any]:
    return sorted(
        (i, sorted(p.about.totals.items()), [sorted(x.ids.items()) for x in p.persons]) for i, p in profiles.items()
    )


@pytest.mark.parametrize("name", AGREEING)
def test_without_conflicts_every_interleaving_ends_the_same(name: str) -> None:
    first, second = AGREEING[name]
    expected: tuple[Any, Any] | None = None
    tried = 0
    for turns in every_order(first, second, 3):
        world = TwoWorkers(events(first, 0), events(second, 500), 3)
        people = summary(world.run(turns))
        decisions = sorted(
            (d.id, d.outcome, str(d.payload), str(sorted(d.identifiers.items()))) for d in world.hops.decisions()
        )
        expected = expected or (people, decisions)
        assert (people, decisions) == expected, turns
        tried += 1
    assert tried >= 70
    assert expected is not None
    assert len(expected[0]) == 1
    assert expected[1]


def test_smaller_batches_at_random() -> None:
    """More steps than can be tried in every order."""
    for name, (first, second) in AGREEING.items():
        orders = [Random(seed).choices([0, 1], k=40) for seed in range(40)]
        ends = {str(summary(TwoWorkers(events(first, 0), events(second, 500), 1).run(turns))) for turns in orders}
        assert len(ends) == 1, name


CONFLICTING = {
    "two users claim a device": ([{**A, **U}, A], [{**A, **V}, A]),
    "two users claim an e-mail": ([{**U, **E}, {**E, **A}], [{**V, **E}, {**E, **B}]),
    "two users over a chain": ([{**U, **A}, {**A, **E}], [{**V, **B}, {**B, **E}]),
}


@pytest.mark.parametrize("name", CONFLICTING)
def test_no_interleaving_makes_two_users_one(name: str) -> None:
    """Who gets what both claim depends on who came first; that they stay two doesn't, and no event is lost."""
    first, second = CONFLICTING[name]
    for turns in every_order(first, second, 3):
        world = TwoWorkers(events(first, 0), events(second, 500), 3)
        profiles = world.run(turns)
        owners = [value for p in profiles.values() for x in p.persons for value in x.ids.get("user_id", ())]
        assert sorted(owners) == ["u", "v"], turns
        assert all(len(x.ids.get("user_id", ())) <= 1 for p in profiles.values() for x in p.persons), turns
        assert sum(sum(p.about.totals.values()) for p in profiles.values()) == len(first) + len(second), turns
        graph = world.hops.graph.graph
        most = max(sum(each.namespace == "user_id" for each in members) for members in graph.members.values())
        assert most == (2 if name == "two users claim a device" else 1), "who shares a device is one household"


@pytest.mark.parametrize("name", AGREEING)
def test_a_crash_between_any_two_steps_changes_nothing(name: str) -> None:
    first, second = AGREEING[name]
    expected = summary(TwoWorkers(events(first, 0), events(second, 500), 2).run([0, 1] * 20))
    for seed in range(60):
        rng = Random(seed)
        crashes = {rng.randrange(16): rng.randrange(2) for _ in range(rng.randint(1, 3))}
        world = TwoWorkers(events(first, 0), events(second, 500), 2)
        assert summary(world.run(rng.choices([0, 1], k=40), crashes)) == expected, (seed, crashes)


def test_there_is_something_to_interleave() -> None:
    """Each worker really stops at its ports: the counted steps are all that it has."""
    told = [A, U]
    world = TwoWorkers(events(told, 0), [], 3)
    taken = 0
    while world.step(0):
        taken += 1
    assert taken == steps(told, 3) == 4
    world.run([])
