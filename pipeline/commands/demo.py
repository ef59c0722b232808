"""`pipeline demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from pipeline.commands.common import topology_option


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
def command(topology: Path, day: float) -> None:
    """Play a week in a small simulated outdoor shop through the real worker, and show what it makes of it: triggers as
    they come, at the end one person's profile, and why one reminder fired and another did not.

    It needs nothing else: an embedded Kafka (librdkafka's mock) and an embedded Redis run inside of this command. They
    keep nothing, and the mock has no transactions, so a demo shows how it works and proves nothing about crashes.

    It ends by itself within a minute. Exit code: 0 when the worker decided what a replay of the same events decides.

    \b
    Examples:
      pipeline demo
      pipeline demo --day 0
      pipeline demo --topology with-my-rule.yaml
    """
    from pipeline.demo.play import play

    if not play(Console(highlight=False), topology, day):
        sys.exit(1)
