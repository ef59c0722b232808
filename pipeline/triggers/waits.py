"""One rule's waits for one correlation key, worked out by event time from what is known so far (semantics 2 to 14).

A key keeps the facts that no decision has closed yet. `walk` lays them out by event time and finds the waits that they
make; only the first of them can be decided next. A decision closes the key up to the wait's end; what occurred up to
there and comes later is late.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import msgspec

from pipeline.language import carts
from pipeline.language.carts import PUT, SET, Item, Line
from pipeline.language.whereabouts import Whereabouts
from pipeline.triggers import at_once, recoveries, stages
from pipeline.triggers.facts import (
    CONTENTS,
    PAST,
    RESTART,
    START,
    End,
    Fact,
    Fired,
    Folded,
    Key,
    Open,
    Order,
    Until,
    Wait,
)
from pipeline.triggers.recurrence import barred
from pipeline.triggers.rules import Compiled

_first = itemgetter(0)
# Of a key. No person has as much; a robot that keeps one cart open for ever must not grow a profile past what Kafka
# takes.
FACTS_KEPT = 500
ENDS_KEPT = 500


def _steps(rule: Compiled, key: Key, everyone: list[End]) -> list[tuple[Order, Fact | None, End | None]]:
    """What is on the way of `walk`, in event-time order: a fact or an end each. The ends that one event is come as they
    stand in the rule, and after them one that takes something out, and so may leave nothing.
    """
    steps: list[tuple[Order, Fact | None, End | None]] = [
        ((f.occurred_at, f.rank, f.received_at, f.event_id), f, None) for f in key.facts
    ]
    if key.ends or everyone:
        ends = [*key.ends, *everyone]
        if len(ends) > 1 and (everyone or rule.takes):
            ends.sort(key=rule.place)
        steps += [(e.order, None, e) for e in ends]
        steps.sort(key=_first)
    return steps


def walk(rule: Compiled, key: Key, everyone: list[End], until: Until | None = None) -> tuple[list[Wait], list[Order]]:
    """The undecided waits of a key, and where its cart was left empty, though nothing ended it, in event-time order.

    `everyone`: ends that concern this key among others of the person. `until`: what else ends a wait.
    """
    if rule.at_once:
        return at_once.walk(rule, key, everyone, until), []
    if rule.general:
        return stages.walk(rule, key, _steps(rule, key, everyone), until)
    lines = key.lines
    waits: list[Wait] = []
    emptyings: list[Order] = []
    wait: Wait | None = None
    early: list[End] = []  # what ends a start, though it stands before it
    for order, fact, end in _steps(rule, key, everyone):
        at = order[0]
        begins = at if fact is None or fact.folded is None else fact.folded.first
        if wait is not None and begins > wait.due:  # it ran out: nothing later touches it
            wait.lines = wait.left = lines
            wait = None
        before = lines
        ended = None
        if end is not None:
            if end.before_start and wait is None:
                early.append(end)
            if end.asks and (wait is None or not end.applies(wait.kept)):
                continue
            if rule.on_completion and wait is not None and end.is_step(wait):
                continue
            lines = end.leaves(lines, None if waits or order > key.closed else key.lines)
            if wait is None and waits and waits[-1].end == order:
                waits[-1].left = lines  # the same event ended it, for another reason
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
            elif fact.folded is not None:
                lines = fact.folded.lines
        if ended is not None:
            if wait is not None:
                wait.end, wait.reason, wait.lines, wait.left = order, ended, before, lines
                wait = None
        elif fact is not None and fact.role == START:
            if wait is None:
                wait = Wait(fact, order, at + rule.after, kept=fact.kept)
                waits.append(wait)
                if early and (first := next((each for each in early if each.applies(fact.kept)), None)) is not None:
                    wait.end, wait.reason, wait.lines, wait.left = first.order, first.reason, before, lines
                    wait = None
            else:
                wait.cause, wait.last_start, wait.due = fact, order, at + rule.after
                if rule.on_completion:
                    wait.kept = fact.kept
        elif fact is not None and fact.role == RESTART and wait is not None:
            wait.cause, wait.due = fact, at + rule.after
    if wait is not None:
        wait.lines = wait.left = lines
    return waits, emptyings


def first(rule: Compiled, key: Key, everyone: list[End], until: Until | None = None) -> tuple[Wait | None, list[Order]]:
    """Of what `walk` finds the first wait, which alone can be decided next, and all the rest."""
    if until is None and not rule.at_once:
        if _straight(rule, key, everyone):
            return _first_straight(rule, key, everyone), []
        if (left := key.open) is not None and _alone(rule, key, left, everyone):
            due = left.cause.occurred_at + rule.stages[left.stage].after
            wait = Wait(left.cause, left.start.order, due, lines=key.lines, left=key.lines, stage=left.stage)
            wait.opened, wait.kept = left.opened or left.start, left.kept
            return wait, []
    found, emptyings = walk(rule, key, everyone, until)
    return (found[0] if found else None), emptyings


def _straight(rule: Compiled, key: Key, everyone: list[End]) -> bool:
    """Whether the first wait of a key hangs on nothing but what starts and moves it, what ends it at once, and what it
    waits until: nothing is left of one, all are as long, and none ends by what is left in a cart.
    """
    if key.open is not None or rule.varies:
        return False
    if key.ends or everyone:
        return not (rule.cart or rule.takes or rule.on_completion)
    return not (rule.emptied and _may_empty(key))


def _alone(rule: Compiled, key: Key, left: Open, everyone: list[End]) -> bool:
    """Whether of a key nothing is known but what is left of a wait, which runs out."""
    return not (key.facts or key.ends or everyone or left.end is not None or rule.varies)


def _first_straight(rule: Compiled, key: Key, everyone: list[End]) -> Wait | None:
    """The first wait where that is so, or the first stage of it."""
    lines = key.lines
    wait: Wait | None = None
    end: End | None = None
    for fact in key.facts:
        at = fact.occurred_at
        if wait is not None:
            begins = at if fact.folded is None else fact.folded.first
            if begins > wait.due or (end is not None and fact.order > end.order):
                break
        if fact.change is not None:
            lines = lines.copy()
            carts.apply(lines, fact.change, at)
        elif fact.folded is not None:
            lines = fact.folded.lines
        if fact.role == START:
            order = (at, fact.rank, fact.received_at, fact.event_id)
            if wait is None:
                wait = Wait(fact, order, at + rule.after, opened=fact if rule.general else None, kept=fact.kept)
                end = _end_of(rule, key, everyone, fact) if key.ends or everyone else None
            elif fact.turned is None:  # while something waits a turn is nothing
                wait.cause, wait.last_start, wait.due = fact, order, at + rule.after
                if rule.on_completion:
                    wait.kept = fact.kept
        elif fact.role == RESTART and wait is not None:
            wait.cause, wait.due = fact, at + rule.after
    if wait is not None:
        wait.lines = wait.left = lines
        if end is not None and end.occurred_at <= wait.due:
            wait.end, wait.reason = end.order, end.reason
    return wait


def _end_of(rule: Compiled, key: Key, everyone: list[End], start: Fact) -> End | None:
    """What ends a wait that opens with a start, if it hasn't run out by then: the first that stands behind it, or
    counts though it stands before it.
    """
    found: End | None = None
    for end in (*key.ends, *everyone):
        if end.before_start or (end.occurred_at >= start.occurred_at and end.order > start.order):
            if not end.applies(start.kept):
                continue
            if found is None or (end.order, rule.place(end)) < (found.order, rule.place(found)):
                found = end
    return found


def overtaken(rule: Compiled, key: Key, everyone: list[End], wait: Wait, emptyings: list[Order]) -> bool:
    """Nobody is reminded of what they have just done: a start or end after the due time, received up to D + L, or up
    to when the start was received, where that was later.
    """
    if not (key.ends or everyone or emptyings) and (not key.facts or key.facts[-1].occurred_at <= wait.due):
        return False  # nearly always
    if rule.at_once:
        return False
    starts = [f for f in key.facts if f.role == START and not f.timed and not barred(key, f)]
    later: list[Order] = [f.order for f in starts if not _same(rule, f, wait)]
    later += [e.order for e in key.ends if not e.asks or e.applies(wait.kept)]
    later += [e.order for e in everyone if e.takes is None and (not e.asks or e.applies(wait.kept))]
    later += emptyings
    known = max(wait.due + rule.lateness, wait.last_start[2])
    return any(o[0] > wait.due and o[2] <= known for o in later)


def _same(rule: Compiled, fact: Fact, wait: Wait) -> bool:
    """Whether a fact tells the date again that a wait lasts up to."""
    return rule.date is not None and rule.date.base(fact.kept) == rule.date.base(wait.cause.kept)


def next_due(rule: Compiled, key: Key, everyone: list[End], until: Until | None = None) -> int | None:
    """The event-time moment at which the key's first undecided wait is decided."""
    facts = key.facts
    if rule.at_once:
        return at_once.next_due(rule, key)
    if not facts and key.open is None:
        return None
    if _straight(rule, key, everyone):
        due = stop = None
        moved = False
        for fact in facts:  # as `first` finds the first wait, or the first stage of it
            if due is None:
                moves = fact.role == START
                if moves and (key.ends or everyone) and (end := _end_of(rule, key, everyone, fact)) is not None:
                    stop = end.order
            elif (fact.occurred_at if fact.folded is None else fact.folded.first) > due or (
                stop is not None and fact.order > stop
            ):
                break
            else:
                moves = fact.role == RESTART or (fact.role == START and fact.turned is None)
                moved |= moves
            if moves:
                due = fact.occurred_at + rule.after
        if until is None or not moved:  # a wait that has ended is decided when it would have run out
            return None if due is None else due + rule.lateness
    if until is None and key.open is not None and _alone(rule, key, key.open, everyone):
        return key.open.cause.occurred_at + rule.stages[key.open.stage].after + rule.lateness
    if rule.general:
        found = stages.walk(rule, key, _steps(rule, key, everyone), until)[0]
        return stages.moment(rule, found[0]) if found else None
    waits, _ = walk(rule, key, everyone)
    return waits[0].due + rule.lateness if waits else None


def _may_empty(key: Key) -> bool:
    """Whether a cart may have been left empty, by a quick look: not where more products were put in than were taken."""
    for fact in key.facts:
        if (change := fact.change) is not None and change.how != PUT:
            break
    else:  # nearly always
        return False
    there = _ids(key.lines)
    taken = 0
    for fact in key.facts:
        if fact.folded is not None:
            there, taken = _ids(fact.folded.lines), 0
        elif (change := fact.change) is not None:
            if change.how == PUT:
                there |= _ids(change.items)
            elif change.how == SET:
                return True
            else:
                taken += len(change.items)
                if taken >= len(there):
                    return True
    return False


def _ids(told: list[Line] | list[Item]) -> set[str]:
    return {name for each in told if each.names and (name := each.names[0])}


def add_fact(rule: Compiled, key: Key, fact: Fact, everyone: list[End]) -> bool:
    """Take a fact in that has just become known. The caller works `due` out anew. False: there is no room for it."""
    if rule.recurrence.takes(key, fact):
        return True
    if fact.occurred_at <= key.closed[0]:  # late: opens and moves nothing, but a cart's lines count from then on
        if fact.change is not None:
            carts.apply(key.lines, fact.change, fact.occurred_at)
        return True
    if len(key.facts) >= FACTS_KEPT:
        _fold(rule, key, everyone, FACTS_KEPT // 2)
        if len(key.facts) >= FACTS_KEPT:
            _fold(rule, key, everyone, FACTS_KEPT)
        if len(key.facts) >= FACTS_KEPT:
            key.bounded = True
            return False
    place = fact.order
    if not key.facts or place > key.facts[-1].order:
        key.facts.append(fact)
    else:  # what an event completes begins before what it does to a cart, which may leave it empty
        insort(key.facts, fact, key=lambda f: (f.order, f.change is not None))
    if key.folded is not None and fact.order < key.folded:
        key.bounded = True
    return True


def _fold(rule: Compiled, key: Key, everyone: list[End], upto: int) -> None:
    """Too many facts: of the first `upto`, those that follow one another undisturbed become one. Which waits there are,
    and what is in the cart, stays the same; only what occurred in between and comes later finds less.
    """
    out: list[Fact] = []
    undisturbed = 0  # from this place of `out` on
    steps = _steps(rule, key, everyone)
    runs = stages.runs(rule, key, steps) if rule.general else _runs(rule, key, steps)
    for done, (order, fact, alone, turns, lines) in enumerate(runs, 1):
        if alone:
            undisturbed = len(out)
        begins = None
        while done <= upto and len(out) > undisturbed and _strength(out[-1]) <= _strength(fact):
            begins = out.pop().begins
        if begins is not None:
            fact = msgspec.structs.replace(fact, change=None, folded=Folded(begins, lines))
            key.folded = order if key.folded is None else max(key.folded, order)
        out.append(fact)
        if turns:
            undisturbed = len(out)
    key.facts = out


def _runs(
    rule: Compiled, key: Key, steps: list[tuple[Order, Fact | None, End | None]]
) -> Iterator[tuple[Order, Fact, bool, bool, list[Line]]]:
    """Each fact, in event-time order: whether something stands between it and the one before, whether it turns what
    comes after it into something else, and what is in the cart then.
    """
    alone = began = False
    lines, due, last = key.lines, None, None
    for order, fact, end in steps:
        at = order[0]
        if due is not None and (at if fact is None else fact.begins) > due:
            due, alone = None, True
        if end is not None:
            before = lines
            lines = end.leaves(lines, None if began or order > key.closed else key.lines)
            if end.takes is None or (before and not lines):
                due = None
            alone = True
            continue
        assert fact is not None
        lines, took = fact.leaves(lines)
        if took and not lines and rule.emptied:
            due = None
            yield order, fact, True, True, lines
            alone = False
            continue
        opens = due is None and fact.role == START
        began |= opens
        alone |= opens or (last is not None and fact.begins - last > rule.after)
        last = at
        if fact.role == START or (fact.role == RESTART and due is not None):
            due = at + rule.after
        yield order, fact, alone, opens, lines
        alone = False


def _strength(fact: Fact) -> int:
    """What starts says all that what moves a wait does, and that all that what only changes a cart does."""
    return 2 if fact.role == START else 1 if fact.role == RESTART else 0


def retracts(key: Key, end: End) -> list[Fired]:
    """The triggers of this key that would not have fired, had this been known; they are then forgotten.

    More than one only where persons that had each fired became one.
    """
    hit = [f for f in key.fired if end.occurred_at <= f.due and (end.before_start or end.occurred_at >= f.started)]
    if end.takes is not None:
        takes = end.takes
        hit = [f for f in hit if f.lines and all(carts.holds(takes, names) for names in f.lines)]
    if end.asks:
        hit = [f for f in hit if end.applies(f.kept)]
    if hit:
        key.fired = [f for f in key.fired if f not in hit]
        if key.credits:
            recoveries.spend(key, hit)
    return hit


def clear_late(key: Key, end: End) -> bool:
    """A late order or clear: what it took is gone from the contents from then on. True: that was all."""
    if key.lines and end.occurred_at <= key.closed[0]:
        key.lines = end.leaves(key.lines)
        return not key.lines
    return False


def close(rule: Compiled, key: Key, wait: Wait) -> None:
    """The wait is decided: forget what it was made of. Of one with stages that are left something stays open."""
    end = wait.end if wait.end is not None else (wait.due, PAST, 0, "")
    if rule.stages:
        end = wait.closes or end
        key.open = _left(rule, key, wait, end)
    if rule.recurrence.shut(key, wait.due, end):
        return
    if rule.at_once:
        at_once.close(key, wait)
        return
    facts = key.facts  # in that order
    key.facts = [] if not facts or facts[-1].order <= end else [f for f in facts if f.order > end]
    if rule.date is not None and len(key.facts) < len(facts):  # what was told last, told again, is nothing
        told = _first_telling(rule, facts[: len(facts) - len(key.facts)])
        key.facts.insert(0, msgspec.structs.replace(told, role=CONTENTS))
    key.lines = wait.left
    key.closed = max(key.closed, end)
    if key.folded is None or key.folded <= end:
        key.folded, key.bounded = None, False


def _first_telling(rule: Compiled, facts: list[Fact]) -> Fact:
    """Of those that told the same date last the first: again it is nothing. That a year began anew told nothing."""
    date = rule.date
    assert date is not None
    facts = [fact for fact in facts if not fact.timed] or facts
    base, first = date.base(facts[-1].kept), facts[-1]
    for fact in reversed(facts):
        if date.base(fact.kept) != base:
            break
        first = fact
    return first


def begin_again(rule: Compiled, key: Key, wait: Wait, whereabouts: Whereabouts | None) -> None:
    """A date that comes every year has come: the wait up to the next one opens, if none other was told."""
    before = [fact for fact in key.facts if fact.occurred_at <= wait.due]
    told = _first_telling(rule, before) if before else None
    if told is not None and told.role != CONTENTS and not _same(rule, told, wait):
        return  # that waits, and begins again, for itself
    if told is None or (told.role != CONTENTS and (told.length is None or told.occurred_at + told.length > wait.due)):
        return
    fact = msgspec.structs.replace(told, occurred_at=wait.due, received_at=wait.due, role=START, timed=True)
    fact.length = rule.length(wait.due, fact.kept, whereabouts, again=True)
    if fact.length is not None:
        insort(key.facts, fact, key=lambda f: f.order)


def _left(rule: Compiled, key: Key, wait: Wait, end: Order) -> Open | None:
    """What is left of a wait when a stage of it is decided."""
    if wait.end is not None or wait.stage + 1 == len(rule.stages):
        return None
    start, opened = last_start(key, wait), wait.opened
    cause = msgspec.structs.replace(wait.cause, change=None, folded=None, kept=None)
    left = Open(wait.stage + 1, end, cause, kept=wait.kept)
    if start.order != cause.order:
        left.last_start = msgspec.structs.replace(start, change=None, folded=None, told=None, kept=None)
    if opened is not None and opened.order != start.order:
        left.opened = msgspec.structs.replace(opened, change=None, folded=None, told=None, kept=None)
    return left


def last_start(key: Key, wait: Wait) -> Fact:
    """The wait's last start, of an undecided wait."""
    if key.open is not None and key.open.start.order == wait.last_start:
        return key.open.start
    return next((fact for fact in key.facts if fact.order == wait.last_start), wait.cause)


def late_end(key: Key, end: End, prevented: bool) -> None:
    """An end that has just become known and lies in what is closed: it ends what is left of a wait that is open.
    `prevented`: it would have ended what was decided, though it only takes something out.
    """
    left = key.open
    if left is None or end.order > left.closed or (end.asks and not end.applies(left.kept)):
        return
    ends = prevented if end.takes is not None else end.before_start or end.order > left.start.order
    if ends and (left.end is None or end.order < left.end):
        left.end, left.reason = end.order, end.reason


def merge(rule: Compiled, a: Key, b: Key, everyone: tuple[list[End], list[End]], now: int, horizon: int) -> Key:
    """Two persons turn out to be one: from now on their open waits of this key are one (semantics 21).

    `everyone`: the ends of each side that concern this key among others. `now`: received_at of the tie (0: it is no
    tie, the same person was in two places). What ended before `horizon` says nothing any more.
    """
    if rule.recurrence.single and now:  # a click remembered too long is none to those who join
        forget(rule, a, everyone[0], horizon, now)
        forget(rule, b, everyone[1], horizon, now)
    remains = None
    if rule.stages:
        remains = stages.joined(rule, a, b)
    closed = max(a.closed, b.closed)
    # What an event put into a cart, and what it completed, are two.
    facts = union(a.facts, b.facts, lambda f: (f.order, f.change is not None, f.fingerprint))
    facts, decided = rule.recurrence.joined(a, b, facts, remains, now)
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
    joined = Key(
        closed=closed,
        facts=facts,
        ends=union_of_ends(a.ends, b.ends),
        lines=lines,
        fired=union(a.fired, b.fired, lambda f: f.order),
        decided=decided,
        folded=max((f for f in (a.folded, b.folded) if f is not None), default=None),
        bounded=a.bounded or b.bounded or bool((a.folded and b.facts) or (b.folded and a.facts)),
        open=remains,
        barred=max((moment for moment in (a.barred, b.barred) if moment is not None), default=None),
        credits=recoveries.joined(a, b),
    )
    if remains is not None:
        for mine, theirs, ends_of_all in ((a, b, everyone[1]), (b, a, everyone[0])):
            if theirs.open is None or theirs.open.start.order != remains.start.order:
                _end_joined(joined, mine.lines, [*theirs.ends, *ends_of_all])
    return joined


def _end_joined(key: Key, lines: list[Line], ends: list[End]) -> None:
    """What the other has done ends what is left of one person's wait, in whose cart is `lines`: to them it is late."""
    for end in sorted(ends, key=lambda e: e.identity):
        before = lines
        if lines and end.occurred_at <= key.closed[0]:
            lines = end.leaves(lines)
        late_end(key, end, bool(before) and not lines)


def union(a: list[Any], b: list[Any], order: Any) -> list[Any]:
    """Both, each once, sorted by `order`."""
    if not a or not b:
        return list(a or b)
    return [x for _, x in sorted({order(x): x for x in [*a, *b]}.items())]


def union_of_ends(a: list[End], b: list[End]) -> list[End]:
    """Both, each once, in event-time order; what one event is stays in the rule's order."""
    known = {end.identity: end for end in [*a, *b]}
    return sorted(known.values(), key=lambda end: end.order)


def add_end(key: Key, end: End) -> int:
    """An end of this key that has just become known. Returns when one occurred (UTC ms) that was dropped for it though
    it said something; or -1.

    Of too many those go that come right after another: they end nothing. If none does, the second goes.
    """
    ends = key.ends
    if not ends or end.order >= ends[-1].order:
        ends.append(end)
    else:
        insort(ends, end, key=lambda e: e.order)
    if len(ends) <= ENDS_KEPT:
        return -1
    facts = [fact.order for fact in key.facts]
    kept = ends[:1]
    for each in ends[1:-1]:
        if each.asks != kept[-1].asks or bisect(facts, each.order) != bisect(facts, kept[-1].order):
            kept.append(each)
    last = ends[-1]
    if len(kept) < ENDS_KEPT:
        kept.append(last)
    elif last.asks or bisect(facts, last.order) != bisect(facts, kept[-1].order):
        key.ends = [*kept[:1], *kept[2:], last]
        return kept[1].occurred_at
    key.ends = kept
    key.folded = last.order if key.folded is None else max(key.folded, last.order)
    # Of those before a start the first that is remembered counts: that may not be the first that was told.
    return last.occurred_at if last.before_start else -1


def forget(rule: Compiled, key: Key, everyone: list[End], horizon: int, now: int) -> bool:
    """Drop what nothing can refer to any more (older than `horizon`, UTC ms); True if the key itself may go.

    `now`: the moment that the fold has reached.
    """
    if key.due is None and key.facts and key.facts[0].occurred_at < horizon:
        _settle(rule, key, everyone, horizon)
    if key.facts and not key.ends and not key.fired:  # nearly always
        return False
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
    recoveries.forget(rule, key, horizon)
    if rule.recurrence.over(key):
        key.lines = []
    if key.facts or key.ends or key.fired or key.lines or key.open is not None or key.credits:
        return False
    return rule.recurrence.gone(key, horizon, now)


def _settle(rule: Compiled, key: Key, everyone: list[End], horizon: int) -> None:
    """Nothing waits, and what starts from now on occurred later: what older facts did to the lines stays."""
    lines = key.lines
    for order, fact, end in _steps(rule, key, everyone):
        if order[0] >= horizon:
            break
        if fact is not None:
            lines, _ = fact.leaves(lines)
        elif end is not None:  # again, when it goes itself: then it finds nothing more to take
            lines = end.leaves(lines, None if order > key.closed else key.lines)
    key.lines = lines
    key.facts = [fact for fact in key.facts if fact.occurred_at >= horizon]
    if not key.facts or (key.folded is not None and key.folded < key.facts[0].order):
        key.folded, key.bounded = None, False
