"""How a worker ends: asked to, and although something hangs."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time

import pytest

from pipeline.runtime.app import EXIT_FATAL
from tests.contract.toy import Store, Toy, close, prepare, produce, topology, unstarted, until
from tests.servers import ROOT, KafkaServer

PROCESS = """
import asyncio, logging, sys
from tests.contract.toy import Store, Toy, topology
from pipeline.runtime.app import Worker, run_process

class Loud(Toy):
    async def resolve_identity(self, tp, records):
        print("began", flush=True)
        await super().resolve_identity(tp, records)
        print("ended", flush=True)
    async def stop(self):
        print("stopped", flush=True)

async def make():
    return Worker(topology(sys.argv[1], sys.argv[2]), Loud(Store(), delay_s=1.0))

sys.exit(run_process(make))
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_batch_in_hand_end_and_leaves_the_group(
    kafka: KafkaServer, prefix: str, signum: signal.Signals
) -> None:
    topo = topology(kafka.bootstrap, prefix)
    asyncio.run(prepare(topo))
    asyncio.run(produce(topo, 1))
    command = [sys.executable, "-c", PROCESS, kafka.bootstrap, prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        process.send_signal(signum)
        began = time.monotonic()
        assert process.stdout.read() == "ended\nstopped\n"
        assert process.wait(20) == 0
        assert time.monotonic() - began < 10
    admin = kafka.admin()  # must outlive its futures
    members = admin.describe_consumer_groups([topo.group])[topo.group].result(timeout=10).members
    assert members == []  # it has left: nobody waits for a session timeout


HANGS = """
import sys
from pipeline.runtime import app
from tests.contract.toy import Store, Toy, topology

app.END_S = 1.0

class Hanging(Toy):
    async def tick(self):
        print("ticking", flush=True)
    async def stop(self):
        await app.asyncio.Event().wait()

async def make():
    return app.Worker(topology(sys.argv[1], sys.argv[2]), Hanging(Store()), drain_s=0.5)

sys.exit(app.run_process(make))
"""


def test_an_orderly_end_that_hangs_ends_the_process_all_the_same(kafka: KafkaServer, prefix: str) -> None:
    asyncio.run(prepare(topology(kafka.bootstrap, prefix)))
    command = [sys.executable, "-c", HANGS, kafka.bootstrap, prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ticking\n"
        process.send_signal(signal.SIGTERM)
        try:
            _, said = process.communicate(timeout=15)
        finally:
            process.kill()
        assert process.returncode == EXIT_FATAL
    assert "the orderly end took too long" in said
    assert "most recent call first" in said  # where it hung


def test_a_tick_that_swallows_its_cancellation_does_not_keep_a_worker_that_ends() -> None:
    class Stubborn(Toy):
        async def tick(self) -> None:
            self.ticks += 1
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                pass

    async def main() -> None:
        toy = Stubborn(Store())
        worker = unstarted(toy)
        ticking = asyncio.create_task(worker._tick())
        await until(lambda: toy.ticks, "a tick")
        worker.end()
        ticking.cancel()
        done, _ = await asyncio.wait([ticking], timeout=2)
        assert done
        close(worker)

    asyncio.run(main())
