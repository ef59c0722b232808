"""Wrong clocks, on a real Kafka and Redis: producers', the worker's. Nobody's on-time event is late for them, and
nobody is reminded before it is due, or never.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.runtime.broker import all_topics
from tests.deployment import PIPELINE, Deployment, WorkerProcess
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

SHIFTED = [sys.executable, "-m", "tests.shifted"]
AFTER_S, LATENESS_S, DISORDER_S = 10, 3, 3
PEOPLE = 40
HOUR, DAY = 3_600, 86_400


def ms() -> int:
    return time.time_ns() // 1_000_000


def quick(deployment: Deployment) -> Deployment:
    """Carts are left after ten seconds."""
    document = yaml.safe_load(deployment.path.read_text())
    document["time"].update(lateness=f"{LATENESS_S}s", disorder=f"{DISORDER_S}s")
    document["triggers"]["abandoned_cart"]["after"] = f"{AFTER_S}s"
    deployment.path.write_text(yaml.safe_dump(document, sort_keys=False))
    deployment.run("topics")
    return deployment


class Shop:
    """Whoever writes events. `ahead_s`: what a producer's clock is ahead by, and with it everything that it tells."""

    def __init__(self, deployment: Deployment) -> None:
        self.topics = {topic.name.rpartition(".")[2]: topic.name for topic in deployment.topology.topics.sources}
        self._registry = connect(deployment.registry.url)
        self._encoder = Encoder(self._registry)
        self._producer = Producer({"bootstrap.servers": deployment.kafka})
        self._numbers = count()

    def close(self) -> None:
        self.flush()
        self._registry.close()

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def tell(self, stream: str, partition: int, kind: str, who: str, ahead_s: float = 0, **body: Any) -> None:
        at = ms() + int(ahead_s * 1000)
        event = Event(kind, f"e{next(self._numbers)}", at, at, {"anonymous_id": who}, body)
        topic = self.topics[stream]
        self._producer.produce(topic, self._encoder.encode(topic, event), who.encode(), partition, timestamp=at)
        self._producer.poll(0)

    @contextmanager
    def wrong(self) -> Iterator[None]:
        """Producers whose clocks are wrong, each in a partition of its own and beside those of others, all the time."""
        over = Flag()
        wrong = [-DAY, -1800, -60, 50, 1800, DAY]
        shop = self

        def run() -> None:
            while not over.wait(0.5):
                for number, ahead_s in enumerate(wrong):
                    shop.tell("video", number % 4, "video_paused", f"tv{number}", ahead_s, title="f")
                    shop.tell("clickstream", number % 4, "searched", f"kiosk{number}", ahead_s, query="tent")
                shop.tell("email", 0, "email_opened", "old", -DAY, message_id="m")
                shop.tell("email", 1, "email_opened", "new", DAY, message_id="m")

        thread = Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture
def shop(deployment: Deployment) -> Iterator[Shop]:
    quick(deployment)
    made = Shop(deployment)
    yield made
    made.close()


def visit(shop: Shop, tills: list[float]) -> set[str]:
    """People fill carts, and two seconds later three of four buy: there, or at a till whose clock is wrong by one of
    `tills`. Returns who doesn't.
    """
    for n in range(PEOPLE):
        shop.tell("clickstream", n % 4, "product_added", f"p{n}", cart_id=f"c{n}", product_id="tent", quantity=1.0)
    shop.flush()
    time.sleep(2)
    for n in range(PEOPLE):
        if n % 4 == 1:
            shop.tell("clickstream", n % 4, "order_completed", f"p{n}", cart_id=f"c{n}", order_id=f"o{n}")
        elif n % 4 > 1:
            shop.tell("offline", n % 4, "offline_purchased", f"p{n}", tills[n % len(tills)], order_id=f"o{n}")
    shop.flush()
    return {f"c{n}" for n in range(0, PEOPLE, 4)}


def carts(deployment: Deployment, timeout: float = 90.0) -> dict[str, dict[str, Any]]:
    """What became of each cart, once; nothing before it was due."""
    deadline = time.monotonic() + timeout
    found: list[dict[str, Any]] = []
    while len({d["correlation_key"] for d in found}) < PEOPLE and time.monotonic() < deadline:
        for worker in deployment.workers:
            worker.check()
        time.sleep(0.3)
        found = [d for d in deployment.decisions() if d["rule"] == "abandoned_cart"]
        for decision in found:
            assert ms() >= decision["due_at"] + LATENESS_S * 1000, decision
    counted = Counter(d["correlation_key"] for d in found)
    assert len(counted) == PEOPLE, f"{PEOPLE - len(counted)} undecided: {deployment.workers[-1].get('/readyz')}"
    assert set(counted.values()) == {1}
    return {d["correlation_key"]: d for d in found}


def outcomes(decided: dict[str, dict[str, Any]], left: set[str]) -> None:
    assert {key for key, d in decided.items() if d["outcome"] == "fired"} == left
    assert {d["reason"] for key, d in decided.items() if key not in left} == {"bought"}


def samples(worker: WorkerProcess, name: str) -> dict[tuple[str, ...], float]:
    """Label values, in the order of the labels' names -> value."""
    families = text_string_to_metric_families(worker.get("/metrics"))
    return {
        tuple(v for _, v in sorted(s.labels.items())): s.value for f in families for s in f.samples if s.name == name
    }


def test_producers_whose_clocks_are_wrong_make_nobody_late(deployment: Deployment, shop: Shop) -> None:
    worker = deployment.worker()
    worker.wait_ready()
    with shop.wrong():
        time.sleep(3)
        left = visit(shop, [0, -1, 30, 1800, DAY])
        decided = carts(deployment)
    outcomes(decided, left)
    events = samples(worker, "pipeline_events_total")
    assert events["processed", "product_added"] == PEOPLE
    assert {kind for outcome, kind in events if outcome == "late"} <= {"searched", "video_paused", "email_opened"}
    assert samples(worker, "pipeline_dead_letters_total") == {}
    ahead = samples(worker, "pipeline_remarks_total")
    assert {(topic.rpartition(".")[2], what) for what, topic in ahead} == {
        (stream, "read_as") for stream in ("clickstream", "video", "email", "offline")
    }
    assert worker.ready()["clocks"] == {}
    assert worker.stop() == 0


@pytest.mark.parametrize(("before", "after"), [(HOUR, None), (-HOUR, None), (0, HOUR), (HOUR, -HOUR)])
def test_a_worker_whose_clock_is_wrong_reminds_in_time(
    deployment: Deployment, shop: Shop, before: int, after: int | None
) -> None:
    """`before`, `after`: seconds that it is ahead, and that it is set to while carts wait."""
    worker = deployment.worker(launcher=SHIFTED, SHIFTED_BY=str(before), SHIFTED_TO=str(after))
    worker.wait_ready()
    left = visit(shop, [0])
    shift = before
    if after is not None:
        worker.process.send_signal(signal.SIGUSR1)
        shift = after
    began = time.monotonic()
    outcomes(carts(deployment), left)
    assert time.monotonic() - began < AFTER_S + LATENESS_S + DISORDER_S + 25
    ready = wait_for_word(worker)
    assert ready["ready"] is True
    assert set(ready["clocks"]) == {"kafka", "redis"}
    named = {each["where"] for each in ready["troubles"] if each["cause"] == "clocks_differ"}
    assert named == {"kafka", "redis"}
    for words in ready["clocks"].values():
        assert "ahead of this machine's" in words if shift < 0 else "behind this machine's" in words
    offsets = samples(worker, "pipeline_clock_offset_seconds")
    assert offsets["kafka",] == pytest.approx(-shift, abs=5)
    assert offsets["redis",] == pytest.approx(-shift, abs=5)
    assert max(samples(worker, "pipeline_watermark_delay_seconds").values()) < 60  # by Kafka's clock
    assert worker.stop() == 0
    assert 1 <= worker.log.read_text().count("clocks differ: ") <= 3


def wait_for_word(worker: WorkerProcess) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        ready: dict[str, Any] = worker.ready()
        if ready["clocks"] or time.monotonic() > deadline:
            return ready
        time.sleep(0.3)


def test_topics_that_go_by_their_producers_clocks_are_refused_and_set_right(
    deployment: Deployment, kafka: KafkaServer
) -> None:
    topics = deployment.topology.topics
    deployment.run("topics")
    stamped = {topic.name for topic in (*topics.sources, topics.resolved, topics.control)}
    types = {t.name: kafka.topic_config(t.name)["message.timestamp.type"] for t in all_topics(topics)}
    assert types == {name: "LogAppendTime" if name in stamped else "CreateTime" for name in types}
    command = [*PIPELINE, "worker", "--topology", str(deployment.path)]
    for name in (topics.sources[1].name, topics.resolved.name, topics.control.name):
        kafka.set_topic_config(name, "message.timestamp.type", "CreateTime")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert f"{name}: message.timestamp.type is CreateTime" in done.stderr
        assert "`pipeline topics` sets LogAppendTime" in done.stderr
        assert "Traceback" not in done.stderr
        checked = deployment.run("topics", "--check", code=1)
        assert f"error: {name}: message.timestamp.type is CreateTime" in checked
        made = deployment.run("topics")
        assert f"set: {name}: message.timestamp.type is LogAppendTime now" in made
        assert "set right" in made
        assert "set: " not in deployment.run("topics")
    worker = deployment.worker()
    worker.wait_ready()
    assert worker.stop() == 0
