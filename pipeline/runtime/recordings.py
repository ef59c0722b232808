"""FileLine files as one stream: what `pipeline ingest` writes and `pipeline replay` decides over, in the same order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.events.files import FileLine, RecordedFile, read
from pipeline.runtime.sorting import MEMORY, Sorted

File = str | Path | RecordedFile


def merged(files: Iterable[File]) -> Iterator[FileLine]:
    """The lines of all files, merged by `received_at`; lines of one file keep their order.

    A file stands at the largest `received_at` that it has shown so far, and the file that stands earliest goes on (of
    two that stand equal, the one named first). So a line that runs backwards in time stays right behind the one before
    it, as it was recorded, and so does a line that can't be used. Raises PipelineError where a file can't be read.
    """
    stands = [_standing(file) for file in files]
    return (line for _, line in heapq.merge(*stands, key=lambda pair: pair[0]))


def in_order(files: Iterable[File], memory: int = MEMORY) -> Iterator[FileLine]:
    """The events of all files by `received_at`; of equal ones the file named first, then the line that stands first.

    Lines that can't be used come at once, while the files are read; the first event comes when all are. No more than
    about `memory` bytes of events are held, the rest lies in a temporary file meanwhile. Raises PipelineError where a
    file can't be read, or the temporary one not written.
    """
    with Sorted(memory) as events:
        for file in files:
            for line in _lines(file):
                if line.event is None:
                    yield line
                else:
                    events.add(line.event.received_at, line)
        yield from events


def _standing(file: File) -> Iterator[tuple[int, FileLine]]:
    high = 0
    for line in _lines(file):
        if line.event is not None and line.event.received_at > high:
            high = line.event.received_at
        yield high, line


def _lines(file: File) -> Iterator[FileLine]:
    try:
        yield from read(file)
    except OSError as error:
        path = file.path if isinstance(file, RecordedFile) else file
        raise PipelineError(f"{path} can't be read: {error.strerror or error}") from error
