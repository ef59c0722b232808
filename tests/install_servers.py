"""Bring what tests/servers.py starts: Java, redis-server, and Apache Kafka's jars in .servers/kafka.

    python3 tests/install_servers.py
    .venv/bin/python tests/install_servers.py compiler    # what hatch_build.py needs for this very interpreter, instead

Standard library only, since it may run first. Does nothing where everything is there; says each command it runs.
Programs come from apt (with sudo when not root), jars from Maven Central as tests/broker/pom.xml pins them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JARS = ROOT / ".servers" / "kafka"
POM = ROOT / "tests" / "broker" / "pom.xml"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

# Program -> Debian packages that bring it, the first that the distribution has. Kafka 4.1 runs on Java 17 and newer.
PACKAGES = {
    "redis-server": ("redis-server",),
    "java": ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "default-jre-headless"),
    "mvn": ("maven",),
    "gcc": ("gcc",),
    "stdio.h": ("libc6-dev",),
    "Python.h": (f"python3.{sys.version_info.minor}-dev", "python3-dev"),
}
TRIES = 4


def main() -> None:
    if sys.argv[1:] == ["compiler"]:
        bring_compiler()
    else:
        bring_servers()


def bring_compiler() -> None:
    """A C compiler and Python's headers. Those of a Python that isn't Debian's own came with it, or are nowhere."""
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    missing = [] if shutil.which(compiler) else ["gcc", "stdio.h"]
    if not header.exists():
        if not header.is_relative_to("/usr/include"):
            raise SystemExit(f"{sys.executable} has no {header}: install a Python that has its headers")
        missing.append("Python.h")
    if missing:
        install(missing)


def bring_servers() -> None:
    jars_stand = (JARS / "complete").exists() and (JARS / "complete").read_text() == POM.read_text()
    needed = ["redis-server", "java"] if jars_stand else ["redis-server", "java", "mvn"]
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        install(missing)
    if not jars_stand:
        bring_jars()


def install(programs: Sequence[str]) -> None:
    """apt-get install what is not there: it upgrades nothing and starts no service that a package brings."""
    names = ", ".join(programs)
    if shutil.which("apt-get") is None:
        raise SystemExit(f"install {names} by hand: this script knows apt-get only")
    root = os.geteuid() == 0
    if not root and shutil.which("sudo") is None:
        raise SystemExit(f"not root and no sudo: install {names} by hand")
    # A package's Redis on port 6379 is nobody's wish here: RUNLEVEL=1 tells invoke-rc.d to start nothing.
    prefix = [*([] if root else ["sudo"]), "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    retry([*prefix, "apt-get", "-q", "update"])
    packages = [next(filter(known, PACKAGES[program]), PACKAGES[program][-1]) for program in programs]
    retry([*prefix, "apt-get", "-qq", "install", "-y", "--no-upgrade", "--no-install-recommends", *packages])


def known(package: str) -> bool:
    """Whether this distribution has the package."""
    return subprocess.run(["apt-cache", "show", package], capture_output=True).returncode == 0


def bring_jars() -> None:
    """Copy the broker's jars; `complete` is written last, so that a broken copy is never taken for a whole one."""
    shutil.rmtree(JARS, ignore_errors=True)
    options = [f"-DoutputDirectory={JARS}", "-DincludeScope=runtime", "-Dstyle.color=never"]
    retry(["mvn", "-B", "-q", "-f", str(POM), COPY, *options])
    (JARS / "complete").write_text(POM.read_text())


def retry(command: Sequence[str]) -> None:
    """Run, and run again after 5, 10, 20 s: networks have bad minutes."""
    for tries in range(1, TRIES + 1):
        print("+", *command, flush=True)
        if subprocess.run(command).returncode == 0:
            return
        if tries < TRIES:
            pause = 5 * 2 ** (tries - 1)
            print(f"  failed, again in {pause} s ({tries} of {TRIES})", file=sys.stderr, flush=True)
            time.sleep(pause)
    raise SystemExit(f"failed {TRIES} times: {' '.join(command)}")


if __name__ == "__main__":
    main()
