"""What real clients sent to a server that wrote it down, see `tests/clients/`; and any JSON."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hypothesis import strategies as st

from pipeline.events.model import Event
from tests.clients.arriving import Arriving, arriving
from tests.clients.running import Said

RECORDED = Path(__file__).parent / "clients" / "recorded"
DATA = Path(__file__).parent / "data"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text("utf-8"))
    return document


def bodies(name: str) -> Iterator[object]:
    """The decoded JSON of every request of a client; of one without a body, the parameters of its query."""
    for request in _document(name)["requests"]:
        raw = base64.b64decode(request["body"])
        if raw:
            yield json.loads(gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw)
        elif request["method"] == "GET":
            yield dict(parse_qsl(urlsplit(request["path"]).query))


def page_bodies(name: str) -> list[object]:
    """The decoded JSON of what a page sent, see tests/data/README.md."""
    found: list[object] = json.loads((DATA / f"{name}.json").read_text("utf-8"))["bodies"]
    return found


def missing(name: str, events: list[Event]) -> list[Arriving]:
    """What the client was asked to send that isn't among the events."""
    document = _document(name)
    return [
        expected
        for expected in arriving(name, Said(document["client"], document["asked"]))
        if not any(_is(expected, event) for event in events)
    ]


def _is(expected: Arriving, event: Event) -> bool:
    return (
        expected.event_id in (None, event.event_id)
        and expected.at in (None, event.occurred_at)
        and (expected.type, expected.identifiers) == (event.type, event.identifiers)
        and expected.context == event.context
        and (expected.body == event.body or expected.body == {"name": "$exception"} == {"name": event.body.get("name")})
    )
