"""One key's first wait that isn't decided, by event time, from all that a person is known for. Semantics 4 to 7, rules
26, 29 to 31. Shares no code with `pipeline`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.oracle.cart import apply, cart_of
from tests.oracle.language.paths import is_type, keys, matches, values
from tests.oracle.language.things import CHANGES
from tests.oracle.language.topology import NEVER, Action, Rule
from tests.oracle.lines import Contents
from tests.oracle.reading import rank
from tests.oracle.who import Fact

Key = str | None
Order = tuple[Any, ...]

TAKES, STARTS, RESTARTS, LOOKS, ENDS = range(5)
"""45: what comes first of what occurred in one millisecond."""


def order(fact: Fact, role: int, rule: Rule | None = None) -> Order:
    """The order in which things happened, to a rule. 45: carts go by type."""
    if rule is not None and rule.of_cart and role != ENDS:
        role = rank(fact.type) if fact.type in CHANGES else STARTS if role == STARTS else LOOKS
    return fact.occurred_at, role, fact.received_at, fact.event_id, fact.carried


BROKEN = "broken"
"""28: what must not follow a sequence did. It ends without a decision."""


@dataclass(eq=False)
class Start:
    """What opens a wait: an event, or a turn of a condition. Times in ms. `known`: when it was received, or turned.

    `fact` None: by time alone; `named` is then the event that it is named after. `turned`: a turn moves nothing.
    `moment`: 35, when the date comes that was told, `of`: which year's it is. `by`: 44, the decision that it starts by.
    `run`: 28, the (step, fact) that it is made of; `free`: what is known to follow its last step freed them.
    """

    fact: Fact | None
    named: Fact
    at: int
    known: int
    turned: bool = False
    moment: int | None = None
    of: object = None
    by: str | None = None
    run: list[Any] = field(default_factory=list)
    free: bool = False

    @property
    def order(self) -> Order:
        """Among what else happened. 35: a further year begins after all else of its millisecond."""
        return self.at, STARTS, NEVER if self.of else self.known, self.named.event_id, self.named.carried

    @property
    def of_event(self) -> bool:
        """Is it the event itself that starts, and not what that led to?"""
        return self.fact is not None and not self.turned and not self.by and self.moment is None and not self.run

    @property
    def token(self) -> object:
        """What is remembered as settled."""
        return self.of or (self if self.turned or self.by else self.fact)

    @property
    def basis(self) -> str:
        """What made it."""
        return "time" if self.fact is None and self.by is None else "event"


@dataclass(eq=False)
class Wait:
    """A wait of one key. `cause`: from which it counts; `due`: D of the stage it waits for; `ended_at`: when a cancel
    or `until` ended it; `decided`: D of the last stage decided; `overtaking`: (received, by a start) of what came after
    D. `shown`, `left`: what was in its cart as it ended, and right after."""

    rule: Rule
    key: Key
    opened: Start
    last_start: Start
    cause: Start
    stage: int = 0
    decided: int | None = None
    due: int = 0
    ended_at: int | None = None
    ended_by: Fact | None = None
    begun: Start | None = None
    covered: Order | None = None
    reason: str = "due"
    ready: int = 0
    overtaking: list[tuple[int, bool]] = field(default_factory=list)
    shown: Contents | None = None
    left: Contents | None = None

    def move(self, cause: Start, known: Known) -> None:
        """It counts from here."""
        self.cause = cause
        self.due = known.due(self)

    def shows(self, contents: Contents | None) -> None:
        """That is in its cart, unless it is known already."""
        if contents is not None and self.shown is None:
            self.shown = self.left = contents.copy()


@dataclass(frozen=True)
class Step:
    """Something on a key's way. `one`: a Start, what tells no date, or a fact. `fact`: what may change its cart."""

    order: Order
    role: int
    one: Any
    fact: Fact | None = None


@dataclass(frozen=True, eq=False)
class Changed:
    """35: what told, instead of a date, that there is none, or one that is past."""

    fact: Fact


@dataclass(eq=False)
class Span:
    """31: a wait of which stages have been decided (`decided`: the last's D) and others are left. `late`: a late cancel
    ended it, and its reason."""

    opened: Start
    last_start: Start
    cause: Start
    stage: int
    decided: int
    late: tuple[Fact, str] | None = None


def starts_keys(rule: Rule, fact: Fact) -> list[Key]:
    """The keys that an event starts, or restarts: those that it names; without one the shared one, where it's so."""
    if rule.per is None:
        return [None]
    found: list[Key] = list(keys(fact, rule.per))
    return found or ([None] if rule.shared else [])


def does(actions: Iterable[Action], fact: Fact) -> bool:
    """Is it one of these?"""
    return any(is_type(fact, action.events) and matches(fact, action.where) for action in actions)


def resolver(key: Key, opened: Start | None) -> Callable[[Any], Any]:
    """`key` and `start.x` on the right side of a test."""

    def resolve(told: Any) -> Any:
        if told == "key":
            return key
        if isinstance(told, str) and told.startswith("start."):
            found = values(opened.fact, told.removeprefix("start.")) if opened and opened.fact else []
            return found[0] if found else None
        return told

    return resolve


def cancel_of(rule: Rule, fact: Fact, key: Key, opened: Start | None) -> Action | None:
    """30: the cancel that an event is to the wait of this key."""
    return next(iter(cancels_of(rule, fact, key, opened)), None)


def cancels_of(rule: Rule, fact: Fact, key: Key, opened: Start | None) -> list[Action]:
    """30: all of them."""
    return [
        action
        for action in rule.cancel
        if is_type(fact, action.events)
        and matches(fact, action.where, resolver(key, opened))
        and concerns(action, fact, key, opened)
    ]


def taker_of(rule: Rule, fact: Fact, key: Key, opened: Start | None) -> Action | None:
    """12, 30: the cancel by which an order, of another cart, takes its products out of the cart of this key."""
    if not fact.items or ends_cart(rule, fact, key, opened):
        return None
    for action in rule.cancel:
        named = keys(fact, action.match) if isinstance(action.match, str) else []
        if action.takes and named and is_type(fact, action.events) and matches(fact, action.where):
            return action
    return None


def changes(
    rule: Rule, key: Key, opened: Start | None, fact: Fact, contents: Contents, *, fresh: bool, role: int
) -> str | None:
    """12, 13: what an event does to the cart of a key, as it ends waits or else. Returns the reason, if that ends a
    wait of it. `fresh`: what the closed end has already seen takes away only what came on top (21). What ends a wait as
    it compares with that leaves a cart as it is."""
    if role != ENDS:
        own = fact.type in CHANGES and cart_of(fact) == key and not fresh
        return rule.emptied if own and apply(fact, key, contents) else None
    ends, takes = cancel_of(rule, fact, key, opened), taker_of(rule, fact, key, opened)
    taken = False
    if ends_cart(rule, fact, key, opened):
        contents.take(None, fact.occurred_at, only_fresh=fresh)
    elif takes is not None:
        taken = contents.take(fact.items, fact.occurred_at, only_fresh=fresh)
    if ends is not None:
        return ends.reason
    return takes.reason if takes is not None and taken and not contents.lines else None


def ends_cart(rule: Rule, fact: Fact, key: Key, opened: Start | None) -> bool:
    """12: is an event a cancel of this key, whatever its wait is? Then nothing is left of its cart."""
    return any(not compares(action) for action in cancels_of(rule, fact, key, opened))


def compares(action: Action) -> bool:
    """Does it end only waits of which something holds, beside their key?"""
    pairs = action.match if isinstance(action.match, dict) else {}
    tests = [test if isinstance(test, dict) else {"is": test} for test in action.where.values()]
    rights = [*list(pairs.values()), *(right for test in tests for right in test.values())]
    named = [right for right in rights if isinstance(right, str) and (right == "key" or right.startswith("start."))]
    return len(named) > ("key" in pairs.values())


def concerns(action: Action, fact: Fact, key: Key, opened: Start | None) -> bool:
    """30: `match`: a field that equals the key, or several that equal the key or a field of the start; of a list one
    item."""
    if action.match is None:
        return True
    pairs = action.match if isinstance(action.match, dict) else {action.match: "key"}
    for path, right in pairs.items():
        found = keys(fact, path)
        if not found and action.without_key == "all":
            continue
        if {str(one) for one in of_start(right, key, opened) if one is not None}.isdisjoint(found):
            return False
    return True


def of_start(right: str, key: Key, opened: Start | None) -> Iterable[Any]:
    """The key, or what a field of the start holds."""
    if right == "key":
        return [key]
    return () if opened is None or opened.fact is None else values(opened.fact, right.removeprefix("start."))


@dataclass(frozen=True)
class Known:
    """What the walk is given: facts that rules may look at, this key's starts, and what stands.

    `settled(token)`: a decision covers it, or it was late. `ends(wait)`: `until`'s first moment from its start on, with
    the event, or None. `due(wait)`: D, by its cause. `fired`: due of its last fired decision. `stays(start)`: what it
    opened was open at a tie. `cart`: what was in the key's cart at its closed end, what came late included.
    """

    facts: list[Fact]
    starts: list[Start]
    settled: Callable[[object], bool]
    until: Callable[[Wait], tuple[int, Fact | None] | None]
    due: Callable[[Wait], int]
    lateness: int
    fired: int | None = None
    span: Span | None = None
    changed: tuple[Changed, ...] = ()
    stays: Callable[[Start], bool] = lambda start: False
    follows: Callable[[Start, Fact], bool] = lambda start, fact: False
    cart: Contents | None = None


def begin(rule: Rule, key: Key, start: Start, known: Known) -> Wait:
    """A new wait."""
    wait = Wait(rule, key, start, start, start)
    wait.move(start, known)
    return wait


def steps(rule: Rule, key: Key, known: Known) -> list[Step]:
    """All that may do something to the key, in the order in which it happened. A cancel that was late, or that a
    decision covers, still ends what else is open: before a tie it was somebody else's."""
    found: list[Step] = []
    for one in known.starts:
        if not known.settled(one.token):
            by = one.fact if one.of_event else None
            found.append(Step(one.order if by is None else order(by, STARTS, rule), STARTS, one, by))
    found += [Step(order(one.fact, STARTS), STARTS, one) for one in known.changed if not known.settled(one.fact)]
    starts = {step.fact for step in found}
    for fact in known.facts:
        restarts = does(rule.restart, fact) and key in starts_keys(rule, fact)
        if not known.settled(fact) and restarts:
            moved = Start(fact, fact, fact.occurred_at, fact.received_at)
            found.append(Step(order(fact, RESTARTS, rule), RESTARTS, moved, None if fact in starts else fact))
        elif not known.settled(fact) and rule.of_cart and fact.type in CHANGES and fact not in starts:
            found.append(Step(order(fact, LOOKS, rule), LOOKS, fact, fact))
        if any(
            is_type(fact, action.events) for action in (*rule.cancel, *(step.action for step in rule.sequence[-1:]))
        ):
            found.append(Step(order(fact, ENDS), ENDS, fact, fact))
    return sorted(found, key=lambda step: step.order)


def resumed(rule: Rule, key: Key, span: Span, known: Known) -> Wait:
    """31: what is left of a wait of which a stage has been decided."""
    wait = Wait(rule, key, span.opened, span.last_start, span.cause, span.stage, span.decided)
    wait.move(span.cause, known)
    return wait


def walk(rule: Rule, key: Key, known: Known) -> Wait | None:
    """7, 26, 29, 31: the key's first undecided wait; None: none. 2: one that ended is decided no later than the next,
    where that is due before it would have been."""
    wait = first(rule, key, known)
    if wait is not None and wait.ended_at is not None and (rule.date is not None or rule.length is not None):
        after = wait.ended_at
        later = walk(rule, key, replace(known, starts=[one for one in known.starts if one.at > after]))
        wait.ready = wait.ready if later is None else min(wait.ready, later.ready)
    return wait


def first(rule: Rule, key: Key, known: Known) -> Wait | None:
    """The same, but for when it is decided."""
    wait: Wait | None = None
    end: tuple[int, Fact | None] | None = None
    contents = None if known.cart is None else known.cart.as_stock()
    if known.span is not None:
        wait = resumed(rule, key, known.span, known)
        if known.span.late is not None:
            wait.shows(contents)
            return finish(wait, known.span.late[0].occurred_at, *known.span.late, known)
        end = known.until(wait)
    earlier = contents and contents.copy()
    last = -1
    for step in steps(rule, key, known):
        place, at, role, one = step.order, step.order[0], step.role, step.one
        if known.span is not None and at <= known.span.decided:
            if contents is not None and step.fact is not None:
                changes(rule, key, None, step.fact, contents, fresh=role == ENDS, role=role)
            continue
        if wait is not None and end is not None and end[0] < at and end[0] <= wait.due:
            break
        if wait is not None and at > wait.due:
            wait.shows(contents)
        if at > last:
            earlier, last = contents and contents.copy(), at
        before, emptied = contents and contents.copy(), None
        if contents is not None and step.fact is not None:
            opened = None if wait is None else wait.opened
            emptied = changes(rule, key, opened, step.fact, contents, fresh=known.settled(step.fact), role=role)
        if wait is None:
            starts = role == STARTS and not isinstance(one, Changed) and emptied is None
            if starts and (known.stays(one) or not barred(rule, at, known)):
                wait = begin(rule, key, one, known)
                end = known.until(wait)
        elif emptied is not None:
            assert step.fact is not None
            if at <= wait.due:
                wait.shown, wait.left = before, contents
                return finish(wait, at, step.fact, emptied, known, place)
            wait.overtaking.append((step.fact.received_at, False))
        elif role == LOOKS:
            pass
        elif isinstance(one, Changed):
            if at <= wait.due:
                return finish(wait, at, one.fact, "date_changed", known, place)
            wait.overtaking.append((one.fact.received_at, False))
        elif role == STARTS and one.of is not None:
            pass  # 35: it waits until this one is decided
        elif at > wait.due:
            if role == STARTS and one.fact is not None and rule.waits and not barred(rule, at, known):
                wait.overtaking.append((one.known, True))
            elif role == ENDS and (cancel_of(rule, one, key, wait.opened) or known.follows(wait.last_start, one)):
                wait.overtaking.append((one.received_at, False))
        elif role == ENDS:
            action = cancel_of(rule, one, key, wait.opened)
            if action is not None:
                return finish(wait, at, one, action.reason, known, place)
            if known.follows(wait.last_start, one):
                wait.shows(contents)
                return finish(wait, at, one, BROKEN, known, place)
        elif role == STARTS and known.span is not None:
            if not one.turned and not barred(rule, at, known):
                wait.begun = one if one.by else None
                wait.shown, wait.left = before, earlier
                return finish(wait, at, one.fact, "begun_anew", known, (at, -1))
        elif not one.turned:
            if role == STARTS:
                wait.last_start = one
            wait.move(one, known)
    if wait is not None:
        wait.shows(contents)
        by_until(wait, end, known)
    return wait


def once(rule: Rule, key: Key, start: Start, known: Known, remember: int) -> Wait:
    """14, 15: the wait of a key that starts once; the first cancel up to D, in event time, ends it."""
    wait = begin(rule, key, start, known)
    if known.span is not None:
        wait = resumed(rule, key, known.span, known)
        if known.span.late is not None:
            return finish(wait, known.span.late[0].occurred_at, *known.span.late, known)
    end = known.until(wait)
    for step in steps(rule, key, known):
        place, one = step.order, step.one
        if place[1] == STARTS or (wait.decided is not None and place[0] <= wait.decided):
            continue
        if end is not None and end[0] < place[0] and end[0] <= wait.due:
            break
        if place[1] == RESTARTS:
            if start.order < place and place[0] <= wait.due:
                wait.move(one, known)
            continue
        action = cancel_of(rule, one, key, start)
        if action is None or not counts_for(action, one, place, start, remember):
            continue
        if place[0] <= wait.due:
            return finish(wait, place[0], one, action.reason, known)
        wait.overtaking.append((one.received_at, False))
    by_until(wait, end, known)
    return wait


def counts_alone(start: Start, rule: Rule, known: Known) -> bool:
    """38: is it still to be decided, by itself?"""
    return not known.settled(start.token) and not barred(rule, start.at, known)


def arrived(rule: Rule, key: Key, start: Start, known: Known) -> Wait:
    """38: a start that nothing is waited for, decided by itself; nothing overtakes it."""
    wait = begin(rule, key, start, known)
    for step in steps(rule, key, replace(known, starts=[])):
        place, one = step.order, step.one
        action = cancel_of(rule, one, key, start) if place[1] == ENDS else None
        if action is not None and start.order < place and place[0] <= wait.due:
            finish(wait, place[0], one, action.reason, known, place)
            break
    else:
        by_until(wait, known.until(wait), known)
    if rule.on_arrival:
        wait.ready = start.known
    return wait


def barred(rule: Rule, at: int, known: Known) -> bool:
    """`again`: is it too soon for a key to start anew?"""
    return known.fired is not None and rule.again > 0 and at < known.fired + rule.again


def by_until(wait: Wait, end: tuple[int, Fact | None] | None, known: Known) -> None:
    """29: `until` ends it, if it held up to D; else it is decided L after D."""
    if end is not None and end[0] <= wait.due:
        assert wait.rule.until is not None
        finish(wait, end[0], end[1], wait.rule.until[1], known)
    else:
        wait.ready = wait.due + known.lateness


def finish(wait: Wait, at: int, by: Fact | None, reason: str, known: Known, covered: Order | None = None) -> Wait:
    """29, 31: it ended at `at`; decided L after D all the same, but what is left of one of which a stage was decided L
    after what ended it. `covered`: what stands before it is closed; None: all up to that moment."""
    wait.ended_at, wait.ended_by, wait.reason, wait.covered = at, by, reason, covered
    wait.ready = (wait.due if wait.decided is None else at) + known.lateness
    return wait


def counts_for(action: Action, fact: Fact, place: Order, start: Start, remember: int) -> bool:
    """14: after the start, or, where it may stand before, not forgotten when the start was received."""
    if not action.before_start:
        return place > start.order
    early = fact.received_at <= start.known and named(action, fact)
    return not early or start.known - fact.occurred_at <= remember


def named(action: Action, fact: Fact) -> bool:
    """Does it name whom it ends? What ends all of a person isn't forgotten."""
    paths = action.match if isinstance(action.match, dict) else [action.match]
    return action.match is not None and any(keys(fact, path) for path in paths)
