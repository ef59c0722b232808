"""Logins that repeat another wait as a few bytes, compiled or not, wherever their profile goes."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import msgspec
import pytest

from pipeline.profile import packed, repeats
from pipeline.profile.packed import PackedRow, pack_row
from pipeline.profile.profile import (
    Profile,
    advance,
    decode,
    encode_profile,
    merge,
    new_profile,
    receive,
    receive_all,
    settle,
)
from pipeline.topology import load
from pipeline.triggers.fold import learn
from pipeline.triggers.person import Person, whose
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row

BOOK = RuleBook(load(Path(__file__).parents[2] / "topology.yaml", {}))
T0 = 1_700_000_000_000
MINUTE = 60_000
IDS = ["user_id", "ann", "anonymous_id", "tablet"]
_numbers = count(1)


def page(at: int, ids: list[str] = IDS) -> Row:
    """Somebody looks at a page, received a second later."""
    number = next(_numbers)
    return Row(number, "root", "page_viewed", at, at + 1_000, f"e{number}", number * 7_919, ids, {})


def taken(times: list[int]) -> Profile:
    """A profile of somebody who was tied to the tablet at T0, and takes these in by batches of two, as the second hop
    does.
    """
    profile = new_profile()
    receive(BOOK, profile, page(T0))
    advance(BOOK, profile, T0 + 1_001)
    for i in range(0, len(times), 2):
        rows: list[PackedRow] = [pack_row(page(at)) for at in times[i : i + 2]]
        receive_all(BOOK, rows, {"root": profile}, {}, lambda _: None)
    return profile


TIMES = [T0 + n * MINUTE for n in (5, 6, 7, 29, 34, 40, 65, 70)]


def kept(profile: Profile) -> list[int]:
    """When those were that wait as a few bytes, in minutes after the first."""
    return [(occurred - T0) // MINUTE for _, occurred, _ in repeats.before(profile.repeats, 1 << 60)[0]]


def test_compiled_and_in_python_the_same_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = taken(TIMES)
    monkeypatch.setattr(packed, "COMPILED", None)
    plain = taken(TIMES)
    assert kept(compiled) == kept(plain)
    assert kept(compiled) == [6, 7, 29, 34, 65]  # 40 and 70 are half an hour away from the last one that is seen
    assert [row.occurred_at for row in compiled.buffer] == [row.occurred_at for row in plain.buffer]


def test_they_are_stored_and_read_again_compiled_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = taken(TIMES)
    stored = encode_profile(profile)
    assert encode_profile(decode(stored)) == stored
    read = decode(stored)
    assert isinstance(read, Profile)
    assert read.repeats == profile.repeats
    assert not read.packed_shares
    monkeypatch.setattr(packed, "COMPILED", None)
    assert encode_profile(profile) == stored


def test_who_does_not_know_them_takes_them_for_a_login_at_the_last_time() -> None:
    """Older versions decode a profile's rows, and look at each."""
    raw = encode_profile(taken(TIMES))
    _, persons, rows = msgspec.msgpack.decode(raw, type=tuple[msgspec.Raw, list[Person], list[Row]])
    assert (rows[0].type, (rows[0].occurred_at - T0) // MINUTE) == ("", 65)
    (person,) = persons
    assert whose(BOOK, persons, rows[0]) is person
    learn(BOOK, person, rows[0], [])
    assert person.logins["anonymous_id\0tablet"][-1].at == T0 + 65 * MINUTE


def test_who_has_none_is_stored_as_before() -> None:
    profile = taken(TIMES[:1])
    assert profile.repeats is None
    assert profile.waiting == 1
    assert encode_profile(profile)[0] == 0x93


def test_two_profiles_that_are_one_have_each_once() -> None:
    one, other = taken(TIMES), taken(TIMES)
    merged = merge(BOOK, one, other)
    assert kept(merged) == kept(taken(TIMES))


def test_what_the_fold_has_passed_goes() -> None:
    profile = taken(TIMES)
    advance(BOOK, profile, T0 + 30 * MINUTE)
    assert min(kept(profile)) >= 29
    (person,) = profile.persons
    assert person.logins["anonymous_id\0tablet"][0].at == T0
    advance(BOOK, profile, T0 + 90 * MINUTE)
    assert profile.repeats is None
    assert profile.persons[0].logins["anonymous_id\0tablet"][-1].at == TIMES[-1]


@pytest.mark.parametrize("plain", [False, True])
def test_many_are_looked_at_when_time_has_come_and_not_before(monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    if plain:
        monkeypatch.setattr(packed, "COMPILED", None)
    looked: list[str] = []
    profile = taken([T0 + 2_000 + n for n in range(repeats.WAITING + 10)])
    assert profile.waiting == 1  # too little to be looked at for that
    for clock, due in ((T0, False), (T0 + MINUTE, True)):
        looked.clear()
        settle(BOOK, {"root": profile}, clock, 4, lambda root, _: looked.append(root))
        assert looked == (["root"] if due else [])


@pytest.mark.parametrize("late", [False, True])
def test_a_hand_over_between_them_is_the_same_whenever_it_is_read(late: bool) -> None:
    bert = Row(
        0, "root", "page_viewed", T0 + 6 * MINUTE + 1, T0 + 6 * MINUTE + 2, "b", 5, ["user_id", "bert", *IDS[2:]], {}
    )
    profile = taken([])
    pages = [page(at) for at in TIMES]
    for row in [*pages, bert] if late else [*pages[:2], bert, *pages[2:]]:
        receive(BOOK, profile, row)
    advance(BOOK, profile, T0 + 90 * MINUTE)
    (logins,) = (person.logins["anonymous_id\0tablet"] for person in profile.persons if person.logins)
    assert [(login.at, login.user[-4:]) for login in logins if login.at > T0 + 5 * MINUTE][:3] == [
        (T0 + 6 * MINUTE, "\0ann"),
        (T0 + 6 * MINUTE + 1, "bert"),
        (T0 + 7 * MINUTE, "\0ann"),
    ]
