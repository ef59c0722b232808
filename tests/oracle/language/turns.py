"""Turns of conditions on the fold's clock: segments, and what starts a wait. Rules 24 to 27 and 36. Shares no code with
`pipeline`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from tests.oracle.language.conditions import (
    HAS_PATH,
    View,
    by_occurrence,
    counts,
    holds,
    leaves,
    turning_points,
)
from tests.oracle.language.paths import CHANGES, keys
from tests.oracle.language.person import Person, State, told_once
from tests.oracle.language.topology import Condition, Language, Rule, several
from tests.oracle.language.waits import Key, Start
from tests.oracle.who import Fact


class Changes(Protocol):
    """Who writes down changes of segments."""

    def change(self, person: Person, segment: str, what: str, moment: int, reason: str, cause: Fact | None) -> None:
        """One of them."""


def by_knowledge(fact: Fact) -> Any:
    """2: the order of knowledge."""
    return fact.knowledge


def view_of(language: Language, person: Person, moment: int) -> View:
    """All that is known, at a moment of the fold."""
    return View(language, person.facts, moment, person.made, person.entered, person.past)


def turn(language: Language, person: Person, moment: int, changes: Changes) -> None:
    """36: segments in the order in which they depend on each other, then starts."""
    if not person.facts:
        return
    view = view_of(language, person, moment)
    for name in in_order(language):
        turn_segment(name, person, view, changes)
    for rule in language.rules:
        if rule.when is not None:
            for key in keys_of(rule, person):
                turn_rule(rule, rule.when, key, person, view)
    person.began = True


def in_order(language: Language) -> list[str]:
    """Segments, those that others look at first."""
    found: list[str] = []

    def visit(name: str) -> None:
        for leaf, _ in leaves(language.segments[name], language):
            for other in language.segments:
                if other != name and (leaf.get("segment") == other or counts_changes(leaf, other)):
                    visit(other)
        if name not in found:
            found.append(name)

    for name in language.segments:
        visit(name)
    return found


def counts_changes(leaf: Condition, segment: str) -> bool:
    """Does a leaf count who enters or leaves a segment?"""
    event = next((leaf[kind] for kind in ("did", "first", "last") if kind in leaf), None)
    test = (leaf.get("where") or {}).get("segment", segment)
    return any(one in CHANGES for one in several(event)) and segment in several(
        test if not isinstance(test, dict) else test.get("is", test.get("in"))
    )


def turn_segment(name: str, person: Person, view: View, changes: Changes) -> None:
    """36: entered or left at this moment?"""
    condition = view.language.segments[name]
    now, was = holds(condition, view), name in person.entered
    if now == was:
        return
    begins = all(fact in person.arrived for fact in person.facts)  # nobody was in a segment before their first event
    tied = not begins and by_tie(condition, now, person, view)
    causes = [] if tied else those_from_which(condition, now, person.arrived, view)
    cause = causes[0] if causes else None
    reason = "event" if causes else ("tie" if person.tied else "time")
    if now:
        person.entered[name] = person.lost.get(name, view.at) if reason == "tie" else view.at
    else:
        person.past.setdefault(name, []).append((person.entered.pop(name), view.at))
    changes.change(person, name, "entered" if now else "left", view.at, reason, cause)


def by_tie(condition: Condition, value: bool, person: Person, view: View) -> bool:
    """c: has it this value by a tie alone, also without what is received at this moment?"""
    before = [fact for fact in view.facts if fact not in person.arrived]
    return person.tied and holds(condition, replace(view, facts=before)) == value


def those_from_which(
    condition: Condition,
    value: bool,
    arrived: list[Fact],
    view: View,
    place: Callable[[Fact], Any] = by_knowledge,
    *,
    through: bool = True,
) -> list[Fact]:
    """a: of the events received now that a condition counts, taken in one by one in the order of knowledge (or that of
    `place`), those from which on it has this value."""
    found: list[Fact] = []
    counted = [fact for fact in sorted(arrived, key=place) if counts(condition, fact, view, through=through)]
    for fact in reversed(counted):
        upto = [one for one in view.facts if one not in arrived or place(one) <= place(fact)]
        if holds(condition, replace(view, facts=upto)) != value:
            break
        found.insert(0, fact)
    return found


def keys_of(rule: Rule, person: Person) -> list[Key]:
    """27: the keys that any event of the person names."""
    if rule.per is None:
        return [None]
    named = [key for fact in person.facts if fact.type in HAS_PATH[rule.per] for key in keys(fact, rule.per)]
    return list(dict.fromkeys(named))


def turn_rule(rule: Rule, condition: Condition, key: Key, person: Person, view: View) -> None:
    """26: does the condition turn to true at this moment, and what does it start?"""
    view = replace(view, per=rule.per, key=key)
    place = (rule.name, key)
    now = holds(condition, view)
    if place not in person.states:
        person.states[place] = begun(condition, key, person, view)
    state = person.states[place]
    was, owed = state.value, state.owed
    if was and now and state.at == view.at:
        return  # looked at once more, as something was decided: the next event is none of this moment's
    state.at = view.at
    state.value, state.owed = now, now and owed
    if not now or (was and not owed):
        return
    if not was and by_tie(condition, True, person, view):
        state.owed = True
        return
    causes = [
        fact
        for fact in those_from_which(condition, True, person.arrived, view)
        if fact not in person.old and fact not in state.first
    ]
    counted = any(counts(condition, fact, view) for fact in person.arrived)
    if causes:
        state.owed = False
        start = Start(causes[0], causes[0], causes[0].occurred_at, view.at, turned=True)
    elif counted or owed or person.tied:
        state.owed = True  # by an event that is too old, by a tie alone, or from the beginning
        return
    else:
        start = Start(None, named_after(condition, person, view), view.at, view.at, turned=True)
    person.turns.append((place, start))
    if rule.once:
        told_once(person, rule, key, start)
    if start.at <= person.closed.get(place, start.at - 1):
        person.settled.add((start, place))  # 6: late


def begun(condition: Condition, key: Key, person: Person, view: View) -> State:
    """c: what a condition was before it was ever looked at: over nothing for a person who begins with their first
    event; for a key that is named first, without the events that name it. Where it was true, these start nothing."""
    if not person.began:
        first, without = [person.first()], list[Fact]()
    else:
        assert view.per is not None
        first = [f for f in view.facts if f.type in HAS_PATH[view.per] and key in keys(f, view.per)]
        without = [f for f in view.facts if f not in first]
    before = holds(condition, replace(view, facts=without))
    return State(before, before, first if before else [])


def named_after(condition: Condition, person: Person, view: View) -> Fact:
    """f: the last event that was counted before the moment, or else the person's first."""
    counted = [fact for fact in person.facts if fact.occurred_at <= view.at and counts(condition, fact, view)]
    return max(counted, key=by_occurrence, default=person.first())


def next_turn(language: Language, person: Person) -> Iterator[int]:
    """25: moments at which time alone may turn something."""
    view = view_of(language, person, 0)
    conditions: list[Any] = [*language.segments.values()]
    conditions += [rule.when for rule in language.rules if rule.when is not None]
    for condition in conditions:
        yield from turning_points(condition, view)
