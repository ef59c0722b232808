"""What was probably meant by what can't be read: the way in which it is written here."""

from __future__ import annotations

import re

from pipeline.grammar.findings import suggest
from pipeline.grammar.operands import MEANT
from pipeline.grammar.shapes import FOREVER, Duration, Kinds, Many, OneOf, Record, Shape, Text

_LONG = re.compile(r"([0-9]+)\s*([a-z]+)", re.IGNORECASE)
_UNITS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
_DAYS = {
    **dict.fromkeys(("w", "week", "weeks"), 7),
    **dict.fromkeys(("month", "months"), 30),
    **dict.fromkeys(("y", "year", "years"), 365),
}
_COMPARED = re.compile(r"(>=|<=|>|<|==?|!=|≥|≤)\s*(-?[0-9]+(?:\.[0-9]+)?)")


def duration(written: str, shape: Duration) -> str:
    """Of `1 week`: write 7d."""
    if found := _LONG.fullmatch(written.strip()):
        number, unit = int(found[1]), found[2].lower()
        if unit in _UNITS:
            return f"write {number}{_UNITS[unit]}"
        if unit in _DAYS:
            return f"write {number * _DAYS[unit]}d"
    return "write a number and a unit: 250ms, 10s, 5m, 1h, 3d" + (f", or {FOREVER}" if shape.forever else "")


def compared(written: str) -> str:
    """Of `>= 3`: write {gte: 3}."""
    found = _COMPARED.fullmatch(written.strip())
    return f"write {{{MEANT[found[1]]}: {found[2]}}}" if found else ""


def mapping(shape: Record, written: str, *, quoted: bool) -> str:
    """Of a plain value in place of a mapping: under which key it may stand."""
    keys = [*shape.one_of, *(name for name, key in shape.keys.items() if key.required)]
    if not keys or "\n" in written or len(written) > 100:
        return ""
    if isinstance(shape.keys[keys[0]].shape, Text) and not quoted:
        written = f'"{written}"'
    return f"write {{{keys[0]}: {written}}}"


def misplaced(name: str, shape: Record) -> str:
    """Of a key that isn't known here: where it is, or what is like it."""
    for key, each in shape.keys.items():
        if isinstance(each.shape, Kinds) and name in each.shape.records():
            return f"a condition stands in {key}: {{{name}: ...}}"
    close = suggest(name, shape.keys, "")
    if close.startswith("did you mean"):
        return close
    for key, each in shape.keys.items():
        inner = _record(each.shape)
        if inner is not None and name in inner.keys:
            return f"it stands in {key}: {{{name}: ...}}"
    return suggest(name, shape.keys, "known keys")


def _record(shape: Shape) -> Record | None:
    match shape:
        case Record():
            return shape
        case Many(item=inner) | OneOf(mapping=inner):
            return _record(inner)
    return None


def condition(name: str, kinds: dict[str, Record]) -> str:
    """Of what is no kind of condition: which kind was meant."""
    meant = {"not": "none: [...]", "and": "all: [...]", "or": "any: [...]", "event": "did: ..."}.get(name)
    return f"did you mean {meant}?" if meant else suggest(name, kinds, "kinds")
