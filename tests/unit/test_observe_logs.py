"""Logs: JSON Lines for machines, columns for people."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from pipeline.observe import logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """`setup` is for whole processes: put the root logger back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


log = logging.getLogger("pipeline.some.room")


def test_json_lines_where_no_one_looks() -> None:
    stream = io.StringIO()
    logs.setup(stream=stream)
    log.info("claimed %s", "it", extra={"partition": 3, "topic": "events.email"})
    log.debug("too small")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {
        "level": "info",
        "logger": "pipeline.some.room",
        "message": "claimed it",
        "partition": 3,
        "topic": "events.email",
    }


def test_json_keeps_to_one_line_whatever_comes() -> None:
    stream = io.StringIO()
    logs.setup(stream=stream, style="json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("failed\nbadly", extra={"level": "mine", "error": "mine too", "value": {1, 2}.__class__})
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["message"] == "failed\nbadly"
    assert entry["level"] == "error"
    assert (entry["level_"], entry["error_"]) == ("mine", "mine too")
    assert "ValueError: two\nlines" in entry["error"]
    assert entry["value"] == "<class 'set'>"


def test_columns_and_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    logs.setup(stream=stream)
    log.warning("held", extra={"by": "events.email-2", "why": "no event"})
    assert "\x1b[33mWARNING\x1b[0m" in stream.getvalue()

    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    logs.setup(stream=stream)
    log.warning("held", extra={"by": "events.email-2", "why": "no event"})
    pattern = r'\d\d:\d\d:\d\d\.\d{3} WARNING pipeline\.some\.room  held  by=events\.email-2 why="no event"\n'
    assert re.fullmatch(pattern, stream.getvalue())


def test_a_traceback_stands_below_for_people() -> None:
    stream = io.StringIO()
    logs.setup(stream=stream, style="human")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR   pipeline.some.room  failed")
    assert rest[-1] == "ValueError: broken"


def test_the_last_setup_counts() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.setup(stream=first)
    logs.setup("DEBUG", stream=second)
    log.debug("small")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["message"] == "small"
