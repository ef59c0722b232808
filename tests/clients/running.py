"""Other people's clients, unmodified, each run by a script beside this file that prints what it was asked to send.

said = run("segment_python", "http://127.0.0.1:8000", "wk_shop", "seed")
said.client   # "segment-analytics-python 2.4.0"
said.asked    # what the client was asked to send, in its own words
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PYTHON = ROOT / ".clients" / "bin" / "python"
CLIENTS = sorted(path.stem for path in [*HERE.glob("*_python.py"), *HERE.glob("*_node.mjs"), *HERE.glob("*_next.mjs")])
NEWER = {"v1_posthog_python": "posthog_python", "v1_posthog_node": "posthog_node"}
"""Those that speak another protocol as well, where their environment says so."""


class Said(NamedTuple):
    """`client`: its name and version. `asked`: each event as it was handed to the client."""

    client: str
    asked: list[dict[str, Any]]


def run(name: str, base: str, key: str, seed: str) -> Said:
    """A client's whole repertoire against `base`. Fails where the client says that it could not send something."""
    done = start(name, base, key, seed)
    assert done.returncode == 0, f"{name}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    told = json.loads(done.stdout)
    assert not told.get("failed"), f"{name} could not send: {told['failed']}\n{done.stderr}"
    return Said(told["client"], told["asked"])


def start(
    name: str, base: str, key: str, seed: str, env: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """The same to its end, whatever comes of it."""
    if name in NEWER:
        name, env = NEWER[name], {**env, "POSTHOG_CAPTURE_MODE": "v1"}
    script = HERE / f"{name}.py"
    command = [PYTHON, script] if script.exists() else ["node", HERE / f"{name}.mjs"]
    return subprocess.run([*command, base, key, seed], env=env, capture_output=True, text=True, timeout=180)
