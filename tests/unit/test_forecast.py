"""What the ingest of a recording would do, and how it is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commands.ingest import _told
from pipeline.commands.stopping import Signals
from pipeline.errors import Stopped
from pipeline.events.files import FileLine
from pipeline.events.model import Event
from pipeline.runtime import forecast as module
from pipeline.runtime.forecast import Forecast, forecast
from pipeline.topology import load

TOPOLOGY = load(Path(__file__).parents[2] / "topology.yaml", {})
HOUR = 3_600_000
DAY = 24 * HOUR
T0 = 1_760_000_000_000


def carts(number: int, start: int = T0) -> list[FileLine]:
    """Each left behind a second after the one before."""
    events = [
        Event("product_added", f"e{n}", start + n * 1000, start + n * 1000, {"anonymous_id": f"v{n}"}, {"cart_id": "c"})
        for n in range(number)
    ]
    return [FileLine("f", n, b"", event=event) for n, event in enumerate(events)]


def test_into_a_pipeline_that_saw_nothing_old_reminders_are_counted() -> None:
    found = forecast(TOPOLOGY, carts(10), 0, T0 + 7 * DAY)
    assert found == Forecast(first=T0, old=10, events=10)
    (told,) = _told(found, T0 + 7 * DAY)
    assert told.startswith("10 reminders would go out now that were due more than an hour ago")


def test_reminders_that_are_due_now_are_no_news() -> None:
    """Due an hour after the event, old an hour after that."""
    assert forecast(TOPOLOGY, carts(10), 0, T0 + 2 * HOUR + 3_000).old == 3
    assert forecast(TOPOLOGY, carts(10), 0, T0 + 2 * HOUR) == Forecast(first=T0, events=10)


def test_a_pipeline_that_is_past_it() -> None:
    """What is older than 72 h informs; what is younger and over is decided at once."""
    found = forecast(TOPOLOGY, carts(10), T0 + 12 * HOUR, T0 + 12 * HOUR)
    assert found == Forecast(first=T0, past=T0 + 12 * HOUR, late=10, old=10, events=10)
    late, old = _told(found, T0 + 12 * HOUR)
    assert "the pipeline's time is at 2025-10-09T20:53:20.000Z, 12.0 hours past the recording's beginning" in late
    assert "10 events would count as received only now" in late
    assert old.startswith("10 reminders")
    found = forecast(TOPOLOGY, carts(10), T0 + 7 * DAY, T0 + 7 * DAY)
    assert (found.late, found.old) == (10, 0)


def test_a_pipeline_that_stands_right_before_it() -> None:
    assert forecast(TOPOLOGY, carts(3), T0, T0 + HOUR) == Forecast(first=T0, events=3)
    assert forecast(TOPOLOGY, [], T0, T0) == Forecast()


def test_of_a_large_recording_some_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 5)
    found = forecast(TOPOLOGY, carts(10), 0, T0 + 7 * DAY)
    assert (found.old, found.whole) == (5, False)
    assert _told(found, 0)[0].startswith("at least 5 reminders among the first 5 events would go out now")


def test_a_signal_ends_what_waits_and_not_what_works() -> None:
    def lines() -> Iterator[int]:
        yield 1
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it goes on")

    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        with pytest.raises(Stopped):
            for _ in signals.between(lines()):
                pass
        assert signals.exit_code == 143
    worked = []
    with Signals() as signals:
        with pytest.raises(Stopped):
            for line in signals.between([1, 2]):
                signal.raise_signal(signal.SIGINT)
                worked.append(line)
        assert signals.exit_code == 130
    assert worked == [1]
    assert signal.getsignal(signal.SIGTERM) is before
