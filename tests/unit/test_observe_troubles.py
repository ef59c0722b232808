"""What is wrong now: named while it is so, logged once when it begins and once when it is over."""

from __future__ import annotations

import logging
import re

import pytest

from pipeline.observe import causes
from pipeline.observe.causes import CAUSES, CLOCKS_DIFFER, REDIS_AWAY, REDIS_FULL, Cause
from pipeline.observe.logs import Tidy
from pipeline.observe.troubles import AGAIN_S, CALM_S, STOPS_S, Trouble, Troubles
from tests.standins import Hand


@pytest.fixture
def clock() -> Hand:
    return Hand(100.0)


@pytest.fixture
def troubles(clock: Hand, caplog: pytest.LogCaptureFixture) -> Troubles:
    caplog.set_level(logging.INFO, "pipeline.observe.troubles")
    caplog.handler.addFilter(Tidy(clock))
    return Troubles(clock, lambda: 1_700_000_000.0)


def names(troubles: Troubles) -> list[tuple[str, str, str]]:
    return [(t.cause.name, t.where, t.what) for t in (known.trouble for known in troubles.look())]


def test_what_is_told_is_there_until_it_has_been_quiet_for_a_while(
    troubles: Troubles, clock: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    troubles.begin(REDIS_AWAY, "redis", "connection refused")
    troubles.begin(REDIS_FULL, "redis", "used memory > maxmemory.")
    for _ in range(100):
        troubles.look()
        clock.at += 0.1
        troubles.begin(REDIS_AWAY, "redis", f"refused at {clock.at:.1f}")
    assert names(troubles) == [
        ("redis_away", "redis", "refused at 110.0"),
        ("redis_full", "redis", "used memory > maxmemory."),
    ]
    troubles.end(REDIS_AWAY, "redis")
    clock.at += CALM_S - 0.1
    troubles.end(REDIS_AWAY, "redis")  # again: it counts from the first time
    assert len(names(troubles)) == 2
    clock.at += 0.1
    assert [name for name, *_ in names(troubles)] == ["redis_full"]
    assert caplog.messages == [
        f"redis: redis_away: connection refused. {REDIS_AWAY.do}",
        f"redis: redis_full: used memory > maxmemory. {REDIS_FULL.do}",
        "redis: redis_away: over, after 10 s",
    ]


def test_what_flickers_is_one_trouble(troubles: Troubles, clock: Hand, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(300):
        troubles.begin(REDIS_AWAY, "redis", "refused")
        troubles.end(REDIS_AWAY, "redis")
        clock.at += 0.1
        assert len(names(troubles)) == 1
    assert len(caplog.messages) == 1


def test_many_places_are_one_line(troubles: Troubles, clock: Hand, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(20):
        troubles.begin(REDIS_AWAY, f"s-{n}", "refused")
    troubles.look()
    for n in range(20):
        troubles.end(REDIS_AWAY, f"s-{n}")
    clock.at += CALM_S
    troubles.look()
    assert caplog.messages == [
        f"s-0, s-1, s-2, s-3 and 16 more: redis_away: refused. {REDIS_AWAY.do}",
        "s-0, s-1, s-2, s-3 and 16 more: redis_away: over, after 0 s",
    ]


def test_places_that_come_and_go_are_told_now_and_then(
    troubles: Troubles, clock: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(300):
        troubles.begin(REDIS_AWAY, f"s-{n % 9}", "refused")
        if n % 9 > 4:
            troubles.end(REDIS_AWAY, f"s-{n % 9}")
        clock.at += 0.7
        troubles.look()
    for n in range(9):
        troubles.end(REDIS_AWAY, f"s-{n}")
    clock.at += CALM_S
    troubles.look()
    assert len(caplog.messages) <= 2 * (1 + 300 * 0.7 / AGAIN_S)
    assert caplog.messages[-1].endswith("more: redis_away: over, after 210 s")


def test_who_is_asked_says_what_is_so(troubles: Troubles, clock: Hand) -> None:
    found = [Trouble(REDIS_AWAY, "redis", "refused")]
    troubles.ask(lambda: found)
    troubles.begin(REDIS_FULL, "redis", "told")
    assert {name for name, *_ in names(troubles)} == {"redis_away", "redis_full"}
    found.clear()
    assert len(names(troubles)) == 2
    clock.at += CALM_S
    assert [name for name, *_ in names(troubles)] == ["redis_full"]


def test_one_who_cannot_say_hides_nobody(troubles: Troubles) -> None:
    def broken() -> list[Trouble]:
        raise RuntimeError("changed while read")

    troubles.ask(broken)
    troubles.ask(lambda: [Trouble(REDIS_AWAY, "redis", "refused")])
    assert [name for name, *_ in names(troubles)] == ["redis_away"]


def test_what_stops_work_does_so_when_it_has_lasted_and_comes_first(troubles: Troubles, clock: Hand) -> None:
    troubles.begin(CLOCKS_DIFFER, "kafka", "9 s ahead")
    troubles.begin(REDIS_AWAY, "redis", "refused")
    assert [name for name, *_ in names(troubles)] == ["redis_away", "clocks_differ"]
    assert not any(map(troubles.stops, troubles.look()))
    clock.at += STOPS_S
    assert [troubles.stops(known) for known in troubles.look()] == [True, False]


def test_every_cause_is_listed_has_a_name_of_its_own_and_says_what_to_do() -> None:
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)
    assert {value for value in vars(causes).values() if isinstance(value, Cause)} == set(CAUSES)
    for cause in CAUSES:
        assert re.fullmatch("[a-z_]+", cause.name)
        assert cause.meaning.endswith(".")
        assert cause.do.endswith(".")
