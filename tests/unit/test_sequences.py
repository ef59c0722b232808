"""Starts by events that follow one another: little histories, each with the decisions that it leads to, computed by
hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.triggers.rules import RuleBook
from pipeline.triggers.sequences import KEPT
from tests.oracle.build import event, login
from tests.oracle.language.build import Example
from tests.oracle.language.compare import differing
from tests.oracle.language.examples_starts import SEQUENCES
from tests.property.test_language import topology_of
from tests.replayed import replayed, shipped
from tests.ruled import decided, ruled

RULE = """
seq:
  version: 1
  start:
    sequence:
      - {event: page_viewed, where: {path: /pricing}, as: a}
      - {not: {event: order_completed}}
      - {event: form_submitted, where: {form_id: trial}}
    within: 7d
  after: 1h
"""
PLAIN = ruled(RULE)
BOUNDED = ruled(RULE.replace("within: 7d", "within: 1h"))
ONCE = ruled(RULE + "  once: true\n")
FIRST_AGAIN = ruled(RULE.replace("order_completed", "form_submitted"))
SAME = ruled("""
seq:
  version: 1
  start:
    sequence:
      - {event: form_submitted, where: {form_id: {exists: true}}, as: a}
      - {event: form_submitted, where: {form_id: a.form_id}}
    within: 7d
  after: 1h
  payload: {form: start.form_id}
""")
LASTS = ruled("""
seq:
  version: 1
  start:
    sequence:
      - {event: searched, as: a}
      - {event: product_viewed, where: {product_id: {exists: true}}, as: b}
      - {not: {event: product_added, where: {product_id: b.product_id}}, for: 2h}
    within: 1d
""")
KEYED = ruled("""
seq:
  version: 1
  per: product_id
  start:
    sequence:
      - {event: searched}
      - {event: product_viewed}
      - {event: product_added}
    within: 1d
  after: 1h
""")
NO_MORE = ruled("""
no_more:
  version: 1
  start: {sequence: [{event: searched}, {not: {event: searched}, for: 1h}], within: 1d}
""")
NO_MORE_AFTER = ruled("""
no_more:
  version: 1
  start: {sequence: [{event: searched}, {event: product_viewed}, {not: {event: searched}, for: 1h}], within: 1d}
""")
MINUTE = 1 / 60_000
DAY = 1440
Told = list[dict[str, Any]]


def page(
    id_: str, at: float, got: float | None = None, *, who: str = "a:phone", path: str = "/pricing"
) -> dict[str, Any]:
    return event("page_viewed", id_, at, got, who, path=path)


def form(id_: str, at: float, got: float | None = None, *, who: str = "a:phone", form: str = "trial") -> dict[str, Any]:
    return event("form_submitted", id_, at, got, who, form_id=form)


def order(id_: str, at: float, got: float | None = None, *, who: str = "a:phone") -> dict[str, Any]:
    return event("order_completed", id_, at, got, who, order_id=id_)


def search(id_: str, at: float, got: float | None = None) -> dict[str, Any]:
    return event("searched", id_, at, got)


def seen(id_: str, at: float, got: float | None = None, *, product: str = "p") -> dict[str, Any]:
    return event("product_viewed", id_, at, got, product_id=product)


def add(id_: str, at: float, got: float | None = None, *, product: str = "p") -> dict[str, Any]:
    return event("product_added", id_, at, got, product_id=product, price=1.0, currency="EUR", quantity=1)


HISTORIES: list[tuple[str, Any, Told, list[str]]] = [
    ("the cause is the last step", PLAIN, [page("1", 0), form("2", 10)], ["75 fired due 2 70"]),
    ("in this order only", PLAIN, [form("1", 0), page("2", 10)], []),
    ("other events don't matter, others of a type neither", PLAIN,
     [page("1", 0), page("2", 5, path="/"), form("3", 7, form="x"), form("4", 10)], ["75 fired due 4 70"]),
    ("all within so long of the first", BOUNDED, [page("1", 0), form("2", 60)], ["125 fired due 2 120"]),
    ("and no millisecond longer", BOUNDED, [page("1", 0), form("2", 60 + MINUTE)], []),
    ("a later first step may be in time", BOUNDED, [page("1", 0), page("2", 30), form("3", 70)],
     ["135 fired due 3 130"]),
    ("what must not be in between", PLAIN, [page("1", 0), order("2", 5), form("3", 10)], []),
    ("before and after it doesn't matter", PLAIN, [order("1", 0), page("2", 1), form("3", 10), order("4", 11)],
     ["75 fired due 3 70"]),
    ("it is between the last first step and the second that counts", PLAIN,
     [page("1", 0), order("2", 5), page("3", 6), form("4", 10)], ["75 fired due 4 70"]),
    ("what is itself the next step isn't in between", FIRST_AGAIN, [page("1", 0), form("2", 10), form("3", 20)],
     ["75 fired due 2 70"]),
    ("matched by when they occurred, in whatever order they come", PLAIN,
     [form("2", 10), page("1", 0, 20)], ["75 fired due 2 70"]),
    ("known so late that it was due before", PLAIN, [form("2", 10), page("1", 0, 200)], ["200 fired due 2 70"]),
    ("what completed stays, though what must not have been comes late", PLAIN,
     [page("1", 0), form("3", 10), order("2", 5, 20)], ["75 fired due 3 70"]),
    ("what comes in one millisecond is known at once", PLAIN,
     [page("1", 0), form("3", 10, 20), order("2", 5, 20)], []),
    ("a run's events are used up", PLAIN, [page("1", 0), form("2", 10), form("3", 20)], ["75 fired due 2 70"]),
    ("but not those that weren't needed", PLAIN,
     [page("1", 0), page("2", 1), form("3", 10), form("4", 20)], ["85 fired due 4 80"]),
    ("a further one moves an open wait", PLAIN, [page("1", 0), form("2", 10), page("3", 15), form("4", 20)],
     ["85 fired due 4 80"]),
    ("after a decision it starts anew", PLAIN, [page("1", 0), form("2", 10), page("3", 100), form("4", 120)],
     ["75 fired due 2 70", "185 fired due 4 180"]),
    ("a further one after the due time overtakes", PLAIN, [page("1", 0), form("2", 10), page("3", 71), form("4", 72)],
     ["75 suppressed overtaken 2 70", "137 fired due 4 132"]),
    ("once", ONCE, [page("1", 0), form("2", 10), page("3", 100), form("4", 120)], ["75 fired due 2 70"]),
    ("told twice is one", PLAIN, [page("1", 0), form("2", 10), form("2", 10, 11)], ["75 fired due 2 70"]),
    ("the same form again", SAME, [form("1", 0), form("2", 10, form="x"), form("3", 20)], ["85 fired due 3 80"]),
    ("never one event for two steps", SAME, [form("1", 0), form("2", 10, form="x")], []),
    ("three of one kind are one run", SAME, [form("1", 0), form("2", 10), form("3", 20)], ["75 fired due 2 70"]),
    ("two runs that cross", SAME, [form("1", 0), form("2", 1, form="x"), form("3", 10, form="x"), form("4", 20)],
     ["85 fired due 4 80"]),
    ("what didn't happen for so long", LASTS, [search("1", 0), seen("2", 10)], ["135 fired due 2 130"]),
    ("it did: nobody is told", LASTS, [search("1", 0), seen("2", 10), add("3", 130)], []),
    ("of another product it counts nothing", LASTS, [search("1", 0), seen("2", 10), add("3", 130, product="q")],
     ["135 fired due 2 130"]),
    ("it did, and that comes late: it is taken back", LASTS, [search("1", 0), seen("2", 10), add("3", 130, 140)],
     ["135 fired due 2 130", "140 retracted broken 2 130 by=3"]),
    ("before the wait it counts nothing", LASTS, [search("1", 0), add("2", 5), seen("3", 10)], ["135 fired due 3 130"]),
    ("a further sequence moves it, and then it is of that what must not follow", LASTS,
     [search("1", 0), seen("2", 10), search("3", 20), seen("4", 30, product="q"), add("5", 40, product="q")], []),
    ("... and of no other", LASTS,
     [search("1", 0), seen("2", 10), search("3", 20), seen("4", 30, product="q"), add("5", 40)],
     ["155 fired due 4 150"]),
    ("the last step doesn't follow itself", NO_MORE, [search("1", 0), search("2", 10)], ["75 fired due 2 70"]),
    ("nor does a step before it, in one millisecond", NO_MORE_AFTER, [search("1", 0), seen("2", 0)],
     ["65 fired due 2 60"]),
    ("another one does", NO_MORE_AFTER, [search("1", 0), seen("2", 0), search("3", 0.5)], []),
    ("a broken run's events are free", LASTS, [search("1", 0), seen("2", 10), add("3", 20), seen("4", 30)],
     ["155 fired due 4 150"]),
    ("known to be broken when it completes", LASTS, [search("1", 0), add("3", 20), seen("2", 10, 30), seen("4", 40)],
     ["165 fired due 4 160"]),
    ("a run for each key; what has none counts for each", KEYED,
     [search("1", 0), seen("2", 1), seen("3", 2, product="q"), add("4", 3), add("5", 4, product="q")],
     ["68 fired due 4 63 key=p", "69 fired due 5 64 key=q"]),
    ("no key's steps complete another's", KEYED, [search("1", 0), seen("2", 1), add("3", 3, product="q")], []),
    ("and what has none may be what completes them", KEYED, [seen("2", 1), add("4", 3), search("1", 0, 10)],
     ["68 fired due 4 63 key=p"]),
    ("what is older than max_age is no step", PLAIN, [form("2", 10), page("1", 9, 9 + 3 * DAY + MINUTE)], []),
    ("nor the first of later ones", PLAIN, [page("1", 0, 3 * DAY + MINUTE), form("2", 3 * DAY + 2)], []),
    ("one of that very age is", PLAIN, [page("1", 0, 3 * DAY), form("2", 3 * DAY + 2)],
     [f"{3 * DAY + 67} fired due 2 {3 * DAY + 62}"]),
    ("a tie completes nothing", PLAIN, [page("1", 0), form("2", 10, who="u:1"), login("3", 20)], []),
    ("what comes after it does", PLAIN,
     [page("1", 0), form("2", 10, who="u:1"), login("3", 20), form("4", 30, who="u:1")], ["95 fired due 4 90"]),
    ("nor does what used up one side", PLAIN,
     [page("1", 0), form("2", 10), login("3", 20), form("4", 30, who="u:1")], ["75 fired due 2 70"]),
    ("another's event is nobody's step", PLAIN, [page("1", 0), form("2", 10, who="a:other")], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("topology", "events", "expected"), [case[1:] for case in HISTORIES], ids=[c[0] for c in HISTORIES]
)
def test_what_is_decided(topology: Any, events: Told, expected: list[str]) -> None:
    assert decided(topology, sorted(events, key=lambda each: each["received_at"])) == expected


def test_the_start_told_what_the_last_step_did() -> None:
    (made,) = replayed([form("1", 0), form("2", 10)], SAME)
    assert made["payload"] == {"form": "trial"}


def test_what_there_is_no_room_for_is_said() -> None:
    pages = [page(f"p{n}", n / 10) for n in range(KEPT + 1)]
    (made,) = replayed([*pages[:-2], form("2", 100)], PLAIN)
    assert "bounded" not in made
    (made,) = replayed([*pages, form("2", 100)], PLAIN)
    assert made["bounded"] is True


def test_hundreds_of_unfinished_runs_cost_little() -> None:
    forms = [form(f"f{n}", n / 10, form=f"form-{n}") for n in range(2 * KEPT)]
    assert decided(SAME, forms) == []


def test_nothing_is_watched_where_there_is_none() -> None:
    assert RuleBook(shipped()).watches is None


@pytest.mark.parametrize("example", SEQUENCES, ids=[each.name for each in SEQUENCES])
def test_what_the_oracle_has_by_hand(example: Example, tmp_path: Path) -> None:
    made = replayed(example.events, topology_of(example.topology, tmp_path), open_end=example.open_end)
    assert differing(example.expected, made) == ""
