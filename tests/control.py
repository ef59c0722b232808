"""Words on a control topic, as `pipeline ingest` writes them, or as somebody forges them."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer

from pipeline.runtime.broker import Broker
from pipeline.runtime.words import Word, encode
from pipeline.topology.model import Topology


def ends(topology: Topology) -> dict[str, int]:
    """Where every source partition ends now, by name."""
    places = [(topic.name, p) for topic in topology.topics.sources for p in range(topic.partitions)]
    written = Broker(topology.kafka).written(places)
    assert [f"{topic}-{p}" for topic, p in places] == topology.source_partitions
    return {f"{topic}-{p}": written[topic, p] for topic, p in places}


def say(topology: Topology, word: Any, through: int = 0, *, recording: str = "test", **more: Any) -> None:
    """A word that counts from the ends on, unless `offsets` says otherwise."""
    offsets = more.pop("offsets", None) or ends(topology)
    put(topology, encode(Word(recording=recording, word=word, through=through, offsets=offsets, **more)))


def put(topology: Topology, *values: bytes | None) -> None:
    """Records of any kind."""
    producer = Producer({"bootstrap.servers": topology.kafka, "log_level": 3, "message.max.bytes": 2_000_000})
    for value in values:
        producer.produce(topology.topics.control.name, value, partition=0)
    assert producer.flush(30) == 0
