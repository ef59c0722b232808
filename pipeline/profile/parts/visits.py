"""When a person was here: runs of their own doing with less than half an hour between two events, by occurrence."""

from __future__ import annotations

from typing import Any

from pipeline.events.catalogue import GAP, OWN, catalogue, own_doing
from pipeline.events.schemas import body_fields
from pipeline.events.times import rfc3339
from pipeline.profile.parts.part import Facts, Part, PartEvent, Primitive

VISITS_KEPT = 20

State = list[Any]


class Visits(Primitive):
    """[how many there were before, [[first event, last event], ...]], UTC ms: the last VISITS_KEPT, oldest first. Runs
    unite like intervals, in any order. One that has fallen out is forgotten: beyond VISITS_KEPT order may tell.
    """

    kinds = frozenset(name for name, each in catalogue().items() if each.own)

    def empty(self) -> State:
        return [0, []]

    def take(self, state: State, event: PartEvent) -> State:
        at = event.occurred_at
        if not own_doing(event.kind, event.data):
            return state
        before, runs = state
        if runs and runs[-1][0] <= at < runs[-1][1] + GAP:  # nearly always
            runs[-1][1] = max(runs[-1][1], at)
            return state
        return _united(before, [*runs, [at, at]])

    def merge(self, a: State, b: State) -> State:
        return _united(a[0] + b[0], [*a[1], *b[1]])


def _united(before: int, runs: list[list[int]]) -> State:
    out: list[list[int]] = []
    for first, last in sorted(runs):
        if out and first < out[-1][1] + GAP:
            out[-1][1] = max(out[-1][1], last)
        else:
            out.append([first, last])
    gone = max(0, len(out) - VISITS_KEPT)
    return [before + gone, out[gone:]]


def show(state: State) -> Facts:
    """How many, and when the last ones were, newest last."""
    before, runs = state
    times = [{"from": rfc3339(first), "to": rfc3339(last)} for first, last in runs]
    return {"visits": before + len(runs), "last_visits": times}


PART = Part(
    "visits",
    {("visits",): Visits()},
    show,
    reads={
        name: read for name in Visits.kinds if (read := tuple(field for field in OWN if field in body_fields(name)))
    },
    asked=True,
)
