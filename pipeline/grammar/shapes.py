"""Building blocks for saying what a YAML document may hold.

A document's grammar is written once with them (grammar.py). Two readers use it: the linter (reader.py), which finds
everything that is wrong and where, and the JSON Schema for editors (jsonschema.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

DURATION = re.compile(r"([0-9]+)(ms|s|m|h|d)")
MOMENT = re.compile(r"([+-]?)((?:[0-9]+(?:ms|s|m|h|d))+|0)")
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
FOREVER = "forever"


@dataclass(frozen=True)
class Text:
    """A text that matches `pattern` as a whole; `what` completes "expected ...". `words`: one of which stands before
    its first dot.
    """

    what: str = "a text"
    pattern: str | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """One of a fixed set of words. `code` is the finding's when it is another word; `otherwise` says what else may be
    meant by a word that is hardly like one of them, `meant` what by a certain other.
    """

    options: tuple[str, ...]
    what: str
    code: str = "bad-value"
    otherwise: str = ""
    meant: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Flag:
    """true or false."""


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    least: int
    most: int | None = None


@dataclass(frozen=True)
class Number:
    """A number; `above` is excluded, `most` is included."""

    above: float
    most: float


@dataclass(frozen=True)
class Duration:
    """`250ms`, `10s`, `5m`, `1h`, `3d`; read as milliseconds. With `forever`, that word too; read as None. `signed`:
    perhaps with a sign before it, `-30d`.
    """

    least_ms: int = 1
    forever: bool = False
    signed: bool = False


@dataclass(frozen=True)
class Moment:
    """A point in time relative to a beginning: `0m`, `+59m`, `1h30m`, `-10s`; read as milliseconds."""


@dataclass(frozen=True)
class Time:
    """A date and time, such as 2026-03-29T01:30:00Z (RFC 3339; without a zone: UTC); read as UTC milliseconds."""


@dataclass(frozen=True)
class Anything:
    """Any value that JSON can hold too: texts, numbers, true and false, nothing, lists and mappings of these."""


@dataclass(frozen=True)
class Many:
    """A list; with `single`, one item may stand without brackets. Read as a list."""

    item: Shape
    single: bool = False
    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class Clause:
    """One key of a record."""

    shape: Shape
    doc: str
    required: bool = False


@dataclass(frozen=True)
class Record:
    """A mapping with known keys. `one_of`: exactly one of these must be there; `apart`: one at most; `some`: at least
    one key. Nothing required: may be empty.
    """

    keys: dict[str, Clause] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    some: bool = False

    @property
    def may_be_empty(self) -> bool:
        """Whether `name:` with nothing behind it is fine."""
        return not self.one_of and not self.some and not any(key.required for key in self.keys.values())


@dataclass(frozen=True)
class Table:
    """A mapping from names that the deployer chooses to values of one shape."""

    name: Text
    value: Shape
    least: int = 0


@dataclass(frozen=True)
class Value:
    """A text or a finite number, true or false too where `flags`; only numbers where `numbers`."""

    numbers: bool = False
    flags: bool = False


@dataclass(frozen=True)
class Kinds:
    """A mapping whose kind is told by one of its keys: `records` gives what may be written for each. `name`: of the
    definition in the editors' schema.
    """

    records: Callable[[], Mapping[str, Record]]
    what: str
    name: str


class EventPath:
    """How an event's field is named: cart_id, properties.plan, products.sku (language/paths.py)."""


@dataclass(frozen=True)
class OneOf:
    """A mapping, or something else that is read as `plain`."""

    plain: Shape
    mapping: Shape


@dataclass(frozen=True)
class Where:
    """Conditions on what an event tells: `path: value` or `path: {operator: value}` (operands.py). Read as
    {path: {operator: value}}; a time is read as RFC 3339 in UTC. `named`: values may stand for what other events told
    that have names, `a.total`.
    """

    named: bool = False


Shape: TypeAlias = (
    Text
    | Choice
    | Flag
    | Whole
    | Number
    | Value
    | Duration
    | Moment
    | Time
    | Anything
    | Many
    | Record
    | Table
    | Kinds
    | EventPath
    | OneOf
    | Where
)

Severity = Literal["error", "warning", "note"]
