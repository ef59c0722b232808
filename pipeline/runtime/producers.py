"""Producers behind one Protocol, `ports.Sender`: the hops don't know which one they have.

    TransactionalProducer  first hop: all records of a batch or none; starting it fences its predecessor
    OutboxProducer         second hop: in order, acknowledged by all replicas, at least once
    PlainSender            the first hop on the embedded broker, whose transactions no consumer can read

confluent-kafka's calls block, so they run in a small pool of threads, one call a batch. After any exception of `send`
but Fenced nothing is certain: the batch may be there or not. Close the sender, claim again and use a new one, whose
start settles what was left open; who reads drops what it has seen by source offset.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from pipeline.errors import Fenced, RecordTooLarge, SendFailed, Unsent
from pipeline.runtime.ports import Out, Sender

log = logging.getLogger(__name__)

START_S = 30.0
# librdkafka says itself that a record was not taken in time. Should that not come, nobody may wait for ever.
GRACE_S = 5.0
SEND_S = 20.0
# A transaction in hand dies this long after its producer did, if nobody starts a successor: readers stand until then.
TRANSACTION_TIMEOUT_MS = 30_000
# No limit of ours: what a topic takes is said by its `max.message.bytes`. A dead letter is as large as what came in,
# and what came in may have been compressed well.
MESSAGE_BYTES = 100_000_000

Heard = Callable[[str, int, int], None]

_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}


class ClosableSender(Sender, Protocol):
    """A Sender with a beginning and an end."""

    async def start(self) -> None:
        """Get ready. Raises SendFailed."""

    async def close(self) -> None:
        """Give up what is unsent and free everything. May be called twice."""


class Producers:
    """Makes senders that share their threads. `transactions` False: for the embedded broker alone.

    `heard`: told of every record of the first hop that the broker acknowledged as appended at a time of its own (topic,
    partition, UTC ms), in any thread.
    `deadline_s`: how long a `send` may try. `threads`: how many transactions may wait for the broker at a time.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        *,
        transactions: bool = True,
        threads: int = 16,
        deadline_s: float = SEND_S,
        heard: Heard | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        self._heard = heard
        self._bootstrap = bootstrap
        self._group = group
        self._transactions = transactions
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="producer")

    def named(self, name: str) -> ClosableSender:
        """A sender for the first hop. Its start ends whoever had that name before: that one writes no more, and what it
        left open is settled.
        """
        if not self._transactions:
            return PlainSender(self._bootstrap, deadline_s=self._deadline_s)
        return TransactionalProducer(
            self._bootstrap,
            f"{self._group}-{name}",
            self._pool,
            deadline_s=self._deadline_s,
            heard=self._heard,
        )

    def outbox(self) -> OutboxProducer:
        """A sender for the second hop; one a process is enough."""
        return OutboxProducer(self._bootstrap, deadline_s=self._deadline_s)

    def close(self) -> None:
        """Wait for what runs. Close the senders first."""
        self._pool.shutdown()


class TransactionalProducer:
    """A transaction a call. Of two producers with the same `transactional_id` only the one started last can commit."""

    def __init__(
        self,
        bootstrap: str,
        transactional_id: str,
        pool: ThreadPoolExecutor,
        *,
        deadline_s: float = SEND_S,
        settings: dict[str, Any] | None = None,
        heard: Heard | None = None,
    ) -> None:
        self._heard = heard
        self._id = transactional_id
        self._pool = pool
        self._deadline_s = deadline_s
        self._settings = {
            **_lean(bootstrap),
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            # The next transaction meets CONCURRENT_TRANSACTIONS while the broker still writes the markers of the last.
            # With librdkafka's 100 ms a transaction takes 85 ms, so it takes 20.
            "retry.backoff.ms": 5,
            # Whole batches: nothing leaves before the commit, which flushes at once.
            "linger.ms": 50,
            **(settings or {}),
        }
        self._producer: Producer | None = None
        # A cancelled `send` leaves its thread at work: `close` waits for it.
        self._lock = threading.Lock()

    async def start(self) -> None:
        """Fence predecessors and settle what they left open. Raises SendFailed, Fenced."""
        await self._in_thread(self._start)

    async def send(self, messages: Sequence[Out]) -> None:
        """Begin, produce, commit. Retries what can be retried for 20 s. Raises Fenced, SendFailed."""
        await self._in_thread(self._send, messages)

    async def close(self) -> None:
        """Give up the transaction in hand and free everything."""
        await self._in_thread(self._close)

    async def _in_thread(self, call: Any, *args: Any) -> None:
        def locked() -> None:
            with self._lock:
                call(*args)

        await asyncio.get_running_loop().run_in_executor(self._pool, locked)

    def _start(self) -> None:
        deadline = time.monotonic() + START_S
        if self._producer is None:
            self._producer = Producer(self._settings)
        while True:
            try:
                return self._producer.init_transactions(_left(deadline))
            except KafkaException as problem:
                error = self._judge(problem)
                if not error.retriable() or not _left(deadline):
                    raise SendFailed(f"{self._id}: can't start transactions: {error}") from problem

    def _send(self, messages: Sequence[Out]) -> None:
        if self._producer is None:
            raise SendFailed(f"{self._id}: not started, or closed")
        deadline = time.monotonic() + self._deadline_s
        pause = 0.01
        while True:
            refused: list[tuple[str, str]] = []
            try:
                return self._transaction(self._producer, messages, deadline, refused)
            except KafkaException as problem:
                error = self._judge(problem)
                self._abort(self._producer, deadline)
                if refused:
                    topic, why = refused[0]
                    raise RecordTooLarge(f"{self._id}: {why}", topic) from problem
                if not error.txn_requires_abort() and not error.retriable():
                    raise SendFailed(f"{self._id}: {error}") from problem
                if _left(deadline) <= pause:
                    raise SendFailed(f"{self._id}: gave up after {self._deadline_s:g} s: {error}") from problem
                log.warning("%s: transaction aborted, trying again: %s", self._id, error)
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def _transaction(
        self, producer: Producer, messages: Sequence[Out], deadline: float, refused: list[tuple[str, str]]
    ) -> None:
        """`refused`: to be filled with what no second try would change: (topic, what)."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    refused.append((message.topic() or "", _too_large(message)))
            elif self._heard is not None:
                kind, at = message.timestamp()
                if kind == TIMESTAMP_LOG_APPEND_TIME:
                    self._heard(message.topic(), message.partition(), at)  # type: ignore[arg-type]

        producer.begin_transaction()
        for out in messages:
            while True:
                try:
                    _produce(producer, out, delivered)
                    break
                except BufferError:  # the local queue is full: let it drain
                    if not _left(deadline):
                        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, retriable=True)) from None
                    producer.flush(0.01)
        while True:
            try:
                return producer.commit_transaction(_left(deadline))
            except KafkaException as problem:
                error = self._judge(problem)
                if error.txn_requires_abort() or not error.retriable():
                    raise
                if not _left(deadline):
                    # Neither committed nor to be aborted: only the next start settles it.
                    raise SendFailed(f"{self._id}: the commit was not answered: {error}") from problem

    def _abort(self, producer: Producer, deadline: float) -> None:
        while True:
            try:
                return producer.abort_transaction(max(_left(deadline), 1.0))
            except KafkaException as problem:
                error = self._judge(problem)
                if not error.retriable() or not _left(deadline):
                    raise SendFailed(f"{self._id}: can't abort: {error}") from problem

    def _judge(self, problem: KafkaException) -> KafkaError:
        error: KafkaError = problem.args[0]
        if error.code() in _FENCED:
            raise Fenced(f"{self._id}: another producer has taken over: {error}") from problem
        if error.fatal():
            raise SendFailed(f"{self._id}: {error}") from problem
        return error

    def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            _give_up(producer, 0.0)


class OutboxProducer:
    """Idempotent, acks=all: records of one call arrive in order and once, but for those that the call says are left."""

    def __init__(self, bootstrap: str, *, deadline_s: float = SEND_S, settings: dict[str, Any] | None = None) -> None:
        self._deadline_s = deadline_s
        self._settings = {
            **_lean(bootstrap),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 1,
            "message.timeout.ms": int(deadline_s * 1000),
            **(settings or {}),
        }
        self._client = _Client(self._settings)
        self._singly: _Client | None = None
        self._closed = False

    async def start(self) -> None:
        """Nothing to do: it connects by itself."""

    async def send(self, messages: Sequence[Out]) -> None:
        """Returns when all replicas have acknowledged all. Raises Unsent after 20 s at the latest.

        A batch on its way to a partition, in which others' records may be too, is refused as a whole where it is larger
        than the topic takes; its records are sent again in batches of one, so that only those are left which are too
        large alone.
        """
        if self._closed:
            raise Unsent("outbox: closed", range(len(messages)))
        if not messages:
            return
        self._client = self._usable(self._client, self._settings)
        failed = await self._try(self._client, messages, range(len(messages)))
        large = sorted(place for place, (too_large, _) in failed.items() if too_large)
        if large:
            self._singly = self._usable(self._singly, {**self._settings, "batch.num.messages": 1})
            for place in large:
                del failed[place]
            failed |= await self._try(self._singly, messages, large)
        if failed:
            left = sorted(failed)
            large = [place for place in left if failed[place][0]]
            if len(large) < len(left):
                self._client.retire()
                if self._singly is not None:
                    self._singly.retire()
            raise Unsent(f"outbox: {failed[left[0]][1]}", left, large)

    async def _try(
        self, client: _Client, messages: Sequence[Out], places: Sequence[int]
    ) -> dict[int, tuple[bool, str]]:
        """Send those; returns what failed: place -> (whether for its size, why)."""
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        under_way = set(places)
        failed: dict[int, tuple[bool, str]] = {}

        def end() -> None:
            if not over.done():
                over.set_result(None)

        def acknowledged(place: int, error: KafkaError | None, message: Message) -> None:  # in the client's thread
            if error is not None:
                large = error.code() == KafkaError.MSG_SIZE_TOO_LARGE
                failed[place] = large, _too_large(message) if large else f"{message.topic()}: {error.str()}"
            under_way.discard(place)
            if not under_way and not loop.is_closed():
                loop.call_soon_threadsafe(end)

        deadline = time.monotonic() + self._deadline_s
        refused: str | None = None
        for place in places:
            out = messages[place]
            while refused is None:
                try:
                    client.produce(out, partial(acknowledged, place))
                    break
                except BufferError:  # the local queue is full: let it drain
                    if not _left(deadline):
                        refused = f"{out.topic}: the local queue stayed full"
                    await asyncio.sleep(0.01)
                except KafkaException as problem:
                    refused = f"{out.topic}: {problem.args[0]}"
            if refused is not None:  # nor what comes behind it: in order
                failed[place] = False, refused
                under_way.discard(place)
        if under_way:
            try:
                async with asyncio.timeout(self._deadline_s + GRACE_S):
                    await over
            except TimeoutError:
                lost = set(under_way)
                failed |= {place: (False, f"no word of {len(lost)} records") for place in lost}
        return failed

    publish = send

    async def close(self) -> None:
        """Give up what isn't acknowledged."""
        self._closed = True
        await asyncio.to_thread(self._client.close)
        if self._singly is not None:
            await asyncio.to_thread(self._singly.close)

    def _usable(self, client: _Client | None, settings: dict[str, Any]) -> _Client:
        """A producer that met a fatal error takes nothing any more, for as long as it lives, and one that failed may
        never hear of its brokers again (see Broker): the next one can.
        """
        if client is not None and client.broken is not None:
            log.warning("outbox: goes on with a new producer, the last one can't: %s", client.broken)
            client = None
        elif client is not None and client.retired:
            client = None
        return client or _Client(settings)


class _Client:
    """A producer, and the thread in which its acknowledgements come. `broken`: the fatal error that it met, if any.
    `retired`: it takes nothing more, and ends when all that it has taken is acknowledged or failed.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.broken: str | None = None
        self.retired = False
        self._producer = Producer(settings)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True, name="outbox")
        self._thread.start()

    def produce(self, out: Out, acknowledged: Callable[[KafkaError | None, Message], None]) -> None:
        """Raises KafkaException, BufferError."""
        try:
            _produce(self._producer, out, acknowledged)
        except KafkaException as problem:
            if problem.args[0].code() == KafkaError._FATAL:
                self.broken = self.broken or str(problem.args[0])
            raise

    def retire(self) -> None:
        """It is to end by itself."""
        self.retired = True

    def close(self) -> None:
        """What isn't acknowledged fails. May be called twice."""
        self._closing.set()
        self._thread.join()

    def _poll(self) -> None:
        while self.broken is None and not self._closing.is_set() and not (self.retired and not len(self._producer)):
            try:
                self._producer.poll(0.2)
            except KafkaException as problem:  # a fatal error is raised here, once, whatever is sent
                self.broken = str(problem.args[0])
        _give_up(self._producer, 1.0)


class PlainSender(OutboxProducer):
    """For the embedded broker: without transactions a crash inside `send` leaves half a batch."""

    async def send(self, messages: Sequence[Out]) -> None:
        """As the transactional one: what fails is sent again as a whole."""
        try:
            await super().send(messages)
        except Unsent as unsent:
            raise SendFailed(str(unsent)) from unsent


def _lean(bootstrap: str) -> dict[str, Any]:
    """Small buffers, no surprises."""
    return {
        "bootstrap.servers": bootstrap,
        # What is wrong comes back as an error, and is told by who gets it; on its own librdkafka writes to stderr.
        "log_level": 0,
        "compression.type": "lz4",
        # The one that Java's clients use: the same key finds the same partition whoever produces.
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 2 * MESSAGE_BYTES // 1024,
        "message.max.bytes": MESSAGE_BYTES,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
        "topic.metadata.propagation.max.ms": 5_000,
    }


def _too_large(message: Message) -> str:
    return (
        f"{message.topic()}: a record of {len(message.value() or b''):,} bytes is too large for the topic (before it is"
        f" compressed): raise the topic's max.message.bytes"
    )


def _produce(producer: Producer, out: Out, on_delivery: Callable[[KafkaError | None, Message], None]) -> None:
    partition = -1 if out.partition is None else out.partition
    producer.produce(
        out.topic, out.value, out.key, partition, on_delivery=on_delivery, headers=list(out.headers) or None
    )


def _give_up(producer: Producer, patience_s: float) -> None:
    """Drop what is unsent or unacknowledged; who waits for it is told."""
    producer.purge()
    for _ in range(2):
        with contextlib.suppress(KafkaException):  # a fatal error that nobody has heard of yet is raised here, once
            producer.flush(patience_s)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
