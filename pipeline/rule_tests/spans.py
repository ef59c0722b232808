"""Times and values as tests of rules write them."""

from __future__ import annotations

from typing import Any

import msgspec

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


def span(ms: int) -> str:
    """`+1h5m`, `-10s`, `+0m`."""
    sign, left, out = "-" if ms < 0 else "+", abs(ms), ""
    for unit, size in _UNITS:
        if number := left // size:
            out += f"{number}{unit}"
            left -= number * size
    return sign + (out or "0m")


def maybe_span(ms: int | None) -> str | None:
    """The same of what may not be there."""
    return None if ms is None else span(ms)


def shown(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return "nothing" if value is None else msgspec.json.encode(value).decode()
