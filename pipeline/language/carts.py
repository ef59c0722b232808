"""What is in a cart: lines, and what events do to them (semantics 12, 13)."""

from __future__ import annotations

from math import isinf
from typing import Any

import msgspec

from pipeline.events.addresses import origin
from pipeline.events.catalogue import doing
from pipeline.language import money

# No person has as much; a robot that fills a cart for ever must not grow a profile past what Kafka takes.
LINES_KEPT = 500
PUT, TAKE, SET, MIXED = 1, 0, 2, 3
Names = list[str | None]
"""[product id, sku, name, variant], without the None at its end."""
MORE: Names = [None, None, None, None, "more"]
"""Stands for lines that are not kept: it is no product, and nobody knows what was in it."""


class Item(msgspec.Struct, array_like=True, gc=False):
    """A product as one event tells it. `quantity` None: it isn't told."""

    names: Names = []
    price: float | None = None
    currency: str | None = None
    quantity: float | None = None
    url: str | None = None
    image_url: str | None = None


class Line(msgspec.Struct, array_like=True, gc=False):
    """One product in a cart. `added`: when it was last added (UTC ms). An infinite `quantity` is past all counting."""

    names: Names
    quantity: float
    price: float | None
    currency: str | None
    added: int
    url: str | None = None
    image_url: str | None = None


class Change(msgspec.Struct, array_like=True, gc=False):
    """What an event does to a cart: PUT in, TAKE out, SET: this is all that it holds, or MIXED: put in, but take out
    what is less than nothing.
    """

    how: int
    items: list[Item]


def names_of(told: dict[str, Any]) -> Names:
    """Of a product's fields those by which it is known."""
    names: Names = [told.get("product_id"), told.get("sku"), told.get("name"), told.get("variant")]
    while names and not names[-1]:
        names.pop()
    return names


def read(kind: str, data: dict[str, Any], origins: frozenset[str]) -> Change:
    """What a cart event does to the lines. A list of products on it speaks alone. Nothing to put in: no items.

    `origins`: of the addresses of products and pictures that are kept.
    """
    how = _HOW[kind]
    currency = data.get("currency")
    if several := data.get("products"):
        items = [_item(each, currency, origins) for each in several]
    else:
        items = [] if how == SET else [_item(data, currency, origins)]
    if how == TAKE or (len(items) == 1 and (items[0].quantity is None or items[0].quantity > 0)):  # nearly all
        return Change(how, items)
    items = [item for item in items if item.quantity is None or item.quantity > 0 or (how == PUT and item.quantity)]
    less = [item for item in items if item.quantity is not None and item.quantity < 0]
    if less:
        how = TAKE if len(less) == len(items) else MIXED
    return Change(how, items)


_HOW = {name: {"put": PUT, "take": TAKE, "set": SET}[how] for name, how in doing("cart").items()}
REMOVAL = next((name for name, how in _HOW.items() if how == TAKE), "")
"""What an event is to rules that only takes something out."""


def _item(told: dict[str, Any], currency: str | None, origins: frozenset[str]) -> Item:
    item = Item(names_of(told), told.get("price"), told.get("currency") or currency, told.get("quantity"))
    if origins:
        item.url, item.image_url = _allowed(told.get("url"), origins), _allowed(told.get("image_url"), origins)
    return item


def _allowed(url: str | None, origins: frozenset[str]) -> str | None:
    return url if url and origin(url) in origins else None


def _name(names: Names, which: int) -> str | None:
    return names[which] if which < len(names) else None


def product(names: Names) -> str:
    """What a line is called: its product id, else sku, else name; the nameless one: nothing."""
    if names and names[0]:
        return names[0]
    return _name(names, 1) or _name(names, 2) or ""


def variant(names: Names) -> str:
    """Its variant, if it has one."""
    return _name(names, 3) or ""


def matches(mine: Names, told: Names) -> int:
    """How surely two are the same product: 3 by id, 2 by sku, 1 by name, which is the strongest that both tell; 0: they
    are not. Variants must not differ. What has no name is the same as what has none either (1).
    """
    if len(mine) > 4 or len(told) > 4:
        return 0
    for which in range(3):
        a, b = _name(mine, which), _name(told, which)
        if a and b:
            ours, theirs = _name(mine, 3), _name(told, 3)
            return 3 - which if a == b and (not ours or not theirs or ours == theirs) else 0
    return 0 if product(mine) or product(told) else 1


def _matching(lines: list[Line], names: Names) -> int:
    """The line of that product: by the strongest name, then of the same variant, then added last; -1: there is none."""
    best, found = None, -1
    product_id = names[0] if names else None
    for i, line in enumerate(lines):
        mine = line.names
        if product_id and mine and mine[0] and mine[0] != product_id:
            continue  # nearly always
        if how := matches(mine, names):
            order = (-how, variant(line.names) != variant(names), -line.added, product(line.names), variant(line.names))
            if best is None or order < best:
                best, found = order, i
    return found


def _known_by(mine: Names, told: Names) -> Names:
    """The names of both: a line learns those that it lacks, and is called as it was told last."""
    if mine == told:
        return mine
    out: Names = [_name(mine, which) or _name(told, which) for which in range(4)]
    out[2] = _name(told, 2) or _name(mine, 2)
    while out and not out[-1]:
        out.pop()
    return out


def _put(lines: list[Line], item: Item, quantity: float, at: int) -> None:
    found = _matching(lines, item.names) if lines else -1
    if found < 0:
        if len(lines) < LINES_KEPT:
            lines.append(Line(item.names, quantity, item.price, item.currency, at, item.url, item.image_url))
        else:
            leave_out(lines, at)
        return
    line = lines[found]
    lines[found] = Line(
        _known_by(line.names, item.names),
        money.plus(line.quantity, quantity),
        line.price if item.price is None else item.price,
        line.currency if item.currency is None else item.currency,
        max(at, line.added),
        item.url or line.url,
        item.image_url or line.image_url,
    )


def _take(lines: list[Line], item: Item, quantity: float | None) -> bool:
    """True if something was really taken. `quantity` None: the whole line."""
    found = _matching(lines, item.names)
    if found < 0:
        return False
    line = lines[found]
    if quantity is None or quantity >= line.quantity:
        del lines[found]
    else:
        lines[found] = msgspec.structs.replace(line, quantity=money.minus(line.quantity, quantity))
    return True


def apply(lines: list[Line], change: Change, at: int) -> bool:
    """Change the lines, in place; True if something was really taken out, or all of it (semantics 13)."""
    took = False
    if change.how == SET:
        later = [line for line in lines if line.added > at]
        told: list[Line] = []
        for item in change.items:
            number = 1.0 if item.quantity is None else item.quantity
            if number > 0 and _matching(later, item.names) < 0:
                _put(told, item, number, at)
        took = not told and not later
        lines[:] = [*later, *told]
        if len(lines) > LINES_KEPT:
            whole = [line for line in lines if line.names != MORE]
            lines[:] = whole[:LINES_KEPT]
            leave_out(lines, at)
        return took
    for item in change.items:
        quantity = item.quantity
        if change.how == TAKE:
            took |= _take(lines, item, abs(quantity) if quantity else None)
        elif quantity is None or quantity > 0:
            _put(lines, item, 1.0 if quantity is None else quantity, at)
        elif quantity < 0:
            took |= _take(lines, item, -quantity)
    return took


def leave_out(lines: list[Line], at: int) -> None:
    """There is more in it than is kept, in place."""
    had = [line for line in lines if line.names == MORE]
    lines[:] = [line for line in lines if line.names != MORE]
    lines.append(Line(MORE, 0.0, None, None, max([at, *(line.added for line in had)])))


def complete(lines: list[Line]) -> bool:
    """Whether these are all that is in a cart."""
    return MORE not in [line.names for line in lines]


def without(lines: list[Line], at: int) -> list[Line]:
    """An order or clear takes what was added up to it."""
    return [line for line in lines if line.added > at]


def bought(lines: list[Line], ordered: list[Names], at: int) -> list[Line]:
    """What an order leaves of another cart: it takes the lines, whole, that hold what was ordered (semantics 12)."""
    return [line for line in lines if line.added > at or not holds(ordered, line.names)]


def less_new(lines: list[Line], there: list[Line], ordered: list[Names] | None) -> list[Line]:
    """What is left where all, or what was `ordered`, is taken of what came on top of what was `there`."""
    left: list[Line] = []
    for line in lines:
        if ordered is None or holds(ordered, line.names):
            found = _matching(there, line.names)
            if found < 0:
                continue
            line = msgspec.structs.replace(line, quantity=min(line.quantity, there[found].quantity))
        left.append(line)
    return left


def holds(ordered: list[Names], names: Names) -> bool:
    """Whether an order holds that product. What has no name is in none."""
    return bool(product(names)) and any(matches(names, each) for each in ordered)


def merged(a: list[Line], b: list[Line]) -> list[Line]:
    """The lines of two persons who are one: of what is the same product in both the sum, at the price told last. What
    are two lines of one cart stay two: those are joined first that match by the strongest name.
    """
    left, other = sorted((sorted(a, key=_place), sorted(b, key=_place)), key=lambda side: [*map(_place, side)])
    lines: list[Line] = []
    for how in (3, 2, 1):
        for line in list(other):
            alike = [mine for mine in left if matches(mine.names, line.names) == how]
            if alike:
                mine = alike[_matching(alike, line.names)]
                left.remove(mine)
                other.remove(line)
                lines.append(_sum(mine, line))
    lines += [*left, *other]
    for line in [line for line in lines if line.names == MORE]:
        leave_out(lines, line.added)
    return sorted(lines, key=_place)


def _place(line: Line) -> tuple[str, ...]:
    """Where it stands among others."""
    return (product(line.names), variant(line.names), *(name or "" for name in line.names), f"{line.added:020d}")


def _sum(a: Line, b: Line) -> Line:
    priced = max((a, b), key=lambda v: (v.price is not None, v.added, v.price or 0))
    valued = max((a, b), key=lambda v: (v.currency is not None, v.added, v.currency or ""))
    names: Names = [max(_name(a.names, which) or "", _name(b.names, which) or "") or None for which in range(4)]
    while names and not names[-1]:
        names.pop()
    return Line(
        names,
        money.plus(a.quantity, b.quantity),
        priced.price,
        valued.currency,
        max(a.added, b.added),
        max(a.url or "", b.url or "") or None,
        max(a.image_url or "", b.image_url or "") or None,
    )


def payload(key: str, lines: list[Line]) -> dict[str, Any]:
    """A cart as consumers read it. Totals are None where a price is unknown, currencies differ, or a number leaves the
    range of what can be written, or not all lines are kept. What a line is called, its variant and its addresses are
    there where they were told.
    """
    every = complete(lines)
    if not every:
        lines = [line for line in lines if line.names != MORE]
    if len(lines) > 1:
        lines = sorted(lines, key=lambda line: (product(line.names), line.names[3:], line.added))
    currency = lines[0].currency if lines else None
    alike = bool(lines)
    cents: int | None = 0  # of all lines, as long as they are whole
    out = []
    for line in lines:
        names, price, amount = line.names, line.price, None
        if line.currency != currency:
            alike = False
        whole = None if price is None else money.cents(price, line.quantity, line.currency)
        if whole is not None:
            amount = whole / 100
            cents = None if cents is None else cents + whole
        else:
            cents = None
            if price is not None:
                amount = money.total([(price, line.quantity)], line.currency)
        told: dict[str, Any] = {
            "product": product(names) or None,
            "quantity": plain(line.quantity),
            "price": price,
            "currency": line.currency,
            "total": amount,
        }
        if len(names) > 2:
            if names[2]:
                told["name"] = names[2]
            if variant_of := variant(names):
                told["variant"] = variant_of
        if line.url:
            told["url"] = line.url
        if line.image_url:
            told["image_url"] = line.image_url
        out.append(told)
    if not alike or not every:
        total = None
    elif cents is not None:
        total = cents / 100
    else:
        total = money.total([(line.price, line.quantity) for line in lines], currency)
    return {"cart_id": key or None, "lines": out, "currency": currency if alike else None, "total": total}


def plain(number: float) -> float | None:
    """A quantity as it is written: None where it is past all counting."""
    if isinf(number):
        return None
    return int(number) if abs(number) < 2**53 and number == int(number) else number


def total(lines: list[Line], currency: str | None = None) -> float | None:
    """What is in a cart costs so much, in the digits of its currency; with a `currency` only what is told in that. None
    where a line has no price, there are several currencies and none is named, nothing is in that currency, a number
    leaves the range of what can be written, or not all lines are kept.
    """
    if not complete(lines) or any(line.price is None for line in lines):
        return None
    if currency is not None:
        lines = [line for line in lines if line.currency == currency]
    if len({line.currency for line in lines}) != 1:
        return None
    return money.total([(line.price, line.quantity) for line in lines], lines[0].currency)


def currency(lines: list[Line]) -> str | None:
    """In which money a cart is, where all its lines are in one."""
    found = {line.currency for line in lines if line.names != MORE}
    return found.pop() if len(found) == 1 else None


def quantity(lines: list[Line]) -> float:
    """How many pieces are in a cart, exactly."""
    number = 0.0
    for line in lines:
        number = money.plus(number, line.quantity)
    return number
