"""What one rule remembers of one person, and how much of it: an event's cost must not hang on their history.

What can decide nothing any more goes: it is looked for once a day (`sweep`). Of what is left a few keys lie at hand.
Of whoever has more, a robot say, the others lie packed on *pages*, each with what must be known of it to leave it shut:
when the first of it is due, and after which moment nothing that happens rearranges it.

What bounds it (docs/semantics.md, Bounds): 500 open waits, a further start is `too_many`; 100 triggers that may still
be taken back, a further one says `bounded`; 250 keys in which nothing waits; 100 carts of which only the contents are
left. Whatever goes for want of room leaves a trace by which decisions say so: `forgot`, or a mark of eight bytes.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Iterable, Iterator

import msgspec

from pipeline.triggers import marks, waits
from pipeline.triggers.facts import End, Key
from pipeline.triggers.rules import Compiled

WAITS_KEPT = 500
FIRED_KEPT = 100
KEYS_KEPT = 250  # in which nothing waits
ROOM = 50  # that go at once when there are more
IDLE_KEPT = 100
ENDS_KEPT = 500  # that concern every key
MARKS_KEPT = 2_000
AT_HAND = 24
ON_A_PAGE = 16
FAR = 1 << 62


class KeyPage(msgspec.Struct, array_like=True, gc=False):
    """Keys that aren't looked at. `hashes`: eight bytes a name. `packed`: name -> Key. `open`: waits. `triggers`: how
    many may be taken back. `due`: when the first is decided. `first`: when the first fact occurred. What occurred after
    `moved` moves none of their waits, after `fired` takes back no trigger, after `closed` is late for no cart. `last`:
    when the last of all that occurred. `missed`: that they are gone matters longer. `idle`: only contents are left.
    `starts`: how many wait to be decided, where each is by itself.
    """

    hashes: bytes
    packed: bytes
    size: int
    open: int = 0
    triggers: int = 0
    due: int | None = None
    first: int | None = None
    moved: int = -1
    fired: int = -1
    closed: int = -1
    last: int = -1
    missed: bool = False
    idle: bool = False
    starts: int = 0


class RuleState(msgspec.Struct, array_like=True, gc=False):
    """One rule of one person. `keys`: those at hand, by correlation key. `everyone`: ends that concern every key, or
    every one but their `own`. `marks`: of keys that started once and for all, or carts whose contents are forgotten.
    `forgot`: what was dropped for want of room occurred up to then (UTC ms).
    """

    keys: dict[str, Key] = {}
    everyone: list[End] = []
    pages: list[KeyPage] = []
    marks: bytes = b""
    forgot: int = -1

    def ends(self, name: str) -> list[End]:
        """Those of everyone's that concern this key."""
        everyone = self.everyone
        return (
            [end for end in everyone if end.own != name and (not end.asks or end.concerns(name))]
            if everyone
            else everyone
        )

    def find(self, name: str) -> Key | None:
        """What is known of a key; it is at hand then."""
        key = self.keys.get(name)
        if key is None and self.pages:
            wanted = marks.hashed(name)
            for page in self.pages:
                if wanted in page.hashes and marks.place(page.hashes, wanted) >= 0:
                    self._open(page)
                    return self.keys.get(name)
        return key

    def all_keys(self) -> Iterator[tuple[str, Key]]:
        """Every one, those on pages as copies."""
        yield from self.keys.items()
        for page in self.pages:
            yield from _decode(page.packed).items()

    def open_due(self, due: int) -> None:
        """What is due then is at hand."""
        if self.pages:
            self._open(*[page for page in self.pages if page.due == due])

    def open_concerned(self, end: End) -> None:
        """What an end that has just become known may rearrange is at hand."""
        if self.pages:
            at = end.occurred_at
            self._open(*[page for page in self.pages if at <= max(page.moved, page.fired, page.closed)])

    def open_moved(self, since: int) -> None:
        """Where something occurred then (UTC ms) or later is at hand."""
        self._open(*[page for page in self.pages if page.moved >= since])

    def open_all(self) -> None:
        """All is at hand."""
        self._open(*self.pages)

    def _open(self, *pages: KeyPage) -> None:
        for page in pages:
            self.pages = [other for other in self.pages if other is not page]
            self.keys.update(_decode(page.packed))

    def shut(self, names: Iterable[str], *, idle: bool = False) -> None:
        """These go on a page."""
        self.pages.append(_page({name: self.keys.pop(name) for name in names}, idle))

    @property
    def waiting(self) -> int:
        """How many waits are open."""
        return sum(key.due is not None for key in self.keys.values()) + sum(page.open for page in self.pages)

    def tells_enough(self, key: Key) -> bool:
        """Whether as many triggers as are kept may still be taken back; this key has told the last one."""
        if not self.pages and len(key.fired) < FIRED_KEPT:  # of few keys it is enough to look at one
            return False
        told = sum([len(key.fired) for key in self.keys.values()]) + sum([page.triggers for page in self.pages])
        return told >= FIRED_KEPT

    @property
    def full(self) -> bool:
        """Whether no further wait may open."""
        return self.at_most >= WAITS_KEPT and self.waiting >= WAITS_KEPT

    @property
    def crowded(self) -> bool:
        """The same, where each start is a wait of its own."""
        waiting = sum([len(key.facts) for key in self.keys.values()]) + sum([page.starts for page in self.pages])
        return waiting >= WAITS_KEPT

    @property
    def at_most(self) -> int:
        """So many keys there are, or fewer."""
        return len(self.keys) + ON_A_PAGE * len(self.pages)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Key]).decode


def _page(keys: dict[str, Key], idle: bool) -> KeyPage:
    page = KeyPage(b"".join(map(marks.hashed, keys)), _encode(keys), len(keys), idle=idle)
    every = keys.values()
    dues = [key.due for key in every if key.due is not None]
    facts = [key.facts for key in every if key.facts]
    fired = [each.due for key in every for each in key.fired]
    credited = [each.until for key in every for each in key.credits]
    page.open, page.triggers, page.starts = len(dues), len(fired), sum(map(len, facts))
    page.due = min(dues, default=None)
    page.first = min([each[0].occurred_at for each in facts], default=None)
    page.moved = max([each[-1].occurred_at for each in facts], default=-1)
    page.fired = max([*fired, *credited], default=-1)
    page.closed = max([key.closed[0] for key in every if key.lines], default=-1)
    page.last = max(map(last_seen, every), default=-1)
    page.missed = any(map(_missed, every))
    if left := [key.closed[0] for key in every if key.open is not None]:  # whatever ends that is decided soon
        page.first, page.fired = min(left if page.first is None else [page.first, *left]), FAR
    return page


def mark(state: RuleState, hashes: Iterable[bytes], at: int) -> None:
    """Note names, by their hashes. Those that were noted longest ago go."""
    state.marks = marks.noted(state.marks, hashes, at)
    if len(state.marks) > MARKS_KEPT * marks.ENTRY:
        state.marks = state.marks[-MARKS_KEPT * marks.ENTRY :]
        state.forgot = max(state.forgot, at)


def add_everyone(state: RuleState, end: End) -> None:
    """An end that concerns every key, or every one but its own. Of too many those go that come right after one like
    them; if none does, the second.
    """
    ends = state.everyone
    if not ends or end.order >= ends[-1].order:
        ends.append(end)
    else:
        insort(ends, end, key=lambda e: e.order)
    if len(ends) <= ENDS_KEPT:
        return
    facts = sorted(fact.order for _, key in state.all_keys() for fact in key.facts)
    kept = ends[:1]
    for each in ends[1:-1]:
        last = kept[-1]
        alike = (each.takes, each.own, each.before_start) == (last.takes, last.own, last.before_start)
        alike = alike and each.asks == last.asks
        if not alike or bisect(facts, each.order) != bisect(facts, last.order):
            kept.append(each)
    kept.append(ends[-1])
    if len(kept) > ENDS_KEPT - ROOM:
        gone = kept[1 : len(kept) - ENDS_KEPT + ROOM + 1]
        state.forgot = max(state.forgot, gone[-1].occurred_at)
        kept = [*kept[:1], *kept[len(gone) + 1 :]]
    state.everyone = kept


# What goes.


def sweep(rule: Compiled, state: RuleState, max_age: int, now: int) -> list[str]:
    """What can decide nothing any more goes. Returns the keys that are only known by a mark from now on."""
    horizon = now - max_age
    if state.pages:
        state._open(*[page for page in state.pages if not page.idle and page.last < horizon])
    if state.everyone and any(end.occurred_at < horizon for end in state.everyone):
        state.open_all()
        _forget_everyone(state, horizon)
    gone: list[str] = []
    idle: list[str] = []
    for name, key in list(state.keys.items()):
        if key.due is not None and not key.ends and not key.fired:
            continue  # it waits, and that is all of it
        if waits.forget(rule, key, state.ends(name), horizon, now):
            del state.keys[name]
            if rule.recurrence.over(key) and (over := rule.recurrence.mark(name)) is not None:
                gone.append(over)
        elif (
            not (key.facts or key.ends or key.fired or key.credits or key.decided is not None)
            and key.closed[0] < horizon
            and (key.barred is None or key.barred <= horizon)
        ):
            idle.append(name)
    if gone:
        mark(state, map(marks.hashed, gone), now)
    if len(idle) >= ON_A_PAGE:
        idle.sort(key=lambda name: (state.keys[name].closed, name))
        for at in range(0, len(idle) - ON_A_PAGE + 1, ON_A_PAGE):
            state.shut(idle[at : at + ON_A_PAGE], idle=True)
        resting = [page for page in state.pages if page.idle]
        while sum(page.size for page in resting) > IDLE_KEPT:
            page = resting.pop(0)
            state.pages.remove(page)
            mark(state, marks.split(page.hashes), now)
    make_room(state, now)
    return gone


def _forget_everyone(state: RuleState, horizon: int) -> None:
    """Ends older than `horizon` go, unless an open wait may still need them; what they did to lines stays."""
    first = min((key.facts[0].occurred_at for key in state.keys.values() if key.facts), default=horizon)
    old = [end for end in state.everyone if end.occurred_at < min(first, horizon)]
    if not old:
        return
    kept = [end for end in state.everyone if end.occurred_at >= min(first, horizon)]
    earliest = next((end for end in state.everyone if end.before_start), None)
    if earliest is not None and earliest not in kept:
        kept.insert(0, earliest)
    for name, key in state.keys.items():
        for end in old:
            if key.lines and end.order > key.closed and end.concerns(name):
                key.lines = end.leaves(key.lines)
    state.everyone = kept


def make_room(state: RuleState, now: int) -> None:
    """Few keys stay at hand: those that are due next. Of too many, those go in which nothing waits and nothing may be
    taken back, from what was heard of last longest ago.
    """
    if len(state.keys) <= AT_HAND:
        return
    over = 0
    if state.at_most > KEYS_KEPT:
        over = sum(key.due is None for key in state.keys.values()) + sum(page.size - page.open for page in state.pages)
    while over > KEYS_KEPT:
        quiet = [page for page in state.pages if not page.open and not page.triggers]
        if not quiet:
            _drop_some(state, over - KEYS_KEPT + ROOM, now)
            break
        oldest = min(quiet, key=lambda page: page.last)
        state.pages.remove(oldest)
        state.forgot = max(state.forgot, oldest.last)
        if oldest.missed:
            mark(state, marks.split(oldest.hashes), now)
        over -= oldest.size
    while len(state.keys) > AT_HAND:
        state.shut(sorted(state.keys, key=lambda name: -(state.keys[name].due or FAR))[:ON_A_PAGE])


def _drop_some(state: RuleState, over: int, now: int) -> None:
    state.open_all()
    quiet = [(last_seen(key), name) for name, key in state.keys.items() if key.due is None and not key.fired]
    for at, name in sorted(quiet)[:over]:
        if _missed(state.keys.pop(name)):
            mark(state, [marks.hashed(name)], now)
        state.forgot = max(state.forgot, at)


def _missed(key: Key) -> bool:
    """Whether it matters longer than for what is told late that a key was there."""
    return bool(key.lines) or key.decided is not None or key.barred is not None


def last_seen(key: Key) -> int:
    """When the last of what is kept of it occurred."""
    return max(
        (key.facts[-1].occurred_at if key.facts else -1), (key.ends[-1].occurred_at if key.ends else -1), key.closed[0]
    )
