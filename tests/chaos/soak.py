"""`make chaos ARGS="--soak 20"`: many minutes of live traffic through one worker, and whether it needs more and more.

People come, do some twenty things within some minutes, and stay away: what a worker remembers of them must not pile up.
Every ten seconds its memory, descriptors and threads are written down. It holds when none of them rises after the first
third, everything is decided in time, and the worker ends in order.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import redis
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from pipeline.events.catalogue import stream_of
from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from tests.deployment import PIPELINE, Deployment, WorkerProcess
from tests.servers import KafkaServer, RedisServer, SchemaRegistry

EVERY_S = 10.0
AT_ONCE = 6_000  # people
LIFE = 20  # events a person, on average, each four seconds: who came first is gone when the warm-up is over
PRODUCTS = 500
STEP_S = 0.05
WARM = 1 / 3
GROWS = 1.05  # median memory of the second half after the warm-up, by that of the first: some lag is usual
MORE_MB = 4.0
MORE_OPEN = 5  # descriptors, threads: connections come and go
SETTLE_S = 120.0


def quick(document: dict[str, Any]) -> None:
    """Everything is due within a minute, so that it is decided all the time."""
    document["time"].update(lateness="5s", disorder="5s")
    for rule in document["triggers"].values():
        rule["after"] = "40s"
    document["triggers"]["ebook_not_clicked"]["once"] = {"forget": "5m"}


@dataclass
class Person:
    """Who is there now. `left`: what is still to come of them."""

    number: int
    left: int
    known: bool = False


class Crowd(threading.Thread):
    """Writes `rate` events a second, as they happen."""

    def __init__(self, deployment: Deployment, rate: float, seed: int) -> None:
        super().__init__(name="crowd", daemon=True)
        self.rate, self.r = rate, random.Random(seed)
        self.topics = {topic.stream: topic.name for topic in deployment.topology.topics.sources}
        self.registry = connect(deployment.registry.url)
        self.encoder = Encoder(self.registry)
        self.producer = Producer({"bootstrap.servers": deployment.kafka, "linger.ms": 20, "log_level": 3})
        self.numbers = count()
        self.people = [self._new() for _ in range(AT_ONCE)]
        self.told = 0
        self.failed = 0
        self.problem: BaseException | None = None
        self.over = threading.Event()

    def _new(self) -> Person:
        return Person(next(self.numbers), self.r.randint(1, 2 * LIFE))

    def run(self) -> None:
        try:
            began = time.monotonic()
            while not self.over.wait(STEP_S):
                for _ in range(int((time.monotonic() - began) * self.rate) - self.told):
                    self._tell()
                self.producer.poll(0)
            assert self.producer.flush(30) == 0
        except BaseException as problem:
            self.problem = problem
        finally:
            self.registry.close()

    def _tell(self) -> None:
        r, self.told = self.r, self.told + 1
        place = r.randrange(AT_ONCE)
        person = self.people[place]
        person.left -= 1
        if person.left <= 0:
            self.people[place] = self._new()
        n, at = person.number, time.time_ns() // 1_000_000
        ids = {"anonymous_id": f"visitor-{n}"}
        kind = r.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
        body = KINDS[kind][1](r, n)
        if kind.startswith("email_"):
            ids = {"email": f"visitor-{n}@example.org"}
        elif kind == "identified" or (person.known and r.random() < 0.2):
            ids |= {"user_id": f"user-{n}", "email": f"visitor-{n}@example.org"}
            person.known = True
        event = Event(kind, f"e{self.told}", at, at, ids, body)
        topic = self.topics[stream_of(kind)]
        self.producer.produce(
            topic, self.encoder.encode(topic, event), next(iter(ids.values())).encode(), on_delivery=self._delivered
        )

    def _delivered(self, error: Any, message: Any) -> None:
        self.failed += error is not None


def _product(r: random.Random, n: int) -> dict[str, Any]:
    number = r.randrange(PRODUCTS)
    return {"product_id": f"p{number}", "name": f"Product {number}", "price": number * 0.5, "currency": "EUR"}


def _film(r: random.Random, n: int) -> dict[str, Any]:
    start = r.choice([0.0, 20.0, 40.0])
    film = {"film": f"film-{r.randrange(50)}", "title": "Film", "total_length": 100.0, "session_id": f"s{n}"}
    return {**film, "position": start + 30, "watched_from": start, "watched_to": start + 30}


KINDS: dict[str, tuple[float, Callable[[random.Random, int], dict[str, Any]]]] = {
    "page_viewed": (50, lambda r, n: {"url": f"https://shop.example/{r.randrange(2_000)}?u={n}", "title": "Shop"}),
    "product_viewed": (16, _product),
    "product_added": (9, lambda r, n: {"cart_id": f"c{n}", "quantity": 1.0, **_product(r, n)}),
    "cart_viewed": (4, lambda r, n: {"cart_id": f"c{n}"}),
    "order_completed": (
        3,
        lambda r, n: {"cart_id": f"c{n}", "order_id": f"o{n}-{r.randrange(99)}", "total": 9.5, "currency": "EUR"},
    ),
    "video_progressed": (8, _film),
    "searched": (3, lambda r, n: {"query": f"tent {r.randrange(100)}"}),
    "identified": (3, lambda r, n: {"traits": {"plan": r.choice(["free", "paid"])}}),
    "email_sent": (2, lambda r, n: {"message_id": f"m{n}", "campaign": "spring", "link_ids": ["ebook"]}),
    "email_clicked": (2, lambda r, n: {"message_id": f"m{n}", "link_id": "ebook", "confidence": "human"}),
}


@dataclass
class Sample:
    """`memory` and `store` (Redis): resident MB."""

    second: float
    memory: float
    descriptors: int
    threads: int
    store: float
    told: int

    def __str__(self) -> str:
        return (
            f"{self.second:6.0f} s  {self.memory:6.1f} MB  {self.descriptors:3} descriptors  {self.threads:3} threads"
            f"  {self.told:>9,} events  (Redis {self.store:.0f} MB)"
        )


def sample(pid: int, store: redis.Redis, began: float, told: int) -> Sample:
    """What a process needs now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    info: Any = store.info("memory")
    return Sample(
        time.monotonic() - began,
        int(status["VmRSS"].split()[0]) / 1024,
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        int(status["Threads"]),
        info["used_memory_rss"] / 2**20,
        told,
    )


def rising(series: list[Sample]) -> list[str]:
    """What rose after the warm-up: medians of the first half of what is left against those of the second."""
    left = series[int(len(series) * WARM) :]
    first, second = left[: len(left) // 2], left[len(left) // 2 :]
    if not first:
        return ["too short to tell"]
    found = []
    bounds = {
        "memory": lambda before: max(before * GROWS, before + MORE_MB),
        "descriptors": lambda before: before + MORE_OPEN,
        "threads": lambda before: before + MORE_OPEN,
    }
    for name, bound in bounds.items():
        before, after = (statistics.median(getattr(each, name) for each in half) for half in (first, second))
        if after > bound(before):
            found.append(f"{name} rose from {before:.0f} to {after:.0f}")
    return found


@dataclass
class Soaked:
    """What came of it."""

    series: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    decisions: float = 0.0


def soak(
    minutes: float,
    rate: float,
    folder: Path,
    kafka: KafkaServer,
    store: RedisServer,
    registry: SchemaRegistry,
    say: Callable[[str], None] = lambda line: None,
    launcher: list[str] = PIPELINE,
) -> Soaked:
    """Let it run, and judge."""
    folder.mkdir(parents=True, exist_ok=True)
    out = Soaked()
    with Deployment(folder, "soak", kafka.bootstrap, store.url, registry, quick) as deployment:
        deployment.run("topics")
        worker = deployment.worker(launcher=launcher)
        worker.wait_ready(90)
        crowd, began = Crowd(deployment, rate, 1), time.monotonic()
        crowd.start()
        with redis.Redis.from_url(store.url) as client:
            while time.monotonic() - began < minutes * 60:
                time.sleep(EVERY_S - (time.monotonic() - began) % EVERY_S)
                worker.check()
                out.series.append(sample(worker.process.pid, client, began, crowd.told))
                say(str(out.series[-1]))
        crowd.over.set()
        crowd.join()
        seconds = time.monotonic() - began
        out.problems += [] if crowd.problem is None else [f"the crowd failed: {crowd.problem!r}"]
        out.problems += [f"{crowd.failed} events were not delivered"] if crowd.failed else []
        if crowd.told < 0.95 * seconds * rate:
            out.problems.append(f"only {crowd.told / seconds:.0f} events a second")
        out.problems += rising(out.series)
        out.problems += _settled(worker)
        out.decisions = numbers(worker, "pipeline_triggers_total")
        if out.decisions < crowd.told / 100:
            out.problems.append(f"only {out.decisions:.0f} decisions")
        code = worker.stop()
        out.problems += [] if code == 0 else [f"the worker ended with {code}"]
    return out


def numbers(worker: WorkerProcess, name: str) -> float:
    """The sum of a metric over its labels."""
    families = text_string_to_metric_families(worker.get("/metrics"))
    return sum(s.value for family in families for s in family.samples if s.name == name)


def _settled(worker: WorkerProcess) -> list[str]:
    """Everything is read and decided soon after the last event; what is wrong if not."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        lag, waiting = numbers(worker, "pipeline_consumer_lag"), numbers(worker, "pipeline_timers_pending")
        dead = numbers(worker, "pipeline_dead_letters_total")
        if not lag and not waiting and not dead:
            return []
        if dead or time.monotonic() > deadline:
            return [f"{lag:.0f} records unread, {waiting:.0f} timers waiting, {dead:.0f} dead letters"]
        time.sleep(1)
