"""One profile: what is remembered of an identity, and the folds of the person (or, before a tie takes effect, persons)
behind it.

What commutes is counted at once; what rules look at waits in `buffer` until the watermark has passed it, and is folded
in order of receipt.
"""

from __future__ import annotations

from bisect import insort

import msgspec

from pipeline.profile import about as profile_about
from pipeline.profile.about import About
from pipeline.triggers.decisions import Decision
from pipeline.triggers.fold import Person, Row, decide, learn, person_of, unite
from pipeline.triggers.rules import RuleBook

UNKNOWN = -1


class Profile(msgspec.Struct, gc=False, eq=False):
    """What is known under one profile id. `buffer` is sorted by order of knowledge.

    `about` and `persons` are kept packed (profile/about.py tells why) and come out as copies. `due`: the earliest
    moment at which a wait of one of the persons is decided, or None. `packed_buffer`: None where it has changed since
    it was packed. `soonest`: what `_soonest` says of the persons, or UNKNOWN. `one`: identifiers that were found to be
    one person's before, and so still are.
    """

    packed_about: bytes
    packed_persons: bytes
    buffer: list[Row]
    due: int | None
    packed_buffer: bytes | None = None
    soonest: int | None = UNKNOWN
    one: list[str] | None = None

    @property
    def about(self) -> About:
        """What people and conditions read."""
        return profile_about.unpack(self.packed_about)

    @property
    def persons(self) -> list[Person]:
        """Who it is, as far as the fold has come."""
        return _decode_persons(self.packed_persons)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Profile):
            return NotImplemented
        return (self.about, self.persons, self.buffer) == (other.about, other.persons, other.buffer)


class Moved(msgspec.Struct, array_like=True, gc=False, tag="moved"):
    """What is left of a profile that merged into another. `at`: when, by the watermark (UTC ms)."""

    winner: str
    at: int


class _Names(msgspec.Struct, array_like=True, gc=False):
    """The first field of a `Person`."""

    ids: dict[str, list[str]]


_encode = msgspec.msgpack.Encoder().encode
_decode_persons = msgspec.msgpack.Decoder(list[Person]).decode
_decode_names = msgspec.msgpack.Decoder(list[_Names]).decode
_decode_parts = msgspec.msgpack.Decoder(tuple[msgspec.Raw, msgspec.Raw, list[Row]]).decode
_decode_moved = msgspec.msgpack.Decoder(Moved).decode
_MOVED = _encode("moved")
_NOBODY = _encode([])
_THREE = b"\x93"  # an array of three


def encode_profile(state: Profile | Moved) -> bytes:
    """What is stored."""
    if isinstance(state, Moved):
        return _encode(state)
    buffer = state.packed_buffer
    if buffer is None:
        buffer = state.packed_buffer = _encode(state.buffer)
    return b"".join((_THREE, state.packed_about, state.packed_persons, buffer))


def decode(raw: bytes) -> Profile | Moved:
    """What `encode_profile` made of either."""
    if raw[1:7] == _MOVED:
        return _decode_moved(raw)
    about, persons, buffer = _decode_parts(raw)
    return Profile(bytes(about), bytes(persons), buffer, _due(_decode_persons(persons)))


def new_profile() -> Profile:
    """Nobody yet."""
    return Profile(profile_about.EMPTY, _NOBODY, [], None, _NOBODY, None)


def profile_of(about: About, persons: list[Person], buffer: list[Row]) -> Profile:
    """A profile from its parts."""
    return Profile(profile_about.pack(about), _encode(persons), buffer, _due(persons))


def receive(book: RuleBook, profile: Profile, row: Row) -> bool:
    """Take one event in; False if it is a duplicate that a client made.

    Of two copies the one received first counts for the rules, whichever was read first.
    """
    packed = profile.packed_about
    fingerprint, kind = row.fingerprint, row.type
    counted = profile_about.count(packed, kind, row.occurred_at, row.received_at, fingerprint, row.data)
    if counted is packed:
        for i, other in enumerate(profile.buffer):
            if other.fingerprint == fingerprint and row.order < other.order:
                del profile.buffer[i]
                insort(profile.buffer, row, key=_order)
                profile.packed_buffer = None
                break
        return False
    profile.packed_about = counted
    ids = row.ids
    if kind in book.concerned or (len(ids) > 2 and ids != profile.one and not _one(profile.packed_persons, ids)):
        buffer = profile.buffer
        profile.packed_buffer = None
        if not buffer or row.order >= buffer[-1].order:
            buffer.append(row)
        else:
            insort(buffer, row, key=_order)
    elif ids != profile.one:
        if not _one(profile.packed_persons, ids):
            profile.packed_persons = _encode([*profile.persons, Person({ids[0]: [ids[1]]})])
        profile.one = ids
    return True


def _order(row: Row) -> tuple[int, int, str, int]:
    return row.order


def _one(packed_persons: bytes, ids: list[str]) -> bool:
    """Whether all identifiers are known to be one person's already."""
    for person in _decode_names(packed_persons):
        names = person.ids
        if ids[1] in names.get(ids[0], ()):
            return len(ids) == 2 or all(ids[i + 1] in names.get(ids[i], ()) for i in range(2, len(ids), 2))
    return False


def wakes_at(book: RuleBook, profile: Profile) -> int | None:
    """No decision comes of this profile before that moment, as it stands: until then nobody need look at it.

    The fold might go on earlier. But no wait is due sooner than it would be if nothing had moved it since
    it was opened; and what ends waits says something at once only where a trigger fired that it may take back. So
    events may as well be folded when something is due, or when the profile is written anyway.
    """
    first = profile.due
    for row in profile.buffer:
        wait = book.opening.get(row.type)
        at = None if wait is None else row.occurred_at + wait
        if row.type in book.closing or len(row.ids) > 2:  # more than one identifier may tie persons
            soonest = profile.soonest
            if soonest == UNKNOWN:
                soonest = profile.soonest = _soonest(book, profile.persons)
            if soonest is not None and (at is None or soonest < at):
                at = soonest
        if at is not None:
            at = max(at, row.received_at)
            if first is None or at < first:
                first = at
    return first


def _soonest(book: RuleBook, persons: list[Person]) -> int | None:
    """Before this no wait can be due, however ends and ties rearrange what is known; 0: a trigger may be taken back."""
    first = None
    for person in persons:
        for name, state in person.rules.items():
            rule = book.rules.get(name)
            for key in state.keys.values():
                if key.fired:
                    return 0
                if key.facts:
                    due = key.facts[0].occurred_at + (rule.after + rule.lateness if rule else 0)
                    if first is None or due < first:
                        first = due
    return first


def _due(persons: list[Person]) -> int | None:
    first = None
    for person in persons:
        due = person.due
        if due is not None and (first is None or due < first):
            first = due
    return first


def advance(book: RuleBook, profile: Profile, upto: int) -> list[Decision]:
    """Fold everything received before `upto` and decide everything due before it, in one order."""
    out: list[Decision] = []
    buffer, persons = profile.buffer, profile.persons
    done = 0
    while True:
        received = buffer[done].received_at if done < len(buffer) else upto
        due = _due(persons)
        clock = received if due is None or received < due else due
        if clock >= upto:
            break
        if due is None or received <= due:  # an event received exactly at D + lateness still counts
            while done < len(buffer) and buffer[done].received_at == received:
                row = buffer[done]
                person, _ = person_of(book, persons, row.ids, received)
                out += learn(book, person, row)
                done += 1
        for person in persons:
            if person.due is not None and person.due <= clock:
                out += decide(book, person, clock)
    if done:
        del buffer[:done]
        profile.packed_buffer = None
    profile.packed_persons, profile.due, profile.soonest = _encode(persons), due, _soonest(book, persons)
    return out


def merge(book: RuleBook, winner: Profile, loser: Profile) -> Profile:
    """Both in one place. Their persons stay two until a tie's moment comes in the fold."""
    persons = winner.persons
    for person in loser.persons:
        unite(book, persons, person)
    about_winner, about_loser = winner.about, loser.about
    about = profile_about.merge(about_winner, about_loser)
    rows = {row.fingerprint: row for row in sorted([*winner.buffer, *loser.buffer], key=_order, reverse=True)}
    for mark in profile_about.marks(about_winner) & profile_about.marks(about_loser):
        _counted_twice(about, rows, mark, winner, loser)
    return profile_of(about, persons, sorted(rows.values(), key=_order))


def _counted_twice(about: About, rows: dict[int, Row], mark: int, winner: Profile, loser: Profile) -> None:
    """A client's duplicate came while the profile was moving: one copy here, one there."""
    copies = [next((r for r in p.buffer if r.fingerprint & profile_about.MARK == mark), None) for p in (winner, loser)]
    row = copies[0] or copies[1]
    if row is not None:
        profile_about.discount(about, row.type, row.occurred_at, row.data)
        if None in copies:
            del rows[row.fingerprint]  # the other copy has been folded already
    elif told := profile_about.told(winner.about, mark) or profile_about.told(loser.about, mark):
        kind, occurred_at, label = told
        profile_about.discount(about, kind, occurred_at, {"product_id": label})


def silent_since(profile: Profile) -> int:
    """When it was last heard of (UTC ms): a profile expires after a silence."""
    return profile.about.last_seen
