"""Both stores in Redis (7.0 or later) or Valkey, alone or as a cluster: one script call a batch or commit.

Connection errors come out as redis-py's own exceptions. Every call may be repeated: a repeated claim raises the fence
once more, anything else repeated changes nothing.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Any, cast

import msgspec
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoScriptError

from pipeline.errors import CommitRejected, Fenced, StateLost
from pipeline.identity.asks import Answer, Ask
from pipeline.identity.graph import compile_namespaces
from pipeline.store.keys import graph_keys, partition_keys
from pipeline.store.ports import Claimed, Commit, SourcePosition
from pipeline.topology.model import Identifiers

Client = Redis | RedisCluster

_encode = msgspec.msgpack.Encoder().encode
_decode_answers = msgspec.msgpack.Decoder(tuple[list[Answer], int, int]).decode


_decode_position = msgspec.msgpack.Decoder(SourcePosition).decode


class _Script:
    """A script of ours, called by its digest."""

    def __init__(self, name: str) -> None:
        self.source = resources.files("pipeline.store").joinpath("lua", f"{name}.lua").read_text("utf-8")
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Client, keys: list[str], args: list[Any]) -> list[Any]:
        """What the script returned behind its "ok".

        Raises StateLost where it found keys that are not ours, CommitRejected and Fenced as the ports say.
        """
        call = cast(Any, redis.execute_command)
        try:
            reply = await call("EVALSHA", self.digest, len(keys), *keys, *args)
        except NoScriptError:
            reply = await call("EVAL", self.source, len(keys), *keys, *args)
        outcome = reply[0]
        if outcome == b"ok":
            return cast(list[Any], reply[1:])
        where = keys[0]
        if outcome == b"fenced":
            raise Fenced(f"{where}: the stored fence is {reply[1]}: another worker has claimed this partition")
        if outcome == b"rejected":
            found = [part.decode() if isinstance(part, bytes) else part for part in reply[1:]]
            raise CommitRejected(f"{where}: the store stands at {found}, which is not what this owner wrote last")
        raise StateLost(
            f"Redis: {reply[1].decode()}: something else writes to these keys, or they were restored in part."
            " Use a Redis (or a key prefix) of its own, or restore all keys of one hash tag together"
        )


@cache
def _script(name: str) -> _Script:
    return _Script(name)


class RedisGraphStore:
    """See `ports.GraphStore`. `redis` must not decode responses."""

    def __init__(self, redis: Client, prefix: str, identifiers: Identifiers) -> None:
        self._redis = redis
        self._keys = graph_keys(prefix)
        table = compile_namespaces(identifiers)
        self._namespaces = _encode(
            {
                name: (flags.unique, flags.device, -1 if flags.limit is None else flags.limit)
                for name, flags in table.items()
            }
        )

    async def claim(self, source: str, token: str) -> SourcePosition | None:
        """See `ports.GraphStore.claim`."""
        (stored,) = await _script("claim_source")(self._redis, [self._keys[3]], [source, token])
        return None if stored is None else _decode_position(stored)

    async def resolve(
        self, source: str, expected: str, token: str, done: SourcePosition, asks: list[Ask]
    ) -> tuple[list[Answer], int, int]:
        """See `ports.GraphStore.resolve`."""
        args = [source, expected, token, _encode(done), done.high, self._namespaces, _encode(asks)]
        (packed,) = await _script("resolve")(self._redis, self._keys, args)
        return _decode_answers(packed)

    async def root(self, leaf: str) -> str:
        """See `ports.GraphStore.root`. A read a link: links only ever grow, so a path that grows meanwhile is right."""
        call = cast(Any, self._redis.execute_command)
        while (link := await call("HGET", self._keys[0], leaf)) is not None:
            leaf = link[:16].decode()
        return leaf


class RedisProfileStore:
    """See `ports.ProfileStore`. `redis` must not decode responses; `partitions` is fixed for a deployment's life."""

    def __init__(self, redis: Client, prefix: str, partitions: int) -> None:
        self._redis = redis
        self._keys = [partition_keys(prefix, partition, partitions) for partition in range(partitions)]
        self._call = cast(Any, redis.execute_command)

    async def claim(self, partition: int) -> Claimed:
        """See `ports.ProfileStore.claim`."""
        fence, token, meta, head, outbox = await _script("claim")(self._redis, self._keys[partition], [])
        return Claimed(fence=fence, token=token.decode(), meta=meta, head=head, outbox=outbox)

    async def load(self, partition: int, token: str, ids: list[str]) -> list[bytes | None]:
        """See `ports.ProfileStore.load`."""
        (states,) = await _script("load")(self._redis, self._keys[partition], [token, _encode(ids)])
        return cast(list[bytes | None], states)

    async def due(self, partition: int, token: str, before: int, limit: int) -> list[str]:
        """See `ports.ProfileStore.due`."""
        (found,) = await _script("due")(self._redis, self._keys[partition], [token, before, limit])
        return [profile.decode() for profile in found]

    async def peek(self, partition: int, ids: list[str]) -> list[bytes | None]:
        """See `ports.ProfileStore.peek`."""
        if not ids:
            return []
        return cast(list[bytes | None], await self._call("HMGET", self._keys[partition][1], *ids))

    async def walk(self, partition: int, cursor: int, count: int) -> tuple[int, list[str]]:
        """See `ports.ProfileStore.walk`."""
        following, found = await self._call("HSCAN", self._keys[partition][1], cursor, "COUNT", count)
        return int(following), [profile.decode() for profile in found]

    async def commit(self, partition: int, commit: Commit) -> None:
        """See `ports.ProfileStore.commit`."""
        ids = [profile for profile, state in commit.states.items() if state is not None]
        gone = [profile for profile, state in commit.states.items() if state is None]
        values = [state for state in commit.states.values() if state is not None]
        values += commit.outbox
        timers: list[int | str] = []
        stopped: list[str] = []
        for profile, due in commit.timers.items():
            if due is None:
                stopped.append(profile)
            else:
                timers += (due, profile)
        index = _encode((ids, gone, timers, stopped, [len(value) for value in values]))
        args: list[Any] = [commit.fence, commit.expected, commit.token, commit.meta, commit.tail, commit.trim]
        args += (index, b"".join(values))
        await _script("commit")(self._redis, self._keys[partition], args)

    async def metas(self, partitions: int) -> list[bytes | None]:
        """See `ports.ProfileStore.metas`."""
        pipe = self._redis.pipeline(transaction=False)
        for keys in self._keys[:partitions]:
            pipe.hget(keys[0], "meta")
        return cast(list[bytes | None], await pipe.execute())

    async def pending(self, partition: int) -> tuple[int, int | None]:
        """See `ports.ProfileStore.pending`."""
        timers = self._keys[partition][2]
        count = await self._call("ZCARD", timers)
        first = await self._call("ZRANGE", timers, 0, 0)
        due = await self._call("ZSCORE", timers, first[0]) if first else None
        return count, None if due is None else int(float(due))
