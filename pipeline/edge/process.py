"""One process of the collector, from its start to its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path

import uvloop

from pipeline.edge.delivery import Delivery
from pipeline.edge.gate import LIMIT, Gate, listening, secured
from pipeline.edge.intake import Judge
from pipeline.edge.keys import KeyRing
from pipeline.edge.metrics import EdgeMetrics
from pipeline.edge.server import Collector, server
from pipeline.edge.spool import Spool, files
from pipeline.errors import PipelineError, RegistryUnavailable, SchemaMissing
from pipeline.events.catalogue import catalogue
from pipeline.events.codec import Encoder
from pipeline.events.registry import connect
from pipeline.observe.logs import setup
from pipeline.topology import Topology

log = logging.getLogger(__name__)

DRAIN_S = 2.0  # between "not ready" and the last connection taken: so long a load balancer may need to notice
DESCRIPTORS = 2 * LIMIT
ASK_AGAIN_S = 2.0  # where the registry is away, or lacks a schema
LAST_S = 15.0  # for the requests in hand


def serve(topology: Topology, number: int, log_level: str) -> None:
    """Until SIGTERM. The exit code is 1 where it can't begin."""
    setup(log_level.upper())
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # each connection takes a descriptor
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(allowed, DESCRIPTORS) if allowed > 0 else DESCRIPTORS, allowed))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches every process of a terminal: the parent says when to end
    try:
        uvloop.run(_serve(topology, number))
    except (PipelineError, OSError) as error:
        log.error("%s", error)
        raise SystemExit(1) from None


async def _serve(topology: Topology, number: int) -> None:
    edge = topology.edge
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    metrics = EdgeMetrics()
    with connect(topology.registry) as registry:
        encoder = Encoder(registry)
        await _prepare(topology, encoder, ending)
        delivery = Delivery(topology)
        spool = None
        if (kept := edge.spool) is not None:
            own, left = files(Path(kept.directory), number, edge.processes, kept.bytes)
            spool = Spool(own, delivery, topology.topics.dead_letters.name, left)
        ring = KeyRing(edge.keys, time.monotonic(), 1 / edge.processes)
        collector = Collector(edge, Judge(topology, encoder), spool or delivery, metrics, ring=ring)
        web_server, gate = server(collector, LIMIT)
        listener = listening(edge.host, edge.port)
        listener.listen(1024)
        listener.setblocking(False)
        accepting = await loop.create_server(gate, sock=listener, backlog=1024, ssl=secured(edge))
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)  # an event makes dozens of objects, and no circles
        counting = asyncio.create_task(_count(gate, metrics, delivery, spool, collector, ending))
        scheme = "http" if edge.certificate is None else "https"
        log.info("process %d takes events at %s://%s:%d", number, scheme, edge.host, edge.port)
        await ending.wait()
        collector.ready = False
        metrics.ready.set(0)
        await asyncio.sleep(DRAIN_S)
        accepting.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await web_server.shutdown(LAST_S - 1)
        counting.cancel()
        metrics.publish()
        if spool is not None:
            await spool.close()
        await delivery.close()
        gate.close()
        if spool is not None and spool.broken:
            raise PipelineError("the spool is damaged; the next process sets it aside")


async def _prepare(topology: Topology, encoder: Encoder, ending: asyncio.Event) -> None:
    """Ask for every schema before the first event: later, everybody would wait for the answer."""
    streams = {topic.stream: topic.name for topic in topology.topics.sources}
    said = ""
    while not ending.is_set():
        try:
            for name, each in catalogue().items():
                if each.stream in streams:
                    await asyncio.to_thread(encoder.prepare, streams[each.stream], name)
            return
        except (RegistryUnavailable, SchemaMissing) as error:
            if str(error) != said:
                log.warning("no event is taken yet: %s", error)
            said = str(error)
        with suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), ASK_AGAIN_S)


async def _count(
    gate: Gate,
    metrics: EdgeMetrics,
    delivery: Delivery,
    spool: Spool | None,
    collector: Collector,
    ending: asyncio.Event,
) -> None:
    parent = os.getppid()
    while True:
        if os.getppid() != parent:  # it was killed: nobody tells this process when to end, nor starts it again
            ending.set()
        metrics.publish()
        metrics.connections.set(len(gate))
        away = delivery.away
        if spool is not None:
            away = spool.full
            metrics.spooled.set(spool.waiting)
            if spool.broken:
                ending.set()
        metrics.ready.set(0 if away or not collector.ready else 1)
        await asyncio.sleep(0.25)
