"""Bytes of a file as text, whatever they are coded in, and one JSON value at the beginning of a text."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from math import inf, isfinite
from typing import Any, NamedTuple

import msgspec

from pipeline.errors import NotJson
from pipeline.events.model import Remark
from pipeline.events.unpack import Damage

WINDOWS_1252 = Remark("read_as", "text that is not UTF-8, as Windows-1252")
NO_NUMBER = Remark("read_as", "NaN, Infinity or a number beyond all bounds, as null")
TOO_DEEP = Remark("left_out", "what lies more than 100 objects or arrays deep")
_DEEPEST = 100

_MARKS = (  # the longer ones first: UTF-16's is the beginning of UTF-32's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FOREIGN = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8, as `surrogateescape` keeps it
_AS_1252 = {
    0xDC00 + byte: codecs.decode(bytes([byte]), "cp1252", "ignore") or chr(byte)  # as browsers do with the five unused
    for byte in range(0x80, 0x100)
}
_LONGEST_NUMBER = 309  # digits; a float ends there
_LONGEST_TOKEN = (
    24  # characters of what may be cut off at the end of a text other than a string: numbers, words, \uD83D
)
_STRING = r'"(?:[^"\\]|\\.)*"'
_STRING_OR_BRACKET = re.compile(rf"{_STRING}|[{{}}\[\]]", re.DOTALL)
_STRING_OR_COMMA = re.compile(rf"({_STRING})|,(\s*[}}\]])", re.DOTALL)


class Read(NamedTuple):
    """A value, where it ends in the text, and what had to be put right."""

    value: Any
    end: int
    remarks: tuple[Remark, ...]


def text_of(pieces: Iterator[bytes | Damage]) -> Iterator[str | Damage]:
    """The text in bytes. What is not UTF-8 stays as `raw_bytes` gives it back."""
    decoder: codecs.IncrementalDecoder | None = None
    for piece in pieces:
        if isinstance(piece, Damage):
            decoder = None if decoder is None else type(decoder)(decoder.errors)
            yield piece
            continue
        if decoder is None:
            name = next((name for mark, name in _MARKS if piece.startswith(mark)), "utf-8")
            decoder = codecs.getincrementaldecoder(name)("surrogateescape" if name == "utf-8" else "replace")
        if text := decoder.decode(piece):
            yield text
    if decoder is not None and (text := decoder.decode(b"", True)):
        yield text


def raw_bytes(text: str) -> bytes:
    """The bytes of the text in the file; of a file that isn't in UTF-8, the text in UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def read_object(text: str, start: int, final: bool, deep: bool = False) -> Read:
    """The object that begins at `text[start]`, read as leniently as it can be understood. `final`: no text follows.
    `deep`: what lies too deep inside of it is looked through, and left out.

    Beside JSON it takes what encoders write against the rules: NaN, Infinity, lone surrogates (which stay), numbers
    without bounds, control characters in strings, trailing commas. Raises NotJson.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        value, end = _without_trailing_commas(text, start, final, error)
    except RecursionError:
        if not deep:
            raise NotJson("nested too deeply", start) from None
        return _shallow(text, start, final)
    piece = text[start:end]
    if _FOREIGN.search(piece):
        inner = read_object(piece.translate(_AS_1252), 0, True, deep)
        return Read(inner.value, end, (WINDOWS_1252, *inner.remarks))
    try:  # numbers as everywhere else
        return Read(msgspec.json.decode(piece), end, ())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass
    remarks: list[Remark] = []
    try:
        return Read(_mended(value, remarks), end, tuple(remarks))
    except RecursionError:
        raise NotJson("nested too deeply", start) from None


def _without_trailing_commas(text: str, start: int, final: bool, error: json.JSONDecodeError) -> tuple[Any, int]:
    """Once more, if it was a comma before a closing bracket that made the error."""
    before = text[start : error.pos + 1].rstrip()
    if before.endswith(",") or before[:-1].rstrip().endswith(","):
        end = _closed(text, start)
        if end < 0 and not final:
            raise NotJson(error.msg, error.pos, more=True) from None
        piece = text[start : end if end > 0 else len(text)]
        tried = _STRING_OR_COMMA.sub(lambda found: found[1] or " " + found[2], piece)
        if tried != piece:
            try:
                value, end = _DECODER.raw_decode(tried)
                return value, start + end
            except json.JSONDecodeError as again:
                error = json.JSONDecodeError(again.msg, text, start + again.pos)
            except RecursionError:
                raise NotJson("nested too deeply", start) from None
    cut = error.msg.startswith("Unterminated string") or error.pos > len(text) - _LONGEST_TOKEN
    raise NotJson(error.msg, error.pos, more=cut and not final) from None


def _shallow(text: str, start: int, final: bool) -> Read:
    """The object that begins there and ends on its line, with null for what lies deeper than _DEEPEST."""
    parts, kept, depth = [], start, 0
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    for token in _STRING_OR_BRACKET.finditer(text, start, end):
        if token[0] in "{[":
            depth += 1
            if depth > _DEEPEST and kept >= 0:
                parts.append(text[kept : token.start()])
                kept = -1
        elif token[0] in "}]":
            depth -= 1
            if depth == _DEEPEST:
                parts.append("null")
                kept = token.end()
            elif depth == 0:
                inner = read_object("".join([*parts, text[kept : token.end()]]), 0, True)
                return Read(inner.value, token.end(), (TOO_DEEP, *inner.remarks))
    raise NotJson("nested too deeply", start, more=end == len(text) and not final)


def _closed(text: str, start: int) -> int:
    """Behind the bracket that closes the one at `start`; -1: there is none."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text, start):
        sign = token[0]
        if sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if not depth:
                return token.end()
    return -1


def _mended(value: Any, remarks: list[Remark]) -> Any:
    """Without what no JSON may hold; `remarks` gets what was."""
    if isinstance(value, dict):
        return {_mended(name, remarks): _mended(part, remarks) for name, part in value.items()}
    if isinstance(value, list):
        return [_mended(part, remarks) for part in value]
    if isinstance(value, float) and not isfinite(value):
        return _told(None, NO_NUMBER, remarks)
    return value


def _told(value: Any, remark: Remark, remarks: list[Remark]) -> Any:
    if remark not in remarks:
        remarks.append(remark)
    return value


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_NUMBER else inf


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer)
