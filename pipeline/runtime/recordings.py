"""Recorded files as one stream: what `pipeline ingest` writes and `pipeline replay` decides over, in the same order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.events.files import Line, read


def merged(paths: Iterable[str | Path]) -> Iterator[Line]:
    """The lines of all files, merged by `received_at`; lines of one file keep their order.

    A file stands at the largest `received_at` that it has shown so far, and the file that stands earliest goes on (of
    two that stand equal, the one named first). So a line that runs backwards in time stays right behind the one before
    it, as it was recorded, and so does a line that can't be used. Raises PipelineError where a file can't be read.
    """
    stands = [_standing(path) for path in paths]
    return (line for _, line in heapq.merge(*stands, key=lambda pair: pair[0]))


def _standing(path: str | Path) -> Iterator[tuple[int, Line]]:
    high = 0
    try:
        for line in read(path):
            if line.event is not None and line.event.received_at > high:
                high = line.event.received_at
            yield high, line
    except OSError as error:
        raise PipelineError(f"{path} can't be read: {error.strerror or error}") from error
