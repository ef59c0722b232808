"""Reads the control topic for the source partitions of one worker, and notices when a recording has fallen silent.

Every worker reads the whole of it, outside of the group, from where its own source partitions have obeyed it. Its clock
for silence is monotonic, counted from when a word was *read*, and only while the topic is shown to be read to its end:
a jump of the clock, a pause of this process or a broker that is away lets nothing lapse that goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from pipeline.errors import InvalidEvent
from pipeline.events.times import rfc3339
from pipeline.runtime import words
from pipeline.runtime.broker import Broker
from pipeline.runtime.control_topic import ControlTopic
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.ports import In, Unreadable
from pipeline.runtime.words import LAPSE_S, Said, Word
from pipeline.store.ports import Recording
from pipeline.topology.model import Topology

log = logging.getLogger(__name__)

WAITING = 10_000  # words that a partition may have to wait for, before no more are read
KEPT_BYTES = 16 * 1024
SAY_EVERY_S = 60.0
KNOWN = 1_000  # recordings

Hops = Sequence[SourcePartition]


class Listener:
    """`poll` hands on what is news, `at_end` shows that nothing is left, `silent` who has lapsed.

    `hops`: all source partitions of this worker, in a list that nobody changes meanwhile.
    """

    def __init__(self, topology: Topology, broker: Broker, clock: Callable[[], float] = time.monotonic) -> None:
        self._topic = topology.topics.control.name
        self._names = topology.source_partitions
        self._source_of = {
            f"{topic.name}-{p}": (topic.name, p) for topic in topology.topics.sources for p in range(topic.partitions)
        }
        self._broker = broker
        self._clock = clock
        self._control = ControlTopic(topology.kafka, self._topic)
        self._next = -1  # next offset to read; -1: not reading
        self._written: dict[tuple[str, int], int] = {}
        self._read_at: dict[str, float] = {}
        self._shown_at = clock()

    async def poll(self, hops: Hops) -> None:
        """Hand on what was said since, to all of `hops`. Doesn't wait for more to come."""
        if not hops:
            return
        start = min(hop.heard for hop in hops)
        if self._next < 0 or start < self._next:
            await self._begin(start, hops)
        if max(hop.waiting for hop in hops) > WAITING:
            return
        try:
            records, reached = await self._control.take()
            found = [await self._judge(record) for record in records]
        except BaseException:
            self._next = -1  # what was taken is read again
            raise
        for said in found:
            if isinstance(said.word, Word):
                self._forget_old()
                self._read_at[said.word.recording] = self._clock()
            for hop in hops:
                hop.hear(said)
        self._next = max(self._next, reached)
        for hop in hops:
            hop.heard = max(hop.heard, self._next)

    async def at_end(self, hops: Hops) -> bool:
        """Whether everything that was there when this was called is handed on."""
        asked_at = self._clock()
        end = (await self._broker.written_offsets([(self._topic, 0)]))[self._topic, 0]
        await self.poll(hops)
        if self._next < end:
            return False
        self._shown_at = asked_at
        return True

    def silent(self, recording: str) -> bool:
        """Whether nothing was heard of a recording that holds for a minute, as far as the topic is read."""
        since = self._read_at.setdefault(recording, self._clock())  # its last word was told to a worker before this one
        return self._shown_at - since >= LAPSE_S

    async def close(self) -> None:
        """Free everything. May be called twice."""
        await self._control.close()

    async def _begin(self, start: int, hops: Hops) -> None:
        end = (await self._broker.written_offsets([(self._topic, 0)]))[self._topic, 0]
        if start > end:
            log.warning("%s ends at %d, but was obeyed up to %d: it was made anew", self._topic, end, start)
            for hop in hops:
                hop.forget()
            start = 0
        await self._control.seek(start)
        self._next = start

    async def _judge(self, record: In) -> Said:
        try:
            if isinstance(record, Unreadable):
                raise record.error
            word = words.read(record.value, self._names)
            wanted = {self._source_of[name]: offset for name, offset in word.offsets.items()}
            if any(offset > self._written.get(place, 0) for place, offset in wanted.items()):
                self._written = await self._broker.written_offsets(wanted)
            for place, offset in wanted.items():
                end = self._written.get(place, 0)
                if offset > end:
                    text = f"{place[0]}-{place[1]} ends at {end}, the word counts from {offset} on"
                    raise InvalidEvent("no_such_offset", text)
        except InvalidEvent as error:
            return Said(_bounded(record), error)
        return Said(_bounded(record), word)

    def _forget_old(self) -> None:
        if len(self._read_at) > KNOWN:
            self._read_at = dict(list(self._read_at.items())[KNOWN // 2 :])


class Holding(msgspec.Struct, frozen=True):
    """A recording that holds partitions of this worker."""

    id: str
    since: int
    through: int
    partitions: int

    def __str__(self) -> str:
        far = f"it is written up to {rfc3339(self.through)}" if self.through else "nothing of it is written yet"
        since = f" since {rfc3339(self.since)}" if self.since > 0 else ""
        return f"recording {self.id} holds {self.partitions} source partitions{since}; {far}"


class Reporter:
    """What holds, for /readyz, and for the log: when it begins, every minute, and when it is over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at: dict[str, float] = {}
        self.now: dict[str, Holding] = {}

    def look(self, hops: Hops) -> None:
        """Called every few moments."""
        found: dict[str, Holding] = {}
        for hop in hops:
            name = hop.holder
            if name is not None:
                known, had = hop.position.recording or Recording(name, 0, 0), found.get(name)
                far = known.through if had is None else min(known.through, had.through)
                found[name] = Holding(name, known.since, far, 1 + (had.partitions if had else 0))
        now = self._clock()
        for name, holding in found.items():
            if name not in self.now:
                log.info("%s: event time does not follow the clock", holding)
                self._said_at[name] = now
            elif now - self._said_at[name] >= SAY_EVERY_S:
                log.info("%s", holding)
                self._said_at[name] = now
        for name in self.now.keys() - found.keys():
            log.info("recording %s holds nothing any more: event time follows the clock again", name)
            self._said_at.pop(name, None)
        self.now = found


def _bounded(record: In) -> In:
    """What is kept of a record: its dead letter, should it be refused, must fit, and many of them into memory."""
    if isinstance(record, Unreadable):
        record = In(record.offset, record.timestamp, None, record.packed, record.place)
    key, value = (part and part[:KEPT_BYTES] for part in (record.key, record.value))
    size = sum(len(name) + len(told or b"") for name, told in record.headers)
    return record._replace(key=key, value=value, headers=record.headers if size < KEPT_BYTES else [])
