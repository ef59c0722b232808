"""`pipeline replay`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from pipeline.commands.common import end_option, errors_console, files_argument, plural, topology_option
from pipeline.commands.reading import Bar, sort_option
from pipeline.commands.summary import Summary
from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.files import FileLine, RecordedFile
from pipeline.events.times import read_time
from pipeline.grammar.findings import suggest
from pipeline.runtime.recordings import in_order, merged
from pipeline.runtime.replay import Replay
from pipeline.topology import Rehearsal, Topology, rehearsal
from pipeline.triggers.changes import SegmentChange
from pipeline.triggers.changes import public as public_change
from pipeline.triggers.decisions import Decision, public


@click.command("replay")
@files_argument
@topology_option
@click.option(
    "--rules",
    "rules",
    metavar="NAME",
    multiple=True,
    help="Only this rule (and those it speaks of), also where it is switched off. May be given more than once.",
)
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write decisions there.")
@click.option(
    "--segments",
    "changes",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there who enters and leaves segments, a JSON object a line.",
)
@click.option(
    "--until",
    metavar="TIME",
    help="After the last event, let time alone change conditions up to there, such as 2026-04-01T00:00:00Z.",
)
@sort_option
@end_option("decide everything that waits, or leave it waiting and say how many.")
def command(
    files: tuple[Path, ...],
    topology: Path,
    rules: tuple[str, ...],
    out: Path | None,
    changes: Path | None,
    until: str | None,
    sort: bool,
    end: str,
) -> None:
    """Decide over recorded events: the code of the worker in this one process, with a virtual clock. It needs no Kafka
    and no Redis, and the same input gives the same bytes each time.

    FILE is JSON in Segment's format (an object a line, arrays, batches) or an Avro container of our own schemas; either
    may be packed with gzip, bzip2 or xz. Several files are merged by the time at which their events were received, as
    `pipeline ingest` does; lines of one file keep their order, unless --sort says otherwise.

    Each decision is a JSON object on a line of standard output (or of --out). What can't be used is told on standard
    error at the end, by reason, with its first places. The exit code is 0 unless nothing could be read.

    \b
    Examples:
      pipeline replay monday.jsonl.gz tuesday.jsonl.gz --out decisions.jsonl
      pipeline replay events.jsonl --rules abandoned_cart | jq 'select(.outcome == "fired")'
      pipeline replay today-so-far.jsonl --end open
      pipeline replay exported-by-person.json --sort
    """
    wanted = _only(rehearsal(topology), rules)
    for option, target in (("--out", out), ("--segments", changes)):
        if target is not None and target.exists() and any(path.exists() and target.samefile(path) for path in files):
            raise click.BadParameter(f"{target} is one of the files to be read", param_hint=option)
    console = errors_console()
    recordings = [RecordedFile(path) for path in files]
    summary = Summary(wanted.time.disorder_ms, console)
    run = Run(wanted, complete=end == "complete", lines=summary, until=_moment(until))
    lines = in_order(recordings) if sort else merged(recordings)
    try:
        with ExitStack() as stack:
            written: BinaryIO = sys.stdout.buffer if out is None else stack.enter_context(_open(out))
            if changes is not None:
                run.beside = partial(_write_change, stack.enter_context(_open(changes)))
            if out is not None or not sys.stdout.isatty():  # else the decisions themselves tell how far it is
                stack.enter_context(Bar("replaying", recordings, summary, console))
            for decision in run.over(lines):
                written.write(msgspec.json.encode(public(decision)) + b"\n")
            written.flush()
    except BrokenPipeError:  # whoever read the decisions has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains while it ends
        sys.exit(128 + signal.SIGPIPE)
    summary.tell()
    click.echo(run.summary(len(files)), err=True)
    if summary.refused and not summary.events:
        sys.exit(1)


def _write_change(file: BinaryIO, change: SegmentChange) -> None:
    file.write(msgspec.json.encode(public_change(change)) + b"\n")


class Run:
    """One replay, counting. `clock`: UTC ms, the latest at which anything was received (default: now); `lines`: is told
    of each. `beside`: is told of the changes of segments, where somebody wants them.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        complete: bool = True,
        clock: int | None = None,
        lines: Summary | None = None,
        until: int | None = None,
    ) -> None:
        self.lines = lines or Summary(topology.time.disorder_ms, errors_console())
        self.replay = Replay(topology)
        self.complete = complete
        self.until = until
        self.beside: Callable[[SegmentChange], object] | None = None
        self.changes: Counter[str] = Counter()
        self.clock = time.time_ns() // 1_000_000 if clock is None else clock
        self.outcomes: Counter[str] = Counter()

    def over(self, lines: Iterable[FileLine]) -> Iterator[Decision]:
        """The decisions, in order; the summary is told of every line."""
        for line in lines:
            try:
                if line.error is not None:
                    raise line.error
                assert line.event is not None
                yield from self._counted(self.replay.feed(line.event, self.clock))
            except InvalidEvent as error:
                self.lines.refuse(line, error)
            else:
                self.lines.event(line)
                if self.replay.changes:
                    self._tell_changes()
        if self.complete:
            yield from self._counted(self.replay.finish(self.until))
            self._tell_changes()
        else:
            yield from self._counted(self.replay.told())

    def _counted(self, decisions: Iterator[Decision]) -> Iterator[Decision]:
        for decision in decisions:
            self.outcomes[decision.outcome] += 1
            yield decision

    def _tell_changes(self) -> None:
        """Those of segments that have come since."""
        for change in self.replay.changes:
            self.changes[change.change] += 1
            if self.beside is not None:
                self.beside(change)
        self.replay.changes.clear()

    def summary(self, files: int) -> str:
        """What was done, in a line."""
        said = f"{plural(self.lines.events, 'event')} from {plural(files, 'file')}"
        if self.lines.refused:
            said += f", {plural(self.lines.refused, 'bad line')}"
        if self.replay.duplicates:
            said += f", {plural(self.replay.duplicates, 'duplicate')}"
        said += f"; {plural(self.outcomes.total(), 'decision')}"
        if self.outcomes:
            said += ": " + ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(self.outcomes.items()))
        if self.changes:
            said += "; segments: " + ", ".join(f"{number:,} {what}" for what, number in sorted(self.changes.items()))
        if not self.complete:
            waiting = self.replay.waiting()
            said += f"; {plural(waiting, 'wait')} left open"
        return said


def _only(tried: Rehearsal, names: tuple[str, ...]) -> Topology:
    """The topology with these rules alone, also where they are switched off; as it is when none is named."""
    known = {rule.name: rule for rule in tried.whole.rules}
    wanted = [name for given in names for name in given.split(",") if name]
    for name in wanted:
        if name not in known:
            raise click.BadParameter(f"no rule {name!r} in the topology; {suggest(name, known)}", param_hint="--rules")
    return tried.alone(wanted) if wanted else tried.topology


def _moment(text: str | None) -> int | None:
    """UTC ms."""
    if text is None:
        return None
    at = read_time(text)
    if at is None:
        raise click.BadParameter(f"{text!r} is no time; write it as 2026-04-01T00:00:00Z", param_hint="--until")
    return at


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise PipelineError(f"{path} can't be written: {error.strerror}") from error
