"""Our events as lines of Segment's public JSON, so that `pipeline replay` can be asked from outside. Own code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from tests.oracle.compare import EPOCH

Event = dict[str, Any]

NAMES = {
    "product_viewed": "Product Viewed",
    "product_added": "Product Added",
    "product_removed": "Product Removed",
    "cart_viewed": "Cart Viewed",
    "cart_updated": "Cart Updated",
    "cart_cleared": "Cart Cleared",
    "order_completed": "Order Completed",
    "order_refunded": "Order Refunded",
    "asset_downloaded": "Asset Downloaded",
    "email_sent": "Email Sent",
    "email_clicked": "Email Link Clicked",
    "email_bounced": "Email Bounced",
    "email_complained": "Email Marked as Spam",
    "email_unsubscribed": "Unsubscribed",
    "video_started": "Video Playback Started",
    "video_progressed": "Video Content Playing",
    "video_resumed": "Video Playback Resumed",
    "video_sought": "Video Playback Seek Completed",
    "video_completed": "Video Content Completed",
}
PAUSES = {
    None: "Video Playback Paused",
    "paused": "Video Playback Paused",
    "interrupted": "Video Playback Interrupted",
    "buffering": "Video Playback Buffer Started",
    "seeking": "Video Playback Seek Started",
}
OWN_ONLY = ("watched_from", "watched_to", "seek_from")


def expressible(event: Event) -> bool:
    """Can Segment's JSON say this event?"""
    known = event["type"] in NAMES or event["type"] in ("video_paused", "custom", "page_viewed", "identified")
    return known and "crm_id" not in event["identifiers"] and not any(name in event["body"] for name in OWN_ONLY)


def segment_lines(events: Iterable[Event]) -> list[str]:
    """One JSON text an event, in the same order. Raises ValueError for what Segment's JSON can't say."""
    return [json.dumps(segment_object(event), ensure_ascii=False, sort_keys=True) for event in events]


def segment_object(event: Event) -> dict[str, Any]:
    """One event as Segment would deliver it. `timestamp` is the event time as it stands (no sentAt)."""
    if not expressible(event):
        raise ValueError(f"Segment's JSON can't say {event['type']} {event['event_id']}; generate with segment=True")
    who, body = event["identifiers"], dict(event["body"])
    told: dict[str, Any] = {
        "messageId": event["event_id"],
        "timestamp": iso(event["occurred_at"]),
        "receivedAt": iso(event["received_at"]),
    }
    context: dict[str, Any] = dict(event.get("context") or {})
    if "user_id" in who:
        told["userId"] = who["user_id"]
    if "anonymous_id" in who:
        told["anonymousId"] = who["anonymous_id"]
    if "device_id" in who:
        context["device"] = {"id": who["device_id"]}
    traits = {"email": who["email"]} if "email" in who else {}
    if event["type"] == "identified":
        told |= {"type": "identify", "traits": {**body.get("traits", {}), **traits}}
    elif event["type"] == "page_viewed":
        told |= {"type": "page", "properties": body}
        context["traits"] = traits
    else:
        told |= {"type": "track", **named(event["type"], body)}
        context["traits"] = traits
    return {**told, "context": context}


def named(type_: str, body: dict[str, Any]) -> dict[str, Any]:
    """`event` and `properties` of a track call."""
    if type_ == "custom":
        return {"event": body.get("name"), "properties": body.get("properties", {})}
    if type_ == "email_bounced" and "kind" in body:
        body["bounce_type"] = body.pop("kind")
    if not type_.startswith("video_"):
        return {"event": NAMES[type_], "properties": body}
    name = PAUSES[body.pop("cause", None)] if type_ == "video_paused" else NAMES[type_]
    if "film" in body:
        body["content_asset_id"] = body.pop("film")
    if type_ == "video_sought":
        body["seek_position"] = body.pop("seek_to")
    return {"event": name, "properties": body}


def iso(at: int) -> str:
    """UTC ms -> RFC 3339 with milliseconds."""
    moment: datetime = EPOCH + timedelta(milliseconds=at)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"
