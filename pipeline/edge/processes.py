"""Several processes on one address, and one place that tells of all: health and metrics.

The kernel hands connections round (SO_REUSEPORT). A process that dies is started again; nothing that it had answered
is lost, and what it hadn't, clients send again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from pipeline.edge.gate import listening, secured
from pipeline.edge.process import serve
from pipeline.edge.spool import usable
from pipeline.topology import Topology

log = logging.getLogger(__name__)

FILES = "PROMETHEUS_MULTIPROC_DIR"
LOOK_S = 0.5
END_S = 30.0
AGAIN_S = 1.0


def run(topology: Topology, log_level: str) -> int:
    """Until SIGTERM or ^C; returns the exit code."""
    folder = tempfile.mkdtemp(prefix="pipeline-edge-")
    os.environ[FILES] = folder  # read when prometheus_client is imported first, so in the processes alone
    try:
        return asyncio.run(_Parent(topology, log_level, folder).run())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Parent:
    def __init__(self, topology: Topology, log_level: str, folder: str) -> None:
        self._topology = topology
        self._edge = topology.edge
        self._log_level = log_level
        self._folder = folder
        self._children: dict[int, BaseProcess] = {}
        self._started: dict[int, float] = {}
        self._ending = asyncio.Event()

    async def run(self) -> int:
        secured(self._edge)  # what is wrong with it is said once
        if self._edge.spool is not None:
            usable(Path(self._edge.spool.directory))
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._ending.set)
        # Nobody listens on it: it shows at once whether the address can be had, and keeps it while processes change.
        with listening(self._edge.host, self._edge.port):
            admin = web.ServerRunner(web.Server(self._answer, access_log=None))
            await admin.setup()
            await web.TCPSite(admin, "127.0.0.1", self._edge.admin_port).start()
            try:
                for number in range(self._edge.processes):
                    self._start(number)
                while not self._ending.is_set():
                    self._look()
                    await asyncio.wait([asyncio.ensure_future(self._ending.wait())], timeout=LOOK_S)
                return await self._end()
            finally:
                await admin.cleanup()

    def _start(self, number: int) -> None:
        child = get_context("spawn").Process(target=serve, args=(self._topology, number, self._log_level), name="edge")
        child.start()
        self._children[number] = child
        self._started[number] = time.monotonic()

    def _look(self) -> None:
        """Start again what has died, but not in a hurry."""
        for number, child in list(self._children.items()):
            if child.is_alive() or time.monotonic() - self._started[number] < AGAIN_S:
                continue
            log.error("process %d ended with exit code %s; it is started again", child.pid, child.exitcode)
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(child.pid, self._folder)
            self._start(number)

    async def _end(self) -> int:
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + END_S
        for child in self._children.values():
            await asyncio.to_thread(child.join, max(deadline - time.monotonic(), 0.0))
        left = [child for child in self._children.values() if child.is_alive()]
        for child in left:
            child.kill()
        return 1 if left else 0

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/metrics":
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
            return web.Response(body=encode(self._counted()), headers={"Content-Type": content_type})
        if request.path == "/healthz":
            return web.json_response({"alive": True})
        if request.path == "/readyz":
            ready = int(self._counted().get_sample_value("pipeline_edge_ready") or 0)
            told = {"ready": ready > 0, "processes": ready, "of": self._edge.processes}
            return web.json_response(told, status=200 if ready else 503)
        return web.json_response({"paths": ["/healthz", "/readyz", "/metrics"]}, status=404)

    def _counted(self) -> Any:
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)
        return registry
