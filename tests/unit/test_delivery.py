"""Decisions as records: they fit, whatever is told of a person."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest

from pipeline.events import schemas
from pipeline.events.codec import Encoder
from pipeline.runtime.deliver import Delivery
from pipeline.runtime.ports import Out
from pipeline.triggers.decisions import Decision
from pipeline.wire.records import RECORD_BYTES
from tests.replayed import shipped

T0 = 1_700_000_000_000
TOPICS = shipped().topics


class Registry:
    """Every schema has an id."""

    def schema(self, schema_id: int) -> str | None:
        return None

    def missing(self, schema_id: int) -> bool:
        return False

    def id_of(self, subject: str, text: str) -> int:
        return 7


@pytest.fixture
def delivery() -> Delivery:
    return Delivery(shipped(), Encoder(Registry()))


def decision(crm_ids: int = 1, lines: int = 1) -> Decision:
    return Decision(
        id="d",
        outcome="fired",
        reason="due",
        rule="abandoned_cart",
        rule_version=1,
        profile_id="p",
        identifiers={"user_id": ["u"], "crm_id": [f"{n}" + "c" * 400 for n in range(crm_ids)]},
        correlation_key="c",
        cause_event_id="e",
        occurred_at=T0,
        due_at=T0,
        decided_at=T0,
        payload={"cart_id": "c", "lines": [{"product": f"p{n}" * 100} for n in range(lines)]},
        trace="00-t",
        contact={"email": "e@x"},
    )


def read(out: Out) -> dict[str, Any]:
    record: Any = fastavro.schemaless_reader(io.BytesIO((out.value or b"")[5:]), schemas.plain("decision"), None)
    return {**record, "payload": json.loads(record["payload"])}


def test_a_decision_that_fits_is_whole(delivery: Delivery) -> None:
    for out in delivery.encode(decision(1_000)):
        told = read(out)
        assert not told["bounded"]
        assert len(told["identifiers"]["crm_id"]) == 1_000


@pytest.mark.parametrize(("crm_ids", "lines"), [(2_600, 1), (1, 6_000), (2_600, 6_000)])
def test_one_that_does_not_fit_goes_out_under_its_id_with_less(delivery: Delivery, crm_ids: int, lines: int) -> None:
    whole = decision(crm_ids, lines)
    to_decisions, to_triggers = delivery.encode(whole)
    assert len(to_decisions.value or b"") <= RECORD_BYTES
    told = read(to_decisions)
    assert (told["id"], told["bounded"], told["contact"]) == ("d", True, {"email": "e@x"})
    assert told["identifiers"]["crm_id"] == whole.identifiers["crm_id"][:100]
    assert told["payload"] == {**whole.payload, "lines": whole.payload["lines"][:100]}
    assert read(to_triggers) == told
    assert dict(to_triggers.headers)["ce_id"] == b"d"


def test_what_a_topic_refuses_goes_out_smaller_until_there_is_nothing_smaller(delivery: Delivery) -> None:
    for out in delivery.encode(decision(150, 150)):
        sizes = []
        less: Out | None = out
        while less is not None:
            last, less = less, delivery.smaller(less)
            told = read(last)
            assert last._replace(value=None) == out._replace(value=None)
            assert (told["id"], told["bounded"]) == ("d", last is not out)
            sizes.append((len(told["identifiers"]["crm_id"]), len(told["payload"].get("lines", ()))))
        assert sizes == [(150, 150), (100, 100), (10, 10), (1, 0)]


def test_a_dead_letter_keeps_its_beginning_and_what_is_between_the_hops_is_left_alone(delivery: Delivery) -> None:
    told = ("pipeline.reason", b"foreign")
    letter = Out(TOPICS.dead_letters.name, None, b"k", b"x" * 200_000, [("mine", b"y"), told])
    less = delivery.smaller(letter)
    assert less == letter._replace(value=b"x" * 65_536, headers=[told, ("pipeline.cut", b"200000")])
    assert less is not None
    least = delivery.smaller(less)
    assert least == less._replace(value=b"")
    assert delivery.smaller(least) is None
    assert delivery.smaller(letter._replace(topic=TOPICS.resolved.name)) is None
