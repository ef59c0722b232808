"""`pipeline lint`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.commands.common import default_topology, plural
from pipeline.events.catalogue import problems
from pipeline.topology import Finding, lint

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command("lint")
@click.argument("topology", metavar="[TOPOLOGY]", type=click.Path(path_type=Path), required=False)
@click.option("--topology", "option", type=click.Path(path_type=Path), envvar="PIPELINE_TOPOLOGY", hidden=True)
def command(topology: Path | None, option: Path | None) -> None:
    """Check a topology (default: ./topology.yaml), with the addresses that the environment puts into it.

    Every finding stands on a line of its own, as editors and CI read it:

    \b
      topology.yaml:81:7: error unknown-key: `cancell` is not known here (did you mean cancel?)

    Exit code: 0 when nothing is wrong (warnings and notes may be there), 1 when the topology can't be used.

    \b
    Examples:
      pipeline lint
      pipeline lint deploy/production.yaml
    """
    path = topology or option or default_topology()
    findings = lint(path)
    findings += [Finding(str(file), 1, 1, "error", "uncounted-type", wrong) for file, wrong in problems()]
    for finding in findings:
        click.echo(_shown(finding))
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = sum(finding.severity == "warning" for finding in findings)
    if errors or warnings:
        click.echo(f"{path}: {plural(errors, 'error')}, {plural(warnings, 'warning')}", err=True)
    else:
        click.echo(f"{path}: nothing to find fault with", err=True)
    if errors:
        sys.exit(1)


def _shown(finding: Finding) -> str:
    text = str(finding)
    word = f" {finding.severity} "
    return text.replace(word, click.style(word, fg=COLOURS[finding.severity], bold=True), 1)
