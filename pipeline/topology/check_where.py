"""What conditions on an event must fit: the fields that such events have, and what these hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.events import tidy
from pipeline.events.segment_fields import number
from pipeline.events.times import read_time
from pipeline.grammar.findings import suggest
from pipeline.grammar.operands import MODIFIERS, REFERENCE
from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.vocabulary import Field
from pipeline.language import paths, patterns
from pipeline.language.operators import EXISTS, IGNORING_CASE, NOT, compile_tests
from pipeline.language.references import is_reference, start_path

_TEXTUAL = ("contains", "starts_with", "ends_with", "matches")
_ORDER = ("gt", "gte", "lt", "lte")
_TIMES = ("before", "after")
_SIGN = re.compile(r"\s*(>=|<=|≥|≤|=>|=<|!=|<>|==|[<>=])\s*(.+)")
_SIGNS = {
    ">": "gt", ">=": "gte", "=>": "gte", "≥": "gte", "<": "lt", "<=": "lte", "=<": "lte", "≤": "lte",
    "=": "is", "==": "is", "!=": "not", "<>": "not",
}  # fmt: skip
_OPPOSITES = {"gt": "lte", "gte": "lt", "lt": "gte", "lte": "gt", "is": "not", "not": "is"}

Written = Callable[[Path], str]


class Problem(NamedTuple):
    """`at`: behind the condition's place, the operator and perhaps which of a list of values."""

    at: Path
    message: str
    hint: str = ""


def check_where(
    path: Path,
    where: Mapping[str, Mapping[str, Any]],
    events: Sequence[str],
    reader: Reader,
    starts: Sequence[str] | None = None,
) -> None:
    """Report what is wrong with the `where` at `path`, of events of these types. `starts`: the types of events
    that open the wait with which it may compare; None: there is none.
    """
    for name, tests in where.items():
        at: Path = (*path, name)
        plain = {op: operand for op, operand in tests.items() if not is_reference(op, operand)}
        for event in dict.fromkeys(events):
            held = paths.told(event, name)
            if held is None:
                fits = _fits(name, plain)
                hint = paths.meant(event, name, fits)
                reader.report(at, "unknown-field", f"{event} has no field {name}", hint, key=True)
                continue
            for each in problems(name, held, plain, lambda place, at=at: reader.written((*at, *place))):  # type: ignore[misc]
                _report(at, each, reader)
            for op, operand in tests.items():
                if op not in plain:
                    _reference(_placed(at, (op,), reader), name, held, operand, starts, reader)
        if starts is not None:
            _literal_references((*at, "in"), tests.get("in", ()), reader)
        if why := _never(name, tidy.operands(next(iter(events), ""), {name: plain})[name]):
            reader.report(at, "bad-condition", why, "it can never hold")
        if tests.get(IGNORING_CASE) and not {"is", NOT, "in", *_TEXTUAL} & tests.keys():
            message = f"{', '.join(tests.keys() - {IGNORING_CASE})} knows no letters"
            at = (*at, IGNORING_CASE)
            reader.report(at, "no-effect", message, "remove ignoring_case", severity="warning", key=True)


def _literal_references(at: Path, operands: Sequence[Any], reader: Reader) -> None:
    """One alone is how the text itself is written (docs/conditions.md)."""
    for index, each in enumerate(operands if len(operands) > 1 else ()):
        if isinstance(each, str) and REFERENCE.fullmatch(each):
            message = f"{each} is compared as the text that it is: of several values none stands for a wait's"
            reader.report((*at, index), "literal", message, "write a cancel for each", severity="warning")


def _placed(at: Path, place: Path, reader: Reader) -> Path:
    """`{sku: a}` is read as `{sku: {is: a}}`, which stands nowhere."""
    return (*at, *place) if reader.has((*at, *place)) else at


def _report(at: Path, found: Problem, reader: Reader) -> None:
    reader.report(_placed(at, found.at, reader), "bad-condition", found.message, found.hint)


def _fits(name: str, tests: Mapping[str, Any]) -> Callable[[Field], bool]:
    return lambda held: not problems(name, held, tests, lambda place: "")


def problems(name: str, held: Field, tests: Mapping[str, Any], written: Written) -> list[Problem]:
    """What is wrong with conditions on what holds that."""
    found: list[Problem] = []
    for operator, operand in tests.items():
        if operator == EXISTS or operator in MODIFIERS:
            continue
        if held.kind in ("map", "records"):
            message = f"{name} holds many values: it can only be asked whether it is there"
            found.append(Problem((operator,), message, "exists: true"))
        elif operator in ("is", NOT, "in"):
            several = operator == "in"
            for index, value in enumerate(operand if several else [operand]):
                place: Path = (operator, index) if several else (operator,)
                if (problem := _literal(place, name, held, operator, value, written)) is not None:
                    found.append(problem)
        elif (problem := _fitting(name, held, operator, operand, written)) is not None:
            found.append(problem)
    return found


def _fitting(name: str, held: Field, operator: str, operand: Any, written: Written) -> Problem | None:
    at: Path = (operator,)
    if held.kind == "flag":
        return Problem(at, f"{name} is true or false, and nothing else", f"write {name}: true")
    if operator in _TEXTUAL:
        if held.kind == "number":
            hint = f"write {name}: {operand}" if not isinstance(operand, str) else ""
            return Problem(at, f"{name} is neither a list nor a text: {operator} never holds", hint)
        if not isinstance(operand, str):
            what = "true or false" if isinstance(operand, bool) else "a number"
            hint = f'quote it: "{written(at) or operand}"'
            return Problem(at, f"{name} holds texts, {written(at) or operand} is {what}", hint)
        if operator == "matches" and (why := patterns.problem(operand)):
            return Problem(at, f"this is no regular expression: {why}", "its syntax is RE2's")
        if operator != "matches" and operand == "":
            return Problem(at, f"every text {operator.replace('_', ' ')} nothing", "write {exists: true}")
        return None
    if held.kind == "any":
        return None
    if held.kind != "number":
        return Problem(at, f"{name} is a text: it has no order", "" if operator in _ORDER else "it is no time")
    if operator in _TIMES or (operator == "between" and isinstance(operand[0], str)):
        return Problem(at, f"{name} is a number, and no time")
    return None


def _literal(at: Path, name: str, held: Field, operator: str, value: Any, written: Written) -> Problem | None:
    shown = written(at) or written(at[:-1] if at[-1] == "is" else at) or str(value)
    signed = _SIGN.fullmatch(value) if isinstance(value, str) and held.kind in ("number", "any") else None
    if signed is not None and number(signed[2]) is not None and operator != "in":
        message = f"{name} would be compared with the text {value!r} itself"
        sign = _SIGNS[signed[1]] if operator == "is" else _OPPOSITES[_SIGNS[signed[1]]]
        return Problem(at, message, f"write {name}: {{{sign}: {number(signed[2]):g}}}")
    if held.kind == "any":
        return None
    if held.kind == "number":
        if isinstance(value, str):
            hint = "write it without quotes" if _plain_number(value) else ""
            return Problem(at, f"{name} is a number, {value!r} is a text", hint)
        if isinstance(value, bool):
            return Problem(at, f"{name} is a number, {shown} is true or false")
    elif held.kind == "flag":
        if not isinstance(value, bool):
            hint = "write it without quotes" if value in ("true", "false") else f"write {name}: true, or false"
            return Problem(at, f"{name} is true or false, {shown} is neither", hint)
    elif not isinstance(value, str):
        what = "true or false" if isinstance(value, bool) else "a number"
        return Problem(at, f"{name} is a text, {shown} is {what}", f'quote it: "{shown}"')
    elif held.choices and value not in held.choices:
        return Problem(at, f"{name} is never {value!r}", suggest(value, held.choices))
    return None


def _plain_number(value: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", value) is not None


def _reference(at: Path, name: str, held: Field, operand: str, starts: Sequence[str] | None, reader: Reader) -> None:
    literal = f"for the text itself write {{in: [{operand}]}}"
    if starts is None:
        message = f"{operand} stands for a wait's, and here there is none to compare with"
        reader.report(at, "no-wait", message, literal)
        return
    wanted = Field("text")
    if (path := start_path(operand)) is not None:
        told = [found for event in starts if (found := paths.told(event, path)) is not None]
        if not told:
            hint = paths.meant(starts[0], path, lambda field: not _apart(held, field)) if starts else ""
            hint = hint.replace("did you mean ", "did you mean start.")
            reader.report(at, "unknown-field", paths.untold(path, starts), hint or literal)
            return
        wanted = told[0]
    if "map" in (held.kind, wanted.kind) or "records" in (held.kind, wanted.kind):
        many = name if held.kind in ("map", "records") else operand
        reader.report(at, "bad-condition", f"{many} holds many values: it can't be compared", literal)
    elif _apart(held, wanted):
        message = f"{name} is {_sort(held)}, {operand} is {_sort(wanted)}"
        reader.report(at, "bad-condition", message, literal)


def _apart(held: Field, wanted: Field) -> bool:
    """Whether one is never equal to the other, nor greater."""
    kinds = {held.kind, wanted.kind}
    return bool(kinds & {"map", "records"}) or ("any" not in kinds and _sort(held) != _sort(wanted))


def _sort(held: Field) -> str:
    return {"number": "a number", "flag": "true or false"}.get(held.kind, "a text")


def _never(name: str, tests: Mapping[str, Any]) -> str:
    """Why conditions never hold together; nothing: they may."""
    asks = [op for op in tests if op not in (NOT, EXISTS) and op not in MODIFIERS]
    if tests.get(EXISTS) is False and asks:
        return f"what is missing meets no {asks[0]}"
    several = paths.parse(name).several
    values = [tests["is"]] if "is" in tests else tests.get("in", [])
    if values:
        test = compile_tests({op: operand for op, operand in tests.items() if op != EXISTS}, several)
        texts = all(isinstance(value, str) for value in values) or not {*_TEXTUAL} & tests.keys()
        if test is not None and texts and not any(test(value) for value in values):
            others = [op for op in tests if op not in ("is", EXISTS) and op not in MODIFIERS]
            return f"nothing meets `{'is' if 'is' in tests else 'in'}` and `{others[-1] if others else 'in'}`"
    return _empty(tests, number, _ORDER) or _empty(tests, read_time, _TIMES)


def _empty(tests: Mapping[str, Any], read: Callable[[Any], Any], operators: Sequence[str]) -> str:
    """Whether no number, or no time, lies where they all want it."""
    low: list[tuple[Any, bool, str]] = []  # (bound, whether it is left out, operator)
    high: list[tuple[Any, bool, str]] = []
    for operator in operators:
        if operator in tests and (bound := read(tests[operator])) is not None:
            (low if operator in ("gt", "gte", "after") else high).append(
                (bound, operator in ("gt", "lt", *_TIMES), operator)
            )
    if "between" in tests and isinstance(tests["between"][0], str) == (operators is _TIMES):
        least, most = map(read, tests["between"])
        low.append((least, False, "between"))
        high.append((most, False, "between"))
    for least, left_out, one in low:
        for most, most_left_out, other in high:
            if least > most or (least == most and (left_out or most_left_out)):
                return f"nothing meets `{one}` and `{other}`"
    return ""
