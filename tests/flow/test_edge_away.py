"""The collector while no broker answers: what it has answered for is not lost, and nobody waits for long."""

from __future__ import annotations

import resource
import threading
import time
from contextlib import ExitStack
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
