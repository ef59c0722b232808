"""A tablet that is passed on, and a login on it that a backlog keeps away: whose cart it was, on real servers.

Bert logs in; ten minutes later Ann does, and a second later the tablet fills a cart, which she orders. Her login stands
behind a backlog in another partition, so all the rest is read, and waits, before anybody knows of her.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Producer

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from tests.deployment import PIPELINE, Deployment

pytestmark = pytest.mark.servers

HOUSEHOLDS = 20
BACKLOG = 15_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
CRIPPLED = [sys.executable, "-m", "tests.chaos.crippled", "household"]
RIGHT = ("cancelled", "bought")


def soon(document: dict[str, Any]) -> None:
    document["time"]["idle"] = {"after": "1s", "every": "500ms"}


def tell(deployment: Deployment) -> None:
    """Everything is there before a worker starts. Carts and orders: partition 0; logins: e-mail's partition 1."""
    start = time.time_ns() // 1_000_000 - 3 * HOUR
    topics = {topic.stream: topic.name for topic in deployment.topology.topics.sources}
    told: list[tuple[str, int, Event]] = []

    def put(stream: str, partition: int, kind: str, at: int, ids: dict[str, str], **body: Any) -> None:
        told.append((topics[stream], partition, Event(kind, f"e{len(told)}", at, at, ids, body)))

    for n in range(HOUSEHOLDS):
        tablet, ann, at = {"anonymous_id": f"tablet{n}"}, {"user_id": f"ann{n}"}, start + n * SECOND
        put("clickstream", 0, "identified", at, {**tablet, "user_id": f"bert{n}"})
        at += 10 * MINUTE
        put("email", 1, "identified", at, {**tablet, **ann})
        put("clickstream", 0, "product_added", at + SECOND, tablet, cart_id=f"c{n}", product_id="p", quantity=1.0)
        put("clickstream", 0, "order_completed", at + 100 * SECOND, ann, order_id=f"o{n}")
    for n in range(BACKLOG):
        put("email", 1, "email_opened", start + n // 100, {"email": f"reader{n % 500}@example.org"}, message_id="m")
    told.sort(key=lambda each: each[2].received_at)
    producer = Producer({"bootstrap.servers": deployment.kafka, "linger.ms": 50, "log_level": 3})
    with connect(deployment.registry.url) as registry:
        encoder = Encoder(registry)
        for topic, partition, event in told:
            producer.produce(topic, encoder.encode(topic, event), partition=partition)
            producer.poll(0)
    assert producer.flush(30) == 0


def carts(deployment: Deployment, launcher: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What became of each cart."""
    deployment.run("topics")
    tell(deployment)
    worker = deployment.worker(launcher=launcher)
    deadline = time.monotonic() + 60
    found: list[dict[str, Any]] = []
    while len(found) < HOUSEHOLDS and time.monotonic() < deadline:
        worker.check()
        time.sleep(0.3)
        found = [d for d in deployment.decisions() if d["rule"] == "abandoned_cart"]
    assert worker.stop() == 0
    assert len({d["correlation_key"] for d in found}) == len(found) == HOUSEHOLDS, worker.tail()
    return {d["correlation_key"]: d for d in found}


def right(decision: dict[str, Any]) -> bool:
    n = decision["correlation_key"][1:]
    return (decision["outcome"], decision["reason"]) == RIGHT and decision["identifiers"].get("user_id") == [f"ann{n}"]


def test_a_login_behind_a_backlog_in_another_partition(
    tmp_path: Any, kafka: Any, redis_url: str, registry: Any, prefix: str
) -> None:
    """All are Ann's; without households (crippled.py) hardly any."""
    made = [
        Deployment(tmp_path, f"{prefix}{name}", kafka.bootstrap, redis_url, registry, soon)
        for name in ("whole", "crippled")
    ]
    with made[0], made[1], ThreadPoolExecutor() as both:
        whole, crippled = both.map(carts, made, (PIPELINE, CRIPPLED))
    assert [d for d in whole.values() if not right(d)] == []
    assert sum(map(right, crippled.values())) < HOUSEHOLDS
