"""What whoever writes events into the source topics has in common: keys, and how the producer is set."""

from __future__ import annotations

from itertools import chain
from typing import Any

from pipeline.events.model import Event
from pipeline.identity.identifiers import Normaliser
from pipeline.topology.model import Topology

NOBODYS = "pipeline.nobodys"
"""Header of a record whose event says on purpose nothing of who it was: it counts for nobody, and is no dead letter."""

KEYED_BY = ("anonymous_id", "device_id", "user_id", "email")


def key_of(event: Event, normaliser: Normaliser) -> bytes | None:
    """What a source record is keyed by, so that one device's events stay in order; None: it identifies nobody."""
    values = event.identifiers
    for namespace in chain(KEYED_BY, normaliser.rank):
        if namespace in values and (value := normaliser.value(namespace, values[namespace])) is not None:
            return value.encode("utf-8", "surrogatepass")
    return None


def settings(topology: Topology, client: str) -> dict[str, Any]:
    """Of a librdkafka producer: nothing counts as written that a broker may still lose, nothing is written twice."""
    return {
        "bootstrap.servers": topology.kafka,
        "client.id": client,
        "partitioner": "murmur2_random",  # as Kafka's own clients do, so that others' records meet ours
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "log_level": 2,  # what is wrong comes back as an error
    }
