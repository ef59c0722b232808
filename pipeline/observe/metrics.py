"""Every metric of the pipeline, declared once: name, unit, meaning, labels.

    metrics = Metrics()
    metrics.events("page_viewed", "processed").inc(250)              # once a batch, not once an event
    metrics.batch_seconds("resolve_identity").observe(0.012)
    metrics.watermark_delay("events.email", "2").since(watermark_ms)  # goes on growing by itself when nothing moves
    body, content_type = metrics.exposition()

Nothing is global: two workers in one process (tests, the demo) have two `Metrics`. A metric called with its label
values gives the child, cached: a dictionary look-up. Labels are bounded: codes, topics and rules, never ids.

What is counted and measured with every batch is added up plainly, by the thread of the event loop alone, and becomes
Prometheus's when somebody asks: its client locks, checks and looks up with each.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Generic, Literal, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Gauge, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

HOPS = ("resolve_identity", "maintain_profile")

# From one small batch in memory to a commit that waits for a broker's election.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Declared(msgspec.Struct, frozen=True):
    """One metric. `kind` `delay` is a gauge of the seconds since a moment, worked out when it is read."""

    name: str
    kind: Literal["counter", "gauge", "delay", "histogram"]
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()


EVENTS = Declared(
    "pipeline_events_total",
    "counter",
    "events",
    "Source events by type and outcome: processed; duplicate (seen before); late (its wait was decided already, so it "
    "opened and moved nothing); dead_letter (type is `unknown` when it can't be told); nobodys (it says nothing of who "
    "it was, on purpose).",
    ("type", "outcome"),
)
BATCH_SECONDS = Declared(
    "pipeline_batch_seconds",
    "histogram",
    "seconds",
    "From taking a fetched batch to its commit, by hop (resolve_identity, maintain_profile).",
    ("hop",),
)
COMMIT_SECONDS = Declared(
    "pipeline_commit_seconds",
    "histogram",
    "seconds",
    "Of a batch's time, what its commit took: the Kafka transaction (resolve_identity) or the Redis script "
    "(maintain_profile).",
    ("hop",),
)
LAG = Declared(
    "kafka_consumergroup_lag",
    "gauge",
    "records",
    "Records between the position of the worker, which stands in Redis, and the end of the partition.",
    ("consumergroup", "topic", "partition"),
)
WATERMARK_DELAY = Declared(
    "pipeline_watermark_delay_seconds",
    "delay",
    "seconds",
    "How far the watermark of a source partition is behind the clock. The largest one holds all decisions back.",
    ("topic", "partition"),
)
HELD = Declared(
    "pipeline_recording_held_partitions",
    "gauge",
    "partitions",
    "Source partitions of this worker whose time a recording that is being ingested keeps from following the clock.",
)
STOPPED = Declared(
    "pipeline_partition_stopped",
    "gauge",
    "",
    "1 where a source partition has stopped because too much of it is bad: decisions wait for it (`pipeline skip`).",
    ("topic", "partition"),
)
CLOCK_DELAY = Declared(
    "pipeline_clock_delay_seconds",
    "delay",
    "seconds",
    "How far the time up to which a partition of identity.resolved has decided is behind the clock.",
    ("partition",),
)
TIMERS_PENDING = Declared(
    "pipeline_timers_pending",
    "gauge",
    "timers",
    "Timers that are set, by partition: at least one for each profile in which something waits to be decided.",
    ("partition",),
)
TIMERS_OVERDUE = Declared(
    "pipeline_timers_overdue_seconds",
    "delay",
    "seconds",
    "How long ago the first that waits should have been decided (due time, lateness and disorder); 0 when none should. "
    "Every worker tells it of every partition, whoever owns it.",
    ("partition",),
)
CLOCK_OFFSET = Declared(
    "pipeline_clock_offset_seconds",
    "gauge",
    "seconds",
    "How far the clock of a server (kafka, redis) is ahead of the worker's; negative: behind. Decisions go by Kafka's.",
    ("server",),
)
DEAD_LETTERS = Declared(
    "pipeline_dead_letters_total",
    "counter",
    "records",
    "Records written to the dead-letter topic, by reason and stage.",
    ("reason", "stage"),
)
REMARKS = Declared(
    "pipeline_remarks_total",
    "counter",
    "remarks",
    "Oddities of events that count all the same, by topic: parts left out, times in seconds where milliseconds belong.",
    ("topic", "remark"),
)
TRIGGERS = Declared(
    "pipeline_triggers_total",
    "counter",
    "decisions",
    "Decisions by rule and outcome: fired, cancelled, suppressed, retracted, recovered.",
    ("rule", "outcome"),
)
WAITS_OPENED = Declared(
    "pipeline_waits_opened_total",
    "counter",
    "waits",
    "Waits that were opened, by rule, each of several `stages` one. Always opened = decided + absorbed + open: "
    "docs/waits.md, What adds up.",
    ("rule",),
)
WAITS_DECIDED = Declared(
    "pipeline_waits_decided_total",
    "counter",
    "waits",
    "Waits that were decided, by rule: what ends a wait decides all `stages` that are left.",
    ("rule",),
)
WAITS_ABSORBED = Declared(
    "pipeline_waits_absorbed_total",
    "counter",
    "waits",
    "Waits that were absorbed by those of the same key, by rule, when two persons turned out to be one.",
    ("rule",),
)
WAITS_OPEN = Declared(
    "pipeline_waits_open",
    "gauge",
    "waits",
    "Waits that are open, by rule and partition; those of profiles that are moving just then are nowhere.",
    ("rule", "partition"),
)
SEGMENT_CHANGES = Declared(
    "pipeline_segment_changes_total",
    "counter",
    "changes",
    "Who entered and left segments.",
    ("segment", "change"),
)
MERGES = Declared(
    "pipeline_identity_merges_total", "counter", "merges", "Pairs of profiles that turned out to be one person."
)
REFUSALS = Declared(
    "pipeline_identity_refusals_total",
    "counter",
    "identifiers",
    "Identifiers left out of a tie, by namespace and why (limit, conflict with a unique one, ...).",
    ("namespace", "why"),
)
MOVES = Declared(
    "pipeline_moves_under_way",
    "gauge",
    "messages",
    "Moved profiles and forwarded rows that a partition has sent and no other has taken yet. They hold decisions back.",
    ("partition",),
)
QUARANTINED = Declared(
    "pipeline_profiles_quarantined",
    "gauge",
    "profiles",
    "Profiles that can't be computed, by partition (at most 1,000 are named): nothing is decided for them.",
    ("partition",),
)
OUTBOX = Declared(
    "pipeline_outbox_entries", "gauge", "messages", "Committed in Redis, not yet published to Kafka.", ("partition",)
)

DECLARED = (
    EVENTS,
    BATCH_SECONDS,
    COMMIT_SECONDS,
    LAG,
    WATERMARK_DELAY,
    HELD,
    STOPPED,
    CLOCK_DELAY,
    TIMERS_PENDING,
    TIMERS_OVERDUE,
    CLOCK_OFFSET,
    DEAD_LETTERS,
    REMARKS,
    TRIGGERS,
    WAITS_OPENED,
    WAITS_DECIDED,
    WAITS_ABSORBED,
    WAITS_OPEN,
    SEGMENT_CHANGES,
    MERGES,
    REFUSALS,
    MOVES,
    QUARANTINED,
    OUTBOX,
)


class Delay:
    """Seconds since a moment, worked out when somebody asks: it grows while a worker is stuck."""

    def __init__(self, gauge: Gauge, clock: Callable[[], float]) -> None:
        self._moment: int | None = None
        self._clock = clock
        gauge.set_function(self.seconds)

    def since(self, ms: int | None) -> None:
        """The moment, UTC ms; None: nothing to wait for, 0 seconds."""
        self._moment = ms

    def seconds(self) -> float:
        """Never negative."""
        return 0.0 if self._moment is None else max(0.0, self._clock() - self._moment / 1_000)


Child = TypeVar("Child")


class Labelled(Generic[Child]):
    """A metric; called with its label values, in the declared order, it gives the child."""

    def __init__(self, declared: Declared, family: MetricWrapperBase, make: Callable[[Any], Child]) -> None:
        self.declared = declared
        self._family = family
        self._make = make
        self._children: dict[tuple[str, ...], Child] = {}

    def __call__(self, *labels: str) -> Child:
        """Raises ValueError when there are too few or too many labels."""
        child = self._children.get(labels)
        if child is None:
            family = self._family.labels(*labels) if self.declared.labels else self._family
            child = self._children[labels] = self._make(family)
        return child

    def forget(self, **labels: str) -> None:
        """Drop every child with these label values: a partition that went to another worker."""
        wanted = [(self.declared.labels.index(name), value) for name, value in labels.items()]
        for key in list(self._children):
            if all(key[index] == value for index, value in wanted):
                del self._children[key]
                self._family.remove(*key)


class Sum:
    """What a counter has counted with one set of labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, n: int = 1) -> None:
        """`n` more, not negative."""
        self.value += n


class Spread:
    """Of a histogram, with one set of labels: how many up to each of `BUCKETS` and past the last, and the sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.sum += value


class Added(Collector, Generic[Child]):
    """A metric that is added up plainly; called with its label values, in the declared order, it gives the child."""

    def __init__(self, declared: Declared, make: Callable[[], Child]) -> None:
        self.declared = declared
        self._make = make
        self._children: dict[tuple[str, ...], Child] = {}

    def __call__(self, *labels: str) -> Child:
        """Raises ValueError when there are too few or too many labels."""
        child = self._children.get(labels)
        if child is None:
            if len(labels) != len(self.declared.labels):
                raise ValueError(f"{self.declared.name} has the labels {self.declared.labels}, not {labels}")
            child = self._children[labels] = self._make()
        return child

    def collect(self) -> Iterator[Metric]:
        """For the registry, as of now."""
        name, text, labels = declaration(self.declared)
        if self.declared.kind == "counter":
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, child in self._children.items():
                assert isinstance(child, Sum)
                counter.add_metric(values, child.value)
            yield counter
            return
        histogram = HistogramMetricFamily(name, text, labels=labels)
        bounds = [floatToGoString(bound) for bound in (*BUCKETS, float("inf"))]
        for values, child in self._children.items():
            assert isinstance(child, Spread)
            histogram.add_metric(values, list(zip(bounds, accumulate(child.counts), strict=True)), child.sum)
        yield histogram


class Metrics:
    """All metrics of one worker. `clock`: seconds since 1970, for delays."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self.events = self._counter(EVENTS)
        self.batch_seconds = self._histogram(BATCH_SECONDS)
        self.commit_seconds = self._histogram(COMMIT_SECONDS)
        self.lag = self._gauge(LAG)
        self.watermark_delay = self._delay(WATERMARK_DELAY)
        self.held = self._gauge(HELD)
        self.stopped = self._gauge(STOPPED)
        self.clock_delay = self._delay(CLOCK_DELAY)
        self.timers_pending = self._gauge(TIMERS_PENDING)
        self.timers_overdue = self._delay(TIMERS_OVERDUE)
        self.clock_offset = self._gauge(CLOCK_OFFSET)
        self.dead_letters = self._counter(DEAD_LETTERS)
        self.remarks = self._counter(REMARKS)
        self.triggers = self._counter(TRIGGERS)
        self.waits_opened = self._counter(WAITS_OPENED)
        self.waits_decided = self._counter(WAITS_DECIDED)
        self.waits_absorbed = self._counter(WAITS_ABSORBED)
        self.waits_open = self._gauge(WAITS_OPEN)
        self.segment_changes = self._counter(SEGMENT_CHANGES)
        self.merges = self._counter(MERGES)
        self.refusals = self._counter(REFUSALS)
        self.moves_under_way = self._gauge(MOVES)
        self.quarantined = self._gauge(QUARANTINED)
        self.outbox = self._gauge(OUTBOX)
        for hop in HOPS:  # there from the start: a rate over a series that appears with its first value misses it
            self.batch_seconds(hop)
            self.commit_seconds(hop)
        self.merges()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def forget_source(self, topic: str, partition: str) -> None:
        """A source partition went to another worker."""
        self.lag.forget(topic=topic, partition=partition)
        self.watermark_delay.forget(topic=topic, partition=partition)
        self.stopped.forget(topic=topic, partition=partition)

    def forget_partition(self, topic: str, partition: str) -> None:
        """A partition of `topic` (identity.resolved) went to another worker. What is overdue there is told on."""
        self.lag.forget(topic=topic, partition=partition)
        self.clock_delay.forget(partition=partition)
        for gauge in (self.timers_pending, self.moves_under_way, self.quarantined, self.outbox, self.waits_open):
            gauge.forget(partition=partition)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """(body, content type) in the format that an HTTP `Accept` header asks for: OpenMetrics or Prometheus' text."""
        encode, content_type = choose_encoder(accept)
        return encode(_WithoutCreated(self.registry)), content_type

    def _counter(self, declared: Declared) -> Added[Sum]:
        return self._added(Added(declared, Sum))

    def _added(self, metric: Added[Child]) -> Added[Child]:
        self.registry.register(metric)
        return metric

    def _gauge(self, declared: Declared) -> Labelled[Gauge]:
        return Labelled(declared, Gauge(*declaration(declared), registry=self.registry), _same)

    def _histogram(self, declared: Declared) -> Added[Spread]:
        return self._added(Added(declared, Spread))

    def _delay(self, declared: Declared) -> Labelled[Delay]:
        family = Gauge(*declaration(declared), registry=self.registry)
        return Labelled(declared, family, lambda child: Delay(child, self._clock))


class _WithoutCreated(Collector):
    """Leaves out the `_created` series, which double the number and which no dashboard reads.

    The library's own switch is global to the process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def declaration(declared: Declared) -> tuple[str, str, tuple[str, ...]]:
    """Name, text and labels, as prometheus_client takes them."""
    return declared.name, f"{declared.meaning} Unit: {declared.unit}.", declared.labels


def _same(child: Any) -> Any:
    return child
