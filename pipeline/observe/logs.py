"""Logs: for people on a terminal, JSON Lines otherwise.

    log = logging.getLogger(__name__)
    log.info("claimed", extra={"partition": 3, "offset": 120})

    12:00:00.123 INFO    pipeline.runtime.second_hop  claimed  partition=3 offset=120
    {"time":"2026-11-22T12:00:00.123Z","level":"info","logger":"pipeline.runtime.second_hop","message":"claimed", ...}

What is particular to one line stands in `extra`, so that it can be searched; the message stays the same each time.

A server that is away makes hundreds of warnings a second: what comes again is told every ten seconds, with how many
like it there were (`more_like_it`). Faust's and aiokafka's own steps are told at level debug.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {
    "DEBUG": "\x1b[2m",
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
}
_PLAIN = "\x1b[0m"
# What they say at level info is how they work inside. What goes wrong is said by us, or by their warnings.
_CHATTY = ("faust", "mode", "aiokafka", "httpx", "httpx2")
_AGAIN_S = 10.0


def setup(
    level: int | str = "INFO", stream: TextIO | None = None, style: Literal["auto", "human", "json"] = "auto"
) -> None:
    """Send all logs to `stream` (default: standard error). May be called again; the last call counts.

    `auto`: human on a terminal, JSON Lines otherwise. No colours where NO_COLOR is set.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    handler = logging.StreamHandler(stream)
    handler.set_name("pipeline")
    handler.addFilter(Tidy())
    if style == "json" or (style == "auto" and not terminal):
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(HumanFormatter(colour=terminal and not os.environ.get("NO_COLOR")))
    root = logging.getLogger()
    for old in [each for each in root.handlers if each.get_name() == "pipeline"]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.NOTSET if root.level <= logging.DEBUG else logging.WARNING)
    logging.captureWarnings(True)


class Tidy(logging.Filter):
    """Tells a warning or an error that comes again and again once in ten seconds, and exceptions in their own words.

    The same means: the same place in the code, about the same exception. What ends the process (critical), and what
    carries a traceback, is always told. `clock`: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[tuple[str, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        about: list[str] = []
        if isinstance(record.args, tuple) and any(isinstance(arg, BaseException) for arg in record.args):
            record.args = tuple(_Said(arg) if isinstance(arg, BaseException) else arg for arg in record.args)
            about = [repr(arg) for arg in record.args if isinstance(arg, _Said)]
        if not logging.WARNING <= record.levelno < logging.CRITICAL or record.exc_info:
            return True
        now, key = self._clock(), (record.name, str(record.msg), *about)
        since, more = self._told.get(key, (None, 0))
        if since is not None and now - since < _AGAIN_S:
            self._told[key] = (since, more + 1)
            return False
        self._told = {k: seen for k, seen in self._told.items() if now - seen[0] < 60 * _AGAIN_S}
        self._told[key] = (now, 0)
        if more:
            record.more_like_it = more
        return True


def in_words(problem: BaseException) -> str:
    """An exception's kind and its words."""
    return repr(_Said(problem))


class _Said:
    """An exception in a message: its kind and its words. Some clients' `repr` keeps the words to itself."""

    def __init__(self, problem: BaseException) -> None:
        self._kind, self._words = type(problem).__name__, str(problem)

    def __repr__(self) -> str:
        return f"{self._kind}: {self._words}" if self._words else self._kind

    def __str__(self) -> str:
        return self._words or self._kind


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339 UTC, ms), level, logger, message, what `extra` held, error."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in _extra(record).items():
            line[f"{name}_" if name in line or name == "error" else name] = value
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False, separators=(",", ":"))


class HumanFormatter(logging.Formatter):
    """Local time, level, logger, message, what `extra` held; a traceback below."""

    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = _time(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = f"{record.levelname:<7}"
        extra = " ".join(f"{name}={_short(value)}" for name, value in _extra(record).items())
        if self._colour:
            level = f"{_COLOURS.get(record.levelname, '')}{level}{_PLAIN}"
            extra = f"\x1b[2m{extra}{_PLAIN}" if extra else ""
        line = f"{clock} {level} {record.name}  {record.getMessage()}" + (f"  {extra}" if extra else "")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _short(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or "\n" in text else text
