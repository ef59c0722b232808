"""Schemas that records name and this process hasn't met: whom to ask, how often, and when to go on without an answer.

Whoever can write to a source topic can name any number as a schema's id. All ids of a batch are asked for at once, for
all partitions together no more often than a registry bears. What there was no time to ask for is treated as unknown, so
that garbage never costs good records their time. A schema that exists is asked for first: a batch names it more often
than a number made up, and registries count from 1.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from pipeline.errors import RegistryUnavailable
from pipeline.events.codec import Decoder

A_SECOND = 100  # questions
AT_ONCE = 500  # after a while without any
LEAST = 20  # of a batch, where it needs so many
THREADS = 4
AWAY_S = 1.0  # after it didn't answer nobody asks it for so long: what is queued for it fails at once


class Schemas:
    """`clock`: seconds, monotonic."""

    def __init__(self, decoder: Decoder, clock: Callable[[], float] = time.monotonic) -> None:
        self._decoder = decoder
        self._clock = clock
        self._left = float(AT_ONCE)
        self._counted_at = clock()
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._away: tuple[float, RegistryUnavailable] | None = None
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="registry")

    async def ask(self, wanted: Mapping[int, int]) -> frozenset[int]:
        """Have the decoder learn schemas. `wanted`: id -> how many records name it.

        Returns the ids that were not asked for. Raises RegistryUnavailable: ask again for all.
        """
        order = sorted((i for i in wanted if not self._decoder.knows(i)), key=lambda i: (-wanted[i], i))
        least = min(LEAST, sum(i not in self._asked for i in order))
        while (missing := least - self._allowed()) > 0:  # noqa: ASYNC110 - time brings it
            await asyncio.sleep(missing / A_SECOND)
        answers, unasked = [], set()
        for schema_id in order:
            if schema_id in self._asked:
                answers.append(self._asked[schema_id])
            elif self._left >= 1:
                self._left -= 1
                answers.append(self._question(schema_id))
            else:
                unasked.add(schema_id)
        if answers:
            await asyncio.wait(answers)  # others may wait for them too: they go on where this is cancelled
        for answer in answers:
            answer.result()
        return frozenset(unasked)

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _allowed(self) -> float:
        """How many questions may be asked now."""
        now = self._clock()
        self._left = min(AT_ONCE, self._left + (now - self._counted_at) * A_SECOND)
        self._counted_at = now
        return self._left

    def _question(self, schema_id: int) -> asyncio.Future[None]:
        question = asyncio.get_running_loop().run_in_executor(self._pool, self._learn, schema_id)
        self._asked[schema_id] = question
        question.add_done_callback(lambda done: self._answered(schema_id, done))
        return question

    def _answered(self, schema_id: int, question: asyncio.Future[None]) -> None:
        del self._asked[schema_id]
        if not question.cancelled():
            question.exception()  # whoever waited for it may have gone

    def _learn(self, schema_id: int) -> None:
        if self._away is not None and self._clock() < self._away[0]:
            raise RegistryUnavailable(str(self._away[1]))
        try:
            self._decoder.learn(schema_id)
        except RegistryUnavailable as problem:
            self._away = self._clock() + AWAY_S, problem
            raise
