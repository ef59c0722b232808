"""What may stand in a profile's place: where it moved to, that it can't be computed, parts of one on its way."""

from __future__ import annotations

import msgspec


class Moved(msgspec.Struct, array_like=True, gc=False, tag="moved"):
    """What is left of a profile that merged into another. `at`: when, by the watermark (UTC ms)."""

    winner: str
    at: int


class Quarantined(msgspec.Struct, array_like=True, gc=False, tag="quarantined"):
    """A profile whose computing raised: nothing is counted or decided, and nothing of it is lost.

    `why`: what was raised. `since`, `last`: when, and when something last came for it, by the watermark (UTC ms).
    `profiles`: as they were stored or moved here; `rows`: what came since, packed, `size` bytes of them.
    """

    why: str
    since: int
    last: int
    profiles: list[bytes] = []
    rows: list[bytes] = []
    size: int = 0


class Parts(msgspec.Struct, array_like=True, gc=False, tag="parts"):
    """Of a profile that is on its way here in parts, those that have come. It may have been sent more than once, as it
    was then: copy -> place -> part. `at`: see `wire.Move`.
    """

    at: int
    copies: dict[str, dict[int, bytes]]


Mark = Moved | Quarantined | Parts

decode_mark = msgspec.msgpack.Decoder(Mark).decode


def is_mark(raw: bytes) -> bool:
    """Whether it begins with the tag of one, as no profile does."""
    return len(raw) > 1 and 0xA0 <= raw[1] < 0xC0
