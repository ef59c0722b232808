"""What is said of carts that are left empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.events.catalogue import doing

NO_LINES = {"cart": {"lines": {"is": 0}}}
_BEGIN = frozenset(name for name, how in doing("cart").items() if how != "take")


def ends(rule: Mapping[str, Any]) -> bool:
    """Whether, as a rule is written, its waits end with the very event that takes the last line out of their cart.

    Of a wait that lasts, and begins when something is put into its cart, `until: {when: {cart: {lines: {is: 0}}}}` says
    the same as `until: {cart: empty}`.
    """
    until = rule.get("until") or {}
    if until.get("cart"):
        return True
    begins = frozenset(rule.get("start", {}).get("event", ()))
    of_carts = rule.get("per") == "cart_id" and bool(begins) and begins <= _BEGIN and not rule.get("once")
    lasts = "after" in rule or "stages" in rule
    return of_carts and lasts and until.get("when") == NO_LINES
