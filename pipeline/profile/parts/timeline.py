"""What happened last, and the ring of event ids: whether an event is known already, against duplicates made by clients.

Its state are three runs of bytes. `recent`: the timeline, sorted entries, oldest first. `labels`: theirs, in UTF-8, one
after the other. `older`: what was received last of all that is not on the timeline, sorted entries.
"""

from __future__ import annotations

from struct import Struct

from pipeline.events.catalogue import catalogue
from pipeline.events.times import rfc3339
from pipeline.profile.parts.part import CODE, TYPES, Facts, Part, PartEvent, Primitive, Step

TIMELINE_KEPT = 20
OLDER_KEPT = 44
LABEL_LENGTH = 63  # characters: at most 252 bytes
MARK = (1 << 48) - 1  # what is kept of a fingerprint
SECONDS = (1 << 32) - 1
LAG = (1 << 24) - 1
# Bytes of one entry, big-endian, so that entries sort by time. Of RECENT: UTC seconds of occurred_at (4), mark (6),
# seconds from there to received_at (3), type (1), label's length (1). Of OLDER: UTC seconds of
# received_at (4), mark (6).
RECENT = 15
OLDER = 10
LABELS = {name: each.label for name, each in catalogue().items() if each.label}

State = tuple[bytes, bytes, bytes]
_entry = Struct(">IHIIB").pack


class Timeline(Primitive):
    """Of the latest to occur all is known, of those before only that they were."""

    def empty(self) -> State:
        return b"", b"", b""

    def take(self, state: State, event: PartEvent) -> State:
        recent, labels, older = state
        entry, label = _entry_of(event)
        if entry > recent[-RECENT:]:  # nearly always
            recent += entry
            labels += label
            if len(recent) > TIMELINE_KEPT * RECENT:
                labels = labels[recent[RECENT - 1] :]
                older = _put(older, _aged(recent))
                recent = recent[RECENT:]
            return recent, labels, older
        return _arranged([*_entries(recent, labels), (entry, label)], _aged_entries(older))

    def merge(self, a: State, b: State) -> State:
        aged = _aged_entries(a[2]) | _aged_entries(b[2])
        return _arranged([*_entries(*a[:2]), *_entries(*b[:2])], aged)

    def step(self, kind: str) -> Step:
        """Of this type; so many entries, ids, and characters of a label."""
        return Step("timeline", LABELS.get(kind, ()), (CODE[kind], TIMELINE_KEPT, OLDER_KEPT, LABEL_LENGTH))


def show(state: State) -> Facts:
    """Oldest first."""
    return {
        "timeline": [
            {"at": rfc3339(second * 1000) if second else None, "type": kind, "label": label or None}
            for second, kind, label in lines(state)
        ]
    }


PART = Part("timeline", {("recent", "labels", "older"): Timeline()}, show)


def lines(state: State) -> list[tuple[int, str, str]]:
    """(UTC second, event type, label), oldest first."""
    return [
        (int.from_bytes(entry[:4], "big"), TYPES[entry[13]], label.decode()) for entry, label in _entries(*state[:2])
    ]


def marks(state: State) -> set[int]:
    """The low 48 bits of the fingerprints that are remembered."""
    return {int.from_bytes(mark, "big") for mark in _marks(state)}


def shared_marks(a: State, b: State) -> set[int]:
    """Those that both remember."""
    return {int.from_bytes(mark, "big") for mark in _marks(a) & _marks(b)}


def _marks(state: State) -> set[bytes]:
    recent, _, older = state
    found = {recent[at : at + 6] for at in range(4, len(recent), RECENT)}
    found.update([older[at : at + 6] for at in range(4, len(older), OLDER)])
    return found


def knows(state: State, fingerprint: int) -> bool:
    """Whether an event is remembered."""
    mark = (fingerprint & MARK).to_bytes(6, "big")
    recent, _, older = state
    return (mark in recent or mark in older) and (_holds(recent, mark, RECENT) or _holds(older, mark, OLDER))


def of_mark(state: State, mark: int) -> tuple[str, int, str] | None:
    """(type, occurred_at in whole seconds as ms, label) of an event that is still on the timeline, by its mark."""
    for entry, label in _entries(*state[:2]):
        if int.from_bytes(entry[4:10], "big") == mark:
            return TYPES[entry[13]], int.from_bytes(entry[:4], "big") * 1000, label.decode()
    return None


def _entry_of(event: PartEvent) -> tuple[bytes, bytes]:
    """(entry, label)."""
    text = next((value for field in LABELS.get(event.kind, ()) if (value := event.data.get(field))), "")
    label = text[:LABEL_LENGTH].encode()
    second, fingerprint = event.occurred_at // 1000, event.fingerprint
    lag = min(event.received_at // 1000 - second, LAG)
    high, low = fingerprint >> 32 & 0xFFFF, fingerprint & 0xFFFFFFFF
    return _entry(second & SECONDS, high, low, lag << 8 | event.code, len(label)), label


def _holds(entries: bytes, mark: bytes, size: int) -> bool:
    """Whether these six bytes are an entry's mark: not across two of its fields, nor of two entries."""
    at = entries.find(mark)
    while at >= 0:
        if at % size == 4:
            return True
        at = entries.find(mark, at + 1)
    return False


def _aged(recent: bytes) -> bytes:
    """The first entry as it is remembered when it is no longer on the timeline."""
    received = int.from_bytes(recent[:4], "big") + int.from_bytes(recent[10:13], "big")
    return (received & SECONDS).to_bytes(4, "big") + recent[4:10]


def _put(older: bytes, entry: bytes) -> bytes:
    if entry < older[-OLDER:]:
        return _newest(_aged_entries(older) | {entry})
    older += entry
    return older[-OLDER_KEPT * OLDER :] if len(older) > OLDER_KEPT * OLDER else older


def _newest(older: set[bytes]) -> bytes:
    """Of two copies of an event the one received last."""
    entries = sorted({entry[4:]: entry for entry in sorted(older)}.values())
    return b"".join(entries[max(0, len(entries) - OLDER_KEPT) :])


def _aged_entries(older: bytes) -> set[bytes]:
    return {older[i : i + OLDER] for i in range(0, len(older), OLDER)}


def _entries(recent: bytes, labels: bytes) -> list[tuple[bytes, bytes]]:
    """(entry, label)."""
    out, start = [], 0
    for at in range(0, len(recent), RECENT):
        end = start + recent[at + RECENT - 1]
        out.append((recent[at : at + RECENT], labels[start:end]))
        start = end
    return out


def _arranged(entries: list[tuple[bytes, bytes]], older: set[bytes]) -> State:
    """The last to occur on the timeline, and of the others those that were received last."""
    timeline = list({entry[:10]: (entry, label) for entry, label in sorted(entries)}.values())
    aged, newest = timeline[:-TIMELINE_KEPT], timeline[-TIMELINE_KEPT:]
    return (
        b"".join([entry for entry, _ in newest]),
        b"".join([label for _, label in newest]),
        _newest(older.union(_aged(entry) for entry, _ in aged)),
    )
