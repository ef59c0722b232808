"""Conditions that are watched: those that start rules, and segments (docs/semantics.md, Conditions).

What they count is noted as it is learnt (`hear`). They are looked at once all that was received in one millisecond is
known, and whenever time alone may change them (`look`): a *turn* is noted, and a person has one for each condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from pipeline.language.condition import Condition, Scope, compile_condition
from pipeline.language.events import types_of
from pipeline.language.memory import DECIDED, Entry, Known, Matcher, Memory, Moment
from pipeline.topology.model import DAY, Topology
from pipeline.triggers.changes import SegmentChange, change_id

Ids = dict[str, list[str]]


class Rule(Protocol):
    """What of a rule (rules.Compiled) is looked at."""

    name: str
    per: str | None
    after: int
    when: Condition | None
    until: Condition | None
    only_if: Condition | None


class Person(Protocol):
    """What of a person (person.Person) is looked at."""

    ids: Ids
    due: int | None
    heard: Memory
    turned: dict[str, Turn]
    first: Entry | None


class Turn(msgspec.Struct, array_like=True, gc=False):
    """What a condition was last found to be of a person. `owed`: nothing has started since it holds, and the next event
    that it counts shall. `next`: when it is to be looked at again, UTC ms, or None. `since`: when it turned. `tied`: at
    `next` two persons became one. `ids`: of a person who is no more, and leaves a segment at `next`.
    """

    holds: bool = False
    owed: bool = False
    next: int | None = None
    since: int = 0
    tied: bool = False
    ids: Ids | None = None


class Watch:
    """A condition that is watched, of a rule or, `rule` None, of a segment. `empty`: what it is over nothing.
    `counted`: all that it counts, also by segments that it speaks of; `untold`: not only events. `keyed`: it has a
    value for each key.
    """

    def __init__(self, name: str, rank: int, condition: Condition, rule: Rule | None) -> None:
        self.name, self.rank, self.condition, self.rule = name, rank, condition, rule
        self.keyed = rule is not None and rule.per is not None
        self.empty = condition.holds(Moment({}, 0))
        self.counted: tuple[Matcher, ...] = condition.matchers()
        self.untold = rule is not None and any(DECIDED in matcher.events for matcher in self.counted)
        self.prefix = f"{'s' if rule is None else 'r'}\0{name}\0"

    def default(self) -> Turn:
        """Of whom it was never looked at. Nobody is in a segment before their first event."""
        return Turn() if self.rule is None else Turn(self.empty, self.empty)


LEFT = "l\0"
"""Before what is noted of a person who is no more: their profile id, and the segment."""


class Watches:
    """All conditions of a topology. `hearing`: event type -> what counts it. `first`: a person's first event matters.
    `untils`: matcher's id -> the rules whose waits it may end; `waiting_for`: a segment's name -> the same. `speaking`:
    a segment's name -> what is watched that speaks of it. `slack`: for how long what a condition counts matters
    after it has left its window, ms.
    """

    def __init__(self, topology: Topology, rules: Mapping[str, Rule]) -> None:
        self.segments: dict[str, Watch] = {}
        self.every: list[Watch] = []
        for segment in topology.segments:
            condition = compile_condition(segment.when, Scope(measures=topology.measures))
            watch = self._watch(segment.name, condition, None)
            for name in condition.segments() & self.segments.keys():
                watch.counted += self.segments[name].counted
            self.segments[segment.name] = watch
        for rule in rules.values():
            if rule.when is not None:
                watch = self._watch(rule.name, rule.when, rule)
                for name in rule.when.segments() & self.segments.keys():
                    watch.counted += self.segments[name].counted
        self.still = False
        self._by_prefix = {watch.prefix: watch for watch in self.every}
        self.first = any(watch.empty or watch.untold for watch in self.every)
        self.slack = max((rule.longest_ms for rule in topology.rules), default=0) + topology.time.lateness_ms
        self.slack += topology.time.max_age_ms + DAY
        self.hearing: dict[str, tuple[Matcher, ...]] = {}
        self.watching: dict[str, tuple[Watch, ...]] = {}
        self.untils: dict[str, tuple[Rule, ...]] = {}
        self.matchers: dict[str, Matcher] = {}
        for watch in self.every:
            for matcher in self._hear(watch.counted):
                self.watching[matcher] = (*self.watching.get(matcher, ()), watch)
        for rule in rules.values():
            if rule.until is not None:
                for matcher in self._hear(rule.until.matchers()):
                    self.untils[matcher] = (*self.untils.get(matcher, ()), rule)
            if rule.only_if is not None:
                self._hear(rule.only_if.matchers())
        self.waiting_for = {
            name: tuple(rule for rule in rules.values() if rule.until and name in rule.until.segments())
            for name in self.segments
        }
        self.speaking = {
            name: tuple(watch for watch in self.every if name in watch.condition.segments()) for name in self.segments
        }

    def _watch(self, name: str, condition: Condition, rule: Rule | None) -> Watch:
        watch = Watch(name, len(self.every), condition, rule)
        self.every.append(watch)
        return watch

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

    def counts(self, kind: str, data: dict[str, Any]) -> bool:
        """Whether an event is counted at all."""
        return any(matcher.counts(kind, data) for matcher in self.hearing.get(kind, ()))

    def watch_of(self, name: str) -> tuple[Watch, str]:
        """Of a turn's name, what is watched, and for which key."""
        end = name.index("\0", 2) + 1
        return self._by_prefix[name[:end]], name[end:]


# What is noted.


def hear(
    watches: Watches, person: Person, kind: str, data: dict[str, Any], entry: Entry, at: int, *, amounts: bool = True
) -> Iterator[str]:
    """Note an event that is received at `at`; `amounts` False: it adds to no sum. Yields the ledgers that it stands in
    by which waits may end: a matcher's id or, where that counts by key, id, zero byte, key.
    """
    for matcher in watches.hearing.get(kind, ()):
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
                if watch.keyed and matcher.per is None:
                    for name in [name for name in person.turned if name.startswith(watch.prefix)]:
                        look_at(person, watch, name.removeprefix(watch.prefix), at)
                else:
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


def look_at(person: Person, watch: Watch, key: str, at: int) -> None:
    """Look at it then, at the latest."""
    name = watch.prefix + key
    turn = person.turned.get(name)
    if turn is None:
        turn = person.turned[name] = watch.default()
    if turn.next is None or at < turn.next:
        turn.next = at
    if person.due is None or at < person.due:
        person.due = at


def members(person: Person) -> dict[str, int]:
    """Segments they are in -> since when."""
    return {name[2:-1]: turn.since for name, turn in person.turned.items() if turn.holds and name.startswith("s\0")}


# Looking.


class Start(msgspec.Struct, frozen=True):
    """A turn that starts a rule. `timed`: by time alone; `entry` is the last that it counted then."""

    rule: Any
    key: str
    entry: Entry
    at: int
    timed: bool


def look(watches: Watches, person: Person, max_age: int, out: list[Any]) -> Iterator[Start]:
    """Look at all that is to be looked at when the person's `due` has come, segments first. What changes goes to `out`;
    yields what starts.
    """
    due = person.due
    while True:
        ready = [name for name, turn in person.turned.items() if turn.next is not None and turn.next == due]
        if not ready:
            return
        assert due is not None
        gone = [name for name in ready if name.startswith(LEFT)]
        for name in sorted(gone):
            _, profile_id, segment = name.split("\0")
            turn = person.turned.pop(name)
            out.append(_change(segment, "left", "merged", due, profile_id, turn.ids or {}, None))
        if gone:
            continue
        name = min(ready, key=lambda name: (watches.watch_of(name)[0].rank, name))
        watch, key = watches.watch_of(name)
        if watch.rule is None:
            _look_at_segment(watches, watch, person, person.turned[name], due, out)
        else:
            start = _look_at_rule(watch, person, key, person.turned[name], due, max_age)
            if start is not None:
                yield start


def _look_at_segment(watches: Watches, watch: Watch, person: Person, turn: Turn, at: int, out: list[Any]) -> None:
    now = Moment(person.heard, at, segments=members(person))
    holds, tied = watch.condition.holds(now), turn.tied
    if holds != turn.holds:
        by_tie = tied and watch.condition.holds(_before(person, at, "")) == holds
        cause = None if by_tie else _cause(watch, person, "", at, holds)
        reason = "tie" if by_tie else "time" if cause is None else "event"
        turn.holds, turn.since = holds, at
        change = "entered" if holds else "left"
        out.append(_change(watch.name, change, reason, at, "", person.ids, cause))
        for other in watches.speaking[watch.name]:
            for name in [name for name in person.turned if name.startswith(other.prefix)] or [other.prefix]:
                if not other.keyed or name != other.prefix:
                    look_at(person, other, name.removeprefix(other.prefix), at)
        now = Moment(person.heard, at, segments=members(person))
    turn.tied, turn.next = False, watch.condition.turns(now)


def _look_at_rule(watch: Watch, person: Person, key: str, turn: Turn, at: int, max_age: int) -> Start | None:
    now = _now(watch, person, key, at)
    held, owed, tied = turn.holds, turn.owed, turn.tied
    turn.holds, turn.tied, turn.next = watch.condition.holds(now), False, watch.condition.turns(now)
    if not turn.holds:
        turn.owed = False
        return None
    if held and not owed:
        return None
    if tied and watch.condition.holds(_before(person, at, key)):
        turn.owed = True  # by the tie alone
        return None
    cause = _cause(watch, person, key, at, True)
    turn.since = at
    if cause is None:
        if held:  # it has been owed, and still is
            return None
        last = _last(watch, person, key, at)
        turn.owed = last is None
        return None if last is None else Start(watch.rule, key, last, at, True)
    first = person.first
    if (held and first is not None and cause.known == first.known) or at - cause.occurred_at > max_age:
        turn.owed = True
        return None
    turn.owed = False
    return Start(watch.rule, key, cause, at, False)


def _now(watch: Watch, person: Person, key: str, at: int, upto: Known | None = None) -> Moment:
    return Moment(person.heard, at, key=key if watch.keyed else None, upto=upto, segments=members(person))


def _before(person: Person, at: int, key: str) -> Moment:
    """Without what is received in this moment."""
    return Moment(person.heard, at, key=key or None, upto=(at, -1, "", 0), segments=members(person))


def _counted(watch: Watch, person: Person, key: str, at: int) -> Iterable[Entry]:
    now = Moment(person.heard, at, key=key if watch.keyed else None)
    return (entry for matcher in watch.counted if DECIDED not in matcher.events for entry in now.of(matcher))


def _cause(watch: Watch, person: Person, key: str, at: int, holds: bool) -> Entry | None:
    """Of the events received in this moment that it counts the first one, in order of knowledge, from which on it is
    so; None: there are none.
    """
    fresh = {entry.known: entry for entry in _counted(watch, person, key, at) if entry.received_at == at}
    if not fresh:
        return None
    for known, entry in sorted(fresh.items()):
        if watch.condition.holds(_now(watch, person, key, at, known)) == holds:
            return entry
    return fresh[max(fresh)]


def _last(watch: Watch, person: Person, key: str, at: int) -> Entry | None:
    """The last that it counted before, by occurrence; else the person's first event."""
    return max(_counted(watch, person, key, at), key=lambda entry: entry.order, default=person.first)


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
        identifiers={namespace: list(values) for namespace, values in ids.items()},
        cause_event_id=None if cause is None else cause.event_id,
    )


def first_at(
    condition: Condition, memory: Memory, segments: Mapping[str, int], key: str | None, start: int, upto: int
) -> tuple[int, str] | None:
    """The first moment from `start` to `upto` at which it holds of a wait that began at `start`, and the event that
    occurred then, if there was one that it counts. By what is known, and the segments that they are in now; None: there
    is none.
    """
    at = start
    while at <= upto:
        now = Moment(memory, at, key=key, start=start, segments=segments)
        if condition.holds(now):
            return at, _ended_by(condition, now)
        later = [condition.turns(now)]
        for matcher in condition.matchers():
            ledger = memory.get(matcher.ledger(key), ())
            later.append(min((e.occurred_at for e in ledger if e.occurred_at > at), default=None))
        moments = [each for each in later if each is not None]
        if not moments:
            return None
        at = min(moments)
    return None


def _ended_by(condition: Condition, now: Moment) -> str:
    """The event that occurred `now`, of those that it counts the last in order of knowledge; or ""."""
    every = (matcher for matcher in condition.matchers() if DECIDED not in matcher.events)
    then = [entry for matcher in every for entry in now.of(matcher, now.at - 1)]
    return max(then, key=lambda entry: entry.known).event_id if then else ""


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
    ids = (person.ids, other.ids)
    turned: dict[str, Turn] = {}
    for name in {**person.turned, **other.turned}:
        turns = (person.turned.get(name), other.turned.get(name))
        if name.startswith(LEFT) or name[: name.index("\0", 2) + 1] not in watches._by_prefix:
            turned[name] = turns[0] or turns[1] or Turn()
            continue
        watch, _ = watches.watch_of(name)
        a, b = (turn or watch.default() for turn in turns)
        moments = [at for at in (a.next, b.next, now or None) if at is not None]
        if watch.rule is None:
            stays, goes = (0, 1) if own[0] <= own[1] else (1, 0)
            if now and (a, b)[goes].holds:
                turned[f"{LEFT}{own[goes]}\0{watch.name}"] = Turn(
                    next=now, ids={namespace: list(values) for namespace, values in ids[goes].items()}
                )
            either = (a, b)[stays] if now else (a if a.holds else b)
            turned[name] = Turn(either.holds, next=min(moments, default=None), since=either.since, tied=bool(now))
        else:
            begun = any(turn.holds and not turn.owed for turn in (a, b))
            holds = a.holds or b.holds
            turned[name] = Turn(
                holds, holds and not begun, min(moments, default=None), max(a.since, b.since), bool(now)
            )
    person.turned = turned


def forget(watches: Watches, person: Person, now: int) -> None:
    """What no condition will ask for any more goes."""
    for matcher in watches.matchers.values():
        matcher.forget(person.heard, now - watches.slack)
    known = {name.partition("\0")[2] for name in person.heard if "\0" in name}
    for name in list(person.turned):
        if name.startswith(LEFT):
            continue
        prefix = name[: name.index("\0", 2) + 1]
        watch = watches._by_prefix.get(prefix)
        turn = person.turned[name]
        if watch is None or (watch.keyed and not turn.holds and turn.next is None and name[len(prefix) :] not in known):
            del person.turned[name]
