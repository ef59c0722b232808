"""One source partition: what becomes of a batch, of its bad records and marks, and of time without events."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import msgspec
import pytest

from pipeline.errors import CommitRejected, InvalidEvent, TooManyDeadLetters
from pipeline.events import compiled, schemas
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.flow import Intake, Resolved, decode_message, handed_fields, wanted_fields
from pipeline.runtime.first_hop import MARK, SourcePartition
from pipeline.runtime.ports import In, Out
from pipeline.store.memory import MemoryGraphStore
from pipeline.topology.model import DeadLetterLimit, Topology
from pipeline.triggers.fold import Row
from pipeline.triggers.rules import RuleBook
from tests.property.hops import with_partitions
from tests.replayed import shipped
from tests.unit.event_samples import sample

T0 = 1_700_000_000_000
DISORDER = 10_000


class Broker:
    """Keeps what is sent; `down` raises once."""

    def __init__(self) -> None:
        self.sent: list[list[Out]] = []
        self.down = False

    async def send(self, messages: list[Out]) -> None:
        if self.down:
            self.down = False
            raise ConnectionError("no broker")
        self.sent.append(messages)


def decode(value: bytes | None, trace: str | None) -> Event:
    """`bad` is bad; else "type who received_at"."""
    if value is None or value.startswith(b"bad"):
        raise InvalidEvent("truncated", "the body ends too early")
    kind, who, at = value.decode().split()
    ids = dict([pair.split(":")[0:2] for pair in who.split(",")])
    return Event(kind, f"e{who}{at}", int(at), int(at), ids, {}, None, trace)


class Part:
    """A partition under test, of `s`, in a world of one."""

    def __init__(self, limit: DeadLetterLimit | None = None) -> None:
        self.topology: Topology = with_partitions(shipped(), 1, 2)
        if limit is not None:
            self.topology = msgspec.structs.replace(self.topology, dead_letter_limit=limit)
        self.graph = MemoryGraphStore(self.topology.identifiers)
        self.broker = Broker()
        self.hop = self.another()

    def another(self) -> SourcePartition:
        """As another process would see it."""
        intake = Intake(self.topology, RuleBook(self.topology))
        return SourcePartition(self.topology, intake, self.graph, self.broker, decode, "s", 0)

    def resolved(self, batch: int = -1) -> list[Resolved]:
        """The resolved records of a batch, a partition each."""
        out = [o for o in self.broker.sent[batch] if o.topic == self.topology.topics.resolved.name]
        assert [o.partition for o in out] == [0, 1]
        return [m for o in out if isinstance(m := decode_message(o.value or b""), Resolved)]

    def rows(self, batch: int = -1) -> list[Row]:
        return sorted((r for m in self.resolved(batch) for r in m.rows), key=lambda r: r.offset)

    def dead(self, batch: int = -1) -> list[Out]:
        return [o for o in self.broker.sent[batch] if o.topic == self.topology.topics.dead_letters.name]


def run(step: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(step)


@pytest.fixture
def part() -> Part:
    one = Part()
    assert run(one.hop.claim()) is None
    return one


def record(offset: int, value: str | None, headers: Any = (), timestamp: int = T0 + 3_600_000) -> In:
    return In(offset, timestamp, b"key", None if value is None else value.encode(), list(headers))


def seen(offset: int, who: str = "anonymous_id:a", at: int = T0) -> In:
    return record(offset, f"page_viewed {who} {at}")


def mark(offset: int, word: bytes | None) -> In:
    return record(offset, None, [(MARK, word)])


def test_a_batch_becomes_a_record_for_every_partition(part: Part) -> None:
    run(part.hop.process([seen(0), seen(1, "user_id:u,anonymous_id:a", T0 + 5)]))
    first, second = part.resolved()
    for message in (first, second):
        assert (message.source, message.first, message.next) == ("s-0", 0, 2)
        assert (message.before, message.after) == (0, T0 + 5 - DISORDER)
    assert [r.ids for r in part.rows()] == [["anonymous_id", "a"], ["user_id", "u", "anonymous_id", "a"]]
    assert sum(len(m.merges) for m in (first, second)) == 2
    assert part.hop.tally.events == {("page_viewed", "processed"): 2}
    assert part.hop.tally.merges == 1
    assert part.hop.position.offset == 2
    assert part.hop.watermark == T0 + 5 - DISORDER


def test_what_was_read_before_is_dropped(part: Part) -> None:
    run(part.hop.process([seen(0), seen(1)]))
    run(part.hop.process([seen(0), seen(1)]))
    assert len(part.broker.sent) == 1
    run(part.hop.process([seen(1), seen(2)]))
    assert [r.offset for r in part.rows()] == [2]


def test_a_batch_that_could_not_be_sent_is_read_again_and_tells_its_ties_again(part: Part) -> None:
    run(part.hop.process([seen(0)]))
    batch = [seen(1, "user_id:u,anonymous_id:a")]
    part.broker.down = True
    with pytest.raises(ConnectionError):
        run(part.hop.process(batch))
    assert part.hop.position.offset == 1
    later = part.another()
    assert run(later.claim()) == 1  # stored with the second batch: what lies before it is done
    run(later.process(batch))
    assert sum(len(m.merges) for m in part.resolved()) == 2
    assert part.rows()[0].offset == 1


def test_a_zombie_is_told(part: Part) -> None:
    run(part.hop.process([seen(0)]))
    run(part.another().claim())
    with pytest.raises(CommitRejected):
        run(part.hop.process([seen(1)]))
    assert len(part.broker.sent) == 1


def test_late_events_count_as_received_at_the_watermark(part: Part) -> None:
    run(part.hop.process([seen(0, at=T0 + 60_000), seen(1, at=T0 + 50_000), seen(2, at=T0)]))
    assert [r.received_at - T0 for r in part.rows()] == [60_000, 50_000, 50_000]
    assert part.hop.tally.events == {("page_viewed", "processed"): 2, ("page_viewed", "late"): 1}
    assert part.hop.position.high == T0 + 60_000


def test_a_bad_record_is_a_dead_letter_as_it_was(part: Part) -> None:
    headers = [("n", b"1"), ("empty", None), ("traceparent", None)]
    run(part.hop.process([seen(0), record(1, "bad", headers), record(2, None), seen(3)]))
    one, two = part.dead()
    assert (one.key, one.value, one.partition) == (b"key", b"bad", None)
    assert one.headers[:3] == headers
    told = dict(one.headers)
    assert told["__connect.errors.offset"] == b"1"
    assert told["pipeline.reason"] == b"truncated"
    assert told["pipeline.timestamp"] == b"%d" % (T0 + 3_600_000)
    assert two.value is None
    assert [r.offset for r in part.rows()] == [0, 3]
    assert part.hop.tally.dead == {"truncated": 2}


def test_the_schema_id_is_told_where_there_is_one(part: Part) -> None:
    values = [b"\0\0\0\0\7bad", b"bad", b"\0\0"]

    def refuse(value: bytes | None, trace: str | None) -> Event:
        raise InvalidEvent("unknown_schema", "no such schema")

    part.hop._decode = refuse
    run(part.hop.process([In(n, T0, None, value, []) for n, value in enumerate(values)]))
    assert [dict(o.headers).get("pipeline.schema.id") for o in part.dead()] == [b"7", None, None]


def test_traces_go_along(part: Part) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    told = [trace.encode(), b"", b"\xff", b"x" * 100_000]
    run(
        part.hop.process(
            [record(n, f"page_viewed anonymous_id:a {T0}", [("traceparent", t)]) for n, t in enumerate(told)]
        )
    )
    assert [r.trace for r in part.rows()] == [trace, None, "\ufffd", "x" * 128]


def test_a_broker_without_timestamps_is_believed(part: Part) -> None:
    run(part.hop.process([record(0, f"page_viewed anonymous_id:a {T0}", timestamp=-1)]))
    assert len(part.rows()) == 1
    run(part.hop.process([record(1, f"page_viewed anonymous_id:a {T0}", timestamp=T0 - 60_001)]))
    assert part.hop.tally.dead == {"received_in_future": 1}


def test_identifiers_left_out_of_a_tie_are_counted(part: Part) -> None:
    run(part.hop.process([seen(0, "user_id:u,email:e@x.y"), seen(1, "user_id:v,email:e@x.y")]))
    assert part.hop.tally.refused == {("email", "unique"): 1}
    assert part.rows()[1].ids == ["user_id", "v"]


def test_a_public_device_that_changes_hands_forgets_routes(part: Part) -> None:
    part.graph.graph.household = 1
    run(part.hop.process([seen(0, "user_id:u,anonymous_id:t"), seen(1, "anonymous_id:t", T0 + 1)]))
    run(part.hop.process([seen(2, "user_id:v,anonymous_id:t", T0 + 2)]))
    run(part.hop.process([seen(3, "anonymous_id:t", T0 + 3), seen(4, "user_id:u", T0 + 3)]))
    assert [r.ids for r in part.rows()] == [["user_id", "v"], ["user_id", "u"]]


# The limit.


def test_too_many_in_a_row_stop_the_partition_before_the_batch() -> None:
    part = Part(DeadLetterLimit(share=1.0, window=1000, run=5))
    run(part.hop.claim())
    run(part.hop.process([record(n, "bad") for n in range(4)]))
    run(part.hop.process([seen(4), *(record(n, "bad") for n in range(5, 9))]))
    with pytest.raises(TooManyDeadLetters, match=r"s-0 stops before offset 9: 5 records in a row .*dead_letter_limit"):
        run(part.hop.process([record(9, "bad"), seen(10)][:1]))
    assert len(part.broker.sent) == 2
    assert part.hop.position.offset == 9


def test_too_large_a_share_stops_it_and_a_smaller_one_never_does() -> None:
    part = Part(DeadLetterLimit(share=0.5, window=10, run=100))
    run(part.hop.claim())
    for start in range(0, 40, 2):
        run(part.hop.process([seen(start), record(start + 1, "bad")]))
    with pytest.raises(TooManyDeadLetters, match=r"6 of 10 records are bad"):
        run(part.hop.process([record(40, "bad"), record(41, "bad")]))


def test_good_records_behind_them_in_the_same_batch_excuse_nothing() -> None:
    for limit in (DeadLetterLimit(share=1.0, window=1000, run=5), DeadLetterLimit(share=0.5, window=8, run=100)):
        part = Part(limit)
        run(part.hop.claim())
        with pytest.raises(TooManyDeadLetters, match="stops before offset 0"):
            run(
                part.hop.process(
                    [
                        *(seen(n) for n in range(5)),
                        *(record(n, "bad") for n in range(5, 10)),
                        *(seen(n) for n in range(10, 40)),
                    ]
                )
            )
        assert part.broker.sent == []


# Marks.


@pytest.mark.parametrize(
    ("words", "held", "high"),
    [
        ([b"begin"], True, 0),
        ([b"begin", b"through %d" % T0], True, T0 + DISORDER),
        ([b"begin", b"end %d" % T0], False, T0 + DISORDER),
        ([b"begin", b"end %d" % T0, b"end %d" % (T0 - 5)], False, T0 + DISORDER),
        ([b"begin", b"open"], False, 0),
        ([b"begin", b"end soon"], False, 0),
        ([b"end \xff1"], False, 0),
        ([None], False, 0),
        ([b"end " + b"9" * 30], False, 253_402_300_799_999 + DISORDER),
    ],
)
def test_marks(part: Part, words: list[bytes | None], held: bool, high: int) -> None:
    run(part.hop.process([mark(n, word) for n, word in enumerate(words)]))
    assert (part.hop.position.held, part.hop.position.high) == (held, high)
    assert part.rows() == []
    assert part.dead() == []
    assert part.resolved()[0].after == (high - DISORDER if high else 0)
    run(part.hop.process([seen(len(words))]))
    later = part.another()
    run(later.claim())
    assert later.position.held == held  # the hold survives a restart


# Time without events.


def test_time_alone_moves_a_partition_that_has_seen_something(part: Part) -> None:
    assert not run(part.hop.idle(T0))  # nothing was ever seen: a recording may come
    assert part.broker.sent == []
    run(part.hop.process([seen(0)]))
    run(part.hop.process([seen(1)]))
    assert run(part.hop.idle(T0 + 60_000))
    for message in part.resolved():
        assert (message.first, message.next, message.rows) == (2, 2, [])
        assert (message.before, message.after) == (T0 - DISORDER, T0 + 60_000 - DISORDER)
    assert part.hop.position.high == T0 + 60_000
    assert not run(part.hop.idle(T0 + 60_000))
    assert not run(part.hop.idle(T0))
    run(part.hop.process([seen(2, at=T0 + 50_000)]))
    assert part.rows()[0].received_at == T0 + 50_000


def test_a_clock_that_was_read_before_anything_was_seen_moves_nobody(part: Part) -> None:
    """A worker that idles, and a recording of last year: its first events are read in one partition while another is
    about to follow the clock. The recording's events there would all be late."""
    intake = Intake(part.topology, RuleBook(part.topology))
    other = SourcePartition(part.topology, intake, part.graph, part.broker, decode, "s", 1)
    run(other.claim())
    for offset in range(2):
        run(other.process([seen(offset)]))
    assert not run(part.hop.idle(T0 + 60_000))
    run(part.hop.process([mark(0, b"begin"), seen(1, at=T0 + 1_000)]))
    assert [row.received_at for row in part.rows()] == [T0 + 1_000]
    run(part.hop.process([mark(2, b"open")]))
    assert run(part.hop.idle(T0 + 120_000))


def test_a_recording_that_is_coming_in_holds_time(part: Part) -> None:
    run(part.hop.process([seen(0), mark(1, b"begin")]))
    assert not run(part.hop.idle(T0 + 60_000))
    run(part.hop.process([mark(2, b"open")]))
    assert run(part.hop.idle(T0 + 60_000))


def test_where_a_partition_begins(part: Part) -> None:
    part.hop.start_at(5)
    run(part.hop.process([seen(3), seen(5)]))
    assert [r.offset for r in part.rows()] == [5]
    assert part.resolved()[0].first == 5


def test_rows_made_of_records_at_once_change_nothing() -> None:
    """A log of good, late, early, broken and foreign records, batch by batch: with TAKE and without."""
    random, topology = Random(3), with_partitions(shipped(), 1, 2)
    topology = msgspec.structs.replace(topology, dead_letter_limit=DeadLetterLimit(share=1, window=10_000, run=10_000))
    registry, book = connect("mock://routes"), RuleBook(topology)
    encoder = Encoder(registry)
    records = []
    for offset in range(1_500):
        told = sample(random.choice(sorted(schemas.names())))
        who = random.randrange(20)
        ids = {"anonymous_id": f"a{who}"} | ({"user_id": f"u{who}"} if random.random() < 0.1 else {})
        at = T0 + offset * 1000 - random.choice([0, 0, 10, 3_000, DISORDER + 5_000, -90_000])
        told = msgspec.structs.replace(told, event_id=f"e{offset}", identifiers=ids, occurred_at=at, received_at=at)
        value = bytearray(encoder.encode("t", told))
        if random.random() < 0.1:
            value[random.randrange(len(value))] ^= 1 << random.randrange(8)
        headers = [("traceparent", b"00-ab-cd-01")] if random.random() < 0.1 else []
        records.append(In(offset, T0 + offset * 1000, None, bytes(value), headers))
    outcomes: list[Any] = []
    made = 0
    for with_route in (False, True):
        decoder = Decoder(registry, wanted=wanted_fields(book), handed=handed_fields(book))

        def decode(value: bytes | None, trace: str | None, decoder: Decoder = decoder) -> Event:
            nonlocal made
            made += 1
            return decoder.decode(value, trace)

        for number in {int.from_bytes(record.value[1:5], "big") for record in records if record.value}:
            decoder.learn(number)
        broker, intake = Broker(), Intake(topology, book)
        graph = MemoryGraphStore(topology.identifiers)
        hop = SourcePartition(topology, intake, graph, broker, decode, "s", 0, decoder.takers if with_route else {})
        run(hop.claim())
        for start in range(0, len(records), 100):
            run(hop.process(records[start : start + 100]))
            outcomes.append((hop.tally.events, hop.tally.dead, hop.position))
        outcomes.append([(o.topic, o.partition, o.value, o.headers) for batch in broker.sent for o in batch])
    half = len(outcomes) // 2
    assert outcomes[:half] == outcomes[half:]
    assert made < 2 * len(records) - 400 or compiled.READER is None
