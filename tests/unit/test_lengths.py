"""Waits of which the length isn't the same for all: little histories, each with the decisions that it leads to,
computed by hand.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.language import whereabouts, zones
from pipeline.language.whereabouts import Whereabouts
from pipeline.profile.profile import Profile, advance, decode, encode_profile
from pipeline.runtime.replay import Replay
from pipeline.triggers.rules import RuleBook
from tests.oracle.build import BASE, add, among, clear, event, login, order, update, view
from tests.replayed import FAR, as_event, replayed
from tests.ruled import decided, ruled

DAY = 1440
Told = list[dict[str, Any]]


def sub(id_: str, at: float, got: float | None = None, **told: Any) -> dict[str, Any]:
    """A subscription that lasts `lasts` days."""
    properties = {name: str(value) for name, value in told.items() if value is not None}
    return event("custom", id_, at, got, name="subscribed", properties=properties)


def stop(id_: str, at: float, got: float | None = None) -> dict[str, Any]:
    return event("custom", id_, at, got, name="stopped")


LASTS = ruled("""
lapsing:
  version: 1
  start: {event: custom, where: {name: subscribed}}
  restart: {event: page_viewed}
  after: {field: properties.lasts, unit: days}
  cancel: {event: custom, where: {name: stopped}, reason: stopped}
""")

FIELD: list[tuple[str, Told, list[str]]] = [
    ("as long as is told", [sub("1", 0, lasts=2)], [f"{2 * DAY + 5} fired due 1 {2 * DAY}"]),
    ("in parts of a day, too", [sub("1", 0, lasts="0.5")], [f"{DAY // 2 + 5} fired due 1 {DAY // 2}"]),
    *[
        (f"no wait: {lasts!r}", [sub("1", 0, lasts=lasts)], [])
        for lasts in (None, "", "0", "-1", "nan", "inf", "1e400", "soon", "1" * 40, "88", "1e-12")
    ],
    ("up to what is remembered", [sub("1", 0, lasts=87)], [f"{87 * DAY + 5} fired due 1 {87 * DAY}"]),
    (
        "the next one counts, though it is shorter",
        [sub("1", 0, lasts=30), sub("2", 10, lasts=1)],
        [f"{DAY + 15} fired due 2 {DAY + 10}"],
    ),
    (
        "what tells no length moves nothing",
        [sub("1", 0, lasts=2), sub("2", 10)],
        [f"{2 * DAY + 5} fired due 1 {2 * DAY}"],
    ),
    (
        "a restart, which tells none, moves it by the length that was told",
        [sub("1", 0, lasts=2), event("page_viewed", "2", 100, path="/")],
        [f"{2 * DAY + 105} fired due 2 {2 * DAY + 100}"],
    ),
    (
        "one that has ended and would have been longer than the next is decided with that",
        [sub("1", 0, lasts=30), stop("2", 10), sub("3", 20, lasts=1)],
        [f"{DAY + 25} fired due 3 {DAY + 20}", f"{DAY + 25} cancelled stopped 1 {30 * DAY} by=2"],
    ),
    (
        "what comes late counts as ever",
        [sub("1", 0, lasts=1), stop("2", 100, DAY + 60)],
        [f"{DAY + 5} fired due 1 {DAY}", f"{DAY + 60} retracted stopped 1 {DAY} by=2"],
    ),
    (
        "received later than it was due it is decided at once",
        [sub("1", 0, 2 * DAY, lasts=1)],
        [f"{2 * DAY} fired due 1 {DAY}"],
    ),
]


@pytest.mark.parametrize(("events", "expected"), [each[1:] for each in FIELD], ids=[each[0] for each in FIELD])
def test_as_long_as_its_start_tells(events: Told, expected: list[str]) -> None:
    assert decided(LASTS, sorted(events, key=lambda each: each["received_at"])) == expected


def test_of_several_items_the_least_counts_and_a_cart_without_goes_on() -> None:
    topology = ruled("""
cart:
  version: 1
  per: cart_id
  start: {event: cart_updated}
  after: {field: products.quantity, unit: hours}
  payload: [cart]
""")
    products = [{"product_id": "p", "quantity": 3}, {"product_id": "q", "quantity": 2}]
    events = [update("1", 0, products=products), update("2", 60, products=[{"product_id": "p"}])]
    assert decided(topology, events) == ["125 fired due 1 120 key=c"]
    (made,) = replayed(events, topology)
    assert [line["product"] for line in made["payload"]["lines"]] == ["p"]


def test_of_the_item_that_gave_the_key() -> None:
    topology = ruled("""
refill:
  version: 1
  per: products.product_id
  start: {event: order_completed}
  after: {field: products.quantity, unit: days}
""")
    products = [{"product_id": "p", "quantity": 3}, {"product_id": "q", "quantity": 2}, {"product_id": "r"}]
    assert decided(topology, [order("1", 0, products=products)]) == [
        f"{2 * DAY + 5} fired due 1 {2 * DAY} key=q",
        f"{3 * DAY + 5} fired due 1 {3 * DAY} key=p",
    ]


RULE = """
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  restart: {event: cart_viewed}
  after: {for: 1h, until: {time: "09:00"}}
  cancel: {event: cart_cleared, match: cart_id, reason: cleared}
"""
# BASE is Monday, 2026-03-02T10:00:00Z; the next 09:00 in UTC is 23 hours later, in Vienna 22, in Tokyo 14.
MORNING = ruled(RULE)
VIENNA = ruled(RULE, "zone: europe/vienna")
FRIDAYS = ruled(RULE.replace('"09:00"', '"09:00", days: [fri, mon]'))


def here(told: dict[str, Any], zone: str) -> dict[str, Any]:
    """The same, with the context's time zone."""
    return among(told, context={"timezone": zone})


def lives(id_: str, at: float, zone: str, got: float | None = None, who: str = "a:phone") -> dict[str, Any]:
    """They say where they live."""
    return event("identified", id_, at, got, who, traits={"Time Zone": zone})


def hours(number: float) -> int:
    return round(number * 60)


UNTIL: list[tuple[str, Any, Told, list[str]]] = [
    ("the next morning", MORNING, [add("1", 0)], [f"{hours(23) + 5} fired due 1 {hours(23)} key=c"]),
    (
        "not before so long has passed: exactly at the hour counts",
        MORNING,
        [add("1", hours(22)), add("2", hours(22) + 1, cart="d")],
        [f"{hours(23) + 5} fired due 1 {hours(23)} key=c", f"{hours(47) + 5} fired due 2 {hours(47)} key=d"],
    ),
    (
        "on one of the days",
        FRIDAYS,
        [add("1", 0), add("2", hours(96), cart="d")],
        [f"{hours(95) + 5} fired due 1 {hours(95)} key=c", f"{hours(167) + 5} fired due 2 {hours(167)} key=d"],
    ),
    (
        "a restart counts from its own hour",
        MORNING,
        [add("1", 0), view("2", hours(22.5))],
        [f"{hours(47) + 5} fired due 2 {hours(47)} key=c"],
    ),
    (
        "what ends it, as ever",
        MORNING,
        [add("1", 0), clear("2", 5)],
        [f"{hours(23) + 5} cancelled cleared 1 {hours(23)} key=c by=2"],
    ),
    (
        "where the topology says, if nobody knows",
        VIENNA,
        [add("1", 0)],
        [f"{hours(22) + 5} fired due 1 {hours(22)} key=c"],
    ),
    (
        "where they are, as the context tells",
        VIENNA,
        [here(add("1", 0), "Asia/Tokyo")],
        [f"{hours(14) + 5} fired due 1 {hours(14)} key=c"],
    ),
    (
        "where they live, if no context tells",
        MORNING,
        [lives("0", -10, "Asia/Tokyo"), add("1", 0)],
        [f"{hours(14) + 5} fired due 1 {hours(14)} key=c"],
    ),
    (
        "a context tells more than a trait, though that is told later",
        MORNING,
        [here(add("1", 0), "Europe/Vienna"), lives("2", 5, "Asia/Tokyo")],
        [f"{hours(22) + 5} fired due 1 {hours(22)} key=c"],
    ),
    (
        "what is no zone is as if it weren't told",
        MORNING,
        [here(add("1", 0), "Mars/Base")],
        [f"{hours(23) + 5} fired due 1 {hours(23)} key=c"],
    ),
    (
        "as far as it occurred in the first hour",
        MORNING,
        [here(add("1", 0), "Europe/Vienna"), here(clear("2", 60, cart="x"), "Asia/Tokyo")],
        [f"{hours(14) + 5} fired due 1 {hours(14)} key=c"],
    ),
    (
        "what occurred later moves nothing",
        MORNING,
        [here(add("1", 0), "Europe/Vienna"), here(clear("2", 61, cart="x"), "Asia/Tokyo")],
        [f"{hours(22) + 5} fired due 1 {hours(22)} key=c"],
    ),
    (
        "what is known by the decision counts: told late, it is sooner",
        MORNING,
        [add("1", 0), here(clear("2", 30, hours(10), cart="x"), "Asia/Tokyo")],
        [f"{hours(14) + 5} fired due 1 {hours(14)} key=c"],
    ),
    (
        "and is decided at once where it would have been due",
        MORNING,
        [add("1", 0), here(clear("2", 30, hours(20), cart="x"), "Asia/Tokyo")],
        [f"{hours(20)} fired due 1 {hours(14)} key=c"],
    ),
    (
        "of two who turn out to be one: where either was",
        MORNING,
        [here(add("0", -60, cart="x", who="u:1"), "Asia/Tokyo"), add("1", 0), login("2", 30), clear("3", 40, cart="x")],
        [
            f"{hours(14) + 5} fired due 1 {hours(14)} key=c",
            f"{hours(14) + 5} cancelled cleared 0 {hours(14)} key=x by=3",
        ],
    ),
]


@pytest.mark.parametrize(
    ("topology", "events", "expected"), [each[1:] for each in UNTIL], ids=[each[0] for each in UNTIL]
)
def test_up_to_a_time_of_day(topology: Any, events: Told, expected: list[str]) -> None:
    assert decided(topology, sorted(events, key=lambda each: each["received_at"])) == expected


@pytest.mark.parametrize("seed", range(60))
def test_however_events_are_read_decisions_are_the_same(seed: int) -> None:
    """In order of receipt, or moved about by less than the disorder, folded at once, or when something is due."""
    rng = Random(seed)
    told: Told = []
    for number in range(14):
        at = rng.choice([rng.randrange(0, 3000), 60 * rng.randrange(0, 60)])
        late = rng.choice([0, 0, 0, 3, 70, 600, 2000])
        who = rng.choice(["a:phone", "a:phone", "u:1", "a:phone u:1"])
        one = rng.choice([add, add, view, clear])(f"e{number}", at, at + late, who=who, cart=rng.choice(["c", "d"]))
        if rng.random() < 0.5:
            one = here(one, rng.choice(["Asia/Tokyo", "Europe/Vienna", "America/New_York"]))
        elif rng.random() < 0.3:
            one = lives(f"e{number}", at, rng.choice(["Asia/Tokyo", "Pacific/Apia"]), at + late, who)
        told.append(one)
    told.sort(key=lambda each: each["received_at"])
    made = decided(MORNING, told)
    assert decided(MORNING, sorted(told, key=lambda each: each["received_at"] + rng.randrange(0, 9_000))) == made
    eager = Replay(MORNING)
    out: list[Any] = []
    for each in told:
        out += eager.feed(as_event(each), FAR)
        for profile_id, profile in list(eager.profiles.items()):
            assert not advance(eager.book, profile, eager.high - eager.intake.disorder)
            state = decode(encode_profile(profile))
            assert isinstance(state, Profile)
            eager.profiles[profile_id] = state
            eager._arm(profile_id, state)
    out += eager.finish()
    assert sorted((each.decided_at, each.due_at) for each in out) == sorted(
        (BASE + 60_000 * float(line.split()[0]), BASE + 60_000 * float(line.split()[4])) for line in made
    )


def test_carts_that_lie_packed_are_told_where_they_are_too() -> None:
    carts = [add(f"s{n}", n / 10, cart=f"c{n}") for n in range(100)]
    made = decided(MORNING, [*carts, here(clear("z", 30, cart="none"), "Asia/Tokyo")])
    assert {line.split()[0] for line in made} == {str(hours(14) + 5)}
    assert len(made) == 100


# Times of day.

V, UTC_ZONE = "Europe/Vienna", "UTC"


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("after", "zone", "minute", "days", "expected"),
    [
        ("2026-03-02T10:00:00Z", UTC_ZONE, 540, range(7), "2026-03-03T09:00:00Z"),
        ("2026-03-02T09:00:00Z", UTC_ZONE, 540, range(7), "2026-03-02T09:00:00Z"),
        ("2026-03-02T09:00:00.001Z", UTC_ZONE, 540, [0], "2026-03-09T09:00:00Z"),
        # skipped: the first moment after it
        ("2026-03-28T12:00:00Z", V, 150, range(7), "2026-03-29T01:00:00Z"),
        ("2026-03-29T01:00:00.001Z", V, 150, range(7), "2026-03-30T00:30:00Z"),
        # twice: the earlier
        ("2026-10-25T00:00:00Z", V, 150, range(7), "2026-10-25T00:30:00Z"),
        ("2026-10-25T00:45:00Z", V, 150, range(7), "2026-10-26T01:30:00Z"),
        # a whole day is skipped
        ("2011-12-29T22:00:00Z", "Pacific/Apia", 540, [4], "2011-12-30T10:00:00Z"),
        # by half an hour
        ("2026-10-03T12:00:00Z", "Australia/Lord_Howe", 135, range(7), "2026-10-03T15:30:00Z"),
        ("2026-03-02T10:00:00.001Z", "Pacific/Kiritimati", 0, [1], "2026-03-09T10:00:00Z"),
    ],
)
def test_the_next_time_of_day(after: str, zone: str, minute: int, days: Any, expected: str) -> None:
    found = zones.next_time(ms(after), zone, minute, days)
    assert datetime.fromtimestamp(found / 1000, UTC) == datetime.fromisoformat(expected)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(ms("1995-01-01T00:00:00Z"), ms("2080-01-01T00:00:00Z")),
    st.sampled_from(sorted(zones.names())),
    st.integers(0, 1439),
    st.sets(st.integers(0, 6), min_size=1),
)
def test_the_next_time_of_day_is_none_before_and_within_a_week_and_a_day(
    after: int, zone: str, minute: int, days: set[int]
) -> None:
    found = zones.next_time(after, zone, minute, days)
    assert after <= found <= after + 9 * 86_400_000
    assert zones.next_time(found, zone, minute, days) == found
    assert found == after or zones.next_time((after + found) // 2, zone, minute, days) == found


@pytest.mark.parametrize(
    "told", ["", "America", "../etc/passwd", "/etc", "\0", "\ud800", "x" * 5000, "Europe/", "zones"]
)
def test_what_is_no_zone(told: str) -> None:
    assert zones.named(told) is None


def test_every_zone_can_be_read_and_moments_far_away_too() -> None:
    for name in zones.names():
        assert zones.named(name.upper()) == name
        assert zones.next_time(0, name, 540, range(7)) >= 0
    for far in (-(1 << 61), -62_135_596_800_000, 253_402_300_799_999, 1 << 61):
        assert zones.next_time(far, V, 540, range(7)) == far


# Where they were.


def told_of(seed: int) -> list[tuple[int, int, str]]:
    rng = Random(seed)
    return [
        (at := rng.randrange(100), at + rng.randrange(20), rng.choice(["Europe/Vienna", "Asia/Tokyo"]))
        for _ in range(8)
    ]


@pytest.mark.parametrize("seed", range(30))
def test_where_they_were_is_known_by_occurrence_and_bounded(seed: int) -> None:
    known: Whereabouts | None = None
    told = sorted(told_of(seed), key=lambda each: each[1])
    for number, (at, got, zone) in enumerate(told, 1):
        before = known
        known = whereabouts.tell(known, {"context.timezone": zone}, at, got, "e")
        assert known is not None
        assert known is before or [known.at(t) for t in range(130)] != (before and [before.at(t) for t in range(130)])
        assert known.at(200) == max(told[:number])[2]
    for number in range(100):
        known = whereabouts.tell(
            known, {"context.timezone": ["UTC", "Asia/Tokyo"][number % 2]}, 1000 + number, 1000 + number, "e"
        )
    assert known is not None
    assert len(known.context) == whereabouts.KEPT


@pytest.mark.parametrize("seed", range(30))
def test_where_two_were_who_are_one(seed: int) -> None:
    def of(told: list[tuple[int, int, str]]) -> Whereabouts | None:
        known: Whereabouts | None = None
        for at, got, zone in told:
            known = whereabouts.tell(known, {"context.timezone": zone}, at, got, "e")
        return known

    a, b, c = (of(told_of(3 * seed + part)[:3]) for part in range(3))
    one = whereabouts.joined(whereabouts.joined(a, b), c)
    other = whereabouts.joined(c, whereabouts.joined(b, a))
    assert one is not None
    assert other is not None
    assert [one.at(t) for t in range(130)] == [other.at(t) for t in range(130)]
    assert whereabouts.joined(one, one) == one


def test_rules_that_have_none_of_it_keep_nothing_of_it() -> None:
    book = RuleBook(ruled("cart: {version: 1, start: {event: product_added}, after: 1h}"))
    assert book.clocked == []
    replay = Replay(ruled("cart: {version: 1, start: {event: product_added}, after: 1h}"))
    list(replay.feed(as_event(here(add("1", 0), V)), FAR))
    (profile,) = replay.profiles.values()
    advance(replay.book, profile, BASE + 60_000)
    (person,) = profile.persons
    assert person.whereabouts is None
