"""Design 5: the parts of a profile merge in any order and grouping to the same, and twice to the same where nothing is
summed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.language.carts import PUT, TAKE, Change, Item, Line
from pipeline.language.films import add_interval
from pipeline.profile import about
from pipeline.profile.about import About
from pipeline.profile.parts import counts, traits
from pipeline.profile.parts.part import CODE, TYPES
from pipeline.profile.parts.timeline import LAG, OLDER_KEPT, TIMELINE_KEPT
from pipeline.profile.profile import Profile, advance, encode_profile, merge, new_profile, receive
from pipeline.triggers import films, waits
from pipeline.triggers.facts import NEVER, PAST, START, End, Fact, Fired, Key, Open, Order
from pipeline.triggers.films import Film
from pipeline.triggers.person import Person, person_of
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row
from tests.replayed import shipped
from tests.ruled import ruled

BOOK = RuleBook(shipped())
CART, EBOOK, FILM = (BOOK.rules[name] for name in ("abandoned_cart", "ebook_not_clicked", "film_half_watched"))
DAY = 86_400_000
FIELDS = about.fields()
SUMS = ("totals", "days", "engaged_ms", "absolute_ms", "products")


def parts_of(whole: About) -> dict[str, Any]:
    """All fields, by name."""
    parts = msgspec.structs.asdict(whole)
    kept = parts.pop("kept")
    return {**parts, **msgspec.structs.asdict(kept)}


times = st.integers(1000, 60 * DAY)
names = st.sampled_from("pqrst")


def bodies(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """What the profile reads of an event of this type."""
    known: dict[str, st.SearchStrategy[Any]] = {
        "path": st.sampled_from(["/", "/a", "/" + "long" * 40]),
        "engaged_ms": st.integers(0, 9_999),
        "absolute_ms": st.integers(0, 9_999),
        "product_id": names,
        "currency": st.sampled_from(["EUR", "CZK"]),
        "total": st.integers(0, 999).map(float),
        "consent": st.dictionaries(st.sampled_from(["marketing", "statistics"]), st.booleans()),
        "traits": st.dictionaries(names, names, max_size=3),
        "message_id": names,
        "confidence": st.sampled_from(["human", "machine", "unknown"]),
        "film": names,
    }
    fields = [field for field in FIELDS.get(kind, ()) if field in known]
    return st.fixed_dictionaries({}, optional={field: known[field] for field in fields})


PartEvent = tuple[str, int, dict[str, Any]]
events: st.SearchStrategy[PartEvent] = st.sampled_from(TYPES).flatmap(
    lambda kind: st.tuples(st.just(kind), times, bodies(kind))
)


def about_of(told: list[tuple[int, PartEvent]]) -> About:
    """An About that has counted these events in: (fingerprint, (type, time, body))."""
    packed = about.EMPTY
    for fingerprint, (kind, at, body) in told:
        packed = about.count(packed, kind, at, at, fingerprint, body)
    return about.unpack(packed)


numbered = st.lists(events, max_size=12).map(lambda told: list(enumerate(told, start=1)))


def plain(value: Any) -> Any:
    """What compares by value."""
    return msgspec.to_builtins(value)


def agrees(join: Callable[[Any, Any], Any], parts: list[Any], view: Callable[[Any], Any] = plain) -> None:
    """Commutative and associative: every order, both groupings, one result."""
    copies = [msgspec.msgpack.encode(part) for part in parts]
    kind = type(parts[0])

    def fresh(number: int) -> Any:
        return msgspec.msgpack.decode(copies[number], type=kind)

    results = []
    for a, b, c in permutations(range(3)):
        results.append(view(join(join(fresh(a), fresh(b)), fresh(c))))
        results.append(view(join(fresh(a), join(fresh(b), fresh(c)))))
    assert all(result == results[0] for result in results[1:])


# What people and conditions read.


FEW = settings(max_examples=40)


@FEW
@given(numbered, st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_about_merges_in_any_order_to_what_one_place_would_have(told: Any, places: list[int]) -> None:
    parts = [about_of([e for e, place in zip(told, places, strict=False) if place == n]) for n in range(3)]
    agrees(about.merge, parts)
    whole = about.merge(about.merge(parts[0], parts[1]), parts[2])
    assert plain(whole) == plain(about_of(told))


@given(numbered, st.randoms(use_true_random=False))
def test_about_counts_in_any_order_to_the_same(told: Any, rnd: Random) -> None:
    expected = plain(about_of(told))
    rnd.shuffle(told)
    assert plain(about_of(told)) == expected


@given(numbered)
def test_what_is_not_summed_merges_twice_to_the_same(told: Any) -> None:
    one = about_of(told)
    twice = about.merge(one, about_of(told))
    for name, part in parts_of(one).items():
        if name not in SUMS:
            assert parts_of(twice)[name] == part, name
    assert about.merge(one, About()) == about.merge(About(), one) == one


@given(numbered)
def test_sums_add_once_a_merge_and_a_discount_takes_one_out_again(told: Any) -> None:
    one = about_of(told)
    twice = about.merge(one, about_of(told))
    assert twice.totals == {code: 2 * n for code, n in one.totals.items()}
    assert twice.engaged_ms == 2 * one.engaged_ms
    for _, (kind, at, body) in told:
        about.discount(twice, kind, at, body)
    for name in SUMS:
        assert parts_of(twice)[name] == parts_of(one)[name], name


@pytest.mark.parametrize("seed", range(8))
def test_capped_parts_keep_the_newest_whatever_the_order(seed: int) -> None:
    """Days, attributes, timeline and ring far beyond their caps."""
    rng = Random(seed)
    told: list[tuple[int, PartEvent]] = []
    for number in range(1, 400):
        at = rng.randrange(1000, 400 * DAY)
        if rng.random() < 0.5:
            told.append((number, ("page_viewed", at, {"path": f"/{number}"})))
        else:
            told.append((number, ("identified", at, {"traits": {f"t{rng.randrange(90)}": number}})))
    parts = [about_of([e for n, e in enumerate(told) if n % 3 == place]) for place in range(3)]
    agrees(about.merge, parts)
    whole = about.merge(parts[0], about.merge(parts[1], parts[2]))
    assert plain(whole) == plain(about_of(told))
    newest = sorted(told, key=lambda e: e[1][1])
    assert len(about.read_timeline(whole)) == TIMELINE_KEPT
    assert len(whole.days) == counts.DAYS_KEPT
    assert len(whole.kept.attributes) == traits.ATTRIBUTES_KEPT
    assert {e[1][1] // 1000 for e in newest[-TIMELINE_KEPT:]} == {at for at, _, _ in about.read_timeline(whole)}
    assert about.marks(whole) == {number for number, _ in newest[-TIMELINE_KEPT - OLDER_KEPT :]}
    packed = about.pack(whole)
    assert all(about.count(packed, "page_viewed", DAY, DAY, number, {}) is packed for number in about.marks(whole))


@pytest.mark.parametrize("seed", range(20))
def test_event_ids_are_remembered_by_receipt_where_the_timeline_has_left_them(seed: int) -> None:
    """Some are received a year later, and some copies come on both sides, at different times."""
    rng = Random(seed)
    told = [(number, rng.randrange(1000, 9 * DAY) * 1000) for number in range(1, 160)]
    received = {number: at + rng.choice([0, 0, 1000, DAY, 400 * DAY]) for number, at in told}

    def part(chosen: list[tuple[int, int]], later: int = 0) -> About:
        packed = about.EMPTY
        for number, at in chosen:
            packed = about.count(packed, "page_viewed", at, received[number] + later, number, {"path": f"/{number}"})
        return about.unpack(packed)

    parts = [part(told[place::3]) for place in range(3)]
    agrees(about.merge, parts)
    whole = about.merge(parts[0], about.merge(parts[1], parts[2]))
    assert plain(whole) == plain(part(rng.sample(told, len(told))))
    by_time = sorted(told, key=lambda e: e[1])
    timeline, others = by_time[-TIMELINE_KEPT:], by_time[:-TIMELINE_KEPT]
    # Beyond 194 days the time of receipt is only known to be later.
    others.sort(key=lambda e: (min(received[e[0]], e[1] + LAG * 1000) // 1000, e[0]))
    assert about.marks(whole) == {number for number, _ in [*timeline, *others[-OLDER_KEPT:]]}
    for chosen in (told[:30], told[:100]):
        agrees(about.merge, [part(chosen), part(chosen[::2], 5000), part(rng.sample(told, 50), 9000)])
    twice = about.merge(part(told[:30]), part(told[:30], 5000))
    assert about.read_timeline(twice) == about.read_timeline(part(told[:30]))


def test_products_and_messages_are_bounded_too() -> None:
    told: list[tuple[int, PartEvent]] = [
        (n, ("product_viewed", n * 1000, {"product_id": f"p{n:03d}"})) for n in range(1, 60)
    ]
    told += [(n, ("email_sent", n * 1000, {"message_id": f"m{n:03d}"})) for n in range(100, 160)]
    one = about_of(told)
    assert sorted(one.kept.products) == [f"p{n:03d}" for n in range(40, 60)]
    assert sorted(one.kept.messages) == [f"m{n:03d}" for n in range(140, 160)]
    both = about.merge(about_of(told[:90]), about_of(told[90:]))
    assert sorted(both.kept.products) == sorted(one.kept.products)
    assert sorted(both.kept.messages) == sorted(one.kept.messages)


# Seconds watched.

intervals = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda p: [*map(float, p)]), max_size=8)


def film_of(told: list[list[float]]) -> Film:
    film = Film()
    for start, end in told:
        film.watched = add_interval(film.watched, start, end)
    return film


@given(intervals, intervals, intervals)
def test_intervals_are_a_union(a: Any, b: Any, c: Any) -> None:
    agrees(films.merge_film, [film_of(a), film_of(b), film_of(c)])
    one = film_of([*a, *b, *c])
    assert films.seconds(one) == len({s for start, end in [*a, *b, *c] for s in range(int(start), int(end))})
    assert films.merge_film(one, one).watched == one.watched
    assert all(x[1] < y[0] for x, y in zip(one.watched, one.watched[1:], strict=False))


def told_of(film: list[tuple[int, float | None, str | None]]) -> Film:
    """A film of which that was received, then."""
    kept = {"f": Film()}
    for at, length, title in sorted(film, key=lambda told: told[0]):
        films.watch(kept, [], {}, "video_started", at, at, {"film": "f", "total_length": length, "title": title})
    return kept["f"]


told_films = st.lists(
    st.tuples(st.integers(1, 9), st.none() | st.sampled_from([40.0, 60.0]), st.none() | names),
    max_size=3,
    unique_by=lambda told: told[0],
).map(told_of)


@given(st.lists(told_films, min_size=3, max_size=3))
def test_of_films_that_become_one_the_length_and_the_title_received_last_win(parts: list[Film]) -> None:
    """Each is of whoever was told it last."""
    agrees(films.merge_film, parts)
    film = films.merge_film(parts[0], parts[1])
    assert films.merge_film(film, film) == film
    assert film.last == max(part.last for part in parts[:2])
    lengths = {part.last + part.told: part.length for part in parts[:2] if part.length}
    assert film.length == lengths.get(max(lengths, default=0)) or len(lengths) < 2


# What rules wait for.


def orders(ids: str) -> st.SearchStrategy[Order]:
    return st.tuples(st.integers(0, 30), st.integers(0, 5), st.sampled_from(ids)).map(
        lambda o: (o[0], 4, o[0] + o[1], o[2])
    )


def fact_of(order: Order, once: bool) -> Fact:
    """An event says the same wherever it is told."""
    at, _, received_at, event_id = order
    number = at * 40 + received_at + ord(event_id)
    item = Item(["pqrst"[number % 5]], 2.0, "EUR", 1.0 + number % 3)
    change = Change(PUT if number % 3 else TAKE, [item])
    place = 1 if once or number % 3 else 0
    return Fact(at, received_at, event_id, START, number, place, change=None if once else change)


def keys(once: bool) -> st.SearchStrategy[Key]:
    """What one place may remember of a key. Facts and ends are the same wherever they came to twice."""
    fact = orders("abcd").map(lambda o: fact_of(o, once))
    end = orders("wxyz").map(lambda o: End(o[0], o[2], o[3], "bought"))
    fired = st.builds(
        lambda o, told: Fired(f"id-{o}".encode(), o[3], o[0] + 60, 60, published=told), orders("abcd"), st.booleans()
    )
    named = names.map(lambda name: [name, None, None, "xl"] if name == "t" else [name])
    line = st.builds(Line, named, st.integers(1, 5).map(float), st.just(2.0), st.just("EUR"), st.integers(0, 20))

    def build(facts: Any, ends: Any, fired: Any, lines: Any, closed: Any, decided: Any) -> Key:
        key = Key(closed=closed)
        key.facts = sorted(
            {(f.order, f.fingerprint): f for f in facts if f.order > closed}.values(), key=lambda f: f.order
        )
        key.ends = sorted({e.order: e for e in ends}.values(), key=lambda e: e.order)
        key.fired = sorted({f.id: f for f in fired}.values(), key=lambda f: (f.due, f.id))
        if once:
            key.facts, key.decided = key.facts[:1], decided
            if decided is not None:
                key.facts = []
        else:
            key.lines = lines
        return key

    closed = st.just(NEVER) | orders("k")
    return st.builds(
        build,
        st.lists(fact, max_size=3),
        st.lists(end, max_size=2),
        st.lists(fired, max_size=2),
        st.lists(line, max_size=2, unique_by=lambda line: line.names[0]),
        closed,
        st.none() | st.integers(0, 40),
    )


def without_contents(key: Key) -> Key:
    """The same of a rule that has no cart."""
    return msgspec.structs.replace(key, lines=[])


def joined(rule: Any) -> Callable[[Key, Key], Key]:
    return lambda a, b: waits.merge(rule, a, b, ([], []), 0, 0)


def without_lines(key: Key) -> Any:
    return plain(msgspec.structs.replace(key, lines=[]))


@FEW
@given(st.lists(keys(once=False), min_size=3, max_size=3))
def test_open_waits_of_a_cart_merge_in_any_order(parts: list[Key]) -> None:
    """Contents are sums, and what an order took depends on what was known when: `test_oracle` has those."""
    agrees(joined(CART), parts, without_lines)
    one = parts[0]
    assert without_lines(joined(CART)(one, one)) == without_lines(one)


@FEW
@given(st.lists(keys(once=False), min_size=3, max_size=3))
def test_contents_without_orders_add_up_in_any_order(parts: list[Key]) -> None:
    for key in parts:
        key.ends = []
    agrees(joined(CART), parts)


@pytest.mark.parametrize("rule", [EBOOK, FILM], ids=lambda rule: rule.name)
@FEW
@given(st.lists(keys(once=True), min_size=3, max_size=3))
def test_what_starts_once_merges_in_any_order(rule: Any, parts: list[Key]) -> None:
    agrees(joined(rule), parts)
    one = parts[0]
    assert plain(joined(rule)(one, one)) == plain(one)


@FEW
@given(st.lists(keys(once=True), min_size=2, max_size=2))
def test_the_decided_one_absorbs_the_open_one_and_of_two_the_first_received_stays(parts: list[Key]) -> None:
    a, b = parts
    both = joined(FILM)(a, b)
    if a.decided is not None or b.decided is not None:
        assert both.facts == []
        assert both.decided == max(d for d in (a.decided, b.decided) if d is not None)
    else:
        received = [f.received_at for f in [*a.facts, *b.facts]]
        assert [f.received_at for f in both.facts] == sorted(received)[:1]


STAGED = RuleBook(
    ruled("""
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  stages: [{name: one, after: 60ms}, {name: two, after: 90ms}, {name: three, after: 2m}]
  cancel: {event: order_completed, match: cart_id, reason: bought}
""")
).rules["cart"]


def opened(key: Key, stage: int, start: Order, ended: bool) -> Key:
    """The same where a wait is open of which so many stages are decided."""
    began = msgspec.structs.replace(fact_of(start, once=True), role=START)
    closed = (began.occurred_at + 60, PAST, 0, "")
    ends = [end for end in key.ends if not began.order < end.order <= closed]
    left = Open(stage, closed, began, end=(began.occurred_at + 1, 4, 99, "l") if ended else None)
    facts = [fact for fact in key.facts if fact.order > closed]
    return msgspec.structs.replace(key, closed=closed, ends=ends, facts=facts, lines=[], open=left)


staged = st.builds(opened, keys(once=False), st.integers(1, 2), orders("abcd"), st.booleans())


@FEW
@given(st.lists(st.one_of(keys(once=False).map(without_contents), staged), min_size=3, max_size=3))
def test_waits_of_which_stages_are_decided_merge_in_any_order(parts: list[Key]) -> None:
    agrees(joined(STAGED), parts)
    one = parts[0]
    assert plain(joined(STAGED)(one, one)) == plain(one)


# Persons, and whole profiles.


def row(number: int, kind: str, at: int, ids: list[str], data: dict[str, Any]) -> Row:
    return Row(number, "", kind, at, at, f"e{number}", number * 2_654_435_761, ids, data)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8), st.randoms(use_true_random=False))
def test_ties_join_persons_in_any_order(ties: list[tuple[int, int]], rnd: Random) -> None:
    def people() -> set[frozenset[str]]:
        persons: list[Person] = []
        for a, b in ties:
            person_of(BOOK, persons, ["anonymous_id", f"a{a}", "anonymous_id", f"a{b}"], 5)
        return {frozenset(v for values in p.ids.values() for v in values) for p in persons}

    expected = people()
    rnd.shuffle(ties)
    assert people() == expected


def random_row(rng: Random, number: int) -> Row:
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("product_added", {"product_id": rng.choice("pq"), "quantity": 1.0, "price": 2.0, "currency": "EUR"}),
        ("product_removed", {"product_id": "p"}),
        ("order_completed", {"order_id": "o", "total": 5.0}),
        ("page_viewed", {"path": "/"}),
        ("identified", {"traits": {"name": rng.choice("xyz")}}),
        ("email_sent", {"message_id": rng.choice("mn"), "link_ids": ["ebook"]}),
    ]
    kind, data = rng.choice(kinds)
    ids = rng.choice([["anonymous_id", "a"], ["user_id", "u"], ["user_id", "u", "anonymous_id", "a"]])
    return row(number, kind, rng.randrange(1000, 9_999_999), ids, data)


def profile_of(rows: list[Row]) -> Profile:
    profile = new_profile()
    for each in rows:
        receive(BOOK, profile, each)
    return profile


def seen_as(profile: Profile) -> Any:
    people = sorted((plain(p) for p in profile.persons), key=str)
    return plain(profile.about), people, plain(profile.buffer)


@FEW
@given(st.integers(0, 1 << 32).map(Random))
def test_profiles_merge_in_any_order_with_copies_of_an_event_on_both_sides(rng: Random) -> None:
    rows = [random_row(rng, number) for number in range(1, 14)]
    places = [rng.sample(range(3), rng.choice([1, 1, 1, 2])) for _ in rows]
    parts = [[each for each, at in zip(rows, places, strict=True) if n in at] for n in range(3)]

    def fresh(number: int) -> Profile:
        return profile_of([msgspec.structs.replace(each) for each in parts[number]])

    expected = None
    for a, b, c in permutations(range(3)):
        for made in (
            merge(BOOK, merge(BOOK, fresh(a), fresh(b)), fresh(c)),
            merge(BOOK, fresh(a), merge(BOOK, fresh(b), fresh(c))),
        ):
            expected = expected or seen_as(made)
            assert seen_as(made) == expected
            assert encode_profile(made)
    whole = profile_of([msgspec.structs.replace(each) for each in rows])
    assert expected is not None
    assert expected[0] == plain(whole.about)
    assert expected[2] == plain(whole.buffer)


def test_an_order_that_both_have_folded_stops_nobody() -> None:
    """Of an order that is known by its line on the timeline alone, the currency isn't."""
    order = Row(1, "r", "order_completed", DAY, DAY, "e", 7, ["user_id", "u"], {"currency": "EUR", "total": 5.0})
    parts = [profile_of([msgspec.structs.replace(order)]) for _ in range(2)]
    for part in parts:
        advance(BOOK, part, 100 * DAY)
        assert not part.buffer
    assert merge(BOOK, *parts).about.totals == {CODE["order_completed"]: 1}
