"""Waits that take more than one length of time, worked out by event time: several reminders of one wait, its stages.

A stage that is decided closes its key up to its due time, and leaves the wait open (`Key.open`). From there the others
go on: what ends the wait ends them all at once, what moves it moves those that are left, and a further start begins
anew with the first.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pipeline.language.carts import Line
from pipeline.triggers.dates import CHANGED, Base, Dated
from pipeline.triggers.facts import PAST, RESTART, START, End, Fact, Key, Open, Order, Until, Wait
from pipeline.triggers.recurrence import barred
from pipeline.triggers.rules import Compiled

Steps = list[tuple[Order, Fact | None, End | None]]

ANEW = "begun_anew"


def walk(rule: Compiled, key: Key, steps: Steps, until: Until | None = None) -> tuple[list[Wait], list[Order]]:
    """What `waits.walk` returns: the undecided waits of a key, each stage one, and where its cart was left empty."""
    way = _Way(rule, key, until)
    for order, fact, end in steps:
        if end is not None:
            if _counts(key, order):
                way.end(order, end)
            else:
                way.passed(end)
        elif fact is not None:
            way.fact(order, fact, _counts(key, order))
    way.runs_out()
    if rule.varies:
        _decided_in_order(rule, way.waits)
    return way.waits, way.emptyings


def _decided_in_order(rule: Compiled, waits: list[Wait]) -> None:
    """One that has ended, and would have been longer than the next, is decided with that."""
    soonest = None
    for wait in reversed(waits):
        soonest = moment(rule, wait) if soonest is None else min(soonest, moment(rule, wait))
        wait.moment = soonest


def _counts(key: Key, order: Order) -> bool:
    """Whether it is on the way of what is left of a wait. An end of what is decided was noted when it became known
    (waits.late_end), other facts of it only change a cart.
    """
    return key.open is None or order > key.open.closed


class _Way:
    """A key's steps, taken one by one in event-time order. `wait`: the one that is open there."""

    def __init__(self, rule: Compiled, key: Key, until: Until | None = None) -> None:
        self.rule, self._key = rule, key
        self._until = until
        self.lines = self._seen = key.lines
        self.waits: list[Wait] = []
        self.emptyings: list[Order] = []
        self.wait: Wait | None = None
        self._before: list[End] = []  # what ends a start, though it stands before it
        self._told: Base | None = None  # the date that was told last, if any `_tell`
        self._tell = False
        self._last = self._closed = key.closed
        self._held = key.lines  # before the last event, which may be two facts
        self._earlier, self._left = key.closed, key.lines  # before the last millisecond in which something occurred
        self._decided = key.closed[0]  # up to there what is left of a wait is
        if (left := key.open) is not None:
            self._decided = left.closed[0]
            wait = Wait(left.cause, left.start.order, left.cause.occurred_at + rule.stages[left.stage].after)
            wait.stage, wait.opened, wait.kept = left.stage, left.opened or left.start, left.kept
            self._opens(wait)
            if left.end is not None:
                self._ends(left.end, left.reason, self.lines)

    def runs_out(self, begins: int | None = None, before: Order | None = None) -> None:
        """What is due before something that begins then (None: whatever is left): nothing later touches it. Before that
        ends what waits until something holds, where that is so `before` the step.
        """
        while (wait := self.wait) is not None:
            if self._until is not None and self._holds(wait, self._until, before):
                return
            if begins is not None and begins <= wait.due:
                return
            wait.lines = wait.left = self.lines
            self.wait = None
            if begins is not None and wait.stage + 1 < len(self.rule.stages):
                stage = wait.stage + 1
                due = wait.cause.occurred_at + self.rule.stages[stage].after
                next_one = Wait(wait.cause, wait.last_start, due, stage=stage, opened=wait.opened, kept=wait.kept)
                self._opens(next_one)

    def _holds(self, wait: Wait, until: Until, before: Order | None) -> bool:
        """Whether what it waits until held while it waited: then it has ended."""
        assert wait.opened is not None
        start = wait.opened.occurred_at
        begin = start if wait.stage == 0 else max(start, self._decided + 1)
        found = until(start, begin, wait.due if before is None else min(wait.due, before[0]))
        order = None if found is None else (found[0], PAST, 0, found[1])
        if order is None or (before is not None and order > before):
            return False
        self._ends(order, self.rule.until_reason, self.lines)
        return True

    def end(self, order: Order, end: End) -> None:
        self.runs_out(order[0], order)
        before = self.lines
        if end.asks and self.wait is not None and not end.applies(self.wait.kept):
            return
        if self.rule.on_completion and self.wait is not None and end.is_step(self.wait):
            return
        self.lines = end.leaves(before, None if self.waits or order > self._closed else self._seen)
        if self.wait is None and self.waits and self.waits[-1].end == order:
            self.waits[-1].left = self.lines  # the same event ended it, for another reason
        if end.takes is None:
            if self.wait is not None:
                self._ends(order, end.reason, before)
            elif end.before_start:
                self._before.append(end)
        elif before and not self.lines:
            self.emptyings.append(order)
            self._ends(order, end.reason, before)
        self._last = order

    def passed(self, end: End) -> None:
        """An end that the cart has seen with which it all begins."""
        self.lines = end.leaves(self.lines, self._seen)

    def fact(self, order: Order, fact: Fact, counts: bool) -> None:
        if self.rule.date is not None:
            self._tells(self.rule.date, order, fact)
            return
        if counts:
            self.runs_out(fact.begins, order)
        before, rule = self.lines, self.rule
        if order != self._last:
            self._held = before
            if order[0] != self._last[0]:
                self._earlier, self._left = self._last, before
        self.lines, took = fact.leaves(before)
        if not counts:
            pass
        elif took and not self.lines and rule.emptied:
            self.emptyings.append(order)
            self._ends(order, rule.emptied, before)
        elif fact.role == START:
            self._starts(order, fact, before)
        elif fact.role == RESTART and (wait := self.wait) is not None:
            wait.due = fact.occurred_at + self._length(wait, fact)
            wait.cause = fact
        self._last = order

    def _tells(self, date: Dated, order: Order, fact: Fact) -> None:
        """It tells a date. The same again is nothing, another one that is still to come opens or moves the wait."""
        self.runs_out(fact.begins, order)
        base = date.base(fact.kept)
        if fact.timed and self._tell and base != self._told:  # another date had been told by then, or none
            return
        same, self._told, self._tell = base == self._told and not fact.timed, base, True
        self._last = order
        if same or fact.role != START:
            return
        if fact.length is not None:
            self._starts(order, fact, self.lines)
        elif self.wait is not None:
            self._ends(order, CHANGED, self.lines)

    def _starts(self, order: Order, fact: Fact, before: list[Line]) -> None:
        wait = self.wait
        if wait is not None and fact.turned is not None:
            return  # while something waits a turn is nothing
        if wait is not None and wait.stage == 0:
            wait.due = fact.occurred_at + self._length(wait, fact)
            wait.cause, wait.last_start = fact, order
            if self.rule.on_completion:  # what must not follow speaks of the sequence that moved it
                wait.kept = fact.kept
            return
        if wait is not None and barred(self._key, fact):
            return  # it was no start too soon to whom it belonged before a tie
        if wait is not None:
            # Nothing of the start's own millisecond: it may be two facts, and more may have happened to a cart.
            wait.closes = max(self._earlier, (order[0], -1, -1, ""))
            self._ends(order, ANEW, self._held, left=self._left)
        new = Wait(fact, order, 0, opened=fact, kept=fact.kept)
        new.due = fact.occurred_at + self._length(new, fact)
        self._opens(new)
        if self._before and (first := next((end for end in self._before if end.applies(fact.kept)), None)) is not None:
            self._ends(first.order, first.reason, before)

    def _length(self, wait: Wait, fact: Fact) -> int:
        """How long it waits from a fact on: what moves it may tell no length of its own."""
        if self.rule.stages:
            return self.rule.stages[wait.stage].after
        if not self.rule.varies:
            return self.rule.after
        if fact.length is not None:
            wait.length = fact.length
        return wait.length

    def _opens(self, wait: Wait) -> None:
        self.wait = wait
        self.waits.append(wait)

    def _ends(self, order: Order, reason: str, before: list[Line], left: list[Line] | None = None) -> None:
        wait = self.wait
        if wait is not None:
            wait.end, wait.reason, wait.lines = order, reason, before
            wait.left = self.lines if left is None else left
            if wait.stage:
                wait.moment = order[0] + self.rule.lateness
            self.wait = None


def moment(rule: Compiled, wait: Wait) -> int:
    """When it is decided, if nothing more comes (UTC ms)."""
    return wait.due + rule.lateness if wait.moment is None else wait.moment


def runs(rule: Compiled, key: Key, steps: Steps) -> Iterator[tuple[Order, Fact, bool, bool, list[Line]]]:
    """See waits._runs."""
    way = _Way(rule, key)
    alone, last = True, None
    for order, fact, end in steps:
        wait, counts = way.wait, _counts(key, order)
        if fact is None or not counts:
            if fact is not None:
                way.fact(order, fact, counts)
                yield order, fact, True, True, way.lines
            elif end is not None and counts:
                way.end(order, end)
            elif end is not None:
                way.passed(end)
            alone = True
            continue
        way.runs_out(fact.begins)
        alone |= way.wait is not wait
        wait, emptied = way.wait, len(way.emptyings)
        length = rule.after if wait is None else wait.due - wait.cause.occurred_at
        alone |= last is not None and fact.begins - last > length
        way.fact(order, fact, counts)
        turned = way.wait is not wait or len(way.emptyings) > emptied
        yield order, fact, alone or (turned and wait is not None), turned, way.lines
        alone, last = False, order[0]


def joined(rule: Compiled, a: Key, b: Key) -> Open | None:
    """What is left of the waits of two who turn out to be one. Of two of which stages are decided the one that started
    last goes on. What is decided to the end may absorb what is left of the other.
    """
    if a.open is None or b.open is None:
        left, other = (b.open, a) if a.open is None else (a.open, b)
        return None if rule.recurrence.absorbs(other) else left
    one, two = (a.open, b.open) if _further(a.open) >= _further(b.open) else (b.open, a.open)
    known = [each for each in (one, two) if each.end is not None and each.start.order == one.start.order]
    if known:
        first = min(known, key=lambda each: (each.end, each.reason))
        return msgspec.structs.replace(one, end=first.end, reason=first.reason)
    return one


def _further(left: Open) -> tuple[Order, int, Order]:
    return left.start.order, left.stage, left.cause.order
