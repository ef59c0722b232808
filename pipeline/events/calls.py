"""Segment's calls to events: compiled (`_calls.pxi`) where all is told in the form that is expected, else by `segment`.

Both ways give the same events. The compiled one knows names and fields by the tables here alone, which are those of
`segment` and its neighbours in another form.
"""

from __future__ import annotations

from functools import cache

from pipeline.events import segment
from pipeline.events.compiled import CALLS, Calls, Names, Plan, Rows
from pipeline.events.model import Event
from pipeline.events.segment_body import Fields
from pipeline.events.segment_fields import plain_text
from pipeline.events.segment_names import PAGE, Tracked
from pipeline.events.text import unquoted
from pipeline.events.times import ISO, read

AROUND = (
    "page", "library", "device", "traits", "userAgent", "user_agent", "ip", "locale", "timezone", "campaign", "consent",
)  # fmt: skip
"""All that is read of Segment's context."""
ENVELOPE = (
    ("url", (("page", ("url",)),)),
    ("referrer", (("page", ("referrer",)),)),
    ("user_agent", ((None, ("userAgent", "user_agent")),)),
    ("ip", ((None, ("ip",)),)),
    ("locale", ((None, ("locale",)),)),
    ("timezone", ((None, ("timezone",)),)),
    ("library", (("library", ("name",)), ("library", ("version",)))),
)
"""Field of our context, and the texts of Segment's that it is made of: (part, and a name there; or None, and names in
the context itself, of which the first counts that is there).
"""
BEYOND = ("campaign", "consent")
"""Parts of Segment's context that are more than texts."""


def translate(obj: object, received_at: int | None = None) -> list[Event]:
    """See `segment.translate`."""
    if PLAIN is not None and (event := PLAIN.read(obj, received_at)) is not None:
        return [event]
    return segment.translate(obj, received_at)


@cache
def _rows(fields: Fields) -> Rows:
    rows = (
        (field, names, kind.plain, kind.read, kind.key, None if kind.items is None else _rows(kind.items))
        for field, kind, names in fields.rows
    )
    return Rows(Names(fields.names, fields.odd), rows)


@cache
def _plan(known: Tracked) -> Plan:
    if known.fields is PAGE:
        return Plan(known.type, "properties", rows=_rows(PAGE), around="page")
    return Plan(
        known.type,
        "properties",
        rows=_rows(known.fields),
        fixed=known.told,
        settle=known.settle,
        settled="products",
    )


def _meet(name: str) -> Plan | None:
    """What the body of an event of that name is made of; None: ask `segment`."""
    if not unquoted(name) or len(name) > segment.LONGEST_NAME:
        return None
    known, near = segment.meant_by(name)
    if known is None:
        return _CUSTOM if near is None else None
    return _plan(known)


def _compiled() -> Calls | None:
    if CALLS is None:
        return None
    traits = Names(segment.TRAITS.names, segment.TRAITS.odd)
    return CALLS(
        names=Names(segment.CALL.names, segment.CALL.odd),
        around=Names(AROUND, lambda name: False),
        fields=("type", "event", "messageId", "context", "timestamp", "originalTimestamp", "sentAt", "receivedAt"),
        plans={
            "track": None,
            "identify": Plan("identified", "traits", elsewhere=True, texts="traits"),
            "page": Plan("page_viewed", "properties", rows=_rows(PAGE), around="page", title=("title", "name")),
            "screen": Plan("page_viewed", "properties", rows=_rows(PAGE), title=("title", "name"), first=True),
        },
        meet=_meet,
        whose=(
            ("anonymous_id", ("anonymousId",), None),
            ("user_id", ("userId",), None),
            ("device_id", ("context", "device", "id"), None),
            ("email", ("traits", "email"), traits),
            ("email", ("context", "traits", "email"), traits),
        ),
        envelope=ENVELOPE,
        beyond=BEYOND,
        envelope_of=segment.envelope_of,
        as_text=plain_text,
        read_time=read,
        iso=ISO,
    )


_CUSTOM = None if CALLS is None else Plan("custom", "properties", called="name", texts="properties")
PLAIN = _compiled()
"""Reads a call that is in order; None: nothing is compiled."""
