"""What is taken for a word of a recording, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pipeline.errors import InvalidEvent
from pipeline.runtime.words import WORD_BYTES, Word, encode, quiet_of, read
from pipeline.store.ports import Recording, SourcePosition

NOW = 1_760_000_000_000
DAY = 86_400_000
OFFSETS = {"s-0": 3, "s-1": 0}
GOOD: dict[str, Any] = {"v": 1, "recording": "r", "word": "through", "through": NOW, "offsets": OFFSETS}


def refused(value: bytes | None) -> str:
    with pytest.raises(InvalidEvent) as found:
        read(value, OFFSETS, NOW)
    return found.value.reason


@pytest.mark.parametrize(
    "word",
    [
        Word(recording="a", word="begin", offsets=OFFSETS),
        Word(recording="2026-11-28T17:00:00Z-ab12cd", word="begin", quiet=NOW, over=True, offsets=OFFSETS),
        Word(recording="a", word="end", through=NOW + DAY, offsets=OFFSETS),
    ],
)
def test_what_is_written_is_read(word: Word) -> None:
    assert read(encode(word), OFFSETS, NOW) == word
    assert json.loads(encode(word))["v"] == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"through": NOW + DAY + 1}, "word_in_future"),
        ({"through": 99_999_999_999_999}, "word_in_future"),
        ({"quiet": NOW + 2 * DAY}, "word_in_future"),
        ({"through": -1}, "unreadable_word"),
        ({"through": "soon"}, "unreadable_word"),
        ({"through": 1 << 70}, "unreadable_word"),
        ({"v": 2}, "unreadable_word"),
        ({"word": "stop"}, "unreadable_word"),
        ({"recording": ""}, "unreadable_word"),
        ({"recording": "x" * 81}, "unreadable_word"),
        ({"recording": "a\nb"}, "unreadable_word"),
        ({"offsets": {"s-0": 3}}, "wrong_partitions"),
        ({"offsets": {**OFFSETS, "t-0": 0}}, "wrong_partitions"),
        ({"offsets": {"s-0": -1, "s-1": 0}}, "unreadable_word"),
        ({"offsets": []}, "unreadable_word"),
    ],
)
def test_forged_words(changes: dict[str, Any], reason: str) -> None:
    assert read(json.dumps(GOOD).encode(), OFFSETS, NOW).through == NOW
    assert refused(json.dumps({**GOOD, **changes}).encode()) == reason


@pytest.mark.parametrize(
    "value", [None, b"", b"end 1", b"\xff\xfe", b"{", b"[]", b"null", b"[" * 100_000, b"\0\0\0\0\7x"]
)
def test_what_is_no_word(value: bytes | None) -> None:
    assert refused(value) == "unreadable_word"


def test_a_word_has_a_size() -> None:
    assert refused(b" " * WORD_BYTES + b"{}") == "too_large"


def position(quiet: int, held: bool = True, high: int = 0) -> SourcePosition:
    return SourcePosition(0, high, held, 0, Recording("r", 1, 1, 0, quiet))


def test_quiet_is_told_when_it_begins_and_when_it_is_over() -> None:
    """It is over at the earliest when everything that was due before is decided."""
    nothing = SourcePosition()
    assert quiet_of(nothing, position(0), 5, 2) == (0, 0)
    assert quiet_of(nothing, position(50), 5, 2) == (50, 0)
    assert quiet_of(position(50), position(50, high=40), 5, 2) == (0, 0)
    assert quiet_of(position(50), position(50, held=False, high=40), 5, 2) == (50, 57)
    assert quiet_of(position(50), SourcePosition(high=90), 5, 2) == (50, 90)
    assert quiet_of(position(50), position(0, high=90), 5, 2) == (50, 90)


def test_positions_of_before_are_read() -> None:
    old = msgspec.msgpack.encode([7, 9, True])
    assert msgspec.msgpack.decode(old, type=SourcePosition) == SourcePosition(7, 9, True)
