"""Times and values as tests of rules write them."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.grammar.durations import measured


def span(ms: int) -> str:
    """`+1h5m`, `-10s`, `+0m`."""
    return ("-" if ms < 0 else "+") + (measured(abs(ms)) if ms else "0m")


def maybe_span(ms: int | None) -> str | None:
    """The same of what may not be there."""
    return None if ms is None else span(ms)


def shown(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return "nothing" if value is None else msgspec.json.encode(value).decode()
