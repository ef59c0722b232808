"""Both stores in Redis (7.0 or later) or Valkey, alone or as a cluster.

A batch of the first hop is one script call. A commit of the second is a look and a write: WATCH its keys and check,
then MULTI ... EXEC, which Redis refuses if anybody wrote to a watched key since. A script could do both in one call,
but a state that goes through Lua costs Redis more than twice one that comes as a command's argument.

What several partitions ask, load or commit at about the same time goes in one round trip (gathering.py): live, where a
batch is small, the ways there and back are most of what it costs.

Connection errors come out as redis-py's own exceptions. Every call may be repeated: a repeated claim raises the fence
once more, anything else repeated changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from typing import Any, cast

import hiredis
import msgspec
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ConnectionError, NoScriptError, ResponseError
from redis.exceptions import TimeoutError as Unanswered

from pipeline.errors import CommitRejected, Fenced, PipelineError, StateLost
from pipeline.identity.asks import Answer, Ask
from pipeline.identity.graph import HOUSEHOLD, compile_namespaces
from pipeline.store.gathering import Gathering
from pipeline.store.keys import graph_keys, partition_keys
from pipeline.store.ports import Claimed, Commit, Home, Skip, SourcePosition
from pipeline.topology.model import Identifiers

Client = Redis | RedisCluster
_Word = str | bytes | int

_encode = msgspec.msgpack.Encoder().encode
_decode_answers = msgspec.msgpack.Decoder(tuple[list[Answer | bool], int, int]).decode

ANSWER_S = 5.0  # for a server that has nothing else to do
GATHERED = 500  # profiles that are loaded or written: more are much to do, and others shall not wait for them
_decode_position = msgspec.msgpack.Decoder(SourcePosition).decode
_decode_skip = msgspec.msgpack.Decoder(Skip).decode


class _Script:
    """A script of ours, called by its digest."""

    def __init__(self, name: str) -> None:
        self.source = resources.files("pipeline.store").joinpath("lua", f"{name}.lua").read_text("utf-8")
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Client, keys: list[str], args: list[Any]) -> list[Any]:
        """See `_answer`."""
        if not isinstance(redis, RedisCluster):
            (reply,) = await self.replies(redis, [(keys, args)])
            return _answer(keys, reply)
        call = cast(Any, redis.execute_command)
        try:
            reply = await call("EVALSHA", self.digest, len(keys), *keys, *args)
        except NoScriptError:
            reply = await call("EVAL", self.source, len(keys), *keys, *args)
        return _answer(keys, reply)

    def by_digest(self, keys: list[str], args: list[Any]) -> bytes:
        """The command that calls it where the server knows it."""
        return _command("EVALSHA", self.digest, len(keys), *keys, *args)

    def whole(self, keys: list[str], args: list[Any]) -> bytes:
        """The command that calls it anyhow; from then on the server knows it."""
        return _command("EVAL", self.source, len(keys), *keys, *args)

    async def replies(self, redis: Client, asked: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """A reply, or an error, to each (keys, arguments), all of them with the first ones' server."""
        async with _connection(redis, asked[0][0][0]) as connection:
            replies = await _patiently(connection, [self.by_digest(*each) for each in asked])
            if any(isinstance(reply, NoScriptError) for reply in replies):  # then none of them was run
                replies = await _patiently(connection, [self.whole(*each) for each in asked])
            return replies


@cache
def _script(name: str) -> _Script:
    return _Script(name)


def connect(url: str) -> Redis:
    """A client for these stores, which wait for answers as `_exchange` does."""
    return Redis.from_url(url, health_check_interval=0, socket_timeout=None)


def _answer(keys: list[str], reply: list[Any] | Exception) -> list[Any]:
    """What a script returned behind its "ok".

    Raises StateLost where it found keys that are not ours, CommitRejected and Fenced as the ports say, and what Redis
    says against it.
    """
    if isinstance(reply, Exception):
        raise reply
    outcome = reply[0]
    if outcome == b"ok":
        return reply[1:]
    where = keys[0]
    if outcome == b"elsewhere":
        raise _Elsewhere(reply[1])
    if outcome == b"fenced":
        raise Fenced(f"{where}: the stored fence is {reply[1]}: another worker has claimed this partition")
    if outcome == b"rejected":
        found = [part.decode() if isinstance(part, bytes) else part for part in reply[1:]]
        raise CommitRejected(f"{where}: the store stands at {found}, which is not what this owner wrote last")
    raise StateLost(
        f"Redis: {reply[1].decode()}: something else writes to these keys, or they were restored in part."
        " Use a Redis (or a key prefix) of its own, or restore all keys of one hash tag together"
    )


class _Elsewhere(Exception):
    """The state has this stamp, not ours."""


class _Stamp:
    """Lets a script that claims see to it that the state is ours. `home` None: whose it is doesn't matter."""

    def __init__(self, redis: Client, group: str, home: Home | None) -> None:
        self._redis, self._group, self._home = redis, group, home
        self._ours = b"" if home is None else msgspec.json.encode(home)

    async def run(self, script: str, keys: list[str], *args: str) -> list[Any]:
        """Of a script that takes stamps as its last two arguments. Raises OtherDeployment."""
        stored = b""
        while True:
            try:
                return await _script(script)(self._redis, keys, [*args, self._ours, stored])
            except _Elsewhere as elsewhere:
                (stored,) = elsewhere.args
                if self._home is not None and not self._home.takes(stored):
                    raise self._home.refuse(self._group, stored) from None


class RedisGraphStore:
    """See `ports.GraphStore`. `redis` must not decode responses."""

    def __init__(
        self,
        redis: Client,
        prefix: str,
        identifiers: Identifiers,
        household: int = HOUSEHOLD,
        home: Home | None = None,
    ) -> None:
        self._redis = redis
        self._stamp = _Stamp(redis, prefix, home)
        self._household = household
        self._keys = graph_keys(prefix)
        self._asked: Gathering[list[Any], list[Any]] = Gathering("identity graph", self._replies)
        table = compile_namespaces(identifiers)
        self._namespaces = _encode(
            {
                name: (flags.unique, flags.device, -1 if flags.limit is None else flags.limit)
                for name, flags in table.items()
            }
        )

    async def settle(self) -> None:
        """See `ports.GraphStore.settle`."""
        await self._stamp.run("claim_source", [self._keys[3]], "", "")

    async def claim(self, source: str, token: str) -> SourcePosition | None:
        """See `ports.GraphStore.claim`."""
        (stored,) = await self._stamp.run("claim_source", [self._keys[3]], source, token)
        return None if stored is None else _decode_position(stored)

    async def resolve(
        self, source: str, expected: str, token: str, done: SourcePosition, asks: list[Ask]
    ) -> tuple[list[Answer], int, int]:
        """See `ports.GraphStore.resolve`."""
        args = [source, expected, token, _encode(done), done.high, self._namespaces, self._household, _encode(asks)]
        (packed,) = _answer(self._keys, await self._asked.ask(args))
        told, shared, high = _decode_answers(packed)
        answers = [
            Answer(ask.ids[2], ask.ids[:2], 0, True, [], []) if isinstance(answer, bool) else answer
            for ask, answer in zip(asks, told, strict=True)
        ]
        return answers, shared, high

    async def _replies(self, asked: list[list[Any]]) -> list[Any]:
        return await _script("resolve").replies(self._redis, [(self._keys, args) for args in asked])

    async def position(self, source: str) -> SourcePosition | None:
        """See `ports.GraphStore.position`."""
        stored = await _call(self._redis, "HGET", self._keys[3], source)
        return None if stored is None else _decode_position(stored)

    async def skipped(self, source: str) -> Skip | None:
        """See `ports.GraphStore.skipped`."""
        stored = await _call(self._redis, "HGET", self._keys[3], f"{source}#skip")
        return None if stored is None else _decode_skip(stored)

    async def skip(self, source: str, skip: Skip) -> None:
        """See `ports.GraphStore.skip`."""
        await _call(self._redis, "HSET", self._keys[3], f"{source}#skip", _encode(skip))

    async def root(self, leaf: str) -> str:
        """See `ports.GraphStore.root`. A read a link: links only ever grow, so a path that grows meanwhile is right."""
        links = self._keys[0]
        while (link := await _call(self._redis, "HGET", links, leaf)) is not None:
            leaf = link[:16].decode()
        return leaf


class RedisProfileStore:
    """See `ports.ProfileStore`. `redis` must not decode responses; `partitions` is fixed for a deployment's life."""

    def __init__(self, redis: Client, prefix: str, partitions: int, home: Home | None = None) -> None:
        self._redis = redis
        self._stamp = _Stamp(redis, prefix, home)
        self._keys = [partition_keys(prefix, partition, partitions) for partition in range(partitions)]
        self._apart = isinstance(redis, RedisCluster)  # partitions lie on servers of their own
        self._loads: Gathering[tuple[list[str], list[Any]], list[Any]] = Gathering("loads", self._load)
        self._commits: Gathering[tuple[list[str], Commit], None] = Gathering("commits", self._commit)

    async def claim(self, partition: int) -> Claimed:
        """See `ports.ProfileStore.claim`."""
        fence, token, meta, head, outbox = await self._stamp.run("claim", self._keys[partition])
        return Claimed(fence=fence, token=token.decode(), meta=meta, head=head, outbox=outbox)

    async def load(self, partition: int, token: str, ids: list[str]) -> list[bytes | None]:
        """See `ports.ProfileStore.load`."""
        keys, args = self._keys[partition], [token, _encode(ids)]
        if self._apart or len(ids) > GATHERED:
            (states,) = await _script("load")(self._redis, keys, args)
        else:
            (states,) = _answer(keys, await self._loads.ask((keys, args)))
        return cast(list[bytes | None], states)

    async def _load(self, asked: list[tuple[list[str], list[Any]]]) -> list[Any]:
        return await _script("load").replies(self._redis, asked)

    async def due(self, partition: int, token: str, since: int, before: int, limit: int) -> list[bytes]:
        """See `ports.ProfileStore.due`."""
        (found,) = await _script("due")(self._redis, self._keys[partition], [token, since, before, limit])
        return cast(list[bytes], found)

    async def peek(self, partition: int, ids: list[str]) -> list[bytes | None]:
        """See `ports.ProfileStore.peek`."""
        if not ids:
            return []
        return cast(list[bytes | None], await _call(self._redis, "HMGET", self._keys[partition][1], *ids))

    async def walk(self, partition: int, cursor: int, count: int) -> tuple[int, list[str]]:
        """See `ports.ProfileStore.walk`."""
        states = self._keys[partition][1]
        following, found = await _call(self._redis, "HSCAN", states, cursor, "COUNT", count)
        names = found if self._apart else found[::2]  # a cluster's client has made a dictionary of it
        return int(following), [profile.decode() for profile in names]

    async def commit(self, partition: int, commit: Commit) -> None:
        """See `ports.ProfileStore.commit`."""
        asked = self._keys[partition], commit
        if not self._apart and len(commit.states) <= GATHERED:
            await self._commits.ask(asked)
        elif (problem := (await self._commit([asked]))[0]) is not None:
            raise problem

    async def _commit(self, asked: list[tuple[list[str], Commit]]) -> list[Exception | None]:
        """Each is written or refused for itself. Raises what stops all of them: then nobody knows."""
        told: dict[int, Exception | None] = {}
        async with _connection(self._redis, asked[0][0][0]) as connection:
            while left := [at for at in range(len(asked)) if at not in told]:
                some = [asked[at] for at in left]
                found = await connection.retry.call_with_retry(
                    lambda some=some: _try_commits(connection, some), lambda _: connection.disconnect(nowait=True)
                )
                # Where somebody else wrote between look and write, the next look tells what that means.
                told |= {left[at]: problem for at, problem in found.items()}
        return [told[at] for at in range(len(asked))]

    async def metas(self, partitions: int) -> list[bytes | None]:
        """See `ports.ProfileStore.metas`."""
        if not self._apart:
            return await _calls(self._redis, [("HGET", keys[0], "meta") for keys in self._keys[:partitions]])
        pipe = self._redis.pipeline(transaction=False)
        for keys in self._keys[:partitions]:
            pipe.hget(keys[0], "meta")
        return cast(list[bytes | None], await pipe.execute())

    async def earliest(self, partition: int, since: int) -> int | None:
        """See `ports.ProfileStore.earliest`."""
        timers = self._keys[partition][2]
        found = await _call(self._redis, "ZRANGE", timers, since, "+inf", "BYSCORE", "LIMIT", 0, 1)
        score = await _call(self._redis, "ZSCORE", timers, found[0]) if found else None
        return None if score is None else int(float(score))

    async def begun(self, partition: int, since: int, before: int, limit: int) -> list[bytes]:
        """See `ports.ProfileStore.begun`."""
        timers, span = self._keys[partition][2], (f"({before}", since)
        found = await _call(self._redis, "ZRANGE", timers, *span, "BYSCORE", "REV", "LIMIT", 0, limit)
        return cast(list[bytes], found)


@asynccontextmanager
async def _connection(redis: Client, key: str) -> AsyncIterator[Any]:
    """A connection for oneself, to the server with `key`.

    If anything goes wrong it is closed: what is still watched, or still to be read, must not meet whoever gets it next.
    In a cluster a key that has moved is an error here; the client learns of it at the next call of a script.
    """
    node: Any = None
    if isinstance(redis, RedisCluster):
        await redis.initialize()
        node = redis.get_node_from_key(key)
        connection = node.acquire_connection()
    else:
        async with _patience():  # the server is greeted
            connection = await redis.connection_pool.get_connection()
    try:
        yield connection
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        if node is not None:
            node.release(connection)
        else:
            await cast(Redis, redis).connection_pool.release(connection)


async def _call(redis: Client, command: str, key: str, *words: _Word) -> Any:
    """One command's reply, as Redis gives it. Raises what Redis says against it."""
    if isinstance(redis, RedisCluster):
        return await cast(Any, redis.execute_command)(command, key, *words)
    return (await _calls(redis, [(command, key, *words)]))[0]


async def _calls(redis: Client, commands: Sequence[tuple[_Word, ...]]) -> list[Any]:
    """The same of several, with one server. Raises the first thing that Redis says against one."""
    async with _connection(redis, str(commands[0][1])) as connection:
        replies = await _patiently(connection, [_command(*words) for words in commands])
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


async def _patiently(connection: Any, commands: list[bytes]) -> list[Any]:
    """A reply, or an error, to each. As often as the client's settings say: they may be repeated."""
    return cast(
        list[Any],
        await connection.retry.call_with_retry(
            lambda: _exchange(connection, commands, raising=False), lambda _: connection.disconnect(nowait=True)
        ),
    )


async def _try_commits(connection: Any, asked: list[tuple[list[str], Commit]]) -> dict[int, Exception | None]:
    """Look and write. Of each by its place what is wrong with it, or None. Who is missing isn't written: somebody else
    wrote to the keys of one of them in between.
    """
    script = _script("check")
    watch = _command("WATCH", *[key for keys, _ in asked for key in keys])
    checks = [(keys, [c.fence, c.expected, c.token, c.tail, len(c.outbox), c.trim]) for keys, c in asked]
    replies = await _exchange(connection, [watch, *[script.by_digest(*each) for each in checks]], raising=False)
    if any(isinstance(reply, NoScriptError) for reply in replies):
        replies = await _exchange(connection, [watch, *[script.whole(*each) for each in checks]], raising=False)
    watched, *found_of = replies
    if isinstance(watched, Exception):  # nothing guards what would be written
        raise watched
    told: dict[int, Exception | None] = {}
    writes: list[bytes] = []
    for at, ((keys, commit), reply) in enumerate(zip(asked, found_of, strict=True)):
        try:
            found = _answer(keys, reply)
        except PipelineError as refused:
            told[at] = refused
        else:
            if found:
                writes += _writes(keys, commit, *found)
            else:
                told[at] = None  # its reply was lost
    if not writes:
        await _exchange(connection, [_command("UNWATCH")])
        return told
    if not connection.is_connected:  # closed by somebody else. Sending would open it again, and then nothing is watched
        raise ConnectionError("the connection was closed in the middle of a commit")
    *_, done = await _exchange(connection, [_command("MULTI"), *writes, _command("EXEC")])
    for problem in done or ():
        if isinstance(problem, Exception):
            raise problem
    return told if done is None else {at: told.get(at) for at in range(len(asked))}


def _writes(keys: list[str], commit: Commit, head: int, tail: int, trimmed: int) -> list[bytes]:
    """A commit's commands. None can fail on keys of the right types."""
    meta, states, timers, outbox = keys
    set_states: list[bytes] = []
    deleted: list[str] = []
    for profile, state in commit.states.items():
        if state is None:
            deleted.append(profile)
        else:
            field = profile.encode()
            set_states += (b"$%d\r\n%b\r\n$%d" % (len(field), field, len(state)), state)
    set_timers: list[bytes] = []
    over: list[bytes] = []
    for sheet, due in commit.timers.items():
        if due is None:
            over.append(sheet)
        else:
            score = b"%d" % due
            set_timers.append(b"$%d\r\n%b\r\n$%d\r\n%b" % (len(score), score, len(sheet), sheet))
    place: list[_Word] = ["fence", commit.fence, "token", commit.token, "head", head, "tail", tail]
    writes = [_command("HSET", meta, *place, "meta", commit.meta)]
    if set_states:
        writes.append(_command("HSET", states, packed=set_states, count=len(set_states)))
    if deleted:
        writes.append(_command("HDEL", states, *deleted))
    if set_timers:
        writes.append(_command("ZADD", timers, packed=set_timers, count=2 * len(set_timers)))
    if over:
        writes.append(_command("ZREM", timers, *over))
    if commit.outbox:
        writes.append(_command("RPUSH", outbox, *commit.outbox))
    if trimmed:
        writes.append(_command("LTRIM", outbox, trimmed, -1))
    return writes


def _command(*words: _Word, packed: Iterable[bytes] = (), count: int = 0) -> bytes:
    """A command as Redis reads it: `words`, and `count` more of them that `packed` holds as Redis reads them.

    hiredis packs too, but a commit of thousands of states takes it five times as long.
    """
    if not count:
        return hiredis.pack_command(cast(Any, words))
    lines = [b"*%d" % (len(words) + count)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        lines += (b"$%d" % len(raw), raw)
    lines += packed
    lines.append(b"")
    return b"\r\n".join(lines)


async def _exchange(connection: Any, commands: list[bytes], *, raising: bool = True) -> list[Any]:
    """Send commands and read a reply to each. Of error replies, raises the first, or returns them too.

    One patience for all of it: redis-py's own, a timer for each reply, would cost more than reading it. See `connect`.
    """
    replies: list[Any] = []
    async with _patience():
        await connection.send_packed_command(commands, check_health=False)
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as problem:
                replies.append(problem)
    for reply in replies if raising else ():
        if isinstance(reply, ResponseError):
            raise reply
    return replies


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    """Raises Unanswered when it is over."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError:
        raise Unanswered(f"Redis has not answered within {ANSWER_S:g} s") from None
