"""What is due: conditions are looked at, waits decided (semantics 4 to 6, 26, 29)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pipeline.language import carts
from pipeline.language.memory import DECIDED, Moment
from pipeline.topology.model import BROKEN
from pipeline.triggers import balance, happening, keys, recoveries, turning, waits, watches
from pipeline.triggers.changes import Output, SegmentChange
from pipeline.triggers.decisions import Decision
from pipeline.triggers.early import Early
from pipeline.triggers.facts import START, End, Fact, Fired, Key, Order, Wait
from pipeline.triggers.fold import happen, lead_to, state_of, take, take_back, work_out
from pipeline.triggers.keys import RuleState
from pipeline.triggers.made import SHARED, decision_of, retraction
from pipeline.triggers.person import Person, first_end, refresh, somebody_elses, until_of
from pipeline.triggers.rules import Compiled, RuleBook, rank
from pipeline.wire.row import Row


def decide(
    book: RuleBook,
    persons: list[Person],
    person: Person,
    clock: int,
    out: list[Output],
    quiet: Callable[[Decision], bool] | None = None,
    early: Early | None = None,
) -> None:
    """All decisions of one of the `persons` that are due at or before `clock`, the moment that the fold has reached, go
    to `out`.

    `quiet`: whether a trigger will not be published. `early`: what was told on arrival.
    """
    while person.due is not None and person.due <= clock:
        if person.turned and turning.ready(person, clock):
            _look(book, person, clock, out)
            if person.due is None or person.due > clock:
                break
        name, key_name = _first(person)
        rule = book.rules.get(name)
        if rule is None:  # the rule is no longer in the topology: its waits end silently
            del person.rules[name]
        else:
            _decide_next(book, rule, persons, person, key_name, clock, out, quiet, early)
        refresh(person)


def _decide_next(
    book: RuleBook,
    rule: Compiled,
    persons: list[Person],
    person: Person,
    name: str,
    clock: int,
    out: list[Output],
    quiet: Callable[[Decision], bool] | None,
    early: Early | None,
) -> None:
    """The first wait of a key is decided."""
    state = person.rules[rule.name]
    key = state.keys[name]
    everyone = state.everyone and state.ends(name)
    until = until_of(rule, person, name)
    wait, emptyings = waits.first(rule, key, everyone, until)
    assert wait is not None
    if wait.end is None:
        outcome, reason, detail = _runs_out(book, rule, persons, person, name, key, wait, everyone, emptyings, clock)
    elif wait.reason == BROKEN:  # the sequence hasn't come to its end: nobody is told
        waits.close(rule, key, wait)
        key.due = waits.next_due(rule, key, everyone, until)
        return
    else:
        outcome, reason, detail = "cancelled", wait.reason, ""
    moment = wait.due + rule.lateness if wait.moment is None else wait.moment
    decision = decision_of(rule, person, name, wait, outcome, reason, max(clock, moment))
    decision.detail = detail
    decision.bounded = _bounded(book, rule, state, key, wait) or _counted_less(rule, person, name, wait)
    cause = wait.cause
    told = early.find(decision, cause, follows=rule.follows) if early is not None and rule.arrives else None
    if told is not None:
        decision, cause = told.of(decision, cause)
        outcome = decision.outcome
    before = balance.waiting(rule, key)
    waits.close(rule, key, wait)
    if rule.date is not None and rule.date.yearly and not book.still:
        waits.begin_again(rule, key, wait, person.whereabouts)
    if outcome == "fired":
        rule.recurrence.fired(key, decision.due_at)
        if told is not None and told.spent:
            pass  # it is noted already
        elif state.tells_enough(key):
            decision.bounded = True  # nothing can take it back
        else:
            published = (quiet is None or not quiet(decision)) if told is None else told.published
            _may_be_taken_back(rule, key, decision, cause, wait, published)
    key.due = waits.next_due(rule, key, everyone, until)
    balance.decided(rule, key, before, ends=outcome == "cancelled")
    if len(state.keys) > keys.AT_HAND:
        keys.make_room(state, clock)
    if told is None:
        out.append(decision)
    elif told.spent:
        return  # by another start that stood for this one all that follows has followed
    if book.followers and not book.still:
        lead_to(book, person, decision, cause, out)
    if DECIDED in book.makes:
        said = {"rule": decision.rule, "outcome": decision.outcome}
        happen(book, person, happening.made(DECIDED, decision.due_at, clock, decision.id, said), out)
    if told is not None and outcome == "fired" and wait.end is not None:
        _take_back(book, rule, person, name, key, wait, everyone, out)


def _runs_out(
    book: RuleBook,
    rule: Compiled,
    persons: list[Person],
    person: Person,
    name: str,
    key: Key,
    wait: Wait,
    everyone: list[End],
    emptyings: list[Order],
    clock: int,
) -> tuple[str, str, str]:
    """Outcome, reason and detail of a wait that nothing ended."""
    if len(persons) > 1 and _was_others(book, persons, person, key, wait):
        return "suppressed", "other_person", ""
    if rule.when is not None and _unfounded(book, rule, person, name, wait, clock):
        return "suppressed", "unfounded", ""
    if waits.overtaken(rule, key, everyone, wait, emptyings):
        return "suppressed", "overtaken", ""
    if detail := _failing(rule, person, name, wait):
        return "suppressed", "only_if", detail
    return "fired", "due", ""


def _may_be_taken_back(rule: Compiled, key: Key, decision: Decision, cause: Fact, wait: Wait, published: bool) -> None:
    """Note a trigger, as what comes late may show that it wasn't one, and what comes later that it helped."""
    fired = Fired(
        bytes.fromhex(decision.id),
        decision.cause_event_id,
        decision.due_at,
        decision.due_at - decision.occurred_at,
        cause.occurred_at - wait.last_start[0],
        [line.names for line in wait.lines] if rule.takes else [],
        decision.bounded,
        published,
        decision.stage,
        timed=cause.timed,
        kept=wait.kept,
    )
    if rule.within:
        fired.decided, fired.until = decision.decided_at, decision.due_at + rule.within
        recoveries.credit(key, fired)
    key.fired.append(fired)


def _take_back(
    book: RuleBook,
    rule: Compiled,
    person: Person,
    name: str,
    key: Key,
    wait: Wait,
    everyone: list[End],
    out: list[Output],
) -> None:
    """It was told before what ends it had been read: that is late."""
    end = next((each for each in (*key.ends, *everyone) if each.order == wait.end and each.reason == wait.reason), None)
    before = len(out)
    if end is not None:
        out += [retraction(rule, person, name, fired, end) for fired in waits.retracts(key, end)]
    if book.followers and len(out) > before:
        take_back(book, person, out[before:], out)


def _first(person: Person) -> tuple[str, str]:
    """Names of the rule and key that are decided next; of several at one moment the first."""
    due = person.due
    assert due is not None
    found: tuple[str, str] | None = None
    for name, state in person.rules.items():
        if state.pages:
            state.open_due(due)
        if state.keys:
            for key_name, key in state.keys.items():
                if key.due == due and (found is None or (name, key_name) < found):
                    found = (name, key_name)
    assert found is not None
    return found


def _look(book: RuleBook, person: Person, clock: int, out: list[Output]) -> None:
    """Look at the conditions that are to be looked at now, and begin what starts."""
    assert book.watches is not None
    before = len(out)
    for start in turning.look(book.watches, person, clock, book.max_age, partial(first_end, person)):
        if isinstance(start, SegmentChange):
            out.append(start)
            continue
        if isinstance(start, Row):
            if start.type in book.makes:
                happen(book, person, start, out)
            continue
        rule, entry = start.rule, start.entry
        fact = Fact(
            start.at if start.timed else entry.occurred_at,
            start.at,
            entry.event_id,
            START,
            entry.fingerprint,
            rank(rule.cart, START, ""),
            turned=start.at if start.kept is None else None,
            timed=start.timed,
            kept=start.kept,
        )
        name = start.key if rule.per is not None else SHARED
        if name or rule.per is None or start.kept is not None:
            state = state_of(person, rule)
            take(book, person, rule, state, name, fact, out)
            if start.bounded and (key := state.keys.get(name)) is not None:
                key.bounded = True
    for change in out[before:]:
        if isinstance(change, SegmentChange):
            for waiting in book.watches.waiting_for[change.segment]:
                work_out(book.rules[waiting.name], person, "", change.at)
    refresh(person)


def _unfounded(book: RuleBook, rule: Compiled, person: Person, key: str, wait: Wait, clock: int) -> bool:
    """Whether what started it turns out not to have held, by what is known now."""
    assert book.watches is not None
    assert wait.opened is not None
    turned = wait.opened.turned
    if turned is None or turned < clock - book.watches.slack or _counted_less(rule, person, key, wait):
        return False
    return not turning.held(book.watches.rules[rule.name], person, key, turned)


def _failing(rule: Compiled, person: Person, key: str, wait: Wait) -> str:
    """The first part of `only_if` that doesn't hold where it is due, in words; empty: all does."""
    only_if = rule.stages[wait.stage].only_if if rule.stages else rule.only_if
    return "" if only_if is None else only_if.fails(_at_due(rule, person, key, wait))


def _at_due(rule: Compiled, person: Person, key: str, wait: Wait) -> Moment:
    """What occurred up to its due time, as known now; segments and triggers as the fold has them now."""
    start = None if wait.opened is None else wait.opened.occurred_at
    of = key if rule.per is not None else None
    members = watches.members(person) if rule.asks_segments else None
    return Moment(person.heard, wait.due, key=of, start=start, segments=members, there=person.whereabouts)


def _counted_less(rule: Compiled, person: Person, key: str, wait: Wait) -> bool:
    """Whether one of its conditions would count more than is remembered."""
    if not rule.counts_most:
        return False
    of = key if rule.per is not None else None
    # Where only what is due is asked about, nobody looks at the moments before.
    start, since = wait.cause if wait.opened is None else wait.opened, wait.due
    if rule.until is not None:
        since = start.occurred_at
    elif rule.when is not None:
        since = start.occurred_at if start.turned is None else start.turned
    return any(matcher.lacks(person.heard, of, since) for matcher in rule.counts_most)


def _bounded(book: RuleBook, rule: Compiled, state: RuleState, key: Key, wait: Wait) -> bool:
    """Whether what was dropped for want of room might have changed its decision."""
    if key.bounded or (rule.cart and not carts.complete(wait.lines)):
        return True
    if state.forgot < 0:  # nearly always
        return False
    first = wait.cause if rule.at_once else key.facts[0] if key.open is None else key.open.start
    since = 0 if rule.recurrence.lasting else first.received_at - book.max_age
    return state.forgot >= since


def _was_others(book: RuleBook, persons: list[Person], person: Person, key: Key, wait: Wait) -> bool:
    """Whether the wait's last start turned out to be somebody else's. One by time alone is nobody's: what it is named
    after isn't its cause.
    """
    start = waits.last_start(key, wait)
    if start.timed:
        return False
    return somebody_elses(book, persons, person, start.event_id, start.fingerprint, start.occurred_at)
