"""`pipeline test`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.commands.common import plural, topology_option
from pipeline.grammar.findings import Finding
from pipeline.rule_tests.reading import RuleTest, read
from pipeline.rule_tests.running import Outcome, try_out
from pipeline.topology import rehearsal


@click.command("test")
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(exists=True, path_type=Path))
@topology_option
@click.option("-v", "--verbose", is_flag=True, help="Show what happened in every test, not only in those that fail.")
def command(files: tuple[Path, ...], topology: Path, verbose: bool) -> None:
    """Run tests of rules: given these events at these times, these decisions. It needs no Kafka and no Redis.

    FILE is YAML, or a directory of such files (default: tests/rules beside the topology); docs/rule-tests.md tells what
    may stand in it. What a test names is on in it, also where the topology has it switched off. Of a test that fails,
    each difference is told in a sentence, and what happened, step by step.

    The exit code is 0 when all tests hold, else 1.

    \b
    Examples:
      pipeline test
      pipeline test tests/rules/abandoned_cart.yaml --verbose
    """
    wanted = rehearsal(topology)
    paths = _files(files or (topology.parent / "tests" / "rules",))
    tests: list[RuleTest] = []
    findings: list[Finding] = []
    for path in paths:
        found, wrong = read(path, wanted.whole)
        tests += found
        findings += wrong
    for finding in findings:
        click.echo(str(finding))
    outcomes = [try_out(wanted, test) for test in tests]
    for outcome in outcomes:
        if outcome.problems or verbose:
            _tell(outcome)
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    said = f"{plural(len(tests), 'test')} in {plural(len(paths), 'file')}: "
    said += f"{failed} {'fails' if failed == 1 else 'fail'}" if failed else "all hold" if tests else "nothing was tried"
    if findings:
        said += f"; {plural(len(findings), 'error')} in the files: what has one isn't tried"
    click.echo(said, err=True)
    if failed or findings or not tests:
        sys.exit(1)


def _files(given: tuple[Path, ...]) -> list[Path]:
    paths: list[Path] = []
    for path in given:
        paths += sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    if not paths:
        where = ", ".join(map(str, given))
        raise click.UsageError(f"no rule tests (*.yaml) in {where}; docs/rule-tests.md tells how they are written")
    return paths


def _tell(outcome: Outcome) -> None:
    test = outcome.test
    word = click.style("fails", fg="red", bold=True) if outcome.problems else click.style("holds", fg="green")
    click.echo(f"{test.file}:{test.line}: {word}: {test.name}")
    for line, sentence in outcome.problems:
        click.echo(f"  {test.file}:{line}: {sentence}")
    for step in outcome.steps:
        click.echo(f"  {step}")
