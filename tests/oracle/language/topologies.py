"""Random topologies in the rule language, with numbers so small that conditions turn often."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.oracle.language.begins import begin
from tests.oracle.language.lasting import as_told, of_cart, of_message, puts_in, refers, tells, upto

Told = dict[str, Any]

LONG = ["8d", "8d", "169h"]
"""Over which what is added up counts in hours."""
WINDOWS = ["10m", "20m", "30m", "1h", "2h"]
AFTERS = ["10m", "30m", "1h"]
PATHS = ["/pricing", "/help", "/pricing/team"]
PRODUCTS = ["p", "q"]
CARTS = ["c1", "c2"]
FORMS = ["demo", "news"]
PLANS = ["free", "pro"]
ZONES = ["UTC", "Pacific/Auckland", "Pacific/Kiritimati", "Pacific/Fiji", "America/New_York"]
"""In some of them a day begins soon after the histories do, at ten o'clock in UTC."""
EVENTS = ["product_viewed", "product_added", "page_viewed", "order_completed", "form_submitted", "cart_viewed"]
BEGIN = ["product_viewed", "product_added", "page_viewed", "form_submitted"]
WHERE: dict[str, list[Told]] = {
    "product_viewed": [{"product_id": "p"}, {"product_id": {"in": ["p", "q"]}}, {"product_id": {"not": "p"}}],
    "product_added": [{"product_id": "p"}, {"price": {"gte": 10}}, {"cart_id": {"exists": True}}],
    "page_viewed": [{"path": {"contains": "/pricing"}}, {"path": {"starts_with": "/help"}}, {"path": "/pricing"}],
    "order_completed": [{"total": {"gte": 50}}, {"total": {"lt": 50}}, {"cart_id": {"exists": False}}],
    "form_submitted": [{"form_id": "demo"}, {"form_id": {"is": "DEMO", "ignoring_case": True}}],
    "cart_viewed": [{"cart_id": "c1"}],
    "video_started": [{"film": "f"}, {"session_id": {"exists": True}}],
    "video_progressed": [{"film": "f"}, {"position": {"gte": 20}}],
}
NEW = ("starts_with", "ignoring_case")
OLD_WHERE = {kind: [test for test in found if not any(op in str(test) for op in NEW)] for kind, found in WHERE.items()}
SOURCES = ["mail", "search"]
"""Of campaigns, which visits tell."""
NESTED: dict[str, list[Told]] = {
    "company.size": [{"gte": 50}, {"is": 50}, {"not": 50}, {"between": [10, 60]}, {"exists": True}],
    "company.at.city": [{"is": "Wien"}, {"contains": "ie"}, {"in": ["Wien", "Graz"]}, {"exists": False}],
    "company.at": [{"exists": True}, {"contains": "city"}],
    "company.listed": [{"is": True}, {"not": True}, {"is": "false"}],
}
"""Inside of a trait that is an object."""
ANSWERS = [
    ("product_viewed", "product_id", PRODUCTS),
    ("page_viewed", "path", PATHS[:2]),
    ("form_submitted", "form_id", FORMS),
    (["product_added", "cart_viewed"], "cart_id", CARTS),
]
"""Of lists: what tells an answer, where, and which there are."""
MOVES = {"product_id": "product_removed", "cart_id": "cart_viewed", "film": "video_paused", None: "cart_viewed"}
WITH_PATH: dict[str | None, list[str]] = {
    "form_id": ["form_submitted"],
    "products.product_id": ["product_added", "order_completed"],
    "product_id": ["product_viewed", "product_added"],
    "cart_id": ["product_added", "product_viewed", "cart_viewed", "order_completed"],
    "film": ["video_started", "video_progressed"],
}
"""A list of types in one leaf has either only such, or none."""

PER = {
    "product_id": ["product_viewed", "product_added"],
    "cart_id": ["product_added", "cart_viewed"],
    "film": ["video_started", "video_progressed"],
}
ASKED_OF_CARTS: list[Told] = [
    *({"lines": test} for test in ({"is": 0}, {"is": 0}, {"gte": 1}, {"gte": 2}, {"lt": 2})),
    *({"quantity": test} for test in ({"gte": 3}, {"gt": 0, "lt": 2}, {"is": 0.5})),
    *({"total": test} for test in ({"gte": 10}, {"gte": 20}, {"lt": 15}, {"is": 12.5})),
    *({"total": {"gte": limit}, "currency": currency} for limit, currency in ((10, "EUR"), (20, "EUR"), (5, "usd"))),
    {"lines": {"gte": 2}, "total": {"gte": 15}},
    {"lines": {"is": 1}, "quantity": {"gte": 2}},
]
ASKED_OF_FILMS: list[Told] = [
    *({"share": test} for test in ({"gte": 0.5}, {"gte": 0.5}, {"gte": 0.25}, {"gt": 0.9}, {"lt": 0.5})),
    *({"seconds": test} for test in ({"gte": 10}, {"gte": 30}, {"gt": 20}, {"lt": 15}, {"is": 0})),
    {"share": {"gte": 0.3}, "seconds": {"gte": 15}},
]


class Sayings:
    """Says random things. `segments`, `measures`, `lists`, `rules`: what may be named already."""

    def __init__(self, rng: Random, options: Told) -> None:
        self.rng = rng
        self.conditions: bool = options.get("conditions", True)
        self.staged: bool = options.get("staged", False)
        self.again: bool = options.get("again", False)
        self.recovered: bool = options.get("recovered", False)
        self.asking: bool = options.get("asking", False)
        self.starts: bool = options.get("starts", False)
        self.moved: bool = options.get("moved", False)
        self.carts: bool = options.get("carts", False)
        self.films: bool = options.get("films", False)
        self.at_once: bool = options.get("at_once", False)
        self.lengths: bool = options.get("lengths", False)
        self.emptied: bool = options.get("emptied", False)
        self.values: bool = options.get("values", False)
        self.payloads: bool = options.get("payloads", False)
        self.messages: bool = options.get("messages", False)
        self.referring: bool = options.get("referring", False)
        self.hours: bool = options.get("hours", False)
        self.made: bool = options.get("made", False)
        self.nested: bool = options.get("nested", False)
        self.reasons: bool = options.get("reasons", False)
        self.any_segment = False
        self.ages: bool = options.get("ages", True)
        self.begins: tuple[str, ...] = options.get("begins", ())
        self.consents: bool = options.get("consents", False)
        self.known = WHERE
        self.told: dict[str, Told] = {}
        self.of_path: list[str] = []
        self.segments: list[str] = []
        self.measures: list[str] = []
        self.lists: dict[str, list[str]] = {}
        self.rules: list[str] = []

    def where(self, event: str, chance: float = 0.35) -> Told:
        """Now and then tests on an event, to be put beside it."""
        found = WHERE[event] if self.conditions else OLD_WHERE[event]
        return {"where": self.rng.choice(found)} if self.rng.random() < chance else {}

    def window(self, *, always: bool = False) -> Told:
        """Mostly a window."""
        if self.hours and self.rng.random() < 0.5:
            return {"within": self.rng.choice(LONG)}
        return {"within": self.rng.choice(WINDOWS)} if always or self.rng.random() < 0.75 else {}

    def span(self, *, always: bool = False) -> Told:
        """A window, or a unit of the calendar."""
        if self.moved and self.rng.random() < 0.5:
            return {"calendar": self.rng.choice(["day", "day", "day", "week", "month"])}
        return self.window(always=always)

    def did(self, events: list[str] | None = None, *, window: bool = False) -> Told:
        """How often, how much, how many different ones."""
        rng = self.rng
        if self.made and events is None and rng.random() < 0.3:
            often = {"times": rng.choice([1, 2, {"lt": 2}])} if rng.random() < 0.5 else {}
            return {**self.made_event("did"), **self.window(always=window), **often}
        event = rng.choice(events or EVENTS)
        if events is None and rng.random() < 0.07:
            if rng.random() < 0.4:
                return {"visits": rng.choice([2, {"lt": 3}]), **self.span(always=window)}
            return {"did": "any", "times": rng.choice([2, 3]), **self.span(always=window)}
        leaf: Told = {"did": event, **self.where(event), **self.span(always=window)}
        kind = rng.random() / (2 if self.hours else 1)
        if event == "order_completed" and kind < 0.3:
            return {**leaf, "sum": "total", "gte": rng.choice([50, 60, 100])}
        if event == "product_added" and kind < 0.2:
            return {**leaf, "sum": "price", rng.choice(["gte", "gt"]): rng.choice([10, 20])}
        if event.startswith("product_") and kind < 0.35:
            return {**leaf, "distinct": "product_id", "gte": 2}
        if kind < 0.6:
            leaf["times"] = rng.choice([1, 2, 2, 3, {"gte": 2}, {"gte": 1, "lt": 3}, {"lt": 2}])
        others = [one for one in EVENTS if (one in self.of_path) == (event in self.of_path)]
        if rng.random() < 0.1 and others:
            leaf["did"] = [event, rng.choice(others)]
            leaf.pop("where", None)
        return leaf

    def made_event(self, key: str) -> Told:
        """What nobody sends: a visit, or who enters or leaves a segment."""
        rng = self.rng
        if not self.segments or rng.random() < 0.35:
            where = {"where": {"context.campaign.source": rng.choice(SOURCES)}} if rng.random() < 0.3 else {}
            return {key: "visit_started", **where}
        told: Told = {key: rng.choice(["segment_entered", "segment_entered", "segment_left"])}
        if self.reasons and rng.random() < 0.5:
            told["where"] = {"reason": rng.choice(["time", "time", "event", {"not": "event"}])}
        if self.any_segment and rng.random() < 0.3:
            return told
        named = rng.choice([rng.choice(self.segments), {"in": rng.sample(self.segments, min(2, len(self.segments)))}])
        return {**told, "where": {**told.get("where", {}), "segment": named}}

    def edge(self) -> Told:
        """The first or last event, its age and what it tells."""
        rng = self.rng
        if self.made and rng.random() < 0.3:
            return {**self.made_event(rng.choice(["first", "last"])), "age": {"gte": rng.choice(WINDOWS)}}
        event = rng.choice(EVENTS)
        leaf: Told = {rng.choice(["first", "last"]): event, **self.where(event, 0.2)}
        kind = rng.random()
        if kind < 0.75:
            leaf["age"] = {rng.choice(["gte", "gte", "gt", "lt", "lte"]): rng.choice(WINDOWS)}
        if kind > 0.55:
            leaf["has"] = rng.choice(WHERE[event])
        return leaf

    def trait(self) -> Told:
        """What was told of the person."""
        test: Told = self.rng.choice([{"is": "pro"}, {"not": "free"}, {"exists": True}, {"in": ["pro", "team"]}])
        if self.nested and self.rng.random() < 0.8:
            return {"trait": self.rng.choice(list(NESTED)), **test} if self.rng.random() < 0.2 else self.inside("trait")
        return {"trait": "plan", **test}

    def inside(self, key: str) -> Told:
        """What an object among the traits holds."""
        rng = self.rng
        name = rng.choice(list(NESTED))
        test = rng.choice(NESTED[name])
        if key == "trait":
            return {"trait": name, **test}
        return {key: "identified", "where": {f"traits.{name}": test}}

    def date(self) -> Told:
        """How far off a date is."""
        rng = self.rng
        source = rng.choice(["trait.ends", "trait.ends", {"event": "form_submitted", "field": "fields.ends"}])
        source = "trait.contract.ends" if self.nested else source
        bound = {rng.choice(["gte", "gt", "lt", "lte", "lte"]): rng.choice(WINDOWS)}
        return {"date": source, rng.choice(["in", "in", "ago", "anniversary"]): bound}

    def leaf(self, *, folded: bool = False) -> Told:
        """Any leaf. `folded`: looked at when something is decided."""
        rng = self.rng
        if (self.carts or self.films) and rng.random() < 0.5:
            return self.thing()
        kind = rng.random()
        if self.consents and rng.random() < 0.08:
            return {"consent": "marketing", **rng.choice([{}, {"is": "refused"}, {"is": "unknown"}])}
        if self.nested and rng.random() < 0.4:
            return rng.choice([self.trait, self.date, lambda: {**self.inside("did"), **self.window()}])()
        if kind < 0.04:
            return self.trait()
        if kind < 0.08:
            return self.date()
        if kind < 0.2:
            return self.edge()
        if kind < 0.26 and self.measures:
            return {"measure": rng.choice(self.measures), "gte": rng.choice([2, 3, 5])}
        if kind < 0.34 and self.lists:
            name = rng.choice([*self.lists])
            since = {"since": "start"} if folded and rng.random() < 0.3 else {}
            return {"list": name, "is": rng.choice([*self.lists[name], self.lists[name][:1]]), **self.window(), **since}
        if kind < 0.42 and self.segments:
            age = {"for": {rng.choice(["gte", "lt"]): rng.choice(WINDOWS)}} if self.ages and rng.random() < 0.3 else {}
            return {"segment": rng.choice(self.segments), **age}
        if kind < 0.5 and self.rules:
            outcomes = ["fired", "suppressed"] if self.staged else ["fired", "cancelled", "suppressed"]
            outcome = {"outcome": rng.choice(outcomes)} if rng.random() < 0.5 else {}
            return {"trigger": rng.choice(self.rules), **outcome, **self.span()}
        leaf = self.did()
        if folded and "did" in leaf and rng.random() < 0.15:
            leaf.pop("within", None)
            leaf.pop("calendar", None)
            leaf["since"] = "start"
        return leaf

    def thing(self) -> Told:
        """What is in a cart, or was watched of a film."""
        if self.carts:
            return {"cart": self.rng.choice(ASKED_OF_CARTS)}
        return {"film": self.rng.choice(ASKED_OF_FILMS)}

    def condition(self, depth: int = 2, *, folded: bool = False) -> Told:
        """Leaves joined by all, any, none."""
        rng = self.rng
        if depth == 0 or rng.random() < 0.4:
            return self.leaf(folded=folded)
        parts = [self.condition(depth - 1, folded=folded) for _ in range(rng.choice([1, 2, 2, 3]))]
        kind = rng.choice(["all", "all", "any", "none"])
        return {kind: [*parts, {"none": [self.did()]}] if kind == "all" and rng.random() < 0.3 else parts}

    def twice_and_not(self) -> Told:
        """What people mostly say: so often this, and not that."""
        event = self.rng.choice(BEGIN)
        some = {"did": event, **self.where(event, 0.2), "times": self.rng.choice([1, 2, 2]), **self.window()}
        no = {"did": self.rng.choice(["order_completed", "order_completed", "cart_viewed"]), **self.window(always=True)}
        return {"all": [some, {"none": [no]}]}

    def of_key(self, per: str) -> Told:
        """A condition of a rule with keys: something with the key must have happened."""
        if per == ("cart_id" if self.carts else "film" if self.films else None) and self.rng.random() < 0.8:
            found = self.thing()
            return found if self.rng.random() < 0.5 else {"all": [found, self.leaf()]}
        parts = [self.did(PER[per], window=True)]
        parts[0].pop("times", None)
        if self.rng.random() < 0.5:
            parts[0] = {
                **{k: v for k, v in parts[0].items() if k in ("did", "within", "calendar", "where")},
                "times": 2,
            }
        if self.rng.random() < 0.5:
            parts.append({"none": [self.did(["order_completed"], window=True)]})
        if self.rng.random() < 0.3:
            parts.append(self.did(window=True))
        return {"all": parts}

    # --- rules

    def rule(self) -> Told:
        """One rule. Its start and its cancel never speak of one event."""
        rng, conditions = self.rng, self.conditions
        per = rng.choice([None, None, "product_id", "cart_id"])
        if (self.carts or self.films) and rng.random() < 0.6:
            per = "cart_id" if self.carts else "film"
        told: Told = {"version": rng.choice([1, 2])}
        self.of_path = WITH_PATH.get(per, [])
        if per:
            told["per"] = per
        begins = rng.sample(PER[per] if per else BEGIN, rng.choice([1, 1, 2]))
        when = conditions and rng.random() < 0.65
        if when:
            usual = self.twice_and_not() if rng.random() < 0.65 else self.condition()
            told["start"] = {"when": self.of_key(per) if per else usual}
        else:
            where = self.where(begins[0], 0.3) if len(begins) == 1 else {}
            told["start"] = {"event": begins if len(begins) > 1 else begins[0], **where}
            if per and (self.carts or not conditions) and rng.random() < 0.3:
                told["without_key"] = "shared"
        if (not when or conditions) and rng.random() < 0.15:
            told["once"] = rng.choice([True, {"forget": "72h"}])
        if self.starts and rng.random() < 0.7:
            when = self.other_start(told, per)
        if self.nested and per is None and rng.random() < 0.5:
            told["start"], when = self.inside("event"), False
        if self.made and per is None and rng.random() < 0.6:
            when = self.made_start(told)
        if self.begins and rng.random() < 0.7:
            begin(self, told, self.begins)
            per, when = told.get("per"), False
        if self.payloads and per != "film" and rng.random() < (0.7 if self.messages else 0.2):
            of_message(rng, told, moved=self.messages)
            return told
        if self.lengths and rng.random() < 0.5:
            as_told(self, told)
            per, when = told.get("per"), False
            self.of_path = WITH_PATH.get(per, [])
        elif self.emptied and per == "cart_id" and rng.random() < 0.85:
            told.pop("once", None)
            if not when and "sequence" not in told["start"]:
                told["start"] = puts_in(rng)
            self.lasts(told)
        elif not self.at_once or rng.random() < 0.3:
            self.lasts(told)
        elif rng.random() < 0.6:
            told["decide"] = "on_arrival"
        if told.get("once") is False:
            del told["once"]
        elif self.again and "once" not in told and rng.random() < 0.4:
            told["again"] = rng.choice([{"after": "1h"}, {"after": "2h"}, "never"])
        self.ends(told, per, when)
        lasts = "after" in told or "stages" in told or "for" in told["start"].get("sequence", [{}])[-1]
        cart = self.emptied and per == "cart_id" and "once" not in told and lasts
        if cart and rng.random() < 0.9:
            of_cart(rng, told, values=self.values)
            if self.referring and "product_added" in told["start"].get("event", ()):
                refers(rng, told)
        if conditions and "until" not in told and rng.random() < 0.35:
            found = self.condition(1, folded=True)
            # By itself that may be what a cart's own rule says, of which the other oracle knows.
            found = {"all": [found]} if found == {"cart": {"lines": {"is": 0}}} else found
            told["until"] = {"when": found, "reason": "enough"}
        if conditions and rng.random() < 0.45:
            told["only_if"] = self.condition(1, folded=True)
        if self.payloads:
            tells(rng, told)
        return told

    def other_start(self, told: Told, per: str | None) -> bool:
        """A visit, a sequence, or a decision when the record arrives. Returns whether a condition starts it."""
        rng = self.rng
        kind = rng.choice(["sequence", "sequence", "arrival", "arrival", "visit"])
        if kind == "arrival":
            told["decide"] = "on_arrival"
            return "when" in told["start"]
        if kind == "visit" and per is None:
            told["start"] = {"event": "visit_started"}
            return False
        events = [rng.choice(PER[per] if per else BEGIN) for _ in range(rng.choice([2, 2, 3]))]
        steps: list[Told] = [{"event": event, **self.where(event, 0.2)} for event in events]
        if rng.random() < 0.4:
            steps.insert(1, {"not": {"event": rng.choice(PER[per] if per else BEGIN)}})
        told["start"] = {"sequence": steps, "within": rng.choice(WINDOWS)}
        return False

    def made_start(self, told: Told) -> bool:
        """By what nobody sends, perhaps for each segment. Returns whether a condition starts it."""
        rng = self.rng
        if self.segments and rng.random() < 0.4:
            told["per"] = "segment"
            both = ["segment_entered", "segment_left"]
            told["start"] = {"event": rng.choice([*both, both])}
        elif rng.random() < 0.3:
            steps = [self.made_event("event"), {"event": rng.choice(BEGIN)}]
            told["start"] = {"sequence": rng.sample(steps, 2), "within": rng.choice(WINDOWS)}
            told.pop("once", None)
        else:
            told["start"] = self.made_event("event")
        return False

    def lasts(self, told: Told) -> None:
        """How long it waits, and what moves it."""
        rng = self.rng
        start = told["start"]
        if "decide" in told or "for" in start.get("sequence", [{}])[-1]:
            return
        if "date" in start:
            if rng.random() < 0.3:
                told["after"] = rng.choice(AFTERS)
            return
        if self.staged and rng.random() < 0.6:
            told["stages"] = [{"name": "first", "after": "10m"}, {"name": "second", "after": "30m"}]
            if rng.random() < 0.4:
                told["stages"].append({"name": "last", "after": "1h"})
                if self.asking:
                    told["stages"][-1]["only_if"] = self.condition(1, folded=True)
        else:
            told["after"] = upto(rng) if self.lengths and rng.random() < 0.7 else rng.choice(AFTERS)
        if "once" not in told and rng.random() < 0.4:
            moves = rng.choice(["cart_viewed", "page_viewed", "form_submitted", "product_removed"])
            told["restart"] = {"event": MOVES.get(told["per"], "segment_entered") if "per" in told else moves}
            if self.made and "per" not in told and rng.random() < 0.5:
                told["restart"] = self.made_event("event")

    def ends(self, told: Told, per: str | None, when: bool) -> None:
        """What cancels it."""
        rng = self.rng
        if rng.random() < 0.2:
            return
        cancels: list[Told] = [{"event": "order_completed", "reason": "bought", **self.where("order_completed", 0.2)}]
        if per == "cart_id":
            cancels[0] |= {"match": "cart_id", "without_key": "all"}
        if per == "products.product_id":
            cancels[0] = {"event": "product_removed", "match": {"products.product_id": "key"}, "reason": "removed"}
        if rng.random() < 0.3:
            cancels.append({"event": "email_unsubscribed", "reason": "unsubscribed"})
        if self.made and rng.random() < 0.4:
            cancels.insert(rng.choice([0, 1]), {**self.made_event("event"), "reason": "made"})
        elif self.made and told.get("per") == "segment" and rng.random() < 0.5:
            cancels.append({"event": "segment_left", "match": "segment", "reason": "left"})
        if "once" in told and rng.random() < 0.5:
            cancels[0]["before_start"] = True
        told["cancel"] = cancels
        if self.recovered and rng.random() < 0.5:
            told["recovered"] = {"within": rng.choice(WINDOWS)}


def topology(rng: Random, **options: Any) -> Told:
    """`time`, `triggers`, `segments`, `measures`, `lists`. Options: `conditions` False: only what today's three rules
    are made of; `staged`: several reminders; `asking`: what single ones ask; `again`: when a key starts anew;
    `recovered`: what is credited to a trigger; `carts`, `films`: what is asked of these; `starts`: visits, sequences,
    decisions on arrival; `begins`: which of `lasting` and other sequences, dates (also `yearly`) and triggers start it;
    `consents`: what was agreed; `lengths`: waits as long as their start tells, or up to a time of day; `emptied`: what
    is left in a cart, and told of it; `values`: by single values; `referring`: what ends a cart's wait asks of its
    start; `messages`: mostly waits for messages, which others move; `at_once`: mostly no waits; `hours`: mostly what is
    added up, often over more than seven days; `made`: what nobody sends; `reasons`: and why; `nested`: objects among
    the traits; `moved`: units of the calendar; `ages` False: not for how long somebody is in a segment (which hangs on
    whose profile stays at a tie)."""
    say = Sayings(rng, options)
    told: Told = {"time": {"lateness": "5m", "disorder": "10s", "max_age": "72h"}, "triggers": {}}
    if say.moved:
        told["time"]["zone"] = rng.choice(ZONES)
    if say.conditions:
        told |= {"segments": {}, "measures": {}, "lists": {}}
        for number in range(rng.choice([0, 0, 1])):
            parts: list[Told] = [{"did": rng.choice(EVENTS), "points": rng.choice([1, 2, 3])} for _ in range(2)]
            if say.made:
                parts.append({**say.made_event("did"), "points": 2})  # a visit, for there is no segment yet
            told["measures"][f"m{number}"] = {"sum": parts, **say.span()}
            say.measures.append(f"m{number}")
        for number in range(rng.choice([0, 1])):
            event, value, answers = rng.choice(ANSWERS)
            told["lists"][f"l{number}"] = {"event": event, "value": value, "of": answers}
            say.lists[f"l{number}"] = answers
        for number in range(rng.choice([0, 1, 2, 2, 3])):
            told["segments"][f"s{number}"] = {"when": say.condition()}
            say.segments.append(f"s{number}")
    say.any_segment = True
    for number in range(rng.choice([1, 2, 3, 4])):
        told["triggers"][f"r{number}"] = say.told[f"r{number}"] = say.rule()
        say.rules.append(f"r{number}")
    return told
