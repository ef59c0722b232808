"""Little histories with decisions and changes computed by hand: what conditions, and rules that look at them, mean.

They judge the oracle, and the same ones the real implementation. Times are minutes; lateness is 5, disorder 1/6.
"""

from __future__ import annotations

from tests.oracle.build import add, click, event, login, view
from tests.oracle.language.build import MS, Example, bought, change, page, rules, traits, viewed, want
from tests.oracle.language.examples_lasting import LASTINGS
from tests.oracle.language.examples_stages import STAGES
from tests.oracle.language.examples_starts import STARTS
from tests.oracle.language.examples_waits import WAITS

THRICE = {"did": "page_viewed", "times": 3, "within": "1h"}
TWICE = {"did": "product_viewed", "times": 2, "within": "1h"}
AT_A = {"last": "page_viewed", "has": {"path": "/a"}}
QUIET = {"none": [{"did": "order_completed", "within": "1h"}]}
DAY = 24 * 60

SEGMENTS = [
    Example(
        24,
        "a window holds what occurred in (t - W, t]: it is left at the very moment",
        rules({"s": TWICE}),
        [viewed("1", 0), viewed("2", 10), page("3", 300)],
        changes=[change("entered", 10, "2"), change("left", 60)],
    ),
    Example(
        24,
        "exactly a window later the first is out already",
        rules({"s": TWICE}),
        [viewed("1", 0), viewed("2", 60), page("3", 300)],
    ),
    Example(
        24,
        "a millisecond less is enough for a millisecond",
        rules({"s": TWICE}),
        [viewed("1", 0), viewed("2", 60 - MS), page("3", 300)],
        changes=[change("entered", 60 - MS, "2"), change("left", 60)],
    ),
    Example(
        24,
        "it turns in order of receipt: a late event counts when it is received",
        rules({"s": TWICE}),
        [viewed("2", 10), viewed("1", 0, 30), page("3", 300)],
        changes=[change("entered", 30, "1"), change("left", 60)],
    ),
    Example(
        24,
        "what is received when it has left the window turns nothing",
        rules({"s": TWICE}),
        [viewed("2", 10), viewed("1", 0, 60), page("3", 300)],
    ),
    Example(
        24,
        "of two received at once, the first from which on it holds is the cause",
        rules({"s": TWICE}),
        [viewed("1", 0), viewed("2", 9, 10), viewed("3", 10), page("4", 300)],
        changes=[change("entered", 10, "2"), change("left", 69)],
    ),
    Example(
        25,
        "an age is reached at the very moment",
        rules({"s": {"first": "order_completed", "age": {"gte": "2h"}}}),
        [bought("1", 0), bought("2", 100), page("3", 300)],
        changes=[change("entered", 120)],
    ),
    Example(
        25,
        "more than an age: a millisecond later; the last one makes it younger",
        rules({"s": {"last": "order_completed", "age": {"gt": "1h"}}}),
        [bought("1", 0), bought("2", 100), page("3", 300)],
        changes=[change("entered", 60 + MS), change("left", 100, "2"), change("entered", 160 + MS)],
    ),
    Example(
        25,
        "only of whom it happened to",
        rules({"s": {"last": "order_completed", "age": {"lt": "1h"}}}),
        [page("1", 0), bought("2", 100), page("3", 300)],
        changes=[change("entered", 100, "2"), change("left", 160)],
    ),
    Example(
        25,
        "at the end of a recording time stands still for conditions",
        rules({"s": TWICE}),
        [viewed("1", 0), viewed("2", 10), page("3", 59)],
        changes=[change("entered", 10, "2")],
    ),
    Example(
        25,
        "the end is the last receipt of anybody, and what turns in that millisecond still does",
        rules({"s": TWICE}),
        [viewed("1", 0), viewed("2", 10), page("3", 60, who="a:else")],
        changes=[change("entered", 10, "2"), change("left", 60)],
    ),
    Example(
        36,
        "who begins enters what holds of them",
        rules({"s": QUIET}),
        [page("1", 0), bought("2", 10), page("3", 300)],
        changes=[change("entered", 0), change("left", 10, "2"), change("entered", 70)],
    ),
    Example(
        36,
        "a segment of a segment, in order of dependence; for so long since it was entered",
        rules({"loyal": {"segment": "s", "for": {"gte": "30m"}}, "s": TWICE}),
        [viewed("1", 0), viewed("2", 10), page("3", 300)],
        changes=[
            change("entered", 10, "2"),
            change("entered", 40, segment="loyal"),
            change("left", 60),
            change("left", 60, segment="loyal"),
        ],
    ),
    Example(
        36,
        "of two events of one moment the one that made them leave is the cause, also of who had been in it for so long",
        rules({"loyal": {"segment": "s", "for": {"gte": "30m"}}, "s": AT_A}),
        [
            page("1", 0, path="/a"),
            page("2", 60, 65, path="/a"),
            page("3", 61, 65, path="/b"),
            page("4", 300, path="/b"),
        ],
        changes=[
            change("entered", 0, "1"),
            change("entered", 30, segment="loyal"),
            change("left", 65, "3"),
            change("left", 65, "3", segment="loyal"),
        ],
    ),
    Example(
        36,
        "at a tie one of the two leaves; both together may be in where neither was",
        rules({"s": TWICE}),
        [
            viewed("1", 0, who="a:desk"),
            viewed("2", 10),
            login("3", 20, who="a:desk u:1"),
            login("4", 30),
            page("5", 300),
        ],
        changes=[change("entered", 30, None, "tie"), change("left", 60)],
    ),
    Example(
        36,
        "both were in: one leaves merged, and that is all",
        rules({"s": QUIET}),
        [page("1", 0), page("2", 0, who="u:1"), login("3", 10)],
        changes=[change("entered", 0), change("entered", 0), change("left", 10, None, "merged")],
    ),
    Example(
        26,
        "a trait told last by occurrence",
        rules({"s": {"trait": "plan", "is": "pro"}}),
        [
            traits("1", 0, plan="pro"),
            traits("2", 10, plan="free"),
            traits("3", 5, 20, plan="pro"),
            traits("4", 30, plan="pro"),
        ],
        changes=[change("entered", 0, "1"), change("left", 10, "2"), change("entered", 30, "4")],
    ),
    Example(
        26,
        "sums and different ones",
        rules(
            {
                "s": {"did": "order_completed", "sum": "total", "gte": 100, "within": "1h"},
                "d": {"did": "product_viewed", "distinct": "product_id", "gte": 2},
            }
        ),
        [
            bought("1", 0, total=60),
            bought("2", 10, total=40),
            viewed("3", 20),
            viewed("4", 30),
            viewed("5", 40, product="q"),
            page("6", 300),
        ],
        changes=[change("entered", 10, "2"), change("left", 60), change("entered", 40, "5", segment="d")],
    ),
    Example(
        12,
        "an order told again adds to no sum",
        rules({"s": {"did": "order_completed", "sum": "total", "gte": 100}}),
        [bought("1", 0, total=60, order_id="o"), bought("2", 10, total=60, order_id="o"), bought("3", 20, total=40)],
        changes=[change("entered", 20, "3")],
    ),
    Example(
        26,
        "a measure adds up points in its window",
        rules(
            {"s": {"measure": "score", "gte": 5}},
            {
                "score": {
                    "sum": [{"did": "page_viewed", "points": 1}, {"did": "form_submitted", "points": 4}],
                    "within": "1h",
                }
            },
        ),
        [page("1", 0), event("form_submitted", "2", 30, form_id="demo"), page("3", 200)],
        changes=[change("entered", 30, "2"), change("left", 60)],
    ),
    Example(
        37,
        "any is of a person's own doing",
        rules({"s": {"did": "any", "times": 2}}),
        [
            page("1", 0),
            event("email_sent", "2", 1, message_id="m"),
            click("3", 2, who="a:phone", confidence="machine"),
            page("4", 3),
        ],
        changes=[change("entered", 3, "4")],
    ),
]

TURNS = [
    Example(
        26,
        "the cause is the event whose receipt turned it; it counts from when that occurred",
        rules(r={"start": {"when": THRICE}, "after": "30m"}),
        [page("1", 0), page("2", 1), page("3", 5, 10), page("4", 12)],
        [want("fired", "due", "3", 5, 35, 40)],
    ),
    Example(
        26,
        "while one is open a turn is nothing: it doesn't move the wait",
        rules(r={"start": {"when": {"did": "page_viewed", "times": 2, "within": "10m"}}, "after": "1h"}),
        [page("1", 0), page("2", 1), page("3", 40), page("4", 41), page("5", 200)],
        [want("fired", "due", "2", 1, 61, 66)],
    ),
    Example(
        26,
        "after its due time a turn overtakes it, and opens the next",
        rules(r={"start": {"when": {"did": "page_viewed", "times": 2, "within": "10m"}}, "after": "30m"}),
        [page("1", 0), page("2", 1), page("3", 30), page("4", 33), page("5", 200)],
        [want("suppressed", "overtaken", "2", 1, 31, 36), want("fired", "due", "4", 33, 63, 68)],
    ),
    Example(
        26,
        "by time alone the cause is the moment, named after the last event that it counted",
        rules(r={"start": {"when": {"all": [{"did": "product_viewed"}, QUIET]}}, "after": "30m"}),
        [viewed("1", 0, who="a:phone"), bought("2", 10), page("3", 200)],
        [want("fired", "due", "1", 0, 30, 35), want("fired", "due", "2", 70, 100, 105, basis="time")],
    ),
    Example(
        38,
        "what turns by time alone overtakes nothing",
        rules(r={"start": {"when": {"all": [{"did": "product_viewed"}, QUIET]}}, "after": "30m"}),
        [viewed("0", -20), bought("1", -20 + MS), viewed("2", -10), bought("3", 12), viewed("4", 13), page("5", 200)],
        [want("fired", "due", "0", -20, 10, 15), want("fired", "due", "4", 72, 102, 107, basis="time")],
    ),
    Example(
        26,
        "at its decision it is looked at again, as of the turn: a late order makes it unfounded",
        rules(r={"start": {"when": {"all": [TWICE, QUIET]}}, "after": "30m"}),
        [viewed("1", 0), viewed("2", 10), bought("3", 9, 20), page("4", 200)],
        [want("suppressed", "unfounded", "2", 10, 40, 45)],
    ),
    Example(
        26,
        "an order after the turn doesn't",
        rules(r={"start": {"when": {"all": [TWICE, QUIET]}}, "after": "30m"}),
        [viewed("1", 0), viewed("2", 10), bought("3", 11, 20), page("4", 200)],
        [want("fired", "due", "2", 10, 40, 45)],
    ),
    Example(
        26,
        "what holds of a person without any event starts nothing; the next that it counts does",
        rules(r={"start": {"when": {"none": [{"did": "order_completed", "times": 2}]}}, "after": "30m"}),
        [bought("1", 0), page("2", 1), bought("3", 2), page("4", 100)],
    ),
    Example(
        26,
        "a condition that is true over nothing: the second event that it counts starts it",
        rules(r={"start": {"when": {"did": "page_viewed", "times": {"lt": 4}}}, "after": "30m"}),
        [page("1", 0), viewed("2", 1), page("3", 2), page("4", 3)],
        [want("fired", "due", "3", 2, 32, 37)],
    ),
    Example(
        26,
        "an event older than 72 h turns it, and starts nothing; the next that it counts does",
        rules(r={"start": {"when": {"did": "page_viewed", "times": 2}}, "after": "30m"}),
        [page("1", 0), page("2", -73 * 60, 1), viewed("3", 2), page("4", 3)],
        [want("fired", "due", "4", 3, 33, 38)],
    ),
    Example(
        26,
        "a tie alone starts nothing; the next event that it counts does",
        rules(r={"start": {"when": TWICE}, "after": "30m"}),
        [viewed("1", 0), viewed("2", 5, who="u:1"), login("3", 10), viewed("4", 20)],
        [want("fired", "due", "4", 20, 50, 55, who="a:phone u:1")],
    ),
    Example(
        26,
        "after a tie that turned it nothing is owed when it has turned back",
        rules(r={"start": {"when": TWICE}, "after": "30m"}),
        [viewed("1", 0), viewed("2", 5, who="u:1"), login("3", 10), viewed("4", 65), page("5", 300)],
    ),
    Example(
        26,
        "a turn that occurred before the closed end is late",
        rules(r={"start": {"when": {"did": "page_viewed", "times": 2, "within": "20m"}}, "after": "30m"}),
        [page("1", 0), page("2", 10), page("3", 35, 46), page("4", 30, 47)],
        [want("fired", "due", "2", 10, 40, 45)],
    ),
    Example(
        27,
        "a value of its own for each key",
        rules(r={"per": "product_id", "start": {"when": TWICE}, "after": "30m"}),
        [viewed("1", 0), viewed("2", 1, product="q"), viewed("3", 2), viewed("4", 40, product="q"), page("5", 200)],
        [want("fired", "due", "3", 2, 32, 37, key="p"), want("fired", "due", "4", 40, 70, 75, key="q")],
    ),
    Example(
        27,
        "a type without the path is of the person",
        rules(r={"per": "product_id", "start": {"when": {"all": [TWICE, QUIET]}}, "after": "30m"}),
        [bought("0", 0), viewed("1", 0), viewed("3", 2), viewed("2", 1, product="q"), page("5", 200)],
    ),
    Example(
        27,
        "by time alone it is named after the last event that it counted of this key",
        rules(r={"per": "product_id", "start": {"when": {"all": [TWICE, QUIET]}}, "after": "30m"}),
        [bought("0", -5), viewed("1", 0), viewed("3", 2), viewed("2", 3, product="q"), page("5", 200)],
        [want("fired", "due", "3", 55, 85, 90, key="p", basis="time")],
    ),
    Example(
        27,
        "what names the key is of the person, as written",
        rules(
            r={
                "per": "product_id",
                "start": {
                    "when": {
                        "all": [
                            {"did": "product_viewed", "within": "1h"},
                            {
                                "none": [
                                    {"did": "product_added", "where": {"product_id": {"is": "key"}}, "within": "1h"}
                                ]
                            },
                        ]
                    }
                },
                "after": "30m",
            }
        ),
        [add("0", -5, cart="c"), viewed("1", 0), viewed("2", 1, product="q")],
        [want("fired", "due", "2", 1, 31, 36, key="q")],
    ),
    Example(
        36,
        "a rule that looks at a segment starts with what entered it",
        rules({"s": TWICE}, r={"start": {"when": {"segment": "s"}}, "after": "30m"}),
        [viewed("1", 0), viewed("2", 10), page("3", 300)],
        [want("fired", "due", "2", 10, 40, 45)],
        [change("entered", 10, "2"), change("left", 60)],
    ),
    Example(
        26,
        "who had been in a segment for so long as of the turn had been, though they have left, or entered again, since",
        rules({"s": AT_A}, r={"start": {"when": {"segment": "s", "for": {"gte": "30m"}}}, "after": "1h"}),
        [page("1", 0, path="/a"), page("2", 45, path="/b"), page("3", 50, path="/a"), page("4", 55, path="/b")],
        [want("fired", "due", "1", 30, 90, 95, basis="time")],
        [change("entered", 0, "1"), change("left", 45, "2"), change("entered", 50, "3"), change("left", 55, "4")],
    ),
    Example(
        26,
        "and hadn't, where what was told late shows that they had left it before",
        rules({"s": AT_A}, r={"start": {"when": {"segment": "s", "for": {"gte": "30m"}}}, "after": "1h"}),
        [page("1", 0, path="/a"), page("2", 10, 40, path="/b"), page("4", 300, path="/b")],
        [want("suppressed", "unfounded", "1", 30, 90, 95, basis="time")],
        [change("entered", 0, "1"), change("left", 40, "2")],
    ),
    Example(
        36,
        "a trigger is known when it was decided, and occurred when it was due",
        rules(
            r={"start": {"event": "form_submitted"}, "after": "30m"},
            t={"start": {"when": {"trigger": "r", "within": "20m"}}, "after": "10m"},
        ),
        [event("form_submitted", "1", 0), page("2", 300)],
        [want("fired", "due", "1", 0, 30, 35), want("fired", "due", "1", 35, 45, 50, rule="t", basis="time")],
    ),
    Example(
        36,
        "a segment that looks at a trigger is left when that is no longer in its window",
        rules({"s": {"trigger": "r", "within": "20m"}}, r={"start": {"event": "form_submitted"}, "after": "30m"}),
        [event("form_submitted", "1", 0), page("2", 300)],
        [want("fired", "due", "1", 0, 30, 35)],
        [change("entered", 35), change("left", 50)],
    ),
    Example(
        20,
        "a turn by what turns out to be somebody else's",
        rules(r={"start": {"when": TWICE}, "after": "30m"}),
        [
            login("1", 0),
            viewed("2", 5),
            viewed("3", 6),
            login("4", 5.5, 20, who="a:phone u:2"),
            page("5", 200, who="u:1"),
        ],
        [want("suppressed", "other_person", "3", 6, 36, 41, who="a:phone u:1")],
    ),
    Example(
        20,
        "a turn by time alone is nobody's, whosoever the event is that it is named after",
        rules(
            r={"start": {"when": {"last": "product_viewed", "age": {"gte": "30m"}}}, "after": "30m"},
        ),
        [login("1", 0), viewed("2", 5), login("3", 4, 50, who="a:phone u:2"), page("4", 200, who="u:1")],
        [want("fired", "due", "2", 35, 65, 70, who="a:phone u:1", basis="time")],
    ),
    Example(
        26,
        "a look moves what a turn opened",
        rules(r={"start": {"when": TWICE}, "restart": {"event": "cart_viewed"}, "after": "30m"}),
        [viewed("1", 0), viewed("2", 10), view("3", 20), page("4", 200)],
        [want("fired", "due", "3", 20, 50, 55)],
    ),
]

EXAMPLES = [*SEGMENTS, *TURNS, *WAITS, *STAGES, *STARTS, *LASTINGS]
