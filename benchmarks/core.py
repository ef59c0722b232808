"""The whole way of an event without Kafka, in one process: where does the worker's time go?

    python -m benchmarks.core                      CPU µs an event by stage, in-memory stores
    python -m benchmarks.core --redis              the same with a Redis of its own, its CPU and memory too
    python -m benchmarks.core --shared 5           5 % of the people share a device with another one
    python -m benchmarks.core --redis --plain      what is kept of people of whom little is told
    python -m benchmarks.core --profile hop2       cProfile of one hop (decode, hop1, hop2)

What it leaves out is the transport: fetching, producing, Faust, the event loop's waits.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from benchmarks.generate import PARTITIONS, Workload, partition_of, stream
from benchmarks.meter import cpu_seconds, data_bytes
from benchmarks.shipped import TOPOLOGY, with_all_rules
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.registry import connect
from pipeline.flow import Intake
from pipeline.profile.fields import handed_fields, wanted_fields
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.ports import In, Out
from pipeline.runtime.second_hop import ProfilePartition, decode_meta
from pipeline.runtime.watermark import decide_before
from pipeline.store.memory import MemoryGraphStore, MemoryProfileStore
from pipeline.topology import load
from pipeline.topology.model import Topology
from pipeline.triggers.decisions import Decision, public
from pipeline.triggers.rules import RuleBook

NOW = 1_900_000_000_000


class Collected:
    """A sender that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Out] = []

    async def send(self, messages: list[Out]) -> None:
        """Keep them."""
        self.sent += messages


class Stages:
    """CPU seconds by stage; `name` while measuring nests badly, so don't nest."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what this process spends inside."""
        start = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start


def records(workload: Workload, topic: str) -> tuple[Any, list[list[Any]]]:
    """(registry, records a source partition)."""
    registry = connect("mock://bench")
    encoder = Encoder(registry)
    out: list[list[In]] = [[] for _ in range(PARTITIONS)]
    for event in stream(workload):
        key = event.identifiers["anonymous_id"]
        partition = out[partition_of(key)]
        partition.append(In(len(partition), NOW, key.encode(), encoder.encode(topic, event), ()))
    return registry, [parsed(log) for log in out]


def parsed(log: list[In]) -> list[Any]:
    """As aiokafka parses them, and the transport hands them on: the hops meet no others in earnest."""
    found: list[Any] = []
    for start in range(0, len(log), 1_000):
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 24)
        for each in log[start : start + 1_000]:
            builder.append(each.offset, each.timestamp, each.key, each.value, list(each.headers))
        found += MemoryRecords(bytes(builder.build())).next_batch()  # type: ignore[operator]
    return found


def topology_with(rules: str) -> Topology:
    """The three rules; `all`: with all that is shipped switched on; a number: with so many more, of which an
    event concerns one at most.
    """
    if rules == "three":
        return load(TOPOLOGY, {})
    with TemporaryDirectory() as name:
        folder = Path(name)
        text = TOPOLOGY.read_text(encoding="utf-8")
        if rules == "all":
            text = with_all_rules(text, folder)
        else:
            told = yaml.safe_load(text)
            for number in range(int(rules)):
                counted = {"did": "product_viewed", "where": {"product_id": f"p{number}"}, "times": 2, "within": "1h"}
                told["triggers"][f"rule_{number}"] = {"version": 1, "start": {"when": counted}, "after": "1h"}
            text = yaml.safe_dump(told, sort_keys=False)
        path = folder / "topology.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, {})


async def run(
    workload: Workload,
    batch: int,
    redis_url: str | None,
    profiler: cProfile.Profile | None,
    of: str,
    read_redis: Any,
    rules: str = "three",
) -> dict[str, Any]:
    """Process everything; returns numbers to print."""
    topology = topology_with(rules)
    topic = topology.topics.sources[0].name
    registry, logs = records(workload, topic)
    average = sum(len(r.value or b"") for log in logs for r in log) / workload.total
    book = RuleBook(topology)
    decoder, encoder = Decoder(registry, wanted=wanted_fields(book), handed=handed_fields(book)), Encoder(registry)
    for log in logs:
        for record in log[:3000]:
            decoder.decode(record.value)  # readers are compiled once
    resolved = topology.topics.resolved
    client = None
    graph: Any
    store: Any
    if redis_url:
        from redis.asyncio import Redis

        from pipeline.store.redis_store import RedisGraphStore, RedisProfileStore

        client = Redis.from_url(redis_url)
        graph = RedisGraphStore(client, topology.group, topology.identifiers)
        store = RedisProfileStore(client, topology.group, resolved.partitions)
    else:
        graph, store = MemoryGraphStore(topology.identifiers), MemoryProfileStore()
    decided: list[Decision] = []

    delivery = Delivery(topology, encoder)
    delivery.prepare()

    def encode_decision(decision: Decision) -> list[Out]:
        decided.append(decision)
        return delivery.encode(decision)

    middle, final = Collected(), Collected()
    intake = Intake(topology, book)
    hop1 = [
        SourcePartition(topology, intake, graph, middle, decoder.decode, topic, p, decoder.takers)
        for p in range(PARTITIONS)
    ]
    hop2 = [ProfilePartition(topology, book, store, final, encode_decision, p) for p in range(resolved.partitions)]
    for source in hop1:
        await source.claim()
    for owner in hop2:
        await owner.claim()
    sources = [source.name for source in hop1]
    inbox: list[list[In]] = [[] for _ in hop2]
    offsets = [0] * len(hop2)
    stages, places = Stages(), [0] * PARTITIONS
    watch = profiler if profiler is not None else None
    middle_bytes = 0
    gc.collect()
    gc.freeze()
    redis_before = read_redis()
    wall = time.perf_counter()
    marks: list[tuple[int, float]] = []
    closing: dict[str, float] = {}
    closing_redis = 0.0
    while any(places[p] < len(logs[p]) for p in range(PARTITIONS)):
        last = all(places[p] + batch >= len(logs[p]) for p in range(PARTITIONS))
        for p, source in enumerate(hop1):
            part = logs[p][places[p] : places[p] + batch]
            places[p] += len(part)
            with stages.stage("decode alone (also in hop 1)"), _on(watch, of == "decode"):
                for record in part:
                    decoder.decode(record.value)
            with stages.stage("hop 1"), _on(watch, of == "hop1"):
                await source.process(part)
        for out in middle.sent:
            assert out.partition is not None
            middle_bytes += len(out.value or b"")
            inbox[out.partition].append(In(offsets[out.partition], NOW, None, out.value, out.headers))
            offsets[out.partition] += 1
        middle.sent.clear()
        for p, owner in enumerate(hop2):
            with stages.stage("hop 2, taking in"), _on(watch, of == "hop2"):
                await owner.process(inbox[p])
            inbox[p].clear()
            await _forwarded(final, inbox, offsets, resolved.name)
        for p, owner in enumerate(hop2):  # moves and forwards
            with stages.stage("hop 2, moves"), _on(watch, of == "hop2"):
                if inbox[p]:
                    await owner.process(inbox[p])
                inbox[p].clear()
            await _forwarded(final, inbox, offsets, resolved.name)
        if last:
            closing, closing_redis = dict(stages.seconds), read_redis()[0]
        with stages.stage("hop 2, deciding"), _on(watch, of == "hop2"):
            first = [decode_meta(raw) if raw else None for raw in await store.metas(len(hop2))]
            second = [decode_meta(raw) if raw else None for raw in await store.metas(len(hop2))]
            clock, _ = decide_before(first, second, sources)
            for owner in hop2:
                await owner.advance(clock)
        await _forwarded(final, inbox, offsets, resolved.name)
        marks.append((sum(places), time.perf_counter() - wall))
    seconds = dict(stages.seconds)
    for owner in hop2:
        await owner.tidy()  # what is published leaves the outbox
    redis_after = read_redis()
    if client is not None:
        await client.aclose()
    return {
        "seconds": closing, "all": seconds, "wall": marks[-2][1] if len(marks) > 1 else marks[-1][1],
        "average": average, "middle": middle_bytes / workload.total, "decided": decided,
        "redis_cpu": closing_redis - redis_before[0], "redis_cpu_all": redis_after[0] - redis_before[0],
        "redis_bytes": redis_after[1] - redis_before[1],
    }  # fmt: skip


async def _forwarded(final: Collected, inbox: list[list[In]], offsets: list[int], resolved: str) -> None:
    for out in final.sent:
        if out.topic == resolved:
            assert out.partition is not None
            inbox[out.partition].append(In(offsets[out.partition], NOW, None, out.value, out.headers))
            offsets[out.partition] += 1
    final.sent.clear()


def _on(profiler: cProfile.Profile | None, wanted: bool) -> Any:
    return profiler if profiler is not None and wanted else nullcontext()


def redis_reader(pid: int, url: str) -> Callable[[], tuple[float, int]]:
    """A function that says (CPU seconds of the server so far, bytes of its data)."""
    import redis

    client = redis.Redis.from_url(url)
    return lambda: (cpu_seconds(pid), data_bytes(client))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.core", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--identities", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=3_000, help="records a batch of one source partition")
    parser.add_argument("--redis", action="store_true", help="a real Redis instead of memory")
    parser.add_argument("--check", action="store_true", help="compare the decisions with those of replay")
    parser.add_argument("--shared", type=int, default=0, help="of a hundred people so many share a device with another")
    parser.add_argument("--plain", action="store_true", help="no locales, names of products, ids of orders")
    parser.add_argument("--rules", default="three", help="`all` that is shipped, or a number: so many more")
    parser.add_argument("--gc", default="200000,20,100", help="gc.set_threshold; unless said, the worker's; 0: off")
    parser.add_argument("--profile", choices=["decode", "hop1", "hop2"])
    options = parser.parse_args(arguments)
    gc.set_threshold(*map(int, options.gc.split(",")))
    workload = Workload(options.events, options.identities, shared=options.shared, plain=options.plain)
    profiler = cProfile.Profile() if options.profile else None
    server: Any = nullcontext()
    if options.redis:
        from tests.servers import RedisServer

        server = RedisServer(cpus="0")
    with server as redis:
        url = redis.url if redis else None
        read = redis_reader(redis.pid, url) if redis else lambda: (0.0, 0)
        found = asyncio.run(run(workload, options.batch, url, profiler, options.profile or "", read, options.rules))
    n = workload.total
    print(f"{n:,} events of {workload.identities:,} identities, {found['average']:.0f} bytes each;"
          f" identity.resolved {found['middle']:.0f} bytes an event; {len(found['decided']):,} decisions")  # fmt: skip
    print(f"{'stage':32} {'µs an event':>12} {'with closing':>13}")
    total = closing = 0.0
    for name, seconds in found["all"].items():
        steady = found["seconds"].get(name, 0.0)
        print(f"{name:32} {steady / n * 1e6:12.2f} {seconds / n * 1e6:13.2f}")
        if "also" not in name:
            total, closing = total + steady, closing + seconds
    print(f"{'worker, without transport':32} {total / n * 1e6:12.2f} {closing / n * 1e6:13.2f}")
    if options.redis:
        print(f"{'Redis':32} {found['redis_cpu'] / n * 1e6:12.2f} {found['redis_cpu_all'] / n * 1e6:13.2f}")
        print(f"{found['redis_bytes'] / workload.identities:,.0f} bytes of Redis an identity (after closing)")
    if options.check:
        from benchmarks.generate import decisions

        wanted = {_essence(d) for d in decisions(workload, load(TOPOLOGY, {}))}
        got = [_essence(d) for d in found["decided"]]
        print(f"against replay: missing {len(wanted - set(got))}, false {len(set(got) - wanted)},"
              f" doubled {len(got) - len(set(got))}")  # fmt: skip
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(35)


def _essence(decision: Decision) -> str:
    line = public(decision)
    del line["profile_id"]
    return repr(line)


if __name__ == "__main__":
    main()
