"""`date`: how far off a date is that was told, as a condition. Little histories, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.language.condition import Condition, compile_condition
from pipeline.language.memory import Entry, Moment
from pipeline.topology import lint
from tests.oracle.build import BASE, event, ms
from tests.oracle.language.build import MS, change, page, traits
from tests.oracle.language.compare import changes_differing
from tests.property.test_language import topology_of
from tests.replayed import replayed_with_changes
from tests.unit.test_docs_rules import beside

DAY = 1440
LATER = page("later", 5000)
"""Lets time go on up to there."""


def at(minutes: float) -> str:
    """A time as a sender tells it."""
    return (datetime.fromtimestamp(BASE / 1000, UTC) + timedelta(minutes=minutes)).isoformat()


def differing(when: Any, events: list[Any], expected: list[Any], folder: Path) -> str:
    told = {"time": {}, "triggers": {}, "segments": {"s": {"when": when}}}
    _, changes = replayed_with_changes(events, topology_of(told, folder))
    return changes_differing(expected, changes)


@pytest.mark.parametrize(
    ("so", "expected"),
    [
        ({"in": {"lte": "30m"}}, [change("entered", 30), change("left", 60 + MS)]),
        ({"in": {"lt": "30m"}}, [change("entered", 30 + MS), change("left", 60 + MS)]),
        ({"in": {"gt": "30m"}}, [change("entered", 0, "1"), change("left", 30)]),
        ({"in": {"between": ["10m", "30m"]}}, [change("entered", 30), change("left", 50 + MS)]),
        ({"in": {"is": "30m"}}, [change("entered", 30), change("left", 30 + MS)]),
        ({"in": {"is": "0s"}}, [change("entered", 60), change("left", 60 + MS)]),
        ({"ago": {"gte": "30m"}}, [change("entered", 90)]),
        ({"ago": {"gte": "30m", "lt": "1h"}}, [change("entered", 90), change("left", 120)]),
        ({"ago": {"lte": "30m"}}, [change("entered", 60), change("left", 90 + MS)]),
        ({"anniversary": {"lte": "30m"}}, [change("entered", 30), change("left", 60 + MS)]),
        ({"anniversary": {"gt": "364d"}}, [change("entered", 60 + MS), change("left", 60 + DAY)]),
    ],
    ids=str,
)
def test_time_alone_changes_it_to_the_millisecond(so: Any, expected: list[Any], tmp_path: Path) -> None:
    events = [traits("1", 0, ends=at(60)), LATER]
    assert differing({"date": "trait.ends", **so}, events, expected, tmp_path) == ""


def test_told_anew_the_last_one_counts(tmp_path: Path) -> None:
    events = [
        traits("1", 0, ends=at(60)),
        traits("2", 40, ends=at(300)),
        traits("3", 50, plan="pro"),  # tells no other
        traits("4", 280, ends="soon"),
        traits("5", 290, ends=at(310)),
        LATER,
    ]
    expected = [
        *(change("entered", 30), change("left", 40, "2")),
        *(change("entered", 270), change("left", 280, "4")),
        *(change("entered", 290, "5"), change("left", 310 + MS)),
    ]
    assert differing({"date": "trait.ends", "in": {"lte": "30m"}}, events, expected, tmp_path) == ""


def test_what_comes_late_counts_by_when_it_occurred(tmp_path: Path) -> None:
    events = [
        traits("1", 0, ends=at(60)),
        traits("earlier", -10, 35, ends=at(900)),
        traits("later", 10, 45, ends=at(50)),
        traits("past", 20, 100, ends=at(95)),
        traits("last", 30, 105, ends=at(110)),
        LATER,
    ]
    expected = [
        change("entered", 30),
        change("left", 50 + MS),
        change("entered", 105, "last"),
        change("left", 110 + MS),
    ]
    assert differing({"date": "trait.ends", "in": {"lte": "30m"}}, events, expected, tmp_path) == ""


def test_a_day_is_midnight_in_utc_and_what_is_no_date_holds_for_nothing(tmp_path: Path) -> None:
    when = {"date": "trait.ends", "in": {"lte": "30m"}}
    day = [change("entered", 810), change("left", 840 + MS)]
    assert differing(when, [traits("1", 0, ends="2026-03-03"), LATER], day, tmp_path) == ""
    number = [change("entered", 30), change("left", 60 + MS)]
    assert differing(when, [traits("1", 0, ends=str(ms(60))), LATER], number, tmp_path) == ""
    for told in ("soon", "2026-02-30", "none", "12"):
        for so in ({"in": {"gte": "0s"}}, {"ago": {"gte": "0s"}}, {"anniversary": {"gte": "0s"}}):
            assert differing({"date": "trait.ends", **so}, [traits("1", 0, ends=told), LATER], [], tmp_path) == ""
    assert differing({"date": "trait.ends", "ago": {"not": "1s"}}, [page("1", 0), LATER], [], tmp_path) == ""


def test_29_february_comes_on_28_february_in_other_years(tmp_path: Path) -> None:
    # BASE is 2 March 2026, 10:00. Two days and ten hours before that 28 February begins, and in 2028 29 February.
    before = 58 * 60
    in_2026, in_2027, in_2028 = -before, 365 * DAY - before, 731 * DAY - before
    events = [traits("1", -10_000, birthday="1996-02-29"), page("later", 800 * DAY)]
    expected = [
        each for day in (in_2026, in_2027, in_2028) for each in (change("entered", day - DAY), change("left", day + MS))
    ]
    assert differing({"date": "trait.birthday", "anniversary": {"lte": "1d"}}, events, expected, tmp_path) == ""


def test_an_events_field_is_that_of_the_last_one(tmp_path: Path) -> None:
    def custom(id_: str, when: float, name: str, **told: Any) -> Any:
        return event("custom", id_, when, name=name, properties=told)

    source = {"event": "custom", "where": {"name": "registered"}, "field": "properties.starts_at"}
    events = [
        custom("1", 0, "registered", starts_at=at(60)),
        custom("2", 35, "left", starts_at=at(900)),
        custom("3", 40, "registered"),
        custom("4", 45, "registered", starts_at=at(100)),
        LATER,
    ]
    expected = [change("entered", 30), change("left", 40, "3"), change("entered", 70), change("left", 100 + MS)]
    assert differing({"date": source, "in": {"lte": "30m"}}, events, expected, tmp_path) == ""


def compiled(way: str, **tests: Any) -> tuple[Condition, Any]:
    condition = compile_condition({"date": "trait.ends", way: tests})
    (matcher,) = condition.matchers()

    def then(date: int, now: int) -> Moment:
        told = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=date)).isoformat()
        return Moment({matcher.ledger(None): [Entry(0, 0, "1", 1, told)]}, now)

    return condition, then


@pytest.mark.parametrize("way", ["in", "ago", "anniversary"])
@pytest.mark.parametrize("tests", [{"gte": 3}, {"gt": 3}, {"lt": 3}, {"lte": 0}, {"is": 3}, {"not": 3},
                                   {"between": [2, 4]}, {"gt": 1, "lt": 5}], ids=str)  # fmt: skip
def test_it_turns_at_no_other_moment(way: str, tests: Any) -> None:
    condition, then = compiled(way, **tests)
    held = [condition.holds(then(BASE, BASE + off)) for off in range(-10, 11)]
    for off in range(-10, 10):
        found = condition.turns(then(BASE, BASE + off))
        first = next((other for other in range(off + 1, 11) if held[other + 10] != held[off + 10]), None)
        if first is not None:
            assert found == BASE + first
        else:
            assert found is None or found > BASE + 10 or way == "anniversary"


def test_why_it_fails_is_told() -> None:
    soon, then = compiled("in", lte=60_000)
    assert soon.fails(then(BASE, BASE)) == ""
    assert soon.fails(Moment({}, BASE)) == "trait.ends tells no date"
    assert soon.fails(then(BASE, BASE - 120_000)) == "trait.ends is at most 1m off, and it is 2m off"
    assert soon.fails(then(BASE, BASE - 90_061_001)).endswith("and it is 1d1h1m1s1ms off")
    assert soon.fails(then(BASE, BASE + 120_000)) == "trait.ends is at most 1m off, and it was 2m ago"
    long_ago, then = compiled("ago", gte=60_000)
    assert long_ago.fails(then(BASE, BASE + 1000)) == "trait.ends was at least 1m ago, and it was 1s ago"
    assert long_ago.fails(then(BASE, BASE - 1000)) == "trait.ends was at least 1m ago, and it is 1s off"
    yearly, then = compiled("anniversary", lte=60_000)
    assert yearly.fails(then(BASE, BASE - 120_000)) == (
        "the anniversary of trait.ends is at most 1m off, and it is 2m off"
    )


@pytest.mark.parametrize(
    ("when", "code", "words"),
    [
        ("{date: renewal, in: {lte: 30d}}", "bad-value", "write date: trait.renewal, or date: {event: "),
        ("{date: trait., in: {lte: 30d}}", "bad-value", "which trait tells the date?"),
        ("{date: trait.renewal}", "missing-key", "in or ago or anniversary is missing"),
        ("{date: trait.renewal, in: {lte: 3d}, ago: {lte: 3d}}", "conflict", "in and ago can't stand together"),
        ("{date: trait.renewal, in: {lte: 3d}, within: 3d}", "unknown-key", "within"),
        ("{date: trait.renewal, in: {most: 3d}}", "unknown-key", "most"),
        ("{date: trait.renewal, in: {lte: soon}}", "bad-duration", "soon"),
        ("{date: trait.renewal, in: {lt: 0s}}", "never-holds", "no number is that"),
        ("{date: trait.renewal, anniversary: {gte: 400d}}", "never-holds", "more than a year off"),
        ("{date: trait.renewal, anniversary: {between: [400d, 500d]}}", "never-holds", "more than a year off"),
        ("{date: {event: custom}, in: {lte: 3d}}", "missing-key", "field"),
        ("{date: {event: page_viewed, field: starts}, in: {lte: 3d}}", "unknown-field", "page_viewed has no field"),
        ("{date: {event: email_opened, field: confidence}, in: {lte: 3d}}", "bad-field", "tells no date"),
    ],
)
def test_what_is_wrong_is_said(when: str, code: str, words: str, tmp_path: Path) -> None:
    found = lint(beside(tmp_path, f"segments:\n  s: {{when: {when}}}\n"), {})
    assert [each.code for each in found if each.severity == "error"] == [code], found
    assert any(words in str(each) for each in found), found
