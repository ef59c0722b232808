"""One fold a person: facts in order of receipt, due times interleaved (semantics 2 to 6, 21)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from pipeline.events.catalogue import own_doing
from pipeline.language import carts, whereabouts
from pipeline.language.carts import PUT, SET, TAKE, Change
from pipeline.language.memory import Entry, Matcher
from pipeline.language.references import asked, kept
from pipeline.topology.model import BROKEN
from pipeline.triggers import (
    balance,
    films,
    happening,
    keys,
    marks,
    orders,
    recoveries,
    remembering,
    sequences,
    waits,
    watches,
)
from pipeline.triggers.changes import Output
from pipeline.triggers.contact import tell
from pipeline.triggers.decisions import DAY, Decision
from pipeline.triggers.facts import CONTENTS, START, End, Fact, Key
from pipeline.triggers.films import Film
from pipeline.triggers.keys import RuleState
from pipeline.triggers.made import SHARED, recovered, refused, retraction
from pipeline.triggers.person import Person, first_end, note_due, refresh, relocate, until_of
from pipeline.triggers.rules import (
    CART_TYPES,
    NOTHING,
    Compiled,
    EndMatcher,
    MoveMatcher,
    RuleBook,
    rank,
)
from pipeline.triggers.watches import Watches
from pipeline.wire.row import Row

DECIDED_FILMS_KEPT = 16  # to be shown
STARTS_KEPT = 50  # of one key, of which it is kept what they told
RETRACTED = "retracted"  # the reason of what started by a trigger that is taken back


def _sweep(book: RuleBook, person: Person, now: int) -> None:
    """Once a day, what can decide nothing any more goes."""
    first, person.swept = not person.swept, now // DAY
    if first:  # nothing is old yet
        return
    if book.watches is not None:
        remembering.forget(book.watches, person, now)
    for name, state in person.rules.items():
        rule = book.rules.get(name)
        if rule is None:
            continue
        gone = keys.sweep(rule, state, book.max_age, now)
        if rule.share is not None and all(each.share is not None for each in book.of_films):
            for film in gone:
                if len(person.films) > DECIDED_FILMS_KEPT:
                    person.films.pop(film, None)


def learn(book: RuleBook, person: Person, row: Row, out: list[Output]) -> None:
    """Take in what one event says to the rules; retractions, and what is refused, go to `out`. Its waits are decided by
    `decide`, not here.
    """
    kind, data, received_at = row.type, row.data, row.received_at
    change, nothing = None, False
    if kind in CART_TYPES:
        change = carts.read(kind, data, book.origins)
        if change.how == TAKE:
            kind = carts.REMOVAL
        nothing = not change.items and change.how == PUT  # none of something was added
    ends, moves, conditional, always_seen, order, playing = book.meanings.get(kind, NOTHING)
    if conditional:
        ends = [end for end in ends if end.where is None or end.where(data)]
        moves = [move for move in moves if move.where is None or move.where(data)]
    watched = book.watches
    heard = () if watched is None else watched.counting(kind, data)
    visits = book.visits and own_doing(kind, data)
    concerned = ends or moves or heard or visits
    if concerned or always_seen:
        email = _email(person, row.ids) if "email" in row.ids else None
        person.contact = tell(person.contact, email, data, received_at)
    first = True
    if order:
        occurred_at = row.occurred_at
        if order_id := data.get("order_id"):
            first, occurred_at = orders.tell(person.told, order_id, occurred_at, received_at)
        if first:
            orders.add(person.bought, data.get("currency"), data.get("total"))
        elif occurred_at != row.occurred_at:
            row = msgspec.structs.replace(row, occurred_at=occurred_at)
    later = False
    if book.located and whereabouts.may_tell(data):
        later = _locate(book, person, row)
    if visits and happening.begins(person.heard, row.occurred_at, received_at, book.max_age):
        later |= happen(book, person, happening.visit(row), out)
    if watched is not None and not nothing:
        if watched.first:
            watches.begin(watched, person, row)
        if heard:  # of an order that isn't told for the first time no amount
            later |= note_counted(book, watched, person, heard, kind, row, amounts=first, change=change)
    if nothing or received_at - row.occurred_at > book.max_age:
        if later:
            refresh(person)
        return  # what is too old to start, move or end anything only informs (semantics 6)
    if concerned and received_at // DAY != person.swept:
        _sweep(book, person, received_at)
    film = None
    if playing:
        at = row.occurred_at
        film = films.watch(person.films, person.film_pages, person.sessions, kind, at, received_at, data)
        if film is not None and _over(book, person, data["film"]):
            del person.films[data["film"]]
    if ends or moves:
        later |= _act(book, person, row, ends, moves, change, film, out)
    if playing and len(person.films) > films.AT_HAND:
        gone = films.make_room(person.films, person.film_pages)
        for rule in book.of_films if gone >= 0 else ():
            state = state_of(person, rule)
            state.forgot = max(state.forgot, gone)
    if later:
        refresh(person)


def happen(book: RuleBook, person: Person, row: Row, out: list[Output]) -> bool:
    """Take in what is made of what is taken in (happening.py), as any other event. See `note_due` for what it
    returns.
    """
    kind, data, later = row.type, row.data, False
    ends, moves, conditional, *_ = book.meanings.get(kind, NOTHING)
    if conditional:
        ends = [end for end in ends if end.where is None or end.where(data)]
        moves = [move for move in moves if move.where is None or move.where(data)]
    if book.watches is not None:
        later |= note_counted(book, book.watches, person, book.watches.counting(kind, data), kind, row)
    return _act(book, person, row, ends, moves, None, None, out) or later


def _act(
    book: RuleBook,
    person: Person,
    row: Row,
    ends: Sequence[EndMatcher],
    moves: Sequence[MoveMatcher],
    change: Change | None,
    film: Film | None,
    out: list[Output],
) -> bool:
    """What an event ends, and what it starts or moves. See `note_due` for what it returns."""
    later, before = False, len(out)
    for end in ends:
        later |= _end(book, person, row, end, out)
    if book.followers and len(out) > before:
        later |= take_back(book, person, out[before:], out)
    for move in moves:
        rule = move.rule
        if rule.keys is None:  # nearly all rules
            later |= _move(book, person, row, move, _key(row, rule.per), change, film, out)
            continue
        for name in rule.keys(row.data) or (None,):
            later |= _move(book, person, row, move, name, change, film, out)
    return later


def _locate(book: RuleBook, person: Person, row: Row) -> bool:
    """Note where an event says that the person is. See `note_due` for what it returns."""
    known = person.whereabouts
    person.whereabouts = whereabouts.tell(known, row.data, row.occurred_at, row.received_at, row.event_id)
    if person.whereabouts is known:  # nearly always
        return False
    later = False
    if book.watches is not None:
        watches.look_at_zoned(book.watches, person, row.received_at)
        for name in book.watches.zoned_untils:
            later |= work_out(book.rules[name], person, "", row.received_at)
    for rule, name, key in relocate(book, person, row.occurred_at):
        until = until_of(rule, person, name)
        later |= note_due(rule, person, key, waits.next_due(rule, key, person.rules[rule.name].ends(name), until))
    for rule in book.clocked:
        if (state := person.rules.get(rule.name)) is not None:
            keys.make_room(state, row.received_at)
    return later


def note_counted(
    book: RuleBook,
    watched: Watches,
    person: Person,
    matchers: Sequence[Matcher],
    kind: str,
    row: Row,
    *,
    amounts: bool = True,
    change: Change | None = None,
) -> bool:
    """Note what conditions count, by these matchers, and what it does to waits that they end. See `note_due` for what
    it returns.
    """
    later = False
    for matcher, key in watches.hear(
        watched, person, matchers, kind, row, amounts=amounts, change=change, ended=partial(_first_end, book, row)
    ):
        for rule in watched.untils[matcher]:
            later |= work_out(book.rules[rule.name], person, key, row.received_at)
    return later


def work_out(rule: Compiled, person: Person, key: str, now: int) -> bool:
    """When the waits of a key (empty: of all) are decided, anew. See `note_due` for what it returns."""
    state, later = person.rules.get(rule.name), False
    if state is None:
        return False
    if key:
        state.find(key)
    else:
        state.open_all()
    for name, waiting in state.keys.items():
        if (waiting.facts or waiting.open is not None) and (not key or name == key):
            due = waits.next_due(rule, waiting, state.ends(name), until_of(rule, person, name))
            later |= note_due(rule, person, waiting, due)
    if len(state.keys) > keys.AT_HAND:
        keys.make_room(state, now)
    return later


def _over(book: RuleBook, person: Person, film: str) -> bool:
    """Whether no rule will ever look at that film again."""
    for rule in book.of_films:
        state = person.rules.get(rule.name)
        if state is None or not (state.marks and rule.recurrence.lasting and marks.marked(state.marks, film)):
            return False
    return True


def _email(person: Person, ids: list[str]) -> str | None:
    """The first address of an event, if the person has it: a tie may have left it out."""
    told = next((ids[i + 1] for i in range(0, len(ids), 2) if ids[i] == "email"), None)
    return told if told is not None and person.has("email", told) else None


def state_of(person: Person, rule: Compiled) -> RuleState:
    """What a rule remembers of a person; nothing yet."""
    state = person.rules.get(rule.name)
    if state is None:
        state = person.rules[rule.name] = RuleState()
    return state


def _key(row: Row, field: str | None) -> str | None:
    value = row.data.get(field) if field else None
    return None if value is None or value == "" else str(value)


def _move(
    book: RuleBook,
    person: Person,
    row: Row,
    move: MoveMatcher,
    name: str | None,
    change: Change | None,
    film: Film | None,
    out: list[Output],
) -> bool:
    """`name`: of the key. What is refused goes to `out`. See `note_due` for what it returns."""
    rule, role, received_at = move.rule, move.role, row.received_at
    if name is None:
        if not rule.shared:
            return False
        name = SHARED
    if rule.share is not None:
        total = row.data.get("total_length")
        if film is None or not total or films.seconds(film) < rule.share * total:
            return False
    state = person.rules.get(rule.name) or state_of(person, rule)
    if not rule.cart:
        change = None
    elif role == START and change is not None and change.how == SET and not change.items:
        role = CONTENTS  # an emptied cart begins nothing
    length = None
    if rule.lasts is not None and role == START:
        length = rule.lasts.of(row.data, name)
        if length is None:  # there is no wait
            if change is None:
                return False
            role = CONTENTS
    told = rule.tells.noted(row.data) if rule.tells is not None else None
    fact = Fact(row.occurred_at, received_at, row.event_id, role, row.fingerprint, move.rank, change, row.trace, told)
    if length is not None:
        fact.length = length
    if rule.keeps and role == START:
        fact.kept = kept(rule.keeps, row.data)
    return take(book, person, rule, state, name, fact, out)


def take(
    book: RuleBook, person: Person, rule: Compiled, state: RuleState, name: str, fact: Fact, out: list[Output]
) -> bool:
    """A fact of one key. See `_move`."""
    role, received_at = fact.role, fact.received_at
    if rule.moves_about and role != CONTENTS:
        fact.length = rule.length(fact.occurred_at, fact.kept, person.whereabouts, again=fact.timed)
    known = state.keys.get(name) or state.find(name)
    key = _touch(book, rule, state, name, known, received_at)
    if key is None:
        return False
    if (
        fact.kept is not None and len(key.facts) >= STARTS_KEPT and rule.date is None
    ):  # one wait of hundreds of starts: a robot's
        fact.kept, key.bounded = None, True
    everyone = state.everyone and state.ends(name)
    opens = role == START and (rule.date is None or fact.length is not None)
    if (
        opens
        and (state.crowded if rule.at_once else key.due is None and state.full)
        and rule.recurrence.may_open(key, fact)
    ):
        out.append(_refused(rule, person, name, key, fact))
        if rule.at_once and not rule.recurrence.single:
            return False
        if known is None:  # nothing more is kept of it than that there was something
            keys.mark(state, [marks.hashed(name)], received_at)
            return False
        fact.role, key.bounded = CONTENTS, True
    state.keys[name] = key
    if not waits.add_fact(rule, key, fact, everyone) and role == START:
        out.append(_refused(rule, person, name, key, fact))
    until = None if rule.until_watch is None else until_of(rule, person, name)
    later = note_due(rule, person, key, waits.next_due(rule, key, everyone, until))
    if len(state.keys) > keys.AT_HAND:
        keys.make_room(state, received_at)
    return later


def _refused(rule: Compiled, person: Person, name: str, key: Key, start: Fact) -> Decision:
    balance.refused(rule)
    return refused(rule, person, name, key, start)


def _touch(book: RuleBook, rule: Compiled, state: RuleState, name: str, known: Key | None, now: int) -> Key | None:
    """A key that something happens to, or a new one; None: it has started once and for all."""
    if known is not None:
        if known.ends or known.fired or known.due is None:
            waits.forget(rule, known, state.ends(name), now - book.max_age, now)
        return known
    key = Key()
    if not state.marks:
        return key
    over = rule.recurrence.mark(name)
    if over is not None and marks.marked(state.marks, over):
        return None
    if marks.marked(state.marks, name):
        state.marks = marks.without(state.marks, name)
        key.bounded = True
        if rule.cart:
            carts.leave_out(key.lines, now)
    return key


def _read_end(row: Row, rule_end: EndMatcher) -> tuple[End, list[str], bool] | None:
    """An end as its event tells it, the keys that it names (none: it concerns all), and whether all that it compares is
    kept. None: it ends nothing.
    """
    end = End(row.occurred_at, row.received_at, row.event_id, rule_end.reason, rule_end.before_start)
    if rule_end.keys is None:  # nearly all rules
        name = _key(row, rule_end.match)
        names = [] if name is None else [name]
    else:
        names = rule_end.keys(row.data)
    if rule_end.match is not None and not names:
        if rule_end.without_key == "none":
            return None
        if rule_end.without_key == "shared":
            names = [SHARED]
    whole = True
    if rule_end.compares:
        end.asks, whole = asked(rule_end.compares, row.data)
    return end, names, whole


def _end(book: RuleBook, person: Person, row: Row, rule_end: EndMatcher, out: list[Output]) -> bool:
    """Retractions go to `out`. See `note_due` for what it returns."""
    read = _read_end(row, rule_end)
    if read is None:
        return False
    (end, names, whole), rule = read, rule_end.rule
    state = state_of(person, rule)
    if not whole:
        state.forgot = max(state.forgot, end.occurred_at)
    if not names:
        return _end_others(rule, person, state, end, row.received_at, out)
    later = False
    for name in names:
        if end.concerns(name):
            later |= _end_one(book, person, row, rule_end, state, name, end, out)
    return later


def _first_end(
    book: RuleBook, row: Row, person: Person, rule: Compiled, name: str, start: Entry, told: dict[str, Any]
) -> sequences.Place | None:
    """See sequences.Ended, of what is known, and this event: what one event ends, it ends by its cancel first."""
    found = first_end(person, rule, name, start, told)
    for each in book.ends.get(row.type, ()):
        if each.rule is rule and each.reason != BROKEN and (each.where is None or each.where(row.data)):
            read = _read_end(row, each)
            if read is None or (read[1] and name not in read[1]):
                continue
            end = read[0]
            if end.concerns(name) and end.applies(told):
                place = end.occurred_at, end.received_at, end.event_id
                found = place if found is None else min(found, place)
    return found


def _end_one(
    book: RuleBook,
    person: Person,
    row: Row,
    rule_end: EndMatcher,
    state: RuleState,
    name: str,
    end: End,
    out: list[Output],
) -> bool:
    """The end of one key."""
    rule, now, later = rule_end.rule, row.received_at, False
    key = _touch(book, rule, state, name, state.find(name), now)
    if key is not None:
        state.keys[name] = key
        state.forgot = max(state.forgot, waits.add_end(key, end))
        later = _apply(rule, person, state, name, key, end, out)
        if len(state.keys) > keys.AT_HAND:
            keys.make_room(state, now)
    if rule_end.takes and (takes := _ordered(row)):
        end = msgspec.structs.replace(end, takes=takes, own=name)
        later |= _end_others(rule, person, state, end, now, out)
    return later


def _ordered(row: Row) -> list[carts.Names]:
    """What an order holds, as far as it has a name."""
    found = [carts.names_of(each) for each in row.data.get("products") or ()]
    return [names for names in found if carts.product(names)]


def _end_others(rule: Compiled, person: Person, state: RuleState, end: End, now: int, out: list[Output]) -> bool:
    """An end that concerns every key, or every one but its own. What lies packed it leaves as it is."""
    keys.add_everyone(state, end)
    state.open_concerned(end)
    later = False
    for name, key in state.keys.items():
        if end.concerns(name):
            later |= _apply(rule, person, state, name, key, end, out)
    if len(state.keys) > keys.AT_HAND:
        keys.make_room(state, now)
    return later


def _apply(rule: Compiled, person: Person, state: RuleState, name: str, key: Key, end: End, out: list[Output]) -> bool:
    """What an end that has just become known does to one key."""
    if key.folded is not None and end.order < key.folded:
        key.bounded = True
    prevented = rule.cart and waits.clear_late(key, end)
    if key.fired and (taken_back := waits.retracts(key, end)):
        out += [retraction(rule, person, name, fired, end) for fired in taken_back]
        prevented = True
    if key.credits and (fired := recoveries.recovers(rule, key, end)) is not None:
        out.append(recovered(rule, person, name, fired, end))
    if key.open is not None:
        waits.late_end(key, end, prevented)
    until = None if rule.until_watch is None else until_of(rule, person, name)
    return note_due(rule, person, key, waits.next_due(rule, key, state.ends(name), until))


def lead_to(book: RuleBook, person: Person, decision: Decision, cause: Fact, out: list[Output]) -> None:
    """Begin what starts by a decision: it occurred when that was due, and is known when it was decided."""
    for rule in book.followers.get((decision.rule, decision.outcome), ()):
        name = key_of(rule, decision)
        if name != SHARED or rule.shared:
            place = rank(rule.cart, START, "")
            fact = Fact(decision.due_at, decision.decided_at, decision.id, START, cause.fingerprint, place)
            take(book, person, rule, state_of(person, rule), name, fact, out)


def take_back(book: RuleBook, person: Person, made: list[Output], out: list[Output]) -> bool:
    """What started by a trigger that is taken back is so, too; what is taken back for that in turn. See `note_due` for
    what it returns.
    """
    later, left = False, [each for each in made if isinstance(each, Decision) and each.outcome == "retracted"]
    while left:
        taken = left.pop()
        for rule in book.followers.get((taken.rule, "fired"), ()):
            state, name = person.rules.get(rule.name), key_of(rule, taken)
            key = None if state is None else state.find(name)
            if state is None or key is None:
                continue
            end = End(taken.due_at, taken.decided_at, taken.late_event_id or "", RETRACTED)
            state.forgot = max(state.forgot, waits.add_end(key, end))
            more: list[Output] = []
            later |= _apply(rule, person, state, name, key, end, more)
            out += more
            left += [each for each in more if isinstance(each, Decision) and each.outcome == "retracted"]
    return later


def key_of(rule: Compiled, decision: Decision) -> str:
    """The key that a rule has of a decision of another."""
    return SHARED if rule.per is None or decision.correlation_key is None else decision.correlation_key
