"""The collector while no broker answers: what it has answered for is not lost, and nobody waits for long."""

from __future__ import annotations

import os
import resource
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.collector import EdgeProcess, acknowledged, under_load
from tests.deployment import Deployment
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
        with under_load(edge, 8, properties={"x": "y" * 2_000}) as sent:
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
            while time.monotonic() < deadline and not any(each.at > back_at and each.status == 200 for each in sent):
                time.sleep(0.2)
            time.sleep(2)
        assert edge.ready()
        assert {each.status for each in sent} == {200, 503}
        later = [int(each.answer.headers["retry-after"]) for each in sent if each.answer and each.status == 503]
        assert min(later) >= 1
        while_away = [each for each in sent if away_at + 15 < each.at and each.at + each.took < back_at]
        assert {each.status for each in while_away} == {503}
        at_once = [each for each in while_away if each.took < 1.0]
        assert len(at_once) > 0.8 * len(while_away) > 100  # but for those that find out whether it is back
        assert max(each.took for each in while_away) < 15
        assert most - before < 30_000
        assert len(acknowledged(sent)) > 100
        assert acknowledged(sent) <= {event.event_id for event in edge.events()}


def test_what_the_disk_has_outlives_the_edge_and_its_broker(tmp_path: Path) -> None:
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer())
        registry = stack.enter_context(RegistryServer())
        shop = stack.enter_context(Deployment(tmp_path, "spool", kafka.bootstrap, "redis://unused:1", registry))
        shop.run("topics")
        spool = {"directory": str(tmp_path / "spool"), "bytes": 50_000_000}
        edge = stack.enter_context(EdgeProcess(shop, processes=2, spool=spool))
        with under_load(edge, 8) as sent:
            time.sleep(2)
            kafka.stop()
            time.sleep(15)  # longer than anybody waits for Kafka
            assert edge.ready()
            assert edge.process is not None
            for pid in (edge.process.pid, *edge.processes()):
                os.kill(pid, signal.SIGKILL)
            edge.process.wait()
            before = len(acknowledged(sent))
            edge.start()
            time.sleep(2)
            edge.process.kill()  # its processes end by themselves, and give their files free
            edge.process.wait()
            edge.start()
            kafka.start()
            time.sleep(2)
        assert {each.status for each in sent} <= {200, None}
        assert len(acknowledged(sent)) > before > 500
        deadline = time.monotonic() + 60
        while b"pipeline_edge_spooled 0.0" not in edge.get("/metrics", edge.admin).body:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert acknowledged(sent) <= {event.event_id for event in edge.events()}
