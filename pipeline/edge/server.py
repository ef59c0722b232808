"""Requests and answers: one process of the collector, on aiohttp's low-level server (no router, no middlewares)."""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from ipaddress import ip_address as parsed
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from pipeline.edge import bodies
from pipeline.edge.calm import calm_get, calm_post
from pipeline.edge.delivery import Goes
from pipeline.edge.families import GETS, POSTS, SNOWPLOW, Family
from pipeline.edge.gate import BODY_S, REST_S, Gate
from pipeline.edge.intake import Accepted, Intake, Refused, Sender
from pipeline.edge.keys import KeyRing, basic
from pipeline.edge.metrics import EdgeMetrics
from pipeline.edge.openapi import ABOUT, document
from pipeline.errors import InvalidEvent, RecordTooLarge, RegistryUnavailable, SchemaMissing, SendFailed
from pipeline.runtime.ports import Out
from pipeline.topology.addresses import origin
from pipeline.topology.model import Edge, WriteKey

log = logging.getLogger(__name__)

Headers = CIMultiDict[str]
Ask = web.BaseRequest

GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
RETRY_AFTER_S = 5
BREATH_S = 1.0  # before Snowplow's clients hear that they shall wait: some ask again at once
LINGER_S = 5.0  # so long a body is read that nobody wants, for its sender to see the answer
_HEADERS = "authorization, content-type, content-encoding, anonymousid, sp-anonymous, x-requested-with, x-retry-count"
_json = msgspec.json.Encoder().encode


class Refuse(Exception):
    """All of a request is refused: status and, where its events are known, of each why."""

    def __init__(self, status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.headers = status, reason, headers or {}


@lru_cache(maxsize=10_000)
def ip_address(told: str) -> IPv4Address | IPv6Address:
    """Raises ValueError."""
    return parsed(told)


class Collector:
    """Answers one request after the other. `keep`: told what became of each event (echo)."""

    def __init__(
        self,
        edge: Edge,
        intake: Intake,
        goes: Goes,
        metrics: EdgeMetrics,
        *,
        ring: KeyRing,
        anybody: WriteKey | None = None,
        keep: Callable[[Family, list[Accepted], list[Refused]], None] | None = None,
        more: Callable[[Ask], Awaitable[web.Response | None]] | None = None,
    ) -> None:
        self.ready = True
        self._edge = edge
        self._intake = intake
        self._goes = goes
        self._metrics = metrics
        self._ring = ring
        self._anybody = anybody
        self._keep = keep
        self._more = more
        self._proxies = [ip_network(each, strict=False) for each in edge.proxies]

    async def answer(self, request: Ask) -> web.StreamResponse:
        """Never raises, but what ends the connection."""
        began = time.perf_counter()
        path = request.path.rstrip("/") or "/"
        family, call = POSTS.get(path, (None, ""))
        headers = self._cors(request)
        try:
            if request.method == "OPTIONS":
                response = self._preflight(request, headers)
            elif self._more is not None and (found := await self._more(request)) is not None:
                response = found
            elif family is not None and request.method == "POST":
                response = await self._post(request, family, call, headers)
            elif family is not None and path in GETS and request.method in ("GET", "HEAD"):
                response = await self._get(request, family, headers)
            else:
                response = await self._other(request, path, headers)
        except Refuse as refused:
            if family is SNOWPLOW and refused.status in (429, 503):
                await asyncio.sleep(BREATH_S)
            response = self._refusal(family, refused, headers)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("a request to %s failed", path if family or len(path) < 40 else "a long path")
            response = self._refusal(family, Refuse(500, "internal", "something is wrong with the collector"), headers)
        self._metrics.request(family.name if family else "other", response.status, time.perf_counter() - began)
        return response

    # Requests that bring events.

    async def _post(self, request: Ask, family: Family, call: str, headers: Headers) -> web.Response:
        raw = await self._body(request)
        told = basic(request.headers.get("Authorization", ""))
        try:
            body = self._decoded(request, raw)
        except InvalidEvent as error:
            key = self._ring.find(told) or self._anybody
            if key is not None and error.reason != "empty":
                await self._send([self._intake.dead_letter(family, key, Refused(-1, raw, error))])
                self._tell(family, [], [Refused(-1, None, error)])
            self._metrics.refused(family.name, key.name if key else "unknown", error.reason, 1)
            if not family.refuses:
                return self._accepted(family, [], headers)
            raise Refuse(413 if error.reason == "too_large" else 400, error.reason, error.detail) from None
        told = told or family.key_of(body) or request.query.get("writeKey") or request.query.get("token")
        return await self._take(request, family, call, family.items(body, request.query), told, headers, len(raw))

    async def _get(self, request: Ask, family: Family, headers: Headers) -> web.Response:
        """A pixel: answered with a picture, whatever comes of it."""
        query = dict(request.query)
        try:
            if family is SNOWPLOW:
                await self._take(request, family, "", [query], None, headers, len(request.path_qs))
            elif (data := bodies.in_base64(query.get("data", ""))) is not None and data:
                body = bodies.json_of(data)
                await self._take(
                    request, family, "", family.items(body, query), family.key_of(body), headers, len(data)
                )
        except (Refuse, InvalidEvent) as refused:
            if isinstance(refused, Refuse) and refused.status == 503:
                raise
        headers["Cache-Control"] = "no-store"
        return web.Response(body=GIF, content_type="image/gif", headers=headers)

    async def _take(
        self,
        request: Ask,
        family: Family,
        call: str,
        items: list[object],
        told: str | None,
        headers: Headers,
        size: int,
    ) -> web.Response:
        if len(items) > self._edge.events:
            if family.refuses:
                raise Refuse(413, "too_many", f"{len(items)} events in one request, {self._edge.events} are taken")
            items = items[: self._edge.events]
        accepted: list[Accepted] = []
        refused: list[Refused] = []
        letters: list[Out] = []
        sender = self._sender(request)
        for key, some in self._by_key(family, items, told):
            self._may(request, key, len(some), family)
            try:
                judged = self._intake.judge(
                    family, key, some, sender, call, time.time_ns() // 1_000_000, size > self._edge.event_bytes
                )
            except (RegistryUnavailable, SchemaMissing) as error:
                log.warning("%s", error)
                raise Refuse(503, "registry", "try again", {"Retry-After": str(RETRY_AFTER_S)}) from error
            accepted += judged.accepted
            refused += judged.refused
            letters += [self._intake.dead_letter(family, key, each) for each in judged.refused if not each.dropped]
            self._metrics.accepted(family.name, key.name, len(judged.accepted))
            for each in judged.refused:
                self._metrics.refused(family.name, key.name, each.error.reason, 1)
        await self._send([*(each.record for each in accepted), *letters])
        self._tell(family, accepted, refused)
        bad = [each for each in refused if not each.dropped]
        if bad and not accepted and len(bad) == len(items) and family.refuses:
            return _refused(400, bad[0].error.reason, bad[0].error.detail, _errors(bad), headers)
        return self._accepted(family, bad, headers)

    def _by_key(self, family: Family, items: list[object], told: str | None) -> list[tuple[WriteKey, list[object]]]:
        """Whose events they are. Raises Refuse (401), but of a family that would send them for ever."""
        if self._anybody is not None:
            return [(self._anybody, items)]
        if family.key_of_item is None:
            key = self._ring.find(told)
            if key is None:
                self._metrics.refused(family.name, "unknown", "unknown_key", len(items))
                raise Refuse(401, "unknown_key", "no write key that is known here")
            return [(key, items)]
        found: dict[str, tuple[WriteKey, list[object]]] = {}
        for item in items:
            key = self._ring.find(family.key_of_item(item))
            if key is None:
                self._metrics.refused(family.name, "unknown", "unknown_key", 1)
            else:
                found.setdefault(key.name, (key, []))[1].append(item)
        return list(found.values())

    def _may(self, request: Ask, key: WriteKey, events: int, family: Family) -> None:
        """Raises Refuse: 403 from a page that may not, 429 beyond the key's rate."""
        page = request.headers.get("Origin")
        if key.public and key.origins is not None and page is not None and origin(page) not in key.origins:
            self._metrics.refused(family.name, key.name, "origin", events)
            if family.refuses:
                raise Refuse(403, "origin", f"pages of this origin may not use the key {key.name}")
            raise Refuse(200, "origin", "")
        wait_s = 0.0 if self._anybody is not None else self._ring.wait_s(key, events, time.monotonic())
        if wait_s:
            self._metrics.refused(family.name, key.name, "rate", events)
            raise Refuse(429, "rate", f"more than the key {key.name} may send", {"Retry-After": str(int(wait_s) + 1)})

    async def _send(self, records: list[Out]) -> None:
        try:
            await self._goes.send(records)
        except RecordTooLarge as error:
            raise Refuse(413, "too_large", "a topic doesn't take an event of that size") from error
        except SendFailed as error:
            raise Refuse(503, "kafka", "not taken, try again", {"Retry-After": str(RETRY_AFTER_S)}) from error

    def _tell(self, family: Family, accepted: list[Accepted], refused: list[Refused]) -> None:
        if self._keep is not None:
            self._keep(family, accepted, refused)

    # What a request says.

    async def _body(self, request: Ask) -> bytes:
        """Raises Refuse: 413, 408."""
        most = self._edge.request_bytes
        if (length := request.content_length) is not None and length > most:
            raise Refuse(413, "too_large", f"the request has more than {most} bytes", {"Connection": "close"})
        if request.content.is_eof():  # all of it came with the head
            return request.content.read_nowait()
        found = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.content.iter_any():
                    found += chunk
                    if len(found) > most:
                        raise Refuse(
                            413, "too_large", f"the request has more than {most} bytes", {"Connection": "close"}
                        )
        except TimeoutError:
            raise Refuse(408, "slow", "the request took too long", {"Connection": "close"}) from None
        return bytes(found)

    def _decoded(self, request: Ask, raw: bytes) -> Any:
        most = self._edge.request_bytes
        if not raw:
            raise InvalidEvent("empty", "the request has no body")
        body = bodies.unpacked(raw, request.headers.get("Content-Encoding", ""), most)
        body = bodies.form_of(body)
        if request.query.get("compression") == "base64":
            body = bodies.in_base64(body.decode("ascii", "replace")) or body
        if len(body) > most:
            raise InvalidEvent("too_large", f"unpacked, the body has more than {most} bytes")
        return bodies.json_of(body)

    def _sender(self, request: Ask) -> Sender:
        agent = request.headers.get("User-Agent")
        address = None if self._edge.addresses == "drop" else self._address(request)
        return Sender(address, agent[:1000] if agent else None)

    def _address(self, request: Ask) -> str | None:
        """The client's: the last of those told that isn't a proxy of ours; its network alone, unless all is kept."""
        told = request.remote
        if told is None:
            return None
        hops = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",") if each.strip()]
        try:
            address = ip_address(told)
            while hops and any(address in network for network in self._proxies):
                address = ip_address(hops.pop())
        except ValueError:
            return None
        return str(address) if self._edge.addresses == "keep" else _network(address)

    # Answers.

    def _cors(self, request: Ask) -> Headers:
        """For the page that asks. Which key it uses is known only when it sends events, and not before."""
        headers: Headers = CIMultiDict()
        page = request.headers.get("Origin")
        if page is not None and len(page) < 300 and "\n" not in page:
            headers["Access-Control-Allow-Origin"] = page
            headers["Vary"] = "Origin"
            headers["Access-Control-Allow-Credentials"] = "true"
        return headers

    def _preflight(self, request: Ask, headers: Headers) -> web.Response:
        headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        headers["Access-Control-Allow-Headers"] = _HEADERS
        headers["Access-Control-Max-Age"] = "7200"
        return web.Response(status=204, headers=headers)

    def _accepted(self, family: Family, bad: list[Refused], headers: Headers) -> web.Response:
        if family is SNOWPLOW:
            return web.Response(text="ok", headers=headers)
        told: dict[str, Any] = {"success": True} if family.name == "segment" else {"status": 1}
        if bad:
            told["errors"] = _errors(bad)
        return _answer(200, told, headers)

    def _refusal(self, family: Family | None, refused: Refuse, headers: Headers) -> web.Response:
        headers.update(refused.headers)
        status = refused.status
        if family is SNOWPLOW and 400 <= status < 500 and status not in (405, 429):
            status = 200
        errors: list[dict[str, object]] = [{"index": None, "reason": refused.reason, "message": str(refused)}]
        return _refused(status, refused.reason, str(refused), errors, headers)

    async def _other(self, request: Ask, path: str, headers: Headers) -> web.Response:
        if request.method in ("GET", "HEAD"):
            if path in ABOUT:
                return self._about(path, headers)
            found = calm_get(path, f"{request.scheme}://{request.host if request.host.isascii() else ''}")
        else:
            if request.can_read_body:
                await self._body(request)
            found = calm_post(path) if request.method == "POST" else None
        if found is not None:
            content_type, text = found
            return web.Response(text=text, content_type=content_type, headers=headers)
        posted = path in POSTS or calm_post(path) is not None
        if not (posted or path in ABOUT or calm_get(path, "") is not None):
            raise Refuse(404, "no_such_path", "nothing is taken here; see docs/collect.md")
        allowed = (["POST"] if posted else []) + ([] if path in POSTS and path not in GETS else ["GET", "HEAD"])
        raise Refuse(405, "method", f"{' and '.join(allowed)} only", {"Allow": ", ".join([*allowed, "OPTIONS"])})

    def _about(self, path: str, headers: Headers) -> web.Response:
        if path == "/openapi.json":
            return _answer(200, document(self._edge), headers)
        if path == "/readyz":
            return _answer(200 if self.ready else 503, {"ready": self.ready}, headers)
        return _answer(200, {"alive": True}, headers)


@lru_cache(maxsize=10_000)
def _network(address: IPv4Address | IPv6Address) -> str:
    network: IPv4Network | IPv6Network = ip_network((address, 24 if address.version == 4 else 48), strict=False)
    return str(network.network_address)


def _answer(status: int, told: object, headers: Headers) -> web.Response:
    return web.Response(status=status, body=_json(told), content_type="application/json", headers=headers)


def _refused(status: int, code: str, message: str, errors: list[dict[str, object]], headers: Headers) -> web.Response:
    """Where `code` or `message` lacks, rudder-sdk-python takes a 4xx for a fault of the network, and sends again."""
    told = {"success": False, "code": code, "message": _shown(message), "errors": errors}
    return _answer(status, told, headers)


def _errors(refused: list[Refused]) -> list[dict[str, object]]:
    return [
        {"index": each.place, "reason": each.error.reason, "message": _shown(each.error.detail)} for each in refused
    ]


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:300]


def server(collector: Collector, gate_limit: int) -> tuple[web.Server, Gate]:
    """The protocol factory for `loop.create_server`, and its web.Server, to shut it down."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        visitor = gate.of(request.protocol)
        if visitor is not None:
            visitor.heard()
        try:
            return await collector.answer(request)
        finally:
            if visitor is not None:
                visitor.answered()

    # It would log each request that is none, with its address and all that stands there.
    quiet = logging.getLogger("pipeline.edge.http")
    quiet.setLevel(logging.CRITICAL)
    web_server = web.Server(
        handle,
        auto_decompress=False,
        keepalive_timeout=REST_S,
        lingering_time=LINGER_S,
        access_log=None,
        logger=quiet,
    )
    gate = Gate(web_server, limit=gate_limit)
    return web_server, gate
