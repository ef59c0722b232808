"""What is added up over more than seven days counts in hours of UTC: as told one by one, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.language import hours
from pipeline.language.condition import Condition, Scope, compile_condition
from pipeline.language.memory import MOST, Entry, Memory, Moment
from pipeline.topology import lint
from tests.oracle.build import event
from tests.oracle.language.build import change
from tests.oracle.language.compare import changes_differing
from tests.property.test_language import topology_of
from tests.replayed import replayed_with_changes

SHIPPED = Path(__file__).parents[2] / "topology.yaml"
HOUR, DAY = 3_600_000, 24 * 3_600_000
BASE = 1_772_323_200_000  # a full hour
SLACK = 5 * DAY
WITHIN = 30 * DAY


class Told(NamedTuple):
    at: int
    received: int
    name: str
    value: Any


def history(seed: int, days: int, many: int = 2_000) -> list[Told]:
    """In order of receipt: mostly in bursts, some late, by more than anybody waits for, too."""
    rng = Random(seed)
    found: list[Told] = []
    at = BASE
    for number in range(many):
        at += rng.choice([0, 1, 1000, HOUR // 2, int(rng.expovariate(many / days / DAY / 0.8))])
        late = rng.choice([0, 0, 0, HOUR, 3 * DAY, 20 * DAY]) if rng.random() < 0.2 else 0
        value = rng.choice([1, 20, 0.1, "12.30", None, -3, "x"])
        found.append(Told(at - late, at, f"e{number}", value))
    return found


KINDS: dict[str, dict[str, Any]] = {
    "sum": {"did": ["order_completed"], "sum": "total"},
    "distinct": {"did": ["order_completed"], "distinct": "total"},
    "points": {"measure": "m"},
}


def condition(kind: str, within: int | None, **tests: Any) -> Condition:
    measure = {"sum": [{"did": ["order_completed"], "points": 0.5}], **({"within": within} if within else {})}
    leaf = KINDS[kind] if kind == "points" else KINDS[kind] | ({"within": within} if within else {})
    return compile_condition({**leaf, **tests}, Scope(measures={"m": measure}))


def matcher(kind: str, within: int | None = WITHIN) -> hours.Hours:
    (found,) = condition(kind, within, gte=1).matchers()
    assert isinstance(found, hours.Hours)
    found.slack = SLACK
    return found


def number(kind: str, told: list[Told], now: int, within: int | None) -> float:
    """By definition."""
    found = [each for each in told if each.at <= now]
    if within is not None:
        found = [each for each in found if each.at // HOUR * HOUR > now - within]
    if kind == "distinct":
        return len({each.value for each in found if each.value is not None})
    if kind == "points":
        return len(found) * 0.5
    return float(sum((Decimal(str(each.value)) for each in found if each.value not in (None, "x")), Decimal(0)))


def entry(told: Told) -> Entry:
    return Entry(told.at, told.received, told.name, hash(told.name) % (1 << 63), told.value)


def take(of: hours.Hours, memory: Memory, told: Told) -> bool:
    one = entry(told)
    return of.take(memory, "", msgspec.structs.replace(one, value=None) if of.how == hours.TIMES else one)


def stored(memory: Memory) -> Memory:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=Memory)


@pytest.mark.parametrize("within", [WITHIN, None])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_what_is_folded_comes_to_the_same(kind: str, within: int | None, seed: int) -> None:
    told, of, rng = history(seed, 120), matcher(kind, within), Random(seed)
    memory: Memory = {}
    swept = most = looks = 0
    for place, each in enumerate(told):
        assert take(of, memory, each)
        now = each.received
        if now // DAY != swept:
            swept = now // DAY
            of.forget(memory, now - SLACK)
            memory = stored(memory)
        most = max(most, len(memory[of.id]))
        if rng.random() > 0.04:
            continue
        looks += 1
        # Whatever moment may be asked for: now, and before; as known now.
        at = rng.choice([now, now - HOUR, now - 4 * DAY, now - rng.randrange(4 * DAY)])
        if at < BASE:
            continue
        known = told[: place + 1]
        wanted = number(kind, known, at, within)
        assert condition(kind, within, **{"is": wanted}).holds(Moment(memory, at)), (seed, place)
        turns = condition(kind, within, gte=wanted).turns(Moment(memory, at))
        assert turns == next(flips(kind, known, at, within, wanted), None), (seed, place)
    assert looks > 40
    assert most <= 40 * 24 + MOST + hours.ROOM
    assert not of.lacks(memory, None, told[-1].received)


def flips(kind: str, told: list[Told], now: int, within: int | None, least: float) -> Iterator[int]:
    """When time alone makes it less."""
    if within is None:
        return
    known = [each for each in told if each.at <= now]
    for hour in sorted({each.at // HOUR * HOUR for each in known if each.at // HOUR * HOUR > now - within}):
        if number(kind, known, hour + within, within) < least:
            yield hour + within


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_hours_and_not_events(kind: str) -> None:
    of, memory = matcher(kind, None), dict[str, Any]()
    for number_ in range(20_000):
        at = BASE + number_ * 60_000
        take(of, memory, Told(at, at, f"e{number_}", number_ % 7))
    assert len(memory[of.id]) <= MOST + 5 * 24 + hours.ROOM
    assert condition(kind, None, gte=7).holds(Moment(memory, at))
    if kind == "points":
        assert condition(kind, None, **{"is": 10_000}).holds(Moment(memory, at))
    size = len(msgspec.msgpack.encode([each for each in memory[of.id] if hours.folded(each)]))
    assert size < 60 * len(memory[of.id])


def test_a_year_of_hours_is_bounded_and_says_so() -> None:
    of, memory = matcher("sum", 365 * DAY), dict[str, Any]()
    at = BASE
    for number_ in range(4_000):
        at = BASE + number_ * HOUR
        take(of, memory, Told(at, at, f"e{number_}", 1))
    of.forget(memory, at - SLACK)
    assert sum(map(hours.folded, memory[of.id])) == hours.KEPT
    assert of.lacks(memory, None, at)


def test_where_a_robot_makes_too_many_a_moment_among_them_is_bounded() -> None:
    of, memory = matcher("sum"), dict[str, Any]()
    for second in range(3_000):
        at = BASE + second * 1000
        take(of, memory, Told(at, at, f"e{second}", 1))
    assert len(memory[of.id]) <= MOST + hours.ROOM
    assert condition("sum", WITHIN, **{"is": 3_000}).holds(Moment(memory, at))
    assert not of.lacks(memory, None, at)
    assert of.lacks(memory, None, BASE + 1_000_000)


def test_where_all_comes_at_once_it_is_bounded_too() -> None:
    of, memory = matcher("sum"), dict[str, Any]()
    for number_ in range(5_000):
        take(of, memory, Told(BASE + number_ // 100, BASE + DAY, f"e{number_}", 1))
    assert len(memory[of.id]) <= 2 * MOST + hours.ROOM
    assert condition("sum", WITHIN, **{"is": 5_000}).holds(Moment(memory, BASE + DAY))


def test_what_is_told_twice_is_known_as_long_as_that_may_come() -> None:
    of, memory = matcher("sum"), dict[str, Any]()
    first = Told(BASE, BASE, "e", 5)
    take(of, memory, first)
    for number_ in range(200):
        at = BASE + number_ * HOUR // 4 + 1
        take(of, memory, Told(at, at, f"o{number_}", None))
    assert not take(of, memory, first._replace(received=BASE + 3 * DAY))
    assert condition("sum", WITHIN, **{"is": 5}).holds(Moment(memory, BASE + 3 * DAY))


# Two persons who turn out to be one.


def of_events(of: hours.Hours, told: list[Told]) -> Memory:
    memory: Memory = {}
    for each in told:
        take(of, memory, each)
    of.forget(memory, told[-1].received - SLACK)
    assert any(map(hours.folded, memory[of.id]))
    return memory


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("within", [WITHIN, None])
def test_hours_of_two_persons_are_added(kind: str, within: int | None) -> None:
    of, told, rng = matcher(kind, within), history(7, 40), Random(7)
    sides: tuple[list[Told], list[Told]] = ([], [])
    for each in told:
        sides[rng.random() < 0.3].append(each)
    a, b = (of_events(of, side)[of.id] for side in sides)
    now = told[-1].received
    for first, second in ((a, b), (b, a)):
        memory = {of.id: of.joined(list(first), list(second))}
        for at in (now, now - 4 * DAY):
            wanted = number(kind, told, at, within)
            assert condition(kind, within, **{"is": wanted}).holds(Moment(memory, at))
        of.forget(memory, now - SLACK)
        assert condition(kind, within, **{"is": number(kind, told, now, within)}).holds(Moment(memory, now))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_no_other_person(kind: str) -> None:
    of, told = matcher(kind), history(8, 40)
    ledger = of_events(of, told)[of.id]
    assert of.joined(list(ledger), list(ledger)) == ledger
    assert of.joined(list(ledger), stored({"": ledger})[""]) == ledger


def test_an_hour_that_only_one_of_two_copies_has_folded_is_there_once() -> None:
    of = matcher("sum")
    told = [Told(BASE + minute, BASE + minute, f"e{minute}", 1) for minute in range(3)]
    theirs = [entry(each) for each in told]
    memory: Memory = {of.id: [entry(each) for each in told]}
    of.forget(memory, BASE + DAY)
    assert [each.value[:2] for each in memory[of.id]] == [[3, 3]]
    for pair in ((memory[of.id], theirs), (theirs, memory[of.id])):
        assert condition("sum", WITHIN, **{"is": 3}).holds(Moment({of.id: of.joined(*pair)}, BASE + DAY))


# The whole way.


def test_it_leaves_with_its_hour(tmp_path: Path) -> None:
    spender = {"when": {"did": "order_completed", "sum": "total", "gte": 100, "within": "8d"}}
    events = [
        event("order_completed", "1", 10, order_id="o1", total=60),
        event("order_completed", "2", 70, order_id="o2", total=60),
        event("order_completed", "3", 75, order_id="o2", total=60),  # told twice adds nothing
        event("page_viewed", "4", 20_000),
    ]
    _, changes = replayed_with_changes(
        events, topology_of({"time": {}, "triggers": {}, "segments": {"s": spender}}, tmp_path)
    )
    began = 10 - events[0]["occurred_at"] % HOUR // 60_000
    assert changes_differing([change("entered", 70, "2"), change("left", began + 8 * 24 * 60)], changes) == ""


LONG = """
segments:
  spender: {when: {all: [{did: order_completed, sum: total, gte: 300, within: 90d}, {measure: score, gte: 5}]}}
  weekly: {when: {did: order_completed, sum: total, gte: 300, within: 7d}}
  off: {enabled: false, when: {did: order_completed, distinct: order_id, gte: 3, within: 8d}}
measures:
  score: {sum: [{did: page_viewed, points: 1}], within: 30d}
  unused: {sum: [{did: page_viewed, points: 1}], within: 30d}
"""


@pytest.fixture
def long(tmp_path: Path) -> Path:
    (tmp_path / "long.yaml").write_text(LONG, "utf-8")
    path = tmp_path / "topology.yaml"
    shipped = SHIPPED.read_text("utf-8")
    line = next(line for line in shipped.splitlines() if line.startswith("include:"))
    path.write_text(shipped.replace(line, "include: [long.yaml]"), "utf-8")
    return path


def test_lint_says_so(long: Path) -> None:
    found = lint(long, {})
    assert [(each.line, each.column, each.severity, each.code) for each in found] == [
        (3, 79, "note", "hours"),
        (7, 57, "note", "hours"),
    ]


def test_a_note_is_no_fault(long: Path) -> None:
    result = CliRunner().invoke(cli, ["lint", str(long)])
    assert result.exit_code == 0
    assert "note hours: what is added up over more than 7d counts in hours of UTC" in result.output
    assert "nothing to find fault with" in result.output
