"""A real Apache Kafka, Redis and schema registry (Apicurio's) for tests, chaos runs and benchmarks.

    with KafkaServer() as kafka, RedisServer() as redis, SchemaRegistry() as registry:
        ...  # kafka.bootstrap == "127.0.0.1:20817", redis.url == "redis://127.0.0.1:24120/0"
             # registry.url == "http://127.0.0.1:21700/apis/ccompat/v7"

A server keeps its ports and its data from `start()` over `stop()`, `kill()` and `restart()` until `close()` (or the end
of the `with` block) removes the data. By hand, in the foreground until ^C:

    python -m tests.servers start --kafka-port 19092 --redis-port 16400

`python tests/install_servers.py` brings what this needs (Java, the jars, redis-server).
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.child import HOST, ROOT, SERVERS, Server, ServerFailed, free_port, listens

__all__ = [
    "HOST",
    "ROOT",
    "SERVERS",
    "KafkaServer",
    "RedisServer",
    "SchemaRegistry",
    "Server",
    "ServerFailed",
    "both",
    "free_port",
]

JARS = SERVERS / "kafka"
NEWEST = SERVERS / "kafka-newest"
REGISTRY = SERVERS / "registry"
BROKER = ROOT / "tests" / "broker"


class KafkaServer(Server):
    """Apache Kafka in KRaft mode: one node, broker and controller in one process. Topics are never made by themselves.

    `heap`: Java's -Xmx. `jars`: which release.
    """

    name = "kafka"

    def __init__(
        self, port: int | None = None, *, heap: str = "512m", cpus: str | None = None, jars: Path = JARS
    ) -> None:
        super().__init__(cpus=cpus)
        self.jars = jars
        self.port = port or free_port()
        self.controller_port = free_port()
        self.ports = (self.port, self.controller_port)
        self.heap = heap

    @property
    def bootstrap(self) -> str:
        """Address for clients, `host:port`."""
        return f"{HOST}:{self.port}"

    def admin(self) -> AdminClient:
        """A new admin client of this broker, silent while the broker is away."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 10_000})

    def create_topics(self, *names: str, partitions: int = 4, config: dict[str, str] | None = None) -> None:
        """Create topics (replication 1) and return when the broker knows them."""
        topics = [NewTopic(name, partitions, 1, config=config or {}) for name in names]
        admin = self.admin()  # must outlive its futures
        for made in admin.create_topics(topics).values():
            made.result(timeout=30)

    def topic_config(self, name: str) -> dict[str, str]:
        """What the broker says a topic is set to."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        admin = self.admin()
        found = admin.describe_configs([resource])[resource].result(timeout=30)
        return {key: entry.value for key, entry in found.items()}

    def set_topic_config(self, name: str, setting: str, value: str) -> None:
        """Change one setting of a topic."""
        entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        admin = self.admin()
        admin.incremental_alter_configs([resource])[resource].result(timeout=30)

    def _prepare(self) -> None:
        if not any(self.jars.glob("kafka_2.13-*.jar")):
            raise ServerFailed(f"no Kafka in {self.jars}: run `python3 tests/install_servers.py` (`make test` does)")
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        command = f"kafka.tools.StorageTool format -t {uuid.uuid4().hex[:22]} -c".split()
        java = _java(self.jars, "-XX:TieredStopAtLevel=1")
        made = subprocess.run([*java, *command, self._properties], capture_output=True, text=True)
        if made.returncode != 0:
            raise ServerFailed(f"Kafka's StorageTool failed:\n{made.stdout}{made.stderr}")

    @property
    def _properties(self) -> Path:
        return self.dir / "server.properties"

    def _settings(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.dir / "log"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": "1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            # A joining worker is served at once, and a dead one may be noticed within a second.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # A killed broker's registration must lapse before it may start again: 3 s, not 9.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "num.network.threads": "2",
            "num.io.threads": "4",
            # The default of 128 MB would be a quarter of the heap.
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        }

    def _command(self) -> list[str]:
        memory = (f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError")
        return [*_java(self.jars, *memory), "kafka.Kafka", str(self._properties)]

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        try:
            return bool(self.admin().list_topics(timeout=2).brokers)
        except KafkaException:
            return False


class RedisServer(Server):
    """Redis as the pipeline wants it: append-only file, no snapshots, nothing evicted. `program`: Valkey's, perhaps."""

    name = "redis"

    def __init__(
        self,
        port: int | None = None,
        *,
        appendfsync: str = "everysec",
        cpus: str | None = None,
        program: str = "redis-server",
    ) -> None:
        super().__init__(cpus=cpus)
        self.program = program
        self.port = port or free_port()
        self.ports = (self.port,)
        self.appendfsync = appendfsync

    @property
    def url(self) -> str:
        """Address for clients, `redis://host:port/0`."""
        return f"redis://{HOST}:{self.port}/0"

    def save_copy(self) -> Path:
        """Copy the data as it is on disk now, for `roll_back`. The server keeps running."""
        copy = self.dir / f"copy-{uuid.uuid4().hex[:8]}"
        shutil.copytree(self._data, copy)
        return copy

    def roll_back(self, copy: Path) -> None:
        """Kill, put an earlier copy in place of the data, start: every write since the copy is lost."""
        self.kill()
        shutil.rmtree(self._data)
        shutil.copytree(copy, self._data)
        self.start()

    @property
    def _data(self) -> Path:
        return self.dir / "data"

    def _prepare(self) -> None:
        if shutil.which(self.program) is None:
            raise ServerFailed(f"no {self.program}: run `python3 tests/install_servers.py` (`make test` does)")
        self._data.mkdir()

    def _command(self) -> list[str]:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self._data),
            "appendonly": "yes",
            "appendfsync": self.appendfsync,
            "maxmemory-policy": "noeviction",
            "save": "",
            "daemonize": "no",
        }
        return [self.program, *(word for key, value in settings.items() for word in (f"--{key}", value))]

    def _answers(self) -> bool:
        try:
            # The waiting is done by the caller: no retries of the client's own.
            with redis.Redis(host=HOST, port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class SchemaRegistry(Server):
    """Apicurio's, which speaks Confluent's API below /apis/ccompat/v7. It keeps everything in memory: a restart, and it
    is empty. Its ids begin at 1.
    """

    name = "registry"
    start_timeout = 120.0  # 4 s on an idle machine, nearly all of it processor time

    def __init__(self, port: int | None = None, *, cpus: str | None = None) -> None:
        super().__init__(cpus=cpus)
        self.port = port or free_port()
        self.ports = (self.port,)

    @property
    def url(self) -> str:
        """Address for clients, `http://host:port/apis/ccompat/v7`."""
        return f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def _prepare(self) -> None:
        if not list(REGISTRY.glob("apicurio-registry-app-*-runner.jar")):
            raise ServerFailed(f"no registry in {REGISTRY}: run `python3 tests/install_servers.py` (`make test` does)")

    def _command(self) -> list[str]:
        (jar,) = REGISTRY.glob("apicurio-registry-app-*-runner.jar")
        memory = ("-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
        settings = {"quarkus.http.host": HOST, "quarkus.http.port": str(self.port), "quarkus.log.level": "WARN"}
        return ["java", *memory, *(f"-D{key}={value}" for key, value in settings.items()), "-jar", str(jar)]

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError):
            return False


def _java(jars: Path, *options: str) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={BROKER / 'log4j2.properties'}"
    return ["java", *options, logging, "-cp", f"{jars}/*"]


@contextlib.contextmanager
def both(kafka_port: int | None = None, redis_port: int | None = None) -> Iterator[tuple[KafkaServer, RedisServer]]:
    """A Kafka and a Redis that run for the length of a `with` block."""
    with KafkaServer(kafka_port) as kafka, RedisServer(redis_port) as store:
        yield kafka, store


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all three in the foreground until ^C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description="Kafka, Redis, registry until ^C.")
    parser.add_argument("command", choices=["start"])
    parser.add_argument("--kafka-port", type=int, help="default: a free one")
    parser.add_argument("--redis-port", type=int, help="default: a free one")
    parser.add_argument("--registry-port", type=int, help="default: a free one")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with both(options.kafka_port, options.redis_port) as (kafka, store), SchemaRegistry(options.registry_port) as third:
        print(f"PIPELINE_KAFKA={kafka.bootstrap}\nPIPELINE_REDIS={store.url}\nPIPELINE_REGISTRY={third.url}")
        print("# running until ^C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    try:
        main()
    except ServerFailed as problem:
        sys.exit(f"tests.servers: {problem}")
