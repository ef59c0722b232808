"""Does an event cost the same however long a person has been known, and whoever they are?

    python -m benchmarks.history                   a person's history; a robot's 8,000 carts against 8,000 people's one
    python -m benchmarks.history --carts 40000     a larger robot

CPU of the second hop without its store, which is given and takes packed profiles: each day's, or second's, batch is
unpacked, taken in, decided as far as time has come, and packed again.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.core import TOPOLOGY
from pipeline.profile.packed import PackedRow, pack_row
from pipeline.profile.profile import (
    Profile,
    State,
    advance,
    decode,
    encode_profile,
    new_profile,
    receive_all,
    settle,
    wakes_at,
)
from pipeline.topology import load
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row

SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
T0 = 1_700_000_000_000
AGES = {"a month": 60, "a year": 365, "three years": 1_095}  # days, when the 30 end that are measured
PEOPLE = 40  # at a time, to measure one of them
FOLDS = 5  # days: people's events are folded that many at a time (second_hop.UNFOLDED)
WINDOWS = 6  # of so many days, taken in turns: their median counts
CARTS = 8_000
UNFOLDED = 4
AT_MOST_GROWN, AT_MOST_ROBOT = 1.2, 3.0
FOREVER = 1 << 60

Told = tuple[str, dict[str, Any]]


class Owner:
    """Profiles as the store holds them, and what has been spent on them."""

    def __init__(self) -> None:
        self.book = RuleBook(load(TOPOLOGY, {}))
        self.stored: dict[str, bytes] = {}
        self.wakes: dict[str, int] = {}
        self.seconds = 0.0
        self.written = 0
        self.decided = 0
        self._numbers = 0

    def row(self, root: str, at: int, kind: str, data: dict[str, Any]) -> PackedRow:
        """An event of that person, received when it occurred."""
        n = self._numbers = self._numbers + 1
        return pack_row(Row(n, root, kind, at, at, f"{n:032d}", n * 2_654_435_761, ["anonymous_id", root], data))

    def batch(self, rows: list[PackedRow], clock: int) -> None:
        """Take these in and decide everything before `clock`."""
        due = [root for root, at in self.wakes.items() if at < clock] if clock < FOREVER else list(self.wakes)
        began = time.process_time()
        profiles: dict[str, State | None] = {}
        for root in {*due, *(row.root for row in rows)}:
            raw = self.stored.get(root)
            profiles[root] = new_profile() if raw is None else decode(raw)
        changed: dict[str, State] = {root: state for root in due if (state := profiles[root]) is not None}

        def look(_: str, profile: Profile) -> None:
            self.decided += len(advance(self.book, profile, clock))

        receive_all(self.book, rows, profiles, changed, elsewhere)
        settle(self.book, changed, clock, UNFOLDED, look)
        for root, state in changed.items():
            assert isinstance(state, Profile)
            raw = self.stored[root] = encode_profile(state)
            self.written += len(raw)
            at = wakes_at(self.book, state)
            if at is None:
                self.wakes.pop(root, None)
            else:
                self.wakes[root] = at
        self.seconds += time.process_time() - began


def elsewhere(row: PackedRow) -> None:
    """No profile moves here."""
    raise AssertionError(row.root)


def mail(day: int) -> Told:
    """An e-book every day."""
    return "email_sent", {"message_id": f"{day:020d}@mail.example", "link_ids": ["ebook"], "campaign": "daily"}


def look(day: int) -> Told:
    """The same cart is looked at, and never anything put in."""
    return "cart_viewed", {"cart_id": "the-one-and-only"}


def cart(day: int) -> Told:
    """A new cart every day, and nobody buys."""
    body = {
        "cart_id": f"cart-{day:020d}",
        "product_id": f"p{day % 97}",
        "quantity": 1.0,
        "price": 9.5,
        "currency": "EUR",
    }
    return "product_added", body


def film(day: int) -> Told:
    """A film a day, to its end."""
    body = {
        "film": f"film-{day:020d}",
        "total_length": 60.0,
        "watched_from": 0.0,
        "watched_to": 60.0,
        "title": "A film",
    }
    return "video_progressed", body


class People:
    """To whom the same thing happens once a day."""

    def __init__(self, told: Callable[[int], Told]) -> None:
        self.owner = Owner()
        self._told = told
        self._day = 0

    def live(self, days: int) -> None:
        """So many days go by."""
        for day in range(self._day + 1, self._day + days + 1):
            kind, data = self._told(day)
            at = T0 + day * DAY
            rows = [self.owner.row(f"{n:016x}", at + n, kind, data) for n in range(PEOPLE)]
            self.owner.batch(rows, at + HOUR // 2)
        self._day += days


def history(told: Callable[[int], Told]) -> Iterator[tuple[str, float, float, float]]:
    """(age, CPU µs an event, bytes a person, decisions an event) of people to whom this happens once a day. They are
    measured in turns, as a machine is now faster and now slower.
    """
    aged = {name: People(told) for name in AGES}
    for name, people in aged.items():
        people.live(AGES[name] - FOLDS * WINDOWS)
    spent: dict[str, list[float]] = {name: [] for name in AGES}
    before = {name: people.owner.decided for name, people in aged.items()}
    for _ in range(WINDOWS):
        for name, people in aged.items():
            began = people.owner.seconds
            people.live(FOLDS)
            spent[name].append(people.owner.seconds - began)
    for name, people in aged.items():
        cost = median(spent[name]) / PEOPLE / FOLDS
        made = (people.owner.decided - before[name]) / PEOPLE / FOLDS / WINDOWS
        yield name, cost * 1e6, sum(map(len, people.owner.stored.values())) / PEOPLE, made


def carts(number: int, roots: int, apart: int) -> tuple[float, float, int]:
    """(CPU µs a cart, bytes written a cart, decisions) of so many carts of so many people, `apart` ms of event time
    from each other, in batches of a second, or as they come; all decided.
    """
    owner = Owner()
    step = max(1, SECOND // apart)
    for start in range(0, number, step):
        at = T0 + start * apart
        rows = [
            owner.row(f"{n % roots:016x}", T0 + n * apart, *cart(n)) for n in range(start, min(number, start + step))
        ]
        owner.batch(rows, at)
    while owner.wakes:
        owner.batch([], min(owner.wakes.values()) + SECOND)
    return owner.seconds / number * 1e6, owner.written / number, owner.decided


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__.splitlines()[0])
    parser.add_argument("--carts", type=int, default=CARTS)
    parser.add_argument("--only", choices=["history", "robot"])
    options = parser.parse_args(arguments)
    gc.freeze()
    if options.only != "robot":
        print(f"a person's history: at most {AT_MOST_GROWN} times after three years what it was after a month")
        for told in (mail, look, cart, film):
            month = 0.0
            for age, cost, stored, decided in history(told):
                month = month or cost
                print(f"  {told.__name__} a day, {age:12} {cost:8.1f} µs an event {cost / month:6.2f} times"
                      f" {stored:8,.0f} bytes {decided:6.2f} decisions an event", flush=True)  # fmt: skip
    if options.only != "history":
        print(f"a robot: {options.carts:,} carts, at most {AT_MOST_ROBOT:.0f} times as many people's one")
        for name, apart in (("50 a second", SECOND // 50), ("one a second", SECOND), ("one a minute", 60 * SECOND)):
            costs = []
            for who, roots in (("people", options.carts), ("robot", 1)):
                cost, written, decided = carts(options.carts, roots, apart)
                costs.append(cost)
                print(f"  {name:12} {who:6} {cost:8.1f} µs a cart {cost / costs[0]:6.2f} times"
                      f" {written:8,.0f} bytes written a cart {decided:7,} decisions", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
