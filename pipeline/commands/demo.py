"""`pipeline demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from pipeline.commands.common import topology_option
from pipeline.errors import PipelineError


@click.command("demo")
@topology_option
@click.option(
    "--day",
    metavar="SECONDS",
    type=click.FloatRange(0, 8),
    default=2.2,
    show_default=True,
    help="How long a day of the shop takes; 0: as fast as it goes.",
)
@click.option("--shop", is_flag=True, help="A shop to visit in your browser instead: you are the customer.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8090, show_default=True, help="The shop's.")
@click.option("--seconds", type=float, hidden=True)
def command(topology: Path, day: float, shop: bool, port: int, seconds: float | None) -> None:
    """Play a week in a small simulated outdoor shop through the real worker, and show what it makes of it: triggers as
    they come, at the end one person's profile, and why one reminder fired and another did not.

    It needs nothing else: an embedded Kafka (librdkafka's mock) and an embedded Redis run inside of this command. They
    keep nothing, and the mock has no transactions, so a demo shows how it works and proves nothing about crashes.

    With --shop a page opens its doors on this machine instead: what you click there goes through the collector and the
    worker, and what is decided about you comes on the terminal. There an hour of a rule takes twenty seconds.

    It ends by itself within a minute (the shop at ^C). Exit code: 0 when the worker decided what a replay of the same
    events decides.

    \b
    Examples:
      pipeline demo
      pipeline demo --shop
      pipeline demo --day 0
      pipeline demo --topology with-my-rule.yaml
    """
    if shop:
        from pipeline.demo.visit import visit

        try:
            visit(Console(highlight=False), topology, port, seconds)
        except OSError as error:
            raise PipelineError(f"port {port}: {error.strerror or error}; --port takes another") from error
        return
    from pipeline.demo.play import play

    if not play(Console(highlight=False), topology, day):
        sys.exit(1)
