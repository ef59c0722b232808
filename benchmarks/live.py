"""What an event costs, and how long it takes, while events come as people make them: not in a backlog.

    python -m benchmarks --live                                 ours at 0, 100, 1,500 and 5,000 a second, and the peers
    python -m benchmarks --live --live-only ours --rates 1500 --seconds 30

Poisson arrivals of the benchmark's mix of types, into one topic of sixteen partitions; sixteen is what the shipped
topology reads. The worker has core 1 for itself; Redis, the broker and this process share core 0. A rate is measured
after it has been driven for a while; a JVM gets half a million events before. What is told of each:

    worker, redis, broker    CPU µs an event; of none a second, the worker's share of a core
    counted                  from handing an event to Kafka's client to its being counted in the stored profile
    resolved                 the same, to its being readable on `identity.resolved`
    trigger                  from due + lateness + disorder (peers: due + their disorder) to its being readable
    at_once                  from handing an order over to its trigger's being readable

`ours_calm` is ours with `batches: linger` as long as keeps p99 within half a second; `ours_at_once` has one rule more,
which is told of every order on arrival.

Ours says how far each partition of `identity.resolved` is, not each profile: an event counts where all of them are past
it. Peers count events done: the n-th handed is counted at the n-th, before anything is committed.
"""

from __future__ import annotations

import io
import json
import os
import random
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks.contestants import OUT, Bytewax, Contestant, KStreams, Ours, Peer, Servers, servers
from benchmarks.generate import Workload, register, stream
from benchmarks.meter import Meter
from pipeline.events import schemas
from pipeline.events.codec import Encoder
from pipeline.events.registry import connect
from pipeline.runtime.second_hop import decode_meta
from pipeline.wire.records import Resolved, Seal

RATES = (0, 100, 1500, 5000)
PEER_RATES = (1500, 5000)
SOURCES = 16
WAIT_S = 20  # of every rule, so that triggers come while we watch
LATENESS_S, DISORDER_S = 2, 2
PEER_DISORDER_MS = 5_000
LOOK_S = 0.02
WARM_S = 10.0
TRIGGER = schemas.plain("trigger")
AT_ONCE = "told_at_once"
RULE = f"  {AT_ONCE}: {{version: 1, start: {{event: order_completed}}, decide: on_arrival}}"
OURS: dict[str, dict[str, str]] = {  # changes of the topology's text
    "ours": {},
    "ours_calm": {"group: bench\n": "group: bench\nbatches: {linger: 400ms}\n"},
    "ours_at_once": {"\ntriggers:\n": f"\ntriggers:\n{RULE}\n"},
}
NAMES = (*OURS, "kstreams_eos", "kstreams", "bytewax")


class Handed:
    """When each event was handed to the client (monotonic seconds), by partition and offset, and in order."""

    def __init__(self) -> None:
        self.times: list[list[float]] = [[] for _ in range(SOURCES)]
        self.order: list[float] = []
        self.occurred: dict[str, int] = {}


class Live(Ours):
    """Ours, on a topic of sixteen partitions, with short waits."""

    def __init__(self, servers: Servers, topic: str, changes: dict[str, str]) -> None:
        changes = {
            **changes,
            "bench.events: {partitions: 4": f"bench.events: {{partitions: {SOURCES}",
            "lateness: 5m": f"lateness: {LATENESS_S}s",
            "disorder: 10s": f"disorder: {DISORDER_S}s",
            "idle: {after: 1d, every: 1d}": "idle: {after: 5s, every: 1s}",
            **{f"after: {wait}\n": f"after: {WAIT_S}s\n" for wait in ("1h", "3d", "24h")},
        }
        super().__init__(servers, topic, 0, changes)

    def reached(self) -> list[int] | None:
        """Of each source partition, the offset up to which every partition of the second hop has stored it."""
        pipe = self.servers.client.pipeline(transaction=False)
        for key in self._metas:
            pipe.hget(key, "meta")
        raw = pipe.execute()
        if None in raw:
            return None
        metas = [decode_meta(each) for each in raw]
        return [min(meta.seen.get(f"{self.topic}-{p}", 0) for meta in metas) for p in range(SOURCES)]


class Exactly(KStreams):
    """Kafka Streams with `exactly_once_v2`."""

    name = "kstreams_eos"
    env = {"GUARANTEE": "exactly_once_v2"}  # noqa: RUF012


PEERS: dict[str, type[Peer]] = {"kstreams_eos": Exactly, "kstreams": KStreams, "bytewax": Bytewax}


class Load(threading.Thread):
    """Hands events over at a rate, until it is stopped. `total` of them at once, with `rate` 0."""

    def __init__(
        self, servers: Servers, topic: str, handed: Handed, events: Iterator[Any], rate: float, total: int = 0
    ):
        super().__init__(daemon=True)
        self._topic, self._handed, self._events, self._rate, self._total = topic, handed, events, rate, total
        self._encoder = Encoder(connect(servers.registry.url))
        self._producer = Producer(
            {"bootstrap.servers": servers.kafka.bootstrap, "linger.ms": 5 if rate else 50, "acks": "all",
             "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000}
        )  # fmt: skip
        self._over = threading.Event()
        self.behind = 0.0
        self.problem: BaseException | None = None

    def stop(self) -> None:
        """Hand no more over; returns when Kafka has them all. Raises what went wrong."""
        self._over.set()
        self.join()
        if self.problem is not None:
            raise self.problem

    def run(self) -> None:
        try:
            self._run()
        except BaseException as problem:
            self.problem = problem

    def _run(self) -> None:
        rand = random.Random(3)
        at = time.monotonic()
        sent = 0
        while not self._over.is_set() and (self._rate or sent < self._total):
            if self._rate:
                at += rand.expovariate(self._rate)
                pause = at - time.monotonic()
                if pause > 0.001:
                    self._producer.poll(0)
                    time.sleep(pause)
                self.behind = max(self.behind, -pause)
            self._hand(next(self._events))
            sent += 1
            if sent % 1000 == 0:
                self._producer.poll(0)
        if self._producer.flush(60):
            raise RuntimeError("not everything reached Kafka")

    def _hand(self, event: Any) -> None:
        now, handed = time.monotonic(), self._handed
        event.occurred_at = event.received_at = round(time.time() * 1000)
        handed.occurred[event.event_id] = event.occurred_at
        key = event.identifiers["anonymous_id"]
        partition = zlib.crc32(key.encode()) % SOURCES
        value = self._encoder.encode(self._topic, event)
        while True:
            try:
                self._producer.produce(self._topic, key=key.encode(), value=value, partition=partition)
                break
            except BufferError:
                self._producer.poll(0.05)
        # One producer, so offsets come in the order of the calls.
        handed.times[partition].append(now)
        handed.order.append(now)


class Watch(threading.Thread):
    """Notes when a topic's records become readable: (monotonic seconds, UTC ms, value, headers) each."""

    def __init__(self, servers: Servers, topic: str, partitions: int) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, float, bytes, Any]] = []
        self._over = threading.Event()
        self._consumer = Consumer(
            {"bootstrap.servers": servers.kafka.bootstrap, "group.id": f"watch-{topic}", "fetch.wait.max.ms": 50,
             "isolation.level": "read_committed", "enable.auto.commit": False}
        )  # fmt: skip
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])

    def run(self) -> None:
        while not self._over.is_set():
            messages = self._consumer.consume(500, 0.05)
            now, clock = time.monotonic(), time.time() * 1000
            self.seen += [
                (now, clock, message.value() or b"", message.headers() or [])
                for message in messages
                if not message.error()
            ]
        self._consumer.close()

    def stop(self) -> None:
        """No more."""
        self._over.set()
        self.join()


def quantiles(values: list[float]) -> tuple[float, float, float] | tuple[None, None, None]:
    """p50, p99 and the largest."""
    if not values:
        return None, None, None
    ordered = sorted(values)
    return tuple(round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 1) for q in (0.5, 0.99, 1))  # type: ignore[return-value]


class Progress(threading.Thread):
    """Looks again and again how far a contestant is: (monotonic seconds, what `look` said)."""

    def __init__(self, look: Any) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, Any]] = []
        self._look = look
        self._over = threading.Event()

    def run(self) -> None:
        last = None
        while not self._over.wait(LOOK_S):
            found = self._look()
            if found is not None and found != last:
                self.seen.append((time.monotonic(), found))
                last = found

    def stop(self) -> None:
        """No more."""
        self._over.set()
        self.join()


def of_offsets(handed: Handed, seen: list[tuple[float, list[int]]], since: float, until: float) -> list[float]:
    """ms from handing over to the first moment at which an offset was passed."""
    out: list[float] = []
    for partition, times in enumerate(handed.times):
        done = 0
        for at, reached in seen:
            upto = reached[partition]
            out += [(at - t) * 1000 for t in times[done:upto] if since <= t < until]
            done = max(done, upto)
    return out


def of_counts(handed: Handed, seen: list[tuple[float, float]], since: float, until: float) -> list[float]:
    """The same, of one who says how many."""
    done, out = 0, []
    for at, count in seen:
        out += [(at - t) * 1000 for t in handed.order[done : int(count)] if since <= t < until]
        done = max(done, int(count))
    return out


def of_resolved(handed: Handed, contestant: Live, watch: Watch, since: float, until: float) -> list[float]:
    """ms until all partitions of identity.resolved showed it."""
    seal = Seal(contestant.topology.group)
    passed: dict[tuple[str, int], list[float]] = defaultdict(list)
    for seen, _, _, headers in watch.seen:
        books = seal.books(headers)
        if isinstance(books, Resolved) and books.next > books.first:
            passed[books.source, books.next].append(seen)
    out: list[float] = []
    for partition, times in enumerate(handed.times):
        name, done = f"{contestant.topic}-{partition}", 0
        ends = sorted((upto, max(moments)) for (source, upto), moments in passed.items() if source == name)
        for upto, moment in ends:
            out += [(moment - t) * 1000 for t in times[done:upto] if since <= t < until]
            done = max(done, upto)
    return out


def of_triggers(handed: Handed, contestant: Contestant, watch: Watch, since: float, until: float) -> list[float]:
    """ms past what the rules themselves wait."""
    out = []
    for seen, clock, value, _ in watch.seen:
        if not since <= seen < until:
            continue
        if isinstance(contestant, Ours):
            record = _trigger(value)
            if record["rule"] == AT_ONCE:
                continue
            due = record["due_at"] + (LATENESS_S + DISORDER_S) * 1000
        else:
            due = handed.occurred[json.loads(value)["anchor_event_id"]] + WAIT_S * 1000 + PEER_DISORDER_MS
        out.append(clock - due)
    return out


def of_arrivals(handed: Handed, watch: Watch, since: float, until: float) -> list[float]:
    """ms from handing an order over to its trigger."""
    told = [(clock, _trigger(value)) for seen, clock, value, _ in watch.seen if since <= seen < until]
    return [clock - handed.occurred[each["cause_event_id"]] for clock, each in told if each["rule"] == AT_ONCE]


def _trigger(value: bytes) -> dict[str, Any]:
    found: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), TRIGGER, None)
    return dict(found)


def measure(servers: Servers, name: str, rate: float, seconds: float) -> dict[str, Any]:
    """One contestant at one rate."""
    topic = f"live.{name}.{rate:g}.{random.getrandbits(24):06x}"
    servers.client.flushall()
    servers.kafka.create_topics(topic, partitions=SOURCES, config={"message.timestamp.type": "LogAppendTime"})
    handed = Handed()
    events = stream(Workload(events=10_000_000, identities=20_000))
    contestant: Contestant
    if name in OURS:
        contestant = Live(servers, topic, OURS[name])
    else:
        register(connect(servers.registry.url), topic)
        contestant = PEERS[name](servers, topic, 0)
        contestant.env = {**contestant.env, "WAIT_MS": str(WAIT_S * 1000), "TICK_MS": "1000", "BATCH": "1000"}  # type: ignore[attr-defined]
        warm = Load(servers, topic, handed, events, 0, 500_000 if name.startswith("kstreams") else 5_000)
        warm.start()
        warm.join()
        warm.stop()
    contestant.start()
    meter = Meter(contestant.pid, servers.redis.pid, servers.kafka.pid)
    outputs, look, resolved = "", contestant.progress, None
    if isinstance(contestant, Live):
        outputs, look = contestant.topology.topics.triggers.name, contestant.reached  # type: ignore[assignment]
        resolved = Watch(
            servers, contestant.topology.topics.resolved.name, contestant.topology.topics.resolved.partitions
        )
    else:
        outputs = contestant.triggers  # type: ignore[attr-defined]
    triggers = Watch(servers, outputs, 4)
    progress = Progress(look)
    threads = [each for each in (resolved, triggers, progress) if each is not None]
    try:
        deadline = time.monotonic() + 180
        while not contestant.working() or (handed.order and contestant.progress() < 0.98 * len(handed.order)):
            if not contestant.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"{name} doesn't work, see {contestant.log}")
            time.sleep(0.2)
        for thread in threads if rate else ():
            thread.start()
        load_ = Load(servers, topic, handed, events, rate)
        if rate:
            load_.start()
        warm_s = WARM_S + (WAIT_S + 6 if rate else 0)  # until triggers flow as they will
        time.sleep(warm_s)
        since, first = time.monotonic(), len(handed.order)
        start = meter.take(0)
        time.sleep(seconds)
        end, until = meter.take(0), time.monotonic()
        done = len(handed.order) - first
        if rate:
            load_.stop()
            time.sleep(3 + LATENESS_S + DISORDER_S)
        threads_now = len(os.listdir(f"/proc/{contestant.pid}/task"))
    finally:
        contestant.stop()
        for thread in threads:
            if thread.is_alive():
                thread.stop()
    wall = end.wall - start.wall
    spent = {part: getattr(end, part) - getattr(start, part) for part in ("worker", "redis", "broker")}
    found: dict[str, Any] = {"contestant": name, "rate": rate, "events": done, "threads": threads_now}
    for part, cpu in spent.items():
        found[f"{part}_cpu_us_per_event"] = round(cpu / done * 1e6, 1) if done else None
        found[f"{part}_core_share"] = round(cpu / wall, 4)
    if rate:
        counts = of_offsets if isinstance(contestant, Live) else of_counts
        counted = counts(handed, progress.seen, since, until)  # type: ignore[operator]
        found |= zip(("counted_p50_ms", "counted_p99_ms", "counted_max_ms"), quantiles(counted), strict=True)
        found["counted_share"] = round(len(counted) / done, 3)
        if resolved is not None and isinstance(contestant, Live):
            values = quantiles(of_resolved(handed, contestant, resolved, since, until))
            found |= zip(("resolved_p50_ms", "resolved_p99_ms", "resolved_max_ms"), values, strict=True)
            values = quantiles(of_arrivals(handed, triggers, since, until))
            found |= zip(("at_once_p50_ms", "at_once_p99_ms", "at_once_max_ms"), values, strict=True)
        late = of_triggers(handed, contestant, triggers, since, until)
        found |= zip(("trigger_p50_ms", "trigger_p99_ms", "trigger_max_ms"), quantiles(late), strict=True)
        found["triggers"] = len(late)
        found["producer_behind_ms"] = round(load_.behind * 1000)
    found["idle_cpu_share"] = None if rate else round(spent["worker"] / wall, 4)
    return found


def live(names: Sequence[str], rates: Sequence[float], seconds: float) -> list[dict[str, Any]]:
    """All of them, in one run; a table, and benchmarks/out/live.json."""
    found: list[dict[str, Any]] = []
    with servers() as on:
        for rate in rates:
            for name in names:
                if name == "ours" or (rate and name in OURS) or rate in PEER_RATES:
                    found.append(measure(on, name, rate, seconds))
                    print(line(found[-1]), flush=True)
    OUT.mkdir(exist_ok=True)
    (OUT / "live.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def line(row: dict[str, Any]) -> str:
    """For people."""
    if not row["rate"]:
        share = f"{row['idle_cpu_share']:.1%} of a core, Redis {row['redis_core_share']:.1%}"
        return f"{row['contestant']:13} idle: {share}, broker {row['broker_core_share']:.1%}; {row['threads']} threads"
    costs = " ".join(f"{part} {row[f'{part}_cpu_us_per_event']:6.1f}" for part in ("worker", "redis", "broker"))
    times = "; ".join(
        f"{what} "
        + "/".join(
            "-" if row.get(f"{what}_{q}_ms") is None else f"{row[f'{what}_{q}_ms']:.0f}" for q in ("p50", "p99", "max")
        )
        for what in ("counted", "resolved", "trigger", "at_once")
        if row.get(f"{what}_p50_ms") is not None
    )
    return (
        f"{row['contestant']:13}{row['rate']:6g}/s  {costs} µs  ms p50/p99/max: {times}"
        f"  ({row['triggers']} triggers, {row['threads']} threads; producer {row['producer_behind_ms']} ms behind)"
    )
