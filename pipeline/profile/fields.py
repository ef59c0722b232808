"""What of events is read behind the first hop, by rules and by profiles: all else it drops."""

from __future__ import annotations

from pipeline.events import shape
from pipeline.profile import about
from pipeline.triggers.rules import RuleBook


def fields_read(book: RuleBook) -> dict[str, tuple[str, ...]]:
    """Event type -> the body fields that rules and profiles read: all that the first hop hands on."""
    of = about.fields(book.profile_parts)
    return {kind: tuple(sorted({*of.get(kind, ()), *book.fields.get(kind, ())})) for kind in {*of, *book.fields}}


def wanted_fields(book: RuleBook) -> dict[str, tuple[str, ...]]:
    """The same for the decoder."""
    return shape.wanted(fields_read(book))


def handed_fields(book: RuleBook) -> dict[str, tuple[tuple[str, ...], int]]:
    """The same for the compiled way from records to rows."""
    return shape.handed(fields_read(book))
