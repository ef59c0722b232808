"""The fold of a person, beyond what the examples and histories meet: refusals, bounds, rules that come and go."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec
import pytest

from pipeline.events.times import rfc3339
from pipeline.language import carts
from pipeline.language.carts import PUT, SET, TAKE, Change, Item, Line
from pipeline.language.films import SESSIONS_KEPT, add_interval
from pipeline.profile import about
from pipeline.profile import profile as folding
from pipeline.profile.profile import Profile, merge, new_profile, receive, wakes_at
from pipeline.topology.model import Rule, Selector, Topology
from pipeline.triggers import films, fold, keys, waits
from pipeline.triggers.decisions import decision_id, public, retraction_id
from pipeline.triggers.facts import RESTART, START, End, Fact, Key
from pipeline.triggers.person import Person, person_of, unite
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row
from tests.codes import ADDED
from tests.replayed import shipped

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_700_000_000_000
LATE = 5 * MINUTE


def advance(book: RuleBook, profile: Profile, upto: int) -> list[Any]:
    """What folding up to there leads to."""
    return list(folding.advance(book, profile, upto))


def book_of(*rules: Rule) -> RuleBook:
    return RuleBook(with_rules(*rules))


def with_rules(*rules: Rule) -> Topology:
    return msgspec.structs.replace(shipped(), rules=rules)


BOOK = RuleBook(shipped())
CART = BOOK.rules["abandoned_cart"]
_numbers = iter(range(1, 1_000_000))


def row(kind: str, at: int, got: int | None = None, ids: str = "anonymous_id:a", **data: Any) -> Row:
    number = next(_numbers)
    flat = [part for pair in ids.split() for part in pair.split(":")]
    return Row(number, "", kind, at, at if got is None else got, f"e{number}", number, flat, data)


def told(book: RuleBook, *rows: Row) -> Profile:
    profile = new_profile()
    for each in rows:
        receive(book, profile, each)
    return profile


def everything(book: RuleBook, *rows: Row) -> list[Any]:
    return advance(book, told(book, *rows), 1 << 60)


def add(at: int, got: int | None = None, cart: str | None = "c", product: str = "p", **data: Any) -> Row:
    body = {"product_id": product, "price": 2.0, "currency": "EUR", **data}
    return row("product_added", at, got, **({"cart_id": cart} if cart else {}), **body)


# Who.


def test_two_unique_values_are_never_one_person() -> None:
    persons = [Person({"user_id": ["u"]}), Person({"user_id": ["v"], "email": ["e"]}), Person({"email": ["f"]})]
    person, refused = person_of(BOOK, persons, ["user_id", "u", "email", "e"], 5)
    assert (person.ids, refused) == ({"user_id": ["u"]}, [["email", "e"]])
    person, refused = person_of(BOOK, persons, ["user_id", "u", "email", "f"], 5)
    assert (person.ids, refused) == ({"user_id": ["u"], "email": ["f"]}, [])
    person, refused = person_of(BOOK, persons, ["email", "f", "user_id", "w"], 5)
    assert refused == [["user_id", "w"]]
    assert len(persons) == 2


def test_one_who_was_in_two_places_is_one() -> None:
    here, there = Person({"anonymous_id": ["a"]}), Person({"anonymous_id": ["a", "b"], "email": ["e"]})
    persons = [here, Person({"user_id": ["u"]})]
    unite(BOOK, persons, there)
    assert [p.ids for p in persons] == [{"user_id": ["u"]}, {"anonymous_id": ["a", "b"], "email": ["e"]}]


# Time.


def test_a_profile_is_looked_at_when_something_may_be_due() -> None:
    profile = new_profile()
    assert wakes_at(BOOK, profile) is None
    receive(BOOK, profile, add(T0))
    due = T0 + HOUR + LATE
    assert wakes_at(BOOK, profile) == due
    assert advance(BOOK, profile, T0 + 1) == []
    assert wakes_at(BOOK, profile) == due
    receive(BOOK, profile, row("order_completed", T0 + MINUTE, cart_id="another"))
    assert wakes_at(BOOK, profile) == due  # what ends a wait is told when the wait is due
    assert advance(BOOK, profile, due) == []
    (made,) = advance(BOOK, profile, due + 1)
    assert made.outcome == "fired"
    assert wakes_at(BOOK, profile) is None
    late = row("order_completed", T0 + 2 * MINUTE, due + HOUR, cart_id="c")
    receive(BOOK, profile, late)
    assert wakes_at(BOOK, profile) == late.received_at  # it takes a trigger back


def test_ends_and_ties_wake_nobody_who_waits_for_nothing() -> None:
    login = row("identified", T0 + 1, ids="anonymous_id:a user_id:u")
    profile = told(BOOK, row("order_completed", T0, cart_id="c"), login)
    assert wakes_at(BOOK, profile) is None
    assert advance(BOOK, profile, T0 + DAY) == []
    assert not profile.buffer


def test_a_copy_that_was_received_earlier_counts_though_it_was_read_later() -> None:
    first = add(T0)
    later = msgspec.structs.replace(first, received_at=T0 + 2 * HOUR)
    for rows in ((first, later), (later, first)):
        profile = told(BOOK, *(msgspec.structs.replace(r) for r in rows))
        assert [r.received_at for r in profile.buffer] == [T0]
        assert profile.about.totals == {ADDED: 1}
        assert [d.decided_at for d in advance(BOOK, profile, 1 << 60)] == [T0 + HOUR + LATE]


def test_a_copy_folded_on_one_side_is_not_folded_again_from_the_other() -> None:
    one = add(T0)
    here, there = told(BOOK, one), told(BOOK, msgspec.structs.replace(one))
    advance(BOOK, here, T0 + 1)
    both = merge(BOOK, here, there)
    assert both.buffer == []
    assert both.about.totals == {ADDED: 1}


# Rules that come and go.


def test_a_rule_that_is_gone_ends_its_waits_silently() -> None:
    profile = told(BOOK, add(T0), row("email_sent", T0, message_id="m", link_ids=["ebook"]))
    assert advance(BOOK, profile, T0 + 1) == []
    less = book_of(*(rule for rule in shipped().rules if rule.name != "abandoned_cart"))
    assert [d.rule for d in advance(less, profile, 1 << 60)] == ["ebook_not_clicked"]
    assert set(profile.persons[0].rules) == {"ebook_not_clicked"}
    merged = merge(less, told(less), profile)
    assert set(merged.persons[0].rules) == {"ebook_not_clicked"}


def test_state_of_a_rule_that_is_gone_survives_a_tie() -> None:
    profile = told(BOOK, add(T0), row("product_added", T0, ids="user_id:u"))
    advance(BOOK, profile, T0 + 1)
    none = book_of()
    receive(none, profile, row("identified", T0 + 5, ids="user_id:u anonymous_id:a"))
    assert advance(none, profile, 1 << 60) == []
    assert [p.ids for p in profile.persons] == [{"user_id": ["u"], "anonymous_id": ["a"]}]


VIEWED = Rule(
    name="looked",
    version=2,
    start=Selector(events=("product_viewed",), where={"price": {"gte": 10}}),
    cancel=(),
    after_ms=HOUR,
    per="product_id",
)


def test_a_rule_that_ignores_events_without_its_key() -> None:
    book = book_of(VIEWED)
    made = everything(
        book,
        row("product_viewed", T0, price=20, product_id="p"),
        row("product_viewed", T0, price=20),
        row("product_viewed", T0, price=20, product_id=""),
        row("product_viewed", T0, price=5, product_id="q"),
    )
    assert [(d.rule, d.rule_version, d.correlation_key, d.outcome) for d in made] == [("looked", 2, "p", "fired")]
    assert made[0].payload == {}


def test_a_rule_without_a_key_has_one_wait_a_person() -> None:
    book = book_of(msgspec.structs.replace(VIEWED, per=None))
    made = everything(book, *(row("product_viewed", T0 + n, price=20, product_id=f"p{n}") for n in range(3)))
    assert [(d.correlation_key, d.occurred_at) for d in made] == [(None, T0 + 2)]


def test_cart_contents_are_known_to_a_rule_that_no_cart_event_starts() -> None:
    started = Selector(events=("checkout_started",))
    book = book_of(msgspec.structs.replace(VIEWED, start=started, per="cart_id", payload=("cart",)))
    rows = [add(T0, product="p"), add(T0 + 1, product="q"), row("product_removed", T0 + 2, cart_id="c", product_id="p")]
    made = everything(book, *rows, row("checkout_started", T0 + 3, cart_id="c"))
    assert [(d.rule, d.occurred_at) for d in made] == [("looked", T0 + 3)]
    assert [line["product"] for line in made[0].payload["lines"]] == ["q"]


def test_an_end_needs_its_key_unless_it_ends_all() -> None:
    rules = {rule.name: rule for rule in shipped().rules}
    strict = msgspec.structs.replace(
        rules["abandoned_cart"],
        cancel=tuple(msgspec.structs.replace(c, without_key="none") for c in rules["abandoned_cart"].cancel),
    )
    rows = [add(T0), row("order_completed", T0 + 5, order_id="o")]
    assert [d.outcome for d in everything(book_of(strict), *rows)] == ["fired"]
    assert [d.outcome for d in everything(BOOK, *rows)] == ["cancelled"]


# Bounds.


def test_what_is_kept_of_carts_is_bounded() -> None:
    profile = new_profile()
    for n in range(400):
        receive(BOOK, profile, add(T0 + n * DAY, cart=f"c{n}"))
    made = advance(BOOK, profile, 1 << 60)
    assert len(made) == 400
    assert {d.outcome for d in made} == {"fired"}
    kept = profile.persons[0].rules["abandoned_cart"].keys
    assert len(kept) <= keys.IDLE_KEPT + keys.ON_A_PAGE + 5
    assert "c399" in kept
    assert "c0" not in kept


def test_open_waits_are_never_dropped_for_want_of_room() -> None:
    profile = told(BOOK, *(add(T0 + n, cart=f"c{n}") for n in range(300)))
    assert len(advance(BOOK, profile, 1 << 60)) == 300


def test_messages_and_films_that_were_decided_are_forgotten_in_time() -> None:
    profile = new_profile()
    for n in range(300):
        receive(BOOK, profile, row("email_sent", T0 + n * DAY, message_id=f"m{n}", link_ids=["ebook"]))
        receive(
            BOOK,
            profile,
            row("video_progressed", T0 + n * DAY, film=f"f{n}", total_length=10.0, watched_from=0, watched_to=9),
        )
    made = advance(BOOK, profile, 1 << 60)
    assert (
        sorted((d.rule, d.outcome) for d in made)
        == [("ebook_not_clicked", "fired")] * 300 + [("film_half_watched", "fired")] * 300
    )
    person = profile.persons[0]
    assert len(person.films) <= fold.DECIDED_FILMS_KEPT + 5
    assert "f299" in person.films
    assert len(person.rules["ebook_not_clicked"].keys) < 8
    assert len(person.rules["film_half_watched"].keys) < 8
    assert len(person.sessions) <= SESSIONS_KEPT


def test_orders_that_are_too_old_to_matter_are_forgotten_and_what_they_took_stays_taken() -> None:
    profile = new_profile()
    rows = [add(T0, cart="old", product="kept"), row("cart_cleared", T0 + 2 * HOUR, cart_id="old")]
    rows += [row("order_completed", T0 + 3 * HOUR + n * DAY, order_id="o") for n in range(20)]
    rows += [add(T0 + 30 * DAY, cart="old", product="new")]
    for each in rows:
        receive(BOOK, profile, each)
    made = advance(BOOK, profile, 1 << 60)
    assert [[line["product"] for line in d.payload["lines"]] for d in made] == [["kept"], ["new"]]
    state = profile.persons[0].rules["abandoned_cart"]
    assert len(state.everyone) < 20
    assert "old" not in state.keys or state.keys["old"].ends == []


# Carts.


def put(product: str, quantity: float | None = None, price: float | None = 2.0, currency: str | None = "EUR") -> Change:
    return Change(PUT, [Item([product], price, currency, quantity)])


def take(product: str, quantity: float | None = None) -> Change:
    return Change(TAKE, [Item([product], quantity=quantity)])


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ([put("p")], {"p": (1, 2.0, "EUR")}),
        ([put("p", 0)], {}),
        ([put("p", -2)], {}),
        ([put("p", 1), put("p", 2, None, None)], {"p": (3, 2.0, "EUR")}),
        ([put("p", 1), put("p", 1, 3.0, "CZK")], {"p": (2, 3.0, "CZK")}),
        ([put("p", 3), put("p", -1)], {"p": (2, 2.0, "EUR")}),
        ([put("p", 3), take("p", 1)], {"p": (2, 2.0, "EUR")}),
        ([put("p", 3), take("p", -1)], {"p": (2, 2.0, "EUR")}),
        ([put("p", 3), take("p", 3)], {}),
        ([put("p", 3), take("p", 9)], {}),
        ([put("p", 3), take("p")], {}),
        ([put("p", 3), take("p", 0)], {}),
        ([put("p", 3), take("q")], {"p": (3, 2.0, "EUR")}),
        ([put("p", 0.1), put("p", 0.2), take("p", 0.3)], {}),
        ([put("p", 1e308), put("p", 1e308), take("p", 5)], {"p": (inf, 2.0, "EUR")}),
        ([put("p", 3), put("q"), Change(SET, [Item(["q"], 1.0, "EUR", 2.0)])], {"q": (2, 1.0, "EUR")}),
        ([put("p", 3), Change(SET, [Item(["p"], 1.0, "EUR", 0.0)])], {}),
    ],
)
def test_lines(changes: list[Change], left: dict[str, Any]) -> None:
    lines: list[Line] = []
    for change in changes:
        carts.apply(lines, change, T0)
    assert {carts.product(line.names): (line.quantity, line.price, line.currency) for line in lines} == left


@pytest.mark.parametrize(
    ("mine", "told", "how"),
    [
        (["a"], ["a"], 3),
        (["a", "s"], ["b", "s"], 0),  # the strongest that both tell
        (["a", "s"], [None, "s"], 2),
        ([None, "s", "n"], ["a", None, "n"], 1),
        (["x"], [None, "x"], 0),
        ([], [], 1),
        ([], ["a"], 0),
        (["a", None, None, "S"], ["a", None, None, "L"], 0),
        (["a", None, None, "S"], ["a"], 3),
        ([None, None, None, "S"], [None, None, None, "L"], 1),
    ],
)
def test_items_match_by_the_strongest_name_that_both_tell_and_by_variant(
    mine: carts.Names, told: carts.Names, how: int
) -> None:
    assert carts.matches(mine, told) == carts.matches(told, mine) == how


def test_what_tells_no_variant_is_of_the_line_without_one_or_else_the_one_added_last() -> None:
    lines: list[Line] = []
    for at, name in enumerate("SL"):
        carts.apply(lines, Change(PUT, [Item(["shirt", None, None, name])]), at)
    carts.apply(lines, take("shirt"), 9)
    assert [carts.variant(line.names) for line in lines] == ["S"]
    carts.apply(lines, Change(PUT, [Item(["shirt", "sku-1", "Shirt"])]), 10)
    assert [(line.names, line.quantity) for line in lines] == [(["shirt", "sku-1", "Shirt", "S"], 2)]


@pytest.mark.parametrize(
    ("price", "quantity", "currency", "total"),
    [
        (1.005, 1, "EUR", 1.01),  # half up, of what was told
        (1.125, 1, "KWD", 1.125),
        (100.5, 1, "JPY", 101.0),
        (0.00005, 1, "CLF", 0.0001),
        (3.5, 0.3, None, 1.05),
        (1e308, 10, "EUR", None),
        (-1.005, 1, "EUR", -1.01),
    ],
)
def test_money_has_its_currencys_digits(price: float, quantity: float, currency: str, total: float | None) -> None:
    lines = [Line(["p"], quantity, price, currency, T0)]
    assert carts.payload("c", lines)["total"] == total


def test_a_carts_total_is_rounded_once() -> None:
    lines = [Line([name], 1.0, 0.004, "EUR", T0) for name in "abc"]
    told = carts.payload("c", lines)
    assert [line["total"] for line in told["lines"]] == [0.0, 0.0, 0.0]
    assert told["total"] == 0.01


def line(product: str, quantity: float, price: float | None, currency: str | None, added: int) -> Line:
    return Line([product] if product else [], quantity, price, currency, added)


def test_a_cart_as_consumers_read_it() -> None:
    lines = [line("q", 2, 2.5, "EUR", 1), line("", 0.5, 3.0, "EUR", 1)]
    told = carts.payload("c", lines)
    assert [(line["product"], line["quantity"], line["total"]) for line in told["lines"]] == [
        (None, 0.5, 1.5),
        ("q", 2, 5.0),
    ]
    assert (told["cart_id"], told["currency"], told["total"]) == ("c", "EUR", 6.5)
    mixed = carts.payload("", [*lines, line("r", 1, 1.0, "CZK", 1)])
    assert (mixed["cart_id"], mixed["currency"], mixed["total"]) == (None, None, None)
    unknown = carts.payload("c", [line("p", 1, None, "EUR", 1)])
    assert (unknown["lines"][0]["total"], unknown["total"]) == (None, None)
    assert carts.payload("c", [])["total"] is None


def test_prices_of_two_carts_that_become_one() -> None:
    a = Key(closed=(5, 4, 5, ""), lines=[line("p", 1, None, None, 9), line("q", 1, 1.0, "EUR", 1)])
    b = Key(closed=(7, 4, 7, ""), lines=[line("p", 2, 4.0, "EUR", 3), line("q", 1, 3.0, "CZK", 2)])
    for one, other in ((a, b), (b, a)):
        both = waits.merge(CART, one, other, ([], []), 10, 0)
        assert both.lines == [line("p", 3, 4.0, "EUR", 9), line("q", 2, 3.0, "CZK", 2)]
        assert both.closed == (7, 4, 7, "")


def products(key: Key) -> set[str]:
    return {carts.product(line.names) for line in key.lines}


def test_an_order_of_one_side_takes_what_the_other_had_and_only_what_was_added_up_to_it() -> None:
    """Also where the side that ordered has only looked at its cart before."""
    look = Fact(3, 3, "look", RESTART, 1, 3)
    has = Key(closed=(20, 4, 20, ""), lines=[line("old", 1, 1.0, "EUR", 2), line("new", 1, 1.0, "EUR", 15)])
    ordered = Key(facts=[look], ends=[End(10, 10, "order", "bought")])
    for one, other in ((has, ordered), (ordered, has)):
        assert products(waits.merge(CART, one, other, ([], []), 30, 0)) == {"new"}
        assert products(waits.merge(CART, one, other, ([], []), 30, 11)) == {"old", "new"}  # known no longer


def test_what_is_forgotten_has_done_its_work() -> None:
    key = Key(closed=(5, 4, 5, ""), lines=[line("p", 1, 1.0, "EUR", 2), line("q", 1, 1.0, "EUR", 30)])
    key.ends = [End(10, 10, "o", "bought"), End(60, 60, "o2", "bought")]
    assert not waits.forget(CART, key, [], 50, 100)
    assert products(key) == {"q"}
    assert [e.event_id for e in key.ends] == ["o2"]
    assert waits.forget(CART, Key(), [], 50, 100)
    assert not waits.forget(CART, Key(closed=(50, 4, 0, "")), [], 50, 100)
    assert waits.forget(CART, Key(closed=(49, 4, 0, "")), [], 50, 100)


# Films.


def played(*told: tuple[int, int, dict[str, Any]]) -> films.Film:
    """A film of which that was told: when it occurred, when it was received, what."""
    kept: dict[str, films.Film] = {}
    for at, known, body in told:
        films.watch(kept, [], {}, "video_started", T0 + at, T0 + known, {"film": "f", **body})
    return kept["f"]


def test_a_films_length_and_title_were_received_last_whichever_of_two_who_are_one_has_played_it_last() -> None:
    one = played((0, 1, {"title": "Up"}), (1, 9, {"total_length": 40.0}))
    other = played((5, 5, {"title": "Down", "total_length": 60.0}), (6, 6, {}))
    for a, b in ((one, other), (other, one)):
        both = films.merge_film(a, b)
        assert (both.length, both.title, both.last) == (40.0, "Down", T0 + 6)
    later = films.merge_film(films.merge_film(one, other), played((2, 10, {"title": "Up"})))
    assert (later.length, later.title) == (40.0, "Up")
    untold = films.merge_film(one, played((8, 20, {})))
    assert (untold.length, untold.title) == (40.0, "Up")


def test_when_a_films_length_and_title_were_received_takes_no_room_where_that_was_at_once() -> None:
    up = {"title": "Up", "total_length": 40.0}
    film = played((0, 0, up), (1, 1, up))
    assert (film.told, film.titled) == (0, 0)
    film = played((0, 3, up), (1, 7, {"total_length": 40.0}))
    assert (film.last, film.told, film.titled) == (T0 + 1, 6, 2)
    assert played((0, 3, {"total_length": 40.0})).titled == 0


def test_an_event_without_a_film_says_nothing() -> None:
    kept: dict[str, films.Film] = {}
    assert films.watch(kept, [], {}, "video_started", T0, T0, {"position": 0.0}) is None
    assert kept == {}
    assert add_interval([[0.0, 5.0]], 7, 7) == [[0.0, 5.0]]
    assert add_interval([[0.0, 5.0]], 5, 7) == [[0.0, 7.0]]
    assert add_interval([[0.0, 1.0], [8.0, 9.0]], 3, 4) == [[0.0, 1.0], [3.0, 4.0], [8.0, 9.0]]


def test_a_films_title_is_the_one_known_where_its_start_told_none() -> None:
    started = row("video_started", T0, film="f", title="Up", total_length=100.0, position=0.0)
    half = row("video_progressed", T0 + 9, film="f", total_length=20.0, watched_from=0.0, watched_to=10.0)
    (made,) = everything(BOOK, started, half)
    assert made.payload == {"film": "f", "title": "Up", "seconds_watched": 10.0, "total_length": 20.0}


# How decisions read.


def test_ids_come_from_the_cause_alone() -> None:
    ids = {
        decision_id(*parts)
        for parts in (
            ("r", 1, "k", "e", 7), ("s", 1, "k", "e", 7), ("r", 2, "k", "e", 7), ("r", 1, "l", "e", 7),
            ("r", 1, "k", "f", 7), ("r", 1, "k", "e", 8), ("r", 1, "ke", "", 7),
        )
    }  # fmt: skip
    assert len(ids) == 7
    assert all(len(i) == 24 and i.isalnum() for i in ids)
    assert decision_id("r", 1, "k", "\ud800", 7)
    assert retraction_id("a") == retraction_id("a") != retraction_id("b")


def test_times_and_lines() -> None:
    assert rfc3339(T0) == "2023-11-14T22:13:20.000Z"
    assert rfc3339(T0 + 7) == "2023-11-14T22:13:20.007Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    fired, retracted = (
        public(d) for d in everything(BOOK, add(T0), row("order_completed", T0 + 5, T0 + 2 * HOUR, order_id="o"))
    )
    assert "retracts" not in fired
    assert retracted["retracts"] == fired["id"]
    assert retracted["payload"] == {}
    assert "ended_by" not in retracted
    assert list(fired)[:6] == ["id", "outcome", "reason", "rule", "rule_version", "profile_id"]


# What the profile remembers.


def test_products_without_a_name_and_pages_without_times() -> None:
    profile = told(BOOK, row("product_viewed", T0), row("page_viewed", T0), row("product_viewed", T0, name="n"))
    assert profile.about.kept.products == {"n": [1, T0 // 1000]}
    assert (profile.about.engaged_ms, profile.about.absolute_ms) == (0, 0)


def test_a_scanner_says_nothing_of_the_person() -> None:
    profile = told(
        BOOK,
        row("email_sent", T0, message_id="m"),
        row("email_opened", T0 + 5000, message_id="m", confidence="machine"),
        row("email_clicked", T0 + 9000, message_id="m", confidence="unknown"),
        row("email_sent", T0),
    )
    assert profile.about.kept.messages == {"m": [T0 // 1000, 0, 0, T0 // 1000 + 9, 0, 0, 0]}


def test_the_ring_finds_whole_entries_only() -> None:
    """Six bytes that stand across two entries are no event."""

    def count(packed: bytes, mark: int) -> bytes:
        return about.count(packed, "page_viewed", T0, T0, mark, {})

    packed = count(count(about.EMPTY, 0x050607080910), 0x111213141516)
    one = about.unpack(packed)
    assert about.marks(one) == {0x050607080910, 0x111213141516}
    assert count(packed, 0x111213141516) is packed
    inside = int.from_bytes(one.recent[6:12], "big")
    assert about.marks(about.unpack(count(packed, inside))) == {*about.marks(one), inside}


def test_a_robot_cannot_grow_a_cart_without_bound() -> None:
    """Ten thousand additions: the wait is still one, what is stored stays small."""
    rule = BOOK.rules["abandoned_cart"]
    key = Key()
    for n in range(10_000):
        fact = Fact(n, n, f"e{n}", START, n, 1, Change(PUT, [Item([f"p{n}"], 1.0, "EUR", 1.0)]))
        waits.add_fact(rule, key, fact, [])
    found, _ = waits.walk(rule, key, [])
    assert len(key.facts) <= waits.FACTS_KEPT
    assert [(w.cause.event_id, w.due) for w in found] == [("e9999", 9_999 + rule.after)]
    assert len(found[0].lines) == carts.LINES_KEPT + 1
    assert not carts.complete(found[0].lines)
