"""Abandoned carts, for the oracle: semantics 4 to 8 and 12. Shares no code with `pipeline`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.oracle.lines import Contents
from tests.oracle.reading import EMPTIED, ORDERS
from tests.oracle.who import Fact

Key = str | None
"""A cart id; None is the one cart of a person for events without a cart id."""

STARTS = ("product_added", "cart_updated")
RESTARTS = ("product_removed", "cart_viewed")
CLEAR = "cart_cleared"


def cart_of(fact: Fact) -> Key:
    """12: the cart id; a missing one is the shared cart."""
    key: Key = fact.get("cart_id")
    return key


def ends(fact: Fact, key: Key) -> str | None:
    """12: the reason with which an order (any channel) or a clear ends this cart, whatever it holds; else None. One
    without a cart id ends every cart of the person."""
    if fact.type not in (*ORDERS, CLEAR) or cart_of(fact) not in (None, key):
        return None
    return "cleared" if fact.type == CLEAR else "bought"


def takes(fact: Fact, key: Key) -> bool:
    """12: an order for another cart, which takes its products out of this one."""
    return fact.type in ORDERS and bool(fact.items) and ends(fact, key) is None


def ends_or_takes(fact: Fact, key: Key) -> bool:
    """12: does an order or a clear do anything to this cart?"""
    return ends(fact, key) is not None or takes(fact, key)


def concerns(fact: Fact, key: Key) -> bool:
    """12: does it touch this cart?"""
    if fact.type in (*STARTS, *RESTARTS, EMPTIED):
        return cart_of(fact) == key
    return ends_or_takes(fact, key)


def apply(fact: Fact, key: Key, contents: Contents, *, only_fresh: bool = False) -> str | None:
    """12, 13: what one event does to the lines. Returns the reason if that ends a cart, else None.

    `only_fresh`: an order or clear that the closed contents have already seen takes away only what came on top.
    """
    at, gone = fact.occurred_at, False
    if ends_or_takes(fact, key):
        reason = ends(fact, key)
        taken = contents.take(fact.items if takes(fact, key) else None, at, only_fresh=only_fresh)
        return reason or ("bought" if taken and not contents.lines else None)
    if fact.type == "product_added":
        for item in fact.items:
            assert item.quantity is not None
            if item.quantity > 0:
                contents.put_in(item, at)
            else:
                gone = contents.remove(item.negative()) or gone
    elif fact.type == "product_removed":
        for item in fact.items:
            gone = contents.remove(item) or gone
    elif fact.type in ("cart_updated", EMPTIED):
        contents.replace_with(fact.items, at)
        gone = fact.type == EMPTIED
    return "emptied" if gone and not contents.lines else None


@dataclass
class CartWait:
    """The first wait of a cart that no decision covers yet.

    `cause`: last start or restart (8). `last_start`: last start. `due`: D. `ended_by`: the cancelling event.
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
    """7, 12: a cart's first undecided wait, from all facts of the person, by event time; None: none.

    `settled(fact)`: a decision covers it, or it was late (6); of those only orders and clears still count, against
    what others of the same person left open. `closed`: contents at the closed end, late effects included.
    """
    contents = closed.as_stock()
    wait: CartWait | None = None
    for fact in sorted((f for f in facts if concerns(f, key)), key=lambda f: f.event_time):
        done = settled(fact)
        if done and not ends_or_takes(fact, key):
            continue
        if wait is not None and wait.shown is None and fact.occurred_at > wait.due:
            wait.shown = wait.left = contents.copy()
        before = contents if wait is None or fact.type in (*STARTS, "cart_viewed") else contents.copy()
        reason = apply(fact, key, contents, only_fresh=done)
        if wait is None:
            if fact.type in STARTS and not reason:  # what leaves the cart empty opens nothing
                wait = CartWait(cause=fact, last_start=fact, due=fact.occurred_at + after)
        elif fact.occurred_at > wait.due:  # 4: it doesn't touch the wait (exactly at D does)
            if reason or fact.type in STARTS:
                wait.overtaking.append(fact)
        elif reason:
            wait.ended_by, wait.reason, wait.shown, wait.left = fact, reason, before, contents.copy()
            return wait
        elif fact.type in (*STARTS, *RESTARTS):  # a start or a restart moves an open wait
            wait.cause, wait.due = fact, fact.occurred_at + after
            if fact.type in STARTS:
                wait.last_start = fact
    if wait and wait.shown is None:
        wait.shown = wait.left = contents
    return wait
