"""What goes wrong. Each fault returns when it is over (not when the workers have recovered), and says what it did."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import NewPartitions

from pipeline.runtime.broker import Broker
from tests.chaos.aof import fall_back, written
from tests.chaos.rig import Rig
from tests.chaos.stream import LATENESS

SESSION_S = 8.0  # the workers' session timeout (runtime/app.py)
HOLD_S = 30.0
FALL_BACK = 60  # writes at the most
CANT_START = "the topics aren't as topology.yaml says"  # where it had just ended of the one before
NOBODY_READS = "nobody reads the new ones, and nothing was decided without them"


def kill(rig: Rig) -> str:
    """kill -9, started again at once."""
    slot = rig.pick()
    rig.supervisor.kill(slot)
    return f"kill -9 of worker {slot}"


def freeze(rig: Rig) -> str:
    """SIGSTOP for longer than the session timeout, then SIGCONT: a zombie wakes."""
    slot, seconds = rig.pick(), SESSION_S + rig.random.uniform(1.5, 4.0)
    process = rig.supervisor.slots[slot].process
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)
    return f"worker {slot} stopped for {seconds:.1f} s"


def join(rig: Rig) -> str:
    """A third worker comes and goes: two rebalances."""
    worker = rig.supervisor.new()
    with contextlib.suppress(AssertionError):
        worker.wait_ready(30)
    time.sleep(rig.random.uniform(0.2, 2.0))
    worker.process.terminate()
    code = rig.supervisor.end_of(worker)
    rig.joined.append(code)
    return f"a third worker came and left with exit code {code}"


def broker(rig: Rig) -> str:
    """Kafka restarts, in order or not."""
    hard = rig.random.random() < 0.5
    rig.kafka.kill() if hard else rig.kafka.stop()
    time.sleep(rig.random.uniform(0.0, 2.0))
    rig.kafka.start()
    return "Kafka killed and started" if hard else "Kafka restarted"


def redis_restart(rig: Rig) -> str:
    """Redis restarts from its append-only file, in order or not."""
    hard = rig.random.random() < 0.5
    rig.redis.restart(kill=hard)
    return "Redis killed and started" if hard else "Redis restarted"


def redis_back(rig: Rig) -> str:
    """Redis comes back without its last writes, under live workers."""
    gone = fall_back(rig.redis, some_writes(rig))
    return f"Redis fell back by {gone} writes"


def some_writes(rig: Rig) -> int:
    """So few that every partition has state without them: a Redis that has none of one is refused, and rightly."""
    writes = rig.random.randint(1, FALL_BACK)
    rig.wait(lambda: None not in (rig.books.read() or [None]), "every partition has state")
    kept = written(rig.redis)
    rig.wait(lambda: written(rig.redis) >= kept + writes, "there is more to lose")
    return writes


def fail_over(rig: Rig) -> str:
    """The same in no time, between two calls: no connection error tells the workers that anything has happened."""
    writes = some_writes(rig)
    processes = [worker.process for worker in rig.supervisor.slots]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        gone = fall_back(rig.redis, writes)
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
    return f"Redis fell back by {gone} writes, unnoticed"


def hold(rig: Rig) -> str:
    """Another producer's open transaction holds one partition of identity.resolved back for longer than the lateness,
    while the sources and the other partitions go on: readers of committed records don't get past its first record.
    """
    topic, partition = rig.topology.topics.resolved.name, rig.random.randrange(rig.books.partitions)
    producer = Producer(
        {
            "bootstrap.servers": rig.kafka.bootstrap,
            "transactional.id": f"{rig.topology.group}-hold",
            "transaction.timeout.ms": 120_000,
            "log_level": 3,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"never committed", partition=partition)
    producer.flush(30)
    began, behind = time.monotonic(), 0
    while time.monotonic() < began + (rig.hold_s if behind > LATENESS else HOLD_S):
        time.sleep(0.1)
        if (marks := rig.books.marks()) is not None:
            behind = max(marks) - marks[partition]
    while True:
        try:
            producer.abort_transaction(30)
            break
        except KafkaException as problem:
            if not problem.args[0].retriable():
                raise
    rig.held.append(behind)
    return f"partition {partition} of {topic.partition('.')[2]} held back by {behind / 60_000:.0f} min of event time"


def foreign(rig: Rig) -> str:
    """Somebody writes into the source topics and `identity.resolved` what doesn't belong there. All of it must become
    dead letters; what is written again as it lies there, by a mirror say, nothing at all.
    """
    producer = Producer({"bootstrap.servers": rig.kafka.bootstrap, "log_level": 3, "message.timeout.ms": 60_000})
    written = 0

    def delivered(error: object, message: Any) -> None:
        nonlocal written
        assert error is None, error
        rig.foreign.add((message.topic(), message.partition(), message.offset()))
        written += 1

    topics = rig.topology.topics
    for topic in (*topics.sources, topics.resolved):
        for partition in range(topic.partitions):
            for value, headers in rig.random.sample(STRANGE, 3):
                producer.produce(topic.name, value, partition=partition, headers=headers, on_delivery=delivered)
    assert producer.flush(70) == 0
    again = list(rig.deployment.read(topics.resolved.name))[-50:]
    for record in again:
        ours = [(name, value) for name, value in record.headers() or [] if name.startswith("pipeline.")]
        if ours:
            producer.produce(topics.resolved.name, record.value(), partition=record.partition(), headers=ours)
    assert producer.flush(70) == 0
    return f"{written} records that are nobody's, and {len(again)} of ours again"


def stop(rig: Rig) -> str:
    """So much garbage in a source partition that it stops. An operator lets it pass: all that is bad becomes dead
    letters, and what is good among it counts.
    """
    source = rig.random.choice(rig.topology.topics.sources)
    partition = rig.random.randrange(source.partitions)
    producer = Producer({"bootstrap.servers": rig.kafka.bootstrap, "log_level": 3, "message.timeout.ms": 60_000})

    def delivered(error: object, message: Any) -> None:
        assert error is None, error
        rig.foreign.add((message.topic(), message.partition(), message.offset()))

    number = rig.topology.dead_letter_limit.run * 6 // 5
    for n in range(number):
        producer.produce(source.name, b"garbage %d" % n, partition=partition, on_delivery=delivered)
    assert producer.flush(70) == 0
    place = f"{source.name}-{partition}"
    rig.wait(lambda: "pipeline skip" in _held(rig, place), f"{place} stops")
    rig.deployment.run("skip", source.name, str(partition), "end")
    rig.wait(lambda: not _held(rig, place), f"{place} goes on")
    return f"{place.partition('.')[2]} stopped by {number} bad records, and let pass"


def add(rig: Rig) -> str:
    """A partition is added to a source topic, and events come in it at once. Every worker ends; an operator sets
    topology.yaml, and they are started again.
    """
    source = rig.random.choice(rig.topology.topics.sources)
    number, ended = source.partitions + 1, len(rig.supervisor.endings)
    admin = rig.kafka.admin()
    admin.create_partitions([NewPartitions(source.name, number)])[source.name].result(30)
    added = [(source.name, number - 1)]
    rig.wait(lambda: Broker(rig.kafka.bootstrap).written(added)[added[0]] > 0, "an added partition is written to")
    rig.wait(lambda: rig.supervisor.ended(ended, NOBODY_READS, CANT_START), "a worker ends")
    rig.grow(source.name, number)
    return f"{source.name.partition('.')[2]} has {number} partitions"


def _held(rig: Rig, place: str) -> str:
    """Why a source partition doesn't go on, as far as any worker says."""
    said = ""
    for worker in rig.supervisor.slots:
        with contextlib.suppress(OSError, ValueError):
            said += worker.ready()["held_by"].get(place, "")
    return said


STRANGE: list[tuple[bytes | None, list[tuple[str, str | bytes | None]]]] = [
    (b'{"a":1}', []),
    (None, []),
    (b"", [("traceparent", b"00-1-1-00")]),
    (b"\0\x7f\xff\xff\xfe page view", []),  # a schema that nobody registered
    (b"\0\0\0\0\x01\xff\xff\xff", []),
    (b"x" * 200_000, []),
]


FAULTS: dict[str, Callable[[Rig], str]] = {
    "kill": kill,
    "freeze": freeze,
    "rebalance": join,
    "broker": broker,
    "redis": redis_restart,
    "fall-back": redis_back,
    "fail-over": fail_over,
    "hold": hold,
    "foreign": foreign,
    "stop": stop,
    "add": add,
}
