"""The tables of docs/rules.md: every key of a rule, segment, measure and list, every kind of condition, every operator.

    python -m pipeline.topology.reference         # writes them anew, each below its mark

They come from the same grammar as the linter and the editors' schemas, so the page lists what there is. What stands
around them is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.grammar import shapes
from pipeline.grammar.operands import MODIFIERS, OPERATORS, TAKES
from pipeline.language.conditions import CONDITION
from pipeline.topology.grammar import part

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
MARK = re.compile(r"(<!-- table: (?P<name>[\w. ]+) -->\n)(?:\|.*\n)*")
OPERATOR_TABLE = "operators"
_PLAIN: dict[type, str] = {
    shapes.Flag: "`true` or `false`",
    shapes.Duration: "a duration: `1h`, `3d`",
    shapes.Where: "tests of an event's fields",
    shapes.EventPath: "a path",
    shapes.Kinds: "a condition",
    shapes.Number: "a number",
    shapes.Record: "a mapping, see below",
    shapes.Time: "a time",
    shapes.Anything: "anything",
}
_TAKES = {
    "value": "a text, a number, `true` or `false`",
    "values": "a list of these",
    "number": "a number",
    "time": "a time",
    "range": "a list of two numbers or times",
    "flag": "`true` or `false`",
}
_EVENTS_SHOWN = 6  # of more choices only that there are many


def tables() -> dict[str, str]:
    """Name of a table -> its lines. Records are named by where they stand: `triggers`, `triggers.start`; the kinds of
    conditions `condition did`.
    """
    records = dict(_records(part(), ()))
    found = {name: _keys(record) for name, record in records.items() if name}
    found |= {f"condition {kind}": _keys(record) for kind, record in CONDITION.records().items()}
    for kind, record in CONDITION.records().items():
        for name, inner in _records(record, (f"condition {kind}",)):
            if name != f"condition {kind}":
                found[name] = _keys(inner)
    found[OPERATOR_TABLE] = _operators()
    return found


def written(page: str) -> str:
    """The page with its tables as they are now. Raises KeyError where it has a mark of none."""
    known = tables()
    return MARK.sub(lambda mark: mark[1] + known[mark["name"]], page)


def _records(shape: shapes.Shape, at: tuple[str, ...]) -> Iterator[tuple[str, shapes.Record]]:
    """Every mapping with keys of its own, by where it stands."""
    match shape:
        case shapes.Record():
            if set(shape.keys) == set(_comparisons()):
                return
            yield ".".join(at), shape
            for name, key in shape.keys.items():
                yield from _records(key.shape, (*at, name))
        case shapes.Table(value=inner) | shapes.Many(item=inner) | shapes.OneOf(mapping=inner):
            yield from _records(inner, at)


def _comparisons() -> tuple[str, ...]:
    """The keys with which numbers are compared, told once for all."""
    times = CONDITION.records()["did"].keys["times"].shape
    assert isinstance(times, shapes.OneOf)
    assert isinstance(times.mapping, shapes.Record)
    return tuple(times.mapping.keys)


def _keys(record: shapes.Record) -> str:
    rows = ["| key | what stands there | |", "|---|---|---|"]
    operators = {*OPERATORS, *MODIFIERS}
    together = operators if operators <= set(record.keys) else {*_comparisons()} & set(record.keys)
    together = together if len(together) > 1 else set()
    for name, key in record.keys.items():
        if name in together:
            continue
        needed = " **Must be there.**" if key.required else ""
        rows.append(f"| `{name}` | {_cell(said(key.shape))} | {_cell(key.doc)}{needed} |")
    if together == operators:
        rows.append("| every [operator](#operators) | as there | What must hold of it. |")
    elif together:
        names = ", ".join(f"`{name}`" for name in record.keys if name in together)
        rows.append(f"| {names} | a number; of `between` a list of two | With what the number is compared. |")
    return "\n".join(rows) + "\n"


def _operators() -> str:
    rows = ["| operator | what stands there | holds where the field |", "|---|---|---|"]
    for name, meaning in OPERATORS.items():
        rows.append(f"| `{name}` | {_TAKES[TAKES.get(name, 'value')]} | {_cell(meaning)} |")
    rows += [f"| `{name}` | {_TAKES[TAKES[name]]} | {_cell(meaning)} |" for name, meaning in MODIFIERS.items()]
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def said(shape: shapes.Shape) -> str:
    """What may stand there, in words."""
    match shape:
        case shapes.Choice(options=options, what=what):
            return what if len(options) > _EVENTS_SHOWN + 1 else " or ".join(f"`{option}`" for option in options)
        case shapes.Text(what=what):
            return what
        case shapes.Whole(least=least, most=most):
            return f"a whole number from {least}" + (f" to {most}" if most is not None else "")
        case shapes.Value(numbers=numbers, flags=flags):
            return "a number" if numbers else _TAKES["value"] if flags else "a text or a number"
        case shapes.Many(item=item, single=single):
            return f"{said(item)}; or a list" if single else f"a list: {said(item)}"
        case shapes.Table(value=value):
            return f"a mapping of names to {said(value)}"
        case shapes.OneOf(plain=plain, mapping=mapping):
            return f"{said(plain)}; or {said(mapping)}"
        case shapes.Record(keys=keys) if set(keys) == set(_comparisons()):
            return (
                "a comparison: `{gte: 60d}`" if keys["gte"].shape == shapes.Duration(0) else "a comparison: `{gte: 3}`"
            )
        case _:
            return _PLAIN[type(shape)]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
