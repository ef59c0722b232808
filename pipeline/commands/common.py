"""What commands share: which topology, which terminal, and how a text of examples looks."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from pipeline.errors import PipelineError
from pipeline.topology import Topology, load
from pipeline.topology.addresses import shown

_INSTALLED = Path(__file__).parents[1] / "_data" / "topology.yaml"
_CHECKOUT = Path(__file__).parents[2] / "topology.yaml"


def default_topology() -> Path:
    """./topology.yaml, else the one that comes with the package."""
    here = Path("topology.yaml")
    return next((path for path in (here, _INSTALLED, _CHECKOUT) if path.is_file()), here)


def topology_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--topology PATH`, handed on as a path `topology`."""
    return click.option(
        "--topology",
        type=click.Path(path_type=Path),
        envvar="PIPELINE_TOPOLOGY",
        default=default_topology,
        show_default="./topology.yaml, else the one in the package",
        help="The topology to use.",
    )(function)


def log_level_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--log-level LEVEL`, handed on as a text `log_level`."""
    return click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
        default="info",
        show_default=True,
        envvar="PIPELINE_LOG_LEVEL",
        help="What to log on standard error: for people on a terminal, JSON Lines otherwise.",
    )(function)


def read_topology(path: Path) -> Topology:
    """The topology, with addresses from the environment. Raises TopologyError."""
    return load(path)


@asynccontextmanager
async def redis_of(topology: Topology) -> AsyncIterator[Redis]:
    """Its Redis, while the block lasts. Raises PipelineError where that doesn't answer."""
    redis = Redis.from_url(topology.redis)
    try:
        yield redis
    except (RedisError, OSError) as error:
        said = str(error).rstrip(".")
        raise PipelineError(
            f"Redis at {shown(topology.redis)}: {said}. Check that it runs, and the address: `redis` in"
            " topology.yaml, or PIPELINE_REDIS."
        ) from error
    finally:
        await redis.aclose()


def files_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """`FILE...`, handed on as paths `files`."""
    kind = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
    return click.argument("files", metavar="FILE...", nargs=-1, required=True, type=kind)(function)


def end_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--end complete|open`, handed on as a text `end`. `what`: what the two do, after "at the end of the input"."""
    return click.option(
        "--end",
        type=click.Choice(["complete", "open"]),
        default="complete",
        show_default=True,
        help=f"At the end of the input: {what}",
    )


def errors_console() -> Console:
    """For messages beside the output: standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 event`, `2,000 events`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
