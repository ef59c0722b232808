"""What goes wrong. Each fault returns when it is over (not when the workers have recovered), and says what it did."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from tests.chaos.aof import fall_back
from tests.chaos.rig import Rig
from tests.chaos.stream import LATENESS

SESSION_S = 8.0  # the workers' session timeout (runtime/app.py)
HOLD_S = 30.0


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
    gone = fall_back(rig.redis, rig.random.randint(1, 60))
    return f"Redis fell back by {gone} writes"


def fail_over(rig: Rig) -> str:
    """The same in no time, between two calls: no connection error tells the workers that anything has happened."""
    processes = [worker.process for worker in rig.supervisor.slots]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        gone = fall_back(rig.redis, rig.random.randint(1, 60))
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


FAULTS: dict[str, Callable[[Rig], str]] = {
    "kill": kill,
    "freeze": freeze,
    "rebalance": join,
    "broker": broker,
    "redis": redis_restart,
    "fall-back": redis_back,
    "fail-over": fail_over,
    "hold": hold,
}
