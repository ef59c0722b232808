"""Quantities and money, counted as people count them: in decimals, as exact as they were told.

They are told and kept as doubles, which hold 15 digits; the shortest text of a double is what was told.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from math import inf, isinf

# Wide enough for any sum and product of doubles: the largest has 309 digits, the smallest 324 behind the point.
_EXACT = Context(prec=1400)
_PLAIN = 1e9  # up to here, what has two digits behind the point is exact as whole hundredths

# Digits behind the point of a currency, where they aren't two: ISO 4217, list one (https://www.iso.org/iso-4217.html).
_DIGITS = {
    currency: digits
    for digits, currencies in (
        (0, ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV")),
        (0, ("XAF", "XOF", "XPF")),
        (3, ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")),
        (4, ("CLF", "UYW")),
    )
    for currency in currencies
}
_CENT = Decimal("0.01")
_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL
HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD
MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF
SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU
UYW UZS VED VES VND VUV WST XAF XCD XCG XDR XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_CODES.split())
"""Those of ISO 4217, list one, that are money of some country."""


def exact(value: float) -> Decimal:
    """What was told."""
    return Decimal(repr(float(value)))


def plus(a: float, b: float) -> float:
    """The sum; infinite where it leaves the range of a double."""
    if -_PLAIN < a < _PLAIN and -_PLAIN < b < _PLAIN:
        one, other = round(a * 100), round(b * 100)
        if one / 100 == a and other / 100 == b:  # nearly always: hundredths, as whole numbers
            return (one + other) / 100
    if isinf(a) or isinf(b):
        return inf
    return float(_EXACT.add(exact(a), exact(b)))


def minus(a: float, b: float) -> float:
    """The difference; `a` infinite: nobody knows how much is left."""
    return a if isinf(a) else plus(a, -b)


def cents(price: float, quantity: float, currency: str | None) -> int | None:
    """What a line costs, where that is a whole number of cents because both are plain; None: count exactly."""
    if -_PLAIN < price < _PLAIN and -_PLAIN < quantity < _PLAIN and currency not in _DIGITS:
        hundredths, number = round(price * 100), int(quantity)
        if hundredths / 100 == price and number == quantity:
            return hundredths * number
    return None


def total(lines: Sequence[tuple[float | None, float]], currency: str | None) -> float | None:
    """What lines of (price, quantity) cost: the exact sum, rounded once, half up, to the digits of its currency (two
    where that isn't known). None where something isn't known, or leaves the range of what can be written.
    """
    exactly = Decimal(0)
    for price, quantity in lines:
        if price is None or isinf(quantity):
            return None
        exactly = _EXACT.add(exactly, _EXACT.multiply(exact(price), exact(quantity)))
    places = _DIGITS.get(currency or "", 2)
    unit = _CENT if places == 2 else Decimal(1).scaleb(-places)
    rounded = float(exactly.quantize(unit, ROUND_HALF_UP, _EXACT))
    return None if isinf(rounded) else rounded
