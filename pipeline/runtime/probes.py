"""Asks the servers how they are, whatever the batches do: over connections of its own, and with little patience.

What it asks changes nothing: Redis to write no bytes (which it refuses when it is full, a replica, or can't write to
its disk), Kafka where a topic's partitions are, the registry for its settings. What is due it reads from Redis
(overdue.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    TimeoutError,
)

from pipeline.errors import RegistryUnavailable
from pipeline.events.registry import Registry, connect
from pipeline.observe.causes import (
    KAFKA_AWAY,
    KAFKA_SILENT,
    REDIS_AWAY,
    REDIS_FULL,
    REDIS_REFUSES,
    REDIS_SILENT,
    REGISTRY_AWAY,
    Cause,
)
from pipeline.observe.troubles import Troubles
from pipeline.runtime.overdue import Overdue
from pipeline.runtime.signs import Signs
from pipeline.topology.addresses import shown
from pipeline.topology.model import Topology

log = logging.getLogger(__name__)

PATIENCE_S = 2.0
LOOK_S = 1.0
EVERY_S = {"redis": 1.0, "kafka": 1.5, "registry": 5.0, "overdue": 2.0, "standing": 2.0}
OF_REDIS = (REDIS_AWAY, REDIS_SILENT, REDIS_FULL, REDIS_REFUSES)
OF_KAFKA = (KAFKA_AWAY, KAFKA_SILENT)


def patient_redis(url: str) -> Redis:
    """A client that says within seconds that nothing answers."""
    retry = Retry(NoBackoff(), 0)
    return Redis.from_url(url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, retry=retry)


class Probes:
    """Tells `troubles` of servers, for as long as `run` runs. `durable` False: the embedded Kafka isn't asked.

    `redis`: a client for this alone (`patient_redis`).
    """

    def __init__(
        self,
        topology: Topology,
        troubles: Troubles,
        redis: Redis,
        overdue: Overdue,
        signs: Signs,
        *,
        durable: bool = True,
    ) -> None:
        self._topology = topology
        self._troubles = troubles
        self._client = redis
        self._overdue = overdue
        self._signs = signs
        self._durable = durable
        self._settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": topology.kafka,
            "log_level": 0,
            "reconnect.backoff.max.ms": 1000,
        }
        self._admin: AdminClient | None = None
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="probe")

    async def run(self) -> None:
        """Until cancelled."""
        asks: dict[str, Callable[[], Awaitable[None]]] = {
            "redis": self._redis,
            "overdue": self._overdue.measure,
            "standing": self._signs.look_who_stands,
        }
        if self._durable:
            asks["kafka"] = self._kafka
        if not self._topology.registry.startswith("mock://"):
            asks["registry"] = partial(self._registry, connect(self._topology.registry, timeout=PATIENCE_S, retries=0))
        try:
            await asyncio.gather(self._look(), *(self._again(name, ask) for name, ask in asks.items()))
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look(self) -> None:
        """So that what begins and ends is logged, also where nobody asks."""
        while True:
            self._troubles.look()
            await asyncio.sleep(LOOK_S)

    async def _again(self, name: str, ask: Callable[[], Awaitable[None]]) -> None:
        task, before = asyncio.current_task(), ""
        while True:
            try:
                await ask()
            except (RedisError, OSError) as problem:  # `_redis` tells of it
                log.debug("%s: %r", name, problem)
            except Exception as problem:  # nothing that goes wrong here may stop the asking
                said, before = before, repr(problem)
                if said != before:
                    log.warning("looking after %s failed; it is tried again", name, exc_info=problem)
            else:
                before = ""
            if task is not None and task.cancelling():  # a client that is connecting may swallow the cancellation
                return
            await asyncio.sleep(EVERY_S[name])

    def _found(self, causes: tuple[Cause, ...], found: Cause | None, where: str, what: str) -> None:
        """Of several that exclude each other, this one is so now; None: none."""
        for cause in causes:
            if cause is not found:
                self._troubles.end(cause, where)
        if found is not None:
            self._troubles.begin(found, where, what)

    async def _redis(self) -> None:
        cause, said = None, ""
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                await self._client.setrange(f"{self._topology.group}:probe", 0, "")
        except NoPermissionError:  # it answers
            pass
        except RedisError as problem:
            cause, said = _cause_of(problem), str(problem)
        except OSError as problem:
            cause, said = REDIS_SILENT, str(problem)
        text = f"Redis at {shown(self._topology.redis)}: {said or 'no answer'}"
        self._found(OF_REDIS, cause, "redis", text)

    async def _kafka(self) -> None:
        cause, said = None, ""
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._ask_kafka)
        except KafkaException as problem:
            open_ones = [address for address in self._topology.kafka.split(",") if await _listens(address.strip())]
            cause = KAFKA_SILENT if open_ones else KAFKA_AWAY
            said = problem.args[0].str() if open_ones else "nobody listens there"
        self._found(OF_KAFKA, cause, "kafka", f"Kafka at {self._topology.kafka}: {said}")

    def _ask_kafka(self) -> None:
        """Where a topic's partitions are. The next asks another client, where this one failed (see Broker)."""
        admin, self._admin = self._admin or AdminClient(self._settings), None
        admin.list_topics(self._topology.topics.resolved.name, timeout=PATIENCE_S)
        self._admin = admin

    async def _registry(self, registry: Registry) -> None:
        cause, said = None, ""
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, registry.alive)
        except RegistryUnavailable as problem:
            cause, said = REGISTRY_AWAY, str(problem)
        self._found((REGISTRY_AWAY,), cause, "registry", said)


def _cause_of(problem: RedisError) -> Cause:
    if isinstance(problem, OutOfMemoryError):
        return REDIS_FULL
    if isinstance(problem, TimeoutError):
        return REDIS_SILENT
    if isinstance(problem, ConnectionError) and not isinstance(problem, AuthenticationError | BusyLoadingError):
        return REDIS_AWAY
    return REDIS_REFUSES


async def _listens(address: str) -> bool:
    """Whether anybody takes connections at host:port."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(PATIENCE_S / 2):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, ValueError):
        return False
    writer.close()
    return True
