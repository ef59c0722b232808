"""A rolling upgrade on real servers: workers of an older commit are replaced one by one, under load and with crashes.

The new version counts a part of profiles that the old one doesn't know (tests/newer.py). Where it has begun to, no old
worker goes on; what old workers are sent of it they carry along, also through merges.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.profile.parts.timeline import MARK
from pipeline.profile.profile import Profile, decode
from pipeline.runtime.second_hop import Meta
from pipeline.wire.records import Forward, Move, Resolved, Seal, decode_row, decode_rows
from tests import newer, older
from tests.chaos.rig import Books, Feeder, last_words
from tests.chaos.stream import Stream, stream
from tests.chaos.verdict import expect, judge, stored_profiles
from tests.deployment import Deployment, WorkerProcess
from tests.replayed import Folded

pytestmark = pytest.mark.servers

BEFORE = older.BEFORE
"""The last commit whose books don't tell which parts count."""
EVENTS = 2_600
RATE = 130.0


class Upgrade:
    """Two old workers under load, and what the test asks of them."""

    def __init__(self, deployment: Deployment, made: Stream) -> None:
        self.deployment = deployment
        self.books = Books(deployment.topology)
        self.feeder = Feeder(deployment.topology, made.events, RATE)

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Until it holds; no worker may end meanwhile that isn't expected to."""
        deadline = time.monotonic() + timeout
        while not condition():
            self.feeder.check()
            for worker in self.deployment.workers:
                worker.check()
            logs = "\n".join(worker.tail() for worker in self.deployment.workers)
            assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}\n{logs}"
            time.sleep(0.1)

    def fed(self, number: int) -> None:
        self.wait(lambda: self.feeder.fed >= number, f"{number} events are fed")

    def metas(self) -> list[Meta]:
        return [meta or Meta() for meta in self.books.read() or []]

    def counting(self) -> set[int]:
        """Partitions whose books tell of the part."""
        return {number for number, meta in enumerate(self.metas()) if newer.NAME in meta.counts}

    def holding(self, partition: int) -> int:
        """How many profiles of a partition hold something of it."""
        stored: Any = self.books.client.hgetall(self.books.keys(partition)[1])
        states = [decode(raw) for raw in stored.values()]
        return sum(isinstance(state, Profile) and newer.NAME in state.about.more for state in states)


def carried(profile: Folded) -> None:
    """What an older worker doesn't know of what is told of a person is gone when it has written them: it matters to
    what is told late, and to who becomes one with somebody else. Of what they do it loses nothing.
    """
    profile.about.more.pop(newer.NAME, None)
    for person in profile.persons:
        person.logins, person.logins_aside = {}, {}
        for film in person.films.values():
            film.told = film.titled = 0


def ended(worker: WorkerProcess) -> Callable[[], bool]:
    return lambda: worker.process.poll() is not None


def test_old_and_new_workers_side_by_side(
    tmp_path: Path, kafka: Any, redis_url: str, registry: Any, prefix: str
) -> None:
    made = stream(11, EVENTS)
    files = made.write(tmp_path)
    with (
        older.checkout(BEFORE, tmp_path) as before,
        Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry) as deployment,
        ThreadPoolExecutor() as beside,
    ):
        deployment.run("topics", launcher=older.launcher(before))
        upgrade = Upgrade(deployment, made)
        old = [deployment.worker(launcher=older.exact(before)) for _ in range(2)]
        for worker in old:
            worker.wait_ready()
        upgrade.feeder.start()
        replay = beside.submit(expect, deployment, files)
        try:
            upgrade.fed(400)
            old[0].kill()
            first = deployment.worker(launcher=newer.LAUNCHER)
            everywhere = set(range(upgrade.books.partitions))
            half = len(everywhere) // 2
            upgrade.wait(lambda: len(upgrade.counting()) >= half, "the new worker has begun to count")
            begun = upgrade.counting()
            upgrade.wait(
                lambda: all(upgrade.holding(number) for number in everywhere - begun),
                "the old worker carries along what it doesn't know",
            )
            upgrade.fed(1_700)
            assert upgrade.counting() == begun
            first.kill()  # and the old one gets what it can't count
            old[1].expected_end = True
            upgrade.wait(ended(old[1]), "the old worker ends")
            assert old[1].process.returncode == 2
            assert "written in format 6, and this version reads format 5 only" in last_words(old[1])
            new = [deployment.worker(launcher=newer.LAUNCHER) for _ in range(2)]
            for worker in new:
                worker.wait_ready()
            upgrade.feeder.release()
            upgrade.wait(lambda: upgrade.books.clock() >= upgrade.feeder.through, "all is decided", 120)
        finally:
            upgrade.feeder.stop()
        verdict = judge(deployment, replay.result(), set(), carried)
        assert verdict.good, f"{verdict}\n{verdict.details()}"
        assert verdict.decisions > 300
        must, may = to_count(deployment, upgrade.metas())
        counted = kept(deployment)
        assert must - counted == set(), "counted in no profile"
        assert counted - may == set(), "counted before the part began there"
        assert len(must) > EVENTS // 10


def test_a_partition_waits_for_a_newer_worker_and_the_others_go_on(
    tmp_path: Path, kafka: Any, redis_url: str, registry: Any, prefix: str
) -> None:
    """From this version on: what it can't count it leaves alone, and says so."""
    made = stream(12, 1_000)
    files = made.write(tmp_path)
    with (
        Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry) as deployment,
        ThreadPoolExecutor() as beside,
    ):
        deployment.run("topics")
        upgrade = Upgrade(deployment, made)
        stays = deployment.worker()
        comes = deployment.worker(launcher=newer.LAUNCHER)
        for worker in (stays, comes):
            worker.wait_ready()
        upgrade.feeder.start()
        replay = beside.submit(expect, deployment, files)
        try:
            half = upgrade.books.partitions // 2
            upgrade.wait(lambda: len(upgrade.counting()) == half, "the newer one counts in half of them")
            counting = upgrade.counting()
            assert comes.stop() == 0
            resolved = deployment.topology.topics.resolved.name
            wanted = {f"{resolved}-{number}" for number in counting}
            upgrade.wait(lambda: waiting(stays) == wanted, "these wait")
            before = [meta.offset for meta in upgrade.metas()]
            fed = upgrade.feeder.fed
            upgrade.fed(fed + 200)
            others = set(range(upgrade.books.partitions)) - counting
            upgrade.wait(
                lambda: all(upgrade.metas()[number].offset > before[number] for number in others), "the others go on"
            )
            assert all(upgrade.metas()[number].offset == before[number] for number in counting)
            told = stays.log.read_text()
            assert f"a newer version counts {newer.NAME} (version 1) here" in told
            assert "Upgrade this worker" in told
            deployment.worker(launcher=newer.LAUNCHER).wait_ready()
            assert stays.stop() == 0
            upgrade.feeder.release()
            upgrade.wait(lambda: upgrade.books.clock() >= upgrade.feeder.through, "all is decided", 120)
        finally:
            upgrade.feeder.stop()
        verdict = judge(deployment, replay.result(), set(), carried)
        assert verdict.good, f"{verdict}\n{verdict.details()}"


def waiting(worker: WorkerProcess) -> set[str]:
    """Partitions that are held, by /readyz."""
    return {each["where"] for each in worker.ready()["troubles"] if each["cause"] == "partition_waits"}


def to_count(deployment: Deployment, metas: list[Meta]) -> tuple[set[int], set[int]]:
    """Marks of the events of which every copy stands where the part counted; and of which any does."""
    seal = Seal(deployment.name)
    after: set[int] = set()
    before: set[int] = set()
    for record in deployment.read(deployment.topology.topics.resolved.name):
        message = seal.books(record.headers())
        rows = []
        if isinstance(message, Resolved):
            rows = decode_rows(record.value())
        elif isinstance(message, Forward):
            rows = [decode_row(record.value())]
        else:
            assert isinstance(message, Move)
        _, since, _ = metas[record.partition()].counts[newer.NAME]
        (after if record.offset() >= since else before).update(row.fingerprint & MARK for row in rows)
    return after - before, after


def kept(deployment: Deployment) -> set[int]:
    """Marks of the events that the part holds."""
    found: set[int] = set()
    for profile in stored_profiles(deployment).values():
        told = profile.about.more.get(newer.NAME, [])
        for (marks,) in told[1::2]:  # side by side where an old worker has merged two, and no new one looked since
            found.update(marks)
    return found
