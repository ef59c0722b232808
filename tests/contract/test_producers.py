"""Senders on a real Kafka, and the plain one on the embedded broker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import aiokafka
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition

from pipeline.errors import Fenced, RecordTooLarge, SendFailed, Unsent
from pipeline.runtime.broker import Broker
from pipeline.runtime.embedded import EmbeddedKafka
from pipeline.runtime.ports import Out
from pipeline.runtime.producers import OutboxProducer, PlainSender, Producers
from tests.servers import KafkaServer


@pytest.fixture
def producers(kafka: KafkaServer, prefix: str) -> Iterator[Producers]:
    made = Producers(kafka.bootstrap, prefix + "group")
    yield made
    made.close()


@pytest.fixture
def topic(kafka: KafkaServer, prefix: str) -> str:
    kafka.create_topics(prefix + "topic")
    return prefix + "topic"


def read(bootstrap: str, topic: str, partition: int = 0, *, committed: bool = True) -> list[tuple[bytes | None, bytes]]:
    """(key, value) of all records that a reader sees up to the end as it is now."""
    level = "read_committed" if committed else "read_uncommitted"
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "x", "isolation.level": level})
    where = TopicPartition(topic, partition, 0)
    _, end = consumer.get_watermark_offsets(where, timeout=10)
    consumer.assign([where])
    found = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        at = consumer.position([where])[0].offset
        if at >= end:
            break
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            found.append((message.key(), message.value() or b""))
    consumer.close()
    return found


def out(topic: str, value: bytes, partition: int | None = 0, key: bytes | None = None) -> Out:
    return Out(topic, partition, key, value, [("h", b"1")])


def test_a_batch_is_there_as_a_whole_in_every_partition(kafka: KafkaServer, producers: Producers, topic: str) -> None:
    async def main() -> None:
        sender = producers.named("events-0")
        await sender.start()
        await sender.send([out(topic, b"%d" % i, i % 4) for i in range(8)])
        await sender.send([out(topic, b"%d" % i, i % 4) for i in range(8, 16)])
        await sender.close()

    asyncio.run(main())
    for partition in range(4):
        assert [int(value) for _, value in read(kafka.bootstrap, topic, partition)] == list(range(partition, 16, 4))


def test_what_cannot_be_sent_takes_the_whole_batch_with_it(
    kafka: KafkaServer, producers: Producers, topic: str
) -> None:
    async def main() -> None:
        sender = producers.named("events-0")
        await sender.start()
        began = time.monotonic()
        with pytest.raises(
            RecordTooLarge, match=r"3,000,000 bytes is too large .* raise the topic's max\.message\.bytes"
        ):
            await sender.send([out(topic, b"small"), out(topic, random.randbytes(3_000_000))])
        assert time.monotonic() - began < 10  # another try wouldn't change it
        await sender.send([out(topic, b"after")])
        await sender.close()

    asyncio.run(main())
    assert [value for _, value in read(kafka.bootstrap, topic)] == [b"after"]


def test_what_is_larger_than_clients_send_by_default_is_sent_where_the_topic_takes_it(
    kafka: KafkaServer, producers: Producers, prefix: str
) -> None:
    kafka.create_topics(prefix + "large", config={"max.message.bytes": "4000000"})
    large = random.randbytes(3_000_000)

    async def main() -> None:
        for sender in (producers.named("events-0"), producers.outbox()):
            await sender.start()
            await sender.send([out(prefix + "large", large)])
            await sender.close()

    asyncio.run(main())
    assert [value for _, value in read(kafka.bootstrap, prefix + "large")] == [large, large]


def test_what_was_appended_by_the_brokers_clock_is_heard_of(kafka: KafkaServer, prefix: str) -> None:
    """Its time is in the acknowledgement, within a transaction too, and it is what a consumer finds. Nothing is heard
    of a topic that goes by its producers' clocks.
    """
    stamped, told = prefix + "stamped", prefix + "told"
    kafka.create_topics(stamped, config={"message.timestamp.type": "LogAppendTime"})
    kafka.create_topics(told)
    heard: list[tuple[str, int, int]] = []
    made = Producers(kafka.bootstrap, prefix + "group", heard=lambda *each: heard.append(each))
    began = time.time_ns() // 1_000_000

    async def main() -> None:
        sender = made.named("events-0")
        await sender.start()
        await sender.send([out(topic, b"%d" % i, i % 4) for i in range(8) for topic in (stamped, told)])
        assert {topic for topic, _, _ in heard} == {stamped}
        assert sorted(partition for _, partition, _ in heard) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert all(began <= at <= time.time_ns() // 1_000_000 for _, _, at in heard)
        with pytest.raises(SendFailed):
            await sender.send([out(stamped, b"given up"), out(told, random.randbytes(3_000_000))])
        await sender.close()

    asyncio.run(main())
    made.close()
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "x", "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(stamped, 2, 0)])
    found = [message.timestamp() for message in consumer.consume(2, 10)]
    consumer.close()
    assert found == [(TIMESTAMP_LOG_APPEND_TIME, at) for _, partition, at in heard[:8] if partition == 2]


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_the_workers_consumer_hands_on_when_a_record_was_appended(
    kafka: KafkaServer, prefix: str, compression: str
) -> None:
    """Not what its producer said."""
    topic = prefix + "stamped"
    kafka.create_topics(topic, partitions=1, config={"message.timestamp.type": "LogAppendTime"})
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "compression.type": compression})
    heard: list[tuple[int, int]] = []
    for said in (1, 4_000_000_000_000):
        producer.produce(
            topic, b"x" * 500, timestamp=said, on_delivery=lambda e, message: heard.append(message.timestamp())
        )
    assert producer.flush(10) == 0

    async def main() -> list[tuple[int, int]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        consumer.assign([aiokafka.TopicPartition(topic, 0)])
        found = [await consumer.getone() for _ in heard]
        await consumer.stop()
        return [(record.timestamp_type, record.timestamp) for record in found]

    found = asyncio.run(main())
    assert [at for _, at in found] == [at for _, at in heard]
    assert {kind for kind, _ in heard} == {TIMESTAMP_LOG_APPEND_TIME}


def test_starting_fences_the_predecessor(kafka: KafkaServer, producers: Producers, topic: str) -> None:
    async def main() -> None:
        zombie, heir = producers.named("events-3"), producers.named("events-3")
        other = producers.named("events-2")
        for sender in (zombie, other):
            await sender.start()
            await sender.send([out(topic, b"before")])
        await heir.start()
        with pytest.raises(Fenced, match="events-3"):
            await zombie.send([out(topic, b"zombie")])
        await heir.send([out(topic, b"heir")])
        await other.send([out(topic, b"other")])
        for sender in (zombie, heir, other):
            await sender.close()

    asyncio.run(main())
    assert [value for _, value in read(kafka.bootstrap, topic)] == [b"before", b"before", b"heir", b"other"]


def test_a_sender_that_was_fenced_in_the_middle_of_a_transaction_closes_quietly(
    kafka: KafkaServer, producers: Producers, topic: str
) -> None:
    """A worker that was frozen goes on, and gives its partitions up: that must not end it."""

    async def main() -> None:
        zombie, heir = producers.named("events-5"), producers.named("events-5")
        await zombie.start()
        producer = zombie._producer  # type: ignore[attr-defined]
        producer.begin_transaction()
        producer.produce(topic, b"zombie", partition=0)
        await asyncio.sleep(0.3)  # it is on its way: the broker knows the transaction
        await heir.start()
        producer.produce(topic, b"zombie", partition=0)
        await asyncio.sleep(0.3)  # refused; the client keeps the fatal error for the next call that it can be told to
        await zombie.close()
        await heir.send([out(topic, b"heir")])
        await heir.close()

    asyncio.run(main())
    assert [value for _, value in read(kafka.bootstrap, topic)] == [b"heir"]


async def ends(broker: Broker, tp: tuple[str, int], offset: int) -> None:
    """A transaction's marker is written after its commit was acknowledged, a moment later."""
    end = -1
    for _ in range(200):
        end = (await broker.end_offsets([tp]))[tp]
        if end >= offset:
            break
        await asyncio.sleep(0.05)
    assert end == offset


def test_transactions_and_end_offsets_survive_a_broker_restart(prefix: str) -> None:
    async def main() -> None:
        with KafkaServer() as server:
            server.create_topics(prefix + "topic")
            producers = Producers(server.bootstrap, prefix)
            sender = producers.named("events-0")
            await sender.start()
            await sender.send([out(prefix + "topic", b"1")])
            broker, first = Broker(server.bootstrap), (prefix + "topic", 0)
            await ends(broker, first, 2)
            restart = asyncio.create_task(asyncio.to_thread(server.restart))
            await asyncio.sleep(0.5)
            await sender.send([out(prefix + "topic", b"2")])
            await restart
            await sender.send([out(prefix + "topic", b"3")])
            # Who knows the leaders of before is refused, and asks for the new ones only when told to.
            await ends(broker, first, 6)
            assert await broker.earliest_offsets([first]) == {first: 0}
            await sender.close()
            producers.close()
            assert [value for _, value in read(server.bootstrap, prefix + "topic")] == [b"1", b"2", b"3"]

    asyncio.run(main())


def test_no_broker_is_an_error_within_the_deadline(prefix: str) -> None:
    async def main() -> None:
        with KafkaServer() as server:
            server.create_topics(prefix + "topic")
            producers = Producers(server.bootstrap, prefix, deadline_s=2.0)
            sender, outbox = producers.named("events-0"), producers.outbox()
            await sender.start()
            await sender.send([out(prefix + "topic", b"1")])
            server.kill()
            for dead in (sender, outbox):
                began = time.monotonic()
                with pytest.raises(SendFailed):
                    await dead.send([out(prefix + "topic", b"2")])
                assert time.monotonic() - began < 10
                await dead.close()
            producers.close()

    asyncio.run(main())


def test_the_loop_goes_on_while_a_transaction_waits(producers: Producers, topic: str) -> None:
    async def main() -> float:
        senders = [producers.named(f"events-{i}") for i in range(4)]
        await asyncio.gather(*(sender.start() for sender in senders))
        worst = 0.0
        sending = asyncio.gather(*(send(sender) for sender in senders))
        while not sending.done():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - before)
        await sending
        await asyncio.gather(*(sender.close() for sender in senders))
        return worst

    async def send(sender: object) -> None:
        for _ in range(10):
            await sender.send([out(topic, b"x" * 1_000, i % 4) for i in range(16)])  # type: ignore[attr-defined]

    assert asyncio.run(main()) < 0.25  # 40 transactions of some 20 ms


def test_sixteen_producers_cost_little_memory(producers: Producers, topic: str) -> None:
    """They took 23 MB together when this was written; a worker has a few, whatever it reads."""

    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    async def main() -> float:
        before = resident_mb()
        senders = [producers.named(f"events-{i}") for i in range(16)]
        await asyncio.gather(*(sender.start() for sender in senders))
        await asyncio.gather(*(sender.send([out(topic, b"x" * 100_000, i) for i in range(4)]) for sender in senders))
        grown = resident_mb() - before
        await asyncio.gather(*(sender.close() for sender in senders))
        return grown

    assert asyncio.run(main()) < 60


def test_the_outbox_arrives_in_order_and_acknowledged(kafka: KafkaServer, topic: str) -> None:
    async def main() -> None:
        outbox = OutboxProducer(kafka.bootstrap)
        await outbox.publish([])
        await asyncio.gather(
            *(outbox.publish([out(topic, b"%d" % i, partition) for i in range(5_000)]) for partition in range(2))
        )
        for partition in range(2):  # no flush: when `publish` returns, they are there
            assert [int(value) for _, value in read(kafka.bootstrap, topic, partition)] == list(range(5_000))
        with pytest.raises(SendFailed, match="nowhere"):
            await OutboxProducer(kafka.bootstrap, deadline_s=1.0).publish([out("nowhere", b"x")])
        await outbox.close()
        await outbox.close()
        with pytest.raises(SendFailed, match="closed"):
            await outbox.publish([out(topic, b"x")])

    asyncio.run(main())


def test_the_outbox_says_what_is_left_and_all_else_is_there_once(kafka: KafkaServer, prefix: str) -> None:
    """A batch of small ones may be too large for a topic; of those too large alone the others know nothing."""
    kafka.create_topics(prefix + "small", config={"max.message.bytes": "20000"})
    topic = prefix + "small"
    values = [random.randbytes(40_000 if i in (3, 17) else 4_000) for i in range(30)]

    async def main() -> None:
        outbox = OutboxProducer(kafka.bootstrap, settings={"linger.ms": 50})
        records = [out(topic, value) for value in values]
        with pytest.raises(Unsent, match=r"40,000 bytes is too large for the topic") as unsent:
            await outbox.send([*records, out(prefix + "nowhere", b"x")])
        assert unsent.value.left == [3, 17, 30]
        assert unsent.value.too_large == {3, 17}
        await outbox.close()

    asyncio.run(main())
    assert sorted(value for _, value in read(kafka.bootstrap, topic)) == sorted(v for v in values if len(v) == 4_000)


def test_the_outbox_goes_on_after_a_fatal_error(
    kafka: KafkaServer, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """librdkafka's producer takes nothing any more after one, for as long as it lives. This is the one such error that
    can be had on demand: a record is refused, and no gap may be left where it should stand."""
    gapless = {"enable.gapless.guarantee": True, "compression.type": "none"}

    async def main() -> list[BaseException | None]:
        outbox = OutboxProducer(kafka.bootstrap, settings=gapless)
        await outbox.publish([out(topic, b"before")])
        refused = [out(topic, b"x" * 3_000_000), out(topic, b"behind it"), out(topic, b"elsewhere", 1)]
        async with asyncio.timeout(10):  # at once, not after the 20 s that a record may be under way
            failed = await asyncio.gather(*(outbox.publish([each]) for each in refused), return_exceptions=True)
            assert isinstance(failed[0], SendFailed)
            await outbox.publish([out(topic, b"after"), out(topic, b"after", 1)])
        await outbox.close()

        return failed

    # What was behind it in the same batch is sent again alone, and may arrive. It is there if that was said.
    _, behind, _ = asyncio.run(main())
    there = [b"before", *([b"behind it"] if behind is None else []), b"after"]
    assert [value for _, value in read(kafka.bootstrap, topic)] == there
    assert read(kafka.bootstrap, topic, 1)[-1] == (None, b"after")
    assert "outbox: goes on with a new producer" in caplog.text


def test_a_key_finds_the_partition_that_java_clients_find(kafka: KafkaServer, topic: str) -> None:
    keys = [b"%d" % i for i in range(50)]

    async def main() -> None:
        outbox = OutboxProducer(kafka.bootstrap)
        await outbox.publish([out(topic, b"v", None, key) for key in keys])
        await outbox.close()

    asyncio.run(main())
    java = DefaultPartitioner()  # Kafka's own murmur2
    for partition in range(4):
        expected = [key for key in keys if java(key, [0, 1, 2, 3], [0, 1, 2, 3]) == partition]
        assert [key for key, _ in read(kafka.bootstrap, topic, partition)] == expected


def test_on_the_embedded_broker_the_first_hop_sends_plainly() -> None:
    async def main() -> None:
        with EmbeddedKafka() as embedded:
            embedded.create_topics(["t"])
            producers = Producers(embedded.bootstrap, "g", transactions=False)
            sender = producers.named("events-0")
            assert isinstance(sender, PlainSender)
            await sender.start()
            await sender.send([out("t", b"%d" % i) for i in range(10)])
            large = random.randbytes(2_000_000)
            await sender.send([out("t", large, 1)])
            assert [int(value) for _, value in read(embedded.bootstrap, "t")] == list(range(10))
            assert [value for _, value in read(embedded.bootstrap, "t", 1)] == [large]
            await sender.close()
            producers.close()

    asyncio.run(main())
