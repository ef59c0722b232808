"""What a body says, in one form, whatever format and whoever it came from (semantics 12 to 18).

The first hop calls it, of what rules and profiles read. The compiled reader knows which forms are in order already
(`care`), and leaves the others to this.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from pipeline.events.catalogue import catalogue, doing
from pipeline.events.text import stands_for_nothing, trimmed

CONTEXT_NAMES = frozenset({"context.locale", "context.timezone"})
_ITEM = "products."
_ITEM_NAMES = ("product_id", "sku", "name", "variant")
_ITEM_VALUES = ("price", "currency", "quantity")
_ITEM_ADDRESSES = ("url", "image_url")
# soft, SoftBounce, soft_bounced, Soft Bounces, Transient/General, transient: mailbox full; Mailgun's temporary
_SOFT = re.compile(r"\W*(?:soft|transient|temporary)(?:[\W_]*(?:bounce|fail)|[\W_]|$)")

# How the compiled reader looks at a field: what it finds to be in another form is for `tidy`.
AS_IT_IS, TRIMMED, KEY, LOWER, UPPER, POSITIVE, NEVER = range(7)
_FORMS = {"trimmed": TRIMMED, "key": KEY, "lower": LOWER, "upper": UPPER, "positive": POSITIVE, "soft": NEVER}
_CARE = {(name, field): _FORMS[form] for name, each in catalogue().items() for field, form in each.forms.items()}
_SEVERAL = {name: each.keeps for name, each in catalogue().items()}
_QUANTITIES = {name: how for name, how in doing("cart").items() if how in ("put", "take")}
_TAKEN = next((name for name, how in _QUANTITIES.items() if how == "take"), "")  # "": catalogue.problems() tells why


def care(kind: str, field: str) -> int:
    """Which of these a field is, of the body, or of the context under its longer name."""
    return TRIMMED if field in CONTEXT_NAMES else _CARE.get((kind, field), AS_IT_IS)


def item_fields(kind: str, fields: Collection[str]) -> tuple[str, ...]:
    """What is kept of each of an event's `products`, where these of its `fields` are read: of those of an order what
    they are called, of a cart's more, and its addresses where the event's are; and what is named, as `products.price`.
    """
    kept = _ITEM_NAMES
    if _SEVERAL[kind] != "names":
        kept = (*_ITEM_NAMES, *_ITEM_VALUES, *(_ITEM_ADDRESSES if "image_url" in fields else ()))
    return (*kept, *(name for field in fields if (name := field.removeprefix(_ITEM)) != field and name not in kept))


def item_care(field: str) -> int:
    """As `care`, of a field of one of several products."""
    return AS_IT_IS if field in ("price", "quantity") else UPPER if field == "currency" else TRIMMED


def tidy(kind: str, data: dict[str, Any], kept: Collection[str]) -> tuple[str, dict[str, Any]]:
    """(event type, its fields): the type is another where a quantity below zero makes an add a removal. `kept`: of each
    of several products, see `item_fields`.
    """
    out: dict[str, Any] = {}
    for field, value in data.items():
        how = care(kind, field)
        if field == "products":
            value = _items(kept, value)
        elif how != AS_IT_IS:
            value = _tidied(kind, field, how, value)
        if value is not None:
            out[field] = value
    if kind in _QUANTITIES and "quantity" in out and not out.get("products"):
        quantity = out["quantity"]
        if quantity < 0:
            kind, out["quantity"] = _TAKEN, -quantity
        elif quantity == 0 and kind == _TAKEN:
            del out["quantity"]  # the whole line
    return kind, out


def operands(kind: str, where: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a rule compares a field with, in the same form as the field."""
    return {field: _operands(kind, field, tests) for field, tests in where.items()}


def _operands(kind: str, field: str, tests: Mapping[str, Any]) -> dict[str, Any]:
    name = field.removeprefix(_ITEM)
    how = care(kind, field) if name == field else item_care(name)
    if how in (AS_IT_IS, TRIMMED, KEY, POSITIVE):
        return dict(tests)
    found = {op: operand if op == "matches" else _operand(kind, field, how, operand) for op, operand in tests.items()}
    return found | {"ignoring_case": True} if "matches" in found else found


def _operand(kind: str, field: str, how: int, operand: Any) -> Any:
    if isinstance(operand, list):
        return [_operand(kind, field, how, each) for each in operand]
    return _tidied(kind, field, how, operand) if isinstance(operand, str) else operand


def _tidied(kind: str, field: str, how: int, value: Any) -> Any:
    """The value in its one form; None: it says nothing."""
    if how == POSITIVE:
        return None if field == "total_length" and not value > 0 else value
    if isinstance(value, list):
        return [text for each in value if isinstance(each, str) and (text := trimmed(each).lower())]
    if not isinstance(value, str):
        return value
    text = trimmed(value)
    if how == KEY:
        if field == "message_id":
            text = trimmed(text.removeprefix("<").removesuffix(">"))
        return None if stands_for_nothing(text) else text
    if how == LOWER:
        text = text.lower()
    elif how == UPPER:
        text = text.upper()
    elif how == NEVER:
        text = text.lower()
        if _SOFT.match(text):
            return "soft"
    return text or None


def _items(fields: Collection[str], told: Any) -> list[dict[str, Any]] | None:
    """Several products, without those that say nothing; None: it is no list."""
    if not isinstance(told, list):
        return None
    return [item for each in told if isinstance(each, dict) and (item := _item(fields, each))]


def _item(fields: Collection[str], told: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for field, value in told.items():
        if field not in fields:
            continue
        if isinstance(value, str):
            value = trimmed(value)
            value = value.upper() if field == "currency" else value
        if value is not None and value != "":
            out[field] = value
    return out
