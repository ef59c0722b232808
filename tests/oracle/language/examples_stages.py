"""Little histories computed by hand: two who turn out to be one while reminders are left, what is looked at since a
start, what came of a reminder, and what comes too late to begin anything."""

from __future__ import annotations

from tests.oracle.build import add, event, login
from tests.oracle.language.build import Example, bought, change, page, rules, viewed, want

BOTH = "a:phone u:1"
STAGED = {
    "start": {"event": "product_added"},
    "stages": [{"name": "first", "after": "30m"}, {"name": "last", "after": "2h"}],
    "cancel": {"event": "order_completed", "reason": "bought"},
}

TIED = [
    Example(
        31,
        "at a tie: what the other did up to a stage that is decided ends what is left, and takes nothing back",
        rules(r=STAGED),
        [add("1", 0), bought("2", 25, who="u:1"), login("3", 50)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("cancelled", "bought", "1", 0, 120, 50, stage="last", ended_by="2", who=BOTH),
        ],
    ),
    Example(
        31,
        "at a tie: what the other bought before it started ends nothing",
        rules(r=STAGED),
        [bought("2", 0, who="u:1"), add("1", 1), login("3", 50)],
        [
            want("fired", "due", "1", 1, 31, 36, stage="first"),
            want("fired", "due", "1", 1, 121, 126, stage="last", who=BOTH),
        ],
    ),
    Example(
        31,
        "at a tie: what the other began up to a stage that is decided is late",
        rules(r=STAGED),
        [add("1", 0), add("2", 20, who="u:1"), login("3", 40)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("fired", "due", "1", 0, 120, 125, stage="last", who=BOTH),
        ],
    ),
    Example(
        31,
        "at a tie: what the other began later begins anew",
        rules(r=STAGED),
        [add("1", 0), add("2", 38, who="u:1"), login("3", 40)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("cancelled", "begun_anew", "1", 0, 120, 43, stage="last", ended_by="2", who=BOTH),
            want("fired", "due", "2", 38, 68, 73, stage="first", who=BOTH),
            want("fired", "due", "2", 38, 158, 163, stage="last", who=BOTH),
        ],
    ),
    Example(
        31,
        "at a tie: of two of which stages are decided the one that began last goes on, also where a key starts once",
        rules(r={**STAGED, "once": True}),
        [add("1", 0), add("2", 5, who="u:1"), login("3", 50)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("fired", "due", "2", 5, 35, 40, stage="first", who="u:1"),
            want("fired", "due", "2", 5, 125, 130, stage="last", who=BOTH),
        ],
    ),
    Example(
        29,
        "at a tie: what is left waits until something from its own last stage on, not from what the other has decided",
        rules({"s": {"did": "page_viewed"}}, r={**STAGED, "until": {"when": {"segment": "s"}, "reason": "enough"}}),
        [add("1", 0), add("2", 2, who="u:1"), add("3", 60, who="u:1"), page("4", 68, who="u:1"), login("5", 70)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("fired", "due", "2", 2, 32, 37, stage="first", who="u:1"),
            want("cancelled", "begun_anew", "2", 2, 122, 65, stage="last", ended_by="3", who="u:1"),
            want("cancelled", "enough", "1", 0, 120, 70, stage="last", who=BOTH),
            want("cancelled", "enough", "3", 60, 90, 95, stage="first", who=BOTH),
        ],
        [change("entered", 68, "4")],
    ),
    Example(
        36,
        "at a tie: somebody has been in a segment for as long as either was",
        rules({"s": {"did": "page_viewed"}, "t": {"segment": "s", "for": {"gte": "30m"}}}),
        [page("1", 0), page("2", 10, who="u:1"), login("3", 20), page("4", 300)],
        changes=[
            change("entered", 0, "1"),
            change("entered", 10, "2"),
            change("left", 20, reason="merged"),
            change("entered", 30, segment="t"),
        ],
    ),
]

LOOKED_AT = [
    Example(
        29,
        "since the start that opened it, also when a stage is decided",
        rules(r={**STAGED, "only_if": {"did": "page_viewed", "since": "start"}}),
        [add("1", 0), page("2", 5), add("3", 10)],
        [
            want("fired", "due", "3", 10, 40, 45, stage="first"),
            want("fired", "due", "3", 10, 130, 135, stage="last"),
        ],
    ),
    Example(
        44,
        "what ends before it is due is decided before, and occurred when it would have been due",
        rules({"s": {"trigger": "r", "outcome": "cancelled", "within": "10m"}}, r=STAGED),
        [add("1", 0), bought("2", 40), page("3", 300)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("cancelled", "bought", "1", 0, 120, 45, stage="last", ended_by="2"),
        ],
        [change("entered", 120), change("left", 130)],
    ),
    Example(
        32,
        "a late cancel takes back the last reminder, and is the success of the one that was decided by then",
        rules(r={**STAGED, "recovered": {"within": "2h"}}),
        [add("1", 0), bought("2", 118, 130)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("fired", "due", "1", 0, 120, 125, stage="last"),
            want("retracted", "bought", "1", 0, 120, 130, stage="last", late_event_id="2"),
            want("recovered", "bought", "1", 0, 30, 130, stage="first", ended_by="2"),
        ],
    ),
]

LATE = [
    Example(
        6,
        "what begins anew closes its millisecond: another start of it that comes later is late",
        rules(r=STAGED),
        [add("1", 0), add("2", 50), add("3", 50, 60)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("cancelled", "begun_anew", "1", 0, 120, 55, stage="last", ended_by="2"),
            want("fired", "due", "2", 50, 80, 85, stage="first"),
            want("fired", "due", "2", 50, 170, 175, stage="last"),
        ],
    ),
    Example(
        7,
        "but one that is known by then moves what has begun",
        rules(r=STAGED),
        [add("1", 0), add("2", 50), add("3", 50, 55)],
        [
            want("fired", "due", "1", 0, 30, 35, stage="first"),
            want("cancelled", "begun_anew", "1", 0, 120, 55, stage="last", ended_by="2"),
            want("fired", "due", "3", 50, 80, 85, stage="first"),
            want("fired", "due", "3", 50, 170, 175, stage="last"),
        ],
    ),
    Example(
        26,
        "again: what had started begins nothing, when a late start before it fires",
        rules(
            r={
                "start": {
                    "when": {
                        "any": [
                            {"last": "product_viewed", "age": {"gte": "30m", "lt": "35m"}},
                            {"did": "form_submitted", "within": "1h"},
                        ]
                    }
                },
                "after": "10m",
                "again": {"after": "1h"},
            }
        ),
        [viewed("1", 20), event("form_submitted", "2", 0, 58), page("3", 300)],
        [want("fired", "due", "2", 0, 10, 58)],
    ),
]

STAGES = [*TIED, *LOOKED_AT, *LATE]
