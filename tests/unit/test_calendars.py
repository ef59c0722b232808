"""Days, weeks and months where somebody is. Little histories, worked out by hand; and moments in every zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.language import zones
from pipeline.language.calendars import UNITS, Calendar
from pipeline.topology import lint
from tests.oracle.build import BASE, Event, among, event
from tests.oracle.language.build import change, page, rules, traits
from tests.oracle.language.compare import changes_differing
from tests.property.test_language import topology_of
from tests.replayed import replayed_with_changes
from tests.unit.test_docs_rules import beside

# BASE is Monday, 2 March 2026, 10:00 in UTC.
AUCKLAND, VIENNA = "Pacific/Auckland", "Europe/Vienna"  # 23:00 and 11:00
HOUR, DAY = 60, 1440


def here(told: Event, zone: str) -> Event:
    """The same, with the context's time zone."""
    return among(told, context={"timezone": zone})


def differing(when: Any, events: list[Event], expected: list[Any], folder: Path, zone: str = "UTC") -> str:
    told = rules({"s": when})
    told["time"]["zone"] = zone
    _, changes = replayed_with_changes(events, topology_of(told, folder))
    return changes_differing(expected, changes)


@pytest.mark.parametrize(
    ("unit", "zone", "end"),
    [
        ("day", AUCKLAND, HOUR),
        ("day", VIENNA, 13 * HOUR),
        ("week", VIENNA, 6 * DAY + 13 * HOUR),
        ("month", VIENNA, 29 * DAY + 12 * HOUR),  # an hour less: summer time
    ],
)
def test_it_ends_where_they_are(unit: str, zone: str, end: float, tmp_path: Path) -> None:
    events = [here(page("1", 0), zone), event("searched", "later", 40 * DAY)]
    expected = [change("entered", 0, "1"), change("left", end)]
    assert differing({"did": "page_viewed", "calendar": unit}, events, expected, tmp_path) == ""


def test_of_whom_nobody_knows_where_they_are_it_is_the_topologys(tmp_path: Path) -> None:
    events = [page("1", 0), event("searched", "later", 2 * DAY)]
    expected = [change("entered", 0, "1"), change("left", HOUR)]
    assert differing({"did": "page_viewed", "calendar": "day"}, events, expected, tmp_path, AUCKLAND) == ""


def test_who_is_somewhere_else_may_be_in_another_day(tmp_path: Path) -> None:
    """At 10:30 it is 23:30 in Auckland, and half past eleven of the same day in Vienna."""
    events = [
        here(page("1", 0), AUCKLAND),
        here(event("searched", "moved", 70), VIENNA),  # ten minutes past midnight in Auckland
        traits("lived", 80, timezone=AUCKLAND),  # says less than what they do
        event("searched", "later", 2 * DAY),
    ]
    expected = [
        *(change("entered", 0, "1"), change("left", HOUR)),
        *(change("entered", 70), change("left", 13 * HOUR)),
    ]
    assert differing({"did": "page_viewed", "calendar": "day"}, events, expected, tmp_path) == ""


def test_a_date_without_a_time_is_midnight_where_they_are(tmp_path: Path) -> None:
    events = [
        here(traits("1", 0, ends="2026-03-03"), AUCKLAND),
        here(event("searched", "moved", 90), VIENNA),
        event("searched", "later", 2 * DAY),
    ]
    expected = [
        *(change("entered", 0, "1"), change("left", HOUR + 1 / 60_000)),
        *(change("entered", 12 * HOUR), change("left", 13 * HOUR + 1 / 60_000)),
    ]
    assert differing({"date": "trait.ends", "in": {"lte": "1h"}}, events, expected, tmp_path) == ""


@given(
    st.integers(min_value=0, max_value=4_000_000_000_000),
    st.sampled_from(sorted(zones.names())),
    st.sampled_from(UNITS),
)
def test_every_moment_lies_in_one_unit(at: int, zone: str, unit: str) -> None:
    calendar = Calendar(unit, "UTC")
    begin, end = calendar.begin(at, zone), calendar.end(at, zone)
    assert begin <= at < end
    assert at - begin <= calendar.most
    for moment in (begin, (begin + at) // 2, end - 1):
        assert (calendar.begin(moment, zone), calendar.end(moment, zone)) == (begin, end)
    local = datetime.fromtimestamp(begin / 1000, UTC).astimezone(zones.zone(zone))
    before = local - timedelta(days=1)
    if unit == "week":  # where Monday is left out it begins with what comes next
        assert local.weekday() == 0 or (local.date() - before.date()).days != 1 or local.weekday() < 3
    if unit == "month":
        assert local.day <= 2


@pytest.mark.parametrize(
    ("when", "code", "words"),
    [
        ("{did: searched, within: 7d, calendar: week}", "conflict", "within and calendar can't stand together"),
        ("{did: searched, calendar: weeks}", "bad-value", "week"),
        ("{did: searched, calender: week}", "unknown-key", "calendar"),
        ("{visits: 3, within: 7d, calendar: week}", "conflict", "within and calendar"),
    ],
)
def test_what_is_wrong_is_said(when: str, code: str, words: str, tmp_path: Path) -> None:
    found = lint(beside(tmp_path, f"segments:\n  s: {{when: {when}}}\n"), {})
    assert [each.code for each in found if each.severity == "error"] == [code], found
    assert any(words in str(each) for each in found), found


def test_begins_and_ends_of_summer_time() -> None:
    day = Calendar("day", "UTC")
    noon = (datetime(2026, 3, 29, 12, tzinfo=UTC) - zones.EPOCH) // zones.MS
    assert day.end(noon, VIENNA) - day.begin(noon, VIENNA) == 23 * 3_600_000
    assert BASE in range(day.begin(BASE, AUCKLAND), day.end(BASE, AUCKLAND))


@pytest.mark.parametrize(
    ("leaf", "codes"),
    [
        ("{did: product_viewed, times: 3}", ["no-window"]),
        ("{did: product_viewed, times: 3, within: 7d}", []),
        ("{did: product_viewed, times: 3, calendar: day}", []),
        ("{did: searched, times: 3}", []),  # of the person
        ("{did: wishlist_product_added, where: {product_id: key}}", ["no-window"]),
        ("{did: wishlist_product_added, where: {product_id: key}, within: 7d}", []),
    ],
)
def test_what_counts_by_key_is_asked_for_a_window(leaf: str, codes: list[str], tmp_path: Path) -> None:
    rule = f"{{version: 1, per: product_id, start: {{when: {leaf}}}, after: 1h}}"
    found = lint(beside(tmp_path, f"triggers:\n  r: {rule}\n"), {})
    assert [each.code for each in found] == codes, found
