"""topology.yaml: the one file a deployer edits, read into plain values or into a list of what is wrong with it.

topology = load("topology.yaml")          # TopologyError lists every finding
for finding in lint("topology.yaml"):     # warnings too
    print(finding)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import TopologyError
from pipeline.grammar.findings import Finding
from pipeline.grammar.reader import Reader
from pipeline.topology import build
from pipeline.topology.check import check
from pipeline.topology.environment import VARIABLES, override, write_keys
from pipeline.topology.grammar import document
from pipeline.topology.include import include
from pipeline.topology.model import Topology
from pipeline.topology.switched import Rehearsal

__all__ = ["VARIABLES", "Finding", "Rehearsal", "Topology", "lint", "load", "rehearsal"]


def load(path: str | Path, env: Mapping[str, str] = os.environ) -> Topology:
    """Read a topology; variables in `env` (see VARIABLES) win over the file. Raises TopologyError with every error."""
    return build.topology(_sound(path, env))


def rehearsal(path: str | Path, env: Mapping[str, str] = os.environ) -> Rehearsal:
    """The topology, and the same with every rule and segment switched on. Raises TopologyError with every error."""
    values = _sound(path, env)
    return Rehearsal(build.topology(values), build.topology(values, everything=True))


def lint(path: str | Path, env: Mapping[str, str] = os.environ) -> list[Finding]:
    """Everything that is wrong (`error`), doubtful (`warning`) or good to know (`note`): the environment's, then the
    topology's and those of the files that it includes, in their order.
    """
    return _read(path, env)[1]


def _sound(path: str | Path, env: Mapping[str, str]) -> dict[str, Any]:
    values, findings = _read(path, env)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise TopologyError("\n".join(str(finding) for finding in errors))
    return values


def _read(path: str | Path, env: Mapping[str, str]) -> tuple[dict[str, Any], list[Finding]]:
    reader = Reader(str(path))
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"can't be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"
        reader.report((), "no-file", f"the topology {what}", "name another file, or copy the one of the project")
        return {}, reader.findings
    values = reader.read(text, document())
    files = [str(path)]
    if isinstance(values, dict):
        override(values, env, reader)
        write_keys(values, env, reader)
        files += include(values, reader)
        check(values, reader)

    def place(each: Finding) -> tuple[int, int, int, Finding]:
        file = files.index(each.file) if each.file in files else -1
        return file, each.line, each.column, each

    return values or {}, sorted(set(reader.findings), key=place)
