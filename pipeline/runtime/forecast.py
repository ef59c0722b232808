"""What the ingest of a recording would do to a pipeline as it stands, before anything is written.

Some of the recording is decided dry, by the rules as they are, from where the pipeline's time stands: what it remembers
of people is left out, and so is what the rest of the recording would still cancel. So numbers are for a person who says
yes or no, not for a machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec
from redis.asyncio import Redis

from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.files import FileLine
from pipeline.events.model import Event
from pipeline.runtime.replay import Replay
from pipeline.runtime.second_hop import Meta, decode_meta
from pipeline.store.redis_store import RedisProfileStore
from pipeline.topology.addresses import shown
from pipeline.topology.model import HOUR, Topology
from pipeline.triggers.decisions import Decision

LOOKED_AT = 50_000  # lines
LOOK_S = 15.0
OLD_MS = HOUR


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """`first`: when the recording's first event was received (UTC ms; 0: it has none). `past`: how far the pipeline is,
    where that is beyond it; else 0. `late`: events that lie before. `old`: reminders that were due more than an hour
    ago and would go out now. `whole`: all of the recording was looked at.
    """

    first: int = 0
    past: int = 0
    late: int = 0
    old: int = 0
    events: int = 0
    whole: bool = True


async def books(topology: Topology) -> list[Meta]:
    """Those of the partitions of identity.resolved that have any. Raises PipelineError where Redis doesn't answer."""
    redis = Redis.from_url(topology.redis)
    partitions = topology.topics.resolved.partitions
    try:
        raws = await RedisProfileStore(redis, topology.group, partitions).metas(partitions)
    except Exception as problem:
        raise PipelineError(
            f"Redis at {shown(topology.redis)} doesn't answer ({problem}), and it knows how far the pipeline is. Check"
            " `redis` in topology.yaml, or PIPELINE_REDIS; --yes asks nobody."
        ) from problem
    finally:
        await redis.aclose()
    return [decode_meta(raw) for raw in raws if raw]


async def clock_of(topology: Topology) -> int:
    """How far the source partition that is farthest is (UTC ms; 0: nothing was ever seen)."""
    return max((mark for meta in await books(topology) for mark in meta.marks.values()), default=0)


async def all_quiet(topology: Topology, before: int) -> bool:
    """Whether every partition knows from all sources that what was due before a time (UTC ms) isn't to be published."""
    found, names = await books(topology), topology.source_partitions
    nothing = (0, 0)
    return len(found) == topology.topics.resolved.partitions and all(
        meta.quiet.get(name, nothing)[0] >= before and not meta.quiet[name][1] for meta in found for name in names
    )


def forecast(topology: Topology, lines: Iterable[FileLine], clock: int, now: int, *, ordered: bool = False) -> Forecast:
    """Look at the first 50,000 lines, for at most 15 s. `clock`: `clock_of`; `now`: UTC ms. `ordered`: the recording
    will be written in order of receipt, whatever its order here.
    """
    events, whole = _some(lines)
    if not events:
        return Forecast(whole=whole)
    if ordered:
        events.sort(key=lambda event: event.received_at)
    first = min(event.received_at for event in events)
    late = sum(event.received_at < clock for event in events)
    old = sum(1 for _ in _old(topology, events, clock, now))
    past = clock if late else 0
    return Forecast(first=first, past=past, late=late, old=old, events=len(events), whole=whole)


def _some(lines: Iterable[FileLine]) -> tuple[list[Event], bool]:
    events, looked_at, deadline = [], 0, time.monotonic() + LOOK_S
    for line in islice(lines, LOOKED_AT):
        looked_at += 1
        if line.event is not None:
            events.append(line.event)
        if looked_at % 1_000 == 0 and time.monotonic() > deadline:
            return events, False
    return events, looked_at < LOOKED_AT


def _old(topology: Topology, events: Iterable[Event], clock: int, now: int) -> Iterator[str]:
    replay = Replay(topology)
    replay.high = clock + replay.intake.disorder if clock else 0
    decided = (decision for event in events for decision in _feed(replay, event, now))
    for decisions in (decided, replay.finish()):
        for decision in decisions:
            if decision.outcome == "fired" and decision.due_at < now - OLD_MS:
                yield decision.id


def _feed(replay: Replay, event: Event, now: int) -> Iterator[Decision]:
    try:
        yield from replay.feed(event, now)
    except InvalidEvent:
        return
