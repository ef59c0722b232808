"""Conditions: a truth about a person at a moment, worked out from all that is known. Shares no code with `pipeline`.

A condition is the dict that YAML tells. `View` is what is looked at: the facts (whoever asks leaves out what wasn't
received yet), the moment, the key of a rule with `per`, the wait, and what the fold has of segments and triggers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle.film import film_of, is_playback
from tests.oracle.language.paths import CHANGES, MADE, VISIT, compares, is_type, keys, matches, meets, number, values
from tests.oracle.language.things import any_cart_meets, film_meets, films, the_cart_meets, touches
from tests.oracle.language.topology import Condition, Language, duration, several
from tests.oracle.reading import EMPTIED, ORDERS
from tests.oracle.who import Fact

HAS_PATH = {
    "product_id": ("product_added", "product_removed", "product_viewed", "wishlist_product_added"),
    "cart_id": (
        *("product_added", "product_removed", "product_viewed", "cart_viewed", "cart_updated", "cart_cleared"),
        *("checkout_started", EMPTIED, *ORDERS),
    ),
    "products.product_id": ("product_added", "product_removed", "cart_updated", *ORDERS),
    "message_id": (
        *("email_sent", "email_delivered", "email_opened", "email_clicked"),
        *("email_bounced", "email_complained", "email_unsubscribed"),
    ),
    "form_id": ("form_submitted",),
    "path": ("page_viewed",),
    "film": ("video_started", "video_progressed", "video_paused", "video_resumed", "video_sought", "video_completed"),
    "segment": CHANGES,
}
"""27: the types that have a path, of those that the histories tell."""


WHERE = ("traits.timezone", "context.timezone")
"""45: what says where somebody is; the last counts more."""
HOUR = 60 * 60_000
DAY = 24 * HOUR


@dataclass(frozen=True, eq=False)
class Made:
    """A decision, as `trigger` conditions see it."""

    rule: str
    outcome: str
    due: int
    decided_at: int


@dataclass(frozen=True)
class View:
    """What a condition looks at. `entered`: the fold's segments -> since when; None: they are worked out at `at`.
    `past`: segments -> since when and until when they were in them before.
    `fold_at`: the moment of the fold, where it isn't `at`. `since`, `start`, `key`: of the wait; `per`: the path of a
    rule with keys whose own value is asked for."""

    language: Language
    facts: list[Fact]
    at: int
    made: list[Made] = field(default_factory=list)
    entered: dict[str, int] = field(default_factory=dict)
    past: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    folded: bool = False
    per: str | None = None
    key: str | None = None
    start: Fact | None = None
    since: int | None = None
    fold_at: int | None = None

    @property
    def now(self) -> int:
        """What was decided up to then is known."""
        return self.at if self.fold_at is None else self.fold_at

    def resolve(self, told: Any) -> Any:
        """The right side of a test: `key` and `start.x` are the wait's."""
        if told == "key":
            return self.key
        if isinstance(told, str) and told.startswith("start."):
            found = [] if self.start is None else values(self.start, told.removeprefix("start."))
            return found[0] if found else None
        return told


def names_key(where: dict[str, Any]) -> bool:
    """Does a `where` name the key?"""
    return any(test == "key" or (isinstance(test, dict) and "key" in test.values()) for test in where.values())


def is_of(fact: Fact, leaf: dict[str, Any], event: Any, view: View) -> bool:
    """Is it an event that a `did`, `first` or `last` speaks of, whenever it occurred?"""
    where = leaf.get("where") or {}
    if not is_type(fact, several(event)) or not matches(fact, where, view.resolve):
        return False
    if view.per is None or names_key(where) or fact.type not in HAS_PATH[view.per] or "any" in several(event):
        return True
    named = keys(fact, view.per)
    return view.key in named or (view.key is None and not named)


def occurred(leaf: dict[str, Any], event: Any, view: View) -> list[Fact]:
    """24: the events of a leaf in its window, in the order in which they occurred."""
    found = [fact for fact in view.facts if fact.occurred_at <= view.at and is_of(fact, leaf, event, view)]
    found = [fact for fact in found if counted_at(fact, leaf) > before(leaf, view)]
    if leaf.get("since") == "start":
        found = [fact for fact in found if view.since is not None and fact.occurred_at >= view.since]
    return sorted(found, key=by_occurrence)


def before(leaf: dict[str, Any], view: View) -> int:
    """24: what occurred up to then is out of the window: so long ago, or in another day, week or month there."""
    if "calendar" in leaf:
        return begins(leaf["calendar"], view.at, zone_of(view), 0) - 1
    return view.at - duration(leaf["within"]) if "within" in leaf else -1


def zone_of(view: View) -> ZoneInfo:
    """45: where they are: the last that was told up to the moment, by a context, else as a trait."""
    known = [fact for fact in view.facts if fact.occurred_at <= view.at and fact.type != VISIT]
    told = sorted(known, key=by_occurrence)
    found = [zone for path in WHERE for fact in told for zone in values(fact, path)]
    return ZoneInfo([view.language.zone, *found][-1])


@lru_cache(maxsize=1 << 16)
def begins(unit: str, at: int, zone: ZoneInfo, later: int) -> int:
    """When the day, week (from Monday) or month so many later begins than that which it is then."""
    day = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at)).astimezone(zone).date()
    if unit == "day":
        day += timedelta(days=later)
    elif unit == "week":
        day += timedelta(days=7 * later - day.weekday())
    else:
        months = day.year * 12 + day.month - 1 + later
        day = day.replace(year=months // 12, month=months % 12 + 1, day=1)
    return milliseconds(datetime.combine(day, time(), zone))


def in_hours(leaf: dict[str, Any]) -> bool:
    """42: does what is added up leave its window by hours? Not what counts since a wait began."""
    added = any(word in leaf for word in ("sum", "distinct", "points"))
    return added and "since" not in leaf and "within" in leaf and duration(leaf["within"]) > 7 * DAY


def counted_at(fact: Fact, leaf: dict[str, Any]) -> int:
    """With which moment it leaves the window."""
    return hour(fact.occurred_at) if in_hours(leaf) else fact.occurred_at


def hour(at: int) -> int:
    """When the hour of UTC begins in which that is."""
    return at // HOUR * HOUR


def by_occurrence(fact: Fact) -> tuple[Any, ...]:
    """In which order events occurred; in one millisecond in the order of knowledge."""
    return fact.occurred_at, fact.received_at, fact.event_id, fact.carried


def did(leaf: dict[str, Any], view: View) -> bool:
    """How often, how much, or how many different ones."""
    found = occurred(leaf, leaf["did"], view)
    bounds = {op: leaf[op] for op in ("gt", "gte", "lt", "lte", "is", "not") if op in leaf}
    if "sum" in leaf:
        told = [number(one) for fact in found if not fact.told_before for one in values(fact, leaf["sum"])]
        return compares(sum((one for one in told if one is not None), Fraction(0)), bounds)
    if "distinct" in leaf:
        return compares(len({str(one) for fact in found for one in values(fact, leaf["distinct"])}), bounds)
    return compares(len(found), leaf.get("times", {"gte": 1}))


def edge(leaf: dict[str, Any], view: View) -> bool:
    """`first` and `last`: how old, and what it tells; only of whom it happened to."""
    kind = "first" if "first" in leaf else "last"
    found = occurred(leaf, leaf[kind], view)
    if not found:
        return False
    fact = found[0] if kind == "first" else found[-1]
    has = leaf.get("has") or {}
    old = "age" not in leaf or ages(view.at - fact.occurred_at, leaf["age"])
    return old and all(meets(fact, path, test, view.resolve) for path, test in has.items())


def ages(age: int, test: dict[str, Any]) -> bool:
    """An age in ms against `{gte: 7d}`."""
    return compares(age, {op: duration(limit) for op, limit in test.items()})


def tells_trait(fact: Fact, trait: str) -> bool:
    """Does it tell this trait of the person?"""
    return fact.type == "identified" and bool(values(fact, f"traits.{trait}"))


def trait(leaf: dict[str, Any], view: View) -> bool:
    """The value told last, by occurrence, against the operators beside it."""
    told = [fact for fact in view.facts if fact.occurred_at <= view.at and tells_trait(fact, leaf["trait"])]
    ops = {op: want for op, want in leaf.items() if op != "trait"}
    last = max(told, key=by_occurrence, default=None)
    if last is None:
        return all(op in ("not", "ignoring_case") or (op == "exists" and not want) for op, want in ops.items())
    return meets(last, f"traits.{leaf['trait']}", ops, view.resolve)


def of_person(view: View) -> View:
    """The same moment without a key: what measures and segments look at."""
    return replace(view, per=None, key=None, start=None, since=None)


def measure(leaf: dict[str, Any], view: View) -> bool:
    """A named number, compared."""
    total = Fraction(0)
    for part in parts_of(leaf["measure"], view.language):
        total += Fraction(str(part["points"])) * len(occurred(part, part["did"], of_person(view)))
    return compares(total, {op: limit for op, limit in leaf.items() if op != "measure"})


def parts_of(name: str, language: Language) -> list[dict[str, Any]]:
    """The summands of a measure, each with its window."""
    told = language.measures[name]
    window = {name: told[name] for name in ("within", "calendar") if name in told}
    return [{**window, **part} for part in told["sum"]]


def segment(leaf: dict[str, Any], view: View) -> bool:
    """In it: as the fold has it, or as worked out at the moment; `for`: since when, as the fold has it."""
    name = leaf["segment"]
    if view.folded:
        inside = name in view.entered
    else:
        inside = in_segment(name, view)
    if not inside or "for" not in leaf:
        return inside
    since = view.entered.get(name)
    if since is None or since > view.at:  # as they were then, also where they left in this very moment
        then = [began for began, ended in view.past.get(name, ()) if began <= view.at <= ended]
        since = then[-1] if then else view.at
    return ages(view.at - since, leaf["for"])


def in_segment(name: str, view: View) -> bool:
    """36: a person without an event is in none."""
    return bool(view.facts) and holds(view.language.segments[name], of_person(view))


def trigger(leaf: dict[str, Any], view: View) -> bool:
    """An outcome of a rule: it occurred when it was due, and is known when it was decided."""
    found = [made for made in view.made if made.rule == leaf["trigger"] and made.decided_at <= view.now]
    found = [made for made in found if made.outcome == leaf.get("outcome", "fired") and made.due <= view.at]
    return any(made.due > before(leaf, view) for made in found)


def visits(leaf: dict[str, Any], view: View) -> bool:
    """How many visits began: a person's own doing, half an hour or more after the last before it."""
    found = [fact.occurred_at for fact in occurred({}, "any", of_person(view))]
    began = [at for place, at in enumerate(found) if place == 0 or at - found[place - 1] >= 30 * 60_000]
    began = [at for at in began if at > before(leaf, view)]
    return compares(len(began), leaf["visits"])


def listed(leaf: dict[str, Any], view: View) -> bool:
    """The latest answer: of the person, whatever the rule's key, unless it is to the message that is the key."""
    return edge(as_last(leaf, view.language), replace(view, per=None))


def as_last(leaf: dict[str, Any], language: Language) -> dict[str, Any]:
    """The same as a `last`: of the events that hold one of the answers."""
    told = language.lists[leaf["list"]]
    where = {**(told.get("where") or {}), told["value"]: {"in": told["of"]}}
    if "of_message" in leaf:
        where["message_id"] = leaf["of_message"]
    window: dict[str, Any] = {name: leaf[name] for name in ("within", "since") if name in leaf}
    return {"last": told["event"], "where": where, "has": {told["value"]: {"in": several(leaf["is"])}}, **window}


def date(leaf: dict[str, Any], view: View) -> bool:
    """How far off the date is that was told last, by occurrence; nought in and nought ago when it has come. 35: the
    anniversary of 29 February is 28 February in other years."""
    told = [fact for fact in view.facts if fact.occurred_at <= view.at and tells_date(fact, leaf, view)]
    last = max(told, key=by_occurrence, default=None)
    zone = zone_of(view)
    at = None if last is None else date_of(last, leaf, zone)
    if at is None:
        return False
    if "ago" in leaf:
        return at <= view.at and ages(view.at - at, leaf["ago"])
    if "in" in leaf:
        return at >= view.at and ages(at - view.at, leaf["in"])
    return ages(min(day for day in anniversaries(at, view.at, zone) if day >= view.at) - view.at, leaf["anniversary"])


def tells_date(fact: Fact, leaf: dict[str, Any], view: View) -> bool:
    """Is it an event by which the date of a leaf is told, or told anew?"""
    if isinstance(leaf["date"], str):
        return tells_trait(fact, leaf["date"].removeprefix("trait."))
    return is_of(fact, leaf["date"], leaf["date"]["event"], view)


def date_of(fact: Fact, leaf: dict[str, Any], zone: ZoneInfo) -> int | None:
    """The date that an event tells; where it names no zone, there."""
    of = leaf["date"]
    told = values(fact, of.replace("trait.", "traits.", 1) if isinstance(of, str) else of["field"])
    try:
        found = datetime.fromisoformat(told[0]) if told else None
    except ValueError:
        return None
    return None if found is None else milliseconds(found if found.tzinfo else found.replace(tzinfo=zone))


def anniversaries(at: int, about: int, zone: ZoneInfo) -> list[int]:
    """Those of the years around a moment, there."""
    day, year = ((datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)).astimezone(zone) for ms in (at, about))
    found = []
    for each in range(year.year - 1, year.year + 3):
        leap = each % 4 == 0 and (each % 100 != 0 or each % 400 == 0)
        found.append(
            milliseconds(day.replace(year=each, day=28 if (day.month, day.day, leap) == (2, 29, False) else day.day))
        )
    return found


def milliseconds(moment: datetime) -> int:
    """UTC ms."""
    there = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (there - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def cart(leaf: dict[str, Any], view: View) -> bool:
    """What is in the wait's cart, elsewhere in any."""
    facts = [fact for fact in view.facts if fact.occurred_at <= view.at]
    if view.per == "cart_id":
        return the_cart_meets(leaf["cart"], view.key, facts, waits=view.since is not None)
    return any_cart_meets(leaf["cart"], facts)


def film(leaf: dict[str, Any], view: View) -> bool:
    """How much was watched of the wait's film, elsewhere of any. Seconds are counted by receipt, each with the event
    that brought it."""
    facts = [fact for fact in view.facts if fact.occurred_at <= view.at and is_playback(fact)]
    found = [name for name in films(facts) if view.per != "film" or name == view.key]
    return any(film_meets(leaf["film"], name, facts) for name in found)


def tells_consent(fact: Fact, purpose: str) -> bool:
    """Does it tell whether that purpose is agreed to? A visit only says again what the event told that began it."""
    return fact.type not in MADE and purpose in (fact.context.get("consent") or {})


def consent(leaf: dict[str, Any], view: View) -> bool:
    """What was told last of a purpose, by occurrence, with whatever event; 45: never told, it is unknown."""
    told = [fact for fact in view.facts if fact.occurred_at <= view.at and tells_consent(fact, leaf["consent"])]
    last = max(told, key=by_occurrence, default=None)
    state = "unknown" if last is None else "given" if last.context["consent"][leaf["consent"]] else "refused"
    return state == leaf.get("is", "given")


LEAVES: dict[str, Callable[[dict[str, Any], View], bool]] = {
    "did": did,
    "first": edge,
    "last": edge,
    "list": listed,
    "trait": trait,
    "measure": measure,
    "segment": segment,
    "trigger": trigger,
    "visits": visits,
    "date": date,
    "cart": cart,
    "film": film,
    "consent": consent,
}


def holds(condition: Condition, view: View) -> bool:
    """24: the one value of a condition."""
    if "all" in condition:
        return all(holds(one, view) for one in condition["all"])
    if "any" in condition:
        return any(holds(one, view) for one in condition["any"])
    if "none" in condition:
        return not any(holds(one, view) for one in condition["none"])
    return LEAVES[leaf_kind(condition)](condition, view)


def leaf_kind(condition: Condition) -> str:
    """Which leaf it is."""
    return next(kind for kind in LEAVES if kind in condition)


def leaves(
    condition: Condition, language: Language, *, keyed: bool = True, through: bool = True
) -> Iterator[tuple[dict[str, Any], bool]]:
    """Every leaf, through measures, lists and segments too; whether the key of a rule counts in it."""
    for joint in ("all", "any", "none"):
        if joint in condition:
            for one in condition[joint]:
                yield from leaves(one, language, keyed=keyed, through=through)
            return
    if "segment" in condition:
        yield condition, False
        if through:
            yield from leaves(language.segments[condition["segment"]], language, keyed=False)
    elif "measure" in condition:
        for part in parts_of(condition["measure"], language):
            yield part, False
    elif "list" in condition:
        yield as_last(condition, language), keyed and "of_message" in condition
    else:
        yield condition, keyed


def counts(condition: Condition, fact: Fact, view: View, *, through: bool = True) -> bool:
    """Does one of its leaves count this event? `through`: in a segment, too."""
    for leaf, keyed in leaves(condition, view.language, through=through):
        one = view if keyed else of_person(view)
        event = next((leaf[kind] for kind in ("did", "first", "last") if kind in leaf), None)
        if "visits" in leaf:
            one, event = of_person(view), "any"
        if event is not None and is_of(fact, leaf, event, one):
            return True
        if "trait" in leaf and tells_trait(fact, leaf["trait"]):
            return True
        if "date" in leaf and tells_date(fact, leaf, one):
            return True
        if "cart" in leaf and touches(fact, one.key, any_cart=one.per != "cart_id"):
            return True
        if "film" in leaf and film_of(fact) is not None and (one.per != "film" or film_of(fact) == one.key):
            return True
        if "consent" in leaf and tells_consent(fact, leaf["consent"]):
            return True
    return False


def turning_points(condition: Condition, view: View) -> Iterator[int]:
    """Moments at which time alone may turn it: where a window lets go of an event, an age is reached, or a date comes.
    A rule's key isn't asked for: too many moments do no harm."""
    for leaf, _ in leaves(condition, view.language):
        if "date" in leaf:
            yield from turning_dates(leaf, view)
            continue
        if "calendar" in leaf:
            yield from turning_days(leaf["calendar"], view)
        spans = [duration(leaf["within"])] if "within" in leaf else []
        spans += [duration(limit) for limit in (leaf.get("age") or leaf.get("for") or {}).values()]
        event = next((leaf[kind] for kind in ("did", "first", "last") if kind in leaf), None)
        if "visits" in leaf:
            event = "any"
        if event is not None:
            began = [fact.occurred_at for fact in view.facts if is_type(fact, several(event))]
        elif "trigger" in leaf:
            began = [made.due for made in view.made]
        else:
            began = list(view.entered.values())
        if "trigger" in leaf:
            yield from began  # what is decided early occurs when it would have been due
        for span in spans:
            for at in began:
                yield hour(at) + span if in_hours(leaf) else at + span
                yield at + span + 1


def zones_told(view: View) -> list[ZoneInfo]:
    """Wherever they ever were."""
    told = [zone for fact in view.facts for path in WHERE for zone in values(fact, path)]
    return [ZoneInfo(zone) for zone in {*told, view.language.zone}]


def turning_days(unit: str, view: View) -> Iterator[int]:
    """Where a day, week or month begins after anything that happened, wherever they ever were."""
    for zone in zones_told(view):
        for at in [fact.occurred_at for fact in view.facts] + [made.due for made in view.made]:
            yield begins(unit, at, zone, 1)


def turning_dates(leaf: dict[str, Any], view: View) -> Iterator[int]:
    """Where a date that anybody ever told comes, is so far off, or was so long ago."""
    limits = [duration(limit) for way in ("in", "ago", "anniversary") for limit in (leaf.get(way) or {}).values()]
    for fact, zone in ((fact, zone) for fact in view.facts for zone in zones_told(view)):
        at = date_of(fact, leaf, zone)
        if at is None:
            continue
        for day in anniversaries(at, fact.occurred_at, zone) if "anniversary" in leaf else [at]:
            for limit in [0, *limits]:
                yield from (day - limit, day - limit + 1, day + limit, day + limit + 1)
