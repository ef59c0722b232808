"""Who runs, how to start it, how far it is, and what it wrote."""

from __future__ import annotations

import io
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import fastavro
import msgspec
import redis
from confluent_kafka import Consumer

from benchmarks.generate import PARTITIONS
from benchmarks.meter import data_bytes
from benchmarks.shipped import TOPOLOGY, with_all_rules
from pipeline.events import schemas
from pipeline.runtime.second_hop import decode_meta
from pipeline.store.keys import partition_keys
from pipeline.topology import load
from pipeline.topology.model import Topology
from tests.servers import KafkaServer, RedisServer, SchemaRegistry, free_port

HERE = Path(__file__).parent
OUT = HERE / "out"
PEERS = HERE / "peers"
CORE = "1"
PIPELINE = str(Path(sys.executable).with_name("pipeline"))


class Servers:
    """The Kafka, Redis and schema registry that all contestants share."""

    def __init__(self, kafka: KafkaServer, store: RedisServer, registry: SchemaRegistry) -> None:
        self.kafka = kafka
        self.redis = store
        self.registry = registry
        self.client = redis.Redis.from_url(store.url)
        self.reader = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": uuid.uuid4().hex, "log_level": 0})

    def memory(self) -> int:
        """Bytes of data in Redis."""
        return data_bytes(self.client)


@contextmanager
def servers() -> Iterator[Servers]:
    """Everything that contestants share."""
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer(cpus="0", heap="1g"))
        store = stack.enter_context(RedisServer(cpus="0"))
        registry = stack.enter_context(SchemaRegistry(cpus="0"))
        yield Servers(kafka, store, registry)


class Contestant:
    """One run of one contestant, from start to end."""

    name = ""
    redis_used = True
    passes = 1  # over the topic, each from an empty state; all but the last are to get warm
    counts_broker = False  # whether its state is kept by the broker, as ours is by Redis

    def __init__(self, servers: Servers, topic: str, total: int) -> None:
        self.servers = servers
        self.topic = topic
        self.total = total
        self.run = uuid.uuid4().hex[:6]
        self.log = OUT / "logs" / f"{self.name}-{self.run}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the worker."""
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        """Whether the worker runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the worker on its core."""
        raise NotImplementedError

    def again(self) -> None:
        """Begin the next pass, in the same process."""
        raise NotImplementedError

    def progress(self) -> float:
        """Events done, of `total`. 0 until it works."""
        raise NotImplementedError

    def working(self) -> bool:
        """Whether it has begun, or is just about to."""
        return self.progress() > 0

    def outputs(self) -> int:
        """Records written to what it writes its triggers to."""
        raise NotImplementedError

    def settled(self) -> bool:
        """Whether, as far as it tells, everything is decided."""
        return True

    def stop(self) -> None:
        """End it in order."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def _spawn(self, command: list[str], env: dict[str, str], cwd: Path, stdin: int | None = None) -> None:
        out: IO[bytes]
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                ["taskset", "-c", CORE, *command],
                env={**os.environ, **env}, cwd=cwd, stdin=stdin, stdout=out, stderr=out,
            )  # fmt: skip


class Ours(Contestant):
    """`pipeline worker`: both hops, the identity graph, three rules. `changes`: of the topology's text, old -> new."""

    name = "ours"

    def __init__(self, servers: Servers, topic: str, total: int, changes: Mapping[str, str] = MappingProxyType({})):
        super().__init__(servers, topic, total)
        text = self.text()
        for old, new in changes.items():
            if old not in text:
                raise ValueError(f"{old!r} isn't in {HERE / 'topology.yaml'}")
            text = text.replace(old, new)
        for name in ("resolved", "triggers", "decisions", "dead-letter"):
            text = text.replace(f"name: bench.{name},", f"name: bench.{name}.{self.run},")
        self.topology_file = OUT / "logs" / f"topology-{self.run}.yaml"
        self.topology_file.write_text(text.replace("    bench.events:", f"    {topic}:"))
        self.port = free_port()
        self.env = {
            "PIPELINE_KAFKA": servers.kafka.bootstrap,
            "PIPELINE_REDIS": servers.redis.url,
            "PIPELINE_REGISTRY": servers.registry.url,
            "PIPELINE_GROUP": f"bench-{self.run}",
            "PIPELINE_HTTP_PORT": str(self.port),
        }
        self.topology: Topology = load(self.topology_file, self.env)
        group = self.topology.group
        count = self.topology.topics.resolved.partitions
        self._metas = [partition_keys(group, p, count)[0] for p in range(count)]

    def text(self) -> str:
        """Of its topology."""
        return TOPOLOGY.read_text(encoding="utf-8")

    def prepare(self) -> None:
        """Make the topics."""
        made = subprocess.run(
            [PIPELINE, "topics", "--create", "--topology", str(self.topology_file)],
            env={**os.environ, **self.env}, capture_output=True, text=True,
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"pipeline topics: {made.stdout}{made.stderr}")

    @property
    def command(self) -> list[str]:
        """Of a worker."""
        return [PIPELINE, "worker", "--topology", str(self.topology_file)]

    def start(self) -> None:
        """Make the topics, start the worker."""
        self.prepare()
        self._spawn(self.command, self.env, HERE.parent)

    def _metas_now(self) -> list[Any]:
        pipe = self.servers.client.pipeline(transaction=False)
        for key in self._metas:
            pipe.hget(key, "meta")
        return [decode_meta(raw) if raw else None for raw in pipe.execute()]

    def progress(self) -> float:
        """What both hops have done."""
        metas = self._metas_now()
        if any(meta is None for meta in metas):
            return 0
        return sum(min(meta.seen.get(f"{self.topic}-{p}", 0) for meta in metas) for p in range(PARTITIONS))

    def working(self) -> bool:
        """It has claimed its partitions."""
        return b"claimed" in self.log.read_bytes()

    def outputs(self) -> int:
        """Decisions."""
        return sum(end_offsets(self.servers, self.topology.topics.decisions.name))

    def settled(self) -> bool:
        """Every partition has decided up to the closing events."""
        metas = self._metas_now()
        return min(meta.clock for meta in metas) >= min(min(meta.marks.values()) for meta in metas)

    def decisions(self) -> list[dict[str, Any]]:
        """Every record on the decisions topic, read with its schema."""
        schema = schemas.plain("decision")
        found = []
        for value in read(self.servers, self.topology.topics.decisions.name):
            record: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
            found.append(record)
        return found

    def dead_letters(self) -> int:
        """Records on the dead-letter topic."""
        return sum(end_offsets(self.servers, self.topology.topics.dead_letters.name))


class OursAll(Ours):
    """With all rules and segments that are shipped switched on."""

    name = "ours_all"

    def text(self) -> str:
        """Of its topology."""
        return with_all_rules(super().text(), OUT / "logs")


class Peer(Contestant):
    """A job in benchmarks/peers, with a progress counter in shared memory."""

    command: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    python = sys.executable
    env: dict[str, str] = {}  # noqa: RUF012  # read only

    def __init__(self, servers: Servers, topic: str, total: int) -> None:
        super().__init__(servers, topic, total)
        self.triggers = f"bench.triggers.{self.name}.{self.run}"
        self._state = OUT / "state" / f"{self.name}-{self.run}"
        self._state.mkdir(parents=True)
        counter = self._state / "progress"
        counter.write_bytes(bytes(8))
        self._view = memoryview(mmap.mmap(os.open(counter, os.O_RDWR), 8)).cast("q")

    def start(self) -> None:
        """Make its output topic, start it."""
        self.servers.kafka.create_topics(self.triggers, partitions=PARTITIONS)
        places = {"{python}": self.python, "{state}": str(self._state)}
        if self.prepare:
            subprocess.run([places.get(word, word) for word in self.prepare], check=True, capture_output=True)
        self._spawn([places.get(word, word) for word in self.command], self._env(), PEERS)

    def _env(self) -> dict[str, str]:
        return {
            "BROKER": self.servers.kafka.bootstrap, "REGISTRY": self.servers.registry.url,
            "REDIS": self.servers.redis.url, "TOPIC": self.topic, "TRIGGERS": self.triggers, "RUN": self.run,
            "STATE_DIR": str(self._state), "PROGRESS": str(self._state / "progress"), **self.env,
        }  # fmt: skip

    def progress(self) -> float:
        """What it counted."""
        return float(self._view[0])

    def outputs(self) -> int:
        """Triggers."""
        return sum(end_offsets(self.servers, self.triggers))

    def carts(self) -> Counter[tuple[str, str]]:
        """(cart id, event id of its last addition) of each trigger."""
        lines = [json.loads(value) for value in read(self.servers, self.triggers)]
        return Counter((line["cart_id"], line["anchor_event_id"]) for line in lines)


FAUST = ("{python}", "-m", "faust", "-A")
# At `-l warn` the start-up spinner leaves the root logger at DEBUG.
FAUST_WORKER = ("-L", "uvloop", "worker", "-l", "info", "--without-web")


class FaustRedis(Peer):
    """Faust and Redis as the tutorials have it: a get and a set an event."""

    name = "faust_redis"
    command = (*FAUST, "faust_redis", *FAUST_WORKER)


class FaustTable(Peer):
    """Faust's own tables with their changelog, in memory: RocksDB needs a package of its own."""

    name = "faust_table"
    command = (*FAUST, "faust_table", *FAUST_WORKER)
    env = {"STORE": "memory://"}  # noqa: RUF012
    redis_used = False


class Bytewax(Peer):
    """Bytewax with recovery every ten seconds."""

    name = "bytewax"
    prepare = ("{python}", "-m", "bytewax.recovery", "{state}", "1")
    command = ("{python}", "-m", "bytewax.run", "bytewax_flow:flow", "-r", "{state}", "-s", "10", "-b", "0")
    redis_used = False


class Quix(Peer):
    """Quix Streams in an environment of its own: it pins another confluent-kafka."""

    name = "quix"
    command = ("{python}", "quix.py")
    redis_used = False
    packages = ("quixstreams==3.28.1", "fastavro", "msgspec")

    def start(self) -> None:
        """Make the environment, once, then as the others."""
        home = HERE.parent / ".venv-quix"
        self.python = str(home / "bin" / "python")
        if not (home / ".done").exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            subprocess.run([self.python, "-m", "pip", "install", "--quiet", *self.packages], check=True)
            (home / ".done").touch()
        super().start()


class Jvm(Peer):
    """One JVM, which four passes make warm. `home`: the folder of its sources. `main`: what is started."""

    redis_used = False
    passes = 4  # 900,000 events before the one that counts: it needs half a million
    counts_broker = True
    memory: tuple[str, ...] = ("-Xms1g", "-Xmx1g")
    home: str
    main: str

    def start(self) -> None:
        """Build it, where that wasn't done with these sources; start the JVM and the first pass."""
        home = PEERS / self.home
        build(home)
        jars = f"{home}/target/{self.home}.jar:{home}/target/lib/*"
        command = ["java", *self.memory, "-cp", jars, self.main]
        self._spawn(command, self._env(), PEERS, stdin=subprocess.PIPE)
        self._pass = 0
        self.again()

    def again(self) -> None:
        """One more pass: other topics, another group, nothing in its stores."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._pass += 1
        application = f"bench-{self.name}-{self.run}-{self._pass}"
        self.triggers = f"bench.triggers.{application}"
        self.servers.kafka.create_topics(self.triggers, partitions=PARTITIONS)
        self._view[0] = 0
        self._process.stdin.write(f"{application} {self.triggers}\n".encode())
        self._process.stdin.flush()

    def stop(self) -> None:
        """End it; its changelogs are hundreds of megabytes a pass."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        super().stop()
        admin = self.servers.kafka.admin()
        mine = [
            name for name in admin.list_topics(timeout=10).topics if name.startswith(f"bench-{self.name}-{self.run}-")
        ]
        for gone in admin.delete_topics(mine).values() if mine else ():
            gone.result(timeout=30)


class KStreams(Jvm):
    """Kafka Streams as it comes: RocksDB, changelogs, no record cache."""

    name = "kstreams"
    home = "kstreams"
    main = "peer.KafkaStreamsPeer"


class KStreamsCached(KStreams):
    """The same with record caches of the default size, 10 MB: what its DSL does, and the low-level API on request."""

    name = "kstreams_cached"
    env = {"CACHED": "1"}  # noqa: RUF012


class Flink(Jvm):
    """Flink's current release, its state on the heap, a checkpoint every ten seconds."""

    name = "flink"
    home = "flink"
    main = "peer.FlinkPeer"
    env = {"STATE": "hashmap"}  # noqa: RUF012
    # Flink's serializers look into these.
    memory = (
        *Jvm.memory,
        *(
            f"--add-opens=java.base/{package}=ALL-UNNAMED"
            for package in ("java.lang", "java.util", "java.util.concurrent", "java.net", "java.time")
        ),
    )


class FlinkRocksDB(Flink):
    """The same with its state in RocksDB."""

    name = "flink_rocksdb"
    env = {"STATE": "rocksdb"}  # noqa: RUF012


def build(home: Path) -> None:
    """`mvn package`, unless what it made is newer than all sources. Raises RuntimeError with what to do."""
    jar = home / "target" / f"{home.name}.jar"
    sources = [home / "pom.xml", *PEERS.glob("*/src/**/*.java")]  # Flink's job is that of Kafka Streams
    if jar.exists() and jar.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    missing = [program for program in ("mvn", "javac", "java") if shutil.which(program) is None]
    if missing:
        raise RuntimeError(
            f"{home.name} needs {', '.join(missing)}, which is not in PATH: install a JDK of 17 or newer and Maven"
            " (on Debian: apt-get install openjdk-17-jdk-headless maven), or leave it out of `--with`"
        )
    shutil.rmtree(jar.parent, ignore_errors=True)  # an older jar of a dependency must not stay beside the newer
    made = subprocess.run(["mvn", "-B", "-q", "package"], cwd=home, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"mvn package in {home}, which needs Maven Central, failed:\n{made.stdout}{made.stderr}")


TRIES = 10

PEERS_BY_NAME: dict[str, type[Peer]] = {
    peer.name: peer for peer in (FaustRedis, Bytewax, FaustTable, Quix, KStreams, KStreamsCached, Flink, FlinkRocksDB)
}


def end_offsets(servers: Servers, topic: str) -> list[int]:
    """Where each partition of a topic ends. Raises KafkaException."""
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    for tries in range(TRIES):
        try:
            ask = servers.reader.get_watermark_offsets
            return [ask(TopicPartition(topic, p), timeout=10)[1] for p in range(PARTITIONS)]
        except KafkaException as problem:  # of a topic that has just been made
            if problem.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION or tries == TRIES - 1:
                raise
            time.sleep(0.5)
    raise AssertionError("unreachable")


def read(servers: Servers, topic: str) -> Iterator[bytes]:
    """Every value in a topic. Raises TimeoutError when the broker keeps some to itself."""
    from confluent_kafka import OFFSET_BEGINNING, TopicPartition

    ends = end_offsets(servers, topic)
    consumer = Consumer(
        {"bootstrap.servers": servers.kafka.bootstrap, "group.id": uuid.uuid4().hex, "enable.partition.eof": False}
    )
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    places = [0] * PARTITIONS
    try:
        while any(place < end for place, end in zip(places, ends, strict=True)):
            messages = consumer.consume(10_000, 5)
            if not messages:
                raise TimeoutError(f"{topic}: read up to {places} of {ends}")
            for message in messages:
                if message.error():
                    raise RuntimeError(f"{topic}: {message.error()}")
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                places[partition] = offset + 1
                yield message.value() or b""
    finally:
        consumer.close()


TOLD = (
    "id", "outcome", "reason", "rule", "rule_version", "identifiers", "correlation_key", "cause_event_id",
    "occurred_at", "due_at", "decided_at", "payload", "ended_by", "retracts", "late_event_id",
)  # fmt: skip


def essence(record: dict[str, Any]) -> str:
    """A decision without what depends on when it was written (semantics 2: the profile id), as canonical JSON."""
    kept = {name: record[name] for name in TOLD}
    if isinstance(kept["payload"], str):
        kept["payload"] = json.loads(kept["payload"])
    return msgspec.json.encode(kept, order="sorted").decode()


__all__ = [
    "PEERS_BY_NAME",
    "Bytewax",
    "Contestant",
    "FaustRedis",
    "KStreams",
    "Ours",
    "OursAll",
    "Peer",
    "Servers",
    "essence",
]
