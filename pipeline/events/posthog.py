"""PostHog's events as Segment's calls, so that one translation (`segment.translate`) serves both.

Who says what: names of events and properties are those of the clients (PostHog/posthog-js: packages/browser,
packages/browser-common, packages/core, packages/node; PostHog/posthog-python: client.py, request.py); where key,
distinct id and times may stand is what the server reads (PostHog/posthog: rust/capture/src/v0_request.rs,
rust/common/types/src/event.rs and timestamp.rs); whom an event ties is its person-merge-service.ts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipeline.errors import InvalidEvent
from pipeline.events.segment_fields import an_object, from_json, key_text, kind_of, maybe_object, numbered, whole
from pipeline.events.times import EARLIEST, LATEST, read_time, rfc3339

Part = dict[str, Any]

CALLS = {
    "$pageview": "page",
    "$screen": "screen",
    "$identify": "identify",
    "$set": "identify",
    "$set_once": "identify",
    "$create_alias": "alias",
    "$merge_dangerously": "alias",
    "$groupidentify": "group",
    "$group_identify": "group",
}
"""PostHog's own events that are no track."""

NOBODY = "$posthog_cookieless"
"""The distinct id of all visitors who refused cookies (packages/browser/src/constants.ts)."""

CONSENT = {"$opt_in": True, "$opt_out": False}
PURPOSE = "analytics"
"""What PostHog's visitors are asked for has no name there; this is ours."""

_KEYS = ("api_key", "token", "$token")
_APPS = ("web", "posthog-js-lite", "posthog-ios", "posthog-android", "posthog-react-native", "posthog-flutter")
"""`$lib` of those that make up a distinct id of their own."""
_MADE_UP = re.compile(r"[0-9a-f]{8,16}(?:-[0-9a-f]{1,16}){4}", re.IGNORECASE)
"""A distinct id as these make it up: a UUID, in old versions five groups of another length."""

PAGE = {
    "url": "$current_url",
    "path": "$pathname",
    "title": "title",
    "referrer": "$referrer",
    "page_view_id": "$pageview_id",
}
CONTEXT = {
    "userAgent": ("$raw_user_agent", "$user_agent", "$useragent"),
    "ip": ("$ip",),
    "locale": ("$browser_language", "$locale"),
    "timezone": ("$timezone",),
}
LIBRARY = {"name": "$lib", "version": "$lib_version"}
CAMPAIGN = {
    "name": "utm_campaign", "source": "utm_source", "medium": "utm_medium", "term": "utm_term",
    "content": "utm_content",
}  # fmt: skip
OPTIONS = {
    "cookieless_mode": "$cookieless_mode", "disable_skew_correction": "$ignore_sent_at",
    "process_person_profile": "$process_person_profile",
}  # fmt: skip
"""What newer clients tell beside the properties (packages/node/src/capture-v1), and the older ones among them."""
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_MOVED = frozenset((*_KEYS, "distinct_id", *CAMPAIGN.values()))
TELLING = (
    "$event_type", "$el_", "$elements_chain", "$external_click_target_url", "$exception_", "$feature_flag",
    "$prev_pageview_", "$survey_",
)  # fmt: skip
"""Beginnings of those properties of PostHog's own that tell of one event; the others stand in every event."""


def items(body: object, sent_at: object = None, client: str | None = None) -> list[object]:
    """The events of a request: {api_key, batch: [...], sent_at}, {data: ...}, a list of events, or one.

    Each with `sent_at`, if it or the batch tells it; else the argument: older clients tell it in the query, as `_` or
    `sent_at`, newer ones in a header. So do these with `client`, "name/version": `$lib` and `$lib_version` of all.
    Items that are no events are there as well: `call_of` says what is wrong with them.
    """
    found, around = _events(body)
    sent = sent_at if around is None else around
    if sent is not None:
        found = [
            {**item, "sent_at": sent} if isinstance(item, dict) and item.get("sent_at") is None else item
            for item in found
        ]
    name, _, version = (client or "").rpartition("/")
    if not name or not version:
        return found
    told = {"$lib": name.strip(), "$lib_version": version.strip()}
    return [
        {**item, "properties": {**(maybe_object(item.get("properties")) or {}), **told}}
        if isinstance(item, dict)
        else item
        for item in found
    ]


def key_of(body: object) -> str | None:
    """The project's key: of the whole, else of the first event that has one."""
    return next((key for part in (body, *_events(body)[0]) for key in _keys(part)), None)


def _keys(told: object) -> Iterator[str]:
    if isinstance(told, dict):
        for part in (told, maybe_object(told.get("properties")) or {}):
            yield from (key for name in _KEYS if isinstance(key := part.get(name), str) and key)


def _events(body: object) -> tuple[list[object], object]:
    """The events as they stand, and when they were sent as is told around them."""
    if isinstance(body, str):
        body = from_json(body) or body
    if isinstance(body, list):
        return body, None
    if isinstance(body, dict) and "event" not in body:
        for name in ("batch", "data"):
            told = body.get(name)
            one = maybe_object(told)
            found = numbered(told) if one is None else [one]
            if found is not None:
                return found, body.get("sent_at")
    return [body], None


def call_of(event: object) -> Part:
    """One event as one of Segment's calls. Raises InvalidEvent(invalid_shape): no object, or no `event`.

    What is of a wrong kind is left out, here or by `segment.translate`.
    """
    event = an_object(event)
    properties = maybe_object(event.get("properties")) or {}
    if (options := maybe_object(event.get("options"))) is not None:
        properties = {**properties, **_optional(options)}
    name = (key_text(event.get("event")) or "").strip() or ("$identify" if "$set" in event else "")
    if not name:
        raise InvalidEvent("invalid_shape", f"`event` must name what happened, this is {kind_of(event.get('event'))}")
    kind = CALLS.get(name, "track")
    traits = _traits(event, properties)
    call = {
        "type": kind,
        "event": name if kind == "track" else None,
        "messageId": _first(event, "uuid", "id") or properties.get("$insert_id"),
        **_times(event, properties),
        **_who(kind, name, event, properties),
        "properties": _own(name, properties) if properties else event.get("properties"),
        "context": _context(name, properties, traits if kind != "identify" else {}),
    }
    if kind == "screen":
        call["name"] = properties.get("$screen_name")
    elif kind == "identify":
        call["traits"] = traits
    elif kind == "group":
        told = maybe_object(properties.get("$group_set")) or {}
        call["groupId"] = properties.get("$group_key")
        call["traits"] = {**told, "group_type": properties.get("$group_type")}
    return {name: value for name, value in call.items() if value is not None}


def _optional(options: Part) -> Part:
    """As properties; what is no flag is left out."""
    told = {
        theirs: value if isinstance(value, bool) else _FLAGS.get((key_text(value) or "").strip().lower())
        for name, theirs in OPTIONS.items()
        if (value := options.get(name)) is not None
    }
    return {name: value for name, value in told.items() if value is not None}


def _first(part: Part, *names: str) -> Any:
    return next((part[name] for name in names if part.get(name) is not None), None)


def _times(event: Part, properties: Part) -> Part:
    """`offset`: ms that lay between the event and its sending, of clients that tell no time."""
    stamp, sent = event.get("timestamp"), event.get("sent_at")
    offset, sending = whole(event.get("offset")), read_time(sent)
    if offset is not None and sending is not None and EARLIEST <= sending - offset <= LATEST:
        stamp = rfc3339(sending - offset)
    if properties.get("$ignore_sent_at") is True:
        return {"timestamp": stamp}
    return {"timestamp": stamp, "originalTimestamp": stamp, "sentAt": sent}


# --- who it was


def _who(kind: str, name: str, event: Part, properties: Part) -> Part:
    told = _first(event, "distinct_id", "$distinct_id")
    distinct = key_text(properties.get("distinct_id") if told is None else told)
    group = f"${key_text(properties.get('$group_type'))}_{key_text(properties.get('$group_key'))}"
    if distinct in (None, "", NOBODY) or (kind == "group" and distinct == group):  # posthog-node groups nobody so
        return {}
    assert distinct is not None
    alias = key_text(properties.get("alias")) if kind == "alias" else None
    if alias is not None:
        user, other = (alias, distinct) if _is_turned(name, distinct, alias, properties) else (distinct, alias)
        return {"userId": user, "previousId": other}
    if name == "$identify":
        before = key_text(properties.get("$anon_distinct_id"))
        return {"userId": distinct, "anonymousId": before if before != distinct else None}
    return {"anonymousId": distinct} if _is_anonymous(distinct, properties) else {"userId": distinct}


def _is_turned(name: str, distinct: str, alias: str, properties: Part) -> bool:
    """`alias` is another id of who is known by the distinct id. But an anonymous client names by it who they are from
    now on, and posthog-python's `alias(previous_id, distinct_id)` sends them the other way round, too.
    """
    if properties.get("$is_identified") is True:
        return False
    made_up = _MADE_UP.fullmatch(distinct) is not None
    if made_up != (_MADE_UP.fullmatch(alias) is not None):
        return made_up
    by_python = name == "$create_alias" and properties.get("$lib") == "posthog-python"
    return by_python or _is_anonymous(distinct, properties)


def _is_anonymous(distinct: str, properties: Part) -> bool:
    """Whether a distinct id is one that a client made up. Servers' clients tell the user's."""
    if isinstance(told := properties.get("$is_identified"), bool):
        return not told
    if properties.get("$process_person_profile") is False:
        return True
    if key_text(properties.get("$user_id")) == distinct:
        return False
    if key_text(properties.get("$device_id")) == distinct:
        return True
    if properties.get("$lib") not in _APPS:
        return False
    # Of versions that don't say it. `identify` writes down a `$user_id`; `reset` keeps the `$device_id`.
    return properties.get("$device_id") is not None or _MADE_UP.fullmatch(distinct) is not None


def _traits(event: Part, properties: Part) -> Part:
    """Of the person, without what pages add; what is told beside the properties counts more."""
    traits: Part = {}
    for name in ("$set_once", "$set"):
        for part in (properties, event):
            traits |= maybe_object(part.get(name)) or {}
    return {name: value for name, value in traits.items() if not name.startswith("$") and name not in _MOVED}


# --- what it was


def _own(name: str, properties: Part) -> Part:
    """What the event itself tells."""
    telling = TELLING if name.startswith("$") else ()
    return {
        name: value
        for name, value in properties.items()
        if name not in _MOVED and (not name.startswith("$") or name.startswith(telling))
    }


def _context(name: str, properties: Part, traits: Part) -> Part:
    context: Part = {ours: _first(properties, *theirs) for ours, theirs in CONTEXT.items()}
    context["page"] = _picked(properties, PAGE)
    if context["page"].get("referrer") == "$direct":
        del context["page"]["referrer"]
    context["library"] = _picked(properties, LIBRARY)
    context["campaign"] = _picked(properties, CAMPAIGN)
    context["traits"] = traits
    consent = False if properties.get("$cookieless_mode") is True else CONSENT.get(name)
    if consent is not None:
        context["consent"] = {"categoryPreferences": {PURPOSE: consent}}
    return {name: value for name, value in context.items() if value is not None and value != {}}


def _picked(properties: Part, names: dict[str, str]) -> Part:
    return {ours: properties[theirs] for ours, theirs in names.items() if properties.get(theirs) is not None}
