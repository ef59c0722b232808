"""What is received: one more fact of a person, or that two are one. Semantics 6, 11, 21, rule 32. Shares no code with
`pipeline`."""

from __future__ import annotations

from dataclasses import replace

from tests.oracle.film import is_playback, play
from tests.oracle.language.lengths import begins
from tests.oracle.language.making import Maker, starts_of
from tests.oracle.language.paths import VISIT, own_doing
from tests.oracle.language.person import Fired, Person, Place, State, remembered, told_once
from tests.oracle.language.sequences import breaks, ended_before
from tests.oracle.language.topology import Language, Rule, duration, several
from tests.oracle.language.waits import (
    ENDS,
    LOOKS,
    Span,
    Start,
    cancel_of,
    changes,
    counts_for,
    does,
    ends_cart,
    order,
    starts_keys,
    taker_of,
)
from tests.oracle.lines import Contents
from tests.oracle.reading import ORDERS
from tests.oracle.who import Fact

SILENCE = 30 * 60_000
"""37: after so long without anything a visit begins, exactly so long too (ms)."""


def receive(language: Language, person: Person, fact: Fact, moment: int, maker: Maker) -> None:
    """6, 11: one more fact. Told before: nothing. Older than the greatest age: it only informs conditions."""
    absorb(language, person, moment)
    name = (fact.event_id, fact.carried)
    if name in person.seen:
        return
    person.seen.add(name)
    order_id = fact.get("order_id") if fact.type in ORDERS else None
    person.orders.forget(fact.received_at)
    told_before = order_id is not None and order_id in person.orders.known
    fact = replace(person.orders.counted(fact), told_before=told_before)
    if is_playback(fact):
        played = play(fact, person.played)
        fact = replace(fact, interval=played.interval)
        person.played.append(replace(played, fact=fact))
    person.facts.append(fact)
    person.arrived.append(fact)
    if fact.received_at - fact.occurred_at > language.max_age:
        person.old.add(fact)
        return
    if is_playback(fact):
        person.watched.append(play(fact, person.watched))
    begun = visit(person, fact)
    if begun is not None:
        take(language, person, begun, moment, maker)
    count_for_rules(language, person, fact, moment, maker)


def take(language: Language, person: Person, made: Fact, moment: int, maker: Maker) -> None:
    """36, 37: what is made counts as what is received does."""
    person.facts.append(made)
    person.arrived.append(made)
    count_for_rules(language, person, made, moment, maker)


def visit(person: Person, fact: Fact) -> Fact | None:
    """37: the visit that an event of a person's own doing begins, where no other is known less than half an hour away,
    by occurrence. Of what occurred in one millisecond it comes first."""
    others = [one for one in person.facts if one is not fact and own_doing(one)]
    if not own_doing(fact) or any(abs(one.occurred_at - fact.occurred_at) < SILENCE for one in others):
        return None
    return replace(fact, type=VISIT, event_id=f"\0{fact.event_id}", body={}, items=())


def changed(person: Person, segment: str, what: str, moment: int, reason: str) -> Fact:
    """36: somebody entered or left a segment. Of what is known at one moment it comes last, by the segment's name."""
    return Fact(
        type=f"segment_{what}",
        event_id=f"\U0010ffff{segment}\0{what} {segment} {moment}",
        occurred_at=moment,
        received_at=moment,
        body={"segment": segment, "reason": reason},
        carried=(),
        person=min(person.identifiers),
        ties=(),
        items=(),
        contact={},
    )


def count_for_rules(language: Language, person: Person, fact: Fact, moment: int, maker: Maker) -> None:
    """6: what a fact does to waits, ended and open."""
    prevented = set()
    for place, end in person.closed.items():
        if fact.occurred_at <= end:
            person.settled.add((fact, place))
            if place in person.contents and empties(language, person, place, fact):
                prevented.add(place)
    end_late(language, person, fact)
    break_runs(language, person, fact, moment, maker)
    for fired in person.fired:
        taken_back = fired.retracted
        retract(language, person, fact, fired, moment, maker)
        if fired.retracted and not taken_back:
            prevented.add((fired.rule.name, fired.key))
    end_taken(language, person, fact, prevented)
    recover(person, fact, moment, maker)
    for rule in language.rules:
        if rule.once and does(rule.start, fact):
            for key in starts_keys(rule, fact):
                start = Start(fact, fact, fact.occurred_at, fact.received_at)
                if begins(language, rule, key, fact):
                    told_once(person, rule, key, start)


def empties(language: Language, person: Person, place: Place, fact: Fact) -> bool:
    """6: what a late event does to a cart's lines counts from now on. Did it leave none of several?"""
    contents = person.contents[place]
    before = bool(contents.lines)
    for role in (ENDS, LOOKS):
        changes(rule_of(language, place), place[1], None, fact, contents, fresh=False, role=role)
    return before and not contents.lines


def rule_of(language: Language, place: Place) -> Rule:
    """The rule of a key."""
    return next(rule for rule in language.rules if rule.name == place[0])


def end_taken(language: Language, person: Person, fact: Fact, prevented: set[Place]) -> None:
    """12, 31: a late order of another cart, which would have `prevented` what was decided, ends what is left."""
    for place, span in person.spans.items():
        action = taker_of(rule_of(language, place), fact, place[1], span.opened)
        if action is not None and place in prevented and fact.occurred_at <= span.decided and span.late is None:
            span.late = fact, action.reason


def end_late(language: Language, person: Person, fact: Fact) -> None:
    """31: a late cancel ends what is left of the stages."""
    once = [(one.place, one.span) for one in person.once if one.open and one.span is not None]
    for (name, key), span in [*person.spans.items(), *once]:
        rule = next(rule for rule in language.rules if rule.name == name)
        action = cancel_of(rule, fact, key, span.opened)
        if action is None or fact.occurred_at > span.decided or span.late is not None:
            continue
        if counts_for(action, fact, order(fact, ENDS), span.last_start, language.max_age):
            span.late = fact, action.reason


def break_runs(language: Language, person: Person, fact: Fact, moment: int, maker: Maker) -> None:
    """28: what must not follow a sequence's last step frees what served it, unless that is decided, or has ended."""
    for place, start in person.turns:
        rule = next(rule for rule in language.rules if rule.name == place[0])
        if start.free or (start.token, place) in person.settled or not breaks(rule, place[1], start.run, fact):
            continue
        if ended_before(rule, place[1], start, fact, person, moment, maker, language.max_age):
            continue
        start.free = True
        person.used -= {(step, place) for _, step in start.run}


def retract(language: Language, person: Person, fact: Fact, fired: Fired, moment: int, maker: Maker) -> None:
    """6: a late cancel takes back, once, a trigger that it would have kept from firing; up to 72 h after D."""
    if fired.retracted or moment > fired.due + language.max_age or fact.occurred_at > fired.due:
        return
    action = cancel_of(fired.rule, fact, fired.key, fired.opened)
    if action is None or not counts_for(action, fact, order(fact, ENDS), fired.last_start, language.max_age):
        taker = taker_of(fired.rule, fact, fired.key, fired.opened)
        if breaks(fired.rule, fired.key, fired.last_start.run, fact):
            take_back(language, person, fired, "broken", fact, moment, maker)
        elif taker is not None and holds_all(fact, fired) and order(fact, ENDS) > fired.last_start.order:
            take_back(language, person, fired, taker.reason, fact, moment, maker)
        return
    take_back(language, person, fired, action.reason, fact, moment, maker)


def holds_all(fact: Fact, fired: Fired) -> bool:
    """12: does an order hold every line that the trigger told?"""
    return fired.told is not None and fired.told.held_by(list(fact.items))


def take_back(
    language: Language, person: Person, fired: Fired, reason: str, fact: Fact, moment: int, maker: Maker
) -> None:
    """6, 44: what started by a trigger that is taken back is cancelled, and where it has fired, taken back too."""
    fired.retracted = True
    maker.on_top(person, fired, "retracted", reason, moment, late_event_id=fact.event_id)
    told = {"key": fired.key} if fired.key is not None else {}
    undone = replace(fact, type=f"undone {fired.rule.name}", occurred_at=fired.due, received_at=moment, body=told)
    person.undone.append(undone)
    end_late(language, person, undone)
    for other in person.fired:
        retract(language, person, undone, other, moment, maker)


def recover(person: Person, fact: Fact, moment: int, maker: Maker) -> None:
    """32: a cancel that came after a trigger was decided is credited to the key's last that was decided by then: of two
    that were due at once, as two people's may be who are one now, to that with the greater cause.
    """
    before = [fired for fired in person.fired if fired.decided_at < fact.occurred_at]
    last = {(fired.rule.name, fired.key): fired for fired in sorted(before, key=latest)}
    for fired in last.values():
        told = fired.rule.recovered
        if told is None or fired.recovered or fired.retracted:
            continue
        by = several(told.get("by")) or [fired.rule.cancel[0].reason]
        action = cancel_of(fired.rule, fact, fired.key, fired.opened)
        if action is None and holds_all(fact, fired):
            action = taker_of(fired.rule, fact, fired.key, fired.opened)
        if action is None or action.reason not in by:
            continue
        if fact.occurred_at <= fired.due + told_within(fired):
            fired.recovered = True
            maker.on_top(person, fired, "recovered", action.reason, moment, ended_by=fact.event_id)


def latest(fired: Fired) -> tuple[int, str]:
    """Of several the last."""
    return fired.due, fired.line["cause_event_id"]


def told_within(fired: Fired) -> int:
    """32: how long after it was due (ms)."""
    assert fired.rule.recovered is not None
    return duration(fired.rule.recovered["within"])


def absorb(language: Language, person: Person, moment: int) -> None:
    """21, last sentence: where a rule holds once the decided wait absorbs the open; of open ones the first stays."""
    for one in sorted((w for w in person.once if w.open), key=lambda w: w.rank):
        rule = next(rule for rule in language.rules if rule.name == one.place[0])
        same = [w for w in person.once if w is not one and w.place == one.place and not w.gone]
        decided = any(w.done and remembered(w, moment, rule) for w in same)
        earlier = any(w.open and w.rank < one.rank for w in same)
        one.gone = decided or earlier


def join(language: Language, winner: Person, loser: Person, moment: int, maker: Maker) -> None:
    """21, i: from now on one person. Facts and what stands are united."""
    if loser.facts:
        for name in language.segments:
            if name in loser.entered:
                maker.change(loser, name, "left", moment, "merged", None)
        winner.tied = True
    for one in (winner, loser):
        one.stays |= {(wait.opened.token, (wait.rule.name, wait.key)) for wait in maker.waits(one, moment)}
    winner.stays |= loser.stays
    spans = joined_spans(winner, loser)
    join_carts(language, winner, loser, moment)
    for name, ended in loser.past.items():
        winner.past[name] = sorted([*winner.past.get(name, []), *ended], key=lambda span: span[1])
    for name, since in loser.entered.items():
        winner.past.setdefault(name, []).append((since, moment))
        winner.lost[name] = min(since, winner.lost.get(name, since), winner.entered.get(name, since))
        if name in winner.entered:
            winner.entered[name] = winner.lost[name]  # for as long as either
    winner.identifiers |= loser.identifiers
    winner.facts += loser.facts
    winner.old |= loser.old
    winner.arrived += loser.arrived
    winner.tied = winner.tied or loser.tied
    winner.began = winner.began or loser.began
    winner.seen |= loser.seen
    winner.orders.join(loser.orders, moment)
    winner.played = sorted(winner.played + loser.played, key=lambda one: one.fact.knowledge)
    winner.watched = sorted(winner.watched + loser.watched, key=lambda one: one.fact.knowledge)
    winner.used |= loser.used
    winner.undone += loser.undone
    winner.turns += loser.turns
    winner.states = joined_states(winner, loser)
    for place, end in loser.closed.items():
        winner.closed[place] = max(end, winner.closed.get(place, end))
    for place, due in loser.fired_due.items():
        winner.fired_due[place] = max(due, winner.fired_due.get(place, due))
    winner.spans = spans
    winner.once += loser.once
    winner.fired += loser.fired
    winner.made += loser.made
    for fact in sorted(winner.fresh(), key=lambda one: order(one, ENDS)):
        end_late(language, winner, fact)  # what one did ends what is left of the other's


def join_carts(language: Language, winner: Person, loser: Person, moment: int) -> None:
    """21: what was in a key's cart at both closed ends adds up. An order or clear of one side, though settled there, is
    news to the other, if it is known still: up to the later closed end it takes now what was added up to it, or where
    it ends an open wait then (so that the payload shows what was there)."""
    settled = winner.settled | loser.settled
    for mine, theirs in ((winner, loser), (loser, winner)):
        for place, contents in mine.contents.items():
            rule, end = rule_of(language, place), max(mine.closed[place], theirs.closed.get(place, 0))
            for fact in [*theirs.fresh(), *mine.fresh()]:
                does_end = ends_cart(rule, fact, place[1], None) or taker_of(rule, fact, place[1], None)
                if not does_end or fact.occurred_at > end or (fact, place) in mine.settled:
                    continue
                known = moment - fact.occurred_at <= language.max_age
                if any(begun_before(language, rule, side, place, fact) for side in (mine, theirs)):
                    if known:
                        settled.discard((fact, place))
                else:
                    settled.add((fact, place))
                    if known or fact in mine.facts:
                        changes(rule, place[1], None, fact, contents, fresh=False, role=ENDS)
    winner.settled = settled
    for place, contents in loser.contents.items():
        winner.contents[place] = winner.contents.get(place, Contents()).plus(contents)


def begun_before(language: Language, rule: Rule, person: Person, place: Place, fact: Fact) -> bool:
    """Is there a wait of this key, undecided, that `fact` would end?"""
    starts = starts_of(language, rule, person).get(place[1], ())
    return any(one.order < order(fact, ENDS) and (one.token, place) not in person.settled for one in starts)


def joined_spans(winner: Person, loser: Person) -> dict[Place, Span]:
    """31: of two waits of one key of which stages are decided the one that began last goes on."""
    found = dict(winner.spans)
    for place, span in loser.spans.items():
        found[place] = max(span, found.get(place, span), key=lambda one: one.last_start.order)
    return found


def joined_states(winner: Person, loser: Person) -> dict[tuple[str, str | None], State]:
    """26: a condition that held for one of them, and had started, is no news to both."""
    found = dict(winner.states)
    for place, theirs in loser.states.items():
        mine = found.get(place)
        if mine is None:
            found[place] = theirs
            continue
        true = [state for state in (mine, theirs) if state.value]
        owed = bool(true) and all(state.owed for state in true)
        found[place] = State(bool(true), owed, mine.first + theirs.first)
    return found
