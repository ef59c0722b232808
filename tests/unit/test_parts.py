"""What profiles are made of: parts that this version doesn't know are carried along, and a new one needs no more than
it says of itself.
"""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.catalogue import GAP
from pipeline.profile import about, packed, profile
from pipeline.profile.about import About
from pipeline.profile.packed import pack_row, plain_count
from pipeline.profile.parts import PARTS, visits
from pipeline.profile.parts.part import CODE, Part
from pipeline.profile.parts.primitives import Counter, EarliestOfEach, Newest
from pipeline.topology import grammar
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row
from tests.replayed import shipped

T0 = 1_764_000_000_000
encode = msgspec.msgpack.encode


def row(number: int, kind: str = "email_opened", **data: Any) -> Row:
    return Row(7, "r", kind, T0 + number, T0 + number + 5, f"e{number}", number, ["anonymous_id", "a"], data)


def counted(state: bytes, one: Row) -> bytes:
    """Compiled, where that can be; and the same as in Python."""
    plain = plain_count(state, pack_row(one))
    if packed.COMPILED is not None:
        fast = packed.COMPILED.count(state, pack_row(one))
        assert fast is None or fast == plain
    return plain


def test_every_part_has_a_name_of_its_own_and_so_have_its_states() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
    names = [name for part in PARTS for several in part.keeps for name in several]
    assert len({*names}) == len(names)
    assert {part.clock for part in PARTS} == {"arrival"}


def test_where_nothing_of_it_is_known_no_byte_is_written_of_what_is_tagged() -> None:
    assert about.EMPTY[:1] == b"\x9a"
    one = counted(about.EMPTY, row(1, message_id="m"))
    assert one[:1] == b"\x9a"
    assert len(about.pack(about.unpack(one))) == len(one)


UNKNOWN = {"walks": [3, [{"a": [1, b"2"]}]], "visits": [9, [[[5, 6]], 7]]}  # a part, and a version, that isn't known


def test_what_is_not_known_is_carried_along_untouched() -> None:
    state = about.pack(About(more=dict(UNKNOWN)))
    assert state[:1] == b"\x9b"
    for number, kind in enumerate(["email_opened", "page_viewed", "product_viewed", "identified", "custom"] * 9):
        state = counted(state, row(number, kind, message_id=f"m{number}", product_id="p", traits={"a": 1}))
        assert state.endswith(encode(UNKNOWN))
        assert about.unpack(state).more == UNKNOWN
    assert about.merge(about.unpack(state), About()).more == UNKNOWN
    assert about.merge(About(), about.unpack(state)).more == UNKNOWN


def test_what_is_not_known_lies_side_by_side_where_two_come_together() -> None:
    mine, yours, theirs = ({"walks": [3, [number]]} for number in (7, 5, 6))
    for a, b, c in permutations((mine, yours, theirs)):
        for whole in (
            about.merge(about.merge(About(more=a), About(more=b)), About(more=c)),
            about.merge(About(more=a), about.merge(About(more=b), About(more=c))),
        ):
            assert whole.more == {"walks": [3, [5], 3, [6], 3, [7]]}
            assert about.unpack(about.pack(whole)) == whole


WALKS = Part(
    "walks",
    {
        ("steps",): Counter(per=1_000),
        ("shoes",): EarliestOfEach("message_id", {"email_opened": 1}, 2, ("confidence", "machine"), 3),
    },
    lambda steps, shoes: {"walks": len(steps), "shoes": sorted(shoes)},
    version=3,
)
SAID = Part("said", {("words",): Newest("traits", None, 3)}, lambda words: {"words": len(words)})


@pytest.fixture
def two_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are made of primitives, and known to this module alone."""
    monkeypatch.setattr(about, "_TAGGED", [*about._TAGGED, WALKS, SAID])
    monkeypatch.setattr(about, "PARTS", (*PARTS, WALKS, SAID))
    monkeypatch.setattr(about, "_CHANGING", {**about._CHANGING, "walks": {*CODE}, "said": {*CODE}})


@pytest.mark.usefixtures("two_more")
def test_a_new_part_is_its_declaration_and_costs_nothing_compiled() -> None:
    load = pytest.importorskip("pipeline.profile._packed")
    kinds = ["email_opened", "page_viewed", "identified", "email_sent"]
    steps = {kind: about.steps(kind) or [] for kind in kinds}
    assert all(steps.values())
    state, compiled = about.EMPTY, 0
    for number in range(300):
        kind = kinds[number % 4]
        data: dict[str, Any] = {
            "message_id": f"m{number % 7}",
            "path": "/",
            "confidence": ["machine", "human", "human"][number % 3],
        }
        if number % 3 == 0:
            data["traits"] = {f"t{number % 4}": number}
        one = pack_row(row(number * 777 % 5_000, kind, **data))
        fast, plain = load.taken(state, one, steps[kind]), plain_count(state, one)
        compiled += fast is not None
        assert fast is None or about.unpack(fast) == about.unpack(plain)
        assert (fast is state) == (plain is state)
        state = plain
    assert compiled > 200
    made = about.unpack(state)
    assert set(made.more) == {"walks", "said"}
    assert made.more["walks"][0] == 3
    shown = about.show(made)
    assert (shown["walks"], len(shown["shoes"]), shown["words"]) == (5, 3, 3)


@pytest.mark.usefixtures("two_more")
def test_what_lay_side_by_side_is_merged_by_whoever_knows_it() -> None:
    apart = About(more={"walks": [2, ["older"], 3, [{1: 1}, {}], 3, [{1: 2, 2: 1}, {"m": [0, 5]}]]})
    whole = about.unpack(about.pack(about.merge(apart, About(more={"walks": [3, [{2: 4}, {"m": [0, 4]}]]}))))
    assert whole.more == {"walks": [2, ["older"], 3, [{1: 3, 2: 5}, {"m": [0, 4]}]]}
    assert about.show(whole)["shoes"] == ["m"]
    taken = about.unpack(counted_by_hand(about.pack(apart), row(5)))
    assert taken.more["walks"][:2] == [2, ["older"]]
    about.discount(taken, "page_viewed", 1_000, {})
    assert taken.more["walks"][3][0] == {1: 2, 2: 1, T0 // 1000: 1}


def test_of_consent_the_last_word_counts_whatever_the_order() -> None:
    told = [
        row(3, "custom", consent={"marketing": True, "statistics": True}),
        row(5, "email_opened", consent={"marketing": False}),
        row(4, "identified", consent={"marketing": True}, traits={"a": 1}),
        row(6, "page_viewed"),
    ]
    for order in permutations(told):
        state = about.EMPTY
        for each in order:
            state = counted(state, each)
        assert about.show(about.unpack(state))["consent"] == [
            {"purpose": "marketing", "granted": False, "at": "2025-11-24T16:00:00.005Z"},
            {"purpose": "statistics", "granted": True, "at": "2025-11-24T16:00:00.003Z"},
        ]
    assert "consent" not in about.show(about.unpack(counted(about.EMPTY, row(1, consent={}))))


def visited(told: list[Row], asked: tuple[str, ...] = ("visits",)) -> About:
    state = about.EMPTY
    for each in told:
        state = packed.count(state, pack_row(each), asked)
        assert about.unpack(state).totals
    return about.unpack(state)


moments = st.lists(st.integers(0, 90), max_size=10, unique=True).map(lambda told: [GAP // 3 * at for at in told])


@given(moments, st.randoms(use_true_random=False), st.integers(0, 10))
def test_visits_are_runs_of_what_lies_close_together_in_any_order(told: list[int], rnd: Random, split: int) -> None:
    rows = [row(1_000_000 + at, "page_viewed", path="/") for at in sorted(told)]
    expected: list[list[int]] = []
    for each in rows:
        if expected and each.occurred_at - expected[-1][1] < GAP:
            expected[-1][1] = each.occurred_at
        else:
            expected.append([each.occurred_at, each.occurred_at])
    rnd.shuffle(rows)
    whole, parts = visited(rows), [visited(rows[:split]), visited(rows[split:])]
    for made in (whole, about.merge(*parts), about.merge(*reversed(parts)), about.merge(whole, visited(rows))):
        assert made.more == ({"visits": [1, [[0, expected]]]} if rows else {})
    assert visited(rows, ()).more == {}


def test_only_what_a_person_does_is_a_visit_and_the_last_ones_are_kept() -> None:
    theirs = [
        row(1, "email_sent", message_id="m"),
        row(2, "email_opened", message_id="m", confidence="machine"),
        row(3, "order_completed", order_id="o", channel="server"),
        row(4, "order_refunded", order_id="o"),
    ]
    assert visited(theirs).more == {}
    own = [row(5, "email_clicked", message_id="m", confidence="human"), row(6, "order_completed", order_id="p")]
    assert visited([*theirs, *own]).more == {"visits": [1, [[0, [[T0 + 5, T0 + 6]]]]]}
    many = visited([row(n * 2 * GAP, "searched", query="q") for n in range(1, 50)])
    shown = about.show(many)
    assert shown["visits"] == 49
    assert len(shown["last_visits"]) == visits.VISITS_KEPT
    both = about.merge(many, visited([row(60 * 2 * GAP, "searched", query="q")]))
    assert about.show(both)["visits"] == 50


def test_what_is_asked_for_is_what_the_topology_can_ask_for() -> None:
    assert {part.name for part in PARTS if part.asked} == {*grammar.PARTS}
    assert "channel" not in about.fields()["order_completed"]
    assert "channel" in about.fields({"visits"})["order_completed"]


def test_a_topology_that_asks_for_visits_gets_them() -> None:
    """Through what takes in many rows at once, also where one wasn't compiled."""
    topology = msgspec.structs.replace(shipped(), profile_parts=frozenset({"visits"}))
    one = profile.new_profile()
    rows = [pack_row(row(n * GAP, "page_viewed", path="/")) for n in (1, 2, 4, 4)]
    assert profile.receive_all(RuleBook(topology), rows, {"r": one}, {}, lambda row: None) == 1
    at = T0 + GAP
    begun = [at, at + GAP, at + 3 * GAP]
    assert one.about.more == {"visits": [1, [[0, [[each, each] for each in begun]]]]}


def counted_by_hand(state: bytes, one: Row) -> bytes:
    return about.count(state, one.type, one.occurred_at, one.received_at, one.fingerprint, one.data)


def test_old_state_is_read_as_it_is() -> None:
    """As it was written before there was anything tagged."""
    ten = encode([T0, T0, 0, 0, {CODE["searched"]: 1}, {T0 // 86_400_000: 1}, b"", b"", b"", [{}, {"p": [1, 2]}, {}]])
    read = about.unpack(ten)
    assert read.kept.products == {"p": [1, 2]}
    assert about.pack(read) == ten
