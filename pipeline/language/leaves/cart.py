"""`cart`: what is in a cart: `{cart: {lines: {gte: 2}, total: {gte: 100}, currency: EUR}}`.

In a rule whose waits are carts (`per: cart_id`) it is the wait's cart, elsewhere any one of the person's; all that is
compared must hold of one and the same. Contents are worked out by occurrence from what put in, took out, set, ordered
and cleared (semantics 12, 13).

A person has a cart once something put into it, took out of it or set it, or an order or a clear named it; from then on
they have it, be it empty. A wait's cart is there, whatever is known of it. Of an empty one there is no total.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pipeline.events.catalogue import doing
from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Clause, Record, Text
from pipeline.language import carts, compare, money
from pipeline.language.carts import Change, Item, Line
from pipeline.language.compared import Compared
from pipeline.language.condition import Condition, Names, Scope, said_once
from pipeline.language.memory import MOST, Entry, Ledger, Matcher, Memory, Moment

KEY = "cart"
PER = "cart_id"
ASKED = ("lines", "quantity", "total")
CHANGES = doing("cart")
ENDS = (*doing("order"), "cart_cleared")
END = 4  # beside how a Change changes: it ends a cart, and may take what it holds out of others
_RANKS = {carts.TAKE: 0, carts.PUT: 1, carts.MIXED: 1, carts.SET: 2, END: 4}  # semantics 2

KEPT = 200  # changes and ends of a person's carts
ITEMS_KEPT = 1000  # that these hold together, and so many lines of what older ones left
CARTS_KEPT = 100  # of which only that is known
_ALL: frozenset[str] = frozenset()

Carts = dict[str, list[Line]]
"""Cart id, empty of events that have none -> lines. What was touched last comes last."""


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "cart": Clause(
                Record(
                    {
                        "lines": Clause(compare.record(), "How many lines are in it: {gte: 2}; {is: 0}: it is empty."),
                        "quantity": Clause(compare.record(), "How many pieces they are together."),
                        "total": Clause(compare.record(), "What it costs. Where a line has no price it has no total."),
                        "currency": Clause(Text(), "Of the total: EUR. Without it only of carts in one currency."),
                    },
                    some=True,
                ),
                "What must hold of one cart.",
                required=True,
            )
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """Something is compared that can be, and there is such money."""
    asked, reader = value.get(KEY), names.reader
    if not isinstance(asked, Mapping):
        return
    at = (*at, KEY)
    for name in ASKED:
        compare.check((*at, name), asked.get(name, {}), reader, least=None if name == "total" else 0)
    if "currency" not in asked:
        return
    if not reader.has((*at, "total")):
        message = "currency is that of a total, and none is compared"
        reader.report((*at, "currency"), "no-effect", message, "write total: {gte: 100} beside it", key=True)
    code = asked["currency"].strip().upper()
    if code not in money.CURRENCIES:
        hint = suggest(code.lower(), [each.lower() for each in money.CURRENCIES], "").upper()
        hint = f"did you mean {hint[-4:]}" if hint else "ISO 4217 has three letters for each: EUR"
        message = f"{asked['currency']} is no currency that is known"
        reader.report((*at, "currency"), "unknown-currency", message, hint, severity="warning")


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    asked = value[KEY]
    currency = asked["currency"].strip().upper() if "currency" in asked else None
    tests = {name: asked[name] for name in ASKED if name in asked}
    return Cart(CartMatcher(of_key=scope.per == PER), tests, currency)


class CartMatcher(Matcher):
    """All that changes carts, in one ledger a person, as the order of one cart takes things out of others.

    A value is [cart, how, what]: of a change its cart, how it changes and the items; of an END its cart or None, and
    the products that it holds. In the first place may stand what older ones left: [until when, whether something was
    dropped or came late, {cart: lines}].
    """

    picky = True

    def __init__(self, *, of_key: bool) -> None:
        super().__init__((*CHANGES, *ENDS), {}, per=PER if of_key else None, newest=MOST)
        self.id = "cart.key" if of_key else "cart"

    def fields(self) -> tuple[str, ...]:
        """Beside those that are read of a cart's events anyhow."""
        return (PER, "products")

    def read(self, kind: str, data: Mapping[str, Any], change: Change | None = None) -> Any:
        """See above."""
        cart = data.get(PER) or None
        if kind in ENDS:
            told = [] if kind not in doing("order") else [carts.names_of(each) for each in data.get("products") or ()]
            return [cart, END, [names for names in told if carts.product(names)]]
        if change is None:
            change = carts.read(kind, dict(data), _ALL)
        items = [[item.names, item.price, item.currency, item.quantity] for item in change.items]
        return [cart or "", change.how, items]

    def ledger(self, key: str | None) -> str:
        """One for all."""
        return self.id

    def concerns(self, entry: Entry, key: str | None) -> bool:
        """It is of that cart, or ends or takes out of others."""
        if entry.occurred_at < 0:
            return False
        return self.per is None or entry.value[0] == key or self.concerns_others(entry)

    def concerns_others(self, entry: Entry) -> bool:
        """It ends all carts, or takes something out of others."""
        cart, how, told = entry.value
        return how == END and (cart is None or bool(told))

    def known(self, memory: Memory) -> Iterable[str]:
        """Carts."""
        ledger = memory.get(self.id, ())
        named = {entry.value[0] for entry in ledger if entry.occurred_at >= 0} | set(_left(ledger))
        return [cart for cart in named if cart] if self.per is not None else ()

    def contents(self, now: Moment) -> Carts:
        """Of the key's cart, if it counts by key, else of all; only to be read."""
        earlier = None if now.walked is None else now.walked.get(self.id)
        if earlier is None:
            found = self._contents(now)
        else:
            since, found = earlier
            found = _after(found, now.of(self, since), self._only(now))
        if now.walked is not None:
            now.walked[self.id] = (now.at, found)
        return found

    def _only(self, now: Moment) -> str | None:
        return now.key if self.per is not None else None

    def _contents(self, now: Moment) -> Carts:
        ledger = now.memory.get(self.id, ())
        found = _left(ledger)
        only = self._only(now)
        if self.per is not None:
            found = {cart: lines for cart, lines in found.items() if cart == only}
            if now.start is not None and only is not None:  # a wait names it
                found.setdefault(only, [])
        return _after(found, now.of(self), only)

    def take(self, memory: Memory, key: str, entry: Entry) -> bool:
        """Note one more. False: it is known already."""
        ledger = memory.setdefault(self.id, [])
        late = bool(ledger) and ledger[0].occurred_at < 0 and entry.occurred_at <= ledger[0].value[0]
        if not super().take(memory, key, entry):
            return False
        if late:
            ledger[0].value[1] = True
        return True

    def bound(self, ledger: Ledger) -> None:
        """Of too many the oldest become what they leave."""
        while len(ledger) > KEPT or _items(ledger) > ITEMS_KEPT:
            if not _fold(ledger):
                return

    def joined(self, mine: Ledger, theirs: Ledger) -> Ledger:
        """All that both did is done to the same carts."""
        older = [side[0] for side in (mine, theirs) if side and side[0].occurred_at < 0]
        merged = {entry.order: entry for entry in [*mine, *theirs] if entry.occurred_at >= 0}
        joined = [merged[order] for order in sorted(merged)]
        if older:
            upto = max(each.value[0] for each in older)
            dropped = len(older) > 1 or any(each.value[1] for each in older)
            left: Carts = {}
            for each in older:
                for cart, lines in _left([each]).items():
                    left[cart] = carts.merged(left[cart], lines) if cart in left else lines
            joined.insert(0, _base(upto, dropped or (bool(joined) and joined[0].occurred_at <= upto), left))
        self.bound(joined)
        return joined

    def lacks(self, memory: Memory, key: str | None, since: int) -> bool:
        """Something was dropped, or what is known then is only what older changes left."""
        ledger = memory.get(self.id, [])
        if ledger and ledger[0].occurred_at < 0 and (ledger[0].value[1] or ledger[0].value[0] >= since):
            return True
        older = sum(map(len, ledger[0].value[2].values())) if ledger and ledger[0].occurred_at < 0 else 0
        if older + _items(ledger) <= carts.LINES_KEPT:  # nearly always
            return False
        last = ledger[-1].occurred_at
        return not all(map(carts.complete, self.contents(Moment(memory, last, key=key)).values()))


def _items(ledger: Sequence[Entry]) -> int:
    """How many of them changes and ends hold."""
    return sum(len(entry.value[2]) for entry in ledger if entry.occurred_at >= 0)


def _place(entry: Entry) -> tuple[int, int, int, str, int]:
    """Where it stands among others of one person, in event time."""
    rank = _RANKS[entry.value[1]]
    return (entry.occurred_at, rank, entry.received_at, entry.event_id, entry.fingerprint)


def _after(found: Carts, entries: Iterable[Entry], only: str | None = None) -> Carts:
    """What the events make of carts, in place. `only`: this one is looked at."""
    for entry in sorted(entries, key=_place):
        (cart, how, told), at = entry.value, entry.occurred_at
        if how != END:
            if only is None or cart == only:
                lines = found.pop(cart, [])
                carts.apply(lines, Change(how, [Item(*each) for each in told]), at)
                found[cart] = lines
            continue
        if cart is not None and (only is None or cart == only):
            found[cart] = found.pop(cart, [])
        for name, lines in found.items():
            if cart is None or name == cart:
                found[name] = carts.without(lines, at)
            elif told:
                found[name] = carts.bought(lines, told, at)
    return found


def _left(ledger: Sequence[Entry]) -> Carts:
    """What older changes left, to be changed."""
    if not ledger or ledger[0].occurred_at >= 0:
        return {}
    return {cart: [Line(*line) for line in lines] for cart, lines in ledger[0].value[2].items()}


def _base(upto: int, dropped: bool, left: Carts) -> Entry:
    """What stands in the first place of a ledger. `left`: of too many carts those go that were touched first, empty
    ones before others.
    """
    while len(left) > CARTS_KEPT or sum(map(len, left.values())) > ITEMS_KEPT:
        del left[next((cart for cart, lines in left.items() if not lines), next(iter(left)))]
        dropped = True
    told = {
        cart: [[line.names, line.quantity, line.price, line.currency, line.added] for line in lines]
        for cart, lines in left.items()
    }
    return Entry(-1, -1, "", 0, [upto, dropped, told])


def _fold(ledger: Ledger) -> bool:
    """The older half becomes what it leaves, whole milliseconds of it. False: there is too little."""
    first = 1 if ledger[0].occurred_at < 0 else 0
    if len(ledger) - first <= 1:
        return False
    half = (len(ledger) - first) // 2 + first
    ends = [n for n in range(first + 1, len(ledger)) if ledger[n].occurred_at != ledger[n - 1].occurred_at]
    cut = min(ends, key=lambda n: abs(n - half), default=half)
    torn = not ends
    older = ledger[first:cut]
    dropped = torn or (first == 1 and bool(ledger[0].value[1]))
    upto = max([*(entry.occurred_at for entry in older), *([ledger[0].value[0]] if first else [])])
    ledger[:cut] = [_base(upto, dropped, _after(_left(ledger), older))]
    return True


class Cart(Compared):
    """Whether there is a cart of which all that is compared holds."""

    _matcher: CartMatcher
    it_is = "it has"

    def __init__(self, matcher: CartMatcher, tests: Mapping[str, Mapping[str, Any]], currency: str | None) -> None:
        super().__init__(tests, {name: compare.compiled(each) for name, each in tests.items()})
        self._matcher, self._currency = matcher, currency

    def things(self, now: Moment) -> Collection[list[Line]]:
        """Carts, what is in them."""
        return self._matcher.contents(now).values()

    def told(self, name: str, thing: list[Line]) -> float | None:
        """Of a cart."""
        if name == "lines":
            return len(thing)
        return carts.quantity(thing) if name == "quantity" else carts.total(thing, self._currency)

    def says(self, name: str, number: float | None) -> str:
        """What it has."""
        return f"no {name}" if number is None else f"{name} {number:g}"

    @said_once
    def __str__(self) -> str:
        currency = f" {self._currency}" if self._currency else ""
        asked = (
            f"{name} {compare.said(each)}{currency if name == 'total' else ''}" for name, each in self._tests.items()
        )
        return f"{'its' if self._matcher.per else 'a'} cart has {', '.join(asked)}"
