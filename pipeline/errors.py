"""Every exception this package raises on purpose, split by who must act.

PipelineError
├── TopologyError        the deployer: topology.yaml can't be used as it is
├── InvalidEvent         the producer: one record is bad; it becomes a dead letter, the stream goes on
├── RegistryUnavailable  the operator: no answer from the schema registry; the partition waits
├── CommitRejected       nobody: state moved under us (zombie, fail-over); claim again
├── Fenced               nobody: another worker owns the partition; give it up
├── ProducersTime        the operator: a topic goes by its producers' clocks; the worker doesn't start
├── StateLost            the operator: Redis lacks what the log needs; the worker ends and says what to do
└── TooManyDeadLetters   the operator: a partition stops before it drains into the dead letters
"""

from __future__ import annotations


class PipelineError(Exception):
    """Base of all."""


class TopologyError(PipelineError):
    """topology.yaml has errors; `str()` lists every finding, a line each."""


class InvalidEvent(PipelineError):
    """One record that can't be processed.

    `reason` is a short stable code (`truncated`, `unknown_schema`, `no_identifier`, ...): a bounded metric label.
    `detail` says what is wrong in words.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RegistryUnavailable(PipelineError):
    """The schema registry did not answer (anything but its own 404)."""


class CommitRejected(PipelineError):
    """The store's token is not the one this owner wrote last."""


class Fenced(PipelineError):
    """The store carries a higher fence: somebody else has claimed the partition."""


class ProducersTime(PipelineError):
    """A topic that tells time carries what its producers say, not when the broker appended it."""


class StateLost(PipelineError):
    """The store and the log don't fit together and nothing here can repair it."""


class TooManyDeadLetters(PipelineError):
    """More bad records than the topology allows."""
