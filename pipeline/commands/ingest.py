"""`pipeline ingest`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from pipeline.commands.common import end_option, errors_console, files_argument, plural, read_topology, topology_option
from pipeline.commands.reading import Bar, sort_option
from pipeline.commands.summary import Summary
from pipeline.errors import PipelineError
from pipeline.events.files import Recording
from pipeline.events.registry import connect
from pipeline.runtime.ingest import Ingest
from pipeline.runtime.recordings import in_order, merged


@click.command("ingest")
@files_argument
@topology_option
@sort_option
@end_option("tell the worker to decide everything that waits, or leave it waiting.")
def command(files: tuple[Path, ...], topology: Path, sort: bool, end: str) -> None:
    """Put recorded events into the source topics of a running pipeline, where a worker takes them.

    FILE is JSON in Segment's format (an object a line, arrays, batches) or an Avro container of our own schemas; either
    may be packed with gzip, bzip2 or xz. Several files are merged by the time at which their events were received, as
    `pipeline replay` does; lines of one file keep their order, unless --sort says otherwise. Kafka's timestamp is the
    time of writing, so retention leaves old recordings alone.

    What can't be used goes to the dead-letter topic, with file and line in its headers, and is told at the end. While
    the recording runs, the worker's event time follows it instead of the clock; should this command be killed, lift
    that with `pipeline ingest /dev/null --end open`. The exit code is 0 unless nothing could be read.

    \b
    Examples:
      pipeline ingest monday.jsonl.gz tuesday.jsonl.gz
      PIPELINE_KAFKA=kafka-1:9092 pipeline ingest events.avro
      pipeline ingest today-so-far.jsonl --end open
      pipeline ingest exported-by-person.json --sort
    """
    wanted = read_topology(topology)
    started = time.monotonic()
    console = errors_console()
    recordings = [Recording(path) for path in files]
    summary = Summary(wanted.time.disorder_ms, console)
    if wanted.registry.startswith("mock://"):
        raise PipelineError(
            "registry is mock://, which no worker in another process can read: name a schema registry in topology.yaml"
            " or PIPELINE_REGISTRY."
        )
    with (
        connect(wanted.registry) as registry,
        Ingest(wanted, registry, told=summary.refuse) as run,
        Bar("ingesting", recordings, summary, console),
    ):
        try:
            for line in in_order(recordings) if sort else merged(recordings):
                if run.put(line):
                    summary.event(line)
        except KeyboardInterrupt:
            summary.tell()
            raise PipelineError(
                f"interrupted after {plural(run.events.total(), 'event')}: they stay written, the recording is left"
                " open, and the worker's event time goes by the clock again"
            ) from None
        if end == "complete":
            run.complete()
    summary.tell()
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
