"""What doesn't belong on `identity.resolved`, on real servers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pipeline.wire.records import Resolved, Seal, encode
from tests.deployment import Deployment
from tests.flow.test_whole_way import lines, once, shape
from tests.oracle.compare import difference
from tests.oracle.histories import history, together
from tests.oracle.segment import segment_lines
from tests.sealed import sealed

pytestmark = pytest.mark.servers


def foreign(deployment: Deployment) -> list[tuple[Any, bytes | None]]:
    """Headers and value of what others might write there."""
    far = Resolved[Any](f"{deployment.name}.events.email-0", 10**9, 10**9 + 1, 0, 9_000_000_000_000, [], [])
    return [
        ([], b'{"a":1}'),
        ([], None),
        ([("traceparent", None)], b"\0\0\0\0\x07page view"),
        ([], encode([["r", "x-0", 0, 1, 0, 9_000_000_000_000, [], [], [0, 0]]])),  # as versions before this one wrote
        (Seal(deployment.name).headers(b"\xc1"), b"\x90"),
        sealed(far, "another"),
    ]


def put(deployment: Deployment) -> int:
    """Into every partition; returns how many records."""
    resolved = deployment.topology.topics.resolved
    producer = Producer({"bootstrap.servers": deployment.kafka})
    all_of_them = [(p, headers, value) for p in range(resolved.partitions) for headers, value in foreign(deployment)]
    for partition, headers, value in all_of_them:
        producer.produce(resolved.name, value, None, partition, headers=headers)
    assert producer.flush(30) == 0
    return len(all_of_them)


def test_what_others_write_there_stops_nobody(deployment: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "histories.jsonl"
    file.write_text("".join(line + "\n" for line in segment_lines(together([history(seed) for seed in range(40)]))))
    deployment.run("topics")
    replayed = lines(deployment.run("replay", str(file)))
    n = put(deployment)
    worker = deployment.worker()
    worker.wait_ready()
    n += put(deployment)
    deployment.run("ingest", "--yes", str(file))
    n += put(deployment)
    got = [shape(d) for d in once(deployment.settle({d["id"] for d in replayed}))]
    assert not difference([shape(d) for d in replayed], got)
    partitions = deployment.topology.topics.resolved.partitions
    letters = [dict(m.headers()) for m in deployment.read(deployment.topology.topics.dead_letters.name)]
    found = Counter(each["pipeline.reason"].decode() for each in letters)
    assert found == {"foreign": n * 4 // 6, "unreadable_books": n // 6, "other_deployment": partitions}
    places = {(each["__connect.errors.partition"], each["__connect.errors.offset"]) for each in letters}
    assert len(places) == len(letters)
    log = worker.log.read_text()
    assert "foreign" in log
    assert "partition_claims_again" not in log
    assert worker.stop() == 0
