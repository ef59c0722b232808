"""Little histories computed by hand, of other starts: visits, sequences, and decisions when a record arrives."""

from __future__ import annotations

from tests.oracle.build import Event, add, among, event, login
from tests.oracle.language.build import MS, Example, bought, change, made, page, rules, traits, viewed, want

HOUR = {"after": "1h"}
M20 = {"within": "20m"}
DAY = 24 * 60

VISITS = [
    Example(
        37,
        "after half an hour without anything a visit begins; exactly half an hour is enough",
        rules({"s": {"did": "visit_started", "times": 3}}),
        [page("1", 0), page("2", 29), page("3", 59 - MS), page("4", 89 - MS), page("5", 119)],
        changes=[change("entered", 119, "5")],
    ),
    Example(
        37,
        "by occurrence, and what was made stands: a late event before it undoes no visit",
        rules({"s": {"did": "visit_started", "times": 2}}),
        [page("1", 0), page("2", 40), page("3", 20, 41)],
        changes=[change("entered", 40, "2")],
    ),
    Example(
        37,
        "a late event begins a visit of its own, and none where it only was the first of one that was begun",
        rules({"s": {"did": "visit_started", "times": 2}}),
        [page("1", 100), page("2", 71, 101), page("3", 42, 102), page("4", 10, 103)],
        changes=[change("entered", 103, "4")],
    ),
    Example(
        37,
        "what is older than max_age begins none, but somebody was here",
        rules({"s": {"did": "visit_started"}}),
        [
            event("email_sent", "1", 0, message_id="m"),
            page("2", 0, 72 * 60 + MS),
            page("3", 29, 72 * 60 + 2),
            page("4", 59, 72 * 60 + 3),
        ],
        changes=[change("entered", 72 * 60 + 3, "4")],
    ),
    Example(
        37,
        "two who turn out to be one began their visits; a tie begins none, nor does what it shows to be one visit",
        rules({"s": {"did": "visit_started", "times": 3}}),
        [page("1", 0), page("2", 20, who="u:1"), login("3", 40), page("4", 69), page("5", 99)],
        changes=[change("entered", 99, "5")],
    ),
    Example(
        37,
        "it starts, moves and ends waits; the cause is the event that began it",
        rules(
            r={
                "start": {"event": "visit_started"},
                "after": "2h",
                "cancel": {"event": "form_submitted", "reason": "done"},
            },
            back={
                "start": {"event": "order_completed"},
                "after": "2h",
                "cancel": {"event": "visit_started", "reason": "back"},
            },
        ),
        [page("1", 0), bought("2", 10), page("3", 60), event("form_submitted", "4", 70, form_id="f"), page("5", 300)],
        [
            want("cancelled", "done", "3", 60, 180, 185, ended_by="4"),
            want("cancelled", "back", "2", 10, 130, 135, ended_by="3", rule="back"),
            want("fired", "due", "5", 300, 420, 425),
        ],
    ),
    Example(
        37,
        "a visit stands before the event that began it: both are a sequence, in this order alone",
        rules(
            r={"start": {"sequence": [{"event": "visit_started"}, {"event": "page_viewed"}], "within": "5m"}, **HOUR},
            never={
                "start": {"sequence": [{"event": "page_viewed"}, {"event": "visit_started"}], "within": "5m"},
                **HOUR,
            },
        ),
        [page("1", 0)],
        [want("fired", "due", "1", 0, 60, 65)],
    ),
    Example(
        37,
        "what was sent to them is no visit",
        rules({"s": {"did": "visit_started"}}),
        [event("email_sent", "1", 0, message_id="m"), event("order_refunded", "2", 1), page("3", 2)],
        changes=[change("entered", 2, "3")],
    ),
]

CHANGES = [
    Example(
        36,
        "who enters starts a rule; the cause is the change, and it counts from there",
        rules(
            {"s": {"did": "page_viewed", "times": 2}},
            r={"start": {"event": "segment_entered", "where": {"segment": "s"}}, **HOUR},
        ),
        [page("1", 0), page("2", 5, 10), page("3", 20)],
        [want("fired", "due", made("entered", 10), 10, 70, 75)],
        [change("entered", 10, "2")],
    ),
    Example(
        36,
        "by time alone too, each under a key of its own, and who enters again ends the wait",
        rules(
            {"s": {"did": "page_viewed", "within": "30m"}, "z": {"did": "page_viewed", "within": "20m"}},
            r={
                "per": "segment",
                "start": {"event": "segment_left"},
                "after": "15m",
                "cancel": {"event": "segment_entered", "match": "segment", "reason": "again"},
            },
        ),
        [page("1", 0), page("2", 41), page("3", 200)],
        [
            want("fired", "due", made("left", 20, segment="z"), 20, 35, 40, key="z"),
            want("cancelled", "again", made("left", 30), 30, 45, 50, key="s", ended_by=made("entered", 41)),
            want("fired", "due", made("left", 61, segment="z"), 61, 76, 81, key="z"),
            want("fired", "due", made("left", 71), 71, 86, 91, key="s"),
        ],
        [
            *(change("entered", at, cause, segment=s) for at, cause in ((0, "1"), (41, "2"), (200, "3")) for s in "sz"),
            *(change("left", at) for at in (30, 71)),
            *(change("left", at, segment="z") for at in (20, 61)),
        ],
    ),
    Example(
        36,
        "it tells whether by an event or by time alone",
        rules(
            {"s": {"all": [{"did": "page_viewed", "within": "2h"}, {"none": [{"did": "order_completed", **M20}]}]}},
            r={
                "start": {"event": "segment_left", "where": {"reason": "time"}},
                "after": "15m",
                "payload": {"why": "start.reason"},
            },
            q={
                "start": {"event": ["segment_left", "segment_entered"], "where": {"reason": {"not": "time"}}},
                "after": "5m",
                "payload": {"why": "start.reason"},
            },
        ),
        [page("1", 0), bought("2", 12), page("3", 300)],
        [
            want("fired", "due", made("entered", 0), 0, 5, 10, rule="q", payload={"why": "event"}),
            want("fired", "due", made("left", 12), 12, 17, 22, rule="q", payload={"why": "event"}),
            want("fired", "due", made("left", 120), 120, 135, 140, payload={"why": "time"}),
            want("fired", "due", made("entered", 300), 300, 305, 310, rule="q", payload={"why": "event"}),
        ],
        [
            change("entered", 0, "1"),
            change("left", 12, "2"),
            change("entered", 32),
            change("left", 120),
            change("entered", 300, "3"),
        ],
    ),
    Example(
        36,
        "another segment counts it, and is looked at after it",
        rules(
            {"a": {"did": "segment_entered", "where": {"segment": "s"}, "times": 2}, "s": {"did": "page_viewed", **M20}}
        ),
        [page("1", 0), page("2", 60), page("3", 100)],
        changes=[
            *(change("entered", at, cause) for at, cause in ((0, "1"), (60, "2"), (100, "3"))),
            *(change("left", at) for at in (20, 80)),
            change("entered", 60, made("entered", 60), segment="a"),
        ],
    ),
    Example(
        36,
        "changes by a tie start and cancel nothing",
        rules(
            {"s": {"did": "page_viewed", "times": 2}},
            r={"start": {"event": "segment_entered"}, **HOUR},
            left={"start": {"event": "page_viewed"}, "cancel": {"event": "segment_left", "reason": "left"}, **HOUR},
        ),
        [page("1", 0), page("2", 1, who="u:1"), login("3", 10), page("4", 300)],
        [
            want("fired", "due", "2", 1, 61, 66, rule="left", who="a:phone u:1"),
            want("fired", "due", "4", 300, 360, 365, rule="left", who="a:phone u:1"),
        ],
        [change("entered", 10, reason="tie")],
    ),
    Example(
        36,
        "a condition may count it, also of a wait",
        rules(
            {"s": {"did": "page_viewed", "times": 2, "within": "1h"}},
            r={
                "start": {"when": {"did": "segment_left", "times": 1}},
                "after": "30m",
                "only_if": {"none": [{"did": "segment_entered", "since": "start"}]},
            },
        ),
        [page("1", 0), page("2", 1), page("3", 100)],
        [want("fired", "due", made("left", 60), 60, 90, 95)],
        [change("entered", 1, "2"), change("left", 60)],
    ),
    Example(
        36,
        "of what is known at one moment it comes last: after the event by which they entered",
        rules(
            {"s": {"did": "page_viewed"}},
            r={"start": {"sequence": [{"event": "page_viewed"}, {"event": "segment_entered"}], "within": "5m"}, **HOUR},
        ),
        [page("1", 0)],
        [want("fired", "due", made("entered", 0), 0, 60, 65)],
        [change("entered", 0, "1")],
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

LOOKED = {"event": "product_viewed", "as": "one"}
NOT_ADDED = {"not": {"event": "product_added", "where": {"product_id": "one.product_id"}}, "for": "30m"}
LASTING = rules(
    r={
        "start": {"sequence": [LOOKED, NOT_ADDED], "within": "1h"},
        "cancel": {"event": "order_completed", "reason": "bought"},
    }
)

BOUGHT_OR_LEFT = rules(
    r={
        "start": {
            "sequence": [
                {"event": "product_viewed"},
                {"event": "product_added"},
                {"not": {"event": "page_viewed"}, "for": "20m"},
            ],
            "within": "1h",
        },
        "cancel": {"event": "order_completed", "reason": "bought"},
    }
)

NOTS = [
    Example(28, "a last not is a wait from the last step on", LASTING, [viewed("1", 0), page("2", 200)],
            [want("fired", "due", "1", 0, 30, 35)]),
    Example(28, "what must not happen ends it without a decision", LASTING,
            [viewed("1", 0), add("2", 30), page("3", 200)]),
    Example(28, "only that", LASTING, [viewed("1", 0), add("2", 30, product_id="q"), page("3", 200)],
            [want("fired", "due", "1", 0, 30, 35)]),
    Example(28, "late, it takes the trigger back", LASTING, [viewed("1", 0), add("2", 30, 36), page("3", 200)],
            [
                want("fired", "due", "1", 0, 30, 35),
                want("retracted", "broken", "1", 0, 30, 36, late_event_id="2"),
            ]),
    Example(28, "after its due time, but before it is decided, nobody is reminded of what they have just done", LASTING,
            [viewed("1", 0), add("2", 31), page("3", 200)], [want("suppressed", "overtaken", "1", 0, 30, 35)]),
    Example(28, "a cancel before it is a decision, and what comes after that ends nothing", LASTING,
            [viewed("1", 0), bought("2", 10), add("3", 20), page("4", 200)],
            [want("cancelled", "bought", "1", 0, 30, 35, ended_by="2")]),
    Example(28, "nor does it free the events of a wait that has ended: none serves two", BOUGHT_OR_LEFT,
            [viewed("1", 0), add("2", 10), bought("3", 20), page("4", 25), add("5", 27), add("6", 200)],
            [want("cancelled", "bought", "2", 10, 30, 35, ended_by="3")]),
    Example(28, "in whatever order all that was told", BOUGHT_OR_LEFT,
            [viewed("1", 0), add("2", 10, 32), bought("3", 20), page("4", 25), add("6", 200)],
            [want("cancelled", "bought", "2", 10, 30, 35, ended_by="3")]),
    Example(28, "a further one moves it, and then it is of that that something must not follow", LASTING,
            [viewed("1", 0), viewed("2", 10, product="q"), add("3", 20), page("4", 200)],
            [want("fired", "due", "2", 10, 40, 45)]),
    Example(28, "... and of nothing else", LASTING,
            [viewed("1", 0), viewed("2", 10, product="q"), add("3", 20, product_id="q"), page("4", 200)]),
    Example(28, "what is itself the last step doesn't follow it",
            rules(r={"start": {"sequence": [{"event": "product_viewed"},
                                            {"not": {"event": "product_viewed"}, "for": "30m"}], "within": "1h"}}),
            [viewed("1", 0), viewed("2", 10), page("3", 200)], [want("fired", "due", "2", 10, 40, 45)]),
    Example(28, "nor does a step before it, in its millisecond",
            rules(r={"start": {"sequence": [{"event": "product_viewed"}, {"event": "product_added"},
                                            {"not": {"event": "product_viewed"}, "for": "30m"}], "within": "1h"}}),
            [viewed("1", 0), add("2", 0), page("3", 200)], [want("fired", "due", "2", 0, 30, 35)]),
    Example(28, "of events without a key, which share a wait, one without a key",
            rules(r={"per": "cart_id", "without_key": "shared",
                     "start": {"sequence": [{"event": "product_added"}, {"not": {"event": "order_completed"},
                                                                         "for": "30m"}], "within": "1h"}}),
            [add("1", 0, cart=None), add("2", 1), bought("3", 20), page("4", 200)],
            [want("fired", "due", "2", 1, 31, 36, key="c")]),
    Example(28, "of what has a key that of the key, of what has none everybody's",
            rules(r={"per": "product_id",
                     "start": {"sequence": [{"event": "searched"}, {"event": "product_viewed"},
                                            {"not": {"event": ["product_added", "page_viewed"]}, "for": "30m"}],
                               "within": "1h"}}),
            [event("searched", "1", 0, query="x"), viewed("2", 5), add("3", 10, product_id="q"), add("4", 200),
             event("searched", "5", 300, query="x"), viewed("6", 305), page("7", 310), add("8", 500)],
            [want("fired", "due", "2", 5, 35, 40, key="p")]),
]  # fmt: skip

RENEWAL = rules(r={"start": {"date": {"trait": "ends"}}, "cancel": {"event": "order_completed", "reason": "renewed"}})


def ends(id_: str, at: float, date: str, got: float | None = None) -> Event:
    """The date that somebody's contract ends."""
    return traits(id_, at, got, ends=date)


DATES = [
    Example(35, "it waits up to the date", RENEWAL, [ends("1", 0, "2026-03-02T11:00:00Z"), page("2", 200)],
            [want("fired", "due", "1", 0, 60, 65)]),
    Example(35, "told again it is nothing; another one moves it", RENEWAL,
            [ends("1", 0, "2026-03-02T11:00:00Z"), ends("2", 5, "2026-03-02T11:00:00Z"),
             ends("3", 10, "2026-03-02T11:10:00Z"), page("4", 200)],
            [want("fired", "due", "3", 10, 70, 75)]),
    Example(35, "none, or a past one, ends it", RENEWAL,
            [ends("1", 0, "2026-03-02T11:00:00Z"), ends("2", 5, "2026-03-02T09:00:00Z"), page("3", 200)],
            [want("cancelled", "date_changed", "1", 0, 60, 65, ended_by="2")]),
    Example(35, "a past one starts nothing", RENEWAL, [ends("1", 0, "2026-03-02T09:59:59Z"), page("2", 200)]),
    Example(35, "an offset, and a time of day; each year, 29 February on the 28th",
            rules(r={"start": {"date": {"trait": "ends", "offset": "2d", "at": "11:00", "every": "year"}}}),
            [ends("1", 0, "2024-02-29"), page("2", 200)],
            [
                want("fired", "due", "1", 0, 60, 65),
                want("fired", "due", "1", 60, 365 * DAY + 60, 365 * DAY + 65, basis="time"),
            ]),
    Example(35, "the year after is begun once, though another date was told for this one",
            rules(r={"start": {"date": {"trait": "ends", "every": "year"}},
                     "cancel": {"event": "order_completed", "reason": "renewed"}}),
            [ends("1", 0, "2026-03-02T11:30:00Z"), bought("2", 5), ends("3", 10, "2026-03-02T11:00:00Z"),
             page("4", 200)],
            [
                want("cancelled", "renewed", "1", 0, 90, 65, ended_by="2"),
                want("fired", "due", "3", 10, 60, 65),
                want("fired", "due", "3", 60, 365 * DAY + 60, 365 * DAY + 65, basis="time"),
            ]),
]  # fmt: skip

CHAIN = rules(
    a={
        "start": {"event": "product_viewed"},
        "after": "30m",
        "cancel": {"event": "order_completed", "reason": "bought"},
    },
    r={"start": {"trigger": {"rule": "a"}}, "after": "30m", "cancel": {"event": "page_viewed", "reason": "back"}},
)
FIRST = "decision a None 1 1772447400000 None"

FOLLOWERS = [
    Example(44, "it occurred when the other was due, and is known when that is decided", CHAIN,
            [viewed("1", 0), page("2", 200)],
            [want("fired", "due", "1", 0, 30, 35, rule="a"), want("fired", "due", FIRST, 30, 60, 65)]),
    Example(44, "what came between counts", CHAIN, [viewed("1", 0), page("2", 31), page("3", 200)],
            [want("fired", "due", "1", 0, 30, 35, rule="a"),
             want("cancelled", "back", FIRST, 30, 60, 65, ended_by="2")]),
    Example(44, "what it started by is taken back", CHAIN, [viewed("1", 0), bought("2", 20, 40), page("3", 200)],
            [want("fired", "due", "1", 0, 30, 35, rule="a"),
             want("retracted", "bought", "1", 0, 30, 40, rule="a", late_event_id="2"),
             want("cancelled", "retracted", FIRST, 30, 60, 65, ended_by="2")]),
    Example(25, "at the end of a recording nothing starts any more", CHAIN, [viewed("1", 0), page("2", 34)],
            [want("fired", "due", "1", 0, 30, 35, rule="a")]),
]  # fmt: skip

MAY = {"consent": "marketing", "is": "unknown"}
CONSENTS = [
    Example(45, "consent never told is unknown; told with any event, the last counts",
            rules({"s": {"consent": "marketing"}, "u": MAY}),
            [page("1", 0), among(page("2", 10), context={"consent": {"marketing": True}}),
             among(page("3", 5, 20), context={"consent": {"marketing": False}}),
             among(page("4", 30), context={"consent": {"marketing": False}})],
            changes=[change("entered", 0, segment="u"), change("entered", 10, "2"),
                     change("left", 10, "2", segment="u"), change("left", 30, "4")]),
]  # fmt: skip

STARTS = [*VISITS, *CHANGES, *ARRIVALS, *SEQUENCES, *NOTS, *DATES, *FOLLOWERS, *CONSENTS]
