"""Which recording is being ingested now, by what the control topic says."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.runtime.listening import settings
from pipeline.runtime.words import LAPSE_S, Word
from pipeline.topology.model import Topology

LOOK_BACK = 2_000  # records: words of a minute are some hundred at most
ANSWER_S = 15.0

_decode = msgspec.json.Decoder(Word).decode


def living(topology: Topology, at: int, before: int | None = None) -> str | None:
    """The recording that holds at a moment (UTC ms), by what stands before an offset (all that is there); None: none.

    Blocks for a moment. Raises KafkaException.
    """
    topic = topology.topics.control.name
    consumer = Consumer({**settings(topology.kafka), "enable.partition.eof": False})
    try:
        low, high = _ends(consumer, TopicPartition(topic, 0))
        end = high if before is None else before
        start = max(low, end - LOOK_BACK)
        if start >= end:
            return None
        consumer.assign([TopicPartition(topic, 0, start)])
        return _holds(_read(consumer, end), at)
    finally:
        consumer.close()


def _ends(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """A topic that was made a moment ago, and one whose broker restarts, has no leader for a while."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
            return low, high
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _read(consumer: Consumer, end: int) -> list[Any]:
    found: list[Any] = []
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline and (not found or found[-1].offset() < end - 1):
        messages = [message for message in consumer.consume(LOOK_BACK, 0.2) if message.error() is None]
        found += messages
        if not messages and found and consumer.position(consumer.assignment())[0].offset >= end:
            break  # what stands last is no record
    return [message for message in found if message.offset() < end]


def _holds(messages: list[Any], at: int) -> str | None:
    holder, heard = None, 0
    for message in messages:
        try:
            word = _decode(message.value() or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        said_at = message.timestamp()[1]
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
