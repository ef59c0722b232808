"""`pipeline topics`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pipeline.commands.common import read_topology, topology_option
from pipeline.errors import PipelineError
from pipeline.runtime.broker import APPEND_TIME, STAMP, Broker, Finding, all_topics
from pipeline.topology.model import DAY, HOUR, MINUTE, SECOND, Topic


@click.command("topics")
@topology_option
@click.option("--create/--check", default=True, show_default=True, help="Create and set, or only look.")
def command(topology: Path, create: bool) -> None:
    """Create the topics of the topology that Kafka doesn't have, and check those that it has: partitions, retention,
    cleanup policy, whose clock stamps their records, and that every record of a source topic would fit into the dead
    letters. One setting is made right where it isn't, and said: records of source topics and of identity.resolved carry
    the broker's time (message.timestamp.type=LogAppendTime), not their producers'. Nothing else that is there is ever
    changed: where Kafka and the topology differ, this says how to bring them together, and which of both to change is
    yours to decide.

    Exit code: 0 when all is as the topology says, 1 when something is missing or differs.

    \b
    Examples:
      pipeline topics
      PIPELINE_KAFKA=kafka-1:9092 pipeline topics --check
    """
    wanted = read_topology(topology)
    if "://" in wanted.kafka:
        raise PipelineError(
            f"kafka is {wanted.kafka}: the embedded broker makes its topics itself. Name a Kafka in topology.yaml or"
            " PIPELINE_KAFKA."
        )
    topics = all_topics(wanted.topics)
    made, stamped, findings = asyncio.run(_go(Broker(wanted.kafka), topics, create))
    Console(highlight=False).print(_table(topics, made, stamped, findings))
    for name in stamped:
        click.echo(f"set: {name}: {STAMP} is {APPEND_TIME} now; what was in it keeps the times that its producers gave")
    for finding in findings:
        click.echo(f"{'error' if finding.fatal else 'warning'}: {finding}")
    if findings:
        sys.exit(1)


async def _go(broker: Broker, topics: tuple[Topic, ...], create: bool) -> tuple[list[str], list[str], list[Finding]]:
    made = await broker.create(topics) if create else []
    # What was made a moment ago is as we made it, and may not be known to every broker yet.
    others = [topic for topic in topics if topic.name not in made]
    stamped = await broker.stamp(others) if create else []
    return made, stamped, await broker.check(others)


def _table(topics: tuple[Topic, ...], made: list[str], stamped: list[str], findings: list[Finding]) -> Table:
    differs = {finding.topic.name: finding for finding in reversed(findings)}
    table = Table("topic", "partitions", "retention", "cleanup", "", box=None, pad_edge=False, header_style="dim")
    for topic in topics:
        finding = differs.get(topic.name)
        if topic.name in made:
            state = "[green]created"
        elif finding is None and topic.name in stamped:
            state = "[green]set right"
        elif finding is None:
            state = "[green]as it should be"
        elif finding.what == "missing":
            state = "[red]missing"
        else:
            state = "[red]differs" if finding.fatal else "[yellow]differs"
        table.add_row(topic.name, str(topic.partitions), duration(topic.retention_ms), topic.cleanup, state)
    return table


def duration(ms: int | None) -> str:
    """As topology.yaml writes it: `7d`, `90m`; None: `forever`."""
    if ms is None:
        return "forever"
    units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1, "ms")]
    unit, name = next((unit, name) for unit, name in units if ms % unit == 0 and (unit < DAY or ms > DAY))
    return f"{ms // unit}{name}"
