"""`film`: how much of a film was watched, as a condition. Times are minutes; lateness is 5; films have 120 seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.language.leaves import film
from pipeline.language.leaves.film import FilmMatcher
from pipeline.language.memory import Entry, Memory, Moment
from tests.oracle.build import Event, event, login, play
from tests.oracle.language.build import MS, change, rules, want
from tests.unit.test_cart_condition import found_in, leads

Told = dict[str, Any]
HALF = {"film": {"share": {"gte": 0.5}}}
OF_FILMS = {"per": "film", "start": {"event": "video_started"}, "after": "1h"}


def watched(id_: str, at: float, start: float, end: float, got: float | None = None, **told: Any) -> Event:
    """Of our own player."""
    return play(id_, at, None, got, watched_from=start, watched_to=end, **told)


def begun(id_: str, at: float, **told: Any) -> Event:
    return play(id_, at, 0, type_="video_started", **told)


def test_each_second_once_over_all_sessions(tmp_path: Path) -> None:
    events = [
        watched("1", 0, 0, 40),
        watched("2", 5, 20, 59, session="t"),
        watched("3", 10, 100, 101, session="t"),
    ]
    leads(tmp_path, rules({"s": HALF}), events, changes=[change("entered", 10, "3")])


def test_positions_of_a_session_in_order_of_receipt(tmp_path: Path) -> None:
    told = rules({"s": {"film": {"seconds": {"gte": 20}}}})
    events = [begun("1", 0), play("2", 1 / 6, 10), play("3", 1 / 3, 20)]
    leads(tmp_path, told, events, changes=[change("entered", 1 / 3, "3")])
    late = [begun("1", 0), play("3", 1 / 3, 30), play("2", 1 / 6, 10, 1), play("4", 2, 40)]  # 2 counts nothing
    leads(tmp_path, told, late, changes=[change("entered", 1 / 3, "3")])
    jumped = [begun("1", 0), play("2", 1 / 6, 100)]
    leads(tmp_path, told, jumped)


def test_of_one_and_the_same_film(tmp_path: Path) -> None:
    told = rules({"s": {"film": {"share": {"gte": 0.5}, "seconds": {"gte": 100}}}})
    events = [
        watched("1", 0, 0, 100, film="long", length=1000),
        watched("2", 5, 0, 60, film="short"),
        watched("3", 10, 60, 99, film="short"),
        watched("4", 15, 60, 100, film="short"),
    ]
    leads(tmp_path, told, events, changes=[change("entered", 15, "4")])


@pytest.mark.parametrize("length", [None, 0])
def test_without_a_length_there_is_no_share(tmp_path: Path, length: float | None) -> None:
    told = rules({"s": HALF, "t": {"film": {"share": {"lt": 0.5}}}, "u": {"film": {"seconds": {"gte": 60}}}})
    events = [watched("1", 0, 0, 60, length=length)]
    leads(tmp_path, told, events, changes=[change("entered", 0, "1", segment="u")])


def test_the_length_told_last(tmp_path: Path) -> None:
    events = [
        watched("1", 0, 0, 60, length=200),
        begun("2", 10, length=100),
        begun("3", 20, length=None),
        begun("4", 5, got=30, length=200),  # told last, though it occurred before
    ]
    leads(tmp_path, rules({"s": HALF}), events, changes=[change("entered", 10, "2"), change("left", 30, "4")])


def test_exactly(tmp_path: Path) -> None:
    told = rules({"s": {"film": {"seconds": {"is": 0.3}, "share": {"is": 0.1}}}})
    events = [watched("1", 0, 0, 0.1, length=3), watched("2", 5, 0.5, 0.7, length=3)]
    leads(tmp_path, told, events, changes=[change("entered", 5, "2")])


def test_in_a_rule_of_films_it_is_the_wait_s(tmp_path: Path) -> None:
    events = [
        begun("1", 0, film="f"),
        begun("2", 0, film="g", session="t"),
        watched("3", 10, 0, 60, film="g", session="t"),
    ]
    made = [
        want("suppressed", "only_if", "1", 0, 60, 65, key="f"),
        want("fired", "due", "2", 0, 60, 65, key="g"),
    ]
    leads(tmp_path, rules(r={**OF_FILMS, "only_if": HALF}), events, made=made)


def test_up_to_the_due_time_as_known_at_the_decision(tmp_path: Path) -> None:
    for at, got, outcome, reason in [
        (60, 65, "fired", "due"),
        (60, 65 + MS, "suppressed", "only_if"),
        (60 + MS, None, "suppressed", "only_if"),
    ]:
        events = [begun("1", 0), watched("2", at, 0, 60, got)]
        made = [want(outcome, reason, "1", 0, 60, 65, key="film")]
        leads(tmp_path, rules(r={**OF_FILMS, "only_if": HALF}), events, made=made)


def test_what_was_counted_with_a_later_event_counts_from_then(tmp_path: Path) -> None:
    """The second heartbeat brings all that was watched between; by itself the first, told after it, brings nothing."""
    told = rules(r={**OF_FILMS, "after": "15s", "only_if": {"film": {"seconds": {"gte": 10}}}})
    events = [begun("1", 0), play("3", 1 / 3, 20), play("2", 1 / 6, 10, 1)]
    leads(tmp_path, told, events, made=[want("suppressed", "only_if", "1", 0, 0.25, 5.25, key="film")])


def test_until(tmp_path: Path) -> None:
    until = {"when": {"film": {"share": {"gte": 0.9}}}, "reason": "seen"}
    events = [begun("1", 0), watched("2", 10, 0, 100), watched("3", 20, 90, 110)]
    leads(
        tmp_path,
        rules(r={**OF_FILMS, "until": until}),
        events,
        made=[want("cancelled", "seen", "1", 0, 60, 65, key="film", ended_by="3")],
    )


def test_a_rule_starts_when_its_film_is_so(tmp_path: Path) -> None:
    events = [
        watched("1", 0, 0, 50, film="f"),
        watched("2", 5, 0, 60, film="g"),
        watched("3", 10, 50, 60, film="f"),
        watched("4", 20, 60, 70, film="f"),
    ]
    made = [
        want("fired", "due", "2", 5, 65, 70, key="g"),
        want("fired", "due", "3", 10, 70, 75, key="f"),
    ]
    leads(tmp_path, rules(r={"per": "film", "start": {"when": HALF}, "after": "1h"}), events, made=made)


def test_a_tie_adds_what_both_watched(tmp_path: Path) -> None:
    events = [
        begun("1", 0, who="a:phone"),
        watched("2", 5, 0, 30, who="a:phone"),
        watched("3", 6, 20, 60, who="u:1", session="t"),
        login("4", 20, who="a:phone u:1"),
    ]
    leads(tmp_path, rules({"s": HALF}), events, changes=[change("entered", 20, None, "tie")])


def test_who_never_watched_anything(tmp_path: Path) -> None:
    told = rules({"s": {"film": {"seconds": {"gte": 0}}}})
    leads(tmp_path, told, [event("page_viewed", "1", 0)])
    leads(tmp_path, told, [begun("1", 0, film=None)])
    leads(tmp_path, told, [begun("1", 0)], changes=[change("entered", 0, "1")])


# What is remembered.


def seen(number: int, at: int, start: float, name: str = "f") -> Entry:
    told = {"kind": "video_progressed", "watched_from": start, "watched_to": start + 1, "session_id": "s"}
    return Entry(at, at, f"e{number}", number, [name, told, 1000.0])


def noted(*entries: Entry) -> Memory:
    memory: Memory = {}
    for entry in entries:
        assert FilmMatcher(of_key=False).take(memory, "", entry)
    return memory


def seconds(memory: Memory, at: int = 10**9) -> dict[str, float]:
    return {name: float(each.seconds) for name, each in FilmMatcher(of_key=False).seen(Moment(memory, at)).items()}


def test_of_too_many_the_older_half_is_added_up() -> None:
    matcher, every = FilmMatcher(of_key=False), 3 * film.KEPT
    memory = noted(*(seen(number, number, number) for number in range(every)))
    assert len(memory["film"]) <= film.KEPT
    assert seconds(memory) == {"f": every}
    upto = memory["film"][0].value[0]
    assert seconds(memory, upto + 1) == {"f": upto + 2}
    assert not matcher.lacks(memory, None, upto + 1)
    assert matcher.lacks(memory, None, upto)
    assert not matcher.take(memory, "", seen(every - 1, every - 1, 5000))  # known already


def test_what_nobody_looks_at_alone_is_added_up() -> None:
    matcher = FilmMatcher(of_key=False)
    memory = noted(*(seen(number, number, number) for number in range(20)))
    matcher.forget(memory, 15)
    assert len(memory["film"]) == 1 + 5
    assert seconds(memory) == {"f": 20}
    assert not matcher.lacks(memory, None, 15)


def test_of_too_many_films_those_played_first_go() -> None:
    matcher = FilmMatcher(of_key=False)
    memory = noted(*(seen(number, number, 0, f"f{number}") for number in range(3 * film.FILMS_KEPT)))
    assert film.FILMS_KEPT <= len(seconds(memory)) <= film.FILMS_KEPT + film.KEPT
    assert matcher.lacks(memory, None, 10**9)


def test_of_too_many_stretches_the_shortest_go() -> None:
    memory = noted(*(seen(number, number, 2 * number) for number in range(2 * film.STRETCHES_KEPT)))
    assert seconds(memory)["f"] >= film.STRETCHES_KEPT
    assert FilmMatcher(of_key=False).lacks(memory, None, 10**9)


# What can be written.


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"seconds": {"lt": 0}}, "never-holds: less than 0: no number is that (turn it round, or remove one)"),
        ({"share": {"gte": 50}}, "bad-value: 50 is more than the whole film (a half is 0.5)"),
        ({"second": {"gte": 9}}, "unknown-key: unknown key second (did you mean seconds?)"),
    ],
)
def test_what_a_condition_can_t_ask(tmp_path: Path, asked: Told, said: str) -> None:
    assert found_in(tmp_path, {"film": asked}) == [said]


def test_what_can_be_asked(tmp_path: Path) -> None:
    assert found_in(tmp_path, {"film": {"share": {"between": [0.5, 1]}, "seconds": {"gt": 0}}}) == []
    assert len(found_in(tmp_path, {"film": {}})) == 1
