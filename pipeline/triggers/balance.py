"""What became of waits, counted so that it adds up (docs/waits.md, What adds up).

    opened = decided + absorbed + waiting (+ deferred, once guards do that)

Of a key the first undecided wait counts, from when it is there until it is decided: what comes in another order than it
occurred may make one wait of two that follow, or two of one. With stages each counts, and what ends a wait decides all
that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from pipeline.triggers.facts import Key


class Waits(NamedTuple):
    """Of one rule, in one place, how many. `moved`: with their profile to another place, less those that came."""

    opened: int = 0
    decided: int = 0
    absorbed: int = 0
    moved: int = 0

    @property
    def waiting(self) -> int:
        """What is left."""
        return self.opened - self.decided - self.absorbed - self.moved

    def plus(self, other: Waits) -> Waits:
        """Both."""
        return Waits(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class CountedRule(Protocol):
    """What of a rule (rules.Compiled) matters here. `on_completion`: its waits count once they are decided: the last
    step of a sequence is that something doesn't happen.
    """

    name: str
    balance: Balance
    stages: tuple[Any, ...]
    on_completion: bool


class Balance:
    """All rules', since it was asked for last. The fold counts here, whoever calls it takes what it has counted."""

    def __init__(self) -> None:
        self._rules: dict[str, list[int]] = {}  # the fields of Waits

    def take(self) -> dict[str, Waits]:
        """By rule; from now on it counts anew."""
        found, self._rules = self._rules, {}
        return {rule: Waits(*counted) for rule, counted in found.items()}

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is counted meanwhile is of a copy, and of no wait."""
        kept, self._rules = self._rules, {}
        try:
            yield
        finally:
            self._rules = kept

    def add(self, rule: str, opened: int = 0, decided: int = 0, absorbed: int = 0, moved: int = 0) -> None:
        """So many more."""
        if opened or decided or absorbed or moved:
            counted = self._rules.get(rule)
            if counted is None:
                counted = self._rules[rule] = [0, 0, 0, 0]
            counted[0] += opened
            counted[1] += decided
            counted[2] += absorbed
            counted[3] += moved


def waiting(rule: CountedRule, key: Key) -> int:
    """How many waits of a key count now."""
    return 0 if key.due is None else _left(rule, key)


def _left(rule: CountedRule, key: Key) -> int:
    if rule.on_completion:
        return 0
    if not rule.stages:
        return 1
    return len(rule.stages) - (0 if key.open is None else key.open.stage)


def turned(rule: CountedRule, key: Key) -> None:
    """Something waits that didn't; or nothing does any more, and nothing was decided."""
    left = _left(rule, key)
    if key.due is not None:
        rule.balance.add(rule.name, opened=left)
    else:
        rule.balance.add(rule.name, absorbed=left)


def refused(rule: CountedRule) -> None:
    """One for which there is no room is opened, and decided at once."""
    rule.balance.add(rule.name, opened=1, decided=1)


def decided(rule: CountedRule, key: Key, before: int, *, ends: bool) -> None:
    """One was decided; `before`: how many of its key counted. `ends`: all that are left of it were."""
    many = max(before, 1) if ends else 1
    rule.balance.add(rule.name, opened=waiting(rule, key) - before + many, decided=many)


def joined(rule: CountedRule, before: int, keys: Iterable[Key]) -> None:
    """Two persons became one, whose waits were so many."""
    less = before - sum(waiting(rule, key) for key in keys)
    rule.balance.add(rule.name, opened=max(-less, 0), absorbed=max(less, 0))
