"""Starts by a date that was told. Rule 35. Shares no code with `pipeline`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle.language.conditions import by_occurrence, milliseconds, tells_trait
from tests.oracle.language.paths import is_type, matches, values
from tests.oracle.language.person import Person
from tests.oracle.language.topology import Dated, Language, Rule
from tests.oracle.language.waits import Changed, Key, Start, starts_keys
from tests.oracle.who import Fact

EPOCH = datetime.fromtimestamp(0, UTC)
Told = date | datetime | None


def of_dates(language: Language, rule: Rule, person: Person, moment: int, end: int) -> dict[Key, list[Start | Changed]]:
    """35: of each key, what its tellings do, by what is known now. `end`: after it no year begins any more."""
    assert rule.date is not None
    tellings: dict[Key, list[Fact]] = {}
    for fact in sorted(person.fresh(), key=by_occurrence):
        if tells(rule.date, fact):
            for key in starts_keys(rule, fact):
                tellings.setdefault(key, []).append(fact)
    return {key: list(of_key(language, rule, facts, person, min(moment, end))) for key, facts in tellings.items()}


def tells(told: Dated, fact: Fact) -> bool:
    """Does it tell the date, or that there is none?"""
    if told.tells is None:
        return tells_trait(fact, str(told.trait))
    return is_type(fact, told.tells.events) and matches(fact, told.tells.where)


def of_key(language: Language, rule: Rule, facts: list[Fact], person: Person, moment: int) -> Iterator[Start | Changed]:
    """The last date told counts: the same again is nothing, another one moves, and none or a past one ends."""
    assert rule.date is not None
    before: Told = None
    for place, fact in enumerate(facts):
        told, before = read(fact, rule.date), before
        if told == before:
            continue
        before = told
        later = [one.occurred_at for one in facts[place + 1 :] if read(one, rule.date) != told]
        at: int | None = fact.occurred_at
        due = None if told is None else first(language, rule.date, told, person, fact.occurred_at)
        if due is None:
            yield Changed(fact)
            continue
        yield Start(fact, fact, fact.occurred_at, fact.received_at, moment=due)
        while rule.date.yearly and told is not None:  # the next year's, when this one has come
            at = due + rule.stages[0].after
            if at + language.lateness > moment or (later and later[0] <= at):
                break
            due = first(language, rule.date, told, person, at + 1)
            if due is None:
                break
            yield Start(None, fact, at, at, moment=due, of=(fact, due))


def read(fact: Fact, told: Dated) -> Told:
    """A day, or a moment; None: it is no date."""
    found = values(fact, told.field)
    value: Any = found[0] if found else None
    try:
        return date.fromisoformat(value) if len(value) == len("2026-03-02") else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def first(language: Language, dated: Dated, told: date | datetime, person: Person, from_: int) -> int | None:
    """The first moment at or after `from_` (UTC ms) at which it comes; None: it is past."""
    year = (EPOCH + timedelta(milliseconds=from_)).year
    years = [told.year] if not dated.yearly else list(range(year - 2, year + 4))
    found = [moment(language, dated, told, person, each) for each in years]
    return min((at for at in found if at >= from_), default=None)


def moment(language: Language, dated: Dated, told: date | datetime, person: Person, year: int) -> int:
    """When it comes in a year (UTC ms), where the person is about then."""
    offset = timedelta(milliseconds=dated.offset)
    at = told if isinstance(told, datetime) else datetime.combine(told, time())
    about = in_year(at if at.tzinfo else at.replace(tzinfo=UTC), year) + offset
    there = ZoneInfo(where(language, person, milliseconds(about)))
    local = at.astimezone(there).replace(tzinfo=None) if at.tzinfo else at
    local = in_year(local, year) if dated.yearly else local
    if dated.at is None:
        if at.tzinfo and not dated.yearly:
            return milliseconds(at + offset)
        return milliseconds(local.replace(tzinfo=there) + timedelta(0)) + dated.offset
    day = (local + offset).replace(hour=dated.at // 60, minute=dated.at % 60, second=0, microsecond=0)
    return milliseconds(day.replace(tzinfo=there))


def in_year(at: datetime, year: int) -> datetime:
    """29 February comes on 28 February in other years."""
    try:
        return at.replace(year=year)
    except ValueError:
        return at.replace(year=year, day=28)


def where(language: Language, person: Person, at: int) -> str:
    """34, 45: the last `context.timezone`, else the last trait `timezone`, by occurrence till then; else that of the
    topology. 6: what is old informs, too."""
    before = sorted((fact for fact in person.facts if fact.occurred_at <= at), key=by_occurrence)
    for path in ("context.timezone", "traits.timezone"):
        found = [told for fact in before for told in values(fact, path)]
        if found:
            return str(found[-1])
    return language.zone
