"""`pipeline ingest`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.commands.common import end_option, errors_console, files_argument, plural, read_topology, topology_option
from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.files import Line
from pipeline.events.registry import connect
from pipeline.runtime.ingest import Ingest
from pipeline.runtime.recordings import merged


@click.command("ingest")
@files_argument
@topology_option
@end_option("tell the worker to decide everything that waits, or leave it waiting.")
def command(files: tuple[Path, ...], topology: Path, end: str) -> None:
    """Put recorded events into the source topics of a running pipeline, where a worker takes them.

    FILE is JSON Lines in Segment's format or an Avro container of our own schemas; either may be gzipped. Several files
    are merged by the time at which their events were received, as `pipeline replay` does. Kafka's timestamp is the time
    of writing, so retention leaves old recordings alone.

    Lines that can't be used go to the dead-letter topic, with file and line in their headers. While the recording runs,
    the worker's event time follows it instead of the clock; should this command be killed, lift that with
    `pipeline ingest /dev/null --end open`. The exit code is 0 unless nothing could be read.

    \b
    Examples:
      pipeline ingest monday.jsonl.gz tuesday.jsonl.gz
      PIPELINE_KAFKA=kafka-1:9092 pipeline ingest events.avro
      pipeline ingest today-so-far.jsonl --end open
    """
    wanted = read_topology(topology)
    console = errors_console()

    def told(line: Line, error: InvalidEvent) -> None:
        console.print(f"{line.file}:{line.number}: {error}", style="yellow", markup=False)

    started = time.monotonic()
    bar = Progress(
        SpinnerColumn(),
        TextColumn("ingesting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    if wanted.registry.startswith("mock://"):
        raise PipelineError(
            "registry is mock://, which no worker in another process can read: name a schema registry in topology.yaml"
            " or PIPELINE_REGISTRY."
        )
    with connect(wanted.registry) as registry, Ingest(wanted, registry, told=told) as run, bar:
        task = bar.add_task("", total=_lines(files) if console.is_terminal else None)
        number = 0
        try:
            for number, line in enumerate(merged(files), 1):
                run.put(line)
                if number % 500 == 0:
                    rate = number / (time.monotonic() - started)
                    bar.update(task, completed=number, description=f"{rate:,.0f} events/s")
        except KeyboardInterrupt:
            raise PipelineError(
                f"interrupted after {plural(run.events.total(), 'event')}: they stay written, the recording is left"
                " open, and the worker's event time goes by the clock again"
            ) from None
        bar.update(task, completed=number)
        if end == "complete":
            run.complete()
    seconds = time.monotonic() - started
    written = run.events.total()
    click.echo(
        f"{plural(written, 'event')} from {plural(len(files), 'file')} in {seconds:.1f} s"
        + (f", {plural(run.bad, 'bad line')} in {wanted.topics.dead_letters.name}" if run.bad else "")
        + ("; the worker now decides all that waits" if end == "complete" and run.high else ""),
        err=True,
    )
    if run.bad and not written:
        sys.exit(1)


def _lines(files: tuple[Path, ...]) -> int | None:
    """How many lines there are, for the bar; None where that takes unpacking."""
    number = 0
    for path in files:
        with path.open("rb") as file:
            if file.read(4)[:2] in (b"\x1f\x8b", b"Ob"):
                return None
            file.seek(0)
            number += sum(chunk.count(b"\n") for chunk in _chunks(file))
    return number


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(1 << 20):
        yield chunk
