"""The collector while no broker answers: what it has answered for is not lost, and nobody waits for long."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.collector import EdgeProcess
from tests.deployment import Deployment
from tests.flow.test_edge import call
from tests.registry import RegistryServer
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers


def kilobytes(edge: EdgeProcess) -> int:
    """That its process for requests holds."""
    held = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in edge.processes()]
    return max(held) * resource.getpagesize() // 1024


def test_nothing_answered_for_is_lost_and_nobody_waits_for_long(tmp_path: Path) -> None:
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer())
        registry = stack.enter_context(RegistryServer())
        shop = stack.enter_context(Deployment(tmp_path, "away", kafka.bootstrap, "redis://unused:1", registry))
        shop.run("topics")
        edge = stack.enter_context(EdgeProcess(shop))
        acknowledged: list[str] = []
        waits: list[tuple[float, int, float]] = []  # when it was sent, what came of it, how long that took
        ending = threading.Event()

        def client(name: str) -> None:
            number = 0
            while not ending.is_set():
                number += 1
                began = time.monotonic()
                answer = edge.post("/v1/track", call(f"{name}-{number}", properties={"x": "y" * 2_000}))
                waits.append((began, answer.status, time.monotonic() - began))
                if answer.status == 200:
                    acknowledged.append(f"{name}-{number}")
                else:
                    assert answer.status == 503
                    assert int(answer.headers["retry-after"]) >= 1
                    time.sleep(0.05)

        clients = [threading.Thread(target=client, args=(f"c{n}",)) for n in range(8)]
        for each in clients:
            each.start()
        time.sleep(2)
        before = kilobytes(edge)
        kafka.stop()
        away_at = time.monotonic()
        time.sleep(30)
        most = kilobytes(edge)
        assert not edge.ready()
        assert edge.get("/healthz", edge.admin).status == 200
        kafka.start()
        back_at = time.monotonic()
        deadline = back_at + 60
        while time.monotonic() < deadline and not any(at > back_at and status == 200 for at, status, _ in waits):
            time.sleep(0.2)
        time.sleep(2)
        ending.set()
        for each in clients:
            each.join()
        assert edge.ready()
        while_away = [(status, took) for at, status, took in waits if away_at + 15 < at and at + took < back_at]
        assert {status for status, _ in while_away} == {503}
        at_once = [took for _, took in while_away if took < 1.0]
        assert len(at_once) > 0.8 * len(while_away) > 100  # but for those that find out whether it is back
        assert max(took for _, took in while_away) < 15
        assert most - before < 30_000
        assert len(acknowledged) > 100
        found = {event.event_id for event in edge.events()}
        assert set(acknowledged) <= found


def test_what_the_disk_has_outlives_the_edge_and_its_broker(tmp_path: Path) -> None:
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer())
        registry = stack.enter_context(RegistryServer())
        shop = stack.enter_context(Deployment(tmp_path, "spool", kafka.bootstrap, "redis://unused:1", registry))
        shop.run("topics")
        spool = {"directory": str(tmp_path / "spool"), "bytes": 50_000_000}
        edge = stack.enter_context(EdgeProcess(shop, processes=2, spool=spool))
        acknowledged: list[str] = []
        statuses: set[int] = set()
        ending = threading.Event()

        def client(name: str) -> None:
            number = 0
            while not ending.is_set():
                number += 1
                try:
                    answer = edge.post("/v1/track", call(f"{name}-{number}"))
                except (OSError, HTTPException):
                    time.sleep(0.05)
                    continue
                statuses.add(answer.status)
                if answer.status == 200:
                    acknowledged.append(f"{name}-{number}")

        clients = [threading.Thread(target=client, args=(f"c{n}",)) for n in range(8)]
        for each in clients:
            each.start()
        time.sleep(2)
        kafka.stop()
        time.sleep(15)  # longer than anybody waits for Kafka
        assert edge.ready()
        assert edge.process is not None
        for pid in (edge.process.pid, *edge.processes()):
            os.kill(pid, signal.SIGKILL)
        edge.process.wait()
        dead_at = len(acknowledged)
        edge.start()
        time.sleep(2)
        edge.process.kill()  # its processes end by themselves, and give their files free
        edge.process.wait()
        edge.start()
        kafka.start()
        time.sleep(2)
        ending.set()
        for each in clients:
            each.join()
        assert statuses == {200}
        assert len(acknowledged) > dead_at > 500
        deadline = time.monotonic() + 60
        while b"pipeline_edge_spooled 0.0" not in edge.get("/metrics", edge.admin).body:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert set(acknowledged) <= {event.event_id for event in edge.events()}
