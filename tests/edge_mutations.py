"""Requests as careless, broken and hostile clients may send them to `pipeline edge`: each is answered, none breaks it.

    python -m tests.edge_mutations --requests 100000

starts `pipeline edge --echo`, and prints how many were answered how, and what its process holds after each tenth.
"""

from __future__ import annotations

import gzip
import json
import re
import resource
import socket
import subprocess
import time
import zlib
from argparse import ArgumentParser
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.deployment import PIPELINE
from tests.mutations import SEEDS
from tests.servers import HOST, free_port

PATHS = [
    "/v1/batch",
    "/v1/track",
    "/v1/t",
    "/v1/i",
    "/v1/p",
    "/v1/a",
    "/v1/g",
    "/batch/",
    "/e/",
    "/i/v0/e/",
    "/i/v1/analytics/events",
    "/i?e=pv&duid=1",
    "/com.snowplowanalytics.snowplow/tp2",
    "/flags/?v=2",
    "/decide/",
    "/array/k/config.js",
    "/v1/projects/k/settings",
    "/micro/all",
    "/",
    "/v1",
    "/../../etc/passwd",
    "/%00",
    "/v1/track/../batch",
    "*",
    "/i?" + "a=b&" * 500,
]
METHODS = ["POST"] * 12 + ["GET", "OPTIONS", "HEAD", "PUT", "DELETE", "TRACE", "PATCH", "BREW"]
JUNK = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"0",
    b'"',
    b"[" * 5_000,
    b'{"a":' * 3_000,
    b"\x00" * 50,
    b"\xff\xfe{\x00}\x00",
    b"\x1f\x8b",
    b"\xef\xbb\xbf{}",
    b'{"batch":{}}',
    b'{"batch":[[[[]]]]}',
    b'{"batch":"x"}',
    b"data=e30=",
    b"data=%7B%7D",
    b"1e999",
    b'{"type":"track","event":"\\ud800","anonymousId":"a"}',
    b'{"n":' + b"9" * 5_000 + b"}",
    b'{"batch":[' + b"1," * 600 + b"1]}",
]
HEADERS = [
    "Content-Encoding: gzip",
    "Content-Encoding: br",
    "Content-Encoding: deflate",
    "Content-Encoding: gzip, gzip, gzip",
    "Content-Encoding: zstd",
    "Content-Type: text/plain",
    "Content-Type: multipart/form-data; boundary=x",
    "Authorization: Basic",
    "Authorization: Basic %%%",
    "Authorization: Bearer x",
    "Origin: null",
    "Origin: https://a\tb",
    "Origin: " + "x" * 400,
    "X-Forwarded-For: 1.2.3.4, , ::1, nonsense",
    "Expect: 100-continue",
    "Connection: close",
    "Cookie: " + "a=b; " * 300,
    "Host: ",
    "Accept-Encoding: br",
    "X-Ünïcode: é",
    "User-Agent: " + "Googlebot" * 100,
    "Upgrade: websocket",
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
]
PACKED: list[Callable[[bytes], bytes]] = [gzip.compress, zlib.compress, lambda b: b, lambda b: gzip.compress(b)[:-9]]


AT_ONCE = 32
PATIENCE_S = 2.0  # for an answer: what waits for longer has not sent all that it said


def request(rng: Random) -> bytes:
    """One, whole or broken."""
    body = rng.choice(JUNK) if rng.random() < 0.4 else json.dumps(_body(rng)).encode()
    if rng.random() < 0.3:
        body = rng.choice(PACKED)(body)
    if rng.random() < 0.2:
        body = _damaged(rng, body)
    lines = [f"{rng.choice(METHODS)} {rng.choice(PATHS)} HTTP/1.1", f"Host: {HOST}"]
    if rng.random() < 0.9:
        lines.append(f"Content-Length: {len(body)}")
    if rng.random() < 0.7:
        lines.append("Authorization: Basic " + b64encode(b"any-key:").decode())
    lines += rng.sample(HEADERS, rng.choice([0, 0, 1, 2]))
    raw = "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body
    return _damaged(rng, raw) if rng.random() < 0.1 else raw


def _body(rng: Random) -> Any:
    calls = [dict(rng.choice(SEEDS)) for _ in range(rng.choice([1, 1, 2, 20]))]
    for call in calls:
        if rng.random() < 0.4:
            call[rng.choice(list(call))] = rng.choice([None, 7, [], {}, "", "x" * 300, {"a": {"b": []}}, True, -1e300])
    shape = rng.choice(["batch", "list", "one", "posthog", "snowplow"])
    if shape == "posthog":
        events = [{"event": c.get("event", "x"), "distinct_id": "d", "properties": c.get("properties")} for c in calls]
        return {"api_key": "k", "batch": events}
    if shape == "snowplow":
        return {"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": calls}
    return {"batch": calls} if shape == "batch" else calls if shape == "list" else calls[0]


def _damaged(rng: Random, raw: bytes) -> bytes:
    found = bytearray(raw)
    for _ in range(rng.choice([1, 2, 10])):
        if found:
            found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found[: rng.randrange(len(found) + 1)]) if rng.random() < 0.2 else bytes(found)


@contextmanager
def echo() -> Iterator[tuple[int, int]]:
    """`pipeline edge --echo`: (its port, its process)."""
    port = free_port()
    command = [*PIPELINE, "edge", "--echo", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection((HOST, port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield port, process.pid
        finally:
            process.terminate()


def answer(port: int, raw: bytes) -> str:
    """The status of the answer; `closed`, where the connection is closed without one; `waits`: for the rest."""
    with socket.create_connection((HOST, port), 30) as connection:
        try:
            connection.sendall(raw)
            connection.settimeout(PATIENCE_S)
            first = connection.recv(4_096)
        except TimeoutError:
            return "waits"
        except OSError:
            return "closed"
    found = re.match(rb"HTTP/[01]\.[019] (\d{3}) ", first)
    return found[1].decode() if found else "closed" if not first else "odd"


def kilobytes(pid: int) -> int:
    """That a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def run(requests: int, seed: int = 1) -> tuple[Counter[str], list[int]]:
    """How many were answered how; kilobytes that its process holds after each tenth."""
    rng, found, held = Random(seed), Counter[str](), list[int]()
    with echo() as (port, pid), ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(10):
            found.update(pool.map(partial(answer, port), [request(rng) for _ in range(requests // 10)]))
            held.append(kilobytes(pid))
        good = json.dumps({"event": "Product Added", "anonymousId": "a"}).encode()
        head = f"POST /v1/track HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(good)}\r\n\r\n".encode()
        assert answer(port, head + good) == "200"
        return found, held


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    counted, after = run(told.requests, told.seed)
    for status, number in counted.most_common():
        print(f"{number:8,d} {status}")
    print("kB held after each tenth:", *(f"{each:,d}" for each in after))
