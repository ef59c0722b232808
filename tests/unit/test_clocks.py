"""Whose clock counts: what is learnt of the broker's, and what is said where others differ."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.observe.metrics import Metrics
from pipeline.runtime import clocks
from pipeline.runtime.clocks import BrokerClock, Clocks
from tests.standins import Hand

T0 = 1_700_000_000_000


def test_nothing_is_known_before_every_leader_was_heard_of() -> None:
    clock = BrokerClock(2, Hand(5))
    assert clock.now() is None
    clock.heard(0, T0)
    assert clock.now() is None
    clock.heard(1, T0)
    assert clock.now() == T0


def test_it_goes_on_by_itself_and_the_slowest_leader_counts() -> None:
    monotonic = Hand(5)
    clock = BrokerClock(2, monotonic)
    clock.heard(0, T0)
    clock.heard(1, T0 - 700)
    monotonic.at = 7.5
    assert clock.now() == T0 - 700 + 2_500
    clock.heard(1, T0 + 2_600)
    assert clock.now() == T0 + 2_500
    assert clock.seconds() == (T0 + 2_500) / 1000


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 60_000))))
def test_it_is_never_ahead_of_any_broker(acknowledged: list[tuple[int, int, int, int]]) -> None:
    """Each: whose record, how long it took to be appended, how long we took to hear of it, a pause (ms)."""
    brokers = [T0, T0 + 40_000, T0 - 90_000]  # at 0 of our own clock
    now = 0
    clock = BrokerClock(3, lambda: now / 1000)
    for partition, there, back, pause in acknowledged:
        appended_at = brokers[partition] + now + there
        now += there + back
        clock.heard(partition, appended_at)
        now += pause
        told = clock.now()
        assert told is None or told <= min(brokers) + now


def test_until_then_delays_are_measured_by_our_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks.time, "time", lambda: 17.0)
    assert BrokerClock(1).seconds() == 17.0


def test_a_broker_that_keeps_no_times_has_ours() -> None:
    assert Clocks(Metrics(), ours=lambda: 12.5).now() == 12_500
    assert Clocks(Metrics(), BrokerClock(1)).now() is None


class World:
    """Three clocks; `kafka` and `redis` are seconds ahead of ours."""

    def __init__(self) -> None:
        self.ours, self.monotonic = Hand(T0 / 1000), Hand(5)
        self.kafka = self.redis = 0.0
        self.metrics = Metrics()
        self.broker = BrokerClock(1, self.monotonic)
        self.clocks = Clocks(self.metrics, self.broker, self.redis_time, self.ours)

    async def redis_time(self) -> float:
        return self.ours() + self.redis

    def compare(self, times: int = 2) -> None:
        for _ in range(times):
            self.broker.heard(0, round((self.ours() + self.kafka) * 1000))
            asyncio.run(self.clocks.compare())

    def offset(self, server: str) -> float | None:
        return self.metrics.registry.get_sample_value("pipeline_clock_offset_seconds", {"server": server})


def test_clocks_that_agree_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.kafka, world.redis = 2.0, -2.5
    world.compare()
    assert (world.offset("kafka"), world.offset("redis")) == (2.0, -2.5)
    assert world.clocks.apart() == {}
    assert caplog.messages == []


def test_a_clock_that_differs_is_said_once_and_again_when_it_changes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    world.kafka = world.redis = -3600.0
    world.compare(10)
    assert world.offset("kafka") == -3600.0
    behind = "3600.0 s behind this machine's"
    assert world.clocks.apart() == {"kafka": behind, "redis": behind}
    (said,) = caplog.messages
    assert said == (
        f"clocks differ: Kafka's is {behind}, Redis's is {behind}."
        " Decisions go by Kafka's: set the others, or that one, right"
    )
    world.kafka = 9.0
    world.compare(10)
    assert len(caplog.messages) == 2
    assert "Kafka's is 9.0 s ahead of this machine's" in caplog.messages[1]
    monkeypatch.setattr(clocks, "SAY_AGAIN_S", -1.0)
    world.kafka = 20.0
    world.compare(4)
    assert len(caplog.messages) == 2 + 3  # the first look at a difference says nothing
    world.kafka = world.redis = 0.0
    world.compare()
    assert caplog.messages[-1] == "the clocks of servers and worker agree again"
    assert world.clocks.apart() == {}


def test_two_servers_that_are_apart_from_each_other(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.kafka, world.redis = 3.0, -3.0
    world.compare()
    assert set(world.clocks.apart()) == {"kafka", "redis"}
    assert len(caplog.messages) == 1


def test_a_pause_between_two_readings_is_no_difference(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    for seconds in (0.0, 30.0, 0.0, -30.0, 0.0):
        world.kafka = seconds
        world.compare(1)
        assert world.clocks.apart() == {}
    assert caplog.messages == []
