"""What must be true of a Redis server before anything is kept in it."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from pipeline.store.redis_store import Client

OLDEST = (7, 0)


async def check_server(redis: Client) -> list[str]:
    """Findings, each a sentence that ends in what to do; an empty list is good. Raises redis errors when it is away."""
    if isinstance(redis, RedisCluster):
        await redis.initialize()
        found: list[str] = []
        for node in redis.get_primaries():
            found += [f"{node.name}: {finding}" for finding in await _check(redis, {"target_nodes": node})]
        return found
    found = await _check(redis, {})
    # A proxy in front of one may well leave this out, or say 0: then it takes keys of several slots in one call, too.
    if int((await cast(Any, redis).info("cluster")).get("cluster_enabled", 0)):
        found.append(
            "it is part of a Redis Cluster (cluster_enabled), which isn't supported yet: give the address of a Redis or"
            " Valkey that stands alone, with replicas if you like"
        )
    return found


async def _check(redis: Client, where: dict[str, Any]) -> list[str]:
    call = cast(Any, redis)
    found = []
    info = await call.info("server", **where)
    version = str(info.get("redis_version", "0"))  # Valkey gives the Redis version it is compatible with
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        found.append(f"Redis {version} is too old: use 7.0 or later, or Valkey")
    replication = await call.info("replication", **where)
    if replication.get("role") != "master":
        found.append("this server is a replica, which takes no writes: give the address of the primary")
    memory = await call.info("memory", **where)
    policy = memory.get("maxmemory_policy")
    if policy != "noeviction":
        found.append(
            f"maxmemory-policy is {policy}: Redis would throw profiles away when memory runs out;"
            " set `maxmemory-policy noeviction`"
        )
    persistence = await call.info("persistence", **where)
    if not persistence.get("aof_enabled") and not await _saves(call, where):
        found.append("neither append-only file nor snapshots: a restart loses every profile; set `appendonly yes`")
    return found


async def _saves(call: Any, where: dict[str, Any]) -> bool:
    """Whether snapshots are taken. Hosted services refuse CONFIG: then they are trusted to."""
    try:
        return bool((await call.config_get("save", **where)).get("save", "?"))
    except ResponseError:
        return True
