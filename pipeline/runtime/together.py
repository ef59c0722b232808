"""Group commit: what the source partitions of a worker send at about the same time goes in one transaction.

A transaction costs a broker and us milliseconds, whatever is in it. While one is under way the next gathers: it grows
with load.
"""

from __future__ import annotations

import asyncio

from pipeline.errors import Fenced, RecordTooLarge, SendFailed
from pipeline.runtime.ports import Out
from pipeline.runtime.producers import ClosableSender

GATHER_S = 0.005  # partitions that were fetched together have asked the graph by then
AT_ONCE = 64 * 1024 * 1024  # bytes

Sent = tuple[list[Out], asyncio.Future[None]]


class Together:
    """A `Sender` that partitions share. All of what each of them sends is there, or none.

    `name`: of the producer, and never again of another one. It ends for good when it fails: after that each partition
    must be claimed again, in the name of a new one.
    """

    def __init__(self, name: str, sender: ClosableSender) -> None:
        self.name = name
        self._sender = sender
        self._waiting: list[Sent] = []
        self._running: asyncio.Task[None] | None = None
        self._problem: Exception | None = None

    @property
    def broken(self) -> bool:
        """Whether it takes nothing any more."""
        return self._problem is not None

    async def start(self) -> None:
        """Get ready. Raises SendFailed."""
        await self._sender.start()

    async def send(self, messages: list[Out]) -> None:
        """Returns when all of it is there. Raises RecordTooLarge: none of it is; Fenced, SendFailed: nobody knows."""
        if self._problem is not None:
            raise _again(self._problem)
        sent = messages, asyncio.get_running_loop().create_future()
        self._waiting.append(sent)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="transactions")
        await sent[1]

    async def close(self) -> None:
        """Give up what waits, let the transaction under way end, free everything. May be called twice."""
        self._fail(SendFailed(f"producer {self.name} is closed"), self._waiting)
        await self._sender.close()

    async def _run(self) -> None:
        await asyncio.sleep(GATHER_S)
        while batch := self._take():
            await self._commit(batch)
        self._running = None

    def _take(self) -> list[Sent]:
        self._waiting = [sent for sent in self._waiting if not sent[1].done()]  # those that were given up are
        taken = size = 0
        for messages, _ in self._waiting:
            size += sum(len(out.value or b"") for out in messages)
            if taken and size > AT_ONCE:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    async def _commit(self, batch: list[Sent]) -> None:
        try:
            await self._sender.send([out for messages, _ in batch for out in messages])
        except RecordTooLarge as refused:
            if len(batch) == 1:
                _end(batch, refused)
                return
            for sent in batch:  # it is one's, and the others shall not fail for that
                await self._commit([sent])
        except Exception as problem:
            self._fail(problem, [*batch, *self._waiting])
        else:
            _end(batch, None)

    def _fail(self, problem: Exception, sent: list[Sent]) -> None:
        self._problem = self._problem or problem
        self._waiting = []
        _end(sent, self._problem)


def _end(batch: list[Sent], problem: Exception | None) -> None:
    for _, future in batch:
        if future.done():
            continue
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(problem if isinstance(problem, RecordTooLarge) else _again(problem))


def _again(problem: Exception) -> Exception:
    """Another of its kind: each is raised somewhere else."""
    return Fenced(str(problem)) if isinstance(problem, Fenced) else SendFailed(str(problem) or repr(problem))
