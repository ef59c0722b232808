"""Decisions on arrival, on a real Kafka and Redis: told before the disorder has passed, and once, whoever is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from tests.deployment import Deployment
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers
DISORDER_S = 20


def rules(document: dict[str, Any]) -> None:
    """A wish that can't wait; `then` shows that the fold knows what was told."""
    document.pop("include", None)
    document["time"].update(lateness="1s", disorder=f"{DISORDER_S}s", idle={"after": "1s", "every": "250ms"})
    demo = {"event": "form_submitted", "where": {"form_id": "demo"}}
    document["triggers"] = {
        "demo": {"version": 1, "start": demo, "decide": "on_arrival", "again": {"after": "1h"}},
        "then": {"version": 1, "start": {"trigger": {"rule": "demo"}}},
    }


@pytest.fixture
def deployment(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> Iterator[Deployment]:
    with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry, rules) as made:
        made.run("topics")
        yield made


def asks(deployment: Deployment, *people: str, number: int = 0) -> float:
    """Each of them asks for a demo. Returns when (monotonic seconds)."""
    producer, at = Producer({"bootstrap.servers": deployment.kafka}), time.time_ns() // 1_000_000
    topic = next(topic.name for topic in deployment.topology.topics.sources if topic.name.endswith("clickstream"))
    with connect(deployment.registry.url) as registry:
        encoder = Encoder(registry)
        for who in people:
            event = Event(
                type="form_submitted",
                event_id=f"{who}-{number}",
                occurred_at=at,
                received_at=at,
                identifiers={"user_id": who},
                body={"form_id": "demo"},
            )
            producer.produce(topic, encoder.encode(topic, event), who.encode())
        assert producer.flush(10) == 0
    return time.monotonic()


def once(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once. Who is killed before it is noted that something is published makes its successor publish it again,
    under the same id.
    """
    known: dict[str, dict[str, Any]] = {}
    for each in records:
        assert known.setdefault(each["id"], each) == each
    return list(known.values())


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.25)


def test_it_is_told_at_once_and_once_also_where_the_worker_is_killed(deployment: Deployment) -> None:
    def told(rule: str) -> list[str]:
        return sorted(
            next(iter(each["identifiers"]["user_id"])) for each in once(deployment.triggers()) if each["rule"] == rule
        )

    first = deployment.worker()
    first.wait_ready()
    sent = asks(deployment, "ann", "bert")
    until(lambda: told("demo") == ["ann", "bert"], DISORDER_S / 2, f"not told at once:\n{first.tail()}")
    assert time.monotonic() - sent < DISORDER_S / 2
    assert not told("then"), "the fold can't have come to it"
    first.kill()

    second = deployment.worker()
    second.wait_ready()
    sent = asks(deployment, "cora")
    asks(deployment, "ann", number=1)  # again too soon, by what was told
    until(lambda: told("demo") == ["ann", "bert", "cora"], 60, f"not told by the second worker:\n{second.tail()}")
    until(lambda: told("then") == ["ann", "bert", "cora"], 3 * DISORDER_S, f"the fold didn't come:\n{second.tail()}")
    made = once(deployment.decisions())
    assert sorted(each["rule"] for each in made) == ["demo"] * 3 + ["then"] * 3
    assert {each["basis"] for each in made if each["rule"] == "demo"} == {"arrival"}
    assert second.stop() == 0
