"""Conditions that are watched: those that start rules, and segments (docs/semantics.md, Conditions).

What they count is noted as it is learnt (`hear`). They are looked at once all that was received in one millisecond is
known, and whenever time alone may change them (`look`): a *turn* is noted, and a person has one for each condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

import msgspec

from pipeline.language.condition import Condition, Scope, compile_condition
from pipeline.language.ears import Ears
from pipeline.language.events import types_of
from pipeline.language.memory import DECIDED, Entry, Matcher, Memory, Moment
from pipeline.topology.model import DAY, Topology
from pipeline.triggers import sequences
from pipeline.triggers.changes import SegmentChange, change_id

Ids = dict[str, list[str]]


class Rule(Protocol):
    """What of a rule (rules.Compiled) is looked at."""

    name: str
    per: str | None
    after: int
    when: Condition | None
    until: Condition | None
    asked: Sequence[Condition]
    noted: tuple[Matcher, ...]
    sequence: Any


class Person(Protocol):
    """What of a person (person.Person) is looked at."""

    ids: Ids
    due: int | None
    heard: Memory
    turned: dict[str, Turn]
    first: Entry | None


class Turn(msgspec.Struct, array_like=True, gc=False):
    """What a condition was last found to be of a person. `owed`: nothing has started since it holds, and the next event
    that it counts shall. `next`: when it is to be looked at again, UTC ms, or None. `since`: from when on it holds.
    `tied`: at `next` two persons became one. `ids`: of a person who is no more, and leaves a segment at `next`.
    """

    holds: bool = False
    owed: bool = False
    next: int | None = None
    since: int = 0
    tied: bool = False
    ids: Ids | None = None


class Watch:
    """A condition that is watched, of a rule or, `rule` None, of a segment. `empty`: what it is over nothing.
    `counted`: all that it counts, also by the segments that it speaks of (`through`, in order of
    dependence); `untold`: not only events. `keyed`: it has a value for each key.
    """

    def __init__(self, name: str, rank: int, condition: Condition, rule: Rule | None) -> None:
        self.name, self.rank, self.condition, self.rule = name, rank, condition, rule
        self.keyed = rule is not None and rule.per is not None
        self.empty = condition.holds(Moment({}, 0))
        self.counted: tuple[Matcher, ...] = condition.matchers()
        self.untold = rule is not None and any(DECIDED in matcher.events for matcher in self.counted)
        self.through: tuple[Watch, ...] = ()
        self.prefix = f"{'s' if rule is None else 'r'}\0{name}\0"

    def default(self) -> Turn:
        """Of whom it was never looked at. Nobody is in a segment before their first event."""
        return Turn() if self.rule is None else Turn(self.empty, self.empty)


LEFT = "l\0"
"""Before what is noted of a person who is no more: their profile id, and the segment."""


class Watches:
    """All conditions of a topology, and sequences. By name: `segments`, `rules`, what is watched; `until`, what a rule
    waits for.

    `hearing`: event type -> what counts it; `ears`: the same, to ask. `first`: a person's first event matters.
    `watching`: matcher's id -> what is looked at when it counts something; `untils`: the same -> the rules whose waits
    it may end. Segment's name -> `speaking`: what is looked at when they enter or leave it, `waiting_for`: the rules
    whose waits that may end. `slack`: for how long what a condition counts matters after it has left its window, ms.
    `still`: nothing is looked at any more.
    """

    def __init__(self, topology: Topology, rules: Mapping[str, Rule]) -> None:
        self.segments: dict[str, Watch] = {}
        self.rules: dict[str, Watch] = {}
        self.every: list[Watch] = []
        for segment in topology.segments:
            condition = compile_condition(segment.when, Scope(measures=topology.measures))
            watch = self._watch(segment.name, condition, None)
            self.segments[segment.name] = watch
        for rule in rules.values():
            if rule.when is not None:
                self.rules[rule.name] = self._watch(rule.name, rule.when, rule)
        self.still = False
        self._by_prefix: dict[str, Watch | sequences.Sequence] = {watch.prefix: watch for watch in self.every}
        self.first = any(watch.empty or watch.untold for watch in self.every)
        self.slack = max((rule.longest_ms for rule in topology.rules), default=0) + topology.time.lateness_ms
        self.slack += topology.time.max_age_ms + DAY
        self.hearing: dict[str, tuple[Matcher, ...]] = {}
        self.watching: dict[str, tuple[Watch | sequences.Sequence, ...]] = {}
        self.untils: dict[str, tuple[Rule, ...]] = {}
        self.matchers: dict[str, Matcher] = {}
        for watch in self.every:
            for matcher in self._hear(watch.counted):
                self.watching[matcher] = (*self.watching.get(matcher, ()), watch)
        self.until: dict[str, Watch] = {}
        for rule in rules.values():
            if rule.sequence is not None:
                found = sequences.Sequence(rule, rule.sequence, topology.time.max_age_ms, len(self._by_prefix))
                self._by_prefix[found.prefix] = found
                for matcher in self._hear((found.matcher,)):
                    self.watching[matcher] = (found,)
            if rule.until is not None:
                watch = self.until[rule.name] = Watch(rule.name, 0, rule.until, rule)
                self._through_segments(watch)
                for matcher in self._hear(watch.counted):
                    self.untils[matcher] = (*self.untils.get(matcher, ()), rule)
            for condition in rule.asked:
                self._hear(condition.matchers())
            self._hear(rule.noted)
        self.ears = {kind: Ears(kind, matchers) for kind, matchers in self.hearing.items()}
        self.waiting_for = {
            name: tuple(rule for rule in rules.values() if rule.until and name in rule.until.segments())
            for name in self.segments
        }
        self.speaking = {
            name: tuple(watch for watch in self.every if name in watch.condition.segments()) for name in self.segments
        }

    def _watch(self, name: str, condition: Condition, rule: Rule | None) -> Watch:
        watch = Watch(name, len(self.every), condition, rule)
        self._through_segments(watch)
        self.every.append(watch)
        return watch

    def _through_segments(self, watch: Watch) -> None:
        for other in self.segments.values():  # in order of dependence
            if other.name in watch.condition.segments():
                watch.counted += other.counted
                watch.through += tuple(each for each in (*other.through, other) if each not in watch.through)

    def _hear(self, matchers: tuple[Matcher, ...]) -> list[str]:
        """Count what they do. Returns their ids, each once."""
        for matcher in matchers:
            if matcher.id in self.matchers:
                self.matchers[matcher.id].asked(matcher)
                continue
            self.matchers[matcher.id] = matcher
            for kind in dict.fromkeys((DECIDED,) if DECIDED in matcher.events else types_of(matcher.events)):
                self.hearing[kind] = (*self.hearing.get(kind, ()), matcher)
        return [*dict.fromkeys(matcher.id for matcher in matchers)]

    def counts(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Whether an event is counted at all."""
        ears = self.ears.get(kind)
        return ears is not None and any(matcher.counts(kind, data) for matcher in ears.of(data))

    def watch_of(self, name: str) -> tuple[Watch | sequences.Sequence, str]:
        """Of a turn's name, what is watched, and for which key."""
        watch = self._by_prefix.get(name)
        if watch is not None:
            return watch, ""
        end = name.index("\0", 2) + 1
        return self._by_prefix[name[:end]], name[end:]


# What is noted.


def hear(
    watches: Watches, person: Person, kind: str, data: dict[str, Any], entry: Entry, at: int, *, amounts: bool = True
) -> Iterator[str]:
    """Note an event that is received at `at`; `amounts` False: it adds to no sum. Yields the ledgers that it stands in
    by which waits may end: a matcher's id or, where that counts by key, id, zero byte, key.
    """
    ears = watches.ears.get(kind)
    for matcher in () if ears is None else ears.of(data):
        if not matcher.counts(kind, data):
            continue
        value = matcher.read(kind, data)
        if value is not None and not amounts and matcher.value is not None:
            value = None
        told = msgspec.structs.replace(entry, value=value)
        for key in matcher.keys(data):
            if not matcher.take(person.heard, key, told):
                continue
            for watch in () if watches.still else watches.watching.get(matcher.id, ()):
                if isinstance(watch, sequences.Sequence):
                    watch.breaks(person.heard, told, at)
                    for name in watch.keys(person.heard, told):
                        look_at(person, watch, name, at)
                elif watch.keyed and matcher.per is None:
                    for name in [name for name in person.turned if name.startswith(watch.prefix)]:
                        look_at(person, watch, name.removeprefix(watch.prefix), at)
                elif key or not watch.keyed:
                    look_at(person, watch, key, at)
            if matcher.id in watches.untils:
                yield matcher.ledger(key)


def begin(watches: Watches, person: Person, entry: Entry) -> None:
    """A person's first event: who is in a segment of whom nothing else is known enters it."""
    if person.first is not None and person.first.known <= entry.known:
        return
    if person.first is None:
        for watch in watches.segments.values():
            if watch.empty:
                look_at(person, watch, "", entry.received_at)
    person.first = msgspec.structs.replace(entry, value=None)


def look_at(person: Person, watch: Watch | sequences.Sequence, key: str, at: int) -> None:
    """Look at it then, at the latest."""
    name = watch.prefix + key
    turn = person.turned.get(name)
    if turn is None:
        turn = person.turned[name] = Turn() if isinstance(watch, sequences.Sequence) else watch.default()
    if turn.next is None or at < turn.next:
        turn.next = at
    if person.due is None or at < person.due:
        person.due = at


def members(person: Person) -> dict[str, int]:
    """Segments they are in -> since when."""
    return {name[2:-1]: turn.since for name, turn in person.turned.items() if turn.holds and name.startswith("s\0")}


def _members(watch: Watch, person: Person) -> dict[str, int]:
    return members(person) if watch.through else {}


# Looking.


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


def look(watches: Watches, person: Person, clock: int, max_age: int, out: list[Any]) -> Iterator[Start]:
    """Look at all that is to be looked at by `clock`, the moment that the fold has reached: segments first. What
    changes goes to `out`; yields what starts.
    """
    turned = person.turned
    while True:
        at = min([turn.next for turn in turned.values() if turn.next is not None], default=None)
        if at is None or at > clock:
            return
        names = [name for name, turn in turned.items() if turn.next == at]
        gone = sorted(name for name in names if name.startswith(LEFT))
        for name in gone:
            _, profile_id, segment = name.split("\0")
            turn = turned.pop(name)
            out.append(_change(segment, "left", "merged", at, profile_id, turn.ids or {}, None))
        ready = [(*watches.watch_of(name), name) for name in names if name in turned]
        ready.sort(key=lambda each: (each[0].rank, each[1]))
        said = len(out)
        for watch, key, name in ready:
            if isinstance(watch, sequences.Sequence):
                del turned[name]
                for run in watch.completed(person.heard, key, at):
                    yield Start(watch.rule, key, run.last, at, kept=run.told, bounded=run.bounded)
            elif watch.rule is None:
                _look_at_segment(watches, watch, person, turned[name], at, out)
            elif (start := _look_at_rule(watch, person, key, turned[name], at, max_age)) is not None:
                yield start
            if len(out) > said:  # others may have to be looked at before the next
                break


def _look_at_segment(watches: Watches, watch: Watch, person: Person, turn: Turn, at: int, out: list[Any]) -> None:
    now = Moment(person.heard, at, segments=_members(watch, person))
    holds = watch.condition.holds(now)
    if holds != turn.holds:
        received = _received(watch, now)
        begins = person.first is not None and person.first.received_at == at
        by_tie = turn.tied and not begins and _without(watch, now, received) == holds
        causes = [] if by_tie else _from_which(watch, now, holds, received)
        reason = "event" if causes else "tie" if turn.tied else "time"
        turn.since = 0 if not holds else turn.since if reason == "tie" and turn.since else at
        turn.holds = holds
        change = "entered" if holds else "left"
        out.append(_change(watch.name, change, reason, at, "", person.ids, causes[0] if causes else None))
        for other in watches.speaking[watch.name]:
            for name in [name for name in person.turned if name.startswith(other.prefix)] or [other.prefix]:
                if not other.keyed or name != other.prefix:
                    look_at(person, other, name.removeprefix(other.prefix), at)
    turn.tied, turn.next = False, watch.condition.turns(now)


def _look_at_rule(watch: Watch, person: Person, key: str, turn: Turn, at: int, max_age: int) -> Start | None:
    now = Moment(person.heard, at, key=key if watch.keyed else None, segments=_members(watch, person))
    held, owed, tied = turn.holds, turn.owed, turn.tied
    turn.holds, turn.tied, turn.next = watch.condition.holds(now), False, watch.condition.turns(now)
    turn.owed = turn.holds and owed
    if not turn.holds or (held and not owed):
        return None
    received = _received(watch, now)
    if tied and not held and _without(watch, now, received):
        turn.owed = True  # by the tie alone
        return None
    first = person.first.known if person.first is not None else None
    for cause in _from_which(watch, now, True, received):
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


def _from_which(watch: Watch, now: Moment, holds: bool, entries: list[Entry]) -> list[Entry]:
    """Of events that come at once, taken in one by one, those from which on it is so."""
    found: list[Entry] = []
    for place in range(len(entries) - 1, -1, -1):
        if _without(watch, now, entries[place + 1 :]) != holds:
            break
        found.insert(0, entries[place])
    return found


def _without(watch: Watch, now: Moment, entries: list[Entry]) -> bool:
    """What it would be without these events, and so the segments that it speaks of."""
    if not entries:
        return watch.condition.holds(now)
    return _anew(watch, Moment(now.memory, now.at, without={e.named for e in entries}, segments=now.segments), now.key)


def held(watch: Watch, person: Person, key: str, at: int) -> bool:
    """What it was then, and the segments that it speaks of, by what is known now."""
    return _anew(watch, Moment(person.heard, at, decided=at, segments=members(person)), key if watch.keyed else None)


def _anew(watch: Watch, then: Moment, key: str | None) -> bool:
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
        identifiers=_copied(ids),
        cause_event_id=None if cause is None else cause.event_id,
    )


def first_at(watch: Watch, person: Person, key: str, start: int, begin: int, upto: int) -> tuple[int, str] | None:
    """The first moment from `begin` to `upto` at which it holds of a wait that began at `start`, and the event that
    occurred then and made it hold, or "". By what is known, and the segments that they are in now; None: there is none.
    """
    condition, segments = watch.condition, _members(watch, person)
    of = key if watch.keyed else None
    at = begin
    while at <= upto:
        now = Moment(person.heard, at, key=of, start=start, segments=segments)
        if condition.holds(now):
            return at, _made_by(watch, now)
        later = [condition.turns(now), *map(now.next, condition.matchers())]
        moments = [each for each in later if each is not None and each > at]
        if not moments:
            return None
        at = min(moments)
    return None


def _less(now: Moment, without: Set[tuple[str, int]]) -> Moment:
    return Moment(now.memory, now.at, key=now.key, start=now.start, without=without, segments=now.segments)


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


# Two persons who turn out to be one, and what is forgotten.


def join(watches: Watches, person: Person, other: Person, own: tuple[str, str], now: int) -> None:
    """Memories become one. `own`: the profile ids of both, as each alone. `now`: received_at of the tie; 0: it is none,
    one person was in two places.
    """
    for name, ledger in other.heard.items():
        mine = person.heard.get(name)
        if mine is None:
            person.heard[name] = ledger
            continue
        merged = {entry.order: entry for entry in [*mine, *ledger]}
        person.heard[name] = [merged[order] for order in sorted(merged)]
        matcher = watches.matchers.get(name.partition("\0")[0])
        if matcher is not None:
            matcher.bound(person.heard[name])
    if other.first is not None and (person.first is None or other.first.known < person.first.known):
        person.first = other.first
    both = bool(person.heard and other.heard)
    turned: dict[str, Turn] = {}
    for name in {**person.turned, **other.turned}:
        turns = (person.turned.get(name), other.turned.get(name))
        if name.startswith(LEFT) or name[: name.index("\0", 2) + 1] not in watches._by_prefix:
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
            turned[name] = msgspec.structs.replace((a, b)[stays], next=first, since=since)
            if (a, b)[goes].holds:
                turned[f"{LEFT}{own[goes]}\0{watch.name}"] = Turn(next=now, ids=_copied((person, other)[goes].ids))
        else:
            turned[name] = msgspec.structs.replace(a if a.holds else b, next=first)
    person.turned = turned
    if now:
        _look_after_tie(watches, person, now)


def renamed(watches: Watches, person: Person, was: Ids, own: str, now: int) -> None:
    """A person has another profile id by what ties them at `now`; before they were known as `was`, under the id `own`:
    under that they leave the segments that they are in.
    """
    for watch in watches.segments.values():
        turn = person.turned.get(watch.prefix)
        if turn is not None and turn.holds:
            person.turned[f"{LEFT}{own}\0{watch.name}"] = Turn(next=now, ids=was)
            turn.holds = False
    _look_after_tie(watches, person, now)


def _look_after_tie(watches: Watches, person: Person, now: int) -> None:
    for watch in watches.segments.values():
        if (turn := person.turned.get(watch.prefix)) is not None:
            turn.tied = True
            look_at(person, watch, "", now)
    if person.due is None or now < person.due:
        person.due = now


def _copied(ids: Ids) -> Ids:
    return {namespace: list(values) for namespace, values in ids.items()}


def forget(watches: Watches, person: Person, now: int) -> None:
    """What no condition will ask for any more goes."""
    for name in {ledger.partition("\0")[0] for ledger in person.heard}:
        if (matcher := watches.matchers.get(name)) is not None:
            matcher.forget(person.heard, now - watches.slack)
        else:  # what no rule asks for any more
            for ledger in [ledger for ledger in person.heard if ledger.partition("\0")[0] == name]:
                if not person.heard[ledger] or person.heard[ledger][-1].received_at < now - watches.slack:
                    del person.heard[ledger]
    known = {name.partition("\0")[2] for name in person.heard if "\0" in name}
    for name in list(person.turned):
        if name.startswith(LEFT):
            continue
        prefix = name[: name.index("\0", 2) + 1]
        watch = watches._by_prefix.get(prefix)
        turn = person.turned[name]
        if isinstance(watch, sequences.Sequence):
            continue
        if watch is None or (watch.keyed and not turn.holds and turn.next is None and name[len(prefix) :] not in known):
            del person.turned[name]
