"""Does an event cost the same with 10,000 identities as with 200,000? And a timer, however many wait?"""

from __future__ import annotations

import asyncio
import time
from math import sqrt
from secrets import token_hex
from statistics import median
from typing import Any

from redis.asyncio import Redis

from benchmarks.backlog import Expected, fill, measure, together
from benchmarks.contestants import Ours, Servers, servers
from benchmarks.generate import Workload
from pipeline.profile.timers import Timers
from pipeline.store.ports import Claimed, Commit
from pipeline.store.redis_store import RedisProfileStore

IDENTITIES = (10_000, 200_000)
EACH = 10  # events an identity: profiles are as full in both
FLAT = 1.3
TIMERS = (10_000, 1_000_000)
SET = 1_000  # timers a commit
COMMITS = 600
ROUNDS = 3
HOURS = 3 * 3_600_000
GOLDEN = 0.618_033_988_749_895  # multiples of it, less their whole part, lie evenly between 0 and 1
PREFIX, PARTITIONS = "bench-timers", 4


def scale() -> dict[str, Any]:
    """Both, printed and returned."""
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
    """Redis µs to set a timer and have one ring, and µs to find that nothing is due, with few and with many waiting: by
    turns, medians.
    """
    runs: dict[int, list[tuple[float, float]]] = {waiting: [] for waiting in TIMERS}
    async with Redis.from_url(on.redis.url) as client:
        for _ in range(ROUNDS):
            for waiting in TIMERS:
                runs[waiting].append(await _keep_waiting(client, waiting))
    out: dict[str, Any] = {}
    for waiting, measured in runs.items():
        spent, asking = zip(*measured, strict=True)
        out[f"waiting_{waiting}"] = {
            "redis_us_a_timer": [round(each, 2) for each in spent],
            "us_to_ask_what_is_due": round(median(asking)),
        }
    few, many = (median(spent for spent, _ in measured) for measured in runs.values())
    return {**out, "large_over_small": round(many / few, 2)}


async def _keep_waiting(client: Redis, waiting: int) -> tuple[float, float]:
    """One run with about as many waiting all the time."""
    await client.flushall()
    store = RedisProfileStore(client, PREFIX, PARTITIONS)
    shelf = _Shelf(store, await store.claim(0))
    # As if a thousand had been set at a time for long, each to ring at some moment of the next hours.
    for start in range(0, waiting, SET):
        some = range(start, start + SET)
        await shelf.commit({f"{i:016d}": int(HOURS * (1 - sqrt(1 - i * GOLDEN % 1))) for i in some})
    began, rang = await _spent(client), 0
    for turn in range(COMMITS):  # a thousand are set, and the clock goes on by as much as lets a thousand ring
        before = (turn + 1) * HOURS * SET // waiting // 2
        rang += await shelf.ring(before)
        some = range(waiting + turn * SET, waiting + (turn + 1) * SET)
        await shelf.commit({f"{i:016d}": before + int(HOURS * (i * GOLDEN % 1)) for i in some})
    spent = await _spent(client) - began
    if not 0.9 < rang / (COMMITS * SET) < 1.1:
        raise RuntimeError(f"{rang:,} of {COMMITS * SET:,} timers rang: this measures something else")
    wall = time.perf_counter()
    for _ in range(300):
        await store.due(0, shelf.token, 0, 1, SET)  # nothing is due
    asking = (time.perf_counter() - wall) / 300
    await client.flushall()
    return spent / (COMMITS * SET) * 1e6, asking * 1e6


async def _spent(client: Redis) -> float:
    """CPU seconds of the server so far, by its own account: it is finer than the kernel's clock ticks."""
    spent = await client.info("cpu")
    return float(spent["used_cpu_user"] + spent["used_cpu_sys"])


class _Shelf:
    """An owner that does nothing but set timers and have them ring."""

    def __init__(self, store: RedisProfileStore, claimed: Claimed) -> None:
        self.token = claimed.token
        self._store, self._claimed = store, claimed
        self._timers = Timers()
        self._number = 0
        self._over: dict[bytes, int] = {}

    async def commit(self, timers: dict[str, int]) -> None:
        sheets = self._timers.set(timers, self._number)
        self._number += len(sheets)
        new, head = token_hex(8), self._claimed.head
        await self._store.commit(
            0,
            Commit(fence=self._claimed.fence, expected=self.token, token=new, meta=b"", states={}, outbox=[], tail=head,
                   timers={**dict.fromkeys(self._over), **sheets}, trim=head),
        )  # fmt: skip
        self.token, self._over = new, {}

    async def ring(self, before: int) -> int:
        asked = await self._store.due(0, self.token, self._timers.upto, before, 1_000_000)
        self._timers.found(asked, before, 1_000_000)
        rung, self._over = self._timers.ring(before, 1_000_000)
        return len(rung)
