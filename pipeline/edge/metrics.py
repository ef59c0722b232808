"""What the collector counts. Its processes share files (prometheus_client's multiprocess mode, which knows no gauges
that are worked out when they are read), and one address shows the sums.
"""

from __future__ import annotations

from typing import Any

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


class EdgeMetrics:
    """One a process. Labels are bounded: families, names of keys, reasons, statuses; never what a client tells."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._children: dict[tuple[Any, tuple[str, ...]], Any] = {}
        self._events = Counter(*declaration(EVENTS), registry=registry)
        self._requests = Counter(*declaration(REQUESTS), registry=registry)
        self._seconds = Histogram(*declaration(SECONDS), buckets=BUCKETS, registry=registry)
        self.connections = Gauge(*declaration(CONNECTIONS), registry=registry, multiprocess_mode="livesum")
        self.ready = Gauge(*declaration(READY), registry=registry, multiprocess_mode="livesum")
        self.spooled = Gauge(*declaration(SPOOLED), registry=registry, multiprocess_mode="livesum")

    def accepted(self, family: str, key: str, number: int) -> None:
        """So many events are in Kafka."""
        if number:
            self._child(self._events, family, key, "accepted").inc(number)

    def refused(self, family: str, key: str, reason: str, number: int) -> None:
        """So many are not, and why."""
        self._child(self._events, family, key, reason).inc(number)

    def request(self, family: str, status: int, seconds: float) -> None:
        """One request is answered."""
        self._child(self._requests, family, str(status)).inc()
        self._child(self._seconds, family).observe(seconds)

    def _child(self, metric: Any, *labels: str) -> Any:
        child = self._children.get((metric, labels))
        if child is None:
            child = self._children[metric, labels] = metric.labels(*labels)
        return child
