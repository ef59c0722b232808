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
Trees = dict[str, ast.Module]


@pytest.fixture(scope="module")
def trees() -> Trees:
    """Of every module of ours. Not for longer than they are looked at: they hold a million objects."""
    files = [path for room in ("pipeline", "benchmarks", "tests") for path in sorted((ROOT / room).rglob("*.py"))]
    return {name_of(path): ast.parse(path.read_text("utf-8")) for path in files}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.Module, trees: Trees) -> Iterator[str]:
    """Modules of ours, wherever in the file, also for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{name.name}" for name in node.names]
            known = [module for module in modules if module in trees]
            yield from known
            if len(known) < len(modules):
                yield node.module


@pytest.mark.parametrize("room", ["pipeline", "benchmarks", "tests"])
def test_no_module_needs_itself(room: str, trees: Trees) -> None:
    graph = {
        name: [other for other in imported(tree, trees) if other in trees and other != name]
        for name, tree in trees.items()
        if name.split(".")[0] == room
    }
    assert sum(map(len, graph.values())) > 20
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        raise AssertionError(f"a circle: {' -> '.join(found.args[1])}") from None


def test_worker_and_replay_go_by_the_map(trees: Trees) -> None:
    """What the second hop does to a profile it does by the verbs of flow.py."""
    verbs = {"advance", "merge", "receive", "receive_all", "receive_packed", "settle", "told_now", "wakes_at"}
    beside = [
        f"{name}: {alias.name}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if name.startswith("pipeline.runtime") and isinstance(node, ast.ImportFrom)
        if (node.module or "").startswith("pipeline.profile")
        for alias in node.names
        if alias.name in verbs
    ]
    assert beside == []
    assert {"pipeline.runtime.replay", "pipeline.runtime.second_hop"} <= {
        name for name, tree in trees.items() if "pipeline.flow" in {*imported(tree, trees)}
    }


def exceptions(module: ModuleType) -> set[str]:
    return {name for name, kind in vars(module).items() if isinstance(kind, type) and issubclass(kind, BaseException)}


def test_every_exception_stands_with_the_others_and_in_their_tree(trees: Trees) -> None:
    """But those that never leave the module that raises them: their names begin with an underscore."""
    ours = exceptions(errors)
    assert len(ours) > 20
    known = ours | exceptions(builtins)
    elsewhere = [
        f"{name}.{node.name}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if name.startswith("pipeline.") and name != "pipeline.errors" and isinstance(node, ast.ClassDef)
        if {base.id for base in node.bases if isinstance(base, ast.Name)} & known and not node.name.startswith("_")
    ]
    assert elsewhere == []
    drawn = (errors.__doc__ or "").split()
    assert {name for name in ours if name not in drawn} == set()
