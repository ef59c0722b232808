"""What the demo stands on: librdkafka's mock cluster and Valkey from a wheel, talked to as the worker talks to them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import Consumer, Producer

from pipeline.errors import PipelineError
from pipeline.runtime.embedded import EmbeddedKafka, EmbeddedRedis


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as server:
        yield server


def test_its_topics_have_the_partitions_it_says(mock_kafka: EmbeddedKafka) -> None:
    mock_kafka.create_topics(["events.one", "events.two"])
    topics = Producer({"bootstrap.servers": mock_kafka.bootstrap}).list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in topics.items()} == {
        "events.one": EmbeddedKafka.PARTITIONS,
        "events.two": EmbeddedKafka.PARTITIONS,
    }


def test_a_group_reads_through_confluent_what_was_produced(mock_kafka: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap})
    for number in range(10):
        producer.produce("group", str(number).encode(), key=str(number).encode(), headers={"n": str(number).encode()})
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": mock_kafka.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["group"])
    try:
        messages = consumer.consume(10, timeout=20)
        assert sorted(int(message.value() or b"") for message in messages) == list(range(10))
        assert all(message.headers() == [("n", message.value())] for message in messages)
    finally:
        consumer.close()


def test_aiokafka_reads_through_it_what_aiokafka_wrote(mock_kafka: EmbeddedKafka) -> None:
    async def round_trip() -> list[bytes | None]:
        producer = AIOKafkaProducer(bootstrap_servers=mock_kafka.bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for value in (b"a", b"b", b"c"):
                await producer.send_and_wait("async", value, partition=2)
        finally:
            await producer.stop()
        consumer = AIOKafkaConsumer(bootstrap_servers=mock_kafka.bootstrap)
        await consumer.start()
        try:
            partition = TopicPartition("async", 2)
            consumer.assign([partition])
            consumer.seek(partition, 0)
            return [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(3)]
        finally:
            await consumer.stop()

    assert asyncio.run(round_trip()) == [b"a", b"b", b"c"]


def test_redis_runs_scripts_atomically_and_evicts_nothing() -> None:
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        script = client.register_script(
            "redis.call('HSET', KEYS[1], 'a', ARGV[1]); return redis.call('HGETALL', KEYS[1])"
        )
        assert script(keys=["{p0}:meta"], args=["7"]) == ["a", "7"]


def test_redis_starts_empty_each_time() -> None:
    server = EmbeddedRedis(append_only=True)
    for _ in range(2):
        with server, redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0
            client.set("key", "value")


def test_stopped_servers_say_so() -> None:
    kafka, store = EmbeddedKafka(), EmbeddedRedis()
    for address in (lambda: kafka.bootstrap, lambda: store.url):
        with pytest.raises(PipelineError, match=r"not running: call start\(\)"):
            address()
    kafka.stop()
    store.stop()


def test_two_at_once_do_not_meet() -> None:
    with EmbeddedKafka() as one, EmbeddedKafka() as two, EmbeddedRedis() as three, EmbeddedRedis() as four:
        assert one.bootstrap != two.bootstrap
        assert three.url != four.url
