"""A robot that fills one cart after another, on real servers: nobody else waits for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from tests.deployment import Deployment
from tests.flow.test_bad_input import metric
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

CARTS = 10_000
PEOPLE = 40  # ten for each partition of profiles, about
ANSWERS_S = 5.0  # within which a worker answers that isn't blocked
DECIDED_S = 60.0


def quick(document: dict[str, Any]) -> None:
    document["time"].update(lateness="1s", disorder="2s", idle={"after": "1s", "every": "500ms"})
    document["triggers"] = {"abandoned_cart": {**document["triggers"]["abandoned_cart"], "after": "3s"}}


def test_a_robots_carts_keep_nobody_waiting(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> None:
    """All of them are decided, too: most as more than there is room for."""
    with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry, quick) as shop:
        shop.run("topics")
        worker = shop.worker()
        worker.wait_ready()
        topic = shop.topology.topics.sources[0].name
        with connect(registry.url) as known:
            encoder, producer = Encoder(known), Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 3})

            def fill(who: str, cart: str) -> None:
                at = int(time.time() * 1000)
                body = {"cart_id": cart, "product_id": "tent", "price": 9.5, "quantity": 1.0}
                event = Event("product_added", cart, at, at, {"anonymous_id": who}, body)
                producer.produce(topic, encoder.encode(topic, event), who.encode())
                producer.poll(0)

            for n in range(CARTS):
                fill("robot", f"robot-{n}")
                if n % (CARTS // PEOPLE) == 0:
                    fill(f"p{n}", f"cart-{n}")
            assert producer.flush(30) == 0
        began, slowest = time.monotonic(), 0.0
        while metric(worker, "pipeline_triggers_total") < CARTS + PEOPLE:
            worker.check()
            assert time.monotonic() - began < DECIDED_S, worker.ready()
            asked = time.monotonic()
            assert worker.ready()["ready"] is True
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.2)
        assert slowest < ANSWERS_S
        decided = {d["correlation_key"]: d["outcome"] for d in shop.decisions()}
        assert len(decided) == CARTS + PEOPLE
        assert {outcome for key, outcome in decided.items() if key.startswith("cart-")} == {"fired"}
        assert {outcome for key, outcome in decided.items() if key.startswith("robot-")} == {"fired", "suppressed"}
        assert worker.stop() == 0
