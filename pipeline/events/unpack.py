"""What is inside of a file, packed or not: gzip, bzip2 and xz are read as far as they go, damaged ones too."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from pipeline.errors import WrongFormat

CHUNK = 1 << 18
"""Bytes that are read at once."""

_MOST = 1 << 20  # bytes that are unpacked at once: a small file may hold a huge one
_HEAD = 16  # bytes that tell every kind there is
_PROBE = 4096
_BACK = 1 << 17  # packed bytes that are looked through again: a damaged length may swallow 64 KiB of what follows
_CHECKS = ("incorrect data check", "incorrect length check")  # zlib's words for a member that ends, but wrongly
_GZIP = b"\x1f\x8b\x08"
_OTHERS = {
    b"PK\x03\x04": "a zip archive (or an Excel workbook): unpack it first",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it first (`zstd -d`)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"Rar!": "a rar archive: unpack it first",
    b"PAR1": "a Parquet file: write its rows as JSON Lines first",
    b"ORC": "an ORC file: write its rows as JSON Lines first",
    b"SQLite format 3\0": "an SQLite database: write its rows as JSON Lines first",
    b"%PDF": "a PDF document",
}


class Damage(NamedTuple):
    """Stands between pieces of a file where something is lost. `detail`: what, in words."""

    detail: str


def unpacked(pieces: Iterator[bytes]) -> Iterator[bytes | Damage]:
    """What is packed in the pieces of a file, or the pieces themselves where nothing is. None is empty, and the first
    is long enough to tell what it is.

    After a Damage what follows goes on at some later place; most often nothing follows. Raises WrongFormat.
    """
    pieces = _headed(pieces)
    first = next(pieces, b"")
    for magic, kind in _OTHERS.items():
        if first.startswith(magic):
            raise WrongFormat(f"this is {kind}")
    pieces = chain([first], pieces)
    inside: Iterator[bytes | Damage] = pieces
    if first.startswith(_GZIP[:2]):
        inside = _gzip(pieces)
    elif first.startswith(b"BZh"):
        inside = _other(pieces, bz2.BZ2Decompressor, "bzip2", b"BZh")
    elif first.startswith(b"\xfd7zXZ\x00"):
        inside = _other(pieces, lzma.LZMADecompressor, "xz", b"\xfd7zXZ\x00")
    return _headed(inside)


def _headed(pieces: Iterator[Any]) -> Iterator[Any]:
    """The same, with a first piece of _HEAD bytes at least where there are as many before a Damage or the end."""
    head: bytes | None = b""
    for piece in pieces:
        if head is not None and isinstance(piece, bytes):
            head += piece
            if len(head) < _HEAD:
                continue
            piece, head = head, None
        elif head is not None:
            if head:
                yield head
            head = b""
        if piece:
            yield piece
    if head:
        yield head


class _Packed:
    """The bytes that aren't unpacked yet: `data` are the next ones, `at` says how many stood before (some are kept)."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.data = b""
        self.at = 0
        self._done = b""
        self._pieces = pieces

    def more(self, wanted: int = 1) -> bool:
        """Have `wanted` bytes in `data` at least; False: the file has no more."""
        while len(self.data) < wanted:
            piece = next(self._pieces, b"")
            if not piece:
                return False
            self.data += piece
        return True

    def drop(self, number: int) -> None:
        self.at += number
        self._done = (self._done + self.data[:number])[-_BACK:]
        self.data = self.data[number:]

    def back(self, to: int) -> None:
        """Have the bytes behind `to` once more, as far as they are kept."""
        size = min(len(self._done), self.at - to)
        if size > 0:
            self.data = self._done[-size:] + self.data
            self._done = self._done[:-size]
            self.at -= size

    def seek_member(self) -> int:
        """Go to the next beginning of a gzip member that can be unpacked, else to the end. Returns the bytes left out,
        those of padding (zeros) not counted.
        """
        left_out = 0
        while self.more(_PROBE) or self.data:
            found = self.data.find(_GZIP)
            if found == 0:
                try:
                    zlib.decompressobj(31).decompress(self.data[:_PROBE], _MOST)
                except zlib.error:
                    found = self.data.find(_GZIP, 1)
                else:
                    break
            if found < 0:
                found = max(len(self.data) - len(_GZIP) + 1, 1) if len(self.data) >= _PROBE else len(self.data)
            left_out += found - self.data.count(b"\0", 0, found)
            self.drop(found)
        return left_out


def _gzip(pieces: Iterator[bytes]) -> Iterator[bytes | Damage]:
    packed = _Packed(pieces)
    while packed.more():
        member, began = zlib.decompressobj(31), packed.at
        why = None
        while why is None and not member.eof and packed.more():
            before, size = member.copy(), len(packed.data)
            try:
                inside = member.decompress(packed.data, _MOST)
            except zlib.error as error:
                why = str(error).rpartition(": ")[2]
                inside, used = _up_to_the_error(before, packed.data)
                packed.drop(used)
            else:
                packed.drop(size - len(member.unconsumed_tail) - len(member.unused_data))
            yield inside
        at = packed.at
        if not member.eof:  # the next member may have been taken for a part of this one
            packed.back(began + 1)
        left_out = packed.seek_member()
        if why in _CHECKS:
            yield Damage(f"{why} at byte {at:,} of the packed file: some of what was read up to here may be wrong")
        elif why is not None:
            lost = max(packed.at - at, 0)
            yield Damage(f"the packed file is damaged at byte {at:,} ({why}); {lost:,} bytes can't be unpacked")
        elif not member.eof:
            yield Damage(f"the packed file ends in the middle, after {at:,} bytes: it was cut off")
        elif left_out:
            yield Damage(f"{left_out:,} bytes behind byte {at:,} of the packed file are not gzip and are left out")


def _up_to_the_error(member: Any, data: bytes) -> tuple[bytes, int]:
    """What comes out before the error, which is lost with the call that raises it; and how far in `data` that is."""
    found = []
    for at in range(len(data)):
        try:
            found.append(member.decompress(data[at : at + 1]))
        except zlib.error:
            return b"".join(found), at
    return b"".join(found), len(data)


def _other(pieces: Iterator[bytes], make: Any, name: str, magic: bytes) -> Iterator[bytes | Damage]:
    packed = _Packed(pieces)
    while packed.more(len(magic)) and packed.data.startswith(magic):
        member = make()
        while not member.eof:
            if member.needs_input and not packed.more():
                yield Damage(f"the packed file ends in the middle, after {packed.at:,} bytes: it was cut off")
                return
            piece = packed.data[:_PROBE] if member.needs_input else b""
            packed.drop(len(piece))
            try:
                inside = member.decompress(piece, _MOST)
            except (OSError, EOFError, lzma.LZMAError) as error:
                yield Damage(f"the packed file is damaged near byte {packed.at:,}: {error}")
                return
            yield inside
        packed.data = member.unused_data + packed.data
        packed.at -= len(member.unused_data)
    if packed.data.strip(b"\0"):
        yield Damage(f"what stands behind byte {packed.at:,} of the packed file is not {name} and is left out")
