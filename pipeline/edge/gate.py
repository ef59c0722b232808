"""How long a connection may take, and how many there are: strangers hold them open, on purpose or not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from math import inf
from typing import cast

from pipeline.errors import PipelineError
from pipeline.observe.door import Door, Guest
from pipeline.topology.model import Edge

LIMIT = 4_096
HEAD_S = 10.0  # for a request's first line and headers
BODY_S = 30.0
REST_S = 75.0  # between two requests


class Gate(Door):
    """A Door whose guests may stay for many requests, but not long over one."""

    def __init__(self, factory: Callable[[], asyncio.BaseProtocol], *, limit: int = LIMIT) -> None:
        super().__init__(factory, limit=limit, life_s=HEAD_S)
        self._of: dict[int, Visitor] = {}

    def __call__(self) -> asyncio.Protocol:
        inner = self._factory()
        visitor = Visitor(self, cast(asyncio.Protocol, inner))
        self._of[id(inner)] = visitor
        return visitor

    def of(self, protocol: object) -> Visitor | None:
        """The connection that a protocol of the factory's answers on."""
        return self._of.get(id(protocol))

    def gone(self, inner: object) -> None:
        """A connection has ended."""
        self._of.pop(id(inner), None)


class Visitor(Guest):
    """One connection. It has HEAD_S for a request's head, from connecting or its first byte on.

    Its timer looks at the clock once in HEAD_S at the least: to set it anew several times a request costs more.
    """

    _resting = False
    _until = inf  # on the loop's clock

    def heard(self) -> None:
        """The head of a request is there: it is answered now."""
        self._resting = False
        self._until = inf

    def answered(self) -> None:
        """It may rest, or send the next."""
        self._resting = True
        self._until = asyncio.get_running_loop().time() + REST_S

    def time_is_up(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._until - loop.time()
        if left <= 0:
            self.leave()
        else:
            self._end = loop.call_later(min(left, HEAD_S), self.time_is_up)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._until = asyncio.get_running_loop().time() + HEAD_S
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._resting:
            self._resting = False
            self._until = asyncio.get_running_loop().time() + HEAD_S
        self._inner.data_received(data)  # the server bounds heads, and reads no more of a body than it asks for

    def connection_lost(self, exc: Exception | None) -> None:
        cast(Gate, self._door).gone(self._inner)
        super().connection_lost(exc)


def listening(host: str, port: int) -> socket.socket:
    """One of several sockets on that address. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def secured(edge: Edge) -> ssl.SSLContext | None:
    """For HTTPS, where there is a certificate. Raises PipelineError, where it can't be used."""
    if edge.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(edge.certificate, edge.private_key)
    except (OSError, ssl.SSLError) as error:
        files = " and ".join(filter(None, (edge.certificate, edge.private_key)))
        raise PipelineError(f"{files}: no certificate and key in PEM that fit each other ({error})") from error
    return context
