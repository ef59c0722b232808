"""Does an event cost the same with 10,000 identities as with 200,000? And a timer, however many wait?"""

from __future__ import annotations

import asyncio
import time
from secrets import token_hex
from statistics import median
from typing import Any

from redis.asyncio import Redis

from benchmarks.contestants import Ours, Servers
from benchmarks.generate import Workload
from benchmarks.meter import cpu_seconds
from pipeline.store.keys import partition_keys
from pipeline.store.ports import Commit
from pipeline.store.redis_store import RedisProfileStore

IDENTITIES = (10_000, 200_000)
EACH = 10  # events an identity: profiles are as full in both
FLAT = 1.3
TIMERS = (10_000, 1_000_000)
PREFIX, PARTITIONS = "bench-timers", 4


def scale() -> dict[str, Any]:
    """Both, printed and returned."""
    from benchmarks.run import Expected, fill, measure, servers, together

    out: dict[str, Any] = {}
    with servers() as on:
        # As many events an hour of event time a person, so that as many waits run out.
        loads = {n: Workload(EACH * n, n, step_ms=36 * 20_000 / n) for n in IDENTITIES}
        for n, workload in loads.items():
            fill(on, f"bench.scale.{n}", workload)
        runs: dict[int, list[dict[str, Any]]] = {n: [] for n in IDENTITIES}
        # The small ones before and after the large one: the speed of a shared machine drifts.
        for n in (IDENTITIES[0],) * 2 + (IDENTITIES[1],) + (IDENTITIES[0],) * 2:
            ours = Ours(on, f"bench.scale.{n}", loads[n].total)
            run = measure(on, ours, loads[n], 3_600) | Expected().carts(ours, loads[n])
            print(f"  {n:,}: {together(run):.1f} µs an event, {run}", flush=True)
            runs[n].append(run)
        small, large = (median(map(together, each)) for each in runs.values())
        out |= {
            f"identities_{n}": {"cost_us": [round(together(r), 1) for r in each], **each[-1]}
            for n, each in runs.items()
        }
        out["large_over_small"] = round(large / small, 2)
        out["flat"] = large <= FLAT * small
        out["timers"] = asyncio.run(timers(on))
    for name in ("large_over_small", "flat", "timers"):
        print(f"{name}: {out[name]}")
    return out


async def timers(on: Servers) -> dict[str, Any]:
    """Redis µs to move a timer, and to find what is due, with few and with many waiting."""
    out: dict[str, Any] = {}
    async with Redis.from_url(on.redis.url) as client:
        store = RedisProfileStore(client, PREFIX, PARTITIONS)
        key = partition_keys(PREFIX, 0, PARTITIONS)[2]
        for waiting in TIMERS:
            await client.flushall()
            for start in range(0, waiting, 10_000):
                await client.zadd(key, {f"{i:016d}": 10**12 + i for i in range(start, start + 10_000)})
            claimed = await store.claim(0)
            token, moved, commits = claimed.token, 1_000, 60
            began = cpu_seconds(on.redis.pid)
            for number in range(commits):
                new = token_hex(8)
                ids = range(number, waiting, waiting // moved)
                changes: dict[str, int | None] = {f"{i:016d}": 10**12 + (i * 7_919) % waiting for i in ids}
                await store.commit(
                    0,
                    Commit(fence=claimed.fence, expected=token, token=new, meta=b"", states={}, timers=changes,
                           outbox=[], tail=claimed.head, trim=claimed.head),
                )  # fmt: skip
                token = new
            moving = (cpu_seconds(on.redis.pid) - began) / (commits * moved) * 1e6
            wall = time.perf_counter()
            for _ in range(300):
                await store.due(0, token, 10**12, 1_000)  # nothing is due
            asking = (time.perf_counter() - wall) / 300 * 1e6
            out[f"waiting_{waiting}"] = {
                "redis_us_a_moved_timer": round(moving, 2),
                "us_to_ask_what_is_due": round(asking),
            }
        await client.flushall()
    return out
