"""Whether a key that is decided starts again (docs/rules.md, once and again). Each rule has one of these, and asks it:
which starts count, what a decision leaves behind, what becomes of that where two persons turn out to be one, when it is
forgotten, and what is said of it.
"""

from __future__ import annotations

from pipeline.topology.model import Rule
from pipeline.triggers.facts import CONTENTS, NEVER, RESTART, START, Fact, Key, Open, Order

FOREVER = 1 << 60


class Anew:
    """It starts by whatever occurs after what is decided.

    `single`: the first start alone counts. `some`: not every start does. `lasting`: what is decided is never forgotten.
    In words: `needs`, what a start needs besides; `starts`, what it does then, where it may move a wait.
    """

    single = False
    some = False
    lasting = False
    needs = ""
    starts = ""

    def may_open(self, key: Key, start: Fact) -> bool:
        """Whether a start may open a wait, where none is open."""
        return start.occurred_at > key.closed[0] and not barred(key, start)

    def takes(self, key: Key, fact: Fact) -> bool:
        """Take a fact in that has just become known. False: it counts where it stands among the others."""
        return False

    def shut(self, key: Key, due: int, end: Order) -> bool:
        """A wait that was due then is decided. False: the key is closed up to `end`, and what came later is open."""
        return False

    def fired(self, key: Key, due: int) -> None:
        """So was a trigger."""

    def absorbs(self, key: Key) -> bool:
        """Whether what is decided of a key absorbs what is open of it elsewhere."""
        return False

    def joined(self, a: Key, b: Key, facts: list[Fact], left: Open | None, now: int) -> tuple[list[Fact], int | None]:
        """Of the `facts` of two who turn out to be one those that count, and which decision is remembered. `left`: what
        is left of a wait.
        """
        return facts, max((each for each in (a.decided, b.decided) if each is not None), default=None)

    def marked(self, key: Key) -> None:
        """There is a mark of a key: something of it was forgotten."""

    def over(self, key: Key) -> bool:
        """Whether a key never starts again in which nothing waits."""
        return False

    def mark(self, name: str) -> str | None:
        """What is marked of a key that is over; None: none ever is."""
        return None

    def gone(self, key: Key, horizon: int, now: int) -> bool:
        """Whether a key may go of which nothing is left."""
        return key.closed[0] < horizon and (key.barred is None or key.barred <= horizon)


class Once(Anew):
    """It starts once: for ever, or until its decision is forgotten, so many ms after it was due."""

    single = some = True
    needs = "if none was before"
    starts = "starts a wait, if none was started before"

    def __init__(self, forget_ms: int | None) -> None:
        self._forget = forget_ms
        self.lasting = forget_ms is None

    def may_open(self, key: Key, start: Fact) -> bool:
        """Whether none has started it, or that is forgotten."""
        return key.decided is None or (key.open is None and self._forgotten(key.decided, start.received_at))

    def takes(self, key: Key, fact: Fact) -> bool:
        """The first start, and nothing else."""
        if key.decided is not None and self.may_open(key, fact):
            key.decided = None
            key.closed = NEVER
        if fact.role == START and key.decided is None and not key.facts:
            key.facts.append(fact)
        return True

    def shut(self, key: Key, due: int, end: Order) -> bool:
        """Nothing else is open."""
        key.facts = []
        key.decided = due
        key.closed = max(key.closed, end)
        return True

    def absorbs(self, key: Key) -> bool:
        """The decided one does."""
        return key.decided is not None

    def joined(self, a: Key, b: Key, facts: list[Fact], left: Open | None, now: int) -> tuple[list[Fact], int | None]:
        """The decided one absorbs the open one; of two open ones the first received stays."""
        known = [each for each in (a.decided, b.decided) if each is not None]
        if left is None:
            known = [each for each in known if not self._forgotten(each, now)]
        if known:
            return [], max(known)
        return sorted(facts, key=lambda fact: (fact.received_at, fact.occurred_at, fact.event_id))[:1], None

    def marked(self, key: Key) -> None:
        """It was decided, nobody knows when; or, if that is forgotten one day, may have been."""
        if self.lasting:
            key.facts, key.open, key.decided = [], None, key.decided or 0
        else:
            key.bounded = True

    def over(self, key: Key) -> bool:
        """Once it is decided."""
        return self.lasting and key.decided is not None

    def mark(self, name: str) -> str | None:
        """Its name."""
        return name if self.lasting else None

    def gone(self, key: Key, horizon: int, now: int) -> bool:
        """It is forgotten, or a mark is enough."""
        return key.decided is None or self.lasting or self._forgotten(key.decided, now)

    def _forgotten(self, decided: int, now: int) -> bool:
        return self._forget is not None and now > decided + self._forget


class Resting(Anew):
    """When it has fired, it starts again so many ms after that was due. `moves`: a start moves a wait that is open."""

    some = True
    needs = "if its last trigger is long enough ago"
    starts = "starts a wait, or begins it anew, if its last reminder is long enough ago"

    def __init__(self, rest_ms: int, *, moves: bool) -> None:
        self._rest, self._moving = rest_ms, moves

    def takes(self, key: Key, fact: Fact) -> bool:
        """One that comes too soon, and moves nothing."""
        return fact.role == START and barred(key, fact) and not self._moves(key, fact)

    def fired(self, key: Key, due: int) -> None:
        """What has started since, and too soon, begins nothing either."""
        key.barred = max(key.barred or 0, due + self._rest)
        key.facts = [
            fact for fact in key.facts if fact.role != START or not barred(key, fact) or self._moves(key, fact)
        ]

    def _moves(self, key: Key, start: Fact) -> bool:
        """A start that begins nothing moves a wait that a tie brought. False: it is nothing at all."""
        if not self._moving:
            return False
        start.role = CONTENTS if key.open is not None else RESTART
        return start.turned is None


class FiringOnce(Resting):
    """When it has fired, it never starts again."""

    needs = "if none of its key has fired"
    starts = "starts a wait, or begins it anew, if none of its key has fired"

    def __init__(self, *, moves: bool) -> None:
        super().__init__(FOREVER, moves=moves)

    def takes(self, key: Key, fact: Fact) -> bool:
        """Whatever comes when it is over, too."""
        return self.over(key) or super().takes(key, fact)

    def over(self, key: Key) -> bool:
        """When it has fired."""
        return key.barred is not None and not key.facts and key.open is None

    def marked(self, key: Key) -> None:
        """It has fired. What is open of it goes on."""
        key.barred = FOREVER

    def mark(self, name: str) -> str | None:
        """Another than that there was something: a key that hasn't fired may leave that."""
        return name + "\0"

    def gone(self, key: Key, horizon: int, now: int) -> bool:
        """A mark is enough."""
        return key.closed[0] < horizon


def of(rule: Rule) -> Anew:
    """A rule's."""
    if rule.once:
        return Once(rule.forget_ms)
    if rule.again == "never":
        return FiringOnce(moves=not rule.at_once)
    return Resting(rule.rest_ms, moves=not rule.at_once) if rule.rest_ms else Anew()


def barred(key: Key, start: Fact) -> bool:
    """Whether a key that has fired may not start anew by this."""
    return key.barred is not None and start.occurred_at < key.barred
