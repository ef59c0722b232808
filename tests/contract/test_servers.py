"""The servers that the other tests stand on do what those tests think."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.servers import KafkaServer, RedisServer, ServerFailed, free_port

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        yield server


def _produce(broker: KafkaServer, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def _read(broker: KafkaServer, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


def test_kafka_keeps_what_it_acknowledged_over_a_kill(broker: KafkaServer) -> None:
    broker.create_topics("kept", partitions=1)
    _produce(broker, "kept", b"before")
    broker.restart(kill=True)
    _produce(broker, "kept", b"after")
    assert _read(broker, "kept", 2) == [b"before", b"after"]


def test_kafka_commits_transactions_on_one_node(broker: KafkaServer) -> None:
    broker.create_topics("whole", partitions=1)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "one", "log_level": 0})
    producer.init_transactions(30)
    for value, commit in ((b"kept", True), (b"dropped", False), (b"last", True)):
        producer.begin_transaction()
        producer.produce("whole", value)
        producer.flush(30)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    assert _read(broker, "whole", 2) == [b"kept", b"last"]


def test_kafka_makes_no_topic_by_itself(broker: KafkaServer) -> None:
    broker.admin().list_topics("nobody-made-this", timeout=10)
    assert "nobody-made-this" not in broker.admin().list_topics(timeout=10).topics


def test_a_frozen_kafka_answers_again_when_it_goes_on(broker: KafkaServer) -> None:
    broker.create_topics("frozen", partitions=1)
    broker.sigstop()
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    producer.produce("frozen", b"x")
    assert producer.flush(1) == 1
    broker.sigcont()
    assert producer.flush(30) == 0


def test_redis_is_set_up_as_the_pipeline_wants_it(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        assert client.config_get("save") == {"save": ""}


def test_redis_keeps_its_data_over_a_kill_and_loses_them_when_rolled_back() -> None:
    with RedisServer(appendfsync="always") as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.set("key", "first")
        copy = server.save_copy()
        client.set("key", "second")
        server.restart(kill=True)
        assert client.get("key") == "second"
        server.roll_back(copy)
        assert client.get("key") == "first"


def test_clean_redis_is_empty(clean_redis: str) -> None:
    with redis.Redis.from_url(clean_redis) as client:
        assert client.dbsize() == 0


def test_a_server_does_not_take_a_stranger_on_its_port_for_itself() -> None:
    port = free_port()
    with RedisServer(port), pytest.raises(ServerFailed, match=f"somebody else listens on .*:{port}"):
        RedisServer(port).start()


def test_a_server_that_cannot_start_says_why_at_once() -> None:
    server = RedisServer(appendfsync="sometimes")
    started = time.monotonic()
    with pytest.raises(ServerFailed, match="CONFIG FILE ERROR"), server:
        pass
    assert time.monotonic() - started < 10
    assert not server.dir.exists()


def test_a_closed_server_leaves_nothing_behind() -> None:
    with RedisServer() as server:
        assert server.dir.exists()
    assert not server.running
    assert not server.dir.exists()
