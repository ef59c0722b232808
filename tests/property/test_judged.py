"""What becomes of a request's events is the same whether they are judged compiled or one by one."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.edge.families import POSTHOG, SEGMENT, SNOWPLOW, Beside, Family
from pipeline.edge.intake import Caller, Judge, Judged
from pipeline.events.codec import Encoder
from pipeline.events.compiled import Sealing
from pipeline.events.registry import connect
from pipeline.grammar.vocabulary import sendable
from pipeline.runtime.ports import Out
from pipeline.topology.model import WriteKey
from tests.mutations import SEEDS, mutated_call
from tests.property.test_calls import NOW, RICH
from tests.recorded import RECORDED, bodies
from tests.replayed import shipped

ALL = frozenset(sendable(public=False))
KEYS = [
    WriteKey(name="server", key="1", public=False, types=ALL),
    WriteKey(name="page", key="2", public=True, types=frozenset(sendable(public=True))),
    WriteKey(name="few", key="3", public=True, types=ALL - {"custom"}, identifiers=frozenset({"anonymous_id"})),
    WriteKey(name="asked", key="4", public=True, types=ALL, purpose="ads"),
    WriteKey(name="strip", key="5", public=False, types=ALL, purpose="analytics", otherwise="strip"),
]
ROBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
CALLERS = [Caller(), Caller("192.0.2.0", "Mozilla/5.0"), Caller("192.0.2.0", ROBOT), Caller(None, "")]
UUID = "0b5e1d1c-9a55-4a6e-8d3b-0c9b6d1f2a3e"
WHO = ["A-1", "a_1", UUID, UUID.upper(), "Anna@example.org", "anna@example.org", "ü", "-a", "a.", "0", "guest", "a%22"]

JUDGE = Judge(shipped(), Encoder(connect("mock://judged")))


class OneByOne(Judge):
    """Knows no other way."""

    def _sealing(self, key: WriteKey) -> Sealing | None:
        return None


SLOW = OneByOne(shipped(), Encoder(connect("mock://judged")))


def shown(judged: Judged) -> list[Any]:
    refused = [(each.place, each.item, str(each.error), each.dropped) for each in judged.refused]
    return [repr(judged.events), judged.records, refused]


def both(
    family: Family, key: WriteKey, items: list[Any], caller: Caller, call: str = "", large: bool = False
) -> Judged:
    found = JUDGE.of(family, key, deepcopy(items), caller, call, NOW, large)
    assert shown(found) == shown(SLOW.of(family, key, items, caller, call, NOW, large))
    assert all(type(each) is Out for each in found.records)
    return found


@pytest.mark.parametrize("key", KEYS)
def test_what_is_in_order_is_judged_the_same(key: WriteKey) -> None:
    for caller in CALLERS:
        for _ in range(2):  # the first of a type is always written the other way
            both(SEGMENT, key, RICH, caller)


@given(st.integers(0, 2**64))
def test_whatever_is_sent_is_judged_the_same(seed: int) -> None:
    rng = Random(seed)
    items = [mutated_call(rng, rng.choice([SEEDS, RICH])) for _ in range(rng.choice([1, 5, 20]))]
    for item in items:
        if isinstance(item, dict) and rng.random() < 0.3:
            item[rng.choice(["anonymousId", "userId"])] = rng.choice(WHO)
            if rng.random() < 0.3:
                item.pop("type", None)
    call = rng.choice(["", "", "track", "page"])
    both(SEGMENT, rng.choice(KEYS), items, rng.choice(CALLERS), call, rng.random() < 0.2 and sendable_as_json(items))


def sendable_as_json(items: list[Any]) -> bool:
    """Whole numbers of thousands of digits come in no request."""
    try:
        return bool(repr(items))
    except ValueError:
        return False


def sent() -> Iterator[tuple[Family, list[object]]]:
    for path in sorted(RECORDED.glob("*.json")):
        for body in bodies(path.stem):
            for name, family in (("posthog", POSTHOG), ("snowplow", SNOWPLOW)):
                if path.stem.startswith(name):
                    yield family, family.items(body, Beside({}, {}))
                    break
            else:
                yield SEGMENT, SEGMENT.items(body, Beside({}, {}))


def test_what_clients_sent_is_judged_the_same() -> None:
    found = [both(family, key, items, caller) for family, items in sent() for key in KEYS for caller in CALLERS]
    assert sum(len(each.records) for each in found) > 1_000


def test_a_large_event_is_refused_among_others_also_with_half_a_character() -> None:
    large = {**RICH[0], "properties": {"own": "x" * 40_000}}
    half = {**RICH[0], "properties": {"own": "\ud83d" * 3}}
    found = both(SEGMENT, KEYS[0], [RICH[0], large, half, 7], Caller(), large=True)
    assert [(each.place, each.error.reason) for each in found.refused] == [(1, "too_large"), (3, "invalid_shape")]
    assert len(found.records) == 2
