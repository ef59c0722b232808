"""Where a condition may be written: one shape, of whatever kinds there are."""

from __future__ import annotations

from pipeline.grammar.shapes import Kinds, Record


def _records() -> dict[str, Record]:
    from pipeline.language.condition import records

    return records()


CONDITION = Kinds(_records, "a condition", "condition")
