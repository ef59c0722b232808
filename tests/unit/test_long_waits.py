"""What holds of the past of a wait stays what it was, however much happens until the wait is decided: little histories,
computed by hand.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.build import event
from tests.replayed import replayed
from tests.ruled import decided, ruled

TURNS = ruled("""
turns:
  version: 1
  start: {when: {did: page_viewed, times: 3, within: 7d}}
  after: 1h
""")
UNTIL = ruled("""
until:
  version: 1
  start: {event: identified}
  after: 10d
  until: {when: {did: page_viewed, where: {path: /pricing}, times: 2, within: 10m}, reason: enough}
""")
END = event("searched", "end", 300)


def pages(number: int, since: float, path: str = "/", gap: float = 0.5) -> list[dict[str, Any]]:
    """So many looks, two a minute."""
    return [event("page_viewed", f"p{since:g}-{each:03}", since + each * gap, path=path) for each in range(number)]


@pytest.mark.parametrize("number", [3, 35, 36, 100])
def test_a_turn_is_looked_at_once_more_as_of_then(number: int) -> None:
    history = [event("searched", "1", 0), *pages(number, 1), END]
    assert decided(TURNS, history) == ["67 fired due p1-002 62"]


def test_a_turn_of_which_too_much_happened_since_to_look_once_more_is_believed_and_says_so() -> None:
    history = [event("searched", "1", 0), *pages(600, 1 / 12, gap=1 / 12), event("searched", "end", 70)]
    (told,) = replayed(history, TURNS)
    assert (told["outcome"], told["reason"], told["bounded"]) == ("fired", "due", True)
    (told,) = replayed([event("searched", "1", 0), *pages(100, 1 / 12), event("searched", "end", 70)], TURNS)
    assert (told["outcome"], "bounded" in told) == ("fired", False)


@pytest.mark.parametrize("number", [0, 32, 33, 100])
def test_what_a_wait_waits_until_held_for_a_while(number: int) -> None:
    history = [event("identified", "1", 0, traits={}), *pages(2, 60, "/pricing"), *pages(number, 100, "/pricing"), END]
    assert decided(UNTIL, history) == ["14405 cancelled enough 1 14400 by=p60-001"]
