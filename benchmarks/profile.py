"""Ours under py-spy: which lines the worker spends its time in, and which commands Redis."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.backlog import TOPIC, fill, measure
from benchmarks.contestants import OUT, Ours, servers
from benchmarks.generate import Workload
from benchmarks.meter import TICK

PACKAGE = "py-spy==0.4.1"


class Watched(Ours):
    """Ours; notes what each thread, and each command of Redis, took between two moments."""

    before: dict[str, float]
    after: dict[str, float]
    commands: dict[str, dict[str, float]]

    def working(self) -> bool:
        """Noted until it does."""
        self.before = self._threads()
        return super().working()

    def settled(self) -> bool:
        """Noted until the end."""
        self.after, self.commands = self._threads(), self.servers.client.info("commandstats")
        return super().settled()

    def _threads(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                stat = (task / "stat").read_text()
            except OSError:  # it has just ended
                continue
            name, _, rest = stat.partition("(")[2].rpartition(")")
            fields = rest.split()
            found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICK
        return found


class Spied(Ours):
    """Ours, watched from its first record to its end."""

    raw: Path
    spy: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start both."""
        super().start()
        spy = str(Path(sys.executable).with_name("py-spy"))
        command = [
            spy,
            "record",
            "--pid",
            str(self.pid),
            "-r",
            "200",
            "--gil",
            "--nonblocking",
            "-f",
            "raw",
            "-o",
            str(self.raw),
        ]
        self.spy = subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL)


def profile(workload: Workload) -> None:
    """Run once and print. py-spy is installed where it is missing; it needs the right to trace a child."""
    if not Path(sys.executable).with_name("py-spy").exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    raw = OUT / "profile.raw"
    raw.unlink(missing_ok=True)
    with servers() as on:
        fill(on, TOPIC, workload)
        ours = Watched(on, TOPIC, workload.total)
        run = measure(on, ours, workload, 900)
        worker, store = run["worker_cpu_us_per_event"], run["redis_cpu_us_per_event"]
        print(f"worker {worker} + Redis {store} µs an event, unprofiled")
        print("\nthreads of the worker, µs an event")
        for name, seconds in sorted(ours.after.items(), key=lambda item: -item[1])[:10]:
            share = (seconds - ours.before.get(name, 0.0)) / workload.total * 1e6
            print(f"  {share:7.2f}  {name}")
        print("\nRedis, µs an event by command")
        for name, each in sorted(ours.commands.items(), key=lambda item: -item[1]["usec"])[:12]:
            calls = each["calls"]
            print(f"  {each['usec'] / workload.total:7.2f}  {name.removeprefix('cmdstat_'):22} {calls:9,} calls")
        spied = Spied(on, TOPIC, workload.total)
        spied.raw = raw
        measure(on, spied, workload, 900)
        spied.spy.wait(60)
    report(raw)


def report(raw: Path, top: int = 45) -> None:
    """Shares of samples by thread, by function with what it calls, and by line alone."""
    inside: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    threads: Counter[str] = Counter()
    total = 0
    for line in raw.read_text(errors="replace").splitlines():
        stack, _, count = line.rpartition(" ")
        if not count.isdigit():
            continue  # no stack and a count: a few lines of thousands come out broken
        if "importlib._bootstrap" in stack:
            continue  # the worker starts
        frames = stack.split(";")
        total += int(count)
        threads[frames[0]] += int(count)
        alone[frames[-1]] += int(count)
        for name in {frame.rpartition(":")[0] or frame for frame in frames}:
            inside[name] += int(count)
    for title, counter in (("thread or first frame", threads), ("function and what it calls", inside), ("line", alone)):
        print(f"\n% of samples by {title}")
        for name, count in counter.most_common(top):
            print(f"  {100 * count / total:5.1f}  {name}")
