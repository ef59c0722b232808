"""Finds transactions that stay open and keep records back: nothing behind the first of their records can be read.

Anybody who may write to a topic can leave one. Kafka ends it after the producer's `transaction.timeout.ms`, at most 15
minutes as brokers are shipped; one that its coordinator has lost stays until an operator ends it.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields
from aiokafka.structs import TopicPartition

from pipeline.events.times import rfc3339
from pipeline.runtime.broker import Broker

log = logging.getLogger(__name__)

LONG_S = 5.0  # ours take milliseconds
SAY_EVERY_S = 60.0
TEXT = CompactString("utf-8")

Place = tuple[str, int]


class Opened(NamedTuple):
    """A transaction that is open in a partition: whose, where its first record stands, its last one's time (UTC ms)."""

    producer: int
    epoch: int
    offset: int
    written_at: int


class OpenTransactions:
    """`look` is told how far committed records go; `now` says of each partition that waits what keeps it."""

    def __init__(self, kafka: str, broker: Broker, clock: Callable[[], float] = time.monotonic) -> None:
        self._kafka = kafka
        self._broker = broker
        self._clock = clock
        self._since: dict[Place, tuple[int, float]] = {}
        self._said_at: dict[str, float] = {}
        self.now: dict[str, str] = {}

    async def look(self, stable: Mapping[Place, int]) -> None:
        """`stable`: the last stable offset of each partition, asked before this. Called every few seconds."""
        written = await self._broker.written_offsets(stable)
        since, now = {}, self._clock()
        for place, offset in stable.items():
            if written[place] > offset:
                known = self._since.get(place)
                since[place] = known if known is not None and known[0] == offset else (offset, now)
        self._since = since
        long = {place: offset for place, (offset, at) in since.items() if now - at >= LONG_S}
        found = await self._whose(long) if long else {}
        self._say({f"{topic}-{p}": self._text((topic, p), offset, found) for (topic, p), offset in long.items()})

    def _text(self, place: Place, offset: int, found: Mapping[Place, list[Opened]]) -> str:
        # The one whose first record stands at the last stable offset keeps it there.
        opened = next((each for each in found.get(place, ()) if each.offset == offset), None)
        whose = (
            "an open transaction"
            if opened is None
            else f"an open transaction of producer {opened.producer}, which wrote last {rfc3339(opened.written_at)},"
        )
        topic, partition = place
        return (
            f"{whose} keeps back what stands from offset {offset} on. Stop who left it open, or wait for its time-out;"
            f" one that outlives that: kafka-transactions.sh --bootstrap-server {self._kafka} abort --topic {topic}"
            f" --partition {partition} --start-offset {offset}"
        )

    def _say(self, found: dict[str, str]) -> None:
        now = self._clock()
        news = {
            name: text for name, text in found.items() if now - self._said_at.get(name, -SAY_EVERY_S) >= SAY_EVERY_S
        }
        if news:
            log.warning("%s", "; ".join(f"{name}: {text}" for name, text in news.items()))
        over = self.now.keys() - found.keys()
        if over:
            log.info("no open transaction keeps anything back any more: %s", ", ".join(sorted(over)))
        self._said_at = {name: self._said_at[name] for name in found if name in self._said_at} | dict.fromkeys(
            news, now
        )
        self.now = found

    async def _whose(self, places: Iterable[Place]) -> dict[Place, list[Opened]]:
        """Who may not ask (it takes the right to read the topic), or whose broker is older than 2.8, isn't told."""
        client = AIOKafkaClient(bootstrap_servers=self._kafka.split(","), client_id="pipeline-transactions")
        try:
            await client.bootstrap()
            return await _opened(client, places)
        except (KafkaError, NotImplementedError) as problem:
            log.warning("whose transactions are open: %r", problem)
            return {}
        finally:
            await client.close()


async def _opened(client: AIOKafkaClient, places: Iterable[Place]) -> dict[Place, list[Opened]]:
    """The open transactions of each partition, asked of its leader."""
    await client.set_topics({topic for topic, _ in places})
    by_leader: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for topic, partition in places:
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if leader is not None and leader >= 0:
            by_leader[leader][topic].append(partition)
    found: dict[Place, list[Opened]] = {}
    for leader, wanted in by_leader.items():
        answer = await client.send(leader, _DescribeProducers(wanted))
        for topic, partitions, _ in answer.topics:
            for partition, error, _, producers, _ in partitions or ():
                if not error:
                    found[topic, partition] = [
                        Opened(producer, epoch, offset, written_at)
                        for producer, epoch, _, written_at, _, offset, _ in producers or ()
                        if offset >= 0
                    ]
    return found


# Neither client of ours has this question of Kafka's (KIP-664, since 2.8).


class _Response(Response):
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", TEXT),
                        (
                            "active_producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("current_txn_start_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Request(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("name", TEXT), ("partition_indexes", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("tags", TaggedFields),
    )


class _DescribeProducers(Request[_Request]):
    API_KEY = 61

    def __init__(self, wanted: Mapping[str, list[int]]) -> None:
        self._topics: list[Any] = [(topic, partitions, {}) for topic, partitions in wanted.items()]

    def build(self, request_struct_class: type[_Request]) -> Any:
        return request_struct_class(self._topics, {})
