"""The worker's HTTP server, asked over a real socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.observe.causes import CLOCKS_DIFFER, REDIS_FULL
from pipeline.observe.health import Check, HealthServer
from pipeline.observe.metrics import Metrics
from pipeline.observe.troubles import STOPS_S, Troubles

Get = Callable[[str], Awaitable[tuple[int, str, bytes]]]


def serve(use: Callable[[Get, HealthServer], Awaitable[None]], **options: object) -> Metrics:
    """Start a server on a free port, hand `use` a GET, stop it."""
    metrics = Metrics()

    async def run() -> None:
        server = HealthServer(metrics, host="127.0.0.1", port=0, **options)  # type: ignore[arg-type]
        await server.start()
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:

                async def get(path: str) -> tuple[int, str, bytes]:
                    async with session.get(path) as response:
                        return response.status, response.headers["Content-Type"], await response.read()

                await use(get, server)
        finally:
            await server.stop()

    asyncio.run(run())
    return metrics


def test_a_worker_without_worries() -> None:
    async def use(get: Get, server: HealthServer) -> None:
        status, content_type, body = await get("/healthz")
        assert (status, content_type) == (200, "application/json; charset=utf-8")
        assert msgspec.json.decode(body) == {"alive": True}
        status, _, body = await get("/readyz")
        assert status == 200
        assert msgspec.json.decode(body) == {
            "ready": True,
            "waiting_for": {},
            "held_by": {},
            "clocks": {},
            "troubles": [],
        }
        assert (await get("/elsewhere"))[0] == 404

    serve(use)


def test_what_isnt_ready_is_named_until_it_is() -> None:
    missing: dict[str, str | None] = {"kafka": "no broker answers at k:9092", "redis": None}
    held: dict[str, str] = {}
    clocks = {"kafka": "3600.1 s behind this machine's"}
    ready: Mapping[str, Check] = {"kafka": lambda: missing["kafka"], "redis": lambda: missing["redis"]}

    async def use(get: Get, server: HealthServer) -> None:
        status, _, body = await get("/readyz")
        assert status == 503
        assert msgspec.json.decode(body)["waiting_for"] == {"kafka": "no broker answers at k:9092"}
        missing["kafka"] = None
        held["events.email-2"] = "no event for 300 s, and its end isn't known"
        status, _, body = await get("/readyz")
        assert status == 200
        report = msgspec.json.decode(body)
        assert report == {"ready": True, "waiting_for": {}, "held_by": held, "clocks": clocks, "troubles": []}

    serve(use, ready=ready, held_by=lambda: held, clocks=lambda: clocks)


def test_what_is_wrong_is_told_with_what_to_do_and_what_lasts_makes_it_unready() -> None:
    now = [100.0]
    troubles = Troubles(lambda: now[0], lambda: 1_700_000_000.0)
    troubles.begin(REDIS_FULL, "redis", "used memory > maxmemory")
    troubles.begin(CLOCKS_DIFFER, "kafka", "9 s ahead")

    async def use(get: Get, server: HealthServer) -> None:
        status, _, body = await get("/readyz")
        report = msgspec.json.decode(body)
        assert (status, report["ready"], report["waiting_for"]) == (200, True, {})  # a blip so far
        assert report["troubles"][0] == {
            "cause": "redis_full",
            "where": "redis",
            "since": "2023-11-14T22:13:20+00:00",
            "what": "used memory > maxmemory",
            "do": REDIS_FULL.do,
        }
        now[0] += STOPS_S
        status, _, body = await get("/readyz")
        report = msgspec.json.decode(body)
        assert (status, report["ready"], report["waiting_for"]) == (503, False, {"redis": "used memory > maxmemory"})
        assert [each["cause"] for each in report["troubles"]] == ["redis_full", "clocks_differ"]

    serve(use, troubles=troubles)


def test_a_process_that_should_be_restarted() -> None:
    async def use(get: Get, server: HealthServer) -> None:
        status, _, body = await get("/healthz")
        assert status == 503
        assert msgspec.json.decode(body) == {"alive": False, "because": "no batch for 600 s"}

    serve(use, alive=lambda: "no batch for 600 s")


def test_a_broken_check_is_a_failed_check(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str | None:
        raise KeyError("partition 3")

    def broken_report() -> Mapping[str, str]:
        raise RuntimeError("changed while read")

    async def use(get: Get, server: HealthServer) -> None:
        status, _, body = await get("/readyz")
        assert status == 503
        report = msgspec.json.decode(body)
        assert report["waiting_for"] == {"redis": "the check failed: KeyError('partition 3')"}
        assert "changed while read" in report["held_by"]["held_by"]
        assert (await get("/healthz"))[0] == 503

    with caplog.at_level(logging.ERROR):
        serve(use, ready={"redis": broken}, alive=broken, held_by=broken_report)
    assert "check failed" in caplog.text


def test_metrics_over_http() -> None:
    async def use(get: Get, server: HealthServer) -> None:
        server._metrics.events("searched", "processed").inc(7)
        status, content_type, body = await get("/metrics")
        assert status == 200
        assert content_type.startswith("text/plain; version=0.0.4")
        found = {family.name: family for family in text_string_to_metric_families(body.decode())}
        (sample,) = found["pipeline_events"].samples
        assert (sample.labels, sample.value) == ({"type": "searched", "outcome": "processed"}, 7)

    serve(use)


def test_a_port_that_is_taken_says_what_to_do() -> None:
    async def use(get: Get, server: HealthServer) -> None:
        second = HealthServer(Metrics(), host="127.0.0.1", port=server.port)
        with pytest.raises(OSError, match="PIPELINE_HTTP_PORT"):
            await second.start()
        await second.stop()  # never started: nothing to do
        assert (await get("/healthz"))[0] == 200

    serve(use)


def test_stop_frees_the_port_and_start_takes_it_again() -> None:
    async def run() -> None:
        server = HealthServer(Metrics(), host="127.0.0.1", port=0)
        await server.start()
        port = server.port
        await server.stop()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        await server.start()
        assert server.port == port
        await server.stop()

    asyncio.run(run())
