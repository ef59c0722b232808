"""How often the registry is asked for schemas that nobody knows, and which of them first."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import cast

import pytest

from pipeline.errors import RegistryUnavailable
from pipeline.events.codec import Decoder
from pipeline.runtime.schemas import AT_ONCE, LEAST, Schemas


class Learning:
    """A decoder that knows what it was told to learn. `away`: the registry doesn't answer."""

    def __init__(self) -> None:
        self.learnt: list[int] = []
        self.away = False
        self.lock = threading.Lock()

    def knows(self, schema_id: int) -> bool:
        return schema_id in self.learnt

    def learn(self, schema_id: int) -> None:
        if self.away:
            raise RegistryUnavailable("nobody answers")
        time.sleep(0.001)
        with self.lock:
            self.learnt.append(schema_id)


@pytest.fixture
def decoder() -> Learning:
    return Learning()


def ask(decoder: Learning, *batches: Mapping[int, int], still: bool = False) -> list[frozenset[int]]:
    """Batches of as many partitions at once. `still`: no time goes by."""

    async def main() -> list[frozenset[int]]:
        asking = Schemas(cast(Decoder, decoder), *([lambda: 0.0] if still else []))
        try:
            return await asyncio.gather(*(asking.ask(batch) for batch in batches))
        finally:
            asking.close()

    return asyncio.run(main())


def test_all_of_a_batch_is_asked_at_once_and_each_once_for_all_partitions(decoder: Learning) -> None:
    wanted = dict.fromkeys(range(1, 40), 1)
    assert ask(decoder, wanted, wanted, wanted) == [frozenset()] * 3
    assert sorted(decoder.learnt) == list(range(1, 40))
    assert ask(decoder, wanted) == [frozenset()]
    assert len(decoder.learnt) == 39


def test_past_what_a_registry_bears_those_go_first_that_may_exist(decoder: Learning) -> None:
    made_up = {10_000 + n: 1 for n in range(3 * AT_ONCE)}
    (unasked,) = ask(decoder, {**made_up, 99_999: 2, 7: 1}, still=True)
    assert len(decoder.learnt) == AT_ONCE
    assert {99_999, 7} <= set(decoder.learnt)
    assert unasked == set(made_up) - set(decoder.learnt)


def test_every_batch_may_ask_for_some(decoder: Learning) -> None:
    batches = [{100_000 * partition + n: 1 for n in range(AT_ONCE)} for partition in range(1, 5)]
    found = ask(decoder, *batches)
    for batch, unasked in zip(batches, found, strict=True):
        assert len(batch) - len(unasked) >= LEAST
    assert len(decoder.learnt) < 2 * AT_ONCE


def test_a_registry_that_does_not_answer_is_no_answer_and_is_not_asked_by_all(decoder: Learning) -> None:
    decoder.away = True
    with pytest.raises(RegistryUnavailable, match="nobody answers"):
        ask(decoder, dict.fromkeys(range(400), 1))
    decoder.away = False
    assert ask(decoder, dict.fromkeys(range(400), 1)) == [frozenset()]
