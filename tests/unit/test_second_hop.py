"""One partition of `identity.resolved`: positions, gaps, moves, forwards, caches, commits, publishing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from random import Random
from typing import Any

import msgspec
import pytest

from pipeline.errors import CommitRejected, Fenced, StateLost, Unsent
from pipeline.profile import profile as profile_module
from pipeline.profile.marks import Moved, Parts, Quarantined
from pipeline.profile.profile import Profile, State, decode, encode_profile, new_profile, receive
from pipeline.runtime import quarantine, second_hop
from pipeline.runtime.ports import In, Out
from pipeline.runtime.second_hop import Meta, ProfilePartition, decode_meta
from pipeline.runtime.watermark import decide_before
from pipeline.store.ports import Commit
from pipeline.triggers.rules import RuleBook
from pipeline.wire import records as wire
from pipeline.wire.records import FORMAT, MORE, Forward, Move, Resolved, encode, partition_of
from pipeline.wire.row import Row
from tests.codes import ADDED, VIEWED
from tests.effects import Broker, Committed, ProfileEffects, Refused, Sent, Took
from tests.property.hops import with_partitions
from tests.replayed import shipped
from tests.sealed import record, sealed, unsealed

T0 = 1_700_000_000_000
HOUR = 3_600_000
TOPOLOGY = with_partitions(shipped(), 1, 2)
BOOK = RuleBook(TOPOLOGY)
RESOLVED = TOPOLOGY.topics.resolved.name
HERE = [f"p{n}" for n in range(60) if partition_of(f"p{n}", 2) == 0]
THERE = [f"p{n}" for n in range(60) if partition_of(f"p{n}", 2) == 1]


def run(step: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(step)


def encode_decision(decision: Any) -> list[Out]:
    return [Out("decisions", 0, decision.profile_id.encode(), decision.id.encode(), [])]


class Part:
    """Partition 0 of two."""

    def __init__(self, store: ProfileEffects | None = None, cached: int = 50_000) -> None:
        self.store = store or ProfileEffects()
        self.effects = self.store.effects
        self.broker = Broker(self.effects)
        self.hop = ProfilePartition(TOPOLOGY, BOOK, self.store, self.broker, encode_decision, 0, cached)
        self.new = run(self.hop.claim()) is None
        self.next = self.hop.meta.offset

    def give(self, *messages: Resolved | Move | Forward) -> None:
        """One batch."""
        records = [record(self.next + n, m, TOPOLOGY.group) for n, m in enumerate(messages)]
        self.next += len(messages)
        run(self.hop.process(records))

    def state(self, profile: str) -> State | None:
        (raw,) = run(self.store.peek(0, [profile]))
        return None if raw is None else decode(raw)

    def profile(self, name: str) -> Profile:
        state = self.state(name)
        assert isinstance(state, Profile)
        return state

    def sent(self) -> list[Any]:
        """Messages to other partitions."""
        return [unsealed(out, TOPOLOGY.group) for out in self.broker.sent if out.topic == RESOLVED]

    def fired(self) -> list[bytes | None]:
        """Whose decisions were published."""
        return [out.key for out in self.broker.sent if out.topic == "decisions"]

    def meta(self) -> Meta:
        """As committed."""
        raw = self.store._partition(0).meta
        assert raw is not None
        return decode_meta(raw)


_numbers = iter(range(1, 1_000_000))


def row(who: str, kind: str = "product_added", at: int = T0, offset: int = 0, **data: Any) -> Row:
    number = next(_numbers)
    return Row(offset, who, kind, at, at, f"e{number}", number, ["anonymous_id", who], {"product_id": "p", **data})


def told(
    first: int,
    following: int,
    rows: Iterable[Row] = (),
    after: int = 0,
    merges: Iterable[str] = (),
    source: str = "s-0",
) -> Resolved:
    rows = list(rows)
    for n, each in enumerate(rows):
        each.offset = first + n
    return Resolved(source, first, following, 0, after, rows, list(merges))


def profile_of(*rows: Row) -> bytes:
    profile = new_profile()
    for each in rows:
        receive(BOOK, profile, each)
    return encode_profile(profile)


def test_rows_are_counted_at_once_and_decided_when_it_is_certain() -> None:
    part = Part()
    assert part.new
    who = HERE[0]
    part.give(told(0, 1, [row(who)], T0 + 1))
    assert part.profile(who).about.totals == {ADDED: 1}
    assert part.fired() == []
    run(part.hop.advance(T0 + HOUR + 300_000))
    assert part.fired() == []  # D + L is before the clock only then
    run(part.hop.advance(T0 + HOUR + 300_001))
    assert part.fired() == [who.encode()]
    run(part.hop.advance(T0 + HOUR))
    run(part.hop.advance(T0 + 9 * HOUR))
    assert part.fired() == [who.encode()]
    assert part.meta().clock == T0 + 9 * HOUR


def test_what_was_due_before_a_quiet_recording_is_decided_and_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """From when a source tells it until that source has told that it is over, and the clock is past that."""
    part = Part()
    old, late, live, after = HERE[:4]
    due = T0 + HOUR
    published: dict[str, bool] = {}

    def keep(decision: Any) -> list[Out]:
        published[decision.profile_id] = decision.published
        return []

    part.hop._encode_decision = keep
    part.give(msgspec.structs.replace(told(0, 0), quiet=(due + 1, 0)))
    assert part.meta().quiet == {"s-0": (due + 1, 0)}
    part.give(told(0, 2, [row(old), row(live, at=T0 + 1)], T0 + 1))
    run(part.hop.advance(T0 + 9 * HOUR))
    assert published == {old: False, live: True}
    until = T0 + 20 * HOUR
    part.give(msgspec.structs.replace(told(2, 2), quiet=(due + 1, until)))
    part = Part(part.store)
    part.hop._encode_decision = keep
    assert part.meta().quiet == {"s-0": (due + 1, until)}
    row_of = {who: row(who, at=T0) for who in (late, after)}
    row_of[late].received_at = until - 5
    row_of[after].received_at = until + 5
    part.give(told(2, 4, row_of.values(), until + 5))
    run(part.hop.advance(until + HOUR))
    assert published == {old: False, live: True, late: False, after: True}
    run(part.hop.advance(until + HOUR + 1))
    assert part.meta().quiet == {}


def test_a_retraction_is_published_where_its_trigger_was() -> None:
    """Whatever time it is, and after the recording too; who is told of it later is no other."""
    part = Part()
    live, old = HERE[:2]
    published: dict[tuple[str, str], bool] = {}

    def keep(decision: Any) -> list[Out]:
        published[decision.profile_id, decision.outcome] = decision.published
        return []

    def late(who: str, at: int, now: int) -> Row:
        order = row(who, "order_completed", at + 1)
        order.received_at = now
        return order

    part.hop._encode_decision = keep
    now = T0 + 2 * HOUR
    part.give(told(0, 1, [row(live)], now))
    run(part.hop.advance(now))
    past = T0 - 9 * HOUR  # the recording is older than the pipeline's clock: what was due long ago is decided at once
    part.give(msgspec.structs.replace(told(1, 1), quiet=(now, 0)))
    added = row(old, at=past)
    added.received_at = now
    part.give(told(1, 2, [added], now))
    run(part.hop.advance(now + 1))
    part.give(msgspec.structs.replace(told(2, 2), quiet=(now, now + 10)))
    part = Part(part.store)
    part.hop._encode_decision = keep
    orders = [late(live, T0, now + 5), late(old, past, now + 20)]
    part.give(told(2, 4, orders, now + 20))
    run(part.hop.advance(now + 15))
    run(part.hop.advance(now + 30))
    assert part.meta().quiet == {}
    assert published == {
        (live, "fired"): True,
        (old, "fired"): False,
        (live, "retracted"): True,
        (old, "retracted"): False,
    }


def test_records_below_the_position_and_empty_ones_are_dropped() -> None:
    part = Part()
    who = HERE[0]
    first = record(0, told(0, 1, [row(who)]), TOPOLOGY.group)
    run(part.hop.process([first, In(1, 0, None, None, [])]))
    run(part.hop.process([first]))
    assert part.profile(who).about.totals == {ADDED: 1}
    again = Part(part.store)
    assert not again.new
    assert again.next == 2
    run(again.hop.process([first]))
    assert again.profile(who).about.totals == {ADDED: 1}


def test_where_a_partition_begins() -> None:
    part = Part()
    part.hop.start_at(7)
    run(part.hop.process([record(6, told(0, 1, [row(HERE[0])]), TOPOLOGY.group)]))
    assert part.state(HERE[0]) is None


def test_a_source_told_twice_counts_once() -> None:
    part = Part()
    rows = [row(HERE[0]) for _ in range(4)]
    part.give(told(10, 13, rows[:3]))
    part.give(told(11, 14, rows[1:]))  # another cut of the same source: only 13 is new
    part.give(told(10, 13, rows[:3]))
    assert part.profile(HERE[0]).about.totals == {ADDED: 4}
    assert part.meta().seen == {"s-0": 14}
    assert part.hop.work.duplicates == 0


def test_state_of_another_version_is_refused_with_what_to_do() -> None:
    """Whatever it looks like."""
    for version in (1, 3, 4, 99):
        part = Part()
        meta = msgspec.msgpack.encode([version, "offset"])
        commit = Commit(fence=1, expected="", token="t", meta=meta, states={}, timers={}, outbox=[], tail=0, trim=0)
        run(part.store.commit(0, commit))
        says = rf"in format {version}, .* reads formats 2, {FORMAT} and {MORE} only\. Nothing was touched\. Go on with"
        with pytest.raises(StateLost, match=says):
            run(part.hop.claim())


def test_a_gap_in_a_source_ends_the_worker() -> None:
    part = Part()
    part.give(told(10, 13))
    with pytest.raises(StateLost, match=r"s-0 goes on at 14, but this partition has seen it up to 13 only.*[Rr]estore"):
        part.give(told(14, 15))
    assert part.meta().seen == {"s-0": 13}
    part = Part(part.store)
    part.give(told(13, 15))
    part.give(told(500, 501, source="s-1"))  # a source seen for the first time begins anywhere


def test_a_profile_that_merged_moves_and_leaves_a_mark() -> None:
    part = Part()
    loser, here, there = HERE[0], HERE[1], THERE[0]
    part.give(told(0, 2, [row(loser), row(here)], T0 + 5))
    part.give(told(2, 3, after=T0 + 9, merges=[loser, here, here, there]))
    assert part.state(loser) == Moved(here, T0 + 9)
    assert part.state(here) == Moved(there, T0 + 9)
    (move,) = part.sent()
    assert isinstance(move, Move)
    assert (move.id, move.winner, move.at) == (f"{here}>{there}", there, T0 + 5)
    moved = decode(move.profile)
    assert isinstance(moved, Profile)
    assert moved.about.totals == {ADDED: 2}
    assert part.meta().sent == {move.id: (T0 + 5, 1)}
    part.give(told(3, 4, merges=[loser, here]))  # told again
    assert len(part.sent()) == 1
    assert part.hop.work.moves == 0


def test_what_was_told_as_one_stays_one_where_it_is_told_otherwise() -> None:
    """A graph that fell back ties anew, in another order; what it told before stands in the log. All that it ever told
    comes together under the smallest id, as in the graph.
    """
    small, large, loser = HERE[0], HERE[1], HERE[2]
    there, beyond = THERE[0], THERE[1]
    part = Part()
    part.give(told(0, 3, [row(small), row(large), row(loser)], T0 + 5))
    part.give(told(3, 4, after=T0 + 9, merges=[loser, large]))
    part.give(told(4, 5, after=T0 + 20, merges=[loser, small]))
    assert part.state(large) == Moved(small, T0 + 20)
    assert part.profile(small).about.totals == {ADDED: 3}
    assert part.sent() == []

    part.give(told(5, 6, after=T0 + 30, merges=[HERE[3], max(there, beyond)]))
    part.give(told(6, 7, after=T0 + 40, merges=[HERE[3], min(there, beyond)]))  # none of which is here
    (mark,) = part.sent()
    assert (mark.id, mark.at) == (f"{min(there, beyond)}>{max(there, beyond)}@{T0 + 30}", T0 + 30)
    assert (mark.loser, mark.winner) == (min(there, beyond), max(there, beyond))
    assert decode(mark.profile) == Moved(mark.loser, T0 + 40)
    assert part.meta().sent == {mark.id: (T0 + 30, 1)}
    part.give(told(7, 8, after=T0 + 50, merges=[HERE[3], min(there, beyond)]))  # told again
    assert len(part.sent()) == 1


def test_an_owner_is_told_that_its_profile_is_one_with_another() -> None:
    """By a mark that moves to it; if its profile has moved meanwhile, that goes for where it is now."""
    for moved_before in (False, True):
        part = Part()
        there, home, winner = THERE[0], HERE[0], HERE[1]
        mark = Move(f"{there}>{winner}", T0 + 3, winner, encode_profile(Moved(there, T0)))
        part.give(told(0, 2, [row(winner), row(home)], T0 + 9))
        if moved_before:
            part.give(told(2, 3, after=T0 + 9, merges=[winner, home]))
        part.give(mark, mark)
        assert part.meta().taken == {mark.id: T0 + 3}
        (move,) = part.sent()
        gone = home if moved_before else winner
        assert part.state(gone) == Moved(there, T0 + 9)
        assert (move.id, move.at, move.winner) == (f"{gone}>{there}", T0 + 3, there)
        profile = decode(move.profile)
        assert isinstance(profile, Profile)
        assert profile.about.totals == {ADDED: 2 if moved_before else 1}


def test_what_is_one_already_but_for_what_is_on_its_way_matters_as_early() -> None:
    part = Part()
    winner, there = HERE[0], THERE[0]
    part.give(told(0, 1, [row(winner)], T0 + 9), told(1, 2, after=T0 + 20, merges=[winner, there]))
    assert part.meta().sent == {f"{winner}>{there}": (T0 + 9, 1)}
    part.give(Move(f"{there}>{winner}", T0 + 3, winner, encode_profile(Moved(there, T0))))
    assert part.meta().sent == {f"{winner}>{there}": (T0 + 3, 1)}
    assert len(part.sent()) == 1


def test_a_move_matters_from_what_is_still_to_come_of_every_source() -> None:
    """Also of one that was added, of which this worker doesn't know yet; not of one that nobody waits for."""
    loser, winner = HERE[0], THERE[0]
    for source, at in (("s-1", 3), ("gone-0", 90)):
        part = Part()
        part.give(told(0, 1, [row(loser)], 90))
        part.give(Resolved(source, 0, 0, 3, 3, [], []))
        part.give(told(1, 2, (), 90, [loser, winner]))
        assert [move.at for move in part.sent()] == [at]


def test_rows_for_a_profile_that_moved_away_are_forwarded() -> None:
    part = Part()
    loser, middle, there = HERE[0], HERE[1], THERE[0]
    part.give(told(0, 1, after=T0 + 5, merges=[loser, middle, middle, there]))
    assert part.sent() == []  # there was nothing to move
    late = row(loser, at=T0 + 9)
    part.give(told(1, 3, [late, row(there, at=T0 + 9)]))
    one, two = part.sent()
    assert isinstance(one, Forward)
    assert one.row is not None
    assert (one.row.root, one.row.event_id, one.at) == (there, late.event_id, T0 + 9)
    assert isinstance(two, Forward)
    assert two.row is not None
    assert two.row.root == there
    assert set(part.meta().sent) == {one.id, two.id}
    assert all(out.partition == 1 for out in part.broker.sent)


def test_a_move_is_taken_once() -> None:
    part = Part()
    winner, loser = HERE[0], THERE[0]
    move = Move(f"{loser}>{winner}", T0 + 5, winner, profile_of(row(loser), row(loser, "page_viewed")))
    part.give(told(0, 1, [row(winner)]))
    part.give(move)
    part.give(move)
    assert part.profile(winner).about.totals == {ADDED: 2, VIEWED: 1}
    assert part.meta().taken == {move.id: T0 + 5}
    run(part.hop.advance(T0 + 10 * HOUR))
    assert part.meta().taken == {}
    part.give(move)  # from before the clock: it has been taken, or nobody could have gone on
    assert part.profile(winner).about.totals == {ADDED: 2, VIEWED: 1}
    assert len(part.fired()) == 2


def test_a_move_under_way_matters_from_where_a_new_source_begins() -> None:
    """What it tells may tie the two who merge earlier than the move was thought to matter: nobody decides that without.
    On the way, or passed on by whoever took it for a profile that had moved itself.
    """
    part = Part()
    loser, moved, there = HERE[0], HERE[1], THERE[0]
    part.give(told(0, 1, [row(loser), row(moved)], T0 + 9))
    part.give(told(1, 2, after=T0 + 20, merges=[loser, there]))
    assert part.meta().sent == {f"{loser}>{there}": (T0 + 9, 1)}
    part.give(Resolved("s-1", 0, 0, T0 + 3, T0 + 3, [], []))
    assert part.meta().sent == {f"{loser}>{there}": (T0 + 3, 1)}
    part.give(told(2, 3, after=T0 + 30, merges=[moved, there]))
    part.give(Move(f"{THERE[1]}>{moved}", T0 + 9, moved, profile_of(row(THERE[1]))))
    assert {at for at, _ in part.meta().sent.values()} == {T0 + 3}
    assert f"{THERE[1]}>{there}" in part.meta().sent


def test_a_move_to_nobody_yet_makes_somebody() -> None:
    part = Part()
    part.give(Move("x", T0, HERE[0], profile_of(row(THERE[0]))))
    assert part.profile(HERE[0]).about.totals == {ADDED: 1}


def test_what_comes_for_one_who_moved_on_is_passed_on() -> None:
    """The sender knew an old root: a move and a forward go further, under names of their own."""
    part = Part()
    middle, there = HERE[0], THERE[0]
    part.give(told(0, 1, after=T0 + 5, merges=[middle, there]))
    part.give(Move(f"x>{middle}", T0, middle, profile_of(row("x"))), Forward("f", T0 + 1, row(middle, at=T0 + 1)))
    move, forward = part.sent()
    assert isinstance(move, Move)
    assert (move.id, move.winner, move.at) == (f"x>{there}", there, T0)
    assert isinstance(forward, Forward)
    assert forward.row is not None
    assert (forward.row.root, forward.at) == (there, T0 + 1)
    assert set(part.meta().taken) == {f"x>{middle}", "f"}


def test_a_forward_is_taken_once() -> None:
    part = Part()
    forward = Forward("f", T0, row(HERE[0]))
    part.give(forward)
    part.give(forward)
    assert part.profile(HERE[0]).about.totals == {ADDED: 1}


def test_the_cache_is_bounded_and_misses_nothing() -> None:
    part = Part(cached=4)
    for turn in range(3):
        for n, who in enumerate(HERE):
            number = turn * len(HERE) + n
            part.give(told(number, number + 1, [row(who, "page_viewed")], T0))
            assert len(part.hop._cache) <= 6
    assert all(part.profile(who).about.totals == {VIEWED: 3} for who in HERE)


def test_who_does_nothing_leaves_the_memory_and_is_known_again() -> None:
    part, here, away = Part(), HERE[0], HERE[1]
    part.give(told(0, 2, [row(here, "page_viewed"), row(away, "page_viewed")], T0))
    for number in (2, 3):
        part.hop.age()
        part.give(told(number, number + 1, [row(here, "page_viewed")], T0))
        assert here in part.hop._cache
        assert (away in part.hop._aged) == (number == 2)
    part.give(told(4, 5, [row(away, "page_viewed")], T0))
    assert part.profile(away).about.totals == {VIEWED: 2}
    assert part.profile(here).about.totals == {VIEWED: 3}


def test_a_timer_of_one_who_fell_out_of_the_cache_still_rings() -> None:
    part = Part(cached=1)
    for n, who in enumerate(HERE[:8]):
        part.give(told(n, n + 1, [row(who, at=T0 + n)], T0))
    run(part.hop.advance(T0 + 2 * HOUR))
    assert part.fired() == [who.encode() for who in HERE[:8]]


def test_what_waits_in_a_profile_that_was_read_back_is_woken_in_time() -> None:
    """A timer may be taken for set only where it was set when the profile was written."""
    part, minute = Part(), 60_000
    who = HERE[0]

    def mine(kind: str, minutes: int, cart: str) -> Row:
        each = row(who, kind, T0 + minutes * minute, cart_id=cart)
        each.ids = ["user_id", "u", "anonymous_id", who]
        return each

    part.give(told(0, 6, [mine("cart_viewed", n, "a") for n in range(6)], T0 + 6 * minute))
    run(part.hop.advance(T0 + 6 * minute))
    part.give(told(6, 7, [mine("cart_viewed", 5, "a")], T0 + 6 * minute))  # now they are folded
    # It occurred after everything, and ties nobody: nothing to wake for.
    part.give(told(7, 8, [mine("order_completed", 7, "b")], T0 + 7 * minute))

    part = Part(part.store)
    part.give(told(8, 9, [mine("product_added", 8, "c")], T0 + 8 * minute))
    assert part.profile(who).due is None
    run(part.hop.advance(T0 + 2 * HOUR))
    assert part.fired() == [who.encode()]


def test_what_is_committed_is_sent_and_what_is_sent_goes_with_the_next_commit() -> None:
    part, who = Part(), HERE[0]
    part.give(told(0, 1, [row(who)], T0))
    run(part.hop.advance(T0 + 2 * HOUR))
    part.give(told(1, 2))
    assert part.effects == [
        Took(0),
        Committed(1, [who]),
        Committed(1, [who], outbox=1),
        Sent([("decisions", who.encode())]),
        Committed(2, [], outbox=0),
    ]


def test_what_is_sent_goes_where_nothing_else_is_committed() -> None:
    part = Part()
    part.give(told(0, 1, [row(HERE[0])], T0))
    run(part.hop.advance(T0 + 2 * HOUR))
    before = len(part.effects)
    assert part.hop.untidy
    for _ in range(2):
        run(part.hop.tidy())
    assert part.effects[before:] == [Committed(1, [], outbox=0)]
    assert not part.hop.untidy
    again = Part(part.store)
    assert not again.hop.untidy
    assert again.hop.waiting == 0


def test_a_batch_is_worked_off_in_several_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_hop, "STATES_A_COMMIT", 4)
    part = Part()
    part.give(
        *(
            told(2 * n, 2 * n + 2, [row(HERE[2 * n], at=T0 + 2 * n), row(HERE[2 * n + 1], at=T0 + 2 * n + 1)], T0)
            for n in range(5)
        )
    )
    assert part.effects == [
        Took(0),
        Committed(2, sorted(HERE[:4])),
        Committed(4, sorted(HERE[4:8])),
        Committed(5, sorted(HERE[8:10])),
    ]
    part.effects.clear()
    run(part.hop.advance(T0 + 2 * HOUR))  # a clock that jumps: many are due at once
    commits = [each for each in part.effects if isinstance(each, Committed)]
    assert len(commits) > 3
    assert max(len(each.states) for each in commits) <= 4
    assert {each.offset for each in commits} == {5}
    assert part.fired() == [who.encode() for who in HERE[:10]]


def test_what_is_committed_and_not_published_is_published_after_the_claim() -> None:
    part, who = Part(), HERE[0]
    part.give(told(0, 1, [row(who)], T0))
    part.broker.down = True
    with pytest.raises(ConnectionError):
        run(part.hop.advance(T0 + 2 * HOUR))
    later = Part(part.store)
    assert later.hop.waiting == 1
    run(later.hop.publish())
    run(later.hop.publish())
    assert later.hop.waiting == 0
    later.give(told(1, 2))
    decided = ("decisions", who.encode())
    assert part.effects[2:] == [
        Committed(1, [who], outbox=1),
        Refused([decided]),
        Took(0),
        Sent([decided]),
        Committed(2, [], outbox=0),
    ]


def test_what_the_broker_has_is_sent_no_more() -> None:
    """Of what it hasn't, what is too large goes out smaller, and the rest is left: also for the next owner."""
    part = Part()
    part.give(told(0, 6, [row(who, at=T0 + n) for n, who in enumerate(HERE[:6])], T0))
    part.hop._smaller = lambda out: out._replace(key=b"less") if out.key != b"less" else None
    part.broker.troubles = [Unsent("some", [1, 3, 4], [3]), Unsent("too large still", [1, 2], [1])]
    part.effects.clear()
    with pytest.raises(Unsent, match="too large still"):
        run(part.hop.advance(T0 + 2 * HOUR))
    assert part.hop.waiting == 2
    later = Part(part.store)
    assert later.hop.waiting == 2
    later.broker.troubles = [Unsent("not now", [1])]
    with pytest.raises(Unsent, match="not now"):
        run(later.hop.publish())
    run(later.hop.publish())
    later.give(told(6, 7))
    assert Part(later.store).hop.waiting == 0
    who = [("decisions", each.encode()) for each in HERE[:6]]
    less = ("decisions", b"less")
    assert part.effects == [
        Committed(1, sorted(HERE[:6]), outbox=6),
        Sent([who[0], who[2], who[5]]),
        Refused([who[1], who[3], who[4]]),
        Committed(1, [], outbox=3),
        Sent([who[1]]),
        Refused([less, who[4]]),
        Committed(1, [], outbox=2),
        Took(0),
        Sent([less]),
        Refused([who[4]]),
        Committed(1, [], outbox=1),
        Sent([who[4]]),
        Committed(2, [], outbox=0),
        Took(0),
    ]


def test_nothing_is_decided_before_all_that_was_there_is_read() -> None:
    part = Part()
    part.hop.catch_up_to = 2
    part.give(told(0, 1, [row(HERE[0])], T0))
    assert not part.hop.may_advance()
    run(part.hop.advance(T0 + 2 * HOUR))
    assert part.fired() == []
    part.give(told(1, 2))
    run(part.hop.advance(T0 + 2 * HOUR))
    assert len(part.fired()) == 1


def test_an_owner_that_was_replaced_commits_nothing() -> None:
    first = Part()
    first.give(told(0, 1, [row(HERE[0])]))
    second = Part(first.store)
    second.give(told(1, 2, [row(HERE[1])]))
    with pytest.raises((Fenced, CommitRejected)):
        first.give(told(1, 2, [row(HERE[1])]))
    assert second.profile(HERE[1]).about.totals == {ADDED: 1}
    with pytest.raises((Fenced, CommitRejected)):
        run(first.hop.advance(T0 + 9 * HOUR))
    assert first.fired() == []


# What is none of ours, or can't be read.


def dead(part: Part) -> list[tuple[str, int, bytes | None]]:
    """Dead letters: reason, offset, value."""
    out = [o for o in part.broker.sent if o.topic == TOPOLOGY.topics.dead_letters.name]
    told = [dict(o.headers) for o in out]
    assert all(each["__connect.errors.topic"] == RESOLVED.encode() for each in told)
    assert all(each["__connect.errors.stage"] == b"maintain_profile" for each in told)
    assert all(each["__connect.errors.partition"] == b"0" for each in told)
    return [
        ((each["pipeline.reason"] or b"").decode(), int(each["__connect.errors.offset"] or b""), o.value)
        for o, each in zip(out, told, strict=True)
    ]


def test_what_is_none_of_ours_is_a_dead_letter_and_stops_nothing() -> None:
    part = Part()
    who = HERE[0]
    ours = [record(2 + 4 * n, told(n, n + 1, [row(who)]), TOPOLOGY.group) for n in range(2)]
    headers, _ = sealed(told(7, 8), TOPOLOGY.group)
    foreign = [
        In(0, 0, b"k", b'{"a":1}', [("mine", None)]),
        In(1, 0, None, None, []),
        ours[0],
        In(3, 0, None, b"\0\0\0\0\x07page view", [("traceparent", b"00")]),
        In(4, 0, None, b"\x90", [*headers[:2], ("pipeline.books", b"\xc1")]),
        In(5, 0, None, b"\x90", headers[:2]),
        ours[1],
        In(7, 0, None, b"", []),
    ]
    run(part.hop.process(foreign))
    assert part.profile(who).about.totals == {ADDED: 2}
    assert dead(part) == [
        ("foreign", 0, b'{"a":1}'),
        ("foreign", 1, None),
        ("foreign", 3, b"\0\0\0\0\x07page view"),
        ("unreadable_books", 4, b"\x90"),
        ("unreadable_books", 5, b"\x90"),
        ("foreign", 7, b""),
    ]
    assert part.hop.work.dead == {"foreign": 4, "unreadable_books": 2}
    first = next(o for o in part.broker.sent if o.topic == TOPOLOGY.topics.dead_letters.name)
    assert (first.key, first.headers[0]) == (b"k", ("mine", None))
    again = Part(part.store)
    assert again.next == 8
    assert again.hop.waiting == 6  # until the next commit; whoever reads them back can
    run(again.hop.publish())


def test_another_deployment_is_named_once_and_left_alone() -> None:
    part = Part()
    run(part.hop.process([record(n, told(n, n + 1, [row(HERE[0])]), "other") for n in range(5)]))
    assert [(reason, offset) for reason, offset, _ in dead(part)] == [("other_deployment", 0)]
    assert part.hop.work.dead == {"other_deployment": 5}
    assert part.meta().offset == 5
    assert part.meta().seen == {}
    assert part.state(HERE[0]) is None


def test_another_version_of_ours_ends_the_worker() -> None:
    part = Part()
    headers, value = sealed(told(0, 1), TOPOLOGY.group)
    newer = [(name, b"99" if name == "pipeline.format" else told) for name, told in headers]
    with pytest.raises(StateLost, match=rf"{RESOLVED}-0, offset 0: .*format 99.*reads format {FORMAT} only"):
        run(part.hop.process([In(0, 0, None, value, newer)]))


@pytest.mark.parametrize("value", [None, b"", b"\x93\x01", b"\xc1", b"\x01", b'{"a":1}'])
def test_what_a_record_of_ours_covers_counts_as_seen_though_it_cannot_be_read(value: bytes | None) -> None:
    part = Part()
    loser, there = HERE[0], THERE[0]
    part.give(told(0, 1, [row(loser)], T0))
    lost = told(1, 4, [row(HERE[1])], T0 + 9, merges=[loser, there])
    headers, _ = sealed(lost, TOPOLOGY.group)
    run(part.hop.process([In(1, 0, None, value, headers), record(2, told(4, 5, [row(HERE[1])]), TOPOLOGY.group)]))
    assert dead(part) == [("unreadable", 1, value)]
    assert part.meta().seen == {"s-0": 5}
    assert part.meta().marks == {"s-0": T0 + 9}
    assert part.state(loser) == Moved(there, T0 + 9)
    assert part.profile(HERE[1]).about.totals == {ADDED: 1}


def test_a_row_that_cannot_be_read_costs_itself() -> None:
    part = Part()
    rows = [row(HERE[0]), row(HERE[1])]
    headers, _ = sealed(told(0, 3, rows), TOPOLOGY.group)
    packed = [encode(each) for each in rows]
    with_bad = b"\x94" + packed[0] + b"\x92\x01\x02" + packed[1] + b"\xa4text"
    run(part.hop.process([In(0, 0, None, with_bad, headers)]))
    assert [part.profile(who).about.totals for who in HERE[:2]] == [{ADDED: 1}, {ADDED: 1}]
    assert dead(part) == [("unreadable_row", 0, b"\x92\x01\x02"), ("unreadable_row", 0, b"\xa4text")]


@pytest.mark.parametrize("value", [None, b"\x93\x90", b"\xc1", b"\x01"])
def test_a_message_that_cannot_be_read_counts_as_taken(value: bytes | None) -> None:
    part = Part()
    move, forward = Move("x>y", T0 + 5, HERE[0]), Forward[Row]("f", T0 + 6, row(HERE[0]))
    both = [sealed(move, TOPOLOGY.group), sealed(forward, TOPOLOGY.group)]
    records = [In(n, 0, None, value, headers) for n, (headers, _) in enumerate(both)]
    run(part.hop.process(records))
    assert part.meta().taken == {"x>y": T0 + 5, "f": T0 + 6}
    assert sorted(dead(part), key=str) == [("unreadable", 0, value), ("unreadable", 1, value)]


# Profiles that can't be computed.


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Ids of events that the fold can't stand."""
    events: set[str] = set()
    learn = profile_module.learn  # type: ignore[attr-defined]

    def poisoned(book: RuleBook, person: Any, row: Row, out: list[Any]) -> None:
        if row.event_id in events:
            raise ZeroDivisionError("a bug")
        learn(book, person, row, out)

    monkeypatch.setattr(profile_module, "learn", poisoned)
    return events


def test_a_profile_that_raises_is_shut_and_all_others_go_on(poison: set[str], caplog: pytest.LogCaptureFixture) -> None:
    part = Part()
    bad, *good = HERE[:4]
    first = row(bad)
    poison.add(first.event_id)
    part.give(told(0, 4, [first, *(row(who, at=T0 + n) for n, who in enumerate(good))], T0 + 9))
    run(part.hop.advance(T0 + 2 * HOUR))
    assert part.fired() == [who.encode() for who in good]
    shut = part.state(bad)
    assert isinstance(shut, Quarantined)
    assert shut.why == "ZeroDivisionError: a bug"
    assert part.meta().quarantined == {bad: T0 + 9}
    assert f"profile {bad} is quarantined" in caplog.text
    ((reason, offset, value),) = dead(part)
    assert (reason, offset, decode(value or b"")) == ("quarantined", 0, shut)
    assert part.hop.work.dead == {"quarantined": 1}

    later = row(bad, "page_viewed", T0 + 2 * HOUR)
    part.give(told(4, 5, [later], T0 + 2 * HOUR))
    run(part.hop.advance(T0 + 3 * HOUR))
    assert len(dead(part)) == 1
    assert part.fired() == [who.encode() for who in good]

    again = Part(part.store)  # as it was: tried once, and left
    assert again.hop.unfinished
    run(again.hop.finish())
    assert not again.hop.unfinished
    shut = again.state(bad)
    assert isinstance(shut, Quarantined)
    assert len(shut.rows) == 1
    assert dead(again) == []

    poison.clear()
    mended = Part(part.store)
    run(mended.hop.finish())
    assert mended.profile(bad).about.totals == {ADDED: 1, VIEWED: 1}
    assert mended.fired() == [bad.encode()]
    assert mended.meta().quarantined == {}
    assert "is out of quarantine" in caplog.text


def test_what_is_shut_keeps_its_timers_once_it_is_out(poison: set[str]) -> None:
    part = Part()
    first, second = row(HERE[0]), row(HERE[0], at=T0 + HOUR, cart_id="other")
    poison.add(first.event_id)
    part.give(told(0, 1, [first], T0 + 9))
    run(part.hop.advance(T0 + 2 * HOUR))
    part.give(told(1, 2, [row(HERE[0], at=T0 + 2 * HOUR, cart_id="other")], T0 + 2 * HOUR))
    poison.clear()
    mended = Part(part.store)
    run(mended.hop.finish())
    assert mended.fired() == [HERE[0].encode()]
    run(mended.hop.advance(T0 + 4 * HOUR))
    assert mended.fired() == [HERE[0].encode()] * 2
    assert second.root == HERE[0]


def test_what_is_shut_moves_as_it_is(poison: set[str]) -> None:
    part = Part()
    loser, winner, there = HERE[0], HERE[1], THERE[0]
    bad = row(loser)
    poison.add(bad.event_id)
    part.give(told(0, 3, [bad, row(winner), row(winner)], T0 + 9))
    run(part.hop.advance(T0 + 2 * HOUR))
    part.give(told(3, 5, [row(loser, "page_viewed", T0 + 2 * HOUR)], T0 + 2 * HOUR, merges=[loser, winner]))
    shut = part.state(winner)
    assert isinstance(shut, Quarantined)
    assert (len(shut.profiles), len(shut.rows)) == (2, 1)
    assert part.state(loser) == Moved(winner, T0 + 2 * HOUR)
    assert set(part.meta().quarantined) == {winner}
    run(part.hop.finish())
    part.give(told(5, 6, after=T0 + 3 * HOUR, merges=[winner, there]))
    (move,) = part.sent()
    shut.why = "ZeroDivisionError: a bug"
    assert decode(move.profile) == shut
    assert part.meta().quarantined == {}

    poison.clear()
    taker = Part()
    taker.give(told(0, 1, [row(HERE[2])]), Move(f"{winner}>{HERE[2]}", T0 + 3 * HOUR, HERE[2], move.profile))
    run(taker.hop.finish())
    assert taker.profile(HERE[2]).about.totals == {ADDED: 4, VIEWED: 1}
    assert taker.meta().quarantined == {}


def test_what_is_shut_is_not_kept_without_end(poison: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "KEPT_BYTES", 500)
    part = Part()
    bad = row(HERE[0])
    poison.add(bad.event_id)
    part.give(told(0, 1, [bad], T0 + 9))
    run(part.hop.advance(T0 + 2 * HOUR))
    part.give(told(1, 11, [row(HERE[0], "page_viewed") for _ in range(10)], T0 + 9))
    shut = part.state(HERE[0])
    assert isinstance(shut, Quarantined)
    letters = dead(part)[1:]
    assert 0 < len(shut.rows) < 10
    assert len(shut.rows) + len(letters) == 10
    assert {reason for reason, _, _ in letters} == {"quarantined"}


@pytest.mark.parametrize("stored", [b"\xc1\xc1\xc1", b"x", b"\x93\x01\x02\x03", b"\x95\xabquarantined\x01"])
def test_a_stored_profile_that_cannot_be_read_is_shut(stored: bytes) -> None:
    part = Part()
    who = HERE[0]
    part.give(told(0, 1, [row(who)]))
    part.store._partition(0).states[who] = stored
    part = Part(part.store)
    part.give(told(1, 3, [row(who), row(HERE[1])], T0 + 9))
    shut = part.state(who)
    assert isinstance(shut, Quarantined)
    assert shut.profiles == [stored]
    assert part.profile(HERE[1]).about.totals == {ADDED: 1}


def test_a_row_that_no_profile_can_take_costs_itself() -> None:
    part = Part()
    bad = row(HERE[0], "product_viewed")
    bad.data = {"product_id": 7}
    unknown = row(HERE[0], "never_heard_of")
    part.give(told(0, 3, [bad, unknown, row(HERE[0])], T0 + 9))
    assert part.profile(HERE[0]).about.totals == {ADDED: 1}
    assert sorted(reason for reason, _, _ in dead(part)) == ["unreadable_row", "unreadable_row"]
    assert part.meta().quarantined == {}


def test_what_is_nobodys_fault_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part()
    monkeypatch.setattr(part.hop, "_prune", lambda: 1 / 0)
    part.give(told(0, 1, [row(HERE[0])], T0 + 9))
    with pytest.raises(ZeroDivisionError):
        run(part.hop.advance(T0 + 2 * HOUR))


def test_a_profile_that_is_silent_goes_also_from_quarantine(poison: set[str]) -> None:
    part = Part()
    bad = row(HERE[0])
    poison.add(bad.event_id)
    part.give(told(0, 1, [bad], T0 + 9))
    run(part.hop.advance(T0 + 2 * HOUR))
    run(part.hop.advance(T0 + 91 * 24 * HOUR))
    assert run(part.hop.sweep()) == 1
    assert part.state(HERE[0]) is None
    assert part.meta().quarantined == {}


# Moves in parts.


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PART_BYTES", 60)


def parts_of(*rows: Row, at: int = T0 + 5) -> list[Move]:
    return wire.moves(f"{THERE[0]}>{HERE[0]}", at, HERE[0], profile_of(*rows))


@pytest.mark.usefixtures("small_parts")
def test_a_profile_that_is_too_large_for_a_record_moves_in_parts() -> None:
    part = Part()
    loser, there = HERE[0], THERE[0]
    part.give(told(0, 4, [row(loser, cart_id=f"c{n}") for n in range(4)], T0 + 5))
    part.give(told(4, 5, after=T0 + 9, merges=[loser, there]))
    parts = part.sent()
    assert len(parts) > 3
    assert {each.whole for each in parts} == {f"{loser}>{there}"}
    assert [each.part for each in parts] == list(range(len(parts)))
    assert part.meta().sent == {each.id: (T0 + 5, 1) for each in parts}
    moved = decode(b"".join(each.profile for each in parts))
    assert isinstance(moved, Profile)
    assert moved.about.totals == {ADDED: 4}


@pytest.mark.usefixtures("small_parts")
def test_parts_count_when_all_are_there_in_any_order_and_across_owners() -> None:
    rows = [row(THERE[0], cart_id=f"c{n}") for n in range(3)]
    parts = parts_of(*rows)
    whole = parts[0].whole
    for seed in range(10):
        order = parts + Random(seed).sample(parts, 2)
        Random(seed).shuffle(order)
        part = Part()
        seen: set[int] = set()
        for each in order:
            done = len(seen) == len(parts)
            part.give(each)
            seen.add(each.part)
            assert isinstance(part.state(whole), Parts) == (len(seen) < len(parts))
            if not done:
                assert (part.state(HERE[0]) is not None) == (len(seen) == len(parts))
            part = Part(part.store)
        assert part.profile(HERE[0]).about.totals == {ADDED: 3}
        assert part.meta().taken == {**{each.id: T0 + 5 for each in parts}, whole: T0 + 5}


@pytest.mark.usefixtures("small_parts")
def test_parts_of_two_copies_are_not_mixed_and_one_copy_counts() -> None:
    """The sender's store fell back between two parts, and it made the move again, packed otherwise."""
    rows = [row(THERE[0], cart_id=f"c{n}") for n in range(3)]
    one, two = parts_of(*rows), parts_of(*reversed(rows))
    assert one[0].copy != two[0].copy
    part = Part()
    part.give(*one[:-1], *two[:-1])
    assert part.state(HERE[0]) is None
    part.give(two[-1])
    assert part.profile(HERE[0]).about.totals == {ADDED: 3}
    part.give(one[-1])
    part.give(*one, *two)
    assert part.profile(HERE[0]).about.totals == {ADDED: 3}
    assert part.state(one[0].whole) is None
    monkey = Move(one[0].whole, T0 + 5, HERE[0], profile_of(*rows))  # or it fitted into one record
    part.give(monkey)
    assert part.profile(HERE[0]).about.totals == {ADDED: 3}


@pytest.mark.usefixtures("small_parts")
def test_parts_that_make_no_profile_are_a_dead_letter() -> None:
    part = Part()
    parts = parts_of(*(row(THERE[0], cart_id=f"c{n}") for n in range(3)))
    parts[1].profile = b""
    part.give(*parts)
    ((reason, _, value),) = dead(part)
    assert (reason, value) == ("unreadable", b"".join(each.profile for each in parts))
    assert part.state(parts[0].whole) is None
    part.give(told(0, 1, [row(HERE[0])]))
    assert part.profile(HERE[0]).about.totals == {ADDED: 1}


def test_many_large_dead_letters_go_in_several_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_hop, "DEAD_BYTES", 1_000)
    part = Part()
    run(part.hop.process([In(n, 0, None, b"x" * 400, []) for n in range(9)]))
    assert len(dead(part)) == 9
    assert len(part.hop.work.commits_s) == 3


# How far everybody may decide.


def meta(**changes: Any) -> Meta:
    return msgspec.structs.replace(Meta(marks={"s-0": 100, "s-1": 90}), **changes)


def test_the_slowest_source_of_the_slowest_partition_holds_time() -> None:
    sources = ["s-0", "s-1"]
    assert decide_before([meta(), meta()], [meta(), meta()], sources) == (90, "source s-1")
    slow = meta(marks={"s-0": 40, "s-1": 90})
    assert decide_before([meta(), slow], [meta(), slow], sources) == (40, "source s-0")
    assert decide_before([meta(), slow], [meta(), slow], ["s-1"]) == (90, "source s-1")
    unheard = meta(marks={"s-0": 40})
    assert decide_before([meta(), unheard], [meta(), unheard], sources) == (0, "source s-1")


def test_a_partition_without_state_holds_time() -> None:
    for first, second in (([meta(), None], [meta(), meta()]), ([meta(), meta()], [meta(), None])):
        clock, holder = decide_before(first, second, ["s-0"])
        assert clock == 0
        assert "partition 1" in str(holder)


def test_what_is_under_way_holds_time_until_it_is_taken() -> None:
    sender, taker = meta(sent={"m": (50, 1)}), meta(taken={"m": 50})
    assert decide_before([sender, meta()], [sender, meta()], ["s-0"]) == (50, "m under way from partition 0 to 1")
    assert decide_before([sender, taker], [sender, taker], ["s-0"])[0] == 100
    passed = meta(clock=60)
    assert decide_before([sender, passed], [sender, passed], ["s-0"])[0] == 100
    # Sent between the two readings: it came from records that nobody had read, and matters later.
    assert decide_before([meta(), meta()], [meta(sent={"m": (100, 1)}), meta()], ["s-0"])[0] == 100


def test_a_removal_that_comes_late_and_empties_a_cart_is_looked_at_in_time() -> None:
    """Without what it takes back there was no cart when the wait was moved: it ends where it would have at first."""
    assert "product_removed" in BOOK.moves  # it is something else to the rule, too
    part, minute = Part(), 60_000
    who = HERE[0]
    viewed = [row(who, "cart_viewed", T0 + n * minute, cart_id="a") for n in range(26, 32)]
    part.give(told(0, 6, [row(who, at=T0, cart_id="a"), *viewed[:5]], T0 + 31 * minute))
    run(part.hop.advance(T0 + 31 * minute))
    part.give(told(6, 7, viewed[5:], T0 + 32 * minute))
    assert part.profile(who).due == T0 + 95 * minute  # folded
    late = row(who, "product_removed", T0 + 10 * minute, cart_id="a")
    late.received_at = T0 + 40 * minute
    part.give(told(7, 8, [late], T0 + 41 * minute))
    run(part.hop.advance(T0 + 65 * minute))
    assert part.fired() == []
    run(part.hop.advance(T0 + 65 * minute + 1))
    assert part.fired() == [who.encode()]
