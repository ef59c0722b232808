"""The operators with which a rule compares what an event tells, and what may stand behind each.

What they do stands in `pipeline/language/operators.py`.
"""

from __future__ import annotations

import re
from typing import Literal

OPERATORS: dict[str, str] = {
    # each completes "The field ..."
    "is": "equals this value, as it is written; (a list) one of its items does",
    "not": "doesn't equal it, or is missing; (a list) none of its items equals it",
    "in": "is one of these",
    "contains": "(a list) holds it; (a text) has it somewhere inside",
    "starts_with": "is a text that begins with it",
    "ends_with": "is a text that ends with it",
    "matches": "is a text in which this regular expression (RE2) is found; ^ and $ are its ends",
    "exists": "is there (true) or isn't (false)",
    "gt": "is greater",
    "gte": "is greater or equal",
    "lt": "is less",
    "lte": "is less or equal",
    "between": "lies between two numbers or times, these included",
    "before": "is a time before this one",
    "after": "is a time after this one",
}
MODIFIERS: dict[str, str] = {
    "ignoring_case": "Capital and small letters make no difference to the conditions beside it.",
}

Takes = Literal["value", "values", "number", "time", "range", "flag"]
TAKES: dict[str, Takes] = {
    "in": "values",
    "exists": "flag",
    "ignoring_case": "flag",
    **dict.fromkeys(("gt", "gte", "lt", "lte"), "number"),
    **dict.fromkeys(("before", "after"), "time"),
    "between": "range",
}
"""What stands behind an operator; of those that aren't here a `value`: a text, a number, true or false."""

REFERENCE = re.compile(r"key|start\.(?P<path>.+)", re.DOTALL)
"""What stands for a value of a wait: its correlation key, or what the event told that opened it."""

NAMED = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,63})\.(?P<path>.+)", re.DOTALL)
"""What may stand for what another event told that has a name."""

MEANT = {
    **dict.fromkeys((">", "greater", "more", "above", "over"), "gt"),
    **dict.fromkeys((">=", "≥", "ge", "min", "least", "at_least", "from"), "gte"),
    **dict.fromkeys(("<", "less", "below", "under"), "lt"),
    **dict.fromkeys(("<=", "≤", "le", "max", "most", "at_most", "to"), "lte"),
    **dict.fromkeys(("=", "==", "eq", "equals", "equal"), "is"),
    **dict.fromkeys(("!=", "≠", "<>", "ne", "neq", "isnt", "is_not"), "not"),
    **dict.fromkeys(("has", "includes", "like"), "contains"),
    **dict.fromkeys(("regex", "regexp", "~", "=~", "pattern", "match"), "matches"),
    **dict.fromkeys(("ignore_case", "case_insensitive", "nocase"), "ignoring_case"),
}
"""Other people's words for them."""
