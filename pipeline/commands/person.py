"""A stored profile as plain facts: what `pipeline profile --json` prints and the panels show.

Times are RFC 3339 UTC with milliseconds. What the rules conclude is as far as event time has come; the rest of the
profile is up to the last event.
"""

from __future__ import annotations

from functools import reduce
from math import isfinite

from pipeline.events.times import rfc3339
from pipeline.language import carts, money
from pipeline.profile import about
from pipeline.profile.parts.part import Facts
from pipeline.profile.profile import Profile, advance, one_of
from pipeline.triggers import early, films, orders, waits
from pipeline.triggers.contact import Contact, contact_of
from pipeline.triggers.facts import End, Fact, Key, Order
from pipeline.triggers.happening import known_as
from pipeline.triggers.keys import RuleState
from pipeline.triggers.person import Person, until_of
from pipeline.triggers.rules import Compiled, RuleBook
from pipeline.triggers.stages import moment
from pipeline.triggers.watches import members


def facts(
    book: RuleBook, profile_id: str, profile: Profile, clock: int, identifier: tuple[str, str] | None = None
) -> Facts:
    """Everything that is known, newest last. `clock`: up to when (UTC ms) everything is decided; what was received
    before it is folded, in place. `not_yet_folded`: events that the rules will see when time has come; `on_arrival`:
    what has been told of them already. Of people who share a device only who is known by the `identifier`.
    """
    advance(book, profile, clock)
    known = profile.packed_early
    if identifier is not None:
        profile_id, profile = one_of(profile_id, profile, *identifier)
    told = _on_arrival(profile, known)
    found = [(name, rule, state) for person in profile.persons for name, rule, state in _rules(book, person)]
    waiting = [(n, rule, person, state) for person in profile.persons for n, rule, state in _rules(book, person)]
    return {
        "profile_id": profile_id,
        "identifiers": _identifiers(profile),
        **about.show(profile.about),
        "orders": _orders(profile),
        "contact": _contact(profile),
        "films": [
            {
                "film": name,
                "title": film.title,
                "seconds_watched": round(films.seconds(film), 1),
                "total_length": film.length,
                "share": round(films.seconds(film) / film.length, 3) if film.length else None,
            }
            for person in profile.persons
            for name, film in sorted(person.films.items())
        ],
        "carts": _carts(found),
        "waiting": sorted(
            (fact for name, rule, person, state in waiting for fact in _waiting(name, rule, person, state)),
            key=lambda f: f["due_at"],
        ),
        "decided": sorted(
            (fact for name, rule, state in found for fact in _decided(name, rule, state)), key=lambda f: f["until"]
        ),
        "retractable": sorted(
            (fact for name, _, state in found for fact in _retractable(name, state)), key=lambda f: f["due_at"]
        ),
        **({"segments": _segments(book, profile)} if book.watches is not None and book.watches.segments else {}),
        **({"on_arrival": told} if told else {}),
        "not_yet_folded": len(profile.buffer),
    }


def _carts(found: list[tuple[str, Compiled, RuleState]]) -> list[Facts]:
    """What lies in carts; what several rules keep alike once."""
    each: list[Facts] = []
    for _, rule, state in found:
        for name, key in sorted(state.keys.items()) if rule.cart else ():
            lines = contents(key, state.ends(name))
            if lines and (cart := carts.payload(name, lines)) not in each:
                each.append(cart)
    return each


def contents(key: Key, everyone: list[End]) -> list[carts.Line]:
    """What lies in a cart now: its lines at the last decision, and what was done to it since."""
    lines = list(key.lines)
    steps: list[tuple[Order, Fact | End]] = [(step.order, step) for step in key.facts]
    steps += [(end.order, end) for end in (*key.ends, *everyone) if end.order > tuple(key.closed)]
    for _, step in sorted(steps, key=lambda s: s[0]):
        lines = step.leaves(lines) if isinstance(step, End) else step.leaves(lines)[0]
    return lines


def _rules(book: RuleBook, person: Person) -> list[tuple[str, Compiled, RuleState]]:
    return [(name, book.rules[name], state) for name, state in sorted(person.rules.items()) if name in book.rules]


def _identifiers(profile: Profile) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for person in profile.persons:
        for namespace, values in person.ids.items():
            found.setdefault(namespace, set()).update(values)
    for row in profile.buffer:
        for i in range(0, len(row.ids), 2):
            found.setdefault(row.ids[i], set()).add(row.ids[i + 1])
    return {namespace: sorted(values) for namespace, values in sorted(found.items())}


def _segments(book: RuleBook, profile: Profile) -> list[Facts]:
    """Those that they are in, as far as event time has come, and when they leave if nothing happens."""
    return [
        {"segment": name, "since": _ms(since), "looked_at_again": _ms(person.turned[f"s\0{name}\0"].next or 0)}
        for person in profile.persons
        for name, since in sorted(members(person).items())
        if book.watches is not None and name in book.watches.segments
    ]


def _contact(profile: Profile) -> Facts:
    """How to write to whoever told last; as far as event time has come."""
    told = [person.contact for person in profile.persons if person.contact is not None]
    return contact_of(reduce(Contact.merge, told) if told else None, _identifiers(profile))


def _orders(profile: Profile) -> list[Facts]:
    """What they bought, as far as event time has come: an order that is told twice is one."""
    sums: orders.Sums = {}
    for person in profile.persons:
        for currency, (number, revenue) in person.bought.items():
            orders.add(sums, currency, revenue, number)
    return [
        {
            "currency": currency or None,
            "orders": int(number),
            "revenue": money.total([(revenue, 1)], currency) if isfinite(revenue) else None,
        }
        for currency, (number, revenue) in sorted(sums.items())
    ]


def _waiting(name: str, rule: Compiled, person: Person, state: RuleState) -> list[Facts]:
    """Waits that aren't decided. `will`: what will be decided as things stand, with its reason."""
    out = []
    for key_name, key in state.keys.items():
        if key.due is None:
            continue
        for wait in waits.walk(rule, key, state.ends(key_name), until_of(rule, person, key_name))[0]:
            out.append(
                {
                    "rule": name,
                    "correlation_key": key_name or None,
                    "cause_event_id": known_as(wait.cause.event_id),
                    "occurred_at": _ms(wait.cause.occurred_at),
                    "due_at": _ms(wait.due),
                    "decided_at": _ms(moment(rule, wait)),
                    **({"stage": rule.stages[wait.stage].name} if rule.stages else {}),
                    "will": ["fire", "due"] if wait.end is None else ["be cancelled", wait.reason],
                    "ended_by": known_as(wait.end[3]) if wait.end else None,
                }
            )
    return out


def _decided(name: str, rule: Compiled, state: RuleState) -> list[Facts]:
    """Keys on which a decision was made: nothing up to `until` touches them any more."""
    return [
        {"rule": name, "correlation_key": key_name or None, "until": _ms(key.closed[0])}
        for key_name, key in state.keys.items()
        if key.closed[0] > 0
    ]


def _on_arrival(profile: Profile, known: bytes) -> list[Facts]:
    """Decisions that were told when their events arrived, and to which the fold hasn't come."""
    rows = {row.event_id for row in profile.buffer}
    told = [each for each in early.unpack(known).values() if not each.spent]
    found = {each.id: each for each in told if each.cause_event_id in rows}
    return [
        {
            "rule": each.rule,
            "correlation_key": each.key or None,
            "id": each.id,
            "outcome": each.outcome,
            "reason": each.reason,
            "cause_event_id": each.cause_event_id,
            "occurred_at": _ms(each.occurred_at),
            "due_at": _ms(each.due),
            "decided_at": _ms(each.at),
            **({"detail": each.detail} if each.detail else {}),
        }
        for each in sorted(found.values(), key=lambda each: (each.at, each.id))
    ]


def _retractable(name: str, state: RuleState) -> list[Facts]:
    """Triggers that fired and that a late event would still take back."""
    return [
        {
            "rule": name,
            "correlation_key": key_name or None,
            "id": fired.id,
            "cause_event_id": known_as(fired.cause_event_id),
            "occurred_at": _ms(fired.occurred_at),
            "due_at": _ms(fired.due),
            **({"stage": fired.stage} if fired.stage else {}),
        }
        for key_name, key in state.keys.items()
        for fired in key.fired
    ]


def _ms(ms: int) -> str | None:
    return rfc3339(ms) if ms > 0 else None
