"""Reads YAML against a grammar: plain values (durations in ms), where each stood, and all that is wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, TypeAlias

import yaml

from pipeline.events.times import EARLIEST, LATEST, rfc3339
from pipeline.grammar import hints
from pipeline.grammar.durations import spelt
from pipeline.grammar.findings import Finding, suggest
from pipeline.grammar.operands import MODIFIERS, NAMED, OPERATORS, REFERENCE, TAKES
from pipeline.grammar.shapes import (
    DURATION,
    FOREVER,
    MOMENT,
    UNITS_MS,
    Anything,
    Choice,
    Duration,
    EventPath,
    Flag,
    Kinds,
    Many,
    Moment,
    Number,
    OneOf,
    Record,
    Severity,
    Shape,
    Table,
    Text,
    Time,
    Value,
    Where,
    Whole,
)
from pipeline.grammar.vocabulary import MADE

Path: TypeAlias = tuple[str | int, ...]


class _Bad:
    """Stands for a value that was reported already."""


BAD = _Bad()


class Reader:
    """Reads one document. Afterwards: `findings`, and the position of every value and key by path.

    `findings`: to which it adds what it finds, where that isn't the first document.
    """

    def __init__(self, file: str, findings: list[Finding] | None = None) -> None:
        self.file = file
        self.findings: list[Finding] = [] if findings is None else findings
        self.elsewhere: dict[Path, str] = {}  # what didn't come from this file: path -> where it came from
        self._values: dict[Path, tuple[int, int]] = {(): (1, 1)}
        self._keys: dict[Path, tuple[int, int]] = {(): (1, 1)}
        self._written: dict[Path, str] = {}
        self._grafts: dict[Path, Reader] = {}
        self._open: set[int] = set()
        self._named = False  # events have names where it is read
        self._construct = yaml.SafeLoader("")

    def report(
        self, path: Path, code: str, message: str, hint: str = "", *, key: bool = False, severity: Severity = "error"
    ) -> None:
        """Add a finding at the value (or the key) at `path`, or at the nearest thing around it that is there."""
        if path in self.elsewhere:
            self.findings.append(Finding(self.elsewhere[path], 0, 0, severity, code, message, hint))
            return
        if (other := self._other(path)) is not None:
            other.report(path, code, message, hint, key=key, severity=severity)
            return
        places = self._keys if key else self._values
        while path not in places and path not in self._values:
            path = path[:-1]
        line, column = places.get(path) or self._values[path]
        self.findings.append(Finding(self.file, line, column, severity, code, message, hint))

    def has(self, path: Path) -> bool:
        """Whether something was written at `path`, right or wrong."""
        other = self._other(path)
        return path in self._values if other is None else other.has(path)

    def written(self, path: Path) -> str:
        """How the operand at `path` is written: `no` where it is read as false."""
        other = self._other(path)
        return self._written.get(path, "") if other is None else other.written(path)

    def graft(self, path: Path, other: Reader) -> None:
        """What `other` read at `path`, a name in a section, counts as if it stood in this document, too."""
        self._grafts[path] = other

    def _other(self, path: Path) -> Reader | None:
        return self._grafts.get(path[:2]) if self._grafts else None

    def place(self, path: Path) -> str:
        """In words: the file and line of what was written at `path`."""
        other = self._other(path)
        return f"in {self.file}, line {self._keys[path][0]}" if other is None else other.place(path)

    def line(self, path: Path) -> int:
        """The line on which what was written at `path`, or around it, begins."""
        while path not in self._values:
            path = path[:-1]
        return self._values[path][0]

    def read(self, text: str, shape: Shape) -> Any:
        """The document's value, without what was wrong."""
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if mark is not None:
                self._values[()] = (mark.line + 1, mark.column + 1)
            self.report((), "yaml-syntax", error.problem or str(error), error.context or "")
            return None
        except yaml.YAMLError as error:
            self.report((), "yaml-syntax", " ".join(str(error).split()))
            return None
        if node is None:
            self.report((), "empty", "the file is empty", "start from the topology.yaml that comes with the project")
            return None
        value = self._read(node, shape, ())
        return None if value is BAD else value

    # -- one method a shape; each returns the value or BAD

    def _read(self, node: yaml.Node, shape: Shape, path: Path) -> Any:
        self._values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if id(node) in self._open:
            return self._bad(path, "recursive-alias", "an alias stands inside of what it names")
        self._open.add(id(node))
        try:
            match shape:
                case Record():
                    return self._record(node, shape, path)
                case Table():
                    return self._table(node, shape, path)
                case Many():
                    return self._many(node, shape, path)
                case Kinds():
                    return self._kinds(node, shape, path)
                case Value():
                    return self._plain(node, shape, path)
                case OneOf():
                    return self._one_of(node, shape, path)
                case Where(named=named):
                    self._named = named
                    return self._where(node, path)
                case Anything():
                    return self._anything(node, path)
                case _:
                    return self._scalar(node, shape, path)
        finally:
            self._open.discard(id(node))

    def _bad(self, path: Path, code: str, message: str, hint: str = "") -> _Bad:
        self.report(path, code, message, hint)
        return BAD

    def _entries(self, node: yaml.Node, path: Path, what: str, hint: str = "") -> list[tuple[str, yaml.Node]] | None:
        """Keys and value nodes of a mapping, each key once; None (reported) when it is no mapping."""
        if not isinstance(node, yaml.MappingNode):
            self.report(path, "wrong-type", f"expected {what}, found {_kind(node)}", hint)
            return None
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            at = (key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, yaml.ScalarNode):
                self.findings.append(Finding(self.file, *at, "error", "wrong-type", f"a key can't be {_kind(key)}"))
                continue
            name = key.value
            if name in entries:
                first = self._keys[(*path, name)]
                message = f"{name} is there twice; the first is on line {first[0]}"
                self.findings.append(Finding(self.file, *at, "error", "duplicate-key", message, "remove one of them"))
                continue
            self._keys[(*path, name)] = at
            self._values[(*path, name)] = (value.start_mark.line + 1, value.start_mark.column + 1)
            entries[name] = value
        return list(entries.items())

    def _record(self, node: yaml.Node, shape: Record, path: Path) -> Any:
        if _is_null(node) and shape.may_be_empty:
            return {}
        hint = ""
        if isinstance(node, yaml.ScalarNode):
            quoted = isinstance(self._construct_scalar(node), str)
            hint = hints.mapping(shape, node.value, quoted=quoted)
        entries = self._entries(node, path, f"a mapping with {_list(shape.keys)}", hint)
        if entries is None:
            return BAD
        result: dict[str, Any] = {}
        for name, child in entries:
            key = shape.keys.get(name)
            if key is None:
                hint = hints.misplaced(name, shape, [other for other, _ in entries])
                if name == "<<":
                    hint = "YAML merge keys aren't supported: write the keys out"
                self.report((*path, name), "unknown-key", f"unknown key {name}", hint, key=True)
                continue
            value = self._read(child, key.shape, (*path, name))
            if value is not BAD:
                result[name] = value
        written = {name for name, _ in entries}
        for name, key in shape.keys.items():
            if key.required and name not in written:
                where = f" in {_dotted(path)}" if path else ""
                self.report(path, "missing-key", f"{name} is missing{where}", key.doc, key=True)
        if shape.some and not written:
            self.report(path, "bad-value", f"{_dotted(path)} is empty", f"write one of {_list(shape.keys)}")
            return BAD
        if shape.one_of or shape.apart:
            chosen = [name for name in (*shape.one_of, *shape.apart) if name in written]
            if not chosen and shape.one_of:
                names = " or ".join(shape.one_of)
                self.report(
                    path, "missing-key", f"{names} is missing in {_dotted(path)}", hints.missing(shape), key=True
                )
            elif len(chosen) > 1:
                message = f"{' and '.join(chosen)} can't stand together"
                self.report((*path, chosen[1]), "conflict", message, "keep one of them", key=True)
        return result

    def _kinds(self, node: yaml.Node, shape: Kinds, path: Path) -> Any:
        kinds = shape.records()
        hint = "join them: {all: [...]}, or {any: [...]}" if isinstance(node, yaml.SequenceNode) else ""
        entries = self._entries(node, path, f"{shape.what} such as {{did: order_completed, within: 7d}}", hint)
        if entries is None:
            return BAD
        told = [name for name, _ in entries if name in kinds]
        if not told:
            found = [name for name, _ in entries]
            hint = hints.condition(found[0], dict(kinds)) if found else f"kinds are {_list(kinds)}"
            message = f"{found[0]} is no kind of condition" if found else f"{shape.what} is empty"
            at = (*path, found[0]) if found else path
            return self._bad_key(at, "unknown-condition", message, hint)
        if len(told) > 1:
            hint = "write each on its own, joined by all: [...] or any: [...]"
            return self._bad_key((*path, told[1]), "conflict", f"{told[0]} and {told[1]} can't stand together", hint)
        return self._record(node, kinds[told[0]], path)

    def _one_of(self, node: yaml.Node, shape: OneOf, path: Path) -> Any:
        lasts = isinstance(node, yaml.ScalarNode) and DURATION.fullmatch(node.value)
        if lasts and isinstance(shape.mapping, Record) and isinstance(shape.plain, Choice | Flag):
            what = shape.plain.what if isinstance(shape.plain, Choice) else "true or false"
            hint = hints.mapping(shape.mapping, node.value, quoted=False)
            return self._bad(path, "wrong-type", f"expected {what}, found {node.value}", hint)
        return self._read_again(node, shape.mapping if _is_map(node) else shape.plain, path)

    def _plain(self, node: yaml.Node, shape: Value, path: Path) -> Any:
        value = self._construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if shape.flags and isinstance(value, bool):
            return value
        found = self._value(node, path)
        if shape.numbers and isinstance(found, str):
            return self._bad(path, "wrong-type", f"expected a number, found {found!r}", hints.numeric(found))
        return found

    def _bad_key(self, path: Path, code: str, message: str, hint: str) -> _Bad:
        self.report(path, code, message, hint, key=True)
        return BAD

    def _table(self, node: yaml.Node, shape: Table, path: Path) -> Any:
        if _is_null(node) and not shape.least:
            return {}
        entries = self._entries(node, path, "a mapping of names")
        if entries is None:
            return BAD
        if len(entries) < shape.least:
            self.report(path, "missing-key", f"{_dotted(path)} is empty", "write at least one entry", key=True)
        result: dict[str, Any] = {}
        for name, child in entries:
            if not _fits(shape.name, name):
                message, hint = f"{name!r} isn't {shape.name.what}", hints.text(shape.name, name)
                self.report((*path, name), "bad-name", message, hint, key=True)
            value = self._read(child, shape.value, (*path, name))
            if value is not BAD:
                result[name] = value
        return result

    def _many(self, node: yaml.Node, shape: Many, path: Path) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            if shape.single:
                value = self._read_again(node, shape.item, path)
                return BAD if value is BAD else [value]
            hint = "write [a, b]" if isinstance(node, yaml.ScalarNode) else "put it in brackets: [{...}]"
            return self._bad(path, "wrong-type", f"expected a list, found {_kind(node)}", hint)
        if len(node.value) < shape.least:
            short = "an empty list" if not node.value else f"a list of {len(node.value)}, fewer than {shape.least}"
            return self._bad(path, "bad-value", f"{_dotted(path)} is {short}")
        if shape.most is not None and len(node.value) > shape.most:
            return self._bad(path, "bad-value", f"{_dotted(path)} is a list of more than {shape.most}")
        values = [self._read(child, shape.item, (*path, index)) for index, child in enumerate(node.value)]
        return [value for value in values if value is not BAD]

    def _read_again(self, node: yaml.Node, shape: Shape, path: Path) -> Any:
        self._open.discard(id(node))
        return self._read(node, shape, path)

    def _where(self, node: yaml.Node, path: Path) -> Any:
        entries = self._entries(node, path, "a mapping of conditions such as {link_id: ebook}")
        if entries is None:
            return BAD
        result: dict[str, dict[str, Any]] = {}
        for name, child in entries:
            at = (*path, name)
            if not _is_map(child):
                value = self._value(child, at)
                if value is not BAD:
                    result[name] = {"is": value}
                continue
            tests: dict[str, Any] = {}
            operators = self._entries(child, at, "a mapping of operators") or []
            if not any(operator not in MODIFIERS for operator, _ in operators):
                self.report(
                    at, "bad-value", f"{name} has no condition", "write {link_id: ebook} or {link_id: {not: ebook}}"
                )
            for operator, operand in operators:
                if operator not in OPERATORS and operator not in MODIFIERS:
                    hint = hints.operator(name, operator, nested=_is_map(operand))
                    self.report((*at, operator), "unknown-operator", f"unknown operator {operator}", hint, key=True)
                    continue
                value = self._operand(operator, operand, (*at, operator))
                if value is not BAD:
                    tests[operator] = value
            if tests.keys() - MODIFIERS:
                result[name] = tests
        return result

    def _operand(self, operator: str, node: yaml.Node, path: Path) -> Any:
        takes = TAKES.get(operator, "value")
        if takes in ("values", "range"):
            self._values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
            if not isinstance(node, yaml.SequenceNode) or not node.value:
                if takes == "range":
                    return self._bad(path, "wrong-type", "`between` needs two numbers or times", "write [10, 20]")
                return self._bad(path, "wrong-type", "`in` needs a list of values", "write {in: [a, b]}")
            if takes == "range":
                return self._range(node, path)
            values = [self._value(child, (*path, index)) for index, child in enumerate(node.value)]
            return [value for value in values if value is not BAD]
        if takes == "flag":
            return self._scalar(node, Flag(), path)
        if takes == "time":
            if isinstance(node, yaml.ScalarNode) and self._is_reference(node.value):
                return self._value(node, path)
            return self._instant(node, path)
        value = self._value(node, path)
        if takes == "number" and value is not BAD and not _is_number(value) and not self._is_reference(value):
            return self._bad(path, "wrong-type", f"`{operator}` compares numbers, found {value!r}")
        return value

    def _is_reference(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        return REFERENCE.fullmatch(value) is not None or (self._named and NAMED.fullmatch(value) is not None)

    def _range(self, node: yaml.SequenceNode, path: Path) -> Any:
        """Two numbers, or two times as texts."""
        ends = [(child, (*path, index)) for index, child in enumerate(node.value)]
        if len(ends) != 2:
            return self._bad(path, "wrong-type", f"`between` needs two numbers or times, found {len(ends)}")
        numbers = [self._is_number_node(child) for child, _ in ends]
        read = self._value if any(numbers) else self._instant
        values = [read(child, at) for child, at in ends]
        if BAD in values:
            return BAD
        if any(numbers) and not all(numbers):
            return self._bad(ends[numbers.index(False)][1], "wrong-type", "a number and a time have no order")
        if values[0] > values[1]:
            return self._bad(path, "bad-value", f"nothing lies between {values[0]} and {values[1]}", "the lesser first")
        return values

    def _is_number_node(self, node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and _is_number(self._construct_scalar(node))

    def _instant(self, node: yaml.Node, path: Path) -> Any:
        """A time, as RFC 3339 in UTC."""
        moment = self._scalar(node, Time(), path)
        if moment is BAD:
            return BAD
        if not EARLIEST <= moment <= LATEST:
            return self._bad(path, "bad-value", "a time lies between the years 1995 and 9999")
        return rfc3339(moment)

    def _value(self, node: yaml.Node, path: Path) -> Any:
        """A text, a finite number, true or false, as written."""
        self._values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if not isinstance(node, yaml.ScalarNode):
            hint = "write {in: [a, b]} for one of several" if isinstance(node, yaml.SequenceNode) else ""
            return self._bad(path, "wrong-type", f"expected a text or a number, found {_kind(node)}", hint)
        self._written[path] = node.value
        value = self._construct_scalar(node)
        if isinstance(value, str | bool) or _is_number(value):
            return value
        hint = "write {exists: false}" if value is None else f'quote it: "{node.value}"'
        return self._bad(path, "wrong-type", f"expected a text or a number, found {_kind(node)}", hint)

    def _scalar(self, node: yaml.Node, shape: Shape, path: Path) -> Any:
        self._values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        value = self._construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None
        written = node.value if isinstance(node, yaml.ScalarNode) else _kind(node)
        match shape:
            case Text():
                if not isinstance(value, str):
                    hint = f'quote it: "{written}"' if isinstance(node, yaml.ScalarNode) else ""
                    if hint and not _fits(shape, written):
                        hint = hints.reference(shape, written) if shape.words else hints.text(shape, written)
                    return self._bad(path, "wrong-type", f"expected {shape.what}, found {_kind(node)}", hint)
                if not _fits(shape, value):
                    hint = hints.reference(shape, value) if shape.words else hints.text(shape, value)
                    return self._bad(path, "bad-value", f"expected {shape.what}, found {value!r}", hint)
                return value
            case EventPath():
                if not isinstance(value, str) or not value:
                    return self._bad(path, "wrong-type", f"expected a field of an event, found {_kind(node)}")
                return value
            case Choice():
                if not isinstance(value, str):
                    hint = f'quote it: "{written}"' if written in shape.options else suggest("", shape.options)
                    return self._bad(path, "wrong-type", f"expected {shape.what}, found {_kind(node)}", hint)
                if value not in shape.options:
                    made = "nobody can send it: the pipeline makes it, and rules speak of it"
                    hint = made if value in MADE else hints.choice(shape, value)
                    return self._bad(path, shape.code, f"{value!r} isn't {shape.what}", hint)
                return value
            case Flag():
                if not isinstance(value, bool):
                    return self._bad(path, "wrong-type", f"expected true or false, found {written}")
                return value
            case Whole():
                most = f" to {shape.most}" if shape.most is not None else " or more"
                if not isinstance(value, int) or isinstance(value, bool):
                    return self._bad(
                        path,
                        "wrong-type",
                        f"expected a whole number ({shape.least}{most}), found {written}",
                        hints.compared(written),
                    )
                if value < shape.least or (shape.most is not None and value > shape.most):
                    return self._bad(path, "bad-value", f"{value} is outside of {shape.least}{most}")
                return value
            case Number():
                if not isinstance(value, int | float) or isinstance(value, bool):
                    return self._bad(path, "wrong-type", f"expected a number, found {written}", hints.numeric(written))
                if not shape.above < value <= shape.most:
                    return self._bad(
                        path, "bad-value", f"expected more than {shape.above}, at most {shape.most}, found {written}"
                    )
                return float(value)
            case Duration():
                return self._duration(value, written, shape, path)
            case Moment():
                return self._moment(written, path)
            case Time():
                return self._time(written, path)
            case _:
                raise AssertionError(shape)

    def _duration(self, value: Any, written: str, shape: Duration, path: Path) -> Any:
        if shape.forever and value == FOREVER:
            return None
        sign = value[:1] if shape.signed and isinstance(value, str) and value[:1] in ("-", "+") else ""
        found = DURATION.fullmatch(value[len(sign) :]) if isinstance(value, str) else None
        if found is None:
            hint = hints.duration(written, shape)
            return self._bad(path, "bad-duration", f"{written!r} isn't a duration", hint)
        duration = int(found[1]) * UNITS_MS[found[2]]
        if duration < shape.least_ms:
            return self._bad(path, "bad-value", f"{written} is too short", f"at least {spelt(shape.least_ms)}")
        if duration > 1_000 * 365 * UNITS_MS["d"]:
            return self._bad(path, "bad-value", f"{written} is more than a thousand years")
        return -duration if sign == "-" else duration

    def _moment(self, written: str, path: Path) -> Any:
        found = MOMENT.fullmatch(written)
        if found is None:
            message = f"expected a time after the test's beginning, found {written}"
            return self._bad(path, "bad-value", message, "write 0m, +59m, 1h30m, 3d, or -10s")
        size = sum(int(number) * UNITS_MS[unit] for number, unit in DURATION.findall(found[2]))
        return -size if found[1] == "-" else size

    def _time(self, written: str, path: Path) -> Any:
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            return self._bad(path, "bad-value", f"{written!r} is no time", "write it as 2026-03-29T01:30:00Z")
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)

    def _anything(self, node: yaml.Node, path: Path) -> Any:
        self._values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            entries = self._entries(node, path, "a mapping") or []
            values = {name: self._read(child, Anything(), (*path, name)) for name, child in entries}
            return {name: value for name, value in values.items() if value is not BAD}
        if isinstance(node, yaml.SequenceNode):
            items = [self._read(child, Anything(), (*path, index)) for index, child in enumerate(node.value)]
            return [item for item in items if item is not BAD]
        assert isinstance(node, yaml.ScalarNode)
        value = self._construct_scalar(node)
        if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and value - value == 0):
            return value
        return self._bad(path, "wrong-type", f"expected a text or a number, found {_kind(node)}", "quote it")

    def _construct_scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            return self._construct.construct_object(node)
        except (yaml.YAMLError, ValueError):
            # an unknown tag, or an impossible date: not one of the kinds of values that a topology holds
            return node


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0


def _fits(shape: Text, value: str) -> bool:
    return shape.pattern is None or re.fullmatch(shape.pattern, value) is not None


def _is_map(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if _is_null(node):
        return "nothing"
    kind = node.tag.rpartition(":")[2]
    return {
        "int": "a number",
        "float": "a number",
        "bool": "true or false",
        "str": "a text",
        "timestamp": "a date",
    }.get(kind, f"a {kind}") + f" ({node.value})"


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def _list(names: Any) -> str:
    return ", ".join(names)
