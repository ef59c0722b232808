"""Snowplow's tracker protocol as Segment's calls, so that one translation (`segment.translate`) serves both.

Who says what: the parameters are those of "Event parameters" and "Snowplow atomic event properties" (docs.snowplow.io)
and of what reads them (snowplow/enrich, Transform.scala; its EventEnrichments.scala says which time counts); how the
trackers write them: libraries/tracker-core of snowplow/snowplow-javascript-tracker, and snowplow-python-tracker.
What self-describing events mean stands in `snowplow_schemas`.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from pipeline.errors import InvalidEvent
from pipeline.events.segment_fields import an_object, from_json, key_text, kind_of, maybe_object, numbered
from pipeline.events.snowplow_schemas import BASE, Described, Entities, consent_of, meaning_of
from pipeline.events.times import read_time, rfc3339

Part = dict[str, Any]

PAYLOAD = re.compile(r"iglu:com\.snowplowanalytics\.snowplow/payload_data/")
_SCHEMA = re.compile(r"iglu:(?P<vendor>[\w.-]+)/(?P<name>[\w.-]+)/[\w.-]+/[\w.-]+")
_UNSTRUCTURED = f"{BASE}/unstruct_event"

EVENTS = {
    "pv": "page view",
    "pp": "page ping",
    "se": "structured event",
    "ue": "self-describing event",
    "tr": "transaction",
    "ti": "transaction item",
}
"""`e`, and what it stands for."""

_PING = ("pp_mix", "pp_max", "pp_miy", "pp_may")
_STRUCTURED = {
    "category": "se_ca", "action": "se_ac", "label": "se_la", "property": "se_pr", "value": "se_va",
}  # fmt: skip
ORDER = {
    "order_id": "tr_id", "total": "tr_tt", "currency": "tr_cu", "affiliation": "tr_af", "tax": "tr_tx",
    "shipping": "tr_sh",
}  # fmt: skip
ITEM = {
    "sku": "ti_sk", "name": "ti_nm", "category": "ti_ca", "price": "ti_pr", "quantity": "ti_qu", "currency": "ti_cu",
}  # fmt: skip

_ITEMS = "items"
"""Where `items` puts a transaction's items: the protocol has no such parameter."""

_UTM = re.compile(r"[?&]utm_(source|medium|campaign|term|content)=([^&#]*)")
_ESCAPED = re.compile(rb"%([0-9a-fA-F]{2})")


def items(body: object) -> list[object]:
    """The events of a request: {schema: payload_data, data: [...]}, a list of events, or one; a query is one, too.

    A transaction has its items, which the protocol tells as events of their own, in itself.
    """
    if isinstance(body, str):
        body = from_json(body) or body
    found = [body]
    if isinstance(body, list):
        found = body
    elif isinstance(body, dict) and "e" not in body:
        one = maybe_object(body.get("data"))
        several = numbered(body.get("data")) if one is None else [one]
        found = found if several is None else several
    sold: dict[str, list[Part]] = {}
    orders = {order for item in found if (order := _order(item, "tr", "tr_id")) is not None}
    rest: list[object] = []
    for item in found:
        order = _order(item, "ti", "ti_id")
        if order in orders and isinstance(item, dict):
            assert order is not None
            sold.setdefault(order, []).append(item)
        else:
            rest.append(item)
    if not sold:
        return found
    return [
        {**item, _ITEMS: sold.pop(order, [])}
        if isinstance(item, dict) and (order := _order(item, "tr", "tr_id")) is not None
        else item
        for item in rest
    ]


def _order(item: object, kind: str, name: str) -> str | None:
    return key_text(item.get(name)) if isinstance(item, dict) and item.get("e") == kind else None


def call_of(event: object) -> Part:
    """One event as one of Segment's calls. Raises InvalidEvent(invalid_shape): no object, or no `e` of the protocol.

    What is of a wrong kind is left out, here or by `segment.translate`.
    """
    event = an_object(event)
    told = key_text(event.get("e"))
    if told not in EVENTS:
        raise InvalidEvent("invalid_shape", f"`e` is {kind_of(event.get('e'))}; one of {', '.join(EVENTS)} is needed")
    entities = _entities(event)
    described = _described_event(event) if told == "ue" else None
    user = entities.of("com.snowplowanalytics.snowplow.ecommerce/user")
    context = _context(event, entities, described)
    if (email := user.get("email")) is not None:
        context["traits"] = {"email": email}
    call = {
        "messageId": event.get("eid"),
        **_times(event),
        **_who(event, entities, user),
        "context": context,
        **_meaning(told, event, entities, described),
    }
    return {name: value for name, value in call.items() if value is not None}


def _meaning(told: str, event: Part, entities: Entities, described: Described | None) -> Part:
    if told == "pv":
        return {"type": "page"}
    if told == "ue":
        if described is None:
            raise InvalidEvent("invalid_shape", "no self-describing JSON can be read in `ue_px` or `ue_pr`")
        return meaning_of(described, entities)
    if told == "pp":
        return _tracked("page ping", {name: event[name] for name in _PING if name in event})
    if told == "se":
        properties = _picked(event, _STRUCTURED)
        names = [text for name in ("category", "action") if (text := key_text(properties.get(name)))]
        return _tracked(": ".join(names) or EVENTS["se"], properties)
    if told == "ti":
        return _tracked(EVENTS["ti"], {"order_id": event.get("ti_id"), **_picked(event, ITEM)})
    products = [_picked(item, ITEM) for item in numbered(event.get(_ITEMS)) or [] if isinstance(item, dict)]
    return _tracked("Order Completed", {**_picked(event, ORDER), **({"products": products} if products else {})})


def _tracked(name: str, properties: Part) -> Part:
    return {"type": "track", "event": name, "properties": properties}


def _picked(event: Part, names: Mapping[str, str]) -> Part:
    return {ours: event[theirs] for ours, theirs in names.items() if event.get(theirs) is not None}


def _times(event: Part) -> Part:
    """A true time (`ttm`) stands as it is told; the device's (`dtm`) is put right by its clock at sending (`stm`)."""
    true, device, sent = (
        None if (at := read_time(event.get(name))) is None else rfc3339(at) for name in ("ttm", "dtm", "stm")
    )
    if true is not None:
        return {"timestamp": true}
    return {"timestamp": device, "originalTimestamp": device, "sentAt": sent}


def _who(event: Part, entities: Entities, user: Part) -> Part:
    """The first that is told of the site's cookie, an app's session, and the collector's cookie."""
    session = entities.of(f"{BASE}/client_session")
    devices = (event.get("duid"), session.get("userId"), event.get("tnuid"), event.get("nuid"))
    known = event.get("uid")
    if known is None and user.get("is_guest") is not True:
        known = user.get("id")
    return {"userId": known, "anonymousId": next((id_ for id_ in devices if key_text(id_)), None)}


def _context(event: Part, entities: Entities, described: Described | None) -> Part:
    page = _picked(event, {"url": "url", "title": "page", "referrer": "refr"})
    if (view := entities.of(f"{BASE}/web_page").get("id")) is not None:
        page["page_view_id"] = view
    context: Part = {
        "page": page,
        **_picked(event, {"userAgent": "ua", "ip": "ip", "locale": "lang", "timezone": "tz"}),
        "campaign": _campaign(event.get("url")),
    }
    if isinstance(tracker := event.get("tv"), str):
        name, _, version = tracker.partition("-")
        context["library"] = {"name": f"snowplow-{name}", "version": version}
    if consent := consent_of(described, entities):
        context["consent"] = {"categoryPreferences": consent}
    return context


def _campaign(url: object) -> Part:
    found = _UTM.findall(url) if isinstance(url, str) else []
    return {"name" if name == "campaign" else name: _unescaped(value) for name, value in found if value}


def _unescaped(text: str) -> str:
    raw = text.replace("+", " ").encode("utf-8", "replace")
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), raw).decode("utf-8", "replace")


# --- self-describing JSON


def _described_event(event: Part) -> Described | None:
    """What is told in `ue_px` or `ue_pr`: as a rule inside of an unstruct_event."""
    outer = described(_json(event, "ue_px", "ue_pr"))
    if outer is not None and outer.schema == _UNSTRUCTURED:
        return described(outer.data)
    return outer


def _entities(event: Part) -> Entities:
    outer = maybe_object(_json(event, "cx", "co")) or {}
    found = numbered(outer.get("data")) or []
    return Entities([entity for item in found if (entity := described(item)) is not None])


def described(value: object) -> Described | None:
    """{schema: iglu:vendor/name/format/version, data: {...}}; None: this is none."""
    told = maybe_object(value) or {}
    schema = told.get("schema")
    found = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    return None if found is None else Described(found["vendor"], found["name"], maybe_object(told.get("data")) or {})


def _json(event: Part, encoded: str, plain: str) -> object:
    told = event.get(encoded)
    if isinstance(told, str):
        text = told.replace("+", "-").replace("/", "_").replace(" ", "-").rstrip("=")
        try:
            told = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace")
        except ValueError:
            told = None
    return told or event.get(plain)
