"""What is too large for a record, on real servers: a person that moves, a decision, one that its topic refuses.

What we write fits, the others go on, and nothing is published twice.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.identity.ids import leaf_id
from pipeline.wire.records import GROUP, Move, Seal, partition_of
from tests.deployment import Deployment
from tests.flow.test_bad_input import metric
from tests.flow.test_recordings import quick, until
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

TRAITS, LOGINS, CRM_IDS, OTHERS = 400, 4, 2_600, 40
LARGE: dict[str, Any] = {"message.max.bytes": 8_000_000, "log_level": 3}
REFUSED = 20_000  # bytes, packed; a decision with 100 of these ids has more


def larger(document: dict[str, Any]) -> None:
    quick(document)
    document["identifiers"]["namespaces"]["crm_id"]["limit"] = 5_000


def take_less(kafka: str, topic: str) -> None:
    """An operator has set `max.message.bytes` of a topic."""
    entry = ConfigEntry("max.message.bytes", str(REFUSED), incremental_operation=AlterConfigOpType.SET)
    wanted = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": kafka})
    for done in admin.incremental_alter_configs([wanted]).values():
        done.result(30)


def unpackable(rng: Random, length: int) -> str:
    """So many letters, two bytes each: Kafka would refuse a megabyte of them in one record, packed as it may be."""
    return "".join(chr(rng.randrange(0x400, 0x800)) for _ in range(length))


def elsewhere(user: str, partitions: int) -> str:
    """A device whose profile moves to the user's, in another partition."""
    theirs = leaf_id("user_id", user)
    for n in count():
        mine = leaf_id("anonymous_id", f"{user}-{n}")
        if mine > theirs and partition_of(mine, partitions) != partition_of(theirs, partitions):
            return f"{user}-{n}"
    raise AssertionError


def test_what_is_too_large_goes_in_parts_or_with_less_and_nothing_goes_twice(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> None:
    with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry, larger) as shop:
        shop.run("topics")
        topics = shop.topology.topics
        take_less(kafka.bootstrap, topics.decisions.name)
        worker = shop.worker()
        worker.wait_ready()
        topic, numbers = topics.sources[0].name, count()
        moving = elsewhere("wide", topics.resolved.partitions)
        with connect(registry.url) as known:
            encoder, rng = Encoder(known), Random(1)
            producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 3})

            def tell(kind: str, ids: dict[str, str], body: dict[str, Any]) -> None:
                at = int(time.time() * 1000)
                event = Event(kind, f"e{next(numbers)}", at, at, ids, body)
                producer.produce(topic, encoder.encode(topic, event), next(iter(ids.values())).encode())
                producer.poll(0)

            for n in range(LOGINS):
                traits = {f"{n}-{m}-" + unpackable(rng, 240): unpackable(rng, 256) for m in range(TRAITS)}
                tell("identified", {"anonymous_id": moving}, {"traits": traits})
            for _ in range(CRM_IDS):
                tell("identified", {"user_id": "known", "crm_id": rng.randbytes(200).hex()}, {})
            assert producer.flush(60) == 0
            told = LOGINS + CRM_IDS
            until(lambda: metric(worker, "pipeline_events_total", 'outcome="processed"') >= told, 60, "they are known")
            tell("identified", {"anonymous_id": moving, "user_id": "wide"}, {})
            price = {"url": "https://shop.example/price", "path": "/price"}
            for ids in ({"anonymous_id": moving}, {"user_id": "known"}):
                tell("page_viewed", ids, price)
            for n in range(OTHERS):
                tell("page_viewed", {"anonymous_id": f"other{n}"}, price)
            assert producer.flush(60) == 0
        wanted = OTHERS + 2
        until(lambda: len({d["id"] for d in shop.triggers()}) >= wanted, 60, "everybody is decided")
        time.sleep(3)  # more of the same, if there were any
        decisions, triggers = shop.decisions(), shop.triggers()
        for published in (decisions, triggers):
            times = Counter(d["id"] for d in published)
            assert len(times) == wanted
            assert set(times.values()) == {1}
            assert {d["outcome"] for d in published} == {"fired"}

        def of(published: list[dict[str, Any]], user: str) -> dict[str, Any]:
            (found,) = [d for d in published if d["identifiers"].get("user_id") == [user]]
            return found

        for published, items in ((decisions, 10), (triggers, 100)):
            assert len(of(published, "known")["identifiers"]["crm_id"]) == items
            assert of(published, "known")["bounded"]
            assert [d for d in published if d.get("bounded")] == [of(published, "known")]
            assert of(published, "wide")["identifiers"]["anonymous_id"] == [moving]
        seal = Seal(shop.topology.group)
        records = [r for r in shop.read(topics.resolved.name) if GROUP in dict(r.headers())]
        parts = [(m, r) for r in records if isinstance(m := seal.books(r.headers()), Move) and m.parts > 1]
        assert sum(len(r.value()) for _, r in parts) > 1_600_000
        assert len(parts) == parts[0][0].parts
        text = worker.log.read_text()
        assert "a record of" in text
        assert "is too large for it: sent with less" in text
        assert worker.stop() == 0


def carts(document: dict[str, Any]) -> None:
    rule = {**document["triggers"]["abandoned_cart"], "after": "3s"}
    quick(document)
    document["triggers"] = {"abandoned_cart": rule}


def test_an_event_that_tells_more_than_a_record_takes(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> None:
    """A row can't be split: its partition would stand before it for ever."""
    with Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry, carts) as shop:
        shop.run("topics")
        topics = shop.topology.topics
        topic = topics.sources[0].name
        kafka.set_topic_config(topic, "max.message.bytes", "4000000")
        kafka.set_topic_config(topics.dead_letters.name, "max.message.bytes", "8000000")
        worker, rng = shop.worker(), Random(1)
        worker.wait_ready()

        def product(number: int) -> dict[str, Any]:
            def text() -> str:
                return "".join(chr(rng.randrange(0x20000, 0x2A000)) for _ in range(256))

            return {"product_id": f"{number}", "name": text(), "sku": text(), "variant": text(), "price": 1.0}

        with connect(registry.url) as known:
            encoder, producer = Encoder(known), Producer({"bootstrap.servers": kafka.bootstrap, **LARGE})
            told: list[dict[str, Any]] = [{"products": list(map(product, range(600)))}, {"product_id": "tent"}]
            for n, body in enumerate(told):
                at = int(time.time() * 1000)
                event = Event("product_added", f"e{n}", at, at, {"anonymous_id": f"a{n}"}, {"cart_id": f"c{n}", **body})
                producer.produce(topic, encoder.encode(topic, event), partition=0)
            assert producer.flush(60) == 0
        until(lambda: len(shop.triggers()) == 2, 60, "both are decided")
        lines = {d["correlation_key"]: d["payload"]["lines"] for d in shop.triggers()}
        assert len(lines["c1"]) == 1 < len(lines["c0"])
        assert worker.stop() == 0
