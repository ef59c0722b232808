"""Records to Kafka. Who waits for them hears when every broker that must have them does, or that none can be had.

librdkafka reports on a thread's asking; the event loop asks, as long as somebody waits, so that nothing needs a lock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.errors import RecordTooLarge, SendFailed
from pipeline.runtime.ports import Out
from pipeline.runtime.sources import settings
from pipeline.topology.model import Topology

PATIENCE_S = 10.0  # for the brokers' acknowledgement
TICK_S = 0.002
LINGER_MS = 2
IN_HAND_BYTES = 64 * 1024 * 1024  # of a process, that wait for a broker
ASK_EVERY_S = 1.0  # while no broker answers, whether one does again


class Goes(Protocol):
    """Where accepted events and dead letters go."""

    async def send(self, records: Sequence[Out]) -> None:
        """Returns when they are safe. Raises SendFailed: not all of them are; RecordTooLarge: nor ever will be."""


class _Batch:
    """Records that one request waits for, until then (on the loop's clock)."""

    __slots__ = ("done", "failed", "left", "until")

    def __init__(self, left: int, done: asyncio.Future[None], until: float) -> None:
        self.left = left
        self.done = done
        self.until = until
        self.failed: KafkaError | None = None

    def delivered(self, problem: KafkaError | None, message: Any) -> None:
        if problem is not None and (self.failed is None or problem.code() == KafkaError.MSG_SIZE_TOO_LARGE):
            self.failed = problem
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


class Delivery:
    """`away`: no broker has taken anything of late. Belongs to one event loop."""

    def __init__(self, topology: Topology) -> None:
        self.away = False
        self._loop = asyncio.get_running_loop()
        self._settings = {
            **settings(topology, "pipeline-edge"),
            "linger.ms": LINGER_MS,
            "message.timeout.ms": int(PATIENCE_S * 1000),
            "queue.buffering.max.kbytes": 2 * IN_HAND_BYTES // 1024,
        }
        self._producer = Producer(self._settings)
        self._retired: list[Producer] = []  # until all that they have taken is acknowledged or failed
        self._in_hand = 0
        self._waiting: deque[_Batch] = deque()  # in the order of their ends; some are done already
        self._pumping = False
        self._asking: asyncio.Task[None] | None = None

    async def send(self, records: Sequence[Out]) -> None:
        """Returns when the brokers have them all. Raises SendFailed: they don't, or not all of them; whoever sends them
        again sends them under the same ids. It is raised at once while no broker answers, or too much waits already.
        RecordTooLarge: one of them a topic takes never.
        """
        if not records:
            return
        size = sum(len(each.value or b"") + 200 for each in records)
        if self.away:
            raise SendFailed("no broker answers")
        if self._in_hand + size > IN_HAND_BYTES:
            raise SendFailed("too much waits for the brokers already")
        batch = _Batch(len(records), self._loop.create_future(), self._loop.time() + PATIENCE_S + 2)
        self._in_hand += size
        self._waiting.append(batch)
        try:
            self._produce(records, batch)
            if not self._pumping:
                self._pumping = True
                self._loop.call_later(TICK_S, self._pump)
            await batch.done
        except TimeoutError:
            self._lost()
            raise SendFailed("no broker has acknowledged it in time") from None
        finally:
            self._in_hand -= size
            batch.done.cancel()  # if nobody waits any more
        if batch.failed is not None:
            if batch.failed.code() in _AWAY:
                self._lost()
            if batch.failed.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise RecordTooLarge(batch.failed.str(), records[0].topic)
            raise SendFailed(batch.failed.str())

    def _lost(self) -> None:
        if not self.away:
            self.away = True
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        """Until a broker answers again; then on with a new producer: one of librdkafka's that once heard of no broker,
        or of no leader, may never hear of any again (its issues 5301 and 5430).
        """
        while self.away:
            await asyncio.sleep(ASK_EVERY_S)
            producer = Producer(self._settings)
            try:
                await asyncio.to_thread(producer.list_topics, timeout=ASK_EVERY_S)
            except KafkaException:
                continue
            self._retired.append(self._producer)
            self._producer = producer
            self.away = False

    def _produce(self, records: Sequence[Out], batch: _Batch) -> None:
        produce, delivered = self._producer.produce, batch.delivered
        for topic, _, key, value, headers in records:
            try:
                produce(topic, value, key, on_delivery=delivered, headers=list(headers) if headers else None)
            except BufferError:
                delivered(KafkaError(KafkaError._QUEUE_FULL), None)
            except KafkaException as error:
                delivered(error.args[0], None)

    def _pump(self) -> None:
        self._producer.poll(0)
        if self._retired:
            for each in self._retired:
                each.poll(0)
            self._retired = [each for each in self._retired if len(each)]
        waiting, now = self._waiting, self._loop.time()
        while waiting and (waiting[0].done.done() or waiting[0].until < now):
            if not (late := waiting.popleft().done).done():
                late.set_exception(TimeoutError())
        if waiting:
            self._loop.call_later(TICK_S, self._pump)
        else:
            self._pumping = False

    async def close(self) -> None:
        """What is in hand goes out first."""
        if self._asking is not None:
            self._asking.cancel()
        await asyncio.to_thread(self._producer.flush, PATIENCE_S)


_AWAY = {
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._QUEUE_FULL,
}
