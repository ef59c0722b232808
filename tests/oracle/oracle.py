"""The oracle: every decision of the three rules, recomputed from people's whole histories. No code of `pipeline`.

    decisions(events) -> list of decision dicts, sorted by `sort_key`

`events` is one partition's log, in its order: dicts with `type`, `event_id`, `occurred_at`, `received_at` (ms),
`identifiers`, `body` and sometimes `context`. The parameters are the shipped constants, in ms. What stays from one
moment to the next is only what really stands: decisions made, the contents of carts at their closed ends, who has
opened a message or a film, which orders were told, and who is who. Whatever is still open is worked out again from all
facts of the person at every moment it is looked at.

Numbers in docstrings are those of the lines of the semantics page. `spelling.py` and `reading.py` tidy what people
write (18, 22), `who.py` has 18 to 20, `cart.py` and `orders.py` 12, `lines.py` and `money.py` 13, `message.py` 14,
`film.py` 16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tests.oracle.cart import STARTS, CartWait, Key, apply, cart_of, concerns, ends, ends_or_takes, first_wait, takes
from tests.oracle.compare import sort_key
from tests.oracle.film import Played, film_of, is_playback, play, reaches_half, seconds_watched
from tests.oracle.lines import Contents
from tests.oracle.message import ends_message, opens, remembered
from tests.oracle.orders import OrderIds
from tests.oracle.reading import ORDERS
from tests.oracle.who import Fact, Identifier, Logins, read_log

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

CART, EBOOK, FILM = "abandoned_cart", "ebook_not_clicked", "film_half_watched"
AFTER = {CART: HOUR, EBOOK: 3 * DAY, FILM: DAY}
VERSION = 1

Decision = dict[str, Any]


@dataclass(frozen=True)
class Constants:
    """What the topology says, in ms. `after` by rule; `remember`: how long past D a message is known (14)."""

    after: dict[str, int]
    lateness: int
    disorder: int
    max_age: int
    remember: int


@dataclass(eq=False)
class OnceWait:
    """A message or a film that was opened once. `gone`: absorbed by a merge (21); `done`: decided."""

    rule: str
    key: str
    opened: Fact
    due: int
    done: bool = False
    gone: bool = False

    @property
    def open(self) -> bool:
        """Still waiting for its decision."""
        return not self.done and not self.gone


@dataclass(eq=False)
class Trigger:
    """A decision that fired: what a late event may retract (6). `since`: its last start. `told`: a cart's lines."""

    rule: str
    key: Key
    since: Fact
    cause: Fact
    due: int
    told: Contents | None = None
    retracted: bool = False


@dataclass(eq=False)
class Person:
    """All of one person: the facts received so far, and what stands.

    `settled`: (fact, cart) pairs that a decision covers or that were late. `closed`, `ends`: contents and time of each
    cart's closed end. `orders`: order ids (12). `contact`: field -> (knowledge, value), what was told last.
    """

    identifiers: set[Identifier]
    facts: list[Fact] = field(default_factory=list)
    played: list[Played] = field(default_factory=list)
    settled: set[tuple[Fact, Key]] = field(default_factory=set)
    closed: dict[Key, Contents] = field(default_factory=dict)
    ends: dict[Key, int] = field(default_factory=dict)
    once: list[OnceWait] = field(default_factory=list)
    seen: set[tuple[str, tuple[Identifier, ...]]] = field(default_factory=set)
    triggers: list[Trigger] = field(default_factory=list)
    orders: OrderIds = field(default_factory=OrderIds)
    contact: dict[str, tuple[tuple[Any, ...], str]] = field(default_factory=dict)
    next_due: int | None = None

    def carts(self) -> set[Key]:
        """The carts that anything was ever added to."""
        return {cart_of(fact) for fact in self.facts if fact.type in STARTS}

    def names(self) -> dict[str, list[str]]:
        """`identifiers` of a decision: namespace -> sorted values."""
        names: dict[str, list[str]] = {}
        for namespace, value in sorted(self.identifiers):
            names.setdefault(namespace, []).append(value)
        return names

    def take_in(self, other: Person, moment: int, known_for: int) -> None:
        """21: from now on one person. Facts and what stands are united.

        `known_for`: how long after it happened an order or clear is still known to those who join (ms).
        """
        self.add_up_carts(other, moment, known_for)
        for side in (self, other):
            side.forget_messages(moment, known_for)
        self.identifiers |= other.identifiers
        self.seen |= other.seen
        self.facts = sorted(self.facts + other.facts, key=lambda f: f.knowledge)
        self.played = sorted(self.played + other.played, key=lambda p: p.fact.knowledge)
        self.once += other.once
        self.triggers += other.triggers
        self.orders.join(other.orders, moment)
        self.learn_contact(other.contact)

    def forget_messages(self, moment: int, known_for: int) -> None:
        """14: what is remembered of a message that this side has not been sent is known no longer to those who join,
        nor is what it had forgotten when it was sent."""
        sent = {wait.key: wait.opened for wait in self.once if wait.rule == EBOOK and wait.open}
        self.facts = [
            fact
            for fact in self.facts
            if fact.type not in ("email_clicked", "email_bounced")
            or moment - fact.occurred_at <= known_for
            or ((opened := sent.get(fact.get("message_id"))) is not None and remembered(opened, fact, known_for))
        ]

    def reach(self) -> dict[str, str]:
        """How to write to them: what was told last; an address that no such event told is one they are known by."""
        known = {name: value for name, (_, value) in sorted(self.contact.items())}
        emails = sorted(value for namespace, value in self.identifiers if namespace == "email")
        return {"email": emails[0], **known} if emails else known

    def learn_contact(self, told: dict[str, tuple[tuple[Any, ...], str]]) -> None:
        """How to write to them: of each field what was told last, in order of knowledge."""
        for name, newer in told.items():
            self.contact[name] = max(self.contact.get(name, newer), newer)

    def has_open_start_before(self, fact: Fact, key: Key) -> bool:
        """Is there a wait of this cart, undecided, that `fact` would end?"""
        starts = (f for f in self.facts if f.type in STARTS and cart_of(f) == key)
        return any(f.event_time < fact.event_time and (f, key) not in self.settled for f in starts)

    def add_up_carts(self, other: Person, moment: int, known_for: int) -> None:
        """21: contents at the closed ends add up. An order or clear of one side, though settled there, is news to the
        other (12: it ends every cart begun before it), if it is known still: up to the later closed end it takes what
        was added up to it now, or where it ends an open wait then (so that the payload shows what was there)."""
        settled = self.settled | other.settled
        for mine, theirs in ((self, other), (other, self)):
            for key, contents in mine.closed.items():
                end = max(mine.ends[key], theirs.ends.get(key, 0))
                for fact in theirs.facts + mine.facts:
                    if not ends_or_takes(fact, key) or fact.occurred_at > end:
                        continue
                    if (fact, key) in mine.settled or (fact in mine.facts and fact.occurred_at <= mine.ends[key]):
                        continue  # known, or later in the millisecond of its own end
                    known = moment - fact.occurred_at <= known_for
                    if mine.has_open_start_before(fact, key) or theirs.has_open_start_before(fact, key):
                        if known:
                            settled.discard((fact, key))
                    else:
                        settled.add((fact, key))
                        if known or fact in mine.facts:
                            apply(fact, key, contents)
        self.settled = settled
        for key, contents in other.closed.items():
            self.closed[key] = self.closed.get(key, Contents()).plus(contents)
        for key, end in other.ends.items():
            self.ends[key] = max(end, self.ends.get(key, end))


class World:
    """Everybody, at one moment of knowledge."""

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.people: dict[Identifier, Person] = {}
        self.made: list[Decision] = []
        self.logins = Logins()

    def person(self, identifier: Identifier) -> Person:
        """Whose `identifier` is, as known now."""
        return self.people.setdefault(identifier, Person({identifier}))

    def everybody(self) -> list[Person]:
        """Each person once."""
        return list({id(person): person for person in self.people.values()}.values())

    # --- a moment of receipt -----------------------------------------------------------------------------------------

    def learn(self, moment: int, facts: list[Fact]) -> None:
        """2, 21: everything received at `moment`, in order of knowledge, each with its ties; then what is due."""
        for fact in facts:
            for device, user in fact.logins:
                self.logins.note(device, fact.occurred_at, user)
            for other in fact.ties:
                self.tie(fact.person, other, moment)
            person = self.person(fact.person)
            self.absorb(person, moment)
            self.receive(person, fact, moment)
        for person in {id(p): p for p in (self.person(fact.person) for fact in facts)}.values():
            self.decide(person, moment)

    def tie(self, one: Identifier, other: Identifier, moment: int) -> None:
        """19, 21: one person from now on."""
        mine, theirs = self.person(one), self.person(other)
        if mine is theirs:
            return
        mine.take_in(theirs, moment, self.constants.max_age)
        for identifier in theirs.identifiers:
            self.people[identifier] = mine

    def absorb(self, person: Person, moment: int) -> None:
        """21, last sentence: of one message or film the decided one absorbs the open; of open ones the first stays."""
        for wait in sorted((w for w in person.once if w.open), key=lambda w: w.opened.knowledge):
            same = [w for w in person.once if w is not wait and (w.rule, w.key) == (wait.rule, wait.key) and not w.gone]
            decided = any(w.done and self.remembered(w, moment) for w in same)
            earlier = any(w.open and w.opened.knowledge < wait.opened.knowledge for w in same)
            wait.gone = decided or earlier

    def receive(self, person: Person, fact: Fact, moment: int) -> None:
        """6, 11: one more fact of a person. Told before: nothing. Older than 72 h: it only informs, no rule sees it."""
        name = (fact.event_id, fact.carried)
        if name in person.seen:
            return
        person.seen.add(name)
        person.learn_contact({field: (fact.knowledge[:1], value) for field, value in fact.contact.items()})
        fact = person.orders.counted(fact)
        if fact.received_at - fact.occurred_at > self.constants.max_age:
            return
        self.note_late_for_carts(person, fact)
        self.retract(person, fact, moment)
        person.facts.append(fact)
        self.open_message(person, fact)
        if is_playback(fact):
            person.played.append(play(fact, person.played))
            self.open_film(person, fact)

    def note_late_for_carts(self, person: Person, fact: Fact) -> None:
        """6: what occurred up to a cart's closed end and is received later moves nothing; its lines count from now."""
        for key, end in person.ends.items():
            if concerns(fact, key) and fact.occurred_at <= end:
                person.settled.add((fact, key))
                apply(fact, key, person.closed[key])

    def open_message(self, person: Person, fact: Fact) -> None:
        """14: the first telling of a message, in order of receipt; a second is nothing while it is remembered."""
        message = opens(fact)
        if message is None:
            return
        told = [w for w in person.once if (w.rule, w.key) == (EBOOK, message) and not w.gone]
        if not any(self.remembered(w, fact.received_at) for w in told):
            person.once.append(OnceWait(EBOOK, message, fact, fact.occurred_at + self.constants.after[EBOOK]))

    def remembered(self, wait: OnceWait, at: int) -> bool:
        """14, 15: a message for its wait and 72 h more, a film for ever."""
        return wait.open or wait.rule == FILM or at <= wait.due + self.constants.remember

    def open_film(self, person: Person, fact: Fact) -> None:
        """15: the playback event at which half of its own total length has been watched; once a film and person."""
        film = film_of(fact)
        if film is None or any((w.rule, w.key) == (FILM, film) for w in person.once):
            return
        if reaches_half(fact, seconds_watched(person.played, film)):
            person.once.append(OnceWait(FILM, film, fact, fact.occurred_at + self.constants.after[FILM]))

    def retract(self, person: Person, fact: Fact, moment: int) -> None:
        """6: a late cancel takes back, once, a trigger that it would have kept from firing."""
        for trigger in person.triggers:
            reason = self.would_have_cancelled(fact, trigger)
            if reason is None or trigger.retracted or moment > trigger.due + self.constants.remember:
                continue
            trigger.retracted = True
            self.write(
                person,
                trigger.rule,
                trigger.key,
                trigger.cause,
                trigger.due,
                moment,
                outcome="retracted",
                reason=reason,
                payload={},
                late_event_id=fact.event_id,
            )

    def would_have_cancelled(self, fact: Fact, trigger: Trigger) -> str | None:
        """6: the reason, if it happened up to D, after the last start (which would have opened the next wait). Not a
        late removal. 12: an order for another cart only if it holds every line that was told."""
        if fact.occurred_at > trigger.due:
            return None
        if trigger.rule != CART:
            assert trigger.key is not None
            return self.ends_once(trigger.rule, trigger.key, trigger.since, fact)
        if fact.event_time < trigger.since.event_time:
            return None
        assert trigger.told is not None
        holds = takes(fact, trigger.key) and trigger.told.held_by(list(fact.items))
        return "bought" if holds else ends(fact, trigger.key)

    # --- deciding ----------------------------------------------------------------------------------------------------

    def waits(self, person: Person) -> Iterator[tuple[Key, CartWait] | OnceWait]:
        """2, 7: all that waits now: of each cart the first undecided wait, and the open messages and films."""
        for key in person.carts():
            wait = first_wait(
                key,
                person.facts,
                lambda fact, key=key: (fact, key) in person.settled,  # type: ignore[misc]
                person.closed.get(key, Contents()),
                self.constants.after[CART],
            )
            if wait:
                yield key, wait
        yield from (wait for wait in person.once if wait.open)

    def decide(self, person: Person, moment: int) -> None:
        """2, 6: make every decision whose D + L has come at `moment`; waits of one cart in turn. Sets `next_due`."""
        while True:
            waiting = [(due_of(wait) + self.constants.lateness, wait) for wait in self.waits(person)]
            ready = [wait for at, wait in waiting if at <= moment]
            if not ready:
                person.next_due = min((at for at, _ in waiting), default=None)
                return
            for wait in ready:
                if isinstance(wait, OnceWait):
                    self.decide_once(person, wait, moment)
                else:
                    self.decide_cart(person, *wait, moment)

    def decide_cart(self, person: Person, key: Key, wait: CartWait, moment: int) -> None:
        """4, 6, 10, 12: one decision; it closes the cart up to D, or up to the event that cancelled."""
        assert wait.shown is not None
        assert wait.left is not None
        outcome, reason = self.outcome(person, wait.ended_by, wait.reason, wait.overtaking, wait.due, wait.last_start)
        self.write(
            person,
            CART,
            key,
            wait.cause,
            wait.due,
            moment,
            outcome=outcome,
            reason=reason,
            payload=wait.shown.payload(key),
            **ended(wait.ended_by),
        )
        if outcome == "fired":
            person.triggers.append(Trigger(CART, key, wait.last_start, wait.cause, wait.due, wait.shown.copy()))
        if wait.ended_by:
            covered = [f for f in person.facts if f.event_time <= wait.ended_by.event_time]
            end = wait.ended_by.occurred_at
        else:
            covered = [f for f in person.facts if f.occurred_at <= wait.due]
            end = wait.due
        person.settled |= {(fact, key) for fact in covered if concerns(fact, key)}
        person.closed[key] = wait.left.copy()
        person.ends[key] = max(end, person.ends.get(key, end))

    def decide_once(self, person: Person, wait: OnceWait, moment: int) -> None:
        """4, 14, 15: the decision on a message or a film; the first cancel up to D, in event time, ends it."""
        start = wait.opened
        reasons = {f: self.ends_once(wait.rule, wait.key, start, f) for f in person.facts}
        cancels = [f for f in person.facts if reasons[f]]
        ended_by = min((f for f in cancels if f.occurred_at <= wait.due), key=lambda f: f.event_time, default=None)
        overtaking = [f for f in cancels if f.occurred_at > wait.due]
        cancelled = (ended_by and reasons[ended_by]) or "due"
        outcome, reason = self.outcome(person, ended_by, cancelled, overtaking, wait.due, start)
        if wait.rule == EBOOK:
            payload = {"message_id": wait.key, "campaign": start.get("campaign")}
        else:  # 2: what was known then
            seconds = round(seconds_watched(person.played, wait.key), 6)
            payload = {
                "film": wait.key,
                "title": start.get("title"),
                "seconds_watched": seconds,
                "total_length": start.get("total_length"),
            }
        self.write(
            person,
            wait.rule,
            wait.key,
            start,
            wait.due,
            moment,
            outcome=outcome,
            reason=reason,
            payload=payload,
            **ended(ended_by),
        )
        wait.done = True
        if outcome == "fired":
            person.triggers.append(Trigger(wait.rule, wait.key, start, start, wait.due))

    def outcome(
        self, person: Person, ended_by: Fact | None, reason: str, overtaking: list[Fact], due: int, last_start: Fact
    ) -> tuple[str, str]:
        """4: cancelled; or suppressed if the last start turned out to be somebody else's (20), or if they did it again
        after D, received up to D + L, of a late start up to its own receipt; or fired."""
        if ended_by:
            return "cancelled", reason
        if self.somebody_elses(person, last_start):
            return "suppressed", "other_person"
        if any(fact.received_at <= max(due + self.constants.lateness, last_start.received_at) for fact in overtaking):
            return "suppressed", "overtaken"
        return "fired", "due"

    def somebody_elses(self, person: Person, start: Fact) -> bool:
        """20: did it happen on a device that, by all logins known now, was another person's then?"""
        if start.device is None:
            return False
        holder = next((value for name, value in self.person(start.device).identifiers if name == "user_id"), None)
        owner = self.logins.owner(start.device, start.occurred_at, holder)
        return owner is not None and ("user_id", owner) not in person.identifiers

    def ends_once(self, rule: str, key: str, start: Fact, fact: Fact) -> str | None:
        """14, 15: the reason with which `fact` ends the wait of a message or film that `start` opened, whenever that
        is."""
        if rule == FILM:
            return "ordered" if fact.type in ORDERS and fact.event_time > start.event_time else None
        return ends_message(key, start, fact, self.constants.remember)

    def write(self, person: Person, rule: str, key: Key, cause: Fact, due: int, moment: int, **more: Any) -> None:
        """2, 8, 9: a decision, with the identifiers and the contact known now."""
        self.made.append(
            {
                "rule": rule,
                "rule_version": VERSION,
                "correlation_key": key,
                "identifiers": person.names(),
                "contact": person.reach(),
                "cause_event_id": cause.event_id,
                "occurred_at": cause.occurred_at,
                "due_at": due,
                "decided_at": moment,
                **more,
            }
        )

    # --- time --------------------------------------------------------------------------------------------------------

    def run(self, facts: Iterable[Fact], *, until: int | None) -> None:
        """2, 5, 21: go through the moments in order: each `received_at`, and each D + L in between.

        What is due exactly when something is received is decided after that was learnt. `until`: only moments before.
        """
        known = sorted((f for f in facts if until is None or f.received_at < until), key=lambda f: f.knowledge)
        for moment, received in groupby(known, key=lambda f: f.received_at):
            self.decide_before(moment)
            self.learn(moment, list(received))
        self.decide_before(until)

    def decide_before(self, moment: int | None) -> None:
        """Everything with D + L before `moment` (None: everything), each at its own moment."""
        while True:
            due = [p for p in self.everybody() if p.next_due is not None and (moment is None or p.next_due < moment)]
            if not due:
                return
            first = min(due, key=lambda p: p.next_due or 0)
            assert first.next_due is not None
            self.decide(first, first.next_due)


def due_of(wait: tuple[Key, CartWait] | OnceWait) -> int:
    """D of either kind of wait."""
    return wait.due if isinstance(wait, OnceWait) else wait[1].due


def ended(by: Fact | None) -> dict[str, str]:
    """The field that only cancelled decisions have."""
    return {"ended_by": by.event_id} if by else {}


def decisions(
    events: Iterable[dict[str, Any]],
    *,
    after: dict[str, int] | None = None,
    lateness: int = 5 * MINUTE,
    disorder: int = 10_000,
    max_age: int = 72 * HOUR,
    remember: int = 72 * HOUR,
    open_end: bool = False,
) -> list[Decision]:
    """Every decision, in canonical order. `after`: rule -> ms (missing: as shipped).

    `open_end`: the recording goes on (5), so that only what the watermark has passed is known and decided (3).
    """
    log = list(events)
    constants = Constants({**AFTER, **(after or {})}, lateness, disorder, max_age, remember)
    world = World(constants)
    watermark = max((event["received_at"] for event in log), default=0) - disorder
    world.run(read_log(log, disorder), until=watermark if open_end else None)
    return sorted(world.made, key=sort_key)
