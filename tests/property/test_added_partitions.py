"""Partitions are added to a source topic, and the workers start again with them: no decision and no profile changes.

What lies in an added partition was received after all that was decided before (topic_watch.py sees to that).
ADDED_SEEDS looks at more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from pipeline.events.model import Event
from pipeline.runtime.ports import In, Out
from pipeline.runtime.second_hop import decode_meta
from pipeline.runtime.words import Said, Word
from tests.property.hops import END, Hops, now
from tests.property.test_any_order import oracle_history, shop_history, shuffled, unlike_replay
from tests.replayed import shipped

SEEDS = int(os.environ.get("ADDED_SEEDS", "40"))
STEP = 20
pytestmark = pytest.mark.usefixtures("every_zone")


def told(number: int, word: Any, through: int, ends: list[int]) -> Said:
    """The `number`-th word of the recording."""
    offsets = {f"s-{p}": end for p, end in enumerate(ends)}
    return Said(In(number, number, None, None, []), Word(recording="r", word=word, through=through, offsets=offsets))


def after(first: Hops, late: list[list[Event]]) -> Hops:
    """The same deployment, started again with as many source partitions as `late` has; what comes there from now on."""
    hops = Hops(shipped(), [[] for _ in late], len(first.owners))
    hops.log, hops.graph, hops.profiles, hops.events = first.log, first.graph, first.profiles, first.events
    for hop in hops.sources:
        hop._graph, hop._sender = hops.graph, hops.log
    for owner in hops.owners:
        owner._store, owner._sender = hops.profiles, hops.log
        now(owner.claim())
    metas = now(hops.profiles.metas(len(hops.owners)))
    decided = max((decode_meta(meta).clock for meta in metas if meta), default=0)
    for hop in hops.sources:
        if now(hop.claim()) is None:
            hop.start_at(0, decided)
    for partition, events in enumerate(late):
        for event in events:
            now(hops.log.send([Out("s", partition, None, b"%d" % len(hops.events), [])]))
            hops.events.append(event)
    return hops


def differences(seed: int, events: list[Event]) -> list[str]:
    """What is not as `replay` says."""
    rng = Random(seed)
    received = sorted(event.received_at for event in events)
    moment = received[rng.randrange(len(received))]
    before = rng.randint(1, 3)
    early = shuffled(rng, [e for e in events if e.received_at < moment], before)
    late = shuffled(rng, [e for e in events if e.received_at >= moment], before + rng.randint(1, 2))
    first = Hops(shipped(), early, rng.choice([1, 2, 3, 5, 8]))
    ends = [len(part) for part in early]
    began = [told(0, "begin", 0, [0] * before), told(1, "through", moment, ends)]
    first.said = began
    for _ in range(rng.choice([0, 3, 30, 300])):  # not always all of it
        first.source(rng.randrange(before), rng.choice([1, 3, 50]))
        first.owner(rng.randrange(len(first.owners)), rng.choice([1, 3, 50]))
        if rng.random() < 0.5:
            first.advance(rng.randrange(len(first.owners)))
    hops = after(first, late)
    more = len(late) - before
    ends = [end + len(part) for end, part in zip([*ends, *[0] * more], late, strict=True)]
    hops.said = [*(told(n, w.word, w.through, [*w.offsets.values(), *[0] * more]) for n, w in _words(began))]
    hops.said.append(told(2, "end", END, ends))
    hops.run(rng, rng.choice([1, 3, 10, 200]))
    return unlike_replay(events, hops.decisions(), hops.final_profiles())


def _words(said: list[Said]) -> list[tuple[int, Word]]:
    return [(each.offset, each.word) for each in said if isinstance(each.word, Word)]


@pytest.mark.parametrize("make", [oracle_history, shop_history])
@pytest.mark.parametrize("start", range(0, SEEDS, STEP))
def test_nothing_changes(make: Callable[[int], list[Event]], start: int) -> None:
    for seed in range(start, min(start + STEP, SEEDS)):
        found = differences(seed, make(seed))
        assert not found, f"seed {seed}:\n" + "\n".join(found)
