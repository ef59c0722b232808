"""Waits up to a date that was told: little histories, each with the decisions that it leads to, computed by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.runtime.replay import Replay
from pipeline.topology.model import Date
from pipeline.triggers.dates import Dated
from tests.oracle.build import BASE, among, event, login
from tests.replayed import as_event, replayed
from tests.ruled import decided, ruled

RULE = """
due:
  version: 1
  start: {date: {trait: renewal}}
  cancel: {event: order_completed, reason: renewed}
"""
PLAIN = ruled(RULE)
BEFORE = ruled(RULE.replace("renewal}", 'renewal, offset: -1d, at: "09:00"}'))
LATER = ruled(RULE + "  after: 1h\n")
YEARLY = ruled(RULE.replace("renewal}", "renewal, every: year}"))
NEVER = ruled(RULE + "  again: never\n")
COURSE = ruled("""
due:
  version: 1
  per: properties.course
  start: {date: {event: custom, where: {name: registered}, field: properties.starts_at, offset: 1h}}
  cancel: {event: custom, where: {name: left}, match: properties.course, reason: left}
""")
DAY = 1440
Told = list[dict[str, Any]]


def at(minutes: float) -> str:
    """A time as a sender tells it."""
    return datetime.fromtimestamp(BASE / 1000 + minutes * 60, UTC).isoformat().replace("+00:00", "Z")


def tell(
    id_: str, when: float, date: str | None, got: float | None = None, *, who: str = "a:phone", zone: str = ""
) -> Any:
    told = event("identified", id_, when, got, who, traits={} if date is None else {"renewal": date})
    return among(told, context={"timezone": zone}) if zone else told


def order(id_: str, when: float, got: float | None = None, *, who: str = "a:phone") -> dict[str, Any]:
    return event("order_completed", id_, when, got, who, order_id=id_)


def registers(id_: str, when: float, course: str, starts: str | None, name: str = "registered") -> dict[str, Any]:
    told = {"course": course} | ({} if starts is None else {"starts_at": starts})
    return event("custom", id_, when, None, name=name, properties=told)


HISTORIES: list[tuple[str, Any, Told, list[str]]] = [
    ("it is due at the date", PLAIN, [tell("1", 0, at(100))], ["105 fired due 1 100"]),
    ("and so long after it", LATER, [tell("1", 0, at(100))], ["165 fired due 1 160"]),
    ("now is not past", PLAIN, [tell("1", 100, at(100))], ["105 fired due 1 100"]),
    ("past when it is told: nothing starts", PLAIN, [tell("1", 101, at(100))], []),
    ("no date", PLAIN, [tell("1", 0, "soon"), tell("2", 1, ""), tell("3", 2, "2026-02-30")], []),
    ("told again it is the same", PLAIN, [tell("1", 0, at(100)), tell("2", 50, at(100))], ["105 fired due 1 100"]),
    ("in another form too", PLAIN, [tell("1", 0, at(100)), tell("2", 50, at(100).replace("Z", "+00:00"))],
     ["105 fired due 1 100"]),
    ("nor after it has come", PLAIN, [tell("1", 0, at(100)), tell("2", 102, at(100)), tell("3", 200, at(100))],
     ["105 fired due 1 100"]),
    ("what tells nothing of it changes nothing", PLAIN, [tell("1", 0, at(100)), tell("2", 50, None)],
     ["105 fired due 1 100"]),
    ("changed, it moves", PLAIN, [tell("1", 0, at(100)), tell("2", 50, at(200))], ["205 fired due 2 200"]),
    ("also to an earlier one", PLAIN, [tell("1", 0, at(200)), tell("2", 50, at(100))], ["105 fired due 2 100"]),
    ("the last told by when it occurred", PLAIN, [tell("2", 50, at(200)), tell("1", 0, at(100), 60)],
     ["205 fired due 2 200"]),
    ("and back again", PLAIN, [tell("1", 0, at(100)), tell("2", 10, at(200)), tell("3", 20, at(100))],
     ["105 fired due 3 100"]),
    ("changed to none", PLAIN, [tell("1", 0, at(100)), tell("2", 50, "none")],
     ["105 cancelled date_changed 1 100 by=2"]),
    ("changed to a past one", PLAIN, [tell("1", 0, at(100)), tell("2", 50, at(20))],
     ["105 cancelled date_changed 1 100 by=2"]),
    ("and to one that comes, again", PLAIN, [tell("1", 0, at(100)), tell("2", 50, "none"), tell("3", 60, at(100))],
     ["105 cancelled date_changed 1 100 by=2", "105 fired due 3 100"]),
    ("changed when it has come, but before that is decided", PLAIN, [tell("1", 0, at(100)), tell("2", 103, at(200))],
     ["105 suppressed overtaken 1 100", "205 fired due 2 200"]),
    ("known in time to have been changed", PLAIN, [tell("1", 0, at(100)), tell("2", 99, at(200), 105)],
     ["205 fired due 2 200"]),
    ("known too late", PLAIN, [tell("1", 0, at(100)), tell("2", 99, at(200), 106)], ["105 fired due 1 100"]),
    ("cancelled", PLAIN, [tell("1", 0, at(100)), order("2", 50)], ["105 cancelled renewed 1 100 by=2"]),
    ("told again after that it is still the same", PLAIN,
     [tell("1", 0, at(100)), order("2", 50), tell("3", 60, at(100))], ["105 cancelled renewed 1 100 by=2"]),
    ("also where that is known only later", PLAIN,
     [tell("1", 0, at(100)), order("2", 50), tell("3", 60, at(100), 110)], ["105 cancelled renewed 1 100 by=2"]),
    ("but another date isn't", PLAIN, [tell("1", 0, at(100)), order("2", 50), tell("3", 60, at(200))],
     ["105 cancelled renewed 1 100 by=2", "205 fired due 3 200"]),
    ("a late end takes it back", PLAIN, [tell("1", 0, at(100)), order("2", 50, 110)],
     ["105 fired due 1 100", "110 retracted renewed 1 100 by=2"]),
    ("never again", NEVER, [tell("1", 0, at(100)), tell("2", 200, at(300))], ["105 fired due 1 100"]),
    ("each key has its own, and an offset", COURSE, [registers("1", 0, "a", at(100)), registers("2", 1, "b", at(50))],
     ["115 fired due 2 110 key=b", "165 fired due 1 160 key=a"]),
    ("a key's date changes", COURSE, [registers("1", 0, "a", at(100)), registers("2", 1, "a", at(50))],
     ["115 fired due 2 110 key=a"]),
    ("a key's date is told no more", COURSE, [registers("1", 0, "a", at(100)), registers("2", 1, "a", None)],
     ["165 cancelled date_changed 1 160 key=a by=2"]),
    ("other events end it", COURSE, [registers("1", 0, "a", at(100)), registers("2", 1, "a", None, "left")],
     ["165 cancelled left 1 160 key=a by=2"]),
    ("two who turn out to be one: the last told counts", PLAIN,
     [tell("1", 0, at(100)), tell("2", 10, at(200), who="u:1"), login("3", 20)], ["205 fired due 2 200"]),
    ("both told the same", PLAIN,
     [tell("1", 0, at(100)), tell("2", 10, at(100), who="u:1"), login("3", 20)], ["105 fired due 1 100"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("topology", "events", "expected"), [case[1:] for case in HISTORIES], ids=[c[0] for c in HISTORIES]
)
def test_what_is_decided(topology: Any, events: Told, expected: list[str]) -> None:
    assert decided(topology, events) == expected


def due_at(topology: Any, *events: dict[str, Any]) -> list[str]:
    return [each["due_at"] for each in replayed(events, topology)]


def test_a_day_is_one_where_the_person_is() -> None:
    assert due_at(BEFORE, tell("1", 0, "2026-03-30")) == ["2026-03-29T09:00:00.000Z"]
    # the clocks go forward on that day
    assert due_at(BEFORE, tell("1", 0, "2026-03-30", zone="Europe/Vienna")) == ["2026-03-29T07:00:00.000Z"]
    assert due_at(BEFORE, tell("1", 0, "2026-03-29", zone="Europe/Vienna")) == ["2026-03-28T08:00:00.000Z"]
    assert due_at(BEFORE, tell("1", 0, "2026-03-30", zone="America/New_York")) == ["2026-03-29T13:00:00.000Z"]
    assert due_at(PLAIN, tell("1", 0, "2026-03-30", zone="America/New_York")) == ["2026-03-30T04:00:00.000Z"]
    assert due_at(PLAIN, tell("1", 0, "2026-03-30T01:00:00Z", zone="America/New_York")) == ["2026-03-30T01:00:00.000Z"]


def test_where_the_person_is_may_be_told_later() -> None:
    moved = [tell("1", 0, "2026-03-30"), tell("2", 60, None, zone="Europe/Vienna")]
    assert due_at(BEFORE, *moved) == ["2026-03-29T07:00:00.000Z"]


def test_the_moment_is_part_of_the_id() -> None:
    events = [tell("1", 0, "2026-03-30")]
    ids = {each["id"] for rule in (PLAIN, BEFORE, LATER) for each in replayed(events, rule)}
    assert len(ids) == 2, "so long after it is the same moment"


def days(events: Told, *, until: str) -> list[str]:
    """On which days something is due, as time goes on to there."""
    replay = Replay(YEARLY)
    moment = round(datetime.fromisoformat(until).timestamp() * 1000)
    made = [decision for each in events for decision in replay.feed(as_event(each), moment)]
    made += replay.finish(moment)
    return [datetime.fromtimestamp(each.due_at / 1000, UTC).date().isoformat() for each in made]


def test_every_year_it_comes_again() -> None:
    # what is open at the end is decided, and nothing opens any more
    birthday = [tell("1", 0, "1984-02-29")]
    assert days(birthday, until="2029-01-01T00:00:00Z") == ["2027-02-28", "2028-02-29", "2029-02-28"]


def test_a_year_that_was_cancelled_is_one_only() -> None:
    year = [tell("1", 0, "1990-07-01"), order("2", 50), tell("3", 60, "1990-07-01")]
    first, *others = days(year, until="2027-01-01T00:00:00Z")
    assert [first, *others] == [f"{int(first[:4]) + n}-07-01" for n in range(len(others) + 1)]
    assert len(others) >= 1


def test_another_date_that_becomes_known_when_the_next_year_has_begun_counts() -> None:
    # the first is renewed, and so its next year begins when it would have come; the other had been told before that
    history = [tell("1", 0, at(100)), order("2", 50), tell("3", 99, at(200), 106), order("4", 400)]
    assert decided(YEARLY, history)[:2] == ["105 cancelled renewed 1 100 by=2", "205 fired due 3 200"]
    assert [line.split()[1:4] for line in decided(YEARLY, history)[2:]] == [["cancelled", "renewed", "3"]]


def test_told_again_it_is_the_first_that_told_it_whose_next_year_begins() -> None:
    history = [tell("1", 0, at(100)), tell("2", 50, at(100)), order("3", 400)]
    assert [line.split()[3] for line in decided(YEARLY, history)] == ["1", "1"]


def test_a_date_that_was_told_instead_begins_its_own_next_year_alone() -> None:
    history = [tell("1", 0, at(200)), order("2", 50), tell("3", 60, at(100)), order("4", 400)]
    assert [line.split()[3] for line in decided(YEARLY, history)] == ["3", "1", "3"]


def test_what_is_told_of_a_date_never_raises() -> None:
    dated = Dated(Date(path="traits.x", zone="UTC", offset_ms=-(10**11), minute=0, yearly=True))
    plain = Dated(Date(path="traits.x", zone="Asia/Tokyo", offset_ms=10**11))
    strange = [
        "0001-01-01",
        "9999-12-31",
        "9999-12-31T23:59:59Z",
        "x" * 10_000,
        "1" * 400,
        -1,
        0,
        10**30,
        1e308,
        True,
        [],
        {},
        ["2026-01-01"],
        "2026-13-01",
        "2026-00-00",
        "²026-01-01",
        "2026-01-01T",
        float("nan"),
        "1700000000",
    ]
    for told in strange:
        for at_ in (0, BASE, 10**14, -(10**14)):
            for each in (dated, plain):
                found = each.length({"traits.x": told}, at_, None)
                assert found is None or found >= 0
