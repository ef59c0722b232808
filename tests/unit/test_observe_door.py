"""Who comes to the worker's HTTP server and doesn't behave. Real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
import pytest
import uvloop

from pipeline.observe.door import LIMIT
from pipeline.observe.health import HealthServer, is_loopback
from pipeline.observe.metrics import Metrics

HALF = b"GET /readyz HTTP/1.1\r\nHost: a\r\nX-Slow: "
MANY = 1_500


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """The clients' ends are ours too here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * MANY)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def serve(
    use: Callable[[HealthServer], Awaitable[None]],
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **options: float,
) -> None:
    async def run() -> None:
        server = HealthServer(Metrics(), port=0, **options)  # type: ignore[arg-type]
        await server.start()
        try:
            await use(server)
        finally:
            await server.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


async def ready(server: HealthServer) -> int:
    """What a client that asks once gets."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
        session.get(f"http://127.0.0.1:{server.port}/readyz") as answer,
    ):
        await answer.read()
        return answer.status


async def half(server: HealthServer) -> socket.socket:
    """Connect, send a part of a request, and say nothing more."""
    made = socket.socket()
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, ("127.0.0.1", server.port))
    await loop.sock_sendall(made, HALF)
    return made


@contextlib.contextmanager
def closing_all(clients: list[socket.socket]) -> Iterator[None]:
    try:
        yield
    finally:
        for client in clients:
            client.close()


def kilobytes() -> int:
    """This process's memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4


@pytest.mark.parametrize("loop", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_half_sent_requests_take_no_more_than_their_share(loop: Callable[[], asyncio.AbstractEventLoop] | None) -> None:
    async def use(server: HealthServer) -> None:
        assert server.door is not None
        clients: list[socket.socket] = []
        most, memory = 0, kilobytes()
        with closing_all(clients):
            files = len(os.listdir("/proc/self/fd"))
            while len(clients) < MANY:
                clients += await asyncio.gather(*(half(server) for _ in range(50)))
                most = max(most, len(os.listdir("/proc/self/fd")) - files - len(clients))
                assert await ready(server) == 200
            assert server.door.turned_out > MANY / 2  # others were shown out for the time they took
            assert len(server.door) <= LIMIT
            assert most <= LIMIT + 8
            gc.collect()
            assert kilobytes() - memory < 20_000

    serve(use, loop)


def test_who_takes_long_is_shown_out() -> None:
    """A byte now and then, nothing at all, a body that doesn't come, an answer that nobody fetches: all the same."""

    async def use(server: HealthServer) -> None:
        async def gone(first: bytes, drip: bytes = b"") -> float:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            began = asyncio.get_running_loop().time()
            writer.write(first)
            try:
                async with asyncio.timeout(5):
                    while drip and not reader.at_eof():
                        writer.write(drip)
                        await asyncio.sleep(0.05)
                        if writer.is_closing():
                            break
                    while await reader.read(1_000):
                        pass
            except ConnectionError:
                pass
            writer.close()
            return asyncio.get_running_loop().time() - began

        took = await asyncio.gather(
            gone(HALF, b"a"),
            gone(b""),
            gone(b"GET /metrics HTTP/1.1\r\n", b"X-A: b\r\n"),
            gone(b"\r\n" * 10),
        )
        assert all(0.5 <= seconds < 4 for seconds in took), took
        assert server.door is not None
        assert len(server.door) == 0

    serve(use, life_s=0.6)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 20_000,
        b"GET /" + b"a" * 20_000,
        b"GET /readyz HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 4_000,
        b"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + b"a" * 100_000,
        b"\x00" * 20_000,
    ],
    ids=["header", "path", "headers", "body", "garbage"],
)
def test_who_sends_too_much_is_shown_out(request_: bytes) -> None:
    async def use(server: HealthServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request_)
        async with asyncio.timeout(3):
            try:
                answer = await reader.read()
            except ConnectionError:
                answer = b""
        assert b" 200 " not in answer
        writer.close()
        assert server.door is not None
        assert len(server.door) == 0
        assert await ready(server) == 200

    serve(use)


def test_a_connection_is_for_one_request() -> None:
    async def use(server: HealthServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        async with asyncio.timeout(3):
            answer = await reader.read()
        assert answer.count(b"HTTP/1.1 200 OK") == 1
        assert b"Connection: close" in answer
        writer.close()

    serve(use)


def test_by_default_only_this_machine_reaches_it() -> None:
    async def use(server: HealthServer) -> None:
        assert server.host == "127.0.0.1"

    serve(use)
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "worker.example")] == [False] * 4
