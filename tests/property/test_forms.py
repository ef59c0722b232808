"""What people really send: every form of a thing is that thing, and nothing that can be understood is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from random import Random
from typing import Any

import idna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import InvalidEvent
from pipeline.events.checks import MAX_EVENT_ID, MAX_IDENTIFIER, MAX_TIME, MIN_TIME
from pipeline.events.model import Event
from pipeline.events.segment import translate
from pipeline.events.segment_names import TRACKED
from pipeline.events.text import INVISIBLE, PLACEHOLDERS, stands_for_nothing, unquoted
from pipeline.events.times import event_times, read_time
from pipeline.identity.identifiers import Normaliser
from pipeline.topology.model import Identifiers, Namespace
from tests import mutations

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1000
times = st.integers(MIN_TIME, MAX_TIME)
offsets = st.integers(-14 * 60, 14 * 60)

# --- times


def local(at: int, offset: int) -> datetime:
    """The wall clock at `at` where it is `offset` minutes ahead of UTC."""
    return (EPOCH + timedelta(milliseconds=at)).astimezone(timezone(timedelta(minutes=offset)))


def within(at: int) -> bool:
    """Whether no offset brings it out of the years that Python's datetime has."""
    return at < MAX_TIME - 86_400_000


@given(times.filter(within), offsets, st.data())
def test_every_form_of_iso_8601_is_its_time(at: int, offset: int, data: st.DataObject) -> None:
    clock = local(at, offset)
    year, week, weekday = clock.isocalendar()
    # After "+0005" or "-14:59:30" nobody asks; minutes are what zones have.
    sign, hours, minutes = "+" if offset >= 0 else "-", abs(offset) // 60, abs(offset) % 60
    extended = data.draw(st.booleans())
    dash, colon = ("-", ":") if extended else ("", "")
    date = data.draw(
        st.sampled_from(
            [
                f"{clock:%Y}{dash}{clock:%m}{dash}{clock:%d}",
                f"{year:04}{dash}W{week:02}{dash}{weekday}",
                f"{clock:%Y}{dash}{clock:%j}",
            ]
        )
    )
    digits = data.draw(st.integers(3, 12))
    fraction = f"{clock.microsecond:06}".ljust(digits, data.draw(st.sampled_from("09")))[: max(digits, 3)]
    zones = [f"{sign}{hours:02}:{minutes:02}", f"{sign}{hours:02}{minutes:02}"]
    if minutes == 0:
        zones.append(f"{sign}{hours:02}")
    if offset == 0:
        zones += ["Z", "z", "", " UTC", "+00", "-00:00"]
    text = (
        date
        + data.draw(st.sampled_from(["T", "t", " "]))
        + f"{clock:%H}{colon}{clock:%M}{colon}{clock:%S}"
        + data.draw(st.sampled_from(".,"))
        + fraction
        + data.draw(st.sampled_from(zones))
    )
    assert read_time(text) == at, text
    assert read_time(f' "{text}"\n') == at


@given(times.filter(within), offsets)
def test_every_date_in_words_is_its_second(at: int, offset: int) -> None:
    at -= at % SECOND
    clock = local(at, offset)
    universal = local(at, 0)
    shift = f"{'+' if offset >= 0 else '-'}{abs(offset) // 60:02}{abs(offset) % 60:02}"
    for text in (
        format_datetime(clock),
        format_datetime(universal, usegmt=True),
        f"{universal:%a %b %d %H:%M:%S %Y}",
        f"{universal:%a %b} {universal.day:2} {universal:%H:%M:%S UTC %Y}",
        f"{clock:%a %b %d %Y %H:%M:%S} GMT{shift} (Somewhere's Standard Time)",
        f"{clock:%d %B %Y %H:%M:%S} {shift}",
        f"{universal:%b} {universal.day}, {universal:%Y, %I:%M:%S %p}",
    ):
        assert read_time(text) == at, text


@given(times, st.integers(0, 999), st.integers(0, 999_999))
def test_every_number_is_its_time(at: int, micros: int, nanos: int) -> None:
    numbers: list[int] = [at, at * 1000 + micros, at * 10**6 + nanos]
    for number in numbers:
        assert read_time(number) == read_time(str(number)) == read_time(f" {number}.75 ") == at
    assert read_time(at // 1000) == read_time(str(at // 1000)) == at - at % 1000
    assert read_time(f"{at // 1000}.{at % 1000:03}{micros:03}") == at


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes() | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(ANYTHING | st.integers(-(10**400), 10**400) | st.text("0123456789-+:.,TZW /GMTaeNov()[]", max_size=130))
def test_whatever_it_is_it_is_a_time_or_none(value: object) -> None:
    at = read_time(value)
    assert at is None or MIN_TIME <= at <= MAX_TIME


@given(st.tuples(*[st.none() | times] * 4))
def test_event_times_keep_their_order(told: tuple[int | None, int | None, int | None, int | None]) -> None:
    found = event_times(*told)
    if found is None:
        assert told == (None,) * 4
    else:
        occurred_at, received_at = found
        assert MIN_TIME <= occurred_at <= received_at <= MAX_TIME
        assert told[3] in (None, received_at)


# --- identifiers

NAMESPACES = ("user_id", "email", "device_id", "anonymous_id")
NORMALISER = Normaliser(
    Identifiers(
        namespaces=tuple(Namespace(name=n, priority=i, lowercase=n == "email") for i, n in enumerate(NAMESPACES)),
        blocked=frozenset({""}),
    )
)
LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=10) | st.sampled_from(
    ["bücher", "münchen", "faß", "例え", "пример", "ελλάς"]
)
LOCALS = st.from_regex(r"[a-z0-9][a-z0-9.+_-]{0,12}", fullmatch=True) | st.sampled_from(["rené", "jürgen", "дарья"])
DOMAINS = st.lists(LABELS, min_size=2, max_size=4).map(".".join)


def in_any_case(data: st.DataObject, text: str) -> str:
    """Some letters in upper case, where that doesn't make others of them."""
    chosen = data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    return "".join(
        letter.upper() if upper and letter.upper().lower() == letter and len(letter.upper()) == 1 else letter
        for letter, upper in zip(text, chosen, strict=True)
    )


@given(LOCALS, DOMAINS, st.data())
def test_all_forms_of_an_address_are_one(local_part: str, domain: str, data: st.DataObject) -> None:
    form = NORMALISER.value("email", f"{local_part}@{domain}")
    ascii_domain = idna.encode(domain, uts46=True).decode()
    assert form == f"{local_part}@{ascii_domain}"
    told = in_any_case(data, local_part) + "@" + in_any_case(data, data.draw(st.sampled_from([domain, ascii_domain])))
    told += data.draw(st.sampled_from(["", "."]))
    at = data.draw(st.integers(0, len(told)))
    told = told[:at] + data.draw(st.sampled_from(["", *INVISIBLE])) + told[at:]
    for _ in range(data.draw(st.integers(0, 3))):
        told = data.draw(
            st.sampled_from(
                [f" {told} ", f'"{told}"', f"'{told}'", f"%22{told}%22", f"\t{told}\u00a0"]
                + ([f"mailto:{told}", f"Mailto:{told}?subject=x"] if "<" not in told and '"' not in told else [])
                + ([f"Anna Berg <{told}>", f'"Berg, Anna" <{told}>', f"<{told}>"] if "<" not in told else [])
            )
        )
    assert NORMALISER.value("email", told) == form


@given(st.sampled_from(NAMESPACES), st.text() | st.text('@<>()"% 2mailto:.aA-', max_size=30))
@example("email", "a@\u0130.x")
@example("email", "mailto:?@")
def test_any_text_identifies_as_its_own_normal_form(namespace: str, raw: str) -> None:
    value = NORMALISER.value(namespace, raw)
    if value is not None:
        assert NORMALISER.value(namespace, value) == value
        assert not stands_for_nothing(value)
        implied = NORMALISER.implied(namespace, value)
        if implied is not None:
            assert namespace == "user_id"
            assert NORMALISER.value(*implied) == implied[1] == value


@given(st.sampled_from(NAMESPACES), st.sampled_from(sorted(PLACEHOLDERS)), st.data())
def test_a_word_for_nothing_is_nothing_in_any_dress(namespace: str, word: str, data: st.DataObject) -> None:
    told = in_any_case(data, word)
    for _ in range(data.draw(st.integers(0, 3))):
        told = data.draw(st.sampled_from([f" {told}", f'"{told}"', f"'{told}'", f"%22{told}%22", f"\u200b{told}\n"]))
    assert NORMALISER.value(namespace, told) is None
    assert stands_for_nothing(told)
    assert unquoted(told).lower() == word


# --- names


@given(st.sampled_from(sorted(TRACKED)), st.data())
def test_all_spellings_of_a_name_are_one_event(name: str, data: st.DataObject) -> None:
    between = st.sampled_from([" ", "  ", "_", "-", "\t", "\u00a0", "__", " - "])
    told = in_any_case(data, "".join(part + data.draw(between) for part in name.split())[:-1])
    (plain,) = translate(call(name, {}))
    (spelt,) = translate(call(told, {}))
    assert (spelt.type, spelt.body) == (plain.type, plain.body)


KNOWN = sorted((name, row[0], prop) for name in TRACKED for row in TRACKED[name].fields.rows for prop in row[2])


@given(st.sampled_from(KNOWN), st.data())
def test_all_spellings_of_a_property_are_one(known: tuple[str, str, str], data: st.DataObject) -> None:
    name, _, prop = known
    between = st.sampled_from(["", " ", "_", "-", "__"])
    told = in_any_case(data, "".join(part + data.draw(between) for part in prop.split("_"))[:40])
    (plain,) = translate(call(name, {prop: "7"}))
    (spelt,) = translate(call(name, {told: "7"}))
    assert (spelt.type, spelt.body) == (plain.type, plain.body)
    assert told == prop or ("misspelt", f"`{told}` was read as `{prop}`") in spelt.remarks


def call(event: str, properties: Any) -> dict[str, Any]:
    at = "2025-11-24T10:20:00.000Z"
    return {"type": "track", "event": event, "messageId": "m", "userId": "u", "timestamp": at, "properties": properties}


# --- numbers


@given(st.integers(-(10**9), 10**9), st.sampled_from([".", ","]), st.data())
def test_money_is_read_as_it_was_meant(cents: int, decimal: str, data: st.DataObject) -> None:
    sign, whole, part = "-" if cents < 0 else "", abs(cents) // 100, abs(cents) % 100
    thousands = data.draw(
        st.sampled_from([",", " ", "'", "\u00a0", ""] if decimal == "." else [".", " ", "\u202f", ""])
    )
    text = f"{whole:,}".replace(",", thousands) + f"{decimal}{part:02}"
    text = data.draw(st.sampled_from([f"{sign}{text}", f"€ {sign}{text}", f"{sign}{text} EUR", f" {sign}${text} "]))
    (event,) = translate(call("Product Added", {"price": text}))
    assert event.body == {"price": cents / 100}, text


# --- whole calls

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.text("\ud83d\udc00ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PARTS = ("messageId", "anonymousId", "context", "traits", "properties", "sentAt", "originalTimestamp", "name", "x")


@given(st.dictionaries(st.sampled_from(PARTS), JSON, max_size=4))
def test_any_json_anywhere_leaves_the_good_parts_standing(odd: dict[str, Any]) -> None:
    good = {"type": "track", "event": "Order Completed", "userId": "u-1", "timestamp": 1763979600}
    (event,) = translate({**good, **odd})
    assert event.type == "order_completed"
    assert event.identifiers["user_id"] == "u-1"
    assert event.occurred_at == 1763979600000
    assert_sound(event)


@given(st.dictionaries(st.sampled_from(["order_id", "products", "items", "cart_id", "currency", "x"]), JSON))
def test_any_json_in_properties_leaves_the_good_ones_standing(odd: dict[str, Any]) -> None:
    (event,) = translate(call("Order Completed", {**odd, "total": "12,50 €", "channel": "shop"}))
    assert event.body["total"] == 12.5
    assert event.body["channel"] == "shop"
    assert_sound(event)
    if all(isinstance(part, (str, list, dict)) or part is None for part in odd.values()):
        as_text = json.dumps({**odd, "total": "12,50 €", "channel": "shop"})
        (told,) = translate(call("Order Completed", as_text))
        assert told.body == event.body


@given(JSON, st.sampled_from(["link_ids", "products"]))
def test_a_list_is_the_same_however_it_is_told(item: Any, field: str) -> None:
    name = "Email Sent" if field == "link_ids" else "Order Completed"
    several = [item, "good", [7]]
    (plain,) = translate(call(name, {field: several}))
    for told in ({"0": item, "1": "good", "2": [7]}, [several], [[item], ["good", 7]], json.dumps(several)):
        (event,) = translate(call(name, {field: told}))
        assert event.body == plain.body
    assert ("7" in plain.body[field]) or ({"product_id": "7"} in plain.body[field])


def assert_sound(event: Event) -> None:
    assert MIN_TIME <= event.occurred_at <= event.received_at <= MAX_TIME
    assert 1 <= len(event.event_id) <= MAX_EVENT_ID
    assert all(len(value) <= MAX_IDENTIFIER for value in event.identifiers.values())
    json.dumps([event.body, event.context], allow_nan=False, ensure_ascii=False).encode()
    assert len(event.remarks) <= 16


# --- mutations


@pytest.mark.parametrize("seed", range(10))
def test_a_mutated_call_or_record_is_an_event_or_has_a_reason(seed: int) -> None:
    rng = Random(seed)
    for _ in range(500):
        for told, reasons in (
            (mutations.of_call(mutations.mutated_call(rng)), mutations.REASONS_OF_JSON),
            (mutations.of_record(mutations.mutated_record(rng)), mutations.REASONS_OF_AVRO),
        ):
            if isinstance(told, InvalidEvent):
                assert told.reason in reasons
                assert told.detail
            else:
                for event in told:
                    assert_sound(event)
