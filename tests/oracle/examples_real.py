"""More little histories with decisions computed by hand: what was learnt from inputs that people really send.

As in examples.py, to which they belong: they judge the oracle, and the same ones the real implementation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.oracle.build import (
    Example,
    add,
    among,
    bounce,
    clear,
    click,
    complain,
    download,
    event,
    lines,
    login,
    order,
    play,
    remove,
    send,
    unsubscribe,
    update,
    view,
    want,
)

MS = 1 / 60000
TENT: dict[str, Any] = {"product_id": "tent", "price": 100, "currency": "EUR", "quantity": 1}
POT: dict[str, Any] = {"product_id": "pot", "price": 20, "currency": "EUR", "quantity": 1}
NAMED: dict[str, Any] = {"product_id": "shirt", "sku": "S-1", "name": "Shirt"}


def shirt(name: str | None = "Shirt", **more: Any) -> dict[str, Any]:
    """What a line of it tells besides."""
    return {**({} if name is None else {"name": name}), **more}


SAME_MOMENT = [
    Example(
        2,
        "of one millisecond: removed, added, looked at, bought, whatever the receipt says",
        [order("a", 10), view("b", 10), add("c", 10, 11), remove("d", 10, 12), add("e", 10)],
        [want("cart", "cancelled", "bought", "c", "b", 10, 70, 75, lines("c", ("p", 2, 10)), ended_by="a")],
    ),
    Example(
        2,
        "of one millisecond: an edit is a removal and then an add",
        [add("1", 0), add("a", 10, quantity=3), remove("z", 10)],
        [
            want("cart", "cancelled", "emptied", "c", "1", 0, 60, 65, ended_by="z"),
            want("cart", "fired", "due", "c", "a", 10, 70, 75, lines("c", ("p", 3, 10))),
        ],
    ),
    Example(
        2,
        "of one millisecond: Cart Updated comes after adds and says what there is",
        [update("1", 0, products=[TENT]), add("2", 0, 1)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65, lines("c", ("tent", 1, 100)))],
    ),
    Example(
        2,
        "of one millisecond: an add by a negative quantity comes with the removals",
        [add("1", 0), add("2", 10, quantity=2), add("3", 10, quantity=-1)],
        [
            want("cart", "cancelled", "emptied", "c", "1", 0, 60, 65, ended_by="3"),
            want("cart", "fired", "due", "c", "2", 10, 70, 75, lines("c", ("p", 2, 10))),
        ],
    ),
    Example(
        2,
        "of one millisecond: a clear after the add, though received first",
        [clear("1", 0), add("2", 0, 1)],
        [want("cart", "cancelled", "cleared", "c", "2", 0, 60, 65, ended_by="1")],
    ),
    Example(
        2,
        "between equals the receipt decides, then the event id",
        [add("1", 0), order("3", 5), clear("2", 5)],
        [want("cart", "cancelled", "cleared", "c", "1", 0, 60, 65, ended_by="2")],
    ),
    Example(
        2,
        "of one millisecond: half a film and then an order; a send and then who unsubscribes",
        [
            order("1", 1),
            play("2", 0, 0, type_="video_started"),
            play("3", 1, 60),
            unsubscribe("4", 0),
            send("5", 0, 1),
        ],
        [
            want("film", "cancelled", "ordered", "film", "3", 1, 1441, 1446, ended_by="1"),
            want("ebook", "cancelled", "unsubscribed", "m", "5", 0, 4320, 4325, who="u:1", ended_by="4"),
        ],
    ),
    Example(
        2,
        "lateness goes by the millisecond alone: added with the removal that emptied, received after the decision",
        [add("1", 0), remove("2", 10), add("3", 10, 70, product_id="q")],
        [want("cart", "cancelled", "emptied", "c", "1", 0, 60, 65, ended_by="2")],
    ),
    Example(
        6,
        "an order of the start's own millisecond, told late, retracts",
        [add("2", 0), order("1", 0, 70)],
        [
            want("cart", "fired", "due", "c", "2", 0, 60, 65),
            want("cart", "retracted", "bought", "c", "2", 0, 60, 70, late_event_id="1"),
        ],
    ),
    Example(
        4,
        "of a start told after its own D + L, what was received up to its receipt overtakes",
        [order("1", 70), add("2", 0, 100), add("3", 80, 100, product_id="q")],
        [
            want("cart", "suppressed", "overtaken", "c", "2", 0, 60, 100),
            want("cart", "fired", "due", "c", "3", 80, 140, 145, lines("c", ("q", 1, 10))),
        ],
    ),
]

TOLD_AGAIN = [
    Example(
        12,
        "the thank-you page opened again next day is the same order",
        [
            add("1", 0, cart=None),
            order("2", 20, order_id="o"),
            add("3", 1400, cart=None, product_id="q"),
            order("4", 1410, order_id=" o "),
        ],
        [
            want("cart", "cancelled", "bought", None, "1", 0, 60, 65, ended_by="2"),
            want("cart", "fired", "due", None, "3", 1400, 1460, 1465, lines(None, ("q", 1, 10))),
        ],
    ),
    Example(
        12,
        "a placeholder is no order id: two orders",
        [
            add("1", 0),
            order("2", 20, order_id="undefined"),
            add("3", 100, product_id="q"),
            order("4", 110, order_id="undefined"),
        ],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="2"),
            want("cart", "cancelled", "bought", "c", "3", 100, 160, 165, lines("c", ("q", 1, 10)), ended_by="4"),
        ],
    ),
    Example(
        12,
        "the server's telling, received first, says a later time than the client's: each counts as it was known",
        [
            add("1", 0),
            order("2", 30, order_id="o"),
            add("3", 25, cart="d"),
            order("4", 20, 40, order_id="o"),
            add("5", 28, 50, cart="e"),
        ],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="4"),
            want("cart", "cancelled", "bought", "d", "3", 25, 85, 90, ended_by="2"),
            want("cart", "cancelled", "bought", "e", "5", 28, 88, 93, ended_by="2"),
        ],
    ),
    Example(
        12,
        "each telling keeps its own cart and products, at the earliest time",
        [
            add("1", 0, cart="x"),
            add("2", 0, cart="y"),
            add("3", 0, cart="z", **TENT),
            order("4", 20, cart="x", order_id="o"),
            add("5", 25, cart="y", product_id="q"),
            order("6", 30, cart="y", order_id="o", products=[TENT]),
        ],
        [
            want("cart", "cancelled", "bought", "x", "1", 0, 60, 65, ended_by="4"),
            want("cart", "cancelled", "bought", "y", "2", 0, 60, 65, ended_by="6"),
            want("cart", "cancelled", "bought", "z", "3", 0, 60, 65, lines("z", ("tent", 1, 100)), ended_by="6"),
            want("cart", "fired", "due", "y", "5", 25, 85, 90, lines("y", ("q", 1, 10))),
        ],
    ),
    Example(
        12,
        "its age too: told again more than 72 h after the earliest time, it only informs",
        [order("1", 0, order_id="o", cart="x"), add("2", -10, 4000), order("3", 4320, 4321, order_id="o")],
        [want("cart", "fired", "due", "c", "2", -10, 50, 4000)],
    ),
    Example(
        12,
        "a first telling older than 72 h is a telling all the same",
        [order("1", 0, 4321, order_id="o"), add("2", 4400), order("3", 4410, order_id="o")],
        [want("cart", "fired", "due", "c", "2", 4400, 4460, 4465)],
    ),
    Example(
        12,
        "an id is remembered 30 days from its last receipt",
        [
            order("1", 0, order_id="o"),
            add("2", 28800),
            order("3", 28810, order_id="o"),
            add("4", 72010),
            order("5", 72010, order_id="o"),
            add("6", 115211, cart="d"),
            order("7", 115210 + 1 + MS, order_id="o"),
        ],
        [
            want("cart", "fired", "due", "c", "2", 28800, 28860, 28865),
            want("cart", "fired", "due", "c", "4", 72010, 72070, 72075, lines("c", ("p", 2, 10))),
            want("cart", "cancelled", "bought", "d", "6", 115211, 115271, 115276, ended_by="7"),
        ],
    ),
    Example(
        12,
        "the newest 200 ids are remembered",
        [
            *[order(f"o{n:03}", n, order_id=f"o{n}", who="u:1") for n in range(200)],
            add("1", 300, who="u:1"),
            order("2", 301, order_id="o0", who="u:1"),
            order("3", 302, order_id="new", cart="other", who="u:1"),
            order("4", 303, order_id="o1", who="u:1"),
        ],
        [want("cart", "cancelled", "bought", "c", "1", 300, 360, 365, who="u:1", ended_by="4")],
    ),
    Example(
        12,
        "another person's order of the same id is another; from a tie on it is one",
        [
            add("1", 0),
            order("2", 10, order_id="o", who="u:1"),
            order("3", 20, order_id="o"),
            login("4", 100),
            add("5", 110),
            order("6", 120, order_id="o"),
        ],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="3"),
            want("cart", "fired", "due", "c", "5", 110, 170, 175, who="a:phone u:1"),
        ],
    ),
    Example(
        12,
        "from its receipt, not from its time; and an id that the other side told is known from a tie on",
        [
            order("1", 0, 4000, order_id="o"),
            login("2", 4001),
            add("3", 47190),
            order("4", 47200, order_id="o", who="u:1"),
        ],
        [want("cart", "fired", "due", "c", "3", 47190, 47250, 47255, who="a:phone u:1")],
    ),
    Example(
        12,
        "what either side told before the tie stays at the time at which it counted",
        [
            add("1", 0, cart=None, **TENT),
            order("2", 20, order_id="o"),
            add("3", 30, cart=None, **POT),
            order("4", 35, order_id="o", who="u:1"),
            login("5", 40),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                None,
                "1",
                0,
                60,
                65,
                lines(None, ("tent", 1, 100)),
                who="a:phone u:1",
                ended_by="2",
            ),
            want(
                "cart",
                "cancelled",
                "bought",
                None,
                "3",
                30,
                90,
                95,
                lines(None, ("pot", 1, 20)),
                who="a:phone u:1",
                ended_by="4",
            ),
        ],
    ),
    Example(
        12,
        "in every rule: half a film watched between two tellings",
        [
            order("1", 0, order_id="o"),
            play("2", 1, 0, type_="video_started"),
            play("3", 2, 60),
            event("offline_purchased", "4", 10, order_id="o"),
        ],
        [want("film", "fired", "due", "film", "3", 2, 1442, 1447)],
    ),
    Example(
        12,
        "a telling that says an earlier time retracts what it would have cancelled",
        [add("1", 0), order("2", 100, order_id="o"), order("3", 50, 110, order_id="o")],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "retracted", "bought", "c", "1", 0, 60, 110, late_event_id="3"),
        ],
    ),
]

TAKEN = [
    Example(
        12,
        "a cart id changes at the login: what was ordered is taken out of the old cart",
        [
            add("1", 0, cart="g-101", **TENT),
            login("2", 10),
            order("3", 20, who="u:1", cart="mine", products=[{"product_id": "tent"}]),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                "g-101",
                "1",
                0,
                60,
                65,
                lines("g-101", ("tent", 1, 100)),
                who="a:phone u:1",
                ended_by="3",
            )
        ],
    ),
    Example(
        12,
        "a cart left with lines isn't moved; whole lines are taken",
        [
            add("1", 0, **{**TENT, "quantity": 3}),
            add("2", 1, **POT),
            order("3", 20, cart="d", products=[{"product_id": "tent", "quantity": 1}]),
        ],
        [want("cart", "fired", "due", "c", "2", 1, 61, 66, lines("c", ("pot", 1, 20)))],
    ),
    Example(
        12,
        "as of the order's time: what was put in later stays",
        [add("1", 0, **POT), order("2", 10, cart="d", products=[TENT, POT]), add("3", 20, **TENT)],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, lines("c", ("pot", 1, 20)), ended_by="2"),
            want("cart", "fired", "due", "c", "3", 20, 80, 85, lines("c", ("tent", 1, 100))),
        ],
    ),
    Example(
        12,
        "an order's products are remembered for adds that are told later",
        [order("1", 10, cart="d", products=[TENT]), add("2", 0, 4320, **TENT)],
        [want("cart", "cancelled", "bought", "c", "2", 0, 60, 4320, lines("c", ("tent", 1, 100)), ended_by="1")],
    ),
    Example(
        12,
        "by any name that both tell; of variants that one",
        [
            add("1", 0, cart="x", product_id="a", sku="A-1"),
            add("2", 0, cart="y", product_id=None, name="Bag"),
            add("3", 0, cart="z", product_id="s", variant="L"),
            order("4", 5, cart="d", products=[{"sku": "A-1"}, {"name": "Bag", "sku": "B-1"}]),
            order("5", 6, cart="d", products=[{"product_id": "s", "variant": "M"}]),
        ],
        [
            want("cart", "cancelled", "bought", "x", "1", 0, 60, 65, lines("x", ("a", 1, 10)), ended_by="4"),
            want(
                "cart",
                "cancelled",
                "bought",
                "y",
                "2",
                0,
                60,
                65,
                lines("y", ("Bag", 1, 10, {"name": "Bag"})),
                ended_by="4",
            ),
            want("cart", "fired", "due", "z", "3", 0, 60, 65, lines("z", ("s", 1, 10, {"variant": "L"}))),
        ],
    ),
    Example(
        12,
        "the strongest name that both tell decides, though a weaker one is the same",
        [
            add("1", 0, product_id="a", name="Bag"),
            order("2", 5, cart="d", products=[{"product_id": "b", "name": "Bag"}]),
        ],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65, lines("c", ("a", 1, 10, {"name": "Bag"})))],
    ),
    Example(
        12,
        "a take that finds nothing ends nothing, and an order without products takes nothing",
        [
            add("1", 0, **TENT),
            order("2", 5, cart="d", products=[POT]),
            order("3", 6, cart="d", products=[]),
            order("4", 7, cart="d"),
        ],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65, lines("c", ("tent", 1, 100)))],
    ),
    Example(
        12,
        "an add that takes out again all that it puts in opens nothing",
        [add("1", 0, products=[TENT, {**TENT, "quantity": -1}]), order("2", 5, cart="d", products=[TENT])],
        [],
    ),
    Example(
        12,
        "an order takes what was put in within its own millisecond",
        [add("1", 0), order("2", 0), add("3", 1, product_id="q")],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="2"),
            want("cart", "fired", "due", "c", "3", 1, 61, 66, lines("c", ("q", 1, 10))),
        ],
    ),
    Example(
        12,
        "emptied by two orders",
        [
            add("1", 0, **TENT),
            add("2", 1, **POT),
            order("3", 5, cart="d", products=[POT]),
            order("4", 6, cart="d", products=[TENT]),
        ],
        [want("cart", "cancelled", "bought", "c", "2", 1, 61, 66, lines("c", ("tent", 1, 100)), ended_by="4")],
    ),
    Example(
        12,
        "a late order retracts another cart's trigger if it holds every line that was told",
        [
            add("1", 0, cart="x", **TENT),
            add("2", 0, cart="y", **TENT),
            add("3", 1, cart="y", **POT),
            order("4", 30, 70, cart="d", products=[TENT]),
            add("5", 80, cart="y", product_id="q"),
        ],
        [
            want("cart", "fired", "due", "x", "1", 0, 60, 65, lines("x", ("tent", 1, 100))),
            want("cart", "fired", "due", "y", "3", 1, 61, 66, lines("y", ("pot", 1, 20), ("tent", 1, 100))),
            want("cart", "retracted", "bought", "x", "1", 0, 60, 70, late_event_id="4"),
            want("cart", "fired", "due", "y", "5", 80, 140, 145, lines("y", ("pot", 1, 20), ("q", 1, 10))),
        ],
    ),
    Example(
        12,
        "only after its last start, and up to D",
        [
            add("1", 0, cart="x", **TENT),
            add("2", 40, cart="x", **TENT),
            add("3", 0, cart="y", **POT),
            order("4", 30, 110, cart="d", products=[TENT]),
            order("5", 60 + MS, 110, cart="d", products=[POT]),
        ],
        [
            want("cart", "fired", "due", "x", "2", 40, 100, 105, lines("x", ("tent", 2, 100))),
            want("cart", "fired", "due", "y", "3", 0, 60, 65, lines("y", ("pot", 1, 20))),
        ],
    ),
    Example(
        12,
        "a nameless line nobody can say is held",
        [add("1", 0, product_id=None), order("2", 30, 70, cart="d", products=[{"quantity": 1}])],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65, lines("c", (None, 1, 10)))],
    ),
    Example(
        4,
        "a take after D that empties overtakes, one that doesn't is nothing",
        [
            add("1", 0, cart="x", **TENT),
            add("2", 0, cart="y", **TENT),
            add("3", 0, cart="y", **POT),
            order("4", 61, cart="d", products=[TENT]),
        ],
        [
            want("cart", "suppressed", "overtaken", "x", "1", 0, 60, 65, lines("x", ("tent", 1, 100))),
            want("cart", "fired", "due", "y", "3", 0, 60, 65, lines("y", ("pot", 1, 20), ("tent", 1, 100))),
        ],
    ),
    Example(
        21,
        "what one side bought is taken out of the other's open cart, once they are one",
        [add("1", 0, cart="x", **TENT), order("2", 30, who="u:1", cart="y", products=[TENT]), login("3", 63)],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                "x",
                "1",
                0,
                60,
                65,
                lines("x", ("tent", 1, 100)),
                who="a:phone u:1",
                ended_by="2",
            )
        ],
    ),
    Example(
        21,
        "and out of its closed cart, without a retraction",
        [
            add("1", 0, cart="x", **TENT),
            order("2", 30, who="u:1", cart="y", products=[TENT]),
            login("3", 70),
            add("4", 80, cart="x", **POT),
        ],
        [
            want("cart", "fired", "due", "x", "1", 0, 60, 65, lines("x", ("tent", 1, 100))),
            want("cart", "fired", "due", "x", "4", 80, 140, 145, lines("x", ("pot", 1, 20)), who="a:phone u:1"),
        ],
    ),
]

CONTENTS = [
    Example(
        13,
        "an add of quantity zero is nothing at all",
        [add("1", 0), add("2", 20, quantity=0), add("3", 0, cart="d", quantity=0.0), view("4", 1, cart="d")],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        13,
        "a removal of quantity zero is the whole line, a negative one counts without its sign",
        [
            add("1", 0, quantity=3),
            add("2", 0, product_id="q", quantity=3),
            remove("3", 5, quantity=0),
            remove("4", 6, product_id="q", quantity=-2),
        ],
        [want("cart", "fired", "due", "c", "4", 6, 66, 71, lines("c", ("q", 1, 10)))],
    ),
    Example(
        13,
        "a negative add is a removal: it restarts, never starts, and may empty",
        [
            add("1", 0, quantity=-1),
            add("2", 10, quantity=3),
            add("3", 20, quantity=-1),
            add("4", 0, cart="d"),
            add("5", 20, cart="d", quantity=-5),
        ],
        [
            want("cart", "fired", "due", "c", "3", 20, 80, 85, lines("c", ("p", 2, 10))),
            want("cart", "cancelled", "emptied", "d", "4", 0, 60, 65, ended_by="5"),
        ],
    ),
    Example(
        13,
        "0.1 three times less 0.3 is nothing",
        [add(str(n), n, quantity=0.1) for n in range(3)] + [remove("3", 3, quantity=0.3)],
        [
            want(
                "cart",
                "cancelled",
                "emptied",
                "c",
                "2",
                2,
                62,
                67,
                lines("c", ("p", 0.3, 10, {"total": 3})),
                ended_by="3",
            )
        ],
    ),
    Example(
        13,
        "a variant is a line of its own; who tells none means the one last added",
        [
            add("1", 0, product_id="shirt", variant="S"),
            add("2", 1, product_id="shirt", variant="L", price=15),
            add("3", 2, product_id="shirt", variant="M", price=20),
            remove("4", 3, product_id="shirt", variant=" S "),
            add("5", 4, product_id="shirt", price=25),
            remove("6", 5, product_id="shirt", variant="L", quantity=9),
        ],
        [want("cart", "fired", "due", "c", "6", 5, 65, 70, lines("c", ("shirt", 2, 25, shirt(None, variant="M"))))],
    ),
    Example(
        13,
        "of one time added, the smallest variant; a line without a variant is the same as an item without",
        [
            add("1", 0, products=[{"product_id": "s", "variant": "M"}, {"product_id": "s", "variant": "L"}]),
            remove("2", 1, product_id="s"),
            add("3", 0, cart="d", product_id=None, sku="k", price=1),
            add("4", 5, cart="d", product_id="s", sku="j", variant="M"),
            remove("5", 6, cart="d", product_id="s", sku="k"),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "2",
                1,
                61,
                66,
                {
                    "cart_id": "c",
                    "lines": [
                        {
                            "product": "s",
                            "variant": "M",
                            "quantity": 1,
                            "price": None,
                            "currency": "EUR",
                            "total": None,
                        }
                    ],
                    "currency": "EUR",
                    "total": None,
                },
            ),
            want("cart", "fired", "due", "d", "5", 6, 66, 71, lines("d", ("k", 1, 1))),
        ],
    ),
    Example(
        13,
        "of lines that match equally well the one of the same variant, before the one last added",
        [
            add("1", 0, product_id="a", sku="k"),
            add("2", 1, product_id="b", sku="k", variant="M"),
            remove("3", 2, product_id=None, sku="k"),
        ],
        [want("cart", "fired", "due", "c", "3", 2, 62, 67, lines("c", ("b", 1, 10, {"variant": "M"})))],
    ),
    Example(
        13,
        "removed by another name that both tell",
        [
            add("1", 0, product_id="tent", sku="T-1"),
            remove("2", 5, product_id=None, sku="T-1"),
            add("3", 0, cart="d", product_id=" tent"),
            remove("4", 5, cart="d", product_id="tent "),
        ],
        [
            want("cart", "cancelled", "emptied", "c", "1", 0, 60, 65, lines("c", ("tent", 1, 10)), ended_by="2"),
            want("cart", "cancelled", "emptied", "d", "3", 0, 60, 65, lines("d", ("tent", 1, 10)), ended_by="4"),
        ],
    ),
    Example(
        13,
        "nothing that both tell is nothing in common, and a nameless removal means the nameless line",
        [
            add("1", 0, product_id="tent"),
            remove("2", 5, product_id=None, sku="tent"),
            add("3", 6, product_id=None),
            remove("4", 7, product_id=None),
        ],
        [want("cart", "fired", "due", "c", "4", 7, 67, 72, lines("c", ("tent", 1, 10)))],
    ),
    Example(
        13,
        "an add fills in names that the line lacks, and the newest price, currency and name count",
        [
            add("1", 0, product_id=None, sku="S-1", name="shirt", price=9, currency="usd"),
            add("2", 1, **NAMED, price=10, currency="eur"),
            add("3", 2, product_id="shirt", price=None, currency=None),
        ],
        [want("cart", "fired", "due", "c", "3", 2, 62, 67, lines("c", ("shirt", 3, 10, shirt())))],
    ),
    Example(
        13,
        "a list on an add adds each, the fields beside it name none; currency is the event's where an item tells none",
        [
            add(
                "1",
                0,
                products=[{"product_id": "tent", "price": 100}, {**POT, "quantity": 2}, {**POT, "quantity": 0}],
            )
        ],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65, lines("c", ("pot", 2, 20), ("tent", 1, 100)))],
    ),
    Example(
        13,
        "an add whose list leaves nothing to put in is a removal; a list of zeros nothing at all",
        [
            add("1", 0, **POT),
            add("2", 10, products=[{**POT, "quantity": 0}]),
            add("3", 20, products=[{**POT, "quantity": -1}, {**TENT, "quantity": 0}]),
        ],
        [want("cart", "cancelled", "emptied", "c", "1", 0, 60, 65, lines("c", ("pot", 1, 20)), ended_by="3")],
    ),
    Example(
        13,
        "a list is gone through in its order: added, then removed",
        [
            add("1", 0, products=[TENT, {**POT, "quantity": 3}, {**POT, "quantity": -2}, {**TENT, "quantity": -1}]),
        ],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65, lines("c", ("pot", 1, 20)))],
    ),
    Example(
        13,
        "a list on a removal removes each",
        [
            add("1", 0, products=[{**TENT, "quantity": 3}, POT, {"product_id": "q", "price": 5}]),
            remove(
                "2", 10, products=[{"product_id": "pot"}, {"product_id": "tent", "quantity": -1}, {"product_id": "x"}]
            ),
        ],
        [want("cart", "fired", "due", "c", "2", 10, 70, 75, lines("c", ("q", 1, 5), ("tent", 2, 100)))],
    ),
    Example(
        13,
        "Cart Updated says what the cart holds: a start",
        [
            update("1", 0, currency="eur", products=[{"product_id": "tent", "price": 100}, {**POT, "quantity": 2}]),
            update("2", 10, products=[{**TENT, "quantity": 1}, {**TENT, "quantity": 2}, {**POT, "quantity": 0}]),
        ],
        [want("cart", "fired", "due", "c", "2", 10, 70, 75, lines("c", ("tent", 3, 100)))],
    ),
    Example(
        13,
        "Cart Updated without products empties; after D it overtakes",
        [
            add("1", 0),
            update("2", 10, products=[]),
            add("3", 0, cart="d"),
            update("4", 61, cart="d"),
            update("5", 70, cart="e"),
        ],
        [
            want("cart", "cancelled", "emptied", "c", "1", 0, 60, 65, ended_by="2"),
            want("cart", "suppressed", "overtaken", "d", "3", 0, 60, 65),
        ],
    ),
    Example(
        13,
        "a late Cart Updated replaces only lines last added before it, moves nothing and retracts nothing",
        [
            add("1", 0, **TENT),
            add("5", 0, cart="d"),
            add("2", 30, **POT),
            update("3", 20, 100, products=[{"product_id": "q", "price": 5, "currency": "EUR"}, {**POT, "quantity": 7}]),
            update("6", 20, 100, cart="d"),
            add("4", 110, product_id="r"),
        ],
        [
            want("cart", "fired", "due", "c", "2", 30, 90, 95, lines("c", ("pot", 1, 20), ("tent", 1, 100))),
            want(
                "cart", "fired", "due", "c", "4", 110, 170, 175, lines("c", ("pot", 1, 20), ("q", 1, 5), ("r", 1, 10))
            ),
            want("cart", "fired", "due", "d", "5", 0, 60, 65),
        ],
    ),
    Example(
        13,
        "told in time, a Cart Updated counts where it belongs",
        [add("1", 10, **TENT), update("2", 5, 20, products=[{**POT, "quantity": 2}])],
        [want("cart", "fired", "due", "c", "1", 10, 70, 75, lines("c", ("pot", 2, 20), ("tent", 1, 100)))],
    ),
    Example(
        13,
        "a total has its currency's digits, half up; the cart's is the exact sum, rounded once",
        [
            add("1", 0, product_id="a", price=0.125, currency="EUR"),
            add("2", 1, product_id="b", price=0.125, currency=" eur"),
            add("3", 0, cart="k", price=1.1255, currency="KWD"),
            add("4", 0, cart="j", price=10.5, currency="jpy"),
            add("5", 0, cart="u", price=1.005, currency=None),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "2",
                1,
                61,
                66,
                {
                    **lines("c", ("a", 1, 0.125, {"total": 0.13}), ("b", 1, 0.125, {"total": 0.13})),
                    "total": 0.25,
                },
            ),
            want(
                "cart",
                "fired",
                "due",
                "k",
                "3",
                0,
                60,
                65,
                lines("k", ("p", 1, 1.1255, {"total": 1.126}), currency="KWD"),
            ),
            want(
                "cart", "fired", "due", "j", "4", 0, 60, 65, lines("j", ("p", 1, 10.5, {"total": 11}), currency="JPY")
            ),
            want(
                "cart", "fired", "due", "u", "5", 0, 60, 65, lines("u", ("p", 1, 1.005, {"total": 1.01}), currency=None)
            ),
        ],
    ),
    Example(
        13,
        "no total where currencies differ or a price is unknown",
        [
            add("1", 0, product_id="a"),
            add("2", 1, product_id="b", currency=None),
            add("3", 0, cart="d", product_id="a"),
            add("4", 1, cart="d", product_id="b", price=None),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "2",
                1,
                61,
                66,
                {
                    **lines("c", ("a", 1, 10), ("b", 1, 10, {"currency": None})),
                    "currency": None,
                    "total": None,
                },
            ),
            want(
                "cart",
                "fired",
                "due",
                "d",
                "4",
                1,
                61,
                66,
                {**lines("d", ("a", 1, 10), ("b", 1, 0, {"price": None, "total": None})), "total": None},
            ),
        ],
    ),
    Example(
        13,
        "a sum that leaves the range of what can be written is null",
        [add("1", 0, quantity=1e308, price=1), add("2", 1, quantity=1e308, price=1)],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "2",
                1,
                61,
                66,
                {**lines("c", ("p", 0, 1, {"quantity": None, "total": None})), "total": None},
            )
        ],
    ),
    Example(
        21,
        "contents at the closed ends add up by the same names and variants",
        [
            add("1", 0, product_id=None, sku="S-1", price=9),
            add("2", 1, who="u:1", **NAMED, price=10),
            add("3", 2, who="u:1", product_id="shirt", variant="L", sku="S-2"),
            login("4", 100),
            add("5", 110, **POT),
        ],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65, lines("c", ("S-1", 1, 9))),
            want(
                "cart",
                "fired",
                "due",
                "c",
                "3",
                2,
                62,
                67,
                lines("c", ("shirt", 2, 10, shirt(variant="L"))),
                who="u:1",
            ),
            want(
                "cart",
                "fired",
                "due",
                "c",
                "5",
                110,
                170,
                175,
                lines("c", ("pot", 1, 20), ("shirt", 3, 10, shirt(variant="L"))),
                who="a:phone u:1",
            ),
        ],
    ),
]

MESSAGES = [
    Example(
        14,
        "a hard bounce, also before the send: unreachable; a soft one is nothing, nor is another message's",
        [
            send("1", 0),
            send("5", 0, message="o"),
            bounce("2", 1),
            bounce("6", 1, message="o", kind="Soft-Bounce"),
            bounce("7", 1, message="o", kind="Transient"),
            bounce("8", 1, message="x"),
            bounce("3", 4, message="n", kind=None),
            send("4", 5, message="n"),
        ],
        [
            want("ebook", "cancelled", "unreachable", "m", "1", 0, 4320, 4325, who="u:1", ended_by="2"),
            want("ebook", "cancelled", "unreachable", "n", "4", 5, 4325, 4330, who="u:1", ended_by="3"),
            want("ebook", "fired", "due", "o", "5", 0, 4320, 4325, who="u:1"),
        ],
    ),
    Example(
        14,
        "who unsubscribes or complains after the send, from whatever message; before it is nothing",
        [
            unsubscribe("1", -1),
            complain("2", -1),
            send("3", 0),
            unsubscribe("4", 10),
            send("5", 0, who="u:2"),
            complain("6", 10, who="u:2"),
            send("7", 20),
        ],
        [
            want("ebook", "cancelled", "unsubscribed", "m", "3", 0, 4320, 4325, who="u:1", ended_by="4"),
            want("ebook", "cancelled", "complained", "m", "5", 0, 4320, 4325, who="u:2", ended_by="6"),
        ],
    ),
    Example(
        14,
        "clicks and bounces of a message not yet sent are remembered 72 h",
        [
            click("1", 0),
            send("2", 4320),
            click("3", 0, message="n"),
            bounce("4", 0, message="n"),
            send("5", 4320, 4320 + MS, message="n"),
        ],
        [
            want("ebook", "cancelled", "clicked", "m", "2", 4320, 8640, 8645, who="u:1", ended_by="1"),
            want("ebook", "fired", "due", "n", "5", 4320, 8640, 8645, who="u:1"),
        ],
    ),
    Example(
        14,
        "the first in time ends it",
        [send("1", 10), click("2", 5), bounce("3", 8), download("4", 20)],
        [want("ebook", "cancelled", "clicked", "m", "1", 10, 4330, 4335, who="u:1", ended_by="2")],
    ),
    Example(
        14,
        "message ids without angle brackets and blanks, link ids without regard to case",
        [
            send("1", 0, message=" <abc@mail.example> ", link_ids=["news", " EBook "]),
            click("2", 1, message="abc@mail.example", link_id=" ebooK"),
            send("3", 0, message="undefined"),
            send("4", 0, message="<null>"),
        ],
        [
            want(
                "ebook",
                "cancelled",
                "clicked",
                "abc@mail.example",
                "1",
                0,
                4320,
                4325,
                who="u:1",
                ended_by="2",
            )
        ],
    ),
    Example(
        14,
        "after D they overtake; told late they retract",
        [
            send("1", 0),
            send("3", 0, who="u:2"),
            send("5", 0, who="u:3"),
            unsubscribe("2", 4321),
            bounce("4", 4319, 4400, who="u:2"),
            complain("6", 4319, 4400, who="u:3"),
        ],
        [
            want("ebook", "suppressed", "overtaken", "m", "1", 0, 4320, 4325, who="u:1"),
            want("ebook", "fired", "due", "m", "3", 0, 4320, 4325, who="u:2"),
            want("ebook", "retracted", "unreachable", "m", "3", 0, 4320, 4400, who="u:2", late_event_id="4"),
            want("ebook", "fired", "due", "m", "5", 0, 4320, 4325, who="u:3"),
            want("ebook", "retracted", "complained", "m", "5", 0, 4320, 4400, who="u:3", late_event_id="6"),
        ],
    ),
    Example(
        15,
        "a length that isn't above zero is none",
        [
            play("1", 0, 0, type_="video_started", length=-1),
            play("2", 0.5, 30, length=-1),
            play("3", 1, 60, length=0),
        ],
        [],
    ),
]

SPELT = [
    Example(
        18,
        "identifiers lose blanks, quotes and %22 around them",
        [
            add("1", 0, who="a:9f1c u:1"),
            among(order("2", 5), who={"anonymous_id": ' "9f1c"'}),
            add("3", 10, who="u:1", product_id="q"),
            among(order("4", 15), who={"anonymous_id": "%229f1c%22"}),
        ],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, who="a:9f1c u:1", ended_by="2"),
            want(
                "cart",
                "cancelled",
                "bought",
                "c",
                "3",
                10,
                70,
                75,
                lines("c", ("q", 1, 10)),
                who="a:9f1c u:1",
                ended_by="4",
            ),
        ],
    ),
    Example(
        18,
        "more words that stand for nobody, in quotes or not",
        [
            among(add("1", 0), who={"anonymous_id": "phone", "user_id": "[object Object]"}),
            among(order("2", 1), who={"anonymous_id": "desk", "user_id": "[object Object]"}),
            among(order("3", 2), who={"user_id": "False"}),
            among(order("4", 3), who={"user_id": '"null"'}),
            among(order("5", 4), who={"user_id": "GUEST", "anonymous_id": "%22nil%22"}),
        ],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        18,
        "a cart's key that is one of these is none, and has no blanks around it",
        [
            add("1", 0, cart="undefined"),
            order("2", 1, cart="x"),
            add("3", 0, cart=" y "),
            order("4", 5, cart="y", products=[]),
            add("5", 0, cart="z", who="u:1"),
            order("6", 5, cart='"null"', who="u:1"),
        ],
        [
            want("cart", "fired", "due", None, "1", 0, 60, 65),
            want("cart", "cancelled", "bought", "y", "3", 0, 60, 65, ended_by="4"),
            want("cart", "cancelled", "bought", "z", "5", 0, 60, 65, who="u:1", ended_by="6"),
        ],
    ),
    Example(
        18,
        "an e-mail address however it is written",
        [
            among(login("0", 0), who={"user_id": "1", "email": "ren\u00e9@b\u00fccher.example"}),
            add("1", 1, who="u:1"),
            add("4", 1, who="u:1", cart="d"),
            among(order("2", 2, cart="d"), who={"email": "mailto:RENE\u0301@xn--bcher-kva.example"}),
            among(clear("3", 3), who={"email": "Ren\u00e9 B. <ren\u00e9\u200b@B\u00dcCHER.example>"}),
        ],
        [
            want(
                "cart",
                "cancelled",
                "cleared",
                "c",
                "1",
                1,
                61,
                66,
                who="u:1 e:ren\u00e9@xn--bcher-kva.example",
                ended_by="3",
            ),
            want(
                "cart",
                "cancelled",
                "bought",
                "d",
                "4",
                1,
                61,
                66,
                who="u:1 e:ren\u00e9@xn--bcher-kva.example",
                ended_by="2",
            ),
        ],
    ),
    Example(
        18,
        "a UUID compares in lower case, other identifiers don't",
        [
            add("1", 0, who="a:7B2E0C9A-1f3d-4d7e-9a55-0123456789AB"),
            order("2", 5, who="a:7b2e0c9a-1F3D-4d7e-9a55-0123456789ab"),
            add("3", 0, who="u:Ann"),
            order("4", 5, who="u:ann"),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                "c",
                "1",
                0,
                60,
                65,
                who="a:7b2e0c9a-1f3d-4d7e-9a55-0123456789ab",
                ended_by="2",
            ),
            want("cart", "fired", "due", "c", "3", 0, 60, 65, who="u:Ann"),
        ],
    ),
    Example(
        18,
        "a user id that is an address is compared as one, and names that address too",
        [
            add("1", 0, who="u:Ann@Shop.example"),
            order("2", 5, who="u:ann@shop.example", cart="d"),
            order("3", 6, who="a:server e:ANN@shop.example", order_id="x"),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                "c",
                "1",
                0,
                60,
                65,
                who="u:ann@shop.example e:ann@shop.example a:server",
                ended_by="3",
            )
        ],
    ),
    Example(
        18,
        "but not in the fingerprint: told with and without the address it is another event",
        [
            add("1", 0, who="u:ann@shop.example"),
            add("1", 0, 1, who="u:ANN@shop.example"),
            add("1", 0, 2, who="u:ann@shop.example e:ann@shop.example"),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "1",
                0,
                60,
                65,
                lines("c", ("p", 2, 10)),
                who="u:ann@shop.example e:ann@shop.example",
            )
        ],
    ),
]

WRONG_KINDS = [
    Example(
        22,
        "a part of a wrong kind is left out, and the rest counts; lists are read however they are told",
        [
            add("1", 0, products=[None, 5.5, {"product_id": "tent", "price": float("nan"), "quantity": True}, [POT]]),
            remove("2", 1, products=["5.5"]),
            among(
                order("3", 5, cart="d", products='[{"product_id": "pot"}, "tent"]'),
                who={"anonymous_id": "phone", "user_id": False},
            ),
            send("4", 0, link_ids={"0": "news", "1": "ebook"}),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                "c",
                "2",
                1,
                61,
                66,
                {
                    **lines("c", ("pot", 1, 20), ("tent", 1, 0, {"price": None, "total": None})),
                    "total": None,
                },
                ended_by="3",
            ),
            want("ebook", "fired", "due", "m", "4", 0, 4320, 4325, who="u:1"),
        ],
    ),
]
"""What only a translation from outside can meet: our own events have types."""

CONTACT = [
    Example(
        2,
        "the contact is what was told last, as known at the decision",
        [
            among(login("1", 0, who="u:1 e:old@x.y"), context={"locale": "de", "timezone": "Europe/Vienna"}),
            event("identified", "2", 1, who="u:1", traits={"first_name": " Ann ", "last_name": "Berg", "locale": "fr"}),
            add("3", 2, who="u:1"),
            among(view("4", 1, 50, who="u:1 e:new@x.y"), context={"locale": " en "}),
            event("identified", "5", 3, 68, who="u:1", traits={"name": "Ann B."}),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "3",
                2,
                62,
                67,
                who="u:1 e:new@x.y e:old@x.y",
                contact={"email": "new@x.y", "locale": "en", "name": "Ann Berg", "timezone": "Europe/Vienna"},
            )
        ],
    ),
    Example(
        2,
        "of one event the address told before the one that the user id names; not one that isn't theirs",
        [
            login("1", 0, who="u:2 e:theirs@x.y"),
            add("2", 1, who="u:ann@x.y e:more@x.y"),
            login("3", 2, who="u:3 e:mine@x.y"),
            add("4", 3, who="u:3 e:theirs@x.y"),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "2",
                1,
                61,
                66,
                who="u:ann@x.y e:ann@x.y e:more@x.y",
                contact={"email": "more@x.y"},
            ),
            want("cart", "fired", "due", "c", "4", 3, 63, 68, who="u:3 e:mine@x.y"),
        ],
    ),
    Example(
        2,
        "what no rule looks at tells no contact but an address; what is too old for a rule does; a retraction is late",
        [
            event("page_viewed", "1", 0, who="a:phone e:x@y.z"),
            add("2", 0),
            among(add("3", -5000, 1), context={"locale": "de"}),
            among(order("4", 30, 70), context={"locale": "it"}),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "2",
                0,
                60,
                65,
                who="a:phone e:x@y.z",
                contact={"email": "x@y.z", "locale": "de"},
            ),
            want(
                "cart",
                "retracted",
                "bought",
                "c",
                "2",
                0,
                60,
                70,
                who="a:phone e:x@y.z",
                contact={"email": "x@y.z", "locale": "it"},
                late_event_id="4",
            ),
        ],
    ),
    Example(
        21,
        "of two people the newer of both sides",
        [
            add("1", 0, who="u:1 e:one@x.y"),
            among(view("2", 10, cart="d"), context={"locale": "de", "timezone": "UTC"}),
            among(view("3", 5, 20, who="u:1", cart="d"), context={"locale": "en"}),
            login("4", 30),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "1",
                0,
                60,
                65,
                who="a:phone u:1 e:one@x.y",
                contact={"email": "one@x.y", "locale": "en", "timezone": "UTC"},
            )
        ],
    ),
]


def in_order(example: Example) -> Example:
    """The same, its history in order of receipt (above, what belongs together stands together)."""
    return replace(example, events=sorted(example.events, key=lambda told: int(told["received_at"])))


REAL = [in_order(e) for e in [*SAME_MOMENT, *TOLD_AGAIN, *TAKEN, *CONTENTS, *MESSAGES, *SPELT, *CONTACT]]
"""Each with the line that it means."""
