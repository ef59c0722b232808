"""What every other room knows of an event: one flat struct, whatever format it came in."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

STANDS_IN = {"page_viewed": ("url", "path")}
"""Event type -> a body field that is read where the other is missing: a page without a path is told by its url."""


CONTEXT = "context."
"""Before the name of a field of an event's context, where rules and rows speak of it beside fields of the body."""


CONSENT = "consent"
"""What an event says of purposes that are agreed to, as rules and rows speak of it: purpose -> whether."""


class Remark(NamedTuple):
    """Something odd about an event that counts all the same.

    `what`: a short stable word, by which remarks are counted: `left_out` (a part that can't be used), `read_as` (a part
    that was told in another form than it should be), `misspelt` (a property that looks like one we know).
    `detail`: the same for every event to which it happened in the same way; it names the part, never the event.
    """

    what: str
    detail: str


APPENDED = Remark("read_as", "received_at ahead of the broker's clock, as when it was appended")
NOW = Remark("read_as", "received_at ahead of this machine's clock, as now")


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

    def count_by(self, clock: int, max_ahead: int, remark: Remark) -> None:
        """Received at `clock` (UTC ms) at the latest, and occurred no later than that (semantics 3). One that was told
        as received more than `max_ahead` ms later is remarked upon.
        """
        if self.received_at > clock + max_ahead:
            self.remarks = (*self.remarks, remark)
        if self.received_at > clock:
            self.received_at = clock
            self.occurred_at = min(self.occurred_at, clock)
