"""README.md keeps up with what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import COMMANDS
from pipeline.errors import InvalidEvent
from pipeline.events.files import parse
from pipeline.runtime.replay import Replay
from pipeline.topology import VARIABLES, lint, load
from pipeline.triggers.decisions import Decision, public

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SHIPPED = (ROOT / "topology.yaml").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def with_triggers(folder: Path, text: str) -> Path:
    """The shipped topology, with a README's rules instead of its own."""
    path = folder / "topology.yaml"
    path.write_text(SHIPPED[: SHIPPED.index("\ntriggers:\n") + 1] + text, "utf-8")
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert any(re.search(rf"^pipeline {name}\b", block, re.MULTILINE) for block in blocks("sh"))


def test_every_make_target_in_the_readme_is_one() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = set(re.findall(r"`?make ([a-z]+)", README))
    assert {"demo", "test", "chaos", "bench"} <= named
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_is_in_the_readme(variable: str) -> None:
    assert f"| `{variable}` |" in README


def test_there_are_rules_to_copy() -> None:
    assert len(blocks("yaml")) >= 2


@pytest.mark.parametrize("text", blocks("yaml"), ids=lambda text: next(iter(yaml.safe_load(text)["triggers"])))
def test_rules_in_the_readme_lint_clean(tmp_path: Path, text: str) -> None:
    assert lint(with_triggers(tmp_path, text), {}) == []


def test_the_cart_in_the_readme_is_the_shipped_one(tmp_path: Path) -> None:
    (text,) = [block for block in blocks("yaml") if "abandoned_cart" in block]
    ours = load(with_triggers(tmp_path, text), {}).rules[0]
    assert ours == next(rule for rule in load(ROOT / "topology.yaml", {}).rules if rule.name == "abandoned_cart")


def decide(topology: Path, *lines: dict[str, Any]) -> list[dict[str, Any]]:
    replay = Replay(load(topology, {}))
    found: list[Decision] = []
    for line in lines:
        for event in parse(json.dumps(line).encode()):
            found += replay.feed(event, event.received_at)
    found += replay.finish()
    return [public(decision) for decision in found]


def test_the_new_rule_in_the_readme_does_what_it_says(tmp_path: Path) -> None:
    (text,) = [block for block in blocks("yaml") if "price_seen_no_call" in block]
    seen = {"type": "page", "properties": {"path": "/pricing/teams"}, "timestamp": "2025-11-24T10:00:00Z"}
    booked = {"type": "track", "event": "Call Booked", "userId": "bert", "timestamp": "2025-11-24T11:00:00Z"}
    found = decide(with_triggers(tmp_path, text), {**seen, "userId": "anna"}, {**seen, "userId": "bert"}, booked)
    assert {(d["identifiers"]["user_id"][0], d["outcome"], d["reason"]) for d in found} == {
        ("anna", "fired", "due"),
        ("bert", "cancelled", "booked"),
    }


def test_the_json_in_the_readme_is_what_it_says_it_is() -> None:
    event, decision = (json.loads(block) for block in blocks("json"))
    (parsed,) = parse(json.dumps(event).encode())
    assert parsed.type == "product_added"
    made = {
        **event,
        "anonymousId": "phone",
        "properties": {"cart_id": "c1", "product_id": "tent", "price": 199.5, "currency": "EUR", "quantity": 1},
    }
    assert decide(ROOT / "topology.yaml", made) == [decision]


def test_files_and_folders_that_the_readme_names_are_there() -> None:
    for name in ("docker/compose.yaml", "topology.schema.json", "requirements.lock", "schemas/trigger.avsc"):
        assert name in README
        assert (ROOT / name).exists()
    (tree,) = [block for block in blocks("text") if "flow.py" in block]
    for folder in re.findall(r"^  ([a-z]+(?:/|\.py)) ", tree, re.MULTILINE):
        assert (ROOT / "pipeline" / folder).exists(), folder
    for folder in re.findall(r"^([a-z]+/) ", tree, re.MULTILINE):
        assert (ROOT / folder).exists(), folder


def test_reasons_of_dead_letters_in_the_readme_are_words_of_ours() -> None:
    """Each stands in the code that refuses."""
    row = next(line for line in README.splitlines() if line.startswith("| `pipeline.reason`"))
    source = "".join(path.read_text("utf-8") for path in (ROOT / "pipeline").rglob("*.py"))
    for reason in re.findall(r"`([a-z_]+)`", row):
        assert f'"{reason}"' in source, reason
    with pytest.raises(InvalidEvent):
        parse(b"{")
