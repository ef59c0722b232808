"""Events that nobody sends: what the linter says of them, what hangs on them, and how they are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.events.catalogue import GAP
from pipeline.language.memory import Entry, Memory
from pipeline.profile.profile import Profile, advance, decode, encode_profile
from pipeline.runtime.replay import Replay
from pipeline.topology import lint
from pipeline.topology.meaning import fingerprint
from pipeline.triggers import happening
from pipeline.triggers.rules import RuleBook
from tests.oracle.build import login
from tests.oracle.language.build import MS, bought, page, rules, traits
from tests.property.test_language import topology_of
from tests.replayed import FAR, as_event, replayed_with_changes, shipped

BASE = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text(encoding="utf-8"))
VIP = "vip: {when: {did: order_completed, times: 2}}\n"
HOUR = {"after": "1h"}


def findings(folder: Path, rule: str = "", segments: str = VIP, more: str = "", edge: Any = None) -> list[str]:
    """Of a rule with these lines: `code: message (hint)` each."""
    told = {name: value for name, value in BASE.items() if name != "include"}
    told["segments"] = yaml.safe_load(segments) or {}
    told["triggers"] = {"it": {"version": 1, **yaml.safe_load(rule)}} if rule else {}
    told |= yaml.safe_load(more) or {}
    if edge:
        told["edge"] = edge
    path = folder / "t.yaml"
    path.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return [f"{each.code}: {each.message} ({each.hint})" for each in lint(path, {})]


FINE = [
    "start: {event: visit_started}\nafter: 1h",
    "start: {event: visit_started, where: {context.campaign.source: mail, consent.marketing: true}}\nafter: 1h",
    "start: {event: segment_entered, where: {segment: vip}}\nafter: 1h\n"
    "cancel: {event: segment_left, match: {segment: start.segment}, reason: left}\npayload: {which: start.segment}",
    "per: segment\nstart: {event: [segment_entered]}\nafter: 1h\n"
    "cancel: {event: segment_left, match: segment, reason: left}\npayload: {which: key}",
    "start: {event: page_viewed}\nrestart: {event: visit_started}\nafter: 1h\n"
    "only_if: {first: segment_entered, where: {segment: {starts_with: v}}, age: {gte: 1d}}",
    "start: {sequence: [{event: visit_started, as: a}, {event: segment_entered, where: {segment: vip}}], within: 1d}\n"
    "after: 1h\npayload: {by: start.segment}",
    "start: {event: segment_left, where: {segment: vip, reason: time}}\nafter: 1h\n"
    "cancel: {event: segment_entered, where: {reason: {in: [event, time]}}, reason: back}\n"
    "payload: {why: start.reason}\nonly_if: {last: segment_left, has: {reason: {not: event}}}",
]


@pytest.mark.parametrize("rule", FINE)
def test_they_may_stand_wherever_an_event_type_may(tmp_path: Path, rule: str) -> None:
    assert findings(tmp_path, rule) == []


ENTERED = "start: {event: segment_entered, where: {segment: %s}}\nafter: 1h"
A = "a: {when: {did: segment_entered, where: {segment: %s}}}\n"
WRONG = [
    (ENTERED % "vipp", "", "unknown-segment: vipp is no segment (did you mean vip?)"),
    (ENTERED % "{in: [vip, vop]}", "", "unknown-segment: vop is no segment (did you mean vip?)"),
    (ENTERED.replace("segment: %s", "name: vip"), "", "unknown-field: segment_entered has no field name (its fields"),
    (ENTERED.replace("segment: %s", "reason: tim"), "", "bad-condition: reason is never 'tim' (did you mean time?)"),
    (
        ENTERED.replace("segment: %s", "reason: merged"),
        "",
        "bad-condition: reason is never 'merged' (known: event, time)",
    ),
    (
        ENTERED.replace("segment: %s", "reasons: time"),
        "",
        "unknown-field: segment_entered has no field reasons (did you",
    ),
    (ENTERED.replace("segment: %s", "context.url: x"), "", "unknown-field: segment_entered has no field context.url"),
    ("start: {event: visit_started, where: {path: /}}\nafter: 1h", "", "unknown-field: visit_started has no field"),
    (
        "start: {event: visits_started}\nafter: 1h",
        "",
        "unknown-event: 'visits_started' isn't an event type (did you mean",
    ),
    ("", A % "a", "circle: segments that speak of each other: a -> a, for who counts"),
    ("", "a: {when: {none: [{did: segment_left}]}}\n", "circle: segments that speak of each other: a -> a, for who"),
    ("", A % "b" + "b: {when: {segment: a}}\n", "circle: segments that speak of each other: "),
    ("", A % "b" + "b: {when: {measure: m, gte: 2}}\n", "circle: segments that speak of each other: "),
    (ENTERED % "away", "away: {enabled: false, when: {did: searched}}\n", "switched-off: away is switched off: nobody"),
]
MEASURE = "measures: {m: {sum: [{did: segment_entered, where: {segment: a}, points: 1}]}}"


@pytest.mark.parametrize(("rule", "segments", "expected"), WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, rule: str, segments: str, expected: str) -> None:
    found = findings(tmp_path, rule, VIP + segments, MEASURE if "measure" in segments else "")
    assert len(found) == 1, found
    assert found[0].startswith(expected), found


def test_where_there_is_no_segment_nobody_enters_one(tmp_path: Path) -> None:
    found = findings(tmp_path, "start: {event: segment_entered}\nafter: 1h", "")
    assert found == ["unknown-segment: there is no segment that anybody could enter (write one under segments)"]


def test_nobody_can_send_one(tmp_path: Path) -> None:
    key = {"key": "abcdefghij", "types": ["page_viewed", "visit_started"]}
    (found,) = findings(tmp_path, edge={"keys": {"site": key}})
    assert found.startswith("unknown-event: 'visit_started' isn't an event type (nobody can send it")


def test_a_rules_meaning_is_also_that_of_the_segment_that_starts_it(tmp_path: Path) -> None:
    def of(segments: dict[str, Any], where: dict[str, Any]) -> str:
        told = rules(segments, r={"start": {"event": "segment_entered", "where": where}, **HOUR})
        topology = topology_of(told, tmp_path)
        return fingerprint(topology.rules[0], topology)

    once, twice, other = ({"did": "page_viewed", "times": times} for times in (1, 2, 3))
    assert of({"a": once, "b": once}, {"segment": "a"}) != of({"a": twice, "b": once}, {"segment": "a"})
    assert of({"a": once, "b": once}, {"segment": "a"}) == of({"a": once, "b": other}, {"segment": "a"})
    assert of({"a": once, "b": once}, {}) != of({"a": once, "b": other}, {})


def test_by_an_event_or_by_time_alone_is_told_wherever_they_are(tmp_path: Path) -> None:
    left = {"event": "segment_left", "where": {"segment": "s", "reason": "time"}}
    told = rules(
        {
            "s": {
                "all": [{"did": "page_viewed", "within": "2h"}, {"none": [{"did": "order_completed", "within": "1h"}]}]
            },
            "grown_old": {"did": "segment_left", "where": {"segment": "s", "reason": "time"}},
        },
        any={"start": {"event": "segment_left", "where": {"segment": "s"}}, **HOUR, "payload": {"why": "start.reason"}},
        time={"start": left, **HOUR, "only_if": {"last": "segment_left", "has": {"reason": "time"}}},
    )
    made, changes = replayed_with_changes(
        [page("1", 0), bought("2", 10), page("3", 300)], topology_of(told, tmp_path)
    )  # the first is left by the order, entered again by time, and left by it
    assert [(line["rule"], line["cause_event_id"], line["payload"]) for line in made] == [
        ("any", line_of(changes, "left", "event"), {"why": "event"}),
        ("any", line_of(changes, "left", "time"), {"why": "time"}),
        ("time", line_of(changes, "left", "time"), {}),
    ]
    assert [line["reason"] for line in changes if line["segment"] == "grown_old"] == ["event"]


def line_of(changes: list[dict[str, Any]], change: str, reason: str) -> Any:
    """The id of the first such change of `s`."""
    return next(
        line["id"] for line in changes if (line["segment"], line["change"], line["reason"]) == ("s", change, reason)
    )


def test_who_speaks_of_none_pays_nothing() -> None:
    book = RuleBook(shipped())
    assert not book.visits
    assert not book.makes
    assert not {"visit_started", "segment_entered", "segment_left"} & {*book.concerned, *book.fields}


def test_what_visits_are_asked_for_is_handed_on_of_all_that_may_begin_one(tmp_path: Path) -> None:
    told = rules(r={"start": {"event": "visit_started", "where": {"context.campaign.source": "mail"}}, **HOUR})
    book = RuleBook(topology_of(told, tmp_path))
    assert {"context.campaign", "channel", "confidence"} <= book.fields["video_started"]
    assert {"video_started", "searched"} <= book.concerned
    assert "email_sent" not in book.concerned
    assert "visit_started" not in book.fields
    assert book.opening["searched"] == 65 * 60_000


def test_two_rules_and_two_causes_have_ids_of_their_own(tmp_path: Path) -> None:
    """Also where one event is the cause of several, as what it is and as the visit that it begins."""
    told = rules(
        {"s": {"did": "page_viewed"}, "z": {"did": "page_viewed"}},
        seen={"start": {"event": "page_viewed"}, **HOUR},
        visit={"start": {"event": "visit_started"}, **HOUR},
        each={"per": "segment", "start": {"event": "segment_entered"}, **HOUR},
    )
    found, changes = replayed_with_changes([page("1", 0)], topology_of(told, tmp_path))
    assert sorted(each["cause_event_id"] for each in found) == sorted(["1", "1", *(each["id"] for each in changes)])
    again = told | {"triggers": {"r": {**told["triggers"]["seen"], "start": {"event": ["page_viewed"]}}}}
    of_event, _ = replayed_with_changes([page("1", 0)], topology_of(again, tmp_path))
    again["triggers"]["r"]["start"] = {"event": "visit_started"}
    of_visit, _ = replayed_with_changes([page("1", 0)], topology_of(again, tmp_path))
    assert len({each["id"] for each in [*found, *of_event, *of_visit]}) == 6


def test_who_identifies_themselves_leaves_by_that_event_and_not_by_another_id(tmp_path: Path) -> None:
    """Their profile id may become another with it: of what they stay in that is no event."""
    told = rules(
        {"unknown": {"all": [{"did": "page_viewed"}, {"none": [{"trait": "plan", "exists": True}]}]},
         "here": {"did": "page_viewed"}},
        left={"per": "segment", "start": {"event": ["segment_left", "segment_entered"]}, "after": "10m"},
    )  # fmt: skip
    topology = topology_of(told, tmp_path)
    renamed = 0
    for number in range(8):
        who = f"a:phone{number}"
        events = [page("1", 0, who=who), traits("2", 60, who=f"{who} u:x{number}", plan="pro"), page("3", 90, who=who)]
        found, changes = replayed_with_changes(events, topology)
        assert sorted((each["occurred_at"][11:16], each["correlation_key"]) for each in found) == [
            ("10:00", "here"), ("10:00", "unknown"), ("11:00", "unknown"),
        ]  # fmt: skip
        assert {each["cause_event_id"] for each in found} <= {each["id"] for each in changes}
        renamed += any(each["reason"] == "merged" for each in changes)
    assert 0 < renamed < 8


def test_what_turns_out_to_be_somebody_elses_visit(tmp_path: Path) -> None:
    told = rules(r={"start": {"event": "visit_started"}, **HOUR})
    events = [login("1", 0), page("2", 70), login("3", 69, 80, who="a:phone u:2"), page("4", 300, who="u:1")]
    found, _ = replayed_with_changes(events, topology_of(told, tmp_path))
    assert {each["cause_event_id"]: each["reason"] for each in found} == {
        "1": "due", "2": "other_person", "3": "due", "4": "due",
    }  # fmt: skip


def test_where_somebody_is_and_how_to_write_to_them_says_what_begins_a_visit(tmp_path: Path) -> None:
    told = rules(r={"start": {"event": "visit_started"}, "after": {"for": "1h", "until": {"time": "09:00"}}})
    looks = page("1", 0)
    looks["context"] = {"timezone": "America/New_York", "locale": "en"}
    (found,), _ = replayed_with_changes([looks, page("2", 1)], topology_of(told, tmp_path))
    assert found["due_at"] == "2026-03-02T14:00:00.000Z"
    assert found["contact"] == {"locale": "en", "timezone": "America/New_York"}


# --- when somebody was here

HALF = GAP
AGE = 72 * 60 * 60_000


def runs(memory: Memory) -> list[tuple[int, int]]:
    return [(each.occurred_at, each.received_at) for each in memory[happening.HERE]]


def test_what_is_remembered_of_visits_is_bounded_and_enough() -> None:
    memory: Memory = {}
    begun = [at for at in range(0, 40 * AGE, HALF) if happening.begins(memory, at, at, AGE)]
    assert len(begun) == 40 * AGE // HALF
    assert len(memory[happening.HERE]) <= AGE // HALF + 2
    last = begun[-1]
    assert not happening.begins(memory, last - AGE + 1, last, AGE)  # it joins one that is remembered
    assert not happening.begins(memory, last - AGE - HALF, last, AGE)  # too old
    for at in range(0, 10 * HALF, 7_000):
        happening.begins(memory, at + last, at + last, AGE)
    assert runs(memory)[-1] == (last, last + 10 * HALF - 10 * HALF % 7_000 - (0 if 10 * HALF % 7_000 else 7_000))


def test_runs_of_two_are_united() -> None:
    def made_of(*pairs: tuple[int, int]) -> list[Entry]:
        return [Entry(first, last, "", 0) for first, last in pairs]

    joined = happening.joined(made_of((0, 5), (5 + HALF, 6 + HALF)), made_of((6, 7)))
    assert [(each.occurred_at, each.received_at) for each in joined] == [(0, 6 + HALF)]
    apart = happening.joined(made_of((0, 5)), made_of((5 + HALF, 6 + HALF)))
    assert len(apart) == 2
    assert happening.joined(apart, [], 6) == apart[1:]


def test_what_is_stored_goes_on_where_it_was(tmp_path: Path) -> None:
    """Between any two events a profile is written and read."""
    told = rules(
        {"s": {"did": "visit_started", "times": 2}}, r={"start": {"event": "segment_entered"}, **HOUR},
        v={"start": {"event": "visit_started"}, **HOUR},
    )  # fmt: skip
    topology = topology_of(told, tmp_path)
    events = [page("1", 0), page("2", 29), page("3", 59 - MS), page("4", 89), page("5", 40, 100), bought("6", 300)]
    expected, _ = replayed_with_changes(events, topology)
    replay = Replay(topology)
    found: list[Any] = []
    for each in events:
        found += replay.feed(as_event(each), FAR)
        for name, profile in replay.profiles.items():
            out = advance(replay.book, profile, each["received_at"])
            found += [one for one in out if hasattr(one, "outcome")]
            kept = decode(encode_profile(profile))
            assert isinstance(kept, Profile)
            replay.profiles[name] = kept
    found += replay.finish()
    assert sorted(each.id for each in found) == sorted(each["id"] for each in expected)
    assert len(expected) == 4


# --- how it is told


def told_of(folder: Path, rule: str, told: dict[str, Any], *events: tuple[str, dict[str, Any]]) -> list[str]:
    topology, file = folder / "t.yaml", folder / "events.jsonl"
    topology.write_text(yaml.safe_dump({**BASE, "include": [], **told}, sort_keys=False), "utf-8")
    lines = []
    for number, (at, body) in enumerate(events, 1):
        when = f"2026-11-20T{at}:00Z"
        lines.append(
            json.dumps({"messageId": f"m{number}", "timestamp": when, "receivedAt": when, "userId": "ann"} | body)
        )
    file.write_text("\n".join(lines), "utf-8")
    found = CliRunner().invoke(cli, ["explain", "user_id:ann", rule, str(file), "--topology", str(topology)])
    assert found.exit_code == 0, found.output
    return [line.strip().removeprefix("2026-11-20T") for line in found.output.splitlines()[1:]]


def test_explain_says_what_was_entered_and_what_began(tmp_path: Path) -> None:
    looks = {"type": "page", "properties": {"path": "/"}}
    told = {
        "segments": {"vip": {"when": {"did": "page_viewed", "times": 2}}},
        "triggers": {
            "hello": {"version": 1, "start": {"event": "segment_entered", "where": {"segment": "vip"}}, **HOUR},
            "back": {
                "version": 1,
                "start": {"event": "visit_started"},
                "after": "2h",
                "cancel": {"event": "segment_entered", "reason": "vip"},
            },
        },
    }
    assert told_of(tmp_path, "hello", told, ("10:00", looks), ("11:00", looks)) == [
        "11:00:00.000Z  entered segment vip: starts a wait, or begins it anew",
        "12:05:00.000Z  → fired (due), due 2026-11-20T12:00:00.000Z",
    ]
    lines = told_of(tmp_path, "back", told, ("10:00", looks), ("11:00", looks))
    assert lines[:3] == [
        "10:00:00.000Z  a visit began with m1: starts a wait, or begins it anew",
        "11:00:00.000Z  a visit began with m2: starts a wait, or begins it anew",
        "11:00:00.000Z  entered segment vip: ends every wait that is open, vip",
    ]
    assert "cancelled (vip)" in lines[3]


def test_a_test_that_fails_says_by_what_it_began(tmp_path: Path) -> None:
    told = {
        **BASE, "include": [],
        "segments": {"vip": {"enabled": False, "when": {"did": "page_viewed"}}},
        "triggers": {"hello": {"enabled": False, "version": 1, "start": {"event": "segment_entered"}, **HOUR}},
    }  # fmt: skip
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(told, sort_keys=False), "utf-8")
    (tmp_path / "it.yaml").write_text(
        "rule: hello\ntests: [{name: a, events: [{at: 0m, who: ann, event: page_viewed}], decisions: []}]\n", "utf-8"
    )
    found = CliRunner().invoke(cli, ["test", "--topology", str(tmp_path / "t.yaml"), str(tmp_path / "it.yaml")])
    assert found.exit_code == 1
    assert "began with entered segment vip" in found.output


def test_a_rule_test_cant_tell_one(tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(
        "rule: abandoned_cart\ntests: [{name: a, events: [{at: 0m, who: ann, event: visit_started}], decisions: []}]\n"
    )
    found = CliRunner().invoke(cli, ["test", str(tmp_path / "it.yaml")])
    assert "nobody can send it" in found.output
