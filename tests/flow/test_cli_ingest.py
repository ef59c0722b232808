"""`pipeline ingest` into a real Kafka: what lies in which partition afterwards, in which order, and what is said."""

from __future__ import annotations

import gzip
import json
import signal
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from pipeline.cli import cli
from pipeline.errors import PipelineError
from pipeline.events.codec import Decoder
from pipeline.events.files import FileLine
from pipeline.events.model import NOW, Event
from pipeline.events.registry import connect
from pipeline.runtime.ingest import Ingest
from pipeline.runtime.living import living
from pipeline.runtime.recordings import merged
from pipeline.runtime.subjects import bring
from pipeline.runtime.words import Word
from pipeline.topology import Topology, load
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
NAMES = ("events.clickstream", "events.email", "events.video", "events.offline", "events.dead-letter", "events.control")
HOUR = 3_600_000
NOON = 1_763_985_600_000  # 2025-11-24T12:00:00Z


class Found(NamedTuple):
    """One record as it lies in Kafka."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]
    timestamp: int


class Site:
    """One test's topics, topology and registry."""

    def __init__(self, kafka: KafkaServer, registry: SchemaRegistry, prefix: str, folder: Path) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.registry = connect(registry.url)
        text = (ROOT / "topology.yaml").read_text("utf-8")
        for name in NAMES:
            text = text.replace(f"    {name}: {{", f"    {prefix}{name}: {{").replace(
                f"name: {name},", f"name: {prefix}{name},"
            )
        self.topology = folder / "topology.yaml"
        self.topology.write_text(text, "utf-8")
        self.env = {"PIPELINE_KAFKA": kafka.bootstrap, "PIPELINE_REGISTRY": registry.url}

    def create_topics(self, *names: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        wanted = [NewTopic(self.prefix + name, 1 if name == "events.control" else PARTITIONS, 1) for name in names]
        for made in admin.create_topics(wanted).values():
            made.result(30)
        bring(self.registry, load(self.topology, self.env).topics, create=True)

    def ingest(self, *args: Any) -> Result:
        argv = ["ingest", "--topology", str(self.topology), "--yes", *map(str, args)]
        return CliRunner().invoke(cli, argv, env=self.env)

    def records(self, name: str) -> list[Found]:
        """All records of a topic, partition by partition."""
        consumer = Consumer(
            {"bootstrap.servers": self.kafka.bootstrap, "group.id": "test", "enable.auto.commit": False}
        )
        found = []
        try:
            for partition in range(1 if name == "events.control" else PARTITIONS):
                tp = TopicPartition(self.prefix + name, partition, 0)
                end = self._end(consumer, tp)
                consumer.assign([tp])
                for _ in range(end):
                    message = consumer.poll(10)
                    assert message is not None
                    assert message.error() is None
                    pairs: Any = message.headers() or []
                    headers = {name: value.decode() for name, value in pairs}
                    found.append(Found(partition, message.key(), message.value(), headers, message.timestamp()[1]))
        finally:
            consumer.close()
        return found

    def words(self) -> list[Word]:
        """What was said on the control topic."""
        return [msgspec.json.decode(record.value or b"", type=Word) for record in self.records("events.control")]

    @staticmethod
    def _end(consumer: Consumer, tp: TopicPartition) -> int:
        """A topic that was made a moment ago may have no leader yet."""
        for _ in range(50):
            try:
                return int(consumer.get_watermark_offsets(tp, timeout=10)[1])
            except KafkaException:
                time.sleep(0.2)
        raise AssertionError(f"{tp.topic} has no leader")


@pytest.fixture
def site(kafka: KafkaServer, registry: SchemaRegistry, prefix: str, tmp_path: Path) -> Any:
    site = Site(kafka, registry, prefix, tmp_path)
    with site.registry:
        yield site


def murmur2(data: bytes) -> int:
    """Kafka's own hash (org.apache.kafka.common.utils.Utils.murmur2), as its documentation and tests give it."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if len(data) > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_the_hash_is_kafkas() -> None:
    """Values from Kafka's UtilsTest."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for text, value in known.items():
        assert murmur2(text) == value & 0xFFFFFFFF


def track(name: str, number: int, second: int, who: dict[str, str], **properties: Any) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOON / 1000 + second))
    event = {"type": "track", "event": name, "messageId": f"m{number}", "properties": properties, "timestamp": stamp}
    return json.dumps({**event, **who})


def recording(folder: Path) -> tuple[Path, Path]:
    """Two files: 200 page events of 40 people, and a few of every other stream, two bad lines, one of nobody."""
    first = [track("Product Viewed", n, n, {"anonymousId": f"visitor-{n % 40}"}, product_id="p") for n in range(200)]
    first.insert(7, "{ broken")
    second = [
        track("Email Sent", 1000, 3, {"userId": "anna"}, message_id="m", link_ids=["ebook"]),
        track("Video Content Started", 1001, 50, {"userId": "anna"}, session_id="s", title="t"),
        track("Product Viewed", 1002, 60, {"userId": "null"}, product_id="p"),
    ]
    a, b = folder / "site.jsonl", folder / "other.jsonl.gz"
    a.write_text("\n".join(first) + "\n", "utf-8")
    b.write_bytes(gzip.compress("\n".join(second).encode()))
    return a, b


def test_a_recording_is_written_whole_between_its_words(site: Site, tmp_path: Path) -> None:
    site.create_topics(*NAMES)
    started = time.time() * 1000
    result = site.ingest(*recording(tmp_path))
    assert result.exit_code == 0, result.output
    assert "202 events from 2 files" in result.stderr
    assert f"2 bad lines in {site.prefix}events.dead-letter" in result.stderr
    end = NOON + 199_000 + 72 * HOUR + 5 * 60_000 + 1
    events = []
    lengths = {}
    for topic in NAMES[:4]:
        records = site.records(topic)
        for partition in range(PARTITIONS):
            lengths[f"{site.prefix}{topic}-{partition}"] = sum(r.partition == partition for r in records)
        events += records
        assert all(started - 1000 <= r.timestamp <= time.time() * 1000 + 1000 for r in records)
    first, *_, last = site.words()
    assert (first.word, first.offsets) == ("begin", dict.fromkeys(lengths, 0))
    assert (last.word, last.through, last.offsets) == ("end", end, lengths)
    assert {word.recording for word in site.words()} == {first.recording}
    assert all(r.key is not None and r.partition == (murmur2(r.key) & 0x7FFFFFFF) % PARTITIONS for r in events)
    decoder = Decoder(site.registry)
    decoded = [(r.key, decoder.decode(r.value)) for r in events]
    assert len(decoded) == len({e.event_id for _, e in decoded}) == 202
    for n in range(40):
        mine_in_order = [e.event_id for key, e in decoded if key == f"visitor-{n}".encode()]
        assert mine_in_order == [f"m{i}" for i in range(n, 200, 40)]
    assert {e.type for _, e in decoded} == {"product_viewed", "email_sent", "video_started"}


def test_bad_lines_are_dead_letters_with_file_and_line(site: Site, tmp_path: Path) -> None:
    site.create_topics(*NAMES)
    a, b = recording(tmp_path)
    result = site.ingest(a, b)
    found = sorted(site.records("events.dead-letter"), key=lambda r: r.headers["pipeline.file"])
    assert [(r.headers["pipeline.file"], r.headers["pipeline.line"], r.headers["pipeline.reason"]) for r in found] == [
        (str(b), "3", "no_identifier"),
        (str(a), "8", "invalid_json"),
    ]
    assert found[1].value == b"{ broken"
    assert found[1].headers["__connect.errors.stage"] == "ingest"
    assert found[1].headers["__connect.errors.exception.message"].startswith("invalid_json: ")
    assert f"{a}:8: invalid_json: " in result.stderr.replace("\n", "")


def test_what_was_recorded_by_a_clock_that_was_ahead_counts_as_of_now(site: Site, tmp_path: Path) -> None:
    site.create_topics(*NAMES)
    line = {"type": "track", "event": "Product Viewed", "messageId": "m", "userId": "u", "timestamp": "2999-01-01"}
    file = tmp_path / "ahead.jsonl"
    file.write_text(json.dumps(line))
    started = time.time_ns() // 1_000_000
    result = site.ingest(file)
    assert result.exit_code == 0
    assert NOW.detail in " ".join(result.stderr.split())
    assert site.records("events.dead-letter") == []
    (value,) = (r.value for r in site.records("events.clickstream") if r.value is not None)
    event = Decoder(site.registry).decode(value)
    assert started <= event.occurred_at == event.received_at <= time.time_ns() // 1_000_000


def test_a_recording_may_stay_open(site: Site, tmp_path: Path) -> None:
    site.create_topics(*NAMES)
    result = site.ingest(recording(tmp_path)[0], "--end", "open")
    assert result.exit_code == 0
    assert site.words()[-1].word == "open"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_recording_lifts_its_hold(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Else time would stand still until it lapses."""
    site.create_topics(*NAMES)

    def interrupted(paths: tuple[Path, ...]) -> Iterator[FileLine]:
        yield from islice(merged(paths), 5)
        signal.raise_signal(number)
        raise AssertionError("it goes on")

    monkeypatch.setattr("pipeline.commands.ingest.merged", interrupted)
    result = site.ingest(recording(tmp_path)[0])
    assert result.exit_code == 128 + number
    assert "interrupted after 5 events" in result.stderr
    assert site.words()[-1].word == "open"
    assert len(site.records("events.clickstream")) == 5


def test_nothing_readable_fails_and_tells_no_time(site: Site, tmp_path: Path) -> None:
    site.create_topics(*NAMES)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{\n", "utf-8")
    assert site.ingest(bad).exit_code == 1
    words = site.words()
    assert (words[0].word, words[-1].word) == ("begin", "open")
    assert not any(word.through for word in words)


def test_what_kafka_lacks_is_named_before_anything_is_written(site: Site, tmp_path: Path) -> None:
    site.create_topics(*NAMES[:3])
    result = site.ingest(recording(tmp_path)[0])
    assert result.exit_code == 1
    said = str(result.exception)
    assert f"{site.prefix}events.offline, {site.prefix}events.dead-letter, {site.prefix}events.control" in said
    assert "pipeline topics" in said
    assert site.records("events.email") == []


def test_a_kafka_that_is_away_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr("pipeline.runtime.ingest.ANSWER_S", 0.5)
    env = {"PIPELINE_KAFKA": "127.0.0.1:9", "PIPELINE_REGISTRY": "http://127.0.0.1:9"}
    result = CliRunner().invoke(cli, ["ingest", "--yes", str(recording(tmp_path)[0])], env=env)
    assert result.exit_code == 1
    assert "Kafka at 127.0.0.1:9 doesn't answer" in str(result.exception)
    assert capfd.readouterr().err == ""


def test_a_registry_inside_of_this_process_is_refused(tmp_path: Path) -> None:
    env = {"PIPELINE_KAFKA": "127.0.0.1:9", "PIPELINE_REGISTRY": "mock://"}
    result = CliRunner().invoke(cli, ["ingest", str(recording(tmp_path)[0])], env=env)
    assert result.exit_code == 1
    assert "PIPELINE_REGISTRY" in str(result.exception)


def test_while_it_runs_it_says_how_far_it_is(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic without events would otherwise hold back everybody's time to the end of the recording."""
    monkeypatch.setattr("pipeline.runtime.ingest.WORD_EVERY_S", 0.0)
    site.create_topics(*NAMES)
    assert site.ingest(recording(tmp_path)[0]).exit_code == 0
    told = [(word.word, word.through) for word in site.words()]
    assert told[:3] == [("begin", 0), ("through", NOON - 10_000), ("through", NOON - 9_000)]
    assert told[-2] == ("through", NOON + 199_000 - 10_000)
    assert [sum(word.offsets.values()) for word in site.words()[:3]] == [0, 1, 2]


def test_partitions_that_are_added_hear_of_it_and_are_written_to(site: Site) -> None:
    """Else they would follow the clock while the others follow the recording, and no word would count any more."""
    site.create_topics(*NAMES)
    topology = load(site.topology, site.env)
    name = site.prefix + "events.email"
    with Ingest(topology, site.registry, quiet=7, over=True) as ingest:
        admin = site.kafka.admin()
        admin.create_partitions([NewPartitions(name, PARTITIONS + 1)])[name].result(30)
        deadline = time.monotonic() + 30
        while ingest._topology is topology and time.monotonic() < deadline:
            ingest.tell_time()
        for number in range(50):
            event = Event("email_sent", f"e{number}", NOON, NOON, {"email": f"p{number}@example.org"}, {})
            assert ingest.put(FileLine("recording", number, b"", event=event))
    words = site.words()
    begin, again = (word for word in words if word.word == "begin")
    assert again.offsets == {**begin.offsets, f"{name}-{PARTITIONS}": 0}
    assert (again.recording, again.quiet, again.over) == (begin.recording, 7, False)
    assert all(word.offsets.keys() == again.offsets.keys() for word in words[words.index(again) :])
    assert words[-1].offsets[f"{name}-{PARTITIONS}"] > 0


def test_a_second_recording_waits_for_the_first(site: Site, tmp_path: Path) -> None:
    site.create_topics(*NAMES)
    topology, file = load(site.topology, site.env), recording(tmp_path)[0]
    with Ingest(topology, site.registry) as first:
        refused = site.ingest(file)
        assert refused.exit_code == 1
        assert f"recording {first.id} is being ingested" in str(refused.exception)
        assert "--take-over" in str(refused.exception)
        assert site.records("events.clickstream") == []
        assert site.ingest(file, "--take-over").exit_code == 0
    assert site.ingest(file).exit_code == 0


def test_of_two_that_begin_at_once_the_second_gives_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.create_topics(*NAMES)
    topology = load(site.topology, site.env)
    looked: list[int | None] = []

    def blind(topology: Topology, at: int, before: int | None = None) -> str | None:
        looked.append(before)
        return living(topology, at, before) if before is not None else None

    monkeypatch.setattr("pipeline.runtime.ingest.living", blind)
    with Ingest(topology, site.registry), pytest.raises(PipelineError, match="is being ingested"):
        Ingest(topology, site.registry).__enter__()
    assert looked == [None, 0, None, 1]


def test_it_goes_on_speaking_while_it_waits_for_a_line(site: Site) -> None:
    site.create_topics(*NAMES)
    with Ingest(load(site.topology, site.env), site.registry, word_every_s=0.1):
        time.sleep(1.5)
    told = [word.word for word in site.words()]
    assert told[0] == "begin"
    assert told[-1] == "open"
    assert set(told[1:-1]) == {"through"}
    assert 3 <= len(told[1:-1]) <= 10


def test_without_a_worker_nothing_is_written_that_must_not_be_published(
    site: Site, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.create_topics(*NAMES)
    monkeypatch.setattr("pipeline.commands.ingest.QUIET_S", 1.0)
    env = {**site.env, "PIPELINE_REDIS": redis_url, "PIPELINE_GROUP": site.prefix + "g"}
    argv = ["ingest", "--topology", str(site.topology), "--no-triggers", str(recording(tmp_path)[0])]
    result = CliRunner().invoke(cli, argv, env=env)
    assert result.exit_code == 1
    assert "no worker has taken notice of --no-triggers" in str(result.exception)
    assert site.records("events.clickstream") == []
    begin, *_, end = site.words()
    assert begin.quiet == pytest.approx(time.time() * 1000 - 6 * 60_000, abs=60_000)
    assert end.word == "open"


def test_who_must_be_asked_and_cannot_be(site: Site, redis_url: str, tmp_path: Path) -> None:
    """Reminders of a year ago would go out: exit 2, and nothing is written."""
    site.create_topics(*NAMES)
    file = tmp_path / "carts.jsonl"
    lines = [
        track("Product Added", n, n, {"anonymousId": f"v{n}"}, cart_id=f"c{n}", product_id="p", quantity=1)
        for n in range(7)
    ]
    file.write_text("\n".join(lines), "utf-8")
    env = {**site.env, "PIPELINE_REDIS": redis_url, "PIPELINE_GROUP": site.prefix + "g"}
    argv = ["ingest", "--topology", str(site.topology), str(file)]
    result = CliRunner().invoke(cli, argv, env=env)
    assert result.exit_code == 2
    assert "warning: 7 reminders would go out now that were due more than an hour ago" in result.stderr
    assert "--no-triggers" in result.stderr
    assert site.records("events.control") == []
    one = tmp_path / "page.jsonl"
    one.write_text(track("Product Viewed", 1, 1, {"anonymousId": "v"}, product_id="p"), "utf-8")
    assert CliRunner().invoke(cli, [*argv[:3], str(one)], env=env).exit_code == 0  # reminds nobody
