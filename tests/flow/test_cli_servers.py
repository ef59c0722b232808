"""Commands as a user runs them: against a real Kafka and a real Redis, each in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from pipeline.demo.shop import recording
from pipeline.runtime.broker import all_topics
from tests.deployment import Deployment
from tests.registry import RegistryServer
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers


@pytest.fixture(scope="session")
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


@pytest.fixture
def deployment(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: RegistryServer, prefix: str
) -> Iterator[Deployment]:
    with Deployment(tmp_path, "cli-" + prefix.rstrip("."), kafka.bootstrap, redis_url, registry) as made:
        yield made


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
    return {row[0]: row[4] for row in rows if len(row) == 5}


def settings(kafka: KafkaServer, topic: str) -> tuple[int, str, str]:
    """(partitions, retention.ms, cleanup.policy) as the broker has them."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    (answer,) = admin.describe_configs([resource]).values()
    config = answer.result(30)
    partitions = len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
    return partitions, config["retention.ms"].value, config["cleanup.policy"].value


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
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for made in admin.create_topics(other).values():
        made.result(30)
    shown = deployment.run("topics", code=1)
    found = states(shown)
    assert (found[email], found[video]) == ("differs", "differs")
    assert list(found.values()).count("created") == 6
    findings = [line for line in shown.splitlines() if line.startswith(("error: ", "warning: "))]
    assert [line.split(": ")[:2] for line in findings] == [["error", email], ["warning", video], ["warning", video]]
    assert "7 partitions on the broker, 4 in topology.yaml" in findings[0]
    assert {settings(kafka, email), settings(kafka, video)} == {
        (7, str(7 * 86_400_000), "delete"),
        (4, "60000", "compact"),
    }


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
    deployment.run("ingest", str(file))
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
