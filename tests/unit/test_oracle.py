"""The oracle against decisions computed by hand, a history for every line of the semantics page that it judges."""

from __future__ import annotations

import json
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from pipeline.events.segment import translate
from tests.oracle.build import MINUTE, Example, add, order, want
from tests.oracle.compare import comparable, difference, plain
from tests.oracle.examples import EXAMPLES
from tests.oracle.examples_real import WRONG_KINDS
from tests.oracle.histories import DISORDER, history, together
from tests.oracle.oracle import decisions
from tests.oracle.segment import expressible, segment_lines

Event = dict[str, Any]
ALL = [*EXAMPLES, *WRONG_KINDS]


@pytest.mark.parametrize("example", ALL, ids=[f"{e.line}: {e.name}" for e in ALL])
def test_hand_computed(example: Example) -> None:
    assert difference(example.expected, decisions(example.events, **example.options)) == ""


def test_every_line_has_an_example() -> None:
    assert {e.line for e in EXAMPLES} == set(range(2, 17)) | set(range(18, 23))


def test_constants_can_be_changed() -> None:
    made = decisions([add("1", 0), order("2", 1.5)], after={"abandoned_cart": MINUTE}, lateness=2 * MINUTE)
    assert difference([want("cart", "suppressed", "overtaken", "c", "1", 0, 1, 3)], made) == ""


def test_a_difference_is_told() -> None:
    right = want("cart", "fired", "due", "c", "1", 0, 60, 65)
    assert difference([right], [right]) == ""
    for wrong in ([], [right, right], [{**right, "due_at": right["due_at"] + 1}], [{**right, "payload": {}}]):
        assert difference([right], wrong) != ""


def test_replay_lines_are_comparable() -> None:
    ours = want("cart", "fired", "due", "c", "1", 0, 60, 65)
    line = {**ours, "id": "x", "profile_id": "y", "occurred_at": "2026-03-02T10:00:00.000Z"}
    line |= {"due_at": "2026-03-02T11:00:00.000Z", "decided_at": "2026-03-02T12:05:00.000+01:00"}
    line["payload"] = json.loads(json.dumps(ours["payload"]).replace("10", "10.0"))
    assert comparable(line) == comparable(ours)


@pytest.mark.parametrize("seed", range(60))
def test_order_in_the_log_changes_nothing_within_the_disorder(seed: int) -> None:
    events = history(seed, segment=False)
    rng = Random(seed)
    shuffled = sorted(events, key=lambda event: event["received_at"] + rng.randint(0, DISORDER))
    assert difference(decisions(events), decisions(shuffled)) == ""


@pytest.mark.parametrize("seed", range(30))
def test_telling_again_changes_nothing(seed: int) -> None:
    events = history(seed, segment=False)
    assert difference(decisions(events), decisions([event for event in events for _ in range(2)])) == ""


def test_histories_are_nasty() -> None:
    """Every outcome with every reason comes up, and decisions made at once because something was told late."""
    made = [d for seed in range(300) for d in decisions(history(seed, shared_devices=seed % 4 == 0))]
    reasons = {(d["rule"], d["outcome"], d["reason"]) for d in made}
    ends = {
        "abandoned_cart": ["bought", "cleared", "emptied"],
        "ebook_not_clicked": ["clicked", "downloaded"],
        "film_half_watched": ["ordered"],
    }
    expected = {(rule, outcome, reason) for rule, of in ends.items() for reason in of for outcome in OUTCOMES}
    expected |= {(rule, *plain_end) for rule in ends for plain_end in [("fired", "due"), ("suppressed", "overtaken")]}
    expected |= {("abandoned_cart", "suppressed", "other_person")}
    assert reasons == expected - {("abandoned_cart", "retracted", "emptied")}
    assert any(d["outcome"] != "retracted" and d["decided_at"] > d["due_at"] + 5 * MINUTE for d in made)
    assert any(len(names) > 1 for d in made for names in d["identifiers"].values())


def real(seed: int, **options: Any) -> list[Event]:
    """A history of what people really send, of every kind by turns."""
    return history(seed, real=True, shared_devices=seed % 4 == 0, **options)


def test_real_histories_are_nasty() -> None:
    """Every reason of theirs comes up, and all that a plain history doesn't hold."""
    histories = [real(seed, segment=seed % 3 > 0) for seed in range(600)]
    for number, events in enumerate(histories):
        for event in events:
            event["event_id"] += f"-{number}"
    made = [d for events in histories for d in decisions(events)]
    reasons = {(d["outcome"], d["reason"]) for d in made}
    assert {("cancelled", reason) for reason in ("unreachable", "unsubscribed", "complained", "emptied")} <= reasons
    assert {("retracted", reason) for reason in ("unreachable", "clicked", "bought", "cleared", "ordered")} <= reasons
    carts = {e["event_id"]: e["body"].get("cart_id") for events in histories for e in events}
    bought = [d for d in made if d["reason"] == "bought" and d["correlation_key"] != "c3"]
    for by in ("ended_by", "late_event_id"):
        assert sum(carts[d[by]] == "c3" for d in bought if by in d) > 10
    lines = [line for d in made for line in d["payload"].get("lines", ())]
    assert any("variant" in line for line in lines)
    assert any(line["product"] != line.get("name") and "name" in line for line in lines)
    assert any(line["quantity"] != int(line["quantity"]) for line in lines if line["quantity"] is not None)
    assert {name for d in made for name in d["contact"]} == {"email", "name", "locale", "timezone"}
    assert any("@" in user for d in made for user in d["identifiers"].get("user_id", ()))


@pytest.mark.parametrize("seed", range(60))
def test_order_in_the_log_changes_nothing_of_real_histories(seed: int) -> None:
    events = history(seed, real=True, segment=False)
    rng = Random(seed)
    shuffled = sorted(events, key=lambda event: event["received_at"] + rng.randint(0, DISORDER))
    assert difference(decisions(events), decisions(shuffled)) == ""


@pytest.mark.parametrize("seed", range(30))
def test_telling_real_histories_again_changes_nothing(seed: int) -> None:
    events = history(seed, real=True, segment=False)
    assert difference(decisions(events), decisions([event for event in events for _ in range(2)])) == ""


@pytest.mark.parametrize("real", [False, True])
def test_histories_in_one_log_are_kept_apart(real: bool) -> None:
    histories = [history(seed, real=real, shared_devices=seed % 4 == 0) for seed in range(40)]
    alone = sum(len(decisions(events)) for events in histories)
    assert len(decisions(together(histories))) == alone


def test_plain_histories_stay_as_they_are() -> None:
    told = "".join(json.dumps(history(seed), sort_keys=True) for seed in range(300))
    assert sha256(told.encode()).hexdigest() == "ae95f82353df8541b487e1c6bef154b606e18a2142a3a450be3f17a509f0747a"


def test_real_histories_can_be_written_as_segment_json() -> None:
    for seed in range(40):
        events = real(seed)
        assert all(expressible(event) for event in events)
        lines = [json.loads(line) for line in segment_lines(events)]
        assert [line["messageId"] for line in lines] == [event["event_id"] for event in events]


OUTCOMES = ("cancelled", "retracted")


def test_a_history_comes_from_its_seed() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)


@pytest.mark.parametrize("seed", range(40))
def test_histories_can_be_written_as_segment_json(seed: int) -> None:
    events = history(seed, shared_devices=seed % 2 == 0)
    assert all(expressible(event) for event in events)
    for event, line in zip(events, segment_lines(events), strict=True):
        [read] = translate(json.loads(line))
        assert (read.type, read.event_id) == (event["type"], event["event_id"])
        assert (read.occurred_at, read.received_at) == (event["occurred_at"], event["received_at"])
        assert read.identifiers == event["identifiers"]
        told = {name: value for name, value in read.body.items() if name in event["body"]}
        assert plain(told) == plain(event["body"])


def test_what_segment_cannot_say_is_refused() -> None:
    own = {**add("1", 0), "type": "offline_purchased"}
    with pytest.raises(ValueError, match="segment=True"):
        segment_lines([own])
