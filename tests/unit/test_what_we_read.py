"""docs/what-we-read.md tells what the code reads."""

from __future__ import annotations

import re

from pipeline.events.segment import translate
from pipeline.events.segment_names import TRACKED
from pipeline.events.times import read_time
from tests.what_we_read import PAGE_FILE, rewritten

PAGE = PAGE_FILE.read_text("utf-8")


def test_the_tables_are_current() -> None:
    assert rewritten(PAGE) == PAGE, "python -m tests.what_we_read writes them anew"
    assert all(f"`{name}`" in PAGE for name in TRACKED)


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_times_that_it_shows_are_read() -> None:
    shown = [text for row in section("Times").splitlines() if "|" in row for text in re.findall("`([^`]+)`", row)]
    assert len(shown) >= 10
    assert all(read_time(text) for text in shown)


def test_the_numbers_that_it_shows_are_read() -> None:
    for text in ("12,5", "1.234,56", "1,234.56", "1 234,56", "€ 12.50", "12.50 EUR", "12,-", "1,234", "1.234 €"):
        assert f"`{text}`" in PAGE
        call = {"type": "track", "event": "Product Added", "timestamp": "2025-11-24", "properties": {"price": text}}
        assert ("price" in translate(call)[0].body) is (text not in ("1,234", "1.234 €"))
