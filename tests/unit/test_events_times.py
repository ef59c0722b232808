"""Times in every form, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.events.times import EARLIEST, LATEST, event_times, read, read_time

AT = 1_763_979_600_000  # 2025-11-24T10:20:00Z


def ms(*parts: int) -> int:
    return (datetime(*parts, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        # ISO 8601
        ("2025-11-24T10:20:00Z", 0),
        ("2025-11-24T10:20:00.000Z", 0),
        ("2025-11-24t10:20:00z", 0),
        ("2025-11-24 10:20:00", 0),
        ("2025-11-24 10:20", 0),
        ("2025-11-24T10:20:00,25Z", 250),
        ("2025-11-24T10:20:00.1Z", 100),
        ("2025-11-24T10:20:00.0019Z", 1),
        ("2025-11-24T10:20:00.999999999999Z", 999),
        ("2025-11-24T10:20.5Z", 30_000),
        ("2025-11-24T10,5Z", 600_000),
        ("2025-11-24T10Z", -1_200_000),
        ("20251124T102000Z", 0),
        ("20251124T1020Z", 0),
        ("2025-W48-1T10:20:00Z", 0),
        ("2025W481T102000Z", 0),
        ("2025-328T10:20:00Z", 0),
        ("2025328T102000Z", 0),
        ("2025-11-24T11:20:00+01:00", 0),
        ("2025-11-24T11:20:00+0100", 0),
        ("2025-11-24T11:20:00+01", 0),
        ("2025-11-24T05:20:00-05:00", 0),
        ("2025-11-24T05:20:00\u221205:00", 0),
        ("2025-11-24T15:50:00+05:30", 0),
        ("2025-11-24 11:20:00 +0100", 0),
        ("2025-11-24 10:20:00 UTC", 0),
        ("2025-11-24T11:20:00+01:00[Europe/Vienna]", 0),
        ("2025-11-24T10:20:00Z[UTC]", 0),
        ("2025-11-24 11:20:00.5 +0100 CET m=+0.01", 500),
        ("+002025-11-24T10:20:00.000Z", 0),
        ("2025/11/24 10:20:00", 0),
        ("2025-11-24, 10:20:00", 0),
        (" 2025-11-24T10:20:00Z\n", 0),
        ('"2025-11-24T10:20:00Z"', 0),
        ('"\\"2025-11-24T10:20:00Z\\""', 0),
        # in words
        ("Mon, 24 Nov 2025 10:20:00 GMT", 0),
        ("Mon, 24 Nov 2025 10:20:00 +0000", 0),
        ("24 Nov 2025 05:20:00 -0500", 0),
        ("24 Nov 25 05:20 EST", 0),
        ("Mon, 24 Nov 2025 11:20:00 +0100 (CET)", 0),
        ("Monday, 24-Nov-25 10:20:00 GMT", 0),
        ("Mon Nov 24 10:20:00 2025", 0),
        ("Mon Nov 24 11:20:00 CET 2025", 0),
        ("Mon Nov 24 2025 11:20:00 GMT+0100 (Central European Standard Time)", 0),
        ("Mon Nov 24 2025 11:20:00 GMT+0100 (Mitteleuropäische Normalzeit)", 0),
        ("Mon Nov 24 2025 05:20:00 GMT-0500", 0),
        ("Nov 24, 2025, 10:20:00 AM", 0),
        ("November 24, 2025 10:20 PM", 43_200_000),
        # numbers
        ("1763979600", 0),
        ("1763979600.25", 250),
        ("1.7639796e9", 0),
        ("1763979600000", 0),
        ("1763979600000.9", 0),
        ("1763979600000999", 0),
        ("1763979600000999999", 0),
        (1763979600, 0),
        (1763979600.25, 250),
        (1763979600001, 1),
        (1763979600001.5, 1),
        (1763979600001999, 1),
        (1763979600001999999, 1),
        ("/Date(1763979600000+0100)/", 0),
    ],
)
def test_forms(text: object, after: int) -> None:
    assert read_time(text) == AT + after


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2025-11-24", ms(2025, 11, 24)),
        ("20251124", ms(2025, 11, 24)),
        ("2025-W48-1", ms(2025, 11, 24)),
        ("2025-328", ms(2025, 11, 24)),
        ("2024-366", ms(2024, 12, 31)),
        ("Mon Nov 24 2025", ms(2025, 11, 24)),
        ("24 Nov 2025", ms(2025, 11, 24)),
        ("2025-12-31T24:00:00Z", ms(2026, 1, 1)),
        ("2016-12-31T23:59:60Z", ms(2017, 1, 1)),
        ("2017-01-01T00:59:60.000+01:00", ms(2017, 1, 1)),
        ("2024-02-29T00:00:00Z", ms(2024, 2, 29)),
        ("1995-01-01T00:00:00Z", EARLIEST),
        ("1994-12-31T23:00:00-01:00", EARLIEST),
        ("9999-12-31T23:59:59.999Z", LATEST),
    ],
)
def test_days_and_edges(text: str, at: int) -> None:
    assert read_time(text) == at


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "soon", "Invalid Date", "Invalid date", "NaN", "null", "now", "T10:20:00Z", "10:20:00",
        "0000-00-00 00:00:00", "0000-00-00", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1899-12-30T00:00:00",
        "1900-01-01", "1601-01-01T00:00:00Z", "1994-12-31T23:59:59.999Z", "1995-01-01T00:59:59+01:00",
        "9999-12-31T24:00:00Z", "9999-12-31T23:59:59.999-00:01", "10000-01-01T00:00:00Z", "+010000-01-01T00:00:00Z",
        "-000001-12-31T00:00:00Z", "2025-02-29", "2025-02-30T00:00:00Z", "2025-13-01", "2025-00-10", "2025-11-00",
        "2025-366", "2025-000", "2025-W54-1", "2025-W48-8", "2025-W00-1", "2025-11-24T25:00:00Z",
        "2025-11-24T24:00:01Z", "2025-11-24T10:60:00Z", "2025-11-24T10:20:61Z", "2025-11-24T10:20:00+25:00",
        "2025-11-24T10:20:00+01:75", "2025-11-24T10:20:00 IST", "2025-11-24T10:20:00 XYZ", "2025", "2025-11",
        "Mon, 31 Feb 2025 10:20:00 GMT", "Mon, 24 Foo 2025 10:20:00 GMT", "Nov 24, 2025, 13:20:00 PM", "11/24/2025",
        "24.11.2025", "2025-11-24T10:20:00Z" + " " * 200, "1" * 500, "1e99", "1e999", "-1763979600", "1" * 5000,
        "٢٠٢٥-١١-٢٤", "/Date(-62135596800000)/", "/Date(99999999999999999999)/", "0", "-1", "1", "0x68",
        "1_763_979_600", 0, -1, 1, 0.0, -1763979600, 20251124, EARLIEST - 1, LATEST + 1, 5 * 10**11, 10**30,
        2**63 - 1, str(2**63 - 1),
        float("nan"), float("inf"), -float("inf"), 1e300, 5e-324, -0.0, True, False, None, [], [AT], {}, {"$date": AT},
        b"2025-11-24", object(), datetime(2025, 11, 24, tzinfo=UTC),
    ],
)  # fmt: skip
def test_what_is_no_time(value: object) -> None:
    assert read_time(value) is None


def test_numbers_of_thousands_of_digits() -> None:
    assert read_time(10**5000) is None
    assert read_time(-(10**5000)) is None


def test_the_form_is_told() -> None:
    told = ["2025-11-24", "24 Nov 2025", 1763979600, AT, "1763979600000000", AT * 10**6]
    forms = [reading.form if (reading := read(value)) else None for value in told]
    expected = ["ISO 8601", "a date in words", "seconds", "milliseconds", "microseconds", "nanoseconds"]
    assert forms == expected


@pytest.mark.parametrize(
    ("stamp", "original", "sent", "received", "expected"),
    [
        (None, None, None, None, None),
        (AT, None, None, None, (0, 0)),
        (AT, None, None, AT + 5, (0, 5)),
        (AT + 5, None, None, AT, (0, 0)),
        (AT, AT + 100, AT + 102, AT + 50, (48, 50)),
        (AT, AT + 102, AT + 100, AT + 50, (50, 50)),
        (None, AT + 3, AT + 2, None, (3, 3)),
        (None, AT + 3, None, AT + 4, (3, 4)),
        (None, None, AT + 2, AT + 4, (2, 4)),
        (None, None, None, AT + 4, (4, 4)),
        (AT, EARLIEST, LATEST, AT + 5, (0, 5)),
        (None, AT, LATEST, AT + 5, (0, 5)),
    ],
)
def test_event_time(
    stamp: int | None, original: int | None, sent: int | None, received: int | None, expected: tuple[int, int] | None
) -> None:
    times = event_times(stamp, original, sent, received)
    assert (times and (times[0] - AT, times[1] - AT)) == expected
