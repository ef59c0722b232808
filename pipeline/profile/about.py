"""What is remembered of a person for people and conditions to read: rolling, bounded, updated at each event.

It is kept packed, as one run of bytes, and `count` unpacks it, takes one event in, and packs it again: of thousands of
profiles most have left the processor's cache when their next event comes, and then one run of bytes costs less to
read and build anew than a hundred objects, strewn over memory, cost to find.

Every part merges by a law that doesn't depend on order: first and last times by min and max, attributes by newest wins,
capped lists by keeping the newest, e-mail by earliest time a status. Only the sums (`totals`, `days`,
`products`) add up; a merge adds them once, since each move is taken once (runtime/second_hop.py). One exception: a
product or message that fell out of its cap and is met again starts anew, so that beyond 20 of them order may tell.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import msgspec

from pipeline.events.catalogue import STATUSES, catalogue, doing

DAY = 86_400_000
DAYS_KEPT = 30
TIMELINE_KEPT = 20
PRODUCTS_KEPT = 20
MESSAGES_KEPT = 20
ATTRIBUTES_KEPT = 50
OLDER_KEPT = 44
LABEL_LENGTH = 63  # characters: at most 252 bytes
MARK = (1 << 48) - 1  # what is kept of a fingerprint
SECONDS = (1 << 32) - 1
LAG = (1 << 24) - 1
LONGEST = (1 << 63) - 1
# Bytes of one entry, big-endian, so that entries sort by time. Of RECENT: UTC seconds of occurred_at (4), mark (6),
# seconds from there to received_at (3), type (1), label's length (1). Of OLDER: UTC seconds of
# received_at (4), mark (6).
RECENT = 15
OLDER = 10
_entry = Struct(">IHIIB").pack

CODE = {name: each.code for name, each in catalogue().items()}
TYPES = tuple({code: name for name, code in CODE.items()}.get(code, "") for code in range(max(CODE.values()) + 1))
PAGE = next((CODE[name] for name in doing("page")), -1)  # -1: catalogue.problems() tells why
LABELS = {name: each.label for name, each in catalogue().items() if each.label}
# Body fields that the profile reads.
FIELDS = {name: (*each.label, *each.reads) for name, each in catalogue().items() if each.label or each.reads}


class Kept(msgspec.Struct, array_like=True, gc=False):
    """What few events touch.

    `attributes`: name -> [value, occurred_at, fingerprint].
    `products`: product -> [views, last second]. `messages`: message id -> earliest UTC second a status, 0 unknown.
    """

    attributes: dict[str, list[Any]] = {}
    products: dict[str, list[int]] = {}
    messages: dict[str, list[int]] = {}


class About(msgspec.Struct, array_like=True, gc=False):
    """Times in UTC ms unless said.

    `totals`: type code -> events. `days`: UTC day number -> events, the last 30. `engaged_ms`, `absolute_ms`: sums over
    page views. `recent`: the timeline, sorted entries, oldest first. `labels`: theirs, in UTF-8, one after the other.
    `older`: what was received last of all that is not on the timeline, sorted entries. Both are the ring of event ids,
    against duplicates made by clients.
    """

    first_seen: int = 0
    last_seen: int = 0
    engaged_ms: int = 0
    absolute_ms: int = 0
    totals: dict[int, int] = {}
    days: dict[int, int] = {}
    recent: bytes = b""
    labels: bytes = b""
    older: bytes = b""
    kept: Kept = msgspec.field(default_factory=Kept)


class _About(msgspec.Struct, array_like=True, gc=False):
    """The same with `kept` still packed."""

    first_seen: int
    last_seen: int
    engaged_ms: int
    absolute_ms: int
    totals: dict[int, int]
    days: dict[int, int]
    recent: bytes
    labels: bytes
    older: bytes
    kept: msgspec.Raw


pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(About).decode
_decode = msgspec.msgpack.Decoder(_About).decode
_decode_kept = msgspec.msgpack.Decoder(Kept).decode
EMPTY = pack(About())


def count(
    packed: bytes, kind: str, occurred_at: int, received_at: int, fingerprint: int, data: dict[str, Any]
) -> bytes:
    """Take one event in; the same bytes come back if it is known already. Commutes with every other event's."""
    about = _decode(packed)
    code, fields, special = _READ[kind]
    label = b""
    for field in fields:
        value = data.get(field)
        if value:
            label = value.encode() if len(value) <= LABEL_LENGTH else value[:LABEL_LENGTH].encode()
            break
    second = occurred_at // 1000
    lag = received_at // 1000 - second
    if lag > LAG:
        lag = LAG
    entry = _entry(second & SECONDS, fingerprint >> 32 & 0xFFFF, fingerprint & 0xFFFFFFFF, lag << 8 | code, len(label))
    mark = entry[4:10]
    recent, older = about.recent, about.older
    if (mark in recent or mark in older) and (_holds(recent, mark, RECENT) or _holds(older, mark, OLDER)):
        return packed
    if entry > recent[-RECENT:]:
        recent += entry
        labels = about.labels + label
        if len(recent) > TIMELINE_KEPT * RECENT:
            labels = labels[recent[RECENT - 1] :]
            about.older = _put(older, _aged(recent))
            recent = recent[RECENT:]
        about.recent = recent
        about.labels = labels
    else:
        about.recent, about.labels, about.older = _arranged([*_entries(about), (entry, label)], _aged_entries(older))

    first = about.first_seen
    if occurred_at < first or not first:
        about.first_seen = occurred_at
    if occurred_at > about.last_seen:
        about.last_seen = occurred_at
    totals = about.totals
    totals[code] = _bounded(totals.get(code, 0) + 1)
    days = about.days
    day = occurred_at // DAY
    if day in days:
        days[day] = _bounded(days[day] + 1)
    else:
        days[day] = 1
        if len(days) > DAYS_KEPT:
            about.days = _newest_days(days)
    if code == PAGE:
        about.engaged_ms = _bounded(about.engaged_ms + (data.get("engaged_ms") or 0))
        about.absolute_ms = _bounded(about.absolute_ms + (data.get("absolute_ms") or 0))
    elif special is not None:
        special(about, code, occurred_at, fingerprint, data)
    return pack(about)


def _bounded(number: int) -> int:
    """A sum that a broken client made too large stays at what can be written."""
    return max(-LONGEST, min(number, LONGEST))


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


def _entries(about: About | _About) -> list[tuple[bytes, bytes]]:
    """The timeline: (entry, label)."""
    recent, labels = about.recent, about.labels
    out, start = [], 0
    for at in range(0, len(recent), RECENT):
        end = start + recent[at + RECENT - 1]
        out.append((recent[at : at + RECENT], labels[start:end]))
        start = end
    return out


def _arranged(entries: list[tuple[bytes, bytes]], older: set[bytes]) -> tuple[bytes, bytes, bytes]:
    """(recent, labels, older): the last to occur on the timeline, and of the others those that were received last."""
    timeline = list({entry[:10]: (entry, label) for entry, label in sorted(entries)}.values())
    aged, newest = timeline[:-TIMELINE_KEPT], timeline[-TIMELINE_KEPT:]
    return (
        b"".join([entry for entry, _ in newest]),
        b"".join([label for _, label in newest]),
        _newest(older.union(_aged(entry) for entry, _ in aged)),
    )


def read_timeline(about: About) -> list[tuple[int, str, str]]:
    """(UTC second, event type, label), oldest first."""
    return [(int.from_bytes(entry[:4], "big"), TYPES[entry[13]], label.decode()) for entry, label in _entries(about)]


def _newest_days(days: dict[int, int]) -> dict[int, int]:
    return {day: days[day] for day in sorted(days)[-DAYS_KEPT:]}


def _product(about: _About, code: int, at: int, fingerprint: int, data: dict[str, Any]) -> None:
    name = data.get("product_id") or data.get("sku") or data.get("name")
    if not name:
        return
    kept = _decode_kept(about.kept)
    products = kept.products
    had = products.get(name)
    second = at // 1000
    if had is None:
        products[name] = [1, second]
        if len(products) > PRODUCTS_KEPT:
            del products[min(products, key=lambda p: (products[p][1], p))]
    else:
        had[0] = _bounded(had[0] + 1)
        had[1] = max(had[1], second)
    about.kept = msgspec.Raw(pack(kept))


def _traits(about: _About, code: int, at: int, fingerprint: int, data: dict[str, Any]) -> None:
    kept = _decode_kept(about.kept)
    attributes = kept.attributes
    for name, value in (data.get("traits") or {}).items():
        new = [value, at, fingerprint]
        had = attributes.get(name)
        if had is None or had[1:] < new[1:]:
            attributes[name] = new
    kept.attributes = _capped(attributes, ATTRIBUTES_KEPT, lambda a: (a[1], a[2]))
    about.kept = msgspec.Raw(pack(kept))


def _message(about: _About, code: int, at: int, fingerprint: int, data: dict[str, Any]) -> None:
    message = data.get("message_id")
    if not message or data.get("confidence") == "machine":
        return  # a scanner is nobody: the furthest status is the person's
    kept = _decode_kept(about.kept)
    times = kept.messages.setdefault(message, [0] * len(STATUSES))
    status = _STATUS[code]
    second = at // 1000
    if not times[status] or second < times[status]:
        times[status] = second
    kept.messages = _capped(kept.messages, MESSAGES_KEPT, max)
    about.kept = msgspec.Raw(pack(kept))


_Special = Callable[[_About, int, int, int, dict[str, Any]], None]
_SPECIAL: dict[str, _Special] = {
    **dict.fromkeys(doing("product"), _product),
    **dict.fromkeys(doing("traits"), _traits),
    **dict.fromkeys(doing("message"), _message),
}
_STATUS = {CODE[name]: STATUSES.index(status) for name, status in doing("message").items()}
_VIEWS = frozenset(doing("product"))
# By event type: its code, what may be its label, and what else it changes.
_READ = {kind: (code, LABELS.get(kind, ()), _SPECIAL.get(kind)) for kind, code in CODE.items()}


def special_of(kind: str) -> str | None:
    """What else an event of this type changes: "product", "message", "traits", or nothing."""
    special = _SPECIAL.get(kind)
    return None if special is None else special.__name__.lstrip("_")


def _capped(items: dict[str, Any], keep: int, age: Any) -> dict[str, Any]:
    if len(items) <= keep:
        return items
    names = sorted(items, key=lambda n: (age(items[n]), n))[-keep:]
    return {n: items[n] for n in sorted(names)}


def marks(about: About) -> set[int]:
    """The low 48 bits of the fingerprints that are remembered."""
    recent, older = about.recent, about.older
    found = {recent[at : at + 6] for at in range(4, len(recent), RECENT)}
    found.update([older[at : at + 6] for at in range(4, len(older), OLDER)])
    return {int.from_bytes(mark, "big") for mark in found}


def discount(about: About, kind: str, occurred_at: int, data: dict[str, Any]) -> None:
    """Take one event out of the sums again: two copies of it were counted in two profiles that are now one."""
    code = CODE[kind]
    about.totals[code] = _bounded(about.totals[code] - 1)
    day = occurred_at // DAY
    if day in about.days:
        about.days[day] = _bounded(about.days[day] - 1)
    about.engaged_ms = _bounded(about.engaged_ms - (data.get("engaged_ms") or 0))
    about.absolute_ms = _bounded(about.absolute_ms - (data.get("absolute_ms") or 0))
    if kind in _VIEWS:
        views = about.kept.products.get(data.get("product_id") or data.get("sku") or data.get("name") or "")
        if views is not None:
            views[0] = _bounded(views[0] - 1)


def knows(packed: bytes, fingerprint: int) -> bool:
    """Whether an event is remembered."""
    about, mark = _decode(packed), (fingerprint & MARK).to_bytes(6, "big")
    return _holds(about.recent, mark, RECENT) or _holds(about.older, mark, OLDER)


def told(about: About, mark: int) -> tuple[str, int, str] | None:
    """(type, occurred_at in whole seconds as ms, label) of an event that is still on the timeline, by its mark."""
    for entry, label in _entries(about):
        if int.from_bytes(entry[4:10], "big") == mark:
            return TYPES[entry[13]], int.from_bytes(entry[:4], "big") * 1000, label.decode()
    return None


def merge(a: About, b: About) -> About:
    """Both histories as one."""
    days = _summed(a.days, b.days)
    aged = _aged_entries(a.older) | _aged_entries(b.older)
    recent, labels, older = _arranged([*_entries(a), *_entries(b)], aged)
    return About(
        first_seen=min(a.first_seen, b.first_seen) if a.first_seen and b.first_seen else a.first_seen or b.first_seen,
        last_seen=max(a.last_seen, b.last_seen),
        engaged_ms=_bounded(a.engaged_ms + b.engaged_ms),
        absolute_ms=_bounded(a.absolute_ms + b.absolute_ms),
        totals=_summed(a.totals, b.totals),
        days=_newest_days(days),
        recent=recent,
        labels=labels,
        older=older,
        kept=_merge_kept(a.kept, b.kept),
    )


def _merge_kept(a: Kept, b: Kept) -> Kept:
    products = {n: list(v) for n, v in a.products.items()}
    for name, (views, last) in b.products.items():
        had = products.get(name)
        products[name] = [views, last] if had is None else [_bounded(had[0] + views), max(had[1], last)]
    messages = {m: list(t) for m, t in a.messages.items()}
    for message, times in b.messages.items():
        mine = messages.get(message, times)
        messages[message] = [min(x, y) if x and y else x or y for x, y in zip(mine, times, strict=True)]
    attributes = dict(a.attributes)
    for name, value in b.attributes.items():
        if name not in attributes or attributes[name][1:] < value[1:]:
            attributes[name] = value
    return Kept(
        attributes=_capped(attributes, ATTRIBUTES_KEPT, lambda v: (v[1], v[2])),
        products=_capped(products, PRODUCTS_KEPT, lambda v: v[1]),
        messages=_capped(messages, MESSAGES_KEPT, max),
    )


def _summed(a: dict[int, int], b: dict[int, int]) -> dict[int, int]:
    return {k: _bounded(a.get(k, 0) + b.get(k, 0)) for k in sorted({*a, *b})}
