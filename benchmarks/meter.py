"""What a process costs, read from /proc while it runs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import redis

TICK = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """`events` done; wall clock and CPU in seconds."""

    events: float
    wall: float
    worker: float
    redis: float
    broker: float


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_rss_mb(pid: int) -> float:
    """The most memory that a process ever held (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/status says nothing of VmHWM: the process has ended")


def data_bytes(client: redis.Redis) -> int:
    """Of what is stored in Redis. It keeps 25 kB of latencies a command, from when that is first called: they are
    nobody's, and would count for whoever is measured first, 30 bytes an identity of 20,000.
    """
    client.config_resetstat()
    return int(client.info("memory")["used_memory_dataset"])


class Meter:
    """Takes samples of one worker and its servers."""

    def __init__(self, worker: int, redis: int, broker: int) -> None:
        self._pids = worker, redis, broker
        self.samples: list[Sample] = []

    def take(self, events: float) -> Sample:
        """One sample, now."""
        worker, redis, broker = map(cpu_seconds, self._pids)
        sample = Sample(events, time.monotonic(), worker, redis, broker)
        self.samples.append(sample)
        return sample


def cost(start: Sample, end: Sample) -> dict[str, float]:
    """CPU µs an event of each, and events a second, between two samples."""
    events = end.events - start.events
    return {
        "worker_cpu_us_per_event": round((end.worker - start.worker) / events * 1e6, 1),
        "redis_cpu_us_per_event": round((end.redis - start.redis) / events * 1e6, 1),
        "broker_cpu_us_per_event": round((end.broker - start.broker) / events * 1e6, 1),
        "events_per_second": round(events / (end.wall - start.wall)),
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout.split()
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "redis": next((word.removeprefix("v=") for word in redis if word.startswith("v=")), "unknown"),
    }
