"""Somebody's transaction that stays open: everybody waits for what stands behind it, and is told for whom."""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.deployment import Deployment, WorkerProcess

pytestmark = pytest.mark.servers


def held(worker: WorkerProcess) -> dict[str, str]:
    return dict(worker.ready()["held_by"])


def until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_an_open_transaction_is_named_with_its_producer_and_what_to_do(deployment: Deployment) -> None:
    deployment.run("topics")
    topics = deployment.topology.topics
    places = [(topics.sources[1].name, 2), (topics.resolved.name, 1)]
    worker = deployment.worker()
    worker.wait_ready()
    foreign = Producer(
        {"bootstrap.servers": deployment.kafka, "transactional.id": f"{deployment.name}-foreign", "log_level": 0}
    )
    foreign.init_transactions(30)
    foreign.begin_transaction()
    for topic, partition in places:
        foreign.produce(topic, b"nobody's", partition=partition)
    assert foreign.flush(30) == 0
    names = {f"{topic}-{partition}" for topic, partition in places}
    until(lambda: names <= held(worker).keys(), 30)
    for topic, partition in places:
        text = held(worker)[f"{topic}-{partition}"]
        assert "an open transaction of producer " in text
        command = text.partition("kafka-transactions.sh ")[2]
        assert f"abort --topic {topic} --partition {partition} --start-offset " in command
        until(lambda text=text: text in worker.log.read_text(), 10)
    foreign.abort_transaction(30)
    until(lambda: not names & held(worker).keys(), 30)
    until(lambda: "no open transaction keeps anything back any more" in worker.log.read_text(), 10)
    assert worker.stop() == 0
