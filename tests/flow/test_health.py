"""What a worker says of itself while servers and neighbours fail, one after the other: /readyz names what is wrong now,
and what to do, within ten seconds, and stops when it is over; the log says each once; what is overdue is seen to be.

One deployment and one worker for all; servers of their own, which are stopped and frozen. Half a minute of waiting in
all is for servers.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from confluent_kafka import Consumer, Producer

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.observe.door import LIMIT
from pipeline.runtime.probes import EVERY_S
from tests.control import say
from tests.deployment import PIPELINE, Deployment, WorkerProcess
from tests.flow.test_bad_input import metric
from tests.registry import RegistryServer
from tests.servers import HOST, KafkaServer, RedisServer

pytestmark = pytest.mark.servers

NAMED_S = 10.0
OVER_S = 30.0
FILES = 512  # descriptors that the worker may have
LIMITED = ["bash", "-c", f'ulimit -n {FILES}; exec "$0" "$@"', *PIPELINE]
RULE = {
    "version": 1,
    "start": {"event": "page_viewed", "where": {"path": {"contains": "/price"}}},
    "after": "4s",
}


def quick(document: dict[str, Any]) -> None:
    document["triggers"] = {"price_seen": RULE}
    document["time"].update(lateness="500ms", disorder="1s", idle={"after": "500ms", "every": "250ms"})


class World(NamedTuple):
    """Everything of this module."""

    kafka: KafkaServer
    redis: RedisServer
    registry: RegistryServer
    shop: Deployment
    worker: WorkerProcess
    encoder: Encoder
    numbers: Iterator[int]

    def ready(self) -> dict[str, Any]:
        """What /readyz says."""
        return self.worker.ready()

    def troubles(self) -> dict[str, dict[str, str]]:
        """Cause -> what is said of it."""
        return {each["cause"]: each for each in self.ready()["troubles"]}

    def until_named(self, cause: str) -> dict[str, str]:
        """Wait for it; how it is named."""
        until(lambda: cause in self.troubles(), NAMED_S, f"{cause} is named")
        return self.troubles()[cause]

    def until_fine(self) -> None:
        until(lambda: self.ready()["ready"] and not self.ready()["troubles"], OVER_S, "all is over", self.ready)

    def overdue(self) -> float:
        """The largest, over all partitions."""
        lines = re.findall(r"^pipeline_timers_overdue_seconds{.*} (.*)$", self.worker.get("/metrics"), re.MULTILINE)
        assert len(lines) == 4
        return max(map(float, lines))

    def visit(self, source: int = 0) -> str:
        """Somebody looks at a price: will be decided 5.5 s later. Returns who."""
        at, who = int(time.time() * 1000), f"p{next(self.numbers)}"
        topic = self.shop.topology.topics.sources[source].name
        event = Event("page_viewed", who, at, at, {"anonymous_id": who}, {"url": "https://a/price", "path": "/price"})
        producer = Producer({"bootstrap.servers": self.shop.kafka, "log_level": 0})
        producer.produce(topic, self.encoder.encode(topic, event), who.encode())
        assert producer.flush(30) == 0
        return who

    def visits(self, count: int = 8) -> list[str]:
        """So many that each partition of profiles gets one."""
        return [self.visit() for _ in range(count)]

    def visits_that_wait(self) -> list[str]:
        """They are read by now, and not decided yet."""
        who = self.visits()
        until(lambda: metric(self.worker, "pipeline_timers_pending") > 0, 10, "they wait")
        time.sleep(EVERY_S["overdue"])
        return who

    def until_decided(self, who: str) -> None:
        def decided() -> bool:
            return any(d["identifiers"]["anonymous_id"] == [who] for d in self.shop.decisions())

        until(decided, OVER_S, f"{who} is decided", self.ready)

    def lines(self, since: int = 0) -> list[str]:
        """Messages of the log, after so many."""
        told = [json.loads(line) for line in self.worker.log.read_text().splitlines() if line.startswith("{")]
        return [
            f"{line['logger']} {line['message']}" if "aiokafka" in line["logger"] else str(line["message"])
            for line in told
        ][since:]


def until(condition: Callable[[], bool], seconds: float, what: str, said: Callable[[], object] = str) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}; {said()}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("health")
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer())
        store = stack.enter_context(RedisServer())
        registry = stack.enter_context(RegistryServer())
        shop = stack.enter_context(Deployment(folder, "health", kafka.bootstrap, store.url, registry, quick))
        shop.run("topics")
        client = stack.enter_context(connect(registry.url))
        worker = shop.worker(launcher=LIMITED)
        worker.wait_ready()
        yield World(kafka, store, registry, shop, worker, Encoder(client), iter(range(1 << 30)))


@contextmanager
def said_once(world: World, *causes: str) -> Iterator[None]:
    """Each of these begins and ends in the log, some partitions a second later than others; nothing floods it."""
    before = len(world.lines())
    yield
    lines = world.lines(before)
    for cause in causes:
        about = [line for line in lines if re.match(rf"[^:]+: {cause}: ", line)]
        over = [line for line in about if f"{cause}: over, after " in line]
        assert 1 <= len(over) <= 4, lines  # one each ten seconds, of several places
        assert 1 <= len(about) - len(over) <= 4, lines
    assert len([line for line in lines if "aiokafka" not in line]) < 20, lines
    assert len(lines) < 60, lines


def test_a_fresh_pipeline_that_nobody_uses_is_ready(world: World) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 4:
        ready = world.ready()
        assert ready["ready"] is True
        assert ready["waiting_for"] == {}
        assert ready["troubles"] == []
        time.sleep(0.5)
    assert world.overdue() == 0


def test_half_sent_requests_leave_the_worker_alone(world: World) -> None:
    memory, before = kilobytes(world), sockets(world)
    clients: list[socket.socket] = []
    try:
        for number in range(1_500):
            made = socket.create_connection((HOST, world.worker.port), timeout=10)
            clients.append(made)
            with suppress(OSError):  # shown out by now
                made.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            if number % 100 == 0:
                assert world.ready()["ready"] is True
                assert connections(world, before) <= LIMIT + 2  # one that comes, one that goes
        trouble = world.until_named("http_crowded")
        assert "more than 64 connections" in trouble["what"]
        who = world.visit()
        world.until_decided(who)
        assert world.ready()["ready"] is True
        assert kilobytes(world) - memory < 40_000
    finally:
        for client in clients:
            client.close()
    until(lambda: connections(world, before) == 0, 20, "descriptors are free again")


def sockets(world: World) -> set[str]:
    """The worker's descriptors that are sockets.

    Descriptors are numbered from the lowest on: whoever comes and goes meanwhile, no more are met than were held at
    once. (/proc/net/tcp is read piece by piece, and may show one who went and who took their place.)
    """
    found = set()
    for descriptor in Path(f"/proc/{world.worker.process.pid}/fd").iterdir():
        with suppress(OSError):  # closed by now
            found.add(str(descriptor.readlink()))
    return {each for each in found if each.startswith("socket:")}


def connections(world: World, before: set[str]) -> int:
    """Sockets of its HTTP server. `before`: those it had without any; what else came since has another port here."""
    held = sockets(world) - before
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return len(held - {f"socket:[{row[9]}]" for row in rows if not row[1].endswith(f":{world.worker.port:04X}")})


def kilobytes(world: World) -> int:
    return int(Path(f"/proc/{world.worker.process.pid}/statm").read_text().split()[1]) * 4


class Fault(NamedTuple):
    """`do`, `undo`; what is named, `others` with it; what it says. `overdue`: whether that is seen to rise, too."""

    cause: str
    where: str
    do: Callable[[World], object]
    undo: Callable[[World], object]
    says: str
    others: tuple[str, ...] = ()
    overdue: bool = False


def set_memory(world: World, limit: str) -> None:
    with redis.Redis.from_url(world.redis.url) as client:
        client.config_set("maxmemory", limit)


def fill_redis(world: World) -> None:
    world.visits()
    set_memory(world, "1mb")


FAULTS = [
    Fault(
        "redis_away",
        "redis",
        lambda w: w.redis.kill(),
        lambda w: w.redis.start(),
        "Redis at redis://127",
        ("ticks_fail",),
    ),
    Fault(
        "redis_silent",
        "redis",
        lambda w: w.redis.sigstop(),
        lambda w: w.redis.sigcont(),
        "Redis at redis://127",
        ("ticks_fail",),
        overdue=True,
    ),
    Fault(
        "redis_full",
        "redis",
        fill_redis,
        lambda w: set_memory(w, "0"),
        "maxmemory",
        ("partition_claims_again",),
        overdue=True,
    ),
    Fault(
        "kafka_silent", "kafka", lambda w: w.kafka.sigstop(), lambda w: w.kafka.sigcont(), "Kafka at 127", overdue=True
    ),
    Fault("kafka_away", "kafka", lambda w: w.kafka.kill(), lambda w: w.kafka.start(), "nobody listens there"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.cause)
def test_a_server_that_fails_is_named(world: World, fault: Fault) -> None:
    world.until_fine()
    with said_once(world, fault.cause, *fault.others):
        who = world.visits_that_wait()[-1] if fault.overdue else ""
        fault.do(world)
        began = time.monotonic()
        try:
            trouble = world.until_named(fault.cause)
            assert trouble["where"] == fault.where
            assert fault.says in trouble["what"]
            assert trouble["do"].endswith(".")
            until(lambda: fault.where in world.ready()["waiting_for"], NAMED_S, "it isn't ready for that")
            assert world.ready()["ready"] is False
            assert time.monotonic() - began < NAMED_S
            for cause in fault.others:
                world.until_named(cause)
            if fault.overdue:
                until(lambda: world.overdue() > 1.0, 15, "what is overdue is seen")
        finally:
            fault.undo(world)
        world.until_fine()
        world.worker.check()
    if who:
        world.until_decided(who)
        until(lambda: world.overdue() == 0, 10, "nothing is overdue")


def test_a_partition_that_another_member_has_taken_is_overdue_and_nobodys(world: World) -> None:
    """A member of the group that does nothing: half of the partitions have nobody who works."""
    world.until_fine()
    topics = world.shop.topology.topics
    intruder = Consumer(
        {
            "bootstrap.servers": world.kafka.bootstrap,
            "group.id": world.shop.topology.group,
            "partition.assignment.strategy": "roundrobin",
            "enable.auto.commit": False,
            "session.timeout.ms": 6_000,
            "log_level": 0,
        }
    )
    try:
        intruder.subscribe([*(topic.name for topic in topics.sources), topics.resolved.name])
        until(lambda: bool(intruder.poll(0.2) or intruder.assignment()), 30, "it has partitions")
        world.visits(16)

        def overdue() -> bool:
            intruder.poll(0)
            return world.overdue() > 1.0

        until(overdue, 20, "what is overdue is seen")
    finally:
        intruder.close()
    until(lambda: world.overdue() == 0, OVER_S, "all is decided", world.ready)
    world.until_fine()


def test_an_open_transaction_is_named_and_makes_decisions_overdue(world: World) -> None:
    """Somebody's open transaction: no source partition gets past it."""
    world.until_fine()
    source = world.shop.topology.topics.sources[1].name
    producer = Producer({"bootstrap.servers": world.kafka.bootstrap, "transactional.id": "theirs", "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(source, b"never committed", partition=2)
    assert producer.flush(30) == 0
    try:
        world.visits()
        trouble = world.until_named("open_transaction")
        assert trouble["where"] == f"{source}-2"
        assert "an open transaction of producer " in trouble["what"]
        until(lambda: world.overdue() > 5.0, 20, "time stands, so what is overdue becomes more so")
    finally:
        producer.abort_transaction(30)
    until(lambda: world.overdue() == 0, OVER_S, "all is decided", world.ready)
    world.until_fine()


def test_a_recording_that_holds_time_is_named(world: World) -> None:
    world.until_fine()
    say(world.shop.topology, "begin", recording="monday")
    trouble = world.until_named("recording_holds_time")
    assert trouble["where"] == "recording monday"
    assert "source partitions since 20" in trouble["what"]
    assert "--take-over" in trouble["do"]
    assert world.ready()["ready"] is True
    world.visits()
    until(lambda: world.overdue() > 1.0, 20, "what is overdue is seen")
    say(world.shop.topology, "open", recording="monday")
    world.until_fine()


def test_a_partition_with_an_unknown_schema_waits_for_the_registry(world: World) -> None:
    world.until_fine()
    at = int(time.time() * 1000)
    topic = world.shop.topology.topics.sources[2].name
    value = world.encoder.encode(topic, Event("video_paused", "v1", at, at, {"anonymous_id": "tv"}, {"title": "f"}))
    with said_once(world, "partition_waits", "registry_away"):
        world.registry.stop()
        try:
            producer = Producer({"bootstrap.servers": world.kafka.bootstrap, "log_level": 0})
            producer.produce(topic, value, partition=3)
            assert producer.flush(30) == 0
            trouble = world.until_named("partition_waits")
            assert trouble["where"] == f"{topic}-3"
            assert "schema registry" in trouble["what"]
            until(lambda: not world.ready()["ready"], NAMED_S, "not ready")
            assert f"{topic}-3" in world.ready()["held_by"]
            trouble = world.until_named("registry_away")
            assert trouble["where"] == "registry"
            assert "Schema registry http://127" in trouble["what"]
        finally:
            world.registry.start()
        world.until_fine()


def test_a_worker_that_starts_without_a_registry_waits_for_it(world: World, tmp_path: Path) -> None:
    with (
        RegistryServer() as registry,
        Deployment(tmp_path, "early", world.kafka.bootstrap, world.redis.url, registry, quick) as shop,
    ):
        shop.run("topics")
        registry.stop()
        worker = shop.worker()

        def waits() -> bool:
            worker.check()
            with suppress(OSError):
                return "registry" in worker.ready()["waiting_for"]
            return False

        until(waits, 60, "it says what it waits for", worker.tail)
        assert worker.ready()["ready"] is False
        registry.start()
        worker.wait_ready()
        assert worker.stop() == 0


def test_in_the_end_it_ends_in_order(world: World) -> None:
    world.until_fine()
    assert metric(world.worker, "pipeline_clock_offset_seconds", 'server="redis"') < 5
    assert world.worker.stop() == 0
