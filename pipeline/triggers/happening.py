"""Events that nobody sends: they are made of what is taken in, and rules take them as any other (semantics 36, 37).

segment_entered, segment_left    when a person enters or leaves a segment, but for ties; they tell which, and why
visit_started                    with the first thing of a person's own doing after GAP without one; it tells what the
                                 context was, and the consent
decided                          when a wait is decided: for conditions alone

Of what stands at one moment a visit comes first, and what is made of segments last, by their names. People know a visit
by the id of the event that began it, and a change by its own.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.events.catalogue import GAP
from pipeline.grammar.vocabulary import SEGMENT_CHANGES, VISIT_STARTED
from pipeline.language.memory import Entry, Ledger, Memory
from pipeline.wire.row import Row

_FIRST, _LAST = "\0visit\0", "\U0010ffff\0"

HERE = "here"
"""Beside the ledgers of conditions: when somebody was here, an entry for each run of their own doing, from its
`occurred_at` to its `received_at`, in order. Between two runs lies GAP or more.
"""


def made(kind: str, at: int, known: int, event_id: str, data: dict[str, Any]) -> Row:
    """An event that occurred `at` a moment and is known from another one on (UTC ms)."""
    return Row(0, "", kind, at, known, event_id, 0, [], data)


def change(how: str, segment: str, reason: str, at: int, change_id: str) -> Row:
    """A person has entered or left a segment, as that change tells."""
    return made(f"segment_{how}", at, at, f"{_LAST}{segment}\0{change_id}", {"segment": segment, "reason": reason})


def visit(row: Row) -> Row:
    """A visit that an event begins."""
    return msgspec.structs.replace(row, type=VISIT_STARTED, event_id=_FIRST + row.event_id)


def said(row: Row) -> str:
    """What has happened, in words; empty: it was sent."""
    if row.type in SEGMENT_CHANGES:
        return f"{row.type.removeprefix('segment_')} segment {row.data['segment']}"
    return f"a visit began with {known_as(row.event_id)}" if row.type == VISIT_STARTED else ""


def known_as(event_id: str) -> str:
    """The id by which people know an event."""
    if event_id.startswith(_FIRST):
        return event_id.removeprefix(_FIRST)
    return event_id.rpartition("\0")[2] if event_id.startswith(_LAST) else event_id


def begins(memory: Memory, at: int, now: int, max_age: int) -> bool:
    """Note that somebody did something `at` a moment, which is received `now`; whether that begins a visit: nothing of
    the kind is known less than GAP before it, nor, of what is told late, after it. What is older than `max_age` begins
    none, but somebody was here; what is older than that and GAP matters to nothing that may still begin one.
    """
    runs = memory.get(HERE, [])
    if runs and runs[-1].occurred_at <= at < runs[-1].received_at + GAP:  # nearly always
        runs[-1].received_at = max(runs[-1].received_at, at)
        return False
    alone = all(at <= run.occurred_at - GAP or at >= run.received_at + GAP for run in runs)
    memory[HERE] = joined([_run(at, at)], runs, now - max_age - GAP)
    return alone and now - at <= max_age


def joined(some: Ledger, others: Ledger, since: int = 0) -> Ledger:
    """Both, but for what was over before a moment."""
    found: Ledger = []
    for first, last in sorted((run.occurred_at, run.received_at) for run in (*some, *others)):
        if last < since:
            continue
        if found and first < found[-1].received_at + GAP:
            found[-1].received_at = max(found[-1].received_at, last)
        else:
            found.append(_run(first, last))
    return found


def _run(first: int, last: int) -> Entry:
    return Entry(first, last, "", 0)
