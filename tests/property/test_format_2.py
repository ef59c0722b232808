"""What format 2 kept of a person is enough to go on: a recording is broken off at some event, its first part replayed
by the version that wrote format 2, and the rest by this one, on what that kept. Then the rest is decided as if this one
had done all of it.

But for devices that are passed on: whose an event on them is, that version saw otherwise.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.events.model import Event
from pipeline.profile import format2
from pipeline.profile.profile import Profile
from pipeline.runtime.replay import Replay
from pipeline.triggers.decisions import public
from tests import older
from tests.chaos import stream
from tests.flow.test_conversion import FORMAT_2
from tests.replayed import FAR, shipped

REPLAY = """import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from pipeline.events.model import Event
from pipeline.profile.profile import encode_profile
from pipeline.runtime.replay import Replay
from pipeline.topology import load
replay = Replay(load(Path(sys.argv[1], "topology.yaml"), {}))
for line in sys.stdin:
    for _ in replay.feed(Event(**json.loads(line)), 1 << 60):
        pass
json.dump({name: encode_profile(profile).hex() for name, profile in replay.profiles.items()}, sys.stdout)
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with older.checkout(FORMAT_2, tmp_path_factory.mktemp("format2")) as where:
        yield where


def kept(before: Path, events: list[Event]) -> dict[str, bytes]:
    """Profiles, as that version stores them."""
    fields = ("type", "event_id", "occurred_at", "received_at", "identifiers", "body")
    lines = [json.dumps({field: getattr(event, field) for field in fields}) for event in events]
    command = [sys.executable, "-c", REPLAY, str(before)]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: bytes.fromhex(raw) for name, raw in json.loads(done.stdout).items()}


def rest(replay: Replay, events: list[Event]) -> dict[str, Any]:
    """What is decided from there on."""
    made = [decision for event in events for decision in replay.feed(event, FAR)]
    return {decision.id: public(decision) for decision in [*made, *replay.finish()]}


@pytest.mark.usefixtures("every_zone")
@pytest.mark.parametrize("seed", range(1, 5))
def test_the_rest_is_decided_as_if_nothing_had_been(before: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(stream, "pass_on", lambda r, household: 0)
    monkeypatch.setattr(stream._Person, "looks_round", lambda self, at: None)  # at what nobody knew in those days
    events = stream.stream(seed, 1_500).events
    events.sort(key=lambda event: (event.received_at, event.occurred_at, event.event_id))
    half = random.Random(seed).randrange(300, 1_200)
    replays = [Replay(shipped()) for _ in range(2)]
    for replay in replays:
        for event in events[:half]:
            for _ in replay.feed(event, FAR):
                pass
    converted = replays[1]
    stored = kept(before, events[:half])
    assert stored.keys() == converted.profiles.keys()
    for name, raw in stored.items():
        state = format2.read(converted.book, raw)
        assert isinstance(state, Profile)
        converted.profiles[name] = state
        converted._arm(name, state)
    wanted, got = (rest(replay, events[half:]) for replay in replays)
    assert len(wanted) > 50
    assert got == wanted
