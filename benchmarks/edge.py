"""What taking an event over HTTP costs: `pipeline edge`, and beside it a handler on the same server that only parses
and produces.

    python -m benchmarks --edge [--seconds 5]

The server has core 1 for itself; the broker and this process, which sends, share core 0. Requests hold 1, 20 and 100
calls of Segment's batch, over CONNECTIONS kept-alive connections, each sending the next when it is answered. Both take
turns, TURNS of them of so many seconds: of each the one counts that cost least, for the machine has other work too.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec
from aiohttp import web
from confluent_kafka import Producer

from benchmarks.contestants import CORE, OUT
from benchmarks.meter import cpu_seconds
from pipeline.runtime.sources import settings
from pipeline.topology import load
from tests.collector import SECRET, EdgeProcess
from tests.deployment import PIPELINE, Deployment
from tests.servers import HOST, KafkaServer, SchemaRegistry, free_port

SIZES = (1, 20, 100)
CONNECTIONS = 16
WARM_S = 1.0
TURNS = 3


def body(calls: int) -> bytes:
    """One request, as a browser's page would tell it."""
    page = {"url": "https://shop.example/tents", "path": "/tents", "referrer": "", "title": "Tents"}
    context = {"library": {"name": "analytics.js", "version": "1.84.3"}, "page": page, "locale": "de-AT"}
    call = {
        "type": "track",
        "event": "Product Added",
        "timestamp": "2026-11-29T09:00:00.000Z",
        "context": context | {"userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"},
        "properties": {"cart_id": "c1", "product_id": "tent", "price": 249.5, "quantity": 1, "currency": "EUR"},
    }
    batch = [{**call, "messageId": str(uuid.uuid4()), "anonymousId": str(uuid.uuid4())} for _ in range(calls)]
    return json.dumps({"batch": batch, "sentAt": "2026-11-29T09:00:00.000Z", "writeKey": SECRET}).encode()


async def drive(port: int, raw: bytes, seconds: float, busy: Callable[[], float]) -> dict[str, float]:
    """Requests a second, milliseconds, and CPU seconds of the server a request."""
    head = f"POST /v1/batch HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
    took: list[float] = []
    began = time.monotonic() + WARM_S
    until = began + seconds

    async def send() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        while (now := time.monotonic()) < until:
            writer.write(head + raw)
            answered = await reader.readuntil(b"\r\n\r\n")
            if not answered.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answered.decode())
            length = next(line for line in answered.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            if now >= began:
                took.append(time.monotonic() - now)
        writer.close()

    async def cpu() -> float:
        await asyncio.sleep(WARM_S)
        before = busy()
        await asyncio.sleep(seconds - 0.2)
        return (busy() - before) / (seconds - 0.2)

    used, *_ = await asyncio.gather(cpu(), *(send() for _ in range(CONNECTIONS)))
    cut = quantiles(took, n=100)
    rate = len(took) / seconds
    return {"requests": rate, "p50_ms": cut[49] * 1000, "p99_ms": cut[98] * 1000, "cpu_s": used / rate}


def minimal(topology: Path, port: int) -> None:
    """Parses, produces each event as it came, and answers when the brokers have them."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
        wanted = load(topology, {})
        topic = wanted.topics.sources[0].name
        producer = Producer({**settings(wanted, "minimal"), "linger.ms": 2})
        waiting = 0

        def pump() -> None:
            producer.poll(0)
            if waiting:
                loop.call_later(0.002, pump)

        async def answer(request: web.BaseRequest) -> web.Response:
            nonlocal waiting
            batch = decode(await request.read())["batch"]
            left, done = len(batch), loop.create_future()

            def delivered(problem: object, message: object) -> None:
                nonlocal left
                left -= 1
                if not left:
                    done.set_result(None)

            for call in batch:
                producer.produce(topic, encode(call), call["anonymousId"].encode(), on_delivery=delivered)
            waiting += 1
            if waiting == 1:
                loop.call_later(0.002, pump)
            await done
            waiting -= 1
            return web.Response(body=b'{"success":true}', content_type="application/json")

        await loop.create_server(web.Server(answer, access_log=None), HOST, port)
        await asyncio.Event().wait()

    import uvloop

    uvloop.run(serve())


def bench(seconds: float) -> None:
    """Run, print, write benchmarks/out/edge.json."""
    found: list[dict[str, Any]] = []
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer(cpus="0", heap="1g"))
        registry = stack.enter_context(SchemaRegistry(cpus="0"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shop = stack.enter_context(Deployment(folder, "edge", kafka.bootstrap, "redis://unused:1", registry))
        shop.run("topics")
        keys = {"server": {"key": SECRET, "rate": 1_000_000, "burst": 10_000_000}}
        edge = stack.enter_context(EdgeProcess(shop, launcher=["taskset", "-c", CORE, *PIPELINE], keys=keys))
        port = free_port()
        command = ["taskset", "-c", CORE, sys.executable, "-m", "benchmarks.edge", str(shop.path), str(port)]
        other = subprocess.Popen(command)
        stack.callback(other.wait)
        stack.callback(other.kill)
        time.sleep(3)
        os.sched_setaffinity(0, {0})
        pids = {"ours": edge.processes()[0], "minimal": other.pid}
        for calls in SIZES:
            turns: dict[str, list[dict[str, float]]] = {name: [] for name in pids}
            for _ in range(TURNS):
                for name, at in (("ours", edge.port), ("minimal", port)):
                    turns[name].append(asyncio.run(drive(at, body(calls), seconds, cpu_of(pids[name]))))
            for name, each in turns.items():
                told = min(each, key=itemgetter("cpu_s"))
                row = {
                    "contestant": name,
                    "events_a_request": calls,
                    "events_per_s_a_core": round(calls / told["cpu_s"]),
                    "cpu_us_per_event": round(told["cpu_s"] / calls * 1e6, 1),
                    "p50_ms": round(told["p50_ms"], 1),
                    "p99_ms": round(told["p99_ms"], 1),
                }
                found.append(row)
                print("  ".join(f"{key} {value:>8}" for key, value in row.items()), flush=True)
    for calls in SIZES:
        ours, theirs = (row["cpu_us_per_event"] for row in found if row["events_a_request"] == calls)
        print(f"{calls} a request: {ours / theirs:.2f} times the minimal handler")
    OUT.mkdir(exist_ok=True)
    (OUT / "edge.json").write_text(json.dumps(found, indent=1) + "\n")


def cpu_of(pid: int) -> Callable[[], float]:
    """CPU seconds that a process has used so far."""
    return lambda: cpu_seconds(pid)


if __name__ == "__main__":
    minimal(Path(sys.argv[1]), int(sys.argv[2]))
