"""`pipeline ingest`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import click

from pipeline.commands.common import end_option, errors_console, files_argument, plural, read_topology, topology_option
from pipeline.commands.reading import Bar, sort_option
from pipeline.commands.stopping import Signals
from pipeline.commands.summary import Summary
from pipeline.errors import PipelineError, Stopped
from pipeline.events.files import RecordedFile
from pipeline.events.registry import connect
from pipeline.events.times import rfc3339
from pipeline.runtime.forecast import LOOKED_AT, Forecast, all_quiet, clock_of, forecast
from pipeline.runtime.ingest import Ingest
from pipeline.runtime.recordings import in_order, merged
from pipeline.topology import Topology
from pipeline.topology.model import HOUR, MINUTE

QUIET_S = 60.0


@click.command("ingest")
@files_argument
@topology_option
@sort_option
@end_option("tell the worker to decide everything that waits, or leave it waiting.")
@click.option("--yes", is_flag=True, help="Go on, whatever the recording would do to the pipeline as it stands.")
@click.option(
    "--no-triggers",
    "quiet",
    is_flag=True,
    help="State and history only: what is due by now is decided and stands on the decisions topic, marked, but nothing"
    " of it on the triggers topic. Needs a worker that runs.",
)
@click.option("--take-over", "over", is_flag=True, help="End a recording that is being ingested, and begin this one.")
def command(files: tuple[Path, ...], topology: Path, sort: bool, end: str, yes: bool, quiet: bool, over: bool) -> None:
    """Put recorded events into the source topics of a running pipeline, where a worker takes them.

    FILE is JSON in Segment's format (an object a line, arrays, batches) or an Avro container of our own schemas; either
    may be packed with gzip, bzip2 or xz. Several files are merged by the time at which their events were received, as
    `pipeline replay` does; lines of one file keep their order, unless --sort says otherwise. Kafka's timestamp is the
    time of writing, so retention leaves old recordings alone.

    While the recording runs, the worker's event time follows it instead of the clock: one recording at a time. Before
    anything is written it is compared with the pipeline. Where that is past the recording's beginning, or reminders
    that are more than an hour old would go out now, it says so and asks; where nobody can be asked, it wants --yes or
    --no-triggers.

    What can't be used goes to the dead-letter topic, with file and line in its headers, and is told at the end. After
    SIGTERM or ^C the recording is left open, and event time follows the clock again; should this command be killed, it
    does so a minute later. The same recording can then be ingested again: an event counts once for a person.

    Exit code: 0; 1 when nothing could be read, or Kafka, Redis or the registry didn't answer; 2 when it wants --yes;
    143 or 130 when SIGTERM or ^C ended it.

    \b
    Examples:
      pipeline ingest monday.jsonl.gz tuesday.jsonl.gz
      PIPELINE_KAFKA=kafka-1:9092 pipeline ingest events.avro
      pipeline ingest today-so-far.jsonl --end open
      pipeline ingest last-year/*.jsonl.gz --no-triggers
      pipeline ingest exported-by-person.json --sort
    """
    wanted = read_topology(topology)
    if wanted.registry.startswith("mock://"):
        raise PipelineError(
            "registry is mock://, which no worker in another process can read: name a schema registry in topology.yaml"
            " or PIPELINE_REGISTRY."
        )
    with Signals() as signals:
        try:
            if not yes and not quiet:
                _compare(wanted, files, sort)
            run = _write(wanted, files, signals, sort=sort, complete=end == "complete", quiet=quiet, over=over)
        except Stopped:
            if signals.free:
                click.echo("interrupted: nothing was written", err=True)
            sys.exit(signals.exit_code)
    if run.bad and not run.events:
        sys.exit(1)


def _write(
    topology: Topology,
    files: tuple[Path, ...],
    signals: Signals,
    *,
    sort: bool,
    complete: bool,
    quiet: bool,
    over: bool,
) -> Ingest:
    started = time.monotonic()
    console = errors_console()
    recordings = [RecordedFile(path) for path in files]
    summary = Summary(topology.time.disorder_ms, console)
    lines = in_order(recordings) if sort else merged(recordings)
    before = _now() - topology.time.lateness_ms - MINUTE if quiet else 0
    signals.free = False
    with connect(topology.registry) as registry:
        run = Ingest(topology, registry, told=summary.refuse, quiet=before, over=over)
        stopped = False
        with run:
            try:
                if quiet:
                    _wait_quiet(topology, before, signals)
                with Bar("ingesting", recordings, summary, console):
                    for line in signals.between(lines):
                        if run.put(line):
                            summary.event(line)
            except Stopped:
                stopped = True
            signals.free = False
            if complete and not stopped:
                run.complete()
    summary.tell()
    written, seconds = run.events.total(), time.monotonic() - started
    if stopped:
        click.echo(
            f"interrupted after {plural(written, 'event')}: they stay written, the recording is left open, and the"
            " worker's event time follows the clock again",
            err=True,
        )
        raise Stopped
    click.echo(
        f"{plural(written, 'event')} from {plural(len(files), 'file')} in {seconds:.1f} s"
        + (f", {plural(run.bad, 'bad line')} in {topology.topics.dead_letters.name}" if run.bad else "")
        + ("; the worker now decides all that waits" if complete and run.high else ""),
        err=True,
    )
    return run


def _wait_quiet(topology: Topology, before: int, signals: Signals) -> None:
    """Nothing may be decided of the recording before everybody knows that it is not to be published."""
    deadline = time.monotonic() + QUIET_S
    while not asyncio.run(all_quiet(topology, before)):
        signals.check()
        if time.monotonic() > deadline:
            raise PipelineError(
                f"no worker has taken notice of --no-triggers within {QUIET_S:.0f} s, so nothing was written: start one"
                " that can keep up, and try again"
            )
        time.sleep(0.2)


def _compare(topology: Topology, files: tuple[Path, ...], sort: bool) -> None:
    """Say what the recording would do, and ask, if that needs a yes."""
    clock = asyncio.run(clock_of(topology))
    now = _now()
    if all(path.is_file() or path == Path(os.devnull) for path in files):
        found = forecast(topology, merged([RecordedFile(path) for path in files]), clock, now, ordered=sort)
        told = _told(found, now)
    else:  # what comes through a pipe can be read once
        told = ["what comes through a pipe can't be compared with the pipeline beforehand"] if clock else []
    if not told:
        return
    for line in told:
        click.echo(f"warning: {line}", err=True)
    what = "--yes ingests it all the same; with --no-triggers it makes state and history, but no triggers"
    if not sys.stdin.isatty():
        raise click.UsageError(f"nothing was written: {what}.")
    click.echo(what, err=True)
    if not click.confirm("Ingest it?", err=True):
        sys.exit(2)


def _told(found: Forecast, now: int) -> list[str]:
    told = []
    some = "" if found.whole else f" among the first {plural(min(found.events, LOOKED_AT), 'event')}"
    least = "" if found.whole else "at least "
    if found.past:
        hours = (found.past - found.first) / HOUR
        told.append(
            f"the pipeline's time is at {rfc3339(found.past)}, {hours:,.1f} hours past the recording's beginning at"
            f" {rfc3339(found.first)}: {least}{plural(found.late, 'event')}{some} would count as received only now, so"
            " they inform, and may take triggers back, but what they should have started or ended in time is over"
        )
    if found.old:
        told.append(
            f"{least}{plural(found.old, 'reminder')}{some} would go out now that were due more than an hour ago"
            " (what the pipeline knows besides may still keep some back)"
        )
    return told


def _now() -> int:
    return time.time_ns() // 1_000_000
