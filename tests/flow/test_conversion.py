"""A deployment of format 2 is taken over as it is, on real servers: its workers are killed, one of them frozen before,
with waits open, triggers that may be taken back, and records between the hops that nobody has read. Today's workers, of
which one is killed in the middle of it, decide the rest, and all of it together is what a replay of everything says.
"""

from __future__ import annotations

import copy
import io
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest
import yaml

from pipeline.events import schemas
from pipeline.events.catalogue import catalogue
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.profile import format2
from pipeline.profile.about import read_timeline
from pipeline.profile.profile import Profile
from pipeline.runtime.second_hop import Meta
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import MORE
from tests import older
from tests.chaos.rig import Books
from tests.chaos.stream import Stream
from tests.chaos.verdict import expect
from tests.deployment import Deployment

pytestmark = pytest.mark.servers

FORMAT_2 = older.FORMAT_2
PERSONS = 10
FROZEN, KILLED = 16.5, 18.0
"""Seconds from the beginning: one worker stands still, both are gone."""

# With the old version's own encoder, as its producers did: a line a record.
PRODUCE = """import json, sys
sys.path.insert(0, sys.argv[1])
from confluent_kafka import Producer
from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
producer = Producer({"bootstrap.servers": sys.argv[2], "linger.ms": 5})
encoder = Encoder(connect(sys.argv[3]))
for line in sys.stdin:
    topic, partition, event = json.loads(line)
    producer.produce(topic, encoder.encode(topic, Event(**event)), partition=partition)
    producer.poll(0)
assert producer.flush(30) == 0
"""


def quick(document: dict[str, Any]) -> None:
    """An hour is some seconds. (`lateness` and `disorder` are parts of an hour, too.)"""
    document["time"].update(lateness="2s", disorder="1s", idle={"after": "1s", "every": "500ms"})
    for rule, after in (("abandoned_cart", "8s"), ("ebook_not_clicked", "15s"), ("film_half_watched", "15s")):
        document["triggers"][rule]["after"] = after


class Story:
    """What happens, by seconds from the beginning."""

    def __init__(self) -> None:
        self.told: list[tuple[float, float, int, str, dict[str, str], dict[str, Any]]] = []

    def tell(self, person: int, at: float, kind: str, ids: dict[str, str], late: float = 0.0, **body: Any) -> None:
        """Received at `at`; it occurred `late` before."""
        self.told.append((at + person * 0.03, late, person, kind, ids, body))

    def events(self, began: int) -> list[tuple[float, int, Event]]:
        """(when to send it, whose, event), in order of receipt. `began`: UTC ms."""
        out = []
        for number, (at, late, person, kind, ids, body) in enumerate(sorted(self.told, key=lambda each: each[0])):
            received = began + round(at * 1_000)
            event = Event(kind, f"e{number}", received - round(late * 1_000), received, ids, body)
            out.append((at, person, event))
        return out


def story() -> Story:
    made = Story()
    for n in range(PERSONS):
        user, mail = {"user_id": f"u{n}"}, {"email": f"person{n}@example.org"}
        phone, tablet = {"anonymous_id": f"phone{n}"}, {"anonymous_id": f"tablet{n}"}
        one: dict[str, Any] = {"product_id": "tent", "price": 10.5, "currency": "EUR", "quantity": 2.0}

        def tell(at: float, kind: str, ids: dict[str, str], n: int = n, **more: Any) -> None:
            made.tell(n, at, kind, ids, **more)

        tell(0, "identified", {**user, **phone}, traits={"plan": "free"})
        tell(0.5, "identified", {**user, **mail})
        # Fired by the old version; half of them are bought late, as the new one hears.
        tell(1, "product_added", phone, cart_id=f"fired{n}", **one)
        if n % 2:
            tell(27, "order_completed", user, late=22, order_id=f"o-fired{n}", cart_id=f"fired{n}", total=21.0)
        # Cancelled by the old version, and begun again under the new one.
        tell(1, "product_added", user, cart_id=f"again{n}", **one)
        tell(4, "order_completed", user, order_id=f"o-again{n}", cart_id=f"again{n}", total=21.0, currency="EUR")
        tell(25, "product_added", user, cart_id=f"again{n}", **one)
        # Open when the old version ends: left, bought while nobody is there, or emptied.
        tell(13, "product_added", user, cart_id=f"left{n}", **one)
        tell(13.5, "product_added", phone, cart_id=f"left{n}", **{**one, "product_id": "lamp"})
        tell(13, "product_added", user, cart_id=f"bought{n}", **one)
        tell(19.5, "order_completed", user, order_id=f"o-bought{n}", cart_id=f"bought{n}", total=21.0)
        tell(13, "product_added", phone, cart_id=f"emptied{n}", **one)
        tell(17.2, "product_removed", phone, cart_id=f"emptied{n}", product_id="tent", quantity=1.0)
        tell(20, "product_removed", phone, cart_id=f"emptied{n}", product_id="tent", quantity=1.0)
        # Left on a device that turns out to be theirs: right before the end, or after it.
        tell(12, "product_added", tablet, cart_id=f"tied{n}", **one)
        tell(17.3 if n % 3 else 19, "identified", {**tablet, **user})
        if n % 2:
            tell(17.6, "order_completed", user, order_id=f"o-tied{n}", cart_id=f"tied{n}", total=21.0)
        tell(17.5, "product_viewed", tablet, product_id="boots")
        # A mail, and a film.
        tell(3, "email_sent", mail, message_id=f"m{n}", campaign="spring", link_ids=["ebook"])
        if n % 3 == 1:
            tell(17.5, "email_clicked", mail, message_id=f"m{n}", link_id="ebook", confidence="human")
        film: dict[str, Any] = {"film": "alps", "title": "Alps", "session_id": f"s{n}", "total_length": 100.0}
        tell(2, "video_progressed", phone, position=30.0, watched_from=0.0, watched_to=30.0, **film)
        tell(3, "video_progressed", phone, position=60.0, watched_from=30.0, watched_to=60.0, **film)
        for k in range(60):  # so that something is always under way
            tell(16 + k / 20, "page_viewed", [user, phone, mail][k % 3], path=f"/p{k}")
    return made


def test_a_deployment_of_format_2_is_taken_over(
    tmp_path: Path, kafka: Any, redis_url: str, registry: Any, prefix: str
) -> None:
    name = prefix.rstrip(".")
    with (
        older.checkout(FORMAT_2, tmp_path) as before,
        Deployment(tmp_path, name, kafka.bootstrap, redis_url, registry, quick) as deployment,
    ):
        old = copy.copy(deployment)
        old.path = old_topology(deployment, before)
        old.run("topics", launcher=older.launcher(before))
        workers = []
        for _ in range(2):  # one after the other: at once, they would register a schema twice
            workers.append(old.worker(launcher=older.launcher(before)))
            workers[-1].wait_ready()
        command = [sys.executable, "-c", PRODUCE, str(before), kafka.bootstrap, registry.url]
        producer = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        assert producer.stdin is not None
        began = time.time()
        events = story().events(round(began * 1_000))
        topics = {topic.stream: topic for topic in deployment.topology.topics.sources}
        acts = [FROZEN, KILLED]
        for at, person, event in events:
            for moment in [each for each in acts if each <= at]:
                time.sleep(max(0.0, began + moment - time.time()))
                if moment == FROZEN:
                    workers[0].process.send_signal(signal.SIGSTOP)
                else:
                    for worker in workers:
                        worker.kill()
                    unread, fired = taken_over(deployment)
                    deployment.run("topics")
                    new = [deployment.worker() for _ in range(2)]
                acts.remove(moment)
            time.sleep(max(0.0, began + at - time.time()))
            topic = topics[catalogue()[event.type].stream]
            told = {field: getattr(event, field) for field in ("type", "event_id", "occurred_at", "received_at")}
            told |= {"identifiers": event.identifiers, "body": event.body}
            producer.stdin.write(json.dumps([topic.name, person % topic.partitions, told]) + "\n")
            producer.stdin.flush()
        producer.stdin.close()
        assert producer.wait(30) == 0
        deadline = time.monotonic() + 60
        while not any(meta.format == MORE for meta in metas(deployment)):
            assert time.monotonic() < deadline, f"nobody took over:\n{new[0].tail()}"
            time.sleep(0.05)
        new[0].kill()
        files = Stream([event for _, _, event in events]).write(tmp_path)
        expected = expect(deployment, files)
        wanted = expected.decisions
        got = decisions(deployment, wanted)
        assert new[1].stop() == 0
        assert {i: shape(d) for i, d in got.items()} == {i: shape(d) for i, d in wanted.items()}
        anew = {i for i, d in got.items() if d["fingerprint"]}
        assert {i: got[i]["payload"] for i in anew} == {i: wanted[i]["payload"] for i in anew}
        # That it was worth the while:
        assert unread > 0, "no record lay unread between the hops"
        assert fired >= PERSONS
        outcomes = Counter((got[i]["outcome"], got[i]["reason"]) for i in anew)
        print(unread, fired, outcomes, Counter((d["outcome"], d["reason"]) for d in got.values()))
        assert outcomes["retracted", "bought"] == PERSONS // 2
        assert outcomes["cancelled", "emptied"] == PERSONS
        assert outcomes["cancelled", "clicked"] > 0
        assert deployment.read(deployment.topology.topics.dead_letters.name) == []
        assert known(converted(deployment)) == known(expected.profiles)


def old_topology(deployment: Deployment, before: Path) -> Path:
    """The same deployment, as the old version reads it."""
    document = yaml.safe_load((before / "topology.yaml").read_text())
    quick(document)
    name = deployment.name
    document.update(kafka=deployment.kafka, redis=deployment.redis, registry=deployment.registry.url, group=name)
    topics = document["topics"]
    topics["sources"] = {f"{name}.{topic}": settings for topic, settings in topics["sources"].items()}
    for role in ("resolved", "triggers", "decisions", "dead_letters"):
        topics[role]["name"] = f"{name}.{topics[role]['name']}"
    path = deployment.folder / f"{name}-old.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def metas(deployment: Deployment) -> list[Meta]:
    """The books of all partitions."""
    found = Books(deployment.topology).read()
    assert found is not None
    return [meta or Meta() for meta in found]


def converted(deployment: Deployment) -> dict[str, Profile]:
    """All profiles, of those that nobody has asked for since what becomes of them."""
    books, book = Books(deployment.topology), RuleBook(deployment.topology)
    found = {}
    for partition in range(books.partitions):
        stored: Any = books.client.hgetall(books.keys(partition)[1])
        for name, raw in stored.items():
            state = format2.read(book, raw)
            if isinstance(state, Profile):
                found[name.decode()] = state
    return found


def known(profiles: dict[str, Profile]) -> dict[str, Any]:
    """What people read of each."""
    found = {}
    for name, profile in profiles.items():
        about = profile.about
        told = [getattr(about, field) for field in ("first_seen", "last_seen", "totals", "days", "kept")]
        found[name] = [*map(msgspec.to_builtins, told), sorted(read_timeline(about)), [p.ids for p in profile.persons]]
    return found


def taken_over(deployment: Deployment) -> tuple[int, int]:
    """How many records lie between the hops that nobody has read; how many triggers went out."""
    books = metas(deployment)
    unread = 0
    for record in deployment.read(deployment.topology.topics.resolved.name):
        meta = books[record.partition()]
        assert meta.format == 2
        assert record.headers() is None
        unread += record.offset() >= meta.offset
    return unread, len(deployment.read(deployment.topology.topics.triggers.name))


def decisions(deployment: Deployment, wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All that were published, by id, once what is wanted is there."""
    deadline = time.monotonic() + 60
    reader = fastavro.parse_schema(schemas.plain("decision"))
    with connect(deployment.registry.url) as registry:
        while True:
            found: dict[str, dict[str, Any]] = {}
            for message in deployment.read(deployment.topology.topics.decisions.name):
                value = message.value()
                writer = json.loads(registry.schema(int.from_bytes(value[1:5], "big")) or "")
                told: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(writer), reader)
                told["payload"] = json.loads(told["payload"])
                assert shape(found.setdefault(told["id"], told)) == shape(told), "one id, told in two ways"
            if wanted.keys() <= found.keys() or time.monotonic() > deadline:
                return found
            for worker in deployment.workers:
                worker.check()
            time.sleep(0.5)


def shape(decision: dict[str, Any]) -> dict[str, Any]:
    """What must be the same of a decision, whoever made it."""
    told = ("outcome", "reason", "rule", "correlation_key", "cause_event_id", "retracts", "ended_by", "late_event_id")
    return {field: decision.get(field) for field in told}
