"""What is answered, and how each family of clients needs to hear it."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from pipeline.edge.families import SNOWPLOW, Family
from pipeline.edge.intake import Accepted, Refused
from pipeline.errors import RequestRefused

Headers = CIMultiDict[str]

GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
RETRY_AFTER_S = 5
_HEADERS = (
    "authorization, content-type, content-encoding, anonymousid, sp-anonymous, x-requested-with, x-retry-count, "
    "posthog-sdk-info, posthog-attempt, posthog-request-id, posthog-request-timestamp"
)
_json = msgspec.json.Encoder().encode


def cors(page: str | None) -> Headers:
    """For the page that asks (its Origin). Which key it uses is known only when it sends events, and not before."""
    headers: Headers = CIMultiDict()
    if page is not None and len(page) < 300 and "\n" not in page:
        headers["Access-Control-Allow-Origin"] = page
        headers["Vary"] = "Origin"
        headers["Access-Control-Allow-Credentials"] = "true"
    return headers


def preflight(headers: Headers) -> web.Response:
    """What pages may ask and send."""
    headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
    headers["Access-Control-Allow-Headers"] = _HEADERS
    headers["Access-Control-Max-Age"] = "7200"
    return web.Response(status=204, headers=headers)


def accepted(family: Family, good: list[Accepted], bad: list[Refused], headers: Headers) -> web.Response:
    """`good` is taken, and `bad` isn't."""
    if family is SNOWPLOW:
        return web.Response(text="ok", headers=headers)
    if family.results:
        return answer(200, {"results": _results(good, bad)}, headers)
    told: dict[str, Any] = {"success": True} if family.name == "segment" else {"status": 1}
    if bad:
        told["errors"] = _errors(bad)
    return answer(200, told, headers)


def none_of(bad: list[Refused], headers: Headers) -> web.Response:
    """Each of its events is bad."""
    return _refused(400, bad[0].error.reason, bad[0].error.detail, _errors(bad), headers)


def refusal(family: Family | None, refused: RequestRefused, headers: Headers) -> web.Response:
    """Nothing of it is taken."""
    headers.update(refused.headers)
    status = refused.status
    if family is SNOWPLOW and 400 <= status < 500 and status not in (405, 429):
        status = 200
    errors: list[dict[str, object]] = [{"index": None, "reason": refused.reason, "message": str(refused)}]
    return _refused(status, refused.reason, str(refused), errors, headers)


def answer(status: int, told: object, headers: Headers) -> web.Response:
    """As JSON."""
    return web.Response(status=status, body=_json(told), content_type="application/json", headers=headers)


def _refused(status: int, code: str, message: str, errors: list[dict[str, object]], headers: Headers) -> web.Response:
    """Where `code` or `message` lacks, rudder-sdk-python takes a 4xx for a fault of the network, and sends again."""
    told = {"success": False, "code": code, "message": _shown(message), "errors": errors}
    return answer(status, told, headers)


def _results(good: list[Accepted], bad: list[Refused]) -> dict[str, object]:
    """By the events' ids, as PostHog tells it (PostHog/posthog: rust/capture/src/v1/analytics/response.rs)."""
    told: dict[str, object] = {each.event.event_id: {"result": "ok"} for each in good}
    for each in bad:
        event_id = each.item.get("uuid") if isinstance(each.item, dict) else None
        if isinstance(event_id, str):
            why = f"{each.error.reason}: {_shown(each.error.detail)}"
            told[_shown(event_id)] = {"result": "drop", "details": why}
    return told


def _errors(refused: list[Refused]) -> list[dict[str, object]]:
    return [
        {"index": each.place, "reason": each.error.reason, "message": _shown(each.error.detail)} for each in refused
    ]


def _shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:300]
