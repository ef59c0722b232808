"""The demo's week, its stories and its pictures, over a replay; tests/flow plays it through the worker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from pipeline.commands.person import facts
from pipeline.commands.person_view import render
from pipeline.demo.play import SHIPPED, on_show, reasons
from pipeline.demo.playground import embedded
from pipeline.demo.shop import recording
from pipeline.demo.view import LiveView, PlainView, State, sparkline
from pipeline.demo.why import Recorded, why
from pipeline.errors import InvalidEvent
from pipeline.events.files import parse
from pipeline.events.model import Event
from pipeline.identity.ids import leaf_id
from pipeline.runtime.embedded import EmbeddedKafka
from pipeline.runtime.replay import Replay
from pipeline.triggers.decisions import Decision

TOPOLOGY = on_show(Path(__file__).parents[2] / "topology.yaml")

Decided = dict[str, Any]


def events() -> Iterator[Event]:
    for line in recording():
        try:
            yield from parse(line.encode())
        except InvalidEvent:
            continue


@pytest.fixture(scope="module")
def played() -> tuple[Replay, list[Decided]]:
    """The week, replayed; decisions as the worker's topic gives them."""
    replay = Replay(TOPOLOGY)
    found: list[Decision] = []
    for event in events():
        try:
            found += replay.feed(event, event.received_at)
        except InvalidEvent:
            continue
    found += replay.finish()
    return replay, [msgspec.structs.asdict(decision) for decision in found]


def of(played: tuple[Replay, list[Decided]], key: str) -> list[Decided]:
    """By the rules of the stories."""
    return [d for d in played[1] if d["correlation_key"] == key and d["rule"] not in SHIPPED]


def test_the_week_is_the_same_each_time_and_of_a_size_to_watch() -> None:
    week = recording()
    assert week == recording()
    assert 2_000 <= len(week) <= 5_000


def test_two_lines_are_of_no_use() -> None:
    bad = []
    for line in recording():
        try:
            parse(line.encode())
        except InvalidEvent as error:
            bad.append(error.reason)
    assert bad == ["invalid_json"]
    assert sum("nobody" in line for line in recording()) == 1


def test_every_rule_decides_both_ways(played: tuple[Replay, list[Decided]]) -> None:
    assert {*SHIPPED} < {rule.name for rule in TOPOLOGY.rules}
    found = Counter((d["rule"], d["outcome"]) for d in played[1])
    for rule in TOPOLOGY.rules:
        assert found[rule.name, "fired"] >= 3
        assert found[rule.name, "cancelled"] >= 2


def test_the_stories(played: tuple[Replay, list[Decided]]) -> None:
    assert [(d["outcome"], d["reason"]) for d in of(played, "mara-1")] == [("cancelled", "bought")]
    assert [(d["outcome"], d["reason"]) for d in of(played, "mara-3")] == [("fired", "due")]
    assert [d["outcome"] for d in of(played, "guide-mara")] == ["fired"]
    assert [(d["outcome"], d["reason"]) for d in of(played, "guide-tom")] == [("cancelled", "clicked")]
    assert [(d["outcome"], d["reason"]) for d in of(played, "pia-1")] == [("fired", "due"), ("retracted", "bought")]
    assert [d["outcome"] for d in played[1] if (d["rule"], d["correlation_key"]) == ("cart_in_stages", "ruth-1")] == [
        "fired",
        "recovered",
        "cancelled",
    ]
    films = {d["identifiers"]["user_id"][0]: d for d in of(played, "ridge") if "user_id" in d["identifiers"]}
    assert (films["jonas"]["outcome"], films["mara"]["outcome"]) == ("fired", "cancelled")


def test_why_tells_the_way_to_a_cancelled_reminder(played: tuple[Replay, list[Decided]]) -> None:
    (decision,) = of(played, "mara-1")
    assert why(decision, Recorded(events())) == [
        ("Mon 19:02", "product added tent on mara-phone: the wait counts from here"),
        ("Mon 19:24", "order completed o-1001 on mara-laptop as mara"),
        ("Mon 19:41", "login on mara-phone as mara: both devices are one person"),
        ("Mon 20:02", "would be due, but: bought"),
        ("Mon 20:07", "cancelled: nobody is reminded"),
    ]


def test_why_tells_the_way_to_a_reminder_and_to_one_taken_back(played: tuple[Replay, list[Decided]]) -> None:
    recorded = Recorded(events())
    assert [moment for moment, _ in why(of(played, "mara-3")[0], recorded)] == ["Thu 12:18", "Thu 13:18", "Thu 13:23"]
    fired, taken_back = of(played, "pia-1")
    assert why(fired, recorded)[-1][1].startswith("fired")
    assert [moment for moment, _ in why(taken_back, recorded)] == ["Tue 11:00", "Tue 11:40", "Tue 12:00", "Tue 15:20"]


def test_no_login_is_told_where_cause_and_end_have_a_device_in_common(played: tuple[Replay, list[Decided]]) -> None:
    (decision,) = of(played, "mara-2")
    assert decision["outcome"] == "cancelled"
    assert not any("login" in what for _, what in why(decision, Recorded(events())))


def mara(played: tuple[Replay, list[Decided]]) -> dict[str, Any]:
    replay, _ = played
    profile_id = replay.graph.root(leaf_id("user_id", "mara"))
    return facts(replay.book, profile_id, replay.profiles[profile_id], replay.high - replay.intake.disorder)


def test_the_facts_of_a_person(played: tuple[Replay, list[Decided]]) -> None:
    told = mara(played)
    json.dumps(told)
    assert told["identifiers"] == {
        "anonymous_id": ["mara-laptop", "mara-phone"],
        "email": ["mara@example.org"],
        "user_id": ["mara"],
    }
    assert told["events"] == sum(told["totals"].values())
    assert told["orders"] == [{"currency": "EUR", "orders": 2, "revenue": 408.0}]
    assert [(cart["cart_id"], cart["total"]) for cart in told["carts"]] == [("mara-3", 115.3)]
    assert told["messages"][0]["status"] == "opened"
    assert told["films"][0]["share"] == pytest.approx(0.53, abs=0.02)
    assert told["waiting"] == []
    assert {(t["rule"], t["correlation_key"]) for t in told["retractable"]} == {
        ("ebook_not_clicked", "guide-mara"),
        ("abandoned_cart", "mara-3"),
        ("cart_in_stages", "mara-3"),
    }
    assert told["timeline"][-1] == {"at": "2025-11-27T12:18:00.000Z", "type": "cart_viewed", "label": "mara-3"}


def test_what_waits_is_told_with_its_end(played: tuple[Replay, list[Decided]]) -> None:
    """A look in the middle of the week: what will be decided, as things stand."""
    replay = Replay(TOPOLOGY)
    for event in events():
        if event.received_at > 1_764_010_000_000:  # Monday, 18:46
            break
        for _ in replay.feed(event, event.received_at):
            pass
    waiting = mara((replay, []))["waiting"]
    assert [(w["rule"], w["correlation_key"], w["due_at"], w["will"]) for w in waiting] == [
        ("browse_abandoned", None, "2025-11-24T20:43:27.000Z", ["fire", "due"]),
        ("ebook_not_clicked", "guide-mara", "2025-11-27T09:00:00.000Z", ["fire", "due"]),
    ]
    assert waiting[-1]["decided_at"] == "2025-11-27T09:05:00.000Z"


def printed(what: object, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(what)
    console.file.close()
    return console.export_text()


def test_the_person_fits_a_terminal_of_80_columns(played: tuple[Replay, list[Decided]]) -> None:
    shown = printed(render(mara(played)), 80)
    assert all(len(line) <= 80 for line in shown.splitlines())
    for word in ("mara@example.org", "guide-mara", "Winter on the Ridge", "cart viewed", "take it back"):
        assert word in " ".join(shown.replace("│", " ").split())


def test_the_reasons_name_all_three_outcomes(played: tuple[Replay, list[Decided]]) -> None:
    shown = printed(reasons(played[1], Recorded(events())))
    for title in ("fired: 2 × map, 1 × stove  115.30 EUR", "cancelled: cart mara-1", "retracted: cart pia-1"):
        assert title in shown


def test_the_live_picture_fits_a_small_terminal(played: tuple[Replay, list[Decided]]) -> None:
    state = State(total=4)
    for decision in played[1]:
        state.decided(decision)
    with open("/dev/null", "w") as nowhere:
        console = Console(width=100, height=40, force_terminal=True, file=nowhere)
        view = LiveView(console, TOPOLOGY)
        try:
            for step in ("one", "two", "three", "four"):
                view.step(step)
            view.show(state, [])
            lines = console.render_lines(view._picture(), pad=False)
        finally:
            view.close()
    assert len(lines) <= 38
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    assert "abandoned_cart" in text
    assert f"decisions {len(played[1])}" in text


def test_plain_lines_tell_every_decision(played: tuple[Replay, list[Decided]], capsys: Any) -> None:
    view = PlainView(Console(width=80))
    view.step("playing")
    view.show(State(total=4), played[1][:5])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "playing"
    assert len(said) == 7
    assert "abandoned_cart" in said[1]


def test_rates_as_bars() -> None:
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([0.0, 50.0, 100.0]) == "▁▅█"


def test_the_embedded_broker_gets_the_partitions_it_can_have() -> None:
    fitted = embedded(TOPOLOGY)
    topics = fitted.topics
    assert {t.partitions for t in (*topics.sources, topics.resolved, topics.decisions)} == {EmbeddedKafka.PARTITIONS}
    assert fitted.http_port != TOPOLOGY.http_port
    assert fitted.rules == TOPOLOGY.rules
