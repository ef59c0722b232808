"""What may be written of starts that are more than one event: sequences, and dates."""

from __future__ import annotations

from pipeline.grammar.shapes import Choice, Clause, Duration, EventPath, Many, Record, Shape, Text, Where
from pipeline.language.leaves.trigger import OUTCOMES

STEPS = 10
"""Of a sequence at most; what one costs grows with them."""


def sequence(event: Shape, name: Shape) -> Many:
    """Events that follow one another. `event`: which; `name`: under which what one told is spoken of."""
    where = Clause(
        Where(named=True), "Conditions on the event's fields; all must hold. `a.path`: what the step `a` told."
    )
    absent = Record({"event": Clause(event, "Event type, or a list of them.", required=True), "where": where})
    step = Record(
        {
            "event": Clause(event, "Event type, or a list of them."),
            "where": where,
            "as": Clause(name, "A name under which later steps speak of what this one told: `a` in `a.form_id`."),
            "not": Clause(absent, "What must not happen before the next step; in the last place: `for` so long."),
            "for": Clause(Duration(), "Beside a `not` in the last place: so long after the step before it."),
        },
        one_of=("event", "not"),
    )
    return Many(step, least=1, most=STEPS)


def trigger(name: Shape) -> Record:
    """What another rule decided."""
    return Record(
        {
            "rule": Clause(name, "A rule's name.", required=True),
            "outcome": Clause(Choice(OUTCOMES, "an outcome"), "fired (default), cancelled or suppressed."),
        }
    )


def date(event: Shape, clock: Shape) -> Record:
    """A date that was told of a person, or by an event."""
    return Record(
        {
            "trait": Clause(Text(), "A trait of the person that tells a date."),
            "event": Clause(event, "Event type, or a list of them, that tells a date."),
            "where": Clause(Where(), "Conditions on the event's fields; all must hold."),
            "field": Clause(EventPath(), "Which of the event's fields tells it."),
            "offset": Clause(Duration(0, signed=True), "So long after it, or before it: -30d. Default: at it."),
            "at": Clause(clock, "At this time of day there, where the person is, else in `time: zone`."),
            "every": Clause(Choice(("year",), "how often it comes"), "`year`: on its day in every year."),
        },
        one_of=("trait", "event"),
    )
