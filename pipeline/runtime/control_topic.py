"""The control topic as it is read: whole, by whoever asks, outside of any group, and unpacked within bounds."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from pipeline.runtime import fetching, unpacking
from pipeline.runtime.ports import In, Unreadable

unpacking.bound()
fetching.bound()

AT_ONCE = 1_000  # records
ANSWER_S = 15.0
CALM_MS = 500  # how long a fetch waits: what is written comes at once, only who seeks elsewhere waits for its end


class ControlTopic:
    """Reads from where it was sought. Raises TimeoutError, or aiokafka's KafkaError."""

    def __init__(self, kafka: str, topic: str) -> None:
        self._kafka = kafka
        self._place = TopicPartition(topic, 0)
        self._consumer: AIOKafkaConsumer | None = None

    async def seek(self, offset: int) -> None:
        """Read on from here."""
        if self._consumer is None:
            self._consumer = await self._started()
        self._consumer.seek(self._place, offset)

    async def take(self, wait_s: float = 0.0) -> tuple[list[In], int]:
        """Records that are there by now, and the offset up to which everything is read."""
        assert self._consumer is not None
        if not wait_s and (nothing := self._nothing_new()) is not None:
            return [], nothing
        async with asyncio.timeout(ANSWER_S + wait_s):
            found = await self._consumer.getmany(timeout_ms=int(wait_s * 1_000), max_records=AT_ONCE)
            reached: int = await self._consumer.position(self._place)
        return [_plain(record) for record in found.get(self._place, [])], reached

    def _nothing_new(self) -> int | None:
        """The offset up to which all is read, where nothing has come since (asked ten times a second); else None."""
        consumer: Any = self._consumer
        if consumer._fetcher._records:
            return None
        state = consumer._subscription.subscription.assignment.state_value(self._place)
        return int(state.position) if state.has_valid_position else None

    async def close(self) -> None:
        """Free everything. May be called twice."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _started(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._kafka,
            client_id="pipeline-control",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # Nobody's open transaction may keep words away; who may write here is trusted to mean what they write.
            isolation_level="read_uncommitted",
            fetch_max_wait_ms=CALM_MS,
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        consumer.assign([self._place])
        return consumer


def _plain(record: In) -> In:
    if isinstance(record, Unreadable):
        return record
    return In(record.offset, record.timestamp, record.key, record.value, list(record.headers))
