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


class Profile(msgspec.Struct, array_like=True, gc=False):
    """What is stored under one profile id. `buffer` is sorted by order of knowledge."""

    about: About
    persons: list[Person] = []
    buffer: list[Row] = []


class Moved(msgspec.Struct, array_like=True, gc=False, tag="moved"):
    """What is left of a profile that merged into another. `at`: when, by the watermark (UTC ms)."""

    winner: str
    at: int


MARK = (1 << 48) - 1
_encoder = msgspec.msgpack.Encoder()
encode_profile = _encoder.encode
_decode_profile = msgspec.msgpack.Decoder(Profile).decode
_decode_moved = msgspec.msgpack.Decoder(Moved).decode
_MOVED = _encoder.encode("moved")


def decode(raw: bytes) -> Profile | Moved:
    """What `encode_profile` made of either."""
    return _decode_moved(raw) if raw[1:7] == _MOVED else _decode_profile(raw)


def new_profile() -> Profile:
    """Nobody yet."""
    return Profile(About())


def receive(book: RuleBook, profile: Profile, row: Row) -> bool:
    """Take one event in; False if it is a duplicate that a client made.

    Of two copies the one received first counts for the rules, whichever was read first.
    """
    about = profile.about
    if profile_about.seen(about, row.fingerprint):
        for i, other in enumerate(profile.buffer):
            if other.fingerprint == row.fingerprint and row.order < other.order:
                del profile.buffer[i]
                insort(profile.buffer, row, key=_order)
                break
        return False
    profile_about.remember(about, row.received_at, row.fingerprint)
    profile_about.update(about, row.type, row.occurred_at, row.fingerprint, row.data)
    ids = row.ids
    persons = profile.persons
    if row.type in book.concerned or (len(ids) > 2 and not _one(persons, ids)):
        buffer = profile.buffer
        if not buffer or row.order >= buffer[-1].order:
            buffer.append(row)
        else:
            insort(buffer, row, key=_order)
    elif not _one(persons, ids):
        persons.append(Person({ids[0]: [ids[1]]}))
    return True


def _order(row: Row) -> tuple[int, int, str, int]:
    return row.order


def _one(persons: list[Person], ids: list[str]) -> bool:
    """Whether all identifiers are known to be one person's already."""
    for person in persons:
        if person.has(ids[0], ids[1]):
            return all(person.has(ids[i], ids[i + 1]) for i in range(2, len(ids), 2))
    return False


def wakes_at(book: RuleBook, profile: Profile) -> int | None:
    """No decision comes of this profile before that moment, as it stands: until then nobody need look at it.

    The fold may go on earlier (`next_at`), but an event that can only open or move a wait says nothing before that wait
    is due: it may as well be folded then, or when the profile is written anyway.
    """
    first = None
    for person in profile.persons:
        if person.due is not None and (first is None or person.due < first):
            first = person.due
    for row in profile.buffer:
        at = row.received_at
        if len(row.ids) == 2 and (wait := book.opening.get(row.type)) is not None:  # one identifier ties nothing
            at = max(at, row.occurred_at + wait)
        if first is None or at < first:
            first = at
    return first


def next_at(profile: Profile) -> int | None:
    """The moment at which the fold has something to do; it may do so once the watermark is past it."""
    first = profile.buffer[0].received_at if profile.buffer else None
    for person in profile.persons:
        if person.due is not None and (first is None or person.due < first):
            first = person.due
    return first


def advance(book: RuleBook, profile: Profile, upto: int) -> list[Decision]:
    """Fold everything received before `upto` and decide everything due before it, in one order."""
    out: list[Decision] = []
    buffer = profile.buffer
    done = 0
    while True:
        received = buffer[done].received_at if done < len(buffer) else upto
        due = min((p.due for p in profile.persons if p.due is not None), default=upto)
        clock = min(received, due)
        if clock >= upto:
            break
        if received <= due:  # an event received exactly at D + lateness still counts
            while done < len(buffer) and buffer[done].received_at == received:
                row = buffer[done]
                person, _ = person_of(book, profile.persons, row.ids, received)
                out += learn(book, person, row)
                done += 1
        for person in profile.persons:
            if person.due is not None and person.due <= clock:
                out += decide(book, person, clock)
    if done:
        del buffer[:done]
    return out


def merge(book: RuleBook, winner: Profile, loser: Profile) -> Profile:
    """Both in one place. Their persons stay two until a tie's moment comes in the fold."""
    persons = list(winner.persons)
    for person in loser.persons:
        unite(book, persons, person)
    about = profile_about.merge(winner.about, loser.about)
    rows = {row.fingerprint: row for row in sorted([*winner.buffer, *loser.buffer], key=_order, reverse=True)}
    for mark in profile_about.marks(winner.about) & profile_about.marks(loser.about):
        _counted_twice(about, rows, mark, winner, loser)
    return Profile(about, persons, sorted(rows.values(), key=_order))


def _counted_twice(about: About, rows: dict[int, Row], mark: int, winner: Profile, loser: Profile) -> None:
    """A client's duplicate came while the profile was moving: one copy here, one there."""
    copies = [next((r for r in p.buffer if r.fingerprint & MARK == mark), None) for p in (winner, loser)]
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
