"""The worker over HTTP: is it alive, is it ready and if not why, and its metrics.

    GET /healthz   200, or 503 when the process should be restarted           {"alive": true}
    GET /readyz    200, or 503 while something that work needs is missing     {"ready": false,
                   `waiting_for`: what isn't ready, by name                    "waiting_for": {"redis": "no answer"},
                   `held_by`: what holds event time back, by name              "held_by": {"events.email-2": "..."},
                   `clocks`: servers whose clocks differ from ours             "clocks": {"redis": "9 s ahead of ..."},
                   `troubles`: all that is wrong now, and what to do           "troubles": [{"cause": "redis_full", …}]}
    GET /metrics   Prometheus' text format, or OpenMetrics

Not everything that holds event time, or is wrong, makes a worker unready: causes.py says what does. A worker whose
clocks differ goes by Kafka's, whatever the others show.

A connection is for one request, and ends after ten seconds, whatever happens on it (door.py).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from pipeline.observe.causes import HTTP_CROWDED
from pipeline.observe.door import BACKLOG, LIFE_S, LIMIT, Door
from pipeline.observe.metrics import Metrics
from pipeline.observe.troubles import Ongoing, Trouble, Troubles

log = logging.getLogger(__name__)

# What is wrong, in words; None: nothing. Called on the event loop for every request, so it must not block.
Check = Callable[[], str | None]


def _nothing() -> Mapping[str, str]:
    return {}


class HealthServer:
    """Answers on `host`:`port` between `start` and `stop`, on the running event loop.

    `ready`: name -> check. `alive`: one check for the process itself. `held_by`: what holds the watermark, by name.
    `clocks`: which servers' clocks differ from this machine's, and by how much.
    Port 0 takes a free one; `port` is the real one after `start`. A check that raises counts as failed.
    `limit`: connections at a time. `life_s`: how long one may last.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        port: int,
        host: str = "127.0.0.1",
        ready: Mapping[str, Check] | None = None,
        alive: Check = lambda: None,
        held_by: Callable[[], Mapping[str, str]] = _nothing,
        clocks: Callable[[], Mapping[str, str]] = _nothing,
        troubles: Troubles | None = None,
        limit: int = LIMIT,
        life_s: float = LIFE_S,
    ) -> None:
        self.host = host
        self.port = port
        self._metrics = metrics
        self._ready = dict(ready or {})
        self._alive = alive
        self._held_by = held_by
        self._clocks = clocks
        self._troubles = troubles or Troubles()
        self._troubles.ask(self._crowded)
        self._limit = limit
        self._life_s = life_s
        self._runner: web.AppRunner | None = None
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self.door: Door | None = None

    async def start(self) -> None:
        """Raises OSError when it can't listen there."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._exposition)
        app.on_response_prepare.append(_once)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, lingering_time=0.0)
        await runner.setup()
        factory = runner.server
        assert factory is not None
        door = Door(factory, limit=self._limit, life_s=self._life_s)
        try:
            listener = await _listen(self.host, self.port)
        except OSError as error:
            await runner.cleanup()
            message = (
                f"can't listen on {self.host}:{self.port} ({error.strerror}): set PIPELINE_HTTP_PORT to a free port,"
                " and PIPELINE_HTTP_HOST to an address of this machine"
            )
            raise OSError(error.errno, message) from error
        self._runner, self._listener, self.door = runner, listener, door
        self._accepting = asyncio.create_task(door.accept(listener))
        self.port = listener.getsockname()[1]

    async def stop(self) -> None:
        """Ends open requests at once. Does nothing when not started."""
        runner, self._runner = self._runner, None
        if runner is not None and self._accepting and self._listener and self.door is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._listener.close()
            self.door.close()
            await runner.cleanup()

    def report(self) -> dict[str, object]:
        """What /readyz says."""
        waiting = {name: wrong for name, check in self._ready.items() if (wrong := _ask(name, check)) is not None}
        troubles = self._troubles.look()
        for known in troubles:
            if self._troubles.stops(known):
                _, where, what = known.trouble
                waiting[where] = f"{waiting[where]}; {what}" if where in waiting else what
        try:
            held = dict(self._held_by())
        except Exception as error:  # a broken report must not hide the others
            log.exception("held_by failed")
            held = {"held_by": f"the check failed: {error!r}"}
        return {
            "ready": not waiting,
            "waiting_for": waiting,
            "held_by": held,
            "clocks": dict(self._clocks()),
            "troubles": [_shown(known) for known in troubles],
        }

    def _crowded(self) -> list[Trouble]:
        door = self.door
        if door is None or door.last_full is None or asyncio.get_running_loop().time() - door.last_full > door.life_s:
            return []
        what = f"more than {door.limit} connections at a time, {door.turned_out} were closed for others so far"
        return [Trouble(HTTP_CROWDED, "http", what)]

    async def _healthz(self, request: web.Request) -> web.Response:
        wrong = _ask("alive", self._alive)
        if wrong is None:
            return _json({"alive": True}, 200)
        return _json({"alive": False, "because": wrong}, 503)

    async def _readyz(self, request: web.Request) -> web.Response:
        report = self.report()
        return _json(report, 200 if report["ready"] else 503)

    async def _exposition(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


async def _listen(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = found[0]
    listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def _once(request: web.Request, response: web.StreamResponse) -> None:
    """A connection is for one request."""
    response.headers["Connection"] = "close"
    response.force_close()


def _shown(known: Ongoing) -> dict[str, str]:
    cause, where, what = known.trouble
    since = datetime.fromtimestamp(known.since_ms / 1000, UTC).isoformat(timespec="seconds")
    return {"cause": cause.name, "where": where, "since": since, "what": what, "do": cause.do}


def _ask(name: str, check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        log.exception("check failed", extra={"check": name})
        return f"the check failed: {error!r}"


def _json(value: object, status: int) -> web.Response:
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, headers=headers)
