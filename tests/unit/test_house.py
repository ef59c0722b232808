"""What holds of all modules: no circles, and every exception that somebody may have to know of in one place."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

from pipeline import errors

ROOT = Path(__file__).parents[2]
TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text("utf-8"))
    for room in ("pipeline", "benchmarks", "tests")
    for path in sorted((ROOT / room).rglob("*.py"))
}


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules of ours, wherever in the file, also for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{name.name}" for name in node.names]
            known = [module for module in modules if module in TREES]
            yield from known
            if len(known) < len(modules):
                yield node.module


@pytest.mark.parametrize("room", ["pipeline", "benchmarks", "tests"])
def test_no_module_needs_itself(room: str) -> None:
    graph = {
        name: [other for other in imported(tree) if other in TREES and other != name]
        for name, tree in TREES.items()
        if name.split(".")[0] == room
    }
    assert sum(map(len, graph.values())) > 20
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        raise AssertionError(f"a circle: {' -> '.join(found.args[1])}") from None


def test_worker_and_replay_go_by_the_map() -> None:
    """What the second hop does to a profile it does by the verbs of flow.py."""
    verbs = {"advance", "merge", "receive", "receive_all", "receive_packed", "settle", "told_now", "wakes_at"}
    beside = [
        f"{name}: {alias.name}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if name.startswith("pipeline.runtime") and isinstance(node, ast.ImportFrom)
        if (node.module or "").startswith("pipeline.profile")
        for alias in node.names
        if alias.name in verbs
    ]
    assert beside == []
    assert {"pipeline.runtime.replay", "pipeline.runtime.second_hop"} <= {
        name for name, tree in TREES.items() if "pipeline.flow" in {*imported(tree)}
    }


def exceptions(module: ModuleType) -> set[str]:
    return {name for name, kind in vars(module).items() if isinstance(kind, type) and issubclass(kind, BaseException)}


def test_every_exception_stands_with_the_others_and_in_their_tree() -> None:
    """But those that never leave the module that raises them: their names begin with an underscore."""
    ours = exceptions(errors)
    assert len(ours) > 20
    known = ours | exceptions(builtins)
    elsewhere = [
        f"{name}.{node.name}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if name.startswith("pipeline.") and name != "pipeline.errors" and isinstance(node, ast.ClassDef)
        if {base.id for base in node.bases if isinstance(base, ast.Name)} & known and not node.name.startswith("_")
    ]
    assert elsewhere == []
    drawn = (errors.__doc__ or "").split()
    assert {name for name in ours if name not in drawn} == set()
