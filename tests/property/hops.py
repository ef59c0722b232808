"""Both hops, the real code, over a log and stores in memory: no faults, but any schedule. One seed, one run."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from pipeline.events.model import Event
from pipeline.flow import Intake
from pipeline.profile.profile import Profile, decode, wakes_at
from pipeline.profile.timers import entries
from pipeline.runtime import watermark
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.ports import In, Out
from pipeline.runtime.second_hop import ProfilePartition
from pipeline.runtime.words import Said, Word
from pipeline.store.memory import MemoryGraphStore, MemoryProfileStore
from pipeline.topology.model import Topic, Topology
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook

FAR = 1 << 60
END = 9_000_000_000_000


@dataclass
class MemoryLog:
    """Topics as lists, and the sender of both hops. A batch of messages is there at once."""

    partitions: dict[tuple[str, int], list[In]] = field(default_factory=dict)

    async def send(self, messages: list[Out]) -> None:
        """Append."""
        for out in messages:
            records = self.partitions.setdefault((out.topic, out.partition or 0), [])
            records.append(In(len(records), FAR, out.key, out.value, out.headers))

    def read(self, topic: str, partition: int, offset: int, limit: int) -> list[In]:
        """Up to `limit` records from `offset` on."""
        return self.partitions.get((topic, partition), [])[offset : offset + limit]


def now(step: Coroutine[Any, Any, Any]) -> Any:
    """Run what never really waits."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited for something")


def with_partitions(topology: Topology, sources: int, resolved: int) -> Topology:
    """The topology with one source topic `s`, and these partition counts."""
    replace = msgspec.structs.replace
    topics = replace(
        topology.topics,
        sources=(Topic(name="s", partitions=sources),),
        resolved=replace(topology.topics.resolved, partitions=resolved),
    )
    return replace(topology, topics=topics)


def recording(log: Sequence[Sequence[Event | None]]) -> list[Said]:
    """What the control topic holds of a recording that is complete up to `END`, and how far it was on the way.
    `log[p]`: the events of source partition p, as they lie there; None: a record that is no event.
    """
    received = sorted(event.received_at for events in log for event in events if event is not None)
    moments = [received[len(received) * n // 5] for n in range(1, 5)] if received else []
    told: list[tuple[Any, int]] = [("begin", 0), *(("through", at) for at in moments), ("end", END)]
    return [
        Said(
            In(offset, offset, None, None, []),
            Word(recording="r", word=word, through=at, offsets={f"s-{p}": _before(e, at) for p, e in enumerate(log)}),
        )
        for offset, (word, at) in enumerate(told)
    ]


def _before(events: Sequence[Event | None], at: int) -> int:
    """Up to where everything lies that was received before a moment."""
    return max((n for n, event in enumerate(events, 1) if event is not None and event.received_at < at), default=0)


def encode_decision(decision: Any) -> list[Out]:
    """One record a decision."""
    return [Out("decisions", 0, None, msgspec.msgpack.encode(decision), [])]


class Hops:
    """`log[p]`: the events of source partition p, in its order; together they are a recording that is complete."""

    def __init__(self, topology: Topology, log: Sequence[Sequence[Event]], resolved: int, cached: int = 50_000) -> None:
        self.topology = with_partitions(topology, len(log), resolved)
        self.book = RuleBook(self.topology)
        self.intake = Intake(self.topology, self.book)
        self.log = MemoryLog()
        self.graph = MemoryGraphStore(self.topology.identifiers)
        self.profiles = MemoryProfileStore()
        self.names = self.topology.waited_for
        self.events: list[Event] = []
        for partition, events in enumerate(log):
            for event in events:
                now(self.log.send([Out("s", partition, None, b"%d" % len(self.events), [])]))
                self.events.append(event)
        self.sources = [
            SourcePartition(self.topology, self.intake, self.graph, self.log, self.decode, "s", p)
            for p in range(len(log))
        ]
        self.owners = [
            ProfilePartition(self.topology, self.book, self.profiles, self.log, encode_decision, p, cached)
            for p in range(resolved)
        ]
        self.said = recording(log)
        for source in self.sources:
            now(source.claim())
        for owner in self.owners:
            now(owner.claim())

    def decode(self, value: bytes | None, trace: str | None) -> Event:
        """The log holds numbers of events."""
        return self.events[int(value or b"")]

    def source(self, partition: int, limit: int) -> bool:
        """One batch of the first hop; False if there was none."""
        hop = self.sources[partition]
        for said in self.said:
            hop.hear(said)
        records = self.log.read("s", partition, hop.position.offset, limit)
        now(hop.process(records))
        if not records and hop.ripe:
            now(hop.obey())
            return True
        return bool(records)

    def owner(self, partition: int, limit: int) -> bool:
        """One batch of the second hop; False if there was none."""
        hop = self.owners[partition]
        records = self.log.read(self.topology.topics.resolved.name, partition, hop.meta.offset, limit)
        now(hop.process(records))
        return bool(records)

    def advance(self, partition: int) -> bool:
        """Decide what is certain; False if nothing new is."""
        hop = self.owners[partition]
        clock, _ = now(watermark.read(self.profiles, len(self.owners), self.names))
        if clock <= hop.meta.clock:
            return False
        now(hop.advance(clock))
        return True

    def run(self, rng: Random, largest: int) -> None:
        """Everything to the end, one step somewhere at a time, in batches of up to `largest`."""
        acts = [(self.source, p) for p in range(len(self.sources))]
        acts += [(self.owner, p) for p in range(len(self.owners))]
        weights = [rng.choice([1, 1, 5, 20]) for _ in acts]  # some partitions are far ahead of others
        idle = 0
        while idle < 3:
            for act, partition in rng.choices(acts, weights, k=20):
                act(partition, rng.randint(1, largest))
                if rng.random() < 0.3:
                    self.advance(rng.randrange(len(self.owners)))
            assert not self.forgotten()
            if rng.random() < 0.2:
                weights = [rng.choice([1, 1, 5, 20]) for _ in acts]
            moved = [act(partition, largest) for act, partition in acts if rng.random() < 0.1 or idle]
            moved += [self.advance(p) for p in range(len(self.owners)) if rng.random() < 0.1 or idle]
            idle = 0 if any(moved) or self.unread() else idle + 1
        assert all(hop.meta.clock >= END for hop in self.owners)

    def unread(self) -> bool:
        """Whether any partition has records left."""
        name = self.topology.topics.resolved.name
        sources = (s.waiting or self.log.read("s", p, s.position.offset, 1) for p, s in enumerate(self.sources))
        return any(sources) or any(self.log.read(name, p, hop.meta.offset, 1) for p, hop in enumerate(self.owners))

    def forgotten(self) -> list[str]:
        """Profiles that no timer wakes by the time that something in them is due, as they are or as they are stored."""
        found = []
        for partition, hop in enumerate(self.owners):
            rings: dict[str, int] = {}
            asleep = now(self.profiles.due(partition, hop._token, hop.timers.upto, FAR, FAR))
            known = [(moment, profile_id) for moment, profile_id, _ in hop.timers._near]
            for moment, profile_id in [*known, *(entry for sheet in asleep for entry in entries(sheet))]:
                rings[profile_id] = min(moment, rings.get(profile_id, FAR))
            stored = {i: decode(raw) for i, raw in self.profiles._partition(partition).states.items()}
            for profile_id, state in (*stored.items(), *hop._cache.items()):
                if isinstance(state, Profile):
                    at = wakes_at(self.book, state)
                    if at is not None and at < rings.get(profile_id, FAR):
                        found.append(profile_id)
        return found

    def decisions(self) -> list[Decision]:
        """All that was published, in order."""
        made = [msgspec.msgpack.decode(r.value or b"", type=Decision) for r in self.log.read("decisions", 0, 0, FAR)]
        for decision in made:
            decision.profile_id = ""
        return made

    def final_profiles(self) -> dict[str, Profile]:
        """Profile id -> what the store holds."""
        out = {}
        for partition in range(len(self.owners)):
            ids = self.profiles._partition(partition).states
            for profile_id, raw in ids.items():
                state = decode(raw)
                if isinstance(state, Profile):
                    out[profile_id] = state
        return out
