"""`pipeline explain` of a segment: why somebody is in it, or isn't."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli
from pipeline.commands import explain_segment
from pipeline.events.times import read_time
from pipeline.profile.profile import Profile
from pipeline.runtime.replay import Replay
from pipeline.topology import load
from tests.replayed import FAR, as_event

SHIPPED = (Path(__file__).parents[2] / "topology.yaml").read_text("utf-8")
SEGMENTS = """
segments:
  comparing: {when: {all: [{did: page_viewed, where: {path: {contains: /pricing}}, times: 2, within: 1d}, {none: [{did: order_completed, within: 2d}]}]}}
  spender: {when: {did: order_completed, sum: total, gte: 100, within: 30d}}
  keen: {when: {any: [{segment: spender}, {did: form_submitted}]}}
  off: {enabled: false, when: {did: page_viewed}}
"""  # noqa: E501
Told = tuple[str, str, dict[str, Any]]


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    (tmp_path / "more.yaml").write_text(SEGMENTS, "utf-8")
    line = next(line for line in SHIPPED.splitlines() if line.startswith("include:"))
    path = tmp_path / "topology.yaml"
    path.write_text(SHIPPED.replace(line, "include: [more.yaml]"), "utf-8")
    return path


def explained(topology: Path, name: str, events: list[Told], *arguments: str) -> Result:
    file = topology.with_name("events.jsonl")
    with file.open("w", encoding="utf-8") as out:
        for number, (at, kind, properties) in enumerate(events, 1):
            when = f"2026-11-{at}:00Z"
            body = {"type": "page"} if kind == "page" else {"type": "track", "event": kind}
            named = {"messageId": f"m{number}", "userId": "ann", "timestamp": when, "receivedAt": when}
            out.write(json.dumps({**body, "properties": properties, **named}) + "\n")
    where = ("--topology", str(topology))
    return CliRunner().invoke(cli, ["explain", "user_id:ann", name, str(file), *where, *arguments])


PRICES: list[Told] = [
    ("20T10:00", "page", {"path": "/pricing"}),
    ("20T10:05", "page", {"path": "/"}),
    ("20T10:10", "page", {"path": "/pricing"}),
]
AT = "  2026-11-20T"


def test_each_event_and_when_they_entered_and_which_part_holds(topology: Path) -> None:
    found = explained(topology, "comparing", PRICES)
    pages = "did page_viewed with path at least 2 times within 1d"
    assert found.output.splitlines() == [
        "comparing, for user_id:ann",
        f"{AT}10:00:00.000Z  page_viewed m1: is counted; the segment: not so, {pages}, and it is 1",
        f"{AT}10:10:00.000Z  page_viewed m3: is counted; the segment: so, all of ({pages}; none of (did order_completed"
        " within 2d))",
        f"{AT}10:10:00.000Z  → entered, by m3",
        f"{AT}10:10:00.000Z  They are in it, since 2026-11-20T10:10:00.000Z:",
        "    so: all of",
        f"      so: {pages} (up to 2026-11-21T10:00:00.000Z, if nothing happens)",
        "      so: none of",
        "        not so: did order_completed within 2d, and it is 0",
        "  2026-11-21T10:00:00.000Z  If nothing happens they leave it, by time alone",
    ]


def test_who_left_by_an_event_and_by_time(topology: Path) -> None:
    bought = ("20T11:00", "Order Completed", {"order_id": "o", "total": 60})
    said = explained(topology, "comparing", [*PRICES, bought]).output
    assert f"{AT}11:00:00.000Z  → left, by m4" in said
    assert f"{AT}11:00:00.000Z  They aren't in it:" in said
    assert "If nothing happens they" not in said  # what they looked at is too old by then
    later = ("22T10:00", "page", {"path": "/"})
    said = explained(topology, "comparing", [*PRICES, later]).output
    assert "  2026-11-21T10:00:00.000Z  → left, by time alone" in said


def test_an_order_told_twice_adds_nothing(topology: Path) -> None:
    order = {"order_id": "o", "total": 60}
    events = [("20T11:00", "Order Completed", order), ("20T11:01", "Order Completed", order)]
    said = explained(topology, "spender", events).output
    assert "not so, total of order_completed adds up to at least 100 within 30d, and it is 60" in said.splitlines()[2]
    assert "They aren't in it:" in said
    more = [*events, ("20T12:10", "Order Completed", {"order_id": "p", "total": 60})]
    said = explained(topology, "spender", more).output
    assert said.splitlines()[-1] == "  2026-12-20T11:00:00.000Z  If nothing happens they leave it, by time alone"


def test_of_a_segment_that_speaks_of_another(topology: Path) -> None:
    events = [("20T11:00", "Order Completed", {"order_id": "o", "total": 160})]
    said = explained(topology, "keen", events).output
    assert "m1: is counted; segment spender: so, total of order_completed adds up to at least 100 within 30d" in said
    assert "so: in spender" in said
    assert said.splitlines()[-1] == "  2026-12-20T11:00:00.000Z  If nothing happens they leave it, by time alone"


def test_as_json(topology: Path) -> None:
    told = json.loads(explained(topology, "comparing", PRICES, "--json").output)
    assert told["segment"] == "comparing"
    assert told["identifiers"] == {"user_id": ["ann"]}
    assert [step["event_id"] for step in told["steps"]] == ["m1", "m3"]
    assert [(each["change"], each["reason"], each["cause_event_id"]) for each in told["changes"]] == [
        ("entered", "event", "m3")
    ]
    assert (told["inside"], told["since"]) == (True, "2026-11-20T10:10:00.000Z")
    assert (told["at"], told["changes_at"]) == ("2026-11-20T10:10:00.000Z", "2026-11-21T10:00:00.000Z")
    assert [(part["condition"], part["holds"]) for part in told["parts"]["parts"]] == [
        ("did page_viewed with path at least 2 times within 1d", True),
        ("none", True),
    ]


@pytest.mark.parametrize("end", ["open", "complete"])
def test_where_the_recording_goes_on_the_same_is_told(topology: Path, end: str) -> None:
    found = explained(topology, "comparing", PRICES, "--end", end)
    assert f"{AT}10:10:00.000Z  → entered, by m3" in found.output
    assert "They are in it" in found.output


def test_whom_nothing_concerns(topology: Path) -> None:
    said = explained(topology, "spender", PRICES).output.splitlines()
    assert said[1:3] == ["  No event of theirs is anything to it.", f"{AT}10:10:00.000Z  They aren't in it:"]


@pytest.mark.parametrize(
    ("name", "arguments", "code", "said"),
    [
        ("nonsense_of_this_kind", (), 2, "no rule or segment 'nonsense_of_this_kind' in the topology"),
        ("comparign", (), 2, "no rule or segment 'comparign' in the topology; did you mean comparing?"),
        ("abandoned_crat", (), 2, "did you mean abandoned_cart?"),
        ("comparing", ("--key", "c"), 2, "comparing is a segment, which has no keys"),
        ("off", (), 0, "page_viewed m1: is counted; the segment: so, did page_viewed"),
    ],
)
def test_names(topology: Path, name: str, arguments: tuple[str, ...], code: int, said: str) -> None:
    found = explained(topology, name, PRICES, *arguments)
    assert found.exit_code == code
    assert said in found.output


def test_what_the_store_holds(topology: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = load(topology, {})
    replay = Replay(wanted)
    for number, (at, _, body) in enumerate(PRICES, 1):
        moment = read_time(f"2026-11-{at}:00Z")
        event = {"type": "page_viewed", "event_id": f"m{number}", "occurred_at": moment, "received_at": moment}
        list(replay.feed(as_event({**event, "identifiers": {"user_id": "ann"}, "body": body}), FAR))
    ((profile_id, profile),) = replay.profiles.items()

    def whoever(*_: Any) -> tuple[str, Profile, int]:
        return profile_id, profile, replay.high - 1

    monkeypatch.setattr(explain_segment, "whoever", whoever)
    told = explain_segment.told(wanted, "comparing", "user_id", "ann", (), "complete")
    assert [(step["event_id"], step["event"]) for step in told["steps"]] == [("m1", None), ("m3", "page_viewed")]
    assert "is counted; the segment: so" in told["steps"][1]["says"]  # what isn't folded yet goes on from what is
    assert (told["inside"], told["changes"]) == (False, [])
    lines = list(explain_segment.lines(told))
    assert lines[1] == f"{AT}10:00:00.000Z  m1: is counted"
