"""Short crash tests on servers of their own: `make chaos` runs the long ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import plans
from tests.chaos.aof import transactions
from tests.chaos.run import emptied, run
from tests.chaos.stream import stream
from tests.servers import KafkaServer, RedisServer, SchemaRegistry, both

pytestmark = [pytest.mark.servers, pytest.mark.chaos]
Servers = tuple[KafkaServer, RedisServer, SchemaRegistry]


@pytest.fixture(scope="module")
def servers(registry: SchemaRegistry) -> Iterator[Servers]:
    with both() as (kafka, store):
        yield kafka, store, registry


def test_nothing_lost_false_or_doubled(servers: Servers, tmp_path: Path) -> None:
    report = run(plans.SHORT, tmp_path, *servers, say=print)
    print(report.table())
    assert report.good, f"{report.table()}\n{report.verdict.details()}\nlogs: {tmp_path}"
    assert {strike.kind for strike in report.strikes} == set(plans.SHORT.faults)
    assert report.ties > 100
    assert report.logins > 300


def test_an_emptied_redis_is_refused(servers: Servers, tmp_path: Path) -> None:
    assert len(emptied(tmp_path, *servers)) == 2


def test_a_missing_protection_is_noticed(servers: Servers, tmp_path: Path) -> None:
    """The one that doesn't hang on timing; the others are in `make chaos` and, seed by seed, in the simulation."""
    what = "source-watermark"
    assert plans.noticed(what, 1, tmp_path, *servers, say=print), f"not noticed: {what}; logs: {tmp_path}"


def test_the_same_seed_is_the_same_stream() -> None:
    assert stream(3, 500) == stream(3, 500) != stream(4, 500)


def test_transactions_of_an_append_only_file() -> None:
    def command(*words: str) -> bytes:
        return f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words)

    parts = [
        command("SELECT", "0") + command("SET", "a", "1"),
        command("MULTI") + command("HSET", "b", "x", "\r\n*3") + command("DEL", "a") + command("EXEC"),
        command("SET", "a", "2"),
    ]
    starts = transactions(b"".join(parts))
    assert starts == [0, len(parts[0]), len(parts[0] + parts[1])]
