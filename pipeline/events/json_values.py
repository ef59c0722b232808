"""The JSON objects of a text, however they are laid out: one a line, several a line, over many lines, in arrays.

Blanks, commas, marks (BOM, RS) and the brackets of arrays between objects are stepped over. What is broken costs itself
alone: reading goes on at the next place where an object begins that is not a part of what broke.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.errors import InvalidEvent, NotJson
from pipeline.events.envelopes import is_envelope, is_event
from pipeline.events.json_text import Read, raw_bytes, read_object
from pipeline.events.model import Remark
from pipeline.events.unpack import Damage

MAX_LINE = 1024 * 1024
"""Bytes of one event. Kafka takes no record of this size either."""

MAX_ENVELOPE = 16 * MAX_LINE
"""Characters of an object around a list of events; of a larger one the events are read for themselves."""

_NEAR = 1 << 16  # characters within which a line's end, or the word that tells an event, is looked for
_DONE = 1 << 14  # characters that are kept though they are done with; an error's place is counted from there
_CALLS = 100  # places in the middle of one broken line at which an event is looked for
_EDGES = " \t\r,\ufeff\x1e"
_BETWEEN = re.compile(r"[\s,\ufeff]*")
_LINE_END = re.compile(r"\r\n?|\n")
_EVENTS = re.compile(r'"(?:batch|events|data|messages)"\s*:\s*\[\s*\{')

# Where reading may go on behind something broken: at a new line's (or RS's) first sign, or at an object that stands in
# an array or behind another one; behind what never was an object, at any. What was cut off in the middle of a line may
# go on with another event: that begins with one of a call's names.
_PLACE = re.compile(
    r"(?P<line>[\r\n\x1e][\s,\[\ufeff]*)(?=\S)|[\[,}](?:[^\S\r\n\x1e]|\ufeff)*(?=\{)"
    r'|(?P<call>)(?=\{\s*"(?:type|event|name|version|channel|context|properties|traits|integrations|timestamp|batch|_metadata'
    r'|(?:message|anonymous|user|previous|group|project)_?id|(?:original|sent|received)_?(?:timestamp|at)|write_?key)"\s*:)',
    re.IGNORECASE,
)
_PART = re.compile(r'\s*(?:\}|,\s*")')  # behind an object that is a part of another
_ANY_PLACE = re.compile(r"(?P<line>[\r\n\x1e][\s,\[\ufeff]*)(?=\S)|(?=\{)")
_PLACE_SIGNS = " \t\r\n,[{}\ufeff\x1e"
_INSIDE = '}],:"'  # what begins so goes on with an object that was begun on a line before


class Value(msgspec.Struct, gc=False):
    """One value of a text. `number` (of its line) and `column` count from 1; `text` is how it stands there, cut at
    MAX_LINE. `error`: it is no value that can be used, for this reason.
    """

    number: int
    column: int
    text: str
    value: Any
    remarks: tuple[Remark, ...] = ()
    error: InvalidEvent | None = None


def values(pieces: Iterator[str | Damage]) -> Iterator[Value]:
    """The values of a text that comes in pieces. Where something was lost between two, that is an error of its own."""
    return iter(_Values(pieces))


class _TooLarge(Exception):
    """An object has no end within the limit."""


class _Values:
    def __init__(self, pieces: Iterator[str | Damage]) -> None:
        self._pieces = pieces
        self._text = ""
        self._at = 0  # all before is done with
        self._ended = False  # no text follows, or behind `_damage` only
        self._damage: Damage | None = None
        self._known = 0  # a place not behind `_at`, of which line and column (both from 1) are known
        self._number = 1
        self._column = 1
        self._depth = 0  # of arrays around objects
        self._array = ""  # where the outermost began
        self._type = -1  # where the word that tells an event was seen last, so that no text is searched twice

    def __iter__(self) -> Iterator[Value]:
        while True:
            yield from self._lines()
            self._step_over()
            if self._at < len(self._text):
                yield self._next()
                self._step_over()
            if self._at < len(self._text):
                continue
            if (error := self._unfinished()) is not None:
                self._go(self._at)
                yield Value(self._number, self._column, "", None, error=error)
            if self._damage is None:
                return
            self._damage, self._ended, self._depth = None, False, 0

    # --- text

    def _more(self, wanted: int = 1) -> bool:
        """Append `wanted` characters at least; False: there are no more."""
        parts, size = [self._text], 0
        while size < wanted and not self._ended:
            piece = next(self._pieces, None)
            if isinstance(piece, str):
                parts.append(piece)
                size += len(piece)
            else:
                self._ended, self._damage = True, piece
        self._text = "".join(parts)
        self._type = -1
        return size > 0

    def _drop(self) -> None:
        """Forget what is done with, if it is much."""
        if self._at > _DONE:
            self._go(self._at)
            self._text = self._text[self._at :]
            self._at = self._known = 0
            self._type = -1

    def _go(self, at: int) -> None:
        """Know the line and column of `at`."""
        self._number, self._column = self._place(at)
        self._known = at

    def _place(self, at: int) -> tuple[int, int]:
        number, start, column = self._number, self._known, self._column
        for end in _LINE_END.finditer(self._text, start, at):
            number, start, column = number + 1, end.end(), 1
        return number, column + at - start

    # --- values

    def _lines(self) -> Iterator[Value]:
        """The good case: lines that hold one object each, until one doesn't."""
        self._drop()
        self._go(self._at)
        text, at, number, column, decode = self._text, self._at, self._number, self._column, msgspec.json.decode
        while True:
            end = text.find("\n", at)
            if end < 0:
                self._at = self._known = at
                self._number, self._column = number, column
                self._drop()
                if len(self._text) - self._at > _NEAR or not self._more():
                    return
                text, at = self._text, self._at
                continue
            line = text[at:end]
            if line[:1] != "{" or line[-1] != "}":
                line = line.strip(_EDGES)
                if line[:1] != "{":
                    break
            if end - at > _NEAR:
                break
            try:
                value = decode(line)
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
                break
            yield Value(number, column, line, value)
            number, column, at = number + 1, 1, end + 1
        self._at = self._known = at
        self._number, self._column = number, column

    def _step_over(self) -> None:
        """Go to where the next value begins, or to the end."""
        while True:
            self._at = _BETWEEN.match(self._text, self._at).end()  # type: ignore[union-attr]  # nothing matches, too
            sign = self._text[self._at : self._at + 1]
            if not sign:
                self._drop()
                if not self._more():
                    return
            elif sign == "]":
                self._depth = max(self._depth - 1, 0)
                self._at += 1
            elif sign == "[":
                inside = _BETWEEN.match(self._text, self._at + 1).end()  # type: ignore[union-attr]
                if inside == len(self._text) and self._more():
                    continue
                if self._text[inside : inside + 1] not in "{[]":  # something else than objects
                    return
                if not self._depth:
                    self._go(self._at)
                    self._array = f"line {self._number}, column {self._column}"
                self._depth += 1
                self._at += 1
            else:
                return

    def _next(self) -> Value:
        """The value that begins here, or what stands here instead."""
        self._go(self._at)
        number, column, start = self._number, self._column, self._at
        if self._text[start] != "{":
            return self._nothing(*self._lost(anything=True))
        try:
            found = self._object(start, deep=True)
        except _TooLarge:
            number, column, text, _ = self._lost()
            return Value(number, column, text, None, error=_too_large())
        except NotJson as broken:
            line, place = self._place(broken.at)
            why = f"what begins in column {column} breaks in line {line}, column {place}: {broken}"
            number, column, text, ends = self._lost()
            if ends and self._damage is not None:
                return Value(number, column, text, None, error=self._unfinished())
            if ends:
                self._depth = 0  # that is told with this
            return Value(number, column, text, None, error=InvalidEvent("invalid_json", why))
        self._at = found.end
        text = self._text[start : found.end]
        large = len(text) > MAX_LINE // 4 and len(raw_bytes(text)) > MAX_LINE and not is_envelope(found.value)
        return Value(number, column, text, found.value, found.remarks, _too_large() if large else None)

    def _nothing(self, number: int, column: int, text: str, ends: bool) -> Value:
        """Something that is no object, to the end of its line."""
        if ends and self._damage is not None:
            return Value(number, column, text, None, error=self._unfinished())
        if len(raw_bytes(text)) >= MAX_LINE:
            return Value(number, column, text, None, error=_too_large())
        try:
            return Value(number, column, text, msgspec.json.decode(text.rstrip(_EDGES)))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            said = "this is not text" if "\0" in text else str(error).splitlines()[0][:100]
            why = f"what begins in column {column} is not JSON: {said}"
            return Value(number, column, text, None, error=InvalidEvent("invalid_json", why))

    def _object(self, start: int, deep: bool = False) -> Read:
        """The object at `start`; more text is appended as it needs. Raises NotJson, _TooLarge."""
        limit = MAX_LINE
        while True:
            try:
                return read_object(self._text, start, self._ended, deep)
            except NotJson as broken:
                if not broken.more:
                    raise
            size = len(self._text) - start
            if size > limit:
                if limit == MAX_ENVELOPE or not _EVENTS.search(self._text, start, start + _NEAR):
                    raise _TooLarge
                limit = MAX_ENVELOPE
            self._more(size)  # at least as much again, so that it isn't read often from its beginning

    # --- what can't be read

    def _lost(self, anything: bool = False) -> tuple[int, int, str, bool]:
        """Step over what is broken here: (line, column, its text cut at MAX_LINE, whether the text ends with it).

        It ends before a line that isn't indented deeper than it, or an event that can be read whole. `anything`: it is
        no object at all, so it ends before any line.
        """
        self._go(self._at)
        number, column = self._number, self._column
        pattern = _ANY_PLACE if anything else _PLACE
        text = ""
        at = self._at + 1
        calls = 0
        while True:
            place = pattern.search(self._text, at)
            if place is None:
                if self._ended:
                    end = len(self._text)
                    break
                tail = len(self._text.rstrip(_PLACE_SIGNS))
                at = max(at, tail, len(self._text) - _NEAR)  # what may be the beginning of a place
                if at - self._at > MAX_LINE:
                    text = text or self._text[self._at : at][:MAX_LINE]
                    self._at = at
                    self._drop()
                    at = self._at
                self._more()
                continue
            end, begin = place.start(), place.end()
            line = place["line"]
            if line is not None:
                deep = begin - max(self._text.rfind(sign, end, begin) for sign in "\r\n\x1e")
                first = "\x1e" in line or anything or (deep <= column and self._text[begin] not in _INSIDE)
                if first:
                    break
            at = begin
            if self._text[begin] == "{":
                at = begin + 1
                calls += place.lastgroup == "call"
                if place.lastgroup == "call" and calls > _CALLS:
                    continue
                found = self._event(begin)
                part = found is not None and place.lastgroup == "call" and self._goes_on(found.end)
                if found is not None and not part and (is_event(found.value) or is_envelope(found.value)):
                    end = begin
                    break
                if found is not None:
                    at = found.end
        if self._depth:  # what closes the arrays around it is no part of it
            end = max(len(self._text[:end].rstrip("] \t\r\n")), self._at + 1) if not text else end
        text = text or self._text[self._at : end][:MAX_LINE]
        self._at = end
        return number, column, text.rstrip(), self._ended and end == len(self._text)

    def _goes_on(self, end: int) -> bool:
        """Whether an object that ends there is a part of another."""
        if len(self._text) - end < _DONE:
            self._more(_DONE)
        return _PART.match(self._text, end) is not None

    def _event(self, start: int) -> Read | None:
        """The object at `start`, if it may be an event and can be read."""
        if len(self._text) - start < _NEAR:
            self._more(_NEAR)
        if self._type < start:
            found = self._text.find('"type"', start)
            self._type = found if found >= 0 else len(self._text)
        if self._type > start + _NEAR or self._type == len(self._text):
            return None
        try:
            return self._object(start)
        except (NotJson, _TooLarge):
            return None

    def _unfinished(self) -> InvalidEvent | None:
        """What is wrong with the end of the text; told once."""
        depth, self._depth = self._depth, 0
        if self._damage is not None:
            damage, self._damage = self._damage, Damage("")
            return InvalidEvent("truncated", damage.detail) if damage.detail else None
        if depth:
            return InvalidEvent("truncated", f"the array that begins in {self._array} has no end: is the file cut off?")
        return None


def _too_large() -> InvalidEvent:
    return InvalidEvent("too_large", f"longer than {MAX_LINE} bytes")
