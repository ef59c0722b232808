"""Looking at conditions: what turned, by an event or by time alone, and what that starts (semantics 24 to 26, 36)."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import msgspec

from pipeline.identity.ids import own_id
from pipeline.language.memory import DECIDED, Entry, Moment
from pipeline.triggers import happening, sequences
from pipeline.triggers.changes import SegmentChange, change_id
from pipeline.triggers.remembering import copied
from pipeline.triggers.watches import (
    LEFT,
    Ids,
    Turn,
    Watch,
    WatchedPerson,
    Watches,
    look_at,
    members,
    members_at,
    pasts,
)
from pipeline.wire.row import Row


class Start(msgspec.Struct, frozen=True):
    """A turn that starts a rule. `timed`: by time alone; `entry` is the last that it counted then. `kept`: of a
    sequence, whose last step `entry` is then, what its steps told; `bounded`: it might have been another.
    """

    rule: Any
    key: str
    entry: Entry
    at: int
    timed: bool = False
    kept: dict[str, Any] | None = None
    bounded: bool = False


def ready(person: WatchedPerson, clock: int) -> list[str]:
    """Of all that is to be looked at by `clock` what is first, by the names of turns."""
    first, names = clock, list[str]()
    for name, turn in person.turned.items():
        at = turn.next
        if at is not None and at <= first:
            if at < first:
                first = at
                names.clear()
            names.append(name)
    return names


def look(
    watches: Watches, person: WatchedPerson, clock: int, max_age: int, ended: sequences.Ended
) -> Iterator[Start | SegmentChange | Row]:
    """Look at all that is to be looked at by `clock`, the moment that the fold has reached: segments first. Yields what
    starts, what changes, and what is made of changes: that is to be noted before the next is asked for.
    """
    turned = person.turned
    while names := ready(person, clock):
        at = turned[names[0]].next
        assert at is not None
        gone = sorted(name for name in names if name.startswith(LEFT))
        for name in gone:
            _, profile_id, segment = name.split("\0")
            turn = turned.pop(name)
            yield _change(segment, "left", "merged", at, profile_id, turn.ids or {}, None)
        found = [(*watches.watch_of(name), name) for name in names if name in turned]
        if len(found) > 1:
            found.sort(key=lambda each: (each[0].rank, each[1]))
        for watch, key, name in found:
            if isinstance(watch, sequences.Sequence):
                del turned[name]
                for run in watch.completed(person.heard, key, at, ended):
                    yield Start(watch.rule, key, run.last, at, kept=run.told, bounded=run.bounded)
            elif watch.rule is None:
                if changed := _look_at_segment(watches, watch, person, turned[name], at):
                    yield from changed
                    break  # others may have to be looked at before the next
            elif (start := _look_at_rule(watch, person, key, turned[name], at, max_age)) is not None:
                yield start


def _look_at_segment(
    watches: Watches, watch: Watch, person: WatchedPerson, turn: Turn, at: int
) -> list[SegmentChange | Row]:
    """What changes, and what is made of it; of a change by a tie nothing."""
    now = Moment(person.heard, at, segments=_members(watch, person), there=person.whereabouts)
    holds, was, name = watch.condition.holds(now), turn.ids, watch.name
    told: list[SegmentChange] = []
    made: list[Row] = []
    if was is not None:  # they are known by another profile id now
        told.append(_change(name, "left", "merged", at, own_id(was), was, None))
        if holds:
            told.append(_change(name, "entered", "tie", at, "", person.ids, None))
    if holds != turn.holds:
        reason, cause = _why(watch, person, turn, now, holds)
        if not holds and watches.speaking[name]:
            turn.past += [turn.since, at]
            turn.past = pasts([turn], at - watches.slack)
        turn.since = 0 if not holds else turn.since if reason == "tie" and turn.since else at
        turn.holds = holds
        how = "entered" if holds else "left"
        if was is None:
            told.append(_change(name, how, reason, at, "", person.ids, cause))
        if reason != "tie":
            made.append(happening.change(how, name, reason, at, told[0].id))
    if told:
        for other in watches.speaking[name]:
            for each in [each for each in person.turned if each.startswith(other.prefix)] or [other.prefix]:
                if not other.keyed or each != other.prefix:
                    look_at(person, other, each.removeprefix(other.prefix), at)
    turn.tied, turn.ids, turn.next = False, None, watch.condition.turns(now)
    turn.room = watch.condition.room(now)
    return [*told, *made]


def _why(watch: Watch, person: WatchedPerson, turn: Turn, now: Moment, holds: bool) -> tuple[str, Entry | None]:
    """The reason of a change, and the event that it is."""
    received = _received(watch, now)
    begins = person.first is not None and person.first.received_at == now.at
    by_tie = turn.tied and not begins and _without(watch, person, now, received) == holds
    causes = [] if by_tie else _from_which(watch, person, now, holds, received)
    return ("event", causes[0]) if causes else ("tie" if turn.tied else "time", None)


def _look_at_rule(watch: Watch, person: WatchedPerson, key: str, turn: Turn, at: int, max_age: int) -> Start | None:
    of = key if watch.keyed else None
    now = Moment(person.heard, at, key=of, segments=_members(watch, person), there=person.whereabouts)
    held, owed, tied = turn.holds, turn.owed, turn.tied
    turn.holds, turn.tied, turn.next = watch.condition.holds(now), False, watch.condition.turns(now)
    turn.room = watch.condition.room(now)
    turn.owed = turn.holds and owed
    if not turn.holds or (held and not owed):
        return None
    received = _received(watch, now)
    if tied and not held and _without(watch, person, now, received):
        turn.owed = True  # by the tie alone
        return None
    first = person.first.known if person.first is not None else None
    for cause in _from_which(watch, person, now, True, received):
        if at - cause.occurred_at <= max_age and not (owed and cause.known == first):
            turn.owed, turn.since = False, at
            return Start(watch.rule, key, cause, at, False)
    last = max(_counted(watch, now), key=lambda entry: entry.order, default=person.first)
    if received or owed or tied or last is None:
        turn.owed = True
        return None
    turn.since = at
    return Start(watch.rule, key, last, at, True)


def _counted(watch: Watch, now: Moment) -> Iterator[Entry]:
    """The events that it counts, those of a rule's key and those of the person."""
    return (entry for matcher in watch.counted if DECIDED not in matcher.events for entry in now.of(matcher))


def _received(watch: Watch, now: Moment) -> list[Entry]:
    """Of these those that are received in this moment, in order of knowledge."""
    found = {entry.known: entry for entry in _counted(watch, now) if entry.received_at == now.at}
    return [found[known] for known in sorted(found)]


def _from_which(watch: Watch, person: WatchedPerson, now: Moment, holds: bool, entries: list[Entry]) -> list[Entry]:
    """Of events that come at once, taken in one by one, those from which on it is so."""
    found: list[Entry] = []
    for place in range(len(entries) - 1, -1, -1):
        if _without(watch, person, now, entries[place + 1 :], entries[place]) != holds:
            break
        found.insert(0, entries[place])
    return found


def _without(watch: Watch, person: WatchedPerson, now: Moment, entries: list[Entry], last: Entry | None = None) -> bool:
    """What it would be without these events, and so the segments that it speaks of. `last`: what is received in this
    moment and stands before them, if anything: where they are is what was told up to there.
    """
    there = now.there.upto(now.at, last) if watch.zoned and now.there is not None else now.there
    if not entries and there == now.there:
        return watch.condition.holds(now)
    then = Moment(now.memory, now.at, without={e.named for e in entries}, there=there)
    # Also those that they leave in this moment: without what makes them leave they are in it since then.
    then.segments = members_at(person, now.at) if watch.through else {}
    return anew(watch, then, now.key)


def held(watch: Watch, person: WatchedPerson, key: str, at: int) -> bool:
    """What it was then, and the segments that it speaks of, by what is known now."""
    then = Moment(person.heard, at, decided=at, segments=members_at(person, at), there=person.whereabouts)
    return anew(watch, then, key if watch.keyed else None)


def anew(watch: Watch, then: Moment, key: str | None) -> bool:
    """What it is then, and first the segments that it speaks of, which `then` holds from now on."""
    segments = then.segments = dict(then.segments)
    for other in watch.through:
        if not other.condition.holds(then):
            segments.pop(other.name, None)
        else:
            segments.setdefault(other.name, then.at)
    then.key = key
    return watch.condition.holds(then)


def _change(
    segment: str, change: str, reason: str, at: int, profile_id: str, ids: Ids, cause: Entry | None
) -> SegmentChange:
    return SegmentChange(
        id=change_id(segment, change, at, profile_id or ids, cause),
        segment=segment,
        change=change,
        reason=reason,
        at=at,
        profile_id=profile_id,
        identifiers=copied(ids),
        cause_event_id=None if cause is None else happening.known_as(cause.event_id),
    )


class First:
    """When what a rule waits until first holds, asked as long as nothing more is known of the person: later moments of
    a wait are asked for after earlier ones, so that each is looked at once.
    """

    def __init__(self, watch: Watch, person: WatchedPerson, key: str) -> None:
        self._watch, self._person, self._key = watch, person, key if watch.keyed else None
        self._of: tuple[int, int] | None = None
        self._now = Moment({}, 0)
        self._next: int | None = None  # the moment that is to be looked at
        self._found: tuple[int, str] | None = None

    def __call__(self, start: int, begin: int, upto: int) -> tuple[int, str] | None:
        """The first moment from `begin` to `upto` at which it holds of a wait that began at `start`, and the event that
        occurred then and made it hold, or "". By what is known, and the segments that they are in; None: there is none.
        """
        if (start, begin) != self._of:
            segments = _members(self._watch, self._person)
            self._of, self._next, self._found = (start, begin), begin, None
            there = self._person.whereabouts
            self._now = Moment(self._person.heard, begin, key=self._key, start=start, segments=segments, there=there)
            self._now.walked = {}
        condition, now = self._watch.condition, self._now
        while self._next is not None and self._next <= upto:
            now.at = self._next
            if condition.holds(now):
                self._found, self._next = (now.at, _made_by(self._watch, now)), None
                break
            later = [condition.turns(now), *map(now.next, condition.matchers())]
            if self._watch.zoned and now.there is not None:
                later.append(now.there.next(now.at))
            self._next = min((each for each in later if each is not None and each > now.at), default=None)
        return self._found if self._found is not None and self._found[0] <= upto else None


def _less(now: Moment, without: Set[tuple[str, int]]) -> Moment:
    return Moment(
        now.memory, now.at, key=now.key, start=now.start, without=without, segments=now.segments, there=now.there
    )


def _made_by(watch: Watch, now: Moment) -> str:
    """The event that occurred `now` from which on it holds; or ""."""
    every = (matcher for matcher in watch.condition.matchers() if DECIDED not in matcher.events)
    then = {entry.order: entry for matcher in every for entry in now.of(matcher, now.at - 1)}
    made_by = ""
    without: set[tuple[str, int]] = set()
    for order in sorted(then, reverse=True):
        if not watch.condition.holds(_less(now, without)):
            break
        made_by = then[order].event_id
        without.add(then[order].named)
    return made_by


def _members(watch: Watch, person: WatchedPerson) -> dict[str, int]:
    return members(person) if watch.through else {}
