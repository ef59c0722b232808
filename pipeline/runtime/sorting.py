"""More than fits into memory, sorted: sorted runs in a temporary file, merged while they are read."""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Iterator
from operator import itemgetter
from struct import Struct
from types import TracebackType
from typing import Any, Self

from pipeline.errors import PipelineError

MEMORY = 40 << 20
"""Bytes of values that are held; Python's own needs for them come on top."""

_HEAD = Struct("<qI")  # of a record in the file: its time, the length of its value
_ENTRY = 160  # bytes that Python needs for one beside the value
_BLOCK = 1 << 16  # bytes of a run that are read at once, at least

_Entry = tuple[int, bytes]


class Sorted:
    """Takes values with times, and gives the values by time; equal ones in the order in which they came.

    The temporary file has no name where the system can do that, so nothing of it stays, however the process ends.
    Raises PipelineError where it can't be written.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._held: list[_Entry] = []
        self._size = 0
        self._file: Any = None
        self._runs: list[tuple[int, int]] = []  # where each begins and ends

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, at: int, value: Any) -> None:
        packed = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        self._held.append((at, packed))
        self._size += len(packed) + _ENTRY
        if self._size > self._memory:
            try:
                self._spill()
            except OSError as error:
                raise PipelineError(
                    f"sorting needs a temporary file in {tempfile.gettempdir()}: {error.strerror or error}. TMPDIR"
                    " names another place."
                ) from error

    def __iter__(self) -> Iterator[Any]:
        self._held.sort(key=itemgetter(0))
        block = max(_BLOCK, self._memory // 4 // max(len(self._runs), 1))
        runs: list[Iterator[_Entry]] = [self._run(start, end, min(block, 1 << 20)) for start, end in self._runs]
        for _, packed in heapq.merge(*runs, iter(self._held), key=itemgetter(0)):
            yield pickle.loads(packed)  # our own bytes, from a file that nobody else can open

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="pipeline-sort-")  # noqa: SIM115  # closed by __exit__
        self._held.sort(key=itemgetter(0))
        start = self._file.tell()
        for at, packed in self._held:
            self._file.write(_HEAD.pack(at, len(packed)))
            self._file.write(packed)
        self._runs.append((start, self._file.tell()))
        self._held, self._size = [], 0

    def _run(self, start: int, end: int, size: int) -> Iterator[_Entry]:
        while start < end:
            self._file.seek(start)
            block = self._file.read(min(size, end - start))
            done = 0
            while done + _HEAD.size <= len(block):
                at, length = _HEAD.unpack_from(block, done)
                begin = done + _HEAD.size
                if begin + length > len(block):
                    break
                yield at, block[begin : begin + length]
                done = begin + length
            if not done:  # one that is larger than a block
                size *= 2
            start += done
