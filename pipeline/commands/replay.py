"""`pipeline replay`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from pipeline.commands.common import end_option, files_argument, plural, read_topology, topology_option
from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.files import Line
from pipeline.runtime.recordings import merged
from pipeline.runtime.replay import Replay
from pipeline.topology import Topology
from pipeline.topology.findings import suggest
from pipeline.triggers.decisions import Decision, public


@click.command("replay")
@files_argument
@topology_option
@click.option("--rules", "rules", metavar="NAME", multiple=True, help="Only this rule. May be given more than once.")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write decisions there.")
@end_option("decide everything that waits, or leave it waiting and say how many.")
def command(files: tuple[Path, ...], topology: Path, rules: tuple[str, ...], out: Path | None, end: str) -> None:
    """Decide over recorded events: the code of the worker in this one process, with a virtual clock. It needs no Kafka
    and no Redis, and the same input gives the same bytes each time.

    FILE is JSON Lines in Segment's format or an Avro container of our own schemas; either may be gzipped. Several files
    are merged by the time at which their events were received, as `pipeline ingest` does; lines of one file keep their
    order.

    Each decision is a JSON object on a line of standard output (or of --out). Lines that can't be used are named on
    standard error, with file, line and reason. The exit code is 0 unless nothing could be read.

    \b
    Examples:
      pipeline replay monday.jsonl.gz tuesday.jsonl.gz --out decisions.jsonl
      pipeline replay events.jsonl --rules abandoned_cart | jq 'select(.outcome == "fired")'
      pipeline replay today-so-far.jsonl --end open
    """
    wanted = _only(read_topology(topology), rules)
    run = Run(wanted, complete=end == "complete")
    with ExitStack() as stack:
        target: BinaryIO = sys.stdout.buffer if out is None else stack.enter_context(_open(out))
        for decision in run.over(merged(files)):
            target.write(msgspec.json.encode(public(decision)) + b"\n")
        target.flush()
    click.echo(run.summary(len(files)), err=True)
    if run.bad and not run.read:
        sys.exit(1)


class Run:
    """One replay, counting. `clock`: UTC ms that no event may be ahead of (default: now)."""

    def __init__(self, topology: Topology, *, complete: bool = True, clock: int | None = None) -> None:
        self.replay = Replay(topology)
        self.complete = complete
        self.clock = time.time_ns() // 1_000_000 if clock is None else clock
        self.read = self.bad = 0
        self.outcomes: Counter[str] = Counter()

    def over(self, lines: Iterable[Line]) -> Iterator[Decision]:
        """The decisions, in order; lines that can't be used are named on standard error."""
        for line in lines:
            try:
                if line.error is not None:
                    raise line.error
                assert line.event is not None
                yield from self._counted(self.replay.feed(line.event, self.clock))
            except InvalidEvent as error:
                self.bad += 1
                click.echo(f"{line.file}:{line.number}: {error}", err=True)
            else:
                self.read += 1
        if self.complete:
            yield from self._counted(self.replay.finish())

    def _counted(self, decisions: Iterator[Decision]) -> Iterator[Decision]:
        for decision in decisions:
            self.outcomes[decision.outcome] += 1
            yield decision

    def summary(self, files: int) -> str:
        """What was done, in a line."""
        said = f"{plural(self.read, 'event')} from {plural(files, 'file')}"
        if self.bad:
            said += f", {plural(self.bad, 'bad line')}"
        if self.replay.duplicates:
            said += f", {plural(self.replay.duplicates, 'duplicate')}"
        said += f"; {plural(self.outcomes.total(), 'decision')}"
        if self.outcomes:
            said += ": " + ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(self.outcomes.items()))
        if not self.complete:
            waiting = self.replay.waiting()
            said += f"; {plural(waiting, 'wait')} left open"
        return said


def _only(topology: Topology, names: tuple[str, ...]) -> Topology:
    """The topology with these rules alone; all when none is named."""
    known = {rule.name: rule for rule in topology.rules}
    wanted = [name for given in names for name in given.split(",") if name]
    for name in wanted:
        if name not in known:
            raise click.BadParameter(f"no rule {name!r} in the topology; {suggest(name, known)}", param_hint="--rules")
    if not wanted:
        return topology
    return msgspec.structs.replace(topology, rules=tuple(rule for rule in topology.rules if rule.name in wanted))


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise PipelineError(f"{path} can't be written: {error.strerror}") from error
