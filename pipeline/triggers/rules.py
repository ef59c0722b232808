"""Rules compiled: which event types concern which rule, so that a thousand rules don't cost a thousand checks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

from pipeline.events import tidy
from pipeline.events.catalogue import OWN, PARTS, catalogue, doing
from pipeline.grammar.vocabulary import MADE, VISIT_STARTED
from pipeline.language.condition import Condition, Scope, compile_condition
from pipeline.language.events import types_of
from pipeline.language.memory import ANY, DECIDED, MOST, Matcher
from pipeline.language.paths import Read, keys_of, needs, read_path
from pipeline.language.references import Comparison, split, start_path
from pipeline.language.where import EventTest, compile_where
from pipeline.language.whereabouts import Whereabouts
from pipeline.topology.meaning import fingerprint
from pipeline.topology.model import Cancel, Rule, Topology
from pipeline.triggers import lengths, recurrence
from pipeline.triggers.balance import Balance
from pipeline.triggers.dates import Dated
from pipeline.triggers.facts import CONTENTS, RESTART, START, End
from pipeline.triggers.lengths import ByField, UpToTime
from pipeline.triggers.payloads import PAYLOADS, Tell, of_cart, teller, traits
from pipeline.triggers.watches import Watch, Watches

Keys = Callable[[Mapping[str, Any]], list[str]]
CART_TYPES = doing("cart")
ORDERS = doing("order")
PLAYBACK = doing("film")
_PUTS, _TAKES, _SETS = (frozenset(name for name in CART_TYPES if CART_TYPES[name] == how) for how in PARTS["cart"])
_NAMES = ("product_id", "sku", "name", "variant")
# What rules read of a body beside the fields that a topology names itself.
BUILT_IN_FIELDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_PUTS, ("cart_id", *_NAMES, "quantity", "price", "currency", "products")),
    **dict.fromkeys(_TAKES, ("cart_id", *_NAMES, "quantity", "products")),
    **dict.fromkeys(_SETS, ("cart_id", "currency", "products")),
    **dict.fromkeys(ORDERS, ("order_id", "total", "currency")),
}
ADDRESSES = ("url", "image_url")
# What a person's contact is made of beside their e-mail address: fields of an event's context and of what it tells of
# a person. It is read of every event that rules look at, and of whoever says who they are.
CONTACT = ("context.locale", "context.timezone")
ALWAYS_SEEN = frozenset({*doing("traits"), *ORDERS})  # by the fold, whatever the rules are

_CART_RANKS = {**dict.fromkeys(_TAKES, 0), **dict.fromkeys(_PUTS, 1), **dict.fromkeys(_SETS, 2)}
_ROLE_RANKS = {START: 1, RESTART: 2, CONTENTS: 3}


def rank(cart: bool, role: int, event: str) -> int:
    """Where an event stands among those of one millisecond (semantics 2). Of a cart: what is removed, what is put in or
    begins, what the cart is said to hold, looks. Elsewhere a start before what moves it. What ends comes last
    (facts.ENDS).
    """
    if not cart:
        return _ROLE_RANKS[role]
    return _CART_RANKS.get(event, 1 if role == START else 3)


class MoveMatcher(NamedTuple):
    """This event may start or move a wait of `rule`, or (CONTENTS) only changes a cart's lines."""

    rule: Compiled
    role: int
    rank: int
    where: EventTest | None


class EndMatcher(NamedTuple):
    """This event may end waits of `rule`: those whose key is what `match` tells, or all of the person. `takes`: what it
    holds is taken out of the person's other carts. `keys`: reads the keys where `match` is more than a field that holds
    one. `without_key`: what it ends where it tells none (model.Cancel). `compares`: it ends only waits of which these
    hold.
    """

    rule: Compiled
    reason: str
    where: EventTest | None
    match: str | None
    without_key: str
    before_start: bool
    takes: bool
    keys: Keys | None = None
    compares: Sequence[tuple[Comparison, Read]] = ()


class Meaning(NamedTuple):
    """What an event type is to the fold. `conditional`: not every such event concerns every rule. `always_seen`,
    `order`: see above. `playing`: a rule looks at films.
    """

    ends: Sequence[EndMatcher] = ()
    moves: Sequence[MoveMatcher] = ()
    conditional: bool = False
    always_seen: bool = False
    order: bool = False
    playing: bool = False


NOTHING = Meaning()


class CompiledStage(NamedTuple):
    """One of a wait's reminders. Duration in ms, from the cause."""

    name: str
    after: int
    payload: Tell
    only_if: Condition | None


class Compiled:
    """A rule with what the fold needs at hand. Durations in ms.

    `asked`: what must hold of a person where it, or one of its stages, is due; `asks_segments`: that they are in some.
    `recurrence`: whether a key that is decided starts again.
    `within`, `by`: so long after a trigger was due a cancel for such a reason is its success; 0: none is.
    `after`: how long it waits, to the first of its `stages` where it has several; where that varies, at least. `lasts`,
    `clock`: how long it waits, where it `varies`; `date`: up to that. `moves_about`: it hangs on where the person
    is. `general`: its waits aren't all alike (stages.py). `at_once`: each start is a wait of its own (at_once.py);
    `arrives`: it is decided when that is received; `follows`: that is a decision. `soonest`: no start is decided sooner
    after it occurred. `keys`: reads those of an event, where `per` is more than a field that holds one. `keeps`: what
    is kept of a start, as the rule compares with it or tells it.
    """

    def __init__(
        self, rule: Rule, lateness_ms: int, scope: Scope, most_ms: int, fingerprint: str, balance: Balance
    ) -> None:
        self.fingerprint = fingerprint
        self.balance = balance
        scope = scope._replace(per=rule.per)
        self.when = None if rule.when is None else compile_condition(rule.when, scope)
        self.until = None if rule.until is None else compile_condition(rule.until[0], scope)
        self.until_watch: Watch | None = None
        self.until_reason = "" if rule.until is None else rule.until[1]
        self.only_if = None if rule.only_if is None else compile_condition(rule.only_if, scope)
        self.name = rule.name
        self.version = rule.version
        self.after = rule.after_ms
        self.lateness = lateness_ms
        self.per = rule.per
        self.keys = keys_of(rule.per) if rule.per else None
        self.keeps = tuple((path, read_path(path)) for path in starts_kept(rule))
        self.shared = rule.without_key == "shared" or rule.per is None
        self.share = rule.watched_share
        self.emptied = rule.until_cart_empty
        self.cart = rule.until_cart_empty is not None or of_cart(rule.parts)
        self.payload = teller(rule.payload)
        self.noted = tuple(matcher for trait in traits(rule.parts) for matcher in trait.matchers())
        self.tells = next(
            (part for name in sorted(rule.parts & PAYLOADS.keys()) if (part := PAYLOADS[name]).reads), None
        )
        self.stages = tuple(
            CompiledStage(
                stage.name,
                stage.after_ms,
                self.payload if stage.payload is None else teller(stage.payload),
                self.only_if if stage.only_if is None else compile_condition(stage.only_if, scope),
            )
            for stage in rule.stages
        )
        length = lengths.compiled(rule.after, rule.per, most_ms)
        self.lasts = length if isinstance(length, ByField) else None
        self.clock = length if isinstance(length, UpToTime) else None
        self.sequence = rule.sequence
        self.on_completion = rule.sequence is not None and rule.sequence.steps[-1].absent
        self.date = None if rule.date is None else Dated(rule.date)
        self.varies = length is not None or self.date is not None
        self.moves_about = self.clock is not None or self.date is not None
        if self.stages:
            self.after = self.stages[0].after
        self.at_once = rule.at_once
        self.arrives = rule.on_arrival
        self.follows = rule.follows is not None
        self.soonest = 0 if self.arrives else self.after + lateness_ms
        self.recurrence = recurrence.of(rule)
        asked = (self.only_if, *(stage.only_if for stage in self.stages))
        self.asked: Sequence[Condition] = [each for each in asked if each is not None]
        self.asks_segments = any(each.segments() for each in self.asked)
        self.counts_most = tuple(m for each in self.asked for m in each.matchers() if m.newest >= MOST)
        self.general = bool(self.stages) or self.varies or any((self.when, self.until, self.only_if, self.at_once))
        self.within = 0 if rule.recovered is None else rule.recovered.within_ms
        self.by = frozenset() if rule.recovered is None else rule.recovered.by
        self.takes = any(cancel.takes for cancel in rule.cancel)
        self._places = {cancel.reason: place for place, cancel in reversed([*enumerate(rule.cancel)])}

    def place(self, end: End) -> tuple[bool, int]:
        """Where an end comes among those that one event is: as its cancel stands in the rule, what takes last."""
        return end.takes is not None, self._places.get(end.reason, len(self._places))

    def length(
        self, at: int, kept: Mapping[str, Any] | None, whereabouts: Whereabouts | None, *, again: bool = False
    ) -> int | None:
        """How long a wait is that counts from then (UTC ms), ms, where that `moves_about`; None: there is none. `kept`:
        what is kept of what occurred; `again`: a date that comes every year has come then.
        """
        if self.clock is not None:
            return self.clock.of(at, whereabouts)
        assert self.date is not None
        length = self.date.length(kept, at, whereabouts, again=again)
        return None if length is None else length + self.after


def _but_for(before: Sequence[MoveMatcher], where: EventTest | None = None) -> EventTest:
    """What meets a condition, and none of those `before`."""
    wheres = [each.where for each in before if each.where is not None]

    def meets(data: Mapping[str, Any]) -> bool:
        return (where is None or where(data)) and not any(each(data) for each in wheres)

    return meets


def starts_kept(rule: Rule) -> list[str]:
    """The paths that a rule speaks of as `start.path`."""
    named = [each.reference for cancel in rule.cancel for each in comparisons(cancel)]
    named += sorted(part for part in rule.parts if part not in PAYLOADS)
    told = [rule.date.path] if rule.date is not None else []
    return list(dict.fromkeys([*told, *(path for each in named if (path := start_path(each)) is not None)]))


def comparisons(cancel: Cancel) -> list[Comparison]:
    """All that must hold between an event that cancels and the wait."""
    matched = [Comparison(path, "is", reference) for path, reference in cancel.compares]
    return [*matched, *split(cancel.select.where)[1]]


class RuleBook:
    """All rules of a topology. `meanings`: event type -> what it may do. `fields`: event type -> body fields read.

    `profile_parts`: those that are asked for; `says_parts`: whether the topology names them, if none.
    `concerned`: the event types that the fold must see; `choosy`: those of which it needs only what is `chosen`.
    `of_films`: the rules that look at what was watched, or tell it.
    `listing`: those that may end a wait where they list products.
    `origins`: of addresses that triggers may hand on.
    `opening`: those that may open a wait -> the shortest time (ms) from such an event to a decision that it leads to.
    `closing`: those that may end one. (What only moves a wait makes no decision sooner.)
    `balance`: what became of waits.
    `followers`: (rule, outcome) -> those that start when it has decided so.
    `clocked`: those of which a wait lasts up to a time of day, or a date. `still`: no date comes any more. `located`:
    it matters where a person is.
    `watches`: the conditions that are watched; None: there are none.
    `arriving`: the event types by which a rule may begin that decides on arrival; `leading`: of which something may be
    made by which it does. `single`: such rules of which one start stands for another -> whether it does so whatever
    came of it, and not only where it fired.
    `makes`: what is made that anything looks at (happening.py); `visits`: visits are.
    `plain`: of those that concern the fold whatever they tell, what `opening` says, and whether they are `closing`,
    orders, and `listing`.
    """

    def __init__(self, topology: Topology) -> None:
        self.lateness = topology.time.lateness_ms
        self.max_age = topology.time.max_age_ms
        self.retention = topology.profile_retention_ms
        self.profile_parts = topology.profile_parts or frozenset()
        self.says_parts = topology.profile_parts is not None
        ordered = sorted(topology.identifiers.namespaces, key=lambda n: n.priority)
        self.unique = tuple(n.name for n in ordered if n.unique)
        self.devices = frozenset(n.name for n in topology.identifiers.namespaces if n.device)
        self.moves: dict[str, list[MoveMatcher]] = {}
        self.ends: dict[str, list[EndMatcher]] = {}
        self.fields: dict[str, set[str]] = {t: set(f) for t, f in BUILT_IN_FIELDS.items()}
        self.origins = topology.origins
        if self.origins:
            for event in (*_PUTS, *_SETS):
                self.fields[event].update(ADDRESSES)
        most = self.retention - self.max_age
        scope = Scope(measures=topology.measures, lists=topology.lists, zone=topology.time.zone)
        self.balance = Balance()
        self.rules = {
            rule.name: Compiled(rule, self.lateness, scope, most, fingerprint(rule, topology), self.balance)
            for rule in topology.rules
        }
        self.followers: dict[tuple[str, str], list[Compiled]] = {}
        for rule in topology.rules:
            if rule.follows is not None:
                self.followers.setdefault(rule.follows, []).append(self.rules[rule.name])
        self.clocked = [rule for rule in self.rules.values() if rule.moves_about]
        self.still = False
        for rule in topology.rules:
            self._index(rule, self.rules[rule.name])
        watches = Watches(topology, self.rules)
        for name, until in watches.until.items():
            self.rules[name].until_watch = until
        for back in (*watches.rules.values(), *watches.until.values()):  # looked at as of any moment of a wait
            self.rules[back.name].counts_most += back.counted
        self.watches = watches if watches.matchers or watches.every else None
        self.located = bool(self.clocked) or watches.located
        self.of_films = [
            self.rules[rule.name] for rule in topology.rules if rule.watched_share is not None or "film" in rule.parts
        ]
        self.makes = (self.moves.keys() | self.ends.keys() | watches.hearing.keys()) & {*MADE, DECIDED}
        self.visits = VISIT_STARTED in self.makes
        heard = {} if self.watches is None else {k: m for k, m in watches.hearing.items() if k != DECIDED}
        looked_at = frozenset(self.moves) | frozenset(self.ends) | frozenset(heard)
        beginning = frozenset(types_of((ANY,))) if self.visits else frozenset()
        self.concerned = (looked_at - self.makes) | beginning | ALWAYS_SEEN
        if watches.first or self.located:
            self.concerned |= frozenset(catalogue())
        if self.of_films:
            self.concerned |= frozenset(PLAYBACK)
        for event, matchers in heard.items():
            for matcher in matchers:
                self.fields.setdefault(event, set()).update(matcher.fields())
        of_visit = self.fields.get(VISIT_STARTED, set()).union(OWN)
        for event in beginning:
            self.fields.setdefault(event, set()).update(of_visit)
        for event in self.makes:
            self.fields.pop(event, None)
        for event in self.concerned:
            self.fields.setdefault(event, set()).update(CONTACT)
        self.choosy = frozenset(
            event
            for event in self.concerned - ALWAYS_SEEN
            if not self.located
            and all(each.where is not None for each in (*self.moves.get(event, ()), *self.ends.get(event, ())))
            and all(matcher.where for matcher in heard.get(event, ()))
            and not (self.of_films and event in PLAYBACK)
            and event not in beginning
        )
        self.meanings = {event: self._meaning(event) for event in self.concerned | self.makes}
        self.opening = {
            event: min(move.rule.soonest for move in moves if move.role == START)
            for event, moves in self.moves.items()
            if any(move.role == START for move in moves)
        }
        for event, matchers in heard.items():
            for watch in {watch for matcher in matchers for watch in watches.watching.get(matcher.id, ())}:
                soonest = 0 if watch.rule is None else watch.rule.soonest
                self.opening[event] = min(soonest, self.opening.get(event, soonest))
        for watch in watches.zoned:
            soonest = 0 if watch.rule is None else watch.rule.soonest
            self.opening |= {event: min(soonest, self.opening.get(event, soonest)) for event in self.concerned}
        if (soonest_of_visit := self.opening.get(VISIT_STARTED)) is not None:
            for event in beginning:
                self.opening[event] = min(soonest_of_visit, self.opening.get(event, soonest_of_visit))
        # A removal may empty a cart and so end its wait, whatever else it is to the rule.
        contents = {event for event, moves in self.moves.items() if any(move.role == CONTENTS for move in moves)}
        removing = _TAKES | _SETS
        # An addition of several products may hold what is one less.
        self.listing = _PUTS & self.moves.keys()
        # A further start ends what is left of a wait of which stages are decided.
        anew = {event for event, moves in self.moves.items() if any(m.rule.stages and m.role == START for m in moves)}
        self.closing = contents | self.ends.keys() | (removing & self.moves.keys()) | anew
        if VISIT_STARTED in self.closing:
            self.closing |= beginning
        if self.clocked or watches.zoned_untils:  # whatever tells where a person is may make a wait shorter
            self.closing |= self.concerned
        arriving = [rule for rule in self.rules.values() if rule.arrives]
        whatever = {rule.name: bool(rule.recurrence.single or rule.when or rule.sequence) for rule in arriving}
        self.single = {
            rule.name: whatever[rule.name] for rule in arriving if rule.recurrence.some or whatever[rule.name]
        }
        arriving_at = frozenset(event for event in looked_at if self._arriving(event))
        made = arriving_at & self.makes
        self.leading = beginning if VISIT_STARTED in made else frozenset[str]()
        if made - {VISIT_STARTED}:
            self.leading |= heard.keys() - self.makes
        self.arriving = (arriving_at - self.makes) | self.leading
        self.plain = {
            event: (self.opening.get(event), event in self.closing, event in ORDERS, event in self.listing)
            for event in self.concerned - self.choosy - self.arriving
            if not watches.first
        }

    def asking(self, counts: Collection[str]) -> RuleBook:
        """The same where these parts count already: they go on, unless the topology names others."""
        if self.says_parts or self.profile_parts.issuperset(counts):
            return self
        book = copy(self)
        book.profile_parts = self.profile_parts.union(counts)
        return book

    def _meaning(self, event: str) -> Meaning:
        ends, moves = self.ends.get(event, ()), self.moves.get(event, ())
        return Meaning(
            ends,
            moves,
            any(each.where is not None for each in (*ends, *moves)),
            event in ALWAYS_SEEN,
            event in ORDERS,
            bool(self.of_films) and event in PLAYBACK,
        )

    def chosen(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Whether an event of a `choosy` type meets the condition of any rule."""
        of_kind: tuple[MoveMatcher | EndMatcher, ...] = (*self.moves.get(kind, ()), *self.ends.get(kind, ()))
        if any(each.where is None or each.where(data) for each in of_kind):
            return True
        return self.watches is not None and bool(self.watches.counting(kind, data))

    def _arriving(self, event: str) -> bool:
        moved = any(move.role == START and move.rule.arrives for move in self.moves.get(event, ()))
        return moved or any(map(self._begins, () if self.watches is None else self.watches.hearing.get(event, ())))

    def _begins(self, matcher: Matcher) -> bool:
        """Whether what it counts may begin a rule that decides on arrival."""
        assert self.watches is not None
        return any(watch.rule and watch.rule.arrives for watch in self.watches.watching.get(matcher.id, ()))

    def arrives(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Whether by an event of an `arriving` type a rule may begin that decides on arrival."""
        if kind in self.leading:
            return True
        for move in self.moves.get(kind, ()):
            if move.role == START and move.rule.arrives and (move.where is None or move.where(data)):
                return True
        heard = () if self.watches is None else self.watches.hearing.get(kind, ())
        return any(matcher.counts(kind, data) and self._begins(matcher) for matcher in heard)

    def _index(self, rule: Rule, compiled: Compiled) -> None:
        for role, selector in ((START, rule.start), (RESTART, rule.restart)):
            if selector is None:
                continue
            for event in selector.events:
                where = compile_where(tidy.operands(event, selector.where))
                self.moves.setdefault(event, []).append(
                    MoveMatcher(compiled, role, rank(compiled.cart, role, event), where)
                )
                kept = [path for path, _ in compiled.keeps] if role == START else []
                lasts = [] if compiled.lasts is None or role != START else [compiled.lasts.path]
                told = () if compiled.tells is None else compiled.tells.reads
                self._reads(event, [*selector.where, *kept, *lasts, *told], rule.per)
        if compiled.cart:
            for event in CART_TYPES:
                self._changes_cart(compiled, event)
        for cancel in rule.cancel:
            plain, _ = split(cancel.select.where)
            keys = keys_of(cancel.match) if cancel.match else None
            compares = [(each, read_path(each.path)) for each in comparisons(cancel)]
            for event in cancel.select.events:
                where = compile_where(tidy.operands(event, plain))
                end = EndMatcher(
                    compiled,
                    cancel.reason,
                    where,
                    cancel.match,
                    cancel.without_key,
                    cancel.before_start,
                    cancel.takes,
                    keys,
                    compares,
                )
                self.ends.setdefault(event, []).append(end)
                self._reads(event, [*plain, *(each.path for each, _ in compares)], cancel.match)
                if cancel.takes:
                    self.fields[event].add("products")

    def _changes_cart(self, rule: Compiled, event: str) -> None:
        """What an event does to a cart counts once, also where it is none of those that start or move a wait."""
        moves = self.moves.setdefault(event, [])
        others = [move for move in moves if move.rule is not rule]
        mine: list[MoveMatcher] = []
        for move in [move for move in moves if move.rule is rule]:
            if all(each.where is not None for each in mine):
                mine.append(move._replace(where=_but_for(mine, move.where)) if mine else move)
        if all(each.where is not None for each in mine):
            rest = MoveMatcher(rule, CONTENTS, rank(True, CONTENTS, event), _but_for(mine) if mine else None)
            mine.append(rest)
            self._reads(event, {}, rule.per)
        self.moves[event] = [*others, *mine]

    def _reads(self, event: str, where: Iterable[str], key: str | None) -> None:
        named = (*where, key) if key else where
        self.fields.setdefault(event, set()).update(field for path in named for field in needs(path))
