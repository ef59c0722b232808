"""A broker that stood still, and was taken for dead by its controller: for a moment it says that there is no broker and
no leader. A client of librdkafka that asks just then may never hear of any again (its issues 5301 and 5430), so each of
ours is replaced. Of many that ask without a pause some meet that moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from pipeline.edge.delivery import Delivery
from pipeline.errors import PipelineError
from pipeline.runtime.broker import Broker
from pipeline.runtime.ports import Out
from pipeline.runtime.producers import OutboxProducer
from tests.replayed import shipped
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

STOOD_S = 4.5  # the controller of tests/servers.py waits for 3
WELL_S = 30.0
BROKERS, SENDERS = 16, 3

Ask = Callable[[], Awaitable[object]]


@pytest.fixture(scope="module")
def standing() -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        server.create_topics("t")
        yield server


def test_whoever_asks_a_broker_that_stood_still_hears_of_it_again(
    standing: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runtime.broker.TIMEOUT_S", 2.0)  # so that they ask again and again
    found = asyncio.run(_asking(standing))
    assert found["never"] == []
    assert found["failed"] != []  # or nobody met anything


async def _asking(kafka: KafkaServer) -> dict[str, list[str]]:
    topology = msgspec.structs.replace(shipped(), kafka=kafka.bootstrap)
    record = Out("t", 0, None, b"x", [])
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(BROKERS))
    brokers = [Broker(kafka.bootstrap) for _ in range(BROKERS)]
    outboxes = [OutboxProducer(kafka.bootstrap, deadline_s=4.0) for _ in range(SENDERS)]
    deliveries = [Delivery(topology) for _ in range(SENDERS)]
    asks: dict[str, Ask] = {}
    for number, broker in enumerate(brokers):
        asks[f"broker {number}"] = lambda broker=broker: broker.written_offsets([("t", 0)])  # type: ignore[misc]
    senders: list[OutboxProducer | Delivery] = [*outboxes, *deliveries]
    for number, sender in enumerate(senders):
        asks[f"sender {number}"] = lambda sender=sender: sender.send([record])  # type: ignore[misc]
    heard: dict[str, float] = dict.fromkeys(asks, 0.0)
    failed: set[str] = set()

    async def again(name: str, ask: Ask) -> None:
        while True:
            try:
                await ask()
                heard[name] = time.monotonic()
                await asyncio.sleep(0.002)
            except PipelineError:
                failed.add(name)
                await asyncio.sleep(0.05)

    asking = [asyncio.create_task(again(name, ask)) for name, ask in asks.items()]
    await _until(lambda: all(heard.values()))
    failed.clear()
    kafka.sigstop()
    await asyncio.sleep(STOOD_S)
    kafka.sigcont()
    await asyncio.sleep(STOOD_S)  # who is well at once may still meet it
    await _until(lambda: all(time.monotonic() - at < 1 for at in heard.values()))
    never = [name for name, at in heard.items() if time.monotonic() - at > 2]
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    for sender in senders:
        await sender.close()
    return {"never": never, "failed": sorted(failed)}


async def _until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WELL_S
    while not met() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
