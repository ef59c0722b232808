"""Little histories computed by hand, of other starts: visits, sequences, and decisions when a record arrives."""

from __future__ import annotations

from tests.oracle.build import add, event
from tests.oracle.language.build import MS, Example, bought, change, page, rules, viewed, want

VISITS = [
    Example(
        37,
        "after half an hour without anything a visit begins; exactly half an hour is enough",
        rules({"s": {"did": "visit_started", "times": 3}}),
        [page("1", 0), page("2", 29), page("3", 59 - MS), page("4", 89 - MS), page("5", 119)],
        changes=[change("entered", 119, "visit 5")],
    ),
    Example(
        37,
        "by occurrence, and what was made stands: a late event before it undoes no visit",
        rules({"s": {"did": "visit_started", "times": 2}}),
        [page("1", 0), page("2", 40), page("3", 20, 41)],
        changes=[change("entered", 40, "visit 2")],
    ),
    Example(
        37,
        "what was sent to them is no visit",
        rules({"s": {"did": "visit_started"}}),
        [event("email_sent", "1", 0, message_id="m"), event("order_refunded", "2", 1), page("3", 2)],
        changes=[change("entered", 2, "visit 3")],
    ),
]

ARRIVALS = [
    Example(
        38,
        "decided when the record arrives, each by itself; it closes nothing",
        rules(r={"start": {"event": "product_added"}, "decide": "on_arrival"}),
        [add("1", 10), add("2", 11, 12), add("3", 5, 20)],
        [
            want("fired", "due", "1", 10, 10, 10, basis="arrival"),
            want("fired", "due", "2", 11, 11, 12, basis="arrival"),
            want("fired", "due", "3", 5, 5, 20, basis="arrival"),
        ],
    ),
    Example(
        38,
        "with again a start that occurred before the fired one and came later is barred too",
        rules(r={"start": {"event": "product_added"}, "decide": "on_arrival", "again": {"after": "1h"}}),
        [add("1", 10), add("2", 69), add("3", 5, 70), add("4", 71)],
        [
            want("fired", "due", "1", 10, 10, 10, basis="arrival"),
            want("fired", "due", "4", 71, 71, 71, basis="arrival"),
        ],
    ),
    Example(
        38,
        "only_if as things stand when it arrives",
        rules(r={"start": {"event": "product_added"}, "decide": "on_arrival", "only_if": {"did": "page_viewed"}}),
        [add("1", 10), page("2", 9, 11), add("3", 20)],
        [
            want("suppressed", "only_if", "1", 10, 10, 10, basis="arrival"),
            want("fired", "due", "3", 20, 20, 20, basis="arrival"),
        ],
    ),
]

STEPS = {"sequence": [{"event": "product_viewed"}, {"event": "product_added"}], "within": "1h"}

SEQUENCES = [
    Example(
        28,
        "one after the other, by occurrence; the cause is the last step",
        rules(r={"start": STEPS, "after": "30m"}),
        [add("1", 0), viewed("2", 10), add("3", 5, 11), add("4", 20, 25), page("5", 200)],
        [want("fired", "due", "4", 20, 50, 55)],
    ),
    Example(
        28,
        "a late step completes it when it is received",
        rules(r={"start": STEPS, "after": "30m"}),
        [add("1", 10), viewed("2", 5, 20), page("3", 200)],
        [want("fired", "due", "1", 10, 40, 45)],
    ),
    Example(
        28,
        "all within so long from the first: exactly so long is within",
        rules(r={"start": STEPS, "after": "30m"}),
        [viewed("1", 0), add("2", 60 + MS), viewed("3", 100), add("4", 160), page("5", 300)],
        [want("fired", "due", "4", 160, 190, 195)],
    ),
    Example(
        28,
        "what must not be between; a failed run's events are free",
        rules(
            r={
                "start": {
                    "sequence": [
                        {"event": "product_viewed"},
                        {"not": {"event": "page_viewed"}},
                        {"event": "product_added"},
                    ],
                    "within": "1h",
                },
                "after": "30m",
            }
        ),
        [viewed("1", 0), page("2", 1), add("3", 2), viewed("4", 3), add("5", 4), page("6", 200)],
        [want("fired", "due", "5", 4, 34, 39)],
    ),
    Example(
        28,
        "no event serves two runs: of a completion the latest first step, and the earlier one is left for the next",
        rules(r={"start": STEPS, "after": "30m"}),
        [viewed("1", 0), viewed("2", 1), add("3", 2), add("4", 10), add("5", 20), page("6", 200)],
        [want("fired", "due", "4", 10, 40, 45)],
    ),
    Example(
        28,
        "of one key; a step may name a field of an earlier one",
        rules(
            r={
                "per": "product_id",
                "start": {
                    "sequence": [
                        {"event": "product_added", "as": "first"},
                        {"event": "product_removed", "where": {"cart_id": {"is": "first.cart_id"}}},
                    ],
                    "within": "1h",
                },
                "after": "30m",
                "cancel": {"event": "order_completed", "reason": "bought"},
            }
        ),
        [
            add("1", 0, cart="c"),
            event("product_removed", "2", 1, product_id="p", cart_id="d"),
            event("product_removed", "3", 2, product_id="q", cart_id="c"),
            event("product_removed", "4", 3, product_id="p", cart_id="c"),
            bought("5", 10),
        ],
        [want("cancelled", "bought", "4", 3, 33, 38, key="p", ended_by="5")],
    ),
]

STARTS = [*VISITS, *ARRIVALS, *SEQUENCES]
