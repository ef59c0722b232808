"""From where a part of profiles counts in a partition, and who leaves the partition to others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.errors import NewerState
from pipeline.profile import about
from pipeline.runtime.second_hop import ProfilePartition, decode_format, decode_meta
from pipeline.store.memory import MemoryProfileStore as Store
from pipeline.triggers.rules import RuleBook
from pipeline.wire.records import FORMAT, MORE
from tests.effects import Broker
from tests.unit.test_second_hop import HERE, T0, TOPOLOGY, encode_decision, record, row, run, told

VISITING = msgspec.structs.replace(TOPOLOGY, profile_parts=frozenset({"visits"}))
WITHOUT = msgspec.structs.replace(TOPOLOGY, profile_parts=frozenset())


def owner(store: Store, topology: Any = TOPOLOGY) -> ProfilePartition:
    hop = ProfilePartition(topology, RuleBook(topology), store, Broker(), encode_decision, 0)
    run(hop.claim())
    return hop


def give(hop: ProfilePartition, offset: int, first: int) -> None:
    rows = [row(HERE[0], "page_viewed", at=T0 + offset * 1_000)]
    run(hop.process([record(offset, told(first, first + 1, rows, after=T0), TOPOLOGY.group)]))


def visits(store: Store) -> int:
    (raw,) = run(store.peek(0, [HERE[0]]))
    about_of = about.unpack(bytes(msgspec.msgpack.decode(raw, type=list[msgspec.Raw])[0]))
    found = about_of.more.get("visits")
    return 0 if found is None else len(found[1][0][1]) + found[1][0][0]


def books(store: Store) -> Any:
    raw = store._partition(0).meta
    assert raw is not None
    return decode_meta(raw)


def test_books_tell_from_where_a_part_counts() -> None:
    store = Store()
    give(owner(store), 10, 0)
    assert (books(store).format, books(store).counts) == (FORMAT, {})
    give(owner(store, VISITING), 11, 1)
    assert (books(store).format, books(store).counts) == (MORE, {"visits": (1, 11, T0)})
    give(owner(store, VISITING), 12, 2)
    assert books(store).counts == {"visits": (1, 11, T0)}, "it goes on"


def test_what_counts_goes_on_with_a_worker_whose_topology_does_not_say() -> None:
    store = Store()
    give(owner(store, VISITING), 10, 0)
    assert visits(store) == 1
    store._partition(0).states.clear()
    give(owner(store), 11, 1)
    assert visits(store) == 1
    assert books(store).counts == {"visits": (1, 0, 0)}
    store._partition(0).states.clear()
    give(owner(store, WITHOUT), 12, 2)
    assert visits(store) == 0
    assert (books(store).format, books(store).counts) == (FORMAT, {}), "a topology that names none ends it"


@pytest.mark.parametrize("counts", [{"moods": (1, 5, T0)}, {"visits": (2, 5, T0)}])
def test_a_partition_that_counts_what_is_not_known_is_left_alone(counts: dict[str, Any]) -> None:
    store = Store()
    give(owner(store, VISITING), 10, 0)
    partition = store._partition(0)
    meta = books(store)
    meta.counts = counts
    partition.meta = msgspec.msgpack.encode(meta)
    with pytest.raises(NewerState, match=r"a newer version counts (moods|visits) .*Upgrade this worker: the partition"):
        owner(store)
    assert partition.meta == msgspec.msgpack.encode(meta), "nothing is touched"


def test_a_part_of_a_newer_version_begins_anew() -> None:
    store = Store()
    give(owner(store, VISITING), 10, 0)
    partition = store._partition(0)
    meta = books(store)
    meta.counts = {"visits": (0, 3, T0)}
    partition.meta = msgspec.msgpack.encode(meta)
    give(owner(store, VISITING), 11, 1)
    assert books(store).counts == {"visits": (1, 11, T0)}


def test_a_worker_that_reads_format_5_alone_ends_there() -> None:
    store = Store()
    give(owner(store, VISITING), 10, 0)
    raw = store._partition(0).meta
    assert raw is not None
    assert decode_format(raw).format == 6
