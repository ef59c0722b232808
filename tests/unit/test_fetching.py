"""Fetch requests and answers are those of aiokafka, byte by byte and field by field."""

from __future__ import annotations

import random
from io import BytesIO
from struct import error as StructError

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v4, FetchRequest_v11, FetchResponse_v11

from pipeline.runtime.fetching import Fetch, FetchAnswer, PackedFetch

Partitions = list[tuple[object, ...]]


def answer(rng: random.Random) -> FetchResponse_v11:
    def partition(number: int) -> tuple[object, ...]:
        aborted = rng.choice([None, [], [(rng.getrandbits(62), 7)], [(1, 2), (3, 4)]])
        records = rng.choice([None, b"", rng.randbytes(30)])
        return (number, rng.choice([0, 1, -1]), rng.getrandbits(60), -1, rng.getrandbits(40), aborted, -1, records)

    names = ["events.email", "größer", ""]
    topics = [(name, [partition(n) for n in range(rng.randrange(4))]) for name in names[: rng.randrange(4)]]
    return FetchResponse_v11(rng.getrandbits(20), rng.choice([0, 71]), rng.getrandbits(31), topics)


def test_a_request_is_packed_as_aiokafka_packs_it() -> None:
    rng = random.Random(1)
    for _ in range(100):
        topics = [
            (name, [(p, rng.getrandbits(62), rng.getrandbits(30)) for p in range(rng.randrange(20))])
            for name in ("events.email", "größer")[: rng.randrange(3)]
        ]
        args = rng.getrandbits(20), 1, rng.getrandbits(30), rng.randrange(2), topics, rng.choice(["", "rack"])
        made = Fetch(*args).build(FetchRequest_v11)
        assert type(made) is PackedFetch
        assert made.encode() == FetchRequest(*args).build(FetchRequest_v11).encode()
        old = Fetch(*args).build(FetchRequest_v4)
        assert type(old) is FetchRequest_v4


def test_an_answer_is_read_as_aiokafka_reads_it() -> None:
    rng = random.Random(2)
    for _ in range(300):
        raw = answer(rng).encode()
        assert FetchAnswer.decode(raw).__dict__ == FetchResponse_v11.decode(raw).__dict__
        behind = BytesIO(b"head" + raw)
        behind.seek(4)
        assert FetchAnswer.decode(behind).__dict__ == FetchResponse_v11.decode(raw).__dict__


def test_one_that_is_cut_off_is_none() -> None:
    raw = FetchResponse_v11(0, 0, 0, [("t", [(0, 0, 1, 1, 0, [(1, 2)], -1, b"records")])]).encode()
    for end in range(len(raw)):
        with pytest.raises((ValueError, StructError)):
            FetchAnswer.decode(raw[:end])
