"""One profile: what is remembered of an identity, and the folds of the person (or, before a tie takes effect, persons)
behind it.

What commutes is counted at once; what rules look at waits in `buffer` until the watermark has passed it, and is folded
in order of receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter

import msgspec

from pipeline.identity.ids import own_id
from pipeline.profile import about as profile_about
from pipeline.profile import packed, repeats, shares
from pipeline.profile.about import About
from pipeline.profile.marks import Mark, decode_mark, is_mark
from pipeline.profile.packed import (
    PackedRow,
    count,
    count_asked,
    pack_row,
    packer,
    plain_count,
    unpack_ids,
    unpack_row,
)
from pipeline.profile.parts.timeline import MARK
from pipeline.profile.repeats import Repeats
from pipeline.triggers import devices, early
from pipeline.triggers.changes import Output
from pipeline.triggers.deciding import decide
from pipeline.triggers.decisions import Decision
from pipeline.triggers.early import Early
from pipeline.triggers.fold import learn
from pipeline.triggers.person import Person, counts_for, refresh, unite, user_of, waiting, whole, whose
from pipeline.triggers.rules import ORDERS, RuleBook
from pipeline.wire.records import decode_rows
from pipeline.wire.row import Row, array_head

UNKNOWN = -1
ALWAYS, NEVER = 0, 1 << 62  # `quiet`
LOGGED_KEPT = 8


class ProfileValue(msgspec.Struct, gc=False, eq=False):
    """What is known under one profile id: all that is stored, sent, merged, and compared.

    It is kept packed (profile/about.py tells why) and comes out as copies. `packed_rows`: the buffer, `waiting` rows
    one after the other as they came, but for those `fresh` ones that came since it was packed. `repeats`: logins beside
    those that the fold hasn't come to, by packed identifiers (repeats.py), or None. `packed_shares`: of a household,
    instead of `packed_about`, which is empty then (shares.py). `packed_early`: what was told on arrival and the fold
    hasn't come to (early.py).
    """

    packed_about: bytes
    packed_persons: bytes
    packed_rows: bytes = b""
    waiting: int = 0
    fresh: list[bytes] | None = None
    packed_shares: bytes = b""
    repeats: Repeats | None = None
    packed_early: bytes = b""

    @property
    def about(self) -> About:
        """What people and conditions read; of a household, all of it."""
        if self.packed_shares:
            return shares.merged(list(shares.unpack(self.packed_shares).values()))
        return profile_about.unpack(self.packed_about)

    @property
    def persons(self) -> list[Person]:
        """Who it is, as far as the fold has come."""
        return [whole(person) for person in _persons(self)]

    @property
    def buffer(self) -> list[Row]:
        """What rules have yet to look at, by order of knowledge."""
        if not self.waiting:
            return []
        rows = decode_rows(array_head(self.waiting) + _rows(self))
        if len(rows) > 1:
            rows.sort(key=_order)
        return rows

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProfileValue):
            return NotImplemented
        return (self.about, self.persons, self.buffer, self.packed_early) == (
            other.about,
            other.persons,
            other.buffer,
            other.packed_early,
        )


class WorkedOut(ProfileValue, gc=False, eq=False):
    """What was worked out of a value, so that of most events nothing has to be unpacked. It is no more than what
    `decode` makes of the stored bytes, or later somebody who asks: it may be forgotten at any time.

    Of the persons, as the fold left them:
    `due`: the earliest moment at which a wait of one of them is decided, or None. `soonest`, `moved`, `fired`: what
    `_outlook` says of them; UNKNOWN, -1, -1: nobody has looked.

    Of the buffer:
    `wakes`: what it adds to `due` (`wakes_at`), and `first`: when the first of it was received; UNKNOWN, and anything:
    nobody has looked. `tying`: what waits may tie persons; None: nobody has looked.

    Of both, by packed identifiers:
    `one`: some that were found to be one person's before, and so still are; None: none were. `quiet`: before that
    (event time) an event with them is no login that the fold must see. `logged`: when those were that it will see.
    `user`: a user id under which somebody is known; None: nobody is, as far as was looked.
    """

    due: int | None = None
    soonest: int | None = None
    moved: int = -1
    fired: int = -1
    wakes: int | None = None
    first: int = 0
    tying: bool | None = False
    one: bytes | None = None
    quiet: int = ALWAYS
    logged: dict[bytes, int] | None = None
    user: str | None = None


class Profile(WorkedOut, gc=False, eq=False):
    """A profile in its owner's hands, who wakes it, and tells what it decides on arrival.

    `timer`: at that moment or before it one is set (timers.py), or None: none is. `arrived`: something may have come
    that is to be told before the fold comes to it (arrivals.py).
    """

    timer: int | None = None
    arrived: bool = False


if packed.COMPILED is not None:
    packed.COMPILED.bind(Profile, repeats.pack)


State = Profile | Mark  # what stands under a profile's id


class _Names(msgspec.Struct, array_like=True, gc=False):
    """The first field of a `Person`."""

    ids: dict[str, list[str]]


class _Due(msgspec.Struct, array_like=True, gc=False):
    """The first fields of a `Person`."""

    ids: msgspec.Raw
    rules: msgspec.Raw = msgspec.Raw()
    films: msgspec.Raw = msgspec.Raw()
    sessions: msgspec.Raw = msgspec.Raw()
    due: int | None = None


_encode = msgspec.msgpack.Encoder().encode
_pack = packer(list[Person])
_decode_dues = msgspec.msgpack.Decoder(list[_Due]).decode
_decode_persons = msgspec.msgpack.Decoder(list[Person]).decode
_decode_names = msgspec.msgpack.Decoder(list[_Names]).decode
_decode_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_NOBODY = _encode([])
_THREE, _FOUR, _FIVE = b"\x93", b"\x94", b"\x95"  # an array of so many
_NO_SHARES = _encode({})


def _persons(profile: ProfileValue) -> list[Person]:
    """As they are kept, most of those who have much packed."""
    return _decode_persons(profile.packed_persons)


def _rows(profile: ProfileValue) -> bytes:
    """The packed rows, all of them."""
    if profile.fresh is not None:
        profile.packed_rows = b"".join((profile.packed_rows, *profile.fresh))
        profile.fresh = None
    return profile.packed_rows


def _keep(profile: Profile, rows: list[Row]) -> None:
    """These are the buffer from now on."""
    profile.fresh = None
    profile.packed_rows = b"".join(map(_encode, rows)) if rows else b""
    profile.waiting = len(rows)
    profile.wakes = UNKNOWN if rows else None
    profile.tying = None


def encode_profile(state: State) -> bytes:
    """What is stored."""
    if not isinstance(state, Profile):
        return _encode(state)
    if packed.COMPILED is not None:
        return packed.COMPILED.encode(state)  # type: ignore[no-any-return]
    rows = state.packed_rows if state.fresh is None else _rows(state)
    waiting = state.waiting
    if state.repeats is not None:
        rows, waiting = repeats.pack(state.repeats) + rows, waiting + len(state.repeats)
    head, shared = _FOUR if state.packed_shares else _THREE, state.packed_shares
    if state.packed_early:
        head, shared = _FIVE, (shared or _NO_SHARES) + state.packed_early
    return b"".join((head, state.packed_about, state.packed_persons, array_head(waiting), rows, shared))


def decode(raw: bytes) -> State:
    """What `encode_profile` made of it. Raises ValueError, msgspec.MsgspecError for what is neither."""
    if len(raw) < 2:
        raise ValueError(f"not a profile: {raw!r}")
    if is_mark(raw):
        mark: Mark = decode_mark(raw)
        return mark
    about, persons, rows, *more = map(bytes, _decode_parts(raw))
    profile = Profile(about, persons)
    if more and more[0] != _NO_SHARES:
        profile.packed_shares = more[0]
    if len(more) > 1:
        profile.packed_early = more[1]
    if persons != _NOBODY:
        profile.due, profile.soonest = _due(_decode_dues(persons)), UNKNOWN
    if rows != _NOBODY:
        short = rows[0] < 0xDC
        head = 1 if short else 3 if rows[0] == 0xDC else 5
        profile.waiting = rows[0] & 15 if short else int.from_bytes(rows[1:head], "big")
        if rows[head:].startswith(repeats.STORED):
            profile.repeats, others = repeats.unpack(_decode_parts(rows))
            profile.waiting, rows, head = len(others), b"".join(others), 0
        if profile.waiting:
            profile.packed_rows, profile.wakes, profile.tying = rows[head:], UNKNOWN, None
    return profile


def new_profile() -> Profile:
    """Nobody yet."""
    return Profile(profile_about.EMPTY, _NOBODY)


def profile_of(about: About, persons: list[Person], rows: list[Row]) -> Profile:
    """A profile from its parts."""
    profile = Profile(profile_about.pack(about), _pack(persons), due=_due(persons), soonest=UNKNOWN)
    _keep(profile, rows)
    return profile


def receive(book: RuleBook, profile: Profile, row: Row) -> bool:
    """The same as `receive_packed`, of a row that was made here."""
    return receive_packed(book, profile, pack_row(row))


def receive_packed(book: RuleBook, profile: Profile, row: PackedRow) -> bool:
    """Take one event in; False if it is a duplicate that a client made.

    Of two copies the one received first counts for the rules, whichever was read first.
    """
    if profile.packed_shares:
        return _receive_shared(book, profile, row)
    counted = count(profile.packed_about, row, book.profile_parts)
    if counted is profile.packed_about:
        _earlier_counts(profile, row)
        return False
    _took(book, profile, row, counted)
    return True


def receive_all(
    book: RuleBook,
    rows: list[PackedRow],
    profiles: Mapping[str, State | None],
    changed: dict[str, State],
    elsewhere: Callable[[PackedRow], Profile | None],
) -> int:
    """`receive_packed` for each row and the profile of its root, which is then among the `changed`. `elsewhere` is
    called for rows without, and where that is a household's: it takes the row in, or returns a new profile that is to.
    Returns how many were duplicates.
    """
    if packed.COMPILED is not None:
        asked = book.profile_parts
        return packed.COMPILED.receive(  # type: ignore[no-any-return]
            rows, profiles, changed, book.concerned, book.plain, partial(plain_count, asked=asked),
            partial(count_asked, asked=asked) if asked else None, partial(_took, book), _earlier_counts, elsewhere,
        )  # fmt: skip
    duplicates = 0
    for row in rows:
        state = profiles.get(row.root)
        profile = state if isinstance(state, Profile) and not state.packed_shares else elsewhere(row)
        if profile is not None:
            duplicates += not receive_packed(book, profile, row)
            changed[row.root] = profile
    return duplicates


def settle(
    book: RuleBook,
    changed: dict[str, State],
    clock: int,
    unfolded: int,
    look: Callable[[str, Profile], None],
) -> tuple[dict[str, bytes | None], dict[str, int]]:
    """What is to be written of profiles that changed, encoded; and when they wake, of those that have no timer by then.

    `look` is called for those that wake before `clock`, and where more events wait than `unfolded`: it advances them.
    In one pass: each of them is cold in the CPU's caches when its turn comes, and is touched once.
    """
    states: dict[str, bytes | None] = {}
    timers: dict[str, int] = {}
    if packed.COMPILED is not None:
        packed.COMPILED.settle(changed, clock, unfolded, partial(wakes_at, book), look, encode_profile, states, timers)
        return states, timers
    for profile_id, state in changed.items():
        if isinstance(state, Profile):
            at = wakes_at(book, state)
            waits = state.waiting > unfolded and state.first < clock
            if (at is not None and at < clock) or waits or repeats.many(state.repeats, clock):
                look(profile_id, state)
                at = wakes_at(book, state)
            if at is not None and (state.timer is None or at < state.timer):
                timers[profile_id] = state.timer = at
        states[profile_id] = encode_profile(state)
    return states, timers


def _took(book: RuleBook, profile: Profile, row: PackedRow, counted: bytes) -> None:
    """What is left to do of an event that was counted."""
    before, profile.packed_about = profile.packed_about, counted
    ids, several = row.ids, row.several
    kind, occurred_at = row.type, row.occurred_at
    ties = logs_in = False
    if several and (ids != profile.one or occurred_at >= profile.quiet):
        last = None if profile.logged is None else profile.logged.get(ids)
        if last is None or abs(occurred_at - last) >= repeats.WITHIN:
            names = unpack_ids(ids)
            persons = _decode_names(profile.packed_persons)
            ties = not _one(persons, names)
            logs_in = not ties and _logs_in(book, names)
            if logs_in and len(persons) == 1 and not _tying(profile, persons):  # else they may share a device
                profile.one = None
                if profile.logged is None or len(profile.logged) == LOGGED_KEPT:
                    profile.logged = {}
                profile.logged[ids] = occurred_at
    if ties:
        profile.one = profile.logged = None
        profile.tying = True
        user = user_of(book, names)
        if user is not None and user != profile.user and not profile.packed_shares:
            if _users(book, persons, profile.buffer) - {user}:  # it is a household from now on
                profile.packed_about = before
                of = _shares(book, profile, persons, profile.buffer)
                profile.packed_shares = shares.pack(
                    {**of, user: count(of.get(user, profile_about.EMPTY), row, book.profile_parts)}
                )
                profile.packed_about = profile_about.EMPTY
            profile.user = user
    looked_at = kind in book.concerned and (kind not in book.choosy or book.chosen(kind, unpack_row(row).data))
    watches = book.watches
    begins = watches is not None and watches.first and _begins(profile, unpack_ids(ids), row.received_at)
    looked_at = looked_at or begins
    if ties or logs_in or looked_at:
        if kind in book.arriving and not profile.arrived:
            profile.arrived = book.arrives(kind, unpack_row(row).data)
        if profile.fresh is None:
            profile.fresh = [row.kept]
        else:
            profile.fresh.append(row.kept)
        wakes = profile.wakes
        if wakes != UNKNOWN:
            received_at = row.received_at
            if not profile.waiting or received_at < profile.first:
                profile.first = received_at
            removes = kind in book.listing and "products" in unpack_row(row).data
            at = _wakes(book, profile, kind, row.occurred_at, received_at, ties, removes)
            if begins or (ties and watches is not None):
                at = received_at
            if at is not None and (wakes is None or at < wakes):
                profile.wakes = at
        profile.waiting += 1
        return
    if several and profile.logged is not None and ids in profile.logged:
        if profile.repeats is None:
            profile.repeats = {}
        repeats.note(profile.repeats, ids, occurred_at, row.received_at)
    if ids != profile.one:
        if not several:
            namespace, value = unpack_ids(ids)
            if profile.packed_persons == _NOBODY:
                profile.packed_persons = _encode([_Names({namespace: [value]})])  # a person's, but for what isn't known
            elif not _one(_decode_names(profile.packed_persons), [namespace, value]):
                profile.packed_persons = _pack([*_persons(profile), Person({namespace: [value]})])
        profile.one = ids
        profile.quiet = NEVER
        if profile.logged is not None and ids in profile.logged:
            profile.quiet = profile.logged[ids] + repeats.WITHIN


def _begins(profile: Profile, ids: list[str], received_at: int) -> bool:
    """Whether it may be somebody's first event, as far as the fold has come."""
    for person in _persons(profile):
        if person.has(ids[0], ids[1]) and person.first is not None:
            return received_at < person.first.received_at
    return True


def _receive_shared(book: RuleBook, profile: Profile, row: PackedRow) -> bool:
    """`receive_packed` in a household: counted for one of them."""
    of = shares.unpack(profile.packed_shares)
    if any(profile_about.knows(share, row.fingerprint) for share in of.values()):
        _earlier_counts(profile, row)
        return False
    ids = unpack_ids(row.ids)
    rows = [*profile.buffer, *repeats.rows(repeats.before(profile.repeats, NEVER)[0])]
    name = counts_for(book, _persons(profile), rows, ids, row.occurred_at)
    of[name] = count(of.get(name, profile_about.EMPTY), row, book.profile_parts)
    _took(book, profile, row, profile.packed_about)
    profile.packed_shares = shares.pack(of)
    return True


def _users(book: RuleBook, persons: list[_Names] | list[Person], rows: list[Row]) -> set[str]:
    """Under what user ids these are known."""
    users = {user for row in rows if (user := user_of(book, row.ids)) is not None}
    for person in persons:
        for ns in book.unique:
            if values := person.ids.get(ns):
                users.add(devices.name(ns, values[0]))
                break
    return users


def _name(book: RuleBook, persons: list[_Names] | list[Person], rows: list[Row]) -> str:
    """Under what name all that was counted of these stands in a household."""
    if users := _users(book, persons, rows):
        return min(users)
    names = [devices.name(ns, value) for person in persons for ns, values in person.ids.items() for value in values]
    names += [devices.name(*row.ids[i : i + 2]) for row in rows for i in range(0, len(row.ids), 2)]
    return min(names, default="")


def _tying(profile: Profile, persons: list[_Names] | list[Person]) -> bool:
    if profile.tying is None:
        profile.tying = any(len(row.ids) > 2 and not _one(persons, row.ids) for row in profile.buffer)
    return profile.tying


def _logs_in(book: RuleBook, names: list[str]) -> bool:
    return user_of(book, names) is not None and any(names[i] in book.devices for i in range(0, len(names), 2))


def _earlier_counts(profile: Profile, row: PackedRow) -> None:
    """Another copy of an event that is known: where the rules haven't looked, the one received first stands in."""
    rows = profile.buffer
    for i, other in enumerate(rows):
        if other.fingerprint == row.fingerprint:
            if (copy := unpack_row(row)).order < other.order:
                copy.root, copy.offset = "", 0
                rows[i] = copy
                _keep(profile, rows)
            return


_order = attrgetter("received_at", "occurred_at", "event_id", "fingerprint")  # row.order, a call less


def _one(persons: list[_Names] | list[Person], ids: list[str]) -> bool:
    """Whether all identifiers are known to be one person's already."""
    for person in persons:
        names = person.ids
        if ids[1] in names.get(ids[0], ()):
            return len(ids) == 2 or all(ids[i + 1] in names.get(ids[i], ()) for i in range(2, len(ids), 2))
    return False


def wakes_at(book: RuleBook, profile: Profile) -> int | None:
    """No decision comes of this profile before that moment, as it stands: until then nobody need look at it.

    The fold might go on earlier. But no wait is due sooner than it would be if nothing had moved it since
    it was opened; what ends waits makes none due sooner unless it occurred before something that moved them; and it
    says something at once only where it may take a trigger back. So events may as well be folded when something is due,
    or when the profile is written anyway.
    """
    due, wakes = profile.due, profile.wakes
    if wakes == UNKNOWN:
        rows = profile.buffer
        profile.first = rows[0].received_at
        moments = []
        for row in rows:  # as when it came: for what a profile tells now, a timer was set then
            ties = len(row.ids) > 2 and not _one(_decode_names(profile.packed_persons), row.ids)
            removes = row.type in book.listing and "products" in row.data
            moments.append(_wakes(book, profile, row.type, row.occurred_at, row.received_at, ties, removes))
            if (watches := book.watches) is not None and (
                ties or (watches.first and _begins(profile, row.ids, row.received_at))
            ):
                moments.append(row.received_at)
        wakes = profile.wakes = min((at for at in moments if at is not None), default=None)
    if due is None or wakes is None:
        return wakes if due is None else due
    return due if due < wakes else wakes


def _wakes(
    book: RuleBook, profile: Profile, kind: str, occurred_at: int, received_at: int, ties: bool, removes: bool
) -> int | None:
    """Before this, no decision comes of an event that waits. `ties`: it may tie persons. `removes`: it may take
    something out of a cart, though others of its type don't.
    """
    wait = book.opening.get(kind)
    at = None if wait is None else occurred_at + wait
    closes = removes or kind in book.closing
    if ties or closes:
        if kind in ORDERS:
            occurred_at = 0  # it may have been told before, and counts from then
        if profile.soonest == UNKNOWN:
            profile.soonest, profile.moved, profile.fired = _outlook(book, _persons(profile))
        if closes and occurred_at <= profile.fired:
            return received_at
        soonest = profile.soonest
        if soonest is not None and (at is None or soonest < at) and (ties or occurred_at <= profile.moved):
            at = soonest
    return at if at is None or at > received_at else received_at


def _outlook(book: RuleBook, persons: list[Person], *, asked: bool = True) -> tuple[int | None, int, int]:
    """Before the first of these no wait can be due, however ends and ties rearrange what is known; None: there is none.
    What occurred after the second rearranges nothing, unless it ties. What occurred after the third takes no trigger
    back. (-1: there is nothing to rearrange, or take back.) Where much is known it is only worked out when it is
    `asked` for: UNKNOWN.
    """
    soonest = None
    moved = last_fired = -1
    for person in persons:
        for name, state in person.rules.items():
            if not state.keys and not state.pages:
                continue
            if state.pages and not asked:
                return UNKNOWN, -1, -1
            rule = book.rules.get(name)
            wait = rule.soonest if rule else 0
            for key in state.keys.values():
                for fired in key.fired:
                    if fired.due > last_fired:
                        last_fired = fired.due
                for fired in key.credits:
                    last_fired = max(last_fired, fired.until)
                if facts := key.facts:
                    due = facts[0].occurred_at + wait
                    if soonest is None or due < soonest:
                        soonest = due
                    if facts[-1].occurred_at > moved:
                        moved = facts[-1].occurred_at
                    if rule is not None and rule.moves_about:
                        moved = NEVER
                if key.open is not None:  # what ends that is decided soon, whenever it occurred
                    last_fired = NEVER
                    soonest = key.closed[0] if soonest is None else min(soonest, key.closed[0])
            for page in state.pages:
                last_fired, moved = max(last_fired, page.fired), max(moved, page.moved)
                if page.first is not None:
                    moved = moved if rule is None or not rule.moves_about else NEVER
                    due = page.first + wait
                    soonest = due if soonest is None else min(soonest, due)
    return soonest, moved, last_fired


def _due(persons: list[Person] | list[_Due]) -> int | None:
    first = None
    for person in persons:
        due = person.due
        if due is not None and (first is None or due < first):
            first = due
    return first


def _decide(
    book: RuleBook,
    persons: list[Person],
    clock: int,
    until: int,
    out: list[Output],
    quiet: Callable[[Decision], bool] | None,
    told: Early | None,
) -> None:
    """Decide what is due before `until`: at `clock`, which the fold has reached, what is due by then, and the rest each
    when it is due.
    """
    while (due := _due(persons)) is not None and due < until:
        clock = max(clock, due)
        if len(persons) == 1:  # nearly always
            decide(book, persons, persons[0], clock, out, quiet, told)
            continue
        ripe = [person for person in persons if person.due is not None and person.due <= clock]
        if len(ripe) > 1:  # in one order, whoever was met first
            ripe.sort(key=lambda person: sorted(person.ids.items()))
        for person in ripe:
            decide(book, persons, person, clock, out, quiet, told)


def advance(
    book: RuleBook,
    profile: Profile,
    upto: int,
    quiet: Callable[[Decision], bool] | None = None,
    told: Early | None = None,
) -> list[Output]:
    """Fold everything received before `upto` and decide everything due before it, in one order.

    `quiet`: whether a trigger will not be published. `told`: on arrival, instead of what the profile knows.
    """
    if profile.packed_early and told is None:
        told = Early(early.unpack(profile.packed_early))
    out: list[Output] = []
    buffer, persons = profile.buffer, _persons(profile)
    clock, done = -1, 0
    one = persons[0] if len(persons) == 1 else None  # nearly always
    rows, logins = buffer, None
    if profile.repeats is not None:
        noted, profile.repeats = repeats.before(profile.repeats, upto)
        if one is not None and not _tying(profile, persons):
            logins = _logins(book, one, noted)
        else:
            rows = sorted([*buffer, *repeats.rows(noted)], key=_order)
    for row in rows:
        received_at = row.received_at
        if received_at >= upto:
            break
        if received_at > clock:  # what is received exactly at D + lateness still counts
            due = _due(persons) if one is None else one.due
            if due is not None and due < received_at:
                _decide(book, persons, clock, received_at, out, quiet, told)
            clock = received_at
        ids = row.ids
        if logins is not None:
            logins(received_at, row.occurred_at)
        elif not row.type:
            whose(book, persons, row)
            continue
        if one is not None and len(ids) == 2 and ids[1] in one.ids.get(ids[0], ()):
            learn(book, one, row, out)
        else:
            learn(book, whose(book, persons, row), row, out)
            one = persons[0] if len(persons) == 1 else None
        done += 1
    if logins is not None:
        logins(upto, 0)
    _decide(book, persons, clock, upto, out, quiet, told)
    if profile.packed_early and told is not None:
        profile.packed_early = early.pack(told.left(upto))
    due = _due(persons)
    if out and len(persons) > 1 and sum(any(p.ids.get(ns) for ns in book.unique) for p in persons) > 1:
        for decision in out:  # each of a household under an id of their own
            decision.profile_id = decision.profile_id or own_id(decision.identifiers)
    profile.packed_persons, profile.due = _pack(persons), due
    profile.soonest, profile.moved, profile.fired = _outlook(book, persons, asked=False)
    if len(persons) > 1:
        profile.one = profile.logged = None
    if done:
        left = buffer[done:]
        _keep(profile, left)
        profile.tying = bool(left) and any(
            len(row.ids) > 2 and not any(person.holds(row.ids) for person in persons) for row in left
        )
    elif buffer:
        profile.wakes = UNKNOWN  # it depends on who the persons are, too
    return out


def stand_still(profile: Profile) -> None:
    """From now on time alone changes no condition."""
    persons = _persons(profile)
    for person in persons:
        for turn in person.turned.values():
            turn.next = None
        refresh(person)
    profile.packed_persons, profile.due = _pack(persons), _due(persons)


def _logins(book: RuleBook, person: Person, noted: list[repeats.Entry]) -> Callable[[int, int], None]:
    """What notes those of one person, who is alone, that stand before a (received_at, occurred_at)."""
    known: dict[bytes, tuple[str, list[str]]] = {}
    for _, _, packed_ids in noted:
        if packed_ids not in known:
            ids = unpack_ids(packed_ids)
            pairs = [(ids[i], ids[i + 1]) for i in range(2, len(ids), 2)]
            on = [devices.name(*pair) for pair in pairs if pair[0] in book.devices]
            known[packed_ids] = (user_of(book, ids) or "", on)
    left = noted[::-1]

    def note(received_at: int, occurred_at: int) -> None:
        while left and left[-1][:2] <= (received_at, occurred_at):
            received, occurred, packed_ids = left.pop()
            user, on = known[packed_ids]
            for device in on:
                login = devices.Login(occurred, received - occurred, user)
                devices.note(person.logins, person.logins_aside, device, login, book.max_age)

    return note


def merge(book: RuleBook, winner: Profile, loser: Profile) -> Profile:
    """Both in one place. Their persons stay two until a tie's moment comes in the fold."""
    mine, theirs = _persons(winner), _persons(loser)
    a, b = winner.buffer, loser.buffer
    rows = {row.fingerprint: row for row in sorted([*a, *b], key=_order, reverse=True)}
    of: dict[str, bytes] = {}
    users = _users(book, mine, a) | _users(book, theirs, b)
    if winner.packed_shares or loser.packed_shares or len(users) > 1:
        of = _shares(book, winner, mine, a)
        known = {mark for share in of.values() for mark in profile_about.marks(profile_about.unpack(share))}
        lost = _shares(book, loser, theirs, b)
        for name, packed_share in lost.items():
            about = profile_about.unpack(packed_share)
            for mark in profile_about.marks(about) & known:
                _counted_twice(about, rows, mark, winner, loser, about)
            lost[name] = profile_about.pack(about)
        of = shares.joined(of, lost)
        about = profile_about.unpack(profile_about.EMPTY)
    else:
        about_winner, about_loser = winner.about, loser.about
        about = profile_about.merge(about_winner, about_loser)
        for mark in profile_about.shared_marks(about_winner, about_loser):
            _counted_twice(about, rows, mark, winner, loser, about_loser)
    for person in theirs:
        unite(book, mine, person)
    merged = profile_of(about, mine, sorted(rows.values(), key=_order))
    merged.packed_shares = shares.pack(of)
    merged.repeats = repeats.joined(winner.repeats, loser.repeats)
    merged.user = next(iter(users), None)
    merged.packed_early = early.joined(winner.packed_early, loser.packed_early)
    return merged


def _shares(
    book: RuleBook, profile: Profile, persons: list[_Names] | list[Person], rows: list[Row]
) -> dict[str, bytes]:
    """As in a household, also where it is none."""
    if profile.packed_shares:
        return shares.unpack(profile.packed_shares)
    if profile.packed_about == profile_about.EMPTY:
        return {}
    return {_name(book, persons, rows): profile.packed_about}


def waits_of(book: RuleBook, profile: Profile) -> dict[str, int]:
    """How many waits count in it, by rule (triggers/balance.py)."""
    return waiting(book, *_persons(profile))


def one_of(profile_id: str, profile: Profile, namespace: str, value: str) -> tuple[str, Profile]:
    """Of a household only the person who is known by that identifier, as far as the fold has come, under their id."""
    if not profile.packed_shares:
        return profile_id, profile
    known = (each for each in _persons(profile) if each.has(namespace, value))
    person = next(known, None) or Person({namespace: [value]})
    rows = [
        row for row in profile.buffer if any(person.has(row.ids[i], row.ids[i + 1]) for i in range(0, len(row.ids), 2))
    ]
    about = shares.of(shares.unpack(profile.packed_shares), person)
    return own_id(person.ids), profile_of(about, [person], rows)


def _counted_twice(
    about: About, rows: dict[int, Row], mark: int, winner: Profile, loser: Profile, about_loser: About
) -> None:
    """A client's duplicate came while the profile was moving: one copy here, one there."""
    copies = [next((r for r in p.buffer if r.fingerprint & MARK == mark), None) for p in (winner, loser)]
    row = copies[0] or copies[1]
    if row is not None:
        profile_about.discount(about, row.type, row.occurred_at, row.data)
        if None in copies:
            rows.pop(row.fingerprint, None)  # the other copy has been folded already
    elif told := profile_about.of_mark(winner.about, mark) or profile_about.of_mark(about_loser, mark):
        profile_about.discount(about, *told)


def silent_since(profile: Profile) -> int:
    """When it was last heard of (UTC ms): a profile expires after a silence."""
    return profile.about.last_seen
