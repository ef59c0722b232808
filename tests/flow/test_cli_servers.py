"""Commands as a user runs them: against a real Kafka and a real Redis, each in a process of its own."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import NewTopic

from pipeline.demo.shop import recording
from pipeline.runtime.broker import all_topics
from tests.deployment import Deployment
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers


def pipeline(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *args],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# --- topics


def states(shown: str) -> dict[str, str]:
    """Topic -> what the table says of it."""
    rows = (line.split(maxsplit=4) for line in shown.splitlines() if line.count("  ") > 2)
    return {row[0]: row[4].rstrip() for row in rows if len(row) == 5}


def settings(kafka: KafkaServer, topic: str) -> tuple[int, str, str]:
    """(partitions, retention.ms, cleanup.policy) as the broker has them."""
    config = kafka.topic_config(topic)
    partitions = len(kafka.admin().list_topics(topic, timeout=10).topics[topic].partitions)
    return partitions, config["retention.ms"], config["cleanup.policy"]


def test_topics_are_made_once_and_then_found_right(deployment: Deployment, kafka: KafkaServer) -> None:
    names = [topic.name for topic in all_topics(deployment.topology.topics)]
    assert states(deployment.run("topics", "--check", code=1)) == dict.fromkeys(names, "missing")
    assert states(deployment.run("topics")) == dict.fromkeys(names, "created")
    assert states(deployment.run("topics")) == dict.fromkeys(names, "as it should be")
    sources = deployment.topology.topics.sources
    assert settings(kafka, sources[0].name) == (4, str(7 * 86_400_000), "delete")
    assert settings(kafka, deployment.topology.topics.decisions.name) == (4, str(30 * 86_400_000), "delete")


def test_topics_that_differ_are_told_and_left_alone(deployment: Deployment, kafka: KafkaServer) -> None:
    email, video = (topic.name for topic in deployment.topology.topics.sources[1:3])
    other = [
        NewTopic(email, 7, 1, config={"retention.ms": str(7 * 86_400_000)}),
        NewTopic(video, 4, 1, config={"retention.ms": "60000", "cleanup.policy": "compact"}),
    ]
    admin = kafka.admin()
    for made in admin.create_topics(other).values():
        made.result(30)
    shown = deployment.run("topics", code=1)
    found = states(shown)
    assert (found[email], found[video]) == ("differs", "differs")
    assert list(found.values()).count("created") == 7
    findings = [line for line in shown.splitlines() if line.startswith(("error: ", "warning: "))]
    assert [line.split(": ")[:2] for line in findings] == [["error", email], ["warning", video], ["warning", video]]
    assert "7 partitions on the broker, 4 in topology.yaml" in findings[0]
    assert {settings(kafka, email), settings(kafka, video)} == {
        (7, str(7 * 86_400_000), "delete"),
        (4, "60000", "compact"),
    }


def test_dead_letters_have_room_for_the_largest_record_of_a_source(deployment: Deployment, kafka: KafkaServer) -> None:
    topics = deployment.topology.topics
    video, dead = topics.sources[2].name, topics.dead_letters.name
    kafka.create_topics(video, config={"max.message.bytes": "3000000", "retention.ms": str(7 * 86_400_000)})
    deployment.run("topics")
    assert kafka.topic_config(dead)["max.message.bytes"] == "6000000"
    kafka.set_topic_config(video, "max.message.bytes", "4000000")
    shown = deployment.run("topics", "--check", code=1)
    assert states(shown)[dead] == "differs"
    assert f"warning: {dead}: max.message.bytes is 6000000" in shown
    assert f"kafka-configs.sh --alter --topic {dead} --add-config max.message.bytes=8000000" in shown


def test_topics_without_a_kafka(deployment: Deployment) -> None:
    done = pipeline("topics", "--check", env={"PIPELINE_KAFKA": "mock://"})
    assert done.returncode == 1
    assert done.stderr.startswith("Error: kafka is mock://")


# --- worker


def test_a_worker_without_its_topics_says_what_to_do(deployment: Deployment) -> None:
    done = pipeline("worker", "--topology", str(deployment.path))
    assert done.returncode == 1
    assert "pipeline topics" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_without_redis_says_where_it_looked(deployment: Deployment) -> None:
    env = {"PIPELINE_REDIS": "redis://someone:secret@127.0.0.1:9/0"}
    done = pipeline("worker", "--topology", str(deployment.path), env=env)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_whose_port_is_taken_says_which_variable_changes_it(deployment: Deployment) -> None:
    deployment.run("topics")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = pipeline("worker", "--topology", str(deployment.path), env={"PIPELINE_HTTP_PORT": port})
    assert done.returncode == 1
    assert "PIPELINE_HTTP_PORT" in done.stderr
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_the_embedded_servers_are_for_the_demo(deployment: Deployment) -> None:
    done = pipeline("worker", "--topology", str(deployment.path), env={"PIPELINE_REDIS": "embedded://"})
    assert done.returncode == 1
    assert "pipeline demo" in done.stderr


def send(kafka: KafkaServer, topic: str, value: bytes, compression: str = "none") -> bool:
    """A record into partition 0; whether Kafka took it."""
    settings = {"message.max.bytes": 10_000_000, "compression.type": compression, "log_level": 0}
    producer = Producer({"bootstrap.servers": kafka.bootstrap, **settings})
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)

    producer.produce(topic, value, partition=0, on_delivery=delivered)
    assert producer.flush(30) == 0
    assert all(error.code() == KafkaError.MSG_SIZE_TOO_LARGE for error in refused)
    return not refused


def test_the_largest_record_that_a_topic_takes_arrives_whole_in_the_dead_letters(
    deployment: Deployment, kafka: KafkaServer
) -> None:
    """And the next one after it too: the partition goes on."""
    deployment.run("topics")
    source = deployment.topology.topics.sources[0].name
    limit = int(kafka.topic_config(source)["max.message.bytes"])
    noise = random.randbytes(limit)  # nothing that could be compressed
    largest = next(size for size in range(limit - 60, 0, -1) if send(kafka, source, noise[:size]))
    assert largest > limit - 100
    assert send(kafka, source, bytes(5 * limit), "gzip")  # five times that, but not on its way
    worker = deployment.worker()
    worker.wait_ready()
    dead = deployment.topology.topics.dead_letters.name
    deadline = time.monotonic() + 60
    while len(letters := deployment.read(dead)) < 2 and time.monotonic() < deadline:
        worker.check()
        time.sleep(0.2)
    offsets = {dict(letter.headers())["__connect.errors.offset"]: letter.value() for letter in letters}
    assert offsets == {b"0": noise[:largest], b"1": bytes(5 * limit)}
    assert worker.stop() == 0


# --- profile, over the whole way


def test_a_person_is_found_by_any_identifier(deployment: Deployment) -> None:
    """The demo's week up to the cart that Mara leaves on Thursday, through the worker."""
    deployment.run("topics")
    week = recording()
    last = next(number for number, line in enumerate(week, 1) if '"Cart Viewed"' in line and '"mara-3"' in line)
    file = deployment.folder / "week.jsonl"
    file.write_text("\n".join(week[:last]) + "\n", "utf-8")
    worker = deployment.worker()
    worker.wait_ready()
    deployment.run("ingest", "--yes", str(file))
    expected = {json.loads(line)["id"] for line in deployment.run("replay", str(file)).splitlines()}
    assert {d["id"] for d in deployment.settle(expected)} == expected
    told = json.loads(deployment.run("profile", "email:Mara@Example.org", "--json"))
    assert told["identifiers"]["anonymous_id"] == ["mara-laptop", "mara-phone"]
    assert {t["correlation_key"] for t in told["retractable"]} == {"mara-3", "guide-mara"}
    assert told["timeline"][-1]["type"] == "cart_viewed"
    for identifier in ("user_id:mara", "anonymous_id:mara-phone", "anonymous_id:mara-laptop"):
        assert json.loads(deployment.run("profile", identifier, "--json")) == told
    shown = deployment.run("profile", "user_id:mara")
    for word in ("mara@example.org", "Winter on the Ridge", "cart viewed", "mara-3"):
        assert word in shown
    explained = deployment.run("explain", "user_id:mara", "abandoned_cart", "--key", "mara-3")
    assert "mara-3: fired (due)" in explained
    of_recording = deployment.run("explain", "user_id:mara", "abandoned_cart", str(file), "--key", "mara-3")
    assert "mara-3: fired (due)" in of_recording
    assert "product_added" in of_recording
    assert "starts a wait" in of_recording
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "identifier, code, said",
    [
        ("user_id:nobody-ever", 1, "nobody is known by user_id:nobody-ever"),
        ("mail:a@b.c", 2, "did you mean email?"),
        ("anna", 2, "write user_id:anna"),
        ("user_id:null", 2, "identifies nobody"),
    ],
)
def test_whom_profile_does_not_find(deployment: Deployment, identifier: str, code: int, said: str) -> None:
    done = pipeline("profile", identifier, "--topology", str(deployment.path))
    assert done.returncode == code
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_profile_without_redis_hides_the_password(deployment: Deployment) -> None:
    env = {"PIPELINE_REDIS": "redis://someone:secret@127.0.0.1:9/0"}
    done = pipeline("profile", "user_id:anna", "--topology", str(deployment.path), env=env)
    assert done.returncode == 1
    assert "PIPELINE_REDIS" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


# --- demo


def test_the_demo_ends_by_itself_and_decided_what_a_replay_decides(tmp_path: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "demo", "--day", "0.4"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("PIPELINE_")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert time.monotonic() - started < 60
    shown = " ".join(done.stdout.replace("│", " ").split())
    assert "the same as `pipeline replay`" in shown
    assert "NOT the same" not in shown
    for words in (
        "fired abandoned_cart mara: 2 × map, 1 × stove",
        "cancelled abandoned_cart mara: bought: 1 × tent",
        "retracted abandoned_cart pia",
        "login on mara-phone as mara: both devices are one person",
        "proves nothing",
        "timeline (UTC)",
    ):
        assert words in shown
    assert done.stderr == ""
