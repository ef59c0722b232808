"""What a request says: its body, and who sent it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from aiohttp import web

from pipeline.edge import bodies
from pipeline.edge.gate import BODY_S
from pipeline.edge.intake import Caller
from pipeline.errors import InvalidEvent, RequestRefused
from pipeline.topology.model import Edge

Request = web.BaseRequest

LONGEST_KNOWN = 200
"""Characters of a header from which an address is remembered."""


async def body_of(request: Request, most: int) -> bytes:
    """At most so many bytes. Raises RequestRefused: 413, 408."""
    if (length := request.content_length) is not None and length > most:
        raise _large(most)
    if request.content.is_eof():  # all of it came with the head
        return request.content.read_nowait()
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_any():
                found += chunk
                if len(found) > most:
                    raise _large(most)
    except TimeoutError:
        raise RequestRefused(408, "slow", "the request took too long", {"Connection": "close"}) from None
    return bytes(found)


def _large(most: int) -> RequestRefused:
    return RequestRefused(413, "too_large", f"the request has more than {most} bytes", {"Connection": "close"})


def json_in(request: Request, raw: bytes, most: int) -> Any:
    """What its body holds, of at most so many bytes when it is unpacked. Raises InvalidEvent."""
    if not raw:
        raise InvalidEvent("empty", "the request has no body")
    body = bodies.unpacked(raw, request.headers.get("Content-Encoding", ""), most)
    body = bodies.form_of(body)
    if query_of(request).get("compression") == "base64":
        body = bodies.in_base64(body.decode("ascii", "replace")) or body
    if len(body) > most:
        raise InvalidEvent("too_large", f"unpacked, the body has more than {most} bytes")
    return bodies.json_of(body)


def query_of(request: Request) -> Mapping[str, str]:
    """Most have none, and aiohttp makes much of that."""
    return request.query if request.rel_url.raw_query_string else _NO_QUERY


_NO_QUERY: Mapping[str, str] = {}


class Callers:
    """Who sent a request, as far as it is kept."""

    def __init__(self, edge: Edge) -> None:
        self._addresses = edge.addresses
        self._proxies = [ip_network(each, strict=False) for each in edge.proxies]
        self._known = lru_cache(maxsize=10_000)(self._address_of)

    def of(self, request: Request) -> Caller:
        """Address and user agent."""
        agent = request.headers.get("User-Agent")
        return Caller(self._address(request), agent[:1000] if agent else None)

    def _address(self, request: Request) -> str | None:
        if self._addresses == "drop" or (told := request.remote) is None:
            return None
        forwarded = request.headers.get("X-Forwarded-For", "")
        return (self._known if len(forwarded) <= LONGEST_KNOWN else self._address_of)(told, forwarded)

    def _address_of(self, told: str, forwarded: str) -> str | None:
        """The client's: the last of those told that isn't a proxy of ours; its network alone, unless all is kept."""
        hops = [each.strip() for each in forwarded.split(",") if each.strip()]
        try:
            address = ip_address(told)
            while hops and any(address in network for network in self._proxies):
                address = ip_address(hops.pop())
        except ValueError:
            return None
        return str(address) if self._addresses == "keep" else _network(address)


def _network(address: IPv4Address | IPv6Address) -> str:
    network: IPv4Network | IPv6Network = ip_network((address, 24 if address.version == 4 else 48), strict=False)
    return str(network.network_address)
