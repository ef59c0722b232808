"""What others do to the servers that a deployment stands on: a second one beside it, partitions added, records and
topics deleted while it runs. Each is noticed, told with what to do, and what is told is done here, word for word.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions

from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.runtime.transport import CALM_MS
from tests.contract.test_stores import ClusterServer
from tests.deployment import Deployment, WorkerProcess
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

NOTICED_S = 30.0
AFTER_S = 6
LEAVING_S = 15.0  # what an orderly end may take


def quick(document: dict[str, Any]) -> None:
    """Reminders after seconds, so that the clock brings them on."""
    document["time"] = {"lateness": "1s", "disorder": "2s", "idle": {"after": "1s", "every": "250ms"}}
    document["triggers"] = {"abandoned_cart": {**document["triggers"]["abandoned_cart"], "after": f"{AFTER_S}s"}}


class Shop:
    """Writes what people do into the source topics, as of now."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.kafka = deployment.kafka
        self.registry = connect(deployment.registry.url)
        self.encoder = Encoder(self.registry)
        self.told_at: dict[str, int] = {}  # event id -> UTC ms
        self.topics = {topic.stream: topic.name for topic in deployment.topology.topics.sources}

    def cart(self, person: str, partition: int) -> tuple[str, int, bytes]:
        """A product in the cart, on the laptop."""
        body = {"cart_id": f"cart-{person}", "product_id": "tent", "price": 9.5, "quantity": 1.0}
        return self._told("product_added", person, "laptop", body, partition)

    def order(self, person: str, partition: int) -> tuple[str, int, bytes]:
        """The order, on the phone, which is tied to the laptop by the person's login alone."""
        return self._told("order_completed", person, "phone", {"order_id": f"order-{person}"}, partition)

    def _told(
        self, kind: str, person: str, device: str, body: dict[str, Any], partition: int
    ) -> tuple[str, int, bytes]:
        now = int(time.time() * 1000)
        ids = {"anonymous_id": f"{device}-{person}", "user_id": person}
        event = Event(kind, f"{kind}-{person}", now, now, ids, body)
        self.told_at[event.event_id] = now
        topic = self.topics["clickstream"]
        return topic, partition, self.encoder.encode(topic, event)

    def bought_in_time(self, person: str) -> bool:
        """Whether the order was told of before the reminder was due."""
        cart, order = self.told_at[f"product_added-{person}"], self.told_at.get(f"order_completed-{person}")
        return order is not None and order < cart + AFTER_S * 1000

    def put(self, *told: tuple[str, int, bytes]) -> None:
        """Until the broker has them."""
        producer = Producer({"bootstrap.servers": self.kafka, "log_level": 3})
        for topic, partition, value in told:
            producer.produce(topic, value, partition=partition)
        assert producer.flush(30) == 0


@pytest.fixture
def shop(tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str) -> Iterator[Shop]:
    deployment = Deployment(tmp_path, prefix.rstrip("."), kafka.bootstrap, redis_url, registry, quick)
    with deployment:
        deployment.run("topics")
        made = Shop(deployment)
        yield made
        made.registry.close()


def outcomes(deployment: Deployment, people: Iterable[str], timeout: float = 90.0) -> dict[str, Counter[str]]:
    """Person -> what was decided of the cart, and how often it was published, as soon as that is so of all of them."""
    wanted, deadline = set(people), time.monotonic() + timeout
    while True:
        found: dict[str, Counter[str]] = {}
        for decision in deployment.decisions():
            found.setdefault(decision["correlation_key"].removeprefix("cart-"), Counter())[decision["outcome"]] += 1
        if wanted <= found.keys():
            return found
        assert time.monotonic() < deadline, f"undecided: {sorted(wanted - found.keys())}"
        for worker in deployment.workers:
            worker.check()
        time.sleep(0.3)


def ended(worker: WorkerProcess) -> tuple[int, str]:
    """Exit code and log of a worker that ends by itself soon."""
    worker.expected_end = True
    began = time.monotonic()
    code = worker.process.wait(NOTICED_S + LEAVING_S)
    assert time.monotonic() - began < NOTICED_S + LEAVING_S
    said = worker.log.read_text()
    assert "Traceback" not in said, worker.tail()
    return code, said


def until_logged(worker: WorkerProcess, words: str) -> None:
    deadline = time.monotonic() + NOTICED_S
    while words not in worker.log.read_text():
        worker.check()
        assert time.monotonic() < deadline, f"{words!r} is not in:\n{worker.tail()}"
        time.sleep(0.1)


def moves(worker: WorkerProcess) -> int:
    """How often the group gave or took partitions."""
    return len(re.findall(r"claimed \d+ partitions|gave up \d+ partitions", worker.log.read_text()))


def test_partitions_added_to_a_source_topic(shop: Shop, kafka: KafkaServer) -> None:
    """Nothing is decided without them; the worker ends, and says what makes it go on. Then a topic is deleted."""
    deployment = shop.deployment
    topic = shop.topics["clickstream"]
    worker = deployment.worker()
    worker.wait_ready()
    shop.put(*(shop.cart(f"before-{n}", n % 4) for n in range(8)))
    outcomes(deployment, [f"before-{n}" for n in range(8)])

    people = [f"p{n}" for n in range(40)]
    shop.put(*(shop.cart(person, n % 4) for n, person in enumerate(people)))
    admin = kafka.admin()
    admin.create_partitions([NewPartitions(topic, 6)])[topic].result(30)
    shop.put(*(shop.order(person, 4 + n % 2) for n, person in enumerate(people) if n < 20))
    shop.put(*(shop.cart(f"new-{n}", 4 + n % 2) for n in range(10)))
    code, said = ended(worker)
    assert code == 2
    advice = f"{topic} has 6 partitions now, 4 in topology.yaml"
    assert advice in said
    assert "set `partitions: 6` of this topic there and start the workers (again)" in said
    shown = deployment.run("topics", "--check", code=1)
    assert f"error: {topic}: 6 partitions on the broker, 4 in topology.yaml; set `partitions: 6`" in shown
    refused = deployment.worker()
    code, said = ended(refused)
    assert code == 1
    assert "set `partitions: 6`" in said

    document = yaml.safe_load(deployment.path.read_text())
    document["topics"]["sources"][topic]["partitions"] = 6
    deployment.path.write_text(yaml.safe_dump(document, sort_keys=False))
    worker = deployment.worker()
    worker.wait_ready()
    found = outcomes(deployment, [*people, *(f"new-{n}" for n in range(10))])
    bought = {person for person in people if shop.bought_in_time(person)}
    assert bought
    assert {person: found[person] for person in people} == {
        person: Counter({"cancelled": 1} if person in bought else {"fired": 1}) for person in people
    }
    assert all(found[f"new-{n}"] == Counter({"fired": 1}) for n in range(10))

    # A topic is deleted.
    video = shop.topics["video"]
    admin.delete_topics([video])[video].result(30)
    code, said = ended(worker)
    assert code == 2
    assert f"{video}: not on the broker any more" in said
    assert "make the source topic under another name" in said

    # Under another name it goes on, with all that is known of people.
    shop.put(*(shop.cart(f"known-{n}", n % 4) for n in range(4)))
    document = yaml.safe_load(deployment.path.read_text())
    sources = document["topics"]["sources"]
    sources[f"{video}-again"] = {**sources.pop(video), "stream": "video"}
    deployment.path.write_text(yaml.safe_dump(document, sort_keys=False))
    deployment.run("topics")
    worker = deployment.worker()
    worker.wait_ready()
    outcomes(deployment, [f"known-{n}" for n in range(4)])
    person = json.loads(deployment.run("profile", "user_id:p0", "--json"))
    assert person["identifiers"]["anonymous_id"] == ["laptop-p0", "phone-p0"]
    assert worker.stop() == 0


def test_neighbours(shop: Shop, kafka: KafkaServer, registry: SchemaRegistry, redis_url: str, tmp_path: Path) -> None:
    deployment = shop.deployment
    topic, resolved = shop.topics["clickstream"], deployment.topology.topics.resolved.name
    admin = kafka.admin()
    worker = deployment.worker()
    worker.wait_ready()
    first = [f"p{n}" for n in range(50)]
    shop.put(*(shop.cart(person, n % 4) for n, person in enumerate(first)))

    # Another deployment with the same group in the same Redis is refused, and this one doesn't notice.
    claims = moves(worker)

    def same_group(document: dict[str, Any]) -> None:
        document["group"] = deployment.topology.group

    other = Deployment(tmp_path, f"{deployment.name}-other", kafka.bootstrap, redis_url, registry, same_group)
    with other:
        other.run("topics")
        code, said = ended(other.worker())
        assert code == 2
        cluster = admin.list_topics(timeout=10).cluster_id
        for name in (resolved, other.topology.topics.resolved.name):
            assert f"Kafka cluster {cluster}, {name} with 4 partitions" in said
        assert "give it a `group` of its own (PIPELINE_GROUP) or another Redis database" in said
        code, said = ended(other.worker(PIPELINE_REDIS=redis_url[:-1] + "1", PIPELINE_KAFKA="127.0.0.1:9"))
        assert code == 1  # nobody there
    outcomes(deployment, first)
    assert moves(worker) == claims

    # A partition that is added to identity.resolved does no harm: nobody writes there.
    admin.create_partitions([NewPartitions(resolved, 5)])[resolved].result(30)
    until_logged(worker, f"{resolved} has 5 partitions now; we go on with the first 4 alone")
    shop.put(shop.cart("after", 0))
    outcomes(deployment, ["after"])

    # Records are deleted before they were read.
    _, high = ends(kafka, topic, 0)
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(2 * CALM_MS / 1000)  # an answer that Kafka is waiting with comes empty
    late = [f"late-{n}" for n in range(5)]
    shop.put(*(shop.cart(person, 0) for person in late))
    admin.delete_records([TopicPartition(topic, 0, high + 3)])[TopicPartition(topic, 0)].result(30)
    worker.process.send_signal(signal.SIGCONT)
    code, said = ended(worker)
    assert code == 2
    assert (
        f"{topic}-0: the next record is {high}, but the topic begins at {high + 3}: retention has deleted 3 records"
        in said
    )
    code, again = ended(deployment.worker())
    assert code == 2
    advice = "start over with another `group` (PIPELINE_GROUP): it reads the source topics from their beginning"
    assert advice in said
    assert advice in again

    # Retention has cut identity.resolved, too, in the middle of what the old group wrote. The advice is followed.
    for partition in range(4):
        begin, end = ends(kafka, resolved, partition)
        middle = TopicPartition(resolved, partition, begin + (end - begin) // 2)
        admin.delete_records([middle])[TopicPartition(resolved, partition)].result(30)
    before = outcomes(deployment, first)
    lost = {person for n, person in enumerate(first) if n % 4 == 0} | {"after", *late[:3]}
    worker = deployment.worker(PIPELINE_GROUP=f"{deployment.name}-anew")
    worker.wait_ready()
    until_logged(worker, f"{topic}-0 begins at {high + 3}: this deployment knows nothing of what stood there before")
    outcomes(deployment, [*late[3:]])
    deadline = time.monotonic() + 60
    wanted = {person: sum(before[person].values()) + 1 for person in first if person not in lost}
    while True:
        found = {person: sum(n.values()) for person, n in outcomes(deployment, first).items()}
        if all(found[person] >= times for person, times in wanted.items()):
            break
        assert time.monotonic() < deadline, {p: (found[p], n) for p, n in wanted.items() if found[p] < n}
        time.sleep(0.3)
    # Under the same ids: who goes by them acts once.
    assert len({d["id"] for d in deployment.decisions()}) == len(first) + 1 + 2
    assert worker.stop() == 0


def ends(kafka: KafkaServer, topic: str, partition: int) -> tuple[int, int]:
    """Where a partition begins and ends."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "none", "log_level": 3})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        return low, high
    finally:
        consumer.close()


def test_a_redis_cluster_is_refused_at_the_start(shop: Shop) -> None:
    deployment = shop.deployment
    with ClusterServer() as cluster:
        code, said = ended(deployment.worker(PIPELINE_REDIS=cluster.url))
    assert code == 1
    assert "it is part of a Redis Cluster (cluster_enabled), which isn't supported yet" in said
