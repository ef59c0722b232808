"""docs/rules.md: its tables are those of the grammar, all keys stand in its examples, and these do what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.grammar import shapes
from pipeline.grammar.operands import MODIFIERS, OPERATORS
from pipeline.language.condition import kind_of, kinds
from pipeline.topology import lint, reference
from pipeline.topology.grammar import SECTIONS, part

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "topology.yaml").read_text("utf-8")
PAGE = reference.PAGE.read_text("utf-8")
KEYS, WISHES = PAGE.split("\n## How do I say ...?\n")


def blocks(text: str) -> list[str]:
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if not block.startswith("include:")]


def beside(folder: Path, text: str) -> Path:
    """The shipped topology, which includes this text and nothing else."""
    (folder / "page.yaml").write_text(text, "utf-8")
    path = folder / "topology.yaml"
    path.write_text(re.sub(r"\ninclude: .*", "\ninclude: [page.yaml]", SHIPPED), "utf-8")
    return path


def wishes() -> dict[str, Any]:
    """All of them, as one file would hold them."""
    found: dict[str, Any] = {}
    for block in blocks(WISHES):
        for section, named in yaml.safe_load(block).items():
            assert not named.keys() & found.get(section, {}).keys()
            found.setdefault(section, {}).update(named)
    return found


def test_the_tables_are_current() -> None:
    assert reference.written(PAGE) == PAGE, "run: python -m pipeline.topology.reference"


def test_every_record_and_every_kind_of_condition_has_its_table() -> None:
    marked = {mark["name"] for mark in reference.MARK.finditer(PAGE)}
    assert marked == set(reference.tables()), "write <!-- table: NAME --> and an example, where it belongs on the page"


@pytest.mark.parametrize("text", blocks(KEYS), ids=lambda text: ", ".join(re.findall(r"^  (\w+):", text, re.MULTILINE)))
def test_every_example_lints_clean(tmp_path: Path, text: str) -> None:
    assert [str(finding) for finding in lint(beside(tmp_path, text), {}) if finding.severity != "note"] == []


def test_every_key_has_an_example() -> None:
    told = {name for block in blocks(KEYS) for name in _used(yaml.safe_load(block), part(), "")}
    assert sorted(set(_all(part(), "")) - told) == []


def test_every_operator_has_one() -> None:
    used = {name for block in blocks(KEYS) for name in re.findall(r"(\w+):", block)}
    assert {*OPERATORS, *MODIFIERS} <= used


def test_wishes_lint_clean(tmp_path: Path) -> None:
    assert len(re.findall(r"^### ", WISHES, re.MULTILINE)) == len(blocks(WISHES)) >= 20
    found = lint(beside(tmp_path, yaml.safe_dump(wishes(), sort_keys=False)), {})
    assert [str(finding) for finding in found if finding.severity != "note"] == []


def test_wishes_do_what_they_say(tmp_path: Path) -> None:
    path = beside(tmp_path, yaml.safe_dump(wishes(), sort_keys=False))
    found = CliRunner().invoke(cli, ["test", "--topology", str(path), str(ROOT / "tests" / "data" / "wishes.yaml")])
    assert found.exit_code == 0, found.output


def test_each_wish_is_tried() -> None:
    tests = yaml.safe_load((ROOT / "tests" / "data" / "wishes.yaml").read_text("utf-8"))["tests"]
    tried = {test.get("rule") or test["segment"] for test in tests if test.get("decisions") or test.get("changes")}
    assert tried == {*wishes()["triggers"], *wishes()["segments"]}


def test_the_page_names_the_files_that_are_shipped() -> None:
    (listed,) = re.findall(r"^include: .*", KEYS, re.MULTILINE)
    assert f"\n{listed}\n" in SHIPPED


def _all(shape: shapes.Shape, at: str) -> Iterator[str]:
    """Every key that may be written, by where it stands; of conditions and what is compared, once for all."""
    match shape:
        case shapes.Record(keys=keys):
            for name, key in keys.items():
                yield f"{at}.{name}"
                yield from _all(key.shape, f"{at}.{name}")
        case shapes.Table(value=inner) | shapes.Many(item=inner) | shapes.OneOf(mapping=inner):
            yield from _all(inner, at)
        case shapes.Kinds():
            for kind, module in kinds().items():
                for name in module.record(kind).keys.keys() - {*OPERATORS, *MODIFIERS}:
                    yield f"condition {kind}.{name}"


def _used(value: Any, shape: shapes.Shape, at: str) -> Iterator[str]:
    match shape:
        case shapes.Record(keys=keys) if isinstance(value, Mapping):
            for name, each in value.items():
                yield f"{at}.{name}"
                yield from _used(each, keys[name].shape, f"{at}.{name}")
        case shapes.Table(value=inner) if isinstance(value, Mapping):
            for each in value.values():
                yield from _used(each, inner, at)
        case shapes.Many(item=inner):
            for each in value if isinstance(value, list) else [value]:
                yield from _used(each, inner, at)
        case shapes.OneOf(mapping=inner) if isinstance(value, Mapping):
            yield from _used(value, inner, at)
        case shapes.Kinds():
            kind = kind_of(value)
            assert kind is not None
            record = shape.records()[kind]
            yield from (f"condition {kind}.{name}" for name in value)
            for name, each in value.items():
                if isinstance(record.keys[name].shape, shapes.Many):
                    yield from _used(each, record.keys[name].shape, "")


def test_sections_are_told() -> None:
    assert set(SECTIONS) <= {name for block in blocks(KEYS) for name in yaml.safe_load(block)}
