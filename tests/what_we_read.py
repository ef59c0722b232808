"""The tables of docs/what-we-read.md, from what the code reads: `python -m tests.what_we_read` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.events.segment_body import Fields
from pipeline.events.segment_names import LINE, PAGE, TRACKED
from pipeline.events.text import PLACEHOLDERS

PAGE_FILE = Path(__file__).parents[1] / "docs" / "what-we-read.md"
_TABLE = re.compile(
    r"(?P<start><!-- made by tests/what_we_read.py: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def rewritten(page: str) -> str:
    """The page with its tables as they ought to be."""
    tables = {"names": _names(), "fields": _fields(), "nothing": _nothing()}
    return _TABLE.sub(lambda found: found["start"] + tables[found["name"]] + "\n" + found["end"], page)


def _names() -> str:
    by_type: dict[str, list[str]] = {}
    for name, known in TRACKED.items():
        cause = "".join(f" (cause: {value})" for field, value in known.told if field == "cause")
        by_type.setdefault(known.type, []).append(f"`{name}`{cause}")
    return _table(("names", "our type"), [(", ".join(names), f"`{kind}`") for kind, names in sorted(by_type.items())])


def _fields() -> str:
    rows: dict[tuple[str, str], set[str]] = {}
    fields_of = {known.type: known.fields for known in TRACKED.values()} | {"page_viewed": PAGE}
    for kind, fields in [*fields_of.items(), ("an item of `products`", LINE)]:
        for field, told in _told(fields):
            if (kind, field) != ("product_viewed", "products"):
                rows.setdefault((field, told), set()).add(kind if " " in kind else f"`{kind}`")
    everything = [(f"`{field}`", told, ", ".join(sorted(kinds))) for (field, told), kinds in sorted(rows.items())]
    return _table(("our field", "read from", "of"), everything)


def _told(fields: Fields) -> list[tuple[str, str]]:
    return [(field, ", ".join(f"`{name}`" for name in names) + f": {kind.noun}") for field, kind, names in fields.rows]


def _nothing() -> str:
    return ", ".join(f"`{word}`" for word in sorted(PLACEHOLDERS) if word)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Write the page anew."""
    PAGE_FILE.write_text(rewritten(PAGE_FILE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
