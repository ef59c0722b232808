"""What each family of clients sends where, what its events are called, and which answers it takes.

A client that gets a status which it takes for a fault of ours sends the same again, some for ever. So a bad event is
answered as its family lets go of it: Segment's, RudderStack's and PostHog's drop what gets a 4xx (but 429), Snowplow's
keep all that isn't answered with a 2xx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from pipeline.events import envelopes, posthog, snowplow

Name = Literal["segment", "posthog", "snowplow"]
Query = Mapping[str, str]

_CALLS = ("track", "identify", "page", "screen", "group", "alias")


class Family(msgspec.Struct, frozen=True):
    """`items`: JSON of a request and its query -> its events; `call_of`: one of them -> Segment's call (raises
    InvalidEvent).
    `key_of`: JSON -> the write key told in it; `key_of_item`: each event tells its own. `refuses`: a bad request may
    get a 4xx.
    """

    name: Name
    items: Callable[[Any, Query], list[object]]
    call_of: Callable[[Any], Any]
    key_of: Callable[[Any], str | None]
    key_of_item: Callable[[Any], str | None] | None = None
    refuses: bool = True


def _segment_items(body: Any, query: Query) -> list[object]:
    """A batch, one call, or, where a page's last words are gathered, a list of calls."""
    if isinstance(body, list):
        return [item for each in body for item in _segment_items(each, query)]
    return envelopes.items(body) if envelopes.is_envelope(body) else [body]


def _segment_key(body: Any) -> str | None:
    while isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return None
    told = body.get("writeKey", body.get("write_key"))
    if told is None and isinstance(batch := body.get("batch"), list) and batch and isinstance(batch[0], dict):
        told = batch[0].get("writeKey")
    return told if isinstance(told, str) else None


def _posthog_items(body: Any, query: Query) -> list[object]:
    """Older scripts of pages say in the query alone when they sent."""
    return posthog.items(body, query.get("sent_at") or query.get("_"))


def _snowplow_items(body: Any, query: Query) -> list[object]:
    return snowplow.items(body)


def _app_id(item: Any) -> str | None:
    told = item.get("aid") if isinstance(item, dict) else None
    return told if isinstance(told, str) else None


def _as_it_is(item: Any) -> Any:
    return item


SEGMENT = Family("segment", _segment_items, _as_it_is, _segment_key)
POSTHOG = Family("posthog", _posthog_items, posthog.call_of, posthog.key_of)
SNOWPLOW = Family("snowplow", _snowplow_items, snowplow.call_of, lambda body: None, _app_id, refuses=False)

POSTS: Mapping[str, tuple[Family, str]] = {
    **dict.fromkeys(("/v1/batch", "/v1/b", "/v1/import"), (SEGMENT, "")),
    **{f"/v1/{call}": (SEGMENT, call) for call in _CALLS},
    **{f"/v1/{call[0]}": (SEGMENT, call) for call in _CALLS},
    **dict.fromkeys(("/batch", "/e", "/i/v0/e", "/capture", "/track", "/engage"), (POSTHOG, "")),
    **dict.fromkeys(("/com.snowplowanalytics.snowplow/tp2", "/i"), (SNOWPLOW, "")),
}
"""Path (without a slash at its end) -> whose it is, and the call that a body is which doesn't say it."""

GETS = ("/i", "/e", "/i/v0/e")
"""Of these paths those of pixels: one event each, in the query."""

CALM_POSTS = frozenset({"/decide", "/flags", "/s", "/i/v1/logs", "/v1/m"})
"""Paths at which clients ask or tell what isn't ours, and go on well if they are answered."""
