"""What a decision tells: docs/conditions.md, "What is told"; semantics 2, 13 to 16. Shares no code with `pipeline`."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.oracle.film import film_of, seconds_watched
from tests.oracle.language.conditions import by_occurrence, tells_trait
from tests.oracle.language.paths import values
from tests.oracle.language.person import Person
from tests.oracle.language.waits import Start, Wait
from tests.oracle.lines import Contents
from tests.oracle.money import written
from tests.oracle.who import Fact

Line = dict[str, Any]


def payload(wait: Wait, person: Person, moment: int) -> Line:
    """Parts beside one another, or by the names that are given. `moment`: when it is decided."""
    told = wait.rule.stages[wait.stage].payload
    if isinstance(told, dict):
        return {name: one_told(what, wait, person, moment) for name, what in told.items()}
    return {name: value for part in told for name, value in one_told(part, wait, person, moment).items()}


def one_told(what: str, wait: Wait, person: Person, moment: int) -> Any:
    """One part, or a single value; what wasn't told is None."""
    if what == "key":
        return wait.key
    if what == "cart":
        assert wait.shown is not None
        return wait.shown.payload(wait.key)
    if what.startswith("cart."):
        assert wait.shown is not None
        return of_cart(wait.shown, what.removeprefix("cart."))
    if what == "message":
        return {"message_id": wait.key, "campaign": told_by(wait.cause, "campaign")}
    if what == "film":
        return film(wait, person)
    if what.startswith("start."):
        return of_start(wait.opened.fact, what.removeprefix("start."))
    trait = what.removeprefix("trait.")
    known = [fact for fact in person.facts if fact.occurred_at <= moment and tells_trait(fact, trait)]
    last = max(known, key=by_occurrence, default=None)
    return None if last is None else values(last, f"traits.{trait}")[0]


def of_cart(contents: Contents, name: str) -> Any:
    """13: one value of what is in it: how many lines and pieces, and of the whole cart what it says itself."""
    if name == "lines":
        return len(contents.lines)
    if name == "quantity":
        return written(sum((line.quantity for line in contents.lines), Fraction(0)))
    return contents.payload(None)[name]


def told_by(cause: Start, name: str) -> Any:
    """A field of the event that started or moved it; what led to a turn isn't that."""
    return cause.fact.get(name) if cause.fact is not None and cause.of_event else None


def of_start(fact: Fact | None, path: str) -> Any:
    """What the event told that opened the wait; of several items all that they tell."""
    found = [] if fact is None else values(fact, path)
    if fact is not None and isinstance(fact.get(path.partition(".")[0]), list):
        return list(found) or None
    return found[0] if found else None


def film(wait: Wait, person: Person) -> Line:
    """15, 16: the film of the key: all that was watched of it, as is known; what its cause tells of it, else what was
    told last."""
    played = [one for one in person.watched if film_of(one.fact) == wait.key]
    line: Line = {"film": wait.key, "seconds_watched": round(seconds_watched(played, str(wait.key)), 6)}
    for name in ("title", "total_length"):
        told = [one.fact.get(name) for one in sorted(played, key=lambda one: one.fact.knowledge) if one.fact.get(name)]
        line[name] = told_by(wait.cause, name) or (told[-1] if told else None)
    return line
