"""What every other room knows of an event: one flat struct, whatever format it came in."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

STANDS_IN = {"page_viewed": ("url", "path")}
"""Event type -> a body field that is read where the other is missing: a page without a path is told by its url."""


CONTEXT = "context."
"""Before the name of a field of an event's context, where rules and rows speak of it beside fields of the body."""


class Remark(NamedTuple):
    """Something odd about an event that counts all the same.

    `what`: a short stable word, by which remarks are counted: `left_out` (a part that can't be used), `read_as` (a part
    that was told in another form than it should be), `misspelt` (a property that looks like one we know).
    `detail`: the same for every event to which it happened in the same way; it names the part, never the event.
    """

    what: str
    detail: str


class Event(msgspec.Struct, gc=False):
    """Something somebody did.

    Times are UTC milliseconds. `occurred_at` is never later than `received_at`. `identifiers` is namespace -> raw
    value, not yet normalised. `body` holds the fields of the type's Avro body (absent or None: unknown).
    `trace` is a W3C traceparent or None. `trimmed`: the decoder was told what is read of a body, and the body holds
    that and nothing else, no None either, and so does the context. `remarks`: what the sender ought to know, though
    the event counts.
    """

    type: str
    event_id: str
    occurred_at: int
    received_at: int
    identifiers: dict[str, str]
    body: dict[str, Any]
    context: dict[str, Any] | None = None
    trace: str | None = None
    trimmed: bool = False
    remarks: tuple[Remark, ...] = ()
