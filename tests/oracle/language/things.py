"""What is in carts and how much of films was watched, as conditions ask for it: semantics 12, 13, 15, 16. Shares no
code with `pipeline`."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from tests.oracle.cart import CLEAR, Key, apply, cart_of, concerns
from tests.oracle.film import film_of, is_playback
from tests.oracle.language.paths import compares
from tests.oracle.lines import Contents
from tests.oracle.money import currency_of, rounded
from tests.oracle.reading import EMPTIED, ORDERS
from tests.oracle.who import Fact

CHANGES = ("product_added", "product_removed", "cart_updated", EMPTIED)


def names_cart(fact: Fact) -> bool:
    """Has the person that cart from then on? What changes it names one, be it the shared one; an order or a clear does
    if it tells an id."""
    return fact.type in CHANGES or (fact.type in (*ORDERS, CLEAR) and cart_of(fact) is not None)


def touches(fact: Fact, key: Key, *, any_cart: bool) -> bool:
    """Does a condition on this cart, or on any, count it? A look changes nothing."""
    if fact.type == "cart_viewed":
        return False
    return fact.type in (*CHANGES, *ORDERS, CLEAR) if any_cart else concerns(fact, key)


def contents_of(key: Key, facts: Iterable[Fact]) -> Contents:
    """What these leave in a cart, by event time."""
    contents = Contents()
    for fact in sorted((fact for fact in facts if concerns(fact, key)), key=lambda fact: fact.event_time):
        apply(fact, key, contents)
    return contents


def cart_meets(contents: Contents, asked: dict[str, Any]) -> bool:
    """Does all hold that is asked of one cart?"""
    told: dict[str, Fraction | int | None] = {
        "lines": len(contents.lines),
        "quantity": sum((line.quantity for line in contents.lines), Fraction(0)),
        "total": total(contents, currency_of(asked.get("currency"))),
    }
    bounds = {name: told[name] for name in told if name in asked}
    return all(value is not None and compares(value, asked[name]) for name, value in bounds.items())


def total(contents: Contents, currency: str | None) -> Fraction | None:
    """Missing where a line has no price, where there are several currencies and none is asked for, or of nothing."""
    if any(line.newest("price") is None for line in contents.lines):
        return None
    lines = [line for line in contents.lines if currency is None or line.newest("currency") == currency]
    currencies = {line.newest("currency") for line in lines}
    if len(currencies) != 1:
        return None
    return rounded(sum((line.quantity * line.newest("price") for line in lines), Fraction(0)), currencies.pop())


def any_cart_meets(asked: dict[str, Any], facts: list[Fact]) -> bool:
    """Is there one and the same cart of the person?"""
    return any(
        cart_meets(contents_of(key, facts), asked)
        for key in dict.fromkeys(cart_of(fact) for fact in facts if names_cart(fact))
    )


def the_cart_meets(asked: dict[str, Any], key: Key, facts: list[Fact], *, waits: bool) -> bool:
    """This one; that of a wait is there, whatever is known of it."""
    there = waits or any(names_cart(fact) and cart_of(fact) == key for fact in facts)
    return there and cart_meets(contents_of(key, facts), asked)


def film_meets(asked: dict[str, Any], film: str, facts: Iterable[Fact]) -> bool:
    """Does all hold that is asked of one film?"""
    of_film = [fact for fact in facts if film_of(fact) == film]
    seconds = measure(fact.interval for fact in of_film if fact.interval is not None)
    told = [fact for fact in of_film if fact.get("total_length")]
    length = max(told, key=lambda fact: fact.knowledge).get("total_length") if told else None
    share = None if length is None else seconds / Fraction(str(length))
    found = {"seconds": seconds, "share": share}
    bounds = {name: found[name] for name in found if name in asked}
    return all(value is not None and compares(value, asked[name]) for name, value in bounds.items())


def measure(intervals: Iterable[tuple[float, float]]) -> Fraction:
    """Of the union."""
    seconds, reached = Fraction(0), Fraction(-(10**9))
    for start, end in sorted((Fraction(str(one)), Fraction(str(other))) for one, other in intervals):
        seconds += max(Fraction(0), end - max(start, reached))
        reached = max(reached, end)
    return seconds


def films(facts: Iterable[Fact]) -> list[str]:
    """Those that were played."""
    found = (film_of(fact) for fact in facts if is_playback(fact))
    return list(dict.fromkeys(film for film in found if film is not None))
