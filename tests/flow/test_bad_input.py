"""Bad records between good ones on a real Kafka: each is processed or a dead letter with a true reason, the good ones
all count, and the worker lives.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Self

import fastavro
import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.schema_registry import Schema

from pipeline.events import schemas
from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import Registry, connect
from tests.control import say
from tests.deployment import Deployment, WorkerProcess
from tests.oracle.compare import difference
from tests.oracle.histories import history, together
from tests.oracle.segment import segment_lines
from tests.registry import RegistryServer
from tests.replayed import as_event, replayed
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

BAD = 10_000
GARBAGE = 6_000
STREAMS = {"email": "email", "video": "video", "offline": "offline", "call": "offline", "store": "offline"}


Headers = list[tuple[str, bytes | None]]


class Sent(NamedTuple):
    """A record as it lies in a source topic."""

    kind: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


class Feed:
    """Records into a deployment's source topics, in the order of `put` in every partition."""

    def __init__(self, deployment: Deployment) -> None:
        self.registry: Registry = connect(deployment.registry.url)
        self.encoder = Encoder(self.registry)
        self.topology = deployment.topology
        self.topics = {topic.name.split(".")[-1]: topic for topic in deployment.topology.topics.sources}
        self.producer = Producer({"bootstrap.servers": deployment.kafka, "message.max.bytes": 2_000_000})
        self.sent: list[Sent] = []
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.registry.close()

    def topic_of(self, event: Event) -> str:
        """The source topic that its type belongs to."""
        return self.topics[STREAMS.get(event.type.split("_")[0], "clickstream")].name

    def encode(self, event: Event) -> bytes:
        """In the wire format, whatever is in it."""
        return self.encoder.encode(self.topic_of(event), event)

    def put(
        self,
        kind: str,
        topic: str,
        partition: int,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers | None = None,
    ) -> None:
        """One record."""

        def done(error: Any, message: Message) -> None:
            if error is not None:
                self.wrong.append(f"{kind}: {error}")
                return
            at = message.partition(), message.offset()
            self.sent.append(Sent(kind, topic, *at, key, value, headers or [], message.timestamp()[1]))  # type: ignore[arg-type]

        while True:
            try:
                self.producer.produce(topic, value, key, partition, on_delivery=done, headers=[*(headers or [])])
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def end(self) -> None:
        """The recording is complete up to now; every wait of the histories is over by then."""
        self.flush()
        say(self.topology, "begin")
        say(self.topology, "end", int(time.time() * 1000))

    def flush(self) -> None:
        """Until the broker has all."""
        assert self.producer.flush(60) == 0
        assert not self.wrong


def _with(event: Event, **changes: Any) -> Event:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return Event(**{**fields, **changes})


def truncated(rng: Random, feed: Feed, event: Event) -> bytes:
    value = feed.encode(event)
    return value[: rng.randrange(1, len(value))]


def empty(rng: Random, feed: Feed, event: Event) -> bytes | None:
    return rng.choice([None, b""])


def random_bytes(rng: Random, feed: Feed, event: Event) -> bytes:
    return rng.randbytes(rng.choice([1, 4, 5, 6, 20, 300]))


def random_body(rng: Random, feed: Feed, event: Event) -> bytes:
    return feed.encode(event)[:5] + rng.randbytes(rng.choice([0, 1, 6, 60, 300]))


def one_byte(rng: Random, feed: Feed, event: Event) -> bytes:
    """Behind the envelope's times and identifiers (another time would be believed). It may stay readable: an event."""
    value = bytearray(feed.encode(event))
    value[rng.randrange(value.rfind(b"bad-") + 10, len(value))] ^= 1 << rng.randrange(8)
    return bytes(value)


def trailing(rng: Random, feed: Feed, event: Event) -> bytes:
    return feed.encode(event) + rng.randbytes(rng.randint(1, 50))


def unknown_schema(rng: Random, feed: Feed, event: Event) -> bytes:
    return b"\0" + rng.choice([77_777, 1 << 31, (1 << 32) - 1]).to_bytes(4, "big") + feed.encode(event)[5:]


def foreign_schema(rng: Random, feed: Feed, event: Event) -> bytes:
    kind, text = rng.choice([("AVRO", FOREIGN), ("AVRO", json.dumps("string")), ("JSON", JSON_SCHEMA)])
    number = feed.registry.client.register_schema(f"foreign-{len(text)}-value", Schema(text, kind))
    return b"\0" + number.to_bytes(4, "big") + feed.encode(event)[5:]


def schema_of_another_type(rng: Random, feed: Feed, event: Event) -> bytes:
    other = rng.choice(sorted(set(schemas.names()) - {event.type}))
    topic = feed.topic_of(event)
    number = feed.registry.register(schemas.subject(topic, other), schemas.text(other))
    return b"\0" + number.to_bytes(4, "big") + feed.encode(event)[5:]


def huge_identifier(rng: Random, feed: Feed, event: Event) -> bytes:
    size = rng.choice([513, 100_000, 900_000]) if rng.random() < 0.05 else 513
    return feed.encode(_with(event, identifiers={**event.identifiers, "user_id": "x" * size}))


def huge_text(rng: Random, feed: Feed, event: Event) -> bytes:
    text = rng.choice(["x" * 65_537, "\N{GRINNING FACE}" * 16_385])
    return feed.encode(_with(event, type="searched", body={"query": text}))


def huge_id(rng: Random, feed: Feed, event: Event) -> bytes:
    return feed.encode(_with(event, event_id=rng.choice(["", "x" * 257])))


def not_a_number(rng: Random, feed: Feed, event: Event) -> bytes:
    body = {"product_id": "p", "price": float(rng.choice(["nan", "inf", "-inf"])), "quantity": 1.0}
    return feed.encode(_with(event, type="product_added", body=body))


def negative_time(rng: Random, feed: Feed, event: Event) -> bytes:
    field = rng.choice(["occurred_at", "received_at"])
    return feed.encode(_with(event, **{field: rng.choice([-1, -(10**15), -(1 << 63)])}))


def beyond_9999(rng: Random, feed: Feed, event: Event) -> bytes:
    return feed.encode(_with(event, received_at=rng.choice([253_402_300_800_000, (1 << 63) - 1])))


def received_in_future(rng: Random, feed: Feed, event: Event) -> bytes:
    ahead = rng.choice([3_600_000, 10**11])
    return feed.encode(_with(event, received_at=int(time.time() * 1000) + ahead))


def happened_in_future(rng: Random, feed: Feed, event: Event) -> bytes:
    return feed.encode(_with(event, occurred_at=event.received_at + rng.choice([1, 10**12])))


def invalid_utf8(rng: Random, feed: Feed, event: Event) -> bytes:
    mark = "WHERE-IT-BREAKS"
    ids = {"anonymous_id": mark} if rng.random() < 0.5 else event.identifiers
    value = feed.encode(_with(event, type="searched", identifiers=ids, body={"query": mark}))
    return value.replace(mark.encode(), rng.choice([b"\xff" * 15, b"\xed\xa0\x80" * 5, b"\xc3" + b"x" * 14]))


def nobody(rng: Random, feed: Feed, event: Event) -> bytes:
    ids = rng.choice([{}, {"anonymous_id": "null"}, {"user_id": " 0 "}, {"cookie": "c-1"}, {"email": ""}])
    return feed.encode(_with(event, identifiers=ids))


JSON_SCHEMA = json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"})
FOREIGN = json.dumps({"type": "record", "name": "Invoice", "fields": [{"name": "total", "type": "double"}]})
MANY = {"truncated", "trailing_bytes", "undecodable", "invalid_time"}
FOUND_LATER = {"no_identifier"}
# What is done to a record -> the reasons that are true of it. None: it may be readable, and is then an event.
MUTATIONS: dict[Callable[..., bytes | None], set[str | None]] = {
    truncated: {"truncated"},
    empty: {"empty"},
    random_bytes: {"bad_magic", "truncated", "unknown_schema"},
    random_body: {*MANY, *FOUND_LATER, None},
    one_byte: {*MANY, *FOUND_LATER, None},
    trailing: {"trailing_bytes"},
    unknown_schema: {"unknown_schema"},
    foreign_schema: {"wrong_schema"},
    schema_of_another_type: {*MANY, None},
    # A part that can't be used is left out, and the rest counts (semantics 22).
    huge_identifier: {None},
    huge_text: {None},
    huge_id: {None},
    not_a_number: {None},
    negative_time: {None},
    beyond_9999: {None},
    received_in_future: {None},
    happened_in_future: {None},
    invalid_utf8: {None, "no_identifier"},
    nobody: {"no_identifier"},
}
ALLOWED = {mutation.__name__: reasons for mutation, reasons in MUTATIONS.items()}


def limit(share: float, window: int, run: int) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["dead_letter_limit"] = {"share": share, "window": window, "run": run}

    return change


Feeds = Callable[[Deployment], Feed]


@pytest.fixture
def feeds() -> Iterator[Feeds]:
    with ExitStack() as stack:
        yield lambda deployment: stack.enter_context(Feed(deployment))


@pytest.fixture
def make(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> Iterator[Callable[..., Deployment]]:
    made: list[Deployment] = []

    def make(
        change: Callable[[dict[str, Any]], None] | None = None, at: RegistryServer | SchemaRegistry = registry
    ) -> Deployment:
        one = Deployment(tmp_path, f"{prefix}bad{len(made)}", kafka.bootstrap, redis_url, at, change)
        made.append(one)
        one.run("topics")
        return one

    yield make
    for one in made:
        one.__exit__()


def partition_of(number: int, topic: str) -> int:
    """Somewhere, the same each time."""
    return Random(f"{number} {topic}").randrange(4)


def put_good(feed: Feed, number: int, event: Event) -> None:
    topic = feed.topic_of(event)
    feed.put("good", topic, partition_of(number, topic), feed.encode(event), b"key-%d" % number)


def good_decisions(deployment: Deployment, expect: set[str], timeout: float = 120.0) -> list[dict[str, Any]]:
    """What was published of good people, each decision once."""
    published = {d["id"]: d for d in deployment.settle(expect, timeout)}
    of_bad = {
        i for i, d in published.items() if any(v.startswith("bad") for vs in d["identifiers"].values() for v in vs)
    }
    return [
        {k: v for k, v in d.items() if v is not None or k == "correlation_key"}
        for i, d in published.items()
        if i not in of_bad
    ]


def dead_letters(deployment: Deployment) -> dict[tuple[str, int, int], Message]:
    """By where the bad record lies; there once each."""
    found: dict[tuple[str, int, int], Message] = {}
    for letter in deployment.read(deployment.topology.topics.dead_letters.name):
        told = texts(letter)
        at = tuple(told[f"__connect.errors.{part}"] for part in ("topic", "partition", "offset"))
        place = (at[0], int(at[1]), int(at[2]))
        assert place not in found, f"a dead letter twice: {place}"
        found[place] = letter
    return found


def headers_of(message: Message) -> Headers:
    """As they lie in Kafka."""
    found: Any = message.headers()
    return list(found or [])


def texts(message: Message) -> dict[str, str]:
    """Its headers as words."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers_of(message)}


def metric(worker: WorkerProcess, name: str, label: str = "") -> float:
    """The sum of a metric, over those of its series that carry a label."""
    lines = [line for line in worker.get("/metrics").splitlines() if line.startswith(name) and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def waited(worker: WorkerProcess, look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `look` finds as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        worker.check()
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.2)
    return found


def test_ten_thousand_bad_records(make: Callable[..., Deployment], feeds: Feeds) -> None:
    deployment = make(limit(1.0, 1_000_000, 1_000_000))
    good = together([history(seed, segment=False) for seed in range(60)])
    expected = replayed(good)
    feed, rng = feeds(deployment), Random(1)
    kinds = list(MUTATIONS)
    each = -(-BAD // len(good))
    bad = 0
    ahead: list[partial[None]] = []  # these count as received now, years after the recording: behind all of it
    for number, told in enumerate(good):
        event = as_event(told)
        for _ in range(min(each, BAD - bad)):
            mutation = kinds[bad % len(kinds)]
            person = {"anonymous_id": f"bad-{bad:06d}"}
            value = mutation(rng, feed, _with(event, event_id=f"bad-{bad:06d}", identifiers=person))
            topic = feed.topic_of(event)
            headers = (
                [("traceparent", rng.choice([b"\xff\xfe", b"", b"00-x", b"x" * 5000, None]))] if bad % 7 == 0 else []
            )
            key = rng.choice([None, b"", b"\xff", b"k"])
            put = partial(
                feed.put, mutation.__name__, topic, partition_of(bad, topic), value, key, [*headers, ("n", b"%d" % bad)]
            )
            bad += 1
            if mutation is received_in_future:
                ahead.append(put)
            else:
                put()
        put_good(feed, number, event)
    for late in ahead:
        late()
    feed.end()
    assert Counter(sent.kind in ALLOWED for sent in feed.sent)[True] == BAD

    worker = deployment.worker()
    worker.wait_ready()
    made = good_decisions(deployment, {d["id"] for d in expected})
    assert not difference(expected, made)
    processed = check_letters(feed, dead_letters(deployment))
    assert BAD * 0.3 < processed < BAD * 0.6
    taken = [metric(worker, "pipeline_events_total", f'outcome="{outcome}"') for outcome in ("processed", "late")]
    assert sum(taken) == len(good) + processed  # where another time stood in, it may be late
    assert metric(worker, "pipeline_dead_letters_total") == BAD - processed
    assert metric(worker, "pipeline_remarks_total", 'remark="left_out"') > BAD * 0.2
    assert worker.stop() == 0


def check_letters(feed: Feed, letters: dict[tuple[str, int, int], Message]) -> int:
    """Every record: good ones are no dead letter; bad ones are, as they were, for a reason that is true. Returns how
    many mutated ones could be read and were processed.
    """
    processed = 0
    seen: dict[str, set[str | None]] = {}
    for sent in feed.sent:
        letter = letters.pop((sent.topic, sent.partition, sent.offset), None)
        if sent.kind == "good":
            assert letter is None, f"a good record is a dead letter: {letter and letter.headers()}"
            continue
        if letter is None:
            assert None in ALLOWED[sent.kind], f"{sent.kind} is neither processed nor a dead letter: {sent}"
            assert readable(feed, sent.value), f"{sent.kind} was taken, though it can't be read: {sent}"
            seen.setdefault(sent.kind, set()).add(None)
            processed += 1
            continue
        headers, told = headers_of(letter), texts(letter)
        reason = told["pipeline.reason"]
        assert reason in ALLOWED[sent.kind], f"{sent.kind} is called {reason}: {told}"
        seen.setdefault(sent.kind, set()).add(reason)
        assert (letter.key(), letter.value()) == (sent.key, sent.value)
        assert headers[: len(sent.headers)] == sent.headers
        assert told["pipeline.timestamp"] == str(sent.timestamp)
        assert told["__connect.errors.stage"] == "resolve_identity"
        assert told["__connect.errors.exception.message"].startswith(f"{reason}: ")
        assert told["__connect.errors.exception.class.name"] == "pipeline.errors.InvalidEvent"
        if sent.value and sent.value[0] == 0 and len(sent.value) >= 5:
            assert told["pipeline.schema.id"] == str(int.from_bytes(sent.value[1:5], "big"))
    assert not letters, f"dead letters of records that nobody wrote: {list(letters)[:3]}"
    assert seen.keys() == ALLOWED.keys()
    return processed


def readable(feed: Feed, value: bytes | None) -> bool:
    """Whether Avro's own reading finds an event there, to the last byte. What lies in a text that no rule and no
    profile reads may be no UTF-8: that is not looked at.
    """
    assert value is not None
    text = feed.registry.schema(int.from_bytes(value[1:5], "big"))
    assert text is not None
    stream = io.BytesIO(value[5:])
    record = fastavro.schemaless_reader(
        stream, fastavro.parse_schema(schemas.stripped(json.loads(text))), None, handle_unicode_errors="replace"
    )
    assert isinstance(record, dict)
    return stream.tell() == len(value) - 5 and bool(record["identifiers"])


def test_a_partition_stops_before_it_drains_into_the_dead_letters(
    make: Callable[..., Deployment], feeds: Feeds
) -> None:
    deployment = make(limit(0.5, 100, 50))
    good = together([history(seed) for seed in range(100, 115)])
    expected = replayed(good)
    feed, rng = feeds(deployment), Random(2)
    bad_at = len(good) // 2
    for number, told in enumerate(good):
        event = as_event(told)
        if number == bad_at:
            topic = feed.topics["clickstream"].name
            for _ in range(400):
                feed.put("truncated", topic, 1, truncated(rng, feed, event), None, [])
        put_good(feed, number, event)
    feed.end()

    place = f"{feed.topics['clickstream'].name}-1"
    worker = deployment.worker()
    waited(worker, lambda: "health and metrics on" in worker.log.read_text())
    stopped = waited(worker, lambda: worker.ready()["held_by"].get(place, ""))
    assert "records are bad" in stopped or "in a row are bad" in stopped
    assert "waits for this one" in stopped
    named = re.search(r"pipeline skip (\S+) (\d+) OFFSET`, where OFFSET is (\d+) or higher", stopped)
    assert named is not None
    waited(worker, lambda: metric(worker, "pipeline_partition_stopped{") == 1)
    assert f"{place} stops before offset" in worker.log.read_text()
    assert len(dead_letters(deployment)) < 400

    # The others are read to their ends meanwhile, and nothing is decided that this one may still have a say in.
    others = [sent for sent in feed.sent if (sent.topic, sent.partition) != (named[1], 1)]
    waited(worker, lambda: metric(worker, "pipeline_events_total", 'outcome="processed"') >= len(others))
    assert not [line for line in worker.log.read_text().splitlines() if "the worker ends" in line]
    assert {d["id"] for d in deployment.decisions()} < {d["id"] for d in expected}

    # An operator lets it pass: all that is bad is a dead letter that says so, and all is decided.
    said = deployment.run("skip", named[1], named[2], "end")
    assert "goes to" in said
    assert not difference(expected, good_decisions(deployment, {d["id"] for d in expected}))
    letters = dead_letters(deployment)
    assert len(letters) == 400
    assert {letter[:2] for letter in letters} == {(feed.topics["clickstream"].name, 1)}
    assert any("pipeline.skipped.by" in texts(letter) for letter in letters.values())
    assert re.search(rf"{place} goes on: .* before offset \d+ may pass, said \S+@\S+ at 20", worker.log.read_text())
    assert place not in worker.ready()["held_by"]
    deployment.run("skip", named[1], named[2], "1", code=1)
    assert worker.stop() == 0


def most_resident(worker: WorkerProcess) -> int:
    """Megabytes of memory that a worker had at the most."""
    told = Path(f"/proc/{worker.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", told)[0]) // 1024


def test_small_batches_that_unpack_to_more_than_there_is_room_for(
    make: Callable[..., Deployment], feeds: Feeds, kafka: KafkaServer
) -> None:
    """Each is a dead letter as it lies in Kafka, the memory stays, and what lies around it counts."""
    deployment = make()
    good = together([history(seed) for seed in range(500, 504)])
    expected = replayed(good)
    feed = feeds(deployment)
    topic = feed.topics["clickstream"].name
    kafka.set_topic_config(topic, "max.message.bytes", "4000000")
    kafka.set_topic_config(deployment.topology.topics.dead_letters.name, "max.message.bytes", "500000")
    sizes = {"zstd": 150_000_000, "gzip": 40_000_000, "lz4": 40_000_000, "snappy": 40_000_000, "none": 900_000}
    places: dict[str, int] = {}

    def put_alone(kind: str, value: bytes) -> None:
        def done(error: Any, message: Message) -> None:
            assert error is None, error
            places[kind] = message.offset() or 0

        producer = Producer(
            {
                "bootstrap.servers": deployment.kafka,
                "compression.type": kind.partition(" ")[0],
                "message.max.bytes": 200_000_000,
                "queue.buffering.max.kbytes": 400_000,
            }
        )
        producer.produce(topic, value, partition=1, on_delivery=done)
        assert producer.flush(60) == 0

    for number, told in enumerate(good):
        put_good(feed, number, as_event(told))
        if number == len(good) // 2:
            feed.flush()
            for codec, size in sizes.items():
                put_alone(codec, Random(5).randbytes(size) if codec == "none" else bytes(size))
            for more in range(4):  # each of these may be unpacked, and all of them together may not
                put_alone(f"zstd {more}", bytes(15_000_000))
    feed.end()
    worker = deployment.worker()
    worker.wait_ready()
    assert not difference(expected, good_decisions(deployment, {d["id"] for d in expected}))

    letters = dead_letters(deployment)
    assert letters.keys() == {(topic, 1, offset) for offset in places.values()}
    for kind, offset in places.items():
        letter = letters[topic, 1, offset]
        told, value = texts(letter), letter.value() or b""
        if kind == "none":  # larger than the topic takes: its beginning, and how much there was
            assert (value, told["pipeline.reason"]) == (Random(5).randbytes(900_000)[: len(value)], "bad_magic")
            assert int(told["pipeline.cut"]) > 900_000 > len(value) > 10_000
        elif kind in sizes:
            assert (told["pipeline.reason"], told["pipeline.batch"]) == ("too_large", f"{offset}-{offset}")
            assert f"packed with {kind}" in told["__connect.errors.exception.message"]
            assert len(value) < 2_500_000
            assert int.from_bytes(value[:8], "big") == offset  # a record batch of Kafka
        else:
            assert (told["pipeline.reason"], value[:16_000]) == (
                "unknown_schema",
                bytes(15_000_000)[: len(value)][:16_000],
            )
    # What Kafka hasn't answered for is kept until it has: where its disk stands, of each try for twenty seconds.
    assert most_resident(worker) < 500 + 1_500 * worker.log.read_text().count("was not answered")
    assert worker.stop() == 0


def test_schemas_that_nobody_knows_cost_the_good_ones_nothing(make: Callable[..., Deployment], feeds: Feeds) -> None:
    """Two of five records name a schema of their own that doesn't exist; one that does comes up among them."""
    deployment = make()
    good = together([history(seed) for seed in range(400, 406)])
    expected = replayed(good)
    feed, rng = feeds(deployment), Random(4)
    topic, filler = feed.topics["clickstream"].name, 0
    variant = json.loads(schemas.text("page_viewed")) | {"doc": "Written by a newer producer."}
    number = feed.registry.register(schemas.subject(topic, "page_viewed"), json.dumps(variant))
    made_up = rng.sample(range(1000, 1 << 32), GARBAGE)
    garbage = iter(made_up)
    for at, told in enumerate(good):
        event = as_event(told)
        for _ in range(-(-GARBAGE // (2 * len(good)))):
            fill = _with(event, type="page_viewed", identifiers={"anonymous_id": f"bad-{filler % 50}"}, body={})
            value = feed.encode(_with(fill, event_id=f"bad-{filler}"))
            for n in range(3):
                filler += 1
                header = b"\0" + number.to_bytes(4, "big") if n == 0 else value[:5]
                feed.put("good", topic, 1, header + value[5:])
            for schema_id in (next(garbage, None) for _ in range(2)):
                if schema_id is not None:
                    feed.put("garbage", topic, 1, b"\0" + schema_id.to_bytes(4, "big") + value[5:])
        put_good(feed, at, event)
    feed.end()

    began = time.monotonic()
    worker = deployment.worker()
    worker.wait_ready()
    assert not difference(expected, good_decisions(deployment, {d["id"] for d in expected}))
    seconds = time.monotonic() - began
    letters = dead_letters(deployment)
    assert Counter(texts(letter)["pipeline.reason"] for letter in letters.values()) == {"unknown_schema": GARBAGE}
    assert letters.keys() == {sent[1:4] for sent in feed.sent if sent.kind == "garbage"}
    unasked = sum("not asked" in texts(each)["__connect.errors.exception.message"] for each in letters.values())
    assert sum(number < 1 << 31 for number in made_up) - unasked < 600 + 100 * seconds  # no registry gives larger ones
    assert worker.stop() == 0


@pytest.fixture
def faulty() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


def test_a_registry_that_is_down_stops_its_partitions_and_nothing_is_lost(
    make: Callable[..., Deployment], feeds: Feeds, faulty: RegistryServer
) -> None:
    deployment, registry = make(at=faulty), faulty
    good = together([history(seed) for seed in range(200, 215)])
    expected = replayed(good)
    feed = feeds(deployment)
    values = [(number, event, feed.encode(event)) for number, event in enumerate(map(as_event, good))]
    registry.stop()
    worker = deployment.worker()
    waited(worker, lambda: "the worker can't start yet: Schema registry" in worker.log.read_text())
    assert registry.url in worker.ready()["waiting_for"]["registry"]
    registry.start()
    worker.wait_ready()
    registry.stop()
    for number, event, value in values:
        topic = feed.topic_of(event)
        feed.put("good", topic, partition_of(number, topic), value)
    feed.end()
    deadline = time.monotonic() + 60
    while "schema registry" not in str(worker.ready()):
        assert time.monotonic() < deadline, worker.ready()
        time.sleep(0.2)
    time.sleep(3)
    worker.check()
    assert dead_letters(deployment) == {}

    for status, body in ((500, "{}"), (404, "<html>no such page</html>"), (200, "not JSON"), (401, "{}")):
        registry.start()
        registry.answer_with(status, body)  # answers, but none that says there is no such schema
        time.sleep(2)
        registry.stop()
    worker.check()
    assert dead_letters(deployment) == {}
    assert deployment.decisions() == []

    registry.answer_with(None)
    registry.start()
    assert not difference(expected, good_decisions(deployment, {d["id"] for d in expected}))
    assert dead_letters(deployment) == {}
    assert worker.stop() == 0


def test_mutated_lines_of_a_recording(make: Callable[..., Deployment], tmp_path: Path) -> None:
    """`pipeline ingest`: a bad line is a dead letter with file and line, and the good ones are all there."""
    deployment = make()
    events = together([history(seed) for seed in range(300, 310)])
    rng = Random(3)
    out: list[bytes] = []
    broken: dict[int, str] = {}
    for line in segment_lines(events):
        if rng.random() < 0.5:
            kind, raw = rng.choice(LINES)(line)
            out.append(raw)
            if kind:
                broken[len(out)] = kind
        out.append(line.encode())
    file = tmp_path / "mixed.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in out))
    deployment.run("ingest", "--yes", str(file))
    letters = deployment.read(deployment.topology.topics.dead_letters.name)
    found = {}
    for letter in letters:
        told = texts(letter)
        number = int(told["pipeline.line"])
        assert told["pipeline.file"] == str(file)
        found[number] = told["pipeline.reason"]
        assert letter.value() == out[number - 1].strip()
    assert found == broken

    expected = replayed(events)
    worker = deployment.worker()
    worker.wait_ready()
    assert not difference(expected, good_decisions(deployment, {d["id"] for d in expected}))
    assert worker.stop() == 0


def _changed(line: str, **changes: Any) -> bytes:
    told = {**json.loads(line), "anonymousId": "bad", **changes}
    return json.dumps(told).encode()


def _odd(line: str) -> bytes:
    """Somebody else's, in which a name is not UTF-8."""
    return _changed(line, userId=None, context={}, traits={}).replace(b'"messageId"', b'"\xff\xfe"')


# What is done to a line -> the reason why it can't be read; "": it can.
LINES: list[Callable[[str], tuple[str, bytes]]] = [
    lambda line: ("invalid_json", line.encode()[: len(line) // 2]),
    lambda line: ("invalid_json", b"not json"),
    lambda line: ("", _odd(line)),
    lambda line: ("invalid_time", _changed(line, timestamp="yesterday", receivedAt="then")),
]
