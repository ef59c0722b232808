"""A decision as Kafka records: Avro bodies, CloudEvents headers in Kafka binary mode on triggers.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

from functools import cache

from pipeline.events.codec import Encoder
from pipeline.runtime.ports import Out
from pipeline.topology.model import Topology
from pipeline.triggers.decisions import Decision, rfc3339

SPECVERSION = ("ce_specversion", b"1.0")
CONTENT = ("content-type", b"application/avro")
# Outcomes that somebody acts on: to `triggers` too, under the same key.
ACTED_ON = frozenset({"fired", "retracted"})


class Delivery:
    """Encodes decisions for the outbox. Schemas are registered by `prepare`, so nothing blocks later."""

    def __init__(self, topology: Topology, encoder: Encoder) -> None:
        self._triggers = topology.topics.triggers.name
        self._decisions = topology.topics.decisions.name
        self._source = ("ce_source", f"/pipeline/{topology.group}".encode())
        self._encoder = encoder

    def prepare(self) -> None:
        """Register what will be needed. Blocks. Raises RegistryUnavailable."""
        self._encoder.prepare(self._decisions, "decision")
        self._encoder.prepare(self._triggers, "trigger")

    def encode(self, decision: Decision) -> list[Out]:
        """Its records, keyed by profile id: one on `decisions`, one on `triggers` for what is to be acted on."""
        value = self._encoder.encode_decision(self._decisions, decision)
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


@cache
def _type_of(rule: str, outcome: str) -> tuple[str, bytes]:
    return "ce_type", f"behavioural.trigger.{rule}.{outcome}".encode()
