"""A person to the rules: a set of identifiers known, at the moment that the fold has reached, to be one; what the rules
remember of them; whose an event is, and what becomes of two who turn out to be one (semantics 1, 20, 21).

A profile usually holds one person; it holds several for as long as a tie that has been read takes effect only later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.identity.ids import own_id
from pipeline.language import whereabouts
from pipeline.language.films import Session
from pipeline.language.memory import Entry, Memory
from pipeline.language.whereabouts import Whereabouts
from pipeline.topology.model import BROKEN
from pipeline.triggers import balance, devices, films, happening, keys, marks, orders, remembering, turning, waits
from pipeline.triggers.contact import Contact
from pipeline.triggers.devices import Aside, Login
from pipeline.triggers.facts import CONTENTS, Key, Until
from pipeline.triggers.films import Film, FilmPage
from pipeline.triggers.keys import RuleState
from pipeline.triggers.rules import Compiled, RuleBook
from pipeline.triggers.watches import Turn
from pipeline.wire.row import Row


class Person(msgspec.Struct, array_like=True, gc=False):
    """`ids`: namespace -> values. `due`: the earliest moment at which something of theirs is decided or looked at, or
    None. `told`: the orders that were told, `bought`: what they add up to (orders.py). `logins`, `logins_aside`: on
    devices among `ids` (devices.py). `films`: those at hand, `film_pages`: the others. `swept`: the day (UTC) on which
    what can decide nothing any more went last. `heard`: what conditions count, `turned`: what they were last found to
    be, `first`: the person's first event, where that matters (watches.py). `whereabouts`: their time zones, where that
    matters.
    """

    ids: dict[str, list[str]]
    rules: dict[str, RuleState] = {}
    films: dict[str, Film] = {}
    sessions: dict[str, Session] = {}
    due: int | None = None
    told: orders.Told = {}
    bought: orders.Sums = {}
    contact: Contact | None = None
    logins: dict[str, list[Login]] = {}
    film_pages: list[FilmPage] = []
    swept: int = 0
    heard: Memory = {}
    turned: dict[str, Turn] = {}
    first: Entry | None = None
    whereabouts: Whereabouts | None = None
    logins_aside: Aside = {}

    def has(self, namespace: str, value: str) -> bool:
        values = self.ids.get(namespace)
        return values is not None and value in values

    def holds(self, ids: list[str]) -> bool:
        """Whether all of these are theirs."""
        held = self.ids
        for i in range(0, len(ids), 2):
            values = held.get(ids[i])
            if values is None or ids[i + 1] not in values:
                return False
        return True


def whose(book: RuleBook, persons: list[Person], row: Row) -> Person:
    """The person that an event counts for, after its ties, and after it is noted whose device it was."""
    ids = row.ids
    user = user_of(book, ids) if len(ids) > 2 or len(persons) > 1 else None
    if user is None:
        if len(persons) > 1:
            ids = _owners(book, persons, ids, row.occurred_at)
        return person_of(book, persons, ids, row.received_at)[0]
    person, _ = person_of(book, persons, ids, row.received_at)
    for i in range(2, len(ids), 2):
        namespace, value = ids[i], ids[i + 1]
        if namespace in book.devices:
            holder = person if person.has(namespace, value) else _holder(persons, namespace, value)
            if holder is not None:
                login = Login(row.occurred_at, row.received_at - row.occurred_at, user)
                devices.note(holder.logins, holder.logins_aside, devices.name(namespace, value), login, book.max_age)
    return person


def user_of(book: RuleBook, ids: list[str]) -> str | None:
    """The strongest identifier that is unique to a person: whoever carries one on a device logs in on it."""
    for i in range(0, len(ids), 2):
        if ids[i] in book.unique:
            return devices.name(ids[i], ids[i + 1])
    return None


def _holder(persons: list[Person], namespace: str, value: str) -> Person | None:
    return next((person for person in persons if person.has(namespace, value)), None)


def _owners(book: RuleBook, persons: list[Person], ids: list[str], at: int) -> list[str]:
    """For a device that was somebody else's than its holder's at `at`, their user id."""
    out: list[str] = []
    for i in range(0, len(ids), 2):
        told = ids[i : i + 2]
        if told[0] in book.devices and (holder := _holder(persons, *told)) is not None:
            user = _owner(book, holder, devices.name(*told), at)
            if user is not None and not holder.has(*user):
                told = user
        if told != out[:2]:
            out += told
    return out


def counts_for(book: RuleBook, persons: list[Person], rows: list[Row], ids: list[str], at: int) -> str:
    """Under what name an event counts by all that has arrived: what `persons` know, and the logins among `rows`."""
    if (user := user_of(book, ids)) is not None:
        return user
    told = ids[:2]
    device = devices.name(*told)
    holder = _holder(persons, *told)
    known = (
        [] if holder is None else [devices.name(ns, value) for ns in book.unique for value in holder.ids.get(ns, ())]
    )
    if told[0] in book.devices:
        logins = [] if holder is None else devices.all_on(holder.logins, holder.logins_aside, device)
        for row in rows:
            if len(row.ids) > 2 and told[1] in row.ids and (user := user_of(book, row.ids)) is not None:
                logins.append(Login(row.occurred_at, row.received_at - row.occurred_at, user))
        if (user := devices.owner(sorted(logins), at, known)) is not None:
            return user
    return known[0] if known else device


def _owner(book: RuleBook, holder: Person, device: str, at: int) -> list[str] | None:
    logins = holder.logins.get(device)
    if not logins:
        return None
    known = [devices.name(ns, value) for ns in book.unique for value in holder.ids.get(ns, ())]
    user = devices.owner(logins, at, known)
    return None if user is None else devices.split(user)


def somebody_elses(book: RuleBook, persons: list[Person], person: Person, event_id: str, mark: int, at: int) -> bool:
    """Whether an event on a device, which counted for `person` by what was known then, was somebody else's by what is
    known now.
    """
    holders = {device: holder for holder in persons for device in holder.logins}
    device = devices.carried(happening.known_as(event_id), mark, list(holders)) if holders else None
    user = None if device is None else _owner(book, holders[device], device, at)
    return user is not None and not person.has(*user)


def person_of(book: RuleBook, persons: list[Person], ids: list[str], now: int) -> tuple[Person, list[list[str]]]:
    """The person an event received at `now` belongs to, after its tie: persons that it ties become one, in place.

    A tie that would put two values of a unique namespace together is left out; the refused identifiers come back as
    [namespace, value].
    """
    if len(persons) == 1 and persons[0].holds(ids):  # nearly always
        return persons[0], []
    refused: list[list[str]] = []
    anchor: Person | None = None
    begins = False  # nothing was known of the anchor before
    for i in range(0, len(ids), 2):
        namespace, value = ids[i], ids[i + 1]
        found = next((p for p in persons if p.has(namespace, value)), None)
        if anchor is None:
            if found is None:
                found, begins = Person({namespace: [value]}), True
                persons.append(found)
            anchor = found
        elif found is None:
            if namespace in book.unique and anchor.ids.get(namespace):
                refused.append([namespace, value])
            else:
                _learn(book, anchor, namespace, value, now)
        elif found is not anchor:
            if any(p.ids.get(u) and anchor.ids.get(u) for p in (found,) for u in book.unique):
                refused.append([namespace, value])
            elif begins:  # one person, of whom more is told now
                persons.remove(anchor)
                for more, values in anchor.ids.items():
                    for each in values:
                        _learn(book, found, more, each, now)
                anchor, begins = found, False
            else:
                persons.remove(found)
                _join(book, anchor, found, now)
    assert anchor is not None, "an event without identifiers is a dead letter"
    return anchor, refused


def unite(book: RuleBook, persons: list[Person], other: Person) -> None:
    """Put a person that was moved here beside the others; one that holds the same identifier is the same person."""
    for person in list(persons):
        if any(person.has(ns, value) for ns, values in other.ids.items() for value in values):
            persons.remove(person)
            _join(book, other, person, 0)
    persons.append(other)


def _learn(book: RuleBook, person: Person, namespace: str, value: str, now: int) -> None:
    """A person is known by one more identifier."""
    if book.watches is None or not person.turned:
        _add(person.ids, namespace, value)
        return
    was = {each: list(values) for each, values in person.ids.items()}
    _add(person.ids, namespace, value)
    if own_id(was) != own_id(person.ids):
        remembering.renamed(book.watches, person, was, now)


def _add(ids: dict[str, list[str]], namespace: str, value: str) -> None:
    values = ids.setdefault(namespace, [])
    if value not in values:
        values.append(value)
        values.sort()


def _join(book: RuleBook, person: Person, other: Person, now: int) -> None:
    """Two persons turn out to be one, at `now`. A plain union of open state; it decides nothing."""
    runs = happening.joined(person.heard.pop(happening.HERE, []), other.heard.pop(happening.HERE, []))
    if book.watches is not None:
        remembering.join(book.watches, person, other, (own_id(person.ids), own_id(other.ids)), now)
    if runs:
        person.heard[happening.HERE] = runs
    for namespace, values in other.ids.items():
        for value in values:
            _add(person.ids, namespace, value)
    before = waiting(book, person, other)
    for name, theirs in other.rules.items():
        rule = book.rules.get(name)
        mine = person.rules.get(name)
        if rule is None or mine is None:
            person.rules[name] = theirs
            continue
        mine.open_all()
        theirs.open_all()
        mine.marks = marks.joined(mine.marks, theirs.marks)
        mine.forgot = max(mine.forgot, theirs.forgot)
        for name_of_key in {**mine.keys, **theirs.keys}:
            a, b = mine.keys.get(name_of_key) or Key(), theirs.keys.get(name_of_key) or Key()
            everyone = (mine.ends(name_of_key), theirs.ends(name_of_key))
            key = mine.keys[name_of_key] = waits.merge(rule, a, b, everyone, now, now - book.max_age)
            if mine.marks and marks.marked(mine.marks, rule.recurrence.mark(name_of_key) or name_of_key):
                rule.recurrence.marked(key)
        mine.everyone = waits.union_of_ends(mine.everyone, theirs.everyone)
    films.open_all(person.films, person.film_pages)
    films.open_all(other.films, other.film_pages)
    for name, film in other.films.items():
        had_film = person.films.get(name)
        person.films[name] = film if had_film is None else films.merge_film(had_film, film)
    person.swept = max(person.swept, other.swept)
    for sid, session in other.sessions.items():
        had_session = person.sessions.get(sid)
        if had_session is None or (had_session.at, had_session.film) < (session.at, session.film):
            person.sessions[sid] = session
    person.told = orders.merge(person.told, other.told)
    for currency, (number, revenue) in other.bought.items():
        orders.add(person.bought, currency, revenue, number)
    if person.logins or other.logins:
        mine_on, theirs_on = (person.logins, person.logins_aside), (other.logins, other.logins_aside)
        person.logins, person.logins_aside = devices.joined(mine_on, theirs_on)
    if other.contact is not None:
        person.contact = other.contact if person.contact is None else person.contact.merge(other.contact)
    person.whereabouts = whereabouts.joined(person.whereabouts, other.whereabouts)
    for _ in relocate(book, person, 0):
        pass  # when they are due is worked out below
    for name, state in person.rules.items():
        if (rule := book.rules.get(name)) is not None:
            state.open_all()
            for name_of_key, key in state.keys.items():
                until = until_of(rule, person, name_of_key)
                key.due = waits.next_due(rule, key, state.ends(name_of_key), until)
            balance.joined(rule, before[name], state.keys.values())
            keys.make_room(state, now)
    refresh(person)


def waiting(book: RuleBook, *persons: Person) -> dict[str, int]:
    """How many of their waits count, by rule (balance.py)."""
    found: dict[str, int] = {}
    for person in persons:
        for name, state in person.rules.items():
            if (rule := book.rules.get(name)) is not None:
                state.open_all()
                found[name] = found.get(name, 0) + sum(balance.waiting(rule, key) for key in state.keys.values())
    return found


def whole(person: Person) -> Person:
    """With all that lies packed at hand."""
    for state in person.rules.values():
        state.open_all()
    films.open_all(person.films, person.film_pages)
    return person


def note_due(rule: Compiled, person: Person, key: Key, due: int | None) -> bool:
    """Note when a key is decided. True if that may make the person's `due` later: then `refresh` has to find it."""
    old, key.due = key.due, due
    if (old is None) is not (due is None):
        balance.turned(rule, key)
    if due is not None and (person.due is None or due < person.due):
        person.due = due
        return False
    return old is not None and old == person.due and due != old


def relocate(book: RuleBook, person: Person, since: int) -> Iterator[tuple[Compiled, str, Key]]:
    """Where a person is told to have been from a moment on (UTC ms) has changed: so may how long their waits last.
    Those keys of which it has.
    """
    for rule in book.clocked:
        state = person.rules.get(rule.name)
        if state is None:
            continue
        from_then = since - rule.clock.least if rule.clock is not None else 0
        state.open_moved(from_then)
        for name, key in state.keys.items():
            counted = [fact for fact in key.facts if fact.occurred_at >= from_then and fact.role != CONTENTS]
            for fact in counted:
                fact.length = rule.length(fact.occurred_at, fact.kept, person.whereabouts, again=fact.timed)
            if counted:
                yield rule, name, key


def until_of(rule: Compiled, person: Person, key: str) -> Until | None:
    """When what a rule waits until holds of them; None: it waits for nothing of the kind."""
    return None if rule.until_watch is None else turning.First(rule.until_watch, person, key)


def first_end(
    person: Person, rule: Compiled, name: str, start: Entry, told: dict[str, Any]
) -> tuple[int, int, str] | None:
    """What ends a wait of that key which begins with `start`, but for what must not follow it: occurred_at, received_at
    and id of the first such event; None: nothing is known.
    """
    state = person.rules.get(rule.name)
    key = None if state is None else state.find(name)
    ends = [] if state is None else [*(() if key is None else key.ends), *state.ends(name)]
    found = [
        (end.occurred_at, end.received_at, end.event_id)
        for end in ends
        if end.reason != BROKEN and end.takes is None and end.applies(told)
        if end.before_start or end.occurred_at >= start.occurred_at
    ]
    if (until := until_of(rule, person, name)) is not None:
        held = until(start.occurred_at, start.occurred_at, start.occurred_at + rule.after)
        found += [] if held is None else [(held[0], keys.FAR, held[1])]
    return min(found, default=None)


def refresh(person: Person) -> None:
    first = None
    for turn in person.turned.values():
        at = turn.next
        if at is not None and (first is None or at < first):
            first = at
    for state in person.rules.values():
        if state.keys:  # of most rules there is nothing
            for key in state.keys.values():
                due = key.due
                if due is not None and (first is None or due < first):
                    first = due
        if state.pages:
            for page in state.pages:
                due = page.due
                if due is not None and (first is None or due < first):
                    first = due
    person.due = first
