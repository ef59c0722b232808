"""Quantities and money: semantics 13, for the oracle. Shares no code with `pipeline`.

Everything is reckoned exactly, in fractions, and rounded once, when it is written.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import floor
from typing import Any

DIGITS_OF = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
DIGITS = {currency: digits for digits, currencies in DIGITS_OF.items() for currency in currencies.split()}
"""ISO 4217, where it isn't 2."""


def exact(value: Any) -> Fraction | None:
    """13: a number as exact as it was told, in decimal; None for what is none (22)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(value.strip() if isinstance(value, str) else repr(value))
    except InvalidOperation:
        return None
    return Fraction(number) if number.is_finite() else None


def written(value: Fraction | None) -> float | None:
    """13: what leaves the range of what can be written is null."""
    try:
        return None if value is None else float(value)
    except OverflowError:
        return None


def rounded(value: Fraction, currency: str | None) -> Fraction:
    """13: with the currency's digits, half up (away from zero)."""
    scale = 10 ** DIGITS.get(currency or "", 2)
    units = floor(abs(value) * scale + Fraction(1, 2))
    return Fraction(units if value >= 0 else -units, scale)


def currency_of(value: Any) -> str | None:
    """13: currencies compare in upper case."""
    return (value.strip().upper() or None) if isinstance(value, str) else None
