"""How much of this process whoever connects may take: file descriptors, memory and time are the worker's."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

LIMIT = 64  # connections at a time: a Prometheus, an orchestrator's probes and some people need ten
LIFE_S = 10.0  # from connecting to the last byte of the answer
REQUEST_BYTES = 16 * 1024
BACKLOG = 128  # that the kernel may hold for us: they take no descriptor


class Door:
    """A protocol factory around another one, and who accepts for it. Lets in everybody, and shows out

    - whoever has been here for `life_s`, whatever they do: half a request, no request, an answer that nobody fetches;
    - whoever sends more than `most_bytes`;
    - where more than `limit` would be in, who came first of those from the address with most connections: a good client
      is served within milliseconds, so the ones that sit there go first.

    `turned_out`: how many were shown out for the last reason; `last_full`: when, on the loop's clock (None: never).
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        limit: int = LIMIT,
        life_s: float = LIFE_S,
        most_bytes: int = REQUEST_BYTES,
    ) -> None:
        self.limit = limit
        self.life_s = life_s
        self.most_bytes = most_bytes
        self.turned_out = 0
        self.last_full: float | None = None
        self._factory = factory
        self._guests: dict[Guest, None] = {}  # in the order in which they came

    def __call__(self) -> asyncio.Protocol:
        """For `loop.create_server`."""
        return Guest(self, cast(asyncio.Protocol, self._factory()))

    async def accept(self, listener: socket.socket) -> None:
        """Let in who comes, until cancelled. One after the other: a server of asyncio takes in all who wait at once, a
        hundred descriptors say, before anybody can be shown out.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:  # gone already, or there are no descriptors
                await asyncio.sleep(0.1)
                continue
            try:
                await loop.connect_accepted_socket(self, connection)
            except OSError:
                connection.close()

    def __len__(self) -> int:
        """How many are in."""
        return len(self._guests)

    def close(self) -> None:
        """Show everybody out."""
        for guest in list(self._guests):
            guest.leave()

    def enter(self, guest: Guest) -> None:
        """One more."""
        if len(self._guests) >= self.limit:
            (address, _), *_ = Counter(each.address for each in self._guests).most_common(1)
            next(each for each in self._guests if each.address == address).leave()
            self.turned_out += 1
            self.last_full = asyncio.get_running_loop().time()
        self._guests[guest] = None

    def left(self, guest: Guest) -> None:
        """One less. May be said twice."""
        self._guests.pop(guest, None)


class Guest(asyncio.Protocol):
    """One connection, handed on to the protocol that answers it."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self.address = ""
        self._door = door
        self._inner = inner
        self._bytes = 0
        self._transport: asyncio.Transport | None = None
        self._end: asyncio.TimerHandle | None = None

    def time_is_up(self) -> None:
        """It has been here for `life_s`."""
        self.leave()

    def leave(self) -> None:
        """Close the connection at once."""
        self._door.left(self)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer: Any = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._end = asyncio.get_running_loop().call_later(self._door.life_s, self.time_is_up)
        self._inner.connection_made(transport)
        self._door.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        self._door.left(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > self._door.most_bytes:
            self.leave()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
