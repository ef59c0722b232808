"""Little histories computed by hand: what ends a wait, what is looked at when it is decided, and several reminders
of one wait."""

from __future__ import annotations

from tests.oracle.build import add, event, login, view
from tests.oracle.language.build import MS, Example, bought, page, rules, viewed, want

BOUGHT = {"event": "order_completed", "reason": "bought"}
STAGED = {
    "start": {"event": "product_added"},
    "stages": [{"name": "first", "after": "30m"}, {"name": "last", "after": "2h"}],
    "cancel": BOUGHT,
}

ENDS = [
    Example(
        29,
        "until ends it at the first moment at which it holds",
        rules(
            r={
                "start": {"event": "product_added"},
                "after": "30m",
                "until": {"when": {"did": "page_viewed", "times": 2, "within": "10m"}, "reason": "busy"},
            }
        ),
        [add("1", 0), page("2", 10), page("3", 21), page("4", 25)],
        [want("cancelled", "busy", "1", 0, 30, 35, ended_by="4")],
    ),
    Example(
        29,
        "until at the start too",
        rules(
            r={
                "start": {"event": "product_added"},
                "after": "30m",
                "until": {"when": {"did": "order_completed", "within": "10m"}, "reason": "owns"},
            }
        ),
        [bought("0", -5), add("1", 0)],
        [want("cancelled", "owns", "1", 0, 30, 35)],
    ),
    Example(
        29,
        "until by time alone, and a start after it is the next wait",
        rules(
            r={
                "start": {"event": "product_added"},
                "after": "30m",
                "until": {"when": {"none": [{"did": "page_viewed", "within": "10m"}]}, "reason": "gone"},
            }
        ),
        [page("0", -5), add("1", 0), add("2", 3), page("3", 6), add("4", 7), page("5", 16)],
        [want("cancelled", "gone", "2", 3, 33, 38), want("cancelled", "gone", "4", 7, 37, 42)],
    ),
    Example(
        29,
        "up to D: a moment later doesn't end it",
        rules(
            r={
                "start": {"event": "product_added"},
                "after": "30m",
                "until": {"when": {"did": "page_viewed"}, "reason": "seen"},
            }
        ),
        [add("1", 0), page("2", 30 + MS)],
        [want("fired", "due", "1", 0, 30, 35)],
    ),
    Example(
        29,
        "the cancel of an event comes before its until",
        rules(
            r={
                "start": {"event": "product_added"},
                "after": "30m",
                "cancel": BOUGHT,
                "until": {"when": {"did": "order_completed"}, "reason": "owns"},
            }
        ),
        [add("1", 0), bought("2", 10)],
        [want("cancelled", "bought", "1", 0, 30, 35, ended_by="2")],
    ),
    Example(
        29,
        "until is known at the decision: what is received later ends nothing, nor is a trigger retracted",
        rules(
            r={
                "start": {"event": "product_added"},
                "after": "30m",
                "until": {"when": {"did": "page_viewed"}, "reason": "seen"},
            }
        ),
        [add("1", 0), page("2", 10, 40)],
        [want("fired", "due", "1", 0, 30, 35)],
    ),
    Example(
        29,
        "only_if looks at what occurred up to D, known at the decision",
        rules(
            r={"start": {"event": "product_added"}, "after": "30m", "only_if": {"did": "page_viewed", "within": "10m"}}
        ),
        [add("1", 0), page("2", 20 + MS, 35), page("3", 33)],
        [want("fired", "due", "1", 0, 30, 35)],
    ),
    Example(
        29,
        "only_if: exactly a window before D is out; what occurred after D doesn't count",
        rules(
            r={"start": {"event": "product_added"}, "after": "30m", "only_if": {"did": "page_viewed", "within": "10m"}}
        ),
        [add("1", 0), page("2", 20), page("3", 30 + MS)],
        [want("suppressed", "only_if", "1", 0, 30, 35)],
    ),
    Example(
        29,
        "overtaken is looked at before only_if",
        rules(r={"start": {"event": "product_added"}, "after": "30m", "only_if": {"did": "page_viewed"}}),
        [add("1", 0), add("2", 31)],
        [want("suppressed", "overtaken", "1", 0, 30, 35), want("suppressed", "only_if", "2", 31, 61, 66)],
    ),
    Example(
        29,
        "since the start",
        rules(
            r={"start": {"event": "product_added"}, "after": "30m", "only_if": {"did": "page_viewed", "since": "start"}}
        ),
        [page("0", -1), add("1", 0), page("2", 100), add("3", 101), page("4", 102)],
        [want("suppressed", "only_if", "1", 0, 30, 35), want("fired", "due", "3", 101, 131, 136)],
    ),
    Example(
        29,
        "segments are as the fold has them at the decision",
        rules(
            {"s": {"did": "page_viewed"}},
            r={"start": {"event": "product_added"}, "after": "30m", "only_if": {"segment": "s"}},
        ),
        [add("1", 0), page("2", 33)],
        [want("fired", "due", "1", 0, 30, 35)],
        [
            {
                "segment": "s",
                "change": "entered",
                "at": 1_772_445_600_000 + 33 * 60_000,
                "cause_event_id": "2",
                "reason": "event",
            }
        ],
    ),
    Example(
        30,
        "start.x and key on the right side of a cancel's tests",
        rules(
            r={
                "per": "product_id",
                "start": {"event": "product_added"},
                "after": "30m",
                "cancel": {"event": "cart_viewed", "where": {"cart_id": {"is": "start.cart_id"}}, "reason": "looked"},
            }
        ),
        [add("1", 0, cart="c"), add("2", 0, cart="d", product_id="q"), view("3", 10, cart="d")],
        [
            want("fired", "due", "1", 0, 30, 35, key="p"),
            want("cancelled", "looked", "2", 0, 30, 35, key="q", ended_by="3"),
        ],
    ),
    Example(
        30,
        "match compares items of a list with the key",
        rules(
            r={
                "per": "product_id",
                "start": {"event": "product_viewed"},
                "after": "30m",
                "cancel": {**BOUGHT, "match": {"products.product_id": "key"}},
            }
        ),
        [
            viewed("1", 0),
            viewed("2", 0, product="q"),
            bought("3", 10, products=[{"product_id": "x"}, {"product_id": "q"}]),
        ],
        [
            want("fired", "due", "1", 0, 30, 35, key="p"),
            want("cancelled", "bought", "2", 0, 30, 35, key="q", ended_by="3"),
        ],
    ),
    Example(
        26,
        "again: a key starts anew only so long after its last fired decision was due",
        rules(r={"start": {"event": "product_added"}, "after": "30m", "again": {"after": "1h"}}),
        [add("1", 0), add("2", 89), add("3", 100)],
        [want("fired", "due", "1", 0, 30, 35), want("fired", "due", "3", 100, 130, 135)],
    ),
    Example(
        26,
        "again: exactly so long after is long enough; what was cancelled bars nothing",
        rules(r={"start": {"event": "product_added"}, "after": "30m", "again": {"after": "1h"}, "cancel": BOUGHT}),
        [add("1", 0), bought("2", 10), add("3", 20), add("4", 110)],
        [
            want("cancelled", "bought", "1", 0, 30, 35, ended_by="2"),
            want("fired", "due", "3", 20, 50, 55),
            want("fired", "due", "4", 110, 140, 145),
        ],
    ),
    Example(
        45,
        "in one millisecond a rule goes by role: start, restart, cancel",
        rules(
            r={
                "start": {"event": "order_completed"},
                "restart": {"event": "product_added"},
                "cancel": {"event": "page_viewed", "reason": "seen"},
                "after": "30m",
            }
        ),
        [bought("2", 0), add("1", 0), page("0", 0)],
        [want("cancelled", "seen", "1", 0, 30, 35, ended_by="0")],
    ),
    Example(
        21,
        "what ends it counts on both sides of a tie",
        rules(
            r={"start": {"event": "product_added"}, "after": "1h", "cancel": BOUGHT, "only_if": {"did": "page_viewed"}}
        ),
        [add("1", 0), page("2", 5, who="u:1"), bought("3", 10, who="u:2"), login("4", 20)],
        [want("fired", "due", "1", 0, 60, 65, who="a:phone u:1")],
    ),
]

STAGES = [
    Example(
        31,
        "each counts from the cause, a decision each",
        rules(r=STAGED),
        [add("1", 0)],
        [want("fired", "due", "1", 0, 30, 35, stage="first"), want("fired", "due", "1", 0, 120, 125, stage="last")],
    ),
    Example(
        31,
        "a cancel before the first ends all, in one decision naming the next",
        rules(r=STAGED),
        [add("1", 0), bought("2", 10)],
        [want("cancelled", "bought", "1", 0, 30, 35, stage="first", ended_by="2")],
    ),
    Example(
        31,
        "a cancel between ends what is left, decided L after it",
        rules(r=STAGED),
        [add("1", 0), bought("2", 40)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("cancelled", "bought", "1", 0, 120, 45, stage="last", ended_by="2"),
        ],
    ),
    Example(
        31,
        "a restart moves what is left",
        rules(r={**STAGED, "restart": {"event": "cart_viewed"}}),
        [add("1", 0), view("2", 50)],
        [want("fired", "due", "1", 0, 30, 35, stage="first"), want("fired", "due", "2", 50, 170, 175, stage="last")],
    ),
    Example(
        31,
        "a start after a decided stage begins anew with the first, and ends what is left",
        rules(r=STAGED),
        [add("1", 0), add("2", 50)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("cancelled", "begun_anew", "1", 0, 120, 55, stage="last", ended_by="2"),
            want("fired", "due", "2", 50, 80, 85, stage="first"),
            want("fired", "due", "2", 50, 170, 175, stage="last"),
        ],
    ),
    Example(
        31,
        "a start before the first is due moves it",
        rules(r=STAGED),
        [add("1", 0), add("2", 20)],
        [want("fired", "due", "2", 20, 50, 55, stage="first"), want("fired", "due", "2", 20, 140, 145, stage="last")],
    ),
    Example(
        31,
        "overtaken by what begins anew",
        rules(r=STAGED),
        [add("1", 0), add("2", 32)],
        [
            want("suppressed", "overtaken", "1", 0, 30, 35, stage="first"),
            want("cancelled", "begun_anew", "1", 0, 120, 37, stage="last", ended_by="2"),
            want("fired", "due", "2", 32, 62, 67, stage="first"),
            want("fired", "due", "2", 32, 152, 157, stage="last"),
        ],
    ),
    Example(
        31,
        "a late cancel retracts what it would have prevented, and ends the rest",
        rules(r=STAGED),
        [add("1", 0), bought("2", 20, 60)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("retracted", "bought", "1", 0, 30, 60, stage="first", late_event_id="2"),
            want("cancelled", "bought", "1", 0, 120, 60, stage="last", ended_by="2"),
        ],
    ),
    Example(
        31,
        "a suppressed stage leaves the later ones; a stage's only_if replaces the rule's",
        rules(
            r={
                "start": {"event": "product_added"},
                "only_if": {"did": "page_viewed"},
                "stages": [
                    {"name": "first", "after": "30m"},
                    {"name": "second", "after": "1h", "only_if": {"did": "product_added"}},
                ],
            }
        ),
        [add("1", 0)],
        [
            want("suppressed", "only_if", "1", 0, 30, 35, stage="first"),
            want("fired", "due", "1", 0, 60, 65, stage="second"),
        ],
    ),
    Example(
        21,
        "a start of another, that turns out to be too soon, begins nothing anew",
        rules(
            r={
                "start": {"event": "product_viewed"},
                "again": "never",
                "stages": [{"name": "first", "after": "10m"}, {"name": "second", "after": "30m"}],
            }
        ),
        [viewed("1", 0), viewed("2", 20, who="u:1"), login("3", 21)],
        [
            want("fired", "due", "1", 0, 10, 15, stage="first"),
            want("fired", "due", "1", 0, 30, 35, who="a:phone u:1", stage="second"),
        ],
    ),
    Example(
        21,
        "nor does it overtake",
        rules(r={"start": {"event": "product_viewed"}, "after": "30m", "again": "never"}),
        [viewed("1", 0), viewed("2", 40, who="u:1"), viewed("3", 71, who="u:1"), login("4", 72)],
        [want("fired", "due", "1", 0, 30, 35), want("fired", "due", "2", 40, 70, 75, who="a:phone u:1")],
    ),
    Example(
        21,
        "never again, also where the other's wait is still open when they turn out to be one",
        rules(
            r={
                "start": {"event": "product_viewed"},
                "per": "product_id",
                "after": "30m",
                "again": "never",
                "cancel": BOUGHT,
            }
        ),
        [
            viewed("1", 0),
            viewed("2", 4400, product="q"),
            viewed("3", 4410, who="u:1"),
            login("4", 4415),
            bought("5", 4420),
            viewed("6", 4450),
        ],
        [
            want("fired", "due", "1", 0, 30, 35, key="p"),
            want("cancelled", "bought", "2", 4400, 4430, 4435, key="q", who="a:phone u:1", ended_by="5"),
            want("cancelled", "bought", "3", 4410, 4440, 4445, key="p", who="a:phone u:1", ended_by="5"),
        ],
    ),
    Example(
        32,
        "a cancel after the reminder is credited to it, when it is received",
        rules(r={"start": {"event": "product_added"}, "after": "30m", "cancel": BOUGHT, "recovered": {"within": "2h"}}),
        [add("1", 0), bought("3", 150 + MS), bought("2", 150, 160)],
        [want("fired", "due", "1", 0, 30, 35), want("recovered", "bought", "1", 0, 30, 160, ended_by="2")],
    ),
    Example(
        32,
        "not what occurred before it was decided, nor too long after it was due, nor for another reason",
        rules(
            r={
                "start": {"event": "product_added"},
                "after": "30m",
                "cancel": [BOUGHT, {"event": "page_viewed", "reason": "seen"}],
                "recovered": {"within": "2h"},
            }
        ),
        [add("1", 0), page("2", 100), bought("3", 150 + MS)],
        [want("fired", "due", "1", 0, 30, 35)],
    ),
    Example(
        10,
        "rules of one person are apart",
        rules(r={"start": {"event": "product_added"}, "after": "30m"}, t={"start": {"event": "form_submitted"}}),
        [add("1", 0), event("form_submitted", "2", 10)],
        [want("fired", "due", "1", 0, 30, 35), want("fired", "due", "2", 10, 10, 15, rule="t")],
    ),
]

WAITS = [*ENDS, *STAGES]
