"""Who holds, who has fallen silent, and what the log says of it. The clock is turned by hand, the topic is a list."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest

from pipeline.flow import Intake
from pipeline.runtime.first_hop import SourcePartition
from pipeline.runtime.listening import Listener, Reporter
from pipeline.runtime.ports import In
from pipeline.runtime.words import LAPSE_S, Word, encode
from pipeline.store.memory import MemoryGraphStore
from pipeline.triggers.rules import RuleBook
from tests.property.hops import MemoryLog, with_partitions
from tests.replayed import shipped

TOPOLOGY = with_partitions(shipped(), 2, 1)
CONTROL = TOPOLOGY.topics.control.name


class Topic:
    """The control topic, its reader and the broker."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.position = 0
        self.assigned: list[int] = []
        self.written = {("s", 0): 10, ("s", 1): 10}
        self.down = False
        self.slow = False

    async def seek(self, offset: int) -> None:
        self.position = offset
        self.assigned.append(offset)

    async def take(self) -> tuple[list[In], int]:
        if self.slow:
            return [], self.position
        found = [In(n, 1_000 + n, None, v, []) for n, v in enumerate(self.values)][self.position :][:1_000]
        self.position += len(found)
        return found, self.position

    async def written_offsets(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        if self.down:
            raise ConnectionError("no broker")
        return {place: len(self.values) if place[0] == CONTROL else self.written[place] for place in places}


class Scene:
    """Two source partitions that listen."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.topic = Topic()
        self.graph = MemoryGraphStore(TOPOLOGY.identifiers)
        self.hops = [self.claimed(p) for p in range(2)]
        self.listener = self.another()

    def claimed(self, partition: int) -> SourcePartition:
        intake = Intake(TOPOLOGY, RuleBook(TOPOLOGY))
        hop = SourcePartition(TOPOLOGY, intake, self.graph, MemoryLog(), lambda *_: None, "s", partition)  # type: ignore[arg-type]
        run(hop.claim())
        return hop

    def another(self) -> Listener:
        listener = Listener(TOPOLOGY, self.topic, lambda: self.now)  # type: ignore[arg-type]
        listener._control = self.topic  # type: ignore[assignment]
        return listener

    def say(self, what: Any, through: int = 0, *, at: int = 0, **more: Any) -> None:
        word = Word(recording="r", word=what, through=through, offsets={"s-0": at, "s-1": at}, **more)
        self.topic.values.append(encode(word))

    def listen(self) -> bool:
        found: bool = run(self.listener.at_end(self.hops))
        for hop in self.hops:
            run(hop.obey())
        return found


def run(step: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(step)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_said_reaches_every_partition_once(scene: Scene) -> None:
    scene.say("begin")
    assert scene.listen()
    assert [hop.holder for hop in scene.hops] == ["r", "r"]
    scene.say("through", 5)
    scene.topic.values.append(b"x")
    scene.say("through", 7, at=11)  # no such offset
    assert scene.listen()
    assert [hop.position.control for hop in scene.hops] == [4, 4]
    assert [hop.tally.refused_words for hop in scene.hops] == [{"unreadable_word": 1, "no_such_offset": 1}, {}]
    assert [hop.position.recording.through for hop in scene.hops if hop.position.recording] == [5, 5]
    assert scene.topic.assigned == [0]


def test_who_comes_later_hears_from_where_it_has_obeyed(scene: Scene) -> None:
    scene.say("begin")
    scene.say("through", 5)
    scene.listen()
    scene.hops[1] = scene.claimed(1)  # nothing was stored of it
    scene.say("through", 6)
    scene.listen()
    assert scene.topic.assigned == [0, 0]
    assert [hop.position.control for hop in scene.hops] == [3, 3]
    assert scene.hops[0].tally.refused_words == {}


def test_what_could_not_be_judged_is_read_again(scene: Scene) -> None:
    scene.listen()
    scene.say("begin", at=10)
    scene.topic.down = True
    with pytest.raises(ConnectionError):
        run(scene.listener.poll(scene.hops))
    scene.topic.down = False
    scene.listen()
    assert [hop.waiting for hop in scene.hops] == [1, 1]


def test_a_topic_that_was_made_anew_is_heard(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.say("begin")
    scene.say("open")
    scene.listen()
    scene.topic.values.clear()
    scene.listener = scene.another()
    scene.listen()
    assert "was made anew" in caplog.text
    scene.say("begin")
    scene.listen()
    assert [hop.holder for hop in scene.hops] == ["r", "r"]


def test_a_minute_without_a_word_is_the_end_of_it(scene: Scene) -> None:
    scene.say("begin")
    scene.listen()
    scene.now += LAPSE_S - 1
    assert scene.listen()
    assert not scene.listener.silent("r")
    scene.say("through")
    scene.now += 1
    assert scene.listen()
    assert not scene.listener.silent("r")
    scene.now += LAPSE_S
    assert not scene.listener.silent("r")  # nothing shows that it said nothing meanwhile
    scene.topic.down = True
    with pytest.raises(ConnectionError):
        scene.listen()
    assert not scene.listener.silent("r")
    scene.topic.down = False
    assert scene.listen()
    assert scene.listener.silent("r")


def test_a_worker_that_stood_still_hears_first_what_was_said(scene: Scene) -> None:
    scene.say("begin")
    scene.listen()
    scene.now += 10 * LAPSE_S
    scene.say("through", 5)
    scene.topic.slow = True
    assert not scene.listen()
    assert not scene.listener.silent("r")
    scene.topic.slow = False
    assert scene.listen()
    assert not scene.listener.silent("r")


def test_after_a_restart_a_dead_one_has_another_minute(scene: Scene) -> None:
    """Also where its words are all obeyed, and none is read again."""
    scene.say("begin")
    scene.listen()
    scene.listener = scene.another()
    assert scene.listen()
    assert not scene.listener.silent("r")
    scene.now += LAPSE_S
    assert scene.listen()
    assert scene.listener.silent("r")


def test_what_holds_is_told_when_it_begins_every_minute_and_when_it_is_over(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reporter = Reporter(lambda: scene.now)
    scene.say("begin")
    scene.listen()
    for _ in range(130):
        reporter.look(scene.hops)
        scene.now += 1
    assert [r.getMessage()[:40] for r in caplog.records] == ["recording r holds 2 source partitions si"] * 3
    assert "nothing of it is written yet" in str(reporter.now["r"])
    scene.say("through", 1_760_000_000_000)
    scene.listen()
    reporter.look(scene.hops)
    assert str(reporter.now["r"]).endswith("it is written up to 2025-10-09T08:53:20.000Z")
    scene.say("open")
    scene.listen()
    reporter.look(scene.hops)
    assert reporter.now == {}
    assert "recording r holds nothing any more" in caplog.records[-1].getMessage()


def test_what_is_no_word_is_kept_in_part(scene: Scene) -> None:
    """Its dead letter must fit, and so must many of them into memory and into a transaction."""
    scene.topic.values += [b"x" * 300_000] * 450
    assert scene.listen()
    assert [hop.waiting for hop in scene.hops] == [250, 0]
    assert all(len(said.record.value or b"") == 16_384 for said in scene.hops[0]._pending)
    run(scene.hops[0].obey())
    assert scene.hops[0].tally.refused_words == {"too_large": 200}
    run(scene.hops[0].obey())
    assert scene.hops[0].position.control == 450
