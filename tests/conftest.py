"""Fixtures for every test: real servers, unique names, and the rule that nothing is skipped quietly."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis

from pipeline.language import whereabouts
from tests import older
from tests.servers import KafkaServer, RedisServer, SchemaRegistry, Server

# `make test` and CI set this. By hand, a skip stays a skip.
STRICT = bool(os.environ.get("CI") or os.environ.get("PIPELINE_TESTS_STRICT"))

# What fails fast runs first.
ORDER = ("unit", "property", "contract", "flow", "simulation", "chaos")

# No deadline: two cores shared with a broker are no stop-watch. In CI the same examples each run, so that a red run can
# be looked at; by hand new ones each time.
hypothesis.settings.register_profile("pipeline", deadline=None, derandomize=STRICT, print_blob=True)
hypothesis.settings.load_profile("pipeline")

_numbers = itertools.count(1)

# A copy without a history can't be upgraded from it: these tests aren't there then, and it is said.
collect_ignore = [] if older.has_history() else [*older.NEEDING]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What isn't tested here, where nobody overlooks it."""
    if collect_ignore:
        terminalreporter.section("not tested")
        terminalreporter.line(f"upgrades, for this clone has no history: {', '.join(collect_ignore)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests by their folder; within a folder they stay as they were found."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return ORDER.index(folder) if folder in ORDER else len(ORDER)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Tests and modules stay to the end: whoever looks for garbage need not go through all of them each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def starting(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Any]]]:
    """Servers that take seconds start side by side, beside the first tests; those that no test wants don't."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    kinds: dict[str, type[Server]] = {"kafka": KafkaServer, "registry": SchemaRegistry}
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        yield {name: pool.submit(stack.enter_context, kind()) for name, kind in kinds.items() if name in wanted}


@pytest.fixture(scope="session")
def kafka(starting: dict[str, Future[KafkaServer]]) -> KafkaServer:
    """One Kafka for the whole run; its address is `kafka.bootstrap`. Don't stop it: start your own for that."""
    return starting["kafka"].result()


@pytest.fixture(scope="session")
def registry(starting: dict[str, Future[SchemaRegistry]]) -> SchemaRegistry:
    """One schema registry for the whole run. Don't stop it: tests/registry.py has one that fails on demand."""
    return starting["registry"].result()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the whole run. Don't stop it: start your own for that."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """Address of the run's Redis, `redis://host:port/0`."""
    return redis_server.url


@pytest.fixture
def clean_redis(redis_url: str) -> str:
    """Address of the run's Redis, emptied: keys, functions and scripts."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.function_flush()
        client.script_flush()
    return redis_url


@pytest.fixture
def prefix() -> str:
    """Starts the names of topics, groups and keys that only this test uses: `t17.`."""
    return f"t{next(_numbers)}."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip in CI is a test that nobody runs any more: it fails."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = _no_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module (importorskip)."""
    report = yield
    if STRICT and report.skipped:
        report.outcome = "failed"
        report.longrepr = _no_skip(report)
    return report


def _no_skip(report: pytest.TestReport | pytest.CollectReport) -> str:
    return f"{report.nodeid}: skipped, and here a skip is a failure: {report.longrepr}"


@pytest.fixture
def every_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that tells where somebody is is remembered, so that what is decided is exactly what is meant
    (docs/semantics.md, Bounds)."""
    monkeypatch.setattr(whereabouts, "ALIKE", 1000)
    monkeypatch.setattr(whereabouts, "KEPT", 1000)
