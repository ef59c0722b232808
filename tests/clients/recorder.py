"""A server that answers clients as they expect, and remembers every request; or stands before a real one.

with Recorder() as recorder:
    ...  # a client sends to recorder.url
recorder.requests  # [{"method": "POST", "path": "/v1/batch", "headers": [["Host", ...], ...], "body": base64}, ...]

python -m tests.clients.recorder [CLIENT...]    # anew into tests/clients/recorded/CLIENT.json
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from tests.clients.running import CLIENTS, HERE, ROOT, run

HOST = "127.0.0.1"
Fault = int | Literal["cut", "lost"]
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
GZIP = b"\x1f\x8b"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class Recorder:
    """`faults`: what becomes of the first requests that bring events: a status as the answer; the connection is cut
    when one is read; one is handed on and its answer lost. `upstream`: whose answers are given, http://host:port.
    `lost`: what such requests said.
    """

    def __init__(self, *faults: Fault, upstream: str | None = None) -> None:
        self.faults, self.upstream = list(faults), upstream
        self.requests: list[dict[str, Any]] = []
        self.lost = ""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((HOST, 0), type("Bound", (_Handler,), {"recorder": self}))
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, request: dict[str, Any]) -> Fault | None:
        """Remember a request; what becomes of it, if it isn't answered."""
        with self._lock:
            self.requests.append(request)
            if request["method"] == "POST" or request["path"].startswith("/i?"):
                return self.faults.pop(0) if self.faults else None
        return None


class _Handler(BaseHTTPRequestHandler):
    recorder: Recorder
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client is gone
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""

    def do_GET(self) -> None:
        body = self._body()
        headers = [[name, value] for name, value in self.headers.items()]
        told = {"method": self.command, "path": self.path, "headers": headers, "body": base64.b64encode(body).decode()}
        fault = self.recorder.take(told)
        if isinstance(fault, int):
            return self._answer(fault, self._cors(), b"")
        if fault == "cut":
            return self._cut()
        status, answered, content = self._upstream(body) if self.recorder.upstream else self._own()
        if fault == "lost":
            self.recorder.lost += self.path + unpacked(body).decode()
            return self._cut()
        return self._answer(status, answered, content)

    do_POST = do_OPTIONS = do_HEAD = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        assert self.recorder.upstream is not None
        connection = http.client.HTTPConnection(urlsplit(self.recorder.upstream).netloc, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _own(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the service that a client is made for would answer."""
        cors = self._cors()
        path = urlsplit(self.path).path
        if self.command == "OPTIONS":
            return 204, cors, b""
        if path == "/i":
            return 200, [*cors, ("Content-Type", "image/gif")], PIXEL
        says: Any = {"success": True}
        if path.startswith("/v1/projects/"):
            key = path.split("/")[3]
            says = {
                "integrations": {"Segment.io": {"apiKey": key, "apiHost": f"{self.headers['Host']}/v1"}},
                "plan": {},
            }
        elif path in ("/batch/", "/e/", "/i/v0/e/"):
            says = {"status": 1}
        elif path.startswith(("/flags", "/decide")):
            says = {"flags": {}, "featureFlags": {}, "errorsWhileComputingFlags": False}
        return 200, [*cors, ("Content-Type", "application/json")], json.dumps(says).encode()

    def _cors(self) -> list[tuple[str, str]]:
        return [
            ("Access-Control-Allow-Origin", self.headers.get("Origin", "*")),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Allow-Headers", self.headers.get("Access-Control-Request-Headers", "*")),
        ]

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def unpacked(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(GZIP) else body


def record(name: str) -> None:
    """A client's requests into recorded/, without what names this machine."""
    with Recorder() as recorder:
        said = run(name, recorder.url, "wk_shop", "r1")
    for request in recorder.requests:
        body = base64.b64decode(request["body"])
        text = anonymous(unpacked(body).decode(), recorder).encode()
        body = gzip.compress(text, mtime=0) if body.startswith(GZIP) else text
        request["body"] = base64.b64encode(body).decode()
        told = {"content-length": str(len(body))}
        request["headers"] = [
            [header, told.get(header.lower(), anonymous(value, recorder))] for header, value in request["headers"]
        ]
    document = {"client": said.client, "asked": said.asked, "requests": recorder.requests}
    (HERE / "recorded" / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def anonymous(text: str, recorder: Recorder) -> str:
    """Without this machine's addresses and folders."""
    text = text.replace(str(ROOT), "/srv/shop").replace(recorder.url.removeprefix("http://"), "localhost:8000")
    return re.sub(r"127\.0\.0\.1:\d+", "localhost:8080", text)


if __name__ == "__main__":
    for each in sys.argv[1:] or CLIENTS:
        record(each)
