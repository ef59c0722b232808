"""A decision as Kafka records: Avro bodies, CloudEvents headers in Kafka binary mode on triggers.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

from functools import cache

from pipeline.events.codec import Encoder
from pipeline.events.times import rfc3339
from pipeline.runtime.ports import Out
from pipeline.topology.model import Topology
from pipeline.triggers.changes import Output, SegmentChange
from pipeline.triggers.decisions import Decision, bounded
from pipeline.wire.records import RECORD_BYTES

SPECVERSION = ("ce_specversion", b"1.0")
CONTENT = ("content-type", b"application/avro")
# Outcomes that somebody acts on: to `triggers` too, under the same key.
ACTED_ON = frozenset({"fired", "retracted", "recovered"})
BOUNDS = (100, 10, 0)  # decisions.bounded
LETTER_BYTES = 64 * 1024  # of a dead letter that its topic doesn't take whole
WHOLE = "pipeline.cut"  # how long it was


class Delivery:
    """Encodes decisions for the outbox. Schemas are looked up by `prepare`, so nothing blocks later."""

    def __init__(self, topology: Topology, encoder: Encoder) -> None:
        self._triggers = topology.topics.triggers.name
        self._decisions = topology.topics.decisions.name
        self._dead_letters = topology.topics.dead_letters.name
        self._segments = None if topology.topics.segments is None else topology.topics.segments.name
        self._source = ("ce_source", f"/pipeline/{topology.group}".encode())
        self._encoder = encoder

    def prepare(self) -> None:
        """Look up what will be needed. Blocks. Raises SchemaMissing, RegistryUnavailable."""
        self._encoder.prepare(self._decisions, "decision")
        self._encoder.prepare(self._triggers, "trigger")
        if self._segments is not None:
            self._encoder.prepare(self._segments, "segment_change")

    def encode(self, decision: Output) -> list[Out]:
        """Its records, keyed by profile id: one on `decisions`, one on `triggers` for what is to be acted on; of who
        enters or leaves a segment one on `segments`.
        """
        if isinstance(decision, SegmentChange):
            return self._change(decision) if decision.published else []
        value = self._encoder.encode_decision(self._decisions, decision)
        if len(value) > RECORD_BYTES:
            value = self._bounded(decision)
        key = decision.profile_id.encode()
        content = [CONTENT, ("traceparent", decision.trace.encode())] if decision.trace else [CONTENT]
        out = [Out(self._decisions, None, key, value, content)]
        if decision.outcome in ACTED_ON and decision.published:
            headers = [
                SPECVERSION,
                ("ce_id", decision.id.encode()),
                self._source,
                _type_of(decision.rule, decision.outcome),
                ("ce_subject", key),
                ("ce_time", rfc3339(decision.decided_at).encode()),
                *content,
            ]
            out.append(Out(self._triggers, None, key, self._encoder.as_trigger(self._triggers, value), headers))
        return out

    def _change(self, change: SegmentChange) -> list[Out]:
        assert self._segments is not None
        key = change.profile_id.encode()
        headers = [
            SPECVERSION,
            ("ce_id", change.id.encode()),
            self._source,
            ("ce_type", f"behavioural.segment.{change.segment}.{change.change}".encode()),
            ("ce_subject", key),
            ("ce_time", rfc3339(change.at).encode()),
            CONTENT,
        ]
        return [Out(self._segments, None, key, self._encoder.encode_change(self._segments, change), headers)]

    def _bounded(self, decision: Decision) -> bytes:
        """With as much in it as a record takes."""
        for items in BOUNDS:
            value = self._encoder.encode_decision(self._decisions, bounded(decision, items))
            if len(value) <= RECORD_BYTES:
                break
        return value

    def smaller(self, out: Out) -> Out | None:
        """What to send instead of a record that a topic refuses for its size: a decision or trigger under its id, with
        less in it; a dead letter with the beginning of its value. None: there is nothing smaller.
        """
        value = out.value or b""
        if out.topic == self._dead_letters:
            cut = value[: LETTER_BYTES if len(value) > LETTER_BYTES else 0]
            if cut == value:
                return None
            headers = [each for each in out.headers if each[0].startswith(("__connect.", "pipeline.reason", WHOLE))]
            if WHOLE not in dict(headers):
                headers.append((WHOLE, b"%d" % len(value)))
            return out._replace(value=cut, headers=headers)
        if out.topic not in (self._decisions, self._triggers):
            return None
        decision = Decision(**self._encoder.read_decision(value))
        for items in BOUNDS:
            less = self._encoder.encode_decision(self._decisions, bounded(decision, items))
            if len(less) < len(value) - 10:
                if out.topic == self._triggers:
                    less = self._encoder.as_trigger(self._triggers, less)
                return out._replace(value=less)
        return None


@cache
def _type_of(rule: str, outcome: str) -> tuple[str, bytes]:
    return "ce_type", f"behavioural.trigger.{rule}.{outcome}".encode()
