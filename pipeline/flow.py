"""The map: what happens to one batch, in verbs. Read this first.

    first hop    events -> prepare (check, shape) -> route (identity graph) -> a resolved record for every partition
    second hop   resolved records -> receive (count at once, keep for the rules) -> advance (fold, decide) -> outbox

The first hop's verbs are here; those of the second are `receive` and `advance` in `profile/profile.py`, and what it
decides by in `triggers/fold.py`. What lies between the hops is in `wire/`. All are synchronous functions of their
arguments. `runtime/first_hop.py` and `runtime/second_hop.py` put the store, the log and the clock around them;
`runtime/replay.py` runs the same code over a recording.
"""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

from pipeline.errors import PipelineError
from pipeline.events import shape
from pipeline.events.catalogue import problems
from pipeline.events.compiled import Open
from pipeline.events.model import APPENDED, Event
from pipeline.events.shape import TEXT_KEPT, Shape
from pipeline.identity.asks import Answer, Ask
from pipeline.identity.ids import leaf_id
from pipeline.identity.routes import Asked, Routes
from pipeline.profile import about
from pipeline.topology.model import Topology
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import partition_of
from pipeline.wire.row import Row


def source_partitions(topology: Topology) -> list[str]:
    """Every source partition, as "<topic>-<partition>"."""
    return [f"{topic.name}-{p}" for topic in topology.topics.sources for p in range(topic.partitions)]


def source_names(topology: Topology) -> list[str]:
    """Those that the watermark waits for."""
    return [name for name in source_partitions(topology) if name not in topology.left_out]


class Intake:
    """The first hop's computing: from events to rows. Holds nothing but caches (`routes`).

    Raises PipelineError where there is a schema of events that could not be counted.
    """

    def __init__(self, topology: Topology, book: RuleBook) -> None:
        for path, wrong in problems():
            raise PipelineError(f"{path}: {wrong}")
        self.disorder = topology.time.disorder_ms
        self.max_ahead = topology.time.max_ahead_ms
        self.partitions = topology.topics.resolved.partitions
        self.routes = Routes(topology.identifiers)
        self._shape = Shape(fields_read(book))

    def prepare(
        self, event: Event, offset: int, high: int, appended_at: int, size: int = TEXT_KEPT + 1
    ) -> tuple[Row, Asked | None]:
        """Check and shape one event, and route it by what is cached. If that doesn't say who it was, the row has no
        root yet, and all the ids that it carries: `ask` the graph, and `answer`.

        `high`: the largest received_at read from its partition so far; `appended_at`: the record's Kafka timestamp;
        `size`: bytes of it, where that is known. The event itself counts as received when it was appended, if it says
        something later; its row, if it is further behind `high` than the disorder, as received at the watermark
        (semantics 3). Raises InvalidEvent.
        """
        if event.received_at > appended_at:
            event.count_by(appended_at, self.max_ahead, APPENDED)
        received_at = event.received_at
        if received_at < high - self.disorder:
            received_at = high - self.disorder
        identifiers = event.identifiers
        one = None
        if len(identifiers) == 1:
            ((namespace, told),) = identifiers.items()
            one = self.routes.known.get(namespace, {}).get(told)
        asked = None
        if one is not None and one.root is not None and received_at > one.youngest and one.implied is None:
            root, ids = one.root, [one.namespace, one.value]  # nine of ten
            carried = ids
        else:
            known = self.routes.identify(identifiers)
            carried = ids = [part for each in known for part in (each.namespace, each.value)]
            if any(each.implied is not None for each in known):
                known = self.routes.with_implied(known)
                ids = [part for each in known for part in (each.namespace, each.value)]
            first = known[0].root
            if first is not None and all(each.root == first and received_at > each.youngest for each in known):
                root = first
            else:
                root, asked = "", known
        kind, data = self._shape.shaped(event, size)
        fingerprint = xxh3_64_intdigest("\0".join([event.event_id, *carried]).encode())
        row = Row(
            offset, root, kind, event.occurred_at, received_at, event.event_id, fingerprint, ids, data, event.trace
        )
        return row, asked

    def ask(self, row: Row | Open, asked: Asked) -> Ask:
        """What to ask the graph, so that it says whose a row is."""
        ids = [x for k in asked for x in (k.namespace, k.value, leaf_id(k.namespace, k.value))]
        return Ask(row.offset, row.occurred_at, row.received_at, ids)

    def answer(self, row: Row | Open, asked: Asked, answer: Answer) -> None:
        """Route a row by what the graph said, and remember it."""
        row.root, row.ids = answer.root, answer.ids
        self.routes.learn(asked, answer, partition_of(answer.root, self.partitions))


def fields_read(book: RuleBook) -> dict[str, tuple[str, ...]]:
    """Event type -> the body fields that rules and profiles read: all that the first hop hands on."""
    of = about.fields(book.profile_parts)
    return {kind: tuple(sorted({*of.get(kind, ()), *book.fields.get(kind, ())})) for kind in {*of, *book.fields}}


def wanted_fields(book: RuleBook) -> dict[str, tuple[str, ...]]:
    """The same for the decoder."""
    return shape.wanted(fields_read(book))


def handed_fields(book: RuleBook) -> dict[str, tuple[tuple[str, ...], int]]:
    """The same for the compiled way from records to rows."""
    return shape.handed(fields_read(book))
