"""A partition of format 2 is taken over: its books, its outbox, its records, and a profile when it is read."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.language.carts import PUT, TAKE, Change, Item, Line
from pipeline.profile import format2
from pipeline.profile.marks import Moved
from pipeline.profile.profile import Profile, decode, encode_profile
from pipeline.runtime.ports import In, Out
from pipeline.runtime.second_hop import encode_out
from pipeline.store.ports import Commit
from pipeline.triggers.facts import CONTENTS, ENDS, NEVER, PAST, RESTART, START, End, Fact, Fired, Key
from pipeline.wire.records import MORE, Forward, Move
from tests.codes import ADDED, VIEWED
from tests.unit.test_second_hop import BOOK, HERE, RESOLVED, T0, THERE, Part, profile_of, row, run

pack = msgspec.msgpack.encode


def about_of(orders: dict[str, Any] | None = None) -> list[Any]:
    kept = [orders or {}, {"plan": ["pro", T0, 7]}, {"tent": [2, T0 // 1_000]}, {"m1": [1, 0, 0, 0, 0, 0, 0]}]
    return [T0, T0 + 5, 10, 20, {0: 3}, {T0 // 86_400_000: 3}, b"", b"", b"", kept]


def state(*persons: list[Any], rows: list[Any] = [], orders: dict[str, Any] | None = None) -> bytes:  # noqa: B006
    """A profile as format 2 stored it."""
    return pack([about_of(orders), list(persons), rows])


def person(key: list[Any], ids: str = "u1", due: int | None = None, everyone: list[Any] = []) -> list[Any]:  # noqa: B006
    return [{"user_id": [ids]}, {"abandoned_cart": [{"c1": key}, everyone]}, {}, {}, due]


def read(raw: bytes) -> Profile:
    found = format2.read(BOOK, raw)
    assert isinstance(found, Profile)
    return found


def key_of(raw: bytes) -> Key:
    return read(raw).persons[0].rules["abandoned_cart"].keys["c1"]


def test_what_people_read() -> None:
    profile = read(state(orders={"EUR": [2, 30.5]}))
    about = profile.about
    assert (about.first_seen, about.last_seen, about.engaged_ms, about.totals) == (T0, T0 + 5, 10, {VIEWED: 3})
    assert about.kept.attributes == {"plan": ["pro", T0, 7]}
    assert about.kept.products == {"tent": [2, T0 // 1_000]}
    assert about.kept.messages == {"m1": [1, 0, 0, 0, 0, 0, 0]}
    assert about.more == {}


def test_orders_are_a_persons() -> None:
    profile = read(state(person([]), orders={"EUR": [2, 30.5]}))
    assert profile.persons[0].bought == {"EUR": [2, 30.5]}
    assert profile.persons[0].told == {}


def test_an_open_wait() -> None:
    facts = [
        [T0, T0 + 1, "e1", START, 11, [1, "tent", 2.0, 9.5, "EUR"], "trace", None],
        [T0 + 2, T0 + 3, "e2", CONTENTS, 12, [-1, "", None, None, None], None, None],
        [T0 + 4, T0 + 4, "e3", RESTART, 13],
    ]
    end = [T0 + 5, T0 + 5, "e4", "bought", True]
    key = key_of(state(person([(-1, -1, ""), facts, [end], {}, [], T0 + 99, None], due=T0 + 99)))
    assert key.closed == NEVER
    assert key.facts == [
        Fact(T0, T0 + 1, "e1", START, 11, 1, Change(PUT, [Item(["tent"], 9.5, "EUR", 2.0)]), "trace"),
        Fact(T0 + 2, T0 + 3, "e2", CONTENTS, 12, 0, Change(TAKE, [Item([])])),
        Fact(T0 + 4, T0 + 4, "e3", RESTART, 13, 3),
    ]
    assert key.ends == [End(T0 + 5, T0 + 5, "e4", "bought", True)]
    assert key.due == T0 + 99


def test_what_was_decided() -> None:
    fired = ["00" * 12, "e1", T0 + 10, T0 + 60, (T0 + 4, T0 + 5, "e0")]
    key = [(T0 + 60, 1 << 62, "\U0010ffff"), [], [], {"tent": [2.0, 9.5, "EUR", T0]}, [fired], None, T0 + 60]
    found = key_of(state(person(key)))
    assert found.closed == (T0 + 60, PAST, 0, "")
    assert found.lines == [Line(["tent"], 2.0, 9.5, "EUR", T0)]
    assert found.fired == [Fired(bytes(12), "e1", T0 + 60, 50, 6)]
    assert (found.fired[0].id, found.fired[0].occurred_at, found.fired[0].started) == ("00" * 12, T0 + 10, T0 + 4)
    assert found.decided == T0 + 60
    key[0] = (T0 + 50, T0 + 51, "e9")
    assert key_of(state(person(key))).closed == (T0 + 50, ENDS, T0 + 51, "e9")


def test_what_is_ours_already_stays() -> None:
    ours = profile_of(row(HERE[0]))
    moved = encode_profile(Moved("x", T0))
    assert format2.state(BOOK, ours) == ours
    assert format2.state(BOOK, moved) == moved
    once = format2.state(BOOK, state(person([])))
    assert format2.state(BOOK, once) == once


def left(part: Part, meta: bytes, states: dict[str, bytes | None], outbox: list[bytes]) -> None:
    """This is what lies in the store."""
    commit = Commit(fence=1, expected="", token="t", meta=meta, states=states, timers={}, outbox=outbox, tail=0, trim=0)
    run(part.store.commit(0, commit))


class Older(Part):
    """Partition 0 of a deployment of format 2, as it was left."""

    def __init__(self, states: dict[str, bytes], outbox: list[Out], end: int) -> None:
        super().__init__()
        meta = pack([2, 5, {"s-0": 10}, {"s-0": T0}, T0 - 1, {}, {}, 0, 0])
        entries = [encode_out(out) for out in outbox]
        left(self, meta, dict(states), entries)
        self.end = end
        self.next = run(self.hop.claim())
        self.hop.catch_up_to = end

    def tell(self, *values: bytes) -> None:
        records = [In(self.next + n, T0, None, value, []) for n, value in enumerate(values)]
        self.next += len(values)
        run(self.hop.process(records))

    def refused(self) -> int:
        return sum(out.topic not in (RESOLVED, "decisions", "triggers") for out in self.broker.sent)


def packed(first: int, *rows: Any, merges: tuple[str, ...] = ()) -> bytes:
    return pack(["r", "s-0", first, first + 1, T0, T0 + 10, [msgspec.to_builtins(each) for each in rows], list(merges)])


def test_books_records_and_profiles_of_a_partition() -> None:
    part = Older({HERE[0]: state(person([]))}, [], end=7)
    assert part.next == 5
    part.tell(packed(10, row(HERE[0], "page_viewed")), packed(11, row(HERE[1])))
    assert part.profile(HERE[0]).about.totals == {VIEWED: 4}
    assert part.profile(HERE[1]).about.totals == {ADDED: 1}
    assert (part.meta().format, part.meta().earlier, part.meta().seen) == (MORE, 7, {"s-0": 12})
    assert part.refused() == 0
    part.tell(packed(12, row(HERE[1])))  # what nobody of format 2 can have written
    assert part.refused() == 1
    assert part.meta().seen == {"s-0": 12}


def test_moves_and_forwards_of_format_2() -> None:
    part = Older({HERE[0]: state(person([]))}, [], end=9)
    part.tell(
        pack(["m", f"x>{HERE[0]}", T0 + 20, HERE[0], state(person([], "u2"))]),
        pack(["f", f"1>{HERE[0]}", T0 + 20, msgspec.to_builtins(row(HERE[0], "page_viewed"))]),
        packed(10, merges=(HERE[0], THERE[0])),
    )
    assert part.refused() == 0
    (sent,) = part.sent()
    assert isinstance(sent, Move)
    found = decode(sent.profile)
    assert isinstance(found, Profile)
    assert found.about.totals == {VIEWED: 7}
    assert found.about.kept.products["tent"][0] == 4
    assert [each.ids for each in found.persons[:2]] == [{"user_id": ["u1"]}, {"user_id": ["u2"]}]


def test_what_lies_in_the_outbox_goes_out_as_ours() -> None:
    theirs = state(person([]))
    out = [
        Out(RESOLVED, 1, None, pack(["m", f"{HERE[0]}>{THERE[0]}", T0, THERE[0], theirs]), []),
        Out("decisions", None, b"u1", b"a decision", []),
        Out(RESOLVED, 1, None, pack(["f", f"2>{THERE[0]}", T0, msgspec.to_builtins(row(THERE[0]))]), []),
    ]
    part = Older({}, out, end=5)
    run(part.hop.finish())
    move, forward = part.sent()
    assert isinstance(move, Move)
    assert isinstance(forward, Forward)
    assert (move.winner, move.profile) == (THERE[0], theirs)
    assert forward.id == f"2>{THERE[0]}"
    assert [sent.value for sent in part.broker.sent if sent.topic == "decisions"] == [b"a decision"]


def test_a_claim_that_comes_to_nothing_changes_nothing_and_the_next_one_converts() -> None:
    part = Older({HERE[0]: state(person([]))}, [], end=7)
    assert part.meta().format == 2
    again = Part(part.store)
    again.hop.catch_up_to = 8
    run(again.hop.process([In(5, T0, None, packed(10, row(HERE[0], "page_viewed")), [])]))
    assert again.profile(HERE[0]).about.totals == {VIEWED: 4}
    assert (again.meta().format, again.meta().earlier) == (MORE, 8)


def test_what_lay_behind_an_open_transaction_at_the_claim_is_of_format_2_too() -> None:
    part = Older({HERE[0]: state(person([]))}, [], end=6)
    part.hop.written_to = 7
    part.tell(packed(10, row(HERE[0], "page_viewed")), packed(11, row(HERE[0], "page_viewed", n=2)))
    assert part.hop.work.dead == {}
    assert part.meta().earlier == 7
