"""A `pipeline` of a version that is still to come: its profiles have one part more, which nobody else knows.

python -m tests.newer worker --topology FILE

`kept_events` keeps the marks of all events of a person, so that a test can tell of each whether it was counted.
"""

from __future__ import annotations

import runpy
import sys

from pipeline.profile import parts
from pipeline.profile.parts.part import Facts, Part, PartEvent, Primitive
from pipeline.profile.parts.timeline import MARK

NAME = "kept_events"
KEPT = 2_000


class Marks(Primitive):
    """Sorted, each once."""

    def empty(self) -> list[int]:
        return []

    def take(self, state: list[int], event: PartEvent) -> list[int]:
        return self.merge(state, [event.fingerprint & MARK])

    def merge(self, a: list[int], b: list[int]) -> list[int]:
        return sorted({*a, *b})[-KEPT:]


def show(marks: list[int]) -> Facts:
    """How many."""
    return {NAME: len(marks)}


PART = Part(NAME, {(NAME,): Marks()}, show)
LAUNCHER = [sys.executable, "-m", "tests.newer"]

if __name__ == "__main__":
    parts.PARTS += (PART,)  # before anybody has looked
    runpy.run_module("pipeline.cli", {}, "__main__", alter_sys=True)
