"""`pipeline schema`."""

from __future__ import annotations

import json

import click

from pipeline.events import schemas
from pipeline.grammar.findings import suggest


@click.command("schema")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """Print the whole Avro schema of an event type, a trigger or a decision, as a registry has it. Without a name: all
    that there are.

    \b
    Examples:
      pipeline schema
      pipeline schema product_added > ProductAdded.avsc
    """
    known = [*schemas.names(), *schemas.OUTBOUND]
    if name is None:
        click.echo("\n".join(known))
    elif name in known:
        click.echo(json.dumps(schemas.schema(name), indent=2, ensure_ascii=False))
    else:
        raise click.UsageError(f"no schema {name!r}; {suggest(name, known)}")
