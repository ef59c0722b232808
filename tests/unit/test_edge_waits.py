"""What the collector waits for, and for how long: connections, brokers; and what it tells of itself a little later."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram

from pipeline.edge import delivery, gate
from pipeline.edge.delivery import Delivery
from pipeline.edge.gate import Gate, Visitor
from pipeline.edge.metrics import SECONDS, EdgeMetrics
from pipeline.errors import SendFailed
from pipeline.observe.metrics import BUCKETS, declaration
from pipeline.runtime.ports import Out
from tests.replayed import shipped

HEAD_S, REST_S = 0.05, 0.15


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "HEAD_S", HEAD_S)
    monkeypatch.setattr(gate, "REST_S", REST_S)


class Line(asyncio.Transport):
    """A connection's end."""

    gone = False

    def abort(self) -> None:
        self.gone = True


async def visitor() -> tuple[Visitor, Line]:
    guest, line = Gate(asyncio.Protocol)(), Line()
    assert isinstance(guest, Visitor)
    guest._door.life_s = HEAD_S
    guest.connection_made(line)
    return guest, line


def test_whoever_says_nothing_leaves() -> None:
    async def run() -> None:
        _, line = await visitor()
        await asyncio.sleep(0.6 * HEAD_S)
        assert not line.gone
        await asyncio.sleep(HEAD_S)
        assert line.gone

    asyncio.run(run())


def test_a_request_takes_its_time_and_a_rest_ends() -> None:
    async def run() -> None:
        guest, line = await visitor()
        guest.heard()
        await asyncio.sleep(3 * HEAD_S)
        assert not line.gone  # the server looks after it
        guest.answered()
        await asyncio.sleep(0.7 * REST_S)
        assert not line.gone
        await asyncio.sleep(0.7 * REST_S)
        assert line.gone

    asyncio.run(run())


def test_half_a_head_after_a_rest_is_not_waited_for() -> None:
    async def run() -> None:
        guest, line = await visitor()
        guest.heard()
        guest.answered()
        guest.data_received(b"POST")
        await asyncio.sleep(0.5 * HEAD_S)
        guest.data_received(b" /v1")
        await asyncio.sleep(HEAD_S)
        assert line.gone

    asyncio.run(run())


class Silent:
    """A producer that never hears of its brokers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.taken: list[Any] = []

    def produce(self, *record: Any, on_delivery: Any, headers: Any) -> None:
        self.taken.append(on_delivery)

    def poll(self, seconds: float) -> None: ...

    def list_topics(self, timeout: float) -> None: ...

    def __len__(self) -> int:
        return len(self.taken)


def test_whom_no_broker_answers_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PATIENCE_S", HEAD_S - 2)
    monkeypatch.setattr(delivery, "Producer", Silent)

    async def run() -> None:
        goes = Delivery(shipped())
        with pytest.raises(SendFailed, match="in time"):
            await goes.send([Out("t", None, b"k", b"v", [])])
        assert goes.away
        for each in goes._producer.taken:  # type: ignore[attr-defined]
            each(None, None)  # too late: nobody waits
        with pytest.raises(SendFailed, match="no broker answers"):
            await goes.send([Out("t", None, b"k", b"v", [])])
        assert goes._asking is not None
        goes._asking.cancel()

    asyncio.run(run())


def test_what_is_counted_is_told_in_sum() -> None:
    told, one_by_one = EdgeMetrics(), CollectorRegistry()
    seconds = Histogram(*declaration(SECONDS), buckets=BUCKETS, registry=one_by_one)
    for took in (0.0, 0.0005, BUCKETS[0], BUCKETS[3], 0.3, BUCKETS[-1], 100.0):
        told.request("segment", 200, took)
        seconds.labels("segment").observe(took)
    told.accepted("segment", "shop", 3)
    told.accepted("segment", "shop", 0)
    told.accepted("segment", "shop", 2)
    told.refused("segment", "shop", "rate", 7)
    assert not any(family.samples for family in told._registry.collect() if "seconds" in family.name)
    told.publish()
    told.publish()
    samples = chain.from_iterable(family.samples for family in told._registry.collect())
    found = {(each.name, *each.labels.values()): each.value for each in samples}
    assert found["pipeline_edge_events_total", "segment", "shop", "accepted"] == 5
    assert found["pipeline_edge_events_total", "segment", "shop", "rate"] == 7
    assert found["pipeline_edge_requests_total", "segment", "200"] == 7
    for family in one_by_one.collect():
        for each in family.samples:
            if not each.name.endswith("_created"):
                assert found[(each.name, *each.labels.values())] == pytest.approx(each.value)
