"""`film`: how much of a film was watched: `{film: {share: {gte: 0.5}}}`, `{film: {seconds: {gte: 600}}}`.

In a rule with `per: film` it is the wait's film, elsewhere any one of the person's; all that is compared must hold of
one and the same. Each second counts once, over all sessions and devices, and is counted in order of receipt, as
semantics 16 says; a `share` is of the `total_length` that was told last, and without one there is none. Looked at as of
an earlier moment it is what those events were counted to add that had occurred by then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import Any

import msgspec

from pipeline.events.catalogue import doing
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Clause, Record
from pipeline.language import compare, films
from pipeline.language.carts import Change
from pipeline.language.compared import Compared
from pipeline.language.condition import Condition, Names, Scope, said_once
from pipeline.language.films import Session, add_interval
from pipeline.language.memory import MOST, Entry, Ledger, Matcher, Memory, Moment
from pipeline.language.where import EventTest

KEY = "film"
ASKED = ("share", "seconds")
PLAYBACK = tuple(doing("film"))
_READ = ("session_id", "position", "watched_from", "watched_to", "seek_to", "seek_from")

SAFE = 1 << 53  # below that a whole number is what it looks like
KEPT = 200  # playback events of a person, beyond which the older are added up
FILMS_KEPT = 200  # of which only that is known
STRETCHES_KEPT = 300  # of one film


Rational = int | Fraction


class Seen(msgspec.Struct):
    """What is known of a film. `watched`: [from, to] in seconds; `told`: when its `length` was received, UTC ms."""

    watched: list[list[float]]
    length: float | None = None
    told: int = -1

    def add(self, stretches: Iterable[list[float]], length: float | None, received_at: int) -> None:
        """What one more event adds."""
        for start, end in stretches:
            self.watched = add_interval(self.watched, start, end)
        if length is not None and received_at >= self.told:
            self.length, self.told = length, received_at

    @property
    def seconds(self) -> Rational:
        """Different ones."""
        return sum(_exact(end) - _exact(start) for start, end in self.watched)

    @property
    def share(self) -> Rational | None:
        """Of its length, if one was told."""
        if not self.length:
            return None
        seconds = self.seconds
        return Fraction(seconds, _exact(self.length)) if seconds else 0


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "film": Clause(
                Record(
                    {
                        "share": Clause(
                            compare.record(), "The share of its length that was watched: {gte: 0.5} is half."
                        ),
                        "seconds": Clause(compare.record(), "How many different seconds were watched: {gte: 600}."),
                    },
                    some=True,
                ),
                "What must hold of one film.",
                required=True,
            )
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """It can be so much."""
    asked, reader = value.get(KEY), names.reader
    if not isinstance(asked, Mapping):
        return
    at = (*at, KEY)
    for name in ASKED:
        compare.check((*at, name), asked.get(name, {}), reader, least=0)
    for name, operand in asked.get("share", {}).items():
        if any(each > 1 for each in (operand if isinstance(operand, list) else [operand])):
            message = f"{operand} is more than the whole film"
            reader.report((*at, "share", name), "bad-value", message, "a half is 0.5", severity="warning")


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    asked = value[KEY]
    return Film(FilmMatcher(of_key=scope.per == KEY), {name: asked[name] for name in ASKED if name in asked})


class FilmMatcher(Matcher):
    """All playback, in one ledger a person, as a session may go from film to film.

    A value is [film, what the event was counted to add, the length that it tells or None]. In the first place stands
    what older ones add up to, and where sessions are: [until when, whether something was dropped, {film: Seen, as a
    list}, {session: Session, as a list}].
    """

    picky = True

    def __init__(self, *, of_key: bool) -> None:
        super().__init__(PLAYBACK, {}, per=KEY if of_key else None, newest=MOST)
        self.id = "film.key" if of_key else "film"

    def fields(self) -> tuple[str, ...]:
        """Of an event's data, that are looked at."""
        return (KEY, "total_length", *_READ)

    def test(self, kind: str) -> EventTest:
        """It names a film."""
        return lambda data: bool(data.get(KEY))

    def read(self, kind: str, data: Mapping[str, Any], change: Change | None = None) -> Any:
        """What `take` works with."""
        told = {name: data[name] for name in _READ if data.get(name) is not None}
        return [data[KEY], {**told, "kind": kind}, data.get("total_length") or None]

    def ledger(self, key: str | None) -> str:
        """One for all."""
        return self.id

    def concerns(self, entry: Entry, key: str | None) -> bool:
        """It is of that film."""
        return entry.occurred_at >= 0 and (self.per is None or entry.value[0] == key)

    def known(self, memory: Memory) -> Iterable[str]:
        """Films."""
        ledger = memory.get(self.id)
        return {*(entry.value[0] for entry in ledger[1:]), *ledger[0].value[2]} if ledger else ()

    def seen(self, now: Moment) -> dict[str, Seen]:
        """Of the key's film, if it counts by key, else of all; only to be read."""
        earlier = None if now.walked is None else now.walked.get(self.id)
        if earlier is None:
            found = self._seen(now)
        else:
            since, found = earlier
            found = _after(found, now.of(self, since))
        if now.walked is not None:
            now.walked[self.id] = (now.at, found)
        return found

    def _seen(self, now: Moment) -> dict[str, Seen]:
        ledger = now.memory.get(self.id)
        if not ledger:
            return {}
        of = ledger[0].value[2]
        found = {name: Seen(*told) for name, told in of.items() if self.per is None or name == now.key}
        return _after(found, now.of(self))

    def take(self, memory: Memory, key: str, entry: Entry) -> bool:
        """Note one more, and what it adds. False: it is known already."""
        ledger = memory.setdefault(self.id, [])
        if any(each.named == entry.named for each in ledger):
            return False
        if not ledger:
            ledger.append(_base())
        film, told, length = entry.value
        sessions = {name: Session(*each) for name, each in ledger[0].value[3].items()}
        found = films.stretches(sessions, film, told["kind"], entry.occurred_at, told)
        ledger[0].value[3] = {name: msgspec.to_builtins(each) for name, each in sessions.items()}
        added = [[start, end] for start, end in found if end > start]
        return super().take(memory, key, msgspec.structs.replace(entry, value=[film, added, length]))

    def bound(self, ledger: Ledger) -> None:
        """Of too many the older half, in order of receipt, becomes what it adds up to."""
        if len(ledger) > KEPT:
            known = sorted(ledger[1:], key=lambda entry: entry.known)
            _fold(ledger, known[: len(known) // 2])

    def forget(self, memory: Memory, horizon: int) -> None:
        """Nobody looks at an earlier moment: what had been received by then is added up."""
        ledger = memory.get(self.id)
        if ledger and (older := [entry for entry in ledger[1:] if entry.received_at < horizon]):
            _fold(ledger, older)

    def joined(self, mine: Ledger, theirs: Ledger) -> Ledger:
        """Both have watched what either has. What was counted stays."""
        if not mine or not theirs:
            return mine or theirs
        merged = {entry.order: entry for entry in [*mine[1:], *theirs[1:]]}
        (upto, dropped, left, sessions), (upto2, dropped2, left2, sessions2) = mine[0].value, theirs[0].value
        base = _base()
        found = {name: Seen(*told) for name, told in left.items()}
        for name, told in left2.items():
            other = Seen(*told)
            found.setdefault(name, Seen([])).add(other.watched, other.length, other.told)
        places = dict(sessions)
        for name, place in sessions2.items():
            if name not in places or (places[name][1], places[name][0]) < (place[1], place[0]):
                places[name] = place
        while len(places) > films.SESSIONS_KEPT:
            del places[min(places, key=lambda name: (places[name][1], name))]
        base.value = [max(upto, upto2), dropped or dropped2, {}, places]
        _keep(base, found)
        joined = [base, *(merged[order] for order in sorted(merged))]
        self.bound(joined)
        return joined

    def lacks(self, memory: Memory, key: str | None, since: int) -> bool:
        """Something was dropped, or what is known then is only what older events add up to."""
        ledger = memory.get(self.id)
        return bool(ledger and (ledger[0].value[1] or ledger[0].value[0] >= since))


def _exact(number: float) -> Rational:
    """As it was told: 0.1 is a tenth."""
    return int(number) if abs(number) < SAFE and number == int(number) else Fraction(str(number))


def _after(found: dict[str, Seen], entries: Iterable[Entry]) -> dict[str, Seen]:
    """What the events add, in place."""
    for entry in sorted(entries, key=lambda entry: entry.known):
        film, added, length = entry.value
        seen = found.pop(film, None) or Seen([])
        seen.add(added, length, entry.received_at)
        found[film] = seen  # what was played last comes last
    return found


def _base() -> Entry:
    return Entry(-1, -1, "", 0, [-1, False, {}, {}])


def _fold(ledger: Ledger, older: list[Entry]) -> None:
    """These become what they add up to, in place."""
    found = _after({name: Seen(*told) for name, told in ledger[0].value[2].items()}, older)
    ledger[0].value[0] = max([ledger[0].value[0], *(entry.occurred_at for entry in older)])
    _keep(ledger[0], found)
    gone = {entry.order for entry in older}
    ledger[:] = [entry for entry in ledger if entry.order not in gone]


def _keep(base: Entry, found: dict[str, Seen]) -> None:
    """What older events add up to. Of too many films those go that were played first, of stretches the shortest."""
    while len(found) > FILMS_KEPT:
        del found[next(iter(found))]
        base.value[1] = True
    for seen in found.values():
        if len(seen.watched) > STRETCHES_KEPT:
            longest = sorted(seen.watched, key=lambda each: each[0] - each[1])[:STRETCHES_KEPT]
            seen.watched = sorted(longest)
            base.value[1] = True
    base.value[2] = {name: [seen.watched, seen.length, seen.told] for name, seen in found.items()}


class Film(Compared):
    """Whether there is a film of which all that is compared holds."""

    _matcher: FilmMatcher
    nothing = "none was"

    def __init__(self, matcher: FilmMatcher, tests: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(tests, {name: compare.compiled(_exactly(each)) for name, each in tests.items()})
        self._matcher = matcher

    def things(self, now: Moment) -> Collection[Seen]:
        """Films, how much of them was watched."""
        return self._matcher.seen(now).values()

    def told(self, name: str, thing: Seen) -> Rational | None:
        """Of a film."""
        return thing.share if name == "share" else thing.seconds

    def says(self, name: str, number: Rational | None) -> str:
        """How much it is."""
        return f"{name} unknown" if number is None else f"{name} {float(number):g}"

    @said_once
    def __str__(self) -> str:
        asked = " and ".join(f"{name} {compare.said(each)}" for name, each in self._tests.items())
        return f"{'the' if self._matcher.per else 'a'} film was watched: {asked}"


def _exactly(tests: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [_exact(each) for each in operand] if isinstance(operand, list) else _exact(operand)
        for name, operand in tests.items()
    }
