"""A schema registry that fails on demand: a small HTTP server that follows the documented REST API of Confluent's.

Everything but faults is shown on a real one: tests/servers.py's SchemaRegistry.

    with RegistryServer() as registry:
        connect(registry.url)  # "http://127.0.0.1:20817"

It gives one id to one schema text, whatever the subject. `answer_with(status, body)` makes it answer everything so
(an outage, a proxy); None ends that. `requests` lists (method, path) of all it got. It keeps what it was told over
`stop()` and `start()`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from tests.servers import HOST, free_port


class RegistryServer:
    """See the module."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.requests: list[tuple[str, str]] = []
        self.schemas: list[tuple[str, str]] = []
        self.subjects: dict[str, list[int]] = {}
        self.levels: dict[str, str] = {}
        self._forced: tuple[int, str] | None = None
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.connections: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen."""
        self._server = _Server((HOST, self.port), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections and break those that are open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def answer_with(self, status: int | None, body: str = "") -> None:
        """Answer every request with this; None: as a registry does."""
        self._forced = None if status is None else (status, body)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, str]:
        """(status, body) for a request."""
        with self._lock:
            self.requests.append((method, path))
            if self._forced is not None:
                return self._forced
            status, answer = self._answer(method, [unquote(part) for part in path.strip("/").split("/")], body)
            return status, json.dumps(answer)

    def _answer(self, method: str, parts: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        match method, parts:
            case "GET", ["schemas", "ids", number]:
                schema_id = int(number)
                if not 1 <= schema_id <= len(self.schemas):
                    return _error(404, 40403, f"Schema {schema_id} not found")
                text, kind = self.schemas[schema_id - 1]
                return 200, {"schema": text} if kind == "AVRO" else {"schema": text, "schemaType": kind}
            case "POST", ["subjects", subject, "versions"]:
                schema = (body["schema"], body.get("schemaType", "AVRO"))
                if schema not in self.schemas:
                    self.schemas.append(schema)
                schema_id = self.schemas.index(schema) + 1
                versions = self.subjects.setdefault(subject, [])
                if schema_id not in versions:
                    versions.append(schema_id)
                return 200, {"id": schema_id}
            case "POST", ["subjects", subject]:
                if subject not in self.subjects:
                    return _error(404, 40401, f"Subject '{subject}' not found.")
                for version, schema_id in enumerate(self.subjects[subject], 1):
                    if self.schemas[schema_id - 1][0] == body["schema"]:
                        return 200, {"subject": subject, "version": version, "id": schema_id, "schema": body["schema"]}
                return _error(404, 40403, "Schema not found")
            case "GET", ["subjects"]:
                return 200, sorted(self.subjects)
            case "GET", ["subjects", subject, "versions"]:
                if subject not in self.subjects:
                    return _error(404, 40401, f"Subject '{subject}' not found.")
                return 200, list(range(1, len(self.subjects[subject]) + 1))
            case "PUT", ["config", subject]:
                self.levels[subject] = body["compatibility"]
                return 200, body
            case "GET", ["config", subject]:
                if subject not in self.levels:
                    return _error(404, 40408, f"Subject '{subject}' has no compatibility of its own")
                return 200, {"compatibilityLevel": self.levels[subject]}
        return _error(404, 404, "HTTP 404 Not Found")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed resets its connection: no news."""


def _error(status: int, code: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error_code": code, "message": message}


def _handler(registry: RegistryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            registry.connections.add(self.connection)

        def finish(self) -> None:
            registry.connections.discard(self.connection)
            super().finish()

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_PUT(self) -> None:
            self._answer("PUT")

        def _answer(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, answer = registry.answer(method, urlsplit(self.path).path, body)
            content = answer.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
