"""A checkout of an older commit of this repository, as a worker's launcher.

    checkout = older.checkout("a5f5679...", folder)
    deployment.worker(launcher=older.exact(checkout))

It runs in plain Python, without compiled modules: that decides the same, and is there at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Before everything that the interpreter finds by itself: all else that is imported is ours.
_RUN = """import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module(sys.argv.pop(1), {}, "__main__", True)"""


BEFORE = "a5f56792c506cb7b854c6d22f5d2dc97c39cf8c8"
FORMAT_2 = "3d30b5ac14d624dd80422a650f6cdbf48543da84"
NEEDING = ("flow/test_upgrade.py", "flow/test_conversion.py", "property/test_format_2.py")
"""Tests, below tests/, that need the history of this repository."""


class NoSuchCommit(AssertionError):
    """This clone doesn't hold the commit: the test can't be run, and must not count as passed."""


def has_history() -> bool:
    """Whether this clone knows its past, if need be after asking where it came from."""
    if _git("rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        _git("fetch", "--quiet", "--unshallow")
    return all(_git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0 for commit in (BEFORE, FORMAT_2))


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path]:
    """A worktree of it below `folder`, for the length of a `with` block."""
    where = folder / f"checkout-{commit[:7]}"
    found = _git("cat-file", "-e", f"{commit}^{{commit}}")
    if found.returncode != 0:
        raise NoSuchCommit(
            f"this clone has no commit {commit}, from which an upgrade is tested: is it a shallow one, or no clone?"
            f" `git fetch --unshallow` (CI: check out with fetch-depth 0). git says: {found.stderr.strip()}"
        )
    made = _git("worktree", "add", "--detach", "--force", str(where), commit)
    assert made.returncode == 0, made.stderr
    try:
        yield where
    finally:
        _git("worktree", "remove", "--force", str(where))


def launcher(checkout: Path, module: str = "pipeline.cli", *arguments: str) -> list[str]:
    """What stands before a command of that version: a module of it, run as a script."""
    return [sys.executable, "-c", _RUN, str(checkout), module, *arguments]


def exact(checkout: Path) -> list[str]:
    """A worker without the memory of logins that are repeated: what that version decides is exactly what is meant."""
    return launcher(checkout, "tests.chaos.crippled", "repeats")


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
