"""Segments, and rules that start by conditions, on a real Kafka and Redis: what `replay` says of the same recording."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.events.times import rfc3339
from tests.deployment import Deployment
from tests.servers import KafkaServer, SchemaRegistry

MINUTE = 60_000
BASE = 1_772_445_600_000
LANGUAGE: dict[str, Any] = {
    "segments": {
        "comparing": {
            "when": {
                "all": [
                    {"did": "page_viewed", "where": {"path": {"contains": "/pricing"}}, "times": 3, "within": "20m"},
                    {"none": [{"did": "order_completed", "within": "1h"}]},
                ]
            }
        },
        "quiet": {"when": {"none": [{"did": "any", "within": "15m"}]}},
    },
    "triggers": {
        "thrice": {
            "version": 1,
            "start": {"when": {"did": "page_viewed", "where": {"path": {"contains": "/pricing"}}, "times": 3}},
            "after": "18m",
            "cancel": {"event": "order_completed", "reason": "bought"},
            "only_if": {"segment": "comparing"},
        },
        "gone": {"version": 1, "start": {"when": {"last": "page_viewed", "age": {"gte": "12m"}}}, "after": "1m"},
    },
}


@pytest.fixture
def deployment(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> Iterator[Deployment]:
    with Deployment(
        tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry, lambda document: document.update(LANGUAGE)
    ) as made:
        yield made


def recording(file: Path) -> int:
    """Writes it; returns when the last event was received, UTC ms."""
    lines = []
    for person in range(40):
        for number, minute in enumerate((0, 3, 6, 9, 40, 44, 90)):
            at = BASE + minute * MINUTE + person * 1_000
            name = {"userId": f"u{person}"} if person % 3 else {"anonymousId": f"a{person}"}
            if person % 3 == 0 and number == 3:
                name["userId"] = f"u{person}"  # logs in
            event: dict[str, Any] = {"type": "page", "properties": {"path": "/pricing" if number < 5 else "/help"}}
            if person % 5 == 0 and number == 4:
                event = {
                    "type": "track",
                    "event": "Order Completed",
                    "properties": {"order_id": f"o{person}", "total": 9},
                }
            told = {"timestamp": rfc3339(at), "receivedAt": rfc3339(at), "messageId": f"e{person}-{number}"}
            lines.append((at, json.dumps({**event, **name, **told})))
    lines.sort()
    file.write_text("".join(line + "\n" for _, line in lines))
    return lines[-1][0]


def ms(moment: Any) -> int:
    return moment if isinstance(moment, int) else round(datetime.fromisoformat(str(moment)).timestamp() * 1000)


def numbers(worker: Any) -> dict[str, Counter[str]]:
    """What became of waits: opened, decided, absorbed and open, each by rule."""
    found: dict[str, Counter[str]] = {name: Counter() for name in ("opened", "decided", "absorbed", "open")}
    for family in text_string_to_metric_families(worker.get("/metrics")):
        if (name := family.name.removeprefix("pipeline_waits_")) in found:
            for sample in family.samples:
                found[name][sample.labels["rule"]] += int(sample.value)
    return found


def test_a_worker_tells_who_enters_and_leaves_as_replay_does(deployment: Deployment, tmp_path: Path) -> None:
    file, changes = tmp_path / "recording.jsonl", tmp_path / "changes.jsonl"
    high = recording(file)
    until = rfc3339(high + 23 * MINUTE)  # the longest rule and lateness: as far as `ingest` lets time go
    decided = [
        json.loads(line)
        for line in deployment.run("replay", str(file), "--segments", str(changes), "--until", until).splitlines()
    ]
    wanted = {each["id"]: each for each in map(json.loads, changes.read_text().splitlines())}
    assert {each["reason"] for each in wanted.values()} >= {"event", "time", "merged", "tie"}
    assert {each["outcome"] for each in decided} >= {"fired", "suppressed"}
    deployment.run("topics")
    worker = deployment.worker()
    worker.wait_ready()
    deployment.run("ingest", "--yes", str(file))
    published = deployment.settle({each["id"] for each in decided})
    assert {each["id"] for each in published} >= {each["id"] for each in decided}
    assert deployment.topology.topics.segments is not None
    name = deployment.topology.topics.segments.name
    told = {each["id"]: each for each in deployment.avro(name)}
    assert told.keys() >= wanted.keys()
    for number, change in wanted.items():
        mine = told[number] | {"at": ms(told[number]["at"])}
        assert mine | {"profile_id": ""} == change | {"at": ms(change["at"]), "profile_id": ""}
    (first, *_) = deployment.read(name)
    headers = dict(first.headers())
    assert headers["ce_type"].decode().startswith("behavioural.segment.")
    assert "pipeline_segment_changes_total" in worker.get("/metrics")
    ends = Counter(each["rule"] for each in decided if each["outcome"] not in ("retracted", "recovered"))
    deadline = time.monotonic() + 30
    while (waits := numbers(worker))["open"].total() and time.monotonic() < deadline:  # looked at every few seconds
        time.sleep(0.5)
    assert waits["opened"] == waits["decided"] + waits["absorbed"] + waits["open"]
    assert waits["decided"] == ends
    assert worker.stop() == 0
