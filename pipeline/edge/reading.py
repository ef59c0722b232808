"""What a request says: its body, and who sent it."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from ipaddress import ip_address as parsed
from typing import Any

from aiohttp import web

from pipeline.edge import bodies
from pipeline.edge.gate import BODY_S
from pipeline.edge.intake import Caller
from pipeline.errors import InvalidEvent, RequestRefused
from pipeline.topology.model import Edge

Request = web.BaseRequest


async def body_of(request: Request, most: int) -> bytes:
    """At most so many bytes. Raises RequestRefused: 413, 408."""
    large = RequestRefused(413, "too_large", f"the request has more than {most} bytes", {"Connection": "close"})
    if (length := request.content_length) is not None and length > most:
        raise large
    if request.content.is_eof():  # all of it came with the head
        return request.content.read_nowait()
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_any():
                found += chunk
                if len(found) > most:
                    raise large
    except TimeoutError:
        raise RequestRefused(408, "slow", "the request took too long", {"Connection": "close"}) from None
    return bytes(found)


def json_in(request: Request, raw: bytes, most: int) -> Any:
    """What its body holds, of at most so many bytes when it is unpacked. Raises InvalidEvent."""
    if not raw:
        raise InvalidEvent("empty", "the request has no body")
    body = bodies.unpacked(raw, request.headers.get("Content-Encoding", ""), most)
    body = bodies.form_of(body)
    if request.query.get("compression") == "base64":
        body = bodies.in_base64(body.decode("ascii", "replace")) or body
    if len(body) > most:
        raise InvalidEvent("too_large", f"unpacked, the body has more than {most} bytes")
    return bodies.json_of(body)


class Callers:
    """Who sent a request, as far as it is kept."""

    def __init__(self, edge: Edge) -> None:
        self._addresses = edge.addresses
        self._proxies = [ip_network(each, strict=False) for each in edge.proxies]

    def of(self, request: Request) -> Caller:
        """Address and user agent."""
        agent = request.headers.get("User-Agent")
        address = None if self._addresses == "drop" else self._address(request)
        return Caller(address, agent[:1000] if agent else None)

    def _address(self, request: Request) -> str | None:
        """The client's: the last of those told that isn't a proxy of ours; its network alone, unless all is kept."""
        told = request.remote
        if told is None:
            return None
        hops = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",") if each.strip()]
        try:
            address = _ip_address(told)
            while hops and any(address in network for network in self._proxies):
                address = _ip_address(hops.pop())
        except ValueError:
            return None
        return str(address) if self._addresses == "keep" else _network(address)


@lru_cache(maxsize=10_000)
def _ip_address(told: str) -> IPv4Address | IPv6Address:
    """Raises ValueError."""
    return parsed(told)


@lru_cache(maxsize=10_000)
def _network(address: IPv4Address | IPv6Address) -> str:
    network: IPv4Network | IPv6Network = ip_network((address, 24 if address.version == 4 else 48), strict=False)
    return str(network.network_address)
