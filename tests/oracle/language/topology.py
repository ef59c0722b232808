"""The topology as the oracle takes it: rules and what they speak of, times in ms. Shares no code with `pipeline`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

Condition = dict[str, Any]

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LENGTHS = {"seconds": 1_000, "minutes": 60_000, "hours": 3_600_000, "days": 86_400_000, "weeks": 604_800_000}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NEVER = 1 << 60
"""A time that doesn't come."""


@cache
def duration(told: Any) -> int:
    """ "7d" -> ms."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", str(told))
    if found is None:
        raise ValueError(f"not a duration: {told}")
    return int(found[1]) * UNITS[found[2]]


def several(told: Any) -> list[Any]:
    """One, or a list of them, as a list; None is none."""
    if told is None:
        return []
    return list(told) if isinstance(told, list) else [told]


@dataclass(frozen=True)
class Action:
    """What an event does to a wait: `events` with `where`; and of a cancel whom it concerns, and whether it takes what
    it holds out of others' carts (12)."""

    events: tuple[str, ...]
    where: dict[str, Any]
    match: Any = None
    without_key: str = "ignore"
    before_start: bool = False
    takes: bool = False
    reason: str = "cancelled"


@dataclass(frozen=True)
class Stage:
    """One reminder of a wait. `name` None: the only one of a rule without stages. `after`: ms, 0 where it varies.
    `payload`: as YAML tells it, a list of parts, or name -> what."""

    name: str | None
    after: int
    only_if: Condition | None
    payload: Any


@dataclass(frozen=True)
class Length:
    """44: so many `unit`s (ms) as the start tells in `field`; or, without one, at least `least` ms, and then up to
    `minute` minutes after midnight on one of the `days` (0: Monday)."""

    field: str | None
    unit: int
    least: int
    minute: int
    days: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """28: one step of a sequence, or what must not be before the next one. `lasts`: ms of a last `not ... for`."""

    action: Action
    name: str | None = None
    negated: bool = False
    lasts: int | None = None


@dataclass(frozen=True)
class Dated:
    """35: what tells a date: `trait`, or a `field` of `tells`. `offset`: ms; `at`: minutes after midnight."""

    trait: str | None
    tells: Action | None
    field: str
    offset: int
    at: int | None
    yearly: bool


@dataclass(frozen=True)
class Rule:
    """One rule. `again`: ms after its last fired decision was due; 0 always, NEVER never. `forget`: None: not once.
    `length`: of a wait, where that varies. `emptied`: the reason with which a cart that is left empty ends its wait."""

    name: str
    place: int
    version: int
    priority: int
    per: str | None
    shared: bool
    once: bool
    forget: int
    again: int
    start: tuple[Action, ...]
    when: Condition | None
    sequence: tuple[Step, ...]
    within: int
    date: Dated | None
    trigger: tuple[str, str] | None
    restart: tuple[Action, ...]
    cancel: tuple[Action, ...]
    until: tuple[Condition, str] | None
    stages: tuple[Stage, ...]
    waits: bool
    staged: bool
    on_arrival: bool
    recovered: dict[str, Any] | None
    length: Length | None
    emptied: str | None

    @property
    def at_once(self) -> bool:
        """38: it waits for nothing."""
        return not self.waits and self.date is None and all(step.lasts is None for step in self.sequence)

    @cached_property
    def of_cart(self) -> bool:
        """12: does it look at what is in the cart of its key?"""
        told = [one.split(".")[0] for stage in self.stages for one in parts(stage.payload)]
        return self.emptied is not None or "cart" in told


@dataclass(frozen=True)
class Language:
    """All that was said, in the topology's order. `lateness`, `disorder`, `max_age` in ms. `longest`: that a start may
    say a wait to be (ms)."""

    lateness: int
    disorder: int
    zone: str
    max_age: int
    longest: int
    rules: tuple[Rule, ...]
    segments: dict[str, Condition] = field(default_factory=dict)
    measures: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, Any] = field(default_factory=dict)


def action(told: Any, reason: str = "cancelled") -> Action:
    """{event: ..., where: ...} -> Action."""
    return Action(
        events=tuple(several(told["event"])),
        where=told.get("where") or {},
        match=told.get("match"),
        without_key=told.get("without_key", "ignore"),
        before_start=bool(told.get("before_start")),
        takes=told.get("takes") == "products",
        reason=told.get("reason", reason),
    )


def stages_of(told: dict[str, Any]) -> tuple[Stage, ...]:
    """The reminders of a rule: one for `after`, or `stages`, a stage's `only_if` instead of the rule's."""
    only_if, payload = told.get("only_if"), told.get("payload", [])
    if "stages" not in told:
        last = (told["start"].get("sequence") or [{}])[-1]
        after = told.get("after", last.get("for", "0ms"))
        return (Stage(None, 0 if isinstance(after, dict) else duration(after), only_if, payload),)
    return tuple(
        Stage(one["name"], duration(one["after"]), one.get("only_if", only_if), one.get("payload", payload))
        for one in told["stages"]
    )


def parts(payload: Any) -> list[str]:
    """What a payload tells, without the names under which it does."""
    return list(payload.values()) if isinstance(payload, dict) else list(payload)


def length_of(after: Any) -> Length | None:
    """44: how long a wait is, where that isn't the same for all."""
    if not isinstance(after, dict):
        return None
    if "field" in after:
        return Length(after["field"], LENGTHS[after["unit"]], 0, 0, ())
    hour, minute = (int(part) for part in after["until"]["time"].split(":"))
    days = several(after["until"].get("days")) or DAYS
    return Length(None, 0, duration(after["for"]), hour * 60 + minute, tuple(DAYS.index(day) for day in days))


def emptied_of(told: dict[str, Any]) -> str | None:
    """12, 13: the reason with which an empty cart ends a wait. Of a wait that lasts, and begins with what puts
    something into its cart, it may also be said as a condition."""
    until, starts = told.get("until") or {}, several(told["start"].get("event"))
    puts = told.get("per") == "cart_id" and starts and all(one in ("product_added", "cart_updated") for one in starts)
    lasts = puts and not told.get("once") and ("after" in told or "stages" in told)
    empty = until.get("cart") == "empty" or (lasts and until.get("when") == {"cart": {"lines": {"is": 0}}})
    return str(until["reason"]) if empty else None


def sequence_of(start: dict[str, Any]) -> tuple[Step, ...]:
    """28: the steps of a sequence."""
    steps = []
    for told in start.get("sequence", ()):
        body = told.get("not", told)
        lasts = duration(told["for"]) if "for" in told else None
        steps.append(Step(action(body), told.get("as"), "not" in told, lasts))
    return tuple(steps)


def dated_of(told: dict[str, Any] | None) -> Dated | None:
    """35: a date."""
    if told is None:
        return None
    offset, clock = str(told.get("offset", "0ms")), told.get("at")
    hour, minute = (int(part) for part in clock.split(":")) if clock else (0, 0)
    return Dated(
        trait=told.get("trait"),
        tells=action(told) if "event" in told else None,
        field=told.get("field") or f"traits.{told.get('trait')}",
        offset=-duration(offset[1:]) if offset.startswith("-") else duration(offset),
        at=hour * 60 + minute if clock else None,
        yearly="every" in told,
    )


def undone(told: dict[str, Any], keyed: bool) -> tuple[Action, ...]:
    """44: that what started by a trigger is cancelled when that is taken back, as one more cancel."""
    if "trigger" not in told:
        return ()
    return (Action((f"undone {told['trigger']['rule']}",), {}, {"key": "key"} if keyed else None, reason="retracted"),)


def rule(name: str, place: int, told: dict[str, Any]) -> Rule:
    """One rule, as YAML tells it."""
    start, once, again = told["start"], told.get("once", False), told.get("again", "always")
    until, emptied = told.get("until"), emptied_of(told)
    return Rule(
        name=name,
        place=place,
        version=told.get("version", 1),
        priority=told.get("priority", 0),
        per=told.get("per"),
        shared=told.get("without_key") == "shared",
        once=bool(once),
        forget=duration(once["forget"]) if isinstance(once, dict) else NEVER,
        again={"always": 0, "never": NEVER}[again] if isinstance(again, str) else duration(again["after"]),
        start=(action(start),) if "event" in start else (),
        when=start.get("when"),
        sequence=sequence_of(start),
        within=duration(start["within"]) if "within" in start else NEVER,
        date=dated_of(start.get("date")),
        trigger=(start["trigger"]["rule"], start["trigger"].get("outcome", "fired")) if "trigger" in start else None,
        restart=tuple(action(one) for one in several(told.get("restart"))),
        cancel=(*(action(one) for one in several(told.get("cancel"))), *undone(start, "per" in told)),
        until=(until["when"], until.get("reason", "until")) if until and emptied is None else None,
        stages=stages_of(told),
        waits="after" in told or "stages" in told or "date" in start or "for" in (start.get("sequence") or [{}])[-1],
        staged="stages" in told,
        on_arrival=told.get("decide") == "on_arrival",
        recovered=told.get("recovered"),
        length=length_of(told.get("after")),
        emptied=emptied,
    )


def language(told: dict[str, Any]) -> Language:
    """What yaml.safe_load gives -> Language."""
    time = told.get("time") or {}
    max_age, retention = duration(time.get("max_age", "72h")), (told.get("profile") or {}).get("retention", "90d")
    rules = [
        rule(name, place, one)
        for place, (name, one) in enumerate((told.get("triggers") or {}).items())
        if one.get("enabled", True)
    ]
    segments = {name: one["when"] for name, one in (told.get("segments") or {}).items() if one.get("enabled", True)}
    return Language(
        lateness=duration(time.get("lateness", "5m")),
        disorder=duration(time.get("disorder", "10s")),
        zone=time.get("zone", "UTC"),
        max_age=max_age,
        longest=duration(retention) - max_age,
        rules=tuple(rules),
        segments=segments,
        measures=told.get("measures") or {},
        lists=told.get("lists") or {},
    )
