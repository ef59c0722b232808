"""The pages that say how it works and what is meant, against the code that cites them and that they name."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from pipeline.edge import openapi
from pipeline.edge.metrics import DECLARED as EDGE
from pipeline.grammar.operands import MODIFIERS, OPERATORS
from pipeline.observe.metrics import DECLARED

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
SEMANTICS = (ROOT / "docs" / "semantics.md").read_text("utf-8")
CITED = re.compile(r"[sS]emantics ((?:\d+(?:, | and | to )?)+)")


def code() -> Iterator[tuple[Path, str]]:
    for room in ("pipeline", "tests", "benchmarks"):
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in {".py", ".pyx", ".pxi", ".lua"} and path != Path(__file__):
                yield path, path.read_text("utf-8")


def test_every_line_that_is_cited_is_on_the_page() -> None:
    lines = {int(number) for number in re.findall(r"^\*\*(\d+)\. ", SEMANTICS, re.MULTILINE)}
    assert lines == {*range(1, 28), 29, 36, 37, 38}
    cited = {int(number) for _, text in code() for told in CITED.findall(text) for number in re.findall(r"\d+", told)}
    assert len(cited) > 15
    assert cited <= lines


def test_nothing_cites_what_is_not_here() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for path, text in code()
        for found in re.findall(r"\(design \d+\)|design\.md|semantics\.md \d|rules\.md \d|\brules \d+\b", text)
    ]
    assert wrong == []


def test_bounds_are_as_the_code_has_them() -> None:
    rows = re.findall(r"^\| .+ \| (\d+) \| `([\w.]+)` \|$", SEMANTICS, re.MULTILINE)
    assert len(rows) >= 15
    for told, name in rows:
        module, _, constant = name.rpartition(".")
        assert getattr(import_module(module), constant) == int(told), name


GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")


def found(name: str) -> object:
    """What code has by that name: a module, something of it, or a field of that."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            what: object = import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            what = getattr(what, part)
        return what
    raise AssertionError(name)


def test_every_word_of_the_glossary_is_in_the_code() -> None:
    rows = [line for line in GLOSSARY.splitlines() if line.startswith("| **")]
    words = [word.lower() for row in rows for word in re.findall(r"\*\*(.+?)\*\*", row)]
    assert len(words) > 50
    assert len(words) == len({*words}), "a word stands there twice"
    for row in rows:
        names = re.findall(r"`(pipeline\.[\w.]+)`", row.rsplit("|", 2)[1])
        assert names, row
        for name in names:
            found(name)


def test_no_two_classes_go_by_one_word_of_the_glossary() -> None:
    named = {
        each.__name__ for name in re.findall(r"`(pipeline\.[\w.]+)`", GLOSSARY) if isinstance(each := found(name), type)
    }
    defined = Counter(
        node.name
        for path in sorted((ROOT / "pipeline").rglob("*.py"))
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name in named if defined[name] > 1} == set()


def test_what_the_collector_takes_is_described_as_it_is() -> None:
    told = (ROOT / "docs" / "collect.openapi.json").read_text("utf-8")
    assert told == openapi.text(), "run: python -m pipeline.edge.openapi > docs/collect.openapi.json"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in link or (page.parent / link).exists(), link
    for path in re.findall(r"`((?:pipeline|tests|schemas|docker|docs|benchmarks)/(?!out/)[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
    metrics = {declared.name for declared in (*DECLARED, *EDGE)}
    for name in re.findall(r"`(pipeline_[a-z_]+)`", text):
        assert name in metrics, name


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_page_can_be_found(page: Path) -> None:
    others = [other for other in PAGES if other != page]
    assert any(re.search(rf"\]\([^)]*{page.name}[#)]", other.read_text("utf-8")) for other in others)


def test_every_operator_is_on_the_page() -> None:
    text = (ROOT / "docs" / "conditions.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)(?:: true)?`", text.partition("## Operators")[2]))
    assert {*OPERATORS, *MODIFIERS} <= named
