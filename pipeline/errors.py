"""Every exception that this package raises on purpose and that another module catches, split by who must act.

PipelineError
├── TopologyError        the deployer: topology.yaml can't be used as it is
├── InvalidEvent         the producer: one record is bad; it becomes a dead letter, the stream goes on
├── RegistryUnavailable  the operator: no answer from the schema registry; the partition waits
│   └── SchemaNotFetched nobody: it is asked for, where that may take a while, and the batch is read again
├── SchemaMissing        the operator: the registry lacks a schema that is written with; `pipeline topics` registers it
├── SchemaRefused        the developer: a changed schema isn't compatible with what is registered
├── SendFailed           nobody: the broker didn't take it in time; claim again, and send again what isn't there
│   ├── Unsent           nobody: some of a batch is there, and isn't sent again
│   └── RecordTooLarge   nobody: a topic takes no record of that size; it goes in parts, or with less
├── CommitRejected       nobody: state moved under us (zombie, fail-over); claim again
├── Fenced               nobody: another worker owns the partition; give it up
├── ProducersTime        the operator: a topic goes by its producers' clocks; the worker doesn't start
├── OtherDeployment      the operator: the state in Redis belongs to another Kafka or other topics; nothing is touched
├── NewerState           the operator: a partition counts what this version doesn't know; it waits for a newer worker
├── TopicsChanged        the operator: a topic is gone, or has partitions that nobody reads; the worker ends
├── StateLost            the operator: Redis lacks what the log needs; the worker ends and says what to do
├── StoodStill           nobody: the consumer hangs; the worker ends, and its supervisor starts another
└── TooManyDeadLetters   the operator: a source partition stops, before it drains into the dead letters; others go on

What never gets as far as a command:

Exception
├── NotJson              nobody: no value begins there; the reader goes on behind it
├── WrongFormat          who made the file: it is of a kind that isn't read; an InvalidEvent says so
├── UnpacksTooLarge      the producer: a batch that unpacks to more than there is room for; a dead letter
└── RequestRefused       the client: all of its request is refused; it gets a status, and why
BaseException
└── Stopped              nobody: a signal asked for the end of a command; no line is at fault
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# What a refusal may advise where nothing else helps; docs/runbook.md, "Starting over".
START_OVER = (
    "start over with another `group` (PIPELINE_GROUP): it reads the source topics from their beginning and decides all"
    " anew, under the same ids, but knows nothing of what their retention has deleted"
)

OTHER_VERSION = (
    "Nothing was touched. Go on with the version that wrote it: if that is a newer one, upgrade this worker;"
    " docs/upgrade.md says which versions take over from which"
)

MADE_ANEW = (
    "What it held and nobody had read is lost. To keep all that is known of people, make the source topic under another"
    f" name and put that into topology.yaml: it is read from its beginning. Or {START_OVER}"
)


class PipelineError(Exception):
    """Base of all. `exit_code`: of a command that ends by it; 2: a worker that went on would lose, repeat or wrongly
    decide something.
    """

    exit_code = 1


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


class SchemaNotFetched(RegistryUnavailable):
    """A schema has to be fetched first: `decoder.learn(error.schema_id)`, outside of the event loop; then try again."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"Schema {schema_id} is not fetched yet: call learn({schema_id}) where blocking is allowed.")
        self.schema_id = schema_id


class SchemaMissing(PipelineError):
    """A schema that we write with is not registered under its subject."""


class SchemaRefused(PipelineError):
    """The registry refuses a schema as incompatible; `str()` is what it says."""


class CommitRejected(PipelineError):
    """The store's token is not the one this owner wrote last."""


class Fenced(PipelineError):
    """The store carries a higher fence: somebody else has claimed the partition."""


class ProducersTime(PipelineError):
    """A topic that tells time carries what its producers say, not when the broker appended it."""

    exit_code = 2


class OtherDeployment(PipelineError):
    """What Redis holds under this group belongs to another Kafka cluster, or to other topics of this one."""

    exit_code = 2


class NewerState(PipelineError):
    """What a partition holds is counted by a newer version: this one would leave it out."""


class TopicsChanged(PipelineError):
    """The topics are no longer those that the worker started with."""

    exit_code = 2


class StateLost(PipelineError):
    """The store and the log don't fit together and nothing here can repair it."""

    exit_code = 2


class TooManyDeadLetters(PipelineError):
    """More bad records than the topology allows."""


class SendFailed(PipelineError):
    """The broker refused or did not answer in time; whether it has the records is not known."""


class Unsent(SendFailed):
    """The broker has not acknowledged all of a batch.

    `left`: places, in order, of what it has not; all others need not be sent again. `too_large`: those of them that it
    refuses for their size, also one by one.
    """

    def __init__(self, problem: str, left: Sequence[int], too_large: Sequence[int] = ()) -> None:
        super().__init__(problem)
        self.left = list(left)
        self.too_large = frozenset(too_large)


class RecordTooLarge(SendFailed):
    """`topic` doesn't take a record, however often it is tried. Nothing of its batch is there; the sender is well."""

    def __init__(self, message: str, topic: str) -> None:
        super().__init__(message)
        self.topic = topic


class StoodStill(PipelineError):
    """A partition has records and didn't move, or the event loop is blocked: only a new process helps."""


class NotJson(Exception):
    """No JSON value begins here. `at`: where in the text it broke; `more`: it may be one, were the text longer."""

    def __init__(self, why: str, at: int, more: bool = False) -> None:
        super().__init__(why)
        self.at = at
        self.more = more


class WrongFormat(Exception):
    """The file is of a kind that is not read at all; `str()` says which, and what to do."""


class UnpacksTooLarge(Exception):
    """A batch of records has more bytes, unpacked, than are taken (runtime/unpacking.py)."""


class RequestRefused(Exception):
    """All of a request is refused: status and, where its events are known, of each why."""

    def __init__(self, status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.headers = status, reason, headers or {}


class Stopped(BaseException):
    """A signal asked for the end. No Exception: nobody shall take it for a line that can't be read."""


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


def shown(url: str) -> str:
    """An address as it may be shown, in a message or a log: what is or may be a password is `***`, wherever it stands:
    before the host, or behind a question mark. Where that can't be told from the host all of it is hidden.
    """
    scheme = found[0] if (found := _SCHEME.match(url)) else ""
    rest = url[len(scheme) :]
    place = re.split("[?#;]", rest, maxsplit=1)[0]
    if "@" in rest[len(place) :]:
        return f"{scheme}***"
    _, at, host = place.rpartition("@")
    return f"{scheme}{'***' if at else ''}{at}{host}{'?***' if place != rest else ''}"
