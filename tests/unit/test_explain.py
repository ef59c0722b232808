"""`pipeline explain`: why a rule did, didn't, or doesn't yet fire for a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli

TOPOLOGY = str(Path(__file__).parents[2] / "topology.yaml")
ANN = {"userId": "ann"}


@pytest.fixture
def told(tmp_path: Path) -> Any:
    """Explains a rule over events: (clock such as 10:05, name, properties, who)."""

    def explain(events: list[tuple[str, str, dict[str, Any], dict[str, str]]], *arguments: str) -> Result:
        file = tmp_path / "events.jsonl"
        with file.open("w", encoding="utf-8") as out:
            for number, (at, name, properties, who) in enumerate(events, 1):
                when = f"2026-11-20T{at}:00Z"
                kind = {"type": "identify", "traits": properties} if name == "identify" else {
                    "type": "track", "event": name, "properties": properties,
                }  # fmt: skip
                out.write(
                    json.dumps({**kind, "messageId": f"m{number}", "timestamp": when, "receivedAt": when, **who}) + "\n"
                )
        return CliRunner().invoke(cli, ["explain", *arguments, str(file), "--topology", TOPOLOGY])

    return explain


CART = {"cart_id": "c1", "product_id": "p1", "price": 9.5, "quantity": 1}


def test_each_event_and_what_it_was_to_the_rule_across_a_login(told: Any) -> None:
    events = [
        ("10:00", "Product Added", CART, {"anonymousId": "a1"}),
        ("10:05", "identify", {"email": "ann@x.example"}, {"anonymousId": "a1", **ANN}),
        ("10:10", "Product Added", CART, {"userId": "somebody-else"}),
        ("10:20", "Cart Viewed", {"cart_id": "c1"}, ANN),
        ("11:00", "Order Completed", {"cart_id": "c1", "order_id": "o"}, ANN),
    ]
    for who in ("email:ann@x.example", "anonymous_id:a1", "user_id:ann"):
        found = told(events, who, "abandoned_cart")
        assert found.exit_code == 0
        assert found.output.splitlines() == [
            "abandoned_cart, for anonymous_id:a1, email:ann@x.example, user_id:ann",
            "  2026-11-20T10:00:00.000Z  product_added m1 (c1): starts a wait, or begins it anew",
            "  2026-11-20T10:20:00.000Z  cart_viewed m4 (c1): moves a wait that is open",
            "  2026-11-20T11:00:00.000Z  order_completed m5 (c1): ends a wait of this key that is open, bought",
            "  2026-11-20T11:25:00.000Z  → c1: cancelled (bought) by m5, due 2026-11-20T11:20:00.000Z",
        ]


MAILS = [
    ("10:00", "Email Sent", {"message_id": "n1", "link_ids": ["imprint"]}, ANN),
    ("10:01", "Email Sent", {"message_id": "n2", "link_ids": ["ebook"]}, ANN),
    ("10:02", "Email Link Clicked", {"message_id": "n2", "link_id": "imprint"}, ANN),
]


def test_which_condition_an_event_did_not_meet(told: Any) -> None:
    said = told(MAILS, "user_id:ann", "ebook_not_clicked").output
    assert "m1 (n1): is no start: link_ids is imprint, but the rule wants that it contains ebook" in said
    assert "m3 (n2): isn't clicked: link_id is imprint, but the rule wants that it is ebook" in said
    assert "→ n2: fired (due), due 2026-11-23T10:01:00.000Z" in said


def test_a_condition_on_any_path_is_told_in_words(tmp_path: Path) -> None:
    rule = """
  big_order:
    version: 1
    start:
      event: order_completed
      where:
        total: {gte: 50, lt: 100}
        products.sku: {not: gift}
        context.timezone: {starts_with: europe, ignoring_case: true}
    after: 1h
"""
    topology = tmp_path / "topology.yaml"
    topology.write_text(Path(TOPOLOGY).read_text("utf-8") + rule, encoding="utf-8")
    lines = []
    here = "Europe/Vienna"
    orders = [(60, "tent", here), (100, "tent", here), (60, "gift", here), (60, "tent", None)]
    for number, (total, sku, zone) in enumerate(orders):
        when = f"2026-11-20T10:0{number}:00Z"
        properties = {"order_id": f"o{number}", "total": total, "products": [{"sku": "rope"}, {"sku": sku}]}
        told = {"type": "track", "event": "Order Completed", "messageId": f"m{number}", "properties": properties}
        lines.append(json.dumps({**told, "timestamp": when, "context": {"timezone": zone} if zone else {}, **ANN}))
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    found = CliRunner().invoke(cli, ["explain", "user_id:ann", "big_order", str(file), "--topology", str(topology)])
    said = [line.partition(": ")[2] for line in found.output.splitlines() if " m" in line and "→" not in line]
    assert said == [
        "starts a wait, or begins it anew",
        "is no start: total is 100.0, but the rule wants that it is less than 100",
        "is no start: products.sku is rope, gift, but the rule wants that it isn't gift",
        "is no start: context.timezone is not told, but the rule wants that it starts with europe",
    ]


def test_what_an_end_compares_with_is_told(tmp_path: Path) -> None:
    rule = """
  quoted:
    version: 1
    per: products.sku
    start: {event: order_completed}
    after: 1h
    cancel: {event: product_viewed, where: {price: {gte: start.total}}, match: {sku: key}, reason: dearer}
"""
    topology = tmp_path / "topology.yaml"
    topology.write_text(Path(TOPOLOGY).read_text("utf-8") + rule, encoding="utf-8")
    products = {"order_id": "o", "total": 50, "products": [{"sku": "a"}, {"sku": "b"}]}
    told = [
        ("Order Completed", products, "2026-11-20T10:00:00Z"),
        ("Product Viewed", {"sku": "a", "price": 60}, "2026-11-20T10:01:00Z"),
    ]
    lines = [
        {"type": "track", "event": name, "messageId": f"m{n}", "properties": each, "timestamp": at, **ANN}
        for n, (name, each, at) in enumerate(told)
    ]
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = CliRunner().invoke(cli, ["explain", "user_id:ann", "quoted", str(file), "--topology", str(topology)])
    said = [line.strip().partition("  ")[2] for line in found.output.splitlines()[1:]]
    assert said == [
        "order_completed m0 (a): starts a wait, or begins it anew",
        "order_completed m0 (b): starts a wait, or begins it anew",
        "product_viewed m1 (a): ends a wait of this key that is open, dearer,"
        " where price, 60.0, is at least its start.total",
        "→ a: cancelled (dearer) by m1, due 2026-11-20T11:00:00.000Z",
        "→ b: fired (due), due 2026-11-20T11:00:00.000Z",
    ]


def test_of_one_key_alone_and_what_waits_where_the_recording_is_open(told: Any) -> None:
    said = told(MAILS, "user_id:ann", "ebook_not_clicked", "--key", "n2", "--end", "open").output
    assert "n1" not in said
    assert "→ n2: waits, and will fire (due), due 2026-11-23T10:01:00.000Z" in said


def test_a_film_is_watched_bit_by_bit(told: Any) -> None:
    def at(position: int) -> dict[str, Any]:
        return {"content_asset_id": "f", "total_length": 100, "position": position}

    events = [(f"10:0{n}", "Video Content Playing", at(30 * n), ANN) for n in range(3)]
    said = told(events, "user_id:ann", "film_half_watched").output
    assert "30 of 100 s are watched: less than 0.5 of it" in said
    assert "60 of 100 s are watched: starts a wait, if none was started before" in said


def test_nothing_of_theirs_is_anything_to_it(told: Any) -> None:
    said = told([("10:00", "Product Added", CART, ANN)], "user_id:ann", "film_half_watched").output
    assert "Nothing was decided, and nothing waits: no event of theirs is anything to it." in said


def test_what_is_too_old_is_nothing_to_the_rule(told: Any) -> None:
    old = {"timestamp": "2026-11-10T10:00:00Z", **ANN}
    order = ("10:01", "Order Completed", {"cart_id": "c1", "order_id": "o"}, old)
    said = told([("10:00", "Product Added", CART, ANN), order], "user_id:ann", "abandoned_cart").output
    assert "order_completed m2, occurred 2026-11-10T10:00:00.000Z: was older than max_age" in said
    assert "c1: fired (due)" in said


def test_as_json(told: Any) -> None:
    found = json.loads(told([("10:00", "Product Added", CART, ANN)], "user_id:ann", "abandoned_cart", "--json").output)
    assert found["identifiers"] == {"user_id": ["ann"]}
    assert [step["says"] for step in found["steps"]] == ["starts a wait, or begins it anew"]
    assert [decision["outcome"] for decision in found["decisions"]] == ["fired"]
    assert found["waiting"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("user_id:bert", "abandoned_cart"), 1, "nobody is known by user_id:bert in 1 file"),
        (("user_id:ann", "abandoned_crat"), 2, "did you mean abandoned_cart?"),
        (("ann", "abandoned_cart"), 2, "write user_id:ann"),
    ],
)
def test_what_it_does_not_find(told: Any, arguments: tuple[str, ...], code: int, said: str) -> None:
    found = told([("10:00", "Product Added", CART, ANN)], *arguments)
    assert found.exit_code != 0
    assert said in found.output or said in str(found.exception)


def test_what_a_condition_counts_and_what_it_is_then(tmp_path: Path) -> None:
    topology = tmp_path / "topology.yaml"
    text = Path(TOPOLOGY).read_text(encoding="utf-8").replace("include: [", "# [")
    topology.write_text(
        text
        + "  keen:\n    version: 1\n    per: product_id\n"
        + "    start: {when: {did: product_viewed, times: 2, within: 1h}}\n"
        + "    after: 30m\n    only_if: {none: [{did: order_completed}]}\n",
        encoding="utf-8",
    )
    file = tmp_path / "events.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for number, (minute, name) in enumerate([(0, "Product Viewed"), (5, "Product Viewed"), (7, "Order Completed")]):
            when = f"2026-11-20T10:{minute:02}:00Z"
            told = {"type": "track", "event": name, "properties": {"product_id": "p1"}, **ANN}
            out.write(json.dumps({**told, "messageId": f"m{number}", "timestamp": when, "receivedAt": when}) + "\n")
    found = CliRunner().invoke(cli, ["explain", "user_id:ann", "keen", str(file), "--topology", str(topology)])
    counted, at = "is counted; ", "  2026-11-20T10:"
    assert found.output.splitlines()[1:] == [
        f"{at}00:00.000Z  product_viewed m0 (p1): {counted}start: not so, did product_viewed at least 2 times within 1h"
        ", and it is 1",
        f"{at}05:00.000Z  product_viewed m1 (p1): {counted}start: so, did product_viewed at least 2 times within 1h",
        f"{at}07:00.000Z  order_completed m2: {counted}only_if: not so, this holds: did order_completed",
        f"{at}40:00.000Z  → p1: suppressed (only_if: this holds: did order_completed), due 2026-11-20T10:35:00.000Z",
    ]
