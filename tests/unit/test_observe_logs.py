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
    for name in logs._CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)
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


def test_what_comes_again_and_again_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Kafka that was away for 25 seconds made 3,000 lines."""
    stream, now = io.StringIO(), 100.0
    logs.setup(stream=stream)
    (handler,) = [each for each in logging.getLogger().handlers if each.get_name() == "pipeline"]
    monkeypatch.setattr(handler.filters[0], "_clock", lambda: now)
    for partition in range(50):
        log.warning("%s: claiming it again: %r", partition, ConnectionError("refused"))
        log.warning("%s: claiming it again: %r", partition, TimeoutError())
        now += 0.25
    log.warning("something else")
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(entry["message"], entry.get("more_like_it")) for entry in told] == [
        ("0: claiming it again: ConnectionError: refused", None),
        ("0: claiming it again: TimeoutError", None),
        ("40: claiming it again: ConnectionError: refused", 39),
        ("40: claiming it again: TimeoutError", 39),
        ("something else", None),
    ]


def test_nothing_that_ends_the_process_or_shows_a_traceback_is_left_out() -> None:
    stream = io.StringIO()
    logs.setup(stream=stream)
    for _ in range(3):
        log.info("claimed")
        log.critical("the worker ends")
        log.error("a bug", exc_info=ValueError("here"))
    assert len(stream.getvalue().splitlines()) == 9


def test_an_exception_speaks_for_itself_whatever_its_repr() -> None:
    class Terse(Exception):
        def __repr__(self) -> str:
            return "network:Terse"

    stream = io.StringIO()
    logs.setup(stream=stream)
    log.warning("tick: %r", Terse("no answer from 127.0.0.1:6379"))
    log.warning("waits: %s", Terse("no answer"))
    said = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert said == ["tick: Terse: no answer from 127.0.0.1:6379", "waits: no answer"]


@pytest.mark.parametrize("level, told", [("INFO", False), ("DEBUG", True)])
def test_the_steps_of_the_framework_are_for_debugging(level: str, told: bool) -> None:
    stream = io.StringIO()
    logs.setup(level, stream=stream)
    logging.getLogger("faust.tables.recovery").info("Resuming flow...")
    logging.getLogger("aiokafka.consumer").warning("Heartbeat failed")
    assert ("Resuming" in stream.getvalue()) == told
    assert "Heartbeat" in stream.getvalue()


def test_the_last_setup_counts() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.setup(stream=first)
    logs.setup("DEBUG", stream=second)
    log.debug("small")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["message"] == "small"
