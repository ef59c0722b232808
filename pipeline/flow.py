"""The map: what happens to one batch, in verbs. Read this first.

    first hop    events -> prepare (check, shape) -> route (identity graph) -> a resolved record for every partition
    second hop   resolved records -> receive (count at once, keep for the rules) -> advance (fold, decide) -> outbox

Everything here is a synchronous function of its arguments. `runtime/first_hop.py` and `runtime/second_hop.py` put the
store, the log and the clock around it; `runtime/replay.py` runs the same code over a recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any, Generic, TypeVar
from zlib import crc32

import msgspec
from xxhash import xxh3_64_intdigest

from pipeline.errors import InvalidEvent
from pipeline.events import tidy
from pipeline.events.compiled import Open
from pipeline.events.model import APPENDED, CONTEXT, STANDS_IN, Event
from pipeline.identity.asks import Answer, Ask
from pipeline.identity.identifiers import Normaliser
from pipeline.identity.ids import leaf_id
from pipeline.profile.about import FIELDS
from pipeline.profile.packed import array_head
from pipeline.topology.model import Topology
from pipeline.triggers.fold import Row
from pipeline.triggers.rules import RuleBook

ROUTES_KEPT = 400_000
RECORD_BYTES = 900_000
TEXT_KEPT = 1024
ITEM_KEPT = 256
ITEMS_KEPT = 400
NOT_QUIET = (0, 0)
COLLECTIONS = frozenset({"fields", "link_ids", "products", "properties", "traits"})  # body fields of several items


R = TypeVar("R")


class Resolved(msgspec.Struct, Generic[R], array_like=True, gc=False, tag="r"):
    """What one batch of one source partition means to one partition of `identity.resolved`, empty or not.

    It covers source offsets `first` <= offset < `next`. `before` and `after`: the source partition's watermark before
    and after it, UTC ms (0: none yet). `merges`: flat [loser, winner, ...], of losers that this partition owns.
    `quiet`: (before, until), UTC ms: what was due before the first and is decided up to the second (0: for as long as
    nothing else is told) is not published on `triggers`. (0, 0): as it was.
    """

    source: str
    first: int
    next: int
    before: int
    after: int
    rows: list[R]
    merges: list[str]
    quiet: tuple[int, int] = NOT_QUIET


class Packed(msgspec.Struct, array_like=True, gc=False, tag="r"):
    """The same with its rows packed, for `profile.packed.rows_of`."""

    source: str
    first: int
    next: int
    before: int
    after: int
    rows: msgspec.Raw
    merges: list[str]
    quiet: tuple[int, int] = NOT_QUIET


class Move(msgspec.Struct, array_like=True, gc=False, tag="m"):
    """A profile on its way to the one it merged into. No decision at or after `at` may be made while it is."""

    id: str
    at: int
    winner: str
    profile: bytes


class Forward(msgspec.Struct, array_like=True, gc=False, tag="f"):
    """A row that came for a profile which had moved. Matters from `at`, its received_at, on."""

    id: str
    at: int
    row: Row


encode = msgspec.msgpack.Encoder().encode
decode_row = msgspec.msgpack.Decoder(Row).decode
decode_message = msgspec.msgpack.Decoder(Resolved[Row] | Move | Forward).decode
decode_packed = msgspec.msgpack.Decoder(Packed | Move | Forward).decode


def partition_of(root: str, partitions: int) -> int:
    """The partition that owns a profile."""
    return crc32(root.encode()) % partitions


def source_partitions(topology: Topology) -> list[str]:
    """Every source partition, as "<topic>-<partition>"."""
    return [f"{topic.name}-{p}" for topic in topology.topics.sources for p in range(topic.partitions)]


def source_names(topology: Topology) -> list[str]:
    """Those that the watermark waits for."""
    return [name for name in source_partitions(topology) if name not in topology.left_out]


class Known(msgspec.Struct, gc=False):
    """An identifier that this process has met: normalised, and where it led when it was last looked up.

    `root` may be stale (then the owner forwards), and counts only for events received after `youngest`, the
    youngest link on its path: an earlier one has to tell that link again. `partition`: the root's. `implied`: an
    identifier that this one names too: the address of a user id that is one. There may be 400,000 of a namespace, each
    met when no cache of the processor holds it any more: no more objects than needed.
    """

    namespace: str
    value: str
    root: str | None = None
    youngest: int = 0
    partition: int = 0
    implied: Known | None = None


Asked = list[Known]
"""Whom to ask the graph about: the identifiers of one event, strongest first."""


class Intake:
    """The first hop's computing: from events to rows. Holds nothing but caches."""

    def __init__(self, topology: Topology, book: RuleBook) -> None:
        self.disorder = topology.time.disorder_ms
        self.max_ahead = topology.time.max_ahead_ms
        self.partitions = topology.topics.resolved.partitions
        self._normaliser = Normaliser(topology.identifiers)
        self._devices = frozenset(n.name for n in topology.identifiers.namespaces if n.device)
        # By namespace, by value as it was told or normalised; None: it identifies nobody.
        self.known: dict[str, dict[str, Known | None]] = {n.name: {} for n in topology.identifiers.namespaces}
        self._names = {n.name: n.name for n in topology.identifiers.namespaces}
        self._fields = fields_read(book)
        self._collected = _collected(self._fields)
        self._addresses = bool(book.origins)
        self._contexts = {
            kind: [(field, field.removeprefix(CONTEXT)) for field in fields if field.startswith(CONTEXT)]
            for kind, fields in self._fields.items()
        }
        self._reads_url = "url" in self._fields["page_viewed"]

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
            one = self.known.get(namespace, {}).get(told)
        asked = None
        if one is not None and one.root is not None and received_at > one.youngest and one.implied is None:
            root, ids = one.root, [one.namespace, one.value]  # nine of ten
            carried = ids
        else:
            known = self.identify(identifiers)
            carried = ids = [part for each in known for part in (each.namespace, each.value)]
            if any(each.implied is not None for each in known):
                known = self.with_implied(known)
                ids = [part for each in known for part in (each.namespace, each.value)]
            first = known[0].root
            if first is not None and all(each.root == first and received_at > each.youngest for each in known):
                root = first
            else:
                root, asked = "", known
        kind, data = event.type, self._picked(event)
        if kind == "page_viewed" and "url" in event.body:
            data = self._of_page(event.body["url"], data)
        kind, data = tidy.tidy(kind, data, self._addresses)
        # In so few bytes no text, or no item of several, is longer than what is kept of it.
        if size > ITEM_KEPT and (size > TEXT_KEPT or kind in self._collected):
            data = {field: _bounded(value) for field, value in data.items()}
        fingerprint = xxh3_64_intdigest("\0".join([event.event_id, *carried]).encode())
        row = Row(
            offset, root, kind, event.occurred_at, received_at, event.event_id, fingerprint, ids, data, event.trace
        )
        return row, asked

    def _picked(self, event: Event) -> dict[str, Any]:
        """What is read of an event's body and context."""
        body, context = event.body, event.context or {}
        found = {field: context.get(name) for field, name in self._contexts.get(event.type, ())}
        if event.trimmed:
            found |= body
        else:
            found |= {field: body.get(field) for field in self._fields.get(event.type, ()) if field not in found}
        return {field: value for field, value in found.items() if value is not None}

    def _of_page(self, url: str | None, data: dict[str, Any]) -> dict[str, Any]:
        """A page without a path has its url's."""
        data = data.copy()
        if not self._reads_url:
            data.pop("url", None)
        if url and "path" not in data:
            data["path"] = _path(url)
        return data

    def identify(self, raw: dict[str, str]) -> list[Known]:
        """What is known of an event's identifiers, the strongest first. Raises InvalidEvent(`no_identifier`)."""
        out = []
        for namespace, told in raw.items():
            cache = self.known.get(namespace)
            if cache is None:
                continue
            known = cache.get(told)
            if known is None:
                if told in cache:
                    continue
                value = self._normaliser.value(namespace, told)
                known = None if value is None else self._known(namespace, value)
                cache[told] = known
                if known is None:
                    continue
            out.append(known)
        if len(out) != 1:
            if not out:
                raise InvalidEvent("no_identifier", f"nothing in {raw!r:.200} identifies a person or device")
            rank = self._normaliser.rank
            out.sort(key=lambda k: rank[k.namespace])
        return out

    def _known(self, namespace: str, value: str) -> Known:
        """The identifier of that normalised value."""
        cache = self.known[namespace]
        known = cache.get(value)
        if known is None:
            if len(cache) > ROUTES_KEPT:
                cache.clear()
            known = cache[value] = Known(self._names[namespace], value)
            implied = self._normaliser.implied(namespace, value)
            if implied is not None and implied[0] in self.known:
                known.implied = self._known(*implied)
        return known

    def with_implied(self, known: list[Known]) -> list[Known]:
        """With what they name besides, the strongest first; of one namespace what was told before what is implied."""
        rank = self._normaliser.rank
        more = [each.implied for each in known if each.implied is not None]
        more = [each for each in more if not any(each is other for other in known)]
        return sorted([*known, *more], key=lambda each: rank[each.namespace])

    def ask(self, row: Row | Open, asked: Asked) -> Ask:
        """What to ask the graph, so that it says whose a row is."""
        ids = [x for k in asked for x in (k.namespace, k.value, leaf_id(k.namespace, k.value))]
        return Ask(row.offset, row.occurred_at, row.received_at, ids)

    def answer(self, row: Row | Open, asked: Asked, answer: Answer) -> None:
        """Route a row by what the graph said, and remember it."""
        row.root = answer.root
        row.ids = accepted = answer.ids
        pairs = list(zip(accepted[::2], accepted[1::2], strict=True))
        partition = partition_of(answer.root, self.partitions)
        for known in asked:
            known.partition = partition
            is_in = (known.namespace, known.value) in pairs
            # A public device belongs to whoever had it at the event's time: always asked.
            known.root = answer.root if is_in and (answer.cacheable or known.namespace not in self._devices) else None
            known.youngest = answer.youngest

    def drop_routes(self) -> None:
        """Forget where identifiers led: somebody else changed whose a device is, or the store fell back."""
        for cache in self.known.values():
            cache.clear()


def fields_read(book: RuleBook) -> dict[str, tuple[str, ...]]:
    """Event type -> the body fields that rules and profiles read: all that the first hop hands on."""
    return {
        kind: tuple(sorted({*FIELDS.get(kind, ()), *book.fields.get(kind, ())})) for kind in {*FIELDS, *book.fields}
    }


def wanted_fields(book: RuleBook) -> dict[str, tuple[str, ...]]:
    """The same for the decoder, with what stands in for them."""
    return {
        kind: (*fields, STANDS_IN[kind][0]) if kind in STANDS_IN else fields
        for kind, fields in fields_read(book).items()
    }


def handed_fields(book: RuleBook) -> dict[str, tuple[tuple[str, ...], int]]:
    """The same for `compiled.TAKE`, and how long a record may be of which everything is kept as it stands."""
    return {kind: (each, TEXT_KEPT) for kind, each in fields_read(book).items()}


def _collected(fields: dict[str, tuple[str, ...]]) -> frozenset[str]:
    return frozenset(kind for kind, each in fields.items() if COLLECTIONS & {*each})


def _bounded(value: Any) -> Any:
    """What rules and profile keep of a field: a record of `identity.resolved` and a profile must fit into Kafka."""
    if isinstance(value, str):
        return value[:TEXT_KEPT]
    if isinstance(value, dict):
        return {name[:ITEM_KEPT]: _cut(item) for name, item in sorted(value.items())[:ITEMS_KEPT]}
    if isinstance(value, list):
        return [_cut(item) for item in value[:ITEMS_KEPT]]
    return value


def _cut(item: Any) -> Any:
    if isinstance(item, dict):
        return {name: _cut(value) for name, value in item.items()}
    return item[:ITEM_KEPT] if isinstance(item, str) else item


def _path(url: str) -> str:
    _, _, rest = url.partition("://")
    path = rest[rest.find("/") :] if "/" in rest else url if not rest else "/"
    return path.partition("?")[0]


def resolved_records(
    source: str,
    first: int,
    next_offset: int,
    before: int,
    after: int,
    rows: Sequence[Row | Open | bytes],
    merges: list[str],
    partitions: int,
    places: Sequence[int] = (),
    quiet: tuple[int, int] = NOT_QUIET,
) -> list[list[bytes]]:
    """Records for every partition of `identity.resolved`, so that a batch is there whole or not at all: one each, or
    several where one would be larger than Kafka takes.

    `places`: the partition of each row's root, where it is known already; -1: it isn't. It is of those that are bytes.
    """
    split: list[list[bytes]] = [[] for _ in range(partitions)]
    for row, place in zip(rows, places or repeat(-1), strict=bool(places)):
        if place >= 0:
            split[place].append(row)  # type: ignore[arg-type]
        elif isinstance(row, Row):
            split[partition_of(row.root, partitions)].append(encode(row))
        else:
            split[partition_of(row.root, partitions)].append(row.packed())  # type: ignore[union-attr]
    told: list[list[str]] = [[] for _ in range(partitions)]
    for i in range(0, len(merges), 2):
        told[partition_of(merges[i], partitions)] += merges[i : i + 2]
    out = [
        encode(Resolved(source, first, next_offset, before, after, _joined(split[p]), told[p], quiet))
        for p in range(partitions)
    ]
    if len(rows) > 1 and max(map(len, out)) > RECORD_BYTES:
        half = len(rows) // 2
        at = rows[half]
        middle = decode_row(at).offset if isinstance(at, bytes) else at.offset
        head = resolved_records(
            source, first, middle, before, before, rows[:half], merges, partitions, places[:half], quiet
        )
        tail = resolved_records(source, middle, next_offset, before, after, rows[half:], [], partitions, places[half:])
        return [[*a, *b] for a, b in zip(head, tail, strict=True)]
    return [[value] for value in out]


def _joined(rows: list[bytes]) -> Any:
    """A list of packed rows as `encode` takes it."""
    return msgspec.Raw(b"".join((array_head(len(rows)), *rows)))


def dead_letter_headers(
    topic: str, partition: int, offset: int, stage: str, error: InvalidEvent, schema_id: int | None
) -> list[tuple[str, bytes]]:
    """Kafka Connect's `DeadLetterQueueReporter` names; values are strings."""
    context: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "connector.name": "pipeline",
        "task.id": partition,
        "stage": stage,
        "class.name": "pipeline.flow",
        "exception.class.name": "pipeline.errors.InvalidEvent",
        "exception.message": str(error),
    }
    headers = [(f"__connect.errors.{name}", str(value).encode()) for name, value in context.items()]
    headers.append(("pipeline.reason", error.reason.encode()))
    if schema_id is not None:
        headers.append(("pipeline.schema.id", str(schema_id).encode()))
    return headers
