"""Abandoned carts, for the oracle: semantics 4 to 8, 12 and 13. Shares no code with `pipeline`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.who import Fact

Key = str | None
"""A cart id; None is the one cart of a person for events without a cart id."""

START = "product_added"
RESTART = ("product_removed", "cart_viewed")
ORDERS = ("order_completed", "offline_purchased")
CLEAR = "cart_cleared"
NOTHING = 1e-9


def cart_of(fact: Fact) -> Key:
    """Semantics 12: the cart id; a missing or empty one is the shared cart."""
    value = fact.get("cart_id")
    return None if value in (None, "") else str(value)


def concerns(fact: Fact, key: Key) -> bool:
    """Semantics 12: does it touch this cart? An order or clear without a cart id touches every cart of the person."""
    if fact.type in ORDERS or fact.type == CLEAR:
        return cart_of(fact) is None or cart_of(fact) == key
    return (fact.type == START or fact.type in RESTART) and cart_of(fact) == key


def ends_by_itself(fact: Fact) -> str | None:
    """Semantics 12: the reason with which an order (any channel) or a clear ends a cart; None for all else."""
    if fact.type in ORDERS:
        return "bought"
    return "cleared" if fact.type == CLEAR else None


@dataclass
class Line:
    """One product in a cart. `added`: when last (ms). `stock`: how much of it was there already at the closed end."""

    quantity: float = 0.0
    added: int = 0
    price: float | None = None
    currency: str | None = None
    priced_by: tuple[Any, ...] = ()
    stock: float = 0.0


@dataclass
class Contents:
    """Semantics 13: what is in a cart, by product id, else sku, else name, else None (one nameless line)."""

    lines: dict[str | None, Line] = field(default_factory=dict)

    def copy(self) -> Contents:
        """An independent copy."""
        return Contents({product: Line(**vars(line)) for product, line in self.lines.items()})

    def as_stock(self) -> Contents:
        """A copy in which everything counts as having been there at the closed end."""
        copy = self.copy()
        for line in copy.lines.values():
            line.stock = line.quantity
        return copy

    def plus(self, other: Contents) -> Contents:
        """Semantics 21: the closed contents of two people add up; the price is the one told last, of two in one
        millisecond the higher."""
        total = self.copy()
        for product, theirs in other.lines.items():
            mine = total.lines.setdefault(product, Line())
            mine.quantity += theirs.quantity
            mine.added = max(mine.added, theirs.added)
            if (theirs.priced_by[:1], theirs.price or 0) > (mine.priced_by[:1], mine.price or 0):
                mine.price, mine.currency, mine.priced_by = theirs.price, theirs.currency, theirs.priced_by
        return total

    def take_out(self, until: int) -> None:
        """6, 12: an order or clear that these closed contents learn of only now: it took the lines added up to it."""
        self.lines = {product: line for product, line in self.lines.items() if line.added > until}

    def learn_late(self, fact: Fact) -> None:
        """6: what a late event did to the lines counts from now on."""
        if ends_by_itself(fact):
            self.take_out(fact.occurred_at)
        else:
            self.apply(fact)

    def apply(self, fact: Fact, *, only_fresh: bool = False) -> str | None:
        """Semantics 12 and 13: what one event does to the lines. Returns the reason if that ends a cart, else None.

        `only_fresh`: an order or clear that the closed contents have already seen takes away only what came on top.
        """
        reason = ends_by_itself(fact)
        if reason and only_fresh:
            for product, line in list(self.lines.items()):
                line.quantity = line.stock
                self._drop_if_empty(product)
        elif reason:
            self.take_out(fact.occurred_at)
        elif fact.type == START:
            self._add(fact)
        elif fact.type == "product_removed" and self._remove(fact) and not self.lines:
            reason = "emptied"
        return reason

    def _add(self, fact: Fact) -> None:
        quantity = fact.get("quantity")
        quantity = 1.0 if quantity is None else float(quantity)
        if quantity <= 0:
            return
        line = self.lines.setdefault(product_of(fact), Line())
        line.quantity += quantity
        line.added = max(line.added, fact.occurred_at)
        if fact.get("price") is not None:
            line.price, line.currency, line.priced_by = fact.get("price"), fact.get("currency"), fact.event_time

    def _remove(self, fact: Fact) -> bool:
        product, quantity = product_of(fact), fact.get("quantity")
        if product not in self.lines or (quantity is not None and quantity <= 0):
            return False
        line = self.lines[product]
        line.quantity = 0.0 if quantity is None else line.quantity - float(quantity)
        line.stock = min(line.stock, line.quantity)
        self._drop_if_empty(product)
        return True

    def _drop_if_empty(self, product: str | None) -> None:
        if self.lines[product].quantity <= NOTHING:
            del self.lines[product]

    def payload(self, key: Key) -> dict[str, Any]:
        """The cart as a decision tells it; money rounded to 1e-6."""
        rows: list[dict[str, Any]] = []
        for product in sorted(self.lines, key=lambda name: (name is not None, name or "")):
            line = self.lines[product]
            total = None if line.price is None else round(line.quantity * line.price, 6)
            rows.append(
                {
                    "product": product,
                    "quantity": line.quantity,
                    "price": line.price,
                    "currency": line.currency,
                    "total": total,
                }
            )
        currencies = {row["currency"] for row in rows if row["currency"] is not None}
        totals = [row["total"] for row in rows if row["total"] is not None]
        one = len(currencies) <= 1
        return {
            "cart_id": key,
            "lines": rows,
            "currency": next(iter(currencies)) if len(currencies) == 1 else None,
            "total": round(sum(totals), 6) if totals and one else None,
        }


def product_of(fact: Fact) -> str | None:
    """Semantics 13: product id, else sku, else name."""
    for name in ("product_id", "sku", "name"):
        if fact.get(name) not in (None, ""):
            return str(fact.get(name))
    return None


@dataclass
class CartWait:
    """The first wait of a cart that no decision covers yet.

    `cause`: last start or restart (semantics 8). `last_start`: last start. `due`: D. `ended_by`: the cancelling event.
    `shown`: contents for the payload. `left`: contents after the end. `overtaking`: starts and cancels after D.
    """

    cause: Fact
    last_start: Fact
    due: int
    ended_by: Fact | None = None
    reason: str = "due"
    shown: Contents | None = None
    left: Contents | None = None
    overtaking: list[Fact] = field(default_factory=list)


def first_wait(
    key: Key, facts: Iterable[Fact], settled: Callable[[Fact], bool], closed: Contents, after: int
) -> CartWait | None:
    """Semantics 7 and 12: a cart's first undecided wait, from all facts of the person, by event time; None: none.

    `settled(fact)`: a decision covers it, or it was late (semantics 6); of those only orders and clears still count,
    against what others of the same person left open. `closed`: contents at the closed end, late effects included.
    """
    contents = closed.as_stock()
    wait: CartWait | None = None
    for fact in sorted((f for f in facts if concerns(f, key)), key=lambda f: f.event_time):
        done = settled(fact)
        if done and not ends_by_itself(fact):
            continue
        before = contents.copy()
        reason = contents.apply(fact, only_fresh=done)
        if wait is None:
            if fact.type == START:
                wait = CartWait(cause=fact, last_start=fact, due=fact.occurred_at + after)
        elif fact.occurred_at > wait.due:  # semantics 4: it doesn't touch the wait (exactly at D does)
            wait.shown = wait.left = wait.shown or before
            if reason or fact.type == START:
                wait.overtaking.append(fact)
        elif reason:
            wait.ended_by, wait.reason, wait.shown, wait.left = fact, reason, before, contents.copy()
            return wait
        else:  # a start or a restart moves an open wait
            wait.cause, wait.due = fact, fact.occurred_at + after
            if fact.type == START:
                wait.last_start = fact
    if wait and wait.shown is None:
        wait.shown = wait.left = contents
    return wait
