"""SIGTERM and SIGINT end a recording between two lines, never inside of a call that Kafka's client is busy with."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from pipeline.errors import Stopped

T = TypeVar("T")


class Signals:
    """Between `with` and its end a signal raises Stopped at once where nothing is being written (`free`), and else as
    soon as the next line is asked for. `number`: the last one that came; 0: none.
    """

    def __init__(self) -> None:
        self.free = True
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 or 143."""
        return 128 + self.number

    def between(self, lines: Iterable[T]) -> Iterator[T]:
        """The lines. Raises Stopped while one is waited for, not while it is worked on."""
        left = iter(lines)
        while True:
            self.free = True
            self.check()
            try:
                line = next(left)
            except StopIteration:
                return
            finally:
                self.free = False
            yield line

    def check(self) -> None:
        """Raises Stopped where a signal has come."""
        if self.number:
            raise Stopped

    def _came(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if self.free:
            raise Stopped
