"""What is remembered of a person for people and conditions to read: rolling, bounded, updated at each event.

It is kept packed, as one run of bytes, and `count` unpacks it, takes one event in, and packs it again: of thousands of
profiles most have left the processor's cache when their next event comes, and then one run of bytes costs less to
read and build anew than a hundred objects, strewn over memory, cost to find.

Every part merges by a law that doesn't depend on order: first and last times by min and max, attributes by newest wins,
capped lists by keeping the newest, e-mail by earliest time a status. Only the sums (`totals`, `days`, `orders`,
`products`) add up; a merge adds them once, since each move is taken once (runtime/second_hop.py). One exception: a
product or message that fell out of its cap and is met again starts anew, so that beyond 20 of them order may tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

DAY = 86_400_000
DAYS_KEPT = 30
TIMELINE_KEPT = 20
PRODUCTS_KEPT = 20
MESSAGES_KEPT = 20
ATTRIBUTES_KEPT = 50
RING_KEPT = 64
LABEL_LENGTH = 63  # characters: at most 252 bytes
MARK = (1 << 48) - 1  # of a fingerprint, in the ring
SECONDS = (1 << 32) - 1
ENTRY = 10  # bytes of one ring entry: 4 of UTC seconds, 6 of fingerprint
HEAD = 10  # bytes of one timeline entry: 4 of UTC seconds, 4 of fingerprint, 1 of type, 1 of its label's length

# Stored as numbers: append, never reorder.
TYPES = (
    "page_viewed",
    "element_clicked",
    "form_submitted",
    "searched",
    "product_viewed",
    "product_added",
    "product_removed",
    "cart_viewed",
    "cart_cleared",
    "checkout_started",
    "order_completed",
    "order_refunded",
    "asset_downloaded",
    "identified",
    "custom",
    "email_sent",
    "email_delivered",
    "email_opened",
    "email_clicked",
    "email_bounced",
    "email_complained",
    "email_unsubscribed",
    "video_started",
    "video_progressed",
    "video_paused",
    "video_resumed",
    "video_sought",
    "video_completed",
    "offline_purchased",
    "call_logged",
    "store_visited",
)
CODE = {name: code for code, name in enumerate(TYPES)}
STATUSES = ("sent", "delivered", "opened", "clicked", "bounced", "complained", "unsubscribed")

# Body fields that the profile reads; the first one that is there is the timeline's label.
LABELS: dict[str, tuple[str, ...]] = {
    "page_viewed": ("path", "title"),
    "element_clicked": ("link_id", "text"),
    "form_submitted": ("form_id",),
    "searched": ("query",),
    "product_viewed": ("product_id", "sku", "name"),
    "product_added": ("product_id", "sku", "name"),
    "product_removed": ("product_id", "sku", "name"),
    "cart_viewed": ("cart_id",),
    "cart_cleared": ("cart_id",),
    "checkout_started": ("cart_id", "order_id"),
    "order_completed": ("order_id", "cart_id"),
    "order_refunded": ("order_id",),
    "asset_downloaded": ("asset",),
    "custom": ("name",),
    **{f"email_{status}": ("message_id",) for status in STATUSES},
    **{t: ("film",) for t in TYPES if t.startswith("video_")},
    "offline_purchased": ("order_id", "location"),
    "call_logged": ("outcome",),
    "store_visited": ("location",),
}
FIELDS: dict[str, tuple[str, ...]] = {
    **LABELS,
    "page_viewed": ("path", "title", "engaged_ms", "absolute_ms"),
    "order_completed": ("order_id", "cart_id", "total", "currency"),
    "offline_purchased": ("order_id", "cart_id", "total", "currency", "location"),
    "identified": ("traits",),
    "email_sent": ("message_id", "campaign", "link_ids"),
    "email_opened": ("message_id", "confidence"),
    "email_clicked": ("message_id", "confidence", "link_id"),
    **{
        t: ("film", "title", "session_id", "position", "total_length", "watched_from", "watched_to")
        for t in TYPES
        if t.startswith("video_")
    },
    "video_sought": ("film", "title", "session_id", "position", "total_length", "seek_from", "seek_to"),
}


class Kept(msgspec.Struct, array_like=True, gc=False):
    """What few events touch.

    `orders`: currency -> [orders, revenue]. `attributes`: name -> [value, occurred_at, fingerprint].
    `products`: product -> [views, last second]. `messages`: message id -> earliest UTC second a status, 0 unknown.
    """

    orders: dict[str, list[float]] = {}
    attributes: dict[str, list[Any]] = {}
    products: dict[str, list[int]] = {}
    messages: dict[str, list[int]] = {}


class About(msgspec.Struct, array_like=True, gc=False):
    """Times in UTC ms unless said.

    `totals`: type code -> events. `days`: UTC day number -> events, the last 30. `engaged_ms`, `absolute_ms`: sums over
    page views. `ring`: the newest event fingerprints, sorted entries, against duplicates made by clients.
    `heads`: the timeline, sorted entries, oldest first. `labels`: theirs, in UTF-8, one after the other.
    """

    first_seen: int = 0
    last_seen: int = 0
    engaged_ms: int = 0
    absolute_ms: int = 0
    totals: dict[int, int] = {}
    days: dict[int, int] = {}
    ring: bytes = b""
    heads: bytes = b""
    labels: bytes = b""
    kept: Kept = msgspec.field(default_factory=Kept)


class _About(msgspec.Struct, array_like=True, gc=False):
    """The same with `kept` still packed."""

    first_seen: int
    last_seen: int
    engaged_ms: int
    absolute_ms: int
    totals: dict[int, int]
    days: dict[int, int]
    ring: bytes
    heads: bytes
    labels: bytes
    kept: msgspec.Raw


pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(About).decode
_decode = msgspec.msgpack.Decoder(_About).decode
_decode_kept = msgspec.msgpack.Decoder(Kept).decode
EMPTY = pack(About())


def count(
    packed: bytes, kind: str, occurred_at: int, received_at: int, fingerprint: int, data: dict[str, Any]
) -> bytes:
    """Take one event in; the same bytes come back if the ring holds it. Commutes with every other event's."""
    about = _decode(packed)
    ring = about.ring
    mark = (fingerprint & MARK).to_bytes(6, "big")
    if mark in ring and seen(ring, mark):
        return packed
    entry = (received_at // 1000 & SECONDS).to_bytes(4, "big") + mark
    ring = ring + entry if entry >= ring[-ENTRY:] else _sorted_ring(ring + entry)
    about.ring = ring if len(ring) <= RING_KEPT * ENTRY else ring[-RING_KEPT * ENTRY :]

    code, fields, special = _READ[kind]
    first = about.first_seen
    if occurred_at < first or not first:
        about.first_seen = occurred_at
    if occurred_at > about.last_seen:
        about.last_seen = occurred_at
    totals = about.totals
    totals[code] = totals.get(code, 0) + 1
    days = about.days
    day = occurred_at // DAY
    if day in days:
        days[day] += 1
    else:
        days[day] = 1
        if len(days) > DAYS_KEPT:
            about.days = _newest_days(days)

    label = b""
    for field in fields:
        value = data.get(field)
        if value:
            label = value[:LABEL_LENGTH].encode("utf-8")
            break
    # Big-endian, so that entries sort by time.
    number = (occurred_at // 1000 & SECONDS) << 48 | (fingerprint & 0xFFFFFFFF) << 16 | code << 8 | len(label)
    head = number.to_bytes(HEAD, "big")
    heads = about.heads
    if head > heads[-HEAD:]:
        heads += head
        labels = about.labels + label
        if len(heads) > TIMELINE_KEPT * HEAD:
            labels = labels[heads[HEAD - 1] :]
            heads = heads[HEAD:]
        about.heads = heads
        about.labels = labels
    elif len(heads) < TIMELINE_KEPT * HEAD or head >= heads[:HEAD]:
        about.heads, about.labels = _timeline({*_entries(about), (head, label)})
    if special is not None:
        special(about, code, occurred_at, fingerprint, data)
    return pack(about)


def seen(ring: bytes, mark: bytes) -> bool:
    """Whether a ring holds the low 6 bytes of a fingerprint: as an entry's, not across two of them."""
    at = ring.find(mark)
    while at >= 0:
        if at % ENTRY == 4:
            return True
        at = ring.find(mark, at + 1)
    return False


def _sorted_ring(ring: bytes) -> bytes:
    return b"".join(sorted({ring[i : i + ENTRY] for i in range(0, len(ring), ENTRY)}))


def read_timeline(about: About) -> list[tuple[int, str, str]]:
    """(UTC second, event type, label), oldest first."""
    return [(int.from_bytes(head[:4], "big"), TYPES[head[8]], label.decode()) for head, label in _entries(about)]


def _entries(about: About | _About) -> list[tuple[bytes, bytes]]:
    heads, labels = about.heads, about.labels
    out, start = [], 0
    for at in range(0, len(heads), HEAD):
        end = start + heads[at + HEAD - 1]
        out.append((heads[at : at + HEAD], labels[start:end]))
        start = end
    return out


def _timeline(entries: set[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    newest = sorted(entries)[-TIMELINE_KEPT:]
    return b"".join([head for head, _ in newest]), b"".join([label for _, label in newest])


def _newest_days(days: dict[int, int]) -> dict[int, int]:
    return {day: days[day] for day in sorted(days)[-DAYS_KEPT:]}


def _page(about: _About, code: int, at: int, fingerprint: int, data: dict[str, Any]) -> None:
    about.engaged_ms += data.get("engaged_ms") or 0
    about.absolute_ms += data.get("absolute_ms") or 0


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
        had[0] += 1
        had[1] = max(had[1], second)
    about.kept = msgspec.Raw(pack(kept))


def _order(about: _About, code: int, at: int, fingerprint: int, data: dict[str, Any]) -> None:
    kept = _decode_kept(about.kept)
    sums = kept.orders.setdefault(data.get("currency") or "", [0, 0.0])
    sums[0] += 1
    sums[1] += data.get("total") or 0
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
    "page_viewed": _page,
    "product_viewed": _product,
    "order_completed": _order,
    "offline_purchased": _order,
    "identified": _traits,
    **{f"email_{status}": _message for status in STATUSES},
}
_STATUS = {CODE[f"email_{status}"]: number for number, status in enumerate(STATUSES)}
# By event type: its code, what may be its label, and what else it changes.
_READ = {kind: (code, LABELS.get(kind, ()), _SPECIAL.get(kind)) for kind, code in CODE.items()}


def _capped(items: dict[str, Any], keep: int, age: Any) -> dict[str, Any]:
    if len(items) <= keep:
        return items
    names = sorted(items, key=lambda n: (age(items[n]), n))[-keep:]
    return {n: items[n] for n in sorted(names)}


def marks(about: About) -> set[int]:
    """The low 48 bits of the fingerprints in the ring."""
    ring = about.ring
    return {int.from_bytes(ring[i + 4 : i + ENTRY], "big") for i in range(0, len(ring), ENTRY)}


def discount(about: About, kind: str, occurred_at: int, data: dict[str, Any]) -> None:
    """Take one event out of the sums again: two copies of it were counted in two profiles that are now one."""
    code = CODE[kind]
    about.totals[code] -= 1
    day = occurred_at // DAY
    if day in about.days:
        about.days[day] -= 1
    about.engaged_ms -= data.get("engaged_ms") or 0
    about.absolute_ms -= data.get("absolute_ms") or 0
    if kind in ("order_completed", "offline_purchased"):
        sums = about.kept.orders[data.get("currency") or ""]
        sums[0] -= 1
        sums[1] -= data.get("total") or 0
    elif kind == "product_viewed":
        views = about.kept.products.get(data.get("product_id") or data.get("sku") or data.get("name") or "")
        if views is not None:
            views[0] -= 1


def told(about: About, mark: int) -> tuple[str, int, str] | None:
    """(type, occurred_at in whole seconds as ms, label) of an event that is still on the timeline, by its mark."""
    low = (mark & 0xFFFFFFFF).to_bytes(4, "big")
    for head, label in _entries(about):
        if head[4:8] == low:
            return TYPES[head[8]], int.from_bytes(head[:4], "big") * 1000, label.decode()
    return None


def merge(a: About, b: About) -> About:
    """Both histories as one."""
    days = _summed(a.days, b.days)
    heads, labels = _timeline({*_entries(a), *_entries(b)})
    return About(
        first_seen=min(a.first_seen, b.first_seen) if a.first_seen and b.first_seen else a.first_seen or b.first_seen,
        last_seen=max(a.last_seen, b.last_seen),
        engaged_ms=a.engaged_ms + b.engaged_ms,
        absolute_ms=a.absolute_ms + b.absolute_ms,
        totals=_summed(a.totals, b.totals),
        days=_newest_days(days),
        ring=_sorted_ring(a.ring + b.ring)[-RING_KEPT * ENTRY :],
        heads=heads,
        labels=labels,
        kept=_merge_kept(a.kept, b.kept),
    )


def _merge_kept(a: Kept, b: Kept) -> Kept:
    products = {n: list(v) for n, v in a.products.items()}
    for name, (views, last) in b.products.items():
        had = products.get(name)
        products[name] = [views, last] if had is None else [had[0] + views, max(had[1], last)]
    messages = {m: list(t) for m, t in a.messages.items()}
    for message, times in b.messages.items():
        mine = messages.get(message, times)
        messages[message] = [min(x, y) if x and y else x or y for x, y in zip(mine, times, strict=True)]
    attributes = dict(a.attributes)
    for name, value in b.attributes.items():
        if name not in attributes or attributes[name][1:] < value[1:]:
            attributes[name] = value
    orders = {c: list(v) for c, v in a.orders.items()}
    for currency, (number, revenue) in b.orders.items():
        had_order = orders.get(currency, [0, 0.0])
        orders[currency] = [had_order[0] + number, had_order[1] + revenue]
    return Kept(
        orders=orders,
        attributes=_capped(attributes, ATTRIBUTES_KEPT, lambda v: (v[1], v[2])),
        products=_capped(products, PRODUCTS_KEPT, lambda v: v[1]),
        messages=_capped(messages, MESSAGES_KEPT, max),
    )


def _summed(a: dict[int, int], b: dict[int, int]) -> dict[int, int]:
    return {k: a.get(k, 0) + b.get(k, 0) for k in sorted({*a, *b})}
