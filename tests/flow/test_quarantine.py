"""A person whom the fold can't stand, on real servers: everybody else goes on, and that one too, once it is mended."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from tests.deployment import Deployment
from tests.flow.test_bad_input import dead_letters, metric, texts
from tests.flow.test_recordings import looks, quick, until, who_of
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

POISONED = [sys.executable, "-m", "tests.poisoned"]
PEOPLE = 40  # ten for each partition of profiles, about


def test_a_person_that_raises_stops_nobody(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> None:
    with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry, quick) as shop:
        shop.run("topics")
        worker = shop.worker(launcher=POISONED)
        worker.wait_ready()
        people = [f"p{n}" for n in range(PEOPLE)]
        topic = shop.topology.topics.sources[0].name
        with connect(registry.url) as known:
            encoder, producer = Encoder(known), Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 3})
            for person in ["poison", *people]:
                kind, body, who, at = looks(person, int(time.time() * 1000))
                event = Event(kind, f"{who}-{kind}", at, at, {"anonymous_id": who}, body)
                producer.produce(topic, encoder.encode(topic, event), who.encode())
            assert producer.flush(30) == 0

        until(lambda: {who_of(d) for d in shop.triggers()} >= {*people}, 60, "everybody else is decided")
        until(lambda: metric(worker, "pipeline_profiles_quarantined") == 1, 20, "one is shut, and it is told")
        assert worker.ready()["ready"] is True
        (letter,) = dead_letters(shop).values()
        assert texts(letter)["pipeline.reason"] == "quarantined"
        log = worker.log.read_text()
        assert "is quarantined: ZeroDivisionError: a mistake" in log
        assert "partition_claims_again" not in log
        assert worker.stop() == 0

        mended = shop.worker()
        mended.wait_ready()
        until(lambda: "poison" in {who_of(d) for d in shop.triggers()}, 60, "it is decided, too")
        assert "is out of quarantine" in mended.log.read_text()
        told = {d["id"]: who_of(d) for d in shop.triggers()}
        assert sorted(told.values()) == sorted(["poison", *people])
        assert mended.stop() == 0
