"""What is known of one correlation key of a rule: its facts, what ends its waits, what was decided; and a wait, as it
is found among them (waits.py, stages.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pipeline.language import carts
from pipeline.language.carts import Change, Line, Names
from pipeline.language.references import Asked, meet_key, meet_start
from pipeline.topology.model import BROKEN
from pipeline.triggers.sequences import AT_ONCE

# In event time: occurred_at, its rank among what occurred in one millisecond (rules.rank), received_at, event id.
Order = tuple[int, int, int, str]
NEVER: Order = (-1, -1, -1, "")
START, RESTART, CONTENTS = 1, 2, 0  # what a fact does: it starts a wait, moves it, or only changes a cart
ENDS = 4  # the rank of what ends: it comes last
PAST = ENDS + 1  # after all that occurred in one millisecond


class Folded(msgspec.Struct, array_like=True, gc=False):
    """What came right before a fact, one after another, and was folded into it: the first occurred at `first`. `lines`:
    what is in the cart after the fact.
    """

    first: int
    lines: list[Line]


class Fact(msgspec.Struct, array_like=True, gc=False):
    """What one event means to one key. `role`: START, RESTART or CONTENTS; `rank`: see `rules.rank`.

    `change` on a cart's lines, or None. `told`: what the payload wants of it (payloads.py). `folded`: what it stands
    for besides, where there were too many. `turned`: it starts because a condition began to hold then (UTC ms);
    `timed`: by time alone, and the event is the last that it counted. `kept`: of a start, path -> what it told that the
    rule speaks of. `length`: of a wait that counts from it, ms, where that isn't the same for all.
    """

    occurred_at: int
    received_at: int
    event_id: str
    role: int
    fingerprint: int
    rank: int
    change: Change | None = None
    trace: str | None = None
    told: list[Any] | None = None
    folded: Folded | None = None
    turned: int | None = None
    timed: bool = False
    kept: dict[str, Any] | None = None
    length: int | None = None

    @property
    def order(self) -> Order:
        return (self.occurred_at, self.rank, self.received_at, self.event_id)

    @property
    def begins(self) -> int:
        """When what it stands for began."""
        return self.occurred_at if self.folded is None else self.folded.first

    def leaves(self, lines: list[Line]) -> tuple[list[Line], bool]:
        """What it leaves in a cart, and whether it took something out."""
        if self.folded is not None:
            return self.folded.lines, False
        if self.change is None:
            return lines, False
        lines = lines.copy()
        return lines, carts.apply(lines, self.change, self.occurred_at)


class End(msgspec.Struct, array_like=True, gc=False):
    """An event that ends waits.

    `takes`: it doesn't end a cart, it takes what was ordered out of every one but `own`, the key of the cart whose
    order it was; None: it ends. `asks`: it ends only waits of which these hold, and leaves a cart as it is.
    """

    occurred_at: int
    received_at: int
    event_id: str
    reason: str
    before_start: bool = False
    takes: list[Names] | None = None
    own: str | None = None
    asks: list[Asked] | None = None

    @property
    def identity(self) -> tuple[Order, str, str]:
        """Differs from that of every other end of one key."""
        return (self.order, self.reason, repr(self.asks) if self.asks else "")

    def concerns(self, name: str) -> bool:
        """Whether it may end a wait of that key."""
        return name != self.own and (not self.asks or meet_key(self.asks, name))

    def applies(self, start: dict[str, Any] | None) -> bool:
        """Whether it ends a wait of a key that it concerns, whose start told that."""
        return not self.asks or meet_start(self.asks, start)

    def is_step(self, wait: Wait) -> bool:
        """Whether it is itself a step of the sequence that it must not follow."""
        at, *_, event_id = wait.last_start
        if self.reason != BROKEN or self.occurred_at != at:
            return False
        return self.event_id == event_id or self.event_id in (wait.kept or {}).get(AT_ONCE, ())

    @property
    def order(self) -> Order:
        return (self.occurred_at, ENDS, self.received_at, self.event_id)

    def leaves(self, lines: list[Line], seen: list[Line] | None = None) -> list[Line]:
        """What it leaves in a cart that it concerns. `seen`: what it has left there already; then it takes only what a
        tie has put on top of that. What must not follow a sequence takes nothing.
        """
        if self.asks or lines is seen or self.reason == BROKEN:
            return lines
        if seen is not None:
            return carts.less_new(lines, seen, self.takes)
        if self.takes is None:
            return carts.without(lines, self.occurred_at)
        return carts.bought(lines, self.takes, self.occurred_at)


class Fired(msgspec.Struct, array_like=True, gc=False):
    """A trigger that may still be retracted. `digest`: its id's bytes. `waited`: from its cause to `due`, and `moved`:
    from its wait's last start to its cause, ms. `lines`: what it told of a cart, where an order of another cart may
    show that it is theirs already. `bounded`: it said so. `published`: only then are people told that it is taken back.
    `stage`: its name, where its wait has several. `decided`, `until`: between these (UTC ms) what ends a wait is its
    success, where the rule asks for that. `timed`: time alone had started it. `kept`: what is kept of its wait's start.
    """

    digest: bytes
    cause_event_id: str
    due: int
    waited: int
    moved: int = 0
    lines: list[Names] = []
    bounded: bool = False
    published: bool = True
    stage: str | None = None
    decided: int = 0
    until: int = 0
    timed: bool = False
    kept: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The trigger's."""
        return self.digest.hex()

    @property
    def order(self) -> tuple[int, str, bytes, bool]:
        """By when it was due, and by its cause."""
        return (self.due, self.cause_event_id, self.digest, self.published)

    @property
    def occurred_at(self) -> int:
        """The cause's."""
        return self.due - self.waited

    @property
    def started(self) -> int:
        """When the last start occurred; of one millisecond what ends comes last."""
        return self.due - self.waited - self.moved


class Open(msgspec.Struct, array_like=True, gc=False):
    """What is left of a wait of which stages are decided. `stage`: the next one's number. `closed`: up to where its own
    decisions closed its key. `end`, `reason`: what came late and ends it. `opened`: the start that opened it, where
    that isn't the last one; `kept`: what is kept of it.
    """

    stage: int
    closed: Order
    cause: Fact
    last_start: Fact | None = None
    end: Order | None = None
    reason: str = ""
    kept: dict[str, Any] | None = None
    opened: Fact | None = None

    @property
    def start(self) -> Fact:
        """The last one."""
        return self.cause if self.last_start is None else self.last_start


class Key(msgspec.Struct, array_like=True, gc=False):
    """All that one rule remembers of one correlation key.

    `closed`: no wait may begin or move at or before it. `lines`: a cart's contents there. `due`: the event-time moment
    at which the first undecided wait is decided, if nothing more comes (due time + lateness), or None.
    `decided`: for a rule that starts once, the due time of the wait that was decided. `folded`: up to there facts are
    folded into one another; `bounded`: something occurred before, and was received later. `open`: the wait of which the
    last decision left stages. `credits`: the last triggers, while a success of theirs may be told. `barred`: a start
    that occurred before that moment begins nothing.
    """

    closed: Order = NEVER
    facts: list[Fact] = []
    ends: list[End] = []
    lines: list[Line] = []
    fired: list[Fired] = []
    due: int | None = None
    decided: int | None = None
    folded: Order | None = None
    bounded: bool = False
    open: Open | None = None
    credits: list[Fired] = []
    barred: int | None = None


class Wait(msgspec.Struct, gc=False):
    """One wait, or one stage of it, as a walk finds it. `end` None: it runs out at `due`.

    `lines`: the cart as the wait ends; `left`: what is in it right after. `closes`: up to where it closes its key, if
    that isn't its end. `moment`: when it is decided (UTC ms), where that isn't lateness after `due`. `opened`: the
    start that opened it; `kept`: what is kept of that. `length`: ms from its cause to `due`, where that isn't the same
    for all.
    """

    cause: Fact
    last_start: Order
    due: int
    end: Order | None = None
    reason: str = "due"
    lines: list[Line] = []
    left: list[Line] = []
    stage: int = 0
    closes: Order | None = None
    moment: int | None = None
    opened: Fact | None = None
    kept: dict[str, Any] | None = None
    length: int = 0


Until = Callable[[int, int, int], tuple[int, str] | None]
"""When a wait began, and from when to when: the first moment at which what it waits until holds, and the event that
made it hold, or "".
"""
