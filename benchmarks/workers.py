"""Several workers: what an event costs of four beside one, and how long a partition stands while they come and go.

    python -m benchmarks --workers                  a backlog with one, four, one, four; then a rolling restart
    python -m benchmarks --workers --rates 500      the rate of the second part

All workers share core 1, so four of them have no more time than one: what is compared is CPU, not speed. The longest
pause is the longest that any event of the phase waited from being handed to Kafka's client to being counted.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from confluent_kafka import Producer

from benchmarks.contestants import CORE, HERE, OUT, Servers, servers
from benchmarks.generate import Workload, stream
from benchmarks.live import SOURCES, WARM_S, Handed, Live, Load, Progress, of_offsets, quantiles
from benchmarks.meter import cpu_seconds
from tests.servers import free_port

BACKLOG = 200_000
MANY = 4
ROUNDS = 2
START_S = 60.0
SETTLE_S = 12.0  # after the last change of a phase
QUIET_S = 5.0


class Fleet(Live):
    """`pipeline worker`, several times."""

    def __init__(self, servers: Servers, topic: str) -> None:
        super().__init__(servers, topic, {})
        self._fleet: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._number = 0
        self._spent = 0.0

    def add(self) -> None:
        """One more; returns when it has joined the group."""
        log = OUT / "logs" / f"fleet-{self.run}-{self._number}.log"
        self._number += 1
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["taskset", "-c", CORE, *self.command],
                env={**os.environ, **self.env, "PIPELINE_HTTP_PORT": str(free_port())}, cwd=HERE.parent,
                stdout=out, stderr=out,
            )  # fmt: skip
        self._fleet.append((process, log))
        deadline = time.monotonic() + START_S
        while b"claimed" not in log.read_bytes() and b"stands by" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a worker doesn't start, see {log}")
            time.sleep(0.1)

    def remove(self) -> None:
        """End the oldest in order."""
        process, log = self._fleet.pop(0)
        self._spent += cpu_seconds(process.pid)
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise RuntimeError(f"a worker ended with {process.returncode}, see {log}")

    def cpu(self) -> float:
        """Seconds of all of them so far."""
        return self._spent + sum(cpu_seconds(process.pid) for process, _ in self._fleet)

    def stop(self) -> None:
        """End all."""
        for process, _ in self._fleet:
            process.send_signal(signal.SIGTERM)
        for process, _ in self._fleet:
            process.wait(60)
        self._fleet.clear()


class Backlog(Load):
    """Hands events over in one transaction: nobody can read any of them until all are there. `before`: CPU seconds of
    the workers just before that.
    """

    before = 0.0

    def __init__(self, servers: Servers, topic: str, handed: Handed, events: Iterator[Any], fleet: Fleet) -> None:
        super().__init__(servers, topic, handed, events, 0, BACKLOG)
        self._fleet = fleet
        self._producer = Producer(
            {"bootstrap.servers": servers.kafka.bootstrap, "transactional.id": topic, "compression.type": "lz4",
             "transaction.timeout.ms": 600_000, "queue.buffering.max.messages": 1_000_000, "linger.ms": 50}
        )  # fmt: skip

    def _run(self) -> None:
        self._producer.init_transactions()
        self._producer.begin_transaction()
        super()._run()
        self.before = self._fleet.cpu()
        self._producer.commit_transaction()


def backlog(on: Servers, workers: int) -> float:
    """CPU µs an event of all workers together."""
    topic = f"workers.{workers}.{random.getrandbits(24):06x}"
    on.client.flushall()
    on.kafka.create_topics(topic, partitions=SOURCES, config={"message.timestamp.type": "LogAppendTime"})
    fleet = Fleet(on, topic)
    fleet.prepare()
    handed = Handed()
    events = stream(Workload(events=BACKLOG * 2, identities=20_000))
    # What is there before they start makes nobody wait for a source that was never read.
    first = Load(on, topic, handed, events, 0, SOURCES * 200)
    first.start()
    first.join()
    first.stop()
    try:
        for _ in range(workers):
            fleet.add()
        _reach(fleet, handed)
        time.sleep(QUIET_S)
        load = Backlog(on, topic, handed, events, fleet)
        load.start()
        load.join()
        load.stop()
        _reach(fleet, handed)
        return (fleet.cpu() - load.before) / BACKLOG * 1e6
    finally:
        fleet.stop()


def _reach(fleet: Fleet, handed: Handed, patience_s: float = 300.0) -> None:
    """Wait until all that was handed over is counted."""
    deadline = time.monotonic() + patience_s
    while True:
        reached = fleet.reached()
        if reached is not None and all(upto >= len(times) for upto, times in zip(reached, handed.times, strict=True)):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not everything is counted: {reached} of {[len(times) for times in handed.times]}")
        time.sleep(0.1)


def restarts(on: Servers, rate: float) -> dict[str, Any]:
    """How long events wait while nothing happens, while each of four is replaced, and while one comes and goes."""
    topic = f"workers.restarts.{random.getrandbits(24):06x}"
    on.client.flushall()
    on.kafka.create_topics(topic, partitions=SOURCES, config={"message.timestamp.type": "LogAppendTime"})
    handed = Handed()
    fleet = Fleet(on, topic)
    fleet.prepare()
    progress = Progress(fleet.reached)
    load = Load(on, topic, handed, stream(Workload(events=10_000_000, identities=20_000)), rate)
    moments: dict[str, tuple[float, float]] = {}
    try:
        for _ in range(MANY):
            fleet.add()
        load.start()
        progress.start()
        time.sleep(WARM_S)
        for phase, change in (("calm", _nothing), ("rolling", _rolling), ("one more", _one_more)):
            since = time.monotonic()
            change(fleet)
            time.sleep(SETTLE_S)
            moments[phase] = since, time.monotonic()
        load.stop()
        _reach(fleet, handed)
        time.sleep(1)
    finally:
        progress.stop()
        fleet.stop()
    found: dict[str, Any] = {"events": len(handed.order), "producer_behind_ms": round(load.behind * 1000)}
    for phase, (since, until) in moments.items():
        found[phase] = dict(
            zip(("p50", "p99", "longest"), quantiles(of_offsets(handed, progress.seen, since, until)), strict=True)
        )
    return found


def _nothing(fleet: Fleet) -> None:
    time.sleep(SETTLE_S)


def _rolling(fleet: Fleet) -> None:
    for _ in range(MANY):
        fleet.remove()
        fleet.add()
        time.sleep(QUIET_S)


def _one_more(fleet: Fleet) -> None:
    fleet.add()
    time.sleep(QUIET_S)
    fleet.remove()


def workers(rate: float) -> dict[str, Any]:
    """Both, printed, and in benchmarks/out/workers.json."""
    with servers() as on:
        costs: dict[int, list[float]] = {1: [], MANY: []}
        for _ in range(ROUNDS):
            for number, found in costs.items():
                found.append(round(backlog(on, number), 1))
                print(f"  {number} worker{'s' if number > 1 else ''}: {found[-1]} µs an event", flush=True)
        ratio = median(many / one for one, many in zip(costs[1], costs[MANY], strict=True))
        print(f"{MANY} workers over one: {ratio:.2f}", flush=True)
        pauses = restarts(on, rate)
    for phase in ("calm", "rolling", "one more"):
        told = ", ".join(f"{name} {ms:.0f}" for name, ms in pauses[phase].items() if ms is not None)
        print(f"{phase}: ms from handed to counted: {told}")
    result = {"cost_us": {str(n): each for n, each in costs.items()}, "ratio": round(ratio, 2), "restarts": pauses}
    OUT.mkdir(exist_ok=True)
    (OUT / "workers.json").write_text(json.dumps(result, indent=2) + "\n")
    return result
