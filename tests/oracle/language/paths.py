"""Paths and tests on what an event tells. Shares no code with `pipeline`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tests.oracle.reading import EMPTIED, TIDY
from tests.oracle.spelling import key as as_key
from tests.oracle.spelling import several
from tests.oracle.who import Fact

Resolve = Callable[[Any], Any]
"""The right side of a test -> its value: what names the wait's start or key is looked up there."""

VISIT = "visit_started"
CHANGES = ("segment_entered", "segment_left")
MADE = (VISIT, *CHANGES)
"""36, 37: what nobody sends."""
OWN_DOING_NOT = (*MADE, "email_sent", "email_delivered", "email_bounced", "email_complained", "order_refunded")
BY_MACHINES = ("email_opened", "email_clicked")


def own_doing(fact: Fact) -> bool:
    """37: is it anything that the person did themselves?"""
    if fact.type in OWN_DOING_NOT or (fact.type in BY_MACHINES and fact.get("confidence") == "machine"):
        return False
    return fact.get("channel") != "server"


def is_type(fact: Fact, events: tuple[str, ...] | list[str]) -> bool:
    """Is it one of these? `any` is anything of a person's own doing. 13: what tells no products is a Cart Updated
    still."""
    told = "cart_updated" if fact.type == EMPTIED else fact.type
    return told in events or ("any" in events and own_doing(fact))


SENDERS = ("traits", "properties", "fields")
"""What holds values under names of their senders."""


def under(told: Any, names: list[str]) -> Any:
    """What is told under that name; where it isn't, but the first part of it is an object, what lies in there, as text.
    Objects are told as JSON."""
    whole = ".".join(names)
    if not isinstance(told, dict) or whole in told or len(names) < 2:
        return told.get(whole) if isinstance(told, dict) else None
    inner = told.get(names[0])
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except ValueError:
            return None
    found = under(inner, names[1:])
    return found if found is None or isinstance(found, str) else json.dumps(found, separators=(",", ":"))


@lru_cache(maxsize=1 << 16)
def values(fact: Fact, path: str) -> tuple[Any, ...]:
    """All that an event tells under a path; nothing where it is missing. 15: no length is nought. (Asked over and over,
    so it is remembered.)"""
    head, *rest = path.split(".")
    if head in SENDERS and rest:
        told = under(fact.get(head), rest)
        return () if told is None else (told,)
    place: Any = fact.context if head == "context" else fact.get(head)
    found = several(place) if isinstance(place, list) or (head == "products" and rest) else [place]
    for name in rest:
        found = [one.get(name) if isinstance(one, dict) else None for one in found]
    return tuple(one for one in found if one is not None and not (path == "total_length" and not one))


def keys(fact: Fact, path: str) -> list[str]:
    """The keys that an event names, each once; placeholders are none (18)."""
    tidy = TIDY.get(path, as_key)
    told = [tidy(one) for one in values(fact, path)]
    return list(dict.fromkeys(str(one) for one in told if one not in (None, "")))


def number(value: Any) -> Fraction | None:
    """A number, or text that is one; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        return None


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "is": lambda a, b: a == b,
    "not": lambda a, b: a != b,
}


def compares(value: Any, test: Any) -> bool:
    """A number against `{gte: 3, lt: 10}`; a number alone means at least."""
    told = test if isinstance(test, dict) else {"gte": test}
    return all(COMPARE[op](value, Fraction(str(limit))) for op, limit in told.items() if op in COMPARE)


def equal(one: Any, other: Any) -> bool:
    """Is it the same value? A number and the text that says it are, and so are true and false."""
    if isinstance(one, str) and isinstance(other, bool):
        return one.strip().lower() == str(other).lower()
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    return one == other or (number(one) is not None and number(one) == number(other))


def one_meets(value: Any, op: str, want: Any) -> bool:
    """One value against one operator other than `not` and `exists`."""
    if op == "is":
        return equal(value, want)
    if op == "in":
        return any(equal(value, one) for one in want)
    if op in ("gt", "gte", "lt", "lte"):
        told, limit = number(value), number(want)
        return told is not None and limit is not None and COMPARE[op](told, limit)
    if op == "between":
        told = number(value)
        return told is not None and Fraction(str(want[0])) <= told <= Fraction(str(want[1]))
    if not isinstance(value, str):
        return False
    if op == "contains":
        return str(want) in value
    if op == "starts_with":
        return value.startswith(str(want))
    if op == "ends_with":
        return value.endswith(str(want))
    if op == "matches":
        return re.search(str(want), value) is not None
    raise ValueError(f"unknown operator: {op}")


def meets(fact: Fact, path: str, test: Any, resolve: Resolve) -> bool:
    """Does what the event tells under a path meet a test? Missing, it meets only `not` and `exists: false`."""
    told = values(fact, path)
    listed = isinstance(fact.get(path), list)
    ops = dict(test) if isinstance(test, dict) else {"is": test}
    fold = (lambda one: one.lower() if isinstance(one, str) else one) if ops.pop("ignoring_case", False) else None
    for op, right in ops.items():
        want = [resolve(one) for one in right] if isinstance(right, list) else resolve(right)
        found = told
        if fold is not None:
            want = [fold(one) for one in want] if isinstance(want, list) else fold(want)
            found = tuple(fold(one) for one in found)
        if op == "exists":
            good = bool(found) == want
        elif op == "not":
            good = not any(equal(one, want) for one in found)
        elif want is None:
            good = False
        elif op == "contains" and listed:
            good = any(equal(one, want) for one in found)
        else:
            good = any(one_meets(one, op, want) for one in found)
        if not good:
            return False
    return True


def matches(fact: Fact, where: dict[str, Any], resolve: Resolve = lambda told: told) -> bool:
    """Do all tests hold of an event?"""
    return all(meets(fact, path, test, resolve) for path, test in where.items())
