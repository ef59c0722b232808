"""Rules that wait for nothing: little histories, each with the decisions that it leads to, computed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.profile.profile import Profile, advance, new_profile, receive
from pipeline.triggers.decisions import Decision
from pipeline.triggers.keys import WAITS_KEPT
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row
from tests.oracle.build import MINUTE, add, event, login, ms, order
from tests.ruled import decided, ruled

Told = list[dict[str, Any]]
MS = 1 / 60_000
CANCEL = "cancel: {event: order_completed, reason: bought}"
PLAIN = "start: {event: product_added}"
ARRIVES = "start: {event: product_added}\n  decide: on_arrival"


def rules(*lines: str) -> Any:
    """A topology of one rule."""
    return ruled("r:\n  version: 1\n" + "".join(f"  {line}\n" for line in lines))


HISTORIES: list[tuple[str, list[str], Told, list[str]]] = [
    (
        "each start is decided by itself, lateness after it occurred",
        [PLAIN],
        [add("1", 0), add("2", 1), add("3", 30)],
        ["5 fired due 1 0", "6 fired due 2 1", "35 fired due 3 30"],
    ),
    (
        "one that comes late is decided when it comes, and is late for nothing",
        [PLAIN],
        [add("1", 0), add("2", -1, 20), add("3", -30, 20)],
        ["5 fired due 1 0", "20 fired due 3 -30", "20 fired due 2 -1"],
    ),
    (
        "a key has its own, and each of an event's items",
        ["per: products.product_id", "start: {event: product_added}"],
        [add("1", 0) | {"body": {"products": [{"product_id": "p"}, {"product_id": "q"}]}}],
        ["5 fired due 1 0 key=p", "5 fired due 1 0 key=q"],
    ),
    (
        "what ends it in its millisecond ends it, and what comes a millisecond later is nothing to it",
        [PLAIN, CANCEL],
        [add("1", 0), order("2", 0), add("3", 10), order("4", 10 + MS)],
        ["5 cancelled bought 1 0 by=2", "15 fired due 3 10"],
    ),
    (
        "an end that is told late takes it back",
        [PLAIN, CANCEL],
        [add("1", 0), order("2", 0, 20), order("3", 1, 21)],
        ["5 fired due 1 0", "20 retracted bought 1 0 by=2"],
    ),
    (
        "an end that comes later is its success, where that is asked for",
        [PLAIN, CANCEL, "recovered: {within: 1d}"],
        [add("1", 0), add("2", 10), order("3", 20), order("4", 30)],
        ["5 fired due 1 0", "15 fired due 2 10", "20 recovered bought 2 10 by=3"],
    ),
    (
        "until and only_if are looked at when it occurred",
        [PLAIN, "until: {when: {did: page_viewed}, reason: looked}", "only_if: {did: searched}"],
        [add("1", 0), event("searched", "2", 1), add("3", 2), event("page_viewed", "4", 3), add("5", 3), add("6", 9)],
        ["5 suppressed only_if 1 0", "7 fired due 3 2", "8 cancelled looked 5 3 by=4", "14 cancelled looked 6 9"],
    ),
    (
        "again: so long it rests, whether they occurred before or after",
        [PLAIN, "again: {after: 1h}"],
        [add("1", 0), add("2", 1), add("3", -10, 8), add("4", 59), add("5", 60)],
        ["5 fired due 1 0", "65 fired due 5 60"],
    ),
    (
        "again never, and once: that are two ways to say it once",
        [PLAIN, "again: never"],
        [add("1", 0), add("2", 1), add("3", 10_000)],
        ["5 fired due 1 0"],
    ),
    (
        "once: also where it was cancelled, by what came before",
        ["start: {event: product_added}", "once: true", CANCEL.replace("reason", "before_start: true, reason")],
        [order("1", -5), add("2", 0), add("3", 10)],
        ["5 cancelled bought 2 0 by=1"],
    ),
    (
        "a condition that turns, each time",
        ["start: {when: {did: product_added, times: 2, within: 10m}}"],
        [add("1", 0), add("2", 5), add("3", 6), add("4", 30), add("5", 31), event("page_viewed", "6", 99)],
        ["10 fired due 2 5", "36 fired due 5 31"],
    ),
    (
        "a sequence, by its last step",
        ["start: {sequence: [{event: searched}, {event: product_added}], within: 1h}"],
        [event("searched", "1", 0), add("2", 5), event("searched", "3", 6), add("4", 7, 40)],
        ["10 fired due 2 5", "40 fired due 4 7"],
    ),
    (
        "on arrival: at its receipt",
        [ARRIVES, CANCEL],
        [add("1", 0), add("2", 1, 9), order("3", 1, 9), add("4", 20), order("5", 20, 21)],
        ["0 fired due 1 0", "9 cancelled bought 2 1 by=3", "20 fired due 4 20", "21 retracted bought 4 20 by=5"],
    ),
    (
        "on arrival and again: what occurred before and comes after is barred",
        [ARRIVES, "again: {after: 1h}"],
        [add("1", 10), add("2", 5, 20), add("3", 70)],
        ["10 fired due 1 10", "70 fired due 3 70"],
    ),
    (
        "on arrival: by time alone",
        ["start: {when: {last: product_added, age: {gte: 30m}}}\n  decide: on_arrival"],
        [add("1", 0), event("page_viewed", "2", 50)],
        ["30 fired due 1 30"],
    ),
    (
        "at a tie what is open stays what it is, each by itself",
        [PLAIN],
        [add("1", 0), add("2", 1, who="u:1"), login("3", 2, who="a:phone u:1")],
        ["5 fired due 1 0", "6 fired due 2 1"],
    ),
]


@pytest.mark.parametrize(("lines", "events", "wanted"), [case[1:] for case in HISTORIES], ids=[c[0] for c in HISTORIES])
def test_little_histories(lines: list[str], events: Told, wanted: list[str]) -> None:
    assert decided(rules(*lines), sorted(events, key=lambda each: each["received_at"])) == wanted


def test_what_starts_by_a_decision_starts_at_once() -> None:
    topology = ruled("""
first: {version: 1, start: {event: product_added}, cancel: {event: order_completed, reason: bought}, decide: on_arrival}
then: {version: 1, start: {trigger: {rule: first}}, decide: on_arrival}
last: {version: 1, start: {trigger: {rule: then}}}
""")
    made = decided(topology, [add("1", 0), order("2", 0, 3), add("3", 60)])
    assert [line.split()[:3] for line in made] == [
        ["0", "fired", "due"],
        ["0", "fired", "due"],
        ["3", "retracted", "bought"],
        ["3", "retracted", "retracted"],
        ["5", "cancelled", "retracted"],
        *[["60", "fired", "due"]] * 2,
        ["65", "fired", "due"],
    ]


def row(number: int, at: int, **data: Any) -> Row:
    return Row(0, "", "product_added", at, at, f"e{number}", number, ["anonymous_id", "a"], data)


def taken(book: RuleBook, rows: list[Row]) -> Profile:
    profile = new_profile()
    for each in rows:
        receive(book, profile, each)
    return profile


@pytest.mark.parametrize("per", ["", "per: cart_id"])
def test_too_many_are_refused_and_no_more_is_kept(per: str) -> None:
    book, at = RuleBook(rules(PLAIN, per or "version: 1", "again: always")), ms(0)
    more = 40
    profile = taken(book, [row(n, at + n, cart_id=f"c{n}") for n in range(WAITS_KEPT + more)])
    refused = advance(book, profile, at + MINUTE)
    assert [(each.outcome, each.reason) for each in refused if isinstance(each, Decision)] == [
        ("suppressed", "too_many")
    ] * more
    (person,) = profile.persons
    assert sum(len(key.facts) for key in person.rules["r"].keys.values()) == WAITS_KEPT
    made = advance(book, profile, at + 60 * MINUTE)
    assert [each.outcome for each in made if isinstance(each, Decision)] == ["fired"] * WAITS_KEPT
    assert not profile.persons[0].due


def test_explain_says_how_it_is_decided(tmp_path: Path) -> None:
    topology = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text(encoding="utf-8"))
    demo = {"version": 1, "start": {"event": "product_added"}}
    topology["triggers"] = {
        "demo": demo | {"decide": "on_arrival"},
        "rests": demo | {"again": {"after": "1h"}},
        "never": demo | {"again": "never", "decide": "on_arrival"},
        "single": demo | {"once": True},
    }
    path, events = tmp_path / "topology.yaml", tmp_path / "events.jsonl"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    when = "2026-03-02T10:00:00Z"
    told = {"type": "track", "event": "Product Added", "messageId": "m", "timestamp": when, "receivedAt": when}
    events.write_text(json.dumps(told | {"userId": "ann", "properties": {"product_id": "p"}}) + "\n", encoding="utf-8")
    lines = {}
    for name in topology["triggers"]:
        arguments = ["explain", "user_id:ann", name, str(events), "--topology", str(path), "--end", "open"]
        lines[name] = [line[28:] for line in CliRunner().invoke(cli, arguments).output.splitlines()[1:]]
    due = "due 2026-03-02T10:00:00.000Z"
    assert lines == {
        "demo": ["product_added m: is decided as it is received", f"→ fired (due), {due}"],
        "rests": [
            "product_added m: is decided by itself, if its last trigger is long enough ago",
            f"→ waits, and will fire (due), {due}",
        ],
        "never": [
            "product_added m: is decided as it is received, if none of its key has fired",
            f"→ fired (due), {due}",
        ],
        "single": [
            "product_added m: is decided by itself, if none was before",
            f"→ waits, and will fire (due), {due}",
        ],
    }
