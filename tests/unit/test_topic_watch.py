"""What a worker makes of topics that change under it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

import pytest

from pipeline.errors import PipelineError, TopicsChanged
from pipeline.runtime.broker import Broker, all_topics
from pipeline.runtime.topic_watch import GONE_S, TopicWatch
from tests.replayed import shipped

TOPICS = {topic.name: topic for topic in all_topics(shipped().topics)}


class Kafka:
    """Topics as they are; `away`: nobody answers."""

    def __init__(self) -> None:
        self.topics = {name: (f"id of {name}", topic.partitions) for name, topic in TOPICS.items()}
        self.away = False
        self.now = 100.0
        self.meanwhile: Callable[[], None] = lambda: None
        self.watch = TopicWatch(shipped(), cast(Broker, self), lambda: self.now)

    async def shapes(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        if self.away:
            raise PipelineError("nobody answers")
        self.meanwhile()
        return {name: self.topics[name] for name in names if name in self.topics}

    def look(self, certain: int = 0) -> None:
        asyncio.run(self.watch.look(certain))


def test_what_is_certain_counts_when_the_topics_were_looked_at_after_that() -> None:
    kafka = Kafka()
    kafka.look(5)
    assert kafka.watch.upto == 5
    kafka.look(9)
    assert kafka.watch.upto == 9
    kafka.away = True
    with pytest.raises(PipelineError):
        kafka.look(12)
    assert kafka.watch.upto == 9
    kafka.away = False
    kafka.look(3)  # Redis fell back
    assert kafka.watch.upto == 9


def test_after_a_claim_only_what_is_looked_at_from_then_on_counts() -> None:
    """A worker that was frozen after its look may wake when others have begun with a partition added since."""
    kafka = Kafka()
    kafka.look(5)
    kafka.watch.forget()
    assert kafka.watch.upto == 0
    kafka.meanwhile = kafka.watch.forget
    kafka.look(6)
    assert kafka.watch.upto == 0
    kafka.meanwhile = lambda: None
    kafka.look(7)
    assert kafka.watch.upto == 7


def test_a_topic_that_is_unknown_for_a_moment_holds_and_one_that_stays_away_ends_it() -> None:
    kafka = Kafka()
    kafka.look(1)
    email = kafka.topics.pop("events.email")
    kafka.look(2)
    assert kafka.watch.upto == 1
    assert str(kafka.watch.held) == "events.email: not on the broker any more"
    kafka.topics["events.email"] = email
    kafka.look(2)
    assert (kafka.watch.upto, str(kafka.watch.held)) == (2, "None")
    del kafka.topics["events.email"]
    kafka.look(3)
    kafka.now += GONE_S
    kafka.away = True
    with pytest.raises(PipelineError):  # who knows what was meanwhile
        kafka.look(3)
    kafka.away = False
    kafka.look(3)
    kafka.now += GONE_S
    with pytest.raises(TopicsChanged, match=r"events\.email: not on the broker any more.* under another name"):
        kafka.look(3)
    assert kafka.watch.upto == 2


@pytest.mark.parametrize(
    "name, advice",
    [
        ("events.email", "make the source topic under another name"),
        ("identity.resolved", "start over with another `group`"),
        ("decisions", "start the workers again: no decision is lost"),
    ],
)
def test_a_topic_made_anew(name: str, advice: str) -> None:
    kafka = Kafka()
    kafka.look()
    kafka.topics[name] = ("another", kafka.topics[name][1])
    with pytest.raises(TopicsChanged, match="deleted and made anew") as told:
        kafka.look()
    assert advice in str(told.value)


@pytest.mark.parametrize("name, ends", [("events.email", True), ("identity.resolved", False), ("decisions", False)])
def test_more_partitions(name: str, ends: bool) -> None:
    kafka = Kafka()
    kafka.look(1)
    kafka.topics[name] = (kafka.topics[name][0], 5)
    if ends:
        with pytest.raises(TopicsChanged, match=r"has 5 partitions now, 4 in topology\.yaml.*set `partitions: 5`"):
            kafka.look(2)
        assert kafka.watch.upto == 1
    else:
        kafka.look(2)
        assert kafka.watch.upto == 2
