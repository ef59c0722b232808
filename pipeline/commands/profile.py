"""`pipeline profile`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

from pipeline.commands.common import read_topology, redis_of, topology_option
from pipeline.commands.person import facts
from pipeline.commands.person_view import render
from pipeline.errors import PipelineError
from pipeline.events.times import rfc3339
from pipeline.grammar.findings import suggest
from pipeline.identity.identifiers import Normaliser
from pipeline.identity.ids import leaf_id
from pipeline.profile import format2
from pipeline.profile.marks import Parts, Quarantined
from pipeline.profile.profile import Profile, decode
from pipeline.runtime.second_hop import Meta, decode_meta
from pipeline.store.redis_store import Client, RedisGraphStore, RedisProfileStore
from pipeline.topology import Topology
from pipeline.topology.addresses import shown
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import partition_of


@click.command("profile")
@click.argument("identifier", metavar="NAMESPACE:VALUE")
@topology_option
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON object, everything that is known.")
def command(identifier: str, topology: Path, as_json: bool) -> None:
    """Show a person, by any identifier they are known by: all their identifiers, what they did (the newest events as a
    timeline), carts, e-mails, films, which reminders wait and until when, and which fired and may still be taken back.

    It reads Redis and changes nothing. What the rules conclude is as far as event time has come in the pipeline.

    Exit code: 0, or 1 when nobody is known by that identifier, or their profile is quarantined (it says why).

    \b
    Examples:
      pipeline profile email:anna@example.org
      pipeline profile anonymous_id:9f1c2e --json | jq .waiting
    """
    wanted = read_topology(topology)
    namespace, value = identifier_of(wanted, identifier)
    told = facts(RuleBook(wanted), *whoever(wanted, namespace, value), (namespace, value))
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        Console(highlight=False).print(render(told))


def whoever(topology: Topology, namespace: str, value: str) -> tuple[str, Profile, int]:
    """What `find` finds, in the topology's Redis. Raises PipelineError where that is nobody."""
    found = asyncio.run(_find(topology, namespace, value))
    if found is None:
        raise PipelineError(
            f"nobody is known by {namespace}:{value} (in Redis at {shown(topology.redis)}, group {topology.group})"
        )
    return found


async def find(redis: Client, topology: Topology, namespace: str, value: str) -> tuple[str, Profile, int] | None:
    """Whoever is known by an identifier, in its normal form: (profile id, profile, up to when (UTC ms) its partition
    has decided); None: nobody.
    """
    partitions = topology.topics.resolved.partitions
    store = RedisProfileStore(redis, topology.group, partitions)
    graph = RedisGraphStore(redis, topology.group, topology.identifiers)
    profile_id = await graph.root(leaf_id(namespace, value))
    while True:
        partition = partition_of(profile_id, partitions)
        meta = (await store.metas(partitions))[partition]  # before the profile, which then is as far at least
        (raw,) = await store.peek(partition, [profile_id])
        if raw is None:
            return None
        books = decode_meta(meta) if meta else Meta()
        state = format2.read(RuleBook(topology), raw) if books.holds_earlier else decode(raw)
        if isinstance(state, Quarantined):
            raise PipelineError(
                f"profile {profile_id} (partition {partition}) is quarantined since {rfc3339(state.since)}, because it"
                f" can't be computed: {state.why}. Nothing of it is decided. What was known and the {len(state.rows)}"
                " events that have come since are kept; what came then is in the dead letters, too (reason"
                " `quarantined`). Each worker that starts tries it once more: restart with a version that can."
            )
        if isinstance(state, Profile):
            return profile_id, state, books.clock
        assert not isinstance(state, Parts)
        profile_id = state.winner


async def _find(topology: Topology, namespace: str, value: str) -> tuple[str, Profile, int] | None:
    if topology.redis.startswith("embedded://"):
        raise PipelineError(
            "redis is embedded://, which ends with the process that started it. Name a Redis in topology.yaml or"
            " PIPELINE_REDIS."
        )
    async with redis_of(topology) as redis:
        return await find(redis, topology, namespace, value)


def identifier_of(topology: Topology, given: str) -> tuple[str, str]:
    """(namespace, value in its normal form) of what somebody typed. Raises click.BadParameter."""
    namespace, colon, raw = given.partition(":")
    known = [each.name for each in topology.identifiers.namespaces]
    if not colon:
        raise click.BadParameter(f"{given!r} has no namespace: write {known[0]}:{given}", param_hint="NAMESPACE:VALUE")
    if namespace not in known:
        raise click.BadParameter(
            f"no namespace {namespace!r} in the topology; {suggest(namespace, known)}", param_hint="NAMESPACE:VALUE"
        )
    value = Normaliser(topology.identifiers).value(namespace, raw)
    if value is None:
        raise click.BadParameter(f"{raw!r} identifies nobody: the topology blocks it", param_hint="NAMESPACE:VALUE")
    return namespace, value
