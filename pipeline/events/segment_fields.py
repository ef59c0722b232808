"""Values of Segment's JSON in the kinds that our bodies have. Converters give None for what isn't of the kind."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from pipeline.errors import InvalidEvent

MAX_LONG = 2**63 - 1


def plain_text(value: object) -> str | None:
    """Text as it is, numbers and flags written out, objects and arrays as JSON; null and empty text: None."""
    if isinstance(value, str):
        return value or None
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError as error:  # Python refuses to write out thousands of digits
            raise InvalidEvent("invalid_number", f"a whole number with too many digits: {error}") from None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def number(value: object) -> float | None:
    """A number, or text that is one. Raises InvalidEvent(invalid_number) for NaN, infinity and beyond."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if "_" in value:  # Python would read 1_000
            return None
        try:
            value = float(value)
        except ValueError:
            return None
        return value if isfinite(value) else None
    if isinstance(value, (int, float)):
        try:
            result = float(value)
        except OverflowError:
            result = float("inf")
        if not isfinite(result):
            raise InvalidEvent("invalid_number", f"{repr(value)[:40]} is not a finite number")
        return result
    return None


def whole(value: object) -> int | None:
    """A whole number of 64 bits, or a number or text that can be rounded down to one."""
    result = value if isinstance(value, int) and not isinstance(value, bool) else number(value)
    return int(result) if result is not None and abs(result) <= MAX_LONG else None


def confidence(value: object) -> str | None:
    """human, machine or unknown, in any case."""
    said = value.strip().lower() if isinstance(value, str) else None
    return said if said in ("human", "machine", "unknown") else None


def first_text(value: object) -> str | None:
    """The first text of an array (or the only one)."""
    if isinstance(value, list):
        return next((found for item in value if (found := plain_text(item)) is not None), None)
    return plain_text(value)


def text_list(value: object) -> list[str] | None:
    """An array of texts; a text is taken apart at its commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise InvalidEvent("invalid_shape", "a list of ids must be an array, or text with commas")
    found = (plain_text(item.strip() if isinstance(item, str) else item) for item in items)
    return [item for item in found if item is not None]


def products(value: object) -> list[dict[str, Any]] | None:
    """The lines of an order."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(line, dict) for line in value):
        raise InvalidEvent("invalid_shape", "`products` must be an array of objects")
    return [_product(line) for line in value]


def _product(line: dict[str, Any]) -> dict[str, Any]:
    found = {
        "product_id": plain_text(line.get("product_id", line.get("productId", line.get("id")))),
        "sku": plain_text(line.get("sku")),
        "name": plain_text(line.get("name")),
        "price": number(line.get("price")),
        "quantity": number(line.get("quantity")),
    }
    return {name: value for name, value in found.items() if value is not None}


def texts(part: dict[str, Any]) -> dict[str, str]:
    """All of an object as text; nulls are left out, empty texts stay."""
    found = ((name, value if isinstance(value, str) else plain_text(value)) for name, value in part.items())
    return {str(name): value for name, value in found if value is not None}


def flags(part: dict[str, Any]) -> dict[str, bool]:
    """The true and false values of an object."""
    return {str(name): value for name, value in part.items() if isinstance(value, bool)}


def maybe_object(value: object) -> dict[str, Any] | None:
    """An object, or None for anything else."""
    return value if isinstance(value, dict) else None
