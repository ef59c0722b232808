"""The collector as strangers meet it: without Kafka, in a process of its own."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.request import Request, urlopen

import pytest

from tests.edge_mutations import answer, echo, run
from tests.servers import HOST


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with echo() as (port, _):
        yield port


def test_nothing_that_is_sent_breaks_it() -> None:
    found, held = run(1_500, seed=7)
    assert not {status for status in found if status.startswith("5")} | {"odd"} & found.keys()
    assert found["200"] > 200
    assert found["400"] > 200
    assert held[-1] - held[0] < 20_000


def test_a_thousand_slow_connections_leave_room_for_good_ones(port: int) -> None:
    good = json.dumps({"event": "Product Added", "anonymousId": "a"}).encode()
    with ExitStack() as stack:
        for number in range(1_000):
            slow = stack.enter_context(socket.create_connection((HOST, port), 10))
            slow.sendall(b"POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Le" if number % 2 else b"P")
        for _ in range(20):
            began = time.monotonic()
            with urlopen(Request(f"http://{HOST}:{port}/v1/track", good), timeout=10) as answered:
                assert answered.status == 200
            assert time.monotonic() - began < 2
        time.sleep(11)  # a head has ten seconds
        slow.settimeout(2)
        assert slow.recv(10) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"X: a\r\n b\x00c\r\n\r\n",
    ],
    ids=["both lengths", "two lengths", "unknown coding", "a nought in a header"],
)
def test_what_two_servers_may_read_in_two_ways_is_refused(port: int, raw: bytes) -> None:
    assert answer(port, b"POST /v1/track HTTP/1.1\r\nHost: a\r\n" + raw) == "400"


def test_a_host_that_is_none_is_answered(port: int) -> None:
    assert answer(port, b"GET /v1/projects/k/settings HTTP/1.1\r\nHost: \xb2127\r\n\r\n") == "200"


def test_an_endless_body_is_cut(port: int) -> None:
    with socket.create_connection((HOST, port), 10) as connection:
        connection.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < 30:
                connection.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
