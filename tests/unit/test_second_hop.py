"""One partition of `identity.resolved`: positions, gaps, moves, forwards, caches, commits, publishing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import msgspec
import pytest

from pipeline.errors import CommitRejected, Fenced, StateLost
from pipeline.flow import Forward, Move, Resolved, decode_message, encode, partition_of
from pipeline.profile.profile import Moved, Profile, decode, encode_profile, new_profile, receive
from pipeline.runtime import second_hop
from pipeline.runtime.ports import In, Out
from pipeline.runtime.second_hop import Meta, ProfilePartition, decode_meta
from pipeline.runtime.watermark import decide_before
from pipeline.store.memory import MemoryProfileStore
from pipeline.store.ports import Commit
from pipeline.triggers.decisions import Decision
from pipeline.triggers.fold import Row
from pipeline.triggers.rules import RuleBook
from tests.property.hops import with_partitions
from tests.replayed import shipped

T0 = 1_700_000_000_000
HOUR = 3_600_000
TOPOLOGY = with_partitions(shipped(), 1, 2)
BOOK = RuleBook(TOPOLOGY)
RESOLVED = TOPOLOGY.topics.resolved.name
HERE = [f"p{n}" for n in range(60) if partition_of(f"p{n}", 2) == 0]
THERE = [f"p{n}" for n in range(60) if partition_of(f"p{n}", 2) == 1]


class Broker:
    """Keeps what is sent, unless it is down."""

    def __init__(self) -> None:
        self.sent: list[Out] = []
        self.down = False

    async def send(self, messages: list[Out]) -> None:
        if self.down:
            raise ConnectionError("no broker")
        self.sent += messages


def run(step: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(step)


def encode_decision(decision: Decision) -> list[Out]:
    return [Out("decisions", 0, decision.profile_id.encode(), decision.id.encode(), [])]


class Part:
    """Partition 0 of two."""

    def __init__(self, store: MemoryProfileStore | None = None, cached: int = 50_000) -> None:
        self.store = store or MemoryProfileStore()
        self.broker = Broker()
        self.hop = ProfilePartition(TOPOLOGY, BOOK, self.store, self.broker, encode_decision, 0, cached)
        self.new = run(self.hop.claim()) is None
        self.next = self.hop.meta.offset

    def give(self, *messages: Resolved | Move | Forward) -> None:
        """One batch."""
        records = [In(self.next + n, 0, None, encode(m), []) for n, m in enumerate(messages)]
        self.next += len(messages)
        run(self.hop.process(records))

    def state(self, profile: str) -> Profile | Moved | None:
        (raw,) = run(self.store.peek(0, [profile]))
        return None if raw is None else decode(raw)

    def profile(self, name: str) -> Profile:
        state = self.state(name)
        assert isinstance(state, Profile)
        return state

    def sent(self) -> list[Any]:
        """Messages to other partitions."""
        return [decode_message(out.value or b"") for out in self.broker.sent if out.topic == RESOLVED]

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
    assert part.profile(who).about.totals == {5: 1}
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

    def keep(decision: Decision) -> list[Out]:
        published[decision.profile_id] = decision.published
        return []

    part.hop._encode_decision = keep
    part.give(msgspec.structs.replace(told(0, 0), quiet=(due + 1, 0)))
    assert part.meta().quiet == {"s-0": (due + 1, 0, 0)}
    part.give(told(0, 2, [row(old), row(live, at=T0 + 1)], T0 + 1))
    run(part.hop.advance(T0 + 9 * HOUR))
    assert published == {old: False, live: True}
    until = T0 + 20 * HOUR
    part.give(msgspec.structs.replace(told(2, 2), quiet=(due + 1, until)))
    part = Part(part.store)
    part.hop._encode_decision = keep
    assert part.meta().quiet == {"s-0": (due + 1, 0, until)}
    row_of = {who: row(who, at=T0) for who in (late, after)}
    row_of[late].received_at = until - 5
    row_of[after].received_at = until + 5
    part.give(told(2, 4, row_of.values(), until + 5))
    run(part.hop.advance(until + HOUR))
    assert published == {old: False, live: True, late: False, after: True}
    run(part.hop.advance(until + HOUR + 1))
    assert part.meta().quiet == {}


def test_records_below_the_position_and_empty_ones_are_dropped() -> None:
    part = Part()
    who = HERE[0]
    record = In(0, 0, None, encode(told(0, 1, [row(who)])), [])
    run(part.hop.process([record, In(1, 0, None, None, [])]))
    run(part.hop.process([record]))
    assert part.profile(who).about.totals == {5: 1}
    again = Part(part.store)
    assert not again.new
    assert again.next == 1
    run(again.hop.process([record]))
    assert again.profile(who).about.totals == {5: 1}


def test_where_a_partition_begins() -> None:
    part = Part()
    part.hop.start_at(7)
    run(part.hop.process([In(6, 0, None, encode(told(0, 1, [row(HERE[0])])), [])]))
    assert part.state(HERE[0]) is None


def test_a_source_told_twice_counts_once() -> None:
    part = Part()
    rows = [row(HERE[0]) for _ in range(4)]
    part.give(told(10, 13, rows[:3]))
    part.give(told(11, 14, rows[1:]))  # another cut of the same source: only 13 is new
    part.give(told(10, 13, rows[:3]))
    assert part.profile(HERE[0]).about.totals == {5: 4}
    assert part.meta().seen == {"s-0": 14}
    assert part.hop.work.duplicates == 0


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
    assert moved.about.totals == {5: 2}
    assert part.meta().sent == {move.id: (T0 + 5, 1)}
    part.give(told(3, 4, merges=[loser, here]))  # told again
    assert len(part.sent()) == 1
    assert part.hop.work.moves == 0


def test_rows_for_a_profile_that_moved_away_are_forwarded() -> None:
    part = Part()
    loser, middle, there = HERE[0], HERE[1], THERE[0]
    part.give(told(0, 1, after=T0 + 5, merges=[loser, middle, middle, there]))
    assert part.sent() == []  # there was nothing to move
    late = row(loser, at=T0 + 9)
    part.give(told(1, 3, [late, row(there, at=T0 + 9)]))
    one, two = part.sent()
    assert isinstance(one, Forward)
    assert (one.row.root, one.row.event_id, one.at) == (there, late.event_id, T0 + 9)
    assert isinstance(two, Forward)
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
    assert part.profile(winner).about.totals == {5: 2, 0: 1}
    assert part.meta().taken == {move.id: T0 + 5}
    run(part.hop.advance(T0 + 10 * HOUR))
    assert part.meta().taken == {}
    part.give(move)  # from before the clock: it has been taken, or nobody could have gone on
    assert part.profile(winner).about.totals == {5: 2, 0: 1}
    assert len(part.fired()) == 2


def test_a_move_to_nobody_yet_makes_somebody() -> None:
    part = Part()
    part.give(Move("x", T0, HERE[0], profile_of(row(THERE[0]))))
    assert part.profile(HERE[0]).about.totals == {5: 1}


def test_what_comes_for_one_who_moved_on_is_passed_on() -> None:
    """The sender knew an old root: a move and a forward go further, under names of their own."""
    part = Part()
    middle, there = HERE[0], THERE[0]
    part.give(told(0, 1, merges=[middle, there]))
    part.give(Move(f"x>{middle}", T0, middle, profile_of(row("x"))), Forward("f", T0 + 1, row(middle, at=T0 + 1)))
    move, forward = part.sent()
    assert isinstance(move, Move)
    assert (move.id, move.winner, move.at) == (f"x>{there}", there, T0)
    assert isinstance(forward, Forward)
    assert (forward.row.root, forward.at) == (there, T0 + 1)
    assert set(part.meta().taken) == {f"x>{middle}", "f"}


def test_a_forward_is_taken_once() -> None:
    part = Part()
    forward = Forward("f", T0, row(HERE[0]))
    part.give(forward)
    part.give(forward)
    assert part.profile(HERE[0]).about.totals == {5: 1}


def test_the_cache_is_bounded_and_misses_nothing() -> None:
    part = Part(cached=4)
    for turn in range(3):
        for n, who in enumerate(HERE):
            number = turn * len(HERE) + n
            part.give(told(number, number + 1, [row(who, "page_viewed")], T0))
            assert len(part.hop._cache) <= 6
    assert all(part.profile(who).about.totals == {0: 3} for who in HERE)


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


def test_a_batch_is_worked_off_in_several_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_hop, "STATES_A_COMMIT", 4)
    part = Part()
    commits: list[int] = []
    original = part.store.commit

    async def counted(partition: int, commit: Commit) -> None:
        commits.append(len(commit.states))
        await original(partition, commit)

    part.store.commit = counted  # type: ignore[method-assign]
    part.give(
        *(
            told(2 * n, 2 * n + 2, [row(HERE[2 * n], at=T0 + 2 * n), row(HERE[2 * n + 1], at=T0 + 2 * n + 1)], T0)
            for n in range(5)
        )
    )
    assert commits == [4, 4, 2]
    assert part.meta().offset == 5
    commits.clear()
    run(part.hop.advance(T0 + 2 * HOUR))  # a clock that jumps: many are due at once
    assert len(commits) > 3
    assert max(commits) <= 4
    assert part.fired() == [who.encode() for who in HERE[:10]]
    assert part.meta().offset == 5


def test_what_is_committed_and_not_published_is_published_after_the_claim() -> None:
    part = Part()
    part.give(told(0, 1, [row(HERE[0])], T0))
    part.broker.down = True
    with pytest.raises(ConnectionError):
        run(part.hop.advance(T0 + 2 * HOUR))
    later = Part(part.store)
    assert later.hop.waiting == 1
    assert later.fired() == []
    run(later.hop.publish())
    run(later.hop.publish())
    assert later.fired() == [HERE[0].encode()]
    assert later.hop.waiting == 0
    later.give(told(1, 2))
    assert Part(part.store).hop.waiting == 0  # trimmed with the next commit


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
    assert second.profile(HERE[1]).about.totals == {5: 1}
    with pytest.raises((Fenced, CommitRejected)):
        run(first.hop.advance(T0 + 9 * HOUR))
    assert first.fired() == []


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
