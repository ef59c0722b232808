"""A recording beside the live stream, on real servers: killed at random moments, forged, without triggers.

People look at a price; some book a call in time. The recordings are some two hours old, so in a pipeline that
lives they come late: what a call took back must be what `replay` says was cancelled, one way or the other.
`RECORDING_KILLS=20` is the long form, of `make chaos`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka import Producer

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.runtime.broker import Broker
from tests.control import put, say
from tests.deployment import PIPELINE, Deployment, WorkerProcess
from tests.flow.test_bad_input import metric, most_resident, texts
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

KILLS = int(os.environ.get("RECORDING_KILLS", "3"))
PEOPLE = 12_000
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
BACK_S = 90.0
HOUR = 3_600_000
BOMBS = {"zstd": 150_000_000, "gzip": 150_000_000, "lz4": 40_000_000, "snappy": 40_000_000}
RULE = {
    "version": 1,
    "start": {"event": "page_viewed", "where": {"path": {"contains": "/price"}}},
    "after": "3s",
    "cancel": {"event": "custom", "where": {"name": "Call Booked"}, "reason": "booked"},
}


def quick(document: dict[str, Any]) -> None:
    document["triggers"] = {"price_seen": RULE}
    document["time"].update(lateness="1s", disorder="2s", idle={"after": "1s", "every": "500ms"})


@pytest.fixture
def shop(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> Iterator[Deployment]:
    with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry, quick) as made:
        made.run("topics")
        yield made


def looks(who: str, at: int) -> tuple[str, dict[str, Any], str, int]:
    return "page_viewed", {"url": "https://shop.example/price", "path": "/price"}, who, at


def books(who: str, at: int) -> tuple[str, dict[str, Any], str, int]:
    return "custom", {"name": "Call Booked"}, who, at


class Live(threading.Thread):
    """Ten people a second look at a price, every second of them books a call."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(name="live", daemon=True)
        self.deployment = deployment
        self.registry = connect(deployment.registry.url)
        self.encoder = Encoder(self.registry)
        self.producer = Producer({"bootstrap.servers": deployment.kafka, "log_level": 3})
        self.topic = deployment.topology.topics.sources[0].name
        self.number = 0
        self.looked: dict[int, int] = {}
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.join()
        self.producer.flush(30)
        self.registry.close()

    def send(self, told: tuple[str, dict[str, Any], str, int], headers: Any = ()) -> None:
        kind, body, who, at = told
        event = Event(kind, f"{who}-{kind}", at, at, {"anonymous_id": who}, body)
        self.producer.produce(self.topic, self.encoder.encode(self.topic, event), who.encode(), headers=list(headers))

    def run(self) -> None:
        while not self.over.wait(0.1):
            now = int(time.time() * 1000)
            self.number += 1
            self.looked[self.number] = now
            self.send(looks(f"live-{self.number}", now))
            if self.number % 2 == 0:
                self.send(books(f"live-{self.number}", now + 1))
            self.producer.poll(0)


def record(path: Path, name: str, people: int = PEOPLE) -> Path:
    """A recording of two hours ago. Of three people one books in time."""
    start = int(time.time() * 1000) - 2 * HOUR
    lines: list[tuple[int, str, dict[str, Any], int]] = []
    for n in range(people):
        at = start + n * HOUR // people
        lines.append((at, "page", {"properties": {"path": "/price"}}, n))
        if n % 3 == 0:
            lines.append((at + 2_000, "track", {"event": "Call Booked"}, n))
    lines.sort(key=lambda line: line[0])
    with path.open("w") as file:
        for at, kind, more, n in lines:
            told = {"anonymousId": f"{name}-{n}", "messageId": f"{name}-{n}-{kind}", "timestamp": stamp(at), **more}
            file.write(json.dumps({"type": kind, **told}) + "\n")
    return path


def stamp(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


def who_of(decision: dict[str, Any]) -> str:
    return str(decision["identifiers"]["anonymous_id"][0])


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Waits; returns the seconds it took."""
    began = looked = time.monotonic()
    while not condition():
        now = time.monotonic()
        assert now - began < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(max(0.2, now - looked))  # to look may be much to do, and those who are waited for have to get on
        looked = time.monotonic()
    return time.monotonic() - began


def in_the_end(decisions: list[dict[str, Any]]) -> dict[str, str]:
    """Decision id -> what came of it: `fired`, or `not` (cancelled, or fired and taken back)."""
    taken_back = {d["retracts"] for d in decisions if d["outcome"] == "retracted"}
    return {
        d["id"]: "fired" if d["outcome"] == "fired" and d["id"] not in taken_back else "not"
        for d in decisions
        if d["outcome"] != "retracted"
    }


def start_ingest(deployment: Deployment, file: Path, *more: str) -> subprocess.Popen[str]:
    command = [*PIPELINE, "ingest", "--topology", str(deployment.path), "--yes", *more, str(file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def held(worker: WorkerProcess) -> list[str]:
    return [text for name, text in worker.ready()["held_by"].items() if "recording" in name]


def said_so_far(deployment: Deployment) -> int:
    control = deployment.topology.topics.control.name
    return Broker(deployment.kafka).written([(control, 0)])[control, 0]


def more_than(deployment: Deployment, words: int, ingest: subprocess.Popen[str]) -> bool:
    return said_so_far(deployment) > words or ingest.poll() is not None


def free(worker: WorkerProcess) -> bool:
    return not held(worker)


def named(worker: WorkerProcess, ingest: subprocess.Popen[str]) -> bool:
    return any("holds 16 source partitions" in text for text in held(worker)) or ingest.poll() is not None


def live_goes_on(deployment: Deployment, live: Live, since: float) -> float:
    """Until somebody who came after now is decided; seconds since a moment."""
    marker = live.number + 1

    def decided() -> bool:
        return any(int(who_of(d)[5:]) > marker for d in deployment.decisions() if who_of(d).startswith("live-"))

    until(decided, BACK_S, "live decisions go on")
    return time.monotonic() - since


@pytest.mark.parametrize("block", range(-(-KILLS // len(SIGNALS))))
def test_a_recording_that_is_killed_stops_nobody_and_can_be_ingested_again(
    shop: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str], block: int
) -> None:
    """Killed once in each way. The worker is started anew meanwhile in every other block."""
    rng, took, files = random.Random(block), [], []
    worker = shop.worker()
    worker.wait_ready()
    with Live(shop) as live:
        live_goes_on(shop, live, time.monotonic())
        for number, how in enumerate(SIGNALS):
            file = record(tmp_path / f"r{number}.jsonl", f"r{number}")
            files.append(file)
            if number == 0:
                shop.run("ingest", str(file), code=2)  # nobody can be asked
            before = said_so_far(shop)
            ingest = start_ingest(shop, file)
            until(partial(more_than, shop, before, ingest), BACK_S, "it begins")
            time.sleep(rng.uniform(0.0, 1.5))
            if how == signal.SIGKILL:
                until(partial(named, worker, ingest), BACK_S, "it is named in /readyz")
            ingest.send_signal(how)
            said = ingest.communicate(timeout=90)[1]
            done = "the worker now decides all that waits" in said
            assert ingest.returncode in ((0, -how) if done else (-9, 128 + how)), said
            assert "Traceback" not in said
            assert "SystemError" not in said
            killed = time.monotonic()
            if how == signal.SIGKILL and ingest.returncode == -9:
                (text,) = held(worker)
                assert "holds 16 source partitions since 20" in text
                assert metric(worker, "pipeline_recording_held_partitions") == 16
                if block % 2 == 0:  # who is started now finds it dead
                    assert worker.stop() == 0
                    worker = shop.worker()
                    worker.wait_ready()
                    killed = time.monotonic()
            took.append((how.name, live_goes_on(shop, live, killed)))
            assert took[-1][1] < BACK_S
            assert held(worker) == []
            shop.run("ingest", "--yes", str(file))
            until(partial(free, worker), BACK_S, "it is over")
    with capsys.disabled():
        print("\nlive decisions went on after", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took))
    replayed: dict[str, str] = {}
    for file in files:
        replayed |= in_the_end([json.loads(line) for line in shop.run("replay", str(file)).splitlines()])
    assert len(replayed) == len(SIGNALS) * PEOPLE
    numbers = {n: "not" if n % 2 == 0 else "fired" for n in range(1, live.number + 1)}

    def settled() -> bool:
        found = shop.decisions()
        made = in_the_end([d for d in found if not who_of(d).startswith("live-")])
        theirs = in_the_end([d for d in found if who_of(d).startswith("live-")])
        return made.keys() == replayed.keys() and len(theirs) == len(numbers)

    until(settled, 120, "everything is decided")
    found = shop.decisions()
    assert in_the_end([d for d in found if not who_of(d).startswith("live-")]) == replayed
    live_ones = [d for d in found if who_of(d).startswith("live-")]
    ends = in_the_end(live_ones)
    assert {int(who_of(d)[5:]): ends[d["id"]] for d in live_ones if d["id"] in ends} == numbers
    assert worker.stop() == 0


def test_nobody_commands_by_a_source_topic_or_by_what_is_no_word(shop: Deployment) -> None:
    worker = shop.worker()
    worker.wait_ready()
    topology, now = shop.topology, int(time.time() * 1000)
    with Live(shop) as live:
        live_goes_on(shop, live, time.monotonic())
        live.send(looks("marked", now), [("pipeline.mark", b"end 99999999999999")])
        live.send(looks("held", now), [("pipeline.mark", b"begin")])
        put(topology, None, b"\xff", b'{"v": 1}', b"end 99999999999999", b"x" * 500_000)
        say(topology, "end", 99_999_999_999_999, offsets={"elsewhere-0": 0})
        say(topology, "begin", offsets=dict.fromkeys(all_sources(shop), 1 << 40))
        say(topology, "end", now + 25 * HOUR)
        say(topology, "end", now + HOUR)  # of a recording that never began
        live_goes_on(shop, live, time.monotonic())

        def heard() -> bool:
            return metric(worker, "pipeline_dead_letters_total", 'stage="control"') == 9

        until(heard, 30, "all are refused")
        live_goes_on(shop, live, time.monotonic())
    letters = [texts(letter) for letter in shop.read(topology.topics.dead_letters.name)]
    assert {letter["__connect.errors.topic"] for letter in letters} == {topology.topics.control.name}
    letters.sort(key=lambda letter: int(letter["__connect.errors.offset"]))
    assert [letter["pipeline.reason"] for letter in letters] == [
        *["unreadable_word"] * 4,
        "too_large",
        "wrong_partitions",
        "no_such_offset",
        "word_in_future",
        "unknown_recording",
    ]
    assert held(worker) == []
    people = {who_of(d) for d in shop.decisions()}
    assert {"marked", "held"} <= people
    assert worker.stop() == 0


def test_what_unpacks_to_more_than_there_is_room_for_is_no_word(
    shop: Deployment, kafka: KafkaServer, tmp_path: Path
) -> None:
    """Five kilobytes may hold 150 megabytes: nobody unpacks them, a worker as little as whoever begins a recording."""
    control = shop.topology.topics.control.name
    kafka.set_topic_config(control, "max.message.bytes", "4000000")
    worker = shop.worker()
    worker.wait_ready()
    with Live(shop) as live:
        live_goes_on(shop, live, time.monotonic())
        before = most_resident(worker)
        for codec, size in BOMBS.items():
            producer = Producer(
                {"bootstrap.servers": shop.kafka, "compression.type": codec, "message.max.bytes": 200_000_000}
            )
            producer.produce(control, bytes(size), partition=0)
            assert producer.flush(60) == 0
        file = record(tmp_path / "after.jsonl", "after", 30)
        most = peak([*PIPELINE, "ingest", "--topology", str(shop.path), "--yes", "--no-triggers", str(file)])
        until(lambda: {f"after-{n}" for n in range(30)} <= {who_of(d) for d in shop.decisions()}, 90, "it counts")
        live_goes_on(shop, live, time.monotonic())
    letters = [texts(letter) for letter in shop.read(shop.topology.topics.dead_letters.name)]
    assert [(letter["pipeline.reason"], letter["__connect.errors.topic"]) for letter in letters] == [
        ("too_large", control)
    ] * len(BOMBS)
    assert {letter["pipeline.batch"] for letter in letters} == {f"{n}-{n}" for n in range(len(BOMBS))}
    assert most_resident(worker) < before + 60
    assert most < 200
    assert worker.stop() == 0


def peak(command: list[str]) -> int:
    """Megabytes of memory that a command which goes well had at the most."""
    program = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2);"
    program += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def all_sources(deployment: Deployment) -> list[str]:
    return [f"{topic.name}-{p}" for topic in deployment.topology.topics.sources for p in range(topic.partitions)]


def test_a_recording_without_triggers(shop: Deployment, tmp_path: Path) -> None:
    """State, history and decisions are made; people who come meanwhile are reminded, those of the recording are not.
    Who was reminded before and is told to have booked by then is taken back.
    """
    worker = shop.worker()
    worker.wait_ready()
    people = 900
    file = record(tmp_path / "old.jsonl", "old", people)
    with Live(shop) as live:
        live_goes_on(shop, live, time.monotonic())
        with file.open("a") as more:
            booked = {"type": "track", "event": "Call Booked", "anonymousId": "live-1", "messageId": "booked"}
            more.write(json.dumps({**booked, "timestamp": stamp(live.looked[1] + 1_000)}) + "\n")
        shop.run("ingest", "--no-triggers", str(file))
        live_goes_on(shop, live, time.monotonic())
    replayed = in_the_end([json.loads(line) for line in shop.run("replay", str(file)).splitlines()])

    def decided() -> bool:
        return in_the_end([d for d in shop.decisions() if who_of(d).startswith("old-")]) == replayed

    until(decided, 90, "the recording is decided")
    until(lambda: len({who_of(d) for d in shop.decisions()}) == people + live.number, 60, "everybody is decided")
    decisions, triggers = shop.decisions(), shop.triggers()
    assert all(d["published"] is False for d in decisions if who_of(d).startswith("old-") and d["outcome"] == "fired")
    assert all("published" not in d for d in decisions if who_of(d).startswith("live-"))
    assert not [d for d in triggers if d["outcome"] == "fired" and who_of(d).startswith("old-")]
    fired = {d["id"] for d in decisions if d["outcome"] == "fired" and who_of(d).startswith("live-")}
    assert {d["id"] for d in triggers if d["outcome"] == "fired"} == fired
    assert {who_of(d) for d in triggers if d["outcome"] == "retracted"} == {"live-1"}
    assert len(fired) >= live.number // 2
    assert worker.stop() == 0
