"""docs/runbook.md and docs/alerts.yaml say all that there is, and nothing that isn't."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from pipeline import errors
from pipeline.observe.causes import CAUSES
from pipeline.observe.metrics import DECLARED
from pipeline.runtime.app import EXIT_FATAL, EXIT_KAFKA, EXIT_OK
from tests.runbook import rewritten

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "runbook.md").read_text("utf-8")
ALERTS = yaml.safe_load((DOCS / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
NAMES = {declared.name for declared in DECLARED}
# Nobody is told of these in words: a batch is tried again, a record becomes a dead letter, `pipeline topics` refuses.
HANDLED = {
    "CommitRejected", "Fenced", "InvalidEvent", "RecordTooLarge", "RegistryUnavailable", "SchemaRefused", "SendFailed",
    "Unsent",
}  # fmt: skip
# Where a worker starts, and what it ends by.
STARTS = ("runtime/worker.py", "events/registry.py", "store/server.py", "observe/health.py")


def rows(head: str) -> list[list[str]]:
    """Cells of the table whose first line begins with `head`."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    found: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return found
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def texts(node: ast.AST) -> Iterator[str]:
    """Every text in a piece of code, with … for what is put in."""
    for child in ast.walk(node):
        if isinstance(child, ast.JoinedStr):
            yield "".join(p.value if isinstance(p, ast.Constant) else "…" for p in child.values)  # type: ignore[misc]
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


def modules() -> dict[str, ast.Module]:
    source = ROOT / "pipeline"
    return {str(path.relative_to(source)): ast.parse(path.read_text("utf-8")) for path in source.rglob("*.py")}


@cache
def all_texts() -> list[str]:
    return [text for module in modules().values() for text in texts(module)]


PHRASES = re.findall(
    r"^\| `([^`]*)` \|", PAGE[PAGE.index("| it says |") : PAGE.index("refuses a schema")], re.MULTILINE
)


def says(phrase: str, text: str) -> bool:
    return phrase.strip("… ") in text


def test_the_tables_are_what_the_code_says() -> None:
    assert rewritten(PAGE) == PAGE, "python -m tests.runbook"
    assert [row[0] for row in rows("cause")] == [f"`{cause.name}`" for cause in CAUSES]
    assert [row[0] for row in rows("metric")] == [f"`{declared.name}`" for declared in DECLARED]


def test_every_exit_code_is_told() -> None:
    told = {row[0].split(",")[0] for row in rows("exit code")}
    assert told == {f"`{code}`" for code in (EXIT_OK, EXIT_KAFKA, EXIT_FATAL, 137)}


def test_metrics_and_causes_that_are_named_exist() -> None:
    named = set(re.findall(r"\b(?:pipeline|kafka_consumergroup)_[a-z_]+\b", PAGE + (DOCS / "alerts.yaml").read_text()))
    assert {name for name in named if name not in NAMES} == set()


@pytest.mark.parametrize("phrase", PHRASES)
def test_what_it_is_said_to_say_stands_in_the_code(phrase: str) -> None:
    assert any(says(phrase, text) for text in all_texts())


def refusals() -> Iterator[tuple[str, str]]:
    """(where, what it says) of every exception of ours that ends a worker, or that keeps one from starting."""
    ours = {name for name, kind in vars(errors).items() if isinstance(kind, type)} - HANDLED
    fatal = {name for name in ours if getattr(getattr(errors, name), "exit_code", 1) == EXIT_FATAL}
    for file, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                told = " ".join(text for text in texts(node) if len(text.replace("…", "").split()) > 3)
                if told and (name in fatal or (name in ours and file in STARTS)):  # what only puts a place before isn't
                    yield f"{file}:{node.lineno}", told


REFUSALS = list(refusals())


@pytest.mark.parametrize("where, text", REFUSALS, ids=[where for where, _ in REFUSALS])
def test_every_refusal_is_told(where: str, text: str) -> None:
    assert any(says(phrase, text) for phrase in PHRASES), f"{where}: {text}"


def test_every_alert_leads_to_its_part_of_the_page() -> None:
    parts = re.findall(r"^#### (\w+)$", PAGE, re.MULTILINE)
    assert parts == [rule["alert"] for rule in ALERTS]
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        part = PAGE.split(f"#### {rule['alert']}\n")[1].split("\n####")[0].split("\n## ")[0]
        metrics = set(re.findall(r"\b(?:pipeline|kafka)_[a-z_]+\b", rule["expr"]))
        assert not metrics or metrics & NAMES
        assert not metrics or any(f"`{name}`" in part for name in metrics), rule["alert"]


def test_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ")).strip().lower().replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("#")
    }
    for name, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", PAGE):
        assert not name or (DOCS / name).exists(), name
        assert name or anchor in anchors, anchor


def test_prometheus_itself_fires_the_alerts() -> None:
    """tests/data/alerts.yaml: series, and which alerts they make. `make servers` brings promtool."""
    done = subprocess.run(
        ["promtool", "test", "rules", str(ROOT / "tests" / "data" / "alerts.yaml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
