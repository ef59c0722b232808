"""What the collector's disk holds: all that was answered for, in order, whatever happens to the process or the disk."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from pipeline.edge.spool import File, Spool, files, usable
from pipeline.errors import PipelineError, RecordTooLarge, SendFailed
from pipeline.runtime.ports import Out

MOST = 1_000_000
LETTERS = "dead-letters"


class Kafka:
    """Takes records, or not."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.taken: list[Out] = []
        self.most = 1 << 40

    async def send(self, records: Sequence[Out]) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise SendFailed("no broker answers")
        if any(len(each.value or b"") > self.most for each in records):
            raise RecordTooLarge("too large", records[0].topic)
        self.taken += records

    @property
    def values(self) -> list[bytes | None]:
        return [each.value for each in self.taken]


def out(value: bytes) -> Out:
    return Out("events.web", None, b"key", value, [("h", b"v"), ("none", None)])


def numbered(*numbers: int) -> list[Out]:
    return [out(b"%d" % number) for number in numbers]


def with_spool(path: Path, kafka: Kafka, act: Callable[[Spool], Awaitable[None]], most: int = MOST) -> Spool:
    async def run() -> Spool:
        own, left = files(path, 0, 1, most)
        spool = Spool(own, kafka, LETTERS, left)
        try:
            await act(spool)
        finally:
            await spool.close()
        return spool

    return asyncio.run(run())


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not met():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.edge.spool.AGAIN_S", 0.01)
    monkeypatch.setattr("pipeline.edge.spool.LAST_S", 0.1)


def test_it_goes_on_to_kafka_as_it_came(tmp_path: Path) -> None:
    kafka = Kafka()

    async def act(spool: Spool) -> None:
        await asyncio.gather(*(spool.send(numbered(n, n + 1)) for n in range(0, 200, 2)))
        await until(lambda: spool.waiting == 0)

    with_spool(tmp_path, kafka, act)
    assert kafka.taken == numbered(*range(200))


def test_what_kafka_has_not_is_there_after_a_start(tmp_path: Path) -> None:
    async def act(spool: Spool) -> None:
        for n in range(10):
            await spool.send(numbered(n))
        assert (spool.waiting, spool.full) == (10, False)

    with_spool(tmp_path, Kafka(away=True), act)
    kafka = Kafka()

    async def later(spool: Spool) -> None:
        assert spool.waiting == 10
        await spool.send(numbered(10))
        await until(lambda: spool.waiting == 0)

    with_spool(tmp_path, kafka, later)
    assert kafka.taken == numbered(*range(11))
    with_spool(tmp_path, kafka, lambda spool: asyncio.sleep(0.05))
    assert len(kafka.taken) == 11


def test_kafka_away_for_a_while(tmp_path: Path) -> None:
    kafka = Kafka(away=True)

    async def act(spool: Spool) -> None:
        await spool.send(numbered(*range(50)))
        await asyncio.sleep(0.05)
        assert not kafka.taken
        kafka.away = False
        await until(lambda: spool.waiting == 0)

    with_spool(tmp_path, kafka, act)
    assert kafka.taken == numbered(*range(50))


def test_a_full_one_refuses_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    kafka = Kafka(away=True)
    sent: list[Out] = []

    async def act(spool: Spool) -> None:
        with pytest.raises(SendFailed, match="full"):
            for n in range(1_000):
                record = out(b"%d" % n + b"x" * 5_000)
                await spool.send([record])
                sent.append(record)
        assert spool.full
        assert MOST / 5_100 * 0.8 < len(sent) < MOST / 5_000
        kafka.away = False
        await until(lambda: spool.waiting == 0)
        await spool.send(numbered(7))
        assert not spool.full

    with_spool(tmp_path, kafka, act)
    assert kafka.taken == [*sent, *numbered(7)]
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 6 * MOST


def test_a_full_one_is_ready_again_though_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.edge.spool.FULL_S", 0.2)

    async def act(spool: Spool) -> None:
        with pytest.raises(SendFailed, match="full"):
            await spool.send([out(b"x" * 2 * MOST)])
        assert spool.full
        await until(lambda: not spool.full)

    with_spool(tmp_path, Kafka(), act)


def test_a_full_disk_is_as_a_full_file(tmp_path: Path) -> None:
    kafka = Kafka(away=True)
    sent: list[Out] = []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def act(spool: Spool) -> None:
        await spool.send(numbered(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        try:
            with pytest.raises(SendFailed):
                for n in range(1_000):
                    record = out(b"%d" % n + b"x" * 5_000)
                    await spool.send([record])
                    sent.append(record)
            assert spool.full
            kafka.away = False
            await until(lambda: len(kafka.taken) == len(sent) + 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await spool.send(numbered(1))
        await until(lambda: spool.waiting == 0)

    with_spool(tmp_path, kafka, act)
    assert [each for each in kafka.taken if len(each.value or b"") > 1] == sent
    assert kafka.values[-1] == b"1"


def test_what_a_disk_has_spoilt_is_a_dead_letter_and_the_rest_goes_on(tmp_path: Path) -> None:
    def act(spool: Spool) -> Awaitable[None]:
        return spool.send(numbered(1, 2, 3))

    with_spool(tmp_path, Kafka(away=True), act)
    with sqlite3.connect(tmp_path / "edge-0.sqlite") as file:
        file.execute("UPDATE records SET record = record || x'00' WHERE number = 2")
    file.close()
    kafka = Kafka()
    with_spool(tmp_path, kafka, lambda spool: until(lambda: spool.waiting == 0))
    assert [each.topic for each in kafka.taken] == ["events.web", LETTERS, "events.web"]
    headers = dict(kafka.taken[1].headers)
    assert headers["pipeline.reason"] == b"damaged"
    assert b"edge-0.sqlite" in (headers["pipeline.file"] or b"")


def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "edge-0.sqlite").write_bytes(b"this is no database, but long enough to be one" * 200)
    kafka = Kafka()
    with_spool(tmp_path, kafka, lambda spool: spool.send(numbered(1)))
    assert kafka.taken == numbered(1)
    assert [each.name.split(".")[-1].split("-")[0] for each in sorted(tmp_path.iterdir())] == ["damaged", "sqlite"]
    assert "sqlite3 FILE .recover" in caplog.text


def test_a_directory_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PipelineError, match=r"nothing can be written there .*`edge: spool: directory`"):
        usable(tmp_path / "file" / "spool")
    usable(tmp_path / "new" / "spool")


def test_a_fault_of_ours_leaves_nobody_waiting(tmp_path: Path) -> None:
    kafka = Kafka()

    async def act(spool: Spool) -> None:
        odd = Out("events.web", None, b"key", b"1", [("h", object())])  # type: ignore[list-item]
        with pytest.raises(SendFailed):
            async with asyncio.timeout(5):
                await spool.send([odd])
        await spool.send(numbered(2))
        await until(lambda: spool.waiting == 0)

    with_spool(tmp_path, kafka, act)
    assert kafka.taken == numbered(2)


def test_one_file_is_not_two_processes(tmp_path: Path) -> None:
    first = File(tmp_path / "edge-0.sqlite", MOST)
    with pytest.raises(PipelineError, match=r"edge-0.sqlite: database is locked\. `edge: spool`"):
        File(tmp_path / "edge-0.sqlite", MOST)
    first.close()
    File(tmp_path / "edge-0.sqlite", MOST).close()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PipelineError, match="`edge: spool: directory` names it"):
        File(tmp_path / "file" / "edge-0.sqlite", MOST)


def test_files_of_processes_that_there_are_no_longer_are_emptied(tmp_path: Path) -> None:
    for number in (0, 1, 7):
        file = File(tmp_path / f"edge-{number}.sqlite", MOST)
        file.append(numbered(number))
        file.close()
    own, left = files(tmp_path, 1, 2, MOST)
    assert (own.path.name, left) == ("edge-1.sqlite", [])
    own.close()
    kafka = Kafka()

    async def act() -> None:
        own, left = files(tmp_path, 0, 2, MOST)
        spool = Spool(own, kafka, LETTERS, left)
        assert spool.waiting == 2
        await until(lambda: spool.waiting == 0)
        await spool.close()

    asyncio.run(act())
    assert sorted(kafka.values, key=str) == [b"0", b"7"]
    assert sorted(each.name for each in tmp_path.glob("*.sqlite")) == ["edge-0.sqlite", "edge-1.sqlite"]


def test_what_no_topic_takes_holds_nothing_up(tmp_path: Path) -> None:
    kafka = Kafka()
    kafka.most = 20_000

    async def act(spool: Spool) -> None:
        await spool.send([out(b"1"), out(b"x" * 50_000), out(b"2")])
        await until(lambda: spool.waiting == 0)

    with_spool(tmp_path, kafka, act)
    assert kafka.values == [b"1", b"x" * 10_000, b"2"]
    assert [each.topic for each in kafka.taken] == ["events.web", LETTERS, "events.web"]
