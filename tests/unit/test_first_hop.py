"""One source partition: what becomes of a batch, of bad records, of what recordings say, of time without events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any

import msgspec
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from pipeline.errors import CommitRejected, InvalidEvent, RecordTooLarge, SchemaNotFetched, TooManyDeadLetters
from pipeline.events import compiled, schemas
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.model import APPENDED, Event
from pipeline.events.registry import connect
from pipeline.flow import Intake
from pipeline.profile.fields import handed_fields, wanted_fields
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.ports import In, Out, Unreadable
from pipeline.runtime.sources import NOBODYS
from pipeline.runtime.words import Said, Word
from pipeline.store.memory import MemoryGraphStore
from pipeline.store.ports import Skip
from pipeline.topology.model import DeadLetterLimit, Topology
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import Resolved
from pipeline.wire.row import Row
from tests.effects import Asked, Broker, Effect, GraphEffects, Refused, Sent, Took
from tests.property.hops import with_partitions
from tests.replayed import shipped
from tests.sealed import unsealed
from tests.unit.event_samples import sample

T0 = 1_700_000_000_000
DISORDER = 10_000


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
        self.effects: list[Effect] = []
        self.graph = GraphEffects(self.topology.identifiers, self.effects)
        self.broker = Broker(self.effects)
        self.hop = self.another()

    def another(self) -> SourcePartition:
        """As another process would see it."""
        intake = Intake(self.topology, RuleBook(self.topology))
        return SourcePartition(self.topology, intake, self.graph, self.broker, decode, "s", 0)

    def resolved(self, batch: int = -1) -> list[Resolved]:
        """The resolved records of a batch, a partition each."""
        out = [o for o in self.broker.batches[batch] if o.topic == self.topology.topics.resolved.name]
        assert [o.partition for o in out] == [0, 1]
        return [unsealed(o, self.topology.group) for o in out]

    def rows(self, batch: int = -1) -> list[Row]:
        return sorted((r for m in self.resolved(batch) for r in m.rows), key=lambda r: r.offset)

    def dead(self, batch: int = -1) -> list[Out]:
        return [o for o in self.broker.batches[batch] if o.topic == self.topology.topics.dead_letters.name]


def run(step: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(step)


@pytest.fixture
def part() -> Part:
    """It has told that it begins, nothing else."""
    one = Part()
    assert run(one.hop.claim()) is None
    run(one.hop._begin())
    one.broker.batches.clear()
    one.effects.clear()
    return one


def record(offset: int, value: str | None, headers: Any = (), timestamp: int = T0 + 3_600_000) -> In:
    return In(offset, timestamp, b"key", None if value is None else value.encode(), list(headers))


def seen(offset: int, who: str = "anonymous_id:a", at: int = T0) -> In:
    return record(offset, f"page_viewed {who} {at}")


def word(
    offset: int, what: Any, through: int = 0, *, at: int = 0, id: str = "r", said_at: int = 1, **more: Any
) -> Said:
    """As it lies at `offset` of the control topic; it counts from `at` on."""
    said = Word(recording=id, word=what, through=through, offsets={"s-0": at, "s-1": at}, **more)
    return Said(In(offset, said_at, None, None, []), said)


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


def test_one_that_was_never_read_says_where_it_begins_before_it_ties_anybody() -> None:
    """Who tells its ties instead, should it die, stands behind that in the log."""
    part = Part()
    assert run(part.hop.claim()) is None
    part.hop.start_at(7, T0)
    for down in (True, False):
        if down:
            part.broker.troubles = [ConnectionError("no broker")]
            with pytest.raises(ConnectionError):
                run(part.hop.process([seen(7, "user_id:u,anonymous_id:a", T0 + 9)]))
            assert not part.graph.graph.links
        else:
            run(part.hop.process([seen(7, "user_id:u,anonymous_id:a", T0 + 9)]))
    for batch, until in ((0, 7), (1, 8)):
        assert {(m.first, m.next, m.before) for m in part.resolved(batch)} == {(7, until, T0)}
    assert len(part.broker.batches) == 2
    later = part.another()
    run(later.claim())
    run(later.process([seen(7), seen(8)]))
    everyone: Any = [("identity.resolved", 0), ("identity.resolved", 1)]
    assert part.effects == [
        Took("s-0"),
        Refused(everyone),
        Sent(everyone),  # that it begins: once
        Asked(7, [7]),
        Sent(everyone),
        Took("s-0"),
        Asked(7, [7, 8]),  # by one that has met nobody yet
        Sent(everyone),
    ]


def test_what_was_read_before_is_dropped(part: Part) -> None:
    run(part.hop.process([seen(0), seen(1)]))
    run(part.hop.process([seen(0), seen(1)]))
    assert len(part.broker.batches) == 1
    run(part.hop.process([seen(1), seen(2)]))
    assert [r.offset for r in part.rows()] == [2]


def test_a_batch_that_could_not_be_sent_is_read_again_and_tells_its_ties_again(part: Part) -> None:
    run(part.hop.process([seen(0)]))
    batch = [seen(1, "user_id:u,anonymous_id:a")]
    part.broker.troubles = [ConnectionError("no broker")]
    with pytest.raises(ConnectionError):
        run(part.hop.process(batch))
    assert part.hop.position.offset == 1
    later = part.another()
    assert run(later.claim()) == 1
    run(later.process(batch))
    everyone: Any = [("identity.resolved", 0), ("identity.resolved", 1)]
    assert part.effects == [
        Asked(0, [0]),
        Sent(everyone),
        Asked(1, [1]),  # stored with the second batch: what lies before it is done
        Refused(everyone),
        Took("s-0"),
        Asked(1, [1]),
        Sent(everyone),
    ]
    assert sum(len(m.merges) for m in part.resolved()) == 2
    assert part.rows()[0].offset == 1


def test_a_zombie_is_told(part: Part) -> None:
    run(part.hop.process([seen(0)]))
    run(part.another().claim())
    with pytest.raises(CommitRejected):
        run(part.hop.process([seen(1)]))
    assert len(part.broker.batches) == 1


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
    assert part.rows()[0].received_at == T0


def test_a_clock_ahead_of_the_brokers_moves_nobody_elses_time(part: Part, caplog: pytest.LogCaptureFixture) -> None:
    """A till half an hour ahead, and one that is a little ahead: they count as appended, and the first is named."""
    told = f"page_viewed anonymous_id:a {T0 + 1_800_000}"
    ahead = [record(0, told, timestamp=T0), record(1, f"page_viewed anonymous_id:a {T0 + 2}", timestamp=T0 + 1)]
    run(part.hop.process([*ahead, record(2, told, timestamp=T0 + 5), seen(3, at=T0)]))
    assert [(r.occurred_at - T0, r.received_at - T0) for r in part.rows()] == [(0, 0), (1, 1), (5, 5), (0, 0)]
    assert part.hop.position.high == T0 + 5
    assert part.hop.tally.events == {("page_viewed", "processed"): 4}
    assert part.hop.tally.remarks == {"read_as": 2}
    assert part.dead() == []
    assert caplog.messages == [f"s-0 offset 0: page_viewed: read_as: {APPENDED.detail}"]


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
    assert len(part.broker.batches) == 3  # the first says that it begins
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
        assert part.broker.batches == []


def test_what_an_operator_lets_pass_is_dead_letters_and_then_the_limit_holds_again() -> None:
    part = Part(DeadLetterLimit(share=1.0, window=1000, run=5))
    run(part.hop.claim())
    batch = [*(record(n, "bad") for n in range(8)), seen(8), *(record(n, "bad") for n in range(9, 16))]
    with pytest.raises(TooManyDeadLetters, match=r"mostly truncated.*`pipeline skip s 0 OFFSET`, where OFFSET is 16"):
        run(part.hop.process(batch))
    assert run(part.hop.let_pass()) is None

    run(part.graph.skip("s-0", Skip(11, "anna@laptop", T0)))
    assert run(part.hop.let_pass()) == Skip(11, "anna@laptop", T0)
    part.hop = part.another()
    run(part.hop.claim())
    with pytest.raises(TooManyDeadLetters, match="stops before offset 11: 5 records in a row"):
        run(part.hop.process(batch))
    assert part.hop.position.offset == 11
    assert [r.offset for r in part.rows()] == [8]
    assert len(part.dead()) == 10
    assert all(("pipeline.skipped.by", b"anna@laptop 2023-11-14T22:13:20.000Z") in out.headers for out in part.dead())
    assert run(part.hop.let_pass()) is None

    run(part.graph.skip("s-0", Skip(14, "anna@laptop", T0)))
    part.hop = part.another()
    run(part.hop.claim())
    run(part.hop.process([*batch, seen(16)]))
    by = ["pipeline.skipped.by" in dict(out.headers) for out in (*part.dead(-2), *part.dead())]
    assert by == [True] * 13 + [False] * 2  # what was sent is stored with the next batch only: read again
    assert part.hop.tally.dead == {"truncated": 15}


def test_a_schema_is_asked_for_once_a_batch_and_what_remains_unknown_is_a_dead_letter() -> None:
    asked: list[dict[int, int]] = []
    known: set[int] = set()

    def patient(value: bytes | None, trace: str | None) -> Event:
        assert value is not None
        if value[0]:  # not in the wire format
            return decode(value, trace)
        if value[4] not in known:
            raise SchemaNotFetched(value[4])
        return decode(value[5:], trace)

    async def learn(wanted: Mapping[int, int]) -> frozenset[int]:
        asked.append(dict(wanted))
        known.update({7} & wanted.keys())
        return frozenset({9} & wanted.keys())

    part = Part()
    intake = Intake(part.topology, RuleBook(part.topology))
    hop = SourcePartition(part.topology, intake, part.graph, part.broker, patient, "s", 0, learn=learn)
    run(hop.claim())
    told = f"page_viewed anonymous_id:a {T0}"
    named = [record(offset, f"\0\0\0\0{chr(name)}{told}") for offset, name in enumerate((7, 8, 9, 8), 1)]
    run(hop.process([seen(0), *named]))
    assert asked == [{7: 1, 8: 2, 9: 1}]
    assert [r.offset for r in part.rows()] == [0, 1]
    why = [dict(out.headers)["__connect.errors.exception.message"] or b"" for out in part.dead()]
    assert why[0] == why[2] == b"unknown_schema: the schema registry has no schema 8"
    assert why[1].startswith(b"unknown_schema: schema 9 was not asked for")
    assert hop.tally.events == {("page_viewed", "processed"): 2, ("unknown", "dead_letter"): 3}


def test_a_batch_that_cannot_be_unpacked_is_one_dead_letter_and_the_position_is_behind_it(part: Part) -> None:
    lump = Unreadable(7, T0, None, None, [])
    lump.first, lump.packed, lump.error = 1, b"\0" * 8 + b"packed", InvalidEvent("too_large", "it holds too much")
    run(part.hop.process([seen(0), lump, seen(8)]))
    assert [r.offset for r in part.rows()] == [0, 8]
    (letter,) = part.dead()
    told = dict(letter.headers)
    assert (letter.value, told["pipeline.reason"], told["pipeline.batch"]) == (lump.packed, b"too_large", b"1-7")
    assert told["__connect.errors.offset"] == b"1"
    assert "pipeline.schema.id" not in told
    assert part.hop.position.offset == 9


def test_a_dead_letter_that_its_topic_does_not_take_is_cut_and_nothing_else_is(part: Part) -> None:
    topic, sent = part.topology.topics.dead_letters.name, part.broker.batches

    class Narrow(Broker):
        async def send(self, messages: list[Out]) -> None:
            if any(out.topic == topic and len(out.value or b"") > 100_000 for out in messages):
                raise RecordTooLarge("it takes less", topic)
            sent.append(messages)

    part.hop._sender = Narrow()
    large = record(1, "bad " + "x" * 200_000, [("x" * 50_000, b"y" * 50_000), *[("h", b"")] * 100])
    run(part.hop.process([seen(0), large, record(2, "bad"), seen(3)]))
    assert [r.offset for r in part.rows()] == [0, 3]
    cut, whole = part.dead()
    assert (large.value or b"").startswith(cut.value or b"?")
    assert dict(cut.headers)["pipeline.reason"] == b"truncated"
    assert int(dict(cut.headers)["pipeline.cut"] or 0) > 300_000
    assert (whole.value, "pipeline.cut" in dict(whole.headers)) == (b"bad", False)
    assert sum(len(name) + len(value or b"") for name, value in cut.headers) < 10_000


def test_a_fault_of_ours_costs_the_record_that_has_it(part: Part) -> None:
    run(part.hop.process([seen(0), record(1, "page_viewed anonymous_id:a noon"), seen(2)]))
    assert [r.offset for r in part.rows()] == [0, 2]
    (letter,) = part.dead()
    assert dict(letter.headers)["pipeline.reason"] == b"failed"
    assert b"ValueError" in (dict(letter.headers)["__connect.errors.exception.message"] or b"")


# What recordings say.


@pytest.mark.parametrize(
    ("told", "held", "high"),
    [
        ([("begin", 0)], True, 0),
        ([("begin", 0), ("through", T0)], True, T0 + DISORDER),
        ([("begin", 0), ("through", 0)], True, 0),
        ([("begin", 0), ("end", T0)], False, T0 + DISORDER),
        ([("begin", 0), ("end", T0), ("end", T0 + 5)], False, T0 + DISORDER),
        ([("begin", 0), ("open", 0)], False, 0),
        ([("end", T0)], False, 0),
        ([("through", T0)], False, 0),
    ],
)
def test_words(part: Part, told: list[tuple[Any, int]], held: bool, high: int) -> None:
    for n, (what, through) in enumerate(told):
        part.hop.hear(word(n, what, through))
    run(part.hop.obey())
    assert (part.hop.position.held, part.hop.position.high) == (held, high)
    assert part.hop.position.control == len(told)
    if high:
        assert part.rows() == []
        assert part.resolved()[0].after == high - DISORDER
    run(part.hop.process([seen(0, at=T0 + DISORDER)]))
    run(part.hop.process([seen(1, at=T0 + DISORDER)]))
    later = part.another()
    run(later.claim())
    assert (later.position.held, later.heard) == (held, len(told))  # what was obeyed survives a restart
    assert later.position.recording == part.hop.position.recording


def test_a_word_counts_where_everything_before_it_is_read(part: Part) -> None:
    """Also behind the batch that reaches there, in its transaction; so no event that lies before it is late."""
    part.hop.hear(word(0, "begin"))
    part.hop.hear(word(1, "through", T0 + 60_000, at=2))
    part.hop.hear(word(2, "end", T0 + 90_000, at=5))
    run(part.hop.obey())
    assert part.hop.position.held
    assert not part.hop.ripe
    run(part.hop.process([seen(0, at=T0)]))
    assert part.hop.watermark == T0 - DISORDER
    run(part.hop.process([seen(1, at=T0 + 5), seen(2, at=T0 + 6)]))
    assert part.hop.watermark == T0 + 60_000
    assert part.resolved()[0].after == T0 + 60_000
    assert part.hop.tally.events == {("page_viewed", "processed"): 2}
    run(part.hop.obey(reached=4))
    assert part.hop.position.held
    run(part.hop.obey(reached=5))  # what lies there last is no record
    assert not part.hop.position.held
    assert part.resolved()[0].after == T0 + 90_000


def test_words_of_a_batch_that_was_not_sent_are_obeyed_when_it_is(part: Part) -> None:
    part.hop.hear(word(0, "begin"))
    part.hop.hear(word(1, "through", T0, at=1))
    part.broker.troubles = [ConnectionError("no broker")]
    with pytest.raises(ConnectionError):
        run(part.hop.process([seen(0)]))
    assert part.hop.position.control == 0
    run(part.hop.process([seen(0)]))
    assert (part.hop.position.control, part.hop.watermark) == (2, T0)
    part.hop.hear(word(1, "end", T0 + 5, at=1))  # heard before: no news
    assert not part.hop.waiting


def test_one_recording_at_a_time(part: Part) -> None:
    """Who comes second is refused, unless it takes over, or the first has said nothing for a minute."""
    told = [
        word(0, "begin", id="a", said_at=1_000),
        word(1, "begin", id="b", said_at=30_000),
        word(2, "end", T0, id="b", said_at=31_000),
        word(3, "through", T0 - 5, id="a", said_at=60_999),
        word(4, "begin", id="c", said_at=120_998),
        word(5, "begin", id="d", said_at=120_999),
        word(6, "through", T0, id="a", said_at=121_000),
        word(7, "begin", id="e", said_at=121_001, over=True),
        word(8, "open", id="d", said_at=121_002),
    ]
    for said in told:
        part.hop.hear(said)
    run(part.hop.obey())
    assert part.hop.holder == "e"
    assert part.hop.watermark == T0 - 5
    reasons = [(dict(o.headers)["pipeline.reason"] or b"").decode() for o in part.dead()]
    assert reasons == [
        "other_recording", "unknown_recording", "other_recording", "unknown_recording", "unknown_recording"
    ]  # fmt: skip
    assert part.hop.tally.refused_words == {"other_recording": 2, "unknown_recording": 3}


def test_what_is_no_word_is_a_dead_letter_of_the_first_partition_alone(part: Part) -> None:
    said = Said(In(7, T0, b"k", b"{", [("n", b"1")]), InvalidEvent("unreadable_word", "not a word"))
    part.hop.hear(said)
    run(part.hop.obey())
    (letter,) = part.dead()
    told = dict(letter.headers)
    assert (letter.key, letter.value, told["n"]) == (b"k", b"{", b"1")
    assert told["__connect.errors.topic"] == part.topology.topics.control.name.encode()
    assert told["__connect.errors.offset"] == b"7"
    assert told["__connect.errors.stage"] == b"control"
    assert told["pipeline.reason"] == b"unreadable_word"
    intake = Intake(part.topology, RuleBook(part.topology))
    other = SourcePartition(part.topology, intake, part.graph, part.broker, decode, "s", 1)
    run(other.claim())
    other.hear(said)
    run(other.obey())
    assert not [
        out for sent in part.broker.batches[1:] for out in sent if out.topic != part.topology.topics.resolved.name
    ]


def test_one_that_says_nothing_lets_go_and_may_go_on(part: Part) -> None:
    run(part.hop.process([seen(0)]))
    part.hop.hear(word(0, "begin", quiet=T0))
    run(part.hop.obey())
    assert part.resolved()[0].quiet == (T0, 0)
    assert not run(part.hop.lapse("another"))
    assert run(part.hop.lapse("r"))
    until = T0 + part.topology.time.lateness_ms + DISORDER
    assert part.resolved()[0].quiet == (T0, until)
    assert run(part.hop.idle(T0 + 60_000))
    part.hop.hear(word(1, "through", T0 + 1))
    run(part.hop.obey())
    assert part.hop.holder == "r"
    assert part.resolved()[0].quiet == (T0, 0)
    part.hop.hear(word(2, "end", until + 1))
    run(part.hop.obey())
    assert part.resolved()[0].quiet == (T0, until + 1 + DISORDER)


def test_a_header_in_a_source_topic_commands_nothing(part: Part) -> None:
    headers = [("pipeline.mark", b"end 9999999999999")]
    run(part.hop.process([record(0, f"page_viewed anonymous_id:a {T0}", headers), record(1, None, headers)]))
    assert (part.hop.position.high, part.hop.position.held) == (T0, False)
    assert len(part.rows()) == 1
    assert part.hop.tally.dead == {"truncated": 1}


# Time without events.


def test_time_alone_moves_a_partition_that_has_seen_something(part: Part) -> None:
    assert not run(part.hop.idle(T0))  # nothing was ever seen: a recording may come
    assert part.broker.batches == []
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
    part.hop.hear(word(0, "begin"))
    run(part.hop.process([seen(1, at=T0 + 1_000)]))
    assert [row.received_at for row in part.rows()] == [T0 + 1_000]
    part.hop.hear(word(1, "open"))
    run(part.hop.obey())
    assert run(part.hop.idle(T0 + 120_000))


def test_where_nobody_knows_the_clock_yet_it_is_asked_for_by_telling_the_same_again(part: Part) -> None:
    assert not run(part.hop.idle(None))  # nothing was ever seen
    assert part.broker.batches == []
    for offset in range(2):
        run(part.hop.process([seen(offset)]))
    part.hop.hear(word(0, "begin"))
    run(part.hop.obey())
    assert not run(part.hop.idle(None))  # a recording holds time
    part.hop.hear(word(1, "open"))
    run(part.hop.obey())
    position = part.hop.position
    assert not run(part.hop.idle(None))
    for message in part.resolved():
        assert (message.first, message.next, message.rows) == (2, 2, [])
        assert message.before == message.after == T0 - DISORDER
    assert part.hop.position == position


def test_a_recording_that_is_coming_in_holds_time(part: Part) -> None:
    for offset in range(2):
        run(part.hop.process([seen(offset)]))
    part.hop.hear(word(0, "begin"))
    assert not run(part.hop.idle(T0 + 60_000))  # heard is enough
    run(part.hop.obey())
    assert not run(part.hop.idle(T0 + 60_000))
    part.hop.hear(word(1, "open"))
    run(part.hop.obey())
    assert run(part.hop.idle(T0 + 60_000))


def test_where_a_partition_begins(part: Part) -> None:
    part.hop.start_at(5)
    run(part.hop.process([seen(3), seen(5)]))
    assert [r.offset for r in part.rows()] == [5]
    assert part.resolved()[0].first == 5


def parsed(records: list[In]) -> list[Any]:
    """The same as aiokafka parses them: what the transport hands on in earnest."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 24)
    for each in records:
        assert builder.append(each.offset, each.timestamp, each.key, each.value, list(each.headers)) is not None
    return list(MemoryRecords(bytes(builder.build())).next_batch())


@pytest.mark.parametrize("hand", [list, parsed], ids=["plain", "as the transport hands them on"])
def test_rows_made_of_records_at_once_change_nothing(hand: Callable[[list[In]], list[Any]]) -> None:
    """A log of good, late, early, broken and foreign records, batch by batch: with TAKE and without."""
    random, topology = Random(3), with_partitions(shipped(), 1, 2)
    topology = msgspec.structs.replace(topology, dead_letter_limit=DeadLetterLimit(share=1, window=10_000, run=10_000))
    registry, book = connect("mock://routes"), RuleBook(topology)
    encoder = Encoder(registry)
    records = []
    nobodys = 0
    for offset in range(1_500):
        told = sample(random.choice(sorted(schemas.names())))
        who = random.randrange(20)
        ids = {"anonymous_id": f"a{who}"} | ({"user_id": f"u{who}"} if random.random() < 0.1 else {})
        at = T0 + offset * 1000 - random.choice([0, 0, 10, 3_000, DISORDER + 5_000, -1, -30_000, -90_000])
        told = msgspec.structs.replace(told, event_id=f"e{offset}", identifiers=ids, occurred_at=at, received_at=at)
        value = bytearray(encoder.encode("t", told))
        if random.random() < 0.1:
            value[random.randrange(len(value))] ^= 1 << random.randrange(8)
        headers = [("traceparent", b"00-ab-cd-01")] if random.random() < 0.1 else []
        if offset % 50 == 7:  # they say on purpose nothing of who it was
            value = bytearray(encoder.encode("t", msgspec.structs.replace(told, identifiers={})))
            headers.append((NOBODYS, b"no_consent"))
            nobodys += 1
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
            run(hop.process(hand(records[start : start + 100])))
            outcomes.append((hop.tally.events, hop.tally.dead, hop.tally.remarks, hop.position))
        outcomes.append([(o.topic, o.partition, o.value, o.headers) for o in broker.sent])
    half = len(outcomes) // 2
    assert outcomes[:half] == outcomes[half:]
    told_of = [each[0].get(("unknown", "nobodys"), 0) for each in outcomes[: half - 1]]
    assert sum(told_of) == nobodys
    assert made < 2 * len(records) - 400 or compiled.READER is None
