"""The tables of docs/runbook.md that say what the code says: `python -m tests.runbook` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.observe.causes import CAUSES
from pipeline.observe.metrics import DECLARED

PAGE_FILE = Path(__file__).parents[1] / "docs" / "runbook.md"
_TABLE = re.compile(r"(?P<start><!-- made by tests/runbook.py: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def rewritten(page: str) -> str:
    """The page with its tables as they ought to be."""
    tables = {"causes": _causes(), "metrics": _metrics()}
    return _TABLE.sub(lambda found: found["start"] + tables[found["name"]] + "\n" + found["end"], page)


def _causes() -> str:
    rows = [(f"`{c.name}`", "no" if c.stops else "yes", c.meaning, c.do) for c in CAUSES]
    return _table(("cause", "ready", "what it means", "what to do"), rows)


def _metrics() -> str:
    rows = [(f"`{m.name}`", ", ".join(f"`{label}`" for label in m.labels), m.meaning) for m in DECLARED]
    return _table(("metric", "labels", "what it tells"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)


def main() -> None:
    """Write the page anew."""
    PAGE_FILE.write_text(rewritten(PAGE_FILE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
