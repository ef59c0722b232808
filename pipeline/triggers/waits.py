"""One rule's waits for one correlation key, worked out by event time from what is known so far (semantics 2 to 14).

A key keeps the facts that no decision has closed yet. `walk` lays them out by event time and finds the waits that they
make; only the first of them can be decided next. A decision closes the key up to the wait's end; what occurred up to
there and comes later is late.
"""

from __future__ import annotations

from bisect import insort
from operator import itemgetter
from typing import Any

import msgspec

from pipeline.triggers import carts
from pipeline.triggers.carts import PUT, Change, Line, Names
from pipeline.triggers.rules import ENDS, RESTART, START, Compiled

# In event time: occurred_at, its rank among what occurred in one millisecond (rules.rank), received_at, event id.
Order = tuple[int, int, int, str]
NEVER: Order = (-1, -1, -1, "")
LAST = "\U0010ffff"
_first = itemgetter(0)
# No person has as much; a robot that keeps one cart open for ever must not grow a profile past what Kafka takes.
FACTS_KEPT = 500


class Fact(msgspec.Struct, array_like=True, gc=False):
    """What one event means to one key. `role`: START, RESTART or CONTENTS; `rank`: see `rules.rank`.

    `change` on a cart's lines, or None. `told`: what the payload wants of it, an e-mail's [campaign] or a film's
    [title, total_length].
    """

    occurred_at: int
    received_at: int
    event_id: str
    role: int
    fingerprint: int
    rank: int
    change: Change | None = None
    trace: str | None = None
    told: list[Any] | None = None

    @property
    def order(self) -> Order:
        return (self.occurred_at, self.rank, self.received_at, self.event_id)


class End(msgspec.Struct, array_like=True, gc=False):
    """An event that ends waits.

    `takes`: it doesn't end a cart, it takes what was ordered out of every one but `own`, the key of the cart whose
    order it was; None: it ends.
    """

    occurred_at: int
    received_at: int
    event_id: str
    reason: str
    before_start: bool = False
    takes: list[Names] | None = None
    own: str | None = None

    @property
    def order(self) -> Order:
        return (self.occurred_at, ENDS, self.received_at, self.event_id)

    def leaves(self, lines: list[Line]) -> list[Line]:
        """What it leaves in a cart that it concerns."""
        if self.takes is None:
            return carts.without(lines, self.occurred_at)
        return carts.bought(lines, self.takes, self.occurred_at)


class Fired(msgspec.Struct, array_like=True, gc=False):
    """A trigger that may still be retracted. `last_start`: of its wait. `lines`: what it told of a cart, where an order
    of another cart may show that it is theirs already.
    """

    id: str
    cause_event_id: str
    occurred_at: int
    due: int
    last_start: Order
    lines: list[Names] = []


class Key(msgspec.Struct, array_like=True, gc=False):
    """All that one rule remembers of one correlation key.

    `closed`: no wait may begin or move at or before it. `lines`: a cart's contents there. `due`: the event-time moment
    at which the first undecided wait is decided, if nothing more comes (due time + lateness), or None.
    `decided`: for a rule that starts once, the due time of the wait that was decided.
    """

    closed: Order = NEVER
    facts: list[Fact] = []
    ends: list[End] = []
    lines: list[Line] = []
    fired: list[Fired] = []
    due: int | None = None
    decided: int | None = None


class Wait(msgspec.Struct, gc=False):
    """One wait as `walk` finds it. `end` None: it runs out at `due`.

    `lines`: the cart as the wait ends; `left`: what is in it right after.
    """

    cause: Fact
    last_start: Order
    due: int
    end: Order | None = None
    reason: str = "due"
    lines: list[Line] = []
    left: list[Line] = []


def _steps(key: Key, everyone: list[End]) -> list[tuple[Order, Fact | None, End | None]]:
    """What is on the way of `walk`, in event-time order: a fact or an end each."""
    steps: list[tuple[Order, Fact | None, End | None]] = [
        ((f.occurred_at, f.rank, f.received_at, f.event_id), f, None) for f in key.facts
    ]
    if key.ends or everyone:
        steps += [(e.order, None, e) for e in (*key.ends, *everyone)]
        steps.sort(key=_first)
    return steps


def walk(rule: Compiled, key: Key, everyone: list[End]) -> tuple[list[Wait], list[Order]]:
    """The undecided waits of a key, and where its cart was left empty, though nothing ended it, in event-time order.

    `everyone`: ends that concern this key among others of the person.
    """
    if rule.once:
        return _walk_once(rule, key, everyone), []
    lines = key.lines
    waits: list[Wait] = []
    emptyings: list[Order] = []
    wait: Wait | None = None
    for order, fact, end in _steps(key, everyone):
        at = order[0]
        if wait is not None and at > wait.due:  # it ran out: nothing later touches it
            wait.lines = wait.left = lines
            wait = None
        before = lines
        ended = None
        if end is not None:
            if wait is not None or order > key.closed:
                lines = end.leaves(lines)
            if end.takes is None:
                ended = end.reason
            elif before and not lines:
                ended = end.reason
                emptyings.append(order)
        else:
            assert fact is not None
            if fact.change is not None:
                lines = lines.copy()
                if carts.apply(lines, fact.change, at) and not lines and rule.emptied:
                    ended = rule.emptied
                    emptyings.append(order)
        if ended is not None:
            if wait is not None:
                wait.end, wait.reason, wait.lines, wait.left = order, ended, before, lines
                wait = None
        elif fact is not None and fact.role == START:
            if wait is None:
                wait = Wait(fact, order, at + rule.after)
                waits.append(wait)
            else:
                wait.cause, wait.last_start, wait.due = fact, order, at + rule.after
        elif fact is not None and fact.role == RESTART and wait is not None:
            wait.cause, wait.due = fact, at + rule.after
    if wait is not None:
        wait.lines = wait.left = lines
    return waits, emptyings


def _walk_once(rule: Compiled, key: Key, everyone: list[End]) -> list[Wait]:
    """A key that starts once has at most one fact: its start."""
    if not key.facts:
        return []
    start = key.facts[0]
    wait = Wait(start, start.order, start.occurred_at + rule.after)
    for order, _, end in _steps(key, everyone):
        if end is not None and (end.before_start or order > start.order) and order[0] <= wait.due:
            wait.end, wait.reason = order, end.reason
            break
    return [wait]


def overtaken(rule: Compiled, key: Key, everyone: list[End], wait: Wait, emptyings: list[Order]) -> bool:
    """Nobody is reminded of what they have just done: a start or end after the due time, received up to D + L, or up
    to when the start was received, where that was later.
    """
    later: list[Order] = [f.order for f in key.facts if f.role == START]
    later += [e.order for e in key.ends]
    later += [e.order for e in everyone if e.takes is None]
    later += emptyings
    known = max(wait.due + rule.lateness, wait.last_start[2])
    return any(o[0] > wait.due and o[2] <= known for o in later)


def next_due(rule: Compiled, key: Key, everyone: list[End]) -> int | None:
    """The event-time moment at which the key's first undecided wait is decided."""
    if not key.facts:
        return None
    facts = key.facts
    if not key.ends and not everyone and not (rule.emptied and any(map(_removes, facts))):
        due = None
        for fact in facts:  # as `walk`, where nothing ends
            if due is not None and fact.occurred_at > due:
                break
            if fact.role == START or (fact.role == RESTART and due is not None):
                due = fact.occurred_at + rule.after
        return None if due is None else due + rule.lateness
    waits, _ = walk(rule, key, everyone)
    return waits[0].due + rule.lateness if waits else None


def _removes(fact: Fact) -> bool:
    return fact.change is not None and fact.change.how != PUT


def add_fact(rule: Compiled, key: Key, fact: Fact) -> None:
    """Take a fact in that has just become known. The caller works `due` out anew."""
    if rule.once:
        if key.decided is not None and rule.forget is not None and fact.received_at > key.decided + rule.forget:
            key.decided = None
            key.closed = NEVER
        if fact.role == START and key.decided is None and not key.facts:
            key.facts.append(fact)
        return
    if fact.occurred_at <= key.closed[0]:  # late: opens and moves nothing, but a cart's lines count from then on
        if fact.change is not None:
            carts.apply(key.lines, fact.change, fact.occurred_at)
        return
    if not key.facts or fact.order >= key.facts[-1].order:
        key.facts.append(fact)
    else:
        insort(key.facts, fact, key=lambda f: f.order)
    if len(key.facts) > FACTS_KEPT:  # a robot: what it did second goes, but for the lines
        gone = key.facts.pop(1)
        if gone.change is not None:
            carts.apply(key.lines, gone.change, gone.occurred_at)


def retracts(key: Key, end: End) -> list[Fired]:
    """The triggers of this key that would not have fired, had this been known; they are then forgotten.

    More than one only where persons that had each fired became one.
    """
    hit = [f for f in key.fired if end.occurred_at <= f.due and (end.before_start or end.order > f.last_start)]
    if end.takes is not None:
        takes = end.takes
        hit = [f for f in hit if f.lines and all(carts.holds(takes, names) for names in f.lines)]
    if hit:
        key.fired = [f for f in key.fired if f not in hit]
    return hit


def clear_late(key: Key, end: End) -> None:
    """A late order or clear: what it took is gone from the contents from then on."""
    if key.lines and end.occurred_at <= key.closed[0]:
        key.lines = end.leaves(key.lines)


def close(rule: Compiled, key: Key, wait: Wait) -> None:
    """The wait is decided: forget what it was made of."""
    end = wait.end if wait.end is not None else (wait.due, ENDS, LAST_RECEIVED, LAST)
    if rule.once:
        key.facts = []
        key.decided = wait.due
        key.closed = max(key.closed, end)
        return
    key.facts = [f for f in key.facts if f.order > end]
    key.lines = wait.left
    key.closed = max(key.closed, end)


LAST_RECEIVED = 1 << 62


def merge(rule: Compiled, a: Key, b: Key, everyone: tuple[list[End], list[End]], now: int, horizon: int) -> Key:
    """Two persons turn out to be one: from now on their open waits of this key are one (semantics 21).

    `everyone`: the ends of each side that concern this key among others. `now`: received_at of the tie (0: it is no
    tie, the same person was in two places). What ended before `horizon` says nothing any more.
    """
    if rule.once and now:  # a click remembered too long is none to those who join
        forget(a, horizon)
        forget(b, horizon)
    closed = max(a.closed, b.closed)
    facts = union(a.facts, b.facts, lambda f: (f.order, f.fingerprint))
    known = [d for d in (a.decided, b.decided) if d is not None and not (rule.forget and now > d + rule.forget)]
    decided = max(known, default=None)
    if rule.once:
        # The decided one absorbs the open one; of two open ones the first received stays.
        first = sorted(facts, key=lambda f: (f.received_at, f.occurred_at, f.event_id))[:1]
        facts = [] if decided is not None else first
    lines: list[Line] = []
    if rule.cart and (a.lines or b.lines):
        starts = [f.order for f in facts if f.role == START]
        until = min([closed, *starts])  # from the first open start on, `walk` sees to it
        ends = ([*a.ends, *everyone[0]], [*b.ends, *everyone[1]])
        sides: list[list[Line]] = []
        for side, other in ((0, 1), (1, 0)):
            key = (a, b)[side]
            told = [e for e in ends[side] if key.closed < e.order <= until]
            told += [e for e in ends[other] if e.order <= until and e.occurred_at >= horizon]
            left = key.lines
            for end in told:
                left = end.leaves(left)
            sides.append(left)
        lines = carts.merged(*sides)
    return Key(
        closed=closed,
        facts=facts,
        ends=union(a.ends, b.ends, lambda e: (e.order, e.reason)),
        lines=lines,
        fired=union(a.fired, b.fired, lambda f: (f.due, f.id)),
        decided=decided,
    )


def union(a: list[Any], b: list[Any], order: Any) -> list[Any]:
    """Both, each once, sorted by `order`."""
    if not a or not b:
        return list(a or b)
    return [x for _, x in sorted({order(x): x for x in [*a, *b]}.items())]


def forget(key: Key, horizon: int) -> bool:
    """Drop what nothing can refer to any more (older than `horizon`, UTC ms); True if the key itself may go."""
    first = key.facts[0].occurred_at if key.facts else horizon
    keep_from = min(horizon, first)
    if key.ends:
        for end in key.ends:
            if key.lines and end.occurred_at < keep_from and end.order > key.closed:
                key.lines = end.leaves(key.lines)  # what it did to the lines stays
        # What stood before an open start was remembered when that came, and counts until it is decided.
        key.ends = [e for e in key.ends if e.occurred_at >= keep_from or (e.before_start and key.facts)]
    if key.fired:
        key.fired = [f for f in key.fired if f.due >= horizon]
    return not (key.facts or key.ends or key.fired or key.lines or key.decided is not None or key.closed[0] >= horizon)
