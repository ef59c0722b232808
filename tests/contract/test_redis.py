"""What a commit to Redis leans on: what redis-py's connections do, and what happens between its look and its write."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as Unanswered

from pipeline.errors import CommitRejected, Fenced, StateLost
from pipeline.store import gathering, redis_store
from pipeline.store.keys import partition_keys
from pipeline.store.ports import Claimed, Commit
from pipeline.store.redis_store import RedisProfileStore

PROFILE = "aaaaaaaaaaaaaaaa"
NOTHING = Commit(fence=1, expected="", token="a", meta=b"m", states={}, timers={}, outbox=[], tail=0, trim=0)


def changes(owner: Claimed, token: str, expected: str = "") -> Commit:
    return Commit(
        fence=owner.fence, expected=expected, token=token, meta=b"m", states={PROFILE: token.encode()},
        timers={PROFILE.encode(): 5}, outbox=[token.encode()], tail=owner.head + len(owner.outbox), trim=0,
    )  # fmt: skip


class World:
    """A store whose every call shares one connection, and another that comes in between."""

    def __init__(self, redis: Redis, other: Redis, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.redis, self.raw = redis, other
        self.store, self.other = RedisProfileStore(redis, prefix, 1), RedisProfileStore(other, prefix, 1)
        self.meta, self.states, self.timers, self.outbox = partition_keys(prefix, 0, 1)
        self._monkeypatch = monkeypatch

    def between(self, intrude: Callable[[Any], Awaitable[object]], times: int = 1) -> None:
        """Do something after the store's next looks, before it writes."""
        real, left = redis_store._exchange, times

        async def exchange(connection: Any, commands: list[bytes], **how: bool) -> list[Any]:
            nonlocal left
            looked = await real(connection, commands, **how)
            if left and b"WATCH" in commands[0]:
                left -= 1
                await intrude(connection)
            return looked

        self._monkeypatch.setattr(redis_store, "_exchange", exchange)

    async def nobody_watches(self) -> None:
        """The shared connection does a transaction although what a commit watches has changed."""
        for key in (self.meta, self.states):
            await self.raw.hset(key, "other", "1")
        pipe: Any = self.redis.pipeline(transaction=True)
        assert await pipe.ping().execute() == [True]


@pytest.fixture
def world(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(scenario: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            retry = Retry(NoBackoff(), 3)
            pool = BlockingConnectionPool.from_url(redis_url, max_connections=1, timeout=2, retry=retry)
            async with Redis(connection_pool=pool) as redis, Redis.from_url(redis_url) as other:
                await scenario(World(redis, other, prefix, monkeypatch))
            await pool.aclose()

        asyncio.run(main())

    return run


# Between look and write.


def test_who_is_replaced_between_look_and_write_is_fenced(world: Callable[..., None]) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        w.between(lambda _: w.other.claim(0))
        with pytest.raises(Fenced):
            await w.store.commit(0, changes(owner, "a"))
        assert await w.raw.exists(w.states, w.timers, w.outbox) == 0
        await w.nobody_watches()

    world(scenario)


def test_another_commit_between_look_and_write_is_the_one_that_counts(world: Callable[..., None]) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        w.between(lambda _: w.other.commit(0, changes(owner, "b")))
        with pytest.raises(CommitRejected):
            await w.store.commit(0, changes(owner, "a"))
        assert (await w.other.claim(0)).outbox == [b"b"]
        await w.nobody_watches()

    world(scenario)


def test_ones_own_lost_commit_that_arrives_between_look_and_write_is_not_doubled(world: Callable[..., None]) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        w.between(lambda _: w.other.commit(0, changes(owner, "a")))
        await w.store.commit(0, changes(owner, "a"))
        assert (await w.other.claim(0)).outbox == [b"a"]
        await w.nobody_watches()

    world(scenario)


@pytest.mark.parametrize("number", range(4))
def test_a_key_that_breaks_between_look_and_write_is_noticed(world: Callable[..., None], number: int) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        await w.store.commit(0, changes(owner, "a"))
        keys = [w.meta, w.states, w.timers, w.outbox]
        w.between(lambda _: w.raw.set(keys.pop(number), "somebody else's"))
        commit = changes(owner, "b", expected="a")
        commit.tail = 1
        before = [await w.raw.dump(key) for at, key in enumerate(keys) if at != number]
        with pytest.raises(StateLost):
            await w.store.commit(0, commit)
        assert [await w.raw.dump(key) for key in keys] == before

    world(scenario)


def test_readers_between_look_and_write_do_no_harm(world: Callable[..., None]) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        looks: list[object] = []

        async def read(connection: object) -> None:
            looks.append(connection)
            await w.other.load(0, "", [PROFILE])
            await w.other.peek(0, [PROFILE])
            await w.other.metas(1)

        w.between(read, times=9)
        await w.store.commit(0, changes(owner, "a"))
        assert len(looks) == 1
        await w.nobody_watches()

    world(scenario)


def test_a_commit_that_was_done_before_leaves_nothing_watched(world: Callable[..., None]) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        await w.store.commit(0, changes(owner, "a"))
        await w.store.commit(0, changes(owner, "a"))
        await w.nobody_watches()

    world(scenario)


def test_what_may_not_be_watched_is_not_written(world: Callable[..., None], redis_url: str, prefix: str) -> None:
    """By a user whom Redis refuses just that."""
    user = prefix.rstrip(".:")

    async def scenario(w: World) -> None:
        await w.raw.execute_command("ACL", "SETUSER", user, "on", ">secret", "~*", "+@all", "-watch")
        try:
            async with Redis.from_url(redis_url, username=user, password="secret") as redis:
                store = RedisProfileStore(redis, prefix, 1)
                owner = await store.claim(0)
                with pytest.raises(ResponseError, match="permissions"):
                    await store.commit(0, changes(owner, "a"))
        finally:
            await w.raw.execute_command("ACL", "DELUSER", user)
        assert await w.raw.exists(w.states, w.timers, w.outbox) == 0

    world(scenario)


def test_a_server_that_knows_no_scripts_any_more_is_told_them(world: Callable[..., None]) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        await w.raw.script_flush()
        await w.store.commit(0, changes(owner, "a"))
        await w.raw.script_flush()
        assert await w.store.load(0, "a", [PROFILE]) == [b"a"]
        await w.nobody_watches()

    world(scenario)


def test_who_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "ANSWER_S", 0.05)

    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)  # the client's own greeting; nothing is said to it
            gone.append(writer)

        gone: list[asyncio.StreamWriter] = []
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"redis://127.0.0.1:{port}?lib_name=&lib_version=&protocol=2"
            async with redis_store.connect(url) as redis:
                store = RedisProfileStore(redis, "p", 1)
                for call in (store.metas(1), store.load(0, "", [PROFILE]), store.commit(0, NOTHING)):
                    with pytest.raises(Unanswered):
                        await call
            for writer in gone:
                writer.close()

    asyncio.run(main())


# Several at a time.


def test_commits_of_several_partitions_share_two_round_trips_and_nothing_else(
    world: Callable[..., None], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which one was taken over, one is done already, and one stands elsewhere."""

    async def scenario(w: World) -> None:
        store = RedisProfileStore(w.redis, prefix, 5)
        owners = [await store.claim(partition) for partition in range(5)]
        await RedisProfileStore(w.raw, prefix, 5).claim(1)
        await store.commit(2, changes(owners[2], "a"))
        sent: list[list[bytes]] = []
        real = redis_store._exchange

        async def exchange(connection: Any, commands: list[bytes], **how: bool) -> list[Any]:
            sent.append(commands)
            return await real(connection, commands, **how)

        monkeypatch.setattr(redis_store, "_exchange", exchange)
        given = [changes(owner, "a", expected="x" if n == 3 else "") for n, owner in enumerate(owners)]
        found = await asyncio.gather(*(store.commit(n, each) for n, each in enumerate(given)), return_exceptions=True)
        assert [type(each) for each in found] == [type(None), Fenced, type(None), CommitRejected, type(None)]
        assert len(sent) == 2
        assert [(await store.claim(n)).outbox for n in range(5)] == [[b"a"], [], [b"a"], [], [b"a"]]
        await w.nobody_watches()

    world(scenario)


def test_who_is_disturbed_in_between_makes_the_others_look_again(world: Callable[..., None], prefix: str) -> None:
    async def scenario(w: World) -> None:
        w.store = store = RedisProfileStore(w.redis, prefix, 3)
        other = RedisProfileStore(w.raw, prefix, 3)
        owners = [await store.claim(partition) for partition in range(3)]
        w.between(lambda _: other.claim(1))
        found = await asyncio.gather(
            *(store.commit(n, changes(owner, "a")) for n, owner in enumerate(owners)), return_exceptions=True
        )
        assert [type(each) for each in found] == [type(None), Fenced, type(None)]
        assert [(await other.claim(n)).outbox for n in range(3)] == [[b"a"], [], [b"a"]]
        await w.nobody_watches()

    world(scenario)


def test_large_ones_wait_for_nobody(world: Callable[..., None], prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "GATHERED", 0)
    looks: list[int] = []

    async def scenario(w: World) -> None:
        store = RedisProfileStore(w.redis, prefix, 5)
        owners = [await store.claim(partition) for partition in range(5)]

        async def look(_: object) -> None:
            looks.append(1)

        w.between(look, times=9)
        await asyncio.gather(*(store.commit(n, changes(owner, "a")) for n, owner in enumerate(owners)))
        assert len(looks) == 5
        assert [await store.load(n, "a", [PROFILE]) for n in range(5)] == [[b"a"]] * 5

    world(scenario)


# Connections.


def test_a_connection_killed_between_look_and_write_is_replaced_and_looks_again(world: Callable[..., None]) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        looks: list[object] = []

        async def kill(_: object) -> None:
            looks.append(await w.raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))

        w.between(kill, times=2)
        await w.store.commit(0, changes(owner, "a"))
        assert len(looks) == 2
        assert (await w.other.claim(0)).outbox == [b"a"]

    world(scenario)


def test_a_connection_opened_anew_between_look_and_write_is_not_written_to_unwatched(
    world: Callable[..., None],
) -> None:
    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)

        async def close(connection: Any) -> None:
            await connection.disconnect()
            await w.other.claim(0)

        w.between(close)
        with pytest.raises(Fenced):
            await w.store.commit(0, changes(owner, "a"))
        assert await w.raw.exists(w.states, w.timers, w.outbox) == 0

    world(scenario)


def test_a_cancelled_commit_is_whole_or_nothing_and_leaves_a_clean_connection(
    world: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "GATHER_S", 0)

    async def scenario(w: World) -> None:
        owner, token, done = await w.store.claim(0), "", 0
        for steps in range(40):
            commit = changes(owner, f"{steps}", expected=token)
            commit.tail = done
            task = asyncio.ensure_future(w.store.commit(0, commit))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.01)  # what was sent may arrive
            found = await w.other.claim(0)
            assert len(found.outbox) == done + (found.token != token)
            owner.fence, token, done = found.fence, found.token, len(found.outbox)
            assert await w.store.peek(0, [PROFILE]) == [token.encode() or None]
            await w.nobody_watches()
        assert done

    world(scenario)


def test_a_refused_command_refuses_the_transaction_and_its_reason_comes_out(
    world: Callable[..., None],
) -> None:
    """Memory that runs out between look and write."""

    async def scenario(w: World) -> None:
        owner = await w.store.claim(0)
        w.between(lambda _: w.raw.config_set("maxmemory", 1))
        try:
            with pytest.raises(OutOfMemoryError):
                await w.store.commit(0, changes(owner, "a"))
        finally:
            await w.raw.config_set("maxmemory", 0)
        assert await w.raw.exists(w.states, w.timers, w.outbox) == 0
        await w.store.commit(0, changes(owner, "a"))

    world(scenario)


def test_a_connection_reads_an_error_reply_and_stays_open(world: Callable[..., None]) -> None:
    """Else the replies behind the first error would be lost, or read by the next call."""

    async def scenario(w: World) -> None:
        connection = await w.redis.connection_pool.get_connection()
        await connection.send_packed_command([b"*1\r\n$4\r\nNOPE\r\n", b"*1\r\n$4\r\nPING\r\n"], check_health=False)
        with pytest.raises(ResponseError):
            await connection.read_response()
        assert connection.is_connected
        assert await connection.read_response() == b"PONG"
        await connection.disconnect(nowait=True)
        assert not connection.is_connected
        await w.redis.connection_pool.release(connection)

    world(scenario)


def test_sending_opens_a_closed_connection_only_at_its_start() -> None:
    """`is_connected` is looked at right before. Nothing may come in between; a health check, for one, may reconnect."""
    source = " ".join(inspect.getsource(AbstractConnection.send_packed_command).split())
    assert "if not self.is_connected: await self.connect_check_health(check_health=False) if check_health:" in source
    assert source.count("connect_check_health") == 1


def test_a_cluster_lends_a_nodes_connection() -> None:
    assert list(inspect.signature(ClusterNode.acquire_connection).parameters) == ["self"]
    assert list(inspect.signature(ClusterNode.release).parameters) == ["self", "connection"]
    assert not inspect.iscoroutinefunction(ClusterNode.release)
