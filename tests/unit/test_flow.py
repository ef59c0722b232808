"""The first hop's computing: checks, shapes, routes, records."""

from __future__ import annotations

import os
from base64 import b32encode
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidEvent
from pipeline.events import compiled, schemas, shape
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.model import APPENDED, Event
from pipeline.events.registry import connect
from pipeline.flow import Intake
from pipeline.identity import routes
from pipeline.identity.asks import Answer
from pipeline.identity.ids import leaf_id
from pipeline.profile.fields import handed_fields, wanted_fields
from pipeline.profile.profile import Profile, decode, encode_profile
from pipeline.runtime import dead_letters
from pipeline.runtime.ports import In, Out
from pipeline.runtime.replay import Replay
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook
from pipeline.wire import records as wire
from pipeline.wire.records import Resolved, partition_of, resolved_records
from pipeline.wire.row import Row
from tests.oracle.histories import history
from tests.replayed import as_event, shipped
from tests.sealed import unsealed
from tests.unit.event_samples import body_schema, context_schema, events

needs_compiled = pytest.mark.skipif(
    compiled.READER is None and os.environ.get("PIPELINE_TESTS_STRICT") != "1",
    reason="pipeline/events/_reader isn't built",
)
T0 = 1_700_000_000_000
FAR = 1 << 60
PHONE = {"anonymous_id": "phone"}


@pytest.fixture
def intake() -> Intake:
    return Intake(shipped(), RuleBook(shipped()))


def event(kind: str = "page_viewed", ids: dict[str, str] | None = None, at: int = T0, **body: Any) -> Event:
    return Event(kind, "e1", at, at, PHONE if ids is None else ids, body)


def row(number: int, root: str, text: str = "") -> Row:
    return Row(number, root, "page_viewed", T0, T0, f"e{number}", number, ["anonymous_id", root], {"path": text})


# Checks.


@pytest.mark.parametrize(("appended", "counts"), [(T0 + 1, T0), (T0, T0), (T0 - 1, T0 - 1), (T0 - 60_000, T0 - 60_000)])
def test_an_event_is_received_when_it_was_appended_at_the_latest(intake: Intake, appended: int, counts: int) -> None:
    told = event()
    row, _ = intake.prepare(told, 0, 0, appended)
    assert (row.occurred_at, row.received_at, told.received_at) == (counts, counts, counts)
    assert told.remarks == ()


def test_over_a_minute_ahead_is_remarked_upon(intake: Intake) -> None:
    told = event()
    told.occurred_at = T0 - 100_000
    row, _ = intake.prepare(told, 0, 0, T0 - 60_001)
    assert (row.occurred_at, row.received_at) == (T0 - 100_000, T0 - 60_001)
    assert told.remarks == (APPENDED,)


@pytest.mark.parametrize("ids", [{}, {"anonymous_id": " NULL "}, {"cookie": "c"}, {"user_id": "0", "email": ""}])
def test_somebody_must_have_done_it(intake: Intake, ids: dict[str, str]) -> None:
    for _ in range(2):  # known as useless the second time
        with pytest.raises(InvalidEvent, match="no_identifier"):
            intake.prepare(event(ids=ids), 0, 0, T0)


def test_what_is_further_behind_than_the_disorder_was_received_at_the_watermark(intake: Intake) -> None:
    assert intake.prepare(event(), 0, T0 + 10_000, T0)[0].received_at == T0
    assert intake.prepare(event(), 0, T0 + 10_001, T0)[0].received_at == T0 + 1


# Shapes.


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://shop.example/a/b?x=1", "/a/b"),
        ("https://shop.example", "/"),
        ("https://shop.example/", "/"),
        ("/relative?x", "/relative"),
        ("words", "words"),
    ],
)
def test_a_page_without_a_path_has_its_urls(intake: Intake, url: str, path: str) -> None:
    assert intake.prepare(event(url=url), 0, 0, T0)[0].data["path"] == path
    assert intake.prepare(event(url=url, path="/told"), 0, 0, T0)[0].data["path"] == "/told"


def test_only_what_rules_and_profile_read_is_kept(intake: Intake) -> None:
    data = intake.prepare(event("product_added", product_id="p", brand="b", variant=None), 0, 0, T0)[0].data
    assert data == {"product_id": "p"}
    assert intake.prepare(event("custom", name="n", properties={"a": "b"}), 0, 0, T0)[0].data == {"name": "n"}


def test_what_is_said_of_consent_comes_along(intake: Intake) -> None:
    told = event("searched", query="q")
    told.context = {"consent": {"marketing": False}, "locale": "de"}
    assert intake.prepare(told, 0, 0, T0)[0].data == {"query": "q", "consent": {"marketing": False}}


FULL = Decoder(connect("mock://flow"))
BOOK = RuleBook(shipped())
TRIMMING = Decoder(connect("mock://flow"), wanted=wanted_fields(BOOK), handed=handed_fields(BOOK))


@given(events())
def test_the_worker_steps_over_fields_and_makes_the_same_rows_as_replay(event: Event) -> None:
    event = msgspec.structs.replace(event, identifiers=PHONE)
    value = Encoder(connect("mock://flow")).encode("t", event)
    intake = Intake(shipped(), RuleBook(shipped()))
    seen, full = TRIMMING.decode(value), FULL.decode(value)
    assert seen.trimmed or compiled.READER is None or len(event.event_id.encode()) > 256
    now = event.received_at
    assert intake.prepare(seen, 0, 0, now, len(value))[0] == intake.prepare(full, 0, 0, now)[0]


def taken(value: bytes, trace: str | None, floor: int, appended: int, intake: Intake) -> tuple[Any, Any]:
    """(row, (time of receipt as told, event type, partition, what is asked)) of a record that is taken, else Nones."""
    rows: list[Any] = []
    places: list[int] = []
    kinds: list[str] = []
    late: list[str] = []
    asked: list[Any] = []
    left: list[In] = []
    record = In(7, appended, None, value, [("traceparent", trace.encode())] if trace else [])

    def slow(record: In, high: int) -> int:
        left.append(record)
        return high

    TRIMMING.decode(value)  # its schema has been met
    assert compiled.TAKE is not None
    told = compiled.TAKE(
        [record], TRIMMING.takers, intake.routes.known, intake.routes.identify, intake.routes.with_implied,
        lambda headers: headers[0][1].decode(), slow, floor + intake.disorder,
        intake.disorder, intake.max_ahead, rows, places, kinds, late, asked,
    )  # fmt: skip
    assert len(rows) == len(places) == len(kinds) == 1 - len(left)
    return (rows[0], (told, kinds[0], places[0], asked)) if rows else (None, None)


@needs_compiled
@given(
    events(),
    st.none() | st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
    st.integers(-1, 1 << 48),
    st.booleans(),
    st.sampled_from([-60_000, -1, 0, 1, 1 << 40]) | st.integers(-60_000, 100),
)
def test_a_row_made_of_a_record_at_once_is_the_row_made_by_python(
    event: Event, trace: str, floor: int, several: bool, behind: int
) -> None:
    """`behind`: the time of appending, less the time of receipt that the event tells."""
    ids = {"anonymous_id": "A", "user_id": "u", "email": " X@y.example"} if several else PHONE
    event = msgspec.structs.replace(event, identifiers=ids)
    value = Encoder(connect("mock://flow")).encode("t", event)
    intake = Intake(shipped(), RuleBook(shipped()))
    high = floor + intake.disorder
    if event.received_at > 60_001:  # 0: a record without a time
        assert taken(value, trace, floor, event.received_at - 60_001, intake) == (None, None)
    appended = max(event.received_at + behind, 1)
    row, asked = intake.prepare(TRIMMING.decode(value, trace), 7, high, appended, len(value))
    assert asked is not None
    made, more = taken(value, trace, floor, appended, intake)
    if made is None:
        return
    root = "abcdefgh23456722"
    assert more[1:3] == (row.type, -1)  # nobody knows whose it is
    assert [(known.namespace, known.value) for known in more[3][0][1]] == [(k.namespace, k.value) for k in asked]
    assert more[3][0][0] is made
    assert (made.offset, made.occurred_at, made.received_at) == (7, row.occurred_at, row.received_at)
    answer = Answer(root, row.ids[:2], 5, True, [], [])
    intake.answer(row, asked, answer)
    intake.answer(made, asked, answer)
    assert made.packed() == msgspec.msgpack.encode(row)

    for known in asked:
        known.root, known.youngest = root, 5
    row, open_ = intake.prepare(TRIMMING.decode(value, trace), 7, high, appended, len(value))
    made, more = taken(value, trace, floor, appended, intake)
    if open_ is None:
        assert made == msgspec.msgpack.encode(row)
        place = partition_of(root, intake.partitions) if not several else asked[0].partition
        assert more == (max(high, min(event.received_at, appended)), row.type, place, [])
    else:  # received not after the youngest link
        assert more[2] == -1


@needs_compiled
def test_roots_that_differ_are_asked_about() -> None:
    intake = Intake(shipped(), RuleBook(shipped()))
    value = Encoder(connect("mock://flow")).encode(
        "t", Event("searched", "e", T0, T0, {"anonymous_id": "a", "user_id": "u"}, {})
    )
    user, device = intake.routes.identify({"anonymous_id": "a", "user_id": "u"})
    user.root, device.root = "abcdefgh23456722", "abcdefgh23456723"
    made, more = taken(value, None, 0, T0, intake)
    assert (made.root, made.ids, more[2]) == ("", ["user_id", "u", "anonymous_id", "a"], -1)
    device.root = user.root
    assert isinstance(taken(value, None, 0, T0, intake)[0], bytes)
    device.youngest = T0
    assert not isinstance(taken(value, None, 0, T0, intake)[0], bytes)


@needs_compiled
def test_what_is_plain_of_every_type_is_made_at_once() -> None:
    """Not what holds maps or is long."""
    left = set()
    for name in schemas.names():
        body = {"path": "/a"} if name == "page_viewed" else {}
        kinds = {field["name"]: field["type"] for field in body_schema(name)["fields"]}
        body |= {field: f"{field}-1" for field, kind in kinds.items() if kind in ("string", ["null", "string"])}
        body |= {"currency": "EUR"} if "currency" in body else {}
        value = Encoder(connect("mock://flow")).encode("t", Event(name, "e", T0, T0, PHONE, body))
        if taken(value, None, 0, T0, Intake(shipped(), RuleBook(shipped())))[0] is None:
            left.add(name)
    assert left <= {"identified", "email_bounced"}  # the words for a soft bounce are many


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_leaf_id_is_base32_of_a_digest(namespace: str, value: str) -> None:
    digest = blake2b(f"{namespace}\0{value}".encode(), digest_size=10).digest()
    assert leaf_id(namespace, value) == b32encode(digest).decode().lower()


def test_an_item_is_cut_in_a_short_record_too(intake: Intake) -> None:
    for told in (event("identified", traits={"bio": "x" * 300}), event("email_sent", link_ids=["x" * 300])):
        whole, short = intake.prepare(told, 0, 0, T0)[0], intake.prepare(told, 0, 0, T0, 400)[0]
        assert whole.data == short.data
        assert whole.data in ({"traits": {"bio": "x" * 256}}, {"link_ids": ["x" * 256]})


def test_fields_of_several_items_are_known() -> None:
    found = set()
    for name in schemas.names():
        for field in body_schema(name)["fields"]:
            kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
            found |= {field["name"] for kind in kinds if isinstance(kind, dict) and kind["type"] != "enum"}
    for field in context_schema()["fields"]:
        if isinstance(field["type"], list) and isinstance(field["type"][1], dict):
            found.add(f"context.{field['name']}")
    assert found == shape.COLLECTIONS


def test_a_rule_may_read_the_url() -> None:
    book = RuleBook(shipped())
    told = event(url="https://shop.example/a?b", title="t")
    book.fields.setdefault("page_viewed", set()).add("url")
    data = Intake(shipped(), book).prepare(told, 0, 0, T0)[0].data
    assert data == {"url": "https://shop.example/a?b", "title": "t", "path": "/a"}
    assert Intake(shipped(), RuleBook(shipped())).prepare(told, 0, 0, T0)[0].data == {"title": "t", "path": "/a"}
    assert told.body == {"url": "https://shop.example/a?b", "title": "t"}


def test_the_same_event_of_others_is_another(intake: Intake) -> None:
    told = [{"anonymous_id": "a"}, {"anonymous_id": "b"}, {"user_id": "a"}, {"anonymous_id": "a", "user_id": "a"}]
    prints = [intake.prepare(event(ids=ids), 0, 0, T0)[0].fingerprint for ids in told]
    assert len(set(prints)) == 4
    turned = dict(reversed(list(told[3].items())))
    assert intake.prepare(event(ids=turned), 0, 0, T0)[0].fingerprint == prints[3]


def test_long_texts_are_cut_and_as_replay_cuts_them(intake: Intake) -> None:
    traits = {f"{n:04d}" + "n" * 300: "v" * 300 for n in range(500)}
    long = event("identified", traits=traits)
    data = intake.prepare(long, 0, 0, T0, size=200_000)[0].data
    assert len(data["traits"]) == shape.ITEMS_KEPT
    assert {len(text) for pair in data["traits"].items() for text in pair} == {shape.ITEM_KEPT}
    assert intake.prepare(long, 0, 0, T0)[0].data == data
    mail = event("email_sent", message_id="m" * 70_000, link_ids=["ebook", "x" * 1000] + ["l"] * 1000)
    data = intake.prepare(mail, 0, 0, T0)[0].data
    assert (len(data["message_id"]), len(data["link_ids"])) == (shape.TEXT_KEPT, shape.ITEMS_KEPT)
    assert (data["link_ids"][0], len(data["link_ids"][1])) == ("ebook", shape.ITEM_KEPT)
    assert intake.prepare(event("page_viewed", path="/", engaged_ms=5), 0, 0, T0)[0].data["engaged_ms"] == 5


@pytest.mark.parametrize("kind", schemas.names())
def test_a_row_fits_into_a_record_whatever_was_told(kind: str) -> None:
    """Else a partition stands before it for ever: a row can't be split."""
    topology = shipped()
    topology = msgspec.structs.replace(topology, origins=frozenset({"https://shop.example"}))
    ids = {namespace.name: "😀" * 512 for namespace in topology.identifiers.namespaces}
    body = most(body_schema(kind))
    told = Event(kind, "😀" * 256, T0, T0, ids, body, most(context_schema()), trace="t" * 128)
    row, _ = Intake(topology, RuleBook(topology)).prepare(told, 0, 0, T0, size=16_000_000)
    assert len(wire.encode(row)) < wire.PART_BYTES


def most(schema: Any) -> Any:
    """As much as an event may say."""
    if isinstance(schema, list):
        return most(next(branch for branch in schema if branch != "null"))
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return {field["name"]: most(field["type"]) for field in schema["fields"]}
    if kind == "array":
        return [most(schema["items"])] * 2_000
    if kind == "map":
        return {f"{n}" + "😀" * 512: most(schema["values"]) for n in range(2_000)}
    if kind == "enum":
        return schema["symbols"][0]
    return {"string": "😀" * 16_000, "boolean": True, "double": 1.5}.get(kind, 1 << 30)


# Routes.


def test_what_was_answered_once_is_not_asked_again(intake: Intake) -> None:
    two = {"user_id": "u", "anonymous_id": "a"}
    first, asked = intake.prepare(event(ids=two), 7, 0, T0)
    assert asked is not None
    assert (first.root, first.ids) == ("", ["user_id", "u", "anonymous_id", "a"])
    ask = intake.ask(first, asked)
    assert (ask.offset, ask.ids[:2], ask.ids[3:5]) == (7, ["user_id", "u"], ["anonymous_id", "a"])
    intake.answer(first, asked, Answer("root", ["user_id", "u", "anonymous_id", "a"], T0, True, [], []))
    assert (first.root, first.ids) == ("root", ["user_id", "u", "anonymous_id", "a"])
    for ids in (two, {"user_id": "u"}, {"anonymous_id": "a"}):
        again, asked = intake.prepare(event(ids=ids, at=T0 + 1), 8, 0, T0 + 1)
        assert asked is None
        assert again.root == "root"
        assert again.ids == [part for pair in ids.items() for part in pair]
    assert is_asked(intake, two, T0)  # it may have to tell a link that is younger than itself
    assert is_asked(intake, {"user_id": "u"}, T0)
    assert is_asked(intake, {**two, "email": "e@x"}, T0 + 1)
    intake.routes.drop()
    assert is_asked(intake, two, T0 + 1)
    assert is_asked(intake, {"user_id": "u"}, T0 + 1)


def is_asked(intake: Intake, ids: dict[str, str], at: int) -> bool:
    return intake.prepare(event(ids=ids, at=at), 9, 0, at)[1] is not None


def test_a_late_event_is_routed_as_if_received_at_the_watermark(intake: Intake) -> None:
    for ids in (PHONE, {"user_id": "u", "anonymous_id": "phone"}):
        row, asked = intake.prepare(event(ids=ids), 0, 0, T0)
        assert asked is not None
        intake.answer(row, asked, Answer("root", [x for pair in ids.items() for x in pair], T0 - 10, True, [], []))
        late = event(ids=ids, at=T0 - 20)
        assert intake.prepare(late, 1, T0 - 10, T0)[1] is not None
        assert intake.prepare(late, 1, T0 - 10 + 10_001, T0)[1] is None


def test_two_identifiers_of_different_people_are_asked_for(intake: Intake) -> None:
    for ids in ({"user_id": "u"}, {"email": "e@x"}):
        row, asked = intake.prepare(event(ids=ids), 0, 0, T0)
        assert asked is not None
        (pair,) = ids.items()
        intake.answer(row, asked, Answer(pair[1], [*pair], 0, True, [], []))
    assert is_asked(intake, {"user_id": "u", "email": "e@x"}, T0 + 1)
    assert is_asked(intake, {"email": "e@x", "user_id": "u"}, T0 + 1)


def test_however_an_identifier_is_written_it_leads_to_the_same(intake: Intake) -> None:
    row, asked = intake.prepare(event(ids={"email": " E@x "}), 0, 0, T0)
    assert asked is not None
    intake.answer(row, asked, Answer("root", ["email", "e@x"], 0, True, [], []))
    for text in ("e@x", "E@X", " E@x "):
        again, asked = intake.prepare(event(ids={"email": text}), 0, 0, T0)
        assert (asked, again.root, again.ids) == (None, "root", ["email", "e@x"])
        assert again.fingerprint == row.fingerprint


def test_a_public_device_is_always_asked_for(intake: Intake) -> None:
    both, asked = intake.prepare(event(ids={"user_id": "u", "anonymous_id": "tablet"}), 0, 0, T0)
    assert asked is not None
    intake.answer(both, asked, Answer("root", ["user_id", "u", "anonymous_id", "tablet"], 0, False, [], []))
    assert not is_asked(intake, {"user_id": "u"}, T0)
    assert is_asked(intake, {"anonymous_id": "tablet"}, T0)


def test_the_cache_of_identifiers_is_bounded(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "ROUTES_KEPT", 10)
    for number in range(100):
        intake.prepare(event(ids={"anonymous_id": f"a{number}"}), 0, 0, T0)
        assert sum(map(len, (*intake.routes.known.values(), *intake.routes._aged.values()))) <= 12


def test_who_is_not_met_leaves_the_memory(intake: Intake) -> None:
    here, away = {"anonymous_id": "here"}, {"anonymous_id": "away"}
    for ids in (here, away):
        row, asked = intake.prepare(event(ids=ids), 0, 0, T0)
        assert asked is not None
        intake.answer(row, asked, Answer("root", [x for pair in ids.items() for x in pair], T0 - 10, True, [], []))
    for _ in range(2):
        intake.routes.age()
        assert not is_asked(intake, here, T0 + 1)
    assert is_asked(intake, away, T0 + 1)


def test_an_address_that_a_user_id_implies_is_told_once_whatever_is_remembered_of_it(intake: Intake) -> None:
    ids = {"user_id": "ann@example.org"}
    for _ in range(2):
        intake.routes.age()
        intake.routes.identify(ids)
    known = intake.routes.identify({**ids, "email": "ann@example.org"})
    assert [(k.namespace, k.value) for k in intake.routes.with_implied(known)] == [
        ("user_id", "ann@example.org"),
        ("email", "ann@example.org"),
    ]


# Records.


def read(values: list[list[tuple[wire.Headers, bytes]]]) -> list[list[Resolved]]:
    out = []
    for each in values:
        messages = [unsealed(Out("t", 0, None, value, headers), "g") for headers, value in each]
        assert all(isinstance(message, Resolved) for message in messages)
        out.append([message for message in messages if isinstance(message, Resolved)])
    return out


@given(st.lists(st.integers(-1, 3)))
def test_rows_are_dealt_compiled_as_by_python(places: list[int]) -> None:
    dealt: list[list[list[int]]] = []
    for deal in (compiled.deal, compiled.plain_deal):
        to: list[list[int]] = [[] for _ in range(5)]
        deal(range(len(places)), places, to, to[4].append)
        dealt.append(to)
    assert dealt[0] == dealt[1]
    with pytest.raises(ValueError):
        compiled.deal([1], [], [], print)


def test_every_partition_gets_a_record_empty_or_not() -> None:
    rows = [row(n, f"root{n}") for n in range(10, 20)]
    made = read(resolved_records(wire.Seal("g"), "s-0", 10, 21, 5, 6, rows, ["loser", "winner"], 4))
    assert len(made) == 4
    for partition, (message,) in enumerate(made):
        assert (message.source, message.first, message.next) == ("s-0", 10, 21)
        assert (message.before, message.after) == (5, 6)
        assert message.rows == [r for r in rows if partition_of(r.root, 4) == partition]
        assert message.merges == (["loser", "winner"] if partition_of("loser", 4) == partition else [])


def test_a_batch_too_large_for_kafka_is_split_for_all_partitions_alike() -> None:
    rows = [row(n, f"root{n % 50}", f"{n}" + "x" * 1000) for n in range(100, 5100)]
    made = read(resolved_records(wire.Seal("g"), "s-0", 100, 5200, 5, 6, rows, ["loser", "winner"], 3))
    pieces = len(made[0])
    assert pieces > 1
    assert {len(each) for each in made} == {pieces}
    for each in made:
        assert each[0].first == 100
        assert each[-1].next == 5200
        assert all(a.next == b.first for a, b in pairwise(each))
        assert [m.after for m in each] == [5] * (pieces - 1) + [6]
        assert all(len(wire.encode(message)) <= wire.RECORD_BYTES for message in each)
        assert all(m.first <= r.offset < m.next for m in each for r in m.rows)
    assert sorted(r.offset for each in made for m in each for r in m.rows) == list(range(100, 5100))
    assert [m.merges for each in made for m in each if m.merges] == [["loser", "winner"]]


def test_dead_letter_headers_are_kafka_connects() -> None:
    error = InvalidEvent("truncated", "the body ends too early")
    headers = dict(dead_letters.headers("s", 3, 17, "resolve_identity", error, 5))
    assert headers["__connect.errors.topic"] == b"s"
    assert headers["__connect.errors.partition"] == b"3"
    assert headers["__connect.errors.offset"] == b"17"
    assert headers["__connect.errors.stage"] == b"resolve_identity"
    assert headers["__connect.errors.exception.message"] == b"truncated: the body ends too early"
    assert headers["pipeline.reason"] == b"truncated"
    assert headers["pipeline.schema.id"] == b"5"
    assert "pipeline.schema.id" not in dict(dead_letters.headers("s", 3, 17, "x", error, None))


def test_sources_that_are_left_out_are_not_waited_for() -> None:
    names = shipped().waited_for
    assert len(names) == 16
    less = msgspec.structs.replace(shipped(), left_out=(names[3],))
    assert less.waited_for == names[:3] + names[4:]


@pytest.mark.parametrize("shared", [False, True])
def test_what_was_worked_out_of_a_profile_may_be_forgotten_at_any_time(shared: bool) -> None:
    made = 0
    for seed in range(12):
        told = history(seed, shared_devices=shared, segment=False)
        events = sorted(map(as_event, told), key=lambda each: (each.received_at, each.occurred_at, each.event_id))
        lasting, forgetful = Replay(shipped()), Replay(shipped())
        wanted: list[Decision] = []
        found: list[Decision] = []
        for each in events:
            wanted += lasting.feed(msgspec.structs.replace(each), FAR)
            found += forgetful.feed(each, FAR)
            for profile_id, profile in forgetful.profiles.items():
                state = decode(encode_profile(profile))
                assert isinstance(state, Profile)
                assert state == profile
                forgetful.profiles[profile_id] = state
                forgetful._arm(profile_id, state)
        wanted += lasting.finish()
        found += forgetful.finish()
        assert sorted(found, key=lambda each: each.id) == sorted(wanted, key=lambda each: each.id), seed
        made += len(wanted)
    assert made > 20
