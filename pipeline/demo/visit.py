"""`pipeline demo --shop`: a page in your browser, its clicks through the collector and the real worker, the triggers on
your terminal."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from rich.console import Console
from rich.text import Text

from pipeline.commands.person_view import OUTCOMES
from pipeline.demo.playground import Playground
from pipeline.demo.view import about, who
from pipeline.edge.delivery import Delivery
from pipeline.edge.families import Family
from pipeline.edge.gate import LIMIT, listening
from pipeline.edge.intake import Accepted, Judge, Refused
from pipeline.edge.keys import KeyRing
from pipeline.edge.metrics import EdgeMetrics
from pipeline.edge.server import Collector, server
from pipeline.events.codec import Encoder
from pipeline.events.registry import connect
from pipeline.grammar.vocabulary import sendable
from pipeline.topology.model import SECOND, Idle, Time, Topology, WriteKey

WAIT_S = 20
FRAME_S = 0.2
# The page sends the orders, too: there is no server behind it that could.
KEY = WriteKey(name="shop", key="demo-shop", public=True, types=frozenset(sendable(public=False)))


def hurried(topology: Topology) -> Topology:
    """What takes an hour or days in earnest takes seconds here."""
    rules = tuple(
        msgspec.structs.replace(
            rule,
            after_ms=0 if rule.at_once else WAIT_S * SECOND,
            after=None,
            stages=tuple(
                msgspec.structs.replace(stage, after_ms=number * WAIT_S * SECOND)
                for number, stage in enumerate(rule.stages, 1)
            ),
        )
        for rule in topology.rules
    )
    time_ = Time(lateness_ms=2 * SECOND, disorder_ms=SECOND, idle=Idle(after_ms=SECOND, every_ms=SECOND // 4))
    return msgspec.structs.replace(topology, rules=rules, time=time_)


def visit(console: Console, topology: Path, port: int, seconds: float | None) -> None:
    """Until ^C, or for so many seconds. Raises PipelineError when something didn't start, OSError of the port."""
    with listening("127.0.0.1", port) as listener, Playground(topology, hurried) as ground:
        edge = _Edge(ground.topology, listener, _told(console))
        edge.start()
        try:
            address = f"http://127.0.0.1:{port}/"
            console.print(f"The shop is open: [bold]{address}[/]   (^C closes it)")
            console.print(
                f"Put something into the cart and leave it there for {WAIT_S} s; buy it; log in. What the page sends,"
                " and what is decided, comes here."
            )
            until = None if seconds is None else time.monotonic() + seconds
            while until is None or time.monotonic() < until:
                for decision in ground.decisions():
                    _show(console, decision)
                time.sleep(FRAME_S)
        except KeyboardInterrupt:
            console.print("closed")
        finally:
            edge.end()


def page() -> str:
    """The shop."""
    text = (files("pipeline.demo") / "shop.html").read_text("utf-8")
    return text.replace("{{key}}", KEY.key).replace("{{wait}}", f"{WAIT_S} seconds")


class _Edge:
    """The collector in a thread of its own."""

    def __init__(self, topology: Topology, listener: Any, told: Callable[..., None]) -> None:
        self._topology, self._listener, self._told = topology, listener, told
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="edge", daemon=True)
        self._open = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    def start(self) -> None:
        """Returns when it takes requests."""
        self._thread.start()
        self._open.wait(10)

    def end(self) -> None:
        """May be called twice."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        html = page()

        async def shop(request: web.BaseRequest) -> web.Response | None:
            return web.Response(text=html, content_type="text/html") if request.path == "/" else None

        with connect(self._topology.registry) as registry:
            delivery = Delivery(self._topology)
            collector = Collector(
                self._topology.edge,
                Judge(self._topology, Encoder(registry)),
                delivery,
                EdgeMetrics(),
                ring=KeyRing([KEY], time.monotonic()),
                keep=self._told,
                more=shop,
            )
            web_server, gate = server(collector, LIMIT)
            self._listener.listen(128)
            self._listener.setblocking(False)
            accepting = await self._loop.create_server(gate, sock=self._listener)
            self._open.set()
            await self._ending.wait()
            accepting.close()
            await web_server.shutdown(1.0)
            await delivery.close()
            gate.close()


def _told(console: Console) -> Callable[[Family, Sequence[Accepted], Sequence[Refused]], None]:
    def told(family: Family, accepted: Sequence[Accepted], refused: Sequence[Refused]) -> None:
        for each in accepted:
            event = each.event
            person = event.identifiers.get("user_id") or event.identifiers.get("anonymous_id", "?")[:8]
            what = event.body.get("name") or event.body.get("title") or event.body.get("order_id", "")
            said = Text.assemble((f"{_now()}  {event.type:<16} ", "dim"), f"{person:<18} {what}")
            console.print(said, highlight=False, soft_wrap=True)
        for bad in refused:
            console.print(Text(f"{_now()}  refused: {bad.error}", "yellow"))

    return told


def _show(console: Console, decision: dict[str, Any]) -> None:
    outcome = decision["outcome"]
    said = Text.assemble(
        f"{_now()}  ",
        (f"{outcome:<16} ", OUTCOMES.get(outcome, "")),
        (f"{decision['rule']:<18} ", "bold"),
        f"{who(decision)}: {about(decision)}",
    )
    console.print(said, highlight=False, soft_wrap=True)


def _now() -> str:
    return time.strftime("%H:%M:%S")
