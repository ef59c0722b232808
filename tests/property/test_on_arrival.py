"""What is decided on arrival is told when its record has been read, once, and is what `replay` decides of the same
events; where a person's events are read in another order than they were received, what was told stands.

ARRIVAL_SEEDS looks at more.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from pipeline.events.model import Event
from pipeline.runtime.second_hop import ProfilePartition
from pipeline.triggers.changes import Output
from pipeline.triggers.decisions import Decision
from tests.oracle.build import BASE
from tests.oracle.language.histories import made
from tests.oracle.language.paths import MADE
from tests.oracle.language.topology import several
from tests.property.hops import FAR, Hops
from tests.property.test_any_order import DISORDER
from tests.property.test_language import topology_of
from tests.property.test_language_any_order import Said, wanted
from tests.replayed import as_event
from tests.ruled import ruled

SEEDS = int(os.environ.get("ARRIVAL_SEEDS", "30"))
STEP = 20
KINDS = ("at once", "at once and ties", "at once on shared devices", "made events at once")
pytestmark = pytest.mark.usefixtures("every_zone")


def said(value: bytes | None) -> dict[str, Any]:
    """A decision that was published."""
    told: dict[str, Any] = msgspec.msgpack.decode(value or b"") | {"profile_id": ""}
    return told


def apart(events: list[Event]) -> list[Event]:
    """In order of receipt, no two in one millisecond: of what is read of one later nothing was known."""
    out: list[Event] = []
    for event in sorted(events, key=lambda e: (e.received_at, e.occurred_at, e.event_id)):
        at = max(event.received_at, out[-1].received_at + 1 if out else 0)
        out.append(msgspec.structs.replace(event, received_at=at))
    return out


def unlike(expected: Said, found: list[dict[str, Any]]) -> list[str]:
    """What is lost, not wanted, different, or said twice."""
    here = {each["id"]: each for each in found}
    lines = [f"lost: {expected[i]}" for i in expected.keys() - here.keys()]
    lines += [f"not wanted: {here[i]}" for i in here.keys() - expected.keys()]
    both = here.keys() & expected.keys()
    lines += [f"{i}: {here[i]}\n   wanted: {expected[i]}" for i in both if here[i] != expected[i]]
    return [*lines, "something was said twice"] if len(found) != len(here) else lines


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", range(0, SEEDS, STEP))
def test_read_in_order_it_is_what_replay_decides_and_told_before_that_is_certain(
    kind: str, start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = []
    keep = ProfilePartition._keep

    def noted(self: ProfilePartition, decision: Output) -> None:
        if isinstance(decision, Decision) and decision.basis == "arrival" and not decision.retracts:
            prompt.append(decision.decided_at >= self.meta.clock)
        keep(self, decision)

    monkeypatch.setattr(ProfilePartition, "_keep", noted)
    wrong = []
    for seed in range(start, min(start + STEP, SEEDS)):
        told, raw = made(seed, kind)
        topology, events = topology_of(told, tmp_path), [as_event(each) for each in raw]
        rng = Random(seed)
        events = apart(events)
        hops = Hops(topology, [events], 1 if kind != "at once" else rng.choice([1, 3]), rng.choice([1, 50_000]))
        hops.run(rng, rng.choice([1, 3, 10, 200]))
        found = [said(record.value) for record in hops.log.read("decisions", 0, 0, FAR)]
        if lines := unlike(wanted(topology, events), found):
            wrong.append(f"{kind} seed {seed}:\n" + "\n".join(lines))
        left = [each.packed_early for each in hops.final_profiles().values()]
        assert not any(left), "what was told is remembered for ever"
    assert not wrong, "\n".join(wrong)
    assert sum(prompt) > len(prompt) / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", range(0, SEEDS, STEP))
def test_in_any_order_each_start_is_told_once(kind: str, start: int, tmp_path: Path) -> None:
    wrong = []
    for seed in range(start, min(start + STEP, SEEDS)):
        told, raw = made(seed, kind)
        topology, events = topology_of(told, tmp_path), [as_event(each) for each in raw]
        rng = Random(seed)
        hops = Hops(topology, out_of_order(rng, events), rng.choice([1, 3]), rng.choice([1, 50_000]))
        hops.run(rng, rng.choice([1, 3, 10, 200]))
        found = [said(record.value) for record in hops.log.read("decisions", 0, 0, FAR)]
        copies = {name for name, number in Counter(event.event_id for event in events).items() if number > 1}
        numbers = Counter(each["id"] for each in found if each.get("cause_event_id") not in copies)
        lines = [f"said twice: {each}" for each in found if numbers[each["id"]] > 1]
        expected = wanted(topology, events)
        for name in alone(told):  # whatever is known otherwise, they start by themselves
            wants, is_ = starts(name, expected.values()), starts(name, found)
            lines += [f"{name}: lost {i}" for i in wants - is_] + [f"{name}: not wanted {i}" for i in is_ - wants]
        fired = {each["id"] for each in found if each.get("outcome") == "fired"}
        of_others = [of for each in found if (of := each.get("retracts") or each.get("recovers")) and of not in fired]
        lines += [f"takes back what wasn't told: {of}" for of in of_others]
        if lines:
            wrong.append(f"{kind} seed {seed}:\n" + "\n".join(lines))
    assert not wrong, "\n".join(wrong)


def test_what_moves_with_its_profile_is_told_where_it_comes_to() -> None:
    topology = ruled("r: {version: 1, start: {event: form_submitted}, decide: on_arrival}")
    log = []
    for number in range(40):
        phone, user, at = {"anonymous_id": f"a{number}"}, {"user_id": f"u{number}"}, BASE + number
        log.append(Event("identified", f"one {number}", at, at, user, {}))
        log.append(Event("form_submitted", f"two {number}", at, at, phone, {}))
        log.append(Event("identified", f"three {number}", at, at, phone | user, {}))
    hops = Hops(topology, [log], 3)
    while hops.source(0, 1_000):
        pass
    while sum(hops.owner(partition, 1_000) for partition in range(3)):
        pass
    assert len({each.id for each in hops.decisions()}) == len(hops.decisions()) == 40


def out_of_order(rng: Random, events: list[Event]) -> list[list[Event]]:
    """As in test_any_order.py, each once."""
    spread, log = rng.choice([0, 100, DISORDER - 1]), [[] for _ in range(rng.randint(1, 4))]  # type: ignore[var-annotated]
    for event in sorted(events, key=lambda event: event.received_at + rng.randint(0, spread)):
        rng.choice(log).append(event)
    return log


def alone(told: dict[str, Any]) -> list[str]:
    """The rules of which no start stands for another, nor hangs on a condition, or on what is known otherwise."""
    rules = [(name, rule) for name, rule in told["triggers"].items() if not {"once", "again"} & rule.keys()]
    return [name for name, rule in rules if (of := several(rule["start"].get("event"))) and not {*MADE} & {*of}]


def starts(rule: str, found: Iterable[dict[str, Any]]) -> set[str]:
    """The ids of what was decided of them, and not said of a trigger later."""
    of = [each for each in found if each.get("rule") == rule]
    return {each["id"] for each in of if each["outcome"] not in ("retracted", "recovered")}
