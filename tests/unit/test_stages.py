"""Several reminders of one wait: little histories, each with the decisions that it leads to, computed by hand."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from pipeline.cli import cli
from pipeline.commands.person import facts
from pipeline.commands.person_view import render
from pipeline.profile.profile import advance, wakes_at
from pipeline.runtime.replay import Replay
from pipeline.topology.model import Stage, Topology
from pipeline.triggers import waits
from pipeline.triggers.decisions import decision_id, retraction_id
from tests.oracle.build import add, bounce, clear, click, event, login, order, send, view
from tests.oracle.compare import difference
from tests.oracle.histories import history
from tests.replayed import FAR, as_event, replayed, shipped
from tests.ruled import decided, ruled

CART = ruled("""
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  restart: {event: cart_viewed}
  stages: [{name: first, after: 1h}, {name: last, after: 24h}]
  cancel:
    - {event: order_completed, match: cart_id, without_key: all, takes: products, reason: bought}
    - {event: cart_cleared, match: cart_id, reason: cleared}
  until: {cart: empty, reason: emptied}
  payload: [cart]
""")
DAY = 1440
Told = list[dict[str, Any]]

# What is shown, what happens (minutes), what is decided: see tests/ruled.decided.
HISTORIES: list[tuple[str, Told, list[str]]] = [
    (
        "each stage counts from the cause, and is decided for itself",
        [add("1", 0)],
        ["65 fired due/first 1 60 key=c", "1445 fired due/last 1 1440 key=c"],
    ),
    (
        "before the first stage all is as ever: a further start moves the whole wait",
        [add("1", 0), add("2", 30)],
        ["95 fired due/first 2 90 key=c", "1475 fired due/last 2 1470 key=c"],
    ),
    (
        "what ends it before its first stage leaves one decision, naming that, when it would have been due",
        [add("1", 0), order("2", 30, cart="c")],
        ["65 cancelled bought/first 1 60 key=c by=2"],
    ),
    (
        "what ends it later leaves one decision, naming the next stage, as soon as can be known",
        [add("1", 0), order("2", 300, cart="c")],
        ["65 fired due/first 1 60 key=c", "305 cancelled bought/last 1 1440 key=c by=2"],
    ),
    (
        "told late, it is decided when it is told",
        [add("1", 0), order("2", 300, 320, cart="c")],
        ["65 fired due/first 1 60 key=c", "320 cancelled bought/last 1 1440 key=c by=2"],
    ),
    (
        "a restart moves what is left",
        [add("1", 0), view("2", 300)],
        ["65 fired due/first 1 60 key=c", "1745 fired due/last 2 1740 key=c"],
    ),
    (
        "a further start ends what is left, and begins anew with the first",
        [add("1", 0), add("2", 300)],
        [
            "65 fired due/first 1 60 key=c",
            "305 cancelled begun_anew/last 1 1440 key=c by=2",
            "365 fired due/first 2 360 key=c",
            "1745 fired due/last 2 1740 key=c",
        ],
    ),
    (
        "a start right after the due time overtakes the first stage, and begins anew",
        [add("1", 0), add("2", 62)],
        [
            "65 suppressed overtaken/first 1 60 key=c",
            "67 cancelled begun_anew/last 1 1440 key=c by=2",
            "127 fired due/first 2 122 key=c",
            "1507 fired due/last 2 1502 key=c",
        ],
    ),
    (
        "of two starts in one millisecond one begins anew, and the other moves it",
        [add("1", 0), add("2", 300), add("3", 300)],
        [
            "65 fired due/first 1 60 key=c",
            "305 cancelled begun_anew/last 1 1440 key=c by=2",
            "365 fired due/first 3 360 key=c",
            "1745 fired due/last 3 1740 key=c",
        ],
    ),
    (
        "what occurred up to a stage that is decided and comes later moves nothing and begins nothing",
        [add("1", 0), add("2", 50, 70), view("3", 60, 71)],
        ["65 fired due/first 1 60 key=c", "1445 fired due/last 1 1440 key=c"],
    ),
    (
        "a late cancel takes back what it would have prevented, and ends the rest at once",
        [add("1", 0), order("2", 30, 120, cart="c")],
        [
            "65 fired due/first 1 60 key=c",
            "120 retracted bought/first 1 60 key=c by=2",
            "120 cancelled bought/last 1 1440 key=c by=2",
        ],
    ),
    (
        "all that fired is taken back by what stood before it; what stood between, takes back the later one",
        [add("1", 0), clear("2", 30, 1500), add("3", 0, cart="d"), order("4", 300, 1500, cart="d")],
        [
            "65 fired due/first 1 60 key=c",
            "65 fired due/first 3 60 key=d",
            "1445 fired due/last 1 1440 key=c",
            "1445 fired due/last 3 1440 key=d",
            "1500 retracted cleared/first 1 60 key=c by=2",
            "1500 retracted cleared/last 1 1440 key=c by=2",
            "1500 retracted bought/last 3 1440 key=d by=4",
        ],
    ),
    (
        "what stood before the wait's last start, told late, touches nothing of it",
        [add("1", 10), add("2", 20), clear("3", 15, 120)],
        ["85 fired due/first 2 80 key=c", "1465 fired due/last 2 1460 key=c"],
    ),
    (
        "a late order of another cart takes back, and ends the rest of one of which it holds all",
        [add("1", 0), order("2", 30, 120, cart="d", products=[{"product_id": "p"}])],
        [
            "65 fired due/first 1 60 key=c",
            "120 retracted bought/first 1 60 key=c by=2",
            "120 cancelled bought/last 1 1440 key=c by=2",
        ],
    ),
    (
        "a start that is received when both stages are past is decided at once, each for itself",
        [add("1", 0, 1500)],
        ["1500 fired due/first 1 60 key=c", "1500 fired due/last 1 1440 key=c"],
    ),
    (
        "two who turn out to be one: the wait that began last goes on, the other leaves nothing more",
        [add("1", 0), add("2", 100, who="a:laptop"), login("3", 200), login("4", 201, who="a:laptop u:1")],
        [
            "65 fired due/first 1 60 key=c",
            "165 fired due/first 2 160 key=c",
            "1545 fired due/last 2 1540 key=c",
        ],
    ),
    (
        "two who turn out to be one: what the other began after a stage was decided begins anew",
        [add("1", 0), add("2", 190, who="a:laptop"), login("3", 200), login("4", 201, who="a:laptop u:1")],
        [
            "65 fired due/first 1 60 key=c",
            "201 cancelled begun_anew/last 1 1440 key=c by=2",
            "255 fired due/first 2 250 key=c",
            "1635 fired due/last 2 1630 key=c",
        ],
    ),
    (
        "two who turn out to be one: what the other began before that is late",
        [add("1", 0), add("2", 50, who="a:laptop"), login("3", 80), login("4", 81, who="a:laptop u:1")],
        ["65 fired due/first 1 60 key=c", "1445 fired due/last 1 1440 key=c"],
    ),
    (
        "two who turn out to be one: what the other bought after the last stage that was decided ends what is left",
        [add("1", 0), order("2", 61, who="a:laptop", cart="c"), login("3", 200), login("4", 201, who="a:laptop u:1")],
        ["65 fired due/first 1 60 key=c", "201 cancelled bought/last 1 1440 key=c by=2"],
    ),
    (
        "two who turn out to be one: what the other bought before that is late; a tie takes nothing back",
        [add("1", 0), order("2", 60, who="a:laptop", cart="c"), login("3", 200), login("4", 201, who="a:laptop u:1")],
        ["65 fired due/first 1 60 key=c", "201 cancelled bought/last 1 1440 key=c by=2"],
    ),
    (
        "two who turn out to be one: what the other bought for another cart, but before it was put into this one",
        [
            order("2", 0, who="a:laptop", cart="d", products=[{"product_id": "p"}]),
            add("1", 1),
            login("3", 200),
            login("4", 201, who="a:laptop u:1"),
        ],
        ["66 fired due/first 1 61 key=c", "1446 fired due/last 1 1441 key=c"],
    ),
    (
        "two who turn out to be one: what the other bought for another cart, and holds all that is in this one",
        [
            add("1", 0),
            order("2", 60, who="a:laptop", cart="d", products=[{"product_id": "p"}]),
            login("3", 200),
            login("4", 201, who="a:laptop u:1"),
        ],
        ["65 fired due/first 1 60 key=c", "201 cancelled bought/last 1 1440 key=c by=2"],
    ),
    (
        "two who turn out to be one: what the other bought before the last start ends nothing",
        [order("2", 0, who="a:laptop", cart="c"), add("1", 1), login("3", 200), login("4", 201, who="a:laptop u:1")],
        ["66 fired due/first 1 61 key=c", "1446 fired due/last 1 1441 key=c"],
    ),
    (
        "whose last start turns out to be somebody else's gets none of it",
        [
            login("1", 0, who="a:pad u:1"),
            add("2", 10, who="a:pad"),
            login("3", 5, 300, who="a:pad u:2"),
        ],
        ["75 fired due/first 2 70 key=c", "1455 suppressed other_person/last 2 1450 key=c"],
    ),
]


@pytest.mark.parametrize(("events", "expected"), [each[1:] for each in HISTORIES], ids=[each[0] for each in HISTORIES])
def test_history(events: Told, expected: list[str]) -> None:
    assert decided(CART, sorted(events, key=lambda each: each["received_at"])) == expected


MAIL = ruled("""
mail:
  version: 1
  per: message_id
  once: {forget: 72h}
  start: {event: email_sent}
  stages: [{name: first, after: 1d, payload: []}, {name: last, after: 3d}]
  cancel:
    - {event: email_clicked, match: message_id, before_start: true, reason: clicked}
    - {event: email_bounced, match: message_id, reason: unreachable}
  payload: [message]
""")
ONCE: list[tuple[str, Told, list[str]]] = [
    (
        "a second telling is nothing at all, also after a stage",
        [send("1", 0), send("2", 30), send("3", DAY + 60), send("4", 4 * DAY)],
        [f"{DAY + 5} fired due/first 1 {DAY} key=m", f"{3 * DAY + 5} fired due/last 1 {3 * DAY} key=m"],
    ),
    (
        "what stood before the start ends it",
        [click("2", -10), send("1", 0)],
        [f"{DAY + 5} cancelled clicked/first 1 {DAY} key=m by=2"],
    ),
    (
        "what stood before the start and comes late takes back, and ends the rest",
        [send("1", 0), click("2", -10, DAY + 60), bounce("3", -5, DAY + 70)],
        [
            f"{DAY + 5} fired due/first 1 {DAY} key=m",
            f"{DAY + 60} retracted clicked/first 1 {DAY} key=m by=2",
            f"{DAY + 60} cancelled clicked/last 1 {3 * DAY} key=m by=2",
        ],
    ),
    (
        "of two who turn out to be one: what is decided to the end absorbs what is left of the other",
        [send("1", 0), send("2", 2 * DAY, who="a:pad"), login("3", 4 * DAY, who="a:pad u:1")],
        [
            f"{DAY + 5} fired due/first 1 {DAY} key=m",
            f"{3 * DAY + 5} fired due/first 2 {3 * DAY} key=m",
            f"{3 * DAY + 5} fired due/last 1 {3 * DAY} key=m",
        ],
    ),
    (
        "what ends it between two stages",
        [send("1", 0), click("2", DAY + 60)],
        [f"{DAY + 5} fired due/first 1 {DAY} key=m", f"{DAY + 65} cancelled clicked/last 1 {3 * DAY} key=m by=2"],
    ),
]


@pytest.mark.parametrize(("events", "expected"), [each[1:] for each in ONCE], ids=[each[0] for each in ONCE])
def test_what_starts_once(events: Told, expected: list[str]) -> None:
    assert decided(MAIL, sorted(events, key=lambda each: each["received_at"])) == expected


def test_a_stage_asks_what_it_says_else_what_the_rule_says() -> None:
    """And where that doesn't hold, the later ones go on."""
    topology = ruled("""
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  stages:
    - {name: first, after: 1h}
    - {name: second, after: 2h, only_if: {none: [{did: page_viewed, within: 1d}]}}
    - {name: last, after: 1d, only_if: {did: page_viewed, within: 1d}}
  only_if: {did: searched, within: 1d}
""")
    looked = event("page_viewed", "2", 10, path="/")
    assert decided(topology, [add("1", 0), looked]) == [
        "65 suppressed only_if/first 1 60 key=c",
        "125 suppressed only_if/second 1 120 key=c",
        f"{DAY + 5} fired due/last 1 {DAY} key=c",
    ]
    assert decided(topology, [add("1", 0), event("searched", "2", 10)]) == [
        "65 fired due/first 1 60 key=c",
        "125 fired due/second 1 120 key=c",
        f"{DAY + 5} suppressed only_if/last 1 {DAY} key=c",
    ]


def test_a_stage_tells_what_it_says_else_what_the_rule_says() -> None:
    first, last = replayed([send("1", 0)], MAIL)
    assert first["payload"] == {}
    assert last["payload"] == {"message_id": "m", "campaign": "spring"}


def test_ids_are_made_with_the_stages_name_and_a_retractions_from_the_triggers() -> None:
    made = replayed([add("1", 0), order("2", 30, 120, cart="c")], CART)
    replay = Replay(CART)
    list(replay.feed(as_event(add("1", 0)), FAR))
    (profile,) = replay.profiles.values()
    fingerprint = profile.buffer[0].fingerprint
    ids = {each["outcome"]: each["id"] for each in made}
    assert ids["fired"] == decision_id("cart", 1, "c", "1", fingerprint, "first")
    assert ids["cancelled"] == decision_id("cart", 1, "c", "1", fingerprint, "last")
    assert ids["retracted"] == retraction_id(ids["fired"])
    assert decision_id("cart", 1, "c", "1", fingerprint) not in ids.values()


def test_a_person_is_looked_at_when_what_is_left_may_end() -> None:
    """Also where the fold hasn't seen the event yet: no decision comes later than it must."""
    for kind in (add("2", 300), order("2", 300, cart="c"), order("2", 300)):
        replay = Replay(CART)
        list(replay.feed(as_event(add("1", 0)), FAR))
        (profile,) = replay.profiles.values()
        made: list[Any] = [*advance(replay.book, profile, as_event(add("x", 70)).received_at)]
        assert [each.stage for each in made] == ["first"]
        event = as_event(kind)
        list(replay.feed(event, FAR))
        at = wakes_at(replay.book, profile)
        assert at is not None
        assert at <= event.received_at + replay.book.lateness


def test_what_is_left_lies_packed_with_the_others_and_is_found_again() -> None:
    carts = [add(f"s{n}", n, cart=f"c{n}") for n in range(60)]
    ends = [clear(f"e{n}", 300 + n, cart=f"c{n}") for n in range(0, 60, 3)]
    ends += [order("all", 400)]
    made = decided(CART, [*carts, *ends])
    assert sum(" fired due/first " in line for line in made) == 60
    assert sum(" cancelled cleared/last " in line for line in made) == 20
    assert sum(" cancelled bought/last " in line for line in made) == 40
    assert len(made) == 120


def test_a_cart_that_is_looked_at_again_and_again_stays_bounded_and_decides_the_same() -> None:
    """Moved for days, though more happens to it than is kept."""
    looks = [view(f"v{n}", 60 + 2 * n) for n in range(1, 1200)]
    made = decided(CART, [add("1", 0), *looks])
    assert made == [
        "65 fired due/first 1 60 key=c",
        f"{60 + 2398 + DAY + 5} fired due/last v1199 {60 + 2398 + DAY} key=c",
    ]
    replay = Replay(CART)
    for told in [add("1", 0), *looks]:
        list(replay.feed(as_event(told), FAR))
    (profile,) = replay.profiles.values()
    advance(replay.book, profile, replay.high)
    (person,) = profile.persons
    assert len(person.rules["cart"].keys["c"].facts) <= waits.FACTS_KEPT


ALL = ruled("""
cart:
  version: 1
  per: cart_id
  start: {event: product_added}
  restart: {event: cart_viewed}
  stages: [{name: first, after: 1h}, {name: second, after: 3h}, {name: last, after: 24h}]
  cancel:
    - {event: order_completed, match: cart_id, without_key: all, takes: products, reason: bought}
    - {event: cart_cleared, match: cart_id, reason: cleared}
  payload: [cart]
  again: {after: 2h}
  recovered: {within: 12h, by: [bought, cleared]}
""")


@pytest.mark.parametrize("topology", [CART, ALL], ids=["stages", "and all else"])
@pytest.mark.parametrize("seed", range(40))
def test_however_events_are_read_decisions_are_the_same(seed: int, topology: Topology) -> None:
    """In order of receipt, or moved about by less than the disorder, folded at once, or when something is due."""
    rng = Random(seed)
    kinds: list[Any] = [add, add, view, view, clear, order]
    told: Told = []
    for number in range(14):
        at = rng.choice([rng.randrange(0, 200), 60 * rng.randrange(0, 60)])
        late = rng.choice([0, 0, 0, 3, 70, 600])
        who = rng.choice(["a:phone", "a:phone", "u:1", "a:phone u:1"])
        told.append(rng.choice(kinds)(f"e{number}", at, at + late, who=who, cart=rng.choice(["c", "d"])))
    told.sort(key=lambda each: each["received_at"])
    made = decided(topology, told)
    shuffled = sorted(told, key=lambda each: each["received_at"] + rng.randrange(0, 9_000))
    assert decided(topology, shuffled) == made
    eager = Replay(topology)
    out: list[Any] = []
    for each in told:
        out += eager.feed(as_event(each), FAR)
        for profile_id, profile in list(eager.profiles.items()):
            assert advance(eager.book, profile, eager.high - eager.intake.disorder) == []
            eager._arm(profile_id, profile)
    out += eager.finish()
    lazy = {each["id"]: each for each in replayed(told, topology)}
    assert {each.id for each in out} == set(lazy)


def one_stage() -> Topology:
    """The shipped rules, each with its `after` told as the only stage."""
    rules = tuple(
        msgspec.structs.replace(rule, stages=(Stage(name="only", after_ms=rule.after_ms),)) for rule in shipped().rules
    )
    return msgspec.structs.replace(shipped(), rules=rules)


OPTIONS: list[dict[str, Any]] = [{}, {"real": True}, {"shared_devices": True, "behind": True}]


@pytest.mark.parametrize("start", range(0, 120, 20))
def test_one_stage_is_as_none(start: int) -> None:
    """But for ids."""
    topology = one_stage()
    for seed in range(start, start + 20):
        for options in OPTIONS:
            events = history(seed, **options)
            staged = replayed(events, topology)
            for each in staged:
                assert each.pop("stage", "only") == "only"
            assert difference(replayed(events), staged) == "", (seed, options)


def test_what_waits_and_what_was_decided_name_their_stage(tmp_path: Path) -> None:
    """`pipeline explain`, and the facts behind `pipeline profile`."""
    topology = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text(encoding="utf-8"))
    topology["triggers"] = {
        "cart": {
            "version": 1,
            "per": "cart_id",
            "start": {"event": "product_added"},
            "stages": [{"name": "first", "after": "1h"}, {"name": "last", "after": "24h"}],
        }
    }
    path, events = tmp_path / "topology.yaml", tmp_path / "events.jsonl"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    told = [("m1", "10:00", "Product Added", "c"), ("m2", "12:00", "Product Added", "d")]
    with events.open("w", encoding="utf-8") as out:
        for number, at, name, cart in told:
            when = f"2026-03-02T{at}:00Z"
            track = {"type": "track", "event": name, "messageId": number, "timestamp": when, "receivedAt": when}
            out.write(json.dumps({**track, "userId": "ann", "properties": {"cart_id": cart, "product_id": "p"}}) + "\n")
    arguments = ["explain", "user_id:ann", "cart", str(events), "--topology", str(path), "--end", "open"]
    assert CliRunner().invoke(cli, arguments).output.splitlines() == [
        "cart, for user_id:ann",
        "  2026-03-02T10:00:00.000Z  product_added m1 (c): starts a wait, or begins it anew with its first stage",
        "  2026-03-02T11:05:00.000Z  → c, first: fired (due), due 2026-03-02T11:00:00.000Z",
        "  2026-03-02T12:00:00.000Z  product_added m2 (d): starts a wait, or begins it anew with its first stage",
        "  2026-03-02T13:05:00.000Z  → d, first: waits, and will fire (due), due 2026-03-02T13:00:00.000Z",
        "  2026-03-03T10:05:00.000Z  → c, last: waits, and will fire (due), due 2026-03-03T10:00:00.000Z",
    ]
    replay = Replay(CART)
    list(replay.feed(as_event(add("1", 0)), FAR))
    ((profile_id, profile),) = replay.profiles.items()
    found = facts(replay.book, profile_id, profile, as_event(add("x", 70)).received_at)
    assert [each["stage"] for each in (*found["waiting"], *found["retractable"])] == ["last", "first"]
    shown = StringIO()
    Console(file=shown, width=160).print(render(found))
    assert "last: will fire (due)" in shown.getvalue()
