"""One way to a server and back for what several partitions ask at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

GATHER_S = 0.001  # partitions that were fetched together ask at about the same time

Q = TypeVar("Q")
A = TypeVar("A")


class Gathering(Generic[Q, A]):
    """`answer`: an answer, or an error, to each of some questions. What it raises is the answer to all of them.

    While one lot is under way the next one gathers. `name`: of the task that asks.
    """

    def __init__(self, name: str, answer: Callable[[list[Q]], Awaitable[list[A | Exception]]]) -> None:
        self._name = name
        self._answer = answer
        self._asked: list[tuple[Q, asyncio.Future[A]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """Its answer. A question that is given up (cancelled) before its lot is under way is never asked."""
        reply: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._asked.append((question, reply))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=self._name)
        return await reply

    async def _ask(self) -> None:
        await asyncio.sleep(GATHER_S)
        while asked := [each for each in self._asked if not each[1].done()]:
            self._asked = []
            answers: list[A | Exception]
            try:
                answers = await self._answer([question for question, _ in asked])
            except Exception as problem:
                answers = [problem] * len(asked)
            for (_, reply), answer in zip(asked, answers, strict=True):
                if reply.done():
                    continue
                if isinstance(answer, Exception):
                    reply.set_exception(answer)
                else:
                    reply.set_result(answer)
        self._asking = None
