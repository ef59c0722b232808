"""Lengths of time as people write them."""

from __future__ import annotations

from pipeline.grammar.shapes import UNITS_MS


def spelt(ms: int) -> str:
    """As one would write it in the topology: `90m`, `3d`."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % UNITS_MS[unit] == 0:
            return f"{ms // UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


def measured(ms: int) -> str:
    """A length as it came about: `54d20h1m`."""
    left, out = ms, ""
    for unit in ("d", "h", "m", "s", "ms"):
        number, left = divmod(left, UNITS_MS[unit])
        out += f"{number}{unit}" if number else ""
    return out or "0ms"


def lasting(within: object) -> str:
    """ " within 7d", " this week", or nothing."""
    return "" if within is None else f" within {spelt(within)}" if isinstance(within, int) else str(within)
