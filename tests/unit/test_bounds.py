"""Rules 42: what is kept of one person is bounded, and no bound turns a decision over, or it says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.language import carts
from pipeline.profile.profile import Profile, advance, encode_profile, new_profile, receive
from pipeline.triggers import films, keys, marks, waits
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row
from tests.replayed import shipped

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
T0 = 1_700_000_000_000
FAR = 1 << 60
BOOK = RuleBook(shipped())


class Told:
    """One person, told of one thing after another."""

    def __init__(self) -> None:
        self.profile = new_profile()
        self.number = 0
        self.at = T0

    def tell(self, kind: str, at: int | None = None, got: int | None = None, **data: Any) -> int:
        """An event, a second after the last one unless told otherwise, received when it occurred. Returns when."""
        self.number += 1
        at = self.at + SECOND if at is None else at
        self.at = max(at, self.at)
        ids = ["anonymous_id", "a"]
        receive(BOOK, self.profile, Row(0, "", kind, at, got or at, f"e{self.number}", self.number, ids, data))
        return at

    def add(self, product: str = "A", cart: str = "c", **more: Any) -> int:
        """Something is put into a cart."""
        return self.tell("product_added", cart_id=cart, product_id=product, price=2.0, currency="EUR", **more)

    def look(self, times: int) -> None:
        """The cart is looked at, once a second."""
        for _ in range(times):
            self.tell("cart_viewed", cart_id="c")

    def decided(self, upto: int = FAR) -> list[Any]:
        """What is decided by then."""
        return advance(BOOK, self.profile, upto)


def products(decision: Decision) -> list[str]:
    return [line["product"] for line in decision.payload["lines"]]


@pytest.fixture
def one() -> Told:
    return Told()


# One cart that a robot keeps open.


def test_a_look_an_addition_and_many_looks_are_a_cart_left_behind(one: Told) -> None:
    one.look(1)
    one.add()
    one.look(520)
    (made,) = one.decided()
    assert (made.outcome, made.due_at, products(made)) == ("fired", one.at + HOUR, ["A"])
    assert not made.bounded


def test_a_cart_that_was_emptied_stays_so(one: Told) -> None:
    one.add()
    emptied = one.tell("product_removed", cart_id="c", product_id="A")
    one.look(520)
    (made,) = one.decided()
    assert (made.outcome, made.reason, made.ended_by, made.due_at) == ("cancelled", "emptied", "e2", T0 + SECOND + HOUR)
    assert emptied == T0 + 2 * SECOND


def test_what_was_taken_out_stays_out(one: Told) -> None:
    one.add("A")
    one.add("B")
    one.tell("product_removed", cart_id="c", product_id="A")
    one.look(520)
    (made,) = one.decided()
    assert (made.outcome, products(made), made.bounded) == ("fired", ["B"], False)


def test_what_comes_late_between_facts_that_are_folded_says_so(one: Told) -> None:
    for n in range(600):
        one.add(f"p{n % 7}")
    one.tell("order_completed", T0 + 100 * SECOND, one.at + MINUTE, cart_id="c", order_id="o")
    made = one.decided()
    assert made[-1].bounded


def test_one_wait_after_another_within_an_hour_are_all_decided(one: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """More facts than are kept, none of which says what another does."""
    monkeypatch.setattr(waits, "FACTS_KEPT", 50)
    monkeypatch.setattr(waits, "ENDS_KEPT", 50)
    for n in range(60):
        one.add(f"p{n}")
        one.tell("cart_cleared", cart_id="c")
    made = one.decided()
    assert len(made) == 60
    assert {d.reason for d in made} == {"cleared", "too_many"}
    assert all(d.bounded for d in made if d.reason == "too_many")


def test_many_ends_of_one_cart_change_nothing(one: Told) -> None:
    for _ in range(520):
        one.tell("cart_cleared", cart_id="c")
    one.add()
    for _ in range(520):
        one.tell("cart_cleared", cart_id="c")
    (made,) = one.decided()
    assert (made.outcome, made.reason, made.ended_by, made.bounded) == ("cancelled", "cleared", "e522", False)
    state = one.profile.persons[0].rules["abandoned_cart"]
    assert len(state.keys["c"].ends) <= waits.ENDS_KEPT


def test_many_orders_change_nothing(one: Told) -> None:
    for _ in range(520):
        one.tell("order_completed")
    one.add()
    for _ in range(520):
        one.tell("order_completed")
    (made,) = one.decided()
    assert (made.outcome, made.reason, made.ended_by, made.bounded) == ("cancelled", "bought", "e522", False)
    assert len(one.profile.persons[0].rules["abandoned_cart"].everyone) <= keys.ENDS_KEPT


def test_more_products_than_are_kept_are_told_as_what_they_are(one: Told) -> None:
    for n in range(600):
        one.add(f"p{n:03}")
    (made,) = one.decided()
    assert len(products(made)) == carts.LINES_KEPT
    assert (made.payload["total"], made.bounded) == (None, True)
    one.at += 3 * HOUR
    one.tell("cart_updated", cart_id="c", currency="EUR", products=[{"product_id": "A", "price": 3.0, "quantity": 1.0}])
    (made,) = one.decided()
    assert (products(made), made.payload["total"], made.bounded) == (["A"], 3.0, False)


def test_a_cart_of_more_products_is_not_empty_when_those_that_are_known_are_gone(one: Told) -> None:
    for n in range(501):
        one.add(f"p{n:03}")
    for n in range(500):
        one.tell("product_removed", cart_id="c", product_id=f"p{n:03}")
    (made,) = one.decided()
    assert (made.outcome, products(made), made.bounded) == ("fired", [], True)


# Many carts, messages, films.


def test_clicks_before_the_send_are_remembered(one: Told) -> None:
    for n in range(200):
        one.tell("email_clicked", message_id=f"m{n}", link_id="ebook")
    for n in range(200):
        one.tell("email_sent", message_id=f"m{n}", link_ids=["ebook"])
    assert {(d.outcome, d.reason, d.bounded) for d in one.decided()} == {("cancelled", "clicked", False)}


def test_where_clicks_had_to_go_it_is_said(one: Told) -> None:
    for n in range(keys.KEYS_KEPT + 60):
        one.tell("email_clicked", message_id=f"m{n}", link_id="ebook")
    one.tell("email_sent", message_id="m0", link_ids=["ebook"])
    one.tell("email_sent", message_id="m300", link_ids=["ebook"])
    made = {d.correlation_key: (d.outcome, d.bounded) for d in one.decided()}
    assert made == {"m0": ("fired", True), "m300": ("cancelled", True)}
    one.at += 5 * DAY
    one.tell("email_sent", message_id="later", link_ids=["ebook"])
    assert [d.bounded for d in one.decided()] == [False]


def test_a_further_start_than_there_is_room_for_is_refused_at_once(one: Told) -> None:
    for n in range(keys.WAITS_KEPT + 20):
        one.add(cart=f"c{n}")
    refused = one.decided(one.at + 1)
    assert [(d.outcome, d.reason, d.decided_at - d.occurred_at) for d in refused] == [
        ("suppressed", "too_many", 0)
    ] * 20
    assert [products(d) for d in refused] == [["A"]] * 20
    assert all(d.bounded for d in refused)
    one.at += 3 * HOUR
    one.add("B", cart=f"c{keys.WAITS_KEPT}")
    made = one.decided()
    fired = [d for d in made if d.outcome == "fired"]
    assert len(fired) == keys.WAITS_KEPT + 1
    assert len({d.id for d in [*refused, *made]}) == keys.WAITS_KEPT + 21
    # Only so many may be taken back; the others say that they can't. And of what was refused nothing is known.
    assert sum(not d.bounded for d in fired) == keys.FIRED_KEPT
    assert (products(fired[-1]), fired[-1].payload["total"], fired[-1].bounded) == (["B"], None, True)


def test_a_message_that_was_refused_is_no_news_later(one: Told) -> None:
    for n in range(keys.WAITS_KEPT + 1):
        one.tell("email_sent", message_id=f"m{n}", link_ids=["ebook"])
    assert [d.reason for d in one.decided(one.at + 1)] == ["too_many"]
    one.decided()
    one.tell("email_sent", one.at + 4 * DAY, message_id=f"m{keys.WAITS_KEPT}", link_ids=["ebook"])
    assert [d.bounded for d in one.decided()] == [True]


def test_of_many_triggers_each_that_does_not_say_otherwise_is_taken_back(one: Told) -> None:
    for n in range(150):
        one.add(cart=f"c{n}")
    fired = one.decided(one.at + 2 * HOUR)
    at = one.at + MINUTE
    assert one.profile.persons[0].rules["abandoned_cart"].pages == []  # what a caller sees is whole
    one.tell("order_completed", at, at + DAY)
    made = one.decided()
    assert {d.retracts for d in made} == {d.id for d in fired if not d.bounded}
    assert len(made) == keys.FIRED_KEPT


def test_carts_of_which_only_the_contents_are_left_are_bounded_and_say_so(one: Told) -> None:
    for n in range(200):
        one.add("A", cart=f"c{n}")
        one.at += DAY
    one.add("B", cart="c0")
    one.add("B", cart="c150")
    made = {d.correlation_key: d for d in one.decided()[-2:]}
    assert (products(made["c0"]), made["c0"].payload["total"], made["c0"].bounded) == (["B"], None, True)
    assert (products(made["c150"]), made["c150"].payload["total"], made["c150"].bounded) == (["A", "B"], 4.0, False)


def watch(one: Told, film: str, start: float, end: float) -> None:
    one.tell("video_progressed", film=film, total_length=100.0, watched_from=start, watched_to=end, title=film)


def test_the_first_of_many_films_is_remembered(one: Told) -> None:
    for n in range(230):
        watch(one, f"f{n}", 0, 60)
    made = one.decided()
    assert [d.payload["seconds_watched"] for d in made] == [60.0] * 230
    assert {d.payload["title"] for d in made} == {f"f{n}" for n in range(230)}


def test_the_first_of_many_films_is_finished_later(one: Told) -> None:
    for n in range(230):
        watch(one, f"f{n}", 0, 30)
    watch(one, "f0", 30, 55)
    (made,) = one.decided()
    assert (made.payload["film"], made.payload["seconds_watched"], made.bounded) == ("f0", 55.0, False)


def test_a_film_that_was_decided_is_never_decided_again(one: Told) -> None:
    for n in range(1_000):
        one.tell("video_progressed", one.at + DAY, film=f"f{n}", total_length=10.0, watched_from=0.0, watched_to=9.0)
    assert len(one.decided()) == 1_000
    for n in range(1_000):
        watch(one, f"f{n}", 0, 90)
    assert one.decided() == []
    assert len(one.profile.packed_persons) < 13_000


# What can decide nothing any more goes.


def size(profile: Profile) -> int:
    return len(encode_profile(profile))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("email_sent", {"link_ids": ["ebook"], "message_id": "{}"}),
        ("email_clicked", {"link_id": "ebook", "message_id": "{}"}),
        ("cart_viewed", {"cart_id": "c"}),
        ("cart_viewed", {"cart_id": "{}"}),
        ("cart_cleared", {"cart_id": "{}"}),
        ("order_completed", {"order_id": "{}", "cart_id": "{}", "products": [{"product_id": "A"}]}),
        ("asset_downloaded", {"asset": "ebook"}),
    ],
)
def test_what_is_kept_does_not_grow_with_the_days(one: Told, kind: str, data: dict[str, Any]) -> None:
    sizes = {}
    for day in range(400):
        told: dict[str, Any] = {
            name: value.format(f"{day:08}") if isinstance(value, str) else value for name, value in data.items()
        }
        at = one.tell(kind, one.at + DAY, **told)
        one.decided(at + HOUR)
        sizes[day] = len(one.profile.packed_persons)
    assert sizes[399] <= 1.1 * sizes[60]


def test_a_robot_stays_as_large_as_it_may_be(one: Told) -> None:
    for n in range(3_000):
        one.add(f"p{n}", cart=f"{n:032}")
        one.tell("cart_viewed", cart_id=f"look {n:032}")
        if n % 500 == 499:
            one.decided(one.at)
    assert size(one.profile) < 200_000


# Marks.


def test_marks() -> None:
    hashes = {name: marks.hashed(name) for name in ("a", "b", "c")}
    some = marks.noted(b"", [hashes["a"], hashes["b"], hashes["a"]], T0)
    assert len(some) == 2 * marks.ENTRY
    assert marks.marked(some, "a")
    assert not marks.marked(some, "c")
    other = marks.noted(marks.noted(b"", [hashes["c"]], T0 + 3 * DAY), [hashes["a"]], T0 + 5 * DAY)
    both = marks.joined(some, other)
    assert both == marks.joined(other, some) == marks.joined(both, some)
    assert len(both) == 3 * marks.ENTRY
    assert both.endswith(hashes["a"][-marks.DIGEST :])
    left = marks.without(both, "b")
    assert [marks.marked(left, name) for name in "abc"] == [True, False, True]
    assert marks.without(left, "b") == left
    inside = (hashes["a"] + hashes["b"])[4:10]  # across two rows
    assert marks.place(hashes["a"] + hashes["b"], inside) == -1


few_bytes = st.integers(0, 2).map(lambda n: bytes([n]))


@given(st.lists(few_bytes, max_size=80), st.lists(few_bytes, min_size=8, max_size=8), st.sampled_from([6, 8]))
def test_marks_are_found_compiled_as_by_python(told: list[bytes], wanted: list[bytes], size: int) -> None:
    entries = b"".join(told[: len(told) // marks.ENTRY * marks.ENTRY])
    for end in (b"".join(wanted), entries[-marks.ENTRY :]):
        if end:
            assert marks.place(entries, end[-size:]) == marks.plain_place(entries, end[-size:])


def test_films_that_nobody_plays_lie_packed() -> None:
    kept: dict[str, films.Film] = {f"f{n}": films.Film(last=n) for n in range(40)}
    pages: list[films.FilmPage] = []
    assert films.make_room(kept, pages) == -1
    assert len(kept) <= films.AT_HAND
    assert films.find(kept, pages, "f3") == films.Film(last=3)
    assert films.find(kept, pages, "g") is None
    films.open_all(kept, pages)
    assert len(kept) == 40
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept)).keys() == kept.keys()
    many: dict[str, films.Film] = {f"f{n}": films.Film(last=n) for n in range(700)}
    assert films.make_room(many, pages) == 700 - len(many) - films.ON_A_PAGE * films.PAGES_KEPT - 1
