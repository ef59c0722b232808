"""Sequences: steps one after the other. Rule 28. Shares no code with `pipeline`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from tests.oracle.language.conditions import HAS_PATH, by_occurrence
from tests.oracle.language.paths import is_type, matches, values
from tests.oracle.language.person import Person, told_once
from tests.oracle.language.topology import Rule, Step
from tests.oracle.language.waits import ENDS, Key, Known, Start, Wait, begin, cancel_of, counts_for, order, starts_keys
from tests.oracle.who import Fact

Run = list[tuple[Step, Fact]]


class Ends(Protocol):
    """Who knows what ends a wait."""

    def until(self, wait: Wait, person: Person, moment: int) -> tuple[int, Fact | None] | None:
        """29: the first moment, from the wait's start on, at which `until` held."""

    def known(self, rule: Rule, key: Key, person: Person, moment: int) -> Known:
        """What is known of a key."""


def complete(rule: Rule, person: Person, moment: int, maker: Ends, max_age: int) -> None:
    """28: all runs that are complete by what was received, the earliest completion first, each a start of its own. An
    event serves one run of a rule and key; what completed stays. A tie alone completes none."""
    for key in {key for fact in person.fresh() for key in starts_keys(rule, fact)}:
        place = (rule.name, key)
        while True:
            facts = sorted((fact for fact in person.fresh() if is_of_key(rule, key, fact)), key=by_occurrence)
            free = {fact for fact in facts if (fact, place) not in person.used}
            found = [
                run
                for run in runs(rule, key, facts, free, [])
                if new(run, person) and not broken(rule, key, run, person, moment, maker, max_age)
            ]
            if not found:
                break
            first = min(found, key=lambda run: (by_occurrence(run[-1][1]), [-one for one in by_latest(run)]))
            person.used |= {(fact, place) for _, fact in first}
            last = first[-1][1]
            start = Start(last, last, last.occurred_at, moment, run=first)
            person.turns.append((place, start))
            if rule.once:
                told_once(person, rule, key, start)
            if last.occurred_at <= person.closed.get(place, last.occurred_at - 1):
                person.settled.add((last, place))  # 6: late


def is_of_key(rule: Rule, key: Key, fact: Fact) -> bool:
    """28: with `per`, an event whose type has no such path counts for every key."""
    return key in starts_keys(rule, fact) or (rule.per is not None and fact.type not in HAS_PATH[rule.per])


def new(run: Run, person: Person) -> bool:
    """28: a sequence is complete, or isn't, when its last missing event is received; a tie alone completes nothing."""
    return any(fact in person.arrived for _, fact in run)


def broken(rule: Rule, key: Key, run: Run, person: Person, moment: int, maker: Ends, max_age: int) -> bool:
    """28: is it known that what must not follow the last step did, before anything else would end the wait?"""
    breaking = [fact for fact in person.fresh() if breaks(rule, key, run, fact)]
    last = run[-1][1]
    start = Start(last, last, last.occurred_at, moment, run=run)
    return any(not ended_before(rule, key, start, fact, person, moment, maker, max_age) for fact in breaking)


def ended_before(
    rule: Rule, key: Key, start: Start, breaking: Fact, person: Person, moment: int, maker: Ends, max_age: int
) -> bool:
    """28, 29: does something else end the wait before this event, which must not follow its start?"""
    known = maker.known(rule, key, person, moment)
    for fact in known.facts:
        action = cancel_of(rule, fact, key, start)
        counts = action is not None and counts_for(action, fact, order(fact, ENDS), start, max_age)
        if counts and by_occurrence(fact) <= by_occurrence(breaking):
            return True
    held = maker.until(begin(rule, key, start, known), person, moment)
    return held is not None and held[0] < breaking.occurred_at


def breaks(rule: Rule, key: Key, run: Run, fact: Fact) -> bool:
    """28: a last `not ... for`: does this event follow the last step within so long? In one millisecond it ends."""
    return follows(rule, key, run, fact, rule.sequence[-1].lasts if rule.sequence else None)


def follows(rule: Rule, key: Key, run: Run, fact: Fact, upto: int | None = None) -> bool:
    """Is it what must not follow the last step, so long after it (ms), or whenever?"""
    if not run or rule.sequence[-1].lasts is None:
        return False
    step, last = rule.sequence[-1], run[-1][1]
    if any(fact is one for _, one in run) or not is_of_key(rule, key, fact):
        return False
    within = upto is None or fact.occurred_at <= last.occurred_at + upto
    return last.occurred_at <= fact.occurred_at and within and is_step(step, fact, key, run)


def by_latest(run: Run) -> list[int]:
    """When its steps occurred: of one completion the latest first step counts."""
    return [fact.occurred_at for _, fact in run]


def runs(rule: Rule, key: Key, facts: list[Fact], free: set[Fact], run: Run) -> Iterator[Run]:
    """All ways in which the steps are met from here on, by what is `free`."""
    place = len(run) + sum(step.negated for step in rule.sequence[: passed(rule, len(run))])
    between = []
    while place < len(rule.sequence) and rule.sequence[place].negated:
        between.append(rule.sequence[place])
        place += 1
    if place == len(rule.sequence):
        yield run
        return
    step = rule.sequence[place]
    for fact in facts:
        if run and by_occurrence(fact) <= by_occurrence(run[-1][1]):
            continue
        if run and fact.occurred_at - run[0][1].occurred_at > rule.within:
            break
        if fact in free and is_step(step, fact, key, run):
            yield from runs(rule, key, facts, free, [*run, (step, fact)])
        if run and any(is_step(one, fact, key, run) for one in between):
            break  # what must not be between; what is itself the next step isn't


def passed(rule: Rule, met: int) -> int:
    """How many steps of the rule lie before the next one that is to be met, those that must not be among them."""
    count = 0
    for place, step in enumerate(rule.sequence):
        if count == met:
            return place
        count += not step.negated
    return len(rule.sequence)


def is_step(step: Step, fact: Fact, key: Key, run: Run) -> bool:
    """Is it an event of this step? `name.x` on the right side of a test is a field of an earlier step."""

    def resolve(told: Any) -> Any:
        if told == "key":
            return key
        for earlier, one in run:
            if earlier.name and isinstance(told, str) and told.startswith(f"{earlier.name}."):
                found = values(one, told.removeprefix(f"{earlier.name}."))
                return found[0] if found else None
        return told

    return is_type(fact, step.action.events) and matches(fact, step.action.where, resolve)
