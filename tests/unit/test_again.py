"""When a key that has been decided may start anew: little histories, each with the decisions that it leads to, computed
by hand.
"""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.profile.profile import advance
from pipeline.runtime.replay import Replay
from pipeline.triggers import keys, marks
from tests.oracle.build import add, clear, login, view
from tests.replayed import FAR, as_event
from tests.ruled import decided, ruled

RULE = """
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  restart: {event: cart_viewed}
  after: 1h
  cancel: {event: cart_cleared, match: cart_id, reason: cleared}
  payload: [cart]
  again: always
"""
STAGES = "stages: [{name: first, after: 1h}, {name: last, after: 24h}]"
ALWAYS = ruled(RULE)
NEVER = ruled(RULE.replace("always", "never"))
RESTS = ruled(RULE.replace("always", "{after: 7d}"))
NEVER_STAGED = ruled(RULE.replace("always", "never").replace("after: 1h", STAGES))
RESTS_STAGED = ruled(RULE.replace("always", "{after: 2h}").replace("after: 1h", STAGES))
DAY = 1440
Told = list[dict[str, Any]]
FIRED = "65 fired due 1 60 key=c"

HISTORIES: list[tuple[str, Any, Told, list[str]]] = [
    ("always, as ever", ALWAYS, [add("1", 0), add("2", 100)], [FIRED, "165 fired due 2 160 key=c"]),
    ("never", NEVER, [add("1", 0), add("2", 100), view("3", 110), add("4", 9 * DAY)], [FIRED]),
    ("another key may", NEVER, [add("1", 0), add("2", 100, cart="d")], [FIRED, "165 fired due 2 160 key=d"]),
    (
        "as long as it waits, a further start moves it",
        NEVER,
        [add("1", 0), add("2", 30), view("3", 40)],
        ["105 fired due 3 100 key=c"],
    ),
    (
        "never where it fired: what was cancelled or overtaken bars nothing",
        NEVER,
        [add("1", 0), clear("2", 10), add("3", 20), add("4", 82), add("5", 200)],
        ["65 cancelled cleared 1 60 key=c by=2", "85 suppressed overtaken 3 80 key=c", "147 fired due 4 142 key=c"],
    ),
    (
        "so long after the last trigger was due, to the millisecond",
        RESTS,
        [add("1", 0), add("2", 60 + 7 * DAY - 1 / 60_000), add("3", 0, cart="d"), add("4", 60 + 7 * DAY, cart="d")],
        [FIRED, "65 fired due 3 60 key=d", f"{125 + 7 * DAY} fired due 4 {120 + 7 * DAY} key=d"],
    ),
    (
        "also told late, a start within that time begins nothing",
        RESTS,
        [add("1", 0), add("2", 60 + 7 * DAY - 1, 70 + 7 * DAY)],
        [FIRED],
    ),
    (
        "what didn't fire needs no rest",
        RESTS,
        [add("1", 0), clear("2", 10), add("3", 20), add("4", 82), add("5", 200)],
        [
            "65 cancelled cleared 1 60 key=c by=2",
            "85 suppressed overtaken 3 80 key=c",
            "147 fired due 4 142 key=c",
        ],
    ),
    (
        "of two who turn out to be one: what is open stays open, and after it nothing begins any more",
        NEVER,
        [add("1", 0), add("2", 90, who="u:1"), login("3", 100), add("4", 110), add("5", 9 * DAY)],
        [FIRED, "175 fired due 4 170 key=c"],
    ),
    (
        "of two who turn out to be one: what is open stays open, where it rests; after it the longer rest counts",
        RESTS,
        [add("1", 0), add("2", 90, who="u:1"), login("3", 100), add("4", 7 * DAY + 100)],
        [FIRED, "155 fired due 2 150 key=c"],
    ),
    (
        "of several reminders: a start that can't begin anew is nothing to what is left",
        NEVER_STAGED,
        [add("1", 0), add("2", 300), add("3", 3 * DAY)],
        ["65 fired due/first 1 60 key=c", f"{5 + DAY} fired due/last 1 {DAY} key=c"],
    ),
    (
        "of several reminders: a rest counts from the last that fired",
        RESTS_STAGED,
        [add("1", 0), add("2", 120), add("3", 200)],
        [
            "65 fired due/first 1 60 key=c",
            f"205 cancelled begun_anew/last 1 {DAY} key=c by=3",
            "265 fired due/first 3 260 key=c",
            f"{205 + DAY} fired due/last 3 {200 + DAY} key=c",
        ],
    ),
]


@pytest.mark.parametrize(
    ("topology", "events", "expected"), [each[1:] for each in HISTORIES], ids=[each[0] for each in HISTORIES]
)
def test_history(topology: Any, events: Told, expected: list[str]) -> None:
    assert decided(topology, sorted(events, key=lambda each: each["received_at"])) == expected


def test_what_never_starts_again_is_known_by_a_mark_when_all_else_is_gone() -> None:
    replay = Replay(NEVER)
    for told in (add("1", 0), add("2", 40 * DAY, cart="d")):
        list(replay.feed(as_event(told), FAR))
    (profile,) = replay.profiles.values()
    advance(replay.book, profile, FAR)
    (person,) = profile.persons
    state = person.rules["cart"]
    assert list(state.keys) == ["d"]
    assert marks.marked(state.marks, "c\0")
    assert decided(NEVER, [add("1", 0), add("2", 40 * DAY, cart="d"), add("3", 41 * DAY)])[-1].endswith(" key=d")


def test_a_rest_outlives_all_else_that_is_known_of_its_key() -> None:
    topology = ruled(RULE.replace("always", "{after: 30d}"))
    again = [add("1", 0), *[add(f"d{day}", day * DAY, cart=f"d{day}") for day in range(1, 29)], add("2", 29 * DAY)]
    assert [line for line in decided(topology, again) if line.endswith("key=c")] == [FIRED]
    later = [*again, add("3", 31 * DAY)]
    assert len([line for line in decided(topology, later) if line.endswith("key=c")]) == 2


def test_where_more_keys_rest_than_are_kept_a_decision_says_so() -> None:
    """Which may come too soon then."""
    replay = Replay(RESTS)
    made: list[Any] = []
    for number in range(keys.KEYS_KEPT + 100):
        made += replay.feed(as_event(add(f"e{number}", number, cart=f"c{number}")), FAR)
    made += replay.feed(as_event(add("again", 600, cart="c150")), FAR)
    made += replay.finish()
    assert [(each.due_at, each.bounded) for each in made if each.correlation_key == "c150"][1:] == [
        (as_event(add("x", 660)).received_at, True)
    ]
