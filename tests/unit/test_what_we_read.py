"""docs/what-we-read.md tells what the code reads."""

from __future__ import annotations

import json
import re

from pipeline.events.envelopes import call_of
from pipeline.events.posthog import TELLING
from pipeline.events.segment import translate
from pipeline.events.segment_names import TRACKED
from pipeline.events.times import read_time
from tests.what_we_read import PAGE_FILES, rewritten

PAGE, NAMES = (file.read_text("utf-8") for file in PAGE_FILES[:2])


def test_the_tables_are_current() -> None:
    for file in PAGE_FILES:
        page = file.read_text("utf-8")
        assert "made by tests/what_we_read.py" in page
        assert rewritten(page) == page, "python -m tests.what_we_read writes them anew"
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


def test_what_posthogs_and_snowplows_examples_become() -> None:
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", NAMES, re.DOTALL)]
    assert len(blocks) == 4
    for told, becomes in zip(blocks[::2], blocks[1::2], strict=True):
        (event,) = translate(call_of(told))
        assert {name: getattr(event, name) for name in becomes} == becomes


def test_the_properties_of_posthogs_own_events_that_it_shows_are_those_that_stay() -> None:
    (shown,) = re.findall(r"those\s+stay that tell of them: (.*?)\.\n", NAMES, re.DOTALL)
    assert {name.rstrip("\u2026") for name in re.findall("`([^`]+)`", shown)} == set(TELLING)
