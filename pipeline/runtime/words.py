"""What a recording says on the control topic, and what a source partition makes of it.

A *word* is a JSON object. It counts for a source partition from the moment that the first hop has read there up to the
offset that the word names for it, so that time never runs ahead of what was written before the word:

    begin     a recording is coming: event time must not advance by the clock
    through   everything received before `through` has been written; it goes on (said every second, also when it waits)
    end       everything received before `through` has been written, and that was all
    open      go on as before the recording

One recording at a time: while it holds, only a `begin` that says `over` takes its place. One that has said nothing for
`LAPSE_S` holds no longer; should it go on after all, it holds again.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Annotated, Any, Literal

import msgspec

from pipeline.errors import InvalidEvent
from pipeline.runtime.ports import In
from pipeline.store.ports import Recording, SourcePosition
from pipeline.wire.records import NOT_QUIET

LAPSE_S = 60.0
WORD_BYTES = 256 * 1024  # offsets of some 5,000 partitions
AHEAD_MS = 24 * 3_600_000
Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:\-]{1,80}$")]
Ms = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
Offset = Annotated[int, msgspec.Meta(ge=0)]


class Word(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """See above. `through`: UTC ms. `offsets`: of every source partition ("<topic>-<partition>"), up to where.

    Of `begin`: `quiet`: while this recording is decided, what was due before (UTC ms) isn't published on `triggers`;
    `over`: take the place of a recording that still holds.
    """

    v: Literal[1] = 1
    recording: Id
    word: Literal["begin", "through", "end", "open"]
    through: Ms = 0
    quiet: Ms = 0
    over: bool = False
    offsets: dict[str, Offset]


class Said(msgspec.Struct, frozen=True):
    """One record of the control topic: a word, or why it is none."""

    record: In
    word: Word | InvalidEvent

    @property
    def offset(self) -> int:
        """Where it lies."""
        return self.record.offset


_decode = msgspec.json.Decoder(Word).decode


def encode(word: Word) -> bytes:
    """As a record's value; the version is always told."""
    told: dict[str, Any] = {"v": word.v, **msgspec.to_builtins(word)}
    return msgspec.json.encode(told)


def read(value: bytes | None, sources: Collection[str], now: int | None = None) -> Word:
    """A word, if it is one. `sources`: every source partition there is. `now`: UTC ms.

    Raises InvalidEvent: `too_large`, `unreadable_word`, `wrong_partitions`, `word_in_future`.
    """
    if value is not None and len(value) > WORD_BYTES:
        raise InvalidEvent("too_large", f"a word has {WORD_BYTES} bytes at most, this has {len(value)}")
    try:
        word = _decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent("unreadable_word", f"not a word of a recording: {error}") from None
    if word.offsets.keys() != set(sources):
        wrong = sorted(word.offsets.keys() ^ set(sources))
        raise InvalidEvent("wrong_partitions", f"it doesn't name just the source partitions: {', '.join(wrong)[:500]}")
    now = time.time_ns() // 1_000_000 if now is None else now
    if max(word.through, word.quiet) > now + AHEAD_MS:
        raise InvalidEvent("word_in_future", f"{word.word} {word.through} is more than a day from now")
    return word


def obey(position: SourcePosition, word: Word, at: int, disorder: int) -> None:
    """Let a word change a position. `at`: the control topic's timestamp (UTC ms).

    Raises InvalidEvent, with the position as it was: `other_recording`, `unknown_recording`.
    """
    known = position.recording
    mine = known is not None and known.id == word.recording
    if word.word == "begin":
        alive = known is not None and position.held and at - known.heard < LAPSE_S * 1000
        if known is not None and alive and not mine and not word.over:
            raise InvalidEvent("other_recording", f"recording {known.id} holds, {word.recording} can't begin")
        position.recording, position.held = Recording(word.recording, at, at, quiet=word.quiet), True
        return
    if known is None or not mine:
        raise InvalidEvent("unknown_recording", f"{word.recording} has not begun, or another took its place")
    if word.word != "open" and word.through:
        position.high = max(position.high, word.through + disorder)
    position.held = word.word == "through"
    position.recording = msgspec.structs.replace(known, heard=at, through=word.through) if position.held else None


def quiet_of(before: SourcePosition, after: SourcePosition, lateness: int, disorder: int) -> tuple[int, int]:
    """What is news for the second hop (flow.Resolved.quiet) where `before` has become `after`.

    What a recording left open is quiet, too, where it was due before: so until that is decided, at the least.
    """
    was, now = (p.recording.quiet if p.held and p.recording else 0 for p in (before, after))
    if now:
        return NOT_QUIET if was == now else (now, 0)
    return (was, max(after.high, was + lateness + disorder)) if was else NOT_QUIET
