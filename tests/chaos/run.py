"""One crash run from its plan to its report."""

from __future__ import annotations

import random
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.faults import FAULTS, NOBODY_READS
from tests.chaos.rig import Books, Ending, Feeder, Rig, Strike, last_words
from tests.chaos.stream import LATENESS, stream
from tests.chaos.verdict import Expected, Verdict, expect, judge
from tests.deployment import Deployment
from tests.servers import KafkaServer, RedisServer, SchemaRegistry
from tests.whole import switch_on

TERMINATED = -15  # asked to end before it had begun: nothing was claimed yet


@dataclass(frozen=True)
class Plan:
    """`faults`: kinds, in any order; `rate`: events a second; `off`: the protection that the workers lack."""

    name: str
    seed: int
    events: int
    rate: float
    faults: tuple[str, ...]
    off: str | None = None
    hold_s: float = 2.0
    patience_s: float = 120.0

    def moments(self) -> list[tuple[int, str]]:
        """(after how many events, kind): the faults in random order at random moments."""
        r = random.Random(f"faults {self.seed}")
        kinds = r.sample(self.faults, len(self.faults))
        at = sorted(r.randrange(self.events // 20, self.events * 18 // 20) for _ in kinds)
        return list(zip(at, kinds, strict=True))


@dataclass
class Report:
    """What happened."""

    plan: Plan
    persons: int
    ties: int
    logins: int
    expected: Expected
    strikes: list[Strike]
    endings: list[Ending]
    held: list[int]
    exit_codes: list[int]
    verdict: Verdict
    seconds: float
    folder: Path
    stuck: str | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether a run with all protections may look like this."""
        return self.verdict.good and self.stuck is None and not self.problems

    def table(self) -> str:
        """For people."""
        v, plan = self.verdict, self.plan
        out = [
            f"{plan.name}: {plan.events:,} events of {self.persons} persons in {self.seconds:.0f} s, seed {plan.seed}"
            + (f", WITHOUT {plan.off}" if plan.off else ""),
            "",
            f"  {'fault':<12}{'times':>6}{'back after, median':>22}{'longest':>10}",
        ]
        for kind, times in sorted(Counter(s.kind for s in self.strikes).items()):
            took = [s.recovered - s.over for s in self.strikes if s.kind == kind and s.recovered is not None]
            median = f"{statistics.median(took):.1f} s" if took else "never"
            out.append(f"  {kind:<12}{times:>6}{median:>22}{f'{max(took):.1f} s' if took else '':>10}")
        out += ["", "  (back: everything fed by the fault's end was decided as far as its time had come)", ""]
        outcomes = ", ".join(f"{n} {what}" for what, n in sorted(v.outcomes.items()))
        rows = [
            ("ties received between D and D + lateness", f"{self.ties}"),
            ("logins on shared devices", f"{self.logins}"),
            ("partitions held back", ", ".join(f"{ms / 60_000:.0f} min" for ms in self.held) or "none"),
            ("records that were no events", f"{v.refused}"),
            ("decisions (replay)", f"{v.decisions} ({len(self.expected.decisions)})"),
            ("of them", outcomes),
            ("changes of segments (replay)", f"{v.changes} ({len(self.expected.changes)})"),
            ("triggers by replay", f"{len(self.expected.triggers)}"),
            ("decisions published more than once", f"{v.duplicates}"),
            ("profiles", f"{len(self.expected.profiles)}"),
            ("workers that ended by themselves", f"{len(self.endings)}"),
        ]
        out += [f"  {name:<42} {value}" for name, value in rows]
        out += [f"    {e.worker}: exit {e.code}: {e.said}" for e in self.endings]
        if self.stuck:
            out.append(f"  STUCK: {self.stuck}")
        out += [f"  PROBLEM: {problem}" for problem in self.problems]
        out.append(f"  {'result':<42} {v}")
        return "\n".join(out)


def run(
    plan: Plan,
    folder: Path,
    kafka: KafkaServer,
    store: RedisServer,
    registry: SchemaRegistry,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Feed, break, compare."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    made = stream(plan.seed, plan.events)
    files = made.write(folder)
    with Deployment(folder, plan.name, kafka.bootstrap, store.url, registry, switch_on) as deployment:
        deployment.run("topics")
        rig = Rig(deployment, kafka, store, made.events, plan.rate, plan.seed, plan.off, plan.hold_s, say)
        expected = expect(deployment, files, rig.feeder.through)
        stuck = None
        with rig.running():
            for at, kind in plan.moments():
                rig.wait_fed(at)
                rig.strike(kind, lambda kind=kind: FAULTS[kind](rig))  # type: ignore[misc]
            stuck = rig.finish(plan.patience_s)
            if stuck is None:
                time.sleep(0.6)  # let the watcher see the end
        codes = rig.supervisor.stop()
        report = Report(
            plan,
            made.persons,
            expected.ties(made.ties),
            made.logins,
            expected,
            rig.watcher.strikes,
            rig.supervisor.endings,
            rig.held,
            codes,
            judge(deployment, expected, rig.foreign),
            time.monotonic() - began,
            folder,
            stuck,
        )
    report.problems += _problems(report, rig.joined)
    for server in (kafka, store):
        shutil.copy(server.log, folder / f"{server.name}.log")
    (folder / "report.txt").write_text(report.table() + "\n\n" + report.verdict.details(50) + "\n")
    return report


def _problems(report: Report, joined: list[int]) -> list[str]:
    """What a good run must not show beside its verdict."""
    codes = report.exit_codes + joined
    found = [f"a worker that was asked to end did so with exit code {c}" for c in codes if c not in (0, TERMINATED)]
    found += [f"a partition was held back by {ms} ms only" for ms in report.held if ms <= LATENESS]
    for ending in report.endings:
        # What a supervisor is there for. Anything else, lost state say, is a fault of ours.
        meant = "has stood at offset" in ending.said or NOBODY_READS in ending.said
        if ending.code not in (1, 2) or (ending.code == 2 and not meant):
            found.append(f"{ending.worker} ended with {ending.code}: {ending.said}")
    return found


def emptied(folder: Path, kafka: KafkaServer, store: RedisServer, registry: SchemaRegistry) -> list[str]:
    """Redis loses everything under a live worker; then a fresh one is started. Their last words.

    Raises AssertionError where one of them goes on, or ends without saying what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"emptied-{random.randrange(1 << 30):x}"
    with Deployment(folder, name, kafka.bootstrap, store.url, registry) as deployment:
        deployment.run("topics")
        feeder, books = Feeder(deployment.topology, stream(1, 2_000).events, 100), Books(deployment.topology)
        said = []
        live = deployment.worker()
        live.expected_end = True
        live.wait_ready(90)
        feeder.start()
        deadline = time.monotonic() + 60
        while (feeder.fed < 500 or not books.clock()) and time.monotonic() < deadline:
            feeder.check()
            time.sleep(0.1)
        books.client.flushall()
        for worker in (live, None):
            worker = worker or deployment.worker()
            worker.expected_end = True
            code = worker.process.wait(90)
            assert code == 2, f"exit {code} on an empty Redis:\n{worker.tail()}"
            words = last_words(worker)
            for said_so in ("Redis has no state for it", "Restore"):
                assert said_so in words, words
            said.append(words)
        feeder.stop()
    return said
