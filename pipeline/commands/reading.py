"""What the commands that read recorded files share: the option to sort, and the bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pipeline.commands.summary import Summary
from pipeline.events.files import RecordedFile


def sort_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--sort`, handed on as `sort`."""
    return click.option(
        "--sort",
        is_flag=True,
        help="Take the events of all files by the time at which they were received, however they stand there. What"
        " doesn't fit into memory waits in a temporary file.",
    )(function)


class Bar(Progress):
    """How far it is, on a terminal alone: the share of the files' bytes, events a second, and the event time reached.

    It looks by itself a few times a second; nobody has to tell it.
    """

    def __init__(self, verb: str, recordings: list[RecordedFile], summary: Summary, console: Console) -> None:
        self._recordings = recordings
        self._summary = summary
        self._started = time.monotonic()
        super().__init__(
            SpinnerColumn(),
            TextColumn(verb),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.add_task("", total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            size = sum(recording.size for recording in self._recordings)
            self.update(
                task.id,
                total=size or None,
                completed=sum(recording.done for recording in self._recordings),
                description=self.words(),
            )
        yield from super().get_renderables()

    def words(self) -> str:
        """Events a second, and the event time reached."""
        events = self._summary.events
        if not events:
            return "reading"
        rate = events / max(time.monotonic() - self._started, 0.001)
        reached = time.strftime("%Y-%m-%d %H:%M", time.gmtime(self._summary.high // 1000))
        return f"{events:,} events, {rate:,.0f} a second, up to {reached}"
