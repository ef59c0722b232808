"""What is in a cart: semantics 13, for the oracle. Shares no code with `pipeline`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from tests.oracle.money import currency_of, exact, rounded, written
from tests.oracle.spelling import several, text

ZERO = Fraction(0)
STRENGTH = ("product_id", "sku", "name")
"""13: the names of a product, the strongest first."""


@dataclass(frozen=True)
class Item:
    """A product as an event tells it. `quantity`: None where it tells none."""

    product_id: str | None = None
    sku: str | None = None
    name: str | None = None
    variant: str | None = None
    quantity: Fraction | None = None
    price: Fraction | None = None
    currency: str | None = None

    @property
    def nameless(self) -> bool:
        """Has it none of the three names?"""
        return self.product_id is None and self.sku is None and self.name is None

    def negative(self) -> Item:
        """The same with the other sign."""
        return replace(self, quantity=None if self.quantity is None else -self.quantity)

    @property
    def told(self) -> dict[str, Any]:
        """Of what the newest counts (price, currency, name to show), what it tells."""
        values = {"price": self.price, "currency": self.currency, "name": self.name}
        return {name: value for name, value in values.items() if value is not None}


def read_item(told: Any, currency: Any = None) -> Item | None:
    """13, 22: an item of a list, or the product fields of an event; a bare text is a product id. `currency`: the
    event's, for an item that tells none."""
    if isinstance(told, str | int | float):
        told = {"product_id": told}
        if text(told["product_id"]) is None:
            return None
    if not isinstance(told, dict):
        return None
    names = {name: text(told.get(name)) for name in (*STRENGTH, "variant")}
    return Item(
        **names,
        quantity=exact(told.get("quantity")),
        price=exact(told.get("price")),
        currency=currency_of(told.get("currency")) or currency_of(currency),
    )


def read_list(body: dict[str, Any]) -> list[Item]:
    """13: the readable items of `products`; one that says nothing is none."""
    listed = [told for told in several(body.get("products")) if told not in (None, {})]
    read = [read_item(told, body.get("currency")) for told in listed]
    return [item for item in read if item is not None]


@dataclass
class Line:
    """One product in a cart. `added`: when last (ms). `stock`: how much of it was there already at the closed end.

    `told`: field -> (ms, value), for the fields of which the newest counts.
    """

    product_id: str | None = None
    sku: str | None = None
    name: str | None = None
    variant: str | None = None
    quantity: Fraction = ZERO
    added: int = 0
    stock: Fraction = ZERO
    told: dict[str, tuple[int, Any]] = field(default_factory=dict)

    @property
    def nameless(self) -> bool:
        """Is it the one line without names?"""
        return self.product_id is None and self.sku is None and self.name is None

    @property
    def product(self) -> str | None:
        """What it is called: its id, else sku, else name."""
        return self.product_id or self.sku or self.name

    @property
    def order(self) -> tuple[str, ...]:
        """Lines are told in this order: by product, then variant; what is none first."""
        return tuple(part or "" for part in (self.product, self.variant, self.product_id, self.sku, self.name))

    def newest(self, name: str) -> Any:
        """The value of such a field, None where nobody told one."""
        return self.told[name][1] if name in self.told else None

    def fill_in(self, other: Item | Line) -> None:
        """13: names and a variant that it lacks."""
        for name in (*STRENGTH, "variant"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(other, name))


def strength(line: Line, item: Item | Line) -> int | None:
    """13: how well they match: the place of the strongest name that both tell, if it is the same; None: not at all.
    The variant has to be the same where both tell one. What has no names matches what has none."""
    if line.nameless or item.nameless:
        return len(STRENGTH) if line.nameless and item.nameless else None
    if line.variant is not None and item.variant is not None and line.variant != item.variant:
        return None
    for place, name in enumerate(STRENGTH):
        mine, theirs = getattr(line, name), getattr(item, name)
        if mine is not None and theirs is not None:
            return place if mine == theirs else None
    return None


def any_match(line: Line, items: Iterable[Item]) -> bool:
    """Is the line one of these products? What has no name is none that an order could hold."""
    return any(not item.nameless and strength(line, item) is not None for item in items)


@dataclass
class Contents:
    """13: the lines of a cart."""

    lines: list[Line] = field(default_factory=list)

    def copy(self) -> Contents:
        """An independent copy."""
        return Contents([replace(line, told=dict(line.told)) for line in self.lines])

    def as_stock(self) -> Contents:
        """A copy in which everything counts as having been there at the closed end."""
        return Contents([replace(line, told=dict(line.told), stock=line.quantity) for line in self.lines])

    def find(self, item: Item | Line) -> Line | None:
        """13: the line that is meant: matched by the strongest name; of those one of the same variant; the one last
        added; the first by product and variant."""
        found = [(place, line) for line in self.lines if (place := strength(line, item)) is not None]
        best = min(
            found,
            key=lambda pair: (pair[0], pair[1].variant != item.variant, -pair[1].added, pair[1].order),
            default=None,
        )
        return best and best[1]

    def put_in(self, item: Item, at: int) -> None:
        """13: an item with a quantity is added. What it tells of the line counts from now on."""
        line = self.find(item)
        if line is None:
            self.lines.append(line := Line())
        line.fill_in(item)
        line.quantity += item.quantity or ZERO
        line.added = max(line.added, at)
        line.told.update((name, (at, value)) for name, value in item.told.items())

    def remove(self, item: Item) -> bool:
        """13: an item is removed, the whole line if it tells no quantity. Was there anything to remove?"""
        line = self.find(item)
        if line is None:
            return False
        line.quantity = ZERO if item.quantity is None else line.quantity - item.quantity
        line.stock = min(line.stock, line.quantity)
        self.drop_empty()
        return True

    def drop_empty(self) -> None:
        """A line of which nothing is left is no line."""
        self.lines = [line for line in self.lines if line.quantity > 0]

    def replace_with(self, items: Iterable[Item], at: int) -> None:
        """13: a cart holds just this (Cart Updated), but for what was added later."""
        later = [line for line in self.lines if line.added > at]
        new = Contents()
        for item in items:
            if not any(strength(line, item) is not None for line in later):
                new.put_in(item, at)
        self.lines = later + new.lines

    def take(self, items: Iterable[Item] | None, until: int, *, only_fresh: bool) -> bool:
        """12: whole lines taken out that any of `items` (None: everything) matches and that were last added up to
        `until`. Was there any? `only_fresh`: not what the closed end had already seen (21)."""
        told = None if items is None else list(items)
        taken = False
        for line in self.lines:
            if (line.added <= until or only_fresh) and (told is None or any_match(line, told)):
                left = line.stock if only_fresh else ZERO
                taken = taken or left < line.quantity
                line.quantity = left
        self.drop_empty()
        return taken

    def plus(self, other: Contents) -> Contents:
        """21: the closed contents of two people add up; of what the newest counts, the one told last, of two in one
        millisecond the higher. Two lines of one of them stay two: those add up first that match best, else those that
        stand first, whose come first is settled by what is in them."""
        sides = [sorted(side.lines, key=lambda line: (line.order, line.added)) for side in (self, other)]
        first, second = sorted(sides, key=lambda side: [(line.order, line.added) for line in side])
        left, more, total = Contents(first).copy(), Contents(second).copy(), Contents()
        for by in range(len(STRENGTH) + 1):
            for theirs in list(more.lines):
                mine = Contents([line for line in left.lines if strength(line, theirs) == by]).find(theirs)
                if mine is None:
                    continue
                left.lines = [line for line in left.lines if line is not mine]
                more.lines = [line for line in more.lines if line is not theirs]
                total.lines.append(mine)
                mine.fill_in(theirs)
                mine.quantity += theirs.quantity
                mine.added = max(mine.added, theirs.added)
                for name, told in theirs.told.items():
                    mine.told[name] = max(mine.told.get(name, told), told)
        total.lines += left.lines + more.lines
        return total

    def held_by(self, items: list[Item]) -> bool:
        """12: does an order of `items` hold every line? (Of a nameless line nobody knows.)"""
        named = not any(line.nameless for line in self.lines)
        return bool(self.lines) and named and all(any_match(line, items) for line in self.lines)

    def payload(self, key: str | None) -> dict[str, Any]:
        """13: the cart as a decision tells it. Its total is the exact sum, rounded once."""
        rows: list[dict[str, Any]] = []
        totals: list[Fraction | None] = []
        for line in sorted(self.lines, key=lambda line: line.order):
            price, currency = line.newest("price"), line.newest("currency")
            totals.append(None if price is None else line.quantity * price)
            row = {
                "product": line.product,
                "quantity": written(line.quantity),
                "price": written(price),
                "currency": currency,
                "total": sum_written([totals[-1]], currency),
                "name": line.newest("name"),
                "variant": line.variant,
            }
            rows.append({name: value for name, value in row.items() if name not in OPTIONAL or value is not None})
        currencies = {row["currency"] for row in rows}
        one = next(iter(currencies)) if len(currencies) == 1 else None
        return {
            "cart_id": key,
            "lines": rows,
            "currency": one,
            "total": sum_written(totals, one) if len(currencies) == 1 else None,
        }


OPTIONAL = ("name", "variant")


def sum_written(totals: list[Fraction | None], currency: str | None) -> float | None:
    """13: an exact sum, rounded once; null where any part is unknown."""
    if any(total is None for total in totals):
        return None
    return written(rounded(sum((total for total in totals if total is not None), ZERO), currency))
