"""Little histories with decisions computed by hand: what the lines of the semantics page mean.

They judge the oracle, and the same ones the real implementation. Times are minutes after BASE (see build.py). Shipped
constants: carts 60, e-books 4320, films 1440, lateness 5, disorder 1/6, age 4320.
"""

from __future__ import annotations

from tests.oracle.build import (
    Example,
    add,
    clear,
    click,
    download,
    event,
    lines,
    login,
    order,
    play,
    remove,
    send,
    view,
    want,
)
from tests.oracle.examples_real import REAL

TIME = [
    Example(
        2,
        "a cart left behind is decided lateness after it is due",
        [add("1", 0)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        2, "exactly at D counts", [add("1", 0), view("2", 60)], [want("cart", "fired", "due", "c", "2", 60, 120, 125)]
    ),
    Example(
        2,
        "a millisecond after D doesn't",
        [add("1", 0), view("2", 60 + 1 / 60000)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        2,
        "received exactly at D + L counts",
        [add("1", 0), order("2", 30, 65)],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="2")],
    ),
    Example(
        2,
        "received a millisecond after D + L is late",
        [add("1", 0), order("2", 30, 65 + 1 / 60000)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "retracted", "bought", "c", "1", 0, 60, 65 + 1 / 60000, late_event_id="2"),
        ],
    ),
    Example(
        2,
        "worked out by event time, not by receipt: the look came first but happened later",
        [view("2", 10), add("1", 0, 20)],
        [want("cart", "fired", "due", "c", "2", 10, 70, 75)],
    ),
    Example(
        2,
        "an order that happened before the add ends nothing, though received later",
        [add("1", 10), order("2", 5, 12)],
        [want("cart", "fired", "due", "c", "1", 10, 70, 75)],
    ),
    Example(
        2,
        "a wait that shows only after its D + L is decided when it shows",
        [add("1", 0), view("2", 50), order("3", 10, 90)],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 90, ended_by="3")],
    ),
    Example(
        2,
        "identifiers are those known at the decision",
        [add("1", 0), login("2", 1, 65), login("3", 2, 66, who="a:phone e:x@y.z")],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65, who="a:phone u:1")],
    ),
    Example(
        2,
        "what waits is decided at its own moment, not at the next event",
        [add("1", 0), add("2", 1000, cart="d")],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65), want("cart", "fired", "due", "d", "2", 1000, 1060, 1065)],
    ),
    Example(
        3,
        "further behind than the disorder counts as received at the watermark: a retraction",
        [add("1", 0), event("page_viewed", "2", 66, who="a:else"), order("3", 30, 64)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "retracted", "bought", "c", "1", 0, 60, 66 - 1 / 6, late_event_id="3"),
        ],
    ),
    Example(
        3,
        "within the disorder it counts as received when it was",
        [add("1", 0), event("page_viewed", "2", 65 + 1 / 6, who="a:else"), order("3", 30, 65)],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="3")],
    ),
    Example(
        4,
        "due at 10:00, added to again at 10:02, bought at 10:03",
        [add("1", 0), add("2", 62), order("3", 63)],
        [
            want("cart", "suppressed", "overtaken", "c", "1", 0, 60, 65),
            want("cart", "cancelled", "bought", "c", "2", 62, 122, 127, lines("c", ("p", 2, 10)), ended_by="3"),
        ],
    ),
    Example(
        4,
        "added to again after D: overtaken, and the next wait begins",
        [add("1", 0), add("2", 62)],
        [
            want("cart", "suppressed", "overtaken", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "2", 62, 122, 127, lines("c", ("p", 2, 10))),
        ],
    ),
    Example(
        4,
        "bought after D, known in time: overtaken",
        [add("1", 0), order("2", 61, 65)],
        [want("cart", "suppressed", "overtaken", "c", "1", 0, 60, 65)],
    ),
    Example(
        4,
        "bought after D, received after D + L: fired, and no retraction",
        [add("1", 0), order("2", 61, 66)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        4,
        "a look after D overtakes nothing, nor does a removal that leaves something",
        [add("1", 0, quantity=2), view("2", 61), remove("3", 62, quantity=1)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65, lines("c", ("p", 2, 10)))],
    ),
    Example(
        4,
        "an emptying removal after D overtakes",
        [add("1", 0), remove("2", 61)],
        [want("cart", "suppressed", "overtaken", "c", "1", 0, 60, 65)],
    ),
    Example(
        4,
        "an order for another cart overtakes nothing",
        [add("1", 0), order("2", 61, cart="d")],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        4,
        "a click after D overtakes",
        [send("1", 0), click("2", 4321)],
        [want("ebook", "suppressed", "overtaken", "m", "1", 0, 4320, 4325, who="u:1")],
    ),
    Example(
        5,
        "at the end of the input everything is decided",
        [add("1", 0), event("page_viewed", "2", 30, who="a:else"), send("3", 20, 30)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("ebook", "fired", "due", "m", "3", 20, 4340, 4345, who="u:1"),
        ],
    ),
    Example(
        5,
        "left open, what the watermark has not passed waits",
        [add("1", 0), add("2", 10, cart="d"), event("page_viewed", "3", 66, who="a:else")],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
        {"open_end": True},
    ),
]

LATE = [
    Example(
        6,
        "a late add opens nothing",
        [add("1", 0), add("2", 30, 70)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        6,
        "late is what occurred exactly at the closed end too",
        [add("1", 0), add("2", 60, 70)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        6,
        "what a late add did to the lines counts from then on",
        [add("1", 0), add("2", 30, 70, product_id="q"), add("3", 80)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "3", 80, 140, 145, lines("c", ("p", 2, 10), ("q", 1, 10))),
        ],
    ),
    Example(
        6,
        "a late add moves no open wait",
        [add("1", 0), add("2", 70), add("3", 59, 80, product_id="q")],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "2", 70, 130, 135, lines("c", ("p", 2, 10), ("q", 1, 10))),
        ],
    ),
    Example(
        6,
        "late effects apply in order of receipt",
        [add("1", 0), remove("2", 40, 70, product_id="q"), add("3", 30, 71, product_id="q"), add("4", 80)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "4", 80, 140, 145, lines("c", ("p", 2, 10), ("q", 1, 10))),
        ],
    ),
    Example(
        6,
        "a late order retracts, once",
        [add("1", 0), order("2", 30, 70), order("3", 40, 71)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "retracted", "bought", "c", "1", 0, 60, 70, late_event_id="2"),
        ],
    ),
    Example(
        6,
        "a late order before the last start would not have cancelled it",
        [add("1", 0), add("2", 30), order("3", 20, 100)],
        [want("cart", "fired", "due", "c", "2", 30, 90, 95, lines("c", ("p", 2, 10)))],
    ),
    Example(
        6,
        "a late order before a restart would have: a look never opens",
        [add("1", 0), view("2", 30), order("3", 20, 100)],
        [
            want("cart", "fired", "due", "c", "2", 30, 90, 95),
            want("cart", "retracted", "bought", "c", "2", 30, 90, 100, late_event_id="3"),
        ],
    ),
    Example(
        6,
        "a late clear retracts and empties from then on",
        [add("1", 0), clear("2", 30, 70), add("3", 80)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "retracted", "cleared", "c", "1", 0, 60, 70, late_event_id="2"),
            want("cart", "fired", "due", "c", "3", 80, 140, 145),
        ],
    ),
    Example(
        6,
        "a late order takes nothing that was added after it",
        [add("1", 50), order("2", 10, 120), add("3", 130, product_id="q")],
        [
            want("cart", "fired", "due", "c", "1", 50, 110, 115),
            want("cart", "fired", "due", "c", "3", 130, 190, 195, lines("c", ("p", 1, 10), ("q", 1, 10))),
        ],
    ),
    Example(
        6,
        "two people's triggers, one person by now: each is retracted",
        [add("1", 0), add("2", 25, who="u:1"), login("3", 110), clear("4", 35, 120)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "2", 25, 85, 90, who="u:1"),
            want("cart", "retracted", "cleared", "c", "1", 0, 60, 120, who="a:phone u:1", late_event_id="4"),
            want("cart", "retracted", "cleared", "c", "2", 25, 85, 120, who="a:phone u:1", late_event_id="4"),
        ],
    ),
    Example(
        6,
        "a late removal retracts nothing, its line is gone",
        [add("1", 0), remove("2", 30, 70), add("3", 80, product_id="q")],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "3", 80, 140, 145, lines("c", ("q", 1, 10))),
        ],
    ),
    Example(
        6,
        "a late order still cancels other, open waits",
        [add("1", 0), add("2", 50, cart="d"), order("3", 55, 70)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "retracted", "bought", "c", "1", 0, 60, 70, late_event_id="3"),
            want("cart", "cancelled", "bought", "d", "2", 50, 110, 115, ended_by="3"),
        ],
    ),
    Example(
        6,
        "a cancelled wait closes its key up to the cancel: a later start opens the next",
        [add("1", 0), order("2", 10), add("3", 20, 70)],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="2"),
            want("cart", "fired", "due", "c", "3", 20, 80, 85),
        ],
    ),
    Example(
        6,
        "a start received after its own D + L is decided at once",
        [add("1", 0, 100)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 100)],
    ),
    Example(
        6,
        "a start received after its own D + L, bought meanwhile",
        [order("2", 30), add("1", 0, 100)],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 100, ended_by="2")],
    ),
    Example(
        6, "72 h old when received counts", [add("1", 0, 4320)], [want("cart", "fired", "due", "c", "1", 0, 60, 4320)]
    ),
    Example(
        6,
        "older than 72 h when received has no effect, not even on lines",
        [add("1", 0, 4320 + 1 / 60000), add("2", 5000)],
        [want("cart", "fired", "due", "c", "2", 5000, 5060, 5065)],
    ),
    Example(
        6,
        "an order older than 72 h when received retracts nothing",
        [add("1", 0), order("2", 30, 4351)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        6,
        "a late click retracts; so does a late download",
        [send("1", 0), send("3", 0, who="u:2"), click("2", 4000, 4400), download("4", 100, 4400, who="u:2")],
        [
            want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1"),
            want("ebook", "retracted", "clicked", "m", "1", 0, 4320, 4400, who="u:1", late_event_id="2"),
            want("ebook", "fired", "due", "m", "3", 0, 4320, 4325, who="u:2"),
            want("ebook", "retracted", "downloaded", "m", "3", 0, 4320, 4400, who="u:2", late_event_id="4"),
        ],
    ),
    Example(
        6,
        "a late machine's click retracts nothing",
        [send("1", 0), click("2", 4000, 4400, confidence="machine")],
        [want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1")],
    ),
    Example(
        6,
        "a late order retracts a film's trigger",
        [play("1", 0, 0, type_="video_started"), play("2", 1, 60), order("3", 900, 1500)],
        [
            want("film", "fired", "due", "film", "2", 1, 1441, 1446),
            want("film", "retracted", "ordered", "film", "2", 1, 1441, 1500, late_event_id="3"),
        ],
    ),
    Example(
        6,
        "a retraction names who is known when the late event is received",
        [add("1", 0), login("2", 66), order("3", 30, 70)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "retracted", "bought", "c", "1", 0, 60, 70, who="a:phone u:1", late_event_id="3"),
        ],
    ),
]

WAITS = [
    Example(7, "a restart never opens a wait", [view("1", 0), remove("2", 1)], []),
    Example(
        7,
        "a further start moves an open wait",
        [add("1", 0), add("2", 30)],
        [want("cart", "fired", "due", "c", "2", 30, 90, 95, lines("c", ("p", 2, 10)))],
    ),
    Example(
        7,
        "after a decision only a start opens the next",
        [add("1", 0), view("2", 70), add("3", 200)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "3", 200, 260, 265, lines("c", ("p", 2, 10))),
        ],
    ),
    Example(
        7,
        "after a cancel a look doesn't open again",
        [add("1", 0), order("2", 10), view("3", 20)],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="2")],
    ),
    Example(
        8,
        "the cause is the last start or restart",
        [add("1", 0), view("2", 20), remove("3", 40, product_id="x")],
        [want("cart", "fired", "due", "c", "3", 40, 100, 105)],
    ),
    Example(
        8,
        "the cause of a cancelled wait too",
        [add("1", 0), view("2", 20), order("3", 30)],
        [want("cart", "cancelled", "bought", "c", "2", 20, 80, 85, ended_by="3")],
    ),
    Example(
        9,
        "one message id under two user ids: two people's triggers",
        [send("1", 0, who="u:1"), send("1", 0, who="u:2")],
        [
            want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1"),
            want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:2"),
        ],
    ),
    Example(
        10,
        "every opened wait ends in one decision, a cancel of nothing in none",
        [order("0", 0), add("1", 1), order("2", 2), add("3", 3), order("4", 4), order("5", 5)],
        [
            want("cart", "cancelled", "bought", "c", "1", 1, 61, 66, ended_by="2"),
            want("cart", "cancelled", "bought", "c", "3", 3, 63, 68, ended_by="4"),
        ],
    ),
    Example(
        11,
        "an event told twice counts once",
        [add("1", 0), add("1", 0, 50), add("1", 0, 100)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        11,
        "the same id under other identifiers is another event",
        [login("0", 0), add("1", 1, who="a:phone"), add("1", 1, who="u:1")],
        [want("cart", "fired", "due", "c", "1", 1, 61, 66, lines("c", ("p", 2, 10)), who="a:phone u:1")],
    ),
]

CARTS = [
    Example(
        12,
        "bought, cleared, emptied",
        [
            add("1", 0, cart="x"),
            order("2", 5, cart="x"),
            add("3", 0, cart="y"),
            clear("4", 5, cart="y"),
            add("5", 0, cart="z"),
            remove("6", 5, cart="z"),
        ],
        [
            want("cart", "cancelled", "bought", "x", "1", 0, 60, 65, ended_by="2"),
            want("cart", "cancelled", "cleared", "y", "3", 0, 60, 65, ended_by="4"),
            want("cart", "cancelled", "emptied", "z", "5", 0, 60, 65, ended_by="6"),
        ],
    ),
    Example(
        12,
        "events without a cart id share one cart of that person",
        [add("1", 0, cart=None), add("2", 10, cart=None), add("3", 5, cart=None, who="a:else")],
        [
            want("cart", "fired", "due", None, "2", 10, 70, 75, lines(None, ("p", 2, 10))),
            want("cart", "fired", "due", None, "3", 5, 65, 70, who="a:else"),
        ],
    ),
    Example(
        12,
        "an order with a cart id ends that cart only",
        [add("1", 0, cart="x"), add("2", 0, cart="y"), add("3", 0, cart=None), order("4", 5, cart="x")],
        [
            want("cart", "cancelled", "bought", "x", "1", 0, 60, 65, ended_by="4"),
            want("cart", "fired", "due", "y", "2", 0, 60, 65),
            want("cart", "fired", "due", None, "3", 0, 60, 65),
        ],
    ),
    Example(
        12,
        "an order without one ends every cart begun before it",
        [add("1", 0, cart="x"), add("2", 0, cart=None), order("3", 5), add("4", 6, cart="y")],
        [
            want("cart", "cancelled", "bought", "x", "1", 0, 60, 65, ended_by="3"),
            want("cart", "cancelled", "bought", None, "2", 0, 60, 65, ended_by="3"),
            want("cart", "fired", "due", "y", "4", 6, 66, 71),
        ],
    ),
    Example(
        12,
        "a clear without one too",
        [add("1", 0, cart="x"), add("2", 0, cart=None), clear("3", 5, cart=None)],
        [
            want("cart", "cancelled", "cleared", "x", "1", 0, 60, 65, ended_by="3"),
            want("cart", "cancelled", "cleared", None, "2", 0, 60, 65, ended_by="3"),
        ],
    ),
    Example(
        12,
        "an order through any channel counts",
        [
            add("1", 0),
            order("2", 5, cart="c", channel="offline"),
            add("3", 0, who="a:else"),
            event("offline_purchased", "4", 6, who="a:else", order_id="o"),
        ],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="2"),
            want("cart", "cancelled", "bought", "c", "3", 0, 60, 65, who="a:else", ended_by="4"),
        ],
    ),
    Example(
        12,
        "a refund brings nothing back",
        [add("1", 0), order("2", 5), event("order_refunded", "3", 6, order_id="order-2"), add("4", 7, product_id="q")],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="2"),
            want("cart", "fired", "due", "c", "4", 7, 67, 72, lines("c", ("q", 1, 10))),
        ],
    ),
    Example(
        12,
        "a look restarts and changes no contents",
        [add("1", 0), view("2", 30)],
        [want("cart", "fired", "due", "c", "2", 30, 90, 95)],
    ),
    Example(
        12,
        "no cap: a cart left again is told again",
        [add("1", 0), add("2", 100), add("3", 200)],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "2", 100, 160, 165, lines("c", ("p", 2, 10))),
            want("cart", "fired", "due", "c", "3", 200, 260, 265, lines("c", ("p", 3, 10))),
        ],
    ),
    Example(
        13,
        "a line is a product id, else sku, else name, else the nameless one",
        [
            add("1", 0),
            add("2", 1, product_id=None, sku="s", name="m"),
            add("3", 2, product_id=None, name="n"),
            add("4", 3, product_id=None),
        ],
        [
            want(
                "cart",
                "fired",
                "due",
                "c",
                "4",
                3,
                63,
                68,
                lines("c", (None, 1, 10), ("n", 1, 10, {"name": "n"}), ("p", 1, 10), ("s", 1, 10, {"name": "m"})),
            )
        ],
    ),
    Example(
        13,
        "quantity missing: an add is one, a removal the whole line",
        [
            add("1", 0, quantity=None),
            add("2", 1, quantity=4),
            add("3", 2, product_id="q", quantity=None),
            remove("4", 3),
        ],
        [want("cart", "fired", "due", "c", "4", 3, 63, 68, lines("c", ("q", 1, 10)))],
    ),
    Example(
        13,
        "a removal takes its quantity, more than there is the line",
        [
            add("1", 0, quantity=3),
            add("2", 1, product_id="q"),
            remove("3", 2, quantity=2),
            remove("4", 3, product_id="q", quantity=9),
        ],
        [want("cart", "fired", "due", "c", "4", 3, 63, 68)],
    ),
    Example(
        13,
        "removing what isn't there changes nothing, but is activity",
        [add("1", 0), remove("2", 20, product_id="x")],
        [want("cart", "fired", "due", "c", "2", 20, 80, 85)],
    ),
    Example(
        13,
        "contents as at D: what came after doesn't show",
        [add("1", 0), remove("2", 62, product_id="x"), view("3", 63)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        13,
        "after an order the cart is empty",
        [add("1", 0), order("2", 10), add("3", 20, product_id="q", price=7)],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, ended_by="2"),
            want("cart", "fired", "due", "c", "3", 20, 80, 85, lines("c", ("q", 1, 7))),
        ],
    ),
]

EBOOKS = [
    Example(
        14,
        "sent and never clicked",
        [send("1", 0)],
        [want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1")],
    ),
    Example(
        14,
        "without the link no wait",
        [send("1", 0, link_ids=["imprint"]), send("2", 0, message="n", link_ids=None)],
        [],
    ),
    Example(
        14,
        "clicked; of that message only",
        [send("1", 0), send("2", 0, message="n"), click("3", 100)],
        [
            want("ebook", "cancelled", "clicked", "m", "1", 0, 4320, 4325, who="u:1", ended_by="3"),
            want("ebook", "fired", "due", "n", "2", 0, 4320, 4325, who="u:1"),
        ],
    ),
    Example(
        14,
        "a click exactly at D counts, and one before the send",
        [send("1", 0), click("3", 4, message="n"), send("4", 5, message="n"), click("2", 4320)],
        [
            want("ebook", "cancelled", "clicked", "m", "1", 0, 4320, 4325, who="u:1", ended_by="2"),
            want("ebook", "cancelled", "clicked", "n", "4", 5, 4325, 4330, who="u:1", ended_by="3"),
        ],
    ),
    Example(
        14,
        "a machine's click and a click on another link don't count",
        [send("1", 0), click("2", 1, confidence="machine"), click("3", 2, link_id="imprint")],
        [want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1")],
    ),
    Example(
        14,
        "an unknown click counts",
        [
            send("1", 0),
            click("2", 1, confidence="unknown"),
            send("3", 0, who="u:2"),
            click("4", 1, who="u:2", confidence=None),
        ],
        [
            want("ebook", "cancelled", "clicked", "m", "1", 0, 4320, 4325, who="u:1", ended_by="2"),
            want("ebook", "cancelled", "clicked", "m", "3", 0, 4320, 4325, who="u:2", ended_by="4"),
        ],
    ),
    Example(
        14,
        "a download ends every waiting message",
        [send("1", 0), send("2", 5, message="n"), download("3", 10)],
        [
            want("ebook", "cancelled", "downloaded", "m", "1", 0, 4320, 4325, who="u:1", ended_by="3"),
            want("ebook", "cancelled", "downloaded", "n", "2", 5, 4325, 4330, who="u:1", ended_by="3"),
        ],
    ),
    Example(
        14,
        "a download before the send too",
        [download("1", -5000), send("2", 0)],
        [want("ebook", "cancelled", "downloaded", "m", "2", 0, 4320, 4325, who="u:1", ended_by="1")],
    ),
    Example(
        14,
        "another asset doesn't",
        [send("1", 0), download("2", 10, asset="price list")],
        [want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1")],
    ),
    Example(
        14,
        "a second telling is nothing at all, whatever it says of the time",
        [send("1", 10), send("2", 5, 20), send("3", 4400)],
        [want("ebook", "fired", "due", "m", "1", 10, 4330, 4335, who="u:1")],
    ),
    Example(
        14,
        "a message is remembered for its wait and 72 h more",
        [send("1", 0), send("2", 8640), send("3", 8640 + 1 / 60000)],
        [
            want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1"),
            want("ebook", "fired", "due", "m", "3", 8640 + 1 / 60000, 12960 + 1 / 60000, 12965 + 1 / 60000, who="u:1"),
        ],
    ),
]

START = play("1", 0, 0, type_="video_started")

FILMS = [
    Example(
        15,
        "half watched and nothing bought for 24 hours",
        [START, play("2", 0.5, 30), play("3", 1, 60), play("4", 1.5, 90)],
        [
            want(
                "film",
                "fired",
                "due",
                "film",
                "3",
                1,
                1441,
                1446,
                {"film": "film", "title": "Up", "seconds_watched": 90, "total_length": 120},
            )
        ],
    ),
    Example(15, "less than half is nothing", [START, play("2", 1, 59.9)], []),
    Example(
        15,
        "any order after it cancels",
        [START, play("2", 1, 60), order("3", 100, cart="x")],
        [want("film", "cancelled", "ordered", "film", "2", 1, 1441, 1446, ended_by="3")],
    ),
    Example(
        15,
        "an order before it doesn't",
        [START, order("2", 0.5), play("3", 1, 60)],
        [want("film", "fired", "due", "film", "3", 1, 1441, 1446)],
    ),
    Example(
        15,
        "over all sessions and devices",
        [
            login("0", 0),
            START,
            play("2", 0.5, 30),
            play("3", 10, 30, who="u:1", session="t", type_="video_started"),
            play("4", 10.5, 60, who="u:1", session="t"),
        ],
        [want("film", "fired", "due", "film", "4", 10.5, 1450.5, 1455.5, who="a:phone u:1")],
    ),
    Example(
        15,
        "different seconds: a replay adds nothing",
        [START, play("2", 0.5, 30), play("3", 1, 0, type_="video_sought", seek_to=0), play("4", 1.5, 30)],
        [],
    ),
    Example(
        15,
        "once a film and person",
        [
            START,
            play("2", 1, 60),
            play("3", 2000, 0, session="t", type_="video_started"),
            play("4", 2001, 60, session="t"),
        ],
        [want("film", "fired", "due", "film", "2", 1, 1441, 1446)],
    ),
    Example(
        15,
        "in order of receipt: the event that brings half, though an earlier one comes later",
        [
            play("2", 0.5, 30, session="x", type_="video_started"),
            play("3", 1, 60, session="x"),
            play("4", 11, 30, 11, session="t"),
            play("1", 10.5, 0, 12, session="u", type_="video_started"),
            play("5", 11, 30, 13, session="u"),
        ],
        [want("film", "fired", "due", "film", "5", 11, 1451, 1456)],
    ),
    Example(
        15,
        "inherited history alone never starts it, the next playback event does",
        [
            START,
            play("2", 0.5, 30),
            play("3", 0, 30, who="a:desk", session="t", type_="video_started"),
            play("4", 0.5, 60, who="a:desk", session="t"),
            login("5", 10),
            login("6", 20, who="a:desk u:1"),
            play("7", 30, 60, type_="video_paused"),
        ],
        [want("film", "fired", "due", "film", "7", 30, 1470, 1475, who="a:phone a:desk u:1")],
    ),
    Example(
        15,
        "no further playback, no start",
        [
            START,
            play("2", 0.5, 30),
            play("3", 0, 30, who="a:desk", session="t", type_="video_started"),
            play("4", 0.5, 60, who="a:desk", session="t"),
            login("5", 10),
            login("6", 20, who="a:desk u:1"),
        ],
        [],
    ),
    Example(
        15,
        "half of the event's own total length",
        [START, play("2", 0.5, 30, length=61), play("3", 0.7, 42, length=None), play("4", 0.8, 48, length=96)],
        [
            want(
                "film",
                "fired",
                "due",
                "film",
                "4",
                0.8,
                1440.8,
                1445.8,
                {"film": "film", "title": "Up", "seconds_watched": 48, "total_length": 96},
            )
        ],
    ),
    Example(
        16,
        "our own events carry the interval",
        [play("1", 0, None, watched_from=0, watched_to=40), play("2", 5, None, watched_from=20, watched_to=60)],
        [want("film", "fired", "due", "film", "2", 5, 1445, 1450)],
    ),
    Example(
        16,
        "forward by twice the time plus one second counts, by more it doesn't",
        [START, play("2", 0.5, 61)],
        [
            want(
                "film",
                "fired",
                "due",
                "film",
                "2",
                0.5,
                1440.5,
                1445.5,
                {"film": "film", "title": "Up", "seconds_watched": 61, "total_length": 120},
            )
        ],
    ),
    Example(16, "a jump is no watching", [START, play("2", 0.5, 61.1)], []),
    Example(
        16,
        "older than its session's last counts nothing, what was counted stays",
        [START, play("3", 1, 50), play("2", 0.5, 30, 1.2), play("4", 1.5, 70)],
        [
            want(
                "film",
                "fired",
                "due",
                "film",
                "4",
                1.5,
                1441.5,
                1446.5,
                {"film": "film", "title": "Up", "seconds_watched": 70, "total_length": 120},
            )
        ],
    ),
    Example(16, "paused is not playing", [START, play("2", 0.5, 30, type_="video_paused"), play("3", 1, 60)], []),
    Example(
        16,
        "resumed is",
        [START, play("2", 0.5, 30, type_="video_paused"), play("3", 5, 30, type_="video_resumed"), play("4", 5.5, 60)],
        [want("film", "fired", "due", "film", "4", 5.5, 1445.5, 1450.5)],
    ),
    Example(16, "completed is not playing", [START, play("2", 0.5, 30, type_="video_completed"), play("3", 1, 60)], []),
    Example(
        16,
        "a seek ends a stretch at its position and begins at its target",
        [
            START,
            play("2", 0.5, 30, type_="video_paused", cause="seeking"),
            play("3", 0.6, 90, type_="video_sought", seek_to=90),
            play("4", 1.1, 120),
        ],
        [want("film", "fired", "due", "film", "4", 1.1, 1441.1, 1446.1)],
    ),
    Example(
        16,
        "a seek that starts nowhere known ends nothing",
        [START, play("2", 0.5, 40, type_="video_sought", seek_to=40), play("3", 0.9, 64)],
        [],
    ),
    Example(
        16,
        "of the same millisecond is not older",
        [START, play("2", 0.5, 30), play("3", 0.5, 30, type_="video_paused"), play("4", 1, 60)],
        [],
    ),
    Example(16, "sessions don't mix", [START, play("2", 0.5, 30, session="t"), play("3", 1, 60, session="u")], []),
    Example(
        16,
        "without a session id, one session a film",
        [
            play("1", 0, 0, session=None, type_="video_started"),
            play("2", 0.1, 0, session=None, film="other"),
            play("3", 1, 60, session=None),
        ],
        [want("film", "fired", "due", "film", "3", 1, 1441, 1446)],
    ),
    Example(
        16,
        "another film in the same session breaks the stretch",
        [START, play("2", 0.1, 0, film="other"), play("3", 1.1, 60)],
        [],
    ),
]

WHO = [
    Example(
        18,
        "an e-mail is compared trimmed and in lower case",
        [login("0", 0, who="u:1 e:Ann@Shop.example"), add("1", 1, who="e:ann@shop.EXAMPLE"), order("2", 2, who="u:1")],
        [want("cart", "cancelled", "bought", "c", "1", 1, 61, 66, who="u:1 e:ann@shop.example", ended_by="2")],
    ),
    Example(
        18,
        "user ids are unique: a shared e-mail never fuses two",
        [
            login("0", 0, who="u:1 e:home@x.y"),
            login("1", 1, who="u:2 e:home@x.y"),
            add("2", 2, who="u:1"),
            order("3", 3, who="u:2"),
        ],
        [want("cart", "fired", "due", "c", "2", 2, 62, 67, who="u:1 e:home@x.y")],
    ),
    Example(
        18,
        "blocked values identify nobody",
        [
            add("1", 0, who="a:phone u:Null"),
            order("2", 1, who="a:desk u:NULL"),
            order("3", 2, who="u:undefined"),
            order("4", 3, who="a:00000000-0000-0000-0000-000000000000"),
        ],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        18,
        "past ten e-mails the newcomer is left out",
        [
            *[login(f"l{n:02}", n, who=f"u:1 e:{n}@x.y") for n in range(11)],
            add("1", 20, who="u:1"),
            order("2", 21, who="e:10@x.y"),
            order("3", 22, who="e:9@x.y"),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                "c",
                "1",
                20,
                80,
                85,
                who="u:1 " + " ".join(f"e:{n}@x.y" for n in range(10)),
                ended_by="3",
                contact={"email": "9@x.y"},
            )
        ],
    ),
    Example(
        19,
        "any event that carries two identifiers ties them",
        [add("1", 0), event("page_viewed", "2", 1, who="a:phone e:x@y.z"), order("3", 2, who="e:x@y.z")],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, who="a:phone e:x@y.z", ended_by="3")],
    ),
    Example(
        20,
        "before the first login a device's events belong to who logs in first",
        [add("1", 0), login("2", 10), order("3", 20, who="u:1")],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, who="a:phone u:1", ended_by="3")],
    ),
    Example(
        20,
        "a second user takes the device over; what came before stays",
        [login("0", 0), add("1", 1), login("2", 10, who="a:phone u:2"), order("3", 20), add("4", 21, cart="d")],
        [
            want("cart", "fired", "due", "c", "1", 1, 61, 66, who="a:phone u:1"),
            want("cart", "fired", "due", "d", "4", 21, 81, 86, who="u:2"),
        ],
    ),
    Example(
        20,
        "the owner at the event's time is meant",
        [login("0", 0), add("1", 1), login("2", 10, who="a:phone u:2"), order("3", 5, 20)],
        [want("cart", "cancelled", "bought", "c", "1", 1, 61, 66, who="a:phone u:1", ended_by="3")],
    ),
    Example(
        20,
        "from the millisecond of the login on",
        [login("0", 0), login("2", 10, who="a:phone u:2"), add("3", 10)],
        [want("cart", "fired", "due", "c", "3", 10, 70, 75, who="u:2")],
    ),
    Example(
        20,
        "who logs in first is asked of event time too; a login that comes later says whose the wait was",
        [
            add("1", 0),
            login("2", 10),
            login("3", 5, 20, who="a:phone u:2"),
            order("4", 3, 30),
            add("5", 4, 31, cart="d"),
        ],
        [
            want("cart", "suppressed", "other_person", "c", "1", 0, 60, 65, who="a:phone u:1"),
            want("cart", "fired", "due", "d", "5", 4, 64, 69, who="u:2"),
        ],
    ),
    Example(
        20,
        "a device that is somebody's by an e-mail stays theirs until another logs in",
        [
            login("0", 0, who="a:phone e:x@y.z"),
            login("1", 1, who="e:x@y.z u:1"),
            add("2", 2, who="u:1"),
            login("3", 10, who="a:phone u:2"),
            order("4", 5, 20),
            add("5", 21),
        ],
        [
            want("cart", "cancelled", "bought", "c", "2", 2, 62, 67, who="a:phone e:x@y.z u:1", ended_by="4"),
            want("cart", "fired", "due", "c", "5", 21, 81, 86, who="u:2"),
        ],
    ),
    Example(
        20,
        "the owner is who logged in last by event time, not who was told last",
        [login("0", 10), login("1", 5, 20, who="a:phone u:2"), add("2", 30), add("3", 7, 31, cart="d")],
        [
            want("cart", "fired", "due", "c", "2", 30, 90, 95, who="a:phone u:1"),
            want("cart", "fired", "due", "d", "3", 7, 67, 72, who="u:2"),
        ],
    ),
    Example(
        20,
        "as far as logins had arrived",
        [login("0", 0), add("1", 1), order("3", 12), login("2", 10, 20, who="a:phone u:2")],
        [want("cart", "cancelled", "bought", "c", "1", 1, 61, 66, who="a:phone u:1", ended_by="3")],
    ),
    Example(
        20,
        "the device returns with its user",
        [login("0", 0), login("1", 10, who="a:phone u:2"), login("2", 20), add("3", 30), order("4", 15, 31)],
        [want("cart", "fired", "due", "c", "3", 30, 90, 95, who="a:phone u:1")],
    ),
    Example(
        20,
        "only the identifier that conflicts is left out",
        [
            login("0", 0),
            login("1", 10, who="a:phone e:x@y.z u:2"),
            add("2", 20, who="u:2"),
            order("3", 30, who="e:x@y.z"),
        ],
        [want("cart", "cancelled", "bought", "c", "2", 20, 80, 85, who="u:2 e:x@y.z", ended_by="3")],
    ),
    Example(
        21,
        "a film that was decided is never decided again, though the other was half through it, too",
        [
            START,
            play("2", 1, 60),
            order("3", 1.5, cart="x"),
            order("4", 1450, cart="x"),
            play("5", 1455, 0, type_="video_started", who="u:1", session="t"),
            play("6", 1456, 60, who="u:1", session="t"),
            login("7", 1460),
            play("8", 1465, 70, session="t"),
        ],
        [want("film", "cancelled", "ordered", "film", "2", 1, 1441, 1446, ended_by="3")],
    ),
    Example(
        21,
        "two lines of one cart stay two, though the other's has the names of both",
        [
            add("1", 0, product_id="t"),
            add("2", 1, product_id=None, sku="w-1", name="Tea"),
            add("3", 2, product_id="t", name="Tea", who="u:1"),
            login("4", 100),
            add("5", 110, product_id="u"),
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
                lines("c", ("t", 1, 10), ("w-1", 1, 10, {"name": "Tea"})),
            ),
            want("cart", "fired", "due", "c", "3", 2, 62, 67, lines("c", ("t", 1, 10, {"name": "Tea"})), who="u:1"),
            want(
                "cart",
                "fired",
                "due",
                "c",
                "5",
                110,
                170,
                175,
                lines("c", ("t", 2, 10, {"name": "Tea"}), ("u", 1, 10), ("w-1", 1, 10, {"name": "Tea"})),
                who="a:phone u:1",
            ),
        ],
    ),
    Example(
        21,
        "left on the phone, bought on the computer, tied before the reminder",
        [add("1", 0), order("2", 30, who="a:desk u:1"), login("3", 63)],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, who="a:phone a:desk u:1", ended_by="2")],
    ),
    Example(
        21,
        "tied exactly at D + L counts",
        [add("1", 0), order("2", 30, who="a:desk u:1"), login("3", 65)],
        [want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, who="a:phone a:desk u:1", ended_by="2")],
    ),
    Example(
        21,
        "tied after it, the reminder stands, and the tie retracts nothing",
        [add("1", 0), order("2", 30, who="a:desk u:1"), login("3", 70)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        21,
        "a tie counts when it is received, whenever it says that it happened",
        [add("1", 0), order("2", 30, who="a:desk u:1"), login("3", 1, 70)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        21,
        "open waits of one key become one, the moved one leaves no decision",
        [add("1", 0, cart=None), add("2", 40, cart=None, who="a:desk u:1", product_id="q"), login("3", 50)],
        [
            want(
                "cart",
                "fired",
                "due",
                None,
                "2",
                40,
                100,
                105,
                lines(None, ("p", 1, 10), ("q", 1, 10)),
                who="a:phone a:desk u:1",
            )
        ],
    ),
    Example(
        21,
        "as if they had always been one: a look after the other's order doesn't hold it",
        [add("1", 0, cart=None), view("2", 40, cart=None), order("3", 20, who="a:desk u:1"), login("4", 50)],
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
                lines(None, ("p", 1, 10)),
                who="a:phone a:desk u:1",
                ended_by="3",
            )
        ],
    ),
    Example(
        21,
        "contents at the closed ends add up",
        [
            add("1", 0, cart=None),
            add("2", 0, cart=None, who="a:desk u:1", quantity=2),
            login("3", 70),
            add("4", 80, cart=None, product_id="q"),
        ],
        [
            want("cart", "fired", "due", None, "1", 0, 60, 65, lines(None, ("p", 1, 10))),
            want("cart", "fired", "due", None, "2", 0, 60, 65, lines(None, ("p", 2, 10)), who="a:desk u:1"),
            want(
                "cart",
                "fired",
                "due",
                None,
                "4",
                80,
                140,
                145,
                lines(None, ("p", 3, 10), ("q", 1, 10)),
                who="a:phone a:desk u:1",
            ),
        ],
    ),
    Example(
        21,
        "what one side bought is not in the other's closed cart any more, once they are one",
        [
            add("1", 0, cart=None),
            order("2", 30, who="a:desk u:1"),
            login("3", 70),
            add("4", 80, cart=None, product_id="q"),
        ],
        [
            want("cart", "fired", "due", None, "1", 0, 60, 65, lines(None, ("p", 1, 10))),
            want("cart", "fired", "due", None, "4", 80, 140, 145, lines(None, ("q", 1, 10)), who="a:phone a:desk u:1"),
        ],
    ),
    Example(
        21,
        "the own clear after the own closed end holds, though the other side's end is later",
        [
            add("1", 0),
            clear("2", 70),
            add("3", 100, who="u:1", product_id="q"),
            login("4", 170),
            add("5", 180, product_id="r"),
        ],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "3", 100, 160, 165, lines("c", ("q", 1, 10)), who="u:1"),
            want(
                "cart",
                "fired",
                "due",
                "c",
                "5",
                180,
                240,
                245,
                lines("c", ("q", 1, 10), ("r", 1, 10)),
                who="a:phone u:1",
            ),
        ],
    ),
    Example(
        21,
        "of one millisecond, what is known first comes first: a late order before its tie retracts nothing",
        [add("1", 0), order("2", 30, 70, who="u:1"), login("3", 40, 70)],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
    Example(
        21,
        "and after its tie it does",
        [add("1", 0), login("2", 20, 70), order("3", 30, 70, who="u:1")],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "retracted", "bought", "c", "1", 0, 60, 70, who="a:phone u:1", late_event_id="3"),
        ],
    ),
    Example(
        21,
        "a merge un-opens nothing: one side decided, the other still waits",
        [add("1", 0, cart=None), add("2", 30, cart=None, who="a:desk u:1"), login("3", 70)],
        [
            want("cart", "fired", "due", None, "1", 0, 60, 65, lines(None, ("p", 1, 10))),
            want("cart", "fired", "due", None, "2", 30, 90, 95, lines(None, ("p", 2, 10)), who="a:phone a:desk u:1"),
        ],
    ),
    Example(
        21,
        "an order of the one, though covered by a decision there, counts for the other's open wait",
        [
            add("1", -30, cart=None, who="a:desk u:1"),
            order("2", -10, who="a:desk u:1"),
            add("3", -20, cart=None),
            view("4", 0, cart=None),
            login("5", 36),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                None,
                "1",
                -30,
                30,
                35,
                lines(None, ("p", 1, 10)),
                who="a:desk u:1",
                ended_by="2",
            ),
            want(
                "cart",
                "cancelled",
                "bought",
                None,
                "3",
                -20,
                40,
                45,
                lines(None, ("p", 1, 10)),
                who="a:phone a:desk u:1",
                ended_by="2",
            ),
        ],
    ),
    Example(
        21,
        "but takes nothing from what was added there since",
        [
            add("3", 1, cart=None),
            order("1", 2, who="a:desk u:1"),
            add("2", 3, cart=None, who="a:desk u:1", product_id="q"),
            view("4", 50, cart=None),
            login("5", 70),
            add("6", 200, cart=None, product_id="r"),
        ],
        [
            want("cart", "fired", "due", None, "2", 3, 63, 68, lines(None, ("q", 1, 10)), who="a:desk u:1"),
            want(
                "cart",
                "cancelled",
                "bought",
                None,
                "3",
                1,
                61,
                70,
                lines(None, ("p", 1, 10), ("q", 1, 10)),
                who="a:phone a:desk u:1",
                ended_by="1",
            ),
            want(
                "cart",
                "fired",
                "due",
                None,
                "6",
                200,
                260,
                265,
                lines(None, ("q", 1, 10), ("r", 1, 10)),
                who="a:phone a:desk u:1",
            ),
        ],
    ),
    Example(
        21,
        "of two open waits for one message the one first received stays",
        [send("1", 0, who="u:1"), send("2", 5, who="e:x@y.z"), login("3", 100, who="u:1 e:x@y.z")],
        [want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1 e:x@y.z")],
    ),
    Example(
        21,
        "a decided message absorbs the open one",
        [send("1", 0, who="u:1"), send("2", 5, who="e:x@y.z"), login("3", 4326, who="u:1 e:x@y.z")],
        [want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="u:1")],
    ),
    Example(
        21,
        "but not one that is no longer remembered",
        [send("1", 0, who="e:x@y.z"), send("2", 8650), login("3", 9000, who="u:1 e:x@y.z")],
        [
            want("ebook", "fired", "due", "m", "1", 0, 4320, 4325, who="e:x@y.z"),
            want("ebook", "fired", "due", "m", "2", 8650, 12970, 12975, who="u:1 e:x@y.z"),
        ],
    ),
    Example(
        21,
        "so does a decided film",
        [
            START,
            play("2", 1, 60),
            play("3", 500, 0, who="u:1", session="t", type_="video_started"),
            play("4", 501, 60, who="u:1", session="t"),
            login("5", 1500),
        ],
        [want("film", "fired", "due", "film", "2", 1, 1441, 1446)],
    ),
    Example(
        21,
        "a clear takes what the other side had left, though only a look at the cart came before it",
        [
            add("1", 0),
            view("2", 70, who="u:1"),
            clear("3", 80, who="u:1", cart=None),
            login("4", 200),
            add("5", 210, product_id="q"),
        ],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "5", 210, 270, 275, lines("c", ("q", 1, 10)), who="a:phone u:1"),
        ],
    ),
    Example(
        21,
        "what the other side added after a clear stays, also of the same product",
        [add("1", 0), clear("2", 100), add("3", 101, who="u:1"), login("4", 200), add("5", 210, product_id="q")],
        [
            want("cart", "fired", "due", "c", "1", 0, 60, 65),
            want("cart", "fired", "due", "c", "3", 101, 161, 166, who="u:1"),
            want(
                "cart",
                "fired",
                "due",
                "c",
                "5",
                210,
                270,
                275,
                lines("c", ("p", 1, 10), ("q", 1, 10)),
                who="a:phone u:1",
            ),
        ],
    ),
    Example(
        20,
        "who logs in again on what is theirs logs in: an earlier login of another, told later, ends there",
        [
            login("1", 0, who="d:tablet u:1"),
            login("2", 20, who="d:tablet u:1"),
            login("3", 10, 21, who="d:tablet u:2"),
            add("4", 30, who="d:tablet"),
        ],
        [want("cart", "fired", "due", "c", "4", 30, 90, 95, who="d:tablet u:1")],
    ),
    Example(
        20,
        "a device changes hands a second before: in order",
        [
            login("1", 0, who="d:tablet u:bert"),
            login("2", 10, who="d:tablet u:ann"),
            add("3", 10 + 1 / 60, who="d:tablet"),
            order("4", 12, who="u:ann"),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                "c",
                "3",
                10 + 1 / 60,
                70 + 1 / 60,
                75 + 1 / 60,
                who="u:ann",
                ended_by="4",
            )
        ],
    ),
    Example(
        20,
        "a device changes hands a second before, and the login stands behind it in the log",
        [
            login("1", 0, who="d:tablet u:bert"),
            add("3", 10 + 1 / 60, who="d:tablet"),
            login("2", 10, who="d:tablet u:ann"),
            order("4", 12, who="u:ann"),
        ],
        [
            want(
                "cart",
                "cancelled",
                "bought",
                "c",
                "3",
                10 + 1 / 60,
                70 + 1 / 60,
                75 + 1 / 60,
                who="u:ann",
                ended_by="4",
            )
        ],
    ),
    Example(
        20,
        "a login that stands before the tie makes the device theirs, though that was read first",
        [
            add("1", 0, who="d:tablet"),
            login("3", 10 + 1 / 60, who="d:tablet u:bert"),
            login("2", 10, who="d:tablet u:ann"),
            order("4", 12, who="u:ann"),
            add("5", 20, who="d:tablet", cart="d"),
        ],
        [
            want("cart", "cancelled", "bought", "c", "1", 0, 60, 65, who="d:tablet u:ann", ended_by="4"),
            want("cart", "fired", "due", "d", "5", 20, 80, 85, who="u:bert"),
        ],
    ),
    Example(
        20,
        "a login told after the start shows that it was somebody else's; one told after the decision shows nothing",
        [
            login("1", 0, who="d:tablet u:bert"),
            add("2", 10, who="d:tablet"),
            add("3", 10, who="d:tablet", cart="d"),
            login("4", 5, 75, who="d:tablet u:ann"),
            add("5", 11, 76, who="d:tablet", cart="e"),
            login("6", 7, 76 + 1 / 60, who="d:tablet u:bert"),
        ],
        [
            want("cart", "suppressed", "other_person", "c", "2", 10, 70, 75, who="d:tablet u:bert"),
            want("cart", "suppressed", "other_person", "d", "3", 10, 70, 75, who="d:tablet u:bert"),
            want("cart", "fired", "due", "e", "5", 11, 71, 76, who="u:ann"),
        ],
    ),
    Example(
        15,
        "the trigger tells the title and length of the event that brought it to half",
        [
            play("1", 0, 0, type_="video_started"),
            {**play("2", 1, 60), "body": {**play("2", 1, 60)["body"], "title": "Higher"}},
            play("3", 2, 60, length=200),
        ],
        [
            want(
                "film",
                "fired",
                "due",
                "film",
                "2",
                1,
                1441,
                1446,
                {"film": "film", "title": "Higher", "seconds_watched": 60, "total_length": 120},
            )
        ],
    ),
    Example(
        22,
        "an unknown event decides nothing; without an identifier it is a dead letter",
        [
            add("1", 0),
            event("custom", "2", 1, name="Order Almost Completed"),
            order("3", 2, who=""),
            order("4", 3, who="u:none"),
        ],
        [want("cart", "fired", "due", "c", "1", 0, 60, 65)],
    ),
]

EXAMPLES = [*TIME, *LATE, *WAITS, *CARTS, *EBOOKS, *FILMS, *WHO, *REAL]
