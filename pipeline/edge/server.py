"""Requests and answers: one process of the collector, on aiohttp's low-level server (no router, no middlewares)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from pipeline.edge import answers, bodies
from pipeline.edge.answers import RETRY_AFTER_S, Headers
from pipeline.edge.calm import calm_get, calm_post
from pipeline.edge.delivery import Goes
from pipeline.edge.families import GETS, POSTS, SNOWPLOW, Beside, Family
from pipeline.edge.gate import REST_S, Gate
from pipeline.edge.intake import Accepted, Judge, Refused
from pipeline.edge.keys import KeyRing
from pipeline.edge.metrics import EdgeMetrics
from pipeline.edge.openapi import ABOUT, document
from pipeline.edge.reading import Callers, Request, body_of, json_in, query_of
from pipeline.errors import (
    InvalidEvent,
    RecordTooLarge,
    RegistryUnavailable,
    RequestRefused,
    SchemaMissing,
    SendFailed,
)
from pipeline.runtime.ports import Out
from pipeline.topology.addresses import origin
from pipeline.topology.model import Edge, WriteKey

log = logging.getLogger(__name__)

BREATH_S = 1.0  # before Snowplow's clients hear that they shall wait: some ask again at once
LINGER_S = 5.0  # so long a body is read that nobody wants, for its caller to see the answer


class Taken:
    """What is left to be sent and answered of a request with so many events, without all that it told: while it waits
    for the brokers, others need the room. `accepted`: where somebody is told of each; `none`: none is accepted.
    """

    __slots__ = ("accepted", "events", "none", "records", "refused")

    def __init__(self, events: int) -> None:
        self.events = events
        self.none = True
        self.records: list[Out] = []
        self.accepted: list[Accepted] = []
        self.refused: list[Refused] = []


class Collector:
    """Answers one request after the other. `keep`: told what became of each event (echo)."""

    def __init__(
        self,
        edge: Edge,
        judge: Judge,
        goes: Goes,
        metrics: EdgeMetrics,
        *,
        ring: KeyRing,
        anybody: WriteKey | None = None,
        keep: Callable[[Family, list[Accepted], list[Refused]], None] | None = None,
        more: Callable[[Request], Awaitable[web.Response | None]] | None = None,
    ) -> None:
        self.ready = True
        self._edge = edge
        self._judge = judge
        self._goes = goes
        self._metrics = metrics
        self._ring = ring
        self._anybody = anybody
        self._keep = keep
        self._more = more
        self._callers = Callers(edge)

    async def answer(self, request: Request) -> web.StreamResponse:
        """Never raises, but what ends the connection."""
        began = time.perf_counter()
        path = request.path.rstrip("/") or "/"
        family, call = POSTS.get(path, (None, ""))
        headers = answers.cors(request.headers.get("Origin"))
        try:
            if request.method == "OPTIONS":
                response = answers.preflight(headers)
            elif self._more is not None and (found := await self._more(request)) is not None:
                response = found
            elif family is not None and request.method == "POST":
                response = await self._post(request, family, call, headers)
            elif family is not None and path in GETS and request.method in ("GET", "HEAD"):
                response = await self._get(request, family, headers)
            else:
                response = await self._other(request, path, headers)
        except RequestRefused as refused:
            if family is SNOWPLOW and refused.status in (429, 503):
                await asyncio.sleep(BREATH_S)
            response = answers.refusal(family, refused, headers)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("a request to %s failed", path if family or len(path) < 40 else "a long path")
            response = answers.refusal(
                family, RequestRefused(500, "internal", "something is wrong with the collector"), headers
            )
        self._metrics.request(family.name if family else "other", response.status, time.perf_counter() - began)
        return response

    # Requests that bring events.

    async def _post(self, request: Request, family: Family, call: str, headers: Headers) -> web.Response:
        raw = await body_of(request, self._edge.request_bytes)
        told = family.key_in(request.headers.get("Authorization", ""))
        try:
            taken = self._read(request, family, call, raw, told)
        except InvalidEvent as error:
            key = self._ring.find(told) or self._anybody
            if key is not None and error.reason != "empty":
                await self._send([self._judge.dead_letter(family, key, Refused(-1, raw, error))])
                self._tell(family, [], [Refused(-1, None, error)])
            self._metrics.refused(family.name, key.name if key else "unknown", error.reason, 1)
            if not family.refuses:
                return answers.accepted(family, [], [], headers)
            raise RequestRefused(413 if error.reason == "too_large" else 400, error.reason, error.detail) from None
        return await self._take(family, taken, headers)

    async def _get(self, request: Request, family: Family, headers: Headers) -> web.Response:
        """A pixel: answered with a picture, whatever comes of it."""
        query = dict(request.query)
        try:
            if family is SNOWPLOW:
                taken = self._judged(request, family, "", [query], None, len(request.path_qs))
                await self._take(family, taken, headers)
            elif (data := bodies.in_base64(query.get("data", ""))) is not None and data:
                body = bodies.json_of(data)
                items = family.items(body, Beside(query, request.headers))
                taken = self._judged(request, family, "", items, family.key_of(body), len(data))
                await self._take(family, taken, headers)
        except (RequestRefused, InvalidEvent) as refused:
            if isinstance(refused, RequestRefused) and refused.status == 503:
                raise
        headers["Cache-Control"] = "no-store"
        return web.Response(body=answers.GIF, content_type="image/gif", headers=headers)

    def _read(self, request: Request, family: Family, call: str, raw: bytes, told: str | None) -> Taken:
        """What becomes of a body. Raises InvalidEvent: it is none; and what `_judged` raises."""
        body = json_in(request, raw, self._edge.request_bytes)
        query = query_of(request)
        told = told or family.key_of(body) or query.get("writeKey") or query.get("token")
        items = family.items(body, Beside(query, request.headers))
        return self._judged(request, family, call, items, told, len(raw))

    def _judged(
        self, request: Request, family: Family, call: str, items: list[object], told: str | None, size: int
    ) -> Taken:
        """Raises RequestRefused: nothing of it is taken."""
        if len(items) > self._edge.events:
            if family.refuses:
                raise RequestRefused(
                    413, "too_many", f"{len(items)} events in one request, {self._edge.events} are taken"
                )
            items = items[: self._edge.events]
        taken = Taken(len(items))
        letters: list[Out] = []
        caller = self._callers.of(request)
        for key, some in self._by_key(family, items, told):
            self._may(request, key, len(some), family)
            try:
                judged = self._judge.of(
                    family, key, some, caller, call, time.time_ns() // 1_000_000, size > self._edge.event_bytes
                )
            except (RegistryUnavailable, SchemaMissing) as error:
                log.warning("%s", error)
                raise RequestRefused(503, "registry", "try again", {"Retry-After": str(RETRY_AFTER_S)}) from error
            taken.records += judged.records
            if family.results or self._keep is not None:
                taken.accepted += judged.accepted
            taken.refused += judged.refused
            letters += [self._judge.dead_letter(family, key, each) for each in judged.refused if not each.dropped]
            self._metrics.accepted(family.name, key.name, len(judged.records))
            for each in judged.refused:
                self._metrics.refused(family.name, key.name, each.error.reason, 1)
        taken.none = not taken.records
        taken.records += letters
        return taken

    async def _take(self, family: Family, taken: Taken, headers: Headers) -> web.Response:
        await self._send(taken.records)
        self._tell(family, taken.accepted, taken.refused)
        bad = [each for each in taken.refused if not each.dropped]
        if bad and taken.none and len(bad) == taken.events and family.refuses and not family.results:
            return answers.none_of(bad, headers)
        return answers.accepted(family, taken.accepted, bad, headers)

    def _by_key(self, family: Family, items: list[object], told: str | None) -> list[tuple[WriteKey, list[object]]]:
        """Whose events they are. Raises RequestRefused (401), but of a family that would send them for ever."""
        if self._anybody is not None:
            return [(self._anybody, items)]
        if family.key_of_item is None:
            key = self._ring.find(told)
            if key is None:
                self._metrics.refused(family.name, "unknown", "unknown_key", len(items))
                raise RequestRefused(401, "unknown_key", "no write key that is known here")
            return [(key, items)]
        found: dict[str, tuple[WriteKey, list[object]]] = {}
        for item in items:
            key = self._ring.find(family.key_of_item(item))
            if key is None:
                self._metrics.refused(family.name, "unknown", "unknown_key", 1)
            else:
                found.setdefault(key.name, (key, []))[1].append(item)
        return list(found.values())

    def _may(self, request: Request, key: WriteKey, events: int, family: Family) -> None:
        """Raises RequestRefused: 403 from a page that may not, 429 beyond the key's rate."""
        page = request.headers.get("Origin")
        if key.public and key.origins is not None and page is not None and origin(page) not in key.origins:
            self._metrics.refused(family.name, key.name, "origin", events)
            if family.refuses:
                raise RequestRefused(403, "origin", f"pages of this origin may not use the key {key.name}")
            raise RequestRefused(200, "origin", "")
        wait_s = 0.0 if self._anybody is not None else self._ring.wait_s(key, events, time.monotonic())
        if wait_s:
            self._metrics.refused(family.name, key.name, "rate", events)
            raise RequestRefused(
                429, "rate", f"more than the key {key.name} may send", {"Retry-After": str(int(wait_s) + 1)}
            )

    async def _send(self, records: list[Out]) -> None:
        try:
            await self._goes.send(records)
        except RecordTooLarge as error:
            raise RequestRefused(413, "too_large", "a topic doesn't take an event of that size") from error
        except SendFailed as error:
            raise RequestRefused(503, "kafka", "not taken, try again", {"Retry-After": str(RETRY_AFTER_S)}) from error

    def _tell(self, family: Family, accepted: list[Accepted], refused: list[Refused]) -> None:
        if self._keep is not None:
            self._keep(family, accepted, refused)

    # What a request says.

    async def _other(self, request: Request, path: str, headers: Headers) -> web.Response:
        if request.method in ("GET", "HEAD"):
            if path in ABOUT:
                return self._about(path, headers)
            found = calm_get(path, f"{request.scheme}://{request.host if request.host.isascii() else ''}")
        else:
            if request.can_read_body:
                await body_of(request, self._edge.request_bytes)
            found = calm_post(path) if request.method == "POST" else None
        if found is not None:
            content_type, text = found
            return web.Response(text=text, content_type=content_type, headers=headers)
        posted = path in POSTS or calm_post(path) is not None
        if not (posted or path in ABOUT or calm_get(path, "") is not None):
            raise RequestRefused(404, "no_such_path", "nothing is taken here; see docs/collect.md")
        allowed = (["POST"] if posted else []) + ([] if path in POSTS and path not in GETS else ["GET", "HEAD"])
        raise RequestRefused(
            405, "method", f"{' and '.join(allowed)} only", {"Allow": ", ".join([*allowed, "OPTIONS"])}
        )

    def _about(self, path: str, headers: Headers) -> web.Response:
        if path == "/openapi.json":
            return answers.answer(200, document(self._edge), headers)
        if path == "/readyz":
            return answers.answer(200 if self.ready else 503, {"ready": self.ready}, headers)
        return answers.answer(200, {"alive": True}, headers)


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
