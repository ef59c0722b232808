"""What the demo plays on: embedded servers, the real worker in a thread of its own, and an ear on its decisions."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.request import urlopen

import fastavro
import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from redis.asyncio import Redis

from pipeline.commands.profile import find
from pipeline.errors import PipelineError
from pipeline.events import schemas
from pipeline.profile.profile import Profile
from pipeline.runtime.app import Worker
from pipeline.runtime.broker import all_topics
from pipeline.runtime.embedded import EmbeddedKafka, EmbeddedRedis
from pipeline.runtime.hops import Hops
from pipeline.runtime.second_hop import decode_meta
from pipeline.runtime.worker import prepare
from pipeline.store.redis_store import RedisProfileStore
from pipeline.topology import load
from pipeline.topology.model import Topology

READY_S = 30.0
DRAIN_S = 20.0
HEADER = 5  # of the Confluent wire format

_PROCESSED = re.compile(r'pipeline_events_total\{.*outcome="processed".*\} ')

T = TypeVar("T")


class Playground:
    """Servers and worker from `with` to its end.

    `topology`: the one the worker runs, as `change` makes it. Everything else may be asked from the thread that holds
    it; PipelineError when the worker has ended by itself, with the last lines of its log.
    """

    def __init__(self, topology: Path, change: Callable[[Topology], Topology] = lambda topology: topology) -> None:
        self._path = topology
        self._change = change
        self._stack = ExitStack()
        self._log = Tail()
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._processed = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._log)
            kafka = stack.enter_context(EmbeddedKafka())
            redis = stack.enter_context(EmbeddedRedis())
            addresses = {"PIPELINE_KAFKA": kafka.bootstrap, "PIPELINE_REDIS": redis.url, "PIPELINE_REGISTRY": "mock://"}
            self.topology = self._change(embedded(load(self._path, addresses)))
            kafka.create_topics(topic.name for topic in all_topics(self.topology.topics))
            self._ear = Ear(self.topology)
            stack.callback(self._ear.close)
            self._thread.start()
            stack.callback(self._end)
            self._until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def processed(self) -> int:
        """Events that the first hop has processed, as the worker's own metrics tell."""
        self._alive()
        with suppress(OSError), urlopen(f"http://127.0.0.1:{self.topology.http_port}/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
            self._processed = sum(int(float(line.rpartition(" ")[2])) for line in lines if _PROCESSED.match(line))
        return self._processed

    def clock(self) -> int:
        """How far event time has come (UTC ms; 0: nowhere yet)."""
        hops = self._alive().hooks
        assert isinstance(hops, Hops)
        return hops.clock_at

    def decisions(self) -> list[dict[str, Any]]:
        """Those that have come since the last call, as they stand on the decisions topic."""
        self._alive()
        return self._ear.listen()

    def decided_before(self) -> int:
        """The moment (UTC ms) before which every partition has decided everything, by its own books in Redis."""
        return self._call(self._clocks())

    def person(self, namespace: str, value: str) -> tuple[str, Profile, int] | None:
        """Who is known by an identifier, from Redis."""
        return self._call(self._find(namespace, value))

    async def _clocks(self) -> int:
        partitions = self.topology.topics.resolved.partitions
        async with Redis.from_url(self.topology.redis) as redis:
            metas = await RedisProfileStore(redis, self.topology.group, partitions).metas(partitions)
        return min((decode_meta(meta).clock if meta else 0) for meta in metas)

    async def _find(self, namespace: str, value: str) -> tuple[str, Profile, int] | None:
        async with Redis.from_url(self.topology.redis) as redis:
            return await find(redis, self.topology, namespace, value)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        self._alive()
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _alive(self) -> Worker:
        if self._worker is None or not self._thread.is_alive():
            lines = "\n  ".join(self._log.lines)
            raise PipelineError(f"the worker has ended: {self._problem or 'see its log'}\n  {lines}") from self._problem
        return self._worker

    def _until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while self._worker is None or not self._worker.ready:
            if time.monotonic() > deadline or not self._thread.is_alive():
                lines = "\n  ".join(self._log.lines)
                raise PipelineError(f"the worker did not start: {self._problem or 'not ready in time'}\n  {lines}")
            time.sleep(0.05)

    def _work(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._run())
        except BaseException as problem:  # told by whoever asks next
            self._problem = problem

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        worker = await prepare(self.topology, durable=False)
        self._worker = worker
        await worker.run(signals=False)

    def _end(self) -> None:
        if self._worker is not None and self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._worker.end)
        self._thread.join(DRAIN_S)
        # Clients that outlive the broker would say so on the terminal.
        self._worker = self._loop = None
        gc.collect()


class Ear:
    """Reads the decisions topic from its beginning."""

    def __init__(self, topology: Topology) -> None:
        topic = topology.topics.decisions
        self._consumer = Consumer(
            {"bootstrap.servers": topology.kafka, "group.id": "demo", "enable.auto.commit": False, "log_level": 2}
        )
        self._consumer.assign([TopicPartition(topic.name, p, OFFSET_BEGINNING) for p in range(topic.partitions)])

    def listen(self) -> list[dict[str, Any]]:
        """What has come; does not wait."""
        found: list[Any] = []
        for message in self._consumer.consume(500, timeout=0.0):
            value = message.value()
            if message.error() is None and value:
                decision: Any = fastavro.schemaless_reader(io.BytesIO(value[HEADER:]), schemas.plain("decision"), None)
                decision["payload"] = msgspec.json.decode(decision["payload"])
                found.append(decision)
        return found

    def close(self) -> None:
        """Before the broker goes."""
        self._consumer.close()


class Tail(logging.Handler):
    """Takes the worker's log off the terminal, and keeps its last lines for when something goes wrong."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=12)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.lines.append(self.format(record))

    def __enter__(self) -> Self:
        self._level = logging.root.level
        logging.root.setLevel(logging.INFO)
        logging.root.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.root.removeHandler(self)
        logging.root.setLevel(self._level)


def embedded(topology: Topology) -> Topology:
    """The topology as the embedded broker can have it: its number of partitions, and a free port for the metrics."""
    count = EmbeddedKafka.PARTITIONS
    replace = msgspec.structs.replace
    topics = topology.topics
    fitted = replace(
        topics,
        sources=tuple(replace(topic, partitions=count) for topic in topics.sources),
        **{
            role: replace(getattr(topics, role), partitions=count)
            for role in ("resolved", "triggers", "decisions", "dead_letters", "control")
        },
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return replace(topology, topics=fitted, http_port=free.getsockname()[1])


def _loop_factory() -> Any:
    try:
        from uvloop import new_event_loop
    except ImportError:  # Windows
        return None
    return new_event_loop
