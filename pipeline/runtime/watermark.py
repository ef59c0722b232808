"""Up to when may the second hop decide? (docs/time.md)

Not before every partition of `identity.resolved` has read past that time in every source, nor while a move or forward
that matters before it is under way between two of them. The books (`Meta`) of all partitions are read twice: first what
was read and taken, then what was sent. At the moment between the two readings everything that was sent is in the second
reading and everything that counts as taken had been taken; what was not sent by then comes from records that no
partition has read yet, and matters later.

Messages are compared by what they are, never by counts: a store that falls back sends the same ones again. And since
it may fall back between the two readings, whatever either of them says against a time counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.runtime.second_hop import Meta, decode_meta
from pipeline.store.ports import ProfileStore


def decide_before(
    first: Sequence[Meta | None], second: Sequence[Meta | None], sources: Iterable[str]
) -> tuple[int, str | None]:
    """(UTC ms up to which everything is certain, what holds it there). 0: nothing is.

    `first`, `second`: the books of all partitions, read one after the other. `sources`: the source partitions that
    count ("<topic>-<partition>").
    """
    sources = list(sources)
    best, holder = None, None
    both = [(partition, meta) for reading in (first, second) for partition, meta in enumerate(reading)]
    for partition, meta in both:
        if meta is None:
            return 0, f"partition {partition} has no state"
        for source in sources:
            mark = meta.marks.get(source, 0)
            if best is None or mark < best:
                best, holder = mark, f"source {source}"
    if not best:
        return 0, holder
    for partition, meta in both:
        assert meta is not None
        for message, (at, to) in meta.sent.items():
            books = first[to]
            assert books is not None
            if at < best and at >= books.clock and message not in books.taken:
                best, holder = at, f"{message} under way from partition {partition} to {to}"
    return best, holder


async def read(store: ProfileStore, partitions: int, sources: Iterable[str]) -> tuple[int, str | None]:
    """`decide_before` on what the store holds now."""
    first = [decode_meta(raw) if raw else None for raw in await store.metas(partitions)]
    second = [decode_meta(raw) if raw else None for raw in await store.metas(partitions)]
    return decide_before(first, second, sources)
