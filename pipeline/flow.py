"""The map: what happens to one batch, in verbs. Read this first.

    first hop    events    -> prepare   check it, find whose it is among what is cached, shape what is handed on
                           -> ask       what the graph is to be asked of those that nothing is known of yet
                           -> answer    whose it is, as the graph says
                 rows      -> a resolved record for every partition (wire/)

    second hop   rows      -> receive   count at once, keep for the fold what rules look at
                 merges    -> merge     two profiles that turn out to be one person's
                           -> tell_now  what is decided on arrival
                           -> wakes_at  when a profile is to be looked at next
                           -> decide    fold what is certain, decide what is due
                 decisions -> the outbox

`Intake` is the first hop's list of verbs, `Upkeep` the second's. All are synchronous functions of their arguments: no
store, no log, no clock. The worker puts those around them (`runtime/first_hop.py`, `runtime/second_hop.py`), and
`runtime/replay.py` runs the same verbs over a recording; tests see to it that neither goes another way. Where there is
a compiled module, the worker's rows are read (events/compiled.py) and received (profile/packed.py) many at once, by
what these verbs mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.errors import PipelineError
from pipeline.events.catalogue import problems
from pipeline.events.compiled import Open
from pipeline.events.model import APPENDED, Event
from pipeline.events.shape import TEXT_KEPT, Shape
from pipeline.identity.asks import Answer, Ask
from pipeline.identity.ids import leaf_id
from pipeline.identity.routes import Asked, Routes
from pipeline.profile import profile as profiles
from pipeline.profile.arrivals import told_now
from pipeline.profile.fields import fields_read
from pipeline.profile.packed import PackedRow
from pipeline.profile.profile import Profile, State
from pipeline.topology.model import Topology
from pipeline.triggers.changes import Output
from pipeline.triggers.decisions import Decision
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import partition_of
from pipeline.wire.row import Row, fingerprint_of

Quiet = Callable[[Decision], bool]
"""Whether a trigger will not be published."""


class Intake:
    """The first hop's verbs: from events to rows. `routes`: what it remembers of identifiers.

    Raises PipelineError where there is a schema of events that could not be counted.
    """

    def __init__(self, topology: Topology, book: RuleBook) -> None:
        for path, wrong in problems():
            raise PipelineError(f"{path}: {wrong}")
        self.disorder = topology.time.disorder_ms
        self.max_ahead = topology.time.max_ahead_ms
        self.partitions = topology.topics.resolved.partitions
        self.routes = Routes(topology.identifiers)
        self._shape = Shape(fields_read(book))

    def prepare(
        self, event: Event, offset: int, high: int, appended_at: int, size: int = TEXT_KEPT + 1
    ) -> tuple[Row, Asked | None]:
        """Check and shape one event, and route it by what is cached. If that doesn't say who it was, the row has no
        root yet, and all the ids that it carries: `ask` the graph, and `answer`.

        `high`: the largest received_at read from its partition so far; `appended_at`: the record's Kafka timestamp;
        `size`: bytes of it, where that is known. The event itself counts as received when it was appended, if it says
        something later; its row, if it is further behind `high` than the disorder, as received at the watermark
        (semantics 3). Raises InvalidEvent.
        """
        if event.received_at > appended_at:
            event.count_by(appended_at, self.max_ahead, APPENDED)
        received_at = max(event.received_at, high - self.disorder)
        root, ids, carried, asked = self.routes.route(event.identifiers, received_at)
        kind, data = self._shape.shaped(event, size)
        fingerprint = fingerprint_of(event.event_id, carried)
        row = Row(
            offset, root, kind, event.occurred_at, received_at, event.event_id, fingerprint, ids, data, event.trace
        )
        return row, asked

    def ask(self, row: Row | Open, asked: Asked) -> Ask:
        """What to ask the graph, so that it says whose a row is."""
        ids = [x for k in asked for x in (k.namespace, k.value, leaf_id(k.namespace, k.value))]
        return Ask(row.offset, row.occurred_at, row.received_at, ids)

    def answer(self, row: Row | Open, asked: Asked, answer: Answer) -> None:
        """Route a row by what the graph said, and remember it."""
        row.root, row.ids = answer.root, answer.ids
        self.routes.learn(asked, answer, partition_of(answer.root, self.partitions))


class Upkeep:
    """The second hop's verbs: from rows to decisions, by the rules of `book`. Whose the profiles are, and when they are
    stored, is for who calls.
    """

    def __init__(self, book: RuleBook) -> None:
        self.book = book

    def receive(self, profile: Profile, row: PackedRow) -> bool:
        """Take one event in; False if it is a duplicate that a client made."""
        return profiles.receive_packed(self.book, profile, row)

    def receive_all(
        self,
        rows: list[PackedRow],
        states: Mapping[str, State | None],
        changed: dict[str, State],
        elsewhere: Callable[[PackedRow], Profile | None],
    ) -> int:
        """`receive` for each row and the profile of its root; see profile.receive_all. Returns how many were
        duplicates.
        """
        return profiles.receive_all(self.book, rows, states, changed, elsewhere)

    def merge(self, winner: Profile, loser: Profile) -> Profile:
        """Both in one place."""
        return profiles.merge(self.book, winner, loser)

    def tell_now(self, profile_id: str, profile: Profile, clock: int, quiet: Quiet | None = None) -> Sequence[Output]:
        """What is decided on arrival, of a profile that has taken something in. `clock`: everything before it is
        certain, and for `decide` to tell.
        """
        return _of(profile_id, told_now(self.book, profile, clock, quiet))

    def wakes_at(self, profile: Profile) -> int | None:
        """No decision comes of it before that moment, as it stands; None: none does."""
        return profiles.wakes_at(self.book, profile)

    def decide(self, profile_id: str, profile: Profile, upto: int, quiet: Quiet | None = None) -> Sequence[Output]:
        """Fold everything received before `upto` and decide everything due before it, in one order."""
        return _of(profile_id, profiles.advance(self.book, profile, upto, quiet))

    def settle(
        self,
        changed: dict[str, State],
        clock: int,
        unfolded: int,
        out: Callable[[Output], None],
        quiet: Quiet | None = None,
    ) -> tuple[dict[str, bytes | None], dict[str, int]]:
        """`tell_now`, and `decide` where something is due before `clock` or more events wait than `unfolded`, of all
        that changed; `out` gets what comes of it. Returns what is to be written of them, and when those wake that have
        no timer by then.
        """
        if self.book.arriving:
            for profile_id, state in changed.items():
                if isinstance(state, Profile) and state.arrived:
                    for each in self.tell_now(profile_id, state, clock, quiet):
                        out(each)

        def look(profile_id: str, profile: Profile) -> None:
            for each in self.decide(profile_id, profile, clock, quiet):
                out(each)

        return profiles.settle(self.book, changed, clock, unfolded, look)


def _of(profile_id: str, made: Sequence[Output]) -> Sequence[Output]:
    """Of a household each has an id of their own by then."""
    for each in made:
        each.profile_id = each.profile_id or profile_id
    return made
