"""The programs in docs/produce.md and docs/consume.md, taken from the pages and run as they stand there, but for the
addresses: on a real Kafka and a real registry, with a worker that decides over what they send.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import pytest
from confluent_kafka import Producer

from pipeline.events import schemas
from pipeline.events.catalogue import stream_of
from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.triggers.decisions import retraction_id
from tests.deployment import Deployment
from tests.servers import ROOT, SERVERS, KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

DOCS = ROOT / "docs"
JARS = SERVERS / "java"


def quick(document: dict[str, Any]) -> None:
    document["triggers"]["abandoned_cart"]["after"] = "3s"
    document["time"].update(lateness="2s", disorder="1s", idle={"after": "1s", "every": "500ms"})


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry
) -> Iterator[Deployment]:
    """One for all programs; its worker runs."""
    with Deployment(tmp_path_factory.mktemp("docs"), "docs", kafka.bootstrap, redis_url, registry, quick) as made:
        made.run("topics")
        made.worker().wait_ready()
        yield made


def program(page: str, language: str, on: Deployment) -> str:
    """The one of a page, with this deployment's addresses and topics in place of the shipped ones."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (text,) = found
    for shipped, ours in {
        '"localhost:9092"': f'"{on.kafka}"',
        '"http://localhost:8081"': f'"{on.registry.url}"',
        '"events.clickstream"': f'"{on.name}.events.clickstream"',
        '"triggers"': f'"{on.name}.triggers"',
    }.items():
        text = text.replace(shipped, ours)
    return text


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "sent\n"), done.stdout + done.stderr


def decided(on: Deployment, user: str) -> dict[str, Any]:
    """The one decision about a user; waits for it."""
    deadline = time.monotonic() + 60
    while True:
        found = [d for d in on.decisions() if d["identifiers"].get("user_id") == [user]]
        if found or time.monotonic() > deadline:
            (decision,) = found
            return decision
        on.workers[0].check()
        time.sleep(0.3)


def test_python_producer(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(program("produce.md", "python", deployment))
    run([sys.executable, "-W", "error", "shop.py"], tmp_path)
    decision = decided(deployment, "anna-4711")
    assert (decision["rule"], decision["outcome"], decision["correlation_key"]) == ("abandoned_cart", "fired", "c-1")
    assert decision["contact"] == {"email": "anna@shop.example", "name": "Anna", "locale": "de-AT"}
    assert [line["product"] for line in decision["payload"]["lines"]] == ["tent"]


def test_java_producer(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "Shop.java").write_text(program("produce.md", "java", deployment))
    run(["java", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*", "Shop.java"], tmp_path)
    decision = decided(deployment, "bert-0815")
    assert (decision["outcome"], decision["reason"], decision["correlation_key"]) == ("cancelled", "bought", "c-2")


def test_python_consumer(deployment: Deployment, tmp_path: Path) -> None:
    """Three carts left behind: of one the trigger comes twice, one turns out to be bought, one has no address."""
    source, topic = f"{deployment.name}.events.clickstream", f"{deployment.name}.triggers"
    producer = Producer({"bootstrap.servers": deployment.kafka})
    began = time.time_ns() // 1_000_000
    with connect(deployment.registry.url) as registry:
        encoder = Encoder(registry)

        def send(kind: str, who: str, at: int, **body: Any) -> None:
            ids = {"anonymous_id": f"{who}-phone", "user_id": who}
            if who != "carl":
                ids["email"] = f"{who}@shop.example"
            event = Event(kind, f"{kind}-{who}", at, time.time_ns() // 1_000_000, ids, body)
            producer.produce(source, encoder.encode(source, event), ids["anonymous_id"])
            producer.flush()

        for who in ("dora", "emil", "carl"):
            send("product_added", who, began, cart_id=f"c-{who}", product_id="tent")
        left = {who: decided(deployment, who)["id"] for who in ("dora", "emil", "carl")}

        (tmp_path / "reminders.py").write_text(program("consume.md", "python", deployment))
        command = [sys.executable, "-W", "error", "reminders.py"]
        with subprocess.Popen(command, cwd=tmp_path, stdout=PIPE, stderr=STDOUT, text=True) as consumer:
            timer = threading.Timer(90, consumer.kill)
            timer.start()
            assert consumer.stdout is not None
            said: list[str] = []

            def until(*wanted: str) -> None:
                """Read what it says until all of that was said."""
                while not set(wanted) <= set(said):
                    line = consumer.stdout.readline()  # type: ignore[union-attr]
                    assert line, "\n".join(said)
                    said.append(line.rstrip())

            until(
                f"abandoned_cart: fired: {left['dora']}: to be sent to dora@shop.example",
                f"abandoned_cart: fired: {left['emil']}: to be sent to emil@shop.example",
                f"abandoned_cart: fired: {left['carl']}: nobody to write to",
            )
            # As after a crash it comes once more; and what emil bought before his reminder was due is told late.
            again = next(m for m in deployment.read(topic) if ("ce_id", left["dora"].encode()) in m.headers())
            producer.produce(topic, again.value(), again.key(), again.partition(), headers=again.headers())
            send("order_completed", "emil", began + 1_000, cart_id="c-emil")
            retraction = retraction_id(left["emil"])
            until(
                f"abandoned_cart: fired: {left['dora']}: seen before",
                f"abandoned_cart: retracted: {retraction}: taken back",
            )
            consumer.send_signal(signal.SIGTERM)
            assert consumer.wait(30) == 0
            timer.cancel()
    db = sqlite3.connect(tmp_path / "reminders.db")
    emails = [email for (email,) in db.execute("SELECT email FROM reminders")]
    db.close()
    assert emails.count("dora@shop.example") == 1
    assert "emil@shop.example" not in emails


CLASSES = {"kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer"}


def test_commands_of_the_runbook(deployment: Deployment, tmp_path: Path) -> None:
    """As they stand there, but for addresses and topics; Kafka's own tools included."""
    producer = Producer({"bootstrap.servers": deployment.kafka})
    producer.produce(f"{deployment.name}.events.email", b"no Avro", partition=2)
    producer.flush()
    deadline = time.monotonic() + 60
    while not deployment.read(f"{deployment.name}.events.dead-letter"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for name, java in CLASSES.items():
        shim = tmp_path / name
        shim.write_text(f"#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -cp '{SERVERS}/kafka/*' {java} \"$@\"\n")
        shim.chmod(0o755)
    (tmp_path / "pipeline").symlink_to(Path(sys.executable).with_name("pipeline"))
    (tmp_path / "topology.yaml").write_text(deployment.path.read_text())
    said = []
    for block in re.findall(r"^```sh\n(.*?)^```$", (DOCS / "runbook.md").read_text("utf-8"), re.DOTALL | re.MULTILINE):
        text = block.replace("localhost:9092", deployment.kafka).replace(" events.", f" {deployment.name}.events.")
        text = text.replace("--max-messages 5", "--max-messages 1")
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout + done.stderr)
    assert any("pipeline.reason:bad_magic" in text and "__connect.errors.partition:2" in text for text in said)


def test_every_type_stands_in_the_row_of_its_topic() -> None:
    rows = re.findall(r"^\| `events\.(\w+)` \| (.*) \|$", (DOCS / "produce.md").read_text("utf-8"), re.MULTILINE)
    told = {name: stream for stream, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert told == {name: stream_of(name) for name in schemas.names()}


def test_the_jars_are_those_that_the_page_names() -> None:
    page = (DOCS / "produce.md").read_text("utf-8")
    named = {f"{artifact}-{version}.jar" for artifact, version in re.findall(r"`[\w.]+:([\w-]+):([\w.]+)`", page)}
    assert len(named) == 2
    assert named <= {jar.name for jar in JARS.glob("*.jar")}
