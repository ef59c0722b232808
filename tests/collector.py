"""`pipeline edge` as a user runs it, for tests: a process on ports of its own, and requests to it."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from pipeline.events.codec import Decoder
from pipeline.events.model import Event
from pipeline.events.registry import connect
from tests.deployment import PIPELINE, Deployment
from tests.servers import HOST, free_port

SECRET, PUBLIC = "secret-key-of-a-server", "public-key-of-a-page"
KEYS: dict[str, Any] = {
    "server": {"key": SECRET, "rate": 100_000, "burst": 100_000},  # a limit is what other tests are about
    "page": {"key": PUBLIC, "public": True, "origins": ["https://shop.example"]},
}

Headers = Mapping[str, str]
NONE: Headers = {}


class Answer(NamedTuple):
    """Of a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class EdgeProcess:
    """Over a deployment: its topology, with `edge` as told."""

    def __init__(self, deployment: Deployment, *, launcher: Sequence[str] = PIPELINE, **edge: Any) -> None:
        self.deployment = deployment
        self.launcher = launcher
        self.port, self.admin = free_port(), free_port()
        document = yaml.safe_load(deployment.path.read_text())
        document["edge"] = {"port": self.port, "admin_port": self.admin, "keys": KEYS, **edge}
        self.path = Path(deployment.folder, f"{deployment.name}-edge.yaml")
        self.path.write_text(yaml.safe_dump(document, sort_keys=False))
        self.log = self.path.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def start(self, patience_s: float = 60) -> None:
        """Until it is ready."""
        with self.log.open("ab") as log:
            command = [*self.launcher, "edge", "--topology", str(self.path)]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
        deadline = time.monotonic() + patience_s
        while self.ready() is not True:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def processes(self) -> list[int]:
        """Those that take events."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def ready(self) -> bool:
        try:
            return self.get("/readyz", self.admin).status == 200
        except OSError:
            return False

    def stop(self, sign: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(sign)
        return self.process.wait(60)

    def get(self, path: str, port: int | None = None, headers: Headers = NONE) -> Answer:
        return self.ask("GET", path, None, port, headers)

    def ask(
        self, method: str, path: str, body: bytes | None, port: int | None = None, headers: Headers = NONE
    ) -> Answer:
        connection = http.client.HTTPConnection(HOST, port or self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(
        self, path: str, told: Any, key: str | None = SECRET, *, packed: bool = False, headers: Headers = NONE
    ) -> Answer:
        """`told`: JSON, or bytes as they are."""
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        sent = dict(headers)
        if key is not None:
            sent["Authorization"] = "Basic " + b64encode(f"{key}:".encode()).decode()
        if packed:
            body, sent["Content-Encoding"] = gzip.compress(body), "gzip"
        return self.ask("POST", path, body, None, sent)

    def events(self) -> list[Event]:
        """All that arrived in the source topics, in order of receipt."""
        found = []
        with connect(self.deployment.registry.url) as registry:
            decoder = Decoder(registry)
            for topic in self.deployment.topology.topics.sources:
                found += [decoder.decode(message.value()) for message in self.deployment.read(topic.name)]
        return sorted(found, key=lambda event: (event.received_at, event.event_id))

    def dead_letters(self) -> list[tuple[str, bytes]]:
        """(reason, value) of each."""
        read = self.deployment.read(self.deployment.topology.topics.dead_letters.name)
        return [(dict(each.headers())["pipeline.reason"].decode(), each.value()) for each in read]


def call(number: str, **more: Any) -> dict[str, Any]:
    """A track of that id."""
    return {"type": "track", "event": "Product Added", "messageId": number, "anonymousId": "a1", **more}


class Sent(NamedTuple):
    """One event that was sent: `at` (seconds of the monotonic clock), for how long it `took`, and what was answered, if
    anything was.
    """

    event_id: str
    at: float
    took: float
    answer: Answer | None

    @property
    def status(self) -> int | None:
        return None if self.answer is None else self.answer.status


@contextmanager
def under_load(edge: EdgeProcess, clients: int, **more: Any) -> Iterator[list[Sent]]:
    """So many clients, each of which sends one event after the other until the block ends, and none again."""
    sent: list[Sent] = []
    ending = threading.Event()

    def client(name: str) -> None:
        number = 0
        while not ending.is_set():
            number += 1
            event_id, at, answer = f"{name}-{number}", time.monotonic(), None
            try:
                answer = edge.post("/v1/track", call(event_id, **more))
            except (OSError, http.client.HTTPException):
                pass
            sent.append(Sent(event_id, at, time.monotonic() - at, answer))
            if answer is None or answer.status != 200:
                time.sleep(0.05)

    threads = [threading.Thread(target=client, args=(f"c{n}",)) for n in range(clients)]
    for each in threads:
        each.start()
    try:
        yield sent
    finally:
        ending.set()
        for each in threads:
            each.join()


def acknowledged(sent: list[Sent]) -> set[str]:
    """Ids of the events that were answered for."""
    return {each.event_id for each in sent if each.status == 200}
