"""The OTTO sessions (tests/data) as Segment's JSON: clicks are views, carts are additions, orders have no cart id."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "data" / "otto-sessions.jsonl"
NAMES = {"clicks": "Product Viewed", "carts": "Product Added", "orders": "Order Completed"}


def segment_events() -> list[dict[str, Any]]:
    """All events, by time; in one session in the order of the file."""
    out = []
    for line in PATH.read_text().splitlines():
        session = json.loads(line)
        for number, event in enumerate(session["events"]):
            at = datetime.fromtimestamp(event["ts"] / 1000, UTC).isoformat(timespec="milliseconds")
            product = str(event["aid"])
            properties = (
                {"products": [{"product_id": product}]} if event["type"] == "orders" else {"product_id": product}
            )
            out.append(
                (
                    event["ts"],
                    {
                        "type": "track",
                        "messageId": f"{session['session']}-{number:04d}",
                        "anonymousId": f"session-{session['session']}",
                        "event": NAMES[event["type"]],
                        "timestamp": at.replace("+00:00", "Z"),
                        "properties": properties,
                    },
                )
            )
    return [event for _, event in sorted(out, key=lambda pair: pair[0])]


def write(path: Path) -> Path:
    """As a JSON Lines file."""
    path.write_text("".join(json.dumps(event) + "\n" for event in segment_events()))
    return path
