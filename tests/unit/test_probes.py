"""What asks the servers how they are: it goes on whatever goes wrong, and ends when it is told to."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import msgspec
import pytest

from pipeline.observe.troubles import Troubles
from pipeline.runtime import probes
from pipeline.runtime.probes import Probes
from tests.replayed import shipped


def made(overdue: object, signs: object) -> Probes:
    """Without Kafka, registry, and a Redis that answers."""
    topology = msgspec.structs.replace(shipped(), registry="mock://probes")
    redis = cast(Any, Away())
    return Probes(topology, Troubles(), redis, cast(Any, overdue), cast(Any, signs), durable=False)


class Away:
    async def setrange(self, *_: object) -> None:
        raise ConnectionError("nobody listens")


class Swallows:
    """A client that takes a cancellation for a time-out of its own, as one that is connecting does."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def measure(self) -> None:
        self.asked.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    async def look_who_stands(self) -> None:
        await self.measure()


def test_it_ends_when_cancelled_whoever_swallows_that() -> None:
    async def left_after_all_are_cancelled() -> set[asyncio.Task[object]]:
        client = Swallows()
        task = asyncio.create_task(made(client, client).run())
        await client.asked.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert task in tasks
        for each in tasks:  # as a loop does that ends
            each.cancel()
        return (await asyncio.wait(tasks, timeout=5))[1]

    assert asyncio.run(left_after_all_are_cancelled()) == set(), "still asking"


def test_what_fails_unexpectedly_is_told_once_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(probes, "EVERY_S", dict.fromkeys(probes.EVERY_S, 0.01))

    async def asked_five_times() -> None:
        asked, again = 0, asyncio.Event()

        class Broken:
            async def measure(self) -> None:
                nonlocal asked
                asked += 1
                if asked == 5:
                    again.set()
                raise KeyError("not foreseen")

            async def look_who_stands(self) -> None:
                raise ConnectionError("told elsewhere")

        task = asyncio.create_task(made(Broken(), Broken()).run())
        await asyncio.wait_for(again.wait(), 5)
        task.cancel()
        await asyncio.wait([task], timeout=5)

    with caplog.at_level(logging.WARNING):
        asyncio.run(asked_five_times())
    told = [record.getMessage() for record in caplog.records if record.name == "pipeline.runtime.probes"]
    assert told == ["looking after overdue failed; it is tried again"]
