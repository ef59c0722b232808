"""A server of somebody else's as a child process: started, killed, frozen, thrown away."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
SERVERS = ROOT / ".servers"

# Below the range from which the kernel takes the ports of outgoing connections: a server that restarts must find its
# port free, and nobody else's connection may sit on it meanwhile.
PORTS = range(20_000, 32_000)
HOST = "127.0.0.1"


class ServerFailed(Exception):
    """A server did not start or did not stop; the message ends with the last lines of its log."""


def free_port() -> int:
    """A TCP port on which nobody listens now."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def listens(port: int) -> bool:
    """Whether somebody answers on a TCP port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


class Server:
    """One child process with a data directory, a log and a readiness check.

    `cpus`: a CPU list as `taskset -c` takes it ("0", "0,1"), None for all.
    """

    name = "server"
    ports: tuple[int, ...] = ()
    start_timeout = 60.0
    stop_timeout = 30.0

    def __init__(self, *, cpus: str | None = None) -> None:
        self.cpus = cpus
        self.dir = SERVERS / "data" / f"{self.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.log = self.dir / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running: call start() first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives (a stopped one, SIGSTOP, lives)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start, on the data that is there, and return when the server answers."""
        if self.running:
            raise ServerFailed(f"{self.name} runs already (pid {self.pid})")
        for port in self.ports:
            if listens(port):
                # Otherwise the stranger would answer in its place.
                raise ServerFailed(f"{self.name} can't start: somebody else listens on {HOST}:{port}")
        if not self.dir.exists():
            self.dir.mkdir(parents=True)
            self._prepare()
        command = self._command()
        if self.cpus is not None:
            command = ["taskset", "-c", self.cpus, *command]
        with self.log.open("ab") as log:
            # A session of its own: ^C in the terminal reaches the test run, which then stops its servers in order.
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.dir, start_new_session=True)
        atexit.register(self.kill)
        self._wait(self._answers, self.start_timeout, "did not answer")
        return self

    def stop(self) -> None:
        """Stop in order (SIGTERM); data and ports stay. Nothing happens when it isn't running."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(
                f"{self.name} did not stop within {self.stop_timeout:g} s, killed\n{self._tail()}"
            ) from None
        self._gone()

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL); data and ports stay."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._gone()

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) and start again on the same data and ports."""
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def sigstop(self) -> None:
        """Freeze the process: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def sigcont(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its data. May be called twice."""
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self if self.running else self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # What a kind of server fills in.

    def _prepare(self) -> None:
        """Make a fresh data directory ready."""

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    # Helpers.

    def _gone(self) -> None:
        self._process = None
        atexit.unregister(self.kill)

    def _wait(self, ready: Callable[[], bool], seconds: float, complaint: str) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self._process is not None and self._process.poll() is not None:
                code = self._process.returncode
                self._gone()
                raise ServerFailed(f"{self.name} ended with exit code {code} while starting\n{self._tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self.name} {complaint} within {seconds:g} s\n{self._tail()}")
            time.sleep(0.05)

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"last lines of {self.log}:", *lines[-20:]])
