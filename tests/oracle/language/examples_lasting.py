"""Little histories computed by hand: waits as long as their start tells, or up to a time of day; what a rule's cart
holds, and what ends it by that; and what is told."""

from __future__ import annotations

from typing import Any

from tests.oracle.build import Event, add, among, event, lines, login, order, play, remove, update
from tests.oracle.language.build import MS, Example, page, rules, traits, viewed, want

Told = dict[str, Any]


def form(id_: str, at: float, got: float | None = None, **fields: Any) -> Event:
    """A form that tells these fields."""
    return event("form_submitted", id_, at, got, form_id="demo", fields=fields)


def there(told: Event, zone: str) -> Event:
    """The same event, done there."""
    return among(told, context={"timezone": zone})


AS_TOLD = rules(
    r={
        "start": {"event": "form_submitted"},
        "after": {"field": "fields.lasts", "unit": "minutes"},
        "cancel": {"event": "page_viewed", "reason": "seen"},
    }
)
OF_ITEM = rules(
    r={
        "per": "products.product_id",
        "start": {"event": "order_completed"},
        "after": {"field": "products.quantity", "unit": "hours"},
    }
)
LASTING = [
    Example(44, "as long as is told; nought, less and words are no wait, and move none", AS_TOLD,
            [form("1", 0, lasts=30), form("2", 10, lasts=0), form("3", 11, lasts=-1), form("4", 12, lasts="soon"),
             form("5", 13)],
            [want("fired", "due", "1", 0, 30, 35)]),
    Example(44, "a further start counts with its own length", AS_TOLD,
            [form("1", 0, lasts=60), form("2", 10, lasts="20")],
            [want("fired", "due", "2", 10, 30, 35)]),
    Example(44, "one that has ended is decided no later than the next", AS_TOLD,
            [form("1", 0, lasts=60), page("2", 5), form("3", 10, lasts=10)],
            [want("cancelled", "seen", "1", 0, 60, 25, ended_by="2"), want("fired", "due", "3", 10, 20, 25)]),
    Example(44, "of several items the one that gave the key", OF_ITEM,
            [order("1", 0, products=[{"product_id": "p", "quantity": 2}, {"product_id": "q", "quantity": 1}])],
            [want("fired", "due", "1", 0, 60, 65, key="q"), want("fired", "due", "1", 0, 120, 125, key="p")]),
]  # fmt: skip


def upto(time: str, days: str = "mon", least: str = "30m") -> Told:
    """A rule that waits up to a time of day. BASE is a Monday, 10:00 in UTC."""
    return rules(
        r={"start": {"event": "form_submitted"}, "after": {"for": least, "until": {"time": time, "days": days}}}
    )


SATURDAY = 5 * 1440 - 10 * 60
"""When it begins in UTC (minutes after BASE)."""
SUNDAY = SATURDAY + 1440
UPTO = [
    Example(34, "the first such time after so long, that minute too", upto("10:30"), [form("1", 0)],
            [want("fired", "due", "1", 0, 30, 35)]),
    Example(34, "where the person is: told late, it comes sooner", upto("12:15"),
            [form("1", 0), there(page("2", 5, 20), "Europe/Vienna")],
            [want("fired", "due", "1", 0, 75, 80)]),
    Example(34, "what occurred after so long doesn't say where they were", upto("12:15"),
            [form("1", 0), there(page("2", 31), "Europe/Vienna")],
            [want("fired", "due", "1", 0, 135, 140)]),
    Example(34, "the trait, where no context says so", upto("12:15"),
            [traits("0", -5, timezone="Europe/Vienna"), form("1", 0)],
            [want("fired", "due", "1", 0, 75, 80)]),
    Example(6, "what is too old to start anything tells where they were", upto("00:00", "sat"),
            [form("1", 0), there(page("2", 10, 10 + 72 * 60 + 1), "Europe/Vienna")],
            [want("fired", "due", "1", 0, SATURDAY - 60, SATURDAY - 55)]),
    Example(34, "told between two that tell the same, and received after both", upto("12:15"),
            [form("1", 0), there(page("2", 1), "Europe/Vienna"), there(page("3", 20), "Europe/Vienna"),
             there(page("4", 35), "Europe/Vienna"), there(page("5", 10, 40), "America/New_York")],
            [want("fired", "due", "1", 0, 75, 80)]),
    Example(34, "an hour that is skipped: the first moment after it", upto("02:30", "sun"),
            [there(form("1", 0), "America/New_York")],  # 2026-03-08, 02:00 there is 03:00
            [want("fired", "due", "1", 0, SUNDAY + 7 * 60, SUNDAY + 7 * 60 + 5)]),
]  # fmt: skip


BOUGHT = {"event": "order_completed", "match": "cart_id", "without_key": "all", "takes": "products", "reason": "bought"}
CART: Told = {
    "per": "cart_id",
    "start": {"event": ["product_added", "cart_updated"]},
    "after": "30m",
    "cancel": BOUGHT,
    "payload": ["cart"],
}
OF_CART = {"lines": "cart.lines", "pieces": "cart.quantity", "worth": "cart.total", "in": "cart.currency"}
PLAIN = {"event": "order_completed", "match": "cart_id", "reason": "bought"}
ALIKE = {"event": "order_completed", "match": {"products.product_id": "start.product_id"}, "reason": "alike"}
EMPTY = {"until": {"cart": "empty", "reason": "emptied"}}
DEAR = {"start": {"event": "product_added", "where": {"price": {"gte": 10}}}}
P, Q = ("p", 1, 10), ("q", 1, 10)


def of_q(id_: str, at: float, **told: Any) -> Event:
    """Product q is put in."""
    return add(id_, at, product_id="q", **told)


IN_STAGES = {
    **CART,
    **EMPTY,
    "start": {"sequence": [{"event": "page_viewed"}, {"event": "product_added"}], "within": "1h"},
    "stages": [{"name": "first", "after": "10m"}, {"name": "second", "after": "30m"}],
}
del IN_STAGES["after"]

CARTS = [
    Example(31, "what begins it anew isn't in the cart of the one before, and starts the next, though others began it",
            rules(r=IN_STAGES), [page("1", 0), add("2", 3), page("3", 17), of_q("4", 24), page("5", 300)],
            [want("fired", "due", "2", 3, 13, 18, key="c", stage="first", payload=lines("c", P)),
             want("cancelled", "begun_anew", "2", 3, 33, 29, key="c", stage="second", ended_by="4",
                  payload=lines("c", P)),
             want("fired", "due", "4", 24, 34, 39, key="c", stage="first", payload=lines("c", P, Q)),
             want("fired", "due", "4", 24, 54, 59, key="c", stage="second", payload=lines("c", P, Q))]),
    Example(31, "what begins it anew leaves open all that happened to the cart in its millisecond",
            rules(r={**IN_STAGES, "start": CART["start"]}),
            [add("1", MS, products=[{"product_id": "p", "price": 10}, {"product_id": "q", "price": 10}]),
             remove("2", 15, product_id="q"), add("3", 15), of_q("4", -40, got=21)],
            [want("suppressed", "overtaken", "1", MS, 10 + MS, 15 + MS, key="c", stage="first",
                  payload=lines("c", P, Q)),
             want("cancelled", "begun_anew", "1", MS, 30 + MS, 20, key="c", stage="second", ended_by="3",
                  payload=lines("c", P)),
             want("fired", "due", "3", 15, 25, 30, key="c", stage="first", payload=lines("c", ("p", 2, 10))),
             want("fired", "due", "3", 15, 45, 50, key="c", stage="second", payload=lines("c", ("p", 2, 10)))]),
    Example(29, "what completes it may leave the cart empty",
            rules(r={**CART, **EMPTY, "start": IN_STAGES["start"]}),
            [page("1", 0), add("2", 3, products=[{"product_id": "p"}, {"product_id": "p", "quantity": -1}])],
            [want("cancelled", "emptied", "2", 3, 33, 38, key="c", ended_by="2", payload=lines("c"))]),
    Example(12, "an order of another cart takes its products out", rules(r=CART),
            [add("1", 0), of_q("2", 1), order("3", 10, cart="d", products=[{"product_id": "p"}])],
            [want("fired", "due", "2", 1, 31, 36, key="c", payload=lines("c", Q))]),
    Example(12, "one that is left without a line ends; what was in it is told", rules(r=CART),
            [add("1", 0), order("2", 10, cart="d", products=[{"product_id": "p"}])],
            [want("cancelled", "bought", "1", 0, 30, 35, key="c", ended_by="2", payload=lines("c", P))]),
    Example(12, "a late one takes a trigger back if it holds all that was told", rules(r=CART),
            [add("1", 0), of_q("2", 1), order("3", 20, 40, cart="d", products=[{"product_id": "p"}]),
             order("4", 25, 41, cart="d", products=[{"product_id": "p"}, {"product_id": "q"}])],
            [want("fired", "due", "2", 1, 31, 36, key="c", payload=lines("c", P, Q)),
             want("retracted", "bought", "2", 1, 31, 41, key="c", late_event_id="4")]),
    Example(32, "and is its success if it holds that later", rules(r={**CART, "recovered": {"within": "2h"}}),
            [add("1", 0), order("2", 60, cart="d", products=[{"product_id": "p"}])],
            [want("fired", "due", "1", 0, 30, 35, key="c", payload=lines("c", P)),
             want("recovered", "bought", "1", 0, 30, 60, key="c", ended_by="2")]),
    Example(13, "no line is left", rules(r={**CART, **EMPTY}), [add("1", 0), remove("2", 10)],
            [want("cancelled", "emptied", "1", 0, 30, 35, key="c", ended_by="2", payload=lines("c", P))]),
    Example(13, "said as a condition it is the same", rules(r={**CART, "until": {"when": {"cart": {"lines": {"is": 0}}},
                                                                                 "reason": "emptied"}}),
            [add("1", 0), remove("2", 10), of_q("3", 10)],
            [want("cancelled", "emptied", "1", 0, 30, 35, key="c", ended_by="2", payload=lines("c", P)),
             want("fired", "due", "3", 10, 40, 45, key="c", payload=lines("c", Q))]),
    Example(13, "only told, an empty cart fires", rules(r=CART), [add("1", 0), remove("2", 10)],
            [want("fired", "due", "1", 0, 30, 35, key="c", payload=lines("c"))]),
    Example(4, "emptied after the due time it is overtaken", rules(r={**CART, **EMPTY}), [add("1", 0), update("2", 32)],
            [want("suppressed", "overtaken", "1", 0, 30, 35, key="c", payload=lines("c", P))]),
    Example(13, "what doesn't start the rule is in the cart, too",
            rules(r={**CART, "start": {"event": "product_added", "where": {"price": {"gte": 10}}}}),
            [of_q("1", 0, price=5), add("2", 5), of_q("3", 10, price=5)],
            [want("fired", "due", "2", 5, 35, 40, key="c", payload=lines("c", P, ("q", 2, 5)))]),
    Example(21, "of two who are one, of each line the price and the currency that were told last", rules(r=CART),
            [of_q("1", 0, price=5, currency="USD"), of_q("2", 1, price=6, currency=None, who="u:1"), login("3", 40),
             add("4", 50)],
            [want("fired", "due", "1", 0, 30, 35, key="c", payload=lines("c", ("q", 1, 5), currency="USD")),
             want("fired", "due", "2", 1, 31, 36, key="c", who="u:1", payload=lines("c", ("q", 1, 6), currency=None)),
             want("fired", "due", "4", 50, 80, 85, key="c", who="a:phone u:1",
                  payload={**lines("c", P, ("q", 2, 6, {"currency": "USD"})), "currency": None, "total": None})]),
    Example(21, "of two who are one, an order took what was only put in before it, before the other's end, too",
            rules(r={**CART, **DEAR}),
            [add("1", 0, who="u:1"), of_q("2", 5, price=5), order("3", 10, cart="c"), login("4", 40), add("5", 50)],
            [want("fired", "due", "1", 0, 30, 35, key="c", who="u:1", payload=lines("c", P)),
             want("fired", "due", "5", 50, 80, 85, key="c", who="a:phone u:1", payload=lines("c", P))]),
    Example(21, "of another cart what it holds; and told after the tie", rules(r={**CART, **DEAR}),
            [add("1", 0, who="u:1"), of_q("2", 5, price=5), add("3", 6, price=5, product_id="s"), login("4", 40),
             order("5", 10, 41, cart="d", products=[{"product_id": "q"}]), add("6", 50)],
            [want("fired", "due", "1", 0, 30, 35, key="c", who="u:1", payload=lines("c", P)),
             want("fired", "due", "6", 50, 80, 85, key="c", who="a:phone u:1",
                  payload=lines("c", ("p", 2, 10), ("s", 1, 5)))]),
    Example(21, "also after a wait that has ended, but isn't decided", rules(r={**CART, **DEAR}),
            [add("1", 0, who="u:1"), add("2", 20), order("3", 22, cart="c"), of_q("4", 24, price=5),
             order("5", 26, cart="c"), login("6", 40), add("7", 60)],
            [want("fired", "due", "1", 0, 30, 35, key="c", who="u:1", payload=lines("c", P)),
             want("cancelled", "bought", "2", 20, 50, 55, key="c", who="a:phone u:1", ended_by="3",
                  payload=lines("c", ("p", 2, 10))),
             want("fired", "due", "7", 60, 90, 95, key="c", who="a:phone u:1", payload=lines("c", P))]),
    Example(21, "and before the first reminder of the other was due, of which another is left",
            rules(r={**DEAR, "per": "cart_id", "cancel": BOUGHT, "payload": ["cart"],
                     "stages": [{"name": "one", "after": "30m"}, {"name": "two", "after": "2h"}]}),
            [add("1", 0, who="u:1"), of_q("2", 5, price=5), order("3", 10, cart="d", products=[{"product_id": "q"}]),
             login("4", 40)],
            [want("fired", "due", "1", 0, 30, 35, key="c", who="u:1", stage="one", payload=lines("c", P)),
             want("fired", "due", "1", 0, 120, 125, key="c", who="a:phone u:1", stage="two", payload=lines("c", P))]),
    Example(28, "what must not follow a sequence takes nothing out of a cart",
            rules(r={"per": "cart_id", "payload": ["cart"], "cancel": BOUGHT,
                     "start": {"within": "1h", "sequence": [{"event": "cart_viewed"},
                                                            {"not": {"event": "product_added"}, "for": "30m"}]}}),
            [add("1", 0), event("cart_viewed", "2", 1, who="u:1", cart_id="c"), login("3", 5)],
            [want("fired", "due", "2", 1, 31, 36, key="c", who="a:phone u:1", payload=lines("c", P))]),
    Example(28, "of two who are one, what completes a sequence is in the cart, too",
            rules(r={"per": "cart_id", "after": "30m", "payload": ["cart"], "cancel": BOUGHT,
                     "start": {"sequence": [{"event": "product_added"}, {"event": "product_added"}], "within": "1h"}}),
            [add("1", 0), of_q("2", 1), add("3", 2, who="u:1", product_id="s", price=5), login("4", 5)],
            [want("fired", "due", "2", 1, 31, 36, key="c", who="a:phone u:1",
                  payload=lines("c", P, Q, ("s", 1, 5)))]),
    Example(30, "an order that ends it for another reason, and takes what is in it, ends it for that other reason",
            rules(r={**CART, "cancel": [BOUGHT, ALIKE]}),
            [add("1", 0), order("2", 10, cart="d", products=[{"product_id": "p"}])],
            [want("cancelled", "alike", "1", 0, 30, 35, key="c", ended_by="2", payload=lines("c", P))]),
    Example(30, "and what it takes is gone when something is put in later",
            rules(r={**CART, "cancel": [ALIKE, BOUGHT]}),
            [add("1", 0), of_q("2", 5), order("3", 10, cart="d", products=[{"product_id": "p"}]), of_q("4", 60)],
            [want("cancelled", "alike", "2", 5, 35, 40, key="c", ended_by="3", payload=lines("c", P, Q)),
             want("fired", "due", "4", 60, 90, 95, key="c", payload=lines("c", ("q", 2, 10)))]),
    Example(30, "of several cancels that an order is, the first in the rule counts, whichever names the cart",
            rules(r={**CART, "cancel": [{"event": "order_completed", "reason": "any"}, PLAIN]}),
            [add("1", 0), order("2", 10, cart="c")],
            [want("cancelled", "any", "1", 0, 30, 35, key="c", ended_by="2", payload=lines("c", P))]),
    Example(13, "what starts and moves it is put in once", rules(r={**CART, "restart": {"event": "product_added"}}),
            [add("1", 0)], [want("fired", "due", "1", 0, 30, 35, key="c", payload=lines("c", P))]),
]  # fmt: skip


FILM = {"per": "film", "start": {"event": "video_started"}, "after": "30m", "payload": ["film"]}
NAMED = {
    "per": "product_id",
    "start": {"event": "product_viewed"},
    "after": "30m",
    "payload": {"which": "key", "seen": "start.product_id", "plan": "trait.plan", "none": "trait.other"},
}
PAYLOADS = [
    Example(8, "of a message what the event tells from which it counts, also one that moves it",
            rules(r={"per": "message_id", "start": {"event": "email_sent"}, "restart": {"event": "email_opened"},
                     "after": "30m", "payload": ["message"]}),
            [event("email_sent", "1", 0, message_id="m", campaign="spring"),
             event("email_opened", "2", 5, message_id="m", campaign="spring")],
            [want("fired", "due", "2", 5, 35, 40, key="m", payload={"message_id": "m", "campaign": "spring"})]),
    Example(15, "of two who are one, what was received last of a film, whichever has played it last", rules(r=FILM),
            [event("video_started", "1", 0, 20, film="f", title="Up", total_length=40),
             event("video_started", "2", 5, 7, "u:1", film="f", title="Down", total_length=60),
             event("video_paused", "3", 6, 6, "u:1", film="f"), login("4", 21),
             event("video_started", "5", 22, 22, "u:1", film="f")],
            [want("fired", "due", "5", 22, 52, 57, key="f", who="a:phone u:1",
                  payload={"film": "f", "title": "Up", "seconds_watched": 0, "total_length": 40})]),
    Example(16, "of a film all that is known to have been watched, whatever starts the rule", rules(r=FILM),
            [play("1", 0, 0, type_="video_started"), play("2", 0.5, 30),
             play("3", 33, 100, watched_from=50, watched_to=60)],
            [want("fired", "due", "1", 0, 30, 35, key="film",
                  payload={"film": "film", "title": "Up", "seconds_watched": 40, "total_length": 120})]),
    Example(2, "single values; a trait as it was told last when it was decided", rules(r=NAMED),
            [traits("0", -1, plan="free"), viewed("1", 0), traits("2", 34, plan="pro"), traits("3", 36, plan="team")],
            [want("fired", "due", "1", 0, 30, 35, key="p",
                  payload={"which": "p", "seen": "p", "plan": "pro", "none": None})]),
    Example(13, "single values of a cart", rules(r={**CART, "payload": OF_CART}),
            [add("1", 0), add("2", 1, quantity=2), of_q("3", 2)],
            [want("fired", "due", "3", 2, 32, 37, key="c",
                  payload={"lines": 2, "pieces": 4, "worth": 40, "in": "EUR"})]),
    Example(13, "of which there is none where a price is missing, or of two currencies",
            rules(r={**CART, "payload": OF_CART}),
            [of_q("1", 0, price=None), add("2", 40, cart="d"), of_q("3", 41, cart="d", currency="USD")],
            [want("fired", "due", "1", 0, 30, 35, key="c",
                  payload={"lines": 1, "pieces": 1, "worth": None, "in": "EUR"}),
             want("fired", "due", "3", 41, 71, 76, key="d",
                  payload={"lines": 2, "pieces": 2, "worth": None, "in": None})]),
    Example(31, "a stage tells its own",
            rules(r={"start": {"event": "product_viewed"}, "payload": {"a": "start.product_id"},
                     "stages": [{"name": "one", "after": "10m"}, {"name": "two", "after": "20m", "payload": []}]}),
            [viewed("1", 0)],
            [want("fired", "due", "1", 0, 10, 15, stage="one", payload={"a": "p"}),
             want("fired", "due", "1", 0, 20, 25, stage="two")]),
]  # fmt: skip

LASTINGS = [*LASTING, *UPTO, *CARTS, *PAYLOADS]
