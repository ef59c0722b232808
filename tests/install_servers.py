"""Bring what tests/servers.py starts: Java, redis-server, Apache Kafka in .servers/kafka and its newest release in
.servers/kafka-newest, Apicurio's schema registry in .servers/registry; and what the documentation is tried with: in
.servers/java the jars of its producer, and promtool.

    python3 tests/install_servers.py
    python3 tests/install_servers.py clients              # instead: other people's clients, for tests/clients
    .venv/bin/python tests/install_servers.py compiler    # instead: what hatch_build.py needs for this very interpreter

Standard library only, since it may run first. Does nothing where everything is there; says each command it runs.
Programs come from apt (with sudo when not root), the servers from Maven Central, as pinned in tests/broker and below,
the clients from npm and PyPI, as pinned in tests/clients: into .clients (Python's) and tests/clients/node_modules.
"""

from __future__ import annotations

import fcntl
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
SERVERS = ROOT / ".servers"
KAFKA = ROOT / "tests" / "broker" / "pom.xml"
POMS = {"kafka": KAFKA, "kafka-newest": KAFKA, "java": ROOT / "tests" / "broker" / "producer.xml"}
VERSIONS = {"kafka-newest": "4.4.0"}  # of Kafka, instead of what the pom says
REGISTRY = "io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all"
CLIENTS = ROOT / "tests" / "clients"
DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:"
# -C: what doesn't have the checksum that Maven Central gives with it is refused.
MAVEN = ("mvn", "-B", "-q", "-C", "-Dstyle.color=never")

# Program -> Debian packages that bring it, the first that the distribution has. Kafka 4.1 runs on Java 17 and newer.
PACKAGES = {
    "redis-server": ("redis-server",),
    "javac": ("openjdk-17-jdk-headless", "openjdk-21-jdk-headless", "default-jdk-headless"),
    "mvn": ("maven",),
    "promtool": ("prometheus",),
    "node": ("nodejs",),
    "npm": ("npm",),
    "chromium": ("chromium",),
    "gcc": ("gcc",),
    "stdio.h": ("libc6-dev",),
    "Python.h": (f"python3.{sys.version_info.minor}-dev", "python3-dev"),
}
OLDEST_NODE = 20  # what the clients ask for
TRIES = 4


def main() -> None:
    if sys.argv[1:] == ["compiler"]:
        bring_compiler()
    elif sys.argv[1:] == ["clients"]:
        bring_clients()
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
    wanted = {name: pom.read_text() + VERSIONS.get(name, "") for name, pom in POMS.items()} | {"registry": REGISTRY}
    absent = [name for name, what in wanted.items() if not stands(name, what)]
    needed = ["redis-server", "javac", "promtool"] + (["mvn"] if absent else [])
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        install(missing)
    for name in absent:
        bring(name, wanted[name])


def bring_clients() -> None:
    """Node's and Python's, each where its own tool puts them; Chromium for those of browsers. No package's own script
    is run.
    """
    missing = [program for program in ("node", "npm", "chromium") if shutil.which(program) is None]
    if missing:
        install(missing)
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        raise SystemExit(f"the clients need Node {OLDEST_NODE} or newer, this is {version}: install one by hand")
    lock, mark = CLIENTS / "package-lock.json", CLIENTS / "node_modules" / ".complete"
    if not mark.exists() or mark.read_text() != lock.read_text():
        retry(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], CLIENTS)
        mark.write_text(lock.read_text())
    lock, mark = CLIENTS / "requirements.lock", ROOT / ".clients" / "complete"
    if not mark.exists() or mark.read_text() != lock.read_text():
        retry([sys.executable, "-m", "venv", "--clear", str(mark.parent)])
        pip = [str(mark.parent / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        retry([*pip, "install", "--require-hashes", "-r", str(lock)])
        mark.write_text(lock.read_text())


def stands(name: str, what: str) -> bool:
    """Whether .servers/NAME is complete, and is what is pinned now."""
    mark = SERVERS / name / "complete"
    return mark.exists() and mark.read_text() == what


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
    SERVERS.mkdir(exist_ok=True)
    with (SERVERS / "apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `make test` brings several things side by side, and apt-get runs alone
        retry([*prefix, "apt-get", "-q", "update"])
        packages = [next(filter(known, PACKAGES[program]), PACKAGES[program][-1]) for program in programs]
        retry([*prefix, "apt-get", "-qq", "install", "-y", "--no-upgrade", "--no-install-recommends", *packages])


def known(package: str) -> bool:
    """Whether this distribution has the package."""
    return subprocess.run(["apt-cache", "show", package], capture_output=True).returncode == 0


def bring(name: str, what: str) -> None:
    """By Maven; `complete` is written last, so that a broken copy is never taken for a whole one."""
    folder = SERVERS / name
    shutil.rmtree(folder, ignore_errors=True)
    SERVERS.mkdir(exist_ok=True)
    if name == "registry":
        goal = [f"{DEPENDENCY}unpack", f"-Dartifact={REGISTRY}"]
    else:
        goal = ["-f", str(POMS[name]), f"{DEPENDENCY}copy-dependencies", "-DincludeScope=runtime"]
        goal += [f"-Dkafka.version={VERSIONS[name]}"] if name in VERSIONS else []
    # Maven marks what it has unpacked below where it runs, and doesn't unpack it again.
    retry([*MAVEN, *goal, f"-DoutputDirectory={folder}", "-Dmdep.overWriteReleases=true"], SERVERS)
    (folder / "complete").write_text(what)


def retry(command: Sequence[str], folder: Path | None = None) -> None:
    """Run, and run again after 5, 10, 20 s: networks have bad minutes."""
    for tries in range(1, TRIES + 1):
        print("+", *command, flush=True)
        if subprocess.run(command, cwd=folder).returncode == 0:
            return
        if tries < TRIES:
            pause = 5 * 2 ** (tries - 1)
            print(f"  failed, again in {pause} s ({tries} of {TRIES})", file=sys.stderr, flush=True)
            time.sleep(pause)
    raise SystemExit(f"failed {TRIES} times: {' '.join(command)}")


if __name__ == "__main__":
    main()
