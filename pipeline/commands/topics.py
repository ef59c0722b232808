"""`pipeline topics`."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pipeline.commands.common import read_topology, topology_option
from pipeline.errors import PipelineError, RegistryUnavailable
from pipeline.events.registry import connect
from pipeline.runtime import subjects
from pipeline.runtime.broker import APPEND_TIME, STAMP, Broker, Difference, all_topics
from pipeline.topology.addresses import shown
from pipeline.topology.model import DAY, HOUR, MINUTE, SECOND, Topic, Topology


@click.command("topics")
@topology_option
@click.option("--create/--check", default=True, show_default=True, help="Create and set, or only look.")
@click.option(
    "--schemas/--no-schemas", default=True, show_default=True, help="The schema registry, too, or Kafka only."
)
def command(topology: Path, create: bool, schemas: bool) -> None:
    """Create the topics of the topology that Kafka doesn't have, and check those that it has: partitions, retention,
    cleanup policy, whose clock stamps their records, and that every record of a source topic would fit into the dead
    letters. One setting is made right where it isn't, and said: records of source topics and of identity.resolved carry
    the broker's time (message.timestamp.type=LogAppendTime), not their producers'. Nothing else that is there is ever
    changed: where Kafka and the topology differ, this says how to bring them together, and which of both to change is
    yours to decide.

    Then the schema registry: each event type is registered under a subject of its own for its topic
    (TopicRecordNameStrategy: events.email-behavioural.events.EmailSent), which takes only versions that are compatible
    with all before (FULL_TRANSITIVE; BACKWARD_TRANSITIVE is left, where a subject has it). A version that isn't
    compatible is refused, and the field named.

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
    fine = not findings
    if schemas and not wanted.registry.startswith("mock://"):
        fine = _schemas(wanted, create) and fine
    if not fine:
        sys.exit(1)


def _schemas(topology: Topology, create: bool) -> bool:
    """Register, and tell; whether all is well."""
    try:
        with connect(topology.registry) as registry:
            found = subjects.bring(registry, topology.topics, create=create)
    except RegistryUnavailable as problem:
        click.echo(f"error: {problem} The topics are as shown; run this again for the schemas.")
        return False
    count: Counter[str] = Counter(subject.state for subject in found)
    words = {"registered": "registered", "there": "as they should be", "missing": "missing", "refused": "refused"}
    told = ", ".join(f"{count[state]} {said}" for state, said in words.items() if count[state])
    click.echo(f"schemas in {shown(topology.registry)}: {told}")
    for subject in found:
        if subject.was and create:
            click.echo(f"set: {subject.name}: its compatibility is {subjects.LEVEL} now; it was {subject.was}")
        elif subject.was:
            click.echo(
                f"warning: {subject.name}: its compatibility is {subject.was}, so it takes versions that others can't"
                f" read; `pipeline topics` sets {subjects.LEVEL}"
            )
        if subject.state == "refused":
            click.echo(
                f"error: {subject.name}: the registry refuses schemas/{subject.file}.avsc, because records of the"
                f" versions that it has and of this one can't all be read by both: {subject.said}. A field that comes"
                " or goes needs a default (`null` first in its type), and none may change its type: give what has to be"
                " otherwise a field of another name, or an event type of its own."
            )
    for topic, missing in _by_topic(found, "missing").items():
        click.echo(
            f"error: {topic}: the registry doesn't have these schemas as they are here; `pipeline topics --create`"
            f" registers them: {', '.join(missing)}"
        )
    return not any(subject.state in ("missing", "refused") or (subject.was and not create) for subject in found)


def _by_topic(found: list[subjects.Subject], state: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for subject in found:
        if subject.state == state:
            names.setdefault(subject.topic, []).append(subject.file)
    return names


async def _go(broker: Broker, topics: tuple[Topic, ...], create: bool) -> tuple[list[str], list[str], list[Difference]]:
    made = await broker.create(topics) if create else []
    # What was made a moment ago is as we made it, and may not be known to every broker yet.
    others = [topic for topic in topics if topic.name not in made]
    stamped = await broker.stamp(others) if create else []
    return made, stamped, await broker.check(others)


def _table(topics: tuple[Topic, ...], made: list[str], stamped: list[str], findings: list[Difference]) -> Table:
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
