"""`pipeline skip`."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import time
from pathlib import Path

import click

from pipeline.commands.common import plural, read_topology, redis_of, topology_option
from pipeline.errors import PipelineError
from pipeline.grammar.findings import suggest
from pipeline.runtime.broker import Broker
from pipeline.store.ports import Skip
from pipeline.store.redis_store import RedisGraphStore
from pipeline.topology import Topology


@click.command("skip")
@click.argument("topic")
@click.argument("partition", type=click.IntRange(0))
@click.argument("offset", metavar="OFFSET|end")
@topology_option
def command(topic: str, partition: int, offset: str, topology: Path) -> None:
    """Let a source partition go on that has stopped because too much of it is bad (dead_letter_limit).

    What is bad before OFFSET becomes dead letters, each with who said so and when; what is good counts as ever. From
    OFFSET on the limit holds again. `end`: all that is in the partition now. The worker that has the partition goes on
    within seconds; one that is started later does too.

    \b
    Examples:
      pipeline skip events.email 2 48211
      pipeline skip events.email 2 end
    """
    wanted = read_topology(topology)
    source = next((each for each in wanted.topics.sources if each.name == topic), None)
    if source is None:
        names = [each.name for each in wanted.topics.sources]
        raise click.BadParameter(f"{topic!r} is no source topic of the topology; {suggest(topic, names)}")
    if partition >= source.partitions:
        raise click.BadParameter(f"{topic} has the partitions 0 to {source.partitions - 1}")
    if not offset.isdecimal() and offset != "end":
        raise click.BadParameter(f"{offset!r} is neither an offset nor `end`")
    if "://" in wanted.kafka or wanted.redis.startswith("embedded://"):
        raise PipelineError("the embedded servers end with the process that started them: name a Kafka and a Redis")
    asyncio.run(_skip(wanted, topic, partition, None if offset == "end" else int(offset)))


async def _skip(topology: Topology, topic: str, partition: int, offset: int | None) -> None:
    source, place = f"{topic}-{partition}", (topic, partition)
    end = (await Broker(topology.kafka).end_offsets([place]))[place]
    async with redis_of(topology) as redis:
        graph = RedisGraphStore(redis, topology.group, topology.identifiers)
        stored = await graph.position(source)
        at, upto = stored.offset if stored else 0, end if offset is None else offset
        if not at < upto <= end:
            raise PipelineError(f"{source} stands at {at} and ends at {end}: OFFSET is above {at}, up to {end}")
        who = f"{_user()}@{socket.gethostname()}"
        await graph.skip(source, Skip(upto, who, int(time.time() * 1000)))
    click.echo(
        f"{source}: what is bad of {plural(upto - at, 'record')} before offset {upto:,} goes to"
        f" {topology.topics.dead_letters.name}, as said by {who}"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container nobody may have a name
        return str(os.getuid())
