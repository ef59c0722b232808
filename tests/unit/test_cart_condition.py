"""`cart`: what is in a cart, as a condition. Times are minutes; lateness is 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.language.carts import LINES_KEPT
from pipeline.language.leaves import cart
from pipeline.language.leaves.cart import CartMatcher
from pipeline.language.memory import Entry, Memory, Moment
from pipeline.topology import lint
from tests.oracle.build import Event, add, clear, event, login, order, remove, update, view
from tests.oracle.language.build import MS, change, rules, want
from tests.oracle.language.compare import changes_differing, differing
from tests.oracle.language.oracle import decisions
from tests.property.test_language import SHIPPED, topology_of
from tests.replayed import replayed_with_changes

Told = dict[str, Any]
Line = dict[str, Any]
OF_CARTS = {"per": "cart_id", "start": {"event": "product_added"}, "after": "1h"}


def leads(
    folder: Path,
    told: Told,
    events: list[Event],
    *,
    made: list[Line] | None = None,
    changes: list[Line] | None = None,
) -> None:
    """The rules and segments do, and the oracle says, what was worked out by hand."""
    for found in (decisions(told, events), replayed_with_changes(events, topology_of(told, folder))):
        assert differing(made or [], found[0]) == ""
        assert changes_differing(changes or [], found[1]) == ""


def asked(folder: Path, condition: Told, events: list[Event], holds: bool, *, cart: str | None = "c") -> None:
    """Whether it holds an hour after the first event, which puts something in, of that cart."""
    rule = {**OF_CARTS, "only_if": {"cart": condition}, "without_key": "shared"}
    (made, _) = replayed_with_changes(events, topology_of(rules(r=rule), folder))
    (expected, _) = decisions(rules(r=rule), events)
    assert differing(expected, made) == ""
    of_cart = [each["outcome"] for each in made if each["correlation_key"] == cart]
    assert of_cart == ["fired" if holds else "suppressed"]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"lines": {"gte": 2}}, True),
        ({"lines": {"is": 2}}, True),
        ({"lines": {"gt": 2}}, False),
        ({"lines": {"is": 0}}, False),
        ({"quantity": {"is": 0.3}}, False),
        ({"quantity": {"is": 3.3}}, True),
        ({"total": {"is": 31.65}}, True),
        ({"total": {"between": [31.65, 40]}, "lines": {"gte": 2}}, True),
        ({"total": {"gte": 31.65}, "lines": {"gte": 3}}, False),
        ({"total": {"gte": 31.65}, "currency": "eur"}, True),
        ({"total": {"not": 5}, "currency": "USD"}, False),
    ],
)
def test_lines_pieces_and_total(tmp_path: Path, condition: Told, holds: bool) -> None:
    events = [
        add("1", 0, price=10.5, quantity=3),
        *(add(f"2{n}", 1 + n, product_id="q", quantity=0.1, price=0.5) for n in range(3)),  # 0.1 three times is 0.3
    ]
    asked(tmp_path, condition, events, holds)


@pytest.mark.parametrize(
    ("told", "condition", "holds"),
    [
        ({"price": None}, {"total": {"gte": 0}}, False),  # what it costs isn't known
        ({"price": None}, {"total": {"gte": 0}, "currency": "EUR"}, False),
        ({"currency": "USD"}, {"total": {"gte": 0}}, False),  # in which currency?
        ({"currency": "USD"}, {"total": {"is": 10}, "currency": "EUR"}, True),
        ({"currency": "USD"}, {"total": {"is": 10}, "currency": "USD"}, True),
        ({"currency": "USD"}, {"total": {"gte": 0}, "currency": "CHF"}, False),
        ({"currency": None}, {"total": {"is": 10}, "currency": "EUR"}, True),
    ],
)
def test_when_there_is_a_total(tmp_path: Path, told: Told, condition: Told, holds: bool) -> None:
    asked(tmp_path, condition, [add("1", 0), add("2", 1, product_id="q", **told)], holds)


def test_of_a_currency_without_cents(tmp_path: Path) -> None:
    events = [add("1", 0, price=100.5, currency="JPY")]
    asked(tmp_path, {"total": {"is": 101}}, events, holds=True)


def test_an_empty_cart_has_no_total(tmp_path: Path) -> None:
    events = [add("1", 0), remove("2", 1)]
    asked(tmp_path, {"total": {"lt": 5}}, events, holds=False)
    asked(tmp_path, {"quantity": {"lt": 5}, "lines": {"is": 0}}, events, holds=True)


def test_what_occurred_up_to_the_due_time_as_known_at_the_decision(tmp_path: Path) -> None:
    rule = {**OF_CARTS, "only_if": {"cart": {"lines": {"is": 2}}}}
    for at, got, outcome in [(60, 65, "fired"), (60, 65 + MS, "suppressed"), (60 + MS, None, "suppressed")]:
        told = update("2", at, got, products=[{"product_id": "p"}, {"product_id": "q"}])
        reason = "due" if outcome == "fired" else "only_if"
        leads(tmp_path, rules(r=rule), [add("1", 0), told], made=[want(outcome, reason, "1", 0, 60, 65, key="c")])


def test_the_order_of_one_millisecond_is_that_of_carts(tmp_path: Path) -> None:
    events = [  # removed, added, set, ordered; received in another order
        add("1", 0),
        order("5", 10, cart="other", products=[{"product_id": "q"}]),
        update("4", 10, products=[{"product_id": "q"}, {"product_id": "r"}]),
        add("3", 10, product_id="s"),
        remove("2", 10),
    ]
    asked(tmp_path, {"lines": {"is": 1}, "quantity": {"is": 1}}, events, holds=True)


def test_an_order_takes_its_products_out_of_other_carts(tmp_path: Path) -> None:
    events = [
        add("1", 0, quantity=3),
        add("2", 1, product_id="q"),
        order("3", 5, cart="d", products=[{"product_id": "p"}]),
    ]
    asked(tmp_path, {"lines": {"is": 1}, "quantity": {"is": 1}}, events, holds=True)


def test_an_order_without_a_cart_ends_all_and_a_clear_of_another_none(tmp_path: Path) -> None:
    asked(tmp_path, {"lines": {"is": 0}}, [add("1", 0), order("2", 5, cart=None)], holds=True)
    asked(tmp_path, {"lines": {"is": 0}}, [add("1", 0), clear("2", 5, cart="d")], holds=False)


def test_an_order_told_twice_counts_from_when_it_was_first_made(tmp_path: Path) -> None:
    events = [order("0", -5, cart="c", order_id="o"), add("1", 0), order("2", 30, cart="c", order_id="o")]
    asked(tmp_path, {"lines": {"is": 1}}, events, holds=True)


def test_carts_without_an_id_are_one(tmp_path: Path) -> None:
    events = [add("1", 0, cart=None), add("2", 5, cart=None, product_id="q"), add("3", 6, product_id="q")]
    asked(tmp_path, {"lines": {"is": 2}}, events, holds=True, cart=None)


def test_elsewhere_it_is_any_one_cart_and_all_of_one_and_the_same(tmp_path: Path) -> None:
    both = {"cart": {"lines": {"gte": 2}, "total": {"gte": 100}}}
    events = [
        add("1", 0, cart="a", price=100),
        add("2", 10, cart="b"),
        add("3", 20, cart="b", product_id="q"),
        add("4", 30, cart="a", product_id="q"),
        clear("5", 40, cart="a"),
    ]
    leads(tmp_path, rules({"s": both}), events, changes=[change("entered", 30, "4"), change("left", 40, "5")])


def test_who_has_a_cart_and_who_none(tmp_path: Path) -> None:
    told = rules({"s": {"cart": {"lines": {"is": 0}}}})
    for events in ([login("1", 0, who="a:phone")], [view("1", 0)], [order("1", 0, cart=None)]):
        leads(tmp_path, told, events)
    for events in ([remove("1", 0)], [update("1", 0)], [clear("1", 0)], [order("1", 0, cart="c")]):
        leads(tmp_path, told, events, changes=[change("entered", 0, "1")])
    events = [add("1", 0, cart="full"), add("2", 5), remove("3", 10)]
    leads(tmp_path, told, events, changes=[change("entered", 10, "3")])  # whatever is in others


def test_nothing_in_any_cart_is_so_of_who_has_none(tmp_path: Path) -> None:
    told = rules({"s": {"none": [{"cart": {"lines": {"gte": 1}}}]}})
    events = [login("1", 0, who="a:phone"), add("2", 10), order("3", 20, cart=None)]
    changes = [change("entered", 0), change("left", 10, "2"), change("entered", 20, "3")]
    leads(tmp_path, told, events, changes=changes)


def test_a_rule_starts_when_its_cart_is_so(tmp_path: Path) -> None:
    told = rules(r={"per": "cart_id", "start": {"when": {"cart": {"total": {"gte": 20}}}}, "after": "1h"})
    events = [
        add("1", 0, cart="a"),
        add("2", 1, cart="b"),
        add("3", 10, cart="b"),
        add("4", 20, cart="b"),  # it holds already
    ]
    leads(tmp_path, told, events, made=[want("fired", "due", "3", 10, 70, 75, key="b")])


def test_what_empties_all_carts_turns_each(tmp_path: Path) -> None:
    told = rules(r={"per": "cart_id", "start": {"when": {"cart": {"lines": {"is": 0}}}}, "after": "1h"})
    events = [add("1", 0, cart="a"), add("2", 1, cart="b"), order("3", 3000, cart=None)]
    made = [want("fired", "due", "3", 3000, 3060, 3065, key=key) for key in ("a", "b")]
    leads(tmp_path, told, events, made=made)


def test_a_turn_that_what_comes_late_takes_back_is_unfounded(tmp_path: Path) -> None:
    told = rules(r={"per": "cart_id", "start": {"when": {"cart": {"total": {"gte": 20}}}}, "after": "1h"})
    events = [add("1", 0), add("2", 10), remove("3", 5, 30)]
    leads(tmp_path, told, events, made=[want("suppressed", "unfounded", "2", 10, 70, 75, key="c")])


def test_until_ends_it_with_the_event_by_which_it_holds(tmp_path: Path) -> None:
    until = {"when": {"cart": {"quantity": {"gte": 3}}}, "reason": "enough"}
    events = [add("1", 0), add("2", 5, cart="d"), add("3", 10, quantity=2)]
    made = [
        want("cancelled", "enough", "3", 10, 70, 75, key="c", ended_by="3"),
        want("fired", "due", "2", 5, 65, 70, key="d"),
    ]
    leads(tmp_path, rules(r={**OF_CARTS, "until": until}), events, made=made)


def test_a_wait_s_cart_is_there_whatever_is_known_of_it(tmp_path: Path) -> None:
    rule = {"per": "cart_id", "start": {"event": "cart_viewed"}, "after": "1h"}
    until = {"when": {"cart": {"lines": {"is": 0}}}, "reason": "empty"}
    made = [want("cancelled", "empty", "1", 0, 60, 65, key="c")]
    leads(tmp_path, rules(r={**rule, "until": until}), [view("1", 0)], made=made)
    made = [want("fired", "due", "1", 0, 60, 65, key="c")]
    leads(tmp_path, rules(r={**rule, "only_if": {"cart": {"lines": {"is": 0}}}}), [view("1", 0)], made=made)


def test_each_stage_looks_anew(tmp_path: Path) -> None:
    rule = {
        "per": "cart_id",
        "start": {"event": "product_added"},
        "stages": [
            {"name": "first", "after": "1h", "only_if": {"cart": {"lines": {"gte": 2}}}},
            {"name": "last", "after": "2h", "only_if": {"cart": {"lines": {"is": 1}}}},
        ],
    }
    events = [add("1", 0), add("2", 0, product_id="q"), remove("3", 90)]
    made = [
        want("fired", "due", "2", 0, 60, 65, key="c", stage="first"),
        want("fired", "due", "2", 0, 120, 125, key="c", stage="last"),
    ]
    leads(tmp_path, rules(r=rule), events, made=made)


def test_two_who_are_one_have_one_cart(tmp_path: Path) -> None:
    told = rules({"s": {"cart": {"total": {"gte": 20}}}})
    events = [add("1", 0, who="a:phone"), add("2", 10, who="u:1", product_id="q"), login("3", 20, who="a:phone u:1")]
    leads(tmp_path, told, events, changes=[change("entered", 20, None, "tie")])


def test_what_only_informs_counts_here(tmp_path: Path) -> None:
    told = rules({"s": {"cart": {"lines": {"gte": 1}}}})
    leads(tmp_path, told, [add("1", 0, 5000)], changes=[change("entered", 5000, "1")])


def test_several_of_one_product_less_are_taken_out(tmp_path: Path) -> None:
    less = event("product_added", "3", 10, None, cart_id="c", products=[{"product_id": "q", "quantity": -1}])
    asked(tmp_path, {"lines": {"is": 1}}, [add("1", 0), add("2", 5, product_id="q"), less], holds=True)


# What is remembered.


def put(number: int, at: int, product: str, how_many: float = 1.0, key: str = "c") -> Entry:
    return Entry(at, at, f"e{number}", number, [key, 1, [[[product], 1.0, "EUR", how_many]]])


def contents(memory: Memory, at: int = 10**9) -> dict[str, dict[str, float]]:
    found = CartMatcher(of_key=False).contents(Moment(memory, at))
    return {key: {line.names[0] or "": line.quantity for line in lines} for key, lines in found.items()}


def noted(*entries: Entry) -> Memory:
    memory: Memory = {}
    for entry in entries:
        assert CartMatcher(of_key=False).take(memory, "", entry)
    return memory


def test_of_too_many_the_oldest_become_what_they_leave() -> None:
    matcher, every = CartMatcher(of_key=False), 3 * cart.KEPT
    memory = noted(*(put(number, number, "pq"[number % 2]) for number in range(every)))
    assert len(memory["cart"]) <= cart.KEPT
    assert contents(memory) == {"c": {"p": every / 2, "q": every / 2}}
    upto = memory["cart"][0].value[0]
    assert sum(contents(memory, upto)["c"].values()) == upto + 1
    assert not matcher.lacks(memory, None, upto + 1)
    assert matcher.lacks(memory, None, upto)


def test_what_comes_late_is_said_where_it_should_have_been_folded_in() -> None:
    matcher = CartMatcher(of_key=False)
    memory = noted(*(put(number, number, "p") for number in range(3 * cart.KEPT)))
    matcher.take(memory, "", put(-1, 5, "q"))
    assert contents(memory)["c"]["q"] == 1
    assert matcher.lacks(memory, None, 10**9)


def test_whole_milliseconds_are_folded() -> None:
    memory = noted(*(put(number, number // 150, "p") for number in range(2 * cart.KEPT)))
    assert {entry.occurred_at for entry in memory["cart"][1:]} & {memory["cart"][0].value[0]} == set()
    burst = noted(*(put(number, 7, "p") for number in range(2 * cart.KEPT)))
    assert contents(burst) == {"c": {"p": 2 * cart.KEPT}}
    assert CartMatcher(of_key=False).lacks(burst, None, 10**9)


def test_of_too_many_carts_the_empty_and_the_oldest_go() -> None:
    memory = noted(*(put(number, number, "p", key=f"c{number}") for number in range(4 * cart.KEPT)))
    found = contents(memory)
    assert cart.CARTS_KEPT <= len(found) <= cart.CARTS_KEPT + cart.KEPT
    assert f"c{4 * cart.KEPT - 1}" in found
    assert CartMatcher(of_key=False).lacks(memory, None, 10**9)


def test_of_a_cart_with_too_many_lines_a_decision_says_so() -> None:
    items = [[[f"p{n}"], 1.0, "EUR", 1.0] for n in range(LINES_KEPT // 2 + 1)]
    other = [[[f"q{n}"], 1.0, "EUR", 1.0] for n in range(LINES_KEPT // 2)]
    memory = noted(Entry(1, 1, "a", 1, ["c", 1, items]), Entry(2, 2, "b", 2, ["c", 1, other]))
    assert CartMatcher(of_key=False).lacks(memory, None, 10)
    assert len(contents(memory)["c"]) == LINES_KEPT + 1


def test_memories_of_two_become_one() -> None:
    matcher = CartMatcher(of_key=False)
    mine = noted(*(put(number, 2 * number, "p") for number in range(20)))
    theirs = noted(*(put(100 + number, 2 * number + 1, "p", key="d") for number in range(20)))
    assert contents({"cart": matcher.joined(mine["cart"], theirs["cart"])}) == {"c": {"p": 20}, "d": {"p": 20}}
    mine, theirs = (
        noted(*(put(first + number, first + number, "p") for number in range(2 * cart.KEPT))) for first in (0, 10_000)
    )
    joined = {"cart": matcher.joined(mine["cart"], theirs["cart"])}
    assert len(joined["cart"]) <= cart.KEPT
    assert contents(joined) == {"c": {"p": 4 * cart.KEPT}}
    assert matcher.lacks(joined, None, 10**9)


# What can be written.


def found_in(folder: Path, when: Told, **rule: Any) -> list[str]:
    """What lint says of a segment or, where more is told of one, a rule that asks for this."""
    whole = yaml.safe_load(SHIPPED.read_text())
    del whole["include"]
    whole["segments"] = {} if rule else {"s": {"when": when}}
    whole["triggers"] = {"r": {"version": 1, "after": "1h", "only_if": when, **rule}} if rule else {}
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return [f"{each.code}: {each.message} ({each.hint})" for each in lint(path, {})]


@pytest.mark.parametrize("currency", ["EUR", "eur", "jpy"])
def test_what_can_be_asked(tmp_path: Path, currency: str) -> None:
    assert found_in(tmp_path, {"cart": {"total": {"gte": 100}, "currency": currency}}) == []
    assert found_in(tmp_path, {"cart": {"total": {"gte": 100}}}) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"lines": {"lt": 0}}, "never-holds: less than 0: no number is that (turn it round, or remove one)"),
        (
            {"total": {"gte": 9}, "currency": "ERU"},
            "unknown-currency: ERU is no currency that is known (did you mean EUR?)",
        ),
        (
            {"total": {"gte": 9}, "currency": "Euros"},
            "unknown-currency: Euros is no currency that is known (did you mean EUR?)",
        ),
        (
            {"lines": {"gte": 9}, "currency": "EUR"},
            "no-effect: currency is that of a total, and none is compared (write total: {gte: 100} beside it)",
        ),
        ({"line": {"gte": 9}}, "unknown-key: unknown key line (did you mean lines?)"),
    ],
)
def test_what_a_condition_can_t_ask(tmp_path: Path, asked: Told, said: str) -> None:
    assert found_in(tmp_path, {"cart": asked}) == [said]


def test_something_must_be_asked(tmp_path: Path) -> None:
    assert len(found_in(tmp_path, {"cart": {}})) == 1
    assert len(found_in(tmp_path, {"cart": "empty"})) == 1


def test_until_it_is_empty_may_be_said_as_a_condition(tmp_path: Path) -> None:
    until = {"when": {"cart": {"lines": {"is": 0}}}, "reason": "emptied"}
    one, other = (
        topology_of(rules(r={**OF_CARTS, "until": said}), tmp_path).rules
        for said in (until, {"cart": "empty", "reason": "emptied"})
    )
    assert one == other
    at_once = {name: each for name, each in OF_CARTS.items() if name != "after"}
    for rule in ({**OF_CARTS, "start": {"event": "cart_viewed"}}, at_once):
        (generic,) = topology_of(rules(r={**rule, "until": until}), tmp_path).rules
        assert generic.until is not None
