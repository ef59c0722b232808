"""Do two checkouts decide the same? To the byte, ids included.

    python -m tests.same ../before                      8,000 generated histories, all cases, the otto sessions
    python -m tests.same ../before --histories 500

Each checkout is run by its own `.venv`, from its own directory, over one set of inputs, made here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import otto
from tests.oracle.histories import history

ROOT = Path(__file__).parents[1]
KINDS: tuple[dict[str, bool], ...] = (
    {},
    {"segment": False},
    {"shared_devices": True},
    {"shared_devices": True, "handed_round": True},
    {"behind": True, "segment": False},
    {"real": True},
    {"real": True, "shared_devices": True, "behind": True},
    {"real": True, "segment": False},
)
# What runs inside of a checkout: an input a line, what is decided of it a line.
DECIDE = """
import json, sys
from tests.replayed import replayed
for line in sys.stdin:
    print(json.dumps(replayed(json.loads(line)), sort_keys=True))
"""


def histories(number: int) -> Iterator[str]:
    """A history a line."""
    for seed in range(number):
        yield json.dumps(history(seed, **KINDS[seed % len(KINDS)])) + "\n"


def recordings(folder: Path) -> list[Path]:
    """Files for `pipeline replay`."""
    cases = sorted((ROOT / "tests" / "data" / "cases").glob("*.jsonl"))
    return [otto.write(folder / "otto.jsonl"), *cases]


def of_histories(checkout: Path, file: Path) -> list[str]:
    """What a checkout decides, a line a history."""
    with file.open() as told:
        command = [str(checkout / ".venv" / "bin" / "python"), "-c", DECIDE]
        done = subprocess.run(command, cwd=checkout, stdin=told, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def of_recording(checkout: Path, file: Path) -> str:
    """What it prints, and how it ends."""
    command = [str(checkout / ".venv" / "bin" / "python"), "-m", "pipeline.cli", "replay", str(file)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    return f"{done.stdout}\nexit code {done.returncode}"


def main(arguments: list[str] | None = None) -> int:
    """0: they do."""
    parser = argparse.ArgumentParser(prog="python -m tests.same", description="Do two checkouts decide the same?")
    parser.add_argument("other", type=Path, help="another checkout, with a .venv of its own (make .venv/.dev)")
    parser.add_argument("--histories", type=int, default=8_000)
    options = parser.parse_args(arguments)
    other = options.other.resolve()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "histories.jsonl"
        with file.open("w") as out:
            out.writelines(histories(options.histories))
        ours, theirs = of_histories(ROOT, file), of_histories(other, file)
        decisions = sum(len(json.loads(line)) for line in ours)
        wrong = [
            f"history {seed} {KINDS[seed % len(KINDS)]}"
            for seed, pair in enumerate(zip(ours, theirs, strict=True))
            if pair[0] != pair[1]
        ]
        print(f"{len(ours)} histories, {decisions} decisions: {len(wrong)} differ", flush=True)
        files = recordings(Path(folder))
        odd = [path.name for path in files if of_recording(ROOT, path) != of_recording(other, path)]
        print(f"{len(files)} recordings: {len(odd)} differ")
    for name in [*wrong[:20], *odd[:20]]:
        print(f"  differs: {name}")
    return 1 if wrong or odd else 0


if __name__ == "__main__":
    sys.exit(main())
