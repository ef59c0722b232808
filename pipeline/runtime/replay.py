"""`pipeline replay`: the same pure code in one process, over a recording, with a virtual clock.

The input is taken as one partition, line by line; at its end the recording counts as complete (semantics 5).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from pipeline.errors import InvalidEvent
from pipeline.events.model import NOW, Event
from pipeline.flow import Intake, Upkeep
from pipeline.identity.graph import Graph, compile_namespaces
from pipeline.profile.packed import pack_row
from pipeline.profile.profile import Profile, new_profile, stand_still
from pipeline.topology.model import Topology
from pipeline.triggers.changes import Output, SegmentChange
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook

FOREVER = 1 << 60
SOURCE = "replay-0"


class Replay:
    """Feed events in order; decisions come out as the watermark passes them. `profiles`: profile id -> Profile.
    `changes`: of segments, so far.
    """

    def __init__(self, topology: Topology) -> None:
        self.book = RuleBook(topology)
        self.intake = Intake(topology, self.book)
        self.upkeep = Upkeep(self.book)
        self.graph = Graph()
        self.profiles: dict[str, Profile] = {}
        self.high = 0
        self.changes: list[SegmentChange] = []
        self._namespaces = compile_namespaces(topology.identifiers)
        self._timers: list[tuple[int, str]] = []
        self._offset = -1
        self.duplicates = 0

    def feed(self, event: Event, clock: int) -> Iterator[Decision]:
        """One event. `clock`: when the replay started (UTC ms): what says it was received later counts as of then.

        Raises InvalidEvent.
        """
        self._offset += 1
        event.count_by(clock, self.intake.max_ahead, NOW)
        row, asked = self.intake.prepare(event, self._offset, self.high, clock)
        if asked is not None:
            answer = self.graph.resolve(SOURCE, self.intake.ask(row, asked), self._namespaces)
            self.intake.answer(row, asked, answer)
            for i in range(0, len(answer.merges), 2):
                self._move(answer.merges[i], answer.merges[i + 1])
        row.root = self.graph.root(row.root)
        profile = self.profiles.get(row.root)
        if profile is None:
            profile = self.profiles[row.root] = new_profile()
        if not self.upkeep.receive(profile, pack_row(row)):
            self.duplicates += 1
        self._arm(row.root, profile)
        if event.received_at > self.high:
            self.high = event.received_at
            yield from self.advance(self.high - self.intake.disorder)

    def advance(self, upto: int) -> Iterator[Decision]:
        """Decide everything due before `upto`, in order."""
        timers = self._timers
        while timers and timers[0][0] < upto:
            at, profile_id = heapq.heappop(timers)
            profile = self.profiles.get(profile_id)
            if profile is None or self.upkeep.wakes_at(profile) != at:
                continue
            yield from self._out(self.upkeep.decide(profile_id, profile, min(upto, at + 1)))
            self._arm(profile_id, profile)

    def _out(self, made: Iterable[Output]) -> Iterator[Decision]:
        for each in made:
            if isinstance(each, SegmentChange):
                self.changes.append(each)
            else:
                yield each

    def finish(self, until: int | None = None) -> Iterator[Decision]:
        """The recording is complete: decide all that waits. For conditions time stands still from its end on, or from
        `until` (UTC ms): nothing turns any more.
        """
        yield from self.advance(max(self.high, until or 0) + 1)
        self.book.still = True
        if self.book.watches is not None:
            for profile_id, profile in self.profiles.items():
                yield from self._out(self.upkeep.decide(profile_id, profile, max(self.high, until or 0) + 1))
                stand_still(profile)
                self._arm(profile_id, profile)
            self.book.watches.still = True
        yield from self.advance(FOREVER)

    def told(self) -> Iterator[Decision]:
        """The recording goes on: what is decided on arrival is told, also where the watermark hasn't come to it."""
        for profile_id, profile in self.profiles.items() if self.book.arriving else ():
            yield from self._out(self.upkeep.tell_now(profile_id, profile, 0))

    def waiting(self) -> int:
        """Waits that are still open, also where only the disorder keeps them from being seen, or decided."""
        held = [
            decision
            for profile_id, profile in self.profiles.items()
            for decision in self.upkeep.decide(profile_id, profile, self.high + 1)
            if isinstance(decision, Decision) and decision.retracts is None and decision.recovers is None
        ]
        return len(held) + sum(
            key.due is not None
            for profile in self.profiles.values()
            for person in profile.persons
            for state in person.rules.values()
            for key in state.keys.values()
        )

    def _arm(self, profile_id: str, profile: Profile) -> None:
        at = self.upkeep.wakes_at(profile)
        if at is not None:
            heapq.heappush(self._timers, (at, profile_id))

    def _move(self, loser: str, winner: str) -> None:
        moved = self.profiles.pop(loser, None)
        if moved is None:
            return
        into = self.profiles.get(winner)
        self.profiles[winner] = moved if into is None else self.upkeep.merge(into, moved)
        self._arm(winner, self.profiles[winner])


def run(topology: Topology, events: Iterable[Event], clock: int) -> Iterator[Decision | InvalidEvent]:
    """All decisions over `events`, and every event that was refused, in order."""
    replay = Replay(topology)
    for event in events:
        try:
            yield from replay.feed(event, clock)
        except InvalidEvent as bad:
            yield bad
    yield from replay.finish()
