"""Conditions that are watched: those that start rules, and segments (docs/semantics.md, Conditions).

What they count is noted as it is learnt (`hear`). They are looked at once all that was received in one millisecond is
known, and whenever time alone may change them (`look`): a *turn* is noted, and a person has one for each condition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec
from xxhash import xxh32_intdigest

from pipeline.language.carts import Change
from pipeline.language.condition import Condition, Scope, compile_condition
from pipeline.language.ears import Ears
from pipeline.language.events import types_of
from pipeline.language.memory import DECIDED, MOST, Entry, Matcher, Memory, Moment
from pipeline.language.room import ANY, Weights
from pipeline.language.whereabouts import Whereabouts
from pipeline.topology.meaning import fingerprint
from pipeline.topology.model import DAY, Topology
from pipeline.triggers import sequences
from pipeline.wire.row import Row

Ids = dict[str, list[str]]
UNKNOWN = -1
PAST_KEPT = 16
WHOLE = ("",)  # the keys of what is counted without


class WatchedRule(Protocol):
    """What of a rule (rules.Compiled) is looked at."""

    name: str
    fingerprint: str
    per: str | None
    soonest: int
    arrives: bool
    when: Condition | None
    until: Condition | None
    asked: Sequence[Condition]
    noted: tuple[Matcher, ...]
    sequence: Any


class WatchedPerson(Protocol):
    """What of a person (person.Person) is looked at."""

    ids: Ids
    due: int | None
    heard: Memory
    turned: dict[str, Turn]
    first: Entry | None
    whereabouts: Whereabouts | None


class Turn(msgspec.Struct, array_like=True, gc=False):
    """What a condition was last found to be of a person. `owed`: nothing has started since it holds, and the next event
    that it counts shall. `next`: when it is to be looked at again, UTC ms, or None. `since`: from when on it holds.
    `tied`: at `next` two persons became one. `ids`: of a person who is no more, and leaves a segment at `next`; of a
    segment, by what they were known when they entered it, where that gave another profile id. `room`: so much more may
    be counted of what brings it nearer to being otherwise, and nobody need look (language/room.py); UNKNOWN: nobody
    knows, as something else may have come to it. `past`: of a segment that others speak of, since when and until when
    they were in it before, [since, until, since, until, ...].
    """

    holds: bool = False
    owed: bool = False
    next: int | None = None
    since: int = 0
    tied: bool = False
    ids: Ids | None = None
    room: int = UNKNOWN
    past: list[int] = []

    def was_since(self, at: int) -> int | None:
        """Of a segment that they have left: since when they were in it at that moment, in which it may have ended."""
        past = self.past
        return next((past[i] for i in range(len(past) - 2, -1, -2) if past[i] <= at <= past[i + 1]), None)


class Watch:
    """A condition that is watched, of a rule or, `rule` None, of a segment. `empty`: what it is over nothing.
    `counted`: all that it counts, also by the segments that it speaks of (`through`, in order of
    dependence); `untold`: not only events. `keyed`: it has a value for each key. `zoned`: it hangs on where they are.
    `weights`: of what it counts. `room`: that of whom nothing is known.
    """

    def __init__(self, name: str, rank: int, condition: Condition, rule: WatchedRule | None) -> None:
        self.name, self.rank, self.condition, self.rule = name, rank, condition, rule
        self.weights = condition.weights()
        self.keyed = rule is not None and rule.per is not None
        self.empty, self.room = condition.holds(Moment({}, 0)), condition.room(Moment({}, 0))
        self.counted: tuple[Matcher, ...] = condition.matchers()
        self.untold = rule is not None and any(DECIDED in matcher.events for matcher in self.counted)
        self.through: tuple[Watch, ...] = ()
        self.zoned = any(matcher.zoned for matcher in self.counted)
        self.prefix = f"{'s' if rule is None else 'r'}\0{name}\0"

    @property
    def starts_far(self) -> bool:
        """Whether `room` may be believed: nothing is so over nothing, nor is anybody in a segment by that."""
        return self.room > 0 and not self.empty and not any(other.empty for other in self.through)

    def default(self) -> Turn:
        """Of whom it was never looked at. Nobody is in a segment before their first event."""
        return Turn() if self.rule is None else Turn(self.empty, self.empty)

    def hears_first(self, memory: Memory, key: str, counted: Matcher) -> bool:
        """Whether what was just counted is the first that it counts of them."""
        for matcher in self.counted:
            ledger = memory.get(matcher.ledger(key))
            if ledger and (matcher.id != counted.id or len(ledger) > 1):
                return False
        return True


LEFT = "l\0"
"""Before what is noted of a person who is no more: their profile id, and the segment."""
WATCHED = "w\0\0"
"""Among a person's turns: `since` says by which conditions they were watched when the last event was counted."""


class Watches:
    """All conditions of a topology, and sequences. By name: `segments`, `rules`, what is watched; `until`, what a rule
    waits for.

    `hearing`: event type -> what counts it; `ears`: the same, to ask. `first`: a person's first event matters.
    `watching`: matcher's id -> what is looked at when it counts something; `untils`: the same -> the rules whose waits
    it may end. Segment's name -> `speaking`: what is looked at when they enter or leave it, `waiting_for`: the rules
    whose waits that may end. `slack`: for how long what a condition counts matters after it has left its window, ms.
    `zoned`: what is looked at when it shows where a person is, `zoned_untils`: the rules whose waits that may end;
    `located`: a condition hangs on it. `picky`: such matchers. `still`: nothing is looked at any more. `mark`: of what
    all of them say; nought: there are none.
    """

    def __init__(self, topology: Topology, rules: Mapping[str, WatchedRule]) -> None:
        self.segments: dict[str, Watch] = {}
        self.rules: dict[str, Watch] = {}
        self.every: list[Watch] = []
        scope = Scope(measures=topology.measures, lists=topology.lists, zone=topology.time.zone)
        for segment in topology.segments:
            condition = compile_condition(segment.when, scope)
            watch = self._watch(segment.name, condition, None)
            self.segments[segment.name] = watch
        for rule in rules.values():
            if rule.when is not None:
                self.rules[rule.name] = self._watch(rule.name, rule.when, rule)
        self.still = False
        said = [fingerprint(segment, topology) for segment in topology.segments]
        said += [rule.fingerprint for rule in rules.values() if rule.when is not None]
        self.mark = xxh32_intdigest(" ".join(said).encode()) if said else 0
        self.by_prefix: dict[str, Watch | sequences.Sequence] = {watch.prefix: watch for watch in self.every}
        self.first = any(watch.empty or watch.untold for watch in self.every)
        self.slack = max((rule.longest_ms for rule in topology.rules), default=0) + topology.time.lateness_ms
        self.slack += topology.time.max_age_ms + DAY
        self.hearing: dict[str, tuple[Matcher, ...]] = {}
        self.watching: dict[str, tuple[Watch | sequences.Sequence, ...]] = {}
        self.untils: dict[str, tuple[WatchedRule, ...]] = {}
        self.matchers: dict[str, Matcher] = {}
        for watch in self.every:
            for matcher in self._hear(watch.counted):
                self.watching[matcher] = (*self.watching.get(matcher, ()), watch)
                if watch.rule is not None:  # when a wait is decided it is looked at as of the turn, whatever came since
                    self.matchers[matcher].newest = MOST
        self.until: dict[str, Watch] = {}
        for rule in rules.values():
            if rule.sequence is not None:
                found = sequences.Sequence(rule, rule.sequence, topology.time.max_age_ms, len(self.by_prefix))
                self.by_prefix[found.prefix] = found
                for matcher in self._hear((found.matcher,)):
                    self.watching[matcher] = (found,)
            if rule.until is not None:
                watch = self.until[rule.name] = Watch(rule.name, 0, rule.until, rule)
                self._through_segments(watch)
                for matcher in self._hear(watch.counted):
                    self.untils[matcher] = (*self.untils.get(matcher, ()), rule)
                    self.matchers[matcher].newest = MOST  # it may have held at any moment of a wait
            for condition in rule.asked:
                self._hear(condition.matchers())
            self._hear(rule.noted)
        self.zoned = tuple(watch for watch in self.every if watch.zoned)
        self.zoned_untils = tuple(name for name, watch in self.until.items() if watch.zoned)
        self.located = bool(self.zoned or self.zoned_untils) or any(m.zoned for m in self.matchers.values())
        self.picky = tuple(matcher for matcher in self.matchers.values() if matcher.picky)
        self.ears = {kind: Ears(kind, matchers) for kind, matchers in self.hearing.items()}
        self.waiting_for = {
            name: tuple(rule for rule in rules.values() if rule.until and name in rule.until.segments())
            for name in self.segments
        }
        self.speaking = {
            name: tuple(watch for watch in self.every if name in watch.condition.segments()) for name in self.segments
        }

    def _watch(self, name: str, condition: Condition, rule: WatchedRule | None) -> Watch:
        watch = Watch(name, len(self.every), condition, rule)
        self._through_segments(watch)
        self.every.append(watch)
        return watch

    def _through_segments(self, watch: Watch) -> None:
        for other in self.segments.values():  # in order of dependence
            if other.name in watch.condition.segments():
                watch.counted += other.counted
                through = dict.fromkeys((matcher.id for matcher in other.counted), ANY)
                watch.weights = Weights({**watch.weights.up, **through}, {**watch.weights.down, **through})
                watch.zoned |= other.zoned
                watch.through += tuple(each for each in (*other.through, other) if each not in watch.through)

    def _hear(self, matchers: tuple[Matcher, ...]) -> list[str]:
        """Count what they do. Returns their ids, each once."""
        for matcher in matchers:
            if matcher.id in self.matchers:
                self.matchers[matcher.id].asked(matcher)
                continue
            self.matchers[matcher.id], matcher.slack = matcher, self.slack
            for kind in dict.fromkeys((DECIDED,) if DECIDED in matcher.events else types_of(matcher.events)):
                self.hearing[kind] = (*self.hearing.get(kind, ()), matcher)
        return [*dict.fromkeys(matcher.id for matcher in matchers)]

    def counting(self, kind: str, data: Mapping[str, Any]) -> list[Matcher]:
        """Those that count an event."""
        ears = self.ears.get(kind)
        return [] if ears is None else ears.of(data)

    def watch_of(self, name: str) -> tuple[Watch | sequences.Sequence, str]:
        """Of a turn's name, what is watched, and for which key."""
        watch = self.by_prefix.get(name)
        if watch is not None:
            return watch, ""
        end = name.index("\0", 2) + 1
        return self.by_prefix[name[:end]], name[end:]


# What is noted.


def hear(
    watches: Watches,
    person: WatchedPerson,
    matchers: Sequence[Matcher],
    kind: str,
    row: Row,
    *,
    amounts: bool = True,
    change: Change | None = None,
    ended: Callable[..., sequences.Place | None],
) -> list[tuple[str, str]]:
    """Note an event that these matchers count, as one of a `kind`; `amounts` False: it adds to no sum; `change`: what
    it does to a cart; `ended`: of a person, see sequences.Ended. Returns by what waits may end: a matcher's id, and for
    which key (empty: for all).
    """
    marked = person.turned.get(WATCHED)
    if (0 if marked is None else marked.since) != watches.mark:  # who was watched otherwise was counted otherwise
        for turn in person.turned.values():
            turn.room = UNKNOWN
        person.turned[WATCHED] = Turn(since=watches.mark)
    data, at, heard, entry = row.data, row.received_at, person.heard, _entry(row)
    watching = {} if watches.still else watches.watching
    found: list[tuple[str, str]] = []
    for matcher in matchers:
        told = entry
        if matcher.reads:
            value = matcher.read(kind, data, change)
            if value is not None and (amounts or matcher.value is None):
                told = msgspec.structs.replace(entry, value=value)
        for key in WHOLE if matcher.per is None else matcher.keys(data):
            if not matcher.take(heard, key, told):
                continue
            others = matcher.picky and matcher.concerns_others(told)
            for watch in watching.get(matcher.id, ()):
                if isinstance(watch, sequences.Sequence):
                    watch.breaks(heard, told, at, partial(ended, person))
                    for name in watch.keys(heard, told):
                        look_at(person, watch, name, at)
                    continue
                if watch.keyed and (others or matcher.per is None):
                    for name in [name for name in person.turned if name.startswith(watch.prefix)]:
                        _look_if_near(person, watch, name.removeprefix(watch.prefix), matcher, at)
                if not watch.keyed or (key and matcher.per is not None):
                    _look_if_near(person, watch, key, matcher, at)
            if matcher.id in watches.untils:
                found.append((matcher.id, "" if others else key))
    return found


def _entry(row: Row) -> Entry:
    return Entry(row.occurred_at, row.received_at, row.event_id, row.fingerprint)


def begin(watches: Watches, person: WatchedPerson, row: Row) -> None:
    """A person's first event: who is in a segment of whom nothing else is known enters it."""
    entry = _entry(row)
    if person.first is not None and person.first.known <= entry.known:
        return
    if person.first is None:
        for watch in watches.segments.values():
            if watch.empty:
                look_at(person, watch, "", entry.received_at)
    person.first = entry


def look_at_zoned(watches: Watches, person: WatchedPerson, at: int) -> None:
    """They are somewhere else: look at all that hangs on it."""
    for watch in () if watches.still else watches.zoned:
        for name in [name for name in person.turned if name.startswith(watch.prefix)]:
            look_at(person, watch, name.removeprefix(watch.prefix), at)


def look_at(person: WatchedPerson, watch: Watch | sequences.Sequence, key: str, at: int) -> None:
    """Look at it then, at the latest."""
    name = watch.prefix + key
    turn = person.turned.get(name)
    if turn is None:
        turn = person.turned[name] = Turn() if isinstance(watch, sequences.Sequence) else watch.default()
    if turn.next is None or at < turn.next:
        turn.next = at
    if person.due is None or at < person.due:
        person.due = at


def _look_if_near(person: WatchedPerson, watch: Watch, key: str, counted: Matcher, at: int) -> None:
    """Look at it, unless what was `counted` can't have changed it. When it is to be looked at next stays: by that it
    only changes later, if it does.
    """
    name = watch.prefix + key
    turn = person.turned.get(name)
    if turn is None and watch.starts_far and watch.hears_first(person.heard, key, counted):
        turn = person.turned[name] = Turn(room=watch.room)
    if turn is not None and not turn.owed:
        weight = (watch.weights.down if turn.holds else watch.weights.up)[counted.id]
        if weight <= turn.room:
            turn.room -= weight
            return
    look_at(person, watch, key, at)


def members(person: WatchedPerson) -> dict[str, int]:
    """Segments they are in -> since when."""
    return {name[2:-1]: turn.since for name, turn in person.turned.items() if turn.holds and name.startswith("s\0")}


def members_at(person: WatchedPerson, at: int) -> dict[str, int]:
    """The same as of an earlier moment, as the fold had it."""
    found: dict[str, int] = {}
    for name, turn in person.turned.items():
        if name.startswith("s\0"):
            since = turn.since if turn.holds and turn.since <= at else turn.was_since(at)
            if since is not None:
                found[name[2:-1]] = since
    return found


def pasts(of: Iterable[Turn], since: int) -> list[int]:
    """What is kept of those that ended at that moment or later, by when they ended."""
    ended = {(turn.past[i + 1], turn.past[i]) for turn in of for i in range(0, len(turn.past), 2)}
    kept = sorted(each for each in ended if each[0] >= since)[-PAST_KEPT:]
    return [moment for until, begun in kept for moment in (begun, until)]


# Looking.


# Two persons who turn out to be one, and what is forgotten.
