"""Rules that name paths: what tells waits apart, what matches them, and what compares with their starts."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline.topology import load
from pipeline.topology.model import Topology
from pipeline.triggers.decisions import Decision, bounded
from pipeline.triggers.payload_schema import payload_schema
from tests.replayed import replayed, shipped

MINUTE, HOUR = 60_000, 3_600_000
T0 = 1_760_000_000_000


@pytest.fixture
def rules(tmp_path: Path) -> Any:
    """The shipped topology with these rules instead, as YAML."""

    def read(text: str) -> Topology:
        whole = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text("utf-8"))
        whole["triggers"] = yaml.safe_load(text)
        file = tmp_path / "topology.yaml"
        file.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
        return load(file, {})

    return read


def event(
    number: int, kind: str, at: int, got: int | None = None, who: str = "a", context: Any = None, **body: Any
) -> dict[str, Any]:
    """`at`, `got`: minutes after T0."""
    return {
        "type": kind,
        "event_id": f"e{number}",
        "occurred_at": T0 + at * MINUTE,
        "received_at": T0 + (at if got is None else got) * MINUTE,
        "identifiers": {"user_id": who},
        "body": body,
        "context": context,
    }


def brief(made: list[dict[str, Any]]) -> list[tuple[str | None, str, str, str]]:
    """(key, outcome, reason, cause) of each decision, sorted."""
    told = [(line["correlation_key"] or "", line["outcome"], line["reason"], line["cause_event_id"]) for line in made]
    return sorted(told)


REORDER = """
reorder:
  version: 1
  per: products.product_id
  start: {event: order_completed}
  after: 1h
  cancel: {event: order_completed, where: {channel: again}, match: products.product_id, reason: bought}
"""


def products(*names: str) -> list[dict[str, Any]]:
    return [{"product_id": name} for name in names]


def test_each_item_of_a_list_has_a_wait_of_its_own(rules: Any) -> None:
    topology = rules(REORDER)
    made = replayed([event(1, "order_completed", 0, order_id="o", products=products("p1", " p2", "p1", ""))], topology)
    assert brief(made) == [("p1", "fired", "due", "e1"), ("p2", "fired", "due", "e1")]
    assert len({line["id"] for line in made}) == 2
    assert brief(replayed([event(1, "order_completed", 0, order_id="o")], topology)) == []


def test_a_list_of_items_matches_each_of_their_waits(rules: Any) -> None:
    told = [
        event(1, "product_added", 0, product_id="p1"),
        event(2, "product_added", 1, product_id="p2"),
        event(3, "product_added", 2, product_id="p3"),
        event(4, "order_completed", 3, order_id="o", products=products("p2", "p1", "p9")),
    ]
    topology = rules("""
wanted:
  version: 1
  per: product_id
  start: {event: product_added}
  after: 1h
  cancel: {event: order_completed, match: {products.product_id: key}, reason: bought}
""")
    expected = [("p1", "cancelled", "bought", "e1"), ("p2", "cancelled", "bought", "e2"), ("p3", "fired", "due", "e3")]
    for each in permutations(told):  # whenever each is received
        late = [{**one, "received_at": T0 + 4 * MINUTE + n} for n, one in enumerate(each)]
        assert brief(replayed(late, topology)) == expected
    after = event(4, "order_completed", 3, 90, order_id="o", products=products("p2", "p3"))
    assert brief(replayed([*told[:3], after], topology))[1:] == [
        ("p2", "fired", "due", "e2"),
        ("p2", "retracted", "bought", "e2"),
        ("p3", "fired", "due", "e3"),
        ("p3", "retracted", "bought", "e3"),
    ]


def test_keys_stand_under_a_sender_s_names_and_in_the_context(rules: Any) -> None:
    topology = rules("""
trial: {version: 1, per: properties.account, start: {event: custom, where: {name: Trial Started}}, after: 1h,
        cancel: {event: custom, where: {name: Paid}, match: properties.account, reason: paid}}
campaign: {version: 1, per: context.campaign.name, without_key: shared, start: {event: searched}, after: 1h}
""")
    told = [
        event(1, "custom", 0, name="Trial Started", properties={"account": " acme "}),
        event(2, "custom", 0, name="Trial Started", properties={"account": "undefined"}),
        event(3, "custom", 0, name="Trial Started", properties={"account": "other"}),
        event(4, "custom", 5, name="Paid", properties={"account": "acme"}),
        event(5, "searched", 0, query="q", context={"campaign": {"name": "summer"}}),
        event(6, "searched", 1, query="q", context={"campaign": {"name": "null"}}),
    ]
    assert brief(replayed(told, topology)) == [
        ("", "fired", "due", "e6"),
        ("acme", "cancelled", "paid", "e1"),
        ("other", "fired", "due", "e3"),
        ("summer", "fired", "due", "e5"),
    ]


QUOTED = """
quoted:
  version: 1
  per: properties.quote
  start: {event: custom, where: {name: Quoted}}
  after: 1h
  cancel:
    event: order_completed
    where: {currency: start.properties.currency, total: {gte: start.properties.total}}
    reason: bought
"""


def quote(number: int, at: int, key: str, total: str, currency: str = "EUR", got: int | None = None) -> dict[str, Any]:
    told = {"quote": key, "total": total, "currency": currency}
    return event(number, "custom", at, got, name="Quoted", properties=told)


def order(number: int, at: int, total: float, got: int | None = None, currency: str = "EUR") -> dict[str, Any]:
    return event(number, "order_completed", at, got, order_id=f"o{number}", total=total, currency=currency)


def test_a_cancel_compares_with_what_the_start_told(rules: Any) -> None:
    topology = rules(QUOTED)
    told = [
        quote(1, 0, "small", "99,50"),
        quote(2, 1, "large", "500"),
        quote(3, 2, "other", "5", "USD"),
        order(4, 30, 120.0),
    ]
    expected = [
        ("large", "fired", "due", "e2"),
        ("other", "fired", "due", "e3"),
        ("small", "cancelled", "bought", "e1"),
    ]
    for each in permutations(told):
        late = [{**one, "received_at": T0 + 31 * MINUTE + n} for n, one in enumerate(each)]
        assert brief(replayed(late, topology)) == expected
    assert brief(replayed([*told, order(5, 31, 600.0)], topology))[0] == ("large", "cancelled", "bought", "e2")


def test_what_is_told_late_takes_back_only_what_it_would_have_ended(rules: Any) -> None:
    made = replayed([quote(1, 0, "small", "99"), quote(2, 1, "large", "500"), order(3, 30, 120.0, 90)], rules(QUOTED))
    assert brief(made) == [
        ("large", "fired", "due", "e2"),
        ("small", "fired", "due", "e1"),
        ("small", "retracted", "bought", "e1"),
    ]


def test_what_comes_after_overtakes_only_what_it_would_end(rules: Any) -> None:
    told = [quote(1, 0, "small", "99"), quote(2, 0, "large", "500"), order(3, 62, 120.0)]
    assert brief(replayed(told, rules(QUOTED))) == [
        ("large", "fired", "due", "e2"),
        ("small", "suppressed", "overtaken", "e1"),
    ]


def test_the_start_is_the_one_that_opened_the_wait(rules: Any) -> None:
    """Which a later start moves, and of two persons who are one the earlier."""
    topology = rules(QUOTED)
    moved = [quote(1, 0, "q", "100"), quote(2, 30, "q", "900"), order(3, 70, 200.0)]
    assert brief(replayed(moved, topology)) == [("q", "cancelled", "bought", "e2")]
    dearer = [quote(1, 0, "q", "900"), quote(2, 30, "q", "100"), order(3, 70, 200.0)]
    assert brief(replayed(dearer, topology)) == [("q", "fired", "due", "e2")]
    # After the first has ended the next one opens another.
    again = [quote(1, 0, "q", "100"), order(2, 10, 200.0), quote(3, 20, "q", "900"), order(4, 30, 200.0)]
    assert brief(replayed(again, topology)) == [("q", "cancelled", "bought", "e1"), ("q", "fired", "due", "e3")]
    one = {**quote(1, 0, "q", "900"), "identifiers": {"anonymous_id": "x"}}
    other = {**quote(2, 10, "q", "100"), "identifiers": {"email": "y@z.example"}}
    tie = {**event(3, "searched", 20, query="q"), "identifiers": {"anonymous_id": "x", "email": "y@z.example"}}
    bought = {**order(4, 30, 200.0), "identifiers": {"anonymous_id": "x"}}
    assert brief(replayed([one, other, tie, bought], topology)) == [("q", "fired", "due", "e2")]


def test_a_start_that_was_told_late_opens_it_after_all(rules: Any) -> None:
    told = [quote(2, 30, "q", "100"), order(3, 40, 200.0, 41), quote(1, 0, "q", "900", got=42)]
    assert brief(replayed(told, rules(QUOTED))) == [("q", "fired", "due", "e2")]


def test_match_names_what_must_equal_what(rules: Any) -> None:
    topology = rules("""
seat:
  version: 1
  per: properties.event
  start: {event: custom, where: {name: Reserved}}
  after: 1h
  cancel:
    event: custom
    where: {name: Paid}
    match: {properties.event: key, properties.seat: start.properties.seat}
    reason: paid
""")

    def told(seat: str, key: str = "c") -> list[tuple[str | None, str, str, str]]:
        reserved = event(1, "custom", 0, name="Reserved", properties={"event": "c", "seat": "4"})
        paid = event(2, "custom", 1, name="Paid", properties={"event": key, "seat": seat})
        return brief(replayed([reserved, paid], topology))

    assert told("4") == [("c", "cancelled", "paid", "e1")]
    assert told("5") == told("4", "d") == told("", "") == [("c", "fired", "due", "e1")]


def test_lists_stand_on_either_side(rules: Any) -> None:
    topology = rules("""
basket:
  version: 1
  start: {event: cart_updated}
  after: 1h
  cancel: {event: order_completed, match: {products.product_id: start.products.product_id}, reason: bought}
""")

    def told(*ordered: str) -> str:
        cart = event(1, "cart_updated", 0, cart_id="c", products=products("p1", "p2"))
        bought = event(2, "order_completed", 1, order_id="o", products=products(*ordered))
        return brief(replayed([cart, bought], topology))[0][1]

    assert told("p9", "p2") == "cancelled"
    assert told("p9") == "fired"
    assert told() == "fired"


def test_key_may_stand_on_the_right_side(rules: Any) -> None:
    """What another one than its own product tells ends a wait."""
    topology = rules("""
switched:
  version: 1
  per: product_id
  start: {event: product_added}
  after: 1h
  cancel: {event: product_viewed, where: {product_id: {not: key}}, reason: elsewhere}
""")
    looks = [event(1, "product_added", 0, product_id="p1"), event(2, "product_added", 0, product_id="p2")]
    made = replayed([*looks, event(3, "product_viewed", 1, product_id="p1")], topology)
    assert brief(made) == [("p1", "fired", "due", "e1"), ("p2", "cancelled", "elsewhere", "e2")]
    made = replayed([*looks, event(3, "product_viewed", 1)], topology)
    assert {line["outcome"] for line in made} == {"cancelled"}  # missing: it isn't that product


def test_what_is_missing_on_either_side_meets_only_not(rules: Any) -> None:
    def outcome(where: str, start: dict[str, str], bought: dict[str, Any]) -> str:
        topology = rules(f"""
quoted: {{version: 1, start: {{event: custom}}, after: 1h,
          cancel: {{event: order_completed, where: {{currency: {where}}}, reason: bought}}}}
""")
        told = [
            event(1, "custom", 0, name="x", properties=start),
            event(2, "order_completed", 1, order_id="o", **bought),
        ]
        return brief(replayed(told, topology))[0][1]

    there, eur = {"c": "EUR"}, {"currency": "EUR"}
    assert outcome("start.properties.c", there, eur) == "cancelled"
    assert outcome("start.properties.c", {}, eur) == outcome("start.properties.c", there, {}) == "fired"
    assert outcome("start.properties.c", {}, {}) == "fired"
    assert outcome("{not: start.properties.c}", there, eur) == "fired"
    assert outcome("{not: start.properties.c}", {}, eur) == "cancelled"
    assert outcome("{not: start.properties.c}", there, {}) == "cancelled"
    assert outcome("{is: start.properties.c, ignoring_case: true}", {"c": "eur"}, eur) == "cancelled"
    assert outcome("{starts_with: start.properties.c}", {"c": "E"}, eur) == "cancelled"


def test_a_key_that_starts_once_compares_too(rules: Any) -> None:
    topology = rules("""
mail:
  version: 1
  per: message_id
  once: {forget: 72h}
  start: {event: email_sent}
  after: 3d
  cancel:
    event: email_clicked
    where: {link_id: start.link_ids, campaign: start.campaign}
    match: message_id
    before_start: true
    reason: clicked
""")
    sent = event(2, "email_sent", 5, message_id="m", link_ids=["Ebook", "shop"], campaign="May")
    for link, campaign, outcome in (
        ("ebook", "May", "cancelled"),
        ("imprint", "May", "fired"),
        ("shop", "June", "fired"),
    ):
        for at in (1, 9):
            click = event(1, "email_clicked", at, message_id="m", link_id=link, campaign=campaign)
            assert [each[1] for each in brief(replayed([click, sent] if at < 5 else [sent, click], topology))] == [
                outcome
            ]


STAGED = """
quoted:
  version: 1
  per: properties.quote
  start: {event: custom, where: {name: Quoted}}
  stages: [{name: first, after: 1h}, {name: last, after: 3h}]
  cancel: {event: order_completed, where: {total: {gte: start.properties.total}}, reason: bought}
"""


def test_later_stages_of_a_wait_compare_with_its_start(rules: Any) -> None:
    topology = rules(STAGED)
    started = quote(1, 0, "q", "100")
    moved = quote(2, 30, "q", "900")  # moves it before its first stage, and isn't what opened it
    fired = ("q", "fired", "due", "e2")
    assert brief(replayed([started, moved, order(3, 120, 200.0)], topology)) == [
        ("q", "cancelled", "bought", "e2"),
        fired,
    ]
    assert brief(replayed([started, moved, order(3, 120, 99.0)], topology)) == [fired, fired]
    # An order that is told late takes the first one back, and ends the others, only where it would have.
    assert brief(replayed([started, moved, order(3, 80, 99.0, 120)], topology)) == [fired, fired]
    assert brief(replayed([started, moved, order(3, 80, 100.0, 120)], topology)) == [
        ("q", "cancelled", "bought", "e2"),
        fired,
        ("q", "retracted", "bought", "e2"),
    ]


def test_a_success_is_one_of_that_start(rules: Any) -> None:
    topology = rules(QUOTED + "  recovered: {within: 5d}\n")
    told = [quote(1, 0, "small", "99"), quote(2, 0, "large", "500"), order(3, 120, 120.0)]
    assert brief(replayed(told, topology)) == [
        ("large", "fired", "due", "e2"),
        ("small", "fired", "due", "e1"),
        ("small", "recovered", "bought", "e1"),
    ]


def test_of_a_robot_as_little_is_kept_as_of_anybody(rules: Any) -> None:
    topology = rules(QUOTED)
    made = replayed([*(quote(n, 0, "q", "x" * 900, got=n) for n in range(300)), order(999, 59, 1.0, 299)], topology)
    assert (len(made), made[0]["outcome"], made[0].get("bounded")) == (1, "fired", True)
    many = [event(1, "order_completed", 0, order_id="o", products=products(*map(str, range(1000))))]
    made = replayed(many, rules(REORDER))
    assert len(made) == 400  # as many items as are kept of an event


def test_today_s_form_is_the_mapping_with_one_key(rules: Any) -> None:
    whole = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text("utf-8"))["triggers"]
    for rule in whole.values():
        for cancel in [rule["cancel"]] if isinstance(rule["cancel"], dict) else rule["cancel"]:
            if "match" in cancel:
                cancel["match"] = {cancel["match"]: "key"}
    assert msgspec.structs.replace(rules(yaml.safe_dump(whole, sort_keys=False)), kafka="") == msgspec.structs.replace(
        shipped(), kafka=""
    )


# What is told.

TOLD = """
left:
  version: 1
  per: cart_id
  start: {event: [product_added, cart_updated]}
  restart: {event: cart_viewed}
  after: 1h
  cancel: {event: order_completed, reason: bought}
  payload:
    cart: cart
    which: key
    page: start.context.url
    sku: start.sku
    price: start.price
    every: start.products.product_id
    from: start.context.campaign.source
    first_name: trait.first_name
"""
SHOP = {"url": "https://shop.example/tent?x=1", "campaign": {"source": "mail"}}


def payload_of(topology: Topology, *told: dict[str, Any]) -> dict[str, Any]:
    (made,) = replayed(told, topology)
    payload: dict[str, Any] = made["payload"]
    return payload


def test_a_payload_names_what_it_tells(rules: Any) -> None:
    topology = rules(TOLD)
    named = event(1, "identified", 0, traits={"first_name": "Ann", "plan": "pro"})
    added = event(2, "product_added", 1, cart_id="c", product_id="p", sku="s", price=9.5, context=SHOP)
    seen = event(3, "cart_viewed", 10, cart_id="c", context={"url": "https://elsewhere.example"})
    told = payload_of(topology, named, added, seen)
    assert [line["product"] for line in told.pop("cart")["lines"]] == ["p"]
    assert told == {
        "which": "c",
        "page": "https://shop.example/tent?x=1",
        "sku": "s",
        "price": 9.5,
        "every": None,
        "from": "mail",
        "first_name": "Ann",
    }
    told = payload_of(topology, event(2, "cart_updated", 1, cart_id="d", products=products("p", "q")))
    assert (told["every"], told["page"], told["first_name"], told["which"]) == (["p", "q"], None, None, "d")


def test_a_trait_is_told_as_it_was_known_at_the_decision(rules: Any) -> None:
    topology = rules(TOLD)
    added = event(1, "product_added", 0, cart_id="c", product_id="p")

    def named(number: int, name: str, at: int, got: int) -> dict[str, Any]:
        return event(number, "identified", at, got, traits={"first_name": name})

    assert payload_of(topology, added, named(2, "Ann", 10, 10), named(3, "Anna", 5, 20))["first_name"] == "Ann"
    assert payload_of(topology, added, named(2, "Ann", 10, 64), named(3, "Late", 11, 66))["first_name"] == "Ann"


def test_an_object_among_the_traits_is_spoken_of_by_path(rules: Any) -> None:
    topology = rules("""
grown:
  version: 1
  start: {when: {trait: company.size, gte: 50}}
  after: 1h
  only_if: {trait: company.at.city, is: Wien}
  payload: {size: trait.company.size, name: trait.company.name}
told:
  version: 1
  per: traits.company.name
  start: {event: identified, where: {traits.company.size: {lt: 50}}}
  after: 1h
  cancel:
    event: identified
    match: traits.company.name
    where: {traits.company.size: {gt: start.traits.company.size}}
    reason: grown
  payload: {which: key, size: start.traits.company.size}
""")

    def company(number: int, minute: int, **of: Any) -> dict[str, Any]:
        return event(number, "identified", minute, traits={"company": json.dumps({"name": "Acme", **of})})

    first, grown = company(1, 0, size=10, at={"city": "Wien"}), company(2, 10, size="60")
    made = {line["rule"]: line for line in replayed([first, grown], topology)}
    assert (made["told"]["outcome"], made["told"]["correlation_key"]) == ("cancelled", "Acme")
    assert made["told"]["payload"] == {"which": "Acme", "size": "10"}
    # Of each path what was told last: that the other told no city takes none back.
    assert made["grown"]["outcome"] == "fired"
    assert made["grown"]["payload"] == {"size": "60", "name": "Acme"}


def test_stages_tell_what_they_name(rules: Any) -> None:
    topology = rules("""
left:
  version: 1
  per: cart_id
  start: {event: product_added}
  stages:
    - {name: first, after: 1h}
    - {name: last, after: 2h, payload: {sku: start.sku, whose: trait.name}}
  cancel: {event: order_completed, reason: bought}
  payload: [cart]
""")
    told = [event(n, "product_added", 30 * n, cart_id="c", sku=sku) for n, sku in enumerate("st")]
    made = replayed(told, topology)
    assert [sorted(line["payload"]) for line in made] == [["cart_id", "currency", "lines", "total"], ["sku", "whose"]]
    assert made[1]["payload"] == {"sku": "s", "whose": None}


OF_CART = """
left:
  version: 1
  per: cart_id
  start: {event: [product_added, cart_updated]}
  after: 1h
  cancel: {event: order_completed, match: cart_id, takes: products, reason: bought}
  payload: {whole: cart, lines: cart.lines, pieces: cart.quantity, worth: cart.total, in: cart.currency}
"""


def test_single_values_of_a_cart_are_those_of_the_whole(rules: Any) -> None:
    topology = rules(OF_CART)
    (rule,) = topology.rules
    validator = Draft202012Validator(payload_schema(rule))

    def told_of(*put: dict[str, Any]) -> dict[str, Any]:
        told = payload_of(topology, *(event(n, "product_added", 0, cart_id="c", **each) for n, each in enumerate(put)))
        assert [error.message for error in validator.iter_errors(told)] == []
        whole = told.pop("whole")
        assert (told["worth"], told["in"]) == (whole["total"], whole["currency"])
        assert told["lines"] == len(whole["lines"])
        return told

    tent, mat = {"product_id": "p", "price": 9.5, "currency": "EUR"}, {"product_id": "q", "price": 0.1, "quantity": 3}
    assert told_of(tent) == {"lines": 1, "pieces": 1, "worth": 9.5, "in": "EUR"}
    assert told_of(tent, {**mat, "currency": "EUR"}) == {"lines": 2, "pieces": 4, "worth": 9.8, "in": "EUR"}
    assert told_of(tent, mat) == {"lines": 2, "pieces": 4, "worth": None, "in": None}
    assert told_of(tent, {**tent, "price": None}) == {"lines": 1, "pieces": 2, "worth": 19.0, "in": "EUR"}
    assert told_of({"product_id": "p", "quantity": 0.5}) == {"lines": 1, "pieces": 0.5, "worth": None, "in": None}
    assert told_of({"product_id": "p", "quantity": 1e308}, {"product_id": "p", "quantity": 1e308})["pieces"] is None
    empty = payload_of(topology, event(1, "cart_updated", 0, cart_id="c", products=products("p")),
                       event(2, "product_removed", 1, cart_id="c", product_id="p"))  # fmt: skip
    assert (empty["lines"], empty["pieces"], empty["worth"], empty["in"]) == (0, 0, None, None)


def test_a_cart_of_which_one_value_is_told_is_watched_as_a_whole_one(rules: Any) -> None:
    one, whole = rules(OF_CART.replace("whole: cart, ", "")), rules(OF_CART)
    told = [
        event(1, "product_added", 0, cart_id="c", product_id="p"),
        event(2, "order_completed", 5, order_id="o", cart_id="d", products=products("p")),
    ]
    assert brief(replayed(told, one)) == brief(replayed(told, whole)) == [("c", "cancelled", "bought", "e1")]


def test_what_is_kept_of_a_start_to_be_told_is_bounded(rules: Any) -> None:
    names = [f"properties.n{n:02}" for n in range(20)]
    payload = ", ".join(f"p{n}: start.{name}" for n, name in enumerate(names))
    topology = rules(f"own: {{version: 1, start: {{event: custom}}, after: 1h, payload: {{{payload}}}}}")
    told = payload_of(topology, event(1, "custom", 0, name="x", properties={name[11:]: "y" * 300 for name in names}))
    assert [value for value in told.values() if value is not None] == ["y" * 256] * (4096 // 256)


@pytest.mark.parametrize("text", [TOLD, STAGED, REORDER])
def test_every_payload_is_as_its_schema_says(rules: Any, text: str) -> None:
    topology = rules(text)
    (rule,) = topology.rules
    schema = payload_schema(rule)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    told = [
        event(1, "identified", 0, traits={"first_name": "Ann"}),
        event(2, "product_added", 1, cart_id="c", product_id="p", sku="s", price=9.5, context=SHOP),
        event(3, "cart_updated", 2, cart_id="d", products=products("p", "q")),
        event(4, "order_completed", 3, order_id="o", products=products("p")),
        quote(5, 4, "q", "1"),
    ]
    made = replayed(told, topology)
    assert made
    for line in made:
        assert [error.message for error in validator.iter_errors(line["payload"])] == []


def test_the_shipped_rules_tell_what_their_schemas_say(rules: Any) -> None:
    schemas = {rule.name: Draft202012Validator(payload_schema(rule)) for rule in shipped().rules}
    told = [
        event(1, "product_added", 1, cart_id="c", product_id="p", price=9.5, currency="EUR"),
        event(2, "product_added", 1, product_id="q", name="Q"),
        event(3, "email_sent", 2, message_id="m", link_ids=["ebook"]),
        event(4, "video_progressed", 3, film="f", watched_from=0.0, watched_to=9.0, total_length=10.0),
    ]
    made = replayed(told)
    assert {line["rule"] for line in made} == schemas.keys()
    for line in made:
        assert [error.message for error in schemas[line["rule"]].iter_errors(line["payload"])] == []
        assert not schemas[line["rule"]].is_valid({})


def test_what_is_typed_is_typed(rules: Any) -> None:
    (rule,) = rules(TOLD).rules
    kinds = {name: kind.get("type") for name, kind in payload_schema(rule)["properties"].items()}
    assert kinds == {
        "cart": "object",
        "which": ["string", "null"],
        "page": ["string", "null"],
        "sku": ["string", "null"],
        "price": ["number", "null"],
        "every": ["array", "null"],
        "from": ["string", "null"],
        "first_name": ["string", "number", "boolean", "null"],
    }
    (rule,) = rules(OF_CART).rules
    kinds = {name: kind.get("type") for name, kind in payload_schema(rule)["properties"].items()}
    assert kinds == {
        "whole": "object",
        "lines": "integer",
        "pieces": ["number", "null"],
        "worth": ["number", "null"],
        "in": ["string", "null"],
    }


def test_a_large_payload_is_shortened_inside_too() -> None:
    decision = Decision(
        id="1", outcome="fired", reason="due", rule="left", rule_version=1, profile_id="", identifiers={},
        correlation_key="c", cause_event_id="e", occurred_at=1, due_at=2, decided_at=3,
        payload={"cart": {"lines": [*range(300)]}, "page": "p"},
    )  # fmt: skip
    assert bounded(decision, 100).payload == {"cart": {"lines": [*range(100)]}, "page": "p"}
    assert bounded(decision, 0).payload == {}
