"""A whole deployment for tests: topics of its own, worker processes as a user runs them, and what came out."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import fastavro
import yaml
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from pipeline.events.registry import connect
from pipeline.topology import load
from tests.registry import RegistryServer
from tests.servers import SchemaRegistry, free_port

SHIPPED = Path(__file__).parent.parent / "topology.yaml"
PIPELINE = [sys.executable, "-m", "pipeline.cli"]


class Deployment:
    """`name` makes topics and Redis keys its own. `change` edits the topology document before it is written."""

    def __init__(
        self,
        folder: Path,
        name: str,
        kafka: str,
        redis: str,
        registry: SchemaRegistry | RegistryServer,
        change: Any = None,
    ) -> None:
        self.folder, self.name, self.kafka, self.redis, self.registry = folder, name, kafka, redis, registry
        document = yaml.safe_load(SHIPPED.read_text())
        document.update(kafka=kafka, redis=redis, registry=registry.url, group=name)
        topics = document["topics"]
        topics["sources"] = {f"{name}.{topic}": settings for topic, settings in topics["sources"].items()}
        for role in ("resolved", "triggers", "decisions", "dead_letters", "control"):
            topics[role]["name"] = f"{name}.{topics[role]['name']}"
        if change is not None:
            change(document)
        if document.get("segments"):
            topics.setdefault("segments", {})["name"] = f"{name}.segments"
        self.path = folder / f"{name}.yaml"
        self.path.write_text(yaml.safe_dump(document, sort_keys=False))
        self.topology = load(self.path, {})
        self.workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers:
            worker.kill()

    def run(self, *args: str, code: int = 0, launcher: Sequence[str] = PIPELINE, **env: str) -> str:
        """A `pipeline` command to its end; returns standard output."""
        command = [*launcher, args[0], "--topology", str(self.path), *args[1:]]
        done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, f"pipeline {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def grow(self, source: str, partitions: int) -> None:
        """So many partitions of a source topic in topology.yaml; workers that run don't hear of it."""
        document = yaml.safe_load(self.path.read_text())
        document["topics"]["sources"][source]["partitions"] = partitions
        self.path.write_text(yaml.safe_dump(document, sort_keys=False))
        self.topology = load(self.path, {})

    def worker(self, *, launcher: Sequence[str] = PIPELINE, **env: str) -> WorkerProcess:
        """Start one more worker. `launcher`: what stands before `worker --topology FILE`."""
        worker = WorkerProcess(self, len(self.workers), env, launcher)
        self.workers.append(worker)
        return worker

    def read(self, topic: str) -> list[Any]:
        """Every committed record of a topic, as confluent-kafka's messages."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka,
                "group.id": "reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 3,
                "fetch.wait.max.ms": 10,  # a broker that has no more would say so half a second later
            }
        )
        try:
            numbers = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
            out: dict[int, list[Any]] = {number: [] for number in numbers}
            ended: set[int] = set()
            while len(ended) < len(numbers):
                message: Any = consumer.poll(60)
                assert message is not None, f"{topic} can't be read"
                if message.error() is None:
                    out[message.partition()].append(message)
                else:
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    ended.add(message.partition())
            return [message for messages in out.values() for message in messages]
        finally:
            consumer.close()

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision record, times in ms, payload decoded; a decision published twice is there twice."""
        return self.avro(self.topology.topics.decisions.name)

    def triggers(self) -> list[dict[str, Any]]:
        """Every trigger record."""
        return self.avro(self.topology.topics.triggers.name)

    def avro(self, topic: str) -> list[dict[str, Any]]:
        known: dict[int, Any] = {}
        out = []
        with connect(self.registry.url) as registry:
            for message in self.read(topic):
                value = message.value()
                number = int.from_bytes(value[1:5], "big")
                if number not in known:
                    known[number] = fastavro.parse_schema(_plain(json.loads(registry.schema(number) or "")))
                record = fastavro.schemaless_reader(io.BytesIO(value[5:]), known[number], None)
                assert isinstance(record, dict)
                if not record["left_out"]:
                    del record["left_out"]
                if "payload" in record:
                    record["payload"] = json.loads(record["payload"])
                    if record["published"]:
                        del record["published"]
                    if not record["bounded"]:
                        del record["bounded"]
                    if record["basis"] == "event":
                        del record["basis"]
                    assert len(record.pop("fingerprint")) == 16  # of the same topology as a replay's
                    if not record["detail"]:
                        del record["detail"]
                out.append(record)
        return out

    def settle(self, expect: Iterable[str] | None = None, timeout: float = 120.0) -> list[dict[str, Any]]:
        """Wait until the decisions' ids are `expect`, or nothing new has come for 5 s; return them."""
        want = set(expect) if expect is not None else None
        deadline = time.monotonic() + timeout
        seen, since = -1, time.monotonic()
        while True:
            got = self.decisions()
            if want is not None and {d["id"] for d in got} >= want:
                return got
            if len(got) != seen:
                seen, since = len(got), time.monotonic()
            if (want is None and time.monotonic() - since > 5) or time.monotonic() > deadline:
                return got
            for worker in self.workers:
                worker.check()
            time.sleep(0.5)


class WorkerProcess:
    """`pipeline worker` in a process of its own; its log is in `log`."""

    def __init__(
        self, deployment: Deployment, number: int, env: dict[str, str], launcher: Sequence[str] = PIPELINE
    ) -> None:
        self.port = free_port()
        self.log = deployment.folder / f"{deployment.name}-worker{number}.log"
        self.expected_end = False
        command = [*launcher, "worker", "--topology", str(deployment.path)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "PIPELINE_HTTP_PORT": str(self.port), **env},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def get(self, path: str) -> str:
        """An answer of its HTTP server."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def ready(self) -> dict[str, Any]:
        """What /readyz says, whatever the status."""
        try:
            return dict(json.loads(self.get("/readyz")))
        except urllib.error.HTTPError as error:  # 503
            return dict(json.loads(error.read()))

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Until /readyz says so."""
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            try:
                self.get("/readyz")
                return
            except OSError:
                assert time.monotonic() < deadline, f"not ready:\n{self.tail()}"
                time.sleep(0.2)

    def check(self) -> None:
        """Fail the test when the worker ended by itself."""
        code = self.process.poll()
        assert code is None or self.expected_end, f"the worker ended with {code}:\n{self.tail()}"

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM, and its exit code."""
        self.expected_end = True
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """kill -9, whatever state it is in."""
        self.expected_end = True
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def _plain(schema: Any) -> Any:
    """Without logical types: times stay ms."""
    if isinstance(schema, dict):
        return {k: _plain(v) for k, v in schema.items() if k != "logicalType"}
    return [_plain(s) for s in schema] if isinstance(schema, list) else schema
