"""What ingest works out before anything is written: streams, keys, the end of a recording, the order of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.events import schemas
from pipeline.events.catalogue import stream_of
from pipeline.events.model import Event
from pipeline.events.registry import connect
from pipeline.identity.identifiers import Normaliser
from pipeline.runtime.ingest import Ingest, complete_at
from pipeline.runtime.recordings import merged
from pipeline.runtime.sources import key_of
from pipeline.topology import load

TOPOLOGY = load(Path(__file__).parents[2] / "topology.yaml", {})
HOUR = 3_600_000


def event(**identifiers: str) -> Event:
    return Event("page_viewed", "e", 1, 1, identifiers, {})


def test_every_event_type_has_a_stream_and_the_shipped_topology_a_topic_for_it() -> None:
    found = {name: stream_of(name) for name in schemas.names()}
    assert found["email_sent"] == "email"
    assert found["video_sought"] == "video"
    assert found["offline_purchased"] == found["call_logged"] == found["store_visited"] == "offline"
    assert found["order_completed"] == found["custom"] == "clickstream"
    assert set(found.values()) == {topic.stream for topic in TOPOLOGY.topics.sources}


@pytest.mark.parametrize(
    "identifiers, key",
    [
        ({"email": "a@b.c", "user_id": "u", "device_id": "d", "anonymous_id": "x"}, b"x"),
        ({"email": "a@b.c", "user_id": "u", "device_id": "d"}, b"d"),
        ({"email": "a@b.c", "user_id": "u"}, b"u"),
        ({"email": " A@b.C "}, b"a@b.c"),
        ({"anonymous_id": "null", "user_id": " u "}, b"u"),
        ({"crm_id": "7"}, b"7"),
        ({"anonymous_id": "0", "shoe_size": "44"}, None),
        ({}, None),
    ],
)
def test_key(identifiers: dict[str, str], key: bytes | None) -> None:
    assert key_of(event(**identifiers), Normaliser(TOPOLOGY.identifiers)) == key


def test_a_recording_is_complete_when_its_longest_wait_is_decided() -> None:
    """A start received last waits three days and the lateness; timers before that moment are decided."""
    assert complete_at(TOPOLOGY, 1_000) == 1_000 + 72 * HOUR + 5 * 60_000 + 1


def test_what_is_due_later_than_now_is_left_to_the_clock() -> None:
    """Event time that is ahead of the clock would make everybody's next events late."""
    longest = 72 * HOUR + 5 * 60_000 + 1
    assert complete_at(TOPOLOGY, 1_000, now=longest + 1_001) == longest + 1_000
    assert complete_at(TOPOLOGY, 1_000, now=longest) == longest
    assert complete_at(TOPOLOGY, HOUR, now=0) == HOUR - TOPOLOGY.time.disorder_ms


def test_the_embedded_broker_is_in_no_other_process() -> None:
    topology = load(Path(__file__).parents[2] / "topology.yaml", {"PIPELINE_KAFKA": "mock://"})
    with pytest.raises(PipelineError, match="pipeline demo"):
        Ingest(topology, connect("mock://"))


def record(path: Path, *seconds: int | str) -> Path:
    lines = (
        second
        if isinstance(second, str)
        else json.dumps({"type": "page", "userId": path.stem, "timestamp": f"2025-11-24T12:00:{second:02d}Z"})
        for second in seconds
    )
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def order(*paths: Path) -> list[str]:
    return [f"{Path(line.file).stem}{line.number}" for line in merged(paths)]


def test_files_are_merged_by_receipt(tmp_path: Path) -> None:
    a, b = record(tmp_path / "a", 1, 4, 6), record(tmp_path / "b", 2, 3, 5, 7)
    assert order(a, b) == order(b, a) == ["a1", "b1", "b2", "a2", "b3", "a3", "b4"]


def test_of_two_that_stand_equal_the_one_named_first_goes_on(tmp_path: Path) -> None:
    a, b = record(tmp_path / "a", 1, 1), record(tmp_path / "b", 1, 2)
    assert order(a, b) == ["a1", "a2", "b1", "b2"]
    assert order(b, a) == ["b1", "a1", "a2", "b2"]


def test_lines_that_run_backwards_or_are_broken_keep_their_place(tmp_path: Path) -> None:
    """The recorded order is what the server saw: a line is never moved before the one that stands before it."""
    a, b = record(tmp_path / "a", 1, 9, 2, "{", 10), record(tmp_path / "b", 3, 8, 9, 11)
    assert order(a, b) == ["a1", "b1", "b2", "a2", "a3", "a4", "b3", "a5", "b4"]


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"gone\.jsonl can't be read: No such file"):
        list(merged([tmp_path / "gone.jsonl"]))
