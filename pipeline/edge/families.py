"""What each family of clients sends where, what its events are called, and which answers it takes.

A client that gets a status which it takes for a fault of ours sends the same again, some for ever. So a bad event is
answered as its family lets go of it: Segment's, RudderStack's and PostHog's drop what gets a 4xx (but 429), Snowplow's
keep all that isn't answered with a 2xx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from pipeline.edge.keys import basic, bearer
from pipeline.events import envelopes, posthog, snowplow

Name = Literal["segment", "posthog", "snowplow"]

_CALLS = ("track", "identify", "page", "screen", "group", "alias")


class Beside(NamedTuple):
    """What a request tells beside its body."""

    query: Mapping[str, str]
    headers: Mapping[str, str]


class Family(msgspec.Struct, frozen=True):
    """`items`: JSON of a request and what stands beside it -> its events; `call_of`: one of them -> Segment's call
    (raises InvalidEvent).
    `key_in`: the header Authorization -> the write key told in it; `key_of`: JSON -> the same; `key_of_item`: each
    event tells its own. `refuses`: a bad request may get a 4xx. `results`: each event's result is told by its id.
    """

    name: Name
    items: Callable[[Any, Beside], list[object]]
    call_of: Callable[[Any], Any]
    key_of: Callable[[Any], str | None]
    key_in: Callable[[str], str | None] = basic
    key_of_item: Callable[[Any], str | None] | None = None
    refuses: bool = True
    results: bool = False

    @property
    def as_it_is(self) -> bool:
        """Whether an event of theirs is one of Segment's calls."""
        return self.call_of is _as_it_is


def _segment_items(body: Any, beside: Beside) -> list[object]:
    """A batch, one call, or, where a page's last words are gathered, a list of calls."""
    if isinstance(body, list):
        return [item for each in body for item in _segment_items(each, beside)]
    found = envelopes.items(body)
    return [body] if found is None else found


def _segment_key(body: Any) -> str | None:
    while isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return None
    told = body.get("writeKey", body.get("write_key"))
    if told is None and isinstance(batch := body.get("batch"), list) and batch and isinstance(batch[0], dict):
        told = batch[0].get("writeKey")
    return told if isinstance(told, str) else None


def _posthog_items(body: Any, beside: Beside) -> list[object]:
    """Older scripts of pages say in the query alone when they sent."""
    return posthog.items(body, beside.query.get("sent_at") or beside.query.get("_"))


def _posthog_v1_items(body: Any, beside: Beside) -> list[object]:
    told = beside.headers
    return posthog.items(body, told.get("PostHog-Request-Timestamp"), told.get("PostHog-Sdk-Info"))


def _snowplow_items(body: Any, beside: Beside) -> list[object]:
    return snowplow.items(body)


def _app_id(item: Any) -> str | None:
    told = item.get("aid") if isinstance(item, dict) else None
    return told if isinstance(told, str) else None


def _nowhere(body: Any) -> None:
    """No key is told there."""


def _as_it_is(item: Any) -> Any:
    return item


SEGMENT = Family("segment", _segment_items, _as_it_is, _segment_key)
POSTHOG = Family("posthog", _posthog_items, posthog.call_of, posthog.key_of)
POSTHOG_V1 = Family("posthog", _posthog_v1_items, posthog.call_of, _nowhere, bearer, results=True)
"""What PostHog's clients send with `POSTHOG_CAPTURE_MODE=v1`."""
SNOWPLOW = Family("snowplow", _snowplow_items, snowplow.call_of, _nowhere, key_of_item=_app_id, refuses=False)

POSTS: Mapping[str, tuple[Family, str]] = {
    **dict.fromkeys(("/v1/batch", "/v1/b", "/v1/import"), (SEGMENT, "")),
    **{f"/v1/{call}": (SEGMENT, call) for call in _CALLS},
    **{f"/v1/{call[0]}": (SEGMENT, call) for call in _CALLS},
    **dict.fromkeys(("/batch", "/e", "/i/v0/e", "/capture", "/track", "/engage"), (POSTHOG, "")),
    "/i/v1/analytics/events": (POSTHOG_V1, ""),
    **dict.fromkeys(("/com.snowplowanalytics.snowplow/tp2", "/i"), (SNOWPLOW, "")),
}
"""Path (without a slash at its end) -> whose it is, and the call that a body is which doesn't say it."""

GETS = ("/i", "/e", "/i/v0/e")
"""Of these paths those of pixels: one event each, in the query."""

CALM_POSTS = frozenset({"/decide", "/flags", "/s", "/i/v1/logs", "/v1/m"})
"""Paths at which clients ask or tell what isn't ours, and go on well if they are answered."""
