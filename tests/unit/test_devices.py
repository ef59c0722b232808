"""People who share a device: one profile in the store, and still a profile each."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.commands.person import facts
from pipeline.profile.profile import Profile, decode, encode_profile, merge, one_of
from pipeline.runtime.replay import Replay
from pipeline.triggers import devices
from pipeline.triggers.decisions import Decision
from pipeline.triggers.devices import KEPT, MOST, Login
from tests.oracle.build import add, event, login
from tests.replayed import FAR, as_event, shipped

MINUTE = 60_000
DAYS = 72 * 3_600_000
BERT, ANN = "user_id\0bert", "user_id\0ann"


def seen(id_: str, at: float, who: str) -> dict[str, Any]:
    return event("page_viewed", id_, at, None, who, url=f"https://shop.example/{id_}")


SHARED = [
    seen("1", 0, "d:tablet"),
    login("2", 1, who="d:tablet u:bert"),
    seen("3", 2, "d:tablet"),
    add("4", 3, who="d:tablet", cart="of-bert"),
    login("5", 10, who="d:tablet u:ann"),
    seen("6", 11, "d:tablet"),
    add("7", 12, who="d:tablet", cart="of-ann"),
    seen("8", 13, "u:bert"),
    login("9", 20, who="d:pad u:ann"),
    seen("10", 30, "d:pad"),
]


def fed(*told: dict[str, Any]) -> tuple[Replay, list[Decision]]:
    replay = Replay(shipped())
    made = [decision for each in told for decision in replay.feed(as_event(each), FAR)]
    return replay, [*made, *replay.finish()]


def timeline(replay: Replay, namespace: str, value: str) -> list[str]:
    ((profile_id, profile),) = replay.profiles.items()
    told = facts(replay.book, profile_id, profile, FAR, (namespace, value))
    return [each["label"] or each["type"] for each in told["timeline"]]


def test_each_has_a_timeline_of_their_own() -> None:
    replay, _ = fed(*SHARED)
    bert, ann = timeline(replay, "user_id", "bert"), timeline(replay, "user_id", "ann")
    assert bert == ["/1", "identified", "/3", "p", "/8"]
    assert ann == ["identified", "/6", "p", "identified", "/10"]
    assert timeline(replay, "device_id", "tablet") == bert, "the device is its first owner's"
    assert timeline(replay, "device_id", "pad") == ann


def test_each_has_an_id_of_their_own_and_only_their_identifiers() -> None:
    replay, made = fed(*SHARED)
    assert {decision.correlation_key: decision.identifiers for decision in made} == {
        "of-bert": {"user_id": ["bert"], "device_id": ["tablet"]},
        "of-ann": {"user_id": ["ann"], "device_id": ["pad"]},
    }
    assert len({decision.profile_id for decision in made}) == 2
    ((profile_id, profile),) = replay.profiles.items()
    for decision, user in zip(sorted(made, key=lambda d: d.occurred_at), ("bert", "ann"), strict=True):
        assert one_of(profile_id, profile, "user_id", user)[0] == decision.profile_id
        told = facts(replay.book, profile_id, profile, FAR, ("user_id", user))
        assert (told["profile_id"], told["identifiers"]) == (decision.profile_id, decision.identifiers)


def test_an_id_does_not_change_when_somebody_else_takes_the_device() -> None:
    _, alone = fed(*SHARED[:4])
    _, together = fed(*SHARED)
    assert alone[0].profile_id == together[0].profile_id


def test_a_household_is_stored_and_read_back_whole() -> None:
    replay, _ = fed(*SHARED)
    ((_, profile),) = replay.profiles.items()
    again = decode(encode_profile(profile))
    assert isinstance(again, Profile)
    assert again == profile
    assert again.packed_shares == profile.packed_shares != b""


def test_what_was_counted_once_is_not_counted_again_for_another() -> None:
    """A client's copy comes after a login that makes the device somebody else's at that time."""
    replay, _ = fed(*SHARED[:4], SHARED[4], SHARED[5], login("0", 10.5, 40, who="d:tablet u:bert"), SHARED[5])
    ((_, profile),) = replay.profiles.items()
    assert sum(profile.about.totals.values()) == 7
    assert replay.duplicates == 1


def test_households_that_meet_keep_everybody_apart() -> None:
    one, _ = fed(*SHARED)
    other, _ = fed(login("a", 0, who="d:tv u:carl"), login("b", 1, who="d:tv u:dora"), seen("c", 2, "d:tv"))
    ((_, first),), ((_, second),) = one.profiles.items(), other.profiles.items()
    both = merge(one.book, first, second)
    assert sum(both.about.totals.values()) == len(SHARED) + 3
    for user, events in (("bert", 5), ("ann", 5), ("carl", 1), ("dora", 2)):
        assert sum(one_of("", both, "user_id", user)[1].about.totals.values()) == events, user


def test_of_one_person_alone_repetitions_are_put_aside() -> None:
    logins: devices.Logins = {}
    aside: devices.Aside = {}
    for minute in range(100):
        devices.note(logins, aside, "d", Login(minute * MINUTE, minute, BERT), DAYS)
    assert [each.at // MINUTE for each in logins["d"]] == [0, 99]
    assert devices.all_on(logins, aside, "d") == [Login(minute * MINUTE, minute, BERT) for minute in range(100)]
    for day in range(1, 50):
        devices.note(logins, aside, "d", Login(day * 86_400_000, 0, BERT), DAYS)
    assert [each.at // 86_400_000 for each in logins["d"]] == [0, 49]
    assert [each.at // 86_400_000 for each in devices.all_on(logins, aside, "d")] == [0, 46, 47, 48, 49]


def test_each_login_of_who_was_alone_counts_as_soon_as_somebody_else_logged_in_between() -> None:
    logins: devices.Logins = {}
    aside: devices.Aside = {}
    for minute in (0, 20, 5, 10, 15, 25):
        devices.note(logins, aside, "d", Login(minute * MINUTE, 0, BERT), DAYS)
    devices.note(logins, aside, "d", Login(7 * MINUTE, 30 * MINUTE, ANN), DAYS)
    assert not aside
    assert [each.at // MINUTE for each in logins["d"]] == [0, 5, 7, 10, 15, 20, 25]
    assert devices.owner(logins["d"], 9 * MINUTE, []) == ANN
    assert devices.owner(logins["d"], 11 * MINUTE, []) == BERT


def test_what_is_put_aside_is_bounded() -> None:
    logins: devices.Logins = {}
    aside: devices.Aside = {}
    for second in range(3 * MOST):
        devices.note(logins, aside, "d", Login(second, 0, BERT), DAYS)
    assert len(devices.all_on(logins, aside, "d")) <= MOST + 2
    for at in (0, 1, 500, 0):  # earlier than all that is there
        devices.note(logins, aside, "d", Login(at - 10**9, 0, BERT), DAYS)


def test_logins_of_persons_that_are_one_are_all_there() -> None:
    one: tuple[devices.Logins, devices.Aside] = ({}, {})
    other: tuple[devices.Logins, devices.Aside] = ({}, {})
    for minute in range(10):
        devices.note(*one, "d", Login(minute * MINUTE, 0, BERT), DAYS)
        devices.note(*other, "d", Login(minute * MINUTE + 1, 0, ANN), DAYS)
        devices.note(*other, "e", Login(minute * MINUTE, 0, ANN), DAYS)
    logins, aside = devices.joined(one, other)
    assert len(logins["d"]) == 20
    assert set(aside) == {"e"}
    assert len(devices.all_on(logins, aside, "e")) == 10


def test_logins_of_several_are_kept_for_days_and_the_last_before() -> None:
    logins: devices.Logins = {}
    for hour in range(200):
        at = hour * 3_600_000
        devices.note(logins, {}, "d", Login(at, 0, (BERT, ANN)[hour % 2]), 72 * 3_600_000)
    hours = [each.at // 3_600_000 for each in logins["d"]]
    assert hours == list(range(199 - 73, 200))
    assert len(hours) > KEPT
    for second in range(2 * MOST):
        devices.note(logins, {}, "d", Login(second, (1 << 50) - second, BERT), 1 << 50)
    assert len(logins["d"]) <= MOST


@pytest.mark.parametrize(
    ("at", "holder", "user"),
    [
        (4, [], BERT),
        (5, [], BERT),
        (6, [], BERT),
        (7, [], ANN),
        (99, [], ANN),
        (4, ["user_id\0x"], None),
        (4, [ANN], BERT),
    ],
)
def test_the_owner_is_who_logged_in_last_then_or_first_of_all(at: int, holder: list[str], user: str | None) -> None:
    assert devices.owner([Login(5, 0, BERT), Login(7, 0, ANN)], at, holder) == user
