"""Every command. Each lives in a module of its own below `pipeline/commands`, imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from pipeline.errors import PipelineError, TopologyError

COMMANDS = {
    "lint": "Check topology.yaml: every finding with line, column and a hint.",
    "topics": "Create the Kafka topics and register the schemas that are missing; check those that are there.",
    "schema": "Print the Avro schema of an event type, a trigger or a decision.",
    "worker": "Run the worker: events in, triggers out, until SIGTERM.",
    "ingest": "Put recorded events into the source topics.",
    "replay": "Decide over recorded events in this process: no Kafka, no Redis.",
    "test": "Run tests of rules: given these events, these decisions.",
    "edge": "Take events over HTTP from the clients of Segment, RudderStack, PostHog and Snowplow.",
    "skip": "Let a partition that has stopped go on: what is bad before an offset becomes dead letters.",
    "profile": "Show a person: who, what they did, what waits.",
    "explain": "Say why a rule did, didn't, or doesn't yet fire for a person.",
    "demo": "A small simulated shop through the real worker, on your terminal.",
}


class Commands(click.Group):
    """Commands by name. The help needs none of their modules, so it comes at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pipeline.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from pipeline.grammar.findings import suggest

            ctx.fail(f"no command {args[0]!r}; {suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="behavioural-triggers", prog_name="pipeline")
def cli() -> None:
    """Puts what a person did on the site, in e-mails and in films into one profile, in real time, and says the moment
    something is worth acting on: a cart left behind, an e-book never opened, a film watched to the middle.

    What to watch for, and where Kafka and Redis are, stands in topology.yaml.

    \b
    Try it, with nothing else installed:   pipeline demo
    Over recorded events, offline:         pipeline replay events.jsonl
    For real:                              pipeline topics && pipeline worker
    """


def main() -> None:
    """The entry point: what went wrong is one clear message, and the exit code tells."""
    try:
        cli.main(prog_name="pipeline")
    except TopologyError as error:
        click.echo(f"{error}\nThe topology can't be used as it is: `pipeline lint` tells more.", err=True)
        sys.exit(1)
    except PipelineError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
