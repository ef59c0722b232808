"""Decisions: what waits, what is due, and what is written. Semantics 4, 6, 8 to 10, rule 26, 29, 31, 32. Shares no
code with `pipeline`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.oracle.language import lengths
from tests.oracle.language.conditions import Made, View, holds, turning_points
from tests.oracle.language.dated import of_dates
from tests.oracle.language.paths import is_type
from tests.oracle.language.payloads import payload
from tests.oracle.language.person import Fired, Person, Place, told_once
from tests.oracle.language.sequences import follows
from tests.oracle.language.things import CHANGES
from tests.oracle.language.topology import NEVER, Condition, Language, Rule
from tests.oracle.language.turns import those_from_which
from tests.oracle.language.waits import (
    BROKEN,
    ENDS,
    LOOKS,
    STARTS,
    Changed,
    Key,
    Known,
    Order,
    Span,
    Start,
    Wait,
    arrived,
    counts_alone,
    does,
    once,
    order,
    starts_keys,
    walk,
)
from tests.oracle.lines import Contents
from tests.oracle.reading import EMPTIED
from tests.oracle.who import Fact, Identifier, Logins

Line = dict[str, Any]


class Maker:
    """Who decides. `made`, `changes`: all that was written. `person`: whose an identifier is."""

    def __init__(
        self, language: Language, logins: Logins, person: Callable[[Identifier], Person], end: int = NEVER
    ) -> None:
        self.language = language
        self.end = end
        self.logins = logins
        self.person = person
        self.made: list[Line] = []
        self.changes: list[Line] = []

    # --- what waits

    def waits(self, person: Person, moment: int) -> Iterator[Wait]:
        """2, 7: all that waits, as known now: of each key its first undecided wait."""
        for rule in self.language.rules:
            if rule.once:
                for one in person.once:
                    if one.open and one.place[0] == rule.name:
                        known = replace(self.known(rule, one.place[1], person, moment), span=one.span)
                        yield once(rule, one.place[1], one.start, known, self.language.max_age)
                continue
            if rule.date is not None:
                for key, told in of_dates(self.language, rule, person, moment, self.end).items():
                    wait = walk(rule, key, self.dated(rule, key, told, person, moment))
                    if wait is not None:
                        yield wait
                continue
            for key, starts in starts_of(self.language, rule, person).items():
                if rule.at_once:
                    known = self.known(rule, key, person, moment)
                    yield from (
                        arrived(rule, key, start, known) for start in starts if counts_alone(start, rule, known)
                    )
                    continue
                wait = walk(rule, key, replace(self.known(rule, key, person, moment), starts=starts))
                if wait is not None:
                    yield wait

    def dated(self, rule: Rule, key: Key, told: list[Start | Changed], person: Person, moment: int) -> Known:
        """35: the same of a key's dates."""
        starts = [one for one in told if isinstance(one, Start)]
        changed = tuple(one for one in told if isinstance(one, Changed))
        return replace(self.known(rule, key, person, moment), starts=starts, changed=changed)

    def known(self, rule: Rule, key: Key, person: Person, moment: int) -> Known:
        """What the walk over a key's history is given, but for its starts."""
        place = (rule.name, key)
        return Known(
            facts=[*person.fresh(), *person.undone],
            starts=[],
            settled=lambda token: (token, place) in person.settled and not rule.once,
            until=lambda wait: self.until(wait, person, moment),
            due=lambda wait: self.due(wait, person),
            lateness=0 if rule.on_arrival else self.language.lateness,
            fired=person.fired_due.get(place),
            span=person.spans.get(place),
            stays=lambda start: (start.token, place) in person.stays,
            follows=lambda start, fact: follows(rule, key, start.run, fact),
            cart=person.contents.get(place, Contents()) if rule.of_cart else None,
        )

    def due(self, wait: Wait, person: Person) -> int:
        """D of a wait, from its cause; 44: of one that is as long as its start tells, as its last one told."""
        cause, length = wait.cause, wait.rule.length
        if length is None or wait.cause.moment is not None:
            return (cause.at if cause.moment is None else cause.moment) + wait.rule.stages[wait.stage].after
        if length.field is None:
            return lengths.due(self.language, length, person, cause.at)
        assert wait.last_start.fact is not None
        return cause.at + (lengths.told(self.language, wait.rule, wait.key, wait.last_start.fact) or 0)

    def until(self, wait: Wait, person: Person, moment: int) -> tuple[int, Fact | None] | None:
        """29: the first moment, from the wait's start on, at which `until` held, by what is known now; and the event
        that made it hold, or None by time alone."""
        if wait.rule.until is None:
            return None
        condition = wait.rule.until[0]
        view = self.view(wait, person, 0, moment)
        begin = wait.opened.at if wait.decided is None else max(wait.opened.at, wait.decided + 1)
        found = {begin, *(fact.occurred_at for fact in person.facts), *turning_points(condition, view)}
        found |= {made.due for made in person.made} | set(person.entered.values())
        for at in sorted(found):
            if at < begin:
                continue
            then = replace(view, at=at)
            if holds(condition, then):
                return at, by_event(condition, then)
        return None

    def view(self, wait: Wait, person: Person, at: int, moment: int) -> View:
        """29: what occurred up to `at`, as known now; segments and triggers as the fold has them now."""
        return View(
            language=self.language,
            facts=person.facts,
            at=at,
            made=person.made,
            entered=person.entered,
            folded=True,
            per=wait.rule.per,
            key=wait.key,
            start=wait.opened.fact,
            since=wait.opened.at,
            fold_at=moment,
        )

    # --- deciding

    def decide(self, person: Person, moment: int) -> bool:
        """All that is due now, by priority, then the topology's order, then key. Was there anything?"""
        any_made = False
        while True:
            ready = [wait for wait in self.waits(person, moment) if wait.ready <= moment]
            if not ready:
                return any_made
            any_made = True
            first = min(ready, key=lambda w: (-w.rule.priority, w.rule.place, w.key or "", w.due))
            self.decide_one(person, first, moment)

    def decide_one(self, person: Person, wait: Wait, moment: int) -> None:
        """6, 10, 31: one decision, and what it closes."""
        place: Place = (wait.rule.name, wait.key)
        if wait.reason == BROKEN:
            self.close(person, wait)
            return
        outcome, reason = self.outcome(person, wait, moment)
        line = self.write(person, wait, outcome, reason, moment)
        person.made.append(Made(wait.rule.name, outcome, wait.due, moment))
        if outcome == "fired":
            told = wait.shown and wait.shown.copy()
            person.fired.append(Fired(wait.rule, wait.key, wait.opened, wait.last_start, wait.due, moment, line, told))
            person.fired_due[place] = max(wait.due, person.fired_due.get(place, wait.due))
        self.close(person, wait)
        self.lead_to(person, wait, outcome, line, moment)

    def lead_to(self, person: Person, wait: Wait, outcome: str, line: Line, moment: int) -> None:
        """44: what starts by this decision: it occurred when that was due, and is known now. 25: not after the end of a
        recording."""
        for rule in self.language.rules:
            if rule.trigger != (wait.rule.name, outcome) or moment > self.end:
                continue
            key = None if rule.per is None else wait.key
            if rule.per is not None and key is None:
                continue
            place = (rule.name, key)
            start = Start(None, wait.cause.named, wait.due, moment, by=name_of(line))
            person.turns.append((place, start))
            if rule.once:
                told_once(person, rule, key, start)
            if start.at <= person.closed.get(place, start.at - 1):
                person.settled.add((start.token, place))  # 6: late

    def close(self, person: Person, wait: Wait) -> None:
        """6, 31: a decision closes its key up to its end; what is left of its stages waits on."""
        place: Place = (wait.rule.name, wait.key)
        if wait.rule.at_once and not wait.rule.once:
            person.settled.add((wait.opened.token, place))  # 38: it closes nothing else
            return
        end = wait.due if wait.ended_at is None else wait.ended_at
        person.closed[place] = max(end, person.closed.get(place, end))
        if wait.reason == "begun_anew":
            end -= 1  # what is known to begin anew is the next wait's
        self.settle(person, wait, end)
        person.settled |= {
            (one.token, where)
            for where, one in person.turns
            if where == place and one.at <= end and (not wait.rule.of_cart or covers(wait, one.order))
        }
        if wait.left is not None:
            person.contents[place] = wait.left.copy()
        person.spans.pop(place, None)
        left = wait.ended_at is None and wait.stage + 1 < len(wait.rule.stages)
        span = Span(wait.opened, wait.last_start, wait.cause, wait.stage + 1, wait.due)
        if left and not wait.rule.once:
            person.spans[place] = span
        for one in person.once:
            if one.place == place and one.open:
                one.span, one.done, one.due = span if left else None, not left, wait.due

    def settle(self, person: Person, wait: Wait, end: int) -> None:
        """6, 35: facts up to the end of a decision; of dates not what told another in that very millisecond, and the
        years that began before."""
        place: Place = (wait.rule.name, wait.key)
        facts = [fact for fact in person.facts if fact.occurred_at <= end]
        if wait.rule.date is not None:
            facts = [fact for fact in facts if wait.covered is None or order(fact, STARTS) <= wait.covered]
            person.settled.add((wait.opened.token, place))
            for one in of_dates(self.language, wait.rule, person, self.end, self.end).get(wait.key, ()):
                if isinstance(one, Start) and one.of is not None and one.at < end:
                    person.settled.add((one.token, place))
        if wait.rule.of_cart:
            facts = [fact for fact in facts if covers(wait, order(fact, role_of(wait.rule, fact), wait.rule))]
        person.settled |= {(fact, place) for fact in facts}

    def outcome(self, person: Person, wait: Wait, moment: int) -> tuple[str, str]:
        """h: in this order."""
        if wait.ended_at is not None:
            return "cancelled", wait.reason
        if self.somebody_elses(person, wait.last_start):
            return "suppressed", "other_person"
        if self.unfounded(person, wait):
            return "suppressed", "unfounded"
        last = max(wait.due + self.language.lateness, wait.last_start.known)
        if not wait.rule.at_once and any(received <= last for received, _ in wait.overtaking):
            return "suppressed", "overtaken"
        only_if = wait.rule.stages[wait.stage].only_if
        if only_if is not None and not holds(only_if, self.view(wait, person, wait.due, moment)):
            return "suppressed", "only_if"
        return "fired", "due"

    def unfounded(self, person: Person, wait: Wait) -> bool:
        """g: a turn that what is known now doesn't bear out, at the moment at which it turned."""
        if wait.rule.when is None:
            return False
        view = View(self.language, person.facts, wait.opened.known, person.made, person.entered, person.past)
        return not holds(wait.rule.when, replace(view, per=wait.rule.per, key=wait.key))

    def somebody_elses(self, person: Person, start: Start) -> bool:
        """20: did it happen on a device that, by all logins known now, was another person's then?"""
        device = None if start.fact is None else start.fact.device
        if device is None:
            return False
        holder = next((value for name, value in self.person(device).identifiers if name == "user_id"), None)
        owner = self.logins.owner(device, start.at, holder)
        return owner is not None and ("user_id", owner) not in person.identifiers

    # --- writing

    def write(self, person: Person, wait: Wait, outcome: str, reason: str, moment: int) -> Line:
        """2, 8, 9: a decision, with the identifiers known now."""
        stage = wait.rule.stages[wait.stage].name
        line: Line = {
            "rule": wait.rule.name,
            "rule_version": wait.rule.version,
            "correlation_key": wait.key,
            "identifiers": person.names(),
            "cause_event_id": wait.cause.by or wait.cause.named.event_id,
            "occurred_at": wait.cause.at,
            "due_at": wait.due,
            "decided_at": moment,
            "outcome": outcome,
            "reason": reason,
            "payload": payload(wait, person, moment),
            "basis": "arrival" if wait.rule.on_arrival else wait.cause.basis,
        }
        if wait.ended_by is not None:
            line["ended_by"] = wait.ended_by.event_id
        elif wait.begun is not None:
            line["ended_by"] = wait.begun.by
        if stage is not None:
            line["stage"] = stage
        self.made.append(line)
        return line

    def on_top(self, person: Person, fired: Fired, outcome: str, reason: str, moment: int, **more: Any) -> None:
        """6, 32: what is said of a trigger later: that it is taken back, or that it helped."""
        self.made.append(
            {
                **fired.line,
                "identifiers": person.names(),
                "decided_at": moment,
                "outcome": outcome,
                "reason": reason,
                "payload": {},
                **more,
            }
        )
        person.made.append(Made(fired.rule.name, outcome, fired.due, moment))

    def change(self, person: Person, segment: str, what: str, moment: int, reason: str, cause: Fact | None) -> None:
        """i: a segment entered or left."""
        self.changes.append(
            {
                "segment": segment,
                "change": what,
                "at": moment,
                "profile_id": person.profile(),
                "identifiers": person.names(),
                "cause_event_id": None if cause is None else cause.event_id,
                "reason": reason,
            }
        )


def covers(wait: Wait, place: Order) -> bool:
    """2: does what ended it stand after that, in its millisecond?"""
    return wait.covered is None or wait.reason == "begun_anew" or place <= wait.covered


def role_of(rule: Rule, fact: Fact) -> int:
    """45: what a cart's rule takes it for, among what else happened in its millisecond."""
    if does(rule.start, fact):
        return STARTS
    ends = fact.type not in CHANGES and any(is_type(fact, action.events) for action in rule.cancel)
    return ENDS if ends else LOOKS


def starts_of(language: Language, rule: Rule, person: Person) -> dict[Key, list[Start]]:
    """All starts of a rule, of each key those that are known."""
    found: dict[Key, list[Start]] = {}
    for fact in person.fresh():
        empties = rule.of_cart and fact.type == EMPTIED  # 13: that is no start of a cart
        if does(rule.start, fact) and not empties:
            for key in starts_keys(rule, fact):
                if lengths.begins(language, rule, key, fact):
                    found.setdefault(key, []).append(Start(fact, fact, fact.occurred_at, fact.received_at))
    for (name, key), start in person.turns:
        if name == rule.name:
            found.setdefault(key, []).append(start)
    for name, key in person.spans:
        if name == rule.name:
            found.setdefault(key, [])
    return found


def by_event(condition: Condition, view: View) -> Fact | None:
    """The first event of this millisecond that a condition counts, and from which on it holds; None: there is none."""
    now = [fact for fact in view.facts if fact.occurred_at == view.at]
    causes = those_from_which(condition, True, now, view, through=False)
    return causes[0] if causes else None


def name_of(line: Line) -> str:
    """44: a decision, where another has it for its cause: by what it says, for ids are of the product's making."""
    said = [line["rule"], line["correlation_key"], line["cause_event_id"], line["due_at"], line.get("stage")]
    return "decision " + " ".join(str(one) for one in said)
