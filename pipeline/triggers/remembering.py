"""What conditions remember of persons who turn out to be one, and what they forget."""

from __future__ import annotations

import msgspec

from pipeline.identity.ids import own_id
from pipeline.language.memory import united
from pipeline.triggers import sequences
from pipeline.triggers.watches import LEFT, UNKNOWN, WATCHED, Ids, Turn, WatchedPerson, Watches, look_at, pasts


def join(watches: Watches, person: WatchedPerson, other: WatchedPerson, own: tuple[str, str], now: int) -> None:
    """Memories become one. `own`: the profile ids of both, as each alone. `now`: received_at of the tie; 0: it is none,
    one person was in two places.
    """
    for name, ledger in other.heard.items():
        mine = person.heard.get(name)
        if mine is None:
            person.heard[name] = ledger
            continue
        matcher = watches.matchers.get(name.partition("\0")[0])
        person.heard[name] = united(mine, ledger) if matcher is None else matcher.joined(mine, ledger)
    if other.first is not None and (person.first is None or other.first.known < person.first.known):
        person.first = other.first
    both = bool(person.heard and other.heard)
    turned: dict[str, Turn] = {}
    for name in {**person.turned, **other.turned}:
        turns = (person.turned.get(name), other.turned.get(name))
        if name.startswith(LEFT) or name[: name.index("\0", 2) + 1] not in watches.by_prefix:
            turned[name] = turns[0] or turns[1] or Turn()
            continue
        watch, _ = watches.watch_of(name)
        if isinstance(watch, sequences.Sequence):
            turned[name] = min((turn for turn in turns if turn is not None), key=lambda turn: turn.next or 0)
            continue
        a, b = (turn or watch.default() for turn in turns)
        first = min((at for at in (a.next, b.next) if at is not None), default=None)
        if watch.rule is not None:
            begun = any(turn.holds and not turn.owed for turn in (a, b))
            holds = a.holds or b.holds
            first = now if now and (first is None or now < first) else first
            turned[name] = Turn(holds, holds and not begun, first, max(a.since, b.since), bool(now) and both)
        elif now:
            stays, goes = (0, 1) if own[0] <= own[1] else (1, 0)
            since = min((turn.since for turn in (a, b) if turn.holds), default=0)
            if (a, b)[goes].holds and watches.speaking[watch.name]:
                (a, b)[goes].past += [(a, b)[goes].since, now]
            past = pasts((a, b), now - watches.slack)
            turned[name] = msgspec.structs.replace((a, b)[stays], next=first, since=since, room=UNKNOWN, past=past)
            if (a, b)[goes].holds:
                ids = (a, b)[goes].ids or copied((person, other)[goes].ids)
                turned[f"{LEFT}{own_id(ids)}\0{watch.name}"] = Turn(next=now, ids=ids)
        else:
            turned[name] = msgspec.structs.replace(a if a.holds else b, next=first, room=UNKNOWN)
    person.turned = turned
    if now:
        _look_after_tie(watches, person, now)


def renamed(watches: Watches, person: WatchedPerson, was: Ids, now: int) -> None:
    """A person has another profile id by what is told of them at `now`; before they were known as `was`: under the id
    that this gave them they leave the segments that they are in.
    """
    for watch in watches.segments.values():
        turn = person.turned.get(watch.prefix)
        if turn is not None and turn.holds:
            turn.ids = turn.ids or was
            look_at(person, watch, "", now)


def _look_after_tie(watches: Watches, person: WatchedPerson, now: int) -> None:
    for watch in watches.segments.values():
        if (turn := person.turned.get(watch.prefix)) is not None:
            turn.tied = True
            look_at(person, watch, "", now)
    if person.due is None or now < person.due:
        person.due = now


def copied(ids: Ids) -> Ids:
    """The same, of their own."""
    return {namespace: list(values) for namespace, values in ids.items()}


def forget(watches: Watches, person: WatchedPerson, now: int) -> None:
    """What no condition will ask for any more goes."""
    for name in {ledger.partition("\0")[0] for ledger in person.heard}:
        if (matcher := watches.matchers.get(name)) is not None:
            matcher.forget(person.heard, now - watches.slack)
        else:  # what no rule asks for any more
            for ledger in [ledger for ledger in person.heard if ledger.partition("\0")[0] == name]:
                if not person.heard[ledger] or person.heard[ledger][-1].received_at < now - watches.slack:
                    del person.heard[ledger]
    known = {name.partition("\0")[2] for name in person.heard if "\0" in name}
    known.update(key for matcher in watches.picky for key in matcher.known(person.heard))
    for name in list(person.turned):
        if name.startswith(LEFT) or name == WATCHED:
            continue
        prefix = name[: name.index("\0", 2) + 1]
        watch = watches.by_prefix.get(prefix)
        turn = person.turned[name]
        if isinstance(watch, sequences.Sequence):
            continue
        if watch is None or (watch.keyed and not turn.holds and turn.next is None and name[len(prefix) :] not in known):
            del person.turned[name]
