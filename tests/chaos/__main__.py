"""`make chaos`: the long crash test, an emptied Redis, and what happens without each protection.

python -m tests.chaos [--seed N] [--events N] [--faults N] [--rate N] [--only WHAT]
python -m tests.chaos --soak MINUTES [--rate N]

Exit code 0: nothing was lost, false or doubled; the emptied Redis was refused; each missing protection was noticed.
What a run leaves (logs of workers and servers, events, report) is kept where it went wrong.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.plans import CRIPPLED, noticed
from tests.chaos.run import Plan, emptied, run
from tests.chaos.soak import soak
from tests.servers import SERVERS, KafkaServer, RedisServer, SchemaRegistry, both

WHAT = ("full", "emptied", *CRIPPLED)
HOLDS = 3
RATE, SOAK_RATE = 60, 1_500


def main() -> int:
    """All of it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="the same events and faults again (default: 1)")
    parser.add_argument("--events", type=int, default=20_000, help="how many (default: 20,000)")
    parser.add_argument("--faults", type=int, default=26, help="how many, each kind at least once (default: 26)")
    parser.add_argument("--rate", type=float, help=f"events a second (default: {RATE}; of a soak {SOAK_RATE:,})")
    parser.add_argument("--only", choices=WHAT, action="append", help="one part; may be given more than once")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="no faults: does a worker need more and more?")
    options = parser.parse_args()
    wanted = options.only or WHAT
    folder = SERVERS / "chaos" / time.strftime("%H%M%S")
    failed = []
    with both() as (kafka, store), SchemaRegistry() as registry:
        if options.soak:
            return soaked(options, folder, kafka, store, registry)
        for what in wanted:
            here = folder / what
            print(f"── {what}", flush=True)
            good = part(what, options, here, kafka, store, registry)
            if good:
                shutil.rmtree(here, ignore_errors=True)
            else:
                failed.append(what)
                print(f"  FAILED; logs, events and report: {here}", flush=True)
    print("chaos: " + (f"FAILED: {', '.join(failed)}" if failed else "all good"))
    return 1 if failed else 0


def part(
    what: str,
    options: argparse.Namespace,
    folder: Path,
    kafka: KafkaServer,
    store: RedisServer,
    registry: SchemaRegistry,
) -> bool:
    """One part; True when it went as it must."""
    if what == "emptied":
        try:
            for words in emptied(folder, kafka, store, registry):
                print(f"  refused: {words}")
        except AssertionError as problem:
            print(f"  {problem}")
            return False
        return True
    if what == "full":
        plan = Plan("full", options.seed, options.events, options.rate or RATE, kinds(options.seed, options.faults))
        report = run(plan, folder, kafka, store, registry, say)
        print(report.table(), flush=True)
        if not report.good:
            print(report.verdict.details())
        return report.good
    return noticed(what, options.seed, folder, kafka, store, registry, say)


def soaked(
    options: argparse.Namespace, folder: Path, kafka: KafkaServer, store: RedisServer, registry: SchemaRegistry
) -> int:
    """A soak; returns the exit code."""
    done = soak(options.soak, options.rate or SOAK_RATE, folder / "soak", kafka, store, registry, say)
    for problem in done.problems:
        print(f"  PROBLEM: {problem}")
    say(f"{done.series[-1].told:,} events, {done.decisions:,.0f} decisions")
    print("soak: " + (f"FAILED; logs: {folder}" if done.problems else "memory, descriptors and threads are flat"))
    return 1 if done.problems else 0


def kinds(seed: int, number: int) -> tuple[str, ...]:
    """Each kind at least once, holds three times, the rest by chance."""
    some = [*FAULTS, *["hold"] * (HOLDS - 1)]
    others = [kind for kind in FAULTS if kind != "hold"]
    return tuple(some + random.Random(f"kinds {seed}").choices(others, k=max(number - len(some), 0)))


def say(line: str) -> None:
    """Progress."""
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
