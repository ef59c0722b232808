"""Group commit: which sends share a transaction, and which share its end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from pipeline.errors import Fenced, RecordTooLarge, SendFailed
from pipeline.runtime import together
from pipeline.runtime.ports import Out
from pipeline.runtime.together import Together


class Kafka:
    """Transactions by what was in them; one with `raises` in it raises that. They end when `goes_on` is set."""

    def __init__(self, raises: dict[str, Exception] | None = None) -> None:
        self.begun: list[list[str]] = []
        self.there: list[list[str]] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.closed = False
        self._raises = raises or {}

    async def start(self) -> None:
        """Nothing to do."""

    async def send(self, messages: list[Out]) -> None:
        names = [out.topic for out in messages]
        self.begun.append(names)
        await self.goes_on.wait()
        for name in names:
            if name in self._raises:
                raise self._raises[name]
        self.there.append(names)

    async def close(self) -> None:
        self.closed = True


def out(name: str) -> Out:
    return Out(name, 0, None, b"0123456789", [])


def run(step: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(step, 10))


def test_what_comes_together_goes_in_one_transaction_and_the_next_gathers_meanwhile() -> None:
    async def main() -> None:
        kafka = Kafka()
        shared = Together("n", kafka)
        kafka.goes_on.clear()
        first = [asyncio.create_task(shared.send([out(f"{i}"), out(f"{i}'")])) for i in range(3)]
        await asyncio.sleep(0.05)
        later = [asyncio.create_task(shared.send([out(f"{i}")])) for i in range(3, 6)]
        await asyncio.sleep(0.05)
        assert kafka.begun == [["0", "0'", "1", "1'", "2", "2'"]]
        assert not any(task.done() for task in first)  # nobody goes on before it is there
        kafka.goes_on.set()
        await asyncio.gather(*first, *later)
        assert kafka.there == [["0", "0'", "1", "1'", "2", "2'"], ["3", "4", "5"]]

    run(main())


def test_a_transaction_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "AT_ONCE", 25)

    async def main() -> None:
        kafka = Kafka()
        shared = Together("n", kafka)
        await asyncio.gather(*(shared.send([out(name)]) for name in "abcde"))
        assert kafka.there == [["a", "b"], ["c", "d"], ["e"]]

    run(main())


def test_a_record_that_is_too_large_fails_who_sent_it_alone() -> None:
    async def main() -> None:
        kafka = Kafka({"b": RecordTooLarge("too large", "t")})
        shared = Together("n", kafka)
        ends = await asyncio.gather(*(shared.send([out(name)]) for name in "abc"), return_exceptions=True)
        assert [type(end) for end in ends] == [type(None), RecordTooLarge, type(None)]
        assert kafka.there == [["a"], ["c"]]
        assert not shared.broken
        await shared.send([out("d")])

    run(main())


@pytest.mark.parametrize("problem", [SendFailed("not answered"), Fenced("another has taken over"), OSError("odd")])
def test_one_that_fails_ends_for_all_and_for_good(problem: Exception) -> None:
    """Whether it is there isn't known, and who else wrote of some of these partitions, neither."""

    async def main() -> None:
        kafka = Kafka({"b": problem})
        shared = Together("n", kafka)
        kafka.goes_on.clear()
        sent = [asyncio.create_task(shared.send([out(name)])) for name in "ab"]
        await asyncio.sleep(0.05)
        sent.append(asyncio.create_task(shared.send([out("c")])))
        await asyncio.sleep(0.01)
        kafka.goes_on.set()
        ends = [
            *await asyncio.gather(*sent, return_exceptions=True),
            *await asyncio.gather(shared.send([out("d")]), return_exceptions=True),
        ]
        assert {type(end) for end in ends} == {Fenced if isinstance(problem, Fenced) else SendFailed}
        assert len({id(end) for end in ends}) == len(ends)
        assert shared.broken
        assert kafka.begun == [["a", "b"]]

    run(main())


def test_what_is_given_up_before_it_goes_does_not_go() -> None:
    async def main() -> None:
        kafka = Kafka()
        shared = Together("n", kafka)
        kafka.goes_on.clear()
        first = asyncio.create_task(shared.send([out("a")]))
        await asyncio.sleep(0.05)
        given_up = asyncio.create_task(shared.send([out("b")]))
        third = asyncio.create_task(shared.send([out("c")]))
        await asyncio.sleep(0.01)
        given_up.cancel()
        kafka.goes_on.set()
        await asyncio.gather(first, third)
        assert kafka.there == [["a"], ["c"]]

    run(main())


def test_closing_gives_up_what_waits() -> None:
    async def main() -> None:
        kafka = Kafka()
        shared = Together("n", kafka)
        waiting = asyncio.create_task(shared.send([out("a")]))
        await asyncio.sleep(0)
        await shared.close()
        with pytest.raises(SendFailed, match="n is closed"):
            await waiting
        assert kafka.begun == []
        assert kafka.closed

    run(main())
