"""`pipeline edge`."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import click
import msgspec

from pipeline.commands.common import log_level_option, read_topology, topology_option
from pipeline.errors import PipelineError
from pipeline.topology import Topology

log = logging.getLogger(__name__)


@click.command("edge")
@topology_option
@click.option("--port", type=click.IntRange(1, 65_535), help="Where to listen, whatever the topology says.")
@click.option("--echo", is_flag=True, help="No Kafka: print each accepted event, to test a site's tracking.")
@log_level_option
def command(topology: Path, port: int | None, echo: bool, log_level: str) -> None:
    """Take events over HTTP from the clients of Segment, RudderStack, PostHog and Snowplow, and put them into the
    source topics, until SIGTERM or ^C. An event is answered for when Kafka has it.

    Who may send what stands in the topology (`edge`). On its port for the machine itself (`admin_port`) it answers
    /healthz, /readyz and /metrics. docs/collect.md says how to point each client here, and what its events become.

    With --echo it needs neither Kafka nor keys, listens on this machine alone, prints each event as a line of JSON, and
    answers /micro/all, /micro/good, /micro/bad and /micro/reset as Snowplow Micro does.

    Exit code: 0 when it was asked to end, 1 when it can't start.

    \b
    Examples:
      pipeline edge
      pipeline edge --echo --port 9090
      curl -u any-key: localhost:9090/v1/track -d '{"event": "Product Added", "anonymousId": "a", "properties": {}}'
    """
    wanted = read_topology(topology)
    if port is not None:
        wanted = msgspec.structs.replace(wanted, edge=msgspec.structs.replace(wanted.edge, port=port))
    if echo:
        _echo(wanted)
        return
    for name, value in (("kafka", wanted.kafka), ("registry", wanted.registry)):
        if value.startswith("mock://"):
            raise PipelineError(
                f"{name} is {value}, which lives inside of one process: name a server in topology.yaml or"
                f" PIPELINE_{name.upper()}, or try things out with --echo."
            )
    if not wanted.edge.keys:
        raise PipelineError(
            f"{topology} has no write keys, so nobody may send anything: give it some (`edge: keys:`), or try things"
            " out with --echo."
        )
    from pipeline.edge.processes import run
    from pipeline.observe.logs import setup

    setup(log_level.upper())
    try:
        code = run(wanted, log_level)
    except OSError as error:
        raise PipelineError(f"{error.strerror or error}: `edge` in {topology} says where to listen") from error
    sys.exit(code)


def _echo(topology: Topology) -> None:
    from pipeline.edge.trial import echo

    edge = topology.edge
    sys.stderr.write(f"takes events at http://127.0.0.1:{edge.port} with any write key; /micro/all counts them\n")
    try:
        asyncio.run(echo(topology, _print))
    except OSError as error:
        raise PipelineError(f"port {edge.port}: {error.strerror or error}") from error


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except UnicodeEncodeError:
        print(line.encode("ascii", "backslashreplace").decode(), flush=True)
