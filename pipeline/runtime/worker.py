"""The composition root of `pipeline worker`: servers, stores, hops, health, put together once."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable

from redis.asyncio import Redis

from pipeline.errors import PipelineError, ProducersTime, RegistryUnavailable
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.registry import connect
from pipeline.observe.causes import CLOCKS_DIFFER
from pipeline.observe.health import HealthServer, is_loopback
from pipeline.observe.metrics import Metrics
from pipeline.observe.troubles import Trouble, Troubles
from pipeline.profile.fields import handed_fields, wanted_fields
from pipeline.runtime.app import Worker, run_process
from pipeline.runtime.broker import STAMP, Broker, all_topics
from pipeline.runtime.clocks import BrokerClock, Clocks
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.hops import Hops
from pipeline.runtime.overdue import Overdue
from pipeline.runtime.probes import Probes, patient_redis
from pipeline.runtime.producers import Producers
from pipeline.store.ports import Home
from pipeline.store.redis_store import RedisGraphStore, RedisProfileStore
from pipeline.store.redis_store import connect as connect_stores
from pipeline.store.server import check_server
from pipeline.topology.addresses import shown
from pipeline.topology.model import Topology
from pipeline.triggers.rules import RuleBook

log = logging.getLogger(__name__)

REGISTRY_S = 1.0  # before it is asked again


def prefix_of(topology: Topology) -> str:
    """Every Redis key of a deployment begins with its group."""
    return topology.group


async def _home(topology: Topology, broker: Broker) -> Home:
    """What this deployment's state is stamped with."""
    topics = topology.topics
    sources = tuple(sorted(topic.name for topic in topics.sources))
    return Home(await broker.cluster_id(), topics.resolved.name, topics.resolved.partitions, sources)


async def prepare(topology: Topology, *, durable: bool = True, health: bool = True) -> Worker:
    """Connect, check, and put a worker together. `durable` False: the embedded servers (no transactions, no admin).

    A schema registry that doesn't answer is waited for. Raises PipelineError naming what is wrong with another server;
    ProducersTime where topics that tell time don't tell the broker's; OtherDeployment where the state in Redis is a
    neighbour's.
    """
    redis = Redis.from_url(topology.redis, health_check_interval=0)
    try:
        findings = await check_server(redis) if durable else []
    except Exception as problem:
        raise PipelineError(f"Redis at {shown(topology.redis)} doesn't answer: {problem}") from problem
    if findings:
        raise PipelineError(f"Redis at {shown(topology.redis)} can't be used:\n  " + "\n  ".join(findings))
    broker = Broker(topology.kafka)
    if durable:
        wrong = [f for f in await broker.check(all_topics(topology.topics)) if f.fatal]
        if wrong:
            error = ProducersTime if any(f.what == STAMP for f in wrong) else PipelineError
            raise error(
                "the topics aren't as topology.yaml says (`pipeline topics` makes what is missing):\n  "
                + "\n  ".join(map(str, wrong))
            )
    else:
        log.warning("embedded broker: the first hop runs without transactions, and nothing survives this process")
    home = await _home(topology, broker) if durable else None
    stores = connect_stores(topology.redis)
    graph = RedisGraphStore(stores, prefix_of(topology), topology.identifiers, home=home)
    # Before anything is registered, and before the group is joined: a neighbour's partitions must not move for us.
    await graph.settle()
    registry = connect(topology.registry)
    delivery = Delivery(topology, Encoder(registry))
    resolved, book = topology.topics.resolved, RuleBook(topology)
    clock = BrokerClock(resolved.partitions)

    def heard(topic: str, partition: int, appended_at: int) -> None:
        if topic == resolved.name:
            clock.heard(partition, appended_at)

    async def redis_time() -> float:
        seconds, micros = await redis.time()
        return float(seconds) + float(micros) / 1e6

    metrics = Metrics(clock.seconds)
    clocks = Clocks(metrics, clock if durable else None, redis_time)
    troubles = Troubles()
    troubles.ask(lambda: [Trouble(CLOCKS_DIFFER, server, words) for server, words in clocks.apart().items()])
    hops = Hops(
        topology,
        graph,
        RedisProfileStore(stores, prefix_of(topology), resolved.partitions, home),
        Decoder(registry, blocking=False, wanted=wanted_fields(book), handed=handed_fields(book)),
        delivery,
        Producers(topology.kafka, topology.group, transactions=durable, heard=heard),
        broker,
        metrics,
        clocks,
        durable=durable,
        troubles=troubles,
    )
    worker = Worker(topology, hops, transactions=durable)
    away: str | None = None
    hops.control = worker.control
    client = patient_redis(topology.redis)
    store = RedisProfileStore(client, prefix_of(topology), resolved.partitions)
    overdue = Overdue(store, resolved.partitions, topology.time.disorder_ms, metrics, lambda: hops.holder)
    troubles.ask(overdue.troubles)
    # It ends with the loop; somebody has to hold it.
    worker.probing = asyncio.create_task(Probes(topology, troubles, client, overdue, hops.signs, durable=durable).run())
    if health:
        server = HealthServer(
            metrics,
            host=topology.http_host,
            port=topology.http_port,
            ready={"kafka": lambda: None if worker.ready else "no partitions claimed yet", "registry": lambda: away},
            held_by=hops.held_by,
            clocks=clocks.apart,
            troubles=troubles,
        )
        await server.start()
        log.info("health and metrics on %s, port %d", server.host, server.port)
        if not is_loopback(server.host):
            log.warning(
                "health and metrics are open to all who reach %s, and nobody is asked who they are; to close them, set"
                " `http: {host: 127.0.0.1}` in topology.yaml, or PIPELINE_HTTP_HOST",
                server.host,
            )
    while True:
        try:
            await asyncio.to_thread(delivery.prepare)
            break
        except RegistryUnavailable as problem:
            away = str(problem)
            log.warning("the worker can't start yet: %s", problem)
            await asyncio.sleep(REGISTRY_S)
    away = None
    return worker


def run(topology: Topology, *, durable: bool = True, started: Callable[[Worker], None] | None = None) -> int:
    """Run a worker in this process until a signal ends it; returns its exit code (see app.py)."""

    async def make() -> Worker:
        worker = await prepare(topology, durable=durable)
        # Nothing makes cycles once a worker runs, but the collector would walk every cached profile again and again: a
        # third of the whole cost of an event.
        gc.collect()
        gc.freeze()
        gc.set_threshold(200_000, 20, 100)
        if started is not None:
            started(worker)
        return worker

    return run_process(make)
