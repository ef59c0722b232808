"""The oracle of the rule language: every decision and every change of a segment, recomputed from people's whole
histories, in the obvious way. No code of `pipeline`.

    decisions(topology, events) -> (decisions, changes)

`events` as tests/oracle/oracle.py takes them; who is who is its who.py. What stays from one moment to the next is only
what really stands: decisions made, closed ends, turns, who is in which segment, and who is who. All else is worked out
again at every moment at which anything might happen. Numbers in docstrings up to 22 are those of the lines of the
semantics page, from 23 on of the rule language's.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from tests.oracle.language.making import Maker
from tests.oracle.language.person import Person
from tests.oracle.language.receiving import changed, join, receive, take
from tests.oracle.language.sequences import complete
from tests.oracle.language.topology import Language, language
from tests.oracle.language.turns import next_turn, turn
from tests.oracle.who import Fact, Identifier, Logins, read_log

Line = dict[str, Any]


class World:
    """Everybody, at one moment of knowledge. `end`: when time stands still for conditions (25)."""

    def __init__(self, told: Language, end: int) -> None:
        self.language = told
        self.end = end
        self.people: dict[Identifier, Person] = {}
        self.logins = Logins()
        self.maker = Maker(told, self.logins, self.person, end)

    def person(self, identifier: Identifier) -> Person:
        """Whose `identifier` is, as known now."""
        return self.people.setdefault(identifier, Person({identifier}))

    def everybody(self) -> list[Person]:
        """Each person once."""
        return list({id(person): person for person in self.people.values()}.values())

    def tie(self, one: Identifier, other: Identifier, moment: int) -> None:
        """19, 21: one person from now on."""
        mine, theirs = self.person(one), self.person(other)
        if mine is theirs:
            return
        winner, loser = sorted([mine, theirs], key=lambda person: (not person.facts, person.profile()))
        join(self.language, winner, loser, moment, self.maker)
        for identifier in loser.identifiers:
            self.people[identifier] = winner

    def learn(self, moment: int, facts: list[Fact]) -> None:
        """2, 21: everything received at `moment`, in order of knowledge, each with its ties."""
        for fact in facts:
            for device, user in fact.logins:
                self.logins.note(device, fact.occurred_at, user)
            for other in fact.ties:
                self.tie(fact.person, other, moment)
            receive(self.language, self.person(fact.person), fact, moment, self.maker)

    def settle(self, person: Person, moment: int) -> None:
        """36: after the receipts of a moment segments, starts, decisions; and again, while decisions are made."""
        while True:
            if moment <= self.end:
                turn(self.language, person, moment, self)
                for rule in self.language.rules:
                    if rule.sequence and (person.arrived or person.tied):
                        complete(rule, person, moment, self.maker, self.language.max_age)
            if not self.maker.decide(person, moment):
                break
        person.arrived, person.tied, person.lost = [], False, {}
        person.next = self.next_of(person, moment)

    def change(self, person: Person, segment: str, what: str, moment: int, reason: str, cause: Fact | None) -> None:
        """36: it is written down, and, but by a tie, an event that rules take as any other."""
        self.maker.change(person, segment, what, moment, reason, cause)
        if reason in ("event", "time"):
            take(self.language, person, changed(person, segment, what, moment, reason), moment, self.maker)

    def next_of(self, person: Person, moment: int) -> int | None:
        """When anything may happen of itself next, after `moment`."""
        found = [wait.ready for wait in self.maker.waits(person, moment)]
        if moment < self.end:
            found += [at for at in next_turn(self.language, person) if at <= self.end]
        return min((at for at in found if at > moment), default=None)

    def run(self, facts: Iterable[Fact], until: int | None) -> None:
        """2, 5: go through the moments in order. `until`: only those before."""
        known = sorted((f for f in facts if until is None or f.received_at < until), key=lambda f: f.knowledge)
        for moment, received in groupby(known, key=lambda f: f.received_at):
            self.before(moment)
            told = list(received)
            self.learn(moment, told)
            for person in {id(p): p for p in (self.person(fact.person) for fact in told)}.values():
                self.settle(person, moment)
        self.before(until)

    def before(self, moment: int | None) -> None:
        """All that happens of itself before `moment` (None: ever)."""
        while True:
            due = [p for p in self.everybody() if p.next is not None and (moment is None or p.next < moment)]
            if not due:
                return
            first = min(due, key=lambda p: p.next or 0)
            assert first.next is not None
            self.settle(first, first.next)


def decisions(
    topology: dict[str, Any], events: Iterable[dict[str, Any]], *, open_end: bool = False
) -> tuple[list[Line], list[Line]]:
    """Every decision and every change of a segment, in the order in which they were made.

    `topology`: what YAML tells of `time`, `triggers`, `segments`, `measures`, `lists`. `open_end`: the recording goes
    on (5), so that only what the watermark has passed is known and decided (3).
    """
    log = list(events)
    told = language(topology)
    end = max((event["received_at"] for event in log), default=0)
    world = World(told, end)
    world.run(read_log(log, told.disorder), end - told.disorder if open_end else None)
    return world.maker.made, world.maker.changes
