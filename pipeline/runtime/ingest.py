"""`pipeline ingest`: recorded events into the source topics of a live pipeline.

What a recording tells the workers beside its events, it says on the control topic (words.py): `begin`; `through` every
second, also while it waits, or partitions that few events reach would hold everybody else's time until it is over; at
last `end`, late enough for all that waits to be decided (semantics 5), or `open`. Each word names the ends of all
source partitions as they are then, with everything that was written before it acknowledged.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from secrets import token_hex
from types import TracebackType
from typing import Any, Literal, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from msgspec.structs import replace

from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.catalogue import stream_of
from pipeline.events.codec import Encoder, Registry
from pipeline.events.files import FileLine
from pipeline.events.model import NOW, Event
from pipeline.identity.identifiers import Normaliser
from pipeline.runtime import dead_letters
from pipeline.runtime.broker import Broker
from pipeline.runtime.first_hop import TRACE
from pipeline.runtime.living import living
from pipeline.runtime.sources import key_of, settings
from pipeline.runtime.words import LAPSE_S, Word, encode
from pipeline.topology.model import Topology

WORD_EVERY_S = 1.0
FLUSH_S = 60.0
ANSWER_S = 15.0
VALUE_BYTES = 900_000  # of a dead letter: Kafka takes 1 MB with its headers

Headers = list[tuple[str, str | bytes | None]]


def complete_at(topology: Topology, high: int, now: int | None = None) -> int:
    """When all that waits is decided after a recording whose last event was received at `high` (UTC ms). What is due
    later than `now` is left to the clock, or the events of that time would all be late.
    """
    now = time.time_ns() // 1_000_000 if now is None else now
    longest = max((rule.longest_ms for rule in topology.rules), default=0)
    return min(high + longest + topology.time.lateness_ms + 1, max(now, high - topology.time.disorder_ms))


class Ingest:
    """Writes one recording.

        with Ingest(topology, registry) as ingest:
            for line in lines:
                ingest.put(line)
            ingest.complete()

    Left without `complete()`, the recording is open: what waits goes on waiting for the clock. `events`: event type ->
    number written; `bad`: dead letters; `high`: the largest received_at (UTC ms). `quiet`, `over`: see words.Word.
    Raises PipelineError where Kafka doesn't answer or lacks a topic, or another recording holds; RegistryUnavailable
    where the registry doesn't answer. Everything is called from one thread.
    """

    def __init__(
        self,
        topology: Topology,
        registry: Registry,
        *,
        word_every_s: float | None = None,
        quiet: int = 0,
        over: bool = False,
        told: Callable[[FileLine, InvalidEvent], None] = lambda line, error: None,
    ) -> None:
        self.id = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}-{token_hex(3)}"
        self.events: Counter[str] = Counter()
        self.bad = 0
        self.high = 0
        self._topology = topology
        self._encoder = Encoder(registry)
        self._normaliser = Normaliser(topology.identifiers)
        self._topics = {topic.stream: topic.name for topic in topology.topics.sources if topic.stream}
        self._control = topology.topics.control.name
        self._dead_letters = topology.topics.dead_letters.name
        self._quiet, self._over = quiet, over
        self._told = told
        self._word_every_s = WORD_EVERY_S if word_every_s is None else word_every_s
        self._spoke_at = time.monotonic()
        self._through = 0
        self._completed = False
        self._failed: KafkaError | None = None
        self._lost = 0
        self._begun: tuple[int, int] | None = None
        self._broker = Broker(topology.kafka)
        self._producer = _producer(topology)
        self._check_topics()
        # Who reads a file that comes slowly writes nothing for a while, and is not dead.
        self._lock = threading.RLock()
        self._left = threading.Event()
        self._voice = threading.Thread(target=self._go_on_speaking, name="words", daemon=True)

    def __enter__(self) -> Self:
        if not self._over:
            self._alone(time.time_ns() // 1_000_000)
        self._say("begin")
        if not self._over and self._begun is not None:
            offset, at = self._begun  # two may have begun at once: of them the second gives up
            self._alone(at, offset)
        self._voice.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        with self._lock:
            try:
                if not self._completed:
                    self._say("open")
                self._flush()
            except PipelineError:
                if error is None:  # else that one tells more
                    raise

    def put(self, line: FileLine) -> bool:
        """One line: its event goes to its topic (True), a bad one to the dead letters (False)."""
        with self._lock:
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
            if time.monotonic() - self._spoke_at >= self._word_every_s:
                self.tell_time()
            return written

    def tell_time(self) -> None:
        """Say how far the recording is, also where that is no news: it goes on."""
        with self._lock:
            self._through = max(self._through, self.high - self._topology.time.disorder_ms)
            self._say("through", self._through)

    def complete(self) -> int:
        """The recording is complete: what waits shall be decided. Returns the moment (UTC ms) up to which it is told;
        0 for a recording without events, which tells nothing.
        """
        if not self.high:
            return 0
        with self._lock:
            through = complete_at(self._topology, self.high)
            self._say("end", through)
            self._completed = True
        return through

    def _ends(self) -> dict[tuple[str, int], int]:
        """Patient as the producer: a broker may be restarted, or know nothing yet of a topic that was just made."""
        places = [(topic.name, p) for topic in self._topology.topics.sources for p in range(topic.partitions)]
        deadline = time.monotonic() + FLUSH_S
        while True:
            try:
                return self._broker.written(places)
            except PipelineError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _go_on_speaking(self) -> None:
        while not self._left.wait(max(self._word_every_s, 0.05)):
            with self._lock:
                silent_s = time.monotonic() - self._spoke_at
                if self._left.is_set() or self._completed or silent_s < 2 * self._word_every_s:
                    continue
                try:
                    self.tell_time()
                except PipelineError:  # whoever writes next meets it, too
                    self._spoke_at = time.monotonic()

    def _alone(self, at: int, before: int | None = None) -> None:
        """Raises PipelineError where another recording holds at a time (UTC ms). `before`: as was said up to there."""
        other = living(self._topology, at, before)
        if other is None or other == self.id:
            return
        if self._begun is not None:
            self._say("open")
            self._completed = True
        raise PipelineError(
            f"recording {other} is being ingested, and event time can follow one at a time: wait for its end. If it is"
            f" dead, it lets go {LAPSE_S:.0f} s after its last word; --take-over ends it now."
        )

    def _say(self, word: Literal["begin", "through", "end", "open"], through: int = 0) -> None:
        """On the control topic, with all that was written before it acknowledged; returns when it is, too."""
        self._flush()
        if word != "begin" and self._grown():
            self._say("begin")  # whoever has an added partition hears of the recording before time follows the clock
        offsets = {f"{topic}-{partition}": end for (topic, partition), end in self._ends().items()}
        quiet, over = self._quiet if word == "begin" else 0, self._over and self._begun is None
        said = Word(recording=self.id, word=word, through=through, quiet=quiet, over=over, offsets=offsets)
        self._produce(self._control, encode(said), [], key=self.id.encode(), partition=0)
        self._flush()
        self._spoke_at = time.monotonic()

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

    def _bad(self, line: FileLine, error: InvalidEvent) -> None:
        self.bad += 1
        self._told(line, error)
        headers: Headers = [*dead_letters.made("ingest", error, __name__, {"file": line.file, "line": line.number})]
        self._produce(self._dead_letters, line.raw[:VALUE_BYTES], headers)

    def _produce(
        self, topic: str, value: bytes | None, headers: Headers, *, key: bytes | None = None, partition: int = -1
    ) -> None:
        try:
            while True:
                try:
                    self._producer.produce(
                        topic, value, key, partition, on_delivery=self._delivered, headers=list(headers)
                    )
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
        elif self._begun is None and message.topic() == self._control:
            self._begun = message.offset() or 0, message.timestamp()[1]

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

    def _grown(self) -> bool:
        """Whether partitions were added to source topics. What is written from now on goes there, too, and is named."""
        try:
            found = self._partitions()
        except KafkaException:  # who writes next meets it, too
            return False
        topics = self._topology.topics
        sources = tuple(replace(t, partitions=max(t.partitions, found.get(t.name, 0))) for t in topics.sources)
        if sources == topics.sources:
            return False
        self._topology = replace(self._topology, topics=replace(topics, sources=sources))
        return True

    def _partitions(self) -> dict[str, int]:
        """Topic -> how many partitions the broker has, which the producer knows by that, too."""
        found = self._producer.list_topics(timeout=ANSWER_S).topics
        return {name: len(topic.partitions) for name, topic in found.items()}

    def _check_topics(self) -> None:
        """Asked of the broker, which must have them all, with the partitions of the topology."""
        try:
            found = self._partitions()
        except KafkaException as error:
            raise PipelineError(
                f"Kafka at {self._topology.kafka} doesn't answer ({error.args[0].str()}). Check that it runs, and the"
                f" address: `kafka` in topology.yaml, or PIPELINE_KAFKA."
            ) from error
        topics = self._topology.topics
        wanted = (*topics.sources, topics.dead_letters, topics.control)
        missing = [topic.name for topic in wanted if topic.name not in found]
        if missing:
            raise PipelineError(f"Kafka has no topic {', '.join(missing)}: `pipeline topics` creates what is missing.")
        for topic in topics.sources:
            there = found[topic.name]
            if there != topic.partitions:
                raise PipelineError(
                    f"{topic.name} has {there} partitions in Kafka and {topic.partitions} in"
                    " topology.yaml: `pipeline topics --check` tells more."
                )


def ingest(
    topology: Topology, registry: Registry, lines: Iterable[FileLine], *, complete: bool = True, **options: Any
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
    return Producer({**settings(topology, "pipeline-ingest"), "linger.ms": 20, "queue.buffering.max.messages": 200_000})
