"""The benchmark's topology with all that is shipped switched on."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
TOPOLOGY = HERE / "topology.yaml"
OFF = "    enabled: false\n"


def with_all_rules(text: str, folder: Path) -> str:
    """That topology's text, including all of `rules/`, of which copies without what switches them off go into
    `folder`: where the topology is to stand.
    """
    names = []
    for file in sorted(HERE.parent.glob("rules/*.yaml")):
        (folder / file.name).write_text(file.read_text(encoding="utf-8").replace(OFF, ""), encoding="utf-8")
        names.append(file.name)
    return f"{text}\ninclude: [{', '.join(names)}]\n"
