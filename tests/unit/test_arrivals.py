"""What is decided on arrival is told when it has been read, once, and counts as it was told."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from pipeline.commands.person import facts
from pipeline.commands.person_view import render
from pipeline.profile import packed
from pipeline.profile.arrivals import told_now
from pipeline.profile.profile import Profile, advance, decode, encode_profile, merge, new_profile, receive
from pipeline.triggers import early
from pipeline.triggers.balance import Waits
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row
from tests.oracle.build import ms
from tests.ruled import ruled

RULES = """
demo: {version: 1, start: {event: form_submitted}, cancel: {event: order_completed, reason: bought}, decide: on_arrival}
then: {version: 1, start: {trigger: {rule: demo}}}
rests: {version: 1, start: {event: product_viewed}, decide: on_arrival, again: {after: 1h}}
single: {version: 1, start: {event: searched}, decide: on_arrival, once: true, only_if: {none: [{did: video_started}]}}
thrice: {version: 1, start: {when: {did: product_added, times: 3}}, decide: on_arrival}
waits: {version: 1, start: {event: page_viewed}, after: 1h}
"""
BOOK = RuleBook(ruled(RULES))
FAR = ms(10_000)
Said = list[tuple[str, str, str]]


class Owner:
    """One profile, and what its owner does with it."""

    def __init__(self, book: RuleBook = BOOK) -> None:
        self.book = book
        self.profile = new_profile()
        self.number = 0

    def read(self, kind: str, at: float, got: float | None = None, who: str = "a", name: str = "") -> Said:
        """Something has been read; what is told of it at once."""
        self.number += 1
        ids = ["anonymous_id", who] if "@" not in who else ["anonymous_id", "a", "email", who]
        event = name or f"e{self.number}"
        received = ms(at if got is None else got)
        receive(self.book, self.profile, Row(0, "", kind, ms(at), received, event, self.number, ids, {}))
        return self.tell()

    def tell(self) -> Said:
        """What is to be told now; the owner changes."""
        told = said(told_now(self.book, self.profile, 0)) if self.profile.arrived else []
        self.profile = back(self.profile)
        return told

    def fold(self, upto: float = 10_000) -> Said:
        """What is told when the watermark has come there."""
        return said(advance(self.book, self.profile, ms(upto)))


def said(made: list[Any]) -> Said:
    return [(each.rule, each.outcome, each.cause_event_id) for each in made if isinstance(each, Decision)]


def back(profile: Profile) -> Profile:
    """As it is stored."""
    found = decode(encode_profile(profile))
    assert isinstance(found, Profile)
    assert (found.packed_early, found.packed_shares) == (profile.packed_early, profile.packed_shares)
    return found


def test_it_is_told_when_it_has_been_read_and_not_again() -> None:
    owner = Owner()
    assert owner.read("form_submitted", 0) == [("demo", "fired", "e1")]
    assert owner.read("page_viewed", 1) == []
    assert owner.read("form_submitted", 2) == [("demo", "fired", "e3")]
    first, second, third = owner.fold()
    assert [first[:2], second[:2], third] == [("then", "fired"), ("then", "fired"), ("waits", "fired", "e2")]
    assert owner.profile.packed_early == b""


def test_a_wait_that_was_told_early_adds_up_as_one() -> None:
    """What is told on arrival is decided in a copy; the fold counts it, once (40)."""
    BOOK.balance.take()
    owner = Owner()
    assert owner.read("form_submitted", 0) == [("demo", "fired", "e1")]
    assert BOOK.balance.take() == {}
    owner.fold()
    assert BOOK.balance.take()["demo"] == Waits(opened=1, decided=1)


def test_what_no_such_rule_begins_with_is_nothing() -> None:
    owner = Owner()
    owner.read("page_viewed", 0)
    owner.read("order_completed", 0)
    assert not owner.profile.arrived
    assert not RuleBook(ruled("r: {version: 1, start: {event: searched}}")).arriving


def test_of_the_past_the_fold_tells() -> None:
    owner = Owner()
    receive(BOOK, owner.profile, Row(0, "", "form_submitted", ms(0), ms(0), "e1", 1, ["anonymous_id", "a"], {}))
    assert owner.profile.arrived
    assert told_now(BOOK, owner.profile, ms(1)) == []
    assert owner.fold(1) == [("demo", "fired", "e1")]


def test_what_would_have_ended_it_and_is_read_later_takes_it_back() -> None:
    owner = Owner()
    assert owner.read("form_submitted", 0, 5) == [("demo", "fired", "e1")]
    assert owner.read("order_completed", 0, 4) == []
    made = owner.fold()
    assert made == [("demo", "retracted", "e1"), ("then", "cancelled", made[1][2])]


def test_what_was_suppressed_stays_so() -> None:
    owner = Owner()
    owner.read("video_started", 0, 5)
    assert owner.read("searched", 3, 6) == [("single", "suppressed", "e2")]
    owner = Owner()
    assert owner.read("searched", 3, 6) == [("single", "fired", "e1")]
    owner.read("video_started", 0, 5)
    assert owner.fold() == []


def test_a_start_that_was_read_later_and_stands_before_is_the_one_that_was_told() -> None:
    owner = Owner()
    assert owner.read("product_viewed", 5) == [("rests", "fired", "e1")]
    assert owner.read("product_viewed", 4) == []
    assert owner.read("searched", 5) == [("single", "fired", "e3")]
    assert owner.read("searched", 4) == []
    assert owner.read("product_added", 1) == owner.read("product_added", 2) == []
    assert owner.read("product_added", 5) == [("thrice", "fired", "e7")]
    assert owner.read("product_added", 4) == []
    assert owner.fold(30) == []
    assert owner.read("product_viewed", 60) == []
    assert owner.read("product_viewed", 65) == [("rests", "fired", "e10")]
    assert owner.read("searched", 70) == []
    assert owner.fold() == []


def test_what_was_suppressed_doesnt_stand_for_what_fires() -> None:
    rule = "start: {event: searched}, decide: on_arrival, again: {after: 1h}"
    owner = Owner(RuleBook(ruled("r: {version: 1, " + rule + ", only_if: {none: [{did: video_started}]}}")))
    owner.read("video_started", 4.5)
    assert owner.read("searched", 5) == [("r", "suppressed", "e2")]
    assert owner.read("searched", 4) == [("r", "fired", "e3")]
    assert owner.fold() == []


def test_what_the_fold_has_come_to_stands_for_nothing_more() -> None:
    even = "{any: [{did: video_started, times: 2}, {none: [{did: video_started}]}]}"
    often = "{when: {all: [{did: product_added, times: 2, within: 6m}, " + even + "]}}"
    owner = Owner(RuleBook(ruled("r: {version: 1, decide: on_arrival, start: " + often + "}")))
    assert owner.read("product_added", 5) == []
    assert owner.read("product_added", 10) == [("r", "fired", "e2")]
    assert owner.read("product_added", 6) == owner.fold(6.5) == []
    assert owner.read("video_started", 7) == []
    assert owner.read("video_started", 8) == [("r", "fired", "e5")]
    assert owner.fold() == []


def test_what_was_told_isnt_told_again_when_another_has_stood_for_it() -> None:
    often = "{when: {all: [{did: product_added, times: 2}, {any: [{none: [{did: video_started}]}, " + (
        "{did: product_added, times: 3}]}]}}"
    )
    owner = Owner(RuleBook(ruled("r: {version: 1, decide: on_arrival, start: " + often + "}")))
    assert owner.read("product_added", 5) == []
    assert owner.read("product_added", 10) == [("r", "fired", "e2")]
    assert owner.read("product_added", 6) == owner.fold(6.5) == []
    assert owner.read("video_started", 7) == []  # what was told at ten starts by itself
    assert owner.fold() == []


def test_nor_does_it_follow_twice() -> None:
    often = "{when: {all: [{did: product_added, times: 2}, {any: [{none: [{did: video_started}]}, " + (
        "{did: product_added, times: 3}]}]}}"
    )
    rule = "r: {version: 1, decide: on_arrival, cancel: {event: order_completed, reason: bought}, start: " + often + "}"
    owner = Owner(RuleBook(ruled(rule + "\nsoon: {version: 1, after: 1h, start: {trigger: {rule: r}}}")))
    owner.read("product_added", 5)
    assert owner.read("product_added", 10) == [("r", "fired", "e2")]
    assert owner.read("product_added", 6) == owner.fold(6.5) == owner.read("video_started", 7) == owner.fold(11) == []
    assert owner.read("order_completed", 10, 12) == []
    assert sorted(each[:2] for each in owner.fold()) == [("r", "retracted"), ("soon", "cancelled")]


def test_what_time_alone_starts_is_told_when_all_before_it_is_certain() -> None:
    silent = "{when: {last: any, age: {gte: 30m}}}"
    owner = Owner(RuleBook(ruled("r: {version: 1, decide: on_arrival, start: " + silent + "}")))
    assert owner.read("page_viewed", 0) == []
    assert owner.read("page_viewed", 60) == []  # others may not have been read
    assert owner.read("page_viewed", 20) == []
    assert owner.fold(60) == [("r", "fired", "e3")]


def test_what_another_rule_starts_is_told_when_that_is_told() -> None:
    owner = Owner(
        RuleBook(
            ruled("""
waits: {version: 1, start: {event: page_viewed}, after: 1h}
after_it: {version: 1, start: {trigger: {rule: waits}}, decide: on_arrival}
demo: {version: 1, start: {event: form_submitted}, decide: on_arrival}
after_demo: {version: 1, start: {trigger: {rule: demo}}, decide: on_arrival}
last: {version: 1, start: {trigger: {rule: after_demo}}, decide: on_arrival}
""")
        )
    )
    assert owner.read("page_viewed", 0) == []
    assert [each[:2] for each in owner.read("form_submitted", 120)] == [
        ("demo", "fired"),
        ("after_demo", "fired"),
        ("last", "fired"),
    ]
    assert owner.read("order_completed", 1) == []
    assert [each[:2] for each in owner.fold()] == [("waits", "fired"), ("after_it", "fired")]


@pytest.mark.parametrize("shared", [False, True])
def test_two_profiles_become_one_and_nothing_is_told_again(shared: bool) -> None:
    one, other = Owner(), Owner()
    assert one.read("form_submitted", 0) == [("demo", "fired", "e1")]
    other.number = 10
    assert other.read("form_submitted", 1, who="b") == [("demo", "fired", "e11")]
    if shared:
        for owner, user in ((one, "x"), (other, "y")):
            ids = ["user_id", user, "anonymous_id", "a"]
            receive(BOOK, owner.profile, Row(0, "", "identified", ms(2), ms(2), user, ord(user), ids, {}))
    merged = Owner()
    merged.profile = merge(BOOK, one.profile, other.profile)
    assert bool(merged.profile.packed_shares) == shared
    merged.profile.arrived = True
    assert merged.tell() == []
    assert [each[:2] for each in merged.fold()] == [("then", "fired")] * 2


def test_what_began_in_two_places_is_told_when_it_is_in_one() -> None:
    one, other = Owner(), Owner()
    one.read("product_added", 1)
    one.read("product_added", 2)
    other.number = 10
    assert other.read("product_added", 3, who="a@x") == []
    merged = Owner()
    merged.profile = merge(BOOK, one.profile, other.profile)
    merged.profile.arrived = True
    assert merged.tell() == [("thrice", "fired", "e11")]
    assert merged.fold() == []


def test_no_more_is_told_early_than_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "KEPT", 3)
    owner = Owner()
    told = [owner.read("form_submitted", minute) for minute in range(5)]
    assert [len(each) for each in told] == [1, 1, 1, 0, 0]
    made = [each for each in owner.fold() if each[0] == "demo"]
    assert made == [("demo", "fired", "e4"), ("demo", "fired", "e5")]


def test_what_isnt_published_is_known_to_be_so() -> None:
    owner = Owner()
    receive(BOOK, owner.profile, Row(0, "", "form_submitted", ms(0), ms(0), "e1", 1, ["anonymous_id", "a"], {}))
    (decision,) = told_now(BOOK, owner.profile, 0, lambda decision: True)
    assert not decision.published
    owner.number = 1
    owner.read("order_completed", 0, 1)
    made = [each for each in advance(BOOK, owner.profile, FAR) if isinstance(each, Decision)]
    assert [(each.outcome, each.published) for each in made if each.rule == "demo"] == [("retracted", False)]


def test_it_is_stored_alike_by_python_and_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner()
    for _ in range(2):  # nobody else, and a household
        owner.read("form_submitted", 0)
        stored = encode_profile(owner.profile)
        with monkeypatch.context() as patch:
            patch.setattr(packed, "COMPILED", None)
            assert encode_profile(owner.profile) == stored
        assert stored[0] == 0x95
        for user in "xy":
            ids = ["user_id", user, "anonymous_id", "a"]
            receive(BOOK, owner.profile, Row(0, "", "identified", ms(2), ms(2), user, ord(user), ids, {}))
    assert owner.profile.packed_shares


def test_it_is_shown_until_the_fold_has_come_to_it() -> None:
    owner = Owner()
    owner.read("form_submitted", 0)
    owner.read("searched", 1)
    told = facts(BOOK, "x", back(owner.profile), ms(0), ("anonymous_id", "a"))["on_arrival"]
    assert [(each["rule"], each["outcome"], each["cause_event_id"]) for each in told] == [
        ("demo", "fired", "e1"),
        ("single", "fired", "e2"),
    ]
    shown = Console(file=StringIO(), width=120)
    shown.print(render(facts(BOOK, "x", back(owner.profile), ms(0))))
    assert "fired (due), told as it arrived" in shown.file.getvalue()  # type: ignore[attr-defined]
    assert "on_arrival" not in facts(BOOK, "x", owner.profile, ms(10))
