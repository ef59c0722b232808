"""The rule language's oracle against decisions and changes computed by hand, and its generated histories."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tests.oracle.language.build import Example
from tests.oracle.language.compare import changes_differing, differing
from tests.oracle.language.examples import EXAMPLES
from tests.oracle.language.histories import DISORDER, KINDS, made
from tests.oracle.language.oracle import decisions
from tests.oracle.language.worked_out import worked_out


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e.line}: {e.name}" for e in EXAMPLES])
def test_hand_computed(example: Example) -> None:
    made, changes = decisions(example.topology, example.events, open_end=example.open_end)
    assert differing(example.expected, made) == ""
    assert changes_differing(example.changes, changes) == ""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "shared" not in kind])
def test_order_in_the_log_and_telling_again_change_nothing(kind: str) -> None:
    for seed in range(15):
        told, events = made(seed, kind)
        expected, changes = worked_out(seed, kind)
        rng = Random(seed)
        again = sorted((e for e in events for _ in range(2)), key=lambda e: e["received_at"] + rng.randint(0, DISORDER))
        actual, actual_changes = decisions(told, again)
        assert differing(expected, actual) == "", f"{kind} {seed}"
        assert changes_differing(changes, actual_changes) == "", f"{kind} {seed}"


def test_histories_are_nasty() -> None:
    """Every outcome with every reason comes up, and every way in which a segment changes."""
    outcomes: Counter[tuple[str, str]] = Counter()
    ways: Counter[tuple[str, str]] = Counter()
    bases: Counter[str] = Counter()
    for kind in KINDS:
        for seed in range(30):
            lines, changes = worked_out(seed, kind)
            outcomes.update((line["outcome"], line["reason"]) for line in lines)
            bases.update(line["basis"] for line in lines)
            ways.update((line["change"], line["reason"]) for line in changes)
    print(outcomes.most_common(), bases, ways)
    assert {
        *(("fired", "due"), ("cancelled", "bought"), ("cancelled", "enough"), ("cancelled", "begun_anew")),
        *(("suppressed", reason) for reason in ("overtaken", "only_if", "unfounded", "other_person")),
        *(("retracted", "bought"), ("retracted", "unsubscribed"), ("recovered", "bought")),
    } <= outcomes.keys()
    assert outcomes["fired", "due"] < 0.7 * outcomes.total()
    assert bases["time"] > 50
    assert ways.keys() == {(what, why) for what in ("entered", "left") for why in ("event", "time", "tie")} | {
        ("left", "merged")
    }
