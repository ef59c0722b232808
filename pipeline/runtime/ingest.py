"""`pipeline ingest`: recorded events into the source topics of a live pipeline.

What a recording tells a worker beside its events are *marks*: records without a value, one in every partition of every
source topic, with a header `pipeline.mark`.

    begin         a recording is coming: event time must not advance by the clock
    through <ms>  everything received before <ms> has been written here; it goes on
    end <ms>      everything received before <ms> has been written here, and that was all
    open          go on as before the recording

A recording begins with `begin`. While it runs, `through` says every second how far it is, or partitions that few events
reach would hold everybody else's time until it is over. It is over with `end`, late enough for all that waits to be
decided (semantics 5), or with `open`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.codec import Encoder, Registry
from pipeline.events.files import Line
from pipeline.events.model import NOW, Event
from pipeline.identity.identifiers import Normaliser
from pipeline.runtime.first_hop import MARK, TRACE
from pipeline.topology.model import Topology

MARK_EVERY_S = 1.0
FLUSH_S = 60.0
ANSWER_S = 15.0
VALUE_BYTES = 900_000  # of a dead letter: Kafka takes 1 MB with its headers
KEYED_BY = ("anonymous_id", "device_id", "user_id", "email")

Headers = list[tuple[str, str | bytes | None]]


def stream_of(event_type: str) -> str:
    """Which recorded stream (`Topic.stream`) an event belongs to."""
    if event_type.startswith("email_"):
        return "email"
    if event_type.startswith("video_"):
        return "video"
    return "offline" if event_type in ("offline_purchased", "call_logged", "store_visited") else "clickstream"


def key_of(event: Event, normaliser: Normaliser) -> bytes | None:
    """What a source record is keyed by, so that one device's events stay in order; None: it identifies nobody."""
    values = event.identifiers
    for namespace in (*KEYED_BY, *normaliser.rank):
        if namespace in values and (value := normaliser.value(namespace, values[namespace])) is not None:
            return value.encode("utf-8", "surrogatepass")
    return None


def complete_at(topology: Topology, high: int) -> int:
    """When all that waits is decided after a recording whose last event was received at `high` (UTC ms)."""
    return high + max((rule.after_ms for rule in topology.rules), default=0) + topology.time.lateness_ms + 1


class Ingest:
    """Writes one recording.

        with Ingest(topology, registry) as ingest:
            for line in lines:
                ingest.put(line)
            ingest.complete()

    Left without `complete()`, the recording is open: what waits goes on waiting for the clock. `events`: event type ->
    number written; `bad`: dead letters; `high`: the largest received_at (UTC ms). Raises PipelineError where Kafka
    doesn't answer or lacks a topic, RegistryUnavailable where the registry doesn't answer.
    """

    def __init__(
        self,
        topology: Topology,
        registry: Registry,
        *,
        mark_every_s: float | None = None,
        told: Callable[[Line, InvalidEvent], None] = lambda line, error: None,
    ) -> None:
        self.events: Counter[str] = Counter()
        self.bad = 0
        self.high = 0
        self._topology = topology
        self._encoder = Encoder(registry)
        self._normaliser = Normaliser(topology.identifiers)
        self._topics = {topic.stream: topic.name for topic in topology.topics.sources if topic.stream}
        self._dead_letters = topology.topics.dead_letters.name
        self._told = told
        self._mark_every_s = MARK_EVERY_S if mark_every_s is None else mark_every_s
        self._marked_at = time.monotonic()
        self._marked = 0
        self._completed = False
        self._failed: KafkaError | None = None
        self._lost = 0
        self._producer = _producer(topology)
        self._partitions = self._check_topics()

    def __enter__(self) -> Self:
        self._mark("begin")
        # In every partition before the first event is in any: as soon as something was seen, partitions without events
        # follow the clock, unless they have read this.
        self._flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._completed:
            self._mark("open")
        try:
            self._flush()
        except PipelineError:
            if error is None:  # else that one tells more
                raise

    def put(self, line: Line) -> bool:
        """One line: its event goes to its topic (True), a bad one to the dead letters (False)."""
        written = False
        if line.error is not None:
            self._bad(line, line.error)
        else:
            assert line.event is not None
            try:
                self._event(line.event)
                written = True
            except InvalidEvent as error:
                self._bad(line, error)
        if time.monotonic() - self._marked_at >= self._mark_every_s:
            self.tell_time()
        return written

    def tell_time(self) -> None:
        """Say how far the recording is."""
        self._marked_at = time.monotonic()
        through = self.high - self._topology.time.disorder_ms
        if through > self._marked:
            self._marked = through
            self._mark(f"through {through}")

    def complete(self) -> int:
        """The recording is complete: what waits shall be decided. Returns the moment (UTC ms) up to which it is told;
        0 for a recording without events, which tells nothing.
        """
        if not self.high:
            return 0
        through = complete_at(self._topology, self.high)
        self._mark(f"end {through}")
        self._completed = True
        self._flush()
        return through

    def _event(self, event: Event) -> None:
        stream = stream_of(event.type)
        topic = self._topics.get(stream)
        if topic is None:
            why = f"no source topic of the topology takes recorded {stream} events: give one `stream: {stream}`"
            raise InvalidEvent("no_topic", why)
        key = key_of(event, self._normaliser)
        if key is None:
            raise InvalidEvent("no_identifier", f"nothing in {event.identifiers!r:.200} identifies a person or device")
        event.count_by(time.time_ns() // 1_000_000, self._topology.time.max_ahead_ms, NOW)
        value = self._encoder.encode(topic, event)
        headers: Headers = [(TRACE, event.trace.encode("ascii", "replace"))] if event.trace else []
        self._produce(topic, value, headers, key=key)
        self.events[event.type] += 1
        self.high = max(self.high, event.received_at)

    def _bad(self, line: Line, error: InvalidEvent) -> None:
        self.bad += 1
        self._told(line, error)
        told: dict[str, Any] = {
            "__connect.errors.stage": "ingest",
            "__connect.errors.connector.name": "pipeline",
            "__connect.errors.class.name": __name__,
            "__connect.errors.exception.class.name": "pipeline.errors.InvalidEvent",
            "__connect.errors.exception.message": error,
            "pipeline.reason": error.reason,
            "pipeline.file": line.file,
            "pipeline.line": line.number,
        }
        headers: Headers = [(name, str(value).encode("utf-8", "surrogateescape")) for name, value in told.items()]
        self._produce(self._dead_letters, line.raw[:VALUE_BYTES], headers)

    def _mark(self, *words: str) -> None:
        for topic, partitions in self._partitions.items():
            for partition in range(partitions):
                for word in words:
                    self._produce(topic, None, [(MARK, word.encode())], partition=partition)

    def _produce(
        self, topic: str, value: bytes | None, headers: Headers, *, key: bytes | None = None, partition: int = -1
    ) -> None:
        try:
            while True:
                try:
                    self._producer.produce(topic, value, key, partition, on_delivery=self._delivered, headers=headers)
                    break
                except BufferError:  # Kafka is slower than we are
                    self._producer.poll(0.1)
            self._producer.poll(0)
        except KafkaException as error:
            problem = error.args[0]
            if problem.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise InvalidEvent("too_large", f"{len(value or b'')} bytes are more than Kafka takes") from error
            raise self._away(problem) from error
        if self._failed is not None:
            raise self._away(self._failed)

    def _delivered(self, problem: KafkaError | None, message: Message) -> None:
        if problem is not None:
            self._lost += 1
            self._failed = self._failed or problem

    def _flush(self) -> None:
        try:
            left = self._producer.flush(FLUSH_S)
        except KafkaException as error:
            raise self._away(error.args[0]) from error
        if self._failed is not None or left:
            raise self._away(self._failed or f"{left} records not taken within {FLUSH_S:.0f} s")

    def _away(self, problem: KafkaError | str) -> PipelineError:
        said = problem.str() if isinstance(problem, KafkaError) else problem
        lost = f" {self._lost} records were not written." if self._lost else ""
        return PipelineError(
            f"Kafka at {self._topology.kafka}: {said}.{lost} The recording is not complete: when Kafka answers again,"
            f" ingest it once more (an event counts once for a person)."
        )

    def _check_topics(self) -> dict[str, int]:
        """Source topic -> partitions. Asked of the broker, which must have them all."""
        try:
            found = self._producer.list_topics(timeout=ANSWER_S).topics
        except KafkaException as error:
            raise PipelineError(
                f"Kafka at {self._topology.kafka} doesn't answer ({error.args[0].str()}). Check that it runs, and the"
                f" address: `kafka` in topology.yaml, or PIPELINE_KAFKA."
            ) from error
        sources = [topic.name for topic in self._topology.topics.sources]
        missing = [name for name in (*sources, self._dead_letters) if name not in found]
        if missing:
            raise PipelineError(f"Kafka has no topic {', '.join(missing)}: `pipeline topics` creates what is missing.")
        return {name: len(found[name].partitions) for name in sources}


def ingest(
    topology: Topology, registry: Registry, lines: Iterable[Line], *, complete: bool = True, **options: Any
) -> Ingest:
    """A whole recording; see `Ingest`."""
    with Ingest(topology, registry, **options) as run:
        for line in lines:
            run.put(line)
        if complete:
            run.complete()
    return run


def _producer(topology: Topology) -> Producer:
    if "://" in topology.kafka:
        raise PipelineError(
            f"kafka is {topology.kafka}: the embedded broker lives inside of one process (`pipeline demo`)."
            " Name a Kafka in topology.yaml or PIPELINE_KAFKA."
        )
    return Producer(
        {
            "bootstrap.servers": topology.kafka,
            "client.id": "pipeline-ingest",
            "partitioner": "murmur2_random",  # as Kafka's own clients do, so that others' records meet ours
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": 200_000,
            "log_level": 2,  # what is wrong comes back as an error
        }
    )
