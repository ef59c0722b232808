"""What came of a trigger: little histories, each with the decisions that it leads to, computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.profile.profile import Profile, advance, decode, encode_profile, wakes_at
from pipeline.runtime.deliver import ACTED_ON
from pipeline.runtime.replay import Replay
from pipeline.triggers.decisions import recovery_id
from pipeline.triggers.recoveries import CREDITS_KEPT
from tests.oracle.build import add, clear, login, order
from tests.replayed import FAR, as_event, replayed
from tests.ruled import decided, ruled

RULE = """
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  after: 1h
  cancel:
    - {event: order_completed, match: cart_id, without_key: all, takes: products, reason: bought}
    - {event: cart_cleared, match: cart_id, reason: cleared}
  payload: [cart]
  recovered: {within: 5d}
"""
CART = ruled(RULE)
EITHER = ruled(RULE.replace("5d", "2h, by: [cleared, bought]"))
STAGED = ruled(RULE.replace("after: 1h", "stages: [{name: first, after: 1h}, {name: last, after: 24h}]"))
DAY = 1440
Told = list[dict[str, Any]]
FIRED = "65 fired due 1 60 key=c"

HISTORIES: list[tuple[str, Any, Told, list[str]]] = [
    (
        "who buys after a reminder was sent recovers, when that is received",
        CART,
        [add("1", 0), order("2", 300, 302, cart="c")],
        [FIRED, "302 recovered bought 1 60 key=c by=2"],
    ),
    (
        "not who buys before it was decided: that overtakes it, or told too late is nothing",
        CART,
        [add("1", 0), order("2", 65, 80, cart="c")],
        [FIRED],
    ),
    (
        "up to the end of the time that there is for it, and no longer",
        CART,
        [
            add("1", 0),
            add("2", 0, cart="d"),
            order("3", 60 + 5 * DAY, cart="c"),
            order("4", 61 + 5 * DAY, cart="d"),
        ],
        [FIRED, "65 fired due 2 60 key=d", f"{60 + 5 * DAY} recovered bought 1 60 key=c by=3"],
    ),
    (
        "told up to three days late",
        CART,
        [add("1", 0), order("2", 60 + 5 * DAY, 60 + 8 * DAY, cart="c")],
        [FIRED, f"{60 + 8 * DAY} recovered bought 1 60 key=c by=2"],
    ),
    ("only for the first cancel's reason, where nothing is said", CART, [add("1", 0), clear("2", 300)], [FIRED]),
    (
        "else for those that are named",
        EITHER,
        [add("1", 0), clear("2", 180)],
        [FIRED, "180 recovered cleared 1 60 key=c by=2"],
    ),
    (
        "once: a second order is nothing more",
        CART,
        [add("1", 0), order("2", 300, cart="c"), order("3", 310, cart="c", order_id="o-2")],
        [FIRED, "300 recovered bought 1 60 key=c by=2"],
    ),
    (
        "the last trigger gets it, and those before it get none any more",
        CART,
        [add("1", 0), add("2", 200), order("3", 300, cart="c"), order("4", 320, cart="c", order_id="o-2")],
        [FIRED, "265 fired due 2 260 key=c", "300 recovered bought 2 260 key=c by=3"],
    ),
    (
        "also by an order that ends the next wait",
        CART,
        [add("1", 0), add("2", 290), order("3", 300, cart="c")],
        [FIRED, "300 recovered bought 1 60 key=c by=3", "355 cancelled bought 2 350 key=c by=3"],
    ),
    (
        "told late, the last that was sent by then gets what takes the later one back",
        CART,
        [add("1", 0), add("2", 200), order("3", 250, 400, cart="c")],
        [
            FIRED,
            "265 fired due 2 260 key=c",
            "400 recovered bought 1 60 key=c by=3",
            "400 retracted bought 2 260 key=c by=3",
        ],
    ),
    (
        "what was taken back recovers nothing",
        CART,
        [add("1", 0), order("2", 30, 100, cart="c"), order("3", 300, cart="c", order_id="o-2")],
        [FIRED, "100 retracted bought 1 60 key=c by=2"],
    ),
    (
        "an order without a cart id is the success of each",
        CART,
        [add("1", 0), add("2", 0, cart="d"), order("3", 300)],
        [
            FIRED,
            "65 fired due 2 60 key=d",
            "300 recovered bought 1 60 key=c by=3",
            "300 recovered bought 2 60 key=d by=3",
        ],
    ),
    (
        "an order of another cart is, if it holds all that was told",
        CART,
        [
            add("1", 0),
            add("2", 0, cart="d", product_id="q"),
            order("3", 300, cart="x", products=[{"product_id": "p"}]),
        ],
        [FIRED, "65 fired due 2 60 key=d", "300 recovered bought 1 60 key=c by=3"],
    ),
    (
        "of two who turn out to be one",
        CART,
        [add("1", 0), login("2", 200), order("3", 300, who="u:1", cart="c")],
        [FIRED, "300 recovered bought 1 60 key=c by=3"],
    ),
    (
        "of several reminders the last one that was sent, beside the end of those that are left",
        STAGED,
        [add("1", 0), order("2", 300, cart="c")],
        [
            "65 fired due/first 1 60 key=c",
            "300 recovered bought/first 1 60 key=c by=2",
            "305 cancelled bought/last 1 1440 key=c by=2",
        ],
    ),
]


@pytest.mark.parametrize(
    ("topology", "events", "expected"), [each[1:] for each in HISTORIES], ids=[each[0] for each in HISTORIES]
)
def test_history(topology: Any, events: Told, expected: list[str]) -> None:
    assert decided(topology, sorted(events, key=lambda each: each["received_at"])) == expected


def test_its_id_is_made_from_the_triggers_which_it_names() -> None:
    fired, recovered = replayed([add("1", 0), order("2", 300, cart="c")], CART)
    assert recovered["recovers"] == fired["id"]
    assert recovered["id"] == recovery_id(fired["id"]) != fired["id"]
    assert "recovered" in ACTED_ON


def _stored(profile: Profile) -> Profile:
    state = decode(encode_profile(profile))
    assert isinstance(state, Profile)
    return state


def test_it_is_looked_for_when_it_comes_and_forgotten_when_it_can_not() -> None:
    replay = Replay(CART)
    list(replay.feed(as_event(add("1", 0)), FAR))
    (profile,) = replay.profiles.values()
    made: list[Any] = [*advance(replay.book, profile, as_event(add("x", 70)).received_at)]
    assert [each.outcome for each in made] == ["fired"]
    profile = replay.profiles[next(iter(replay.profiles))] = _stored(profile)
    (person,) = profile.persons
    (credit,) = person.rules["cart"].keys["c"].credits
    assert credit.until == as_event(add("x", 60 + 5 * DAY)).received_at
    other = _stored(profile)
    event = as_event(order("2", 5 * DAY, cart="c"))
    list(replay.feed(event, FAR))
    assert wakes_at(replay.book, profile) == event.received_at
    for number, days in enumerate((7, 9)):
        replay.profiles[next(iter(replay.profiles))] = other
        list(replay.feed(as_event(add(f"a{number}", days * DAY, cart="d")), FAR))
        advance(replay.book, other, FAR)
        (person,) = other.persons
        assert bool(person.rules["cart"].keys["c"].credits) == (days == 7)


def test_of_a_key_that_fires_again_and_again_the_last_are_kept() -> None:
    replay = Replay(CART)
    for number in range(3 * CREDITS_KEPT):
        list(replay.feed(as_event(add(f"e{number}", 70 * number)), FAR))
    (profile,) = replay.profiles.values()
    advance(replay.book, profile, FAR)
    (person,) = profile.persons
    assert len({fired.digest for fired in person.rules["cart"].keys["c"].credits}) == CREDITS_KEPT


def test_carts_that_lie_packed_are_found_again() -> None:
    carts = [add(f"s{n}", n, cart=f"c{n}") for n in range(80)]
    made = decided(CART, [*carts, order("3", DAY)])
    assert sum(" recovered bought " in line for line in made) == 80
