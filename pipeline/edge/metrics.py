"""What the collector counts. Its processes share files (prometheus_client's multiprocess mode, which knows no gauges
that are worked out when they are read), and one address shows the sums. Writing there costs a system call a number, so
what is counted is told there a few times a second.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pipeline.observe.metrics import BUCKETS, Declared, declaration

EVENTS = Declared(
    "pipeline_edge_events_total",
    "counter",
    "events",
    "Events by family of clients, write key and outcome: accepted, or why not.",
    ("family", "key", "outcome"),
)
REQUESTS = Declared(
    "pipeline_edge_requests_total", "counter", "requests", "By family and HTTP status.", ("family", "status")
)
SECONDS = Declared(
    "pipeline_edge_request_seconds",
    "histogram",
    "seconds",
    "From a request's head to its answer, with what Kafka took.",
    ("family",),
)
CONNECTIONS = Declared("pipeline_edge_connections", "gauge", "connections", "Open ones.")
READY = Declared("pipeline_edge_ready", "gauge", "processes", "That take events.")
SPOOLED = Declared("pipeline_edge_spooled", "gauge", "records", "Answered for, on the disk, and not yet in Kafka.")
DECLARED = (EVENTS, REQUESTS, SECONDS, CONNECTIONS, READY, SPOOLED)


T = TypeVar("T")
N = TypeVar("N", int, float)


class EdgeMetrics:
    """One a process. Labels are bounded: families, names of keys, reasons, statuses; never what a client tells.

    What is counted is shown after `publish`.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._counted: Tally[tuple[str, str, str]] = Tally()
        self._answered: Tally[tuple[str, int]] = Tally()
        self._took: Tally[tuple[str, int]] = Tally()  # by family and place among BUCKETS; the last: longer than all
        self._took_s: defaultdict[str, float] = defaultdict(float)
        self._events = Counter(*declaration(EVENTS), registry=registry)
        self._requests = Counter(*declaration(REQUESTS), registry=registry)
        self._seconds = Histogram(*declaration(SECONDS), buckets=BUCKETS, registry=registry)
        self.connections = Gauge(*declaration(CONNECTIONS), registry=registry, multiprocess_mode="livesum")
        self.ready = Gauge(*declaration(READY), registry=registry, multiprocess_mode="livesum")
        self.spooled = Gauge(*declaration(SPOOLED), registry=registry, multiprocess_mode="livesum")

    def accepted(self, family: str, key: str, number: int) -> None:
        """So many events are in Kafka."""
        if number:
            self._counted[family, key, "accepted"] += number

    def refused(self, family: str, key: str, reason: str, number: int) -> None:
        """So many are not, and why."""
        self._counted[family, key, reason] += number

    def request(self, family: str, status: int, seconds: float) -> None:
        """One request is answered."""
        self._answered[family, status] += 1
        self._took[family, bisect_left(BUCKETS, seconds)] += 1
        self._took_s[family] += seconds

    def publish(self) -> None:
        """What was counted since the last time is told where it is read."""
        for (family, key, outcome), number in _drained(self._counted):
            self._events.labels(family, key, outcome).inc(number)
        for (family, status), number in _drained(self._answered):
            self._requests.labels(family, str(status)).inc(number)
        # Histogram.observe takes one at a time.
        for (family, place), number in _drained(self._took):
            self._seconds.labels(family)._buckets[place].inc(number)
        for family, seconds in _drained(self._took_s):
            self._seconds.labels(family)._sum.inc(seconds)


def _drained(counted: dict[T, N]) -> list[tuple[T, N]]:
    found = list(counted.items())
    counted.clear()
    return found
