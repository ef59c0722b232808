"""Which recording is being ingested now, by what the control topic says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec
from aiokafka.errors import KafkaError

from pipeline.errors import PipelineError
from pipeline.runtime.broker import Broker
from pipeline.runtime.control_topic import ControlTopic
from pipeline.runtime.ports import In
from pipeline.runtime.words import LAPSE_S, WORD_BYTES, Word
from pipeline.topology.model import Topology

LOOK_BACK = 2_000  # records: words of a minute are some hundred at most
ANSWER_S = 15.0

_decode = msgspec.json.Decoder(Word).decode


def living(topology: Topology, at: int, before: int | None = None) -> str | None:
    """The recording that holds at a moment (UTC ms), by what stands before an offset (all that is there); None: none.

    Blocks for a moment. Raises PipelineError.
    """
    topic = topology.topics.control.name
    low, high = asyncio.run(_ends(Broker(topology.kafka), topic))
    end = high if before is None else before
    start = max(low, end - LOOK_BACK)
    if start >= end:
        return None
    try:
        return _holds(asyncio.run(_read(ControlTopic(topology.kafka, topic), start, end)), at)
    except (KafkaError, TimeoutError) as error:
        raise PipelineError(f"Kafka at {topology.kafka}: {error}") from error


async def _ends(broker: Broker, topic: str) -> tuple[int, int]:
    """A topic that was made a moment ago, and one whose broker restarts, has no leader for a while."""
    place, deadline = (topic, 0), time.monotonic() + ANSWER_S
    while True:
        try:
            low, high = await broker.earliest_offsets([place]), await broker.written_offsets([place])
            return low[place], high[place]
        except PipelineError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def _read(control: ControlTopic, start: int, end: int) -> list[tuple[Word, int]]:
    """Words and when they were said."""
    found: list[tuple[Word, int]] = []
    deadline = time.monotonic() + ANSWER_S
    try:
        await control.seek(start)
        reached = start
        while reached < end and time.monotonic() < deadline:
            records, reached = await control.take(0.2)
            said = ((_word(record), record.timestamp) for record in records if record.offset < end)
            found += [(word, at) for word, at in said if word is not None]
    finally:
        await control.close()
    return found


def _word(record: In) -> Word | None:
    value = record.value or b""
    try:
        return _decode(value) if len(value) <= WORD_BYTES else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _holds(said: Sequence[tuple[Word, int]], at: int) -> str | None:
    holder, heard = None, 0
    for word, said_at in said:
        if word.word == "begin":
            if holder is None or word.over or said_at - heard >= LAPSE_S * 1000:
                holder, heard = word.recording, said_at
        elif holder is None and word.word == "through":  # it began before what was looked at
            holder, heard = word.recording, said_at
        elif word.recording == holder:
            heard = said_at
            if word.word in ("end", "open"):
                holder = None
    return holder if holder is not None and at - heard < LAPSE_S * 1000 else None
