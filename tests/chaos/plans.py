"""The short runs, and those in which a protection is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.chaos.run import Plan, Report, run
from tests.servers import KafkaServer, RedisServer, SchemaRegistry

SHORT = Plan(
    "short",
    7,
    4_000,
    45.0,  # events come until the last fault
    ("kill", "freeze", "rebalance", "broker", "redis", "fall-back", "fail-over", "hold", "foreign", "stop", "add"),
)

# What is missing -> a run that brings it out. With all protections these runs are good.
CRIPPLED = {
    "source-watermark": Plan(
        "no-quiet", 1, 1_500, 50.0, ("hold", "hold", "hold"), "source-watermark", hold_s=6.0, patience_s=40
    ),
    "token": Plan("no-token", 1, 1_500, 60.0, ("fail-over",) * 5 + ("kill",), "token", patience_s=40),
    "household": Plan("no-household", 1, 1_500, 100.0, ("kill",), "household", patience_s=40),
    "transactions": Plan("no-transactions", 1, 4_000, 100.0, ("kill", "kill"), "transactions", patience_s=60),
}
TRIES = 3


def noticed(
    what: str,
    seed: int,
    folder: Path,
    kafka: KafkaServer,
    store: RedisServer,
    registry: SchemaRegistry,
    say: Callable[[str], None] = lambda line: None,
) -> bool:
    """Whether the test reports what it must when this protection is missing.

    The moments of faults are from the seed, but not what they meet: a run that meets nothing is tried again.
    """
    for attempt in range(TRIES):
        plan = replace(CRIPPLED[what], seed=seed + attempt, name=f"{CRIPPLED[what].name}-{attempt}")
        report = run(plan, folder / str(attempt), kafka, store, registry)
        say(report.table().replace("\n", "\n  "))
        if tells(report):
            say(f"noticed: {report.verdict}")
            say(report.verdict.details(1).replace("\n", "\n  "))
            return True
        say("nothing happened, trying another seed")
    return False


def tells(report: Report) -> bool:
    """False triggers where decisions come too early, other people's where nobody shares a profile; losses otherwise: of
    decisions, or of what profiles hold.
    """
    verdict = report.verdict
    if report.plan.off == "household":
        return bool(verdict.different)
    if report.plan.off == "source-watermark":
        return bool(verdict.false)
    return bool(verdict.lost or verdict.profiles)
