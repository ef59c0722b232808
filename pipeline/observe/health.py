"""The worker over HTTP: is it alive, is it ready and if not why, and its metrics.

    GET /healthz   200, or 503 when the process should be restarted           {"alive": true}
    GET /readyz    200, or 503 while something that work needs is missing     {"ready": false,
                   `waiting_for`: what isn't ready, by name                    "waiting_for": {"redis": "no answer"},
                   `held_by`: what holds event time back, by name              "held_by": {"events.email-2": "..."},
                   `clocks`: servers whose clocks differ from ours             "clocks": {"redis": "9 s ahead of ..."}}
    GET /metrics   Prometheus' text format, or OpenMetrics

`held_by` alone doesn't make a worker unready: it works, but decides nothing until the partition goes on or is left
out (`left_out` in topology.yaml). Nor does `clocks`: it goes by Kafka's clock, whatever the others show.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from pipeline.observe.metrics import Metrics

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
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        port: int,
        host: str = "0.0.0.0",
        ready: Mapping[str, Check] | None = None,
        alive: Check = lambda: None,
        held_by: Callable[[], Mapping[str, str]] = _nothing,
        clocks: Callable[[], Mapping[str, str]] = _nothing,
    ) -> None:
        self.host = host
        self.port = port
        self._metrics = metrics
        self._ready = dict(ready or {})
        self._alive = alive
        self._held_by = held_by
        self._clocks = clocks
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._exposition)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            await runner.cleanup()
            message = (
                f"can't listen on {self.host}:{self.port} ({error.strerror}): set PIPELINE_HTTP_PORT to a free port"
            )
            raise OSError(error.errno, message) from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends open requests after a second. Does nothing when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            for site in runner.sites:
                await site.stop()
            await runner.cleanup()

    def report(self) -> dict[str, object]:
        """What /readyz says."""
        waiting = {name: wrong for name, check in self._ready.items() if (wrong := _ask(name, check)) is not None}
        try:
            held = dict(self._held_by())
        except Exception as error:  # a broken report must not hide the others
            log.exception("held_by failed")
            held = {"held_by": f"the check failed: {error!r}"}
        return {"ready": not waiting, "waiting_for": waiting, "held_by": held, "clocks": dict(self._clocks())}

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


def _ask(name: str, check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        log.exception("check failed", extra={"check": name})
        return f"the check failed: {error!r}"


def _json(value: object, status: int) -> web.Response:
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, headers=headers)
