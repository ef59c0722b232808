"""`visits`: how often a person was here, as a condition."""

from __future__ import annotations

from pathlib import Path

from tests.oracle.build import event
from tests.oracle.language.build import MS, change
from tests.oracle.language.compare import changes_differing
from tests.property.test_language import topology_of
from tests.replayed import replayed_with_changes

COMES_BACK = {
    "time": {},
    "triggers": {},
    "segments": {"s": {"when": {"visits": 3, "within": "2h"}}},
}


def test_visits_in_a_window(tmp_path: Path) -> None:
    events = [
        event("page_viewed", "1", 0),
        event("page_viewed", "2", 30 - MS),  # less than half an hour later it is the same visit
        event("page_viewed", "3", 61),
        event("email_sent", "4", 80, message_id="m"),  # nothing of theirs
        event("page_viewed", "5", 91),  # half an hour later it is another
        event("page_viewed", "6", 400),
    ]
    _, changes = replayed_with_changes(events, topology_of(COMES_BACK, tmp_path))
    assert changes_differing([change("entered", 91, "5"), change("left", 120)], changes) == ""
