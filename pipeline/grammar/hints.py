"""What was probably meant by what can't be read: the way in which it is written here."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import SequenceMatcher

from pipeline.grammar.findings import suggest
from pipeline.grammar.operands import MEANT, MODIFIERS, OPERATORS
from pipeline.grammar.shapes import DURATION, FOREVER, Choice, Duration, Kinds, Many, OneOf, Record, Shape, Text, Where
from pipeline.grammar.vocabulary import OF_CART, field_names, maps

_LONG = re.compile(r"([0-9]+)\s*([a-z]+)", re.IGNORECASE)
_UNITS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
_DAYS = {
    **dict.fromkeys(("w", "week", "weeks"), 7),
    **dict.fromkeys(("month", "months"), 30),
    **dict.fromkeys(("y", "year", "years"), 365),
}
OF_YOUR_OWN = "an event of your own is `custom`, and its `name` says which"
_CLOCK = re.compile(r"([0-9]{1,2})[:.]([0-9]{2})")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_OF_CART = {
    **dict.fromkeys(("value", "amount", "sum", "price", "revenue", "subtotal"), "total"),
    **dict.fromkeys(("items", "pieces", "number"), "quantity"),
    **dict.fromkeys(("count", "size", "products"), "lines"),
}  # other people's words
_ALIKE = 0.8  # from here on another word can hardly be meant
_COMPARED = re.compile(r"(>=|<=|>|<|==?|!=|≥|≤)\s*(-?[0-9]+(?:\.[0-9]+)?)")


def duration(written: str, shape: Duration) -> str:
    """Of `1 week`: write 7d."""
    if found := _LONG.fullmatch(written.strip()):
        number, unit = int(found[1]), found[2].lower()
        if unit in _UNITS:
            return f"write {number}{_UNITS[unit]}"
        if unit in _DAYS:
            return f"write {number * _DAYS[unit]}d"
    return "write a number and a unit: 250ms, 10s, 5m, 1h, 3d" + (f", or {FOREVER}" if shape.forever else "")


def compared(written: str) -> str:
    """Of `>= 3`: write {gte: 3}."""
    found = _COMPARED.fullmatch(written.strip())
    return f"write {{{MEANT[found[1]]}: {found[2]}}}" if found else ""


def text(shape: Text, written: str) -> str:
    """Of what is no such text: how it is one, `"09:00"` of 9:00 and `sold_out` of `Sold Out`; or nothing."""
    clock = _CLOCK.fullmatch(written.strip())
    word = re.sub(r"[^a-z0-9]+", "_", written.lower()).strip("_")
    for each in (f"{clock[1]:0>2}:{clock[2]}" if clock else written, word):
        if shape.pattern is not None and re.fullmatch(shape.pattern, each):
            return f'write "{each}"' if clock else f"write {each}"
    return ""


def reference(shape: Text, written: str) -> str:
    """Of what stands for no value that can be told: how it is written. `shape`: with its words."""
    head, _, rest = written.partition(".")
    close = suggest(head, shape.words)
    if rest and "cart" in shape.words and close == "did you mean cart?":
        found = suggest(_OF_CART.get(rest, rest), OF_CART, "")
        word = found.removeprefix("did you mean ").rstrip("?")
        every = ", ".join(f"cart.{each}" for each in OF_CART)
        return f"did you mean cart.{word}?" if word in OF_CART else f"there is {every}"
    if close.startswith("did you"):
        word = close.removeprefix("did you mean ").rstrip("?")
        return f"did you mean {word}.{rest}?" if rest and word in ("start", "trait") else close
    if "start" not in shape.words:
        return close
    if head in field_names() or head in ("context", "consent"):
        return f"write start.{written} for what the event told that began it"
    ways = {
        "key": "key",
        "start": "start.PATH of the event that began it",
        "trait": "trait.NAME told last of the person",
    }
    return f"there is {', '.join(ways.get(word, word) for word in shape.words)}"


def operator(name: str, written: str, *, nested: bool) -> str:
    """Of what is no operator. `name`: of the field that it stands behind; `nested`: a mapping stands behind it."""
    close = (
        f"did you mean {MEANT[written]}?"
        if written in MEANT
        else suggest(written, (*OPERATORS, *MODIFIERS), "operators")
    )
    within = name.partition(".")[0] in (*maps(), "context", "consent")
    if nested or (within and not close.startswith("did you")):
        return f"what stands in it has a longer name: {name}.{written}"
    return close


def numeric(written: str) -> str:
    """Of a text in place of a number: the number that it is."""
    if _NUMBER.fullmatch(written):
        return "write it without quotes"
    share = written.strip().removesuffix("%").strip()
    return f"write {float(share) / 100:g}" if share != written.strip() and _NUMBER.fullmatch(share) else ""


def choice(shape: Choice, written: str) -> str:
    """Of another word: the one that was meant."""
    if written in shape.meant:
        return shape.meant[written]
    close = suggest(written, shape.options)
    alike = SequenceMatcher(None, written.lower(), close.removeprefix("did you mean ").rstrip("?")).ratio() >= _ALIKE
    also = "" if alike else shape.otherwise
    between = "" if not close or not also else " " if close.endswith("?") else "; "
    return f"{close}{between}{also}"


def mapping(shape: Record, written: str, *, quoted: bool) -> str:
    """Of a plain value in place of a mapping: under which key it may stand."""
    keys = [*shape.one_of[:1], *(name for name, key in shape.keys.items() if key.required)]
    if shape.some and "gte" in shape.keys:
        keys = ["gte"]
    if not keys or "\n" in written or len(written) > 100:
        return ""
    lasts = DURATION.fullmatch(written)
    its = next((key for key in keys if lasts and isinstance(shape.keys[key].shape, Duration)), keys[0])
    if isinstance(told := shape.keys[its].shape, Text) and not quoted:
        written = text(told, written).removeprefix("write ").strip('"') or written
        written = f'"{written}"'
    return f"write {{{', '.join(f'{key}: {written}' if key == its else f'{key}: ...' for key in keys)}}}"


def missing(shape: Record) -> str:
    """Of a mapping that has none of two keys: what they are for."""
    if len(shape.one_of) != 2:
        return ""
    return "; ".join(f"{name}: {shape.keys[name].doc.rstrip('.')}" for name in shape.one_of)


def misplaced(name: str, shape: Record, beside: Collection[str] = ()) -> str:
    """Of a key that isn't known here: where it is, or what is like it. `beside`: the keys that stand there, too."""
    for key, each in shape.keys.items():
        if isinstance(each.shape, Kinds) and name in each.shape.records():
            return f"a condition stands in {key}: {{{name}: ...}}"
        kinds = each.shape.records() if isinstance(each.shape, Kinds) else {}
        if other := next((other for other in beside if other in kinds and name in kinds[other].keys), None):
            return f"it stands in {key}, beside {other}"
        if isinstance(each.shape, Where) and name in field_names():
            return f"a field of the event stands in {key}: {{{name}: ...}}"
    close = suggest(name, shape.keys, "")
    if close.startswith("did you mean"):
        return close
    for key, each in shape.keys.items():
        inner = _record(each.shape)
        if inner is not None and name in inner.keys:
            return f"it stands in {key}: {{{name}: ...}}"
    if "properties" in shape.keys:
        return f"what is of your own stands in properties: {{{name}: ...}}"
    return f"did you mean {MEANT[name]}?" if MEANT.get(name) in shape.keys else suggest(name, shape.keys, "known keys")


def _record(shape: Shape) -> Record | None:
    match shape:
        case Record():
            return shape
        case Many(item=inner) | OneOf(mapping=inner):
            return _record(inner)
    return None


def condition(name: str, kinds: dict[str, Record]) -> str:
    """Of what is no kind of condition: which kind was meant."""
    meant = {"not": "none: [...]", "and": "all: [...]", "or": "any: [...]", "event": "did: ..."}.get(name)
    return f"did you mean {meant}?" if meant else suggest(name, kinds, "kinds")
