"""Every private part of Faust, aiokafka and mode that the runtime leans on, with what breaks when it changes.

The three are pinned exactly in pyproject.toml. Raising a pin means: this file, then test_worker.py.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cramjam
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.codec import lz4_encode, zstd_encode
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalGenerationError
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from confluent_kafka import Producer
from faust.app.base import App, BootStrategy
from faust.serializers.codecs import codecs
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer, ConsumerThread, ThreadDelegateConsumer
from faust.transport.consumer import Fetcher as FaustFetcher
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import MethodQueue, QueueServiceThread, ServiceThread
from mode.utils.queues import FlowControlEvent

from pipeline.errors import Fenced
from pipeline.runtime import fetching, transport, unpacking
from pipeline.runtime.ports import In
from pipeline.runtime.transport import Batch, BatchApp, BatchConsumer, BatchThread, _NeverRead
from pipeline.runtime.unpacking import Batches, Records, Result
from tests.contract.toy import Store, Toy, close, prepare, running, source, topology, unstarted, until
from tests.servers import ROOT, KafkaServer


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def text(function: object) -> str:
    """A function's source, without line breaks."""
    return re.sub(r"\s+", " ", inspect.getsource(function))  # type: ignore[arg-type]


@pytest.fixture
def app() -> BatchApp:
    async def make() -> BatchApp:
        worker = unstarted(Toy(Store()))
        close(worker)
        return worker.app

    return asyncio.run(make())


# Versions.


@pytest.mark.parametrize("name", ["faust-streaming", "aiokafka", "mode-streaming"])
def test_the_pinned_version_is_the_installed_one(name: str) -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"{name}=={version(name)}" in dependencies


# The transport is ours without a global table.


def test_the_app_makes_its_transport_by_new_transport(app: BatchApp) -> None:
    """Else Faust's own transport would be used: every record one event, Kafka's offsets, acks."""
    assert parameters(App._new_transport) == ["self"]
    assert "self._new_transport()" in text(App.transport.fget)  # type: ignore[attr-defined]
    assert type(app.consumer) is BatchConsumer


def test_the_driver_asks_the_consumer_for_its_thread() -> None:
    """Else batches carry no epoch, and records of before a seek are processed after it."""
    assert parameters(ThreadDelegateConsumer._new_consumer_thread) == ["self"]
    assert "self._thread = self._new_consumer_thread()" in text(ThreadDelegateConsumer.__init__)


def test_the_boot_strategy_starts_no_producer_and_no_web_server(app: BatchApp) -> None:
    """Else an aiokafka producer that isn't idempotent connects, and a web server opens a port."""
    strategy = cast(BootStrategy, app.boot_strategy)
    assert (BootStrategy.enable_kafka_producer, BootStrategy.enable_web) == (None, None)
    assert list(strategy.kafka_producer()) == []
    assert list(strategy.web_server()) == []


def test_no_directory_is_made(app: BatchApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a worker in a read-only container fails at its first start."""
    monkeypatch.chdir(tmp_path)
    assert "self._create_directories()" in text(App.on_first_start)
    asyncio.run(app.on_first_start())
    assert list(tmp_path.iterdir()) == []


def test_what_was_fetched_passes_the_raw_codec_unchanged() -> None:
    """Else the agents would get something else."""
    fetched = [Batch(TP("t", 0), 1, [])]
    assert codecs["raw"].loads(fetched) is fetched  # type: ignore[arg-type]


# Fetching.


def test_fetching_goes_through_fetch_records_in_the_thread() -> None:
    """Else nothing labels a batch with its epoch before a seek can come between."""
    expected = ["self", "consumer", "active_partitions", "timeout", "max_records"]
    assert parameters(driver.AIOKafkaConsumerThread._fetch_records) == expected
    assert parameters(BatchThread._fetch_records) == expected
    assert "call_thread( self._fetch_records," in text(driver.AIOKafkaConsumerThread.getmany)
    assert parameters(Consumer._getmany) == ["self", "active_partitions", "timeout"]
    assert parameters(Consumer._to_message) == ["self", "tp", "record"]


def test_of_a_fetch_each_agent_gets_one_message(app: BatchApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust costs what it costs a message; it looks at a message's partition alone, and each agent has all of them."""
    consumer = cast(BatchConsumer, app.consumer)
    one = min(app.fetch.gathered)
    places = [TopicPartition(one, 0), TopicPartition(one, 3), TopicPartition("resolved", 1)]
    record = In(7, 1_000, None, b"four", [])

    async def fetch(*args: object, **options: object) -> dict[TopicPartition, list[In]]:
        return {place: [record] for place in places} | {TopicPartition(one, 4): []}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)

    async def main() -> None:
        thread = consumer._thread
        thread.epochs = {TP(place.topic, place.partition): n for n, place in enumerate(places)}
        fetched = await thread._fetch_records(cast(AIOKafkaConsumer, Fetching(one)), set())
        sources, others = [Batch(tp, n, [record], 4) for tp, n in thread.epochs.items()][:2], TP("resolved", 1)
        assert fetched == {sources[0].tp: [sources], others: [[Batch(others, 2, [record], 4)]]}
        assert thread.handed == dict.fromkeys(thread.epochs, 8)
        message = consumer._to_message(sources[0].tp, fetched[sources[0].tp][0])
        assert (message.tp, cast(object, message.value)) == (sources[0].tp, sources)

    asyncio.run(main())


def test_an_empty_set_of_partitions_means_all_of_them() -> None:
    """Why `_getmany` returns by itself when every partition is blocked. Otherwise back-pressure would be none."""
    assert "if partitions and tp not in partitions" in text(Fetcher.fetched_records)


def test_requests_and_answers_are_packed_and_read_by_us() -> None:
    """fetching.py: the fetcher makes each request of this name, and a connection reads its answer by its type."""
    assert fetcher.FetchRequest is fetching.Fetch
    assert "req = FetchRequest( self._fetch_max_wait_ms," in text(Fetcher._get_actions_per_node)
    assert "return self.build(req_class)" in text(fetching.Fetch.prepare)
    send, handle = text(AIOKafkaConnection.send), text(AIOKafkaConnection._handle_frame)
    assert "request_struct = request.prepare(self._versions)" in send
    assert "message = header.encode() + request_struct.encode()" in send
    assert "resp_type = request.RESPONSE_TYPE" in handle
    assert "response = resp_type.decode(resp)" in handle


def test_records_come_as_they_were_parsed() -> None:
    """What `unpacking.Records` and `Result` do instead of aiokafka's, and where it makes them."""
    assert fetcher.PartitionRecords is Records
    assert fetcher.FetchResult is Result
    fetch = text(Fetcher._proc_fetch_request)
    assert "partition_records = PartitionRecords( tp, records," in fetch
    assert "self._records[tp] = FetchResult( tp, partition_records=partition_records," in fetch
    theirs, their_result = Records.__mro__[1], Result.__mro__[1]
    assert "self._records_iterator = self._unpack_records()" in text(theirs.__init__)
    # Their way, step by step.
    unpack = text(theirs._unpack_records)
    steps = (
        "while records.has_next(): next_batch = records.next_batch()",
        "if self._check_crcs and not next_batch.validate_crc():",
        "raise Errors.CorruptRecordException(",
        "self._isolation_level == READ_COMMITTED and next_batch.producer_id is not None ):",
        "self._consume_aborted_up_to(next_batch.base_offset)",
        "next_batch.is_control_batch and self._contains_abort_marker(next_batch) ):",
        "self._aborted_producers.discard(next_batch.producer_id)",
        "next_batch.is_transactional and next_batch.producer_id in self._aborted_producers ):",
        "self.next_fetch_offset = next_batch.next_offset continue",
        "if next_batch.is_control_batch: self.next_fetch_offset = next_batch.next_offset continue",
        "for record in next_batch:",
        "if record.offset < self.next_fetch_offset:",
        "self.next_fetch_offset = next_batch.next_offset",
    )
    places = [unpack.index(step) for step in steps]
    assert places[:-1] == sorted(places[:-1])
    assert set(re.findall(r"next_batch\.([a-z_]+)", unpack)) == {
        "validate_crc", "producer_id", "base_offset", "is_control_batch", "is_transactional", "next_offset",
    }  # fmt: skip
    getall = text(their_result.getall)
    assert "if not self.check_assignment(tp) or not self.has_more(): return []" in getall
    assert "return self._partition_records is not None" in text(their_result.has_more)
    assert "for msg in self._partition_records: ret_list.append(msg)" in getall
    # A poll whose records end takes the next from where they did, though the answer held more.
    assert "else: self._update_position() self._partition_records = None" in getall

    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 16)
    builder.append(0, 1_234, b"k", b"v", [("h", b"x")])
    records = Records(TP("t", 0), Batches(bytes(builder.build())), [], 0, None, None, True, 0)
    [record], _ = records.take(10)
    assert (record.offset, record.timestamp, record.key, record.value) == (0, 1_234, b"k", b"v")
    assert list(record.headers) == [("h", b"x")]
    assert records.next_fetch_offset == 1


def test_what_is_fetched_is_unpacked_by_us() -> None:
    """Else a batch of some kilobytes may take all memory, and its partition stands for ever (unpacking.py)."""
    assert fetcher.MemoryRecords is Batches
    fetch = text(Fetcher._proc_fetch_request)
    assert "records = MemoryRecords(part_data[-1]) if records.has_next():" in fetch
    assert "elif records.size_in_bytes() > 0:" in fetch
    module = importlib.import_module(DefaultRecordBatch.__module__)
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        assert getattr(module, f"{codec}_decode").__module__ == unpacking.__name__
    # The codecs' only sign that something was larger than the room for it.
    for packed, unpack_it in ((zstd_encode(bytes(100)), cramjam.zstd), (lz4_encode(bytes(100)), cramjam.lz4)):
        with pytest.raises(cramjam.DecompressionError, match="whole buffer"):
            unpack_it.decompress_into(packed, bytearray(50))


def test_the_control_topic_sees_that_nothing_has_come() -> None:
    """What `ControlTopic.take` returns then is what aiokafka's two calls would: they look at the same."""
    assert "for tp in list(self._records.keys()):" in text(Fetcher.fetched_records)
    position = text(AIOKafkaConsumer.position)
    assert "tp_state = assignment.state_value(partition)" in position
    assert "if not tp_state.has_valid_position:" in position
    assert "return tp_state.position" in position


def test_a_seek_drops_what_was_fetched_and_a_late_answer() -> None:
    """Else records of the old position would get the new epoch."""
    assert "self._subscriptions.seek(tp, offset) if tp in self._records: del self._records[tp]" in text(Fetcher.seek_to)
    assert "tp_state.position != fetch_offset" in text(Fetcher._proc_fetch_request)
    assert "self.check_assignment(self._topic_partition)" in text(Result.getall)
    assert not inspect.iscoroutinefunction(AIOKafkaConsumer.seek)  # no await between seek and epoch


def test_fausts_own_check_of_read_offsets_is_out_of_the_way(app: BatchApp) -> None:
    """It drops what lies before the last record read: after a seek back, the records that we asked for."""
    drain = text(Consumer._drain_messages)
    assert "get_read_offset = self._read_offset.__getitem__" in drain
    assert "if r_offset is None or offset >= r_offset:" in drain
    consumer = cast(BatchConsumer, app.consumer)
    tp = TP("t", 0)
    consumer._read_offset[tp] = 100
    assert isinstance(consumer._read_offset, _NeverRead)
    assert consumer._read_offset.__getitem__(tp) is None


def test_acks_are_off_so_that_no_gap_stalls_and_nothing_is_committed_by_faust(app: BatchApp) -> None:
    """With acks Faust commits what was handed to an agent, processed or not."""
    assert [agent.channel.acks for agent in app.agents.values()] == [False, False]
    assert "if self.app.topics.acks_enabled_for(message.topic)" in text(Consumer.ack)
    assert parameters(Consumer.commit) == parameters(BatchConsumer.commit)
    for caller in (Consumer._commit_handler, Consumer.on_task_error, Consumer.commit_and_end_transactions):
        assert "self.commit(" in text(getattr(caller, "fun", caller))


# The consumer that is made.


def test_the_consumers_settings_are_what_we_ask_for(app: BatchApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are attributes of aiokafka's consumer, read at its start: isolation, fetch sizes, the assignor."""
    made: list[dict[str, object]] = []

    class Bare:
        _isolation_level: str
        _fetch_max_wait_ms: int
        _partition_assignment_strategy: list[object]

        def __init__(self, **settings: object) -> None:
            made.append(settings)

    monkeypatch.setattr(driver.aiokafka, "AIOKafkaConsumer", Bare)
    thread = cast(BatchConsumer, app.consumer)._thread
    consumer = thread._create_worker_consumer(cast(driver.Transport, app.transport))
    assert (consumer._isolation_level, consumer._fetch_max_wait_ms) == ("read_committed", transport.CALM_MS)
    assert consumer._partition_assignment_strategy == [RoundRobinPartitionAssignor]
    [settings] = made
    assert settings["enable_auto_commit"] is False
    assert settings["auto_offset_reset"] == "none"
    assert settings["session_timeout_ms"] == 8_000
    assert settings["max_poll_records"] == 6_000
    assert settings["max_partition_fetch_bytes"] == 4 * 1024 * 1024
    assert settings["max_poll_interval_ms"] < 2**31  # type: ignore[operator]
    source = inspect.getsource(AIOKafkaConsumer)
    names = ("_isolation_level", "_fetch_max_wait_ms", "_fetch_max_bytes")
    for name in (*names, "_partition_assignment_strategy"):
        # Set in the constructor, used at the start: between the two is where we change them.
        assert f"self.{name} = " in source
        assert source.count(f"self.{name}") >= 2


class Fetching:
    """A consumer that has `assigned` two topics, and nothing more to hand out."""

    def __init__(self, sources: str) -> None:
        self.sources = [TopicPartition(sources, p) for p in range(2)]
        self.others = [TopicPartition("resolved", p) for p in range(2)]
        self.stopped: set[TopicPartition] = set()
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=0, _records={})

    def assignment(self) -> set[TopicPartition]:
        return {*self.sources, *self.others}

    def paused(self) -> set[TopicPartition]:
        return set(self.stopped)

    def pause(self, *tps: TopicPartition) -> None:
        self.stopped |= set(tps)

    def resume(self, *tps: TopicPartition) -> None:
        self.stopped -= set(tps)


def test_after_something_has_come_the_sources_gather_and_others_are_read_once(app: BatchApp) -> None:
    """The fetcher leaves out what is paused, and makes each request of this attribute."""
    source = inspect.getsource(Fetcher._get_actions_per_node)
    assert "self._fetch_max_wait_ms," in source
    assert "elif tp_state.paused:" in source

    async def main() -> None:
        thread = cast(BatchConsumer, app.consumer)._thread
        app.fetch = app.fetch._replace(linger_ms=50)
        made = Fetching(min(app.fetch.gathered))
        consumer, some = cast(AIOKafkaConsumer, made), [object()]
        thread._gather(consumer, {}, True)
        assert made._fetcher._fetch_max_wait_ms == transport.CALM_MS
        thread._gather(consumer, {made.others[0]: some})
        thread._gather(consumer, {made.sources[0]: some * transport.MUCH})  # a backlog
        assert made.stopped == set()
        assert made._fetcher._fetch_max_wait_ms == 50
        made._fetcher._records = {made.sources[1]: some}  # the next poll has more
        thread._gather(consumer, {made.sources[0]: some})
        assert made.stopped == set()
        made._fetcher._records = {}

        thread._gather(consumer, {made.sources[0]: some, made.others[0]: some})
        assert made.stopped == set(made.sources)
        assert 40 <= made._fetcher._fetch_max_wait_ms <= 50
        thread._gather(consumer, {made.others[1]: some})
        assert made.stopped == {*made.sources, made.others[1]}
        await asyncio.sleep(0.1)
        assert made.stopped == set()
        thread._gather(consumer, {})  # the poll ended early: nothing is known of silence
        assert made._fetcher._fetch_max_wait_ms == 50

    asyncio.run(main())


def test_without_tables_faust_would_round_robin_too_and_with_ours_it_does_anyway(app: BatchApp) -> None:
    """`table_standby_replicas=0` switches the assignor silently. We choose round robin: hops spread by themselves."""
    assert app.conf.table_standby_replicas == 0
    assert "RoundRobinPartitionAssignor" in text(driver.AIOKafkaConsumerThread._create_worker_consumer)


@pytest.mark.parametrize("workers", [2, 3, 4, 5, 8])
def test_the_assignor_spreads_each_hop_over_the_workers(workers: int) -> None:
    """Else one worker would have all of identity.resolved, and all profiles."""
    topics = {"events.clickstream": 4, "events.email": 4, "events.video": 4, "identity.resolved": 8}
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: set(range(topics[topic])))
    members = {f"w{i}": RoundRobinPartitionAssignor.metadata(topics) for i in range(workers)}
    plan = RoundRobinPartitionAssignor.assign(cluster, members)
    for topic, count in topics.items():
        shares = [len(dict(a.assignment).get(topic, [])) for a in plan.values()]
        assert sum(shares) == count
        assert max(shares) - min(shares) <= 1


# Rebalancing.


def test_fausts_order_around_a_rebalance() -> None:
    """revoked hook first; seek only after the assignment, before the flow resumes; within broker_request_timeout."""
    resume = text(Recovery._resume_streams)
    assert resume.index("consumer.perform_seek(), timeout=self.app.conf.broker_request_timeout") < resume.index(
        "consumer.resume_flow()"
    )
    assert "await self.seek_to_committed()" in text(Consumer.perform_seek)
    assert "await self.perform_seek()" in text(Consumer.getmany)  # why claims happen once an assignment
    for name in ("on_partitions_revoked", "on_partitions_assigned"):
        assert parameters(getattr(BatchConsumer, name)) == parameters(getattr(Consumer, name))
    assert "self.consumer.threadsafe_partitions_revoked(" in text(ConsumerThread.on_partitions_revoked)
    assert parameters(FaustFetcher._fetcher.fun) == ["self"]


def test_the_thread_runs_on_a_loop_of_our_kind_and_closes_it(app: BatchApp) -> None:
    """Faust makes asyncio's own, which takes longer for each turn; it closes only what it has made."""
    thread = cast(BatchConsumer, app.consumer)._thread
    assert type(thread.thread_loop) is type(thread.parent_loop)
    assert thread._close_thread_loop_on_stop
    assert "if self._close_thread_loop_on_stop: self.thread_loop.close()" in text(ServiceThread._start_thread)


def test_calls_into_the_thread_do_not_wait_for_a_long_poll() -> None:
    """Faust's queue has two workers: a poll holds one, a commit may hold another, and a seek would wait for both."""
    assert (
        parameters(QueueServiceThread.call_thread)
        == ["self", "fun", "args", "kwargs"]
        == parameters(BatchThread.call_thread)
    )
    assert "promise = await self.method_queue.call( self.parent_loop.create_future()," in text(
        QueueServiceThread.call_thread
    )
    assert "self.loop.call_soon_threadsafe(self._queue_put, method)" in text(MethodQueue.call)
    done = text(MethodQueue._process_enqueued)
    assert "promise, method, args, kwargs = p" in done
    assert "result = await maybe_async(method(*args, **kwargs))" in done
    for end in ("maybe_set_result, promise, result", "maybe_set_exception, promise, exc"):
        assert f"promise._loop.call_soon_threadsafe( {end} )" in done
    # When the thread ends, its queue is stopped before its consumer.
    assert parameters(driver.AIOKafkaConsumerThread.on_thread_stop) == ["self"]
    stop = text(driver.AIOKafkaConsumerThread.on_thread_stop)
    assert stop.index("await super().on_thread_stop()") < stop.index("await self._consumer.stop()")
    assert "await self.on_thread_stop()" in text(ServiceThread._shutdown_thread)


def test_messages_are_handed_on_without_a_race_where_there_is_none() -> None:
    """What Faust waits for when it hands one on; none of it takes time unless the flow is suspended."""
    drain = text(Consumer._drain_messages)
    assert "await self.wait_first( callback(message), self.suspend_flow.wait() )" in drain
    assert "await self.sleep(0) if not self.should_stop:" in drain
    assert "if self._suspend.is_set(): await self._resume.wait()" in text(FlowControlEvent.acquire)
    assert "return not self._suspend.is_set()" in text(FlowControlEvent.is_active)

    async def main() -> None:
        worker = unstarted(Toy(Store()))
        consumer, app = worker.consumer, worker.app
        handed: list[int] = []

        async def hand(n: int) -> int:
            handed.append(n)
            return n

        app.flow_control.resume()
        first = hand(1)
        assert await consumer.wait_first(first, consumer.suspend_flow.wait()) == ([first], [1], False)
        stuck = asyncio.Event()  # a rebalance ends the waiting
        consumer.suspend_flow.set()
        rebalance = consumer.suspend_flow.wait()
        assert await consumer.wait_first(stuck.wait(), rebalance) == ([rebalance], [True], False)
        assert handed == [1]
        close(worker)

    asyncio.run(main())


def test_commit_offsets_need_aiokafkas_own_partition_type() -> None:
    """A Faust TP is refused; the two are equal otherwise, which is what every dict here relies on."""
    ours, theirs = TP("t", 1), TopicPartition("t", 1)
    assert ours == theirs
    assert hash(ours) == hash(theirs)
    assert type(driver.ensure_aiokafka_TP(ours)) is TopicPartition
    assert OffsetAndMetadata(1, "").offset == 1


# On a real broker.


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_compression_decodes(kafka: KafkaServer, prefix: str, codec: str) -> None:
    """aiokafka alone knows gzip only: one batch of another kind and the worker dies. cramjam brings the rest."""

    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "compression.type": codec, "linger.ms": 50})
        for i in range(1_000):
            producer.produce(source(topo)[0].topic, b"compress me " * 20 + b"%d" % i, partition=0)
        assert producer.flush(10) == 0
        async with running(topo, Toy(store)):
            await until(lambda: len(store.values(source(topo)[0])) == 1_000, f"1,000 records of {codec}")
        assert store.wrong == []

    asyncio.run(main())


def test_positions_and_ends_are_read_from_where_they_are(kafka: KafkaServer, prefix: str) -> None:
    """`state_value().position` is where the next fetch starts; `end_offsets` asks the broker."""

    async def main() -> None:
        topo = topology(kafka.bootstrap, prefix)
        await prepare(topo)
        async with running(topo, Toy(Store())) as worker:
            await until(lambda: len(worker.lanes) == 8, "the claim")
            tp = source(topo)[0]
            reading = (await worker.consumer._thread.call_thread(worker.consumer._thread.read, [tp]))[tp]
            assert (reading.position, reading.handed) == (0, None)
            assert reading.epoch == worker.lanes[tp].epoch
            assert await worker.control.end_offsets([tp]) == {tp: 0}
            assert await worker.control.earliest_offsets([tp]) == {tp: 0}
            assert await worker.control.committed_offsets([tp]) in ({tp: None}, {tp: 0})

    asyncio.run(main())


def test_who_writes_of_a_partition_is_the_groups_word(kafka: KafkaServer, prefix: str) -> None:
    """Only its member of this generation may say it, and what is told for lag tools leaves it as it is."""

    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        async with running(topo, Toy(store)) as worker:
            await until(lambda: len(worker.lanes) == 8, "the claim")
            tp, other = source(topo)[:2]
            control, thread = worker.control, worker.consumer._thread
            assert await control.signed(tp) == (0, "")
            await control.sign(tp, 0, "me")
            assert await control.signed(tp) == (0, "me")
            assert await control.signed(other) == (0, "")
            assert await worker.consumer.tell({tp: 7, other: 3})
            assert await control.signed(tp) == (7, "me")

            consumer = thread._ensure_consumer()
            coordinator, subscription = consumer._coordinator, consumer._subscription
            generation, coordinator.generation = coordinator.generation, -1  # who has none is believed by empty groups
            with pytest.raises(Fenced, match="rebalanced"):
                await control.sign(tp, 7, "another")
            coordinator.generation = generation
            subscription.begin_reassignment()
            with pytest.raises(Fenced, match="rebalanced"):
                await control.sign(tp, 7, "another")
            assert not await worker.consumer.tell({tp: 8})
            subscription.subscription._reassignment_in_progress = False
            coordinator.generation = generation - 1
            with pytest.raises(IllegalGenerationError):
                await control.sign(tp, 7, "another")
            assert await control.signed(tp) == (7, "me")

    asyncio.run(main())
