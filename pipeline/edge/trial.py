"""The collector in one process without Kafka, for whoever tries a site's tracking out."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

import msgspec

from pipeline.edge.echo import Echo
from pipeline.edge.gate import LIMIT, listening
from pipeline.edge.intake import Judge
from pipeline.edge.keys import KeyRing
from pipeline.edge.metrics import EdgeMetrics
from pipeline.edge.server import Collector, server
from pipeline.grammar.vocabulary import sendable
from pipeline.topology import Topology
from pipeline.topology.model import WriteKey

ANYBODY = WriteKey(name="any", key="any", public=False, types=frozenset(sendable(public=False)))


async def echo(topology: Topology, write: Callable[[str], None]) -> None:
    """Until SIGTERM or ^C. Raises OSError where the port can't be had."""
    edge = msgspec.structs.replace(topology.edge, host="127.0.0.1")
    told = Echo(write)
    collector = Collector(
        edge,
        Judge(topology, None),
        told,
        EdgeMetrics(),
        ring=KeyRing((), time.monotonic()),
        anybody=ANYBODY,
        keep=told.keep,
        more=told.micro,
    )
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, ending.set)
    web_server, gate = server(collector, LIMIT)
    listener = listening(edge.host, edge.port)
    listener.listen(128)
    listener.setblocking(False)
    accepting = await loop.create_server(gate, sock=listener)
    await ending.wait()
    accepting.close()
    await web_server.shutdown(1.0)
    gate.close()
