"""What format 2 stored, as today's: profiles, and messages between the hops. Nothing else reads it, nothing writes it.

A deployment of format 2 is converted where a worker claims a partition of it (runtime/second_hop.py), a profile when it
is read, a message when it comes. What today's rules ask for and format 2 didn't keep stays unknown: the products that a
trigger told (an order of another cart takes it back no more), other names of a product than the one it had, and which
orders were told already.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.language import carts
from pipeline.language.carts import Line
from pipeline.language.films import Session
from pipeline.profile.about import About, Kept
from pipeline.profile.marks import is_mark
from pipeline.profile.packed import PackedRow, rows_of, unpack_row
from pipeline.profile.profile import State, decode, encode_profile, profile_of
from pipeline.triggers.facts import ENDS, NEVER, PAST, End, Fact, Fired, Key, Order
from pipeline.triggers.films import Film
from pipeline.triggers.keys import RuleState
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook, rank
from pipeline.wire.records import Forward, Headers, Move, Resolved, Seal, decode_rows

FORMAT = 2

_Order = tuple[int, int, str]  # occurred_at, received_at, event id
_NEVER: _Order = (-1, -1, "")
_LAST = "\U0010ffff"  # the id in it, of what was closed by its due time
_FOUR = 0x94


class _Kept(msgspec.Struct, array_like=True, gc=False):
    orders: dict[str, list[float]]
    attributes: dict[str, list[Any]]
    products: dict[str, list[int]]
    messages: dict[str, list[int]]


class _About(msgspec.Struct, array_like=True, gc=False):
    first_seen: int
    last_seen: int
    engaged_ms: int
    absolute_ms: int
    totals: dict[int, int]
    days: dict[int, int]
    recent: bytes
    labels: bytes
    older: bytes
    kept: _Kept


class _Line(msgspec.Struct, array_like=True, gc=False):
    quantity: float
    price: float | None
    currency: str | None
    added: int


class _Fact(msgspec.Struct, array_like=True, gc=False):
    """`change`: [+1 or -1, product, quantity or None, price, currency]."""

    occurred_at: int
    received_at: int
    event_id: str
    role: int
    fingerprint: int
    change: list[Any] | None = None
    trace: str | None = None
    told: list[Any] | None = None


class _End(msgspec.Struct, array_like=True, gc=False):
    occurred_at: int
    received_at: int
    event_id: str
    reason: str
    before_start: bool = False


class _Fired(msgspec.Struct, array_like=True, gc=False):
    id: str
    cause_event_id: str
    occurred_at: int
    due: int
    last_start: _Order


class _Key(msgspec.Struct, array_like=True, gc=False):
    closed: _Order = _NEVER
    facts: list[_Fact] = []
    ends: list[_End] = []
    lines: dict[str, _Line] = {}
    fired: list[_Fired] = []
    due: int | None = None
    decided: int | None = None


class _RuleState(msgspec.Struct, array_like=True, gc=False):
    keys: dict[str, _Key] = {}
    everyone: list[_End] = []


class _Person(msgspec.Struct, array_like=True, gc=False):
    ids: dict[str, list[str]]
    rules: dict[str, _RuleState] = {}
    films: dict[str, Film] = {}
    sessions: dict[str, Session] = {}
    due: int | None = None


class _Packed(msgspec.Struct, array_like=True, gc=False, tag="r"):
    source: str
    first: int
    next: int
    before: int
    after: int
    rows: msgspec.Raw
    merges: list[str]


class _Move(msgspec.Struct, array_like=True, gc=False, tag="m"):
    id: str
    at: int
    winner: str
    profile: bytes


class _Forward(msgspec.Struct, array_like=True, gc=False, tag="f"):
    id: str
    at: int
    row: msgspec.Raw


_decode_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_about = msgspec.msgpack.Decoder(_About).decode
_decode_persons = msgspec.msgpack.Decoder(list[_Person]).decode
_decode_message = msgspec.msgpack.Decoder(_Packed | _Move | _Forward).decode


def state(book: RuleBook, raw: bytes) -> bytes:
    """What is stored under a profile's id, as today's; what is today's already stays. Raises ValueError,
    msgspec.MsgspecError for what is neither.
    """
    if is_mark(raw):
        return raw
    packed_about, packed_persons, packed_rows, *more = _decode_parts(raw)
    if more or bytes(_decode_parts(packed_about)[9])[0] != _FOUR:  # orders lay before what else lies there
        return raw
    told = _decode_about(packed_about)
    kept = told.kept
    about = About(
        told.first_seen,
        told.last_seen,
        told.engaged_ms,
        told.absolute_ms,
        told.totals,
        told.days,
        told.recent,
        told.labels,
        told.older,
        Kept(kept.attributes, kept.products, kept.messages),
    )
    persons = [_person(book, each) for each in _decode_persons(packed_persons)]
    if persons:
        persons[0].bought = kept.orders  # of several persons nobody knows whose they were
    return encode_profile(profile_of(about, persons, decode_rows(packed_rows)))


def read(book: RuleBook, raw: bytes) -> State:
    """`profile.decode` of it."""
    return decode(state(book, raw))


def sealed(seal: Seal, value: bytes) -> tuple[Headers, bytes]:
    """A move or forward that was committed and isn't sent yet, as headers and value of a record."""
    told = message(value)
    if isinstance(told, Move):
        return seal.move(told)
    assert isinstance(told, Forward)
    assert told.row is not None
    return seal.forward(Forward(told.id, told.at, unpack_row(told.row)))


def message(value: bytes) -> Resolved[PackedRow] | Move | Forward[PackedRow]:
    """A record of identity.resolved; profiles in it are still to be converted. Raises ValueError, msgspec.MsgspecError
    for what is none.
    """
    told = _decode_message(value)
    if isinstance(told, _Packed):
        rows = rows_of(bytes(told.rows))
        return Resolved(told.source, told.first, told.next, told.before, told.after, rows, told.merges)
    if isinstance(told, _Move):
        return Move(told.id, told.at, told.winner, told.profile)
    return Forward(told.id, told.at, PackedRow(told.row))


def _person(book: RuleBook, told: _Person) -> Person:
    rules = {
        name: RuleState(
            {key: _key(name in book.rules and book.rules[name].cart, each) for key, each in state.keys.items()},
            [_end(each) for each in state.everyone],
        )
        for name, state in told.rules.items()
    }
    return Person(told.ids, rules, told.films, told.sessions, told.due)


def _key(cart: bool, told: _Key) -> Key:
    return Key(
        closed=_closed(told.closed),
        facts=sorted((_fact(cart, each) for each in told.facts), key=lambda fact: fact.order),
        ends=[_end(each) for each in told.ends],
        lines=[_line(product, each) for product, each in told.lines.items()],
        fired=[_fired(each) for each in told.fired],
        due=told.due,
        decided=told.decided,
    )


def _closed(told: _Order) -> Order:
    if told == _NEVER:
        return NEVER
    at, received_at, event_id = told
    return (at, PAST, 0, "") if event_id == _LAST else (at, ENDS, received_at, event_id)


def _fact(cart: bool, told: _Fact) -> Fact:
    event, change = "cart_viewed" if cart else "", None
    if told.change is not None:
        sign, product, quantity, price, currency = told.change
        event = "product_added" if sign > 0 else "product_removed"
        data = {"product_id": product, "quantity": quantity, "price": price, "currency": currency}
        change = carts.read(event, data, frozenset())
    return Fact(
        told.occurred_at,
        told.received_at,
        told.event_id,
        told.role,
        told.fingerprint,
        rank(cart, told.role, event),
        change,
        told.trace,
        told.told,
    )


def _end(told: _End) -> End:
    return End(told.occurred_at, told.received_at, told.event_id, told.reason, told.before_start)


def _line(product: str, told: _Line) -> Line:
    return Line([product] if product else [], told.quantity, told.price, told.currency, told.added)


def _fired(told: _Fired) -> Fired:
    waited, moved = told.due - told.occurred_at, told.occurred_at - told.last_start[0]
    return Fired(bytes.fromhex(told.id), told.cause_event_id, told.due, waited, moved)
