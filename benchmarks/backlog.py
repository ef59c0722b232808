"""A backlog of events and one contestant that works it off: what it spent, and whether it said what it should."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from benchmarks.contestants import Contestant, Ours, Peer, Servers, essence, read
from benchmarks.generate import PARTITIONS, Workload, carts_of_ours, carts_of_peers, decisions, load
from benchmarks.meter import Meter, Sample, cost, cpu_seconds, peak_rss_mb
from pipeline.events.registry import connect

TOPIC = "bench.events"
CALM_S = 5.0  # then what is published has left Redis


def fill(on: Servers, topic: str, workload: Workload) -> None:
    """Make the topic and write the workload into it."""
    began = time.monotonic()
    on.kafka.create_topics(topic, partitions=PARTITIONS)
    size = load(on.kafka.bootstrap, connect(on.registry.url), topic, workload)
    print(
        f"{topic}: {workload.total:,} events of {workload.identities:,} identities, {size / workload.total:.0f} bytes"
        f" each, written in {time.monotonic() - began:.0f} s",
        flush=True,
    )


def measure(on: Servers, contestant: Contestant, workload: Workload, patience: float) -> dict[str, Any]:
    """Run one contestant over its topic; returns what it cost, from before its first event to its last output."""
    on.client.flushall()
    time.sleep(0.5)
    memory = on.memory()
    reading = plain_reading(on, contestant.topic, workload) if contestant.counts_broker else None
    passes: list[dict[str, Any]] = []
    contestant.start()
    meter = Meter(contestant.pid, on.redis.pid, on.kafka.pid)
    deadline = time.monotonic() + patience
    try:
        for number in range(contestant.passes):
            if number:
                contestant.again()
            passes.append(one_pass(contestant, meter, workload.total, deadline, reading))
        rss = peak_rss_mb(contestant.pid)
        time.sleep(CALM_S)
        memory = on.memory() - memory
    finally:
        contestant.stop()
    result = {
        "events": workload.total,
        "identities": workload.identities,
        **passes[-1],
        "peak_rss_mb": round(rss),
        "redis_bytes_per_identity": round(memory / workload.identities) if contestant.redis_used else None,
    }
    if len(passes) > 1:
        result["cold"] = passes[0]
        result["passes_us_per_event"] = [round(together(each), 1) for each in passes]
    return result


def one_pass(
    contestant: Contestant, meter: Meter, total: int, deadline: float, reading: float | None
) -> dict[str, float]:
    """What one pass over the topic costs. `reading`: broker µs an event of reading alone, if the broker counts."""
    start = first_sample(contestant, meter, deadline)
    read_all = end_of_reading(contestant, meter, total, deadline)
    closed = last_output(contestant, meter, total, deadline)
    result, until_read = cost(start, closed), cost(start, read_all)
    if reading is not None:
        result["broker_reading_us_per_event"] = reading
        for each in (result, until_read):
            each["broker_share_us_per_event"] = round(max(0.0, each["broker_cpu_us_per_event"] - reading), 1)
    result["until_read_us_per_event"] = round(together(until_read), 1)
    return result


def plain_reading(on: Servers, topic: str, workload: Workload) -> float:
    """Broker µs an event of giving the topic to a consumer that does nothing else: the median of three times."""
    spent = []
    for _ in range(3):
        before = cpu_seconds(on.kafka.pid)
        for _ in read(on, topic):
            pass
        spent.append(cpu_seconds(on.kafka.pid) - before)
    return round(sorted(spent)[1] / workload.total * 1e6, 1)


def first_sample(contestant: Contestant, meter: Meter, deadline: float) -> Sample:
    """What had been spent when it began to work: not counted."""
    sample = meter.take(0)
    while not contestant.working():
        check(contestant, deadline)
        sample = meter.take(0)
        time.sleep(0.02)
    return sample


def end_of_reading(contestant: Contestant, meter: Meter, total: int, deadline: float) -> Sample:
    """When all events are done, decisions aside."""
    last, moved = 0.0, time.monotonic()
    while (done := contestant.progress()) < total:
        check(contestant, deadline)
        if done != last:
            last, moved = done, time.monotonic()
        elif time.monotonic() - moved > 90:
            raise TimeoutError(f"{contestant.name} stands at {done:,.0f} of {total:,}, see {contestant.log}")
        time.sleep(0.05)
    return meter.take(total)


def last_output(contestant: Contestant, meter: Meter, total: int, deadline: float) -> Sample:
    """When nothing more was written for three seconds: the sample from before these."""
    written, last = -1, meter.take(total)
    while True:
        now, settled = contestant.outputs(), contestant.settled()
        if now != written or not settled:
            written, last = now, meter.take(total)
        elif time.monotonic() - last.wall > 3:
            return last
        check(contestant, deadline)
        time.sleep(0.1)


def check(contestant: Contestant, deadline: float) -> None:
    """Whether waiting on makes sense."""
    if not contestant.alive():
        raise RuntimeError(f"{contestant.name} ended, see {contestant.log}")
    if time.monotonic() > deadline:
        raise TimeoutError(f"{contestant.name} takes too long, see {contestant.log}")


class Expected:
    """What each has to find; worked out once a workload."""

    def __init__(self) -> None:
        self._ours: dict[tuple[str, Workload], set[str]] = {}
        self._carts: dict[Workload, set[tuple[str, str]]] = {}
        self._peers: dict[Workload, set[tuple[str, str]]] = {}

    def ours(self, contestant: Ours, workload: Workload) -> dict[str, Any]:
        """All decisions against `replay`, and the carts against an answer that shares no code with the pipeline."""
        asked = (contestant.name, workload)
        if asked not in self._ours:
            found = decisions(workload, contestant.topology)
            self._ours[asked] = {essence(msgspec.structs.asdict(each)) for each in found}
        return self._compare(contestant, self._ours[asked]) | self.carts(contestant, workload)

    def _compare(self, contestant: Ours, wanted: set[str]) -> dict[str, Any]:
        got = [essence(record) for record in contestant.decisions()]
        return {
            "decisions": len(wanted),
            "missing": len(wanted - set(got)),
            "false": len(set(got) - wanted),
            "doubled": len(got) - len(set(got)),
            "dead_letters": contestant.dead_letters(),
        }

    def carts(self, contestant: Ours, workload: Workload) -> dict[str, Any]:
        """The carts alone."""
        if workload not in self._carts:
            self._carts[workload] = carts_of_ours(workload)
        wanted = self._carts[workload]
        got = {
            (record["correlation_key"], record["cause_event_id"])
            for record in contestant.decisions()
            if record["rule"] == "abandoned_cart" and record["outcome"] == "fired"
        }
        return {"carts": len(wanted), "carts_missing": len(wanted - got), "carts_false": len(got - wanted)}

    def peers(self, contestant: Peer, workload: Workload) -> dict[str, Any]:
        """The cart rule of the peers."""
        if workload not in self._peers:
            self._peers[workload] = carts_of_peers(workload)
        wanted, got = self._peers[workload], contestant.carts()
        return {
            "decisions": len(wanted),
            "missing": len(wanted - set(got)),
            "false": len(set(got) - wanted),
            "doubled": got.total() - len(got),
        }


def together(result: dict[str, Any]) -> float:
    """Worker and Redis; where the state is kept by the broker, its share above what plain reading costs."""
    own = result["worker_cpu_us_per_event"] + result["redis_cpu_us_per_event"]
    return float(own + result.get("broker_share_us_per_event", 0))
