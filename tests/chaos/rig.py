"""Two real workers under a supervisor, fed while servers and workers fail, and somebody who watches their books."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.events.files import FileLine
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.runtime.ingest import Ingest, complete_at
from pipeline.runtime.second_hop import Meta, decode_meta
from pipeline.store.keys import partition_keys
from pipeline.topology.model import Topology
from tests.chaos.crippled import LAUNCHER
from tests.deployment import PIPELINE, Deployment, WorkerProcess
from tests.servers import KafkaServer, RedisServer

SLOTS = 2
WORD_EVERY_S = 0.3
"""A second is hours of event time here: with ingest's own second the watermark would move in few big steps."""


class Feeder(threading.Thread):
    """Writes a stream into the source topics as `pipeline ingest` does, at `rate` events a second.

    The last twentieth waits for `release()`, so that something is always under way while faults strike.
    """

    def __init__(self, topology: Topology, events: Sequence[Event], rate: float) -> None:
        super().__init__(name="feeder", daemon=True)
        self.topology, self.events, self.rate = topology, events, rate
        self.fed = 0
        self.high = 0
        self.through = complete_at(topology, max(event.received_at for event in events))
        self.problem: BaseException | None = None
        self.completed = threading.Event()
        self._released = threading.Event()
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            with (
                connect(self.topology.registry) as registry,
                Ingest(self.topology, registry, word_every_s=WORD_EVERY_S) as ingest,
            ):
                self._feed(ingest)
                if not self._stopped.is_set():
                    ingest.complete()
                    self.completed.set()
        except BaseException as problem:
            self.problem = problem

    def _feed(self, ingest: Ingest) -> None:
        held_from = len(self.events) * 19 // 20
        began = time.monotonic()
        for number, event in enumerate(self.events):
            while number >= held_from and not self._released.wait(1.0) and not self._stopped.is_set():
                ingest.tell_time()
            if self._stopped.wait(max(began + number / self.rate - time.monotonic(), 0)):
                return
            ingest.put(FileLine("stream", number + 1, b"", event=event))
            self.fed, self.high = number + 1, ingest.high

    def release(self) -> None:
        """All faults have struck: feed the rest."""
        self._released.set()

    def stop(self) -> None:
        """End early, with the recording left open."""
        self._stopped.set()
        self._released.set()
        self.join(60)

    def check(self) -> None:
        """Raise what ended the thread."""
        if self.problem is not None:
            raise RuntimeError("the feeder failed") from self.problem


@dataclass
class Ending:
    """A worker that ended by itself, as a supervisor sees it."""

    worker: str
    code: int
    said: str


class Supervisor(threading.Thread):
    """Keeps a worker in each slot, as systemd or Kubernetes would: one that ends is started again."""

    def __init__(self, deployment: Deployment, launcher: Sequence[str]) -> None:
        super().__init__(name="supervisor", daemon=True)
        self.deployment, self.launcher = deployment, launcher
        self.lock = threading.RLock()
        self.slots = [self.new() for _ in range(SLOTS)]
        self.endings: list[Ending] = []
        self._over = threading.Event()

    def new(self) -> WorkerProcess:
        worker = self.deployment.worker(launcher=self.launcher, PYTHONFAULTHANDLER="1")
        worker.expected_end = True
        return worker

    def ended(self, since: int, *said: str) -> bool:
        """Whether a worker ended by itself with one of these words, after so many had ended."""
        return any(words in ending.said for ending in self.endings[since:] for words in said)

    def kill(self, slot: int) -> None:
        """kill -9, and start anew."""
        with self.lock:
            self.slots[slot].kill()
            self.slots[slot] = self.new()

    def run(self) -> None:
        while not self._over.wait(0.2):
            with self.lock:
                for slot, worker in enumerate(self.slots):
                    code = worker.process.poll()
                    if code is not None:
                        self.endings.append(Ending(worker.log.name, code, last_words(worker)))
                        self.slots[slot] = self.new()

    def stop(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        self._over.set()
        self.join()
        for worker in self.slots:
            worker.process.terminate()
        return [self.end_of(worker) for worker in self.slots]

    @staticmethod
    def end_of(worker: WorkerProcess) -> int:
        """The exit code of one that was asked to end; one that doesn't is aborted, which is a code too."""
        try:
            return worker.process.wait(70)
        except subprocess.TimeoutExpired:
            worker.process.send_signal(signal.SIGABRT)  # shows where its threads are
            return worker.process.wait(10)


def last_words(worker: WorkerProcess) -> str:
    """What it said it ended of, or just its last line."""
    lines = worker.log.read_text(errors="replace").splitlines()
    told = [line for line in lines if '"critical"' in line or line.startswith("Error:")]
    last = (told or lines or [""])[-1]
    return str(json.loads(last)["message"]) if last.startswith("{") else last


class Books:
    """Reads the second hop's books from Redis, as nobody's owner."""

    def __init__(self, topology: Topology) -> None:
        self.partitions = topology.topics.resolved.partitions
        self.sources = topology.waited_for
        self.group = topology.group
        self.client = redis.Redis.from_url(topology.redis, socket_timeout=2, retry=Retry(NoBackoff(), 0))

    def read(self) -> list[Meta | None] | None:
        """A partition each; None while Redis is away."""
        try:
            raws = [self.client.hget(self.keys(p)[0], "meta") for p in range(self.partitions)]
        except redis.RedisError:
            return None
        return [decode_meta(raw) if isinstance(raw, bytes) else None for raw in raws]

    def count_sources(self, topology: Topology) -> None:
        """Source partitions were added."""
        self.sources = topology.waited_for

    def keys(self, partition: int) -> list[str]:
        """Redis keys of a partition."""
        return partition_keys(self.group, partition, self.partitions)

    def clock(self) -> int:
        """Everything before it is decided everywhere (UTC ms; 0: nobody knows)."""
        metas = self.read()
        return min(meta.clock if meta else 0 for meta in metas) if metas else 0

    def marks(self) -> list[int] | None:
        """How far each partition has read all sources; None: nobody knows."""
        metas = self.read()
        if metas is None:
            return None
        return [min(meta.marks.get(s, 0) for s in self.sources) if meta else 0 for meta in metas]


@dataclass
class Strike:
    """One fault. Times in seconds after the feed began; `recovered`: decided up to what was fed at the strike."""

    kind: str
    at: float
    detail: str = ""
    over: float = 0.0
    recovered: float | None = None
    target: int = 0


class Watcher(threading.Thread):
    """Notes when event time has caught up after each strike."""

    def __init__(self, books: Books, began: float) -> None:
        super().__init__(name="watcher", daemon=True)
        self.books, self.began = books, began
        self.strikes: list[Strike] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.25):
            waiting = [s for s in self.strikes if s.over and s.recovered is None]
            if waiting:
                clock = self.books.clock()
                for strike in waiting:
                    if clock >= strike.target:
                        strike.recovered = time.monotonic() - self.began

    def stop(self) -> None:
        self.stopped.set()
        self.join()


@dataclass
class Rig:
    """All of one run. `off`: the protection that its workers lack (crippled.py), or None."""

    deployment: Deployment
    kafka: KafkaServer
    redis: RedisServer
    events: Sequence[Event]
    rate: float
    seed: int
    off: str | None = None
    hold_s: float = 2.0
    """How long a partition is held back, at least."""
    say: Callable[[str], None] = lambda line: None
    joined: list[int] = field(default_factory=list)
    """Exit codes of the workers that came and went."""
    held: list[int] = field(default_factory=list)
    """By how much event time partitions were held back (ms)."""
    foreign: set[tuple[str, int, int]] = field(default_factory=set)
    """Where records stand that are no events and none of ours: topic, partition, offset."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.books = Books(self.topology)
        launcher = PIPELINE if self.off is None else [*LAUNCHER, self.off]
        self.supervisor = Supervisor(self.deployment, launcher)
        self.feeder = Feeder(self.topology, self.events, self.rate)
        self.began = 0.0
        self.watcher = Watcher(self.books, 0.0)

    @property
    def topology(self) -> Topology:
        """As it is now."""
        return self.deployment.topology

    def grow(self, source: str, partitions: int) -> None:
        """What an operator sets in topology.yaml; who starts from now on reads it so."""
        self.deployment.grow(source, partitions)
        self.books.count_sources(self.topology)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Workers up, feed under way, supervisor and watcher at work."""
        for worker in self.supervisor.slots:
            worker.wait_ready(90)
        self.began = self.watcher.began = time.monotonic()
        for thread in (self.supervisor, self.feeder, self.watcher):
            thread.start()
        try:
            yield
        finally:
            self.watcher.stop()
            self.feeder.stop()

    def wait_fed(self, number: int) -> None:
        """Until so many events were fed."""
        self.wait(lambda: self.feeder.fed >= number, f"{number} events are fed")

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = 300.0) -> None:
        """Until it holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            self.feeder.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {timeout:.0f} s: {what} ({self.feeder.fed} events were fed)")
            time.sleep(0.05)

    def pick(self) -> int:
        """A slot by chance, rather one whose worker works."""
        slots = self.random.sample(range(SLOTS), SLOTS)
        for slot in slots:
            with contextlib.suppress(OSError):
                self.supervisor.slots[slot].get("/readyz")
                return slot
        return slots[0]

    def strike(self, kind: str, act: Callable[[], str]) -> Strike:
        """Let a fault happen now, to its end."""
        disorder = self.topology.time.disorder_ms
        strike = Strike(kind, time.monotonic() - self.began, target=self.feeder.high - disorder)
        self.watcher.strikes.append(strike)
        strike.detail = act()
        strike.target = self.feeder.high - disorder
        strike.over = time.monotonic() - self.began
        self.say(f"{strike.at:6.1f} s  {kind:<10} {strike.detail}")
        return strike

    def finish(self, timeout: float) -> str | None:
        """Feed the rest and wait until everything is decided; or what it hangs on."""
        self.feeder.release()
        deadline = time.monotonic() + timeout
        while not self.feeder.completed.is_set() or self.books.clock() < self.feeder.through:
            self.feeder.check()
            if time.monotonic() > deadline:
                return self._why()
            time.sleep(0.2)
        return None

    def _why(self) -> str:
        metas = self.books.read()
        if metas is None:
            return "Redis does not answer"
        said = [f"fed {self.feeder.fed} of {len(self.events)}"]
        for p, meta in enumerate(metas):
            if meta is None:
                said.append(f"partition {p}: no state")
            else:
                slowest = min(self.books.sources, key=lambda s: meta.marks.get(s, 0))
                left = {i: at for i, at in meta.sent.items() if at[0] >= meta.clock}
                said.append(
                    f"partition {p}: offset {meta.offset}, clock {self.feeder.through - meta.clock} ms to go,"
                    f" slowest source {slowest} {self.feeder.through - meta.marks.get(slowest, 0)} ms to go,"
                    f" {len(left)} messages sent that it may wait for"
                )
        return "; ".join(said)
