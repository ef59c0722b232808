"""Rows and profiles read packed: what is compiled does what Python does, and says so where it can't."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.language.carts import Change, Item, Line
from pipeline.language.references import Asked
from pipeline.profile import about, marks, packed, profile
from pipeline.profile.packed import PlainRow, pack_row, plain_count, unpack_ids, unpack_row
from pipeline.profile.parts import counts
from pipeline.profile.parts.part import CODE, DOES, LONGEST, TYPES, PartEvent, Step
from pipeline.profile.parts.primitives import Counter, Earliest, EarliestOfEach, Latest, Newest, Sum, Tally
from pipeline.profile.parts.timeline import Timeline
from pipeline.triggers.contact import Contact
from pipeline.triggers.facts import End, Fact, Key
from pipeline.triggers.films import Film
from pipeline.triggers.keys import RuleState
from pipeline.triggers.person import Person
from pipeline.triggers.rules import RuleBook
from pipeline.wire.row import Row
from tests.replayed import shipped

# In CI it must be there.
load = importlib.import_module if os.environ.get("PIPELINE_TESTS_STRICT") else pytest.importorskip
compiled: Any = load("pipeline.profile._packed")

FIELDS = about.fields()
T0 = 1_764_000_000_000
BOOK = RuleBook(shipped())
names = st.sampled_from(["p", "q", "a name", "ü" * 70, "x" * 300, *(f"n{n}" for n in range(30)), ""])
numbers = st.integers(-(1 << 40), 1 << 40)


def bodies(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """What the first hop hands on of an event of this type, and more than it ever would."""
    known: dict[str, st.SearchStrategy[Any]] = {
        "engaged_ms": numbers,
        "absolute_ms": numbers,
        "total": st.floats(-1e9, 1e9),
        "consent": st.dictionaries(names, st.booleans(), max_size=3),
        "traits": st.dictionaries(names, names | numbers, max_size=3),
        "confidence": st.sampled_from(["human", "machine", "unknown"]),
        "link_ids": st.lists(names, max_size=3),
        **{name: st.floats(0, 1e4) for name in ("position", "total_length", "watched_from", "watched_to")},
        **{name: st.floats(0, 1e4) for name in ("seek_from", "seek_to")},
    }
    return st.fixed_dictionaries(
        {}, optional={f: known.get(f, names) | st.none() for f in (*FIELDS.get(kind, ()), "other")}
    )


def row(kind: str, at: int, lag: int, fingerprint: int, ids: list[str], data: dict[str, Any]) -> Row:
    return Row(7, "abcdefgh23456722", kind, at, at + lag, f"e{fingerprint}", fingerprint, ids, data, None)


rows = st.sampled_from(TYPES).flatmap(
    lambda kind: st.builds(
        row,
        st.just(kind),
        st.integers(T0 - 40 * counts.DAY, T0) | st.integers(0, 1 << 41),
        st.integers(0, 10_000) | st.integers(0, 1 << 36),
        st.integers(0, 40) | st.integers(0, (1 << 64) - 1),
        st.lists(names, min_size=2, max_size=6),
        bodies(kind),
    )
)


@settings(max_examples=300)
@given(st.lists(rows, max_size=40))
def test_counting_compiled_equals_counting_in_python(told: list[Row]) -> None:
    state = about.EMPTY
    for each in told:
        fast = compiled.count(state, packed.PackedRow(msgspec.msgpack.encode(each)))
        plain = plain_count(state, pack_row(each))
        if fast is not None:
            assert (fast is state) == (plain is state)
            assert about.unpack(fast) == about.unpack(plain)
            assert list(about.unpack(fast).totals) == list(about.unpack(plain).totals)
        state = plain


made = {  # of each primitive one that no part has
    "earliest": Earliest(),
    "latest": Latest(),
    "sum": Sum("other", CODE),
    "count": Counter(),
    "span": Counter(per=7_000, keep=3),
    "timeline": Timeline(),
    "tally": Tally(("q", "other"), CODE, 2),
    "each": EarliestOfEach("other", {name: code % 3 for name, code in CODE.items()}, 3, ("q", "p"), 2),
    "newest": Newest("told", CODE, 3),
}
odd = st.sampled_from(["p", "q", "r", "", "s" * 40])
whatever = st.fixed_dictionaries(
    {}, optional={"q": odd, "told": st.dictionaries(odd, numbers | odd | st.none() | st.lists(odd), max_size=4)}
)


def test_each_primitive_has_a_compiled_twin() -> None:
    assert {"copy", "array", "top", "more", "tag", *made} == set(DOES)


@pytest.mark.parametrize("name", made)
@settings(max_examples=100)
@given(
    told=st.lists(
        st.tuples(
            st.sampled_from([name for name in TYPES if name]),
            st.integers(1, 30_000),
            st.integers(0, 5) | st.integers(0, (1 << 64) - 1),
            whatever,
            odd | st.none(),
            numbers,
        ),
        max_size=12,
    )
)
def test_each_primitive_compiled_does_what_it_means(name: str, told: list[Any]) -> None:
    law = made[name]
    beside = [["as it", {"is": 1}], law.empty(), 5]
    if name == "timeline":
        beside[1:2] = law.empty()
    state, left = law.empty(), 0
    for number, (kind, at, fingerprint, data, other, summed) in enumerate(told):
        if other is not None or name == "sum":
            data = {**data, "other": summed if name == "sum" else other}
        step = law.step(kind)
        assert step is not None
        assert step.does == name
        if name == "timeline":
            fingerprint = number  # a known one is taken in by nobody
        one = pack_row(row(kind, at, 5, fingerprint, ["a", "b"], data))
        before = msgspec.msgpack.encode(beside)
        fast = compiled.taken(before, one, [Step("array", (), (len(beside),)), Step("copy", (), (1,)), step])
        state = law.take(state, PartEvent(kind, CODE[kind], at, at + 5, fingerprint, data))
        beside[1:-1] = state if name == "timeline" else [state]
        left += fast is None
        assert fast is None or msgspec.msgpack.decode(fast) == beside
    assert not left or name in ("each", "newest", "span")  # of which more came than are kept


@pytest.mark.parametrize("told", [[2**63 - 1, 2**63 - 1], [2**63 - 1, 1, 1], [-(2**63) + 1, -5], [5, -(2**62)]])
def test_sums_that_leave_the_range_stay_at_its_end(told: list[int]) -> None:
    state = about.EMPTY
    for number, ms in enumerate(told):
        one = pack_row(row("page_viewed", T0, 0, number, ["a", "b"], {"engaged_ms": ms}))
        fast, state = compiled.count(state, one), plain_count(state, one)
        assert fast == state
    assert about.unpack(state).engaged_ms == max(-(2**63) + 1, min(sum(told), 2**63 - 1))


edges = st.sampled_from([0, 1, 5, *(LONGEST - n for n in range(3)), *(n - LONGEST for n in range(3))])


@settings(max_examples=300)
@given(
    st.sampled_from(["page_viewed", "product_viewed", "custom"]),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("engaged_ms", "absolute_ms"), edges) | {"product_id": st.just("p")}
    ),
    st.tuples(edges, edges, edges, edges, edges),
)
def test_sums_at_the_edge_of_what_can_be_written_are_the_same_either_way(
    kind: str, data: dict[str, Any], sums: tuple[int, int, int, int, int]
) -> None:
    engaged, absolute, total, day, views = sums
    start = about.About(
        first_seen=T0, last_seen=T0, engaged_ms=engaged, absolute_ms=absolute, totals={CODE[kind]: total}
    )
    start.days, start.kept = {T0 // counts.DAY: day}, about.Kept(products={"p": [views, T0 // 1000]})
    state = about.pack(start)
    for number in range(3):
        one = pack_row(row(kind, T0, 0, number, ["a", "b"], data))
        fast, state = compiled.count(state, one), plain_count(state, one)
        assert fast == state
    now = about.unpack(state)
    assert now.totals[CODE[kind]] == min(total + 3, LONGEST)
    assert now.days[T0 // counts.DAY] == min(day + 3, LONGEST)
    both = about.merge(now, now)
    about.unpack(about.pack(both))
    about.discount(both, kind, T0, data)
    about.unpack(about.pack(both))


@pytest.mark.parametrize(
    "change",
    ["part.TYPES += tuple('type%d' % n for n in range(64))", "timeline.LABELS['custom'] = ('a', 'b', 'c', 'd')"],
)
def test_a_catalogue_that_has_no_room_there_is_found_when_it_is_loaded(change: str) -> None:
    program = f"from pipeline.profile.parts import part, timeline\n{change}\nimport pipeline.profile.packed"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there" in done.stderr.splitlines()[-1]


def test_nearly_all_is_counted_compiled() -> None:
    """Out of order on a full timeline, and traits are not."""
    random = Random(5)
    states: dict[int, bytes] = {}
    left = 0
    for n in range(3000):
        kind = random.choice(["page_viewed", "product_viewed", "product_added", "email_opened", "video_progressed"])
        data = {"path": "/a", "product_id": f"p{random.randrange(40)}", "message_id": f"m{n % 7}", "film": "f"}
        one = pack_row(row(kind, T0 + n * 1000, random.randrange(500), n, ["a", "b"], data))
        person = n % 50
        counted = compiled.count(states.get(person, about.EMPTY), one)
        left += counted is None
        states[person] = plain_count(states.get(person, about.EMPTY), one)
    assert left == 0


@pytest.mark.parametrize("shuffled", [0, 3, 40])
def test_who_has_been_known_for_long_is_counted_compiled_too(shuffled: int) -> None:
    """More days than are kept, and more messages; `shuffled`: by how many days out of order."""
    random = Random(shuffled)
    state, left = about.EMPTY, 0
    days = sorted(range(400), key=lambda day: day + random.randint(0, shuffled))
    for n, day in enumerate(days):
        kind = random.choice(["cart_viewed", "email_sent", "email_sent", "email_opened"])
        data = {"cart_id": "c", "message_id": f"m{random.randrange(1000) if shuffled else n:04d}"}
        one = pack_row(row(kind, T0 + day * counts.DAY, 5, n, ["a", "b"], data))
        fast, state = compiled.count(state, one), plain_count(state, one)
        assert fast is None or fast == state
        left += fast is None
    assert left == 0 if not shuffled else left < 400


@given(rows)
def test_a_row_tells_what_it_holds(each: Row) -> None:
    raw = msgspec.msgpack.encode(each)
    fast, plain = packed.PackedRow(msgspec.Raw(raw)), PlainRow(raw)
    for name in PlainRow.__slots__:
        assert getattr(fast, name) == getattr(plain, name), name
    assert unpack_row(fast) == each
    assert unpack_ids(fast.ids) == each.ids
    assert fast.kept == plain.kept == msgspec.msgpack.encode(msgspec.structs.replace(each, root="", offset=0))


def test_broken_bytes_are_refused_or_left_to_python() -> None:
    """Never read beyond an end, whatever a store hands out: run under a sanitizer this would tell."""
    random = Random(1)
    told = {"product_id": "p" * 40, "consent": {"marketing": True, "x" * 40: False}}
    whole = msgspec.msgpack.encode(row("product_viewed", T0, 5, 1 << 63, ["a", "b"], told))
    state = about.EMPTY
    for n in range(30):
        one = row("product_viewed", T0 + n, 5, n, ["a", "b"], {"product_id": f"p{n}", "consent": {f"c{n % 9}": True}})
        state = plain_count(state, pack_row(one))
    intact = packed.PackedRow(whole)
    with pytest.raises(ValueError):
        compiled.PackedRow(b"")
    for _ in range(20_000):
        cut, bent = bytearray(whole), bytearray(state)
        for victim in (cut, bent):
            for _ in range(random.randrange(1, 4)):
                victim[random.randrange(len(victim))] = random.randrange(256)
            if random.random() < 0.3:
                del victim[random.randrange(len(victim)) :]
        compiled.count(bytes(bent), intact)
        try:
            compiled.count(state, compiled.PackedRow(bytes(cut)))
        except (ValueError, UnicodeDecodeError):
            pass


def taken_in(told: list[list[Row]], clock: int) -> tuple[Any, ...]:
    """What becomes of batches of rows of two profiles, batch by batch: all that is written, told and decided."""
    profiles: dict[str, Any] = {"abcdefgh23456722": profile.new_profile(), "abcdefgh23456723": profile.new_profile()}
    out: list[Any] = []
    for n, batch in enumerate(told):
        changed: dict[str, Any] = {}
        absent: list[str] = []
        packed_rows = packed.rows_of(msgspec.msgpack.encode(batch))

        def elsewhere(row: packed.PackedRow, absent: list[str] = absent) -> profile.Profile | None:
            absent.append(row.root)
            return profiles.setdefault(row.root, profile.new_profile()) if row.root.startswith("new") else None

        doubled = profile.receive_all(BOOK, packed_rows, profiles, changed, elsewhere)
        decided: list[Any] = []

        def look(name: str, each: profile.Profile, decided: list[Any] = decided) -> None:
            decided.append((name, profile.advance(BOOK, each, clock)))

        if n == 1:
            changed["gone"] = marks.Moved("abcdefgh23456722", 5)
        states, timers = profile.settle(BOOK, changed, clock, 2, look)
        # Not the bytes: a count of 0 may be written as one of two kinds of number.
        written = {name: profile.decode(raw) for name, raw in states.items() if raw is not None}
        out.append((doubled, absent, written, timers, decided, list(changed)))
    left = [(p.about, p.persons, p.buffer, p.waiting, p.repeats, profile.wakes_at(BOOK, p)) for p in profiles.values()]
    return (*out, left)


roots = st.sampled_from(["abcdefgh23456722", "abcdefgh23456723", "nobody's", "new"])


@settings(max_examples=150)
@given(
    st.lists(
        st.lists(
            st.tuples(rows, roots, st.booleans()),
            max_size=12,
        ),
        max_size=4,
    ),
    st.integers(T0 - 40 * counts.DAY, T0 + 5 * counts.DAY),
)
def test_taking_in_compiled_equals_taking_in_by_python(told: list[list[tuple[Row, str, bool]]], clock: int) -> None:
    batches = [
        [
            msgspec.structs.replace(
                each,
                root=root,
                fingerprint=each.fingerprint,
                ids=[*each.ids[:2]] if one else ["user_id", "u", *each.ids],
            )
            for each, root, one in batch
        ]
        for batch in told
    ]
    for batch in batches:
        for each in batch:
            del each.ids[4:]
    fast = taken_in(batches, clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "COMPILED", None)
        assert taken_in(batches, clock) == fast


def test_rows_that_are_none_are_refused() -> None:
    whole = msgspec.msgpack.encode([row("searched", T0, 5, n, ["a", "b"], {}) for n in range(3)])
    assert [each.fingerprint for each in packed.rows_of(whole)] == [0, 1, 2]
    assert packed.rows_of(b"\x90") == []
    for broken in (b"", b"\x91", whole[:-1], whole + b"\x00", b"\x93" + whole[1:40]):
        with pytest.raises(ValueError):
            packed.rows_of(broken)
    random = Random(2)
    for _ in range(20_000):
        bent = bytearray(whole)
        for _ in range(random.randrange(1, 4)):
            bent[random.randrange(len(bent))] = random.randrange(256)
        try:
            for each in compiled.rows_of(bytes(bent)):
                compiled.count(about.EMPTY, each)
        except (ValueError, UnicodeDecodeError):
            pass


def test_profiles_are_of_one_class_with_slots() -> None:
    class Loose:
        packed_about = b""

    with pytest.raises(TypeError, match="packed_about is no slot"):
        compiled.bind(Loose, bytes)
    with pytest.raises(TypeError, match="not a profile"):
        compiled.encode(Loose())
    one = profile.new_profile()
    assert compiled.encode(one) == profile.encode_profile(one)


def test_without_what_is_compiled_python_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = pack_row(row("page_viewed", T0, 5, 1, ["a", "b"], {"path": "/a"}))
    with_it = packed.count(about.EMPTY, one)
    monkeypatch.setattr(packed, "COMPILED", None)
    assert packed.count(about.EMPTY, one) == with_it


WITHOUT = """
import sys
for name in ("events._reader", "profile._packed", "triggers._marks"):
    sys.modules[f"pipeline.{name}"] = None
from pipeline.events import compiled
from pipeline.profile import packed
from pipeline.triggers import marks
assert compiled.READER is None and packed.PackedRow is packed.PlainRow and marks.place is marks.plain_place
import pipeline.runtime.worker
from pipeline.cli import main
sys.argv[1:1] = ["replay"]
main()
"""


def test_nothing_needs_to_be_compiled(tmp_path: Path) -> None:
    """The same decisions of the same recording, byte for byte, where nothing could be built."""
    recording = tmp_path / "shop.jsonl"
    recording.write_text("".join(json.dumps(line) + "\n" for line in recorded()))
    told = [
        subprocess.run([sys.executable, *how, str(recording)], capture_output=True, check=True).stdout
        for how in (["-m", "pipeline.cli", "replay"], ["-c", WITHOUT])
    ]
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 60  # forty carts bought, twenty left behind


def recorded() -> Iterator[dict[str, Any]]:
    """Carts in Segment's words, some of them bought."""
    for n in range(120):
        at = f"2026-11-24T{10 + n // 60:02}:{n % 60:02}:00.000Z"
        name = "Product Added" if n < 40 or n >= 80 else "Order Completed"
        yield {
            "type": "track",
            "messageId": f"m{n}",
            "userId": f"u{n % 40 if n < 80 else n % 20}",
            "event": name,
            "properties": {"product_id": f"p{n % 7}", "price": 5.0, "quantity": 1, "order_id": f"o{n}"},
            "timestamp": at,
            "receivedAt": at,
        }


def sometimes(kind: type, *needed: st.SearchStrategy[Any], **others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Of that type, with any of the others told or left as it is."""
    told = st.fixed_dictionaries({}, optional=others)
    return st.builds(lambda values, more: kind(*values, **more), st.tuples(*needed), told)


items = sometimes(Item, names=st.lists(st.none() | names, max_size=3), url=st.none() | names)
facts = sometimes(
    Fact, numbers, numbers, names, *[st.integers(0, 3)] * 3, change=st.builds(Change, st.just(1), st.lists(items)),
    told=st.just([None]) | st.lists(st.sampled_from([60, 60.0, 0.5, -0.0, "A film"])),
    kept=st.dictionaries(names, st.none() | names | st.sampled_from([60, 60.0, True]) | st.lists(names, max_size=2)),
)  # fmt: skip
asks = sometimes(Asked, st.sampled_from([None, 60, 60.0, False, "a", ["a", 1.0]]), st.just("is"), st.just("start.sku"))
ends = sometimes(
    End, numbers, numbers, names, names, before_start=st.booleans(), own=st.none() | names,
    asks=st.none() | st.lists(asks, max_size=2),
)  # fmt: skip
floats = st.floats(allow_nan=False) | st.sampled_from([1.0, 9.5, 9.99, -0.0, 1e300, 1e-300, 16777217.0])
lines = sometimes(Line, st.just(["p", None, "name"]), floats, st.none() | floats, st.none(), numbers, image_url=names)
keys = sometimes(
    Key, facts=st.lists(facts, max_size=20), ends=st.lists(ends), lines=st.lists(lines), due=st.none() | numbers
)
states = sometimes(RuleState, keys=st.dictionaries(names, keys, max_size=3), everyone=st.lists(ends, max_size=2))
persons = sometimes(
    Person, st.just({"user_id": ["u"]}), rules=st.dictionaries(names, states, max_size=3), due=st.none() | numbers,
    contact=st.none() | sometimes(Contact, email=st.none() | st.just(["a", 1]), timezone=st.none() | st.just(["b", 1])),
    logins=st.just({"a\0b": [(1, 2, "u")]}), films=st.dictionaries(names, st.builds(Film, st.lists(st.lists(floats)))),
)  # fmt: skip


@given(st.lists(persons, max_size=3))
@settings(max_examples=50, deadline=None)
def test_what_is_as_always_is_left_out_and_read_as_it_was(told: list[Person]) -> None:
    whole, short = msgspec.msgpack.encode(told), packed.packer(list[Person])(told)
    read = [msgspec.msgpack.decode(each, type=list[Person]) for each in (short, whole)]
    assert read[0] == read[1]
    assert repr(read[0]) == repr(read[1])  # -0.0, too
    assert packed.packer(list[Person])(msgspec.msgpack.decode(short)) == short
    assert len(short) <= len(whole)


def test_a_person_of_whom_nothing_is_known_takes_no_more_than_their_identifiers() -> None:
    ids = {"anonymous_id": ["a"]}
    assert packed.packer(list[Person])([Person(ids)]) == msgspec.msgpack.encode([[ids]])


def test_a_number_takes_fewer_bytes_where_that_is_exact() -> None:
    packer = packed.packer(list[Person])
    whole = [len(packer([Person({}, films={"f": Film([[n]])})])) for n in (0.0, -32.0, 255.0, 65535.0, 65536.0, -0.0)]
    assert [size - whole[0] for size in whole] == [0, 0, 1, 2, 4, 4]
    sizes = {n: len(packer([Person({}, films={"f": Film([[n]])})])) for n in (9.5, 9.99, 1e300, float("inf"))}
    assert sizes[9.5] == sizes[float("inf")] == sizes[9.99] - 4 == sizes[1e300] - 4


def test_what_is_of_another_shape_stays_as_it_is() -> None:
    others: list[Any] = [{}, [1], [[]], [[{}] * 40], [[{}, {"rule": 1}]]]
    shape = compiled.shape(packed.shape_of(list[Person]))
    for other in others:
        whole = msgspec.msgpack.encode(other)
        assert packed.packer(list[Person])(other) == whole
        assert compiled.trimmed(bytearray(whole[:-1]), shape) == whole[:-1]
