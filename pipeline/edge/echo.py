"""`pipeline edge --echo`: accepted events as lines of JSON, and Snowplow Micro's questions, for tests of a site's
tracking (https://docs.snowplow.io/docs/testing/snowplow-micro/)."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from pipeline.edge.families import Family
from pipeline.edge.intake import Accepted, Refused, public
from pipeline.runtime.ports import Out

KEPT = 2_000  # of each, the newest


class Echo:
    """`write`: takes a line."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._good: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._bad: deque[dict[str, Any]] = deque(maxlen=KEPT)

    async def send(self, records: Sequence[Out]) -> None:
        """Nothing goes anywhere."""

    def keep(self, family: Family, accepted: list[Accepted], refused: list[Refused]) -> None:
        """What became of a request's events."""
        for each in accepted:
            event = dict(public(each.event))
            self._good.append({"event": event, "eventType": event["type"], "family": family.name})
            self._write(json.dumps(event, ensure_ascii=False))
        for bad in refused:
            told = {"index": bad.place, "reason": bad.error.reason, "message": bad.error.detail}
            self._bad.append({**told, "family": family.name, "raw": _plain(bad.item)})

    async def micro(self, request: web.BaseRequest) -> web.Response | None:
        """/micro/all, good, bad and reset; None: something else was asked."""
        path = request.path.rstrip("/")
        if path == "/micro/good":
            return web.json_response(list(self._good))
        if path == "/micro/bad":
            return web.json_response(list(self._bad))
        if path == "/micro/reset":
            self._good.clear()
            self._bad.clear()
        elif path != "/micro/all":
            return None
        good, bad = len(self._good), len(self._bad)
        return web.json_response({"total": good + bad, "good": good, "bad": bad})


def _plain(item: object) -> object:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else item
