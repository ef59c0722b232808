"""What may be written of starts that are more than one event: sequences, and dates."""

from __future__ import annotations

from pipeline.grammar.shapes import Choice, Duration, EventPath, Key, Many, Record, Shape, Text, Where
from pipeline.language.leaves.trigger import OUTCOMES

STEPS = 10
"""Of a sequence at most; what one costs grows with them."""


def sequence(event: Shape, name: Shape) -> Many:
    """Events that follow one another. `event`: which; `name`: under which what one told is spoken of."""
    where = Key(Where(named=True), "Conditions on the event's fields; all must hold. `a.path`: what the step `a` told.")
    absent = Record({"event": Key(event, "Event type, or a list of them.", required=True), "where": where})
    step = Record(
        {
            "event": Key(event, "Event type, or a list of them."),
            "where": where,
            "as": Key(name, "A name under which later steps speak of what this one told: `a` in `a.form_id`."),
            "not": Key(absent, "What must not happen before the next step; in the last place: `for` so long."),
            "for": Key(Duration(), "Beside a `not` in the last place: so long after the step before it."),
        },
        one_of=("event", "not"),
    )
    return Many(step, least=1, most=STEPS)


def trigger(name: Shape) -> Record:
    """What another rule decided."""
    return Record(
        {
            "rule": Key(name, "A rule's name.", required=True),
            "outcome": Key(Choice(OUTCOMES, "an outcome"), "fired (default), cancelled or suppressed."),
        }
    )


def date(event: Shape, clock: Shape) -> Record:
    """A date that was told of a person, or by an event."""
    return Record(
        {
            "trait": Key(Text(), "A trait of the person that tells a date."),
            "event": Key(event, "Event type, or a list of them, that tells a date."),
            "where": Key(Where(), "Conditions on the event's fields; all must hold."),
            "field": Key(EventPath(), "Which of the event's fields tells it."),
            "offset": Key(Duration(0, signed=True), "So long after it, or before it: -30d. Default: at it."),
            "at": Key(clock, "At this time of day there, where the person is, else in `time: zone`."),
            "every": Key(Choice(("year",), "how often it comes"), "`year`: on its day in every year."),
        },
        one_of=("trait", "event"),
    )
