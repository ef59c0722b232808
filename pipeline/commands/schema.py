"""`pipeline schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pipeline.commands.common import topology_option
from pipeline.errors import TopologyError
from pipeline.events import schemas
from pipeline.grammar.findings import suggest
from pipeline.topology import rehearsal
from pipeline.triggers.payload_schema import payload_schema


@click.command("schema")
@click.argument("name", required=False)
@topology_option
def command(name: str | None, topology: Path) -> None:
    """Print the whole Avro schema of an event type, a trigger or a decision, as a registry has it; or, of a rule, the
    JSON Schema of what its triggers tell (`payload`). Without a name: all that there are.

    \b
    Examples:
      pipeline schema
      pipeline schema product_added > ProductAdded.avsc
      pipeline schema abandoned_cart > abandoned_cart.payload.json
    """
    known = [*schemas.names(), *schemas.OUTBOUND]
    if name in known:
        _print(schemas.schema(name))
        return
    try:
        tried = rehearsal(topology)
        rules, on = ({rule.name: rule for rule in each.rules} for each in (tried.whole, tried.topology))
    except TopologyError as error:
        if name is not None:  # it may be a rule's
            raise
        click.echo(f"Without the rules of {topology}, which can't be read:\n{error}", err=True)
        rules = on = {}
    if name is None:
        click.echo("\n".join([*known, *on]))
    elif name in rules:
        _print(payload_schema(rules[name]))
    elif name in {segment.name for segment in tried.whole.segments}:
        raise click.UsageError(f"{name} is a segment: who enters and leaves is told as segment_change")
    else:
        raise click.UsageError(f"no schema {name!r}; {suggest(name, [*known, *rules])}")


def _print(schema: dict[str, Any]) -> None:
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))
