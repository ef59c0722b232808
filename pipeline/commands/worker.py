"""`pipeline worker`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from pipeline.commands.common import log_level_option, read_topology, topology_option
from pipeline.errors import PipelineError
from pipeline.topology.addresses import shown

log = logging.getLogger(__name__)


@click.command("worker")
@topology_option
@log_level_option
def command(topology: Path, log_level: str) -> None:
    """Run a worker: take events from the source topics, find out who it was, remember it, and write triggers, until
    SIGTERM or ^C. Any number of workers of one group share the partitions.

    Over HTTP (port: `http` in the topology, or PIPELINE_HTTP_PORT) it answers /healthz (is it alive), /readyz (does it
    work; if not, what it waits for; what holds event time back; whose clocks differ) and /metrics (Prometheus).

    Exit code: 0 when it was asked to end, 1 when it can't start (a server is away, a topic missing, the topology can't
    be used), 2 when going on would lose, repeat or wrongly decide something (state of another deployment, deleted
    records, topics that changed or go by their producers' clocks, say): the last lines say what to do.

    \b
    Examples:
      pipeline topics && pipeline worker
      PIPELINE_KAFKA=kafka-1:9092 PIPELINE_REDIS=redis://redis-1/0 pipeline worker --topology production.yaml
    """
    wanted = read_topology(topology)
    if wanted.kafka.startswith("mock://") or wanted.redis.startswith("embedded://"):
        raise PipelineError(
            "the embedded Kafka and Redis live inside of one process, where nobody could reach them: `pipeline demo`"
            " shows them. Name servers in topology.yaml, or in PIPELINE_KAFKA and PIPELINE_REDIS."
        )
    from pipeline.observe.logs import setup
    from pipeline.runtime.worker import run

    setup(log_level.upper())
    servers = {"kafka": wanted.kafka, "redis": shown(wanted.redis), "registry": shown(wanted.registry)}
    rules = ", ".join(rule.name for rule in wanted.rules)
    log.info("starting", extra={"topology": str(topology), "group": wanted.group, **servers, "rules": rules})
    try:
        code = run(wanted)
    except OSError as error:  # the port for health and metrics is taken
        raise PipelineError(error.strerror or str(error)) from error
    sys.stderr.flush()
    if code:
        os._exit(code)  # threads may be left that don't end
