"""The worker on a real Kafka: every record exactly once and in order, whatever happens around it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest
from confluent_kafka import Producer
from faust.types import TP

from pipeline.runtime.app import EXIT_FATAL, EXIT_KAFKA, Worker
from pipeline.runtime.broker import Broker, all_topics
from pipeline.runtime.embedded import EmbeddedKafka
from pipeline.runtime.ports import In, Out
from pipeline.runtime.producers import Producers
from tests.contract.toy import Store, Toy, prepare, produce, running, source, topology, until
from tests.servers import KafkaServer, free_port


def whole(store: Store, tps: list[TP], each: int) -> None:
    assert store.wrong == []
    assert {tp: store.values(tp) for tp in tps} == {tp: list(range(each)) for tp in tps}


def test_every_record_comes_once_and_in_order_across_a_restart(kafka: KafkaServer, prefix: str) -> None:
    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        await produce(topo, 4_000)
        await produce(topo, 400, topic=topo.topics.resolved.name)
        async with running(topo, Toy(store)):
            await until(lambda: store.total(source(topo)[0].topic) == 4_000, "4,000 records")
        await produce(topo, 4_000, start=4_000)
        async with running(topo, Toy(store)):
            await until(lambda: store.total(source(topo)[0].topic) == 8_000, "8,000 records")
            await until(lambda: store.total(topo.topics.resolved.name) == 400, "400 of the second hop")
        whole(store, source(topo), 2_000)

    asyncio.run(main())


@pytest.mark.parametrize("shift", [-300, 300])
def test_positions_are_the_hooks_and_not_kafkas(kafka: KafkaServer, prefix: str, shift: int) -> None:
    """Kafka's committed offset stands at 500; Redis fell back behind it, or Kafka's group fell back behind Redis."""

    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        await produce(topo, 2_000)
        async with running(topo, Toy(store)) as worker:
            await until(lambda: store.total(source(topo)[0].topic) == 2_000, "2,000 records")
        async with running(topo, Toy(store)) as worker:
            await until(lambda: worker.ready, "ready")
            assert set((await worker.control.committed_offsets(source(topo))).values()) == {500}
        await produce(topo, 2_000, start=2_000)
        store.seen.clear()
        start = 500 + shift
        store.positions = dict.fromkeys(source(topo), start)
        async with running(topo, Toy(store)):
            await until(lambda: store.total(source(topo)[0].topic) == 4 * (1_000 - start), "the rest")
        assert store.wrong == []
        assert {tuple(store.values(tp)) for tp in source(topo)} == {tuple(range(start, 1_000))}

    asyncio.run(main())


def test_a_second_worker_takes_over_and_gives_back(kafka: KafkaServer, prefix: str) -> None:
    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        first, second = Toy(store, delay_s=0.05), Toy(store, delay_s=0.05)
        done = asyncio.Event()

        async def feed() -> int:
            number = 0
            while not done.is_set():
                await produce(topo, 400, start=number)
                number += 400
                await asyncio.sleep(0.05)
            return number

        feeding = asyncio.create_task(feed())
        async with running(topo, first) as one:
            await until(lambda: store.total(source(topo)[0].topic) > 800, "the first to work")
            async with running(topo, second) as two:
                await until(lambda: len(two.lanes) == 4 and len(one.lanes) == 4, "four partitions each")
                # Both hops' partitions are spread, not one topic a worker.
                for worker in (one, two):
                    topics = {tp.topic for tp in worker.lanes}
                    assert topics == {source(topo)[0].topic, topo.topics.resolved.name}
                before = store.total(source(topo)[0].topic)
                await until(lambda: store.total(source(topo)[0].topic) > before + 1_600, "both to work")
            await until(lambda: len(one.lanes) == 8, "the first to have them all again")
            done.set()
            total = await feeding
            await until(lambda: store.total(source(topo)[0].topic) == total, "the rest")
        whole(store, source(topo), total // 4)

    asyncio.run(main())


def test_a_worker_without_partitions_stands_by_and_is_ready(kafka: KafkaServer, prefix: str) -> None:
    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        one = [msgspec.structs.replace(t, partitions=1) for t in (topo.topics.sources[0], topo.topics.resolved)]
        topics = msgspec.structs.replace(topo.topics, sources=(one[0],), resolved=one[1])
        topo = msgspec.structs.replace(topo, topics=topics)
        await prepare(topo)
        async with AsyncExitStack() as stack:
            workers = [await stack.enter_async_context(running(topo, Toy(store))) for _ in range(3)]
            await until(lambda: all(worker.ready for worker in workers), "all three to be ready")
            await until(lambda: sorted(len(worker.lanes) for worker in workers) == [0, 1, 1], "one to stand by")

    asyncio.run(main())


def test_a_broker_restart_loses_nothing(prefix: str) -> None:
    async def main() -> None:
        with KafkaServer() as server:
            topo, store = topology(server.bootstrap, prefix), Store()
            await prepare(topo)
            await produce(topo, 2_000)
            async with running(topo, Toy(store)):
                await until(lambda: store.total(source(topo)[0].topic) == 2_000, "2,000 records")
                await asyncio.to_thread(server.restart)
                await produce(topo, 2_000, start=2_000)
                await until(lambda: store.total(source(topo)[0].topic) == 4_000, "4,000 records after the restart")
            whole(store, source(topo), 1_000)

    asyncio.run(main())


def test_seeking_back_in_the_middle_redelivers_exactly_the_rest(kafka: KafkaServer, prefix: str) -> None:
    """What was fetched or queued for the old position never arrives, although the lanes were full of it."""

    class Rewinding(Toy):
        rewinds = 0

        def keep(self, tp: TP, records: list[In]) -> None:
            if self.rewinding != tp:
                super().keep(tp, records)

        rewinding: TP | None = None

        async def resolve_identity(self, tp: TP, records: list[In]) -> None:
            if tp.partition == 1 and self.rewinds < 10 and records[0].offset >= 100 * (self.rewinds + 1):
                # A rejected commit: this batch is abandoned and the position falls back.
                self.rewinds += 1
                back = self.store.positions[tp] = max(0, self.store.positions[tp] - 250)
                self.store.seen[tp] = self.store.seen[tp][:back]
                assert self.control is not None
                await self.control.seek(tp, back)
                return
            await super().resolve_identity(tp, records)

    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        await produce(topo, 12_000)
        toy = Rewinding(store, delay_s=0.003)
        async with running(topo, toy, max_batch=50):
            await until(lambda: store.total(source(topo)[0].topic) == 12_000, "12,000 records")
        assert toy.rewinds == 10
        whole(store, source(topo), 3_000)

    asyncio.run(main())


def test_partitions_go_side_by_side_and_batches_grow_while_one_waits(kafka: KafkaServer, prefix: str) -> None:
    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        toy = Toy(store, delay_s=0.6)
        async with running(topo, toy):
            await until(lambda: toy.claims, "the claim")
            await asyncio.gather(*(produce(topo, 400, start=start) for start in range(0, 4_000, 400)))
            await until(lambda: store.total(source(topo)[0].topic) == 4_000, "4,000 records")
            assert toy.ticks > 3
        assert toy.most_busy == 4
        assert max(toy.batches) > 100  # several fetches of 100 in one batch
        assert toy.stopped == 1
        whole(store, source(topo), 1_000)

    asyncio.run(main())


def test_a_paused_partition_gets_nothing_and_the_others_go_on(kafka: KafkaServer, prefix: str) -> None:
    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        paused, *others = source(topo)
        async with running(topo, Toy(store), stall_s=2.0) as worker:
            await until(lambda: worker.ready and len(worker.lanes) == 8, "the claim")
            worker.control.pause(paused, "registry down")
            resolved = topo.topics.resolved.name
            await produce(topo, 4, topic=resolved)  # ends the poll that was under way for all
            await until(lambda: store.total(resolved) == 4, "the poll under way")
            await produce(topo, 400)
            await until(lambda: all(len(store.values(tp)) == 100 for tp in others), "the others")
            await asyncio.sleep(3)  # longer than the watchdog's patience
            assert store.values(paused) == []
            assert worker.control.states()[paused].held == "registry down"
            worker.control.resume(paused)
            await until(lambda: len(store.values(paused)) == 100, "the paused one")
        whole(store, source(topo), 100)

    asyncio.run(main())


def test_read_to_end_is_true_only_when_all_is_processed_and_markers_count_as_read(
    kafka: KafkaServer, prefix: str
) -> None:
    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        tps = source(topo)
        producers = Producers(kafka.bootstrap, prefix)
        sender = producers.named("any-0")
        await sender.start()
        async with running(topo, Toy(store, delay_s=1.0)) as worker:
            await until(lambda: len(worker.lanes) == 8, "the claim")
            for tp in tps:
                assert await worker.control.read_to_end([tp]) == {tp}  # empty is read to its end
            await sender.send([Out(tps[0].topic, 0, None, b"x", [])])
            await until(lambda: worker.control.states()[tps[0]].busy_s > 0, "the batch in hand")
            assert tps[0] not in await worker.control.read_to_end(tps)
            await until(lambda: store.values(tps[0]) == [0], "the record")
            # Offset 1 is the transaction's marker: the end is 2.
            assert (await worker.control.end_offsets([tps[0]]))[tps[0]] == 2
            ended: set[TP] = set()
            async with asyncio.timeout(10):
                while tps[0] not in ended:
                    ended = await worker.control.read_to_end(tps)
            await sender.close()
            other = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": f"{prefix}-open"})
            other.init_transactions(30)
            other.begin_transaction()
            other.produce(tps[0].topic, b"not committed", partition=0)
            assert other.flush(30) == 0
            assert tps[0] in await worker.control.read_to_end(tps)  # of what is committed
            written = await Broker(kafka.bootstrap).written_offsets((tp.topic, tp.partition) for tp in tps)
            ends = {TP(*place): end for place, end in written.items()}
            assert await worker.control.read_to_end(tps, ends) == {*tps[1:]}
            other.abort_transaction(30)
            async with asyncio.timeout(10):
                while await worker.control.read_to_end(tps, ends) != {*tps}:
                    pass
        producers.close()

    asyncio.run(main())


def test_an_exception_in_a_hook_ends_the_worker_and_commits_nothing_after_it(kafka: KafkaServer, prefix: str) -> None:
    class Failing(Toy):
        def keep(self, tp: TP, records: list[In]) -> None:
            if tp.partition == 2:
                raise ZeroDivisionError("a bug")
            super().keep(tp, records)

    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        await produce(topo, 400)
        problems: list[BaseException] = []
        toy = Failing(store)
        code = await Worker(topo, toy, on_fatal=problems.append).run(signals=False)
        assert code == EXIT_FATAL
        assert [str(problem) for problem in problems] == ["a bug"]
        assert store.values(source(topo)[2]) == []
        assert toy.stopped == 1

    asyncio.run(main())


def test_a_claim_that_fails_ends_the_worker(kafka: KafkaServer, prefix: str) -> None:
    class Lost(Toy):
        async def claim(self, tps: set[TP]) -> dict[TP, int]:
            raise LookupError("state lost")

    async def main() -> None:
        topo = topology(kafka.bootstrap, prefix)
        await prepare(topo)
        problems: list[BaseException] = []
        assert await Worker(topo, Lost(Store()), on_fatal=problems.append).run(signals=False) == EXIT_FATAL
        assert [str(problem) for problem in problems] == ["state lost"]

    asyncio.run(main())


def test_the_watchdog_ends_a_worker_whose_partition_stands_still(kafka: KafkaServer, prefix: str) -> None:
    async def main() -> None:
        topo = topology(kafka.bootstrap, prefix)
        await prepare(topo)
        await produce(topo, 4)
        problems: list[BaseException] = []
        worker = Worker(topo, Toy(Store(), delay_s=3_600), stall_s=1.0, on_fatal=problems.append)
        assert await worker.run(signals=False) == EXIT_FATAL
        assert "has stood at offset 0" in str(problems[0])

    asyncio.run(main())


def test_an_offset_that_the_broker_no_longer_has_is_told_and_not_jumped_over(kafka: KafkaServer, prefix: str) -> None:
    """aiokafka would reset to the earliest or latest record by itself, and skip or repeat in silence."""

    async def main() -> None:
        topo, store = topology(kafka.bootstrap, prefix), Store()
        await prepare(topo)
        await produce(topo, 4)
        store.positions = dict.fromkeys(source(topo), 1000)
        toy = Toy(store)
        async with running(topo, toy):
            await until(lambda: toy.astray == set(source(topo)), "all to be told")
        assert store.seen == {}

    asyncio.run(main())


def test_no_kafka_is_an_exit_code_and_not_a_hang(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        topo = topology(f"127.0.0.1:{free_port()}", "none.")
        assert await Worker(topo, Toy(Store()), kafka_wait_s=1.0).run(signals=False) == EXIT_KAFKA
        assert f"Kafka at {topo.kafka} doesn't answer" in caplog.text
        assert "PIPELINE_KAFKA" in caplog.text

    asyncio.run(main())


def test_missing_topics_are_named_at_the_start(
    kafka: KafkaServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    topo = topology(kafka.bootstrap, prefix)
    assert asyncio.run(Worker(topo, Toy(Store())).run(signals=False)) == EXIT_KAFKA
    assert f"{topo.topics.resolved.name}: not on the broker; create it with `pipeline topics --create`" in caplog.text


def test_topics_are_created_compared_and_never_changed(kafka: KafkaServer, prefix: str) -> None:
    async def main() -> None:
        topo = topology(kafka.bootstrap, prefix)
        broker = Broker(kafka.bootstrap)
        topic = topo.topics.sources[0]
        assert [finding.what for finding in await broker.check([topic])] == ["missing"]
        assert await broker.create([topic]) == [topic.name]
        assert await broker.create([topic]) == []
        assert await broker.check([topic]) == []
        other = msgspec.structs.replace(topic, partitions=8, retention_ms=None, cleanup="compact")
        findings = await broker.check([other])
        assert [(f.what, f.expected, f.found) for f in findings] == [
            ("partitions", "8", "4"),
            ("retention.ms", "-1", "604800000"),
            ("cleanup.policy", "compact", "delete"),
        ]
        assert [f.fatal for f in findings] == [True, False, False]
        assert await broker.create([other]) == []
        assert await broker.check([topic]) == []
        await produce(topo, 8)
        assert await broker.end_offsets([(topic.name, 0)]) == {(topic.name, 0): 2}
        assert await broker.earliest_offsets([(topic.name, 0)]) == {(topic.name, 0): 0}

    asyncio.run(main())


def test_it_works_on_the_embedded_broker(prefix: str) -> None:
    async def main() -> None:
        with EmbeddedKafka() as embedded:
            topo, store = topology(embedded.bootstrap, prefix), Store()
            embedded.create_topics(topic.name for topic in all_topics(topo.topics))
            await produce(topo, 400)
            async with running(topo, Toy(store), transactions=False):
                await until(lambda: store.total(source(topo)[0].topic) == 400, "400 records")
            whole(store, source(topo), 100)

    asyncio.run(main())
